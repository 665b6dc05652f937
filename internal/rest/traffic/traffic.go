// SPDX-License-Identifier: Apache-2.0

// Package traffic decides when a request may go to a provider's API: not more at once, and not more often, than the
// application allows; not while the provider says that its own limit is used up; and not to a host that has not answered for a
// while. It counts in this process only.
package traffic

import (
	"cmp"
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// What Options default to.
const (
	DefaultMaxWait         = 10 * time.Second
	DefaultBreakerFailures = 10
	DefaultBreakerPause    = 15 * time.Second
	DefaultMaxIdle         = 16384
	DefaultMaxBreakers     = 4096
)

// Options of a Gate; a zero field means its default.
type Options struct {
	// Clock is the real one. Breakers know no other.
	Clock clock.Clock
	// MaxWait bounds how long a request waits, over all that it waits for.
	MaxWait time.Duration
	// BreakerFailures in a row open a breaker.
	BreakerFailures uint32
	// BreakerPause is how long it stays open.
	BreakerPause time.Duration
	// MaxIdle bounds how many applications and connections without requests are remembered. They are remembered only while
	// their rate, or the provider's limit, still holds.
	MaxIdle int
	// MaxBreakers bounds how many destinations are watched.
	MaxBreakers int
	// BreakerChanged, if set, is told of every change; a breaker that nobody has heard of is closed. It must not call the Gate.
	BreakerChanged func(application types.UID, host string, state BreakerState)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	o.MaxWait = cmp.Or(o.MaxWait, DefaultMaxWait)
	o.BreakerFailures = cmp.Or(o.BreakerFailures, DefaultBreakerFailures)
	o.BreakerPause = cmp.Or(o.BreakerPause, DefaultBreakerPause)
	o.MaxIdle = cmp.Or(o.MaxIdle, DefaultMaxIdle)
	o.MaxBreakers = cmp.Or(o.MaxBreakers, DefaultMaxBreakers)
	return o
}

// Key says whose request it is, and where it goes.
type Key struct {
	Application, Connection types.UID
	// Host of the request's URL, with its port if it has one.
	Host string
}

func (k Key) destination() destination { return destination{k.Application, k.Host} }

// Gate lets requests pass. It is safe for concurrent use.
type Gate struct {
	options  Options
	lanes    *lanes
	breakers *breakers
}

// New makes a Gate.
func New(options Options) *Gate {
	options = options.withDefaults()
	return &Gate{options: options, lanes: newLanes(options.Clock, options.MaxIdle), breakers: newBreakers(options)}
}

// Enter waits until one attempt of a request may be sent, at most MaxWait and the context's time. When it is known that this
// is not enough, the error comes at once. The newest limits hold for all requests of the same application or connection.
//
// leave must be called when the attempt has ended, its answer's body included; only the first call counts.
//
// The error is a *problem.Error RateLimited or ProviderUnavailable with the time to wait, or the context's when it was
// cancelled.
func (g *Gate) Enter(ctx context.Context, key Key, limits Limits) (leave func(Outcome), err error) {
	breaker := g.breakers.of(key.destination())
	if breaker.isOpen() {
		return nil, breaker.refused()
	}
	p := newPatience(ctx, g.options.Clock, g.options.MaxWait)
	// A request that waits for its connection takes nothing from the application's others.
	leaveConnection, err := g.enter(p, key.Connection, limits.Connection, "the connection")
	if err != nil {
		return nil, err
	}
	leaveApplication, err := g.enter(p, key.Application, limits.Application, "the application")
	if err != nil {
		leaveConnection()
		return nil, err
	}
	settle, err := breaker.allow()
	if err != nil {
		leaveApplication()
		leaveConnection()
		return nil, err
	}
	left := new(atomic.Bool)
	return func(o Outcome) {
		if left.CompareAndSwap(false, true) {
			settle(o)
			leaveApplication()
			leaveConnection()
		}
	}, nil
}

func (g *Gate) enter(p *patience, uid types.UID, limit Limit, of string) (leave func(), err error) {
	l := g.lanes.hold(uid)
	if err := l.enter(p, limit, of); err != nil {
		g.lanes.release(l)
		return nil, err
	}
	return func() {
		l.running.free()
		g.lanes.release(l)
	}, nil
}

// Observe reads the head of every answer. Where the application names the header of what remains, and the answer says that
// nothing does, later requests of the connection wait until the provider's limit is reset; status 429 says so too.
//
// Without that header, a 429 holds for its own request alone: it does not say what was counted (RFC 6585, section 4), and
// providers that count by endpoint are many.
func (g *Gate) Observe(key Key, names RateLimitHeaders, status int, h http.Header) {
	if OutcomeOf(status) == Answered {
		g.breakers.of(key.destination()).answered()
	}
	if names.Remaining == "" || status != http.StatusTooManyRequests && !usedUp(h, names.Remaining) {
		return
	}
	now := g.options.Clock.Now()
	wait, ok := RetryAfter(h, names.Reset, now)
	if !ok || wait == 0 {
		return
	}
	l := g.lanes.hold(key.Connection)
	l.pause(now.Add(wait))
	g.lanes.release(l)
}
