// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// env is the control plane that the tests of this package share.
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
	var stop func() error
	var err error
	env, stop, err = testenv.StartMain(testenv.Options{ControllerManager: true})
	if err != nil {
		return 0, err
	}
	code := m.Run()
	if err := stop(); err != nil {
		return code, err
	}
	// Nothing that was started may be left: this process has no child to wait for any more.
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		return code, fmt.Errorf("a process is left after stop: pid %d, %w", pid, err)
	}
	return code, nil
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: env.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKindsAreInstalled(t *testing.T) {
	for _, list := range []client.ObjectList{&v1alpha1.OAuthApplicationList{}, &v1alpha1.OAuthConnectionList{}} {
		if err := env.Client().List(t.Context(), list); err != nil {
			t.Errorf("list %T: %v", list, err)
		}
	}
}

func TestUserMayDoOnlyWhatRBACAllows(t *testing.T) {
	namespace := env.Namespace(t)
	config, err := env.User("someone", "readers")
	if err != nil {
		t.Fatal(err)
	}
	someone := newClient(t, config)
	list := func() error {
		return someone.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Fatalf("unbound user: got %v, want Forbidden", err)
	}

	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "readers"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "readers"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := env.Client().Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Eventually(t, 10*time.Second, list)
}

func TestControllerIsItsServiceAccount(t *testing.T) {
	config, err := env.Controller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	controller := newClient(t, config)
	review := &authenticationv1.SelfSubjectReview{}
	if err := controller.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	user := review.Status.UserInfo
	if want := "system:serviceaccount:oauth-operator-system:oauth-operator-controller"; user.Username != want {
		t.Errorf("got user %s, want %s", user.Username, want)
	}
	groups := " " + strings.Join(user.Groups, " ") + " "
	for _, want := range []string{"system:serviceaccounts", "system:serviceaccounts:oauth-operator-system"} {
		if !strings.Contains(groups, " "+want+" ") {
			t.Errorf("got groups %s, want %s among them", groups, want)
		}
	}
}

func TestRolesOfTheInstallation(t *testing.T) {
	controller, err := env.Controller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	namespace := env.Namespace(t)
	viewer, editor := bound(t, namespace, "view"), bound(t, namespace, "edit")

	// Aggregated roles take the controller manager a moment.
	tests := []struct {
		reason    string
		user      *rest.Config
		verb      string
		group     string
		resource  string
		namespace string
		name      string
		want      bool
	}{
		{"it holds the lease", controller, "update", "coordination.k8s.io", "leases", testenv.OperatorNamespace, "oauth-operator-controller", true},
		{"another's lease is not its business", controller, "update", "coordination.k8s.io", "leases", testenv.OperatorNamespace, "other", false},
		{"leases elsewhere are not its business", controller, "create", "coordination.k8s.io", "leases", namespace, "", false},
		{"secure metrics ask who calls", controller, "create", "authentication.k8s.io", "tokenreviews", "", "", true},
		{"secure metrics ask what the caller may", controller, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", true},
		{"it never gives permissions", controller, "create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", false},
		{"it never runs anything", controller, "create", "", "pods", namespace, "", false},
		{"a viewer sees connections", viewer, "list", "oauth-operator.io", "oauthconnections", namespace, "", true},
		{"a viewer sees applications", viewer, "watch", "oauth-operator.io", "oauthapplications", namespace, "", true},
		{"a viewer changes nothing", viewer, "update", "oauth-operator.io", "oauthconnections", namespace, "x", false},
		{"an editor creates connections", editor, "create", "oauth-operator.io", "oauthconnections", namespace, "", true},
		{"an editor deletes applications", editor, "delete", "oauth-operator.io", "oauthapplications", namespace, "x", true},
		{"an editor sees what it edits", editor, "get", "oauth-operator.io", "oauthconnections", namespace, "x", true},
		{"status is the operator's word", editor, "patch", "oauth-operator.io", "oauthconnections/status", namespace, "x", false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			c := newClient(t, test.user)
			resource, subresource, _ := strings.Cut(test.resource, "/")
			testenv.Eventually(t, 10*time.Second, func() error {
				review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Verb: test.verb, Group: test.group, Resource: resource, Subresource: subresource,
						Namespace: test.namespace, Name: test.name,
					},
				}}
				if err := c.Create(t.Context(), review); err != nil {
					return err
				}
				if review.Status.Allowed != test.want {
					return fmt.Errorf("allowed is %t, want %t", review.Status.Allowed, test.want)
				}
				return nil
			})
		})
	}
}

// bound returns a user who has one of Kubernetes' own roles in a namespace.
func bound(t *testing.T, namespace, role string) *rest.Config {
	t.Helper()
	name := role + "-of-" + namespace
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	if err := env.Client().Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	config, err := env.User(name)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestCutIsAnOutageForUsersAlone(t *testing.T) {
	config, err := env.User("operator", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	user := newClient(t, config)
	get := func(c client.Client) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return c.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{})
	}
	if err := get(user); err != nil {
		t.Fatalf("before the cut: %v", err)
	}

	env.APIServer.Cut()
	defer env.APIServer.Restore()
	for attempt := range 3 {
		if err := get(user); err == nil {
			t.Fatalf("request %d went through while the link is cut", attempt)
		}
	}
	if err := get(env.Client()); err != nil {
		t.Errorf("the direct client is cut too: %v", err)
	}

	env.APIServer.Restore()
	testenv.Eventually(t, 10*time.Second, func() error { return get(user) })
}

func TestKubeconfigWorks(t *testing.T) {
	config, err := env.UserFor(t.Context(), env.Namespace(t), "robot")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := testenv.WriteKubeconfig(config, path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %s: others can read the credentials", info.Mode())
	}
	loaded, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := newClient(t, loaded).Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	if user := review.Status.UserInfo.Username; !strings.HasSuffix(user, ":robot") {
		t.Errorf("got user %s, want the ServiceAccount robot", user)
	}
}

func TestControllerManagerDeletesNamespaces(t *testing.T) {
	name := env.Namespace(t)
	content := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "content"}}
	if err := env.Client().Create(t.Context(), content); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := env.Client().Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		err := env.Client().Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("the namespace is %s, error %w", namespace.Status.Phase, err)
	})
}

func TestInstallationIsAdmittedToItsRestrictedNamespace(t *testing.T) {
	if err := env.ApplyKustomization(t.Context(), filepath.Join("config", "default")); err != nil {
		t.Fatal(err)
	}
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: testenv.OperatorNamespace, Name: "oauth-operator-controller"}
	if err := env.Client().Get(t.Context(), key, deployment); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.OperatorNamespace, Name: "controller"},
		Spec:       deployment.Spec.Template.Spec,
	}
	if err := env.Client().Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the controller's pod: %v", err)
	}
	pod.Spec.SecurityContext = nil
	if err := env.Client().Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod without security context: got %v, want Forbidden", err)
	}
}
