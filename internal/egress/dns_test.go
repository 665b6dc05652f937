// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// fakeDNS is a name server on loopback whose answers a test can change.
type fakeDNS struct {
	mu      sync.Mutex
	answers map[string][]netip.Addr
	queries int
}

// set changes what a name (with its final dot) resolves to.
func (d *fakeDNS) set(name string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var parsed []netip.Addr
	for _, address := range addresses {
		parsed = append(parsed, netip.MustParseAddr(address))
	}
	d.answers[name] = parsed
}

func (d *fakeDNS) queried() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queries
}

func startDNS(t *testing.T) (*fakeDNS, *net.Resolver) {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fakeDNS{answers: map[string][]netip.Addr{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.serve(conn)
	}()
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return server, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// serve ends when the connection is closed.
func (d *fakeDNS) serve(conn net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buffer[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		if packed, err := d.answer(query).Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from) // A lost answer fails the test that waits for it.
		}
	}
}

func (d *fakeDNS) answer(query dnsmessage.Message) *dnsmessage.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queries++
	question := query.Questions[0]
	addresses, known := d.answers[question.Name.String()]
	reply := &dnsmessage.Message{Questions: query.Questions, Header: dnsmessage.Header{
		ID: query.ID, Response: true, Authoritative: true, RecursionAvailable: true,
	}}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		header := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, Type: question.Type}
		switch {
		case address.Is4() && question.Type == dnsmessage.TypeA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case address.Is6() && question.Type == dnsmessage.TypeAAAA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	return reply
}
