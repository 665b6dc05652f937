// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Grant is what a token request offers in exchange for tokens. Make one with AuthorizationCode, RefreshToken,
// ClientCredentials, DeviceCode, JWTBearer, TokenExchange or Extension.
type Grant struct {
	grantType  string
	parameters []Parameter
	// missing names what the grant cannot be made without, and does not have.
	missing string
}

// The grant types, as the value of `grant_type`.
const (
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
	grantClientCredentials = "client_credentials"
	grantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Type returns the value of `grant_type`.
func (g Grant) Type() string { return g.grantType }

// AuthorizationCode exchanges a code (RFC 6749, section 4.1.3). An empty verifier (RFC 7636, section 4.5) or redirect URI
// is left out.
func AuthorizationCode(code, verifier sensitive.String, redirectURI string) Grant {
	return Grant{grantType: grantAuthorizationCode, parameters: given(
		Parameter{Name: "code", Value: code},
		Parameter{Name: "redirect_uri", Value: sensitive.New(redirectURI)},
		Parameter{Name: "code_verifier", Value: verifier},
	)}
}

// RefreshToken asks for new tokens (RFC 6749, section 6). Without scopes, which is the usual case, the provider keeps
// those of the grant.
func RefreshToken(token sensitive.String, scope string) Grant {
	return Grant{grantType: grantRefreshToken, parameters: given(
		Parameter{Name: "refresh_token", Value: token},
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	)}
}

// ClientCredentials asks for a token in the client's own name (RFC 6749, section 4.4). Scope is what JoinScopes gives.
func ClientCredentials(scope string) Grant {
	return Grant{grantType: grantClientCredentials, parameters: given(
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	)}
}

// DeviceCode asks whether a person has agreed (RFC 8628, section 3.4). Until then the provider answers with the codes
// authorization_pending and slow_down, which are ConcernTransient.
func DeviceCode(code sensitive.String) Grant {
	return Grant{
		grantType:  grantDeviceCode,
		parameters: given(Parameter{Name: "device_code", Value: code}),
		missing:    nameIfEmpty(code, "device code"),
	}
}

// JWTBearer exchanges an assertion (RFC 7523, section 2.1).
func JWTBearer(assertion sensitive.String, scope string) Grant {
	return Grant{grantType: grantJWTBearer, parameters: given(
		Parameter{Name: "assertion", Value: assertion},
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	), missing: nameIfEmpty(assertion, "assertion")}
}

// TokenExchangeParameters are those of RFC 8693, section 2.1. Empty ones are left out; the subject token and its type are
// required.
type TokenExchangeParameters struct {
	SubjectToken       sensitive.String
	SubjectTokenType   string
	ActorToken         sensitive.String
	ActorTokenType     string
	RequestedTokenType string
	Audience           []string
	Resource           []string
}

// TokenExchange exchanges one token for another (RFC 8693, section 2.1).
func TokenExchange(x TokenExchangeParameters, scope string) Grant {
	var parameters []Parameter
	for _, resource := range x.Resource {
		parameters = append(parameters, Parameter{Name: "resource", Value: sensitive.New(resource)})
	}
	for _, audience := range x.Audience {
		parameters = append(parameters, Parameter{Name: "audience", Value: sensitive.New(audience)})
	}
	grant := Grant{grantType: grantTokenExchange, parameters: given(append(parameters,
		Parameter{Name: "scope", Value: sensitive.New(scope)},
		Parameter{Name: "requested_token_type", Value: sensitive.New(x.RequestedTokenType)},
		Parameter{Name: "subject_token", Value: x.SubjectToken},
		Parameter{Name: "subject_token_type", Value: sensitive.New(x.SubjectTokenType)},
		Parameter{Name: "actor_token", Value: x.ActorToken},
		Parameter{Name: "actor_token_type", Value: sensitive.New(x.ActorTokenType)},
	)...), missing: nameIfEmpty(x.SubjectToken, "subject token")}
	if grant.missing == "" && x.SubjectTokenType == "" {
		grant.missing = "type of its subject token"
	}
	return grant
}

// Extension is any other grant type (RFC 6749, section 4.5), with its parameters in this order.
func Extension(grantType string, parameters []Parameter, scope string) Grant {
	return Grant{grantType: grantType, parameters: append(given(parameters...), given(
		Parameter{Name: "scope", Value: sensitive.New(scope)},
	)...)}
}

func nameIfEmpty(value sensitive.String, name string) string {
	if value.IsEmpty() {
		return name
	}
	return ""
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
