// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// dice makes facts that a controller could meet, and some that it should not.
type dice struct{ *rand.Rand }

func roll(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 1))} }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

func pick[T any](d dice, values ...T) T { return values[d.IntN(len(values))] }

// moment is within three hours around the present, often exactly at it.
func (d dice) moment() time.Time {
	return after(pick(d, 0, time.Duration(d.Int64N(int64(3*time.Hour)))-90*time.Minute))
}

func (d dice) token(name string) sensitive.String {
	if d.chance(25) {
		return sensitive.String{}
	}
	return sensitive.New("SECRET-" + name)
}

func (d dice) failure() *lifecycle.Failure {
	if d.chance(40) {
		return nil
	}
	f := &lifecycle.Failure{
		Reason: pick(d, "InvalidGrant", "RefreshRejected", "RefreshOutcomeUnknown", "ExchangeOutcomeUnknown", "ExchangeRejected", "ProviderUnavailable", "InvalidClient"),
		Count:  1 + d.IntN(9), Message: "said", FirstAt: d.moment(), LastAt: d.moment(), Terminal: d.chance(50), OutcomeUnknown: d.chance(50),
		Basis: pick(d, basis, changed), InputHash: pick(d, "", "code-1", "code-2"),
	}
	if !f.Terminal && d.chance(70) {
		f.NextAttemptAt = d.moment()
	}
	return f
}

func (d dice) record() *lifecycle.Record {
	if d.chance(10) {
		return nil
	}
	r := empty(func(r *lifecycle.Record) {
		r.AccessToken, r.RefreshToken = d.token("access"), d.token("refresh")
		r.IssuedAt = d.moment()
		r.Expiry.Kind = pick(d, lifecycle.ExpiryAt, lifecycle.ExpiryAt, lifecycle.ExpiryNever, lifecycle.ExpiryUnknown)
		if r.Expiry.Kind == lifecycle.ExpiryAt {
			r.Expiry.At = d.moment()
		}
		r.GrantType = d.grantType()
		r.RequestedScopes = []string{pick(d, "read", "write")}
		r.AuthorizedAt, r.RefreshedAt = d.moment(), d.moment()
		r.Unrotated = d.IntN(4)
		r.SpentInput, r.InputVersion = pick(d, "", "code-1"), pick(d, "", "v1")
		r.Failure, r.InputFailure = d.failure(), d.failure()
		r.RefreshRequest = pick(d, "", asked)
	})
	if d.chance(20) {
		markedBy(pick(d, process, foreign), pick(d, lifecycle.Exchange, lifecycle.Import, lifecycle.Refresh), "code-1")(r)
	}
	if d.chance(20) {
		r.Replaced = []sensitive.String{sensitive.New("SECRET-replaced")}
	}
	if d.chance(10) {
		r.Revocation = &lifecycle.Revocation{Done: d.chance(50), Unrevoked: pick(d, "", "access token"), Count: 1, NextAttemptAt: d.moment(), Message: "said"}
	}
	d.elaborate(r)
	return r
}

func (d dice) grantType() lifecycle.GrantType {
	return pick(d, lifecycle.AuthorizationCode, lifecycle.AuthorizationCode, lifecycle.RefreshToken, lifecycle.ClientCredentials,
		lifecycle.DeviceCode, lifecycle.JWTBearer, lifecycle.TokenExchange, lifecycle.Extension)
}

// elaborate adds what only some grants have.
func (d dice) elaborate(r *lifecycle.Record) {
	if d.chance(20) {
		r.Candidate = &lifecycle.Candidate{
			Tokens: lifecycle.Tokens{
				AccessToken: sensitive.New("SECRET-candidate"), Subject: pick(d, "", "alice", "bob"), GrantType: pick(d, lifecycle.AuthorizationCode, lifecycle.RefreshToken, lifecycle.DeviceCode),
				IDToken: sensitive.New("SECRET-id-token"),
			},
			Call: "candidate", Refused: d.chance(30), NextAttemptAt: d.moment(), ObtainedAt: d.moment(),
			Lookup: lifecycle.Lookup{Done: d.chance(30), Count: d.IntN(3), NextAttemptAt: d.moment()},
		}
	}
	if d.chance(80) {
		at := d.moment()
		r.Device = &lifecycle.Device{
			Code: sensitive.New("SECRET-device"), UserCode: "ABCD-EFGH", VerificationURI: "https://login.example.com/device", StartedAt: at,
			ExpiresAt: at.Add(pick(d, 15*time.Minute, 240*time.Hour)), Interval: 5 * time.Second, Since: at.Add(-time.Duration(d.IntN(70)) * time.Minute),
		}
	}
	if d.chance(15) {
		r.Standing = &lifecycle.Standing{State: pick(d, lifecycle.StandingInactive, lifecycle.StandingDeleted), At: d.moment(), Message: "said", Listed: d.chance(50)}
	}
	r.Lookup = lifecycle.Lookup{Done: d.chance(50), NextAttemptAt: d.moment()}
	r.Doubted, r.Subject = d.chance(10), pick(d, "", "alice")
}

func (d dice) facts() lifecycle.Facts {
	f := lifecycle.Facts{
		UID: uid, Process: process, Suspended: d.chance(15), Running: d.chance(10), Basis: basis, Scopes: []string{"read"},
		GrantType:    d.grantType(),
		Margin:       pick(d, lifecycle.Margin{}, lifecycle.Margin{Share: 0.99}, lifecycle.Margin{Duration: 240 * time.Hour}),
		Identifiable: d.chance(50), RenewsByAccessToken: d.chance(20), LastPollAt: pick(d, time.Time{}, time.Time{}, d.moment()),
		Record: d.record(), MarkSeenAt: d.moment(), RefreshRequest: pick(d, "", "", asked, "another"),
	}
	if d.chance(40) {
		f.Check = lifecycle.Check{Interval: time.Hour, LastAt: d.moment()}
	}
	if d.chance(10) {
		f.Listed = &lifecycle.Listing{ID: "connection-1", Active: d.chance(50), Status: "said", At: d.moment()}
	}
	if f.GrantType == lifecycle.DeviceCode {
		f.Input.Hash = "code-1"
	} else if f.GrantType != lifecycle.ClientCredentials {
		f.Input = lifecycle.Input{State: pick(d, lifecycle.InputNone, lifecycle.InputMissing, lifecycle.InputPresent), Missing: "said"}
		if f.Input.State == lifecycle.InputPresent {
			f.Input.Hash, f.Input.Version = pick(d, "code-1", "code-2"), pick(d, "v1", "v2")
		}
	}
	d.people(&f)
	if d.chance(15) {
		f.Blocked = &lifecycle.Verdict{Reason: pick(d, "NotAllowed", "ApplicationNotReady"), Message: "said", Stalled: d.chance(50)}
	}
	if d.chance(20) {
		pausedUntil(d.moment())(&f)
	}
	if d.chance(15) {
		f.Deletion = &lifecycle.Deletion{
			RequestedAt: d.moment(), Timeout: 5 * time.Minute, Orphan: d.chance(20),
			Revocable: pick(d, lifecycle.RevocableNow, lifecycle.RevocableNever, lifecycle.RevocableLater),
		}
	}
	return f
}

// people adds what persons and providers tell.
func (d dice) people(f *lifecycle.Facts) {
	if f.GrantType == lifecycle.AuthorizationCode && d.chance(50) {
		person(d.chance(80))(f)
		if d.chance(40) {
			f.Input = lifecycle.Input{
				State: lifecycle.InputPresent, Hash: pick(d, "code-1", "code-2"), Version: "message", Login: pick(d, "login-1", "login-2"), ReceivedAt: d.moment(), Import: d.chance(30),
			}
		} else if d.chance(30) {
			f.Answer = &lifecycle.Answer{Login: pick(d, "login-1", "login-2"), Reason: "AccessDenied", Message: "said"}
		}
	}
	if d.chance(20) {
		f.Reported = &lifecycle.Hint{ID: pick(d, "event-1", "event-2"), Type: "revoked", At: d.moment()}
	}
	if f.Record != nil && d.chance(20) {
		f.Record.Hint = &lifecycle.Hint{ID: "event-1", Type: "revoked", At: d.moment(), NextAttemptAt: pick(d, time.Time{}, d.moment())}
	}
	if f.Record != nil && d.chance(30) {
		f.Record.Authorization = &lifecycle.Authorization{ID: "login-1", Result: lifecycle.AuthorizationSucceeded, At: d.moment()}
	}
	if f.Record != nil && d.chance(30) {
		f.Nudge = &lifecycle.Nudge{TokenHash: pick(d, f.Record.AccessToken.Hash(), "another"), Verify: d.chance(30), SeenAt: d.moment()}
	}
	f.Invited = d.chance(20)
	f.BelievesHints, f.Lists = d.chance(50), d.chance(30)
	if f.Lists {
		f.ListedAt = d.moment()
	}
	f.Check.OnRequest = f.Check.Interval > 0
}

const rounds = 30000

func TestDecideProperties(t *testing.T) {
	seen := map[lifecycle.Action]int{}
	for seed := range uint64(rounds) {
		d := roll(seed)
		f := d.facts()
		now := d.moment()
		got := lifecycle.Decide(f, now)
		if again := lifecycle.Decide(f, now); again != got {
			t.Fatalf("seed %d: %+v, then %+v", seed, got, again)
		}
		if same := roll(seed).facts(); !reflect.DeepEqual(f, same) {
			t.Fatalf("seed %d: Decide changed the facts", seed)
		}
		if wrong := objection(f, got, now); wrong != "" {
			t.Fatalf("seed %d: %+v: %s\nfacts %+v\nrecord %+v", seed, got, wrong, f, f.Record)
		}
		seen[got.Action]++
	}
	for _, action := range []lifecycle.Action{
		lifecycle.Wait, lifecycle.Exchange, lifecycle.Import, lifecycle.Issue, lifecycle.Refresh, lifecycle.VerifyMark, lifecycle.Remember,
		lifecycle.Revoke, lifecycle.Release, lifecycle.StartDevice, lifecycle.Poll, lifecycle.Identify, lifecycle.CheckGrant,
		lifecycle.Settle, lifecycle.RevokeCandidate, lifecycle.Observe, lifecycle.Conclude, lifecycle.Heed, lifecycle.Judge,
	} {
		if seen[action] < rounds/2000 {
			t.Errorf("%s was decided %d times in %d: the facts are too tame", action, seen[action], rounds)
		}
	}
}

// objection says what must never be decided about these facts; "": nothing is wrong.
func objection(f lifecycle.Facts, d lifecycle.Decision, now time.Time) string {
	ending := d.Action == lifecycle.Revoke || d.Action == lifecycle.Release
	calls := d.Action.CallsProvider()
	switch {
	case d.Action == lifecycle.Wait && !d.At.IsZero() && !d.At.After(now):
		return "waits for the past, which would spin"
	case d.Action != lifecycle.Wait && !d.At.IsZero():
		return "has a time without waiting"
	case ending != (f.Deletion != nil) && (ending || calls || d.Action == lifecycle.Remember):
		return "ends a connection that is wanted, or goes on with one that is not"
	case d.GivenUp && d.Action != lifecycle.Release, d.Probe && (len(f.Pauses) == 0 || !calls):
		return "says of itself what cannot be"
	case calls && f.Running:
		return "a call is under way"
	case calls && f.Record != nil && f.Record.Attempt != nil && f.Record.Attempt.Process == foreign:
		return "another process may be calling"
	case calls && !ending && (f.Suspended || f.Blocked != nil):
		return "suspended or blocked"
	}
	return objectionToCredential(f, d, now)
}

func objectionToCredential(f lifecycle.Facts, d lifecycle.Decision, now time.Time) string {
	r := f.Record
	requested := f.RefreshRequest != "" && (r == nil || f.RefreshRequest != r.RefreshRequest)
	switch d.Action {
	case lifecycle.Exchange, lifecycle.Import:
		if f.Input.State != lifecycle.InputPresent || (r != nil && r.SpentInput == f.Input.Hash) {
			return "there is no input that was not used"
		}
	case lifecycle.Refresh:
		switch failure := r.Failure; {
		case r.RefreshToken.IsEmpty() && (!f.RenewsByAccessToken || r.AccessToken.IsEmpty() || r.Expiry.Passed(now)):
			return "there is no refresh token, and no access token to exchange"
		case r.Gone() && !requested:
			return "the provider has ended the grant"
		case requested || failure == nil:
		case failure.Terminal && failure.Basis == f.Basis:
			return "refused for good, and nothing has changed"
		case failure.Terminal && failure.Reason == "InvalidGrant":
			return "no configuration brings a refused grant back"
		case failure.OutcomeUnknown && !failure.Terminal && r.Unrotated < 2 && !r.AccessToken.IsEmpty() &&
			r.Expiry.Kind == lifecycle.ExpiryAt && r.Expiry.At.Sub(now) > 30*time.Second:
			return "reuse detection could kill an access token that still works"
		}
	case lifecycle.Issue:
		if failure := issueFailure(r); !requested && failure != nil && failure.Terminal && failure.Basis == f.Basis &&
			(f.Input.State != lifecycle.InputPresent || failure.InputHash == f.Input.Hash) {
			return "refused for good, and nothing has changed"
		}
		if f.Input.State == lifecycle.InputMissing {
			return "there is nothing to issue it for"
		}
	case lifecycle.Remember:
		if after := lifecycle.Remembered(r, f.Input, f.RefreshRequest); decideAbout(f, after, now).Action == lifecycle.Remember {
			return "would be remembered without end"
		}
	case lifecycle.Revoke:
		if !r.Revocable() {
			return "there is nothing to revoke"
		}
	default:
		return objectionToQuestion(f, d, now)
	}
	return ""
}

func objectionToQuestion(f lifecycle.Facts, d lifecycle.Decision, now time.Time) string {
	r := f.Record
	switch d.Action {
	case lifecycle.StartDevice, lifecycle.Poll:
		switch {
		case f.GrantType != lifecycle.DeviceCode:
			return "nobody asked for a device code"
		case d.Action == lifecycle.Poll && (r == nil || r.Device == nil || !now.Before(r.Device.ExpiresAt)):
			return "there is no code that lives"
		case d.Action == lifecycle.Poll && now.Before(f.LastPollAt.Add(r.Device.Interval)):
			return "polls faster than it may"
		}
	case lifecycle.Identify:
		if !f.Identifiable || r.Unidentified().AccessToken.IsEmpty() {
			return "there is no way to find out"
		}
	case lifecycle.Settle:
		after := lifecycle.Settled(r, now)
		if r.Candidate.Subject != "" && r.Subject != "" && r.Candidate.Subject != r.Subject && !after.AccessToken.Equal(r.AccessToken) {
			return "another account took the grant over"
		}
		if decideAbout(f, after, now).Action == lifecycle.Settle {
			return "would be settled without end"
		}
	case lifecycle.Conclude:
		if decideAbout(f, lifecycle.Concluded(orEmpty(r), *f.Conclusion(now), f.Input, now), now).Action == lifecycle.Conclude {
			return "would be concluded without end"
		}
	case lifecycle.Heed:
		if decideAbout(f, lifecycle.Heeded(r, *f.Reported), now).Action == lifecycle.Heed {
			return "would be heeded without end"
		}
	case lifecycle.Invite:
		if decideAbout(f, lifecycle.Invited(r, now), now).Action == lifecycle.Invite {
			return "would be invited without end"
		}
	case lifecycle.Judge:
		after, believed := lifecycle.Judged(r, f, now)
		refused := r.Failure != nil && r.Failure.Reason == "InvalidGrant" && r.Failure.Terminal
		switch {
		case believed && !f.BelievesHints && !refused, believed && !after.Gone():
			return "believes without leave"
		case !believed && after.Gone() && !r.Gone():
			return "ends a grant by a report that it does not believe"
		case decideAbout(f, after, now).Action == lifecycle.Judge:
			return "would be judged without end"
		}
	case lifecycle.CheckGrant:
		if f.Check.Interval == 0 || r.AccessToken.IsEmpty() {
			return "there is nothing to check"
		}
	default:
	}
	return ""
}

func orEmpty(r *lifecycle.Record) *lifecycle.Record {
	if r == nil {
		return empty()
	}
	return r
}

func issueFailure(r *lifecycle.Record) *lifecycle.Failure {
	switch {
	case r == nil:
		return nil
	case r.Held():
		return r.Failure
	}
	return r.InputFailure
}

func decideAbout(f lifecycle.Facts, r *lifecycle.Record, now time.Time) lifecycle.Decision {
	f.Record = r
	return lifecycle.Decide(f, now)
}

func TestDescribeProperties(t *testing.T) {
	ready := 0
	for seed := range uint64(rounds) {
		d := roll(seed)
		f := d.facts()
		now := d.moment()
		p := lifecycle.Publication{Name: "crm-token", Current: d.chance(60), Before: d.chance(50)}
		if !p.Current && d.chance(50) {
			p.Problem = &lifecycle.Verdict{Reason: "SecretConflict", Message: "said", Stalled: true}
		}
		s := lifecycle.Describe(f, p, now)
		if s.Ready.Status == lifecycle.True {
			ready++
		}
		if wrong := untruth(f, p, s, now); wrong != "" {
			t.Fatalf("seed %d: %+v: %s\nfacts %+v\nrecord %+v", seed, s, wrong, f, f.Record)
		}
	}
	if ready < rounds/100 {
		t.Errorf("ready only %d times in %d: the facts are too wild", ready, rounds)
	}
}

// untruth says where a summary claims more than the facts prove; "": nowhere.
func untruth(f lifecycle.Facts, p lifecycle.Publication, s lifecycle.Summary, now time.Time) string {
	r := f.Record
	isReady, stalled, reconciling := s.Ready.Status == lifecycle.True, s.Stalled.Status == lifecycle.True, s.Reconciling.Status == lifecycle.True
	switch {
	case isReady && (!p.Current || p.Problem != nil):
		return "Ready, but the Secret does not hold the token"
	case isReady && (r == nil || r.AccessToken.IsEmpty() || r.Expiry.Passed(now)):
		return "Ready without a token that works"
	case isReady && (s.Phase != lifecycle.Active || f.Deletion != nil || (r.Failure != nil && r.Failure.Terminal)):
		return "Ready, although the grant is over"
	case isReady && (stalled || reconciling), stalled && reconciling:
		return "conditions that contradict each other"
	case s.Authorized.Status == lifecycle.True && (!r.Held() || (r.Failure != nil && (r.Failure.Terminal || r.Failure.OutcomeUnknown))):
		return "Authorized without a grant that is known to be good"
	case s.Phase == lifecycle.Deleted && !r.Gone() && (r.Revocation == nil || !r.Revocation.Done || r.Revocation.Unrevoked != ""):
		return "Deleted, but neither revoked nor ended by the provider"
	case isReady && r.Standing != nil, s.Authorized.Status == lifecycle.True && r.Standing != nil:
		return "Ready or Authorized, but the provider says that the grant is over"
	case s.AwaitsPerson && (f.Person == nil || !f.Person.Link || f.Suspended || f.Blocked != nil || f.Deletion != nil):
		return "sends a person to where nobody can go on"
	case s.Phase == lifecycle.Authorizing && f.Person != nil && f.Person.Link && !s.AwaitsPerson:
		return "waits for a person without showing the way"
	case !s.NextRefreshAt.IsZero() && (f.Suspended || f.Blocked != nil || f.Deletion != nil):
		return "promises a refresh that will not come"
	case s.Ready.Reason == "" || s.Authorized.Reason == "" || s.Reconciling.Reason == "" || s.Stalled.Reason == "" || s.Ready.Message == "":
		return "a reason or message is missing"
	case strings.Contains(fmt.Sprintf("%+v", s), "SECRET"):
		return "shows a token"
	}
	return ""
}
