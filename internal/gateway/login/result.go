// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
)

// Result shows how a login went: GET /oauth2/result/{login}. It waits for that, and as long as it is not known the page comes
// again by itself.
func (h *Handler) Result(w http.ResponseWriter, r *http.Request) {
	sealed := r.PathValue(WildcardLogin)
	login, err := h.Sealer.OpenLogin(sealed)
	if err != nil {
		h.notice(w, pages.Notice{Kind: pages.NotFound})
		return
	}
	found, err := h.await(r.Context(), login)
	if err != nil {
		h.fail(w, login.Connection, err)
		return
	}
	if found.kind != pages.Waiting {
		h.Log.Info("login shown", "connection", login.Connection.String(), "login", login.Login, "outcome", string(found.kind))
	}
	h.notice(w, h.resultPage(r.Context(), login, sealed, found))
}

func (h *Handler) resultPage(ctx context.Context, login seal.Login, sealed string, found finding) pages.Notice {
	if found.connection == nil {
		return pages.Notice{Kind: found.kind, Connection: login.Connection}
	}
	application, err := h.application(ctx, found.connection, func(*v1alpha1.OAuthApplication) bool { return true })
	if err != nil {
		application = nil // The page can do without.
	}
	n := h.about(found.kind, found.connection, application)
	n.Detail = found.detail
	switch found.kind {
	case pages.Waiting, pages.ControllerAway:
		n.Refresh = h.external + PathResult + "/" + sealed
		// After a request that was held the next one follows at once, so that the person waits there and not in between. Pages
		// that move on after a while disturb people who read slowly (WCAG 2.2.1), and tell later how it went.
		if !found.held {
			n.RefreshAfter = againAfter
		}
	case pages.Success, pages.Unpublished, pages.Suspended:
	default:
		n.RetryURL = h.retryLink(found.connection)
	}
	return n
}

// finding is what is known of a login. Waiting and Unpublished may soon be something else.
type finding struct {
	kind       pages.Kind
	detail     string
	connection *v1alpha1.OAuthConnection
	// held : it was waited for as long as a request may be held.
	held bool
}

// await finds out how a login went, and waits for that for a bounded time. The connection is looked at when it has changed, not
// from time to time.
func (h *Handler) await(ctx context.Context, login seal.Login) (finding, error) {
	changes, release, ok := h.Hub.Subscribe(login.ConnectionUID)
	defer release()
	left := login.StartedAt.Add(waitFor).Sub(h.Clock.Now())
	hold := h.Clock.NewTimer(max(min(holdFor, left), 0))
	defer hold.Stop()
	var grace clock.Timer // Runs from when the login is seen to have succeeded.
	defer func() {
		if grace != nil {
			grace.Stop()
		}
	}()
	held := false
	for {
		found, err := h.look(ctx, login)
		found.held = held
		switch {
		case err != nil:
			return finding{}, err
		case found.kind == pages.Waiting && left <= 0:
			return h.giveUp(ctx, login, found)
		case !ok, found.kind != pages.Waiting && found.kind != pages.Unpublished:
			return found, nil
		}
		end := hold.C()
		if found.kind == pages.Unpublished {
			if grace == nil {
				grace = h.Clock.NewTimer(graceForSecret)
			}
			end = grace.C()
		}
		select {
		case <-changes:
		case <-end:
			left = login.StartedAt.Add(waitFor).Sub(h.Clock.Now())
			ok, held = false, true // Once more, and then it is said as it is.
		case <-h.Stopping:
			ok = false
		case <-ctx.Done():
			return found, nil
		}
	}
}

// look finds out how a login went from what the cache knows.
func (h *Handler) look(ctx context.Context, login seal.Login) (finding, error) {
	connection, err := h.current(ctx, login.Connection, login.ConnectionUID, func(*v1alpha1.OAuthConnection) bool { return true })
	if err != nil {
		return finding{}, err
	}
	return judgeResult(connection, login), nil
}

// giveUp says that the outcome is not to be had, after one look at what the API server itself knows.
func (h *Handler) giveUp(ctx context.Context, login seal.Login, found finding) (finding, error) {
	connection, err := h.current(ctx, login.Connection, login.ConnectionUID, func(*v1alpha1.OAuthConnection) bool { return false })
	if err == nil {
		found = judgeResult(connection, login)
	}
	if found.kind != pages.Waiting {
		return found, nil
	}
	found.kind = pages.ControllerAway
	if last := found.connection.Status.LastAuthorization; last != nil && !last.Time.Time.Before(login.StartedAt.Truncate(time.Second)) {
		found.kind, found.detail = pages.Superseded, ""
	}
	return found, nil
}

// judgeResult reads the outcome of a login in the connection's status.
func judgeResult(c *v1alpha1.OAuthConnection, login seal.Login) finding {
	if c == nil {
		return finding{kind: pages.Gone}
	}
	found := finding{kind: pages.Waiting, connection: c}
	last := c.Status.LastAuthorization
	switch {
	case last != nil && last.ID == login.Login:
	case c.DeletionTimestamp != nil:
		found.kind = pages.Gone
		return found
	default:
		if failure := c.Status.Failure; failure != nil {
			found.detail = failure.Message
		}
		return found
	}
	found.detail = either(last.Message, last.Reason)
	if last.Outcome != v1alpha1.AuthorizationSucceeded {
		found.kind = kindOf(last.Reason)
		return found
	}
	found.kind, found.detail = pages.Success, last.Message
	switch ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); {
	case ready == nil:
		found.kind = pages.Unpublished
	case ready.Status != metav1.ConditionTrue:
		found.kind, found.detail = pages.Unpublished, ready.Message
	}
	return found
}

// kindOf returns the page that explains why a login came to nothing.
func kindOf(reason string) pages.Kind {
	switch reason {
	case v1alpha1.ReasonAccountMismatch:
		return pages.AccountMismatch
	case v1alpha1.ReasonAccessDenied:
		return pages.Denied
	case v1alpha1.ReasonAuthorizationExpired:
		return pages.Expired
	case v1alpha1.ReasonConnectionChanged:
		return pages.Changed
	case v1alpha1.ReasonSuspended:
		return pages.Suspended
	default:
		return pages.Failed
	}
}
