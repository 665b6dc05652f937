// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

const (
	defaultShare       = 0.20            // of the lifetime, the default margin
	defaultMargin      = 5 * time.Minute // or this, if larger
	maxDefaultShare    = 0.50            // but never more than this
	earliestShare      = 0.10            // nothing is refreshed earlier in its life
	shortLifetime      = time.Minute     // up to which the next bound does not hold
	quietPeriod        = 30 * time.Second
	jitterShare        = 0.10 // of the margin
	unknownInterval    = time.Hour
	resendShare        = 0.10 // "about to expire": this share of the lifetime,
	resendMargin       = 30 * time.Second
	crashConfirmation  = 30 * time.Second
	provenUnrotated    = 2 // refreshes without a new refresh token that prove a provider does not rotate
	rejectionAttempts  = 5
	rejectionPeriod    = 5 * time.Minute
	clockTolerance     = 5 * time.Minute // by which clocks of two nodes may differ without being called wrong
	transientBase      = time.Second
	transientLimit     = 5 * time.Minute
	lookupLimit        = time.Hour
	revocationLimit    = 30 * time.Second
	backoffJitterShare = 0.20
	devicePatience     = time.Hour   // for which device codes that expire are replaced by themselves
	deviceDistance     = time.Minute // between two device codes that were asked for in vain, at most
	slowDown           = 5 * time.Second
	candidateAttempts  = 5                // to revoke what was refused
	hintSettling       = time.Minute      // after which a provider's servers agree that a grant has ended
	hintAttempts       = 12               // to verify a report that a grant has ended: about half an hour
	nudgeDistance      = 10 * time.Second // between the last renewal and one that a caller asks for
	blockedPatience    = time.Minute      // for which a person's code waits while the provider must not be called
	loginPatience      = 10 * time.Minute // for which it waits at all
)

// Margin is how long before its expiry a token is refreshed; the zero value is the default.
type Margin struct {
	// Share of the lifetime, above 0 and below 1; or
	Share float64
	// Duration.
	Duration time.Duration
}

// ParseMargin reads spec.refresh.before: "", "25%" or "10m". Errors name the field.
func ParseMargin(s string) (Margin, error) {
	if s == "" {
		return Margin{}, nil
	}
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.Atoi(percent)
		if err != nil || p < 1 || p > 99 {
			return Margin{}, fmt.Errorf("refresh.before %q: a percentage goes from 1%% to 99%%", s)
		}
		return Margin{Share: float64(p) / 100}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return Margin{}, fmt.Errorf("refresh.before %q: give a duration such as 10m or a percentage such as 25%%", s)
	}
	return Margin{Duration: d}, nil
}

func (m Margin) of(lifetime time.Duration) time.Duration {
	switch {
	case m.Share > 0:
		return share(lifetime, m.Share)
	case m.Duration > 0:
		return m.Duration
	}
	return min(max(share(lifetime, defaultShare), defaultMargin), share(lifetime, maxDefaultShare))
}

// RefreshDue returns when the access token is to be renewed; zero: never by itself. uid makes the jitter stable.
func RefreshDue(t *Tokens, margin Margin, uid string) time.Time {
	switch t.Expiry.Kind {
	case ExpiryNever:
		return time.Time{}
	case ExpiryUnknown:
		early := share(share(unknownInterval, jitterShare), fraction(uid, t.IssuedAt.Unix()))
		return t.IssuedAt.Add(unknownInterval - early)
	case ExpiryAt:
	}
	lifetime := max(t.Expiry.At.Sub(t.IssuedAt), 0)
	before := margin.of(lifetime)
	early := share(share(before, jitterShare), fraction(uid, t.Expiry.At.Unix()))
	due := t.Expiry.At.Add(-before - early)
	if floor := t.IssuedAt.Add(share(lifetime, earliestShare)); due.Before(floor) {
		due = floor
	}
	if floor := t.IssuedAt.Add(quietPeriod); lifetime > shortLifetime && due.Before(floor) {
		due = floor
	}
	return due
}

// renewalDue is RefreshDue, counted from the last success where that matters: a slow answer comes long after the request
// that a token's age counts from, and a refresh token that came without an access token has no age at all.
func (f Facts) renewalDue() time.Time {
	r := f.Record
	due, success := RefreshDue(&r.Tokens, f.Margin, f.UID), latest(r.AuthorizedAt, r.RefreshedAt)
	switch {
	case due.IsZero():
		return due
	case r.Expiry.Kind == ExpiryAt && r.Expiry.At.Sub(r.IssuedAt) > shortLifetime:
		success = success.Add(quietPeriod)
	}
	if success.After(r.IssuedAt.Add(clockTolerance)) && !r.IssuedAt.IsZero() {
		return due // A success long after the request that it answered was timed by a clock that was ahead then.
	}
	return latest(due, success)
}

// CheckDue returns the first time for a periodic check after the last one. Times are multiples of the interval, shifted by
// a stable part of it, so that checks are spread and a restart makes none that is not due.
func CheckDue(uid string, interval time.Duration, last time.Time) time.Time {
	offset := share(interval, fraction(uid, int64(interval)))
	due := last.Truncate(interval).Add(offset)
	for !due.After(last) {
		due = due.Add(interval)
	}
	return due
}

// resendDue returns when a refresh token that may have been spent is sent once more: at once (the zero time) where that
// harms nothing, else when the access token is about to expire, because reuse detection could kill a token that still
// works. false: never by itself, since the access token never expires.
func (r *Record) resendDue() (time.Time, bool) {
	if r.Unrotated >= provenUnrotated || r.AccessToken.IsEmpty() {
		return time.Time{}, true
	}
	switch r.Expiry.Kind {
	case ExpiryNever:
		return time.Time{}, false
	case ExpiryUnknown:
		return r.IssuedAt.Add(unknownInterval), true
	case ExpiryAt:
	}
	lifetime := r.Expiry.At.Sub(r.IssuedAt)
	return r.Expiry.At.Add(-min(share(lifetime, resendShare), resendMargin)), true
}

// transientBackoff doubles from a second to five minutes; a provider's Retry-After is a lower bound.
func transientBackoff(count int, retryAfter time.Duration, uid string) time.Duration {
	return max(backoff(count, transientLimit, uid), retryAfter)
}

func backoff(count int, limit time.Duration, uid string) time.Duration {
	d := limit
	if shift := max(count-1, 0); shift < 16 {
		d = min(transientBase<<shift, limit)
	}
	return d + share(share(d, backoffJitterShare), fraction(uid, int64(count)))
}

// rejectionBackoff spreads rejectionAttempts attempts over at least rejectionPeriod.
func rejectionBackoff(count int, retryAfter time.Duration, uid string) time.Duration {
	d := time.Duration(count) * quietPeriod // 30 + 60 + 90 + 120 seconds
	return max(d+share(share(d, backoffJitterShare), fraction(uid, int64(count))), retryAfter)
}

// fraction is a stable number from 0 up to, not including, 1.
func fraction(uid string, n int64) float64 {
	h := fnv.New64a()
	// Writing to a hash cannot fail.
	_, _ = fmt.Fprintf(h, "%s/%d", uid, n)
	const mantissa = 53
	// The low bits of FNV-1a are mixed best; multiply once more so that close inputs end far apart.
	return float64((h.Sum64()*0x9E3779B97F4A7C15)>>(64-mantissa)) / (1 << mantissa)
}

func share(d time.Duration, part float64) time.Duration { return time.Duration(float64(d) * part) }
