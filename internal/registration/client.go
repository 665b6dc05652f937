// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Client is the resolved client of an application. Slices and maps of a Client that came from a Store are shared with
// others: replace them, never change their elements.
type Client struct {
	// Application is whose client this is. Its UID identifies the copy.
	Application Application
	// Generation is the one of the application's spec that was resolved.
	Generation int64
	// OAuth is the client as it authenticates at the token endpoint.
	OAuth oauth.Client
	// RevocationAuthentication is the method at the revocation endpoint where the provider names another one
	// (RFC 8414: revocation_endpoint_auth_methods_supported); empty: the same.
	RevocationAuthentication oauth.AuthenticationMethod
	// Endpoints in use: the given ones, and the discovered ones for the rest.
	Endpoints Endpoints
	// RedirectURL is the spec's, else the gateway's; empty when there is neither.
	RedirectURL string
	// Parameters are added to each token request, in this order.
	Parameters []oauth.Parameter
	// ScopeSeparator stands between scopes in requests.
	ScopeSeparator string
	// Scopes are the application's default scopes.
	Scopes []string
	// CA holds the only certificates to trust (PEM); nil means the system's.
	CA []byte
	// Limits of the calls to the provider.
	Limits Limits
	// Discovery is the last discovery document that could be read; nil without one.
	Discovery *Discovery
	// Sources are the versions of the Secrets and ConfigMaps that this client was read from, in their order of use.
	// While they are current, nothing has to be read again.
	Sources []Source
	// Pauses by lane; see LaneKey. A pause whose fingerprint is not the client's is void.
	Pauses map[string]Pause

	record revision
}

// Application names an application.
type Application struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
}

// Endpoints are the provider's URLs; empty where there is none.
type Endpoints struct {
	Authorization       string `json:"authorization,omitempty"`
	Token               string `json:"token,omitempty"`
	Refresh             string `json:"refresh,omitempty"`
	Revocation          string `json:"revocation,omitempty"`
	Introspection       string `json:"introspection,omitempty"`
	DeviceAuthorization string `json:"deviceAuthorization,omitempty"`
	UserInfo            string `json:"userInfo,omitempty"`
}

// Limits bound the calls to a provider, counted over all connections of the application.
type Limits struct {
	// RequestsPerSecond is 0 for no limit.
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
	// MaxConcurrent calls at once, besides the slot that is kept for codes. At least 1.
	MaxConcurrent int `json:"maxConcurrent,omitempty"`
}

// Discovery is the discovery document of the application's issuerURL.
type Discovery struct {
	// Metadata is what the document says. Its endpoints are not judged.
	Metadata oauth.Metadata
	// Trust identifies the CA bundle under which it was read (egress.Fingerprint).
	Trust string
	// At is when it was read, in whole seconds.
	At time.Time
}

// Kinds of sources.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"
)

// Source is one version of an object that a client was resolved from.
type Source struct {
	// Kind is KindSecret or KindConfigMap.
	Kind            string    `json:"kind"`
	Namespace       string    `json:"namespace"`
	Name            string    `json:"name"`
	UID             types.UID `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
}

// grantTypeRefresh is the value of grant_type for refreshes (RFC 6749, section 6).
const grantTypeRefresh = "refresh_token"

// TokenURL returns the endpoint for a value of `grant_type`: refreshes have one of their own at a few providers.
func (c *Client) TokenURL(grantType string) string {
	if grantType == grantTypeRefresh && c.Endpoints.Refresh != "" {
		return c.Endpoints.Refresh
	}
	return c.Endpoints.Token
}

// Lane returns the key under which calls with this grant type are paused.
func (c *Client) Lane(grantType string) string { return LaneKey(c.TokenURL(grantType), grantType) }

// RevocationClient returns the client as it authenticates at the revocation endpoint.
func (c *Client) RevocationClient() oauth.Client {
	client := c.OAuth
	if c.RevocationAuthentication != "" {
		client.Authentication = c.RevocationAuthentication
	}
	return client
}

// Issuer returns the provider's issuer identifier; empty when nothing was discovered.
func (c *Client) Issuer() string {
	if c.Discovery == nil {
		return ""
	}
	return c.Discovery.Metadata.Issuer
}

// Fingerprint identifies everything that changes how the provider answers: credentials, endpoints, parameters, trust. It
// is the hexadecimal SHA-256 of them. It belongs into Secrets of the operator only: whoever can guess the other fields
// could test guesses of a weak client secret against it.
func (c *Client) Fingerprint() string {
	// Marshalling strings and slices of strings cannot fail.
	content, _ := json.Marshal([]any{
		c.OAuth.ID, c.OAuth.Secret.Hash(), c.OAuth.Authentication, c.RevocationAuthentication, c.Endpoints,
		hashedParameters(c.Parameters), c.CA,
	})
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func hashedParameters(parameters []oauth.Parameter) [][2]string {
	hashed := make([][2]string, 0, len(parameters))
	for _, parameter := range parameters {
		hashed = append(hashed, [2]string{parameter.Name, parameter.Value.Hash()})
	}
	return hashed
}

// secrets returns all that must never be shown.
func (c *Client) secrets() []sensitive.String {
	secrets := []sensitive.String{c.OAuth.Secret}
	for _, parameter := range c.Parameters {
		secrets = append(secrets, parameter.Value)
	}
	return secrets
}

// SameSources tells whether the client was read from exactly these versions.
func (c *Client) SameSources(sources []Source) bool { return slices.Equal(c.Sources, sources) }
