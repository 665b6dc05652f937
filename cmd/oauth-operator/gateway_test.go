// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// A flag that cannot work is named before anything is reached.
func TestGatewayFlags(t *testing.T) {
	const external = "--external-url=https://oauth.example.com"
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{nil, `--external-url "": it is needed`},
		{[]string{"--external-url=http://oauth.example.com"}, "--external-url"},
		{[]string{external, "--trusted-proxies=10.0.0.0/8,nonsense"}, "--trusted-proxies"},
		{[]string{external, "--tls-cert-file=x"}, "--tls-private-key-file"},
		{[]string{external, "--bind-address="}, "--bind-address"},
		{[]string{external, "--logo-url=http://brand.example.com/x"}, "--logo-url"},
		{[]string{external, "--log-level=loud"}, "--log-level"},
		// All is well up to here: what is missing is a cluster. An empty list of proxies comes from an empty variable.
		{[]string{external, "--trusted-proxies=", "--kubeconfig=/none"}, "--kubeconfig /none"},
		{[]string{external, "--trusted-proxies=10.0.0.0/8,192.0.2.1", "--trusted-proxies=fd00::/8", "--kubeconfig=/none"}, "--kubeconfig /none"},
		{[]string{external, "extra"}, "unknown command"},
	} {
		command := rootCommand()
		command.SetArgs(append([]string{"gateway"}, test.arguments...))
		if err := command.Execute(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.arguments, err, test.want)
		}
	}
}
