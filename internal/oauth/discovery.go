// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Metadata is an authorization server's description of itself (RFC 8414, section 2). Endpoints are as the server wrote
// them: judge them like any other URL before use. A member of a wrong type counts as absent.
type Metadata struct {
	Issuer                      string
	AuthorizationEndpoint       string
	TokenEndpoint               string
	RevocationEndpoint          string
	IntrospectionEndpoint       string
	DeviceAuthorizationEndpoint string
	UserinfoEndpoint            string
	JWKSURI                     string

	// The endpoints for clients that show a certificate, where they differ (RFC 8705, section 5).
	MTLSTokenEndpoint               string
	MTLSRevocationEndpoint          string
	MTLSIntrospectionEndpoint       string
	MTLSDeviceAuthorizationEndpoint string

	TokenEndpointAuthMethodsSupported      []string
	RevocationEndpointAuthMethodsSupported []string
	CodeChallengeMethodsSupported          []string

	// AuthorizationResponseIssParameterSupported is of RFC 9207, section 3.
	AuthorizationResponseIssParameterSupported bool
	// RequirePushedAuthorizationRequests is of RFC 9126, section 5.
	RequirePushedAuthorizationRequests bool
}

// Authentication chooses the client's method at the token endpoint: None without a secret; else Basic before Post of
// those that the server lists; Basic when it lists none (RFC 8414, section 2). The error names what the server wants when
// that is neither.
func (m Metadata) Authentication(hasSecret bool) (AuthenticationMethod, error) {
	offered := m.TokenEndpointAuthMethodsSupported
	switch {
	case !hasSecret:
		return None, nil
	case len(offered) == 0, slices.Contains(offered, "client_secret_basic"):
		return ClientSecretBasic, nil
	case slices.Contains(offered, "client_secret_post"):
		return ClientSecretPost, nil
	}
	listed := sensitive.Scrub(strings.Join(offered, ", "), maxDescription)
	return "", fmt.Errorf("the provider accepts no client secret; it lists %s", listed)
}

// CheckIssuer judges the `iss` of an authorization response (RFC 9207, section 2.4): it must be the server's issuer
// exactly, and must be there when the server says that it sends it. Without a known issuer there is nothing to compare.
func CheckIssuer(iss string, present bool, metadata Metadata) error {
	switch {
	case !present && metadata.AuthorizationResponseIssParameterSupported:
		return errors.New("the authorization response names no issuer although the provider always sends one")
	case present && metadata.Issuer != "" && iss != metadata.Issuer:
		return fmt.Errorf("the authorization response is from issuer %q, not from %q", sensitive.Scrub(iss, maxDescription), metadata.Issuer)
	}
	return nil
}

// ParseMetadata reads a discovery document of the issuer. Its `issuer` must be equal, to the letter (RFC 8414, section
// 3.3).
func ParseMetadata(body []byte, issuer string) (Metadata, error) {
	found, err := parseDocument("application/json", body, true)
	switch {
	case err != nil:
		return Metadata{}, err
	case !found.complete:
		return Metadata{}, errors.New("the document breaks off")
	}
	claimed := found.first("issuer")
	if claimed != issuer {
		return Metadata{}, &issuerMismatchError{wanted: issuer, claimed: sensitive.Scrub(claimed, maxDescription)}
	}
	aliases := found.nested("mtls_endpoint_aliases")
	return Metadata{
		Issuer:                                     claimed,
		AuthorizationEndpoint:                      found.first("authorization_endpoint"),
		TokenEndpoint:                              found.first("token_endpoint"),
		RevocationEndpoint:                         found.first("revocation_endpoint"),
		IntrospectionEndpoint:                      found.first("introspection_endpoint"),
		DeviceAuthorizationEndpoint:                found.first("device_authorization_endpoint"),
		UserinfoEndpoint:                           found.first("userinfo_endpoint"),
		JWKSURI:                                    found.first("jwks_uri"),
		MTLSTokenEndpoint:                          aliases.first("token_endpoint"),
		MTLSRevocationEndpoint:                     aliases.first("revocation_endpoint"),
		MTLSIntrospectionEndpoint:                  aliases.first("introspection_endpoint"),
		MTLSDeviceAuthorizationEndpoint:            aliases.first("device_authorization_endpoint"),
		TokenEndpointAuthMethodsSupported:          found.list("token_endpoint_auth_methods_supported"),
		RevocationEndpointAuthMethodsSupported:     found.list("revocation_endpoint_auth_methods_supported"),
		CodeChallengeMethodsSupported:              found.list("code_challenge_methods_supported"),
		AuthorizationResponseIssParameterSupported: found.flag("authorization_response_iss_parameter_supported"),
		RequirePushedAuthorizationRequests:         found.flag("require_pushed_authorization_requests"),
	}, nil
}

func (d document) list(name string) []string {
	var list []string
	if json.Unmarshal(d.members[name], &list) != nil {
		return nil
	}
	return list
}

// nested is a member that is an object; without one, it has no members.
func (d document) nested(name string) document {
	var members map[string]json.RawMessage
	if json.Unmarshal(d.members[name], &members) != nil {
		return document{}
	}
	return document{members: members}
}

func (d document) flag(name string) bool { return string(d.members[name]) == "true" }

type issuerMismatchError struct{ wanted, claimed string }

func (e *issuerMismatchError) Error() string {
	return fmt.Sprintf("the discovery document is for issuer %q, not for %q; the two must be equal to the letter", e.claimed, e.wanted)
}

// Discover reads the metadata of an issuer: at its OpenID Connect address, then at that of RFC 8414, section 3.1. The
// error is an *Error: ConcernApplication when the provider has no document for this issuer, ConcernTransient when it
// cannot be told.
func (c *Caller) Discover(ctx context.Context, transport http.RoundTripper, issuer string) (Metadata, error) {
	addresses, err := discoveryAddresses(issuer)
	if err != nil {
		return Metadata{}, err
	}
	var failures []*Error
	for _, address := range addresses {
		metadata, failure := c.fetchMetadata(ctx, transport, address, issuer)
		if failure == nil {
			return metadata, nil
		}
		failures = append(failures, failure)
	}
	return Metadata{}, worst(failures)
}

func discoveryAddresses(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil ||
		u.RawQuery != "" || strings.ContainsAny(issuer, "?#") {
		return nil, unusable("the issuer is not an absolute https URL without user information, query and fragment")
	}
	base := strings.TrimSuffix(issuer, "/")
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := strings.TrimSuffix(base, path)
	return []string{
		base + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

const maxRedirects = 3

// fetchMetadata follows a few redirects, each through the same guarded transport, but none that gives up TLS.
func (c *Caller) fetchMetadata(ctx context.Context, transport http.RoundTripper, address, issuer string) (Metadata, *Error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var progress progress
	request, err := http.NewRequestWithContext(progress.trace(ctx), http.MethodGet, address, http.NoBody)
	if err != nil {
		return Metadata{}, unusable("the issuer's URL is not usable")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.userAgent)
	client := &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	response, err := client.Do(request)
	if err != nil {
		return Metadata{}, &Error{
			Concern: ConcernTransient, Sent: progress.outcome(), err: err,
			Description: sensitive.Scrub(describe(err), maxDescription),
		}
	}
	defer response.Body.Close()
	got := c.read(response)
	if got.status != http.StatusOK {
		refused := c.refused(got, message{})
		if refused.Concern != ConcernTransient {
			refused.Concern = ConcernApplication
		}
		return Metadata{}, at(address, refused)
	}
	if got.err != nil {
		return Metadata{}, at(address, c.lost(got, message{}, got.err))
	}
	metadata, err := ParseMetadata(got.body, issuer)
	if err != nil {
		failure := at(address, c.lost(got, message{}, err))
		failure.Sent = Answered
		if mismatch := (*issuerMismatchError)(nil); errors.As(err, &mismatch) {
			failure.Concern, failure.Description = ConcernApplication, mismatch.Error()
		}
		return Metadata{}, failure
	}
	return metadata, nil
}

func at(address string, failure *Error) *Error {
	failure.Description = sensitive.Scrub(address+": "+failure.Description, maxDescription)
	return failure
}

func checkRedirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("a redirect leads from https to plain http")
	}
	return nil
}

// worst picks the failure that helps most: a document for another issuer tells more than a missing one, and while one
// address cannot be judged nothing is known for certain.
func worst(failures []*Error) *Error {
	chosen := failures[0]
	for _, failure := range failures {
		if mismatch := (*issuerMismatchError)(nil); errors.As(failure, &mismatch) {
			return failure
		}
		if chosen.Concern != ConcernTransient && failure.Concern == ConcernTransient {
			chosen = failure
		}
	}
	return chosen
}
