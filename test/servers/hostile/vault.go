// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"crypto/rand"
	"time"
)

// grant is a family: one consent, or one client credentials request, and every
// token that descends from it. It dies as a whole.
type grant struct {
	clientID, subject, scope string
	dead                     bool
	// consented: a person agreed, so that there can be an ID token.
	consented bool
}

type code struct {
	grant       *grant
	redirectURI string
	challenge   string // S256; empty without PKCE
	expires     time.Time
	spent       bool
}

type refreshToken struct {
	grant   *grant
	expires time.Time // zero: never
	spent   bool
}

type accessToken struct {
	grant   *grant
	scope   string // may be less than the grant's
	expires time.Time
	revoked bool
}

// vault is all that was ever issued. The server's lock guards it.
type vault struct {
	codes   map[string]*code
	refresh map[string]*refreshToken
	access  map[string]*accessToken
	// devices are in order of arrival; deviceCodes finds them by their secret.
	devices     []*device
	deviceCodes map[string]*device
}

func newVault() vault {
	return vault{
		codes:   map[string]*code{},
		refresh: map[string]*refreshToken{},
		access:  map[string]*accessToken{},

		deviceCodes: map[string]*device{},
	}
}

// secret makes a token of 128 bits or more; the prefix tells a person what it
// is when a canary test finds it.
func secret(prefix string) string { return prefix + rand.Text() }

// grantOf returns the living grant behind a living token, or nil.
func (v *vault) grantOf(token string, now time.Time) *grant {
	if t := v.access[token]; t != nil && !t.revoked && !t.grant.dead && now.Before(t.expires) {
		return t.grant
	}
	if t := v.refresh[token]; t != nil && !t.spent && !t.grant.dead && !expired(t.expires, now) {
		return t.grant
	}
	return nil
}

// killAccount ends every grant that the account gave to the client.
func (v *vault) killAccount(clientID, subject string) {
	kill := func(g *grant) {
		if g.clientID == clientID && g.subject == subject {
			g.dead = true
		}
	}
	for _, t := range v.access {
		kill(t.grant)
	}
	for _, t := range v.refresh {
		kill(t.grant)
	}
}

func expired(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
