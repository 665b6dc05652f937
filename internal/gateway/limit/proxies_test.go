// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/limit"
)

func proxies(t testing.TB, cidrs ...string) limit.Proxies {
	t.Helper()
	p, err := limit.ParseProxies(cidrs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(peer string, forwarded ...string) *http.Request {
	return &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": forwarded}}
}

func TestClient(t *testing.T) {
	const unknown = "invalid IP"
	inside := proxies(t, "10.0.0.0/8", "192.0.2.7", "fd00::/8", "::ffff:172.16.0.0/108")
	for _, test := range []struct {
		name      string
		proxies   limit.Proxies
		peer      string
		forwarded []string
		want      string
	}{
		{"nobody is trusted", limit.Proxies{}, "203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		{"the peer is no proxy", inside, "203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		{"a proxy says nothing", inside, "10.1.2.3:4711", nil, "10.1.2.3"},
		{"a proxy says nothing, at length", inside, "10.1.2.3:4711", []string{""}, "10.1.2.3"},
		{"one proxy", inside, "10.1.2.3:4711", []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", inside, "10.1.2.3:4711", []string{"198.51.100.1, 192.0.2.7"}, "198.51.100.1"},
		{"in two lines", inside, "10.1.2.3:4711", []string{"198.51.100.1", "192.0.2.7,10.9.9.9"}, "198.51.100.1"},
		{"the client lies about a client", inside, "10.1.2.3:4711", []string{"8.8.8.8, 198.51.100.1"}, "198.51.100.1"},
		{"the client lies about a client, in a line of its own", inside, "10.1.2.3:4711", []string{"8.8.8.8", "198.51.100.1"}, "198.51.100.1"},
		{"the client lies about proxies", inside, "10.1.2.3:4711", []string{"8.8.8.8, 10.0.0.1, 198.51.100.1"}, "198.51.100.1"},
		{"a neighbour of a trusted address", inside, "192.0.2.8:1", []string{"8.8.8.8"}, "192.0.2.8"},
		{"all are proxies", inside, "10.1.2.3:4711", []string{"10.0.0.9, 10.0.0.8"}, "10.0.0.9"},
		{"garbage", inside, "10.1.2.3:4711", []string{"198.51.100.1, unknown"}, "10.1.2.3"},
		{"garbage behind a proxy", inside, "10.1.2.3:4711", []string{"198.51.100.1, <script>, 10.0.0.9"}, "10.0.0.9"},
		{"garbage that nobody has to read", inside, "10.1.2.3:4711", []string{"garbage, 198.51.100.1"}, "198.51.100.1"},
		{"an empty entry", inside, "10.1.2.3:4711", []string{"198.51.100.1,,10.0.0.9"}, "10.0.0.9"},
		{"an endless entry", inside, "10.1.2.3:4711", []string{"198.51.100.1," + strings.Repeat("1", 1<<16)}, "10.1.2.3"},
		{"blanks and tabs", inside, "10.1.2.3:4711", []string{"\t198.51.100.1 ,  10.0.0.9\t"}, "198.51.100.1"},
		{"with a port", inside, "10.1.2.3:4711", []string{"198.51.100.1:55555"}, "198.51.100.1"},
		{"IPv6", inside, "[fd00::1]:4711", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 in brackets", inside, "[fd00::1]:4711", []string{"[2001:DB8:0::5]"}, "2001:db8::5"},
		{"IPv6 with a port", inside, "[fd00::1]:4711", []string{"[2001:db8::5]:99"}, "2001:db8::5"},
		{"IPv4 in brackets is none", inside, "[fd00::1]:4711", []string{"[198.51.100.1]"}, "fd00::1"},
		{"a zone", inside, "[fd00::1%eth0]:4711", []string{"fe80::1%25"}, "fe80::1"},
		{"a mapped peer is a proxy", inside, "[::ffff:10.1.2.3]:4711", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a mapped client", inside, "10.1.2.3:4711", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"a mapped proxy in between", inside, "10.1.2.3:4711", []string{"198.51.100.1, ::ffff:10.0.0.9"}, "198.51.100.1"},
		{"a mapped range", inside, "172.16.5.5:4711", []string{"198.51.100.1"}, "198.51.100.1"},
		{"outside the mapped range", inside, "172.32.5.5:4711", []string{"198.51.100.1"}, "172.32.5.5"},
		{"everybody is a proxy", proxies(t, "0.0.0.0/0", "::/0"), "203.0.113.5:1", []string{"8.8.8.8, 9.9.9.9"}, "8.8.8.8"},
		{"a Unix socket", inside, "@", []string{"198.51.100.1"}, unknown},
		{"no peer", inside, "", []string{"198.51.100.1"}, unknown},
		{"a peer without port", inside, "10.1.2.3", []string{"198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.proxies.Client(request(test.peer, test.forwarded...)).String(); got != test.want {
				t.Errorf("the client is %s, want %s", got, test.want)
			}
		})
	}
}

func TestParseProxies(t *testing.T) {
	for _, bad := range []string{"", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "fe80::1%eth0/64", "10.0.0.1-10.0.0.9", "10.0.0.0/8,fd00::/8", "::ffff:10.0.0.0/129"} {
		if _, err := limit.ParseProxies([]string{"10.0.0.0/8", bad}); err == nil || !strings.Contains(err.Error(), "CIDR") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// Bits of a host are no reason to refuse a range.
	if got := proxies(t, " 10.1.2.3/8 ").Client(request("10.200.0.1:1", "198.51.100.1")); got.String() != "198.51.100.1" {
		t.Errorf("the range has bits of a host: the client is %s", got)
	}
}

func TestAddressKey(t *testing.T) {
	key := func(text string) string { return limit.AddressKey(netip.MustParseAddr(text)) }
	for _, same := range [][2]string{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"}, {"::ffff:198.51.100.1", "198.51.100.1"}, {"fe80::1%eth0", "fe80::1%eth1"},
	} {
		if key(same[0]) != key(same[1]) {
			t.Errorf("%s and %s count apart: %s, %s", same[0], same[1], key(same[0]), key(same[1]))
		}
	}
	for _, apart := range [][2]string{
		{"2001:db8:1:2::1", "2001:db8:1:3::1"}, {"198.51.100.1", "198.51.100.2"}, {"::1", "0.0.0.1"},
	} {
		if key(apart[0]) == key(apart[1]) {
			t.Errorf("%s and %s count together: %s", apart[0], apart[1], key(apart[0]))
		}
	}
	if got := limit.AddressKey(netip.Addr{}); got == "" {
		t.Error("no address has no key")
	}
}

// The client is a trusted address only where nobody else is named, and has one spelling.
func FuzzClient(f *testing.F) {
	for _, seed := range [][2]string{
		{"10.1.2.3:4711", "198.51.100.1, 10.0.0.9"}, {"[fd00::1%eth0]:1", "[::ffff:1.2.3.4]:80,,"}, {"@", "\x00"}, {"::ffff:10.0.0.1", "1.1.1.1%z"},
	} {
		f.Add(seed[0], seed[1], seed[1])
	}
	inside, err := limit.ParseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		client := inside.Client(request(peer, first, second))
		if client.Zone() != "" || client.Is4In6() {
			t.Errorf("%s has several spellings", client)
		}
		if nobody := (limit.Proxies{}).Client(request(peer, first, second)); nobody != inside.Client(request(peer)) {
			t.Errorf("nobody is trusted, and the client is %s", nobody)
		}
		if limit.AddressKey(client) == "" {
			t.Errorf("%s has no key", client)
		}
		// What the client itself puts in front changes nothing, once its own address has been seen.
		if honest := inside.Client(request(peer, "203.0.113.9")); honest.String() == "203.0.113.9" &&
			inside.Client(request(peer, first, second, "203.0.113.9")) != honest {
			t.Errorf("%q, %q changed who the client is", first, second)
		}
	})
}
