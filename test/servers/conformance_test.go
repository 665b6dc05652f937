// SPDX-License-Identifier: Apache-2.0

// Package servers_test holds all three servers to what they have in common, and
// to the differences that their package comments promise.
package servers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/gooauth2server"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// server is what the three have in common.
type server interface {
	Address() string
	Client() *http.Client
	Close()
	NewCode(clientID, redirectURI string, scopes []string, challenge string) (string, string, error)
	Introspect(token string) bool
	RevokeGrant(token string) error
	RotateClientSecret(id, secret string) error
	SetAccessTokenLifetime(d time.Duration)
	Count(f record.Filter) int
	Requests(f record.Filter) []record.Request
	Reuse() int
	MaxUses() int
	Uses(credential string) int
	Issued() []string
}

// kind is one implementation and what sets it apart.
type kind struct {
	name string
	// start returns the server with its URL and CA.
	start func(t testing.TB, o harness.Options) (server, string, []byte)
	// dead is the status for a dead code or refresh token.
	dead int
	// killsFamily: a reused refresh token takes the living one along.
	killsFamily bool
	revokes     bool
}

func kinds() []kind {
	return []kind{
		{"fosite", startFosite, http.StatusBadRequest, true, true},
		{"go-oauth2", startGoOAuth2, http.StatusUnauthorized, false, false},
		{"hostile", startHostile, http.StatusBadRequest, true, true},
	}
}

func startFosite(t testing.TB, o harness.Options) (server, string, []byte) {
	s, err := fositeserver.Start(o)
	must(t, err)
	return s, s.URL, s.CAPEM
}

func startGoOAuth2(t testing.TB, o harness.Options) (server, string, []byte) {
	s, err := gooauth2server.Start(o)
	must(t, err)
	return s, s.URL, s.CAPEM
}

func startHostile(t testing.TB, o harness.Options) (server, string, []byte) {
	s, err := hostile.Start(o)
	must(t, err)
	return s, s.URL, s.CAPEM
}

// fixture is a running server and a client of it.
type fixture struct {
	server

	kind   kind
	url    string
	ca     []byte
	ctx    context.Context //nolint:containedctx // of the test, which the fixture lives in
	config oauth2.Config
}

func forEach(t *testing.T, o harness.Options, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			s, url, ca := k.start(t, o)
			t.Cleanup(s.Close)
			test(t, &fixture{
				server: s, kind: k, url: url, ca: ca,
				ctx: context.WithValue(t.Context(), oauth2.HTTPClient, s.Client()),
				config: oauth2.Config{
					ClientID: "client", ClientSecret: "client-secret", RedirectURL: harness.DefaultRedirectURI,
					Endpoint: oauth2.Endpoint{
						AuthURL: url + "/authorize", TokenURL: url + "/token", AuthStyle: oauth2.AuthStyleInHeader,
					},
				},
			})
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) authorize(t *testing.T, scopes ...string) *oauth2.Token {
	t.Helper()
	code, verifier, err := f.NewCode("client", "", scopes, "")
	must(t, err)
	token, err := f.config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
	must(t, err)
	return token
}

func (f *fixture) refresh(refreshToken string) (*oauth2.Token, error) {
	return f.config.TokenSource(f.ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func (f *fixture) wantRefused(t *testing.T, err error, status int, code, reason string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		t.Fatalf("%s: got %v, want a refusal", reason, err)
	}
	if refused.Response.StatusCode != status || refused.ErrorCode != code {
		t.Errorf("%s: got %d %q, want %d %q", reason, refused.Response.StatusCode, refused.ErrorCode, status, code)
	}
}

func (f *fixture) wantActive(t *testing.T, token string, want bool, reason string) {
	t.Helper()
	if got := f.Introspect(token); got != want {
		t.Errorf("%s: active=%t, want %t", reason, got, want)
	}
}

func TestCodeGivesTokensOnce(t *testing.T) {
	forEach(t, harness.Options{AccessTokenLifetime: 7 * time.Minute}, func(t *testing.T, f *fixture) {
		code, verifier, err := f.NewCode("client", "", []string{"api:read", "openid"}, "")
		must(t, err)
		token, err := f.config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
		must(t, err)
		if token.RefreshToken == "" || token.ExpiresIn < 419 || token.ExpiresIn > 420 {
			t.Errorf("refresh token %t, expires_in %d, want true and 420", token.RefreshToken != "", token.ExpiresIn)
		}
		if got := token.Extra("scope"); got != "api:read openid" {
			t.Errorf("scope %q", got)
		}
		f.wantActive(t, token.AccessToken, true, "fresh access token")
		f.wantActive(t, token.RefreshToken, true, "fresh refresh token")
		if f.Reuse() != 0 || f.MaxUses() != 1 {
			t.Errorf("reuse %d, max uses %d after one use", f.Reuse(), f.MaxUses())
		}

		_, err = f.config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
		f.wantRefused(t, err, f.kind.dead, "invalid_grant", "second use of a code")
		if f.Reuse() != 1 || f.MaxUses() != 2 || f.Uses(code) != 2 {
			t.Errorf("reuse %d, max uses %d, uses %d after two uses", f.Reuse(), f.MaxUses(), f.Uses(code))
		}
		for _, secret := range []string{code, token.AccessToken, token.RefreshToken} {
			if !slices.Contains(f.Issued(), secret) {
				t.Error("a secret is missing from Issued")
			}
		}
	})
}

func TestPKCE(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		code, _, err := f.NewCode("client", "", nil, "")
		must(t, err)
		_, err = f.config.Exchange(f.ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
		f.wantRefused(t, err, f.kind.dead, "invalid_grant", "wrong verifier")

		verifier, challenge := harness.NewPKCE()
		code, ours, err := f.NewCode("client", "", nil, challenge)
		must(t, err)
		if ours != "" {
			t.Error("NewCode returned a verifier for a challenge that is not its own")
		}
		_, err = f.config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
		must(t, err)

		code, _, err = f.NewCode("client", "", nil, harness.NoPKCE)
		must(t, err)
		_, err = f.config.Exchange(f.ctx, code)
		must(t, err)
	})
}

func TestRequirePKCE(t *testing.T) {
	forEach(t, harness.Options{RequirePKCE: true}, func(t *testing.T, f *fixture) {
		if _, _, err := f.NewCode("client", "", nil, harness.NoPKCE); err == nil {
			t.Error("a code was given without PKCE")
		}
		f.authorize(t)
	})
}

func TestRefreshRotates(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		first := f.authorize(t, "api:read")
		second, err := f.refresh(first.RefreshToken)
		must(t, err)
		third, err := f.refresh(second.RefreshToken)
		must(t, err)
		if second.RefreshToken == first.RefreshToken || third.RefreshToken == second.RefreshToken {
			t.Error("the refresh token was not rotated")
		}
		if f.Reuse() != 0 || f.MaxUses() != 1 {
			t.Errorf("reuse %d, max uses %d", f.Reuse(), f.MaxUses())
		}

		_, err = f.refresh(first.RefreshToken)
		f.wantRefused(t, err, f.kind.dead, "invalid_grant", "a refresh token that was used before")
		if f.Reuse() != 1 {
			t.Errorf("reuse %d, want 1", f.Reuse())
		}
		f.wantActive(t, third.RefreshToken, !f.kind.killsFamily, "newest refresh token after reuse")
		f.wantActive(t, third.AccessToken, !f.kind.killsFamily, "newest access token after reuse")
	})
}

// Eight refreshes of one token at once: one is answered, and where reuse kills
// the family nothing is left of it.
func TestParallelRefreshes(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		first := f.authorize(t)
		answers := make([]*oauth2.Token, 8)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i], _ = f.refresh(first.RefreshToken) })
		}
		all.Wait()
		answers = slices.DeleteFunc(answers, func(a *oauth2.Token) bool { return a == nil })
		if len(answers) != 1 {
			t.Fatalf("%d of 8 refreshes were answered, want 1", len(answers))
		}
		f.wantActive(t, answers[0].RefreshToken, !f.kind.killsFamily, "the one new refresh token")
		if f.Reuse() != 7 || f.MaxUses() != 8 {
			t.Errorf("reuse %d, max uses %d, want 7 and 8", f.Reuse(), f.MaxUses())
		}
		if got := f.Count(record.Filter{GrantType: "refresh_token", Status: f.kind.dead}); got != 7 {
			t.Errorf("%d refusals counted, want 7", got)
		}
	})
}

func TestClientCredentials(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		config := clientcredentials.Config{
			ClientID: "client", ClientSecret: "client-secret", TokenURL: f.config.Endpoint.TokenURL,
			Scopes: []string{"api:read"}, AuthStyle: oauth2.AuthStyleInParams,
		}
		token, err := config.Token(f.ctx)
		must(t, err)
		f.wantActive(t, token.AccessToken, true, "token from client credentials")
		if token.RefreshToken != "" {
			t.Error("client credentials gave a refresh token")
		}
		config.Scopes = []string{"admin"}
		_, err = config.Token(f.ctx)
		f.wantRefused(t, err, http.StatusBadRequest, "invalid_scope", "a scope that the client has not")
		if got := f.Count(record.Filter{GrantType: "client_credentials", AuthMethod: "client_secret_post"}); got != 2 {
			t.Errorf("%d requests counted, want 2", got)
		}
	})
}

func TestClientSecretRotates(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		token := f.authorize(t)
		must(t, f.RotateClientSecret("client", "another"))
		_, err := f.refresh(token.RefreshToken)
		f.wantRefused(t, err, http.StatusUnauthorized, "invalid_client", "the old secret")
		f.config.ClientSecret = "another"
		_, err = f.refresh(token.RefreshToken)
		must(t, err)
		if f.Reuse() != 0 {
			t.Error("a refresh that was refused for its client counts as reuse")
		}
		if f.RotateClientSecret("nobody", "x") == nil {
			t.Error("an unknown client got a secret")
		}
	})
}

func TestClientsAuthenticateTheirWay(t *testing.T) {
	clients := []harness.Client{
		{ID: "basic", Secret: "s e%c&ret", AuthMethod: "client_secret_basic"},
		{ID: "post", Secret: "s e%c&ret", AuthMethod: "client_secret_post"},
		{ID: "public"},
	}
	tests := []struct {
		client string
		style  oauth2.AuthStyle
		ok     bool
	}{
		{"basic", oauth2.AuthStyleInHeader, true},
		{"basic", oauth2.AuthStyleInParams, false},
		{"post", oauth2.AuthStyleInParams, true},
		{"post", oauth2.AuthStyleInHeader, false},
		{"public", oauth2.AuthStyleInParams, true},
	}
	forEach(t, harness.Options{Clients: clients}, func(t *testing.T, f *fixture) {
		for _, tt := range tests {
			config := f.config
			config.ClientID, config.ClientSecret, config.Endpoint.AuthStyle = tt.client, "s e%c&ret", tt.style
			if tt.client == "public" {
				config.ClientSecret = ""
			}
			code, verifier, err := f.NewCode(tt.client, "", nil, "")
			must(t, err)
			_, err = config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
			if (err == nil) != tt.ok {
				t.Errorf("%s, style %d: error %v, want success %t", tt.client, tt.style, err, tt.ok)
			}
		}
	})
}

func TestRevokeGrantActsBehindTheClient(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		token, other := f.authorize(t), f.authorize(t)
		must(t, f.RevokeGrant(token.AccessToken))
		f.wantActive(t, token.AccessToken, false, "access token of a revoked grant")
		f.wantActive(t, token.RefreshToken, false, "refresh token of a revoked grant")
		f.wantActive(t, other.RefreshToken, true, "refresh token of another grant")
		_, err := f.refresh(token.RefreshToken)
		f.wantRefused(t, err, f.kind.dead, "invalid_grant", "refresh of a revoked grant")
		if f.Reuse() != 0 {
			t.Error("a revoked token that was never used counts as reuse")
		}
		if f.RevokeGrant("unknown") == nil {
			t.Error("an unknown token was revoked")
		}
	})
}

func TestRevocationEndpoint(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		token := f.authorize(t)
		post := func(path, token string) (*http.Response, error) {
			form := url.Values{"token": {token}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+path, strings.NewReader(form.Encode()))
			if err != nil {
				return nil, err
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.SetBasicAuth("client", "client-secret")
			return f.Client().Do(request)
		}
		want := http.StatusOK
		if !f.kind.revokes {
			want = http.StatusNotFound
		}
		for _, path := range []string{"/revoke", "/introspect"} {
			resp, err := post(path, token.RefreshToken)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s answered %d, want %d", path, resp.StatusCode, want)
			}
		}
		if !f.kind.revokes {
			return
		}
		f.wantActive(t, token.RefreshToken, false, "revoked refresh token")
		f.wantActive(t, token.AccessToken, false, "access token beside a revoked refresh token")
		if f.Count(record.Filter{Endpoint: record.Revoke, Status: http.StatusOK}) != 1 {
			t.Error("the revocation was not counted")
		}
		for _, tt := range []struct {
			token  string
			active bool
		}{{token.RefreshToken, false}, {f.authorize(t).AccessToken, true}} {
			resp, err := post("/introspect", tt.token)
			must(t, err)
			var answer struct{ Active bool }
			must(t, json.NewDecoder(resp.Body).Decode(&answer))
			resp.Body.Close()
			if answer.Active != tt.active {
				t.Errorf("introspection says active=%t, want %t", answer.Active, tt.active)
			}
		}
	})
}

func TestDiscoveryOverTLS(t *testing.T) {
	forEach(t, harness.Options{TLS: true}, func(t *testing.T, f *fixture) {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(f.ca) {
			t.Fatal("CAPEM holds no certificate")
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
		t.Cleanup(client.CloseIdleConnections)
		for _, path := range []string{harness.OpenIDPath, harness.MetadataPath} {
			request, err := http.NewRequestWithContext(f.ctx, http.MethodGet, f.url+path, http.NoBody)
			must(t, err)
			resp, err := client.Do(request)
			must(t, err)
			var document map[string]any
			must(t, json.NewDecoder(resp.Body).Decode(&document))
			resp.Body.Close()
			if document["issuer"] != f.url || document["token_endpoint"] != f.config.Endpoint.TokenURL {
				t.Errorf("%s: issuer %v, token endpoint %v", path, document["issuer"], document["token_endpoint"])
			}
			if _, has := document["revocation_endpoint"]; has != f.kind.revokes {
				t.Errorf("%s: revocation endpoint named: %t", path, has)
			}
		}
		f.authorize(t)
	})
}

func TestLifetimeChangesWhileRunning(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		token := f.authorize(t)
		f.SetAccessTokenLifetime(20 * time.Second)
		token, err := f.refresh(token.RefreshToken)
		must(t, err)
		if token.ExpiresIn < 19 || token.ExpiresIn > 20 {
			t.Errorf("expires_in %d, want 20", token.ExpiresIn)
		}
	})
}

// What a log keeps may be printed by a failing test.
func TestLogHoldsNoSecret(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		token := f.authorize(t)
		_, err := f.refresh(token.RefreshToken)
		must(t, err)
		kept, err := json.Marshal(f.Requests(record.Filter{Endpoint: record.Token}))
		must(t, err)
		for _, secret := range append(f.Issued(), "client-secret") {
			if strings.Contains(string(kept), secret) {
				t.Error("the log holds a secret")
			}
		}
		refreshes := f.Requests(record.Filter{GrantType: "refresh_token", ClientID: "client", Status: http.StatusOK})
		if len(refreshes) != 1 || refreshes[0].Credential != record.Hash(token.RefreshToken) {
			t.Errorf("%d refreshes kept, or without the hash of their token", len(refreshes))
		}
	})
}

// The cost of each server with its client, for benchmarks that stand on it.
func BenchmarkRefresh(b *testing.B) {
	for _, k := range kinds() {
		b.Run(k.name, func(b *testing.B) {
			s, url, _ := k.start(b, harness.Options{Lean: true})
			defer s.Close()
			ctx := context.WithValue(b.Context(), oauth2.HTTPClient, s.Client())
			config := oauth2.Config{
				ClientID: "client", ClientSecret: "client-secret", RedirectURL: harness.DefaultRedirectURI,
				Endpoint: oauth2.Endpoint{TokenURL: url + "/token", AuthStyle: oauth2.AuthStyleInHeader},
			}
			code, verifier, err := s.NewCode("client", "", nil, "")
			must(b, err)
			token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			must(b, err)
			for b.Loop() {
				token, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
				must(b, err)
			}
		})
	}
}

func TestIssuerMayDifferFromTheAddress(t *testing.T) {
	const issuer = "https://login.example.com"
	forEach(t, harness.Options{Issuer: issuer}, func(t *testing.T, f *fixture) {
		base := "http://" + f.Address()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+harness.OpenIDPath, nil)
		must(t, err)
		resp, err := f.Client().Do(request)
		must(t, err)
		defer resp.Body.Close()
		var document struct {
			Issuer        string `json:"issuer"`
			TokenEndpoint string `json:"token_endpoint"`
		}
		must(t, json.NewDecoder(resp.Body).Decode(&document))
		if document.Issuer != issuer || document.TokenEndpoint != issuer+"/token" {
			t.Errorf("got issuer %s, token endpoint %s", document.Issuer, document.TokenEndpoint)
		}
		code, verifier, err := harness.NewCodeAt(f.Client(), base, "client", "", []string{"api:read"}, "")
		must(t, err)
		f.config.Endpoint.TokenURL = base + "/token"
		token, err := f.config.Exchange(f.ctx, code, oauth2.VerifierOption(verifier))
		must(t, err)
		if !f.Introspect(token.AccessToken) {
			t.Error("the token is not alive")
		}
	})
}

func TestAddressInUse(t *testing.T) {
	forEach(t, harness.Options{}, func(t *testing.T, f *fixture) {
		options := harness.Options{Address: f.Address()}
		_, fosite := fositeserver.Start(options)
		_, goOAuth2 := gooauth2server.Start(options)
		_, hostile := hostile.Start(options)
		for name, err := range map[string]error{"fosite": fosite, "go-oauth2": goOAuth2, "hostile": hostile} {
			if err == nil {
				t.Errorf("%s started on an address that is taken", name)
			}
		}
	})
}
