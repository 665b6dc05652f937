// SPDX-License-Identifier: Apache-2.0

// Package reliability runs the whole product as it is deployed: two gateways behind something that spreads requests as an
// Ingress does, and two controllers of which one leads, all as processes of their own under the roles of the installation. It
// has many people log in, and kills processes meanwhile.
package reliability

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

// What a longer run than that of the tests asks for.
var (
	people   = flag.Int("people", 200, "people who log in")                                     //nolint:gochecknoglobals // a flag
	atOnce   = flag.Int("at-once", 40, "people under way at a time")                            //nolint:gochecknoglobals // a flag
	leaders  = flag.Int("leaders", 1, "how often the controller that leads is killed")          //nolint:gochecknoglobals // a flag
	standbys = flag.Int("standbys", 1, "how often the controller that does not lead is killed") //nolint:gochecknoglobals // a flag
	gateways = flag.Int("gateways", 2, "how often a gateway is killed")                         //nolint:gochecknoglobals // a flag
	seed     = flag.Uint64("seed", 0, "seed of all that is random; 0: another one each time")   //nolint:gochecknoglobals // a flag
)

// installed is what the tests share.
type installed struct {
	plane  *testenv.Environment
	binary string
	// kubeconfigs of the gateways and of the controllers.
	gateway, controller string
}

var shared installed //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	code, err := prepared(m.Run)
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
	directory, err := os.MkdirTemp("", "reliability-")
	if err != nil {
		return 0, fmt.Errorf("make a directory for the program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	ctx := context.Background()
	shared.plane = plane
	if shared.binary, err = program.Build(ctx, plane.Root, directory); err != nil {
		return 0, err
	}
	controller, controllerErr := plane.Controller(ctx)
	gateway, gatewayErr := plane.Gateway(ctx, testenv.OperatorNamespace)
	if err := errors.Join(controllerErr, gatewayErr); err != nil {
		return 0, err
	}
	for name, account := range map[string]struct {
		config *rest.Config
		path   *string
	}{"controller": {controller, &shared.controller}, "gateway": {gateway, &shared.gateway}} {
		*account.path = filepath.Join(directory, name+".kubeconfig")
		if err := testenv.WriteKubeconfig(account.config, *account.path); err != nil {
			return 0, err
		}
	}
	return tests(), nil
}
