// SPDX-License-Identifier: Apache-2.0

// Package egress keeps provider URLs, which tenants write, from reaching what is not theirs: loopback, link-local,
// private and cluster addresses. Names prove nothing, since DNS may change its mind between a check and a call; so the
// guard judges the resolved address at the moment of connecting, for every connection, redirects included.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// The flags that a Policy comes from, for messages.
const (
	FlagAllow = "--allow-private-networks"
	FlagDeny  = "--deny-networks"
)

const (
	dialTimeout           = 5 * time.Second
	tlsTimeout            = 5 * time.Second
	responseHeaderTimeout = 10 * time.Second
	maxResponseHeader     = 64 << 10
)

// wireServer is Azure's host agent: a public address that only answers inside, and hands out a machine's secrets.
const wireServer = "168.63.129.16/32"

// BlockedError says that the guard refused a destination. Nothing was sent to it.
type BlockedError struct {
	// Host is the host of the URL.
	Host string
	// Address is the address that it resolved to; empty when the name alone was refused.
	Address string
	// Reason says why, as a clause.
	Reason string
}

// Error says what was refused, why, and what the administrator can do about it.
func (e *BlockedError) Error() string {
	target := strconv.Quote(e.Host)
	if e.Address != "" && e.Address != e.Host {
		target += " (" + e.Address + ")"
	}
	return fmt.Sprintf("egress to %s is refused: %s; an administrator can permit it with %s", target, e.Reason, FlagAllow)
}

// Guard decides which destinations may be reached. It is immutable and safe for concurrent use.
type Guard struct {
	rules    rules
	guardian *ssrf.Guardian
	dialer   net.Dialer
}

// New parses the policy. An error names the flag and the entry.
func New(policy Policy) (*Guard, error) {
	parsed, err := parsePolicy(policy)
	if err != nil {
		return nil, err
	}
	allowed4, allowed6 := byFamily(parsed.allowed)
	denied4, denied6 := byFamily(append(parsed.denied, netip.MustParsePrefix(wireServer)))
	return &Guard{
		rules: parsed,
		guardian: ssrf.New(
			ssrf.WithAnyPort(),
			ssrf.WithAllowedV4Prefixes(allowed4...), ssrf.WithAllowedV6Prefixes(allowed6...),
			ssrf.WithDeniedV4Prefixes(denied4...), ssrf.WithDeniedV6Prefixes(denied6...),
		),
		dialer: net.Dialer{Timeout: dialTimeout},
	}, nil
}

func byFamily(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, prefix := range prefixes {
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix)
		} else {
			v6 = append(v6, prefix)
		}
	}
	return v4, v6
}

// Transport returns a transport whose every connection the guard judges. rootCAs nil means the system's. It uses no
// proxy, since a proxy would resolve and connect in the guard's stead, and TLS 1.2 or later.
//
// Connections are not kept: every request gets one of its own, over HTTP/1.1. A provider that closes an idle
// connection at the moment when a request is written to it leaves the sender unable to say whether the request arrived.
// For a code or a rotating refresh token, which must not be sent twice, that costs far more than a handshake.
// For the same reason no two requests share a connection that could take both down.
//
// Of certificates, the first is shown to servers that ask for one, whichever authorities they name: whom it belongs to is
// agreed with the provider (RFC 8705), and not every server's list is complete.
func (g *Guard) Transport(rootCAs *x509.CertPool, certificates ...tls.Certificate) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    rootCAs,
		NextProtos: []string{"http/1.1"},
		// Resumption makes the handshakes cheap.
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if len(certificates) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return g.dial(ctx, network, address, true)
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return g.dialTLS(ctx, network, address, config)
		},
		Protocols:              protocols,
		DisableKeepAlives:      true,
		ResponseHeaderTimeout:  responseHeaderTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
}

func (g *Guard) dial(ctx context.Context, network, address string, plain bool) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host, err = canonicalHost(host); err != nil {
		return nil, err
	}
	dialer := g.dialer
	dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
		remote, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return fmt.Errorf("read the resolved address: %w", err)
		}
		return g.check(host, remote.Addr(), plain)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if blocked := (*BlockedError)(nil); errors.As(err, &blocked) {
		return nil, blocked // Without the layers of net, which say the same once more.
	}
	return conn, err
}

// dialTLS is separate from dial so that the two can tell https from http: a transport's DialContext alone is not told.
func (g *Guard) dialTLS(ctx context.Context, network, address string, base *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := g.dial(ctx, network, address, false)
	if err != nil {
		return nil, err
	}
	config := base.Clone()
	config.ServerName = strings.TrimSuffix(host, ".")
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // The handshake's error is the one to report.
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return conn, nil
}

// check judges one resolved address. Order: allowed host, plain http, allowed network, denied network, special purpose.
func (g *Guard) check(host string, address netip.Addr, plain bool) error {
	if g.rules.hosts[host] {
		return nil
	}
	address = address.Unmap()
	if plain && !contains(g.rules.allowed, address) {
		return &BlockedError{Host: host, Address: address.String(), Reason: "plain http is for permitted destinations only"}
	}
	if err := g.guardian.SafeAddr(address); err != nil {
		reason := "the address is not a public one"
		if contains(g.rules.denied, address) {
			reason = "the address is in a network that " + FlagDeny + " lists"
		}
		return &BlockedError{Host: host, Address: address.String(), Reason: reason}
	}
	return nil
}

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// CheckURL judges a URL as far as that is possible without resolving its host, so that a mistake is reported where it was
// made. It wants an absolute https URL without user information and fragment, or an http one whose host may turn out to
// be permitted. A refused destination gives a *BlockedError. Passing proves nothing: the connection is judged again.
func (g *Guard) CheckURL(raw string) error {
	u, err := parseURL(raw)
	if err != nil {
		return err
	}
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return fmt.Errorf("the URL's host is not a valid name: %w", err)
	}
	plain := u.Scheme == "http"
	if address, err := netip.ParseAddr(host); err == nil {
		return g.check(host, address, plain)
	}
	switch {
	case endsInNumber(host):
		return &BlockedError{Host: host, Reason: "a host that ends in a number is an address in disguise"}
	case g.rules.hosts[host]:
		return nil
	case isLocalhost(host) && !g.loopbackAllowed():
		return &BlockedError{Host: host, Reason: "it names this machine"}
	case plain && len(g.rules.allowed) == 0:
		return &BlockedError{Host: host, Reason: "plain http is for permitted destinations only"}
	}
	return nil
}

// parseURL never repeats the URL in an error: it may hold a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("this is not a valid URL")
	}
	port := u.Port()
	number, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the URL must be absolute and begin with https://")
	case u.User != nil:
		return nil, fmt.Errorf("the URL must not carry a user name or password")
	case u.Opaque != "" || strings.TrimSuffix(u.Hostname(), ".") == "":
		return nil, fmt.Errorf("the URL has no host")
	case strings.Contains(raw, "#"):
		return nil, fmt.Errorf("the URL must not have a fragment (RFC 6749, section 3.2)")
	case port != "" && (portErr != nil || number == 0):
		return nil, fmt.Errorf("the URL's port %q is not between 1 and 65535", port)
	}
	return u, nil
}

// isLocalhost follows RFC 6761, section 6.3.
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (g *Guard) loopbackAllowed() bool {
	for _, prefix := range g.rules.allowed {
		if prefix.Overlaps(netip.MustParsePrefix("127.0.0.0/8")) || prefix.Overlaps(netip.MustParsePrefix("::1/128")) {
			return true
		}
	}
	return false
}
