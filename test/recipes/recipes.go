// SPDX-License-Identifier: Apache-2.0

// Package recipes reads the samples of Secret templates, for tests that hold them to what their consumers read.
package recipes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// directory is relative to the root of the repository.
const directory = "config/samples/secret-templates"

// Recipe is one sample.
type Recipe struct {
	// Name is its file's without ending.
	Name string
	// Connection that is in the file.
	Connection *v1alpha1.OAuthConnection
	// Comment is the text above the connection, without the marks of a comment.
	Comment string
}

// Load reads all samples, in the order of their names, from the repository with the given root. Fields that the types do
// not have are errors.
func Load(root string) ([]Recipe, error) {
	files, err := filepath.Glob(filepath.Join(root, directory, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", directory, err)
	}
	var all []Recipe
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a recipe: %w", err)
		}
		recipe := Recipe{Name: strings.TrimSuffix(filepath.Base(file), ".yaml"), Connection: &v1alpha1.OAuthConnection{}}
		if err := yaml.UnmarshalStrict(content, recipe.Connection); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		for line := range strings.Lines(string(content)) {
			comment, isComment := strings.CutPrefix(line, "#")
			if !isComment {
				break
			}
			recipe.Comment += strings.TrimPrefix(comment, " ")
		}
		all = append(all, recipe)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no recipes in %s", directory)
	}
	return all, nil
}

// Snippet returns the YAML of the comment that begins with the given line: what stands there indented, without the
// indentation. It is empty when there is none.
func (r Recipe) Snippet(first string) string {
	const indentation = "  "
	var snippet strings.Builder
	for line := range strings.Lines(r.Comment) {
		text, indented := strings.CutPrefix(line, indentation)
		begun := snippet.Len() > 0
		switch {
		case begun && !indented && strings.TrimSpace(line) != "":
			return snippet.String()
		case indented && (begun || strings.TrimSpace(text) == first && !strings.HasPrefix(text, " ")):
			snippet.WriteString(text)
		}
	}
	return snippet.String()
}
