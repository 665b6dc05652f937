// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
)

// TestIncreaseSamplesApply holds the samples for Increase, as the demo changes them, to what the API server takes.
func TestIncreaseSamplesApply(t *testing.T) {
	plane := testenv.Start(t, testenv.Options{})
	namespaces, err := readManifest(plane.Root, "namespaces.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := readManifest(plane.Root, increaseSamples)
	if err != nil {
		t.Fatal(err)
	}
	server, err := increase.Start(increase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if err := all.pointAtIncrease(server); err != nil {
		t.Fatal(err)
	}
	if err := namespaces.apply(t.Context(), plane.Client()); err != nil {
		t.Fatal(err)
	}
	if err := all.apply(t.Context(), plane.Client(), client.DryRunAll); err != nil {
		t.Fatal(err)
	}
}

// TestIncreaseSamplesFitTogether holds the names in the samples for Increase to those that the demo tells of.
func TestIncreaseSamplesFitTogether(t *testing.T) {
	all, err := readManifest("../..", increaseSamples)
	if err != nil {
		t.Fatal(err)
	}
	registered, err := all.increaseClient()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{production, sandbox} {
		application, connection := &v1alpha1.OAuthApplication{}, &v1alpha1.OAuthConnection{}
		for kind, into := range map[string]client.Object{"OAuthApplication": application, "OAuthConnection": connection} {
			object, err := all.find(kind, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
				t.Fatal(err)
			}
			if into.GetNamespace() != teamNamespace {
				t.Errorf("%s %s is in namespace %s, want %s", kind, name, into.GetNamespace(), teamNamespace)
			}
		}
		if spec := application.Spec; spec.Provider != name || spec.Client.ID != registered.ClientID || spec.Client.SecretRef == nil ||
			spec.Client.SecretRef.Name != name+"-client" {
			t.Errorf("application %s: provider %q, client %+v", name, spec.Provider, spec.Client)
		}
		if _, to := connection.ApplicationKey(); to != name || connection.TokenSecretName() != name {
			t.Errorf("connection %s is to application %s and writes Secret %s", name, to, connection.TokenSecretName())
		}
		switch grant := connection.Spec.Grant; {
		case name == production && grant.AuthorizationCode.CodeSecretRef.Name != increaseCodeSecret:
			t.Errorf("connection %s takes its code from Secret %s", name, grant.AuthorizationCode.CodeSecretRef.Name)
		case name == sandbox && grant.Extension.Parameters[0].ConnectionRef.Name != production:
			t.Errorf("connection %s has its token from %s", name, grant.Extension.Parameters[0].ConnectionRef.Name)
		}
	}
}
