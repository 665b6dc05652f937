// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// answer is a complete answer with the next generation of tokens; an empty refresh token means that none came.
func answer(refreshToken string, sentAt time.Time) lifecycle.Tokens {
	return lifecycle.Tokens{
		AccessToken: sensitive.New("access-2"), RefreshToken: sensitive.New(refreshToken), TokenType: "Bearer",
		RequestedScopes: []string{"asked"}, IssuedAt: sentAt, GrantType: "ignored",
		Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: sentAt.Add(time.Hour)},
	}
}

func reveal(tokens []sensitive.String) []string {
	var all []string
	for _, token := range tokens {
		all = append(all, token.Reveal())
	}
	return all
}

func TestBegin(t *testing.T) {
	before := held()
	got := lifecycle.Begin(before, calling(lifecycle.Exchange, after(time.Minute)), process, asked)
	want := lifecycle.Attempt{ID: "attempt-1", Process: process, Action: lifecycle.Exchange, InputHash: "new", StartedAt: after(time.Minute)}
	if *got.Attempt != want {
		t.Errorf("the mark is %+v, want %+v", *got.Attempt, want)
	}
	if got.RefreshRequest != asked {
		t.Error("the request counts as answered with the attempt, or a crash would repeat it")
	}
	if before.Attempt != nil || before.RefreshRequest != "" {
		t.Error("Begin changed the record that it was given")
	}
}

func TestSucceededRefresh(t *testing.T) {
	before := held(failing(unheard()), failingInput(onInput("code-9", unavailable(time.Hour))), markedBy(process, lifecycle.Refresh, ""))
	before.RefreshTokenExpiresAt = after(240 * time.Hour)
	now := after(50 * time.Minute)
	got := lifecycle.Succeeded(before, calling(lifecycle.Refresh, now), answer("refresh-2", now), now.Add(time.Second))
	mustHold(t, "access token", got.AccessToken, "access-2")
	mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
	if got.Attempt != nil || got.Failure != nil {
		t.Errorf("mark %v and failure %v are still there", got.Attempt, got.Failure)
	}
	if got.InputFailure == nil {
		t.Error("the refresh of the old grant made the failure of a new input forgotten: it would be sent again without its backoff")
	}
	if len(got.Replaced) != 0 {
		t.Errorf("a rotated refresh token is spent, not replaced: %d kept", len(got.Replaced))
	}
	if !got.RefreshTokenExpiresAt.IsZero() {
		t.Error("a new refresh token does not have the old one's expiry")
	}
	if got.GrantType != lifecycle.AuthorizationCode || got.ID != "connection-1" || got.Subject != "alice" ||
		!slices.Equal(got.Scopes, []string{"read"}) || !slices.Equal(got.RequestedScopes, []string{"read"}) {
		t.Errorf("a refresh changed what it does not say: %+v", got.Tokens)
	}
	if !got.RefreshedAt.Equal(now.Add(time.Second)) || !got.AuthorizedAt.Equal(issued()) || !got.FirstAuthorizedAt.Equal(issued()) {
		t.Errorf("times: refreshed %s, authorized %s, first %s", got.RefreshedAt, got.AuthorizedAt, got.FirstAuthorizedAt)
	}
	if before.Attempt == nil || before.Failure == nil {
		t.Error("Succeeded changed the record that it was given")
	}
}

func TestSucceededRefreshFillsWhatWasNotKnown(t *testing.T) {
	before := held()
	before.Subject = ""
	tokens := answer("refresh-2", issued())
	tokens.Subject, tokens.ID, tokens.Scopes = "bob", "another", []string{"read", "write"}
	got := lifecycle.Succeeded(before, calling(lifecycle.Refresh, issued()), tokens, issued())
	if got.Subject != "bob" || got.ID != "connection-1" || !slices.Equal(got.Scopes, tokens.Scopes) {
		t.Errorf("subject %q, id %q, scopes %v", got.Subject, got.ID, got.Scopes)
	}
}

func TestSucceededWithoutRefreshToken(t *testing.T) {
	for _, tc := range []struct {
		action       lifecycle.Action
		answered     string
		want         string
		wantExpiry   bool
		wantReplaced []string
		reason       string
	}{
		{lifecycle.Refresh, "", "refresh-1", true, nil, "RFC 6749 section 6: the old one stays good"},
		{lifecycle.Refresh, "refresh-1", "refresh-1", true, nil, "the same one again has the same expiry"},
		{lifecycle.Exchange, "", "refresh-1", true, nil, "some providers give a refresh token with the first consent only"},
		{lifecycle.Exchange, "refresh-2", "refresh-2", false, []string{"refresh-1"}, "the old grant is replaced, and revoked with the connection"},
		{lifecycle.Import, "refresh-2", "refresh-2", false, []string{"refresh-1"}, "likewise"},
		{lifecycle.Issue, "", "", false, []string{"refresh-1"}, "the client's own token has none; the person's is revoked with the connection"},
	} {
		before := held(func(r *lifecycle.Record) { r.RefreshTokenExpiresAt = after(240 * time.Hour) })
		got := settled(lifecycle.Succeeded(before, calling(tc.action, issued()), answer(tc.answered, issued()), issued()))
		if got.RefreshToken.Reveal() != tc.want || got.RefreshTokenExpiresAt.IsZero() == tc.wantExpiry || !slices.Equal(reveal(got.Replaced), tc.wantReplaced) {
			t.Errorf("%s answered with %q: refresh token %q (expires %s), replaced %v: %s",
				tc.action, tc.answered, got.RefreshToken.Reveal(), got.RefreshTokenExpiresAt, reveal(got.Replaced), tc.reason)
		}
	}
}

func TestSucceededAuthorization(t *testing.T) {
	for _, action := range []lifecycle.Action{lifecycle.Exchange, lifecycle.Import} {
		before := held(failing(refused()), failingInput(onInput("new", unavailable(0))), func(r *lifecycle.Record) { r.Unrotated = 7 })
		now := after(time.Minute)
		tokens := answer("refresh-2", now)
		tokens.GrantType, tokens.Subject = lifecycle.RefreshToken, "alice"
		got := settled(lifecycle.Succeeded(before, calling(action, now), tokens, now))
		if got.SpentInput != "new" || got.InputVersion != "v-new" {
			t.Errorf("%s: the input %q in version %q counts as spent", action, got.SpentInput, got.InputVersion)
		}
		want := lifecycle.Authorization{ID: "attempt-1", Result: lifecycle.AuthorizationSucceeded, At: now}
		if *got.Authorization != want {
			t.Errorf("%s: authorization %+v, want %+v", action, *got.Authorization, want)
		}
		if got.Failure != nil || got.InputFailure != nil || got.Unrotated != 0 {
			t.Errorf("%s: what was known about the old grant is still there: %+v", action, got)
		}
		if got.Subject != "alice" || got.GrantType != lifecycle.RefreshToken || !got.AuthorizedAt.Equal(now) || !got.FirstAuthorizedAt.Equal(issued()) || !got.RefreshedAt.IsZero() {
			t.Errorf("%s: %+v", action, got)
		}
	}
}

func TestSucceededIssue(t *testing.T) {
	got := lifecycle.Succeeded(empty(failingInput(unavailable(0))), calling(lifecycle.Issue, issued()), answer("", issued()), issued())
	if got.InputFailure != nil || got.SpentInput != "" || got.Authorization != nil || !got.Held() {
		t.Errorf("%+v", got)
	}
	if !got.AuthorizedAt.Equal(issued()) || !got.RefreshedAt.Equal(issued()) {
		t.Errorf("authorized %s, refreshed %s", got.AuthorizedAt, got.RefreshedAt)
	}
}

// TestReplacedAreBounded re-authorizes often: the last five replaced refresh tokens are kept, oldest first.
func TestReplacedAreBounded(t *testing.T) {
	r := held()
	for i := 2; i <= 9; i++ {
		r = settled(lifecycle.Succeeded(r, calling(lifecycle.Exchange, issued()), answer(fmt.Sprintf("refresh-%d", i), issued()), issued()))
	}
	if got, want := reveal(r.Replaced), []string{"refresh-4", "refresh-5", "refresh-6", "refresh-7", "refresh-8"}; !slices.Equal(got, want) {
		t.Errorf("replaced %v, want %v", got, want)
	}
	if got := len(r.Secrets()); got != 9 {
		t.Errorf("Secrets has %d values, want access, refresh, previous, ID and five replaced tokens", got)
	}
}

func TestRotationIsLearned(t *testing.T) {
	r := held()
	for i, tc := range []struct {
		answered string
		want     int
	}{{"", 1}, {"refresh-1", 2}, {"", 3}, {"refresh-2", 0}, {"", 1}} {
		r = lifecycle.Succeeded(r, calling(lifecycle.Refresh, issued()), answer(tc.answered, issued()), issued())
		if r.Unrotated != tc.want {
			t.Errorf("after answer %d (%q): %d refreshes without rotation, want %d", i, tc.answered, r.Unrotated, tc.want)
		}
	}
}

// TestRotationOfAccessTokensIsLearned : where the access token itself is exchanged, a new one means that the provider may
// keep book of them; that no refresh token comes proves nothing.
func TestRotationOfAccessTokensIsLearned(t *testing.T) {
	r := held(noRefreshToken)
	for i, tc := range []struct {
		answered string
		want     int
	}{{"access-2", 0}, {"access-3", 0}, {"access-3", 1}, {"access-3", 2}, {"access-4", 0}} {
		tokens := answer("", issued())
		tokens.AccessToken = sensitive.New(tc.answered)
		r = lifecycle.Succeeded(r, calling(lifecycle.Refresh, issued()), tokens, issued())
		if r.Unrotated != tc.want {
			t.Errorf("after answer %d (%q): %d refreshes without rotation, want %d", i, tc.answered, r.Unrotated, tc.want)
		}
	}
}

func TestTransientBackoff(t *testing.T) {
	r, now := held(), issued()
	for i, base := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300} {
		r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), away(), never(), now)
		got := r.Failure.NextAttemptAt.Sub(now)
		if low := time.Duration(base) * time.Second; got < low || got > low+low/5 {
			t.Errorf("attempt %d: next after %s, want %s and up to a fifth more", i+1, got, low)
		}
		if r.Failure.Reason != "ProviderUnavailable" || r.Failure.Terminal || r.Failure.Count != i+1 || !r.Failure.FirstAt.Equal(issued()) || !r.Failure.LastAt.Equal(now) {
			t.Errorf("attempt %d: %+v", i+1, r.Failure)
		}
		now = r.Failure.NextAttemptAt
	}
	mustHold(t, "refresh token", r.RefreshToken, "refresh-1")
	mustHold(t, "access token", r.AccessToken, "access-1")
}

func TestRetryAfterIsALowerBound(t *testing.T) {
	slow, soon := away(), away()
	slow.RetryAfter, soon.RetryAfter = 20*time.Minute, time.Millisecond
	refusal := unclear()
	refusal.RetryAfter = 20 * time.Minute
	for _, tc := range []struct {
		refusal lifecycle.Refusal
		low     time.Duration
		high    time.Duration
		reason  string
	}{
		{slow, 20 * time.Minute, 20 * time.Minute, "the provider's wish is longer"},
		{soon, time.Second, 1200 * time.Millisecond, "ours is longer"},
		{refusal, 20 * time.Minute, 20 * time.Minute, "a refusal's wish counts, too"},
	} {
		got := lifecycle.Failed(held(), calling(lifecycle.Refresh, issued()), tc.refusal, never(), issued()).Failure.NextAttemptAt.Sub(issued())
		if got < tc.low || got > tc.high {
			t.Errorf("next attempt after %s, want %s to %s: %s", got, tc.low, tc.high, tc.reason)
		}
	}
}

// TestRejectedFiveTimes is a refusal without an OAuth error: five attempts over at least five minutes.
func TestRejectedFiveTimes(t *testing.T) {
	r, now, attempts := held(), issued(), 0
	for r.Failure == nil || !r.Failure.Terminal {
		attempts++
		r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), unclear(), never(), now)
		if r.Failure.Reason != "RefreshRejected" {
			t.Fatalf("attempt %d: reason %s", attempts, r.Failure.Reason)
		}
		if !r.Failure.Terminal {
			now = r.Failure.NextAttemptAt
		}
	}
	if took := now.Sub(issued()); attempts != 5 || took < 5*time.Minute || took > 6*time.Minute {
		t.Errorf("given up after %d attempts over %s, want 5 over at least 5 minutes", attempts, took)
	}
	if !r.Failure.NextAttemptAt.IsZero() {
		t.Error("a terminal failure has no next attempt")
	}
	mustHold(t, "refresh token", r.RefreshToken, "refresh-1")
}

func TestRejectionsInAHurryAreNotEnough(t *testing.T) {
	r, now := held(), issued()
	for range 8 {
		now = now.Add(time.Second)
		r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), unclear(), never(), now)
	}
	if r.Failure.Terminal {
		t.Error("eight requests within eight seconds gave the grant up; five minutes have to pass")
	}
	now = now.Add(5 * time.Minute)
	if r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), unclear(), never(), now); !r.Failure.Terminal {
		t.Error("refused for five minutes, and still not given up")
	}
}

func TestRejectionsStartAgain(t *testing.T) {
	for _, tc := range []struct {
		previous lifecycle.Failure
		edit     func(*lifecycle.Call)
		count    int
		terminal bool
		reason   string
	}{
		{rejected(), func(c *lifecycle.Call) { c.Basis = changed }, 1, false, "another configuration has five attempts of its own"},
		{rejected(), func(*lifecycle.Call) {}, 6, true, "a request has one attempt"},
		{unavailable(0), func(*lifecycle.Call) {}, 1, false, "being away is no refusal"},
	} {
		call := calling(lifecycle.Refresh, after(time.Hour))
		tc.edit(&call)
		got := lifecycle.Failed(held(failing(tc.previous)), call, unclear(), never(), after(time.Hour)).Failure
		if got.Count != tc.count || got.Terminal != tc.terminal || got.Reason != "RefreshRejected" {
			t.Errorf("%+v: want count %d, terminal %t: %s", got, tc.count, tc.terminal, tc.reason)
		}
	}
}

func TestFailedRefresh(t *testing.T) {
	unauthorized := invalidClient()
	unauthorized.Unauthorized = true
	for _, tc := range []struct {
		name           string
		previous       *lifecycle.Failure
		refusal        lifecycle.Refusal
		reasonWanted   string
		terminal       bool
		outcomeUnknown bool
		reason         string
	}{
		{"invalid_grant", nil, invalidGrant(), "InvalidGrant", true, false, "terminal for this connection"},
		{"invalid_grant after being away", new(unavailable(0)), invalidGrant(), "InvalidGrant", true, false, "nothing was unclear before"},
		{"invalid_grant after a crash", new(unheard()), invalidGrant(), "RefreshOutcomeUnknown", true, false, "refused then: the same reason"},
		{"invalid_grant after a rejection", new(rejected()), invalidGrant(), "InvalidGrant", true, false, "now the provider has said what is wrong"},
		{"invalid_grant again", new(refused()), invalidGrant(), "InvalidGrant", true, false, "still"},
		{"invalid_grant again after a crash", new(unheardAndRefused()), invalidGrant(), "RefreshOutcomeUnknown", true, false, "what killed it does not change"},
		{"invalid_client", nil, invalidClient(), "InvalidClient", false, false, "the application's business; nothing is lost"},
		{"unauthorized_client", nil, unauthorized, "UnauthorizedClient", false, false, "likewise"},
		{"invalid_client after a crash", new(unheard()), invalidClient(), "InvalidClient", false, true, "the refresh token was not looked at: still unknown"},
		{"time-out", nil, cutOff(), "ProviderUnavailable", false, true, "sent, and no answer: perhaps spent"},
		{"away after a time-out", new(unheard()), away(), "ProviderUnavailable", false, true, "an answer to the second call says nothing about the first"},
		{"refused unclearly after a crash", new(unheard()), unclear(), "RefreshRejected", false, true, "still unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := held(func(r *lifecycle.Record) { r.Failure = tc.previous })
			got := lifecycle.Failed(before, calling(lifecycle.Refresh, issued()), tc.refusal, never(), issued())
			f := got.Failure
			if f.Reason != tc.reasonWanted || f.Terminal != tc.terminal || f.OutcomeUnknown != tc.outcomeUnknown {
				t.Errorf("%+v, want %s, terminal %t, outcome unknown %t: %s", f, tc.reasonWanted, tc.terminal, tc.outcomeUnknown, tc.reason)
			}
			if f.Message != tc.refusal.Message || f.Basis != basis {
				t.Errorf("message %q, basis %q", f.Message, f.Basis)
			}
			if f.NextAttemptAt.IsZero() != tc.terminal {
				t.Errorf("next attempt at %s", f.NextAttemptAt)
			}
			if !reflect.DeepEqual(got.Tokens, before.Tokens) || got.SpentInput != before.SpentInput || got.Authorization != before.Authorization {
				t.Error("a failed refresh changed the grant")
			}
		})
	}
}

// TestOneAttemptOnRequest : whatever an attempt on request ends in, the grant is as dead as before, and what killed it
// stays readable.
func TestOneAttemptOnRequest(t *testing.T) {
	dead := []lifecycle.Failure{refused(), rejected(), unheardAndRefused(), unheardAndRejected()}
	for _, previous := range dead {
		for _, refusal := range []lifecycle.Refusal{away(), cutOff(), invalidClient(), unclear(), invalidGrant()} {
			r := held(failing(previous))
			for i := range 3 {
				request, now := fmt.Sprint(i), after(time.Duration(i+1)*time.Hour)
				f := about(r, requesting(request))
				mustDecide(t, f, now, act(lifecycle.Refresh), "a new value is one attempt")
				r = lifecycle.Failed(lifecycle.Begin(r, calling(lifecycle.Refresh, now), process, request), calling(lifecycle.Refresh, now), refusal, never(), now)
				f.Record = r
				if got := lifecycle.Decide(f, now.Add(100*time.Hour)); got.Action != lifecycle.Wait {
					t.Fatalf("%s, then on request %q: the same request leads to %+v", previous.Reason, refusal.Message, got)
				}
			}
			if s := lifecycle.Describe(about(r), lifecycle.Publication{Current: true}, after(4*time.Hour)); s.Phase != lifecycle.Inactive {
				t.Errorf("%s, then on request %q: phase %s", previous.Reason, refusal.Message, s.Phase)
			}
			if refusal.Concern == lifecycle.ConcernsGrant {
				continue
			}
			want := previous.Message + "; the attempt that was requested failed too: " + refusal.Message
			if r.Failure.Message != want || r.Failure.Reason != previous.Reason {
				t.Errorf("%s: %q, want %s: %q", r.Failure.Reason, r.Failure.Message, previous.Reason, want)
			}
		}
	}
}

// TestNoConfigurationRevives : what the provider has condemned stays so, however the spec changes between two requests.
func TestNoConfigurationRevives(t *testing.T) {
	for _, previous := range []lifecycle.Failure{refused(), unheardAndRefused()} {
		call := calling(lifecycle.Refresh, after(time.Hour))
		call.Basis = changed
		if got := lifecycle.Failed(held(failing(previous)), call, away(), never(), after(time.Hour)).Failure; !got.Terminal || got.Reason != previous.Reason {
			t.Errorf("%s became %+v", previous.Reason, got)
		}
	}
}

func unheardAndRefused() lifecycle.Failure {
	f := unheard()
	f.Message, f.Terminal, f.OutcomeUnknown = "invalid_grant", true, false
	return f
}

func unheardAndRejected() lifecycle.Failure {
	f := unheard()
	f.Message, f.Terminal = "HTTP 404 Not Found", true
	return f
}

// TestRejectedAfterACrash : no answer has condemned the refresh token, so a changed configuration may bring it back.
func TestRejectedAfterACrash(t *testing.T) {
	r, now := held(failing(unheard())), after(time.Hour)
	for !r.Failure.Terminal {
		r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), unclear(), never(), now)
		now = now.Add(2 * time.Minute)
	}
	if r.Failure.Reason != "RefreshOutcomeUnknown" {
		t.Errorf("reason %s: the crash is what the refusals come from", r.Failure.Reason)
	}
	mustDecide(t, about(r), now, wait(), "terminal")
	mustDecide(t, about(r, reconfigured), now, act(lifecycle.Refresh), "a change tries again")
}

func TestCredentialsAreNeverSpent(t *testing.T) {
	got := lifecycle.Failed(credentials(), calling(lifecycle.Issue, issued()), cutOff(), never(), issued())
	if got.Failure.OutcomeUnknown || got.Failure.Reason != "ProviderUnavailable" {
		t.Errorf("%+v: a time-out of client credentials leaves nothing unknown", got.Failure)
	}
	got = lifecycle.Failed(empty(), calling(lifecycle.Issue, issued()), invalidGrant(), never(), issued())
	if got.Failure != nil || got.InputFailure == nil || !got.InputFailure.Terminal || got.SpentInput != "" || got.Authorization != nil {
		t.Errorf("%+v: nothing held, so the failure concerns what would give a token", got)
	}
}

// TestFailedAuthorization : what becomes of a code or an import, on its own and beside a grant that is held.
func TestFailedAuthorization(t *testing.T) {
	for _, tc := range []struct {
		name     string
		action   lifecycle.Action
		refusal  lifecycle.Refusal
		previous *lifecycle.Failure
		spent    bool
		result   lifecycle.AuthorizationResult
		failure  string
		reason   string
	}{
		{"code refused", lifecycle.Exchange, invalidGrant(), nil, true, lifecycle.AuthorizationFailed, "InvalidGrant", "definite"},
		{"code refused unclearly", lifecycle.Exchange, unclear(), nil, true, lifecycle.AuthorizationFailed, "ExchangeRejected", "a code is not sent again after an answer"},
		{"code cut off", lifecycle.Exchange, cutOff(), nil, true, lifecycle.AuthorizationUnknown, "ExchangeOutcomeUnknown", "a code is never sent twice"},
		{"code, provider away", lifecycle.Exchange, away(), nil, false, "", "ProviderUnavailable", "not taken: tried again while it lives"},
		{"code, client refused", lifecycle.Exchange, invalidClient(), nil, false, "", "InvalidClient", "the application's business; nothing is lost"},
		{"import refused", lifecycle.Import, invalidGrant(), nil, true, lifecycle.AuthorizationFailed, "InvalidGrant", "definite"},
		{"import cut off", lifecycle.Import, cutOff(), nil, false, "", "ProviderUnavailable", "sent once more: it may be good"},
		{"import refused after being cut off", lifecycle.Import, invalidGrant(), new(onInput("new", unheard())), true, lifecycle.AuthorizationFailed, "RefreshOutcomeUnknown", "the first call may have spent it"},
		{"import refused unclearly", lifecycle.Import, unclear(), nil, false, "", "RefreshRejected", "four attempts are left"},
		{"import refused unclearly at last", lifecycle.Import, unclear(), new(onInput("new", fourRejections())), false, lifecycle.AuthorizationFailed, "RefreshRejected", "given up, but a change may bring it back: not spent"},
		{"another input's failure", lifecycle.Import, unclear(), new(onInput("old", fourRejections())), false, "", "RefreshRejected", "counts start anew with a new value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := after(20 * time.Minute)
			for _, before := range []*lifecycle.Record{empty(), held()} {
				before.InputFailure = tc.previous
				got := lifecycle.Failed(before, calling(tc.action, now), tc.refusal, never(), now)
				if spent := got.SpentInput == "new"; spent != tc.spent {
					t.Errorf("held %t: spent %t, want %t: %s", before.Held(), spent, tc.spent, tc.reason)
				}
				if !reflect.DeepEqual(got.Tokens, before.Tokens) || got.Failure != before.Failure {
					t.Error("a failed authorization changed the grant that is held")
				}
				mustReport(t, got, before, tc.result, tc.failure)
				if before.Held() && tc.spent {
					if got.InputFailure != nil {
						t.Error("the new code's failure outlives it beside a grant that works")
					}
					continue
				}
				if got.InputFailure == nil || got.InputFailure.Reason != tc.failure || got.InputFailure.InputHash != "new" {
					t.Errorf("held %t: %+v, want %s: %s", before.Held(), got.InputFailure, tc.failure, tc.reason)
				}
			}
		})
	}
}

func fourRejections() lifecycle.Failure {
	f := rejected()
	f.Count, f.Terminal = 4, false
	return f
}

func mustReport(t *testing.T, got, before *lifecycle.Record, result lifecycle.AuthorizationResult, reason string) {
	t.Helper()
	if result == "" {
		if got.Authorization != before.Authorization {
			t.Errorf("an authorization that goes on is reported as %+v", got.Authorization)
		}
		return
	}
	if got.Authorization == nil || got.Authorization.Result != result || got.Authorization.Reason != reason || got.Authorization.ID != "attempt-1" {
		t.Errorf("reported as %+v, want %s, %s", got.Authorization, result, reason)
	}
}

// TestRescued : a refresh token in an answer that is otherwise useless is kept, whatever else is wrong.
func TestRescued(t *testing.T) {
	rescued, now := sensitive.New("refresh-2"), after(time.Minute)
	got := lifecycle.Failed(held(failing(unheard()), func(r *lifecycle.Record) { r.Unrotated = 5 }), calling(lifecycle.Refresh, now), cutOff(), rescued, now)
	mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
	mustHold(t, "access token", got.AccessToken, "access-1")
	if got.Failure.OutcomeUnknown || got.Failure.Terminal || got.Failure.Count != 2 || got.Unrotated != 0 || len(got.Replaced) != 0 {
		t.Errorf("%+v, unrotated %d: the new token is unspent, the provider rotates, and calls still fail", got.Failure, got.Unrotated)
	}
	mustDecide(t, about(got), now, wait(got.Failure.NextAttemptAt.Sub(issued())), "backoff, not the fear of having spent it")

	got = lifecycle.Failed(held(), calling(lifecycle.Refresh, now), cutOff(), rescued, now)
	if got.Failure.Count != 1 || got.Failure.OutcomeUnknown {
		t.Errorf("%+v", got.Failure)
	}
}

func TestRescuedFromAnAuthorization(t *testing.T) {
	rescued, now := sensitive.New("refresh-2"), after(time.Minute)
	for action, grantType := range map[lifecycle.Action]lifecycle.GrantType{
		lifecycle.Exchange: lifecycle.AuthorizationCode, lifecycle.Import: lifecycle.RefreshToken,
	} {
		got := lifecycle.Failed(empty(), calling(action, now), cutOff(), rescued, now)
		mustHold(t, "refresh token", got.RefreshToken, "refresh-2")
		if got.SpentInput != "new" || got.InputFailure != nil || got.GrantType != grantType || !got.AuthorizedAt.Equal(now) {
			t.Errorf("%s: %+v: the input is spent, and the grant is held", action, got)
		}
		mustDecide(t, about(got, code("new")), now, act(lifecycle.Refresh), "the refresh token gives the access token at once")

		got = settled(lifecycle.Failed(held(), calling(action, now), cutOff(), rescued, now))
		if !slices.Equal(reveal(got.Replaced), []string{"refresh-1"}) || got.SpentInput != "new" {
			t.Errorf("%s: replaced %v", action, reveal(got.Replaced))
		}
		mustHold(t, "access token", got.AccessToken, "access-1")
	}
}

func TestInterrupted(t *testing.T) {
	now := after(40 * time.Minute)
	got := lifecycle.Interrupted(held(markedBy(foreign, lifecycle.Refresh, "")), basis, now)
	if got.Attempt != nil || got.Failure.Reason != "RefreshOutcomeUnknown" || got.Failure.Terminal || !got.Failure.OutcomeUnknown || !got.Failure.NextAttemptAt.IsZero() {
		t.Errorf("%+v", got.Failure)
	}
	mustHold(t, "refresh token", got.RefreshToken, "refresh-1")
	mustDecide(t, about(got), now, wait(time.Hour-30*time.Second), "once more when the access token is about to expire")

	got = lifecycle.Interrupted(empty(markedBy(foreign, lifecycle.Exchange, "code-1")), basis, now)
	if got.InputFailure.Reason != "ExchangeOutcomeUnknown" || !got.InputFailure.Terminal || got.SpentInput != "code-1" ||
		got.Authorization.Result != lifecycle.AuthorizationUnknown || got.Authorization.ID != "attempt-1" {
		t.Errorf("%+v, %+v", got.InputFailure, got.Authorization)
	}
	if d := lifecycle.Decide(about(got), now.Add(time.Hour)); d.Action.CallsProvider() {
		t.Errorf("after a crash, %s: a code is never sent twice", d.Action)
	}

	got = lifecycle.Interrupted(held(markedBy(foreign, lifecycle.Exchange, "code-2")), basis, now)
	if got.Failure != nil || got.InputFailure != nil || got.SpentInput != "code-2" || got.Authorization.Reason != "ExchangeOutcomeUnknown" {
		t.Errorf("%+v: the grant that is held is not concerned", got)
	}

	got = lifecycle.Interrupted(empty(markedBy(foreign, lifecycle.Import, "refresh-0")), basis, now)
	if got.InputFailure.Reason != "RefreshOutcomeUnknown" || got.InputFailure.Terminal || got.SpentInput != "" {
		t.Errorf("%+v", got.InputFailure)
	}
	mustDecide(t, about(got, imported("refresh-0")), now, act(lifecycle.Import), "once more")
}

func TestInterruptedAfterOtherFailures(t *testing.T) {
	now := after(40 * time.Minute)
	got := lifecycle.Interrupted(held(markedBy(foreign, lifecycle.Refresh, ""), failing(refused())), basis, now)
	if !got.Failure.Terminal || got.Failure.Reason != "InvalidGrant" || !strings.HasPrefix(got.Failure.Message, "invalid_grant; ") {
		t.Errorf("%+v: an interrupted attempt on request revives nothing", got.Failure)
	}
	same := unavailable(time.Hour)
	same.LastAt = now
	before := held(markedBy(foreign, lifecycle.Exchange, "code-2"), failing(same))
	got = lifecycle.Interrupted(before, basis, now)
	if got.Failure.Reason != "ProviderUnavailable" || before.Failure.Reason != "ProviderUnavailable" || got.Failure.NextAttemptAt.IsZero() {
		t.Errorf("%+v: the refresh's own failure is another matter, even at the same moment", got.Failure)
	}
}

func TestRemembered(t *testing.T) {
	input := lifecycle.Input{State: lifecycle.InputPresent, Hash: "code-1", Version: "v2"}
	got := lifecycle.Remembered(held(), input, asked)
	if got.InputVersion != "v2" || got.RefreshRequest != asked {
		t.Errorf("version %q, request %q", got.InputVersion, got.RefreshRequest)
	}
	mustDecide(t, about(got, requesting(asked), func(f *lifecycle.Facts) { f.Input = input }), issued(), wait(due(got)), "noted once, not again and again")
	input.Hash = "code-2"
	if got := lifecycle.Remembered(held(), input, ""); got.InputVersion != "v1" {
		t.Error("a version was noted for a value that it does not hold")
	}
}

func TestRevocationProgress(t *testing.T) {
	r, now := held(), issued()
	for i, base := range []int{1, 2, 4, 8, 16, 30, 30} {
		r = lifecycle.RevocationFailed(r, "HTTP 503", 0, now)
		got := r.Revocation.NextAttemptAt.Sub(now)
		if low := time.Duration(base) * time.Second; got < low || got > low+low/5 || r.Revocation.Count != i+1 || r.Revocation.Done {
			t.Errorf("attempt %d: %+v, next after %s, want %s", i+1, r.Revocation, got, low)
		}
	}
	if r = lifecycle.RevocationFailed(r, "HTTP 429", time.Hour, now); !r.Revocation.NextAttemptAt.Equal(now.Add(time.Hour)) {
		t.Error("Retry-After is a lower bound")
	}
	if r = lifecycle.RevocationDone(r, "access token: unsupported"); !r.Revocation.Done || r.Revocation.Unrevoked == "" {
		t.Errorf("%+v", r.Revocation)
	}
}

func TestHeld(t *testing.T) {
	var none *lifecycle.Record
	if none.Held() || empty().Held() || !held().Held() || !held(noRefreshToken).Held() {
		t.Error("a grant is held as long as there is any token, and only then")
	}
}

func TestIssueKeepsThePreviousToken(t *testing.T) {
	first := &lifecycle.Record{Tokens: lifecycle.Tokens{AccessToken: sensitive.New("one"), GrantType: lifecycle.ClientCredentials}}
	call := lifecycle.Call{Action: lifecycle.Issue, ID: "a"}
	second := lifecycle.Succeeded(first, call, lifecycle.Tokens{AccessToken: sensitive.New("two"), GrantType: lifecycle.ClientCredentials}, time.Time{})
	if !second.Previous.Equal(sensitive.New("one")) {
		t.Error("a token that may still work is not kept for revocation")
	}
	again := lifecycle.Succeeded(second, call, lifecycle.Tokens{AccessToken: sensitive.New("two"), GrantType: lifecycle.ClientCredentials}, time.Time{})
	if !again.Previous.Equal(sensitive.New("one")) {
		t.Error("the same token given again replaced the one before it")
	}
}

// TestRefreshProvesInputs : what a refresh was made with is what a deletion has to use.
func TestRefreshProvesInputs(t *testing.T) {
	r := held(func(r *lifecycle.Record) { r.Inputs = map[string]string{"tenant": "old-name"} })
	call := calling(lifecycle.Refresh, after(time.Minute))
	call.Inputs = map[string]string{"tenant": "new-name"}
	next := lifecycle.Succeeded(r, call, answer("refresh-2", call.SentAt), call.SentAt)
	if next.Inputs["tenant"] != "new-name" || r.Inputs["tenant"] != "old-name" {
		t.Errorf("inputs are %v, and were %v", next.Inputs, r.Inputs)
	}
}

// TestKnownAccountsNeedNoIDToken : a refresh brings another one each time, and nobody would ever read it.
func TestKnownAccountsNeedNoIDToken(t *testing.T) {
	for done, want := range map[bool]string{true: "", false: "id-2"} {
		r := held(func(r *lifecycle.Record) { r.Lookup.Done = done })
		tokens := answer("refresh-2", after(time.Minute))
		tokens.IDToken = sensitive.New("id-2")
		got := lifecycle.Succeeded(r, calling(lifecycle.Refresh, after(time.Minute)), tokens, after(time.Minute))
		mustHold(t, "ID token", got.IDToken, want)
	}
}
