// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// audience of the tokens that the API takes.
const audience = "oauth-operator.io"

// Resources in rules.
const (
	connections  = "oauthconnections"
	applications = "oauthapplications"
	proxy        = "oauthconnections/proxy"
)

// account is a ServiceAccount that calls the API.
type account struct {
	object *corev1.ServiceAccount
	// token for the API.
	token string
	// user is its name as Kubernetes knows it, and as owners are called.
	user string
}

// rule is what an account may do in one namespace; an empty one stands for all.
type rule struct {
	namespace string
	resource  string
	verbs     []string
	// name limits the rule; empty: it does not.
	name string
}

// newAccount makes a ServiceAccount that may do what the rules say and nothing else, waits until that counts, and gets it a
// token.
func (w *world) newAccount(t *testing.T, namespace, name string, rules ...rule) *account {
	t.Helper()
	a := w.accountNamed(t, namespace, name)
	for _, r := range rules {
		a.allow(t, r)
	}
	return a
}

// accountNamed is a ServiceAccount, made if need be, with a token for the API.
func (w *world) accountNamed(t *testing.T, namespace, name string) *account {
	t.Helper()
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := shared.plane.Client().Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	a := &account{object: object, user: "system:serviceaccount:" + namespace + ":" + name}
	a.token = w.tokenFor(t, a, audience)
	return a
}

// tokenFor gets a token for another audience; without one, it is for the API server.
func (w *world) tokenFor(t *testing.T, a *account, audiences ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := shared.plane.Client().SubResource("token").Create(t.Context(), a.object, request); err != nil {
		t.Fatalf("request a token for %s: %v", a.user, err)
	}
	w.hide(request.Status.Token)
	return request.Status.Token
}

// allow binds a role to the account and waits until it counts: the API remembers a refusal for some seconds.
func (a *account) allow(t *testing.T, r rule) {
	t.Helper()
	rules := []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{r.resource}, Verbs: r.verbs}}
	if r.name != "" {
		rules[0].ResourceNames = []string{r.name}
	}
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: a.object.Namespace, Name: a.object.Name}
	object := metav1.ObjectMeta{GenerateName: a.object.Name + "-", Namespace: r.namespace}
	if r.namespace == "" {
		role := &rbacv1.ClusterRole{ObjectMeta: object, Rules: rules}
		create(t, role)
		create(t, &rbacv1.ClusterRoleBinding{
			ObjectMeta: object, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		})
	} else {
		role := &rbacv1.Role{ObjectMeta: object, Rules: rules}
		create(t, role)
		create(t, &rbacv1.RoleBinding{
			ObjectMeta: object, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		})
	}
	for _, verb := range r.verbs {
		a.waitAllowed(t, r, verb)
	}
}

func (a *account) waitAllowed(t *testing.T, r rule, verb string) {
	t.Helper()
	resource, subresource, _ := strings.Cut(r.resource, "/")
	testenv.Eventually(t, patience, func() error {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: a.user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + a.object.Namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: verb, Group: v1alpha1.GroupName, Resource: resource, Subresource: subresource, Namespace: r.namespace, Name: r.name,
			},
		}}
		if err := shared.plane.Client().Create(t.Context(), review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			return errors.New(a.user + " may not " + verb + " " + r.resource + " yet")
		}
		return nil
	})
}

// sampleCaller makes the caller of config/samples/api with its roles, in other namespaces than the sample's.
func (w *world) sampleCaller(t *testing.T, platform, billing string) *account {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(shared.plane.Root, "config", "samples", "api", "caller.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("samples-platform", platform, "samples-billing", billing).Replace(string(content))
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), len(text))
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if object.GetKind() != "Deployment" { // Nobody would run it.
			create(t, object)
		}
	}
	a := w.accountNamed(t, billing, "ledger")
	a.waitAllowed(t, rule{namespace: billing, resource: connections}, "list")
	a.waitAllowed(t, rule{namespace: billing, resource: proxy, name: "crm"}, "get")
	a.waitAllowed(t, rule{namespace: platform, resource: connections}, "create")
	a.waitAllowed(t, rule{namespace: platform, resource: proxy}, "create")
	return a
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := shared.plane.Client().Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}
