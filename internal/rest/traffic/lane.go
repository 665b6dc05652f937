// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// lane is what an application, or a connection, has under way.
type lane struct {
	uid types.UID
	// users are the calls that hold this lane, guarded by lanes.mu.
	users int

	running slots
	// turn is held by the one request that waits for the rate: so those behind it move up at once when it goes away.
	turn slots

	mu          sync.Mutex
	limiter     *rate.Limiter // nil: no rate
	pausedUntil time.Time
}

// enter waits until a request may run in this lane. The caller frees running when it has ended, unless there is an error.
func (l *lane) enter(p *patience, limit Limit, of string) error {
	if err := l.refuseLongPause(p); err != nil {
		return err
	}
	if err := l.running.take(p, limit.MaxConcurrent, func() error {
		return problem.New(problem.RateLimited, "%s: too many requests at once (the limit is %d)", of, limit.MaxConcurrent).After(soon)
	}); err != nil {
		return err
	}
	err := l.sitOutPause(p)
	if err == nil {
		err = l.keepRate(p, limit, of)
	}
	if err != nil {
		l.running.free()
	}
	return err
}

// keepRate waits for the limiter, one request after the other.
func (l *lane) keepRate(p *patience, limit Limit, of string) error {
	limiter := l.limited(limit, p.clock.Now())
	if limiter == nil {
		return nil
	}
	tooLong := func() error {
		return problem.New(problem.RateLimited, "%s: too many requests (the limit is %g a second)", of, limit.RequestsPerSecond).
			After(max(l.untilTurn(limiter, p.clock.Now()), soon))
	}
	if l.untilTurn(limiter, p.clock.Now()) > p.left() {
		return tooLong()
	}
	if err := l.turn.take(p, 1, tooLong); err != nil {
		return err
	}
	defer l.turn.free()
	now := p.clock.Now()
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	if wait > p.left() {
		reservation.CancelAt(now)
		return tooLong()
	}
	if err := p.sleep(wait); err != nil {
		reservation.CancelAt(p.clock.Now())
		return err
	}
	return nil
}

// untilTurn is how long one more request would wait for the limiter. One of those ahead has its token already.
func (l *lane) untilTurn(limiter *rate.Limiter, now time.Time) time.Duration {
	const longest = 24 * time.Hour // Nobody waits for it, and it fits a Duration.
	missing := float64(max(l.turn.ahead(), 1)) - limiter.TokensAt(now)
	return time.Duration(min(max(missing, 0)/float64(limiter.Limit()), longest.Seconds()) * float64(time.Second))
}

// limited returns the limiter, with the newest limit. It keeps the tokens that it has, so that a changed rate does not give
// another burst.
func (l *lane) limited(limit Limit, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !limit.hasRate():
		l.limiter = nil
	case l.limiter == nil:
		l.limiter = rate.NewLimiter(rate.Limit(limit.RequestsPerSecond), limit.burst())
	case float64(l.limiter.Limit()) != limit.RequestsPerSecond:
		l.limiter.SetLimitAt(now, rate.Limit(limit.RequestsPerSecond))
		l.limiter.SetBurstAt(now, limit.burst())
	}
	return l.limiter
}

// pause has later requests wait; a pause that is longer already stays.
func (l *lane) pause(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
}

func (l *lane) pauseLeft(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pausedUntil.Sub(now)
}

func (l *lane) refuseLongPause(p *patience) error {
	if wait := l.pauseLeft(p.clock.Now()); wait > 0 && wait > p.left() {
		return problem.New(problem.RateLimited, "the provider's own limit for this connection is used up").After(wait)
	}
	return nil
}

// sitOutPause waits until there is no pause; it may be prolonged meanwhile.
func (l *lane) sitOutPause(p *patience) error {
	for {
		wait := l.pauseLeft(p.clock.Now())
		if wait <= 0 {
			return nil
		}
		if err := l.refuseLongPause(p); err != nil {
			return err
		}
		if err := p.sleep(wait); err != nil {
			return err
		}
	}
}

// worthKeeping tells whether a lane without requests still means anything: to forget a rate whose burst is not full would
// allow another burst.
func (l *lane) worthKeeping(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pausedUntil.After(now) || l.limiter != nil && l.limiter.TokensAt(now) < float64(l.limiter.Burst())
}

// lanes are those of requests under way, and of the idle ones the newest that are worth keeping.
type lanes struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	busy  map[types.UID]*lane
	idle  *lru.Cache // of *lane
}

func newLanes(clk clock.PassiveClock, maxIdle int) *lanes {
	return &lanes{clock: clk, busy: map[types.UID]*lane{}, idle: lru.New(maxIdle)}
}

// hold returns a lane that stays the only one of its UID until it is released.
func (s *lanes) hold(uid types.UID) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.busy[uid]
	if l == nil {
		if kept, ok := s.idle.Get(uid); ok {
			l, _ = kept.(*lane)
			s.idle.Remove(uid)
		} else {
			l = &lane{uid: uid}
		}
		s.busy[uid] = l
	}
	l.users++
	return l
}

func (s *lanes) release(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users > 0 {
		return
	}
	delete(s.busy, l.uid)
	if l.worthKeeping(s.clock.Now()) {
		s.idle.Add(l.uid, l)
	}
}
