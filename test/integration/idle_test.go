// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// requests counts what a controller asks of the API server beyond lists, watches and discovery.
type requests struct {
	mu    sync.Mutex
	other map[string]int
}

func (r *requests) wrap(_ *controller.Options, config *rest.Config) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counting{requests: r, next: next} })
}

func (r *requests) seen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.other) > 0 {
		return fmt.Errorf("the API server was asked: %v", r.other)
	}
	return nil
}

type counting struct {
	requests *requests
	next     http.RoundTripper
}

func (c *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if !isListOrDiscovery(request) {
		c.requests.mu.Lock()
		if c.requests.other == nil {
			c.requests.other = map[string]int{}
		}
		segments := strings.Split(request.URL.Path, "/")
		c.requests.other[request.Method+" "+strings.Join(segments[:len(segments)-1], "/")]++
		c.requests.mu.Unlock()
	}
	return c.next.RoundTrip(request)
}

// isListOrDiscovery tells whether a request reads a collection (a watch does too) or what kinds there are.
func isListOrDiscovery(request *http.Request) bool {
	path := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	version := map[string]int{"api": 2, "apis": 3}[path[0]]
	if request.Method != http.MethodGet || version == 0 {
		return false
	}
	resource := path[min(version, len(path)):]
	if len(resource) > 2 && resource[0] == "namespaces" {
		resource = resource[2:]
	}
	return len(resource) <= 1
}

// TestRestartCostsNothing restarts the controller with a thousand connections of which none is due.
func TestRestartCostsNothing(t *testing.T) {
	const byCode, byCredentials = 100, 900
	counted := &requests{}
	w := newWorld(t, 0, counted.wrap)
	t.Cleanup(func() { w.clear(t) })
	server := w.hostile(t, harness.Options{Lean: true})
	app, clientSecret := application(w.namespace, "app", server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Limits = &v1alpha1.Limits{MaxConcurrent: 64}
	})
	create(t, app, clientSecret)
	started := time.Now()
	createMany(t, byCode, func(i int) []client.Object {
		name := fmt.Sprintf("code-%d", i)
		return []client.Object{codeSecret(t, server, w.namespace, name), connection(w.namespace, name, "app")}
	})
	createMany(t, byCredentials, func(i int) []client.Object {
		return []client.Object{connection(w.namespace, fmt.Sprintf("credentials-%d", i), "app", clientCredentials)}
	})
	testenv.Eventually(t, 4*patience, func() error {
		a := get(t, w.namespace, "app", &v1alpha1.OAuthApplication{})
		if c := a.Status.Connections; c == nil || c.Active != byCode+byCredentials {
			return fmt.Errorf("connections are %+v", c)
		}
		return nil
	})
	t.Logf("%d connections are active after %s", byCode+byCredentials, time.Since(started))
	testenv.Eventually(t, patience, func() error { return w.settled(byCode + byCredentials) })
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := server.Count(record.Filter{})
	*counted = requests{}

	passes := reconciles(t)
	w.restart(t)
	testenv.Eventually(t, patience, func() error {
		if n := reconciles(t) - passes; n < byCode+byCredentials {
			return fmt.Errorf("%v passes", n)
		}
		return nil
	})
	testenv.Consistently(t, calm, counted.seen)
	if n := server.Count(record.Filter{}) - asked; n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// settled returns nil when every connection of the namespace is Ready in status.
func (w *world) settled(want int) error {
	list := &v1alpha1.OAuthConnectionList{}
	if err := plane.Client().List(patient(), list, client.InNamespace(w.namespace)); err != nil {
		return err
	}
	ready := 0
	for i := range list.Items {
		if isReady(&list.Items[i]) == nil {
			ready++
		}
	}
	if ready != want {
		return fmt.Errorf("%d of %d connections are ready", ready, want)
	}
	return nil
}

// clear takes away what the world's first namespace has, without the operator, for the sake of tests that look at all
// namespaces.
func (w *world) clear(t *testing.T) {
	t.Helper()
	w.stop()
	list := &v1alpha1.OAuthConnectionList{}
	if err := plane.Client().List(patient(), list, client.InNamespace(w.namespace)); err != nil {
		t.Error(err)
	}
	err := inParallel(len(list.Items), func(i int) error {
		c, patch := &list.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		return errors.Join(client.IgnoreNotFound(plane.Client().Patch(patient(), c, patch)),
			client.IgnoreNotFound(plane.Client().Delete(patient(), c)))
	})
	if err != nil {
		t.Error(err)
	}
}

// inParallel calls do for the numbers below n, many at once.
func inParallel(n int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

// createMany creates n times the objects that makeObjects returns, in order, many at once.
func createMany(t *testing.T, n int, makeObjects func(i int) []client.Object) {
	t.Helper()
	objects := make([][]client.Object, n)
	for i := range objects {
		objects[i] = makeObjects(i)
	}
	err := inParallel(n, func(i int) error {
		for _, object := range objects[i] {
			if err := plane.Client().Create(patient(), object); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reconciles counts the passes over connections of all controllers of this program.
func reconciles(t *testing.T) float64 {
	t.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetValue() == "oauthconnection" {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}
