// SPDX-License-Identifier: Apache-2.0

// Package hub wakes those that wait for a change of a connection.
package hub

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Hub wakes those that wait for a connection. Feed it with the events of an informer.
type Hub struct {
	mutex sync.Mutex
	// waiting holds, for the UID of a connection, who waits for it.
	waiting map[types.UID]map[chan struct{}]struct{}
	held    int
	limit   int
}

// New makes a hub that lets so many wait at once.
func New(limit int) *Hub {
	return &Hub{waiting: map[types.UID]map[chan struct{}]struct{}{}, limit: limit}
}

// Notify wakes everybody who waits for a connection.
func (h *Hub) Notify(connection types.UID) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for waiter := range h.waiting[connection] {
		select {
		case waiter <- struct{}{}:
		default: // It has not looked since the last time.
		}
	}
}

// Subscribe returns a channel that tells of each change of a connection from now on, several as one. When too many wait
// already, ok is false and changes is nil, which tells of nothing. release must be called; again, it does nothing.
func (h *Hub) Subscribe(connection types.UID) (changes <-chan struct{}, release func(), ok bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.held >= h.limit {
		return nil, func() {}, false
	}
	h.held++
	waiter := make(chan struct{}, 1)
	if h.waiting[connection] == nil {
		h.waiting[connection] = map[chan struct{}]struct{}{}
	}
	h.waiting[connection][waiter] = struct{}{}
	return waiter, func() { h.release(connection, waiter) }, true
}

func (h *Hub) release(connection types.UID, waiter chan struct{}) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if _, waits := h.waiting[connection][waiter]; !waits {
		return
	}
	h.held--
	delete(h.waiting[connection], waiter)
	if len(h.waiting[connection]) == 0 {
		delete(h.waiting, connection)
	}
}
