// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"

	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// drained is how much of an answer that nobody wants is read so that its connection can be kept, in bytes.
const drained = 4 << 10

// roundTrip sends the request as often as it takes, and returns the answer for the caller.
//
//	           ┌── 401, another token, body kept ──┐
//	           ├── 3xx ────────────────────────────┤
//	           ├── error, 429, 502, 503, 504: wait ┤
//	attempt ───┴──► answer                         │
//	   ▲                                           │
//	   └───────────────────────────────────────────┘
func (x *exchange) roundTrip(ctx context.Context, out *http.Request) (*http.Response, error) {
	x.plain, x.trailer, x.length = out.Header, out.Trailer, out.ContentLength
	x.authorizeWith(x.credential)
	if out.Body != nil {
		x.body = newReplay(out.Body, x.in.Trailer, x.bodies, x.watch)
	}
	if len(out.Trailer) > 0 {
		x.length = -1 // Trailers come after chunks alone.
	}
	for {
		response, err := x.try(ctx)
		again, err := x.judge(ctx, response, err)
		switch {
		case again:
			continue
		case err == nil && ctx.Err() != nil:
			x.drop(response)
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, x.failure(err)
		}
		return response, nil
	}
}

// authorizeWith puts the token into the headers of the next attempt, whatever the caller sent in its place.
func (x *exchange) authorizeWith(c *credential.Credential) {
	x.header = maps.Clone(x.plain)
	for _, h := range c.Headers {
		x.header[http.CanonicalHeaderKey(h.Name)] = []string{h.Value.Reveal()}
	}
}

// enter waits until the request may be sent, with a token that has not expired by then. Before the wait it is looked at too, so that
// a renewal seldom takes a place that others wait for.
func (x *exchange) enter(ctx context.Context) (left func(traffic.Outcome), err error) {
	if err := x.refresh(ctx); err != nil {
		return nil, err
	}
	x.key.Host, x.Host = x.target.Host, x.target.Host
	if left, err = x.options.Gate.Enter(ctx, x.key, traffic.LimitsOf(x.credential.Limits)); err != nil {
		return nil, err
	}
	if err := x.refresh(ctx); err != nil {
		left(traffic.Neutral)
		return nil, err
	}
	return left, nil
}

// refresh gets another token where the present one has expired since it was found, and goes with this attempt.
func (x *exchange) refresh(ctx context.Context) error {
	if x.foreign || !x.credential.ExpiredAt(x.options.Clock.Now()) {
		return nil
	}
	fresh, err := x.options.Credentials.Renew(ctx, x.connection, x.credential, credential.Expired)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case !x.fitsTarget(fresh):
		return problem.New(problem.ConnectionNotReady,
			"where requests of the application may go has changed while this one waited: send it again")
	}
	x.use(fresh)
	return nil
}

// fitsTarget tells whether a token may go where the request goes.
func (x *exchange) fitsTarget(c *credential.Credential) bool {
	return c.Base != nil && newRealm(c.Base, c.AllowedHosts).holds(x.target)
}

// use makes the next attempt go with another token.
func (x *exchange) use(c *credential.Credential) {
	x.credential, x.realm = c, newRealm(c.Base, c.AllowedHosts)
	x.authorizeWith(c)
}

// try sends the request once.
func (x *exchange) try(ctx context.Context) (*http.Response, error) {
	left, err := x.enter(ctx)
	if err != nil {
		return nil, err
	}
	attempt, cancel := context.WithCancelCause(ctx)
	x.cancel, x.left, x.outcome = cancel, left, traffic.Neutral
	x.Attempts++
	x.watch.begin(cancel, x.stuck())
	response, err := x.transport.RoundTrip(x.request(attempt))
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close()
		err = errors.New("the provider switched protocols, which it was not asked for")
	}
	if err != nil {
		err = x.cause(attempt, err)
		x.outcome = outcomeOf(err)
		x.watch.pause()
		x.leave()
		return nil, err
	}
	x.watch.answered()
	x.outcome = traffic.OutcomeOf(response.StatusCode)
	x.options.Gate.Observe(x.key, traffic.HeadersOf(x.credential.Limits), response.StatusCode, response.Header)
	return response, nil
}

// stuck returns what tells whether the caller's body is waited for; nil: there is none.
func (x *exchange) stuck() func() bool {
	if x.body == nil {
		return nil
	}
	return x.body.stuck
}

// request makes the request of one attempt.
func (x *exchange) request(ctx context.Context) *http.Request {
	request := (&http.Request{Method: x.Method, URL: x.target, Header: x.header, ContentLength: x.length}).WithContext(ctx)
	if x.body == nil {
		return request
	}
	// Not all servers read a body where none is usual: to them it is the next request on the connection, which must not be kept.
	request.Close = !usuallyHasBody(x.Method)
	request.Trailer = maps.Clone(x.trailer)
	request.Body = x.body.open(request.Trailer)
	// The transport asks for it when a kept connection turns out to have been closed before the request was written.
	request.GetBody = func() (io.ReadCloser, error) {
		if !x.body.rewindable() {
			return nil, errGone
		}
		return x.body.open(request.Trailer), nil
	}
	return request
}

// usuallyHasBody tells the methods whose content has a meaning (RFC 9110, section 9.3).
func usuallyHasBody(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete:
		return false
	}
	return true
}

// judge tells whether to send the request again: then the answer has been dropped, and what is to be different is. Otherwise
// there is the answer, or an error.
func (x *exchange) judge(ctx context.Context, response *http.Response, err error) (again bool, _ error) {
	resendable := true
	if x.body != nil {
		resendable = x.body.hold()
		defer x.body.release()
	}
	switch {
	case err != nil:
		return x.retryAfterError(ctx, err, resendable)
	case response.StatusCode == http.StatusUnauthorized && !x.foreign:
		return x.renew(ctx, response, resendable), nil
	case !resendable:
		return false, nil
	case isRedirect(response.StatusCode):
		return x.redirect(response), nil
	}
	return x.retryAfterAnswer(ctx, response)
}

// drop ends an attempt whose answer nobody gets. A short rest is read for the sake of the connection.
func (x *exchange) drop(response *http.Response) {
	if response.ContentLength >= 0 && response.ContentLength <= drained {
		_, _ = io.Copy(io.Discard, response.Body)
	}
	_ = response.Body.Close()
	x.watch.pause()
	x.leave()
}

// leave ends the attempt under way, if there is one.
func (x *exchange) leave() {
	if x.cancel == nil {
		return
	}
	x.cancel(errOver)
	x.left(x.outcome)
	x.cancel, x.left = nil, nil
}

// renew asks for another token when this one was rejected, once. The caller is told what became of it.
func (x *exchange) renew(ctx context.Context, response *http.Response, resendable bool) (again bool) {
	if x.renewed {
		x.Token, x.verify = TokenRejected, true
		return false
	}
	x.renewed = true
	x.watch.pause()
	fresh, err := x.options.Credentials.Renew(ctx, x.connection, x.credential, credential.Rejected)
	switch {
	case ctx.Err() != nil:
		return false // The answer is dropped: nobody waits for it any more.
	case err != nil:
		x.Token, x.Renewal = TokenRejected, err
		// It was renewed a moment ago, and does not work: the grant may have ended.
		x.verify = errors.Is(err, credential.ErrTooSoon)
		x.watch.answered()
		return false
	}
	x.Token = TokenRenewed
	if !resendable || !x.fitsTarget(fresh) {
		x.watch.answered()
		return false
	}
	x.drop(response)
	x.use(fresh)
	return true
}
