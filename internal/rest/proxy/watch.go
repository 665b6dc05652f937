// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// stage is what an exchange waits for.
type stage int

// Stages of an attempt, in their order.
const (
	// pausing: for nobody outside; the wait has bounds of its own.
	pausing stage = iota
	// reading: for all of a form.
	reading
	// sending: for the provider to take the caller's body, or for the caller to send it.
	sending
	// asking: for the head of the answer.
	asking
	// answering: for the body of the answer, for the caller to take it, or for the rest of the caller's body.
	answering
)

// lateError says that an exchange stood still.
type lateError struct {
	stage stage
	after time.Duration
	// callers : it was the caller who did not go on.
	callers bool
}

// Error says what did not come.
func (e *lateError) Error() string {
	what := map[stage]string{reading: "the form did not come", sending: "the body was not sent on", asking: "no answer came", answering: "the answer did not go on"}
	return what[e.stage] + " within " + e.after.String()
}

// watch ends an exchange that stands still: while bodies are on their way, for idle since the last bytes of either; else for
// header since the body was sent. Each attempt begins anew. A form has to come whole within form.
type watch struct {
	clock              clock.WithDelayedExecution
	header, idle, form time.Duration
	// expired is called at most once, after the attempt has been cancelled.
	expired func(late *lateError)

	mu       sync.Mutex
	timer    clock.Timer
	deadline time.Time
	stage    stage
	cancel   context.CancelCauseFunc
	stuck    func() bool
	late     *lateError
	ended    bool
}

// begin watches an attempt that cancel ends. stuck tells whether the caller's body is waited for, and takes no lock; nil: there is
// no body.
func (w *watch) begin(cancel context.CancelCauseFunc, stuck func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.stuck = cancel, stuck
	if stuck != nil {
		w.enter(sending)
	} else {
		w.enter(asking)
	}
}

// read watches how a form is read. Nothing is cancelled: whoever reads it has to be freed.
func (w *watch) read() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.stuck = func(error) {}, func() bool { return true }
	w.enter(reading)
}

// touch tells of bytes of a body.
func (w *watch) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == sending || w.stage == answering {
		w.enter(w.stage)
	}
}

// bodySent tells that the caller's body has ended.
func (w *watch) bodySent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == sending {
		w.enter(asking)
	}
}

// answered tells that the head of the answer has come.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enter(answering)
}

// pause watches nothing until the next attempt begins.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enter(pausing)
}

// stood tells what stood still; nil: nothing has.
func (w *watch) stood() *lateError {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

// end stops watching, and tells what stood still; nil: nothing. Nothing is cancelled or called afterwards.
func (w *watch) end() *lateError {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enter(pausing)
	w.ended = true
	return w.late
}

// enter begins to wait. The mutex is held.
func (w *watch) enter(next stage) {
	if w.late != nil || w.ended {
		return
	}
	w.stage = next
	if next == pausing {
		if w.timer != nil {
			w.timer.Stop()
		}
		return
	}
	wait := w.bound()
	w.deadline = w.clock.Now().Add(wait)
	if w.timer == nil {
		w.timer = w.clock.AfterFunc(wait, w.fire)
		return
	}
	w.timer.Reset(wait)
}

func (w *watch) bound() time.Duration {
	switch w.stage {
	case reading:
		return w.form
	case asking:
		return w.header
	case pausing, sending, answering:
	}
	return w.idle
}

// fire is called by the timer. One that was set again, or stopped, while it fired says nothing.
func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.late != nil || w.stage == pausing || w.clock.Now().Before(w.deadline) {
		return
	}
	w.late = &lateError{stage: w.stage, after: w.bound(), callers: w.stuck != nil && w.stuck()}
	w.cancel(w.late)
	w.expired(w.late)
}
