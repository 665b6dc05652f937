// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// proposed is a held grant of alice with a new authorization by somebody.
func proposed(subject string, edits ...func(*lifecycle.Record)) *lifecycle.Record {
	tokens := answer("refresh-2", after(time.Minute))
	tokens.Subject, tokens.GrantType = subject, lifecycle.AuthorizationCode
	return lifecycle.Succeeded(held(edits...), calling(lifecycle.Exchange, after(time.Minute)), tokens, after(time.Minute))
}

func identifiable(f *lifecycle.Facts) { f.Identifiable = true }

func TestNewAuthorizationIsOnlyProposed(t *testing.T) {
	r := proposed("")
	mustHold(t, "access token", r.AccessToken, "access-1")
	mustHold(t, "refresh token", r.RefreshToken, "refresh-1")
	mustHold(t, "candidate", r.Candidate.RefreshToken, "refresh-2")
	if r.SpentInput != "new" || r.Authorization.ID != "login-1" {
		t.Errorf("spent %q, authorization %+v: the code is spent, and the login is not over", r.SpentInput, r.Authorization)
	}
	now := after(2 * time.Minute)
	mustDecide(t, about(r, code("new"), identifiable), now, act(lifecycle.Identify), "first it has to be known whose it is")
	mustDecide(t, about(r, code("new")), now, act(lifecycle.Settle), "nobody can say whose it is")
	mustDecide(t, about(proposed("alice"), code("new"), identifiable), now, act(lifecycle.Settle), "the answer has said it")
}

func TestSameAccountReplaces(t *testing.T) {
	r := lifecycle.Identified(proposed("", failing(refused())), "alice", map[string]string{"host": "eu"})
	got := lifecycle.Settled(r, after(time.Hour))
	mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
	if got.Candidate != nil || got.Failure != nil || !got.Lookup.Done || got.Captured["host"] != "eu" ||
		!slices.Equal(reveal(got.Replaced), []string{"refresh-1"}) || !got.AuthorizedAt.Equal(after(time.Minute)) {
		t.Errorf("%+v", got)
	}
	if got.Authorization.ID != "attempt-1" || got.Authorization.Result != lifecycle.AuthorizationSucceeded || got.Authorization.Message != "" {
		t.Errorf("%+v", got.Authorization)
	}
}

func TestAnotherAccountIsRefused(t *testing.T) {
	for _, edit := range []func(*lifecycle.Record){func(*lifecycle.Record) {}, failing(refused())} {
		r := lifecycle.Settled(lifecycle.Identified(proposed("", edit), "bob", nil), after(2*time.Minute))
		mustHold(t, "refresh token", r.RefreshToken, "refresh-1")
		if !r.Candidate.Refused || r.Authorization.Result != lifecycle.AuthorizationFailed || r.Authorization.Reason != "AccountMismatch" ||
			!strings.Contains(r.Authorization.Message, `"bob"`) || !strings.Contains(r.Authorization.Message, `"alice"`) {
			t.Errorf("%+v, %+v", r.Candidate, r.Authorization)
		}
		now := after(3 * time.Minute)
		mustDecide(t, about(r, code("new")), now, act(lifecycle.RevokeCandidate), "its tokens live")
		later := lifecycle.CandidateNotRevoked(r, 0, now)
		if d := lifecycle.Decide(about(later, code("new")), now); d.Action != lifecycle.Wait || !d.At.After(now) || d.At.After(now.Add(2*time.Second)) {
			t.Errorf("%+v, want to try again in a second", d)
		}
		gone := lifecycle.CandidateRevoked(later)
		if gone.Candidate != nil || len(gone.Replaced) != 0 {
			t.Errorf("%+v", gone)
		}
		for range 5 {
			if later.Candidate != nil {
				later = lifecycle.CandidateNotRevoked(later, 0, now)
			}
		}
		if later.Candidate != nil || !slices.Equal(reveal(later.Replaced), []string{"refresh-2"}) {
			t.Errorf("after five attempts it is left to the deletion: %+v", later)
		}
	}
}

func TestUnknownAccountIsTakenWithAWord(t *testing.T) {
	for name, r := range map[string]*lifecycle.Record{
		"the new one": lifecycle.Identified(proposed(""), "", nil),
		"the old one": proposed("bob", func(r *lifecycle.Record) { r.Subject = "" }),
	} {
		got := lifecycle.Settled(r, after(2*time.Minute))
		mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
		if got.Authorization.Result != lifecycle.AuthorizationSucceeded || got.Authorization.Message == "" {
			t.Errorf("%s: %+v", name, got.Authorization)
		}
	}
}

// TestOldGrantLivesOnMeanwhile : while nobody can say whose the new one is, the old one is refreshed.
func TestOldGrantLivesOnMeanwhile(t *testing.T) {
	r := lifecycle.NotIdentified(proposed(""), "HTTP 503 Service Unavailable", 30*time.Minute, after(50*time.Minute))
	mustDecide(t, about(r, code("new"), identifiable), after(51*time.Minute), act(lifecycle.Refresh), "its time has come")
	fresh := lifecycle.NotIdentified(proposed(""), "HTTP 503 Service Unavailable", time.Minute, after(2*time.Minute))
	mustDecide(t, about(fresh, code("new"), identifiable), after(2*time.Minute), wait(3*time.Minute), "the provider asked for a minute")
	if fresh.Candidate.Lookup.Count != 1 || fresh.Lookup.Count != 0 {
		t.Errorf("%+v, %+v: it is the candidate that was looked up", fresh.Candidate.Lookup, fresh.Lookup)
	}
}

// TestNoCodeWaitsForACandidate : a code lives for a minute, and a candidate may wait for an hour.
func TestNoCodeWaitsForACandidate(t *testing.T) {
	now := after(2 * time.Minute)
	unknown := lifecycle.NotIdentified(proposed(""), "HTTP 503 Service Unavailable", time.Hour, now)
	refused := lifecycle.CandidateNotRevoked(lifecycle.Settled(lifecycle.Identified(proposed(""), "bob", nil), now), time.Hour, now)
	for name, r := range map[string]*lifecycle.Record{"unknown": unknown, "refused": refused} {
		mustDecide(t, about(r, code("newer"), identifiable), now, act(lifecycle.Exchange), name+": another code has come")
		mustDecide(t, about(r, code("new"), identifiable, requesting(asked)), now, act(lifecycle.Refresh), name+": a refresh is requested")
		next := lifecycle.Succeeded(r, lifecycle.Call{Action: lifecycle.Exchange, ID: "attempt-2", InputHash: "newer"}, answer("refresh-3", now), now)
		mustHold(t, "candidate", next.Candidate.RefreshToken, "refresh-3")
		if !slices.Equal(reveal(next.Replaced), []string{"refresh-2"}) {
			t.Errorf("%s: replaced %v: what came before is left to the deletion", name, reveal(next.Replaced))
		}
	}
}

func TestCandidateIsRevokedWithItsConnection(t *testing.T) {
	r := proposed("")
	r.AccessToken, r.RefreshToken = never(), never()
	mustDecide(t, about(r, leaving()), after(2*time.Minute), act(lifecycle.Revoke), "its tokens live")
}

func TestMergeKeepsCandidates(t *testing.T) {
	before, call := begun(held(), lifecycle.Exchange, "mine")
	login := obtained(before, call, "9")
	refreshed, refresh := begun(crashed(before), lifecycle.Refresh, "others")
	got := lifecycle.Merge(before, login, obtained(refreshed, refresh, "2"))
	mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
	mustHold(t, "candidate", got.Candidate.RefreshToken, "refresh-9")
	late := lifecycle.Merge(refreshed, obtained(refreshed, refresh, "2"), lifecycle.Settled(login, after(time.Hour)))
	mustHold(t, "refresh token", late.RefreshToken, "refresh-9")
	if !slices.Contains(reveal(late.Replaced), "refresh-2") {
		t.Errorf("replaced %v: what the late refresh brought is lost", reveal(late.Replaced))
	}
}
