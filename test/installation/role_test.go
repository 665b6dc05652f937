// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// token is what nobody may see.
const token = "token-that-nobody-must-see"

// stocked fills an operator's namespace and a team's with everything that holds a token or a key.
func stocked(t *testing.T, operator, team string) []*corev1.Secret {
	t.Helper()
	secrets := []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: "grant-1", Labels: map[string]string{v1alpha1.LabelRecord: v1alpha1.RecordGrant}}, Type: v1alpha1.SecretTypeGrant},
		{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: "client-1", Labels: map[string]string{v1alpha1.LabelRecord: v1alpha1.RecordClient}}, Type: v1alpha1.SecretTypeClient},
		{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: v1alpha1.GatewayKeysSecret}, Type: v1alpha1.SecretTypeKeys},
		{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: pending.Name(pending.AuthorizationResponse, "of another")}, Type: v1alpha1.SecretTypePending},
		{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm-token"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm-client"}},
	}
	for _, secret := range secrets {
		secret.Data = map[string][]byte{v1alpha1.SecretKeyAccessToken: []byte(token)}
		create(t, secret)
	}
	return secrets
}

// TestGatewayReadsNoSecret tries every verb on every kind of Secret that there is, its own messages included.
func TestGatewayReadsNoSecret(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	g := gateway(t, operator)
	secrets := stocked(t, operator, team)
	own := message(t, operator, "own", 32)
	if err := g.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if got := own.Data["message"]; len(got) == 0 {
		t.Fatal("the answer to a create holds no message, so what follows shows nothing")
	}
	for _, secret := range append(secrets, own) {
		name := secret.Namespace + "/" + secret.Name
		read := &corev1.Secret{}
		refusedByRBAC(t, "get "+name, g.Get(t.Context(), client.ObjectKeyFromObject(secret), read))
		seesNothing(t, "get "+name, read.Data)
		changed := secret.DeepCopy()
		changed.Data = map[string][]byte{"message": []byte("another")}
		refusedByRBAC(t, "update "+name, g.Update(t.Context(), changed))
		for _, patch := range []client.Patch{
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`)),
			client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/data/access_token","value":"eA=="}]`)),
		} {
			refusedByRBAC(t, "patch "+name, g.Patch(t.Context(), secret.DeepCopy(), patch))
		}
		refusedByRBAC(t, "delete "+name, g.Delete(t.Context(), secret.DeepCopy()))
	}
	for _, namespace := range []string{operator, team, ""} {
		list := &corev1.SecretList{}
		refusedByRBAC(t, "list in "+namespace, g.List(t.Context(), list, client.InNamespace(namespace)))
		refusedByRBAC(t, "list by label in "+namespace,
			g.List(t.Context(), list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending}))
		metadata := &metav1.PartialObjectMetadataList{}
		metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		refusedByRBAC(t, "list metadata in "+namespace, g.List(t.Context(), metadata, client.InNamespace(namespace)))
		if len(list.Items)+len(metadata.Items) != 0 {
			t.Errorf("list in %q: %d Secrets are seen", namespace, len(list.Items)+len(metadata.Items))
		}
		events, err := g.Watch(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))
		refusedByRBAC(t, "watch in "+namespace, err)
		if err == nil {
			events.Stop()
		}
	}
	for _, namespace := range []string{operator, team} {
		refusedByRBAC(t, "delete all in "+namespace, g.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace)))
	}
	refusedByRBAC(t, "create in another namespace", g.Create(t.Context(), message(t, team, "elsewhere", 32)))
}

// TestRefusalsShowNothing looks into what the API server says to a gateway about Secrets that are there.
func TestRefusalsShowNothing(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	g := gateway(t, operator)
	for _, secret := range stocked(t, operator, team) {
		again := secret.DeepCopy()
		again.ResourceVersion, again.Data = "", map[string][]byte{"message": []byte("x")}
		err := g.Create(t.Context(), again)
		if err == nil {
			t.Errorf("%s was created", secret.Name)
			continue
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("creating %s again shows the token", secret.Name)
		}
		seesNothing(t, "creating "+secret.Name+" again", again.Data)
	}
}

func seesNothing(t *testing.T, what string, data map[string][]byte) {
	t.Helper()
	for key, value := range data {
		if strings.Contains(string(value), token) {
			t.Errorf("%s: key %s shows the token", what, key)
		}
	}
}

// TestGatewayReadsBothKinds and changes neither.
func TestGatewayReadsBothKinds(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	g := gateway(t, operator)
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm"},
		Spec:       v1alpha1.OAuthApplicationSpec{IssuerURL: "https://login.example.com", Client: v1alpha1.ClientSpec{ID: "crm"}},
	}
	connection := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "crm"},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
	}
	create(t, app, connection)
	for _, kind := range []struct {
		object client.Object
		list   client.ObjectList
		fresh  client.Object
	}{
		{app, &v1alpha1.OAuthApplicationList{}, &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "new"}, Spec: app.Spec}},
		{connection, &v1alpha1.OAuthConnectionList{}, &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "new"}, Spec: connection.Spec}},
	} {
		what := fmt.Sprintf("%T", kind.object)
		if err := g.Get(t.Context(), client.ObjectKeyFromObject(kind.object), kind.object); err != nil {
			t.Errorf("get %s: %v", what, err)
		}
		for _, namespace := range []string{team, ""} {
			if err := g.List(t.Context(), kind.list, client.InNamespace(namespace)); err != nil {
				t.Errorf("list %s in %q: %v", what, namespace, err)
			}
			events, err := g.Watch(t.Context(), kind.list, client.InNamespace(namespace))
			if err != nil {
				t.Errorf("watch %s in %q: %v", what, namespace, err)
				continue
			}
			events.Stop()
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"oauth-operator.io/refresh-requested-at":"now"}}}`))
		status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Active"}}`))
		update := func() client.Object {
			object, _ := kind.object.DeepCopyObject().(client.Object)
			return object
		}
		refusedByRBAC(t, "create "+what, g.Create(t.Context(), kind.fresh))
		refusedByRBAC(t, "update "+what, g.Update(t.Context(), update()))
		refusedByRBAC(t, "patch "+what, g.Patch(t.Context(), update(), patch))
		refusedByRBAC(t, "update the status of "+what, g.Status().Update(t.Context(), update()))
		refusedByRBAC(t, "patch the status of "+what, g.Status().Patch(t.Context(), update(), status))
		refusedByRBAC(t, "delete "+what, g.Delete(t.Context(), update()))
		refusedByRBAC(t, "delete every "+what, g.DeleteAllOf(t.Context(), update(), client.InNamespace(team)))
	}
}

// TestGatewayMakesNoTokens of accounts, its own included, and gives itself no rights.
func TestGatewayMakesNoTokens(t *testing.T) {
	t.Parallel()
	operator := plane.Namespace(t)
	g := gateway(t, operator)
	if _, err := plane.UserFor(t.Context(), operator, testenv.ControllerServiceAccount); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{testenv.GatewayServiceAccount, testenv.ControllerServiceAccount} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: name}}
		refusedByRBAC(t, "a token of "+name, g.SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{}))
	}
	refusedByRBAC(t, "a binding", g.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mine-of-" + operator},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator, Name: testenv.GatewayServiceAccount}},
	}))
}

// TestGatewayMayNothingElse asks the API server for everything that the account may do, so that a rule which somebody adds is
// seen whatever it is about.
func TestGatewayMayNothingElse(t *testing.T) {
	t.Parallel()
	operator, team := plane.Namespace(t), plane.Namespace(t)
	g := gateway(t, operator)
	mayExactly(t, g, operator, append([]string{"create secrets"}, reading()...))
	for _, namespace := range []string{team, "kube-system"} {
		mayExactly(t, g, namespace, reading())
	}
}

// reading are the rights to see both kinds.
func reading() []string {
	return []string{
		"get oauth-operator.io/oauthapplications", "get oauth-operator.io/oauthconnections",
		"list oauth-operator.io/oauthapplications", "list oauth-operator.io/oauthconnections",
		"watch oauth-operator.io/oauthapplications", "watch oauth-operator.io/oauthconnections",
	}
}

// mayExactly compares what an account may do in a namespace, beyond what every account may.
func mayExactly(t *testing.T, c client.Client, namespace string, want []string) {
	t.Helper()
	anybody, err := plane.UserFor(t.Context(), namespace, "anybody")
	if err != nil {
		t.Fatal(err)
	}
	common := may(t, newClient(t, anybody), namespace)
	got := slices.DeleteFunc(may(t, c, namespace), func(right string) bool { return slices.Contains(common, right) })
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("in namespace %s it may %q, want %q", namespace, got, want)
	}
}

// may returns what an account may do in a namespace, sorted, as verb, and resource or path.
func may(t *testing.T, c client.Client, namespace string) []string {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete {
		t.Fatalf("the API server does not know all: %s", review.Status.EvaluationError)
	}
	var all []string
	for _, rule := range review.Status.ResourceRules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					all = append(all, verb+" "+strings.TrimPrefix(group+"/"+resource, "/"))
				}
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		for _, verb := range rule.Verbs {
			for _, path := range rule.NonResourceURLs {
				all = append(all, verb+" "+path)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
