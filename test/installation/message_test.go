// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	// patience is how long something may take on a busy machine.
	patience = 30 * time.Second
	// policyName is that of config/admission.
	policyName = "oauth-operator-messages"
)

// message returns a Secret as the gateway makes it when a person comes back, with a code of some length.
func message(t *testing.T, namespace, about string, length int) *corev1.Secret {
	t.Helper()
	login := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(about)
	now := time.Now().Truncate(time.Second) // So that all are of one length.
	secret, err := pending.Encode(namespace, pending.Name(pending.AuthorizationResponse, "login", login), pending.Message{
		Connection: types.NamespacedName{Namespace: "billing", Name: "crm"}, ConnectionUID: "connection",
		Application: types.NamespacedName{Namespace: "platform", Name: "crm"}, ApplicationUID: "application",
		ReceivedAt: now, KeepUntil: now.Add(time.Hour),
		Response: &pending.Response{
			Login: login, Code: sensitive.New(strings.Repeat("c", length)), Verifier: sensitive.New("verifier"),
			RedirectURL: "https://oauth.example.com/oauth2/callback",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// longest is the length of a code in the longest message that pending writes.
func longest(t *testing.T) int {
	t.Helper()
	const limit = 64 << 10
	return limit - len(message(t, "any", "longest", 1).Data["message"]) + 1
}

func TestMessagesAreTaken(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	g := gateway(t, namespace)
	hint, err := pending.Encode(namespace, pending.Name(pending.GrantHint, "event"), pending.Message{
		ApplicationUID: "application", ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
		Hint: &pending.Hint{ID: "event", EventType: "revoked", Subject: "account", At: time.Now()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]*corev1.Secret{
		"a login":                    message(t, namespace, "login", 32),
		"the longest that there is":  message(t, namespace, "longest", longest(t)),
		"a hint":                     hint,
		"one with labels of a house": labelled(message(t, namespace, "labels", 32), "example.com/owner", "platform"),
	} {
		if err := g.Create(t.Context(), secret.DeepCopy()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := g.Create(t.Context(), secret.DeepCopy()); !apierrors.IsAlreadyExists(err) {
			t.Errorf("%s, a second time: got %v, want a conflict", what, err)
		}
		stored := &corev1.Secret{}
		if err := plane.Client().Get(t.Context(), client.ObjectKeyFromObject(secret), stored); err != nil {
			t.Fatal(err)
		}
		if _, err := pending.Decode(stored); err != nil {
			t.Errorf("%s: the controller reads %v", what, err)
		}
	}
}

func labelled(secret *corev1.Secret, key, value string) *corev1.Secret {
	secret.Labels[key] = value
	return secret
}

// TestOnlyMessagesAreTaken changes one thing of a good message at a time.
func TestOnlyMessagesAreTaken(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	g := gateway(t, namespace)
	tests := []struct {
		reason string
		word   string
		change func(*corev1.Secret)
	}{
		{"a grant record is the controller's", "named pending-", func(s *corev1.Secret) { s.Name = "grant-" + s.Name }},
		{"its keys are the controller's", "named pending-", func(s *corev1.Secret) { s.Name = v1alpha1.GatewayKeysSecret }},
		{"a name that only looks like it", "named pending-", func(s *corev1.Secret) { s.Name = "pendingx" }},
		{"a name that the API server completes", "named pending-", func(s *corev1.Secret) { s.Name, s.GenerateName = "", "grant-" }},
		{"a grant record's type", "type oauth-operator.io/pending", func(s *corev1.Secret) { s.Type = v1alpha1.SecretTypeGrant }},
		{"the keys' type", "type oauth-operator.io/pending", func(s *corev1.Secret) { s.Type = v1alpha1.SecretTypeKeys }},
		{"no type", "type oauth-operator.io/pending", func(s *corev1.Secret) { s.Type = "" }},
		{"an account's token, which the cluster would fill in", "type oauth-operator.io/pending", func(s *corev1.Secret) {
			s.Type = corev1.SecretTypeServiceAccountToken
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: testenv.GatewayServiceAccount}
		}},
		{"a token to join the cluster with", "type oauth-operator.io/pending", func(s *corev1.Secret) { s.Type = corev1.SecretTypeBootstrapToken }},
		{"no labels", "label", func(s *corev1.Secret) { s.Labels = nil }},
		{"a grant record's label", "label", func(s *corev1.Secret) { s.Labels[v1alpha1.LabelRecord] = v1alpha1.RecordGrant }},
		{"another label alone", "label", func(s *corev1.Secret) { s.Labels = map[string]string{"example.com/owner": "platform"} }},
		{"the mark of a connection's Secret", "label", func(s *corev1.Secret) { s.Labels[v1alpha1.LabelConnectionUID] = "connection" }},
		{"nothing in it", "one key", func(s *corev1.Secret) { s.Data = nil }},
		{"another key", "one key", func(s *corev1.Secret) { s.Data = map[string][]byte{"refresh_token": []byte("x")} }},
		{"one key more", "one key", func(s *corev1.Secret) { s.Data["refresh_token"] = []byte("x") }},
		{"one key more, in clear", "one key", func(s *corev1.Secret) { s.StringData = map[string]string{"more": "x"} }},
		{"too long", "64 KiB", func(s *corev1.Secret) { s.Data["message"] = make([]byte, 64<<10+3) }},
		{"the controller could not empty it", "immutable", func(s *corev1.Secret) { s.Immutable = new(true) }},
		{"nor should anybody wonder", "immutable", func(s *corev1.Secret) { s.Immutable = new(false) }},
		{"the controller could not delete it", "finalizers", func(s *corev1.Secret) { s.Finalizers = []string{"example.com/never"} }},
		{"it could be collected before it is read", "owners", func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "gone"}}
		}},
	}
	for _, test := range tests {
		secret := message(t, namespace, test.reason, 32)
		if err := g.Create(t.Context(), secret.DeepCopy(), client.DryRunAll); err != nil {
			t.Fatalf("the message is not good before it is changed: %v", err)
		}
		test.change(secret)
		refusedByPolicy(t, test.reason, test.word, g.Create(t.Context(), secret))
	}
	secrets := &corev1.SecretList{}
	if err := plane.Client().List(t.Context(), secrets, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(secrets.Items) != 0 {
		t.Errorf("%d Secrets were created", len(secrets.Items))
	}
}

// TestPolicyStandsWithoutRBAC binds the accounts of the public processes to a role that may do everything with Secrets.
func TestPolicyStandsWithoutRBAC(t *testing.T) {
	t.Parallel()
	for _, name := range []string{testenv.GatewayServiceAccount, "oauth-operator-api"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace, elsewhere := plane.Namespace(t), plane.Namespace(t)
			gateway(t, namespace) // Installs the policy.
			public := account(t, namespace, name)
			own := message(t, namespace, "own", 32)
			if err := public.Create(t.Context(), own); err != nil {
				t.Fatal(err)
			}
			refusedByPolicy(t, "another namespace", "their own namespace", public.Create(t.Context(), message(t, elsewhere, "message", 32)))
			grant := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "grant-1"}}
			refusedByPolicy(t, "a grant record", "named pending-", public.Create(t.Context(), grant.DeepCopy()))
			create(t, grant)
			for _, secret := range []*corev1.Secret{own, grant} {
				changed := secret.DeepCopy()
				changed.Data = map[string][]byte{"message": []byte("another")}
				patch := client.RawPatch(types.MergePatchType, []byte(`{"data":{"message":null}}`))
				refusedByPolicy(t, "update "+secret.Name, "change no Secret", public.Update(t.Context(), changed))
				refusedByPolicy(t, "patch "+secret.Name, "change no Secret", public.Patch(t.Context(), secret.DeepCopy(), patch))
				refusedByPolicy(t, "delete "+secret.Name, "change no Secret", public.Delete(t.Context(), secret.DeepCopy()))
			}
			refusedByPolicy(t, "delete all", "change no Secret",
				public.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace)))
		})
	}
}

// TestPolicyIsAboutPublicProcessesAlone : everybody else, the controller first, writes what they like.
func TestPolicyIsAboutPublicProcessesAlone(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	gateway(t, namespace)
	config, err := plane.Controller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]client.Client{"the controller": newClient(t, config), "an administrator": plane.Client()}
	for _, name := range []string{"oauth-operator-gateway-2", "my-oauth-operator-gateway", "gateway"} {
		others[name] = account(t, namespace, name)
	}
	for who, other := range others {
		record := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "grant-", Labels: map[string]string{v1alpha1.LabelRecord: v1alpha1.RecordGrant}},
			Type:       v1alpha1.SecretTypeGrant,
			Data:       map[string][]byte{"refresh_token": []byte("x")},
		}
		testenv.Eventually(t, patience, func() error { // Until the role counts.
			return other.Create(context.Background(), record.DeepCopy(), client.DryRunAll)
		})
		if err := other.Create(t.Context(), record); err != nil {
			t.Errorf("%s creates a record: %v", who, err)
			continue
		}
		record.Data["refresh_token"] = []byte("y")
		if err := other.Update(t.Context(), record); err != nil {
			t.Errorf("%s changes a record: %v", who, err)
		}
		if err := other.Delete(t.Context(), record); err != nil {
			t.Errorf("%s deletes a record: %v", who, err)
		}
	}
}
