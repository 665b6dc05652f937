// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// BenchmarkCallbackToSecret measures from the moment a person's browser goes back to the gateway to the watch event of the
// Secret with the token, and to the page that says so, one person after the other, with a provider next door.
func BenchmarkCallbackToSecret(b *testing.B) {
	const logins = 200
	w := newWorld(b, 0)
	kinds := headings(b, w.providerName())
	arrivals := w.arrivals()
	for b.Loop() {
		var secrets, shown []time.Duration
		for i, name := range w.createConnections("crm", logins) {
			v := w.newVisitor(name, i)
			c, err := w.get(name)
			if err != nil {
				b.Fatal(err)
			}
			v.leave(b.Context(), c.Status.AuthorizationURL)
			v.comeBack(b.Context(), kinds)
			if v.err != nil || v.kind != pages.Success {
				b.Fatalf("a login ended with %q, %v", v.kind, v.err)
			}
			shown = append(shown, time.Since(v.returned))
			secrets = append(secrets, awaitArrival(b, arrivals, name).Sub(v.returned))
		}
		percentiles(b, "secret", secrets)
		percentiles(b, "page", shown)
	}
	b.ReportMetric(0, "ns/op") // It would say how long all of them take.
}

// arrival is a token in a workload's Secret.
type arrival struct {
	name string
	at   time.Time
}

// arrivals tells of Secrets with tokens, as another client of the API server sees them.
func (w *world) arrivals() <-chan arrival {
	w.t.Helper()
	watching, err := client.NewWithWatch(shared.plane.Config, client.Options{Scheme: shared.plane.Scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := watching.Watch(w.t.Context(), &corev1.SecretList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(events.Stop)
	seen := make(chan arrival, 1000)
	go func() {
		for event := range events.ResultChan() {
			secret, ok := event.Object.(*corev1.Secret)
			if ok && event.Type == watch.Added && len(secret.Data[v1alpha1.SecretKeyAccessToken]) > 0 {
				seen <- arrival{secret.Name, time.Now()}
			}
		}
	}()
	return seen
}

// awaitArrival returns when a token came; those of others are left out.
func awaitArrival(b *testing.B, arrivals <-chan arrival, name string) time.Time {
	b.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case a := <-arrivals:
			if a.name == name {
				return a.at
			}
		case <-timer.C:
			b.Fatalf("no Secret %s", name)
		}
	}
}

// percentiles reports samples in milliseconds.
func percentiles(b *testing.B, what string, samples []time.Duration) {
	b.Helper()
	slices.Sort(samples)
	for _, p := range []struct {
		name  string
		share float64
	}{{"p50", 0.50}, {"p99", 0.99}} {
		b.ReportMetric(float64(at(samples, p.share).Microseconds())/1e3, what+"-"+p.name+"-ms")
	}
}

// at returns what so large a share of sorted samples does not exceed.
func at(samples []time.Duration, share float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	return samples[min(int(float64(len(samples))*share), len(samples)-1)]
}
