// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

func TestDecideLogin(t *testing.T) {
	now := after(time.Second)
	act := func(a lifecycle.Action) lifecycle.Decision { return lifecycle.Decision{Action: a} }
	for _, row := range []struct {
		name   string
		facts  lifecycle.Facts
		now    time.Time
		want   lifecycle.Decision
		reason string
	}{
		{"nobody came", about(nil, person(true)), now, act(lifecycle.Wait), "nothing to do but to wait"},
		{"a code", about(nil, login(issued())), now, act(lifecycle.Exchange), "somebody waits"},
		{"a code although the client is paused", about(nil, login(issued()), pausedUntil(after(time.Hour))), now, lifecycle.Decision{Action: lifecycle.Exchange, Probe: true}, "a click is rare, and the code would die"},
		{"a code for a grant that is held", about(held(), login(issued())), now, act(lifecycle.Exchange), "a person authorizes again"},
		{"a code while suspended", about(nil, login(issued()), suspended), now, act(lifecycle.Conclude), "the person should hear of it"},
		{"a code that is not allowed", about(nil, login(issued()), blockedBy("NotAllowed", "no")), now, act(lifecycle.Conclude), "it will not change within a minute"},
		{"a code while the application is read anew", about(nil, login(issued()), blockedBy("ApplicationNotReady", "soon")), now, lifecycle.Decision{Action: lifecycle.Wait, At: after(time.Minute)}, "it will be ready in a moment"},
		{"a code while the application is not ready for long", about(nil, login(issued()), blockedBy("ApplicationNotReady", "soon")), after(time.Minute), act(lifecycle.Conclude), "the code is dead"},
		{"a code that could not be sent", about(empty(failingInput(onInput("code-2", unavailable(9*time.Minute)))), login(issued())), after(8 * time.Minute), lifecycle.Decision{Action: lifecycle.Wait, At: after(9 * time.Minute)}, "a failure is waited for"},
		{"a code that could never be sent", about(empty(failingInput(onInput("code-2", unavailable(time.Hour)))), login(issued())), after(10 * time.Minute), act(lifecycle.Conclude), "no code lives that long"},
		{"declined", about(held(), declined("login-2")), now, act(lifecycle.Conclude), "it is written down"},
		{"declined, and written down", about(held(), declined("login-1")), now, lifecycle.Decide(about(held(), person(true)), now), "once"},
		{"declined while being deleted", about(held(), declined("login-2"), leaving()), now, act(lifecycle.Revoke), "nobody needs to know"},
		{"declined during a call", about(held(), declined("login-2"), running), now, lifecycle.Decide(about(held(), running), now), "one after the other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			mustDecide(t, row.facts, row.now, row.want, row.reason)
		})
	}
}

func TestConcluded(t *testing.T) {
	now := after(time.Minute)
	r := held()
	answer := lifecycle.Answer{Login: "login-2", Reason: v1alpha1.ReasonAccessDenied, Message: "access_denied: the person said no"}
	got := lifecycle.Concluded(r, answer, lifecycle.Input{}, now)
	if a := got.Authorization; a.ID != "login-2" || a.Result != lifecycle.AuthorizationFailed || a.Reason != v1alpha1.ReasonAccessDenied || a.Message != answer.Message || !a.At.Equal(now) {
		t.Errorf("the login ended as %+v", a)
	}
	if !got.Held() || got.SpentInput != r.SpentInput || r.Authorization.ID != "login-1" {
		t.Error("the grant was touched, or the record that it began with")
	}
	f := about(empty(failingInput(onInput("code-2", unavailable(time.Hour)))), login(issued()), suspended)
	got = lifecycle.Concluded(f.Record, *f.Conclusion(now), f.Input, now)
	if !got.HasSpent("code-2") || got.InputFailure != nil || got.Authorization.Reason != v1alpha1.ReasonSuspended {
		t.Errorf("the code may be sent after all: %+v", got)
	}
	f = about(f.Record, login(issued()))
	if said := f.Conclusion(after(time.Hour)); said.Reason != v1alpha1.ReasonAuthorizationExpired || !strings.Contains(said.Message, "503") {
		t.Errorf("a code that could not be sent ended as %+v", said)
	}
}

// A login is known by its own ID, whatever the calls that it takes are called.
func TestLoginHasItsOutcome(t *testing.T) {
	now := after(time.Second)
	call := calling(lifecycle.Exchange, now)
	call.Login = "login-2"
	for name, row := range map[string]struct {
		got    *lifecycle.Record
		result lifecycle.AuthorizationResult
		reason string
	}{
		"granted":                           {lifecycle.Succeeded(empty(), call, expiring(time.Hour), now), lifecycle.AuthorizationSucceeded, ""},
		"granted again":                     {settled(lifecycle.Succeeded(held(), call, expiring(time.Hour), now)), lifecycle.AuthorizationSucceeded, ""},
		"refused":                           {lifecycle.Failed(empty(), call, invalidGrant(), never(), now), lifecycle.AuthorizationFailed, v1alpha1.ReasonInvalidGrant},
		"refused again":                     {lifecycle.Failed(held(), call, invalidGrant(), never(), now), lifecycle.AuthorizationFailed, v1alpha1.ReasonInvalidGrant},
		"cut off":                           {lifecycle.Failed(empty(), call, cutOff(), never(), now), lifecycle.AuthorizationUnknown, v1alpha1.ReasonExchangeOutcomeUnknown},
		"client not accepted":               {lifecycle.Failed(empty(), call, invalidClient(), never(), now), lifecycle.AuthorizationFailed, v1alpha1.ReasonInvalidClient},
		"client not accepted, with a grant": {lifecycle.Failed(held(), call, invalidClient(), never(), now), lifecycle.AuthorizationFailed, v1alpha1.ReasonInvalidClient},
		"the process died":                  {interrupted(empty(), call), lifecycle.AuthorizationUnknown, v1alpha1.ReasonExchangeOutcomeUnknown},
		"the process died, with a grant":    {interrupted(held(), call), lifecycle.AuthorizationUnknown, v1alpha1.ReasonExchangeOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			a := row.got.Authorization
			if a == nil || a.ID != "login-2" || a.Result != row.result || a.Reason != row.reason {
				t.Errorf("the login ended as %+v, want %s %s", a, row.result, row.reason)
			}
			if !row.got.HasSpent("new") {
				t.Error("the code may be sent again")
			}
		})
	}
	call.Login = ""
	if got := lifecycle.Failed(empty(), call, invalidClient(), never(), now); got.Authorization != nil || got.HasSpent("new") {
		t.Error("a code in a Secret is given up although it would work when the client is mended")
	}
	if got := lifecycle.Failed(empty(), call, away(), never(), now); got.HasSpent("new") {
		t.Error("an outage ends a login at once")
	}
}

// interrupted is a record whose call was begun by a process that died, once another one has settled that.
func interrupted(r *lifecycle.Record, call lifecycle.Call) *lifecycle.Record {
	return lifecycle.Interrupted(lifecycle.Begin(r, call, foreign, ""), basis, after(time.Minute))
}

func TestAwaitsPerson(t *testing.T) {
	for _, row := range []struct {
		name  string
		facts lifecycle.Facts
		now   time.Time
		want  bool
	}{
		{"no grant", about(nil, person(true)), issued(), true},
		{"no link", about(nil, person(false)), issued(), false},
		{"a code in a Secret", about(nil), issued(), false},
		{"suspended", about(nil, person(true), suspended), issued(), false},
		{"blocked", about(nil, person(true), blockedBy("NotAllowed", "no")), issued(), false},
		{"being deleted", about(held(), person(true), leaving()), issued(), false},
		{"held", about(held(), person(true)), issued(), false},
		{"held, and a refresh failed", about(held(failing(unavailable(time.Hour))), person(true)), issued(), false},
		{"refused", about(held(failing(refused())), person(true)), issued(), true},
		{"expired without a refresh token", about(held(noRefreshToken), person(true)), after(2 * time.Hour), true},
		{"ended by the provider", about(held(func(r *lifecycle.Record) {
			r.Standing = &lifecycle.Standing{State: lifecycle.StandingDeleted, At: issued()}
		}), person(true)), issued(), true},
		{"client paused", about(nil, person(true), pausedUntil(after(time.Hour))), issued(), true},
		{"a scope more is asked for now", about(held(), person(true), asking("read", "write")), issued(), true},
		{"a scope more is asked for, and nobody can be sent", about(held(), asking("read", "write")), issued(), false},
		{"a scope less is asked for now", about(held(func(r *lifecycle.Record) { r.Scopes = []string{"read", "write"} }), person(true)), issued(), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := lifecycle.Describe(row.facts, published(), row.now)
			if s.AwaitsPerson != row.want {
				t.Errorf("AwaitsPerson is %t in phase %s (%s)", s.AwaitsPerson, s.Phase, s.Ready.Message)
			}
			if row.want && s.Phase == lifecycle.Inactive && !strings.Contains(s.Ready.Message, "status.authorizationURL") {
				t.Errorf("the message %q does not show the way", s.Ready.Message)
			}
		})
	}
}

func asking(scopes ...string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) { f.Scopes = scopes }
}

// After a login that came to nothing the connection waits as before, and says what happened.
func TestDescribeFailedLogin(t *testing.T) {
	denied := lifecycle.Concluded(empty(), lifecycle.Answer{Login: "login-2", Reason: "AccessDenied", Message: "access_denied"}, lifecycle.Input{}, issued())
	call := calling(lifecycle.Exchange, issued())
	call.Login = "login-2"
	refused := lifecycle.Failed(empty(), call, invalidGrant(), never(), issued())
	runDescriptions(t, []description{
		{name: "declined", facts: about(denied, person(true)), phase: lifecycle.Authorizing, ready: "False AuthorizationRequired", authorized: "False AuthorizationRequired", stalled: true, says: []string{"status.authorizationURL", "came to nothing: access_denied"}, reason: "the link works again"},
		{name: "code refused", facts: about(refused, person(true)), phase: lifecycle.Authorizing, ready: "False AuthorizationRequired", authorized: "False AuthorizationRequired", stalled: true, says: []string{"came to nothing: invalid_grant"}, reason: "the link works again"},
		{name: "PAR", facts: about(nil, person(false), obstructed("PARRequired", "the provider demands it")), phase: lifecycle.Pending, ready: "False PARRequired", authorized: "False AuthorizationRequired", stalled: true, says: []string{"demands"}, reason: "nobody can go on"},
		{name: "scopes", facts: about(held(), person(true), asking("read", "write")), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: "True GrantHeld", next: due(held()), reason: "the token works all the same"},
	})
	s := lifecycle.Describe(about(held(), person(true), asking("read", "write")), published(), issued())
	if s.ScopesGranted.Status != lifecycle.False || !strings.Contains(s.ScopesGranted.Message, "write; a person has to authorize again") {
		t.Errorf("ScopesGranted says %+v", s.ScopesGranted)
	}
}
