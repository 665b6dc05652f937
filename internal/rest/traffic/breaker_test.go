// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

func TestOutcomeOf(t *testing.T) {
	for status, want := range map[int]traffic.Outcome{
		200: traffic.Answered, 401: traffic.Answered, 404: traffic.Answered, 429: traffic.Answered, 500: traffic.Answered, 501: traffic.Answered,
		502: traffic.Dead, 503: traffic.Dead, 504: traffic.Dead,
	} {
		if got := traffic.OutcomeOf(status); got != want {
			t.Errorf("%d: %d, want %d", status, got, want)
		}
	}
}

// watched is a gate whose breakers' states are written down.
func watched(options traffic.Options) (g *traffic.Gate, states *[]string) {
	states = new([]string)
	options.BreakerChanged = func(application types.UID, host string, state traffic.BreakerState) {
		*states = append(*states, fmt.Sprintf("%s %s %s", application, host, state))
	}
	return traffic.New(options), states
}

// die has a destination's breaker open.
func die(t *testing.T, g *traffic.Gate, key traffic.Key) {
	t.Helper()
	for range traffic.DefaultBreakerFailures {
		entered(t, g, key, wide()).leave(traffic.Dead)
	}
}

// pause lets the breaker's time pass: at its very end it is still open.
func pause() {
	time.Sleep(traffic.DefaultBreakerPause + 1) //nolint:forbidigo // the time of synctest
}

func TestBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, states := watched(traffic.Options{})
		die(t, g, keyOf("a"))
		a := enter(t.Context(), g, keyOf("b"), wide()) // Another connection: the provider is the same.
		refused(t, a, problem.ProviderUnavailable, traffic.DefaultBreakerPause)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the time of synctest
		refused(t, enter(t.Context(), g, keyOf("a"), wide()), problem.ProviderUnavailable, traffic.DefaultBreakerPause-5*time.Second)
		for _, other := range []traffic.Key{
			{Application: "application", Connection: "a", Host: "other.example.com"}, {Application: "other", Connection: "a", Host: host},
		} {
			entered(t, g, other, wide()).leave(traffic.Answered)
		}
		if want := []string{"application " + host + " Open"}; !slices.Equal(*states, want) {
			t.Errorf("states %q, want %q", *states, want)
		}
	})
}

// TestDeadProvidersKeepNobodyWaiting: whoever would be refused in the end is refused at once.
func TestDeadProvidersKeepNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, one := traffic.New(traffic.Options{}), narrow(false, traffic.Limit{MaxConcurrent: 1})
		entered(t, g, keyOf("a"), one)
		die(t, g, keyOf("b"))
		a := enter(t.Context(), g, keyOf("a"), one)
		refused(t, a, problem.ProviderUnavailable, traffic.DefaultBreakerPause)
		if a.waited != 0 {
			t.Errorf("it waited %s", a.waited)
		}
	})
}

// TestFailuresInARow: an answer begins the count anew, what is neutral leaves it alone.
func TestFailuresInARow(t *testing.T) {
	for name, row := range map[string]struct {
		between traffic.Outcome
		opens   bool
	}{"an answer": {traffic.Answered, false}, "neutral": {traffic.Neutral, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := traffic.New(traffic.Options{})
				for range traffic.DefaultBreakerFailures - 1 {
					entered(t, g, keyOf("a"), wide()).leave(traffic.Dead)
				}
				for range 20 {
					entered(t, g, keyOf("a"), wide()).leave(row.between)
				}
				entered(t, g, keyOf("a"), wide()).leave(traffic.Dead)
				if a := enter(t.Context(), g, keyOf("a"), wide()); (a.err != nil) != row.opens {
					t.Errorf("error %v, want one: %t", a.err, row.opens)
				}
			})
		})
	}
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, states := watched(traffic.Options{})
		die(t, g, keyOf("a"))
		pause()
		probe := entered(t, g, keyOf("a"), wide())
		refused(t, enter(t.Context(), g, keyOf("b"), wide()), problem.ProviderUnavailable, time.Second)
		probe.leave(traffic.Neutral) // Its caller went away: the next one is the probe.
		probe = entered(t, g, keyOf("b"), wide())
		refused(t, enter(t.Context(), g, keyOf("a"), wide()), problem.ProviderUnavailable, time.Second)
		probe.leave(traffic.Dead)
		refused(t, enter(t.Context(), g, keyOf("a"), wide()), problem.ProviderUnavailable, traffic.DefaultBreakerPause)
		pause()
		probe = entered(t, g, keyOf("a"), wide())
		probe.leave(traffic.Answered)
		entered(t, g, keyOf("a"), wide())
		entered(t, g, keyOf("a"), wide())
		var want []string
		for _, state := range []traffic.BreakerState{
			traffic.BreakerOpen, traffic.BreakerHalfOpen, traffic.BreakerOpen, traffic.BreakerHalfOpen, traffic.BreakerClosed,
		} {
			want = append(want, fmt.Sprintf("application %s %s", host, state))
		}
		if !slices.Equal(*states, want) {
			t.Errorf("states %q, want %q", *states, want)
		}
	})
}

// TestProbeThatStreams: the head of the answer shows that the provider is back, even if its body has no end.
func TestProbeThatStreams(t *testing.T) {
	for status, back := range map[int]bool{200: true, 401: true, 502: false} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := traffic.New(traffic.Options{})
				die(t, g, keyOf("a"))
				pause()
				probe := entered(t, g, keyOf("a"), wide())
				g.Observe(keyOf("a"), traffic.RateLimitHeaders{}, status, http.Header{})
				if a := enter(t.Context(), g, keyOf("a"), wide()); (a.err == nil) != back {
					t.Errorf("the next request: %v", a.err)
				}
				probe.leave(traffic.OutcomeOf(status))
				if a := enter(t.Context(), g, keyOf("a"), wide()); (a.err == nil) != back {
					t.Errorf("a request after the probe: %v", a.err)
				}
			})
		})
	}
}

// TestRefusedProbeHoldsNothing: requests that a breaker refuses leave the limits alone.
func TestRefusedProbeHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, limits := traffic.New(traffic.Options{}), narrow(true, traffic.Limit{MaxConcurrent: 2})
		die(t, g, keyOf("a"))
		pause()
		probe := entered(t, g, keyOf("a"), limits)
		for range 5 {
			refused(t, enter(t.Context(), g, keyOf("b"), limits), problem.ProviderUnavailable, time.Second)
		}
		probe.leave(traffic.Answered)
		for range 2 {
			if a := entered(t, g, keyOf("b"), limits); a.waited != 0 {
				t.Errorf("waited %s", a.waited)
			}
		}
	})
}

// TestForgottenBreaker: when too many destinations are watched, the oldest is forgotten, and is not seen as open for ever.
func TestForgottenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, states := watched(traffic.Options{MaxBreakers: 2})
		die(t, g, keyOf("a"))
		var slow []attempt // They end when their breaker is forgotten.
		for range traffic.DefaultBreakerFailures {
			slow = append(slow, entered(t, g, traffic.Key{Application: "application", Connection: "a", Host: "slow.example.com"}, wide()))
		}
		for i := range 2 {
			entered(t, g, traffic.Key{Application: "application", Connection: "a", Host: fmt.Sprint(i)}, wide()).leave(traffic.Answered)
		}
		entered(t, g, keyOf("a"), wide()).leave(traffic.Answered)
		for _, one := range slow {
			one.leave(traffic.Dead)
		}
		if want := []string{"application " + host + " Open", "application " + host + " Closed"}; !slices.Equal(*states, want) {
			t.Errorf("states %q, want %q", *states, want)
		}
	})
}
