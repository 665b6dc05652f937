// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const storm = 2000

// BenchmarkRefreshStorm lets a controller work off refreshes that are all due, and then lets a bare client make just the
// same writes with the same concurrency. Metrics: refreshes a second of both, and their ratio.
func BenchmarkRefreshStorm(b *testing.B) {
	server, namespace := startProvider(b), newNamespace(b)
	_, stop := startController(b, namespace)
	createApplication(b, namespace, "app", server.URL)
	connect(b, server, namespace, "app", storm)
	stop()
	for round := range b.N {
		requestRefreshes(b, namespace, fmt.Sprint("round-", round), storm)
		controllerRate := controllerRound(b, server, namespace)
		bareRate := bareRound(b, namespace)
		b.ReportMetric(controllerRate, "refreshes/s")
		b.ReportMetric(bareRate, "bare-refreshes/s")
		b.ReportMetric(controllerRate/bareRate, "ratio")
		b.ReportMetric(0, "ns/op")
	}
}

// controllerRound counts from the first call to the provider to the last status patch.
func controllerRound(b *testing.B, server *hostile.Server, namespace string) float64 {
	b.Helper()
	var first sync.Once
	var began time.Time
	server.OnRequest(func(stage hostile.Stage, request record.Request) {
		if stage == hostile.Received && request.GrantType == "refresh_token" {
			first.Do(func() { began = time.Now() })
		}
	})
	defer server.OnRequest(nil)
	writes, stop := startController(b, namespace)
	defer stop()
	before := writes.writes.Load()
	await(b, "refreshes", writes.after(storm))
	took := time.Since(began)
	b.ReportMetric(float64(writes.writes.Load()-before)/storm, "writes/refresh")
	return storm / took.Seconds()
}

// refreshWrites are what one refresh writes.
type refreshWrites struct {
	record, token *corev1.Secret
	connection    *v1alpha1.OAuthConnection
}

// bareRound makes the writes of a refresh, in the same two stages: mark and outcome of the record, then token Secret and
// status.
func bareRound(b *testing.B, namespace string) float64 {
	b.Helper()
	all := collect(b, namespace)
	stages, began := make(chan refreshWrites, storm), time.Now()
	var first, second sync.WaitGroup
	todo := make(chan refreshWrites, storm)
	for _, w := range all {
		todo <- w
	}
	close(todo)
	for range concurrency {
		first.Go(func() {
			for w := range todo {
				for range 2 {
					if err := plane.Client().Update(b.Context(), w.record); err != nil {
						b.Error(err)
					}
					w.record.Annotations["bench"] = time.Now().String()
				}
				stages <- w
			}
		})
		second.Go(func() {
			for w := range stages {
				if err := bareReport(b.Context(), w); err != nil {
					b.Error(err)
				}
			}
		})
	}
	first.Wait()
	close(stages)
	second.Wait()
	return float64(len(all)) / time.Since(began).Seconds()
}

func bareReport(ctx context.Context, w refreshWrites) error {
	w.token.Annotations["bench"] = time.Now().String()
	if err := plane.Client().Update(ctx, w.token); err != nil {
		return err
	}
	before := w.connection.DeepCopy()
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, t := range []*time.Time{
		&w.connection.Status.LastRefreshedAt.Time, &w.connection.Status.UpdatedAt.Time,
		&w.connection.Status.NextRefreshAt.Time, &w.connection.Status.AccessTokenExpiresAt.Time,
	} {
		*t = later
	}
	for i := range w.connection.Status.Conditions {
		w.connection.Status.Conditions[i].Message += "."
	}
	return plane.Client().Status().Patch(ctx, w.connection, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// collect reads what the controller has written, and puts a change into each record that is as large as a real one.
func collect(b *testing.B, namespace string) []refreshWrites {
	b.Helper()
	ctx := b.Context()
	var connections v1alpha1.OAuthConnectionList
	var tokens, records corev1.SecretList
	for _, err := range []error{
		plane.Client().List(ctx, &connections, client.InNamespace(namespace)),
		plane.Client().List(ctx, &tokens, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelConnection}),
		plane.Client().List(ctx, &records, client.InNamespace(testenv.OperatorNamespace), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordGrant}),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	byUID := map[string]*refreshWrites{}
	for i := range connections.Items {
		c := &connections.Items[i]
		byUID[string(c.UID)] = &refreshWrites{connection: c}
	}
	for i := range tokens.Items {
		if w := byUID[tokens.Items[i].Labels[v1alpha1.LabelConnectionUID]]; w != nil {
			w.token = &tokens.Items[i]
		}
	}
	for i := range records.Items {
		if w := byUID[records.Items[i].Labels[v1alpha1.LabelConnectionUID]]; w != nil {
			w.record = &records.Items[i]
			if !json.Valid(w.record.Data["grant.json"]) {
				b.Fatal("a grant record is not what this benchmark takes it for")
			}
		}
	}
	var all []refreshWrites
	for _, w := range byUID {
		if w.record != nil && w.token != nil {
			all = append(all, *w)
		}
	}
	if len(all) != storm {
		b.Fatalf("found the writes of %d connections, want %d", len(all), storm)
	}
	return all
}
