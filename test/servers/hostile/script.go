// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"context"
	"slices"
	"sync"

	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// script decides which fault, if any, meets a request.
type script struct {
	mu    sync.Mutex
	rules []*rule // later ones first
}

type rule struct {
	filter record.Filter
	// faults are used up one by one, unless the rule stands.
	faults []Fault
	stands bool
}

// next returns the fault for a request of kind k. Queued faults go before
// standing ones; the zero Fault is none.
func (s *script) next(k record.Kind) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if !r.stands && len(r.faults) > 0 && r.filter.Match(k) {
			fault := r.faults[0]
			r.faults = r.faults[1:]
			return fault
		}
	}
	for _, r := range s.rules {
		if r.stands && r.filter.Match(k) {
			return r.faults[0]
		}
	}
	return Fault{}
}

func (s *script) add(r *rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.stands {
		s.rules = append([]*rule{r}, s.rules...)
		return
	}
	s.rules = append(s.rules, r)
}

func (s *script) remove(r *rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.DeleteFunc(s.rules, func(other *rule) bool { return other == r })
}

// Script queues faults for the requests that the filter selects: each meets one
// request, in the order given, and queues of earlier calls go first. Filters
// select on what is known at arrival, so not on Status or Answered.
func (s *Server) Script(f record.Filter, faults ...Fault) {
	s.script.add(&rule{filter: f, faults: faults})
}

// Always makes every request that the filter selects meet the fault, until
// remove is called. Queued faults go before it, and so does a later Always.
func (s *Server) Always(f record.Filter, fault Fault) (remove func()) {
	r := &rule{filter: f, faults: []Fault{fault}, stands: true}
	s.script.add(r)
	return func() { s.script.remove(r) }
}

// ClearScript forgets every queued and standing fault. Requests that hang
// already go on hanging; see Release.
func (s *Server) ClearScript() {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.rules = nil
}

// Release lets every request that hangs now go on.
func (s *Server) Release() { s.held.open() }

// Hanging returns the number of requests that hang now.
func (s *Server) Hanging() int {
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	return s.held.waiting
}

// WaitForHanging returns once n requests or more hang, or with the context's
// error.
func (s *Server) WaitForHanging(ctx context.Context, n int) error {
	for {
		waiting, changed := s.held.state()
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

// gate holds requests back until it is opened; it closes behind them.
type gate struct {
	mu      sync.Mutex
	opened  chan struct{} // closed by open; nil while nothing waits for it
	changed chan struct{} // closed when waiting changes; nil while nobody asked
	waiting int
}

// wait returns the context's error when that ends first.
func (g *gate) wait(ctx context.Context) error {
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
func (g *gate) add(n int) {
	g.waiting += n
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

func (g *gate) state() (waiting int, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.waiting, g.changed
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}
