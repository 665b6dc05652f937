// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

func reporting(at time.Time) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) { f.Reported = hint("event-1", at) }
}

func checkable(f *lifecycle.Facts) {
	f.Check = lifecycle.Check{Interval: time.Hour, OnRequest: true, LastAt: issued()}
}

func listing(at time.Time) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) { f.Lists, f.ListedAt = true, at }
}

func TestDecideHint(t *testing.T) {
	now, event := after(10*time.Minute), after(9*time.Minute)
	act := func(a lifecycle.Action) lifecycle.Decision { return lifecycle.Decision{Action: a} }
	idle := lifecycle.Decide(about(held()), now)
	gone := func(r *lifecycle.Record) {
		r.Standing = &lifecycle.Standing{State: lifecycle.StandingDeleted, At: issued()}
	}
	issuedToClient := func(r *lifecycle.Record) { hintedAt(event)(r) }
	for _, row := range []struct {
		name   string
		facts  lifecycle.Facts
		want   lifecycle.Decision
		reason string
	}{
		{"reported", about(held(), reporting(event)), act(lifecycle.Heed), "it is written down first"},
		{"reported while suspended", about(held(), reporting(event), suspended), act(lifecycle.Heed), "writing it down asks nobody"},
		{"reported twice", about(held(hintedAt(event)), reporting(event), checkable), act(lifecycle.CheckGrant), "once"},
		{"reported of an earlier grant", about(held(), reporting(issued().Add(-time.Hour))), idle, "a person has authorized since"},
		{"reported without a grant", about(empty(), reporting(event), person(true)), act(lifecycle.Wait), "there is nothing to end"},
		{"token can be asked about", about(held(hintedAt(event)), checkable), act(lifecycle.CheckGrant), "the question that concerns this grant alone"},
		{"token has expired", about(held(hintedAt(event), lifetime(5*time.Minute)), checkable), act(lifecycle.Refresh), "an expired token proves nothing"},
		{"token was found dead", about(held(hintedAt(event), func(r *lifecycle.Record) { r.Doubted = true }), checkable), act(lifecycle.Refresh), "the refresh token has the last word"},
		{"only a refresh can tell", about(held(hintedAt(event))), act(lifecycle.Refresh), "the provider refuses a dead refresh token"},
		{"refresh failed a moment ago", about(held(hintedAt(event), failing(unavailable(20*time.Minute)))), lifecycle.Decision{Action: lifecycle.Wait, At: after(20 * time.Minute)}, "an outage is no reason for haste"},
		{"question failed a moment ago", about(held(func(r *lifecycle.Record) {
			r.Hint = hint("event-1", event)
			r.Hint.NextAttemptAt = after(11 * time.Minute)
		}), checkable), lifecycle.Decision{Action: lifecycle.Wait, At: after(11 * time.Minute)}, "again later"},
		{"only the list can tell", about(held(hintedAt(event), noRefreshToken), listing(event)), lifecycle.Decision{Action: lifecycle.Wait, At: after(time.Hour)}, "the list that is known is older"},
		{"the list says nothing new", about(held(hintedAt(event), noRefreshToken), listing(now)), act(lifecycle.Judge), "it would have said so"},
		{"nobody can tell", about(held(hintedAt(event), noRefreshToken)), act(lifecycle.Judge), "a matter of belief"},
		{"suspended", about(held(hintedAt(event)), checkable, suspended), lifecycle.Decision{Action: lifecycle.Wait, At: after(time.Hour)}, "nobody is asked"},
		{"ended meanwhile", about(held(hintedAt(event), gone), checkable), act(lifecycle.Judge), "nothing is left to verify"},
		{"a grant of the client's own", about(credentials(issuedToClient), clientCredentials, checkable), act(lifecycle.Judge), "nobody has authorized it"},
	} {
		t.Run(row.name, func(t *testing.T) { mustDecide(t, row.facts, now, row.want, row.reason) })
	}
}

// While a report cannot be verified, the grant is kept alive as ever: a signed event and an outage must not let a token run out.
func TestHintHoldsNothingUp(t *testing.T) {
	event := after(40 * time.Minute)
	waiting := held(hintedAt(event), func(r *lifecycle.Record) { r.Hint.NextAttemptAt = after(55 * time.Minute) })
	soon := due(waiting)
	askable := func(f *lifecycle.Facts) { f.Check.OnRequest = true }
	mustDecide(t, about(waiting, askable), after(soon), lifecycle.Decision{Action: lifecycle.Refresh}, "it is due, whatever the report says")
	early := lifecycle.Decide(about(waiting, askable), after(41*time.Minute))
	if early.Action != lifecycle.Wait || !early.At.Equal(after(soon)) {
		t.Errorf("Decide = %+v, want to wait for the refresh at %s", early, after(soon))
	}
	unknown := held(hintedAt(event), noRefreshToken)
	identifiable := func(f *lifecycle.Facts) { f.Identifiable = true }
	mustDecide(t, about(unknown, listing(issued()), identifiable), after(41*time.Minute), lifecycle.Decision{Action: lifecycle.Identify},
		"the list may stay away for long")
}

func TestHintIsBorneOut(t *testing.T) {
	now := after(time.Minute)
	f := func(edits ...func(*lifecycle.Record)) lifecycle.Facts {
		return about(held(append([]func(*lifecycle.Record){hintedAt(issued())}, edits...)...), checkable)
	}
	mustBeGone := func(t *testing.T, r *lifecycle.Record) {
		t.Helper()
		if !r.Gone() || r.Hint != nil || !strings.Contains(r.Standing.Message, `"revoked"`) {
			t.Errorf("the grant is not over: standing %+v, report %+v", r.Standing, r.Hint)
		}
	}
	t.Run("the token is dead and cannot be renewed", func(t *testing.T) {
		facts := f(noRefreshToken)
		got, news := lifecycle.Checked(facts.Record, false, "HTTP 401", facts, now)
		mustBeGone(t, got)
		if s := lifecycle.Describe(about(got), published(), now); !news || s.Phase != lifecycle.Deleted || s.Ready.Reason != "Deauthorized" {
			t.Errorf("phase %s, ready %+v", s.Phase, s.Ready)
		}
	})
	t.Run("the token is dead, then the refresh token", func(t *testing.T) {
		facts := f()
		got, news := lifecycle.Checked(facts.Record, false, "HTTP 401", facts, now)
		if !news || got.Gone() || !got.Doubted || got.Hint == nil {
			t.Fatalf("standing %+v, doubted %t", got.Standing, got.Doubted)
		}
		mustBeGone(t, lifecycle.Failed(got, calling(lifecycle.Refresh, now), invalidGrant(), never(), now))
	})
	t.Run("the token works", func(t *testing.T) {
		facts := f()
		got, news := lifecycle.Checked(facts.Record, true, "", facts, now)
		if !news || got.Hint != nil || got.Standing != nil || got.Doubted {
			t.Errorf("the report is still there: %+v", got)
		}
	})
	t.Run("the token works a moment after the report", func(t *testing.T) {
		facts, soon := f(), after(time.Second)
		got, news := lifecycle.Checked(facts.Record, true, "", facts, soon)
		if !news || got.Hint == nil || got.Standing != nil {
			t.Fatalf("the report is dropped before the provider's servers can agree: %+v", got.Hint)
		}
		facts.Record = got
		mustDecide(t, facts, after(59*time.Second), lifecycle.Decision{Action: lifecycle.Wait, At: now}, "a minute after the report")
		mustDecide(t, facts, now, lifecycle.Decision{Action: lifecycle.CheckGrant}, "once more")
		dead, _ := lifecycle.Checked(got, false, "HTTP 401", about(got, checkable, func(f *lifecycle.Facts) { f.Record.RefreshToken = never() }), now)
		mustBeGone(t, dead)
	})
	t.Run("the refresh token was refused before", func(t *testing.T) {
		r := held(hintedAt(issued()), failing(refused()))
		got, believed := lifecycle.Judged(r, about(r), now)
		if !believed {
			t.Error("two witnesses are not enough")
		}
		mustBeGone(t, got)
	})
	t.Run("the refresh token works", func(t *testing.T) {
		got := lifecycle.Succeeded(f().Record, calling(lifecycle.Refresh, now), expiring(time.Hour), now)
		if got.Hint != nil || got.Standing != nil {
			t.Errorf("the report is still there: %+v", got)
		}
	})
	t.Run("the provider is away", func(t *testing.T) {
		got := lifecycle.Failed(f().Record, calling(lifecycle.Refresh, now), away(), never(), now)
		if got.Hint == nil || got.Gone() {
			t.Errorf("an outage decides: %+v", got.Standing)
		}
	})
	t.Run("the list bears it out", func(t *testing.T) {
		mustBeGone(t, lifecycle.Observed(f().Record, lifecycle.Listing{ID: "connection-1", Status: "inactive", At: now}))
	})
}

func TestJudged(t *testing.T) {
	now := after(time.Minute)
	record := held(hintedAt(issued()), noRefreshToken)
	believer := func(f *lifecycle.Facts) { f.BelievesHints = true }
	if got, believed := lifecycle.Judged(record, about(record, believer), now); !believed || !got.Gone() || got.Hint != nil {
		t.Errorf("not taken at its word: %+v", got.Standing)
	}
	if got, believed := lifecycle.Judged(record, about(record), now); believed || got.Gone() || got.Hint != nil {
		t.Errorf("taken at its word without leave: %+v", got.Standing)
	}
	if got, believed := lifecycle.Judged(record, about(record, believer, listing(now)), now); believed || got.Gone() {
		t.Errorf("taken at its word although the provider's list calls it alive: %+v", got.Standing)
	}
	earlier := held(hintedAt(issued().Add(-time.Second)), noRefreshToken)
	if got, believed := lifecycle.Judged(earlier, about(earlier, believer), now); believed || got.Gone() || got.Hint != nil {
		t.Errorf("a report about the grant before this one is taken at its word: %+v", got.Standing)
	}
}

func TestUnverified(t *testing.T) {
	now := issued()
	r := held(hintedAt(issued()))
	for attempt := range 100 {
		next, dropped := lifecycle.Unverified(r, 0, now)
		if dropped {
			if attempt < 9 || next.Hint != nil || next.Standing != nil {
				t.Errorf("dropped after %d attempts: %+v", attempt+1, next.Hint)
			}
			return
		}
		if !next.Hint.NextAttemptAt.After(now) {
			t.Fatal("asks without end")
		}
		r, now = next, next.Hint.NextAttemptAt
	}
	t.Error("never dropped")
}

// A report that comes while a refresh is under way is not taken for answered by it.
func TestMergeKeepsLaterHint(t *testing.T) {
	now := after(time.Minute)
	call := calling(lifecycle.Refresh, now)
	before := lifecycle.Begin(held(), call, process, "")
	outcome := lifecycle.Succeeded(before, call, expiring(2*time.Hour), now)
	current := lifecycle.Heeded(before, *hint("event-2", now))
	if got := lifecycle.Merge(before, outcome, current); got.Hint == nil || got.Hint.ID != "event-2" {
		t.Error("the report is lost")
	}
	before = lifecycle.Begin(held(hintedAt(issued())), call, process, "")
	outcome = lifecycle.Succeeded(before, call, expiring(2*time.Hour), now)
	if got := lifecycle.Merge(before, outcome, before); got.Hint != nil {
		t.Error("the report was answered and is verified again")
	}
}
