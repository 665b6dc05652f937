// SPDX-License-Identifier: Apache-2.0

//go:build browser

// Package browser goes through the gateway's pages in a real Chromium, as people do.
package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

// chromium is the browser that all tests share; each test has profiles of its own.
var chromium context.Context //nolint:gochecknoglobals,containedctx // TestMain hands it to the tests

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(tests func() int) (code int, err error) {
	ctx, stop, err := launch()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	chromium = ctx
	return tests(), nil
}
