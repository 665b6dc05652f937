// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

func newLimiter(perSecond float64, burst, size int) (*Limiter, *testclock.FakePassiveClock) {
	clock := testclock.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	return New(Options{PerSecond: perSecond, Burst: burst, Size: size, Clock: clock}), clock
}

func step(clock *testclock.FakePassiveClock, d time.Duration) { clock.SetTime(clock.Now().Add(d)) }

// admitted counts how many of n requests come through.
func admitted(l *Limiter, key string, n int) int {
	count := 0
	for range n {
		if ok, _ := l.Allow(key); ok {
			count++
		}
	}
	return count
}

func TestAllow(t *testing.T) {
	l, clock := newLimiter(0.5, 3, 0)
	if got := admitted(l, "a", 10); got != 3 {
		t.Errorf("%d requests at once, want 3", got)
	}
	if ok, wait := l.Allow("a"); ok || wait != 2*time.Second {
		t.Errorf("refused %v, to wait %s, want 2s", !ok, wait)
	}
	if ok, wait := l.Allow("b"); !ok || wait != 0 {
		t.Errorf("another key is refused, or has to wait %s", wait)
	}
	step(clock, 1500*time.Millisecond)
	if ok, wait := l.Allow("a"); ok || wait != 500*time.Millisecond {
		t.Errorf("refused %v, to wait %s, want 500ms: what is refused does not count", !ok, wait)
	}
	step(clock, 500*time.Millisecond)
	if got := admitted(l, "a", 10); got != 1 {
		t.Errorf("%d requests after the time to wait, want 1", got)
	}
	step(clock, time.Hour)
	if got := admitted(l, "a", 10); got != 3 {
		t.Errorf("%d requests after an hour, want 3", got)
	}
	step(clock, -time.Hour)
	if got := admitted(l, "a", 10); got > 1 {
		t.Errorf("%d requests after the clock was set back", got)
	}
}

func TestAllowN(t *testing.T) {
	l, clock := newLimiter(1, 10, 0)
	for _, test := range []struct {
		reason  string
		n       int
		allowed bool
		wait    time.Duration
	}{
		{"all of a burst but three", 7, true, 0},
		{"more than is left: none of them counts", 4, false, time.Second},
		{"what is left", 3, true, 0},
		{"more than a burst counts as one", 1000, false, 10 * time.Second},
		{"nothing counts as one", 0, false, time.Second},
		{"less than nothing too", -5, false, time.Second},
	} {
		if ok, wait := l.AllowN("a", test.n); ok != test.allowed || wait != test.wait {
			t.Errorf("%s: %v, to wait %s, want %v, %s", test.reason, ok, wait, test.allowed, test.wait)
		}
	}
	step(clock, 10*time.Second)
	if ok, _ := l.AllowN("a", 1000); !ok {
		t.Error("a full bucket does not pay for more than a burst")
	}
}

func TestNoLimit(t *testing.T) {
	l := New(Options{})
	if got := admitted(l, "a", 1000); got != 1000 || l.buckets.Len() != 0 {
		t.Errorf("%d requests, want all; %d keys remembered", got, l.buckets.Len())
	}
}

// At usual times old keys make room for new ones, and nobody notices: however many come, for each that leaves had been
// away for long enough.
func TestOldKeysMakeRoom(t *testing.T) {
	const size, burst, eachSecond = 1000, 5, 150
	l, clock := newLimiter(1, burst, size)
	for i := range 10 * size {
		if got := admitted(l, fmt.Sprintf("client %d", i), burst+2); got != burst {
			t.Fatalf("client %d: %d requests, want %d", i, got, burst)
		}
		step(clock, time.Second/eachSecond)
	}
	if l.buckets.Len() > size {
		t.Errorf("%d keys remembered", l.buckets.Len())
	}
}

// Whoever has been counted is not counted anew because others pushed their bucket out.
func TestForgottenKeysBeginEmpty(t *testing.T) {
	const size, burst = 10, 20
	l, clock := newLimiter(1, burst, size)
	total := 0
	for range 120 {
		for i := range 2 * size {
			total += admitted(l, fmt.Sprintf("client %d", i), burst)
		}
	}
	if l.buckets.Len() > size {
		t.Errorf("%d keys remembered", l.buckets.Len())
	}
	if most := size*burst + newcomers*burst; total > most {
		t.Errorf("%d requests in no time, want at most %d", total, most)
	}
	if ok, wait := l.Allow("client of another day"); ok || wait <= 0 || wait > time.Second {
		t.Errorf("allowed %v, to wait %s", ok, wait)
	}
	step(clock, time.Minute)
	if got := admitted(l, "client of another day", 2*burst); got != burst {
		t.Errorf("%d requests a minute later, want %d", got, burst)
	}
}

// An attacker with far more addresses than are remembered.
func TestFlood(t *testing.T) {
	const size, perSecond, burst, seconds, steps = 1000, 2, 5, 30, 50
	l, clock := newLimiter(perSecond, burst, size)
	through, next := 0, 0
	for now := range seconds * steps {
		for i := range 20 { // They were there before the flood, and each comes twice a second.
			if now%(steps/2) != i {
				continue
			}
			if ok, wait := l.Allow(fmt.Sprintf("person %d", i)); !ok {
				t.Errorf("step %d: person %d is refused for %s", now, i, wait)
			}
		}
		if now >= steps/2 {
			for range 2000 / steps {
				next = (next + 1) % 100_000
				through += admitted(l, fmt.Sprintf("attacker %d", next), 1)
			}
		}
		step(clock, time.Second/steps)
	}
	if l.buckets.Len() > size {
		t.Errorf("%d keys remembered, want at most %d", l.buckets.Len(), size)
	}
	if most := (size+newcomers)*burst + (size+newcomers)*perSecond*(seconds+1); through > most {
		t.Errorf("%d of the attacker's requests came through, want at most %d", through, most)
	}
	if through < newcomers*perSecond*(seconds-1) {
		t.Errorf("%d requests came through: unknown keys get less than their share", through)
	}
	// When it is over, everybody is welcome.
	step(clock, 10*time.Second)
	for i := range 10 * size {
		if got := admitted(l, fmt.Sprintf("new person %d", i), 2*burst); got != burst {
			t.Fatalf("new person %d: %d requests, want %d", i, got, burst)
		}
		step(clock, 100*time.Millisecond)
	}
}

func TestConcurrentRequests(t *testing.T) {
	const burst, size = 100, 50
	l, _ := newLimiter(1, burst, size)
	var through atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 500 {
				if ok, _ := l.Allow("everybody's"); ok {
					through.Add(1)
				}
				l.Allow(fmt.Sprintf("worker %d's %d", worker, i%3))
			}
		})
	}
	all.Wait()
	if through.Load() != burst {
		t.Errorf("%d requests of one key, want %d", through.Load(), burst)
	}
}

func TestRealClock(t *testing.T) {
	if ok, _ := New(Options{PerSecond: 1e-6}).Allow("a"); !ok {
		t.Error("the first request is refused")
	}
}
