// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// begun is a record with the mark of a call of this process.
func begun(r *lifecycle.Record, action lifecycle.Action, id string) (*lifecycle.Record, lifecycle.Call) {
	call := calling(action, after(50*time.Minute))
	call.ID = id
	return lifecycle.Begin(r, call, process, ""), call
}

// obtained is what a call made of a record by giving tokens named by name.
func obtained(r *lifecycle.Record, call lifecycle.Call, name string) *lifecycle.Record {
	now := call.SentAt.Add(time.Second)
	tokens := answer("refresh-"+name, call.SentAt)
	tokens.AccessToken = sensitive.New("access-" + name)
	return lifecycle.Succeeded(r, call, tokens, now)
}

func failed(r *lifecycle.Record, call lifecycle.Call, refusal lifecycle.Refusal) *lifecycle.Record {
	return lifecycle.Failed(r, call, refusal, never(), call.SentAt.Add(time.Second))
}

// crashed is what another process makes of a mark that it takes for a crash's.
func crashed(r *lifecycle.Record) *lifecycle.Record {
	return lifecycle.Interrupted(r, basis, after(51*time.Minute))
}

func mustBeGrant(t *testing.T, r *lifecycle.Record, name string, replaced ...string) {
	t.Helper()
	r = settled(r)
	mustHold(t, "access token", r.AccessToken, "access-"+name)
	mustHold(t, "refresh token", r.RefreshToken, "refresh-"+name)
	if !slices.Equal(reveal(r.Replaced), replaced) {
		t.Errorf("replaced %v, want %v", reveal(r.Replaced), replaced)
	}
}

func TestMergeOwnMark(t *testing.T) {
	before, call := begun(held(), lifecycle.Refresh, "mine")
	current := *before
	current.OrphanedSince, current.Heir = after(time.Minute), "heir"
	got := lifecycle.Merge(before, obtained(before, call, "2"), &current)
	mustBeGrant(t, got, "2")
	if got.Attempt != nil || got.Failure != nil || got.Heir != "heir" || got.OrphanedSince.IsZero() {
		t.Errorf("%+v: the outcome, and what others have written beside it", got)
	}
	got = lifecycle.Merge(before, failed(before, call, invalidGrant()), &current)
	mustBeGrant(t, got, "1")
	if got.Attempt != nil || got.Failure == nil || !got.Failure.Terminal || got.Heir != "heir" {
		t.Errorf("%+v: a failure is an outcome, too", got)
	}
}

func TestMergeAfterBeingTakenForDead(t *testing.T) {
	before, call := begun(held(), lifecycle.Refresh, "mine")
	got := lifecycle.Merge(before, obtained(before, call, "2"), crashed(before))
	mustBeGrant(t, got, "2")
	if got.Failure != nil || got.Attempt != nil {
		t.Errorf("%+v: the outcome is known after all", got.Failure)
	}
	current := crashed(before)
	if got := lifecycle.Merge(before, failed(before, call, away()), current); got != current {
		t.Errorf("%+v: nothing was obtained, so what others have written stands", got)
	}

	before, call = begun(empty(), lifecycle.Exchange, "mine")
	got = lifecycle.Merge(before, obtained(before, call, "2"), crashed(before))
	mustBeGrant(t, got, "2")
	if got.InputFailure != nil || got.SpentInput != "new" || got.Authorization.Result != lifecycle.AuthorizationSucceeded {
		t.Errorf("%+v, %+v: the login has succeeded after all", got.InputFailure, got.Authorization)
	}
}

// TestMergeBothSent : this process was taken for dead, and another one has sent the same refresh token.
func TestMergeBothSent(t *testing.T) {
	before, call := begun(held(), lifecycle.Refresh, "mine")
	others, otherCall := begun(crashed(before), lifecycle.Refresh, "others")
	mine := obtained(before, call, "2")

	first := lifecycle.Merge(before, mine, others)
	mustBeGrant(t, first, "2")
	if first.Attempt == nil || first.Attempt.ID != "others" {
		t.Errorf("%+v: the other call is still under way", first.Attempt)
	}
	second := lifecycle.Merge(others, failed(others, otherCall, invalidGrant()), first)
	mustBeGrant(t, second, "2")
	if second.Failure != nil || second.Attempt != nil {
		t.Errorf("%+v: what was refused is the spent token, not the one that was obtained meanwhile", second.Failure)
	}
	second = lifecycle.Merge(others, obtained(others, otherCall, "3"), first)
	mustBeGrant(t, second, "2", "refresh-3")
	if second.Attempt != nil {
		t.Error("the mark of a call that has ended is still there")
	}
	mustBeGrant(t, lifecycle.Merge(before, mine, obtained(others, otherCall, "3")), "3", "refresh-2")
}

func TestMergeAuthorizationGoesFirst(t *testing.T) {
	before, call := begun(held(), lifecycle.Exchange, "mine")
	login := obtained(before, call, "9")
	afterwards, refresh := begun(crashed(before), lifecycle.Refresh, "others")
	got := lifecycle.Merge(before, login, obtained(afterwards, refresh, "2"))
	mustBeGrant(t, got, "9", "refresh-2")
	got = settled(got)
	if got.Authorization.Result != lifecycle.AuthorizationSucceeded || !got.AuthorizedAt.Equal(login.Candidate.ObtainedAt) {
		t.Errorf("%+v: a person has just authorized", got.Authorization)
	}

	newer, newerCall := begun(crashed(before), lifecycle.Exchange, "others")
	newerCall.InputHash = "newer"
	got = lifecycle.Merge(before, login, obtained(newer, newerCall, "10"))
	mustBeGrant(t, got, "10", "refresh-9", "refresh-1")
	if got.SpentInput != "newer" {
		t.Errorf("spent input %q: the newer code would be sent again", got.SpentInput)
	}
}

// TestMergeKeepsSpentInputs : a late refresh must not make a code look unused that was tried since.
func TestMergeKeepsSpentInputs(t *testing.T) {
	before, call := begun(held(), lifecycle.Refresh, "mine")
	since, exchange := begun(crashed(before), lifecycle.Exchange, "others")
	got := lifecycle.Merge(before, obtained(before, call, "2"), failed(since, exchange, invalidGrant()))
	mustBeGrant(t, got, "2")
	if got.SpentInput != "new" || got.Authorization.Result != lifecycle.AuthorizationFailed {
		t.Errorf("spent input %q, %+v: the code would be sent twice", got.SpentInput, got.Authorization)
	}

	before, call = begun(held(), lifecycle.Exchange, "mine")
	failedLogin := failed(before, call, invalidGrant())
	late := *before
	late.Tokens = answer("refresh-2", after(50*time.Minute))
	got = lifecycle.Merge(before, failedLogin, &late)
	mustBeGrant(t, got, "2")
	if got.SpentInput != "new" || got.Authorization.Result != lifecycle.AuthorizationFailed || got.Attempt != nil {
		t.Errorf("%+v: the code was refused, whatever became of the grant", got)
	}
}

func TestMergeWithoutAMark(t *testing.T) {
	call := calling(lifecycle.Issue, issued())
	mine := lifecycle.Succeeded(empty(), call, answer("", issued()), issued())
	got := lifecycle.Merge(nil, mine, empty())
	mustHold(t, "access token", got.AccessToken, "access-2")
	current := credentials()
	mustHold(t, "access token", lifecycle.Merge(nil, mine, current).AccessToken, "access-1")
	if got := lifecycle.Merge(nil, failed(empty(), call, away()), current); got != current {
		t.Errorf("%+v: a failure overwrote a token that somebody else has obtained", got)
	}
}

// TestMergeSameTokens : some providers answer a refresh with the same access token and a later expiry.
func TestMergeSameTokens(t *testing.T) {
	before, call := begun(held(), lifecycle.Refresh, "mine")
	outcome := obtained(before, call, "1")
	current := *before
	current.Heir = "heir"
	got := lifecycle.Merge(before, outcome, &current)
	if !got.Expiry.At.Equal(outcome.Expiry.At) || !got.RefreshedAt.Equal(outcome.RefreshedAt) || got.Unrotated != 1 {
		t.Errorf("%+v: the answer is lost, and the refresh would be repeated without end", got)
	}
}

// TestMergeLosesNoToken merges the outcomes of two concurrent calls in both orders: every refresh token that was
// obtained is in the record afterwards.
func TestMergeLosesNoToken(t *testing.T) {
	for _, first := range []lifecycle.Action{lifecycle.Refresh, lifecycle.Exchange, lifecycle.Import} {
		for _, second := range []lifecycle.Action{lifecycle.Refresh, lifecycle.Exchange, lifecycle.Import} {
			before, call := begun(held(), first, "mine")
			others, otherCall := begun(crashed(before), second, "others")
			mine, theirs := obtained(before, call, "2"), obtained(others, otherCall, "3")
			for order, got := range map[string]*lifecycle.Record{
				"mine last":   lifecycle.Merge(before, mine, theirs),
				"theirs last": lifecycle.Merge(others, theirs, lifecycle.Merge(before, mine, others)),
			} {
				got = settled(got)
				kept := reveal(append([]sensitive.String{got.RefreshToken}, got.Replaced...))
				if !slices.Contains(kept, "refresh-2") || !slices.Contains(kept, "refresh-3") || got.Attempt != nil {
					t.Errorf("%s and %s, %s: kept %v, mark %v", first, second, order, kept, got.Attempt)
				}
			}
		}
	}
}
