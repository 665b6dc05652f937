// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// kindLogin names the message that uses up a login.
const kindLogin = "login"

// errUsed : there is a message of that name already.
var errUsed = errors.New("used before")

// How long it is tried to write a message: a person waits, and a code is worth some patience.
const (
	sendFor      = 5 * time.Second
	attemptFor   = 2 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// send hands a message to the controller. What it is named by can be used once: errUsed. Other errors mean that it has been tried
// for some time in vain; they show nothing of the message. A person who goes away does not stop it.
func (h *Handler) send(ctx context.Context, m pending.Message, nameParts ...string) error {
	secret, err := pending.Encode(h.Namespace, pending.Name(m.Kind(), nameParts...), m)
	if err != nil {
		return err
	}
	var hidden []sensitive.String
	if m.Response != nil {
		hidden = []sensitive.String{m.Response.Code, m.Response.Verifier}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendFor)
	defer cancel()
	pause, doubtful := firstPause, false
	for {
		attempt, done := context.WithTimeout(ctx, attemptFor)
		err := h.Creator.Create(attempt, secret.DeepCopy())
		done()
		switch {
		case err == nil:
			return nil
		case apierrors.IsAlreadyExists(err) && doubtful:
			return nil // An earlier attempt has arrived after all; the answer was lost.
		case apierrors.IsAlreadyExists(err):
			return errUsed
		case apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err):
			return redact.Error(err, hidden...)
		}
		doubtful = doubtful || !refused(err)
		timer := h.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return redact.Error(err, hidden...)
		case <-timer.C():
		}
		pause = min(2*pause, longestPause)
	}
}

// refused tells whether the API server has answered that it did not do it, so that nothing was written.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsTooManyRequests(err) || apierrors.IsNotFound(err)
}

// report tells the controller of something about a login that does not use it up, once.
func (h *Handler) report(ctx context.Context, state seal.State, kind, reason, message string) {
	m := h.message(state, pending.Response{Login: state.Login, Generation: state.Generation, Reason: reason, Message: message}, h.Clock.Now())
	if err := h.send(ctx, m, kind, state.Login); err != nil && !errors.Is(err, errUsed) {
		h.Log.Error(err, "the controller could not be told", "connection", state.Connection.String(), "login", state.Login, "outcome", reason)
	}
}
