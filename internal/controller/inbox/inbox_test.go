// SPDX-License-Identifier: Apache-2.0

package inbox_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller/inbox"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

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

// world is a namespace with a connection, one for the operator, and a clock.
type world struct {
	t                   *testing.T
	client              client.Client
	namespace, operator string
	connection          *v1alpha1.OAuthConnection
	clock               *clocktesting.FakePassiveClock
	listings            []types.NamespacedName
	inbox               *inbox.Reconciler
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{
		t: t, client: env.Client(), namespace: env.Namespace(t), operator: env.Namespace(t),
		clock: clocktesting.NewFakePassiveClock(time.Now()),
	}
	w.connection = &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm", Finalizers: []string{v1alpha1.FinalizerConnection}},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
	}
	w.must(w.client.Create(t.Context(), w.connection))
	w.inbox = inbox.New(inbox.Options{
		Client: w.client, Live: w.client, Namespace: w.operator, Clock: w.clock,
		Watched:        func(namespace string) bool { return namespace == w.namespace },
		RequestListing: func(application types.NamespacedName) { w.listings = append(w.listings, application) },
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// leave writes a message.
func (w *world) leave(change func(*pending.Message)) *corev1.Secret {
	w.t.Helper()
	m := pending.Message{
		Connection: client.ObjectKeyFromObject(w.connection), ConnectionUID: w.connection.UID,
		Application: types.NamespacedName{Namespace: w.namespace, Name: "crm"}, ApplicationUID: "application",
		ReceivedAt: w.clock.Now(), KeepUntil: w.clock.Now().Add(30 * time.Minute),
		Response: &pending.Response{Login: "login-1", Code: sensitive.New("code")},
	}
	change(&m)
	secret, err := pending.Encode(w.operator, pending.Name(m.Kind(), w.t.Name(), string(m.ConnectionUID)), m)
	w.must(err)
	w.must(w.client.Create(w.t.Context(), secret))
	return secret
}

// pass makes one pass and reads the message again; nil: it is gone.
func (w *world) pass(secret *corev1.Secret) (*corev1.Secret, ctrl.Result) {
	w.t.Helper()
	key := client.ObjectKeyFromObject(secret)
	result, err := w.inbox.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: key})
	w.must(err)
	now := &corev1.Secret{}
	if err := w.client.Get(w.t.Context(), key, now); apierrors.IsNotFound(err) {
		return nil, result
	} else if err != nil {
		w.t.Fatal(err)
	}
	return now, result
}

func TestMessageWaitsForItsConnection(t *testing.T) {
	w := newWorld(t)
	secret := w.leave(func(*pending.Message) {})
	now, result := w.pass(secret)
	if pending.Emptied(now) || result.RequeueAfter <= 0 {
		t.Fatal("a message was emptied before the connection could take it")
	}
	w.clock.SetTime(w.clock.Now().Add(result.RequeueAfter + time.Second))
	if now, _ = w.pass(secret); !pending.Emptied(now) {
		t.Fatal("a code that nobody takes is kept")
	}
	now, result = w.pass(secret)
	if now == nil || result.RequeueAfter <= 0 {
		t.Fatal("its name was set free while it can be replayed")
	}
	w.clock.SetTime(w.clock.Now().Add(result.RequeueAfter + time.Second))
	if now, _ = w.pass(secret); now != nil {
		t.Error("an empty message is kept for ever")
	}
	if _, result = w.pass(secret); result.RequeueAfter != 0 {
		t.Error("a message that is gone is looked for again")
	}
}

// A controller that was away for long leaves a message to its connection first, so that the person's login is told of.
func TestMessageOfTheTimeWithoutAController(t *testing.T) {
	w := newWorld(t)
	secret := w.leave(func(*pending.Message) {})
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.inbox.StartedAt = w.clock.Now()
	now, result := w.pass(secret)
	if pending.Emptied(now) || result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
		t.Fatalf("emptied %t before the connection could take it; the next look is in %s", pending.Emptied(now), result.RequeueAfter)
	}
	w.clock.SetTime(w.clock.Now().Add(result.RequeueAfter))
	if now, _ = w.pass(secret); !pending.Emptied(now) {
		t.Error("a code that nobody takes is kept")
	}
}

func TestMessageThatNobodyCanTake(t *testing.T) {
	for name, change := range map[string]func(*world, *pending.Message){
		"another connection of the name":  func(_ *world, m *pending.Message) { m.ConnectionUID = "earlier" },
		"no connection":                   func(_ *world, m *pending.Message) { m.Connection.Name = "gone" },
		"a namespace that is not watched": func(w *world, m *pending.Message) { m.Connection.Namespace = w.operator },
		"a connection that is being deleted": func(w *world, _ *pending.Message) {
			w.must(w.client.Delete(w.t.Context(), w.connection))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			secret := w.leave(func(m *pending.Message) { change(w, m) })
			if now, _ := w.pass(secret); !pending.Emptied(now) {
				t.Error("the code is kept")
			}
			w.must(client.IgnoreNotFound(w.client.Patch(t.Context(), w.connection,
				client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
		})
	}
}

func TestUnreadableMessage(t *testing.T) {
	w := newWorld(t)
	secret := w.leave(func(*pending.Message) {})
	secret.Data = map[string][]byte{"message": []byte("garbage")}
	w.must(w.client.Update(t.Context(), secret))
	if now, _ := w.pass(secret); !pending.Emptied(now) {
		t.Error("garbage is kept")
	}
}

func TestHintAboutUnknownGrant(t *testing.T) {
	w := newWorld(t)
	secret := w.leave(func(m *pending.Message) {
		m.Connection, m.ConnectionUID, m.Response = types.NamespacedName{}, "", nil
		m.Hint = &pending.Hint{ID: "event-1", EventType: "revoked", GrantID: "connection_1", At: w.clock.Now()}
	})
	now, _ := w.pass(secret)
	if !pending.Emptied(now) || len(w.listings) != 1 || w.listings[0].Name != "crm" {
		t.Errorf("emptied %t, listings asked for %v", pending.Emptied(now), w.listings)
	}
}

// Only messages are looked after, whatever else is called so.
func TestOtherSecretsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.operator, Name: "pending-invoices"},
		Data:       map[string][]byte{"message": []byte("dear customer")},
	}
	w.must(w.client.Create(t.Context(), secret))
	w.clock.SetTime(w.clock.Now().Add(24 * time.Hour))
	if now, _ := w.pass(secret); now == nil || pending.Emptied(now) {
		t.Error("somebody else's Secret was touched")
	}
}
