// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
)

// realm is where the token of a connection may go.
type realm struct {
	base *url.URL
	// host and port of the base as they are compared.
	host, port string
	// allowed are names, and domains with "*." before them, as they are compared.
	allowed []string
}

// newRealm is of a base URL that has a host, and of further hosts.
func newRealm(base *url.URL, allowedHosts []string) realm {
	r := realm{base: base, host: canonical(base.Hostname()), port: portOf(base)}
	for _, entry := range allowedHosts {
		name, wild := strings.CutPrefix(entry, "*.")
		if name = canonical(name); wild {
			name = "*." + name
		}
		r.allowed = append(r.allowed, name)
	}
	return r
}

// canonical is the spelling in which hosts are compared. What has none equals itself alone, and no host that is reached.
func canonical(host string) string {
	if known, err := egress.CanonicalHost(host); err == nil {
		return known
	}
	return host
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == schemeHTTP {
		return "80"
	}
	return "443"
}

// holds tells whether the token may go to a URL: to the base's host and port, or to an allowed host at any port; by plain http
// only if the base itself is plain.
func (r realm) holds(u *url.URL) bool {
	if u.Scheme != schemeHTTPS && (u.Scheme != schemeHTTP || r.base.Scheme != schemeHTTP) {
		return false
	}
	host := canonical(u.Hostname())
	if host == r.host && portOf(u) == r.port {
		return true
	}
	for _, entry := range r.allowed {
		if domain, wild := strings.CutPrefix(entry, "*"); wild && strings.HasSuffix(host, domain) && host != domain || entry == host {
			return true
		}
	}
	return false
}

// resolve returns the URL that a caller's url means: one that begins with a scheme and "://" is absolute and has to be in the
// realm; all else is a path below the base, with or without a query. Its errors never repeat the URL. Beside HostNotAllowed stands
// the URL's origin, for the record.
func (r realm) resolve(raw string) (*url.URL, error) {
	raw, _, _ = strings.Cut(raw, "#") // A fragment is never sent.
	if scheme, ok := schemeOf(raw); ok {
		return r.absolute(scheme, raw)
	}
	path, query, hasQuery := strings.Cut(raw, "?")
	if path == "" {
		target := *r.base
		return r.withQuery(&target, query, hasQuery)
	}
	return r.below(strings.TrimPrefix(path, "/"), query, hasQuery)
}

// schemeOf returns the scheme of what begins with one and "://" (RFC 3986, section 3.1).
func schemeOf(raw string) (scheme string, ok bool) {
	scheme, _, ok = strings.Cut(raw, "://")
	if !ok || scheme == "" {
		return "", false
	}
	for i, c := range []byte(scheme) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return "", false
		}
	}
	return strings.ToLower(scheme), true
}

// below returns base + "/" + path + query. path is escaped as in a request line, and does not begin with a slash: somebody on the
// way might take what follows for a host.
func (r realm) below(path, query string, hasQuery bool) (*url.URL, error) {
	if strings.HasPrefix(path, "/") {
		return nil, problem.New(problem.InvalidRequest, "the path must not begin with two slashes")
	}
	escaped, err := safePath(path)
	if err != nil {
		return nil, err
	}
	target := *r.base
	if err := setPath(&target, strings.TrimSuffix(r.base.EscapedPath(), "/")+"/"+escaped); err != nil {
		return nil, err
	}
	return r.withQuery(&target, query, hasQuery)
}

// withQuery adds a query to the base's own, if it has one.
func (r realm) withQuery(target *url.URL, query string, hasQuery bool) (*url.URL, error) {
	query, err := safeQuery(query)
	if err != nil {
		return nil, err
	}
	target.Fragment, target.RawFragment = "", ""
	switch {
	case r.base.RawQuery != "" && query != "":
		target.RawQuery = r.base.RawQuery + "&" + query
	case query != "":
		target.RawQuery = query
	case r.base.RawQuery == "":
		target.ForceQuery = hasQuery
	}
	return target, nil
}

// absolute reads a URL and never builds upon what it could not read: the URL that is sent is made of the parts that were judged.
func (r realm) absolute(scheme, raw string) (*url.URL, error) {
	if scheme != schemeHTTPS && scheme != schemeHTTP {
		return nil, problem.New(problem.InvalidRequest, "the url must begin with https://")
	}
	rest, query, hasQuery := strings.Cut(raw[len(scheme)+len("://"):], "?")
	authority, path, _ := strings.Cut(rest, "/")
	path, err := safePath(path)
	if err != nil {
		return nil, err
	}
	target, err := parseAuthority(scheme, authority)
	if err != nil {
		return nil, err
	}
	if !r.holds(target) {
		return target, problem.New(problem.HostNotAllowed,
			"requests may go to the host of the application's apiBaseURL and to its allowedHosts, not to %s://%s", scheme, target.Host)
	}
	if err := setPath(target, "/"+path); err != nil {
		return nil, err
	}
	if target.RawQuery, err = safeQuery(query); err != nil {
		return nil, err
	}
	target.ForceQuery = hasQuery && query == ""
	return target, nil
}

// parseAuthority reads host and port. User information is refused: it would be sent as a second authorization, or is meant to
// mislead who reads the URL.
func parseAuthority(scheme, authority string) (*url.URL, error) {
	invalid := problem.New(problem.InvalidRequest, "the url has no valid host")
	switch {
	case strings.Contains(authority, "@"):
		return nil, problem.New(problem.InvalidRequest, "the url must not carry a user name or password")
	case strings.ContainsAny(authority, `\%`) || hasControl(authority):
		return nil, invalid
	}
	parsed, err := url.Parse(scheme + "://" + authority)
	if err != nil || parsed.Hostname() == "" || parsed.User != nil || parsed.Path != "" {
		return nil, invalid
	}
	name, err := egress.CanonicalHost(parsed.Hostname())
	if err != nil || name == "" {
		return nil, invalid
	}
	if address, err := netip.ParseAddr(name); err == nil {
		name = address.String()
	} else if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return nil, invalid
	}
	switch port := parsed.Port(); {
	case port != "":
		parsed.Host = net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		parsed.Host = "[" + name + "]"
	default:
		parsed.Host = name
	}
	return parsed, nil
}

// setPath keeps the spelling of an escaped path: %2F is not a slash.
func setPath(target *url.URL, escaped string) error {
	decoded, err := url.PathUnescape(escaped)
	if err != nil {
		return problem.New(problem.InvalidRequest, "the path has a %% that encodes nothing")
	}
	target.Path, target.RawPath = decoded, escaped
	return nil
}
