// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// NoPKCE as the challenge of NewCode asks for a code without PKCE.
const NoPKCE = "no-pkce"

// NewPKCE returns a fresh verifier and its S256 challenge (RFC 7636 section 4).
func NewPKCE() (verifier, challenge string) {
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// NewCode drives the authorization endpoint as a consenting user would and
// returns the code. An empty challenge makes a fresh S256 pair, whose verifier
// is returned; NoPKCE leaves PKCE out; with any other challenge the verifier is
// the caller's business. An empty redirectURI is DefaultRedirectURI.
func (s *Server) NewCode(clientID, redirectURI string, scopes []string, challenge string) (code, verifier string, err error) {
	return NewCodeAt(s.Client(), s.URL, clientID, redirectURI, scopes, challenge)
}

// NewCodeAt is NewCode for a server that runs elsewhere, at the address base.
// The client must not follow redirects.
func NewCodeAt(client *http.Client, base, clientID, redirectURI string, scopes []string, challenge string) (code, verifier string, err error) {
	return NewCodeWith(client, base, clientID, redirectURI, scopes, challenge, nil)
}

// NewCodeWith is NewCodeAt with further parameters in the authorization request.
func NewCodeWith(client *http.Client, base, clientID, redirectURI string, scopes []string, challenge string, more url.Values) (code, verifier string, err error) {
	if challenge == "" {
		verifier, challenge = NewPKCE()
	}
	state := rand.Text()
	query := authorizationRequest(clientID, redirectURI, scopes, challenge, state)
	maps.Copy(query, more)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, base+"/authorize?"+query.Encode(), nil)
	if err != nil {
		return "", "", err
	}
	resp, err := client.Do(request)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	code, err = codeOf(resp, state)
	return code, verifier, err
}

func authorizationRequest(clientID, redirectURI string, scopes []string, challenge, state string) url.Values {
	if redirectURI == "" {
		redirectURI = DefaultRedirectURI
	}
	query := url.Values{
		"response_type": {"code"},
		"client_id":     {clientID},
		"redirect_uri":  {redirectURI},
		"state":         {state},
	}
	if len(scopes) > 0 {
		query.Set("scope", strings.Join(scopes, " "))
	}
	if challenge != NoPKCE {
		query.Set("code_challenge", challenge)
		query.Set("code_challenge_method", "S256")
	}
	return query
}

// codeOf reads the code from a redirect (RFC 6749 section 4.1.2). Its errors
// name no URL, which could hold a code.
func codeOf(resp *http.Response, state string) (string, error) {
	target, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("authorization endpoint answered %d without a redirect", resp.StatusCode)
	}
	answer := target.Query()
	if answer.Get("error") != "" {
		return "", fmt.Errorf("authorization refused: %s: %s", answer.Get("error"), answer.Get("error_description"))
	}
	if answer.Get("state") != state {
		return "", errors.New("authorization endpoint answered with another state")
	}
	if answer.Get("code") == "" {
		return "", errors.New("authorization endpoint redirected without a code")
	}
	return answer.Get("code"), nil
}
