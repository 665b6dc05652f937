// SPDX-License-Identifier: Apache-2.0

// Package callqueue runs the calls to OAuth providers outside the reconcile workers. Calls of one application share a
// lane with its limits; lanes know nothing of each other, so a provider that hangs delays nobody else's calls.
package callqueue

import (
	"container/list"
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// Call is one call to a provider. Its zero Limits mean no rate and the default number of concurrent calls.
type Call struct {
	// Key identifies the call; at most one call with this key waits or runs.
	Key string
	// Lane is the application, "namespace/name": calls with the same lane share limits.
	Lane string
	// Priority is the call's place among those that wait in the lane.
	Priority Priority
	// Limits of the lane; those of the newest Submit hold for all its calls.
	Limits Limits
	// Run makes the call, in its own goroutine. Close does not cancel the context, because an answer that has come must
	// still be written: Run itself bounds the provider's time. The context carries the queue's logger.
	Run func(ctx context.Context)
	// Done, when set, is called after Run once the key is free again, so that a Submit which it causes is not refused
	// as still running. It is also called after a panic of Run.
	Done func()
}

// Priority orders the calls that wait in a lane; those of one priority go in the order in which they came. After four
// calls in a row that went ahead of one it could do instead, the lane does one of lower priority.
type Priority int

const (
	// Normal is for what has time: refreshes.
	Normal Priority = iota
	// Soon is for what somebody waits for: revocations hold up a deletion.
	Soon
	// Urgent is for authorization codes, which live for a minute or less: such a call may also take one slot beyond
	// Limits.MaxConcurrent.
	Urgent
)

func (c Call) priority() Priority {
	return min(max(c.Priority, Normal), Urgent)
}

// State says where the call of a key is.
type State int

const (
	// Absent : the key neither waits nor runs.
	Absent State = iota
	// Waiting : the call has not begun.
	Waiting
	// Running : Run has been called, or is about to be, and has not returned.
	Running
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Absent:
		return "Absent"
	case Waiting:
		return "Waiting"
	case Running:
		return "Running"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Options of a Queue.
type Options struct {
	// Clock for the rate limits; default: the real one.
	Clock clock.WithDelayedExecution
	// Log takes panics of calls and is in the context of every call; default: nothing is logged.
	Log logr.Logger
}

// LaneStats are the numbers of one lane at one moment.
type LaneStats struct {
	// Waiting calls of any priority.
	Waiting int
	// WaitingUrgent counts the urgent ones among them.
	WaitingUrgent int
	// Running calls.
	Running int
}

// Stats are the numbers of a queue at one moment, for metrics.
type Stats struct {
	// Lanes in use, by Call.Lane. A lane that only remembers its rate has zeros.
	Lanes map[string]LaneStats
	// Panics of calls since the queue was made.
	Panics int64
}

// Queue runs calls. It is safe for concurrent use; it has no goroutine of its own.
type Queue struct {
	clock clock.WithDelayedExecution
	log   logr.Logger

	mu      sync.Mutex
	closed  bool
	lanes   map[string]*lane
	entries map[string]*entry
	// active counts started calls up to the end of their Done.
	active int
	// idle is closed when active falls to zero; nil while nobody waits for that.
	idle   chan struct{}
	panics int64
}

// entry is a call that waits or runs.
type entry struct {
	call    Call
	lane    *lane
	running bool
	// queue and element are the place in the lane while the call waits.
	queue   *list.List
	element *list.Element
}

// New returns a queue that is ready for calls.
func New(options Options) *Queue {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Log.GetSink() == nil {
		options.Log = logr.Discard()
	}
	return &Queue{
		clock:   options.Clock,
		log:     options.Log,
		lanes:   map[string]*lane{},
		entries: map[string]*entry{},
	}
}

// Submit queues a call, starts it at once where the limits allow, and returns the state of its key. Of a call that
// waits already, the newest Run counts while its place is kept, unless its priority rises or its lane changes; its
// priority never falls. A call that runs is left alone. After Close, nothing is accepted.
func (q *Queue) Submit(call Call) State {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return q.stateLocked(call.Key)
	}
	call.Priority = call.priority()
	l := q.laneFor(call.Lane)
	l.setLimits(call.Limits, q.clock.Now())
	switch e := q.entries[call.Key]; {
	case e == nil:
		e = &entry{call: call}
		q.entries[call.Key] = e
		l.push(e)
	case !e.running:
		q.replace(e, call, l)
	}
	q.dispatch(l)
	return q.stateLocked(call.Key)
}

// replace puts a new call in the place of a waiting one.
func (q *Queue) replace(e *entry, call Call, l *lane) {
	call.Priority = max(call.Priority, e.call.Priority)
	former, moves := e.lane, e.lane != l || e.call.Priority != call.Priority
	e.call = call
	if !moves {
		return
	}
	e.unqueue()
	l.push(e)
	if former != l {
		q.dispatch(former)
	}
}

// State returns the state of a key.
func (q *Queue) State(key string) State {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stateLocked(key)
}

func (q *Queue) stateLocked(key string) State {
	switch e := q.entries[key]; {
	case e == nil:
		return Absent
	case e.running:
		return Running
	default:
		return Waiting
	}
}

// Cancel drops a waiting call. A running one is left alone.
func (q *Queue) Cancel(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[key]
	if e == nil || e.running {
		return
	}
	delete(q.entries, key)
	e.unqueue()
	q.dispatch(e.lane)
}

// Close drops all waiting calls and starts no other: the lease is lost or the process ends. Running calls go on; Wait
// waits for them.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for key, e := range q.entries {
		if !e.running {
			delete(q.entries, key)
			e.unqueue()
		}
	}
	for _, l := range q.lanes {
		q.dispatch(l)
	}
}

// Wait returns nil as soon as no call runs, and the context's error if that ends first.
func (q *Queue) Wait(ctx context.Context) error {
	q.mu.Lock()
	if q.active == 0 {
		q.mu.Unlock()
		return nil
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for running provider calls: %w", context.Cause(ctx))
	}
}

// Stats returns the present numbers.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	stats := Stats{Lanes: make(map[string]LaneStats, len(q.lanes)), Panics: q.panics}
	for name, l := range q.lanes {
		stats.Lanes[name] = LaneStats{
			Waiting:       l.waits(),
			WaitingUrgent: l.waiting[Urgent].Len(),
			Running:       l.running,
		}
	}
	return stats
}

// dispatch starts what may start in a lane, and arms its timer or forgets it.
func (q *Queue) dispatch(l *lane) {
	l.stopTimer()
	if q.closed {
		q.retire(l)
		return
	}
	now := q.clock.Now()
	for e := l.next(); e != nil; e = l.next() {
		if delay := l.take(now); delay > 0 {
			q.arm(l, delay)
			return
		}
		q.start(e)
	}
	if l.busy() {
		return
	}
	if refill := l.refill(now); refill > 0 {
		q.arm(l, refill)
		return
	}
	q.retire(l)
}

func (q *Queue) start(e *entry) {
	e.lane.begin(e)
	e.running = true
	q.active++
	go q.run(e)
}

// run is the goroutine of one call. The deferred steps also hold for a Run that panics or ends its goroutine.
func (q *Queue) run(e *entry) {
	log := q.log.WithValues("call", e.call.Key, "lane", e.call.Lane)
	defer q.ended()
	defer q.guard(log, e.call.Done)
	defer q.release(e)
	q.guard(log, func() { e.call.Run(logr.NewContext(context.Background(), log)) })
}

// guard does what controller-runtime does with a reconciler that panics: one broken call must neither end the process,
// which may hold the only copy of a rotated token, nor go unseen.
func (q *Queue) guard(log logr.Logger, f func()) {
	if f == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			q.mu.Lock()
			q.panics++
			q.mu.Unlock()
			log.Error(fmt.Errorf("panic: %v", r), "provider call panicked", "stack", string(debug.Stack()))
		}
	}()
	f()
}

// release gives slot and key back.
func (q *Queue) release(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.entries, e.call.Key)
	e.lane.end(e)
	q.dispatch(e.lane)
}

func (q *Queue) ended() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.active--
	if q.active == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}
