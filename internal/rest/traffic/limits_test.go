// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

func TestLimitsOf(t *testing.T) {
	for name, row := range map[string]struct {
		spec    *v1alpha1.APILimits
		want    traffic.Limits
		headers traffic.RateLimitHeaders
	}{
		"none": {nil, traffic.Limits{Application: traffic.Limit{MaxConcurrent: 256}, Connection: traffic.Limit{MaxConcurrent: 64}}, traffic.RateLimitHeaders{}},
		"empty": {
			&v1alpha1.APILimits{Connection: &v1alpha1.ConnectionAPILimits{}},
			traffic.Limits{Application: traffic.Limit{MaxConcurrent: 256}, Connection: traffic.Limit{MaxConcurrent: 64}},
			traffic.RateLimitHeaders{},
		},
		"all": {
			&v1alpha1.APILimits{
				RequestsPerSecond: new(resource.MustParse("2500m")), MaxConcurrent: 3,
				Connection:      &v1alpha1.ConnectionAPILimits{RequestsPerSecond: new(resource.MustParse("1")), MaxConcurrent: 2},
				RemainingHeader: "X-Remaining", ResetHeader: "X-Reset",
			},
			traffic.Limits{
				Application: traffic.Limit{RequestsPerSecond: 2.5, MaxConcurrent: 3}, Connection: traffic.Limit{RequestsPerSecond: 1, MaxConcurrent: 2},
			},
			traffic.RateLimitHeaders{Remaining: "X-Remaining", Reset: "X-Reset"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := traffic.LimitsOf(row.spec); got != row.want {
				t.Errorf("limits %+v, want %+v", got, row.want)
			}
			if got := traffic.HeadersOf(row.spec); got != row.headers {
				t.Errorf("headers %+v, want %+v", got, row.headers)
			}
		})
	}
}

// narrow are limits of the connection or of the application.
func narrow(ofApplication bool, limit traffic.Limit) traffic.Limits {
	limits := wide()
	if ofApplication {
		limits.Application = limit
	} else {
		limits.Connection = limit
	}
	return limits
}

// eachLevel runs a test with a limit on the connection and on the application.
func eachLevel(t *testing.T, test func(t *testing.T, limits func(traffic.Limit) traffic.Limits)) {
	t.Helper()
	for name, ofApplication := range map[string]bool{"connection": false, "application": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, func(l traffic.Limit) traffic.Limits { return narrow(ofApplication, l) })
			})
		})
	}
}

func TestConcurrency(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, two := traffic.New(traffic.Options{}), limits(traffic.Limit{MaxConcurrent: 2})
		first, second := entered(t, g, keyOf("a"), two), entered(t, g, keyOf("a"), two)
		third, fourth := begin(t.Context(), g, keyOf("a"), two), begin(t.Context(), g, keyOf("a"), two)
		waits(t, third)
		first.leave(traffic.Answered)
		first.leave(traffic.Answered) // It leaves once.
		if a := came(t, third); a.err != nil {
			t.Fatal(a.err)
		}
		waits(t, fourth) // The order of coming.
		second.leave(traffic.Neutral)
		if a := came(t, fourth); a.err != nil {
			t.Fatal(a.err)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, one := traffic.New(traffic.Options{}), limits(traffic.Limit{MaxConcurrent: 1})
		first := entered(t, g, keyOf("a"), one)
		a := enter(t.Context(), g, keyOf("a"), one)
		refused(t, a, problem.RateLimited, time.Second)
		if a.waited != traffic.DefaultMaxWait {
			t.Errorf("it waited %s", a.waited)
		}
		first.leave(traffic.Answered)
		if next := entered(t, g, keyOf("a"), one); next.waited != 0 {
			t.Errorf("the place of what gave up is still taken: %s", next.waited)
		}
	})
}

// TestGivingUp: whoever goes away leaves its place to those behind it.
func TestGivingUp(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, one := traffic.New(traffic.Options{}), limits(traffic.Limit{MaxConcurrent: 1})
		first := entered(t, g, keyOf("a"), one)
		ctx, cancel := context.WithCancel(t.Context())
		away := begin(ctx, g, keyOf("a"), one)
		short, done := context.WithTimeout(t.Context(), 3*time.Second)
		defer done()
		timed := begin(short, g, keyOf("a"), one)
		last := begin(t.Context(), g, keyOf("a"), one)
		cancel()
		if a := came(t, away); !errors.Is(a.err, context.Canceled) || a.waited != 0 {
			t.Errorf("the one that was cancelled: %v after %s", a.err, a.waited)
		}
		a := <-timed
		refused(t, a, problem.RateLimited, time.Second)
		if a.waited != 3*time.Second {
			t.Errorf("it waited %s beyond its deadline", a.waited)
		}
		waits(t, last)
		first.leave(traffic.Answered)
		if a := came(t, last); a.err != nil {
			t.Error(a.err)
		}
	})
}

// TestConnectionsDoNotStarveEachOther: what waits for its connection holds no place of the application.
func TestConnectionsDoNotStarveEachOther(t *testing.T) {
	for name, limits := range map[string]traffic.Limits{
		"concurrency": {Application: traffic.Limit{MaxConcurrent: 2}, Connection: traffic.Limit{MaxConcurrent: 1}},
		"rate":        {Application: traffic.Limit{MaxConcurrent: 2}, Connection: traffic.Limit{MaxConcurrent: 9, RequestsPerSecond: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := traffic.New(traffic.Options{})
				entered(t, g, keyOf("a"), limits)
				ctx, cancel := context.WithCancel(t.Context())
				for range 5 {
					waits(t, begin(ctx, g, keyOf("a"), limits))
				}
				if other := entered(t, g, keyOf("b"), limits); other.waited != 0 {
					t.Errorf("another connection waited %s", other.waited)
				}
				cancel()
			})
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, one := traffic.New(traffic.Options{}), narrow(false, traffic.Limit{MaxConcurrent: 1})
		entered(t, g, keyOf("a"), one)
		ctx, cancel := context.WithCancel(t.Context())
		for range 1024 {
			go enter(ctx, g, keyOf("a"), one)
		}
		synctest.Wait()
		a := enter(t.Context(), g, keyOf("a"), one)
		refused(t, a, problem.RateLimited, time.Second)
		if a.waited != 0 {
			t.Errorf("it waited %s", a.waited)
		}
		cancel()
	})
}

func TestRate(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, rate := traffic.New(traffic.Options{}), limits(traffic.Limit{RequestsPerSecond: 2, MaxConcurrent: 100})
		for _, want := range []time.Duration{0, 0, 500 * time.Millisecond, 500 * time.Millisecond} {
			a := entered(t, g, keyOf("a"), rate)
			if !near(a.waited, want) {
				t.Errorf("waited %s, want %s", a.waited, want)
			}
			a.leave(traffic.Answered)
		}
	})
}

// TestRateKnowsWhatIsTooLong: the 10 s hold 20 requests of 2 a second; one more hears at once when to come back.
func TestRateKnowsWhatIsTooLong(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, rate := traffic.New(traffic.Options{}), limits(traffic.Limit{RequestsPerSecond: 2, MaxConcurrent: 100})
		begun := time.Now()
		var all []<-chan attempt
		for range 22 {
			all = append(all, begin(t.Context(), g, keyOf("a"), rate))
		}
		a := enter(t.Context(), g, keyOf("a"), rate)
		refused(t, a, problem.RateLimited, 10500*time.Millisecond)
		if a.waited != 0 {
			t.Errorf("it was refused after %s", a.waited)
		}
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if a := enter(short, g, keyOf("a"), rate); a.waited != 0 || a.err == nil {
			t.Errorf("a request with less time: %v after %s", a.err, a.waited)
		}
		for i, pending := range all {
			if a := <-pending; a.err != nil || !near(a.waited, time.Duration(max(i-1, 0))*500*time.Millisecond) {
				t.Errorf("request %d: %v after %s", i, a.err, a.waited)
			}
		}
		if took := time.Since(begun); !near(took, 10*time.Second) {
			t.Errorf("22 requests took %s", took)
		}
	})
}

// TestRateOfThoseThatStay: places of requests that went away are not paid for by those behind them.
func TestRateOfThoseThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, rate := traffic.New(traffic.Options{}), narrow(false, traffic.Limit{RequestsPerSecond: 1, MaxConcurrent: 100})
		entered(t, g, keyOf("a"), rate)
		ctx, cancel := context.WithCancel(t.Context())
		for range 5 {
			waits(t, begin(ctx, g, keyOf("a"), rate))
		}
		last := begin(t.Context(), g, keyOf("a"), rate)
		cancel()
		if a := <-last; a.err != nil || !near(a.waited, time.Second) {
			t.Errorf("%v after %s, want a second", a.err, a.waited)
		}
	})
}

// TestRefusedByRateHoldsNothing: what the rate refuses takes neither a place nor a token with it.
func TestRefusedByRateHoldsNothing(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, rate := traffic.New(traffic.Options{}), limits(traffic.Limit{RequestsPerSecond: 0.05, MaxConcurrent: 1})
		entered(t, g, keyOf("a"), rate).leave(traffic.Answered)
		for range 3 {
			refused(t, enter(t.Context(), g, keyOf("a"), rate), problem.RateLimited, 20*time.Second)
		}
		time.Sleep(20 * time.Second) //nolint:forbidigo // the time of synctest
		if a := entered(t, g, keyOf("a"), rate); a.waited != 0 {
			t.Errorf("waited %s", a.waited)
		}
	})
}

// TestRateFallsWhileOthersWait: a request whose turn comes under a lower rate may be too late; it takes no token with it.
func TestRateFallsWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := traffic.New(traffic.Options{})
		of := func(perSecond float64) traffic.Limits {
			return narrow(false, traffic.Limit{RequestsPerSecond: perSecond, MaxConcurrent: 100})
		}
		entered(t, g, keyOf("a"), of(1))
		first, second := begin(t.Context(), g, keyOf("a"), of(1)), begin(t.Context(), g, keyOf("a"), of(1))
		refused(t, enter(t.Context(), g, keyOf("a"), of(0.1)), problem.RateLimited, 30*time.Second)
		if a := <-first; a.err != nil || !near(a.waited, time.Second) {
			t.Errorf("the one that had its token: %v after %s", a.err, a.waited)
		}
		a := <-second
		if p, ok := errors.AsType[*problem.Error](a.err); !ok || p.Code != problem.RateLimited || !near(a.waited, time.Second) {
			t.Errorf("the next one: %v after %s", a.err, a.waited)
		}
		begun := time.Now()
		third := enter(t.Context(), g, keyOf("a"), of(0.1))
		if p, ok := errors.AsType[*problem.Error](third.err); ok {
			time.Sleep(p.RetryAfter) //nolint:forbidigo // the time of synctest
			entered(t, g, keyOf("a"), of(0.1))
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %s, as if the one that was refused had had a token", took)
		}
	})
}

// TestRateIsRemembered: a connection whose requests have all ended does not get another burst.
func TestRateIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, rate := traffic.New(traffic.Options{}), narrow(false, traffic.Limit{RequestsPerSecond: 1, MaxConcurrent: 1})
		entered(t, g, keyOf("a"), rate).leave(traffic.Answered)
		if a := entered(t, g, keyOf("a"), rate); !near(a.waited, time.Second) {
			t.Errorf("waited %s", a.waited)
		}
	})
}

// TestLimitsChange: the limits of the newest request hold for those that wait.
func TestLimitsChange(t *testing.T) {
	eachLevel(t, func(t *testing.T, limits func(traffic.Limit) traffic.Limits) {
		g, one := traffic.New(traffic.Options{}), limits(traffic.Limit{MaxConcurrent: 1})
		first := entered(t, g, keyOf("a"), one)
		second := begin(t.Context(), g, keyOf("a"), one)
		waits(t, second)
		three := limits(traffic.Limit{MaxConcurrent: 3})
		third := entered(t, g, keyOf("a"), three)
		if a := came(t, second); a.err != nil {
			t.Fatal(a.err)
		}
		// Fewer again: nobody enters until enough have left.
		fourth := begin(t.Context(), g, keyOf("a"), one)
		first.leave(traffic.Answered)
		third.leave(traffic.Answered)
		waits(t, fourth)
	})
}

func TestRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := traffic.New(traffic.Options{})
		pass := func(perSecond float64) time.Duration {
			a := entered(t, g, keyOf("a"), narrow(false, traffic.Limit{RequestsPerSecond: perSecond, MaxConcurrent: 1}))
			a.leave(traffic.Answered)
			return a.waited
		}
		for i, row := range []struct {
			perSecond float64
			want      time.Duration
		}{
			{1, 0}, {1, time.Second}, {4, 250 * time.Millisecond}, {0, 0}, {0, 0},
		} {
			if waited := pass(row.perSecond); !near(waited, row.want) {
				t.Errorf("request %d waited %s, want %s", i, waited, row.want)
			}
		}
	})
}

// TestNeverMoreThanAllowed throws everything at one gate: whatever happens, no limit is ever exceeded, and nothing is lost.
func TestNeverMoreThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := traffic.Limits{Application: traffic.Limit{MaxConcurrent: 5}, Connection: traffic.Limit{MaxConcurrent: 3}}
		g := traffic.New(traffic.Options{})
		var all atomic.Int64
		each := make([]atomic.Int64, 3)
		var workers sync.WaitGroup
		for i := range 200 {
			workers.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // no secret
				connection := i % len(each)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(20_000))*time.Millisecond)
				defer cancel()
				a := enter(ctx, g, keyOf(fmt.Sprint(connection)), limits)
				if a.err != nil {
					return
				}
				if n := all.Add(1); n > 5 {
					t.Errorf("%d requests of the application", n)
				}
				if n := each[connection].Add(1); n > 3 {
					t.Errorf("%d requests of a connection", n)
				}
				time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond) //nolint:forbidigo // the time of synctest
				each[connection].Add(-1)
				all.Add(-1)
				a.leave(traffic.Outcome(random.IntN(2)))
			})
		}
		workers.Wait()
		for i := range 3 {
			if a := entered(t, g, keyOf("0"), limits); a.waited != 0 {
				t.Errorf("place %d was lost: waited %s", i, a.waited)
			}
		}
	})
}
