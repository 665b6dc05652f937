// SPDX-License-Identifier: Apache-2.0

// Command tools is what runs in pods beside the operator when the suite tests it on a real cluster: an OAuth server
// with an API, a workload that reads a mounted token, a scraper of metrics, and a caller of the operator's API. None of them
// prints a token.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "tools", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(serveCommand(), watchCommand(), fetchCommand(), relayCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
