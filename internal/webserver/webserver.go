// SPDX-License-Identifier: Apache-2.0

// Package webserver is what the processes that serve HTTP have in common: a public server, with TLS or without, a server of
// probes and metrics beside it, and the order in which they end. What is served, its bounds, and what else runs are the
// process's own.
package webserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// probesOff is a HealthProbeBindAddress.
const probesOff = "0"

// Options of a Server.
type Options struct {
	// BindAddress is where the public server listens.
	BindAddress string
	// TLSCertFile and TLSPrivateKeyFile are PEM files, read again when they change; both empty: plain HTTP.
	TLSCertFile, TLSPrivateKeyFile string
	// HealthProbeBindAddress is where /healthz, /readyz and /metrics are served, by plain HTTP; "0": nowhere.
	HealthProbeBindAddress string
	Log                    logr.Logger
}

// Process is what a Server serves, and what happens around it.
type Process struct {
	// Public has its handler and bounds, Probes its bounds. The rest of both is set by Run.
	Public, Probes *http.Server
	// Ready says why the process can serve nobody; nil: it can.
	Ready func() error
	// Metrics answers at /metrics. Nothing in it is secret.
	Metrics http.Handler
	// Start begins what serving needs, each under a name for its error, which ends the process; work ends it all.
	Start func(work context.Context, begin func(name string, run func() error))
	// Serving is told when the public server takes requests.
	Serving func(public net.Addr)
	// Stopping is told when the process is to end: readiness is over, and connections are still taken.
	Stopping func()
	// DrainTimeout is how long answers under way have from then on. Cut is what is logged when that was not enough.
	DrainTimeout time.Duration
	Cut          string
	// Drained may be nil. It is called when the public server has ended, and probes have not.
	Drained func(ctx context.Context)
}

// Server serves one Process, once.
type Server struct {
	options Options
	// certificates is nil without TLS.
	certificates *certwatcher.CertWatcher
	draining     atomic.Bool

	listening       chan struct{}
	public, private net.Addr
}

// New makes a server, and reads its certificate; nothing runs yet.
func New(options Options) (*Server, error) {
	s := &Server{options: options, listening: make(chan struct{})}
	if (options.TLSCertFile == "") != (options.TLSPrivateKeyFile == "") {
		return nil, errors.New("a certificate and its private key go together")
	}
	if options.TLSCertFile == "" {
		return s, nil
	}
	var err error
	if s.certificates, err = certwatcher.New(options.TLSCertFile, options.TLSPrivateKeyFile); err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return s, nil
}

// TLS tells whether the public server speaks TLS.
func (s *Server) TLS() bool { return s.certificates != nil }

// Run serves until ctx ends, or something that the process began fails. Then readiness is over at once, no connection is taken
// any more, and answers under way have DrainTimeout; what is left then is cut.
func (s *Server) Run(ctx context.Context, process Process) error {
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	defer working.Wait()
	defer stopWork(nil)
	public, private, err := s.listen(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	begin := func(name string, run func() error) {
		working.Go(func() {
			if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				select {
				case failed <- fmt.Errorf("%s: %w", name, err):
				default: // One is enough to end.
				}
			}
		})
	}
	s.complete(process)
	process.Start(work, begin)
	if s.TLS() {
		begin("certificate", func() error { return s.certificates.Start(work) })
	}
	begin("probes", func() error { return serve(process.Probes, private, false) })
	begin("public server", func() error { return serve(process.Public, public, s.TLS()) })
	close(s.listening)
	process.Serving(public.Addr())
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.drain(context.WithoutCancel(ctx), process))
}

// complete sets what every process has alike.
func (s *Server) complete(process Process) {
	// What servers say by themselves is about strangers' connections.
	quiet := slog.NewLogLogger(logr.ToSlogHandler(s.options.Log.WithName("http")), slog.LevelDebug)
	process.Public.ErrorLog, process.Probes.ErrorLog = quiet, quiet
	process.Probes.Handler = s.probes(process)
	if s.TLS() {
		process.Public.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificates.GetCertificate}
	}
}

// drain ends the servers: the public one first, so that probes tell the truth until the end.
func (s *Server) drain(ctx context.Context, process Process) error {
	s.draining.Store(true)
	process.Stopping()
	s.options.Log.Info("stopping; answering the requests under way")
	patient, cancel := context.WithTimeout(ctx, process.DrainTimeout)
	defer cancel()
	err := process.Public.Shutdown(patient)
	if err != nil {
		s.options.Log.Info(process.Cut)
		err = process.Public.Close()
	}
	if process.Drained != nil {
		process.Drained(ctx)
	}
	return errors.Join(err, process.Probes.Close())
}

// listen opens the sockets, so that an address that cannot be had is an error at once. Without probes their socket is nil.
func (s *Server) listen(ctx context.Context) (public, private net.Listener, err error) {
	var config net.ListenConfig
	if public, err = config.Listen(ctx, "tcp", s.options.BindAddress); err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	s.public = public.Addr()
	if s.options.HealthProbeBindAddress == probesOff {
		return public, nil, nil
	}
	if private, err = config.Listen(ctx, "tcp", s.options.HealthProbeBindAddress); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for probes: %w", err), public.Close())
	}
	s.private = private.Addr()
	return public, private, nil
}

// Listening returns the addresses that the server listens at, once it does; probes is nil when they are off. It waits for that
// as long as ctx allows.
func (s *Server) Listening(ctx context.Context) (public, probes net.Addr, err error) {
	select {
	case <-s.listening:
		return s.public, s.private, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

func serve(server *http.Server, listener net.Listener, secure bool) error {
	switch {
	case listener == nil:
		return nil
	case secure:
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}
