// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is shown, in characters: the API's own, and for details what a screen can bear.
const (
	maxName   = 512
	maxTitle  = 80
	maxDetail = 2000
)

// Characters that join others and are part of words and signs in several scripts; the only invisible ones that are kept.
const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
)

// maxMarks is how many combining marks may stand on one character. No script needs more; towers of them cover other lines.
const maxMarks = 6

// clean makes a text of others fit to be shown: valid, of one line and at most limit characters, without what is invisible or
// would make it, or what stands around it, read in another order than it is written.
func clean(text string, limit int) string {
	var b strings.Builder
	marks, count, space := 0, 0, false
	for _, r := range strings.ToValidUTF8(text, string(unicode.ReplacementChar)) {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			space = count > 0
			continue
		case unicode.Is(unicode.Cf, r) && r != zeroWidthJoiner && r != zeroWidthNonJoiner:
			continue
		case unicode.Is(unicode.M, r) && !unicode.Is(unicode.Mc, r):
			if marks++; marks > maxMarks {
				continue
			}
		default:
			marks = 0
		}
		shown := string(r)
		if space {
			shown, space = " "+shown, false
		}
		if count += utf8.RuneCountInString(shown); count > limit {
			return b.String() + "…"
		}
		b.WriteString(shown)
	}
	return b.String()
}

// initial is the letter that stands for a name without a logo; empty: it has none.
func initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return ""
}

// LogoOrigin returns the origin of a logo, such as "https://cdn.example.com", to allow it in img-src of a Content-Security-
// Policy; empty: the pages do not show this logo, and the origin must not be allowed.
func LogoOrigin(logo string) string {
	u := parseLogo(logo)
	if u == nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// logoURL returns a logo's URL if the pages show it: absolute https, or http to this machine.
func logoURL(logo string) string {
	u := parseLogo(logo)
	if u == nil {
		return ""
	}
	return u.String()
}

func parseLogo(logo string) *url.URL {
	u, err := url.Parse(logo)
	switch {
	case err != nil || u.User != nil || !plainHost(u):
		return nil
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return u
	}
	return nil
}

// plainHost tells whether a URL names a host that can stand in a header: policies are separated by characters that a parsed
// host may contain.
func plainHost(u *url.URL) bool {
	return u.Hostname() != "" && !strings.ContainsFunc(u.Host, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._:[]", r)
	})
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// CanDepart tells whether a Departing page can lead to a URL: an absolute one of http or https, without a user name, and with
// nothing in it that would end it within a text.
func CanDepart(target string) bool { return link(target) != "" && !strings.HasPrefix(target, "/") }

// link returns a URL that the gateway has given if a page may lead there: an absolute path of this site, or http or https.
// Anything else is empty, and so is what no URL contains: a page that goes somewhere by itself names the URL within a text.
func link(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool {
		return strings.ContainsRune(`\"'<>`, r) || unicode.IsSpace(r) || unicode.IsControl(r)
	}) {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.User != nil || u.Opaque != "":
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		if u.Hostname() == "" {
			return ""
		}
	case u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(text, "//"):
		return ""
	}
	return text
}
