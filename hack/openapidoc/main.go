// SPDX-License-Identifier: Apache-2.0

// Command openapidoc OUTPUT writes the description of the API process, the one that it serves at /openapi.json.
package main

import (
	"fmt"
	"os"

	"github.com/oauth-operator/oauth-operator/internal/rest/openapi"
)

func main() {
	if len(os.Args) != 2 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: openapidoc OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "openapidoc:", err)
		os.Exit(1)
	}
}

func run(output string) error {
	content, err := openapi.Document()
	if err != nil {
		return err
	}
	const readable = 0o644
	if err := os.WriteFile(output, content, readable); err != nil { //nolint:gosec // It is documentation.
		return fmt.Errorf("write %s: %w", output, err)
	}
	return nil
}
