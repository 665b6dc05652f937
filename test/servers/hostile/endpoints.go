// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// refuse is an error answer of RFC 6749 section 5.2.
func refuse(status int, code, description string) answer {
	a := answer{status: status, fields: map[string]any{"error": code, "error_description": description}}
	if status == http.StatusUnauthorized {
		a.header = http.Header{"WWW-Authenticate": {`Basic realm="oauth"`}}
	}
	return a
}

// authorize consents in the user's name and redirects with a code, the state
// and the issuer (RFC 9207).
func (s *Server) authorize(x *exchange) answer {
	form := x.parsed.Form
	c, known := s.clients[form.Get("client_id")]
	redirect := form.Get("redirect_uri")
	if redirect == "" && known {
		redirect = c.RedirectURIs[0]
	}
	target, err := url.Parse(redirect)
	if !known || err != nil || !slices.Contains(c.RedirectURIs, redirect) {
		return refuse(http.StatusBadRequest, "invalid_request", "unknown client or redirect URI")
	}
	method := form.Get("code_challenge_method")
	back := url.Values{"iss": {s.URL}}
	switch {
	case form.Get("response_type") != "code":
		back.Set("error", "unsupported_response_type")
	case !allowed(c, form.Get("scope")):
		back.Set("error", "invalid_scope")
	case form.Get("code_challenge") == "" && (s.options.RequirePKCE || s.public(c)),
		form.Get("code_challenge") != "" && method != "S256":
		back.Set("error", "invalid_request")
	default:
		back.Set("code", s.newCode(x, c))
	}
	if form.Has("state") {
		back.Set("state", form.Get("state"))
	}
	query := target.Query()
	for name := range back {
		query.Set(name, back.Get(name))
	}
	target.RawQuery = query.Encode()
	return answer{status: http.StatusFound, header: http.Header{"Location": {target.String()}}}
}

// subjectOf is the user who consents: the one that the request names, or else
// the server's.
func (s *Server) subjectOf(x *exchange) string {
	if hint := x.parsed.Form.Get("login_hint"); hint != "" {
		return hint
	}
	return s.options.Subject
}

func (s *Server) newCode(x *exchange, c harness.Client) string {
	form, subject := x.parsed.Form, s.subjectOf(x)
	value := secret("code-")
	s.vault.codes[value] = &code{
		grant:       &grant{clientID: c.ID, subject: subject, scope: s.consented(subject, form.Get("scope"))},
		redirectURI: form.Get("redirect_uri"),
		challenge:   form.Get("code_challenge"),
		expires:     s.now().Add(s.options.CodeLifetime),
	}
	s.Issue(value)
	return value
}

// client authenticates the client by RFC 6749 section 2.3.1, by an assertion
// (RFC 7523) or by a certificate (RFC 8705).
func (s *Server) client(x *exchange) (harness.Client, bool) {
	method := x.entry.AuthMethod
	id, secret, basic := record.BasicAuth(x.r)
	if !basic {
		id, secret = x.parsed.Form.Get("client_id"), x.parsed.Form.Get("client_secret")
	}
	c, known := s.clients[id]
	if !known || (c.AuthMethod != "" && c.AuthMethod != method) {
		return harness.Client{}, false
	}
	switch method {
	case PrivateKeyJWT:
		return c, s.asserts(x, c)
	case TLSClientAuth:
		// A certificate that a public client happens to show proves nothing, and harms nothing.
		return c, s.public(c) || s.certified(x, c)
	}
	return c, c.Secret == secret && (secret != "" || s.public(c))
}

func (s *Server) token(x *exchange) answer {
	c, ok := s.client(x)
	if !ok && (x.entry.GrantType != JWTBearerGrant || x.entry.AuthMethod != "") {
		return refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	switch x.entry.GrantType {
	case "authorization_code":
		return s.exchangeCode(x, c)
	case "refresh_token":
		return s.refreshGrant(x, c)
	case "client_credentials":
		return s.clientCredentials(x, c)
	case DeviceCodeGrant:
		return s.pollDevice(x, c)
	case JWTBearerGrant:
		return s.grantByAssertion(x, c)
	case TokenExchangeGrant:
		return s.exchangeToken(x, c)
	}
	return s.extended(x, c)
}

func (s *Server) clientCredentials(x *exchange, c harness.Client) answer {
	scope := x.parsed.Form.Get("scope")
	if s.public(c) {
		return refuse(http.StatusBadRequest, "unauthorized_client", "a public client has no credentials")
	}
	if !allowed(c, scope) {
		return refuse(http.StatusBadRequest, "invalid_scope", "the client may not have this scope")
	}
	return s.issue(&grant{clientID: c.ID, subject: c.ID, scope: scope}, scope, false)
}

// exchangeCode redeems a code once (RFC 6749 section 4.1.3). A second time
// kills what the first one gave; a wrong verifier burns the code.
func (s *Server) exchangeCode(x *exchange, c harness.Client) answer {
	form := x.parsed.Form
	value := s.vault.codes[form.Get("code")]
	if value == nil || value.grant.clientID != c.ID || !s.now().Before(value.expires) {
		return refuse(http.StatusBadRequest, "invalid_grant", "the code is unknown or has expired")
	}
	if value.spent {
		value.grant.dead = true
		return refuse(http.StatusBadRequest, "invalid_grant", "the code was used before")
	}
	value.spent = true
	x.entry.Spend()
	if form.Get("redirect_uri") != value.redirectURI {
		return refuse(http.StatusBadRequest, "invalid_grant", "redirect_uri differs from the authorization request's")
	}
	if !verifies(form.Get("code_verifier"), value.challenge) {
		return refuse(http.StatusBadRequest, "invalid_grant", "code_verifier does not match")
	}
	return s.issueFirst(x, value.grant)
}

// issueFirst answers with the first tokens of what a person consented to.
func (s *Server) issueFirst(x *exchange, g *grant) answer {
	g.consented = true
	return s.issue(g, g.scope, !x.keepRefresh && !s.accounts[g.subject].NoRefreshToken)
}

// verifies checks PKCE's S256 method (RFC 7636 section 4.6).
func verifies(verifier, challenge string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}

// refreshGrant rotates a refresh token; a spent one kills its family
// (RFC 9700 section 4.14.2).
func (s *Server) refreshGrant(x *exchange, c harness.Client) answer {
	old := s.vault.refresh[x.parsed.Credential]
	if old == nil || old.grant.clientID != c.ID || expired(old.expires, s.now()) {
		return refuse(http.StatusBadRequest, "invalid_grant", "the refresh token is unknown or has expired")
	}
	if old.spent {
		old.grant.dead = true
	}
	if old.grant.dead {
		return refuse(http.StatusBadRequest, "invalid_grant", "the grant has been revoked")
	}
	scope := old.grant.scope
	if asked := x.parsed.Form.Get("scope"); asked != "" {
		if !subset(asked, strings.Fields(scope)) {
			return refuse(http.StatusBadRequest, "invalid_scope", "more than was granted")
		}
		scope = asked
	}
	if x.keepRefresh || s.accounts[old.grant.subject].KeepsRefreshToken {
		return s.issue(old.grant, scope, false)
	}
	old.spent = true
	x.entry.Spend()
	return s.issue(old.grant, scope, true)
}

func (s *Server) issue(g *grant, scope string, withRefresh bool) answer {
	now, lifetime := s.now(), s.options.AccessTokenLifetime
	access := secret("access-")
	s.vault.access[access] = &accessToken{grant: g, scope: scope, expires: now.Add(lifetime)}
	s.Issue(access)
	fields := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   int64(lifetime / time.Second),
		"scope":        scope,
	}
	if withRefresh {
		refresh := secret("refresh-")
		t := &refreshToken{grant: g}
		if s.options.RefreshTokenLifetime > 0 {
			t.expires = now.Add(s.options.RefreshTokenLifetime)
		}
		s.vault.refresh[refresh] = t
		s.Issue(refresh)
		fields["refresh_token"] = refresh
	}
	if g.consented && s.identity.enabled && slices.Contains(strings.Fields(scope), "openid") {
		token, err := s.idToken(g, lifetime)
		if err != nil {
			// Only claims of a script that JSON has no form for lead here.
			return refuse(http.StatusInternalServerError, "server_error", err.Error())
		}
		fields["id_token"] = token
	}
	set(fields, s.accounts[g.subject].Fields)
	return answer{status: http.StatusOK, fields: fields}
}

// revoke follows RFC 7009: a refresh token takes its family along, an access
// token goes alone, and an unknown token is no error.
func (s *Server) revoke(x *exchange) answer {
	c, ok := s.client(x)
	if !ok {
		return refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	token := x.parsed.Credential
	if t := s.vault.refresh[token]; t != nil && t.grant.belongsTo(c) {
		t.grant.dead = true
		s.revokeTogether(t.grant)
	}
	if t := s.vault.access[token]; t != nil && t.grant.belongsTo(c) {
		t.revoked = true
		s.revokeTogether(t.grant)
	}
	return answer{status: http.StatusOK}
}

// belongsTo says whether the client may revoke the grant. One that came of a
// bare assertion is nobody's own.
func (g *grant) belongsTo(c harness.Client) bool { return g.clientID == c.ID || g.clientID == "" }

func (s *Server) revokeTogether(g *grant) {
	if s.accounts[g.subject].RevokedTogether {
		s.vault.killAccount(g.clientID, g.subject)
	}
}

// introspect follows RFC 7662.
func (s *Server) introspect(x *exchange) answer {
	if _, ok := s.client(x); !ok {
		return refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	g := s.vault.grantOf(x.parsed.Credential, s.now())
	if g == nil {
		return answer{status: http.StatusOK, fields: map[string]any{"active": false}}
	}
	fields := map[string]any{"active": true, "client_id": g.clientID, "sub": g.subject, "scope": g.scope}
	if t := s.vault.access[x.parsed.Credential]; t != nil {
		fields["exp"] = t.expires.Unix()
		fields["scope"] = t.scope
	}
	return answer{status: http.StatusOK, fields: fields}
}

// userInfo tells a bearer who it speaks for.
func (s *Server) userInfo(x *exchange) answer {
	g := s.vault.grantOf(x.parsed.Credential, s.now())
	if g == nil || s.vault.access[x.parsed.Credential] == nil {
		return answer{
			status: http.StatusUnauthorized,
			header: http.Header{"WWW-Authenticate": {`Bearer error="invalid_token"`}},
		}
	}
	fields := map[string]any{"sub": g.subject}
	set(fields, s.accounts[g.subject].UserInfo)
	return answer{status: http.StatusOK, fields: fields}
}

// keys publishes what verifies ID tokens.
func (s *Server) keys(*exchange) answer {
	set, err := s.identity.keySet()
	if err != nil {
		return refuse(http.StatusInternalServerError, "server_error", err.Error())
	}
	return answer{status: http.StatusOK, fields: set}
}

func allowed(c harness.Client, scope string) bool { return subset(scope, c.Scopes) }

func subset(scope string, of []string) bool {
	for one := range strings.FieldsSeq(scope) {
		if !slices.Contains(of, one) {
			return false
		}
	}
	return true
}
