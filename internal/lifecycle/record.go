// SPDX-License-Identifier: Apache-2.0

// Package lifecycle decides: what to do next for a grant, when, what an answer or a failure means for it, and what its
// status says. Everything here is a pure function of its arguments: no I/O, no clock, no randomness.
package lifecycle

import (
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Record is all that is known about one connection's grant. It is the truth: the workload's Secret and the connection's
// status are derived from it and can be rebuilt from it without asking the provider.
type Record struct {
	Connection  Identity
	Application Identity
	// Owner is spec.owner of the connection.
	Owner string

	Tokens
	// Replaced are refresh tokens of grants that a later authorization replaced, oldest first, at most keptReplaced.
	Replaced []sensitive.String
	// Previous is the access token before the present one, where nothing else ends it: without a refresh token there is
	// no family to revoke, and workloads use it until they have read the new one.
	Previous sensitive.String
	// AuthorizedAt and RefreshedAt are when tokens last came by authorization and by any other way.
	FirstAuthorizedAt, AuthorizedAt, RefreshedAt time.Time
	// Refreshes without a new refresh token, in a row.
	Unrotated int

	// Attempt marks a call under way that spends a credential. It is written before the call.
	Attempt *Attempt
	// SpentInput is the hash of the last code or imported refresh token that will not be sent again, and InputVersion
	// the version of the Secret that was found to hold it. A refresh token that was refused without an OAuth error is
	// not spent: a changed configuration may bring it back.
	SpentInput, InputVersion string
	// Failure concerns the grant that is held, InputFailure the code, import or credentials that would give one.
	Failure, InputFailure *Failure
	// Authorization is how the last code or import ended.
	Authorization *Authorization
	// RefreshRequest is the last refresh request that was answered.
	RefreshRequest string
	// Revocation is what has been done about deletion.
	Revocation *Revocation
	// OrphanedSince is when a live read first found no connection for this record; zero: there is one.
	OrphanedSince time.Time
	// Heir is the UID of the connection that takes this record over; empty: none.
	Heir string
}

// Identity names an object and its incarnation.
type Identity struct{ Namespace, Name, UID string }

// Tokens are what the provider gave.
type Tokens struct {
	AccessToken, RefreshToken sensitive.String
	TokenType                 string
	// Scopes granted, as far as the provider said, else as asked.
	Scopes []string
	// RequestedScopes are what was asked for.
	RequestedScopes []string
	// IssuedAt is when the request for the access token was sent, by our clock.
	IssuedAt time.Time
	Expiry   Expiry
	// RefreshTokenExpiresAt is zero where nobody says.
	RefreshTokenExpiresAt time.Time
	// GrantType is how they were obtained.
	GrantType GrantType
	// ID and Subject are the provider's names of the grant and of the account.
	ID, Subject string
}

// keptReplaced bounds Record.Replaced.
const keptReplaced = 5

// GrantType is the way to the first tokens; the values are those of the API.
type GrantType string

// Grant types.
const (
	AuthorizationCode GrantType = "AuthorizationCode"
	RefreshToken      GrantType = "RefreshToken"
	ClientCredentials GrantType = "ClientCredentials"
)

// ExpiryKind says what is known about an expiry.
type ExpiryKind string

// Kinds of expiry.
const (
	// ExpiryUnknown : the provider did not say, or said nonsense.
	ExpiryUnknown ExpiryKind = ""
	// ExpiryNever : more than ten years ahead.
	ExpiryNever ExpiryKind = "Never"
	// ExpiryAt : at a time.
	ExpiryAt ExpiryKind = "At"
)

// Expiry of an access token; At is set with ExpiryAt only.
type Expiry struct {
	Kind ExpiryKind
	At   time.Time
}

// Passed tells whether the token has certainly expired.
func (e Expiry) Passed(now time.Time) bool { return e.Kind == ExpiryAt && !now.Before(e.At) }

// Attempt is a call that spends a credential and whose outcome is not yet written down.
type Attempt struct {
	ID        string
	Process   string
	Action    Action
	InputHash string
	StartedAt time.Time
}

// Failure is what went wrong, how often in a row, and when to try again.
type Failure struct {
	Reason, Message string
	Count           int
	FirstAt, LastAt time.Time
	// NextAttemptAt is zero when it is not up to time: see Terminal and Facts.Pause.
	NextAttemptAt time.Time
	// Terminal : not tried again by itself.
	Terminal bool
	// OutcomeUnknown : the credential may have been spent without an answer reaching us.
	OutcomeUnknown bool
	// Basis is Facts.Basis at that time: a different one cuts the wait short.
	Basis string
	// InputHash is the input that failed, for InputFailure.
	InputHash string
}

// undecided tells that no answer has ever condemned the credential itself, so that a changed configuration or a request
// may still bring it back.
func (f *Failure) undecided() bool {
	return f.Reason == v1alpha1.ReasonRefreshRejected || (f.Reason == v1alpha1.ReasonRefreshOutcomeUnknown && f.OutcomeUnknown)
}

// AuthorizationResult is how an authorization ended; the values are those of the API.
type AuthorizationResult string

// Results of an authorization.
const (
	AuthorizationSucceeded AuthorizationResult = "Succeeded"
	AuthorizationFailed    AuthorizationResult = "Failed"
	AuthorizationUnknown   AuthorizationResult = "Unknown"
)

// Authorization is how one code or import ended.
type Authorization struct {
	ID              string
	Result          AuthorizationResult
	Reason, Message string
	At              time.Time
}

// Revocation is the progress of a deletion at the provider.
type Revocation struct {
	// Done : the provider has answered for every token.
	Done bool
	// Unrevoked says which tokens were refused, in words; empty: none.
	Unrevoked     string
	Count         int
	NextAttemptAt time.Time
	Message       string
}

// Held tells whether there is a grant at all.
func (r *Record) Held() bool {
	return r != nil && (!r.AccessToken.IsEmpty() || !r.RefreshToken.IsEmpty())
}

// Secrets returns all that must never be shown.
func (r *Record) Secrets() []sensitive.String {
	return append([]sensitive.String{r.AccessToken, r.RefreshToken, r.Previous}, r.Replaced...)
}

// clone copies what transitions change.
func (r *Record) clone() *Record {
	c := *r
	c.Replaced = append([]sensitive.String(nil), r.Replaced...)
	return &c
}
