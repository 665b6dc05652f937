// SPDX-License-Identifier: Apache-2.0

// Package lists answers which connections and applications there are, in pages. It reads what the informers know and asks the API
// server for nothing but what the caller may see.
package lists

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// WildcardID is the path parameter that names a connection or an application.
const WildcardID = "id"

// Access says who may see what. Its errors are problems.
type Access interface {
	// Visible returns which connections a caller's lists show. It decides by namespace and owner alone.
	Visible(ctx context.Context, c caller.Caller) (func(*v1alpha1.OAuthConnection) bool, error)
	// VisibleApplications returns which applications a caller's lists show.
	VisibleApplications(ctx context.Context, c caller.Caller) (func(*v1alpha1.OAuthApplication) bool, error)
	// Application returns the application that an id names, if the caller may see it.
	Application(ctx context.Context, c caller.Caller, id string) (*v1alpha1.OAuthApplication, error)
	// Connection returns the connection that an id names, if the caller may see it.
	Connection(ctx context.Context, c caller.Caller, id string) (*v1alpha1.OAuthConnection, error)
}

// Options are what a Handler needs.
type Options struct {
	Directory   *directory.Directory
	Access      Access
	Representer *represent.Representer
}

// Handler answers. Its methods are problem.HandlerFuncs for GET; they answer in JSON.
type Handler struct {
	directory *directory.Directory
	access    Access
	represent *represent.Representer
}

// New makes a Handler.
func New(o Options) (*Handler, error) {
	if o.Directory == nil || o.Access == nil || o.Representer == nil {
		return nil, errors.New("a directory, access and a representer are needed")
	}
	return &Handler{directory: o.Directory, access: o.Access, represent: o.Representer}, nil
}

// Connections answers GET /oauth_connections: a represent.Page of the connections that the caller sees, without a filter the
// active ones.
func (h *Handler) Connections(w http.ResponseWriter, r *http.Request) error {
	return h.connections(w, r, []string{directory.StatusActive})
}

// AllConnections answers GET /api/v1/oauth/connections: the same, but without a filter the connections of every status, since
// it is there to show what needs to be authorized again.
func (h *Handler) AllConnections(w http.ResponseWriter, r *http.Request) error {
	return h.connections(w, r, nil)
}

func (h *Handler) connections(w http.ResponseWriter, r *http.Request, statuses []string) error {
	known := request{statuses: []string{directory.StatusActive, directory.StatusInactive}, byApplication: true}
	asked, err := known.read(r, statuses)
	if err != nil {
		return err
	}
	c := caller.From(r.Context())
	visible, err := h.access.Visible(r.Context(), c)
	if err != nil {
		return err
	}
	query := directory.Query{
		Visible: visible, Owner: c.GetName(), Statuses: asked.statuses, After: asked.after, Limit: asked.limit,
	}
	if asked.application != "" {
		var exists bool
		if query.Application, exists = h.application(asked.application); !exists {
			return write(w, represent.Page[represent.Connection]{Data: []represent.Connection{}})
		}
	}
	page, next, more := h.directory.Connections(query)
	shown := make([]represent.Connection, 0, len(page))
	for _, connection := range page {
		shown = append(shown, h.connection(connection))
	}
	return write(w, represent.Page[represent.Connection]{Data: shown, NextCursor: cursor(next, more)})
}

// application returns the name of the application that a filter means by UID or {namespace}.{name}. Whether the caller may see it
// does not matter: the filter shows only connections that they see, and these name it.
func (h *Handler) application(id string) (name types.NamespacedName, exists bool) {
	if name, ok := slug(id); ok {
		return name, true
	}
	application := h.directory.Application(types.UID(id))
	if application == nil {
		return name, false
	}
	return types.NamespacedName{Namespace: application.Namespace, Name: application.Name}, true
}

func (h *Handler) connection(c *v1alpha1.OAuthConnection) represent.Connection {
	namespace, name := c.ApplicationKey()
	return h.represent.Connection(c, h.directory.ApplicationNamed(types.NamespacedName{Namespace: namespace, Name: name}))
}

// Connection answers GET /oauth_connections/{id} with a represent.Connection, whatever its status.
func (h *Handler) Connection(w http.ResponseWriter, r *http.Request) error {
	connection, err := h.access.Connection(r.Context(), caller.From(r.Context()), r.PathValue(WildcardID))
	if err != nil {
		return err
	}
	return write(w, h.connection(connection))
}

// Applications answers GET /oauth_applications: a represent.Page of the applications that the caller sees, without a filter those
// that are not deleted.
func (h *Handler) Applications(w http.ResponseWriter, r *http.Request) error {
	known := request{statuses: []string{directory.StatusActive, directory.StatusDeleted}}
	asked, err := known.read(r, []string{directory.StatusActive})
	if err != nil {
		return err
	}
	visible, err := h.access.VisibleApplications(r.Context(), caller.From(r.Context()))
	if err != nil {
		return err
	}
	page, next, more := h.directory.Applications(directory.ApplicationQuery{
		Visible: visible, Statuses: asked.statuses, After: asked.after, Limit: asked.limit,
	})
	shown := make([]represent.Application, 0, len(page))
	for _, application := range page {
		shown = append(shown, h.represent.Application(application))
	}
	return write(w, represent.Page[represent.Application]{Data: shown, NextCursor: cursor(next, more)})
}

// Application answers GET /oauth_applications/{id} with a represent.Application, whatever its status.
func (h *Handler) Application(w http.ResponseWriter, r *http.Request) error {
	application, err := h.access.Application(r.Context(), caller.From(r.Context()), r.PathValue(WildcardID))
	if err != nil {
		return err
	}
	return write(w, h.represent.Application(application))
}

func cursor(next directory.Cursor, more bool) *string {
	if !more {
		return nil
	}
	text := next.String()
	return &text
}

// write answers with JSON.
func write(w http.ResponseWriter, answer any) error {
	content, err := json.Marshal(answer)
	if err != nil {
		return problem.New(problem.Internal, "the answer could not be written").Because(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(content) // Whoever asks sees that it broke off.
	return nil
}
