// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// Facts are what one pass knows. They are gathered first and not changed by a decision.
type Facts struct {
	UID     string
	Process string

	// Deletion is nil while the connection is wanted.
	Deletion  *Deletion
	Suspended bool

	GrantType GrantType
	// Scopes to ask for.
	Scopes []string
	// Inputs are the values of spec.inputs.
	Inputs map[string]string
	Margin Margin
	// RefreshRequest is the value of the annotation.
	RefreshRequest string

	// Blocked says why the provider must not or cannot be called; nil: it can.
	Blocked *Verdict
	// Basis identifies the configuration that a call would use: spec, client, endpoints. A changed one cuts waits.
	Basis string
	// Pauses are the application's pauses by the calls that they hold back.
	Pauses map[Action]Pause

	Input Input
	// Person is how a person can authorize; nil: the spec leaves it to no person.
	Person *Person
	// Answer is a login that ended without a code; nil: none.
	Answer *Answer
	// Reported is an event of the provider's that is not written down yet; nil: none.
	Reported *Hint
	// Nudge is a caller's word that the access token is of no use; nil: none, or one that was answered.
	Nudge *Nudge
	// Invited : a person has asked for a link.
	Invited bool
	// BelievesHints : such an event is taken at its word where nobody can be asked.
	BelievesHints bool
	// RenewsByAccessToken : the provider exchanges the access token for a newer one, in place of a refresh token.
	RenewsByAccessToken bool
	// Identifiable : the application says how to find out whose tokens they are.
	Identifiable bool
	// LastPollAt is when this process last polled for a device authorization; zero: not yet.
	LastPollAt time.Time
	// Check is how the grant's standing is checked; its zero value: not at all.
	Check Check
	// ListedAt is when the provider's list that is known was asked for; zero: there is no such list, or none was read yet.
	ListedAt time.Time
	// Lists : the provider has a list of connections.
	Lists bool
	// Listed is what the provider's own list says about the grant; nil: nothing that is news.
	Listed *Listing
	// Record is nil when nothing was ever attempted.
	Record *Record
	// MarkSeenAt is when this process first saw the foreign mark in the record.
	MarkSeenAt time.Time
	// Running : a call for this connection is under way in this process, or its outcome is being written.
	Running bool
}

// Deletion is a wish to end the grant.
type Deletion struct {
	// RequestedAt is when trying began: the wish, or the start of a process that was not there when it was made.
	RequestedAt time.Time
	// Timeout bounds the trying.
	Timeout time.Duration
	// Orphan : the grant is to stay alive at the provider.
	Orphan bool
	// Revocable says whether the provider can be asked.
	Revocable Revocability
}

// Revocability says whether a token can be revoked.
type Revocability int

// Revocabilities.
const (
	// RevocableNow : endpoint and client are known.
	RevocableNow Revocability = iota
	// RevocableNever : the provider has no revocation endpoint.
	RevocableNever
	// RevocableLater : the client is not known at present.
	RevocableLater
)

// InputState says whether there is a code or a refresh token to use.
type InputState int

// States of an input.
const (
	// InputNone : the grant type needs none, or a person has to act.
	InputNone InputState = iota
	// InputMissing : it is named but not there (yet).
	InputMissing
	// InputPresent : it is there.
	InputPresent
)

// Input is the code or the refresh token that the spec names.
type Input struct {
	State InputState
	// Hash identifies the value, Version the Secret's version that held it.
	Hash, Version string
	// Missing says what is missing, MissingReason under which reason; empty: a Secret.
	Missing, MissingReason string
	// Login identifies the login that a person's code came by, and ReceivedAt is when; empty for what is in a Secret.
	Login      string
	ReceivedAt time.Time
	// Import : a refresh token that a caller of the API has brought, for a connection whose spec leaves it to a person.
	Import bool
}

// Person says how a person can authorize.
type Person struct {
	// Link : there is a gateway that leads to the provider and takes the code.
	Link bool
	// Obstacle says why there is none; nil without a link: a code has to come by a Secret.
	Obstacle *Verdict
}

// Answer is how a login ended that brought no code.
type Answer struct {
	Login           string
	Reason, Message string
}

// Hint is an event of the provider's that says that the grant has ended. It is verified before it is believed.
type Hint struct {
	// ID identifies the event, Type is what the provider calls it.
	ID, Type string
	// At is when the provider sent it.
	At time.Time
	// Count of attempts to verify it that told nothing, and when to make the next one.
	Count         int
	NextAttemptAt time.Time
}

// Check is a periodic question about the access token.
type Check struct {
	// Interval between two checks; 0: none is made by itself.
	Interval time.Duration
	// OnRequest : one can be made when somebody asks for it.
	OnRequest bool
	// LastAt is when this process last made one, or when it started.
	LastAt time.Time
}

// Listing is the entry of a grant in the provider's list of connections.
type Listing struct {
	ID                   string
	Active               bool
	Status               string
	CreatedAt, DeletedAt time.Time
	// At is when the list was asked for.
	At time.Time
}

// Pause holds back calls because the provider does not accept the client.
type Pause struct {
	Reason, Message string
	NextProbeAt     time.Time
}

// Verdict is a reason with a message for people. Stalled: only a person can go on.
type Verdict struct {
	Reason, Message string
	Stalled         bool
}

// Action is what one pass does.
type Action string

// Actions. At most one is taken in a pass.
const (
	// Wait for time or for a change.
	Wait Action = "Wait"
	// Exchange the code.
	Exchange Action = "Exchange"
	// Import the refresh token by using it.
	Import Action = "Import"
	// Issue a token by the client's own credentials.
	Issue Action = "Issue"
	// Refresh the access token.
	Refresh Action = "Refresh"
	// StartDevice asks for a device authorization.
	StartDevice Action = "StartDevice"
	// Poll asks whether the person has authorized.
	Poll Action = "Poll"
	// Identify finds out whose tokens they are.
	Identify Action = "Identify"
	// CheckGrant asks whether the access token works.
	CheckGrant Action = "CheckGrant"
	// Settle decides about a candidate whose account is known.
	Settle Action = "Settle"
	// RevokeCandidate ends the tokens of a candidate that was refused.
	RevokeCandidate Action = "RevokeCandidate"
	// Observe writes down what the provider's list says.
	Observe Action = "Observe"
	// Conclude writes down how a login ended that brought no code, or one that cannot be used.
	Conclude Action = "Conclude"
	// Heed writes down that the provider has reported the end of the grant.
	Heed Action = "Heed"
	// Invite writes down that a person has asked for a link.
	Invite Action = "Invite"
	// Judge decides about such a report where nobody can be asked, or nothing is left to ask about.
	Judge Action = "Judge"
	// VerifyMark reads the record live to see whether a foreign mark is a crash's.
	VerifyMark Action = "VerifyMark"
	// Remember writes down what was seen without calling anybody.
	Remember Action = "Remember"
	// Revoke the tokens.
	Revoke Action = "Revoke"
	// Release the connection: remove Secret, record and finalizer.
	Release Action = "Release"
)

// CallsProvider tells whether the action needs the provider, and so a turn in the application's queue.
func (a Action) CallsProvider() bool {
	switch a {
	case Exchange, Import, Issue, Refresh, Revoke, StartDevice, Poll, Identify, CheckGrant, RevokeCandidate:
		return true
	case Wait, VerifyMark, Remember, Release, Settle, Observe, Conclude, Heed, Invite, Judge:
	}
	return false
}

// authorizes tells whether the action brings a new grant, not another token of the one that is held.
func (a Action) authorizes() bool { return a == Exchange || a == Import || a == Poll }

// first is the action that brings the first tokens of a grant, or begins to.
func (g GrantType) first() Action {
	switch g {
	case RefreshToken:
		return Import
	case DeviceCode:
		return StartDevice
	case ClientCredentials, JWTBearer, TokenExchange, Extension:
		return Issue
	case AuthorizationCode:
	}
	return Exchange
}

// grantType is the type of a grant that the action authorizes.
func (a Action) grantType() GrantType {
	switch a {
	case Import:
		return RefreshToken
	case Poll:
		return DeviceCode
	default:
		return AuthorizationCode
	}
}

// SpendsCredential tells whether the action sends something that may work only once.
func (a Action) SpendsCredential() bool { return a == Exchange || a == Import || a == Refresh }

// Decision is the outcome of Decide.
type Decision struct {
	Action Action
	// At is when to look again, for Wait; zero: when something changes.
	At time.Time
	// Probe : the application is paused and this call finds out whether it works again.
	Probe bool
	// LastChance : the deadline of a deletion has passed and its turn never came; the call is made at once, beside the
	// application's limits.
	LastChance bool
	// GivenUp : the deadline passed with tokens unrevoked, for Release.
	GivenUp bool
}
