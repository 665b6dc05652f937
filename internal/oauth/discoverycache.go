package oauth

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// How long a discovery document is kept: what its Cache-Control says, within these bounds.
const (
	minDiscoveryAge     = 5 * time.Minute
	maxDiscoveryAge     = 24 * time.Hour
	defaultDiscoveryAge = time.Hour
	// rereadDelay is the distance between attempts to re-read while an old document serves.
	rereadDelay = time.Minute
	// maxDiscoveryEntries bounds the memory; far more issuers than any installation has.
	maxDiscoveryEntries = 1024
)

// Discovered is metadata and its age.
type Discovered struct {
	Metadata Metadata
	// ReadAt is when the document was read.
	ReadAt time.Time
	// RereadAt is when it will be read again on the next Get.
	RereadAt time.Time
	// Failure is the error of the last attempt to re-read it, nil after a success: then the document is an old one.
	Failure error
	// FailedAt is when that attempt failed.
	FailedAt time.Time
}

// DiscoveryCache keeps discovery documents. A document past its time is read again when it is asked for next; when that
// fails the old one goes on serving. Callers that ask for the same at the same time share one request. Safe for
// concurrent use.
type DiscoveryCache struct {
	caller *Caller
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex
	entries map[discoveryKey]Discovered
}

// discoveryKey includes the trust, or a document could be served that this trust would not have accepted.
type discoveryKey struct{ issuer, trust string }

// NewDiscoveryCache makes an empty cache that reads through the caller and goes by its clock.
func NewDiscoveryCache(caller *Caller) *DiscoveryCache {
	return &DiscoveryCache{caller: caller, now: caller.now, entries: map[discoveryKey]Discovered{}}
}

// Get returns the metadata of an issuer, from the cache while it is fresh. trust identifies what the transport trusts
// (egress.Fingerprint of the CA bundle). An error, an *Error or that of the context, means that there is no document, old
// or new.
func (c *DiscoveryCache) Get(ctx context.Context, transport http.RoundTripper, trust, issuer string) (Discovered, error) {
	key := discoveryKey{issuer: issuer, trust: trust}
	if entry, ok := c.lookup(key); ok && c.now().Before(entry.RereadAt) {
		return entry, nil
	}
	// The request outlives the caller that began it, since others wait for it too; the Caller bounds it in time.
	shared := c.flight.DoChan(trust+" "+issuer, func() (any, error) {
		return c.refresh(context.WithoutCancel(ctx), transport, key)
	})
	select {
	case <-ctx.Done():
		return Discovered{}, ctx.Err()
	case result := <-shared:
		entry, _ := result.Val.(Discovered)
		return entry, result.Err
	}
}

func (c *DiscoveryCache) refresh(ctx context.Context, transport http.RoundTripper, key discoveryKey) (Discovered, error) {
	old, exists := c.lookup(key)
	if exists && c.now().Before(old.RereadAt) {
		return old, nil // Another flight landed between our look-up and this one.
	}
	metadata, age, err := c.caller.discover(ctx, transport, key.issuer)
	now := c.now()
	switch {
	case err == nil:
		if age == 0 {
			age = defaultDiscoveryAge
		}
		age = min(max(age, minDiscoveryAge), maxDiscoveryAge)
		old = Discovered{Metadata: metadata, ReadAt: now, RereadAt: now.Add(age)}
	case exists:
		old.Failure, old.FailedAt, old.RereadAt = err, now, now.Add(rereadDelay)
	default:
		return Discovered{}, err
	}
	c.store(key, old)
	return old, nil
}

func (c *DiscoveryCache) lookup(key discoveryKey) (Discovered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[key]
	return entry, ok
}

// store drops the document that was read longest ago when the cache is full.
func (c *DiscoveryCache) store(key discoveryKey, entry Discovered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; !ok && len(c.entries) >= maxDiscoveryEntries {
		var oldest discoveryKey
		var oldestAt time.Time
		for candidate, kept := range c.entries {
			if oldestAt.IsZero() || kept.ReadAt.Before(oldestAt) {
				oldest, oldestAt = candidate, kept.ReadAt
			}
		}
		delete(c.entries, oldest)
	}
	c.entries[key] = entry
}
