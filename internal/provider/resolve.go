// SPDX-License-Identifier: Apache-2.0

// Package provider is the catalogue of providers, the merge of a preset, an application's spec and its provider's discovery
// document into one description of the client, and the requests that follow from that description. It is pure: it reads no
// Secret, and calls nobody.
package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// CallbackPath is where the gateway receives authorization responses, below its external URL.
const CallbackPath = "/oauth2/callback"

// maxURL is the longest URL that the CRD takes.
const maxURL = 2048

// defaultMaxConcurrent is the default of limits.maxConcurrent in the CRD, for objects that were made without it.
const defaultMaxConcurrent = 4

// Rules are the installation's part in a resolution.
type Rules struct {
	// CheckURL judges a URL that the operator may have to reach.
	CheckURL func(raw string) error
	// ExternalURL is the gateway's public address; empty without a gateway.
	ExternalURL string
}

// FieldError says which field cannot work, why, and what to do.
type FieldError struct {
	// Field is the path in the spec, like `endpoints.tokenURL`.
	Field string
	// Message is a clause for people.
	Message string
}

// Error returns both.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// Resolved is a client's description without its secrets.
type Resolved struct {
	// Spec is the effective spec with nothing left to default or to discover: endpoints, issuerURL, client.authentication,
	// scopeSeparator and pkce are filled.
	Spec           *v1alpha1.OAuthApplicationSpec
	Endpoints      v1alpha1.Endpoints
	Authentication oauth.AuthenticationMethod
	// RevocationAuthentication is empty when it is the same.
	RevocationAuthentication oauth.AuthenticationMethod
	// RedirectURL is empty when neither the spec nor a gateway gives one.
	RedirectURL    string
	Scopes         []string
	ScopeSeparator string
	Limits         Limits
}

// Limits bound the calls to a provider.
type Limits struct {
	// RequestsPerSecond is 0 for no limit.
	RequestsPerSecond float64
	// MaxConcurrent is at least 1.
	MaxConcurrent int
}

// LimitsOf returns the limits of a spec, which hold before anything is resolved.
func LimitsOf(spec *v1alpha1.OAuthApplicationSpec) Limits {
	limits := Limits{MaxConcurrent: defaultMaxConcurrent}
	if spec.Limits == nil {
		return limits
	}
	if spec.Limits.MaxConcurrent > 0 {
		limits.MaxConcurrent = int(spec.Limits.MaxConcurrent)
	}
	if rate := spec.Limits.RequestsPerSecond; rate != nil {
		limits.RequestsPerSecond = max(rate.AsApproximateFloat64(), 0)
	}
	return limits
}

// Resolve merges an effective spec that Validate has passed with the metadata of its issuer (nil when the spec names none):
// what the spec says wins. Nothing of the metadata is a template. The error is a *FieldError.
func Resolve(spec *v1alpha1.OAuthApplicationSpec, metadata *oauth.Metadata, rules Rules) (Resolved, error) {
	resolved := Resolved{
		RedirectURL:    redirectURL(spec, rules),
		ScopeSeparator: either(spec.ScopeSeparator, " "),
		Limits:         LimitsOf(spec),
	}
	for _, scope := range spec.Scopes {
		resolved.Scopes = append(resolved.Scopes, string(scope))
	}
	var err error
	if resolved.Authentication, err = authentication(spec, metadata); err != nil {
		return Resolved{}, err
	}
	if resolved.Endpoints, err = mergeEndpoints(spec.Endpoints, discovered(metadata, resolved.Authentication), rules); err != nil {
		return Resolved{}, err
	}
	resolved.RevocationAuthentication = revocationAuthentication(spec, metadata, resolved.Authentication)
	if resolved.Spec, err = complete(spec, resolved); err != nil {
		return Resolved{}, err
	}
	return resolved, nil
}

// complete fills what the spec left to discovery and defaults.
func complete(spec *v1alpha1.OAuthApplicationSpec, resolved Resolved) (*v1alpha1.OAuthApplicationSpec, error) {
	filled := spec.DeepCopy()
	issuer, err := IssuerURL(spec)
	if err != nil {
		return nil, err
	}
	filled.IssuerURL = issuer
	filled.Endpoints = &resolved.Endpoints
	filled.Client.Authentication = v1alpha1.ClientAuthentication(resolved.Authentication)
	filled.ScopeSeparator = resolved.ScopeSeparator
	if filled.PKCE == "" {
		filled.PKCE = v1alpha1.PKCES256
	}
	if err := checkAuthorizationHeaders(filled, resolved); err != nil {
		return nil, err
	}
	if check := filled.StatusCheck; check != nil && check.Type == v1alpha1.StatusCheckIntrospection && filled.Endpoints.IntrospectionURL == "" {
		return nil, &FieldError{Field: "endpoints.introspectionURL", Message: "statusCheck of type Introspection needs it, and the discovery document of issuerURL names none"}
	}
	return filled, nil
}

// checkAuthorizationHeaders finds headers that the client's own authentication would be sent in.
func checkAuthorizationHeaders(spec *v1alpha1.OAuthApplicationSpec, resolved Resolved) error {
	own := func(headers []v1alpha1.RequestHeader) bool {
		return slices.ContainsFunc(headers, func(header v1alpha1.RequestHeader) bool { return strings.EqualFold(header.Name, "Authorization") })
	}
	if spec.TokenRequest != nil && resolved.Authentication == oauth.ClientSecretBasic && own(spec.TokenRequest.Headers) {
		return &FieldError{Field: "tokenRequest.headers[Authorization]", Message: "client.authentication ClientSecretBasic is sent in this header; set client.authentication to another method, or remove the header"}
	}
	if spec.Revocation == nil || !own(spec.Revocation.Headers) {
		return nil
	}
	method := string(spec.Revocation.Authentication)
	if method == "" || spec.Revocation.Authentication == v1alpha1.RevocationByClient {
		method = string(resolved.Authentication)
	}
	if method == string(v1alpha1.RevocationByBearer) || method == string(v1alpha1.RevocationByBasic) {
		return &FieldError{Field: "revocation.headers[Authorization]", Message: "authentication " + method + " is sent in this header; set revocation.authentication to None, or remove the header"}
	}
	return nil
}

func redirectURL(spec *v1alpha1.OAuthApplicationSpec, rules Rules) string {
	if spec.RedirectURL != "" || rules.ExternalURL == "" {
		return spec.RedirectURL
	}
	return strings.TrimSuffix(rules.ExternalURL, "/") + CallbackPath
}

// endpoint is one member of Endpoints with its name in the spec and, where there is one, in a discovery document.
type endpoint struct {
	field, member string
	url           *v1alpha1.EndpointURL
}

func endpoints(e *v1alpha1.Endpoints) []endpoint {
	return []endpoint{
		{field: "authorizationURL", member: "authorization_endpoint", url: &e.AuthorizationURL},
		{field: "tokenURL", member: "token_endpoint", url: &e.TokenURL},
		{field: "refreshURL", url: &e.RefreshURL},
		{field: "revocationURL", member: "revocation_endpoint", url: &e.RevocationURL},
		{field: "introspectionURL", member: "introspection_endpoint", url: &e.IntrospectionURL},
		{field: "deviceAuthorizationURL", member: "device_authorization_endpoint", url: &e.DeviceAuthorizationURL},
		{field: "userInfoURL", member: "userinfo_endpoint", url: &e.UserInfoURL},
	}
}

func mergeEndpoints(given *v1alpha1.Endpoints, discovered v1alpha1.Endpoints, rules Rules) (v1alpha1.Endpoints, error) {
	var merged v1alpha1.Endpoints
	if given != nil {
		merged = *given
	}
	found := endpoints(&discovered)
	for i, endpoint := range endpoints(&merged) {
		if *endpoint.url != "" || *found[i].url == "" {
			continue
		}
		if err := checkDiscovered(string(*found[i].url), rules); err != nil {
			return v1alpha1.Endpoints{}, &FieldError{Field: "issuerURL", Message: fmt.Sprintf(
				"the discovery document's %s cannot be used: %v; or set endpoints.%s", endpoint.member, err, endpoint.field)}
		}
		*endpoint.url = *found[i].url
	}
	if merged.TokenURL == "" {
		return v1alpha1.Endpoints{}, &FieldError{
			Field: "endpoints.tokenURL", Message: "the discovery document of issuerURL names no token_endpoint; give it here",
		}
	}
	return merged, nil
}

// checkDiscovered also holds a URL to what status.endpoints can show.
func checkDiscovered(raw string, rules Rules) error {
	if len(raw) > maxURL || strings.ContainsAny(raw, "@{}") {
		return fmt.Errorf("it is longer than %d characters or contains an @ or a brace", maxURL)
	}
	return rules.CheckURL(raw)
}

// discovered are the endpoints of a discovery document. A client that shows a certificate has some of its own where the
// provider cannot ask for one everywhere (RFC 8705, section 5).
func discovered(metadata *oauth.Metadata, method oauth.AuthenticationMethod) v1alpha1.Endpoints {
	if metadata == nil {
		return v1alpha1.Endpoints{}
	}
	found := v1alpha1.Endpoints{
		AuthorizationURL:       v1alpha1.EndpointURL(metadata.AuthorizationEndpoint),
		TokenURL:               v1alpha1.EndpointURL(metadata.TokenEndpoint),
		RevocationURL:          v1alpha1.EndpointURL(metadata.RevocationEndpoint),
		IntrospectionURL:       v1alpha1.EndpointURL(metadata.IntrospectionEndpoint),
		DeviceAuthorizationURL: v1alpha1.EndpointURL(metadata.DeviceAuthorizationEndpoint),
		UserInfoURL:            v1alpha1.EndpointURL(metadata.UserinfoEndpoint),
	}
	if method != oauth.TLS {
		return found
	}
	certified := v1alpha1.Endpoints{
		TokenURL:               v1alpha1.EndpointURL(metadata.MTLSTokenEndpoint),
		RevocationURL:          v1alpha1.EndpointURL(metadata.MTLSRevocationEndpoint),
		IntrospectionURL:       v1alpha1.EndpointURL(metadata.MTLSIntrospectionEndpoint),
		DeviceAuthorizationURL: v1alpha1.EndpointURL(metadata.MTLSDeviceAuthorizationEndpoint),
	}
	own := endpoints(&certified)
	for i, endpoint := range endpoints(&found) {
		if *own[i].url != "" {
			*endpoint.url = *own[i].url
		}
	}
	return found
}

func authentication(spec *v1alpha1.OAuthApplicationSpec, metadata *oauth.Metadata) (oauth.AuthenticationMethod, error) {
	if spec.Client.Authentication != "" {
		return oauth.AuthenticationMethod(spec.Client.Authentication), nil
	}
	if metadata == nil {
		metadata = &oauth.Metadata{}
	}
	method, err := metadata.Authentication(spec.Client.SecretRef != nil)
	if err != nil {
		return "", &FieldError{Field: "client.authentication", Message: err.Error() + "; set the method here if it takes another one all the same"}
	}
	return method, nil
}

// revocationAuthentication differs from the token endpoint's method only where the document of the same endpoint leaves no
// choice: the spec's method holds for all endpoints.
func revocationAuthentication(spec *v1alpha1.OAuthApplicationSpec, metadata *oauth.Metadata, token oauth.AuthenticationMethod) oauth.AuthenticationMethod {
	if metadata == nil || spec.Client.Authentication != "" || token == oauth.None ||
		(spec.Endpoints != nil && spec.Endpoints.RevocationURL != "") {
		return ""
	}
	basic := slices.Contains(metadata.RevocationEndpointAuthMethodsSupported, "client_secret_basic")
	post := slices.Contains(metadata.RevocationEndpointAuthMethodsSupported, "client_secret_post")
	switch {
	case token == oauth.ClientSecretPost && basic && !post:
		return oauth.ClientSecretBasic
	case token == oauth.ClientSecretBasic && post && !basic:
		return oauth.ClientSecretPost
	}
	return ""
}
