// SPDX-License-Identifier: Apache-2.0

package connection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// Actions of events: what the operator was doing.
const (
	actionAuthorize = "Authorize"
	actionRefresh   = "Refresh"
	actionPublish   = "Publish"
	actionRevoke    = "Revoke"
	actionAdopt     = "Adopt"
	actionCheck     = "Check"
)

// changed tells of what a status patch changed, if people should know. A successful refresh is no event.
func changed(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, before *v1alpha1.OAuthConnectionStatus) {
	now := &c.Status
	if last := now.LastAuthorization; last != nil && (before.LastAuthorization == nil || before.LastAuthorization.ID != last.ID ||
		before.LastAuthorization.Outcome != last.Outcome) {
		authorizationEnded(recorder, c, last)
	}
	scopesMissing(recorder, c, before)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	ready := meta.FindStatusCondition(now.Conditions, v1alpha1.ConditionReady)
	if ready.Status == metav1.ConditionTrue {
		if was == nil || was.Status != metav1.ConditionTrue {
			becameReady(recorder, c, before)
		}
	} else if was == nil || was.Reason != ready.Reason || (now.Phase == v1alpha1.ConnectionDeleted && before.Phase != now.Phase) {
		notReady(recorder, c, ready)
		return
	}
	if now.Failure != nil && (before.Failure == nil || before.Failure.Reason != now.Failure.Reason) {
		recorder.Eventf(c, nil, corev1.EventTypeWarning, now.Failure.Reason, actionRefresh, "%s", now.Failure.Message)
	}
}

// scopesMissing warns when the provider has granted less than was asked for.
func scopesMissing(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, before *v1alpha1.OAuthConnectionStatus) {
	granted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionScopesGranted)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionScopesGranted)
	if granted != nil && granted.Status == metav1.ConditionFalse && (was == nil || was.Message != granted.Message) {
		recorder.Eventf(c, nil, corev1.EventTypeWarning, granted.Reason, actionAuthorize, "%s", granted.Message)
	}
}

func becameReady(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, before *v1alpha1.OAuthConnectionStatus) {
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case before.LastAuthorizedAt != nil:
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventRecovered, actionRefresh, "%s", ready.Message)
	case c.Status.LastAuthorization == nil: // Credentials alone; a code or an import has an event of its own.
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAuthorized, actionAuthorize, "%s", ready.Message)
	}
}

// notReady warns, unless it is only a matter of waiting for what others bring.
func notReady(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, ready *metav1.Condition) {
	kind := corev1.EventTypeWarning
	switch ready.Reason {
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonDeleting, v1alpha1.ReasonRevoked:
		return
	case v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonApplicationNotFound, v1alpha1.ReasonApplicationNotReady,
		v1alpha1.ReasonAuthorizationRequired, v1alpha1.ReasonSuspended, v1alpha1.ReasonSourceNotReady, v1alpha1.ReasonDeviceCodeExpired:
		kind = corev1.EventTypeNormal
	}
	recorder.Eventf(c, nil, kind, ready.Reason, actionRefresh, "%s", ready.Message)
}

func authorizationEnded(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, last *v1alpha1.LastAuthorization) {
	if last.Outcome == v1alpha1.AuthorizationSucceeded && last.Message != "" {
		recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventAccountUnknown, actionAuthorize, "%s", last.Message)
		return
	}
	if last.Outcome == v1alpha1.AuthorizationSucceeded {
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAuthorized, actionAuthorize, "the provider granted access")
		return
	}
	recorder.Eventf(c, nil, corev1.EventTypeWarning, last.Reason, actionAuthorize, "the authorization failed: %s", last.Message)
}

// loginObserved tells of an authorization response that was refused without harm to the login that it belongs to.
func loginObserved(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, r *pending.Response) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, r.Reason, actionAuthorize, "%s", r.Message)
}

// deauthorizationReported tells that the provider reports the end of the grant.
func deauthorizationReported(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, kind string) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventDeauthorizationReported, actionCheck,
		"the provider reports %q; that is being verified", kind)
}

// reportContradicted tells that the provider's own answer contradicts its report.
func reportContradicted(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, kind string) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventDeauthorizationReported, actionCheck,
		"the provider reported %q, but the access token works, so the connection stays as it is", kind)
}

// reportNotVerified warns that the grant may be over.
func reportNotVerified(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, kind string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventDeauthorizationReported, actionCheck,
		"the provider reports %q, and nothing can be asked to verify that, so the connection stays as it is; give the application a "+
			"statusCheck, or set its webhook.unverifiable to Believe", kind)
}

// reportNotBorneOut warns that the provider contradicts itself.
func reportNotBorneOut(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, kind string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventDeauthorizationReported, actionCheck,
		"the provider reports %q, and its list of connections, read after that, does not say so; the connection stays as it is", kind)
}

// reportDropped warns that the questions about a report came to nothing.
func reportDropped(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, cause string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventDeauthorizationReported, actionCheck,
		"the provider's report could not be verified, so the connection stays as it is: %s", cause)
}

// checkToldNothing warns that nothing has shown whether the token works: what status says is not verified.
func checkToldNothing(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, cause string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventStatusCheckFailed, actionCheck,
		"the status check told nothing, so the connection stays as it is: %s; if that goes on, correct the application's statusCheck", cause)
}

// tokenRejected warns that status may be wrong, and nobody can be asked.
func tokenRejected(recorder events.EventRecorder, c *v1alpha1.OAuthConnection) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventTokenRejected, actionCheck,
		"the provider's API rejects the access token, says a caller of the request proxy; no other token can be had without a person, and "+
			"the application has no statusCheck that could verify this: authorize again, or give the application a statusCheck")
}

// checkDoubts tells why a token is renewed before its time.
func checkDoubts(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, cause string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventStatusCheckFailed, actionCheck,
		"a status check found that the access token does not work (%s); it is renewed; if that repeats itself, correct the application's statusCheck", cause)
}

func repaired(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, secret string) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventSecretRepaired, actionPublish,
		"Secret %s had been deleted or edited; it was written again", secret)
}

func nothingToRefresh(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, why string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventNothingToRefresh, actionRefresh, "%s", why)
}

func adopted(recorder events.EventRecorder, c *v1alpha1.OAuthConnection) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAdopted, actionAdopt,
		"took over the grant of an earlier connection of this name, application and owner")
}

// strangerUnrevoked warns of tokens of another account that were refused here and may still work.
func strangerUnrevoked(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, why string) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventRevocationFailed, actionRevoke,
		"a grant of another account was refused and could not be revoked (%s); end it at the provider", why)
}

// released tells how the grant ended: on the connection, unless its namespace is being deleted and takes no events; on
// the record, which lies in the operator's namespace, when nobody would read it there or nobody should miss it.
func released(recorder events.EventRecorder, s *scope, verdict ending, terminating bool) {
	kind := corev1.EventTypeNormal
	if verdict.unrevoked {
		kind = corev1.EventTypeWarning
	}
	if s.connection != nil && !terminating {
		recorder.Eventf(s.connection, nil, kind, verdict.Reason, actionRevoke, "%s", verdict.Message)
	}
	if s.entry != nil && (verdict.unrevoked || s.connection == nil || terminating) {
		recorder.Eventf(s.entry.Secret(), nil, kind, verdict.Reason, actionRevoke, "connection %s: %s", s.name, verdict.Message)
	}
}
