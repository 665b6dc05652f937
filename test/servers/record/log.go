// SPDX-License-Identifier: Apache-2.0

// Package record keeps what an OAuth server of the tests has seen: every
// request, how often each single-use credential arrived, and every secret that
// was issued. Tests compare these counts, so nothing here is approximate.
package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Endpoint names one endpoint of an authorization server.
type Endpoint string

// The endpoints that the servers of the tests have.
const (
	Authorize  Endpoint = "authorize"
	Token      Endpoint = "token"
	Revoke     Endpoint = "revoke"
	Introspect Endpoint = "introspect"
	Discovery  Endpoint = "discovery"
	UserInfo   Endpoint = "userinfo"
	// DeviceAuthorization is where devices ask for a code, Verification where
	// people approve them (RFC 8628 sections 3.1 and 3.3).
	DeviceAuthorization Endpoint = "device_authorization"
	Verification        Endpoint = "verification"
	// Keys is the JWK Set.
	Keys Endpoint = "jwks"
)

// NoAnswer is the Status of a request whose connection was cut, or whose
// client had gone, before the whole answer was sent.
const NoAnswer = -1

// Kind is what requests are counted by.
type Kind struct {
	Endpoint  Endpoint
	GrantType string // the grant_type parameter; empty outside the token endpoint
	ClientID  string
	// AuthMethod is client_secret_basic, client_secret_post, private_key_jwt,
	// tls_client_auth (a bare client_id and a certificate, whoever issued it), none
	// (a bare client_id), bearer, or empty where nothing was sent.
	AuthMethod string
	// Status is 0 until the answer begins, then the HTTP status, or NoAnswer.
	Status int
}

// Request is one request as it arrived. It holds no secret: credentials are
// replaced by what Hash makes of them.
type Request struct {
	Kind
	Seq  int // counts from 1 in order of arrival
	Time time.Time
	// Credential is the Hash of the code or refresh token at the token
	// endpoint, and of the token elsewhere; empty where none was sent.
	Credential string
	Params     url.Values  // nil in a lean log
	Header     http.Header // without Authorization and Cookie; nil in a lean log
}

// Filter selects requests. Zero fields match everything.
type Filter struct {
	Endpoint   Endpoint
	GrantType  string
	ClientID   string
	AuthMethod string
	Status     int
	// Answered leaves out requests whose answer has not begun. A Status implies it.
	Answered bool
}

// Match says whether the filter selects requests of kind k.
func (f Filter) Match(k Kind) bool {
	return (f.Endpoint == "" || f.Endpoint == k.Endpoint) &&
		(f.GrantType == "" || f.GrantType == k.GrantType) &&
		(f.ClientID == "" || f.ClientID == k.ClientID) &&
		(f.AuthMethod == "" || f.AuthMethod == k.AuthMethod) &&
		(f.Status == 0 || f.Status == k.Status) &&
		(!f.Answered || k.Status != 0)
}

// Hash is how a Log names a credential without holding it: the hexadecimal
// SHA-256, or the empty string for an empty credential.
func Hash(credential string) string {
	if credential == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(credential))
	return hex.EncodeToString(sum[:])
}

// Log counts and remembers. Its methods may be called from any goroutine.
type Log struct {
	lean bool

	mu       sync.Mutex
	seq      int
	counts   map[Kind]int
	requests []Request
	uses     map[string]int
	spent    map[string]bool
	reuse    int
	issued   []string
	waiters  map[*waiter]struct{}
}

type waiter struct {
	filter Filter
	need   int
	done   chan struct{}
}

// NewLog returns an empty log. A lean one keeps counts only, no Requests and
// no Issued, and so costs a benchmark little.
func NewLog(lean bool) *Log {
	return &Log{
		lean:    lean,
		counts:  map[Kind]int{},
		uses:    map[string]int{},
		spent:   map[string]bool{},
		waiters: map[*waiter]struct{}{},
	}
}

// Count returns how many requests the filter selects.
func (l *Log) Count(f Filter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count(f)
}

func (l *Log) count(f Filter) int {
	n := 0
	for k, c := range l.counts {
		if f.Match(k) {
			n += c
		}
	}
	return n
}

// Requests returns the requests that the filter selects, in order of arrival.
// A lean log has none.
func (l *Log) Requests(f Filter) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Request
	for _, r := range l.requests {
		if f.Match(r.Kind) {
			out = append(out, r)
		}
	}
	return out
}

// Uses returns how many times the token endpoint received this code or
// refresh token, whatever came of it.
func (l *Log) Uses(credential string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uses[Hash(credential)]
}

// MaxUses returns the largest number of times that the token endpoint received
// any single code or refresh token.
func (l *Log) MaxUses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := 0
	for _, n := range l.uses {
		most = max(most, n)
	}
	return most
}

// Reuse returns how many times a code or refresh token came in that had been
// redeemed before. A second try of one that the server never redeemed is not
// reuse; MaxUses shows it.
func (l *Log) Reuse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reuse
}

// Issued returns every code, access token and refresh token ever made, those
// in answers that were lost too. A lean log has none.
func (l *Log) Issued() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.issued...)
}

// Issue notes secrets that the server made; empty ones are ignored.
func (l *Log) Issue(secrets ...string) {
	if l.lean {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range secrets {
		if s != "" {
			l.issued = append(l.issued, s)
		}
	}
}

// WaitFor returns once at least n requests match the filter, counting those
// that are past, or with the context's error.
func (l *Log) WaitFor(ctx context.Context, n int, f Filter) error {
	l.mu.Lock()
	have := l.count(f)
	if have >= n {
		l.mu.Unlock()
		return nil
	}
	w := &waiter{filter: f, need: n - have, done: make(chan struct{})}
	l.waiters[w] = struct{}{}
	l.mu.Unlock()

	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiters, w)
		return ctx.Err()
	}
}

// Receive notes the arrival of a request with its credential, if any.
func (l *Log) Receive(r Request, credential string) *Entry {
	r.Time = time.Now()
	r.Credential = Hash(credential)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	r.Seq = l.seq
	l.counts[r.Kind]++
	if r.Endpoint == Token && r.Credential != "" {
		l.uses[r.Credential]++
	}
	if !l.lean {
		l.requests = append(l.requests, r)
	}
	l.wake(r.Kind, nil)
	return &Entry{Request: r, log: l}
}

// wake serves the waiters that kind k newly matches. before is what the same
// request was counted as until now, nil on arrival. Called with mu held.
func (l *Log) wake(k Kind, before *Kind) {
	for w := range l.waiters {
		if !w.filter.Match(k) || (before != nil && w.filter.Match(*before)) {
			continue
		}
		if w.need--; w.need <= 0 {
			close(w.done)
			delete(l.waiters, w)
		}
	}
}

// Entry is one request under way. Its methods belong to the goroutine that
// serves the request; Process and Spend are called where the server serializes
// what it does with credentials, or Reuse would depend on luck.
type Entry struct {
	Request

	log *Log
}

// Process is called when the server starts to act on the request. It counts
// reuse, and says whether the credential had been redeemed before.
func (e *Entry) Process() (reused bool) {
	if e.Endpoint != Token || e.Credential == "" {
		return false
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	if e.log.spent[e.Credential] {
		e.log.reuse++
		return true
	}
	return false
}

// Spend notes that the credential has been redeemed: seen again, it is reuse.
func (e *Entry) Spend() {
	if e.Credential == "" {
		return
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.log.spent[e.Credential] = true
}

// Answer notes how the request ends: an HTTP status, just before the first byte
// is sent, so that a client that has its answer finds it counted; or NoAnswer,
// also after a status, when the connection is cut. Other later calls are void.
func (e *Entry) Answer(status int) {
	l := e.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Status == status || (e.Status != 0 && status != NoAnswer) {
		return
	}
	before := e.Kind
	l.drop(before)
	e.Status = status
	l.counts[e.Kind]++
	if !l.lean {
		l.requests[e.Seq-1].Status = status
	}
	l.wake(e.Kind, &before)
}

func (l *Log) drop(k Kind) {
	if l.counts[k]--; l.counts[k] == 0 {
		delete(l.counts, k)
	}
}
