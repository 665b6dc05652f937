// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Moments of a write at which the observer is told.
const (
	asked    = "asked"    // it has reached the proxy, not the API server
	accepted = "accepted" // the API server has answered, and the program does not know yet
)

// writeTimeout bounds one write at the API server.
const writeTimeout = 30 * time.Second

// proxy stands between the program and the API server. It sees every request in the clear and can stop the world at each
// write. A write that it has begun to forward is carried out, though its sender dies meanwhile.
type proxy struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy
	// observe is called in the goroutine that serves the request: while it blocks, so does the write. It returns true when
	// it has killed the sender there: then nothing more happens with the request.
	observe func(what, moment string) bool

	mu      sync.Mutex
	down    bool
	writing int
	// looks counts reads of single connections.
	looks int
	// held is not nil while news of connections are held back, and closed at their release.
	held chan struct{}
}

// connections is the name of their resource in paths.
const connections = "oauthconnections"

type writeKey struct{}

func newProxy(t testing.TB, observe func(what, moment string) bool) *proxy {
	t.Helper()
	upstream, err := url.Parse(plane.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(plane.Config))
	if err != nil {
		t.Fatal(err)
	}
	silent := log.New(io.Discard, "", 0)
	p := &proxy{observe: observe}
	p.forward = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport:      transport,
		FlushInterval:  -1,
		ErrorLog:       silent,
		ModifyResponse: p.answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = silent
	p.server.StartTLS()
	t.Cleanup(func() {
		p.cut()
		p.server.Close()
	})
	return p
}

// through returns a config that reaches the API server by way of the proxy alone.
func (p *proxy) through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Host = p.server.URL
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	return config
}

// cut is an outage of the API server: every connection breaks, each new request too.
func (p *proxy) cut() {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.server.CloseClientConnections()
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// hold keeps the news of connections from the program: its watch stays open, and silent.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// release hands the news over that were held back.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.held)
	p.held = nil
}

// lookedAt returns how often a single connection was read.
func (p *proxy) lookedAt() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

// news is the body of a watch that can be held back.
type news struct {
	io.ReadCloser
	proxy *proxy
	// gone is closed when the program does not listen any more.
	gone <-chan struct{}
}

func (n *news) Read(b []byte) (int, error) {
	count, err := n.ReadCloser.Read(b)
	n.proxy.mu.Lock()
	held := n.proxy.held
	n.proxy.mu.Unlock()
	if held == nil {
		return count, err
	}
	select {
	case <-held:
		return count, err
	case <-n.gone:
		return 0, io.ErrClosedPipe
	}
}

// quiet returns nil when no write is under way.
func (p *proxy) quiet() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing > 0 {
		return fmt.Errorf("%d writes are under way", p.writing)
	}
	return nil
}

// ServeHTTP forwards a request. It panics with http.ErrAbortHandler to break the connection instead of answering.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.enter()
	if r.Method == http.MethodGet {
		p.leave()
		p.look(r)
		p.forward.ServeHTTP(w, r)
		return
	}
	defer p.leave()
	what, err := p.classify(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if what == "" {
		p.forward.ServeHTTP(w, r)
		return
	}
	if p.observe(what, asked) {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	p.forward.ServeHTTP(w, r.WithContext(context.WithValue(ctx, writeKey{}, what)))
}

// look counts a read of a single connection.
func (p *proxy) look(r *http.Request) {
	if path := pathPattern().FindStringSubmatch(r.URL.Path); path != nil && path[2] == connections && path[3] != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.looks++
	}
}

func (p *proxy) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		panic(http.ErrAbortHandler)
	}
	p.writing++
}

func (p *proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing--
}

// answered tells the observer of a write that the API server has carried out, and stands between the program and its
// watch of connections.
func (p *proxy) answered(response *http.Response) error {
	request := response.Request
	path := pathPattern().FindStringSubmatch(request.URL.Path)
	if path != nil && path[2] == connections && request.URL.Query().Has("watch") {
		response.Body = &news{ReadCloser: response.Body, proxy: p, gone: request.Context().Done()}
	}
	what, ok := request.Context().Value(writeKey{}).(string)
	if ok && response.StatusCode < http.StatusBadRequest {
		p.observe(what, accepted)
	}
	return nil
}

// Path of a namespaced object: namespace, resource, name, subresource.
func pathPattern() *regexp.Regexp {
	return regexp.MustCompile(`^/apis?/.*?namespaces/([^/]+)/([^/]+)(?:/([^/]+)(?:/([^/]+))?)?$`)
}

// classify names a write by what it means; empty: it is of no interest. Events, leases and the gateway's keys are left out:
// they are written beside the work, and nothing of it depends on them.
func (p *proxy) classify(r *http.Request) (string, error) {
	path := pathPattern().FindStringSubmatch(r.URL.Path)
	if path == nil {
		return "", nil
	}
	resource, subresource := path[2], path[4]
	switch resource {
	case "events", "leases":
		return "", nil
	case "secrets":
	default:
		if subresource != "" {
			resource += "/" + subresource
		}
		return r.Method + " " + resource, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.Method == http.MethodDelete {
		return r.Method + " Secret", nil
	}
	secret := &corev1.Secret{}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, secret); err != nil {
		return "", errors.Join(errors.New("a Secret that cannot be read"), err)
	}
	if secret.Labels[v1alpha1.LabelRecord] == v1alpha1.RecordKeys {
		return "", nil
	}
	if secret.Labels[v1alpha1.LabelRecord] == v1alpha1.RecordKeys {
		return "", nil // For gateways, of which there are none here.
	}
	return r.Method + " " + meaning(secret), nil
}

// meaning names a Secret that the program writes.
func meaning(secret *corev1.Secret) string {
	switch secret.Labels[v1alpha1.LabelRecord] {
	case v1alpha1.RecordClient:
		return "kept client"
	case v1alpha1.RecordGrant:
		return "record with " + state(secret.Data["grant.json"])
	case v1alpha1.RecordPending:
		return "message"
	}
	return "token Secret"
}

// state names what a grant record is in the middle of.
func state(content []byte) string {
	var record struct {
		Attempt, Device, Hint *json.RawMessage
		Candidate             *struct{ Refused bool }
	}
	switch err := json.Unmarshal(content, &record); {
	case err != nil, record.Attempt == nil && record.Candidate == nil && record.Device == nil && record.Hint == nil:
		return "outcome"
	case record.Attempt != nil:
		return "mark"
	case record.Hint != nil:
		return "report"
	case record.Candidate != nil && record.Candidate.Refused:
		return "refused candidate"
	case record.Candidate != nil:
		return "candidate"
	}
	return "device code"
}
