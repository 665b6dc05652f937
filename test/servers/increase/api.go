// SPDX-License-Identifier: Apache-2.0

package increase

import (
	"encoding/base32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// caller is who sent a request: the platform, or the user behind a connection.
type caller struct {
	connection *connection // nil: the platform
}

func (c caller) group() string {
	if c.connection == nil {
		return "group_platform"
	}
	return c.connection.GroupID
}

// authenticate knows the platform by its key and users by their tokens. A key
// of the other environment is told from one that nobody has.
func (e *Environment) authenticate(x *exchange) (caller, *answer) {
	key := record.Bearer(x.r)
	other := e.server.Production
	if !e.sandbox {
		other = e.server.Sandbox
	}
	var refused answer
	switch c := e.ledger.tokens[key]; {
	case key == e.key:
		return caller{}, nil
	case key == other.key:
		refused = refuse(http.StatusForbidden, "environment_mismatch_error", "The API key belongs to the other environment.")
	case c == nil || !c.alive():
		refused = refuse(http.StatusUnauthorized, "invalid_api_key_error", "There is no such API key.")
	case c.readOnly && x.r.Method != http.MethodGet:
		refused = forbidden()
	default:
		return caller{connection: c}, nil
	}
	return caller{}, &refused
}

// platform lets nobody pass but the platform.
func (e *Environment) platform(x *exchange) *answer {
	c, refused := e.authenticate(x)
	if refused == nil && c.connection != nil {
		a := forbidden()
		refused = &a
	}
	return refused
}

func forbidden() answer {
	return refuse(http.StatusForbidden, "insufficient_permissions_error", "The API key may not do this.")
}

func (e *Environment) listConnections(x *exchange) answer {
	if refused := e.platform(x); refused != nil {
		return *refused
	}
	wanted, refused := statuses(x, []string{Active}, Active, Inactive)
	if refused != nil {
		return *refused
	}
	application, filtered := x.query.Get("oauth_application_id"), x.query.Has("oauth_application_id")
	if filtered && !bounded(application) {
		return invalid("oauth_application_id", "must have 1 to 200 characters")
	}
	return e.page(x, len(e.ledger.connections), func(i int) (map[string]any, bool) {
		c := e.ledger.connections[i]
		return c.fields(), slices.Contains(wanted, c.Status) && (!filtered || c.ApplicationID == application)
	})
}

func (e *Environment) listApplications(x *exchange) answer {
	if refused := e.platform(x); refused != nil {
		return *refused
	}
	wanted, refused := statuses(x, []string{Active, Deleted}, Active, Deleted)
	if refused != nil {
		return *refused
	}
	return e.page(x, len(e.server.applications), func(i int) (map[string]any, bool) {
		a := e.server.applications[i]
		return a.fields(), slices.Contains(wanted, a.status())
	})
}

func (e *Environment) getConnection(x *exchange) answer {
	if refused := e.platform(x); refused != nil {
		return *refused
	}
	id := x.r.PathValue("id")
	if !bounded(id) {
		return invalid("oauth_connection_id", "must have 1 to 200 characters")
	}
	for _, c := range e.ledger.connections {
		if c.ID == id {
			return answer{status: http.StatusOK, fields: c.fields()}
		}
	}
	return notFound()
}

func (e *Environment) getApplication(x *exchange) answer {
	if refused := e.platform(x); refused != nil {
		return *refused
	}
	id := x.r.PathValue("id")
	if !bounded(id) {
		return invalid("oauth_application_id", "must have 1 to 200 characters")
	}
	for _, a := range e.server.applications {
		if a.ID == id {
			return answer{status: http.StatusOK, fields: a.fields()}
		}
	}
	return notFound()
}

// statuses reads the comma-separated filter status.in.
func statuses(x *exchange, byDefault []string, known ...string) ([]string, *answer) {
	if !x.query.Has("status.in") {
		return byDefault, nil
	}
	wanted := strings.Split(x.query.Get("status.in"), ",")
	for _, one := range wanted {
		if !slices.Contains(known, one) {
			a := invalid("status.in", "must be of "+strings.Join(known, ", "))
			return nil, &a
		}
	}
	return wanted, nil
}

// page answers with part of a list of n objects, the newest first. The cursor
// is the position of the last object that was seen, counted from the oldest, so
// that what is added meanwhile moves nothing.
func (e *Environment) page(x *exchange, n int, at func(i int) (fields map[string]any, wanted bool)) answer {
	limit, start := MaxLimit, n
	if x.query.Has("limit") {
		said, err := strconv.Atoi(x.query.Get("limit"))
		if err != nil || said < 1 || said > MaxLimit {
			return invalid("limit", "must be a number from 1 to 100")
		}
		limit = said
	}
	if x.query.Has("cursor") {
		said, ok := readCursor(x.query.Get("cursor"))
		if !ok || said > n {
			return invalid("cursor", "is not one of this list's")
		}
		start = said
	}
	limit = min(limit, e.server.pageSize)
	data := []map[string]any{}
	var next any
	for i := start - 1; i >= 0; i-- {
		fields, wanted := at(i)
		if !wanted {
			continue
		}
		if len(data) == limit {
			next = cursor(i + 1)
			break
		}
		data = append(data, fields)
	}
	return answer{status: http.StatusOK, fields: map[string]any{"data": data, "next_cursor": next}}
}

func cursor(position int) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte("before:" + strconv.Itoa(position))))
}

func readCursor(value string) (int, bool) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(value))
	if err != nil {
		return 0, false
	}
	number, found := strings.CutPrefix(string(raw), "before:")
	position, err := strconv.Atoi(number)
	return position, found && err == nil && position >= 0
}

func bounded(id string) bool {
	n := utf8.RuneCountInString(id)
	return n >= 1 && n <= maxText
}

func (c *connection) fields() map[string]any {
	return map[string]any{
		"id":                   c.ID,
		"created_at":           c.CreatedAt.UTC().Format(time.RFC3339),
		"deleted_at":           orNull(c.DeletedAt),
		"group_id":             c.GroupID,
		"oauth_application_id": c.ApplicationID,
		"status":               c.Status,
		"type":                 "oauth_connection",
	}
}

func (a *application) fields() map[string]any {
	fields := map[string]any{
		"id":         a.ID,
		"client_id":  a.ClientID,
		"created_at": a.created.UTC().Format(time.RFC3339),
		"deleted_at": orNull(a.deleted),
		"name":       nil,
		"status":     a.status(),
		"type":       "oauth_application",
	}
	if a.Name != "" {
		fields["name"] = a.Name
	}
	return fields
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// account is what the API is there for, as far as a client of the tests needs
// it.
type account struct {
	id, group, name string
	created         time.Time
}

// accounts lists the accounts of the caller's organisation, or opens one.
func (e *Environment) accounts(x *exchange) answer {
	who, refused := e.authenticate(x)
	if refused != nil {
		return *refused
	}
	switch x.r.Method {
	case http.MethodGet:
		own := []account{{id: "account_" + who.group(), group: who.group(), name: "Operating", created: e.server.started}}
		for _, a := range e.ledger.accounts {
			if a.group == who.group() {
				own = append(own, a)
			}
		}
		return e.page(x, len(own), func(i int) (map[string]any, bool) { return own[i].fields(), true })
	case http.MethodPost:
		if x.fault != nil {
			return *x.fault
		}
		if !bounded(x.said("name")) {
			return invalid("name", "must be a string of 1 to 200 characters")
		}
		made := account{id: text("account_"), group: who.group(), name: x.said("name"), created: e.server.clock.Now()}
		e.ledger.accounts = append(e.ledger.accounts, made)
		return answer{status: http.StatusOK, fields: made.fields()}
	}
	return noSuchMethod()
}

func (a account) fields() map[string]any {
	return map[string]any{
		"id": a.id, "name": a.name, "status": "open", "type": "account",
		"created_at": a.created.UTC().Format(time.RFC3339),
	}
}
