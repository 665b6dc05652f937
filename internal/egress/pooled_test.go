// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestPooledTransportKeepsConnections(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	transport := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).PooledTransport(nil, time.Minute)
	t.Cleanup(transport.CloseIdleConnections)
	for range 3 {
		if err := get(t, transport, server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 1 {
		t.Errorf("%d connections for 3 requests", connections.Load())
	}
}

func TestPooledTransportIsGuarded(t *testing.T) {
	plain, plainHits := target(t, httptest.NewServer)
	secure, secureHits := target(t, httptest.NewTLSServer)
	transport := newGuard(t, Policy{}).PooledTransport(nil, time.Minute)
	for _, url := range []string{plain.URL, secure.URL} {
		err := get(t, transport, url)
		if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) {
			t.Errorf("%s: %v", url, err)
		}
	}
	trusting := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).PooledTransport(nil, time.Minute)
	if err := get(t, trusting, secure.URL); !isUnknownAuthority(err) {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	if transport.Proxy != nil || plainHits.Load()+secureHits.Load() != 0 {
		t.Errorf("requests: %d plain, %d secure", plainHits.Load(), secureHits.Load())
	}
}

// A kept connection leads where it led; a new one is judged by what DNS says then.
func TestPooledConnectionsAndDNSThatChangesItsMind(t *testing.T) {
	server, hits := target(t, httptest.NewServer)
	dns, resolver := startDNS(t)
	guard := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1", "10.0.0.0/8"}})
	guard.dialer.Resolver = resolver
	transport := guard.PooledTransport(nil, time.Minute)
	t.Cleanup(transport.CloseIdleConnections)
	url := "http://rebind.test:" + port(t, server)
	dns.set("rebind.test.", "127.0.0.1")
	if err := get(t, transport, url); err != nil {
		t.Fatal(err)
	}
	dns.set("rebind.test.", "169.254.169.254")
	if err := get(t, transport, url); err != nil || hits.Load() != 2 {
		t.Errorf("over the kept connection: %v, %d requests", err, hits.Load())
	}
	transport.CloseIdleConnections()
	err := get(t, transport, url)
	if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) || blocked.Address != "169.254.169.254" || hits.Load() != 2 {
		t.Errorf("over a new one: %v, %d requests", err, hits.Load())
	}
}

func TestPooledTransportDecompressesNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("the transport asks for %q by itself", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		zipped := gzip.NewWriter(w)
		_, _ = zipped.Write(make([]byte, 1<<20))
		_ = zipped.Close()
	}))
	t.Cleanup(server.Close)
	transport := newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).PooledTransport(nil, time.Minute)
	t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); err != nil || n > 64<<10 || response.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d bytes, %v, %v", n, err, response.Header)
	}
}

// answering is a server that answers each connection's first request with what write writes.
func answering(t *testing.T, write func(io.Writer)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				write(conn)
			}
			_, _ = io.Copy(io.Discard, conn) // Until the other side has had enough.
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

func TestPooledTransportBoundsHeads(t *testing.T) {
	for name, write := range map[string]func(io.Writer){
		"endless headers": func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "X-%d: %01000d\r\n", i, 0); err != nil {
					return
				}
			}
		},
		"informational answers without end": func(w io.Writer) {
			for {
				if _, err := io.WriteString(w, "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := answering(t, write)
			if err := get(t, newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).PooledTransport(nil, time.Minute), url); err == nil {
				t.Error("there was an answer")
			}
		})
	}
}

func TestPooledTransportBoundsTheWaitForTheHead(t *testing.T) {
	url := answering(t, func(io.Writer) {})
	err := get(t, newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}).PooledTransport(nil, time.Millisecond), url)
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("err = %v", err)
	}
}

func bundleOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// sockets counts those of a server, and returns what is told of each that is closed.
func sockets(t *testing.T) (server *httptest.Server, opened *atomic.Int64, closed chan struct{}) {
	t.Helper()
	opened, closed = &atomic.Int64{}, make(chan struct{}, 100)
	server = httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed <- struct{}{}
		case http.StateActive, http.StateIdle, http.StateHijacked:
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, opened, closed
}

// What is sent for one group never follows on a connection that had requests of another.
func TestGroupsShareNoConnections(t *testing.T) {
	server, opened, closed := sockets(t)
	pool := NewPooledTransports(newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}), 2, time.Second)
	ask := func(group string) {
		t.Helper()
		transport, err := pool.For(Trust{Group: group})
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, transport, server.URL); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		ask("a")
		ask("b")
	}
	if opened.Load() != 2 || len(closed) != 0 {
		t.Errorf("%d connections for two groups, %d closed", opened.Load(), len(closed))
	}
	ask("c") // Takes the place of a.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Error("a dropped transport keeps its connections")
	}
	ask("b")
	if opened.Load() != 3 {
		t.Errorf("%d connections, want 3: b's is not to be closed", opened.Load())
	}
	ask("a")
	if opened.Load() != 4 {
		t.Errorf("%d connections, want 4: a has to begin anew", opened.Load())
	}
}

// A bundle is read once for all groups that trust it.
func TestGroupsShareBundles(t *testing.T) {
	secure, _ := target(t, httptest.NewTLSServer)
	pool := NewPooledTransports(newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}), 2, time.Second)
	build, parsed := pool.build, map[*x509.CertPool]bool{}
	pool.build = func(roots *x509.CertPool, certificates ...tls.Certificate) *http.Transport {
		parsed[roots] = true
		return build(roots, certificates...)
	}
	for i := range 10 {
		transport, err := pool.For(Trust{CA: bundleOf(secure), Group: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, transport, secure.URL); err != nil {
			t.Fatal(err)
		}
	}
	if len(parsed) != 1 || parsed[nil] {
		t.Errorf("a bundle was read %d times: %v", len(parsed), parsed)
	}
}

func TestPooledTransports(t *testing.T) {
	closed := make(chan struct{})
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	pool := NewPooledTransports(newGuard(t, Policy{AllowPrivate: []string{"127.0.0.1"}}), 1, time.Second)
	transport, err := pool.ForCA(nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, ok := transport.(*http.Transport)
	if !ok || kept.DisableKeepAlives || kept.ResponseHeaderTimeout != time.Second {
		t.Fatalf("%+v", transport)
	}
	if err := get(t, transport, server.URL); err != nil {
		t.Fatal(err)
	}
	secure, _ := target(t, httptest.NewTLSServer)
	if _, err := pool.ForCA(bundleOf(secure)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Error("a dropped transport keeps its connections")
	}
}
