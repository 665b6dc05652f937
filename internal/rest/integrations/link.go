// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// Parameters of GET connect.
const (
	// ParameterShared is true for the connection of all; default false.
	ParameterShared = "shared"
	// ParameterDisplayName is the name of a connection that is made.
	ParameterDisplayName = "displayName"
	// ParameterScopes are those of a connection that is made, separated by spaces.
	ParameterScopes = "scopes"
)

// invitationKept is how long the name of a request for a link is taken: asking again within that is the same request.
const invitationKept = time.Minute

// AuthorizationLink is the body of the answer to GET connect; its Location says the same.
type AuthorizationLink struct {
	// AuthorizationURL is where a person goes to authorize.
	AuthorizationURL string `json:"authorizationUrl" format:"uri" description:"Where a person goes to authorize: the page of the gateway that leads to the provider."`
}

// Invite answers GET /api/integrations/{id}/connect: 302 to the gateway's page for the caller's connection, or the shared one,
// which is made if there is none. The browser has to begin there, so that it is bound to the login.
func (h *Handler) Invite(w http.ResponseWriter, r *http.Request) error {
	if _, err := visitor(r); err != nil {
		return err
	}
	wanted, err := wishOf(r)
	if err != nil {
		return err
	}
	return h.observed(r, ActionInvite, func(v *visit) error {
		end := h.Clock.NewTimer(linkWithin)
		defer end.Stop()
		if err := h.ensure(r.Context(), v, wanted); err != nil {
			return err
		}
		link, err := h.link(r.Context(), v, end.C())
		if err != nil {
			return h.undo(r.Context(), v, err)
		}
		v.outcome = OutcomeDone
		header := w.Header()
		header.Set("Location", link)
		header.Set("Referrer-Policy", "no-referrer")
		write(w, http.StatusFound, AuthorizationLink{AuthorizationURL: link})
		return nil
	})
}

// wishOf reads the query of GET connect.
func wishOf(r *http.Request) (wish, error) {
	w := wish{selector: selectorOf(r)}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return w, problem.New(problem.InvalidRequest, "the query cannot be read")
	}
	for name, values := range query {
		if len(values) > 1 {
			return w, problem.New(problem.InvalidRequest, "query: %s is given more than once", quoted(name))
		}
		value := values[0]
		switch name {
		case ParameterShared:
			if w.shared, err = strconv.ParseBool(value); err != nil {
				return w, problem.New(problem.InvalidRequest, "query: shared is true or false")
			}
		case ParameterDisplayName:
			w.settings.displayName = &value
		case ParameterScopes:
			w.settings.scopes = append([]string{}, strings.Fields(value)...)
		default:
			return w, problem.New(problem.InvalidRequest, "query: there is no parameter %s", quoted(name))
		}
	}
	return w, w.settings.check()
}

// quoted shows what a caller sent, at a bounded length.
func quoted(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.QuoteToASCII(text)
}

// link waits for the way to the gateway. The controller gives one by itself while the connection has to be authorized;
// otherwise it is asked for one.
func (h *Handler) link(ctx context.Context, v *visit, end <-chan time.Time) (string, error) {
	var link string
	var held *v1alpha1.OAuthConnection // As it was last seen.
	asked := false
	found, err := h.await(ctx, v.connection.UID, end, func(c *v1alpha1.OAuthConnection) (bool, error) {
		if c == nil {
			return false, gone(held)
		}
		held, v.connection = c, c
		if err := h.impossible(c); err != nil {
			return false, err
		}
		if h.leads(c) {
			link = c.Status.AuthorizationURL
			return true, nil
		}
		if !asked && seen(c) && unfinished(c) == nil {
			asked = true
			return false, h.invite(ctx, v)
		}
		return false, nil
	})
	switch {
	case err != nil || found:
		return link, err
	case held != nil && seen(held) && paused(held) != nil:
		return "", paused(held)
	}
	return "", problem.New(problem.ClusterUnavailable, "the controller has not made a link for connection %s yet",
		client.ObjectKeyFromObject(v.connection)).After(later)
}

// leads tells whether the link of a connection leads there: the gateway judges it in the same way.
func (h *Handler) leads(c *v1alpha1.OAuthConnection) bool {
	_, err := ticket.Check(c, ticket.Of(c), h.Clock.Now())
	return err == nil
}

// impossible finds why there will be no link; nil: there may be one.
func (h *Handler) impossible(c *v1alpha1.OAuthConnection) error {
	if p := standing(c); p != nil {
		return p
	}
	if !seen(c) || h.leads(c) {
		return nil
	}
	if p := forbidden(c); p != nil {
		return p
	}
	if p := linkless(c, h.Directory.ApplicationNamed(applicationOf(c))); p != nil {
		return p
	}
	return nil
}

// gone ends the wait for a connection that was there and is no more; one that was never seen is only not known yet.
func gone(held *v1alpha1.OAuthConnection) error {
	if held == nil {
		return nil
	}
	return departing(client.ObjectKeyFromObject(held))
}

// invite asks the controller for a link. A link dies with the spec and with each authorization, so another may be asked for
// then.
func (h *Handler) invite(ctx context.Context, v *visit) error {
	m := h.message(v)
	m.KeepUntil, m.Invitation = m.ReceivedAt.Add(invitationKept), &pending.Invitation{}
	authorized := ""
	if at := v.connection.Status.LastAuthorizedAt; at != nil {
		authorized = at.UTC().Format(time.RFC3339)
	}
	return h.send(ctx, m, string(v.connection.UID), strconv.FormatInt(v.connection.Generation, 10), authorized)
}

// message is one about the connection.
func (h *Handler) message(v *visit) pending.Message {
	m := pending.Message{
		Connection: client.ObjectKeyFromObject(v.connection), ConnectionUID: v.connection.UID,
		Application: v.integration.Name, ReceivedAt: h.Clock.Now(),
	}
	if v.integration.Application != nil {
		m.ApplicationUID = v.integration.Application.UID
	}
	return m
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, content any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content) // Whoever asks sees that it broke off.
}
