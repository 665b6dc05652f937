// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// loginKept is how long the name of a login's message is taken: the same code, brought again, is the same login.
const loginKept = time.Hour

// loginPrefix tells the logins of this API from those of the gateway.
const loginPrefix = "api-"

// loginBytes and againBytes are how much of a digest names a login, and one that brings the same refresh token again.
const (
	loginBytes = 16
	againBytes = 4
)

// Authorize answers POST /api/integrations/{id}/connect: the caller's connection, or the shared one, which is made if there is
// none, is authorized with a code or a refresh token. 201: its token works; 202: that is not known yet.
func (h *Handler) Authorize(w http.ResponseWriter, r *http.Request) error {
	if _, err := visitor(r); err != nil {
		return err
	}
	wanted, brought, err := read(w, r)
	if err != nil {
		return err
	}
	return h.observed(r, ActionAuthorize, func(v *visit) error {
		end := h.Clock.NewTimer(outcomeWithin)
		defer end.Stop()
		if err := h.ensure(r.Context(), v, wanted); err != nil {
			return err
		}
		done, err := h.authorize(r.Context(), v, brought, end.C())
		if err != nil {
			return err
		}
		status := http.StatusAccepted
		v.outcome = OutcomeAccepted
		if done {
			status, v.outcome = http.StatusCreated, OutcomeDone
		}
		w.Header().Set("Location", h.placeOf(r, v))
		write(w, status, h.represent(r.Context(), v.connection))
		return nil
	})
}

// authorize hands over what was brought and waits for what becomes of it. false: it is not known yet.
func (h *Handler) authorize(ctx context.Context, v *visit, o offer, end <-chan time.Time) (bool, error) {
	l, known, err := h.judged(ctx, v, o)
	if err != nil {
		return false, err
	}
	if !known {
		if err := h.handOver(ctx, v, o, l); err != nil {
			return false, err
		}
	}
	held := v.connection
	return h.await(ctx, held.UID, end, func(c *v1alpha1.OAuthConnection) (bool, error) {
		if c == nil {
			return false, gone(held)
		}
		v.connection = c
		return outcome(c, l)
	})
}

// login identifies what was brought for a connection: bringing it again is the same login. true: how it has ended is known
// already. A refresh token that nobody has used may be brought again once what stood in its way is mended; that is another login,
// named after the one that failed, so that all that bring it until then mean the same one.
func (o offer) login(c *v1alpha1.OAuthConnection) (login string, ended bool) {
	kind, secret := pending.AuthorizationResponse, o.code
	if !o.refreshToken.IsEmpty() {
		kind, secret = pending.RefreshTokenImport, o.refreshToken
	}
	first := loginPrefix + digest(loginBytes, string(c.UID), string(kind), secret.Reveal())
	last := c.Status.LastAuthorization
	switch {
	case last == nil, last.ID != first && !strings.HasPrefix(last.ID, first+"-"):
		return first, false
	case kind == pending.RefreshTokenImport && unused(last):
		// A login can fail within the second of the one before: that one's ID tells them apart.
		return first + "-" + digest(againBytes, last.ID, last.Time.UTC().Format(time.RFC3339)), false
	}
	return last.ID, true
}

// unused tells that a login failed and left the refresh token that it brought as it was.
func unused(last *v1alpha1.LastAuthorization) bool {
	if last.Outcome != v1alpha1.AuthorizationFailed {
		return false
	}
	switch last.Reason {
	case v1alpha1.ReasonInvalidGrant, v1alpha1.ReasonAccountMismatch, v1alpha1.ReasonRefreshOutcomeUnknown,
		v1alpha1.ReasonExchangeOutcomeUnknown:
		return false
	}
	return true
}

func digest(bytes int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:bytes])
}

// judged waits for the controller to judge the connection as it is, so that nothing is spent on one that cannot be authorized.
// It returns the login; true: how that has ended is known already. A controller that is away finds the message when it is back.
func (h *Handler) judged(ctx context.Context, v *visit, o offer) (login string, known bool, err error) {
	end := h.Clock.NewTimer(seenWithin)
	defer end.Stop()
	var held *v1alpha1.OAuthConnection
	login, _ = o.login(v.connection) // For one that the directory does not show in time.
	_, err = h.await(ctx, v.connection.UID, end.C(), func(c *v1alpha1.OAuthConnection) (bool, error) {
		if c == nil {
			return false, gone(held)
		}
		held, v.connection = c, c
		if login, known = o.login(c); known {
			return true, nil
		}
		if p := standing(c); p != nil {
			return false, p
		}
		if !seen(c) {
			return false, nil
		}
		if p := forbidden(c); p != nil {
			return false, p
		}
		return unfinished(c) == nil, nil
	})
	if err != nil || known || held == nil || !seen(held) {
		return login, known, err
	}
	if p := unfinished(held); p != nil {
		return login, false, p.After(later)
	}
	return login, false, nil
}

// handOver gives the controller what was brought.
func (h *Handler) handOver(ctx context.Context, v *visit, o offer, login string) error {
	m := h.message(v)
	if wait := h.pace.admit(v.connection.UID, login, m.ReceivedAt); wait > 0 {
		return problem.New(problem.RateLimited, "the connection %s was brought too many codes and refresh tokens within a minute; this one was "+
			"not used", client.ObjectKeyFromObject(v.connection)).After(wait)
	}
	m.KeepUntil = m.ReceivedAt.Add(loginKept)
	generation := v.connection.Generation
	if o.refreshToken.IsEmpty() {
		m.Response = &pending.Response{
			Login: login, Generation: generation, Code: o.code, Verifier: o.verifier, RedirectURL: o.redirectURL,
		}
	} else {
		m.Import = &pending.Import{Login: login, Generation: generation, RefreshToken: o.refreshToken}
	}
	return h.send(ctx, m, string(v.connection.UID), login)
}

// outcome judges how a login ended: true: its token works; false: that is not known yet.
func outcome(c *v1alpha1.OAuthConnection, login string) (bool, error) {
	name := client.ObjectKeyFromObject(c)
	last := c.Status.LastAuthorization
	switch {
	case last != nil && last.ID == login:
	case c.DeletionTimestamp != nil:
		return false, departing(name)
	default:
		return false, nil
	}
	switch last.Outcome {
	case v1alpha1.AuthorizationFailed:
		return false, because(refusalCode(last.Reason), last.Reason, "%s", text(last))
	case v1alpha1.AuthorizationUnknown:
		return false, because(problem.ProviderUnreachable, cmp.Or(last.Reason, v1alpha1.ReasonExchangeOutcomeUnknown), "%s", text(last))
	case v1alpha1.AuthorizationSucceeded:
	}
	if c.Status.Phase == v1alpha1.ConnectionInactive || c.Status.Phase == v1alpha1.ConnectionDeleted {
		p := because(problem.ConnectionInactive, ready(c).Reason, "the connection %s was authorized with this before, and the grant has "+
			"ended since: bring another code or refresh token", name)
		p.AuthorizationURL = c.Status.AuthorizationURL
		return false, p
	}
	return usable(c), nil
}

func text(last *v1alpha1.LastAuthorization) string {
	if last.Message != "" {
		return last.Message
	}
	return "the authorization came to nothing: " + last.Reason
}

// refusalCode tells a provider's refusal from what is wrong here.
func refusalCode(reason string) problem.Code {
	switch reason {
	case v1alpha1.ReasonAccountMismatch:
		return problem.AccountMismatch
	case v1alpha1.ReasonInvalidClient, v1alpha1.ReasonUnauthorizedClient, v1alpha1.ReasonSuspended, v1alpha1.ReasonDeleting,
		v1alpha1.ReasonNotAllowed, v1alpha1.ReasonInvalidInputs, v1alpha1.ReasonInvalidConfiguration, v1alpha1.ReasonSecretNotFound,
		v1alpha1.ReasonApplicationNotFound, v1alpha1.ReasonApplicationNotReady, v1alpha1.ReasonApplicationDeleted,
		v1alpha1.ReasonConnectionChanged, v1alpha1.ReasonServiceAccountNotAllowed, v1alpha1.ReasonDiscoveryFailed,
		v1alpha1.ReasonCABundleInvalid, v1alpha1.ReasonNoGateway:
		return problem.ConnectionNotReady
	case v1alpha1.ReasonProviderUnavailable, v1alpha1.ReasonAuthorizationExpired:
		return problem.ProviderUnreachable
	}
	return problem.AuthorizationRefused
}
