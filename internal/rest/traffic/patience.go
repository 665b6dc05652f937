// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// soon is the Retry-After of what nobody knows the end of.
const soon = time.Second

// patience is how long one request waits, over all that it has to wait for.
type patience struct {
	// Done comes with the end of the request; its deadline is part of until.
	done  context.Context //nolint:containedctx // it lives as long as one call of Enter
	clock clock.Clock
	until time.Time
}

func newPatience(ctx context.Context, clk clock.Clock, longest time.Duration) *patience {
	until := clk.Now().Add(longest)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return &patience{done: ctx, clock: clk, until: until}
}

func (p *patience) left() time.Duration { return p.until.Sub(p.clock.Now()) }

// sleep waits. The caller has seen that it is not longer than what is left.
func (p *patience) sleep(wait time.Duration) error {
	timer := p.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-p.done.Done():
		return p.ended()
	}
}

// ended is the error of a request that ended while it waited: its deadline has passed, or nobody waits for it any more.
func (p *patience) ended() error {
	if errors.Is(p.done.Err(), context.DeadlineExceeded) {
		return problem.New(problem.RateLimited, "the request's time ended while it waited for its turn").After(soon)
	}
	return fmt.Errorf("wait for the request's turn: %w", p.done.Err())
}
