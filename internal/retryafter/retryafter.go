// SPDX-License-Identifier: Apache-2.0

// Package retryafter reads the header Retry-After (RFC 9110, section 10.2.3).
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Max bounds what a server can ask for: a mistaken header must not put a connection to sleep for days.
const Max = time.Hour

// Parse reads a Retry-After header in either form, seconds or a date, as a distance from now between 0 and Max. What cannot
// be read is 0.
func Parse(value string, now time.Time) time.Duration {
	wait, _ := Read(value, now)
	return wait
}

// Read is Parse, and ok tells 0 from what cannot be read.
func Read(value string, now time.Time) (wait time.Duration, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(Max/time.Second) {
			return Max, true // Only digits: it failed because it is huge.
		}
		return time.Duration(seconds) * time.Second, true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(date.Sub(now), 0), Max), true
}
