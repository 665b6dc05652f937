// SPDX-License-Identifier: Apache-2.0

// Package problem is how the API says what went wrong: problem details (RFC 9457) with a code that programs can rely on. An
// answer with the header Oauth-Operator-Error is the API's own; without it, an answer of the request proxy is the provider's.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Header tells the API's own errors from a provider's; its value is the code.
const Header = "Oauth-Operator-Error"

// ContentType of problem details (RFC 9457, section 3).
const ContentType = "application/problem+json"

// Code names what went wrong. Codes are stable: programs match them.
type Code string

// Codes, each with its status.
const (
	// InvalidRequest (400): the request itself is wrong; detail names the field.
	InvalidRequest Code = "InvalidRequest"
	// Unauthenticated (401): there is no bearer token, or Kubernetes does not know it for this audience.
	Unauthenticated Code = "Unauthenticated"
	// Forbidden (403): the caller may not do this.
	Forbidden Code = "Forbidden"
	// HostNotAllowed (403): the application does not allow requests to this host.
	HostNotAllowed Code = "HostNotAllowed"
	// NotFound (404): there is no such thing, or the caller may not know of it.
	NotFound Code = "NotFound"
	// MethodNotAllowed (405): the path is served with other methods.
	MethodNotAllowed Code = "MethodNotAllowed"
	// ConnectionAmbiguous (409): several connections fit; name one.
	ConnectionAmbiguous Code = "ConnectionAmbiguous"
	// ConnectionInactive (409): there is no grant that works; somebody has to authorize.
	ConnectionInactive Code = "ConnectionInactive"
	// ConnectionNotReady (409): the connection or its application is suspended, forbidden, being deleted or not set up; detail
	// says which.
	ConnectionNotReady Code = "ConnectionNotReady"
	// NoAPIBaseURL (409): the application has no apiBaseURL.
	NoAPIBaseURL Code = "NoAPIBaseURL"
	// NoAuthorization (409): a person cannot authorize at this application; detail says why.
	NoAuthorization Code = "NoAuthorization"
	// AccountMismatch (409): the authorization is of another account than the connection's.
	AccountMismatch Code = "AccountMismatch"
	// TooLarge (413): the body is larger than the API reads.
	TooLarge Code = "TooLarge"
	// UnsupportedMediaType (415): the body is not JSON.
	UnsupportedMediaType Code = "UnsupportedMediaType"
	// AuthorizationRefused (422): the provider refused the code or the refresh token.
	AuthorizationRefused Code = "AuthorizationRefused"
	// RateLimited (429): a limit of the application or of the connection is used up.
	RateLimited Code = "RateLimited"
	// Internal (500): the API failed.
	Internal Code = "Internal"
	// EgressRefused (502): the address may not be reached from here.
	EgressRefused Code = "EgressRefused"
	// ProviderUnreachable (502): the provider did not answer, or not in HTTP.
	ProviderUnreachable Code = "ProviderUnreachable"
	// ProviderUnavailable (503): the provider has not answered for a while and is left alone for a moment.
	ProviderUnavailable Code = "ProviderUnavailable"
	// RefreshFailed (503): the access token has expired and could not be renewed yet.
	RefreshFailed Code = "RefreshFailed"
	// ClusterUnavailable (503): the Kubernetes API server did not answer.
	ClusterUnavailable Code = "ClusterUnavailable"
	// ProviderTimeout (504): the provider took too long.
	ProviderTimeout Code = "ProviderTimeout"
	// RefreshTimeout (504): the access token was not renewed in time.
	RefreshTimeout Code = "RefreshTimeout"
)

// kind is what goes with a code.
type kind struct {
	status int
	title  string
}

func (c Code) kind() kind {
	switch c {
	case InvalidRequest:
		return kind{http.StatusBadRequest, "The request is not valid"}
	case Unauthenticated:
		return kind{http.StatusUnauthorized, "A Kubernetes token is needed"}
	case Forbidden:
		return kind{http.StatusForbidden, "The caller may not do this"}
	case HostNotAllowed:
		return kind{http.StatusForbidden, "The application does not allow this host"}
	case NotFound:
		return kind{http.StatusNotFound, "Not found"}
	case MethodNotAllowed:
		return kind{http.StatusMethodNotAllowed, "The method is not allowed here"}
	case ConnectionAmbiguous:
		return kind{http.StatusConflict, "Several connections fit"}
	case ConnectionInactive:
		return kind{http.StatusConflict, "The connection has to be authorized"}
	case ConnectionNotReady:
		return kind{http.StatusConflict, "The connection cannot be used"}
	case NoAPIBaseURL:
		return kind{http.StatusConflict, "The application names no API"}
	case NoAuthorization:
		return kind{http.StatusConflict, "Nobody can authorize here"}
	case AccountMismatch:
		return kind{http.StatusConflict, "The authorization is of another account"}
	default:
		return c.laterKind()
	}
}

func (c Code) laterKind() kind {
	switch c {
	case TooLarge:
		return kind{http.StatusRequestEntityTooLarge, "The request is too large"}
	case UnsupportedMediaType:
		return kind{http.StatusUnsupportedMediaType, "The body has to be JSON"}
	case AuthorizationRefused:
		return kind{http.StatusUnprocessableEntity, "The provider refused the authorization"}
	case RateLimited:
		return kind{http.StatusTooManyRequests, "Too many requests"}
	case EgressRefused:
		return kind{http.StatusBadGateway, "The address may not be reached"}
	case ProviderUnreachable:
		return kind{http.StatusBadGateway, "The provider could not be reached"}
	case ProviderUnavailable:
		return kind{http.StatusServiceUnavailable, "The provider does not answer"}
	case RefreshFailed:
		return kind{http.StatusServiceUnavailable, "The access token could not be renewed"}
	case ClusterUnavailable:
		return kind{http.StatusServiceUnavailable, "Kubernetes did not answer"}
	case ProviderTimeout:
		return kind{http.StatusGatewayTimeout, "The provider took too long"}
	case RefreshTimeout:
		return kind{http.StatusGatewayTimeout, "The access token was not renewed in time"}
	default:
		return kind{http.StatusInternalServerError, "The request failed"}
	}
}

// Status is the HTTP status that goes with the code.
func (c Code) Status() int { return c.kind().status }

// Error is an error as the caller sees it: problem details.
type Error struct {
	// Type is always about:blank: code says what kind of problem it is (RFC 9457, section 4.2.1).
	Type string `json:"type"`
	// Title says in a few words what goes with the code.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail says what happened, and what can be done.
	Detail string `json:"detail,omitempty"`
	// Code names the kind of problem, for programs.
	Code Code `json:"code"`
	// Reason is the reason of the connection's condition or authorization, where one is behind the problem.
	Reason string `json:"reason,omitempty"`
	// AuthorizationURL is where a person can authorize, where that helps.
	AuthorizationURL string `json:"authorizationUrl,omitempty"`

	// RetryAfter is how long to wait before the next attempt; 0: not known.
	RetryAfter time.Duration `json:"-"`
	// Header are further headers of the answer.
	Header http.Header `json:"-"`
	// Cause is for the log, never for the caller.
	Cause error `json:"-"`
}

// New makes a problem. The detail is for the caller: nothing secret, nothing that it may not know.
func New(code Code, format string, arguments ...any) *Error {
	of := code.kind()
	return &Error{Type: "about:blank", Title: of.title, Status: of.status, Detail: fmt.Sprintf(format, arguments...), Code: code}
}

// Error returns code and detail.
func (p *Error) Error() string {
	text := string(p.Code) + ": " + p.Detail
	if p.Cause != nil {
		text += ": " + p.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (p *Error) Unwrap() error { return p.Cause }

// Because adds the cause for the log.
func (p *Error) Because(cause error) *Error {
	p.Cause = cause
	return p
}

// After says when another attempt is worth it.
func (p *Error) After(wait time.Duration) *Error {
	p.RetryAfter = wait
	return p
}

// Of returns the problem that an error is, or an Internal one that shows nothing of it.
func Of(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return New(Internal, "the API could not do this; its log says more").Because(err)
}

// Write answers with an error. An error that is no *Error is answered as Internal.
func Write(w http.ResponseWriter, err error) {
	p := Of(err)
	header := w.Header()
	maps.Copy(header, p.Header)
	header.Set("Content-Type", ContentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set(Header, string(p.Code))
	if p.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	content, err := json.Marshal(p)
	if err != nil { // Strings and a number always can be.
		content = []byte(`{"type":"about:blank","title":"The request failed","status":500,"code":"Internal"}`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(content) // Whoever asks sees that it broke off.
}

// HandlerFunc answers a request, or returns the error to answer with. It returns none once it has begun to answer.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Handler makes an http.Handler. failed, which may be nil, is told of every error.
func Handler(handle HandlerFunc, failed func(r *http.Request, p *Error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := handle(w, r)
		if err == nil {
			return
		}
		p := Of(err)
		if failed != nil {
			failed(r, p)
		}
		Write(w, p)
	})
}
