// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const fetchTimeout = 10 * time.Second

func fetchCommand() *cobra.Command {
	var tokenFile string
	command := &cobra.Command{
		Use:   "fetch URL",
		Short: "Print status and body of a GET with the bearer token of a file",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			request, err := http.NewRequestWithContext(command.Context(), http.MethodGet, args[0], nil)
			if err != nil {
				return err
			}
			token, err := os.ReadFile(tokenFile)
			if err != nil {
				return err
			}
			request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
			return fetch(request, command.OutOrStdout())
		},
	}
	command.Flags().StringVar(&tokenFile, "token-file", "/var/run/secrets/kubernetes.io/serviceaccount/token",
		"file with the bearer token")
	return command
}

func fetch(request *http.Request, out io.Writer) error {
	client := &http.Client{Timeout: fetchTimeout, Transport: &http.Transport{
		// The metrics endpoint makes itself a certificate that nobody has signed.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test's own token, inside a test's cluster
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := fmt.Fprintln(out, response.Status); err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return err
}
