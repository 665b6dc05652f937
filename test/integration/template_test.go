// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/recipes"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// TestTemplates is the Secret in a shape of the workload's own.
func TestTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, test := range map[string]func(*testing.T, *world){
		"it has what the template says, and follows it":   templateFollowed,
		"refreshed, it is rendered again":                 templateRefreshed,
		"edited or deleted, it is mended":                 templateMended,
		"a broken one keeps the last good Secret":         templateBroken,
		"a broken one from the start is no authorization": templateBrokenFirst,
		"nothing is written when nothing has changed":     templateUnchanged,
		"the recipes become Secrets":                      templateRecipes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

type texts = map[string]v1alpha1.TemplateText

// shaped gives the Secret a template.
func shaped(data, labels texts) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Secret = &v1alpha1.TokenSecretSpec{Template: &v1alpha1.SecretTemplate{
			Data: data, Metadata: &v1alpha1.SecretTemplateMetadata{Labels: labels},
		}}
	}
}

// shape changes the template of a connection.
func (s *subject) shape(t *testing.T, data, labels texts) {
	t.Helper()
	s.update(t, func(c *v1alpha1.OAuthConnection) { shaped(data, labels)(&c.Spec) })
}

// waitSecret waits until the Secret of the connection's name is as wanted.
func (s *subject) waitSecret(t *testing.T, want func(*corev1.Secret) error) *corev1.Secret {
	t.Helper()
	found := &corev1.Secret{}
	testenv.Eventually(t, patience, func() error {
		found = &corev1.Secret{}
		if err := plane.Client().Get(context.Background(), s.key(), found); err != nil {
			return err
		}
		return want(found)
	})
	return found
}

// holds wants keys to have values, and no other keys to be there.
func holds(want map[string]string) func(*corev1.Secret) error {
	return func(found *corev1.Secret) error {
		for key, value := range want {
			if string(found.Data[key]) != value {
				return fmt.Errorf("want another value of %s", key)
			}
		}
		if len(found.Data) != len(want) {
			return fmt.Errorf("want %d keys, there are %d", len(want), len(found.Data))
		}
		return nil
	}
}

func templateFollowed(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, shaped(
		texts{"header": "{{ .TokenType | title }} {{ .AccessToken }}", "about": "{{ .Connection.Name }} {{ .Scope }} {{ .ExpiresAt }}"},
		texts{"team": "red", "app": "crm"},
	))
	c, before := s.get(t), get(t, w.namespace, s.name, &corev1.Secret{})
	token := strings.TrimPrefix(string(before.Data["header"]), "Bearer ")
	if !server.Introspect(token) {
		t.Error("the token in the header is not alive")
	}
	about := s.name + " api:read offline_access " + c.Status.AccessTokenExpiresAt.UTC().Format("2006-01-02T15:04:05Z")
	if err := holds(map[string]string{"header": "Bearer " + token, "about": about})(before); err != nil {
		t.Error(err)
	}
	if before.Labels["team"] != "red" || before.Labels["app"] != "crm" || before.Labels[v1alpha1.LabelConnection] != s.name {
		t.Errorf("labels are %v", before.Labels)
	}

	s.shape(t, texts{"token": "{{ .AccessToken }}"}, texts{"team": "blue"})
	s.waitSecret(t, holds(map[string]string{"token": token}))
	s.wait(t, isReady)
	after := get(t, w.namespace, s.name, &corev1.Secret{})
	if _, left := after.Labels["app"]; left || after.Labels["team"] != "blue" || after.UID != before.UID {
		t.Errorf("labels are %v, or the Secret is another one", after.Labels)
	}

	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Secret = nil })
	s.waitSecret(t, func(found *corev1.Secret) error {
		if string(found.Data[v1alpha1.SecretKeyAccessToken]) != token || len(found.Data) != 4 || found.Labels["team"] != "" {
			return errors.New("want the default keys, and no label of the template")
		}
		return nil
	})
	if n := s.tokenRequests(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	s.delete(t)
	waitGone(t, secret(w.namespace, s.name, nil))
}

func templateRefreshed(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, shaped(texts{"token": "<{{ .AccessToken }}>"}, nil))
	before := string(get(t, w.namespace, s.name, &corev1.Secret{}).Data["token"])
	request := s.requestRefresh(t)
	s.wait(t, observed(request), isReady)
	s.waitSecret(t, func(found *corev1.Secret) error {
		token := strings.Trim(string(found.Data["token"]), "<>")
		if string(found.Data["token"]) == before || !server.Introspect(token) {
			return errors.New("want the new token")
		}
		return nil
	})
}

func templateMended(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, shaped(texts{"token": "<{{ .AccessToken }}>"}, texts{"team": "red"}))
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	update(t, before.DeepCopy(), func(c *corev1.Secret) { c.Data, c.Labels["team"] = map[string][]byte{"token": []byte("x")}, "blue" })
	s.mended(t, before)
	remove(t, before.DeepCopy())
	s.mended(t, before)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventSecretRepaired)
}

func templateBroken(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, shaped(texts{"token": "<{{ .AccessToken }}>"}, nil))
	good := get(t, w.namespace, s.name, &corev1.Secret{})

	s.shape(t, texts{"token": "<{{ .AccessToken }}>", "other": "1\n2 {{ .AccessToken | b64dec }}"}, texts{"team": "red"})
	c := s.wait(t, notReady(v1alpha1.ReasonTemplateInvalid), phase(v1alpha1.ConnectionActive),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue),
		says("spec.secret.template.data[other], line 2: b64dec cannot use these values"))
	w.noLeak(t, "status", fmt.Sprint(c.Status))
	w.noLeak(t, "an event", waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonTemplateInvalid))
	request := s.requestRefresh(t)
	s.wait(t, observed(request), notReady(v1alpha1.ReasonTemplateInvalid))
	if now := get(t, w.namespace, s.name, &corev1.Secret{}); now.ResourceVersion != good.ResourceVersion {
		t.Error("the last good Secret was changed")
	}

	s.shape(t, texts{"token": "[{{ .AccessToken }}]"}, nil)
	s.wait(t, isReady)
	mended := s.waitSecret(t, func(found *corev1.Secret) error {
		if !strings.HasPrefix(string(found.Data["token"]), "[") {
			return errors.New("want the template that works")
		}
		return nil
	})
	if token := strings.Trim(string(mended.Data["token"]), "[]"); !server.Introspect(token) || s.tokenRequests() != 2 {
		t.Errorf("the token is not the newest, or the provider was asked %d times", s.tokenRequests())
	}
}

func templateBrokenFirst(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.subject(t, server, server.URL, shaped(texts{"token": "{{ .Nope }}"}, nil))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, notReady(v1alpha1.ReasonTemplateInvalid), says("data[token], line 1: there is no value Nope"),
		is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	s.shape(t, texts{"token": "{{ .AccessToken }}"}, nil)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	found := get(t, w.namespace, s.name, &corev1.Secret{})
	if !server.Introspect(string(found.Data["token"])) || s.tokenRequests() != 1 {
		t.Errorf("the token is not alive, or the provider was asked %d times", s.tokenRequests())
	}
}

func templateUnchanged(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL, shaped(
		texts{"all": `{{ toJson . }}{{ keys . | join " " }}{{ dict "b" 1 "a" 2 | values | join " " }}`}, texts{"app": "{{ .Application.Name }}"},
	))
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Refresh = &v1alpha1.RefreshSpec{Before: "10%"} })
	s.wait(t, isReady) // A whole pass of this generation.
	testenv.Consistently(t, calm, func() error {
		now := &corev1.Secret{}
		if err := plane.Client().Get(context.Background(), client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if now.ResourceVersion != before.ResourceVersion {
			return errors.New("the Secret was written again")
		}
		return nil
	})
}

// templateRecipes takes the recipes as they are, but for namespace and application.
func templateRecipes(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	app, clientSecret := application(w.namespace, w.name(), server.URL)
	create(t, app, clientSecret)
	all, err := recipes.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, recipe := range all {
		c := recipe.Connection
		c.Namespace, c.Name = w.namespace, w.name()
		c.Spec.ApplicationRef = v1alpha1.ApplicationReference{Name: app.Name}
		c.Spec.Secret.Name = c.Name
		create(t, c)
	}
	for _, recipe := range all {
		waitConnection(t, w.namespace, recipe.Connection.Name, isReady)
		found := get(t, w.namespace, recipe.Connection.Name, &corev1.Secret{})
		template := recipe.Connection.Spec.Secret.Template
		if len(found.Data) != len(template.Data) {
			t.Errorf("%s: there are %d keys", recipe.Name, len(found.Data))
		}
		for key, text := range template.Data {
			if len(found.Data[key]) == 0 || strings.Contains(string(found.Data[key]), "{{") {
				t.Errorf("%s: %s is not rendered from %q", recipe.Name, key, text)
			}
		}
		if want := recipe.Connection.Spec.Secret.Type; want != "" && string(found.Type) != want {
			t.Errorf("%s: the type is %s", recipe.Name, found.Type)
		}
	}
}
