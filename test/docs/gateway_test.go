// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestGatewayPageShowsTheSample holds the installation that the page of the gateway shows to config/samples/gateway, which is
// built and applied elsewhere.
func TestGatewayPageShowsTheSample(t *testing.T) {
	t.Parallel()
	const directory = "config/samples/gateway"
	shown := map[string]map[string]any{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)\n```").FindAllStringSubmatch(read(t, "docs/gateway.md"), -1) {
		object := parsed(t, block[1])
		kind, _ := object["kind"].(string)
		shown[kind] = object
	}
	sample := parsed(t, read(t, directory+"/kustomization.yaml"))
	fromRoot(sample, directory)
	for _, object := range []map[string]any{sample, shown["Kustomization"]} {
		patches, _ := object["patches"].([]any)
		for _, each := range patches {
			if patch, ok := each.(map[string]any); ok {
				text, _ := patch["patch"].(string)
				patch["patch"] = parsed(t, text) // Whatever its comments.
			}
		}
	}
	for kind, want := range map[string]map[string]any{"Kustomization": sample, "Ingress": parsed(t, read(t, directory+"/ingress.yaml"))} {
		if !reflect.DeepEqual(shown[kind], want) {
			t.Errorf("docs/gateway.md shows %v, and the sample is %v", shown[kind], want)
		}
	}
}

// fromRoot makes the paths of a kustomization, but for those of its own directory, paths from the root of the repository.
func fromRoot(kustomization map[string]any, directory string) {
	for _, list := range []string{"resources", "components"} {
		paths, _ := kustomization[list].([]any)
		for i, path := range paths {
			if text, _ := path.(string); filepath.Dir(text) != "." {
				paths[i] = filepath.Join(directory, text)
			}
		}
	}
}

func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}
