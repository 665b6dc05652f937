// SPDX-License-Identifier: Apache-2.0

package rest_test

import (
	"bufio"
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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	restclient "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/rest"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/openapi"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// Nobody without a token for this audience gets anywhere, not even to learn what is served where.
func TestUnauthenticated(t *testing.T) {
	w := newWorld(t)
	a := w.api()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ledger"}}
	strangers := map[string]*caller{
		"no token": nil, "no token of Kubernetes": {token: "x.y.z"},
		"a token for the API server": {token: w.token(account)}, "a token for somebody else": {token: w.token(account, "vault")},
	}
	for who, stranger := range strangers {
		for _, path := range []string{
			"/oauth_connections", "/oauth_applications/x", "/api/integrations/a.b/connection", "/api/integrations/a.b/request/x", "/nothing", "//x",
		} {
			got := a.do(stranger, http.MethodDelete, path, nil)
			a.wants(who+" at "+path, got, problem.Unauthenticated)
			if !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s at %s: WWW-Authenticate %q", who, path, got.header.Get("WWW-Authenticate"))
			}
		}
	}
	if got := a.get(nil, openapi.Path); got.status != http.StatusOK || !strings.Contains(got.text, `"openapi": "3.1`) {
		t.Errorf("the description: status %d: %.100s", got.status, got.text)
	}
	if got := a.get(w.caller, "/oauth_connections"); got.status != http.StatusOK {
		t.Errorf("with a token: status %d: %s", got.status, got.text)
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	a := w.api()
	for path, want := range map[string]string{
		"/oauth_connections": "GET, HEAD", "/oauth_connections/x": "GET, HEAD", "/api/v1/oauth/connections": "GET, HEAD",
		"/oauth_applications": "GET, HEAD", "/oauth_applications/x": "GET, HEAD", "/api/integration-connections": "GET, HEAD",
		"/api/integrations/x/connect": "GET, POST", "/api/integrations/x/connection": "DELETE, GET, HEAD", openapi.Path: "GET, HEAD",
	} {
		got := a.do(w.caller, http.MethodPut, path, nil)
		a.wants(path, got, problem.MethodNotAllowed)
		if allow := got.header.Get("Allow"); allow != want {
			t.Errorf("%s: Allow %q, want %q", path, allow, want)
		}
	}
	if got := a.do(w.caller, http.MethodHead, "/oauth_connections", nil); got.status != http.StatusOK || got.text != "" {
		t.Errorf("HEAD: status %d: %s", got.status, got.text)
	}
}

// What is not there, and what is not clean, is not found: nobody is sent elsewhere with their token.
func TestUnknownPaths(t *testing.T) {
	w := newWorld(t)
	a := w.api()
	for _, path := range []string{
		"/", "/nothing", "//oauth_connections", "/oauth_connections/", "/./oauth_connections", "/x/../oauth_connections", "/oauth_connections/%2e%2e/x",
		"/api/integrations/x", "/api/integrations/x/", "/api/integrations/x/requests", "/api/integrations//request", "/api/%69ntegrations/x/connect/",
	} {
		a.wants(path, a.get(w.caller, path), problem.NotFound)
	}
}

// TestEveryOperationIsServed compares what is described with what is served.
func TestEveryOperationIsServed(t *testing.T) {
	w := newWorld(t)
	a := w.api()
	for _, operation := range openapi.Operations() {
		path := strings.NewReplacer("{id}", "none.none", "{path}", "x").Replace(operation.Path)
		got := a.do(w.caller, operation.Method, path, nil)
		if got.status == http.StatusMethodNotAllowed || strings.Contains(got.text, "nothing is served") {
			t.Errorf("%s %s is described: status %d: %s", operation.Method, operation.Path, got.status, got.text)
		}
	}
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	a := w.api(func(o *rest.Options) { o.BodyTimeout = 200 * time.Millisecond })
	if got := a.get(w.caller, "/oauth_connections", "X-Large", strings.Repeat("x", 80<<10)); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: status %d", got.status)
	}
	const connect = "/api/integrations/none.none/connect"
	giant := strings.NewReader(strings.Repeat("x", integrations.MaxBody+1))
	a.wants("a giant body", a.do(w.caller, http.MethodPost, connect, giant, "Content-Type", "application/json"), problem.TooLarge)
	// A body that never comes keeps nobody busy: neither where it is read, nor where it is not.
	for path, want := range map[string]int{connect: http.StatusBadRequest, "/oauth_connections": http.StatusMethodNotAllowed} {
		connection := w.dial(a)
		_, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
			path, w.caller.token)
		w.must(err)
		got, err := http.ReadResponse(bufio.NewReader(connection), nil)
		w.must(err)
		_ = got.Body.Close()
		if got.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, got.StatusCode, want)
		}
		if _, err := connection.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection is used again", path)
		}
	}
}

func (w *world) dial(a *api) net.Conn {
	w.t.Helper()
	connection, err := (&net.Dialer{Timeout: patience}).DialContext(w.t.Context(), "tcp", strings.TrimPrefix(a.url, "http://"))
	w.must(err)
	w.t.Cleanup(func() { _ = connection.Close() })
	w.must(connection.SetDeadline(time.Now().Add(patience)))
	return connection
}

// A process that cannot serve says so, and why.
func TestReadiness(t *testing.T) {
	w := newWorld(t)
	nowhere := restclient.CopyConfig(installed)
	nowhere.Host = "https://" + strings.TrimPrefix(w.provider.URL, "http://") // Nobody speaks TLS there.
	nowhere.Timeout = time.Second
	a := w.start(nowhere)
	w.must(a.probe(http.StatusServiceUnavailable, "caches"))
	if got, err := a.request(nil, http.MethodGet, a.probes+"/healthz", nil); err != nil || got.status != http.StatusOK {
		t.Errorf("without an API server it does not live: %v, %v", got, err)
	}
	got := a.get(w.caller, "/oauth_connections")
	a.wants("without an API server", got, problem.ClusterUnavailable)
	if got.header.Get("Retry-After") == "" {
		t.Error("nobody is told to come again")
	}
	if got := a.get(nil, openapi.Path); got.status != http.StatusOK {
		t.Errorf("the description: status %d", got.status)
	}
}

// When the process is to end, readiness ends first, what is under way is finished, and what streams on and on is cut.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	release, entered := make(chan struct{}), make(chan string, 2)
	w.answer = func(out http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			_, _ = io.WriteString(out, "data: 1\n\n")
			_ = http.NewResponseController(out).Flush()
			<-r.Context().Done()
			return
		}
		entered <- "short"
		<-release
		_, _ = io.WriteString(out, "whole")
	}
	a := w.api(func(o *rest.Options) { o.DrainTimeout = 2 * time.Second })
	short := make(chan *response, 1)
	go func() { short <- a.get(w.caller, w.proxied("/short")) }()
	<-entered
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+w.proxied("/stream"), nil)
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+w.caller.token)
	stream, err := http.DefaultTransport.RoundTrip(request)
	w.must(err)
	defer func() { _ = stream.Body.Close() }()
	first := make([]byte, len("data: 1\n\n"))
	_, err = io.ReadFull(stream.Body, first)
	w.must(err)

	a.stop()
	testenv.Eventually(t, patience, func() error { return a.probe(http.StatusServiceUnavailable, "ending") })
	close(release)
	if got := <-short; got.status != http.StatusOK || got.text != "whole" {
		t.Errorf("what was under way: status %d: %s", got.status, got.text)
	}
	if _, err := io.ReadAll(stream.Body); err == nil {
		t.Error("the stream looks as if it had ended by itself")
	}
	if err := <-a.done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	a.done <- nil
	audit := w.log.audit()
	if len(audit) != 2 || !slices.ContainsFunc(audit, func(line string) bool { return strings.Contains(line, `"aborted"=true`) }) {
		t.Errorf("the audit has:\n%s", strings.Join(audit, "\n"))
	}
	if _, err := a.request(w.caller, http.MethodGet, a.url+"/oauth_connections", nil); err == nil {
		t.Error("it takes connections still")
	}
}

// controlled is the way to the API server of a process that asks for two things: another token, which is there at once, and that the
// grant be checked, which takes until release is closed. came tells of the second.
type controlled struct {
	http.RoundTripper
	renew         func()
	asked         *atomic.Int64
	came, release chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (c *controlled) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/secrets") {
		switch c.asked.Add(1) {
		case 1:
			c.renew()
		case 2:
			close(c.came)
			<-c.release
		}
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestShutdownWaitsForWhatIsLeft : the check of a grant that an answer has left to be asked for is not lost with the process.
func TestShutdownWaitsForWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.answer = func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusUnauthorized) }
	way := &controlled{
		renew: func() { w.renew(w.connection) }, asked: &atomic.Int64{}, came: make(chan struct{}), release: make(chan struct{}),
	}
	config := restclient.CopyConfig(installed)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		wrapped := *way
		wrapped.RoundTripper = next
		return &wrapped
	})
	a := w.start(config)
	testenv.Eventually(t, patience, func() error { return a.probe(http.StatusOK, "ok") })
	got := a.get(w.caller, w.proxied("/a"))
	if token := got.header.Get(proxy.HeaderToken); got.status != http.StatusUnauthorized || token != proxy.TokenRejected {
		t.Fatalf("status %d, %v: %s", got.status, got.header, got.text)
	}
	select {
	case <-way.came:
	case <-time.After(patience):
		t.Fatal("nobody asked for a check of the grant")
	}
	a.stop()
	testenv.Eventually(t, patience, func() error { return a.probe(http.StatusServiceUnavailable, "ending") })
	testenv.Consistently(t, 300*time.Millisecond, func() error { return a.probe(http.StatusServiceUnavailable, "ending") })
	close(way.release)
	if err := <-a.done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	a.done <- nil
	name := pending.Name(pending.RefreshRequest, string(w.connection.UID), "verify")
	w.must(w.client.Get(t.Context(), client.ObjectKey{Namespace: operatorNamespace, Name: name}, &corev1.Secret{}))
}

// proxied is a path of the application's API.
func (w *world) proxied(path string) string {
	return "/api/integrations/" + w.namespace + ".crm/request" + path
}

// A new certificate is served without a restart, and HTTP/2 with it.
func TestTLS(t *testing.T) {
	w := newWorld(t)
	directory := t.TempDir()
	certFile, keyFile := filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	first := writeCertificate(t, certFile, keyFile)
	a := w.api(func(o *rest.Options) { o.TLSCertFile, o.TLSPrivateKeyFile = certFile, keyFile })
	serves := func(want []byte) error {
		certificate, err := x509.ParseCertificate(want)
		w.must(err)
		pool := x509.NewCertPool()
		pool.AddCert(certificate)
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "api.example.test", MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		}
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+strings.TrimPrefix(a.url, "http://")+"/oauth_connections", nil)
		w.must(err)
		request.Header.Set("Authorization", "Bearer "+w.caller.token)
		got, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		_ = got.Body.Close()
		if got.StatusCode != http.StatusOK || got.ProtoMajor != 2 {
			t.Errorf("status %d by %s", got.StatusCode, got.Proto)
		}
		return nil
	}
	w.must(serves(first))
	second := writeCertificate(t, certFile, keyFile)
	testenv.Eventually(t, patience, func() error { return serves(second) })
	old := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}} //nolint:gosec // It has to be refused.
	if connection, err := old.DialContext(t.Context(), "tcp", strings.TrimPrefix(a.url, "http://")); err == nil {
		_ = connection.Close()
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
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "api.example.test"}, DNSNames: []string{"api.example.test"},
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
	t.Parallel()
	for _, test := range []struct {
		reason, want string
		change       func(*rest.Options)
	}{
		{"an empty audience", "audience", func(o *rest.Options) { o.Audiences = []string{""} }},
		{"half a certificate", "go together", func(o *rest.Options) { o.TLSCertFile = "x" }},
		{"no certificate", "read the certificate", func(o *rest.Options) { o.TLSCertFile, o.TLSPrivateKeyFile = "/none", "/none" }},
		{"networks", "egress", func(o *rest.Options) { o.Egress = egress.Policy{Deny: []string{"nonsense"}} }},
	} {
		w := &world{t: t, log: &lines{}}
		options := w.options()
		test.change(&options)
		if _, err := rest.New(installed, options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.reason, err)
		}
	}
}

// Plain HTTP is possible, and said.
func TestPlainHTTPIsWarnedOf(t *testing.T) {
	t.Parallel()
	w := &world{t: t, log: &lines{}}
	if _, err := rest.New(installed, w.options()); err != nil || !strings.Contains(w.log.String(), "in the clear") {
		t.Errorf("%v: %s", err, w.log)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	w := &world{t: t, log: &lines{}}
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	defer func() { _ = taken.Close() }()
	for _, change := range []func(*rest.Options){
		func(o *rest.Options) { o.BindAddress = taken.Addr().String() },
		func(o *rest.Options) { o.HealthProbeBindAddress = taken.Addr().String() },
	} {
		options := w.options()
		change(&options)
		process, err := rest.New(installed, options)
		w.must(err)
		if err := process.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen") {
			t.Errorf("it runs: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := process.Listening(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("it listens: %v", err)
		}
	}
}

func TestProbesOff(t *testing.T) {
	w := newWorld(t)
	a := w.start(installed, func(o *rest.Options) { o.HealthProbeBindAddress = "0" })
	if a.probes != "" {
		t.Errorf("probes at %s", a.probes)
	}
	testenv.Eventually(t, patience, func() error {
		if got := a.get(w.caller, "/oauth_connections"); got.status != http.StatusOK {
			return fmt.Errorf("status %d: %s", got.status, got.text)
		}
		return nil
	})
}
