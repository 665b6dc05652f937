// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// withAPI is the sample with an API, one of whose headers takes its value from a Secret.
func withAPI() *Client {
	c := unkept()
	c.Spec.Inputs = []v1alpha1.Input{{Name: "dc", Restriction: v1alpha1.Restriction{Enum: []string{"us1"}}}}
	c.Spec.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{Name: "team", Path: "$.team"}}}
	c.Spec.UserInfo = &v1alpha1.UserInfoSpec{
		Capture: []v1alpha1.Capture{{Name: "site", Path: "$.site"}},
		Headers: []v1alpha1.RequestHeader{{Name: "X-Other", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "other", Key: "hidden"}}},
	}
	c.Spec.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{{Name: "realm", Parameter: "realmId"}}}
	c.Spec.APIBaseURL = "https://{dc}.api.example.com/{team}/{site}/{realm}"
	c.Spec.APIHeaders = []v1alpha1.RequestHeader{
		{Name: "X-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}},
		{Name: "X-Client", Value: new("{client_id}")},
	}
	c.Spec.AllowedHosts = []string{"*.example.net"}
	c.Spec.APILimits = &v1alpha1.APILimits{MaxConcurrent: 7, RemainingHeader: "X-Left"}
	c.Spec.TokenRequest.Refresh = &v1alpha1.RefreshRequestSpec{GrantType: "exchange", AccessTokenParameter: "token"}
	c.Secrets[provider.SecretKey("crm-client", "api_key")] = sensitive.New("the-api-key")
	return c
}

func saved(t *testing.T, c *Client) *server {
	t.Helper()
	s := newServer()
	if err := newStore(s, newClock()).Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReadUpstream(t *testing.T) {
	t.Parallel()
	got, err := ReadUpstream(t.Context(), saved(t, withAPI()), "system", "8f0c")
	if err != nil {
		t.Fatal(err)
	}
	if got.Application != sample().Application || got.Generation != 3 || string(got.CA) != string(sample().CA) || got.Version == "" {
		t.Errorf("got %+v", got)
	}
	p := got.Profile
	values, err := p.Values(map[string]string{"dc": "us1"}, map[string]string{"team": "t", "site": "s", "realm": "r"})
	if err != nil {
		t.Fatal(err)
	}
	base, err := p.APIBase(values)
	if err != nil || base.String() != "https://us1.api.example.com/t/s/r" {
		t.Errorf("base %s, %v", base, err)
	}
	headers, err := p.APIHeaders(sensitive.New("at"), values)
	want := []oauth.Header{
		{Name: "X-Key", Value: sensitive.New("the-api-key")},
		{Name: "X-Client", Value: sensitive.New("crm")},
		{Name: "Authorization", Value: sensitive.New("Bearer at")},
	}
	if diff := cmp.Diff(want, headers, cmp.Comparer(sensitive.String.Equal)); diff != "" || err != nil {
		t.Errorf("headers (%v; -want +got):\n%s", err, diff)
	}
	if !p.RenewsByAccessToken() || p.Spec.APILimits.MaxConcurrent != 7 || p.Spec.APILimits.RemainingHeader != "X-Left" || p.Spec.AllowedHosts[0] != "*.example.net" {
		t.Errorf("of the spec there is %+v", p.Spec)
	}
	if _, err := p.Values(map[string]string{"dc": "elsewhere"}, nil); err == nil {
		t.Error("an input is not held to its restriction")
	}
}

func TestUpstreamHoldsNoCredentials(t *testing.T) {
	t.Parallel()
	got, err := ReadUpstream(t.Context(), saved(t, withAPI()), "system", "8f0c")
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(texts(reflect.ValueOf(got)), "\n"); strings.Contains(all, canary) || !strings.Contains(all, "the-api-key") {
		t.Errorf("more or less than the API's own key is in memory: %s", all)
	}
	printed := fmt.Sprintf("%+v %#v %+v %s", got, got, got.Profile, encoded)
	if strings.Contains(printed, canary) || strings.Contains(printed, "the-api-key") {
		t.Errorf("it is printed as %s", printed)
	}
}

// texts are all strings and bytes that can be reached from a value, what nothing prints among them.
func texts(v reflect.Value) []string {
	var all []string
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return texts(v.Elem())
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			all = append(all, texts(field)...)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			return []string{string(v.Bytes())}
		}
		for i := range v.Len() {
			all = append(all, texts(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(append(all, texts(key)...), texts(v.MapIndex(key))...)
		}
	default:
	}
	return all
}

func TestUpstreamOfFormerOperators(t *testing.T) {
	t.Parallel()
	s := saved(t, withAPI())
	rewrite(t, s, func(secret *corev1.Secret) {
		var content map[string]any
		if err := json.Unmarshal(secret.Data[contentKey], &content); err != nil {
			t.Fatal(err)
		}
		delete(content, "spec")
		delete(content, "secrets")
		var err error
		if secret.Data[contentKey], err = json.Marshal(content); err != nil {
			t.Fatal(err)
		}
	})
	got, err := ReadUpstream(t.Context(), s, "system", "8f0c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Profile.APIBase(nil); err == nil {
		t.Error("a document that names no API has one")
	}
	if all := strings.Join(texts(reflect.ValueOf(got)), "\n"); strings.Contains(all, canary) {
		t.Errorf("the secret parameters of such a document are in memory: %s", all)
	}
	if headers, err := got.Profile.APIHeaders(sensitive.New("at"), nil); err != nil || len(headers) != 1 {
		t.Errorf("headers %v, %v", headers, err)
	}
}

func rewrite(t *testing.T, s *server, change func(*corev1.Secret)) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: "system", Name: SecretName("8f0c")}, secret); err != nil {
		t.Fatal(err)
	}
	change(secret)
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestReadUpstreamRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*corev1.Secret)
		want   string
	}{
		"garbage": {func(s *corev1.Secret) { s.Data[contentKey] = []byte(`{"clientSecret":"` + canary + `","format":"x"}`) }, "cannot be read"},
		"a secret that is no text": {func(s *corev1.Secret) {
			s.Data[contentKey] = []byte(strings.Replace(string(s.Data[contentKey]), `"the-api-key"`, `{"x":"`+canary+`"}`, 1))
		}, "cannot be read"},
		"another format":      {func(s *corev1.Secret) { s.Data[contentKey] = []byte(`{"format":2}`) }, "format 2"},
		"another application": {func(s *corev1.Secret) { s.Data[contentKey] = []byte(`{"format":1,"application":{"uid":"x"}}`) }, "another application"},
		"a foreign Secret":    {func(s *corev1.Secret) { s.Type = "Opaque" }, `type is "Opaque"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := saved(t, withAPI())
			rewrite(t, s, row.change)
			got, err := ReadUpstream(t.Context(), s, "system", "8f0c")
			if got != nil || err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("%+v, %v; want an error with %q", got, err, row.want)
			}
		})
	}
	if got, err := ReadUpstream(t.Context(), newServer(), "system", "8f0c"); got != nil || err != nil {
		t.Errorf("without a kept client: %+v, %v", got, err)
	}
}
