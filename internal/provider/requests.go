// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// grantTypeDeviceCode is of RFC 8628, section 3.4.
const grantTypeDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

// AuthorizationRequest is one person's way to the provider.
type AuthorizationRequest struct {
	State string
	// CodeChallenge is the S256 challenge; it is left out where PKCE is disabled.
	CodeChallenge string
	// RedirectURL is empty for the profile's.
	RedirectURL string
	Scopes      []string
	Values      Values
}

// AuthorizationURL writes the link that a person follows (RFC 6749, section 4.1.1). Parameters without a value are left out.
func (p *Profile) AuthorizationURL(r AuthorizationRequest) (string, error) {
	x, err := p.expansion(r.Values)
	if err != nil {
		return "", err
	}
	target, err := x.url("endpoints.authorizationURL", string(p.endpoints().AuthorizationURL))
	if err != nil {
		return "", err
	}
	redirect := either(r.RedirectURL, p.RedirectURL)
	scope := p.joinScopes(r.Scopes)
	x.operator[nameRedirectURI], x.operator[nameScope] = sensitive.New(redirect), sensitive.New(scope)
	var query [][2]string
	standard := func(name, value string) {
		if renamed, exists := p.Spec.AuthorizationParameterNames[name]; exists {
			name = string(renamed)
		}
		if name != "" && value != "" {
			query = append(query, [2]string{name, value})
		}
	}
	standard("response_type", "code")
	standard("client_id", p.Client.ID)
	standard("redirect_uri", redirect)
	standard("scope", scope)
	standard("state", r.State)
	if r.CodeChallenge != "" && p.Spec.PKCE != v1alpha1.PKCEDisabled {
		standard("code_challenge", r.CodeChallenge)
		standard("code_challenge_method", "S256")
	}
	extra, err := x.query("authorizationParameters", p.Spec.AuthorizationParameters)
	if err != nil {
		return "", err
	}
	return withQuery(target, append(query, extra...)), nil
}

// TokenURL returns the endpoint for a value of `grant_type`: refreshes have one of their own at a few providers.
func (p *Profile) TokenURL(grantType string, v Values) (string, error) {
	x, err := p.expansion(v)
	if err != nil {
		return "", err
	}
	return p.tokenURL(x, grantType)
}

func (p *Profile) tokenURL(x *expansion, grantType string) (string, error) {
	endpoints := p.endpoints()
	refresh := grantType == oauth.RefreshToken(sensitive.String{}, "").Type() ||
		p.RenewsByAccessToken() && grantType == p.Spec.TokenRequest.Refresh.GrantType
	if refresh && endpoints.RefreshURL != "" {
		return x.url("endpoints.refreshURL", string(endpoints.RefreshURL))
	}
	return x.url("endpoints.tokenURL", string(endpoints.TokenURL))
}

func (p *Profile) endpoints() v1alpha1.Endpoints {
	if p.Spec.Endpoints == nil {
		return v1alpha1.Endpoints{}
	}
	return *p.Spec.Endpoints
}

// TokenRequest writes a request to the token endpoint. The redirect URL is what {redirect_uri} stands for in parameters; empty
// for the profile's.
func (p *Profile) TokenRequest(g oauth.Grant, redirectURL string, v Values) (oauth.TokenRequest, error) {
	x, err := p.expansion(v)
	if err != nil {
		return oauth.TokenRequest{}, err
	}
	request := oauth.TokenRequest{Client: p.Client, Grant: g, Names: p.parameterNames()}
	if request.URL, err = p.tokenURL(x, g.Type()); err != nil {
		return oauth.TokenRequest{}, err
	}
	if request.Response, err = responseMapping(p.Spec.TokenResponse); err != nil {
		return oauth.TokenRequest{}, err
	}
	if shape := p.Spec.TokenRequest; shape != nil {
		request.Format = oauth.Format(shape.Format)
		x.operator[nameRedirectURI] = sensitive.New(either(redirectURL, p.RedirectURL))
		if request.Parameters, err = x.parameters(g.Type()); err != nil {
			return oauth.TokenRequest{}, err
		}
		if request.Headers, err = x.headers("tokenRequest.headers", shape.Headers, true); err != nil {
			return oauth.TokenRequest{}, err
		}
	}
	return request, nil
}

func (p *Profile) parameterNames() map[string]string {
	if p.Spec.TokenRequest == nil {
		return nil
	}
	return plain(p.Spec.TokenRequest.ParameterNames)
}

func plain[T ~string](typed map[string]T) map[string]string {
	if typed == nil {
		return nil
	}
	untyped := make(map[string]string, len(typed))
	for name, value := range typed {
		untyped[name] = string(value)
	}
	return untyped
}

// RefreshGrant returns what renews the tokens: the refresh token, or the access token where RenewsByAccessToken. ok is false
// when that token is missing.
func (p *Profile) RefreshGrant(refresh, access sensitive.String) (g oauth.Grant, ok bool) {
	if !p.RenewsByAccessToken() {
		return oauth.RefreshToken(refresh, ""), !refresh.IsEmpty()
	}
	how := p.Spec.TokenRequest.Refresh
	return oauth.Extension(how.GrantType, []oauth.Parameter{{Name: string(how.AccessTokenParameter), Value: access}}, ""), !access.IsEmpty()
}

// DeviceAuthorization writes the request that starts a device authorization (RFC 8628, section 3.1). Parameters of the token
// request that go with every grant, such as audience and resource, are sent here too.
func (p *Profile) DeviceAuthorization(scopes []string, v Values) (oauth.DeviceAuthorizationRequest, error) {
	none := oauth.DeviceAuthorizationRequest{}
	x, err := p.expansion(v)
	if err != nil {
		return none, err
	}
	request := oauth.DeviceAuthorizationRequest{Client: p.Client, Scope: p.joinScopes(scopes), Names: p.parameterNames()}
	if request.URL, err = x.url("endpoints.deviceAuthorizationURL", string(p.endpoints().DeviceAuthorizationURL)); err != nil {
		return none, err
	}
	if shape := p.Spec.TokenRequest; shape != nil {
		x.operator[nameRedirectURI] = sensitive.New(p.RedirectURL)
		if request.Parameters, err = x.parameters(grantTypeDeviceCode); err != nil {
			return none, err
		}
		if request.Headers, err = x.headers("tokenRequest.headers", shape.Headers, true); err != nil {
			return none, err
		}
	}
	return request, nil
}

// Revocation writes the request that revokes a token, in the provider's own way or that of RFC 7009.
func (p *Profile) Revocation(kind v1alpha1.TokenKind, token sensitive.String, v Values) (oauth.RevocationRequest, error) {
	none := oauth.RevocationRequest{}
	x, err := p.expansion(v)
	if err != nil {
		return none, err
	}
	request := oauth.RevocationRequest{
		Client: p.Client, Token: token, TokenTypeHint: oauth.HintAccessToken, Names: p.parameterNames(),
	}
	if kind == v1alpha1.TokenRefresh {
		request.TokenTypeHint = oauth.HintRefreshToken
	}
	if p.RevocationAuthentication != "" {
		request.Client.Authentication = p.RevocationAuthentication
	}
	if request.URL, err = x.url("endpoints.revocationURL", string(p.endpoints().RevocationURL)); err != nil {
		return none, err
	}
	if request.Response, err = responseMapping(p.Spec.TokenResponse); err != nil {
		return none, err
	}
	how := p.Spec.Revocation
	if how == nil {
		return request, nil
	}
	request.Method, request.Format = how.Method, oauth.Format(how.Format)
	p.authenticateRevocation(&request, how.Authentication)
	x.operator[nameToken], x.operator[nameClientSecret] = token, p.Client.Secret
	if request.Headers, err = x.headers("revocation.headers", how.Headers, false); err != nil {
		return none, err
	}
	if how.Parameters != nil {
		body := []oauth.Parameter{}
		for _, parameter := range *how.Parameters {
			value, given, err := x.text(entry("revocation.parameters", parameter.Name), parameter.Value, false)
			if err != nil {
				return none, err
			}
			if given {
				body = append(body, oauth.Parameter{Name: parameter.Name, Value: value})
			}
		}
		request.Body = &body
	}
	return request, nil
}

func (p *Profile) authenticateRevocation(request *oauth.RevocationRequest, how v1alpha1.RevocationAuthentication) {
	switch how {
	case v1alpha1.RevocationByBearer:
		request.Bearer = true
	case v1alpha1.RevocationByNobody:
		request.Anonymous = true
	case v1alpha1.RevocationByBasic, v1alpha1.RevocationByPost:
		if p.usesSecret() { // A client without a secret can prove itself in its own way only.
			request.Client.Authentication = oauth.AuthenticationMethod(how)
		}
	case v1alpha1.RevocationByClient:
		request.Client.Authentication = p.Client.Authentication
	case "": // What discovery says, which is set already.
	}
}

func (p *Profile) usesSecret() bool {
	return p.Client.Authentication == oauth.ClientSecretBasic || p.Client.Authentication == oauth.ClientSecretPost
}

// Introspection writes the request that asks whether a token is active (RFC 7662). The hint is oauth.HintRefreshToken,
// oauth.HintAccessToken or empty.
func (p *Profile) Introspection(token sensitive.String, hint string, v Values) (oauth.IntrospectionRequest, error) {
	x, err := p.expansion(v)
	if err != nil {
		return oauth.IntrospectionRequest{}, err
	}
	target, err := x.url("endpoints.introspectionURL", string(p.endpoints().IntrospectionURL))
	if err != nil {
		return oauth.IntrospectionRequest{}, err
	}
	return oauth.IntrospectionRequest{URL: target, Client: p.Client, Token: token, TokenTypeHint: hint, Names: p.parameterNames()}, nil
}

// UserInfo writes the request that tells whose a token is. ok is false where the provider has no endpoint for that.
func (p *Profile) UserInfo(access sensitive.String, v Values) (r oauth.ResourceRequest, ok bool, err error) {
	if p.endpoints().UserInfoURL == "" {
		return oauth.ResourceRequest{}, false, nil
	}
	x, err := p.expansion(v)
	if err != nil {
		return oauth.ResourceRequest{}, true, err
	}
	if r.URL, err = x.url("endpoints.userInfoURL", string(p.endpoints().UserInfoURL)); err != nil {
		return oauth.ResourceRequest{}, true, err
	}
	var headers []v1alpha1.RequestHeader
	if p.Spec.UserInfo != nil {
		headers = p.Spec.UserInfo.Headers
	}
	r.Headers, err = x.authorized("userInfo.headers", headers, access)
	return r, true, err
}

// ListPage writes the request for one page of the provider's list of connections. The cursor is empty for the first page; the
// application's id at the provider is empty when it is not known, and parameters that need it are left out then.
func (p *Profile) ListPage(cursor, applicationID string, v Values) (oauth.ResourceRequest, error) {
	list := connectionList(p.Spec)
	if list == nil {
		return oauth.ResourceRequest{}, missing("statusCheck.connectionList")
	}
	return p.page("statusCheck.connectionList", list.URL, list.Query, cursor, applicationID, v)
}

// ApplicationPage writes the request for one page of the provider's list of clients.
func (p *Profile) ApplicationPage(cursor string, v Values) (oauth.ResourceRequest, error) {
	list := connectionList(p.Spec)
	if list == nil || list.Application == nil {
		return oauth.ResourceRequest{}, missing("statusCheck.connectionList.application")
	}
	return p.page("statusCheck.connectionList.application", list.Application.URL, list.Application.Query, cursor, "", v)
}

func (p *Profile) page(field, text string, query map[string]v1alpha1.ParameterValue, cursor, applicationID string, v Values) (oauth.ResourceRequest, error) {
	x, err := p.expansion(v)
	if err != nil {
		return oauth.ResourceRequest{}, err
	}
	x.operator[nameApplicationID] = sensitive.New(applicationID)
	target, err := x.url(field+".url", listURL(p.Spec, text))
	if err != nil {
		return oauth.ResourceRequest{}, err
	}
	parameters, err := x.query(field+".query", query)
	if err != nil {
		return oauth.ResourceRequest{}, err
	}
	list := connectionList(p.Spec)
	if list.Page != nil && cursor != "" {
		parameters = append(parameters, [2]string{string(list.Page.CursorParameter), cursor})
	}
	headers, err := x.headers("statusCheck.connectionList.headers", list.Headers, false)
	return oauth.ResourceRequest{URL: withQuery(target, parameters), Headers: headers}, err
}

func missing(field string) error {
	return &FieldError{Field: field, Message: "the request needs it, and neither the application nor discovery names one"}
}

// withQuery adds parameters to a URL that may have some.
func withQuery(target string, parameters [][2]string) string {
	var query strings.Builder
	for _, parameter := range parameters {
		if query.Len() > 0 {
			query.WriteByte('&')
		}
		query.WriteString(escapeQuery(parameter[0]) + "=" + escapeQuery(parameter[1]))
	}
	if query.Len() == 0 {
		return target
	}
	_, present, has := strings.Cut(target, "?")
	switch {
	case !has:
		return target + "?" + query.String()
	case present == "":
		return target + query.String()
	}
	return target + "&" + query.String()
}

// escapeQuery writes a space as %20: that is read alike everywhere, and + is not.
func escapeQuery(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// sortedNames returns the names of parameters in the one order in which they are sent.
func sortedNames(parameters map[string]v1alpha1.ParameterValue) []string {
	return slices.Sorted(maps.Keys(parameters))
}
