// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// How long it is tried to write a message: a code is worth some patience.
const (
	sendFor      = 5 * time.Second
	attemptFor   = 2 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// send hands a message to the controller. One of that name that exists says the same, whoever wrote it. A caller who goes away
// does not stop it. The error is a problem and shows nothing of the message.
func (h *Handler) send(ctx context.Context, m pending.Message, nameParts ...string) error {
	secret, err := pending.Encode(h.Namespace, pending.Name(m.Kind(), nameParts...), m)
	if err != nil {
		return problem.New(problem.TooLarge, "what was brought is too long for a message to the controller").Because(err)
	}
	hidden := secretsOf(m)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendFor)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		attempt, done := context.WithTimeout(ctx, attemptFor)
		err := h.Cluster.Create(attempt, secret.DeepCopy())
		done()
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		failed := problem.New(problem.ClusterUnavailable, "the controller could not be told").After(later).Because(redact.Error(err, hidden...))
		if apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
			return failed
		}
		timer := h.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return failed
		case <-timer.C():
		}
	}
}

// secretsOf are what no error may show of a message.
func secretsOf(m pending.Message) []sensitive.String {
	switch {
	case m.Response != nil:
		return []sensitive.String{m.Response.Code, m.Response.Verifier}
	case m.Import != nil:
		return []sensitive.String{m.Import.RefreshToken}
	}
	return nil
}
