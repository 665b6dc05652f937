// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Integration returns what {id} names: an application's UID, or {namespace}.{name}. That says nothing about the caller yet: the
// methods that take an Integration decide. For them to do so without telling what exists, a name is taken as it is, and
// only a UID that does not exist is NotFound here.
func (a *Access) Integration(_ context.Context, _ caller.Caller, id string) (Integration, error) {
	if name, ok := slug(id); ok {
		return Integration{Name: name, Application: a.directory.ApplicationNamed(name)}, nil
	}
	if !sane(id) {
		return Integration{}, nothing()
	}
	application := a.directory.Application(types.UID(id))
	if application == nil {
		return Integration{}, nothing()
	}
	name := types.NamespacedName{Namespace: application.Namespace, Name: application.Name}
	return Integration{Name: name, Application: application, byUID: true}, nil
}

// ConnectionOf returns the connection of an integration that a caller means and may see. A selector, which is the value of
// HeaderConnection, names it by UID, {namespace}.{name} or the provider's id. Without one (empty) it is the caller's own in
// the application's namespace, else the shared one there, else, for a ServiceAccount, the one in its own namespace; of several, the active one, else ConnectionAmbiguous. An own
// connection always goes before shared ones, whatever its state: nobody acts as somebody else because their grant has ended.
func (a *Access) ConnectionOf(
	ctx context.Context, c caller.Caller, i Integration, selector string,
) (*v1alpha1.OAuthConnection, error) {
	return a.connectionOf(ctx, c, i, selector, look{rights: toSee(), neighbours: true})
}

// ConnectionFor returns the connection of an integration through which a caller may send a request with this method. It is that
// of ConnectionOf, but the right to send the request is enough to see the connection; and without it, the connection is refused
// although it is seen. An own connection that nobody has authorized yet does not go before a shared one: it holds nothing to send.
func (a *Access) ConnectionFor(
	ctx context.Context, c caller.Caller, i Integration, selector, method string,
) (*v1alpha1.OAuthConnection, error) {
	verb := VerbOf(method)
	if verb == "" {
		return nil, notAllowed()
	}
	rights := append([]right{{verb: verb, subresource: proxy}}, toSee()...)
	connection, err := a.connectionOf(ctx, c, i, selector, look{rights: rights, granted: true, neighbours: true})
	if err != nil {
		return nil, err
	}
	if err := a.MayRequest(ctx, c, connection, method); err != nil {
		return nil, err
	}
	return connection, nil
}

// ConnectionToDelete returns the connection of an integration that a caller means and may delete: that of ConnectionOf, if the
// caller owns it or may delete connections in all namespaces, which is enough to see it. One of the caller's namespace has to be
// named.
func (a *Access) ConnectionToDelete(
	ctx context.Context, c caller.Caller, i Integration, selector string,
) (*v1alpha1.OAuthConnection, error) {
	connection, err := a.connectionOf(ctx, c, i, selector, look{rights: append(toSee(), superuser())})
	if err != nil {
		return nil, err
	}
	return connection, a.MayDelete(ctx, c, connection)
}

// look is how a connection is looked for.
type look struct {
	// rights of which one shows a connection.
	rights []right
	// granted : one that never held a grant is the last choice.
	granted bool
	// neighbours : one in the namespace of the workload that calls is looked for too.
	neighbours bool
}

func (a *Access) connectionOf(
	ctx context.Context, c caller.Caller, i Integration, selector string, l look,
) (*v1alpha1.OAuthConnection, error) {
	if selector == "" {
		return a.usual(ctx, c, i, l)
	}
	found, err := a.find(ctx, c, l.rights, selector, func(connection *v1alpha1.OAuthConnection) bool {
		namespace, name := connection.ApplicationKey()
		return i.Name == types.NamespacedName{Namespace: namespace, Name: name}
	})
	if err != nil && i.byUID && NoneVisible(err) {
		return nil, nothing() // As if the application did not exist either.
	}
	return found, err
}

// usual returns the connection that is meant when none is named.
func (a *Access) usual(
	ctx context.Context, c caller.Caller, i Integration, l look,
) (*v1alpha1.OAuthConnection, error) {
	own, err := a.own(c, i)
	if err != nil || own != nil && (!l.granted || own.Status.LastAuthorizedAt != nil) {
		return own, err
	}
	shared, err := a.seeShared(ctx, c, i, l.rights)
	if err != nil {
		return nil, err
	}
	one, err := pick(shared)
	if own != nil {
		if err == nil && one != nil && isActive(one) {
			return one, nil
		}
		return own, nil
	}
	if one == nil && err == nil {
		one, err = a.neighbouring(ctx, c, i, l)
	}
	switch {
	case one != nil || err != nil:
		return one, err
	case i.byUID:
		return nil, nothing()
	}
	return nil, a.without(ctx, c, i)
}

// own returns the caller's own connection at an integration; nil: it has none.
func (a *Access) own(c caller.Caller, i Integration) (*v1alpha1.OAuthConnection, error) {
	if c.Info == nil || c.GetName() == "" { // Without an owner they are the shared ones.
		return nil, nil //nolint:nilnil // None is an answer
	}
	return pick(a.directory.HeldAt(i.Name, c.GetName()))
}

// neighbouring returns the connection of an integration in the namespace of the workload that calls, if that is another one than the
// application's; nil: there is none that it may see.
func (a *Access) neighbouring(ctx context.Context, c caller.Caller, i Integration, l look) (*v1alpha1.OAuthConnection, error) {
	if c.Info == nil || !l.neighbours {
		return nil, nil //nolint:nilnil // None is an answer
	}
	namespace, _, err := serviceaccount.SplitUsername(c.GetName())
	if err != nil || namespace == i.Name.Namespace {
		return nil, nil //nolint:nilnil,nilerr // A person has no namespace
	}
	held := a.directory.HeldIn(i.Name, namespace)
	visible, err := a.see(ctx, c, l.rights, held[:min(len(held), maxAsked)], types.NamespacedName{Namespace: namespace, Name: i.Name.Name})
	if err != nil {
		return nil, err
	}
	return pick(visible)
}

// without is the answer to whom has no connection at an integration that it names. Who may look there, or connect there, is told so:
// neither depends on what exists.
func (a *Access) without(ctx context.Context, c caller.Caller, i Integration) error {
	may, err := a.lists(ctx, c, connections, i.Name.Namespace)
	if err == nil && !may && c.Info != nil && c.GetName() != "" {
		target := types.NamespacedName{Namespace: i.Name.Namespace, Name: ConnectionName(i.Name.Name, c.GetName())}
		may, err = a.has(ctx, c, []right{{verb: "create"}}, connections, target)
	}
	switch {
	case err != nil:
		return err
	case may:
		return unconnected()
	}
	return refused()
}

// seeShared returns the shared connections of an integration that the caller may see. Where there are several, the right to all
// of the namespace saves asking about each; without it, no more than maxAsked are asked about, the active ones first.
func (a *Access) seeShared(
	ctx context.Context, c caller.Caller, i Integration, rights []right,
) ([]*v1alpha1.OAuthConnection, error) {
	shared := a.directory.HeldAt(i.Name, "")
	if len(shared) > 1 {
		all, err := a.has(ctx, c, rights, connections, types.NamespacedName{Namespace: i.Name.Namespace})
		if err != nil {
			return nil, err
		}
		if all {
			return shared, nil
		}
		slices.SortStableFunc(shared, activeFirst)
		shared = shared[:min(len(shared), maxAsked)]
	}
	return a.see(ctx, c, rights, shared, i.Name)
}

func activeFirst(x, y *v1alpha1.OAuthConnection) int {
	switch {
	case isActive(x) == isActive(y):
		return 0
	case isActive(x):
		return -1
	default:
		return 1
	}
}

// MayCreate decides whether a caller may make a connection of that name at an integration, in the application's namespace. nil:
// it may, and the application exists.
func (a *Access) MayCreate(ctx context.Context, c caller.Caller, i Integration, name string) error {
	target := types.NamespacedName{Namespace: i.Name.Namespace, Name: name}
	may, err := a.has(ctx, c, []right{{verb: "create"}}, connections, target)
	if err != nil {
		return err
	}
	if may && i.Application != nil {
		return nil
	}
	if may {
		return nothing()
	}
	if i.byUID {
		sees, err := a.has(ctx, c, toSee(), applications, i.Name)
		if err != nil {
			return err
		}
		if !sees {
			return nothing()
		}
	}
	return problem.New(problem.Forbidden, "you may not create this connection in the application's namespace: that needs the verb create on %s",
		connections)
}

// MayAuthorize decides whether a caller may put another grant into a connection of an integration that it may see: its owner may,
// into one that belongs to somebody else only who may delete connections in all namespaces, and into one of all who may create it.
func (a *Access) MayAuthorize(ctx context.Context, c caller.Caller, i Integration, connection *v1alpha1.OAuthConnection) error {
	if Owns(c, connection) {
		return nil
	}
	if owner := connection.Spec.Owner; owner != "" && connection.Namespace == i.Name.Namespace {
		may, err := a.has(ctx, c, []right{superuser()}, connections, types.NamespacedName{})
		if err == nil && !may {
			err = problem.New(problem.Forbidden, "only its owner may authorize this connection, and who may delete all connections")
		}
		return err
	}
	there := i
	there.Name.Namespace = connection.Namespace // Where it would have to be created.
	return a.MayCreate(ctx, c, there, connection.Name)
}

// MayDelete decides whether a caller may delete a connection that it may see: its owner may, and who may delete connections in
// all namespaces.
func (a *Access) MayDelete(ctx context.Context, c caller.Caller, connection *v1alpha1.OAuthConnection) error {
	if Owns(c, connection) {
		return nil
	}
	may, err := a.has(ctx, c, []right{superuser()}, connections, types.NamespacedName{})
	if err != nil {
		return err
	}
	if !may {
		return problem.New(problem.Forbidden, "only the owner may delete this connection, and who may delete all connections")
	}
	return nil
}

// MayRequest decides whether a caller may send a request with this method through a connection that it may see. Owning the
// connection is not enough: who has it made for them need not be trusted with its use.
func (a *Access) MayRequest(
	ctx context.Context, c caller.Caller, connection *v1alpha1.OAuthConnection, method string,
) error {
	verb := VerbOf(method)
	if verb == "" {
		return notAllowed()
	}
	may, err := a.has(ctx, c, []right{{verb: verb, subresource: proxy}}, connections, nameOf(connection))
	if err != nil {
		return err
	}
	if !may {
		return problem.New(problem.Forbidden, "%s through connection %s in namespace %s needs the verb %s on %s/%s",
			method, connection.Name, connection.Namespace, verb, connections, proxy)
	}
	return nil
}

func notAllowed() *problem.Error {
	p := problem.New(problem.MethodNotAllowed, "requests are sent with the methods %s", methods)
	p.Header = http.Header{"Allow": {methods}}
	return p
}
