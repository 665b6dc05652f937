// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// signerName is the issuer of assertions that the tests sign or have signed.
const signerName = "https://signer.example.com"

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSAKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEdKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyPEM is a private key in PKCS #8.
func keyPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	content, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: content}))
}

// assertion is one that somebody else has made. It has no jti, so that servers let it be used several times.
func (w *world) assertion(t *testing.T, server *hostile.Server, key *ecdsa.PrivateKey, account string, lifetime time.Duration) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": signerName, "sub": account, "aud": server.URL, "exp": time.Now().Add(lifetime).Unix(), "for": w.name(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	w.mustNotShow(token)
	return token
}

// trusting is a hostile server that believes what a key signs in signerName's name.
func (w *world) trusting(t *testing.T, o harness.Options) (*hostile.Server, *ecdsa.PrivateKey) {
	t.Helper()
	server, key := w.hostile(t, o), newECKey(t, elliptic.P256())
	if err := server.TrustIssuer(hostile.Key{Public: key.Public(), Issuer: signerName}); err != nil {
		t.Fatal(err)
	}
	return server, key
}

func assertionFrom(name string) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{
			Type: v1alpha1.GrantJWTBearer, JWTBearer: &v1alpha1.JWTBearerGrant{AssertionSecretRef: &v1alpha1.SecretKeyReference{Name: name}},
		}
	}
}

func signedBy(signed v1alpha1.SignedAssertion) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantJWTBearer, JWTBearer: &v1alpha1.JWTBearerGrant{Signed: &signed}}
	}
}

func exchanging(subject v1alpha1.TokenSource, change ...func(*v1alpha1.TokenExchangeGrant)) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		exchange := &v1alpha1.TokenExchangeGrant{SubjectToken: subject}
		for _, f := range change {
			f(exchange)
		}
		spec.Grant, spec.Scopes = v1alpha1.GrantSpec{Type: v1alpha1.GrantTokenExchange, TokenExchange: exchange}, []v1alpha1.Scope{"api:read"}
	}
}

func tokenOf(connection string) v1alpha1.TokenSource {
	return v1alpha1.TokenSource{ConnectionRef: &v1alpha1.ConnectionReference{Name: connection}}
}

const productionToken = "urn:example:production-token"

func extending(parameters ...v1alpha1.ExtensionParameter) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{
			Type: v1alpha1.GrantExtension, Extension: &v1alpha1.ExtensionGrant{GrantType: productionToken, Parameters: parameters},
		}
	}
}

// extended is a hostile server whose grant type productionToken takes a token of its own, or the word of a Secret.
func (w *world) extended(t *testing.T, o harness.Options) *hostile.Server {
	t.Helper()
	server := w.hostile(t, o)
	server.Extend(productionToken, func(r hostile.ExtensionRequest) hostile.Approval {
		account := r.Account(r.Form.Get("production_token"))
		if word := r.Form.Get("word"); word != "" && word != "wrong-word" {
			account = "word-" + word
		}
		if account == "" {
			return hostile.Approval{Error: "invalid_grant"}
		}
		return hostile.Approval{Account: account + "/" + r.Form.Get("mode"), Scope: r.Form.Get("scope")}
	})
	return server
}

// issues counts requests with a grant type that needs no person.
func issues(server provider, grantType string) int {
	return server.Count(record.Filter{GrantType: grantType})
}

// belongsTo wants the token in the Secret to be an account's.
func (s *subject) belongsTo(t *testing.T, server *hostile.Server, account string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if is := server.AccountOf(s.token(t)); is != account {
			return fmt.Errorf("the token is %q's, want %q's", is, account)
		}
		return nil
	})
}

// TestIssue is how tokens are issued without a person, again and again.
func TestIssue(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 1), map[string]func(*testing.T, *world){
		"an assertion is given, and another one":             assertionGiven,
		"an assertion that is refused, and a better one":     assertionRefused,
		"tokens of all kinds are issued before they expire":  issuedBeforeExpiry,
		"assertions are signed with keys of all kinds":       assertionsSigned,
		"the audience of an assertion":                       assertionAudience,
		"an assertion for an issuer that nobody named":       assertionWithoutIssuer,
		"a key that is exchanged":                            signingKeyChanges,
		"a key that is none":                                 signingKeyBroken,
		"a token of a Secret is exchanged":                   exchangeSecret,
		"a connection's token is exchanged":                  exchangeConnection,
		"who acts for whom":                                  exchangeActor,
		"an extension takes words":                           extensionWords,
		"an extension takes a connection's token":            extensionConnection,
		"a connection whose source is itself":                extensionSelf,
		"an extension that is refused":                       extensionRefused,
		"a source that the provider is away from renewing":   sourceExpired,
		"other namespaces, only where the application lets":  issuedElsewhere,
		"deletion revokes the token and the one before":      issuedDeleted,
		"another kind of grant":                              issuedTypeChanges,
		"an extension whose answer is lost is asked again":   extensionAnswerLost,
		"a Secret of a source that goes keeps what is there": sourceSecretGoes,
	})
}

func assertionGiven(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"assertion": w.assertion(t, server, key, "alice", time.Hour) + "\n"})
	s := w.subject(t, server, server.URL, assertionFrom(given.Name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretNotFound), says(given.Name),
		is(v1alpha1.ConditionReconciling, metav1.ConditionTrue))
	create(t, given)
	c := s.wait(t, phase(v1alpha1.ConnectionActive), isReady, is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue))
	s.belongsTo(t, server, "alice")
	if c.Status.NextRefreshAt == nil || c.Status.CreatedAt == nil {
		t.Errorf("status is %+v", c.Status)
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)

	update(t, given, func(c *corev1.Secret) { c.Labels = map[string]string{"touched": "yes"} })
	s.quiet(t)
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"assertion": w.assertion(t, server, key, "bob", time.Hour)}
	})
	s.belongsTo(t, server, "bob")
	s.wait(t, isReady)
	s.quiet(t)
	if n := issues(server, hostile.JWTBearerGrant); n != 2 {
		t.Errorf("%d requests for two assertions", n)
	}
	first := s.token(t)
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	s.waitOtherToken(t, first)
}

func assertionRefused(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"assertion": w.assertion(t, server, key, "alice", -time.Hour)})
	create(t, given)
	s := w.subject(t, server, server.URL, assertionFrom(given.Name))
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant), says("spec.grant"),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidGrant)
	s.quiet(t)
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"assertion": w.assertion(t, server, key, "alice", time.Hour)}
	})
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)

	// While a token is held, an assertion that is refused takes nothing away, and a better one is taken at once.
	token := s.token(t)
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"assertion": w.assertion(t, server, key, "alice", -time.Minute)}
	})
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant))
	s.quiet(t)
	if s.token(t) != token || !server.Introspect(token) {
		t.Error("the token that was held is gone")
	}
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"assertion": w.assertion(t, server, key, "carol", time.Hour)}
	})
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	s.belongsTo(t, server, "carol")
}

func issuedBeforeExpiry(t *testing.T, w *world) {
	const lifetime = 4 * time.Second
	server, key := w.trusting(t, harness.Options{AccessTokenLifetime: lifetime})
	server.Extend(productionToken, func(hostile.ExtensionRequest) hostile.Approval { return hostile.Approval{Account: "alice"} })
	given := secret(w.namespace, w.name(), map[string]string{
		"assertion": w.assertion(t, server, key, "alice", time.Hour), "tls.key": keyPEM(t, key),
	})
	create(t, given)
	subjectToken := v1alpha1.TokenSource{
		SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "assertion"}, Type: hostile.JWTType,
	}
	for _, change := range []func(*v1alpha1.OAuthConnectionSpec){
		assertionFrom(given.Name),
		signedBy(v1alpha1.SignedAssertion{KeySecretRef: v1alpha1.SecretKeyReference{Name: given.Name}, Issuer: signerName}),
		exchanging(subjectToken),
		extending(),
	} {
		s := w.subject(t, server, server.URL, change)
		s.wait(t, isReady)
		first := s.token(t)
		second := s.waitOtherToken(t, first)
		if !server.Introspect(first) {
			t.Errorf("%s: the first token had expired before the second was there", s.get(t).Spec.Grant.Type)
		}
		third := s.waitOtherToken(t, second)
		if !server.Introspect(third) || third == first {
			t.Errorf("%s: the Secret does not hold a fresh token", s.get(t).Spec.Grant.Type)
		}
		s.wait(t, isReady, refreshed)
		s.delete(t)
	}
}

func assertionsSigned(t *testing.T, w *world) {
	for name, one := range map[string]struct {
		key       crypto.Signer
		algorithm v1alpha1.SigningAlgorithm
		accepted  string
	}{
		"RSA": {newRSAKey(t), "", "RS256"}, "RSA-PSS": {newRSAKey(t), "PS384", "PS384"},
		"P-256": {newECKey(t, elliptic.P256()), "", "ES256"}, "P-384": {newECKey(t, elliptic.P384()), "ES384", "ES384"},
		"Ed25519": {newEdKey(t), "", "EdDSA"},
	} {
		server := w.hostile(t, harness.Options{})
		if err := server.TrustIssuer(hostile.Key{
			Public: one.key.Public(), Issuer: signerName, Algorithms: []string{one.accepted}, ID: "key-1",
		}); err != nil {
			t.Fatal(err)
		}
		keys := secret(w.namespace, w.name(), map[string]string{"tls.key": keyPEM(t, one.key)})
		create(t, keys)
		s := w.subject(t, server, server.URL, signedBy(v1alpha1.SignedAssertion{
			KeySecretRef: v1alpha1.SecretKeyReference{Name: keys.Name}, Algorithm: one.algorithm, KeyID: "key-1",
			Issuer: signerName, Subject: "alice", Claims: map[string]v1alpha1.ParameterValue{"scope": "{scope}"},
		}))
		s.wait(t, isReady, scopes("api:read", "offline_access"))
		s.belongsTo(t, server, "alice")
		request := server.Requests(record.Filter{GrantType: hostile.JWTBearerGrant})[0]
		if request.Params.Has("scope") {
			t.Errorf("%s: the scope is sent beside the assertion that has it", name)
		}
		// A signed assertion is never sent twice: each has an id of its own, and the server insists on it.
		before := s.token(t)
		s.requestRefresh(t)
		s.waitOtherToken(t, before)
	}
}

func assertionAudience(t *testing.T, w *world) {
	for _, one := range []struct {
		signed   v1alpha1.SignedAssertion
		audience func(url string) string
	}{
		{v1alpha1.SignedAssertion{}, func(url string) string { return url + "/token" }},
		{v1alpha1.SignedAssertion{AudienceFrom: v1alpha1.AudienceTokenURL}, func(url string) string { return url + "/token" }},
		{v1alpha1.SignedAssertion{AudienceFrom: v1alpha1.AudienceIssuer}, func(url string) string { return url }},
		{v1alpha1.SignedAssertion{Audience: "somebody"}, func(string) string { return "somebody" }},
	} {
		server, key := w.hostile(t, harness.Options{}), newECKey(t, elliptic.P256())
		if err := server.TrustIssuer(hostile.Key{Public: key.Public(), Issuer: signerName, Audience: one.audience(server.URL)}); err != nil {
			t.Fatal(err)
		}
		keys := secret(w.namespace, w.name(), map[string]string{"tls.key": keyPEM(t, key)})
		create(t, keys)
		one.signed.KeySecretRef.Name, one.signed.Issuer = keys.Name, signerName
		w.subject(t, server, server.URL, signedBy(one.signed)).wait(t, isReady)
	}
}

func assertionWithoutIssuer(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	keys := secret(w.namespace, w.name(), map[string]string{"tls.key": keyPEM(t, key)})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.IssuerURL, spec.Endpoints = "", &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(server.URL + "/token")}
	})
	create(t, keys, app, clientSecret, connection(w.namespace, name, name, signedBy(v1alpha1.SignedAssertion{
		KeySecretRef: v1alpha1.SecretKeyReference{Name: keys.Name}, Issuer: signerName, AudienceFrom: v1alpha1.AudienceIssuer,
	})))
	waitConnection(t, w.namespace, name, all(notReady(v1alpha1.ReasonInvalidConfiguration), says("audienceFrom"), says("issuerURL")))
	if n := server.Count(record.Filter{}); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func signingKeyChanges(t *testing.T, w *world) {
	server, old := w.trusting(t, harness.Options{})
	keys := secret(w.namespace, w.name(), map[string]string{"tls.key": keyPEM(t, old)})
	create(t, keys)
	s := w.subject(t, server, server.URL, signedBy(v1alpha1.SignedAssertion{
		KeySecretRef: v1alpha1.SecretKeyReference{Name: keys.Name}, Issuer: signerName, Subject: "alice",
	}))
	s.wait(t, isReady)
	first := s.token(t)
	fresh := newEdKey(t)
	if err := server.TrustIssuer(hostile.Key{Public: fresh.Public(), Issuer: signerName}); err != nil {
		t.Fatal(err)
	}
	update(t, keys, func(c *corev1.Secret) { c.StringData = map[string]string{"tls.key": keyPEM(t, fresh)} })
	s.waitOtherToken(t, first)
	s.wait(t, isReady)
	s.quiet(t)
	if n := issues(server, hostile.JWTBearerGrant); n != 2 {
		t.Errorf("%d requests with two keys", n)
	}
}

func signingKeyBroken(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	keys := secret(w.namespace, w.name(), map[string]string{"tls.key": "no-key-but-still-confidential"})
	w.mustNotShow("no-key-but-still-confidential")
	create(t, keys)
	signed := v1alpha1.SignedAssertion{KeySecretRef: v1alpha1.SecretKeyReference{Name: keys.Name}, Issuer: signerName, Algorithm: "RS256"}
	s := w.subject(t, server, server.URL, signedBy(signed))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonInvalidConfiguration), says("spec.grant.jwtBearer.signed.keySecretRef"))
	update(t, keys, func(c *corev1.Secret) { c.StringData = map[string]string{"tls.key": keyPEM(t, key)} })
	s.wait(t, notReady(v1alpha1.ReasonInvalidConfiguration), says("ES256")) // The algorithm does not fit the key.
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Grant.JWTBearer.Signed.Algorithm = "ES256" })
	s.wait(t, isReady)
}

func exchangeSecret(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"token": w.assertion(t, server, key, "alice", time.Hour)})
	s := w.subject(t, server, server.URL, exchanging(v1alpha1.TokenSource{
		SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name}, Type: hostile.JWTType,
	}, func(g *v1alpha1.TokenExchangeGrant) {
		g.RequestedTokenType, g.Audience = hostile.AccessTokenType, []string{"orders", "billing"}
		g.Resource = []string{"https://orders.example.com"}
	}))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretNotFound), says(given.Name))
	create(t, given)
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	s.belongsTo(t, server, "alice")
	params := server.Requests(record.Filter{GrantType: hostile.TokenExchangeGrant})[0].Params
	if fmt.Sprint(params["audience"]) != "[orders billing]" || params.Get("resource") != "https://orders.example.com" ||
		params.Get("requested_token_type") != hostile.AccessTokenType || params.Get("scope") != "api:read" {
		t.Errorf("parameters are %v", params)
	}
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"token": w.assertion(t, server, key, "bob", time.Hour)}
	})
	s.belongsTo(t, server, "bob")
}

func exchangeConnection(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	source := w.name()
	s := w.subject(t, server, server.URL, exchanging(tokenOf(source)))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSourceNotReady), says(source),
		is(v1alpha1.ConditionReconciling, metav1.ConditionTrue))
	create(t, connection(w.namespace, source, s.name))
	s.wait(t, notReady(v1alpha1.ReasonSourceNotReady), says(source))
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the provider was asked %d times without a token to exchange", n)
	}
	create(t, codeSecret(t, server, w.namespace, source))
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, scopes("api:read"))
	s.belongsTo(t, server, "user-1")
	s.quiet(t)

	first := s.token(t)
	origin := &subject{w: w, name: source, server: server, url: server.URL}
	origin.requestRefresh(t)
	s.waitOtherToken(t, first)
	s.wait(t, isReady)
	s.quiet(t)
	if n := issues(server, hostile.TokenExchangeGrant); n != 2 {
		t.Errorf("%d exchanges of two tokens", n)
	}
	// The source's end is no end of what was issued.
	origin.delete(t)
	s.quiet(t)
	s.wait(t, isReady)
}

func exchangeActor(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{
		"alice": w.assertion(t, server, key, "alice", time.Hour), "robot": w.assertion(t, server, key, "robot", time.Hour),
	})
	create(t, given)
	from := func(key string) v1alpha1.TokenSource {
		return v1alpha1.TokenSource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: key}, Type: hostile.JWTType}
	}
	s := w.subject(t, server, server.URL, exchanging(from("alice"), func(g *v1alpha1.TokenExchangeGrant) {
		actor := from("robot")
		g.ActorToken = &actor
	}))
	s.wait(t, isReady)
	params := server.Requests(record.Filter{GrantType: hostile.TokenExchangeGrant})[0].Params
	if params.Get("actor_token_type") != hostile.JWTType || params.Get("actor_token") == "" {
		t.Errorf("parameters are %v", params)
	}
	first := s.token(t)
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"robot": w.assertion(t, server, key, "other-robot", time.Hour)}
	})
	s.waitOtherToken(t, first)
	s.belongsTo(t, server, "alice")
}

func extensionWords(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"word": "first-word"})
	w.mustNotShow("first-word", "second-word")
	mode := "live"
	s := w.subject(t, server, server.URL, extending(
		v1alpha1.ExtensionParameter{Name: "mode", Value: &mode},
		v1alpha1.ExtensionParameter{Name: "word", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "word"}},
	))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretNotFound), says(given.Name))
	create(t, given)
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)
	s.belongsTo(t, server, "word-first-word/live")
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"other": "value"} })
	s.quiet(t)
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"word": "second-word"} })
	s.belongsTo(t, server, "word-second-word/live")
	mode = "test"
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Grant.Extension.Parameters[0].Value = &mode })
	s.belongsTo(t, server, "word-second-word/test")
	s.quiet(t)
	if n := issues(server, productionToken); n != 3 {
		t.Errorf("%d requests for three combinations", n)
	}
}

func extensionConnection(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	origin := w.connected(t, server, server.URL)
	s := w.subject(t, server, server.URL, extending(v1alpha1.ExtensionParameter{
		Name: "production_token", ConnectionRef: &v1alpha1.ConnectionReference{Name: origin.name},
	}))
	s.wait(t, isReady)
	s.belongsTo(t, server, "user-1/")
	first := s.token(t)
	origin.requestRefresh(t)
	s.waitOtherToken(t, first)
	s.quiet(t)
	if n := issues(server, productionToken); n != 2 {
		t.Errorf("%d requests for two tokens", n)
	}
}

func extensionSelf(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL)
	create(t, app, clientSecret, connection(w.namespace, name, name, extending(v1alpha1.ExtensionParameter{
		Name: "production_token", ConnectionRef: &v1alpha1.ConnectionReference{Name: name},
	})))
	waitConnection(t, w.namespace, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSourceNotReady)))
	s := &subject{w: w, name: name, server: server, url: server.URL}
	version := s.get(t).ResourceVersion
	s.quiet(t)
	if now := s.get(t).ResourceVersion; now != version {
		t.Error("status is written again and again")
	}
}

func extensionRefused(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"word": "wrong-word"})
	create(t, given)
	s := w.subject(t, server, server.URL, extending(v1alpha1.ExtensionParameter{
		Name: "word", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "word"},
	}))
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	s.quiet(t)
	before := s.tokenRequests()
	s.wait(t, observed(s.requestRefresh(t)), phase(v1alpha1.ConnectionInactive))
	if n := s.tokenRequests() - before; n != 1 {
		t.Errorf("%d attempts for one request", n)
	}
	update(t, given, func(c *corev1.Secret) { c.StringData = map[string]string{"word": "better-word"} })
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady)
}

// sourceExpired : while the source cannot be renewed, what is made of it waits, and says so when its own token has expired.
func sourceExpired(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
	origin := w.connected(t, server, server.URL)
	s := w.subject(t, server, server.URL, extending(v1alpha1.ExtensionParameter{
		Name: "production_token", ConnectionRef: &v1alpha1.ConnectionReference{Name: origin.name},
	}))
	s.wait(t, isReady)
	back := server.Always(record.Filter{Endpoint: record.Token}, hostile.Status(503, "", nil))
	s.wait(t, phase(v1alpha1.ConnectionActive), notReady(v1alpha1.ReasonSourceNotReady), says(origin.name))
	back()
	s.wait(t, isReady)
	origin.wait(t, isReady)
}

func issuedElsewhere(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	server.Extend(productionToken, func(hostile.ExtensionRequest) hostile.Approval { return hostile.Approval{Account: "alice"} })
	elsewhere := w.others[0]
	given := secret(elsewhere, w.name(), map[string]string{"assertion": w.assertion(t, server, key, "alice", time.Hour)})
	create(t, given)
	for grantType, change := range map[v1alpha1.GrantType]func(*v1alpha1.OAuthConnectionSpec){
		v1alpha1.GrantJWTBearer: assertionFrom(given.Name),
		v1alpha1.GrantTokenExchange: exchanging(v1alpha1.TokenSource{
			SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "assertion"}, Type: hostile.JWTType,
		}),
		v1alpha1.GrantExtension: extending(),
	} {
		name := w.tenant(t, server, server.URL, elsewhere, allow(v1alpha1.NamespacesFromAll), change)
		waitConnection(t, elsewhere, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonNotAllowed),
			says(string(grantType)), says("spec.allowedGrantTypes")))
		update(t, get(t, w.namespace, name, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
			allow(v1alpha1.NamespacesFromAll, grantType)(&a.Spec)
		})
		waitConnection(t, elsewhere, name, isReady)
	}
	// A device needs a person's consent, as a code does.
	server.SetDevicePolling(time.Second, 10*time.Minute)
	name := w.tenant(t, server, server.URL, elsewhere, allow(v1alpha1.NamespacesFromAll), byDevice)
	waitConnection(t, elsewhere, name, phase(v1alpha1.ConnectionAuthorizing))
	// A source is looked for in the connection's own namespace, and nowhere else.
	origin := w.connected(t, server, server.URL)
	name = w.tenant(t, server, server.URL, elsewhere, allow(v1alpha1.NamespacesFromAll, v1alpha1.GrantTokenExchange), exchanging(tokenOf(origin.name)))
	waitConnection(t, elsewhere, name, all(notReady(v1alpha1.ReasonSourceNotReady), says(origin.name)))
}

func issuedDeleted(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	mode := "live"
	word := "any"
	s := w.subject(t, server, server.URL, extending(
		v1alpha1.ExtensionParameter{Name: "mode", Value: &mode}, v1alpha1.ExtensionParameter{Name: "word", Value: &word},
	))
	s.wait(t, isReady)
	first := s.token(t)
	s.requestRefresh(t)
	s.waitOtherToken(t, first)
	if !server.Introspect(first) {
		t.Error("the first token is dead already: the test does not test what it says")
	}
	s.delete(t)
	dead(t, server)
}

func issuedTypeChanges(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	s := w.subject(t, server, server.URL, clientCredentials)
	s.wait(t, isReady)
	s.belongsTo(t, server, harness.DefaultClient().ID)
	word := "any"
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		extending(v1alpha1.ExtensionParameter{Name: "word", Value: &word})(&c.Spec)
	})
	s.belongsTo(t, server, "word-any/")
	s.wait(t, isReady)
	s.update(t, func(c *v1alpha1.OAuthConnection) { clientCredentials(&c.Spec) })
	s.belongsTo(t, server, harness.DefaultClient().ID)
	s.wait(t, isReady)
	s.quiet(t)
}

func extensionAnswerLost(t *testing.T, w *world) {
	server := w.extended(t, harness.Options{})
	server.Script(record.Filter{GrantType: productionToken}, hostile.LoseResponse())
	word := "any"
	s := w.subject(t, server, server.URL, extending(v1alpha1.ExtensionParameter{Name: "word", Value: &word}))
	s.wait(t, isReady)
	if n := issues(server, productionToken); n != 2 {
		t.Errorf("%d requests, the first of which was answered in vain", n)
	}
}

func sourceSecretGoes(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{"assertion": w.assertion(t, server, key, "alice", time.Hour)})
	create(t, given)
	s := w.subject(t, server, server.URL, assertionFrom(given.Name))
	s.wait(t, isReady)
	token := s.token(t)
	remove(t, given)
	s.quiet(t)
	s.wait(t, isReady)
	if s.token(t) != token {
		t.Error("the token was changed")
	}
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	if note := waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventNothingToRefresh); !strings.Contains(note, given.Name) {
		t.Errorf("the event says %q", note)
	}
	create(t, secret(w.namespace, given.Name, map[string]string{"assertion": string(given.Data["assertion"])}))
	s.quiet(t) // It is the same assertion in another Secret.
	if s.token(t) != token {
		t.Error("the token was issued anew for nothing")
	}
}

// TestIssueRestart : a process that starts asks for nothing that it knows to be unchanged, and for what has changed meanwhile.
func TestIssueRestart(t *testing.T) {
	t.Parallel()
	counted := &requests{}
	w := newWorld(t, 0, counted.wrap)
	server, key := w.trusting(t, harness.Options{})
	extended := w.extended(t, harness.Options{})
	given := secret(w.namespace, w.name(), map[string]string{
		"assertion": w.assertion(t, server, key, "alice", time.Hour), "tls.key": keyPEM(t, key), "word": "any-word",
	})
	create(t, given)
	origin := w.connected(t, extended, extended.URL)
	all := []*subject{
		origin,
		w.subject(t, server, server.URL, assertionFrom(given.Name)),
		w.subject(t, server, server.URL, signedBy(v1alpha1.SignedAssertion{
			KeySecretRef: v1alpha1.SecretKeyReference{Name: given.Name}, Issuer: signerName,
		})),
		w.subject(t, extended, extended.URL, exchanging(tokenOf(origin.name))),
		w.subject(t, extended, extended.URL, extending(v1alpha1.ExtensionParameter{
			Name: "word", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "word"},
		})),
	}
	tokens := map[string]string{}
	for _, s := range all {
		s.wait(t, isReady)
		tokens[s.name] = s.token(t)
	}
	for _, s := range all {
		waitCount(t, w, s.name)
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := server.Count(record.Filter{}) + extended.Count(record.Filter{})
	counted.forget()
	w.restart(t)
	fresh := w.fosite(t, harness.Options{})
	testenv.Consistently(t, calm, func() error {
		if n := server.Count(record.Filter{}) + extended.Count(record.Filter{}) - asked; n != 0 {
			return fmt.Errorf("the providers were asked %d times", n)
		}
		return counted.seen()
	})
	w.connected(t, fresh, fresh.URL) // The process is at work.

	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	update(t, given, func(c *corev1.Secret) {
		c.StringData = map[string]string{"assertion": w.assertion(t, server, key, "bob", time.Hour)}
	})
	w.restart(t)
	all[1].belongsTo(t, server, "bob")
	for _, s := range all[2:] {
		s.quiet(t)
		if s.token(t) != tokens[s.name] {
			t.Error(errors.New("a token was issued anew for a key of the Secret that it is not made of"))
		}
	}
	w.showsNothing(t)
}
