// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// TestSecrets is the Secret that workloads mount.
func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, test := range map[string]func(*testing.T, *world){
		"it holds the token and names its connection":     secretContent,
		"deleted, it is written again":                    secretDeleted,
		"edited, it is mended":                            secretEdited,
		"without its labels it is found":                  secretUnlabelled,
		"another name moves it":                           secretRenamed,
		"another type replaces it":                        secretRetyped,
		"a type that the API server refuses says so":      secretRejected,
		"a foreign one is never touched":                  secretForeign,
		"a foreign one that comes later costs no grant":   secretForeignLater,
		"two connections cannot have the same":            secretOfTwo,
		"it stays while the connection is inactive":       secretOfInactive,
		"it goes with its connection, under any old name": secretWithdrawn,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func secretContent(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	c, got := s.get(t), get(t, w.namespace, s.name, &corev1.Secret{})
	expiry := c.Status.AccessTokenExpiresAt.UTC().Format(time.RFC3339)
	want := map[string]string{"token_type": c.Status.TokenType, "expires_at": expiry, "scope": "api:read offline_access"}
	for key, value := range want {
		if string(got.Data[key]) != value {
			t.Errorf("%s is %q, want %q", key, got.Data[key], value)
		}
	}
	if len(got.Data) != len(want)+1 || !server.Introspect(string(got.Data["access_token"])) {
		t.Errorf("there are %d keys, or the access token is not alive", len(got.Data))
	}
	if got.Labels[v1alpha1.LabelConnection] != s.name || got.Labels[v1alpha1.LabelConnectionUID] != string(c.UID) {
		t.Errorf("labels are %v", got.Labels)
	}
	if got.Annotations[v1alpha1.AnnotationExpiresAt] != expiry || got.Type != corev1.SecretTypeOpaque {
		t.Errorf("annotations are %v, type is %s", got.Annotations, got.Type)
	}
	if owner := metav1.GetControllerOf(got); owner == nil || owner.UID != c.UID || owner.Kind != "OAuthConnection" {
		t.Errorf("owners are %v", got.OwnerReferences)
	}
	if c.Status.SecretName != s.name {
		t.Errorf("status.secretName is %q", c.Status.SecretName)
	}
}

// mended waits until the Secret is as it was, and fails when the provider was asked for that.
func (s *subject) mended(t *testing.T, before *corev1.Secret) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		now := &corev1.Secret{}
		if err := plane.Client().Get(context.Background(), client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if fmt.Sprint(now.Data) != fmt.Sprint(before.Data) || fmt.Sprint(now.Labels) != fmt.Sprint(before.Labels) {
			return errors.New("the Secret is not as it was")
		}
		return nil
	})
	s.wait(t, isReady)
	if n := s.tokenRequests(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func secretDeleted(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	remove(t, before.DeepCopy())
	s.mended(t, before)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventSecretRepaired)
}

func secretEdited(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	update(t, before.DeepCopy(), func(c *corev1.Secret) {
		c.Data = map[string][]byte{"access_token": []byte("mine"), "more": []byte("x")}
	})
	s.mended(t, before)
	update(t, get(t, w.namespace, s.name, &corev1.Secret{}), func(c *corev1.Secret) { c.Labels["team"] = "red" })
	before = get(t, w.namespace, s.name, &corev1.Secret{})
	update(t, before.DeepCopy(), func(c *corev1.Secret) { delete(c.Data, "access_token") })
	s.mended(t, before) // labels of others stay
}

func secretUnlabelled(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	update(t, before.DeepCopy(), func(c *corev1.Secret) { c.Labels = nil })
	s.mended(t, before)
}

func named(name string) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) { spec.Secret = &v1alpha1.TokenSecretSpec{Name: name} }
}

func secretRenamed(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token, other := s.token(t), w.name()
	s.update(t, func(c *v1alpha1.OAuthConnection) { named(other)(&c.Spec) })
	s.wait(t, is(v1alpha1.ConditionReady, metav1.ConditionTrue), func(c *v1alpha1.OAuthConnection) error {
		if c.Status.SecretName != other {
			return errors.New("want the other name in status")
		}
		return nil
	})
	waitGone(t, secret(w.namespace, s.name, nil))
	if tokenIn(t, w.namespace, other) != token || s.tokenRequests() != 1 {
		t.Error("the token is another one, or the provider was asked")
	}
}

func secretRetyped(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	before := get(t, w.namespace, s.name, &corev1.Secret{})
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Secret = &v1alpha1.TokenSecretSpec{Type: "example.com/token"}
	})
	testenv.Eventually(t, patience, func() error {
		now := &corev1.Secret{}
		if err := plane.Client().Get(context.Background(), client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if now.Type != "example.com/token" || fmt.Sprint(now.Data) != fmt.Sprint(before.Data) {
			return fmt.Errorf("the type is %s, or the data differ", now.Type)
		}
		return nil
	})
	s.wait(t, is(v1alpha1.ConditionReady, metav1.ConditionTrue))
}

func secretRejected(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Secret = &v1alpha1.TokenSecretSpec{Type: string(corev1.SecretTypeTLS)}
	})
	s.wait(t, notReady(v1alpha1.ReasonSecretRejected), phase(v1alpha1.ConnectionActive), says("tls.crt"))
	if s.token(t) != token {
		t.Error("the workload lost the Secret that it had")
	}
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Secret = nil })
	s.wait(t, isReady)
}

func secretForeign(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	taken := w.name()
	foreign := secret(w.namespace, taken, map[string]string{"password": "theirs"})
	create(t, foreign)
	s := w.subject(t, server, server.URL, named(taken))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretConflict), says(taken),
		is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonSecretConflict)
	if now := get(t, w.namespace, taken, &corev1.Secret{}); now.ResourceVersion != foreign.ResourceVersion {
		t.Error("the foreign Secret was changed")
	}
	remove(t, foreign)
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	if !server.Introspect(tokenIn(t, w.namespace, taken)) || s.tokenRequests() != 1 {
		t.Error("the token is not alive, or the provider was asked twice")
	}
}

func secretForeignLater(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	taken := w.name()
	foreign := secret(w.namespace, taken, map[string]string{"password": "theirs"})
	create(t, foreign)
	token := s.token(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) { named(taken)(&c.Spec) })
	s.wait(t, phase(v1alpha1.ConnectionActive), notReady(v1alpha1.ReasonSecretConflict))
	if s.token(t) != token {
		t.Error("the workload lost the Secret that it had")
	}
	s.delete(t)
	waitGone(t, secret(w.namespace, s.name, nil))
	if now := get(t, w.namespace, taken, &corev1.Secret{}); now.ResourceVersion != foreign.ResourceVersion {
		t.Error("the foreign Secret was changed")
	}
	dead(t, server)
}

func secretOfTwo(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	shared := w.name()
	first := w.connected(t, server, server.URL, named(shared))
	second := w.subject(t, server, server.URL, named(shared))
	create(t, codeSecret(t, server, w.namespace, second.name))
	second.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonSecretConflict), says(first.name))
	first.wait(t, isReady)
	first.delete(t)
	second.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	if !server.Introspect(tokenIn(t, w.namespace, shared)) {
		t.Error("the Secret does not hold the second connection's token")
	}
}

func secretOfInactive(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	token := s.token(t)
	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.requestRefresh(t)
	s.wait(t, phase(v1alpha1.ConnectionInactive))
	if s.token(t) != token {
		t.Error("the Secret was changed")
	}
	remove(t, get(t, w.namespace, s.name, &corev1.Secret{}))
	testenv.Eventually(t, patience, func() error {
		return plane.Client().Get(context.Background(), s.key(), &corev1.Secret{})
	})
}

func secretWithdrawn(t *testing.T, w *world) {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	update(t, get(t, w.namespace, s.name, &corev1.Secret{}), func(c *corev1.Secret) { c.Finalizers = []string{"example.com/hold"} })
	other := w.name()
	s.update(t, func(c *v1alpha1.OAuthConnection) { named(other)(&c.Spec) })
	testenv.Eventually(t, patience, func() error {
		return plane.Client().Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: other}, &corev1.Secret{})
	})
	remove(t, s.get(t))
	waitGone(t, secret(w.namespace, other, nil))
	update(t, get(t, w.namespace, s.name, &corev1.Secret{}), func(c *corev1.Secret) { c.Finalizers = nil })
	waitGone(t, secret(w.namespace, s.name, nil))
	waitGone(t, connection(w.namespace, s.name, s.name))
	dead(t, server)
}

// TestRenameToATakenName : workloads still mount the Secret of the old name, so it goes on being updated.
func TestRenameToATakenName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	first := s.token(t)
	foreign := secret(w.namespace, "taken", map[string]string{"password": "theirs"})
	create(t, foreign)
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		c.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "taken"}
		c.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "now"}
	})
	s.wait(t, ready(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict))
	s.waitOtherToken(t, first)
	if got := get(t, w.namespace, "taken", &corev1.Secret{}); string(got.Data["password"]) != "theirs" || len(got.Data) != 1 {
		t.Errorf("the foreign Secret was touched: keys %d", len(got.Data))
	}
	if err := plane.Client().Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	waitGone(t, secret(w.namespace, s.name, nil))
}
