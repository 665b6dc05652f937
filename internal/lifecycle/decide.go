// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"time"
)

// check has an opinion about what comes next, or none: nil.
type check func(Facts, time.Time) *Decision

// Decide says what to do next.
func Decide(f Facts, now time.Time) Decision {
	d := f.first(now, underWay, marked, deleting, suspended, blocked, unsent, requested, known, refused, missing, due)
	return wakeForExpiry(d, f, now)
}

// first asks the checks in order; the first that has an opinion wins.
func (f Facts) first(now time.Time, checks ...check) Decision {
	for _, ask := range checks {
		if d := ask(f, now); d != nil {
			return *d
		}
	}
	return Decision{Action: Wait}
}

// wakeForExpiry makes sure that status is told the moment a token expires.
func wakeForExpiry(d Decision, f Facts, now time.Time) Decision {
	if d.Action == Wait {
		d.At = WakeAt(f, d, now)
	}
	return d
}

// WakeAt is when to look again although nothing happens: what was decided may wait in a queue while a token expires or
// a deletion runs out of time. Zero: only when something changes.
func WakeAt(f Facts, d Decision, now time.Time) time.Time {
	at := d.At
	if f.Record != nil && f.Record.Expiry.Kind == ExpiryAt && !f.Record.Expiry.Passed(now) {
		at = earliest(at, f.Record.Expiry.At)
	}
	if f.Deletion != nil {
		if deadline := f.Deletion.RequestedAt.Add(f.Deletion.Timeout); now.Before(deadline) {
			at = earliest(at, deadline)
		}
	}
	return at
}

func underWay(f Facts, _ time.Time) *Decision {
	if f.Running {
		return &Decision{Action: Wait}
	}
	return nil
}

// marked handles a call that another process left under way. A mark of this process that is not Running was never sent:
// its write failed from our point of view.
func marked(f Facts, now time.Time) *Decision {
	if f.Record == nil || f.Record.Attempt == nil || f.Record.Attempt.Process == f.Process {
		return nil
	}
	at := f.MarkSeenAt.Add(crashConfirmation)
	if now.Before(at) {
		return &Decision{Action: Wait, At: at}
	}
	return &Decision{Action: VerifyMark}
}

func deleting(f Facts, now time.Time) *Decision {
	if f.Deletion == nil {
		return nil
	}
	r, deadline := f.Record, f.Deletion.RequestedAt.Add(f.Deletion.Timeout)
	switch {
	case r == nil, !r.Held() && len(r.Replaced) == 0, f.Deletion.Orphan, f.Deletion.Revocable == RevocableNever,
		r.Revocation != nil && r.Revocation.Done:
		return &Decision{Action: Release}
	case !now.Before(deadline) && (r.Revocation != nil || f.Deletion.Revocable != RevocableNow):
		return &Decision{Action: Release, GivenUp: true}
	case !now.Before(deadline):
		return &Decision{Action: Revoke, LastChance: true}
	case f.Deletion.Revocable == RevocableLater:
		return &Decision{Action: Wait, At: deadline}
	case r.Revocation != nil && now.Before(r.Revocation.NextAttemptAt):
		return &Decision{Action: Wait, At: earliest(r.Revocation.NextAttemptAt, deadline)}
	}
	return &Decision{Action: Revoke}
}

func suspended(f Facts, _ time.Time) *Decision {
	if f.Suspended {
		return &Decision{Action: Wait}
	}
	return nil
}

func blocked(f Facts, _ time.Time) *Decision {
	if f.Blocked != nil {
		return &Decision{Action: Wait}
	}
	return nil
}

// unsent looks for a code or a refresh token that was not used yet.
func unsent(f Facts, now time.Time) *Decision {
	if f.Input.State != InputPresent || (f.Record != nil && f.Record.SpentInput == f.Input.Hash) {
		return nil
	}
	action := Exchange
	if f.GrantType == RefreshToken {
		action = Import
	}
	if f.Record == nil || f.Record.InputFailure == nil || f.Record.InputFailure.InputHash != f.Input.Hash {
		return f.meanwhile(f.attempt(action, time.Time{}, now), now)
	}
	return f.meanwhile(f.retry(action, f.Record.InputFailure, now), now)
}

// meanwhile keeps the grant that is held alive while an input waits for its next attempt.
func (f Facts) meanwhile(d *Decision, now time.Time) *Decision {
	if d == nil || d.Action != Wait || !f.Record.Held() {
		return d
	}
	other := f.first(now, refused, missing, due)
	if other.Action == Wait {
		other.At = earliest(other.At, d.At)
	}
	return &other
}

// known notes a new version of the input's Secret with the same value, so that it is not read again.
func known(f Facts, _ time.Time) *Decision {
	if f.Input.State == InputPresent && f.Record != nil && f.Record.SpentInput == f.Input.Hash && f.Record.InputVersion != f.Input.Version {
		return &Decision{Action: Remember}
	}
	return nil
}

// requested answers a refresh request: it overrides every backoff, but not suspension.
func requested(f Facts, _ time.Time) *Decision {
	if f.Record == nil || !f.requestPending() {
		return nil
	}
	action := f.renewal()
	if action == Wait {
		return &Decision{Action: Remember}
	}
	return &Decision{Action: action, Probe: f.Pause != nil}
}

func (f Facts) requestPending() bool {
	return f.RefreshRequest != "" && (f.Record == nil || f.RefreshRequest != f.Record.RefreshRequest)
}

// refused leaves a grant alone that the provider does not want any more, unless something has changed that could matter.
func refused(f Facts, _ time.Time) *Decision {
	failure := f.failure()
	if failure == nil || !failure.Terminal || f.reconsiders(failure) {
		return nil
	}
	return &Decision{Action: Wait}
}

// missing issues a token where nobody has to be asked.
func missing(f Facts, now time.Time) *Decision {
	if f.GrantType != ClientCredentials {
		return nil
	}
	r := f.Record
	held := r != nil && !r.AccessToken.IsEmpty() && r.GrantType == ClientCredentials
	if held && slices.Equal(r.RequestedScopes, f.Scopes) {
		return nil
	}
	if failure := f.failure(); failure != nil {
		return f.retry(Issue, failure, now)
	}
	return f.attempt(Issue, time.Time{}, now)
}

func due(f Facts, now time.Time) *Decision {
	action := f.renewal()
	if action == Wait {
		return nil
	}
	if f.Record.Failure != nil {
		return f.retry(action, f.Record.Failure, now)
	}
	at := f.renewalDue()
	switch {
	case wrongClock(f.Record.IssuedAt, now):
		return f.attempt(action, time.Time{}, now) // Its expiry is as wrong as the clock that it was reckoned by.
	case at.IsZero():
		return nil
	}
	return f.attempt(action, at, now)
}

// renewal is how the access token can be renewed without a person; Wait: it cannot.
func (f Facts) renewal() Action {
	switch {
	case f.Record == nil:
		return Wait
	case f.GrantType == ClientCredentials:
		return Issue
	case !f.Record.RefreshToken.IsEmpty():
		return Refresh
	}
	return Wait
}

// failure is the one that status speaks of: the grant's if one is held, else the input's.
func (f Facts) failure() *Failure {
	if f.Record == nil {
		return nil
	}
	if f.Record.Held() {
		return f.Record.Failure
	}
	return f.Record.InputFailure
}

// reconsiders tells whether a terminal failure is worth another attempt because of a changed configuration. A refused
// grant is not: no configuration brings it back.
func (f Facts) reconsiders(failure *Failure) bool {
	return failure.Basis != f.Basis && (f.GrantType == ClientCredentials || failure.undecided())
}

// retry decides about another attempt after a failure; nil: none by itself.
func (f Facts) retry(action Action, failure *Failure, now time.Time) *Decision {
	at, ok := f.retryAt(action, failure, now)
	if !ok {
		return nil
	}
	return f.attempt(action, at, now)
}

// retryAt is when a failed action may be tried again; zero: at once, false: never by itself.
func (f Facts) retryAt(action Action, failure *Failure, now time.Time) (time.Time, bool) {
	if failure.Terminal {
		return time.Time{}, f.reconsiders(failure) || (f.requestPending() && failure.undecided())
	}
	at := failure.NextAttemptAt
	if failure.Basis != f.Basis || f.requestPending() || wrongClock(failure.LastAt, now) {
		at = time.Time{}
	}
	if failure.OutcomeUnknown && action == Refresh {
		resend, ok := f.Record.resendDue()
		return latest(resend, at), ok
	}
	return at, true
}

// wrongClock tells that what has happened already lies well ahead: the clock was wrong then, and waiting for a time
// that was reckoned by it could take years.
func wrongClock(happened, now time.Time) bool { return happened.After(now.Add(clockTolerance)) }

// attempt acts at a time, and not before the application's pause allows unless a request asks for it.
func (f Facts) attempt(action Action, at, now time.Time) *Decision {
	if f.Pause != nil && !f.requestPending() {
		at = latest(at, f.Pause.NextProbeAt)
	}
	if now.Before(at) {
		return &Decision{Action: Wait, At: at}
	}
	return &Decision{Action: action, Probe: f.Pause != nil}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
