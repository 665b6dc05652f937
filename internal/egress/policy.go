// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Policy is what the administrator said on the command line.
type Policy struct {
	// AllowPrivate are the entries of --allow-private-networks: a CIDR, an address, or a host name, which covers
	// whatever it resolves to. Only these may be reached although they are not public, and only these over plain http.
	AllowPrivate []string
	// Deny are the entries of --deny-networks: more CIDRs or addresses to refuse, such as pod and service ranges. An
	// allowed entry wins over a denied one: that is how one host inside a denied range is opened.
	Deny []string
}

// rules is a parsed Policy.
type rules struct {
	allowed []netip.Prefix
	denied  []netip.Prefix
	hosts   map[string]bool
}

func parsePolicy(policy Policy) (rules, error) {
	parsed := rules{hosts: map[string]bool{}}
	for _, entry := range policy.AllowPrivate {
		if prefix, err := parsePrefix(entry); err == nil {
			parsed.allowed = append(parsed.allowed, prefix)
			continue
		}
		host, err := parseHost(entry)
		if err != nil {
			return rules{}, fmt.Errorf("%s: entry %q is not a CIDR, an address or a host name: %w", FlagAllow, entry, err)
		}
		parsed.hosts[host] = true
	}
	for _, entry := range policy.Deny {
		prefix, err := parsePrefix(entry)
		if err != nil {
			return rules{}, fmt.Errorf("%s: entry %q is not a CIDR or an address: %w", FlagDeny, entry, err)
		}
		parsed.denied = append(parsed.denied, prefix)
	}
	return parsed, nil
}

// parsePrefix reads a CIDR or an address. IPv4 written as IPv6 (::ffff:10.0.0.0/104) becomes IPv4, as the addresses do
// that are compared with it.
func parsePrefix(entry string) (netip.Prefix, error) {
	entry = strings.TrimSpace(entry)
	var prefix netip.Prefix
	if strings.Contains(entry, "/") {
		parsed, err := netip.ParsePrefix(entry)
		if err != nil {
			return netip.Prefix{}, err
		}
		prefix = parsed
	} else {
		addr, err := netip.ParseAddr(entry)
		if err != nil {
			return netip.Prefix{}, err
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("an address with a zone cannot be listed")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

func parseHost(entry string) (string, error) {
	host, err := canonicalHost(strings.TrimSpace(entry))
	if err != nil {
		return "", err
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is not a DNS label", label)
		}
	}
	if len(host) > 253 || endsInNumber(host) {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	return host, nil
}

// canonicalHost gives a host name the spelling in which names are compared: lower case, ASCII (as net/http sends it),
// without the final dot.
func canonicalHost(host string) (string, error) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for i := range len(host) {
		if host[i] >= 0x80 {
			return idna.Lookup.ToASCII(host)
		}
	}
	return host, nil
}

// endsInNumber tells names that some resolvers read as an IPv4 address in decimal, octal, hexadecimal or shortened form
// (2130706433, 0x7f.1). No top-level domain is a number, so such a name is never a real one.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	digits, isHex := strings.CutPrefix(last, "0x")
	return isHex && strings.Trim(digits, "0123456789abcdef") == ""
}

// CanonicalHost gives a host name, or an address without brackets, the spelling in which the guard compares them: lower case,
// ASCII (as net/http sends it), without the final dot. The error is about names that IDNA does not allow.
func CanonicalHost(host string) (string, error) { return canonicalHost(host) }
