// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// TestAPIMayNothingElse asks the API server for everything that the account may do.
func TestAPIMayNothingElse(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	a := api(t, operator)
	everywhere := append(reading(),
		"create oauth-operator.io/oauthconnections", "delete oauth-operator.io/oauthconnections",
		"create authentication.k8s.io/tokenreviews", "create authorization.k8s.io/subjectaccessreviews")
	mayExactly(t, a, operator, append([]string{"create secrets", "get secrets"}, everywhere...))
	for _, namespace := range []string{team, "kube-system"} {
		mayExactly(t, a, namespace, everywhere)
	}
}

// TestAPIReadsOneRecordAtATime : it gets Secrets of the operator's namespace by their names, and no others.
func TestAPIReadsOneRecordAtATime(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	a := api(t, operator)
	for _, secret := range stocked(t, operator, team) {
		name, read := secret.Namespace+"/"+secret.Name, &corev1.Secret{}
		err := a.Get(t.Context(), client.ObjectKeyFromObject(secret), read)
		if secret.Namespace == operator {
			if err != nil || string(read.Data[v1alpha1.SecretKeyAccessToken]) != token {
				t.Errorf("get %s: %v", name, err)
			}
		} else {
			refusedByRBAC(t, "get "+name, err)
			seesNothing(t, "get "+name, read.Data)
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
		refusedByRBAC(t, "update "+name, a.Update(t.Context(), secret.DeepCopy()))
		refusedByRBAC(t, "patch "+name, a.Patch(t.Context(), secret.DeepCopy(), patch))
		refusedByRBAC(t, "delete "+name, a.Delete(t.Context(), secret.DeepCopy()))
	}
	for _, namespace := range []string{operator, team, ""} {
		list := &corev1.SecretList{}
		refusedByRBAC(t, "list in "+namespace, a.List(t.Context(), list, client.InNamespace(namespace)))
		if len(list.Items) != 0 {
			t.Errorf("list in %q: %d Secrets are seen", namespace, len(list.Items))
		}
		events, err := a.Watch(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))
		refusedByRBAC(t, "watch in "+namespace, err)
		if err == nil {
			events.Stop()
		}
	}
	refusedByRBAC(t, "create in another namespace", a.Create(t.Context(), message(t, team, "elsewhere", 32)))
}

// TestAPIMakesAndDeletesConnections and changes none, nor an application.
func TestAPIMakesAndDeletesConnections(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	a := api(t, operator)
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm"},
		Spec:       v1alpha1.OAuthApplicationSpec{IssuerURL: "https://login.example.com", Client: v1alpha1.ClientSpec{ID: "crm"}},
	}
	create(t, app)
	connection := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm"},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
	}
	if err := a.Create(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"oauth-operator.io/refresh-requested-at":"now"}}}`))
	status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Active"}}`))
	refusedByRBAC(t, "update", a.Update(t.Context(), connection.DeepCopy()))
	refusedByRBAC(t, "patch", a.Patch(t.Context(), connection.DeepCopy(), patch))
	refusedByRBAC(t, "patch the status", a.Status().Patch(t.Context(), connection.DeepCopy(), status))
	refusedByRBAC(t, "delete all", a.DeleteAllOf(t.Context(), &v1alpha1.OAuthConnection{}, client.InNamespace(team)))
	if err := a.Delete(t.Context(), connection); err != nil {
		t.Error(err)
	}
	refusedByRBAC(t, "create an application", a.Create(t.Context(), &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "mine"}, Spec: app.Spec,
	}))
	refusedByRBAC(t, "patch an application", a.Patch(t.Context(), app.DeepCopy(), patch))
	refusedByRBAC(t, "delete an application", a.Delete(t.Context(), app.DeepCopy()))
}

// TestAPIKnowsCallers : it may ask who they are and what they may, and become none of them.
func TestAPIKnowsCallers(t *testing.T) {
	t.Parallel()
	operator := plane.Namespace(t)
	a := api(t, operator)
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "nobody's"}}
	if err := a.Create(t.Context(), review); err != nil || review.Status.Authenticated {
		t.Errorf("a token review: %v, %+v", err, review.Status)
	}
	access := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "somebody", ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: v1alpha1.GroupName, Resource: "oauthconnections", Subresource: "proxy", Verb: "get", Namespace: operator,
		},
	}}
	if err := a.Create(t.Context(), access); err != nil || access.Status.Allowed {
		t.Errorf("an access review: %v, %+v", err, access.Status)
	}
	if _, err := plane.UserFor(t.Context(), operator, testenv.ControllerServiceAccount); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{testenv.APIServiceAccount, testenv.ControllerServiceAccount} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: name}}
		refusedByRBAC(t, "a token of "+name, a.SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{}))
	}
	refusedByRBAC(t, "a binding", a.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mine-of-" + operator},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator, Name: testenv.APIServiceAccount}},
	}))
}
