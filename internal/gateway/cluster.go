// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	"github.com/oauth-operator/oauth-operator/internal/hub"
)

// cluster is what the gateway has of the API server: its two kinds to read, and Secrets to create.
type cluster struct {
	cached cache.Cache
	live   client.Client
}

func newCluster(config *rest.Config, version string) (*cluster, error) {
	config = rest.CopyConfig(config)
	// A person waits for each call; the API server's priority and fairness limits them.
	config.QPS = -1
	config.UserAgent = "oauth-operator-gateway/" + version
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register types: %w", err)
	}
	// The few kinds are known, so nothing has to be discovered.
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"OAuthApplication", "OAuthConnection"} {
		mapper.Add(v1alpha1.GroupVersion().WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	cached, err := cache.New(config, cache.Options{
		Scheme: scheme, Mapper: mapper, DefaultTransform: cache.TransformStripManagedFields(), ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	live, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &cluster{cached: cached, live: live}, nil
}

// watch makes the informers of both kinds; waiting hears of every change of a connection, after the cache has it.
func (c *cluster) watch(waiting *hub.Hub) error {
	ctx := context.Background() // Nothing waits: no informer runs yet.
	if err := webhook.RegisterIndexes(ctx, c.cached); err != nil {
		return err
	}
	if _, err := c.cached.GetInformer(ctx, &v1alpha1.OAuthApplication{}); err != nil {
		return fmt.Errorf("watch applications: %w", err)
	}
	connections, err := c.cached.GetInformer(ctx, &v1alpha1.OAuthConnection{})
	if err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	notify := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if connection, ok := object.(*v1alpha1.OAuthConnection); ok {
			waiting.Notify(connection.UID)
		}
	}
	if _, err := connections.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, object any) { notify(object) }, DeleteFunc: notify,
	}); err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	return nil
}

// Create makes a Secret. It implements Creator.
func (c *cluster) Create(ctx context.Context, secret *corev1.Secret) error {
	return c.live.Create(ctx, secret)
}
