// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// provider is the OAuth server together with the client of the samples.
type provider struct {
	*fositeserver.Server

	client harness.Client
}

// consent is a person who agrees in the browser; the code would arrive at the client's redirect URL.
func (p *provider) consent() (code, verifier string, err error) {
	return p.NewCode(p.client.ID, p.client.RedirectURIs[0], p.client.Scopes, "")
}

// authorizeURL is the link of an authorization request without state and PKCE challenge, which are new each time.
func (p *provider) authorizeURL() string {
	return p.URL + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {p.client.ID}, "redirect_uri": {p.client.RedirectURIs[0]},
		"scope": {strings.Join(p.client.Scopes, " ")},
	}.Encode()
}

// earlierGrant is a refresh token that another system has obtained for the client.
func (p *provider) earlierGrant(ctx context.Context) (string, error) {
	code, verifier, err := p.consent()
	if err != nil {
		return "", err
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	err = p.post(ctx, "/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {p.client.RedirectURIs[0]},
	}, &answer)
	if err == nil && answer.RefreshToken == "" {
		err = fmt.Errorf("the OAuth server gave no refresh token")
	}
	return answer.RefreshToken, err
}

// active asks the introspection endpoint (RFC 7662) whether a token works.
func (p *provider) active(ctx context.Context, token string) (bool, error) {
	var answer struct {
		Active bool `json:"active"`
	}
	err := p.post(ctx, "/introspect", url.Values{"token": {token}}, &answer)
	return answer.Active, err
}

func (p *provider) post(ctx context.Context, path string, form url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(p.client.ID, p.client.Secret)
	response, err := p.Client().Do(request)
	if err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("post to %s: the OAuth server answered %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("post to %s: %w", path, err)
	}
	return nil
}
