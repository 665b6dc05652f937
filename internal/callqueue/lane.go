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

// maxOvertaken is how many calls in a row may go ahead of one of lower priority that could go instead. Whoever can cause
// urgent calls at will, by writing a code every second, must not keep an application's other tokens from being refreshed.
const maxOvertaken = 4

// refillStep is what refill times are rounded up to: time enough for the limiter's floating-point tokens to be full
// without doubt, and short enough to matter to nobody.
const refillStep = time.Millisecond

// Limits bound the calls of one lane.
type Limits struct {
	// RequestsPerSecond is the rate at which calls start, fractions allowed, with bursts of one second's worth and at
	// least one. Zero or less, or not a number: no bound.
	RequestsPerSecond float64
	// MaxConcurrent is the number of calls that run at once; zero or less: DefaultMaxConcurrent. One more may run: an
	// urgent one, or beside urgent ones another that these have overtaken often.
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
	// regular counts the running calls that are not urgent.
	regular int
	// overtaken counts, by priority, the starts of higher priority since the last one of this priority.
	overtaken [Urgent]int
	timer     clock.Timer // nil: nothing to wait for but calls
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
	if e := l.owed(); e != nil {
		return e
	}
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

// owed returns the call that has been overtaken often enough to go first now. It may share the slot beyond the limit with
// urgent calls, or these could pass the slots from one to the next for ever.
func (l *lane) owed() *entry {
	slots := l.limits.maxConcurrent()
	if l.regular >= slots || l.running > slots {
		return nil
	}
	for p, overtaken := range l.overtaken {
		if e := first(&l.waiting[p]); e != nil && overtaken >= maxOvertaken {
			return e
		}
	}
	return nil
}

// begin moves a call from those that wait to those that run. While calls that are not urgent hold all regular slots, an
// urgent one takes nothing from those that wait, and overtakes nobody.
func (l *lane) begin(e *entry) {
	e.unqueue()
	competes := l.regular < l.limits.maxConcurrent()
	for p := range e.call.Priority {
		switch {
		case l.waiting[p].Len() == 0:
			l.overtaken[p] = 0
		case competes:
			l.overtaken[p]++
		}
	}
	l.running++
	if e.call.Priority != Urgent {
		l.overtaken[e.call.Priority] = 0
		l.regular++
	}
}

func (l *lane) end(e *entry) {
	l.running--
	if e.call.Priority != Urgent {
		l.regular--
	}
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
