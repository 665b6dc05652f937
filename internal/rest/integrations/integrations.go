// SPDX-License-Identifier: Apache-2.0

// Package integrations answers what callers ask about their connections at integrations: authorize one, look at it, end it. An
// integration is an application. Connections are made in the application's namespace, one for each user or one for all; what a
// caller brings goes to the controller in a message, and the answer is read in the connection's status. Nothing here asks a
// provider for anything.
package integrations

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// WildcardID is the path parameter that names the integration: the application's UID, or {namespace}.{name}.
const WildcardID = "id"

// How long a request waits.
const (
	// linkWithin is for the link that a person follows.
	linkWithin = 10 * time.Second
	// seenWithin is for the controller to judge a connection before a code is handed over. A code lives for a minute.
	seenWithin = 10 * time.Second
	// outcomeWithin is for the provider's answer to a code or a refresh token, from when the request came.
	outcomeWithin = 30 * time.Second
	// goneWithin is for a connection to be revoked and deleted.
	goneWithin = 30 * time.Second
	// baseWithin is for what the base URLs in one answer are made of.
	baseWithin = 2 * time.Second
	// later is when a caller may ask again.
	later = 5 * time.Second
)

// Access says who may do what; *access.Access is one. Its errors are problems.
type Access interface {
	Integration(ctx context.Context, c caller.Caller, id string) (access.Integration, error)
	ConnectionOf(ctx context.Context, c caller.Caller, i access.Integration, selector string) (*v1alpha1.OAuthConnection, error)
	MayCreate(ctx context.Context, c caller.Caller, i access.Integration, name string) error
	MayAuthorize(ctx context.Context, c caller.Caller, i access.Integration, connection *v1alpha1.OAuthConnection) error
	ConnectionToDelete(ctx context.Context, c caller.Caller, i access.Integration, selector string) (*v1alpha1.OAuthConnection, error)
}

// Directory is what the informers know; *directory.Directory is one.
type Directory interface {
	// ApplicationNamed returns the application of that name; nil: there is none.
	ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication
	// Connection of a UID; nil: there is none, or none yet.
	Connection(uid types.UID) *v1alpha1.OAuthConnection
	// HeldAt returns the connections of an application in its own namespace that belong to a user, or with an empty owner the
	// shared ones, in a stable order.
	HeldAt(application types.NamespacedName, owner string) []*v1alpha1.OAuthConnection
	// OwnedBy returns the connections that a user owns in a stable order.
	OwnedBy(user string) []*v1alpha1.OAuthConnection
	// Subscribe tells of each change of a connection from now on, its deletion too, several as one. release must be called.
	Subscribe(uid types.UID) (changes <-chan struct{}, release func())
}

// Credentials tell where a connection's API begins, beside what they are for.
type Credentials interface {
	// Get returns the credential of a connection that can be used; otherwise its error says why it cannot.
	Get(ctx context.Context, c *v1alpha1.OAuthConnection) (*credential.Credential, error)
}

// Cluster is what is written at the API server.
type Cluster interface {
	Create(ctx context.Context, object client.Object, options ...client.CreateOption) error
	Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error
}

// Action is what a caller did to a connection.
type Action string

// Actions.
const (
	// ActionInvite : a person is sent to authorize a connection, which is made if need be.
	ActionInvite Action = "Invite"
	// ActionAuthorize : a code or a refresh token was brought.
	ActionAuthorize Action = "Authorize"
	// ActionDelete : a connection was deleted.
	ActionDelete Action = "Delete"
)

// Outcomes of a Change, beside the codes of problems.
const (
	// OutcomeDone : all of it is done.
	OutcomeDone = "Done"
	// OutcomeAccepted : it was begun, and goes on without the caller.
	OutcomeAccepted = "Accepted"
)

// Change is what a caller did, or was refused, for the audit.
type Change struct {
	Action      Action
	Caller      caller.Caller
	Application types.NamespacedName
	// Connection and its UID are empty when the request failed before there was one.
	Connection    types.NamespacedName
	ConnectionUID types.UID
	// Created : the connection was made for this request.
	Created bool
	// Outcome is OutcomeDone, OutcomeAccepted or the code of a problem.
	Outcome  string
	Duration time.Duration
}

// Observer is told of changes.
type Observer interface {
	Changed(ctx context.Context, change Change)
}

// Options are what a Handler needs.
type Options struct {
	Access      Access
	Directory   Directory
	Credentials Credentials
	Representer *represent.Representer
	Catalogue   *provider.Catalogue
	// Cluster writes; Live reads a connection whose name is taken while the Directory does not show it yet.
	Cluster Cluster
	Live    client.Reader
	// Namespace is the operator's own: messages to the controller are created there.
	Namespace string
	// Observer may be nil.
	Observer Observer
	// Stopping is closed when the process is to end: nobody is kept waiting then. It may be nil.
	Stopping <-chan struct{}
	Clock    clock.WithTicker
	Log      logr.Logger
}

// Handler answers. Its methods are problem.HandlerFuncs; the path of a request holds WildcardID where it names an integration.
type Handler struct {
	Options
	pace *pace
}

// New makes a Handler.
func New(options Options) (*Handler, error) {
	if options.Access == nil || options.Directory == nil || options.Credentials == nil || options.Cluster == nil || options.Live == nil ||
		options.Representer == nil || options.Catalogue == nil || options.Clock == nil || options.Namespace == "" {
		return nil, errors.New("all options but observer, stopping and log are needed")
	}
	return &Handler{Options: options, pace: newPace()}, nil
}

// visit is one request about one integration.
type visit struct {
	caller      caller.Caller
	integration access.Integration
	// connection is nil until it is found or made.
	connection *v1alpha1.OAuthConnection
	created    bool
	outcome    string
}

// visitor returns who asks. A caller without a name would own what is shared.
func visitor(r *http.Request) (caller.Caller, error) {
	c := caller.From(r.Context())
	if c.GetName() == "" {
		return c, problem.New(problem.Unauthenticated, "a Kubernetes token is needed")
	}
	return c, nil
}

// about begins a visit. What can be told wrong about the request itself has to be told before: afterwards it would tell that there
// is such an integration.
func (h *Handler) about(r *http.Request) (*visit, error) {
	c, err := visitor(r)
	if err != nil {
		return nil, err
	}
	i, err := h.Access.Integration(r.Context(), c, r.PathValue(WildcardID))
	if err != nil {
		return nil, err
	}
	return &visit{caller: c, integration: i}, nil
}

// observed runs a change and tells of it.
func (h *Handler) observed(r *http.Request, action Action, change func(v *visit) error) error {
	started := h.Clock.Now()
	v, err := h.about(r)
	if err != nil {
		return err
	}
	err = change(v)
	if err != nil {
		v.outcome = string(problem.Of(err).Code)
	}
	if h.Observer == nil {
		return err
	}
	told := Change{
		Action: action, Caller: v.caller, Application: v.integration.Name, Created: v.created, Outcome: v.outcome,
		Duration: h.Clock.Since(started),
	}
	if c := v.connection; c != nil {
		told.Connection, told.ConnectionUID = client.ObjectKeyFromObject(c), c.UID
	}
	h.Observer.Changed(r.Context(), told)
	return err
}

// await looks at a connection, nil when there is none, now and each time that it has changed, until look is satisfied. false:
// time is up, the caller has left or the process is to end.
func (h *Handler) await(
	ctx context.Context, uid types.UID, end <-chan time.Time, look func(c *v1alpha1.OAuthConnection) (done bool, err error),
) (bool, error) {
	changes, release := h.Directory.Subscribe(uid)
	defer release()
	for {
		if done, err := look(h.Directory.Connection(uid)); done || err != nil {
			return done, err
		}
		select {
		case <-changes:
		case <-end:
			return false, nil
		case <-h.Stopping:
			return false, nil
		case <-ctx.Done():
			return false, nil
		}
	}
}
