// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"maps"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// propose keeps a new authorization beside the grant that is held, until it is known whose it is.
func (r *Record) propose(call Call, t Tokens, now time.Time) {
	if r.Candidate != nil {
		r.keepReplaced(r.Candidate.RefreshToken)
	}
	r.Candidate = &Candidate{Tokens: t, Call: call.login(), ObtainedAt: now, Inputs: call.Inputs}
	r.Device, r.InputFailure = nil, nil
	if call.Action == Exchange || call.Action == Import {
		r.spend(call)
	}
}

// accountUnknown is the message of an authorization whose account could not be compared.
const accountUnknown = "the provider does not say with which account; the new grant was taken in place of the old one"

// Settled returns the record after its candidate has been judged: the same account replaces the old grant, which is not
// revoked, because some providers revoke for the whole account; another one is refused and will be revoked. Where either
// account is unknown the new grant is taken, with a word about it.
func Settled(r *Record, now time.Time) *Record {
	next := r.clone()
	c := next.Candidate
	if c.Subject != "" && r.Subject != "" && c.Subject != r.Subject {
		c.Refused = true
		next.Authorization = mismatch(r, "is being revoked", now)
		return next
	}
	next.Candidate = nil
	call := Call{Action: actionOf(c.GrantType), ID: c.Call, Inputs: c.Inputs}
	if c.AccessToken.IsEmpty() {
		next.Failure, next.Standing = nil, nil
		next.rescue(call, c.RefreshToken, now)
	} else {
		next.obtain(r, call, c.Tokens)
		next.Lookup = c.Lookup
	}
	next.Authorization = &Authorization{ID: c.Call, Result: AuthorizationSucceeded, At: now}
	if c.Subject == "" || r.Subject == "" {
		next.Authorization.Message = accountUnknown
	}
	next.InvitedUntil = time.Time{}
	next.stamp(call.Action, c.ObtainedAt)
	return next
}

func actionOf(grantType GrantType) Action {
	switch grantType {
	case RefreshToken:
		return Import
	case DeviceCode:
		return Poll
	case AuthorizationCode, ClientCredentials, JWTBearer, TokenExchange, Extension:
	}
	return Exchange
}

// mismatch tells of a candidate of another account, and what becomes of its tokens.
func mismatch(r *Record, fate string, at time.Time) *Authorization {
	return &Authorization{
		ID: r.Candidate.Call, Result: AuthorizationFailed, Reason: v1alpha1.ReasonAccountMismatch, At: at,
		Message: fmt.Sprintf("authorized by account %q, but this connection belongs to account %q; the old grant is kept and the new one %s. "+
			"Authorize with the same account, or delete this connection and create another one", r.Candidate.Subject, r.Subject, fate),
	}
}

// leave forgets a refused candidate, and says what became of its tokens unless somebody has authorized since.
func (r *Record) leave(fate string) {
	if a := r.Authorization; a != nil && a.ID == r.Candidate.Call {
		r.Authorization = mismatch(r, fate, a.At)
	}
	r.Candidate = nil
}

// CandidateRevoked returns the record after the provider has answered for the tokens of a refused candidate; unrevoked says
// in words what could not be revoked, empty: nothing.
func CandidateRevoked(r *Record, unrevoked string) *Record {
	next := r.clone()
	fate := "was revoked"
	if unrevoked != "" {
		fate = "could not be revoked (" + unrevoked + "): end it at the provider"
	}
	next.leave(fate)
	return next
}

// CandidateNotRevoked returns the record after a failed attempt to revoke a refused candidate. After a few of them its
// refresh token is left to the deletion of the connection.
func CandidateNotRevoked(r *Record, message string, retryAfter time.Duration, now time.Time) *Record {
	next := r.clone()
	c := next.Candidate
	c.Revoking++
	if c.Revoking < candidateAttempts {
		c.NextAttemptAt = now.Add(transientBackoff(c.Revoking, retryAfter, r.Connection.UID))
		return next
	}
	next.keepReplaced(c.RefreshToken)
	remedy := "end it at the provider"
	if !c.RefreshToken.IsEmpty() {
		remedy = "that is tried again when this connection is deleted; or " + remedy
	}
	next.leave("could not be revoked (" + message + "): " + remedy)
	return next
}

// Identified returns the record after the account has been looked up; an empty subject means that there is none to be
// had. It is the candidate's account while there is one that is not judged yet.
func Identified(r *Record, subject string, captured map[string]string) *Record {
	next := r.clone()
	tokens, lookup := next.pending()
	if subject != "" {
		tokens.Subject = subject
	}
	if len(captured) > 0 {
		all := map[string]string{}
		maps.Copy(all, tokens.Captured)
		maps.Copy(all, captured)
		tokens.Captured = all
	}
	tokens.IDToken = sensitive.String{}
	*lookup = Lookup{Done: true}
	return next
}

// NotIdentified returns the record after a lookup that has to be tried again.
func NotIdentified(r *Record, message string, retryAfter time.Duration, now time.Time) *Record {
	next := r.clone()
	_, lookup := next.pending()
	lookup.Count++
	lookup.Message = message
	limit := transientLimit
	if lookup == &next.Lookup {
		limit = lookupLimit // Nobody waits for it.
	}
	lookup.NextAttemptAt = now.Add(max(backoff(lookup.Count, limit, r.Connection.UID), retryAfter))
	return next
}

// Unidentified returns the tokens whose account is looked up next: the candidate's, or those that are held.
func (r *Record) Unidentified() *Tokens {
	tokens, _ := r.pending()
	return tokens
}

func (r *Record) pending() (*Tokens, *Lookup) {
	if r.Candidate != nil && !r.Candidate.Refused {
		return &r.Candidate.Tokens, &r.Candidate.Lookup
	}
	return &r.Tokens, &r.Lookup
}
