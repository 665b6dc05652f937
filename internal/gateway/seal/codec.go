// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/google/uuid"
)

// Forms in which a text is written; the first byte of it says which.
const (
	formText   = iota // its length and itself
	formUUID          // 16 bytes: a UUID as Kubernetes writes it
	formHex           // 16 bytes: 32 hexadecimal digits
	formBase64        // 32 bytes: 43 characters of Base64 (RFC 4648, section 5)
)

const (
	shortBytes = 16
	longBytes  = 32
)

// writer writes values one after the other. reader reads them in the same order.
type writer struct{ content []byte }

func (w *writer) raw(value []byte) { w.content = append(w.content, value...) }

func (w *writer) text(value string) {
	w.content = append(binary.AppendUvarint(w.content, uint64(len(value))), value...)
}

func (w *writer) number(value int64) { w.content = binary.AppendVarint(w.content, value) }

// time keeps whole seconds.
func (w *writer) time(value time.Time) { w.number(value.Unix()) }

// compact writes a text in the shortest form that gives exactly it again.
func (w *writer) compact(value string) {
	if id, err := uuid.Parse(value); err == nil && id.String() == value {
		w.form(formUUID, id[:])
		return
	}
	if short, err := hex.DecodeString(value); err == nil && len(short) == shortBytes && hex.EncodeToString(short) == value {
		w.form(formHex, short)
		return
	}
	long, err := base64.RawURLEncoding.DecodeString(value)
	if err == nil && len(long) == longBytes && base64.RawURLEncoding.EncodeToString(long) == value {
		w.form(formBase64, long)
		return
	}
	w.form(formText, nil)
	w.text(value)
}

func (w *writer) form(form byte, value []byte) {
	w.content = append(append(w.content, form), value...)
}

// reader reads what a writer wrote. After a failure all values are zero, and complete says so.
type reader struct {
	content []byte
	failed  bool
}

// complete tells whether everything was read, and could be.
func (r *reader) complete() bool { return !r.failed && len(r.content) == 0 }

func (r *reader) fail() { r.content, r.failed = nil, true }

// take returns the next n bytes; nil: there are fewer.
func (r *reader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.content)) {
		r.fail()
		return nil
	}
	value := r.content[:n]
	r.content = r.content[n:]
	return value
}

// raw fills value.
func (r *reader) raw(value []byte) { copy(value, r.take(uint64(len(value)))) }

func (r *reader) text() string {
	length, n := binary.Uvarint(r.content)
	if n <= 0 {
		r.fail()
		return ""
	}
	r.content = r.content[n:]
	return string(r.take(length))
}

func (r *reader) number() int64 {
	value, n := binary.Varint(r.content)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.content = r.content[n:]
	return value
}

func (r *reader) time() time.Time { return time.Unix(r.number(), 0).UTC() }

func (r *reader) compact() string {
	form := r.take(1)
	if form == nil {
		return ""
	}
	switch form[0] {
	case formText:
		return r.text()
	case formUUID:
		var id uuid.UUID
		r.raw(id[:])
		return r.checked(id.String())
	case formHex:
		return r.checked(hex.EncodeToString(r.take(shortBytes)))
	case formBase64:
		return r.checked(base64.RawURLEncoding.EncodeToString(r.take(longBytes)))
	}
	r.fail()
	return ""
}

// checked is the value unless reading has failed.
func (r *reader) checked(value string) string {
	if r.failed {
		return ""
	}
	return value
}
