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

// says wants a word about what became of the tokens of another account, and no other authorization.
func says(t *testing.T, r *lifecycle.Record, want, reason string) {
	t.Helper()
	if a := r.Authorization; a.ID != "attempt-1" || a.Reason != "AccountMismatch" || !strings.Contains(a.Message, want) {
		t.Errorf("%s: %+v does not say that it %s", reason, a, want)
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
		says(t, r, "is being revoked", "an account is refused before anything is revoked")
		later := lifecycle.CandidateNotRevoked(r, "HTTP 503", 0, now)
		if d := lifecycle.Decide(about(later, code("new")), now); d.Action != lifecycle.Wait || !d.At.After(now) || d.At.After(now.Add(2*time.Second)) {
			t.Errorf("%+v, want to try again in a second", d)
		}
		says(t, later, "is being revoked", "it is tried again")
		says(t, lifecycle.CandidateRevoked(later, "access token: HTTP 400"), "could not be revoked (access token: HTTP 400)", "the provider refuses")
		gone := lifecycle.CandidateRevoked(later, "")
		says(t, gone, "was revoked", "the provider has answered")
		if gone.Candidate != nil || len(gone.Replaced) != 0 {
			t.Errorf("%+v", gone)
		}
		for range 5 {
			if later.Candidate != nil {
				later = lifecycle.CandidateNotRevoked(later, "HTTP 503", 0, now)
			}
		}
		if later.Candidate != nil || !slices.Equal(reveal(later.Replaced), []string{"refresh-2"}) {
			t.Errorf("after five attempts it is left to the deletion: %+v", later)
		}
		says(t, later, "could not be revoked (HTTP 503)", "nobody tries again before the deletion")
	}
}

// TestRefusedAccountSaysHowItEnded : that the new grant is gone is said when it is, and not where it cannot be revoked.
func TestRefusedAccountSaysHowItEnded(t *testing.T) {
	now := after(2 * time.Minute)
	refused := func(edits ...func(*lifecycle.Record)) *lifecycle.Record {
		return lifecycle.Settled(lifecycle.Identified(proposed("", edits...), "bob", nil), now)
	}
	givenUp := func(r *lifecycle.Record) *lifecycle.Record {
		for r.Candidate != nil {
			r = lifecycle.CandidateNotRevoked(r, "HTTP 503", 0, now)
		}
		return r
	}
	withoutRefresh := refused()
	withoutRefresh.Candidate.RefreshToken = never()
	for want, r := range map[string]*lifecycle.Record{
		"is being revoked":                refused(),
		"was revoked":                     lifecycle.CandidateRevoked(refused(), ""),
		"end it at the":                   lifecycle.CandidateRevoked(refused(), "no endpoint"),
		"when this connection is deleted": givenUp(refused()),
		"(HTTP 503): end":                 givenUp(withoutRefresh),
	} {
		if got := r.Authorization; !strings.Contains(got.Message, want) || !strings.Contains(got.Message, "Authorize with the same account") {
			t.Errorf("want %q in %q", want, got.Message)
		}
	}
	later := refused()
	later.Authorization = &lifecycle.Authorization{ID: "login-9", Message: "the new one is being revoked"}
	if got := lifecycle.CandidateRevoked(later, "").Authorization.Message; got != "the new one is being revoked" {
		t.Errorf("another login's message became %q", got)
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
	refused := lifecycle.CandidateNotRevoked(lifecycle.Settled(lifecycle.Identified(proposed(""), "bob", nil), now), "HTTP 503", time.Hour, now)
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

// TestLookupsBackOff : to an hour where nobody waits for the account, and to a few minutes where a new authorization does.
func TestLookupsBackOff(t *testing.T) {
	for limit, r := range map[time.Duration]*lifecycle.Record{time.Hour: held(), 5 * time.Minute: proposed("")} {
		for range 30 {
			r = lifecycle.NotIdentified(r, "HTTP 503 Service Unavailable", 0, after(time.Minute))
		}
		lookup := r.Lookup
		if r.Candidate != nil {
			lookup = r.Candidate.Lookup
		}
		if got := lookup.NextAttemptAt.Sub(after(time.Minute)); got < limit || got > limit*12/10 {
			t.Errorf("after 30 failures: %s, want %s and some jitter", got, limit)
		}
	}
}

// TestProposalsThatWaitAreSeen : whoever has authorized again is told why nothing has come of it yet.
func TestProposalsThatWaitAreSeen(t *testing.T) {
	for name, edit := range map[string]func(*lifecycle.Record){
		"a grant that works": func(*lifecycle.Record) {}, "a refused one": failing(refused()),
		"one that has ended": func(r *lifecycle.Record) { r.Standing = &lifecycle.Standing{State: lifecycle.StandingInactive} },
	} {
		r := lifecycle.NotIdentified(proposed("", edit), "HTTP 503 Service Unavailable", time.Minute, after(2*time.Minute))
		got := lifecycle.Describe(about(r, code("new"), identifiable), published(), after(2*time.Minute)).Ready.Message
		if !strings.Contains(got, "HTTP 503 Service Unavailable") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestMissingSourcesAreSeen : before the token has expired.
func TestMissingSourcesAreSeen(t *testing.T) {
	f := about(credentials(func(r *lifecycle.Record) { r.GrantType = lifecycle.Extension }), func(f *lifecycle.Facts) {
		f.GrantType, f.Input = lifecycle.Extension, lifecycle.Input{State: lifecycle.InputMissing, Missing: "waiting for Secret \"word\""}
	})
	s := lifecycle.Describe(f, published(), after(time.Minute))
	if s.Ready.Status != lifecycle.True || !strings.Contains(s.Ready.Message, `waiting for Secret "word"`) {
		t.Errorf("%+v", s.Ready)
	}
}
