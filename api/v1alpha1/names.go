// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels.
const (
	// LabelConnection is on the token Secret and names its connection. Names over 63 characters are cut and end
	// in a hash; LabelConnectionUID is exact.
	LabelConnection = GroupName + "/connection"
	// LabelConnectionUID is on the token Secret and on the grant record and holds the UID of their connection.
	LabelConnectionUID = GroupName + "/connection-uid"
	// LabelApplicationUID is on the kept copy of a client and holds the UID of its application.
	LabelApplicationUID = GroupName + "/application-uid"
	// LabelRecord marks the operator's own Secrets in its namespace; see RecordGrant and RecordClient.
	LabelRecord = GroupName + "/record"
)

// Values of LabelRecord.
const (
	// RecordGrant marks a grant record: the tokens of one connection and what is known about them.
	RecordGrant = "grant"
	// RecordClient marks the kept copy of an application's client, which outlives the application until its last
	// connection has been revoked.
	RecordClient = "client"
	// RecordPending marks a message of the gateway or the API to the controller. It is emptied once it has been taken, and
	// deleted when what it came from can no longer be replayed.
	RecordPending = "pending"
	// RecordKeys marks the keys of the gateway.
	RecordKeys = "keys"
)

// Secret types of the operator's own Secrets.
const (
	// SecretTypeGrant is the type of grant records.
	SecretTypeGrant = GroupName + "/grant"
	// SecretTypeClient is the type of kept clients.
	SecretTypeClient = GroupName + "/client"
	// SecretTypePending is the type of messages to the controller. The names of these Secrets begin with PendingPrefix.
	SecretTypePending = GroupName + "/pending"
	// SecretTypeKeys is the type of the gateway's keys.
	SecretTypeKeys = GroupName + "/keys"
)

// PendingPrefix begins the names of messages to the controller.
const PendingPrefix = "pending-"

// GatewayKeysSecret is the name of the Secret that the controller writes, and that gateways mount at --keys-dir.
const GatewayKeysSecret = "gateway-keys"

// Paths below the gateway's external URL.
const (
	// PathConnect is followed by /{namespace}/{name} of a connection.
	PathConnect = "/connect"
	// PathCallback is where providers send people back to.
	PathCallback = "/oauth2/callback"
	// PathWebhooks is followed by /{namespace}/{name} of an application.
	PathWebhooks = "/webhooks"
)

// Annotations.
const (
	// AnnotationExpiresAt is on the token Secret: RFC 3339 time at which the access token expires, empty when it
	// never does or when nobody knows.
	AnnotationExpiresAt = GroupName + "/expires-at"
	// AnnotationRefreshRequestedAt on a connection asks for a refresh now. Any new value counts; it comes back in
	// status.observedRefreshRequest.
	AnnotationRefreshRequestedAt = GroupName + "/refresh-requested-at"
	// AnnotationAllowTokens on a ServiceAccount, with the value "true", lets applications and connections of its namespace
	// use its tokens at providers.
	AnnotationAllowTokens = GroupName + "/allow-tokens"
)

// Finalizers.
const (
	// FinalizerConnection keeps a connection until its tokens are revoked.
	FinalizerConnection = GroupName + "/connection"
	// FinalizerApplication keeps an application until its connections are gone, for a bounded time.
	FinalizerApplication = GroupName + "/application"
)

// Keys of the token Secret. There is never a refresh token and never a client secret in it.
const (
	// SecretKeyAccessToken holds the access token.
	SecretKeyAccessToken = "access_token"
	// SecretKeyTokenType holds the token type, mostly "Bearer".
	SecretKeyTokenType = "token_type"
	// SecretKeyExpiresAt holds the expiry as RFC 3339; empty: the token never expires, or nobody knows when.
	SecretKeyExpiresAt = "expires_at"
	// SecretKeyScope holds the granted scopes separated by spaces; it may be empty.
	SecretKeyScope = "scope"
)

// Default keys of Secrets and ConfigMaps that users write.
const (
	// DefaultClientSecretKey is the default key of client.secretRef.
	DefaultClientSecretKey = "client_secret"
	// DefaultClientIDKey is the default key of client.idSecretRef.
	DefaultClientIDKey = "client_id"
	// DefaultPrivateKeyKey is the default key of private keys, and DefaultCertificateKey of the certificate beside one.
	DefaultPrivateKeyKey  = "tls.key"
	DefaultCertificateKey = "tls.crt"
	// DefaultAssertionKey is the default key of grant.jwtBearer.assertionSecretRef.
	DefaultAssertionKey = "assertion"
	// DefaultTokenKey is the default key of the sources of grant.tokenExchange.
	DefaultTokenKey = "token"
	// DefaultCodeKey is the default key of grant.authorizationCode.codeSecretRef.
	DefaultCodeKey = "code"
	// DefaultCodeVerifierKey is the default key of grant.authorizationCode.codeVerifierSecretRef.
	DefaultCodeVerifierKey = "code_verifier"
	// DefaultRefreshTokenKey is the default key of grant.refreshToken.secretRef.
	DefaultRefreshTokenKey = "refresh_token"
	// DefaultWebhookSecretKey is the default key of webhook.secretKeyRef.
	DefaultWebhookSecretKey = "webhook_secret"
	// DefaultCAKey is the default key of caBundle.secretRef and caBundle.configMapRef.
	DefaultCAKey = "ca.crt"
)
