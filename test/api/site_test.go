// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
	"github.com/oauth-operator/oauth-operator/test/servers/upstream"
)

// The client that the applications are at their providers.
const (
	clientID     = "crm"
	clientSecret = "crm-client-secret-4711"
	// The provider's API asks as another client, so that its questions are told from the operator's.
	resourceID     = "crm-api"
	resourceSecret = "crm-api-secret-4711"
)

// provider is what authorization servers have in common.
type provider interface {
	issuer
	NewCode(clientID, redirectURI string, scopes []string, challenge string) (code, verifier string, err error)
	Introspect(token string) bool
	RevokeGrant(token string) error
	Count(f record.Filter) int
	Uses(credential string) int
	Reuse() int
	WaitFor(ctx context.Context, n int, f record.Filter) error
}

// site is an application at a provider with an API, and the namespaces of those who use it.
type site struct {
	*world

	t *testing.T
	// platform holds the application crm, billing its users.
	platform, billing string
	authorization     provider
	// base of the authorization server.
	base string
	api  *upstream.Server
	// application as it was when it became ready.
	application *v1alpha1.OAuthApplication
}

// options of a site.
type options struct {
	// people : the provider asks people who they are.
	people bool
	// hostile : the provider is the scripted one; see site.hostile.
	hostile bool
	// change alters the application before it is made.
	change func(*v1alpha1.OAuthApplicationSpec)
	// before makes what the application needs.
	before func(*site)
	// upstream alters the provider's API.
	upstream func(*upstream.Options)
}

// alice has an account at the provider.
const alice = "alice"

// newSite makes a site with an application that is ready.
func (w *world) newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{world: w, t: t, platform: shared.plane.Namespace(t), billing: shared.plane.Namespace(t)}
	s.authorize(o)
	served := upstream.Options{IntrospectionURL: s.base + "/introspect", ClientID: resourceID, ClientSecret: resourceSecret}
	if o.upstream != nil {
		o.upstream(&served)
	}
	var err error
	if s.api, err = upstream.Start(served); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.api.Close)
	s.application = &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "crm"},
		Spec: v1alpha1.OAuthApplicationSpec{
			DisplayName: "The CRM", LogoURL: "https://crm.example.com/logo.svg", IssuerURL: s.base,
			Client:            v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			Scopes:            []v1alpha1.Scope{"api:read", "offline_access"},
			APIBaseURL:        v1alpha1.EndpointURL(s.api.URL + "/v1"),
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll},
		},
	}
	if o.change != nil {
		o.change(&s.application.Spec)
	}
	if o.before != nil {
		o.before(s)
	}
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "crm-client"},
		StringData: map[string]string{v1alpha1.DefaultClientSecretKey: clientSecret},
	}, s.application)
	s.waitApplication()
	return s
}

// authorize starts the authorization server.
func (s *site) authorize(o options) {
	s.t.Helper()
	settings := harness.Options{
		Clients: []harness.Client{{
			ID: clientID, Secret: clientSecret, RedirectURIs: []string{s.gateway + v1alpha1.PathCallback, harness.DefaultRedirectURI},
		}, {ID: resourceID, Secret: resourceSecret}},
		RequirePKCE: true,
	}
	if o.people {
		settings.Accounts = []string{alice}
	}
	if o.hostile {
		server, err := hostile.Start(settings)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(server.Close)
		s.authorization, s.base = server, server.URL
	} else {
		server, err := fositeserver.Start(settings)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(server.Close)
		s.authorization, s.base = server, server.URL
	}
	s.watch(s.authorization)
}

// hostile is the provider of a site that was made with that option.
func (s *site) hostile() *hostile.Server {
	s.t.Helper()
	server, ok := s.authorization.(*hostile.Server)
	if !ok {
		s.t.Fatalf("the provider is a %T", s.authorization)
	}
	return server
}

func (s *site) waitApplication() {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() error {
		if err := shared.plane.Client().Get(s.t.Context(), client.ObjectKeyFromObject(s.application), s.application); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(s.application.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("the application is not ready: %+v", s.application.Status.Conditions)
		}
		return nil
	})
}

// slug names the application in paths.
func (s *site) slug() string { return s.platform + ".crm" }

// path is one below the integration, named by its slug.
func (s *site) path(below string) string { return "/api/integrations/" + s.slug() + "/" + below }

// user makes a caller who may have connections of its own at the application, and send requests of all methods through them.
func (s *site) user(name string, rules ...rule) *account {
	s.t.Helper()
	rules = append([]rule{
		{namespace: s.platform, resource: connections, verbs: []string{"create"}},
		{namespace: s.platform, resource: proxy, verbs: []string{"get", "create", "update", "patch", "delete"}},
	}, rules...)
	return s.newAccount(s.t, s.billing, name, rules...)
}

// code is an authorization code with its verifier, for the client's own redirect URI.
func (s *site) code() map[string]any {
	s.t.Helper()
	code, verifier, err := s.authorization.NewCode(clientID, harness.DefaultRedirectURI, []string{"api:read", "offline_access"}, "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.hide(verifier)
	return map[string]any{"code": code, "codeVerifier": verifier, "redirectUri": harness.DefaultRedirectURI}
}

// with adds members to a body.
func with(body, members map[string]any) map[string]any {
	maps.Copy(body, members)
	return body
}

// connect gives a caller a connection that works, by POST connect, and returns it.
func (s *site) connect(as *account, members ...map[string]any) *v1alpha1.OAuthConnection {
	s.t.Helper()
	body := s.code()
	for _, more := range members {
		body = with(body, more)
	}
	answer := s.do(s.t, call{as: as, method: http.MethodPost, target: s.path("connect"), body: body})
	answer.want(s.t, http.StatusCreated)
	id, _ := answer.object(s.t)["id"].(string)
	return s.find(id)
}

// find returns the connection of a UID in the platform's namespace.
func (s *site) find(uid string) *v1alpha1.OAuthConnection {
	s.t.Helper()
	all := &v1alpha1.OAuthConnectionList{}
	if err := shared.plane.Client().List(s.t.Context(), all, client.InNamespace(s.platform)); err != nil {
		s.t.Fatal(err)
	}
	for i := range all.Items {
		if all.Items[i].UID == types.UID(uid) {
			return &all.Items[i]
		}
	}
	s.t.Fatalf("there is no connection with UID %q among %d", uid, len(all.Items))
	return nil
}

// get reads a connection anew.
func (s *site) get(c *v1alpha1.OAuthConnection) *v1alpha1.OAuthConnection {
	s.t.Helper()
	fresh := &v1alpha1.OAuthConnection{}
	if err := shared.plane.Client().Get(s.t.Context(), client.ObjectKeyFromObject(c), fresh); err != nil {
		s.t.Fatal(err)
	}
	return fresh
}

// wait waits until a connection is as the condition wants it.
func (s *site) wait(c *v1alpha1.OAuthConnection, condition func(*v1alpha1.OAuthConnection) error) *v1alpha1.OAuthConnection {
	s.t.Helper()
	fresh := &v1alpha1.OAuthConnection{}
	testenv.Eventually(s.t, patience, func() error {
		if err := shared.plane.Client().Get(context.Background(), client.ObjectKeyFromObject(c), fresh); err != nil {
			return err
		}
		return condition(fresh)
	})
	return fresh
}

// waitGone waits until a connection is no more.
func (s *site) waitGone(c *v1alpha1.OAuthConnection) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() error {
		err := shared.plane.Client().Get(context.Background(), client.ObjectKeyFromObject(c), &v1alpha1.OAuthConnection{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the connection is still there"), err)
	})
}

// phase is a condition.
func phase(want v1alpha1.ConnectionPhase) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Phase != want {
			return fmt.Errorf("phase %s, want %s: %+v", c.Status.Phase, want, c.Status.Conditions)
		}
		return nil
	}
}

// works is a condition.
func works(c *v1alpha1.OAuthConnection) error {
	if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
		return fmt.Errorf("not ready: %+v", c.Status.Conditions)
	}
	return nil
}

// token is the access token in a connection's Secret.
func (s *site) token(c *v1alpha1.OAuthConnection) string {
	s.t.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: c.Namespace, Name: s.get(c).Status.SecretName}
	if err := shared.plane.Client().Get(s.t.Context(), key, secret); err != nil {
		s.t.Fatal(err)
	}
	return string(secret.Data[v1alpha1.SecretKeyAccessToken])
}

// hasRecord tells whether the operator holds a grant record of a connection.
func (s *site) hasRecord(c *v1alpha1.OAuthConnection) bool {
	s.t.Helper()
	key := client.ObjectKey{Namespace: testenv.OperatorNamespace, Name: grant.SecretName(string(c.UID))}
	err := shared.plane.Client().Get(s.t.Context(), key, &corev1.Secret{})
	if client.IgnoreNotFound(err) != nil {
		s.t.Fatal(err)
	}
	return err == nil
}

// exchanges and refreshes count token requests.
func exchanges() record.Filter {
	return record.Filter{Endpoint: record.Token, GrantType: "authorization_code"}
}

func refreshes() record.Filter {
	return record.Filter{Endpoint: record.Token, GrantType: "refresh_token"}
}

// id is the UID of an object as paths name it.
func id(object client.Object) string { return url.PathEscape(string(object.GetUID())) }
