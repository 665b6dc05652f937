// SPDX-License-Identifier: Apache-2.0

//go:build browser

// Package browser goes through the gateway's pages in a real Chromium, as people do: with a mouse, by keyboard alone, on a
// phone, in the dark, without scripts, in two tabs. Behind the pages is the product as it is installed, at a real control
// plane and a real OAuth server. make test-browser runs it.
package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Shared by all tests of the package: each has browser profiles, namespaces and a provider of its own. Those that stop a
// process of the product run one after the other, before those that run side by side.
var (
	chromium *browser //nolint:gochecknoglobals // TestMain hands it to the tests
	product  *world   //nolint:gochecknoglobals // TestMain hands it to the tests
)

// screenshots is the directory that pictures of the pages are written to; empty: none are.
var screenshots = flag.String("screenshots", "", "write pictures of the pages into this directory") //nolint:gochecknoglobals // a flag

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// side is the number of tests at a time.
const side = "4"

func run(tests func() int) (code int, err error) {
	if err := flag.Set("test.parallel", side); err != nil {
		return 0, fmt.Errorf("set the number of parallel tests: %w", err)
	}
	ctrl.SetLogger(logr.Discard()) // The tests' own clients have nothing to say.
	started, err := newWorld(context.Background())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, started.end()) }()
	trusted, err := started.trusted()
	if err != nil {
		return 0, err
	}
	opened, err := launch(trusted...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, opened.end()) }()
	product, chromium = started, opened
	return tests(), nil
}
