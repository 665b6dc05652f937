// SPDX-License-Identifier: Apache-2.0

// Package ticket makes and judges the link that a person follows to authorize a connection. The controller writes it into
// status.authorizationURL; the gateway accepts no other than the one that stands there. What a ticket says of itself makes
// it die although the controller may be away: with the spec, with an authorization, and after a day.
package ticket

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Lifetime of a ticket: the controller replaces it then.
const Lifetime = 24 * time.Hour

// Parameter is the ticket's name in the link's query.
const Parameter = "ticket"

// maxLength bounds a ticket, in bytes: captured values may stand in it.
const maxLength = 4 << 10

// Errors of Check.
var (
	// ErrUnknown : it is not the connection's ticket.
	ErrUnknown = errors.New("the link is not, or no longer, the connection's")
	// ErrExpired : it was, and is older than Lifetime.
	ErrExpired = errors.New("the link has expired")
)

// Claims are what a ticket was made for.
type Claims struct {
	// Generation of the connection.
	Generation int64
	// AuthorizedAt is the connection's status.lastAuthorizedAt in whole seconds; zero: never.
	AuthorizedAt time.Time
	// IssuedAt in whole seconds.
	IssuedAt time.Time
	// Captured are those values of earlier answers of the provider that the authorization URL needs, by name.
	Captured map[string]string
}

// New makes a ticket that nobody can guess.
func New(c Claims) string {
	const random = 18
	var secret [random]byte
	_, _ = rand.Read(secret[:]) // It never fails: without randomness the process ends.
	authorized := int64(0)
	if !c.AuthorizedAt.IsZero() {
		authorized = c.AuthorizedAt.Unix()
	}
	parts := []string{
		number(c.Generation), number(authorized), number(c.IssuedAt.Unix()), base64.RawURLEncoding.EncodeToString(secret[:]),
	}
	if len(c.Captured) > 0 {
		captured, err := json.Marshal(c.Captured)
		if err == nil { // A map of strings always can be.
			parts = append(parts, base64.RawURLEncoding.EncodeToString(captured))
		}
	}
	return strings.Join(parts, ".")
}

const base = 36

func number(n int64) string { return strconv.FormatInt(n, base) }

// Parse reads what a ticket says of itself. Whether that is true is said by Check alone.
func Parse(text string) (Claims, error) {
	parts := strings.Split(text, ".")
	const least, most = 4, 5
	if len(text) > maxLength || len(parts) < least || len(parts) > most {
		return Claims{}, ErrUnknown
	}
	var numbers [3]int64
	for i := range numbers {
		n, err := strconv.ParseInt(parts[i], base, 64)
		if err != nil || n < 0 || number(n) != parts[i] {
			return Claims{}, ErrUnknown
		}
		numbers[i] = n
	}
	c := Claims{Generation: numbers[0], IssuedAt: time.Unix(numbers[2], 0).UTC()}
	if numbers[1] != 0 {
		c.AuthorizedAt = time.Unix(numbers[1], 0).UTC()
	}
	if len(parts) == most {
		content, err := base64.RawURLEncoding.DecodeString(parts[most-1])
		if err != nil || json.Unmarshal(content, &c.Captured) != nil {
			return Claims{}, ErrUnknown
		}
	}
	return c, nil
}

// URL is the link to the connect page. external has no slash at its end.
func URL(external, namespace, name, text string) string {
	return fmt.Sprintf("%s%s/%s/%s?%s=%s", external, v1alpha1.PathConnect, namespace, name, Parameter, url.QueryEscape(text))
}

// Of returns the ticket in a connection's status.authorizationURL; empty: there is none.
func Of(c *v1alpha1.OAuthConnection) string {
	link, err := url.Parse(c.Status.AuthorizationURL)
	if err != nil {
		return ""
	}
	return link.Query().Get(Parameter)
}

// Check accepts the connection's own ticket, compared in constant time, while it is alive. The errors are ErrUnknown and
// ErrExpired.
func Check(c *v1alpha1.OAuthConnection, text string, now time.Time) (Claims, error) {
	own := Of(c)
	if own == "" || subtle.ConstantTimeCompare([]byte(own), []byte(text)) != 1 {
		return Claims{}, ErrUnknown
	}
	claims, err := Parse(own)
	switch {
	case err != nil:
		return Claims{}, err
	case !claims.Fits(c):
		return Claims{}, ErrUnknown
	case !now.Before(claims.IssuedAt.Add(Lifetime)):
		return Claims{}, ErrExpired
	}
	return claims, nil
}

// Fits tells whether neither the spec has changed nor anybody has authorized since.
func (c Claims) Fits(connection *v1alpha1.OAuthConnection) bool {
	authorized := time.Time{}
	if at := connection.Status.LastAuthorizedAt; at != nil {
		authorized = at.Time
	}
	return c.Generation == connection.Generation && c.AuthorizedAt.Equal(authorized.Truncate(time.Second))
}
