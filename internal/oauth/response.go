// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TokenResponse is what a token endpoint issued (RFC 6749, section 5.1).
type TokenResponse struct {
	AccessToken sensitive.String
	// RefreshToken is empty when the provider gave no new one; the old one is then still good (RFC 6749, section 6).
	RefreshToken sensitive.String
	// TokenType is "Bearer" for bearer tokens in any spelling and when it is missing; other types as they came.
	TokenType string
	// Scope is what was granted, each once, in the order of the answer: at most the first 1,000 values, and at most 32 KiB
	// of them; what follows is ignored. ScopeGiven false means that the answer had no scope, which means the one that was
	// asked for.
	Scope      []string
	ScopeGiven bool
	ExpiresIn  Lifetime
	// RefreshTokenExpiresIn is not standard: several providers say it in fields of their own.
	RefreshTokenExpiresIn Lifetime
	// IDToken is that of OpenID Connect, unverified.
	IDToken sensitive.String
	// ID, Subject and Captured are what the ResponseMapping found: each at most 1 KiB, printable, and free of tokens.
	ID, Subject string
	Captured    map[string]string
}

// IsEmpty tells whether the response has no token at all.
func (r TokenResponse) IsEmpty() bool { return r.AccessToken.IsEmpty() && r.RefreshToken.IsEmpty() }

// Bounds of what is kept of an answer: it is stored in a Secret together with the tokens, and shown in status.
const (
	maxTokenType  = 64
	maxScopes     = 1000
	maxScopeBytes = 32 << 10
)

// document is the members of an answer. complete is false when it was cut off or malformed after these members. object is
// the text of a JSON object, nil for a form.
type document struct {
	members  map[string]json.RawMessage
	complete bool
	object   []byte
}

// tree is the document in the form that paths select from. Unlike members it has the parts of a member that breaks off.
func (d document) tree() tree {
	if d.object == nil {
		return treeOf(d.members)
	}
	return parseTree(d.object)
}

const byteOrderMark = "\xef\xbb\xbf"

var (
	// errNotReadable is an answer in which nothing could be found.
	errNotReadable = errors.New("the answer is neither a JSON object nor a form")
	errBreaksOff   = fmt.Errorf("the answer breaks off: %w", io.ErrUnexpectedEOF)
)

// parseDocument reads a JSON object whatever its content type says, or a form where the content type does not speak
// against it, which old servers send. Of a JSON object that breaks off it returns the members that are whole; what follows
// the object is ignored; of members with the same name the last one counts. whole false says that the body was cut off.
func parseDocument(contentType string, body []byte, whole bool) (document, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte(byteOrderMark)))
	if bytes.HasPrefix(body, []byte("{")) {
		return parseObject(body), nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = ""
	}
	switch media {
	case "", "application/x-www-form-urlencoded", "text/plain", "text/html":
		return parseForm(body, whole)
	}
	return document{}, errNotReadable
}

// parseObject goes member by member, so that a refresh token is found in an answer that breaks off behind it.
func parseObject(body []byte) document {
	found := document{members: map[string]json.RawMessage{}, object: body}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if _, err := decoder.Token(); err != nil {
		return found
	}
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return found
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return found
		}
		found.members[name] = value
	}
	_, err := decoder.Token()
	found.complete = err == nil
	return found
}

// parseForm takes a text for a form only when it has the characters of one and names a member of an OAuth answer, since
// nearly every text parses as a form. A form does not show that it was cut off: its last value is then not to be used.
func parseForm(body []byte, whole bool) (document, error) {
	if bytes.ContainsAny(body, " \t\r\n<>\"{}") {
		return document{}, errNotReadable
	}
	if !whole {
		body = body[:max(bytes.LastIndexByte(body, '&'), 0)]
	}
	values, err := url.ParseQuery(string(body))
	if err != nil || (values.Get("access_token") == "" && values.Get("refresh_token") == "" && values.Get("error") == "") {
		return document{}, errNotReadable
	}
	found := document{members: map[string]json.RawMessage{}, complete: whole}
	for name, all := range values {
		value, err := json.Marshal(all[len(all)-1])
		if err != nil {
			return document{}, fmt.Errorf("form member %q: %w", name, err)
		}
		found.members[name] = value
	}
	return found, nil
}

func (d document) text(name string) string { return scalar(d.members[name]) }

// secret returns a token as it came; one of nothing but blanks is none.
func (d document) secret(name string) sensitive.String {
	text := d.text(name)
	if strings.TrimSpace(text) == "" {
		return sensitive.String{}
	}
	return sensitive.New(text)
}

// secrets are the tokens in the document, which no error may repeat.
func (d document) secrets() []sensitive.String {
	return []sensitive.String{d.secret("access_token"), d.secret("refresh_token"), d.secret("id_token")}
}

// ParseTokenResponse reads the body of a successful answer. The response holds whatever could be read even when the error
// is not nil: a refresh token in a broken answer must be kept, since the old one may be spent.
func ParseTokenResponse(contentType string, body []byte) (TokenResponse, error) {
	found, err := parseDocument(contentType, body, true)
	if err != nil {
		return TokenResponse{}, err
	}
	return found.read(nil).tokens(asked{})
}

// refreshTokenLifetime reads the names in use: GitHub, Azure B2C and many others; Keycloak; Intuit.
func (d document) refreshTokenLifetime() Lifetime {
	for _, name := range []string{"refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"} {
		if lifetime := ParseLifetime(d.members[name]); lifetime.Kind != LifetimeUnknown {
			return lifetime
		}
	}
	return Lifetime{}
}

// scope reads a string with spaces (RFC 6749, section 3.3) or commas between the values, or a list of strings.
func (d document) scope() (scope []string, given bool) {
	raw := d.members["scope"]
	var text string
	var list []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, false
	case json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &list) == nil:
		text = strings.Join(list, " ")
	default:
		return nil, false
	}
	return splitScope(text), true
}

// splitScope returns each value once, up to the first one that exceeds the bounds.
func splitScope(text string) []string {
	var scope []string
	size, seen := 0, map[string]bool{}
	for value := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r <= ' ' }) {
		if seen[value] {
			continue
		}
		size += len(value)
		if len(scope) == maxScopes || size > maxScopeBytes {
			break
		}
		seen[value] = true
		scope = append(scope, value)
	}
	return scope
}

func normalizeTokenType(value string) string {
	value = sensitive.Scrub(value, maxTokenType)
	if value == "" || strings.EqualFold(value, "bearer") {
		return "Bearer"
	}
	return value
}
