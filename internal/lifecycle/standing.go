// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strconv"
	"time"
)

// Checked returns the record after the provider has said whether the access token works, and whether that is news. A
// token that can be renewed without a person is renewed; otherwise the grant is inactive until it works again. What the
// provider's list says, only the list takes back.
func Checked(r *Record, works bool, message string, f Facts, now time.Time) (*Record, bool) {
	next := r.clone()
	if r.Hint != nil {
		return next.verified(works, message, f, now), true
	}
	switch {
	case works && r.Standing != nil && r.Standing.State == StandingInactive && !r.Standing.Listed:
		next.Doubted, next.Standing, next.Device = false, nil, nil
	case works && r.Doubted:
		next.Doubted = false
	case works, r.Doubted, r.Standing != nil:
		return r, false
	case f.renewal(now) != Wait:
		next.Doubted = true
	default:
		next.Standing = &Standing{State: StandingInactive, At: now, Message: message}
	}
	return next, true
}

// Observed returns the record after the provider's list has been read.
func Observed(r *Record, l Listing) *Record {
	next := r.clone()
	next.ID, next.ProviderCreatedAt = l.ID, l.CreatedAt
	switch {
	case !l.DeletedAt.IsZero():
		next.Standing = &Standing{State: StandingDeleted, At: l.DeletedAt, Listed: true, Message: "the provider's list says that it was deleted"}
	case !l.Active && r.Hint != nil:
		next.bearOut("its list says "+quoted(l.Status), l.At)
	case !l.Active:
		next.Standing = &Standing{State: StandingInactive, At: l.At, Listed: true, Message: "the provider's list says " + quoted(l.Status)}
	case r.Standing != nil && r.Standing.Listed:
		next.Standing, next.Device = nil, nil
	}
	return next
}

func quoted(status string) string {
	if status == "" {
		return "that it is not active"
	}
	return strconv.Quote(status)
}

// GrantedAt is when the grant that is held began, by our clock: a token that is issued anew is another grant.
func (r *Record) GrantedAt() time.Time {
	if r.GrantType.issues() {
		return latest(r.AuthorizedAt, r.RefreshedAt)
	}
	return r.AuthorizedAt
}

// News tells whether a list says anything about the grant that the record does not know. An entry that is not known to be
// the grant's own, and that ended before the grant began, is another one's. Lists give times in whole seconds.
func (r *Record) News(l Listing) bool {
	began := r.GrantedAt()
	foreign := r.ID != l.ID && !l.DeletedAt.IsZero() && l.DeletedAt.Before(began.Truncate(time.Second))
	if !r.Held() || l.At.Before(began) || foreign {
		return false
	}
	if r.ID != l.ID || !r.ProviderCreatedAt.Equal(l.CreatedAt) {
		return true
	}
	state := StandingState("")
	switch {
	case !l.DeletedAt.IsZero():
		state = StandingDeleted
	case !l.Active:
		state = StandingInactive
	}
	if r.Standing == nil {
		return state != ""
	}
	// That the list calls it active does not contradict a token that was found not to work.
	return r.Standing.State != state && (state != "" || r.Standing.Listed)
}
