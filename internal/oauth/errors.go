// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Concern is what a failure is about, and with that whom it may affect.
type Concern string

// The concerns.
const (
	// ConcernGrant: the provider says that this code, refresh token or token is no longer good. Trying again is useless.
	ConcernGrant Concern = "Grant"
	// ConcernApplication: the provider refuses the client, or the request cannot be made as configured.
	ConcernApplication Concern = "Application"
	// ConcernRefused: a definite refusal that does not say whom it is about. It may be the grant.
	ConcernRefused Concern = "Refused"
	// ConcernTransient: the provider is away, busy or confused. It says nothing about grant or client.
	ConcernTransient Concern = "Transient"
)

// Outcome is what is known about the request of a failed call.
type Outcome string

// The outcomes.
const (
	// NotSent: no byte of the request was written.
	NotSent Outcome = "NotSent"
	// Answered: the provider answered, and its answer says that the request did not succeed.
	Answered Outcome = "Answered"
	// Unknown: the request may have arrived and may have had its effect; the answer is lost or unreadable.
	Unknown Outcome = "Unknown"
)

// Error is a failed call. Its text, like Code and Description, holds nothing that was sent in confidence and no token of
// the answer.
type Error struct {
	Concern Concern
	// Code is the OAuth error code (RFC 6749, section 5.2), empty without one. At most 64 bytes.
	Code string
	// ProviderCode is the provider's own code when Code is its translation (MappingOptions.ErrorCodes). At most 64 bytes.
	ProviderCode string
	// Description is the provider's explanation, or ours where it gave none. At most 512 bytes.
	Description string
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long the provider wants to be left alone: 0 to retryafter.Max, 0 when it did not say.
	RetryAfter time.Duration
	Sent       Outcome

	err error
}

const (
	maxCode        = 64
	maxDescription = 512
)

// Error says in one clause what failed: "invalid_grant: unknown token (HTTP 400 Bad Request)". A translated code is
// followed by the provider's own: "invalid_grant (bad_refresh_token): …".
func (e *Error) Error() string {
	text := strings.TrimSuffix(e.Description, ".") // The sentence goes on.
	code := e.Code
	if e.ProviderCode != "" {
		code = strings.TrimSpace(code + " (" + e.ProviderCode + ")")
	}
	if code != "" && text != "" {
		text = code + ": " + text
	}
	text = cmp.Or(text, code)
	if e.Status == 0 {
		return text
	}
	status := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status)))
	if text == "" {
		return status
	}
	return text + " (" + status + ")"
}

// Unwrap returns the cause, for errors.Is and errors.As. Its own text is not scrubbed: show the Error's.
func (e *Error) Unwrap() error { return e.err }

// unusable is a request that cannot be made as it is configured.
func unusable(description string) *Error {
	return &Error{Concern: ConcernApplication, Description: description, Sent: NotSent}
}

// concernOf classes an answer that is not a success. code and the grant type of the request may be empty.
func concernOf(status int, code, grantType string) Concern {
	switch {
	case status < 200, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return ConcernTransient
	case status >= 300 && status < 400:
		// A redirect moves every call to this endpoint: a page that says "we are down", or a wrong URL. Nothing is
		// refused by it, so nothing may be given up because of it.
		return ConcernTransient
	}
	switch code {
	case "invalid_grant":
		return ConcernGrant
	case "invalid_client", "unauthorized_client", "unsupported_grant_type":
		return ConcernApplication
	case "server_error", "temporarily_unavailable", "slow_down", "authorization_pending":
		return ConcernTransient
	case "expired_token", "access_denied":
		// The end of a device flow (RFC 8628, section 3.5). Elsewhere a policy may say the same for an hour.
		if grantType == grantDeviceCode {
			return ConcernGrant
		}
	}
	// invalid_request and invalid_scope too: real servers answer a dead refresh token with them.
	return ConcernRefused
}
