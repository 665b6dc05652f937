// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// clientOf is a subject whose application has a client of its own kind: credentials are the content of Secret NAME-client.
func (w *world) clientOf(
	t *testing.T, server provider, url string, credentials map[string]string,
	change func(*v1alpha1.OAuthApplicationSpec), connections ...func(*v1alpha1.OAuthConnectionSpec),
) *subject {
	t.Helper()
	s := &subject{w: w, name: w.name(), server: server, url: url}
	app, _ := application(w.namespace, s.name, url, change)
	if len(credentials) > 0 {
		create(t, secret(w.namespace, s.name+"-client", credentials))
	}
	create(t, app, connection(w.namespace, s.name, s.name, connections...))
	return s
}

// lives lets a connection with a code live through: exchange, refresh, deletion. Each request is authenticated by a method.
func (s *subject) lives(t *testing.T, method string) {
	t.Helper()
	create(t, codeSecret(t, s.server, s.w.namespace, s.name))
	s.wait(t, isReady)
	first := s.token(t)
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.waitOtherToken(t, first)
	s.delete(t)
	for _, endpoint := range []record.Endpoint{record.Token, record.Revoke} {
		of := record.Filter{Endpoint: endpoint}
		by := record.Filter{Endpoint: endpoint, AuthMethod: method, Status: http.StatusOK}
		if asked, well := s.server.Count(of), s.server.Count(by); asked == 0 || asked != well {
			t.Errorf("%d of %d requests at %s succeeded with %s", well, asked, endpoint, method)
		}
	}
	dead(t, s.server)
}

func byPrivateKey(assertion *v1alpha1.ClientAssertionSpec) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.Authentication, spec.Client.Assertion = v1alpha1.ClientPrivateKeyJWT, assertion
	}
}

// clientWith is a server whose only client authenticates by a method.
func clientWith(method string) harness.Options {
	return harness.Options{Clients: []harness.Client{{ID: harness.DefaultClient().ID, AuthMethod: method}}}
}

// TestClientAuthentication is how clients prove who they are.
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 1), map[string]func(*testing.T, *world){
		"private keys of all kinds":                          privateKeys,
		"the audience of a client assertion":                 clientAudience,
		"a private key that fosite verifies":                 privateKeyAtFosite,
		"a private key is exchanged without a restart":       privateKeyChanges,
		"a private key that does not fit its algorithm":      privateKeyUnfit,
		"a certificate that the client signed itself":        certificates,
		"a certificate of an authority, at other endpoints":  certificateOfAuthority,
		"a certificate is exchanged without a restart":       certificateChanges,
		"a ServiceAccount's token without the component":     tokensNotInstalled,
		"a client whose id is in a Secret":                   idFromSecret,
		"Basic credentials are encoded":                      basicEncoded,
		"Basic credentials are not encoded":                  basicPlain,
		"Basic credentials without id":                       basicSecretAsUserName,
		"credentials in the body":                            secretInBody,
		"a body that is JSON":                                jsonBody,
		"parameters with other names":                        renamedParameters,
		"a header and a parameter of a Secret":               headerFromSecret,
		"a device and its code, authenticated by assertions": deviceByPrivateKey,
		"a client that may not use codes goes on refreshing": codesForbidden,
	})
}

func privateKeys(t *testing.T, w *world) {
	for _, one := range []struct {
		key       crypto.Signer
		algorithm v1alpha1.SigningAlgorithm
		accepted  string
	}{
		{newRSAKey(t), "", "RS256"},
		{newRSAKey(t), "PS256", "PS256"},
		{newECKey(t, elliptic.P256()), "", "ES256"},
		{newECKey(t, elliptic.P521()), "", "ES512"},
		{newEdKey(t), "EdDSA", "EdDSA"},
	} {
		server := w.hostile(t, clientWith(hostile.PrivateKeyJWT))
		if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{
			Public: one.key.Public(), ID: "key-1", Algorithms: []string{one.accepted},
		}); err != nil {
			t.Fatal(err)
		}
		w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, one.key)},
			byPrivateKey(&v1alpha1.ClientAssertionSpec{Algorithm: one.algorithm, KeyID: "key-1"})).lives(t, hostile.PrivateKeyJWT)
	}
}

func clientAudience(t *testing.T, w *world) {
	for _, one := range []struct {
		assertion *v1alpha1.ClientAssertionSpec
		audience  func(url string) string
	}{
		{nil, func(url string) string { return url + "/token" }},
		{&v1alpha1.ClientAssertionSpec{AudienceFrom: v1alpha1.AudienceIssuer}, func(url string) string { return url }},
		{&v1alpha1.ClientAssertionSpec{Audience: "somebody"}, func(string) string { return "somebody" }},
	} {
		server, key := w.hostile(t, clientWith(hostile.PrivateKeyJWT)), newEdKey(t)
		if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: key.Public(), Audience: one.audience(server.URL)}); err != nil {
			t.Fatal(err)
		}
		s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, key)}, byPrivateKey(one.assertion), clientCredentials)
		s.wait(t, isReady)
	}
}

func privateKeyAtFosite(t *testing.T, w *world) {
	for algorithm, key := range map[v1alpha1.SigningAlgorithm]crypto.Signer{
		"PS256": newRSAKey(t), "ES256": newECKey(t, elliptic.P256()),
	} {
		server := w.fosite(t, harness.Options{})
		if err := server.TrustKey(harness.DefaultClient().ID, key.Public(), string(algorithm)); err != nil {
			t.Fatal(err)
		}
		// At its revocation endpoint, too, fosite wants the token endpoint as audience, which is the default.
		w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, key)},
			byPrivateKey(&v1alpha1.ClientAssertionSpec{Algorithm: algorithm})).lives(t, hostile.PrivateKeyJWT)
	}
}

func privateKeyChanges(t *testing.T, w *world) {
	server, old, fresh := w.hostile(t, clientWith(hostile.PrivateKeyJWT)), newECKey(t, elliptic.P256()), newRSAKey(t)
	if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: old.Public()}); err != nil {
		t.Fatal(err)
	}
	s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, old)}, byPrivateKey(nil))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	first := s.token(t)
	server.ForgetKeys(harness.DefaultClient().ID)
	if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: fresh.Public()}); err != nil {
		t.Fatal(err)
	}
	s.wait(t, observed(s.requestRefresh(t)), isReady, says("invalid_client"))
	if s.token(t) != first || server.Reuse() != 0 {
		t.Error("a client that is not accepted cost the token")
	}
	update(t, get(t, w.namespace, s.name+"-client", &corev1.Secret{}), func(c *corev1.Secret) {
		c.StringData = map[string]string{"tls.key": keyPEM(t, fresh)}
	})
	s.waitOtherToken(t, first) // A refresh had failed, and a changed client cuts its wait short.
	s.wait(t, isReady)
	s.delete(t)
	dead(t, server)
}

func privateKeyUnfit(t *testing.T, w *world) {
	server := w.hostile(t, clientWith(hostile.PrivateKeyJWT))
	s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, newEdKey(t))},
		byPrivateKey(&v1alpha1.ClientAssertionSpec{Algorithm: "RS256"}), clientCredentials)
	s.wait(t, phase(v1alpha1.ConnectionPending), says("EdDSA")) // What does fit is said.
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// certifiedName is the name in client certificates.
const certifiedName = "client.example.com"

// newCertificate makes a client certificate and its key in PEM: signed by an authority, or by itself.
func newCertificate(t *testing.T, authority *x509.Certificate, signer crypto.Signer) (*x509.Certificate, map[string]string) {
	t.Helper()
	key := newECKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: certifiedName}, DNSNames: []string{certifiedName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if authority == nil {
		authority, signer = template, key
		template.IsCA, template.KeyUsage = true, template.KeyUsage|x509.KeyUsageCertSign
	}
	content, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(content)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, map[string]string{
		"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})), "tls.key": keyPEM(t, key),
	}
}

// byCertificate is a client that shows a certificate to a server with a certificate of its own.
func (w *world) byCertificate(t *testing.T, server *hostile.Server) func(*v1alpha1.OAuthApplicationSpec) {
	t.Helper()
	authority := secret(w.namespace, w.name(), map[string]string{"ca.crt": string(server.CAPEM)})
	create(t, authority)
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.Authentication = v1alpha1.ClientTLS
		spec.CABundle = &v1alpha1.CABundle{SecretRef: &v1alpha1.SecretKeyReference{Name: authority.Name}}
	}
}

func overTLS() harness.Options {
	o := clientWith(hostile.TLSClientAuth)
	o.TLS = true
	return o
}

func certificates(t *testing.T, w *world) {
	server := w.hostile(t, overTLS())
	certificate, credentials := newCertificate(t, nil, nil)
	if err := server.TrustCertificate(harness.DefaultClient().ID, certificate); err != nil {
		t.Fatal(err)
	}
	w.clientOf(t, server, server.URL, credentials, w.byCertificate(t, server)).lives(t, hostile.TLSClientAuth)
}

func certificateOfAuthority(t *testing.T, w *world) {
	server := w.hostile(t, overTLS())
	key := newECKey(t, elliptic.P256())
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	content, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if authority, err = x509.ParseCertificate(content); err != nil {
		t.Fatal(err)
	}
	_, credentials := newCertificate(t, authority, key)
	if err := server.TrustAuthority(harness.DefaultClient().ID, authority, certifiedName); err != nil {
		t.Fatal(err)
	}
	server.SeparateMTLS()
	s := w.clientOf(t, server, server.URL, credentials, w.byCertificate(t, server))
	testenv.Eventually(t, patience, func() error {
		if e := s.application(t).Status.Endpoints; e == nil || string(e.TokenURL) != server.URL+"/mtls/token" {
			return fmt.Errorf("endpoints are %+v", e)
		}
		return nil
	})
	s.lives(t, hostile.TLSClientAuth)
}

func certificateChanges(t *testing.T, w *world) {
	server := w.hostile(t, overTLS())
	old, credentials := newCertificate(t, nil, nil)
	if err := server.TrustCertificate(harness.DefaultClient().ID, old); err != nil {
		t.Fatal(err)
	}
	s := w.clientOf(t, server, server.URL, credentials, w.byCertificate(t, server))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	first := s.token(t)

	fresh, credentials := newCertificate(t, nil, nil)
	server.ForgetCertificates(harness.DefaultClient().ID)
	if err := server.TrustCertificate(harness.DefaultClient().ID, fresh); err != nil {
		t.Fatal(err)
	}
	update(t, get(t, w.namespace, s.name+"-client", &corev1.Secret{}), func(c *corev1.Secret) { c.StringData = credentials })
	testenv.Eventually(t, patience, func() error { return w.keptAfter(t, s, credentials["tls.key"]) })
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.waitOtherToken(t, first)
	if n := server.Count(record.Filter{Endpoint: record.Token, Status: http.StatusUnauthorized}); n != 0 {
		t.Errorf("%d requests with the old certificate", n)
	}
	s.delete(t)
	dead(t, server)
}

// keptAfter returns nil when the operator's copy of a client holds a credential.
func (w *world) keptAfter(t *testing.T, s *subject, credential string) error {
	t.Helper()
	kept := &corev1.Secret{}
	if err := plane.Client().Get(patient(), key(w.operator, "client-"+string(s.application(t).UID)), kept); err != nil {
		return err
	}
	for _, content := range kept.Data {
		written, err := json.Marshal(credential)
		if err != nil {
			return err
		}
		if strings.Contains(string(content), strings.Trim(string(written), `"`)) {
			return nil
		}
	}
	return errors.New("the operator has not read the new credential")
}

// willing creates a ServiceAccount that lets its tokens be used.
func willing(t *testing.T, namespace, name string) *corev1.ServiceAccount {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Annotations: map[string]string{v1alpha1.AnnotationAllowTokens: "true"},
	}}
	create(t, account)
	return account
}

func byServiceAccount(name, audience string) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.Authentication, spec.Client.SecretRef = v1alpha1.ClientServiceAccountToken, nil
		spec.Client.Assertion = &v1alpha1.ClientAssertionSpec{ServiceAccountName: name, Audience: audience}
	}
}

func tokensNotInstalled(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	account := willing(t, w.namespace, w.name())
	s := w.clientOf(t, server, server.URL, nil, byServiceAccount(account.Name, "provider"), clientCredentials)
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonServiceAccountNotAllowed), says(serviceaccount.Component), says(account.Name))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonServiceAccountNotAllowed)
	bearer := w.subject(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantJWTBearer, JWTBearer: &v1alpha1.JWTBearerGrant{
			ServiceAccountToken: &v1alpha1.ServiceAccountTokenSource{Name: account.Name, Audience: "provider"},
		}}
	})
	bearer.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonServiceAccountNotAllowed), says(serviceaccount.Component))
	if n := server.Count(record.Filter{Endpoint: record.Token}); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func idFromSecret(t *testing.T, w *world) {
	c := harness.DefaultClient()
	for _, key := range []string{"", "id"} {
		server := w.hostile(t, harness.Options{})
		name := w.name()
		in := key
		if in == "" {
			in = v1alpha1.DefaultClientIDKey
		}
		app, _ := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
			spec.Client.ID, spec.Client.IDSecretRef = "", &v1alpha1.SecretKeyReference{Name: name + "-client", Key: key}
		})
		create(t, app, secret(w.namespace, name+"-client", map[string]string{"client_secret": c.Secret, in: c.ID + "\n"}),
			connection(w.namespace, name, name))
		(&subject{w: w, name: name, server: server, url: server.URL}).lives(t, "client_secret_basic")
	}
}

// odd has all that may go wrong in a header.
const odd = "p%ss:w ord+&é"

func basicEncoded(t *testing.T, w *world) {
	w.mustNotShow(odd)
	server := w.hostile(t, harness.Options{Clients: []harness.Client{{ID: "cli ent:1", Secret: odd, AuthMethod: "client_secret_basic"}}})
	s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": odd}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.ID = "cli ent:1"
	}, clientCredentials)
	s.wait(t, isReady)
}

func basicPlain(t *testing.T, w *world) {
	const written, read = "plain%2Bsecret", "plain+secret"
	w.mustNotShow(written, read)
	server := w.hostile(t, harness.Options{Clients: []harness.Client{{ID: "client", Secret: read, AuthMethod: "client_secret_basic"}}})
	for how, well := range map[v1alpha1.BasicCredentials]bool{v1alpha1.BasicPlain: true, v1alpha1.BasicEncoded: false} {
		s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": written}, func(spec *v1alpha1.OAuthApplicationSpec) {
			spec.Client.BasicCredentials = how
		}, clientCredentials)
		if well {
			s.wait(t, isReady)
		} else { // The server decodes, so what it has to be given is not what was written.
			s.wait(t, notReady(v1alpha1.ReasonInvalidClient))
		}
	}
}

func basicSecretAsUserName(t *testing.T, w *world) {
	const given = "secret-as-user-name"
	w.mustNotShow(given)
	server := w.hostile(t, harness.Options{Clients: []harness.Client{{ID: given, AuthMethod: "client_secret_basic"}}})
	s := w.clientOf(t, server, server.URL, map[string]string{"client_secret": given}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.BasicCredentials = v1alpha1.BasicSecretAsUserName
	})
	code, verifier, err := server.NewCode(given, "", []string{"api:read", "offline_access"}, "")
	if err != nil {
		t.Fatal(err)
	}
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier}))
	s.wait(t, isReady)
	s.delete(t)
	dead(t, server)
}

func secretInBody(t *testing.T, w *world) {
	o := clientWith("client_secret_post")
	o.Clients[0].Secret = odd
	server := w.hostile(t, o)
	w.clientOf(t, server, server.URL, map[string]string{"client_secret": odd}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.Authentication = v1alpha1.ClientSecretPost
	}).lives(t, "client_secret_post")
}

func jsonBody(t *testing.T, w *world) {
	server := w.hostile(t, clientWithSecret("client_secret_post"))
	server.Always(record.Filter{Endpoint: record.Token}, hostile.RequireJSON())
	w.clientOf(t, server, server.URL, map[string]string{"client_secret": harness.DefaultClient().Secret}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Client.Authentication = v1alpha1.ClientSecretPost
		spec.TokenRequest = &v1alpha1.TokenRequestSpec{Format: v1alpha1.FormatJSON}
	}).lives(t, "client_secret_post")
}

func clientWithSecret(method string) harness.Options {
	o := clientWith(method)
	o.Clients[0].Secret = harness.DefaultClient().Secret
	return o
}

// renaming stands before a server that knows parameters of form bodies by other names than the standard's, and only by those.
func renaming(t *testing.T, target string, names map[string]string) *httptest.Server {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		if err := p.In.ParseForm(); err != nil {
			t.Error(err)
		}
		form := p.In.PostForm
		for standard, other := range names {
			form.Del(standard)
			if form.Has(other) {
				form[standard] = form[other]
			}
			form.Del(other)
		}
		body := form.Encode()
		p.Out.Body, p.Out.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}})
	t.Cleanup(proxy.Close)
	return proxy
}

func renamedParameters(t *testing.T, w *world) {
	server := w.hostile(t, clientWithSecret("client_secret_post"))
	names := map[string]string{"client_id": "client_key", "client_secret": "client_password", "refresh_token": "renewal", "token": "doomed"}
	proxy := renaming(t, server.URL, names)
	w.clientOf(t, server, server.URL, map[string]string{"client_secret": harness.DefaultClient().Secret}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.IssuerURL, spec.Endpoints = "", &v1alpha1.Endpoints{
			TokenURL: v1alpha1.EndpointURL(proxy.URL + "/token"), RevocationURL: v1alpha1.EndpointURL(proxy.URL + "/revoke"),
		}
		spec.Client.Authentication = v1alpha1.ClientSecretPost
		spec.TokenRequest = &v1alpha1.TokenRequestSpec{ParameterNames: map[string]v1alpha1.ParameterName{}}
		for standard, name := range names {
			spec.TokenRequest.ParameterNames[standard] = v1alpha1.ParameterName(name)
		}
	}).lives(t, "client_secret_post")
}

func headerFromSecret(t *testing.T, w *world) {
	const first, second, partner = "first-api-key", "second-api-key", "partner-secret"
	w.mustNotShow(first, second)
	server := w.hostile(t, harness.Options{})
	prefix := "Key "
	version := "2026-01-01"
	s := w.clientOf(t, server, server.URL, map[string]string{
		"client_secret": harness.DefaultClient().Secret, "api_key": first, "partner": partner,
	}, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.TokenRequest = &v1alpha1.TokenRequestSpec{
			Headers: []v1alpha1.RequestHeader{
				{Name: "X-Api-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}, Prefix: prefix},
				{Name: "X-Version", Value: &version},
			},
			Parameters: []v1alpha1.RequestParameter{
				{Name: "partner", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "partner"}, GrantTypes: []string{"refresh_token"}},
			},
		}
	})
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	exchange := server.Requests(record.Filter{GrantType: "authorization_code"})[0]
	if exchange.Header.Get("X-Api-Key") != prefix+first || exchange.Header.Get("X-Version") != version || exchange.Params.Has("partner") {
		t.Error("the exchange does not have the headers, or a parameter of refreshes")
	}
	update(t, get(t, w.namespace, s.name+"-client", &corev1.Secret{}), func(c *corev1.Secret) {
		c.StringData = map[string]string{"api_key": second}
	})
	testenv.Eventually(t, patience, func() error { return w.keptAfter(t, s, second) })
	s.wait(t, observed(s.requestRefresh(t)), refreshed)
	refresh := server.Requests(record.Filter{GrantType: "refresh_token"})[0]
	if refresh.Header.Get("X-Api-Key") != prefix+second || refresh.Params.Get("partner") != partner {
		t.Error("the refresh does not have the new header and its parameter")
	}
}

func deviceByPrivateKey(t *testing.T, w *world) {
	server, key := w.hostile(t, clientWith(hostile.PrivateKeyJWT)), newECKey(t, elliptic.P256())
	server.SetDevicePolling(time.Second, 10*time.Minute)
	if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: key.Public()}); err != nil {
		t.Fatal(err)
	}
	s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, key)}, byPrivateKey(nil), byDevice)
	code := s.invited(t)
	waitPolls(t, server, 2)
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	s.delete(t)
	dead(t, server)
}

// codesForbidden : the pause of one kind of call holds back no other, though a code waits to be sent.
func codesForbidden(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
	s := w.connected(t, server, server.URL)
	server.Always(record.Filter{GrantType: "authorization_code"}, hostile.OAuthError(http.StatusBadRequest, "unauthorized_client"))
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	s.wait(t, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure == nil || c.Status.Failure.Reason != v1alpha1.ReasonUnauthorizedClient {
			return errors.New("want the code to wait")
		}
		return nil
	})
	refreshesTwice(t, s)
}

// issuerOfCluster is what verifies tokens of ServiceAccounts, as a provider would have it.
func issuerOfCluster(t *testing.T) (issuer string, public *ecdsa.PublicKey) {
	t.Helper()
	client, err := rest.HTTPClientFor(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string, into any) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(plane.Config.Host, "/")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	var configuration struct {
		Issuer string `json:"issuer"`
	}
	var set struct {
		Keys []struct{ Crv, X, Y string } `json:"keys"`
	}
	read("/.well-known/openid-configuration", &configuration)
	read("/openid/v1/jwks", &set)
	if configuration.Issuer == "" || len(set.Keys) != 1 || set.Keys[0].Crv != "P-256" {
		t.Fatalf("issuer %q has keys %+v", configuration.Issuer, set.Keys)
	}
	point := []byte{4} // Uncompressed.
	for _, coordinate := range []string{set.Keys[0].X, set.Keys[0].Y} {
		content, err := base64.RawURLEncoding.DecodeString(coordinate)
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, content...)
	}
	public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	return configuration.Issuer, public
}

// withComponent lets a controller run as a ServiceAccount of its own that has the role of the installation and that of the
// optional component.
func withComponent(t *testing.T) func(*controller.Options, *rest.Config) {
	t.Helper()
	namespace := plane.Namespace(t)
	config, err := plane.UserFor(t.Context(), namespace, "controller")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(plane.Root, serviceaccount.Component, "role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(content, role); err != nil {
		t.Fatal(err)
	}
	role.Name = namespace + "-tokens"
	create(t, role)
	for _, name := range []string{"oauth-operator-controller", role.Name} {
		create(t, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "controller"}},
		})
	}
	return func(_ *controller.Options, of *rest.Config) {
		of.BearerToken, of.Host = config.BearerToken, config.Host
	}
}

// TestServiceAccountTokens : no secret of a client exists at all.
func TestServiceAccountTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, withComponent(t))
	issuer, public := issuerOfCluster(t)
	const audience = "https://login.example.com"
	runIn(t, w, map[string]func(*testing.T, *world){
		"a client": func(t *testing.T, w *world) {
			server := w.hostile(t, clientWith(hostile.PrivateKeyJWT))
			account := willing(t, w.namespace, w.name())
			subject := "system:serviceaccount:" + w.namespace + ":" + account.Name
			if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: public, Issuer: issuer, Subject: subject, Audience: audience}); err != nil {
				t.Fatal(err)
			}
			w.clientOf(t, server, server.URL, nil, byServiceAccount(account.Name, audience)).lives(t, hostile.PrivateKeyJWT)
		},
		"an assertion and an exchange": func(t *testing.T, w *world) {
			server := w.hostile(t, harness.Options{AccessTokenLifetime: 4 * time.Second})
			account := willing(t, w.namespace, w.name())
			if err := server.TrustIssuer(hostile.Key{Public: public, Issuer: issuer, Audience: audience}); err != nil {
				t.Fatal(err)
			}
			from := &v1alpha1.ServiceAccountTokenSource{Name: account.Name, Audience: audience}
			for _, change := range []func(*v1alpha1.OAuthConnectionSpec){
				func(spec *v1alpha1.OAuthConnectionSpec) {
					spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantJWTBearer, JWTBearer: &v1alpha1.JWTBearerGrant{ServiceAccountToken: from}}
				},
				exchanging(v1alpha1.TokenSource{ServiceAccountToken: from}),
			} {
				s := w.subject(t, server, server.URL, change)
				s.wait(t, isReady)
				s.belongsTo(t, server, "system:serviceaccount:"+w.namespace+":"+account.Name)
				s.waitOtherToken(t, s.token(t))
			}
		},
		"an account that does not allow it, and then does": func(t *testing.T, w *world) {
			server := w.hostile(t, harness.Options{})
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.name()}}
			if err := server.TrustIssuer(hostile.Key{Public: public, Issuer: issuer, Audience: audience}); err != nil {
				t.Fatal(err)
			}
			s := w.subject(t, server, server.URL, exchanging(v1alpha1.TokenSource{
				ServiceAccountToken: &v1alpha1.ServiceAccountTokenSource{Name: account.Name, Audience: audience},
			}))
			s.wait(t, notReady(v1alpha1.ReasonServiceAccountNotAllowed), says("does not exist"))
			create(t, account)
			s.requestRefresh(t)
			s.wait(t, notReady(v1alpha1.ReasonServiceAccountNotAllowed), says(v1alpha1.AnnotationAllowTokens))
			update(t, account, func(a *corev1.ServiceAccount) {
				a.Annotations = map[string]string{v1alpha1.AnnotationAllowTokens: "true"}
			})
			s.requestRefresh(t)
			s.wait(t, isReady)
		},
		"an audience of the API server's": func(t *testing.T, w *world) {
			server := w.hostile(t, harness.Options{})
			account := willing(t, w.namespace, w.name())
			s := w.subject(t, server, server.URL, exchanging(v1alpha1.TokenSource{
				ServiceAccountToken: &v1alpha1.ServiceAccountTokenSource{Name: account.Name, Audience: issuer},
			}))
			s.wait(t, notReady(v1alpha1.ReasonServiceAccountNotAllowed), says("audience"))
			if n := s.tokenRequests(); n != 0 {
				t.Errorf("the provider was asked %d times", n)
			}
		},
		"accounts of the application's and of the connection's own namespace": func(t *testing.T, w *world) {
			server := w.hostile(t, harness.Options{})
			if err := server.TrustIssuer(hostile.Key{Public: public, Issuer: issuer, Audience: audience}); err != nil {
				t.Fatal(err)
			}
			account := willing(t, w.namespace, w.name())
			exchange := exchanging(v1alpha1.TokenSource{
				ServiceAccountToken: &v1alpha1.ServiceAccountTokenSource{Name: account.Name, Audience: audience},
			})
			name := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll, v1alpha1.GrantTokenExchange), exchange)
			waitConnection(t, w.others[0], name, all(notReady(v1alpha1.ReasonServiceAccountNotAllowed), says(w.others[0]+"/"+account.Name)))
		},
	})
}

// TestEchoed : providers repeat what they were sent in the descriptions of their errors; nobody gets to see that.
func TestEchoed(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"a device code":             deviceEchoed,
		"assertions and tokens":     sourcesEchoed,
		"a client assertion":        assertionEchoed,
		"a token that is looked at": introspectionEchoed,
	})
}

func failing(c *v1alpha1.OAuthConnection) error {
	if c.Status.Failure == nil {
		return errors.New("want a failure")
	}
	return nil
}

func deviceEchoed(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	server.Always(record.Filter{Endpoint: record.Token}, hostile.EchoSecrets(http.StatusBadRequest, "access_denied"))
	w.subject(t, server, server.URL, byDevice).wait(t, failing, says("access_denied"))
}

func sourcesEchoed(t *testing.T, w *world) {
	server, key := w.trusting(t, harness.Options{})
	origin := w.connected(t, server, server.URL)
	server.Always(record.Filter{Endpoint: record.Token}, hostile.EchoSecrets(http.StatusBadRequest, "invalid_request"))
	given := secret(w.namespace, w.name(), map[string]string{
		"assertion": w.assertion(t, server, key, "alice", time.Hour), "tls.key": keyPEM(t, key), "word": "word-that-is-confidential",
	})
	w.mustNotShow("word-that-is-confidential")
	create(t, given)
	for _, change := range []func(*v1alpha1.OAuthConnectionSpec){
		assertionFrom(given.Name),
		signedBy(v1alpha1.SignedAssertion{KeySecretRef: v1alpha1.SecretKeyReference{Name: given.Name}, Issuer: signerName}),
		exchanging(tokenOf(origin.name)),
		extending(v1alpha1.ExtensionParameter{Name: "word", SecretKeyRef: &v1alpha1.SecretKeyReference{Name: given.Name, Key: "word"}}),
	} {
		name := w.name()
		create(t, connection(w.namespace, name, origin.name, change))
		waitConnection(t, w.namespace, name, all(failing, says("invalid_request")))
	}
}

func assertionEchoed(t *testing.T, w *world) {
	server, key := w.hostile(t, clientWith(hostile.PrivateKeyJWT)), newECKey(t, elliptic.P256())
	if err := server.TrustKey(harness.DefaultClient().ID, hostile.Key{Public: key.Public()}); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []record.Endpoint{record.Token, record.DeviceAuthorization} {
		server.Always(record.Filter{Endpoint: endpoint}, hostile.EchoSecrets(http.StatusUnauthorized, "invalid_client"))
	}
	s := w.clientOf(t, server, server.URL, map[string]string{"tls.key": keyPEM(t, key)}, byPrivateKey(nil), clientCredentials)
	s.wait(t, failing, says("invalid_client"))
	name := w.name()
	create(t, connection(w.namespace, name, s.name, byDevice))
	waitConnection(t, w.namespace, name, says("invalid_client"))
}

func introspectionEchoed(t *testing.T, w *world) {
	server := w.withoutRefresh(t, harness.Options{})
	server.Always(introspections(), hostile.EchoSecrets(http.StatusBadRequest, "invalid_request"))
	server.Always(record.Filter{Endpoint: record.Revoke}, hostile.EchoSecrets(http.StatusBadRequest, "invalid_request"))
	s := w.checked(t, server, server.URL, checkedBy(v1alpha1.StatusCheckIntrospection))
	s.asks(t, introspections())
	s.delete(t)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventRevocationFailed)
}
