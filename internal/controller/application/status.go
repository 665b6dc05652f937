// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
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
	if d.verdict.reason == v1alpha1.ReasonApplicationDeleted {
		next.Phase = v1alpha1.ApplicationDeleted
	}
	next.Endpoints, next.RedirectURL, next.ClientID = nil, "", ""
	next.Issuer, next.IssuerInResponse, next.WebhookURL = "", false, d.webhookURL
	if inUse != nil {
		next.Endpoints, next.RedirectURL, next.ClientID = inUse.Spec.Endpoints.DeepCopy(), inUse.RedirectURL, inUse.OAuth.ID
		next.Issuer, next.IssuerInResponse = inUse.Issuer(), inUse.IssuerInResponse()
	}
	f.connections.Unmanaged = unmanaged(f, d)
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

// unmanaged counts what the provider lists and nobody manages. Until a listing of this process has been complete, the
// number stays as it was.
func unmanaged(f facts, d decision) *int32 {
	switch {
	case d.listed == nil || listOf(d.listed) == nil:
		return nil
	case f.census != nil:
		return new(int32(min(f.census.Unmanaged(f.managed), math.MaxInt32))) //nolint:gosec // bounded in the same line
	case f.application.Status.Connections != nil:
		return f.application.Status.Connections.Unmanaged
	}
	return nil
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
