// SPDX-License-Identifier: Apache-2.0

package callqueue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"
)

const crm = "platform/crm"

// provider answers calls when the test says so and remembers their order.
type provider struct {
	queue *Queue
	clock *clocktesting.FakeClock

	mu      sync.Mutex
	started []string
	answers map[string]chan struct{}
	ended   []string
}

// inBubble gives a test a queue whose goroutines synctest.Wait waits for; the queue's time is the fake clock's.
func inBubble(t *testing.T, test func(t *testing.T, p *provider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		clock := clocktesting.NewFakeClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
		p := &provider{queue: New(Options{Clock: clock}), clock: clock, answers: map[string]chan struct{}{}}
		// Deferred: a bubble that keeps goroutines after a failure would hide the failure behind a panic.
		defer p.end(t)
		test(t, p)
	})
}

func (p *provider) end(t *testing.T) {
	t.Helper()
	p.queue.Close()
	p.answerAll()
	if err := p.queue.Wait(t.Context()); err != nil {
		t.Errorf("calls still run at the end: %v", err)
	}
	if stats := p.queue.Stats(); len(stats.Lanes) != 0 {
		t.Errorf("lanes left behind: %v", stats.Lanes)
	}
	if p.clock.HasWaiters() {
		t.Error("a timer is left behind")
	}
}

// call returns a call that hangs until it is answered.
func (p *provider) call(key string, limits Limits) Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := make(chan struct{})
	p.answers[key] = answer
	return Call{Key: key, Lane: crm, Limits: limits, Run: func(context.Context) {
		p.mu.Lock()
		p.started = append(p.started, key)
		p.mu.Unlock()
		<-answer
		p.mu.Lock()
		p.ended = append(p.ended, key)
		p.mu.Unlock()
	}}
}

func (p *provider) submit(t *testing.T, call Call, want State) {
	t.Helper()
	if got := p.queue.Submit(call); got != want {
		t.Fatalf("Submit(%s) = %v, want %v", call.Key, got, want)
	}
	synctest.Wait()
}

func (p *provider) answer(key string) {
	p.mu.Lock()
	close(p.answers[key])
	delete(p.answers, key)
	p.mu.Unlock()
	synctest.Wait()
}

func (p *provider) answerAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, answer := range p.answers {
		close(answer)
		delete(p.answers, key)
	}
}

func (p *provider) step(d time.Duration) {
	p.clock.Step(d)
	synctest.Wait()
}

func (p *provider) wantStarted(t *testing.T, reason string, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.started, want) {
		t.Fatalf("%s: started %v, want %v", reason, p.started, want)
	}
}

func urgent(call Call) Call {
	call.Priority = Urgent
	return call
}

func soon(call Call) Call {
	call.Priority = Soon
	return call
}

func TestUrgentCallsOvertakeAllThatWait(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("hanging", limits), Running)
		for i := range 2000 {
			if got := p.queue.Submit(p.call(fmt.Sprintf("refresh-%d", i), limits)); got != Waiting {
				t.Fatalf("refresh %d is %v, want Waiting", i, got)
			}
		}
		p.submit(t, urgent(p.call("code-1", limits)), Running)
		p.wantStarted(t, "one slot more for codes", "hanging", "code-1")

		p.submit(t, urgent(p.call("code-2", limits)), Waiting)
		p.submit(t, urgent(p.call("code-3", limits)), Waiting)
		want := LaneStats{Waiting: 2002, WaitingUrgent: 2, Running: 2}
		if got := p.queue.Stats().Lanes[crm]; got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
		p.answer("code-1")
		p.answer("code-2")
		p.wantStarted(t, "codes go first, in their own order", "hanging", "code-1", "code-2", "code-3")
		p.answer("hanging")
		p.wantStarted(t, "the code holds the only regular slot", "hanging", "code-1", "code-2", "code-3")
		p.answer("code-3")
		p.wantStarted(t, "then the oldest refresh", "hanging", "code-1", "code-2", "code-3", "refresh-0")
		p.answer("refresh-0")
		p.wantStarted(t, "and the next", "hanging", "code-1", "code-2", "code-3", "refresh-0", "refresh-1")
	})
}

func TestSoonGoesAheadOfNormalAndBehindUrgent(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("hanging", limits), Running)
		p.submit(t, p.call("refresh", limits), Waiting)
		p.submit(t, soon(p.call("revocation-1", limits)), Waiting)
		p.submit(t, soon(p.call("revocation-2", limits)), Waiting)
		p.wantStarted(t, "the slot beyond the limit is for urgent calls alone", "hanging")
		p.submit(t, urgent(p.call("code-1", limits)), Running)
		p.submit(t, urgent(p.call("code-2", limits)), Waiting)
		p.answer("hanging")
		p.answer("code-1")
		p.answer("code-2")
		p.answer("revocation-1")
		p.answer("revocation-2")
		p.wantStarted(t, "by priority, then by age",
			"hanging", "code-1", "code-2", "revocation-1", "revocation-2", "refresh")
	})
}

func TestWaitingCallRisesToSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("a", limits), Running)
		p.submit(t, p.call("b", limits), Waiting)
		c := p.call("c", limits)
		p.submit(t, c, Waiting)
		p.submit(t, soon(c), Waiting)
		p.submit(t, c, Waiting)
		p.answer("a")
		p.wantStarted(t, "a refresh that has become a revocation", "a", "c")
	})
}

func TestRateIsSharedWithWhoeverIsOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{RequestsPerSecond: 1, MaxConcurrent: 100}
		p.submit(t, p.call("first", limits), Running)
		for i := range 3 {
			p.submit(t, p.call(fmt.Sprint("refresh-", i), limits), Waiting)
		}
		p.submit(t, soon(p.call("revocation", limits)), Waiting)
		for i := range 8 { // A new code for every turn.
			p.submit(t, urgent(p.call(fmt.Sprint("code-", i), limits)), Waiting)
			p.step(time.Second)
		}
		p.step(time.Second)
		p.wantStarted(t, "four overtake, then one that was overtaken goes", "first",
			"code-0", "code-1", "code-2", "code-3", "refresh-0", "revocation", "code-4", "code-5", "code-6")
		p.step(time.Second)
		p.step(time.Second)
		p.wantStarted(t, "and again", "first",
			"code-0", "code-1", "code-2", "code-3", "refresh-0", "revocation", "code-4", "code-5", "code-6", "refresh-1", "code-7")
	})
}

func TestSlotsAreSharedWithWhoeverIsOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, urgent(p.call("code-0", limits)), Running)
		p.submit(t, p.call("refresh-0", limits), Waiting)
		p.submit(t, p.call("refresh-1", limits), Waiting)
		want := []string{"code-0"}
		for i := range 4 { // One code always runs already when another ends.
			next := fmt.Sprint("code-", i+1)
			p.submit(t, urgent(p.call(next, limits)), Running)
			p.answer(fmt.Sprint("code-", i))
			want = append(want, next)
		}
		want = append(want, "refresh-0")
		p.wantStarted(t, "codes hold every slot in turn; after four, a refresh has one of them", want...)
		p.submit(t, urgent(p.call("code-5", limits)), Waiting)
		p.answer("code-4")
		want = append(want, "code-5")
		p.wantStarted(t, "the next code waits for a code, not for the refresh", want...)
		for i := range 20 {
			next := fmt.Sprint("code-", i+6)
			p.submit(t, urgent(p.call(next, limits)), Waiting)
			p.answer(fmt.Sprint("code-", i+5))
			want = append(want, next)
		}
		p.wantStarted(t, "a refresh holds its slot, so codes in theirs take nothing from others", want...)
	})
}

func TestMaxConcurrent(t *testing.T) {
	for _, test := range []struct {
		reason string
		limit  int
		want   int
	}{
		{reason: "the default", limit: 0, want: DefaultMaxConcurrent},
		{reason: "nonsense is the default", limit: -3, want: DefaultMaxConcurrent},
		{reason: "as set", limit: 7, want: 7},
	} {
		t.Run(test.reason, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				for i := range 20 {
					p.queue.Submit(p.call(fmt.Sprint(i), Limits{MaxConcurrent: test.limit}))
				}
				if got := p.queue.Stats().Lanes[crm].Running; got != test.want {
					t.Errorf("%d calls run, want %d", got, test.want)
				}
				for i := range 3 {
					p.queue.Submit(urgent(p.call(fmt.Sprint("code-", i), Limits{MaxConcurrent: test.limit})))
				}
				if got := p.queue.Stats().Lanes[crm].Running; got != test.want+1 {
					t.Errorf("with codes, %d calls run, want %d", got, test.want+1)
				}
			})
		})
	}
}

func TestNewestMaxConcurrentHoldsForAll(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		for i := range 6 {
			p.queue.Submit(p.call(fmt.Sprint(i), Limits{MaxConcurrent: 2}))
		}
		running := func() int { return p.queue.Stats().Lanes[crm].Running }
		if running() != 2 {
			t.Fatalf("%d calls run, want 2", running())
		}
		p.submit(t, p.call("raised", Limits{MaxConcurrent: 4}), Waiting)
		if running() != 4 {
			t.Fatalf("%d calls run after the limit was raised, want 4", running())
		}
		p.submit(t, Call{Key: "0", Lane: crm, Limits: Limits{MaxConcurrent: 1}, Run: func(context.Context) {}}, Running)
		for i, want := range []int{3, 2, 1, 1} {
			p.answer(fmt.Sprint(i))
			if running() != want {
				t.Fatalf("%d calls run after the limit was lowered and %d answers, want %d", running(), i+1, want)
			}
		}
	})
}

func TestRate(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{RequestsPerSecond: 0.5, MaxConcurrent: 10}
		p.submit(t, p.call("a", limits), Running)
		p.submit(t, p.call("b", limits), Waiting)
		p.submit(t, p.call("c", limits), Waiting)
		p.step(1999 * time.Millisecond)
		p.wantStarted(t, "two seconds are not over", "a")
		p.step(time.Millisecond)
		p.wantStarted(t, "one more every two seconds", "a", "b")
		p.submit(t, urgent(p.call("code", limits)), Waiting)
		p.step(2 * time.Second)
		p.wantStarted(t, "a code goes first, but not faster", "a", "b", "code")
		p.step(2 * time.Second)
		p.wantStarted(t, "one more every two seconds", "a", "b", "code", "c")
	})
}

func TestRateAllowsBurstsOfASecond(t *testing.T) {
	for _, test := range []struct {
		reason string
		rate   float64
		want   int
	}{
		{reason: "at least one", rate: 0.001, want: 1},
		{reason: "rounded up", rate: 2.5, want: 3},
		{reason: "no rate", rate: 0, want: 50},
		{reason: "a negative rate is none", rate: -1, want: 50},
		{reason: "not a number is none", rate: math.NaN(), want: 50},
		{reason: "infinite is none", rate: math.Inf(1), want: 50},
		{reason: "more than an int holds", rate: 1e300, want: 50},
	} {
		t.Run(test.reason, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				for i := range 50 {
					p.queue.Submit(p.call(fmt.Sprint(i), Limits{RequestsPerSecond: test.rate, MaxConcurrent: 100}))
				}
				if got := p.queue.Stats().Lanes[crm].Running; got != test.want {
					t.Errorf("%d calls run at once, want %d", got, test.want)
				}
			})
		})
	}
}

func TestRateIsRememberedUntilItsBurstIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{RequestsPerSecond: 0.5}
		p.submit(t, p.call("a", limits), Running)
		p.answer("a")
		p.step(time.Second)
		p.submit(t, p.call("b", limits), Waiting)
		p.step(time.Second)
		p.wantStarted(t, "an idle lane keeps its rate", "a", "b")
		p.answer("b")
		if len(p.queue.Stats().Lanes) != 1 {
			t.Error("the lane was forgotten before its burst was full")
		}
		p.step(2*time.Second + refillStep)
		if lanes := p.queue.Stats().Lanes; len(lanes) != 0 {
			t.Errorf("an idle lane is kept: %v", lanes)
		}
	})
}

func TestRateChangesWhileCallsWait(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		slow := Limits{RequestsPerSecond: 0.001}
		p.submit(t, p.call("a", slow), Running)
		p.submit(t, p.call("b", slow), Waiting)
		fast := Limits{RequestsPerSecond: 1}
		p.submit(t, p.call("c", fast), Waiting)
		p.step(time.Second)
		p.wantStarted(t, "the new rate holds for calls that wait", "a", "b")
		p.submit(t, p.call("d", Limits{}), Running)
		if got := p.queue.Stats().Lanes[crm]; got != (LaneStats{Running: 4}) {
			t.Errorf("stats without a rate = %+v, want all four running", got)
		}
	})
}

func TestHangingLaneDelaysNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		for i := range 10 {
			p.queue.Submit(p.call(fmt.Sprint("hanging-", i), Limits{}))
		}
		for i := range 10 {
			call := p.call(fmt.Sprint("other-", i), Limits{})
			call.Lane = "platform/other"
			p.queue.Submit(call)
			p.answer(call.Key)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.ended) != 10 {
			t.Errorf("calls that ended: %v, want the ten of the other lane", p.ended)
		}
	})
}

func TestOneCallPerKey(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("a", limits), Running)
		unwanted := Call{Key: "a", Lane: crm, Limits: limits, Run: func(context.Context) { t.Error("a ran twice") }}
		p.submit(t, unwanted, Running)
		p.submit(t, urgent(unwanted), Running)

		stale := Call{Key: "b", Lane: crm, Limits: limits, Run: func(context.Context) { t.Error("a stale Run was called") }}
		p.submit(t, stale, Waiting)
		p.submit(t, p.call("c", limits), Waiting)
		p.submit(t, p.call("b", limits), Waiting)
		p.answer("a")
		p.wantStarted(t, "the place is kept, the newest Run counts", "a", "b")
		if got := p.queue.State("a"); got != Absent {
			t.Errorf("state of a = %v, want Absent", got)
		}
	})
}

func TestWaitingCallBecomesUrgent(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("a", limits), Running)
		p.submit(t, urgent(p.call("b", limits)), Running)
		p.submit(t, p.call("c", limits), Waiting)
		d := p.call("d", limits)
		p.submit(t, d, Waiting)
		p.submit(t, urgent(d), Waiting)
		p.submit(t, d, Waiting)
		p.answer("b")
		p.wantStarted(t, "once urgent, always urgent", "a", "b", "d")
	})
}

func TestWaitingCallChangesItsLane(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1}
		p.submit(t, p.call("a", limits), Running)
		b := p.call("b", limits)
		p.submit(t, b, Waiting)
		b.Lane = "platform/other"
		p.submit(t, b, Running)
		if got := p.queue.Stats().Lanes[crm]; got != (LaneStats{Running: 1}) {
			t.Errorf("stats of the former lane = %+v, want one running call", got)
		}
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{RequestsPerSecond: 1}
		p.submit(t, p.call("a", limits), Running)
		p.submit(t, p.call("b", limits), Waiting)
		p.submit(t, p.call("c", limits), Waiting)
		p.queue.Cancel("b")
		p.queue.Cancel("a")
		p.queue.Cancel("unknown")
		if a, b := p.queue.State("a"), p.queue.State("b"); a != Running || b != Absent {
			t.Errorf("states of a, b = %v, %v; want Running, Absent", a, b)
		}
		p.step(time.Second)
		p.wantStarted(t, "b is gone", "a", "c")
	})
}

func TestDoneFindsTheKeyFree(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		first := p.call("a", Limits{})
		first.Done = func() {
			if got := p.queue.Submit(p.call("a", Limits{})); got != Running {
				t.Errorf("Submit of the same key in Done = %v, want Running", got)
			}
		}
		p.submit(t, first, Running)
		p.answer("a")
		p.wantStarted(t, "the next call of the key", "a", "a")
	})
}

func TestCloseAndWait(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		limits := Limits{MaxConcurrent: 1, RequestsPerSecond: 10}
		var cause error
		a := p.call("a", limits)
		run := a.Run
		a.Run = func(ctx context.Context) {
			run(ctx)
			cause = context.Cause(ctx)
		}
		done := false
		a.Done = func() { done = true }
		p.submit(t, a, Running)
		p.submit(t, p.call("b", limits), Waiting)
		p.queue.Close()
		p.submit(t, p.call("c", limits), Absent)
		p.submit(t, urgent(p.call("d", limits)), Absent)
		p.submit(t, a, Running)
		if got := p.queue.State("b"); got != Absent {
			t.Errorf("b is %v after Close, want Absent", got)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.queue.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait while a call runs = %v, want the deadline's error", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- p.queue.Wait(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-waited:
			t.Fatalf("Wait returned %v while a call runs", err)
		default:
		}
		p.answer("a")
		if err := <-waited; err != nil {
			t.Errorf("Wait = %v", err)
		}
		if cause != nil || !done {
			t.Errorf("the running call: context cause %v, Done called: %v; want none, true", cause, done)
		}
		p.step(time.Hour)
		p.wantStarted(t, "nothing starts after Close", "a")
	})
}

func TestPanicIsLoggedAndCounted(t *testing.T) {
	for _, test := range []struct {
		reason string
		call   Call
		want   int64
	}{
		{reason: "Run panics", want: 1, call: Call{Run: func(context.Context) { panic("boom") }}},
		{reason: "Done panics", want: 1, call: Call{Run: func(context.Context) {}, Done: func() { panic("boom") }}},
		{reason: "Run ends its goroutine", want: 0, call: Call{Run: func(context.Context) { runtime.Goexit() }}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			var mu sync.Mutex
			var logged strings.Builder
			log := funcr.New(func(_, args string) {
				mu.Lock()
				defer mu.Unlock()
				logged.WriteString(args)
			}, funcr.Options{})
			queue := New(Options{Log: log})
			test.call.Key, test.call.Lane = "a", crm
			test.call.Limits.MaxConcurrent = 1
			queue.Submit(test.call)
			after := make(chan struct{})
			queue.Submit(Call{Key: "b", Lane: crm, Run: func(ctx context.Context) {
				logr.FromContextOrDiscard(ctx).Info("after")
				close(after)
			}})
			<-after
			if err := queue.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			stats := queue.Stats()
			if stats.Panics != test.want || len(stats.Lanes) != 0 {
				t.Errorf("stats = %+v, want %d panics and no lane", stats, test.want)
			}
			if got := strings.Contains(logged.String(), `"error"="panic: boom"`); got != (test.want > 0) {
				t.Errorf("panic logged: %v, want %v; log: %s", got, test.want > 0, logged.String())
			}
			if !strings.Contains(logged.String(), `"after" "call"="b" "lane"="platform/crm"`) {
				t.Errorf("a call's context has no logger with its names; log: %s", logged.String())
			}
		})
	}
}

// TestConcurrentUse lets the race detector see all methods at once, and checks that every accepted call ends.
func TestConcurrentUse(t *testing.T) {
	queue := New(Options{})
	var mu sync.Mutex
	running, most := map[string]int{}, 0
	var users sync.WaitGroup
	for user := range 8 {
		users.Go(func() {
			for i := range 200 {
				l := fmt.Sprint("lane-", i%3)
				queue.Submit(Call{
					Key: fmt.Sprintf("%d-%d", user%4, i), Lane: l, Priority: Priority(i % 7),
					Limits: Limits{MaxConcurrent: 2, RequestsPerSecond: 20000},
					Run: func(context.Context) {
						mu.Lock()
						running[l]++
						most = max(most, running[l])
						mu.Unlock()
						runtime.Gosched()
						mu.Lock()
						running[l]--
						mu.Unlock()
					},
				})
				queue.State(fmt.Sprintf("%d-%d", user%4, i))
				queue.Cancel(fmt.Sprintf("%d-%d", (user+1)%4, i))
				queue.Stats()
			}
		})
	}
	users.Wait()
	queue.Close()
	if err := queue.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if most > 3 {
		t.Errorf("%d calls of a lane ran at once, want at most 2 and an urgent one", most)
	}
}

func TestStateString(t *testing.T) {
	for state, want := range map[State]string{Absent: "Absent", Waiting: "Waiting", Running: "Running", 9: "State(9)"} {
		if got := state.String(); got != want {
			t.Errorf("State(%d).String() = %q, want %q", int(state), got, want)
		}
	}
}

// BenchmarkSubmit measures a call from Submit to the end of its goroutine.
func BenchmarkSubmit(b *testing.B) {
	for _, limits := range []Limits{{MaxConcurrent: 4}, {MaxConcurrent: 4, RequestsPerSecond: 1e9}} {
		b.Run(fmt.Sprintf("rate=%g", limits.RequestsPerSecond), func(b *testing.B) {
			queue := New(Options{})
			keys := make([]string, 1024)
			for i := range keys {
				keys[i] = fmt.Sprint(i)
			}
			ended := make(chan struct{}, len(keys))
			run := func(context.Context) {}
			done := func() { ended <- struct{}{} }
			b.ReportAllocs()
			for b.Loop() {
				for _, key := range keys {
					queue.Submit(Call{Key: key, Lane: crm, Limits: limits, Run: run, Done: done})
				}
				for range keys {
					<-ended
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/call")
		})
	}
}

// BenchmarkUrgentBehindBacklog measures what a code waits for besides its turn, behind 2000 refreshes.
func BenchmarkUrgentBehindBacklog(b *testing.B) {
	queue := New(Options{})
	release := make(chan struct{})
	for i := range 2000 {
		queue.Submit(Call{Key: fmt.Sprint(i), Lane: crm, Run: func(context.Context) { <-release }})
	}
	ended := make(chan struct{})
	done := func() { ended <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		queue.Submit(Call{Key: "code", Lane: crm, Priority: Urgent, Run: func(context.Context) {}, Done: done})
		<-ended
	}
	queue.Close()
	close(release)
	if err := queue.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
}
