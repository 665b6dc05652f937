// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxWaiting bounds how many wait for connections at once. Each of them is a request that is being served.
const maxWaiting = 1 << 16

// hub wakes those that wait for a connection.
type hub struct {
	mutex sync.Mutex
	// waiting holds, for the UID of a connection, who waits for it.
	waiting map[types.UID]map[chan struct{}]struct{}
	held    int
	limit   int
}

func newHub(limit int) hub {
	return hub{waiting: map[types.UID]map[chan struct{}]struct{}{}, limit: limit}
}

// notify wakes everybody who waits for a connection.
func (h *hub) notify(connection types.UID) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for waiter := range h.waiting[connection] {
		select {
		case waiter <- struct{}{}:
		default: // It has not looked since the last time.
		}
	}
}

func (h *hub) subscribe(connection types.UID) (changes <-chan struct{}, release func()) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.held >= h.limit {
		return nil, func() {}
	}
	h.held++
	waiter := make(chan struct{}, 1)
	if h.waiting[connection] == nil {
		h.waiting[connection] = map[chan struct{}]struct{}{}
	}
	h.waiting[connection][waiter] = struct{}{}
	return waiter, func() { h.release(connection, waiter) }
}

// release ends a wait; again, it does nothing.
func (h *hub) release(connection types.UID, waiter chan struct{}) {
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
