// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The grant types of RFC 7523 section 2.1 and RFC 8693 section 2.1.
const (
	JWTBearerGrant     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	TokenExchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// The types of tokens (RFC 8693 section 3) that can be exchanged.
const (
	AccessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	JWTType         = "urn:ietf:params:oauth:token-type:jwt"
	IDTokenType     = "urn:ietf:params:oauth:token-type:id_token"
)

// ExtensionRequest is a token request of a grant type that Extend added.
type ExtensionRequest struct {
	ClientID string
	Form     url.Values
	// Account returns the subject behind a token of this server's that is alive,
	// or the empty string.
	Account func(token string) string
}

// Approval is what becomes of it: tokens for the account, or a refusal.
type Approval struct {
	Account, Scope string
	// Refresh gives a refresh token too.
	Refresh bool
	// Error is the error code of a refusal; empty approves.
	Error string
}

// Extend adds a grant type. decide must not call the server.
func (s *Server) Extend(grantType string, decide func(ExtensionRequest) Approval) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extensions[grantType] = decide
}

func (s *Server) extended(x *exchange, c harness.Client) answer {
	decide := s.extensions[x.entry.GrantType]
	if decide == nil {
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "")
	}
	said := decide(ExtensionRequest{ClientID: c.ID, Form: x.parsed.Form, Account: func(token string) string {
		if g := s.vault.grantOf(token, s.now()); g != nil {
			return g.subject
		}
		return ""
	}})
	if said.Error != "" {
		return refuse(http.StatusBadRequest, said.Error, "the extension refused")
	}
	return s.issue(&grant{clientID: c.ID, subject: said.Account, scope: said.Scope}, said.Scope, said.Refresh)
}

// grantByAssertion follows RFC 7523 section 2.1: the assertion is the grant,
// and client authentication is optional. The scope may be a parameter or, as
// some providers have it, a claim.
func (s *Server) grantByAssertion(x *exchange, c harness.Client) answer {
	claims, _, err := s.verifyAny(x.parsed.Form.Get("assertion"), s.trust.issuers, s.endpointURL(x))
	if err != nil || !s.firstUse(claims, false) {
		return refuse(http.StatusBadRequest, "invalid_grant", "the assertion is not accepted")
	}
	scope := x.parsed.Form.Get("scope")
	if scope == "" {
		scope, _ = claims["scope"].(string)
	}
	if c.ID != "" && !allowed(c, scope) {
		return refuse(http.StatusBadRequest, "invalid_scope", "the client may not have this scope")
	}
	subject, _ := claims.GetSubject()
	scope = s.consented(subject, scope)
	return s.issue(&grant{clientID: c.ID, subject: subject, scope: scope}, scope, false)
}

// exchangeToken follows RFC 8693 section 2.
func (s *Server) exchangeToken(x *exchange, c harness.Client) answer {
	form := x.parsed.Form
	source, ok := s.tokenGiven(x, form.Get("subject_token"), form.Get("subject_token_type"))
	if !ok {
		return refuse(http.StatusBadRequest, "invalid_request", "the subject token is not accepted")
	}
	if form.Has("actor_token") != form.Has("actor_token_type") {
		return refuse(http.StatusBadRequest, "invalid_request", "actor_token and actor_token_type go together")
	}
	fields := map[string]any{"issued_token_type": AccessTokenType}
	if form.Has("actor_token") {
		actor, ok := s.tokenGiven(x, form.Get("actor_token"), form.Get("actor_token_type"))
		if !ok {
			return refuse(http.StatusBadRequest, "invalid_request", "the actor token is not accepted")
		}
		fields["act"] = map[string]any{"sub": actor.subject}
	}
	if wanted := form.Get("requested_token_type"); wanted != "" && wanted != AccessTokenType {
		return refuse(http.StatusBadRequest, "invalid_request", "only access tokens are issued")
	}
	scope := form.Get("scope")
	if scope == "" {
		scope = source.scope
	}
	limit := c.Scopes
	if source.scope != "" {
		limit = strings.Fields(source.scope)
	}
	if !allowed(c, scope) || !subset(scope, limit) {
		return refuse(http.StatusBadRequest, "invalid_scope", "more than the subject token has")
	}
	a := s.issue(&grant{clientID: c.ID, subject: source.subject, scope: scope}, scope, false)
	set(a.fields, fields)
	return a
}

// tokenGiven finds out who a token that came in speaks for: a token of this
// server's, or one of a trusted issuer's.
func (s *Server) tokenGiven(x *exchange, token, kind string) (*grant, bool) {
	switch kind {
	case AccessTokenType:
		g := s.vault.grantOf(token, s.now())
		return g, g != nil && s.vault.access[token] != nil
	case JWTType, IDTokenType:
		claims, _, err := s.verifyAny(token, s.trust.issuers, s.endpointURL(x))
		if err != nil {
			return nil, false
		}
		subject, _ := claims.GetSubject()
		return &grant{subject: subject}, true
	}
	return nil, false
}
