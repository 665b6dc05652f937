// SPDX-License-Identifier: Apache-2.0

// Command providerdoc HABITS OUTPUT writes docs/providers.md: the presets of the catalogue, and which habits of real providers
// the API can express. HABITS is checked: a field that does not exist, a preset that does not use it, and a test that is not
// there are errors.
package main

import (
	_ "embed"
	"fmt"
	"os"

	"github.com/oauth-operator/oauth-operator/internal/provider"
)

//go:embed intro.md
var intro string

func main() {
	if len(os.Args) != 3 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: providerdoc HABITS OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "providerdoc:", err)
		os.Exit(1)
	}
}

func run(habitsPath, output string) error {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(habitsPath) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	table, err := parseHabits(content)
	if err != nil {
		return fmt.Errorf("%s: %w", habitsPath, err)
	}
	presets := catalogue.Presets()
	if err := table.check(presets, os.DirFS(".")); err != nil {
		return fmt.Errorf("%s: %w", habitsPath, err)
	}
	text, err := page(presets, table)
	if err != nil {
		return err
	}
	return os.WriteFile(output, []byte(text), 0o644) //nolint:gosec // documentation for everybody
}
