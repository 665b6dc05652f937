// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// description is one row of a table about Describe. ready and authorized are "Status Reason"; stalled and reconciling
// are whether the conditions are True. says are parts of the Ready condition's message.
type description struct {
	name                 string
	facts                lifecycle.Facts
	publication          lifecycle.Publication
	now                  time.Duration
	phase                lifecycle.Phase
	ready, authorized    string
	stalled, reconciling bool
	next                 time.Duration
	says                 []string
	reason               string
}

func runDescriptions(t *testing.T, rows []description) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := lifecycle.Describe(row.facts, row.publication, after(row.now))
			if got := said(s.Ready); s.Phase != row.phase || got != row.ready {
				t.Errorf("phase %s, Ready %s; want %s, %s: %s", s.Phase, got, row.phase, row.ready, row.reason)
			}
			if got := said(s.Authorized); got != row.authorized {
				t.Errorf("Authorized %s, want %s: %s", got, row.authorized, row.reason)
			}
			if (s.Stalled.Status == lifecycle.True) != row.stalled || (s.Reconciling.Status == lifecycle.True) != row.reconciling {
				t.Errorf("Stalled %s, Reconciling %s; want %t, %t: %s", s.Stalled.Status, s.Reconciling.Status, row.stalled, row.reconciling, row.reason)
			}
			if want := after(row.next); (row.next == 0 && !s.NextRefreshAt.IsZero()) || (row.next != 0 && !s.NextRefreshAt.Equal(want)) {
				t.Errorf("next refresh at %s, want %s: %s", s.NextRefreshAt, want, row.reason)
			}
			for _, part := range row.says {
				if !strings.Contains(s.Ready.Message, part) {
					t.Errorf("the message %q does not say %q", s.Ready.Message, part)
				}
			}
		})
	}
}

func said(c lifecycle.Condition) string { return string(c.Status) + " " + c.Reason }

func published() lifecycle.Publication {
	return lifecycle.Publication{Name: "crm-token", Current: true, Before: true}
}

func conflicting(before bool) lifecycle.Publication {
	return lifecycle.Publication{Name: "crm-token", Before: before, Problem: &lifecycle.Verdict{
		Reason: "SecretConflict", Message: "Secret crm-token is not this connection's", Stalled: true,
	}}
}

func TestDescribeWithoutGrant(t *testing.T) {
	missing := func(f *lifecycle.Facts) {
		f.Input = lifecycle.Input{State: lifecycle.InputMissing, Missing: `waiting for Secret "crm-code"`}
	}
	const required = "False AuthorizationRequired"
	runDescriptions(t, []description{
		{name: "code is there", facts: about(nil), phase: lifecycle.Pending, ready: "False Progressing", authorized: required, reconciling: true, says: []string{"asking the provider"}, reason: "under way"},
		{name: "Secret missing", facts: about(nil, missing), phase: lifecycle.Pending, ready: "False SecretNotFound", authorized: required, reconciling: true, says: []string{`"crm-code"`}, reason: "not yet possible"},
		{name: "a person", facts: about(nil, person(true)), phase: lifecycle.Authorizing, ready: "False AuthorizationRequired", authorized: required, stalled: true, says: []string{"status.authorizationURL"}, reason: "only a person can go on"},
		{name: "a person, and a callback of somebody else", facts: about(nil, person(false)), phase: lifecycle.Authorizing, ready: "False AuthorizationRequired", authorized: required, stalled: true, says: []string{"codeSecretRef"}, reason: "the code has to come by a Secret"},
		{name: "no gateway", facts: about(nil, person(false), obstructed("NoGateway", "no --external-url")), phase: lifecycle.Pending, ready: "False NoGateway", authorized: required, stalled: true, says: []string{"--external-url"}, reason: "a person cannot go on either"},
		{name: "credentials", facts: about(nil, clientCredentials), phase: lifecycle.Pending, ready: "False Progressing", authorized: required, reconciling: true, reason: "nobody is needed"},
		{name: "suspended", facts: about(nil, suspended), phase: lifecycle.Pending, ready: "False Suspended", authorized: required, says: []string{"spec.suspend"}, reason: "settled: nothing is under way"},
		{name: "application not ready", facts: about(nil, blockedBy("ApplicationNotReady", "no such luck")), phase: lifecycle.Pending, ready: "False ApplicationNotReady", authorized: required, reconciling: true, says: []string{"no such luck"}, reason: "not yet possible"},
		{name: "not allowed", facts: about(nil, blockedBy("NotAllowed", "namespace")), phase: lifecycle.Pending, ready: "False NotAllowed", authorized: required, reconciling: true, reason: "not allowed"},
		{name: "paused", facts: about(nil, pausedUntil(after(time.Hour))), phase: lifecycle.Pending, ready: "False InvalidClient", authorized: required, reconciling: true, says: []string{"invalid_client"}, reason: "the application's trouble"},
		{name: "provider away", facts: about(empty(failingInput(onInput("code-1", unavailable(time.Hour))))), phase: lifecycle.Pending, ready: "False ProviderUnavailable", authorized: required, reconciling: true, says: []string{"503"}, reason: "will pass"},
		{name: "Secret conflict", facts: about(nil), publication: conflicting(false), phase: lifecycle.Pending, ready: "False SecretConflict", authorized: required, stalled: true, reason: "a foreign Secret has the name"},
		{name: "code refused", facts: about(lifecycle.Failed(empty(), calling(lifecycle.Exchange, issued()), invalidGrant(), never(), issued())), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"new code"}, reason: "terminal"},
		{name: "code rejected", facts: about(lifecycle.Failed(empty(), calling(lifecycle.Exchange, issued()), unclear(), never(), issued())), phase: lifecycle.Inactive, ready: "False ExchangeRejected", authorized: "False ExchangeRejected", stalled: true, says: []string{"404", "never sent twice"}, reason: "terminal"},
		{name: "code cut off", facts: about(crashedExchange()), phase: lifecycle.Inactive, ready: "False ExchangeOutcomeUnknown", authorized: "False ExchangeOutcomeUnknown", stalled: true, says: []string{"never sent twice"}, reason: "never called success"},
		{name: "import cut off", facts: about(crashedImport(), imported("refresh-0")), phase: lifecycle.Pending, ready: "False RefreshOutcomeUnknown", authorized: "Unknown RefreshOutcomeUnknown", reconciling: true, says: []string{"once more"}, reason: "sent once more"},
		{name: "import refused", facts: about(empty(failingInput(onInput("r", refused()))), imported("r")), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"new refresh token", "spec.grant.refreshToken.secretRef"}, reason: "terminal"},
		{name: "import rejected", facts: about(empty(failingInput(onInput("r", rejected()))), imported("r")), phase: lifecycle.Inactive, ready: "False RefreshRejected", authorized: "False RefreshRejected", stalled: true, says: []string{"refused 5 times", "oauth-operator.io/refresh-requested-at"}, reason: "terminal until something changes"},
		{name: "credentials refused", facts: about(empty(failingInput(refused())), clientCredentials), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"client Secret"}, reason: "no code helps here"},
	})
}

func crashedExchange() *lifecycle.Record {
	return lifecycle.Interrupted(empty(markedBy(foreign, lifecycle.Exchange, "code-1")), basis, issued())
}

func crashedImport() *lifecycle.Record {
	return lifecycle.Interrupted(empty(markedBy(foreign, lifecycle.Import, "refresh-0")), basis, issued())
}

func TestDescribeHeld(t *testing.T) {
	const granted = "True GrantHeld"
	hour := due(held())
	resend := time.Hour - 30*time.Second
	past := time.Hour + time.Minute
	runDescriptions(t, []description{
		{name: "fine", facts: about(held()), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: hour, says: []string{"valid until 2026-03-01T13:00:00Z"}, reason: "all is well"},
		{name: "never expires", facts: about(held(withTokens(everlasting()))), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, says: []string{"never expires"}, reason: "nothing to do, ever"},
		{name: "unknown expiry", facts: about(held(withTokens(unknownExpiry()))), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: due(held(withTokens(unknownExpiry()))), says: []string{"did not say"}, reason: "works by all we know"},
		{name: "without refresh token", facts: about(held(noRefreshToken)), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, reason: "it works until it expires"},
		{name: "credentials", facts: about(credentials(), clientCredentials), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: due(credentials()), reason: "all is well"},
		{name: "not yet published", facts: about(held()), publication: lifecycle.Publication{Name: "crm-token"}, phase: lifecycle.Active, ready: "False Progressing", authorized: granted, reconciling: true, next: hour, says: []string{"crm-token"}, reason: "pods do not have it yet"},
		{name: "Secret conflict from the start", facts: about(held()), publication: conflicting(false), phase: lifecycle.Pending, ready: "False SecretConflict", authorized: granted, stalled: true, next: hour, reason: "a foreign Secret has the name"},
		{name: "Secret taken over later", facts: about(held()), publication: conflicting(true), phase: lifecycle.Active, ready: "False SecretConflict", authorized: granted, stalled: true, next: hour, reason: "the old phase"},
		{name: "suspended", facts: about(held(), suspended), publication: published(), phase: lifecycle.Active, ready: "True Suspended", authorized: granted, says: []string{"valid until", "spec.suspend"}, reason: "what exists stays"},
		{name: "suspended, expired", facts: about(held(), suspended), now: past, publication: published(), phase: lifecycle.Active, ready: "False Suspended", authorized: granted, says: []string{"has expired"}, reason: "it does not work any more"},
		{name: "not allowed any more", facts: about(held(), blockedBy("NotAllowed", "namespace")), publication: published(), phase: lifecycle.Pending, ready: "False NotAllowed", authorized: granted, reconciling: true, reason: "forbidden later"},
		{name: "application gone", facts: about(held(), blockedBy("ApplicationNotFound", "no application")), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, says: []string{"valid until", "no application"}, reason: "the token works"},
		{name: "application gone, expired", facts: about(held(), blockedBy("ApplicationNotFound", "no application")), now: past, publication: published(), phase: lifecycle.Active, ready: "False ApplicationNotFound", authorized: granted, reconciling: true, says: []string{"has expired", "no application"}, reason: "now it does not"},
		{name: "paused", facts: about(held(), pausedUntil(after(49*time.Minute))), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: hour, says: []string{"valid until", "invalid_client"}, reason: "the token works"},
		{name: "paused, expired", facts: about(held(), pausedUntil(after(2*time.Hour))), now: past, publication: published(), phase: lifecycle.Active, ready: "False InvalidClient", authorized: granted, reconciling: true, says: []string{"has expired", "invalid_client"}, reason: "the application's trouble"},
		{name: "provider away", facts: about(held(failing(unavailable(50 * time.Minute)))), now: 49 * time.Minute, publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: 50 * time.Minute, says: []string{"valid until", "503"}, reason: "stays Active and Ready until it really expires"},
		{name: "provider away, expired", facts: about(held(failing(unavailable(2 * time.Hour)))), now: time.Hour, publication: published(), phase: lifecycle.Active, ready: "False ProviderUnavailable", authorized: granted, reconciling: true, next: 2 * time.Hour, says: []string{"has expired", "503"}, reason: "Active, but not Ready"},
		{name: "expired, being refreshed", facts: about(held()), now: past, publication: published(), phase: lifecycle.Active, ready: "False Progressing", authorized: granted, reconciling: true, next: hour, says: []string{"has expired"}, reason: "the operator was away"},
		{name: "expired, nothing left", facts: about(held(noRefreshToken)), now: time.Hour, publication: published(), phase: lifecycle.Inactive, ready: "False TokenExpired", authorized: "False TokenExpired", stalled: true, says: []string{"new code"}, reason: "a person can authorize again"},
		{name: "refresh token only", facts: about(held(withTokens(lifecycle.Tokens{RefreshToken: sensitive.New("r")}), func(r *lifecycle.Record) { r.AuthorizedAt = after(time.Second) })), phase: lifecycle.Active, ready: "False Progressing", authorized: granted, reconciling: true, next: time.Second, says: []string{"no access token yet"}, reason: "nothing has expired: there is none"},
		{name: "crash", facts: about(held(failing(unheard()))), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: "Unknown RefreshOutcomeUnknown", next: resend, says: []string{"valid until", "at 2026-03-01T12:59:30Z"}, reason: "the old access token keeps serving"},
		{name: "crash, expired", facts: about(held(failing(unheard()))), now: past, publication: published(), phase: lifecycle.Active, ready: "False RefreshOutcomeUnknown", authorized: "Unknown RefreshOutcomeUnknown", reconciling: true, next: resend, reason: "never success"},
		{name: "crash, never expires", facts: about(held(withTokens(everlasting()), failing(unheard()))), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: "Unknown RefreshOutcomeUnknown", says: []string{"on request"}, reason: "not sent again by itself, and no next refresh is claimed"},
		{name: "crash, not rotating", facts: about(held(failing(unheard()), func(r *lifecycle.Record) { r.Unrotated, r.Failure.LastAt = 2, after(time.Second) })), now: time.Minute, publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: "Unknown RefreshOutcomeUnknown", next: time.Second, says: []string{"sent again"}, reason: "at once"},
		{name: "refused", facts: about(held(failing(refused()))), publication: published(), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"new code"}, reason: "terminal"},
		{name: "refused after a crash", facts: about(held(failing(unheardAndRefused()))), publication: published(), phase: lifecycle.Inactive, ready: "False RefreshOutcomeUnknown", authorized: "False RefreshOutcomeUnknown", stalled: true, says: []string{"cut off", "new code"}, reason: "the same reason"},
		{name: "rejected", facts: about(held(failing(rejected()))), publication: published(), phase: lifecycle.Inactive, ready: "False RefreshRejected", authorized: "False RefreshRejected", stalled: true, says: []string{"404", "refused 5 times", "refresh-requested-at"}, reason: "terminal until something changes"},
		{name: "new code refused", facts: about(lifecycle.Failed(held(), calling(lifecycle.Exchange, issued()), invalidGrant(), never(), issued())), publication: published(), phase: lifecycle.Active, ready: "True TokenReady", authorized: granted, next: hour, reason: "a failed new code keeps the old grant"},
	})
}

func TestDescribeDeletion(t *testing.T) {
	gone := func(unrevoked string) *lifecycle.Record { return lifecycle.RevocationDone(held(), unrevoked) }
	failing := lifecycle.RevocationFailed(held(), "HTTP 503", 0, issued())
	const granted = "True GrantHeld"
	runDescriptions(t, []description{
		{name: "revoking", facts: about(held(), leaving()), publication: published(), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"being revoked"}, reason: "under way"},
		{name: "trying again", facts: about(failing, leaving()), publication: published(), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"tried again", "503"}, reason: "the last error is said"},
		{name: "client unknown", facts: about(failing, leaving(revocable(lifecycle.RevocableLater))), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"client is not known"}, reason: "what it waits for is said"},
		{name: "no endpoint", facts: about(held(), leaving(revocable(lifecycle.RevocableNever))), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"no revocation endpoint"}, reason: "nothing is claimed to be revoked"},
		{name: "orphan", facts: about(held(), leaving(orphan)), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"Orphan"}, reason: "nothing is claimed to be revoked"},
		{name: "nothing", facts: about(nil, leaving()), phase: lifecycle.Inactive, ready: "False Deleting", authorized: "False AuthorizationRequired", reconciling: true, says: []string{"no token"}, reason: "nothing there"},
		{name: "revoked", facts: about(gone(""), leaving()), phase: lifecycle.Deleted, ready: "False Revoked", authorized: "False Revoked", reconciling: true, reason: "the provider has said so"},
		{name: "not revoked", facts: about(gone("access token: HTTP 400"), leaving()), phase: lifecycle.Active, ready: "False Deleting", authorized: granted, reconciling: true, says: []string{"refused to revoke: access token"}, reason: "a refused revocation is never called revoked"},
	})
}

// TestDescribeFailure : status.failure is the grant's, else that of the input that the spec names now.
func TestDescribeFailure(t *testing.T) {
	waiting := onInput("code-2", unavailable(time.Hour))
	for _, tc := range []struct {
		facts  lifecycle.Facts
		want   string
		reason string
	}{
		{about(held()), "", "all is well"},
		{about(held(failing(refused()), failingInput(waiting)), code("code-2")), "InvalidGrant", "the grant's comes first"},
		{about(held(failingInput(waiting)), code("code-2")), "ProviderUnavailable", "a new code that cannot be exchanged is said beside a grant that works"},
		{about(held(failingInput(waiting)), code("code-3")), "", "the failure of an input that is named no more is history"},
		{about(empty(failingInput(waiting)), code("code-3")), "ProviderUnavailable", "without a grant it is why there is none"},
		{about(nil), "", "nothing was attempted"},
	} {
		got := ""
		if f := lifecycle.Describe(tc.facts, published(), issued()).Failure; f != nil {
			got = f.Reason
		}
		if got != tc.want {
			t.Errorf("failure %q, want %q: %s", got, tc.want, tc.reason)
		}
	}
}

// TestDescribeIsStill : status must not change with time alone while nothing happens, or it would be written without end.
func TestDescribeIsStill(t *testing.T) {
	proven := func(r *lifecycle.Record) { r.Unrotated = 2 }
	for name, f := range map[string]lifecycle.Facts{
		"fine": about(held()), "away": about(held(failing(unavailable(time.Minute)))), "crash": about(held(failing(unheard()))),
		"crash, not rotating": about(held(failing(unheard()), proven)), "refused": about(held(failing(refused()))),
		"paused": about(held(), pausedUntil(after(time.Minute))), "running": about(held(failing(unheard()), proven), running),
		"changed": about(held(failing(unavailable(time.Minute))), reconfigured),
	} {
		first := lifecycle.Describe(f, published(), after(10*time.Minute))
		second := lifecycle.Describe(f, published(), after(11*time.Minute))
		if first != second {
			t.Errorf("%s: %+v became %+v", name, first, second)
		}
	}
}

// TestInVain : what to do depends on how tokens are obtained.
func TestInVain(t *testing.T) {
	missing := func(f *lifecycle.Facts) {
		f.GrantType = lifecycle.Extension
		f.Input = lifecycle.Input{State: lifecycle.InputMissing, Missing: `waiting for Secret "words"`}
	}
	for want, facts := range map[string]lifecycle.Facts{
		"a new code": about(held(noRefreshToken)), `"words"`: about(held(noRefreshToken), missing),
		"a device code is asked for": about(held(noRefreshToken), byDevice), "a new refresh token": about(held(noRefreshToken), imported("r")),
	} {
		if got := facts.InVain(); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}

// TestSetupNeedsAPerson : a request that cannot be made is tried again, but only a person can go on.
func TestSetupNeedsAPerson(t *testing.T) {
	refusal := lifecycle.Refusal{Concern: lifecycle.ConcernsSetup, Reason: "InvalidConfiguration", Message: "a value is missing"}
	r := lifecycle.Failed(empty(), calling(lifecycle.Issue, issued()), refusal, never(), issued())
	s := lifecycle.Describe(about(r, clientCredentials), lifecycle.Publication{}, issued())
	if s.Stalled.Status != lifecycle.True || s.Reconciling.Status != lifecycle.False || s.Phase != lifecycle.Pending {
		t.Errorf("%+v", s)
	}
}
