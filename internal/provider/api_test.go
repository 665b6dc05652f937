// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestAPIBase(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		base   string
		values provider.Values
		want   string
		field  string
	}{
		"literal":                      {base: "https://api.example.com/v1/", want: "https://api.example.com/v1/"},
		"with a port":                  {base: "http://127.0.0.1:8080", want: "http://127.0.0.1:8080"},
		"an input in the host":         {base: "https://{dc}.api.example.com", values: provider.Values{"dc": "us1"}, want: "https://us1.api.example.com"},
		"a value in the path":          {base: "https://api.example.com/{site}", values: provider.Values{"site": "a/b ?"}, want: "https://api.example.com/a%2Fb%20%3F"},
		"a captured origin":            {base: "{instance}/services", values: provider.Values{"instance": "https://eu5.crm.example.com"}, want: "https://eu5.crm.example.com/services"},
		"none":                         {field: "apiBaseURL"},
		"a value that is missing":      {base: "https://{dc}.api.example.com", field: "apiBaseURL"},
		"a value that is no host":      {base: "https://{dc}.api.example.com", values: provider.Values{"dc": "evil.com#"}, field: "tokenResponse.capture[dc]"},
		"a captured origin elsewhere":  {base: "{instance}/services", values: provider.Values{"instance": "https://evil.com"}, field: "tokenResponse.capture[instance]"},
		"a value that leaves its path": {base: "https://api.example.com/{site}/x", values: provider.Values{"site": ".."}, field: "apiBaseURL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
				s.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{
					{Name: "dc", Path: "$.dc", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+[0-9]+"}},
					{Name: "instance", Path: "$.i", Restriction: v1alpha1.Restriction{Pattern: `https://[a-z0-9]+\.crm\.example\.com`}},
					{Name: "site", Path: "$.site"},
				}}
			})
			p.Spec.APIBaseURL = v1alpha1.EndpointURL(row.base)
			got, err := p.APIBase(row.values)
			if field(err) != row.field || errors.Is(err, provider.ErrNoAPIBaseURL) != (row.base == "") {
				t.Fatalf("error %v, want one about %q", err, row.field)
			}
			if row.field == "" && got.String() != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestAPIHeaders(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		headers []v1alpha1.RequestHeader
		want    []oauth.Header
		field   string
	}{
		"none": {want: []oauth.Header{header("Authorization", "Bearer at")}},
		"in a header of its own": {
			headers: []v1alpha1.RequestHeader{{Name: "X-Token", Value: new("t={access_token}")}},
			want:    []oauth.Header{header("X-Token", "t=at")},
		},
		"beside a key": {
			headers: []v1alpha1.RequestHeader{{Name: "X-Key", Prefix: "key ", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}},
			want:    []oauth.Header{header("X-Key", "key the-api-key"), header("Authorization", "Bearer at")},
		},
		"a key that is not known": {
			headers: []v1alpha1.RequestHeader{{Name: "X-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "gone"}}},
			field:   "apiHeaders[X-Key].secretKeyRef",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) { s.APIHeaders = row.headers })
			got, err := p.APIHeaders(sensitive.New("at"), nil)
			if diff := cmp.Diff(row.want, got, revealed()); diff != "" || field(err) != row.field {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
