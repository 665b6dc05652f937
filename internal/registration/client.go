// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Client is the resolved client of an application. Slices, maps and the spec of a Client that came from a Store are shared
// with others: replace them, never change what is in them.
type Client struct {
	// Application is whose client this is. Its UID identifies the copy.
	Application Application
	// Generation is the one of the application's spec that was resolved.
	Generation int64
	// Spec is the effective spec: preset, discovery and defaults are filled in. It and its endpoints are never nil.
	Spec *v1alpha1.OAuthApplicationSpec
	// OAuth is the client as it authenticates at the token endpoint, without an assertion: that is made for each call.
	OAuth oauth.Client
	// RevocationAuthentication is the method at the revocation endpoint where the provider names another one
	// (RFC 8414: revocation_endpoint_auth_methods_supported); empty: the same.
	RevocationAuthentication oauth.AuthenticationMethod
	// Key signs the assertions of PrivateKeyJWT: a private key as PEM or JWK. Empty with other methods.
	Key sensitive.String
	// Certificate is shown with method TLS: client certificate and private key as PEM. Empty with other methods.
	Certificate sensitive.String
	// Secrets are the values that headers and parameters take from Secrets, by provider.SecretKey.
	Secrets map[string]sensitive.String
	// Webhook is the secret that signs the provider's events; nil: it was not looked for.
	Webhook *Webhook
	// RedirectURL is the spec's, else the gateway's; empty when there is neither.
	RedirectURL string
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

// Webhook is what was found of the secret that signs a provider's events. A client without it is complete.
type Webhook struct {
	// From is the key of a Secret that was looked for, by provider.SecretKey.
	From string
	// Secret is its value; empty when there is none that can be used.
	Secret sensitive.String
	// Unusable : there is a value, and it cannot be used.
	Unusable bool
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

// Lane returns the key under which calls with this grant type to this URL are paused. It is LaneKey with the grant type
// first, since the URL depends on it.
func (c *Client) Lane(grantType, tokenURL string) string { return LaneKey(tokenURL, grantType) }

// Profile returns how this client talks to its provider.
func (c *Client) Profile() *provider.Profile {
	return &provider.Profile{
		Spec: c.Spec, Client: c.OAuth, RevocationAuthentication: c.RevocationAuthentication,
		RedirectURL: c.RedirectURL, Issuer: c.Issuer(), Secrets: c.Secrets,
	}
}

// Issuer returns the provider's issuer identifier; empty when nothing was discovered.
func (c *Client) Issuer() string {
	if c.Discovery == nil {
		return ""
	}
	return c.Discovery.Metadata.Issuer
}

// WebhookSecret returns the secret that signs the provider's events. ok is false while there is no webhook, or no secret for it.
func (c *Client) WebhookSecret() (secret sensitive.String, ok bool) {
	if c.Spec.Webhook == nil || c.Webhook == nil || c.Webhook.Secret.IsEmpty() {
		return sensitive.String{}, false
	}
	return c.Webhook.Secret, true
}

// RequiresPAR tells whether the provider's discovery document demands pushed authorization requests (RFC 9126, section 5).
func (c *Client) RequiresPAR() bool {
	return c.Discovery != nil && c.Discovery.Metadata.RequirePushedAuthorizationRequests
}

// IssuerInResponse tells whether the provider's discovery document announces that authorization responses name the issuer
// (RFC 9207, section 3).
func (c *Client) IssuerInResponse() bool {
	return c.Discovery != nil && c.Discovery.Metadata.AuthorizationResponseIssParameterSupported
}

// Fingerprint identifies everything that changes requests and how their answers are read: credentials, endpoints, the rest
// of the effective spec that says so, trust. It is the hexadecimal SHA-256 of them. It belongs into Secrets of the operator
// only: whoever can guess the other fields could test guesses of a weak client secret against it.
func (c *Client) Fingerprint() string {
	secrets := make(map[string]string, len(c.Secrets))
	for name, value := range c.Secrets {
		secrets[name] = value.Hash()
	}
	// Marshalling strings, maps of strings and the API's own types cannot fail.
	content, _ := json.Marshal([]any{
		c.OAuth.ID, c.OAuth.Secret.Hash(), c.OAuth.Authentication, c.OAuth.Basic, c.RevocationAuthentication,
		c.Key.Hash(), c.Certificate.Hash(), secrets, c.RedirectURL, c.CA, c.asRequested(),
	})
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// asRequested is the spec without what no request of a grant depends on, and without what Fingerprint has in another form.
func (c *Client) asRequested() *v1alpha1.OAuthApplicationSpec {
	spec := *c.Spec
	spec.DisplayName, spec.LogoURL, spec.Provider = "", "", ""
	spec.Client.ID, spec.Client.IDSecretRef, spec.Client.SecretRef, spec.CABundle = "", nil, nil, nil
	spec.RedirectURL = ""
	spec.AllowedNamespaces, spec.AllowedGrantTypes, spec.AllowedHosts = nil, nil, nil
	spec.Limits, spec.APILimits, spec.StatusCheck, spec.Webhook = nil, nil, nil, nil
	return &spec
}

// parameters returns what the spec adds to each token request, placeholders and all.
func (c *Client) parameters() []oauth.Parameter {
	if c.Spec.TokenRequest == nil {
		return nil
	}
	var all []oauth.Parameter
	for _, parameter := range c.Spec.TokenRequest.Parameters {
		value := sensitive.String{}
		switch ref := parameter.SecretKeyRef; {
		case parameter.Value != nil:
			value = sensitive.New(*parameter.Value)
		case ref != nil && ref.Name == "" && c.Spec.Client.SecretRef != nil:
			value = c.Secrets[provider.SecretKey(c.Spec.Client.SecretRef.Name, ref.Key)]
		case ref != nil:
			value = c.Secrets[provider.SecretKey(ref.Name, ref.Key)]
		}
		all = append(all, oauth.Parameter{Name: parameter.Name, Value: value})
	}
	return all
}

// secrets returns all that must never be shown.
func (c *Client) secrets() []sensitive.String {
	secrets := []sensitive.String{c.OAuth.Secret, c.Key, c.Certificate}
	for _, value := range c.Secrets {
		secrets = append(secrets, value)
	}
	if c.Webhook != nil {
		secrets = append(secrets, c.Webhook.Secret)
	}
	return secrets
}

// SameSources tells whether the client was read from exactly these versions.
func (c *Client) SameSources(sources []Source) bool { return slices.Equal(c.Sources, sources) }
