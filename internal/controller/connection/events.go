// SPDX-License-Identifier: Apache-2.0

package connection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Actions of events: what the operator was doing.
const (
	actionAuthorize = "Authorize"
	actionRefresh   = "Refresh"
	actionPublish   = "Publish"
	actionRevoke    = "Revoke"
	actionAdopt     = "Adopt"
)

// changed tells of what a status patch changed, if people should know. A successful refresh is no event.
func changed(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, before *v1alpha1.OAuthConnectionStatus) {
	now := &c.Status
	if last := now.LastAuthorization; last != nil && (before.LastAuthorization == nil || before.LastAuthorization.ID != last.ID) {
		authorizationEnded(recorder, c, last)
	}
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	ready := meta.FindStatusCondition(now.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready.Status == metav1.ConditionTrue && was != nil && was.Status != metav1.ConditionTrue && before.LastAuthorizedAt != nil:
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventRecovered, actionRefresh, "%s", ready.Message)
	case ready.Status == metav1.ConditionTrue && (was == nil || was.Status != metav1.ConditionTrue) && now.LastAuthorization == nil:
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAuthorized, actionAuthorize, "%s", ready.Message)
	case ready.Status != metav1.ConditionTrue && (was == nil || was.Reason != ready.Reason) && worthTelling(ready.Reason):
		recorder.Eventf(c, nil, corev1.EventTypeWarning, ready.Reason, actionRefresh, "%s", ready.Message)
	case now.Failure != nil && (before.Failure == nil || before.Failure.Reason != now.Failure.Reason):
		recorder.Eventf(c, nil, corev1.EventTypeWarning, now.Failure.Reason, actionRefresh, "%s", now.Failure.Message)
	}
}

// worthTelling leaves out what is on its way anyway.
func worthTelling(reason string) bool {
	switch reason {
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonDeleting, v1alpha1.ReasonSuspended, v1alpha1.ReasonRevoked:
		return false
	}
	return true
}

func authorizationEnded(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, last *v1alpha1.LastAuthorization) {
	if last.Outcome == v1alpha1.AuthorizationSucceeded {
		recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAuthorized, actionAuthorize, "the provider granted access")
		return
	}
	recorder.Eventf(c, nil, corev1.EventTypeWarning, last.Reason, actionAuthorize, "the authorization failed: %s", last.Message)
}

func repaired(recorder events.EventRecorder, c *v1alpha1.OAuthConnection, secret string) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventSecretRepaired, actionPublish,
		"Secret %s had been deleted or edited; it was written again", secret)
}

func nothingToRefresh(recorder events.EventRecorder, c *v1alpha1.OAuthConnection) {
	recorder.Eventf(c, nil, corev1.EventTypeWarning, v1alpha1.EventNothingToRefresh, actionRefresh,
		"a refresh was requested, but the provider gave no refresh token; authorize again with a new code")
}

func adopted(recorder events.EventRecorder, c *v1alpha1.OAuthConnection) {
	recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.EventAdopted, actionAdopt,
		"took over the grant of an earlier connection of this name, application and owner")
}

// released tells how the grant ended. What could not be revoked is told on the record, too: it lies in the operator's
// namespace, and a namespace that is being deleted takes no events.
func released(recorder events.EventRecorder, s *scope, verdict ending) {
	kind := corev1.EventTypeNormal
	if verdict.unrevoked {
		kind = corev1.EventTypeWarning
	}
	if s.connection != nil {
		recorder.Eventf(s.connection, nil, kind, verdict.Reason, actionRevoke, "%s", verdict.Message)
	}
	if s.entry != nil && (verdict.unrevoked || s.connection == nil) {
		recorder.Eventf(s.entry.Secret(), nil, kind, verdict.Reason, actionRevoke, "connection %s: %s", s.name, verdict.Message)
	}
}
