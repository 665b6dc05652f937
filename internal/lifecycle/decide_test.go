// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// decision is one row of a table about Decide. now counts from the issue of the token.
type decision struct {
	name   string
	facts  lifecycle.Facts
	now    time.Duration
	want   lifecycle.Decision
	reason string
}

func runDecisions(t *testing.T, rows []decision) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { mustDecide(t, row.facts, after(row.now), row.want, row.reason) })
	}
}

func wait(at ...time.Duration) lifecycle.Decision {
	d := lifecycle.Decision{Action: lifecycle.Wait}
	if len(at) > 0 {
		d.At = after(at[0])
	}
	return d
}

func act(action lifecycle.Action) lifecycle.Decision { return lifecycle.Decision{Action: action} }

func probe(action lifecycle.Action) lifecycle.Decision {
	return lifecycle.Decision{Action: action, Probe: true}
}

func due(r *lifecycle.Record) time.Duration {
	return lifecycle.RefreshDue(&r.Tokens, lifecycle.Margin{}, uid).Sub(issued())
}

func TestDecideSchedule(t *testing.T) {
	hour, unknown := due(held()), due(held(withTokens(unknownExpiry())))
	runDecisions(t, []decision{
		{"before the margin", about(held()), hour - time.Second, wait(hour), "nothing is due"},
		{"in the margin", about(held()), hour, act(lifecycle.Refresh), "due to the moment"},
		{"long after", about(held()), 300 * time.Hour, act(lifecycle.Refresh), "the operator was away"},
		{"unknown expiry", about(held(withTokens(unknownExpiry()))), unknown - time.Second, wait(unknown), "hourly"},
		{"unknown expiry, an hour later", about(held(withTokens(unknownExpiry()))), unknown, act(lifecycle.Refresh), "hourly"},
		{
			"unknown expiry without a refresh token", about(held(withTokens(unknownExpiry()), noRefreshToken)), 300 * time.Hour, wait(),
			"hourly only where that needs no person",
		},
		{"no expiry", about(held(withTokens(everlasting()))), 90000 * time.Hour, wait(), "a token that never expires is never refreshed"},
		{"no refresh token", about(held(noRefreshToken)), 50 * time.Minute, wait(time.Hour), "nothing to do, but status must learn of the expiry"},
		{"no refresh token, expired", about(held(noRefreshToken)), time.Hour, wait(), "a person has to act"},
		{"client credentials", about(credentials(), clientCredentials), due(credentials()), act(lifecycle.Issue), "issued again before expiry"},
		{"client credentials, not due", about(credentials(), clientCredentials), time.Minute, wait(hour), "not due"},
		{
			"client credentials of unknown expiry", about(credentials(withTokens(unknownExpiry()), noRefreshToken, func(r *lifecycle.Record) {
				r.GrantType = lifecycle.ClientCredentials
			}), clientCredentials), unknown, act(lifecycle.Issue), "hourly: no person is needed",
		},
		{
			"wrong clock", about(held(func(r *lifecycle.Record) { r.IssuedAt, r.Expiry.At = after(8760*time.Hour), after(8761*time.Hour) })), 0,
			act(lifecycle.Refresh), "the clock was a year ahead when the token came, so its expiry means nothing",
		},
		{
			"clocks of two nodes", about(held(func(r *lifecycle.Record) { r.IssuedAt = after(time.Minute) })), 0,
			wait(lifecycle.RefreshDue(&lifecycle.Tokens{IssuedAt: after(time.Minute), Expiry: held().Expiry}, lifecycle.Margin{}, uid).Sub(issued())),
			"a minute ahead is no wrong clock",
		},
		{
			"rescued refresh token", about(held(withTokens(lifecycle.Tokens{RefreshToken: sensitive.New("refresh-1")}))), 0,
			act(lifecycle.Refresh), "a refresh token without an access token is used at once",
		},
	})
}

func TestDecideFirstTokens(t *testing.T) {
	withoutInput := func(f *lifecycle.Facts) { f.Input = lifecycle.Input{} }
	runDecisions(t, []decision{
		{"code", about(nil), 0, act(lifecycle.Exchange), "a code is there"},
		{"import", about(nil, imported("refresh-0")), 0, act(lifecycle.Import), "a refresh token is there"},
		{"credentials", about(nil, clientCredentials), 0, act(lifecycle.Issue), "nobody has to be asked"},
		{"no input", about(nil, withoutInput), 0, wait(), "a person has to act"},
		{"missing input", about(nil, func(f *lifecycle.Facts) { f.Input = lifecycle.Input{State: lifecycle.InputMissing} }), 0, wait(), "its event comes"},
		{"suspended", about(nil, suspended), 0, wait(), "suspend wins"},
		{"blocked", about(nil, blockedBy("ApplicationNotReady", "not ready")), 0, wait(), "the application is not ready"},
		{"paused", about(nil, pausedUntil(after(time.Minute))), 0, wait(time.Minute), "the provider does not accept the client"},
		{"probe", about(nil, pausedUntil(after(time.Minute))), time.Minute, probe(lifecycle.Exchange), "one call finds out"},
		{"a request of old", about(nil, withoutInput, requesting(asked)), 0, wait(), "there is nothing to refresh and no record to note that in"},
		{"spent code", about(empty(func(r *lifecycle.Record) { r.SpentInput, r.InputVersion = "code-1", "v1" })), 0, wait(), "a code is never sent twice"},
		{"spent code, new version", about(held(), func(f *lifecycle.Facts) { f.Input.Version = "v2" }), 0, act(lifecycle.Remember), "the same value in a new version is noted, not sent"},
		{"new code", about(held(), code("code-2")), 0, act(lifecycle.Exchange), "a changed code authorizes anew"},
		{"new import", about(held(), imported("refresh-9")), 0, act(lifecycle.Import), "a changed refresh token is imported anew"},
		{"new code for a refused grant", about(held(failing(refused())), code("code-2")), 0, act(lifecycle.Exchange), "a new code revives"},
		{"other scopes", about(credentials(), clientCredentials, func(f *lifecycle.Facts) { f.Scopes = []string{"write"} }), 0, act(lifecycle.Issue), "the token must have the scopes of the spec"},
		{"other grant type", about(held(), clientCredentials), 0, act(lifecycle.Issue), "a person's token is not the client's own"},
		{
			"other grant type, refused grant", about(held(failing(refused())), clientCredentials, reconfigured), 0,
			act(lifecycle.Issue), "what was refused was another grant",
		},
	})
}

func refused() lifecycle.Failure {
	return lifecycle.Failure{Reason: "InvalidGrant", Message: "invalid_grant", Terminal: true, Count: 1, FirstAt: issued(), LastAt: issued(), Basis: basis}
}

func rejected() lifecycle.Failure {
	f := refused()
	f.Reason, f.Message, f.Count = "RefreshRejected", "HTTP 404 Not Found", 5
	return f
}

func unavailable(next time.Duration) lifecycle.Failure {
	return lifecycle.Failure{
		Reason: "ProviderUnavailable", Message: "HTTP 503 Service Unavailable", Count: 3, FirstAt: issued(), LastAt: issued(),
		NextAttemptAt: after(next), Basis: basis,
	}
}

func unheard() lifecycle.Failure {
	return lifecycle.Failure{
		Reason: "RefreshOutcomeUnknown", Message: "the answer is lost", Count: 1, FirstAt: issued(), LastAt: issued(), OutcomeUnknown: true, Basis: basis,
	}
}

func onInput(hash string, f lifecycle.Failure) lifecycle.Failure {
	f.InputHash = hash
	return f
}

func TestDecideMarks(t *testing.T) {
	seen := func(at time.Duration) func(*lifecycle.Facts) {
		return func(f *lifecycle.Facts) { f.MarkSeenAt = after(at) }
	}
	foreignMark := held(markedBy(foreign, lifecycle.Refresh, ""))
	runDecisions(t, []decision{
		{"foreign, just seen", about(foreignMark, seen(0)), 0, wait(30 * time.Second), "another process may be calling"},
		{"foreign, overdue", about(foreignMark, seen(50*time.Minute)), 50*time.Minute + 29*time.Second, wait(50*time.Minute + 30*time.Second), "not even a due refresh may be sent"},
		{"foreign, after 30 seconds", about(foreignMark, seen(0)), 30 * time.Second, act(lifecycle.VerifyMark), "a live read tells whether it is a crash's"},
		{"another foreign mark since", about(foreignMark, seen(20*time.Second)), 30 * time.Second, wait(50 * time.Second), "a changed mark starts the 30 seconds again"},
		{"foreign, deleting", about(foreignMark, seen(0), leaving()), time.Second, wait(30 * time.Second), "tokens may be on their way"},
		{"foreign, deleting, after 30 seconds", about(foreignMark, seen(0), leaving()), 30 * time.Second, act(lifecycle.VerifyMark), "then the deletion goes on"},
		{"foreign, suspended", about(foreignMark, seen(0), suspended), 30 * time.Second, act(lifecycle.VerifyMark), "looking at a mark asks no provider"},
		{"foreign, requested", about(foreignMark, seen(0), requesting(asked)), time.Second, wait(30 * time.Second), "a request does not send a token twice"},
		{"foreign, new code", about(foreignMark, seen(0), code("code-2")), time.Second, wait(30 * time.Second), "one call at a time"},
		{"own, not running", about(held(markedBy(process, lifecycle.Refresh, ""))), due(held()), act(lifecycle.Refresh), "the mark's write seemed to fail, so nothing was sent"},
		{"own, code", about(empty(markedBy(process, lifecycle.Exchange, "code-1"))), 0, act(lifecycle.Exchange), "likewise"},
		{"running", about(held(markedBy(process, lifecycle.Refresh, "")), running, requesting(asked)), 50 * time.Minute, wait(time.Hour), "the call's end is awaited, and the expiry told"},
		{"running, deleting", about(held(), running, leaving()), time.Hour, wait(), "its tokens have to be revoked, too"},
	})
}

func TestDecideAfterAnUnknownOutcome(t *testing.T) {
	proven := func(r *lifecycle.Record) { r.Unrotated = 2 }
	once := func(r *lifecycle.Record) { r.Unrotated = 1 }
	f := unheard()
	delayed := unheard()
	delayed.NextAttemptAt = after(10 * time.Minute)
	runDecisions(t, []decision{
		{"rotating", about(held(failing(f))), 0, wait(time.Hour - 30*time.Second), "reuse detection could kill a token that still works"},
		{"rotating, at last", about(held(failing(f))), time.Hour - 30*time.Second, act(lifecycle.Refresh), "the access token is about to expire"},
		{"rotating, expired", about(held(failing(f))), 2 * time.Hour, act(lifecycle.Refresh), "nothing is left to lose"},
		{"one refresh proves nothing", about(held(failing(f), once)), 0, wait(time.Hour - 30*time.Second), "two are needed"},
		{"not rotating", about(held(failing(f), proven)), 0, act(lifecycle.Refresh), "two refreshes without a new refresh token prove it: at once"},
		{"not rotating, backing off", about(held(failing(delayed), proven)), 0, wait(10 * time.Minute), "a time-out still means to go easy"},
		{"short token", about(held(lifetime(10*time.Second), failing(f))), 0, wait(9 * time.Second), "about to expire: a tenth of the lifetime"},
		{"unknown expiry", about(held(withTokens(unknownExpiry()), failing(f))), 0, wait(time.Hour), "when it would be refreshed at the latest"},
		{"no expiry", about(held(withTokens(everlasting()), failing(f))), 90000 * time.Hour, wait(), "a working token that never expires is not put at risk"},
		{"no expiry, requested", about(held(withTokens(everlasting()), failing(f)), requesting(asked)), 0, act(lifecycle.Refresh), "unless somebody asks"},
		{"changed configuration", about(held(failing(delayed)), reconfigured), 0, wait(time.Hour - 30*time.Second), "a change cuts backoff, but does not make a spent token good"},
		{"no access token", about(held(withTokens(lifecycle.Tokens{RefreshToken: sensitive.New("r")}), failing(f))), 0, act(lifecycle.Refresh), "nothing to lose"},
		{"import", about(empty(failingInput(onInput("refresh-0", f))), imported("refresh-0")), 0, act(lifecycle.Import), "sent once more at once: no access token depends on it"},
		{"client credentials", about(credentials(failing(f)), clientCredentials), 0, act(lifecycle.Issue), "credentials are never spent"},
	})
}

func TestDecideAfterAFailure(t *testing.T) {
	early := unavailable(50 * time.Minute)
	runDecisions(t, []decision{
		{"backoff", about(held(failing(early))), 49 * time.Minute, wait(50 * time.Minute), "the distance is kept"},
		{"backoff over", about(held(failing(early))), 50 * time.Minute, act(lifecycle.Refresh), "and tried again"},
		{"told of expiry", about(held(failing(unavailable(61 * time.Minute)))), 59 * time.Minute, wait(time.Hour), "status must say when the token has expired"},
		{"changed configuration", about(held(failing(early)), reconfigured), 0, act(lifecycle.Refresh), "any change cuts the backoff short"},
		{"requested", about(held(failing(early)), requesting(asked)), 0, act(lifecycle.Refresh), "a request overrides backoff"},
		{"wrong clock", about(held(failing(lifecycle.Failure{Reason: "ProviderUnavailable", Basis: basis, LastAt: after(8760 * time.Hour), NextAttemptAt: after(8761 * time.Hour)}))), 0, act(lifecycle.Refresh), "not in a year"},
		{"paused", about(held(failing(early)), pausedUntil(after(55*time.Minute))), 50 * time.Minute, wait(55 * time.Minute), "the application's pause comes on top"},
		{"probe", about(held(failing(early)), pausedUntil(after(55*time.Minute))), 55 * time.Minute, probe(lifecycle.Refresh), "one call finds out"},
		{"paused, requested", about(held(), pausedUntil(after(55*time.Minute)), requesting(asked)), 0, probe(lifecycle.Refresh), "a request probes at once"},
		{"refused", about(held(failing(refused()))), 90 * time.Minute, wait(), "invalid_grant: no more calls"},
		{"refused, still valid", about(held(failing(refused()))), 0, wait(time.Hour), "no more calls"},
		{"refused, changed configuration", about(held(failing(refused())), reconfigured), 90 * time.Minute, wait(), "no configuration brings a refused grant back"},
		{"refused, requested", about(held(failing(refused())), requesting(asked)), 90 * time.Minute, act(lifecycle.Refresh), "one attempt if a refresh token is left"},
		{"refused, request answered", about(held(failing(refused()), func(r *lifecycle.Record) { r.RefreshRequest = asked }), requesting(asked)), 90 * time.Minute, wait(), "one attempt, not two"},
		{"refused, no refresh token, requested", about(held(failing(refused()), noRefreshToken), requesting(asked)), 0, act(lifecycle.Remember), "the request is answered without a call"},
		{"rejected", about(held(failing(rejected()))), 90 * time.Minute, wait(), "five refusals are enough"},
		{"rejected, changed configuration", about(held(failing(rejected())), reconfigured), 0, act(lifecycle.Refresh), "the endpoint may have been wrong"},
		{"rejected, requested", about(held(failing(rejected())), requesting(asked)), 0, act(lifecycle.Refresh), "somebody knows better"},
		{"credentials refused", about(credentials(failing(refused())), clientCredentials), 0, wait(time.Hour), "terminal for credentials too"},
		{"credentials refused, changed configuration", about(credentials(failing(refused())), clientCredentials, reconfigured), 0, act(lifecycle.Issue), "other credentials, another answer"},
		{"credentials refused, never held", about(empty(failingInput(refused())), clientCredentials), 0, wait(), "terminal"},
		{"credentials, never held, backoff", about(empty(failingInput(unavailable(time.Minute))), clientCredentials), 0, wait(time.Minute), "the distance is kept"},
		{"credentials, never held, requested", about(empty(failingInput(refused())), clientCredentials, requesting(asked)), 0, act(lifecycle.Issue), "on request"},
		{"credentials, never held, changed", about(empty(failingInput(refused())), clientCredentials, reconfigured), 0, act(lifecycle.Issue), "after a change"},
	})
}

func TestDecideAfterAFailedInput(t *testing.T) {
	waiting, terminal := onInput("code-1", unavailable(time.Minute)), onInput("code-1", rejected())
	unknownRejected := onInput("code-1", unheard())
	unknownRejected.Terminal = true
	runDecisions(t, []decision{
		{"code, backoff", about(empty(failingInput(waiting))), 0, wait(time.Minute), "the provider was busy; the code was not sent or not taken"},
		{"code, backoff over", about(empty(failingInput(waiting))), time.Minute, act(lifecycle.Exchange), "tried again"},
		{"code, changed configuration", about(empty(failingInput(waiting)), reconfigured), 0, act(lifecycle.Exchange), "any change cuts the backoff short"},
		{"code, requested", about(empty(failingInput(waiting)), requesting(asked)), 0, act(lifecycle.Exchange), "a request too"},
		{"paused, requested", about(empty(), pausedUntil(after(time.Minute)), requesting(asked)), 0, probe(lifecycle.Exchange), "even a pause"},
		{"another code", about(empty(failingInput(waiting)), code("code-2")), 0, act(lifecycle.Exchange), "a new code does not wait for an old one"},
		{"import rejected", about(empty(failingInput(terminal)), imported("code-1")), 0, wait(), "five refusals are enough"},
		{"import rejected, changed configuration", about(empty(failingInput(terminal)), imported("code-1"), reconfigured), 0, act(lifecycle.Import), "the endpoint may have been wrong"},
		{"import rejected, requested", about(empty(failingInput(terminal)), imported("code-1"), requesting(asked)), 0, act(lifecycle.Import), "somebody knows better"},
		{"import rejected after a crash, requested", about(empty(failingInput(unknownRejected)), imported("code-1"), requesting(asked)), 0, act(lifecycle.Import), "no answer has condemned it"},
		{"import rejected, then removed", about(empty(failingInput(terminal)), func(f *lifecycle.Facts) { f.Input = lifecycle.Input{State: lifecycle.InputMissing} }), 0, wait(), "nothing to send"},
		{"held, input waits", about(held(failingInput(onInput("code-2", unavailable(time.Hour)))), code("code-2")), 30 * time.Minute, wait(due(held())), "whatever comes first"},
		{"held, input waits less", about(held(failingInput(onInput("code-2", unavailable(31*time.Minute)))), code("code-2")), 30 * time.Minute, wait(31 * time.Minute), "whatever comes first"},
		{"held, input waits, refresh due", about(held(failingInput(onInput("code-2", unavailable(time.Hour)))), code("code-2")), due(held()), act(lifecycle.Refresh), "a failing import must not starve the grant that works"},
		{"held, import rejected", about(held(failingInput(onInput("r-2", rejected()))), imported("r-2")), due(held()), act(lifecycle.Refresh), "the old grant lives on"},
	})
}

func TestDecideSuspendedAndBlocked(t *testing.T) {
	blocked := blockedBy("ApplicationNotReady", "not ready")
	runDecisions(t, []decision{
		{"suspended, due", about(held(), suspended), 50 * time.Minute, wait(time.Hour), "no calls; status learns of the expiry"},
		{"suspended, requested", about(held(), suspended, requesting(asked)), 0, wait(time.Hour), "suspend wins over a request"},
		{"suspended, new code", about(held(), suspended, code("code-2")), 0, wait(time.Hour), "and over a code"},
		{"suspended, deleting", about(held(), suspended, leaving()), time.Second, act(lifecycle.Revoke), "deletion revokes while suspended, too"},
		{"blocked, due", about(held(), blocked), 50 * time.Minute, wait(time.Hour), "it cannot be called"},
		{"blocked, requested", about(held(), blocked, requesting(asked)), 0, wait(time.Hour), "it cannot be called"},
		{"blocked, deleting", about(held(), blocked, leaving()), time.Second, act(lifecycle.Revoke), "what is needed to revoke was kept"},
	})
}

func TestDecideRequests(t *testing.T) {
	answered := func(r *lifecycle.Record) { r.RefreshRequest = asked }
	runDecisions(t, []decision{
		{"new", about(held(), requesting(asked)), 0, act(lifecycle.Refresh), "now, not when due"},
		{"any other value", about(held(answered), requesting("again please")), 0, act(lifecycle.Refresh), "any new value counts"},
		{"answered", about(held(answered), requesting(asked)), 0, wait(due(held())), "once"},
		{"removed", about(held(answered), requesting("")), 0, wait(due(held())), "no value, no request"},
		{
			"with a new version of the input", about(held(), requesting(asked), func(f *lifecycle.Facts) { f.Input.Version = "v2" }), 0,
			act(lifecycle.Refresh), "a touched Secret does not answer it",
		},
		{"nothing to refresh with", about(held(noRefreshToken), requesting(asked)), 0, act(lifecycle.Remember), "answered without a call"},
		{"nothing held", about(empty(func(r *lifecycle.Record) { r.SpentInput, r.InputVersion = "code-1", "v1" }), requesting(asked)), 0, act(lifecycle.Remember), "answered without a call"},
		{"credentials", about(credentials(), clientCredentials, requesting(asked)), 0, act(lifecycle.Issue), "issued anew"},
		{"with a new code", about(held(), code("code-2"), requesting(asked)), 0, act(lifecycle.Exchange), "the code gives new tokens, which answers both"},
	})
}

func TestDecideDeletion(t *testing.T) {
	tried := func(next time.Duration) func(*lifecycle.Record) {
		return func(r *lifecycle.Record) { r.Revocation = &lifecycle.Revocation{Count: 1, NextAttemptAt: after(next)} }
	}
	done := func(r *lifecycle.Record) { r.Revocation = &lifecycle.Revocation{Done: true} }
	replaced := func(r *lifecycle.Record) { r.Replaced = []sensitive.String{sensitive.New("refresh-0")} }
	gaveUp := lifecycle.Decision{Action: lifecycle.Release, GivenUp: true}
	runDecisions(t, []decision{
		{"held", about(held(), leaving()), 0, act(lifecycle.Revoke), "deleted means revoked"},
		{"nothing attempted", about(nil, leaving()), 0, act(lifecycle.Release), "there is nothing to revoke"},
		{"nothing held", about(empty(), leaving()), 0, act(lifecycle.Release), "there is nothing to revoke"},
		{"replaced grants only", about(empty(replaced), leaving()), 0, act(lifecycle.Revoke), "replaced refresh tokens are revoked, too"},
		{"refused grant", about(held(failing(refused())), leaving()), 0, act(lifecycle.Revoke), "the access token may still work"},
		{"orphan", about(held(), leaving(orphan)), 0, act(lifecycle.Release), "the grant stays alive at the provider"},
		{"no revocation endpoint", about(held(), leaving(revocable(lifecycle.RevocableNever))), 0, act(lifecycle.Release), "nobody to ask"},
		{"client unknown", about(held(), leaving(revocable(lifecycle.RevocableLater))), 0, wait(5 * time.Minute), "it may come back within the deadline"},
		{"client unknown, deadline", about(held(), leaving(revocable(lifecycle.RevocableLater))), 5 * time.Minute, gaveUp, "no finalizer hangs"},
		{"backoff", about(held(tried(time.Minute)), leaving()), 59 * time.Second, wait(time.Minute), "the distance is kept"},
		{"backoff over", about(held(tried(time.Minute)), leaving()), time.Minute, act(lifecycle.Revoke), "tried again"},
		{"backoff beyond the deadline", about(held(tried(time.Hour)), leaving()), time.Minute, wait(5 * time.Minute), "the deadline holds whatever Retry-After says"},
		{"deadline", about(held(tried(time.Hour)), leaving()), 5 * time.Minute, gaveUp, "never longer than the deadline"},
		{"answered", about(held(done), leaving()), 0, act(lifecycle.Release), "as soon as the provider has answered"},
		{"answered after the deadline", about(held(done), leaving()), time.Hour, act(lifecycle.Release), "not given up: it was answered"},
		{"paused", about(held(), leaving(), pausedUntil(after(time.Hour))), 0, act(lifecycle.Revoke), "a pause of the token endpoint does not concern revocation"},
		{"new code", about(held(), leaving(), code("code-2")), 0, act(lifecycle.Revoke), "no new grant while leaving"},
	})
}

func TestActions(t *testing.T) {
	for _, tc := range []struct {
		action        lifecycle.Action
		calls, spends bool
	}{
		{lifecycle.Exchange, true, true},
		{lifecycle.Import, true, true},
		{lifecycle.Refresh, true, true},
		{lifecycle.Issue, true, false},
		{lifecycle.Revoke, true, false},
		{lifecycle.Wait, false, false},
		{lifecycle.VerifyMark, false, false},
		{lifecycle.Remember, false, false},
		{lifecycle.Release, false, false},
	} {
		if tc.action.CallsProvider() != tc.calls || tc.action.SpendsCredential() != tc.spends {
			t.Errorf("%s: calls %t, spends %t; want %t, %t", tc.action, tc.action.CallsProvider(), tc.action.SpendsCredential(), tc.calls, tc.spends)
		}
	}
}

func TestDecideAfterTheDeadline(t *testing.T) {
	deadline := issued().Add(time.Minute)
	deletion := func(revocable lifecycle.Revocability) *lifecycle.Deletion {
		return &lifecycle.Deletion{RequestedAt: issued(), Timeout: time.Minute, Revocable: revocable}
	}
	tried := lifecycle.RevocationFailed(held(), "503", 0, issued())
	for _, test := range []struct {
		reason string
		record *lifecycle.Record
		can    lifecycle.Revocability
		want   lifecycle.Decision
	}{
		{"its turn never came: one call, beside the limits", held(), lifecycle.RevocableNow, lifecycle.Decision{Action: lifecycle.Revoke, LastChance: true}},
		{"it was tried: given up", tried, lifecycle.RevocableNow, lifecycle.Decision{Action: lifecycle.Release, GivenUp: true}},
		{"nobody can be asked: given up", held(), lifecycle.RevocableLater, lifecycle.Decision{Action: lifecycle.Release, GivenUp: true}},
	} {
		f := about(test.record)
		f.Deletion = deletion(test.can)
		if got := lifecycle.Decide(f, deadline); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.reason, got, test.want)
		}
	}
}

// TestWakeAt holds for what waits in a queue, too: a token expires and a deletion runs out of time all the same.
func TestWakeAt(t *testing.T) {
	refresh, revoke := lifecycle.Decision{Action: lifecycle.Refresh}, lifecycle.Decision{Action: lifecycle.Revoke}
	dying := about(held())
	dying.Deletion = &lifecycle.Deletion{RequestedAt: issued(), Timeout: time.Minute}
	for _, test := range []struct {
		reason   string
		facts    lifecycle.Facts
		decision lifecycle.Decision
		now      time.Duration
		want     time.Time
	}{
		{"a refresh waits for its turn while the token expires", about(held()), refresh, 50 * time.Minute, after(time.Hour)},
		{"it has expired: nothing more comes by itself", about(held()), refresh, 61 * time.Minute, time.Time{}},
		{"a revocation waits for its turn while time runs out", dying, revoke, time.Second, after(time.Minute)},
		{"what is decided comes earlier", about(held()), lifecycle.Decision{Action: lifecycle.Wait, At: after(time.Minute)}, 0, after(time.Minute)},
		{"nothing is held and nothing is planned", about(nil), lifecycle.Decision{Action: lifecycle.Wait}, 0, time.Time{}},
	} {
		if got := lifecycle.WakeAt(test.facts, test.decision, after(test.now)); !got.Equal(test.want) {
			t.Errorf("%s: got %s, want %s", test.reason, got, test.want)
		}
	}
}

// TestClockThatWasAhead : an authorization is dated a day ahead, the clock is set right, a refresh is made; the one after
// it must not wait for the day to pass.
func TestClockThatWasAhead(t *testing.T) {
	ahead := held(func(r *lifecycle.Record) { r.AuthorizedAt = after(24 * time.Hour) })
	if got := lifecycle.Decide(about(ahead), after(59*time.Minute)); got.Action != lifecycle.Refresh {
		t.Errorf("a token that expires in a minute: %+v, want a refresh", got)
	}
}

// TestSpentCodeComesBack : a change in Git is taken back, and with it comes a code that was used before.
func TestSpentCodeComesBack(t *testing.T) {
	r := settled(lifecycle.Succeeded(held(), calling(lifecycle.Exchange, issued()), answer("refresh-2", issued()), issued()))
	mustDecide(t, about(r, code("code-1")), issued(), act(lifecycle.Remember), "it was used before the last one")
	r = lifecycle.Remembered(r, about(r, code("code-1")).Input, "")
	if f := about(r, code("code-1")); lifecycle.Decide(f, issued()).Action != lifecycle.Wait {
		t.Errorf("%+v: it is looked at again and again", lifecycle.Decide(f, issued()))
	}
	mustDecide(t, about(r, code("code-3")), issued(), act(lifecycle.Exchange), "one that was never used")
}

// TestDecideInputs : what is issued without a person follows the inputs, as it follows the scopes.
func TestDecideInputs(t *testing.T) {
	tenant := func(name string) func(*lifecycle.Facts) {
		return func(f *lifecycle.Facts) { f.Inputs = map[string]string{"tenant": name} }
	}
	of := func(name string) func(*lifecycle.Record) {
		return func(r *lifecycle.Record) { r.Inputs = map[string]string{"tenant": name} }
	}
	hour := due(held())
	runDecisions(t, []decision{
		{"the same inputs", about(credentials(of("a")), clientCredentials, tenant("a")), 0, wait(hour), "nothing has changed"},
		{"other inputs", about(credentials(of("a")), clientCredentials, tenant("b")), 0, act(lifecycle.Issue), "the token is another tenant's"},
		{"inputs taken away", about(credentials(of("a")), clientCredentials), 0, act(lifecycle.Issue), "the default may be another one"},
		{"a person's grant", about(held(of("a")), tenant("b")), 0, wait(hour), "nobody has authorized for the other inputs"},
	})
}

// TestRenewalByAccessToken : a refresh token is never sent where access tokens are exchanged, so it renews nothing.
func TestRenewalByAccessToken(t *testing.T) {
	byAccess := func(f *lifecycle.Facts) { f.RenewsByAccessToken = true }
	runDecisions(t, []decision{
		{"due", about(held(), byAccess), 50 * time.Minute, act(lifecycle.Refresh), "the access token works"},
		{"too late", about(held(), byAccess), time.Hour, wait(), "an expired token cannot be exchanged"},
		{"too late, a request", about(held(), byAccess, requesting(asked)), time.Hour, act(lifecycle.Remember), "there is nothing to send"},
	})
}

// TestDecideMendedInput : what stands beside a code in its Secret can be why it cannot be sent, and codes live for a minute.
func TestDecideMendedInput(t *testing.T) {
	setup := lifecycle.Refusal{Concern: lifecycle.ConcernsSetup, Reason: "InvalidConfiguration", Message: "a value is missing"}
	call := calling(lifecycle.Exchange, issued())
	call.InputHash, call.InputVersion = "code-1", "v1"
	unsent := lifecycle.Failed(empty(), call, setup, never(), issued())
	other := func(f *lifecycle.Facts) { f.Input.Version = "v2" }
	runDecisions(t, []decision{
		{"the same Secret", about(unsent), 0, wait(unsent.InputFailure.NextAttemptAt.Sub(issued())), "nothing has changed"},
		{"another version", about(unsent, other), 0, act(lifecycle.Exchange), "somebody has mended it"},
		{
			"another version, a provider that is away", about(lifecycle.Failed(empty(), call, away(), never(), issued()), other), 0,
			wait(lifecycle.Failed(empty(), call, away(), never(), issued()).InputFailure.NextAttemptAt.Sub(issued())), "that is not in the Secret",
		},
	})
}

// TestDecidePausesOfKinds : a pause of one kind of call holds back no other kind.
func TestDecidePausesOfKinds(t *testing.T) {
	pausing := func(action lifecycle.Action) func(*lifecycle.Facts) {
		return func(f *lifecycle.Facts) {
			f.Pauses = map[lifecycle.Action]lifecycle.Pause{action: {Reason: "UnauthorizedClient", Message: "no", NextProbeAt: after(50 * time.Minute)}}
		}
	}
	hour := due(held())
	devised := func(r *lifecycle.Record) { r.GrantType, r.SpentInput, r.InputVersion = lifecycle.DeviceCode, "", "" }
	runDecisions(t, []decision{
		{"codes, and a code waits", about(held(), code("new"), pausing(lifecycle.Exchange)), 0, wait(hour), "the refresh comes first"},
		{"codes, and a refresh is due", about(held(), code("new"), pausing(lifecycle.Exchange)), hour, act(lifecycle.Refresh), "a client may refresh that may not use codes"},
		{"refreshes, and a code has come", about(held(), code("new"), pausing(lifecycle.Refresh)), hour, act(lifecycle.Exchange), "and the other way round"},
		{"devices, and a grant is over", about(held(devised, failing(refused())), byDevice, pausing(lifecycle.StartDevice)), time.Minute, wait(50 * time.Minute), "though there is a refresh token"},
	})
	runDescriptions(t, []description{
		{name: "codes", facts: about(held(), pausing(lifecycle.Exchange)), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: "True GrantHeld", next: hour, says: []string{"valid until"}, reason: "refreshes are not held back"},
		{name: "devices", facts: about(nil, byDevice, pausing(lifecycle.StartDevice)), phase: lifecycle.Pending, ready: "False UnauthorizedClient", authorized: "False AuthorizationRequired", reconciling: true, reason: "no code is asked for"},
	})
}
