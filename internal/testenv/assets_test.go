// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAsset(t *testing.T) {
	tests := map[string]struct {
		reason   string
		override []string
		built    []string
		want     string
	}{
		"built":      {reason: "make controlplane has built it", built: []string{"etcd"}, want: "bin/controlplane/v1.2.3/etcd"},
		"overridden": {reason: "KUBEBUILDER_ASSETS wins", override: []string{"etcd"}, built: []string{"etcd"}, want: "assets/etcd"},
		"incomplete": {reason: "what KUBEBUILDER_ASSETS lacks is built", override: []string{"kubectl"}, built: []string{"etcd"}, want: "bin/controlplane/v1.2.3/etcd"},
		"absent":     {reason: "the error says what to do", want: ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "hack/controlplane/go.mod"), "require (\n\tk8s.io/kubernetes v1.2.3 // indirect\n)\n")
			for _, program := range test.built {
				write(t, filepath.Join(root, "bin/controlplane/v1.2.3", program), "")
			}
			for _, program := range test.override {
				write(t, filepath.Join(root, "assets", program), "")
			}
			t.Setenv(assetsVariable, "")
			if len(test.override) > 0 {
				t.Setenv(assetsVariable, filepath.Join(root, "assets"))
			}
			got, err := asset(root, "etcd")
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), "make controlplane") {
					t.Fatalf("%s: got %q, %v", test.reason, got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(root, test.want); got != want {
				t.Errorf("%s: got %s, want %s", test.reason, got, want)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestModuleRootPassesNestedModules(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module "+modulePath+"\n\ngo 1.26.0\n")
	write(t, filepath.Join(root, "test/go.mod"), "module "+modulePath+"/test\n")
	t.Chdir(filepath.Join(root, "test"))
	got, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := filepath.EvalSymlinks(root); got != root && got != want {
		t.Errorf("got %s, want %s", got, root)
	}
}

func TestWaitReturnsTheLastError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	last := errors.New("still not")
	err := Wait(ctx, func() error {
		if calls++; calls == 3 {
			cancel()
		}
		return last
	})
	if !errors.Is(err, last) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want both the condition's error and that of the context", err)
	}
	if err := Wait(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("got %v of a condition that holds", err)
	}
}
