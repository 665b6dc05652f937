// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/oauth-operator/oauth-operator/test/e2e/report"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func serveCommand() *cobra.Command {
	var options fositeserver.Options
	var reportAddress, redirectURL string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a fosite authorization server whose user agrees to everything",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c := harness.DefaultClient()
			c.RedirectURIs = []string{harness.DefaultRedirectURI, redirectURL}
			options.Clients = []harness.Client{c}
			server, err := fositeserver.Start(options)
			if err != nil {
				return err
			}
			defer server.Close()
			_, _ = fmt.Fprintf(command.OutOrStdout(), "%s answers on %s\n", server.URL, server.Address())
			return serveReport(command.Context(), reportAddress, server)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Address, "address", ":8080", "address to listen on")
	flags.StringVar(&options.Issuer, "issuer", "", "base address that clients know the server by")
	flags.DurationVar(&options.AccessTokenLifetime, "access-token-lifetime", time.Hour, "lifetime of access tokens")
	flags.StringVar(&redirectURL, "redirect-url", harness.DefaultRedirectURI, "another redirect URL of the client")
	flags.StringVar(&reportAddress, "report-address", ":8081", "address of what the suite asks")
	return command
}

// serveReport tells the suite what the server has seen, until ctx ends.
func serveReport(ctx context.Context, address string, server *fositeserver.Server) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+report.Path, func(w http.ResponseWriter, _ *http.Request) {
		harness.WriteJSON(w, http.StatusOK, report.Report{
			Refreshes: server.Count(record.Filter{
				Endpoint: record.Token, GrantType: "refresh_token", Status: http.StatusOK,
			}),
			Revocations: server.Count(record.Filter{Endpoint: record.Revoke, Status: http.StatusOK}),
			Reuse:       server.Reuse(),
			Issued:      server.Issued(),
		})
	})
	listener := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	if err := listener.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
