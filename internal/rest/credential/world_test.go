// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	namespace = "operator"
	// canary is in every token and secret.
	canary = "c4nary"
)

// world is an API server with the Secrets of a controller, which the test plays, and a directory that the test fills.
type world struct {
	t       *testing.T
	server  client.WithWatch
	grants  *grant.Store
	kept    *registration.Store
	source  *credential.Source
	options credential.Options

	mutex        sync.Mutex
	connections  map[types.UID]*v1alpha1.OAuthConnection
	applications map[types.NamespacedName]*v1alpha1.OAuthApplication
	waiting      map[chan struct{}]types.UID
	version      int
	reads        map[string]int // by the name's prefix
	refuse       func(verb, name string) error
	created      chan pending.Message
	names        []string
	log          strings.Builder
}

// newWorld has a connection "crm" of the team, whose token lives for an hour, at the platform's application "crm".
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, connections: map[types.UID]*v1alpha1.OAuthConnection{}, applications: map[types.NamespacedName]*v1alpha1.OAuthApplication{},
		waiting: map[chan struct{}]types.UID{}, reads: map[string]int{}, created: make(chan pending.Message, 1000), version: 100,
	}
	w.server = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{Get: w.get, Create: w.create}).Build()
	w.grants = grant.New(grant.Options{Cached: w.server, Live: w.server, Writer: w.server, Namespace: namespace, Process: "p", Clock: clock.RealClock{}})
	w.kept = registration.New(registration.Options{Cached: w.server, Live: w.server, Writer: w.server, Namespace: namespace})
	w.options = credential.Options{
		Directory: w, Live: w.server, Creator: w, Namespace: namespace, Clock: clock.RealClock{},
		Log: funcr.New(func(prefix, text string) {
			w.mutex.Lock()
			defer w.mutex.Unlock()
			w.log.WriteString(prefix + " " + text + "\n")
		}, funcr.Options{Verbosity: 9}),
	}
	w.source = credential.New(w.options)
	w.setApplication(application())
	w.keepClient(func(*registration.Client) {})
	w.setConnection(connection())
	w.setToken("1", time.Hour)
	w.forgetReads()
	t.Cleanup(func() { w.hides(w.log.String()) })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// hides fails the test when a text shows any token or secret.
func (w *world) hides(text string) {
	w.t.Helper()
	if strings.Contains(text, canary) {
		w.t.Errorf("a token or secret is shown: %s", text)
	}
}

func (w *world) get(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	prefix, _, _ := strings.Cut(key.Name, "-")
	w.mutex.Lock()
	w.reads[prefix]++
	refuse := w.refuse
	w.mutex.Unlock()
	if refuse != nil {
		if err := refuse("get", key.Name); err != nil {
			return err
		}
	}
	return c.Get(ctx, key, object, options...)
}

func (w *world) create(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
	w.mutex.Lock()
	refuse := w.refuse
	w.mutex.Unlock()
	if refuse != nil {
		if err := refuse("create", object.GetName()); err != nil {
			return err
		}
	}
	object.SetUID(types.UID("object-" + object.GetName()))
	return c.Create(ctx, object, options...)
}

// Create implements credential.Creator.
func (w *world) Create(ctx context.Context, secret *corev1.Secret) error {
	if err := w.server.Create(ctx, secret); err != nil {
		return err
	}
	message, err := pending.Decode(secret)
	if err != nil {
		return err
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.names = append(w.names, secret.Name)
	w.created <- message
	return nil
}

// count returns how often Secrets of a kind were read since forgetReads.
func (w *world) count(prefix string) int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.reads[prefix]
}

func (w *world) forgetReads() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	clear(w.reads)
}

// setRefuse lets calls to the API server fail; nil: none.
func (w *world) setRefuse(refuse func(verb, name string) error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.refuse = refuse
}

// expireMessages deletes messages, as the controller does after a minute.
func (w *world) expireMessages() {
	w.t.Helper()
	var list corev1.SecretList
	w.must(w.server.List(w.t.Context(), &list, client.InNamespace(namespace)))
	for i := range list.Items {
		if pending.Is(&list.Items[i]) {
			w.must(w.server.Delete(w.t.Context(), &list.Items[i]))
		}
	}
}

// Connection implements credential.Directory.
func (w *world) Connection(uid types.UID) *v1alpha1.OAuthConnection {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.connections[uid]
}

// ApplicationNamed implements credential.Directory.
func (w *world) ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.applications[name]
}

// Subscribe implements credential.Directory.
func (w *world) Subscribe(uid types.UID) (changes <-chan struct{}, release func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	waiter := make(chan struct{}, 1)
	w.waiting[waiter] = uid
	return waiter, func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		delete(w.waiting, waiter)
	}
}

func application() *v1alpha1.OAuthApplication {
	a := &v1alpha1.OAuthApplication{}
	a.Namespace, a.Name, a.UID = "platform", "crm", "app-1"
	a.Status.Phase, a.Status.ObservedGeneration = v1alpha1.ApplicationActive, 1
	return a
}

func connection() *v1alpha1.OAuthConnection {
	c := &v1alpha1.OAuthConnection{}
	c.Namespace, c.Name, c.UID, c.Generation = "team", "crm", "uid-1", 1
	c.Spec.ApplicationRef = v1alpha1.ApplicationReference{Namespace: "platform", Name: "crm"}
	c.Spec.Grant.Type = v1alpha1.GrantAuthorizationCode
	c.Spec.Inputs = map[string]v1alpha1.InputValue{"dc": "us1"}
	c.Status.Phase = v1alpha1.ConnectionActive
	c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonTokenReady, Message: "works"}}
	return c
}

func (w *world) setApplication(a *v1alpha1.OAuthApplication) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.applications[client.ObjectKeyFromObject(a)] = a
}

// setConnection gives a connection its next resourceVersion and tells who waits for it.
func (w *world) setConnection(c *v1alpha1.OAuthConnection) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.version++
	c.ResourceVersion = strconv.Itoa(w.version)
	w.connections[c.UID] = c
	w.notify(c.UID)
}

func (w *world) dropConnection(uid types.UID) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.connections, uid)
	w.notify(uid)
}

func (w *world) notify(uid types.UID) {
	for waiter, of := range w.waiting {
		if of != uid {
			continue
		}
		select {
		case waiter <- struct{}{}:
		default:
		}
	}
}

// change replaces the connection by a changed one.
func (w *world) change(change func(*v1alpha1.OAuthConnection)) *v1alpha1.OAuthConnection {
	c := w.Connection("uid-1").DeepCopy()
	change(c)
	w.setConnection(c)
	return c
}

// token is the text of an access token.
func token(name string) string { return canary + "-access-" + name }

// setToken writes the record with an access token that lives for so long.
func (w *world) setToken(name string, lifetime time.Duration) {
	w.t.Helper()
	w.setRecord(name, lifetime, func(*lifecycle.Record) {})
}

func (w *world) setRecord(name string, lifetime time.Duration, change func(*lifecycle.Record)) {
	w.t.Helper()
	now := time.Now()
	record := &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: "team", Name: "crm", UID: "uid-1"},
		Application: lifecycle.Identity{Namespace: "platform", Name: "crm", UID: "app-1"},
		Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New(token(name)), RefreshToken: sensitive.New(canary + "-refresh"), TokenType: "Bearer",
			IssuedAt: now, Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: now.Add(lifetime)},
			GrantType: lifecycle.AuthorizationCode, Captured: map[string]string{"team": "t1"},
		},
		Inputs: map[string]string{"dc": "us1"},
	}
	change(record)
	w.write(record)
}

func (w *world) write(record *lifecycle.Record) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	base, err := w.grants.Live(ctx, record.Connection.UID)
	w.must(err)
	_, err = w.grants.Write(ctx, base, record)
	w.must(err)
}

// renew is what the controller does with success: the record first, then status.
func (w *world) renew(name string) {
	w.t.Helper()
	w.setToken(name, time.Hour)
	w.forgetReads()
	w.change(func(c *v1alpha1.OAuthConnection) { c.Status.Failure = nil })
}

// keepClient writes the kept client, or a changed one.
func (w *world) keepClient(change func(*registration.Client)) {
	w.t.Helper()
	c := &registration.Client{
		Application: registration.Application{Namespace: "platform", Name: "crm", UID: "app-1"}, Generation: 1,
		Spec: &v1alpha1.OAuthApplicationSpec{
			Endpoints:     &v1alpha1.Endpoints{TokenURL: "https://p.example.com/token"},
			Client:        v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			Inputs:        []v1alpha1.Input{{Name: "dc", Restriction: v1alpha1.Restriction{Enum: []string{"us1", "eu1"}}}},
			TokenResponse: &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{Name: "team", Path: "$.team"}}},
			APIBaseURL:    "https://{dc}.api.example.com/{team}",
			APIHeaders:    []v1alpha1.RequestHeader{{Name: "X-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}},
			AllowedHosts:  []string{"*.example.net"}, APILimits: &v1alpha1.APILimits{MaxConcurrent: 7},
		},
		OAuth: oauth.Client{ID: "crm", Secret: sensitive.New(canary + "-client"), Authentication: oauth.ClientSecretBasic},
		Secrets: map[string]sensitive.String{
			provider.SecretKey("crm-client", "api_key"): sensitive.New(canary + "-api-key"),
		},
		CA: []byte("ca"),
	}
	ctx := context.WithoutCancel(w.t.Context())
	if known, err := w.kept.Get(ctx, "app-1"); err == nil {
		c = known
		c.Spec = c.Spec.DeepCopy()
	}
	change(c)
	w.must(w.kept.Save(ctx, c))
}

// want fails the test unless an error is the problem with this code, and shows no token.
func (w *world) want(err error, code problem.Code) {
	w.t.Helper()
	_ = w.problem(err, code)
}

// problem is want, and returns it.
func (w *world) problem(err error, code problem.Code) *problem.Error {
	w.t.Helper()
	p, ok := err.(*problem.Error) //nolint:errorlint // That it is one itself is the promise.
	if !ok || p.Code != code {
		w.t.Fatalf("error %v, want %s", err, code)
	}
	w.hides(fmt.Sprintf("%v %+v %#v %v", err, *p, *p, p.Unwrap()))
	return p
}

func (w *world) mustGet() *credential.Credential {
	w.t.Helper()
	got, err := w.source.Get(w.t.Context(), w.Connection("uid-1"))
	w.must(err)
	return got
}

// messages returns those that were created since the last call.
func (w *world) messages() []pending.Message {
	var all []pending.Message
	for {
		select {
		case m := <-w.created:
			all = append(all, m)
		default:
			return all
		}
	}
}
