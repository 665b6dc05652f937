// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// JSONPath selects from a JSON document (RFC 9535), for example `$.data.token`. Where it selects several values, the
// first that is not empty counts: `$..access_token` finds a token wherever it lies, nearest to the root first. To bound
// what a path costs, it has at most one `..`, two filters and four commas, and no match, search or `$` inside a filter.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="self.startsWith('$')",message="must be a JSONPath (RFC 9535), for example $.data.token"
type JSONPath string

// ValueName names an input or a captured value; `{name}` stands for it in URLs, parameters and headers.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_]*$`
// +kubebuilder:validation:XValidation:rule="!(self in ['access_token', 'refresh_token', 'token', 'client_id', 'client_secret', 'redirect_uri', 'scope', 'state', 'code', 'application_id'])",message="access_token, refresh_token, token, client_id, client_secret, redirect_uri, scope, state, code and application_id are names of the operator's own"
type ValueName string

// Restriction says which values are acceptable. Values that a connection or a provider's answer gives become part of a
// URL's host only under a restriction that pins the domain: an enum, or an anchored pattern that ends in a fixed domain
// suffix. Otherwise a tenant could have the client secret sent to a server of their own.
type Restriction struct {
	// Pattern is a regular expression (RE2) that the whole value must match; it is anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Pattern string `json:"pattern,omitempty"`
	// Enum lists the only values that are accepted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	Enum []string `json:"enum,omitempty"`
}

// Input is a value that each connection gives in spec.inputs, such as the name of a tenant.
// +kubebuilder:validation:XValidation:rule="!has(self.default) || !has(self.enum) || self.default in self.enum",message="default must be one of enum"
type Input struct {
	// Name of the value, used as `{name}`.
	// +required
	Name ValueName `json:"name"`
	// Description tells people what to give.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Description string `json:"description,omitempty"`
	// Default is used by connections that give none. Without a default, every connection has to give the value.
	// To fix a value for all connections (a self-hosted server, say), set it here: without enum or a pattern that pins
	// the domain, connections cannot change a value that is part of a host.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Default *string `json:"default,omitempty"`
	// Prefix is taken off a value that begins with it, as in `https://` before a host name that was copied whole.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Prefix string `json:"prefix,omitempty"`
	// Suffix is taken off a value that ends in it, as in `.example.com` after the name of a tenant.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Suffix string `json:"suffix,omitempty"`

	Restriction `json:",inline"`
}

// Capture keeps a value of a provider's answer, to be used as `{name}` later.
type Capture struct {
	// Name of the value, used as `{name}`.
	// +required
	Name ValueName `json:"name"`
	// Path of the value in the answer.
	// +required
	Path JSONPath `json:"path"`

	Restriction `json:",inline"`
}

// CallbackCapture keeps a query parameter of the callback, to be used as `{name}` later. Where a code comes in a Secret,
// the value is read from the Secret's key of the parameter's name.
type CallbackCapture struct {
	// Name of the value, used as `{name}`.
	// +required
	Name ValueName `json:"name"`
	// Parameter of the callback's query.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Parameter string `json:"parameter"`

	Restriction `json:",inline"`
}

// CallbackSpec says how a provider's callback differs from the standard (RFC 6749 section 4.1.2).
type CallbackSpec struct {
	// ParameterNames are the provider's names of code, state, error, error_description and iss, where they differ.
	// +optional
	// +kubebuilder:validation:MaxProperties=8
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['code', 'state', 'error', 'error_description', 'iss'])",message="the keys are the standard names: code, state, error, error_description, iss"
	ParameterNames map[string]ParameterName `json:"parameterNames,omitempty"`
	// Capture keeps further parameters of the callback.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Capture []CallbackCapture `json:"capture,omitempty"`
}

// ParameterName is the name of a request parameter.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.\[\]-]+$`
type ParameterName string

// RequestFormat is the form of a request's body.
// +kubebuilder:validation:Enum=Form;JSON
type RequestFormat string

// Forms of a body.
const (
	// FormatForm is application/x-www-form-urlencoded, as the standard says.
	FormatForm RequestFormat = "Form"
	// FormatJSON is a JSON object of strings.
	FormatJSON RequestFormat = "JSON"
)

// ValueSecretReference names a key that holds a value.
type ValueSecretReference struct {
	// Name of the Secret in the application's namespace; default: the one of client.secretRef.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Key in the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// RequestHeader is a header with a value, or with a Secret that holds the value.
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretKeyRef)",message="give exactly one of value and secretKeyRef"
// +kubebuilder:validation:XValidation:rule="!has(self.prefix) || has(self.secretKeyRef)",message="prefix goes with secretKeyRef; put it into value"
type RequestHeader struct {
	// Name of the header.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'content-length', 'content-type', 'transfer-encoding', 'connection', 'cookie', 'upgrade', 'te', 'trailer', 'expect'])",message="Host, Content-Type, Content-Length, Cookie and the headers of the connection itself are set by the operator"
	Name string `json:"name"`
	// Value in the clear. `{name}` stands for an input or a captured value, and for what the field documents.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Value *string `json:"value,omitempty"`
	// SecretKeyRef names the key of a Secret that holds the value.
	// +optional
	SecretKeyRef *ValueSecretReference `json:"secretKeyRef,omitempty"`
	// Prefix goes before the value of secretKeyRef, for example `Bearer ` with its space.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Prefix string `json:"prefix,omitempty"`
}

// RequestParameter is a name with a value, or with a Secret that holds the value.
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretKeyRef)",message="give exactly one of value and secretKeyRef"
type RequestParameter struct {
	// Name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!(self in ['grant_type', 'code', 'code_verifier', 'refresh_token', 'client_id', 'client_secret', 'scope'])",message="grant_type, code, code_verifier, refresh_token, client_id, client_secret and scope are set by the operator"
	Name string `json:"name"`
	// Value in the clear. `{name}` stands for an input or a captured value, `{redirect_uri}` for the redirect URL. An
	// empty value leaves out a parameter of the preset.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Value *string `json:"value,omitempty"`
	// SecretKeyRef names the key of a Secret that holds the value.
	// +optional
	SecretKeyRef *ValueSecretReference `json:"secretKeyRef,omitempty"`
	// GrantTypes are the values of grant_type with which the parameter is sent, for example `refresh_token`; default:
	// all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=128
	GrantTypes []string `json:"grantTypes,omitempty"`
}

// TokenRequestSpec shapes requests to the token endpoint.
type TokenRequestSpec struct {
	// Format of the body: Form (default) or JSON.
	// +optional
	Format RequestFormat `json:"format,omitempty"`
	// Headers are added to each token request.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []RequestHeader `json:"headers,omitempty"`
	// Parameters are added to the body of each token request, for example `audience` or `resource` (RFC 8707).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Parameters []RequestParameter `json:"parameters,omitempty"`
	// ParameterNames are the provider's names of standard parameters, where they differ: `client_id: client_key`.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	ParameterNames map[string]ParameterName `json:"parameterNames,omitempty"`
	// Refresh says how tokens are renewed at providers that give no refresh token but exchange an access token for a
	// newer one. Default: the standard's refresh (RFC 6749 section 6).
	// +optional
	Refresh *RefreshRequestSpec `json:"refresh,omitempty"`
}

// RefreshRequestSpec renews a token by exchanging the access token.
type RefreshRequestSpec struct {
	// GrantType is the value of grant_type, for example `fb_exchange_token`.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	GrantType string `json:"grantType"`
	// AccessTokenParameter is the parameter that carries the present access token.
	// +required
	AccessTokenParameter ParameterName `json:"accessTokenParameter"`
}

// TokenResponseSpec says where a provider puts things that are elsewhere than in the standard (RFC 6749 section 5.1).
type TokenResponseSpec struct {
	// AccessToken; default $.access_token.
	// +optional
	AccessToken JSONPath `json:"accessToken,omitempty"`
	// RefreshToken; default $.refresh_token.
	// +optional
	RefreshToken JSONPath `json:"refreshToken,omitempty"`
	// TokenType; default $.token_type.
	// +optional
	TokenType JSONPath `json:"tokenType,omitempty"`
	// ExpiresIn is the lifetime in seconds; default $.expires_in.
	// +optional
	ExpiresIn JSONPath `json:"expiresIn,omitempty"`
	// ExpiresAt is the time of expiry where the provider gives one in place of a lifetime: RFC 3339, or seconds or
	// milliseconds since 1970.
	// +optional
	ExpiresAt JSONPath `json:"expiresAt,omitempty"`
	// RefreshTokenExpiresIn is the lifetime of the refresh token in seconds; default: the names that are in use
	// (refresh_token_expires_in, refresh_expires_in, x_refresh_token_expires_in).
	// +optional
	RefreshTokenExpiresIn JSONPath `json:"refreshTokenExpiresIn,omitempty"`
	// Scope is what was granted; default $.scope.
	// +optional
	Scope JSONPath `json:"scope,omitempty"`
	// ID is what the provider calls this grant; it becomes status.id.
	// +optional
	ID JSONPath `json:"id,omitempty"`
	// Subject is what the provider calls the account that granted; it becomes status.subject. Default: `sub` of the ID
	// token or of the user info endpoint.
	// +optional
	Subject JSONPath `json:"subject,omitempty"`
	// Error is the error code; default $.error.
	// +optional
	Error JSONPath `json:"error,omitempty"`
	// ErrorDescription is the explanation; default $.error_description.
	// +optional
	ErrorDescription JSONPath `json:"errorDescription,omitempty"`
	// ErrorCodes translate the provider's error codes into those of RFC 6749 section 5.2, so that a dead grant is told
	// from a wrong client: `bad_refresh_token: invalid_grant`.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	ErrorCodes map[string]OAuthErrorCode `json:"errorCodes,omitempty"`
	// Success must hold for an answer to count as one, where the HTTP status does not tell.
	// +optional
	Success *ResponseCondition `json:"success,omitempty"`
	// DefaultLifetime is assumed when the answer gives none: a duration such as 1h, or Never. With Never, a token without
	// expiry and without refresh token is taken to live until it is revoked.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == 'Never' || (self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s'))",message="must be a duration such as 30m or 1h, or Never"
	// +kubebuilder:validation:MaxLength=32
	DefaultLifetime string `json:"defaultLifetime,omitempty"`
	// Capture keeps further values, for example `instance_url`.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Capture []Capture `json:"capture,omitempty"`
}

// OAuthErrorCode is an error code of RFC 6749 section 5.2, or temporarily_unavailable.
// +kubebuilder:validation:Enum=invalid_grant;invalid_client;unauthorized_client;invalid_scope;invalid_request;unsupported_grant_type;temporarily_unavailable
type OAuthErrorCode string

// ResponseCondition compares a value of an answer.
type ResponseCondition struct {
	// Path of the value in the answer.
	// +required
	Path JSONPath `json:"path"`
	// Value that it must have, as text: `true`, `0`, `ok`.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// InactiveCondition compares a value of an answer with those that say that the token is no longer good.
type InactiveCondition struct {
	// Path of the value in the answer.
	// +required
	Path JSONPath `json:"path"`
	// Values of which it must have one, as text.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=256
	Values []string `json:"values"`
}

// UserInfoSpec says how the account behind a token is looked up at endpoints.userInfoURL, after the tokens are safe.
type UserInfoSpec struct {
	// Headers of the request. `{access_token}` stands for the access token; without it in any header, the request carries
	// `Authorization: Bearer {access_token}`.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []RequestHeader `json:"headers,omitempty"`
	// Subject is the account; default $.sub. It becomes status.subject.
	// +optional
	Subject JSONPath `json:"subject,omitempty"`
	// Capture keeps further values, for example the host of an account's API.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Capture []Capture `json:"capture,omitempty"`
}

// RevocationAuthentication says how a revocation request proves who sends it.
// +kubebuilder:validation:Enum=Client;ClientSecretBasic;ClientSecretPost;Bearer;None
type RevocationAuthentication string

// Ways to authenticate a revocation.
const (
	// RevocationByClient authenticates as at the token endpoint.
	RevocationByClient RevocationAuthentication = "Client"
	// RevocationByBasic sends id and secret in the Authorization header.
	RevocationByBasic RevocationAuthentication = "ClientSecretBasic"
	// RevocationByPost sends id and secret in the body.
	RevocationByPost RevocationAuthentication = "ClientSecretPost"
	// RevocationByBearer sends the token that is to be revoked in the Authorization header.
	RevocationByBearer RevocationAuthentication = "Bearer"
	// RevocationByNobody sends nothing but what headers and parameters say.
	RevocationByNobody RevocationAuthentication = "None"
)

// TokenKind is a kind of token.
// +kubebuilder:validation:Enum=RefreshToken;AccessToken
type TokenKind string

// Kinds of token.
const (
	// TokenRefresh is the refresh token.
	TokenRefresh TokenKind = "RefreshToken"
	// TokenAccess is the access token.
	TokenAccess TokenKind = "AccessToken"
)

// BodyParameter is one member of a request's body.
type BodyParameter struct {
	// Name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// Value of the parameter; it may be empty. `{token}` stands for the token that is revoked, `{client_id}` and
	// `{client_secret}` for the client's.
	// +required
	// +kubebuilder:validation:MaxLength=2048
	Value string `json:"value"`
}

// RevocationSpec says how tokens are revoked at providers that do not follow RFC 7009. The URL is
// endpoints.revocationURL.
type RevocationSpec struct {
	// Method of the request; default POST.
	// +optional
	// +kubebuilder:validation:Enum=POST;DELETE
	Method string `json:"method,omitempty"`
	// Format of the body: Form (default) or JSON.
	// +optional
	Format RequestFormat `json:"format,omitempty"`
	// Authentication of the request; default: Client, as at the token endpoint.
	// +optional
	Authentication RevocationAuthentication `json:"authentication,omitempty"`
	// Headers of the request. `{token}` stands for the token that is revoked, `{client_id}` and `{client_secret}` for the
	// client's.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []RequestHeader `json:"headers,omitempty"`
	// Parameters of the body in place of RFC 7009's `token` and `token_type_hint`; an empty list sends no body at all.
	// `{token}` stands for the token that is revoked, `{client_id}` and `{client_secret}` for the client's.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Parameters *[]BodyParameter `json:"parameters,omitempty"`
	// Tokens that can be revoked; default: both, the refresh token first.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Tokens []TokenKind `json:"tokens,omitempty"`
}

// StatusCheckType says how the operator finds out that a provider has ended a grant.
// +kubebuilder:validation:Enum=None;Introspection;Probe;ConnectionList
type StatusCheckType string

// Types of status check.
const (
	// StatusCheckNone asks nothing: it switches off what a preset says.
	StatusCheckNone StatusCheckType = "None"
	// StatusCheckIntrospection asks endpoints.introspectionURL about the token (RFC 7662).
	StatusCheckIntrospection StatusCheckType = "Introspection"
	// StatusCheckProbe makes one GET at the provider's API with the access token.
	StatusCheckProbe StatusCheckType = "Probe"
	// StatusCheckConnectionList reads the provider's own list of connections, once for all connections of the application.
	StatusCheckConnectionList StatusCheckType = "ConnectionList"
)

// StatusCheckSpec says whether and how grants are checked at the provider. An outage of the provider never makes a
// connection Inactive.
// +kubebuilder:validation:XValidation:rule="!has(self.probe) || !has(self.type) || self.type in ['Probe', 'ConnectionList']",message="probe goes with type Probe or ConnectionList"
// +kubebuilder:validation:XValidation:rule="!has(self.connectionList) || !has(self.type) || self.type == 'ConnectionList'",message="connectionList goes with type: ConnectionList"
type StatusCheckSpec struct {
	// Type of the check; required, unless the preset has one.
	// +optional
	Type StatusCheckType `json:"type,omitempty"`
	// Interval between two checks, such as 30m or 1h; default 1h, at least 1m. Checks are spread over it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m')",message="must be a duration of at least 1m, such as 30m or 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Probe describes the GET of type Probe. With type ConnectionList it is made for connections that the list does not
	// show.
	// +optional
	Probe *ProbeSpec `json:"probe,omitempty"`
	// ConnectionList describes the list of type ConnectionList.
	// +optional
	ConnectionList *ConnectionListSpec `json:"connectionList,omitempty"`
}

// ProbeSpec is one GET with the access token and the headers of apiHeaders.
type ProbeSpec struct {
	// Path is added to apiBaseURL; it may have a query and `{name}`.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// InactiveStatuses are the HTTP statuses that say that the token is no longer good; default 401.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=200
	// +kubebuilder:validation:items:Maximum=499
	InactiveStatuses []int32 `json:"inactiveStatuses,omitempty"`
	// InactiveWhen must hold too, where the status alone does not tell. Another value at its path then proves nothing.
	// +optional
	InactiveWhen *InactiveCondition `json:"inactiveWhen,omitempty"`
}

// ConnectionListSpec describes a provider's list of the connections of this client.
type ConnectionListSpec struct {
	// URL of the list; one that begins with / is added to apiBaseURL.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="!self.contains('#') && (self.startsWith('/') ? !self.startsWith('//') : !self.matches('^([^/]*//)?[^/?]*@') && (self.startsWith('{') || (isURL(self.replace('{', 'x').replace('}', 'x')) && url(self.replace('{', 'x').replace('}', 'x')).getScheme() in ['https', 'http'])))",message="must be a path that begins with /, or an absolute https URL without user name or fragment"
	URL string `json:"url"`
	// Headers of the request, mostly with the platform's own API key.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []RequestHeader `json:"headers,omitempty"`
	// Query parameters of each page. `{application_id}` stands for the application's id at the provider, where
	// application finds it.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Query map[string]ParameterValue `json:"query,omitempty"`
	// Page says how the next page is asked for; without it there is one page only.
	// +optional
	Page *PageSpec `json:"page,omitempty"`
	// Items selects the entries of a page; default $.data[*].
	// +optional
	Items JSONPath `json:"items,omitempty"`
	// ID of an entry; default $.id. It becomes status.id.
	// +optional
	ID JSONPath `json:"id,omitempty"`
	// Subject of an entry; it is compared with status.subject to find a connection's entry.
	// +required
	Subject JSONPath `json:"subject"`
	// Status of an entry; default $.status.
	// +optional
	Status JSONPath `json:"status,omitempty"`
	// ActiveValues are the statuses of grants that live; default: active.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	ActiveValues []string `json:"activeValues,omitempty"`
	// CreatedAt of an entry (RFC 3339); default $.created_at.
	// +optional
	CreatedAt JSONPath `json:"createdAt,omitempty"`
	// DeletedAt of an entry (RFC 3339, null while it lives); default $.deleted_at.
	// +optional
	DeletedAt JSONPath `json:"deletedAt,omitempty"`
	// Application finds the client itself in a list of the provider's.
	// +optional
	Application *ApplicationListSpec `json:"application,omitempty"`
}

// PageSpec says how to go on in a list.
type PageSpec struct {
	// CursorParameter is the query parameter that carries the cursor.
	// +required
	CursorParameter ParameterName `json:"cursorParameter"`
	// NextCursor selects the cursor of the next page; null or missing: there is none.
	// +required
	NextCursor JSONPath `json:"nextCursor"`
}

// ApplicationListSpec describes a provider's list of clients. Headers and paging are those of the list of connections.
type ApplicationListSpec struct {
	// URL of the list; one that begins with / is added to apiBaseURL.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="!self.contains('#') && (self.startsWith('/') ? !self.startsWith('//') : !self.matches('^([^/]*//)?[^/?]*@') && (self.startsWith('{') || (isURL(self.replace('{', 'x').replace('}', 'x')) && url(self.replace('{', 'x').replace('}', 'x')).getScheme() in ['https', 'http'])))",message="must be a path that begins with /, or an absolute https URL without user name or fragment"
	URL string `json:"url"`
	// Query parameters of each page.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Query map[string]ParameterValue `json:"query,omitempty"`
	// ClientID of an entry; default $.client_id. It is compared with client.id.
	// +optional
	ClientID JSONPath `json:"clientID,omitempty"`
	// ID of an entry; default $.id.
	// +optional
	ID JSONPath `json:"id,omitempty"`
	// Status of an entry; default $.status.
	// +optional
	Status JSONPath `json:"status,omitempty"`
	// DeletedValues are the statuses of clients that no longer exist; default: deleted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	DeletedValues []string `json:"deletedValues,omitempty"`
}

// WebhookScheme is how a provider signs its events.
// +kubebuilder:validation:Enum=TimestampedHMAC;StandardWebhooks;BodyHMAC
type WebhookScheme string

// Schemes of signatures; each is an HMAC-SHA256 under a shared secret.
const (
	// WebhookTimestampedHMAC has one header of the form `t=TIME,v1=HEX`; signed are the time, a dot and the body. TIME is
	// in Unix seconds or RFC 3339. Several `v1` may stand in it while a secret is replaced. With another prefix, such as
	// `s=`, that is the signature's name in place of `v1=`.
	WebhookTimestampedHMAC WebhookScheme = "TimestampedHMAC"
	// WebhookStandard is that of the Standard Webhooks specification: headers `webhook-id`, `webhook-timestamp` and
	// `webhook-signature` with `v1,BASE64`; signed are id, time and body with dots between them.
	WebhookStandard WebhookScheme = "StandardWebhooks"
	// WebhookBodyHMAC has one header with a prefix and a signature, like `X-Hub-Signature-256: sha256=HEX`. Signed is the
	// body, or what signedContent says.
	WebhookBodyHMAC WebhookScheme = "BodyHMAC"
)

// WebhookBelief says what is done about an event that cannot be verified with the provider.
// +kubebuilder:validation:Enum=Ignore;Believe
type WebhookBelief string

// Beliefs.
const (
	// WebhookIgnore leaves the connection as it is, and warns.
	WebhookIgnore WebhookBelief = "Ignore"
	// WebhookBelieve takes the provider at its word.
	WebhookBelieve WebhookBelief = "Believe"
)

// SignatureEncoding is how the bytes of a signature are written.
// +kubebuilder:validation:Enum=Hex;Base64
type SignatureEncoding string

// Encodings of signatures.
const (
	SignatureHex    SignatureEncoding = "Hex"
	SignatureBase64 SignatureEncoding = "Base64"
)

// WebhookSignature says how events are signed.
// +kubebuilder:validation:XValidation:rule="!has(self.scheme) || self.scheme == 'BodyHMAC' || !(has(self.encoding) || has(self.timestampHeader) || has(self.signedContent))",message="encoding, timestampHeader and signedContent go with scheme: BodyHMAC"
// +kubebuilder:validation:XValidation:rule="!has(self.scheme) || self.scheme != 'StandardWebhooks' || !has(self.prefix)",message="prefix goes with scheme: BodyHMAC or TimestampedHMAC"
// +kubebuilder:validation:XValidation:rule="!has(self.scheme) || has(self.timestampHeader) == (has(self.signedContent) && self.signedContent.contains('{timestamp}'))",message="timestampHeader and {timestamp} in signedContent go together: a time that is not signed can be changed"
type WebhookSignature struct {
	// Scheme of the signature; required, unless the preset has one. With a scheme, the signature is described anew, and
	// nothing of the preset's is left.
	// +optional
	Scheme WebhookScheme `json:"scheme,omitempty"`
	// Header with the signature. Default: Webhook-Signature with TimestampedHMAC, X-Hub-Signature-256 with BodyHMAC;
	// StandardWebhooks has names of its own, whose beginning `webhook` this replaces (`svix`).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	Header string `json:"header,omitempty"`
	// Prefix before the signature: with BodyHMAC, default `sha256=`, an empty one means none; with TimestampedHMAC, default
	// `v1=`.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Prefix *string `json:"prefix,omitempty"`
	// Encoding of the signature, with BodyHMAC; default Hex.
	// +optional
	Encoding SignatureEncoding `json:"encoding,omitempty"`
	// TimestampHeader is where the time of sending stands in Unix seconds, with BodyHMAC; signedContent must have it. Without
	// it, events carry no time: an old one can be sent again, which costs a question to the provider.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	TimestampHeader string `json:"timestampHeader,omitempty"`
	// SignedContent is what is signed, with BodyHMAC: `{timestamp}` and `{body}` stand for those, `{url}` for
	// status.webhookURL; default `{body}`.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.contains('{body}')",message="must contain {body}: what is not signed can be forged"
	SignedContent string `json:"signedContent,omitempty"`
}

// WebhookSpec describes the provider's events about ended grants. An event counts when its signature is good, its time is
// near, and its type is one of deauthorizedEvents.
// +kubebuilder:validation:XValidation:rule="!has(self.alternatives) || self.alternatives.all(a, has(a.scheme))",message="each of alternatives needs its scheme"
// +kubebuilder:validation:XValidation:rule="!has(self.eventType) || !has(self.eventTypeHeader)",message="give one of eventType and eventTypeHeader"
type WebhookSpec struct {
	WebhookSignature `json:",inline"`

	// Alternatives are other ways in which the same events may be signed, under the same secret.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	Alternatives []WebhookSignature `json:"alternatives,omitempty"`
	// SecretKeyRef names the shared secret, in the application's namespace; name default: the Secret of client.secretRef,
	// key default webhook_secret. The gateway gets to know it. It is used as it stands; with StandardWebhooks, one that
	// begins with whsec_ also as the base64 behind that.
	// +optional
	SecretKeyRef *WebhookSecretReference `json:"secretKeyRef,omitempty"`
	// Tolerance is how far the time of an event may be from now; default 5m, at most 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('1h')",message="must be a duration of at most 1h, such as 5m"
	Tolerance *metav1.Duration `json:"tolerance,omitempty"`
	// EventType is where the type of an event stands in its body; default $.type. Where the path selects nothing, the event is
	// one of another type.
	// +optional
	EventType JSONPath `json:"eventType,omitempty"`
	// EventTypeHeader is the header that holds the type, in place of eventType. Headers are not signed.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	EventTypeHeader string `json:"eventTypeHeader,omitempty"`
	// DeauthorizedEvents are the types that mean that a grant has ended; required, unless the preset has them. Others are
	// acknowledged and dropped.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=256
	DeauthorizedEvents []string `json:"deauthorizedEvents,omitempty"`
	// ConnectionID is where the provider's name of the grant stands (status.id), Subject where that of the account stands
	// (status.subject). Give at least one, unless the preset does.
	// +optional
	ConnectionID JSONPath `json:"connectionID,omitempty"`
	// Subject is where the provider's name of the account stands (status.subject).
	// +optional
	Subject JSONPath `json:"subject,omitempty"`
	// Unverifiable says what to do about an event when the provider cannot be asked about the grant: there is no statusCheck
	// and no refresh token. Default Ignore.
	// +optional
	Unverifiable WebhookBelief `json:"unverifiable,omitempty"`
	// Challenge answers the provider's question whether this is the right place.
	// +optional
	Challenge *WebhookChallenge `json:"challenge,omitempty"`
}

// WebhookSecretReference names one key of a Secret in the application's namespace.
type WebhookSecretReference struct {
	// Name of the Secret; default: that of client.secretRef.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Key in the Secret; default webhook_secret.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]*$`
	Key string `json:"key,omitempty"`
}

// WebhookChallenge is an event, signed like all others, whose value is sent back as plain text.
type WebhookChallenge struct {
	// EventType of the challenge, which may also stand at $.type where eventType selects nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	EventType string `json:"eventType"`
	// Value is where the text stands that is sent back.
	// +required
	Value JSONPath `json:"value"`
}
