// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/oauth-operator/oauth-operator/test/e2e/report"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func serveCommand() *cobra.Command {
	var options fositeserver.Options
	var reportAddress, apiAddress, redirectURL string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a fosite authorization server whose user agrees to everything, and an API that takes its tokens",
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
			group, ctx := errgroup.WithContext(command.Context())
			group.Go(func() error { return listen(ctx, reportAddress, reportOf(server)) })
			group.Go(func() error { return listen(ctx, apiAddress, apiOf(server)) })
			return group.Wait()
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Address, "address", ":8080", "address to listen on")
	flags.StringVar(&options.Issuer, "issuer", "", "base address that clients know the server by")
	flags.DurationVar(&options.AccessTokenLifetime, "access-token-lifetime", time.Hour, "lifetime of access tokens")
	flags.StringVar(&redirectURL, "redirect-url", harness.DefaultRedirectURI, "another redirect URL of the client")
	flags.StringVar(&reportAddress, "report-address", ":8081", "address of what the suite asks")
	flags.StringVar(&apiAddress, "api-address", ":8082", "address of the provider's API")
	return command
}

// reportOf tells the suite what the server has seen.
func reportOf(server *fositeserver.Server) http.Handler {
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
	return mux
}

// apiOf is the provider's API, whatever the path: who brings a token that lives is told what it has asked for.
func apiOf(server *fositeserver.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !server.Introspect(record.Bearer(r)) {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			harness.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // The caller has gone.
		}
		harness.WriteJSON(w, http.StatusOK, report.Request{Method: r.Method, URI: r.URL.RequestURI(), Body: string(body)})
	})
}

// listen serves until ctx ends.
func listen(ctx context.Context, address string, handler http.Handler) error {
	listener := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	if err := listener.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
