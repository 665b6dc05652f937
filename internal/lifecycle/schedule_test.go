// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

func TestParseMargin(t *testing.T) {
	for _, tc := range []struct {
		text    string
		want    lifecycle.Margin
		invalid bool
		reason  string
	}{
		{text: "", reason: "nothing said is the default"},
		{text: "25%", want: lifecycle.Margin{Share: 0.25}, reason: "a share of the lifetime"},
		{text: "1%", want: lifecycle.Margin{Share: 0.01}, reason: "the smallest share"},
		{text: "99%", want: lifecycle.Margin{Share: 0.99}, reason: "the largest share"},
		{text: "10m", want: lifecycle.Margin{Duration: 10 * time.Minute}, reason: "a duration"},
		{text: "1h30m", want: lifecycle.Margin{Duration: 90 * time.Minute}, reason: "a composed duration"},
		{text: "0%", invalid: true, reason: "no margin at all would let tokens expire"},
		{text: "100%", invalid: true, reason: "the whole lifetime would refresh without end"},
		{text: "-5%", invalid: true, reason: "after the expiry"},
		{text: "2.5%", invalid: true, reason: "whole percents only"},
		{text: "%", invalid: true, reason: "no number"},
		{text: "0s", invalid: true, reason: "no margin at all"},
		{text: "-10m", invalid: true, reason: "after the expiry"},
		{text: "10", invalid: true, reason: "no unit"},
		{text: "soon", invalid: true, reason: "not a duration"},
	} {
		got, err := lifecycle.ParseMargin(tc.text)
		if (err != nil) != tc.invalid || got != tc.want {
			t.Errorf("ParseMargin(%q) = %+v, %v; want %+v, invalid %t: %s", tc.text, got, err, tc.want, tc.invalid, tc.reason)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("refresh.before %q", tc.text)) {
			t.Errorf("ParseMargin(%q): the error %q does not name the field and its value", tc.text, err)
		}
	}
}

// TestRefreshDue gives the bounds between which jitter may put the renewal, counted from the issue of the token.
func TestRefreshDue(t *testing.T) {
	for _, tc := range []struct {
		lifetime         time.Duration
		before           string
		earliest, latest time.Duration
		reason           string
	}{
		{lifetime: time.Hour, earliest: 46*time.Minute + 48*time.Second, latest: 48 * time.Minute, reason: "20 % of an hour are more than 5 minutes"},
		{lifetime: 20 * time.Minute, earliest: 14*time.Minute + 30*time.Second, latest: 15 * time.Minute, reason: "5 minutes are more than 20 % of 20 minutes"},
		{lifetime: 6 * time.Minute, earliest: 162 * time.Second, latest: 3 * time.Minute, reason: "never more than half of the lifetime by default"},
		{lifetime: 30 * 24 * time.Hour, earliest: 30*24*time.Hour - 158*time.Hour - 24*time.Minute, latest: 24 * 24 * time.Hour, reason: "20 % of a month"},
		{lifetime: 10 * time.Second, earliest: 4500 * time.Millisecond, latest: 5 * time.Second, reason: "a token of 10 seconds is renewed at half of its life"},
		{lifetime: time.Second, earliest: 450 * time.Millisecond, latest: 500 * time.Millisecond, reason: "a token of a second too"},
		{lifetime: time.Minute, earliest: 27 * time.Second, latest: 30 * time.Second, reason: "the quiet 30 seconds bind lifetimes over a minute only"},
		{lifetime: time.Minute + time.Second, earliest: 30 * time.Second, latest: 30500 * time.Millisecond, reason: "over a minute nothing happens within 30 seconds"},
		{lifetime: time.Hour, before: "25%", earliest: 43*time.Minute + 30*time.Second, latest: 45 * time.Minute, reason: "an explicit share"},
		{lifetime: time.Hour, before: "10m", earliest: 49 * time.Minute, latest: 50 * time.Minute, reason: "an explicit duration"},
		{lifetime: time.Hour, before: "1s", earliest: time.Hour - 1100*time.Millisecond, latest: time.Hour - time.Second, reason: "a small margin is not enlarged"},
		{lifetime: time.Hour, before: "99%", earliest: 6 * time.Minute, latest: 6 * time.Minute, reason: "never before 10 % of the lifetime"},
		{lifetime: time.Hour, before: "240h", earliest: 6 * time.Minute, latest: 6 * time.Minute, reason: "a margin longer than the lifetime ends at the same floor"},
		{lifetime: 2 * time.Minute, before: "99%", earliest: 30 * time.Second, latest: 30 * time.Second, reason: "30 seconds are later than 10 % of 2 minutes"},
		{lifetime: time.Minute, before: "99%", earliest: 6 * time.Second, latest: 6 * time.Second, reason: "a minute is not over a minute"},
		{lifetime: 10 * time.Second, before: "1h", earliest: time.Second, latest: time.Second, reason: "short tokens have the floor of 10 % alone"},
		{lifetime: 0, earliest: 0, latest: 0, reason: "expired when it came"},
		{lifetime: -time.Hour, earliest: 0, latest: 0, reason: "expired before it was asked for: at once"},
	} {
		margin, err := lifecycle.ParseMargin(tc.before)
		if err != nil {
			t.Fatal(err)
		}
		tokens := expiring(tc.lifetime)
		for i := range 200 {
			got := lifecycle.RefreshDue(&tokens, margin, fmt.Sprintf("uid-%d", i)).Sub(issued())
			if got < tc.earliest || got > tc.latest {
				t.Errorf("lifetime %s, before %q: due after %s, want from %s to %s: %s", tc.lifetime, tc.before, got, tc.earliest, tc.latest, tc.reason)
				break
			}
		}
	}
}

func TestRefreshDueWithoutExpiry(t *testing.T) {
	unknown, never := unknownExpiry(), everlasting()
	for i := range 200 {
		got := lifecycle.RefreshDue(&unknown, lifecycle.Margin{}, fmt.Sprint(i)).Sub(issued())
		if got <= 54*time.Minute || got > time.Hour {
			t.Fatalf("unknown expiry: due after %s, want hourly, up to a tenth earlier", got)
		}
	}
	if got := lifecycle.RefreshDue(&never, lifecycle.Margin{Share: 0.5}, uid); !got.IsZero() {
		t.Errorf("a token that never expires is due at %s", got)
	}
}

// TestJitter shows that jitter is stable for one token, changes with UID and expiry, and spreads a herd evenly.
func TestJitter(t *testing.T) {
	first, second := expiring(time.Hour), expiring(time.Hour+time.Second)
	due := lifecycle.RefreshDue(&first, lifecycle.Margin{}, uid)
	if again := lifecycle.RefreshDue(&first, lifecycle.Margin{}, uid); !again.Equal(due) {
		t.Errorf("the same token is due at %s and at %s", due, again)
	}
	if second.Expiry.At.Sub(lifecycle.RefreshDue(&second, lifecycle.Margin{Duration: time.Minute}, uid)) ==
		first.Expiry.At.Sub(lifecycle.RefreshDue(&first, lifecycle.Margin{Duration: time.Minute}, uid)) {
		t.Error("two expiries of one connection have the same jitter")
	}
	const connections, buckets = 2000, 10
	window := 72 * time.Second // a tenth of the margin of 12 minutes
	var herd [buckets]int
	for i := range connections {
		early := after(48 * time.Minute).Sub(lifecycle.RefreshDue(&first, lifecycle.Margin{}, fmt.Sprintf("%s%04d", uid[:32], i)))
		herd[min(int(early*buckets/window), buckets-1)]++
	}
	for i, n := range herd {
		if n < connections/buckets/2 || n > connections/buckets*2 {
			t.Errorf("tenth %d of the window has %d of %d connections: %v", i, n, connections, herd)
		}
	}
}

// TestQuietAfterSuccess counts the quiet time from the answer: a token's age counts from the request, and a slow provider
// takes long.
func TestQuietAfterSuccess(t *testing.T) {
	f := about(held(lifetime(2*time.Minute), func(r *lifecycle.Record) { r.RefreshedAt = after(10 * time.Second) }))
	f.Margin = lifecycle.Margin{Share: 0.99}
	mustDecide(t, f, after(39*time.Second), lifecycle.Decision{Action: lifecycle.Wait, At: after(40 * time.Second)}, "30 seconds from the success")
	mustDecide(t, f, after(40*time.Second), lifecycle.Decision{Action: lifecycle.Refresh}, "and no longer")
	f.Record = held(lifetime(10*time.Second), func(r *lifecycle.Record) { r.RefreshedAt = after(4 * time.Second) })
	f.Margin = lifecycle.Margin{}
	mustDecide(t, f, after(5*time.Second), lifecycle.Decision{Action: lifecycle.Refresh}, "tokens up to a minute cannot wait")
}
