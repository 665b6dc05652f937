// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Reasons that a failure can have. They are the API's; the controller's tests hold them equal.
const (
	reasonInvalidGrant           = "InvalidGrant"
	reasonInvalidClient          = "InvalidClient"
	reasonUnauthorizedClient     = "UnauthorizedClient"
	reasonRefreshRejected        = "RefreshRejected"
	reasonExchangeRejected       = "ExchangeRejected"
	reasonRefreshOutcomeUnknown  = "RefreshOutcomeUnknown"
	reasonExchangeOutcomeUnknown = "ExchangeOutcomeUnknown"
	reasonProviderUnavailable    = "ProviderUnavailable"
)

// Concern is what a provider's refusal is about; it decides everything that follows.
type Concern int

// Concerns.
const (
	// ConcernsNobody : it will pass (time-out, 5xx, 429, garbage, no network).
	ConcernsNobody Concern = iota
	// ConcernsGrant : invalid_grant.
	ConcernsGrant
	// ConcernsClient : invalid_client, unauthorized_client.
	ConcernsClient
	// ConcernsUnclear : a definite refusal that does not say what is wrong.
	ConcernsUnclear
)

// Refusal is a failed call, as far as it matters here.
type Refusal struct {
	Concern Concern
	// Unauthorized : the client is known but may not do this.
	Unauthorized bool
	Message      string
	RetryAfter   time.Duration
	// OutcomeUnknown : the request was sent and no complete answer came.
	OutcomeUnknown bool
}

// Call is one call that was made: what it was, for which input, and when it was sent.
type Call struct {
	Action    Action
	ID        string
	InputHash string
	// InputVersion is the version of the Secret that the input came from.
	InputVersion string
	Basis        string
	UID          string
	SentAt       time.Time
}

// Begin returns the record with the mark that has to be written before the call.
func Begin(r *Record, call Call, process, request string) *Record {
	next := r.clone()
	next.Attempt = &Attempt{ID: call.ID, Process: process, Action: call.Action, InputHash: call.InputHash, StartedAt: call.SentAt}
	next.RefreshRequest = request
	return next
}

// Succeeded returns the record after an answer with tokens. What the answer leaves out is kept: a refresh token that
// came earlier stays good when no new one comes (RFC 6749 section 6), and so do scopes (section 5.1).
func Succeeded(r *Record, call Call, t Tokens, now time.Time) *Record {
	next := r.clone()
	next.Attempt, next.Failure, next.InputFailure = nil, nil, nil
	old := r.RefreshToken
	next.Tokens = t
	if next.RefreshToken.IsEmpty() && call.Action != Issue {
		next.RefreshToken, next.RefreshTokenExpiresAt = old, r.RefreshTokenExpiresAt
	}
	if len(next.Scopes) == 0 && call.Action == Refresh {
		next.Scopes = r.Scopes
	}
	if call.Action == Refresh {
		next.GrantType, next.ID, next.Subject, next.RequestedScopes = r.GrantType, r.ID, r.Subject, r.RequestedScopes
	}
	next.countRotation(call.Action, old)
	if call.Action == Exchange || call.Action == Import {
		next.spend(call)
		next.Authorization = &Authorization{ID: call.ID, Result: AuthorizationSucceeded, At: now}
	}
	next.stamp(call.Action, now)
	return next
}

// countRotation keeps the refresh token that an authorization replaced, and learns from refreshes whether the provider
// rotates.
func (r *Record) countRotation(action Action, old sensitive.String) {
	changed := !old.IsEmpty() && !r.RefreshToken.Equal(old)
	switch {
	case action == Refresh && changed:
		r.Unrotated = 0
	case action == Refresh:
		r.Unrotated++
	case changed:
		r.Unrotated = 0
		r.replace(old)
	}
}

func (r *Record) replace(old sensitive.String) {
	r.Replaced = append(r.Replaced, old)
	r.Replaced = r.Replaced[max(0, len(r.Replaced)-keptReplaced):]
}

func (r *Record) spend(call Call) { r.SpentInput, r.InputVersion = call.InputHash, call.InputVersion }

func (r *Record) stamp(action Action, now time.Time) {
	if r.FirstAuthorizedAt.IsZero() {
		r.FirstAuthorizedAt = now
	}
	if action == Exchange || action == Import || r.AuthorizedAt.IsZero() {
		r.AuthorizedAt = now
	}
	if action == Refresh || action == Issue {
		r.RefreshedAt = now
	}
}

// Failed returns the record after a call without tokens. rescued is a refresh token that came with an otherwise
// useless answer, or empty: it replaces the one that was spent for it.
func Failed(r *Record, call Call, refusal Refusal, rescued sensitive.String, now time.Time) *Record {
	next := r.clone()
	next.Attempt = nil
	if !rescued.IsEmpty() {
		next.rescue(call, rescued)
		refusal.OutcomeUnknown = false
	}
	if call.Action == Exchange || call.Action == Import || !r.Held() {
		next.failInput(r, call, refusal, now)
		return next
	}
	next.Failure = fail(r.Failure, call, refusal, now)
	return next
}

func (r *Record) rescue(call Call, rescued sensitive.String) {
	if call.Action != Refresh && !r.RefreshToken.IsEmpty() {
		r.replace(r.RefreshToken)
	}
	r.RefreshToken = rescued
	if r.GrantType == "" {
		r.GrantType = AuthorizationCode
	}
}

func (r *Record) failInput(before *Record, call Call, refusal Refusal, now time.Time) {
	previous := before.InputFailure
	if previous != nil && previous.InputHash != call.InputHash {
		previous = nil
	}
	r.InputFailure = fail(previous, call, refusal, now)
	if call.Action == Issue {
		return
	}
	if r.InputFailure.Terminal || !r.RefreshToken.Equal(before.RefreshToken) {
		r.spend(call)
		result := AuthorizationFailed
		if r.InputFailure.OutcomeUnknown {
			result = AuthorizationUnknown
		}
		r.Authorization = &Authorization{
			ID: call.ID, Result: result, Reason: r.InputFailure.Reason, Message: r.InputFailure.Message, At: now,
		}
	}
	if r.Held() && r.InputFailure.Terminal {
		r.InputFailure = nil // It concerned the new code alone, and Authorization says so.
	}
}

// fail judges one failure in the light of those before it.
func fail(previous *Failure, call Call, refusal Refusal, now time.Time) *Failure {
	f := &Failure{
		Message: refusal.Message, Count: 1, FirstAt: now, LastAt: now, Basis: call.Basis, InputHash: call.InputHash,
		OutcomeUnknown: refusal.OutcomeUnknown,
	}
	uncertain := false
	if previous != nil {
		f.Count, f.FirstAt = previous.Count+1, previous.FirstAt
		uncertain = previous.OutcomeUnknown
	}
	switch refusal.Concern {
	case ConcernsGrant:
		f.Reason, f.Terminal = reasonInvalidGrant, true
		if uncertain {
			f.Reason = reasonRefreshOutcomeUnknown
		}
	case ConcernsClient:
		f.Reason = reasonInvalidClient
		if refusal.Unauthorized {
			f.Reason = reasonUnauthorizedClient
		}
		f.OutcomeUnknown = uncertain
		f.NextAttemptAt = now.Add(backoff(1, transientLimit, call.UID))
	case ConcernsUnclear:
		f.OutcomeUnknown = uncertain
		f.reject(previous, call, refusal, now)
	case ConcernsNobody:
		f.Reason = reasonProviderUnavailable
		f.OutcomeUnknown = f.OutcomeUnknown || uncertain
		f.NextAttemptAt = now.Add(transientBackoff(f.Count, refusal.RetryAfter, call.UID))
		if call.Action == Exchange && refusal.OutcomeUnknown {
			f.Reason, f.Terminal, f.NextAttemptAt = reasonExchangeOutcomeUnknown, true, time.Time{}
		}
	}
	return f
}

// reject handles a definite refusal that names no OAuth error. It proves nothing about a refresh token, so it is tried
// again; a code is never sent again after an answer.
func (f *Failure) reject(previous *Failure, call Call, refusal Refusal, now time.Time) {
	f.Reason = reasonRefreshRejected
	if previous == nil || previous.Reason != reasonRefreshRejected || previous.Basis != call.Basis || previous.Terminal {
		f.Count, f.FirstAt = 1, now
	}
	switch {
	case call.Action == Exchange:
		f.Reason, f.Terminal = reasonExchangeRejected, true
	case f.Count >= rejectionAttempts:
		f.Terminal = true
		if f.OutcomeUnknown {
			f.Reason = reasonRefreshOutcomeUnknown
		}
	default:
		f.NextAttemptAt = now.Add(rejectionBackoff(f.Count, refusal.RetryAfter, call.UID))
	}
}

// Interrupted returns the record after the process that was calling has died: the outcome is unknown, and never called
// a success.
func Interrupted(r *Record, basis string, now time.Time) *Record {
	attempt := r.Attempt
	call := Call{
		Action: attempt.Action, ID: attempt.ID, InputHash: attempt.InputHash, Basis: basis,
		UID: r.Connection.UID, InputVersion: r.InputVersion,
	}
	next := Failed(r, call, Refusal{
		Concern: ConcernsNobody, OutcomeUnknown: true,
		Message: "the operator stopped during the call; the provider's answer, if there was one, is lost",
	}, sensitive.String{}, now)
	for _, failure := range []*Failure{next.Failure, next.InputFailure} {
		if failure != nil && failure.Reason == reasonProviderUnavailable && failure.LastAt.Equal(now) {
			failure.Reason, failure.NextAttemptAt = reasonRefreshOutcomeUnknown, time.Time{}
		}
	}
	return next
}

// Remembered returns the record with what was seen without calling anybody: an unchanged input in a new version of its
// Secret, and a refresh request that nothing can be done about.
func Remembered(r *Record, input Input, request string) *Record {
	next := r.clone()
	if input.State == InputPresent && input.Hash == r.SpentInput {
		next.InputVersion = input.Version
	}
	next.RefreshRequest = request
	return next
}

// RevocationFailed returns the record after a failed revocation.
func RevocationFailed(r *Record, message string, retryAfter time.Duration, now time.Time) *Record {
	next := r.clone()
	count := 1
	if r.Revocation != nil {
		count = r.Revocation.Count + 1
	}
	wait := max(backoff(count, revocationLimit, r.Connection.UID), retryAfter)
	next.Revocation = &Revocation{Count: count, Message: message, NextAttemptAt: now.Add(wait)}
	return next
}

// RevocationDone returns the record after the provider has answered for every token; unrevoked says in words which ones
// it refused to revoke.
func RevocationDone(r *Record, unrevoked string) *Record {
	next := r.clone()
	next.Revocation = &Revocation{Done: true, Unrevoked: unrevoked}
	return next
}

// Merge fits an outcome to a record that others have written meanwhile. before is the record that the call started
// from (nil: none), outcome what it became by the call, current what is stored now. What the call obtained is never
// dropped: it becomes the grant, unless somebody has obtained another one since; then it is kept to be revoked.
func Merge(before, outcome, current *Record) *Record {
	mine := before != nil && before.Attempt != nil && current.Attempt != nil && current.Attempt.ID == before.Attempt.ID
	untouched := before == nil || current.RefreshToken.Equal(before.RefreshToken) && current.AccessToken.Equal(before.AccessToken)
	obtained := before == nil || !outcome.RefreshToken.Equal(before.RefreshToken) || !outcome.AccessToken.Equal(before.AccessToken)
	switch {
	case mine, obtained && untouched && current.Attempt == nil:
		next := outcome.clone()
		next.OrphanedSince, next.Heir = current.OrphanedSince, current.Heir
		return next
	case obtained && untouched:
		// Another call is under way with what was spent here; its own outcome is merged with this one.
		next := outcome.clone()
		next.Attempt = current.Attempt
		return next
	case obtained && !outcome.RefreshToken.IsEmpty() && !outcome.RefreshToken.Equal(current.RefreshToken):
		next := current.clone()
		next.replace(outcome.RefreshToken)
		return next
	}
	return current
}
