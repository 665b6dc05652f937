// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strconv"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// reported takes a report down, so that it is not lost while it is verified.
func reported(f Facts, _ time.Time) *Decision {
	if f.Reported == nil || !f.Heeds(f.Reported.ID, f.Reported.At) {
		return nil
	}
	return &Decision{Action: Heed}
}

// Heeds tells whether a report that was sent at a time can concern the grant that is held, and is not being verified
// already.
func (f Facts) Heeds(id string, at time.Time) bool {
	r := f.Record
	return f.heedsStill() && !at.Before(r.AuthorizedAt.Add(-clockTolerance)) && (r.Hint == nil || r.Hint.ID != id)
}

// hinted verifies the provider's report that the grant has ended: by a question about the access token, by the provider's
// list, or by a refresh. Where none of these is possible, it is a matter of belief.
func hinted(f Facts, now time.Time) *Decision {
	r := f.Record
	if r == nil || r.Hint == nil {
		return nil
	}
	h := r.Hint
	switch {
	case !f.heedsStill():
		return &Decision{Action: Judge}
	case now.Before(h.NextAttemptAt):
		return f.meanwhile(&Decision{Action: Wait, At: h.NextAttemptAt}, now)
	case f.Check.OnRequest && !r.AccessToken.IsEmpty() && !r.Expiry.Passed(now) && !r.Doubted:
		return &Decision{Action: CheckGrant}
	case f.renewal(now) == Refresh && (r.Failure == nil || !r.Failure.Terminal):
		return f.verifyByRefresh(now)
	case f.Lists && !f.ListedAt.After(h.At):
		return f.meanwhile(&Decision{Action: Wait}, now)
	}
	return &Decision{Action: Judge}
}

// heedsStill tells whether the report that was written down still speaks of the grant that is held.
func (f Facts) heedsStill() bool {
	r := f.Record
	return r.Held() && !r.Gone() && !f.GrantType.issues()
}

func (f Facts) verifyByRefresh(now time.Time) *Decision {
	if f.Record.Failure != nil {
		return f.retry(Refresh, f.Record.Failure, now)
	}
	return f.attempt(Refresh, time.Time{}, now)
}

// Heeded returns the record after the provider has reported the end of the grant.
func Heeded(r *Record, h Hint) *Record {
	next := r.clone()
	next.Hint = &h
	return next
}

// Judged returns the record after a report about which nobody can be asked. believed says whether the grant is held to be
// over because of it.
func Judged(r *Record, f Facts, now time.Time) (next *Record, believed bool) {
	next = r.clone()
	if f.heedsStill() && r.Failure != nil && r.Failure.Reason == v1alpha1.ReasonInvalidGrant && r.Failure.Terminal {
		next.bearOut("it refuses the refresh token: "+r.Failure.Message, now)
		return next, true
	}
	next.Hint = nil
	// One that was sent before the person authorized is about an earlier grant. Where somebody is asked, clocks that are apart do
	// no harm; here the word alone would end the grant.
	earlier := r.Hint.At.Before(r.AuthorizedAt.Truncate(time.Second))
	if f.BelievesHints && f.heedsStill() && !f.Lists && !earlier {
		next.Hint = r.Hint
		next.bearOut("nobody can be asked, and the application takes it at its word", now)
		return next, true
	}
	return next, false
}

// Unverified returns the record after an attempt to verify a report has told nothing; dropped says that it was the last one.
func Unverified(r *Record, retryAfter time.Duration, now time.Time) (next *Record, dropped bool) {
	next = r.clone()
	if r.Hint == nil {
		return next, false
	}
	h := *r.Hint
	h.Count++
	h.NextAttemptAt = now.Add(transientBackoff(h.Count, retryAfter, r.Connection.UID))
	next.Hint = &h
	if h.Count >= hintAttempts {
		next.Hint = nil
		return next, true
	}
	return next, false
}

// verified is Checked where the provider had reported the end of the grant.
func (r *Record) verified(works bool, message string, f Facts, now time.Time) *Record {
	settled := !now.Before(r.Hint.At.Add(hintSettling))
	switch {
	case works && !settled && r.Hint.NextAttemptAt.IsZero():
		// Providers tell of it before all of their servers know: once more.
		h := *r.Hint
		h.NextAttemptAt = h.At.Add(hintSettling)
		r.Hint, r.Doubted = &h, false
	case works:
		r.Hint, r.Doubted = nil, false
		if r.Standing != nil && r.Standing.State == StandingInactive && !r.Standing.Listed {
			r.Standing, r.Device = nil, nil
		}
	case f.renewal(now) == Refresh && (r.Failure == nil || !r.Failure.Terminal):
		r.Doubted = true // The refresh token has the last word.
	default:
		r.bearOut(message, now)
	}
	return r
}

// bearOut ends the grant because the provider's report was borne out.
func (r *Record) bearOut(evidence string, now time.Time) {
	r.Standing = &Standing{
		State: StandingDeleted, At: now,
		Message: "it reported " + strconv.Quote(r.Hint.Type) + ", and " + evidence,
	}
	r.Hint, r.Doubted = nil, false
}
