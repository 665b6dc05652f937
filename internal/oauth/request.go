// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Parameter is one parameter of a request's body. A name may occur several times among the extra parameters of a request
// (`resource` of RFC 8707 does).
type Parameter struct {
	Name  string
	Value sensitive.String
}

// Grant is what a token request offers in exchange for tokens. Make one with AuthorizationCode, RefreshToken or
// ClientCredentials.
type Grant struct {
	grantType  string
	parameters []Parameter
}

// Type returns the value of `grant_type`.
func (g Grant) Type() string { return g.grantType }

// AuthorizationCode exchanges a code (RFC 6749, section 4.1.3). An empty verifier (RFC 7636, section 4.5) or redirect URI
// is left out.
func AuthorizationCode(code, verifier sensitive.String, redirectURI string) Grant {
	return Grant{grantType: "authorization_code", parameters: given(
		Parameter{Name: "code", Value: code},
		Parameter{Name: "redirect_uri", Value: sensitive.New(redirectURI)},
		Parameter{Name: "code_verifier", Value: verifier},
	)}
}

// RefreshToken asks for new tokens (RFC 6749, section 6). Without scopes, which is the usual case, the provider keeps
// those of the grant.
func RefreshToken(token sensitive.String, scope string) Grant {
	return Grant{grantType: "refresh_token", parameters: given(
		Parameter{Name: "refresh_token", Value: token},
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	)}
}

// ClientCredentials asks for a token in the client's own name (RFC 6749, section 4.4). Scope is what JoinScopes gives.
func ClientCredentials(scope string) Grant {
	return Grant{grantType: "client_credentials", parameters: given(
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	)}
}

// given drops empty parameters: RFC 6749, section 3.2 has them mean the same as absent ones, and some servers differ.
func given(parameters ...Parameter) []Parameter {
	var kept []Parameter
	for _, parameter := range parameters {
		if !parameter.Value.IsEmpty() {
			kept = append(kept, parameter)
		}
	}
	return kept
}

// JoinScopes writes scopes as one `scope` parameter. An empty separator means a space (RFC 6749, section 3.3).
func JoinScopes(scopes []string, separator string) string {
	if separator == "" {
		separator = " "
	}
	return strings.Join(scopes, separator)
}

// TokenRequest is a request to a token endpoint.
type TokenRequest struct {
	// URL of the token endpoint; it may have a query.
	URL    string
	Client Client
	Grant  Grant
	// Parameters are sent besides those of the grant and the client, in this order. None may have the name of one of
	// those: a parameter of the protocol must not occur twice (RFC 6749, section 3.2).
	Parameters []Parameter
}

// RevocationRequest is a request to a revocation endpoint (RFC 7009, section 2.1).
type RevocationRequest struct {
	URL    string
	Client Client
	Token  sensitive.String
	// TokenTypeHint is HintRefreshToken, HintAccessToken or empty.
	TokenTypeHint string
}

// The token type hints of RFC 7009.
const (
	HintRefreshToken = "refresh_token"
	HintAccessToken  = "access_token"
)

// message is a request in the form that both endpoints share.
type message struct {
	url     string
	body    sensitive.String
	basic   sensitive.String
	secrets []sensitive.String // what an answer must not repeat into an error
}

func (r TokenRequest) message() (message, error) {
	if r.Grant.grantType == "" {
		return message{}, unusable("the request has no grant")
	}
	parameters := append([]Parameter{{Name: "grant_type", Value: sensitive.New(r.Grant.grantType)}}, r.Grant.parameters...)
	return compose(r.URL, r.Client, parameters, r.Parameters)
}

func (r RevocationRequest) message() (message, error) {
	if r.Token.IsEmpty() {
		return message{}, unusable("there is no token to revoke")
	}
	return compose(r.URL, r.Client, given(
		Parameter{Name: "token", Value: r.Token},
		Parameter{Name: "token_type_hint", Value: sensitive.New(r.TokenTypeHint)},
	), nil)
}

func compose(endpoint string, client Client, protocol, extra []Parameter) (message, error) {
	target, err := url.Parse(endpoint)
	if err != nil || target.Host == "" || (target.Scheme != "https" && target.Scheme != "http") || target.User != nil {
		return message{}, unusable("the endpoint is not an absolute http(s) URL without user information")
	}
	authentication, basic, err := client.authentication()
	if err != nil {
		return message{}, err
	}
	protocol = append(protocol, authentication...)
	taken := map[string]bool{}
	for _, parameter := range protocol {
		taken[parameter.Name] = true
	}
	for _, parameter := range extra {
		if taken[parameter.Name] {
			return message{}, unusable("the extra parameter " + parameter.Name + " is one that the request has already")
		}
	}
	all := append(protocol, extra...)
	return message{url: endpoint, body: encode(all), basic: basic, secrets: confidential(client, basic, all)}, nil
}

// encode keeps the order of the parameters, which url.Values would not.
func encode(parameters []Parameter) sensitive.String {
	var body strings.Builder
	for i, parameter := range parameters {
		if i > 0 {
			body.WriteByte('&')
		}
		body.WriteString(url.QueryEscape(parameter.Name))
		body.WriteByte('=')
		body.WriteString(url.QueryEscape(parameter.Value.Reveal()))
	}
	return sensitive.New(body.String())
}

// confidential lists what must not come back in an error: everything that was sent but what is public by its nature,
// which would make messages unreadable if it were replaced.
func confidential(client Client, basic sensitive.String, sent []Parameter) []sensitive.String {
	secrets := []sensitive.String{client.Secret, basic}
	for _, parameter := range sent {
		switch parameter.Name {
		case "grant_type", "client_id", "scope", "redirect_uri", "token_type_hint", "resource", "audience":
		default:
			secrets = append(secrets, parameter.Value)
		}
	}
	return secrets
}
