// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

//go:embed browser.yaml
var browserManifest []byte

// Accounts that the reader can have at the provider.
const (
	alice = "alice"
	bob   = "bob"
)

// browserLifetime is that of access tokens: short enough to see a refresh, long enough to look at one.
const browserLifetime = 2 * time.Minute

// startForBrowser chooses the gateway's address, and starts a provider that asks people.
func (s *stage) startForBrowser(out *console) error {
	port, err := program.FreePort()
	if err != nil {
		return err
	}
	// Not an IP address: cookies of one are those of another server on it, the provider's for one.
	s.external = fmt.Sprintf("http://localhost:%d", port)
	if s.samples, err = decode(browserManifest, "test/demo/browser.yaml"); err != nil {
		return err
	}
	registered, err := s.samples.registration()
	if err != nil {
		return err
	}
	registered.RedirectURIs = []string{s.external + v1alpha1.PathCallback}
	server, err := fositeserver.Start(harness.Options{
		Clients: []harness.Client{registered}, AccessTokenLifetime: browserLifetime, RequirePKCE: true, Accounts: []string{alice, bob},
	})
	if err != nil {
		return fmt.Errorf("start the OAuth server: %w", err)
	}
	s.ends = append(s.ends, func() error { server.Close(); return nil })
	s.provider = &provider{Server: server, client: registered}
	out.say("OAuth server    fosite at %s: people with the accounts %s and %s are asked whether they agree", server.URL, alice, bob)
	return nil
}

// startGateway runs the gateway, where a play has an address for it. It has a key of its own: nobody else seals for it.
func (s *stage) startGateway(directory string, out *console, fail context.CancelCauseFunc) error {
	if s.external == "" {
		return nil
	}
	config, err := s.plane.Gateway(s.alive, testenv.OperatorNamespace)
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(directory, "gateway.kubeconfig")
	if err := testenv.WriteKubeconfig(config, kubeconfig); err != nil {
		return err
	}
	path, err := binary(s.plane.Root)
	if err != nil {
		return err
	}
	probes, err := program.FreePort()
	if err != nil {
		return err
	}
	gateway, err := program.Start(path, filepath.Join(directory, "gateway.log"), fail,
		"gateway", "--kubeconfig="+kubeconfig, "--external-url="+s.external, "--bind-address="+strings.TrimPrefix(s.external, "http://"),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", probes))
	if err != nil {
		return err
	}
	s.ends = append(s.ends, gateway.Stop)
	if err := s.awaitReady(fmt.Sprintf("http://127.0.0.1:%d/readyz", probes)); err != nil {
		return fmt.Errorf("%w; the end of the gateway's log:\n%s", err, gateway.LastWords())
	}
	out.say("gateway         bin/oauth-operator gateway at %s, pid %d, as ServiceAccount %s/%s: it can read no Secret",
		s.external, gateway.PID, testenv.OperatorNamespace, testenv.GatewayServiceAccount)
	return nil
}

// awaitReady waits for a probe to succeed.
func (s *stage) awaitReady(probe string) error {
	ctx, cancel := context.WithTimeout(s.alive, patience)
	defer cancel()
	return testenv.Wait(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the gateway is not ready: %s", response.Status)
		}
		return nil
	})
}
