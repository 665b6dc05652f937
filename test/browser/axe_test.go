// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// axeScript is the accessibility checks of axe-core, in the version of package-lock.json.
func axeScript(t *testing.T) string {
	t.Helper()
	script, err := readAxe()
	if err != nil {
		t.Fatalf("%v: run make test-browser, which installs it", err)
	}
	return script
}

//nolint:gochecknoglobals // half a megabyte that is read once
var readAxe = sync.OnceValues(func() (string, error) {
	content, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	return string(content), err
})

// finding is one rule that a page breaks.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct {
		Target         []string
		FailureSummary string
	}
}

func (f finding) String() string {
	var places []string
	for _, node := range f.Nodes {
		places = append(places, fmt.Sprintf("%s: %s", strings.Join(node.Target, " "), strings.Join(strings.Fields(node.FailureSummary), " ")))
	}
	return fmt.Sprintf("%s (%s): %s\n\t%s", f.ID, f.Impact, f.Help, strings.Join(places, "\n\t"))
}

// findings runs axe in the page. The protocol's own evaluation is not held to the page's policy, which allows no script.
func (b *tab) findings() []finding {
	b.t.Helper()
	if _, err := evaluate[any](b, axeScript(b.t)+"\n;null"); err != nil {
		b.t.Fatalf("load axe: %v", err)
	}
	found, err := evaluate[[]finding](b, `axe.run(document, {resultTypes: ["violations"]}).then(results => results.violations.map(rule => ({
		ID: rule.id, Impact: rule.impact ?? "", Help: rule.help,
		Nodes: rule.nodes.map(node => ({Target: node.target.map(String), FailureSummary: node.failureSummary})),
	})))`)
	if err != nil {
		b.t.Fatalf("run axe: %v", err)
	}
	return found
}

// accessible fails the test for everything that axe finds in the page, of whatever impact.
func (b *tab) accessible() {
	b.t.Helper()
	for _, f := range b.findings() {
		b.t.Errorf("%s breaks %s", b.where(), f)
	}
}
