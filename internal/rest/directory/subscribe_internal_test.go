// SPDX-License-Identifier: Apache-2.0

package directory

import "testing"

// Who comes when too many wait is told nothing, takes no place, and can release all the same.
func TestWaitersAreBounded(t *testing.T) {
	h := newHub(2)
	_, first := h.subscribe("u1")
	_, second := h.subscribe("u2")
	refused, release := h.subscribe("u1")
	if refused != nil {
		t.Error("a third one waits")
	}
	release()
	first()
	first()
	if changes, again := h.subscribe("u3"); changes == nil || h.held != 2 {
		t.Errorf("%d wait, and a place that was given back is not given again", h.held)
	} else {
		again()
	}
	second()
	if h.held != 0 || len(h.waiting) != 0 {
		t.Errorf("%d are held when nobody waits", h.held)
	}
}
