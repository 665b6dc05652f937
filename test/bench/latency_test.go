// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	idleCodes  = 200
	stormCodes = 100
	// codeDistance lies between two codes during a storm.
	codeDistance = 50 * time.Millisecond
)

// BenchmarkCodeToSecret measures from the creation of the code's Secret to the watch event of the token's Secret: with
// nothing else to do, and while refreshes of 2,000 connections are due, in the same application and in another.
func BenchmarkCodeToSecret(b *testing.B) {
	server, namespace := startProvider(b), newNamespace(b)
	_, stop := startController(b, namespace)
	createApplication(b, namespace, "app", server.URL)
	createApplication(b, namespace, "other", server.URL)
	connect(b, server, namespace, "app", storm)
	prepare(b, namespace, "idle", "app", idleCodes)
	prepare(b, namespace, "same", "app", stormCodes)
	prepare(b, namespace, "apart", "other", stormCodes)
	arrivals := watchTokens(b, namespace)

	report(b, "idle", authorize(b, server, arrivals, namespace, idleCodes, 0, "idle"))
	stop()
	requestRefreshes(b, namespace, "storm", storm)
	writes, stop := startController(b, namespace)
	defer stop()
	done := writes.after(storm)
	raging := record.Filter{Endpoint: record.Token, GrantType: "refresh_token"}
	if err := server.WaitFor(b.Context(), server.Count(raging)+concurrency, raging); err != nil {
		b.Fatal(err)
	}
	report(b, "storm", authorize(b, server, arrivals, namespace, stormCodes, codeDistance, "same", "apart"))
	select {
	case <-done:
		b.Error("the storm was over before the last code; its figures do not count")
	default:
	}
	await(b, "storm", done)
	b.ReportMetric(0, "ns/op")
}

// prepare creates connections that wait for their codes.
func prepare(b *testing.B, namespace, prefix, application string, n int) {
	b.Helper()
	inParallel(b, n, func(i int) error {
		return plane.Client().Create(b.Context(), newConnection(namespace, fmt.Sprintf("%s-%03d", prefix, i), application))
	})
}

// watchTokens reports the name and time of each token Secret that appears.
func watchTokens(b *testing.B, namespace string) <-chan arrival {
	b.Helper()
	clientset, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watcher, err := clientset.CoreV1().Secrets(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelConnection})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); watcher.Stop() })
	arrivals := make(chan arrival, 10*storm)
	go func() {
		defer close(arrivals)
		for event := range watcher.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && event.Type == watch.Added {
				arrivals <- arrival{name: secret.Name, at: time.Now()}
			}
		}
	}()
	return arrivals
}

type arrival struct {
	name string
	at   time.Time
}

// authorize gives codes one after the other, round robin over the prefixes, and returns how long each took. With a
// distance they are given at fixed times, whether the one before has become a token or not.
func authorize(
	b *testing.B, server *hostile.Server, arrivals <-chan arrival, namespace string, n int, distance time.Duration, prefixes ...string,
) []time.Duration {
	b.Helper()
	given := map[string]time.Time{}
	var took []time.Duration
	receive := func() {
		select {
		case a := <-arrivals:
			if at, ok := given[a.name]; ok {
				took = append(took, a.at.Sub(at))
			}
		case <-time.After(patience):
			b.Fatalf("%d of %d codes became tokens", len(took), n)
		}
	}
	ticks := time.NewTicker(max(distance, time.Nanosecond))
	defer ticks.Stop()
	for i := range n {
		if distance > 0 {
			<-ticks.C
		}
		name := fmt.Sprintf("%s-%03d", prefixes[i%len(prefixes)], i)
		code, err := newCodeSecret(server, namespace, name)
		if err != nil {
			b.Fatal(err)
		}
		given[name] = time.Now()
		if err := plane.Client().Create(b.Context(), code); err != nil {
			b.Fatal(err)
		}
		for distance == 0 && len(took) <= i {
			receive()
		}
	}
	for len(took) < n {
		receive()
	}
	return took
}

func report(b *testing.B, name string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	for percent, label := range map[int]string{50: "p50", 99: "p99"} {
		at := took[min(len(took)*percent/100, len(took)-1)]
		b.ReportMetric(float64(at.Microseconds())/1000, fmt.Sprintf("%s-%s-ms", name, label))
	}
}
