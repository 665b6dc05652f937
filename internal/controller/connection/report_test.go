// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TestRenderedSecretsThatAreGone : while the inputs of a template are not known, no Secret is called current unseen.
func TestRenderedSecretsThatAreGone(t *testing.T) {
	connection := fromOthers("crm")
	connection.Spec.Secret = &v1alpha1.TokenSecretSpec{Template: &v1alpha1.SecretTemplate{}}
	connection.Status.SecretName = "crm"
	secret := func(owner types.UID) client.Object {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "crm", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: v1alpha1.GroupVersion().String(), Kind: "OAuthConnection", Name: "crm", UID: owner, Controller: new(true)},
		}}}
	}
	for _, row := range []struct {
		name    string
		objects []client.Object
		current bool
	}{
		{"as it was", []client.Object{secret("crm")}, true},
		{"deleted", nil, false},
		{"somebody else's", []client.Object{secret("another")}, false},
	} {
		s := &scope{name: client.ObjectKeyFromObject(connection), connection: connection}
		s.facts.Record = &lifecycle.Record{Tokens: lifecycle.Tokens{AccessToken: sensitive.New("access")}}
		s.facts.Blocked = &lifecycle.Verdict{Reason: v1alpha1.ReasonInvalidInputs, Message: "spec.inputs.tenant: give it", Stalled: true}
		r := New(Options{Client: fake.NewClientBuilder().WithObjects(row.objects...).Build()})
		p, err := r.publish(t.Context(), s)
		if err != nil || p.Current != row.current || (p.Problem == nil) != row.current {
			t.Errorf("%s: %+v, %v", row.name, p, err)
		}
		ready := lifecycle.Describe(s.facts, p, s.now).Ready
		if got := ready.Status == lifecycle.True; got != row.current {
			t.Errorf("%s: Ready %+v", row.name, ready)
		}
	}
}
