// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/elliptic"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// checkedBy says how an application's grants are checked: by themselves not while a test runs.
func checkedBy(kind v1alpha1.StatusCheckType, change ...func(*v1alpha1.OAuthApplicationSpec)) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.StatusCheck = &v1alpha1.StatusCheckSpec{Type: kind, Interval: &metav1.Duration{Duration: 1000 * time.Hour}}
		if kind == v1alpha1.StatusCheckProbe {
			spec.APIBaseURL, spec.StatusCheck.Probe = v1alpha1.EndpointURL(spec.IssuerURL), &v1alpha1.ProbeSpec{Path: "/userinfo"}
		}
		for _, f := range change {
			f(spec)
		}
	}
}

func eachMinute(spec *v1alpha1.OAuthApplicationSpec) {
	spec.StatusCheck.Interval.Duration = time.Minute
}

// withoutRefresh is a server that gives no refresh tokens: what a check finds out cannot be mended by a refresh.
func (w *world) withoutRefresh(t *testing.T, o harness.Options) *hostile.Server {
	t.Helper()
	server := w.hostile(t, o)
	server.Always(record.Filter{Endpoint: record.Token}, hostile.OmitRefreshToken())
	return server
}

// checked creates a connection of an application whose grants are checked, and waits for its token.
func (w *world) checked(t *testing.T, server provider, url string, app func(*v1alpha1.OAuthApplicationSpec)) *subject {
	t.Helper()
	s := w.clientOf(t, server, url, map[string]string{"client_secret": harness.DefaultClient().Secret}, app)
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	return s
}

func introspections() record.Filter { return record.Filter{Endpoint: record.Introspect} }

// asks fails the test unless one refresh request makes one check, and no other request.
func (s *subject) asks(t *testing.T, f record.Filter) {
	t.Helper()
	checks, tokens := s.server.Count(f), s.tokenRequests()
	s.wait(t, observed(s.requestRefresh(t)))
	if n := s.server.Count(f) - checks; n != 1 {
		t.Errorf("%d checks for one request", n)
	}
	if n := s.tokenRequests() - tokens; n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

// deauthorized wants the provider to have ended the grant.
func deauthorized(c *v1alpha1.OAuthConnection) error {
	return all(phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonDeauthorized),
		is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))(c)
}

// TestStatusCheck is what a check finds out, when somebody asks for it.
func TestStatusCheck(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"introspection finds a grant ended":            introspectionEnds,
		"introspection in the name of a private key":   introspectionByPrivateKey,
		"a probe finds a grant ended":                  probeEnds,
		"a probe in the application's way":             probeOwnWay,
		"a new code revives what a check found dead":   checkRevived,
		"outages of introspection change nothing":      introspectionOutages,
		"outages of the API change nothing":            probeOutages,
		"with a refresh token, a request refreshes":    checkNotAsked,
		"nothing is checked while suspended":           checkSuspended,
		"without a check there is nothing to find out": checkNone,
		"a grant that was found dead is revoked too":   checkDeleted,
	})
}

func introspectionEnds(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	token := s.token(t)
	s.asks(t, introspections())
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))

	back := server.Always(introspections(), hostile.SetField("active", false))
	s.asks(t, introspections())
	s.wait(t, deauthorized, says("introspection"))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonDeauthorized)
	if s.token(t) != token {
		t.Error("the Secret of a grant that may come back was changed")
	}
	if c := s.get(t); c.Status.DeletedAt != nil || c.Status.NextRefreshAt != nil {
		t.Errorf("status is %+v", c.Status)
	}
	version := s.get(t).ResourceVersion
	s.asks(t, introspections()) // The same answer is no news, but for the request.
	s.quiet(t)
	back()
	s.asks(t, introspections())
	c := s.wait(t, isReady, phase(v1alpha1.ConnectionActive), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	if c.ResourceVersion == version || s.token(t) != token {
		t.Error("the same token does not work again")
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventRecovered)

	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.asks(t, introspections())
	s.wait(t, deauthorized)
	request := server.Requests(introspections())[0]
	if request.Credential != record.Hash(token) || request.Params.Get("token_type_hint") != "access_token" || request.AuthMethod != "client_secret_basic" {
		t.Errorf("the request is %+v", request.Kind)
	}
}

func introspectionByPrivateKey(t *testing.T, w *world) {
	server, key := w.withoutRefresh(t, clientWith(hostile.PrivateKeyJWT)), newECKey(t, elliptic.P256())
	if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: key.Public()}); err != nil {
		t.Fatal(err)
	}
	s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, key)},
		checkedBy(v1alpha1.StatusCheckIntrospection, byPrivateKey(nil)))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	s.asks(t, introspections())
	if n := server.Count(record.Filter{Endpoint: record.Introspect, AuthMethod: hostile.PrivateKeyJWT, Status: http.StatusOK}); n != 1 {
		t.Errorf("%d introspections by assertion", n)
	}
}

func probeEnds(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	probes := record.Filter{Endpoint: record.UserInfo}
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckProbe))
	s.asks(t, probes)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.asks(t, probes)
	s.wait(t, deauthorized, says("401"))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonDeauthorized)
}

func probeOwnWay(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	probes := record.Filter{Endpoint: record.UserInfo}
	header, version := "Token {access_token}", "7"
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckProbe, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Auth", Value: &header}, {Name: "X-Version", Value: &version}}
		spec.StatusCheck.Probe = &v1alpha1.ProbeSpec{
			Path: "/userinfo?as={who}", InactiveStatuses: []int32{http.StatusForbidden, http.StatusOK},
			InactiveWhen: &v1alpha1.InactiveCondition{Path: "$.error.type", Values: []string{"token_revoked", "account_gone"}},
		}
		who := "somebody else"
		spec.Inputs = []v1alpha1.Input{{Name: "who", Default: &who}}
	}))
	for _, answer := range []struct {
		status int
		body   string
		works  bool
	}{
		{http.StatusUnauthorized, `{"error":{"type":"token_revoked"}}`, true}, // Not one of the statuses: it tells nothing.
		{http.StatusForbidden, `{"error":{"type":"rate_limited"}}`, true},
		{http.StatusForbidden, `no JSON`, true},
		{http.StatusForbidden, `{"error":{"type":"account_gone"}}`, false},
		{http.StatusOK, `{"ok":true}`, true},
		{http.StatusOK, `{"ok":false,"error":{"type":"token_revoked"}}`, false},
	} {
		back := server.Always(probes, hostile.Status(answer.status, answer.body, nil))
		s.asks(t, probes)
		back()
		if answer.works {
			s.wait(t, isReady)
		} else {
			s.wait(t, deauthorized)
		}
	}
	request := server.Requests(probes)[0]
	if request.Header.Get("X-Auth") != "Token "+s.token(t) || request.Header.Get("X-Version") != version || request.AuthMethod == "bearer" ||
		request.Params.Get("as") != "somebody else" {
		t.Errorf("the request has the method %q and the parameters %v", request.AuthMethod, request.Params)
	}
}

func checkRevived(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	first := s.token(t)
	if err := server.RevokeGrant(first); err != nil {
		t.Fatal(err)
	}
	s.asks(t, introspections())
	s.wait(t, deauthorized)
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	s.waitOtherToken(t, first)
}

func outages() map[string]hostile.Fault {
	return map[string]hostile.Fault{
		"500": hostile.Status(http.StatusInternalServerError, "", nil), "429": hostile.Status(http.StatusTooManyRequests, "", nil),
		"a lost answer": hostile.LoseResponse(), "no connection": hostile.CloseBeforeProcessing(),
		"a redirect": hostile.Redirect("https://login.example.com/"),
	}
}

func introspectionOutages(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	faults := outages()
	faults["garbage"], faults["silence"] = hostile.Garbage(), hostile.Hang()
	faults["no answer"] = hostile.SetField("active", hostile.Missing{})
	faults["text for a boolean"] = hostile.SetField("active", "no")
	faults["a client that is not accepted"] = hostile.OAuthError(http.StatusUnauthorized, "invalid_client")
	for name, fault := range faults {
		back := server.Always(introspections(), fault)
		s.asks(t, introspections())
		back()
		if err := all(isReady, phase(v1alpha1.ConnectionActive))(s.get(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.asks(t, introspections())
	s.wait(t, isReady)
	w.connectedTo(t, s) // Nor does it hold up others of the application.
}

// connectedTo adds a connection to a subject's application.
func (w *world) connectedTo(t *testing.T, s *subject) {
	t.Helper()
	name := w.name()
	create(t, connection(w.namespace, name, s.name), codeSecret(t, s.server, w.namespace, name))
	waitConnection(t, w.namespace, name, isReady)
}

func probeOutages(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	probes := record.Filter{Endpoint: record.UserInfo}
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckProbe))
	faults := outages()
	faults["404"], faults["403"] = hostile.Status(http.StatusNotFound, "", nil), hostile.Status(http.StatusForbidden, "", nil)
	for name, fault := range faults {
		back := server.Always(probes, fault)
		s.asks(t, probes)
		back()
		if err := all(isReady, phase(v1alpha1.ConnectionActive))(s.get(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if note := waitEvent(t, w.namespace, s.name, "Warning", v1alpha1.EventStatusCheckFailed); !strings.Contains(note, "statusCheck") {
		t.Errorf("event %q does not say what to look at", note)
	}
	// What was found dead does not come back by an outage either.
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.asks(t, probes)
	s.wait(t, deauthorized)
	for name, fault := range faults {
		back := server.Always(probes, fault)
		s.asks(t, probes)
		back()
		if err := deauthorized(s.get(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func checkNotAsked(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	first := s.token(t)
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.waitOtherToken(t, first)
	if n := server.Count(introspections()); n != 0 {
		t.Errorf("%d introspections", n)
	}
}

func checkSuspended(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	s.wait(t, ready(metav1.ConditionTrue, v1alpha1.ReasonSuspended))
	s.requestRefresh(t)
	s.quiet(t)
	if n := server.Count(introspections()); n != 0 {
		t.Errorf("%d introspections", n)
	}
}

func checkNone(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckNone}
	})
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventNothingToRefresh)
	if n := server.Count(introspections()); n != 0 {
		t.Errorf("%d introspections", n)
	}
}

func checkDeleted(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	server.Always(introspections(), hostile.SetField("active", false))
	s.asks(t, introspections())
	s.wait(t, deauthorized)
	s.delete(t)
	dead(t, server) // It may have been a mistake.
}

// revokeAlone revokes an access token at a hostile server, and not the grant behind it.
func revokeAlone(t *testing.T, server *hostile.Server, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/revoke",
		strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(harness.DefaultClient().ID, harness.DefaultClient().Secret)
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || server.Introspect(token) {
		t.Fatalf("status %d", response.StatusCode)
	}
}

// TestStatusCheckByItself waits for checks that nobody has asked for: once in a minute, at a moment of the connection's own.
func TestStatusCheckByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	fosite := w.fosite(t, harness.Options{})
	server, bare := w.hostile(t, harness.Options{}), w.withoutRefresh(t, harness.Options{})
	away, healthy := w.withoutRefresh(t, harness.Options{}), w.withoutRefresh(t, harness.Options{})
	introspect, probe := checkedBy(v1alpha1.StatusCheckIntrospection, eachMinute), checkedBy(v1alpha1.StatusCheckProbe, eachMinute)
	revoked := w.checked(t, fosite, fosite.URL, introspect)
	mended := w.checked(t, server, server.URL, probe)
	ended := w.checked(t, bare, bare.URL, introspect)
	unknown := w.checked(t, away, away.URL, introspect)
	fine := w.checked(t, healthy, healthy.URL, probe)
	if err := w.Stop(); err != nil { // A moment may have come already, and no other must before all is prepared.
		t.Fatal(err)
	}
	for _, s := range []*subject{revoked, ended} {
		if err := map[provider]func(string) error{fosite: fosite.RevokeGrant, bare: bare.RevokeGrant}[s.server](s.token(t)); err != nil {
			t.Fatal(err)
		}
	}
	first := mended.token(t)
	revokeAlone(t, server, first)
	away.Always(introspections(), hostile.Status(http.StatusServiceUnavailable, "", nil))
	waiting := []struct {
		server provider
		filter record.Filter
	}{
		{fosite, introspections()},
		{server, record.Filter{Endpoint: record.UserInfo}},
		{bare, introspections()},
		{away, introspections()},
		{healthy, record.Filter{Endpoint: record.UserInfo}},
	}
	before := make([]int, len(waiting))
	for i, one := range waiting {
		before[i] = one.server.Count(one.filter)
	}
	restarted := time.Now()
	w.restart(t)
	var at []time.Duration
	seen := map[int]bool{}
	testenv.Eventually(t, time.Minute+patience, func() error {
		for i, one := range waiting {
			if !seen[i] && one.server.Count(one.filter) > before[i] {
				seen[i] = true
				at = append(at, time.Since(restarted))
			}
		}
		if len(seen) < len(waiting) {
			return errors.New("not all were checked")
		}
		return nil
	})
	t.Logf("checks after %v", at)
	if spread := slices.Max(at) - slices.Min(at); spread < 3*time.Second {
		t.Errorf("all were checked within %s", spread)
	}
	revoked.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
	mended.wait(t, phase(v1alpha1.ConnectionActive), isReady, refreshed)
	if mended.token(t) == first {
		t.Error("the Secret still holds the token that does not work")
	}
	ended.wait(t, deauthorized)
	unknown.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	fine.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	if refreshes(server) != 1 || refreshes(fosite) != 1 {
		t.Errorf("%d and %d refreshes", refreshes(server), refreshes(fosite))
	}
	w.showsNothing(t)
}
