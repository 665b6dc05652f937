// SPDX-License-Identifier: Apache-2.0

// Package installation holds config/ to what it promises, on a real API server: what the public processes can do under
// their roles and under the policy, and that the pieces of an installation fit each other.
package installation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// plane is the control plane that all tests of the package share; each test has namespaces of its own.
var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// gateway returns a client with the permissions of a gateway whose operator has a namespace.
func gateway(t *testing.T, namespace string) client.WithWatch {
	t.Helper()
	config, err := plane.Gateway(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, config)
}

// api returns a client with the permissions of an API process whose operator has a namespace.
func api(t *testing.T, namespace string) client.WithWatch {
	t.Helper()
	config, err := plane.API(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, config)
}

// newClient retries nothing and is not slowed down.
func newClient(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: plane.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// account returns a client of a ServiceAccount that may do everything with Secrets, everywhere, by RBAC.
func account(t *testing.T, namespace, name string) client.Client {
	t.Helper()
	config, err := plane.UserFor(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	unique := strings.Join([]string{"careless", namespace, name}, "-")
	create(t,
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: unique},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: unique},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: unique},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		})
	c := newClient(t, config)
	testenv.Eventually(t, patience, func() error {
		return c.List(context.Background(), &corev1.SecretList{}, client.InNamespace(namespace))
	})
	return c
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := plane.Client().Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

// refusedByRBAC wants an error that says that no role allows it.
func refusedByRBAC(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || strings.Contains(err.Error(), policyName) {
		t.Errorf("%s: got %v, want it forbidden by RBAC", what, err)
	}
}

// refusedByPolicy wants an error of the policy, with a word of its message.
func refusedByPolicy(t *testing.T, what, word string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), policyName) || !strings.Contains(err.Error(), word) {
		t.Errorf("%s: got %v, want it forbidden by policy %s with %q", what, err, policyName, word)
	}
}

// overlay writes a kustomization into a directory of its own and returns its path, relative to the module's root. In it,
// ROOT stands for that root.
func overlay(t *testing.T, kustomization string) string {
	t.Helper()
	// Kustomizations name each other by relative paths, which must not lead through links.
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Rel(directory, plane.Root)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(kustomization, "ROOT", root)
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Rel(plane.Root, directory)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
