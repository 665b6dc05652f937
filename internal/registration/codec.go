// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	contentKey    = "client.json"
	contentFormat = 1

	// AnnotationApplication is on a kept client: namespace/name of its application.
	AnnotationApplication = v1alpha1.GroupName + "/application"
	// AnnotationSources is on a kept client: which Secrets and ConfigMaps it was read from, for people.
	AnnotationSources = v1alpha1.GroupName + "/sources"
)

// document is the stored form. Fields may be added within a format; whatever an older operator would misread needs a
// new one.
type document struct {
	Format                   int                            `json:"format"`
	Application              Application                    `json:"application"`
	Generation               int64                          `json:"generation"`
	Spec                     *v1alpha1.OAuthApplicationSpec `json:"spec,omitempty"`
	ClientID                 string                         `json:"clientID"`
	ClientSecret             string                         `json:"clientSecret,omitempty"`
	Authentication           string                         `json:"authentication"`
	RevocationAuthentication string                         `json:"revocationAuthentication,omitempty"`
	Key                      string                         `json:"key,omitempty"`
	Certificate              string                         `json:"certificate,omitempty"`
	Secrets                  map[string]string              `json:"secrets,omitempty"`
	Webhook                  *storedWebhook                 `json:"webhook,omitempty"`
	RedirectURL              string                         `json:"redirectURL,omitempty"`
	CA                       []byte                         `json:"ca,omitempty"`
	Limits                   Limits                         `json:"limits"`
	Discovery                *storedDiscovery               `json:"discovery,omitempty"`
	Sources                  []Source                       `json:"sources,omitempty"`
	Pauses                   map[string]Pause               `json:"pauses,omitempty"`

	// What operators before the field spec kept in its place. It is still written, for the case that one of them comes
	// back, and read where spec is missing.
	Endpoints      storedEndpoints   `json:"endpoints"`
	Parameters     []storedParameter `json:"parameters,omitempty"`
	ScopeSeparator string            `json:"scopeSeparator,omitempty"`
	Scopes         []string          `json:"scopes,omitempty"`
}

type storedWebhook struct {
	From     string `json:"from"`
	Secret   string `json:"secret,omitempty"`
	Unusable bool   `json:"unusable,omitempty"`
}

type storedEndpoints struct {
	Authorization       v1alpha1.EndpointURL `json:"authorization,omitempty"`
	Token               v1alpha1.EndpointURL `json:"token,omitempty"`
	Refresh             v1alpha1.EndpointURL `json:"refresh,omitempty"`
	Revocation          v1alpha1.EndpointURL `json:"revocation,omitempty"`
	Introspection       v1alpha1.EndpointURL `json:"introspection,omitempty"`
	DeviceAuthorization v1alpha1.EndpointURL `json:"deviceAuthorization,omitempty"`
	UserInfo            v1alpha1.EndpointURL `json:"userInfo,omitempty"`
}

// storedDiscovery spells the members as RFC 8414 does. What the operator has no use for is not kept.
type storedDiscovery struct {
	At                          time.Time `json:"at"`
	Trust                       string    `json:"trust,omitempty"`
	Issuer                      string    `json:"issuer"`
	AuthorizationEndpoint       string    `json:"authorization_endpoint,omitempty"`
	TokenEndpoint               string    `json:"token_endpoint,omitempty"`
	RevocationEndpoint          string    `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint       string    `json:"introspection_endpoint,omitempty"`
	DeviceAuthorizationEndpoint string    `json:"device_authorization_endpoint,omitempty"`
	UserinfoEndpoint            string    `json:"userinfo_endpoint,omitempty"`
	Aliases                     aliases   `json:"mtls_endpoint_aliases,omitzero"`
	TokenAuthMethods            []string  `json:"token_endpoint_auth_methods_supported,omitempty"`
	RevocationAuthMethods       []string  `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	CodeChallengeMethods        []string  `json:"code_challenge_methods_supported,omitempty"`
	IssParameter                bool      `json:"authorization_response_iss_parameter_supported,omitempty"`
	RequirePAR                  bool      `json:"require_pushed_authorization_requests,omitempty"`
}

// aliases are of RFC 8705, section 5.
type aliases struct {
	TokenEndpoint               string `json:"token_endpoint,omitempty"`
	RevocationEndpoint          string `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint       string `json:"introspection_endpoint,omitempty"`
	DeviceAuthorizationEndpoint string `json:"device_authorization_endpoint,omitempty"`
}

type storedParameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SecretName returns the name of the Secret that keeps an application's client.
func SecretName(application types.UID) string { return "client-" + string(application) }

// encode returns the Secret for a client. Equal clients give equal bytes.
func encode(c *Client, namespace string) (*corev1.Secret, error) {
	stored := document{
		Format: contentFormat, Application: c.Application, Generation: c.Generation, Spec: c.Spec,
		ClientID: c.OAuth.ID, ClientSecret: c.OAuth.Secret.Reveal(), Authentication: string(c.OAuth.Authentication),
		RevocationAuthentication: string(c.RevocationAuthentication), Key: c.Key.Reveal(), Certificate: c.Certificate.Reveal(),
		Secrets: map[string]string{}, RedirectURL: c.RedirectURL, CA: c.CA, Limits: c.Limits,
		Discovery: storeDiscovery(c.Discovery), Sources: c.Sources, Pauses: map[string]Pause{},
	}
	for name, value := range c.Secrets {
		stored.Secrets[name] = value.Reveal()
	}
	if c.Webhook != nil {
		stored.Webhook = &storedWebhook{From: c.Webhook.From, Secret: c.Webhook.Secret.Reveal(), Unusable: c.Webhook.Unusable}
	}
	stored.describe(c)
	for lane, pause := range c.Pauses {
		pause.Since, pause.NextProbeAt = storedTime(pause.Since), storedTime(pause.NextProbeAt)
		stored.Pauses[lane] = pause
	}
	content, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode the client of application %s/%s: %w", c.Application.Namespace, c.Application.Name, err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      SecretName(c.Application.UID),
			Labels: map[string]string{
				v1alpha1.LabelRecord:         v1alpha1.RecordClient,
				v1alpha1.LabelApplicationUID: string(c.Application.UID),
			},
			Annotations: map[string]string{
				AnnotationApplication: c.Application.Namespace + "/" + c.Application.Name,
				AnnotationSources:     describe(c.Sources),
			},
		},
		Type: v1alpha1.SecretTypeClient,
		Data: map[string][]byte{contentKey: content},
	}, nil
}

// decode reads a kept client. Errors never repeat content.
func decode(secret *corev1.Secret) (*Client, error) {
	if secret.Type != v1alpha1.SecretTypeClient {
		return nil, fmt.Errorf("object %s/%s is not a kept client: its type is %q", secret.Namespace, secret.Name, secret.Type)
	}
	var stored document
	if err := json.Unmarshal(secret.Data[contentKey], &stored); err != nil {
		// The decoder's own error may quote what it stumbled over.
		return nil, fmt.Errorf("kept client %s/%s cannot be read: key %s is not the expected JSON; delete the Secret and it is made anew while the application exists",
			secret.Namespace, secret.Name, contentKey)
	}
	if stored.Format != contentFormat {
		return nil, fmt.Errorf("kept client %s/%s has format %d, which this version of the operator does not know (it knows %d); it was written by another version",
			secret.Namespace, secret.Name, stored.Format, contentFormat)
	}
	version, err := parseRevision(secret)
	if err != nil {
		return nil, err
	}
	c := &Client{
		Application: stored.Application, Generation: stored.Generation, Spec: stored.Spec,
		OAuth: oauth.Client{
			ID: stored.ClientID, Secret: sensitive.New(stored.ClientSecret),
			Authentication: oauth.AuthenticationMethod(stored.Authentication),
		},
		RevocationAuthentication: oauth.AuthenticationMethod(stored.RevocationAuthentication),
		Key:                      sensitive.New(stored.Key), Certificate: sensitive.New(stored.Certificate),
		RedirectURL: stored.RedirectURL, CA: stored.CA, Limits: stored.Limits, Discovery: stored.Discovery.load(),
		Sources: stored.Sources, Pauses: stored.Pauses, record: version,
	}
	for name, value := range stored.Secrets {
		c.setSecret(name, value)
	}
	if w := stored.Webhook; w != nil {
		c.Webhook = &Webhook{From: w.From, Secret: sensitive.New(w.Secret), Unusable: w.Unusable}
	}
	if c.Spec == nil {
		c.Spec = stored.formerSpec(c)
	}
	if c.Spec.Endpoints == nil {
		c.Spec.Endpoints = &v1alpha1.Endpoints{}
	}
	c.OAuth.Basic = oauth.BasicCredentials(c.Spec.Client.BasicCredentials)
	return c, nil
}

func (c *Client) setSecret(name, value string) {
	if c.Secrets == nil {
		c.Secrets = map[string]sensitive.String{}
	}
	c.Secrets[name] = sensitive.New(value)
}

// describe fills in what operators before the field spec read.
func (d *document) describe(c *Client) {
	from := c.Spec.Endpoints
	d.Endpoints = storedEndpoints{
		Authorization: from.AuthorizationURL, Token: from.TokenURL, Refresh: from.RefreshURL, Revocation: from.RevocationURL,
		Introspection: from.IntrospectionURL, DeviceAuthorization: from.DeviceAuthorizationURL, UserInfo: from.UserInfoURL,
	}
	for _, parameter := range c.parameters() {
		d.Parameters = append(d.Parameters, storedParameter{Name: parameter.Name, Value: parameter.Value.Reveal()})
	}
	d.ScopeSeparator = c.Spec.ScopeSeparator
	for _, scope := range c.Spec.Scopes {
		d.Scopes = append(d.Scopes, string(scope))
	}
}

// formerParameters stands for the Secrets that parameters came from, in documents that do not name them.
const formerParameters = "parameters"

// formerSpec makes the spec that a document without one describes. Its parameters may be secret, so all of them are put
// among the secrets.
func (d *document) formerSpec(c *Client) *v1alpha1.OAuthApplicationSpec {
	from := d.Endpoints
	spec := &v1alpha1.OAuthApplicationSpec{
		IssuerURL: c.Issuer(),
		Endpoints: &v1alpha1.Endpoints{
			AuthorizationURL: from.Authorization, TokenURL: from.Token, RefreshURL: from.Refresh, RevocationURL: from.Revocation,
			IntrospectionURL: from.Introspection, DeviceAuthorizationURL: from.DeviceAuthorization, UserInfoURL: from.UserInfo,
		},
		Client:         v1alpha1.ClientSpec{ID: d.ClientID, Authentication: v1alpha1.ClientAuthentication(d.Authentication)},
		RedirectURL:    d.RedirectURL,
		ScopeSeparator: cmp.Or(d.ScopeSeparator, " "),
		PKCE:           v1alpha1.PKCES256,
	}
	for _, scope := range d.Scopes {
		spec.Scopes = append(spec.Scopes, v1alpha1.Scope(scope))
	}
	for _, parameter := range d.Parameters {
		c.setSecret(provider.SecretKey(formerParameters, parameter.Name), parameter.Value)
		if spec.TokenRequest == nil {
			spec.TokenRequest = &v1alpha1.TokenRequestSpec{}
		}
		spec.TokenRequest.Parameters = append(spec.TokenRequest.Parameters, v1alpha1.RequestParameter{
			Name: parameter.Name, SecretKeyRef: &v1alpha1.ValueSecretReference{Name: formerParameters, Key: parameter.Name},
		})
	}
	return spec
}

func storeDiscovery(discovery *Discovery) *storedDiscovery {
	if discovery == nil {
		return nil
	}
	metadata := discovery.Metadata
	return &storedDiscovery{
		At:                          storedTime(discovery.At),
		Trust:                       discovery.Trust,
		Issuer:                      metadata.Issuer,
		AuthorizationEndpoint:       metadata.AuthorizationEndpoint,
		TokenEndpoint:               metadata.TokenEndpoint,
		RevocationEndpoint:          metadata.RevocationEndpoint,
		IntrospectionEndpoint:       metadata.IntrospectionEndpoint,
		DeviceAuthorizationEndpoint: metadata.DeviceAuthorizationEndpoint,
		UserinfoEndpoint:            metadata.UserinfoEndpoint,
		Aliases: aliases{
			TokenEndpoint: metadata.MTLSTokenEndpoint, RevocationEndpoint: metadata.MTLSRevocationEndpoint,
			IntrospectionEndpoint: metadata.MTLSIntrospectionEndpoint, DeviceAuthorizationEndpoint: metadata.MTLSDeviceAuthorizationEndpoint,
		},
		TokenAuthMethods:      metadata.TokenEndpointAuthMethodsSupported,
		RevocationAuthMethods: metadata.RevocationEndpointAuthMethodsSupported,
		CodeChallengeMethods:  metadata.CodeChallengeMethodsSupported,
		IssParameter:          metadata.AuthorizationResponseIssParameterSupported,
		RequirePAR:            metadata.RequirePushedAuthorizationRequests,
	}
}

func (d *storedDiscovery) load() *Discovery {
	if d == nil {
		return nil
	}
	return &Discovery{At: d.At, Trust: d.Trust, Metadata: oauth.Metadata{
		Issuer:                                     d.Issuer,
		AuthorizationEndpoint:                      d.AuthorizationEndpoint,
		TokenEndpoint:                              d.TokenEndpoint,
		RevocationEndpoint:                         d.RevocationEndpoint,
		IntrospectionEndpoint:                      d.IntrospectionEndpoint,
		DeviceAuthorizationEndpoint:                d.DeviceAuthorizationEndpoint,
		UserinfoEndpoint:                           d.UserinfoEndpoint,
		MTLSTokenEndpoint:                          d.Aliases.TokenEndpoint,
		MTLSRevocationEndpoint:                     d.Aliases.RevocationEndpoint,
		MTLSIntrospectionEndpoint:                  d.Aliases.IntrospectionEndpoint,
		MTLSDeviceAuthorizationEndpoint:            d.Aliases.DeviceAuthorizationEndpoint,
		TokenEndpointAuthMethodsSupported:          d.TokenAuthMethods,
		RevocationEndpointAuthMethodsSupported:     d.RevocationAuthMethods,
		CodeChallengeMethodsSupported:              d.CodeChallengeMethods,
		AuthorizationResponseIssParameterSupported: d.IssParameter,
		RequirePushedAuthorizationRequests:         d.RequirePAR,
	}}
}

// storedTime gives one instant one spelling.
func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func describe(sources []Source) string {
	names := make([]string, 0, len(sources))
	for _, source := range sources {
		names = append(names, source.Kind+" "+source.Namespace+"/"+source.Name)
	}
	return strings.Join(names, ", ")
}
