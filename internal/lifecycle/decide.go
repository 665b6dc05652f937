// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"maps"
	"slices"
	"time"
)

// check has an opinion about what comes next, or none: nil.
type check func(Facts, time.Time) *Decision

// Decide says what to do next.
func Decide(f Facts, now time.Time) Decision {
	d := f.first(now, underWay, marked, deleting, concluded, reported, suspended, blocked, listed, invited, proposed, unsent,
		device, requested, nudged, known, hinted, refused, ended, missing, due)
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
	at := earliest(d.At, f.Record.nextChange(now))
	if d := f.device(); d != nil && f.GrantType == DeviceCode && now.Before(d.ExpiresAt) {
		at = earliest(at, d.ExpiresAt) // Nobody should type it any more.
	}
	if f.loginUnsent() && now.Before(f.giveUpAt()) {
		at = earliest(at, f.giveUpAt()) // Nobody waits for it any longer.
	}
	if f.Deletion != nil {
		if deadline := f.Deletion.RequestedAt.Add(f.Deletion.Timeout); now.Before(deadline) {
			at = earliest(at, deadline)
		}
	}
	return at
}

// nextChange is when something that the record says is over; zero: nothing of it ends by itself.
func (r *Record) nextChange(now time.Time) time.Time {
	var at time.Time
	if r == nil {
		return at
	}
	if r.Expiry.Kind == ExpiryAt && !r.Expiry.Passed(now) {
		at = r.Expiry.At
	}
	if r.Hint != nil && now.Before(r.Hint.NextAttemptAt) {
		at = earliest(at, r.Hint.NextAttemptAt)
	}
	if now.Before(r.InvitedUntil) {
		at = earliest(at, r.InvitedUntil)
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
	case !r.Revocable(), f.Deletion.Orphan, f.Deletion.Revocable == RevocableNever,
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

// listed writes down what is new in the provider's list.
func listed(f Facts, _ time.Time) *Decision {
	if f.Listed == nil || !f.Record.Held() {
		return nil
	}
	return &Decision{Action: Observe}
}

// proposed looks after a new authorization until it has replaced the old one, or is revoked.
func proposed(f Facts, now time.Time) *Decision {
	if f.Record == nil || f.Record.Candidate == nil {
		return nil
	}
	c := f.Record.Candidate
	switch {
	case c.Refused && now.Before(c.NextAttemptAt):
		return f.beside(&Decision{Action: Wait, At: c.NextAttemptAt}, now)
	case c.Refused:
		return &Decision{Action: RevokeCandidate}
	case c.Subject != "" || c.Lookup.Done || !f.Identifiable || c.AccessToken.IsEmpty():
		return &Decision{Action: Settle}
	case now.Before(c.Lookup.NextAttemptAt):
		return f.beside(&Decision{Action: Wait, At: c.Lookup.NextAttemptAt}, now)
	}
	return &Decision{Action: Identify}
}

// beside does what cannot wait for a candidate that waits itself: another code, which lives for a minute, or a request.
func (f Facts) beside(d *Decision, now time.Time) *Decision {
	if other := f.first(now, unsent, requested, nudged); other.Action != Wait {
		return &other
	}
	return f.meanwhile(d, now)
}

// unsent looks for a code or a refresh token that was not used yet.
func unsent(f Facts, now time.Time) *Decision {
	if f.Input.State != InputPresent || f.GrantType.issues() || f.Record.HasSpent(f.Input.Hash) || f.loginEnded() {
		return nil
	}
	action := f.inputAction()
	if f.Record == nil || f.Record.InputFailure == nil || f.Record.InputFailure.InputHash != f.Input.Hash {
		return f.meanwhile(f.attempt(action, time.Time{}, now), now)
	}
	return f.meanwhile(f.retry(action, f.Record.InputFailure, now), now)
}

// inputAction is how the input is used.
func (f Facts) inputAction() Action {
	if f.GrantType == RefreshToken || f.Input.Import {
		return Import
	}
	return Exchange
}

// meanwhile keeps the grant that is held alive while an input, or a question about it, waits for its next attempt.
func (f Facts) meanwhile(d *Decision, now time.Time) *Decision {
	if d == nil || d.Action != Wait || !f.Record.Held() {
		return d
	}
	other := f.first(now, refused, ended, missing, due)
	if other.Action == Wait {
		other.At = earliest(other.At, d.At)
	}
	return &other
}

// known notes a new version of the input's Secret with the same value, so that it is not read again.
func known(f Facts, _ time.Time) *Decision {
	if f.Input.State == InputPresent && f.Record != nil && f.Record.InputVersion != f.Input.Version &&
		(f.Record.SpentInput == f.Input.Hash || (!f.GrantType.issues() && f.Record.HasSpent(f.Input.Hash))) {
		return &Decision{Action: Remember}
	}
	return nil
}

// device leads a person through a device authorization while there is no grant that works. A grant that may come back is
// looked at beside it.
func device(f Facts, now time.Time) *Decision {
	if f.GrantType != DeviceCode || (f.Record.Held() && (!f.over(now) || f.mayRevive())) {
		return nil
	}
	if f.requestPending() && f.Record.Held() && f.Record.Standing == nil && f.renewal(now) == Refresh {
		return f.attempt(Refresh, time.Time{}, now) // The one that a request makes; see Failed for what comes after it.
	}
	d := f.deviceStep(now)
	if d.Action != Wait || !f.Record.Held() || f.Record.Standing == nil {
		return d
	}
	other := ended(f, now)
	if other.Action == Wait {
		other.At = earliest(other.At, d.At)
	}
	return other
}

// deviceStep is the next step of a device authorization.
func (f Facts) deviceStep(now time.Time) *Decision {
	failure, r := f.inputFailure(), f.Record
	switch {
	case f.requestPending():
		return f.attempt(StartDevice, time.Time{}, now)
	case failure != nil && failure.Terminal && failure.Basis == f.Basis:
		return &Decision{Action: Wait}
	case r == nil || r.Device == nil:
		return f.deviceAttempt(StartDevice, time.Time{}, now)
	case r.Device.abandoned(now):
		return &Decision{Action: Wait}
	case !now.Before(r.Device.ExpiresAt):
		return f.deviceAttempt(StartDevice, r.Device.replaceable(), now)
	}
	return f.deviceAttempt(Poll, latest(r.Device.StartedAt, f.LastPollAt).Add(r.Device.Interval), now)
}

// deviceAttempt acts at a time, and not before a failure of the one before allows.
func (f Facts) deviceAttempt(action Action, at, now time.Time) *Decision {
	if failure := f.inputFailure(); failure != nil && failure.Basis == f.Basis {
		at = latest(at, failure.NextAttemptAt)
	}
	return f.attempt(action, at, now)
}

// over tells that a grant that is held works no more, and nothing but a new authorization will help.
func (f Facts) over(now time.Time) bool {
	return f.Record.Standing != nil || (f.Record.Failure != nil && f.Record.Failure.Terminal) || f.lapsed(now)
}

// mayRevive tells that a refresh token that was never condemned is worth another attempt before a person is asked.
func (f Facts) mayRevive() bool {
	failure := f.Record.Failure
	return failure != nil && failure.Terminal && !f.Record.Gone() && f.reconsiders(failure)
}

// requested answers a refresh request: it overrides every backoff, but not suspension.
func requested(f Facts, now time.Time) *Decision {
	if f.Record == nil || !f.requestPending() {
		return nil
	}
	action := f.renewal(now)
	switch {
	case action != Wait:
	case (f.Check.Interval > 0 || f.Check.OnRequest) && !f.Record.AccessToken.IsEmpty():
		return &Decision{Action: CheckGrant}
	default:
		return &Decision{Action: Remember}
	}
	return &Decision{Action: action, Probe: f.paused(action)}
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

// ended leaves a grant alone that the provider has ended; one that may come back is looked at now and then.
func ended(f Facts, now time.Time) *Decision {
	r := f.Record
	switch {
	case r == nil || r.Standing == nil, f.GrantType.issues() && f.sourceChanged():
		return nil
	case r.Standing.State == StandingDeleted:
		return &Decision{Action: Wait}
	}
	if d := checkDue(f, now); d != nil {
		return d
	}
	return &Decision{Action: Wait}
}

// missing issues a token where nobody has to be asked.
func missing(f Facts, now time.Time) *Decision {
	if !f.GrantType.issues() || f.Input.State == InputMissing {
		return nil
	}
	r := f.Record
	held := r != nil && !r.AccessToken.IsEmpty() && r.GrantType == f.GrantType
	if held && slices.Equal(r.RequestedScopes, f.Scopes) && maps.Equal(r.Inputs, f.Inputs) && !f.sourceChanged() {
		return nil
	}
	if failure := f.failure(); failure != nil && (f.Input.State == InputNone || failure.InputHash == f.Input.Hash) {
		return f.retry(Issue, failure, now)
	}
	return f.attempt(Issue, time.Time{}, now)
}

// sourceChanged tells that what a token is issued for is not what the last one was issued for.
func (f Facts) sourceChanged() bool {
	return f.Input.State == InputPresent && (f.Record == nil || f.Record.SpentInput != f.Input.Hash)
}

// due is what time alone brings: a renewal, and beside it questions about the grant.
func due(f Facts, now time.Time) *Decision {
	d := renew(f, now)
	for _, ask := range []check{identify, checkDue} {
		if d != nil && d.Action != Wait {
			return d
		}
		other := ask(f, now)
		switch {
		case other == nil:
		case d == nil || other.Action != Wait:
			d = other
		default:
			d.At = earliest(d.At, other.At)
		}
	}
	return d
}

func renew(f Facts, now time.Time) *Decision {
	action := f.renewal(now)
	if action == Wait {
		return nil
	}
	if f.Record.Failure != nil {
		return f.retry(action, f.Record.Failure, now)
	}
	at := f.renewalDue()
	switch {
	case wrongClock(f.Record.IssuedAt, now), f.Record.Doubted:
		return f.attempt(action, time.Time{}, now) // Its expiry is as wrong as the clock that it was reckoned by.
	case at.IsZero():
		return nil
	}
	return f.attempt(action, at, now)
}

// identify finds out whose tokens they are, once.
func identify(f Facts, now time.Time) *Decision {
	r := f.Record
	if !f.Identifiable || r == nil || r.AccessToken.IsEmpty() || r.Lookup.Done || r.Expiry.Passed(now) {
		return nil
	}
	if r.Candidate != nil {
		return nil // It has the turn; see proposed.
	}
	if now.Before(r.Lookup.NextAttemptAt) {
		return &Decision{Action: Wait, At: r.Lookup.NextAttemptAt}
	}
	return &Decision{Action: Identify}
}

// checkDue asks the provider about the access token from time to time.
func checkDue(f Facts, now time.Time) *Decision {
	r := f.Record
	if f.Check.Interval <= 0 || r == nil || r.AccessToken.IsEmpty() || r.Expiry.Passed(now) {
		return nil
	}
	at := CheckDue(f.UID, f.Check.Interval, latest(f.Check.LastAt, latest(r.AuthorizedAt, r.RefreshedAt)))
	if now.Before(at) {
		return &Decision{Action: Wait, At: at}
	}
	return &Decision{Action: CheckGrant}
}

// renewal is how the access token can be renewed without a person; Wait: it cannot.
func (f Facts) renewal(now time.Time) Action {
	r := f.Record
	switch {
	case r == nil:
		return Wait
	case f.GrantType.issues() && f.Input.State == InputMissing:
		return Wait
	case f.GrantType.issues():
		return Issue
	case f.RenewsByAccessToken && (r.AccessToken.IsEmpty() || r.Expiry.Passed(now)):
		return Wait
	case f.RenewsByAccessToken, !r.RefreshToken.IsEmpty():
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
	if f.Person != nil {
		return f.inputFailure() // What failed before is over: the next login brings another code.
	}
	return f.Record.InputFailure
}

// reconsiders tells whether a terminal failure is worth another attempt because of a changed configuration. A refused
// grant is not: no configuration brings it back.
func (f Facts) reconsiders(failure *Failure) bool {
	if f.GrantType.issues() {
		return failure.Basis != f.Basis || (f.sourceChanged() && failure.InputHash != f.Input.Hash)
	}
	return failure.Basis != f.Basis && failure.undecided()
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
	mended := failure.InputVersion != "" && f.Input.State == InputPresent && failure.InputVersion != f.Input.Version
	if failure.Basis != f.Basis || mended || f.requestPending() || wrongClock(failure.LastAt, now) {
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
	person := f.Input.Login != "" && action == f.inputAction() // Somebody waits for the answer, and the code will not wait.
	if pause, paused := f.Pauses[action]; paused && !f.requestPending() && !person {
		at = latest(at, pause.NextProbeAt)
	}
	if now.Before(at) {
		return &Decision{Action: Wait, At: at}
	}
	return &Decision{Action: action, Probe: f.paused(action)}
}

func (f Facts) paused(action Action) bool {
	_, paused := f.Pauses[action]
	return paused
}

// nextPause is the pause of what would bring the first tokens, or renew those that are held; nil: none.
func (f Facts) nextPause() *Pause {
	action := f.GrantType.first()
	if f.Record.Held() && action != Issue {
		action = Refresh
	}
	if pause, paused := f.Pauses[action]; paused {
		return &pause
	}
	return nil
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
