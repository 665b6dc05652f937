// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestSecurityIsShown wants every test that the threat model names to be where it says, and every attack to name one.
func TestSecurityIsShown(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/security.md")
	name := `(?:Test|Fuzz)[A-Z]\w*`
	claims := regexp.MustCompile("`([a-z0-9/-]+)`\\s+("+name+"(?:,\\s+"+name+")*)").FindAllStringSubmatch(page, -1)
	shown := 0
	for _, claim := range claims {
		known := testsIn(t, claim[1])
		for _, test := range regexp.MustCompile(name).FindAllString(claim[2], -1) {
			shown++
			if !known[test] {
				t.Errorf("%s has no test %s", claim[1], test)
			}
		}
	}
	if all := len(regexp.MustCompile(name).FindAllString(page, -1)); all != shown || shown < 100 {
		t.Errorf("%d tests are named, and %d of them with their package", all, shown)
	}
	rows := 0
	for table := range strings.SplitSeq(page, "\n\n") {
		header, body, _ := strings.Cut(table, "\n| --- |")
		if !strings.HasSuffix(header, "| shown by |") {
			continue
		}
		for row := range strings.SplitSeq(strings.TrimSpace(body), "\n") {
			if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| ---") {
				continue // The rest of the line below the header.
			}
			rows++
			cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
			if !regexp.MustCompile(name).MatchString(cells[len(cells)-1]) {
				t.Errorf("no test shows: %s", cells[0])
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d attacks were found", rows)
	}
}

// testsIn returns the tests of a directory, whatever they are built with.
func testsIn(t *testing.T, directory string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, directory, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Errorf("there are no tests in %s", directory)
	}
	found := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(content, -1) {
			found[string(test[1])] = true
		}
	}
	return found
}

// TestReferencesHaveNoNamespace : whatever an object refers to is in its own namespace, but the application of a connection.
func TestReferencesHaveNoNamespace(t *testing.T) {
	t.Parallel()
	for file, allowed := range map[string]string{
		"oauth-operator.io_oauthapplications.yaml": "", "oauth-operator.io_oauthconnections.yaml": "spec.applicationRef",
	} {
		var definition struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema schema `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join("config/crd/bases", file))), &definition); err != nil {
			t.Fatal(err)
		}
		looked := 0
		for _, version := range definition.Spec.Versions {
			looked += version.Schema.OpenAPIV3Schema.Properties["spec"].walk("spec", func(path string, s schema) {
				if _, has := s.Properties["namespace"]; has && path != allowed {
					t.Errorf("%s: %s has a namespace", file, path)
				}
			})
		}
		if looked < 50 {
			t.Errorf("%s: only %d fields were found", file, looked)
		}
	}
}

// schema is what a field may hold.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// walk visits a field and all below it, and returns how many they are.
func (s schema) walk(path string, visit func(path string, s schema)) int {
	visit(path, s)
	count := 1
	for name, inner := range s.Properties {
		count += inner.walk(path+"."+name, visit)
	}
	if s.Items != nil {
		count += s.Items.walk(path+"[]", visit)
	}
	return count
}
