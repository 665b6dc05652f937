// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
	"github.com/oauth-operator/oauth-operator/internal/retryafter"
)

func testNow() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

func TestRetryAfter(t *testing.T) {
	const nothing = -1
	in := func(wait time.Duration) time.Time { return testNow().Add(wait) }
	for name, row := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing":                             {headers(), nothing},
		"seconds":                             {headers("Retry-After", "7"), 7 * time.Second},
		"at once":                             {headers("Retry-After", "0", "X-Reset", "9"), 0},
		"a date":                              {headers("Retry-After", in(30*time.Second).Format(http.TimeFormat)), 30 * time.Second},
		"Retry-After wins":                    {headers("Retry-After", "7", "X-Reset", "9"), 7 * time.Second},
		"Retry-After with a fraction":         {headers("Retry-After", "1.5", "X-Reset", "9"), 1500 * time.Millisecond},
		"Retry-After that says nothing":       {headers("Retry-After", "soon", "X-Reset", "9"), 9 * time.Second},
		"far too long":                        {headers("Retry-After", "86400"), retryafter.Max},
		"reset in seconds":                    {headers("X-Reset", " 42 "), 42 * time.Second},
		"reset in fractions":                  {headers("X-Reset", "0.25"), 250 * time.Millisecond},
		"reset now":                           {headers("X-Reset", "0"), 0},
		"reset far too long":                  {headers("X-Reset", "999999999"), retryafter.Max},
		"reset of many digits":                {headers("X-Reset", "99999999999999999999999999"), retryafter.Max},
		"Unix seconds":                        {headers("X-Reset", fmt.Sprint(in(90*time.Second).Unix())), 90 * time.Second},
		"Unix seconds, with a fraction":       {headers("X-Reset", fmt.Sprintf("%d.5", in(90*time.Second).Unix())), 90500 * time.Millisecond},
		"Unix seconds, past":                  {headers("X-Reset", fmt.Sprint(in(-time.Hour).Unix())), 0},
		"Unix milliseconds":                   {headers("X-Reset", fmt.Sprint(in(1500*time.Millisecond).UnixMilli())), 1500 * time.Millisecond},
		"Unix milliseconds, past":             {headers("X-Reset", fmt.Sprint(in(-time.Hour).UnixMilli())), 0},
		"a duration":                          {headers("X-Reset", "6m0s"), 6 * time.Minute},
		"a duration of seconds":               {headers("X-Reset", "1s"), time.Second},
		"a duration of milliseconds":          {headers("X-Reset", "250ms"), 250 * time.Millisecond},
		"a negative duration":                 {headers("X-Reset", "-1s"), 0},
		"a long duration":                     {headers("X-Reset", "36h"), retryafter.Max},
		"RFC 3339":                            {headers("X-Reset", in(time.Minute).Format(time.RFC3339)), time.Minute},
		"RFC 3339 with zone and a fraction":   {headers("X-Reset", "2026-08-01T14:00:01.5+02:00"), 1500 * time.Millisecond},
		"HTTP date":                           {headers("X-Reset", in(time.Minute).Format(http.TimeFormat)), time.Minute},
		"a date that has passed":              {headers("X-Reset", in(-time.Minute).Format(http.TimeFormat)), 0},
		"a word":                              {headers("X-Reset", "tomorrow"), nothing},
		"a negative number":                   {headers("X-Reset", "-5"), nothing},
		"an exponent":                         {headers("X-Reset", "1e3"), nothing},
		"points":                              {headers("X-Reset", "1.2.3"), nothing},
		"not a number":                        {headers("X-Reset", "NaN"), nothing},
		"another header than the one that is": {headers("X-Other", "5"), nothing},
	} {
		t.Run(name, func(t *testing.T) {
			wait, ok := traffic.RetryAfter(row.header, "X-Reset", testNow())
			if ok != (row.want != nothing) || !near(wait, max(row.want, 0)) {
				t.Errorf("%s, %t, want %s", wait, ok, row.want)
			}
		})
	}
	if wait, ok := traffic.RetryAfter(headers("", "5", "X-Reset", "5"), "", testNow()); ok {
		t.Errorf("without a name of a header: %s", wait)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"7", "1.5", "1785585600", "1785585600000.25", "6m0s", "-9223372036854775808ns", "2026-08-01T12:00:30Z", "0000-01-01T00:00:00Z", ""} {
		f.Add("", seed)
		f.Add(seed, "1")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		wait, ok := traffic.RetryAfter(headers("Retry-After", first, "X-Reset", second), "X-Reset", testNow())
		if wait < 0 || wait > retryafter.Max || !ok && wait != 0 {
			t.Errorf("%q, %q: %s, %t", first, second, wait, ok)
		}
	})
}

func github() traffic.RateLimitHeaders {
	return traffic.RateLimitHeaders{Remaining: "X-RateLimit-Remaining", Reset: "X-RateLimit-Reset"}
}

func TestAnnouncedLimit(t *testing.T) {
	for name, row := range map[string]struct {
		names  traffic.RateLimitHeaders
		status int
		header http.Header
		want   time.Duration
	}{
		"nothing remains":           {github(), 200, headers("x-ratelimit-remaining", "0", "x-ratelimit-reset", "5"), 5 * time.Second},
		"less than nothing remains": {github(), 403, headers("x-ratelimit-remaining", "-1", "x-ratelimit-reset", "5"), 5 * time.Second},
		"one of two windows":        {github(), 200, headers("x-ratelimit-remaining", "7, 0;w=60", "x-ratelimit-reset", "5"), 5 * time.Second},
		"Retry-After says more":     {github(), 403, headers("x-ratelimit-remaining", "0", "x-ratelimit-reset", "5", "Retry-After", "2"), 2 * time.Second},
		"too many, though some remain": {
			github(), 429, headers("x-ratelimit-remaining", "12", "Retry-After", "3"), 3 * time.Second,
		},
		"some remain":                  {github(), 200, headers("x-ratelimit-remaining", "1", "x-ratelimit-reset", "5"), 0},
		"0.5 remain":                   {github(), 200, headers("x-ratelimit-remaining", "0.5", "x-ratelimit-reset", "5"), 0},
		"no word of what remains":      {github(), 200, headers("x-ratelimit-reset", "5"), 0},
		"no number":                    {github(), 200, headers("x-ratelimit-remaining", "none, -, ;", "x-ratelimit-reset", "5"), 0},
		"no word of when":              {github(), 200, headers("x-ratelimit-remaining", "0"), 0},
		"no header named":              {traffic.RateLimitHeaders{}, 200, headers("x-ratelimit-remaining", "0", "x-ratelimit-reset", "5"), 0},
		"429 of one endpoint":          {traffic.RateLimitHeaders{Reset: "X-RateLimit-Reset"}, 429, headers("Retry-After", "5"), 0},
		"502 with nothing that counts": {github(), 502, headers("Retry-After", "5"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := traffic.New(traffic.Options{})
				g.Observe(keyOf("a"), row.names, row.status, row.header)
				if other := entered(t, g, keyOf("b"), wide()); other.waited != 0 {
					t.Errorf("another connection waited %s", other.waited)
				}
				for _, want := range []time.Duration{row.want, 0} {
					if a := entered(t, g, keyOf("a"), wide()); !near(a.waited, want) {
						t.Errorf("waited %s, want %s", a.waited, want)
					}
				}
			})
		})
	}
}

func usedUp(seconds int) http.Header {
	return headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(seconds))
}

// TestLongAnnouncedLimit: what is too long is refused at once, before it takes any place.
func TestLongAnnouncedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := traffic.New(traffic.Options{})
		g.Observe(keyOf("a"), github(), 200, usedUp(11))
		a := enter(t.Context(), g, keyOf("a"), wide())
		refused(t, a, problem.RateLimited, 11*time.Second)
		g.Observe(keyOf("a"), github(), 200, usedUp(5)) // An answer that comes later may know less.
		refused(t, enter(t.Context(), g, keyOf("a"), wide()), problem.RateLimited, 11*time.Second)
		time.Sleep(4 * time.Second) //nolint:forbidigo // the time of synctest
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b := enter(short, g, keyOf("a"), wide())
		refused(t, b, problem.RateLimited, 7*time.Second)
		if a.waited != 0 || b.waited != 0 {
			t.Errorf("they waited %s and %s", a.waited, b.waited)
		}
		if c := entered(t, g, keyOf("a"), wide()); c.waited != 7*time.Second {
			t.Errorf("waited %s", c.waited)
		}
	})
}

// TestAnnouncedWhileOthersWait: what waits for the provider's limit hears of a longer one, and can go away.
func TestAnnouncedWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, one := traffic.New(traffic.Options{}), narrow(false, traffic.Limit{MaxConcurrent: 1})
		running := entered(t, g, keyOf("a"), one)
		queued := begin(t.Context(), g, keyOf("a"), one)
		g.Observe(keyOf("a"), github(), 200, usedUp(3))
		running.leave(traffic.Answered)
		waits(t, queued)
		time.Sleep(2 * time.Second) //nolint:forbidigo // the time of synctest
		g.Observe(keyOf("a"), github(), 200, usedUp(3))
		a := <-queued
		if a.err != nil || a.waited != 5*time.Second {
			t.Errorf("%v after %s", a.err, a.waited)
		}
		a.leave(traffic.Answered)

		g.Observe(keyOf("a"), github(), 200, usedUp(3))
		ctx, cancel := context.WithCancel(t.Context())
		away := begin(ctx, g, keyOf("a"), one)
		g.Observe(keyOf("a"), github(), 200, usedUp(600))
		cancel()
		if a := came(t, away); !errors.Is(a.err, context.Canceled) {
			t.Errorf("cancelled: %v", a.err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := traffic.New(traffic.Options{})
		g.Observe(keyOf("a"), github(), 200, usedUp(3))
		pending := begin(t.Context(), g, keyOf("a"), wide())
		g.Observe(keyOf("a"), github(), 200, usedUp(600))
		a := <-pending
		refused(t, a, problem.RateLimited, 597*time.Second)
		if a.waited != 3*time.Second {
			t.Errorf("it waited %s", a.waited)
		}
	})
}
