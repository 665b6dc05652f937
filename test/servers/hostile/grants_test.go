// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func device(t *testing.T, s *hostile.Server) reply {
	t.Helper()
	r := post(t, s, "/device_authorization", url.Values{"scope": {"api:read openid"}})
	if r.status != http.StatusOK {
		t.Fatalf("answered %d %v", r.status, r.fields)
	}
	return r
}

func poll(t *testing.T, s *hostile.Server, code string) reply {
	t.Helper()
	return post(t, s, "/token", url.Values{"grant_type": {hostile.DeviceCodeGrant}, "device_code": {code}})
}

func (r reply) want(t *testing.T, status int, code, reason string) {
	t.Helper()
	if r.err != nil || r.status != status || r.text("error") != code {
		t.Errorf("%s: got %d %q (error %v), want %d %q", reason, r.status, r.text("error"), r.err, status, code)
	}
}

func TestDeviceIsApproved(t *testing.T) {
	s := start(t, hostile.Options{})
	d := device(t, s)
	if d.fields["interval"] != float64(5) || d.fields["expires_in"] != float64(600) || d.text("verification_uri") != s.URL+"/device" {
		t.Errorf("answered %v", d.fields)
	}
	code := d.text("device_code")
	poll(t, s, code).want(t, http.StatusBadRequest, "authorization_pending", "nobody has decided")
	s.Advance(5 * time.Second)
	poll(t, s, code).want(t, http.StatusBadRequest, "authorization_pending", "after the interval")
	must(t, s.ApproveDevice(d.text("user_code"), "ann"))
	s.Advance(5 * time.Second)
	r := poll(t, s, code)
	r.want(t, http.StatusOK, "", "approved")
	if s.AccountOf(r.text("access_token")) != "ann" || s.AccountOf(r.text("refresh_token")) != "ann" || r.text("scope") != "api:read openid" {
		t.Errorf("tokens are of %q, scope %q", s.AccountOf(r.text("access_token")), r.text("scope"))
	}
	poll(t, s, code).want(t, http.StatusBadRequest, "invalid_grant", "a device code that was used")
	refresh(t, s, r.text("refresh_token")).want(t, http.StatusOK, "", "its refresh token")

	devices := s.Devices()
	if len(devices) != 1 || devices[0].Polls != 3 || devices[0].Decision != hostile.Approved || devices[0].ClientID != "client" {
		t.Errorf("devices %+v", devices)
	}
	if s.ApproveDevice(d.text("user_code"), "bob") == nil || s.DenyDevice("XXXX-XXXX") == nil {
		t.Error("a device was decided twice, or is unknown")
	}
	if s.MaxUses() > 1 || !slices.Contains(s.Issued(), code) {
		t.Error("polls count as uses of a single-use code, or the device code is not noted as issued")
	}
	if n := s.Count(record.Filter{Endpoint: record.DeviceAuthorization, ClientID: "client"}); n != 1 {
		t.Errorf("%d device authorizations counted", n)
	}
}

func TestDevicePollsTooSoon(t *testing.T) {
	s := start(t, hostile.Options{})
	s.SetDevicePolling(2*time.Second, time.Minute)
	code := device(t, s).text("device_code")
	poll(t, s, code).want(t, http.StatusBadRequest, "authorization_pending", "first")
	poll(t, s, code).want(t, http.StatusBadRequest, "slow_down", "at once")
	s.Advance(3 * time.Second)
	poll(t, s, code).want(t, http.StatusBadRequest, "slow_down", "after the old interval")
	s.Advance(12 * time.Second)
	poll(t, s, code).want(t, http.StatusBadRequest, "authorization_pending", "after the new interval of 12 s")
	if got := s.Devices()[0].Interval; got != 12*time.Second {
		t.Errorf("interval %v, want 12s", got)
	}
}

func TestDeviceEnds(t *testing.T) {
	s := start(t, hostile.Options{})
	denied, late := device(t, s), device(t, s)
	must(t, s.DenyDevice(denied.text("user_code")))
	poll(t, s, denied.text("device_code")).want(t, http.StatusBadRequest, "access_denied", "the user refused")
	s.Advance(10 * time.Minute)
	poll(t, s, late.text("device_code")).want(t, http.StatusBadRequest, "expired_token", "after ten minutes")
	if s.ApproveDevice(late.text("user_code"), "ann") == nil {
		t.Error("an expired device was approved")
	}
	poll(t, s, "x").want(t, http.StatusBadRequest, "invalid_grant", "an unknown device code")
	post(t, s, "/device_authorization", url.Values{"scope": {"admin"}}).want(t, http.StatusBadRequest, "invalid_scope", "a scope that the client has not")
	r := bare(t, s.Client(), s.URL+"/device_authorization", url.Values{"client_id": {"client"}})
	r.want(t, http.StatusUnauthorized, "invalid_client", "no secret")
}

func TestDevicePage(t *testing.T) {
	s := start(t, hostile.Options{Subject: "ann"})
	s.SetDevicePolling(0, time.Minute)
	d := device(t, s)
	if _, has := d.fields["interval"]; has {
		t.Error("an interval of zero was told")
	}
	page := strings.TrimPrefix(d.text("verification_uri_complete"), s.URL)
	if r := do(t.Context(), s, http.MethodGet, page, ""); r.status != http.StatusOK {
		t.Errorf("the page answered %d", r.status)
	}
	if r := do(t.Context(), s, http.MethodGet, page, ""); r.status != http.StatusNotFound {
		t.Errorf("a second visit answered %d", r.status)
	}
	if got := s.AccountOf(poll(t, s, d.text("device_code")).text("access_token")); got != "ann" {
		t.Errorf("account %q", got)
	}
}

func TestJWTBearer(t *testing.T) {
	const issuer = "robot@project.example.com"
	key := newECKey(t, elliptic.P256())
	s := start(t, hostile.Options{})
	must(t, s.TrustIssuer(hostile.Key{Public: key.Public(), Issuer: issuer}))
	assertion := func(changes jwt.MapClaims) string {
		all := claims(s, jwt.MapClaims{"iss": issuer, "sub": "ann"})
		maps.Copy(all, changes)
		return sign(t, jwt.SigningMethodES256, key, "", all)
	}
	ask := func(raw, scope string) url.Values {
		return url.Values{"grant_type": {hostile.JWTBearerGrant}, "assertion": {raw}, "scope": {scope}}
	}
	token := s.URL + "/token"

	good := assertion(nil)
	r := bare(t, s.Client(), token, ask(good, "api:read"))
	r.want(t, http.StatusOK, "", "no client at all")
	if s.AccountOf(r.text("access_token")) != "ann" || r.text("scope") != "api:read" || r.text("refresh_token") != "" {
		t.Errorf("tokens of %q, scope %q, refresh token %t", s.AccountOf(r.text("access_token")), r.text("scope"), r.text("refresh_token") != "")
	}
	bare(t, s.Client(), token, ask(good, "")).want(t, http.StatusBadRequest, "invalid_grant", "an assertion that was used")
	r = post(t, s, "/token", ask(assertion(jwt.MapClaims{"scope": "api:write"}), ""))
	if r.status != http.StatusOK || r.text("scope") != "api:write" {
		t.Errorf("scope as a claim: %d %q", r.status, r.text("scope"))
	}
	post(t, s, "/revoke", url.Values{"token": {r.text("access_token")}})
	if s.Introspect(r.text("access_token")) {
		t.Error("the token outlived its revocation")
	}
	post(t, s, "/token", ask(assertion(nil), "admin")).want(t, http.StatusBadRequest, "invalid_scope", "a scope that the client has not")
	wrongSecret := ask(assertion(nil), "")
	wrongSecret.Set("client_id", "client")
	wrongSecret.Set("client_secret", "x")
	bare(t, s.Client(), token, wrongSecret).want(t, http.StatusUnauthorized, "invalid_client", "a wrong secret")
	for reason, changes := range map[string]jwt.MapClaims{
		"another issuer":   {"iss": "x"},
		"another audience": {"aud": "x"},
		"expired":          {"exp": time.Now().Add(-time.Second).Unix()},
	} {
		bare(t, s.Client(), token, ask(assertion(changes), "")).want(t, http.StatusBadRequest, "invalid_grant", reason)
	}
	if s.TrustIssuer(hostile.Key{Public: key.Public()}) == nil {
		t.Error("an issuer without a name is trusted")
	}
}

func TestTokenExchange(t *testing.T) {
	key := newECKey(t, elliptic.P256())
	s := start(t, hostile.Options{})
	must(t, s.TrustIssuer(hostile.Key{Public: key.Public(), Issuer: "cluster", Audience: "exchange"}))
	subject := refresh(t, s, authorize(t, s)).text("access_token")
	external := sign(t, jwt.SigningMethodES256, key, "", claims(s, jwt.MapClaims{"iss": "cluster", "sub": "system:serviceaccount:a:b", "aud": "exchange"}))
	ask := func(token, kind string, more url.Values) reply {
		form := url.Values{"grant_type": {hostile.TokenExchangeGrant}, "subject_token": {token}, "subject_token_type": {kind}}
		maps.Copy(form, more)
		return post(t, s, "/token", form)
	}

	r := ask(subject, hostile.AccessTokenType, url.Values{"audience": {"a", "b"}, "resource": {"https://api.example.com"}})
	r.want(t, http.StatusOK, "", "an access token")
	if s.AccountOf(r.text("access_token")) != "user-1" || r.text("issued_token_type") != hostile.AccessTokenType || r.text("scope") != "api:read" {
		t.Errorf("answered %v", r.fields)
	}
	for range 2 {
		r = ask(external, hostile.JWTType, url.Values{"scope": {"api:write"}, "requested_token_type": {hostile.AccessTokenType}})
		r.want(t, http.StatusOK, "", "a token of a trusted issuer, which may come again")
	}
	if got := s.AccountOf(r.text("access_token")); got != "system:serviceaccount:a:b" {
		t.Errorf("account %q", got)
	}
	r = ask(subject, hostile.AccessTokenType, url.Values{"actor_token": {external}, "actor_token_type": {hostile.JWTType}})
	if act, _ := r.fields["act"].(map[string]any); act["sub"] != "system:serviceaccount:a:b" {
		t.Errorf("actor: %d %v", r.status, r.fields)
	}
	ask(subject, hostile.AccessTokenType, url.Values{"scope": {"api:write"}}).want(t, http.StatusBadRequest, "invalid_scope", "more than the subject token has")
	for reason, refused := range map[string]reply{
		"another type":                  ask(subject, hostile.JWTType, nil),
		"an unknown type":               ask(subject, "x", nil),
		"an unknown token":              ask("x", hostile.AccessTokenType, nil),
		"an actor without a type":       ask(subject, hostile.AccessTokenType, url.Values{"actor_token": {external}}),
		"an actor that is unknown":      ask(subject, hostile.AccessTokenType, url.Values{"actor_token": {"x"}, "actor_token_type": {hostile.JWTType}}),
		"a wish that cannot be granted": ask(subject, hostile.AccessTokenType, url.Values{"requested_token_type": {hostile.JWTType}}),
	} {
		refused.want(t, http.StatusBadRequest, "invalid_request", reason)
	}
	must(t, s.RevokeGrant(subject))
	ask(subject, hostile.AccessTokenType, nil).want(t, http.StatusBadRequest, "invalid_request", "a dead subject token")
}

func TestExtensionGrant(t *testing.T) {
	s := start(t, hostile.Options{})
	source := refresh(t, s, authorize(t, s)).text("access_token")
	form := url.Values{"grant_type": {"production_token"}, "production_token": {source}}
	post(t, s, "/token", form).want(t, http.StatusBadRequest, "unsupported_grant_type", "before Extend")
	s.Extend("production_token", func(r hostile.ExtensionRequest) hostile.Approval {
		account := r.Account(r.Form.Get("production_token"))
		if account == "" || r.ClientID != "client" {
			return hostile.Approval{Error: "invalid_grant"}
		}
		return hostile.Approval{Account: account + "-sandbox", Scope: "api:read", Refresh: r.Form.Has("offline")}
	})
	r := post(t, s, "/token", form)
	if s.AccountOf(r.text("access_token")) != "user-1-sandbox" || r.text("scope") != "api:read" || r.text("refresh_token") != "" {
		t.Errorf("answered %d %v", r.status, r.fields)
	}
	form.Set("offline", "1")
	if post(t, s, "/token", form).text("refresh_token") == "" {
		t.Error("no refresh token")
	}
	form.Set("production_token", "x")
	post(t, s, "/token", form).want(t, http.StatusBadRequest, "invalid_grant", "a dead token")
	grants, _ := do(t.Context(), s, http.MethodGet, harness.MetadataPath, "").fields["grant_types_supported"].([]any)
	if !slices.Contains(grants, any("production_token")) || !slices.Contains(grants, any(hostile.DeviceCodeGrant)) {
		t.Errorf("grant types %v", grants)
	}
}

// authorizeAs returns the token answer to a code of the account's.
func authorizeAs(t *testing.T, s *hostile.Server, account string, scopes ...string) reply {
	t.Helper()
	code, verifier, err := s.NewCodeFor(account, "client", "", scopes, "")
	must(t, err)
	return post(t, s, "/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {harness.DefaultRedirectURI}, "code_verifier": {verifier},
	})
}

func TestAccounts(t *testing.T) {
	s := start(t, hostile.Options{})
	s.SetAccount("ann", hostile.Account{
		Scopes: []string{"api:read"}, KeepsRefreshToken: true,
		Fields:   map[string]any{"instance_url": "https://ann.example.com", "token_type": hostile.Missing{}},
		UserInfo: map[string]any{"email": "ann@example.com"},
	})
	s.SetAccount("eve", hostile.Account{NoRefreshToken: true})
	ann, bob, eve := authorizeAs(t, s, "ann", "api:read", "api:write"), authorizeAs(t, s, "bob", "api:read", "api:write"), authorizeAs(t, s, "eve")
	if got := []string{s.AccountOf(ann.text("access_token")), s.AccountOf(bob.text("access_token")), s.AccountOf(eve.text("access_token"))}; !slices.Equal(got, []string{"ann", "bob", "eve"}) {
		t.Fatalf("accounts %v", got)
	}
	if ann.text("scope") != "api:read" || bob.text("scope") != "api:read api:write" {
		t.Errorf("scopes %q and %q", ann.text("scope"), bob.text("scope"))
	}
	if _, has := ann.fields["token_type"]; has || ann.text("instance_url") != "https://ann.example.com" || bob.text("token_type") != "Bearer" {
		t.Errorf("fields %v", ann.fields)
	}
	if eve.text("refresh_token") != "" {
		t.Error("eve got a refresh token")
	}
	for range 2 {
		r := refresh(t, s, ann.text("refresh_token"))
		if r.status != http.StatusOK || r.text("refresh_token") != "" {
			t.Errorf("ann's refresh answered %d, rotated %t", r.status, r.text("refresh_token") != "")
		}
	}
	if r := refresh(t, s, bob.text("refresh_token")); r.text("refresh_token") == "" {
		t.Error("bob's refresh token did not rotate")
	}
	user := bearer(t, s, "/userinfo", ann.text("access_token"))
	if user.text("sub") != "ann" || user.text("email") != "ann@example.com" {
		t.Errorf("user info %v", user.fields)
	}
}

func bearer(t *testing.T, s *hostile.Server, path, token string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, http.NoBody)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.Client().Do(request)
	must(t, err)
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode}
	r.err = json.NewDecoder(resp.Body).Decode(&r.fields)
	return r
}

func TestRevokedTogether(t *testing.T) {
	s := start(t, hostile.Options{})
	s.SetAccount("ann", hostile.Account{RevokedTogether: true})
	first, second, other := authorizeAs(t, s, "ann"), authorizeAs(t, s, "ann"), authorizeAs(t, s, "bob")
	post(t, s, "/revoke", url.Values{"token": {first.text("access_token")}})
	if s.Introspect(second.text("refresh_token")) || s.Introspect(second.text("access_token")) {
		t.Error("the account's other grant lives on")
	}
	if !s.Introspect(other.text("refresh_token")) {
		t.Error("another account's grant died")
	}
}

func TestIntrospectionTellsScopeAndExpiry(t *testing.T) {
	s := start(t, hostile.Options{})
	first := authorizeAs(t, s, "ann", "api:read", "api:write")
	narrow := post(t, s, "/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {first.text("refresh_token")}, "scope": {"api:read"},
	})
	r := post(t, s, "/introspect", url.Values{"token": {narrow.text("access_token")}})
	expires, _ := r.fields["exp"].(float64)
	if r.fields["active"] != true || r.text("sub") != "ann" || r.text("scope") != "api:read" {
		t.Errorf("answered %v", r.fields)
	}
	if left := time.Until(time.Unix(int64(expires), 0)); left < 58*time.Minute || left > time.Hour {
		t.Errorf("expires in %v", left)
	}
}

func TestIDTokens(t *testing.T) {
	s := start(t, hostile.Options{})
	if authorizeAs(t, s, "ann", "openid").text("id_token") != "" {
		t.Error("an ID token by default")
	}
	s.EnableIDTokens()
	s.SetAccount("ann", hostile.Account{Claims: map[string]any{"email": "ann@example.com"}})
	if authorizeAs(t, s, "ann", "api:read").text("id_token") != "" {
		t.Error("an ID token without the scope openid")
	}
	if post(t, s, "/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}).text("id_token") != "" {
		t.Error("an ID token without a person")
	}
	document := do(t.Context(), s, http.MethodGet, harness.OpenIDPath, "").fields
	address, _ := document["jwks_uri"].(string)
	set := do(t.Context(), s, http.MethodGet, strings.TrimPrefix(address, s.URL), "").fields
	key := readKey(t, set)

	first := authorizeAs(t, s, "ann", "openid", "api:read")
	again := refresh(t, s, first.text("refresh_token"))
	for _, raw := range []string{first.text("id_token"), again.text("id_token")} {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return key, nil },
			jwt.WithIssuer(s.URL), jwt.WithAudience("client"), jwt.WithSubject("ann"), jwt.WithExpirationRequired(),
			jwt.WithValidMethods([]string{"ES256"}))
		if err != nil || claims["email"] != "ann@example.com" {
			t.Errorf("claims %v, error %v", claims, err)
		}
	}
}

// readKey reads the one key of a JWK Set.
func readKey(t *testing.T, set map[string]any) *ecdsa.PublicKey {
	t.Helper()
	keys, _ := set["keys"].([]any)
	if len(keys) != 1 {
		t.Fatalf("key set %v", set)
	}
	fields, _ := keys[0].(map[string]any)
	point := []byte{4}
	for _, name := range []string{"x", "y"} {
		coordinate, err := base64.RawURLEncoding.DecodeString(fmt.Sprint(fields[name]))
		must(t, err)
		point = append(point, coordinate...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	must(t, err)
	return key
}

// Every form body may be JSON too.
func TestJSONBodiesOfNewGrants(t *testing.T) {
	s := start(t, hostile.Options{})
	d := do(t.Context(), s, http.MethodPost, "/device_authorization", `{"scope":"api:read"}`)
	must(t, s.ApproveDevice(d.text("user_code"), "ann"))
	r := do(t.Context(), s, http.MethodPost, "/token",
		fmt.Sprintf(`{"grant_type":%q,"device_code":%q}`, hostile.DeviceCodeGrant, d.text("device_code")))
	r.want(t, http.StatusOK, "", "JSON")
}
