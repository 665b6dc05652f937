// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
)

// setupError says that a request cannot be made, because of something in the cluster that it is made of.
type setupError struct{ reason, message string }

func (e *setupError) Error() string { return e.message }

// setup turns what cannot be made into a setupError; other errors stay what they are.
func setup(err error) error {
	var field *provider.FieldError
	var forbidden *serviceaccount.NotAllowedError
	switch {
	case errors.As(err, &forbidden):
		return &setupError{reason: v1alpha1.ReasonServiceAccountNotAllowed, message: forbidden.Error()}
	case errors.As(err, &field):
		return &setupError{reason: v1alpha1.ReasonInvalidConfiguration, message: field.Error()}
	}
	return err
}

// Values of grant_type (RFC 6749 sections 4.1.3, 4.4.2 and 6; RFC 8628; RFC 7523; RFC 8693).
const (
	grantTypeCode        = "authorization_code"
	grantTypeRefresh     = "refresh_token"
	grantTypeCredentials = "client_credentials"
	grantTypeDevice      = "urn:ietf:params:oauth:grant-type:device_code"
	grantTypeJWT         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantTypeExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// deviceInput stands for the input of a device authorization, which has none.
const deviceInput = "device"

// grantTypeOf is the value of grant_type that an action sends, or would.
func (s *scope) grantTypeOf(action lifecycle.Action) string {
	switch action {
	case lifecycle.Exchange:
		return grantTypeCode
	case lifecycle.StartDevice, lifecycle.Poll:
		return grantTypeDevice
	case lifecycle.Issue:
		return s.issuedType()
	case lifecycle.Refresh:
		if s.facts.RenewsByAccessToken {
			return s.profile.Spec.TokenRequest.Refresh.GrantType
		}
	default:
	}
	return grantTypeRefresh
}

func (s *scope) issuedType() string {
	switch s.facts.GrantType {
	case lifecycle.JWTBearer:
		return grantTypeJWT
	case lifecycle.TokenExchange:
		return grantTypeExchange
	case lifecycle.Extension:
		return s.connection.Spec.Grant.Extension.GrantType
	case lifecycle.ClientCredentials, lifecycle.AuthorizationCode, lifecycle.RefreshToken, lifecycle.DeviceCode:
	}
	return grantTypeCredentials
}

// request composes the token request of a call, and notes in the call what it is made of.
func (r *Reconciler) request(ctx context.Context, s *scope, call *lifecycle.Call) (oauth.TokenRequest, error) {
	grant, err := r.grantFor(ctx, s, call)
	if err != nil {
		return oauth.TokenRequest{}, setup(err)
	}
	values := s.values
	if len(s.input.captured) > 0 && (call.Action == lifecycle.Exchange || call.Action == lifecycle.Import) {
		if values, err = s.profile.Values(call.Inputs, s.input.captured); err != nil {
			return oauth.TokenRequest{}, setup(err)
		}
	}
	request, err := s.profile.TokenRequest(grant, s.redirectURL(), values)
	if err != nil {
		return oauth.TokenRequest{}, setup(err)
	}
	request.Client, err = r.authenticateAt(ctx, s, request.Client, request.URL)
	return request, setup(err)
}

// redirectURL is the one that a code was asked for with.
func (s *scope) redirectURL() string { return cmp.Or(s.input.redirectURL, s.client.RedirectURL) }

func (r *Reconciler) grantFor(ctx context.Context, s *scope, call *lifecycle.Call) (oauth.Grant, error) {
	switch call.Action {
	case lifecycle.Exchange:
		return s.profile.CodeGrant(s.input.value, s.input.verifier, s.redirectURL()), nil
	case lifecycle.Import:
		return oauth.RefreshToken(s.input.value, ""), nil
	case lifecycle.Poll:
		return oauth.DeviceCode(s.entry.Record.Device.Code), nil
	case lifecycle.Issue:
		return r.issuedGrant(ctx, s, call)
	case lifecycle.Refresh:
		grant, ok := s.profile.RefreshGrant(s.entry.Record.RefreshToken, s.entry.Record.AccessToken)
		if ok {
			return grant, nil
		}
	default:
	}
	return oauth.Grant{}, fmt.Errorf("there is no token request for %s", call.Action)
}

// issuedGrant makes a grant that needs no person, out of its sources.
func (r *Reconciler) issuedGrant(ctx context.Context, s *scope, call *lifecycle.Call) (oauth.Grant, error) {
	scopes := oauth.JoinScopes(s.facts.Scopes, s.profile.Spec.ScopeSeparator)
	if s.facts.GrantType == lifecycle.ClientCredentials {
		return oauth.ClientCredentials(scopes), nil
	}
	values, hash, missing, err := r.readSources(ctx, s)
	if err != nil {
		return oauth.Grant{}, err
	}
	if missing != nil {
		return oauth.Grant{}, &setupError{reason: missing.reason, message: missing.message}
	}
	call.InputHash, call.InputVersion = hash, s.facts.Input.Version
	switch grant := s.connection.Spec.Grant; s.facts.GrantType {
	case lifecycle.JWTBearer:
		return r.assertionGrant(ctx, s, grant.JWTBearer, values, scopes)
	case lifecycle.TokenExchange:
		return r.exchangeGrant(ctx, s, grant.TokenExchange, values, scopes)
	default:
		var parameters []oauth.Parameter
		for _, parameter := range grant.Extension.Parameters {
			value := values[parameter.Name]
			if parameter.Value != nil {
				value = sensitive.New(*parameter.Value)
			}
			parameters = append(parameters, oauth.Parameter{Name: parameter.Name, Value: value})
		}
		return oauth.Extension(grant.Extension.GrantType, parameters, scopes), nil
	}
}

// assertionGrant presents an assertion that is given, that Kubernetes issues, or that is signed here.
func (r *Reconciler) assertionGrant(
	ctx context.Context, s *scope, g *v1alpha1.JWTBearerGrant, values map[string]sensitive.String, scopes string,
) (oauth.Grant, error) {
	switch {
	case g.ServiceAccountToken != nil:
		token, _, err := r.ServiceAccounts.Token(ctx, s.name.Namespace, g.ServiceAccountToken.Name, g.ServiceAccountToken.Audience)
		return oauth.JWTBearer(token, scopes), err
	case g.Signed == nil:
		return oauth.JWTBearer(values[placeAssertion], scopes), nil
	}
	signed := g.Signed
	if signed.AudienceFrom == v1alpha1.AudienceIssuer && s.client.Issuer() == "" {
		return oauth.Grant{}, &setupError{reason: v1alpha1.ReasonInvalidConfiguration, message: "spec.grant.jwtBearer.signed.audienceFrom: Issuer is the " +
			"application's issuerURL, which is not set; set it there, or give signed.audience"}
	}
	tokenURL, err := s.profile.TokenURL(grantTypeJWT, s.values)
	if err != nil {
		return oauth.Grant{}, err
	}
	issuer := cmp.Or(signed.Issuer, s.client.OAuth.ID)
	claims := oauth.ClientAssertion(issuer, audience(signed.Audience, signed.AudienceFrom, s.client.Issuer(), tokenURL), uuid.NewString(), r.Clock.Now())
	claims["sub"] = cmp.Or(signed.Subject, issuer)
	inClaims := false
	for name, value := range signed.Claims {
		text := scopeClaim(string(value), scopes)
		inClaims = inClaims || text != string(value)
		claims[name] = text
	}
	if inClaims {
		scopes = ""
	}
	assertion, err := sign(values[placeKey], claims, signed.Algorithm, signed.KeyID, "the key of spec.grant.jwtBearer.signed.keySecretRef")
	return oauth.JWTBearer(assertion, scopes), err
}

// exchangeGrant exchanges one token, perhaps in another one's name.
func (r *Reconciler) exchangeGrant(
	ctx context.Context, s *scope, g *v1alpha1.TokenExchangeGrant, values map[string]sensitive.String, scopes string,
) (oauth.Grant, error) {
	x := oauth.TokenExchangeParameters{RequestedTokenType: g.RequestedTokenType, Audience: g.Audience, Resource: g.Resource}
	var err error
	if x.SubjectToken, x.SubjectTokenType, err = r.tokenFrom(ctx, s, &g.SubjectToken, values[placeSubject]); err != nil {
		return oauth.Grant{}, err
	}
	if g.ActorToken != nil {
		if x.ActorToken, x.ActorTokenType, err = r.tokenFrom(ctx, s, g.ActorToken, values[placeActor]); err != nil {
			return oauth.Grant{}, err
		}
	}
	return oauth.TokenExchange(x, scopes), nil
}

// Token types (RFC 8693 section 3).
const (
	tokenTypeJWT    = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"
)

func (r *Reconciler) tokenFrom(
	ctx context.Context, s *scope, from *v1alpha1.TokenSource, read sensitive.String,
) (sensitive.String, string, error) {
	if account := from.ServiceAccountToken; account != nil {
		token, _, err := r.ServiceAccounts.Token(ctx, s.name.Namespace, account.Name, account.Audience)
		return token, cmp.Or(from.Type, tokenTypeJWT), err
	}
	return read, cmp.Or(from.Type, tokenTypeAccess), nil
}

// authenticate adds to a client the assertion that it needs for one request. Unless the application says otherwise, that is
// meant for the token endpoint, where the request goes to another one too: providers know themselves by no other endpoint's
// URL (OpenID Connect Core section 9).
func (r *Reconciler) authenticate(ctx context.Context, s *scope, client oauth.Client, values provider.Values) (oauth.Client, error) {
	if client.Authentication != oauth.PrivateKeyJWT && client.Authentication != oauth.ServiceAccountToken {
		return client, nil
	}
	tokenURL, err := s.profile.TokenURL(grantTypeCode, values)
	if err != nil {
		return client, err
	}
	return r.authenticateAt(ctx, s, client, tokenURL)
}

// authenticateAt is authenticate for a request to the token endpoint itself.
func (r *Reconciler) authenticateAt(ctx context.Context, s *scope, client oauth.Client, tokenURL string) (oauth.Client, error) {
	spec := s.profile.Spec.Client.Assertion
	if spec == nil {
		spec = &v1alpha1.ClientAssertionSpec{}
	}
	to := audience(spec.Audience, spec.AudienceFrom, s.client.Issuer(), tokenURL)
	var err error
	switch client.Authentication {
	case oauth.PrivateKeyJWT:
		claims := oauth.ClientAssertion(client.ID, to, uuid.NewString(), r.Clock.Now())
		client.Assertion, err = sign(s.client.Key, claims, spec.Algorithm, spec.KeyID, "the application's private key")
	case oauth.ServiceAccountToken:
		client.Assertion, _, err = r.ServiceAccounts.Token(ctx, s.client.Application.Namespace, spec.ServiceAccountName, to)
	case oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.TLS, oauth.None:
	}
	return client, err
}

func sign(key sensitive.String, claims map[string]any, algorithm v1alpha1.SigningAlgorithm, keyID, what string) (sensitive.String, error) {
	parsed, err := oauth.ParseSigningKey([]byte(key.Reveal()))
	if err != nil {
		return sensitive.String{}, &setupError{reason: v1alpha1.ReasonInvalidConfiguration, message: what + ": " + err.Error()}
	}
	signed, err := parsed.Sign(claims, oauth.SignOptions{Algorithm: string(algorithm), KeyID: keyID})
	if err != nil {
		return sensitive.String{}, &setupError{reason: v1alpha1.ReasonInvalidConfiguration, message: what + ": " + err.Error()}
	}
	return signed, nil
}

func audience(literal string, from v1alpha1.AssertionAudience, issuer, endpoint string) string {
	if literal == "" && from == v1alpha1.AudienceIssuer && issuer != "" {
		return issuer
	}
	return cmp.Or(literal, endpoint)
}

// tokensOf takes an answer over, with what the request and the callback add to it.
func tokensOf(s *scope, call lifecycle.Call, response oauth.TokenResponse) lifecycle.Tokens {
	tokens := lifecycle.Tokens{
		AccessToken: response.AccessToken, RefreshToken: response.RefreshToken, TokenType: response.TokenType,
		Scopes: response.Scope, RequestedScopes: s.facts.Scopes, IssuedAt: call.SentAt,
		Expiry: expiryOf(response.ExpiresIn, call.SentAt), GrantType: s.facts.GrantType,
		RefreshTokenExpiresAt: response.RefreshTokenExpiresIn.ExpiresAt(call.SentAt),
		ID:                    response.ID, Subject: response.Subject, IDToken: readable(response.IDToken),
		Captured: response.Captured,
	}
	if len(s.input.captured) > 0 && (call.Action == lifecycle.Exchange || call.Action == lifecycle.Import) {
		captured := maps.Clone(s.input.captured)
		maps.Copy(captured, response.Captured)
		tokens.Captured = captured
	}
	if !response.ScopeGiven && call.Action != lifecycle.Refresh {
		tokens.Scopes = s.facts.Scopes // What was asked for was granted (RFC 6749 section 5.1).
	}
	if call.Action != lifecycle.Import {
		return tokens
	}
	if tokens.RefreshToken.IsEmpty() {
		tokens.RefreshToken = s.input.value
	}
	if !response.ScopeGiven {
		tokens.RequestedScopes = nil // They were asked for when nobody here was there, and the answer tells nothing of them.
	}
	return tokens
}

// maxIDToken is the longest ID token that is read.
const maxIDToken = 64 << 10

// readable drops an ID token that nobody would read: it takes the place of tokens in a Secret.
func readable(idToken sensitive.String) sensitive.String {
	if len(idToken.Reveal()) > maxIDToken {
		return sensitive.String{}
	}
	return idToken
}

// expiryOf counts from the moment the request was sent: a token never seems to live longer than it does.
func expiryOf(lifetime oauth.Lifetime, sentAt time.Time) lifecycle.Expiry {
	switch lifetime.Kind {
	case oauth.LifetimeFinite:
		return lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: lifetime.ExpiresAt(sentAt).UTC()}
	case oauth.LifetimeNever:
		return lifecycle.Expiry{Kind: lifecycle.ExpiryNever}
	case oauth.LifetimeUnknown:
	}
	return lifecycle.Expiry{}
}
