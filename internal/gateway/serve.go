// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/gateway/login"
	"github.com/oauth-operator/oauth-operator/internal/webserver"
)

// Bounds of the servers.
const (
	maxHeader         = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	// writeTimeout leaves room beyond what an answer waits on purpose: for reads and writes at the API server.
	writeTimeout = login.MaxAnswer + 15*time.Second
	idleTimeout  = 75 * time.Second
	// drainTimeout is how long answers under way have when the process is to end. Those that only wait are given at once.
	drainTimeout = 20 * time.Second
)

// Run serves until ctx ends. Then readiness is over at once, no connection is taken any more, people who wait are shown a page
// that asks another replica, and answers under way have 20 seconds.
func (p *Process) Run(ctx context.Context) error {
	return p.server.Run(ctx, webserver.Process{
		Public: bounded(p.Handler()), Probes: bounded(nil), Ready: p.ready, Metrics: p.metrics.Handler(), Start: p.begin,
		Serving: func(public net.Addr) {
			p.options.Log.Info("serving", "address", public.String(), "external", p.external.String(), "tls", p.server.TLS())
		},
		Stopping: func() { close(p.stopping) }, DrainTimeout: drainTimeout, Cut: "some requests were not answered in time",
	})
}

func bounded(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
}

// begin starts what serving needs; work ends it.
func (p *Process) begin(work context.Context, begin func(name string, run func() error)) {
	begin("caches", func() error { return p.cluster.cached.Start(work) })
	begin("caches", func() error {
		p.synced.Store(p.cluster.cached.WaitForCacheSync(work))
		return nil
	})
	if keys, ok := p.keys.(interface{ Run(context.Context) }); ok {
		begin("keys", func() error {
			keys.Run(work)
			return nil
		})
	}
}

// Listening returns the addresses that the process listens at, once it does; probes is nil when they are off. It waits for that
// as long as ctx allows.
func (p *Process) Listening(ctx context.Context) (public, probes net.Addr, err error) {
	return p.server.Listening(ctx)
}

// ready says why the process can serve nobody; nil: it can.
func (p *Process) ready() error {
	if !p.synced.Load() {
		return errors.New("the caches are not filled yet")
	}
	return p.keys.Ready()
}
