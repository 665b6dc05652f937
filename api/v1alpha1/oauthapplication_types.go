// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClientAuthentication says how the client proves who it is at the provider's token endpoint.
// +kubebuilder:validation:Enum=ClientSecretBasic;ClientSecretPost;PrivateKeyJWT;TLS;ServiceAccountToken;None
type ClientAuthentication string

// Methods of client authentication.
const (
	// ClientSecretBasic sends id and secret in the Authorization header (RFC 6749 section 2.3.1).
	ClientSecretBasic ClientAuthentication = "ClientSecretBasic"
	// ClientSecretPost sends id and secret in the request body (RFC 6749 section 2.3.1).
	ClientSecretPost ClientAuthentication = "ClientSecretPost"
	// ClientPrivateKeyJWT signs an assertion with the client's private key (RFC 7523 section 2.2).
	ClientPrivateKeyJWT ClientAuthentication = "PrivateKeyJWT"
	// ClientTLS presents a client certificate (RFC 8705).
	ClientTLS ClientAuthentication = "TLS"
	// ClientServiceAccountToken sends a token of a ServiceAccount as assertion (RFC 7523 section 2.2), for providers that
	// trust the cluster's issuer: there is no client secret at all.
	ClientServiceAccountToken ClientAuthentication = "ServiceAccountToken"
	// ClientNone is a public client: only its id is sent (RFC 6749 section 3.2.1).
	ClientNone ClientAuthentication = "None"
)

// PKCEMethod says whether authorization requests carry a code challenge (RFC 7636).
// +kubebuilder:validation:Enum=S256;Disabled
type PKCEMethod string

// Methods of PKCE.
const (
	// PKCES256 sends the SHA-256 challenge.
	PKCES256 PKCEMethod = "S256"
	// PKCEDisabled sends none, for providers that refuse the parameter.
	PKCEDisabled PKCEMethod = "Disabled"
)

// OAuthApplicationSpec describes a client that is registered at an OAuth provider.
// +kubebuilder:validation:XValidation:rule="has(self.provider) || has(self.issuerURL) || (has(self.endpoints) && has(self.endpoints.tokenURL))",message="name the provider: set provider (a preset), issuerURL (its endpoints are then discovered) or endpoints.tokenURL"
type OAuthApplicationSpec struct {
	// DisplayName is what people see when they are asked to connect.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`

	// LogoURL is a picture that people see beside the name.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http']",message="must be an absolute https URL"
	LogoURL string `json:"logoURL,omitempty"`

	// Provider names a preset of the catalogue, for example google, github or increase (docs/providers.md lists them).
	// A preset is nothing but fields of this spec; those that are set here win over it: maps and lists with names entry by
	// entry, other lists as a whole. Discovery by issuerURL fills only what is left.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Provider string `json:"provider,omitempty"`

	// IssuerURL is the provider's issuer identifier. The operator reads its discovery document (OpenID Connect
	// Discovery, then RFC 8414) and fills the endpoints that are not given below. The document's issuer must equal
	// this value, letter by letter. It is one for all connections: `{name}` stands for the default of an input.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self.replace('{', 'x').replace('}', 'x')) && url(self.replace('{', 'x').replace('}', 'x')).getScheme() in ['https', 'http']",message="must be an absolute https URL, for example https://login.example.com"
	IssuerURL string `json:"issuerURL,omitempty"`

	// Endpoints of the provider. What is given here wins over discovery.
	// +optional
	Endpoints *Endpoints `json:"endpoints,omitempty"`

	// Client is the registration at the provider.
	// +required
	Client ClientSpec `json:"client"`

	// RedirectURL is registered at the provider for this client. Default: the gateway's external URL followed by
	// /oauth2/callback.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be an absolute URL"
	RedirectURL string `json:"redirectURL,omitempty"`

	// Scopes that connections ask for unless they name their own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Scopes []Scope `json:"scopes,omitempty"`

	// ScopeSeparator stands between scopes in requests. Default: a space, as the standard says; a few providers want a
	// comma.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1
	ScopeSeparator string `json:"scopeSeparator,omitempty"`

	// PKCE (RFC 7636) is S256 unless the provider refuses it. Default: S256, or what the preset says.
	// +optional
	PKCE PKCEMethod `json:"pkce,omitempty"`

	// AuthorizationParameters are added to the authorization URL, for example `access_type: offline`. `{name}` stands for
	// an input or a captured value, `{scope}` for the scopes. An empty value leaves out a parameter of the preset; parameters
	// that use an input without value, or a captured value that is not known yet, are left out too.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['client_id', 'redirect_uri', 'response_type', 'state', 'scope', 'code_challenge', 'code_challenge_method', 'client_secret']))",message="client_id, client_secret, redirect_uri, response_type, state, scope, code_challenge and code_challenge_method are set by the operator"
	AuthorizationParameters map[string]ParameterValue `json:"authorizationParameters,omitempty"`

	// AuthorizationParameterNames are the provider's names of standard parameters of the authorization URL, where they
	// differ: `client_id: client_key`. An empty name leaves the parameter out.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['client_id', 'redirect_uri', 'response_type', 'state', 'scope'])",message="the keys are the standard names: client_id, redirect_uri, response_type, state, scope"
	AuthorizationParameterNames map[string]ParameterValue `json:"authorizationParameterNames,omitempty"`

	// Callback says how the provider's callback differs from the standard.
	// +optional
	Callback *CallbackSpec `json:"callback,omitempty"`

	// TokenRequest shapes requests to the token endpoint.
	// +optional
	TokenRequest *TokenRequestSpec `json:"tokenRequest,omitempty"`

	// TokenResponse says where the provider puts things that are elsewhere than in the standard.
	// +optional
	TokenResponse *TokenResponseSpec `json:"tokenResponse,omitempty"`

	// UserInfo says how the account behind a token is looked up at endpoints.userInfoURL.
	// +optional
	UserInfo *UserInfoSpec `json:"userInfo,omitempty"`

	// Revocation says how tokens are revoked at endpoints.revocationURL, where RFC 7009 is not followed.
	// +optional
	Revocation *RevocationSpec `json:"revocation,omitempty"`

	// Inputs are values that connections give in spec.inputs; `{name}` stands for them in URLs, parameters and headers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Inputs []Input `json:"inputs,omitempty"`

	// APIBaseURL is where the provider's API begins; it may consist of inputs and captured values (`{instance_url}`).
	// +optional
	APIBaseURL EndpointURL `json:"apiBaseURL,omitempty"`

	// APIHeaders go with each request to the API. `{access_token}` stands for the access token; without it in any header,
	// requests carry `Authorization: Bearer {access_token}`.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	APIHeaders []RequestHeader `json:"apiHeaders,omitempty"`

	// AllowedHosts are further hosts that the token may be sent to: a name, or `*.` before a domain.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$`
	AllowedHosts []string `json:"allowedHosts,omitempty"`

	// StatusCheck says whether and how grants are checked at the provider; unset: as the preset says, else not at all.
	// +optional
	StatusCheck *StatusCheckSpec `json:"statusCheck,omitempty"`

	// Webhook describes how the provider tells that a person has ended a grant. The gateway takes such events at
	// status.webhookURL; each is a hint, and the provider is asked before it is believed.
	// +optional
	Webhook *WebhookSpec `json:"webhook,omitempty"`

	// AllowedNamespaces says whose connections may use this application; only its own namespace's by default.
	// +optional
	// +kubebuilder:default={from: Same}
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// AllowedGrantTypes are the grant types that connections of other namespaces may use. Default:
	// AuthorizationCode, DeviceCode and RefreshToken, which need a person's consent. With the other types, connections of
	// other namespaces may only ask for scopes that the application lists.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	AllowedGrantTypes []GrantType `json:"allowedGrantTypes,omitempty"`

	// Limits bound the calls to the provider, counted over all connections of this application.
	// +optional
	Limits *Limits `json:"limits,omitempty"`

	// APILimits bound the requests that the request proxy sends to the provider's API. Each process of the API counts for
	// itself.
	// +optional
	APILimits *APILimits `json:"apiLimits,omitempty"`

	// CABundle holds certificates (PEM) to trust for this provider, beside none else, when it has a private CA.
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`
}

// ParameterValue is the value of a request parameter.
// +kubebuilder:validation:MaxLength=2048
type ParameterValue string

// EndpointURL is an absolute https URL without user info or fragment; `{name}` in it stands for an input or a captured
// value, which may be the whole beginning of it. Plain http is refused unless the administrator allows the host with
// --allow-private-networks.
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="!self.contains('#') && !self.matches('^([^/]*//)?[^/?]*@') && (self.startsWith('{') || (isURL(self.replace('{', 'x').replace('}', 'x')) && url(self.replace('{', 'x').replace('}', 'x')).getScheme() in ['https', 'http']))",message="must be an absolute https URL without user name or fragment"
type EndpointURL string

// Endpoints are the provider's URLs.
type Endpoints struct {
	// AuthorizationURL is where a person consents (RFC 6749 section 3.1).
	// +optional
	AuthorizationURL EndpointURL `json:"authorizationURL,omitempty"`
	// TokenURL is where codes and refresh tokens become access tokens (RFC 6749 section 3.2).
	// +optional
	TokenURL EndpointURL `json:"tokenURL,omitempty"`
	// RefreshURL is used for refreshes instead of tokenURL by the few providers that have a separate one.
	// +optional
	RefreshURL EndpointURL `json:"refreshURL,omitempty"`
	// RevocationURL is where tokens are revoked when a connection is deleted (RFC 7009).
	// +optional
	RevocationURL EndpointURL `json:"revocationURL,omitempty"`
	// IntrospectionURL tells whether a token is active (RFC 7662).
	// +optional
	IntrospectionURL EndpointURL `json:"introspectionURL,omitempty"`
	// DeviceAuthorizationURL starts a device authorization (RFC 8628).
	// +optional
	DeviceAuthorizationURL EndpointURL `json:"deviceAuthorizationURL,omitempty"`
	// UserInfoURL tells whose the token is (OpenID Connect Core section 5.3).
	// +optional
	UserInfoURL EndpointURL `json:"userInfoURL,omitempty"`
}

// ClientSpec is the client's registration at the provider.
// +kubebuilder:validation:XValidation:rule="has(self.id) != has(self.idSecretRef)",message="give exactly one of id and idSecretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.authentication != 'None' || !has(self.secretRef)",message="authentication None is a public client and takes no secretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.authentication in ['None', 'ServiceAccountToken'] || has(self.secretRef)",message="authentication ClientSecretBasic, ClientSecretPost, PrivateKeyJWT and TLS need secretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.authentication != 'ServiceAccountToken' || (has(self.assertion) && has(self.assertion.serviceAccountName))",message="authentication ServiceAccountToken needs assertion.serviceAccountName"
type ClientSpec struct {
	// ID is the client_id that the provider gave.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ID string `json:"id,omitempty"`
	// IDSecretRef names the Secret with the client_id, in the application's namespace, in place of id; key default
	// client_id.
	// +optional
	IDSecretRef *SecretKeyReference `json:"idSecretRef,omitempty"`
	// SecretRef names the Secret with the client's credential, in the application's namespace: the client secret (key
	// default client_secret); with authentication PrivateKeyJWT the private key, as PEM or JWK (key default tls.key); with
	// TLS the private key (key default tls.key) beside its certificate under tls.crt. A changed Secret is used from then
	// on, without a restart.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// Authentication at the token endpoint. Unset: what the preset or discovery says, else ClientSecretBasic with a secret
	// and None without.
	// +optional
	Authentication ClientAuthentication `json:"authentication,omitempty"`
	// BasicCredentials is how ClientSecretBasic writes id and secret; default Encoded.
	// +optional
	BasicCredentials BasicCredentials `json:"basicCredentials,omitempty"`
	// Assertion shapes the client assertion of PrivateKeyJWT and ServiceAccountToken.
	// +optional
	Assertion *ClientAssertionSpec `json:"assertion,omitempty"`
}

// BasicCredentials is how id and secret are written into the Authorization header.
// +kubebuilder:validation:Enum=Encoded;Plain;SecretAsUserName
type BasicCredentials string

// Ways to write Basic credentials.
const (
	// BasicEncoded form-encodes id and secret first (RFC 6749 section 2.3.1).
	BasicEncoded BasicCredentials = "Encoded"
	// BasicPlain writes them as they are, for providers that do not decode them.
	BasicPlain BasicCredentials = "Plain"
	// BasicSecretAsUserName sends the secret as user name, and no password.
	BasicSecretAsUserName BasicCredentials = "SecretAsUserName"
)

// SigningAlgorithm is a JWS algorithm (RFC 7518 section 3.1, RFC 8037).
// +kubebuilder:validation:Enum=RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA
type SigningAlgorithm string

// AssertionAudience says for whom an assertion is meant.
// +kubebuilder:validation:Enum=TokenURL;Issuer
type AssertionAudience string

// Audiences of an assertion.
const (
	// AudienceTokenURL is the URL of the token endpoint, also where the request goes to another one.
	AudienceTokenURL AssertionAudience = "TokenURL"
	// AudienceIssuer is issuerURL.
	AudienceIssuer AssertionAudience = "Issuer"
)

// ClientAssertionSpec shapes a client assertion (RFC 7523 section 3).
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || !has(self.audienceFrom)",message="give one of audience and audienceFrom"
type ClientAssertionSpec struct {
	// Algorithm of the signature; default: RS256, ES256, ES384, ES512 or EdDSA, by the kind of key.
	// +optional
	Algorithm SigningAlgorithm `json:"algorithm,omitempty"`
	// KeyID is the `kid` of the header, where the provider wants one; default: that of a JWK.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	KeyID string `json:"keyID,omitempty"`
	// AudienceFrom chooses the `aud` claim: TokenURL (default) or Issuer. Providers differ in which one they accept.
	// +optional
	AudienceFrom AssertionAudience `json:"audienceFrom,omitempty"`
	// Audience is the `aud` claim to the letter, in place of audienceFrom.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Audience string `json:"audience,omitempty"`
	// ServiceAccountName is the ServiceAccount, in the application's namespace, whose token is the assertion with
	// ServiceAccountToken. It has to allow that with the annotation oauth-operator.io/allow-tokens: "true". Audiences of
	// the API server are refused.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// NamespacesFrom says which namespaces' connections may use an application.
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// Values of allowedNamespaces.from.
const (
	// NamespacesFromSame allows the application's own namespace.
	NamespacesFromSame NamespacesFrom = "Same"
	// NamespacesFromAll allows every namespace.
	NamespacesFromAll NamespacesFrom = "All"
	// NamespacesFromSelector allows the application's own namespace and those whose labels match.
	NamespacesFromSelector NamespacesFrom = "Selector"
)

// AllowedNamespaces says whose connections may use an application.
// +kubebuilder:validation:XValidation:rule="(has(self.from) && self.from == 'Selector') == has(self.selector)",message="selector goes with from: Selector, and from: Selector needs it"
type AllowedNamespaces struct {
	// From is Same (default), All, or Selector.
	// +optional
	// +kubebuilder:default=Same
	From NamespacesFrom `json:"from,omitempty"`
	// Selector matches labels of namespaces; with from: Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// Limits bound the calls to a provider.
type Limits struct {
	// RequestsPerSecond is a quantity; fractions are allowed ("0.5", "100m"). Unset: no limit.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be greater than 0"
	RequestsPerSecond *resource.Quantity `json:"requestsPerSecond,omitempty"`
	// MaxConcurrent calls at once; one more is kept free for authorization codes, which live for a minute only.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	MaxConcurrent int32 `json:"maxConcurrent,omitempty"`
}

// APILimits bound the requests to a provider's API, counted over all connections of the application.
type APILimits struct {
	// RequestsPerSecond is a quantity; fractions are allowed. Unset: no limit.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be greater than 0"
	RequestsPerSecond *resource.Quantity `json:"requestsPerSecond,omitempty"`
	// MaxConcurrent requests at once; default 256.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxConcurrent int32 `json:"maxConcurrent,omitempty"`
	// Connection bounds the requests of each connection.
	// +optional
	Connection *ConnectionAPILimits `json:"connection,omitempty"`
	// RemainingHeader is the header in which the provider says how many requests are left, for example
	// X-RateLimit-Remaining. At 0, the connection's requests wait for what resetHeader says.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	RemainingHeader string `json:"remainingHeader,omitempty"`
	// ResetHeader is the header in which it says when there will be more, for example X-RateLimit-Reset: seconds from now, a
	// Unix time in seconds or milliseconds, a duration such as 6m0s, or a date. It counts too where an answer with status 429
	// has no Retry-After.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	ResetHeader string `json:"resetHeader,omitempty"`
}

// ConnectionAPILimits bound the requests of one connection to a provider's API.
type ConnectionAPILimits struct {
	// RequestsPerSecond is a quantity; fractions are allowed. Unset: no limit.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be greater than 0"
	RequestsPerSecond *resource.Quantity `json:"requestsPerSecond,omitempty"`
	// MaxConcurrent requests at once; default 64.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxConcurrent int32 `json:"maxConcurrent,omitempty"`
}

// CABundle names where certificates (PEM) are kept, in the application's namespace.
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.configMapRef)",message="give exactly one of secretRef and configMapRef"
type CABundle struct {
	// SecretRef; key default ca.crt.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// ConfigMapRef; key default ca.crt.
	// +optional
	ConfigMapRef *ConfigMapKeyReference `json:"configMapRef,omitempty"`
}

// ApplicationPhase sums up an application in one word.
// +kubebuilder:validation:Enum=Pending;Active;Deleted
type ApplicationPhase string

// Phases of an application.
const (
	// ApplicationPending : something is missing or wrong; the conditions say what.
	ApplicationPending ApplicationPhase = "Pending"
	// ApplicationActive : connections can use it.
	ApplicationActive ApplicationPhase = "Active"
	// ApplicationDeleted : it is being deleted, or the provider says that it no longer exists.
	ApplicationDeleted ApplicationPhase = "Deleted"
)

// ConnectionCounts counts the connections of an application.
type ConnectionCounts struct {
	// Total number of connections that refer to the application, without those that it does not allow and that hold
	// no token.
	Total int32 `json:"total"`
	// Active is the number of those whose phase is Active.
	Active int32 `json:"active"`
	// Unmanaged is the number of live connections at the provider that no OAuthConnection manages, by the last status check
	// of type ConnectionList; unset: not known.
	// +optional
	Unmanaged *int32 `json:"unmanaged,omitempty"`
}

// OAuthApplicationStatus is what the operator knows about an application.
type OAuthApplicationStatus struct {
	// Phase is Pending, Active or Deleted.
	// +optional
	Phase ApplicationPhase `json:"phase,omitempty"`
	// Endpoints in use: the given ones and the discovered ones.
	// +optional
	Endpoints *Endpoints `json:"endpoints,omitempty"`
	// RedirectURL in use, to be registered at the provider.
	// +optional
	RedirectURL string `json:"redirectURL,omitempty"`
	// ClientID in use: client.id, or what client.idSecretRef holds. It is shown to everybody who authorizes.
	// +optional
	ClientID string `json:"clientID,omitempty"`
	// Issuer is the provider's issuer identifier, as its discovery document gives it.
	// +optional
	Issuer string `json:"issuer,omitempty"`
	// IssuerInResponse : the provider announces that its authorization responses name the issuer (RFC 9207), so that one
	// without it is refused.
	// +optional
	IssuerInResponse bool `json:"issuerInResponse,omitempty"`
	// WebhookURL is where the gateway takes the provider's events, to be registered at the provider; empty: the application
	// has no webhook, its secret is missing, or there is no gateway.
	// +optional
	WebhookURL string `json:"webhookURL,omitempty"`
	// Connections that refer to this application. Those that it does not allow, and that hold no token, are not
	// counted.
	// +optional
	Connections *ConnectionCounts `json:"connections,omitempty"`
	// ObservedGeneration is the generation of the spec that this status describes.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OAuthApplication is a client registered at an OAuth provider. Connections refer to it; the client's secret stays in
// a Secret of this namespace, and connections of other namespaces can use the client but never see it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=oaapp,categories=oauth
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Connections",type=integer,JSONPath=`.status.connections.total`
// +kubebuilder:printcolumn:name="Active",type=integer,JSONPath=`.status.connections.active`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Token URL",type=string,priority=1,JSONPath=`.status.endpoints.tokenURL`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
type OAuthApplication struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the client as registered at the provider.
	// +required
	Spec OAuthApplicationSpec `json:"spec"`
	// Status is written by the operator alone. Until it has been, it speaks of no generation, so that tools that follow
	// kstatus wait.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status OAuthApplicationStatus `json:"status,omitempty"`
}

// OAuthApplicationList is a list of applications.
// +kubebuilder:object:root=true
type OAuthApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthApplication `json:"items"`
}
