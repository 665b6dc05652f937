// SPDX-License-Identifier: Apache-2.0

// Package crash runs the real program against a real control plane and a hostile OAuth server, and kills it, cuts it off
// or ends it at every moment that could cost a grant: each write to the API server, before and after it has been carried
// out, and each stage of a call to the provider. What it watches over are two rules: nothing is lost, and nothing is
// spent twice.
package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// Shared by all tests of the package; each test has namespaces, a proxy and an OAuth server of its own.
var (
	plane   *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests
	program string               //nolint:gochecknoglobals // TestMain hands it to the tests
)

// side is the number of scenarios at a time, on however few cores. They mostly wait: a crash is believed in only after half
// a minute.
const side = "24"

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // Each controller is given a logger of its own.
	code, err := prepared(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// prepared calls tests with a control plane and the program at hand.
func prepared(tests func() int) (code int, err error) {
	if err := flag.Set("test.parallel", side); err != nil {
		return 0, fmt.Errorf("set the number of parallel tests: %w", err)
	}
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx := context.Background()
	if _, err := environment.Controller(ctx); err != nil {
		return 0, err
	}
	directory, err := os.MkdirTemp("", "crash-")
	if err != nil {
		return 0, fmt.Errorf("make a directory for the program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	plane, program = environment, filepath.Join(directory, "oauth-operator")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/oauth-operator")
	build.Dir, build.Env = plane.Root, append(os.Environ(), "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, output)
	}
	return tests(), nil
}
