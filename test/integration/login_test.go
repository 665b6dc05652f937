// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// gatewayURL is the address of a gateway that these tests play: they leave the messages that it would.
const gatewayURL = "https://oauth.example.com"

const callbackURL = gatewayURL + v1alpha1.PathCallback

// TestLogin is what the controller makes of the messages that a gateway leaves.
func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, func(o *controller.Options, _ *rest.Config) { o.ExternalURL = gatewayURL + "/" })
	runIn(t, w, map[string]func(*testing.T, *world){
		"a code becomes a token":                                    loginSucceeds,
		"a person declines":                                         loginDenied,
		"a code that the provider refuses":                          loginRefused,
		"a client that the provider does not accept":                loginByRefusedClient,
		"a connection that changed meanwhile":                       loginForOldSpec,
		"an application that was made anew meanwhile":               loginForOldApplication,
		"a code that comes while the connection is suspended":       loginWhileSuspended,
		"a response from another browser, and one that is replayed": loginObserved,
		"a grant that is over is authorized again":                  loginAgain,
		"another account":                                           loginByAnotherAccount,
		"two people at once":                                        loginsAtOnce,
		"more scopes than a person has consented to":                loginForMoreScopes,
		"an application whose callback is elsewhere":                callbackElsewhere,
		"a provider that demands pushed requests":                   pushedRequestsDemanded,
		"a login of a connection that leaves nothing to a person":   loginForNobody,
	})
}

// atGateway is a server whose client's codes come by the gateway.
func (w *world) atGateway(t *testing.T) *hostile.Server {
	t.Helper()
	c := harness.DefaultClient()
	c.RedirectURIs = []string{harness.DefaultRedirectURI, callbackURL}
	return w.hostile(t, harness.Options{Clients: []harness.Client{c}})
}

func byPerson(spec *v1alpha1.OAuthConnectionSpec) { spec.Grant = v1alpha1.GrantSpec{} }

func throughGateway(spec *v1alpha1.OAuthApplicationSpec) { spec.RedirectURL = "" }

// awaited creates a subject that waits for a person.
func (w *world) awaited(t *testing.T, server *hostile.Server, app ...func(*v1alpha1.OAuthApplicationSpec)) *subject {
	t.Helper()
	s := &subject{w: w, name: w.name(), server: server, url: server.URL}
	application, clientSecret := application(w.namespace, s.name, server.URL, append([]func(*v1alpha1.OAuthApplicationSpec){throughGateway}, app...)...)
	create(t, application, clientSecret, connection(w.namespace, s.name, s.name, byPerson))
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing), hasLink)
	return s
}

func hasLink(c *v1alpha1.OAuthConnection) error {
	if _, err := ticket.Check(c, ticket.Of(c), time.Now()); err != nil {
		return fmt.Errorf("want a link that is good: %w", err)
	}
	if want := gatewayURL + "/connect/" + c.Namespace + "/" + c.Name + "?"; !strings.HasPrefix(c.Status.AuthorizationURL, want) {
		return fmt.Errorf("want a link that begins with %s", want)
	}
	return nil
}

func hasNoLink(c *v1alpha1.OAuthConnection) error {
	if c.Status.AuthorizationURL != "" {
		return errors.New("want no link")
	}
	return nil
}

// response is what the gateway says of a login of an account.
func (s *subject) response(t *testing.T, server *hostile.Server, account string) pending.Message {
	t.Helper()
	code, verifier, err := server.NewCodeFor(account, harness.DefaultClient().ID, callbackURL, []string{"api:read", "offline_access"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s.w.mustNotShow(verifier)
	c := s.get(t)
	return pending.Message{
		Connection: s.key(), ConnectionUID: c.UID, Application: s.key(), ApplicationUID: s.application(t).UID,
		ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
		Response: &pending.Response{
			Login: "login-" + s.w.name(), Generation: c.Generation, Code: sensitive.New(code), Verifier: sensitive.New(verifier), RedirectURL: callbackURL,
		},
	}
}

// leave writes a message as the gateway would, and returns its name.
func (s *subject) leave(t *testing.T, m pending.Message) types.NamespacedName {
	t.Helper()
	message, err := pending.Encode(s.w.operator, pending.Name(m.Kind(), s.w.name()), m)
	if err != nil {
		t.Fatal(err)
	}
	create(t, message)
	return client.ObjectKeyFromObject(message)
}

// login leaves a message and waits for the outcome of that login, and until the message is empty.
func (s *subject) login(t *testing.T, m pending.Message, outcome v1alpha1.AuthorizationOutcome, reason string) *v1alpha1.OAuthConnection {
	t.Helper()
	message := s.leave(t, m)
	c := s.wait(t, ended(m.Response.Login, outcome, reason))
	s.emptied(t, message)
	return c
}

func ended(login string, outcome v1alpha1.AuthorizationOutcome, reason string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		last := c.Status.LastAuthorization
		if last == nil || last.ID != login || last.Outcome != outcome || last.Reason != reason {
			return fmt.Errorf("want login %s to end %s %s; the last one is %+v", login, outcome, reason, last)
		}
		return nil
	}
}

func (s *subject) emptied(t *testing.T, message types.NamespacedName) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		found := &corev1.Secret{}
		if err := plane.Client().Get(patient(), message, found); err != nil {
			return err
		}
		if !pending.Emptied(found) {
			return errors.New("the message still holds what it said")
		}
		return nil
	})
}

func loginSucceeds(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	m := s.response(t, server, "alice")
	s.login(t, m, v1alpha1.AuthorizationSucceeded, "")
	c := s.wait(t, isReady, hasNoLink)
	if !server.Introspect(s.token(t)) {
		t.Error("the Secret holds no token that works")
	}
	if n := server.Uses(m.Response.Code.Reveal()); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)
	if c.Status.Phase != v1alpha1.ConnectionActive {
		t.Errorf("phase is %s", c.Status.Phase)
	}
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.delete(t)
	dead(t, server)
}

func loginDenied(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	link := s.get(t).Status.AuthorizationURL
	m := s.response(t, server, "alice")
	m.Response = &pending.Response{Login: "login-1", Generation: 1, Reason: v1alpha1.ReasonAccessDenied, Message: "access_denied: I would rather not"}
	s.login(t, m, v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccessDenied)
	c := s.wait(t, phase(v1alpha1.ConnectionAuthorizing), notReady(v1alpha1.ReasonAuthorizationRequired), hasLink)
	if c.Status.AuthorizationURL != link {
		t.Error("the link was replaced although it is good")
	}
	if note := waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonAccessDenied); !strings.Contains(note, "rather not") {
		t.Errorf("the event says %q", note)
	}
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
}

func loginRefused(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	m := s.response(t, server, "alice")
	m.Response.Verifier = sensitive.New(strings.Repeat("w", 43))
	s.login(t, m, v1alpha1.AuthorizationFailed, v1alpha1.ReasonInvalidGrant)
	c := s.wait(t, phase(v1alpha1.ConnectionAuthorizing), hasLink)
	if c.Status.Failure != nil {
		t.Errorf("status.failure is %+v, but nothing goes on failing", c.Status.Failure)
	}
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
}

func loginByRefusedClient(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	update(t, get(t, w.namespace, s.name+"-client", &corev1.Secret{}), func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{"client_secret": []byte("wrong")}
	})
	testenv.Eventually(t, patience, func() error {
		kept := &corev1.Secret{}
		name := key(w.operator, "client-"+string(s.application(t).UID))
		if err := plane.Client().Get(patient(), name, kept); err != nil {
			return err
		}
		if !strings.Contains(fmt.Sprintf("%s", kept.Data), "wrong") {
			return errors.New("the new client secret was not read yet")
		}
		return nil
	})
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationFailed, v1alpha1.ReasonInvalidClient)
	s.wait(t, hasLink) // Whoever clicks again finds out whether it was mended.
	update(t, get(t, w.namespace, s.name+"-client", &corev1.Secret{}), func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{"client_secret": []byte(harness.DefaultClient().Secret)}
	})
	s.wait(t, notReady(v1alpha1.ReasonAuthorizationRequired), hasLink)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
}

func loginForOldSpec(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	link := s.get(t).Status.AuthorizationURL
	m := s.response(t, server, "alice")
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.DisplayName = "changed" })
	c := s.login(t, m, v1alpha1.AuthorizationFailed, v1alpha1.ReasonConnectionChanged)
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
	if c.Status.AuthorizationURL == link {
		t.Error("the link outlived the spec that it was made for")
	}
}

func loginForOldApplication(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	m := s.response(t, server, "alice")
	m.ApplicationUID = "an-earlier-one"
	s.login(t, m, v1alpha1.AuthorizationFailed, v1alpha1.ReasonConnectionChanged)
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func loginWhileSuspended(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	s.wait(t, notReady(v1alpha1.ReasonSuspended), hasNoLink)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationFailed, v1alpha1.ReasonSuspended)
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func loginObserved(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	for _, reason := range []string{v1alpha1.ReasonWrongBrowser, v1alpha1.ReasonResponseReplayed} {
		m := s.response(t, server, "alice")
		m.Response = &pending.Response{Login: "login-1", Generation: 1, Reason: reason, Message: "it came from elsewhere"}
		s.emptied(t, s.leave(t, m))
		waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, reason)
	}
	if c := s.get(t); c.Status.LastAuthorization != nil || c.Status.Phase != v1alpha1.ConnectionAuthorizing {
		t.Errorf("a stranger's browser has changed the status: %+v", c.Status)
	}
}

func loginAgain(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	first := s.wait(t, isReady)
	token := s.token(t)
	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.requestRefresh(t)
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant), hasLink)
	if c.Status.SecretName == "" {
		t.Error("the Secret has gone")
	}
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	again := s.wait(t, isReady, hasNoLink)
	if s.waitOtherToken(t, token); again.UID != first.UID || !again.Status.CreatedAt.Equal(first.Status.CreatedAt) {
		t.Error("the history is lost")
	}
}

func loginByAnotherAccount(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server, withSubject)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady, subjectIs("alice"))
	if err := server.RevokeGrant(s.token(t)); err != nil {
		t.Fatal(err)
	}
	s.requestRefresh(t)
	s.wait(t, phase(v1alpha1.ConnectionInactive), hasLink)
	s.login(t, s.response(t, server, "bob"), v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccountMismatch)
	s.wait(t, phase(v1alpha1.ConnectionInactive), hasLink, subjectIs("alice"))
	testenv.Eventually(t, patience, func() error {
		if slices.ContainsFunc(server.Issued(), server.Introspect) {
			return errors.New("what the other account has granted is alive")
		}
		return nil
	})
}

// withSubject has the user info endpoint name the account.
func withSubject(spec *v1alpha1.OAuthApplicationSpec) {
	spec.UserInfo = &v1alpha1.UserInfoSpec{Subject: "$.sub"}
}

func loginsAtOnce(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	var codes []string
	for range 5 {
		m := s.response(t, server, "alice")
		codes = append(codes, m.Response.Code.Reveal())
		defer s.emptied(t, s.leave(t, m))
	}
	testenv.Eventually(t, patience, func() error {
		for _, code := range codes {
			if n := server.Uses(code); n != 1 {
				return fmt.Errorf("a code was sent %d times", n)
			}
		}
		return nil
	})
	s.wait(t, isReady, hasNoLink)
	if !server.Introspect(s.token(t)) {
		t.Error("the Secret holds no token that works")
	}
}

func loginForMoreScopes(t *testing.T, w *world) {
	server := w.atGateway(t)
	s := w.awaited(t, server)
	s.login(t, s.response(t, server, "alice"), v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady, hasNoLink)
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Scopes = []v1alpha1.Scope{"api:read", "api:write", "offline_access"}
	})
	s.wait(t, isReady, hasLink, is(v1alpha1.ConditionScopesGranted, metav1.ConditionFalse))
	code, verifier, err := server.NewCodeFor("alice", harness.DefaultClient().ID, callbackURL, []string{"api:read", "api:write", "offline_access"}, "")
	if err != nil {
		t.Fatal(err)
	}
	m := s.response(t, server, "alice")
	m.Response.Code, m.Response.Verifier = sensitive.New(code), sensitive.New(verifier)
	w.mustNotShow(verifier)
	s.login(t, m, v1alpha1.AuthorizationSucceeded, "")
	s.wait(t, isReady, hasNoLink, is(v1alpha1.ConditionScopesGranted, metav1.ConditionTrue))
}

func callbackElsewhere(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := &subject{w: w, name: w.name(), server: server, url: server.URL}
	app, clientSecret := application(w.namespace, s.name, server.URL)
	create(t, app, clientSecret, connection(w.namespace, s.name, s.name, byPerson))
	c := s.wait(t, phase(v1alpha1.ConnectionAuthorizing), hasNoLink)
	if message := messageOf(c); !strings.Contains(message, "codeSecretRef") {
		t.Errorf("the message %q does not say how to go on", message)
	}
}

// loginForNobody : a gateway that was taken over leaves a code of its own for connections that are no business of a person's.
func loginForNobody(t *testing.T, w *world) {
	server := w.atGateway(t)
	for _, spec := range []func(*v1alpha1.OAuthConnectionSpec){
		func(*v1alpha1.OAuthConnectionSpec) {}, // A code in a Secret.
		func(spec *v1alpha1.OAuthConnectionSpec) {
			spec.Grant = v1alpha1.GrantSpec{
				Type:         v1alpha1.GrantRefreshToken,
				RefreshToken: &v1alpha1.RefreshTokenGrant{SecretRef: v1alpha1.SecretKeyReference{Name: "missing"}},
			}
		},
	} {
		s := &subject{w: w, name: w.name(), server: server, url: server.URL}
		app, clientSecret := application(w.namespace, s.name, server.URL, throughGateway)
		create(t, app, clientSecret, connection(w.namespace, s.name, s.name, spec))
		s.wait(t, notReady(v1alpha1.ReasonSecretNotFound))
		m := s.response(t, server, "mallory")
		s.emptied(t, s.leave(t, m))
		if n := server.Uses(m.Response.Code.Reveal()); n != 0 {
			t.Errorf("the code was sent %d times", n)
		}
		if c := s.wait(t, notReady(v1alpha1.ReasonSecretNotFound)); c.Status.LastAuthorization != nil {
			t.Errorf("a login that nobody can have begun is in status: %+v", c.Status.LastAuthorization)
		}
	}
}

func pushedRequestsDemanded(t *testing.T, w *world) {
	server := w.atGateway(t)
	server.Always(record.Filter{Endpoint: record.Discovery}, hostile.SetField("require_pushed_authorization_requests", true))
	s := &subject{w: w, name: w.name(), server: server, url: server.URL}
	app, clientSecret := application(w.namespace, s.name, server.URL, throughGateway)
	create(t, app, clientSecret, connection(w.namespace, s.name, s.name, byPerson))
	s.wait(t, notReady(v1alpha1.ReasonPARRequired), hasNoLink, is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
}

func messageOf(c *v1alpha1.OAuthConnection) string {
	for _, condition := range c.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Message
		}
	}
	return ""
}
