// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"container/list"
	"sync"
)

// maxWaiting bounds how many requests of a lane wait for the same thing; further ones are refused at once.
const maxWaiting = 1024

// slots is a semaphore whose size may change while it is in use. Whoever waits gets a slot in the order of coming.
type slots struct {
	mu      sync.Mutex
	limit   int
	taken   int
	waiting list.List // of chan struct{}, closed with the slot
}

// take takes a slot, and waits for one if need be; tooLong makes the error when that would last too long. The newest limit
// holds for all. A request that gives up leaves no trace.
func (s *slots) take(p *patience, limit int, tooLong func() error) error {
	ready, place := s.queue(limit)
	if ready == nil {
		return nil
	}
	if place == nil {
		return tooLong()
	}
	timer := p.clock.NewTimer(max(p.left(), 0))
	defer timer.Stop()
	var err error
	select {
	case <-ready:
		return nil
	case <-timer.C():
		err = tooLong()
	case <-p.done.Done():
		err = p.ended()
	}
	if !s.abandon(ready, place) {
		return nil // The slot came in the same moment. A request that has ended meanwhile gives it back by leaving.
	}
	return err
}

// queue takes a slot (ready is nil), or a place in the queue; place is nil when that is full.
func (s *slots) queue(limit int) (ready chan struct{}, place *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(limit, 1)
	s.grant()
	if s.taken < s.limit { // Then nobody waits.
		s.taken++
		return nil, nil
	}
	ready = make(chan struct{})
	if s.waiting.Len() < maxWaiting {
		place = s.waiting.PushBack(ready)
	}
	return ready, place
}

// abandon gives a place in the queue up. It is false when its slot has come.
func (s *slots) abandon(ready chan struct{}, place *list.Element) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-ready:
		return false
	default:
		s.waiting.Remove(place)
		return true
	}
}

func (s *slots) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.grant()
}

func (s *slots) grant() {
	for s.taken < s.limit && s.waiting.Len() > 0 {
		s.taken++
		ready, _ := s.waiting.Remove(s.waiting.Front()).(chan struct{})
		close(ready)
	}
}

// ahead returns how many hold a slot or wait for one.
func (s *slots) ahead() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken + s.waiting.Len()
}
