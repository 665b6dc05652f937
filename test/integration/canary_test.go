// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestCanary lets happen what can happen, good and bad, and then looks for every code, verifier, token and client secret in
// everything that people and other programs can read: the log at its most talkative level (client-go's own next ones, which
// the program does not offer, show whole Secrets), events, all objects but the Secrets that are there to hold them, metrics.
func TestCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	verifiers := w.fullOfEvents(t)
	w.mustNotShow(verifiers...)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}

	w.noLeak(t, "the log", w.Log.String())
	if n := len(w.Log.String()); n < 10_000 {
		t.Errorf("the log has %d bytes: that is not all of it", n)
	}
	metrics := &bytes.Buffer{}
	families, err := w.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(metrics, family); err != nil {
			t.Fatal(err)
		}
	}
	w.noLeak(t, "metrics", metrics.String())
	shown := 0
	for _, namespace := range []string{w.namespace, w.operator, "default"} {
		for _, text := range everythingIn(t, namespace) {
			shown++
			w.noLeak(t, "an object in "+namespace, text)
		}
	}
	if shown < 30 {
		t.Errorf("only %d objects were looked at", shown)
	}
	w.canaryIsAlive(t)
}

// fullOfEvents makes connections that succeed and fail in all the ways that make somebody say something. It returns the
// verifiers, which no server issues.
func (w *world) fullOfEvents(t *testing.T) (verifiers []string) {
	t.Helper()
	authorize := func(server provider, url string, change ...func(*v1alpha1.OAuthConnectionSpec)) *subject {
		s := w.subject(t, server, url, change...)
		code, verifier := newCode(t, server)
		verifiers = append(verifiers, verifier)
		create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier}))
		return s
	}
	fosite, goOAuth2 := w.fosite(t, harness.Options{}), w.goOAuth2(t, harness.Options{})
	for _, s := range []*subject{authorize(fosite, fosite.URL), authorize(goOAuth2, goOAuth2.URL)} {
		s.wait(t, isReady)
		s.requestRefresh(t)
		s.wait(t, refreshed)
		remove(t, get(t, w.namespace, s.name, &corev1.Secret{}))
		s.wait(t, isReady)
	}
	deleted := authorize(fosite, fosite.URL)
	deleted.wait(t, isReady)
	deleted.delete(t)

	for _, fault := range []hostile.Fault{
		hostile.EchoSecrets(http.StatusBadRequest, "invalid_request"), hostile.EchoSecrets(http.StatusInternalServerError, "server_error"),
		hostile.EchoSecrets(http.StatusUnauthorized, "invalid_client"), hostile.EchoSecrets(http.StatusBadRequest, "invalid_grant"),
		hostile.LoseResponse(), hostile.Garbage(), hostile.Status(http.StatusServiceUnavailable, "", nil),
		hostile.ExpiresIn("soon"), hostile.SetField("access_token", hostile.Missing{}),
	} {
		w.refuse(t, fault, &verifiers)
	}
	taken := w.name()
	create(t, secret(w.namespace, taken, map[string]string{"password": "theirs"}))
	authorize(fosite, fosite.URL, named(taken)).wait(t, notReady(v1alpha1.ReasonSecretConflict))
	return verifiers
}

// refuse makes a fault meet codes, refreshes, imports and revocations.
func (w *world) refuse(t *testing.T, fault hostile.Fault, verifiers *[]string) {
	t.Helper()
	server := w.hostile(t, harness.Options{})
	settledSomehow := func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure == nil {
			return isReady(c)
		}
		return nil
	}
	code, verifier := newCode(t, server)
	*verifiers = append(*verifiers, verifier)
	s := w.subject(t, server, server.URL)
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier}))
	s.wait(t, isReady)
	given := secret(w.namespace, w.name(), map[string]string{"refresh_token": grantAt(t, server)})
	create(t, given)

	server.Always(record.Filter{Endpoint: record.Token}, fault)
	server.Always(record.Filter{Endpoint: record.Revoke}, fault)
	s.wait(t, observed(s.requestRefresh(t)), settledSomehow)
	imported := w.subject(t, server, server.URL, importing(given.Name))
	imported.wait(t, settledSomehow)
	second := w.subject(t, server, server.URL)
	create(t, codeSecret(t, server, w.namespace, second.name))
	second.wait(t, settledSomehow)
	remove(t, s.get(t))
	if err := server.WaitFor(t.Context(), 1, record.Filter{Endpoint: record.Revoke, Answered: true}); err != nil {
		t.Fatal(err)
	}
}

// everythingIn dumps all objects of a namespace. Of Secrets it shows what `kubectl describe` shows: no values.
func everythingIn(t *testing.T, namespace string) []string {
	t.Helper()
	found, err := discovery.NewDiscoveryClientForConfig(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := found.ServerPreferredNamespacedResources()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		for _, resource := range list.APIResources {
			group, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				t.Fatal(err)
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetGroupVersionKind(group.WithKind(resource.Kind + "List"))
			if err := plane.Client().List(t.Context(), objects, client.InNamespace(namespace)); err != nil {
				t.Fatalf("list %s: %v", resource.Name, err)
			}
			for i := range objects.Items {
				texts = append(texts, described(t, &objects.Items[i]))
			}
		}
	}
	return texts
}

func described(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	if object.GetKind() == "Secret" {
		delete(object.Object, "data")
	}
	text, err := yaml.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// canaryIsAlive proves that the search finds what is there.
func (w *world) canaryIsAlive(t *testing.T) {
	t.Helper()
	secrets := w.secretsOfAll()
	if len(secrets) < 100 {
		t.Errorf("only %d secrets were looked for", len(secrets))
	}
	for _, one := range secrets {
		if len(one) < 10 || shown(`{"refresh_token": "`+one+`"}`, one) == "" || shown("", one) != "" {
			t.Errorf("a secret of %d characters would be missed, or is found everywhere", len(one))
		}
	}
}
