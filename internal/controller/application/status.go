// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// maxMessage bounds a condition's message well below what the API takes.
const maxMessage = 1024

// status returns what an application's status has to say after a pass.
func status(f facts, d decision) v1alpha1.OAuthApplicationStatus {
	next := f.application.Status.DeepCopy()
	next.Phase = v1alpha1.ApplicationPending
	inUse := f.kept
	if d.client != nil {
		next.Phase, inUse = v1alpha1.ApplicationActive, d.client
	}
	next.Endpoints, next.RedirectURL = nil, ""
	if inUse != nil {
		next.Endpoints, next.RedirectURL = shownEndpoints(inUse.Endpoints), inUse.RedirectURL
	}
	settle(next, f, d.verdict)
	return *next
}

// deletingStatus keeps the endpoints: they are in use until the last connection is gone.
func deletingStatus(f facts, v verdict) v1alpha1.OAuthApplicationStatus {
	next := f.application.Status.DeepCopy()
	next.Phase = v1alpha1.ApplicationDeleted
	settle(next, f, v)
	return *next
}

// settle fills in what every status has.
func settle(next *v1alpha1.OAuthApplicationStatus, f facts, v verdict) {
	counts := f.connections
	next.Connections = &counts
	next.ObservedGeneration = f.application.Generation
	set := func(kind string, is bool, reason, message string) {
		value := metav1.ConditionFalse
		if is {
			value = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&next.Conditions, metav1.Condition{
			Type: kind, Status: value, Reason: reason, Message: cut(message),
			ObservedGeneration: f.application.Generation, LastTransitionTime: metav1.NewTime(f.now),
		})
	}
	set(v1alpha1.ConditionReady, v.ready, v.reason, v.message)
	setOrSettle := func(kind string, is bool) {
		if is {
			set(kind, true, v.reason, v.message)
			return
		}
		set(kind, false, v1alpha1.ReasonSettled, "")
	}
	setOrSettle(v1alpha1.ConditionReconciling, v.progressing)
	setOrSettle(v1alpha1.ConditionStalled, v.stalled)
}

func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	runes := []rune(message)
	return string(runes[:min(len(runes), maxMessage/4)]) + "…"
}

func shownEndpoints(e registration.Endpoints) *v1alpha1.Endpoints {
	return &v1alpha1.Endpoints{
		AuthorizationURL:       v1alpha1.EndpointURL(e.Authorization),
		TokenURL:               v1alpha1.EndpointURL(e.Token),
		RefreshURL:             v1alpha1.EndpointURL(e.Refresh),
		RevocationURL:          v1alpha1.EndpointURL(e.Revocation),
		IntrospectionURL:       v1alpha1.EndpointURL(e.Introspection),
		DeviceAuthorizationURL: v1alpha1.EndpointURL(e.DeviceAuthorization),
		UserInfoURL:            v1alpha1.EndpointURL(e.UserInfo),
	}
}

// waitForConnections judges an application that is being deleted: how long it waits, zero once it may go.
func waitForConnections(f facts, timeout time.Duration) (time.Duration, verdict) {
	left := f.application.DeletionTimestamp.Add(timeout).Sub(f.now)
	if f.connections.Total == 0 {
		return 0, verdict{reason: v1alpha1.ReasonDeleting, message: "no connection refers to it any more", progressing: true}
	}
	return max(left, 0), verdict{
		reason: v1alpha1.ReasonConnectionsRemain,
		message: fmt.Sprintf("%d connections still refer to it; delete them. It goes %s after its deletion at the latest; its client is kept until their tokens are revoked",
			f.connections.Total, timeout),
		progressing: true,
	}
}
