// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestValues(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.TokenURL = "https://{tenant}.example.com/{realm}/token"
		s.Endpoints.RevocationURL = "https://{host}/revoke"
		s.Inputs = []v1alpha1.Input{
			input("tenant", func(i *v1alpha1.Input) {
				i.Pattern, i.Prefix, i.Suffix, i.Description = "[a-z0-9-]+", "https://", ".example.com", "as in the address bar"
			}),
			input("realm", func(i *v1alpha1.Input) { i.Default = new("master") }),
			input("region", func(i *v1alpha1.Input) { i.Enum, i.Default = []string{"eu", "us"}, new("eu") }),
			input("host", func(i *v1alpha1.Input) { i.Default = new("api.example.org:8443") }),
			input("hint", func(i *v1alpha1.Input) { i.Default = new("") }),
		}
		s.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{
			{Name: "cell", Path: "$.cell", Restriction: v1alpha1.Restriction{Pattern: "c[0-9]+"}},
		}}
	})
	full := func(changes map[string]string) provider.Values {
		values := provider.Values{"tenant": "acme", "realm": "master", "region": "eu", "host": "api.example.org:8443", "hint": ""}
		maps.Copy(values, changes)
		return values
	}
	for _, test := range []struct {
		reason          string
		given, captured map[string]string
		want            provider.Values
		field           string
	}{
		{reason: "defaults fill what is not given", given: map[string]string{"tenant": "acme"}, want: full(nil)},
		{reason: "prefix and suffix are taken off", given: map[string]string{"tenant": "https://acme.example.com"}, want: full(nil)},
		{reason: "an empty value is none", given: map[string]string{"tenant": "acme", "region": ""}, want: full(nil)},
		{reason: "a value of the enum", given: map[string]string{"tenant": "acme", "region": "us"}, want: full(map[string]string{"region": "us"})},
		{reason: "an input without value can have one", given: map[string]string{"tenant": "acme", "hint": "me@example.com"}, want: full(map[string]string{"hint": "me@example.com"})},
		{reason: "a free value outside the host", given: map[string]string{"tenant": "acme", "realm": "a/b"}, want: full(map[string]string{"realm": "a/b"})},
		{reason: "the default may be repeated", given: map[string]string{"tenant": "acme", "host": "api.example.org:8443"}, want: full(nil)},
		{reason: "captured values are there", given: map[string]string{"tenant": "acme"}, captured: map[string]string{"cell": "c1", "gone": "x"}, want: full(map[string]string{"cell": "c1"})},
		{reason: "a missing value is named", field: "inputs.tenant"},
		{reason: "a value outside the pattern", given: map[string]string{"tenant": "a.b"}, field: "inputs.tenant"},
		{reason: "nothing is left", given: map[string]string{"tenant": "https://"}, field: "inputs.tenant"},
		{reason: "a value outside the enum", given: map[string]string{"tenant": "acme", "region": "mars"}, field: "inputs.region"},
		{reason: "a host that the application did not set", given: map[string]string{"tenant": "acme", "host": "evil.com"}, field: "inputs.host"},
		{reason: "a line break", given: map[string]string{"tenant": "acme", "realm": "a\nb"}, field: "inputs.realm"},
		{reason: "an unknown name", given: map[string]string{"tenant": "acme", "tennant": "x"}, field: "inputs.tennant"},
		{reason: "an operator's name", given: map[string]string{"tenant": "acme", "client_id": "x"}, field: "inputs.client_id"},
		{reason: "a captured value given as input", given: map[string]string{"tenant": "acme", "cell": "c1"}, field: "inputs.cell"},
		{reason: "a captured value outside its pattern", given: map[string]string{"tenant": "acme"}, captured: map[string]string{"cell": "evil"}, field: "tokenResponse.capture[cell]"},
		{reason: "a captured line break", given: map[string]string{"tenant": "acme"}, captured: map[string]string{"cell": "c1\n"}, field: "tokenResponse.capture[cell]"},
	} {
		got, err := p.Values(test.given, test.captured)
		if field(err) != test.field || (err != nil) != (test.field != "") {
			t.Errorf("%s: error %v, want one about %q", test.reason, err, test.field)
			continue
		}
		if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
	if _, err := p.Values(nil, nil); err == nil || !strings.Contains(err.Error(), "as in the address bar") {
		t.Errorf("the error %v does not say what to give", err)
	}
	if got, err := p.ApplicationValues(); err != nil || got["realm"] != "master" || got["tenant"] != "" {
		t.Errorf("the application's own values are %v (%v)", got, err)
	}
}

// TestExpansionChecksAgain: values that went around Profile.Values are held to the same rules when they are used.
func TestExpansionChecksAgain(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.TokenURL = "https://{tenant}.example.com/token"
		s.Endpoints.RefreshURL = "{instance_url}/token"
		s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "[a-z]+" })}
		s.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{
			Name: "instance_url", Path: "$.instance_url", Restriction: v1alpha1.Restriction{Pattern: `https://[a-z]+\.my\.example\.com`},
		}}}
	})
	for _, test := range []struct {
		grant  string
		values provider.Values
		want   string
	}{
		{"authorization_code", provider.Values{"tenant": "acme"}, "https://acme.example.com/token"},
		{"authorization_code", provider.Values{"tenant": "evil.com/"}, ""},
		{"authorization_code", provider.Values{"tenant": "evil.com"}, ""},
		{"authorization_code", nil, ""},
		{"refresh_token", provider.Values{"tenant": "acme", "instance_url": "https://a.my.example.com"}, "https://a.my.example.com/token"},
		{"refresh_token", provider.Values{"tenant": "acme", "instance_url": "https://evil.com"}, ""},
		{"refresh_token", provider.Values{"tenant": "acme"}, ""},
	} {
		if got, err := p.TokenURL(test.grant, test.values); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s %v: got %q, %v", test.grant, test.values, got, err)
		}
	}
}

func TestAuthorizationURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason string
		change func(*v1alpha1.OAuthApplicationSpec)
		values provider.Values
		want   string
	}{
		{
			reason: "the standard",
			want: "https://login.example.com/authorize?response_type=code&client_id=crm&redirect_uri=https%3A%2F%2Fgateway.example.com%2Foauth2%2Fcallback" +
				"&scope=a%20b&state=st%2Fate&code_challenge=ch&code_challenge_method=S256",
		},
		{
			reason: "a query of its own, extra parameters by name, another separator, no PKCE",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints.AuthorizationURL = "https://login.example.com/authorize?v=2"
				s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"prompt": "consent", "access_type": "offline"}
				s.ScopeSeparator, s.PKCE = ",", v1alpha1.PKCEDisabled
			},
			want: "https://login.example.com/authorize?v=2&response_type=code&client_id=crm&redirect_uri=https%3A%2F%2Fgateway.example.com%2Foauth2%2Fcallback" +
				"&scope=a%2Cb&state=st%2Fate&access_type=offline&prompt=consent",
		},
		{
			reason: "other names, scopes elsewhere, inputs, and none of what has no value",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints.AuthorizationURL = "https://{tenant}.example.com/authorize"
				s.AuthorizationParameterNames = map[string]v1alpha1.ParameterValue{"client_id": "client_key", "scope": "", "response_type": "", "redirect_uri": ""}
				s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{
					"user_scope": "{scope}", "app": "{client_id}@{tenant}", "login_hint": "{hint}", "back": "{redirect_uri}", "claims": `{"a":{"b":null}}`,
				}
				s.Inputs = []v1alpha1.Input{
					input("tenant", func(i *v1alpha1.Input) { i.Pattern = "[a-z]+" }),
					input("hint", func(i *v1alpha1.Input) { i.Default = new("") }),
				}
				s.PKCE = v1alpha1.PKCEDisabled
			},
			values: provider.Values{"tenant": "acme", "hint": ""},
			want: "https://acme.example.com/authorize?client_key=crm&state=st%2Fate&app=crm%40acme&back=https%3A%2F%2Fgateway.example.com%2Foauth2%2Fcallback" +
				"&claims=%7B%22a%22%3A%7B%22b%22%3Anull%7D%7D&user_scope=a%20b",
		},
	} {
		p := profile(t, test.change)
		got, err := p.AuthorizationURL(provider.AuthorizationRequest{
			State: "st/ate", CodeChallenge: "ch", Scopes: []string{"a", "b"}, Values: test.values,
		})
		if got != test.want || err != nil {
			t.Errorf("%s: error %v\ngot  %s\nwant %s", test.reason, err, got, test.want)
		}
	}
	got, err := profile(t, nil).AuthorizationURL(provider.AuthorizationRequest{RedirectURL: "https://own.example.com/cb"})
	if want := "https://login.example.com/authorize?response_type=code&client_id=crm&redirect_uri=https%3A%2F%2Fown.example.com%2Fcb"; got != want || err != nil {
		t.Errorf("without scopes, state and PKCE: got %s, %v", got, err)
	}
}

// revealed makes requests comparable.
func revealed() cmp.Option {
	return cmp.Transformer("reveal", func(s sensitive.String) string { return s.Reveal() })
}

func parameter(name, value string) oauth.Parameter {
	return oauth.Parameter{Name: name, Value: sensitive.New(value)}
}

func header(name, value string) oauth.Header {
	return oauth.Header{Name: name, Value: sensitive.New(value)}
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.RefreshURL = "https://login.example.com/refresh"
		s.Client.Authentication = v1alpha1.ClientSecretPost
		s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Default = new("acme") })}
		s.TokenRequest = &v1alpha1.TokenRequestSpec{
			Format: v1alpha1.FormatJSON,
			Headers: []v1alpha1.RequestHeader{
				{Name: "Authorization", Prefix: "Bearer ", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}},
				{Name: "X-Tenant", Value: new("{tenant} of {client_id}")},
				{Name: "X-Cell", Value: new("{cell}")},
			},
			Parameters: []v1alpha1.RequestParameter{
				{Name: "audience", Value: new("https://api.example.com")},
				{Name: "redirect_uri", Value: new("{redirect_uri}"), GrantTypes: []string{"refresh_token"}},
				{Name: "cell", Value: new("{cell}")},
				{Name: "key", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "crm-client", Key: "api_key"}, GrantTypes: []string{"authorization_code"}},
			},
			ParameterNames: map[string]v1alpha1.ParameterName{"client_id": "client_key"},
		}
		s.TokenResponse = &v1alpha1.TokenResponseSpec{
			AccessToken: "$.data.token", DefaultLifetime: "90m",
			Capture: []v1alpha1.Capture{{Name: "cell", Path: "$.cell"}},
		}
	})
	code := oauth.AuthorizationCode(sensitive.New("the-code"), sensitive.String{}, "https://own.example.com/cb")
	got, err := p.TokenRequest(code, "https://own.example.com/cb", provider.Values{"tenant": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if got.URL != "https://login.example.com/token" || got.Format != oauth.FormatJSON || got.Names["client_id"] != "client_key" || got.Response == nil {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]oauth.Parameter{parameter("audience", "https://api.example.com"), parameter("key", "the-api-key")}, got.Parameters, revealed()); diff != "" {
		t.Errorf("parameters without a value yet are left out (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]oauth.Header{header("Authorization", "Bearer the-api-key"), header("X-Tenant", "acme of crm")}, got.Headers, revealed()); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	refresh, ok := p.RefreshGrant(sensitive.New("rt"), sensitive.New("at"))
	got, err = p.TokenRequest(refresh, "", provider.Values{"tenant": "acme", "cell": "c1"})
	if err != nil || !ok {
		t.Fatal(err)
	}
	want := []oauth.Parameter{
		parameter("audience", "https://api.example.com"), parameter("redirect_uri", "https://gateway.example.com/oauth2/callback"), parameter("cell", "c1"),
	}
	if diff := cmp.Diff(want, got.Parameters, revealed()); diff != "" || got.URL != "https://login.example.com/refresh" {
		t.Errorf("a refresh goes to %s (-want +got):\n%s", got.URL, diff)
	}
	delete(p.Secrets, provider.SecretKey("crm-client", "api_key"))
	if _, err := p.TokenRequest(refresh, "", provider.Values{"tenant": "acme"}); field(err) != "tokenRequest.headers[Authorization].secretKeyRef" {
		t.Errorf("a header without its Secret: %v", err)
	}
}

func TestRefreshByAccessToken(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.RefreshURL = "https://login.example.com/refresh"
		s.TokenRequest = &v1alpha1.TokenRequestSpec{Refresh: &v1alpha1.RefreshRequestSpec{GrantType: "fb_exchange_token", AccessTokenParameter: "fb_exchange_token"}}
	})
	grant, ok := p.RefreshGrant(sensitive.String{}, sensitive.New("at"))
	if !ok || grant.Type() != "fb_exchange_token" || !p.RenewsByAccessToken() {
		t.Errorf("got %v, %t", grant.Type(), ok)
	}
	if got, err := p.TokenURL("fb_exchange_token", nil); err != nil || got != "https://login.example.com/refresh" {
		t.Errorf("it goes to %q, %v", got, err)
	}
	if _, ok := p.RefreshGrant(sensitive.New("rt"), sensitive.String{}); ok {
		t.Error("there is nothing to exchange")
	}
	if _, ok := profile(t, nil).RefreshGrant(sensitive.String{}, sensitive.New("at")); ok {
		t.Error("an access token refreshes nothing by the standard")
	}
}

func TestDeviceAuthorization(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.DeviceAuthorizationURL = "https://login.example.com/device"
		s.ScopeSeparator = ","
		s.TokenRequest = &v1alpha1.TokenRequestSpec{
			Headers: []v1alpha1.RequestHeader{{Name: "X-A", Value: new("b")}},
			Parameters: []v1alpha1.RequestParameter{
				{Name: "audience", Value: new("api")},
				{Name: "only", Value: new("refreshes"), GrantTypes: []string{"refresh_token"}},
				{Name: "device", Value: new("tv"), GrantTypes: []string{"urn:ietf:params:oauth:grant-type:device_code"}},
			},
		}
	})
	got, err := p.DeviceAuthorization([]string{"a", "b"}, nil)
	if err != nil || got.URL != "https://login.example.com/device" || got.Scope != "a,b" || got.Client.ID != "crm" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if diff := cmp.Diff([]oauth.Parameter{parameter("audience", "api"), parameter("device", "tv")}, got.Parameters, revealed()); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]oauth.Header{header("X-A", "b")}, got.Headers, revealed()); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if _, err := profile(t, nil).DeviceAuthorization(nil, nil); field(err) != "endpoints.deviceAuthorizationURL" {
		t.Errorf("without an endpoint: %v", err)
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason string
		how    *v1alpha1.RevocationSpec
		change func(*provider.Profile)
		want   oauth.RevocationRequest
	}{
		{
			reason: "by the standard",
			want:   oauth.RevocationRequest{TokenTypeHint: "refresh_token", Client: oauth.Client{Authentication: oauth.ClientSecretBasic}},
		},
		{
			reason: "discovery may want another method",
			change: func(p *provider.Profile) { p.RevocationAuthentication = oauth.ClientSecretPost },
			want:   oauth.RevocationRequest{TokenTypeHint: "refresh_token", Client: oauth.Client{Authentication: oauth.ClientSecretPost}},
		},
		{
			reason: "the spec wins over discovery",
			how:    &v1alpha1.RevocationSpec{Authentication: v1alpha1.RevocationByClient},
			change: func(p *provider.Profile) { p.RevocationAuthentication = oauth.ClientSecretPost },
			want:   oauth.RevocationRequest{TokenTypeHint: "refresh_token", Client: oauth.Client{Authentication: oauth.ClientSecretBasic}},
		},
		{
			reason: "a bearer call without a body",
			how:    &v1alpha1.RevocationSpec{Method: "DELETE", Authentication: v1alpha1.RevocationByBearer, Parameters: &[]v1alpha1.BodyParameter{}},
			want: oauth.RevocationRequest{
				TokenTypeHint: "refresh_token", Method: "DELETE", Bearer: true, Body: &[]oauth.Parameter{},
				Client: oauth.Client{Authentication: oauth.ClientSecretBasic},
			},
		},
		{
			reason: "a body and headers of its own",
			how: &v1alpha1.RevocationSpec{
				Format: v1alpha1.FormatJSON, Authentication: v1alpha1.RevocationByNobody,
				Headers:    []v1alpha1.RequestHeader{{Name: "Authorization", Value: new("Client {client_secret}")}, {Name: "X-Token", Value: new("{token}")}},
				Parameters: &[]v1alpha1.BodyParameter{{Name: "client_id", Value: "{client_id}"}, {Name: "access_token", Value: "{token}"}, {Name: "team", Value: "{team}"}},
			},
			want: oauth.RevocationRequest{
				TokenTypeHint: "refresh_token", Format: oauth.FormatJSON, Anonymous: true,
				Client:  oauth.Client{Authentication: oauth.ClientSecretBasic},
				Headers: []oauth.Header{header("Authorization", "Client the-secret"), header("X-Token", "rt")},
				Body:    &[]oauth.Parameter{parameter("client_id", "crm"), parameter("access_token", "rt"), parameter("team", "T1")},
			},
		},
		{
			reason: "a public client cannot prove itself by a secret",
			how:    &v1alpha1.RevocationSpec{Authentication: v1alpha1.RevocationByBasic},
			change: func(p *provider.Profile) { p.Client.Authentication = oauth.None },
			want:   oauth.RevocationRequest{TokenTypeHint: "refresh_token", Client: oauth.Client{Authentication: oauth.None}},
		},
		{
			reason: "another method than at the token endpoint",
			how:    &v1alpha1.RevocationSpec{Authentication: v1alpha1.RevocationByPost},
			want:   oauth.RevocationRequest{TokenTypeHint: "refresh_token", Client: oauth.Client{Authentication: oauth.ClientSecretPost}},
		},
	} {
		p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.RevocationURL = "https://api.example.com/{client_id}/{team}"
			s.Revocation = test.how
			s.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{Name: "team", Path: "$.team"}}}
		})
		if test.change != nil {
			test.change(p)
		}
		got, err := p.Revocation(v1alpha1.TokenRefresh, sensitive.New("rt"), provider.Values{"team": "T1"})
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		if got.Response == nil {
			t.Errorf("%s: the answer is read without the application's error codes", test.reason)
		}
		got.Response = nil
		test.want.URL, test.want.Token = "https://api.example.com/crm/T1", sensitive.New("rt")
		test.want.Client.ID, test.want.Client.Secret = "crm", sensitive.New("the-secret")
		if diff := cmp.Diff(test.want, got, revealed()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
		if test.how == nil || test.how.Parameters == nil || len(*test.how.Parameters) == 0 {
			continue
		}
		if _, err := p.Revocation(v1alpha1.TokenRefresh, sensitive.New("rt"), nil); err == nil {
			t.Errorf("%s: a parameter that the provider needs is left out", test.reason)
		}
	}
}

func TestRevocable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url             string
		tokens          []v1alpha1.TokenKind
		refresh, access bool
	}{
		{"", nil, false, false},
		{"https://a.example.com/r", nil, true, true},
		{"https://a.example.com/r", []v1alpha1.TokenKind{v1alpha1.TokenAccess}, false, true},
	} {
		p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.RevocationURL = v1alpha1.EndpointURL(test.url)
			s.Revocation = &v1alpha1.RevocationSpec{Tokens: test.tokens}
		})
		if got := p.Revocable(v1alpha1.TokenRefresh); got != test.refresh {
			t.Errorf("%+v: refresh tokens %t", test, got)
		}
		if got := p.Revocable(v1alpha1.TokenAccess); got != test.access {
			t.Errorf("%+v: access tokens %t", test, got)
		}
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.IntrospectionURL = "https://login.example.com/introspect"
	})
	got, err := p.Introspection(sensitive.New("at"), oauth.HintAccessToken, nil)
	if err != nil || got.URL != "https://login.example.com/introspect" || got.TokenTypeHint != "access_token" || got.Token.Reveal() != "at" || got.Client.ID != "crm" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := profile(t, nil).Introspection(sensitive.New("at"), "", nil); field(err) != "endpoints.introspectionURL" {
		t.Errorf("without an endpoint: %v", err)
	}
}

func TestResources(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.UserInfoURL = "https://login.example.com/me"
		s.UserInfo = &v1alpha1.UserInfoSpec{
			Headers: []v1alpha1.RequestHeader{{Name: "Authorization", Value: new("OAuth {access_token}")}},
			Capture: []v1alpha1.Capture{
				{Name: "dc", Path: "$.dc", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+[0-9]+"}},
				{Name: "site", Path: "$.site"},
			},
		}
		s.APIBaseURL = "https://{dc}.api.example.com/3.0/"
		s.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Site", Value: new("{site}")}}
	})
	got, ok, err := p.UserInfo(sensitive.New("at"), nil)
	want := oauth.ResourceRequest{URL: "https://login.example.com/me", Headers: []oauth.Header{header("Authorization", "OAuth at")}}
	if diff := cmp.Diff(want, got, revealed()); diff != "" || !ok || err != nil {
		t.Errorf("user info (%t, %v; -want +got):\n%s", ok, err, diff)
	}
	got, err = p.APIRequest("/ping?site={site}", sensitive.New("at"), provider.Values{"dc": "us1", "site": "a&b"})
	want = oauth.ResourceRequest{
		URL:     "https://us1.api.example.com/3.0/ping?site=a%26b",
		Headers: []oauth.Header{header("X-Site", "a&b"), header("Authorization", "Bearer at")},
	}
	if diff := cmp.Diff(want, got, revealed()); diff != "" || err != nil {
		t.Errorf("probe (%v; -want +got):\n%s", err, diff)
	}
	for _, values := range []provider.Values{nil, {"dc": "us1"}, {"site": "x"}, {"dc": "evil.com#", "site": "x"}} {
		if _, err := p.APIRequest("", sensitive.New("at"), values); err == nil {
			t.Errorf("%v: a value is missing or bad, and nobody says so", values)
		}
	}
	if _, ok, err := profile(t, nil).UserInfo(sensitive.New("at"), nil); ok || err != nil {
		t.Errorf("without an endpoint: %t, %v", ok, err)
	}
	if _, err := profile(t, nil).APIRequest("/me", sensitive.New("at"), nil); field(err) != "apiBaseURL" {
		t.Errorf("without a base: %v", err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.APIBaseURL = "https://api.example.com"
		s.StatusCheck = &v1alpha1.StatusCheckSpec{
			Type: v1alpha1.StatusCheckConnectionList,
			ConnectionList: &v1alpha1.ConnectionListSpec{
				URL: "/oauth_connections", Subject: "$.group_id",
				Headers: []v1alpha1.RequestHeader{{Name: "Authorization", Prefix: "Bearer ", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}},
				Query:   map[string]v1alpha1.ParameterValue{"status.in": "active,inactive", "application": "{application_id}"},
				Page:    &v1alpha1.PageSpec{CursorParameter: "cursor", NextCursor: "$.next_cursor"},
				Application: &v1alpha1.ApplicationListSpec{
					URL: "https://other.example.com/oauth_applications", Query: map[string]v1alpha1.ParameterValue{"limit": "100"},
				},
			},
		}
	})
	for _, test := range []struct{ cursor, application, want string }{
		{"", "", "https://api.example.com/oauth_connections?status.in=active%2Cinactive"},
		{"", "app/1", "https://api.example.com/oauth_connections?application=app%2F1&status.in=active%2Cinactive"},
		{"c&1", "a", "https://api.example.com/oauth_connections?application=a&status.in=active%2Cinactive&cursor=c%261"},
	} {
		got, err := p.ListPage(test.cursor, test.application, nil)
		want := oauth.ResourceRequest{URL: test.want, Headers: []oauth.Header{header("Authorization", "Bearer the-api-key")}}
		if diff := cmp.Diff(want, got, revealed()); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	got, err := p.ApplicationPage("c", nil)
	if want := "https://other.example.com/oauth_applications?limit=100&cursor=c"; got.URL != want || err != nil || len(got.Headers) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := profile(t, nil).ListPage("", "", nil); err == nil {
		t.Error("a list that nobody described")
	}
	if _, err := profile(t, nil).ApplicationPage("", nil); err == nil {
		t.Error("a list that nobody described")
	}
}

func TestReadCallback(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Callback = &v1alpha1.CallbackSpec{
			ParameterNames: map[string]v1alpha1.ParameterName{"code": "auth_code", "error": "err"},
			Capture: []v1alpha1.CallbackCapture{
				{Name: "server", Parameter: "accounts-server", Restriction: v1alpha1.Restriction{Enum: []string{"https://a.example.com"}}},
				{Name: "realm", Parameter: "realmId"},
			},
		}
	})
	read := func(query string) (provider.Callback, error) {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return p.ReadCallback(values)
	}
	got, err := read("auth_code=c&state=s&iss=&accounts-server=https%3A%2F%2Fa.example.com&realmId=1")
	want := provider.Callback{
		Code: sensitive.New("c"), State: "s", IssuerPresent: true, Captured: map[string]string{"server": "https://a.example.com", "realm": "1"},
	}
	if diff := cmp.Diff(want, got, revealed()); diff != "" || err != nil {
		t.Errorf("a success (%v; -want +got):\n%s", err, diff)
	}
	got, err = read("err=access_denied&error_description=No%0Aaccess+for+the-state&state=the-state")
	want = provider.Callback{
		State: "the-state", Error: "access_denied", ErrorDescription: "No access for [redacted]", Captured: map[string]string{},
	}
	if diff := cmp.Diff(want, got, revealed()); diff != "" || err != nil {
		t.Errorf("a refusal (%v; -want +got):\n%s", err, diff)
	}
	for query, wantField := range map[string]string{
		"auth_code=c&auth_code=d&state=s":                        "callback",
		"auth_code=c&state=s&accounts-server=evil.com":           "callback.capture[server]",
		"auth_code=c&state=s&realmId=" + url.QueryEscape("a\nb"): "callback.capture[realm]",
	} {
		if _, err := read(query); field(err) != wantField {
			t.Errorf("%s: error %v, want one about %s", query, err, wantField)
		}
	}
	if got, err := profile(t, nil).CaptureCallback(func(string) string { return "x" }); err != nil || len(got) != 0 {
		t.Errorf("nothing is to be kept: %v, %v", got, err)
	}
}

func TestSecretReferences(t *testing.T) {
	t.Parallel()
	ref := func(name string) *v1alpha1.ValueSecretReference {
		return &v1alpha1.ValueSecretReference{Name: name, Key: "k"}
	}
	headers := []v1alpha1.RequestHeader{{Name: "H", SecretKeyRef: ref("")}, {Name: "V", Value: new("x")}}
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: headers, Parameters: []v1alpha1.RequestParameter{{Name: "P", SecretKeyRef: ref("own")}}}
		s.UserInfo = &v1alpha1.UserInfoSpec{Headers: headers}
		s.Revocation = &v1alpha1.RevocationSpec{Headers: headers}
		s.APIHeaders = headers
		s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckConnectionList, ConnectionList: &v1alpha1.ConnectionListSpec{Headers: headers}}
	})
	var got []string
	for _, one := range provider.SecretReferences(s) {
		got = append(got, one.Field+"="+one.Name+"/"+one.Key)
	}
	want := []string{
		"tokenRequest.headers[H].secretKeyRef=crm-client/k",
		"userInfo.headers[H].secretKeyRef=crm-client/k",
		"revocation.headers[H].secretKeyRef=crm-client/k",
		"apiHeaders[H].secretKeyRef=crm-client/k",
		"statusCheck.connectionList.headers[H].secretKeyRef=crm-client/k",
		"tokenRequest.parameters[P].secretKeyRef=own/k",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFittingLeavesOutTheRest : what a token was obtained with may not fit any more, and the rest of it still leads to its end.
func TestFittingLeavesOutTheRest(t *testing.T) {
	profile := &provider.Profile{Spec: &v1alpha1.OAuthApplicationSpec{
		Inputs: []v1alpha1.Input{
			{Name: "tenant", Prefix: "https://", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}},
			{Name: "version", Default: new("v1")},
			{Name: "region", Restriction: v1alpha1.Restriction{Enum: []string{"eu"}}},
		},
		TokenResponse: &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{
			{Name: "pod", Path: "$.pod", Restriction: v1alpha1.Restriction{Pattern: "p[0-9]"}},
			{Name: "team", Path: "$.team"},
		}},
	}}
	got := profile.Fitting(
		map[string]string{"tenant": "https://acme", "region": "mars", "unknown": "x"},
		map[string]string{"pod": "elsewhere", "team": "core", "version": "v9", "unknown": "x"},
	)
	if want := (provider.Values{"tenant": "acme", "version": "v1", "team": "core"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
