// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Bounds of what is read of headers. They are generous: a signature takes 64 bytes.
const (
	maxHeader     = 4 << 10
	maxSignatures = 16
	maxID         = 256
)

// claim is what the headers of a request say, before any of it is known to be true.
type claim struct {
	// content is what is signed, in parts.
	content [][]byte
	// signatures are several while a secret is replaced: one of them has to be right.
	signatures [][]byte
	// id is the signed name of the event; empty: it has none of its own.
	id string
	// at is the signed time of sending, when timed says that there is one.
	at    time.Time
	timed bool
}

// signedWith tells whether one of the signatures is right under one of the keys. The time that it takes depends on nothing
// but lengths.
func (c *claim) signedWith(keys [][]byte) bool {
	right := 0
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		for _, part := range c.content {
			mac.Write(part)
		}
		want := mac.Sum(nil)
		for _, signature := range c.signatures {
			right |= subtle.ConstantTimeCompare(want, signature)
		}
	}
	return right == 1
}

// eventID is the identity of an event whose signature is right.
func (c *claim) eventID() string {
	if c.id != "" {
		return c.id
	}
	hash := sha256.New()
	for _, part := range c.content {
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// scheme is a way to sign.
type scheme interface {
	// claim reads the headers; false: they have nothing of this scheme, or nothing that could be read.
	claim(r Request) (*claim, bool)
	// keys of a secret; none is empty.
	keys(secret string) [][]byte
}

// newScheme reads a description. It refuses what would leave a signature without meaning.
func newScheme(s v1alpha1.WebhookSignature) (scheme, error) {
	switch s.Scheme {
	case v1alpha1.WebhookTimestampedHMAC:
		name := strings.TrimSuffix(given(s.Prefix, "v1="), "=")
		if name == "" || name == timeName {
			return nil, errors.New("the prefix of a signature must be a name and =")
		}
		return timestamped{header: either(s.Header, "Webhook-Signature"), name: name}, nil
	case v1alpha1.WebhookStandard:
		return standard{prefix: either(s.Header, "webhook")}, nil
	case v1alpha1.WebhookBodyHMAC:
		return newBodyHMAC(s)
	}
	return nil, fmt.Errorf("%q is no scheme of signatures", s.Scheme)
}

func newBodyHMAC(s v1alpha1.WebhookSignature) (scheme, error) {
	b := bodyHMAC{
		header: either(s.Header, "X-Hub-Signature-256"), prefix: given(s.Prefix, "sha256="), time: s.TimestampHeader,
		content: splitContent(either(s.SignedContent, partBody)), decode: hex.DecodeString,
	}
	switch s.Encoding {
	case "", v1alpha1.SignatureHex:
	case v1alpha1.SignatureBase64:
		b.decode = decodeBase64
	default:
		return nil, fmt.Errorf("%q is no encoding of signatures", s.Encoding)
	}
	parts := map[string]bool{}
	for _, part := range b.content {
		parts[part] = true
	}
	switch {
	case !parts[partBody]:
		return nil, errors.New("the signed content must have {body}: what is not signed can be forged")
	case parts[partTimestamp] != (b.time != ""):
		return nil, errors.New("a header with the time and {timestamp} in the signed content go together: a time that is not signed can be changed")
	}
	return b, nil
}

func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func given(text *string, otherwise string) string {
	if text == nil {
		return otherwise
	}
	return *text
}

// timestamped is v1alpha1.WebhookTimestampedHMAC.
type timestamped struct{ header, name string }

// timeName is the name of the time in the header.
const timeName = "t"

func (s timestamped) claim(r Request) (*claim, bool) {
	header, ok := single(r.Header, s.header)
	if !ok {
		return nil, false
	}
	c, written, times := &claim{timed: true}, "", 0
	for field := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case timeName:
			written = value
			times++
		case s.name:
			if !c.add(hex.DecodeString(value)) {
				return nil, false
			}
		}
	}
	c.at, ok = parseTime(written)
	if !ok || times != 1 {
		return nil, false
	}
	c.content = [][]byte{[]byte(written + "."), r.Body}
	return c, len(c.signatures) > 0
}

func (timestamped) keys(secret string) [][]byte { return [][]byte{[]byte(secret)} }

// standard is v1alpha1.WebhookStandard.
type standard struct{ prefix string }

func (s standard) claim(r Request) (*claim, bool) {
	id, hasID := single(r.Header, s.prefix+"-id")
	written, hasTime := single(r.Header, s.prefix+"-timestamp")
	header, signed := single(r.Header, s.prefix+"-signature")
	if !hasID || !hasTime || !signed || !isID(id) {
		return nil, false
	}
	c := &claim{id: id, timed: true, content: [][]byte{[]byte(id + "." + written + "."), r.Body}}
	var ok bool
	if c.at, ok = parseSeconds(written); !ok {
		return nil, false
	}
	for field := range strings.FieldsSeq(header) {
		version, value, _ := strings.Cut(field, ",")
		if version == "v1" && !c.add(decodeBase64(value)) {
			return nil, false
		}
	}
	return c, len(c.signatures) > 0
}

// isID refuses a full stop above all: it parts what is signed, and with one in it an id could take in what follows.
func isID(id string) bool {
	const first, last = '!', '~'
	return id != "" && len(id) <= maxID && strings.IndexFunc(id, func(r rune) bool { return r < first || r > last || r == '.' }) < 0
}

func (standard) keys(secret string) [][]byte {
	keys := [][]byte{[]byte(secret)}
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		// Nothing behind the prefix would be a key that everybody knows.
		if key, err := decodeBase64(encoded); err == nil && len(key) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// bodyHMAC is v1alpha1.WebhookBodyHMAC.
type bodyHMAC struct {
	header, prefix string
	decode         func(string) ([]byte, error)
	// time is the header with the time; empty: there is none.
	time string
	// content is what is signed, in literal parts and placeholders.
	content []string
}

// Placeholders of signedContent.
const (
	partBody      = "{body}"
	partTimestamp = "{timestamp}"
	partURL       = "{url}"
)

// splitContent parts a template at its placeholders.
func splitContent(template string) []string {
	var parts []string
	for template != "" {
		at, found := len(template), ""
		for _, placeholder := range []string{partBody, partTimestamp, partURL} {
			if i := strings.Index(template, placeholder); i >= 0 && i < at {
				at, found = i, placeholder
			}
		}
		if at > 0 {
			parts = append(parts, template[:at])
		}
		if found != "" {
			parts = append(parts, found)
		}
		template = template[at+len(found):]
	}
	return parts
}

func (s bodyHMAC) claim(r Request) (*claim, bool) {
	header, ok := single(r.Header, s.header)
	if !ok {
		return nil, false
	}
	written, c := "", &claim{timed: s.time != ""}
	if s.time != "" {
		if written, ok = single(r.Header, s.time); !ok {
			return nil, false
		}
		if c.at, ok = parseSeconds(written); !ok {
			return nil, false
		}
	}
	encoded, ok := strings.CutPrefix(header, s.prefix)
	if !ok || !c.add(s.decode(encoded)) || len(c.signatures) == 0 {
		return nil, false
	}
	for _, part := range s.content {
		switch part {
		case partBody:
			c.content = append(c.content, r.Body)
		case partTimestamp:
			c.content = append(c.content, []byte(written))
		case partURL:
			if r.URL == "" {
				return nil, false
			}
			c.content = append(c.content, []byte(r.URL))
		default:
			c.content = append(c.content, []byte(part))
		}
	}
	return c, true
}

func (bodyHMAC) keys(secret string) [][]byte { return [][]byte{[]byte(secret)} }

// add takes a signature in; one that cannot be decoded is left out, since it may be one of another kind. False: there are
// too many.
func (c *claim) add(signature []byte, err error) bool {
	if err == nil && len(signature) == sha256.Size {
		c.signatures = append(c.signatures, signature)
	}
	return len(c.signatures) <= maxSignatures
}

// decodeBase64 reads either alphabet, with padding or without.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// single returns the value of a header that is there once, is not empty and not endless: of several nobody could say which
// one counts.
func single(header http.Header, name string) (string, bool) {
	values := header.Values(name)
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxHeader {
		return "", false
	}
	return values[0], true
}

// parseTime reads Unix seconds or RFC 3339.
func parseTime(text string) (time.Time, bool) {
	if at, ok := parseSeconds(text); ok {
		return at, true
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

// parseSeconds reads Unix seconds: digits alone, up to the year 33658.
func parseSeconds(text string) (time.Time, bool) {
	const digits = 12
	if text == "" || len(text) > digits || strings.Trim(text, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC(), err == nil
}
