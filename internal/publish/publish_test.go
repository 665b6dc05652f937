// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestPublishCreates(t *testing.T) {
	w := newWorld(t)
	w.publish(t, desired(), Result{Outcome: Created})
	w.wantCalls(t, "create crm-token")
	got := w.secret(t, "crm-token")
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "billing", Name: "crm-token", UID: "uid-of-crm-token", ResourceVersion: got.ResourceVersion,
			Labels: map[string]string{
				"oauth-operator.io/connection":     "crm",
				"oauth-operator.io/connection-uid": string(uid),
				"app.kubernetes.io/managed-by":     "oauth-operator",
			},
			Annotations: map[string]string{"oauth-operator.io/expires-at": "2026-08-01T12:30:15Z"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "oauth-operator.io/v1alpha1", Kind: "OAuthConnection", Name: "crm", UID: uid,
				Controller: new(true), BlockOwnerDeletion: new(true),
			}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			"access_token": []byte(token),
			"token_type":   []byte("Bearer"),
			"expires_at":   []byte("2026-08-01T12:30:15Z"),
			"scope":        []byte("api:read offline_access"),
		},
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("Secret = %+v, want %+v", got, want)
	}

	w.publish(t, desired(), Result{Outcome: Unchanged})
	w.wantCalls(t)
}

func TestPublishWithoutExpiryAndScopes(t *testing.T) {
	d := desired()
	d.ExpiresAt, d.Scopes = time.Time{}, nil
	w := newWorld(t)
	w.publish(t, d, Result{Outcome: Created})
	got := w.secret(t, "crm-token")
	expiry, expirySet := got.Data["expires_at"]
	scope, scopeSet := got.Data["scope"]
	annotation, annotated := got.Annotations["oauth-operator.io/expires-at"]
	if !expirySet || !scopeSet || !annotated || string(expiry)+string(scope)+annotation != "" {
		t.Errorf("expires_at, scope and annotation must be there and empty: %q, %q", got.Data, got.Annotations)
	}
	w.publish(t, d, Result{Outcome: Unchanged})
	w.wantCalls(t, "create crm-token")
}

// TestPublishConverges starts from a Secret that differs from the desired one.
func TestPublishConverges(t *testing.T) {
	older := desired()
	older.AccessToken, older.ExpiresAt = sensitive.New("at-older"), older.ExpiresAt.Add(-time.Hour)
	for _, test := range []struct {
		reason   string
		existing *corev1.Secret
		outcome  Outcome
		calls    []string
	}{
		{reason: "as desired", existing: published(desired()), outcome: Unchanged},
		{reason: "a new token", existing: published(older), outcome: Updated, calls: []string{"update crm-token"}},
		{
			reason: "somebody added a key", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Data["extra"] = []byte("x") }),
		},
		{
			reason: "somebody removed an empty key's neighbour", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { delete(s.Data, "scope") }),
		},
		{
			reason: "somebody changed a label", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Labels["app.kubernetes.io/managed-by"] = "Helm" }),
		},
		{
			reason: "somebody took all labels: the cache shows nothing", outcome: Updated,
			calls:    []string{"create crm-token", "get crm-token", "update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Labels = nil }),
		},
		{
			reason: "somebody took the annotations", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Annotations = nil }),
		},
		{
			reason: "somebody changed the owner reference", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.OwnerReferences[0].BlockOwnerDeletion = nil }),
		},
		{
			reason: "an earlier API version of the owner", outcome: Updated, calls: []string{"update crm-token"},
			existing: published(desired(), func(s *corev1.Secret) {
				s.OwnerReferences[0].APIVersion = "oauth-operator.io/v1alpha0"
			}),
		},
		{
			reason: "immutable as desired is left, or a policy that sets it would fight with us", outcome: Unchanged,
			existing: published(desired(), func(s *corev1.Secret) { s.Immutable = new(true) }),
		},
		{
			reason: "immutable with an older token", outcome: Replaced,
			calls:    []string{"try to create crm-token", "delete crm-token", "create crm-token"},
			existing: published(older, func(s *corev1.Secret) { s.Immutable = new(true) }),
		},
		{
			reason: "another type", outcome: Replaced,
			calls:    []string{"try to create crm-token", "delete crm-token", "create crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Type = "example.com/token" }),
		},
		{
			reason: "another type, and no labels", outcome: Replaced,
			calls:    []string{"create crm-token", "get crm-token", "try to create crm-token", "delete crm-token", "create crm-token"},
			existing: published(desired(), func(s *corev1.Secret) { s.Type, s.Labels = "example.com/token", nil }),
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			theirs := func(s *corev1.Secret) {
				metav1.SetMetaDataAnnotation(&s.ObjectMeta, "argocd.argoproj.io/tracking-id", "app")
				s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{
					APIVersion: "v1", Kind: "ConfigMap", Name: "bundle", UID: otherUID,
				})
			}
			theirs(test.existing)
			if test.existing.Labels != nil {
				test.existing.Labels["team"] = "a"
			}
			w := newWorld(t, test.existing)
			w.publish(t, desired(), Result{Outcome: test.outcome})
			w.wantCalls(t, test.calls...)

			got, want := w.secret(t, "crm-token"), published(desired(), theirs)
			if test.existing.Labels != nil {
				want.Labels["team"] = "a"
			}
			want.ResourceVersion, want.UID = got.ResourceVersion, got.UID
			if test.outcome == Unchanged {
				want.Immutable = test.existing.Immutable
			}
			if !equality.Semantic.DeepEqual(got, want) {
				t.Errorf("Secret = %+v, want %+v", got, want)
			}
			w.publish(t, desired(), Result{Outcome: Unchanged})
			w.wantCalls(t)
		})
	}
}

func TestPublishTellsRepairsFromNews(t *testing.T) {
	w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.Data["access_token"] = []byte("edited") }))
	w.publish(t, desired(), Result{Outcome: Updated}) // A restarted process cannot know.

	edited := w.secret(t, "crm-token")
	edited.Data["access_token"] = []byte("edited again")
	if err := w.api.Update(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	w.publish(t, desired(), Result{Outcome: Updated, Repaired: true})

	if err := w.api.Delete(t.Context(), w.secret(t, "crm-token")); err != nil {
		t.Fatal(err)
	}
	w.publish(t, desired(), Result{Outcome: Created, Repaired: true})

	newer := desired()
	newer.AccessToken = sensitive.New("at-newer")
	w.publish(t, newer, Result{Outcome: Updated})
	newer.Type = "example.com/token"
	w.publish(t, newer, Result{Outcome: Replaced})
	newer.Name = "renamed"
	w.publish(t, newer, Result{Outcome: Created})

	if err := w.publisher.Withdraw(t.Context(), connection(), uid); err != nil {
		t.Fatal(err)
	}
	w.publish(t, newer, Result{Outcome: Created}) // Revived: deleting it was our own doing.
}

func TestPublishWhileTheCacheLags(t *testing.T) {
	t.Run("behind our own creation", func(t *testing.T) {
		w := newWorld(t, published(desired()))
		w.stale = newAPI()
		w.publish(t, desired(), Result{Outcome: Unchanged})
		w.wantCalls(t, "create crm-token", "get crm-token")
	})
	t.Run("behind our own update", func(t *testing.T) {
		w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.Data["access_token"] = []byte("older") }))
		w.stale = newAPI(w.secret(t, "crm-token"))
		w.publish(t, desired(), Result{Outcome: Updated})
		w.wantCalls(t, "update crm-token")
		if _, err := w.publisher.Publish(t.Context(), desired()); !apierrors.IsConflict(err) {
			t.Errorf("Publish = %v, want a conflict, which is tried again", err)
		}
		w.wantCalls(t)
	})
	t.Run("behind somebody's deletion", func(t *testing.T) {
		w := newWorld(t)
		w.stale = newAPI(published(desired(), func(s *corev1.Secret) { s.Data = nil }))
		if _, err := w.publisher.Publish(t.Context(), desired()); !apierrors.IsNotFound(err) {
			t.Errorf("Publish = %v, want NotFound, which is tried again", err)
		}
	})
	t.Run("behind an update", func(t *testing.T) {
		w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.ResourceVersion = "2000" }))
		w.stale = newAPI(published(desired(), func(s *corev1.Secret) { s.Data = nil }))
		if _, err := w.publisher.Publish(t.Context(), desired()); !apierrors.IsConflict(err) {
			t.Errorf("Publish = %v, want a conflict, which is tried again", err)
		}
	})
}

func TestPublishLeavesForeignSecretsAlone(t *testing.T) {
	labelled := func(s *corev1.Secret) { s.Labels = rendered(desired()).Labels }
	for _, test := range []struct {
		reason   string
		existing *corev1.Secret
		calls    []string
		message  string
		former   bool
	}{
		{
			reason: "a user's Secret", existing: foreign("crm-token"), calls: []string{"create crm-token", "get crm-token"},
			message: "is not this connection's; it is left alone: set another spec.secret.name, or delete it",
		},
		{
			reason: "labels prove nothing", existing: foreign("crm-token", labelled),
			message: "is not this connection's",
		},
		{
			reason: "an owner that is no controller proves nothing", message: "is not this connection's",
			existing: published(desired(), func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil }),
		},
		{
			reason: "an owner of another group", message: "belongs to OAuthConnection crm;",
			existing: published(desired(), func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "example.com/v1" }),
		},
		{
			reason: "an owner of another kind", message: "belongs to OAuthApplication crm;",
			existing: published(desired(), func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "OAuthApplication" }),
		},
		{
			reason: "another connection's", message: "belongs to OAuthConnection erp;",
			existing: published(desired(), func(s *corev1.Secret) {
				s.OwnerReferences[0].Name, s.OwnerReferences[0].UID = "erp", otherUID
			}),
		},
		{
			reason: "an earlier connection's of the same name", message: "garbage collection", former: true,
			existing: published(desired(), func(s *corev1.Secret) { s.OwnerReferences[0].UID = otherUID }),
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t, test.existing)
			before := w.secret(t, "crm-token")
			_, err := w.publisher.Publish(t.Context(), desired())
			var conflict *ConflictError
			if !errors.As(err, &conflict) {
				t.Fatalf("Publish = %v, want a ConflictError", err)
			}
			if conflict.Secret.String() != "billing/crm-token" || conflict.Former != test.former ||
				!strings.Contains(err.Error(), test.message) || !strings.Contains(err.Error(), "billing/crm-token") {
				t.Errorf("error %+v says %q, want former=%v and %q", conflict, err, test.former, test.message)
			}
			w.wantCalls(t, test.calls...)
			if after := w.secret(t, "crm-token"); !equality.Semantic.DeepEqual(before, after) {
				t.Errorf("the foreign Secret changed: %+v", after)
			}
		})
	}
}

func TestPublishUnderANewName(t *testing.T) {
	former := desired()
	former.Name = "former"
	t.Run("deletes the former Secret at last", func(t *testing.T) {
		bystander := published(desired(), func(s *corev1.Secret) { s.Name, s.OwnerReferences[0].UID = "bystander", otherUID })
		w := newWorld(t, published(former), bystander)
		w.publish(t, desired(), Result{Outcome: Created})
		w.wantCalls(t, "create crm-token", "delete former")
		if w.secret(t, "former") != nil || w.secret(t, "bystander") == nil {
			t.Error("only the former Secret must go")
		}
		want := metav1.Preconditions{UID: new(types.UID("uid-of-former")), ResourceVersion: new("999")}
		if got := w.preconditions[0]; !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("preconditions = %v, want %v", got, want)
		}
	})
	t.Run("keeps it while the new one is impossible", func(t *testing.T) {
		w := newWorld(t, published(former), foreign("crm-token"))
		if _, err := w.publisher.Publish(t.Context(), desired()); err == nil {
			t.Error("Publish succeeded over a foreign Secret")
		}
		if w.secret(t, "former") == nil {
			t.Error("the workload lost the Secret that it has")
		}
	})
	t.Run("says when it cannot", func(t *testing.T) {
		w := newWorld(t, published(former))
		w.fail = func(call string) error {
			if call == "delete former" {
				return apierrors.NewForbidden(corev1.Resource("secrets"), "former", errors.New("protected: "+token))
			}
			return nil
		}
		result, err := w.publisher.Publish(t.Context(), desired())
		var leftover *LeftoverError
		if !errors.As(err, &leftover) || !apierrors.IsForbidden(err) || result.Outcome != Created {
			t.Errorf("Publish = %+v, %v; want Created and a LeftoverError", result, err)
		}
		wantNoToken(t, err)
	})
}

func TestPublishWaitsForDeletion(t *testing.T) {
	w := newWorld(t, published(desired(), func(s *corev1.Secret) {
		s.Finalizers, s.DeletionTimestamp = []string{"example.com/backup"}, new(metav1.Now())
	}))
	_, err := w.publisher.Publish(t.Context(), desired())
	if err == nil || !strings.Contains(err.Error(), `wait for Secret billing/crm-token: it is being deleted and has finalizers ["example.com/backup"]`) {
		t.Errorf("Publish = %v, want an error that names the finalizer", err)
	}
	w.wantCalls(t)
}

func TestPublishReplacesOnlyWhatIsGone(t *testing.T) {
	existing := published(desired(), func(s *corev1.Secret) { s.Type, s.Finalizers = "example.com/token", []string{"example.com/backup"} })
	w := newWorld(t, existing)
	_, err := w.publisher.Publish(t.Context(), desired())
	if err == nil || !strings.Contains(err.Error(), "example.com/backup") {
		t.Errorf("Publish = %v, want an error that names the finalizer", err)
	}
	w.wantCalls(t, "try to create crm-token", "delete crm-token")
}

func TestPublishLosesTheNameWhileReplacing(t *testing.T) {
	w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.Type = "example.com/token" }))
	w.fail = func(call string) error {
		if call == "create crm-token" {
			return apierrors.NewAlreadyExists(corev1.Resource("secrets"), "crm-token")
		}
		return nil
	}
	if _, err := w.publisher.Publish(t.Context(), desired()); !apierrors.IsAlreadyExists(err) {
		t.Errorf("Publish = %v, want AlreadyExists, which is tried again", err)
	}
}

func TestPublishKeepsTheSecretWhenItsNewTypeIsRefused(t *testing.T) {
	w := newWorld(t, published(desired()))
	w.fail = func(call string) error {
		if strings.Contains(call, "create") {
			return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "crm-token", nil)
		}
		return nil
	}
	d := desired()
	d.Type = string(corev1.SecretTypeTLS)
	_, err := w.publisher.Publish(t.Context(), d)
	if _, ok := errors.AsType[*RejectedError](err); !ok {
		t.Errorf("Publish = %v, want a RejectedError", err)
	}
	w.wantCalls(t, "try to create crm-token")
	if w.secret(t, "crm-token") == nil {
		t.Error("the workload lost the Secret that it has")
	}
}

func TestPublishRefusesNonsense(t *testing.T) {
	for _, test := range []struct {
		reason   string
		edit     func(*Desired)
		rejected bool
	}{
		{reason: "no token", edit: func(d *Desired) { d.AccessToken = sensitive.String{} }},
		{reason: "no name", edit: func(d *Desired) { d.Name = "" }},
		{reason: "no UID", edit: func(d *Desired) { d.ConnectionUID = "" }},
		{reason: "no connection", edit: func(d *Desired) { d.Connection.Name = "" }},
		{reason: "a service account's token", rejected: true, edit: func(d *Desired) { d.Type = "kubernetes.io/service-account-token" }},
		{reason: "a node's token", rejected: true, edit: func(d *Desired) { d.Type = "bootstrap.kubernetes.io/token" }},
		{reason: "a grant record", rejected: true, edit: func(d *Desired) { d.Type = "oauth-operator.io/grant" }},
		{reason: "a message to the controller", rejected: true, edit: func(d *Desired) { d.Type = "oauth-operator.io/pending" }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w, d := newWorld(t), desired()
			test.edit(&d)
			_, err := w.publisher.Publish(t.Context(), d)
			var rejected *RejectedError
			if err == nil || errors.As(err, &rejected) != test.rejected {
				t.Errorf("Publish = %v, want an error; rejected: %v", err, test.rejected)
			}
			w.wantCalls(t)
		})
	}
}

func TestWithdraw(t *testing.T) {
	second := desired()
	second.Name = "second"
	stripped := func(s *corev1.Secret) { s.Labels = nil }
	held := func(s *corev1.Secret) { s.Finalizers = []string{"example.com/backup"} }
	for _, test := range []struct {
		reason  string
		secrets []*corev1.Secret
		cached  []*corev1.Secret
		names   []string
		calls   []string
		left    []string
		message string
	}{
		{reason: "nothing there costs nothing"},
		{
			reason: "all names", secrets: []*corev1.Secret{published(desired())},
			calls: []string{"delete crm-token"},
		},
		{
			reason: "foreign Secrets stay", left: []string{"second"}, names: []string{"second"}, calls: []string{"get second"},
			secrets: []*corev1.Secret{published(second, func(s *corev1.Secret) { s.OwnerReferences[0].UID = otherUID })},
		},
		{
			reason: "without a name, a Secret without labels is not found", left: []string{"crm-token"},
			secrets: []*corev1.Secret{published(desired(), stripped)},
		},
		{
			reason: "by its name it is", names: []string{"crm-token", "second"},
			secrets: []*corev1.Secret{published(desired(), stripped)},
			calls:   []string{"get crm-token", "get second", "delete crm-token"},
		},
		{
			reason: "the cache does not show it yet", cached: []*corev1.Secret{}, names: []string{"crm-token"},
			secrets: []*corev1.Secret{published(desired())},
			calls:   []string{"get crm-token", "delete crm-token"},
		},
		{
			reason: "the cache still shows what has gone", calls: []string{"delete crm-token"},
			cached: []*corev1.Secret{published(desired())},
		},
		{
			reason: "somebody's finalizer keeps it", message: "example.com/backup",
			secrets: []*corev1.Secret{published(desired(), held)},
			calls:   []string{"delete crm-token"}, left: []string{"crm-token"},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t, test.secrets...)
			if test.cached != nil {
				w.stale = newAPI(test.cached...)
			}
			err := w.publisher.Withdraw(t.Context(), connection(), uid, test.names...)
			if test.message == "" && err != nil || test.message != "" && (err == nil || !strings.Contains(err.Error(), test.message)) {
				t.Errorf("Withdraw = %v, want an error with %q", err, test.message)
			}
			w.wantCalls(t, test.calls...)
			for _, secret := range test.secrets {
				left := w.secret(t, secret.Name) != nil
				if want := strings.Contains(strings.Join(test.left, " "), secret.Name); left != want {
					t.Errorf("Secret %s is left: %v, want %v", secret.Name, left, want)
				}
			}
			if test.message != "" {
				again := w.publisher.Withdraw(t.Context(), connection(), uid)
				if again == nil {
					t.Error("the second Withdraw says that the Secret is gone")
				}
				w.wantCalls(t)
			}
		})
	}
}

func TestWithdrawDeletesAllAndReportsAll(t *testing.T) {
	var secrets []*corev1.Secret
	for _, name := range []string{"a", "b", "c"} {
		d := desired()
		d.Name = name
		secrets = append(secrets, published(d))
	}
	w := newWorld(t, secrets...)
	w.fail = func(call string) error {
		if call != "delete b" {
			return apierrors.NewForbidden(corev1.Resource("secrets"), strings.TrimPrefix(call, "delete "), errors.New(token))
		}
		return nil
	}
	err := w.publisher.Withdraw(t.Context(), connection(), uid)
	if err == nil || !strings.Contains(err.Error(), "billing/a") || !strings.Contains(err.Error(), "billing/c") {
		t.Errorf("Withdraw = %v, want both failures", err)
	}
	wantNoToken(t, err)
	if w.secret(t, "b") != nil {
		t.Error("one failure kept the others from being deleted")
	}
}

func TestWithdrawGuardsWhatItDeletes(t *testing.T) {
	w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.ResourceVersion, s.OwnerReferences = "2000", nil }))
	w.stale = newAPI(published(desired()))
	if err := w.publisher.Withdraw(t.Context(), connection(), uid); !apierrors.IsConflict(err) {
		t.Errorf("Withdraw = %v, want a conflict: the Secret is not ours any more", err)
	}
	if w.secret(t, "crm-token") == nil {
		t.Error("a foreign Secret was deleted")
	}
}

func TestReadFailures(t *testing.T) {
	broken := errors.New("the API server is away")
	w := newWorld(t, published(desired(), func(s *corev1.Secret) { s.Labels = nil }))
	w.fail = func(call string) error {
		if strings.HasPrefix(call, "get") {
			return broken
		}
		return nil
	}
	if _, err := w.publisher.Publish(t.Context(), desired()); !errors.Is(err, broken) {
		t.Errorf("Publish = %v, want %v", err, broken)
	}
	if err := w.publisher.Withdraw(t.Context(), connection(), uid, "crm-token"); !errors.Is(err, broken) {
		t.Errorf("Withdraw = %v, want %v", err, broken)
	}
	w.stale = interceptor.NewClient(w.api, interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return broken
		},
	})
	if _, err := w.publisher.Publish(t.Context(), desired()); !errors.Is(err, broken) {
		t.Errorf("Publish = %v, want %v", err, broken)
	}
	// A fake client without the index refuses the list.
	w.stale = newUnindexed(t, published(desired()))
	if _, err := w.publisher.Publish(t.Context(), desired()); err == nil {
		t.Error("Publish hides that the cache cannot be listed")
	}
	if err := w.publisher.Withdraw(t.Context(), connection(), uid); err == nil {
		t.Error("Withdraw hides that the cache cannot be listed")
	}
}

func TestOutcomeString(t *testing.T) {
	for outcome, want := range map[Outcome]string{
		Unchanged: "Unchanged", Created: "Created", Updated: "Updated", Replaced: "Replaced", 9: "Outcome(9)",
	} {
		if got := outcome.String(); got != want {
			t.Errorf("Outcome(%d).String() = %q, want %q", int(outcome), got, want)
		}
	}
}

func TestConnectionLabel(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct{ reason, name, want string }{
		{reason: "a name that fits", name: "crm.eu", want: "crm.eu"},
		{reason: "one that just fits", name: long, want: long},
		{reason: "one that does not", name: long + "b", want: strings.Repeat("a", 52) + "-97aa7c540d"},
		{reason: "another with the same beginning", name: long + "c", want: strings.Repeat("a", 52) + "-36fc061545"},
	} {
		if got := ConnectionLabel(test.name); got != test.want || len(got) > 63 {
			t.Errorf("%s: ConnectionLabel(%q) = %q, want %q", test.reason, test.name, got, test.want)
		}
	}
}

func TestIndexConnectionUID(t *testing.T) {
	if got := IndexConnectionUID(published(desired())); len(got) != 1 || got[0] != string(uid) {
		t.Errorf("index of a published Secret = %v", got)
	}
	if got := IndexConnectionUID(foreign("x")); got != nil {
		t.Errorf("index of a Secret without label = %v, want none", got)
	}
	if IndexByConnectionUID != "metadata.labels["+v1alpha1.LabelConnectionUID+"]" {
		t.Errorf("name of the index = %q", IndexByConnectionUID)
	}
}
