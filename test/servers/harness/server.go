// SPDX-License-Identifier: Apache-2.0

// Package harness is what the OAuth servers of the tests share apart from
// OAuth itself: the loopback listener, the options, and the user who consents.
package harness

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"
)

// Client is a registered OAuth client.
type Client struct {
	ID string
	// Secret makes the client confidential; without one it is public.
	Secret string
	// AuthMethod is the one accepted method, client_secret_basic or
	// client_secret_post, or another that the server knows. Empty accepts all.
	AuthMethod string
	// RedirectURIs are matched exactly, except that an IP loopback one matches
	// any port (RFC 8252 section 7.3) where the server knows that rule.
	// Default: DefaultRedirectURI.
	RedirectURIs []string
	// Scopes that the client may ask for. Default: DefaultScopes.
	Scopes []string
}

// DefaultRedirectURI is where a client without redirect URIs gets its codes.
const DefaultRedirectURI = "http://127.0.0.1/callback"

// DefaultScopes are the scopes of a client that lists none.
func DefaultScopes() []string { return []string{"api:read", "api:write", "openid", "offline_access"} }

// DefaultClient is the only client of a server that is started without any:
// confidential, id "client", secret "client-secret".
func DefaultClient() Client { return Client{ID: "client", Secret: "client-secret"} }

// Options say how a server starts. The zero value is a working server.
type Options struct {
	Clients              []Client      // default: DefaultClient alone
	AccessTokenLifetime  time.Duration // default 1 h
	RefreshTokenLifetime time.Duration // default: no end
	CodeLifetime         time.Duration // default 60 s
	RequirePKCE          bool          // of confidential clients too
	Subject              string        // the consenting user; default "user-1"
	// Accounts are the people who may sit at the browser, where the server knows that: the authorization endpoint shows a
	// page then, on which a person says who they are, and approves or denies. Default: it has Subject consent at once.
	Accounts []string
	TLS      bool // https with a certificate that CAPEM verifies
	// Lean keeps counts but no requests and no issued tokens, for benchmarks.
	Lean bool
	// Address to listen on, host:port. Default: a free port of 127.0.0.1.
	Address string
	// Issuer is the base address that clients know the server by, where that is
	// not the address it listens on: behind a Service, for one.
	Issuer string
}

// WithDefaults returns a copy in which every default is filled in.
func (o Options) WithDefaults() Options {
	if len(o.Clients) == 0 {
		o.Clients = []Client{DefaultClient()}
	}
	clients := make([]Client, len(o.Clients))
	for i, c := range o.Clients {
		if len(c.RedirectURIs) == 0 {
			c.RedirectURIs = []string{DefaultRedirectURI}
		}
		if len(c.Scopes) == 0 {
			c.Scopes = DefaultScopes()
		}
		clients[i] = c
	}
	o.Clients = clients
	if o.AccessTokenLifetime == 0 {
		o.AccessTokenLifetime = time.Hour
	}
	if o.CodeLifetime == 0 {
		o.CodeLifetime = time.Minute
	}
	if o.Subject == "" {
		o.Subject = "user-1"
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	return o
}

// Server listens until Close.
type Server struct {
	// URL is the base address and the issuer, without a slash at the end.
	URL string
	// CAPEM verifies the server's certificate; nil without TLS.
	CAPEM []byte

	inner  *httptest.Server
	cancel context.CancelFunc
}

// Listen starts a server with the handler that build returns for its URL. The
// options must have their defaults.
func Listen(o Options, build func(url string) http.Handler) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	inner := &httptest.Server{Listener: listener, Config: &http.Server{
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// Clients that refuse the certificate are part of the tests, not news.
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	s := &Server{inner: inner, cancel: cancel}
	scheme := "http://"
	if o.TLS {
		scheme = "https://"
	}
	if s.URL = o.Issuer; s.URL == "" {
		s.URL = scheme + listener.Addr().String()
	}
	inner.Config.Handler = build(s.URL)
	if !o.TLS {
		inner.Start()
		return s, nil
	}
	// Clients may show a certificate; whether it counts is the server's business.
	inner.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	inner.StartTLS()
	s.CAPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: inner.Certificate().Raw})
	return s, nil
}

// Address returns the host:port that the server listens on.
func (s *Server) Address() string { return s.inner.Listener.Addr().String() }

// Client returns an HTTP client that trusts the server and follows no redirect.
func (s *Server) Client() *http.Client {
	c := *s.inner.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// Close ends the context of every request, cuts every connection and returns
// when the last handler has.
func (s *Server) Close() {
	s.cancel()
	s.inner.CloseClientConnections()
	s.inner.Close()
}
