// SPDX-License-Identifier: Apache-2.0

// Package census keeps what the last listing of a provider's connections has shown, for each application: one listing
// answers for all its connections. It lives in memory alone. What follows from it is written elsewhere, and a restart has
// only to wait for the next listing.
package census

import (
	"maps"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Entry is one connection as the provider's list shows it.
type Entry struct {
	// ID is what the provider calls the grant.
	ID string
	// Subject is what the provider calls the account that granted; empty when the list does not tell.
	Subject string
	// Status is the provider's word for its state.
	Status string
	// Active tells whether the grant lives.
	Active bool
	// CreatedAt and DeletedAt are zero when the list does not tell; DeletedAt also while the grant lives.
	CreatedAt, DeletedAt time.Time
}

// Census is one complete listing. Its entries are shared: they are read, never changed.
type Census struct {
	// StartedAt is before the first request of the listing: what was granted or ended later need not show.
	StartedAt time.Time
	// ApplicationID is what the provider calls the application; empty when the list has no need of that.
	ApplicationID string
	Entries       []Entry
}

// Find returns the entry of a grant. With an id, that alone decides, whatever else the account has granted. Without one it
// is an entry of the subject: of those that are active, else of all, the one that began next to the time of the grant;
// without a time, the newest. Entries that ended before that time are other grants'. False: there is none.
func (c Census) Find(id, subject string, grantedAt time.Time) (Entry, bool) {
	if id != "" {
		return c.best(grantedAt, func(e *Entry) bool { return e.ID == id })
	}
	if subject == "" {
		return Entry{}, false
	}
	began := grantedAt.Truncate(time.Second) // Lists give times in whole seconds.
	return c.best(grantedAt, func(e *Entry) bool {
		return e.Subject == subject && (e.DeletedAt.IsZero() || !e.DeletedAt.Before(began))
	})
}

func (c Census) best(grantedAt time.Time, matches func(*Entry) bool) (Entry, bool) {
	var found *Entry
	for i := range c.Entries {
		if entry := &c.Entries[i]; matches(entry) && (found == nil || entry.before(found, grantedAt)) {
			found = entry
		}
	}
	if found == nil {
		return Entry{}, false
	}
	return *found, true
}

// before tells whether an entry speaks for a grant rather than another one.
func (e *Entry) before(other *Entry, grantedAt time.Time) bool {
	distance, otherDistance := e.distance(grantedAt), other.distance(grantedAt)
	switch {
	case e.Active != other.Active:
		return e.Active
	case distance != otherDistance:
		return distance < otherDistance
	case !e.CreatedAt.Equal(other.CreatedAt):
		return e.CreatedAt.After(other.CreatedAt)
	}
	return e.ID > other.ID // Which of two is chosen must not depend on the provider's order.
}

// distance between the beginnings of an entry and of a grant; nothing is near when either is unknown.
func (e *Entry) distance(grantedAt time.Time) time.Duration {
	if grantedAt.IsZero() || e.CreatedAt.IsZero() {
		return math.MaxInt64
	}
	return e.CreatedAt.Sub(grantedAt).Abs()
}

// Unmanaged counts the grants that live and whose ids are not among those given.
func (c Census) Unmanaged(managed map[string]bool) int {
	count := 0
	for i := range c.Entries {
		if entry := &c.Entries[i]; entry.Active && !managed[entry.ID] {
			count++
		}
	}
	return count
}

// SameEntries tells whether two listings show the same, in whatever order.
func (c Census) SameEntries(other Census) bool {
	return c.ApplicationID == other.ApplicationID && len(c.Entries) == len(other.Entries) &&
		maps.EqualFunc(c.byID(), other.byID(), func(a, b Entry) bool { return a.equal(&b) })
}

func (c Census) byID() map[[2]string]Entry {
	all := make(map[[2]string]Entry, len(c.Entries))
	for _, entry := range c.Entries {
		all[[2]string{entry.ID, entry.Subject}] = entry
	}
	return all
}

func (e *Entry) equal(other *Entry) bool {
	return e.ID == other.ID && e.Subject == other.Subject && e.Status == other.Status && e.Active == other.Active &&
		e.CreatedAt.Equal(other.CreatedAt) && e.DeletedAt.Equal(other.DeletedAt)
}

// Store keeps the newest Census of each application. The zero value is empty and ready; it is safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	byUID map[types.UID]Census
}

// Set keeps a census of the application with this UID. An older one than the one that is kept changes nothing.
func (s *Store) Set(application types.UID, c Census) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byUID == nil {
		s.byUID = map[types.UID]Census{}
	}
	if known, ok := s.byUID[application]; ok && known.StartedAt.After(c.StartedAt) {
		return
	}
	s.byUID[application] = c
}

// Get returns the newest census of an application; false: there has been none since the process began.
func (s *Store) Get(application types.UID) (Census, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.byUID[application]
	return c, ok
}

// Forget drops the census of an application that is gone or no longer listed.
func (s *Store) Forget(application types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byUID, application)
}
