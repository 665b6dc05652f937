// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// IntrospectionRequest is a request to an introspection endpoint (RFC 7662, section 2.1).
type IntrospectionRequest struct {
	URL    string
	Client Client
	Token  sensitive.String
	// TokenTypeHint is HintRefreshToken, HintAccessToken or empty.
	TokenTypeHint string
	Headers       []Header
	// Names are the provider's names of parameters, by standard name.
	Names map[string]string
}

// Introspection is what a provider says about a token (RFC 7662, section 2.2).
type Introspection struct {
	// Active false means that the provider no longer accepts the token.
	Active bool
	// Subject is `sub`: at most 1 KiB, printable; empty when there is none that is.
	Subject string
	// Scope is bounded like that of a TokenResponse. ScopeGiven false means that the answer had none.
	Scope      []string
	ScopeGiven bool
	// ExpiresAt is zero when the answer does not say it.
	ExpiresAt time.Time
}

// Introspect asks the provider whether it accepts a token. The error is an *Error, and never ConcernGrant: only an answer
// with `active` false says that the token is dead.
func (c *Caller) Introspect(ctx context.Context, transport http.RoundTripper, request IntrospectionRequest) (Introspection, error) {
	if request.Token.IsEmpty() {
		return Introspection{}, unusable("there is no token to ask about")
	}
	sent, err := draft{
		url: request.URL, client: request.Client, headers: request.Headers, names: request.Names,
		protocol: given(
			Parameter{Name: "token", Value: request.Token},
			Parameter{Name: "token_type_hint", Value: sensitive.New(request.TokenTypeHint)},
		),
	}.message()
	if err != nil {
		return Introspection{}, err
	}
	got, failure := c.send(ctx, transport, sent)
	if failure != nil {
		return Introspection{}, failure
	}
	found, unreadable := got.document()
	_, refused := found.refusal()
	if got.status < 200 || got.status > 299 || (unreadable == nil && refused) {
		failure := c.refused(got, sent)
		if failure.Concern == ConcernGrant {
			failure.Concern = ConcernRefused
		}
		return Introspection{}, failure
	}
	if unreadable == nil {
		var result Introspection
		if result, unreadable = found.introspection(sent.credentials); unreadable == nil {
			return result, nil
		}
	}
	failure = c.lost(got, sent, cmp.Or(got.err, unreadable))
	failure.Sent = Answered
	return Introspection{}, failure
}

func (d document) introspection(secrets []sensitive.String) (Introspection, error) {
	switch active := string(d.members["active"]); {
	case !d.complete:
		return Introspection{}, errBreaksOff
	case active == "false":
		return Introspection{}, nil
	case active != "true":
		return Introspection{}, errors.New("it does not say whether the token is active")
	}
	scope, given := d.scope()
	return Introspection{
		Active:  true,
		Subject: keepable(d.text("sub"), secrets),
		Scope:   scope, ScopeGiven: given,
		ExpiresAt: parseTime(d.text("exp")),
	}, nil
}
