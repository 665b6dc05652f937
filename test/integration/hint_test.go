// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestHint is what the controller makes of a provider's reports that grants have ended, as a gateway leaves them.
func TestHint(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"a dead token bears it out":                       hintCheckedDead,
		"a token that works does not":                     hintCheckedAlive,
		"a dead refresh token bears it out":               hintRefreshDead,
		"a refresh token that works does not":             hintRefreshAlive,
		"an outage decides nothing":                       hintDuringOutage,
		"nobody can be asked, and it is not believed":     hintIgnored,
		"nobody can be asked, and it is believed":         hintBelieved,
		"a report about an earlier grant":                 hintTooOld,
		"Increase reports a connection that is not known": hintAtIncrease,
	})
}

// hint reports the end of the subject's grant as the gateway does.
func (s *subject) hint(t *testing.T, at time.Time) {
	t.Helper()
	c := s.get(t)
	s.emptied(t, s.leave(t, pending.Message{
		Connection: s.key(), ConnectionUID: c.UID, Application: s.key(), ApplicationUID: s.application(t).UID,
		ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
		Hint: &pending.Hint{ID: "event-" + s.w.name(), EventType: "grant.revoked", Subject: c.Status.Subject, At: at},
	}))
}

// isDeleted wants the provider to have ended the grant for good by its own report.
func isDeleted(c *v1alpha1.OAuthConnection) error {
	return all(phase(v1alpha1.ConnectionDeleted), notReady(v1alpha1.ReasonDeauthorized), says(`"grant.revoked"`))(c)
}

// over fails the test unless the grant is over and its Secret gone.
func (s *subject) over(t *testing.T) {
	t.Helper()
	if c := s.wait(t, isDeleted); c.Status.DeletedAt == nil {
		t.Error("deletedAt is empty")
	}
	waitGone(t, secret(s.w.namespace, s.name, nil))
	waitEvent(t, s.w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonDeauthorized)
}

func hintCheckedDead(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckProbe))
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.hint(t, time.Now())
	s.over(t)
}

func hintCheckedAlive(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	before := server.Count(introspections())
	s.hint(t, time.Now())
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventDeauthorizationReported)
	testenv.Eventually(t, patience, func() error {
		if n := server.Count(introspections()) - before; n != 1 {
			return fmt.Errorf("%d checks for one report", n)
		}
		return nil
	})
	s.asks(t, introspections()) // One check for one request: the report has been answered.
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func hintRefreshDead(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.hint(t, time.Now())
	s.over(t)
}

func hintRefreshAlive(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	first := s.token(t)
	s.hint(t, time.Now())
	s.waitOtherToken(t, first)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func hintDuringOutage(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	back := server.Always(introspections(), hostile.Status(http.StatusServiceUnavailable, "", nil))
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.hint(t, time.Now())
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventStatusCheckFailed)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	back()
	s.over(t)
}

func hintIgnored(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	s.hint(t, time.Now())
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventDeauthorizationReported)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func hintBelieved(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Webhook = &v1alpha1.WebhookSpec{
			WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard},
			DeauthorizedEvents: []string{"grant.revoked"}, Subject: "$.subject", Unverifiable: v1alpha1.WebhookBelieve,
		}
	})
	tokens := s.tokenRequests()
	s.hint(t, time.Now())
	s.over(t)
	if n := s.tokenRequests() - tokens; n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func hintTooOld(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	s.hint(t, time.Now().Add(-time.Hour))
	s.quiet(t)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

// The list names the connection that the report is about, which nobody knew before.
func hintAtIncrease(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	s := p.listed(t, "group_first")[0]
	p.deauthorize(t, s)
	app := get(t, w.namespace, p.production, &v1alpha1.OAuthApplication{})
	s.emptied(t, s.leave(t, pending.Message{
		Application: types.NamespacedName{Namespace: w.namespace, Name: p.production}, ApplicationUID: app.UID,
		ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
		Hint: &pending.Hint{ID: "event-" + w.name(), EventType: "oauth_connection.deactivated", GrantID: "connection_unknown", At: time.Now()},
	}))
	s.wait(t, phase(v1alpha1.ConnectionDeleted), notReady(v1alpha1.ReasonDeauthorized))
	if n := p.Production.Count(record.Filter{Endpoint: record.Token}); n != 1 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}
