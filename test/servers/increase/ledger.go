// SPDX-License-Identifier: Apache-2.0

package increase

import (
	"errors"
	"slices"
	"time"
)

// The two scopes. A read_only token may only make GET requests.
const (
	ReadOnly  = "read_only"
	ReadWrite = "read_write"
)

// The states of connections and applications.
const (
	Active   = "active"
	Inactive = "inactive"
	Deleted  = "deleted"
)

// Grant is a connection as the provider sees it: one consent of one
// organisation.
type Grant struct {
	ID            string // "connection_…"
	GroupID       string
	ApplicationID string
	Status        string // Active or Inactive
	CreatedAt     time.Time
	DeletedAt     time.Time // zero while it lives
}

type application struct {
	Registration

	created, deleted time.Time // deleted: zero while it lives
}

func (a *application) status() string {
	if a.deleted.IsZero() {
		return Active
	}
	return Deleted
}

type connection struct {
	Grant

	readOnly bool
}

func (c *connection) alive() bool { return c.Status == Active && c.DeletedAt.IsZero() }

type code struct {
	connection *connection
	clientID   string
	expires    time.Time
	spent      bool
}

// ledger is what one environment has issued.
type ledger struct {
	connections []*connection // the oldest first
	codes       map[string]*code
	tokens      map[string]*connection
	accounts    []account
}

func newLedger() ledger {
	return ledger{codes: map[string]*code{}, tokens: map[string]*connection{}}
}

// client returns the application with this client id, or nil. Called with mu
// held.
func (s *Server) client(id string) *application {
	for _, a := range s.applications {
		if a.ClientID == id {
			return a
		}
	}
	return nil
}

// connect notes a consent. Called with the server's lock held.
func (e *Environment) connect(group string, a *application, scope string) *connection {
	c := &connection{
		Grant: Grant{
			ID: text("connection_"), GroupID: group, ApplicationID: a.ID,
			Status: Active, CreatedAt: e.server.clock.Now(),
		},
		readOnly: scope == ReadOnly,
	}
	e.ledger.connections = append(e.ledger.connections, c)
	return c
}

// newToken issues an access token, which lives as long as its connection.
// Called with the server's lock held.
func (e *Environment) newToken(c *connection) string {
	token := text("token-")
	e.ledger.tokens[token] = c
	e.Issue(token)
	return token
}

// Connect makes a connection and a token of it without any request, as another
// installation of the same platform would. An unknown client or scope is an
// error.
func (e *Environment) Connect(group, clientID, scope string) (token string, made Grant, err error) {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	a := e.server.client(clientID)
	if a == nil || a.status() != Active {
		return "", Grant{}, errors.New("no such client: " + clientID)
	}
	if scope != ReadOnly && scope != ReadWrite {
		return "", Grant{}, errors.New("no such scope: " + scope)
	}
	c := e.connect(group, a, scope)
	return e.newToken(c), c.Grant, nil
}

// Grants returns every connection that was ever made, the oldest first. It is
// not counted as a request.
func (e *Environment) Grants() []Grant {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	all := make([]Grant, len(e.ledger.connections))
	for i, c := range e.ledger.connections {
		all[i] = c.Grant
	}
	return all
}

// GrantOf returns the connection behind a token, dead ones included. It is not
// counted as a request.
func (e *Environment) GrantOf(token string) (Grant, bool) {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	c := e.ledger.tokens[token]
	if c == nil {
		return Grant{}, false
	}
	return c.Grant, true
}

// Works says whether an access token is alive. It is not counted as a request.
func (e *Environment) Works(token string) bool {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	c := e.ledger.tokens[token]
	return c != nil && c.alive()
}

// Deauthorize does what a user does in the dashboard: the connection becomes
// inactive for good, deleted_at is set, and its tokens are dead.
func (e *Environment) Deauthorize(id string) error {
	return e.end(id, func(c *connection) { c.DeletedAt = e.server.clock.Now() })
}

// Deactivate makes a connection inactive for good and leaves deleted_at null.
// Deauthorize may follow.
func (e *Environment) Deactivate(id string) error {
	return e.end(id, func(*connection) {})
}

func (e *Environment) end(id string, then func(*connection)) error {
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	i := slices.IndexFunc(e.ledger.connections, func(c *connection) bool { return c.ID == id })
	if i < 0 {
		return errors.New("no such connection: " + id)
	}
	e.ledger.connections[i].Status = Inactive
	then(e.ledger.connections[i])
	return nil
}

// DeleteApplication ends an application in both environments, with all its
// connections.
func (s *Server) DeleteApplication(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.applications, func(a *application) bool { return a.ID == id })
	if i < 0 {
		return errors.New("no such application: " + id)
	}
	now := s.clock.Now()
	s.applications[i].deleted = now
	for _, e := range []*Environment{s.Production, s.Sandbox} {
		for _, c := range e.ledger.connections {
			if c.ApplicationID == id && c.DeletedAt.IsZero() {
				c.Status, c.DeletedAt = Inactive, now
			}
		}
	}
	return nil
}
