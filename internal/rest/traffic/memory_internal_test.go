// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"fmt"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
)

// TestMemory: idle connections take no place, or a bounded one while they have a rate to be remembered.
func TestMemory(t *testing.T) {
	for name, row := range map[string]struct {
		perSecond float64
		want      int
	}{"without a rate": {0, 0}, "with a rate": {1, 10}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Options{MaxIdle: 10, MaxBreakers: 3})
				limits := LimitsOf(nil)
				limits.Connection.RequestsPerSecond = row.perSecond
				for i := range 100 {
					key := Key{Application: "application", Connection: types.UID(fmt.Sprint(i)), Host: fmt.Sprint(i)}
					leave, err := g.Enter(t.Context(), key, limits)
					if err != nil {
						t.Fatal(err)
					}
					leave(Answered)
				}
				if busy, idle := len(g.lanes.busy), g.lanes.idle.Len(); busy != 0 || idle != row.want {
					t.Errorf("%d busy lanes, %d idle ones, want %d", busy, idle, row.want)
				}
				if known := g.breakers.known.Len(); known != 3 {
					t.Errorf("%d breakers", known)
				}
			})
		})
	}
}

// TestRefusedLeaveNothing: neither do those that were refused.
func TestRefusedLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, key := New(Options{}), Key{Application: "application", Connection: "connection", Host: "h"}
		one := LimitsOf(nil)
		one.Application.MaxConcurrent = 1
		leave, err := g.Enter(t.Context(), key, one)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Enter(t.Context(), key, one); err == nil {
			t.Fatal("two at once")
		}
		leave(Neutral)
		if len(g.lanes.busy) != 0 || g.lanes.idle.Len() != 0 {
			t.Errorf("lanes %v are left", g.lanes.busy)
		}
	})
}

func BenchmarkEnter(b *testing.B) {
	g, limits := New(Options{}), LimitsOf(nil)
	key := Key{Application: "application", Connection: "connection", Host: "api.example.com"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			leave, err := g.Enter(b.Context(), key, limits)
			if err != nil {
				b.Error(err)
				return
			}
			g.Observe(key, RateLimitHeaders{}, 200, nil)
			leave(Answered)
		}
	})
}
