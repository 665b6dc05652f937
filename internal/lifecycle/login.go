// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// concluded ends a login that brought no code, or one that cannot be used any more.
func concluded(f Facts, now time.Time) *Decision {
	if f.Conclusion(now) == nil {
		return nil
	}
	return &Decision{Action: Conclude}
}

// Conclusion is how a login ends without a call to the provider; nil: it does not. A login that has ended is not ended
// again, and one that a person waits for is told soon what stands in its way.
func (f Facts) Conclusion(now time.Time) *Answer {
	if f.Answer != nil {
		if f.Record != nil && f.Record.Authorization != nil && f.Record.Authorization.ID == f.Answer.Login {
			return nil
		}
		return f.Answer
	}
	if !f.loginUnsent() {
		return nil
	}
	login := f.Input.Login
	switch {
	case f.Suspended:
		return &Answer{Login: login, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true" + f.unused()}
	case f.Blocked != nil && (f.Blocked.Reason == v1alpha1.ReasonNotAllowed || !now.Before(f.giveUpAt())):
		return &Answer{Login: login, Reason: f.Blocked.Reason, Message: f.Blocked.Message + f.unused()}
	case now.Before(f.giveUpAt()):
		return nil
	}
	message := "the code could not be exchanged in time"
	if f.Input.Import {
		message = "the refresh token could not be used in time; it was not kept"
	}
	if failure := f.inputFailure(); failure != nil {
		message += ": " + failure.Message
	}
	return &Answer{Login: login, Reason: v1alpha1.ReasonAuthorizationExpired, Message: message}
}

// unused says what has become of what the login brought.
func (f Facts) unused() string {
	if f.Input.Import {
		return "; the refresh token was not used, and not kept"
	}
	return "; the code was not used"
}

// loginUnsent tells of a person's code that has not been used.
func (f Facts) loginUnsent() bool {
	return f.Input.State == InputPresent && f.Input.Login != "" && !f.Record.HasSpent(f.Input.Hash) && !f.loginEnded()
}

// loginEnded tells that the record says how the login ended whose code or refresh token is the input.
func (f Facts) loginEnded() bool {
	return f.Input.Login != "" && f.Record != nil && f.Record.Authorization != nil && f.Record.Authorization.ID == f.Input.Login
}

// giveUpAt is when a person's code is given up: codes live for one minute at least and ten at most.
func (f Facts) giveUpAt() time.Time {
	if f.Blocked != nil {
		return f.Input.ReceivedAt.Add(blockedPatience)
	}
	return f.Input.ReceivedAt.Add(loginPatience)
}

// Concluded returns the record after a login has ended without a call. A code that it brought is never used; a refresh token
// may be brought again.
func Concluded(r *Record, answer Answer, input Input, now time.Time) *Record {
	next := r.clone()
	next.Authorization = &Authorization{
		ID: answer.Login, Result: AuthorizationFailed, Reason: answer.Reason, Message: answer.Message, At: now,
	}
	if input.Login == answer.Login && input.Hash != "" && !r.HasSpent(input.Hash) {
		if !input.Import {
			next.spend(Call{Action: Exchange, InputHash: input.Hash, InputVersion: input.Version})
		}
		next.InputFailure = nil
	}
	return next
}

// AwaitsPerson tells whether somebody should follow the link: there is no grant that works, or one that lacks scopes.
func (f Facts) AwaitsPerson(now time.Time) bool {
	if f.Person == nil || !f.Person.Link || f.Deletion != nil || f.Suspended || f.Blocked != nil {
		return false
	}
	r := f.Record
	return !r.Held() || now.Before(r.InvitedUntil) || r.Standing != nil || (r.Failure != nil && r.Failure.Terminal) || f.lapsed(now) || len(f.scopesMissing()) > 0
}

// scopesMissing are those that were asked for and not granted, or that are asked for now and were not when a person
// consented. A refresh token proves offline_access, which many providers do not repeat.
func (f Facts) scopesMissing() []string {
	r := f.Record
	wanted := r.RequestedScopes
	if f.Person != nil && len(wanted) > 0 && len(f.Scopes) > 0 {
		wanted = f.Scopes // Only a person can change what was granted.
	}
	var missing []string
	for _, scope := range wanted {
		implied := scope == "offline_access" && !r.RefreshToken.IsEmpty()
		if !implied && !slices.Contains(r.Scopes, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// personVerdict sends a person to the provider, or says why that is not possible.
func (f Facts) personVerdict() verdict {
	switch {
	case f.Person.Obstacle != nil:
		return verdict{phase: Pending, Verdict: *f.Person.Obstacle}
	case f.Person.Link:
		return verdict{phase: Authorizing, Verdict: Verdict{
			Reason: v1alpha1.ReasonAuthorizationRequired, Stalled: true,
			Message: "waiting for a person to open the link in status.authorizationURL" + f.lastLogin(),
		}}
	}
	return verdict{phase: Authorizing, Verdict: Verdict{
		Reason: v1alpha1.ReasonAuthorizationRequired, Stalled: true,
		Message: "waiting for an authorization code: put it into a Secret and name that in spec.grant.authorizationCode.codeSecretRef",
	}}
}

// lastLogin says how the last login failed; empty: there was none, or it did not.
func (f Facts) lastLogin() string {
	if f.Record == nil || f.Record.Authorization == nil || f.Record.Authorization.Result == AuthorizationSucceeded {
		return ""
	}
	return "; the last login came to nothing: " + strings.TrimSuffix(f.Record.Authorization.Message, ".")
}

// again is how a person authorizes again.
func (f Facts) again() string {
	switch {
	case f.Person == nil:
		return "authorize again with a new code"
	case f.Person.Link:
		return "a person has to authorize again: open the link in status.authorizationURL"
	case f.Person.Obstacle != nil:
		return f.Person.Obstacle.Message
	}
	return "put a new code into a Secret and name that in spec.grant.authorizationCode.codeSecretRef"
}
