// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/lists"
	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/openapi"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// maxTransports is how many OAuthConnections have sockets to their provider that are kept for the next request, each its own.
const maxTransports = 4096

// assemble makes what answers requests.
func (p *Process) assemble() error {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		return fmt.Errorf("the catalogue of providers: %w", err)
	}
	decisions, err := access.New(access.Options{Directory: p.directory, Permissions: p.permissions})
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	representer := represent.New(catalogue)
	p.lists, err = lists.New(lists.Options{Directory: p.directory, Access: decisions, Representer: representer})
	if err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	told := &audit{log: p.options.Audit.WithName(auditName), causes: p.options.Log.WithName("proxy"), metrics: p.metrics}
	credentials := credential.New(credential.Options{
		Directory: p.directory, Live: p.cluster.live, Creator: secrets{p.cluster.live}, Namespace: p.options.Namespace,
		Clock: p.options.Clock, Log: p.options.Log.WithName("credentials"), Renewed: told.renewed,
	})
	if err := p.forget(credentials); err != nil {
		return err
	}
	p.integrations, err = integrations.New(integrations.Options{
		Access: decisions, Directory: p.directory, Credentials: credentials, Representer: representer, Catalogue: catalogue,
		Cluster: p.cluster.live, Live: p.cluster.live, Namespace: p.options.Namespace, Observer: told, Stopping: p.stopping,
		Clock: p.options.Clock, Log: p.options.Log.WithName("integrations"),
	})
	if err != nil {
		return fmt.Errorf("integrations: %w", err)
	}
	if p.description, err = openapi.Handler(); err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	return p.assembleProxy(decisions, credentials, told)
}

// assembleProxy makes what sends requests to providers.
func (p *Process) assembleProxy(decisions *access.Access, credentials *credential.Source, told *audit) error {
	guard, err := egress.New(p.options.Egress)
	if err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	gate := traffic.New(traffic.Options{BreakerChanged: func(application types.UID, host string, state traffic.BreakerState) {
		var name types.NamespacedName
		if known := p.directory.Application(application); known != nil {
			name = client.ObjectKeyFromObject(known)
		}
		p.metrics.Breaker(application, name, host, state)
	}})
	p.proxied, err = proxy.New(proxy.Options{
		Access: decisions, Credentials: credentials, Gate: gate, Observer: told, Background: p.running.background,
		// How long an answer may take is the proxy's to say: it knows what a caller is told then.
		Transports: egress.NewPooledTransports(guard, maxTransports, 0),
	})
	if err != nil {
		return fmt.Errorf("the request proxy: %w", err)
	}
	return nil
}

// forget drops what is kept of objects that are gone.
func (p *Process) forget(credentials *credential.Source) error {
	err := p.cluster.watch(&v1alpha1.OAuthConnection{}, gone(func(connection client.Object) { credentials.Forget(connection.GetUID()) }))
	if err != nil {
		return err
	}
	return p.cluster.watch(&v1alpha1.OAuthApplication{}, gone(func(application client.Object) {
		p.metrics.Forget(client.ObjectKeyFromObject(application))
	}))
}

// gone hears of objects that are deleted.
func gone(tell func(client.Object)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if unseen, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = unseen.Obj
		}
		if known, ok := object.(client.Object); ok {
			tell(known)
		}
	}}
}

// secrets creates Secrets.
type secrets struct{ client client.Client }

// Create implements credential.Creator.
func (s secrets) Create(ctx context.Context, secret *corev1.Secret) error {
	return s.client.Create(ctx, secret)
}

// routes are all paths but those of the request proxy.
func (p *Process) routes() []route {
	reading := func(serve problem.HandlerFunc) map[string]problem.HandlerFunc {
		return map[string]problem.HandlerFunc{http.MethodGet: serve, http.MethodHead: serve}
	}
	const integration = pathIntegrations + "{" + wildcardID + "}"
	connection := reading(p.integrations.Show)
	connection[http.MethodDelete] = p.integrations.Disconnect
	return []route{
		{name: metrics.RouteApplications, pattern: "/oauth_applications", handlers: reading(p.lists.Applications)},
		{name: metrics.RouteApplications, pattern: "/oauth_applications/{" + wildcardID + "}", handlers: reading(p.lists.Application)},
		{name: metrics.RouteConnections, pattern: "/oauth_connections", handlers: reading(p.lists.Connections)},
		{name: metrics.RouteConnections, pattern: "/oauth_connections/{" + wildcardID + "}", handlers: reading(p.lists.Connection)},
		{name: metrics.RouteConnections, pattern: "/api/v1/oauth/connections", handlers: reading(p.lists.AllConnections)},
		{name: metrics.RouteIntegrations, pattern: integrations.PathList, handlers: reading(p.integrations.List)},
		{name: metrics.RouteConnection, pattern: integration + "/connection", handlers: connection},
		// No HEAD: a connection is made, and a link, for whom asks.
		{name: metrics.RouteConnect, pattern: integration + "/connect", handlers: map[string]problem.HandlerFunc{
			http.MethodGet:  p.integrations.Invite,
			http.MethodPost: p.integrations.Authorize,
		}},
		// It holds nothing about what is in the cluster.
		{name: metrics.RouteOpenAPI, pattern: openapi.Path, handlers: reading(p.description), public: true},
		{name: metrics.RouteOther, pattern: "/"},
	}
}
