// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/retryafter"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// The bounds of a call, unless Options say otherwise.
const (
	DefaultTimeout      = 10 * time.Second
	DefaultMaxBodyBytes = 1 << 20
	DefaultUserAgent    = "oauth-operator"
)

// Options of a Caller; a zero field means its default.
type Options struct {
	// Timeout bounds a whole call, from resolving the name to the last byte of the answer.
	Timeout time.Duration
	// MaxBodyBytes bounds an answer's body after decompression.
	MaxBodyBytes int64
	// UserAgent is sent with every request.
	UserAgent string
}

// Caller makes calls to providers. It is immutable and safe for concurrent use. Each call names the transport to use,
// which decides what may be reached and which certificates are trusted; it should be one of net/http, possibly wrapped,
// since what it reports to net/http/httptrace is how a call knows that nothing was sent.
type Caller struct {
	timeout   time.Duration
	maxBody   int64
	userAgent string
	now       func() time.Time
}

// NewCaller makes a Caller. now is the clock by which the age of a discovery document and a Retry-After date are
// understood.
func NewCaller(now func() time.Time, options Options) *Caller {
	return &Caller{
		timeout:   cmp.Or(options.Timeout, DefaultTimeout),
		maxBody:   cmp.Or(options.MaxBodyBytes, DefaultMaxBodyBytes),
		userAgent: cmp.Or(options.UserAgent, DefaultUserAgent),
		now:       now,
	}
}

// Token sends a token request once. On failure the error is an *Error, and the response is not always empty: whatever
// tokens a broken answer carried are in it, and its refresh token must be stored like that of a success.
func (c *Caller) Token(ctx context.Context, transport http.RoundTripper, request TokenRequest) (TokenResponse, error) {
	sent, err := request.message()
	if err != nil {
		return TokenResponse{}, err
	}
	got, failure := c.send(ctx, transport, sent)
	if failure != nil {
		return TokenResponse{}, failure
	}
	if got.status < 200 || got.status > 299 {
		return TokenResponse{}, c.refused(got, sent)
	}
	document, err := got.document()
	if err != nil {
		return TokenResponse{}, c.lost(got, sent, cmp.Or(got.err, err))
	}
	found := document.read(sent.mapping)
	response, err := found.tokens(sent.of(c.now()))
	if _, ok := found.refusal(); ok {
		return response, c.refused(got, sent)
	}
	if err != nil {
		return response, c.lost(got, sent, cmp.Or(got.err, err), found.secrets()...)
	}
	return response, nil
}

// answer is an HTTP answer. When err is not nil the body is only a part.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (a answer) document() (document, error) {
	return parseDocument(a.header.Get("Content-Type"), a.body, a.err == nil)
}

// send sends a request once and reads the answer. The error tells whether the request may have reached the provider.
func (c *Caller) send(ctx context.Context, transport http.RoundTripper, sent message) (answer, *Error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var progress progress
	var body io.Reader = http.NoBody
	if !sent.body.IsEmpty() {
		body = strings.NewReader(sent.body.Reveal())
	}
	request, err := http.NewRequestWithContext(progress.trace(ctx), sent.method, sent.url, body)
	if err != nil {
		return answer{}, unusable("the endpoint's URL, or the method, is not usable")
	}
	// Without GetBody net/http cannot send the body a second time, so no retry of its own, on HTTP/1 or HTTP/2, can
	// present a code or a refresh token twice.
	request.GetBody = nil
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.userAgent)
	for _, header := range sent.headers {
		request.Header.Set(header.Name, header.Value.Reveal())
	}
	if sent.contentType != "" {
		request.Header.Set("Content-Type", sent.contentType)
	}
	// RoundTrip, not http.Client: it follows no redirects and keeps no cookies.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, &Error{
			Concern:     ConcernTransient,
			Description: sensitive.Scrub(describe(err), maxDescription, sent.secrets...),
			Sent:        progress.outcome(),
			err:         err,
		}
	}
	defer response.Body.Close()
	return c.read(response), nil
}

// read takes the body up to the limit. http's transport ends the reading when the call's time is over, but not that of
// 101 Switching Protocols, whose body is the bare connection.
func (c *Caller) read(response *http.Response) answer {
	if response.StatusCode < 200 {
		return answer{status: response.StatusCode, header: response.Header}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxBody+1))
	if int64(len(body)) > c.maxBody {
		body, err = body[:c.maxBody], fmt.Errorf("the answer is larger than %d bytes", c.maxBody)
	}
	return answer{status: response.StatusCode, header: response.Header, body: body, err: err}
}

// progress follows a request through net/http's transport.
type progress struct {
	asked, connected atomic.Bool
}

func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	})
}

// outcome of a request that got no answer. Writing begins after GotConn, in the goroutine that reports it; the later
// events come from another one and may be missed when a call is cancelled. A transport that reports nothing at all
// proves nothing.
func (p *progress) outcome() Outcome {
	if p.asked.Load() && !p.connected.Load() {
		return NotSent
	}
	return Unknown
}

func describe(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the provider did not answer in time: " + err.Error()
	case errors.Is(err, context.Canceled):
		return "the call was cancelled: " + err.Error()
	}
	return "the provider cannot be reached: " + err.Error()
}

// refused is the error of an answer that says no.
func (c *Caller) refused(got answer, sent message) *Error {
	secrets := sent.secrets
	var said refusal
	document, err := got.document()
	ok := false
	if err == nil {
		found := document.read(sent.mapping)
		secrets = append(found.secrets(), secrets...)
		if got.status >= 200 && got.status <= 299 {
			said, ok = found.refusal()
		} else {
			said, ok = found.said()
		}
	}
	if !ok {
		if challenged, found := challengeRefusal(got.header); found {
			said = sent.mapping.translate(challenged)
		}
	}
	if said.description == "" {
		said.description = explain(got, said.code)
	}
	return &Error{
		Concern:      concernOf(got.status, said.code, sent.grantType),
		Code:         sensitive.Scrub(said.code, maxCode, secrets...),
		ProviderCode: sensitive.Scrub(said.own, maxCode, secrets...),
		Description:  sensitive.Scrub(said.description, maxDescription, secrets...),
		Status:       got.status,
		RetryAfter:   retryafter.Parse(got.header.Get("Retry-After"), c.now()),
		Sent:         Answered,
	}
}

func explain(got answer, code string) string {
	switch {
	case got.status >= 300 && got.status <= 399:
		return "the endpoint answers with a redirect, which is not followed because credentials are sent here; check its URL"
	case code == "":
		return "the provider answers without an OAuth error"
	}
	return ""
}

// lost is the error of a success that cannot be read: the provider did what was asked, and we do not have the result.
func (c *Caller) lost(got answer, sent message, cause error, found ...sensitive.String) *Error {
	return &Error{
		Concern:     ConcernTransient,
		Description: sensitive.Scrub("the provider's answer is not usable: "+cause.Error(), maxDescription, append(found, sent.secrets...)...),
		Status:      got.status,
		RetryAfter:  retryafter.Parse(got.header.Get("Retry-After"), c.now()),
		Sent:        Unknown,
		err:         cause,
	}
}
