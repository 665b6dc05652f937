// SPDX-License-Identifier: Apache-2.0

// Package rest puts the API process together: the server for callers inside the cluster with its lists, connections and request
// proxy, the server of probes and metrics, and the order in which they end. What the process reads and writes at the API server
// is in config/api; it never calls a token endpoint, and keeps nothing.
package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/lists"
	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/webserver"
)

// DefaultAudience is what callers' tokens are for unless Options say otherwise.
const DefaultAudience = "oauth-operator.io"

// Options of the API process.
type Options struct {
	// Namespace is the operator's own: grant records are read and messages to the controller created there.
	Namespace string
	// Audiences that a caller's token may be for: one of them is enough. Default: DefaultAudience.
	Audiences []string
	// BindAddress is where callers come to.
	BindAddress string
	// TLSCertFile and TLSPrivateKeyFile are PEM files, read again when they change; both empty: plain HTTP, for a proxy that ends
	// TLS.
	TLSCertFile, TLSPrivateKeyFile string
	// HealthProbeBindAddress is where /healthz, /readyz and /metrics are served, by plain HTTP; "0": nowhere.
	HealthProbeBindAddress string
	// Egress says which addresses requests to providers may reach.
	Egress egress.Policy
	// DrainTimeout is how long answers under way have when the process is to end; default: 30 seconds.
	DrainTimeout time.Duration
	// BodyTimeout is how long the body of a request may take that is not proxied; default: 10 seconds.
	BodyTimeout time.Duration
	// Version is told to the API server as part of the user agent.
	Version string
	// Clock is nil for the real one.
	Clock clock.WithTicker
	Log   logr.Logger
	// Audit gets a line for each proxied request, and for each change that a caller made or was refused; default: Log.
	Audit logr.Logger
}

// Process is an API process that can run once.
type Process struct {
	options       Options
	cluster       *cluster
	metrics       *metrics.Metrics
	directory     *directory.Directory
	authenticator *caller.Authenticator
	permissions   caller.Permissions
	lists         *lists.Handler
	integrations  *integrations.Handler
	description   problem.HandlerFunc
	proxied       http.Handler
	server        *webserver.Server

	// synced decides about readiness.
	synced atomic.Bool
	// stopping is closed when the process is to end.
	stopping chan struct{}
	running  running
}

// New puts the process together; nothing runs yet.
func New(config *restclient.Config, options Options) (*Process, error) {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if len(options.Audiences) == 0 {
		options.Audiences = []string{DefaultAudience}
	}
	if options.DrainTimeout <= 0 {
		options.DrainTimeout = drainTimeout
	}
	if options.BodyTimeout <= 0 {
		options.BodyTimeout = bodyTimeout
	}
	if options.Audit.GetSink() == nil {
		options.Audit = options.Log
	}
	p := &Process{
		options: options, metrics: metrics.New(), directory: directory.New(),
		stopping: make(chan struct{}),
	}
	if err := p.configure(); err != nil {
		return nil, err
	}
	var err error
	if p.cluster, err = newCluster(config, options.Version); err != nil {
		return nil, err
	}
	return p, errors.Join(p.watch(), p.identify(), p.assemble())
}

// configure reads the options.
func (p *Process) configure() error {
	if slices.Contains(p.options.Audiences, "") {
		return errors.New("an audience must not be empty")
	}
	var err error
	p.server, err = webserver.New(webserver.Options{
		BindAddress: p.options.BindAddress, HealthProbeBindAddress: p.options.HealthProbeBindAddress,
		TLSCertFile: p.options.TLSCertFile, TLSPrivateKeyFile: p.options.TLSPrivateKeyFile, Log: p.options.Log,
	})
	if err != nil {
		return err
	}
	if !p.server.TLS() {
		p.options.Log.Info("without --tls-cert-file callers' tokens and providers' answers cross the network in the clear, unless something in front ends TLS")
	}
	return nil
}

// watch feeds the directory.
func (p *Process) watch() error {
	return errors.Join(
		p.cluster.watch(&v1alpha1.OAuthApplication{}, p.directory.ApplicationHandler()),
		p.cluster.watch(&v1alpha1.OAuthConnection{}, p.directory.ConnectionHandler()),
	)
}

// identify makes what knows callers and what they may.
func (p *Process) identify() error {
	clients, err := kubernetes.NewForConfig(p.cluster.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	p.authenticator, err = caller.NewAuthenticator(caller.AuthenticatorOptions{
		Client: clients.AuthenticationV1(), Audiences: p.options.Audiences, Failed: p.failed, Clock: p.options.Clock,
	})
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	p.permissions, err = caller.NewPermissions(caller.PermissionsOptions{Client: clients.AuthorizationV1()})
	if err != nil {
		return fmt.Errorf("permissions: %w", err)
	}
	return nil
}
