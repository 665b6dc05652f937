// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// neverAfter is the lifetime beyond which a token counts as one that never expires.
const neverAfter = 10 * 365 * 24 * time.Hour

// LifetimeKind says what is known about a lifetime.
type LifetimeKind string

// The kinds of lifetime.
const (
	// LifetimeUnknown: missing, null, zero, negative or not a number. The token may expire at any time.
	LifetimeUnknown LifetimeKind = ""
	// LifetimeFinite: Duration says how long.
	LifetimeFinite LifetimeKind = "Finite"
	// LifetimeNever: over ten years.
	LifetimeNever LifetimeKind = "Never"
)

// Lifetime is what `expires_in` said (RFC 6749, section 5.1). The zero value is unknown.
type Lifetime struct {
	Kind LifetimeKind
	// Duration is whole seconds, at least one, when Kind is LifetimeFinite, and 0 otherwise.
	Duration time.Duration
}

// ExpiresAt returns when a token received at the given time expires; the zero time when it never does or nobody knows.
func (l Lifetime) ExpiresAt(received time.Time) time.Time {
	if l.Kind != LifetimeFinite {
		return time.Time{}
	}
	return received.Add(l.Duration)
}

// ParseLifetime reads a JSON value: a number or a string with one, in seconds; fractions are cut off. It never fails:
// whatever cannot be read is unknown, because a bad lifetime must not cost the token that came with it.
func ParseLifetime(raw json.RawMessage) Lifetime { return parseLifetime(scalar(raw)) }

func parseLifetime(text string) Lifetime {
	text = strings.TrimSpace(text)
	const longestNumber = 64 // Keeps 1e999999999 from being computed.
	if text == "" || len(text) > longestNumber || strings.Trim(text, "0123456789+-.eE") != "" {
		return Lifetime{}
	}
	seconds, _, err := big.ParseFloat(text, 10, 64, big.ToZero)
	if err != nil || seconds.Cmp(big.NewFloat(1)) < 0 {
		return Lifetime{}
	}
	if seconds.Cmp(big.NewFloat(neverAfter.Seconds())) > 0 {
		return Lifetime{Kind: LifetimeNever}
	}
	whole, _ := seconds.Int64()
	return Lifetime{Kind: LifetimeFinite, Duration: time.Duration(whole) * time.Second}
}

// scalar returns the text of a JSON string or number, and "" for everything else.
func scalar(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// parseTime reads a point in time: RFC 3339, or seconds or milliseconds since 1970. What cannot be read is the zero time.
func parseTime(text string) time.Time {
	text = strings.TrimSpace(text)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at
	}
	const (
		longestNumber = 32
		// As seconds, this is beyond the year 5000; as milliseconds, it was in 1973.
		leastMilliseconds = 1e11
		// The year 9999, the last one that RFC 3339 can write.
		mostSeconds = 253402300799
	)
	if text == "" || len(text) > longestNumber || strings.Trim(text, "0123456789.+eE") != "" {
		return time.Time{}
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number <= 0 {
		return time.Time{}
	}
	if number >= leastMilliseconds {
		number /= 1000
	}
	return time.Unix(int64(min(number, mostSeconds)), 0).UTC()
}

// lifetimeUntil is the lifetime of what expires at a time. A time in the past says nothing but that a clock is wrong.
func lifetimeUntil(at, now time.Time) Lifetime {
	// Seconds, since a Duration ends after 292 years.
	seconds := at.Unix() - now.Unix()
	switch {
	case at.IsZero() || seconds < 1:
		return Lifetime{}
	case seconds > int64(neverAfter/time.Second):
		return Lifetime{Kind: LifetimeNever}
	}
	return Lifetime{Kind: LifetimeFinite, Duration: time.Duration(seconds) * time.Second}
}
