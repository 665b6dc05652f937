// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestNudge(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	token := sensitive.New("access-1")
	held := func() *Record {
		return &Record{
			Tokens: Tokens{
				AccessToken: token, RefreshToken: sensitive.New("refresh-1"), GrantType: AuthorizationCode,
				IssuedAt: now.Add(-10 * time.Minute), Expiry: Expiry{Kind: ExpiryAt, At: now.Add(50 * time.Minute)},
			},
			AuthorizedAt: now.Add(-10 * time.Minute),
		}
	}
	for name, row := range map[string]struct {
		verify   bool
		change   func(*Facts)
		want     Action
		answered bool
	}{
		"a token that does not work is renewed": {want: Refresh},
		"another token is there":                {change: func(f *Facts) { f.Record.AccessToken = sensitive.New("access-2") }, want: Wait, answered: true},
		"no grant is held":                      {change: func(f *Facts) { f.Record = nil; f.Input.State = InputMissing }, want: Wait, answered: true},
		"the provider has ended the grant": {
			change: func(f *Facts) { f.Record.Standing = &Standing{State: StandingDeleted, At: now} }, want: Wait, answered: true,
		},
		"suspended":            {change: func(f *Facts) { f.Suspended = true }, want: Wait, answered: true},
		"not allowed":          {change: func(f *Facts) { f.Blocked = &Verdict{Reason: v1alpha1.ReasonNotAllowed} }, want: Wait, answered: true},
		"the client is paused": {change: func(f *Facts) { f.Pauses = map[Action]Pause{Refresh: {NextProbeAt: now.Add(time.Minute)}} }, want: Wait, answered: true},
		"a failure whose time has come, from before": {
			change: func(f *Facts) {
				f.Record.Failure = &Failure{LastAt: now.Add(-time.Minute), NextAttemptAt: now.Add(-time.Second), Basis: f.Basis}
			}, want: Refresh,
		},
		"a backoff is not cut short": {
			change: func(f *Facts) {
				f.Record.Failure = &Failure{LastAt: now.Add(-time.Minute), NextAttemptAt: now.Add(time.Minute), Basis: f.Basis}
			}, want: Wait, answered: true,
		},
		"it was tried since": {
			change: func(f *Facts) { f.Record.Failure = &Failure{LastAt: now, NextAttemptAt: now, Basis: f.Basis} }, want: Refresh, answered: true,
		},
		"refused for good": {
			change: func(f *Facts) {
				f.Record.Failure = &Failure{LastAt: now.Add(-time.Hour), Terminal: true, Reason: v1alpha1.ReasonInvalidGrant, Basis: f.Basis}
			}, want: Wait, answered: true,
		},
		"no refresh token, and nobody to ask": {change: func(f *Facts) { f.Record.RefreshToken = sensitive.String{} }, want: Wait, answered: true},
		"no refresh token, and somebody to ask": {
			change: func(f *Facts) { f.Record.RefreshToken, f.Check.OnRequest = sensitive.String{}, true }, want: CheckGrant,
		},
		"asked since": {
			change: func(f *Facts) {
				f.Record.RefreshToken, f.Check = sensitive.String{}, Check{OnRequest: true, LastAt: now}
			},
			want: Wait, answered: true,
		},
		"asked before": {
			change: func(f *Facts) {
				f.Record.RefreshToken, f.Check = sensitive.String{}, Check{OnRequest: true, LastAt: now.Add(-time.Minute)}
			}, want: CheckGrant,
		},
		"an expired token proves nothing": {
			change: func(f *Facts) {
				f.Record.RefreshToken, f.Check.OnRequest, f.Record.Expiry.At = sensitive.String{}, true, now.Add(-time.Second)
			}, want: Wait, answered: true,
		},
		"a client's own token is issued again": {
			change: func(f *Facts) {
				f.GrantType, f.Record.GrantType, f.Record.RefreshToken = ClientCredentials, ClientCredentials, sensitive.String{}
			}, want: Issue,
		},
		"a renewed token that does not work either":   {verify: true, change: func(f *Facts) { f.Check.OnRequest = true }, want: CheckGrant},
		"a renewed token, and nobody to ask about it": {verify: true, want: Wait, answered: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Record: held()}
			f.Nudge = &Nudge{TokenHash: token.Hash(), Verify: row.verify, SeenAt: now.Add(-time.Second)}
			if row.change != nil {
				row.change(&f)
			}
			if got := f.NudgeAnswered(*f.Nudge, now); got != row.answered {
				t.Errorf("answered: %t, want %t", got, row.answered)
			}
			if row.answered {
				f.Nudge = nil // As the pass after this one sees it; the rest of the decision must not hold it against anybody.
				return
			}
			if got := Decide(f, now); got.Action != row.want {
				t.Errorf("decided %s, want %s", got.Action, row.want)
			}
		})
	}
}

// Whoever nudges a connection without end makes the provider be asked no more often than its backoff allows.
func TestNudgesDoNotHammer(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Record: &Record{
		Tokens: Tokens{
			AccessToken: sensitive.New("access-1"), RefreshToken: sensitive.New("refresh-1"), GrantType: AuthorizationCode,
			IssuedAt: now.Add(-time.Hour), Expiry: Expiry{Kind: ExpiryAt, At: now.Add(-time.Minute)},
		},
	}}
	calls := 0
	for second := range 3600 {
		at := now.Add(time.Duration(second) * time.Second)
		f.Nudge = &Nudge{TokenHash: f.Record.AccessToken.Hash(), SeenAt: at}
		if Decide(f, at).Action != Refresh {
			continue
		}
		calls++
		call := Call{Action: Refresh, Basis: f.Basis, UID: f.UID, SentAt: at}
		f.Record = Failed(f.Record, call, Refusal{Concern: ConcernsNobody, Message: "away"}, sensitive.String{}, at)
	}
	if calls < 5 || calls > 30 {
		t.Errorf("the provider was asked %d times in an hour", calls)
	}
}

// Whoever calls every new token bad gets another one now and then, not as fast as they can ask.
func TestNudgesDoNotRotate(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Record: &Record{
		Tokens: Tokens{
			AccessToken: sensitive.New("access-0"), RefreshToken: sensitive.New("refresh-0"), GrantType: AuthorizationCode,
			IssuedAt: now, Expiry: Expiry{Kind: ExpiryAt, At: now.Add(time.Hour)},
		},
		AuthorizedAt: now,
	}}
	calls, first := 0, -1
	for second := range 600 {
		at := now.Add(time.Duration(second) * time.Second)
		f.Nudge = &Nudge{TokenHash: f.Record.AccessToken.Hash(), SeenAt: at}
		if f.NudgeAnswered(*f.Nudge, at) {
			t.Fatalf("after %d s: nobody gets another token", second)
		}
		if Decide(f, at).Action != Refresh {
			continue
		}
		if calls++; first < 0 {
			first = second
		}
		call := Call{Action: Refresh, Basis: f.Basis, UID: f.UID, SentAt: at}
		f.Record = Succeeded(f.Record, call, Tokens{
			AccessToken: sensitive.New("access-" + at.String()), RefreshToken: sensitive.New("refresh-" + at.String()),
			GrantType: AuthorizationCode, IssuedAt: at, Expiry: Expiry{Kind: ExpiryAt, At: at.Add(time.Hour)},
		}, at)
	}
	if calls > 60 || first != 0 {
		t.Errorf("%d refreshes in ten minutes, the first after %d s", calls, first)
	}
}

// A provider that has nothing but a list of connections is asked for that, and the nudge waits for it.
func TestNudgeByList(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{
		UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Lists: true, ListedAt: now.Add(-time.Minute),
		Record: &Record{Tokens: Tokens{AccessToken: sensitive.New("access-1"), GrantType: AuthorizationCode, Expiry: Expiry{Kind: ExpiryNever}}},
	}
	nudge := Nudge{TokenHash: f.Record.AccessToken.Hash(), SeenAt: now}
	f.Nudge = &nudge
	if f.NudgeAnswered(nudge, now) || Decide(f, now).Action != Wait || f.NudgeInVain(nudge, now) {
		t.Errorf("answered %t, decided %s, in vain %t", f.NudgeAnswered(nudge, now), Decide(f, now).Action, f.NudgeInVain(nudge, now))
	}
	if f.ListedAt = now.Add(time.Second); !f.NudgeAnswered(nudge, now) {
		t.Error("a new list is no answer")
	}
	if f.Lists = false; !f.NudgeAnswered(nudge, now) || !f.NudgeInVain(nudge, now) {
		t.Error("nobody can be asked, and nobody is told")
	}
}

// A refresh token that a caller has brought is sent once more when no answer came, and then never again.
func TestBroughtRefreshTokenOfUnknownFate(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{
		UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Person: &Person{Link: true}, Record: &Record{},
		Input: Input{State: InputPresent, Hash: "hash", Version: "message/m", Login: "login", ReceivedAt: now, Import: true},
	}
	sent := 0
	for second := range 600 {
		at := now.Add(time.Duration(second) * time.Second)
		if Decide(f, at).Action != Import {
			continue
		}
		sent++
		call := Call{Action: Import, Basis: f.Basis, UID: f.UID, SentAt: at, InputHash: "hash", Login: "login", ID: "c"}
		f.Record = Failed(f.Record, call, Refusal{Concern: ConcernsNobody, OutcomeUnknown: true, Message: "timed out"}, sensitive.String{}, at)
	}
	a := f.Record.Authorization
	if sent != 2 || a == nil || a.ID != "login" || a.Result != AuthorizationUnknown || a.Reason != v1alpha1.ReasonRefreshOutcomeUnknown || !f.Record.HasSpent("hash") {
		t.Errorf("sent %d times; %+v; spent: %t", sent, a, f.Record.HasSpent("hash"))
	}
}

// What a provider says against the client says nothing about the refresh token that a caller has brought.
func TestBroughtRefreshTokenOfRefusedClient(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	call := Call{Action: Import, Basis: "basis", UID: "uid", SentAt: now, InputHash: "hash", Login: "login", ID: "c"}
	r := Failed(&Record{}, call, Refusal{Concern: ConcernsClient, Message: "invalid_client"}, sensitive.String{}, now)
	if a := r.Authorization; a == nil || a.Result != AuthorizationFailed || a.Reason != v1alpha1.ReasonInvalidClient || r.HasSpent("hash") {
		t.Fatalf("%+v; spent: %t", a, r.HasSpent("hash"))
	}
	f := Facts{
		UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Person: &Person{Link: true}, Record: r,
		Input: Input{State: InputPresent, Hash: "hash", Version: "message/m", Login: "login", ReceivedAt: now, Import: true},
	}
	if d := Decide(f, now); d.Action != Wait {
		t.Errorf("the login has ended, and it is decided to %s", d.Action)
	}
	f.Input.Login, f.Basis = "login-again", "mended"
	if d := Decide(f, now); d.Action != Import {
		t.Errorf("brought again, and it is decided to %s", d.Action)
	}
}

func TestInvitation(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{
		UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Invited: true, Person: &Person{Link: true},
		Record: &Record{Tokens: Tokens{AccessToken: sensitive.New("access-1"), GrantType: AuthorizationCode, Expiry: Expiry{Kind: ExpiryNever}}},
	}
	if f.AwaitsPerson(now) || Decide(f, now).Action != Invite {
		t.Fatalf("a grant that works leads nobody to the provider by itself: %t; decided %s", f.AwaitsPerson(now), Decide(f, now).Action)
	}
	f.Record = Invited(f.Record, now)
	d := Decide(f, now)
	if !f.AwaitsPerson(now) || !f.InvitationAnswered(now) || d.Action != Wait || !d.At.Equal(now.Add(invitedFor)) {
		t.Fatalf("after the invitation: awaits %t, answered %t, decided %+v", f.AwaitsPerson(now), f.InvitationAnswered(now), d)
	}
	if f.AwaitsPerson(now.Add(invitedFor)) {
		t.Error("the link does not go")
	}
	after := Succeeded(f.Record, Call{Action: Exchange, ID: "call", InputHash: "h", SentAt: now}, Tokens{
		AccessToken: sensitive.New("access-2"), GrantType: AuthorizationCode, Expiry: Expiry{Kind: ExpiryNever},
	}, now)
	f.Record = Settled(after, now)
	if f.AwaitsPerson(now) {
		t.Error("the link stays although the person has authorized")
	}
	for name, change := range map[string]func(*Facts){
		"nobody can authorize": func(f *Facts) { f.Person = nil },
		"there is no gateway":  func(f *Facts) { f.Person = &Person{} },
		"suspended":            func(f *Facts) { f.Suspended = true },
		"never attempted":      func(f *Facts) { f.Record = nil },
	} {
		other := f
		change(&other)
		if !other.InvitationAnswered(now) {
			t.Errorf("%s: the invitation waits", name)
		}
	}
}

// A refresh token that a caller brings is imported, although the spec leaves the connection to a person.
func TestBroughtRefreshToken(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	f := Facts{
		UID: "uid", Process: "p", GrantType: AuthorizationCode, Basis: "basis", Person: &Person{Link: true},
		Input: Input{State: InputPresent, Hash: "hash", Version: "message/m", Login: "login", ReceivedAt: now, Import: true},
	}
	if d := Decide(f, now); d.Action != Import {
		t.Fatalf("decided %s", d.Action)
	}
	f.Pauses = map[Action]Pause{Import: {NextProbeAt: now.Add(time.Minute)}}
	if d := Decide(f, now); d.Action != Import {
		t.Errorf("whoever waits is held back by a pause: %s", d.Action)
	}
	f.Blocked = &Verdict{Reason: v1alpha1.ReasonApplicationNotReady, Message: "not ready"}
	late := now.Add(blockedPatience)
	answer := f.Conclusion(late)
	if answer == nil || answer.Login != "login" || answer.Reason != v1alpha1.ReasonApplicationNotReady {
		t.Fatalf("concluded %+v", answer)
	}
	record := Concluded(&Record{}, *answer, f.Input, late)
	if record.HasSpent("hash") {
		t.Error("a refresh token that was not used counts as spent: it could not be brought again")
	}
}
