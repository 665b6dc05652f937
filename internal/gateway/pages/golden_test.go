// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

//nolint:gochecknoglobals // a flag
var update = flag.Bool("update", false, "rewrite testdata")

// TestGolden writes down each page. The hashes in names of assets are left out, or each change of style would change them all.
func TestGolden(t *testing.T) {
	hash := regexp.MustCompile(`(/assets/[a-z]+-)[0-9a-f]{16}\.`)
	expected := map[string]bool{}
	for _, page := range allPages(t, newPages(t, pages.Branding{})) {
		if strings.HasPrefix(page.name, "notice-") && strings.HasSuffix(page.name, "-bare") {
			continue
		}
		file := filepath.Join("testdata", page.name+".html")
		expected[file] = true
		t.Run(page.name, func(t *testing.T) {
			got := hash.ReplaceAllString(page.html, "${1}HASH.")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with -update", err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s differs; look at the difference after -update\n%s", file, diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !expected[file] {
			t.Errorf("%s belongs to no sample", file)
		}
	}
}
