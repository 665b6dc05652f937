// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClientAuthentication says how the client proves who it is at the provider's token endpoint.
// +kubebuilder:validation:Enum=ClientSecretBasic;ClientSecretPost;None
type ClientAuthentication string

// Methods of client authentication.
const (
	// ClientSecretBasic sends id and secret in the Authorization header (RFC 6749 section 2.3.1).
	ClientSecretBasic ClientAuthentication = "ClientSecretBasic"
	// ClientSecretPost sends id and secret in the request body (RFC 6749 section 2.3.1).
	ClientSecretPost ClientAuthentication = "ClientSecretPost"
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
// +kubebuilder:validation:XValidation:rule="has(self.issuerURL) || (has(self.endpoints) && has(self.endpoints.tokenURL))",message="name the provider: set issuerURL (its endpoints are then discovered) or endpoints.tokenURL"
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

	// IssuerURL is the provider's issuer identifier. The operator reads its discovery document (OpenID Connect
	// Discovery, then RFC 8414) and fills the endpoints that are not given below. The document's issuer must equal
	// this value, letter by letter.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http']",message="must be an absolute https URL, for example https://login.example.com"
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

	// ScopeSeparator stands between scopes in requests. The standard says a space; a few providers want a comma.
	// +optional
	// +kubebuilder:default=" "
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1
	ScopeSeparator string `json:"scopeSeparator,omitempty"`

	// PKCE (RFC 7636) is on unless the provider refuses it.
	// +optional
	// +kubebuilder:default=S256
	PKCE PKCEMethod `json:"pkce,omitempty"`

	// AuthorizationParameters are added to the authorization URL, for example `access_type: offline`.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['client_id', 'redirect_uri', 'response_type', 'state', 'scope', 'code_challenge', 'code_challenge_method', 'client_secret']))",message="client_id, client_secret, redirect_uri, response_type, state, scope, code_challenge and code_challenge_method are set by the operator"
	AuthorizationParameters map[string]ParameterValue `json:"authorizationParameters,omitempty"`

	// TokenRequest shapes requests to the token endpoint.
	// +optional
	TokenRequest *TokenRequestSpec `json:"tokenRequest,omitempty"`

	// AllowedNamespaces says whose connections may use this application; only its own namespace's by default.
	// +optional
	// +kubebuilder:default={from: Same}
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// AllowedGrantTypes are the grant types that connections of other namespaces may use. Default:
	// AuthorizationCode and RefreshToken, which need a person's consent. With ClientCredentials, connections of
	// other namespaces may only ask for scopes that the application lists.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	AllowedGrantTypes []GrantType `json:"allowedGrantTypes,omitempty"`

	// Limits bound the calls to the provider, counted over all connections of this application.
	// +optional
	Limits *Limits `json:"limits,omitempty"`

	// CABundle holds certificates (PEM) to trust for this provider, beside none else, when it has a private CA.
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`
}

// ParameterValue is the value of a request parameter.
// +kubebuilder:validation:MaxLength=2048
type ParameterValue string

// EndpointURL is an absolute https URL without user info or fragment. Plain http is refused unless the
// administrator allows the host with --allow-private-networks.
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && !self.contains('#') && !self.contains('@')",message="must be an absolute https URL without user name or fragment"
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
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.authentication != 'None' || !has(self.secretRef)",message="authentication None is a public client and takes no secretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.authentication == 'None' || has(self.secretRef)",message="authentication ClientSecretBasic and ClientSecretPost need secretRef"
type ClientSpec struct {
	// ID is the client_id that the provider gave.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ID string `json:"id"`
	// SecretRef names the Secret with the client secret, in the application's namespace; key default client_secret.
	// A changed Secret is used from then on, without a restart.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// Authentication at the token endpoint. Unset: what discovery says, else ClientSecretBasic with a secret and
	// None without.
	// +optional
	Authentication ClientAuthentication `json:"authentication,omitempty"`
}

// TokenRequestSpec shapes requests to the token endpoint.
type TokenRequestSpec struct {
	// Parameters are added to the body of each token request, for example `audience` or `resource`.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Parameters []RequestParameter `json:"parameters,omitempty"`
}

// RequestParameter is a name with a value, or with a Secret that holds the value.
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.secretKeyRef)",message="give exactly one of value and secretKeyRef"
type RequestParameter struct {
	// Name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!(self in ['grant_type', 'code', 'code_verifier', 'redirect_uri', 'refresh_token', 'client_id', 'client_secret', 'scope'])",message="grant_type, code, code_verifier, redirect_uri, refresh_token, client_id, client_secret and scope are set by the operator"
	Name string `json:"name"`
	// Value in the clear.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Value *string `json:"value,omitempty"`
	// SecretKeyRef names a Secret in the application's namespace and the key that holds the value; the key is
	// required here.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.key)",message="key is required"
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
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
