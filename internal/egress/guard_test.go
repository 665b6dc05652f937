// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func newGuard(t *testing.T, policy Policy) *Guard {
	t.Helper()
	guard, err := New(policy)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

func TestAddresses(t *testing.T) {
	tests := map[string]bool{ // whether the address may be reached without any flag
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.255.255.254": false, "::1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"100.64.0.1": false, "100.127.255.255": false,
		"169.254.169.254": false, "169.254.170.2": false, "100.100.100.200": false, "192.0.0.192": false, "168.63.129.16": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:0.0.0.0": false,
		"::127.0.0.1": false,
		"fe80::1":     false, "fe80::1%eth0": false, "fec0::1": false, "fc00::": false, "fd00:ec2::254": false,
		"64:ff9b::7f00:1": false, "64:ff9b::808:808": false, "64:ff9b:1::1": false,
		"2002:7f00:1::": false, "2002:7f00:0001::": false, "2001:0:7f00:1::": false, "2001:db8::1": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "ff02::1": false,
		"192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "3fff::1": false,
		"2606:4700::1111%eth0": false,
	}
	guard := newGuard(t, Policy{})
	for text, want := range tests {
		address := netip.MustParseAddr(text)
		err := guard.check("provider.test", address, false)
		if got := err == nil; got != want {
			t.Errorf("%s may be reached: %t, want %t (%v)", text, got, want, err)
		}
		if blocked := (*BlockedError)(nil); err != nil && (!errors.As(err, &blocked) || blocked.Host != "provider.test" ||
			blocked.Address != address.Unmap().String() || !strings.Contains(err.Error(), FlagAllow)) {
			t.Errorf("%s: the error does not tell what to do: %v", text, err)
		}
		if err := guard.check("provider.test", address, true); err == nil {
			t.Errorf("%s may be reached over plain http without permission", text)
		}
	}
}

func TestPolicy(t *testing.T) {
	tests := []struct {
		reason  string
		policy  Policy
		host    string
		address string
		plain   bool
		want    bool
	}{
		{"an allowed network", Policy{AllowPrivate: []string{"10.0.0.0/8"}}, "x.test", "10.9.8.7", false, true},
		{"also over plain http", Policy{AllowPrivate: []string{"10.0.0.0/8"}}, "x.test", "10.9.8.7", true, true},
		{"and nothing beside it", Policy{AllowPrivate: []string{"10.0.0.0/8"}}, "x.test", "11.0.0.1", true, false},
		{"an allowed address", Policy{AllowPrivate: []string{" 127.0.0.1 "}}, "x.test", "127.0.0.1", false, true},
		{"only that address", Policy{AllowPrivate: []string{"127.0.0.1"}}, "x.test", "127.0.0.2", false, false},
		{"host bits in a CIDR", Policy{AllowPrivate: []string{"10.1.2.3/8"}}, "x.test", "10.9.9.9", false, true},
		{"IPv4 written as IPv6", Policy{AllowPrivate: []string{"::ffff:10.0.0.0/104"}}, "x.test", "10.1.1.1", false, true},
		{"an IPv6 network", Policy{AllowPrivate: []string{"fd00::/8"}}, "x.test", "fd00::1", true, true},
		{"an IPv4 network covers mapped addresses", Policy{AllowPrivate: []string{"10.0.0.0/8"}}, "x.test", "::ffff:10.0.0.1", false, true},
		{"an allowed host", Policy{AllowPrivate: []string{"Keycloak.Example.COM."}}, "keycloak.example.com", "10.0.0.1", true, true},
		{"not its subdomains", Policy{AllowPrivate: []string{"example.com"}}, "a.example.com", "10.0.0.1", false, false},
		{"a denied public network", Policy{Deny: []string{"8.8.8.0/24"}}, "x.test", "8.8.8.8", false, false},
		{"a denied address", Policy{Deny: []string{"8.8.8.8"}}, "x.test", "8.8.8.8", false, false},
		{"a denied IPv6 network", Policy{Deny: []string{"2606:4700::/32"}}, "x.test", "2606:4700::1", false, false},
		{"allow wins over deny", Policy{AllowPrivate: []string{"8.8.8.8"}, Deny: []string{"8.8.8.0/24"}}, "x.test", "8.8.8.8", false, true},
		{"an allowed host wins over deny", Policy{AllowPrivate: []string{"x.test"}, Deny: []string{"0.0.0.0/0"}}, "x.test", "8.8.8.8", false, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			err := newGuard(t, test.policy).check(test.host, netip.MustParseAddr(test.address), test.plain)
			if got := err == nil; got != test.want {
				t.Errorf("may be reached: %t, want %t (%v)", got, test.want, err)
			}
		})
	}
	denied := newGuard(t, Policy{Deny: []string{"8.8.8.8"}}).check("x.test", netip.MustParseAddr("8.8.8.8"), false)
	if denied == nil || !strings.Contains(denied.Error(), FlagDeny) {
		t.Errorf("the error does not name %s: %v", FlagDeny, denied)
	}
}

func TestPolicyErrors(t *testing.T) {
	for _, entry := range []string{
		"", "10.0.0.0/33", "10.0.0.256", "https://example.com", "example.com:443", "*.example.com", "a b", "fe80::1%eth0",
		"2130706433", "0x7f.1", "127.1", "a..b", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 127) + "com",
	} {
		_, err := New(Policy{AllowPrivate: []string{"10.0.0.0/8", entry}})
		if err == nil || !strings.Contains(err.Error(), FlagAllow) || !strings.Contains(err.Error(), entry) {
			t.Errorf("allow %q: the error does not name flag and entry: %v", entry, err)
		}
	}
	for _, entry := range []string{"example.com", "10.0.0.0/33", ""} {
		_, err := New(Policy{Deny: []string{entry}})
		if err == nil || !strings.Contains(err.Error(), FlagDeny) || !strings.Contains(err.Error(), entry) {
			t.Errorf("deny %q: the error does not name flag and entry: %v", entry, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	none := Policy{}
	private := Policy{AllowPrivate: []string{"10.0.0.0/8"}}
	loopback := Policy{AllowPrivate: []string{"127.0.0.0/8"}}
	host := Policy{AllowPrivate: []string{"hydra.example"}}
	tests := []struct {
		url     string
		policy  Policy
		blocked bool
		invalid bool
	}{
		{url: "https://provider.example/token?tenant=1", policy: none},
		{url: "https://provider.example:8443/token", policy: none},
		{url: "https://8.8.8.8/token", policy: none},
		{url: "https://[2606:4700::1111]/token", policy: none},
		{url: "https://bücher.example/token", policy: none},
		{url: "http://provider.example/token", policy: none, blocked: true},
		{url: "http://provider.example/token", policy: private},
		{url: "http://hydra.example/token", policy: host},
		{url: "HTTP://HYDRA.example./token", policy: host},
		{url: "http://other.example/token", policy: host, blocked: true},
		{url: "http://8.8.8.8/token", policy: none, blocked: true},
		{url: "http://10.1.2.3/token", policy: private},
		{url: "https://127.0.0.1/token", policy: none, blocked: true},
		{url: "https://[::ffff:127.0.0.1]/", policy: none, blocked: true},
		{url: "https://[::]/", policy: none, blocked: true},
		{url: "https://0.0.0.0/", policy: none, blocked: true},
		{url: "https://169.254.169.254/latest", policy: none, blocked: true},
		{url: "https://[fe80::1%25eth0]/", policy: none, blocked: true},
		{url: "https://2130706433/", policy: none, blocked: true},
		{url: "http://2130706433/", policy: private, blocked: true},
		{url: "https://0x7f.1/", policy: none, blocked: true},
		{url: "https://0x7f000001/", policy: none, blocked: true},
		{url: "https://0177.0.0.1/", policy: none, blocked: true},
		{url: "https://127.1/", policy: none, blocked: true},
		{url: "https://127.0.0.1./", policy: none, blocked: true},
		{url: "https://localhost/", policy: none, blocked: true},
		{url: "https://LOCALHOST./", policy: none, blocked: true},
		{url: "https://a.localhost/", policy: none, blocked: true},
		{url: "http://localhost:4444/", policy: loopback},
		{url: "https://localhost/", policy: private, blocked: true},
		{url: "", policy: none, invalid: true},
		{url: "/token", policy: none, invalid: true},
		{url: "//provider.example/token", policy: none, invalid: true},
		{url: "ftp://provider.example/", policy: none, invalid: true},
		{url: "https:provider.example", policy: none, invalid: true},
		{url: "https:///token", policy: none, invalid: true},
		{url: "https://:443/token", policy: none, invalid: true},
		{url: "https://./token", policy: none, invalid: true},
		{url: "https://user:hunter22@provider.example/", policy: none, invalid: true},
		{url: "https://user:hunter22@provider.example:port/", policy: none, invalid: true},
		{url: "https://provider.example/#fragment", policy: none, invalid: true},
		{url: "https://provider.example/#", policy: none, invalid: true},
		{url: "https://provider.example:0/", policy: none, invalid: true},
		{url: "https://provider.example:65536/", policy: none, invalid: true},
		{url: "https://provider.example/\n", policy: none, invalid: true},
	}
	for _, test := range tests {
		err := newGuard(t, test.policy).CheckURL(test.url)
		blocked := (*BlockedError)(nil)
		if isBlocked := errors.As(err, &blocked); isBlocked != test.blocked || (err != nil && !isBlocked) != test.invalid {
			t.Errorf("CheckURL(%q) with %v = %v, want blocked %t, invalid %t", test.url, test.policy, err, test.blocked, test.invalid)
		}
		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

// target is a server on loopback that counts its requests.
func target(t *testing.T, start func(http.Handler) *httptest.Server) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var hits atomic.Int64
	server := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	return server, &hits
}

func get(t *testing.T, transport http.RoundTripper, url string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	_, readErr := io.Copy(io.Discard, response.Body) // Or the connection could not be kept if it were to be.
	return errors.Join(readErr, response.Body.Close())
}

func port(t *testing.T, server *httptest.Server) string {
	t.Helper()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestTransportRefusesLoopback(t *testing.T) {
	server, hits := target(t, httptest.NewServer)
	transport := newGuard(t, Policy{}).Transport(nil)
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"} {
		for _, scheme := range []string{"http", "https"} {
			if err := get(t, transport, scheme+"://"+host+":"+port(t, server)); err == nil {
				t.Errorf("%s://%s was reached", scheme, host)
			}
		}
	}
	err := get(t, transport, server.URL)
	if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) || blocked.Address != "127.0.0.1" {
		t.Errorf("err = %v, want a BlockedError for 127.0.0.1", err)
	}
	if hits.Load() != 0 {
		t.Errorf("the server got %d requests", hits.Load())
	}
}

func TestDNSThatChangesItsMind(t *testing.T) {
	server, hits := target(t, httptest.NewServer)
	dns, resolver := startDNS(t)
	guard := newGuard(t, Policy{AllowPrivate: []string{"10.0.0.0/8"}})
	guard.dialer.Resolver = resolver
	url := "http://rebind.test:" + port(t, server)

	dns.set("rebind.test.", "10.0.0.1")
	if err := guard.CheckURL(url); err != nil {
		t.Fatalf("while the name is harmless: %v", err)
	}
	dns.set("rebind.test.", "127.0.0.1")
	err := get(t, guard.Transport(nil), url)
	blocked := (*BlockedError)(nil)
	if !errors.As(err, &blocked) || blocked.Host != "rebind.test" || blocked.Address != "127.0.0.1" {
		t.Errorf("err = %v, want rebind.test (127.0.0.1) to be refused", err)
	}
	if hits.Load() != 0 || dns.queried() == 0 {
		t.Errorf("the server got %d requests after %d queries", hits.Load(), dns.queried())
	}
}

func TestTransportAllows(t *testing.T) {
	plain, plainHits := target(t, httptest.NewServer)
	secure, secureHits := target(t, httptest.NewTLSServer)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	dns, resolver := startDNS(t)
	dns.set("example.com.", "127.0.0.1")

	for name, entry := range map[string]string{"a host": "EXAMPLE.com.", "a network": "127.0.0.0/8"} {
		guard := newGuard(t, Policy{AllowPrivate: []string{entry}})
		guard.dialer.Resolver = resolver
		transport := guard.Transport(roots)
		if err := get(t, transport, "http://example.com:"+port(t, plain)); err != nil {
			t.Errorf("plain http to %s: %v", name, err)
		}
		if err := get(t, transport, "https://example.com:"+port(t, secure)); err != nil {
			t.Errorf("https to %s: %v", name, err)
		}
	}
	if plainHits.Load() != 2 || secureHits.Load() != 2 {
		t.Errorf("requests: %d plain, %d secure; want 2 each", plainHits.Load(), secureHits.Load())
	}
}

func TestRedirectIntoPrivateNetwork(t *testing.T) {
	inside, hits := target(t, httptest.NewServer)
	outside := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:"+port(t, inside), http.StatusFound))
	t.Cleanup(outside.Close)
	err := get(t, newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).Transport(nil), outside.URL)
	if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) || blocked.Address != "127.0.0.2" || hits.Load() != 0 {
		t.Errorf("err = %v, want 127.0.0.2 to be refused", err)
	}
}

func TestTLS(t *testing.T) {
	server, hits := target(t, httptest.NewTLSServer)
	old, oldHits := target(t, func(handler http.Handler) *httptest.Server {
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // the old server under test
		server.StartTLS()
		return server
	})
	guard := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}})
	if err := get(t, guard.Transport(nil), server.URL); !isUnknownAuthority(err) {
		t.Errorf("a certificate that the system does not know: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(old.Certificate())
	if err := get(t, guard.Transport(roots), old.URL); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if hits.Load()+oldHits.Load() != 0 {
		t.Error("a request was sent although the handshake failed")
	}
}

func isUnknownAuthority(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// A proxy would resolve and connect in the guard's stead.
func TestNoProxy(t *testing.T) {
	proxy, hits := target(t, httptest.NewServer)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	transport := newGuard(t, Policy{}).Transport(nil)
	if transport.Proxy != nil {
		t.Error("the transport has a proxy function")
	}
	if err := get(t, transport, "http://10.0.0.1/"); err == nil || hits.Load() != 0 {
		t.Errorf("err = %v with %d requests at the proxy", err, hits.Load())
	}
}

func TestEachRequestHasItsConnection(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	transport := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).Transport(nil)
	for range 3 {
		if err := get(t, transport, server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 3 {
		t.Errorf("%d connections for 3 requests: a kept one can break under a token request", connections.Load())
	}
}

func TestPool(t *testing.T) {
	server, _ := target(t, httptest.NewTLSServer)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	pool := NewTransportPool(newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}), 2)
	forCA := func(bundle []byte) http.RoundTripper {
		t.Helper()
		transport, err := pool.ForCA(bundle)
		if err != nil {
			t.Fatal(err)
		}
		return transport
	}
	trusting, system := forCA(bundle), forCA(nil)
	if forCA(bundle) != trusting || forCA([]byte(" \n")) != system || trusting == system {
		t.Error("not one transport for each bundle")
	}
	if err := get(t, trusting, server.URL); err != nil {
		t.Errorf("the bundle is not trusted: %v", err)
	}
	if err := get(t, system, server.URL); !isUnknownAuthority(err) {
		t.Errorf("the system's roots: %v", err)
	}
	forCA(append([]byte("# a third one\n"), bundle...))
	if forCA(bundle) == trusting {
		t.Error("the pool keeps more than its size")
	}
}

func TestPoolErrors(t *testing.T) {
	pool := NewTransportPool(newGuard(t, Policy{}), 0)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})
	for reason, bundle := range map[string][]byte{
		"no PEM":              []byte("canary"),
		"a key":               key,
		"a broken certifcate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("canary")}),
	} {
		if _, err := pool.ForCA(bundle); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// clientCertificate makes a self-signed certificate and its key.
func clientCertificate(t *testing.T, name string) (certificate *x509.Certificate, pair sensitive.String) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, sensitive.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func TestPoolShowsTheClientCertificate(t *testing.T) {
	var shown atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		shown.Store("")
		if peers := request.TLS.PeerCertificates; len(peers) > 0 {
			shown.Store(peers[0].Subject.CommonName)
		}
	}))
	other, _ := clientCertificate(t, "other")
	authorities := x509.NewCertPool()
	authorities.AddCert(other)
	// The server names another authority than the certificate's own, and judges the certificate itself.
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, ClientCAs: authorities}
	server.StartTLS()
	defer server.Close()
	pool := NewTransportPool(newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}), 0)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	_, crm := clientCertificate(t, "crm")
	_, renewed := clientCertificate(t, "renewed")
	seen := map[http.RoundTripper]bool{}
	for _, test := range []struct {
		certificate sensitive.String
		want        string
	}{{crm, "crm"}, {sensitive.String{}, ""}, {renewed, "renewed"}} {
		transport, err := pool.For(Trust{CA: bundle, Certificate: test.certificate})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := pool.For(Trust{CA: bundle, Certificate: test.certificate}); err != nil || again != transport || seen[transport] {
			t.Errorf("%q: not one transport for each certificate: %v", test.want, err)
		}
		seen[transport] = true
		for range 2 { // The second handshake resumes the first one's session.
			if err := get(t, transport, server.URL); err != nil || shown.Load() != test.want {
				t.Errorf("the server saw %q, want %q: %v", shown.Load(), test.want, err)
			}
		}
	}
}

func TestPoolRefusesBrokenClientCertificates(t *testing.T) {
	pool := NewTransportPool(newGuard(t, Policy{}), 0)
	one, pair := clientCertificate(t, "crm")
	_, other := clientCertificate(t, "crm")
	key, _, _ := strings.Cut(other.Reveal(), "-----BEGIN CERTIFICATE")
	for reason, certificate := range map[string]string{
		"no PEM":         "canary",
		"a key alone":    key,
		"another's key":  key + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})),
		"a broken chain": strings.Replace(pair.Reveal(), "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\ncanary\n", 1),
	} {
		if _, err := pool.For(Trust{Certificate: sensitive.New(certificate)}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestDialEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}})
	if _, err := guard.dial(ctx, "tcp", "127.0.0.1:1", false); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
