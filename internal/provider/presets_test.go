// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"os"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	fieldpath "k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// applicationSchema is the schema that the API server holds applications to.
func applicationSchema(t *testing.T) *apiextensions.JSONSchemaProps {
	t.Helper()
	content, err := os.ReadFile("../../config/crd/bases/oauth-operator.io_oauthapplications.yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(content, definition); err != nil {
		t.Fatal(err)
	}
	schema := &apiextensions.JSONSchemaProps{}
	err = apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, schema, nil)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestPresetsAreWhatUsersCouldWrite gives each preset, as an application's own spec, to the validation of the API server.
func TestPresetsAreWhatUsersCouldWrite(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	schema := applicationSchema(t)
	byTypes, _, err := validation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(schema)
	if err != nil {
		t.Fatal(err)
	}
	// The budgets of the API server (k8s.io/apiserver/pkg/apis/cel).
	const callLimit, budget = 1_000_000, 10_000_000
	byRules := cel.NewValidator(structural, true, callLimit)
	for _, preset := range catalogue.Presets() {
		application := &v1alpha1.OAuthApplication{Spec: preset.Spec}
		application.Spec.Client.ID = "x"
		switch application.Spec.Client.Authentication {
		case v1alpha1.ClientNone, v1alpha1.ClientServiceAccountToken:
		default:
			application.Spec.Client.SecretRef = &v1alpha1.SecretKeyReference{Name: "x"}
		}
		application.Spec.Provider = preset.Name
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(application)
		if err != nil {
			t.Fatal(err)
		}
		delete(object, "status")
		for _, failure := range validation.ValidateCustomResource(nil, object, byTypes) {
			t.Errorf("%s: %v", preset.Name, failure)
		}
		failures, _ := byRules.Validate(t.Context(), fieldpath.NewPath(""), structural, object, nil, budget)
		for _, failure := range failures {
			t.Errorf("%s: %v", preset.Name, failure)
		}
	}
}
