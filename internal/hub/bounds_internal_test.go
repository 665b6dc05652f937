// SPDX-License-Identifier: Apache-2.0

package hub

import "testing"

// Who comes when too many wait is told nothing, takes no place, and can release all the same.
func TestWaitersAreBounded(t *testing.T) {
	h := New(2)
	_, first, _ := h.Subscribe("u1")
	_, second, _ := h.Subscribe("u2")
	refused, release, _ := h.Subscribe("u1")
	if refused != nil {
		t.Error("a third one waits")
	}
	release()
	first()
	first()
	if changes, again, _ := h.Subscribe("u3"); changes == nil || h.held != 2 {
		t.Errorf("%d wait, and a place that was given back is not given again", h.held)
	} else {
		again()
	}
	second()
	if h.held != 0 || len(h.waiting) != 0 {
		t.Errorf("%d are held when nobody waits", h.held)
	}
}
