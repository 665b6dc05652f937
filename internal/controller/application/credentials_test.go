// SPDX-License-Identifier: Apache-2.0

package application

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// keyPair makes a client certificate that is valid for an hour from a time on, and its key.
func keyPair(t *testing.T, from time.Time) (certificate, key string) {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "crm"}, NotBefore: from, NotAfter: from.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, made.Public(), made)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// stored are Secrets of the application's namespace: key by key, by name.
type stored map[string]map[string]string

// read fills in what an application's references find.
func (s stored) read(f *facts, catalogue *provider.Catalogue) {
	f.inputs = nil
	for _, ref := range referencesOf(catalogue, &f.application.Spec) {
		in := input{reference: ref}
		if data, ok := s[ref.name]; ok {
			value, found := data[ref.key]
			in.exists, in.found, in.value, in.keys = true, found, []byte(value), slices.Sorted(maps.Keys(data))
			in.source = registration.Source{Kind: ref.kind, Namespace: "platform", Name: ref.name, UID: "s", ResourceVersion: "1"}
		}
		f.inputs = append(f.inputs, in)
	}
}

// direct is an application without discovery.
func direct(method v1alpha1.ClientAuthentication) facts {
	f := testFacts()
	f.application.Spec.IssuerURL = ""
	f.application.Spec.Endpoints = &v1alpha1.Endpoints{TokenURL: issuer + "/token"}
	f.application.Spec.Client.Authentication = method
	f.attempt = attempt{}
	return f
}

func TestCredentialsOfEachMethod(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, now())
	otherCertificate, otherKey := keyPair(t, now())
	for name, test := range map[string]struct {
		reason  string
		method  v1alpha1.ClientAuthentication
		change  func(*v1alpha1.OAuthApplicationSpec)
		secret  map[string]string
		want    func(*registration.Client) bool
		message string
		waits   bool
	}{
		"SigningKey": {
			reason: "the private key is kept beside the secret, never as one", method: v1alpha1.ClientPrivateKeyJWT,
			secret: map[string]string{"tls.key": key},
			want: func(c *registration.Client) bool {
				return c.Key.Reveal() == key && c.OAuth.Secret.IsEmpty() && c.OAuth.Authentication == oauth.PrivateKeyJWT
			},
		},
		"SigningKeyElsewhere": {
			reason: "secretRef.key wins", method: v1alpha1.ClientPrivateKeyJWT,
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.SecretRef.Key = "signing.pem" },
			secret: map[string]string{"signing.pem": key},
			want:   func(c *registration.Client) bool { return c.Key.Reveal() == key },
		},
		"NoSigningKey": {
			reason: "the default key's name is said", method: v1alpha1.ClientPrivateKeyJWT,
			secret: map[string]string{"client_secret": "hidden"}, waits: true,
			message: `client.secretRef: Secret "crm-client" has no key "tls.key" (keys: client_secret)`,
		},
		"BrokenSigningKey": {
			reason: "what is no key is told before anything is signed", method: v1alpha1.ClientPrivateKeyJWT,
			secret:  map[string]string{"tls.key": "hidden"},
			message: `client.secretRef: key "tls.key" of Secret "crm-client": there is neither a PEM block`,
		},
		"WrongAlgorithm": {
			reason: "an algorithm for another kind of key never works", method: v1alpha1.ClientPrivateKeyJWT,
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.Assertion = &v1alpha1.ClientAssertionSpec{Algorithm: "RS256"}
			},
			secret: map[string]string{"tls.key": key}, message: "these do: ES256 (client.assertion.algorithm)",
		},
		"Certificate": {
			reason: "certificate and key are kept together", method: v1alpha1.ClientTLS,
			secret: map[string]string{"tls.key": key, "tls.crt": certificate},
			want: func(c *registration.Client) bool {
				return strings.Contains(c.Certificate.Reveal(), key) && strings.Contains(c.Certificate.Reveal(), certificate) &&
					c.OAuth.Secret.IsEmpty() && c.Key.IsEmpty()
			},
		},
		"NoCertificate": {
			reason: "the certificate stands beside its key", method: v1alpha1.ClientTLS, secret: map[string]string{"tls.key": key}, waits: true,
			message: `has no key "tls.crt" (keys: tls.key)`,
		},
		"AnotherCertificate": {
			reason: "a pair that is none is told before it is shown to anybody", method: v1alpha1.ClientTLS,
			secret:  map[string]string{"tls.key": otherKey, "tls.crt": certificate},
			message: `client.secretRef: keys "tls.key" and "tls.crt" of Secret "crm-client" are no client certificate and its private key`,
		},
		"SwappedPair": {
			reason: "nor may the two be mixed up", method: v1alpha1.ClientTLS, secret: map[string]string{"tls.key": otherCertificate, "tls.crt": otherKey},
			message: "are no client certificate",
		},
		"ServiceAccount": {
			reason: "there is no client secret at all", method: v1alpha1.ClientServiceAccountToken,
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.SecretRef = nil
				s.Client.Assertion = &v1alpha1.ClientAssertionSpec{ServiceAccountName: "crm"}
			},
			want: func(c *registration.Client) bool {
				return c.OAuth.Authentication == oauth.ServiceAccountToken && len(c.Sources) == 0
			},
		},
		"ServiceAccountWithValues": {
			reason: "a Secret for headers alone needs no client secret", method: v1alpha1.ClientServiceAccountToken,
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.Assertion = &v1alpha1.ClientAssertionSpec{ServiceAccountName: "crm"}
				s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{
					{Name: "X-Api-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}},
				}}
			},
			secret: map[string]string{"api_key": "hidden\n"},
			want: func(c *registration.Client) bool {
				return c.OAuth.Secret.IsEmpty() && c.Secrets[provider.SecretKey("crm-client", "api_key")].Reveal() == "hidden"
			},
		},
		"BasicAsItIs": {
			reason: "how the credentials are written is the client's", method: v1alpha1.ClientSecretBasic,
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.BasicCredentials = v1alpha1.BasicSecretAsUserName },
			secret: map[string]string{"client_secret": "hidden"},
			want:   func(c *registration.Client) bool { return c.OAuth.Basic == oauth.BasicSecretAsUserName },
		},
		"ClientID": {
			reason: "the id may be in a Secret, too",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.ID, s.Client.IDSecretRef = "", &v1alpha1.SecretKeyReference{Name: "crm-client"}
			},
			secret: map[string]string{"client_secret": "hidden", "client_id": "crm-7\n"},
			want: func(c *registration.Client) bool {
				return c.OAuth.ID == "crm-7" && c.OAuth.Secret.Reveal() == "hidden" && len(c.Sources) == 1
			},
		},
		"NoClientID": {
			reason: "and is waited for there",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.ID, s.Client.IDSecretRef = "", &v1alpha1.SecretKeyReference{Name: "crm-id", Key: "id"}
			},
			secret: map[string]string{"client_secret": "hidden"}, waits: true,
			message: `client.idSecretRef: Secret "crm-id" does not exist in this namespace; create it with key "id"`,
		},
		"HeaderWithoutValue": {
			reason: "the field of a value says which header waits",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Api-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "api", Key: "key"}}}
			},
			secret: map[string]string{"client_secret": "hidden"}, waits: true,
			message: `apiHeaders[X-Api-Key].secretKeyRef: Secret "api" does not exist in this namespace; create it with key "key"`,
		},
		"HeaderTooLong": {
			reason: "what cannot be kept is refused with the limit",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Api-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "key"}}}
			},
			secret:  map[string]string{"client_secret": "hidden", "key": strings.Repeat("k", maxValue+1)},
			message: `key "key" of Secret "crm-client" has 32769 bytes; it may have 32768`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := direct(test.method)
			if test.change != nil {
				test.change(&f.application.Spec)
			}
			stored{"crm-client": test.secret}.read(&f, testRules().catalogue)
			d := decide(f, testRules())
			if test.want == nil {
				if d.client != nil || d.verdict.progressing != test.waits || d.verdict.stalled == test.waits || !strings.Contains(d.verdict.message, test.message) {
					t.Errorf("%s: the verdict is %+v, want %q", test.reason, d.verdict, test.message)
				}
				return
			}
			if d.client == nil || !d.verdict.ready {
				t.Fatalf("%s: the verdict is %+v", test.reason, d.verdict)
			}
			if !test.want(d.client) {
				t.Errorf("%s: the client is %+v", test.reason, d.client)
			}
			again := f
			again.kept, again.unchanged, again.inputs = d.client, true, unread(f.inputs)
			if same := decide(again, testRules()).client; same == nil || same.Fingerprint() != d.client.Fingerprint() {
				t.Error("without reading anything again the client is another one")
			}
		})
	}
}

func TestCertificatesEnd(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, now())
	f := direct(v1alpha1.ClientTLS)
	stored{"crm-client": {"tls.key": key, "tls.crt": certificate}}.read(&f, testRules().catalogue)
	for _, test := range []struct {
		reason  string
		at      time.Duration
		message string
		wake    time.Duration
	}{
		{"its end is looked for", 0, readyMessage, time.Hour + time.Second},
		{"and told", 2 * time.Hour, "; the client certificate expired at 2026-08-01T11:00:00Z; renew it in the Secret of client.secretRef", 0},
		{"as is its beginning", -time.Hour, "; the client certificate is not valid before 2026-08-01T10:00:00Z", 0},
	} {
		f.now = now().Add(test.at)
		d := decide(f, testRules())
		if !d.verdict.ready || !strings.HasSuffix(d.verdict.message, test.message) {
			t.Errorf("%s: %+v", test.reason, d.verdict)
		}
		if test.wake != 0 && !d.wakeAt.Equal(now().Add(test.wake)) {
			t.Errorf("%s: the next look is at %s", test.reason, d.wakeAt)
		}
	}
	f.now = now()
	before := status(f, decide(f, testRules()))
	f.now = now().Add(2 * time.Hour)
	if news := eventsFor(before, decide(f, testRules())); len(news) != 1 || news[0].reason != v1alpha1.ReasonInvalidConfiguration {
		t.Errorf("the events are %+v", news)
	}
}

// TestPresetsReferToSecrets holds what a preset takes from the client's Secret to the same rules as what a spec names.
func TestPresetsReferToSecrets(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	r := testRules()
	r.catalogue = catalogue
	f := testFacts()
	f.application.Spec = v1alpha1.OAuthApplicationSpec{
		Provider: "increase", Client: v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
	}
	stored{"crm-client": {"client_secret": "hidden"}}.read(&f, catalogue)
	if d := decide(f, r); d.verdict.reason != v1alpha1.ReasonSecretNotFound || !strings.Contains(d.verdict.message, `has no key "api_key"`) {
		t.Errorf("without the platform's key: %+v", d.verdict)
	}
	stored{"crm-client": {"client_secret": "hidden", "api_key": "platform"}}.read(&f, catalogue)
	d := decide(f, r)
	if d.client == nil {
		t.Fatalf("the verdict is %+v", d.verdict)
	}
	request, err := d.client.Profile().TokenRequest(oauth.AuthorizationCode(sensitive.New("c"), sensitive.String{}, ""), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(request.Headers) != 1 || request.Headers[0].Value.Reveal() != "Bearer platform" || request.Client.Secret.Reveal() != "hidden" {
		t.Errorf("the request is %+v", request)
	}
	index := indexReferences(catalogue)(f.application)
	if !slices.Contains(index, referenceKey(registration.KindSecret, "platform", "crm-client")) {
		t.Errorf("a change of the Secret is not noticed: %v", index)
	}

	f.application.Spec.Provider = "incraese"
	if d := decide(f, r); d.verdict.reason != v1alpha1.ReasonInvalidConfiguration || !d.verdict.stalled || !strings.Contains(d.verdict.message, "increase") {
		t.Errorf("for a name that the catalogue does not have: %+v", d.verdict)
	}
	if index := indexReferences(catalogue)(f.application); len(index) != 0 {
		t.Errorf("without a provider %v is read", index)
	}
}

// TestKeptClientsThatLackValuesAreReadAnew covers the kept clients of older operators and older presets.
func TestKeptClientsThatLackValuesAreReadAnew(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, now())
	for _, method := range []v1alpha1.ClientAuthentication{v1alpha1.ClientSecretPost, v1alpha1.ClientPrivateKeyJWT, v1alpha1.ClientTLS} {
		f := direct(method)
		f.application.Spec.Client.ID, f.application.Spec.Client.IDSecretRef = "", &v1alpha1.SecretKeyReference{Name: "crm-client"}
		f.application.Spec.CABundle = &v1alpha1.CABundle{SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}}
		f.application.Spec.APIHeaders = []v1alpha1.RequestHeader{{Name: "X-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}}
		stored{"crm-client": {
			"client_id": "crm", "client_secret": "hidden", "tls.key": key, "tls.crt": certificate, "ca.crt": "certificate", "api_key": "k",
		}}.read(&f, testRules().catalogue)
		whole := decide(f, testRules()).client
		if whole == nil {
			t.Fatalf("%s: %+v", method, decide(f, testRules()).verdict)
		}
		for _, in := range f.inputs {
			if !holds(whole, in.reference) {
				t.Errorf("%s: the client that was made of %s does not hold it", method, in.key)
			}
			if holds(&registration.Client{}, in.reference) {
				t.Errorf("%s: a client without anything holds %s", method, in.key)
			}
		}
	}
}
