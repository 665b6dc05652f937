// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Actions of events, which say what the controller was doing.
const (
	actionResolve  = "Resolve"
	actionDiscover = "Discover"
	actionDelete   = "Delete"
)

// occurrence is one event about an application. Its note is no format.
type occurrence struct {
	kind, reason, action, note string
}

func (o occurrence) record(recorder events.EventRecorder, application *v1alpha1.OAuthApplication) {
	recorder.Eventf(application, nil, o.kind, o.reason, o.action, "%s", cut(o.note))
}

// becameReady : connections can use the application from now on.
func becameReady(message string) occurrence {
	return occurrence{kind: corev1.EventTypeNormal, reason: v1alpha1.ReasonReady, action: actionResolve, note: message}
}

// becameUnready : connections cannot use it, or no longer.
func becameUnready(v verdict) occurrence {
	return occurrence{kind: corev1.EventTypeWarning, reason: v.reason, action: actionResolve, note: v.message}
}

// rereadFailed : the discovery document is an old one.
func rereadFailed(message string) occurrence {
	return occurrence{kind: corev1.EventTypeWarning, reason: v1alpha1.ReasonDiscoveryFailed, action: actionDiscover, note: message}
}

// leftConnections : the application has gone before its connections.
func leftConnections(count int32) occurrence {
	return occurrence{
		kind: corev1.EventTypeWarning, reason: v1alpha1.ReasonConnectionsRemain, action: actionDelete,
		note: fmt.Sprintf("deleted while %d connections still refer to it; its client is kept until their tokens are revoked", count),
	}
}

// eventsFor compares a new verdict with the conditions that were: only what has changed is an event.
func eventsFor(before v1alpha1.OAuthApplicationStatus, d decision) []occurrence {
	ready := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	sameReason := ready != nil && ready.Reason == d.verdict.reason
	switch {
	case d.verdict.ready && !sameReason:
		return []occurrence{becameReady(d.verdict.message)}
	case d.verdict.ready && d.degraded != "" && ready.Message == readyMessage:
		return []occurrence{rereadFailed(d.degraded)}
	case d.verdict.ready, d.verdict.reason == v1alpha1.ReasonProgressing:
		return nil
	case sameReason && ready.Message == cut(d.verdict.message):
		return nil
	}
	return []occurrence{becameUnready(d.verdict)}
}
