// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// refreshing selects refresh requests.
func refreshing() record.Filter { return record.Filter{GrantType: "refresh_token"} }

// failed wants a failure with a reason in status.
func failed(reason string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure == nil || c.Status.Failure.Reason != reason {
			return fmt.Errorf("want a failure because of %s", reason)
		}
		return nil
	}
}

func noFailure(c *v1alpha1.OAuthConnection) error {
	if c.Status.Failure != nil {
		return errors.New("want no failure")
	}
	return nil
}

// TestFailedRefreshes is what one failed refresh means for its connection and its application.
func TestFailedRefreshes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	elsewhere := w.hostile(t, harness.Options{})
	tests := map[string]struct {
		reason  string
		fault   hostile.Fault
		failure string
		// wait is when the next attempt comes, at the earliest and the latest.
		atLeast, atMost time.Duration
		// unknown: the refresh token may have been spent.
		unknown bool
	}{
		"503":              {"an outage passes", hostile.Status(503, "<h1>down</h1>", nil), v1alpha1.ReasonProviderUnavailable, time.Second, 2 * time.Second, false},
		"500 server_error": {"an outage passes", hostile.OAuthError(500, "server_error"), v1alpha1.ReasonProviderUnavailable, time.Second, 2 * time.Second, false},
		"408":              {"a time-out of the provider's", hostile.Status(408, "", nil), v1alpha1.ReasonProviderUnavailable, time.Second, 2 * time.Second, false},
		"429 for seconds":  {"the provider says when", hostile.Status(429, "", hostile.RetryAfterSeconds(70)), v1alpha1.ReasonProviderUnavailable, 70 * time.Second, 72 * time.Second, false},
		"429 until a date": {
			"the provider says when", hostile.Status(429, "", hostile.RetryAfterDate(time.Now().Add(10*time.Minute))),
			v1alpha1.ReasonProviderUnavailable, 5 * time.Minute, 10 * time.Minute, false,
		},
		"temporarily_unavailable": {"an error in a success", hostile.OKWithError("temporarily_unavailable"), v1alpha1.ReasonProviderUnavailable, time.Second, 2 * time.Second, false},
		"garbage":                 {"nobody knows what it did", hostile.Garbage(), v1alpha1.ReasonProviderUnavailable, 0, time.Hour, true},
		"a giant answer":          {"it is not read to its end", hostile.GiantBody(3 << 20), v1alpha1.ReasonProviderUnavailable, 0, time.Hour, true},
		"a cut connection":        {"nobody knows what it did", hostile.CloseBeforeProcessing(), v1alpha1.ReasonProviderUnavailable, 0, time.Hour, true},
		"a redirect":              {"credentials follow no redirect", hostile.Redirect(elsewhere.URL + "/token"), v1alpha1.ReasonProviderUnavailable, time.Second, 2 * time.Second, false},
		"403 without an error":    {"it proves nothing about the grant", hostile.Status(403, "no", nil), v1alpha1.ReasonRefreshRejected, 30 * time.Second, 37 * time.Second, false},
		"invalid_request":         {"it proves nothing about the grant", hostile.OAuthError(400, "invalid_request"), v1alpha1.ReasonRefreshRejected, 30 * time.Second, 37 * time.Second, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := w.hostile(t, harness.Options{})
			s := w.connected(t, server, server.URL)
			token := s.token(t)
			remove := server.Always(refreshing(), test.fault)
			request := s.requestRefresh(t)
			c := s.wait(t, observed(request), failed(test.failure), isReady, phase(v1alpha1.ConnectionActive), says("the last refresh failed"))
			now := server.Requests(refreshing())[0].Time
			switch at := c.Status.Failure.NextAttemptAt; {
			case at == nil:
				t.Errorf("%s: no next attempt", test.reason)
			case at.Before(new(metav1.NewTime(now.Add(test.atLeast - time.Second)))), at.After(now.Add(test.atMost + time.Second)):
				t.Errorf("%s: next attempt after %s", test.reason, at.Sub(now))
			}
			if test.unknown {
				s.wait(t, is(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown))
			} else {
				s.wait(t, is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
			}
			waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, test.failure)
			if !applicationReady(s.application(t)) || s.token(t) != token {
				t.Errorf("%s: the application or the Secret suffers from it", test.reason)
			}

			remove()
			request = s.requestRefresh(t)
			s.wait(t, observed(request), noFailure, isReady, is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
			if server.Reuse() != 0 {
				t.Errorf("%d credentials were sent twice", server.Reuse())
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Count(record.Filter{}); n != 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
}

func applicationReady(a *v1alpha1.OAuthApplication) bool {
	return meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionReady)
}

// TestFailures is what failures mean over time, and for others.
func TestFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, test := range map[string]func(*testing.T, *world){
		"an outage is true in status from its first to its last day": outage,
		"a provider that never answers":                              timeOut,
		"an answer that is lost after rotation":                      lostAnswer,
		"invalid_grant in a success":                                 invalidGrantInSuccess,
		"a code survives an outage":                                  codeDuringOutage,
		"a code whose answer is lost is not sent twice":              codeLost,
		"a code that is refused without an OAuth error":              codeRejected,
		"a client that is refused pauses its application alone":      invalidClient,
		"unauthorized_client pauses one grant type":                  unauthorizedClient,
		"a provider that echoes secrets":                             echo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func outage(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Always(record.Filter{Endpoint: record.Token}, hostile.ExpiresIn(6))
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	mend := server.Always(refreshing(), hostile.Status(503, "", nil))
	s.wait(t, isReady, failed(v1alpha1.ReasonProviderUnavailable), phase(v1alpha1.ConnectionActive))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonProviderUnavailable)

	c := s.wait(t, notReady(v1alpha1.ReasonProviderUnavailable), phase(v1alpha1.ConnectionActive),
		is(v1alpha1.ConditionReconciling, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	if expiry := c.Status.AccessTokenExpiresAt; time.Now().Before(expiry.Time) {
		t.Errorf("not ready before the token expires at %s", expiry)
	}
	if c.Status.Failure.Count < 2 || s.token(t) != token {
		t.Errorf("tried %d times; or the Secret was changed", c.Status.Failure.Count)
	}
	mend()
	s.wait(t, isReady, noFailure)
	s.waitOtherToken(t, token)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventRecovered)
	if server.Reuse() != 0 {
		t.Errorf("%d credentials were sent twice", server.Reuse())
	}
}

func timeOut(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	server.Script(refreshing(), hostile.Hang())
	started := time.Now()
	s.requestRefresh(t)
	s.wait(t, isReady, failed(v1alpha1.ReasonProviderUnavailable), is(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown))
	if took := time.Since(started); took < 9*time.Second || took > 20*time.Second {
		t.Errorf("given up after %s", took)
	}
	s.requestRefresh(t)
	s.wait(t, isReady, noFailure, refreshed)
}

// lostAnswer : the provider has rotated and nobody heard it. The old access token keeps serving; the spent refresh token
// is not sent again by itself, and what a request finds out is said.
func lostAnswer(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	server.Script(refreshing(), hostile.LoseResponse())
	s.requestRefresh(t)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive), is(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown))
	s.quiet(t)
	s.requestRefresh(t)
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonRefreshOutcomeUnknown))
	if server.Reuse() != 1 {
		t.Errorf("a request sent the spent refresh token %d times", server.Reuse())
	}
}

func invalidGrantInSuccess(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	server.Script(refreshing(), hostile.OKWithError("invalid_grant"))
	s.requestRefresh(t)
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
}

func codeDuringOutage(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Script(record.Filter{GrantType: "authorization_code"}, hostile.Status(503, "", nil), hostile.Status(503, "", nil))
	s := w.subject(t, server, server.URL)
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonProviderUnavailable))
	s.wait(t, isReady, noFailure)
	if server.Reuse() != 0 {
		t.Error("the code was redeemed twice")
	}
}

func codeLost(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Script(record.Filter{GrantType: "authorization_code"}, hostile.LoseResponse())
	s := w.subject(t, server, server.URL)
	create(t, codeSecret(t, server, w.namespace, s.name))
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonExchangeOutcomeUnknown),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationUnknown {
		t.Errorf("lastAuthorization is %+v", last)
	}
	s.requestRefresh(t)
	s.quiet(t)
	if server.MaxUses() != 1 {
		t.Error("the code was sent twice")
	}
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.wait(t, isReady)
}

func codeRejected(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Script(record.Filter{GrantType: "authorization_code"}, hostile.Status(403, "", nil))
	s := w.subject(t, server, server.URL)
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonExchangeRejected))
	s.quiet(t)
}

// invalidClient : the secret is changed at the provider. One refusal pauses the application, one connection probes now
// and then, others of another client go on, and the new secret ends it all at once.
func invalidClient(t *testing.T, w *world) {
	const fine, changed = "another-client", "changed-client-secret"
	server := w.hostile(t, harness.Options{Clients: []harness.Client{harness.DefaultClient(), {ID: fine, Secret: "another-secret"}}})
	name, other := w.name(), w.name()
	app, clientSecret := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Limits = &v1alpha1.Limits{MaxConcurrent: 1}
	})
	create(t, app, clientSecret)
	members := make([]*subject, 5)
	for i := range members {
		members[i] = &subject{w: w, name: w.name(), server: server}
		create(t, connection(w.namespace, members[i].name, name), codeSecret(t, server, w.namespace, members[i].name))
	}
	for _, s := range members {
		s.wait(t, isReady)
	}
	otherApp, otherSecret := application(w.namespace, other, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) { spec.Client.ID = fine })
	otherSecret.StringData[v1alpha1.DefaultClientSecretKey] = "another-secret"
	create(t, otherApp, otherSecret, connection(w.namespace, other, other, clientCredentials))
	outsider := &subject{w: w, name: other, server: server}
	outsider.wait(t, isReady)

	if err := server.RotateClientSecret(harness.DefaultClient().ID, changed); err != nil {
		t.Fatal(err)
	}
	mine := record.Filter{GrantType: "refresh_token", ClientID: harness.DefaultClient().ID}
	members[0].requestRefresh(t)
	testenv.Eventually(t, patience, func() error { return applicationIs(w.namespace, name, v1alpha1.ReasonInvalidClient) })
	for _, s := range members {
		s.wait(t, isReady, phase(v1alpha1.ConnectionActive), says("client"))
	}
	outsider.requestRefresh(t)
	outsider.wait(t, refreshed, isReady)
	waitEvent(t, w.namespace, name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidClient)
	if n := server.Count(mine); n > 2 {
		t.Errorf("the client was refused %d times; one probes, later", n)
	}

	update(t, get(t, w.namespace, clientSecret.Name, &corev1.Secret{}), func(c *corev1.Secret) {
		c.Data[v1alpha1.DefaultClientSecretKey] = []byte(changed)
	})
	mended := time.Now()
	testenv.Eventually(t, patience, func() error { return applicationIs(w.namespace, name, v1alpha1.ReasonReady) })
	members[0].wait(t, isReady, noFailure)
	if took := time.Since(mended); took > 5*time.Second {
		t.Errorf("the new secret was used after %s", took)
	}
	for _, s := range members {
		before := s.token(t)
		s.requestRefresh(t)
		s.waitOtherToken(t, before)
		s.wait(t, isReady, noFailure)
	}
	if server.Reuse() != 0 {
		t.Errorf("%d credentials were sent twice", server.Reuse())
	}
	w.mustNotShow(changed)
}

// applicationIs returns nil when condition Ready of an application has a reason.
func applicationIs(namespace, name, reason string) error {
	a := &v1alpha1.OAuthApplication{}
	if err := plane.Client().Get(patient(), key(namespace, name), a); err != nil {
		return err
	}
	if c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != reason {
		return fmt.Errorf("want the application to be %s; its conditions are %+v", reason, a.Status.Conditions)
	}
	return nil
}

func unauthorizedClient(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	mend := server.Always(refreshing(), hostile.OAuthError(http.StatusBadRequest, "unauthorized_client"))
	token := s.token(t)
	s.requestRefresh(t)
	testenv.Eventually(t, patience, func() error { return applicationIs(w.namespace, s.name, v1alpha1.ReasonUnauthorizedClient) })
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))

	other := w.name()
	create(t, connection(w.namespace, other, s.name), codeSecret(t, server, w.namespace, other))
	waitConnection(t, w.namespace, other, isReady)
	mend()
	s.requestRefresh(t)
	s.waitOtherToken(t, token)
	testenv.Eventually(t, patience, func() error { return applicationIs(w.namespace, s.name, v1alpha1.ReasonReady) })
	s.wait(t, isReady, noFailure)
}

// echo : whatever a provider says of what it was sent, nobody else reads it.
func echo(t *testing.T, w *world) {
	for _, code := range []string{"invalid_request", "invalid_client", "server_error", "invalid_grant"} {
		server := w.hostile(t, harness.Options{})
		s := w.connected(t, server, server.URL)
		server.Always(refreshing(), hostile.EchoSecrets(http.StatusBadRequest, code))
		s.requestRefresh(t)
		c := s.wait(t, func(c *v1alpha1.OAuthConnection) error {
			if c.Status.Failure == nil || !strings.Contains(c.Status.Failure.Message, "[redacted]") {
				return errors.New("want a failure with the provider's words, redacted")
			}
			return nil
		})
		w.noLeak(t, "status after "+code, fmt.Sprintf("%+v", c.Status))
		if code == "invalid_client" {
			testenv.Eventually(t, patience, func() error { return applicationIs(w.namespace, s.name, v1alpha1.ReasonInvalidClient) })
		}
		remove(t, c)
		waitGone(t, c)
	}
}
