// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// simulation steps time along what Decide asks for, with a provider that the test scripts.
type simulation struct {
	t     *testing.T
	facts lifecycle.Facts
	now   time.Time
	// provider answers a call, or refuses it; took is how long that takes.
	provider func(call lifecycle.Call, record *lifecycle.Record) (answer *lifecycle.Tokens, refusal lifecycle.Refusal, took time.Duration)
	// heard tells whether the process lives long enough to write the outcome of a call; nil: always.
	heard func() bool
	// observe sees every step, before what was decided is done.
	observe func(d lifecycle.Decision)
	calls   map[lifecycle.Action]int
}

// run goes on until a time, at most steps decisions.
func (s *simulation) run(until time.Time, steps int) {
	s.t.Helper()
	s.calls = map[lifecycle.Action]int{}
	for range steps {
		d := lifecycle.Decide(s.facts, s.now)
		if s.observe != nil {
			s.observe(d)
		}
		switch d.Action {
		case lifecycle.Wait:
			if d.At.IsZero() || d.At.After(until) {
				s.now = until
				return
			}
			s.now = d.At
		case lifecycle.VerifyMark:
			s.facts.Record = lifecycle.Interrupted(s.facts.Record, s.facts.Basis, s.now)
		case lifecycle.Remember:
			s.facts.Record = lifecycle.Remembered(s.facts.Record, s.facts.Input, s.facts.RefreshRequest)
		case lifecycle.Settle:
			s.facts.Record = lifecycle.Settled(s.facts.Record, s.now)
		case lifecycle.Exchange, lifecycle.Import, lifecycle.Issue, lifecycle.Refresh:
			s.call(d.Action)
		default:
			s.t.Fatalf("unexpected %s", d.Action)
		}
	}
	s.t.Fatalf("at %s after %d steps: spinning", s.now, steps)
}

func (s *simulation) call(action lifecycle.Action) {
	s.calls[action]++
	call := lifecycle.Call{Action: action, ID: fmt.Sprint("call-", s.calls), Basis: s.facts.Basis, UID: uid, SentAt: s.now}
	if action == lifecycle.Exchange || action == lifecycle.Import {
		call.InputHash, call.InputVersion = s.facts.Input.Hash, s.facts.Input.Version
	}
	record := s.facts.Record
	if record == nil {
		record = empty()
	}
	record = lifecycle.Begin(record, call, s.facts.Process, s.facts.RefreshRequest)
	given, refusal, took := s.provider(call, record)
	s.now = s.now.Add(took)
	switch {
	case s.heard != nil && !s.heard():
		// The process dies, and its successor sees the mark.
		record.Attempt.Process, s.facts.MarkSeenAt = foreign, s.now
		s.facts.Record = record
	case given != nil:
		s.facts.Record = lifecycle.Succeeded(record, call, *given, s.now)
	default:
		s.facts.Record = lifecycle.Failed(record, call, refusal, never(), s.now)
	}
}

// generous answers every call at once with tokens of a lifetime, and rotates.
func generous(lifetime time.Duration) func(lifecycle.Call, *lifecycle.Record) (*lifecycle.Tokens, lifecycle.Refusal, time.Duration) {
	n := 0
	return func(call lifecycle.Call, _ *lifecycle.Record) (*lifecycle.Tokens, lifecycle.Refusal, time.Duration) {
		n++
		given := answer(fmt.Sprint("refresh-", n), call.SentAt)
		given.AccessToken = sensitive.New(fmt.Sprint("access-", n))
		given.GrantType, given.RequestedScopes = lifecycle.AuthorizationCode, []string{"read"}
		given.Expiry.At = call.SentAt.Add(lifetime)
		return &given, lifecycle.Refusal{}, 100 * time.Millisecond
	}
}

// TestSimulateLifetimes lets a healthy provider's tokens live for a while: refreshed as often as the schedule says, and
// never expired.
func TestSimulateLifetimes(t *testing.T) {
	for _, tc := range []struct {
		lifetime, duration time.Duration
		before             string
		least, most        int
		reason             string
	}{
		{lifetime: time.Hour, duration: 240 * time.Hour, least: 299, most: 308, reason: "every 46:48 to 48 minutes for ten days"},
		{lifetime: time.Hour, duration: 240 * time.Hour, before: "99%", least: 2390, most: 2400, reason: "every 6 minutes at most, whatever the settings say"},
		{lifetime: 10 * time.Second, duration: time.Hour, least: 700, most: 800, reason: "every 4.5 to 5 seconds for an hour"},
		{lifetime: time.Second, duration: time.Minute, least: 110, most: 134, reason: "every half second for a minute"},
		{lifetime: 90 * 24 * time.Hour, duration: 365 * 24 * time.Hour, least: 5, most: 5, reason: "every 72 days, less up to 1.8"},
	} {
		margin, err := lifecycle.ParseMargin(tc.before)
		if err != nil {
			t.Fatal(err)
		}
		s := &simulation{t: t, facts: about(nil), now: issued(), provider: generous(tc.lifetime)}
		s.facts.Margin = margin
		s.observe = func(lifecycle.Decision) {
			if r := s.facts.Record; r.Held() && r.Expiry.Passed(s.now) {
				t.Fatalf("lifetime %s: expired at %s", tc.lifetime, s.now)
			}
		}
		s.run(issued().Add(tc.duration), 20000)
		if s.calls[lifecycle.Exchange] != 1 {
			t.Errorf("lifetime %s: the code was sent %d times", tc.lifetime, s.calls[lifecycle.Exchange])
		}
		if n := s.calls[lifecycle.Refresh]; n < tc.least || n > tc.most {
			t.Errorf("lifetime %s, before %q: %d refreshes in %s, want %d to %d: %s", tc.lifetime, tc.before, n, tc.duration, tc.least, tc.most, tc.reason)
		}
	}
}

func TestSimulateOddExpiries(t *testing.T) {
	for _, tc := range []struct {
		kind        lifecycle.ExpiryKind
		least, most int
	}{{lifecycle.ExpiryNever, 0, 0}, {lifecycle.ExpiryUnknown, 239, 267}} {
		healthy := generous(time.Hour)
		s := &simulation{t: t, facts: about(nil), now: issued()}
		s.provider = func(call lifecycle.Call, r *lifecycle.Record) (*lifecycle.Tokens, lifecycle.Refusal, time.Duration) {
			given, refusal, took := healthy(call, r)
			given.Expiry = lifecycle.Expiry{Kind: tc.kind}
			return given, refusal, took
		}
		s.run(after(240*time.Hour), 2000)
		if n := s.calls[lifecycle.Refresh]; n < tc.least || n > tc.most {
			t.Errorf("expiry %q: %d refreshes in ten days, want %d to %d", tc.kind, n, tc.least, tc.most)
		}
	}
}

// TestSimulateOutage : the provider is away for two hours. The token stays ready until it really expires, the provider
// is not hammered, and the grant is alive again when the provider is.
func TestSimulateOutage(t *testing.T) {
	healthy, gone, back := generous(time.Hour), after(30*time.Minute), after(150*time.Minute)
	s := &simulation{t: t, facts: about(nil), now: issued()}
	s.provider = func(call lifecycle.Call, r *lifecycle.Record) (*lifecycle.Tokens, lifecycle.Refusal, time.Duration) {
		if !call.SentAt.Before(gone) && call.SentAt.Before(back) {
			return nil, away(), time.Second
		}
		return healthy(call, r)
	}
	s.observe = func(lifecycle.Decision) {
		r := s.facts.Record
		if !r.Held() {
			return
		}
		summary := lifecycle.Describe(s.facts, published(), s.now)
		if ready := summary.Ready.Status == lifecycle.True; ready == r.Expiry.Passed(s.now) || summary.Phase != lifecycle.Active {
			t.Fatalf("at %s: phase %s, Ready %t, expired %t", s.now, summary.Phase, ready, r.Expiry.Passed(s.now))
		}
	}
	s.run(back, 1000)
	if n := s.calls[lifecycle.Refresh]; n < 15 || n > 40 {
		t.Errorf("%d attempts in the outage; a backoff up to five minutes makes some 25", n)
	}
	s.run(back.Add(7*time.Minute), 1000)
	if r := s.facts.Record; r.Failure != nil || r.Expiry.Passed(s.now) {
		t.Errorf("seven minutes after the provider came back: %+v", r.Failure)
	}
}

// rotating is a provider with reuse detection: a refresh token that is sent again kills the whole grant.
type rotating struct {
	t         *testing.T
	d         dice
	valid     string
	access    time.Time // until when the last access token works
	n, reused int
	codes     map[string]bool
	dead      bool
	// resent tells that the grant died by a token that was sent again while an access token still worked.
	resentEarly bool
}

func (p *rotating) answer(call lifecycle.Call, r *lifecycle.Record) (*lifecycle.Tokens, lifecycle.Refusal, time.Duration) {
	took := time.Duration(p.d.IntN(9000)) * time.Millisecond
	switch chance := p.d.IntN(100); {
	case chance < 15:
		return nil, away(), took
	case chance < 20:
		return nil, invalidClient(), took
	case chance < 25:
		return nil, unclear(), took
	case chance < 30:
		return nil, cutOff(), took // Never arrived.
	}
	if call.Action == lifecycle.Exchange {
		if p.codes[call.InputHash] {
			p.t.Fatalf("code %s arrived twice", call.InputHash)
		}
		p.codes[call.InputHash], p.dead = true, false
	} else if sent := r.RefreshToken.Reveal(); p.dead || sent != p.valid {
		p.resentEarly = p.resentEarly || (!p.dead && p.known(r) && p.access.Sub(call.SentAt) > 30*time.Second)
		p.reused, p.dead = p.reused+1, true
		return nil, invalidGrant(), took
	}
	p.n++
	given := answer(fmt.Sprint("refresh-", p.n), call.SentAt)
	given.AccessToken = sensitive.New(fmt.Sprint("access-", p.n))
	given.GrantType, given.RequestedScopes = lifecycle.AuthorizationCode, []string{"read"}
	p.valid = given.RefreshToken.Reveal()
	if p.d.chance(10) {
		return nil, cutOff(), took // Arrived, and the answer is lost.
	}
	p.access = given.Expiry.At
	return &given, lifecycle.Refusal{}, took
}

// known tells whether the access token that the record holds is the last one that was given.
func (p *rotating) known(r *lifecycle.Record) bool { return r.Expiry.At.Equal(p.access) }

// TestSimulateChaos lets everything go wrong at random, crashes included, for two days of one-hour tokens: a code never
// arrives twice, a spent refresh token is never sent while an access token works that its reuse could kill, status is
// never untrue, and a grant ends only by a refusal.
func TestSimulateChaos(t *testing.T) {
	for seed := range uint64(100) {
		d := roll(seed)
		p := &rotating{t: t, d: d, codes: map[string]bool{}}
		s := &simulation{t: t, facts: about(nil), now: issued(), provider: p.answer}
		s.heard = func() bool { return !d.chance(5) }
		s.observe = func(decision lifecycle.Decision) {
			if wrong := objection(s.facts, decision, s.now); wrong != "" {
				t.Fatalf("seed %d at %s: %+v: %s", seed, s.now, decision, wrong)
			}
			if wrong := untruth(s.facts, published(), lifecycle.Describe(s.facts, published(), s.now), s.now); wrong != "" && s.facts.Record.Held() {
				t.Fatalf("seed %d at %s: %s", seed, s.now, wrong)
			}
		}
		for day := range 16 {
			s.run(after(time.Duration(day+1)*3*time.Hour), 3000)
			if p.resentEarly {
				t.Fatalf("seed %d: a spent refresh token was sent while the access token worked", seed)
			}
			mustEndByRefusal(t, s.facts.Record)
			if over(s.facts.Record) {
				code(fmt.Sprint("code-", day+2))(&s.facts) // A person authorizes anew.
			}
		}
	}
}

func over(r *lifecycle.Record) bool {
	return !r.Held() && r.InputFailure != nil && r.InputFailure.Terminal || r.Failure != nil && r.Failure.Terminal
}

// mustEndByRefusal : being away, however often and long, ends no grant.
func mustEndByRefusal(t *testing.T, r *lifecycle.Record) {
	t.Helper()
	if f := r.Failure; f != nil && f.Terminal && f.Reason == "ProviderUnavailable" {
		t.Fatalf("%+v: no grant ends because of a fault", f)
	}
}
