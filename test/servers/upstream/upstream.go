// SPDX-License-Identifier: Apache-2.0

// Package upstream is the API of a provider: it takes what carries an access token that the authorization server says is alive
// (RFC 7662), and remembers everything that came in.
package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// maxBody bounds what is read of a request's body, in bytes.
const maxBody = 64 << 20

// askWithin bounds a question to the authorization server.
const askWithin = 10 * time.Second

// Options say how the server starts.
type Options struct {
	// IntrospectionURL is where the authorization server answers a client with this ID and secret.
	IntrospectionURL, ClientID, ClientSecret string
	// Client asks it; default: http.DefaultClient.
	Client *http.Client
	// Token finds the access token in a request; default: that of the Authorization header, scheme Bearer.
	Token func(*http.Request) string
	// TLS serves https with a certificate that CAPEM verifies.
	TLS bool
}

// Request is one request as it arrived. It holds no token: what Token found is replaced by what record.Hash makes of it, and
// the Authorization header is there without its credentials.
type Request struct {
	Method string
	// Path as it was escaped, and RawQuery.
	Path, RawQuery string
	Host           string
	Header         http.Header
	Body           []byte
	// TokenHash is empty where no token came.
	TokenHash string
	// Accepted tells whether the token was taken.
	Accepted bool
}

// Echo is what the server answers where no handler was set.
type Echo struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query"`
	Body   string `json:"body"`
}

// Server is a running upstream.
type Server struct {
	*harness.Server

	options Options

	mu       sync.Mutex // guards what follows
	requests []Request
	rejected map[string]bool
	// rejectsAll : no token is good enough.
	rejectsAll bool
	handlers   map[string]http.Handler
	changed    chan struct{} // closed when a request arrives
}

// Start starts a server; Close ends it.
func Start(o Options) (*Server, error) {
	if o.Token == nil {
		o.Token = record.Bearer
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	s := &Server{options: o, rejected: map[string]bool{}, handlers: map[string]http.Handler{}, changed: make(chan struct{})}
	var err error
	s.Server, err = harness.Listen(harness.Options{TLS: o.TLS}.WithDefaults(), func(string) http.Handler { return s })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Handle serves a path, with everything in it as the request line escapes it, for requests whose token is good.
func (s *Server) Handle(path string, handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = handler
}

// Reject makes a token that the authorization server takes for alive no good here.
func (s *Server) Reject(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected[record.Hash(token)] = true
}

// RejectAll makes every token no good, until it is called with false.
func (s *Server) RejectAll(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectsAll = all
}

// Requests returns what has arrived, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// WaitFor returns once at least n requests have arrived, or with the context's error.
func (s *Server) WaitFor(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		arrived, changed := len(s.requests), s.changed
		s.mu.Unlock()
		if arrived >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d requests have arrived: %w", arrived, n, ctx.Err())
		}
	}
}

// ServeHTTP implements http.Handler. The body is read before the token is looked at, as far as maxBody.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // The client is gone.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	token := s.options.Token(r)
	alive, err := s.alive(r.Context(), token)
	if err != nil {
		http.Error(w, "the authorization server does not answer", http.StatusServiceUnavailable)
		return
	}
	handler, good := s.arrive(r, body, token, alive)
	if !good {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		harness.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	if handler != nil {
		handler.ServeHTTP(w, r)
		return
	}
	harness.WriteJSON(w, http.StatusOK, Echo{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Body: string(body)})
}

// arrive notes a request, and says whether its token is good and who serves it.
func (s *Server) arrive(r *http.Request, body []byte, token string, alive bool) (handler http.Handler, good bool) {
	header := r.Header.Clone()
	if credentials := header.Get("Authorization"); credentials != "" {
		scheme, _, _ := strings.Cut(credentials, " ")
		header.Set("Authorization", scheme)
	}
	for name, values := range header {
		for i, value := range values {
			if token != "" && strings.Contains(value, token) {
				header[name][i] = strings.ReplaceAll(value, token, "{access_token}")
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hash := record.Hash(token)
	good = alive && !s.rejectsAll && !s.rejected[hash]
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Host: r.Host, Header: header, Body: body,
		TokenHash: hash, Accepted: good,
	})
	close(s.changed)
	s.changed = make(chan struct{})
	return s.handlers[r.URL.EscapedPath()], good
}

// alive asks the authorization server about a token.
func (s *Server) alive(ctx context.Context, token string) (bool, error) {
	if token == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	form := url.Values{"token": {token}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.IntrospectionURL, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(s.options.ClientID, s.options.ClientSecret)
	response, err := s.options.Client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var answer struct{ Active bool }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return false, err
	}
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("introspection answered %s", response.Status)
	}
	return answer.Active, nil
}
