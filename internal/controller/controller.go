// SPDX-License-Identifier: Apache-2.0

// Package controller puts the controller process together: the manager with its caches, both reconcilers, and the order
// in which they end.
package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/controller/application"
	"github.com/oauth-operator/oauth-operator/internal/controller/connection"
	"github.com/oauth-operator/oauth-operator/internal/controller/gatewaykeys"
	"github.com/oauth-operator/oauth-operator/internal/controller/inbox"
	"github.com/oauth-operator/oauth-operator/internal/controller/metrics"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/publish"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
)

// The metrics endpoint asks the API server who is calling and whether that may be.
//
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// leaseName is the name of the Lease that one of several controllers holds.
const leaseName = "oauth-operator-controller"

// maxTransports bounds the pools of connections to providers: one for each CA bundle in use.
const maxTransports = 256

// readyWait is how long a readiness probe may wait for the caches: less than the second after which a kubelet gives up, so
// that it gets an answer.
const readyWait = 500 * time.Millisecond

// Options of the controller process.
type Options struct {
	// Namespace is the operator's own.
	Namespace string
	// WatchNamespaces limits what is looked at; empty: all namespaces.
	WatchNamespaces []string
	// ExternalURL is the gateway's public address; empty: there is no gateway.
	ExternalURL string

	LeaderElect            bool
	MetricsBindAddress     string
	MetricsSecure          bool
	HealthProbeBindAddress string
	// Workers is the number of passes at once, for each kind.
	Workers int
	// RevocationTimeout bounds how long a deletion waits for a provider.
	RevocationTimeout time.Duration
	Egress            egress.Policy
	// Version is sent to providers as user agent.
	Version string
	Log     logr.Logger
	// Metrics takes the process's own metrics; nil: what is served at MetricsBindAddress. One registry takes those of
	// one process at a time.
	Metrics prometheus.Registerer
}

// Process is a controller that can run once.
type Process struct {
	manager ctrl.Manager
	queue   *callqueue.Queue
	log     logr.Logger
	// unregister takes the metrics back, so that a process of tests can hold several controllers in turn.
	unregister func()
}

// New puts the process together; nothing runs yet.
func New(config *rest.Config, options Options) (*Process, error) {
	config = rest.CopyConfig(config)
	// A token waits for each write, so the client does not limit itself; the API server's priority and fairness does.
	config.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	tokenLabel, err := labels.Parse(v1alpha1.LabelConnection)
	if err != nil {
		return nil, fmt.Errorf("select token Secrets: %w", err)
	}
	mgr, err := ctrl.NewManager(config, managerOptions(options, scheme, cacheOptions(options, tokenLabel)))
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	inputs, err := newInputCache(mgr, config, options)
	if err != nil {
		return nil, err
	}
	p := &Process{manager: mgr, log: options.Log, queue: callqueue.New(callqueue.Options{Log: options.Log})}
	if err := p.assemble(options, inputs); err != nil {
		return nil, err
	}
	return p, p.addProbes(inputs)
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register types: %w", err)
	}
	return scheme, nil
}

func managerOptions(options Options, scheme *runtime.Scheme, caches cache.Options) ctrl.Options {
	metricsOptions := metricsserver.Options{BindAddress: options.MetricsBindAddress, SecureServing: options.MetricsSecure}
	if options.MetricsSecure {
		metricsOptions.FilterProvider = filters.WithAuthenticationAndAuthorization
		metricsOptions.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	return ctrl.Options{
		Scheme: scheme, Logger: options.Log,
		Cache:                   caches,
		Metrics:                 metricsOptions,
		HealthProbeBindAddress:  options.HealthProbeBindAddress,
		LeaderElection:          options.LeaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: options.Namespace,
		// The lease is given back when the manager has stopped. Calls that are still being written hold marks, which the
		// next leader respects.
		LeaderElectionReleaseOnCancel: true,
		// Names of controllers are checked once per program; tests run several in one.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	}
}

// cacheOptions holds, of all Secrets, the operator's own namespace and the labelled token Secrets elsewhere.
func cacheOptions(options Options, tokenLabel labels.Selector) cache.Options {
	tokenSecrets := cache.Config{LabelSelector: tokenLabel}
	secrets := map[string]cache.Config{cache.AllNamespaces: tokenSecrets}
	defaults := map[string]cache.Config(nil)
	if len(options.WatchNamespaces) > 0 {
		secrets, defaults = map[string]cache.Config{}, map[string]cache.Config{}
		for _, namespace := range options.WatchNamespaces {
			secrets[namespace], defaults[namespace] = tokenSecrets, cache.Config{}
		}
	}
	secrets[options.Namespace] = cache.Config{}
	return cache.Options{
		DefaultNamespaces: defaults,
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject:          map[client.Object]cache.ByObject{&corev1.Secret{}: {Namespaces: secrets}},
	}
}

// newInputCache makes the cache of the metadata of everybody else's Secrets and ConfigMaps, and of namespaces.
func newInputCache(mgr ctrl.Manager, config *rest.Config, options Options) (cache.Cache, error) {
	foreign, err := labels.Parse("!" + v1alpha1.LabelConnection + ",!" + v1alpha1.LabelRecord)
	if err != nil {
		return nil, fmt.Errorf("select foreign Secrets: %w", err)
	}
	var defaults map[string]cache.Config
	if len(options.WatchNamespaces) > 0 {
		defaults = map[string]cache.Config{}
		for _, namespace := range options.WatchNamespaces {
			defaults[namespace] = cache.Config{}
		}
	}
	inputs, err := cache.New(config, cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultNamespaces: defaults, DefaultTransform: stripMetadata,
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Label: foreign}},
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of inputs: %w", err)
	}
	if err := mgr.Add(standbyToo{inputs}); err != nil {
		return nil, fmt.Errorf("add the cache of inputs: %w", err)
	}
	return inputs, nil
}

// standbyToo starts a cache before the lease is held, as the manager does with its own: a standby is ready when its
// caches are filled.
type standbyToo struct{ cache.Cache }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (standbyToo) NeedLeaderElection() bool { return false }

// stripMetadata keeps what events are matched by; labels matter for namespaces alone.
func stripMetadata(object any) (any, error) {
	meta, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	meta.ManagedFields, meta.Annotations, meta.OwnerReferences, meta.Finalizers = nil, nil, nil, nil
	if meta.Kind != "Namespace" {
		meta.Labels = nil
	}
	return meta, nil
}

func (p *Process) assemble(options Options, inputs cache.Cache) error {
	guard, err := egress.New(options.Egress)
	if err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	mgr, now := p.manager, clock.RealClock{}
	transports := egress.NewTransportPool(guard, maxTransports)
	caller := oauth.NewCaller(now.Now, oauth.Options{UserAgent: "oauth-operator/" + options.Version})
	registrations := registration.New(registration.Options{
		Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Namespace: options.Namespace,
	})
	process := uuid.NewString()
	grants := grant.New(grant.Options{
		Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Namespace: options.Namespace,
		Process: process, Clock: now,
	})
	own := metrics.New(mgr.GetClient(), p.queue, now)
	registry := options.Metrics
	if registry == nil {
		registry = ctrlmetrics.Registry
	}
	if err := registry.Register(own); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	p.unregister = func() { registry.Unregister(own) }
	recorder := mgr.GetEventRecorder("oauth-operator")
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		return fmt.Errorf("the catalogue of providers: %w", err)
	}
	if err := registerIndexes(mgr, catalogue); err != nil {
		return err
	}
	known, listings := &census.Store{}, application.NewListings()
	reconciler := connection.New(connection.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Metadata: inputs, Grants: grants, Registrations: registrations,
		Publisher: publish.New(publish.Options{Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}),
		Queue:     p.queue, Caller: caller, Transports: transports, Recorder: recorder, Metrics: own, Clock: now,
		Namespace: options.Namespace, ExternalURL: strings.TrimRight(options.ExternalURL, "/"),
		Process: process, StartedAt: now.Now(), RevocationTimeout: options.RevocationTimeout, Workers: options.Workers,
		Watched: watched(options.WatchNamespaces), Census: known, RequestListing: listings.RequestListing,
		ServiceAccounts: serviceaccount.New(serviceaccount.Options{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: now}),
	})
	if err := reconciler.SetupWithManager(mgr, inputs); err != nil {
		return fmt.Errorf("set up connections: %w", err)
	}
	messages := inbox.New(inbox.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: options.Namespace, Watched: watched(options.WatchNamespaces),
		RequestListing: listings.RequestListing, StartedAt: now.Now(), Clock: now,
	})
	if err := messages.SetupWithManager(mgr); err != nil {
		return err
	}
	return p.assembleApplications(options, application.Options{
		Client: mgr.GetClient(), Metadata: inputs, Live: mgr.GetAPIReader(), Registrations: registrations, Queue: p.queue,
		Discoverer: caller, Getter: caller, Transports: transports, CheckURL: guard.CheckURL, Clock: now,
		Recorder: recorder, InUse: grants.NeedsApplication, Catalogue: catalogue, Census: known, Listings: listings,
		Listed: reconciler.WakeConnectionsOf,
	})
}

// assembleApplications adds what looks after applications, and after the keys of gateways, to which their webhook secrets
// belong.
func (p *Process) assembleApplications(options Options, o application.Options) error {
	keys := gatewaykeys.New(gatewaykeys.Options{
		Client: p.manager.GetClient(), Registrations: o.Registrations, Namespace: options.Namespace, Clock: o.Clock,
	})
	if err := keys.SetupWithManager(p.manager); err != nil {
		return err
	}
	o.ExternalURL, o.RevocationTimeout, o.Workers = options.ExternalURL, options.RevocationTimeout, options.Workers
	o.Watched = watched(options.WatchNamespaces)
	if err := application.SetupWithManager(p.manager, o); err != nil {
		return fmt.Errorf("set up applications: %w", err)
	}
	return nil
}

func watched(namespaces []string) func(string) bool {
	return func(namespace string) bool { return len(namespaces) == 0 || slices.Contains(namespaces, namespace) }
}

func registerIndexes(mgr ctrl.Manager, catalogue *provider.Catalogue) error {
	ctx, indexer := context.Background(), mgr.GetFieldIndexer()
	for name, function := range map[string]client.IndexerFunc{
		grant.IndexByConnection:      grant.IndexConnection,
		grant.IndexByApplication:     grant.IndexApplication,
		publish.IndexByConnectionUID: publish.IndexConnectionUID,
	} {
		if err := indexer.IndexField(ctx, &corev1.Secret{}, name, function); err != nil {
			return fmt.Errorf("index Secrets by %s: %w", name, err)
		}
	}
	return errors.Join(connection.RegisterIndexes(ctx, indexer), application.RegisterIndexes(ctx, indexer, catalogue))
}

// addProbes makes liveness independent of the API server, and readiness mean that the caches are filled.
func (p *Process) addProbes(inputs cache.Cache) error {
	ready := func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), readyWait)
		defer cancel()
		if !p.manager.GetCache().WaitForCacheSync(ctx) || !inputs.WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
	return errors.Join(p.manager.AddHealthzCheck("ping", healthz.Ping), p.manager.AddReadyzCheck("caches", ready))
}

// Run works until ctx ends or the lease is lost. No call to a provider begins after that, and Run returns only when the
// outcome of every call under way is written: it may hold the only copy of a refresh token.
func (p *Process) Run(ctx context.Context) error {
	defer p.unregister()
	stop := context.AfterFunc(ctx, p.queue.Close)
	defer stop()
	err := p.manager.Start(ctx)
	p.queue.Close()
	p.log.Info("stopping; waiting for the outcome of calls under way to be written")
	if waitErr := p.queue.Wait(context.WithoutCancel(ctx)); waitErr != nil {
		err = errors.Join(err, waitErr)
	}
	return err
}
