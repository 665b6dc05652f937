// SPDX-License-Identifier: Apache-2.0

// Package docs holds the documentation to the code: what it lists is there, and what is there it lists. YAML is
// tested where there is an API server, in test/integration.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// root is that of the repository.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// pages are the Markdown files by their path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range []string{"README.md", "CONTRIBUTING.md"} {
		found[path] = read(t, path)
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			page := strings.TrimPrefix(path, root+"/")
			found[page] = read(t, page)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLinks follows every link within the repository, to the heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	checked := 0
	for path, page := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(page, -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			checked++
			file := filepath.Join(filepath.Dir(path), target)
			if target == "" {
				file = path
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", path, found[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, found[1])
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were found", checked)
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) []string {
	var all []string
	for line := range strings.Lines(page) {
		hashes := len(line) - len(strings.TrimLeft(line, "#"))
		if hashes == 0 || !strings.HasPrefix(line[hashes:], " ") {
			continue
		}
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(line[hashes:])))
	}
	return all
}

// constants are the string constants of a Go file whose names begin with a prefix, by name.
func constants(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) || !strings.HasPrefix(name.Name, prefix) {
				continue
			}
			literal, ok := spec.Values[i].(*ast.BasicLit)
			if !ok {
				continue
			}
			if found[name.Name], err = strconv.Unquote(literal.Value); err != nil {
				t.Errorf("%s: %v", name.Name, err)
			}
		}
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s has no constants %s…", path, prefix)
	}
	return found
}

// TestReasons wants every reason and condition in the troubleshooting, and every event in the configuration.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		prefix, page string
		// known need no word there.
		known []string
	}{
		{"Reason", "docs/troubleshooting.md", []string{"Settled"}},
		{"Condition", "docs/troubleshooting.md", []string{"Reconciling"}},
		{"Event", "docs/configuration.md", nil},
	} {
		page := read(t, test.page)
		for name, value := range constants(t, "api/v1alpha1/conditions.go", test.prefix) {
			if !slices.Contains(test.known, value) && !regexp.MustCompile("\\b"+value+"\\b").MatchString(page) {
				t.Errorf("%s does not explain %s (%s)", test.page, value, name)
			}
		}
	}
}

// TestNumberOfPresets holds the README to the catalogue.
func TestNumberOfPresets(t *testing.T) {
	t.Parallel()
	presets, err := filepath.Glob(filepath.Join(root, "internal/provider/catalogue/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if claim := "[" + strconv.Itoa(len(presets)) + " by name](docs/providers.md)"; !strings.Contains(read(t, "README.md"), claim) {
		t.Errorf("README.md does not say %s", claim)
	}
}

// TestMetrics wants every metric in its page, and no other.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		page, source, made, prefix string
		least                      int
	}{
		{"docs/configuration.md", "internal/controller/metrics/metrics.go", `(?:Name: |describe\()"([a-z_]+)"`, "oauth_operator_", 7},
		{"docs/gateway.md", "internal/gateway/metrics/metrics.go", `Name: "([a-z_]+)"`, "oauth_operator_gateway_", 5},
		{apiPage, "internal/rest/metrics/metrics.go", `(?:counter\(|histogram\(|Name: )"([a-z_]+)"`, "oauth_operator_api_", 7},
	} {
		named := regexp.MustCompile(`oauth_operator_[a-z_]+`).FindAllString(read(t, test.page), -1)
		for i, name := range named {
			named[i] = strings.TrimSuffix(name, "_count") // One of a histogram's.
		}
		var made []string
		for _, found := range regexp.MustCompile(test.made).FindAllStringSubmatch(read(t, test.source), -1) {
			made = append(made, test.prefix+found[1])
		}
		for _, name := range made {
			if !slices.Contains(named, name) {
				t.Errorf("%s does not explain metric %s", test.page, name)
			}
		}
		for _, name := range named {
			if !slices.Contains(made, name) {
				t.Errorf("%s explains %s, which is no metric", test.page, name)
			}
		}
		if len(made) < test.least {
			t.Errorf("%s: only %v were found", test.source, made)
		}
	}
}

// TestResultsOfTheGateway wants every value of a label in the page of the gateway, and each result of a webhook in the page of those.
func TestResultsOfTheGateway(t *testing.T) {
	t.Parallel()
	for prefix, wanted := range map[string][]string{
		"Login": {"docs/gateway.md"}, "Callback": {"docs/gateway.md"}, "Limit": {"docs/gateway.md"}, "Route": {"docs/gateway.md"},
		"Webhook": {"docs/gateway.md", "docs/webhooks.md"},
	} {
		for name, value := range constants(t, "internal/gateway/metrics/metrics.go", prefix) {
			for _, page := range wanted {
				if !strings.Contains(read(t, page), "`"+value+"`") {
					t.Errorf("%s does not explain %s (%s)", page, value, name)
				}
			}
		}
	}
}

// TestFlags wants every flag in the configuration.
func TestFlags(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/configuration.md")
	sources, err := filepath.Glob(filepath.Join(root, "cmd/oauth-operator/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	for _, source := range sources {
		text := read(t, strings.TrimPrefix(source, root+"/"))
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		for _, found := range regexp.MustCompile(`\.[A-Za-z]*Var\([^,]+, "([a-z-]+)"`).FindAllStringSubmatch(text, -1) {
			flags++
			if !strings.Contains(page, "`--"+found[1]+"`") {
				t.Errorf("docs/configuration.md does not explain --%s", found[1])
			}
		}
	}
	if flags < 23 {
		t.Errorf("only %d flags were found", flags)
	}
}

// TestPackages wants every package of the product in the table of the architecture, and no other.
func TestPackages(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		before, choices, several := strings.Cut(row[1], "{")
		for choice := range strings.SplitSeq(strings.TrimSuffix(choices, "}"), ",") {
			listed[strings.TrimSuffix(before+choice, "/")] = true
		}
		if several && choices == "" {
			t.Errorf("row %s cannot be read", row[1])
		}
	}
	for _, directory := range []string{"api", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, directory), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name := strings.TrimPrefix(filepath.Dir(path), root+"/")
			if _, known := listed[name]; !known {
				t.Errorf("docs/architecture.md does not list %s", name)
			}
			listed[name] = false
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, missing := range listed {
		if missing && name != "test" {
			t.Errorf("docs/architecture.md lists %s, which is not there", name)
		}
	}
}

// TestNamedTests wants every test that the architecture names to exist.
func TestNamedTests(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	tests := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, directory := range []string{"internal", "test", "cmd", "hack", "api"} {
		repository := os.DirFS(root)
		err := fs.WalkDir(repository, directory, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := fs.ReadFile(repository, path)
			for _, found := range tests.FindAllSubmatch(content, -1) {
				known[string(found[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"docs/architecture.md", "docs/decisions.md", "docs/performance.md", "docs/gateway.md", "docs/reliability.md"} {
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*…?`).FindAllString(read(t, path), -1) {
			beginning, open := strings.CutSuffix(name, "…")
			exists := known[name]
			for candidate := range known {
				exists = exists || open && strings.HasPrefix(candidate, beginning)
			}
			if !exists {
				t.Errorf("%s names %s, which does not exist", path, name)
			}
		}
	}
}
