// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
)

// operator is the controller of bin/oauth-operator as a process of its own.
type operator struct {
	*program.Process

	metricsURL string
}

// binary is the product as make build leaves it.
func binary(root string) (string, error) {
	path := filepath.Join(root, "bin", "oauth-operator")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run make build", err)
	}
	return path, nil
}

// startOperator runs the controller with a config. external is the gateway's address; empty: there is none. When the process
// ends, fail is told.
func startOperator(root, directory, external string, config *rest.Config, fail context.CancelCauseFunc) (*operator, error) {
	path, err := binary(root)
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(directory, "operator.kubeconfig")
	if err := testenv.WriteKubeconfig(config, kubeconfig); err != nil {
		return nil, err
	}
	port, err := program.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	arguments := []string{
		"controller", "--kubeconfig=" + kubeconfig, "--allow-private-networks=127.0.0.0/8", "--leader-elect=false",
		"--metrics-bind-address=" + address, "--metrics-secure=false", "--health-probe-bind-address=0",
	}
	if external != "" {
		arguments = append(arguments, "--external-url="+external)
	}
	process, err := program.Start(path, filepath.Join(directory, "operator.log"), fail, arguments...)
	if err != nil {
		return nil, err
	}
	return &operator{Process: process, metricsURL: "http://" + address + "/metrics"}, nil
}

// lastWords returns the end of the operator's log as an error, unless it was the reader who ended the demo.
func (o *operator) lastWords(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return fmt.Errorf("the end of the operator's log:\n%s", o.LastWords())
}
