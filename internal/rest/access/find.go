// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Integration is an application as callers of the integrations' API name it.
type Integration struct {
	Name types.NamespacedName
	// Application is nil when the caller has named one that does not exist.
	Application *v1alpha1.OAuthApplication

	// byUID : it was named by its UID, which only those know who have seen it.
	byUID bool
}

// NoneVisible tells whether an error of ConnectionOf, ConnectionFor or Connection says that there is no such connection as far as
// the caller may know, so that one may be made (see MayCreate). It is false for all other errors.
func NoneVisible(err error) bool {
	if err == nil {
		return false
	}
	code := problem.Of(err).Code
	return code == problem.NotFound || code == problem.Forbidden
}

// Application returns the application with a UID or {namespace}.{name} if the caller may get it.
func (a *Access) Application(ctx context.Context, c caller.Caller, id string) (*v1alpha1.OAuthApplication, error) {
	if name, ok := slug(id); ok {
		found := a.directory.ApplicationNamed(name)
		if err := a.named(ctx, c, toSee(), applications, name, found != nil); err != nil {
			return nil, err
		}
		return found, nil
	}
	if !sane(id) {
		return nil, nothing()
	}
	found := a.directory.Application(types.UID(id))
	if found == nil {
		return nil, nothing()
	}
	name := types.NamespacedName{Namespace: found.Namespace, Name: found.Name}
	sees, err := a.has(ctx, c, toSee(), applications, name)
	if err != nil {
		return nil, err
	}
	if !sees {
		return nil, nothing()
	}
	return found, nil
}

// named decides about an object by {namespace}.{name}. It asks the same questions whether or not the object exists.
func (a *Access) named(
	ctx context.Context, c caller.Caller, rights []right, resource string, name types.NamespacedName, exists bool,
) error {
	v := verdict{exists: exists}
	var err error
	if v.sees, err = a.has(ctx, c, rights, resource, name); err != nil {
		return err
	}
	if !v.sees {
		if v.lists, err = a.lists(ctx, c, resource, name.Namespace); err != nil {
			return err
		}
	}
	return v.problem()
}

// Connection returns the connection with a UID, {namespace}.{name}, or the provider's id if only one that the caller may see has
// it. A text of the form {namespace}.{name} is never taken for a provider's id: whoever controls a provider could have
// somebody else's name answered by a connection of theirs.
func (a *Access) Connection(ctx context.Context, c caller.Caller, id string) (*v1alpha1.OAuthConnection, error) {
	return a.find(ctx, c, toSee(), id, func(*v1alpha1.OAuthConnection) bool { return true })
}

// find looks for a connection among those that count; the others are as good as not there.
func (a *Access) find(
	ctx context.Context, c caller.Caller, rights []right, id string, counts func(*v1alpha1.OAuthConnection) bool,
) (*v1alpha1.OAuthConnection, error) {
	if !sane(id) {
		return nil, nothing()
	}
	if name, ok := slug(id); ok {
		found := a.directory.ConnectionNamed(name)
		if found != nil && !counts(found) {
			found = nil
		}
		if found != nil && Owns(c, found) {
			return found, nil
		}
		if err := a.named(ctx, c, rights, connections, name, found != nil); err != nil {
			return nil, err
		}
		return found, nil
	}
	return a.byOpaque(ctx, c, rights, id, counts)
}

// byOpaque looks for a connection by its UID, then by the provider's id.
func (a *Access) byOpaque(
	ctx context.Context, c caller.Caller, rights []right, id string, counts func(*v1alpha1.OAuthConnection) bool,
) (*v1alpha1.OAuthConnection, error) {
	candidates := slices.Collect(filter(a.directory.WithProviderID(id), counts))
	if len(candidates) > maxAsked {
		candidates = nil // It says nothing about one connection.
	}
	if found := a.directory.Connection(types.UID(id)); found != nil && counts(found) {
		candidates = slices.Insert(candidates, 0, found)
	}
	visible, err := a.see(ctx, c, rights, candidates, types.NamespacedName{Name: id})
	if err != nil || len(visible) == 0 {
		return nil, orNothing(err)
	}
	if string(visible[0].UID) == id || len(visible) == 1 {
		return visible[0], nil
	}
	return nil, ambiguous(visible)
}

func orNothing(err error) error {
	if err != nil {
		return err
	}
	return nothing()
}

// see returns those of some connections that the caller may see, in order. Without candidates it asks about a stand-in: the time
// that an answer takes should not tell what the answer hides.
func (a *Access) see(
	ctx context.Context, c caller.Caller, rights []right, candidates []*v1alpha1.OAuthConnection, standIn types.NamespacedName,
) ([]*v1alpha1.OAuthConnection, error) {
	if len(candidates) == 0 {
		_, err := a.has(ctx, c, rights, connections, standIn)
		return nil, err
	}
	if len(candidates) == 1 { // As nearly always: there is nothing to do at the same time.
		sees, err := Owns(c, candidates[0]), error(nil)
		if !sees {
			sees, err = a.has(ctx, c, rights, connections, nameOf(candidates[0]))
		}
		if err != nil || !sees {
			return nil, err
		}
		return candidates, nil
	}
	sees := make([]bool, len(candidates))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	for i, candidate := range candidates {
		if sees[i] = Owns(c, candidate); sees[i] {
			continue
		}
		asking.Go(func() (err error) {
			sees[i], err = a.has(ctx, c, rights, connections, nameOf(candidate))
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	var visible []*v1alpha1.OAuthConnection
	for i, candidate := range candidates {
		if sees[i] {
			visible = append(visible, candidate)
		}
	}
	return visible, nil
}
