// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	oldToken = "canary-old-token"
	newToken = "canary-new-token"
	byPath   = "/api/integrations/team.crm/request/"
	byForm   = "/api/integrations/team.crm/request"
)

// rights answer for the connections of one application: that which is selected, else one.
type rights struct {
	refused error
	// asked, if set, is called with each selector, before the answer.
	asked   func(selector string)
	mu      sync.Mutex
	methods []string
	// lookups of integrations.
	lookups atomic.Int64
}

func (r *rights) Integration(_ context.Context, _ caller.Caller, id string) (access.Integration, error) {
	r.lookups.Add(1)
	if id != "team.crm" {
		return access.Integration{}, problem.New(problem.NotFound, "no such thing")
	}
	return access.Integration{
		Name:        types.NamespacedName{Namespace: "team", Name: "crm"},
		Application: &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "crm", UID: "application-uid"}},
	}, nil
}

func (r *rights) ConnectionFor(
	_ context.Context, c caller.Caller, _ access.Integration, selector, method string,
) (*v1alpha1.OAuthConnection, error) {
	if r.asked != nil {
		r.asked(selector)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.methods = append(r.methods, c.GetName()+" "+method+" "+selector)
	if r.refused != nil {
		return nil, r.refused
	}
	meta := metav1.ObjectMeta{Namespace: "team", Name: "alice", UID: "connection-uid"}
	if selector != "" {
		meta.Name, meta.UID = selector, types.UID(selector+"-uid")
	}
	return &v1alpha1.OAuthConnection{
		ObjectMeta: meta,
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
	}, nil
}

// tokens hold the old token until it is renewed.
type tokens struct {
	mu       sync.Mutex
	current  credential.Credential
	getErr   error
	renewErr error
	renewals int
	causes   []credential.Cause
	verified chan struct{}
	// renewedBase is where the API is by the time of the renewal; nil: where it was.
	renewedBase *url.URL
	// renewing, if set, is called in each renewal.
	renewing func()
}

func (s *tokens) Get(context.Context, *v1alpha1.OAuthConnection) (*credential.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.current
	return &c, s.getErr
}

func (s *tokens) Renew(
	_ context.Context, _ *v1alpha1.OAuthConnection, old *credential.Credential, cause credential.Cause,
) (*credential.Credential, error) {
	if s.renewing != nil {
		s.renewing()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewals++
	s.causes = append(s.causes, cause)
	if s.renewErr != nil {
		return nil, s.renewErr
	}
	c := *old
	c.Token, c.Hash, c.Headers = sensitive.New(newToken), "new", bearer(newToken)
	c.Expiry = lifecycle.Expiry{}
	if s.renewedBase != nil {
		c.Base = s.renewedBase
	}
	s.current = c
	return &c, nil
}

func (s *tokens) Verify(context.Context, *v1alpha1.OAuthConnection, *credential.Credential) {
	s.verified <- struct{}{}
}

func (s *tokens) renewed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewals
}

func bearer(token string) []credential.Header {
	return []credential.Header{{Name: "Authorization", Value: sensitive.New("Bearer " + token)}}
}

// records are what the observer was told.
type records chan proxy.Record

func (r records) Done(record proxy.Record) { r <- record }

// world is the proxy as a server, in front of one provider.
type world struct {
	*httptest.Server
	t       *testing.T
	rights  *rights
	tokens  *tokens
	records records
}

type setup struct {
	options proxy.Options
	// base is the provider's; policy is loopback unless given.
	base   string
	policy *egress.Policy
	hosts  []string
	ca     []byte
	limits *v1alpha1.APILimits
	// http2 : callers come by TLS and HTTP/2.
	http2 bool
	// headers of the application; unset: the bearer token.
	headers []credential.Header
}

func start(t *testing.T, s setup) *world {
	t.Helper()
	base, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	if s.headers == nil {
		s.headers = bearer(oldToken)
	}
	if s.policy == nil {
		s.policy = &egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}}
	}
	guard, err := egress.New(*s.policy)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rights: &rights{}, records: make(records, 1000), tokens: &tokens{verified: make(chan struct{}, 10), current: credential.Credential{
		Token: sensitive.New(oldToken), Hash: "old", Renewable: true, Base: base, Headers: s.headers, AllowedHosts: s.hosts, CA: s.ca,
		Limits: s.limits,
	}}}
	o := s.options
	o.Access, o.Credentials, o.Observer = w.rights, w.tokens, w.records
	if o.Gate == nil {
		o.Gate = traffic.New(traffic.Options{})
	}
	if o.Transports == nil {
		o.Transports = egress.NewPooledTransports(guard, 0, time.Minute)
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	handler, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		who := caller.Caller{Info: &user.DefaultInfo{Name: "bob"}}
		handler.ServeHTTP(rw, r.WithContext(caller.With(r.Context(), who)))
	}))
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	if w.EnableHTTP2 = s.http2; s.http2 {
		w.StartTLS()
	} else {
		w.Start()
	}
	t.Cleanup(w.Close)
	return w
}

// provider is a server whose errors of connections are nobody's.
func provider(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	return providerAt(t, "127.0.0.1", handler)
}

// providerAt is a provider at an address of loopback.
func providerAt(t *testing.T, address string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{
		Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
	}}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// receive takes what a server was sent.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// rawProvider answers each connection by hand. It ends them all with the test.
func rawProvider(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		work  sync.WaitGroup
	)
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			work.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return "http://" + listener.Addr().String()
}

// answer is what a caller got, read whole.
type answer struct {
	*http.Response
	body string
	err  error
}

func (w *world) request(method, path string, body io.Reader, headers ...string) *http.Request {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer canary-caller")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	return request
}

// client follows no redirect and undoes no compression. Its connections are its own.
func (w *world) client() *http.Transport {
	w.t.Helper()
	transport := &http.Transport{DisableCompression: true}
	if w.TLS != nil {
		roots := x509.NewCertPool()
		roots.AddCert(w.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		transport.ForceAttemptHTTP2 = true
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func (w *world) do(request *http.Request) answer {
	w.t.Helper()
	response, err := w.client().RoundTrip(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	for _, canary := range []string{oldToken, newToken} {
		for _, values := range response.Header {
			if strings.Contains(strings.Join(values, " "), canary) {
				w.t.Errorf("a header of the answer has the token: %v", response.Header)
			}
		}
		if response.Header.Get(problem.Header) != "" && bytes.Contains(content, []byte(canary)) {
			w.t.Errorf("the problem has the token: %s", content)
		}
	}
	return answer{Response: response, body: string(content), err: err}
}

func (w *world) get(path string, headers ...string) answer {
	w.t.Helper()
	return w.do(w.request(http.MethodGet, byPath+path, nil, headers...))
}

// form sends a request in JSON.
func (w *world) form(content any) answer {
	w.t.Helper()
	text, ok := content.(string)
	if !ok {
		encoded, err := json.Marshal(content)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(encoded)
	}
	return w.do(w.request(http.MethodPost, byForm, strings.NewReader(text), "Content-Type", "application/json"))
}

func (w *world) record() proxy.Record {
	w.t.Helper()
	return receive(w.t, w.records)
}

// wantProblem checks an error of the API's own.
func wantProblem(t *testing.T, got answer, code problem.Code) {
	t.Helper()
	var told problem.Error
	if err := json.Unmarshal([]byte(got.body), &told); err != nil {
		t.Fatalf("%d %q is no problem: %v", got.StatusCode, got.body, err)
	}
	if told.Code != code || got.StatusCode != code.Status() || got.Header.Get(problem.Header) != string(code) {
		t.Errorf("%d %s, header %q; want %s", got.StatusCode, got.body, got.Header.Get(problem.Header), code)
	}
}

// wantPassed checks an answer of the provider's.
func wantPassed(t *testing.T, got answer, status int, token string) {
	t.Helper()
	if got.StatusCode != status || got.Header.Get(problem.Header) != "" || got.Header.Get(proxy.HeaderToken) != token || got.err != nil {
		t.Errorf("%d %s (%v), %v; want the provider's %d with token %q", got.StatusCode, got.body, got.err, got.Header, status, token)
	}
}

func caOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
