// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
)

// How many codes and refresh tokens are taken for one connection: each is a Secret, a call to the provider and an event. Each process
// counts for itself.
const (
	offersEvery = 6 * time.Second // Ten a minute.
	offersBurst = 5
	// pacedConnections and pacedLogins bound what is remembered; the least recently used goes first, and begins anew.
	pacedConnections = 10_000
	pacedLogins      = 4 * pacedConnections
)

// pace bounds how many logins a connection is offered. It is safe for concurrent use.
type pace struct {
	mu sync.Mutex
	// buckets are *rate.Limiters by the connection's UID.
	buckets *lru.Cache
	// counted are the logins that were counted: bringing one again costs nothing.
	counted *lru.Cache
}

func newPace() *pace {
	return &pace{buckets: lru.New(pacedConnections), counted: lru.New(pacedLogins)}
}

// admit counts a login. When it has to wait, it is not counted.
func (p *pace) admit(connection types.UID, login string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.counted.Get(login); again {
		return 0
	}
	known, _ := p.buckets.Get(connection)
	bucket, ok := known.(*rate.Limiter)
	if !ok {
		bucket = rate.NewLimiter(rate.Every(offersEvery), offersBurst)
		p.buckets.Add(connection, bucket)
	}
	reservation := bucket.ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return wait
	}
	p.counted.Add(login, nil)
	return 0
}
