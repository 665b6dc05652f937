// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// DeviceAuthorizationRequest is a request to a device authorization endpoint (RFC 8628, section 3.1).
type DeviceAuthorizationRequest struct {
	URL    string
	Client Client
	// Scope is what JoinScopes gives.
	Scope      string
	Parameters []Parameter
	Headers    []Header
	// Names are the provider's names of parameters, by standard name.
	Names map[string]string
}

// DeviceAuthorization is what a person needs in order to agree, and the code to poll with (RFC 8628, section 3.2).
type DeviceAuthorization struct {
	DeviceCode sensitive.String
	// UserCode is what the person types: printable, at most 128 bytes.
	UserCode string
	// VerificationURI is where the person types it, VerificationURIComplete the same with the code in it, or empty. Both
	// are absolute http(s) URLs of at most 2 KiB.
	VerificationURI, VerificationURIComplete string
	// ExpiresIn is unknown when the provider did not say it, although it must.
	ExpiresIn Lifetime
	// Interval between two polls: 1 to 60 seconds, 5 when the provider did not say it.
	Interval time.Duration
}

const (
	maxUserCode         = 128
	maxVerificationURI  = 2 << 10
	defaultPollInterval = 5 * time.Second
	minPollInterval     = time.Second
	maxPollInterval     = time.Minute
)

// AuthorizeDevice begins a device flow. The error is an *Error.
func (c *Caller) AuthorizeDevice(ctx context.Context, transport http.RoundTripper, request DeviceAuthorizationRequest) (DeviceAuthorization, error) {
	sent, err := draft{
		url: request.URL, client: request.Client, headers: request.Headers, names: request.Names,
		protocol: given(Parameter{Name: "scope", Value: sensitive.New(request.Scope)}),
		extra:    request.Parameters,
	}.message()
	if err != nil {
		return DeviceAuthorization{}, err
	}
	got, failure := c.send(ctx, transport, sent)
	if failure != nil {
		return DeviceAuthorization{}, failure
	}
	if got.status < 200 || got.status > 299 {
		return DeviceAuthorization{}, c.refused(got, sent)
	}
	found, err := got.document()
	if err != nil {
		return DeviceAuthorization{}, c.lost(got, sent, cmp.Or(got.err, err))
	}
	if _, refused := found.refusal(); refused {
		return DeviceAuthorization{}, c.refused(got, sent)
	}
	authorization, err := found.deviceAuthorization()
	if err != nil {
		return DeviceAuthorization{}, c.lost(got, sent, cmp.Or(got.err, err), found.secret("device_code"), found.secret("user_code"))
	}
	return authorization, nil
}

func (d document) deviceAuthorization() (DeviceAuthorization, error) {
	code := d.secret("device_code")
	authorization := DeviceAuthorization{
		DeviceCode: code,
		UserCode:   printableText(d.text("user_code"), maxUserCode, code),
		// Google's name came before the standard.
		VerificationURI:         cmp.Or(d.webAddress("verification_uri", code), d.webAddress("verification_url", code)),
		VerificationURIComplete: cmp.Or(d.webAddress("verification_uri_complete", code), d.webAddress("verification_url_complete", code)),
		ExpiresIn:               ParseLifetime(d.members["expires_in"]),
		Interval:                defaultPollInterval,
	}
	if interval := ParseLifetime(d.members["interval"]); interval.Kind != LifetimeUnknown {
		authorization.Interval = min(max(interval.Duration, minPollInterval), maxPollInterval)
		if interval.Kind == LifetimeNever {
			authorization.Interval = maxPollInterval
		}
	}
	switch {
	case code.IsEmpty():
		return DeviceAuthorization{}, errors.New("it has no device code")
	case authorization.UserCode == "":
		return DeviceAuthorization{}, errors.New("it has no user code that can be shown")
	case authorization.VerificationURI == "":
		return DeviceAuthorization{}, errors.New("it has no address that a person can open")
	}
	return authorization, nil
}

// webAddress returns a URL that can be shown to people as a link, or "".
func (d document) webAddress(name string, secrets ...sensitive.String) string {
	text := printableText(d.text(name), maxVerificationURI, secrets...)
	target, err := url.Parse(text)
	if err != nil || target.Host == "" || (target.Scheme != "https" && target.Scheme != "http") || target.User != nil {
		return ""
	}
	return text
}
