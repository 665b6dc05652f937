// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	product "github.com/oauth-operator/oauth-operator/internal/provider"
)

// TestAnyUserCouldWriteAPreset holds every preset, written out as an application of its own, to the schema and the rules of the
// CustomResourceDefinition.
func TestAnyUserCouldWriteAPreset(t *testing.T) {
	properties := applicationSchema(t)
	structural, err := schema.NewStructural(properties)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(properties)
	if err != nil {
		t.Fatal(err)
	}
	rules := cel.NewValidator(structural, true, math.MaxInt64)
	for _, preset := range load(t).Presets() {
		t.Run(preset.Name, func(t *testing.T) {
			object := written(t, preset)
			for _, problem := range validation.ValidateCustomResource(nil, object, validator) {
				t.Error(problem)
			}
			problems, _ := rules.Validate(t.Context(), nil, structural, object, nil, math.MaxInt64)
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}

func applicationSchema(t *testing.T) *apiextensions.JSONSchemaProps {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "oauth-operator.io_oauthapplications.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(content, &definition); err != nil {
		t.Fatal(err)
	}
	var properties apiextensions.JSONSchemaProps
	external := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(external, &properties, nil); err != nil {
		t.Fatal(err)
	}
	return &properties
}

// written is the preset with the credentials that an application adds, as the API server sees it.
func written(t *testing.T, preset product.Preset) map[string]any {
	t.Helper()
	preset.Spec.Client.ID = clientID
	preset.Spec.Client.SecretRef = &v1alpha1.SecretKeyReference{Name: "client"}
	raw, err := json.Marshal(v1alpha1.OAuthApplication{Spec: preset.Spec})
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	delete(object, "status")
	return object
}
