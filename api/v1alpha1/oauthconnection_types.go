// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OAuthConnectionSpec describes one owner's grant at an application.
// +kubebuilder:validation:XValidation:rule="has(self.owner) == has(oldSelf.owner) && (!has(self.owner) || self.owner == oldSelf.owner)",message="owner is immutable; delete the connection and create another one"
type OAuthConnectionSpec struct {
	// ApplicationRef names the application; immutable, because a grant cannot move to another client.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="applicationRef is immutable; delete the connection (its tokens are revoked) and create another one"
	ApplicationRef ApplicationReference `json:"applicationRef"`

	// DisplayName is the label that a person gave this connection.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DisplayName string `json:"displayName,omitempty"`

	// Owner is the user that the grant belongs to, as Kubernetes names users; empty: shared. Immutable. It counts
	// only in the application's own namespace, since elsewhere anybody could write any name.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Owner string `json:"owner,omitempty"`

	// Scopes to ask for, in place of the application's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Scopes []Scope `json:"scopes,omitempty"`

	// Inputs are the values that the application asks for (its spec.inputs), by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Inputs map[string]InputValue `json:"inputs,omitempty"`

	// Grant says how the tokens are obtained.
	// +optional
	// +kubebuilder:default={type: AuthorizationCode}
	Grant GrantSpec `json:"grant,omitzero"`

	// Secret is where the access token is written for workloads to mount.
	// +optional
	Secret *TokenSecretSpec `json:"secret,omitempty"`

	// Refresh says when the access token is refreshed.
	// +optional
	Refresh *RefreshSpec `json:"refresh,omitempty"`

	// DeletionPolicy says what happens at the provider when this connection is deleted: Revoke its tokens (default,
	// also while suspended), or Orphan them, leaving the grant alive.
	// +optional
	// +kubebuilder:default=Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Suspend stops all calls to the provider; the Secret and the grant stay as they are. A deletion still revokes.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// InputValue is the value of an input.
// +kubebuilder:validation:MaxLength=256
type InputValue string

// ApplicationReference names an OAuthApplication.
type ApplicationReference struct {
	// Name of the application.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the application; default: the connection's own. The application must allow this namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// GrantSpec says how a connection obtains its tokens: a type, and a member of the same name.
// +kubebuilder:validation:XValidation:rule="!has(self.authorizationCode) || self.type == 'AuthorizationCode'",message="authorizationCode goes with type: AuthorizationCode"
// +kubebuilder:validation:XValidation:rule="has(self.refreshToken) == (self.type == 'RefreshToken')",message="type: RefreshToken needs refreshToken, and refreshToken goes with no other type"
// +kubebuilder:validation:XValidation:rule="!has(self.clientCredentials) || self.type == 'ClientCredentials'",message="clientCredentials goes with type: ClientCredentials"
// +kubebuilder:validation:XValidation:rule="!has(self.deviceCode) || self.type == 'DeviceCode'",message="deviceCode goes with type: DeviceCode"
// +kubebuilder:validation:XValidation:rule="has(self.jwtBearer) == (self.type == 'JWTBearer')",message="type: JWTBearer needs jwtBearer, and jwtBearer goes with no other type"
// +kubebuilder:validation:XValidation:rule="has(self.tokenExchange) == (self.type == 'TokenExchange')",message="type: TokenExchange needs tokenExchange, and tokenExchange goes with no other type"
// +kubebuilder:validation:XValidation:rule="has(self.extension) == (self.type == 'Extension')",message="type: Extension needs extension, and extension goes with no other type"
type GrantSpec struct {
	// Type of the grant; default AuthorizationCode. The member of the same name holds its settings.
	// +optional
	// +kubebuilder:default=AuthorizationCode
	Type GrantType `json:"type,omitempty"`
	// AuthorizationCode : a code that somebody already has, or that comes later.
	// +optional
	AuthorizationCode *AuthorizationCodeGrant `json:"authorizationCode,omitempty"`
	// RefreshToken : an existing grant is imported by its refresh token.
	// +optional
	RefreshToken *RefreshTokenGrant `json:"refreshToken,omitempty"`
	// ClientCredentials : the client's own grant; it has no settings.
	// +optional
	ClientCredentials *ClientCredentialsGrant `json:"clientCredentials,omitempty"`
	// DeviceCode : a person types a code on another device; code and link are in status.deviceAuthorization. It has no
	// settings.
	// +optional
	DeviceCode *DeviceCodeGrant `json:"deviceCode,omitempty"`
	// JWTBearer : an assertion, given or signed here, becomes a token.
	// +optional
	JWTBearer *JWTBearerGrant `json:"jwtBearer,omitempty"`
	// TokenExchange : another token becomes a token.
	// +optional
	TokenExchange *TokenExchangeGrant `json:"tokenExchange,omitempty"`
	// Extension : any other grant type with its parameters.
	// +optional
	Extension *ExtensionGrant `json:"extension,omitempty"`
}

// AuthorizationCodeGrant is an authorization code (RFC 6749 section 4.1). Empty: a person has to authorize.
// +kubebuilder:validation:XValidation:rule="has(self.codeSecretRef) || (!has(self.codeVerifierSecretRef) && !has(self.redirectURL))",message="codeVerifierSecretRef and redirectURL belong to the code: set codeSecretRef too"
type AuthorizationCodeGrant struct {
	// CodeSecretRef names the Secret with the code, in the connection's namespace; key default code. The Secret may
	// come later, and it is read, never changed. One code is exchanged once; another value authorizes anew.
	// +optional
	CodeSecretRef *SecretKeyReference `json:"codeSecretRef,omitempty"`
	// CodeVerifierSecretRef names the PKCE verifier that belongs to the code (RFC 7636); key default code_verifier.
	// +optional
	CodeVerifierSecretRef *SecretKeyReference `json:"codeVerifierSecretRef,omitempty"`
	// RedirectURL with which the code was requested; default: the application's.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be an absolute URL"
	RedirectURL string `json:"redirectURL,omitempty"`
}

// RefreshTokenGrant imports an existing grant.
type RefreshTokenGrant struct {
	// SecretRef names the Secret with the refresh token, in the connection's namespace; key default refresh_token.
	// It is read once: many providers replace the refresh token when it is used. Another value is imported anew.
	// +required
	SecretRef SecretKeyReference `json:"secretRef"`
}

// ClientCredentialsGrant has no settings.
type ClientCredentialsGrant struct{}

// DeviceCodeGrant has no settings.
type DeviceCodeGrant struct{}

// ServiceAccountTokenSource is a token of a ServiceAccount of the connection's namespace.
type ServiceAccountTokenSource struct {
	// Name of the ServiceAccount. It has to allow that with the annotation oauth-operator.io/allow-tokens: "true".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Audience of the token, as the provider expects it. Audiences of the API server are refused.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Audience string `json:"audience"`
}

// ConnectionReference names another connection of the same namespace.
type ConnectionReference struct {
	// Name of the connection.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// JWTBearerGrant is an assertion (RFC 7523 section 2.1): one that is given, a ServiceAccount's token, or one that is
// signed here with a key.
// +kubebuilder:validation:XValidation:rule="[has(self.assertionSecretRef), has(self.serviceAccountToken), has(self.signed)].filter(x, x).size() == 1",message="give exactly one of assertionSecretRef, serviceAccountToken and signed"
type JWTBearerGrant struct {
	// AssertionSecretRef names the Secret with an assertion that somebody else has made; key default assertion. Another
	// value is used at once.
	// +optional
	AssertionSecretRef *SecretKeyReference `json:"assertionSecretRef,omitempty"`
	// ServiceAccountToken uses a token of a ServiceAccount.
	// +optional
	ServiceAccountToken *ServiceAccountTokenSource `json:"serviceAccountToken,omitempty"`
	// Signed makes the assertion, anew for each request.
	// +optional
	Signed *SignedAssertion `json:"signed,omitempty"`
}

// SignedAssertion describes an assertion to sign (RFC 7523 section 3).
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || !has(self.audienceFrom)",message="give one of audience and audienceFrom"
type SignedAssertion struct {
	// KeySecretRef names the Secret with the private key as PEM or JWK; key default tls.key.
	// +required
	KeySecretRef SecretKeyReference `json:"keySecretRef"`
	// Algorithm of the signature; default: by the kind of key.
	// +optional
	Algorithm SigningAlgorithm `json:"algorithm,omitempty"`
	// KeyID is the `kid` of the header, where the provider wants one.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	KeyID string `json:"keyID,omitempty"`
	// Issuer is the `iss` claim; default: the client's id.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Issuer string `json:"issuer,omitempty"`
	// Subject is the `sub` claim, the account to act for; default: the issuer.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject,omitempty"`
	// AudienceFrom chooses the `aud` claim: TokenURL (default) or Issuer.
	// +optional
	AudienceFrom AssertionAudience `json:"audienceFrom,omitempty"`
	// Audience is the `aud` claim to the letter, in place of audienceFrom.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Audience string `json:"audience,omitempty"`
	// Claims are further claims; `{scope}` stands for the scopes.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti']))",message="iss, sub, aud, exp, iat, nbf and jti are set by the operator"
	Claims map[string]ParameterValue `json:"claims,omitempty"`
}

// TokenSource is where a token comes from.
// +kubebuilder:validation:XValidation:rule="[has(self.secretKeyRef), has(self.connectionRef), has(self.serviceAccountToken)].filter(x, x).size() == 1",message="give exactly one of secretKeyRef, connectionRef and serviceAccountToken"
type TokenSource struct {
	// SecretKeyRef names a Secret of the connection's namespace; key default token.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
	// ConnectionRef uses the access token of another connection.
	// +optional
	ConnectionRef *ConnectionReference `json:"connectionRef,omitempty"`
	// ServiceAccountToken uses a token of a ServiceAccount.
	// +optional
	ServiceAccountToken *ServiceAccountTokenSource `json:"serviceAccountToken,omitempty"`
	// Type of the token (RFC 8693 section 3); default urn:ietf:params:oauth:token-type:jwt for a ServiceAccount's token,
	// else urn:ietf:params:oauth:token-type:access_token.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Type string `json:"type,omitempty"`
}

// TokenExchangeGrant exchanges a token (RFC 8693 section 2.1).
type TokenExchangeGrant struct {
	// SubjectToken is exchanged. When it changes, a new token is asked for.
	// +required
	SubjectToken TokenSource `json:"subjectToken"`
	// ActorToken says who acts, where that is somebody else.
	// +optional
	ActorToken *TokenSource `json:"actorToken,omitempty"`
	// RequestedTokenType is what is wanted; default: up to the provider.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestedTokenType string `json:"requestedTokenType,omitempty"`
	// Audience names the services that the token is meant for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=1024
	Audience []string `json:"audience,omitempty"`
	// Resource are URIs of services that the token is meant for (RFC 8707).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=1024
	Resource []string `json:"resource,omitempty"`
}

// ExtensionGrant is a grant type of the provider's own (RFC 6749 section 4.5). It is asked for again before the token
// expires, and whenever one of the parameters changes.
type ExtensionGrant struct {
	// GrantType is the value of grant_type, for example `production_token`.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!(self in ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code', 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'urn:ietf:params:oauth:grant-type:token-exchange'])",message="this grant type has a type of its own: use grant.type"
	GrantType string `json:"grantType"`
	// Parameters of the request.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Parameters []ExtensionParameter `json:"parameters,omitempty"`
}

// ExtensionParameter is a name with a value, or with the place that it comes from.
// +kubebuilder:validation:XValidation:rule="[has(self.value), has(self.secretKeyRef), has(self.connectionRef)].filter(x, x).size() == 1",message="give exactly one of value, secretKeyRef and connectionRef"
// +kubebuilder:validation:XValidation:rule="!has(self.secretKeyRef) || has(self.secretKeyRef.key)",message="secretKeyRef.key is required"
type ExtensionParameter struct {
	// Name of the parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!(self in ['grant_type', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type', 'scope', 'code', 'refresh_token', 'device_code'])",message="grant_type, client_id, client_secret, client_assertion, client_assertion_type, scope, code, refresh_token and device_code are set by the operator"
	Name string `json:"name"`
	// Value in the clear.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Value *string `json:"value,omitempty"`
	// SecretKeyRef names a Secret of the connection's namespace and the key that holds the value.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
	// ConnectionRef uses the access token of another connection of this namespace.
	// +optional
	ConnectionRef *ConnectionReference `json:"connectionRef,omitempty"`
}

// SecretTemplate renders the Secret in a shape of the workload's own. Values are Go templates; docs/templates.md lists what
// they can use.
type SecretTemplate struct {
	// Metadata of the Secret.
	// +optional
	Metadata *SecretTemplateMetadata `json:"metadata,omitempty"`
	// Data by key, in place of the default keys.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Data map[string]TemplateText `json:"data,omitempty"`
}

// TemplateText is a Go template.
// +kubebuilder:validation:MaxLength=16384
type TemplateText string

// SecretTemplateMetadata are labels and annotations of the Secret. Those of the operator stay as they are.
type SecretTemplateMetadata struct {
	// Labels by name; values are templates.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]TemplateText `json:"labels,omitempty"`
	// Annotations by name; values are templates.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]TemplateText `json:"annotations,omitempty"`
}

// TokenSecretSpec describes the Secret that workloads mount.
type TokenSecretSpec struct {
	// Name of the Secret; default: the connection's name. A Secret of that name that is not this connection's is
	// never touched. Changing the name writes the new Secret first and deletes the old one at once, so change the
	// workload in the same rollout. While the new name is taken, the old Secret goes on being updated.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// Type of the Secret; default Opaque. Types that make credentials for the cluster itself are refused. Changing
	// it replaces the Secret.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",message="kubernetes.io/service-account-token and bootstrap.kubernetes.io/token give access to the cluster and are refused"
	Type string `json:"type,omitempty"`
	// Template renders the Secret in a shape of the workload's own; unset: the default keys.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// RefreshSpec says when an access token is refreshed.
type RefreshSpec struct {
	// Before its expiry, a token is refreshed: a duration ("10m") or a percentage of the lifetime ("25%").
	// Default: the larger of 20% and 5 minutes, but never more than half of the lifetime. Whatever is set, a token is
	// not refreshed in the first tenth of its lifetime.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[1-9][0-9]?%$') || (self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s'))",message="must be a duration such as 10m or 1h30m, or a percentage from 1% to 99%"
	Before string `json:"before,omitempty"`
}

// DeletionPolicy says what happens to the grant at the provider on deletion.
// +kubebuilder:validation:Enum=Revoke;Orphan
type DeletionPolicy string

// Deletion policies.
const (
	// DeletionRevoke revokes refresh and access token at the provider.
	DeletionRevoke DeletionPolicy = "Revoke"
	// DeletionOrphan leaves the grant alive at the provider.
	DeletionOrphan DeletionPolicy = "Orphan"
)

// ConnectionPhase sums up a connection in one word.
// +kubebuilder:validation:Enum=Pending;Authorizing;Active;Inactive;Deleted
type ConnectionPhase string

// Phases of a connection.
const (
	// ConnectionPending : not yet possible; the application is not ready, a Secret is missing, or it is not allowed.
	ConnectionPending ConnectionPhase = "Pending"
	// ConnectionAuthorizing : waiting for a person.
	ConnectionAuthorizing ConnectionPhase = "Authorizing"
	// ConnectionActive : a grant is held. Whether its token works now is said by condition Ready.
	ConnectionActive ConnectionPhase = "Active"
	// ConnectionInactive : the provider refuses this grant, or it has run out; it can be authorized again.
	ConnectionInactive ConnectionPhase = "Inactive"
	// ConnectionDeleted : the grant is gone for good at the provider.
	ConnectionDeleted ConnectionPhase = "Deleted"
)

// DeviceAuthorization is what a person has to type, and where (RFC 8628).
type DeviceAuthorization struct {
	// UserCode to type.
	UserCode string `json:"userCode"`
	// VerificationURI to open.
	VerificationURI string `json:"verificationURI"`
	// VerificationURIComplete is the same with the code in it, where the provider gives one.
	// +optional
	VerificationURIComplete string `json:"verificationURIComplete,omitempty"`
	// ExpiresAt is when the code ends.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// Failure is what goes wrong at present.
type Failure struct {
	// Count of failed attempts in a row.
	Count int32 `json:"count"`
	// Reason is one of the reasons of condition Ready.
	Reason string `json:"reason"`
	// Message says what the provider answered and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// NextAttemptAt is when the operator tries again; empty: not by itself.
	// +optional
	NextAttemptAt *metav1.Time `json:"nextAttemptAt,omitempty"`
}

// AuthorizationOutcome is how one authorization ended.
// +kubebuilder:validation:Enum=Succeeded;Failed;Unknown
type AuthorizationOutcome string

// Outcomes of an authorization.
const (
	// AuthorizationSucceeded : tokens were obtained.
	AuthorizationSucceeded AuthorizationOutcome = "Succeeded"
	// AuthorizationFailed : the provider refused.
	AuthorizationFailed AuthorizationOutcome = "Failed"
	// AuthorizationUnknown : the call ended without an answer.
	AuthorizationUnknown AuthorizationOutcome = "Unknown"
)

// LastAuthorization is the outcome of the latest login: a code, a device code or an import.
type LastAuthorization struct {
	// ID of the attempt.
	ID string `json:"id"`
	// Outcome of the attempt.
	Outcome AuthorizationOutcome `json:"outcome"`
	// Reason in one word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message for people.
	// +optional
	Message string `json:"message,omitempty"`
	// Time of the outcome.
	Time metav1.Time `json:"time"`
}

// OAuthConnectionStatus is what the operator knows about a grant.
type OAuthConnectionStatus struct {
	// Phase is Pending, Authorizing, Active, Inactive or Deleted.
	// +optional
	Phase ConnectionPhase `json:"phase,omitempty"`
	// ID is what the provider calls this grant.
	// +optional
	ID string `json:"id,omitempty"`
	// Subject is what the provider calls the account that granted.
	// +optional
	Subject string `json:"subject,omitempty"`
	// Scopes granted.
	// +optional
	// +listType=atomic
	Scopes []string `json:"scopes,omitempty"`
	// TokenType of the access token, mostly Bearer.
	// +optional
	TokenType string `json:"tokenType,omitempty"`
	// CreatedAt is when the provider first granted.
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`
	// UpdatedAt is when the tokens last changed.
	// +optional
	UpdatedAt *metav1.Time `json:"updatedAt,omitempty"`
	// DeletedAt is when the grant was gone for good.
	// +optional
	DeletedAt *metav1.Time `json:"deletedAt,omitempty"`
	// LastAuthorizedAt is when a code, an import or a person last authorized.
	// +optional
	LastAuthorizedAt *metav1.Time `json:"lastAuthorizedAt,omitempty"`
	// LastRefreshedAt is when the access token was last renewed.
	// +optional
	LastRefreshedAt *metav1.Time `json:"lastRefreshedAt,omitempty"`
	// NextRefreshAt is when the access token will be renewed; empty: not by itself.
	// +optional
	NextRefreshAt *metav1.Time `json:"nextRefreshAt,omitempty"`
	// AccessTokenExpiresAt is when the access token ends; empty: never, or nobody knows.
	// +optional
	AccessTokenExpiresAt *metav1.Time `json:"accessTokenExpiresAt,omitempty"`
	// RefreshTokenExpiresAt is when the refresh token ends; empty: never, or nobody knows.
	// +optional
	RefreshTokenExpiresAt *metav1.Time `json:"refreshTokenExpiresAt,omitempty"`
	// AuthorizationURL is where a person authorizes.
	// +optional
	AuthorizationURL string `json:"authorizationURL,omitempty"`
	// DeviceAuthorization is what a person has to type on a device.
	// +optional
	DeviceAuthorization *DeviceAuthorization `json:"deviceAuthorization,omitempty"`
	// SecretName is the Secret that holds the token.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// Failure is what goes wrong at present; empty: nothing.
	// +optional
	Failure *Failure `json:"failure,omitempty"`
	// ObservedGeneration is the generation of the spec that this status describes.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ObservedRefreshRequest is the last value of annotation oauth-operator.io/refresh-requested-at that was answered.
	// +optional
	ObservedRefreshRequest string `json:"observedRefreshRequest,omitempty"`
	// LastAuthorization is the outcome of the latest code or import.
	// +optional
	LastAuthorization *LastAuthorization `json:"lastAuthorization,omitempty"`
	// Conditions: Ready, Authorized, Reconciling, Stalled; and ScopesGranted once scopes are known.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OAuthConnection is one owner's grant at an OAuthApplication. The operator obtains it, writes the access token into a
// Secret, refreshes it before it expires and revokes it when the connection is deleted.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=oaconn,categories=oauth
// +kubebuilder:printcolumn:name="Application",type=string,JSONPath=`.spec.applicationRef.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.accessTokenExpiresAt`
// +kubebuilder:printcolumn:name="Next refresh",type=string,JSONPath=`.status.nextRefreshAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Owner",type=string,priority=1,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Subject",type=string,priority=1,JSONPath=`.status.subject`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:selectablefield:JSONPath=`.spec.applicationRef.name`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
type OAuthConnection struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the grant that is wanted.
	// +required
	Spec OAuthConnectionSpec `json:"spec"`
	// Status is written by the operator alone. Until it has been, it speaks of no generation, so that tools that follow
	// kstatus wait.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status OAuthConnectionStatus `json:"status,omitempty"`
}

// OAuthConnectionList is a list of connections.
// +kubebuilder:object:root=true
type OAuthConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthConnection `json:"items"`
}

// ApplicationKey returns namespace and name of the application that the connection refers to.
func (c *OAuthConnection) ApplicationKey() (namespace, name string) {
	if c.Spec.ApplicationRef.Namespace == "" {
		return c.Namespace, c.Spec.ApplicationRef.Name
	}
	return c.Spec.ApplicationRef.Namespace, c.Spec.ApplicationRef.Name
}

// TokenSecretName returns the name of the Secret that holds the connection's token.
func (c *OAuthConnection) TokenSecretName() string {
	if c.Spec.Secret == nil || c.Spec.Secret.Name == "" {
		return c.Name
	}
	return c.Spec.Secret.Name
}
