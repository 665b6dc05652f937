// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"net/url"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// maxShown is the longest text of a callback that is kept for messages, in bytes.
const maxShown = 512

// Callback is an authorization response (RFC 6749, sections 4.1.2 and 4.1.2.1).
type Callback struct {
	Code sensitive.String
	// State is sealed: it means nothing until it has been opened.
	State string
	// Error and ErrorDescription are cleaned for messages; Error is empty in a success.
	Error, ErrorDescription string
	// Issuer is `iss` (RFC 9207); IssuerPresent tells an empty one from none.
	Issuer        string
	IssuerPresent bool
	// Captured are the values that the spec keeps, by name.
	Captured map[string]string
}

// ReadCallback reads the query of a callback. A parameter that occurs twice is refused (RFC 6749, section 3.1): which one
// counts would be up to chance. The error's field is `callback`, or that of a captured value that is not acceptable.
func (p *Profile) ReadCallback(query url.Values) (Callback, error) {
	for name, values := range query {
		if len(values) > 1 {
			return Callback{}, &FieldError{Field: "callback", Message: "the parameter " + sensitive.Scrub(name, maxShown) + " occurs more than once"}
		}
	}
	get := func(standard string) string { return query.Get(p.callbackName(standard)) }
	callback := Callback{
		Code: sensitive.New(get("code")), State: get("state"),
		Issuer: get("iss"), IssuerPresent: query.Has(p.callbackName("iss")),
	}
	secrets := []sensitive.String{callback.Code, sensitive.New(callback.State)}
	callback.Error = sensitive.Scrub(get("error"), maxShown, secrets...)
	callback.ErrorDescription = sensitive.Scrub(get("error_description"), maxShown, secrets...)
	var err error
	callback.Captured, err = p.CaptureCallback(query.Get)
	return callback, err
}

func (p *Profile) callbackName(standard string) string {
	if p.Spec.Callback == nil {
		return standard
	}
	return either(string(p.Spec.Callback.ParameterNames[standard]), standard)
}

// CaptureCallback keeps what the spec names of a callback's parameters. Empty ones are left out. The error names the capture
// whose value is not acceptable: that callback must not be used, because anybody can write one.
func (p *Profile) CaptureCallback(get func(parameter string) string) (map[string]string, error) {
	captured := map[string]string{}
	if p.Spec.Callback == nil {
		return captured, nil
	}
	for _, capture := range p.Spec.Callback.Capture {
		if value := get(capture.Parameter); value != "" {
			captured[string(capture.Name)] = value
		}
	}
	if err := p.CheckCaptured(captured); err != nil {
		return nil, err
	}
	return captured, nil
}
