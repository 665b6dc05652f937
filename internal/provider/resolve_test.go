// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

func rules() provider.Rules {
	return provider.Rules{
		ExternalURL: "https://gateway.example.com/",
		CheckURL: func(raw string) error {
			if strings.Contains(raw, "169.254.") {
				return errors.New("refused")
			}
			return nil
		},
	}
}

func metadata() *oauth.Metadata {
	return &oauth.Metadata{
		Issuer:                "https://login.example.com",
		AuthorizationEndpoint: "https://login.example.com/authorize",
		TokenEndpoint:         "https://login.example.com/token",
		RevocationEndpoint:    "https://login.example.com/revoke",
		UserinfoEndpoint:      "https://login.example.com/me",
	}
}

func spec(change func(*v1alpha1.OAuthApplicationSpec)) *v1alpha1.OAuthApplicationSpec {
	s := &v1alpha1.OAuthApplicationSpec{
		IssuerURL: "https://login.example.com",
		Client:    v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
	}
	if change != nil {
		change(s)
	}
	return s
}

func field(err error) string {
	if failed := (*provider.FieldError)(nil); errors.As(err, &failed) {
		return failed.Field
	}
	return ""
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason string
		change func(*v1alpha1.OAuthApplicationSpec)
		want   string
	}{
		"Complete": {reason: "an issuer is enough"},
		"NoTokenURL": {
			reason: "the field that is missing is named",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.IssuerURL = "" },
			want:   "endpoints.tokenURL",
		},
		"RefusedIssuer": {
			reason: "discovery must not reach what calls must not reach",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.IssuerURL = "https://169.254.169.254" },
			want:   "issuerURL",
		},
		"RefusedEndpoint": {
			reason: "each endpoint is judged by its own name",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints = &v1alpha1.Endpoints{RevocationURL: "https://169.254.169.254/revoke"}
			},
			want: "endpoints.revocationURL",
		},
		"Selector": {
			reason: "a selector that selects nothing by mistake is told",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
					From: v1alpha1.NamespacesFromSelector,
					Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
						{Key: "crm", Operator: "Maybe"},
					}},
				}
			},
			want: "allowedNamespaces.selector",
		},
		"Limits": {
			reason: "no request ever is not a limit",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Limits = &v1alpha1.Limits{RequestsPerSecond: new(resource.MustParse("0"))}
			},
			want: "limits.requestsPerSecond",
		},
		"APILimits": {
			reason: "all that can be said",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{
					RequestsPerSecond: new(resource.MustParse("500m")), MaxConcurrent: 1,
					Connection:      &v1alpha1.ConnectionAPILimits{RequestsPerSecond: new(resource.MustParse("1")), MaxConcurrent: 1},
					RemainingHeader: "X-RateLimit-Remaining", ResetHeader: "x-ratelimit-reset",
				}
			},
		},
		"APIRate": {
			reason: "no request ever is not a limit",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{RequestsPerSecond: new(resource.MustParse("0"))}
			},
			want: "apiLimits.requestsPerSecond",
		},
		"APIRateOfConnections": {
			reason: "neither is it for a connection",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{Connection: &v1alpha1.ConnectionAPILimits{RequestsPerSecond: new(resource.MustParse("-1"))}}
			},
			want: "apiLimits.connection.requestsPerSecond",
		},
		"RemainingWithoutReset": {
			reason: "what remains is of no use without the time when there will be more",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{RemainingHeader: "X-RateLimit-Remaining"}
			},
			want: "apiLimits.resetHeader",
		},
		"ResetWithoutRemaining": {
			reason: "the time alone counts for answers with status 429",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{ResetHeader: "X-RateLimit-Reset"}
			},
		},
		"NoNameOfAHeader": {
			reason: "a header that cannot be",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.APILimits = &v1alpha1.APILimits{ResetHeader: "X Reset"} },
			want:   "apiLimits.resetHeader",
		},
		"NoNameOfTheOtherHeader": {
			reason: "the other one",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{RemainingHeader: "X-Remaining:", ResetHeader: "X-Reset"}
			},
			want: "apiLimits.remainingHeader",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := provider.Validate(spec(test.change), rules())
			if got := field(err); got != test.want || (err != nil) != (test.want != "") {
				t.Errorf("%s: field %q (%v), want %q", test.reason, got, err, test.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	discovered := v1alpha1.Endpoints{
		AuthorizationURL: "https://login.example.com/authorize",
		TokenURL:         "https://login.example.com/token",
		RevocationURL:    "https://login.example.com/revoke",
		UserInfoURL:      "https://login.example.com/me",
	}
	base := func(change func(*provider.Resolved)) provider.Resolved {
		r := provider.Resolved{
			Endpoints: discovered, Authentication: oauth.ClientSecretBasic,
			RedirectURL:    "https://gateway.example.com/oauth2/callback",
			ScopeSeparator: " ",
			Limits:         provider.Limits{MaxConcurrent: 4},
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	for name, test := range map[string]struct {
		reason   string
		spec     func(*v1alpha1.OAuthApplicationSpec)
		metadata func(*oauth.Metadata)
		want     provider.Resolved
		wantErr  string
	}{
		"Discovered": {reason: "the document fills what the spec leaves out", want: base(nil)},
		"SpecWins": {
			reason: "explicit endpoints, method, redirect URL, limits and scopes win",
			spec: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints = &v1alpha1.Endpoints{TokenURL: "https://other.example.com/token", RefreshURL: "https://other.example.com/refresh"}
				s.Client.Authentication = v1alpha1.ClientSecretPost
				s.RedirectURL = "https://own.example.com/cb"
				s.Scopes, s.ScopeSeparator = []v1alpha1.Scope{"a", "b"}, ","
				s.Limits = &v1alpha1.Limits{RequestsPerSecond: new(resource.MustParse("500m")), MaxConcurrent: 2}
			},
			metadata: func(m *oauth.Metadata) {
				m.TokenEndpointAuthMethodsSupported = []string{"client_secret_basic"}
				m.RevocationEndpointAuthMethodsSupported = []string{"client_secret_basic"}
			},
			want: base(func(r *provider.Resolved) {
				r.Endpoints.TokenURL, r.Endpoints.RefreshURL = "https://other.example.com/token", "https://other.example.com/refresh"
				r.Authentication = oauth.ClientSecretPost
				r.RedirectURL = "https://own.example.com/cb"
				r.Scopes, r.ScopeSeparator = []string{"a", "b"}, ","
				r.Limits = provider.Limits{RequestsPerSecond: 0.5, MaxConcurrent: 2}
			}),
		},
		"PostOnly": {
			reason:   "the document's method is taken",
			metadata: func(m *oauth.Metadata) { m.TokenEndpointAuthMethodsSupported = []string{"client_secret_post"} },
			want:     base(func(r *provider.Resolved) { r.Authentication = oauth.ClientSecretPost }),
		},
		"RevocationDiffers": {
			reason:   "the revocation endpoint may want another method",
			metadata: func(m *oauth.Metadata) { m.RevocationEndpointAuthMethodsSupported = []string{"client_secret_post"} },
			want:     base(func(r *provider.Resolved) { r.RevocationAuthentication = oauth.ClientSecretPost }),
		},
		"RevocationTakesBoth": {
			reason: "where the same method will do, it is kept",
			metadata: func(m *oauth.Metadata) {
				m.RevocationEndpointAuthMethodsSupported = []string{"client_secret_post", "client_secret_basic"}
			},
			want: base(nil),
		},
		"Public": {
			reason: "without a secret the client is public",
			spec:   func(s *v1alpha1.OAuthApplicationSpec) { s.Client.SecretRef = nil },
			want:   base(func(r *provider.Resolved) { r.Authentication = oauth.None }),
		},
		"NoSecretAccepted": {
			reason:   "a provider that takes no secret is told, not tried",
			metadata: func(m *oauth.Metadata) { m.TokenEndpointAuthMethodsSupported = []string{"private_key_jwt"} },
			wantErr:  "client.authentication",
		},
		"NoTokenEndpoint": {
			reason:   "the way out is the field to give",
			metadata: func(m *oauth.Metadata) { m.TokenEndpoint = "" },
			wantErr:  "endpoints.tokenURL",
		},
		"RefusedDiscovery": {
			reason:   "a document cannot lead to a refused address",
			metadata: func(m *oauth.Metadata) { m.RevocationEndpoint = "https://169.254.169.254/revoke" },
			wantErr:  "issuerURL",
		},
		"Unshowable": {
			reason:   "what status.endpoints would refuse is told before",
			metadata: func(m *oauth.Metadata) { m.UserinfoEndpoint = "https://login.example.com/@me" },
			wantErr:  "issuerURL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metadata()
			if test.metadata != nil {
				test.metadata(m)
			}
			got, err := provider.Resolve(spec(test.spec), m, rules())
			if field(err) != test.wantErr {
				t.Fatalf("%s: error %v, want one about %q", test.reason, err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(provider.Resolved{}, "Spec")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if test.wantErr == "" {
				checkComplete(t, got)
			}
		})
	}
}

// checkComplete holds the resolved spec to what was resolved: nothing is left to a default.
func checkComplete(t *testing.T, got provider.Resolved) {
	t.Helper()
	want := [...]any{got.Endpoints, string(got.Authentication), got.ScopeSeparator, v1alpha1.PKCES256}
	if diff := cmp.Diff(want, [...]any{
		*got.Spec.Endpoints, string(got.Spec.Client.Authentication), got.Spec.ScopeSeparator, got.Spec.PKCE,
	}); diff != "" {
		t.Errorf("the spec says otherwise (-resolved +spec):\n%s", diff)
	}
}

func TestResolveWithoutGatewayOrDocument(t *testing.T) {
	t.Parallel()
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.IssuerURL, s.Endpoints = "", &v1alpha1.Endpoints{TokenURL: "https://login.example.com/token"}
	})
	got, err := provider.Resolve(s, nil, provider.Rules{CheckURL: rules().CheckURL})
	if err != nil {
		t.Fatal(err)
	}
	if got.RedirectURL != "" || got.Authentication != oauth.ClientSecretBasic || got.Endpoints.TokenURL != "https://login.example.com/token" {
		t.Errorf("got %+v", got)
	}
}
