// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
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
	// ConcernsSetup : the request could not be made: something in the cluster that it is made of is missing or wrong.
	ConcernsSetup
)

// Refusal is a failed call, as far as it matters here.
type Refusal struct {
	Concern Concern
	// Reason in place of the usual one, for ConcernsGrant and ConcernsSetup.
	Reason string
	// Unauthorized : the client is known but may not do this.
	Unauthorized bool
	Message      string
	RetryAfter   time.Duration
	// OutcomeUnknown : the request was sent and no complete answer came.
	OutcomeUnknown bool
	// interrupted : nobody is left who could have heard the answer.
	interrupted bool
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
	// Inputs are the values of spec.inputs that the request was made with.
	Inputs map[string]string
	// Login identifies the person's login that the code came by; empty: none.
	Login string
	// Marked : the call spends what may work only once, so a mark was written before it.
	Marked bool
}

// Begin returns the record with the mark that has to be written before the call.
func Begin(r *Record, call Call, process, request string) *Record {
	next := r.clone()
	next.Attempt = &Attempt{
		ID: call.ID, Process: process, Action: call.Action, InputHash: call.InputHash, Login: call.Login, StartedAt: call.SentAt,
	}
	next.RefreshRequest = request
	return next
}

// Succeeded returns the record after an answer with tokens. What the answer leaves out is kept: a refresh token that
// came earlier stays good when no new one comes (RFC 6749 section 6), and so do scopes (section 5.1). After an Import
// without a new refresh token, t has to hold the one that was imported: only the caller knows it. A new authorization
// of a grant that is held becomes the candidate: see Settled.
func Succeeded(r *Record, call Call, t Tokens, now time.Time) *Record {
	next := r.clone()
	next.Attempt, next.Doubted = nil, false
	if call.Action.authorizes() && r.Held() {
		next.propose(call, t, now)
		return next
	}
	next.obtain(r, call, t)
	if call.Action.authorizes() {
		next.authorize(call, now)
	}
	next.stamp(call.Action, now)
	return next
}

// obtain takes tokens over.
func (r *Record) obtain(before *Record, call Call, t Tokens) {
	r.Failure, r.Standing, r.Device, r.Hint = nil, nil, nil, nil
	old := before.RefreshToken
	r.Tokens, r.Inputs = t, call.Inputs
	if r.RefreshToken.IsEmpty() && call.Action != Issue {
		r.RefreshToken = old
	}
	if r.RefreshTokenExpiresAt.IsZero() && r.RefreshToken.Equal(old) {
		r.RefreshTokenExpiresAt = before.RefreshTokenExpiresAt
	}
	if call.Action == Refresh {
		r.inherit(before)
	} else {
		r.InputFailure, r.Lookup = nil, Lookup{}
	}
	if call.Action == Issue && call.InputHash != "" {
		r.spend(call)
	}
	if r.RefreshToken.IsEmpty() && !before.AccessToken.Equal(r.AccessToken) {
		r.Previous = before.AccessToken
	}
	r.countRotation(call.Action, before)
}

// authorize notes that a code, an import or a device code has brought the grant.
func (r *Record) authorize(call Call, now time.Time) {
	if call.Action == Exchange || call.Action == Import {
		r.spend(call)
	}
	r.Device, r.InputFailure, r.InvitedUntil = nil, nil, time.Time{}
	r.Authorization = &Authorization{ID: call.login(), Result: AuthorizationSucceeded, At: now}
}

// login identifies the authorization: by the person's login, else by the call.
func (c Call) login() string { return cmp.Or(c.Login, c.ID) }

// inherit keeps what a refresh does not change, or does not say again.
func (r *Record) inherit(before *Record) {
	r.GrantType, r.RequestedScopes = before.GrantType, before.RequestedScopes
	r.ID, r.Subject = cmp.Or(before.ID, r.ID), cmp.Or(before.Subject, r.Subject)
	if len(before.Captured) > 0 {
		captured := maps.Clone(before.Captured)
		maps.Copy(captured, r.Captured)
		r.Captured = captured
	}
	if len(r.Scopes) == 0 {
		r.Scopes = before.Scopes
	}
	if r.Lookup.Done {
		r.IDToken = sensitive.String{}
	}
}

// countRotation keeps the refresh token that an authorization replaced, and learns from refreshes whether the provider
// rotates. Without a refresh token it is the access token that is exchanged, and replaced.
func (r *Record) countRotation(action Action, before *Record) {
	old := before.RefreshToken
	changed := !old.IsEmpty() && !r.RefreshToken.Equal(old)
	exchanged := old.IsEmpty() && !r.AccessToken.Equal(before.AccessToken)
	switch {
	case action == Refresh && (changed || exchanged):
		r.Unrotated = 0
	case action == Refresh:
		r.Unrotated++
	case changed:
		r.Unrotated = 0
		r.keepReplaced(old)
	}
}

// keepReplaced remembers refresh tokens that are no longer used, so that a deletion revokes them too.
func (r *Record) keepReplaced(tokens ...sensitive.String) {
	for _, token := range tokens {
		if token.IsEmpty() || token.Equal(r.RefreshToken) || slices.ContainsFunc(r.Replaced, token.Equal) {
			continue
		}
		r.Replaced = append(r.Replaced, token)
	}
	r.Replaced = r.Replaced[max(0, len(r.Replaced)-keptReplaced):]
}

func (r *Record) spend(call Call) {
	if (call.Action == Exchange || call.Action == Import) && r.SpentInput != "" && r.SpentInput != call.InputHash {
		r.SpentBefore = append(r.SpentBefore, r.SpentInput)
		r.SpentBefore = r.SpentBefore[max(0, len(r.SpentBefore)-keptSpent):]
	}
	r.SpentInput, r.InputVersion = call.InputHash, call.InputVersion
}

func (r *Record) stamp(action Action, now time.Time) {
	if r.FirstAuthorizedAt.IsZero() {
		r.FirstAuthorizedAt = now
	}
	if action.authorizes() || r.AuthorizedAt.IsZero() {
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
	previous := r.Failure
	switch {
	case rescued.IsEmpty():
	case call.Action.authorizes() && r.Held():
		next.propose(call, Tokens{RefreshToken: rescued, GrantType: call.Action.grantType()}, now)
		return next
	default:
		next.rescue(call, rescued, now)
		refusal.OutcomeUnknown = false
		previous = previous.forNewCredential()
	}
	if call.Action.authorizes() || call.Action == StartDevice || !r.Held() {
		next.failInput(r, call, refusal, now)
		return next
	}
	next.Failure = fail(previous, call, refusal, now)
	if r.GrantType == DeviceCode && next.Failure.Terminal {
		next.Device, next.InputFailure = nil, nil // A person is asked from the beginning.
	}
	if r.Hint != nil && refusal.Concern == ConcernsGrant {
		next.bearOut("it refuses the refresh token: "+refusal.Message, now)
	}
	return next
}

func (r *Record) rescue(call Call, rescued sensitive.String, now time.Time) {
	old := r.RefreshToken
	r.RefreshToken = rescued
	if !old.Equal(rescued) {
		r.Unrotated = 0
	}
	if !call.Action.authorizes() {
		return
	}
	r.GrantType, r.Device = call.Action.grantType(), nil
	r.keepReplaced(old)
	r.stamp(call.Action, now)
}

// forNewCredential keeps of a failure how often calls have failed, not what it said about a refresh token that is no
// longer used.
func (f *Failure) forNewCredential() *Failure {
	if f == nil {
		return nil
	}
	return &Failure{Reason: v1alpha1.ReasonProviderUnavailable, Count: f.Count, FirstAt: f.FirstAt, Basis: f.Basis}
}

func (r *Record) failInput(before *Record, call Call, refusal Refusal, now time.Time) {
	previous := before.InputFailure
	if previous != nil && previous.InputHash != call.InputHash {
		previous = nil
	}
	r.InputFailure = fail(previous, call, refusal, now)
	rescued := !r.RefreshToken.Equal(before.RefreshToken)
	if call.Action == Issue || (!r.InputFailure.Terminal && !rescued) {
		return
	}
	result := AuthorizationFailed
	if r.InputFailure.unanswered() {
		result = AuthorizationUnknown
	}
	r.Authorization = &Authorization{
		ID: call.login(), Result: result, Reason: r.InputFailure.Reason, Message: r.InputFailure.Message, At: now,
	}
	if call.Action == Poll || call.Action == StartDevice {
		r.Device = nil
		return
	}
	if !rescued && r.InputFailure.spares(call, refusal) {
		if call.Login != "" {
			r.InputFailure = nil // It may be brought again when what stood in its way is mended.
		}
		return
	}
	r.spend(call)
	if r.Held() {
		r.InputFailure = nil // It concerned the new code alone, and Authorization says so.
	}
}

// spares tells that a failure that ends an attempt says nothing against the refresh token itself. One that a caller has brought is
// not kept by the spec: what the provider says against the client ends its login, and not answering at all ends the token.
func (f *Failure) spares(call Call, refusal Refusal) bool {
	if call.Action == Import && call.Login != "" {
		return !f.unanswered() && (f.undecided() || refusal.Concern == ConcernsClient)
	}
	return f.undecided()
}

// fail judges one failure in the light of those before it.
func fail(previous *Failure, call Call, refusal Refusal, now time.Time) *Failure {
	f := &Failure{
		Message: refusal.Message, Count: 1, FirstAt: now, LastAt: now, Basis: call.Basis, InputHash: call.InputHash,
		OutcomeUnknown: refusal.OutcomeUnknown && call.Action.SpendsCredential(),
	}
	uncertain := false
	if previous != nil {
		f.Count, f.FirstAt = previous.Count+1, previous.FirstAt
		uncertain = previous.OutcomeUnknown || previous.Reason == v1alpha1.ReasonRefreshOutcomeUnknown
	}
	if previous.stands(call) && refusal.Concern != ConcernsGrant {
		return previous.again(f)
	}
	switch refusal.Concern {
	case ConcernsGrant:
		f.Reason, f.Terminal = cmp.Or(refusal.Reason, v1alpha1.ReasonInvalidGrant), true
		if uncertain {
			f.Reason = v1alpha1.ReasonRefreshOutcomeUnknown
		}
	case ConcernsSetup:
		f.Reason, f.InputVersion = refusal.Reason, call.InputVersion
		f.OutcomeUnknown = uncertain
		f.NextAttemptAt = now.Add(backoff(f.Count, transientLimit, call.UID))
	case ConcernsClient:
		f.Reason = v1alpha1.ReasonInvalidClient
		if refusal.Unauthorized {
			f.Reason = v1alpha1.ReasonUnauthorizedClient
		}
		f.OutcomeUnknown = uncertain
		if call.Login != "" {
			f.Terminal = true // A person waits: better to hear what is wrong, and to click again, than to watch a code die.
			break
		}
		f.NextAttemptAt = now.Add(backoff(1, transientLimit, call.UID))
	case ConcernsUnclear:
		f.OutcomeUnknown = uncertain
		f.reject(previous, call, refusal, now)
	case ConcernsNobody:
		f.OutcomeUnknown = f.OutcomeUnknown || uncertain
		f.passing(call, refusal, uncertain, now)
	}
	return f
}

// passing handles what will pass by itself, but for what may be spent: a code is never sent again, and a refresh token that a
// caller has brought once; uncertain tells that it was sent without an answer before.
func (f *Failure) passing(call Call, refusal Refusal, uncertain bool, now time.Time) {
	switch {
	case call.Action == Exchange && refusal.OutcomeUnknown:
		f.Reason, f.Terminal = v1alpha1.ReasonExchangeOutcomeUnknown, true
	case call.Action == Import && call.Login != "" && refusal.OutcomeUnknown && uncertain:
		f.Reason, f.Terminal = v1alpha1.ReasonRefreshOutcomeUnknown, true
		f.Message += "; it was sent twice, and nobody knows what has become of it"
	case refusal.interrupted:
		f.Reason = v1alpha1.ReasonRefreshOutcomeUnknown
	default:
		f.Reason = v1alpha1.ReasonProviderUnavailable
		f.NextAttemptAt = now.Add(transientBackoff(f.Count, refusal.RetryAfter, call.UID))
	}
}

// stands tells that a terminal failure was not reconsidered because of a changed configuration: the call was the one
// attempt that a request may make.
func (f *Failure) stands(call Call) bool {
	return f != nil && f.Terminal && (f.Basis == call.Basis || (call.Action != Issue && !f.undecided()))
}

// onRequest introduces how the one attempt of a request ended.
const onRequest = "; the attempt that was requested failed too: "

// again is a terminal failure after an attempt on request that has proved nothing better.
func (f *Failure) again(latest *Failure) *Failure {
	first, _, _ := strings.Cut(f.Message, onRequest)
	next := *f
	next.Message, next.Count, next.LastAt = first+onRequest+latest.Message, latest.Count, latest.LastAt
	return &next
}

// reject handles a definite refusal that names no OAuth error. It proves nothing about a refresh token, so it is tried
// again; a code is never sent again after an answer.
func (f *Failure) reject(previous *Failure, call Call, refusal Refusal, now time.Time) {
	f.Reason = v1alpha1.ReasonRefreshRejected
	if previous == nil || previous.Reason != v1alpha1.ReasonRefreshRejected || previous.Basis != call.Basis {
		f.Count, f.FirstAt = 1, now
	}
	switch {
	case call.Action == Exchange, call.Action == StartDevice, call.Action == Poll:
		f.Reason, f.Terminal = v1alpha1.ReasonExchangeRejected, true
	case f.Count >= rejectionAttempts && now.Sub(f.FirstAt) >= rejectionPeriod:
		f.Terminal = true
		if f.OutcomeUnknown {
			f.Reason = v1alpha1.ReasonRefreshOutcomeUnknown
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
		Action: attempt.Action, ID: attempt.ID, InputHash: attempt.InputHash, Login: attempt.Login, Basis: basis,
		UID: r.Connection.UID, InputVersion: r.InputVersion,
	}
	return Failed(r, call, Refusal{
		Concern: ConcernsNobody, OutcomeUnknown: true, interrupted: true,
		Message: "the operator stopped during the call; the provider's answer, if there was one, is lost",
	}, sensitive.String{}, now)
}

// Remembered returns the record with what was seen without calling anybody: an unchanged input in a new version of its
// Secret, and a refresh request that nothing can be done about.
func Remembered(r *Record, input Input, request string) *Record {
	next := r.clone()
	if input.State == InputPresent && r.HasSpent(input.Hash) {
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
// from, its mark included (nil: none), outcome what it became by the call, current what is stored now. What the call
// obtained is never dropped: it becomes the grant, unless somebody has obtained another one since; then it is kept to be
// revoked. A new authorization goes before a refresh of the grant that it replaces.
func Merge(before, outcome, current *Record) *Record {
	if before == nil {
		before = &Record{}
	}
	mine := before.Attempt != nil && current.Attempt != nil && current.Attempt.ID == before.Attempt.ID
	// Some providers answer a refresh with the same access token, and a later expiry.
	obtained := !outcome.sameTokens(before) || !outcome.IssuedAt.Equal(before.IssuedAt)
	next := current.clone()
	switch {
	case outcome.newCandidate(before):
		next.mergeCandidate(before, outcome, current)
	case obtained:
		next.mergeTokens(before, outcome, current)
	case mine && current.sameTokens(before):
		next.Failure = outcome.Failure
		if outcome.Standing != nil {
			next.Standing = outcome.Standing
		}
	case !mine:
		return current
	}
	next.mergeInput(before, outcome)
	next.mergeHint(before, outcome)
	if mine {
		next.Attempt = nil
	}
	return next
}

// mergeCandidate takes a new authorization over, unless somebody has authorized since: then it is kept to be revoked.
func (r *Record) mergeCandidate(before, outcome, current *Record) {
	if current.newCandidate(before) || !current.AuthorizedAt.Equal(before.AuthorizedAt) {
		r.keepReplaced(outcome.Candidate.RefreshToken)
		return
	}
	if current.Candidate != nil {
		r.keepReplaced(current.Candidate.RefreshToken)
	}
	r.Candidate, r.Device = outcome.Candidate, outcome.Device
}

// mergeTokens takes tokens over, unless others came since that a person has not just replaced.
func (r *Record) mergeTokens(before, outcome, current *Record) {
	untouched := current.sameTokens(before)
	authorized := outcome.AuthorizedAt.After(before.AuthorizedAt) && current.AuthorizedAt.Equal(before.AuthorizedAt)
	r.keepReplaced(outcome.Replaced...)
	if !untouched && !authorized {
		r.keepReplaced(outcome.RefreshToken)
		return
	}
	r.Tokens, r.Failure, r.Unrotated = outcome.Tokens, outcome.Failure, outcome.Unrotated
	r.Lookup, r.Inputs, r.Standing, r.Doubted = outcome.Lookup, outcome.Inputs, outcome.Standing, outcome.Doubted
	r.Device, r.Previous, r.InvitedUntil = outcome.Device, outcome.Previous, outcome.InvitedUntil
	r.FirstAuthorizedAt = cmp.Or(current.FirstAuthorizedAt, outcome.FirstAuthorizedAt)
	r.AuthorizedAt, r.RefreshedAt = outcome.AuthorizedAt, outcome.RefreshedAt
	if !untouched {
		r.keepReplaced(current.RefreshToken)
	}
}

// newCandidate tells whether there is a candidate that was not there before.
func (r *Record) newCandidate(before *Record) bool {
	return r.Candidate != nil && (before.Candidate == nil || r.Candidate.Call != before.Candidate.Call)
}

// mergeInput takes over what a call has found out about its own input, unless a later input was tried meanwhile.
func (r *Record) mergeInput(before, outcome *Record) {
	if r.RefreshRequest == before.RefreshRequest {
		r.RefreshRequest = outcome.RefreshRequest
	}
	refreshed := before.Attempt != nil && before.Attempt.Action == Refresh
	if refreshed || (r.SpentInput != before.SpentInput && r.SpentInput != outcome.SpentInput) {
		return
	}
	r.SpentInput, r.InputVersion, r.SpentBefore = outcome.SpentInput, outcome.InputVersion, outcome.SpentBefore
	r.InputFailure, r.Authorization = outcome.InputFailure, outcome.Authorization
}

// mergeHint drops a report that the call has answered; one that came meanwhile is not.
func (r *Record) mergeHint(before, outcome *Record) {
	if before.Hint != nil && outcome.Hint == nil && r.Hint != nil && r.Hint.ID == before.Hint.ID {
		r.Hint = nil
	}
}

func (r *Record) sameTokens(other *Record) bool {
	return r.RefreshToken.Equal(other.RefreshToken) && r.AccessToken.Equal(other.AccessToken)
}
