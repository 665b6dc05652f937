// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// undoAttempts bounds how often somebody else may be ahead, as the controller is with its finalizer and status.
const undoAttempts = 5

// undoneWithin is how long the controller has to let go of what holds no grant.
const undoneWithin = 2 * time.Second

// undo takes a connection back that was made for a link which then there cannot be. It stays where that is not certain, where a
// code was used for it, and where somebody has authorized it meanwhile. It returns the error that it was given.
func (h *Handler) undo(ctx context.Context, v *visit, cause error) error {
	if !v.created || v.connection == nil || problem.Of(cause).Code != problem.NoAuthorization {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
	defer cancel()
	for range undoAttempts {
		current := &v1alpha1.OAuthConnection{}
		err := h.Live.Get(ctx, client.ObjectKeyFromObject(v.connection), current)
		if err == nil && (current.UID != v.connection.UID || current.Status.LastAuthorization != nil) {
			return cause
		}
		if err == nil {
			err = h.Cluster.Delete(ctx, current, client.Preconditions{UID: &current.UID, ResourceVersion: &current.ResourceVersion})
		}
		if apierrors.IsConflict(err) {
			continue
		}
		if client.IgnoreNotFound(err) != nil {
			h.Log.Info("a connection that was made in vain could not be deleted", "connection", client.ObjectKeyFromObject(v.connection), "cause", err.Error())
			return cause
		}
		h.untilGone(ctx, v)
		return cause
	}
	return cause
}

// untilGone waits a moment for what was deleted, so that its name is free for the next request.
func (h *Handler) untilGone(ctx context.Context, v *visit) {
	end := h.Clock.NewTimer(undoneWithin)
	defer end.Stop()
	_, _ = h.await(ctx, v.connection.UID, end.C(), func(c *v1alpha1.OAuthConnection) (bool, error) { return c == nil, nil })
}
