// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// One attempt of a write that has to land, and the distance of attempts.
const (
	landTimeout  = 10 * time.Second
	landFirst    = 50 * time.Millisecond
	landFactor   = 2
	landLast     = 5 * time.Second
	landAttempts = 8 // until the distance is landLast
)

// Land writes the outcome of a call, however long that takes: the answer may hold the only copy of a refresh token. The
// write is tried again until it has landed; the call never is. What does not fit into a Secret would never land: it is
// reduced (see reductions), so that a process can always end. base is what Begin returned, or the record before a call
// that needed no mark. ctx carries values only: a cancelled one does not stop it.
func (s *Store) Land(ctx context.Context, base *Entry, next *lifecycle.Record) *Entry {
	ctx = context.WithoutCancel(ctx)
	log := logr.FromContextOrDiscard(ctx)
	delay := wait.Backoff{Duration: landFirst, Factor: landFactor, Steps: landAttempts, Cap: landLast, Jitter: 0.1}
	target, outcome, left := base, next, reductions()
	for {
		entry, err := s.landOnce(ctx, target, outcome)
		switch {
		case err == nil:
			return entry
		case errors.Is(err, ErrConflict):
			target, outcome, err = s.rebase(ctx, base, next)
			left = reductions()
		case tooLarge(err, outcome) && len(left) == 0:
			log.Error(err, "the tokens of this connection could not be stored, not even in part: they are lost")
			return unstored(target, outcome)
		case tooLarge(err, outcome):
			log.Error(err, "the outcome of a call to the provider does not fit into a Secret", "remedy", left[0].remedy)
			outcome, left = left[0].apply(target.record(), outcome, s.options.Clock.Now()), left[1:]
			continue
		}
		if err != nil {
			log.Error(err, "the outcome of a call to the provider is not written yet; trying again")
			<-s.options.Clock.After(delay.Step())
		}
	}
}

func (s *Store) landOnce(ctx context.Context, base *Entry, next *lifecycle.Record) (*Entry, error) {
	bounded, cancel := context.WithTimeout(ctx, landTimeout)
	defer cancel()
	return s.Write(bounded, base, next)
}

// rebase finds out what the record has become since base and fits the outcome to it.
func (s *Store) rebase(ctx context.Context, base *Entry, next *lifecycle.Record) (*Entry, *lifecycle.Record, error) {
	bounded, cancel := context.WithTimeout(ctx, landTimeout)
	defer cancel()
	current, err := s.Live(bounded, next.Connection.UID)
	if err != nil {
		return base, next, err
	}
	if current == nil {
		// Removed under our hands. The tokens must not be lost: without a connection the record is found as orphaned
		// and revoked.
		return nil, next, nil
	}
	return current, lifecycle.Merge(base.record(), next, current.Record), nil
}
