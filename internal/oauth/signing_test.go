// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	return must(rsa.GenerateKey(rand.Reader, bits))(t)
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))(t)
}

func edKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)(t)
}

func block(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}

func pkcs8(t testing.TB, key any) []byte {
	return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))
}

func jwk(t testing.TB, key jose.JSONWebKey) []byte {
	return must(key.MarshalJSON())(t)
}

func TestSigning(t *testing.T) {
	small, p256, p384, p521, ed := rsaKey(t, 2048), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), edKey(t)
	claims := oauth.ClientAssertion("crm", "https://login.example/token", "id-1", testNow())
	for _, test := range []struct {
		reason    string
		content   []byte
		options   oauth.SignOptions
		public    crypto.PublicKey
		algorithm string
		keyID     string
	}{
		{"PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), oauth.SignOptions{}, small.Public(), "RS256", ""},
		{"PKCS #8, RSA", pkcs8(t, small), oauth.SignOptions{Algorithm: "RS384", KeyID: "k1"}, small.Public(), "RS384", "k1"},
		{"RS512", pkcs8(t, small), oauth.SignOptions{Algorithm: "RS512"}, small.Public(), "RS512", ""},
		{"PS256", pkcs8(t, small), oauth.SignOptions{Algorithm: "PS256"}, small.Public(), "PS256", ""},
		{"PS384", pkcs8(t, small), oauth.SignOptions{Algorithm: "PS384"}, small.Public(), "PS384", ""},
		{"PS512", pkcs8(t, small), oauth.SignOptions{Algorithm: "PS512"}, small.Public(), "PS512", ""},
		{"SEC 1", block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))(t)), oauth.SignOptions{}, p256.Public(), "ES256", ""},
		{"PKCS #8, P-384", pkcs8(t, p384), oauth.SignOptions{}, p384.Public(), "ES384", ""},
		{"PKCS #8, P-521", pkcs8(t, p521), oauth.SignOptions{Algorithm: "ES512"}, p521.Public(), "ES512", ""},
		{"PKCS #8, Ed25519", pkcs8(t, ed), oauth.SignOptions{}, ed.Public(), "EdDSA", ""},
		{"behind a certificate and curve parameters", append(append(block("CERTIFICATE", []byte("x")), block("EC PARAMETERS", []byte("y"))...), pkcs8(t, p256)...), oauth.SignOptions{}, p256.Public(), "ES256", ""},
		{"a JWK with its own id and algorithm", jwk(t, jose.JSONWebKey{Key: small, KeyID: "j1", Algorithm: "PS256", Use: "sig"}), oauth.SignOptions{}, small.Public(), "PS256", "j1"},
		{"a JWK, overruled", jwk(t, jose.JSONWebKey{Key: small, KeyID: "j1", Algorithm: "PS256"}), oauth.SignOptions{Algorithm: "RS256", KeyID: "k2"}, small.Public(), "RS256", "k2"},
		{"a JWK of a curve", append([]byte(" \n"), jwk(t, jose.JSONWebKey{Key: p256})...), oauth.SignOptions{}, p256.Public(), "ES256", ""},
		{"a JWK of Ed25519", jwk(t, jose.JSONWebKey{Key: ed}), oauth.SignOptions{}, ed.Public(), "EdDSA", ""},
	} {
		t.Run(test.reason, func(t *testing.T) {
			key := must(oauth.ParseSigningKey(test.content))(t)
			signed := must(key.Sign(claims, test.options))(t)
			parsed := must(jwt.ParseSigned(signed.Reveal(), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(test.algorithm)}))(t)
			var got map[string]any
			if err := parsed.Claims(test.public, &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"iss": "crm", "sub": "crm", "aud": "https://login.example/token", "jti": "id-1",
				"iat": float64(testNow().Unix()), "exp": float64(testNow().Add(5 * time.Minute).Unix()),
			}
			header := parsed.Headers[0]
			if diff := cmp.Diff(want, got); diff != "" || header.KeyID != test.keyID || header.Algorithm != test.algorithm || header.ExtraHeaders["typ"] != "JWT" {
				t.Errorf("header %+v\n%s", header, diff)
			}
		})
	}
}

func TestAlgorithmsThatDoNotFit(t *testing.T) {
	for algorithm, content := range map[string][]byte{
		"ES256": pkcs8(t, rsaKey(t, 2048)), "RS256": pkcs8(t, ecKey(t, elliptic.P256())), "ES384": pkcs8(t, ecKey(t, elliptic.P256())),
		"PS256": pkcs8(t, edKey(t)), "HS256": pkcs8(t, edKey(t)), "none": pkcs8(t, edKey(t)), "eddsa": pkcs8(t, edKey(t)),
	} {
		key := must(oauth.ParseSigningKey(content))(t)
		_, err := key.Sign(map[string]any{}, oauth.SignOptions{Algorithm: algorithm})
		if err == nil || !strings.Contains(err.Error(), "these do: ") || key.CheckAlgorithm(algorithm) == nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	key := must(oauth.ParseSigningKey(pkcs8(t, edKey(t))))(t)
	if _, err := key.Sign(map[string]any{"x": func() {}}, oauth.SignOptions{}); err == nil {
		t.Error("claims that are no JSON were signed")
	}
}

func TestSigningKeysThatAreRefused(t *testing.T) {
	key := rsaKey(t, 2048)
	swapped := func(of, for_ []byte, member string) []byte {
		var a, b map[string]any
		if json.Unmarshal(of, &a) != nil || json.Unmarshal(for_, &b) != nil {
			t.Fatal("a JWK is no JSON")
		}
		a[member] = b[member]
		return must(json.Marshal(a))(t)
	}
	curve := func() []byte { return jwk(t, jose.JSONWebKey{Key: ecKey(t, elliptic.P256())}) }
	encrypted := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("canary")}
	encryptedEC := &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("canary")}
	for reason, test := range map[string]struct {
		content []byte
		says    string
	}{
		"nothing":                 {nil, "neither"},
		"a text":                  {[]byte("canary"), "neither"},
		"a certificate":           {block("CERTIFICATE", []byte("canary")), "neither"},
		"garbage in a block":      {block("PRIVATE KEY", []byte("canary")), "not a valid key"},
		"garbage in an RSA block": {block("RSA PRIVATE KEY", []byte("canary")), "not a valid key"},
		"garbage in an EC block":  {block("EC PRIVATE KEY", []byte("canary")), "not a valid key"},
		"a public key":            {block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key.Public()))(t)), "public"},
		"encrypted, PKCS #1":      {pem.EncodeToMemory(encrypted), "passphrase"},
		"encrypted, SEC 1":        {pem.EncodeToMemory(encryptedEC), "passphrase"},
		"encrypted, PKCS #8":      {block("ENCRYPTED PRIVATE KEY", []byte("canary")), "passphrase"},
		"OpenSSH's format":        {block("OPENSSH PRIVATE KEY", []byte("canary")), "OpenSSH"},
		"too small":               {pkcs8(t, rsaKey(t, 1024)), "1024 bits"},
		"a curve that nobody has": {pkcs8(t, ecKey(t, elliptic.P224())), "curve"},
		"a public JWK":            {jwk(t, jose.JSONWebKey{Key: key.Public()}), "public"},
		"a JWK for encryption":    {jwk(t, jose.JSONWebKey{Key: key, Use: "enc"}), "not for signatures"},
		"a JWK of another kind":   {jwk(t, jose.JSONWebKey{Key: key, Algorithm: "ES256"}), "does not fit"},
		"a symmetric JWK":         {jwk(t, jose.JSONWebKey{Key: []byte("canary-canary-canary-canary-can!")}), "JWK"},
		"a JWK in pieces":         {[]byte(`{"kty":"RSA","n":"canary"`), "JWK"},
		"half of a JWK":           {[]byte(`{"kty":"EC","crv":"P-256","d":"canary"}`), "JWK"},
		"a JWK of two EC keys":    {swapped(curve(), curve(), "d"), "not valid"},
		"a JWK of two Ed keys":    {swapped(jwk(t, jose.JSONWebKey{Key: edKey(t)}), jwk(t, jose.JSONWebKey{Key: edKey(t)}), "d"), "not a valid"},
		"a JWK of two RSA keys":   {swapped(jwk(t, jose.JSONWebKey{Key: key}), jwk(t, jose.JSONWebKey{Key: rsaKey(t, 2048)}), "d"), "valid"},
	} {
		_, err := oauth.ParseSigningKey(test.content)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want an error about %q", reason, err, test.says)
		}
	}
}

// idToken is signed with a key that nobody knows, since its signature is not what counts.
func idToken(t testing.TB, claims map[string]any) sensitive.String {
	return must(must(oauth.ParseSigningKey(pkcs8(t, edKey(t))))(t).Sign(claims, oauth.SignOptions{}))(t)
}

func TestIDTokenSubject(t *testing.T) {
	claims := func(edit func(map[string]any)) map[string]any {
		all := map[string]any{"iss": "https://login.example", "aud": "crm", "sub": "user-1", "exp": testNow().Add(time.Minute).Unix()}
		edit(all)
		return all
	}
	set := func(name string, value any) func(map[string]any) {
		return func(all map[string]any) { all[name] = value }
	}
	const issuer = "https://login.example"
	for _, test := range []struct {
		reason, issuer string
		edit           func(map[string]any)
		says           string // Empty: the subject is accepted.
	}{
		{"as it should be", issuer, set("x", 1), ""},
		{"several audiences", issuer, set("aud", []string{"x", "crm"}), ""},
		{"no known issuer", "", set("iss", "https://anyone.example"), ""},
		{"another issuer", issuer, set("iss", "https://evil.example"), "issued by a different provider"},
		{"another client", issuer, set("aud", "other"), "audience"},
		{"expired", issuer, set("exp", testNow().Add(-time.Second).Unix()), "expired"},
		{"no expiry", issuer, func(all map[string]any) { delete(all, "exp") }, "expired"},
		{"no subject", issuer, func(all map[string]any) { delete(all, "sub") }, "no subject"},
		{"a subject that cannot be shown", issuer, set("sub", "a\u202eb"), "no subject"},
		{"a subject of two kilobytes", issuer, set("sub", strings.Repeat("x", 2048)), "no subject"},
		{"a subject of a wrong type", issuer, set("sub", 7), "claims"},
	} {
		got, err := oauth.IDTokenSubject(idToken(t, claims(test.edit)), test.issuer, "crm", testNow())
		switch {
		case test.says == "" && (err != nil || got != "user-1"):
			t.Errorf("%s: %q, %v", test.reason, got, err)
		case test.says != "" && (err == nil || got != "" || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: %q, %v, want an error about %q", test.reason, got, err, test.says)
		}
	}
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(must(json.Marshal(claims(set("x", 1))))(t)) + "."
	if got, err := oauth.IDTokenSubject(sensitive.New(unsigned), issuer, "crm", testNow()); err != nil || got != "user-1" {
		t.Errorf("unsigned: %q, %v", got, err)
	}
	for _, raw := range []string{"", "canary", "canary.canary.canary", strings.Repeat("canary", 20_000)} {
		if _, err := oauth.IDTokenSubject(sensitive.New(raw), issuer, "crm", testNow()); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.40q: %v", raw, err)
		}
	}
	if _, err := oauth.IDTokenSubject(idToken(t, claims(set("x", 1))), issuer, "", testNow()); err == nil {
		t.Error("an ID token for nobody was accepted")
	}
}
