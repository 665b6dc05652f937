// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"maps"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// script is what is known of a provider from its documentation. Nothing in it is taken from the catalogue: that is what it
// is there to disagree with.
type script struct {
	// preset is the name in the catalogue; variant tells several scripts of one preset apart.
	preset, variant string
	// application are inputs that the application itself has to set, inputs those that a connection gives.
	application, inputs map[string]string
	// scopes that a connection asks for; nil for those of the preset.
	scopes []string

	page       page
	token      tokens
	resources  []resource
	revoke     *revocation
	introspect *introspection
	list       *listing
	// device is the address of a device authorization endpoint (RFC 8628).
	device string
	// refusals are further answers that the token endpoint is known to give.
	refusals []refusal
	expect   expectation
	// checked says that the operator finds out by itself when the grant has ended.
	checked bool
}

func (s script) name() string {
	if s.variant == "" {
		return s.preset
	}
	return s.preset + "/" + s.variant
}

// page is the authorization page.
type page struct {
	// address is host and path; empty where there is none.
	address string
	// params must be there with these values, besides the standard ones.
	params map[string]string
	// scope is the text that must be sent; empty: there must be none.
	scope string
	pkce  pkce
	// names are the provider's names of standard parameters; an empty one refuses the parameter.
	names map[string]string
	// callback are parameters that the provider adds to code and state.
	callback map[string]string
}

type pkce int

const (
	pkceTaken pkce = iota
	pkceRequired
	pkceRefused
)

// tokens is the token endpoint.
type tokens struct {
	// address is host and path; refresh that of refreshes, where it is another.
	address, refresh string
	json             bool
	auth             auth
	// headers that each request must have.
	headers map[string]string
	names   map[string]string
	// extra are further parameters that a grant type must come with.
	extra map[string]map[string]string
	// noRedirect refuses redirect_uri.
	noRedirect bool
	// answer is a success.
	answer func(issued) any
	// form answers with a form unless JSON is asked for.
	form    bool
	renewal refreshes
	// grant is another grant type in place of the code, with the parameter that it wants.
	grant, parameter string
	// dead is the answer to a dead code or refresh token, stranger that to a wrong client.
	dead, stranger answer
}

type refreshes int

const (
	// noRefresh: there is no refresh token.
	noRefresh refreshes = iota
	// rotates: each refresh brings a new refresh token and kills the old one.
	rotates
	// keeps: a refresh brings no refresh token.
	keeps
	// repeats: a refresh brings the same refresh token.
	repeats
	// exchanges: the access token is exchanged for a newer one.
	exchanges
)

// auth is how the client proves itself at an endpoint.
type auth int

const (
	basic auth = iota
	post
	secretAsUser
	// bearer: the token itself, in the Authorization header.
	bearer
	// open: nothing.
	open
)

// refusal is an answer and whom it is about.
type refusal struct {
	answer  answer
	concern oauth.Concern
}

// refusedWith makes refusals of one status that differ in their error code only.
func refusedWith(status int, concern oauth.Concern, codes ...string) []refusal {
	var all []refusal
	for _, code := range codes {
		all = append(all, refusal{refuses(status, code, ""), concern})
	}
	return all
}

// answer is what a server says.
type answer struct {
	status int
	body   any
}

// issued are the tokens that an answer brings.
type issued struct {
	access, refresh string
	scopes          []string
}

// resource is something behind a token, for GET.
type resource struct {
	address string
	query   map[string]string
	body    any
	// header and scheme carry the token; Authorization and `Bearer ` when empty.
	header, scheme string
	// headers that the request must have.
	headers map[string]string
	dead    answer
}

// revocation is how tokens are ended.
type revocation struct {
	method, address string
	json            bool
	auth            auth
	headers         map[string]string
	// params must be exactly those; {token} stands for a token. nil: no body.
	params map[string]string
	// hint takes token_type_hint as well.
	hint bool
	// refresh and access say which tokens it takes.
	refresh, access bool
	// account is ended whole; no token is sent.
	account bool
	answer  answer
}

// introspection is an endpoint of RFC 7662.
type introspection struct {
	address string
	auth    auth
}

// listing is Increase's list of connections.
type listing struct {
	connections, applications string
	key                       string
}

// expectation is what the operator must make of it all.
type expectation struct {
	lifetime        oauth.Lifetime
	refreshLifetime time.Duration
	// scopes that status shows; nil: those of the request.
	scopes      []string
	id, subject string
	captured    map[string]string
	dead        oauth.Concern
	stranger    oauth.Concern
	// usePath, below apiBaseURL, leads to useAddress.
	usePath, useAddress string
}

func seconds(n int) oauth.Lifetime {
	return oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: time.Duration(n) * time.Second}
}

func never() oauth.Lifetime { return oauth.Lifetime{Kind: oauth.LifetimeNever} }

// refuses is an error of RFC 6749, section 5.2.
func refuses(status int, code, description string) answer {
	body := map[string]any{"error": code}
	if description != "" {
		body["error_description"] = description
	}
	return answer{status, body}
}

// grants is a success of RFC 6749, section 5.1, with a lifetime in seconds unless it is 0, and with what a provider adds.
func grants(lifetime int, more map[string]any) func(issued) any {
	return func(i issued) any {
		body := map[string]any{"access_token": i.access, "token_type": "bearer"}
		if lifetime > 0 {
			body["expires_in"] = lifetime
		}
		if i.refresh != "" {
			body["refresh_token"] = i.refresh
		}
		if len(i.scopes) > 0 {
			body["scope"] = strings.Join(i.scopes, " ")
		}
		maps.Copy(body, more)
		return body
	}
}

// rfc7009 is a revocation endpoint of the standard.
func rfc7009(address string, by auth) *revocation {
	return &revocation{
		method: "POST", address: address, auth: by, params: map[string]string{"token": "{token}"}, hint: true,
		refresh: true, access: true, answer: answer{status: 200},
	}
}

func unauthorized() answer { return answer{401, map[string]any{"error": "invalid_token"}} }
