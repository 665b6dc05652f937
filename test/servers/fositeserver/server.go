// SPDX-License-Identifier: Apache-2.0

// Package fositeserver runs github.com/ory/fosite on loopback: a real
// authorization server with code and PKCE, client credentials, revocation,
// introspection, and refresh rotation in which a reused refresh token kills
// its whole family.
package fositeserver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Options say how the server starts; every field is honoured.
type Options = harness.Options

// Server is a running fosite server. It answers at /authorize, /token, /revoke,
// /introspect and at both discovery paths. A state parameter must have eight
// characters or more. Where it asks people (Options.Accounts), it names itself
// in their answers (RFC 9207) and tells the account of a token at /userinfo.
type Server struct {
	*harness.Server
	*record.Log

	// mu serializes whatever touches fosite: its memory store writes its maps
	// under the wrong locks, and tests change the settings below while it runs.
	mu       sync.Mutex
	subject  string
	accounts []string
	config   *fosite.Config
	store    *storage.MemoryStore
	provider fosite.OAuth2Provider
}

// Start starts a server; Close ends it.
func Start(o Options) (*Server, error) {
	o = o.WithDefaults()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	s := &Server{
		Log:      record.NewLog(o.Lean),
		subject:  o.Subject,
		accounts: o.Accounts,
		store:    storage.NewMemoryStore(),
		config: &fosite.Config{
			GlobalSecret:                key,
			AccessTokenLifespan:         o.AccessTokenLifetime,
			RefreshTokenLifespan:        o.RefreshTokenLifetime,
			AuthorizeCodeLifespan:       o.CodeLifetime,
			RefreshTokenScopes:          []string{}, // a refresh token for every code
			EnforcePKCE:                 o.RequirePKCE,
			EnforcePKCEForPublicClients: true,
			ScopeStrategy:               fosite.ExactScopeStrategy,
			ClientSecretsHasher:         plainHasher{},
		},
	}
	if o.RefreshTokenLifetime == 0 {
		s.config.RefreshTokenLifespan = -1
	}
	for _, c := range o.Clients {
		s.store.Clients[c.ID] = fositeClient(c)
	}
	s.provider = compose.Compose(s.config, s.store,
		&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(s.config)},
		compose.OAuth2AuthorizeExplicitFactory,
		compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory,
		compose.OAuth2TokenRevocationFactory,
		compose.OAuth2PKCEFactory,
	)
	var err error
	if s.Server, err = harness.Listen(o, s.routes); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) routes(url string) http.Handler {
	s.config.AccessTokenIssuer = url
	s.config.TokenURL = url + "/token"
	metadata := harness.Metadata(url)
	metadata["revocation_endpoint"] = url + "/revoke"
	metadata["introspection_endpoint"] = url + "/introspect"
	if len(s.accounts) > 0 {
		metadata["userinfo_endpoint"] = url + "/userinfo"
		metadata["authorization_response_iss_parameter_supported"] = true
	}
	discovery := s.Wrap(record.Discovery, func(w http.ResponseWriter, _ *http.Request, _ *record.Entry) {
		harness.WriteJSON(w, http.StatusOK, metadata)
	})

	mux := http.NewServeMux()
	mux.Handle("GET "+harness.OpenIDPath, discovery)
	mux.Handle("GET "+harness.MetadataPath, discovery)
	mux.Handle("/authorize", s.Wrap(record.Authorize, s.authorize))
	mux.Handle("/token", s.Wrap(record.Token, s.token))
	mux.Handle("/revoke", s.Wrap(record.Revoke, s.revoke))
	mux.Handle("/introspect", s.Wrap(record.Introspect, s.introspect))
	mux.Handle("GET /userinfo", s.Wrap(record.UserInfo, s.userInfo))
	return mux
}

func (s *Server) token(w http.ResponseWriter, r *http.Request, e *record.Entry) {
	ctx := r.Context()
	request, response, err := s.grant(ctx, r, e)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

func (s *Server) grant(ctx context.Context, r *http.Request, e *record.Entry) (fosite.AccessRequester, fosite.AccessResponder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Process()
	request, err := s.provider.NewAccessRequest(ctx, r, &fosite.DefaultSession{})
	if err != nil {
		return request, nil, err
	}
	if request.GetGrantTypes().ExactOne(string(fosite.GrantTypeClientCredentials)) {
		session, ok := request.GetSession().(*fosite.DefaultSession)
		if !ok {
			return request, nil, fmt.Errorf("a session of type %T", request.GetSession())
		}
		session.Subject = request.GetClient().GetID()
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		return request, nil, err
	}
	e.Spend()
	refresh, _ := response.GetExtra("refresh_token").(string)
	s.Issue(response.GetAccessToken(), refresh)
	return request, response, nil
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request, _ *record.Entry) {
	s.mu.Lock()
	err := s.provider.NewRevocationRequest(r.Context(), r)
	s.mu.Unlock()
	s.provider.WriteRevocationResponse(r.Context(), w, err)
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request, _ *record.Entry) {
	// The answer is written under the lock because it reads the stored session.
	s.mu.Lock()
	defer s.mu.Unlock()
	response, err := s.provider.NewIntrospectionRequest(r.Context(), r, &fosite.DefaultSession{})
	if err != nil {
		s.provider.WriteIntrospectionError(r.Context(), w, err)
		return
	}
	s.provider.WriteIntrospectionResponse(r.Context(), w, response)
}

// Introspect says whether an access or refresh token is alive. It is not
// counted as a request.
func (s *Server) Introspect(token string) (active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.lookup(token)
	return err == nil
}

func (s *Server) lookup(token string) (fosite.AccessRequester, error) {
	_, request, err := s.provider.IntrospectToken(context.Background(), token, fosite.AccessToken, &fosite.DefaultSession{})
	return request, err
}

// RevokeGrant kills the grant that a living access or refresh token belongs
// to, as a user does at the provider, behind the client's back.
func (s *Server) RevokeGrant(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, err := s.lookup(token)
	if err != nil {
		return err
	}
	return errors.Join(
		s.store.RevokeRefreshToken(context.Background(), request.GetID()),
		s.store.RevokeAccessToken(context.Background(), request.GetID()))
}

// RotateClientSecret replaces the secret of a client at once. An unknown
// client is an error.
func (s *Server) RotateClientSecret(id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c := s.store.Clients[id].(type) {
	case *fosite.DefaultClient:
		changed := *c
		changed.Secret = []byte(secret)
		s.store.Clients[id] = &changed
	case *fosite.DefaultOpenIDConnectClient:
		client, changed := *c.DefaultClient, *c
		client.Secret = []byte(secret)
		changed.DefaultClient = &client
		s.store.Clients[id] = &changed
	default:
		return errors.New("no such client: " + id)
	}
	return nil
}

// TrustKey lets a client authenticate by assertions (RFC 7523) that the key verifies, in place of a secret. public is an
// *rsa.PublicKey or an *ecdsa.PublicKey, algorithm one that fits it, such as PS256. Their audience has to be the token
// endpoint, at whichever endpoint they are used. An unknown client is an error.
func (s *Server) TrustKey(id string, public crypto.PublicKey, algorithm string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var client *fosite.DefaultClient
	switch c := s.store.Clients[id].(type) {
	case *fosite.DefaultClient:
		client = c
	case *fosite.DefaultOpenIDConnectClient:
		client = c.DefaultClient
	default:
		return errors.New("no such client: " + id)
	}
	key, err := jwk(public)
	if err != nil {
		return err
	}
	changed := *client
	changed.Public = false
	trusting := &fosite.DefaultOpenIDConnectClient{
		DefaultClient: &changed, TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlgorithm: algorithm,
	}
	// The set is of a library's type that only fosite needs to name.
	document, err := json.Marshal(map[string]any{"keys": []any{key}})
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(`{"jwks": `+string(document)+`}`), trusting); err != nil {
		return err
	}
	s.store.Clients[id] = trusting
	return nil
}

// jwk is a public key by RFC 7517.
func jwk(public crypto.PublicKey) (map[string]any, error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{
			"kty": "RSA", "use": "sig", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
		}, nil
	case *ecdsa.PublicKey:
		// The uncompressed point: 4, then both coordinates.
		point, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		return map[string]any{
			"kty": "EC", "use": "sig", "crv": key.Params().Name, "x": encode(point[1 : 1+half]), "y": encode(point[1+half:]),
		}, nil
	}
	return nil, fmt.Errorf("fosite does not verify by a %T", public)
}

// SetSubject changes the user who consents from now on.
func (s *Server) SetSubject(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subject = subject
}

// SetAccessTokenLifetime changes the lifetime of access tokens from now on.
func (s *Server) SetAccessTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.AccessTokenLifespan = d
}

func fositeClient(c harness.Client) fosite.Client {
	client := &fosite.DefaultClient{
		ID:            c.ID,
		Secret:        []byte(c.Secret),
		Public:        c.Secret == "",
		RedirectURIs:  c.RedirectURIs,
		ResponseTypes: []string{"code"},
		GrantTypes:    []string{"authorization_code", "refresh_token", "client_credentials"},
		Scopes:        c.Scopes,
	}
	if c.AuthMethod == "" {
		return client
	}
	return &fosite.DefaultOpenIDConnectClient{DefaultClient: client, TokenEndpointAuthMethod: c.AuthMethod}
}

// plainHasher keeps client secrets as they are: fosite's bcrypt would spend
// more time on a request than all the rest together.
type plainHasher struct{}

func (plainHasher) Compare(_ context.Context, hash, data []byte) error {
	if subtle.ConstantTimeCompare(hash, data) != 1 {
		return errors.New("wrong client secret")
	}
	return nil
}

func (plainHasher) Hash(_ context.Context, data []byte) ([]byte, error) { return data, nil }
