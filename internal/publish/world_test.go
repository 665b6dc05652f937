// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/publish/render"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	namespace = "billing"
	uid       = types.UID("5b0c8a1e-0000-4000-8000-000000000001")
	otherUID  = types.UID("5b0c8a1e-0000-4000-8000-000000000002")
	token     = `at-0123456789<"quoted">/+=`
)

func connection() types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: "crm"}
}

func desired() Desired {
	return Desired{
		Connection: connection(), ConnectionUID: uid, Name: "crm-token",
		AccessToken: sensitive.New(token), TokenType: "Bearer",
		ExpiresAt: time.Date(2026, 8, 1, 14, 30, 15, 999, time.FixedZone("CEST", 2*60*60)),
		Scopes:    []string{"api:read", "offline_access"},
	}
}

// world is an API server, its cache, and a record of the calls to the API server.
type world struct {
	publisher *Publisher
	api       client.WithWatch
	calls     []string
	// incarnation is what the UID of the next Secret of a name ends in.
	incarnation map[string]string
	// fail, when set, answers a call in place of the API server.
	fail func(call string) error
	// stale, when set, is what the cache shows in place of what there is.
	stale client.Reader
	// preconditions of the deletions.
	preconditions []metav1.Preconditions
}

func newWorld(t *testing.T, secrets ...*corev1.Secret) *world {
	t.Helper()
	w := &world{api: newAPI(secrets...), incarnation: map[string]string{}}
	for _, secret := range secrets {
		w.incarnation[secret.Name] = "'"
	}
	recorded := interceptor.NewClient(w.api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return w.call("get "+key.Name, func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			t.Error("the API server was asked for a list")
			return nil
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return w.call(verb("create", opts)+" "+obj.GetName(), func() error {
				obj.SetUID(types.UID(fmt.Sprintf("uid-of-%s%s", obj.GetName(), w.incarnation[obj.GetName()])))
				w.incarnation[obj.GetName()] += "'"
				return c.Create(ctx, obj, opts...)
			})
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return w.call("update "+obj.GetName(), func() error { return c.Update(ctx, obj, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			options := (&client.DeleteOptions{}).ApplyOptions(opts)
			w.preconditions = append(w.preconditions, *options.Preconditions)
			return w.call("delete "+obj.GetName(), func() error { return c.Delete(ctx, obj, opts...) })
		},
	})
	w.publisher = New(Options{Cached: cache{w}, Live: recorded, Writer: recorded})
	return w
}

func newAPI(secrets ...*corev1.Secret) client.WithWatch {
	builder := fake.NewClientBuilder().WithIndex(&corev1.Secret{}, IndexByConnectionUID, IndexConnectionUID)
	for _, secret := range secrets {
		builder.WithObjects(secret.DeepCopy())
	}
	return builder.Build()
}

// verb tells a trial from the real thing.
func verb(name string, opts []client.CreateOption) string {
	if slices.Contains(opts, client.CreateOption(client.DryRunAll)) {
		return "try to " + name
	}
	return name
}

func (w *world) call(call string, do func() error) error {
	w.calls = append(w.calls, call)
	if w.fail != nil {
		if err := w.fail(call); err != nil {
			return err
		}
	}
	return do()
}

// cache shows only Secrets with the connection label, as the manager's does.
type cache struct{ *world }

func (c cache) reader() client.Reader {
	if c.stale != nil {
		return c.stale
	}
	return c.api
}

func (c cache) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := c.reader().Get(ctx, key, obj, opts...); err != nil {
		return err
	}
	if _, shown := obj.GetLabels()[v1alpha1.LabelConnection]; !shown {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	return nil
}

func (c cache) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.reader().List(ctx, list, opts...)
}

// rendered is the Secret that a connection should have; its template, if any, works.
func rendered(d Desired) *corev1.Secret {
	want, err := newWanted(d, render.New())
	if err != nil {
		panic(err)
	}
	return want.Secret
}

// published is the Secret of a connection as the API server has it.
func published(d Desired, edits ...func(*corev1.Secret)) *corev1.Secret {
	secret := rendered(d)
	secret.UID = types.UID("uid-of-" + secret.Name)
	for _, edit := range edits {
		edit(secret)
	}
	return secret
}

// foreign is a Secret of somebody else.
func foreign(name string, edits ...func(*corev1.Secret)) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-of-" + name)},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{"password": []byte("theirs")},
	}
	for _, edit := range edits {
		edit(secret)
	}
	return secret
}

// secret returns what the API server has, or nil.
func (w *world) secret(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	err := w.api.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (w *world) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(w.calls, want) {
		t.Errorf("calls to the API server: %q, want %q", w.calls, want)
	}
	w.calls = nil
}

func (w *world) publish(t *testing.T, d Desired, want Result) {
	t.Helper()
	got, err := w.publisher.Publish(t.Context(), d)
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	if got != want {
		t.Errorf("Publish = %+v, want %+v", got, want)
	}
}
