// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// Link forwards TCP connections from a loopback port to the API server, bytes untouched: TLS is between client and
// server, whose certificate is valid for 127.0.0.1. Cutting it looks like a dead API server, while etcd and whoever
// connects directly are not disturbed.
type Link struct {
	listener net.Listener
	target   string
	working  sync.WaitGroup
	// abandon ends the dials under way.
	abandon context.CancelFunc

	mutex sync.Mutex
	down  bool
	open  map[net.Conn]struct{}
}

func newLink(target string) (*Link, error) {
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen for the link to the API server: %w", err)
	}
	l := &Link{listener: listener, target: target, abandon: cancel, open: map[net.Conn]struct{}{}}
	l.working.Go(func() { l.accept(ctx) })
	return l, nil
}

// Address is the host and port that the link listens on.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Cut resets every connection, and each new one until Restore. A request that had been forwarded may still be carried
// out; its answer is lost.
func (l *Link) Cut() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.down = true
	for connection := range l.open {
		reset(connection)
	}
}

// Restore forwards new connections again.
func (l *Link) Restore() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.down = false
}

func (l *Link) close() error {
	err := l.listener.Close()
	l.abandon()
	l.Cut()
	l.working.Wait()
	if err != nil {
		return fmt.Errorf("close the link to the API server: %w", err)
	}
	return nil
}

// accept keeps the port while the link is down: a listener that came back later might find it taken.
func (l *Link) accept(ctx context.Context) {
	for {
		connection, err := l.listener.Accept()
		if err != nil {
			return
		}
		if l.track(connection) {
			l.working.Go(func() { l.forward(ctx, connection) })
		}
	}
}

// track records an open connection, unless the link is down: then it is reset.
func (l *Link) track(connection net.Conn) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.down {
		reset(connection)
		return false
	}
	l.open[connection] = struct{}{}
	return true
}

func (l *Link) forward(ctx context.Context, downstream net.Conn) {
	defer func() {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		delete(l.open, downstream)
	}()
	defer reset(downstream)
	upstream, err := new(net.Dialer).DialContext(ctx, "tcp", l.target)
	if err != nil {
		return
	}
	defer reset(upstream)

	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		// An error is the end of the connection, which is all that matters here.
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	l.working.Go(func() { pipe(upstream, downstream) })
	l.working.Go(func() { pipe(downstream, upstream) })
	<-done
}

// reset closes a connection so that its peer reads an error at once, rather than an orderly end.
func reset(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
