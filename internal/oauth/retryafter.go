// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter bounds what a provider can ask for: a mistaken header must not put a connection to sleep for days.
const MaxRetryAfter = time.Hour

// ParseRetryAfter reads a Retry-After header in either form, seconds or a date (RFC 9110, section 10.2.3), as a distance
// from now between 0 and MaxRetryAfter. What cannot be read is 0.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter // Only digits: it failed because it is huge.
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), MaxRetryAfter)
}
