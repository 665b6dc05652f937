// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// invitedFor is how long a link stays that was asked for although nobody has to authorize.
const invitedFor = time.Hour

// Nudge is the word of a caller of the API that an access token is of no use.
type Nudge struct {
	// TokenHash identifies the token.
	TokenHash string
	// Verify asks whether the grant still exists; otherwise for another token, where one can be had.
	Verify bool
	// SeenAt is when this process first saw it.
	SeenAt time.Time
}

// nudged renews a token that a caller could not use. Where it cannot be renewed, or was renewed in vain, the provider is
// asked whether the grant still exists.
func nudged(f Facts, now time.Time) *Decision {
	if f.Nudge == nil || f.NudgeAnswered(*f.Nudge, now) {
		return nil
	}
	if action := f.renewal(now); action != Wait && !f.Nudge.Verify {
		if f.Record.Failure != nil {
			return f.meanwhile(f.retry(action, f.Record.Failure, now), now)
		}
		return f.meanwhile(f.attempt(action, f.Record.nudgeable(), now), now)
	}
	if !f.checkable(now) {
		return nil // The provider's list is on its way.
	}
	return &Decision{Action: CheckGrant}
}

// nudgeable is when a caller's word may bring another token: whoever calls every token bad must not make a provider issue them
// without end.
func (r *Record) nudgeable() time.Time {
	if r.RefreshedAt.IsZero() || (r.Expiry.Kind == ExpiryAt && r.Expiry.At.Sub(r.IssuedAt) <= shortLifetime) {
		return time.Time{}
	}
	return r.RefreshedAt.Add(nudgeDistance)
}

// checkable tells whether the provider can be asked about the access token.
func (f Facts) checkable(now time.Time) bool {
	return (f.Check.Interval > 0 || f.Check.OnRequest) && !f.Record.AccessToken.IsEmpty() && !f.Record.Expiry.Passed(now)
}

// NudgeAnswered tells whether nothing more is done about the word of a caller: there is another token, the provider was
// asked since, or nobody can be asked now. What status says of it is the answer then.
func (f Facts) NudgeAnswered(n Nudge, now time.Time) bool {
	r := f.Record
	switch {
	case !r.Held(), r.AccessToken.Hash() != n.TokenHash, r.Standing != nil:
		return true
	case f.Suspended, f.Blocked != nil, f.Deletion != nil:
		return true
	}
	if action := f.renewal(now); action != Wait && !n.Verify {
		return f.paused(action) || (r.Failure != nil && f.failedFor(n, action, now))
	}
	switch {
	case f.checkable(now):
		return !f.Check.LastAt.Before(n.SeenAt)
	case f.Lists:
		return f.ListedAt.After(n.SeenAt)
	}
	return true
}

// NudgeInVain tells whether a caller's word about the token that is held changes nothing because nobody can be asked.
func (f Facts) NudgeInVain(n Nudge, now time.Time) bool {
	r := f.Record
	return r.Held() && r.AccessToken.Hash() == n.TokenHash && r.Standing == nil && !f.Suspended && f.Blocked == nil && f.Deletion == nil &&
		(n.Verify || f.renewal(now) == Wait) && !f.checkable(now) && !f.Lists
}

// failedFor tells whether a renewal has failed since the nudge, or waits after a failure before it: whoever waits for a token
// does not make the provider be asked more often.
func (f Facts) failedFor(n Nudge, action Action, now time.Time) bool {
	at, ok := f.retryAt(action, f.Record.Failure, now)
	return !ok || now.Before(at) || !f.Record.Failure.LastAt.Before(n.SeenAt)
}

// invited gives a person a link who has asked for one.
func invited(f Facts, now time.Time) *Decision {
	if !f.Invited || f.InvitationAnswered(now) {
		return nil
	}
	return &Decision{Action: Invite}
}

// InvitationAnswered tells whether there is a link already, or can be none.
func (f Facts) InvitationAnswered(now time.Time) bool {
	return f.Record == nil || f.Person == nil || !f.Person.Link || f.Deletion != nil || f.Suspended || f.Blocked != nil ||
		f.AwaitsPerson(now)
}

// Invited returns the record after a person has asked for a link.
func Invited(r *Record, now time.Time) *Record {
	next := r.clone()
	next.InvitedUntil = now.Add(invitedFor)
	return next
}
