// SPDX-License-Identifier: Apache-2.0

// Package limit says who sent a request and how often they may.
package limit

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// headerForwardedFor is the list of addresses that proxies keep: each adds the one that it was called from at the end.
const headerForwardedFor = "X-Forwarded-For"

// Proxies are the addresses whose word about others is taken. The zero value trusts nobody.
type Proxies struct {
	trusted []netip.Prefix
}

// ParseProxies reads CIDRs and single addresses. Bits below the prefix are ignored, and an IPv4 range may be written as
// IPv4-mapped IPv6.
func ParseProxies(cidrs []string) (Proxies, error) {
	var p Proxies
	for _, text := range cidrs {
		prefix, err := parsePrefix(strings.TrimSpace(text))
		if err != nil {
			return Proxies{}, fmt.Errorf("%q is neither a CIDR such as 10.0.0.0/8 nor an address", text)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		address = plain(address)
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	const mappedBits = 96
	if prefix.Addr().Is4In6() && prefix.Bits() >= mappedBits {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix.Masked(), nil
}

// plain takes off what lets one host have several spellings: the zone, and the IPv6 form of an IPv4 address.
func plain(address netip.Addr) netip.Addr { return address.WithZone("").Unmap() }

func (p Proxies) trusts(address netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// Client is the address that a request comes from. It is the peer of the connection, unless that is a trusted proxy: then
// X-Forwarded-For is read from its end, where the nearest proxy wrote, and the first address that is not a trusted proxy is
// the client. What stands before that was written by the client or by nobody known, and counts for nothing. An entry that
// is no address ends the search at the proxy that wrote it. The result has no zone, and IPv4 is IPv4 in whatever form it
// came; it is not valid when the peer has no address, as on a Unix socket.
func (p Proxies) Client(r *http.Request) netip.Addr {
	client, ok := parseAddress(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	for _, line := range slices.Backward(r.Header.Values(headerForwardedFor)) {
		rest, more := line, true
		for more {
			if !p.trusts(client) {
				return client
			}
			var entry string
			rest, entry, more = cutLast(rest)
			before, ok := parseAddress(entry)
			if !ok {
				return client
			}
			client = before
		}
	}
	return client
}

// cutLast takes the last entry off a list; more tells whether there are others.
func cutLast(list string) (rest, entry string, more bool) {
	at := strings.LastIndexByte(list, ',')
	if at < 0 {
		return "", list, false
	}
	return list[:at], list[at+1:], true
}

// longestAddress is an IPv6 address with brackets, zone and port.
const longestAddress = 128

// parseAddress reads an address with or without port.
func parseAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if len(text) > longestAddress {
		return netip.Addr{}, false
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return plain(address), true
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return plain(both.Addr()), true
	}
	if inside, ok := strings.CutPrefix(text, "["); ok {
		if inside, ok = strings.CutSuffix(inside, "]"); ok {
			if address, err := netip.ParseAddr(inside); err == nil && address.Is6() {
				return plain(address), true
			}
		}
	}
	return netip.Addr{}, false
}

// AddressKey is what requests of one client are counted by. Whoever has one IPv6 address has a network of them, so they
// count by their first 64 bits. All clients without an address count as one.
func AddressKey(address netip.Addr) string {
	const network = 64
	if !address.IsValid() {
		return "unknown"
	}
	address = plain(address)
	if address.Is4() {
		return address.String()
	}
	prefix, err := address.Prefix(network)
	if err != nil { // A valid IPv6 address has more bits than that.
		return address.String()
	}
	return prefix.String()
}
