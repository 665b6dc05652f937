// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"sync"
)

// Gate holds requests back until it is opened; it closes behind them. The zero
// value is closed.
type Gate struct {
	mu      sync.Mutex
	opened  chan struct{} // closed by Release; nil while nothing waits for it
	changed chan struct{} // closed when waiting changes; nil while nobody asked
	waiting int
}

// Hold waits for Release. It returns the context's error when that ends first.
func (g *Gate) Hold(ctx context.Context) error {
	g.mu.Lock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	opened := g.opened
	g.add(1)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.add(-1)
	}()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add is called with mu held.
func (g *Gate) add(n int) {
	g.waiting += n
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// Release lets every request that hangs now go on.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// Hanging returns the number of requests that hang now.
func (g *Gate) Hanging() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// WaitForHanging returns once n requests or more hang, or with the context's
// error.
func (g *Gate) WaitForHanging(ctx context.Context, n int) error {
	for {
		waiting, changed := g.state()
		if waiting >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *Gate) state() (waiting int, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.waiting, g.changed
}
