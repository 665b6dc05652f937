// SPDX-License-Identifier: Apache-2.0

// Package seal makes what gateways hand to browsers and take back from anybody: the state of a login, the address of its
// result page, and the tokens of forms. All are encrypted and authenticated, so any replica that has the keys can go on
// where another one has begun, and none keeps anything.
//
//	base64url( version | key ID | nonce | XChaCha20-Poly1305( content ) )
//	   bytes:    1         4       24      16 more than the content
//
// Each purpose has a key of its own, derived with HKDF (RFC 5869) from the one that the key ID names, and what stands in
// the clear is authenticated with the purpose: nothing opens as anything but what it was sealed as.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Errors of opening and sealing.
var (
	// ErrForged : it was not sealed here for this purpose, or under a key that is not kept any more.
	ErrForged = errors.New("not sealed by this gateway, or too long ago")
	// ErrExpired : it was sealed here, and its time is over.
	ErrExpired = errors.New("it has expired")
	// ErrNoKeys : there is nothing to seal with yet.
	ErrNoKeys = errors.New("there are no keys to seal with")
)

// FormTokenLifetime is how long a person may look at a form.
const FormTokenLifetime = time.Hour

// MaxLength bounds what is sealed, in characters. A usual state has fewer than 330: some providers cut long ones.
const MaxLength = 2048

const (
	version  = 1
	idLength = 4
	header   = 1 + idLength
)

// purpose keeps what is sealed for one thing from being opened as another.
type purpose string

const (
	purposeState purpose = "state"
	purposeLogin purpose = "login"
	purposeForm  purpose = "form"
)

// Keys is where a Sealer has its keys from: a keyset.Source.
type Keys interface{ Keys() keyset.Set }

// Sealer seals and opens. Safe for concurrent use.
type Sealer struct {
	keys  Keys
	clock clock.PassiveClock
}

// New makes a Sealer.
func New(keys Keys, clock clock.PassiveClock) *Sealer { return &Sealer{keys: keys, clock: clock} }

// State is what comes back from the provider with the code: all that is known of a login.
type State struct {
	Connection                    types.NamespacedName
	ConnectionUID, ApplicationUID types.UID
	// Generation of the connection that the person was asked about.
	Generation int64
	// Login identifies the login: 16 random bytes in hexadecimal.
	Login string
	// Verifier of PKCE (RFC 7636), 43 characters of Base64; empty where PKCE is disabled.
	Verifier sensitive.String
	// Browser is the hash of the value of this login's cookie.
	Browser [32]byte
	// Setup is a hash of what the request to the provider was made of.
	Setup [16]byte
	// ExpiresAt is in whole seconds.
	ExpiresAt time.Time
}

// SealState writes a state. Anything but usual lengths makes it longer, not wrong; the error is ErrNoKeys, or that it is
// longer than MaxLength.
func (s *Sealer) SealState(state State) (string, error) {
	w := &writer{}
	w.text(state.Connection.Namespace)
	w.text(state.Connection.Name)
	w.compact(string(state.ConnectionUID))
	w.compact(string(state.ApplicationUID))
	w.number(state.Generation)
	w.compact(state.Login)
	w.compact(state.Verifier.Reveal())
	w.raw(state.Browser[:])
	w.raw(state.Setup[:])
	w.time(state.ExpiresAt)
	return s.seal(purposeState, nil, w.content)
}

// OpenState reads a state. The errors are ErrForged, with nothing, and ErrExpired, with the state: it is authentic.
func (s *Sealer) OpenState(text string) (State, error) {
	content, err := s.open(purposeState, nil, text)
	if err != nil {
		return State{}, err
	}
	r := &reader{content: content}
	state := State{Connection: types.NamespacedName{Namespace: r.text(), Name: r.text()}}
	state.ConnectionUID, state.ApplicationUID = types.UID(r.compact()), types.UID(r.compact())
	state.Generation, state.Login, state.Verifier = r.number(), r.compact(), sensitive.New(r.compact())
	r.raw(state.Browser[:])
	r.raw(state.Setup[:])
	state.ExpiresAt = r.time()
	if !r.complete() {
		return State{}, ErrForged
	}
	return state, s.alive(state.ExpiresAt)
}

// Login is what the address of a login's result page says.
type Login struct {
	Connection    types.NamespacedName
	ConnectionUID types.UID
	// Login identifies the login, as in its State.
	Login string
	// StartedAt is when the page began to wait, and ExpiresAt when the address says nothing any more, in whole seconds.
	StartedAt, ExpiresAt time.Time
}

// SealLogin writes a login. The error is ErrNoKeys, or that it is longer than MaxLength.
func (s *Sealer) SealLogin(login Login) (string, error) {
	w := &writer{}
	w.text(login.Connection.Namespace)
	w.text(login.Connection.Name)
	w.compact(string(login.ConnectionUID))
	w.compact(login.Login)
	w.time(login.StartedAt)
	w.time(login.ExpiresAt)
	return s.seal(purposeLogin, nil, w.content)
}

// OpenLogin reads a login. The errors are ErrForged, with nothing, and ErrExpired, with the login: it is authentic.
func (s *Sealer) OpenLogin(text string) (Login, error) {
	content, err := s.open(purposeLogin, nil, text)
	if err != nil {
		return Login{}, err
	}
	r := &reader{content: content}
	login := Login{Connection: types.NamespacedName{Namespace: r.text(), Name: r.text()}}
	login.ConnectionUID, login.Login = types.UID(r.compact()), r.compact()
	login.StartedAt, login.ExpiresAt = r.time(), r.time()
	if !r.complete() {
		return Login{}, ErrForged
	}
	return login, s.alive(login.ExpiresAt)
}

// FormToken makes the token of a form that is shown to one browser, known by the value of its cookie, and is about what
// bound says. It is good for FormTokenLifetime. The error is ErrNoKeys.
func (s *Sealer) FormToken(browser string, bound ...string) (string, error) {
	w := &writer{}
	w.time(s.clock.Now().Add(FormTokenLifetime))
	return s.seal(purposeForm, formBinding(browser, bound), w.content)
}

// CheckFormToken tells whether a token was made for this browser and is about this, and whether it is still good.
func (s *Sealer) CheckFormToken(token, browser string, bound ...string) bool {
	content, err := s.open(purposeForm, formBinding(browser, bound), token)
	if err != nil {
		return false
	}
	r := &reader{content: content}
	expiresAt := r.time()
	return r.complete() && s.alive(expiresAt) == nil
}

// formBinding is another one for every other browser and bound.
func formBinding(browser string, bound []string) []byte {
	w := &writer{}
	w.text(browser)
	for _, text := range bound {
		w.text(text)
	}
	return w.content
}

func (s *Sealer) alive(expiresAt time.Time) error {
	if !s.clock.Now().Before(expiresAt) {
		return ErrExpired
	}
	return nil
}

// seal encrypts content. What is bound must be given again to open it.
func (s *Sealer) seal(use purpose, bound, content []byte) (string, error) {
	key, ok := s.keys.Keys().Sealing(s.clock.Now())
	if !ok {
		return "", ErrNoKeys
	}
	id, err := hex.DecodeString(key.ID)
	if err != nil || len(id) != idLength {
		return "", errors.New("a key whose ID is not 4 bytes in hexadecimal")
	}
	aead, err := derive(key, use)
	if err != nil {
		return "", err
	}
	sealed := make([]byte, header+chacha20poly1305.NonceSizeX, header+chacha20poly1305.NonceSizeX+len(content)+chacha20poly1305.Overhead)
	sealed[0] = version
	copy(sealed[1:], id)
	nonce := sealed[header:]
	_, _ = rand.Read(nonce) // It never fails: without randomness the process ends.
	sealed = aead.Seal(sealed, nonce, content, associated(use, sealed[:header], bound))
	text := base64.RawURLEncoding.EncodeToString(sealed)
	if len(text) > MaxLength {
		return "", fmt.Errorf("longer than %d characters when sealed", MaxLength)
	}
	return text, nil
}

// open returns the content of what seal made for the same purpose with the same bound. The only error is ErrForged.
func (s *Sealer) open(use purpose, bound []byte, text string) ([]byte, error) {
	if len(text) > MaxLength {
		return nil, ErrForged
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// One content has one spelling: the decoder skips line breaks.
	if err != nil || len(sealed) < header+chacha20poly1305.NonceSizeX || base64.RawURLEncoding.EncodedLen(len(sealed)) != len(text) {
		return nil, ErrForged
	}
	front, rest := sealed[:header], sealed[header:]
	key, ok := s.keys.Keys().Find(hex.EncodeToString(front[1:]))
	if !ok || front[0] != version {
		return nil, ErrForged
	}
	aead, err := derive(key, use)
	if err != nil {
		return nil, ErrForged
	}
	content, err := aead.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], associated(use, front, bound))
	if err != nil {
		return nil, ErrForged
	}
	return content, nil
}

// derive makes the key of one purpose.
func derive(key keyset.Key, use purpose) (cipher.AEAD, error) {
	material := key.Material()
	if material == nil {
		return nil, fmt.Errorf("key %s is not 32 bytes in Base64", key.ID)
	}
	derived, err := hkdf.Key(sha256.New, material, nil, "oauth-operator.io/gateway "+string(use), chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return chacha20poly1305.NewX(derived)
}

// associated is what is authenticated without being encrypted: lengths keep the parts apart.
func associated(use purpose, front, bound []byte) []byte {
	data := binary.AppendUvarint(nil, uint64(len(use)))
	data = append(append(data, use...), front...)
	return append(data, bound...)
}
