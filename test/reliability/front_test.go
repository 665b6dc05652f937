// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// front stands before the gateways, as an Ingress does: each request goes to any of those that are in, however dead they are,
// and to the other one when the first cannot be reached. A request without a body is sent to the other one too when the first
// has broken off; that it may have been served by then is known to nobody.
type front struct {
	server *httptest.Server
	dice   *dice

	mu sync.Mutex
	in []*url.URL
	// elsewhere counts the requests that were sent to another gateway than the first, repeated those of them that the first
	// may have served, and broken those that nobody has answered.
	elsewhere, repeated, broken int
}

// headerClient says which person a request is of.
const headerClient = "X-Forwarded-For"

func newFront(t testing.TB, dice *dice) *front {
	t.Helper()
	f := &front{dice: dice}
	silent := log.New(io.Discard, "", 0)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header[headerClient] = r.In.Header[headerClient]
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.URL.Scheme = "http" // The rest is for whoever is chosen.
		},
		Transport: spread{front: f, next: &http.Transport{DisableKeepAlives: true}},
		ErrorLog:  silent,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			f.count(&f.broken)
			http.Error(w, "502 Bad Gateway", http.StatusBadGateway)
		},
	}
	f.server = httptest.NewServer(forward)
	f.server.Config.ErrorLog = silent
	t.Cleanup(f.server.Close)
	return f
}

// put has a gateway get requests, and take has it get none.
func (f *front) put(gateway *url.URL) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in = append(f.in, gateway)
}

func (f *front) take(gateway *url.URL) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []*url.URL
	for _, other := range f.in {
		if other.Host != gateway.Host {
			left = append(left, other)
		}
	}
	f.in = left
}

// order returns the gateways that are in, as they are tried.
func (f *front) order() []*url.URL {
	f.mu.Lock()
	defer f.mu.Unlock()
	var order []*url.URL
	for _, i := range f.dice.perm(len(f.in)) {
		order = append(order, f.in[i])
	}
	return order
}

func (f *front) count(what *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what++
}

// spread sends a request to one gateway after the other.
type spread struct {
	front *front
	next  http.RoundTripper
}

var errNobody = errors.New("no gateway is in")

func (s spread) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close() // It has been read.
	}
	failure, served := errNobody, false
	for i, gateway := range s.front.order() {
		if i > 0 {
			s.front.count(&s.front.elsewhere)
		}
		if served {
			s.front.count(&s.front.repeated)
		}
		attempt := r.Clone(r.Context())
		attempt.URL.Host, attempt.Body = gateway.Host, io.NopCloser(bytes.NewReader(body))
		if len(body) == 0 {
			attempt.Body = http.NoBody
		}
		response, err := s.next.RoundTrip(attempt)
		if err == nil {
			return response, nil
		}
		failure = err
		if dialing := new(net.OpError); errors.As(err, &dialing) && dialing.Op == "dial" {
			continue
		}
		if r.Method != http.MethodGet || r.Context().Err() != nil {
			break
		}
		served = true
	}
	return nil, failure
}
