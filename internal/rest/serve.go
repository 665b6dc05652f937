// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/webserver"
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

// Run serves until ctx ends. Then readiness is over at once, no connection is taken any more, and answers under way have 30
// seconds; what streams on after that is cut.
func (p *Process) Run(ctx context.Context) error {
	return p.server.Run(ctx, webserver.Process{
		Public: &http.Server{
			Handler: p.Handler(), MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
			ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout},
		},
		Probes: &http.Server{
			MaxHeaderBytes:    maxHeader,
			ReadHeaderTimeout: probeTimeout, ReadTimeout: probeTimeout, WriteTimeout: probeTimeout, IdleTimeout: idleTimeout,
		},
		Ready: p.ready, Metrics: p.metrics.Handler(), Start: p.begin,
		Serving: func(public net.Addr) {
			p.options.Log.Info("serving", "address", public.String(), "tls", p.server.TLS(), "audiences", p.options.Audiences)
		},
		Stopping: func() { close(p.stopping) }, DrainTimeout: p.options.DrainTimeout,
		Cut: "some answers were not finished in time, and are cut", Drained: p.drained,
	})
}

// begin starts what serving needs; work ends it.
func (p *Process) begin(work context.Context, begin func(name string, run func() error)) {
	begin("caches", func() error { return p.cluster.cached.Start(work) })
	begin("caches", func() error {
		p.synced.Store(p.cluster.waitFilled(work))
		return nil
	})
}

// drained waits until requests that were cut are told of.
func (p *Process) drained(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	p.running.wait(ctx)
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
	return nil
}
