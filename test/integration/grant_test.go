// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// refreshes counts the refresh requests that a server has seen.
func refreshes(server provider) int { return server.Count(record.Filter{GrantType: "refresh_token"}) }

// TestGrants is how connections obtain and renew their tokens.
func TestGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, test := range map[string]func(*testing.T, *world){
		"a code and its verifier come later, in two Secrets":    codeComesLater,
		"one code is exchanged once, another authorizes anew":   codeChanges,
		"a wrong code is refused once and for all":              codeRefused,
		"a wrong code does not harm the grant that is held":     codeRefusedWhileHeld,
		"a code goes with the redirect URL of the connection":   codeWithRedirectURL,
		"a code may end in a line break":                        codeWithLineBreak,
		"a public client needs no secret":                       publicClient,
		"go-oauth2 refuses with 401 and concerns nobody else":   codeRefusedWith401,
		"go-oauth2 rotates":                                     goOAuth2Refreshes,
		"fosite rotates":                                        fositeRefreshes,
		"a refresh token is imported, a changed one anew":       importRefreshToken,
		"a refused import is final":                             importRefused,
		"client credentials are issued anew before they expire": credentials,
		"other scopes are issued at once":                       credentialsScopes,
		"a request refreshes now":                               requestRefreshNow,
		"a request tries a refused grant exactly once":          requestOnInactive,
		"a request without a refresh token says so":             requestNothing,
		"nothing is asked before resume":                        suspendedFromTheStart,
		"suspended tokens run out and are revoked all the same": suspendedLater,
		"a provider that does not rotate":                       notRotating,
		"no refresh token: the token runs out":                  lapses,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func codeComesLater(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	verifierSecret := &v1alpha1.SecretKeyReference{Name: w.name(), Key: "pkce"}
	s := w.subject(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant.AuthorizationCode.CodeVerifierSecretRef = verifierSecret
	})
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretNotFound), says(s.name+"-code"),
		is(v1alpha1.ConditionReconciling, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse))

	code, verifier := newCode(t, server)
	codes := secret(w.namespace, s.name+"-code", map[string]string{"other": "value"})
	create(t, codes)
	s.wait(t, notReady(v1alpha1.ReasonSecretNotFound), says(`key "code" in Secret "`+s.name+`-code"`))
	update(t, codes, func(c *corev1.Secret) { c.StringData = map[string]string{"code": code} })
	s.wait(t, notReady(v1alpha1.ReasonSecretNotFound), says(verifierSecret.Name))
	if n := s.tokenRequests(); n != 0 {
		t.Fatalf("the provider was asked %d times without a verifier", n)
	}
	given := get(t, w.namespace, codes.Name, &corev1.Secret{})
	create(t, secret(w.namespace, verifierSecret.Name, map[string]string{"pkce": verifier}))
	appeared := time.Now()
	c := s.wait(t, isReady, phase(v1alpha1.ConnectionActive), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue),
		is(v1alpha1.ConditionReconciling, metav1.ConditionFalse), is(v1alpha1.ConditionStalled, metav1.ConditionFalse))
	t.Logf("from code to status: %s", time.Since(appeared))

	if server.Uses(code) != 1 || server.Reuse() != 0 {
		t.Errorf("the code was sent %d times", server.Uses(code))
	}
	if c.Status.CreatedAt == nil || c.Status.LastAuthorizedAt == nil || c.Status.NextRefreshAt == nil || c.Status.LastRefreshedAt != nil {
		t.Errorf("times are not those of a fresh grant: %+v", c.Status)
	}
	if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationSucceeded {
		t.Errorf("lastAuthorization is %+v", last)
	}
	if now := get(t, w.namespace, codes.Name, &corev1.Secret{}); now.ResourceVersion != given.ResourceVersion {
		t.Error("the user's Secret was changed")
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)
}

func codeChanges(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	first, refresh := s.token(t), issuedRefreshToken(t, server)

	update(t, get(t, w.namespace, s.name+"-code", &corev1.Secret{}), func(c *corev1.Secret) {
		c.Labels = map[string]string{"touched": "yes"}
	})
	s.quiet(t)

	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.waitOtherToken(t, first)
	if server.Uses(code) != 1 || server.MaxUses() != 1 {
		t.Errorf("a code was sent %d times", server.MaxUses())
	}
	if !server.Introspect(refresh) {
		t.Error("the old grant was revoked: some providers revoke per account, which would kill the new one")
	}
	s.delete(t)
	dead(t, server)
}

// issuedRefreshToken returns the last refresh token that a hostile server issued.
func issuedRefreshToken(t *testing.T, server *hostile.Server) string {
	t.Helper()
	for _, secret := range slices.Backward(server.Issued()) {
		if strings.HasPrefix(secret, "refresh-") {
			return secret
		}
	}
	t.Fatal("no refresh token was issued")
	return ""
}

func codeRefused(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.subject(t, server, server.URL)
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": "wrong-code-of-" + s.name, "code_verifier": "verifier"}))
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse))
	if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationFailed || last.Reason != v1alpha1.ReasonInvalidGrant {
		t.Errorf("lastAuthorization is %+v", last)
	}
	if f := c.Status.Failure; f == nil || f.Reason != v1alpha1.ReasonInvalidGrant || f.Count != 1 || f.NextAttemptAt != nil {
		t.Errorf("failure is %+v", f)
	}
	s.quiet(t)
	if n := s.tokenRequests(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidGrant)
	if err := absent(secret(w.namespace, s.name, nil)); err != nil {
		t.Error(err)
	}
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func codeRefusedWhileHeld(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	s.newCodeIn(t, "wrong-code-of-"+s.name, "verifier")
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive), func(c *v1alpha1.OAuthConnection) error {
		if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationFailed {
			return errors.New("want the failed authorization in status")
		}
		return nil
	})
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidGrant)
	s.quiet(t)
	if s.token(t) != token || !server.Introspect(token) {
		t.Error("the token that was held is gone")
	}
}

func codeWithRedirectURL(t *testing.T, w *world) {
	const other = "http://127.0.0.1/other"
	client := harness.DefaultClient()
	client.RedirectURIs = []string{harness.DefaultRedirectURI, other}
	server := w.hostile(t, harness.Options{Clients: []harness.Client{client}})
	s := w.subject(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant.AuthorizationCode.RedirectURL = other
	})
	code, verifier, err := server.NewCode(client.ID, other, []string{"api:read"}, "")
	if err != nil {
		t.Fatal(err)
	}
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier}))
	s.wait(t, isReady)
}

func codeWithLineBreak(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.subject(t, server, server.URL)
	code, verifier := newCode(t, server)
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code + "\n", "code_verifier": verifier + "\r\n"}))
	s.wait(t, isReady)
	if server.Uses(code) != 1 {
		t.Error("the line break was sent")
	}
}

func publicClient(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{Clients: []harness.Client{{ID: harness.DefaultClient().ID}}})
	name := w.name()
	app, _ := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.SecretRef = nil
	})
	create(t, app, connection(w.namespace, name, name), codeSecret(t, server, w.namespace, name))
	waitConnection(t, w.namespace, name, isReady)
	if n := server.Count(record.Filter{Endpoint: record.Token, AuthMethod: "none"}); n != 1 {
		t.Errorf("%d requests without authentication", n)
	}
}

// go-oauth2 answers a bad code with status 401, which elsewhere speaks of the client.
func codeRefusedWith401(t *testing.T, w *world) {
	server := w.goOAuth2(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	bad := w.name()
	create(t, connection(w.namespace, bad, s.name),
		secret(w.namespace, bad+"-code", map[string]string{"code": "wrong-code-of-" + bad, "code_verifier": "verifier"}))
	waitConnection(t, w.namespace, bad, all(phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant)))
	if n := server.Count(record.Filter{Endpoint: record.Token, Status: http.StatusUnauthorized}); n != 1 {
		t.Errorf("%d answers with status 401: the test does not test what it says", n)
	}
	s.requestRefresh(t)
	s.wait(t, isReady, refreshed)
}

func goOAuth2Refreshes(t *testing.T, w *world) {
	server := w.goOAuth2(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
	s := w.connected(t, server, server.URL)
	refreshesTwice(t, s)
}

func fositeRefreshes(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
	s := w.connected(t, server, server.URL)
	refreshesTwice(t, s)
	s.delete(t)
	dead(t, server)
}

func refreshesTwice(t *testing.T, s *subject) {
	t.Helper()
	first := s.token(t)
	second := s.waitOtherToken(t, first)
	third := s.waitOtherToken(t, second)
	if third == first || !s.server.Introspect(third) {
		t.Error("the Secret does not hold a fresh token")
	}
	if s.server.Reuse() != 0 {
		t.Errorf("%d credentials were sent twice", s.server.Reuse())
	}
	s.wait(t, isReady, refreshed)
}

// grantAt makes a grant at a hostile server without the operator and returns its refresh token.
func grantAt(t *testing.T, server *hostile.Server) string {
	t.Helper()
	code, verifier := newCode(t, server)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {harness.DefaultRedirectURI},
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/token", strings.NewReader(form.Encode()))
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
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.RefreshToken == "" {
		t.Fatalf("status %d, error %v", response.StatusCode, err)
	}
	return answer.RefreshToken
}

func importing(name string) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{
			Type:         v1alpha1.GrantRefreshToken,
			RefreshToken: &v1alpha1.RefreshTokenGrant{SecretRef: v1alpha1.SecretKeyReference{Name: name}},
		}
	}
}

func importRefreshToken(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"refresh_token": grantAt(t, server)})
	s := w.subject(t, server, server.URL, importing(given.Name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretNotFound), says(given.Name))
	create(t, given)
	s.wait(t, isReady)
	first := s.token(t)
	s.quiet(t)

	s.requestRefresh(t)
	second := s.waitOtherToken(t, first)
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"refresh_token": grantAt(t, server)} })
	s.waitOtherToken(t, second)
	s.wait(t, isReady)
	if server.Reuse() != 0 || server.MaxUses() != 1 {
		t.Errorf("a refresh token was sent %d times", server.MaxUses())
	}
	s.delete(t)
	dead(t, server)
}

func importRefused(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"refresh_token": "wrong-token"})
	create(t, given)
	s := w.subject(t, server, server.URL, importing(given.Name))
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
	s.quiet(t)
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"refresh_token": grantAt(t, server)} })
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func credentials(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
	s := w.subject(t, server, server.URL, clientCredentials)
	s.wait(t, isReady)
	first := s.token(t)
	second := s.waitOtherToken(t, first)
	if !server.Introspect(first) {
		t.Error("the first token had expired before the second was there")
	}
	s.wait(t, isReady, refreshed)
	if !server.Introspect(second) {
		t.Error("the second token is not alive")
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)
}

func credentialsScopes(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.subject(t, server, server.URL, clientCredentials)
	s.wait(t, isReady, scopes("api:read", "offline_access"))
	first := s.token(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Scopes = []v1alpha1.Scope{"api:write"} })
	s.waitOtherToken(t, first)
	s.wait(t, isReady, scopes("api:write"))
	s.quiet(t)
}

func scopes(want ...string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if fmt.Sprint(c.Status.Scopes) != fmt.Sprint(want) {
			return fmt.Errorf("want scopes %v", want)
		}
		return nil
	}
}

func requestRefreshNow(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	for range 2 {
		before := s.token(t)
		s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
		s.waitOtherToken(t, before)
	}
	if n := refreshes(server); n != 2 {
		t.Errorf("%d refreshes for 2 requests", n)
	}
}

func requestOnInactive(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.wait(t, observed(s.requestRefresh(t)), phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
	token := s.token(t)
	s.quiet(t)
	before := refreshes(server)
	s.wait(t, observed(s.requestRefresh(t)), phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
	s.quiet(t)
	if n := refreshes(server) - before; n != 1 {
		t.Errorf("%d attempts for one request", n)
	}
	if s.token(t) != token {
		t.Error("the Secret of an inactive connection was changed")
	}
}

func requestNothing(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Always(record.Filter{Endpoint: record.Token}, hostile.OmitRefreshToken())
	s := w.connected(t, server, server.URL)
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventNothingToRefresh)
	if n := s.tokenRequests(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func suspendedFromTheStart(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.subject(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) { spec.Suspend = true })
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSuspended), is(v1alpha1.ConditionStalled, metav1.ConditionFalse))
	s.requestRefresh(t)
	s.quiet(t)
	if n := s.tokenRequests(); n != 0 {
		t.Fatalf("the provider was asked %d times", n)
	}
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = false })
	s.wait(t, isReady)
}

func suspendedLater(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Always(record.Filter{Endpoint: record.Token}, hostile.ExpiresIn(6)) // by its word; it lives for an hour
	s := w.connected(t, server, server.URL)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	s.wait(t, ready(metav1.ConditionTrue, v1alpha1.ReasonSuspended), is(v1alpha1.ConditionReady, metav1.ConditionTrue),
		phase(v1alpha1.ConnectionActive))
	asked, token := s.tokenRequests(), s.token(t)
	c := s.wait(t, notReady(v1alpha1.ReasonSuspended), phase(v1alpha1.ConnectionActive))
	if now := time.Now(); now.Before(c.Status.AccessTokenExpiresAt.Time) {
		t.Errorf("not ready %s before the token expires", c.Status.AccessTokenExpiresAt.Sub(now))
	}
	s.requestRefresh(t)
	s.quiet(t)
	if s.token(t) != token || s.tokenRequests() != asked {
		t.Error("something was done for a suspended connection")
	}
	s.delete(t)
	dead(t, server)
}

func notRotating(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{AccessTokenLifetime: 3 * time.Second})
	server.Always(record.Filter{GrantType: "refresh_token"}, hostile.OmitRefreshToken())
	s := w.connected(t, server, server.URL)
	refreshesTwice(t, s)
	s.delete(t)
	dead(t, server)
}

func lapses(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{AccessTokenLifetime: 3 * time.Second})
	server.Always(record.Filter{Endpoint: record.Token}, hostile.OmitRefreshToken())
	s := w.connected(t, server, server.URL)
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonTokenExpired), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	testenv.Eventually(t, patience, func() error {
		if n := s.tokenRequests(); n != 2 {
			return fmt.Errorf("the provider was asked %d times", n)
		}
		return nil
	})
}

var _ provider = (*fositeserver.Server)(nil)
