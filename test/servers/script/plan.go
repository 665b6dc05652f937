// SPDX-License-Identifier: Apache-2.0

// Package script is how the servers of the tests are told to fail: a plan says
// which fault meets which request, and a gate holds requests back.
package script

import (
	"slices"
	"sync"

	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Plan decides which fault of type F, if any, meets a request. The zero value
// has none; the zero F must mean that nothing goes wrong.
type Plan[F any] struct {
	mu    sync.Mutex
	rules []*rule[F] // later ones first
}

type rule[F any] struct {
	filter record.Filter
	// faults are used up one by one, unless the rule stands.
	faults []F
	stands bool
}

// Next returns the fault for a request of kind k, and takes it from its queue.
// Queued faults go before standing ones; the zero F is none.
func (p *Plan[F]) Next(k record.Kind) F {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if !r.stands && len(r.faults) > 0 && r.filter.Match(k) {
			fault := r.faults[0]
			r.faults = r.faults[1:]
			return fault
		}
	}
	for _, r := range p.rules {
		if r.stands && r.filter.Match(k) {
			return r.faults[0]
		}
	}
	var none F
	return none
}

func (p *Plan[F]) add(r *rule[F]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.stands {
		p.rules = append([]*rule[F]{r}, p.rules...)
		return
	}
	p.rules = append(p.rules, r)
}

func (p *Plan[F]) remove(r *rule[F]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(other *rule[F]) bool { return other == r })
}

// Script queues faults for the requests that the filter selects: each meets one
// request, in the order given, and queues of earlier calls go first. Filters
// select on what is known at arrival, so not on Status or Answered.
func (p *Plan[F]) Script(f record.Filter, faults ...F) {
	p.add(&rule[F]{filter: f, faults: faults})
}

// Always makes every request that the filter selects meet the fault, until
// remove is called. Queued faults go before it, and so does a later Always.
func (p *Plan[F]) Always(f record.Filter, fault F) (remove func()) {
	r := &rule[F]{filter: f, faults: []F{fault}, stands: true}
	p.add(r)
	return func() { p.remove(r) }
}

// ClearScript forgets every queued and standing fault. Requests that hang
// already go on hanging; see Release.
func (p *Plan[F]) ClearScript() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}
