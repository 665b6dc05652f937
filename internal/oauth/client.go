// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/base64"
	"net/url"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// AuthenticationMethod is how a client proves who it is, in the spelling of the API.
type AuthenticationMethod string

// The methods of client authentication.
const (
	// ClientSecretBasic sends id and secret in the Authorization header (RFC 6749, section 2.3.1).
	ClientSecretBasic AuthenticationMethod = "ClientSecretBasic"
	// ClientSecretPost sends id and secret in the body (RFC 6749, section 2.3.1).
	ClientSecretPost AuthenticationMethod = "ClientSecretPost"
	// PrivateKeyJWT sends an assertion signed by the client (RFC 7523, section 2.2).
	PrivateKeyJWT AuthenticationMethod = "PrivateKeyJWT"
	// TLS sends the client's id; the transport shows its certificate (RFC 8705, section 2).
	TLS AuthenticationMethod = "TLS"
	// ServiceAccountToken sends an assertion issued by a Kubernetes cluster, in the same way as PrivateKeyJWT.
	ServiceAccountToken AuthenticationMethod = "ServiceAccountToken"
	// None is a public client: it sends its id in the body, and no secret.
	None AuthenticationMethod = "None"
)

// BasicCredentials is how ClientSecretBasic writes id and secret, in the spelling of the API.
type BasicCredentials string

// The ways to write Basic credentials.
const (
	// BasicEncoded form-encodes both (RFC 6749, section 2.3.1). So does an empty BasicCredentials.
	BasicEncoded BasicCredentials = "Encoded"
	// BasicPlain takes both as they are (RFC 7617, section 2), as many servers wrongly expect.
	BasicPlain BasicCredentials = "Plain"
	// BasicSecretAsUserName sends the secret in place of the id, and an empty password.
	BasicSecretAsUserName BasicCredentials = "SecretAsUserName"
)

const assertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Client is a client as registered at a provider.
type Client struct {
	ID             string
	Secret         sensitive.String
	Authentication AuthenticationMethod
	// Basic is how ClientSecretBasic writes the credentials.
	Basic BasicCredentials
	// Assertion proves who the client is, with PrivateKeyJWT and ServiceAccountToken. It is made for one call: servers
	// refuse one that they have seen.
	Assertion sensitive.String
}

// basic is the credentials part of the Authorization header.
func (c Client) basic() (sensitive.String, error) {
	var pair string
	switch c.Basic {
	case "", BasicEncoded:
		// Unencoded, a colon or a space in a secret would break the header.
		pair = url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
	case BasicPlain:
		pair = c.ID + ":" + c.Secret.Reveal()
	case BasicSecretAsUserName:
		pair = c.Secret.Reveal() + ":"
	default:
		return sensitive.String{}, unusable("Basic credentials of form " + string(c.Basic) + " are not supported")
	}
	return sensitive.New(base64.StdEncoding.EncodeToString([]byte(pair))), nil
}

// authentication returns the body parameters of the client's method and, for ClientSecretBasic, the credentials of the
// Authorization header.
func (c Client) authentication() ([]Parameter, sensitive.String, error) {
	id := Parameter{Name: "client_id", Value: sensitive.New(c.ID)}
	if c.ID == "" {
		return nil, sensitive.String{}, unusable("the client has no id")
	}
	switch c.Authentication {
	case ClientSecretBasic:
		basic, err := c.basic()
		return nil, basic, err
	case ClientSecretPost:
		return []Parameter{id, {Name: "client_secret", Value: c.Secret}}, sensitive.String{}, nil
	case PrivateKeyJWT, ServiceAccountToken:
		if c.Assertion.IsEmpty() {
			return nil, sensitive.String{}, unusable("the client has no assertion")
		}
		return []Parameter{
			id,
			{Name: "client_assertion_type", Value: sensitive.New(assertionTypeJWT)},
			{Name: "client_assertion", Value: c.Assertion},
		}, sensitive.String{}, nil
	case None, TLS:
		return []Parameter{id}, sensitive.String{}, nil
	}
	return nil, sensitive.String{}, unusable("client authentication " + string(c.Authentication) + " is not supported")
}
