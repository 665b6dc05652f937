// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"slices"
	"sync"
)

// event is one moment at which the program can be stopped: the nth write or call of a kind, at one of its moments.
type event struct {
	what, moment string
	nth          int
}

func (e event) String() string { return fmt.Sprintf("%s #%d %s", e.what, e.nth, e.moment) }

// journal lists the events of a scenario in their order, and springs a trap at one of them.
type journal struct {
	mu     sync.Mutex
	armed  bool
	counts map[event]int
	events []event
	trap   event
	spring func()
	// sprung is closed when the trap has done its work.
	sprung chan struct{}
}

// arm starts the list anew. spring is called once, at the event that trap names, in the goroutine that noted it: what
// that was about to do waits. The zero trap is none.
func (j *journal) arm(trap event, spring func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.armed, j.counts, j.events = true, map[event]int{}, nil
	j.trap, j.spring, j.sprung = trap, spring, make(chan struct{})
}

// note lists an event, and returns true when it was the trap's.
func (j *journal) note(what, moment string) bool {
	spring := j.add(event{what: what, moment: moment})
	if spring == nil {
		return false
	}
	spring()
	close(j.sprung)
	return true
}

// add lists an event, and returns what it sets off, if anything.
func (j *journal) add(e event) (spring func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.armed {
		return nil
	}
	j.counts[e]++
	e.nth = j.counts[e]
	j.events = append(j.events, e)
	if e != j.trap {
		return nil
	}
	j.armed = false
	return j.spring
}

// disarm ends the list and returns it.
func (j *journal) disarm() []event {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.armed = false
	return slices.Clone(j.events)
}

// caught tells whether the trap has sprung and done its work.
func (j *journal) caught() bool {
	j.mu.Lock()
	sprung := j.sprung
	j.mu.Unlock()
	select {
	case <-sprung:
		return true
	default:
		return false
	}
}
