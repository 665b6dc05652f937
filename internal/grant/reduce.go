// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// tooLarge tells that the API server will never take this record. A record of a size that Secrets may have is not refused
// for good: then a policy of the cluster is in the way, which people can correct, and the tokens are worth waiting for.
func tooLarge(err error, r *lifecycle.Record) bool {
	if !apierrors.IsInvalid(err) {
		return apierrors.IsRequestEntityTooLargeError(err)
	}
	content, encodeErr := encode(r)
	return encodeErr == nil && len(content) > corev1.MaxSecretSize
}

// reduction makes a record smaller. stored is what the API server holds now; nil: nothing.
type reduction struct {
	remedy string
	apply  func(stored, outcome *lifecycle.Record, now time.Time) *lifecycle.Record
}

// reductions are tried in this order, each on the result of the one before. The refresh token goes last: nothing else
// can be obtained again without a person.
func reductions() []reduction {
	return []reduction{
		{"the granted scopes and the tokens of earlier grants are left out", withoutHistory},
		{"the access token is left out, the refresh token is kept", withoutAccess},
		{"the answer is given up, what was stored before stays", withoutAnswer},
		{"of what was stored before, scopes and the tokens of earlier grants are left out", withoutHistory},
	}
}

// withoutHistory leaves out what renewing the grant does not need. What was asked for stays: it is bounded by the API, and
// without it an application's own token would be issued again and again.
func withoutHistory(_, outcome *lifecycle.Record, _ time.Time) *lifecycle.Record {
	next := *outcome
	next.Scopes, next.Previous, next.Replaced = nil, sensitive.String{}, nil
	next.Captured, next.IDToken = nil, sensitive.String{}
	if outcome.Candidate != nil {
		candidate := *outcome.Candidate
		candidate.Scopes, candidate.Captured, candidate.IDToken = nil, nil, sensitive.String{}
		next.Candidate = &candidate
	}
	return &next
}

const tooLargeMessage = "the provider's answer does not fit into a Secret"

// withoutAccess keeps the refresh token alone, to be revoked, or used on request. The next answer would be as large, so the
// failure has a reason that leads to no call by itself, whatever has changed.
func withoutAccess(stored, outcome *lifecycle.Record, now time.Time) *lifecycle.Record {
	if outcome.RefreshToken.IsEmpty() || outcome.Candidate != nil {
		return withoutAnswer(stored, outcome, now)
	}
	next := *outcome
	next.AccessToken, next.Expiry, next.RequestedScopes = sensitive.String{}, lifecycle.Expiry{}, nil
	next.Failure = &lifecycle.Failure{
		Reason: v1alpha1.ReasonInvalidGrant, Message: tooLargeMessage + ": only its refresh token is kept",
		Count: 1, FirstAt: now, LastAt: now, Terminal: true,
	}
	return &next
}

// withoutAnswer is what was stored before the call, as if the provider had refused: the credential that was sent may be
// spent, and the one that came for it cannot be kept.
func withoutAnswer(stored, outcome *lifecycle.Record, now time.Time) *lifecycle.Record {
	if stored == nil {
		stored = &lifecycle.Record{Connection: outcome.Connection, Application: outcome.Application, Owner: outcome.Owner}
	}
	call := lifecycle.Call{Action: lifecycle.Issue, UID: stored.Connection.UID, InputVersion: outcome.InputVersion}
	if mark := stored.Attempt; mark != nil {
		if outcome.Attempt != nil && outcome.Attempt.ID == mark.ID {
			return stored // Another call than ours is under way, and has the say.
		}
		call.Action, call.ID, call.InputHash = mark.Action, mark.ID, mark.InputHash
	}
	refusal := lifecycle.Refusal{Concern: lifecycle.ConcernsGrant, Message: tooLargeMessage + ", so its tokens are lost"}
	return lifecycle.Failed(stored, call, refusal, sensitive.String{}, now)
}

// unstored stands for a record that could not be written.
func unstored(target *Entry, outcome *lifecycle.Record) *Entry {
	if target != nil {
		return target
	}
	return &Entry{Record: outcome, secret: &corev1.Secret{}}
}

// record is nil without an entry.
func (e *Entry) record() *lifecycle.Record {
	if e == nil {
		return nil
	}
	return e.Record
}
