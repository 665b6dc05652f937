// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	catalogue "github.com/oauth-operator/oauth-operator/internal/provider"
)

// TestDocumentedObjects gives the API server every object that the samples and the documentation show, as kubectl would:
// unknown fields are errors. Applications must make sense to the operator too.
func TestDocumentedObjects(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	seen := map[string]int{}
	for place, text := range documentedYAML(t) {
		for _, object := range objectsIn(t, text) {
			fragment := complete(t, object)
			if object.GetKind() == "Kustomization" || object.GroupVersionKind().Group == "cert-manager.io" {
				continue // It is for kustomize alone.
			}
			seen[object.GetKind()]++
			if err := accepted(t, namespace, object); err != nil {
				t.Errorf("%s: %v in\n%s", place, err, text)
			}
			if fragment {
				seen["fragment"]++
			}
		}
	}
	for kind, least := range map[string]int{"OAuthApplication": 20, "OAuthConnection": 20, "fragment": 10, "ServiceAccount": 1} {
		if seen[kind] < least {
			t.Errorf("of kind %s only %d were looked at", kind, seen[kind])
		}
	}
}

// TestGrantsShowSamples wants the page of grants to show the samples as they are, and no others.
func TestGrantsShowSamples(t *testing.T) {
	t.Parallel()
	samples := map[string]*unstructured.Unstructured{}
	shown := 0
	all := documentedYAML(t)
	for place, text := range all {
		if strings.HasPrefix(place, samplesDirectory) {
			for _, object := range objectsIn(t, text) {
				samples[identityOf(object)] = object
			}
		}
	}
	for place, text := range all {
		if !strings.HasPrefix(place, "docs/grants.md") {
			continue
		}
		for _, object := range objectsIn(t, text) {
			if object.GetKind() == "" {
				continue
			}
			shown++
			sample := samples[identityOf(object)]
			if sample == nil {
				t.Errorf("%s shows %s, which is no sample", place, identityOf(object))
			} else if !equality.Semantic.DeepEqual(sample.Object, object.Object) {
				t.Errorf("%s shows %s otherwise than the sample: %v, not %v", place, identityOf(object), object.Object, sample.Object)
			}
		}
	}
	if shown < 15 {
		t.Errorf("only %d objects were found", shown)
	}
}

func identityOf(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// documentedYAML returns the YAML of samples, and of the documentation, by where it stands.
func documentedYAML(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	repository := os.DirFS(plane.Root)
	for _, directory := range []string{samplesDirectory, "docs", "README.md", "CONTRIBUTING.md"} {
		err := fs.WalkDir(repository, directory, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := fs.ReadFile(repository, path)
			switch filepath.Ext(path) {
			case ".yaml":
				found[path] = string(content)
			case ".md":
				for line, block := range blocks(string(content)) {
					found[path+" line "+line] = block
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// complete makes an object of a fragment: what has only a spec is a connection's, and what has no kind at all are fields of
// an application's spec.
func complete(t *testing.T, object *unstructured.Unstructured) (fragment bool) {
	t.Helper()
	if object.GetKind() != "" {
		return false
	}
	kind, base := "OAuthApplication", map[string]any{
		"endpoints": map[string]any{
			"authorizationURL": "https://login.example.com/authorize", "tokenURL": "https://login.example.com/token",
		},
		"client":     map[string]any{"id": "x", "secretRef": map[string]any{"name": "x"}},
		"apiBaseURL": "https://api.example.com",
	}
	spec := object.Object
	if inner, found, _ := unstructured.NestedMap(object.Object, "spec"); found && len(object.Object) == 1 {
		kind, spec = "OAuthConnection", inner
		base = map[string]any{"applicationRef": map[string]any{"name": "x"}}
	}
	if spec["provider"] != nil {
		delete(base, "endpoints")
		delete(base, "apiBaseURL")
	}
	lay(base, spec)
	object.Object = map[string]any{"apiVersion": v1alpha1.GroupVersion().String(), "kind": kind, "spec": base}
	object.SetName("x")
	return true
}

// lay puts the fields of one object over those of another one.
func lay(base, over map[string]any) {
	for name, value := range over {
		inner, isMap := value.(map[string]any)
		below, known := base[name].(map[string]any)
		if isMap && known {
			lay(below, inner)
			continue
		}
		base[name] = value
	}
}

// accepted returns why an object would be refused.
func accepted(t *testing.T, namespace string, object *unstructured.Unstructured) error {
	t.Helper()
	namespaced, err := plane.Client().IsObjectNamespaced(object)
	if err != nil {
		return err
	}
	if namespaced {
		object.SetNamespace(namespace)
	}
	if err := plane.Client().Create(t.Context(), object.DeepCopy(), client.DryRunAll, client.FieldValidation("Strict")); err != nil {
		return err
	}
	if object.GetKind() != "OAuthApplication" {
		return nil
	}
	application := &v1alpha1.OAuthApplication{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, application); err != nil {
		return err
	}
	presets, err := catalogue.LoadCatalogue()
	if err != nil {
		return err
	}
	spec, err := presets.Effective(&application.Spec)
	if err != nil {
		return err
	}
	return catalogue.Validate(spec, catalogue.Rules{CheckURL: func(string) error { return nil }})
}

// blocks returns the fenced YAML of a page by the number of its first line.
func blocks(page string) map[string]string {
	const fence = "```"
	found := map[string]string{}
	var block strings.Builder
	begun := ""
	number := 0
	for line := range strings.Lines(page) {
		number++
		switch trimmed := strings.TrimSpace(line); {
		case begun == "" && trimmed == fence+"yaml":
			begun = strconv.Itoa(number + 1)
		case begun != "" && trimmed == fence:
			found[begun] = block.String()
			block.Reset()
			begun = ""
		case begun != "":
			block.WriteString(line)
		}
	}
	return found
}
