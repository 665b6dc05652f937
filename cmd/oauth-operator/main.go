// SPDX-License-Identifier: Apache-2.0

// Command oauth-operator keeps OAuth grants alive for Kubernetes workloads.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := rootCommand().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	common := &commonOptions{}
	root := &cobra.Command{
		Use:           "oauth-operator",
		Short:         "Keeps OAuth grants alive for Kubernetes workloads",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	common.addFlags(root.PersistentFlags())
	root.AddCommand(controllerCommand(common), gatewayCommand(common), apiCommand(common))
	return root
}
