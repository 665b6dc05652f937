// SPDX-License-Identifier: Apache-2.0

// Package access is who may see and do what: all of the API's rules in one place. Kubernetes' roles decide, and ownership: a
// connection belongs to the user that its spec.owner names. Answers tell nobody what exists who may not know it: whatever is
// refused is answered to the byte as if it were not there. Errors are *problem.Error:
//
//   - Somebody names a thing by its UID or the provider's id: NotFound, unless they may see it.
//   - Somebody names a thing {namespace}.{name}: Forbidden, whether or not it exists. Only those who may get that name, or list
//     that namespace, are told NotFound.
//   - The API server does not answer: ClusterUnavailable. Nothing is decided then.
package access

import (
	"context"
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// HeaderConnection is the header that selects one of an integration's connections; see Access.ConnectionOf.
const HeaderConnection = "Oauth-Operator-Connection"

// What SubjectAccessReviews are about.
const (
	applications = "oauthapplications"
	connections  = "oauthconnections"
	proxy        = "proxy"
)

// atOnce is how many questions of one request the API server is asked at the same time.
const atOnce = 16

// Directory is what the informers know. Nobody may change its objects.
type Directory interface {
	// Application of a UID; nil: there is none.
	Application(uid types.UID) *v1alpha1.OAuthApplication
	// ApplicationNamed returns the application of that name; nil: there is none.
	ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication
	// Applications returns a page of applications.
	Applications(q directory.ApplicationQuery) (page []*v1alpha1.OAuthApplication, next directory.Cursor, more bool)
	// Connection of a UID; nil: there is none.
	Connection(uid types.UID) *v1alpha1.OAuthConnection
	// ConnectionNamed returns the connection of that name; nil: there is none.
	ConnectionNamed(name types.NamespacedName) *v1alpha1.OAuthConnection
	// WithProviderID returns the connections with that status.id.
	WithProviderID(id string) []*v1alpha1.OAuthConnection
	// HeldAt returns the connections of an application in its own namespace that belong to a user, or the shared ones.
	HeldAt(application types.NamespacedName, owner string) []*v1alpha1.OAuthConnection
	// HeldIn returns the connections of an application in another namespace than its own.
	HeldIn(application types.NamespacedName, namespace string) []*v1alpha1.OAuthConnection
	// Namespaces that hold connections.
	Namespaces() []string
}

// Options are what decisions are made from.
type Options struct {
	Directory   Directory
	Permissions caller.Permissions
}

// Access decides. It can be used by many at once.
type Access struct {
	directory   Directory
	permissions caller.Permissions
}

// New makes an Access.
func New(o Options) (*Access, error) {
	if o.Directory == nil || o.Permissions == nil {
		return nil, errors.New("a directory and permissions are needed")
	}
	return &Access{directory: o.Directory, permissions: o.Permissions}, nil
}

// Owns tells whether a connection belongs to a caller. An owner counts in the application's own namespace only: elsewhere,
// whoever may create connections may write any name.
func Owns(c caller.Caller, connection *v1alpha1.OAuthConnection) bool {
	namespace, _ := connection.ApplicationKey()
	return connection.Spec.Owner != "" && connection.Namespace == namespace &&
		c.Info != nil && c.GetName() == connection.Spec.Owner
}

// VerbOf returns the verb on oauthconnections/proxy that a request with this method needs, or "": such requests are not sent.
func VerbOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return ""
	}
}

// methods are all that VerbOf knows, as header Allow lists them.
const methods = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"

// right is something that a caller may do with an object: a verb and, mostly empty, a subresource.
type right struct {
	verb, subresource string
	// everywhere : with all objects of all namespaces.
	everywhere bool
}

// superuser is what shows connections to those who may delete all of them, and lets them.
func superuser() right { return right{verb: "delete", everywhere: true} }

// toSee is what shows a connection or an application to somebody who does not own it.
func toSee() []right { return []right{{verb: "get"}} }

// on says what the right is asked about.
func (r right) on(resource string, name types.NamespacedName) caller.Attributes {
	if r.everywhere {
		name = types.NamespacedName{}
	}
	return caller.Attributes{
		Verb: r.verb, Resource: resource, Subresource: r.subresource, Namespace: name.Namespace, Name: name.Name,
	}
}

// has tells whether a caller has one of the rights on an object; without a name, on all of the namespace.
func (a *Access) has(
	ctx context.Context, c caller.Caller, rights []right, resource string, name types.NamespacedName,
) (bool, error) {
	for _, right := range rights {
		if may, err := a.permissions.May(ctx, c, right.on(resource, name)); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

// lists tells whether a caller may list a kind in a namespace; empty: in all.
func (a *Access) lists(ctx context.Context, c caller.Caller, resource, namespace string) (bool, error) {
	return a.permissions.May(ctx, c, caller.Attributes{Verb: "list", Resource: resource, Namespace: namespace})
}

func nameOf(connection *v1alpha1.OAuthConnection) types.NamespacedName {
	return types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}
}
