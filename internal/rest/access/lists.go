// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"math"
	"sync/atomic"

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

// look asks where a caller may list. Who may not list everywhere costs a question for each namespace, some at once; the answers,
// above all the many noes, are remembered for a while by whoever is asked, who also bounds the questions of all callers together.
func (a *Access) look(ctx context.Context, c caller.Caller, resource string, namespaces func() []string) (sight, error) {
	everywhere, err := a.lists(ctx, c, resource, "")
	if err != nil || everywhere {
		return sight{everywhere: everywhere}, err
	}
	all := namespaces()
	may := make([]bool, len(all))
	asking, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(atOnce, len(all)) { // Most answers are remembered: a goroutine for each would cost more than they do.
		asking.Go(func() (err error) {
			for i := int(next.Add(1)) - 1; i < len(all) && err == nil; i = int(next.Add(1)) - 1 {
				may[i], err = a.lists(ctx, c, resource, all[i])
			}
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return sight{}, err
	}
	found := sight{namespaces: sets.New[string]()}
	for i, namespace := range all {
		if may[i] {
			found.namespaces.Insert(namespace)
		}
	}
	return found, nil
}
