// SPDX-License-Identifier: Apache-2.0

package fositeserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func (s *Server) authorize(w http.ResponseWriter, r *http.Request, _ *record.Entry) {
	ctx := r.Context()
	request, subject, err := s.requested(ctx, r)
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	if len(s.accounts) > 0 {
		question := harness.Question{Accounts: s.accounts, Client: request.GetClient().GetID(), Scopes: request.GetRequestedScopes()}
		answer, ok := question.Ask(w, r)
		if !ok {
			return
		}
		if !answer.Approved {
			s.deny(w, request)
			return
		}
		subject = answer.Account
	}
	response, err := s.consent(ctx, request, subject)
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

// requested checks an authorization request, and says who consents where nobody is asked.
func (s *Server) requested(ctx context.Context, r *http.Request) (fosite.AuthorizeRequester, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, err := s.provider.NewAuthorizeRequest(ctx, r)
	return request, s.subject, err
}

// consent grants all that is asked for.
func (s *Server) consent(ctx context.Context, request fosite.AuthorizeRequester, subject string) (fosite.AuthorizeResponder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := s.provider.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Subject: subject})
	if err != nil {
		return nil, err
	}
	if len(s.accounts) > 0 {
		response.AddParameter("iss", s.URL)
	}
	s.Issue(response.GetCode())
	return response, nil
}

// deny sends a person who has refused back to the client (RFC 6749 section 4.1.2.1), with the issuer that fosite's own
// errors lack (RFC 9207 section 2).
func (s *Server) deny(w http.ResponseWriter, request fosite.AuthorizeRequester) {
	target := *request.GetRedirectURI()
	answer := target.Query()
	answer.Set("error", "access_denied")
	answer.Set("error_description", "The person has refused.")
	answer.Set("state", request.GetState())
	answer.Set("iss", s.URL)
	target.RawQuery = answer.Encode()
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusSeeOther)
}

// userInfo tells whose an access token is (OpenID Connect Core section 5.3), where there are accounts.
func (s *Server) userInfo(w http.ResponseWriter, r *http.Request, _ *record.Entry) {
	if len(s.accounts) == 0 {
		http.NotFound(w, r)
		return
	}
	subject, err := s.accountOf(r.Context(), record.Bearer(r))
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		harness.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	harness.WriteJSON(w, http.StatusOK, map[string]any{"sub": subject})
}

func (s *Server) accountOf(ctx context.Context, token string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	use, request, err := s.provider.IntrospectToken(ctx, token, fosite.AccessToken, &fosite.DefaultSession{})
	if err != nil {
		return "", err
	}
	if use != fosite.AccessToken {
		return "", errors.New("not an access token")
	}
	return request.GetSession().GetSubject(), nil
}
