// SPDX-License-Identifier: Apache-2.0

// Package gateway puts the gateway process together: the public server with its pages, callback and webhooks, the server of
// probes and metrics, and the order in which they end. The gateway reads applications and connections, and creates Secrets in
// the operator's namespace; it can do nothing else, and keeps nothing.
package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/gateway/headers"
	"github.com/oauth-operator/oauth-operator/internal/gateway/limit"
	"github.com/oauth-operator/oauth-operator/internal/gateway/login"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	"github.com/oauth-operator/oauth-operator/internal/hub"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/webserver"
)

// maxHeld is how many people one process lets wait for outcomes at once. Others are asked to look again.
const maxHeld = 2000

// Options of the gateway process.
type Options struct {
	// Namespace is the operator's own: messages to the controller are created there.
	Namespace string
	// ExternalURL is the public address; see ParseExternalURL.
	ExternalURL string
	// KeysDir is where the Secret with the keys is mounted; empty: a key of this process alone, and no webhooks.
	KeysDir string
	// TrustedProxies are the CIDRs whose X-Forwarded-For is believed.
	TrustedProxies []string
	// BindAddress is where the public server listens.
	BindAddress string
	// TLSCertFile and TLSPrivateKeyFile are PEM files, read again when they change; both empty: plain HTTP, for a proxy that ends
	// TLS.
	TLSCertFile, TLSPrivateKeyFile string
	// HealthProbeBindAddress is where /healthz, /readyz and /metrics are served, by plain HTTP; "0": nowhere.
	HealthProbeBindAddress string
	// Title and LogoURL are the branding of the pages; empty: the product's own.
	Title, LogoURL string
	// Version is told to the API server as part of the user agent.
	Version string
	// Clock is nil for the real one.
	Clock clock.WithTicker
	Log   logr.Logger
}

// Process is a gateway that can run once.
type Process struct {
	options  Options
	external *url.URL
	cluster  *cluster
	keys     keyset.Source
	metrics  *metrics.Metrics
	pages    *pages.Pages
	headers  headers.Policy
	proxies  limit.Proxies
	limits   limits
	logins   *login.Handler
	webhooks http.Handler
	server   *webserver.Server

	// synced decides about readiness.
	synced atomic.Bool
	// stopping is closed when the process is to end.
	stopping chan struct{}
}

// New puts the process together; nothing runs yet.
func New(config *rest.Config, options Options) (*Process, error) {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	p := &Process{
		options: options, metrics: metrics.New(), limits: newLimits(options.Clock),
		stopping: make(chan struct{}),
	}
	if err := p.configure(); err != nil {
		return nil, err
	}
	var err error
	if p.cluster, err = newCluster(config, options.Version); err != nil {
		return nil, err
	}
	if options.KeysDir != "" {
		p.keys = keyset.NewDir(options.KeysDir, options.Log.WithName("keys"))
	} else {
		p.keys = keyset.Ephemeral()
		options.Log.Info("without --keys-dir the keys are this process's own: run one replica; webhooks are answered by 503")
	}
	return p, p.assemble()
}

// configure reads the options.
func (p *Process) configure() error {
	var err error
	if p.external, err = ParseExternalURL(p.options.ExternalURL); err != nil {
		return fmt.Errorf("external URL %q: %w", p.options.ExternalURL, err)
	}
	if p.proxies, err = limit.ParseProxies(p.options.TrustedProxies); err != nil {
		return fmt.Errorf("trusted proxies: %w", err)
	}
	p.headers = headers.New(p.external, p.options.LogoURL)
	p.pages, err = pages.New(pages.Branding{Title: p.options.Title, LogoURL: p.options.LogoURL, BasePath: p.external.Path})
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	p.server, err = webserver.New(webserver.Options{
		BindAddress: p.options.BindAddress, HealthProbeBindAddress: p.options.HealthProbeBindAddress,
		TLSCertFile: p.options.TLSCertFile, TLSPrivateKeyFile: p.options.TLSPrivateKeyFile, Log: p.options.Log,
	})
	return err
}

// assemble makes what answers requests.
func (p *Process) assemble() error {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		return fmt.Errorf("the catalogue of providers: %w", err)
	}
	waiting := hub.New(maxHeld)
	if err := p.cluster.watch(waiting); err != nil {
		return err
	}
	p.logins, err = login.New(login.Options{
		Namespace: p.options.Namespace, External: p.external, Cached: p.cluster.cached, Live: p.cluster.live, Creator: p.cluster,
		Sealer: seal.New(p.keys, p.options.Clock), Pages: p.pages, Catalogue: catalogue, Headers: p.headers, Hub: waiting,
		Connections: p.limits.connections, Reads: p.limits.reads,
		Limited: func(w http.ResponseWriter, retryAfter time.Duration) {
			p.limited(w, metrics.LimitConnection, retryAfter)
		},
		Metrics: p.metrics, Stopping: p.stopping, Clock: p.options.Clock, Log: p.options.Log.WithName("login"),
	})
	if err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	p.webhooks = webhook.New(webhook.Options{
		Reader: p.cluster.cached, Creator: p.cluster, Namespace: p.options.Namespace, Keys: p.keys, Catalogue: catalogue,
		Counter: p.metrics, Clock: p.options.Clock, Log: p.options.Log.WithName("webhook"),
	})
	return nil
}
