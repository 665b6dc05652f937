// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

const (
	// maxRetries of one request, for reasons that may pass.
	maxRetries = 2
	// maxWaits is how long retries may be put off, all together, where the caller has not said how long it waits.
	maxWaits = 30 * time.Second
	// firstPause is the longest pause before the first retry; it doubles with each, and half of it is chance.
	firstPause = 500 * time.Millisecond
)

// retryAfterError tells whether to try again after an attempt without an answer.
func (x *exchange) retryAfterError(ctx context.Context, err error, resendable bool) (again bool, _ error) {
	if !resendable || !mayPass(err) || !x.mayRepeat() {
		return false, err
	}
	wait := x.pause()
	if !x.fits(wait) {
		return false, err
	}
	if err := x.sleep(ctx, wait); err != nil {
		return false, err
	}
	return true, nil
}

// retryAfterAnswer tells whether to try again after an answer that may be another one later, and waits as long as the answer
// says. Where that is too long for the caller, it gets the answer at once.
func (x *exchange) retryAfterAnswer(ctx context.Context, response *http.Response) (again bool, _ error) {
	reset := ""
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		reset = traffic.HeadersOf(x.credential.Limits).Reset
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return false, nil
	}
	if !x.mayRepeat() {
		return false, nil
	}
	wait := x.pause()
	if told, ok := traffic.RetryAfter(response.Header, reset, x.options.Clock.Now()); ok {
		wait = max(wait, told)
	}
	if !x.fits(wait) {
		return false, nil
	}
	x.drop(response)
	if err := x.sleep(ctx, wait); err != nil {
		return false, err
	}
	return true, nil
}

// mayRepeat tells whether the request may be sent once more: it does no harm when the provider has done it already.
func (x *exchange) mayRepeat() bool {
	if x.Retries >= maxRetries {
		return false
	}
	switch x.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return x.plain.Get("Idempotency-Key") != ""
}

func (x *exchange) pause() time.Duration {
	longest := firstPause << x.Retries
	return longest/2 + time.Duration(x.options.Jitter()*float64(longest/2))
}

func (x *exchange) fits(wait time.Duration) bool {
	if x.until.IsZero() {
		return x.waited+wait <= maxWaits
	}
	return x.options.Clock.Now().Add(wait).Before(x.until)
}

// sleep waits before a retry, and returns why it cannot be made.
func (x *exchange) sleep(ctx context.Context, wait time.Duration) error {
	x.waited += wait
	timer := x.options.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C():
		x.Retries++
		return nil
	}
}
