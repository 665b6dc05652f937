// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// TestSamplesApply holds the samples to what the API server takes, unknown fields and pod security included.
func TestSamplesApply(t *testing.T) {
	plane := testenv.Start(t, testenv.Options{})
	all, err := readSamples(plane.Root)
	if err != nil {
		t.Fatal(err)
	}
	var namespaces, rest samples
	for _, object := range all {
		if object.GetKind() == "Namespace" {
			namespaces = append(namespaces, object)
		} else {
			rest = append(rest, object)
		}
	}
	if len(namespaces) == 0 || len(rest) == 0 {
		t.Fatalf("%d namespaces and %d other objects in %s", len(namespaces), len(rest), samplesDirectory)
	}
	if err := namespaces.apply(t.Context(), plane.Client()); err != nil {
		t.Fatal(err)
	}
	if err := rest.apply(t.Context(), plane.Client(), client.DryRunAll); err != nil {
		t.Fatal(err)
	}

	// The API server only warns about a Deployment whose pods break the namespace's pod security; it refuses the pods.
	deployment := &appsv1.Deployment{}
	object, err := all.find("Deployment", "report")
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: deployment.Namespace, Name: "report", Labels: deployment.Spec.Template.Labels},
		Spec:       deployment.Spec.Template.Spec,
	}
	if err := plane.Client().Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("a pod of the Deployment is refused: %v", err)
	}
}

// TestSamplesFitTogether finds references between samples that lead nowhere.
func TestSamplesFitTogether(t *testing.T) {
	all, err := readSamples("../..")
	if err != nil {
		t.Fatal(err)
	}
	registered, err := all.registration()
	if err != nil {
		t.Fatal(err)
	}
	if registered.ID == "" || registered.Secret == "" || registered.RedirectURIs[0] == "" || len(registered.Scopes) == 0 {
		t.Errorf("the samples do not describe a whole client: id %q, redirect URL %q, scopes %q", registered.ID, registered.RedirectURIs[0], registered.Scopes)
	}
	written := map[string]bool{}
	for _, object := range all {
		if object.GetKind() != "OAuthConnection" {
			continue
		}
		connection := &v1alpha1.OAuthConnection{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, connection); err != nil {
			t.Fatal(err)
		}
		written[connection.TokenSecretName()] = true
		namespace, name := connection.ApplicationKey()
		application, err := all.find("OAuthApplication", name)
		if err != nil {
			t.Errorf("connection %s: %v", connection.Name, err)
		} else if application.GetNamespace() != namespace {
			t.Errorf("connection %s wants its application in %s, it is in %s", connection.Name, namespace, application.GetNamespace())
		}
	}
	object, err := all.find("Deployment", "report")
	if err != nil {
		t.Fatal(err)
	}
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
		t.Fatal(err)
	}
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if !written[volume.Secret.SecretName] {
			t.Errorf("the Deployment mounts Secret %s, which no connection of the samples writes", volume.Secret.SecretName)
		}
	}
}
