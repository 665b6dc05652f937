// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
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

// world is a namespace with applications, one for the operator, and a provider.
type world struct {
	t                   *testing.T
	client              client.Client
	namespace, operator string
	// guests are other namespaces that the controller watches.
	guests   []string
	clock    *clocktesting.FakePassiveClock
	provider *issuerServer
	timeout  time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return &world{
		t: t, client: env.Client(), namespace: env.Namespace(t), operator: env.Namespace(t),
		clock:    clocktesting.NewFakePassiveClock(time.Now()),
		provider: newProvider(t), timeout: 5 * time.Minute,
	}
}

// run is a running controller.
type running struct {
	requests *requests
	passes   *atomic.Int64
	store    *registration.Store
	queue    *callqueue.Queue
	listings *Listings
	census   *census.Store
	// listed are the applications whose listings were complete.
	listed <-chan types.NamespacedName
	stop   func()
}

// start runs the controller until stop is called or the test ends.
func (w *world) start() *running {
	w.t.Helper()
	requests := &requests{}
	config := rest.CopyConfig(env.Config)
	config.Wrap(requests.wrap)
	mgr, err := ctrl.NewManager(config, w.managerOptions())
	w.must(err)
	metadata, err := cache.New(config, cache.Options{
		Scheme: env.Scheme, DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
		DefaultLabelSelector: mustSelector(w.t, "!"+v1alpha1.LabelRecord+",!"+v1alpha1.LabelConnectionUID),
	})
	w.must(err)
	w.must(mgr.Add(metadata))
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	catalogue, err := provider.LoadCatalogue()
	w.must(err)
	w.must(RegisterIndexes(ctx, mgr.GetFieldIndexer(), catalogue))

	guard, err := egress.New(egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}})
	w.must(err)
	passes := &atomic.Int64{}
	store := registration.New(registration.Options{
		Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Namespace: w.operator, Clock: w.clock,
	})
	queue := callqueue.New(callqueue.Options{})
	caller := oauth.NewCaller(w.clock.Now, oauth.Options{})
	listings, known, listed := NewListings(), &census.Store{}, make(chan types.NamespacedName, 100)
	w.must(SetupWithManager(mgr, Options{
		Client: counting{mgr.GetClient(), passes}, Metadata: metadata, Live: mgr.GetAPIReader(), Registrations: store, Queue: queue,
		Catalogue: catalogue, Discoverer: caller, Getter: caller, Listings: listings, Census: known,
		Listed:     func(_ context.Context, application types.NamespacedName) { listed <- application },
		Transports: egress.NewTransportPool(guard, 0), CheckURL: guard.CheckURL,
		Clock: w.clock, Recorder: mgr.GetEventRecorder("oauth-operator"), ExternalURL: "https://gateway.example.com",
		RevocationTimeout: w.timeout, Workers: 2,
		InUse: func(ctx context.Context, application string) (bool, error) {
			var records corev1.SecretList
			err := mgr.GetClient().List(ctx, &records, client.InNamespace(w.operator), client.MatchingLabels{
				v1alpha1.LabelRecord: v1alpha1.RecordGrant, v1alpha1.LabelApplicationUID: application,
			})
			return len(records.Items) > 0, err
		},
	}))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop := sync.OnceFunc(func() {
		queue.Close() //nolint:contextcheck // calls that wait are dropped, none is made
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the manager ended with %v", err)
		}
		if err := queue.Wait(context.WithoutCancel(ctx)); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return &running{
		requests: requests, passes: passes, store: store, queue: queue, stop: stop,
		listings: listings, census: known, listed: listed,
	}
}

func (w *world) managerOptions() ctrl.Options {
	return ctrl.Options{
		Scheme: env.Scheme, Logger: logr.Discard(),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{
			DefaultNamespaces: w.watched(),
			ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				w.operator: {LabelSelector: mustSelector(w.t, v1alpha1.LabelRecord)},
			}}},
		},
	}
}

func (w *world) watched() map[string]cache.Config {
	namespaces := map[string]cache.Config{w.namespace: {}}
	for _, guest := range w.guests {
		namespaces[guest] = cache.Config{}
	}
	return namespaces
}

func mustSelector(t *testing.T, text string) labels.Selector {
	t.Helper()
	selector, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return selector
}

// counting counts passes: each begins by reading its application.
type counting struct {
	client.Client
	passes *atomic.Int64
}

func (c counting) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, ok := object.(*v1alpha1.OAuthApplication); ok {
		c.passes.Add(1)
	}
	return c.Client.Get(ctx, key, object, options...)
}

// requests are the requests to the API server but those of informers and of the discovery of its resources.
type requests struct {
	mu  sync.Mutex
	all []string
}

var informer = regexp.MustCompile(`^GET (/api|/apis)(/[^/]+){0,2}(/namespaces/[^/]+)?/(secrets|configmaps|oauthapplications|oauthconnections)(/)?$|^GET /apis?(/[^/]+){0,2}$`)

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
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

func (r *requests) matching(part string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(line string) bool { return !strings.Contains(line, part) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// issuerServer serves a discovery document, or a failure.
type issuerServer struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	calls  int
}

func newProvider(t *testing.T) *issuerServer {
	t.Helper()
	p := &issuerServer{status: http.StatusOK}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func newTLSProvider(t *testing.T) *issuerServer {
	t.Helper()
	p := &issuerServer{status: http.StatusOK}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *issuerServer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if request.URL.Path != "/.well-known/openid-configuration" {
		http.NotFound(w, request)
		return
	}
	p.calls++
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	if p.status == http.StatusOK {
		_ = json.NewEncoder(w).Encode(map[string]any{ // A client that has gone is no failure of the server.
			"issuer": p.URL, "token_endpoint": p.URL + "/token", "revocation_endpoint": p.URL + "/revoke",
			"authorization_endpoint":                p.URL + "/authorize",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		})
	}
}

func (p *issuerServer) answer(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

func (p *issuerServer) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		w.must(w.client.Create(w.t.Context(), object))
	}
}

func (w *world) update(object client.Object, change func()) {
	w.t.Helper()
	w.must(w.client.Get(w.t.Context(), client.ObjectKeyFromObject(object), object))
	change()
	w.must(w.client.Update(w.t.Context(), object))
}

func (w *world) delete(object client.Object) {
	w.t.Helper()
	w.must(w.client.Delete(w.t.Context(), object))
}

func (w *world) secret(name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
}

func (w *world) clientSecret() *corev1.Secret {
	return w.secret("crm-client", map[string]string{"client_secret": "hidden"})
}

// application discovers the world's provider.
func (w *world) application(name string) *v1alpha1.OAuthApplication {
	return &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.OAuthApplicationSpec{
			IssuerURL: w.provider.URL,
			Client:    v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
		},
	}
}

func (w *world) connection(name, application string) *v1alpha1.OAuthConnection {
	return &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: application}},
	}
}

// guest is a connection of another namespace to application crm.
func (w *world) guest(namespace string) *v1alpha1.OAuthConnection {
	connection := w.connection("guest", "crm")
	connection.Namespace, connection.Spec.ApplicationRef.Namespace = namespace, w.namespace
	return connection
}

// eventually waits until an application is as wanted, and returns it.
func (w *world) eventually(name, what string, wanted func(*v1alpha1.OAuthApplication) bool) *v1alpha1.OAuthApplication {
	w.t.Helper()
	application := &v1alpha1.OAuthApplication{}
	testenv.Eventually(w.t, patience, func() error {
		err := w.client.Get(context.WithoutCancel(w.t.Context()), client.ObjectKey{Namespace: w.namespace, Name: name}, application)
		if err == nil && !wanted(application) {
			err = fmt.Errorf("application %s is not %s; its status is %+v", name, what, application.Status)
		}
		return err
	})
	return application
}

func (w *world) eventuallyReason(name, reason string) *v1alpha1.OAuthApplication {
	w.t.Helper()
	return w.eventually(name, reason, func(a *v1alpha1.OAuthApplication) bool {
		ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == reason && ready.ObservedGeneration == a.Generation
	})
}

func message(application *v1alpha1.OAuthApplication) string {
	if ready := meta.FindStatusCondition(application.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Message
	}
	return ""
}

// kept reads the kept client of an application from the API server.
func (w *world) kept(application types.UID) (*registration.Client, error) {
	return registration.New(registration.Options{
		Cached: w.client, Writer: w.client, Namespace: w.operator, Clock: w.clock,
	}).Get(context.WithoutCancel(w.t.Context()), application)
}

func (w *world) eventuallyKept(application types.UID, what string, wanted func(*registration.Client) bool) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		found, err := w.kept(application)
		if err == nil && !wanted(found) {
			err = fmt.Errorf("the kept client is not %s: %+v", what, found)
		}
		return err
	})
}

// events lists type and reason of the events about application crm.
func (w *world) events() []string {
	w.t.Helper()
	var list corev1.EventList
	w.must(w.client.List(context.WithoutCancel(w.t.Context()), &list, client.InNamespace(w.namespace), client.MatchingFieldsSelector{
		Selector: fields.OneTermEqualSelector("involvedObject.name", "crm"),
	}))
	var all []string
	for i := range list.Items {
		all = append(all, list.Items[i].Type+" "+list.Items[i].Reason)
	}
	slices.Sort(all)
	return all
}
