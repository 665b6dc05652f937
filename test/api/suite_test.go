// SPDX-License-Identifier: Apache-2.0

// Package api calls the API as its callers do: the program's own binary with TLS, at two replicas, under exactly the roles of
// the installation, beside a controller and a gateway; a real API server, on which callers are ServiceAccounts; authorization
// servers that this project did not write; and providers' APIs that take no token which these do not know.
package api

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
)

// installed is what all runs of the tests share.
type installed struct {
	plane  *testenv.Environment
	binary string
	// kubeconfigs are those of the three accounts, by the program's command.
	kubeconfigs map[string]string
}

var shared installed //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	// The rows themselves say how many run at a time.
	code, err := 0, flag.Set("test.parallel", "1000")
	if err == nil {
		code, err = prepared(m.Run)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// prepared calls tests with a control plane, the program and its accounts at hand.
func prepared(tests func() int) (code int, err error) {
	plane, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	directory, err := os.MkdirTemp("", "api-")
	if err != nil {
		return 0, fmt.Errorf("make a directory for the program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	ctx := context.Background()
	shared = installed{plane: plane, kubeconfigs: map[string]string{}}
	if shared.binary, err = program.Build(ctx, plane.Root, directory); err != nil {
		return 0, err
	}
	for command, account := range map[string]func() (*rest.Config, error){
		commandController: func() (*rest.Config, error) { return plane.Controller(ctx) },
		commandGateway:    func() (*rest.Config, error) { return plane.Gateway(ctx, testenv.OperatorNamespace) },
		commandAPI:        func() (*rest.Config, error) { return plane.API(ctx, testenv.OperatorNamespace) },
	} {
		config, err := account()
		if err != nil {
			return 0, err
		}
		shared.kubeconfigs[command] = filepath.Join(directory, command+".kubeconfig")
		if err := testenv.WriteKubeconfig(config, shared.kubeconfigs[command]); err != nil {
			return 0, err
		}
	}
	return tests(), nil
}
