// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// scope holds what one pass knows.
type scope struct {
	log  logr.Logger
	now  time.Time
	name types.NamespacedName

	// connection is nil for a record whose connection is gone.
	connection *v1alpha1.OAuthConnection
	// application is nil when it does not exist.
	application *v1alpha1.OAuthApplication
	// client is nil when it is not known, and profile with it.
	client  *registration.Client
	profile *provider.Profile
	// values fill the placeholders of the profile; nil when they cannot be had.
	values provider.Values
	// entry is nil without a record.
	entry *grant.Entry
	input input
	facts lifecycle.Facts
	// messages are those of the gateway that were not emptied yet, oldest first.
	messages []*message
	// untold : a login waits until status has told how the one before it has ended.
	untold bool
}

// input is the code or refresh token of the spec, when it had to be read.
type input struct {
	value, verifier sensitive.String
	redirectURL     string
	// captured are the values of the callback that came with the code.
	captured map[string]string
}

// key identifies the connection in the queue.
func (s *scope) key() string { return s.facts.UID }

// take goes on with a newer version of the record.
func (s *scope) take(entry *grant.Entry) {
	s.entry = entry
	s.facts.Record = nil
	if entry != nil {
		s.facts.Record = entry.Record
	}
}

// identity of the application that the connection uses.
func (s *scope) applicationName() types.NamespacedName {
	switch {
	case s.client != nil:
		return types.NamespacedName{Namespace: s.client.Application.Namespace, Name: s.client.Application.Name}
	case s.connection != nil:
		namespace, name := s.connection.ApplicationKey()
		return types.NamespacedName{Namespace: namespace, Name: name}
	}
	of := s.entry.Record.Application
	return types.NamespacedName{Namespace: of.Namespace, Name: of.Name}
}

// record returns the stored record, or the first version of one that is not stored yet.
func (s *scope) record() *lifecycle.Record {
	if s.entry != nil {
		return s.entry.Record
	}
	of := s.client.Application
	return &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: s.name.Namespace, Name: s.name.Name, UID: s.facts.UID},
		Application: lifecycle.Identity{Namespace: of.Namespace, Name: of.Name, UID: string(of.UID)},
		Owner:       s.connection.Spec.Owner,
	}
}

// marks remembers when foreign marks were first seen by this process.
type marks struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	attempt string
	at      time.Time
}

// firstSeen notes the mark of a record, if it has one of another process, and returns when it was first seen.
func (m *marks) firstSeen(record *lifecycle.Record, process string, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if record == nil {
		return time.Time{}
	}
	uid := record.Connection.UID
	if record.Attempt == nil || record.Attempt.Process == process {
		delete(m.seen, uid)
		return time.Time{}
	}
	if known, ok := m.seen[uid]; ok && known.attempt == record.Attempt.ID {
		return known.at
	}
	m.seen[uid] = sighting{attempt: record.Attempt.ID, at: now}
	return now
}

func (m *marks) forget(uid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, uid)
}
