// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

func ballast(meta *metav1.ObjectMeta) {
	meta.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	meta.Labels = map[string]string{"a": "b"}
	meta.OwnerReferences = []metav1.OwnerReference{{Name: "x"}}
	meta.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
}

// What the API reads is left, what it does not is gone.
func TestStrip(t *testing.T) {
	full := connection("ns", "c", "u", 3, func(c *v1alpha1.OAuthConnection) {
		c.ResourceVersion, c.Finalizers = "7", []string{v1alpha1.FinalizerConnection}
		c.Spec.Owner, c.Spec.DisplayName = "ann", "Ann's"
		c.Spec.Inputs = map[string]v1alpha1.InputValue{"shop": "x"}
		c.Spec.Grant.Type = v1alpha1.GrantType("AuthorizationCode")
		c.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "token"}
		c.Status.ID, c.Status.Scopes, c.Status.Subject = "p", []string{"read"}, "acme"
		c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: "r", Message: "m"}}
	})
	want := full.DeepCopy()
	full.Status.Conditions = append(full.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReconciling},
		metav1.Condition{Type: v1alpha1.ConditionStalled})
	ballast(&full.ObjectMeta)
	full.Spec.Secret.Template = &v1alpha1.SecretTemplate{}
	got, err := directory.Strip(full)
	if err != nil || got != any(full) || !equality.Semantic.DeepEqual(full, want) {
		t.Errorf("%v: got %+v\nwant %+v", err, got, want)
	}
	full.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "now", "other": "x"}
	if _, err := directory.Strip(full); err != nil || len(full.Annotations) != 1 ||
		full.Annotations[v1alpha1.AnnotationRefreshRequestedAt] != "now" {
		t.Errorf("annotations %v, %v", full.Annotations, err)
	}

	app := application("ns", "a", "u", 3)
	app.Spec.APIBaseURL, app.Status.ClientID = "https://api.example.com", "id"
	wantApp := app.DeepCopy()
	ballast(&app.ObjectMeta)
	if _, err := directory.Strip(app); err != nil || !equality.Semantic.DeepEqual(app, wantApp) {
		t.Errorf("%v: got %+v", err, app)
	}
	gone := toolscache.DeletedFinalStateUnknown{Key: "ns/c"}
	if got, err := directory.Strip(gone); err != nil || got != any(gone) {
		t.Errorf("%v, %v", got, err)
	}
}
