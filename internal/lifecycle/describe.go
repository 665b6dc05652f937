// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
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
	// AwaitsPerson : somebody should follow the link to the gateway.
	AwaitsPerson                            bool
	Phase                                   Phase
	Ready, Authorized, Reconciling, Stalled Condition
	// ScopesGranted has no status until scopes are known.
	ScopesGranted Condition
	NextRefreshAt time.Time
	Failure       *Failure
}

// Describe derives status from the facts. It never claims more than they prove: Ready is True only while the Secret
// holds a token that works by all we know.
func Describe(f Facts, p Publication, now time.Time) Summary {
	s := Summary{Failure: f.failure(), NextRefreshAt: nextRefresh(f, now)}
	if s.Failure == nil {
		s.Failure = f.inputFailure()
	}
	s.AwaitsPerson = f.AwaitsPerson(now)
	verdict := f.verdict(p, now)
	s.Phase = verdict.phase
	s.Ready = Condition{Status: False, Reason: verdict.Reason, Message: verdict.Message}
	if verdict.ready {
		s.Ready.Status = True
	}
	s.Authorized = f.authorized(now)
	s.ScopesGranted = f.scopesGranted()
	s.Reconciling, s.Stalled = progress(verdict)
	return s
}

// inputFailure is the failure of the input that the spec names now.
func (f Facts) inputFailure() *Failure {
	if f.Record == nil || f.Record.InputFailure == nil || f.Record.InputFailure.InputHash != f.Input.Hash {
		return nil
	}
	return f.Record.InputFailure
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
	case f.Blocked != nil && f.Blocked.Reason == v1alpha1.ReasonNotAllowed:
		return verdict{Verdict: *f.Blocked, phase: Pending}
	case !f.Record.Held():
		return f.unheldVerdict(p, now)
	case f.Record.Standing != nil:
		return f.endedVerdict(now)
	}
	return f.heldVerdict(p, now)
}

// endedVerdict tells that the provider has ended the grant, and how to get another one.
func (f Facts) endedVerdict(now time.Time) verdict {
	standing := f.Record.Standing
	v := verdict{phase: Inactive, Verdict: Verdict{
		Reason: v1alpha1.ReasonDeauthorized, Stalled: true,
		Message: "the provider has ended this grant: " + standing.Message + "; " + f.remedy() + f.invitation(now) + f.proposal(),
	}}
	if standing.State == StandingDeleted {
		v.phase = Deleted
	}
	return v
}

func (f Facts) deletionVerdict() verdict {
	if f.revoked() {
		return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonRevoked, Message: "revoked at the provider"}, phase: Deleted}
	}
	v := verdict{Verdict: Verdict{Reason: v1alpha1.ReasonDeleting, Message: "being deleted; " + f.farewell()}, phase: Inactive}
	if f.Record.Held() {
		v.phase = Active
	}
	return v
}

// revoked tells whether the provider has ended every token; one that it refused to revoke may still work.
func (f Facts) revoked() bool {
	return f.Record != nil && f.Record.Revocation != nil && f.Record.Revocation.Done && f.Record.Revocation.Unrevoked == ""
}

// farewell says what becomes of the tokens of a connection that is being deleted.
func (f Facts) farewell() string {
	r := f.Record
	switch {
	case !r.Revocable():
		return "there is no token to revoke"
	case f.Deletion.Orphan:
		return "deletionPolicy is Orphan, so the grant stays alive at the provider"
	case r.Revocation != nil && r.Revocation.Done:
		return "the provider refused to revoke: " + r.Revocation.Unrevoked
	case f.Deletion.Revocable == RevocableNever:
		return r.Unrevocable()
	case f.Deletion.Revocable == RevocableLater:
		return "the tokens cannot be revoked yet because the application's client is not known"
	case r.Revocation != nil:
		return "revoking the tokens failed and is tried again: " + r.Revocation.Message
	}
	return "the tokens are being revoked"
}

// Unrevocable says what becomes of the tokens of a provider that revokes none.
func (r *Record) Unrevocable() string {
	const none = "the provider has no revocation endpoint"
	switch {
	case r.Standing != nil:
		return none + "; by its last word the grant is over already"
	case r.Expiry.Kind == ExpiryNever:
		return none + ": the access token never expires; it works until the grant is ended at the provider"
	}
	return none + ": the tokens work until they expire; end the grant at the provider"
}

// unheldVerdict explains why there is no grant yet.
func (f Facts) unheldVerdict(p Publication, now time.Time) verdict {
	switch failure := f.failure(); {
	case f.Suspended:
		return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true; nothing is asked of the provider"}, phase: Pending}
	case f.Blocked != nil:
		return verdict{Verdict: *f.Blocked, phase: Pending}
	case failure != nil && failure.Terminal:
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: f.explain(failure), Stalled: true}, phase: Inactive}
	case f.nextPause() != nil:
		return verdict{Verdict: Verdict{Reason: f.nextPause().Reason, Message: f.nextPause().Message}, phase: Pending}
	case failure != nil && f.invitation(now) == "": // A person can go on although a poll has failed.
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: f.explain(failure)}, phase: Pending}
	case p.Problem != nil:
		return verdict{Verdict: *p.Problem, phase: Pending}
	case f.Input.State == InputMissing:
		return verdict{Verdict: Verdict{Reason: f.Input.missingReason(), Message: f.Input.Missing}, phase: Pending}
	case f.GrantType == DeviceCode:
		return f.deviceVerdict(now)
	case f.Person != nil && !f.loginUnsent():
		return f.personVerdict()
	}
	return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonProgressing, Message: "asking the provider for a token"}, phase: Pending}
}

// deviceVerdict tells a person what to do, or why there is nothing to do.
func (f Facts) deviceVerdict(now time.Time) verdict {
	d := f.device()
	switch {
	case d == nil:
		return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonProgressing, Message: "asking the provider for a device code"}, phase: Pending}
	case now.Before(d.ExpiresAt):
		message := strings.TrimPrefix(f.invitation(now), "; ")
		if failure := f.inputFailure(); failure != nil {
			message += "; whether somebody did could not be found out: " + failure.Message
		}
		return verdict{phase: Authorizing, Verdict: Verdict{Reason: v1alpha1.ReasonAuthorizationRequired, Stalled: true, Message: message}}
	case !d.abandoned(now):
		return verdict{phase: Authorizing, Verdict: Verdict{
			Reason: v1alpha1.ReasonProgressing, Message: "nobody entered the device code in time; the provider is being asked for a new one",
		}}
	}
	return verdict{phase: Authorizing, Verdict: Verdict{
		Reason: v1alpha1.ReasonDeviceCodeExpired, Stalled: true,
		Message: "nobody entered the device code in time; request a new one (annotation " + v1alpha1.AnnotationRefreshRequestedAt + ")",
	}}
}

func (f Facts) device() *Device {
	if f.Record == nil {
		return nil
	}
	return f.Record.Device
}

// invitation is what a person has to type and where; empty without a device code that lives.
func (f Facts) invitation(now time.Time) string {
	d := f.device()
	if f.GrantType != DeviceCode || d == nil || !now.Before(d.ExpiresAt) {
		return ""
	}
	return fmt.Sprintf("; open %s and enter the code %s before %s", d.VerificationURI, d.UserCode, d.ExpiresAt.UTC().Format(time.RFC3339))
}

// proposal says why a new authorization has not replaced the grant yet; empty: there is none, or nothing has gone wrong.
func (f Facts) proposal() string {
	if c := f.Record.Candidate; c != nil && !c.Refused && c.Lookup.Message != "" {
		return "; a new authorization is kept back until it is known with which account it was made: " + c.Lookup.Message
	}
	return ""
}

// scopesGranted compares what was granted with what is asked for.
func (f Facts) scopesGranted() Condition {
	r := f.Record
	if !r.Held() || len(r.RequestedScopes) == 0 {
		return Condition{}
	}
	missing := f.scopesMissing()
	if len(missing) == 0 {
		return Condition{Status: True, Reason: v1alpha1.ReasonAllScopesGranted, Message: "everything that was asked for was granted"}
	}
	return Condition{
		Status: False, Reason: v1alpha1.ReasonScopesMissing,
		Message: "not granted: " + strings.Join(missing, ", ") + "; " + f.again() + " and grant it, or leave it out of the scopes",
	}
}

// heldVerdict explains how the token that is held is doing.
func (f Facts) heldVerdict(p Publication, now time.Time) verdict {
	r, failure := f.Record, f.Record.Failure
	expired := r.AccessToken.IsEmpty() || r.Expiry.Passed(now) || r.Doubted
	switch {
	case failure != nil && failure.Terminal:
		return verdict{Verdict: Verdict{Reason: failure.Reason, Message: f.explain(failure) + f.invitation(now) + f.proposal(), Stalled: true}, phase: Inactive}
	case p.Problem != nil && !p.Before:
		return verdict{Verdict: *p.Problem, phase: Pending}
	case p.Problem != nil:
		return verdict{Verdict: *p.Problem, phase: Active}
	case f.lapsed(now):
		lapse := f.lapse()
		lapse.Message += f.invitation(now) + f.proposal()
		return verdict{Verdict: lapse, phase: Inactive}
	case expired:
		return verdict{Verdict: f.expiredVerdict(), phase: Active}
	case !p.Current:
		return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonProgressing, Message: "the token is being written into Secret " + p.Name}, phase: Active}
	case f.Suspended:
		return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonSuspended, Message: validity(r) + "; spec.suspend is true, so it is not refreshed"}, ready: true, phase: Active}
	}
	message := validity(r) + f.hindrance() + f.proposal()
	return verdict{Verdict: Verdict{Reason: v1alpha1.ReasonTokenReady, Message: message}, ready: true, phase: Active}
}

// hindrance says what will keep a token that works from being renewed, or a new authorization from being used; empty:
// nothing.
func (f Facts) hindrance() string {
	missing := f.Input.State == InputMissing
	switch {
	case f.Record.Failure != nil:
		return "; the last refresh failed: " + f.explain(f.Record.Failure)
	case f.Blocked != nil:
		return "; not refreshed at present: " + f.Blocked.Message
	case f.nextPause() != nil:
		return "; not refreshed at present: " + f.nextPause().Message
	case missing && f.GrantType.issues():
		return "; not renewed at present: " + f.Input.Missing
	case missing && f.Input.MissingReason == v1alpha1.ReasonInvalidInputs:
		return "; what would authorize anew cannot be used: " + f.Input.Missing
	}
	return ""
}

// lapsed tells that the access token has expired and nothing is left to get another one with.
func (f Facts) lapsed(now time.Time) bool {
	return f.Record.Held() && f.Record.Expiry.Passed(now) && f.renewal(now) == Wait && !f.GrantType.issues()
}

func (f Facts) lapse() Verdict {
	return Verdict{
		Reason: v1alpha1.ReasonTokenExpired, Stalled: true,
		Message: "the access token has expired and the provider gave no refresh token; " + f.remedy(),
	}
}

// expiredVerdict says why a token that could be renewed has not been.
func (f Facts) expiredVerdict() Verdict {
	failure, state := f.Record.Failure, "the access token has expired"
	switch {
	case f.Record.AccessToken.IsEmpty():
		state = "there is a refresh token but no access token yet"
	case f.Record.Doubted:
		state = "a status check found that the access token works no more"
	}
	switch {
	case f.Suspended:
		return Verdict{Reason: v1alpha1.ReasonSuspended, Message: state + "; spec.suspend is true, so the provider is not asked for a new one"}
	case f.Blocked != nil:
		return Verdict{Reason: f.Blocked.Reason, Message: state + "; " + f.Blocked.Message, Stalled: f.Blocked.Stalled}
	case f.GrantType.issues() && f.Input.State == InputMissing:
		return Verdict{Reason: f.Input.missingReason(), Message: state + "; " + f.Input.Missing}
	case f.nextPause() != nil:
		return Verdict{Reason: f.nextPause().Reason, Message: state + "; the provider does not accept the client: " + f.nextPause().Message}
	case failure != nil:
		return Verdict{Reason: failure.Reason, Message: state + ", and the last refresh failed: " + f.explain(failure)}
	}
	return Verdict{Reason: v1alpha1.ReasonProgressing, Message: state + "; the provider is being asked for a new one"}
}

func (i Input) missingReason() string { return cmp.Or(i.MissingReason, v1alpha1.ReasonSecretNotFound) }

func (f Facts) authorized(now time.Time) Condition {
	r, failure := f.Record, f.failure()
	switch {
	case r.Held() && r.Standing != nil:
		return Condition{Status: False, Reason: v1alpha1.ReasonDeauthorized, Message: "the provider has ended this grant: " + r.Standing.Message}
	case f.revoked():
		return Condition{Status: False, Reason: v1alpha1.ReasonRevoked, Message: "revoked at the provider"}
	case failure != nil && failure.Terminal:
		return Condition{Status: False, Reason: failure.Reason, Message: f.explain(failure)}
	case failure != nil && failure.OutcomeUnknown:
		return Condition{Status: Unknown, Reason: v1alpha1.ReasonRefreshOutcomeUnknown, Message: f.explain(failure)}
	case f.lapsed(now):
		lapse := f.lapse()
		return Condition{Status: False, Reason: lapse.Reason, Message: lapse.Message}
	case r.Held():
		return Condition{Status: True, Reason: v1alpha1.ReasonGrantHeld, Message: "granted at " + r.AuthorizedAt.UTC().Format(time.RFC3339)}
	}
	return Condition{Status: False, Reason: v1alpha1.ReasonAuthorizationRequired, Message: "no grant has been obtained yet"}
}

// progress derives kstatus's two conditions from the verdict: stuck, settled, or under way.
func progress(v verdict) (reconciling, stalled Condition) {
	settled := Condition{Status: False, Reason: v1alpha1.ReasonSettled}
	switch {
	case v.Stalled, !v.ready && needsPerson(v.Reason):
		return settled, Condition{Status: True, Reason: v.Reason, Message: v.Message}
	case v.ready, v.Reason == v1alpha1.ReasonSuspended:
		return settled, settled
	}
	return Condition{Status: True, Reason: v.Reason, Message: v.Message}, settled
}

// needsPerson tells that a request cannot be made before somebody changes something, although it is tried again.
func needsPerson(reason string) bool {
	return reason == v1alpha1.ReasonInvalidConfiguration || reason == v1alpha1.ReasonServiceAccountNotAllowed
}

// nextRefresh is when the access token will be renewed without anybody's help; zero: it will not.
func nextRefresh(f Facts, now time.Time) time.Time {
	action := f.renewal(now)
	if f.Deletion != nil || f.Suspended || f.Blocked != nil || !f.Record.Held() || f.Record.Standing != nil || action == Wait {
		return time.Time{}
	}
	at := f.renewalDue()
	if failure := f.Record.Failure; failure != nil {
		retry, ok := f.retryAt(action, failure, now)
		if !ok {
			return time.Time{}
		}
		at = latest(failure.LastAt, retry) // "At once" is a time too, and one that does not move.
	}
	if f.paused(action) && !now.Before(at) {
		return time.Time{} // Up to a probe, which another connection may make.
	}
	return at
}

// explain adds to a failure's message what happens next.
func (f Facts) explain(failure *Failure) string {
	switch {
	case f.GrantType == DeviceCode && failure.Terminal && !f.Record.Held():
		return failure.Message + "; request a new device code (annotation " + v1alpha1.AnnotationRefreshRequestedAt + ")"
	case failure.Reason == v1alpha1.ReasonExchangeRejected, failure.Reason == v1alpha1.ReasonExchangeOutcomeUnknown:
		if f.Person == nil {
			return failure.Message + "; a code is never sent twice: give a new one"
		}
		return failure.Message + "; a code is never sent twice: " + f.again()
	case failure.Terminal && failure.undecided():
		return fmt.Sprintf("%s; refused %d times, so it is not tried again by itself; the grant is kept: change the application, "+
			"its client Secret or this connection, or request a refresh (annotation %s)", failure.Message, failure.Count, v1alpha1.AnnotationRefreshRequestedAt)
	case failure.Terminal && failure.Reason == v1alpha1.ReasonRefreshOutcomeUnknown:
		return failure.Message + "; an earlier call was cut off and has probably spent the refresh token; " + f.remedy()
	case failure.Terminal:
		return failure.Message + "; " + f.remedy()
	case failure.OutcomeUnknown:
		return failure.Message + "; the refresh token may be spent" + f.resend(failure)
	}
	return failure.Message
}

// resend says when a refresh token that may be spent is sent again.
func (f Facts) resend(failure *Failure) string {
	if f.Record.Failure != failure {
		return ", and is sent once more"
	}
	switch at, ok := f.Record.resendDue(); {
	case !ok:
		return "; it is sent again only on request (annotation " + v1alpha1.AnnotationRefreshRequestedAt + "), because the access token never expires"
	case at.IsZero():
		return ", and is sent again because no access token that works can be lost by it"
	default:
		return ", so it is sent again only when the access token is about to expire, at " + at.UTC().Format(time.RFC3339)
	}
}

// remedy is what a person can do about a grant that is over.
func (f Facts) remedy() string {
	switch f.GrantType {
	case RefreshToken:
		return "put a new refresh token into the Secret that spec.grant.refreshToken.secretRef names"
	case ClientCredentials:
		return "change the application, its client Secret or this connection, or request a refresh (annotation " + v1alpha1.AnnotationRefreshRequestedAt + ")"
	case JWTBearer, TokenExchange, Extension:
		return "change what spec.grant is made of, the application or its client Secret, or request a refresh (annotation " + v1alpha1.AnnotationRefreshRequestedAt + ")"
	case DeviceCode:
		remedy := "a person has to authorize again; while no device code is shown, request one (annotation " + v1alpha1.AnnotationRefreshRequestedAt + ")"
		if failure := f.inputFailure(); failure != nil && failure.Terminal {
			remedy = "the last device code came to nothing (" + failure.Message + "); " + remedy
		}
		return remedy
	case AuthorizationCode:
	}
	return f.again()
}

// InVain says why nothing came of a refresh request.
func (f Facts) InVain() string {
	const requested = "a refresh was requested, but "
	switch {
	case f.GrantType.issues() && f.Input.State == InputMissing:
		return requested + "there is nothing to make a token of: " + f.Input.Missing
	case f.GrantType == DeviceCode:
		return requested + "the provider gave no refresh token; a device code is asked for when the access token works no more"
	}
	return requested + "there is nothing to refresh with; " + f.remedy()
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
