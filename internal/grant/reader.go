// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Access is what of a grant record those need who use the access token, and no more: the refresh token is not in it.
type Access struct {
	// Connection and Application are whose it is.
	Connection, Application lifecycle.Identity
	// Token is empty as long as only a refresh token is held.
	Token sensitive.String
	// Hash identifies Token (sensitive.String.Hash).
	Hash      string
	TokenType string
	// IssuedAt is when the request for it was sent, by the controller's clock.
	IssuedAt time.Time
	Expiry   lifecycle.Expiry
	// Renewable tells that a refresh token is held.
	Renewable bool
	// GrantType is how the tokens were obtained.
	GrantType lifecycle.GrantType
	// Subject is the provider's name of the account; empty when it is not known.
	Subject string
	// Captured are the values that the application keeps of the provider's answers, by name.
	Captured map[string]string
	// Inputs are the values of spec.inputs that the grant was obtained with.
	Inputs map[string]string
}

// accessDocument is what of a document an Access is made of.
type accessDocument struct {
	Format       int                 `json:"format"`
	Connection   lifecycle.Identity  `json:"connection"`
	Application  lifecycle.Identity  `json:"application"`
	AccessToken  string              `json:"accessToken"`
	RefreshToken presence            `json:"refreshToken"`
	TokenType    string              `json:"tokenType"`
	IssuedAt     time.Time           `json:"issuedAt"`
	Expiry       lifecycle.Expiry    `json:"expiry"`
	GrantType    lifecycle.GrantType `json:"grantType"`
	Subject      string              `json:"subject"`
	Captured     map[string]string   `json:"captured"`
	Inputs       map[string]string   `json:"inputs"`
}

// presence tells whether there is a value that is not empty, and keeps nothing of it.
type presence bool

// UnmarshalJSON implements json.Unmarshaler.
func (p *presence) UnmarshalJSON(value []byte) error {
	text := string(value)
	*p = text != `""` && text != "null"
	return nil
}

// ReadAccess reads what a connection's record says about the access token, for a process that may get Secrets of the operator's
// namespace and do no more. reader reads from the API server. Without a record it returns nil. No error shows anything of a
// record.
func ReadAccess(ctx context.Context, reader client.Reader, namespace, connectionUID string) (*Access, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: SecretName(connectionUID)}
	err := reader.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant record %s: %w", key.Name, err)
	}
	return accessOf(secret, connectionUID)
}

func accessOf(secret *corev1.Secret, connectionUID string) (*Access, error) {
	var d accessDocument
	if secret.Type != v1alpha1.SecretTypeGrant {
		return nil, fmt.Errorf("object %s/%s is not a grant record: its type is %q", secret.Namespace, secret.Name, secret.Type)
	}
	if err := json.Unmarshal(secret.Data[contentKey], &d); err != nil {
		// The parser's own words could quote a token.
		return nil, fmt.Errorf("grant record %s/%s cannot be read: key %q is not the JSON that the operator wrote", secret.Namespace, secret.Name, contentKey)
	}
	if d.Format != contentFormat {
		return nil, fmt.Errorf("grant record %s/%s has format %d, this version of the API reads format %d: run the version of the operator that wrote it",
			secret.Namespace, secret.Name, d.Format, contentFormat)
	}
	if d.Connection.UID != connectionUID {
		return nil, fmt.Errorf("grant record %s/%s belongs to another connection than its name says", secret.Namespace, secret.Name)
	}
	token := sensitive.New(d.AccessToken)
	return &Access{
		Connection: d.Connection, Application: d.Application, Token: token, Hash: token.Hash(), TokenType: d.TokenType,
		IssuedAt: d.IssuedAt, Expiry: d.Expiry, Renewable: bool(d.RefreshToken), GrantType: d.GrantType, Subject: d.Subject,
		Captured: d.Captured, Inputs: d.Inputs,
	}, nil
}
