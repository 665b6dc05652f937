// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	uid     = "5c3d6a52-6d0c-4a6e-9a5e-1f9a3a3a0001"
	process = "this-process"
	foreign = "another-process"
	basis   = "basis-1"
	changed = "basis-2"
	asked   = "2026-03-01T12:00:00Z"
)

// issued is when the token of the tests was asked for; it lives for an hour where nothing else is said.
func issued() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

func after(d time.Duration) time.Time { return issued().Add(d) }

// expiring is a set of tokens with a refresh token and a lifetime.
func expiring(lifetime time.Duration) lifecycle.Tokens {
	return lifecycle.Tokens{
		AccessToken: sensitive.New("access-1"), RefreshToken: sensitive.New("refresh-1"), TokenType: "Bearer",
		Scopes: []string{"read"}, RequestedScopes: []string{"read"}, IssuedAt: issued(),
		Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: after(lifetime)}, GrantType: lifecycle.AuthorizationCode,
		ID: "connection-1", Subject: "alice",
	}
}

func unknownExpiry() lifecycle.Tokens {
	t := expiring(0)
	t.Expiry = lifecycle.Expiry{}
	return t
}

func everlasting() lifecycle.Tokens {
	t := expiring(0)
	t.Expiry = lifecycle.Expiry{Kind: lifecycle.ExpiryNever}
	return t
}

// empty is the record before anything was obtained.
func empty(edits ...func(*lifecycle.Record)) *lifecycle.Record {
	r := &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: "billing", Name: "crm", UID: uid},
		Application: lifecycle.Identity{Namespace: "platform", Name: "crm", UID: "application"},
	}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

// held is the record of a grant that was obtained by a code.
func held(edits ...func(*lifecycle.Record)) *lifecycle.Record {
	all := []func(*lifecycle.Record){func(r *lifecycle.Record) {
		r.Tokens = expiring(time.Hour)
		r.FirstAuthorizedAt, r.AuthorizedAt = issued(), issued()
		r.SpentInput, r.InputVersion = "code-1", "v1"
		r.Authorization = &lifecycle.Authorization{ID: "login-1", Result: lifecycle.AuthorizationSucceeded, At: issued()}
	}}
	return empty(append(all, edits...)...)
}

func lifetime(d time.Duration) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.Expiry = expiring(d).Expiry }
}

func withTokens(t lifecycle.Tokens) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.Tokens = t }
}

func noRefreshToken(r *lifecycle.Record) { r.RefreshToken = sensitive.String{} }

func failing(f lifecycle.Failure) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.Failure = &f }
}

func failingInput(f lifecycle.Failure) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.InputFailure = &f }
}

func markedBy(process string, action lifecycle.Action, input string) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) {
		r.Attempt = &lifecycle.Attempt{ID: "attempt-1", Process: process, Action: action, InputHash: input, StartedAt: issued()}
	}
}

// credentials is the record of a token that was issued to the client itself.
func credentials(edits ...func(*lifecycle.Record)) *lifecycle.Record {
	return held(append([]func(*lifecycle.Record){noRefreshToken, func(r *lifecycle.Record) {
		r.GrantType, r.SpentInput, r.InputVersion, r.Authorization = lifecycle.ClientCredentials, "", "", nil
	}}, edits...)...)
}

// about are the facts about a connection whose code was used already.
func about(r *lifecycle.Record, edits ...func(*lifecycle.Facts)) lifecycle.Facts {
	f := lifecycle.Facts{
		UID: uid, Process: process, GrantType: lifecycle.AuthorizationCode, Scopes: []string{"read"}, Basis: basis, Record: r,
		Input: lifecycle.Input{State: lifecycle.InputPresent, Hash: "code-1", Version: "v1"},
	}
	for _, edit := range edits {
		edit(&f)
	}
	return f
}

func code(hash string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.Input = lifecycle.Input{State: lifecycle.InputPresent, Hash: hash, Version: "v-" + hash}
	}
}

// person says that a person has to authorize, and whether there is a link.
func person(link bool) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.Input, f.Person = lifecycle.Input{}, &lifecycle.Person{Link: link}
	}
}

func obstructed(reason, message string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.Person.Obstacle = &lifecycle.Verdict{Reason: reason, Message: message, Stalled: true}
	}
}

// login is the code of login-2, code-2, that came at a time.
func login(at time.Time) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		person(true)(f)
		f.Input = lifecycle.Input{State: lifecycle.InputPresent, Hash: "code-2", Version: "message/login-2", Login: "login-2", ReceivedAt: at}
	}
}

// declined is a login that a person broke off.
func declined(id string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		person(true)(f)
		f.Answer = &lifecycle.Answer{Login: id, Reason: "AccessDenied", Message: "the person said no"}
	}
}

func hint(id string, at time.Time) *lifecycle.Hint {
	return &lifecycle.Hint{ID: id, Type: "revoked", At: at}
}

// hintedAt is a record with the report event-1.
func hintedAt(at time.Time) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.Hint = hint("event-1", at) }
}

func imported(hash string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.GrantType = lifecycle.RefreshToken
		code(hash)(f)
	}
}

func clientCredentials(f *lifecycle.Facts) {
	f.GrantType, f.Input = lifecycle.ClientCredentials, lifecycle.Input{}
}

func requesting(value string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) { f.RefreshRequest = value }
}

func reconfigured(f *lifecycle.Facts) { f.Basis = changed }

func suspended(f *lifecycle.Facts) { f.Suspended = true }

func running(f *lifecycle.Facts) { f.Running = true }

func blockedBy(reason, message string) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) { f.Blocked = &lifecycle.Verdict{Reason: reason, Message: message} }
}

func pausedUntil(at time.Time) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.Pauses = map[lifecycle.Action]lifecycle.Pause{}
		for _, action := range []lifecycle.Action{
			lifecycle.Exchange, lifecycle.Import, lifecycle.StartDevice, lifecycle.Poll, lifecycle.Issue, lifecycle.Refresh,
		} {
			f.Pauses[action] = lifecycle.Pause{Reason: "InvalidClient", Message: "invalid_client: HTTP 401 Unauthorized", NextProbeAt: at}
		}
	}
}

func leaving(edits ...func(*lifecycle.Deletion)) func(*lifecycle.Facts) {
	return func(f *lifecycle.Facts) {
		f.Deletion = &lifecycle.Deletion{RequestedAt: issued(), Timeout: 5 * time.Minute}
		for _, edit := range edits {
			edit(f.Deletion)
		}
	}
}

func orphan(d *lifecycle.Deletion) { d.Orphan = true }

func revocable(r lifecycle.Revocability) func(*lifecycle.Deletion) {
	return func(d *lifecycle.Deletion) { d.Revocable = r }
}

// calling is a call that was made at a time.
func calling(action lifecycle.Action, sentAt time.Time) lifecycle.Call {
	call := lifecycle.Call{Action: action, ID: "attempt-1", Basis: basis, UID: uid, SentAt: sentAt}
	if action == lifecycle.Exchange || action == lifecycle.Import {
		call.InputHash, call.InputVersion = "new", "v-new"
	}
	return call
}

// Refusals as the protocol's classes give them.
func invalidGrant() lifecycle.Refusal {
	return lifecycle.Refusal{Concern: lifecycle.ConcernsGrant, Message: "invalid_grant: HTTP 400 Bad Request"}
}

func invalidClient() lifecycle.Refusal {
	return lifecycle.Refusal{Concern: lifecycle.ConcernsClient, Message: "invalid_client: HTTP 401 Unauthorized"}
}

func unclear() lifecycle.Refusal {
	return lifecycle.Refusal{Concern: lifecycle.ConcernsUnclear, Message: "HTTP 404 Not Found"}
}

func away() lifecycle.Refusal { return lifecycle.Refusal{Message: "HTTP 503 Service Unavailable"} }

func cutOff() lifecycle.Refusal {
	return lifecycle.Refusal{Message: "the provider did not answer in time", OutcomeUnknown: true}
}

// never is the rescued refresh token of a call that brought none.
func never() sensitive.String { return sensitive.String{} }

func mustDecide(t *testing.T, f lifecycle.Facts, now time.Time, want lifecycle.Decision, reason string) {
	t.Helper()
	if got := lifecycle.Decide(f, now); got.Action != want.Action || !got.At.Equal(want.At) || got.Probe != want.Probe || got.GivenUp != want.GivenUp {
		t.Errorf("Decide = %+v, want %+v: %s", got, want, reason)
	}
}

func mustHold(t *testing.T, what string, token sensitive.String, want string) {
	t.Helper()
	if token.Reveal() != want {
		t.Errorf("%s is %q, want %q", what, token.Reveal(), want)
	}
}

// settled judges the candidate, if there is one.
func settled(r *lifecycle.Record) *lifecycle.Record {
	if r.Candidate == nil {
		return r
	}
	return lifecycle.Settled(r, r.Candidate.ObtainedAt)
}
