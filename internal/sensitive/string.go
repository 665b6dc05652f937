// SPDX-License-Identifier: Apache-2.0

// Package sensitive holds values that must never be shown: tokens, authorization codes, PKCE verifiers, client
// secrets. A String can be passed, compared and stored, but every usual way of printing or encoding it gives
// "[redacted]"; only Reveal gives the value, so that a search for Reveal finds every place that can leak.
package sensitive

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what is printed in place of a value.
const Redacted = "[redacted]"

// String is a value that must never be shown. The zero value is empty. It cannot be converted to a plain string,
// compared with == or used as a map key: use Equal, or Hash for an identity.
type String struct {
	// The pointer matters: fmt cannot call methods on a String inside an unexported field and then prints the fields
	// by reflection. At that depth it prints a pointer as an address.
	v *string
	_ [0]func() // == would compare the pointers: forbid it.
}

// New wraps a value.
func New(value string) String {
	if value == "" {
		return String{}
	}
	return String{v: &value}
}

// Reveal returns the value itself, for the one place that needs it.
func (s String) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsEmpty tells whether there is no value.
func (s String) IsEmpty() bool { return s.v == nil }

// Equal compares two values in a time that depends on their lengths only.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Hash returns the hexadecimal SHA-256 of the value: an identity that may be stored and compared where the value may
// not. It hides only values that cannot be guessed, which tokens and codes are.
func (s String) Hash() string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:])
}

// String implements fmt.Stringer.
func (s String) String() string {
	if s.IsEmpty() {
		return ""
	}
	return Redacted
}

// GoString implements fmt.GoStringer.
func (s String) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format implements fmt.Formatter, so that no verb and no flag reaches the value.
func (s String) Format(state fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && state.Flag('#') {
		text = s.GoString()
	}
	// A Formatter cannot report a failure, and fmt keeps the writer's own.
	_, _ = io.WriteString(state, text)
}

// MarshalJSON implements json.Marshaler. There is deliberately no UnmarshalJSON: a redacted document must not be read
// back as if it held the value.
func (s String) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalLog implements logr.Marshaler.
func (s String) MarshalLog() any { return s.String() }
