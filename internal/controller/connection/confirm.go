// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// errBehind says that the cache does not show the connection as the API server has it. Nothing was done; pass again.
var errBehind = errors.New("the cache shows an older connection")

// stale tells whether something was not done because it was decided on a view that is behind.
func stale(err error) bool {
	return apierrors.IsConflict(err) || errors.Is(err, grant.ErrConflict) || errors.Is(err, errBehind)
}

// returned tells that a code or refresh token is remembered that was spent before the last one. It has come back, or the
// connection is an old one; two controllers would undo each other's writes then.
func (s *scope) returned(action lifecycle.Action) bool {
	return action == lifecycle.Remember && s.facts.Input.State == lifecycle.InputPresent && s.facts.Input.Hash != s.record().SpentInput
}

// confirm returns errBehind unless the connection is still what s shows, where the action may follow from what a person
// has written into it: a code, a refresh token to import, a refresh request. Connections and records come by different
// watches. While two controllers are at work, the record may have overtaken the connection; the code or request that
// looks new then was answered before. A live read after that of the record rules this out, since the action itself
// starts with a compare-and-swap on the record.
func (r *Reconciler) confirm(ctx context.Context, s *scope, action lifecycle.Action) error {
	switch action {
	case lifecycle.Exchange, lifecycle.Import:
	case lifecycle.Issue, lifecycle.Refresh, lifecycle.Remember, lifecycle.StartDevice, lifecycle.Poll, lifecycle.CheckGrant:
		if s.facts.RefreshRequest == s.record().RefreshRequest && !s.returned(action) {
			return nil
		}
	case lifecycle.Wait, lifecycle.VerifyMark, lifecycle.Revoke, lifecycle.Release, lifecycle.Identify, lifecycle.Settle,
		lifecycle.RevokeCandidate, lifecycle.Observe, lifecycle.Conclude, lifecycle.Heed, lifecycle.Invite, lifecycle.Judge:
		return nil
	}
	live := &v1alpha1.OAuthConnection{}
	err := r.Live.Get(ctx, s.name, live)
	switch {
	case apierrors.IsNotFound(err):
		return errBehind
	case err != nil:
		return fmt.Errorf("read connection %s live: %w", s.name, err)
	case live.UID != s.connection.UID, live.Generation != s.connection.Generation,
		live.Annotations[v1alpha1.AnnotationRefreshRequestedAt] != s.facts.RefreshRequest:
		return errBehind
	}
	return nil
}
