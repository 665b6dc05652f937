// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// These tests ask the API server alone: no controller runs in their namespaces.

// connectionYAML returns an object with a spec as users write it.
func connectionYAML(t *testing.T, namespace, name, spec string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	text := "apiVersion: oauth-operator.io/v1alpha1\nkind: OAuthConnection\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

const minimal = "applicationRef: {name: crm}\n"

// TestConnectionValidation gives the API server what users get wrong: the answer names the field and the way out.
func TestConnectionValidation(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	tests := map[string]struct {
		spec string
		// want are parts of the error; none: it is valid.
		want []string
	}{
		"the least":             {minimal, nil},
		"no application":        {"suspend: true", []string{"spec.applicationRef", "Required"}},
		"no application's name": {"applicationRef: {namespace: x}", []string{"spec.applicationRef.name", "Required"}},
		"an empty name":         {"applicationRef: {name: ''}", []string{"spec.applicationRef.name", "at least 1"}},
		"a long namespace":      {"applicationRef: {name: crm, namespace: " + strings.Repeat("n", 64) + "}", []string{"spec.applicationRef.namespace", "63"}},
		"a code":                {minimal + "grant: {authorizationCode: {codeSecretRef: {name: c}, codeVerifierSecretRef: {name: c, key: v}, redirectURL: 'https://x.example.com/cb'}}", nil},
		"a verifier alone": {
			minimal + "grant: {type: AuthorizationCode, authorizationCode: {codeVerifierSecretRef: {name: c}}}",
			[]string{"spec.grant.authorizationCode", "set codeSecretRef too"},
		},
		"a redirect URL alone": {
			minimal + "grant: {authorizationCode: {redirectURL: 'https://x.example.com/cb'}}",
			[]string{"spec.grant.authorizationCode", "set codeSecretRef too"},
		},
		"a relative redirect URL": {
			minimal + "grant: {authorizationCode: {codeSecretRef: {name: c}, redirectURL: callback}}",
			[]string{"spec.grant.authorizationCode.redirectURL", "must be an absolute URL"},
		},
		"a key that Secrets cannot have": {
			minimal + "grant: {authorizationCode: {codeSecretRef: {name: c, key: 'a/b'}}}",
			[]string{"spec.grant.authorizationCode.codeSecretRef.key", "should match"},
		},
		"a refresh token":       {minimal + "grant: {type: RefreshToken, refreshToken: {secretRef: {name: r}}}", nil},
		"an import of nothing":  {minimal + "grant: {type: RefreshToken}", []string{"spec.grant", "type: RefreshToken needs refreshToken"}},
		"an import by default":  {minimal + "grant: {refreshToken: {secretRef: {name: r}}}", []string{"spec.grant", "refreshToken goes with no other type"}},
		"a refresh token's ref": {minimal + "grant: {type: RefreshToken, refreshToken: {}}", []string{"spec.grant.refreshToken.secretRef", "Required"}},
		"credentials":           {minimal + "grant: {type: ClientCredentials}", nil},
		"credentials in full":   {minimal + "grant: {type: ClientCredentials, clientCredentials: {}}", nil},
		"credentials by default": {
			minimal + "grant: {clientCredentials: {}}",
			[]string{"spec.grant", "clientCredentials goes with type: ClientCredentials"},
		},
		"a code beside credentials": {
			minimal + "grant: {type: ClientCredentials, authorizationCode: {codeSecretRef: {name: c}}}",
			[]string{"spec.grant", "authorizationCode goes with type: AuthorizationCode"},
		},
		"an unknown grant type":   {minimal + "grant: {type: Password}", []string{"spec.grant.type", "AuthorizationCode", "ClientCredentials"}},
		"scopes":                  {minimal + "scopes: ['api:read', 'https://x.example.com/auth']", nil},
		"a scope with a space":    {minimal + "scopes: ['api read']", []string{"spec.scopes[0]", "should match"}},
		"a scope twice":           {minimal + "scopes: [a, a]", []string{"spec.scopes[1]", "Duplicate"}},
		"before as a percentage":  {minimal + "refresh: {before: 25%}", nil},
		"before as a duration":    {minimal + "refresh: {before: 1h30m}", nil},
		"before in milliseconds":  {minimal + "refresh: {before: 1500ms}", nil},
		"before at 100 %":         {minimal + "refresh: {before: 100%}", []string{"spec.refresh.before", "1% to 99%"}},
		"before at 0 %":           {minimal + "refresh: {before: 0%}", []string{"spec.refresh.before", "1% to 99%"}},
		"before at nothing":       {minimal + "refresh: {before: 0s}", []string{"spec.refresh.before", "10m"}},
		"before is negative":      {minimal + "refresh: {before: -5m}", []string{"spec.refresh.before", "10m"}},
		"before without unit":     {minimal + "refresh: {before: '10'}", []string{"spec.refresh.before", "10m"}},
		"before in days":          {minimal + "refresh: {before: 1d}", []string{"spec.refresh.before", "10m"}},
		"an unknown policy":       {minimal + "deletionPolicy: Keep", []string{"spec.deletionPolicy", "Revoke", "Orphan"}},
		"a Secret":                {minimal + "secret: {name: my.token-1, type: example.com/x}", nil},
		"a Secret in capitals":    {minimal + "secret: {name: Token}", []string{"spec.secret.name", "should match"}},
		"a cluster's credentials": {minimal + "secret: {type: kubernetes.io/service-account-token}", []string{"spec.secret.type", "refused"}},
		"a bootstrap token":       {minimal + "secret: {type: bootstrap.kubernetes.io/token}", []string{"spec.secret.type", "refused"}},
		"a field that is none":    {minimal + "refreshBefore: 10m", []string{"spec.refreshBefore", "unknown field"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := connectionYAML(t, namespace, "x", test.spec)
			err := plane.Client().Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			mentions(t, err, test.want...)
		})
	}
}

// mentions wants the API server to refuse, with certain words.
func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Fatalf("got %v, want a refusal", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not mention %q: %v", word, err)
		}
	}
}

// TestConnectionTransitions changes what may not change, and what may.
func TestConnectionTransitions(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	tests := map[string]struct {
		before, after string
		want          []string
	}{
		"another application":     {minimal, "applicationRef: {name: other}", []string{"spec.applicationRef", "immutable", "create another one"}},
		"another namespace":       {minimal, "applicationRef: {name: crm, namespace: other}", []string{"spec.applicationRef", "immutable"}},
		"an owner later":          {minimal, minimal + "owner: eve", []string{"owner is immutable"}},
		"another owner":           {minimal + "owner: adam", minimal + "owner: eve", []string{"owner is immutable"}},
		"no owner any more":       {minimal + "owner: adam", minimal, []string{"owner is immutable"}},
		"the same owner":          {minimal + "owner: adam", minimal + "owner: adam\nsuspend: true", nil},
		"another way to be given": {minimal, minimal + "grant: {type: ClientCredentials}", nil},
		"everything else":         {minimal, minimal + "scopes: [a]\nsecret: {name: t, type: Opaque}\nrefresh: {before: 10%}\ndeletionPolicy: Orphan\ndisplayName: mine", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := connectionYAML(t, namespace, strings.ReplaceAll(name, " ", "-"), test.before)
			create(t, object)
			changed := connectionYAML(t, namespace, object.GetName(), test.after)
			changed.SetResourceVersion(object.GetResourceVersion())
			err := plane.Client().Update(t.Context(), changed)
			if len(test.want) > 0 {
				mentions(t, err, test.want...)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestConnectionDefaults(t *testing.T) {
	t.Parallel()
	object := connectionYAML(t, plane.Namespace(t), "x", minimal)
	create(t, object)
	got := get(t, object.GetNamespace(), "x", &v1alpha1.OAuthConnection{}).Spec
	if got.Grant.Type != v1alpha1.GrantAuthorizationCode || got.DeletionPolicy != v1alpha1.DeletionRevoke {
		t.Errorf("defaults are %+v", got)
	}
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: "x"},
		Spec:       v1alpha1.OAuthApplicationSpec{IssuerURL: "https://login.example.com", Client: v1alpha1.ClientSpec{ID: "x"}, Limits: &v1alpha1.Limits{}},
	}
	create(t, app)
	spec := get(t, object.GetNamespace(), "x", &v1alpha1.OAuthApplication{}).Spec
	// A default of the schema would win over the preset's.
	if spec.PKCE != "" || spec.ScopeSeparator != "" || spec.Limits.MaxConcurrent != 4 ||
		spec.AllowedNamespaces == nil || spec.AllowedNamespaces.From != v1alpha1.NamespacesFromSame {
		t.Errorf("defaults are %+v", spec)
	}
}

// TestTwoManagers applies one connection from two sides, as a team's Git and a platform's policy do.
func TestTwoManagers(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	apply := func(manager, spec string) error {
		object := connectionYAML(t, namespace, "x", spec)
		return plane.Client().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(manager))
	}
	steps := []struct {
		manager, spec string
		conflict      bool
	}{
		{"team", minimal + "scopes: [b, a]\nsecret: {name: token}", false},
		{"platform", minimal + "scopes: [c]\nrefresh: {before: 25%}", false},
		{"team", minimal + "scopes: [b]\nsecret: {name: token}", false},
		{"platform", minimal + "secret: {name: other}", true},
		{"platform", minimal + "scopes: [c]", false},
	}
	for i, step := range steps {
		if err := apply(step.manager, step.spec); apierrors.IsConflict(err) != step.conflict || (err != nil && !step.conflict) {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	got := get(t, namespace, "x", &v1alpha1.OAuthConnection{}).Spec
	slices.Sort(got.Scopes)
	if fmt.Sprint(got.Scopes) != "[b c]" || got.Refresh != nil || got.Secret == nil || got.Secret.Name != "token" {
		t.Errorf("spec is %+v", got)
	}
}

func TestSelectableFields(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	for _, name := range []string{"crm", "erp"} {
		object := connectionYAML(t, namespace, name, "applicationRef: {name: "+name+"}")
		create(t, object)
		c := get(t, namespace, name, &v1alpha1.OAuthConnection{})
		c.Status.Phase = map[string]v1alpha1.ConnectionPhase{"crm": "Active", "erp": "Pending"}[name]
		if err := plane.Client().Status().Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for field, want := range map[string]string{"spec.applicationRef.name=erp": "erp", "status.phase=Active": "crm"} {
		name, value, _ := strings.Cut(field, "=")
		list := &v1alpha1.OAuthConnectionList{}
		err := plane.Client().List(t.Context(), list, client.InNamespace(namespace), client.MatchingFields{name: value})
		if err != nil || len(list.Items) != 1 || list.Items[0].Name != want {
			t.Errorf("%s selects %d objects, error %v", field, len(list.Items), err)
		}
	}
}

// TestColumns is what `kubectl get` prints.
func TestColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	c := s.get(t)
	want := map[string]map[string]string{
		"oauthconnections": {
			"Application": s.name, "Phase": "Active", "Ready": "True",
			"Expires": c.Status.AccessTokenExpiresAt.UTC().Format("2006-01-02T15:04:05Z"), "Next refresh": c.Status.NextRefreshAt.UTC().Format("2006-01-02T15:04:05Z"),
			"Age": "", "Owner": "", "Subject": "", "Secret": s.name, "Message": "valid until",
		},
		"oauthapplications": {"Phase": "Active", "Ready": "True", "Connections": "1", "Active": "1", "Age": "", "Token URL": server.URL + "/token", "Message": "can use"},
	}
	wide := []string{"Owner", "Subject", "Secret", "Message", "Token URL"}
	waitCount(t, w, s.name)
	for resource, columns := range want {
		table := tableOf(t, w.namespace, resource, s.name)
		seen := 0
		for i, column := range table.ColumnDefinitions {
			value, wanted := columns[column.Name]
			if !wanted {
				continue
			}
			seen++
			if got := fmt.Sprint(table.Rows[0].Cells[i]); !strings.Contains(got, value) {
				t.Errorf("%s: column %s is %q, want %q", resource, column.Name, got, value)
			}
			if slices.Contains(wide, column.Name) != (column.Priority > 0) {
				t.Errorf("%s: column %s has priority %d", resource, column.Name, column.Priority)
			}
		}
		if seen != len(columns) {
			t.Errorf("%s: %d of %d columns are there", resource, seen, len(columns))
		}
	}
}

// tableOf asks for one object as kubectl does.
func tableOf(t *testing.T, namespace, resource, name string) metav1.Table {
	t.Helper()
	transport, err := rest.HTTPClientFor(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("%s/apis/%s/namespaces/%s/%s/%s", strings.TrimSuffix(plane.Config.Host, "/"), v1alpha1.GroupVersion(), namespace, resource, name)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := transport.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("%v in %s", err, body)
	}
	return table
}

// TestExplain wants a text for every field, since `kubectl explain` is the first documentation that people meet.
func TestExplain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"oauthapplications", "oauthconnections"} {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := plane.Client().Get(context.Background(), client.ObjectKey{Name: name + "." + v1alpha1.GroupName}, crd); err != nil {
			t.Fatal(err)
		}
		fields := 0
		for _, version := range crd.Spec.Versions {
			fields += explained(t, name, *version.Schema.OpenAPIV3Schema)
		}
		if fields < 40 {
			t.Errorf("%s: only %d fields were looked at", name, fields)
		}
	}
}

// explained checks a schema and what is in it, and returns the number of fields.
func explained(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) int {
	t.Helper()
	count := 0
	for name, property := range schema.Properties {
		here := path + "." + name
		count += 1 + explained(t, here, property)
		if property.Items != nil && property.Items.Schema != nil {
			count += explained(t, here+"[]", *property.Items.Schema)
		}
		if len(property.Description) < 10 && name != "metadata" {
			t.Errorf("%s is not explained", here)
		}
	}
	return count
}
