// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

func FuzzParseTokenResponse(f *testing.F) {
	f.Add("application/json", []byte(`{"access_token":"a","refresh_token":"r","expires_in":"3600","scope":"x,y"}`))
	f.Add("application/json", []byte("\xef\xbb\xbf{\"refresh_token\":\"r\",\"access_token\":[[[1e9"))
	f.Add("text/plain", []byte("access_token=a&expires_in=1e3"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		got, err := oauth.ParseTokenResponse(contentType, body)
		if err == nil && got.AccessToken.IsEmpty() {
			t.Error("a success without an access token")
		}
		for _, lifetime := range []oauth.Lifetime{got.ExpiresIn, got.RefreshTokenExpiresIn} {
			if (lifetime.Kind == oauth.LifetimeFinite) != (lifetime.Duration >= time.Second) {
				t.Errorf("lifetime %+v", lifetime)
			}
		}
		for _, scope := range got.Scope {
			if scope == "" || strings.ContainsAny(scope, " ,\n") {
				t.Errorf("scope %q", scope)
			}
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://a.example","token_endpoint":"https://a.example/token","token_endpoint_auth_methods_supported":["none"]}`))
	f.Add([]byte(`{"issuer":"https://a.example","token_endpoint":7,"code_challenge_methods_supported":"S256"}`))
	f.Add([]byte(`{"issuer":["https://a.example"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := oauth.ParseMetadata(body, "https://a.example")
		if err == nil && got.Issuer != "https://a.example" {
			t.Errorf("issuer %q was accepted", got.Issuer)
		}
	})
}
