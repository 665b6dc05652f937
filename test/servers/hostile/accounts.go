// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// Account is how the server treats one user, by the subject. The zero value is
// what every other user gets.
type Account struct {
	// Scopes that the user consents to, whatever was asked for; nil: everything.
	Scopes []string
	// KeepsRefreshToken turns rotation off: a refresh gives no new refresh token,
	// and the old one stays good.
	KeepsRefreshToken bool
	// NoRefreshToken leaves refresh tokens out of first answers.
	NoRefreshToken bool
	// RevokedTogether makes the revocation of any token kill every grant that the
	// account gave to the client.
	RevokedTogether bool
	// Fields are set in token answers, UserInfo in those of /userinfo, and Claims
	// in ID tokens; a Missing value leaves a field out.
	Fields, UserInfo, Claims map[string]any
}

// SetAccount says how the user is treated from now on.
func (s *Server) SetAccount(subject string, a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[subject] = a
}

// NewCodeFor is NewCode for a user of the given name, whoever consents
// otherwise: the authorization request carries it as login_hint (OpenID Connect
// Core section 3.1.2.1).
func (s *Server) NewCodeFor(subject, clientID, redirectURI string, scopes []string, challenge string) (code, verifier string, err error) {
	return harness.NewCodeWith(s.Client(), s.URL, clientID, redirectURI, scopes, challenge, url.Values{"login_hint": {subject}})
}

// AccountOf returns the subject behind a living access or refresh token, or the
// empty string. It is not counted as a request.
func (s *Server) AccountOf(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.vault.grantOf(token, s.now()); g != nil {
		return g.subject
	}
	return ""
}

// consented narrows what was asked for to what the user consents to. Called
// with mu held.
func (s *Server) consented(subject, scope string) string {
	allowed := s.accounts[subject].Scopes
	if allowed == nil {
		return scope
	}
	granted := slices.DeleteFunc(strings.Fields(scope), func(one string) bool { return !slices.Contains(allowed, one) })
	return strings.Join(granted, " ")
}

// set puts fields into a document, and takes out those that are Missing.
func set(document, fields map[string]any) {
	maps.Copy(document, fields)
	maps.DeleteFunc(document, func(_ string, value any) bool {
		_, missing := value.(Missing)
		return missing
	})
}

// identity signs ID tokens.
type identity struct {
	key *ecdsa.PrivateKey
	// enabled: grants with the scope openid come with an ID token.
	enabled bool
}

func newIdentity() (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return identity{key: key}, err
}

// EnableIDTokens puts an ID token (OpenID Connect Core section 2), signed with
// ES256, into answers to codes, device codes and refreshes whose scope holds
// openid.
func (s *Server) EnableIDTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity.enabled = true
}

// idToken is called with mu held.
func (s *Server) idToken(g *grant, lifetime time.Duration) (string, error) {
	now := s.now()
	claims := jwt.MapClaims{
		"iss": s.URL, "sub": g.subject, "aud": g.clientID, "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}
	set(claims, s.accounts[g.subject].Claims)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = "hostile"
	return token.SignedString(s.identity.key)
}

// keySet is the JWK Set (RFC 7517) that verifies ID tokens.
func (i identity) keySet() (map[string]any, error) {
	// The uncompressed point: 4, then both coordinates.
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	half := (len(point) - 1) / 2
	coordinate := base64.RawURLEncoding.EncodeToString
	return map[string]any{"keys": []map[string]any{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "hostile",
		"x": coordinate(point[1 : 1+half]), "y": coordinate(point[1+half:]),
	}}}, nil
}
