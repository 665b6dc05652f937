// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"errors"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

type texts = map[string]v1alpha1.TemplateText

// withTemplate is a connection whose workload reads a file of its own format.
func withTemplate(data, labels, annotations texts) Desired {
	d := desired()
	d.Subject, d.ID, d.DisplayName, d.Owner = "group_1", "connection_1", "CRM", "ann"
	d.Application = types.NamespacedName{Namespace: "platform", Name: "crm-app"}
	d.Captured, d.Inputs = map[string]string{"region": "eu1"}, map[string]string{"tenant": "acme"}
	d.Template = &v1alpha1.SecretTemplate{Data: data, Metadata: &v1alpha1.SecretTemplateMetadata{Labels: labels, Annotations: annotations}}
	return d
}

func wantData(t *testing.T, secret *corev1.Secret, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for key, value := range secret.Data {
		got[key] = string(value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("data = %q, want %q", got, want)
	}
}

func TestPublishRendersTemplates(t *testing.T) {
	d := withTemplate(
		texts{
			"header": "Bearer {{ .AccessToken }}",
			"about": "{{ .TokenType }} {{ .ExpiresAt }} {{ .Scope }} {{ .Subject }} {{ .ID }} {{ .Captured.region }} {{ .Inputs.tenant }} " +
				"{{ with .Connection }}{{ .Namespace }} {{ .Name }} {{ .DisplayName }} {{ .Owner }}{{ end }} " +
				"{{ .Application.Namespace }} {{ .Application.Name }} {{ .SecretName }}",
		},
		texts{"tenant": "{{ .Inputs.tenant }}", "oauth-operator.io/connection": "other", "app.kubernetes.io/managed-by": "other"},
		texts{"example.com/subject": "{{ .Subject }}", "oauth-operator.io/expires-at": "never"},
	)
	w := newWorld(t)
	w.publish(t, d, Result{Outcome: Created})
	w.wantCalls(t, "create crm-token")
	got := w.secret(t, "crm-token")
	wantData(t, got, map[string]string{
		"header": "Bearer " + token,
		"about": "Bearer 2026-08-01T12:30:15Z api:read offline_access group_1 connection_1 eu1 acme billing crm CRM ann " +
			"platform crm-app crm-token",
	})
	wantLabels := map[string]string{
		"tenant": "acme", "oauth-operator.io/connection": "crm", "oauth-operator.io/connection-uid": string(uid),
		"app.kubernetes.io/managed-by": "oauth-operator",
	}
	wantAnnotations := map[string]string{
		"example.com/subject": "group_1", "oauth-operator.io/expires-at": "2026-08-01T12:30:15Z",
		"oauth-operator.io/templated": "annotations:example.com/subject labels:tenant",
	}
	if !maps.Equal(got.Labels, wantLabels) || !maps.Equal(got.Annotations, wantAnnotations) {
		t.Errorf("labels = %q, annotations = %q; want %q, %q", got.Labels, got.Annotations, wantLabels, wantAnnotations)
	}
	if !isOwned(got, uid) {
		t.Errorf("owners = %v", got.OwnerReferences)
	}
	w.publish(t, d, Result{Outcome: Unchanged})
	w.wantCalls(t)
}

// TestPublishFollowsItsTemplate : a change is news and no repair, and what an earlier template said goes with it.
func TestPublishFollowsItsTemplate(t *testing.T) {
	w := newWorld(t)
	d := withTemplate(texts{"a": "1", "b": "2"}, texts{"x": "1", "y": "1"}, texts{"z": "1"})
	w.publish(t, d, Result{Outcome: Created})
	theirs := w.secret(t, "crm-token")
	theirs.Labels["team"], theirs.Annotations["note"] = "red", "theirs"
	if err := w.api.Update(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	w.calls = nil

	d = withTemplate(texts{"a": "1", "b": "2"}, texts{"x": "2"}, nil)
	w.publish(t, d, Result{Outcome: Updated})
	w.wantCalls(t, "update crm-token")
	got := w.secret(t, "crm-token")
	if got.Labels["x"] != "2" || got.Labels["team"] != "red" || got.Annotations["note"] != "theirs" ||
		got.Annotations[annotationTemplated] != "labels:x" {
		t.Errorf("labels = %q, annotations = %q", got.Labels, got.Annotations)
	}
	if _, found := got.Labels["y"]; found {
		t.Errorf("a label that the template no longer has is left: %q", got.Labels)
	}
	if _, found := got.Annotations["z"]; found {
		t.Errorf("an annotation that the template no longer has is left: %q", got.Annotations)
	}
	w.publish(t, d, Result{Outcome: Unchanged})

	edited := w.secret(t, "crm-token")
	edited.Labels["x"], edited.Data["a"] = "edited", []byte("edited")
	if err := w.api.Update(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	w.publish(t, d, Result{Outcome: Updated, Repaired: true})

	w.publish(t, desired(), Result{Outcome: Updated})
	got, want := w.secret(t, "crm-token"), published(desired(), func(s *corev1.Secret) {
		s.Labels["team"], s.Annotations["note"] = "red", "theirs"
	})
	want.ResourceVersion, want.UID = got.ResourceVersion, got.UID
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("without a template, Secret = %+v, want %+v", got, want)
	}
	w.publish(t, desired(), Result{Outcome: Unchanged})
}

// TestPublishDropsNothingOfOthers : the annotation is only a note; it can be edited.
func TestPublishDropsNothingOfOthers(t *testing.T) {
	w := newWorld(t, published(desired(), func(s *corev1.Secret) {
		s.Labels["team"] = "red"
		s.Annotations[annotationTemplated] = "labels:oauth-operator.io/connection-uid annotations:oauth-operator.io/expires-at nonsense labels: x:y"
	}))
	w.publish(t, desired(), Result{Outcome: Updated})
	got, want := w.secret(t, "crm-token"), published(desired(), func(s *corev1.Secret) { s.Labels["team"] = "red" })
	want.ResourceVersion = got.ResourceVersion
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("Secret = %+v, want %+v", got, want)
	}
}

func TestPublishReplacesTemplatedSecrets(t *testing.T) {
	before := withTemplate(texts{"a": "1"}, texts{"x": "1"}, nil)
	after := withTemplate(texts{"a": "2"}, texts{"y": "1"}, nil)
	w := newWorld(t, published(before, func(s *corev1.Secret) { s.Immutable, s.Labels["team"] = new(true), "red" }))
	w.publish(t, after, Result{Outcome: Replaced})
	got := w.secret(t, "crm-token")
	wantData(t, got, map[string]string{"a": "2"})
	if got.Labels["y"] != "1" || got.Labels["team"] != "red" || got.Labels["x"] != "" {
		t.Errorf("labels = %q", got.Labels)
	}
	w.publish(t, after, Result{Outcome: Unchanged})
}

// TestPublishKeepsTheLastGoodSecret : with a template that does not work, nothing is asked of the API server at all.
func TestPublishKeepsTheLastGoodSecret(t *testing.T) {
	former := withTemplate(texts{"a": "good"}, nil, nil)
	former.Name = "former"
	good := withTemplate(texts{"a": "good"}, nil, nil)
	for _, d := range []Desired{
		withTemplate(texts{"a": "line 1\n{{ .Nope }}"}, nil, nil),
		withTemplate(nil, texts{"a": "not a label value"}, nil),
		withTemplate(nil, nil, texts{"a": "{{ .AccessToken }}"}),
		withTemplate(texts{"not a key": ""}, nil, nil),
	} {
		w := newWorld(t, published(good), published(former))
		result, err := w.publisher.Publish(t.Context(), d)
		broken, ok := errors.AsType[*TemplateError](err)
		if !ok || broken.Key == "" || result != (Result{}) {
			t.Errorf("Publish = %+v, %v (%T); want a TemplateError", result, err, err)
		}
		_, conflict := errors.AsType[*ConflictError](err)
		_, rejected := errors.AsType[*RejectedError](err)
		_, leftover := errors.AsType[*LeftoverError](err)
		if conflict || rejected || leftover {
			t.Errorf("a TemplateError passes for another one: %v", err)
		}
		wantNoToken(t, err)
		w.wantCalls(t)
		wantData(t, w.secret(t, "crm-token"), map[string]string{"a": "good"})
		if w.secret(t, "former") == nil {
			t.Error("the former Secret is gone")
		}
		w.publish(t, good, Result{Outcome: Unchanged})
	}
}

// TestErrorsShowNoTokenInsideText : templates put tokens into longer texts, and under any key.
func TestErrorsShowNoTokenInsideText(t *testing.T) {
	const older = "older-0123456789abcdef"
	before := withTemplate(texts{"scope": "{{ .AccessToken }}", "env": "A=1\nTOKEN={{ .AccessToken }}\n"}, nil, nil)
	before.AccessToken = sensitive.New(older)
	d := withTemplate(texts{"token_type": "x:{{ .AccessToken }}", "expires_at": `{"token": {{ toJson .AccessToken }}}`}, nil, nil)
	w := newWorld(t, published(before))
	w.fail = func(string) error {
		return apierrors.NewBadRequest("I saw " + token + " and " + older + " of Bearer api:read")
	}
	_, err := w.publisher.Publish(t.Context(), d)
	wantNoToken(t, err)
	if err == nil || !strings.Contains(err.Error(), "I saw [redacted] and [redacted] of Bearer api:read") {
		t.Errorf("Publish = %v, want the message without the tokens", err)
	}
}
