// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// Bounds of the servers. Nothing bounds how long a proxied request or its answer may take: they may be streams.
const (
	maxHeader         = 64 << 10
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	probeTimeout      = 10 * time.Second
	// drainTimeout is how long answers under way have when the process is to end.
	drainTimeout = 30 * time.Second
	// endTimeout is how long requests that were cut have to be told of in the log.
	endTimeout = 5 * time.Second
	// A caller that is gone without a word is noticed, over HTTP/2 too.
	pingAfter    = 30 * time.Second
	pingTimeout  = 15 * time.Second
	writeTimeout = time.Minute
)

// probesOff is a HealthProbeBindAddress.
const probesOff = "0"

// Run serves until ctx ends. Then readiness is over at once, no connection is taken any more, and answers under way have 30
// seconds; what streams on after that is cut.
func (p *Process) Run(ctx context.Context) error {
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	defer working.Wait()
	defer stopWork(nil)
	public, private, err := p.listen(ctx)
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
	servers := p.servers()
	p.begin(work, begin)
	begin("probes", func() error { return serve(servers.probes, private, false) })
	begin("public server", func() error { return serve(servers.public, public, p.certificates != nil) })
	p.announce.Do(func() { close(p.listening) })
	p.options.Log.Info("serving", "address", public.Addr().String(), "tls", p.certificates != nil, "audiences", p.options.Audiences)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, p.drain(context.WithoutCancel(ctx), servers))
}

// begin starts what serving needs; work ends it.
func (p *Process) begin(work context.Context, begin func(name string, run func() error)) {
	begin("caches", func() error { return p.cluster.cached.Start(work) })
	begin("caches", func() error {
		p.synced.Store(p.cluster.waitFilled(work))
		return nil
	})
	if p.certificates != nil {
		begin("certificate", func() error { return p.certificates.Start(work) })
	}
}

// drain ends the servers: the public one first, so that probes tell the truth until the end.
func (p *Process) drain(ctx context.Context, servers servers) error {
	p.draining.Store(true)
	close(p.stopping)
	p.options.Log.Info("stopping; answering the requests under way")
	patient, cancel := context.WithTimeout(ctx, p.options.DrainTimeout)
	defer cancel()
	err := servers.public.Shutdown(patient)
	if err != nil {
		p.options.Log.Info("some answers were not finished in time, and are cut")
		err = servers.public.Close()
	}
	ctx, cancelEnd := context.WithTimeout(ctx, endTimeout)
	defer cancelEnd()
	p.running.wait(ctx)
	return errors.Join(err, servers.probes.Close())
}

// listen opens the sockets, so that an address that cannot be had is an error at once. Without probes their socket is nil.
func (p *Process) listen(ctx context.Context) (public, private net.Listener, err error) {
	var config net.ListenConfig
	if public, err = config.Listen(ctx, "tcp", p.options.BindAddress); err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	p.public = public.Addr()
	if p.options.HealthProbeBindAddress == probesOff {
		return public, nil, nil
	}
	if private, err = config.Listen(ctx, "tcp", p.options.HealthProbeBindAddress); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for probes: %w", err), public.Close())
	}
	p.private = private.Addr()
	return public, private, nil
}

// Listening returns the addresses that the process listens at, once it does; probes is nil when they are off. It waits for that
// as long as ctx allows.
func (p *Process) Listening(ctx context.Context) (public, probes net.Addr, err error) {
	select {
	case <-p.listening:
		return p.public, p.private, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

type servers struct{ public, probes *http.Server }

func (p *Process) servers() servers {
	// What servers say by themselves is about strangers' connections.
	quiet := slog.NewLogLogger(logr.ToSlogHandler(p.options.Log.WithName("http")), slog.LevelDebug)
	s := servers{
		public: &http.Server{
			Handler: p.Handler(), ErrorLog: quiet, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
			ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout},
		},
		probes: &http.Server{
			Handler: p.probes(), ErrorLog: quiet, MaxHeaderBytes: maxHeader,
			ReadHeaderTimeout: probeTimeout, ReadTimeout: probeTimeout, WriteTimeout: probeTimeout, IdleTimeout: idleTimeout,
		},
	}
	if p.certificates != nil {
		s.public.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificates.GetCertificate}
	}
	return s
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

// ready says why the process can serve nobody; nil: it can.
func (p *Process) ready() error {
	if !p.synced.Load() {
		return errors.New("the caches are not filled yet")
	}
	return nil
}

// probes serves /healthz, which says that the process lives, /readyz, which says that it should get requests, and /metrics, in
// which nothing is secret.
func (p *Process) probes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := p.ready()
		if p.draining.Load() {
			err = errors.New("the process is ending")
		}
		answerProbe(w, err)
	})
	mux.Handle("GET /metrics", p.metrics.Handler())
	return mux
}

func answerProbe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	text := "ok"
	if err != nil {
		text = err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, text) // Whoever asks sees that it broke off.
}
