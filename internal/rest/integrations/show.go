// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// PathList is where a caller's connections are listed.
const PathList = "/api/integration-connections"

// Parameters of List.
const (
	// ParameterStart is how many connections to leave out; default 0.
	ParameterStart = "start"
	// ParameterCount is how many to show; default and maximum MaxCount.
	ParameterCount = "count"
	// MaxCount is the most connections on one page.
	MaxCount = 100
)

// List answers GET /api/integration-connections: the connections that the caller owns, in HAL.
func (h *Handler) List(w http.ResponseWriter, r *http.Request) error {
	c, err := visitor(r)
	if err != nil {
		return err
	}
	start, count, err := pageOf(r)
	if err != nil {
		return err
	}
	owned := h.Directory.OwnedBy(c.GetName())
	page := owned[min(start, len(owned)):]
	page = page[:min(count, len(page))]
	ctx, cancel := context.WithTimeout(r.Context(), baseWithin)
	defer cancel()
	shown := make([]represent.LinkedConnection, 0, len(page))
	usual := map[types.NamespacedName]*v1alpha1.OAuthConnection{}
	for _, connection := range page {
		application := h.Directory.ApplicationNamed(applicationOf(connection))
		base := h.base(ctx, connection, application)
		name := applicationOf(connection)
		if _, known := usual[name]; !known {
			usual[name], _ = h.Access.ConnectionOf(ctx, c, access.Integration{Name: name, Application: application}, "") // Whoever owns one needs no right.
		}
		self := place(usual[name], connection, integrationID(connection, application))
		shown = append(shown, h.Representer.LinkedConnection(connection, application, base, self))
	}
	self := PathList + "?" + url.Values{ParameterStart: {strconv.Itoa(start)}, ParameterCount: {strconv.Itoa(count)}}.Encode()
	write(w, http.StatusOK, represent.NewIntegrationConnections(shown, start, len(owned), self))
	return nil
}

// integrationID names the integration of a connection in paths.
func integrationID(c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) string {
	if application != nil {
		return string(application.UID)
	}
	namespace, name := c.ApplicationKey()
	return namespace + "." + name
}

// placeOf is where the caller finds the connection of a visit.
func (h *Handler) placeOf(r *http.Request, v *visit) string {
	usual, err := h.Access.ConnectionOf(r.Context(), v.caller, v.integration, "")
	if err != nil {
		usual = nil
	}
	return place(usual, v.connection, r.PathValue(WildcardID))
}

// place is where a connection is found: at the integration of that id, if it is the usual one, which a caller finds there without
// naming one; else by its UID.
func place(usual, connection *v1alpha1.OAuthConnection, id string) string {
	if usual != nil && usual.UID == connection.UID {
		return "/api/integrations/" + url.PathEscape(id) + "/connection"
	}
	return "/oauth_connections/" + url.PathEscape(string(connection.UID))
}

// pageOf reads the query of List.
func pageOf(r *http.Request) (start, count int, err error) {
	start, count = 0, MaxCount
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, 0, problem.New(problem.InvalidRequest, "the query cannot be read")
	}
	if text := query.Get(ParameterStart); text != "" {
		if start, err = strconv.Atoi(text); err != nil || start < 0 {
			return 0, 0, problem.New(problem.InvalidRequest, "query: start is a number from 0")
		}
	}
	if text := query.Get(ParameterCount); text != "" {
		if count, err = strconv.Atoi(text); err != nil || count < 1 || count > MaxCount {
			return 0, 0, problem.New(problem.InvalidRequest, "query: count is a number from 1 to %d", MaxCount)
		}
	}
	return start, count, nil
}

// represent shows a connection.
func (h *Handler) represent(ctx context.Context, c *v1alpha1.OAuthConnection) represent.IntegrationConnection {
	ctx, cancel := context.WithTimeout(ctx, baseWithin)
	defer cancel()
	application := h.Directory.ApplicationNamed(applicationOf(c))
	return h.Representer.IntegrationConnection(c, application, h.base(ctx, c, application))
}

// base is where the API of a connection begins; empty: that is not known now. One that consists of the connection's own values
// is read from what its grant is known to have; that is not worth a wait for another token, nor an error.
func (h *Handler) base(ctx context.Context, c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) string {
	if application == nil {
		return ""
	}
	effective, err := h.Catalogue.Effective(&application.Spec)
	if err != nil {
		return ""
	}
	base := string(effective.APIBaseURL)
	if !strings.Contains(base, "{") {
		return base
	}
	if c.Status.Phase != v1alpha1.ConnectionActive || c.DeletionTimestamp != nil || c.Spec.Suspend || h.expired(c) {
		return ""
	}
	held, err := h.Credentials.Get(ctx, c)
	if err != nil || held.Base == nil {
		return ""
	}
	return held.Base.String()
}

func (h *Handler) expired(c *v1alpha1.OAuthConnection) bool {
	at := c.Status.AccessTokenExpiresAt
	return at != nil && !h.Clock.Now().Before(at.Time)
}
