// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// captured is one request as the provider saw it.
type captured struct {
	method, query string
	header        http.Header
	body          string
}

func capture(t *testing.T, call func(url string, transport http.RoundTripper) error) captured {
	t.Helper()
	var got captured
	server, hits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = captured{method: r.Method, query: r.URL.RawQuery, header: r.Header, body: string(body)}
		answering(http.StatusOK, `{"access_token":"a","token_type":"bearer"}`)(w, r)
	})
	if err := call(server.URL, transport(t)); err != nil {
		t.Fatal(err)
	}
	if hits.Load() != 1 {
		t.Fatalf("%d requests, want 1", hits.Load())
	}
	return got
}

func TestTokenRequests(t *testing.T) {
	secret := url.QueryEscape(clientSecret)
	with := func(method oauth.AuthenticationMethod) oauth.Client {
		return oauth.Client{ID: "id with:colon", Secret: sensitive.New(clientSecret), Authentication: method}
	}
	tests := []struct {
		reason  string
		request oauth.TokenRequest
		body    string
		basic   bool
	}{
		{
			reason: "a code with verifier and redirect URI (RFC 6749, 4.1.3; RFC 7636, 4.5)",
			request: oauth.TokenRequest{Client: with(oauth.ClientSecretBasic), Grant: oauth.AuthorizationCode(
				sensitive.New(authCode), sensitive.New(codeVerifier), "https://app.example/cb?x=1")},
			body:  "grant_type=authorization_code&code=" + authCode + "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb%3Fx%3D1&code_verifier=" + codeVerifier,
			basic: true,
		},
		{
			reason: "what is empty is left out",
			request: oauth.TokenRequest{Client: with(oauth.ClientSecretBasic), Grant: oauth.AuthorizationCode(
				sensitive.New(authCode), sensitive.String{}, "")},
			body:  "grant_type=authorization_code&code=" + authCode,
			basic: true,
		},
		{
			reason:  "a refresh without scope; credentials in the body",
			request: oauth.TokenRequest{Client: with(oauth.ClientSecretPost), Grant: oauth.RefreshToken(sensitive.New(refreshToken), "")},
			body:    "grant_type=refresh_token&refresh_token=" + refreshToken + "&client_id=id+with%3Acolon&client_secret=" + secret,
		},
		{
			reason: "a public client sends its id and no secret, even when it has one",
			request: oauth.TokenRequest{Client: with(oauth.None), Grant: oauth.RefreshToken(
				sensitive.New(refreshToken), oauth.JoinScopes([]string{"a", "b"}, ","))},
			body: "grant_type=refresh_token&refresh_token=" + refreshToken + "&scope=a%2Cb&client_id=id+with%3Acolon",
		},
		{
			reason: "credentials alone, with parameters of the provider's own, one of them twice",
			request: oauth.TokenRequest{
				Client: with(oauth.ClientSecretBasic), Grant: oauth.ClientCredentials(oauth.JoinScopes([]string{"a", "b"}, "")),
				Parameters: []oauth.Parameter{
					{Name: "resource", Value: sensitive.New("https://a.example")},
					{Name: "client_id", Value: sensitive.New("extra")},
					{Name: "resource", Value: sensitive.New("https://b.example")},
				},
			},
			body:  "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fa.example&client_id=extra&resource=https%3A%2F%2Fb.example",
			basic: true,
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got := capture(t, func(url string, transport http.RoundTripper) error {
				test.request.URL = url + "/token?tenant=7"
				_, err := newCaller(oauth.Options{UserAgent: "operator/1"}).Token(t.Context(), transport, test.request)
				return err
			})
			checkPost(t, got, test.body, test.basic)
			if got.query != "tenant=7" || got.header.Get("User-Agent") != "operator/1" {
				t.Errorf("query %q, user agent %q", got.query, got.header.Get("User-Agent"))
			}
		})
	}
}

func checkPost(t *testing.T, got captured, body string, basic bool) {
	t.Helper()
	if got.method != http.MethodPost || got.body != body {
		t.Errorf("sent %s %s\nwant POST %s", got.method, got.body, body)
	}
	if got.header.Get("Content-Type") != "application/x-www-form-urlencoded" || got.header.Get("Accept") != "application/json" {
		t.Errorf("headers %v", got.header)
	}
	// RFC 6749, 2.3.1: form-encoded first, then Base64.
	const credentials = "Basic aWQrd2l0aCUzQWNvbG9uOnMzY3JldCUzQXdpdGglMkZvZGQlM0RjaGFycyslMjYlMkI="
	if want := map[bool]string{true: credentials, false: ""}[basic]; got.header.Get("Authorization") != want {
		t.Errorf("Authorization = %q, want %q", got.header.Get("Authorization"), want)
	}
}

func TestRevocationRequest(t *testing.T) {
	client := oauth.Client{ID: "id with:colon", Secret: sensitive.New(clientSecret), Authentication: oauth.ClientSecretBasic}
	got := capture(t, func(url string, transport http.RoundTripper) error {
		return newCaller(oauth.Options{}).Revoke(t.Context(), transport, oauth.RevocationRequest{
			URL: url, Client: client, Token: sensitive.New(refreshToken), TokenTypeHint: oauth.HintRefreshToken,
		})
	})
	checkPost(t, got, "token="+refreshToken+"&token_type_hint=refresh_token", true)
}

func TestUnusableRequests(t *testing.T) {
	server, hits := serve(t, answering(http.StatusOK, `{"access_token":"a"}`))
	change := func(edit func(*oauth.TokenRequest)) oauth.TokenRequest {
		request := refreshAt(server.URL)
		edit(&request)
		return request
	}
	for reason, request := range map[string]oauth.TokenRequest{
		"no grant":            change(func(r *oauth.TokenRequest) { r.Grant = oauth.Grant{} }),
		"no client id":        change(func(r *oauth.TokenRequest) { r.Client.ID = "" }),
		"no authentication":   change(func(r *oauth.TokenRequest) { r.Client.Authentication = "" }),
		"unknown method":      change(func(r *oauth.TokenRequest) { r.Client.Authentication = "Kerberos" }),
		"relative URL":        change(func(r *oauth.TokenRequest) { r.URL = "/token" }),
		"other scheme":        change(func(r *oauth.TokenRequest) { r.URL = "ftp://127.0.0.1/" }),
		"user in the URL":     change(func(r *oauth.TokenRequest) { r.URL = strings.Replace(r.URL, "://", "://u:p@", 1) }),
		"unreadable URL":      change(func(r *oauth.TokenRequest) { r.URL = "https://[" }),
		"a parameter doubled": change(func(r *oauth.TokenRequest) { r.Parameters = []oauth.Parameter{{Name: "grant_type"}} }),
	} {
		_, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), request)
		failure := failureOf(t, err)
		if failure.Concern != oauth.ConcernApplication || failure.Sent != oauth.NotSent || failure.Error() == "" {
			t.Errorf("%s: %+v", reason, failure)
		}
	}
	err := newCaller(oauth.Options{}).Revoke(t.Context(), transport(t), oauth.RevocationRequest{URL: server.URL, Client: basicClient()})
	if failure := failureOf(t, err); failure.Sent != oauth.NotSent {
		t.Errorf("a revocation of nothing: %+v", failure)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests were sent", hits.Load())
	}
}

func TestPKCE(t *testing.T) {
	// RFC 7636, appendix B.
	if got := oauth.ChallengeS256(sensitive.New("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("challenge = %s", got)
	}
	first, second := oauth.NewVerifier(), oauth.NewVerifier()
	if len(first.Reveal()) != 43 || first.Equal(second) || strings.Trim(first.Reveal(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("verifiers %q, %q", first.Reveal(), second.Reveal())
	}
}
