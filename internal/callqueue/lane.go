// SPDX-License-Identifier: Apache-2.0

package callqueue

import (
	"container/list"
	"math"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// DefaultMaxConcurrent is the number of concurrent calls of a lane whose Limits set none.
const DefaultMaxConcurrent = 4

// refillStep is what refill times are rounded up to: time enough for the limiter's floating-point tokens to be full
// without doubt, and short enough to matter to nobody.
const refillStep = time.Millisecond

// Limits bound the calls of one lane.
type Limits struct {
	// RequestsPerSecond is the rate at which calls start, fractions allowed, with bursts of one second's worth and at
	// least one. Zero or less, or not a number: no bound.
	RequestsPerSecond float64
	// MaxConcurrent is the number of calls that run at once; zero or less: DefaultMaxConcurrent. One more may run if
	// it is urgent.
	MaxConcurrent int
}

func (l Limits) maxConcurrent() int {
	if l.MaxConcurrent <= 0 {
		return DefaultMaxConcurrent
	}
	return l.MaxConcurrent
}

// hasRate is false for NaN and infinity, too.
func (l Limits) hasRate() bool {
	return l.RequestsPerSecond > 0 && !math.IsInf(l.RequestsPerSecond, 1)
}

func (l Limits) burst() int {
	return int(min(max(1, math.Ceil(l.RequestsPerSecond)), math.MaxInt32))
}

// lane holds the calls of one application, and exists only while it has calls or its rate's burst is not full: to
// forget it earlier would allow another burst.
type lane struct {
	name    string
	limits  Limits
	limiter *rate.Limiter         // nil: no rate
	waiting [Urgent + 1]list.List // of *entry, by priority
	running int
	timer   clock.Timer // nil: nothing to wait for but calls
}

func (q *Queue) laneFor(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name}
		q.lanes[name] = l
	}
	return l
}

func (q *Queue) retire(l *lane) {
	if !l.busy() && q.lanes[l.name] == l {
		delete(q.lanes, l.name)
	}
}

// arm has the lane dispatched later. Clocks may call back while they hold their own lock, hence the goroutine.
func (q *Queue) arm(l *lane, delay time.Duration) {
	l.timer = q.clock.AfterFunc(delay, func() { go q.fired(l) })
}

func (q *Queue) fired(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// A timer may fire while it is being stopped; by now the lane may have been forgotten.
	if q.lanes[l.name] == l {
		q.dispatch(l)
	}
}

func (l *lane) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

func (l *lane) busy() bool { return l.running > 0 || l.waits() > 0 }

func (l *lane) waits() int {
	total := 0
	for p := range l.waiting {
		total += l.waiting[p].Len()
	}
	return total
}

// setLimits keeps the tokens that the limiter has, so that a changed rate does not give another burst.
func (l *lane) setLimits(limits Limits, now time.Time) {
	switch {
	case !limits.hasRate():
		l.limiter = nil
	case l.limiter == nil:
		l.limiter = rate.NewLimiter(rate.Limit(limits.RequestsPerSecond), limits.burst())
	case limits.RequestsPerSecond != l.limits.RequestsPerSecond:
		l.limiter.SetLimitAt(now, rate.Limit(limits.RequestsPerSecond))
		l.limiter.SetBurstAt(now, limits.burst())
	}
	l.limits = limits
}

// next returns the call whose turn it is, or nil when there is none or no slot for it.
func (l *lane) next() *entry {
	slots := l.limits.maxConcurrent()
	if e := first(&l.waiting[Urgent]); e != nil {
		if l.running <= slots {
			return e
		}
		return nil
	}
	if l.running >= slots {
		return nil
	}
	if e := first(&l.waiting[Soon]); e != nil {
		return e
	}
	return first(&l.waiting[Normal])
}

func first(queue *list.List) *entry {
	element := queue.Front()
	if element == nil {
		return nil
	}
	e, _ := element.Value.(*entry) // push adds nothing else.
	return e
}

// take buys one start from the rate and returns 0, or returns how long to wait and buys nothing.
func (l *lane) take(now time.Time) time.Duration {
	if l.limiter == nil {
		return 0
	}
	reservation := l.limiter.ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay > 0 {
		reservation.CancelAt(now)
	}
	return delay
}

// refill returns the time until the burst is full again.
func (l *lane) refill(now time.Time) time.Duration {
	if l.limiter == nil {
		return 0
	}
	missing := float64(l.limiter.Burst()) - l.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	seconds := math.Min(missing/float64(l.limiter.Limit()), (24 * time.Hour).Seconds())
	return time.Duration(seconds*float64(time.Second)).Truncate(refillStep) + refillStep
}

func (l *lane) push(e *entry) {
	e.lane = l
	e.queue = &l.waiting[e.call.Priority]
	e.element = e.queue.PushBack(e)
}

func (e *entry) unqueue() {
	e.queue.Remove(e.element)
	e.queue, e.element = nil, nil
}
