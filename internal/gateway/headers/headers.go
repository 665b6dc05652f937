// SPDX-License-Identifier: Apache-2.0

// Package headers is what every answer of the gateway tells browsers: where its pages may load from, send forms to and be
// shown, and that nothing of them is to be kept.
package headers

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// hstsMaxAge is how long browsers remember to come by HTTPS alone: a year. Subdomains are somebody else's to decide about.
const hstsMaxAge = "max-age=31536000"

// permissions takes from the pages what nothing of theirs uses.
const permissions = "accelerometer=(), camera=(), display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), magnetometer=(), " +
	"microphone=(), midi=(), payment=(), publickey-credentials-get=(), usb=()"

// Policy writes the headers.
type Policy struct {
	https bool
	logo  string
}

// New makes a policy for an external URL. logo is the URL of a picture that all pages may show; empty: none.
func New(external *url.URL, logo string) Policy {
	return Policy{https: external.Scheme == "https", logo: pages.LogoOrigin(logo)}
}

// Set writes the headers of an answer that sends no form to elsewhere and shows no other picture. Static files overwrite
// Cache-Control.
func (p Policy) Set(h http.Header) {
	h.Set("Content-Security-Policy", p.content("", ""))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", permissions)
	h.Set("X-Robots-Tag", "noindex")
	if p.https {
		h.Set("Strict-Transport-Security", hstsMaxAge)
	}
}

// Allow lets one page show the picture of an application (unless the pages do not), and lead to where its form redirects: both
// are URLs, empty for none. It is called after Set.
func (p Policy) Allow(h http.Header, logo, target string) {
	h.Set("Content-Security-Policy", p.content(logo, target))
}

func (p Policy) content(logo, target string) string {
	pictures := sources(p.logo, pages.LogoOrigin(logo))
	forms := sources(FormTargets(target)...)
	return "default-src 'none'; style-src 'self'; img-src 'self'" + pictures +
		"; base-uri 'none'; frame-ancestors 'none'; form-action 'self'" + forms
}

func sources(list ...string) string {
	var text strings.Builder
	for i, source := range list {
		if source != "" && !slices.Contains(list[:i], source) {
			text.WriteString(" " + source)
		}
	}
	return text.String()
}

// FormTargets returns the sources that a form may lead to when it is answered by a redirect to the URL: its origin, and for an
// https domain name all hosts of the same registrable domain. Chromium holds every redirect that follows upon a form to
// form-action, not the first alone, and providers send people on to sister hosts (auth.example.com to login.example.com) before
// they show a page. Browsers that say that they navigate are not redirected (package login); this is for older ones.
func FormTargets(target string) []string {
	own := origin(target)
	name, secure := strings.CutPrefix(own, "https://")
	if own == "" || !secure {
		return []string{own}
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if net.ParseIP(strings.Trim(name, "[]")) != nil {
		return []string{own}
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil { // A public suffix itself, or a name without a dot.
		return []string{own}
	}
	return []string{own, "https://*." + domain}
}

// plainHost is what a host may consist of in a header: nothing that ends a source or a directive.
var plainHost = regexp.MustCompile(`^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)

// origin returns scheme and host of a URL as a source of a policy; empty for anything that is none.
func origin(raw string) string {
	parsed, err := url.Parse(raw)
	if err != nil || (parsed.Scheme != "https" && parsed.Scheme != "http") || parsed.Host == "" {
		return ""
	}
	host := strings.ToLower(parsed.Host)
	if !plainHost.MatchString(host) {
		name, err := idna.Lookup.ToASCII(parsed.Hostname())
		if err != nil {
			return ""
		}
		if host = name; parsed.Port() != "" {
			host = net.JoinHostPort(name, parsed.Port())
		}
	}
	if !plainHost.MatchString(host) {
		return ""
	}
	return parsed.Scheme + "://" + host
}
