// SPDX-License-Identifier: Apache-2.0

package increase

import (
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"
)

// maxText is the largest length of a string in a request, in characters; the
// smallest is one.
const maxText = 200

// authorize consents in the name of the server's group and redirects with a
// code, and with the state where one was given.
func (e *Environment) authorize(x *exchange) answer {
	a := e.server.client(x.query.Get("client_id"))
	if a == nil || a.status() != Active {
		return invalid("client_id", "there is no such application")
	}
	scope := x.query.Get("scope")
	if scope != ReadOnly && scope != ReadWrite {
		return invalid("scope", "must be read_only or read_write")
	}
	target, err := url.Parse(a.RedirectURL)
	if err != nil {
		return invalid("client_id", "the application has no usable redirect URL")
	}
	value := text("code-")
	e.ledger.codes[value] = &code{
		connection: e.connect(e.server.group, a, scope),
		clientID:   a.ClientID,
		expires:    e.server.clock.Now().Add(e.server.codeLifetime),
	}
	e.Issue(value)
	query := target.Query()
	query.Set("code", value)
	if x.query.Has("state") {
		query.Set("state", x.query.Get("state"))
	}
	target.RawQuery = query.Encode()
	return answer{status: http.StatusFound, header: http.Header{"Location": {target.String()}}}
}

// token exchanges a code, or in the sandbox a production token. The caller is
// the platform, by its own API key.
func (e *Environment) token(x *exchange) answer {
	if refused := e.platform(x); refused != nil {
		return *refused
	}
	if x.fault != nil {
		return *x.fault
	}
	if refused := e.checkStrings(x.body); refused != nil {
		return *refused
	}
	switch x.said("grant_type") {
	case "authorization_code":
		return e.exchangeCode(x)
	case "production_token":
		if e.sandbox {
			return e.exchangeProductionToken(x)
		}
		return invalid("grant_type", "must be authorization_code in production")
	}
	return invalid("grant_type", "must be authorization_code or production_token")
}

// said returns a string of the body, or the empty string.
func (x *exchange) said(name string) string {
	value, _ := x.body[name].(string)
	return value
}

// checkStrings holds what the body says to the documented bounds.
func (e *Environment) checkStrings(body map[string]any) *answer {
	documented := []string{"client_id", "client_secret", "code", "grant_type", "production_token"}
	for name, value := range body {
		if !slices.Contains(documented, name) {
			if !e.server.strict {
				continue
			}
			a := invalid(name, "there is no such parameter")
			return &a
		}
		said, ok := value.(string)
		if n := utf8.RuneCountInString(said); !ok || n < 1 || n > maxText {
			a := invalid(name, "must be a string of 1 to 200 characters")
			return &a
		}
	}
	return nil
}

// checkClient compares client_id and client_secret with the application's.
func (e *Environment) checkClient(x *exchange) *answer {
	a := e.server.client(x.said("client_id"))
	var refused answer
	switch {
	case a == nil || a.status() != Active:
		refused = invalid("client_id", "there is no such application")
	case a.ClientSecret != x.said("client_secret"):
		refused = invalid("client_secret", "does not match")
	default:
		return nil
	}
	return &refused
}

func (e *Environment) exchangeCode(x *exchange) answer {
	if refused := e.checkClient(x); refused != nil {
		return *refused
	}
	value := e.ledger.codes[x.said("code")]
	switch {
	case value == nil || value.clientID != x.said("client_id"):
		return invalid("code", "is unknown")
	case value.spent:
		return invalid("code", "was used before")
	case !e.server.clock.Now().Before(value.expires):
		return invalid("code", "has expired")
	}
	value.spent = true
	x.entry.Spend()
	if !value.connection.alive() {
		return invalid("code", "the user has disconnected")
	}
	return e.issue(value.connection)
}

// exchangeProductionToken gives a sandbox token to whoever holds a living token
// of production. The client is checked where it is named.
func (e *Environment) exchangeProductionToken(x *exchange) answer {
	_, id := x.body["client_id"]
	_, secret := x.body["client_secret"]
	if id || secret {
		if refused := e.checkClient(x); refused != nil {
			return *refused
		}
	}
	original := e.server.Production.ledger.tokens[x.said("production_token")]
	if original == nil || !original.alive() {
		return invalid("production_token", "is not a production access token that works")
	}
	for _, c := range e.ledger.connections {
		if c.alive() && c.GroupID == original.GroupID && c.ApplicationID == original.ApplicationID && c.readOnly == original.readOnly {
			return e.issue(c)
		}
	}
	made := *original
	made.ID, made.CreatedAt = text("connection_"), e.server.clock.Now()
	e.ledger.connections = append(e.ledger.connections, &made)
	return e.issue(&made)
}

// issue answers with a token, which has no expiry and no refresh token.
func (e *Environment) issue(c *connection) answer {
	return answer{status: http.StatusOK, fields: map[string]any{
		"access_token": e.newToken(c),
		"token_type":   "bearer",
		"group_id":     c.GroupID,
		"type":         "oauth_token",
	}}
}
