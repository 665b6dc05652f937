// SPDX-License-Identifier: Apache-2.0

package login

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cookies of a gateway at https carry the prefix that makes browsers refuse them from anybody but this very host, so that no
// sister host can plant one (RFC 6265bis, section 4.1.3.2). Plain http, which is for loopback alone, cannot have it.
const (
	hostPrefix  = "__Host-"
	formCookie  = "oauth-form"
	loginCookie = "oauth-login-"
)

// maxLoginCookies is how many logins a browser can have under way; the oldest is forgotten then.
const maxLoginCookies = 20

// shownLogin is how much of a login's identifier is in its cookie's name.
const shownLogin = 12

// cookieSecret is the form of what makes a cookie unguessable: 32 random bytes.
var cookieSecret = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func newCookieSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // It never fails: without randomness the process ends.
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// cookies reads and writes the cookies of one gateway.
type cookies struct{ secure bool }

func (c cookies) prefix() string {
	if c.secure {
		return hostPrefix
	}
	return ""
}

func (c cookies) set(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Without Secure on loopback alone.
		Name: c.prefix() + name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true,
		// A browser that comes back from a provider, or by a link in a mail, sends them; one that posts from elsewhere
		// does not. Strict would not do for forms either: each visit by a link would look like a first one, get another
		// cookie, and end the forms in the other tabs.
		SameSite: http.SameSiteLaxMode,
	})
}

// browser returns what tells this browser from others on forms. A browser without it gets it.
func (c cookies) browser(w http.ResponseWriter, r *http.Request) string {
	if present := c.presentBrowser(r); present != "" {
		return present
	}
	secret := newCookieSecret()
	c.set(w, formCookie, secret, 0)
	return secret
}

// presentBrowser is browser of a request that must have the cookie; empty: it has not.
func (c cookies) presentBrowser(r *http.Request) string {
	cookie, err := r.Cookie(c.prefix() + formCookie)
	if err != nil || !cookieSecret.MatchString(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// beginLogin binds a login to this browser, and returns the hash that recognizes the binding. The time in the value tells which
// cookies are the oldest.
func (c cookies) beginLogin(w http.ResponseWriter, r *http.Request, login string, now time.Time, lifetime time.Duration) [sha256.Size]byte {
	c.forgetOldest(w, r)
	value := strconv.FormatInt(now.Unix(), base36) + "." + newCookieSecret()
	c.set(w, loginCookie+login[:shownLogin], value, int(lifetime.Seconds()))
	return sha256.Sum256([]byte(value))
}

const base36 = 36

func (c cookies) forgetOldest(w http.ResponseWriter, r *http.Request) {
	type binding struct {
		name  string
		began int64
	}
	var present []binding
	for _, cookie := range r.Cookies() {
		name, ours := strings.CutPrefix(cookie.Name, c.prefix()+loginCookie)
		if !ours {
			continue
		}
		began, _, _ := strings.Cut(cookie.Value, ".")
		at, _ := strconv.ParseInt(began, base36, 64) // What is none of ours counts as the oldest.
		present = append(present, binding{name: name, began: at})
	}
	slices.SortFunc(present, func(a, b binding) int { return cmp.Compare(a.began, b.began) })
	for len(present) >= maxLoginCookies {
		c.set(w, loginCookie+present[0].name, "", -1)
		present = present[1:]
	}
}

// holds tells, in constant time for each cookie of that name, whether the login began in this browser.
func (c cookies) holds(r *http.Request, login string, hash [sha256.Size]byte) bool {
	if len(login) < shownLogin {
		return false
	}
	found := 0
	for _, cookie := range r.CookiesNamed(c.prefix() + loginCookie + login[:shownLogin]) {
		sum := sha256.Sum256([]byte(cookie.Value))
		found |= subtle.ConstantTimeCompare(sum[:], hash[:])
	}
	return found == 1
}
