// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// catalogueOf loads presets from YAML, by name.
func catalogueOf(t *testing.T, presets map[string]string) *Catalogue {
	t.Helper()
	files := fstest.MapFS{}
	for name, spec := range presets {
		indented := strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
		files["catalogue/"+name+".yaml"] = &fstest.MapFile{
			Data: []byte("name: " + name + "\ndocumentation: {label: The " + name + "}\nspec:\n  " + indented + "\n"),
		}
	}
	loaded, err := loadCatalogue(files)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func specOf(t *testing.T, text string) *v1alpha1.OAuthApplicationSpec {
	t.Helper()
	spec := &v1alpha1.OAuthApplicationSpec{}
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestEffective(t *testing.T) {
	t.Parallel()
	const preset = `
displayName: The preset
endpoints: {authorizationURL: https://a.example.com/auth, tokenURL: https://a.example.com/token}
client: {authentication: ClientSecretBasic, basicCredentials: Plain, assertion: {audienceFrom: Issuer}}
scopes: [read, write]
scopeSeparator: ","
pkce: Disabled
authorizationParameters: {access_type: offline, prompt: consent}
authorizationParameterNames: {response_type: ""}
tokenRequest:
  headers:
  - {name: Accept, value: application/json}
  - {name: X-Key, prefix: "Bearer ", secretKeyRef: {key: api_key}}
  parameters:
  - {name: expires_in, value: "1800", grantTypes: [refresh_token]}
  - {name: audience, value: api}
tokenResponse:
  errorCodes: {bad_code: invalid_grant}
  defaultLifetime: Never
  capture: [{name: team, path: $.team.id}]
revocation: {parameters: [{name: token, value: "{token}"}], tokens: [RefreshToken]}
inputs:
- {name: tenant, description: The tenant, pattern: "[a-z]+", prefix: https://}
statusCheck: {type: Probe, interval: 1h, probe: {path: /me, inactiveStatuses: [401, 403]}}
apiLimits: {requestsPerSecond: "10", connection: {maxConcurrent: 8}, remainingHeader: X-Remaining, resetHeader: X-Reset}
`
	for name, test := range map[string]struct{ reason, spec, want string }{
		"Nothing": {
			reason: "a spec that says nothing gets all of the preset",
			spec:   `{provider: p, client: {id: x, secretRef: {name: s}}}`,
			want:   strings.Replace(preset, "client: {", "client: {id: x, secretRef: {name: s}, ", 1),
		},
		"Scalars": {
			reason: "scalars win, also within structures that the preset has",
			spec: `{provider: p, displayName: Mine, client: {id: x, secretRef: {name: s}, authentication: ClientSecretPost},
				endpoints: {tokenURL: "https://b.example.com/token"}, pkce: S256, statusCheck: {type: Probe, interval: 5m}}`,
			want: strings.NewReplacer(
				"displayName: The preset", "displayName: Mine",
				"client: {authentication: ClientSecretBasic", "client: {id: x, secretRef: {name: s}, authentication: ClientSecretPost",
				"tokenURL: https://a.", "tokenURL: https://b.", "pkce: Disabled", "pkce: S256", "interval: 1h", "interval: 5m",
			).Replace(preset),
		},
		"APILimits": {
			reason: "limits are merged one by one, also those of a connection; a quantity is one value",
			spec: `{provider: p, client: {id: x, secretRef: {name: s}},
				apiLimits: {requestsPerSecond: 500m, maxConcurrent: 2, connection: {requestsPerSecond: 1}, resetHeader: X-Other}}`,
			want: strings.NewReplacer(
				"client: {", "client: {id: x, secretRef: {name: s}, ",
				`requestsPerSecond: "10", connection: {maxConcurrent: 8}`, "requestsPerSecond: 500m, maxConcurrent: 2, connection: {requestsPerSecond: 1, maxConcurrent: 8}",
				"X-Reset", "X-Other",
			).Replace(preset),
		},
		"Maps": {
			reason: "maps are merged key by key; an empty value takes a key away, but an empty name of a parameter is one",
			spec: `{provider: p, client: {id: x, secretRef: {name: s}}, authorizationParameters: {prompt: "", hd: example.com},
				authorizationParameterNames: {scope: ""}, tokenResponse: {errorCodes: {worse_code: invalid_client}}}`,
			want: strings.NewReplacer(
				"client: {", "client: {id: x, secretRef: {name: s}, ",
				"prompt: consent", "hd: example.com", `{response_type: ""}`, `{response_type: "", scope: ""}`,
				"bad_code: invalid_grant", "bad_code: invalid_grant, worse_code: invalid_client",
			).Replace(preset),
		},
		"Entries": {
			reason: "named entries are merged one by one, headers in any case; an empty value takes one away",
			spec: `{provider: p, client: {id: x, secretRef: {name: s}}, inputs: [{name: tenant, default: acme}, {name: more}],
				tokenRequest: {headers: [{name: x-key, value: plain}, {name: Accept, value: ""}],
				parameters: [{name: audience, secretKeyRef: {key: a}}, {name: expires_in, value: ""}]}}`,
			want: strings.NewReplacer(
				"client: {", "client: {id: x, secretRef: {name: s}, ",
				"  - {name: Accept, value: application/json}\n", "",
				`{name: X-Key, prefix: "Bearer ", secretKeyRef: {key: api_key}}`, "{name: x-key, value: plain}",
				"  - {name: expires_in, value: \"1800\", grantTypes: [refresh_token]}\n", "",
				"{name: audience, value: api}", "{name: audience, secretKeyRef: {key: a}}",
				"prefix: https://}", "prefix: https://, default: acme}\n- {name: more}",
			).Replace(preset),
		},
		"Lists": {
			reason: "other lists are replaced, also by an empty one",
			spec: `{provider: p, client: {id: x, secretRef: {name: s}}, scopes: [], revocation: {parameters: [], tokens: [AccessToken]},
				statusCheck: {type: Probe, probe: {inactiveStatuses: [404]}}}`,
			want: strings.NewReplacer(
				"client: {", "client: {id: x, secretRef: {name: s}, ",
				"scopes: [read, write]", "scopes: []", `parameters: [{name: token, value: "{token}"}], tokens: [RefreshToken]`, "parameters: [], tokens: [AccessToken]",
				"[401, 403]", "[404]",
			).Replace(preset),
		},
		"Alternatives": {
			reason: "what is given takes its alternative away",
			spec:   `{provider: p, client: {id: x, secretRef: {name: s}, assertion: {audience: me}}}`,
			want:   strings.NewReplacer("client: {", "client: {id: x, secretRef: {name: s}, ", "audienceFrom: Issuer", "audience: me").Replace(preset),
		},
		"Public": {
			reason: "a client without a secret is public, whatever the preset prefers",
			spec:   `{provider: p, client: {id: x}}`,
			want:   strings.Replace(preset, "client: {authentication: ClientSecretBasic", "client: {id: x, authentication: None", 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := specOf(t, test.spec)
			before := given.DeepCopy()
			loaded := catalogueOf(t, map[string]string{"p": preset})
			got, err := loaded.Effective(given)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(specOf(t, test.want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			again, err := loaded.Effective(got)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("an effective spec changes when it is laid over its preset again (%v):\n%s", err, diff)
			}
			if diff := cmp.Diff(before, given); diff != "" {
				t.Errorf("the given spec was changed:\n%s", diff)
			}
			if diff := cmp.Diff(specOf(t, preset), &loaded.Presets()[0].Spec); diff != "" {
				t.Errorf("the preset was changed:\n%s", diff)
			}
		})
	}
}

func TestEffectiveWithoutPreset(t *testing.T) {
	t.Parallel()
	given := specOf(t, `{endpoints: {tokenURL: "https://a.example.com/token"}, client: {id: x}, authorizationParameters: {a: b}}`)
	got, err := catalogueOf(t, nil).Effective(given)
	if diff := cmp.Diff(given, got); err != nil || diff != "" {
		t.Errorf("an application without preset is its own effective spec (%v):\n%s", err, diff)
	}
}

func TestUnknownPreset(t *testing.T) {
	t.Parallel()
	loaded := catalogueOf(t, map[string]string{"google": "{}", "github": "{}", "gitlab": "{}", "increase": "{}", "increase-sandbox": "{}"})
	for name, want := range map[string]string{
		"gogle": "google", "githib": "github or gitlab", "increase-sand": "increase-sandbox", "no-such-thing": "",
	} {
		_, err := loaded.Effective(&v1alpha1.OAuthApplicationSpec{Provider: name})
		failed := (*FieldError)(nil)
		if !errors.As(err, &failed) || failed.Field != "provider" {
			t.Errorf("%s: error %v names no field", name, err)
			continue
		}
		if strings.Contains(failed.Message, "did you mean") != (want != "") || !strings.Contains(failed.Message, want) {
			t.Errorf("%s: %q does not suggest %q", name, failed.Message, want)
		}
	}
}

func TestLoadCatalogueIsStrict(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"misspelt field":   "name: p\ndocumentation: {label: P}\nspec: {tokenURL: x}",
		"second key":       "name: p\nname: p\ndocumentation: {label: P}\nspec: {}",
		"other name":       "name: q\ndocumentation: {label: P}\nspec: {}",
		"no label":         "name: p\nspec: {}",
		"client id":        "name: p\ndocumentation: {label: P}\nspec: {client: {id: x}}",
		"secret":           "name: p\ndocumentation: {label: P}\nspec: {client: {secretRef: {name: x}}}",
		"named Secret":     "name: p\ndocumentation: {label: P}\nspec: {apiHeaders: [{name: A, secretKeyRef: {name: x, key: y}}]}",
		"webhook's Secret": "name: p\ndocumentation: {label: P}\nspec: {webhook: {secretKeyRef: {name: x}}}",
		"another provider": "name: p\ndocumentation: {label: P}\nspec: {provider: q}",
		"namespaces":       "name: p\ndocumentation: {label: P}\nspec: {allowedNamespaces: {from: All}}",
		"redirect":         "name: p\ndocumentation: {label: P}\nspec: {redirectURL: 'https://a.example.com'}",
	} {
		files := fstest.MapFS{"catalogue/p.yaml": &fstest.MapFile{Data: []byte(content)}}
		if _, err := loadCatalogue(files); err == nil || !strings.Contains(err.Error(), "catalogue/p.yaml") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestMergeFollowsSchema compares how lists are merged with what the CRD says of them: entries of a map-list one by one,
// all others whole. A field that is added to the API is held to it.
func TestMergeFollowsSchema(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../config/crd/bases/oauth-operator.io_oauthapplications.yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(content, definition); err != nil {
		t.Fatal(err)
	}
	spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	checkLists(t, "spec", &spec, reflect.TypeFor[v1alpha1.OAuthApplicationSpec]())
}

func checkLists(t *testing.T, path string, schema *apiextensionsv1.JSONSchemaProps, of reflect.Type) {
	t.Helper()
	pointer := of.Kind() == reflect.Pointer
	if pointer {
		of = of.Elem()
	}
	switch {
	case of.Kind() == reflect.Slice && schema.Items != nil:
		entries := named(of.Elem()) && !pointer
		if mapList := schema.XListType != nil && *schema.XListType == "map"; mapList != entries {
			t.Errorf("%s: a map-list is %t, but its entries are merged one by one is %t", path, mapList, entries)
		} else if mapList && !slices.Equal(schema.XListMapKeys, []string{"name"}) {
			t.Errorf("%s: the key is %v, but entries are merged by name", path, schema.XListMapKeys)
		}
		checkLists(t, path+"[]", schema.Items.Schema, of.Elem())
	case ours(of):
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if field.Anonymous {
				checkLists(t, path, schema, field.Type)
				continue
			}
			property, found := schema.Properties[name]
			if !found {
				t.Fatalf("%s: the CRD has no field %s", path, name)
			}
			checkLists(t, path+"."+name, &property, field.Type)
		}
	}
}

// TestPruneKnowsAll fails when the API gets another list of headers or map of parameters that prune does not know.
func TestPruneKnowsAll(t *testing.T) {
	t.Parallel()
	spec := &v1alpha1.OAuthApplicationSpec{}
	fillEmpty(reflect.ValueOf(spec).Elem())
	spec.StatusCheck.Type = v1alpha1.StatusCheckConnectionList
	spec.AuthorizationParameterNames = nil // Where an empty name has a meaning.
	prune(spec)
	findEmpty(t, "spec", reflect.ValueOf(spec).Elem())
}

// fillEmpty gives every list and map of parameters and headers one entry with an empty value.
func fillEmpty(value reflect.Value) {
	switch {
	case value.Kind() == reflect.Pointer && ours(value.Type().Elem()):
		value.Set(reflect.New(value.Type().Elem()))
		fillEmpty(value.Elem())
	case ours(value.Type()):
		for _, field := range value.Fields() {
			fillEmpty(field)
		}
	case value.Type() == reflect.TypeFor[map[string]v1alpha1.ParameterValue]():
		value.Set(reflect.ValueOf(map[string]v1alpha1.ParameterValue{"x": ""}))
	case value.Type() == reflect.TypeFor[[]v1alpha1.RequestHeader]():
		value.Set(reflect.ValueOf([]v1alpha1.RequestHeader{{Name: "x", Value: new("")}}))
	case value.Type() == reflect.TypeFor[[]v1alpha1.RequestParameter]():
		value.Set(reflect.ValueOf([]v1alpha1.RequestParameter{{Name: "x", Value: new("")}}))
	}
}

func findEmpty(t *testing.T, path string, value reflect.Value) {
	t.Helper()
	switch {
	case value.Kind() == reflect.Pointer && ours(value.Type().Elem()) && !value.IsNil():
		findEmpty(t, path, value.Elem())
	case ours(value.Type()):
		for i := range value.NumField() {
			findEmpty(t, path+"."+value.Type().Field(i).Name, value.Field(i))
		}
	case (value.Kind() == reflect.Map || value.Kind() == reflect.Slice) && value.Len() > 0:
		t.Errorf("%s keeps an empty value", path)
	}
}

// TestForeignKnowsAll: what names an object of a namespace is not a preset's to say.
func TestForeignKnowsAll(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]v1alpha1.OAuthApplicationSpec{
		"client.idSecretRef":                  {Client: v1alpha1.ClientSpec{IDSecretRef: &v1alpha1.SecretKeyReference{Name: "x"}}},
		"client.assertion.serviceAccountName": {Client: v1alpha1.ClientSpec{Assertion: &v1alpha1.ClientAssertionSpec{ServiceAccountName: "x"}}},
		"allowedGrantTypes":                   {AllowedGrantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}},
		"caBundle":                            {CABundle: &v1alpha1.CABundle{}},
		"allowedNamespaces":                   {AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}}},
	} {
		if got := foreign(&spec); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}
