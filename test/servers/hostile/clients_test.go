// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"maps"
	"math/big"
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

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// robot is a client that has a key or a certificate and no secret.
func robot(method string) hostile.Options {
	return hostile.Options{Clients: []harness.Client{{ID: "robot", AuthMethod: method}, harness.DefaultClient()}}
}

// bare posts a form without the client of do.
func bare(t *testing.T, client *http.Client, address string, form url.Values) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	must(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(request)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	r.err = json.NewDecoder(resp.Body).Decode(&r.fields)
	return r
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	raw, err := token.SignedString(key)
	must(t, err)
	return raw
}

// claims are those of a correct assertion, with changes; nil takes one away.
func claims(s *hostile.Server, changes jwt.MapClaims) jwt.MapClaims {
	now := time.Now()
	all := jwt.MapClaims{
		"iss": "robot", "sub": "robot", "aud": s.URL + "/token", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

func credentials(assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "scope": {"api:read"}, "client_id": {"robot"},
		"client_assertion_type": {assertionType}, "client_assertion": {assertion},
	}
}

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return key
}

func TestPrivateKeyJWTAlgorithms(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	ec := map[string]*ecdsa.PrivateKey{
		"ES256": newECKey(t, elliptic.P256()), "ES384": newECKey(t, elliptic.P384()), "ES512": newECKey(t, elliptic.P521()),
	}
	for _, name := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(name, func(t *testing.T) {
			private, verifier := any(rsaKey), rsaKey.Public()
			switch {
			case ec[name] != nil:
				private, verifier = ec[name], ec[name].Public()
			case name == "EdDSA":
				private, verifier = edKey, public
			}
			s := start(t, robot(hostile.PrivateKeyJWT))
			must(t, s.TrustKey("robot", hostile.Key{Public: verifier, ID: "k1", Algorithms: []string{name}}))
			assertion := sign(t, jwt.GetSigningMethod(name), private, "k1", claims(s, nil))
			if r := bare(t, s.Client(), s.URL+"/token", credentials(assertion)); r.status != http.StatusOK {
				t.Errorf("answered %d %v", r.status, r.fields)
			}
			if n := s.Count(record.Filter{AuthMethod: "private_key_jwt", ClientID: "robot", Status: http.StatusOK}); n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
			other := "RS256"
			if name == other {
				other = "PS256"
			}
			assertion = sign(t, jwt.GetSigningMethod(other), rsaKey, "k1", claims(s, nil))
			if r := bare(t, s.Client(), s.URL+"/token", credentials(assertion)); r.text("error") != "invalid_client" {
				t.Errorf("another algorithm answered %d %v", r.status, r.fields)
			}
		})
	}
}

func TestPrivateKeyJWTClaims(t *testing.T) {
	key := newECKey(t, elliptic.P256())
	s := start(t, robot(hostile.PrivateKeyJWT))
	must(t, s.TrustKey("robot", hostile.Key{Public: key.Public(), ID: "k1"}))
	now := time.Now()
	tests := []struct {
		reason  string
		kid     string
		changes jwt.MapClaims
		ok      bool
	}{
		{"all right", "k1", nil, true},
		{"the issuer as audience", "k1", jwt.MapClaims{"aud": s.URL}, true},
		{"one of several audiences", "k1", jwt.MapClaims{"aud": []string{"x", s.URL}}, true},
		{"another key id", "k2", nil, false},
		{"no key id", "", nil, false},
		{"another audience", "k1", jwt.MapClaims{"aud": "https://example.com"}, false},
		{"no audience", "k1", jwt.MapClaims{"aud": nil}, false},
		{"another issuer", "k1", jwt.MapClaims{"iss": "client"}, false},
		{"another subject", "k1", jwt.MapClaims{"sub": "client"}, false},
		{"no subject", "k1", jwt.MapClaims{"sub": nil}, false},
		{"expired", "k1", jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}, false},
		{"no expiry", "k1", jwt.MapClaims{"exp": nil}, false},
		{"a day until expiry", "k1", jwt.MapClaims{"exp": now.Add(24 * time.Hour).Unix()}, false},
		{"not yet valid", "k1", jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()}, false},
		{"made in the future", "k1", jwt.MapClaims{"iat": now.Add(time.Minute).Unix()}, false},
		{"no id", "k1", jwt.MapClaims{"jti": nil}, false},
	}
	for _, tt := range tests {
		r := bare(t, s.Client(), s.URL+"/token", credentials(sign(t, jwt.SigningMethodES256, key, tt.kid, claims(s, tt.changes))))
		if (r.status == http.StatusOK) != tt.ok || (!tt.ok && r.text("error") != "invalid_client") {
			t.Errorf("%s: answered %d %v", tt.reason, r.status, r.fields)
		}
	}
}

func TestPrivateKeyJWTIsUsedOnceAndRotates(t *testing.T) {
	first, second := newECKey(t, elliptic.P256()), newECKey(t, elliptic.P256())
	s := start(t, robot(hostile.PrivateKeyJWT))
	must(t, s.TrustKey("robot", hostile.Key{Public: first.Public()}))
	status := func(form url.Values) int { return bare(t, s.Client(), s.URL+"/token", form).status }
	fresh := func(key *ecdsa.PrivateKey) url.Values {
		return credentials(sign(t, jwt.SigningMethodES256, key, "", claims(s, nil)))
	}
	form := fresh(first)
	if got := []int{status(form), status(form)}; !slices.Equal(got, []int{200, 401}) {
		t.Errorf("one assertion twice answered %v", got)
	}
	if got := status(fresh(second)); got != http.StatusUnauthorized {
		t.Errorf("an unknown key answered %d", got)
	}
	s.ForgetKeys("robot")
	must(t, s.TrustKey("robot", hostile.Key{Public: second.Public()}))
	if got := []int{status(fresh(first)), status(fresh(second))}; !slices.Equal(got, []int{401, 200}) {
		t.Errorf("after the rotation: %v", got)
	}
	form = fresh(second)
	form.Set("client_assertion_type", "x")
	if got := status(form); got != http.StatusUnauthorized {
		t.Errorf("another type of assertion answered %d", got)
	}
	form = fresh(second)
	form.Set("client_secret", "x")
	if got := status(form); got != http.StatusUnauthorized {
		t.Errorf("a secret beside the assertion answered %d", got)
	}
	if got := status(url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}}); got != http.StatusUnauthorized {
		t.Errorf("a bare client id answered %d", got)
	}
	if s.TrustKey("nobody", hostile.Key{Public: first.Public()}) == nil {
		t.Error("an unknown client got a key")
	}
}

// A client may sign in with the tokens of a cluster's ServiceAccount.
func TestFederatedClient(t *testing.T) {
	const issuer, subject = "https://kubernetes.default.svc", "system:serviceaccount:billing:robot"
	key := newECKey(t, elliptic.P256())
	s := start(t, robot(hostile.PrivateKeyJWT))
	must(t, s.TrustKey("robot", hostile.Key{Public: key.Public(), Issuer: issuer, Subject: subject, Audience: "api://provider"}))
	form := func(audience string) url.Values {
		return credentials(sign(t, jwt.SigningMethodES256, key, "", claims(s, jwt.MapClaims{
			"iss": issuer, "sub": subject, "aud": []string{audience}, "jti": nil,
		})))
	}
	good := form("api://provider")
	for range 2 {
		if r := bare(t, s.Client(), s.URL+"/token", good); r.status != http.StatusOK {
			t.Errorf("answered %d %v", r.status, r.fields)
		}
	}
	if r := bare(t, s.Client(), s.URL+"/token", form(s.URL)); r.status != http.StatusUnauthorized {
		t.Errorf("another audience answered %d", r.status)
	}
}

// issueCertificate makes a certificate for a client, by the parent or, where
// that is nil, by itself.
func issueCertificate(t *testing.T, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key := newECKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	issuer, signer := template, any(key)
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		issuer, signer = parent.Leaf, parent.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	must(t, err)
	leaf, err := x509.ParseCertificate(raw)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// showing returns a client of the server that has the certificate.
func showing(t *testing.T, s *hostile.Server, c tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12,
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTLSClientAuth(t *testing.T) {
	o := robot(hostile.TLSClientAuth)
	o.TLS = true
	s := start(t, o)
	self, other := issueCertificate(t, "robot.example.com", nil), issueCertificate(t, "robot.example.com", nil)
	authority := issueCertificate(t, "authority.example.com", nil)
	issued, stranger := issueCertificate(t, "robot.example.com", &authority), issueCertificate(t, "stranger.example.com", &authority)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}}
	status := func(c tls.Certificate) int { return bare(t, showing(t, s, c), s.URL+"/token", form).status }

	must(t, s.TrustCertificate("robot", self.Leaf))
	if got := []int{status(self), status(other), status(issued)}; !slices.Equal(got, []int{200, 401, 401}) {
		t.Errorf("self-signed: %v", got)
	}
	if r := bare(t, s.Client(), s.URL+"/token", form); r.text("error") != "invalid_client" {
		t.Errorf("no certificate answered %d", r.status)
	}
	s.ForgetCertificates("robot")
	must(t, s.TrustAuthority("robot", authority.Leaf, "robot.example.com"))
	if got := []int{status(self), status(issued), status(stranger)}; !slices.Equal(got, []int{401, 200, 401}) {
		t.Errorf("by an authority: %v", got)
	}
	if n := s.Count(record.Filter{AuthMethod: "tls_client_auth", ClientID: "robot", Status: http.StatusOK}); n != 2 {
		t.Errorf("%d counted, want 2", n)
	}
	form.Set("client_id", "client")
	if got := status(issued); got != http.StatusUnauthorized {
		t.Errorf("another client's id answered %d", got)
	}
	if s.TrustCertificate("nobody", self.Leaf) == nil || start(t, robot("")).TrustCertificate("robot", self.Leaf) == nil {
		t.Error("a certificate was trusted that cannot be shown, or whose client is unknown")
	}
}

func TestMTLSAliases(t *testing.T) {
	o := robot(hostile.TLSClientAuth)
	o.TLS = true
	s := start(t, o)
	self := issueCertificate(t, "robot.example.com", nil)
	must(t, s.TrustCertificate("robot", self.Leaf))
	s.SeparateMTLS()
	document := do(t.Context(), s, http.MethodGet, harness.OpenIDPath, "").fields
	aliases, _ := document["mtls_endpoint_aliases"].(map[string]any)
	if aliases["token_endpoint"] != s.URL+"/mtls/token" || aliases["revocation_endpoint"] != s.URL+"/mtls/revoke" {
		t.Fatalf("aliases %v", aliases)
	}
	if methods, _ := document["token_endpoint_auth_methods_supported"].([]any); !slices.Contains(methods, any("tls_client_auth")) {
		t.Errorf("methods %v", methods)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}}
	client := showing(t, s, self)
	if r := bare(t, client, s.URL+"/token", form); r.status != http.StatusUnauthorized {
		t.Errorf("the ordinary endpoint answered %d", r.status)
	}
	if r := bare(t, client, s.URL+"/mtls/token", form); r.status != http.StatusOK {
		t.Errorf("the alias answered %d", r.status)
	}
}
