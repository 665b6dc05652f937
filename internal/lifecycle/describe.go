// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"time"
)

// Phase of a connection; the values are the API's.
type Phase string

// Phases.
const (
	Pending     Phase = "Pending"
	Authorizing Phase = "Authorizing"
	Active      Phase = "Active"
	Inactive    Phase = "Inactive"
	Deleted     Phase = "Deleted"
)

// Reasons that only status has; the values are the API's.
const (
	reasonTokenReady            = "TokenReady"
	reasonGrantHeld             = "GrantHeld"
	reasonNotAllowed            = "NotAllowed"
	reasonNoGateway             = "NoGateway"
	reasonAuthorizationRequired = "AuthorizationRequired"
	reasonSecretNotFound        = "SecretNotFound"
	reasonTokenExpired          = "TokenExpired"
	reasonSuspended             = "Suspended"
	reasonProgressing           = "Progressing"
	reasonSettled               = "Settled"
	reasonDeleting              = "Deleting"
	reasonRevoked               = "Revoked"
)

// Truth is the status of a condition.
type Truth string

// Truths.
const (
	True    Truth = "True"
	False   Truth = "False"
	Unknown Truth = "Unknown"
)

// Condition is one condition with its verdict.
type Condition struct {
	Status          Truth
	Reason, Message string
}

// Publication is what is known about the workload's Secret after this pass.
type Publication struct {
	Name string
	// Current : the Secret holds the record's token.
	Current bool
	// Problem says why it does not.
	Problem *Verdict
	// Before : the Secret has held a token of this connection before.
	Before bool
}

// Summary is what status says.
type Summary struct {
	Phase                                  Phase
	Ready, Authorized, Reconciling, Stalled Condition
	NextRefreshAt                          time.Time
	Failure                                *Failure
}

// Describe derives status from the facts. It never claims more than they prove: Ready is True only while the Secret
// holds a token that works by all we know.
func Describe(f Facts, p Publication, now time.Time) Summary {
	s := Summary{Failure: f.failure(), NextRefreshAt: nextRefresh(f, now)}
	if s.Failure == nil && f.Record != nil {
		s.Failure = f.Record.InputFailure
	}
	verdict := f.verdict(p, now)
	s.Phase = verdict.phase
	s.Ready = Condition{Status: False, Reason: verdict.Reason, Message: verdict.Message}
	if verdict.ready {
		s.Ready.Status = True
	}
	s.Authorized = f.authorized()
	s.Reconciling, s.Stalled = progress(verdict)
	return s
}

// verdict is what condition Ready says, and what follows from it.
type verdict struct {
	Verdict
	ready bool
	phase Phase
}

func (f Facts) verdict(p Publication, now time.Time) verdict {
	switch {
	case f.Deletion != nil:
		return f.deletionVerdict()
	case f.Blocked != nil && f.Blocked.Reason == reasonNotAllowed:
		return verdict{Verdict: *f.Blocked, phase: Pending}
	case !f.Record.Held():
		return f.unheldVerdict(p)
	}
	return f.heldVerdict(p, now)
}

func (f Facts) deletionVerdict() verdict {
	v := verdict{Verdict: Verdict{Reason: reasonDeleting, Message: "being deleted; the tokens are being revoked"}, phase: Inactive}
	if f.Record.Held() {
		v.phase = Active
	}
	if r := f.Record; r != nil && r.Revocation != nil {
		if r.Revocation.Done {
			return verdict{Verdict: Verdict{Reason: reasonRevoked, Message: "revoked at the provider"}, phase: Deleted}
		}
		v.Message = "revocation is tried again: " + r.Revocation.Message
	}
	return v
}

// unheldVerdict explains why there is no grant yet.
func (f Facts) unheldVerdict(p Publication) verdict {
	switch failure := f.failure(); {
	case f.Suspended:
		return verdict{Verdict: Verdict{Reason: reasonSuspended, Message: "spec.suspend is true; nothing is asked of the provider"}, phase: Pending}
	case f.Blocked != nil:
		return verdict{Verdict: *f.Blocked, phase: Pending}
	case failure != nil && failure.Terminal:
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: explain(failure), Stalled: true}, phase: Inactive}
	case f.Pause != nil:
		return verdict{Verdict: Verdict{Reason: f.Pause.Reason, Message: f.Pause.Message}, phase: Pending}
	case failure != nil:
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: explain(failure)}, phase: Pending}
	case p.Problem != nil:
		return verdict{Verdict: *p.Problem, phase: Pending}
	case f.Input.State == InputMissing:
		return verdict{Verdict: Verdict{Reason: reasonSecretNotFound, Message: f.Input.Missing}, phase: Pending}
	case f.GrantType == AuthorizationCode && f.Input.State == InputNone && f.Input.NeedsGateway:
		return verdict{Verdict: Verdict{
			Reason: reasonNoGateway, Stalled: true,
			Message: "a person has to authorize, but the operator knows no gateway (controller --external-url) and no redirect URL; " +
				"or give a code in grant.authorizationCode.codeSecretRef",
		}, phase: Pending}
	case f.GrantType == AuthorizationCode && f.Input.State == InputNone:
		return verdict{Verdict: Verdict{
			Reason: reasonAuthorizationRequired, Stalled: true,
			Message: "waiting for an authorization code: put it into a Secret and name it in grant.authorizationCode.codeSecretRef",
		}, phase: Authorizing}
	}
	return verdict{Verdict: Verdict{Reason: reasonProgressing, Message: "asking the provider for a token"}, phase: Pending}
}

// heldVerdict explains how the token that is held is doing.
func (f Facts) heldVerdict(p Publication, now time.Time) verdict {
	r, failure := f.Record, f.Record.Failure
	expired := r.AccessToken.IsEmpty() || r.Expiry.Passed(now)
	switch {
	case failure != nil && failure.Terminal:
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: explain(failure), Stalled: true}, phase: Inactive}
	case p.Problem != nil && !p.Before:
		return verdict{Verdict: *p.Problem, phase: Pending}
	case p.Problem != nil:
		return verdict{Verdict: *p.Problem, phase: Active}
	case expired && f.renewal() == Wait:
		return verdict{Verdict: Verdict{
			Reason: reasonTokenExpired, Stalled: true,
			Message: "the access token has expired and the provider gave no refresh token; authorize again with a new code",
		}, phase: Inactive}
	case expired:
		return verdict{Verdict: f.expiredVerdict(), phase: Active}
	case !p.Current:
		return verdict{Verdict: Verdict{Reason: reasonProgressing, Message: "the token is being written into Secret " + p.Name}, phase: Active}
	case f.Suspended:
		return verdict{Verdict: Verdict{Reason: reasonSuspended, Message: validity(r) + "; spec.suspend is true, so it is not refreshed"}, ready: true, phase: Active}
	}
	v := verdict{Verdict: Verdict{Reason: reasonTokenReady, Message: validity(r)}, ready: true, phase: Active}
	switch {
	case failure != nil:
		v.Message += "; the last refresh failed: " + explain(failure)
	case f.Blocked != nil:
		v.Message += "; not refreshed at present: " + f.Blocked.Message
	case f.Pause != nil:
		v.Message += "; not refreshed at present: " + f.Pause.Message
	}
	return v
}

// expiredVerdict says why a token that could be renewed has not been.
func (f Facts) expiredVerdict() Verdict {
	failure := f.Record.Failure
	switch {
	case f.Suspended:
		return Verdict{Reason: reasonSuspended, Message: "the access token has expired; spec.suspend is true, so it is not refreshed"}
	case f.Blocked != nil:
		return *f.Blocked
	case f.Pause != nil:
		return Verdict{Reason: f.Pause.Reason, Message: "the access token has expired; " + f.Pause.Message}
	case failure != nil:
		return Verdict{Reason: failure.Reason, Message: "the access token has expired and the refresh failed: " + explain(failure)}
	}
	return Verdict{Reason: reasonProgressing, Message: "the access token has expired; asking the provider for a new one"}
}

func (f Facts) authorized() Condition {
	r, failure := f.Record, f.failure()
	switch {
	case r != nil && r.Revocation != nil && r.Revocation.Done:
		return Condition{Status: False, Reason: reasonRevoked, Message: "revoked at the provider"}
	case failure != nil && failure.Terminal:
		return Condition{Status: False, Reason: failure.Reason, Message: explain(failure)}
	case failure != nil && failure.OutcomeUnknown:
		return Condition{Status: Unknown, Reason: reasonRefreshOutcomeUnknown, Message: explain(failure)}
	case r.Held():
		return Condition{Status: True, Reason: reasonGrantHeld, Message: "granted at " + r.AuthorizedAt.UTC().Format(time.RFC3339)}
	}
	return Condition{Status: False, Reason: reasonAuthorizationRequired, Message: "no grant has been obtained yet"}
}

// progress derives kstatus's two conditions from the verdict: stuck, settled, or under way.
func progress(v verdict) (reconciling, stalled Condition) {
	settled := Condition{Status: False, Reason: reasonSettled}
	switch {
	case v.Stalled:
		return settled, Condition{Status: True, Reason: v.Reason, Message: v.Message}
	case v.ready, v.Reason == reasonSuspended:
		return settled, settled
	}
	return Condition{Status: True, Reason: v.Reason, Message: v.Message}, settled
}

// nextRefresh is when the access token will be renewed without anybody's help; zero: it will not.
func nextRefresh(f Facts, now time.Time) time.Time {
	if f.Deletion != nil || f.Suspended || f.Blocked != nil || !f.Record.Held() || f.renewal() == Wait {
		return time.Time{}
	}
	if failure := f.Record.Failure; failure != nil {
		if failure.Terminal {
			return time.Time{}
		}
		at := failure.NextAttemptAt
		if failure.OutcomeUnknown && f.renewal() == Refresh {
			at = latest(at, f.Record.resendDue(now))
		}
		if f.Pause != nil {
			at = latest(at, f.Pause.NextProbeAt)
		}
		return at
	}
	return RefreshDue(&f.Record.Tokens, f.Margin, f.UID)
}

// explain adds to a failure's message what happens next.
func explain(f *Failure) string {
	switch {
	case f.Reason == reasonInvalidGrant:
		return f.Message + "; authorize again with a new code or refresh token"
	case f.Reason == reasonExchangeRejected, f.Reason == reasonExchangeOutcomeUnknown:
		return f.Message + "; a code is never sent twice, give a new one"
	case f.Terminal && f.Reason == reasonRefreshRejected:
		return fmt.Sprintf("%s; refused %d times; the grant is kept, and a refresh request or a changed application tries again", f.Message, f.Count)
	case f.Terminal:
		return f.Message + "; authorize again with a new code or refresh token"
	case f.OutcomeUnknown:
		return f.Message + "; the refresh token may be spent, so it is sent again only when the access token is about to expire"
	}
	return f.Message
}

func validity(r *Record) string {
	switch r.Expiry.Kind {
	case ExpiryNever:
		return "the access token never expires"
	case ExpiryAt:
		return "the access token is valid until " + r.Expiry.At.UTC().Format(time.RFC3339)
	case ExpiryUnknown:
	}
	return "the provider did not say when the access token expires"
}
