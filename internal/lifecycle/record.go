// SPDX-License-Identifier: Apache-2.0

// Package lifecycle decides: what to do next for a grant, when, what an answer or a failure means for it, and what its
// status says. Everything here is a pure function of its arguments: no I/O, no clock, no randomness.
package lifecycle

import (
	"slices"
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
	// Refreshes in a row that brought no new one of what they were made with: the refresh token, or the access token.
	Unrotated int

	// Inputs are the values of spec.inputs that the grant was obtained with: a deletion needs them when the connection has
	// gone.
	Inputs map[string]string
	// Lookup is what is known about the account behind the tokens.
	Lookup Lookup
	// Candidate is a new authorization whose account is not known to be the old one's yet.
	Candidate *Candidate
	// Device is a device authorization that waits for a person.
	Device *Device
	// Standing is what the provider last said about the grant, where that is not "active"; nil: nothing bad.
	Standing *Standing
	// ProviderCreatedAt is when the grant began by the provider's account; zero: unknown.
	ProviderCreatedAt time.Time
	// Hint is the provider's report that the grant has ended, as long as it is not verified.
	Hint *Hint
	// Doubted : a status check says that the access token does not work, and it can be renewed.
	Doubted bool

	// InvitedUntil is how long a person has a link who has asked for one although the grant works; zero: nobody has.
	InvitedUntil time.Time

	// Attempt marks a call under way that spends a credential. It is written before the call.
	Attempt *Attempt
	// SpentInput is the hash of the last code or imported refresh token that will not be sent again, and InputVersion
	// the version of the Secret that was found to hold it. A refresh token that was refused without an OAuth error is
	// not spent: a changed configuration may bring it back.
	SpentInput, InputVersion string
	// SpentBefore are the hashes of the inputs before that one, at most keptSpent: a spent code that comes back, as when a
	// change in Git is taken back, is not sent again.
	SpentBefore []string
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
	// Captured are the values that the application keeps of answers, by name.
	Captured map[string]string
	// IDToken is kept until the subject has been read out of it.
	IDToken sensitive.String
}

// Lookup is the progress of finding out whose tokens they are.
type Lookup struct {
	// Done : there is nothing more to find out.
	Done bool
	// Count of failed attempts, and when to make the next one.
	Count         int
	NextAttemptAt time.Time
	// Message of the last failed attempt.
	Message string
}

// Candidate is a new authorization of a grant that is held: it replaces that one when the account is the same.
type Candidate struct {
	Tokens
	// Call is the ID of the call that obtained it, ObtainedAt when it did.
	Call       string
	ObtainedAt time.Time
	Inputs     map[string]string
	Lookup     Lookup
	// Refused : the account is another one, and the tokens are to be revoked.
	Refused bool
	// Revoking counts failed attempts to do so.
	Revoking int
	// NextAttemptAt is when to try that again.
	NextAttemptAt time.Time
}

// Device is a device authorization (RFC 8628 section 3.2).
type Device struct {
	Code                                               sensitive.String
	UserCode, VerificationURI, VerificationURIComplete string
	StartedAt, ExpiresAt                               time.Time
	// Interval between two polls.
	Interval time.Duration
	// Since is when asking began: codes that expire are replaced for an hour, then somebody has to ask.
	Since time.Time
}

// StandingState is what a provider thinks of a grant.
type StandingState string

// States of a grant at its provider.
const (
	// StandingInactive : it does not work, and could again.
	StandingInactive StandingState = "Inactive"
	// StandingDeleted : it is gone for good.
	StandingDeleted StandingState = "Deleted"
)

// Standing is a grant's state at its provider.
type Standing struct {
	State   StandingState
	At      time.Time
	Message string
	// Listed : the provider's list says so, not a check of the token.
	Listed bool
}

// Bounds of Record.Replaced and Record.SpentBefore.
const (
	keptReplaced = 5
	keptSpent    = 10
)

// GrantType is the way to the first tokens; the values are those of the API.
type GrantType string

// Grant types.
const (
	AuthorizationCode GrantType = "AuthorizationCode"
	RefreshToken      GrantType = "RefreshToken"
	ClientCredentials GrantType = "ClientCredentials"
	DeviceCode        GrantType = "DeviceCode"
	JWTBearer         GrantType = "JWTBearer"
	TokenExchange     GrantType = "TokenExchange"
	Extension         GrantType = "Extension"
)

// issues tells whether tokens of this type are issued, again and again, without a person.
func (g GrantType) issues() bool {
	switch g {
	case ClientCredentials, JWTBearer, TokenExchange, Extension:
		return true
	case AuthorizationCode, RefreshToken, DeviceCode:
	}
	return false
}

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
	// Login identifies the person's login whose code is sent; empty: none.
	Login     string `json:",omitempty"`
	StartedAt time.Time
}

// Failure is what went wrong, how often in a row, and when to try again.
type Failure struct {
	Reason, Message string
	Count           int
	FirstAt, LastAt time.Time
	// NextAttemptAt is zero when it is not up to time: see Terminal and Facts.Pauses.
	NextAttemptAt time.Time
	// Terminal : not tried again by itself.
	Terminal bool
	// OutcomeUnknown : the credential may have been spent without an answer reaching us.
	OutcomeUnknown bool
	// Basis is Facts.Basis at that time: a different one cuts the wait short.
	Basis string
	// InputHash is the input that failed, for InputFailure.
	InputHash string
	// InputVersion is the version of the Secret that a request could not be made of; another one is tried at once.
	InputVersion string
}

// undecided tells that no answer has ever condemned the credential itself, so that a changed configuration or a request
// may still bring it back.
func (f *Failure) undecided() bool {
	return f.Reason == v1alpha1.ReasonRefreshRejected || (f.Reason == v1alpha1.ReasonRefreshOutcomeUnknown && f.OutcomeUnknown)
}

// unanswered tells that a code or a refresh token was sent, and no answer says what has become of it.
func (f *Failure) unanswered() bool {
	return f.Reason == v1alpha1.ReasonExchangeOutcomeUnknown ||
		(f.Reason == v1alpha1.ReasonRefreshOutcomeUnknown && f.OutcomeUnknown)
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

// Revocable tells whether there is any token that a deletion has to end.
func (r *Record) Revocable() bool {
	return r != nil && (r.Held() || len(r.Replaced) > 0 || r.Candidate != nil)
}

// HasSpent tells whether a code or an imported refresh token is known to be used up.
func (r *Record) HasSpent(hash string) bool {
	return r != nil && hash != "" && (r.SpentInput == hash || slices.Contains(r.SpentBefore, hash))
}

// Gone tells whether the provider has ended the grant for good.
func (r *Record) Gone() bool {
	return r != nil && r.Standing != nil && r.Standing.State == StandingDeleted
}

// Secrets returns all that must never be shown.
func (r *Record) Secrets() []sensitive.String {
	all := append([]sensitive.String{r.AccessToken, r.RefreshToken, r.Previous, r.IDToken}, r.Replaced...)
	if c := r.Candidate; c != nil {
		all = append(all, c.AccessToken, c.RefreshToken, c.IDToken)
	}
	if r.Device != nil {
		all = append(all, r.Device.Code)
	}
	return all
}

// clone copies what transitions change.
func (r *Record) clone() *Record {
	c := *r
	c.Replaced = append([]sensitive.String(nil), r.Replaced...)
	c.SpentBefore = append([]string(nil), r.SpentBefore...)
	if r.Candidate != nil {
		candidate := *r.Candidate
		c.Candidate = &candidate
	}
	if r.Device != nil {
		device := *r.Device
		c.Device = &device
	}
	return &c
}
