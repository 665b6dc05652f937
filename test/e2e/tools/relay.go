// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oauth-operator/oauth-operator/test/e2e/report"
)

func relayCommand() *cobra.Command {
	r := &relay{}
	var address, caFile string
	command := &cobra.Command{
		Use:   "relay URL",
		Short: "Send requests on to a server, with the bearer token of a file unless they bring one",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			server, err := url.Parse(args[0])
			if err != nil {
				return err
			}
			if err := r.connect(server, caFile); err != nil {
				return err
			}
			return listen(command.Context(), address, r)
		},
	}
	flags := command.Flags()
	flags.StringVar(&address, "address", ":8080", "address to listen on")
	flags.StringVar(&r.tokenFile, "token-file", "/var/run/oauth-operator/token", "file with the bearer token")
	flags.StringVar(&caFile, "ca-file", "/var/run/oauth-operator/ca.crt", "file with the only certificates that are trusted")
	return command
}

// relay is the pod's own program, as far as the server can tell.
type relay struct {
	tokenFile string
	// kept uses connections again, fresh makes one for each request.
	kept, fresh http.Handler
}

func (r *relay) connect(server *url.URL, caFile string) error {
	certificates, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(certificates) {
		return fmt.Errorf("%s has no certificate", caFile)
	}
	proxy := func(keep bool) http.Handler {
		return &httputil.ReverseProxy{
			Rewrite: func(request *httputil.ProxyRequest) { request.SetURL(server) },
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, DisableKeepAlives: !keep,
			},
			ErrorHandler: broken,
		}
	}
	r.kept, r.fresh = proxy(true), proxy(false)
	return nil
}

// broken tells a connection that failed from an answer of the server. Such an error quotes addresses alone.
func broken(w http.ResponseWriter, _ *http.Request, err error) {
	w.Header().Set(report.Broken, err.Error())
	w.WriteHeader(http.StatusBadGateway)
}

func (r *relay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Header.Get("Authorization") == "" {
		// Read for each request: the kubelet renews it.
		token, err := os.ReadFile(r.tokenFile)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if request.Header.Get(report.NewConnection) != "" {
		r.fresh.ServeHTTP(w, request)
		return
	}
	r.kept.ServeHTTP(w, request)
}
