// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"net/http"
	"slices"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// The token type hints of RFC 7009.
const (
	HintRefreshToken = "refresh_token"
	HintAccessToken  = "access_token"
)

// RevocationRequest is a request to a revocation endpoint (RFC 7009, section 2.1), or to what a provider has in its place.
type RevocationRequest struct {
	URL    string
	Client Client
	Token  sensitive.String
	// TokenTypeHint is HintRefreshToken, HintAccessToken or empty.
	TokenTypeHint string
	// Method is POST when empty.
	Method  string
	Format  Format
	Headers []Header
	// Names are the provider's names of parameters, by standard name.
	Names map[string]string
	// Body replaces the parameters of RFC 7009. Those of client authentication are added, but for names that it has
	// itself; without any parameter, no body is sent at all.
	Body *[]Parameter
	// Bearer sends the token in the Authorization header, and no client authentication.
	Bearer bool
	// Anonymous sends no client authentication.
	Anonymous bool
	// Response says where an answer has an error and what its codes mean; nil means as in the standard. A revocation that
	// is refused with invalid_grant was not needed. The other parts of the mapping are not used.
	Response *ResponseMapping
}

// Revoke asks the provider to end a token (RFC 7009) and returns nil when it says that it did, which includes tokens it
// does not know. On failure the error is an *Error; ConcernGrant means that the token was dead already.
func (c *Caller) Revoke(ctx context.Context, transport http.RoundTripper, request RevocationRequest) error {
	sent, err := request.message()
	if err != nil {
		return err
	}
	got, failure := c.send(ctx, transport, sent)
	if failure != nil {
		return failure
	}
	if got.status >= 200 && got.status <= 299 && !got.saysError(sent.mapping) {
		return nil
	}
	refused := c.refused(got, sent)
	switch {
	case refused.Code == "invalid_token" && refused.Concern == ConcernRefused:
		refused.Concern = ConcernGrant // Google's answer for a token that is gone.
	case (request.Bearer || request.Anonymous) && (got.status == http.StatusUnauthorized || got.status == http.StatusNotFound):
		refused.Concern = ConcernGrant // The call is authorized by the very token.
	}
	return refused
}

// saysError tells a success that is none. A body that cannot be read says nothing: that of a revocation has no meaning
// (RFC 7009, section 2.2).
func (a answer) saysError(mapping *ResponseMapping) bool {
	found, err := a.document()
	if err != nil {
		return false
	}
	_, ok := found.read(mapping).said()
	return ok
}

func (r RevocationRequest) message() (message, error) {
	if r.Token.IsEmpty() {
		return message{}, unusable("there is no token to revoke")
	}
	draft := draft{
		method: r.Method, url: r.URL, client: r.Client, headers: r.Headers, format: r.Format, names: r.Names, anonymous: r.Anonymous,
		protocol: given(
			Parameter{Name: "token", Value: r.Token},
			Parameter{Name: "token_type_hint", Value: sensitive.New(r.TokenTypeHint)},
		),
	}
	if r.Bearer {
		draft.bearer = r.Token
	}
	if r.Body != nil {
		draft.protocol, draft.own = nil, *r.Body
		draft.bare = len(*r.Body) == 0
	}
	sent, err := draft.message()
	sent.secrets = append(slices.Clone(sent.secrets), r.Token)
	sent.mapping = r.Response.errors()
	return sent, err
}
