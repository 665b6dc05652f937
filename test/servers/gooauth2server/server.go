// SPDX-License-Identifier: Apache-2.0

// Package gooauth2server runs github.com/go-oauth2/oauth2 on loopback: a
// second opinion on OAuth. It rotates refresh tokens without killing a family
// on reuse, answers a dead code or refresh token with 401 invalid_grant, and
// has neither a revocation nor an introspection endpoint.
package gooauth2server

import (
	"context"
	stderrors "errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-oauth2/oauth2/v4"
	"github.com/go-oauth2/oauth2/v4/errors"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Options say how the server starts; every field is honoured.
type Options = harness.Options

// Server is a running go-oauth2 server. It answers at /authorize, /token and
// at both discovery paths.
type Server struct {
	*harness.Server
	*record.Log

	// mu makes reading and removing a code or refresh token one step, which
	// the library's store does not, and guards the settings below.
	mu      sync.Mutex
	options Options
	clients map[string]harness.Client
	store   *store.ClientStore
	manager *manage.Manager
	server  *server.Server
}

// Start starts a server; Close ends it, except for one goroutine of the
// library's store, which has no way to be stopped.
func Start(o Options) (*Server, error) {
	o = o.WithDefaults()
	tokens, err := store.NewMemoryTokenStore()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Log:     record.NewLog(o.Lean),
		options: o,
		clients: map[string]harness.Client{},
		store:   store.NewClientStore(),
		manager: manage.NewDefaultManager(),
	}
	for _, c := range o.Clients {
		if err := s.register(c); err != nil {
			return nil, err
		}
	}
	s.manager.MapClientStorage(s.store)
	s.manager.MapTokenStorage(tokens)
	s.manager.SetAuthorizeCodeExp(o.CodeLifetime)
	s.manager.SetValidateURIHandler(exactRedirect)
	s.lifetimes(o.AccessTokenLifetime)
	s.configure()
	if s.Server, err = harness.Listen(o, s.routes); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) configure() {
	s.server = server.NewServer(&server.Config{
		TokenType:                   "Bearer",
		AllowedResponseTypes:        []oauth2.ResponseType{oauth2.Code},
		AllowedGrantTypes:           []oauth2.GrantType{oauth2.AuthorizationCode, oauth2.ClientCredentials, oauth2.Refreshing},
		AllowedCodeChallengeMethods: []oauth2.CodeChallengeMethod{oauth2.CodeChallengeS256, oauth2.CodeChallengePlain},
		ForcePKCE:                   s.options.RequirePKCE,
	}, s.manager)
	s.server.SetClientInfoHandler(s.authenticate)
	s.server.SetClientScopeHandler(s.scopesAllowed)
	s.server.SetUserAuthorizationHandler(func(http.ResponseWriter, *http.Request) (string, error) {
		return s.options.Subject, nil
	})
}

func (s *Server) routes(url string) http.Handler {
	metadata := harness.Metadata(url)
	discovery := s.Wrap(record.Discovery, func(w http.ResponseWriter, _ *http.Request, _ *record.Entry) {
		harness.WriteJSON(w, http.StatusOK, metadata)
	})
	mux := http.NewServeMux()
	mux.Handle("GET "+harness.OpenIDPath, discovery)
	mux.Handle("GET "+harness.MetadataPath, discovery)
	mux.Handle("/authorize", s.Wrap(record.Authorize, s.authorize))
	mux.Handle("/token", s.Wrap(record.Token, s.token))
	return mux
}

func (s *Server) authorize(w http.ResponseWriter, r *http.Request, _ *record.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.server.HandleAuthorizeRequest(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The library hands the code to nobody but the browser.
	if u, err := r.URL.Parse(w.Header().Get("Location")); err == nil {
		s.Issue(u.Query().Get("code"))
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request, e *record.Entry) {
	s.mu.Lock()
	fields, status, header := s.grant(r, e)
	s.mu.Unlock()
	for name := range header {
		w.Header().Set(name, header.Get(name))
	}
	w.Header().Set("Cache-Control", "no-store")
	harness.WriteJSON(w, status, fields)
}

// grant takes the steps of the library's own token handler one by one, to see
// whether they succeed. Called with mu held.
func (s *Server) grant(r *http.Request, e *record.Entry) (map[string]any, int, http.Header) {
	e.Process()
	grantType, request, err := s.server.ValidationTokenRequest(r)
	if err != nil {
		return s.server.GetErrorData(err)
	}
	tokens, err := s.server.GetAccessToken(r.Context(), grantType, request)
	if err != nil {
		return s.server.GetErrorData(err)
	}
	e.Spend()
	s.Issue(tokens.GetAccess(), tokens.GetRefresh())
	return s.server.GetTokenData(tokens), http.StatusOK, nil
}

// authenticate checks the secret for every grant type; the library by itself
// does not for refresh tokens.
func (s *Server) authenticate(r *http.Request) (string, string, error) {
	id, secret, basic := record.BasicAuth(r)
	method := "client_secret_basic"
	if !basic {
		id, secret, method = r.Form.Get("client_id"), r.Form.Get("client_secret"), "client_secret_post"
	}
	c, known := s.clients[id]
	if !known || c.Secret != secret || (c.AuthMethod != "" && c.AuthMethod != method) {
		return "", "", errors.ErrInvalidClient
	}
	return id, secret, nil
}

func (s *Server) scopesAllowed(request *oauth2.TokenGenerateRequest) (bool, error) {
	allowed := s.clients[request.ClientID].Scopes
	for scope := range strings.FieldsSeq(request.Scope) {
		if !slices.Contains(allowed, scope) {
			return false, nil
		}
	}
	return true, nil
}

// Introspect says whether an access or refresh token is alive. It is not
// counted as a request; the server has no such endpoint.
func (s *Server) Introspect(token string) (active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.lookup(token)
	return err == nil
}

func (s *Server) lookup(token string) (oauth2.TokenInfo, error) {
	if info, err := s.manager.LoadAccessToken(context.Background(), token); err == nil {
		return info, nil
	}
	return s.manager.LoadRefreshToken(context.Background(), token)
}

// RevokeGrant kills the grant that a living access or refresh token belongs
// to, as a user does at the provider, behind the client's back.
func (s *Server) RevokeGrant(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.lookup(token)
	if err != nil {
		return err
	}
	err = s.manager.RemoveAccessToken(context.Background(), info.GetAccess())
	if refresh := info.GetRefresh(); refresh != "" {
		err = stderrors.Join(err, s.manager.RemoveRefreshToken(context.Background(), refresh))
	}
	return err
}

// RotateClientSecret replaces the secret of a client at once. An unknown
// client is an error.
func (s *Server) RotateClientSecret(id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.clients[id]
	if !known {
		return stderrors.New("no such client: " + id)
	}
	c.Secret = secret
	return s.register(c)
}

func (s *Server) register(c harness.Client) error {
	s.clients[c.ID] = c
	return s.store.Set(c.ID, &models.Client{
		ID:     c.ID,
		Secret: c.Secret,
		Public: c.Secret == "",
		Domain: strings.Join(c.RedirectURIs, " "),
	})
}

// SetSubject changes the user who consents from now on.
func (s *Server) SetSubject(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Subject = subject
}

// SetAccessTokenLifetime changes the lifetime of access tokens from now on.
func (s *Server) SetAccessTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifetimes(d)
}

func (s *Server) lifetimes(access time.Duration) {
	refresh := s.options.RefreshTokenLifetime
	s.manager.SetAuthorizeCodeTokenCfg(&manage.Config{
		AccessTokenExp: access, RefreshTokenExp: refresh, IsGenerateRefresh: true,
	})
	s.manager.SetClientTokenCfg(&manage.Config{AccessTokenExp: access})
	s.manager.SetRefreshTokenCfg(&manage.RefreshingConfig{
		AccessTokenExp: access, RefreshTokenExp: refresh, IsGenerateRefresh: true,
		IsResetRefreshTime: true, IsRemoveAccess: true, IsRemoveRefreshing: true,
	})
}

// exactRedirect takes the client's redirect URIs, joined by blanks, where the
// library has one domain: its own rule accepts every host with that ending.
func exactRedirect(registered, uri string) error {
	if !slices.Contains(strings.Fields(registered), uri) {
		return errors.ErrInvalidRedirectURI
	}
	return nil
}
