// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

func TestValidateDescription(t *testing.T) {
	t.Parallel()
	capture := func(name, pattern string) *v1alpha1.TokenResponseSpec {
		return &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{
			Name: v1alpha1.ValueName(name), Path: "$.x", Restriction: v1alpha1.Restriction{Pattern: pattern},
		}}}
	}
	list := func(change func(*v1alpha1.ConnectionListSpec)) *v1alpha1.StatusCheckSpec {
		described := &v1alpha1.ConnectionListSpec{URL: "https://api.example.com/list", Subject: "$.group"}
		if change != nil {
			change(described)
		}
		return &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckConnectionList, ConnectionList: described}
	}
	ref := &v1alpha1.ValueSecretReference{Key: "api_key"}
	for name, test := range map[string]struct {
		change func(*v1alpha1.OAuthApplicationSpec)
		want   string // the field; empty: nothing is wrong
	}{
		"HostWithDomain": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{tenant}.example.com/token"
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "[a-z]+" })}
		}},
		"HostOfTheApplication": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Default = new("git.example.com:8443") })}
		}},
		"FreeHost": {want: "inputs[host]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", nil)}
		}},
		"HostOfAPatternWithoutDomain": {want: "inputs[host]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Pattern = `[a-z.]+\.com` })}
		}},
		"DefaultThatIsNoHost": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Default = new("a..b") })}
		}},
		"DefaultWithUserName": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Default = new("https://x@git.example.com") })}
		}},
		"DefaultThatLeadsToARefusedHost": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Default = new("169.254.169.254") })}
		}},
		"EnumThatLeadsToARefusedHost": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "{host}/token"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Enum = []string{"https://169.254.169.254"} })}
		}},
		"DefaultOutsideThePattern": {want: "inputs[tenant].default", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern, i.Default = "[a-z]+", new("A") })}
		}},
		"DefaultOutsideTheEnum": {want: "inputs[tenant].default", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Enum, i.Default = []string{"a"}, new("b") })}
		}},
		"BadPattern": {want: "inputs[tenant].pattern", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "a)|(b" })}
		}},
		"HeavyPattern": {want: "inputs[tenant].pattern", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "(abcdefghijklmnopqrstuvwxyz){900}" })}
		}},
		"TwiceTheSameName": {want: "tokenResponse.capture[tenant]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", nil)}
			s.TokenResponse = capture("tenant", "")
		}},
		"ReservedName": {want: "tokenResponse.capture[application_id]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = capture("application_id", "")
		}},
		"CapturedHost": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse, s.APIBaseURL = capture("instance", `https://[a-z.]+\.example\.com`), "{instance}/api"
		}},
		"FreeCapturedHost": {want: "tokenResponse.capture[instance]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse, s.APIBaseURL = capture("instance", ""), "{instance}/api"
		}},
		"FreeCapturedPath": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse, s.APIBaseURL = capture("team", ""), "https://api.example.com/{team}"
		}},
		"CapturedTooLate": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse, s.Endpoints.TokenURL = capture("instance", `https://[a-z.]+\.example\.com`), "{instance}/token"
		}},
		"CapturedForRefreshes": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse, s.Endpoints.RefreshURL = capture("instance", `https://[a-z.]+\.example\.com`), "{instance}/token"
		}},
		"CapturedOfTheCallback": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{{
				Name: "server", Parameter: "server", Restriction: v1alpha1.Restriction{Enum: []string{"https://a.example.com"}},
			}}}
			s.Endpoints.TokenURL = "{server}/token"
		}},
		"FreeCapturedOfTheCallback": {want: "callback.capture[server]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{{Name: "server", Parameter: "server"}}}
			s.Endpoints.TokenURL = "{server}/token"
		}},
		"UnknownName": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://login.example.com/{tenant}/token"
		}},
		"TokenInAURL": {want: "endpoints.userInfoURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.UserInfoURL = "https://login.example.com/tokens/{access_token}"
		}},
		"TokenInARevocationURL": {want: "endpoints.revocationURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.RevocationURL = "https://login.example.com/revoke?token={token}"
		}},
		"SecretInAURL": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://login.example.com/token?s={client_secret}"
		}},
		"ClientIDInAURL": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.RevocationURL = "https://login.example.com/applications/{client_id}/grant"
		}},
		"ClientIDInAHost": {want: "endpoints.tokenURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.TokenURL = "https://{client_id}.example.com/token"
		}},
		"TokenInAnAPIHeader": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Token", Value: new("{access_token}")}}
		}},
		"TokenInATokenHeader": {want: "tokenRequest.headers[X-Token]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{{Name: "X-Token", Value: new("{access_token}")}}}
		}},
		"SecretInAuthorizationParameters": {want: "authorizationParameters[s]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"s": "{client_secret}"}
		}},
		"CapturedInAuthorizationParameters": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = capture("team", "")
			s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"s": "{team}"}
		}},
		"CapturedInTheAuthorizationURL": {want: "endpoints.authorizationURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = capture("team", "")
			s.Endpoints.AuthorizationURL = "https://login.example.com/{team}/authorize"
		}},
		"AuthorizationURLWithState": {want: "endpoints.authorizationURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.AuthorizationURL = "https://login.example.com/authorize?response_type=code"
		}},
		"ParameterTwice": {want: "authorizationParameters[hd]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Endpoints.AuthorizationURL = "https://login.example.com/authorize?hd=a"
			s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"hd": "b"}
		}},
		"ParameterOfARenamedOne": {want: "authorizationParameters[client_key]", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.AuthorizationParameterNames = map[string]v1alpha1.ParameterValue{"client_id": "client_key"}
			s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"client_key": "b"}
		}},
		"APIBaseWithQuery": {want: "apiBaseURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.APIBaseURL = "https://api.example.com?x=y"
		}},
		"SecretOfNoName": {want: "tokenRequest.headers[A].secretKeyRef", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Client.SecretRef = nil
			s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{{Name: "A", SecretKeyRef: ref}}}
		}},
		"SecretOfTheClient": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{{Name: "A", SecretKeyRef: ref}}}
		}},
		"BadPath": {want: "tokenResponse.accessToken", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = &v1alpha1.TokenResponseSpec{AccessToken: "$.["}
		}},
		"BadPathOfACapture": {want: "userInfo.capture[x].path", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.UserInfo = &v1alpha1.UserInfoSpec{Capture: []v1alpha1.Capture{{Name: "x", Path: "x"}}}
		}},
		"BadPathOfAPage": {want: "statusCheck.connectionList.page.nextCursor", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = list(func(l *v1alpha1.ConnectionListSpec) {
				l.Page = &v1alpha1.PageSpec{CursorParameter: "c", NextCursor: "$..["}
			})
		}},
		"BadLifetime": {want: "tokenResponse.defaultLifetime", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = &v1alpha1.TokenResponseSpec{DefaultLifetime: "long"}
		}},
		"KeyMissing": {want: "client.secretRef", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Client.SecretRef, s.Client.Authentication = nil, v1alpha1.ClientPrivateKeyJWT
		}},
		"ServiceAccountMissing": {want: "client.assertion.serviceAccountName", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Client.SecretRef, s.Client.Authentication = nil, v1alpha1.ClientServiceAccountToken
		}},
		"IssuerMissing": {want: "client.assertion.audienceFrom", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Client.Assertion = &v1alpha1.ClientAssertionSpec{AudienceFrom: v1alpha1.AudienceIssuer}
		}},
		"NoIntrospection": {want: "endpoints.introspectionURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckIntrospection}
		}},
		"NoAPI": {want: "apiBaseURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe}
		}},
		"NoList": {want: "statusCheck.connectionList", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckConnectionList}
		}},
		"ListWithoutBase": {want: "apiBaseURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = list(func(l *v1alpha1.ConnectionListSpec) { l.URL = "/list" })
		}},
		"ListWithoutSubject": {want: "statusCheck.connectionList.subject", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.StatusCheck = list(func(l *v1alpha1.ConnectionListSpec) { l.Subject = "" })
		}},
		"List": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("version", func(i *v1alpha1.Input) { i.Default = new("1") })}
			s.StatusCheck = list(func(l *v1alpha1.ConnectionListSpec) {
				l.Query = map[string]v1alpha1.ParameterValue{"version": "{version}", "application": "{application_id}"}
			})
		}},
		"ListOfOneTenant": {want: "statusCheck.connectionList.url", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.Inputs = []v1alpha1.Input{input("tenant", nil)}
			s.StatusCheck = list(func(l *v1alpha1.ConnectionListSpec) { l.URL = "https://api.example.com/{tenant}/list" })
		}},
		"ProbeOfABadPath": {want: "statusCheck.probe.path", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.APIBaseURL = "https://api.example.com"
			s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe, Probe: &v1alpha1.ProbeSpec{Path: "/../{x}"}}
		}},
		"IssuerOfADefault": {change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.IssuerURL = "https://{host}/realms/x"
			s.Inputs = []v1alpha1.Input{input("host", func(i *v1alpha1.Input) { i.Default = new("id.example.com") })}
		}},
		"IssuerOfEachConnection": {want: "issuerURL", change: func(s *v1alpha1.OAuthApplicationSpec) {
			s.IssuerURL = "https://{tenant}.example.com"
			s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "[a-z]+" })}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
				s.IssuerURL, s.Endpoints = "", &v1alpha1.Endpoints{TokenURL: "https://login.example.com/token"}
				test.change(s)
			})
			err := provider.Validate(s, rules())
			if got := field(err); got != test.want || (err != nil) != (test.want != "") {
				t.Errorf("field %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func TestResolveIssuer(t *testing.T) {
	t.Parallel()
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.IssuerURL = "https://{host}/{realm}"
		s.Inputs = []v1alpha1.Input{
			input("host", func(i *v1alpha1.Input) { i.Default = new("id.example.com:8443") }),
			input("realm", func(i *v1alpha1.Input) { i.Default = new("x") }),
		}
	})
	issuer, err := provider.IssuerURL(s)
	if err != nil || issuer != "https://id.example.com:8443/x" {
		t.Fatalf("got %q, %v", issuer, err)
	}
	got, err := provider.Resolve(s, metadata(), rules())
	if err != nil || got.Spec.IssuerURL != issuer {
		t.Errorf("resolved %+v, %v", got.Spec, err)
	}
}

// TestDiscoveredBraces: a document cannot smuggle a template in.
func TestDiscoveredBraces(t *testing.T) {
	t.Parallel()
	m := metadata()
	m.RevocationEndpoint = "https://{host}/revoke"
	_, err := provider.Resolve(spec(nil), m, rules())
	if field(err) != "issuerURL" {
		t.Errorf("error %v", err)
	}
}

func TestResolveWithCertificate(t *testing.T) {
	t.Parallel()
	m := metadata()
	m.MTLSTokenEndpoint, m.MTLSRevocationEndpoint = "https://mtls.example.com/token", "https://mtls.example.com/revoke"
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Client.Authentication = v1alpha1.ClientTLS })
	got, err := provider.Resolve(s, m, rules())
	want := v1alpha1.Endpoints{
		AuthorizationURL: "https://login.example.com/authorize", UserInfoURL: "https://login.example.com/me",
		TokenURL: "https://mtls.example.com/token", RevocationURL: "https://mtls.example.com/revoke",
	}
	if err != nil || got.Endpoints != want {
		t.Errorf("got %+v, %v", got.Endpoints, err)
	}
	m.MTLSRevocationEndpoint = "https://169.254.169.254/revoke"
	if _, err := provider.Resolve(s, m, rules()); field(err) != "issuerURL" {
		t.Errorf("a refused address: %v", err)
	}
}

// TestResolveAuthorizationHeader: one header cannot carry two things.
func TestResolveAuthorizationHeader(t *testing.T) {
	t.Parallel()
	headers := []v1alpha1.RequestHeader{{Name: "authorization", Value: new("Client {client_id}")}}
	for _, test := range []struct {
		reason string
		change func(*v1alpha1.OAuthApplicationSpec)
		want   string
	}{
		{"with Basic", func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: headers}
		}, "tokenRequest.headers[Authorization]"},
		{"with Post", func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenRequest, s.Client.Authentication = &v1alpha1.TokenRequestSpec{Headers: headers}, v1alpha1.ClientSecretPost
		}, ""},
		{"a revocation as at the token endpoint", func(s *v1alpha1.OAuthApplicationSpec) {
			s.Revocation = &v1alpha1.RevocationSpec{Headers: headers, Authentication: v1alpha1.RevocationByClient}
		}, "revocation.headers[Authorization]"},
		{"a revocation with the token", func(s *v1alpha1.OAuthApplicationSpec) {
			s.Revocation = &v1alpha1.RevocationSpec{Headers: headers, Authentication: v1alpha1.RevocationByBearer}
		}, "revocation.headers[Authorization]"},
		{"a revocation with nothing else", func(s *v1alpha1.OAuthApplicationSpec) {
			s.Revocation = &v1alpha1.RevocationSpec{Headers: headers, Authentication: v1alpha1.RevocationByNobody}
		}, ""},
	} {
		_, err := provider.Resolve(spec(test.change), metadata(), rules())
		if field(err) != test.want || (err != nil) != (test.want != "") {
			t.Errorf("%s: error %v, want one about %q", test.reason, err, test.want)
		}
	}
}

func TestResolveIntrospectionCheck(t *testing.T) {
	t.Parallel()
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckIntrospection}
	})
	if _, err := provider.Resolve(s, metadata(), rules()); field(err) != "endpoints.introspectionURL" {
		t.Errorf("error %v", err)
	}
}

// TestErrorsAreForPeople: an error is never longer than a message, and never shows a control character of a value.
func TestErrorsAreForPeople(t *testing.T) {
	t.Parallel()
	p := profile(t, func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints.TokenURL = "https://{tenant}.example.com/token"
		s.Inputs = []v1alpha1.Input{input("tenant", func(i *v1alpha1.Input) { i.Pattern = "(?s).*" })}
	})
	for _, value := range []string{strings.Repeat("x", 5000), "a\x1b[31m", "a b", strings.Repeat("x", 200)} {
		_, err := p.Values(map[string]string{"tenant": value}, nil)
		if failed := (*provider.FieldError)(nil); err == nil {
			_, err = p.TokenURL("authorization_code", provider.Values{"tenant": value})
		} else if !errors.As(err, &failed) {
			t.Errorf("%T: %v", err, err)
		}
		if err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.20q: error %v", value, err)
		}
	}
}
