// SPDX-License-Identifier: Apache-2.0

package pages

import "net/http"

// Kind says what a notice tells.
type Kind string

// Departing : a person has agreed to go to the provider, and is on the way there.
const Departing Kind = "Departing"

// Outcomes of a login.
const (
	// Success : the connection holds a grant.
	Success Kind = "Success"
	// Unpublished : the connection holds a grant, but its Secret has no working token yet, for a reason that the login is not to
	// blame for. Detail says which.
	Unpublished Kind = "Unpublished"
	// Waiting : the answer was handed to the controller, and the outcome is not known yet.
	Waiting Kind = "Waiting"
	// ControllerAway : the answer was handed over, and nothing has come of it for minutes: the controller or the provider is away.
	ControllerAway Kind = "ControllerAway"
	// Superseded : a later login of the same connection came to an end; this one's outcome is no longer to be seen.
	Superseded Kind = "Superseded"
	// Denied : the person, or somebody on their behalf, declined at the provider.
	Denied Kind = "Denied"
	// Failed : the provider, or the check of its answer, gave another error.
	Failed Kind = "Failed"
	// AccountMismatch : a connection was to be renewed, with another account than its own.
	AccountMismatch Kind = "AccountMismatch"
	// Expired : the person came back too late.
	Expired Kind = "Expired"
	// Replayed : this answer came before.
	Replayed Kind = "Replayed"
	// WrongBrowser : the login began in another browser.
	WrongBrowser Kind = "WrongBrowser"
	// Changed : the connection or its application changed while the person was away.
	Changed Kind = "Changed"
)

// States of a connection, or of a link to it, in which no login begins.
const (
	// Gone : the connection was deleted.
	Gone Kind = "Gone"
	// NotNeeded : the connection waits for nobody.
	NotNeeded Kind = "NotNeeded"
	// Suspended : the connection is.
	Suspended Kind = "Suspended"
	// NotReady : the application cannot be used at present, or the connection may not use it.
	NotReady Kind = "NotReady"
	// LinkInvalid : the link is not the connection's, or there is no such connection.
	LinkInvalid Kind = "LinkInvalid"
	// LinkExpired : it was the connection's link.
	LinkExpired Kind = "LinkExpired"
)

// Requests that were refused.
const (
	// FormExpired : the consent page was open too long, or came from elsewhere.
	FormExpired Kind = "FormExpired"
	// TooManyRequests : from one address, or about one connection.
	TooManyRequests Kind = "TooManyRequests"
	// BadRequest : a parameter is missing, or not what the gateway has made.
	BadRequest Kind = "BadRequest"
	// NotFound : there is no such page.
	NotFound Kind = "NotFound"
	// MethodNotAllowed : there is such a page, for other methods.
	MethodNotAllowed Kind = "MethodNotAllowed"
	// ServerError : the gateway could not do its work.
	ServerError Kind = "ServerError"
)

// Kinds returns all of them.
func Kinds() []Kind {
	return []Kind{
		Departing,
		Success, Unpublished, Waiting, ControllerAway, Superseded, Denied, Failed, AccountMismatch, Expired, Replayed, WrongBrowser, Changed,
		Gone, NotNeeded, Suspended, NotReady, LinkInvalid, LinkExpired,
		FormExpired, TooManyRequests, BadRequest, NotFound, MethodNotAllowed, ServerError,
	}
}

// Status is the HTTP status code of a notice. A code of 500 and above means that the operator itself is at fault, so that an
// alert on those is one: what a provider refuses, or a tenant has misconfigured, stays below. Neither 502 nor 504 is among them,
// as some proxies put pages of their own in the place of those.
func Status(kind Kind) int {
	switch kind {
	case Departing, Success, Unpublished, NotNeeded:
		return http.StatusOK
	case Waiting:
		return http.StatusAccepted
	case BadRequest:
		return http.StatusBadRequest
	case Denied, WrongBrowser, FormExpired:
		return http.StatusForbidden
	case LinkInvalid, NotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case AccountMismatch, Replayed, Changed, Superseded, Suspended, NotReady:
		return http.StatusConflict
	case Expired, Gone, LinkExpired:
		return http.StatusGone
	case Failed:
		return http.StatusFailedDependency
	case TooManyRequests:
		return http.StatusTooManyRequests
	case ControllerAway:
		return http.StatusServiceUnavailable
	default: // ServerError
		return http.StatusInternalServerError
	}
}
