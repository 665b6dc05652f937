// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
)

// tokenLifetime is that of access tokens: short, so that refreshes can be seen.
const tokenLifetime = 12 * time.Second

// stage is all that the story needs. Whatever of it has started is ended by strike.
type stage struct {
	plane    *testenv.Environment
	operator *operator
	samples  samples
	// provider is there for the samples, increase for those of Increase.
	provider *provider
	increase *increase.Server
	// external is the gateway's address; empty: the play has no gateway.
	external string
	// kubeconfig is an administrator's, for the reader.
	kubeconfig string
	// alive ends with the demo, and with the operator.
	alive context.Context //nolint:containedctx // the stage is what lives as long as this context

	ends []func() error
}

// raise starts everything, or ends what it had started.
func raise(ctx context.Context, out *console, serve func(*stage, *console) error) (*stage, error) {
	s := &stage{}
	alive, fail := context.WithCancelCause(ctx)
	s.alive = alive
	if err := s.start(out, serve, fail); err != nil {
		err = errors.Join(err, s.strike())
		fail(err)
		return nil, err
	}
	return s, nil
}

func (s *stage) start(out *console, serve func(*stage, *console) error, fail context.CancelCauseFunc) error {
	started := time.Now()
	plane, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		return err
	}
	s.plane, s.ends = plane, append(s.ends, stop)
	// The API server waits for watches when it ends, so they end before.
	s.ends = append(s.ends, func() error { fail(context.Canceled); return nil })
	directory, err := os.MkdirTemp("", "oauth-operator-demo-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	s.ends = append(s.ends, func() error { return os.RemoveAll(directory) })
	s.kubeconfig = filepath.Join(directory, "admin.kubeconfig")
	if err := testenv.WriteKubeconfig(plane.Config, s.kubeconfig); err != nil {
		return err
	}
	out.say("control plane   etcd and kube-apiserver at %s, RBAC on, both kinds installed (%.1f s)", strings.TrimSuffix(plane.Config.Host, "/"), time.Since(started).Seconds())
	if err := serve(s, out); err != nil {
		return err
	}
	if err := s.startOperator(directory, out, fail); err != nil {
		return err
	}
	return s.startGateway(directory, out, fail)
}

func (s *stage) startProvider(out *console) (err error) {
	if s.samples, err = readSamples(s.plane.Root); err != nil {
		return err
	}
	registered, err := s.samples.registration()
	if err != nil {
		return err
	}
	server, err := fositeserver.Start(harness.Options{
		Clients: []harness.Client{registered}, AccessTokenLifetime: tokenLifetime, RequirePKCE: true,
	})
	if err != nil {
		return fmt.Errorf("start the OAuth server: %w", err)
	}
	s.ends = append(s.ends, func() error { server.Close(); return nil })
	s.provider = &provider{Server: server, client: registered}
	out.say("OAuth server    fosite at %s: access tokens live %s, a refresh token works once", server.URL, tokenLifetime)
	return nil
}

func (s *stage) startOperator(directory string, out *console, fail context.CancelCauseFunc) error {
	config, err := s.plane.Controller(s.alive)
	if err != nil {
		return err
	}
	if s.operator, err = startOperator(s.plane.Root, directory, s.external, config, fail); err != nil {
		return err
	}
	s.ends = append(s.ends, s.operator.Stop)
	out.say("operator        bin/oauth-operator controller, pid %d, as ServiceAccount %s/%s with the roles of config/rbac",
		s.operator.PID, testenv.OperatorNamespace, testenv.ControllerServiceAccount)
	return nil
}

// admin is a member of system:masters.
func (s *stage) admin() *rest.Config { return s.plane.Config }

// strike ends everything in the reverse order.
func (s *stage) strike() error {
	var errs []error
	for _, end := range slices.Backward(s.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
