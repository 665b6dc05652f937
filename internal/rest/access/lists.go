// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// sight is the namespaces that somebody may list.
type sight struct {
	// everywhere : all of them.
	everywhere bool
	namespaces sets.Set[string]
}

func (s sight) covers(namespace string) bool { return s.everywhere || s.namespaces.Has(namespace) }

// Visible returns which connections are in a caller's lists: those of namespaces that it may list, and its own. What the
// function says depends on namespace and owner alone; it asks nobody any more.
func (a *Access) Visible(ctx context.Context, c caller.Caller) (func(*v1alpha1.OAuthConnection) bool, error) {
	seen, err := a.look(ctx, c, connections, a.directory.Namespaces)
	if err != nil {
		return nil, err
	}
	return func(connection *v1alpha1.OAuthConnection) bool {
		return seen.covers(connection.Namespace) || Owns(c, connection)
	}, nil
}

// VisibleApplications returns which applications are in a caller's lists: those of namespaces that it may list.
func (a *Access) VisibleApplications(ctx context.Context, c caller.Caller) (func(*v1alpha1.OAuthApplication) bool, error) {
	seen, err := a.look(ctx, c, applications, a.applicationNamespaces)
	if err != nil {
		return nil, err
	}
	return func(application *v1alpha1.OAuthApplication) bool { return seen.covers(application.Namespace) }, nil
}

// applicationNamespaces goes through all applications, which are few beside connections.
func (a *Access) applicationNamespaces() []string {
	all, _, _ := a.directory.Applications(directory.ApplicationQuery{Limit: math.MaxInt})
	found := sets.New[string]()
	for _, application := range all {
		found.Insert(application.Namespace)
	}
	return sets.List(found)
}

// look asks where a caller may list. Who may not list everywhere costs a question for each namespace, some at once; the
// answers are remembered for some seconds by whoever is asked.
func (a *Access) look(ctx context.Context, c caller.Caller, resource string, namespaces func() []string) (sight, error) {
	everywhere, err := a.lists(ctx, c, resource, "")
	if err != nil || everywhere {
		return sight{everywhere: everywhere}, err
	}
	found := sight{namespaces: sets.New[string]()}
	var mutex sync.Mutex
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	for _, namespace := range namespaces() {
		asking.Go(func() error {
			may, err := a.lists(ctx, c, resource, namespace)
			if may {
				mutex.Lock()
				defer mutex.Unlock()
				found.namespaces.Insert(namespace)
			}
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return sight{}, err
	}
	return found, nil
}
