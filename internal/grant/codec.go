// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	contentKey    = "grant.json"
	contentFormat = 1

	// AnnotationConnection is on a grant record: namespace/name of its connection.
	AnnotationConnection = v1alpha1.GroupName + "/connection"
	// AnnotationApplication is on a grant record: namespace/name of the application.
	AnnotationApplication = v1alpha1.GroupName + "/application"
)

// SecretName returns the name of the grant record of a connection.
func SecretName(connectionUID string) string { return "grant-" + connectionUID }

// document is the stored form of a lifecycle.Record. Fields may be added within a format; whatever an older operator
// would misread needs a new one.
type document struct {
	Format      int                `json:"format"`
	Connection  lifecycle.Identity `json:"connection"`
	Application lifecycle.Identity `json:"application"`
	Owner       string             `json:"owner,omitempty"`

	storedTokens

	Replaced          []string                 `json:"replaced,omitempty"`
	FirstAuthorizedAt time.Time                `json:"firstAuthorizedAt,omitzero"`
	AuthorizedAt      time.Time                `json:"authorizedAt,omitzero"`
	RefreshedAt       time.Time                `json:"refreshedAt,omitzero"`
	Previous          string                   `json:"previous,omitempty"`
	Unrotated         int                      `json:"unrotated,omitempty"`
	Attempt           *lifecycle.Attempt       `json:"attempt,omitempty"`
	SpentInput        string                   `json:"spentInput,omitempty"`
	InputVersion      string                   `json:"inputVersion,omitempty"`
	SpentBefore       []string                 `json:"spentBefore,omitempty"`
	Failure           *lifecycle.Failure       `json:"failure,omitempty"`
	InputFailure      *lifecycle.Failure       `json:"inputFailure,omitempty"`
	Authorization     *lifecycle.Authorization `json:"authorization,omitempty"`
	RefreshRequest    string                   `json:"refreshRequest,omitempty"`
	Revocation        *lifecycle.Revocation    `json:"revocation,omitempty"`
	OrphanedSince     time.Time                `json:"orphanedSince,omitzero"`
	Heir              string                   `json:"heir,omitempty"`
	Inputs            map[string]string        `json:"inputs,omitempty"`
	Lookup            lifecycle.Lookup         `json:"lookup,omitzero"`
	Candidate         *storedCandidate         `json:"candidate,omitempty"`
	Device            *storedDevice            `json:"device,omitempty"`
	Standing          *lifecycle.Standing      `json:"standing,omitempty"`
	ProviderCreatedAt time.Time                `json:"providerCreatedAt,omitzero"`
	Doubted           bool                     `json:"doubted,omitempty"`
	Hint              *lifecycle.Hint          `json:"hint,omitempty"`
	InvitedUntil      time.Time                `json:"invitedUntil,omitzero"`
}

// storedTokens are lifecycle.Tokens.
type storedTokens struct {
	AccessToken           string            `json:"accessToken,omitempty"`
	RefreshToken          string            `json:"refreshToken,omitempty"`
	TokenType             string            `json:"tokenType,omitempty"`
	Scopes                []string          `json:"scopes,omitempty"`
	RequestedScopes       []string          `json:"requestedScopes,omitempty"`
	IssuedAt              time.Time         `json:"issuedAt,omitzero"`
	Expiry                lifecycle.Expiry  `json:"expiry,omitzero"`
	RefreshTokenExpiresAt time.Time         `json:"refreshTokenExpiresAt,omitzero"`
	GrantType             string            `json:"grantType,omitempty"`
	ID                    string            `json:"id,omitempty"`
	Subject               string            `json:"subject,omitempty"`
	Captured              map[string]string `json:"captured,omitempty"`
	IDToken               string            `json:"idToken,omitempty"`
}

func storeTokens(t lifecycle.Tokens) storedTokens {
	return storedTokens{
		AccessToken: t.AccessToken.Reveal(), RefreshToken: t.RefreshToken.Reveal(), TokenType: t.TokenType,
		Scopes: t.Scopes, RequestedScopes: t.RequestedScopes, IssuedAt: t.IssuedAt, Expiry: t.Expiry,
		RefreshTokenExpiresAt: t.RefreshTokenExpiresAt, GrantType: string(t.GrantType), ID: t.ID, Subject: t.Subject,
		Captured: t.Captured, IDToken: t.IDToken.Reveal(),
	}
}

func (s storedTokens) load() lifecycle.Tokens {
	return lifecycle.Tokens{
		AccessToken: sensitive.New(s.AccessToken), RefreshToken: sensitive.New(s.RefreshToken), TokenType: s.TokenType,
		Scopes: s.Scopes, RequestedScopes: s.RequestedScopes, IssuedAt: s.IssuedAt, Expiry: s.Expiry,
		RefreshTokenExpiresAt: s.RefreshTokenExpiresAt, GrantType: lifecycle.GrantType(s.GrantType), ID: s.ID, Subject: s.Subject,
		Captured: s.Captured, IDToken: sensitive.New(s.IDToken),
	}
}

// storedCandidate is a lifecycle.Candidate.
type storedCandidate struct {
	storedTokens

	Call          string            `json:"call"`
	ObtainedAt    time.Time         `json:"obtainedAt"`
	Inputs        map[string]string `json:"inputs,omitempty"`
	Lookup        lifecycle.Lookup  `json:"lookup,omitzero"`
	Refused       bool              `json:"refused,omitempty"`
	Revoking      int               `json:"revoking,omitempty"`
	NextAttemptAt time.Time         `json:"nextAttemptAt,omitzero"`
}

func storeCandidate(c *lifecycle.Candidate) *storedCandidate {
	if c == nil {
		return nil
	}
	return &storedCandidate{
		storedTokens: storeTokens(c.Tokens), Call: c.Call, ObtainedAt: c.ObtainedAt, Inputs: c.Inputs, Lookup: c.Lookup,
		Refused: c.Refused, Revoking: c.Revoking, NextAttemptAt: c.NextAttemptAt,
	}
}

func (s *storedCandidate) load() *lifecycle.Candidate {
	if s == nil {
		return nil
	}
	return &lifecycle.Candidate{
		Tokens: s.storedTokens.load(), Call: s.Call, ObtainedAt: s.ObtainedAt, Inputs: s.Inputs, Lookup: s.Lookup,
		Refused: s.Refused, Revoking: s.Revoking, NextAttemptAt: s.NextAttemptAt,
	}
}

// storedDevice is a lifecycle.Device.
type storedDevice struct {
	Code                    string        `json:"code"`
	UserCode                string        `json:"userCode"`
	VerificationURI         string        `json:"verificationURI"`
	VerificationURIComplete string        `json:"verificationURIComplete,omitempty"`
	StartedAt               time.Time     `json:"startedAt"`
	ExpiresAt               time.Time     `json:"expiresAt"`
	Interval                time.Duration `json:"interval"`
	Since                   time.Time     `json:"since"`
}

func storeDevice(d *lifecycle.Device) *storedDevice {
	if d == nil {
		return nil
	}
	return &storedDevice{
		Code: d.Code.Reveal(), UserCode: d.UserCode, VerificationURI: d.VerificationURI,
		VerificationURIComplete: d.VerificationURIComplete, StartedAt: d.StartedAt, ExpiresAt: d.ExpiresAt,
		Interval: d.Interval, Since: d.Since,
	}
}

func (s *storedDevice) load() *lifecycle.Device {
	if s == nil {
		return nil
	}
	return &lifecycle.Device{
		Code: sensitive.New(s.Code), UserCode: s.UserCode, VerificationURI: s.VerificationURI,
		VerificationURIComplete: s.VerificationURIComplete, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt,
		Interval: s.Interval, Since: s.Since,
	}
}

func encode(r *lifecycle.Record) ([]byte, error) {
	replaced := make([]string, 0, len(r.Replaced))
	for _, token := range r.Replaced {
		replaced = append(replaced, token.Reveal())
	}
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false) // It would make six bytes of one "&", and there is room for a mebibyte only.
	err := encoder.Encode(document{
		Format: contentFormat, Connection: r.Connection, Application: r.Application, Owner: r.Owner,
		storedTokens: storeTokens(r.Tokens),
		Replaced:     replaced, Previous: r.Previous.Reveal(), FirstAuthorizedAt: r.FirstAuthorizedAt, AuthorizedAt: r.AuthorizedAt,
		RefreshedAt: r.RefreshedAt, Unrotated: r.Unrotated, Attempt: r.Attempt, SpentInput: r.SpentInput,
		InputVersion: r.InputVersion, SpentBefore: r.SpentBefore, Failure: r.Failure, InputFailure: r.InputFailure,
		Authorization: r.Authorization, RefreshRequest: r.RefreshRequest, Revocation: r.Revocation,
		OrphanedSince: r.OrphanedSince, Heir: r.Heir, Inputs: r.Inputs, Lookup: r.Lookup,
		Candidate: storeCandidate(r.Candidate), Device: storeDevice(r.Device), Standing: r.Standing,
		ProviderCreatedAt: r.ProviderCreatedAt, Doubted: r.Doubted, Hint: r.Hint, InvitedUntil: r.InvitedUntil,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the grant record of %s/%s: %w", r.Connection.Namespace, r.Connection.Name, err)
	}
	return bytes.TrimSuffix(content.Bytes(), []byte("\n")), nil
}

func decode(secret *corev1.Secret) (*lifecycle.Record, error) {
	var d document
	if err := json.Unmarshal(secret.Data[contentKey], &d); err != nil {
		// The parser's own words could quote a token.
		return nil, fmt.Errorf("grant record %s/%s cannot be read: key %q is not the JSON that the operator wrote", secret.Namespace, secret.Name, contentKey)
	}
	if d.Format != contentFormat {
		return nil, fmt.Errorf("grant record %s/%s has format %d, this operator reads format %d: run the operator's version that wrote it", secret.Namespace, secret.Name, d.Format, contentFormat)
	}
	r := &lifecycle.Record{
		Connection: d.Connection, Application: d.Application, Owner: d.Owner,
		Tokens:   d.load(),
		Previous: sensitive.New(d.Previous), FirstAuthorizedAt: d.FirstAuthorizedAt, AuthorizedAt: d.AuthorizedAt, RefreshedAt: d.RefreshedAt,
		Unrotated: d.Unrotated, Attempt: d.Attempt, SpentInput: d.SpentInput, InputVersion: d.InputVersion, SpentBefore: d.SpentBefore,
		Failure: d.Failure, InputFailure: d.InputFailure, Authorization: d.Authorization, RefreshRequest: d.RefreshRequest,
		Revocation: d.Revocation, OrphanedSince: d.OrphanedSince, Heir: d.Heir, Inputs: d.Inputs, Lookup: d.Lookup,
		Candidate: d.Candidate.load(), Device: d.Device.load(), Standing: d.Standing,
		ProviderCreatedAt: d.ProviderCreatedAt, Doubted: d.Doubted, Hint: d.Hint, InvitedUntil: d.InvitedUntil,
	}
	for _, token := range d.Replaced {
		r.Replaced = append(r.Replaced, sensitive.New(token))
	}
	return r, nil
}

// secretFor renders a record; base is the version it replaces, or nil for a new one.
func secretFor(r *lifecycle.Record, base *corev1.Secret, namespace string) (*corev1.Secret, error) {
	content, err := encode(r)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName(r.Connection.UID)}}
	if base != nil {
		secret = base.DeepCopy()
	}
	secret.Type = v1alpha1.SecretTypeGrant
	secret.Data = map[string][]byte{contentKey: content}
	secret.Labels = with(secret.Labels, map[string]string{
		v1alpha1.LabelRecord:         v1alpha1.RecordGrant,
		v1alpha1.LabelConnectionUID:  r.Connection.UID,
		v1alpha1.LabelApplicationUID: r.Application.UID,
	})
	secret.Annotations = with(secret.Annotations, map[string]string{
		AnnotationConnection:  r.Connection.Namespace + "/" + r.Connection.Name,
		AnnotationApplication: r.Application.Namespace + "/" + r.Application.Name,
	})
	return secret, nil
}

func with(have, want map[string]string) map[string]string {
	if have == nil {
		have = map[string]string{}
	}
	maps.Copy(have, want)
	return have
}
