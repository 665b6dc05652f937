// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// ReasonSettingsDiffer is the reason of a ConnectionNotReady: the connection exists with other settings than those asked for.
const ReasonSettingsDiffer = "SettingsDiffer"

// writeFor is how long one write at the API server may take.
const writeFor = 10 * time.Second

// wish is the connection that a caller wants to authorize.
type wish struct {
	// selector is the value of access.HeaderConnection; empty: the caller's own, or with shared the one of all.
	selector string
	shared   bool
	settings settings
}

// settings of a connection; what is nil was not said.
type settings struct {
	displayName *string
	scopes      []string
	inputs      map[string]string
}

// ensure finds the connection to authorize, or makes it. Who does not own it has to be allowed to create it.
func (h *Handler) ensure(ctx context.Context, v *visit, w wish) error {
	owner := v.caller.GetName()
	if w.shared {
		owner = ""
	}
	name := access.ConnectionName(v.integration.Name.Name, owner)
	found, err := h.existing(ctx, v, w, owner, name)
	if err != nil {
		return err
	}
	if found == nil {
		found, err = h.create(ctx, v, w.settings, owner, name)
	}
	if err != nil {
		return err
	}
	v.connection = found
	return w.settings.match(found)
}

// existing finds the connection to authorize; nil: there is none, and the caller may make it.
func (h *Handler) existing(ctx context.Context, v *visit, w wish, owner, name string) (*v1alpha1.OAuthConnection, error) {
	if w.selector != "" {
		return h.selected(ctx, v, w)
	}
	held := staying(h.Directory.HeldAt(v.integration.Name, owner), name)
	if owner == "" || len(held) == 0 {
		if err := h.Access.MayCreate(ctx, v.caller, v.integration, name); err != nil {
			return nil, err
		}
	}
	if v.integration.Application == nil {
		return nil, because(problem.ConnectionNotReady, v1alpha1.ReasonApplicationNotFound, "there is no application %s", v.integration.Name)
	}
	found, err := choose(held, name)
	if err != nil || found == nil || access.Owns(v.caller, found) || found.Name == name {
		return found, err
	}
	return found, h.Access.MayCreate(ctx, v.caller, v.integration, found.Name)
}

// selected is the connection that the caller names.
func (h *Handler) selected(ctx context.Context, v *visit, w wish) (*v1alpha1.OAuthConnection, error) {
	found, err := h.Access.ConnectionOf(ctx, v.caller, v.integration, w.selector)
	if err != nil {
		return nil, err
	}
	if w.shared && found.Spec.Owner != "" {
		return nil, problem.New(problem.InvalidRequest, "shared: the connection that %s names belongs to one user", access.HeaderConnection)
	}
	return found, h.Access.MayAuthorize(ctx, v.caller, v.integration, found)
}

// staying leaves out what is being deleted; but if nothing else is there, what has the name has to go first.
func staying(held []*v1alpha1.OAuthConnection, name string) []*v1alpha1.OAuthConnection {
	stay := without(held, func(c *v1alpha1.OAuthConnection) bool { return c.DeletionTimestamp != nil })
	if len(stay) > 0 {
		return stay
	}
	return without(held, func(c *v1alpha1.OAuthConnection) bool { return c.Name != name })
}

func without(held []*v1alpha1.OAuthConnection, unwanted func(c *v1alpha1.OAuthConnection) bool) []*v1alpha1.OAuthConnection {
	return slices.DeleteFunc(slices.Clone(held), unwanted)
}

// choose takes, of several connections of one holder, the one that works, else the one that is made here.
func choose(held []*v1alpha1.OAuthConnection, name string) (*v1alpha1.OAuthConnection, error) {
	active := without(held, func(c *v1alpha1.OAuthConnection) bool { return c.Status.Phase != v1alpha1.ConnectionActive })
	if len(active) > 0 {
		held = active
	}
	if len(held) == 1 {
		return held[0], nil
	}
	for _, c := range held {
		if c.Name == name {
			return c, nil
		}
	}
	if len(held) == 0 {
		return nil, nil //nolint:nilnil // None is no error: it is made then.
	}
	return nil, problem.New(problem.ConnectionAmbiguous, "%d connections fit: name one in the header %s", len(held), access.HeaderConnection)
}

// create makes the connection. One that somebody else has made meanwhile is as good.
func (h *Handler) create(ctx context.Context, v *visit, s settings, owner, name string) (*v1alpha1.OAuthConnection, error) {
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.integration.Name.Namespace, Name: name},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: v.integration.Name.Name},
			Owner:          owner,
			Grant:          v1alpha1.GrantSpec{Type: v1alpha1.GrantAuthorizationCode},
		},
	}
	s.apply(c)
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	err := h.Cluster.Create(ctx, c)
	switch {
	case err == nil:
		v.created = true
		return c, nil
	case apierrors.IsAlreadyExists(err):
		return h.taken(ctx, v, owner, client.ObjectKeyFromObject(c))
	}
	return nil, refusal(err)
}

// taken returns the connection that has the name already, if it is the one that is wanted.
func (h *Handler) taken(ctx context.Context, v *visit, owner string, name types.NamespacedName) (*v1alpha1.OAuthConnection, error) {
	c := &v1alpha1.OAuthConnection{}
	err := h.Live.Get(ctx, name, c)
	switch {
	case apierrors.IsNotFound(err):
		return nil, departing(name)
	case err != nil:
		return nil, refusal(err)
	case c.DeletionTimestamp != nil:
		return nil, departing(name)
	}
	if namespace, application := c.ApplicationKey(); namespace != v.integration.Name.Namespace ||
		application != v.integration.Name.Name || c.Spec.Owner != owner {
		p := problem.New(problem.ConnectionNotReady, "the connection %s belongs to another application or user: delete it, or create one "+
			"of another name and select it with %s", name, access.HeaderConnection)
		p.Reason = ReasonSettingsDiffer
		return nil, p
	}
	return c, nil
}

// departing says that a connection has to be waited for.
func departing(name types.NamespacedName) *problem.Error {
	p := problem.New(problem.ConnectionNotReady, "the connection %s is being deleted; it can be made anew in a moment", name).After(later)
	p.Reason = v1alpha1.ReasonDeleting
	return p
}

// refusal is what a caller learns of an error of the API server.
func refusal(err error) *problem.Error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return problem.New(problem.ClusterUnavailable, "Kubernetes did not answer").After(later).Because(err)
	}
	switch s := status.Status(); {
	case apierrors.IsTooManyRequests(err), apierrors.IsUnauthorized(err), apierrors.IsTimeout(err), s.Code >= http.StatusInternalServerError:
		return problem.New(problem.ClusterUnavailable, "Kubernetes did not answer").After(later).Because(err)
	case s.Code == http.StatusForbidden:
		return problem.New(problem.Forbidden, "%s", s.Message).Because(err)
	case s.Code >= http.StatusBadRequest:
		return problem.New(problem.InvalidRequest, "%s", s.Message).Because(err)
	}
	return problem.Of(err)
}

// apply writes settings into a connection that is to be made.
func (s settings) apply(c *v1alpha1.OAuthConnection) {
	if s.displayName != nil {
		c.Spec.DisplayName = *s.displayName
	}
	for _, scope := range s.scopes {
		c.Spec.Scopes = append(c.Spec.Scopes, v1alpha1.Scope(scope))
	}
	for name, value := range s.inputs {
		if c.Spec.Inputs == nil {
			c.Spec.Inputs = map[string]v1alpha1.InputValue{}
		}
		c.Spec.Inputs[name] = v1alpha1.InputValue(value)
	}
}

// match finds what was asked for and is otherwise in a connection that exists: nothing is changed behind anybody's back, and
// nothing ignored.
func (s settings) match(c *v1alpha1.OAuthConnection) error {
	wanted := &v1alpha1.OAuthConnection{}
	s.apply(wanted)
	var differing []string
	if s.displayName != nil && wanted.Spec.DisplayName != c.Spec.DisplayName {
		differing = append(differing, "displayName")
	}
	if s.scopes != nil && !sameSet(wanted.Spec.Scopes, c.Spec.Scopes) {
		differing = append(differing, "scopes")
	}
	if s.inputs != nil && !maps.Equal(wanted.Spec.Inputs, c.Spec.Inputs) {
		differing = append(differing, "inputs")
	}
	if len(differing) == 0 {
		return nil
	}
	p := problem.New(problem.ConnectionNotReady, "the connection %s exists with other settings (%s): leave them out to authorize it "+
		"as it is, change the connection, or delete it", client.ObjectKeyFromObject(c), strings.Join(differing, ", "))
	p.Reason = ReasonSettingsDiffer
	return p
}

func sameSet(a, b []v1alpha1.Scope) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// selectorOf is the connection that a request names; empty: none.
func selectorOf(r *http.Request) string {
	return strings.TrimSpace(r.Header.Get(access.HeaderConnection))
}
