// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
)

func TestMethods(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	for path, want := range map[string]string{
		"/connect/a/b": "GET, POST", "/oauth2/callback": "GET", "/oauth2/result/x": "GET", "/webhooks/a/b": "POST", "/assets/x": "GET, HEAD",
	} {
		p := person.request(http.MethodDelete, external+path, nil).shows(pages.MethodNotAllowed)
		if got := p.header.Get("Allow"); got != want {
			t.Errorf("%s: Allow %q, want %q", path, got, want)
		}
	}
	person.request(http.MethodDelete, external+"/nothing", nil).shows(pages.NotFound)
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	g := w.gateway()
	person := w.browser(g)
	person.headers = map[string]string{"X-Large": strings.Repeat("x", 24<<10)}
	if p := person.get(external + "/oauth2/callback"); p.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: status %d", p.status)
	}
	person.headers = nil
	if p := person.get(external + "/oauth2/callback?state=" + strings.Repeat("x", 24<<10)); p.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long query: status %d", p.status)
	}
	link := w.connection.Status.AuthorizationURL
	f := person.get(link).form()
	for reason, length := range map[string]int64{"a giant body": 64 << 20, "one of unknown length": -1} {
		address, err := url.Parse(f.action)
		w.must(err)
		address.Scheme, address.Host = "http", g.public
		source := &endless{}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address.String(), io.LimitReader(source, 64<<20))
		w.must(err)
		request.ContentLength = length
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if err == nil && response.StatusCode < http.StatusBadRequest {
			t.Errorf("%s: status %d", reason, response.StatusCode)
		}
		if read := source.read.Load(); read > 8<<20 {
			t.Errorf("%s: %d bytes were taken", reason, read)
		}
	}
}

// endless is a form without end.
type endless struct{ read atomic.Int64 }

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte("a"), len(p)))
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func TestLimitsForEachAddress(t *testing.T) {
	w := newWorld(t)
	g := w.gateway()
	person, neighbour, sameNetwork := w.browser(g), w.browser(g), w.browser(g)
	person.from, neighbour.from, sameNetwork.from = "203.0.113.7", "203.0.113.8", "198.51.100.1, 203.0.113.7"
	for i := range 40 {
		if p := person.get(external + "/nothing"); p.status != http.StatusNotFound {
			t.Fatalf("request %d: status %d", i, p.status)
		}
	}
	p := person.get(external + "/nothing").shows(pages.TooManyRequests)
	if got := p.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q", got)
	}
	// What a client says of itself counts for nothing: the proxy has written the last address.
	sameNetwork.get(external + "/nothing").shows(pages.TooManyRequests)
	neighbour.get(external + "/nothing").shows(pages.NotFound)
	person.get(external + "/oauth2/callback").shows(pages.BadRequest)
	for range 19 {
		person.get(external + "/oauth2/callback")
	}
	person.get(external + "/oauth2/callback").shows(pages.TooManyRequests)
	person.post(external+"/connect/a/b", nil).shows(pages.TooManyRequests)
	if p := person.post(external+"/webhooks/a/b", nil); p.status != http.StatusNotFound {
		t.Errorf("webhook: status %d", p.status)
	}
	w.clock.Step(time.Second)
	for range 5 {
		person.get(external + "/nothing").shows(pages.NotFound)
	}
	person.get(external + "/nothing").shows(pages.TooManyRequests)
	w.metric(g, `oauth_operator_gateway_requests_limited_total{by="address"} 5`)
}

// Without trusted proxies nobody's word about addresses is taken.
func TestLimitsWithoutProxies(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway(func(o *gateway.Options) { o.TrustedProxies = nil }))
	for i := range 40 {
		person.from = fmt.Sprintf("203.0.113.%d", i)
		person.get(external + "/nothing").shows(pages.NotFound)
	}
	person.get(external + "/nothing").shows(pages.TooManyRequests)
}

func TestLimitsForEachConnection(t *testing.T) {
	w := newWorld(t)
	other := w.createConnection("other")
	g := w.gateway()
	person := w.browser(g)
	number := 0
	elsewhere := func() { // Another address each time.
		number++
		person.from = fmt.Sprintf("2001:db8:0:%x::1", number)
	}
	authorization := person.depart()
	f := person.get(w.connection.Status.AuthorizationURL).form()
	for range 19 {
		elsewhere()
		person.submit(f).redirects(w.provider.URL)
	}
	elsewhere()
	person.submit(f).shows(pages.TooManyRequests)
	elsewhere()
	if p := person.back(authorization, code()).shows(pages.TooManyRequests); p.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
	}
	if len(w.messages()) != 0 {
		t.Error("the login was used up")
	}
	elsewhere()
	person.submit(person.get(other.Status.AuthorizationURL).form()).redirects(w.provider.URL)
	w.metric(g, `oauth_operator_gateway_requests_limited_total{by="connection"} 2`)
	w.clock.Step(2 * time.Second)
	elsewhere()
	// Its cookie was the oldest of more than twenty, so another login must show that the way is free.
	person.submit(f).redirects(w.provider.URL)
}

// metric fails the test unless the gateway's metrics have a line.
func (w *world) metric(g *running, line string) {
	w.t.Helper()
	if _, text := fetch(w.t, "http://"+g.probes+"/metrics"); !slices.Contains(strings.Split(text, "\n"), line) {
		w.t.Errorf("no metric %q in:\n%s", line, filtered(text, "oauth_operator_gateway"))
	}
}

func filtered(text, word string) string {
	lines := strings.Split(text, "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return !strings.Contains(line, word) || strings.HasPrefix(line, "#") || strings.HasSuffix(line, " 0")
	})
	return strings.Join(lines, "\n")
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	g := w.gateway()
	person := w.browser(g)
	person.back(person.depart(), code())
	person.back(person.depart(), url.Values{"error": {"access_denied"}})
	person.get(external + "/connect/a/b")
	for _, line := range []string{
		`oauth_operator_gateway_logins_total{result="shown"} 2`,
		`oauth_operator_gateway_logins_total{result="started"} 2`,
		`oauth_operator_gateway_logins_total{result="bad_link"} 1`,
		`oauth_operator_gateway_callbacks_total{result="code"} 1`,
		`oauth_operator_gateway_callbacks_total{result="denied"} 1`,
		`oauth_operator_gateway_request_duration_seconds_count{code="3xx",route="callback"} 2`,
		`oauth_operator_gateway_request_duration_seconds_count{code="4xx",route="connect"} 1`,
	} {
		w.metric(g, line)
	}
}

// A gateway that cannot serve says so, and why.
func TestReadiness(t *testing.T) {
	w := newWorld(t)
	nowhere := rest.CopyConfig(installed)
	nowhere.Host = "https://" + strings.TrimPrefix(w.provider.URL, "http://") // Nobody answers there.
	nowhere.Timeout = time.Second
	away := w.start(nowhere)
	if status, text := fetch(t, "http://"+away.probes+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "caches") {
		t.Errorf("without an API server: status %d: %s", status, text)
	}
	if status, _ := fetch(t, "http://"+away.probes+"/healthz"); status != http.StatusOK {
		t.Errorf("without an API server it does not live: status %d", status)
	}
	person := w.browser(away)
	person.get(w.connection.Status.AuthorizationURL).shows(pages.ServerError)
	if p := person.post(external+"/webhooks/a/b", nil); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" {
		t.Errorf("webhook: status %d", p.status)
	}

	empty := t.TempDir()
	g := w.start(installed, func(o *gateway.Options) { o.KeysDir = empty })
	probe := func(want int, word string) error {
		if status, text := fetch(t, "http://"+g.probes+"/readyz"); status != want || !strings.Contains(text, word) {
			return fmt.Errorf("status %d: %s", status, text)
		}
		return nil
	}
	w.eventually(func() error { return probe(http.StatusServiceUnavailable, keyset.FileSealing) })
	content, err := os.ReadFile(filepath.Join(w.keysDir, keyset.FileSealing))
	w.must(err)
	w.must(os.WriteFile(filepath.Join(empty, "new"), content, 0o600))
	w.must(os.Rename(filepath.Join(empty, "new"), filepath.Join(empty, keyset.FileSealing)))
	w.eventually(func() error { return probe(http.StatusOK, "ok") })
	w.browser(g).depart()
}

// Without --keys-dir one process serves logins by a key of its own, and no webhooks.
func TestKeyOfTheProcess(t *testing.T) {
	w := newWorld(t)
	g := w.gateway(func(o *gateway.Options) { o.KeysDir = "" })
	person := w.browser(g)
	authorization := person.depart()
	other := w.gateway(func(o *gateway.Options) { o.KeysDir = "" })
	person.via(other).back(authorization, code()).shows(pages.BadRequest)
	person.via(g).back(authorization, code()).redirects(external)
	if p := person.post(external+"/webhooks/a/b", nil); p.status != http.StatusServiceUnavailable {
		t.Errorf("webhook: status %d", p.status)
	}
}

// When the process is to end, whoever waits is sent to another one, and what is under way is finished.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	g, other := w.gateway(), w.gateway()
	person := w.browser(g)
	address, login := person.login()
	shown := person.async(address)
	w.held()
	g.stop()
	p := (<-shown).shows(pages.Waiting)
	if got := group(t, refresh, p.text); got != address {
		t.Errorf("the page goes on to %s", got)
	}
	if err := <-g.done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	g.done <- nil
	if _, err := person.try(http.MethodGet, address, nil); err == nil {
		t.Error("it takes connections still")
	}
	w.outcome(login, v1alpha1.AuthorizationSucceeded, "", "")
	person.via(other)
	w.eventuallyShows(person, address, pages.Success)
}

// Readiness ends before the server does.
func TestReadinessEndsFirst(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	g := w.start(w.wrapped(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			entered <- struct{}{}
			<-release
		}
		return next.RoundTrip(r)
	}))
	w.eventually(func() error {
		if status, text := fetch(t, "http://"+g.probes+"/readyz"); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
	person := w.browser(g)
	query := url.Values{"state": person.depart().Query()["state"], "code": {"code-1"}}
	shown := person.async(external + "/oauth2/callback?" + query.Encode())
	<-entered
	g.stop()
	w.eventually(func() error {
		if status, text := fetch(t, "http://"+g.probes+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "ending") {
			return fmt.Errorf("status %d: %s", status, text)
		}
		return nil
	})
	close(release)
	(<-shown).redirects(external + "/oauth2/result/")
	w.message("")
}

// wrapped is the gateway's account, with something between it and the API server.
func (w *world) wrapped(between func(next http.RoundTripper, r *http.Request) (*http.Response, error)) *rest.Config {
	config := rest.CopyConfig(installed)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return between(next, r) })
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A code is worth some patience with the API server: an answer that was lost is no replay.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int64
	g := w.start(w.wrapped(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost {
			return next.RoundTrip(r)
		}
		switch calls.Add(1) {
		case 1: // The request does not arrive.
			return nil, errors.New("no route to host")
		case 2: // It does, and the answer does not.
			response, err := next.RoundTrip(r)
			if err == nil {
				_ = response.Body.Close()
			}
			return nil, errors.New("connection reset by peer")
		}
		return next.RoundTrip(r)
	}))
	person := w.browser(g)
	w.eventually(func() error {
		if status, text := fetch(t, "http://"+g.probes+"/readyz"); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
	query := url.Values{"state": person.depart().Query()["state"], "code": {"code-1"}}
	shown := person.async(external + "/oauth2/callback?" + query.Encode())
	for range 2 {
		w.held()
		w.clock.Step(time.Second)
	}
	(<-shown).redirects(external + "/oauth2/result/")
	w.message("")
	person.callback(query).shows(pages.Replayed)
	if got := calls.Load(); got != 5 {
		t.Errorf("%d calls, want three for the code, one for the replay, and its report", got)
	}
}

// An API server that is away for long: the person can try again, and nothing was stored.
func TestAPIServerAway(t *testing.T) {
	w := newWorld(t)
	var down atomic.Bool
	g := w.start(w.wrapped(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost && down.Load() {
			return nil, fmt.Errorf("no route to host; request with %v", r.ContentLength)
		}
		return next.RoundTrip(r)
	}))
	person := w.browser(g)
	w.eventually(func() error {
		if status, text := fetch(t, "http://"+g.probes+"/readyz"); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
	authorization, answer := person.depart(), code()
	down.Store(true)
	person.back(authorization, answer).shows(pages.ServerError).contains("nothing was stored").contains("Try again")
	down.Store(false)
	person.back(authorization, answer).redirects(external + "/oauth2/result/")
	w.message("")
}

// A new certificate is served without a restart, and HTTP/2 with it.
func TestTLS(t *testing.T) {
	w := newWorld(t)
	directory := t.TempDir()
	certFile, keyFile := filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	first := writeCertificate(t, certFile, keyFile)
	g := w.gateway(func(o *gateway.Options) { o.TLSCertFile, o.TLSPrivateKeyFile = certFile, keyFile })
	handshake := func(config *tls.Config) (tls.ConnectionState, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		connection, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", g.public)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer func() { _ = connection.Close() }()
		secure, ok := connection.(*tls.Conn)
		if !ok {
			return tls.ConnectionState{}, errors.New("no TLS")
		}
		return secure.ConnectionState(), nil
	}
	serves := func(want []byte) error {
		pool := x509.NewCertPool()
		certificate, err := x509.ParseCertificate(want)
		w.must(err)
		pool.AddCert(certificate)
		state, err := handshake(&tls.Config{RootCAs: pool, ServerName: "oauth.example.test", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
		if err == nil && state.NegotiatedProtocol != "h2" {
			t.Errorf("protocol %q", state.NegotiatedProtocol)
		}
		return err
	}
	w.must(serves(first))
	second := writeCertificate(t, certFile, keyFile)
	w.eventually(func() error { return serves(second) })
	if _, err := handshake(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // It has to be refused.
		t.Error("TLS 1.1 is spoken")
	}
}

func writeCertificate(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "oauth.example.test"}, DNSNames: []string{"oauth.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		keyFile: {Type: "PRIVATE KEY", Bytes: encoded}, certFile: {Type: "CERTIFICATE", Bytes: certificate},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}

// What cannot work is said before anything runs.
func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		reason, want string
		change       func(*gateway.Options)
	}{
		{"no external URL", "external URL", func(o *gateway.Options) { o.ExternalURL = "" }},
		{"proxies", "trusted proxies", func(o *gateway.Options) { o.TrustedProxies = []string{"nonsense"} }},
		{"half a certificate", "go together", func(o *gateway.Options) { o.TLSCertFile = "x" }},
		{"no certificate", "read the certificate", func(o *gateway.Options) { o.TLSCertFile, o.TLSPrivateKeyFile = "/none", "/none" }},
		{"a logo", "logo", func(o *gateway.Options) { o.LogoURL = "ftp://x" }},
	} {
		w := &world{t: t, log: &lines{}}
		options := w.options()
		test.change(&options)
		if _, err := gateway.New(installed, options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.reason, err)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	w := newWorld(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	defer func() { _ = taken.Close() }()
	for _, change := range []func(*gateway.Options){
		func(o *gateway.Options) { o.BindAddress = taken.Addr().String() },
		func(o *gateway.Options) { o.HealthProbeBindAddress = taken.Addr().String() },
	} {
		options := w.options()
		change(&options)
		process, err := gateway.New(installed, options)
		w.must(err)
		if err := process.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen") {
			t.Errorf("it runs: %v", err)
		}
	}
}

func TestProbesOff(t *testing.T) {
	w := newWorld(t)
	g := w.start(installed, func(o *gateway.Options) { o.HealthProbeBindAddress = "0" })
	if g.probes != "" {
		t.Errorf("probes at %s", g.probes)
	}
	person := w.browser(g)
	w.eventually(func() error {
		if p := person.patient(w.connection.Status.AuthorizationURL); p.status != http.StatusOK {
			return fmt.Errorf("status %d", p.status)
		}
		return nil
	})
}

func TestParseExternalURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://oauth.example.com":       "https://oauth.example.com",
		"https://oauth.example.com/":      "https://oauth.example.com",
		"https://OAuth.Example.com/a/b/":  "https://oauth.example.com/a/b",
		"https://oauth.example.com:8443":  "https://oauth.example.com:8443",
		"http://localhost:8080":           "http://localhost:8080",
		"http://127.0.0.2":                "http://127.0.0.2",
		"http://[::1]:8080/x":             "http://[::1]:8080/x",
		"":                                "",
		"oauth.example.com":               "",
		"https://":                        "",
		"https:///x":                      "",
		"http://oauth.example.com":        "",
		"http://localhost.evil.example":   "",
		"ftp://oauth.example.com":         "",
		"https://a@oauth.example.com":     "",
		"https://oauth.example.com?x":     "",
		"https://oauth.example.com/?":     "",
		"https://oauth.example.com#x":     "",
		"https://oauth.example.com/../x":  "",
		"https://oauth.example.com//x":    "",
		"https://oauth.example.com/a%2Fb": "",
		"https://oauth.example.com/{x}":   "",
		"https://oauth.example.com/a b":   "",
		"https://oauth.example.com/%zz":   "",
		"javascript:alert(1)":             "",
	} {
		got, err := gateway.ParseExternalURL(raw)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v; want %q", raw, got, err, want)
		}
	}
}
