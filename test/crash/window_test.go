// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// window measures from the moment the provider begins to send its answer to the moment the program sends the write that
// saves it. That is more than the time in which a crash would lose a rotated token, never less: the provider's part of
// sending the answer is counted in.
type window struct {
	mu      sync.Mutex
	opened  time.Time
	samples []time.Duration
}

func (w *window) open(stage hostile.Stage, r record.Request) {
	if stage != hostile.Processed || r.GrantType != "refresh_token" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened = time.Now()
}

// watched ends a measurement when a grant record is about to be written.
type watched struct {
	http.RoundTripper
	window *window
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/secrets/grant-") {
		w.window.close(time.Now())
	}
	return w.RoundTripper.RoundTrip(r)
}

func (w *window) close(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opened.IsZero() {
		return // It is the mark before the call.
	}
	w.samples = append(w.samples, at.Sub(w.opened))
	w.opened = time.Time{}
}

func (w *window) report(b *testing.B, want int) {
	b.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) < want {
		b.Fatalf("%d refreshes were measured, want %d", len(w.samples), want)
	}
	slices.Sort(w.samples)
	for name, share := range map[string]float64{"p50": 0.50, "p99": 0.99, "max": 1} {
		at := min(int(float64(len(w.samples))*share), len(w.samples)-1)
		b.ReportMetric(float64(w.samples[at].Nanoseconds())/1e3, name+"-µs")
	}
	b.ReportMetric(0, "ns/op") // It would say how long the whole refresh takes, test included.
}

// BenchmarkAnswerToWrite measures how long a rotated refresh token exists nowhere but in the program's memory before the
// write that saves it is sent.
func BenchmarkAnswerToWrite(b *testing.B) {
	const refreshesEach = 250
	w := newWorld(b, hostile.Options{})
	measured := &window{}
	w.server.OnRequest(measured.open)
	config := rest.CopyConfig(w.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return watched{next, measured} })
	w.host(config)
	w.connect(connectionName)
	w.await(connectionName, w.working)
	total := 0
	for b.Loop() {
		for range refreshesEach {
			total++
			value := fmt.Sprintf("refresh %d", total)
			w.request(connectionName, value)
			w.await(connectionName, observed(value))
		}
	}
	measured.report(b, total)
}
