// SPDX-License-Identifier: Apache-2.0

// Package integration runs the controller process against a real control plane, under exactly the role of the
// installation, and against OAuth servers that this project did not write.
package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// plane is the control plane that all tests of the package share; each test has namespaces of its own.
var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests

// installed is the way to the API server of the controller's own ServiceAccount, with the role of the installation.
var installed *rest.Config //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// side is the number of tests at a time. They mostly wait: for a token to run out, a deadline, a check that is due.
const side = "6"

func run(m *testing.M) int {
	if err := flag.Set("test.parallel", side); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctrl.SetLogger(logr.Discard()) // Each controller is given a logger of its own.
	environment, stop, err := testenv.StartMain(testenv.Options{ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := 1
	if installed, err = plane.Controller(context.Background()); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
