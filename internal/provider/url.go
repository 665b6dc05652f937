// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// urlTemplate is a URL with placeholders, taken apart: what stands in a placeholder's place can change nothing but the part
// that the placeholder is in.
type urlTemplate struct {
	// field is where the spec has it, for errors.
	field string
	// base is the name of the value that is scheme and host together; empty when the two below are used.
	base string
	// scheme is https or http.
	scheme string
	// host is without the port.
	host []piece
	// port is empty, or a literal with its colon.
	port string
	// path is empty or begins with a literal slash; query is without its question mark.
	path, query []piece
	hasQuery    bool
}

// badURLCharacters cannot stand in the literals of a URL. Browsers and servers disagree on what a backslash means.
const badURLCharacters = "\\#{}<>\"^`|"

// parseURL takes a URL apart. The error is a *FieldError.
func parseURL(field, raw string) (*urlTemplate, error) {
	refuse := func(format string, arguments ...any) (*urlTemplate, error) {
		return nil, &FieldError{Field: field, Message: fmt.Sprintf(format, arguments...)}
	}
	pieces := split(raw)
	for _, piece := range pieces {
		if i := strings.IndexFunc(piece.literal, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(badURLCharacters, r)
		}); i >= 0 {
			return refuse("the character %q cannot stand in a URL; write it percent-encoded, and placeholders as {name}", []rune(piece.literal[i:])[0])
		}
	}
	if len(pieces) == 0 {
		return refuse("it is empty")
	}
	t := &urlTemplate{field: field}
	var rest []piece
	if t.base = pieces[0].name; t.base != "" {
		rest = pieces[1:]
		if len(rest) > 0 && (rest[0].name != "" || !strings.ContainsAny(rest[0].literal[:1], "/?")) {
			return refuse("a value at the beginning stands for scheme and host together, and / or ? must follow; where {%s} is only a part of the host, write https:// before it", t.base)
		}
	} else {
		scheme, after, found := strings.Cut(pieces[0].literal, "://")
		t.scheme = strings.ToLower(scheme)
		if !found || t.scheme != "https" && t.scheme != "http" {
			return refuse("it must be an absolute URL that begins with https://")
		}
		t.host, rest = cutPieces(append([]piece{{literal: after}}, pieces[1:]...), "/?")
	}
	t.path, t.query = cutPieces(rest, "?")
	if t.hasQuery = len(t.query) > 0; t.hasQuery {
		t.query = trimFirst(t.query)
	}
	if err := t.checkParts(); err != nil {
		return refuse("%v", err)
	}
	return t, nil
}

// cutPieces cuts before the first of some characters in a literal.
func cutPieces(pieces []piece, characters string) (before, after []piece) {
	for i, one := range pieces {
		at := strings.IndexAny(one.literal, characters)
		if at < 0 {
			continue
		}
		before = slices.Clone(pieces[:i])
		if at > 0 {
			before = append(before, piece{literal: one.literal[:at]})
		}
		return before, append([]piece{{literal: one.literal[at:]}}, pieces[i+1:]...)
	}
	return pieces, nil
}

// trimFirst drops the first character, which is in a literal.
func trimFirst(pieces []piece) []piece {
	if rest := pieces[0].literal[1:]; rest != "" {
		return append([]piece{{literal: rest}}, pieces[1:]...)
	}
	return pieces[1:]
}

// checkParts looks at the literals, and takes the port off the host.
func (t *urlTemplate) checkParts() error {
	if t.base == "" {
		if len(t.host) > 0 && t.host[0] == (piece{}) {
			t.host = t.host[1:]
		}
		if len(t.host) == 0 {
			return errors.New("it has no host")
		}
		t.cutPort()
		if err := t.checkHost(); err != nil {
			return err
		}
	}
	// With a harmless value everywhere, what net/url reads must be what is meant.
	_, err := t.assemble("https", "x", t.port, func(string) string { return "x" })
	return err
}

// checkHost judges the literals of a host. One without placeholders is net/url's to judge.
func (t *urlTemplate) checkHost() error {
	if len(t.host) == 0 {
		return errors.New("it has no host")
	}
	for _, one := range t.host {
		switch {
		case strings.Contains(one.literal, "@"):
			return errors.New("it must not have a user name")
		case len(t.host) > 1 && !isHostText(one.literal):
			return errors.New("around a value, a host can only have letters, digits, . and -, and a fixed port")
		}
	}
	return nil
}

// cutPort takes a literal port off the end of the host. An IPv6 address in brackets stays whole.
func (t *urlTemplate) cutPort() {
	last := &t.host[len(t.host)-1]
	at := strings.LastIndexByte(last.literal, ':')
	if at < 0 || strings.HasSuffix(last.literal, "]") {
		return
	}
	t.host = slices.Clone(t.host)
	last = &t.host[len(t.host)-1]
	t.port, last.literal = last.literal[at:], last.literal[:at]
	if last.literal == "" {
		t.host = t.host[:len(t.host)-1]
	}
}

// names returns the values that the URL needs.
func (t *urlTemplate) names() []string {
	all := slices.Concat([]piece{{name: t.base}}, t.host, t.path, t.query)
	return names(all)
}

// hostNames returns the values that are part of the host.
func (t *urlTemplate) hostNames() []string {
	return names(append([]piece{{name: t.base}}, t.host...))
}

// pinned tells whether a connection, or a provider's answer, may give the value that stands in the host: no value that
// its restriction accepts leads out of the domain that the application fixed.
func (t *urlTemplate) pinned(name string, defined definitions) bool {
	if t.base != "" {
		own := defined[t.base].restriction
		return own.finite() || own.pattern != nil && pins(own.endings)
	}
	after := []ending{{"", true}}
	for _, one := range slices.Backward(t.host) {
		if one.name == "" {
			after = prepend([]ending{{strings.ToLower(one.literal), true}}, after)
			continue
		}
		own := defined[one.name]
		restricted := own.finite() || own.pattern != nil && pins(prepend(own.endings, after))
		switch {
		case one.name == name && !restricted:
			return false
		case restricted:
			after = prepend(own.endings, after)
		default: // Then only the application's own value is ever used.
			host, _ := cutHostPort(strings.ToLower(own.fallback()))
			after = prepend([]ending{{host, host != ""}}, after)
		}
	}
	return true
}

// expand puts values into the URL. This is the one place that decides what a value may do to it: see encode for paths and
// queries and authority for hosts. The error is a *FieldError.
func (t *urlTemplate) expand(values func(name string) string, defined definitions) (string, error) {
	for _, name := range t.names() {
		if values(name) == "" && !defined[name].optional() {
			return "", &FieldError{Field: t.field, Message: "it needs " + sourceOf(name, defined) + "; it is not known"}
		}
		if !printable(values(name)) {
			return "", &FieldError{Field: t.field, Message: sourceOf(name, defined) + " is too long, or has characters that cannot be in a URL"}
		}
	}
	scheme, host, port, err := t.authority(values, defined)
	if err != nil {
		return "", err
	}
	expanded, err := t.assemble(scheme, host, port, values)
	if err != nil {
		return "", &FieldError{Field: t.field, Message: err.Error()}
	}
	return expanded, nil
}

// sourceOf says for people where a value comes from.
func sourceOf(name string, defined definitions) string {
	definition, known := defined[name]
	switch {
	case !known:
		return "{" + name + "}"
	case definition.stage == stageConnection:
		return "the input " + name
	case definition.stage == stageCallback:
		return "{" + name + "} of " + definition.field + ", which comes with the callback, or beside a code in its Secret"
	}
	return "{" + name + "} of " + definition.field + ", a value of the provider's answer"
}

// authority builds scheme, host and port.
func (t *urlTemplate) authority(values func(string) string, defined definitions) (scheme, host, port string, err error) {
	for _, name := range t.hostNames() {
		if err := t.checkHostValue(name, values(name), defined); err != nil {
			return "", "", "", err
		}
	}
	scheme, host, port = t.origin(values)
	literal := t.base == "" && len(names(t.host)) == 0
	if !literal && !isHost(host) {
		return "", "", "", &FieldError{Field: t.field, Message: fmt.Sprintf("with its values, %q is the host of the URL, which is none", shortened(host))}
	}
	return scheme, host, port, nil
}

// origin fills scheme, host and port, unjudged.
func (t *urlTemplate) origin(values func(string) string) (scheme, host, port string) {
	if t.base != "" {
		return cutBase(values(t.base))
	}
	host = fill(t.host, values)
	if last := t.host[len(t.host)-1]; last.name == "" || t.port != "" {
		return t.scheme, host, t.port
	}
	host, port = cutHostPort(host)
	return t.scheme, host, port
}

// checkHostValue holds a value that is part of the host to its rules. What the application itself gives may have a port,
// and http where it is scheme and host together.
func (t *urlTemplate) checkHostValue(name, value string, defined definitions) error {
	definition, known := defined[name]
	if !known {
		return &FieldError{Field: t.field, Message: "{" + name + "} cannot be a part of the host"}
	}
	if definition.input != nil && definition.input.Default != nil && value == definition.fallback() {
		if t.base != "" || portAllowed(t, name) {
			return nil // Whatever else is wrong with it is found in the host as a whole.
		}
		if !isHostText(value) {
			return &FieldError{Field: definition.field + ".default", Message: "it is part of a host: only letters, digits, . and - can be"}
		}
		return nil
	}
	field := definition.field
	if definition.input != nil {
		field = "inputs." + name
	}
	if !t.pinned(name, defined) {
		return &FieldError{Field: field, Message: fmt.Sprintf(
			"it is part of the host of %s, and nothing pins the domain: the application has to give the value, as default of the input, or restrict it by an enum or by a pattern that ends in a fixed domain such as \\.example\\.com", t.field)}
	}
	if !definition.accepts(value) {
		return &FieldError{Field: field, Message: "it " + definition.describe()}
	}
	host := value
	if t.base != "" {
		host = strings.TrimSuffix(strings.TrimPrefix(value, "https://"), "/")
	}
	if !isHostText(host) {
		return &FieldError{Field: field, Message: "it is part of a host: only letters, digits, . and - can be"}
	}
	return nil
}

// portAllowed tells of a value at the end of a host that has no port yet.
func portAllowed(t *urlTemplate, name string) bool {
	return t.port == "" && t.host[len(t.host)-1].name == name
}

// cutBase takes a value apart that is scheme and host together.
func cutBase(value string) (scheme, host, port string) {
	scheme = "https"
	if before, after, found := strings.Cut(value, "://"); found && (before == "https" || before == "http") {
		scheme, value = before, after
	}
	host, port = cutHostPort(strings.TrimSuffix(value, "/"))
	return scheme, host, port
}

func cutHostPort(value string) (host, port string) {
	at := strings.LastIndexByte(value, ':')
	if at < 0 {
		return value, ""
	}
	return value[:at], value[at:]
}

// assemble writes the URL and reads it again: the two readings must be one.
func (t *urlTemplate) assemble(scheme, host, port string, values func(string) string) (string, error) {
	if !isPort(port) {
		return "", fmt.Errorf("%q is no port", shortened(port))
	}
	path, err := encodePath(t.path, values)
	if err != nil {
		return "", err
	}
	query := fill(t.query, func(name string) string { return escapeQuery(values(name)) })
	whole := scheme + "://" + host + port + path
	if t.hasQuery {
		whole += "?" + query
	}
	read, err := url.Parse(whole)
	if err != nil {
		return "", errors.New("it is not a URL that can be used")
	}
	if read.Scheme != scheme || read.Host != host+port || read.User != nil || read.EscapedPath() != path ||
		read.RawQuery != query || read.Fragment != "" || read.Hostname() == "" {
		return "", errors.New("it is not an absolute URL that can be read in one way only; write special characters percent-encoded")
	}
	return whole, nil
}

// encodePath percent-encodes values, so that none gets out of its segment.
func encodePath(pieces []piece, values func(string) string) (string, error) {
	for _, name := range names(pieces) {
		if value := values(name); strings.Contains(value, `\`) || slices.ContainsFunc(strings.Split(value, "/"), isDots) {
			return "", fmt.Errorf("the value of {%s} is a step within a path, which is not allowed in a URL", name)
		}
	}
	path := fill(pieces, func(name string) string { return url.PathEscape(values(name)) })
	segments := fill(pieces, func(name string) string { return url.PathEscape(values(name)) + placeholderMark })
	for segment := range strings.SplitSeq(segments, "/") {
		text := strings.ReplaceAll(segment, placeholderMark, "")
		plain, err := url.PathUnescape(text)
		switch {
		case err != nil:
			return "", errors.New("its path has a % that begins no percent-encoded character")
		case isDots(plain):
			return "", fmt.Errorf("its path has the step %q, which is not allowed", plain)
		case text == "" && segment != "":
			return "", errors.New("a value that is a whole step of its path is empty")
		}
	}
	return path, nil
}

// placeholderMark cannot occur in a URL.
const placeholderMark = "\x00"

// isDots tells of the segments that lead elsewhere, also with the parameters that some servers cut off (`..;x`).
func isDots(segment string) bool {
	segment, _, _ = strings.Cut(segment, ";")
	return segment == "." || segment == ".."
}

// isHostText tells of the characters of host names.
func isHostText(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '.' && r != '-'
	}) < 0
}

// isHost tells of a complete host name: labels of letters, digits and hyphens (RFC 1123 section 2.1).
func isHost(host string) bool {
	const maxHost, maxLabel = 253, 63
	if len(host) > maxHost || !isHostText(host) {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

// isPort tells of nothing, or a colon and a port.
func isPort(port string) bool {
	const maxDigits = 5
	return port == "" || len(port) > 1 && len(port) <= 1+maxDigits && strings.Trim(port[1:], "0123456789") == ""
}

// shortened keeps messages readable.
func shortened(text string) string {
	const limit = 64
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
