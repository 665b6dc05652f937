// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/hub"
)

// woken tells whether a waiter was woken, and takes that.
func woken(changes <-chan struct{}) bool {
	select {
	case <-changes:
		return true
	default:
		return false
	}
}

func TestHub(t *testing.T) {
	h := hub.New(3)
	h.Notify("a") // Nobody waits.
	first, releaseFirst, _ := h.Subscribe("a")
	second, releaseSecond, _ := h.Subscribe("a")
	other, releaseOther, _ := h.Subscribe("b")
	if woken(first) || woken(second) {
		t.Error("woken by what was before")
	}
	h.Notify("a")
	h.Notify("a")
	if !woken(first) || !woken(second) || woken(other) {
		t.Error("not exactly those that wait for the connection were woken")
	}
	if woken(first) {
		t.Error("two changes that nobody looked at between wake twice")
	}
	if _, release, ok := h.Subscribe("c"); ok {
		t.Error("more wait than may")
	} else {
		release()
	}
	releaseFirst()
	releaseFirst()
	h.Notify("a")
	if woken(first) || !woken(second) {
		t.Error("a release is for one waiter")
	}
	_, release, ok := h.Subscribe("c")
	if !ok {
		t.Error("a release makes no room")
	}
	for _, end := range []func(){release, releaseSecond, releaseOther} {
		end()
	}
	for range 3 {
		if _, _, ok := h.Subscribe("a"); !ok {
			t.Error("room was lost")
		}
	}
}
