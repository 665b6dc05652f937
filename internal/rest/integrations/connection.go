// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Show answers GET /api/integrations/{id}/connection: the caller's connection, else the shared one.
func (h *Handler) Show(w http.ResponseWriter, r *http.Request) error {
	v, err := h.about(r)
	if err != nil {
		return err
	}
	c, err := h.Access.ConnectionOf(r.Context(), v.caller, v.integration, selectorOf(r))
	if err != nil {
		return err
	}
	write(w, http.StatusOK, h.represent(r.Context(), c))
	return nil
}

// Disconnect answers DELETE /api/integrations/{id}/connection: the connection is deleted, and its tokens are revoked at the
// provider. 204: it is gone; 202: it is not gone yet.
func (h *Handler) Disconnect(w http.ResponseWriter, r *http.Request) error {
	return h.observed(r, ActionDelete, func(v *visit) error {
		ctx := r.Context()
		c, err := h.Access.ConnectionToDelete(ctx, v.caller, v.integration, selectorOf(r))
		v.connection = c
		if err != nil {
			return err
		}
		if err := h.remove(ctx, c); err != nil {
			return err
		}
		end := h.Clock.NewTimer(goneWithin)
		defer end.Stop()
		last := c
		done, err := h.await(ctx, c.UID, end.C(), func(now *v1alpha1.OAuthConnection) (bool, error) {
			if now != nil {
				last = now
			}
			return now == nil, nil
		})
		switch {
		case err != nil:
			return err
		case done:
			v.outcome = OutcomeDone
			w.WriteHeader(http.StatusNoContent)
		default:
			v.outcome = OutcomeAccepted
			w.Header().Set("Location", h.placeOf(r, v))
			write(w, http.StatusAccepted, h.represent(ctx, last))
		}
		return nil
	})
}

// remove deletes this very connection, not one that was made anew under its name.
func (h *Handler) remove(ctx context.Context, c *v1alpha1.OAuthConnection) error {
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	doomed := &v1alpha1.OAuthConnection{}
	doomed.Namespace, doomed.Name = c.Namespace, c.Name
	err := h.Cluster.Delete(ctx, doomed, client.Preconditions{UID: &c.UID})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // Conflict: another one has its name, so it is gone itself.
	}
	return refusal(err)
}

// applicationOf is the name of the application that a connection refers to.
func applicationOf(c *v1alpha1.OAuthConnection) types.NamespacedName {
	namespace, name := c.ApplicationKey()
	return types.NamespacedName{Namespace: namespace, Name: name}
}
