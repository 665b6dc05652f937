// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/retryafter"
)

// Numbers above these are no seconds from now, but a Unix time.
const (
	fromUnixSeconds      = 1e9
	fromUnixMilliseconds = 1e11
)

// RetryAfter returns how long an answer asks to wait, between 0 and retryafter.Max: what Retry-After says in either form
// (RFC 9110, section 10.2.3), else the provider's own reset header, if it has one. That is a number, whole or not, of
// seconds from now, or a Unix time in seconds or milliseconds; a duration such as 6m0s or 250ms; or a date (RFC 3339 or
// HTTP). ok is false when the answer says nothing that can be read.
func RetryAfter(h http.Header, resetHeader string, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if wait, ok := retryafter.Read(value, now); ok {
		return wait, true
	}
	if wait, ok := distance(value, now); ok {
		return wait, true
	}
	if resetHeader == "" {
		return 0, false
	}
	return distance(strings.TrimSpace(h.Get(resetHeader)), now)
}

// distance reads the forms of reset headers, as a distance from now between 0 and retryafter.Max.
func distance(value string, now time.Time) (time.Duration, bool) {
	if number, ok := decimal(value); ok {
		return bounded(fromNumber(number, now)), true
	}
	if duration, err := time.ParseDuration(value); err == nil {
		return bounded(duration), true
	}
	if date, err := time.Parse(time.RFC3339, value); err == nil {
		return bounded(date.Sub(now)), true
	}
	if date, err := http.ParseTime(value); err == nil {
		return bounded(date.Sub(now)), true
	}
	return 0, false
}

func bounded(wait time.Duration) time.Duration { return min(max(wait, 0), retryafter.Max) }

// decimal reads digits with at most one point among them: no sign, no exponent, no names of numbers.
func decimal(value string) (float64, bool) {
	if value == "" || strings.Trim(value, "0123456789.") != "" {
		return 0, false
	}
	number, err := strconv.ParseFloat(value, 64)
	return number, err == nil
}

func fromNumber(number float64, now time.Time) time.Duration {
	seconds := number
	switch {
	case number > fromUnixMilliseconds:
		seconds = number/1e3 - unix(now)
	case number > fromUnixSeconds:
		seconds = number - unix(now)
	}
	// Bounded before the conversion, which has no defined result for what does not fit.
	limit := retryafter.Max.Seconds()
	return time.Duration(min(max(seconds, -limit), limit) * float64(time.Second))
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// usedUp tells whether an answer says that no request is left. Where a header names several windows, as in "0, 1000", one
// of them is enough; what stands behind a semicolon only describes it.
func usedUp(h http.Header, remainingHeader string) bool {
	for window := range strings.SplitSeq(strings.Join(h.Values(remainingHeader), ","), ",") {
		window, _, _ = strings.Cut(window, ";")
		window = strings.TrimSpace(window)
		if number, ok := decimal(strings.TrimPrefix(window, "-")); ok && (number == 0 || window[0] == '-') {
			return true
		}
	}
	return false
}
