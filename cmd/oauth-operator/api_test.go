// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// A flag that cannot work is named before anything is reached.
func TestAPIFlags(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"--token-audience="}, "--token-audience"},
		{[]string{"--token-audience=a,,b"}, "--token-audience"},
		{[]string{"--tls-cert-file=x"}, "--tls-private-key-file"},
		{[]string{"--tls-private-key-file=x"}, "--tls-cert-file"},
		{[]string{"--bind-address="}, "--bind-address"},
		{[]string{"--allow-private-networks=10.0.0.0/33"}, "--allow-private-networks"},
		{[]string{"--deny-networks=nonsense"}, "--deny-networks"},
		{[]string{"--log-level=loud"}, "--log-level"},
		// All is well up to here: what is missing is a cluster.
		{[]string{"--kubeconfig=/none"}, "--kubeconfig /none"},
		{[]string{
			"--token-audience=a", "--token-audience=b", "--allow-private-networks=provider.platform.svc,10.0.0.0/8",
			"--deny-networks=192.0.2.0/24", "--kubeconfig=/none",
		}, "--kubeconfig /none"},
		{[]string{"extra"}, "unknown command"},
	} {
		command := rootCommand()
		command.SetArgs(append([]string{"api"}, test.arguments...))
		if err := command.Execute(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.arguments, err, test.want)
		}
	}
}

// The audit is written even where nothing else is.
func TestAuditLogger(t *testing.T) {
	for _, level := range []string{"debug", "info", "error"} {
		var written strings.Builder
		audit, stop, err := (&commonOptions{logLevel: level, logFormat: "json"}).auditLogger(&written)
		if err != nil {
			t.Fatal(err)
		}
		audit.WithName("audit").Info("request", "status", 200)
		if err := stop(); err != nil || strings.Count(written.String(), `"logger":"audit","msg":"request","status":200`) != 1 {
			t.Errorf("%s: the audit says %q (%v)", level, written.String(), err)
		}
		log, err := (&commonOptions{logLevel: level, logFormat: "json"}).logger()
		if err != nil || log.Enabled() != (level != "error") {
			t.Errorf("%s: the log's level is not as it was asked for (%v)", level, err)
		}
	}
}
