// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// checkKept fails when a value that is kept of an answer is not fit to be shown.
func checkKept(t *testing.T, limit int, value string, secrets ...sensitive.String) {
	t.Helper()
	if len(value) > limit || !utf8.ValidString(value) || strings.ContainsAny(value, "\n\x00\x1b") {
		t.Errorf("kept %q", value)
	}
	for _, secret := range secrets {
		if len(secret.Reveal()) >= 4 && strings.Contains(value, secret.Reveal()) {
			t.Errorf("kept %q, which has a token in it", value)
		}
	}
}

func checkFailure(t *testing.T, err error) oauth.Concern {
	t.Helper()
	var failure *oauth.Error
	if !errors.As(err, &failure) {
		t.Fatalf("err = %v (%T), want an *oauth.Error", err, err)
	}
	if len(failure.Code) > 64 || len(failure.ProviderCode) > 64 || len(failure.Description) > 512 || failure.Error() == "" {
		t.Errorf("error %+v", failure)
	}
	return failure.Concern
}

// Whatever an answer and a mapping are: nothing panics, and what is kept is fit to be. With the paths of the standard the
// tokens are those of the standard.
func FuzzMappedTokenResponse(f *testing.F) {
	f.Add(200, []byte(`{"ok":true,"authed_user":{"access_token":"xoxp-1","refresh_token":"r-1"},"team":{"id":"T1"}}`), "$..access_token", "$.team.id", "$.ok", "true")
	f.Add(200, []byte(`{"ok":false,"error":{"code":190,"message":"m"}}`), "$['access_token','token']", "$.error.code", "$.ok", "true")
	f.Add(400, []byte(`{"error":{"code":190,"message":"m"}}`), "$.a[?@.b == 'x'].c", "$.error.code", "", "")
	f.Add(200, []byte(`{"data":{"tok":"t1","refresh_token":"r-1","scope":["a"],"x":[[[1e999`), "$.data.tok", "$..x[0]", "$.data", "")
	f.Add(200, []byte("access_token=abcdef&refresh_token=ghijkl&expires_at=1785585600000"), "$.access_token", "$.expires_at", "", "")
	f.Add(200, []byte(`{"access_token":"abcd","refresh_token":"efgh","expires_in":0,"at":"2027-08-01T12:00:00Z"}`), "$.access_token", "$.at", "", "")
	f.Fuzz(func(t *testing.T, status int, body []byte, tokenPath, valuePath, successPath, success string) {
		status = 100 + abs(status)%500
		request := refreshAt("https://provider.test")
		mapping, err := oauth.NewResponseMapping(oauth.MappingOptions{
			AccessToken: tokenPath, RefreshToken: "$..refresh_token", ExpiresAt: valuePath, Scope: valuePath, ID: valuePath, Subject: "$..id",
			Error: valuePath, ErrorDescription: valuePath, ErrorCodes: map[string]string{"190": "invalid_grant"}, SuccessPath: successPath, SuccessValue: success,
			DefaultLifetime: oauth.Lifetime{Kind: oauth.LifetimeNever}, Capture: map[string]string{"a": "$..*", "b": tokenPath},
		})
		if err != nil {
			return
		}
		request.Response = mapping
		got, err := newCaller(oauth.Options{}).Token(t.Context(), replying(status, "", string(body)), request)
		if err != nil {
			checkFailure(t, err)
		} else if got.AccessToken.IsEmpty() || status < 200 || status > 299 {
			t.Errorf("a success with status %d and %+v", status, got)
		}
		for _, value := range append([]string{got.ID, got.Subject}, got.Captured["a"], got.Captured["b"]) {
			checkKept(t, 1024, value, got.AccessToken, got.RefreshToken, got.IDToken, sensitive.New(refreshToken))
		}
		if (got.ExpiresIn.Kind == oauth.LifetimeFinite) != (got.ExpiresIn.Duration >= time.Second) {
			t.Errorf("lifetime %+v", got.ExpiresIn)
		}
		checkAgainstStandard(t, body)
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func checkAgainstStandard(t *testing.T, body []byte) {
	t.Helper()
	request := refreshAt("https://provider.test")
	plain, err := newCaller(oauth.Options{}).Token(t.Context(), replying(200, "", string(body)), request)
	if err != nil {
		return
	}
	request.Response = mappingOf(t, oauth.MappingOptions{AccessToken: "$.access_token", RefreshToken: "$['refresh_token']"})
	mapped, err := newCaller(oauth.Options{}).Token(t.Context(), replying(200, "", string(body)), request)
	if err != nil || !mapped.AccessToken.Equal(plain.AccessToken) || !mapped.RefreshToken.Equal(plain.RefreshToken) {
		t.Errorf("%q: %q, %q in the standard; %q, %q with a mapping (%v)", body, plain.AccessToken.Reveal(), plain.RefreshToken.Reveal(),
			mapped.AccessToken.Reveal(), mapped.RefreshToken.Reveal(), err)
	}
}

func FuzzIntrospection(f *testing.F) {
	f.Add(200, []byte(`{"active":true,"sub":"x","scope":"a b","exp":1785585600}`))
	f.Add(200, []byte(`{"active":false`))
	f.Add(200, []byte(`{"active":"true","sub":["x"]}`))
	f.Add(400, []byte(`{"error":"invalid_grant"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 100 + abs(status)%500
		got, err := newCaller(oauth.Options{}).Introspect(t.Context(), replying(status, "application/json", string(body)), introspectionAt("https://provider.test"))
		if err != nil {
			if checkFailure(t, err) == oauth.ConcernGrant {
				t.Errorf("an error declares a token dead: %v", err)
			}
			return
		}
		if status < 200 || status > 299 || !strings.Contains(string(body), "ctive") && !strings.Contains(string(body), `\u`) {
			t.Errorf("a verdict %+v from status %d and %q", got, status, body)
		}
		checkKept(t, 1024, got.Subject, sensitive.New(newAccess))
	})
}

func FuzzDeviceAuthorization(f *testing.F) {
	f.Add([]byte(`{"device_code":"d-1","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device","expires_in":1800,"interval":5}`))
	f.Add([]byte(`{"device_code":"d","user_code":"X","verification_url":"https://a.example","verification_uri_complete":"http://[","interval":"1e9"}`))
	f.Add([]byte("device_code=d&user_code=x&verification_uri=https%3A%2F%2Fa.example&error="))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := newCaller(oauth.Options{}).AuthorizeDevice(t.Context(), replying(200, "", string(body)), deviceAt("https://provider.test"))
		if err != nil {
			checkFailure(t, err)
			return
		}
		if got.DeviceCode.IsEmpty() || got.UserCode == "" || got.Interval < time.Second || got.Interval > time.Minute {
			t.Errorf("%+v", got)
		}
		checkKept(t, 128, got.UserCode, got.DeviceCode)
		for _, address := range []string{got.VerificationURI, got.VerificationURIComplete} {
			checkKept(t, 2048, address, got.DeviceCode)
			if address != "" && !strings.HasPrefix(strings.ToLower(address), "http") {
				t.Errorf("address %q", address)
			}
		}
		if got.VerificationURI == "" {
			t.Error("no address")
		}
	})
}

// Whatever a document and a path are, selecting ends, and what comes out is fit to be shown.
func FuzzResource(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":"c1","deleted_at":null},{"id":"c2"}],"next_cursor":"n"}`), "$.data[*]", "$.id")
	f.Add([]byte(`{"accounts":[{"is_default":true,"id":7,"uri":"https://a.example"}]}`), "$.accounts[?@.is_default == true]", "$['id','uri']")
	f.Add([]byte(`[[[{"a":1.5e3,"b":"\u0000"}]]]`), "$..[?count(@.*)>1 || length(@)>=2]", "$..*")
	f.Add([]byte(`{"a":[1,2,3]}`), "$.a[::-1]", "$")
	f.Add([]byte(`{"a":"x"} trailing`), "$[?(!@.b) && @=='x']", "$[0:1:2]")
	f.Fuzz(func(t *testing.T, body []byte, items, text string) {
		resource, err := newCaller(oauth.Options{}).Get(t.Context(), replying(200, "application/json", string(body)), oauth.ResourceRequest{URL: "https://api.example"})
		if err != nil {
			checkFailure(t, err)
			return
		}
		if err := oauth.CheckPath(items); err != nil && (len(resource.Items(items)) > 0 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q is refused with %q, and selects", items, err)
		}
		for _, item := range resource.Items(items) {
			checkKept(t, 4096, item.Text(text))
		}
		checkKept(t, 4096, resource.Text(text))
	})
}

// A key that is accepted signs, and no error quotes what was given.
func FuzzParseSigningKey(f *testing.F) {
	ed := edKey(f)
	f.Add(pkcs8(f, ed))
	f.Add(jwk(f, jose.JSONWebKey{Key: ed, KeyID: "k", Algorithm: "EdDSA"}))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB","p":"AQ","q":"AQ"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		key, err := oauth.ParseSigningKey(content)
		if err != nil {
			if len(content) > 40 && strings.Contains(err.Error(), string(content[20:40])) {
				t.Errorf("the error quotes the key: %v", err)
			}
			return
		}
		if signed, err := key.Sign(oauth.ClientAssertion("a", "b", "c", testNow()), oauth.SignOptions{}); err != nil || strings.Count(signed.Reveal(), ".") != 2 {
			t.Errorf("an accepted key does not sign: %v", err)
		}
	})
}
