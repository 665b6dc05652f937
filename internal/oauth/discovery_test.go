// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

func TestParseMetadata(t *testing.T) {
	const issuer = "https://login.example/tenant"
	got, err := oauth.ParseMetadata([]byte(`{
		"issuer":"https://login.example/tenant","authorization_endpoint":"https://login.example/a","token_endpoint":"https://login.example/t",
		"revocation_endpoint":"https://login.example/r","introspection_endpoint":"https://login.example/i","jwks_uri":"https://login.example/k",
		"device_authorization_endpoint":"https://login.example/d","userinfo_endpoint":"https://login.example/u",
		"token_endpoint_auth_methods_supported":["client_secret_post"],"revocation_endpoint_auth_methods_supported":["none"],
		"code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true,
		"require_pushed_authorization_requests":true,"unknown":{"deep":[1]},
		"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.login.example/t","revocation_endpoint":"https://mtls.login.example/r",
		"introspection_endpoint":"https://mtls.login.example/i","device_authorization_endpoint":"https://mtls.login.example/d","other":7}}`), issuer)
	want := oauth.Metadata{
		Issuer: issuer, AuthorizationEndpoint: "https://login.example/a", TokenEndpoint: "https://login.example/t",
		RevocationEndpoint: "https://login.example/r", IntrospectionEndpoint: "https://login.example/i", JWKSURI: "https://login.example/k",
		DeviceAuthorizationEndpoint: "https://login.example/d", UserinfoEndpoint: "https://login.example/u",
		TokenEndpointAuthMethodsSupported: []string{"client_secret_post"}, RevocationEndpointAuthMethodsSupported: []string{"none"},
		MTLSTokenEndpoint: "https://mtls.login.example/t", MTLSRevocationEndpoint: "https://mtls.login.example/r",
		MTLSIntrospectionEndpoint: "https://mtls.login.example/i", MTLSDeviceAuthorizationEndpoint: "https://mtls.login.example/d",
		CodeChallengeMethodsSupported: []string{"S256"}, AuthorizationResponseIssParameterSupported: true, RequirePushedAuthorizationRequests: true,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("err = %v\n%s", err, diff)
	}
	wrongTypes, err := oauth.ParseMetadata([]byte(`{"issuer":"https://login.example/tenant","token_endpoint":7,"jwks_uri":null,"mtls_endpoint_aliases":"x",
		"code_challenge_methods_supported":"S256","require_pushed_authorization_requests":"true"}`), issuer)
	if diff := cmp.Diff(oauth.Metadata{Issuer: issuer}, wrongTypes); err != nil || diff != "" {
		t.Errorf("members of wrong types are absent: err = %v\n%s", err, diff)
	}
	for _, body := range []string{
		``, `[]`, `{}`, `{"issuer":"https://login.example/tenant"`, `{"issuer":7}`, `{"issuer":"https://login.example/tenant/"}`,
		`{"issuer":"https://LOGIN.example/tenant"}`, `issuer=https://login.example/tenant`,
	} {
		if _, err := oauth.ParseMetadata([]byte(body), issuer); err == nil {
			t.Errorf("%s was accepted", body)
		}
	}
}

func TestAuthentication(t *testing.T) {
	for _, test := range []struct {
		offered   []string
		hasSecret bool
		want      oauth.AuthenticationMethod
		refused   bool
	}{
		{nil, true, oauth.ClientSecretBasic, false},
		{[]string{"client_secret_post", "client_secret_basic"}, true, oauth.ClientSecretBasic, false},
		{[]string{"private_key_jwt", "client_secret_post"}, true, oauth.ClientSecretPost, false},
		{[]string{"private_key_jwt", "none"}, true, "", true},
		{nil, false, oauth.None, false},
		{[]string{"client_secret_basic"}, false, oauth.None, false},
	} {
		got, err := oauth.Metadata{TokenEndpointAuthMethodsSupported: test.offered}.Authentication(test.hasSecret)
		if got != test.want || (err != nil) != test.refused {
			t.Errorf("%v with secret %t: %s, %v", test.offered, test.hasSecret, got, err)
		}
		if test.refused && !strings.Contains(err.Error(), "private_key_jwt") {
			t.Errorf("the error does not name what is offered: %v", err)
		}
	}
}

func TestCheckIssuer(t *testing.T) {
	advertised := oauth.Metadata{Issuer: "https://a.example", AuthorizationResponseIssParameterSupported: true}
	silent := oauth.Metadata{Issuer: "https://a.example"}
	for _, test := range []struct {
		reason   string
		iss      string
		present  bool
		metadata oauth.Metadata
		fine     bool
	}{
		{"equal", "https://a.example", true, advertised, true},
		{"missing although promised", "", false, advertised, false},
		{"another's", "https://b.example", true, advertised, false},
		{"nearly", "https://a.example/", true, advertised, false},
		{"empty", "", true, advertised, false},
		{"equal, not promised", "https://a.example", true, silent, true},
		{"another's, not promised", "https://b.example", true, silent, false},
		{"missing, not promised", "", false, silent, true},
		{"nothing is known", "https://b.example", true, oauth.Metadata{}, true},
	} {
		if err := oauth.CheckIssuer(test.iss, test.present, test.metadata); (err == nil) != test.fine {
			t.Errorf("%s: %v", test.reason, err)
		}
	}
}

// pages serves a body per path and answers 404 elsewhere; {issuer} in a body becomes the server's address.
func pages(t *testing.T, bodies map[string]string) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		answering(200, strings.ReplaceAll(body, "{issuer}", "http://"+r.Host))(w, r)
	})
}

const oidcPath, rfc8414Path = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"

func TestDiscover(t *testing.T) {
	document := func(path string) string {
		return `{"issuer":"{issuer}` + path + `","token_endpoint":"https://login.example` + path + `"}`
	}
	for _, test := range []struct {
		reason, path string
		pages        map[string]string
		requests     int64
	}{
		{"OpenID Connect", "", map[string]string{oidcPath: document("")}, 1},
		{"a path", "/t/1", map[string]string{"/t/1" + oidcPath: document("/t/1")}, 1},
		{"a slash at the end belongs to the issuer, not to the address", "/t/", map[string]string{"/t" + oidcPath: document("/t/")}, 1},
		{"RFC 8414", "", map[string]string{rfc8414Path: document("")}, 2},
		{"RFC 8414 with a path", "/t/1", map[string]string{rfc8414Path + "/t/1": document("/t/1")}, 2},
		{"RFC 8414 with a slash at the end", "/t/", map[string]string{rfc8414Path + "/t": document("/t/")}, 2},
		{"a page at the first address", "", map[string]string{oidcPath: "<html>", rfc8414Path: document("")}, 2},
		{"another's document at the first address", "", map[string]string{oidcPath: document("/x"), rfc8414Path: document("")}, 2},
	} {
		t.Run(test.reason, func(t *testing.T) {
			server, hits := pages(t, test.pages)
			got, err := newCaller(oauth.Options{}).Discover(t.Context(), transport(t), server.URL+test.path)
			if err != nil || got.TokenEndpoint != "https://login.example"+test.path || hits.Load() != test.requests {
				t.Errorf("%+v, %v, %d requests, want %d", got, err, hits.Load(), test.requests)
			}
		})
	}
}

func TestDiscoverFailures(t *testing.T) {
	bounced, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answering(http.StatusFound, "", "Location", r.URL.Path)(w, r)
	})
	mismatch, _ := pages(t, map[string]string{oidcPath: `{"issuer":"https://evil.example"}`})
	for _, test := range []struct {
		reason  string
		issuer  string
		concern oauth.Concern
		says    string
	}{
		{"nothing there", served(t, answering(404, "")), oauth.ConcernApplication, rfc8414Path[:12]},
		{"another issuer: both are shown", mismatch.URL, oauth.ConcernApplication, `"https://evil.example", not for "` + mismatch.URL + `"`},
		{"away", served(t, answering(503, "", "Retry-After", "9")), oauth.ConcernTransient, ""},
		{"a page", served(t, answering(200, "<html>")), oauth.ConcernTransient, "neither"},
		{"too large", served(t, answering(200, `{"issuer":"`+strings.Repeat("x", 2<<20))), oauth.ConcernTransient, "larger"},
		{"redirects without end", bounced.URL, oauth.ConcernTransient, "redirects"},
		{"nobody listens", "http://127.0.0.1:1", oauth.ConcernTransient, "reached"},
		{"no URL", "login.example", oauth.ConcernApplication, "absolute"},
		{"a query", "https://login.example/?a=b", oauth.ConcernApplication, "query"},
		{"a fragment", "https://login.example/#", oauth.ConcernApplication, "fragment"},
		{"a user", "https://u:p@login.example/", oauth.ConcernApplication, "user"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			_, err := newCaller(oauth.Options{}).Discover(t.Context(), transport(t), test.issuer)
			if failure := failureOf(t, err); failure.Concern != test.concern || !strings.Contains(failure.Error(), test.says) {
				t.Errorf("%s (%v), want %s with %q", failure.Concern, failure, test.concern, test.says)
			}
		})
	}
}

func served(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server, _ := serve(t, handler)
	return server.URL
}

func TestDiscoveryRedirects(t *testing.T) {
	server, hits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if step := len(r.URL.RawQuery); step < 3 {
			answering(http.StatusFound, "", "Location", r.URL.Path+"?"+strings.Repeat("x", step+1))(w, r)
			return
		}
		answering(200, `{"issuer":"http://`+r.Host+`"}`)(w, r)
	})
	if _, err := newCaller(oauth.Options{}).Discover(t.Context(), transport(t), server.URL); err != nil || hits.Load() != 4 {
		t.Errorf("three redirects: %v after %d requests", err, hits.Load())
	}
	plain, plainHits := serve(t, answering(200, `{}`))
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(secure.Close)
	if _, err := newCaller(oauth.Options{}).Discover(t.Context(), secure.Client().Transport, secure.URL); err == nil || plainHits.Load() != 0 {
		t.Errorf("from https to http: %v, %d requests", err, plainHits.Load())
	}
}
