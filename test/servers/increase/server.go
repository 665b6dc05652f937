// SPDX-License-Identifier: Apache-2.0

// Package increase behaves as the OAuth part of Increase's API does, in
// production and in the sandbox, each on a listener of its own. Left alone it
// is correct; a script makes it fail.
//
// What Increase does not document is decided here: codes that are unknown,
// spent or too old, and clients that do not match, are refused with 400
// invalid_parameters_error. A sandbox token has a connection of its own in the
// sandbox, which lives on when the one in production ends.
package increase

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
	"github.com/oauth-operator/oauth-operator/test/servers/script"
)

// The endpoints by which requests are counted, beside record.Authorize and
// record.Token.
const (
	Connections  record.Endpoint = "oauth_connections"
	Connection   record.Endpoint = "oauth_connections/{id}"
	Applications record.Endpoint = "oauth_applications"
	Application  record.Endpoint = "oauth_applications/{id}"
	Accounts     record.Endpoint = "accounts"
	// Unknown counts requests for anything else.
	Unknown record.Endpoint = "unknown"
)

// MaxLimit is both the default and the largest number of objects on a page.
const MaxLimit = 100

// Registration is an OAuth application as its owner made it.
type Registration struct {
	ID           string // "application_…"
	Name         string // null in answers where it is empty
	ClientID     string
	ClientSecret string
	RedirectURL  string // default: harness.DefaultRedirectURI
}

// DefaultRegistration is the only application of a server that is started
// without any.
func DefaultRegistration() Registration {
	return Registration{
		ID: "application_ledger", Name: "Ledger",
		ClientID: "client_id_ledger", ClientSecret: "client-secret-ledger",
		RedirectURL: harness.DefaultRedirectURI,
	}
}

// Options say how the server starts. The zero value is a working server.
type Options struct {
	Registrations []Registration // default: DefaultRegistration alone
	// APIKey and SandboxAPIKey are the platform's own keys, one for each
	// environment. Default: "production-key" and "sandbox-key".
	APIKey, SandboxAPIKey string
	// Group is the organisation that consents; default "group_user".
	Group string
	// CodeLifetime is 60 s by default, as at Increase.
	CodeLifetime time.Duration
	// PageSize bounds the objects of a page below what a request may ask for, so
	// that few objects make many pages. Default: MaxLimit.
	PageSize int
	// Strict refuses members of a token request that are not documented.
	Strict bool
	// Clock says when codes expire and what objects are dated. Default: the real one.
	Clock clock.PassiveClock
	// TLS serves https with a certificate that CAPEM verifies.
	TLS bool
	// Address and SandboxAddress to listen on, host:port. Default: free ports of 127.0.0.1.
	Address, SandboxAddress string
}

func (o Options) withDefaults() Options {
	if len(o.Registrations) == 0 {
		o.Registrations = []Registration{DefaultRegistration()}
	}
	if o.APIKey == "" {
		o.APIKey = "production-key"
	}
	if o.SandboxAPIKey == "" {
		o.SandboxAPIKey = "sandbox-key"
	}
	if o.Group == "" {
		o.Group = "group_user"
	}
	if o.CodeLifetime == 0 {
		o.CodeLifetime = time.Minute
	}
	if o.PageSize <= 0 || o.PageSize > MaxLimit {
		o.PageSize = MaxLimit
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

// Server is both environments together.
type Server struct {
	Production, Sandbox *Environment

	clock        clock.PassiveClock
	started      time.Time
	codeLifetime time.Duration
	pageSize     int
	strict       bool

	mu           sync.Mutex // guards what follows, and the environments' ledgers
	group        string
	applications []*application // the oldest first
}

// Environment is production or the sandbox: a base address (URL), the log of
// the requests that came in there, and the script of its faults. It answers at
// /oauth/authorization, /oauth/tokens, /oauth_connections, /oauth_applications
// and /accounts.
type Environment struct {
	*harness.Server
	*record.Log
	script.Plan[Fault]
	script.Gate

	server  *Server
	sandbox bool
	// The server's lock guards what follows.
	key    string
	ledger ledger
}

// Start starts a server; Close ends it.
func Start(o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{
		clock: o.Clock, started: o.Clock.Now(), codeLifetime: o.CodeLifetime, pageSize: o.PageSize,
		strict: o.Strict, group: o.Group,
	}
	for _, r := range o.Registrations {
		if err := s.register(r); err != nil {
			return nil, err
		}
	}
	if o.APIKey == o.SandboxAPIKey {
		return nil, errors.New("the two environments must have different keys")
	}
	s.Production = &Environment{Log: record.NewLog(false), server: s, key: o.APIKey, ledger: newLedger()}
	s.Sandbox = &Environment{Log: record.NewLog(false), server: s, key: o.SandboxAPIKey, ledger: newLedger(), sandbox: true}
	if err := s.Production.listen(harness.Options{TLS: o.TLS, Address: o.Address}); err != nil {
		return nil, err
	}
	if err := s.Sandbox.listen(harness.Options{TLS: o.TLS, Address: o.SandboxAddress}); err != nil {
		s.Production.Close()
		return nil, err
	}
	return s, nil
}

// Close ends both environments, hanging requests included.
func (s *Server) Close() {
	s.Production.Close()
	s.Sandbox.Close()
}

func (s *Server) register(r Registration) error {
	if r.ID == "" || r.ClientID == "" || r.ClientSecret == "" {
		return errors.New("an application needs an id, a client id and a client secret")
	}
	if slices.ContainsFunc(s.applications, func(a *application) bool { return a.ID == r.ID || a.ClientID == r.ClientID }) {
		return errors.New("ids and client ids of applications must be unique")
	}
	if r.RedirectURL == "" {
		r.RedirectURL = harness.DefaultRedirectURI
	}
	s.applications = append(s.applications, &application{Registration: r, created: s.clock.Now()})
	return nil
}

func (e *Environment) listen(o harness.Options) (err error) {
	e.Server, err = harness.Listen(o.WithDefaults(), func(string) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/oauth/authorization", e.handle(record.Authorize, http.MethodGet, e.authorize))
		mux.Handle("/oauth/tokens", e.handle(record.Token, http.MethodPost, e.token))
		mux.Handle("/oauth_connections", e.handle(Connections, http.MethodGet, e.listConnections))
		mux.Handle("/oauth_connections/{id}", e.handle(Connection, http.MethodGet, e.getConnection))
		mux.Handle("/oauth_applications", e.handle(Applications, http.MethodGet, e.listApplications))
		mux.Handle("/oauth_applications/{id}", e.handle(Application, http.MethodGet, e.getApplication))
		mux.Handle("/accounts", e.handle(Accounts, "", e.accounts))
		mux.Handle("/", e.handle(Unknown, "", func(*exchange) answer { return noSuchMethod() }))
		return mux
	})
	return err
}

// AuthorizationURL is the address of the page on which people consent.
func (e *Environment) AuthorizationURL() string { return e.URL + "/oauth/authorization" }

// NewCode opens the authorization page as a consenting user does and returns
// the code. The scope is read_only or read_write.
func (e *Environment) NewCode(clientID, scope string) (code string, err error) {
	state := rand.Text()
	query := url.Values{"client_id": {clientID}, "scope": {scope}, "state": {state}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.AuthorizationURL()+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := e.Client().Do(request)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	target, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("the authorization page answered %d without a redirect", resp.StatusCode)
	}
	code = target.Query().Get("code")
	if code == "" || target.Query().Get("state") != state {
		return "", errors.New("the redirect has no code, or another state")
	}
	return code, nil
}

// SetGroup changes the organisation that consents from now on.
func (s *Server) SetGroup(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = group
}

// RotateAPIKey replaces the platform's key at once.
func (e *Environment) RotateAPIKey(key string) {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	e.key = key
}

// RotateClientSecret replaces the secret of an application's client at once. An
// unknown client is an error.
func (s *Server) RotateClientSecret(clientID, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.client(clientID)
	if a == nil {
		return errors.New("no such client: " + clientID)
	}
	a.ClientSecret = secret
	return nil
}

// text makes an identifier or token of 128 bits; the prefix tells a person what
// it is.
func text(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
