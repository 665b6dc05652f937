// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// Actions of events, which say what the controller was doing.
const (
	actionResolve  = "Resolve"
	actionDiscover = "Discover"
	actionList     = "ListConnections"
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

// becameDegraded : connections can use it, and something is wrong all the same.
func becameDegraded(d degradation) occurrence {
	return occurrence{kind: corev1.EventTypeWarning, reason: d.reason, action: d.action, note: d.what + d.detail}
}

// oldDocument : the discovery document in use is an old one.
func oldDocument(at time.Time, failure *callFailure) degradation {
	return degradation{
		reason: v1alpha1.ReasonDiscoveryFailed, action: actionDiscover, what: "the discovery document of issuerURL could not be read again",
		detail: fmt.Sprintf(", the one of %s stays in use: %s", at.UTC().Format(time.RFC3339), failure.message),
	}
}

// unlisted : what is known of the provider's connections is old.
func unlisted(failure *callFailure) degradation {
	remedy := "it is tried again with growing distance"
	if failure.definite {
		remedy = "check statusCheck.connectionList; " + remedy
	}
	return degradation{
		reason: v1alpha1.EventStatusCheckFailed, action: actionList, what: "the provider's list of connections cannot be read",
		detail: fmt.Sprintf(", so connections stay as they are: %s; %s", failure.message, remedy),
	}
}

// expiredCertificate : the provider will not accept the client any longer.
func expiredCertificate(at time.Time) degradation {
	return badCertificate("expired at " + at.UTC().Format(time.RFC3339) + "; renew it in the Secret of client.secretRef")
}

// earlyCertificate : the provider does not accept the client yet.
func earlyCertificate(at time.Time) degradation {
	return badCertificate("is not valid before " + at.UTC().Format(time.RFC3339))
}

func badCertificate(detail string) degradation {
	return degradation{
		reason: v1alpha1.ReasonInvalidConfiguration, action: actionResolve, what: "the client certificate ", detail: detail,
	}
}

// deafWebhook : the provider's events cannot be told from anybody's.
func deafWebhook(secret provider.SecretReference, unusable bool) degradation {
	detail := fmt.Sprintf(": %s: Secret %q holds nothing under key %q; put the secret there that the provider signs its events with", secret.Field, secret.Name, secret.Key)
	switch {
	case unusable:
		detail = fmt.Sprintf(": %s: key %q of Secret %q is not printable text, or longer than %d bytes; data in a Secret is encoded in Base64 once, stringData not at all",
			secret.Field, secret.Key, secret.Name, maxWebhookSecret)
	case secret.Name == "":
		detail = fmt.Sprintf(": %s.name: it names no Secret, and there is no client.secretRef; give it", secret.Field)
	}
	return degradation{
		reason: v1alpha1.EventWebhookNotReady, action: actionResolve, what: "the webhook takes no events", detail: detail,
	}
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
	case d.verdict.ready:
		var news []occurrence
		if !sameReason {
			news = append(news, becameReady(d.verdict.message))
		}
		for _, one := range d.degraded {
			if ready == nil || !strings.Contains(ready.Message, one.what) {
				news = append(news, becameDegraded(one))
			}
		}
		return news
	case d.verdict.reason == v1alpha1.ReasonProgressing:
		return nil
	case sameReason && ready.Message == cut(d.verdict.message):
		return nil
	}
	return []occurrence{becameUnready(d.verdict)}
}
