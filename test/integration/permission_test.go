// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestPermission is who may use an application, and what a connection says when something is missing.
func TestPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	for name, test := range map[string]func(*testing.T, *world){
		"other namespaces may not, by default":                  allowedSame,
		"all namespaces":                                        allowedAll,
		"a selector, and labels that change":                    allowedSelector,
		"grant types of other namespaces":                       allowedGrantTypes,
		"scopes without a person may only be fewer":             allowedScopes,
		"forbidden later, the Secret stays":                     forbiddenLater,
		"nobody can be sent to a gateway that is not there":     noGateway,
		"without a code, a person is waited for":                authorizationRequired,
		"no such application":                                   noApplication,
		"an application in a namespace that nobody looks at":    unwatchedApplication,
		"an application that is not ready says why":             applicationNotReady,
		"a client Secret without the key":                       clientSecretWithoutKey,
		"Orphan leaves the grant alive":                         orphan,
		"an application that is made anew goes on where it was": applicationAnew,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// tenant creates an application in the first namespace and a connection of another namespace that refers to it.
func (w *world) tenant(
	t *testing.T, server provider, url, namespace string, app func(*v1alpha1.OAuthApplicationSpec), change ...func(*v1alpha1.OAuthConnectionSpec),
) string {
	t.Helper()
	name := w.name()
	a, clientSecret := application(w.namespace, name, url, app)
	refer := func(spec *v1alpha1.OAuthConnectionSpec) { spec.ApplicationRef.Namespace = w.namespace }
	create(t, a, clientSecret, codeSecret(t, server, namespace, name),
		connection(namespace, name, name, append([]func(*v1alpha1.OAuthConnectionSpec){refer}, change...)...))
	return name
}

func allow(from v1alpha1.NamespacesFrom, types ...v1alpha1.GrantType) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.AllowedNamespaces, spec.AllowedGrantTypes = &v1alpha1.AllowedNamespaces{From: from}, types
	}
}

func allowedSame(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.tenant(t, server, server.URL, w.others[0], func(*v1alpha1.OAuthApplicationSpec) {})
	waitConnection(t, w.others[0], name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonNotAllowed),
		says("spec.allowedNamespaces"), is(v1alpha1.ConditionStalled, metav1.ConditionTrue)))
	waitEvent(t, w.others[0], name, corev1.EventTypeWarning, v1alpha1.ReasonNotAllowed)
	if n := server.Count(record.Filter{Endpoint: record.Token}); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	update(t, get(t, w.namespace, name, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		allow(v1alpha1.NamespacesFromAll)(&a.Spec)
	})
	waitConnection(t, w.others[0], name, isReady)
}

func allowedAll(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll))
	waitConnection(t, w.others[0], name, isReady)
	remove(t, get(t, w.others[0], name, &v1alpha1.OAuthConnection{}))
	waitGone(t, connection(w.others[0], name, name))
	dead(t, server)
}

func allowedSelector(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	label := "may-" + w.name()
	name := w.tenant(t, server, server.URL, w.others[1], func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
			From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: "yes"}},
		}
	})
	waitConnection(t, w.others[1], name, notReady(v1alpha1.ReasonNotAllowed))
	namespace := get(t, "", w.others[1], &corev1.Namespace{})
	update(t, namespace, func(n *corev1.Namespace) { n.Labels[label] = "yes" })
	waitConnection(t, w.others[1], name, isReady)
	update(t, namespace, func(n *corev1.Namespace) { delete(n.Labels, label) })
	waitConnection(t, w.others[1], name, notReady(v1alpha1.ReasonNotAllowed))
}

func allowedGrantTypes(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll), clientCredentials)
	waitConnection(t, w.others[0], name, all(notReady(v1alpha1.ReasonNotAllowed), says("ClientCredentials"), says("spec.allowedGrantTypes")))
	update(t, get(t, w.namespace, name, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		allow(v1alpha1.NamespacesFromAll, v1alpha1.GrantClientCredentials)(&a.Spec)
	})
	waitConnection(t, w.others[0], name, isReady)
	code := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll, v1alpha1.GrantClientCredentials))
	waitConnection(t, w.others[0], code, all(notReady(v1alpha1.ReasonNotAllowed), says("AuthorizationCode")))
}

func allowedScopes(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll, v1alpha1.GrantClientCredentials),
		clientCredentials, func(spec *v1alpha1.OAuthConnectionSpec) { spec.Scopes = []v1alpha1.Scope{"api:read", "api:write"} })
	waitConnection(t, w.others[0], name, all(notReady(v1alpha1.ReasonNotAllowed), says("api:write")))
	update(t, get(t, w.others[0], name, &v1alpha1.OAuthConnection{}), func(c *v1alpha1.OAuthConnection) {
		c.Spec.Scopes = []v1alpha1.Scope{"api:read"}
	})
	waitConnection(t, w.others[0], name, all(isReady, scopes("api:read")))
	own := w.name()
	create(t, connection(w.namespace, own, name, clientCredentials, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Scopes = []v1alpha1.Scope{"api:write"}
	}))
	waitConnection(t, w.namespace, own, all(isReady, scopes("api:write")))
}

func forbiddenLater(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll))
	waitConnection(t, w.others[0], name, isReady)
	token := tokenIn(t, w.others[0], name)
	update(t, get(t, w.namespace, name, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		allow(v1alpha1.NamespacesFromSame)(&a.Spec)
	})
	c := waitConnection(t, w.others[0], name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonNotAllowed)))
	if tokenIn(t, w.others[0], name) != token || !server.Introspect(token) {
		t.Error("the Secret is not what it was")
	}
	asked := server.Count(record.Filter{Endpoint: record.Token})
	update(t, c, func(c *v1alpha1.OAuthConnection) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, "now")
	})
	(&subject{w: w, server: server}).quiet(t)
	if server.Count(record.Filter{Endpoint: record.Token}) != asked {
		t.Error("the provider was asked for a connection that is not allowed")
	}
	remove(t, c)
	waitGone(t, c)
	dead(t, server)
}

func noGateway(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) { spec.RedirectURL = "" })
	create(t, app, clientSecret, connection(w.namespace, name, name, byHand))
	waitConnection(t, w.namespace, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonNoGateway), says("--external-url")))
}

// byHand asks for a person.
func byHand(spec *v1alpha1.OAuthConnectionSpec) {
	spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantAuthorizationCode}
}

func authorizationRequired(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.subject(t, server, server.URL, byHand)
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing), notReady(v1alpha1.ReasonAuthorizationRequired), says("codeSecretRef"))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Grant = connection(w.namespace, s.name, s.name).Spec.Grant
	})
	s.wait(t, isReady)
}

func noApplication(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.name()
	create(t, connection(w.namespace, name, name), codeSecret(t, server, w.namespace, name))
	waitConnection(t, w.namespace, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonApplicationNotFound),
		says(w.namespace+"/"+name)))
	app, clientSecret := application(w.namespace, name, server.URL)
	create(t, app, clientSecret)
	waitConnection(t, w.namespace, name, isReady)
}

func unwatchedApplication(t *testing.T, w *world) {
	name := w.name()
	create(t, connection(w.namespace, name, name, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.ApplicationRef.Namespace = "default"
	}))
	waitConnection(t, w.namespace, name, all(notReady(v1alpha1.ReasonApplicationNotFound), says("--watch-namespaces")))
}

func applicationNotReady(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.Always(record.Filter{Endpoint: record.Discovery}, hostile.WrongIssuer("https://other.example.com"))
	s := w.subject(t, server, server.URL)
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonApplicationNotReady), says("other.example.com"))
	update(t, s.application(t), func(a *v1alpha1.OAuthApplication) {
		a.Spec.IssuerURL = ""
		a.Spec.Endpoints = &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(server.URL + "/token")}
	})
	s.wait(t, isReady)
}

func clientSecretWithoutKey(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL)
	create(t, app, connection(w.namespace, name, name), codeSecret(t, server, w.namespace, name))
	missing := clientSecret.Name
	waitConnection(t, w.namespace, name, all(notReady(v1alpha1.ReasonApplicationNotReady), says(missing)))
	wrong := secret(w.namespace, missing, map[string]string{"password": "x"})
	create(t, wrong)
	waitConnection(t, w.namespace, name, all(notReady(v1alpha1.ReasonApplicationNotReady), says("client_secret")))
	update(t, wrong, func(s *corev1.Secret) { s.StringData = clientSecret.StringData })
	waitConnection(t, w.namespace, name, isReady)
}

func orphan(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) { spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	token, uid := s.token(t), s.get(t).UID
	s.delete(t)
	if !server.Introspect(token) || server.Count(record.Filter{Endpoint: record.Revoke}) != 0 {
		t.Error("the grant was revoked")
	}
	waitGone(t, secret(w.namespace, s.name, nil))
	waitGone(t, secret(w.operator, "grant-"+string(uid), nil))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventOrphaned)
}

// applicationAnew deletes an application by force and makes it again: the grants that it had go on.
func applicationAnew(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	app := s.application(t)
	remove(t, app.DeepCopy())
	s.wait(t, isReady, says("is being deleted"))
	update(t, s.application(t), func(a *v1alpha1.OAuthApplication) { a.Finalizers = nil })
	s.wait(t, isReady, says("there is no OAuthApplication"))
	again, _ := application(w.namespace, s.name, server.URL)
	create(t, again)
	s.wait(t, isReady, func(c *v1alpha1.OAuthConnection) error { return says("the access token is valid until")(c) })
	s.requestRefresh(t)
	s.waitOtherToken(t, token)
	s.delete(t)
	dead(t, server)
}
