// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Outcome is what a request says of the provider's life.
type Outcome int

const (
	// Neutral : nothing is known, because the caller went away or the request was never sent.
	Neutral Outcome = iota
	// Answered : the provider works, whatever it said.
	Answered
	// Dead : it could not be reached, was too slow, or something in front of it said so (502, 503, 504).
	Dead
)

// OutcomeOf returns what an answer's status says.
func OutcomeOf(status int) Outcome {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Dead
	default:
		return Answered
	}
}

// errNeutral and errDead are how a breaker is told of an Outcome; nothing else sees them.
var (
	errNeutral = errors.New("neutral")
	errDead    = errors.New("dead")
)

func (o Outcome) err() error {
	switch o {
	case Answered:
		return nil
	case Dead:
		return errDead
	default:
		return errNeutral
	}
}

// BreakerState says whether requests to a host are sent.
type BreakerState string

// States of a breaker.
const (
	// BreakerClosed : requests are sent.
	BreakerClosed BreakerState = "Closed"
	// BreakerOpen : they are refused for a while. A breaker stays in this state until the next request, however late.
	BreakerOpen BreakerState = "Open"
	// BreakerHalfOpen : one is sent to see whether the provider is back, the others are refused.
	BreakerHalfOpen BreakerState = "HalfOpen"
)

func stateOf(state gobreaker.State) BreakerState {
	switch state {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	default:
		return BreakerClosed
	}
}

// destination is what a breaker stands for.
type destination struct {
	application types.UID
	host        string
}

// breaker refuses requests to a host that has not answered for a while.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	clock   clock.PassiveClock
	pause   time.Duration

	mu sync.Mutex
	// changed is told of states, until the breaker is forgotten.
	changed func(BreakerState)
	state   BreakerState
	// until is the end of the state Open.
	until time.Time
	// probe settles the request of the state HalfOpen; nil: there is none under way.
	probe func(Outcome)
}

// moved is called by the circuit, which is locked meanwhile.
func (b *breaker) moved(_ string, _, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.probe = stateOf(to), nil
	if b.state == BreakerOpen {
		b.until = b.clock.Now().Add(b.pause)
	}
	if b.changed != nil {
		b.changed(b.state)
	}
}

// forget says good-bye: a breaker that nobody finds any more must not be seen as open for ever.
func (b *breaker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil && b.state != BreakerClosed {
		b.changed(BreakerClosed)
	}
	b.changed = nil
}

// isOpen is for those that would only wait in vain; allow decides.
func (b *breaker) isOpen() bool { return b.circuit.State() == gobreaker.StateOpen }

// allow lets a request through, or refuses it. What it returns takes the request's outcome; only the first call counts.
func (b *breaker) allow() (settle func(Outcome), err error) {
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, b.refused()
	}
	settled := new(atomic.Bool)
	settle = func(o Outcome) {
		if settled.CompareAndSwap(false, true) {
			done(o.err())
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == BreakerHalfOpen {
		b.probe = settle
	}
	return settle, nil
}

func (b *breaker) refused() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := soon
	if b.state == BreakerOpen {
		wait = max(b.until.Sub(b.clock.Now()), soon)
	}
	return problem.New(problem.ProviderUnavailable, "the provider has not answered for a while; the next attempt is made later").After(wait)
}

// answered tells of the beginning of an answer. Without this, a probe whose answer is a long stream would keep all others
// out until its end.
func (b *breaker) answered() {
	b.mu.Lock()
	probe := b.probe
	b.probe = nil
	b.mu.Unlock()
	if probe != nil {
		probe(Answered)
	}
}

// breakers of the destinations that were used last.
type breakers struct {
	options Options
	mu      sync.Mutex
	known   *lru.Cache // of *breaker
}

func newBreakers(options Options) *breakers {
	return &breakers{options: options, known: lru.NewWithEvictionFunc(options.MaxBreakers, func(_ lru.Key, value any) {
		if b, ok := value.(*breaker); ok {
			b.forget()
		}
	})}
}

func (s *breakers) of(to destination) *breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known.Get(to); ok {
		b, _ := known.(*breaker)
		return b
	}
	b := s.create(to)
	s.known.Add(to, b)
	return b
}

func (s *breakers) create(to destination) *breaker {
	b := &breaker{clock: s.options.Clock, pause: s.options.BreakerPause, state: BreakerClosed}
	if s.options.BreakerChanged != nil {
		b.changed = func(state BreakerState) { s.options.BreakerChanged(to.application, to.host, state) }
	}
	failures := s.options.BreakerFailures
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       b.pause,
		ReadyToTrip:   func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= failures },
		OnStateChange: b.moved,
		IsExcluded:    func(err error) bool { return errors.Is(err, errNeutral) },
	})
	return b
}
