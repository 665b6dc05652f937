// SPDX-License-Identifier: Apache-2.0

package rest

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
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// cluster is what the API has of the API server: its two kinds as informers have them, Secrets to get and create, and
// connections to create and delete.
type cluster struct {
	config *rest.Config
	cached cache.Cache
	live   client.Client
	// filled tells of each consumer of the informers whether it has seen what there was at the beginning.
	filled []toolscache.InformerSynced
}

func newCluster(config *rest.Config, version string) (*cluster, error) {
	config = rest.CopyConfig(config)
	// A caller waits for each call; the API server's priority and fairness limits them.
	config.QPS = -1
	config.UserAgent = "oauth-operator-api/" + version
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
		Scheme: scheme, Mapper: mapper, DefaultTransform: directory.Strip, ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	live, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &cluster{config: config, cached: cached, live: live}, nil
}

// watch has a consumer hear of every object of a kind.
func (c *cluster) watch(kind client.Object, consumer toolscache.ResourceEventHandler) error {
	ctx := context.Background() // Nothing waits: no informer runs yet.
	informer, err := c.cached.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	registration, err := informer.AddEventHandler(consumer)
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	c.filled = append(c.filled, registration.HasSynced)
	return nil
}

// waitFilled returns when every consumer has seen what there was at the beginning; false: ctx ended before.
func (c *cluster) waitFilled(ctx context.Context) bool {
	return c.cached.WaitForCacheSync(ctx) && toolscache.WaitForCacheSync(ctx.Done(), c.filled...)
}
