// SPDX-License-Identifier: Apache-2.0

package serviceaccount_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// TestRights is what the component adds to the installation, and that it is no more.
func TestRights(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	base, _ := bare(t)
	for _, test := range []struct {
		verb, resource string
		component      bool
	}{
		{"get", "serviceaccounts", true},
		{"create", "serviceaccounts/token", true},
		{"list", "serviceaccounts", false},
		{"watch", "serviceaccounts", false},
		{"create", "serviceaccounts", false},
		{"update", "serviceaccounts", false},
		{"patch", "serviceaccounts", false},
		{"delete", "serviceaccounts", false},
		{"impersonate", "serviceaccounts", false},
	} {
		t.Run(test.verb+" "+test.resource, func(t *testing.T) {
			t.Parallel()
			has := func(config *rest.Config) bool {
				err := may(t.Context(), config, test.verb, test.resource, namespace)
				if err != nil && !errors.Is(err, errMayNot) {
					t.Fatal(err)
				}
				return err == nil
			}
			if has(base) {
				t.Error("the installation has the right without the component")
			}
			if has(installed) != test.component {
				t.Errorf("with the component the right is %t, want %t", !test.component, test.component)
			}
		})
	}
}

// TestComponentAddsOnly builds the whole installation with and without it.
func TestComponentAddsOnly(t *testing.T) {
	t.Parallel()
	without, with := build(t, "config/default"), build(t, "config/default", serviceaccount.Component)
	var added []string
	for id, object := range with {
		if before, ok := without[id]; !ok {
			added = append(added, id)
		} else if before != object {
			t.Errorf("the component changes %s", id)
		}
	}
	slices.Sort(added)
	want := []string{
		"ClusterRole.v1.rbac.authorization.k8s.io/oauth-operator-service-account-tokens.[noNs]",
		"ClusterRoleBinding.v1.rbac.authorization.k8s.io/oauth-operator-service-account-tokens.[noNs]",
	}
	if !slices.Equal(added, want) || len(with) != len(without)+len(want) {
		t.Errorf("the component adds %q, want %q", added, want)
	}
}

// build returns the objects of a base with components as YAML.
func build(t *testing.T, base string, components ...string) map[string]string {
	t.Helper()
	return buildText(t, overlay(base, components...), "")
}

// buildText builds a kustomization that names directories as from the root of the module.
func buildText(t *testing.T, kustomization, binding string) map[string]string {
	t.Helper()
	files, err := overlayFiles(kustomization, binding)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(files); err != nil {
			t.Error(err)
		}
	})
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), files)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]string{}
	for _, resource := range resources.Resources() {
		objects[resource.CurId().String()] = resource.MustYaml()
	}
	return objects
}

// TestDocumentedOverlays builds the kustomizations that the documentation shows, with its RoleBinding beside them.
func TestDocumentedOverlays(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join(plane.Root, "docs", "service-account-tokens.md"))
	if err != nil {
		t.Fatal(err)
	}
	var overlays []string
	var binding string
	for _, block := range strings.Split(string(document), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.Contains(block, "kind: Kustomization\n") {
			overlays = append(overlays, block)
		} else if strings.Contains(block, "kind: RoleBinding\n") {
			binding = block
		}
	}
	if len(overlays) != 2 || binding == "" {
		t.Fatalf("found %d kustomizations, and a binding of %d bytes", len(overlays), len(binding))
	}
	for i, bindings := range [][]string{{"ClusterRoleBinding"}, {"RoleBinding"}} {
		var got []string
		for id := range buildText(t, overlays[i], binding) {
			kind, name, _ := strings.Cut(id, ".v1.rbac.authorization.k8s.io/")
			if strings.HasSuffix(kind, "Binding") && strings.HasPrefix(name, "oauth-operator-service-account-tokens.") {
				got = append(got, kind)
			}
		}
		if !slices.Equal(got, bindings) {
			t.Errorf("kustomization %d binds by %q, want %q", i, got, bindings)
		}
	}
}

// TestOneNamespaceOnly binds the component's role in one namespace, as the documentation says.
func TestOneNamespaceOnly(t *testing.T) {
	t.Parallel()
	config, subject := bare(t)
	a, w := willing(t), newWorld(t, config)
	create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "tokens"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-service-account-tokens"},
		Subjects:   []rbacv1.Subject{subject},
	})
	testenv.Eventually(t, 10*time.Second, func() error {
		_, _, err := w.Token(t.Context(), a.Namespace, a.Name, audience)
		return err
	})
	w.refused(t, willing(t), audience, serviceaccount.Component)
}
