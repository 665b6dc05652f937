// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
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

// TestAccount is whose tokens they are, and who may authorize again.
func TestAccount(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"the token response names the account":              accountInResponse,
		"the ID token names the account":                    accountInIDToken,
		"an ID token for somebody else is not believed":     accountInForeignIDToken,
		"the user info endpoint names the account":          accountAtUserInfo,
		"the user info endpoint in the application's way":   accountAtOwnUserInfo,
		"a user info endpoint that is away holds up nobody": accountLater,
		"an account that cannot be known is taken":          accountUnknown,
		"another account is revoked where it lives":         accountElsewhere,
		"another account that cannot be revoked yet":        accountRevokedLater,
		"another account's refresh token":                   accountOfImport,
		"another account at a device":                       accountOfDevice,
		"less was granted than asked for":                   scopesMissing,
	})
}

func asking(scopes ...v1alpha1.Scope) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) { spec.Scopes = scopes }
}

// authorizedBy creates a subject whose code an account gave, and waits until its token is there.
func (w *world) authorizedBy(
	t *testing.T, server *hostile.Server, account string, app func(*v1alpha1.OAuthApplicationSpec),
) *subject {
	t.Helper()
	s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": harness.DefaultClient().Secret}, app)
	code, verifier := s.codeOf(t, server, account)
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier}))
	s.wait(t, isReady)
	return s
}

// codeOf is a code that an account gives for the scopes of the application.
func (s *subject) codeOf(t *testing.T, server *hostile.Server, account string) (code, verifier string) {
	t.Helper()
	var scopes []string
	for _, scope := range s.application(t).Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	code, verifier, err := server.NewCodeFor(account, harness.DefaultClient().ID, "", scopes, "")
	if err != nil {
		t.Fatal(err)
	}
	s.w.mustNotShow(verifier)
	return code, verifier
}

// authorizeAgain puts a code of an account into the subject's Secret, and waits until it has ended with an outcome.
func (s *subject) authorizeAgain(t *testing.T, server *hostile.Server, account string, outcome v1alpha1.AuthorizationOutcome) *v1alpha1.OAuthConnection {
	t.Helper()
	before := s.get(t).Status.LastAuthorization.ID
	code, verifier := s.codeOf(t, server, account)
	s.newCodeIn(t, code, verifier)
	c := s.wait(t, func(c *v1alpha1.OAuthConnection) error {
		if last := c.Status.LastAuthorization; last == nil || last.ID == before || last.Outcome != outcome {
			return fmt.Errorf("want another authorization, %s; the last one is %+v", outcome, last)
		}
		return nil
	})
	if n := server.Uses(code); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	return c
}

func subjectIs(want string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Subject != want {
			return fmt.Errorf("want subject %q", want)
		}
		return nil
	}
}

// onlyAlice lets alice authorize again, and not bob. What bob gave is dead then, and what alice gave is not.
func (s *subject) onlyAlice(t *testing.T, server *hostile.Server) {
	t.Helper()
	first, family := s.token(t), issuedRefreshToken(t, server)
	c := s.authorizeAgain(t, server, "alice", v1alpha1.AuthorizationSucceeded)
	if c.Status.LastAuthorization.Message != "" {
		t.Errorf("lastAuthorization says %q", c.Status.LastAuthorization.Message)
	}
	second := s.waitOtherToken(t, first)
	if !server.Introspect(family) {
		t.Error("the old grant was revoked: some providers revoke per account, which would kill the new one")
	}
	issued := len(server.Issued())
	c = s.authorizeAgain(t, server, "bob", v1alpha1.AuthorizationFailed)
	if last := c.Status.LastAuthorization; last.Reason != v1alpha1.ReasonAccountMismatch || last.Message == "" {
		t.Errorf("lastAuthorization is %+v", last)
	}
	waitEvent(t, s.w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonAccountMismatch)
	testenv.Eventually(t, patience, func() error {
		if slices.ContainsFunc(server.Issued()[issued:], server.Introspect) {
			return errors.New("a token of the other account is alive")
		}
		return nil
	})
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, subjectIs(c.Status.Subject), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	s.quiet(t)
	if s.token(t) != second || server.AccountOf(second) != "alice" {
		t.Error("the Secret does not hold alice's token any more")
	}
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.waitOtherToken(t, second)
	s.belongsTo(t, server, "alice")
	s.delete(t)
	dead(t, server)
}

func accountInResponse(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	for _, account := range []string{"alice", "bob"} {
		server.SetAccount(account, hostile.Account{Fields: map[string]any{"team": map[string]any{"id": "team-" + account, "grant": "grant-of-" + account}}})
	}
	s := w.authorizedBy(t, server, "alice", func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.TokenResponse = &v1alpha1.TokenResponseSpec{Subject: "$.team.id", ID: "$.team.grant"}
	})
	c := s.wait(t, isReady, subjectIs("team-alice"))
	if c.Status.ID != "grant-of-alice" {
		t.Errorf("id is %q", c.Status.ID)
	}
	s.onlyAlice(t, server)
	if n := server.Count(record.Filter{Endpoint: record.UserInfo}); n != 0 {
		t.Errorf("the user info endpoint was asked %d times", n)
	}
}

func accountInIDToken(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.EnableIDTokens()
	s := w.authorizedBy(t, server, "alice", asking("openid", "offline_access"))
	s.wait(t, isReady, subjectIs("alice"))
	s.onlyAlice(t, server)
	if n := server.Count(record.Filter{Endpoint: record.UserInfo}); n != 0 {
		t.Errorf("the user info endpoint was asked %d times", n)
	}
}

func accountInForeignIDToken(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.EnableIDTokens()
	for name, claims := range map[string]map[string]any{
		"audience": {"aud": "another-client", "sub": "mallory"},
		"issuer":   {"iss": "https://other.example.com", "sub": "mallory"},
		"expiry":   {"exp": time.Now().Add(-time.Hour).Unix(), "sub": "mallory"},
	} {
		server.SetAccount(name, hostile.Account{Claims: claims})
		s := w.authorizedBy(t, server, name, asking("openid", "offline_access"))
		s.wait(t, isReady, subjectIs(name)) // The user info endpoint says so.
	}
}

func accountAtUserInfo(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.authorizedBy(t, server, "alice", asking("openid", "offline_access"))
	s.wait(t, isReady, subjectIs("alice"))
	if n := server.Count(record.Filter{Endpoint: record.UserInfo}); n != 1 {
		t.Errorf("the user info endpoint was asked %d times", n)
	}
	s.requestRefresh(t)
	s.wait(t, refreshed)
	s.quiet(t)
	if n := server.Count(record.Filter{Endpoint: record.UserInfo}); n != 1 {
		t.Errorf("the user info endpoint was asked %d times, though the account was known", n)
	}
	s.onlyAlice(t, server)
}

func accountAtOwnUserInfo(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	for _, account := range []string{"alice", "bob"} {
		server.SetAccount(account, hostile.Account{UserInfo: map[string]any{"me": map[string]any{"login": "login-" + account, "region": "eu"}}})
	}
	version := "7"
	s := w.authorizedBy(t, server, "alice", func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.UserInfo = &v1alpha1.UserInfoSpec{
			Subject: "$.me.login", Capture: []v1alpha1.Capture{{Name: "region", Path: "$.me.region"}},
			Headers: []v1alpha1.RequestHeader{{Name: "X-Version", Value: &version}},
		}
	})
	s.wait(t, isReady, subjectIs("login-alice"))
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Secret = &v1alpha1.TokenSecretSpec{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
			"access_token": "{{ .AccessToken }}", "region": "{{ .Captured.region }}",
		}}}
	})
	testenv.Eventually(t, patience, func() error {
		if region := string(get(t, w.namespace, s.name, &corev1.Secret{}).Data["region"]); region != "eu" {
			return fmt.Errorf("region is %q", region)
		}
		return nil
	})
	if header := server.Requests(record.Filter{Endpoint: record.UserInfo})[0].Header.Get("X-Version"); header != version {
		t.Errorf("the header is %q", header)
	}
	s.onlyAlice(t, server)
}

// accountLater : tokens are published before anybody is asked whose they are.
func accountLater(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	back := server.Always(record.Filter{Endpoint: record.UserInfo}, hostile.Status(http.StatusServiceUnavailable, "", nil))
	s := w.authorizedBy(t, server, "alice", asking("openid", "offline_access"))
	if c := s.get(t); c.Status.Subject != "" {
		t.Errorf("subject is %q", c.Status.Subject)
	}
	back()
	s.wait(t, isReady, subjectIs("alice"))

	// Somebody who authorizes again waits, and what is held goes on.
	token := s.token(t)
	back = server.Always(record.Filter{Endpoint: record.UserInfo}, hostile.Status(http.StatusServiceUnavailable, "", nil))
	asked := server.Count(record.Filter{Endpoint: record.UserInfo})
	code, verifier := s.codeOf(t, server, "bob")
	s.newCodeIn(t, code, verifier)
	if err := server.WaitFor(t.Context(), asked+2, record.Filter{Endpoint: record.UserInfo}); err != nil {
		t.Fatal(err)
	}
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, subjectIs("alice"))
	if s.token(t) != token {
		t.Error("the token was changed before anybody knew whose the new one is")
	}
	back()
	s.wait(t, isReady, func(c *v1alpha1.OAuthConnection) error {
		if last := c.Status.LastAuthorization; last == nil || last.Reason != v1alpha1.ReasonAccountMismatch {
			return errors.New("want AccountMismatch")
		}
		return nil
	})
	s.delete(t)
	dead(t, server)
}

func accountUnknown(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.authorizedBy(t, server, "alice", asking("api:read", "offline_access"))
	first := s.token(t)
	c := s.authorizeAgain(t, server, "bob", v1alpha1.AuthorizationSucceeded)
	if c.Status.LastAuthorization.Message == "" {
		t.Error("lastAuthorization does not say that the account is not known")
	}
	s.waitOtherToken(t, first)
	s.belongsTo(t, server, "bob")
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventAccountUnknown)
	s.wait(t, isReady)

	// An endpoint that does not answer the token tells nothing either.
	refusing := w.hostile(t, harness.Options{})
	refusing.Always(record.Filter{Endpoint: record.UserInfo}, hostile.Status(http.StatusForbidden, "", nil))
	s = w.authorizedBy(t, refusing, "alice", asking("openid", "offline_access"))
	s.authorizeAgain(t, refusing, "bob", v1alpha1.AuthorizationSucceeded)
	s.belongsTo(t, refusing, "bob")
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventAccountUnknown)
	s.delete(t)
	dead(t, refusing)
}

// perTenant describes a provider whose tokens are revoked at an address that the token response names.
func perTenant(server *hostile.Server) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Endpoints = &v1alpha1.Endpoints{RevocationURL: v1alpha1.EndpointURL(server.URL + "/revoke?tenant={tenant}")}
		spec.TokenResponse = &v1alpha1.TokenResponseSpec{
			Subject: "$.team", Capture: []v1alpha1.Capture{{Name: "tenant", Path: "$.tenant"}},
		}
	}
}

func accountElsewhere(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	for _, account := range []string{"alice", "bob"} {
		server.SetAccount(account, hostile.Account{Fields: map[string]any{"team": account, "tenant": "tenant-of-" + account}})
	}
	s := w.authorizedBy(t, server, "alice", perTenant(server))
	s.authorizeAgain(t, server, "bob", v1alpha1.AuthorizationFailed)
	revoked := record.Filter{Endpoint: record.Revoke, Answered: true}
	if err := server.WaitFor(t.Context(), 2, revoked); err != nil {
		t.Fatal(err)
	}
	s.delete(t)
	dead(t, server)
	var tenants []string
	for _, request := range server.Requests(revoked) {
		tenants = append(tenants, request.Params.Get("tenant"))
	}
	if got, want := strings.Join(tenants, " "), "tenant-of-bob tenant-of-bob tenant-of-alice tenant-of-alice"; got != want {
		t.Errorf("tokens were revoked at %s, want %s", got, want)
	}
}

func accountRevokedLater(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.EnableIDTokens()
	s := w.authorizedBy(t, server, "alice", asking("openid", "offline_access"))
	token := s.token(t)
	server.Script(record.Filter{Endpoint: record.Revoke}, hostile.Status(http.StatusServiceUnavailable, "", nil))
	issued := len(server.Issued())
	s.authorizeAgain(t, server, "bob", v1alpha1.AuthorizationFailed)
	testenv.Eventually(t, patience, func() error {
		if slices.ContainsFunc(server.Issued()[issued:], server.Introspect) {
			return errors.New("a token of the other account is alive")
		}
		return nil
	})
	if s.token(t) != token {
		t.Error("the token was changed")
	}
	// A deletion does not wait for that either.
	server.Always(record.Filter{Endpoint: record.Revoke}, hostile.Hang())
	s.authorizeAgain(t, server, "carol", v1alpha1.AuthorizationFailed)
	if err := server.WaitForHanging(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	connection := s.get(t)
	remove(t, connection)
	server.Always(record.Filter{Endpoint: record.Revoke}, hostile.Fault{})
	server.Release()
	waitGone(t, connection)
	dead(t, server)
}

func accountOfImport(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	for _, account := range []string{"alice", "bob"} {
		server.SetAccount(account, hostile.Account{Fields: map[string]any{"team": account}})
	}
	server.SetSubject("alice")
	given := secret(w.namespace, w.name(), map[string]string{"refresh_token": grantAt(t, server)})
	create(t, given)
	s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": harness.DefaultClient().Secret}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.TokenResponse = &v1alpha1.TokenResponseSpec{Subject: "$.team"}
	}, importing(given.Name))
	s.wait(t, isReady, subjectIs("alice"))
	token := s.token(t)
	server.SetSubject("bob")
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"refresh_token": grantAt(t, server)} })
	s.wait(t, isReady, subjectIs("alice"), func(c *v1alpha1.OAuthConnection) error {
		if last := c.Status.LastAuthorization; last == nil || last.Reason != v1alpha1.ReasonAccountMismatch {
			return errors.New("want AccountMismatch")
		}
		return nil
	})
	if s.token(t) != token {
		t.Error("the token was changed")
	}
	server.SetSubject("alice")
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"refresh_token": grantAt(t, server)} })
	s.waitOtherToken(t, token)
	s.delete(t)
	for i, token := range server.Issued() {
		if server.AccountOf(token) == "bob" {
			t.Errorf("secret %d of the other account is alive", i)
		}
	}
}

func accountOfDevice(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	server.EnableIDTokens()
	s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": harness.DefaultClient().Secret},
		asking("openid", "offline_access"), byDevice)
	codes := []string{s.invited(t)}
	if err := server.ApproveDevice(codes[0], "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady, subjectIs("alice"))
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.requestRefresh(t)
	codes = append(codes, s.invited(t, codes...))
	issued := len(server.Issued())
	if err := server.ApproveDevice(codes[1], "bob"); err != nil {
		t.Fatal(err)
	}
	codes = append(codes, s.invited(t, codes...)) // Another one by itself.
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant), says(codes[2]), subjectIs("alice"))
	if last := c.Status.LastAuthorization; last == nil || last.Reason != v1alpha1.ReasonAccountMismatch {
		t.Errorf("lastAuthorization is %+v", last)
	}
	if slices.ContainsFunc(server.Issued()[issued:], func(token string) bool { return server.AccountOf(token) == "bob" }) {
		t.Error("a token of the other account is alive")
	}
	if err := server.ApproveDevice(codes[2], "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, subjectIs("alice"))
}

func scopesMissing(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.SetAccount("alice", hostile.Account{Scopes: []string{"api:read"}})
	s := w.authorizedBy(t, server, "alice", asking("api:read", "api:write", "offline_access"))
	c := s.wait(t, isReady, is(v1alpha1.ConditionScopesGranted, metav1.ConditionFalse), scopes("api:read"))
	for _, condition := range c.Status.Conditions {
		if condition.Type == v1alpha1.ConditionScopesGranted &&
			(!strings.Contains(condition.Message, "api:write") || strings.Contains(condition.Message, "offline_access") || condition.Reason != v1alpha1.ReasonScopesMissing) {
			t.Errorf("%s: %s", condition.Reason, condition.Message) // There is a refresh token, so offline_access was granted.
		}
	}
	if note := waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonScopesMissing); !strings.Contains(note, "api:write") {
		t.Errorf("the event says %q", note)
	}
	server.SetAccount("alice", hostile.Account{})
	s.authorizeAgain(t, server, "alice", v1alpha1.AuthorizationSucceeded)
	s.wait(t, isReady, is(v1alpha1.ConditionScopesGranted, metav1.ConditionTrue), scopes("api:read", "api:write", "offline_access"))

	// Fewer are wanted: those that are held are enough.
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Scopes = []v1alpha1.Scope{"api:read"} })
	s.wait(t, isReady, is(v1alpha1.ConditionScopesGranted, metav1.ConditionTrue))
}

// TestAccountRestart : a new authorization survives the process, whether its account has still to be found out or its tokens
// to be revoked.
func TestAccountRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	server := w.hostile(t, harness.Options{})
	s := w.authorizedBy(t, server, "alice", asking("openid", "offline_access"))
	s.wait(t, subjectIs("alice"))
	for _, account := range []string{"alice", "bob"} {
		token := s.token(t)
		before := s.get(t).Status.LastAuthorization.ID
		asked := server.Count(record.Filter{Endpoint: record.UserInfo})
		back := server.Always(record.Filter{Endpoint: record.UserInfo}, hostile.Status(http.StatusServiceUnavailable, "", nil))
		alive := server.Always(record.Filter{Endpoint: record.Revoke}, hostile.Status(http.StatusServiceUnavailable, "", nil))
		code, verifier := s.codeOf(t, server, account)
		s.newCodeIn(t, code, verifier)
		if err := server.WaitFor(t.Context(), asked+1, record.Filter{Endpoint: record.UserInfo, Answered: true}); err != nil {
			t.Fatal(err)
		}
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		back()
		w.restart(t)
		s.wait(t, isReady, func(c *v1alpha1.OAuthConnection) error {
			if c.Status.LastAuthorization.ID == before {
				return errors.New("want the outcome of the authorization")
			}
			return nil
		})
		if account == "bob" {
			if err := server.WaitFor(t.Context(), 1, record.Filter{Endpoint: record.Revoke, Answered: true}); err != nil {
				t.Fatal(err)
			}
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
			alive()
			w.restart(t)
			testenv.Eventually(t, patience, func() error {
				for _, token := range server.Issued() {
					if server.AccountOf(token) == "bob" {
						return errors.New("a token of the other account is alive")
					}
				}
				return nil
			})
		} else {
			s.waitOtherToken(t, token)
		}
		alive()
		s.belongsTo(t, server, "alice")
		if n := server.Uses(code); n != 1 {
			t.Errorf("the code was sent %d times", n)
		}
	}
	s.delete(t)
	dead(t, server)
	w.showsNothing(t)
}
