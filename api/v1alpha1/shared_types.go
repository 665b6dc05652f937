// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret. Each field that refers to a Secret documents its own default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// ConfigMapKeyReference names one key of a ConfigMap in the same namespace.
type ConfigMapKeyReference struct {
	// Name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the ConfigMap; each field documents its own default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Scope is one scope token (RFC 6749 section 3.3): printable ASCII without space, quote and backslash.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]+$`
type Scope string

// GrantType says how a connection obtains its first tokens.
// +kubebuilder:validation:Enum=AuthorizationCode;RefreshToken;ClientCredentials;DeviceCode;JWTBearer;TokenExchange;Extension
type GrantType string

// Grant types.
const (
	// GrantAuthorizationCode exchanges an authorization code (RFC 6749 section 4.1).
	GrantAuthorizationCode GrantType = "AuthorizationCode"
	// GrantRefreshToken imports a grant that already exists by its refresh token (RFC 6749 section 6).
	GrantRefreshToken GrantType = "RefreshToken"
	// GrantClientCredentials needs nobody but the client (RFC 6749 section 4.4).
	GrantClientCredentials GrantType = "ClientCredentials"
	// GrantDeviceCode asks a person to type a code on another device (RFC 8628).
	GrantDeviceCode GrantType = "DeviceCode"
	// GrantJWTBearer presents an assertion (RFC 7523 section 2.1).
	GrantJWTBearer GrantType = "JWTBearer"
	// GrantTokenExchange exchanges another token (RFC 8693).
	GrantTokenExchange GrantType = "TokenExchange"
	// GrantExtension is any other grant type (RFC 6749 section 4.5).
	GrantExtension GrantType = "Extension"
)
