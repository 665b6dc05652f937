// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow the kstatus convention, so `kubectl wait`, Flux and Argo CD
// understand them untaught: Reconciling and Stalled are True only while something is under way or stuck.
const (
	// ConditionReady on a connection is True only while the Secret holds a token that works by all we know. On an
	// application it is True when its client and endpoints are complete and the provider accepts the client.
	ConditionReady = "Ready"
	// ConditionAuthorized on a connection is True while the operator holds a grant that the provider has not
	// refused, False when it holds none, and Unknown when a call ended without an answer.
	ConditionAuthorized = "Authorized"
	// ConditionScopesGranted on a connection is False when the provider granted less than was asked for; the message names
	// what is missing. The token works all the same, so Ready does not depend on it.
	ConditionScopesGranted = "ScopesGranted"
	// ConditionReconciling is True while the operator is working towards Ready without anybody's help.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a person can go on: the message says what to do.
	ConditionStalled = "Stalled"
)

// Reasons of both kinds.
const (
	// ReasonReady : all is well; on Ready=True of an application.
	ReasonReady = "Ready"
	// ReasonInvalidClient : the provider does not accept the client (`invalid_client`): wrong client ID, wrong or
	// rotated client secret, wrong authentication method. It concerns the application: its connections pause, keep
	// their grants and go on when the client is mended.
	ReasonInvalidClient = "InvalidClient"
	// ReasonUnauthorizedClient : the provider knows the client but does not let it use this grant type
	// (`unauthorized_client`). Connections with that grant type pause and lose nothing.
	ReasonUnauthorizedClient = "UnauthorizedClient"
	// ReasonSecretNotFound : a Secret, or the key in it, that the spec names does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSuspended : spec.suspend is true; nothing is asked of the provider, what exists stays.
	ReasonSuspended = "Suspended"
	// ReasonProgressing : the operator is working on it.
	ReasonProgressing = "Progressing"
	// ReasonSettled : nothing is under way and nothing is stuck; on Reconciling=False and Stalled=False.
	ReasonSettled = "Settled"
	// ReasonDeleting : the object is being deleted and its grants are being revoked.
	ReasonDeleting = "Deleting"
)

// Reasons of applications.
const (
	// ReasonInvalidConfiguration : the spec is complete for the API server but cannot work, for example an endpoint
	// that is neither given nor discovered; the message names the field.
	ReasonInvalidConfiguration = "InvalidConfiguration"
	// ReasonDiscoveryFailed : the discovery document of issuerURL could not be read, and no earlier one is known.
	ReasonDiscoveryFailed = "DiscoveryFailed"
	// ReasonCABundleInvalid : caBundle is missing or holds no certificate.
	ReasonCABundleInvalid = "CABundleInvalid"
	// ReasonApplicationDeleted : the provider says that this client no longer exists there.
	ReasonApplicationDeleted = "ApplicationDeleted"
	// ReasonConnectionsRemain : the application is being deleted and waits for its connections to be revoked.
	ReasonConnectionsRemain = "ConnectionsRemain"
)

// Reasons of connections.
const (
	// ReasonTokenReady : the Secret holds a token that works by all we know.
	ReasonTokenReady = "TokenReady"
	// ReasonGrantHeld : the operator holds the grant; on Authorized=True.
	ReasonGrantHeld = "GrantHeld"
	// ReasonApplicationNotFound : spec.applicationRef names no application.
	ReasonApplicationNotFound = "ApplicationNotFound"
	// ReasonApplicationNotReady : the application is not usable yet; its own conditions say why.
	ReasonApplicationNotReady = "ApplicationNotReady"
	// ReasonNotAllowed : the application does not allow this namespace, this grant type or these scopes.
	ReasonNotAllowed = "NotAllowed"
	// ReasonNoGateway : a person has to authorize, but there is no gateway to send them to.
	ReasonNoGateway = "NoGateway"
	// ReasonPARRequired : a person has to authorize, and the provider demands pushed authorization requests (RFC 9126), which
	// the gateway cannot make: it knows no client secret.
	ReasonPARRequired = "PARRequired"
	// ReasonAuthorizationRequired : a person has to authorize, or a new code or refresh token has to be given.
	ReasonAuthorizationRequired = "AuthorizationRequired"
	// ReasonInvalidGrant : the provider refused the code or the refresh token (`invalid_grant`). It does not come
	// back to life by itself; authorize again.
	ReasonInvalidGrant = "InvalidGrant"
	// ReasonRefreshRejected : the provider refused without an OAuth error, five times over five minutes. The grant
	// is kept; a change of application, client Secret or connection, or a refresh request, tries again.
	ReasonRefreshRejected = "RefreshRejected"
	// ReasonExchangeRejected : the provider refused the code with something else than invalid_grant. Codes are
	// never sent again; give a new one.
	ReasonExchangeRejected = "ExchangeRejected"
	// ReasonRefreshOutcomeUnknown : a refresh was cut off after it was sent, so the refresh token may be spent. The
	// old access token keeps serving; the refresh token is sent once more when that is about to expire.
	ReasonRefreshOutcomeUnknown = "RefreshOutcomeUnknown"
	// ReasonExchangeOutcomeUnknown : the exchange of a code was cut off after it was sent. A code is never sent
	// twice; give a new one.
	ReasonExchangeOutcomeUnknown = "ExchangeOutcomeUnknown"
	// ReasonProviderUnavailable : the provider did not answer usefully (time-out, 5xx, 429, garbage, no network).
	// It is tried again with growing distance; the old token keeps serving until it expires.
	ReasonProviderUnavailable = "ProviderUnavailable"
	// ReasonTokenExpired : the access token has expired and there is no refresh token to get another one.
	ReasonTokenExpired = "TokenExpired"
	// ReasonSecretConflict : a Secret of that name exists and is not this connection's. It is never touched.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretRejected : the API server refused the token Secret, for example because its type wants other keys.
	ReasonSecretRejected = "SecretRejected"
	// ReasonInvalidInputs : spec.inputs lack a value that the application asks for, or one does not fit.
	ReasonInvalidInputs = "InvalidInputs"
	// ReasonSourceNotReady : the connection whose access token this one is made from has none at present.
	ReasonSourceNotReady = "SourceNotReady"
	// ReasonServiceAccountNotAllowed : the ServiceAccount does not exist, does not allow that tokens are asked for in its
	// name, or the audience is one of the API server's.
	ReasonServiceAccountNotAllowed = "ServiceAccountNotAllowed"
	// ReasonAccessDenied : the person declined (`access_denied`).
	ReasonAccessDenied = "AccessDenied"
	// ReasonAuthorizationFailed : the provider sent a person back with an error other than access_denied, or with a response
	// that cannot be trusted.
	ReasonAuthorizationFailed = "AuthorizationFailed"
	// ReasonAuthorizationExpired : a person came back later than ten minutes after they had left, or the code could not be
	// exchanged for as long; nothing was stored. The link works again.
	ReasonAuthorizationExpired = "AuthorizationExpired"
	// ReasonConnectionChanged : the connection or its application changed while a person was at the provider; nothing was
	// stored. The link works again.
	ReasonConnectionChanged = "ConnectionChanged"
	// ReasonWrongBrowser : an authorization response came from another browser than the one that the login began in. It was
	// refused, as it may be an attack; the login itself goes on.
	ReasonWrongBrowser = "WrongBrowser"
	// ReasonResponseReplayed : an authorization response came a second time and was refused.
	ReasonResponseReplayed = "ResponseReplayed"
	// ReasonDeviceCodeExpired : nobody typed the device code in time, an hour long; request a refresh to get a new one.
	ReasonDeviceCodeExpired = "DeviceCodeExpired"
	// ReasonTemplateInvalid : secret.template could not be rendered; the message names the key and the line. The last good
	// Secret stays.
	ReasonTemplateInvalid = "TemplateInvalid"
	// ReasonAllScopesGranted : everything that was asked for was granted; on ScopesGranted=True.
	ReasonAllScopesGranted = "AllScopesGranted"
	// ReasonScopesMissing : the provider granted less than was asked for; on ScopesGranted=False.
	ReasonScopesMissing = "ScopesMissing"
	// ReasonDeauthorized : a status check, or an event of the provider that was verified, says that the grant is over.
	ReasonDeauthorized = "Deauthorized"
	// ReasonAccountMismatch : somebody authorized again with another account; the old grant is kept.
	ReasonAccountMismatch = "AccountMismatch"
	// ReasonRevoked : the grant was revoked at the provider.
	ReasonRevoked = "Revoked"
)

// Reasons of events beyond those above. Successful refreshes are a metric and a status, not an event each.
const (
	// EventAuthorized : a code, an import or credentials gave the first tokens, or new ones in place of old.
	EventAuthorized = "Authorized"
	// EventRecovered : a connection that could not be refreshed works again.
	EventRecovered = "Recovered"
	// EventRevocationFailed : a token could not be revoked before the deadline and may still work at the provider.
	EventRevocationFailed = "RevocationFailed"
	// EventRevocationUnsupported : the provider has no revocation endpoint; the tokens live until they
	// expire, or the grant is ended at the provider.
	EventRevocationUnsupported = "RevocationUnsupported"
	// EventOrphaned : deletionPolicy Orphan left the grant alive at the provider.
	EventOrphaned = "Orphaned"
	// EventAdopted : a connection took over the grant of an equal one that is gone, as after a restored backup.
	EventAdopted = "Adopted"
	// EventSecretRepaired : the token Secret had been deleted or edited and was written again.
	EventSecretRepaired = "SecretRepaired"
	// EventDeauthorizationReported : the provider's webhook says that the grant is over; it is being verified, or could not be.
	EventDeauthorizationReported = "DeauthorizationReported"
	// EventTokenRejected : the provider's API rejects the access token, by a caller of the request proxy, and nobody can be asked
	// whether the grant is over. Nothing is held to be over by it.
	EventTokenRejected = "TokenRejected"
	// EventWebhookNotReady : the application's webhook cannot be served; the message says what is missing.
	EventWebhookNotReady = "WebhookNotReady"
	// EventStatusCheckFailed : on an application, the provider's list of connections could not be read again and again; on
	// a connection, a check told nothing, or found a token dead that is now renewed. Nothing is held to be over by it.
	EventStatusCheckFailed = "StatusCheckFailed"
	// EventAccountUnknown : somebody authorized again, and the provider does not say with which account; the new grant was
	// taken.
	EventAccountUnknown = "AccountUnknown"
	// EventNothingToRefresh : a refresh was requested but there is no refresh token.
	EventNothingToRefresh = "NothingToRefresh"
)
