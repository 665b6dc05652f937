// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// operatorNamespace is where the gateway of the tests may leave messages.
const operatorNamespace = "webhook-tests"

// shared is what the tests of this package share: a control plane, and what a gateway has of it, a cache and a client with the
// rights that it is installed with. It is started by the first test that wants it: fuzzing does not.
var shared struct { //nolint:gochecknoglobals // TestMain ends it
	once  sync.Once
	err   error
	plane *testenv.Environment
	cache cache.Cache
	live  client.Client
	stop  []func() error
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range slices.Backward(shared.stop) {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// startShared starts what the tests share.
func startShared() error {
	plane, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		return err
	}
	shared.plane, shared.stop = plane, append(shared.stop, stop)
	ctx, cancel := context.WithCancel(context.Background())
	shared.stop = append(shared.stop, func() error { cancel(); return nil })
	config, err := plane.Gateway(ctx, operatorNamespace)
	if err != nil {
		return err
	}
	if shared.live, err = client.New(config, client.Options{Scheme: plane.Scheme}); err != nil {
		return err
	}
	if shared.cache, err = cache.New(config, cache.Options{Scheme: plane.Scheme}); err != nil {
		return err
	}
	if err := webhook.RegisterIndexes(ctx, shared.cache); err != nil {
		return err
	}
	if _, err := shared.cache.GetInformer(ctx, &v1alpha1.OAuthApplication{}); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- shared.cache.Start(ctx) }()
	shared.stop = append(shared.stop, func() error { cancel(); return <-ended })
	if !shared.cache.WaitForCacheSync(ctx) {
		return errors.New("the cache does not fill")
	}
	return nil
}

// creator creates Secrets, unless fail has an error for them.
type creator struct {
	client.Writer
	mu   sync.Mutex
	fail func(secret *corev1.Secret) error
}

func (c *creator) Create(ctx context.Context, secret *corev1.Secret) error {
	c.mu.Lock()
	fail := c.fail
	c.mu.Unlock()
	if fail != nil {
		if err := fail(secret); err != nil {
			return err
		}
	}
	return c.Writer.Create(ctx, secret)
}

func (c *creator) failing(fail func(secret *corev1.Secret) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

// keys is a keyset.Source.
type keys struct {
	mu      sync.Mutex
	secrets map[types.UID]string
	err     error
}

func (*keys) Keys() keyset.Set { return keyset.Set{} }

func (k *keys) Ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *keys) WebhookSecret(application types.UID) (sensitive.String, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	secret, ok := k.secrets[application]
	return sensitive.New(secret), ok
}

func (k *keys) set(application types.UID, secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets[application] = secret
}

// counter remembers what was counted.
type counter struct {
	mu      sync.Mutex
	results map[metrics.WebhookResult]int
	limited map[metrics.Limit]int
}

func (c *counter) Webhook(result metrics.WebhookResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results[result]++
}

func (c *counter) Limited(by metrics.Limit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limited[by]++
}

func (c *counter) count(result metrics.WebhookResult) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.results[result]
}

// world is a gateway's webhooks in a namespace of their own.
type world struct {
	t         testing.TB
	namespace string
	reader    client.Reader
	creator   *creator
	keys      *keys
	counter   *counter
	clock     *testclock.FakePassiveClock
	logging   sync.Mutex
	log       strings.Builder
	handler   http.Handler
}

func newWorld(t testing.TB) *world {
	t.Helper()
	shared.once.Do(func() { shared.err = startShared() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return worldOf(t, shared.plane.Namespace(t), shared.cache, shared.live)
}

func worldOf(t testing.TB, namespace string, reader client.Reader, writer client.Writer) *world {
	t.Helper()
	w := &world{
		t: t, namespace: namespace, reader: reader, creator: &creator{Writer: writer},
		keys:    &keys{secrets: map[types.UID]string{}},
		counter: &counter{results: map[metrics.WebhookResult]int{}, limited: map[metrics.Limit]int{}},
		clock:   testclock.NewFakePassiveClock(noon()),
	}
	w.handler = w.replica()
	return w
}

// replica is a gateway beside the first one.
func (w *world) replica() http.Handler {
	w.t.Helper()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		w.t.Fatal(err)
	}
	log := funcr.New(func(prefix, args string) {
		w.logging.Lock()
		defer w.logging.Unlock()
		fmt.Fprintln(&w.log, prefix, args)
	}, funcr.Options{Verbosity: 9})
	mux := http.NewServeMux()
	mux.Handle(v1alpha1.PathWebhooks+"/{"+webhook.WildcardNamespace+"}/{"+webhook.WildcardApplication+"}", webhook.New(webhook.Options{
		Reader: w.reader, Creator: w.creator, Namespace: operatorNamespace, Keys: w.keys, Catalogue: catalogue,
		Counter: w.counter, Clock: w.clock, Log: logr.New(log.GetSink()),
	}))
	return mux
}

// application creates one that takes events, unless edit changes that, and waits until the cache has it.
func (w *world) application(name string, edits ...func(*v1alpha1.OAuthApplication)) *v1alpha1.OAuthApplication {
	w.t.Helper()
	a := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.OAuthApplicationSpec{
			Endpoints: &v1alpha1.Endpoints{AuthorizationURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token"},
			Client:    v1alpha1.ClientSpec{ID: "crm"},
			Webhook:   spec(timestamped(), standard()),
		},
	}
	a.Spec.Webhook.Subject = "$.subject"
	for _, edit := range edits {
		edit(a)
	}
	if err := shared.plane.Client().Create(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
	w.seen(a)
	w.keys.set(a.UID, sharedSecret)
	return a
}

// seen waits until the cache has a version of an object.
func (w *world) seen(object client.Object) {
	w.t.Helper()
	cached, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		w.t.Fatalf("a %T is no object", object)
	}
	testenv.Eventually(w.t, 10*time.Second, func() error {
		err := w.reader.Get(w.t.Context(), client.ObjectKeyFromObject(object), cached)
		if err == nil && cached.GetResourceVersion() != object.GetResourceVersion() {
			err = fmt.Errorf("the cache has version %s, want %s", cached.GetResourceVersion(), object.GetResourceVersion())
		}
		return err
	})
}

// connection creates one with names of the provider's in its status, and waits until the cache has it.
func (w *world) connection(namespace, name string, a *v1alpha1.OAuthApplication, id, subject string) *v1alpha1.OAuthConnection {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: a.Name}},
	}
	if namespace != a.Namespace {
		c.Spec.ApplicationRef.Namespace = a.Namespace
	}
	if err := shared.plane.Client().Create(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	c.Status.ID, c.Status.Subject = id, subject
	if err := shared.plane.Client().Status().Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	w.seen(c)
	return c
}

// messages returns what the controller would get about an application, by the UID of the connection.
func (w *world) messages(a *v1alpha1.OAuthApplication) map[types.UID]pending.Message {
	w.t.Helper()
	var list corev1.SecretList
	err := shared.plane.Client().List(w.t.Context(), &list, client.InNamespace(operatorNamespace), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending})
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[types.UID]pending.Message{}
	for i := range list.Items {
		m, err := pending.Decode(&list.Items[i])
		if err != nil {
			w.t.Fatal(err)
		}
		if m.ApplicationUID != a.UID {
			continue
		}
		if _, twice := found[m.ConnectionUID]; twice {
			w.t.Errorf("two messages about connection %q", m.ConnectionUID)
		}
		found[m.ConnectionUID] = m
	}
	return found
}

// told wants messages to some connections of an application, and to no other.
func (w *world) told(a *v1alpha1.OAuthApplication, connections ...*v1alpha1.OAuthConnection) {
	w.t.Helper()
	messages := w.messages(a)
	for _, c := range connections {
		if m, ok := messages[c.UID]; !ok || m.Connection != client.ObjectKeyFromObject(c) {
			w.t.Errorf("no message about %s: %+v", c.Name, m)
		}
		delete(messages, c.UID)
	}
	for uid, m := range messages {
		w.t.Errorf("a message about connection %q (%s)", uid, m.Connection)
	}
}

// event is signed as Standard Webhooks says, at the time of the world.
func (w *world) event(id, content string) http.Header {
	at := fmt.Sprint(w.clock.Now().Unix())
	return header("Webhook-Id", id, "Webhook-Timestamp", at, "Webhook-Signature", "v1,"+base64MAC(sharedSecret, id, ".", at, ".", content), "Content-Type", "application/json")
}

// post sends an event to an application.
func (w *world) post(a *v1alpha1.OAuthApplication, h http.Header, content string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.send(w.handler, a.Namespace+"/"+a.Name, h, content)
}

func (w *world) send(to http.Handler, path string, h http.Header, content string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, v1alpha1.PathWebhooks+"/"+path, strings.NewReader(content))
	maps.Copy(r.Header, h)
	answer := httptest.NewRecorder()
	to.ServeHTTP(answer, r)
	return answer
}

// answered wants a status and a result to be counted once more than before.
func (w *world) answered(a *httptest.ResponseRecorder, status int, result metrics.WebhookResult) {
	w.t.Helper()
	if a.Code != status {
		w.t.Errorf("status %d, want %d: %s", a.Code, status, a.Body)
	}
	if got := w.counter.count(result); got != 1 {
		w.t.Errorf("%d counted as %s, want 1: %v", got, result, w.counter.results)
	}
	w.counter.mu.Lock()
	defer w.counter.mu.Unlock()
	w.counter.results = map[metrics.WebhookResult]int{}
}
