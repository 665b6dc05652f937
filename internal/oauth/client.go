// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/base64"
	"net/url"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// AuthenticationMethod is how a client proves who it is, in the spelling of the API.
type AuthenticationMethod string

// The methods of RFC 6749, section 2.3.1.
const (
	// ClientSecretBasic sends id and secret in the Authorization header.
	ClientSecretBasic AuthenticationMethod = "ClientSecretBasic"
	// ClientSecretPost sends id and secret in the body.
	ClientSecretPost AuthenticationMethod = "ClientSecretPost"
	// None is a public client: it sends its id in the body, and no secret.
	None AuthenticationMethod = "None"
)

// Client is a client as registered at a provider.
type Client struct {
	ID             string
	Secret         sensitive.String
	Authentication AuthenticationMethod
}

// basic is the credentials part of the Authorization header. Both halves are form-encoded first (RFC 6749, section
// 2.3.1), or a colon or a space in a secret would break it.
func (c Client) basic() sensitive.String {
	pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
	return sensitive.New(base64.StdEncoding.EncodeToString([]byte(pair)))
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
		return nil, c.basic(), nil
	case ClientSecretPost:
		return []Parameter{id, {Name: "client_secret", Value: c.Secret}}, sensitive.String{}, nil
	case None:
		return []Parameter{id}, sensitive.String{}, nil
	}
	return nil, sensitive.String{}, unusable("client authentication " + string(c.Authentication) + " is not supported")
}
