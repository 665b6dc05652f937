// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestCaller is what the controller makes of what callers of the API ask for, as the API leaves it.
func TestCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, func(o *controller.Options, _ *rest.Config) { o.ExternalURL = gatewayURL })
	runIn(t, w, map[string]func(*testing.T, *world){
		"a rejected token is renewed":                       nudgeRenews,
		"one renewal for a token, whoever asks":             nudgesAsOne,
		"a token that was renewed since":                    nudgeTooLate,
		"a revoked grant is noticed":                        nudgeNoticesTheEnd,
		"a token without refresh token is checked":          nudgeChecks,
		"a token that works stays":                          nudgeChecksAlive,
		"a renewed token that does not work either":         nudgeVerifies,
		"nobody can be asked, and people are told":          nudgeInVain,
		"the provider's list is asked for":                  nudgeAtIncrease,
		"a brought refresh token without an answer":         broughtWithoutAnswer,
		"an outage is not asked twice":                      nudgeDuringOutage,
		"a suspended connection":                            nudgeSuspended,
		"a refresh token is imported":                       broughtSucceeds,
		"a refresh token that the provider refuses":         broughtRefused,
		"a refresh token for a grant that is held":          broughtAgain,
		"a refresh token for a suspended connection":        broughtWhileSuspended,
		"a link for a connection that works":                invited,
		"a link for a connection that nobody can authorize": invitedInVain,
		"a refresh token that was used is not sent again":   broughtTwice,
	})
}

// said is a message of the API about the subject.
func (s *subject) said(t *testing.T, fill func(*pending.Message, *v1alpha1.OAuthConnection)) types.NamespacedName {
	t.Helper()
	return s.saidOf(t, s.name, fill)
}

// saidOf is said where the application has another name.
func (s *subject) saidOf(t *testing.T, application string, fill func(*pending.Message, *v1alpha1.OAuthConnection)) types.NamespacedName {
	t.Helper()
	c := s.get(t)
	app := get(t, s.w.namespace, application, &v1alpha1.OAuthApplication{})
	m := pending.Message{
		Connection: s.key(), ConnectionUID: c.UID, Application: key(s.w.namespace, application), ApplicationUID: app.UID,
		ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
	}
	fill(&m, c)
	return s.leave(t, m)
}

// nudge says that a token is of no use, and waits until that was answered.
func (s *subject) nudge(t *testing.T, token string, verify bool) {
	t.Helper()
	s.emptied(t, s.said(t, func(m *pending.Message, _ *v1alpha1.OAuthConnection) {
		m.Renewal = &pending.Renewal{TokenHash: sensitive.New(token).Hash(), Verify: verify}
	}))
}

// plain is a connection that works, at a provider that rotates refresh tokens.
func (w *world) plain(t *testing.T) *subject {
	t.Helper()
	server := w.hostile(t, harness.Options{})
	return w.connected(t, server, server.URL)
}

func nudgeRenews(t *testing.T, w *world) {
	s := w.plain(t)
	first := s.token(t)
	s.nudge(t, first, false)
	s.waitOtherToken(t, first)
	s.wait(t, isReady, refreshed)
}

func nudgesAsOne(t *testing.T, w *world) {
	s := w.plain(t)
	first, before := s.token(t), s.tokenRequests()
	var messages []types.NamespacedName
	for range 5 {
		messages = append(messages, s.said(t, func(m *pending.Message, _ *v1alpha1.OAuthConnection) {
			m.Renewal = &pending.Renewal{TokenHash: sensitive.New(first).Hash()}
		}))
	}
	for _, message := range messages {
		s.emptied(t, message)
	}
	s.waitOtherToken(t, first)
	if n := s.tokenRequests() - before; n != 1 {
		t.Errorf("%d token requests for one token that did not work", n)
	}
}

func nudgeTooLate(t *testing.T, w *world) {
	s := w.plain(t)
	first := s.token(t)
	s.requestRefresh(t)
	second := s.waitOtherToken(t, first)
	before := s.tokenRequests()
	s.nudge(t, first, false)
	if n := s.tokenRequests() - before; n != 0 || s.token(t) != second {
		t.Errorf("%d token requests for a token that had been replaced", n)
	}
}

func nudgeNoticesTheEnd(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.nudge(t, token, false)
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
}

func nudgeChecks(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	token := s.token(t)
	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.nudge(t, token, false)
	s.wait(t, phase(v1alpha1.ConnectionInactive))
}

func nudgeChecksAlive(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	before := server.Count(introspections())
	s.nudge(t, s.token(t), false)
	if n := server.Count(introspections()) - before; n != 1 {
		t.Errorf("%d checks for one report", n)
	}
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func nudgeVerifies(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	checks, tokens := server.Count(introspections()), s.tokenRequests()
	s.nudge(t, s.token(t), true)
	if n := server.Count(introspections()) - checks; n != 1 {
		t.Errorf("%d checks for one report", n)
	}
	if n := s.tokenRequests() - tokens; n != 0 {
		t.Errorf("%d token requests", n)
	}
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func nudgeInVain(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	s.nudge(t, s.token(t), false)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventTokenRejected)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func nudgeAtIncrease(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	s := p.listed(t, "group_first")[0]
	p.deauthorize(t, s)
	s.emptied(t, s.saidOf(t, p.production, func(m *pending.Message, _ *v1alpha1.OAuthConnection) {
		m.Renewal = &pending.Renewal{TokenHash: sensitive.New(s.token(t)).Hash()}
	}))
	testenv.Eventually(t, patience, func() error {
		if c := s.get(t); c.Status.Phase == v1alpha1.ConnectionActive {
			return errors.New("the connection is still active")
		}
		return nil
	})
	if n := p.Production.Count(record.Filter{Endpoint: record.Token}); n != 1 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

// What was sent twice without an answer is not sent again, and its login ends.
func broughtWithoutAnswer(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	bring := s.foreign(t, server)
	back := server.Always(record.Filter{Endpoint: record.Token}, hostile.CloseBeforeProcessing())
	before := s.tokenRequests()
	s.brings(t, bring, v1alpha1.AuthorizationUnknown, v1alpha1.ReasonRefreshOutcomeUnknown)
	back()
	if n := s.tokenRequests() - before; n != 2 {
		t.Errorf("it was sent %d times", n)
	}
	s.quiet(t)
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing), hasLink)
}

func nudgeDuringOutage(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	back := server.Always(record.Filter{Endpoint: record.Token}, hostile.Status(http.StatusServiceUnavailable, "", http.Header{"Retry-After": {"600"}}))
	token, before := s.token(t), s.tokenRequests()
	s.nudge(t, token, false)
	s.wait(t, isReady, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure == nil || c.Status.Failure.NextAttemptAt == nil {
			return errors.New("status tells of no failure")
		}
		return nil
	})
	s.nudge(t, token, false)
	if n := s.tokenRequests() - before; n != 1 {
		t.Errorf("%d token requests, although the provider asked for ten minutes", n)
	}
	back()
	s.requestRefresh(t)
	s.waitOtherToken(t, token)
}

func nudgeSuspended(t *testing.T, w *world) {
	s := w.plain(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	s.wait(t, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.ObservedGeneration != c.Generation {
			return errors.New("not seen yet")
		}
		return nil
	})
	before := s.tokenRequests()
	s.nudge(t, s.token(t), false)
	if n := s.tokenRequests() - before; n != 0 {
		t.Errorf("%d token requests of a suspended connection", n)
	}
}

// foreign brings a refresh token that was obtained elsewhere.
func (s *subject) foreign(t *testing.T, server *hostile.Server) func(*pending.Message, *v1alpha1.OAuthConnection) {
	t.Helper()
	refresh := grantAt(t, server)
	s.w.mustNotShow(refresh)
	return bringing(sensitive.New(refresh), "login-"+s.w.name())
}

func bringing(refresh sensitive.String, login string) func(*pending.Message, *v1alpha1.OAuthConnection) {
	return func(m *pending.Message, c *v1alpha1.OAuthConnection) {
		m.Import = &pending.Import{Login: login, Generation: c.Generation, RefreshToken: refresh}
	}
}

// brings leaves a refresh token and waits for the outcome.
func (s *subject) brings(t *testing.T, bring func(*pending.Message, *v1alpha1.OAuthConnection), outcome v1alpha1.AuthorizationOutcome, reason string) {
	t.Helper()
	login := ""
	message := s.said(t, func(m *pending.Message, c *v1alpha1.OAuthConnection) {
		bring(m, c)
		login = m.Import.Login
	})
	s.wait(t, ended(login, outcome, reason))
	s.emptied(t, message)
}

func broughtSucceeds(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	bring := s.foreign(t, server)
	s.brings(t, bring, v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive), hasNoLink)
	if !server.Introspect(s.token(t)) {
		t.Error("the token in the Secret does not work")
	}
}

func broughtRefused(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.brings(t, bringing(sensitive.New("a-refresh-token-of-nobody"), "login-"+w.name()), v1alpha1.AuthorizationFailed, v1alpha1.ReasonInvalidGrant)
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing), hasLink)
}

func broughtTwice(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	bring := s.foreign(t, server)
	s.brings(t, bring, v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady)
	before := s.tokenRequests()
	s.emptied(t, s.said(t, bring))
	if n := s.tokenRequests() - before; n != 0 {
		t.Errorf("the same refresh token was sent again: %d requests", n)
	}
}

func broughtAgain(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	bring := s.foreign(t, server)
	s.brings(t, bring, v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady)
	token := s.token(t)
	other := s.foreign(t, server)
	s.brings(t, other, v1alpha1.AuthorizationSucceeded, "")
	s.waitOtherToken(t, token)
	s.wait(t, isReady)
}

func broughtWhileSuspended(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	bring := s.foreign(t, server)
	before := s.tokenRequests()
	s.brings(t, bring, v1alpha1.AuthorizationFailed, v1alpha1.ReasonSuspended)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = false })
	if n := s.tokenRequests() - before; n != 0 {
		t.Errorf("%d token requests of a suspended connection", n)
	}
	s.wait(t, hasLink)
	s.brings(t, func(m *pending.Message, c *v1alpha1.OAuthConnection) { // It was not used: it can be brought again.
		bring(m, c)
		m.Import.Login += "-again"
	}, v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady)
}

func invited(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady, hasNoLink)
	s.emptied(t, s.said(t, func(m *pending.Message, _ *v1alpha1.OAuthConnection) { m.Invitation = &pending.Invitation{} }))
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive), hasLink)
	token := s.token(t)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	s.waitOtherToken(t, token)
	s.wait(t, isReady, hasNoLink)
}

func invitedInVain(t *testing.T, w *world) {
	s := w.plain(t)
	s.emptied(t, s.said(t, func(m *pending.Message, _ *v1alpha1.OAuthConnection) { m.Invitation = &pending.Invitation{} }))
	s.wait(t, isReady, hasNoLink, func(c *v1alpha1.OAuthConnection) error {
		if c.Spec.Grant.AuthorizationCode == nil {
			return fmt.Errorf("the grant is %+v", c.Spec.Grant)
		}
		return nil
	})
}
