// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// renewFor is how long it is waited for another token.
	renewFor = 30 * time.Second
	// lookEvery is how often it is looked without a sign: a status that says the same as before is not written again.
	lookEvery = 5 * time.Second
	// askedBeforeFor is how long it is waited where what was asked for before may have been this token, and not the next one.
	askedBeforeFor = 5 * time.Second
	// hinderedFor is when another attempt is worth it after one that could not be made.
	hinderedFor = 30 * time.Second
)

// Renew returns another token than old, which has expired or was rejected. The controller is asked for it once for all callers
// that wait at the same time, of all processes; somebody may have asked already. It waits for 30 seconds, or for as long as ctx
// lets it.
//
// The error is ErrNotRenewable or ErrTooSoon, with a rejected token alone, or a *problem.Error: RefreshFailed where it was tried
// in vain, ConnectionInactive where nothing is left to get another token with, RefreshTimeout, and those of Get.
func (s *Source) Renew(ctx context.Context, c *v1alpha1.OAuthConnection, old *Credential, cause Cause) (*Credential, error) {
	renewed, err := s.awaited(ctx, c, old, cause)
	if s.Renewed != nil {
		s.Renewed(c, err)
	}
	return renewed, err
}

// awaited waits for another token, together with all others who do.
func (s *Source) awaited(ctx context.Context, c *v1alpha1.OAuthConnection, old *Credential, cause Cause) (*Credential, error) {
	if old.expired(s.Clock.Now()) {
		cause = Expired
	}
	answers := s.renewals.DoChan(string(cause)+"/"+string(c.UID)+"/"+old.Hash, func() (any, error) {
		// Whoever asked first may go away; the others wait on.
		return s.renew(context.WithoutCancel(ctx), c, old, cause)
	})
	select {
	case <-ctx.Done():
		return nil, timeout(c).Because(context.Cause(ctx))
	case answer := <-answers:
		if credential, ok := answer.Val.(*Credential); ok && answer.Err == nil {
			return credential, nil
		}
		if errors.Is(answer.Err, ErrNotRenewable) || errors.Is(answer.Err, ErrTooSoon) {
			return nil, answer.Err
		}
		return nil, own(answer.Err)
	}
}

// own is the problem of one caller, who may add to it.
func own(shared error) *problem.Error {
	copied := *problem.Of(shared)
	return &copied
}

func timeout(c *v1alpha1.OAuthConnection) *problem.Error {
	return problem.New(problem.RefreshTimeout, "the access token of connection %s/%s was not renewed in time", c.Namespace, c.Name)
}

// renewal is one wait for another token.
type renewal struct {
	*Source
	connection *v1alpha1.OAuthConnection // as it was last seen
	old        *Credential
	cause      Cause
	// asked : the controller knows; before is what status said until then.
	asked  bool
	before *v1alpha1.Failure
}

func (s *Source) renew(ctx context.Context, c *v1alpha1.OAuthConnection, old *Credential, cause Cause) (*Credential, error) {
	deadline := s.Clock.NewTimer(renewFor)
	defer deadline.Stop()
	looks := s.Clock.NewTicker(lookEvery)
	defer looks.Stop()
	changes, release := s.Directory.Subscribe(c.UID) // Before the first look: no change is missed.
	defer release()
	r := &renewal{Source: s, connection: c, old: old, cause: cause}
	credential, err := r.look(ctx)
	if credential != nil || err != nil {
		return credential, err
	}
	brief, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	if brief {
		deadline.Reset(askedBeforeFor)
	}
	for {
		late := false
		select {
		case <-changes:
		case <-looks.C():
		case <-deadline.C():
			late = true
		}
		credential, err := r.look(ctx)
		switch {
		case credential != nil || err != nil:
			return credential, err
		case late && brief:
			return nil, ErrTooSoon
		case late:
			return nil, timeout(r.connection)
		}
	}
}

// look returns another token where there is one, or why there will be none; neither: not yet.
func (r *renewal) look(ctx context.Context) (*Credential, error) {
	c := r.Directory.Connection(r.connection.UID)
	if c == nil {
		return nil, notReady(r.connection, v1alpha1.ReasonDeleting, "is gone")
	}
	r.connection = c
	if err := usable(c); err != nil {
		return nil, err
	}
	access, err := r.access(ctx, c)
	if err != nil {
		return nil, err
	}
	if access.Hash != r.old.Hash {
		credential, err := r.complete(ctx, c, &kept{access: access, version: c.ResourceVersion})
		switch {
		case err != nil || !credential.expired(r.Clock.Now()):
			return credential, err
		case r.asked:
			return nil, problem.New(problem.RefreshFailed, "the access token of connection %s/%s was renewed, and the new one has expired already", c.Namespace, c.Name)
		}
		r.old, r.cause = credential, Expired
	}
	return nil, r.failed()
}

// failed says, by what status says, that it was tried in vain; nil: it does not say so.
func (r *renewal) failed() error {
	c := r.connection
	failure, now := c.Status.Failure, r.Clock.Now()
	if next := nextAttempt(failure); failure != nil && (now.Before(next.Time) || r.asked && !sameFailure(failure, r.before)) {
		wait := hinderedFor
		if !next.IsZero() {
			wait = max(next.Sub(now), time.Second)
		}
		return refreshFailed(c, failure.Reason, failure.Message, wait)
	}
	if reason, message := hindrance(c); reason != "" {
		return refreshFailed(c, reason, message, hinderedFor)
	}
	return nil
}

func refreshFailed(c *v1alpha1.OAuthConnection, reason, message string, wait time.Duration) *problem.Error {
	p := problem.New(problem.RefreshFailed, "the access token of connection %s/%s could not be renewed: %s", c.Namespace, c.Name, message).After(wait)
	p.Reason = reason
	return p
}

// ask tells the controller, unless that is of no use. brief : somebody has asked before, perhaps for the token that is of no use now.
func (r *renewal) ask(ctx context.Context) (brief bool, err error) {
	r.asked, r.before = true, r.connection.Status.Failure
	now := r.Clock.Now()
	renewable := r.old.renewable(now)
	if r.cause == Expired {
		if !renewable {
			return false, inactive(r.connection, v1alpha1.ReasonTokenExpired, "the access token has expired, and there is nothing to get another one with")
		}
		_, err := r.send(ctx, r.connection, messageExpired, r.old)
		return false, err
	}
	existed := true
	if r.begin(messageRejected, r.connection.UID) {
		if existed, err = r.send(ctx, r.connection, messageRejected, r.old); err != nil {
			return false, err
		}
	} else if renewable {
		return false, fmt.Errorf("%w: connection %s/%s", ErrTooSoon, r.connection.Namespace, r.connection.Name)
	}
	if !renewable {
		return false, ErrNotRenewable
	}
	return existed && now.Sub(r.old.issuedAt) < askAgainAfter, nil
}
