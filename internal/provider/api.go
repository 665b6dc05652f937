// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"net/url"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// ErrNoAPIBaseURL : the application does not say where the provider's API begins. It is a *FieldError too.
var ErrNoAPIBaseURL = missing("apiBaseURL")

// APIRequest writes a GET at the provider's API. The path is the application's own text, in which {name} stands for values; it
// may have a query.
func (p *Profile) APIRequest(path string, access sensitive.String, v Values) (oauth.ResourceRequest, error) {
	target, err := p.apiURL(path, v)
	if err != nil {
		return oauth.ResourceRequest{}, err
	}
	headers, err := p.APIHeaders(access, v)
	return oauth.ResourceRequest{URL: target, Headers: headers}, err
}

// APIBase is where the provider's API begins for these values. Nothing of it is the caller's to change: a path that is added to
// it stays behind its own. The error is ErrNoAPIBaseURL when the application names none.
func (p *Profile) APIBase(v Values) (*url.URL, error) {
	text, err := p.apiURL("", v)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(text)
	if err != nil { // It was read before it was given out.
		return nil, &FieldError{Field: "apiBaseURL", Message: "it is not a URL that can be used"}
	}
	return base, nil
}

// APIHeaders are the headers that each request to the API carries, the access token in them: where apiHeaders say, else as a
// bearer token (RFC 6750, section 2.1).
func (p *Profile) APIHeaders(access sensitive.String, v Values) ([]oauth.Header, error) {
	x, err := p.expansion(v)
	if err != nil {
		return nil, err
	}
	return x.authorized("apiHeaders", p.Spec.APIHeaders, access)
}

func (p *Profile) apiURL(path string, v Values) (string, error) {
	if p.Spec.APIBaseURL == "" {
		return "", ErrNoAPIBaseURL
	}
	x, err := p.expansion(v)
	if err != nil {
		return "", err
	}
	return x.url("apiBaseURL", joined(string(p.Spec.APIBaseURL), path))
}
