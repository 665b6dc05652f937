// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oauth-operator/oauth-operator/test/e2e/report"
)

// readInterval bounds how late a sighting is.
const readInterval = 20 * time.Millisecond

func watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch FILE",
		Short: "Print time and hash of a file's content at each change",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return watch(command.Context(), args[0], command.OutOrStdout())
		},
	}
}

// watch reads the file anew each time, as a workload has to: the kubelet replaces it.
func watch(ctx context.Context, file string, out io.Writer) error {
	ticker := time.NewTicker(readInterval)
	defer ticker.Stop()
	last := ""
	for {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("a mounted file must be there at any time: %w", err)
		}
		if hash := report.Hash(content); hash != last {
			if err := json.NewEncoder(out).Encode(report.Sighting{Time: time.Now(), Hash: hash}); err != nil {
				return err
			}
			last = hash
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
