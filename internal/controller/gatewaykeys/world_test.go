// SPDX-License-Identifier: Apache-2.0

package gatewaykeys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const patience = 20 * time.Second

var env *testenv.Environment //nolint:gochecknoglobals // TestMain has no other way to hand it to the tests

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctrl.SetLogger(logr.Discard())
	var stop func() error
	var err error
	if env, stop, err = testenv.StartMain(testenv.Options{}); err != nil {
		return 0, err
	}
	code := m.Run()
	return code, stop()
}

// world is a namespace of an operator, with kept clients.
type world struct {
	t        *testing.T
	client   client.Client
	operator string
	clock    *clocktesting.FakePassiveClock
	// applications keeps clients, as the controller of applications does.
	applications *registration.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, client: env.Client(), operator: env.Namespace(t), clock: clocktesting.NewFakePassiveClock(time.Now())}
	w.applications = w.store(w.client)
	return w
}

func (w *world) store(c client.Client) *registration.Store {
	return registration.New(registration.Options{Cached: c, Live: w.client, Writer: w.client, Namespace: w.operator, Clock: w.clock})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// keep keeps the client of an application.
func (w *world) keep(c *registration.Client) *registration.Client {
	w.t.Helper()
	w.must(w.applications.Save(w.t.Context(), c))
	return c
}

// keys reads the Secret and its key set.
func (w *world) keys() (*corev1.Secret, keyset.Set, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: w.operator, Name: v1alpha1.GatewayKeysSecret}
	// Without the cancellation of the test's context, so that it serves in goroutines and cleanups too.
	if err := w.client.Get(context.WithoutCancel(w.t.Context()), key, secret); err != nil {
		return nil, keyset.Set{}, err
	}
	set, err := keyset.Parse(secret.Data[keyset.FileSealing])
	return secret, set, err
}

func (w *world) mustKeys() (*corev1.Secret, keyset.Set) {
	w.t.Helper()
	secret, set, err := w.keys()
	w.must(err)
	return secret, set
}

// holds waits until the webhooks in the Secret are these, by file, and returns the Secret.
func (w *world) holds(webhooks map[string]string) *corev1.Secret {
	w.t.Helper()
	var secret *corev1.Secret
	testenv.Eventually(w.t, patience, func() error {
		var err error
		if secret, _, err = w.keys(); err != nil {
			return err
		}
		if len(secret.Data) != len(webhooks)+1 {
			return fmt.Errorf("there are %d files, want %d", len(secret.Data), len(webhooks)+1)
		}
		for file, content := range webhooks {
			if string(secret.Data[file]) != content {
				return fmt.Errorf("file %s is %q", file, secret.Data[file])
			}
		}
		return nil
	})
	return secret
}

// running is a running controller.
type running struct {
	requests *requests
	log      *lines
	stop     func()
}

// start runs a controller until stop is called or the test ends.
func (w *world) start() *running {
	w.t.Helper()
	r := &running{requests: &requests{}, log: &lines{}}
	to := rest.CopyConfig(env.Config)
	to.Wrap(r.requests.wrap)
	mgr, err := ctrl.NewManager(to, ctrl.Options{
		Scheme: env.Scheme, Logger: r.log.logger(), Metrics: server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.operator: {}}},
	})
	w.must(err)
	w.must(New(Options{
		Client: mgr.GetClient(), Registrations: w.store(mgr.GetClient()), Namespace: w.operator, Clock: w.clock,
	}).SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the manager ended with %v", err)
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, args)
	}, funcr.Options{Verbosity: 1})
}

func (l *lines) with(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// requests are the requests to the API server but those of informers and of the discovery of its resources.
type requests struct {
	mu  sync.Mutex
	all []string
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	informer := regexp.MustCompile(`^GET (/api|/apis)(/[^/]+){0,2}(/namespaces/[^/]+)?/secrets$|^GET /apis?(/[^/]+){0,2}$`)
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		line := request.Method + " " + request.URL.Path
		if !informer.MatchString(line) {
			r.mu.Lock()
			r.all = append(r.all, line)
			r.mu.Unlock()
		}
		return next.RoundTrip(request)
	})
}

func (r *requests) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *requests) none() error {
	if all := r.seen(); len(all) > 0 {
		return fmt.Errorf("the API server was asked: %v", all)
	}
	return nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// history follows every version of the Secret.
type history struct {
	mu sync.Mutex
	// lost are keys that went while they were the newest.
	lost     []string
	versions int
	// last are the IDs of the keys of the last version; nil after a deletion.
	last []string
}

// follow records every version of the Secret until the test ends.
func (w *world) follow() *history {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	withWatch, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
	w.must(err)
	events, err := withWatch.Watch(ctx, &corev1.SecretList{}, client.InNamespace(w.operator),
		client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordKeys})
	w.must(err)
	h, done := &history{}, make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				h.add(secret, event.Type == "DELETED")
			}
		}
	}()
	w.t.Cleanup(func() { events.Stop(); cancel(); <-done })
	return h
}

func (h *history) add(secret *corev1.Secret, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if gone {
		h.last = nil
		return
	}
	set, err := keyset.Parse(secret.Data[keyset.FileSealing])
	if err != nil {
		h.lost = append(h.lost, err.Error())
		return
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	if len(h.last) > 0 && !slices.Contains(ids, h.last[0]) {
		h.lost = append(h.lost, h.last[0])
	}
	h.versions++
	h.last = ids
}

// sound returns nil when n versions were seen and none lost the newest key of the one before.
func (h *history) sound(n int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lost) > 0 {
		return fmt.Errorf("keys were lost: %v", h.lost)
	}
	if h.versions < n {
		return errors.New("not all versions were seen")
	}
	return nil
}
