// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
)

const (
	// defaultSize holds a token bucket for each of 32,768 keys, which takes about 10 MB.
	defaultSize = 1 << 15
	// newcomers is as many clients' share of requests as all unknown keys get together while every bucket is in use.
	newcomers = 64
)

// Options of a Limiter.
type Options struct {
	// PerSecond is how many requests a key may make in the long run; 0 or less: no limit.
	PerSecond float64
	// Burst is how many it may make at once; at least 1.
	Burst int
	// Size bounds how many keys are remembered; default 32,768.
	Size int
	// Clock tells the time; default: the real one.
	Clock clock.PassiveClock
}

// Limiter allows each key a number of requests in a second, and some at once. It is safe for concurrent use.
//
// What it remembers is bounded, so there is a choice to make when more keys are in use than it remembers: an attacker with
// many addresses must neither grow it, nor be counted anew because others pushed their bucket out, nor push out everybody
// else's. So the key that was seen longest ago makes room for an unknown one only in two cases. When its bucket has filled up
// again, nothing is lost with it: this is what happens at all usual times. Otherwise the unknown key's request is paid
// from one bucket that all unknown keys share, 64 times as large as a key's own, and the new key begins with an empty
// bucket. Together no more requests come through than Size + 64 well-behaved clients could make, and buckets are lost at
// no more than 64 times a key's rate. The price: during an attack from more than Size networks at once, clients that come
// for the first time, or have been away for as long as it takes so many to pass, compete with the attacker for the shared
// bucket and may be refused, while those who keep coming go on.
type Limiter struct {
	limit rate.Limit
	burst int
	size  int
	clock clock.PassiveClock

	mu sync.Mutex
	// buckets by key; each a *rate.Limiter.
	buckets *lru.Cache
	// evicted is the bucket that made room last.
	evicted *rate.Limiter
	// shared is the bucket of unknown keys.
	shared *rate.Limiter
}

// New makes a Limiter that knows no key.
func New(o Options) *Limiter {
	l := &Limiter{limit: rate.Limit(o.PerSecond), burst: max(o.Burst, 1), size: o.Size, clock: o.Clock}
	if l.size <= 0 {
		l.size = defaultSize
	}
	if l.clock == nil {
		l.clock = clock.RealClock{}
	}
	l.shared = rate.NewLimiter(newcomers*l.limit, newcomers*l.burst)
	l.buckets = lru.NewWithEvictionFunc(l.size, func(_ lru.Key, value any) { l.evicted, _ = value.(*rate.Limiter) })
	return l
}

// Allow counts a request of a key. When it is refused, retryAfter is how long the key has to wait, at least; it is 0
// otherwise. What is refused is not counted.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) { return l.AllowN(key, 1) }

// AllowN counts n requests of a key, all or none. More than Burst count as Burst.
func (l *Limiter) AllowN(key string, n int) (ok bool, retryAfter time.Duration) {
	if l.limit <= 0 {
		return true, 0
	}
	n = min(max(n, 1), l.burst)
	hashed := sha256.Sum256([]byte(key)) // Keys come from outside: each takes the same room.
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if value, known := l.buckets.Get(hashed); known {
		if bucket, is := value.(*rate.Limiter); is {
			return take(bucket, now, n)
		}
	}
	bucket := rate.NewLimiter(l.limit, l.burst)
	if l.buckets.Len() < l.size {
		l.buckets.Add(hashed, bucket)
		return take(bucket, now, n)
	}
	return l.displace(hashed, bucket, now, n)
}

// displace makes room for an unknown key, if it may.
func (l *Limiter) displace(key [sha256.Size]byte, bucket *rate.Limiter, now time.Time, n int) (ok bool, retryAfter time.Duration) {
	payment := l.shared.ReserveN(now, n)
	if wait := payment.DelayFrom(now); wait > 0 {
		payment.CancelAt(now)
		return false, wait
	}
	l.buckets.Add(key, bucket)
	if l.evicted == nil || l.evicted.TokensAt(now) >= float64(l.burst) {
		payment.CancelAt(now) // Nothing is lost.
		return take(bucket, now, n)
	}
	bucket.AllowN(now, l.burst)
	return true, 0
}

func take(bucket *rate.Limiter, now time.Time, n int) (ok bool, retryAfter time.Duration) {
	reservation := bucket.ReserveN(now, n)
	wait := reservation.DelayFrom(now)
	if wait <= 0 {
		return true, 0
	}
	reservation.CancelAt(now)
	return false, wait
}
