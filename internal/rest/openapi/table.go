// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/swaggest/openapi-go/openapi31"

	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// Tags of operations.
const (
	tagConnections  = "connections"
	tagApplications = "applications"
	tagIntegrations = "integrations"
	tagProxy        = "proxy"
	tagDescription  = "description"
)

func tags() []openapi31.Tag {
	tag := func(name, text string) openapi31.Tag {
		return *(&openapi31.Tag{}).WithName(name).WithDescription(text)
	}
	return []openapi31.Tag{
		tag(tagConnections, "The connections that the caller sees, in pages."),
		tag(tagApplications, "The applications that the caller sees, in pages."),
		tag(tagIntegrations, "The caller's connection at an application, or the shared one: authorize it, look at it, delete it."),
		tag(tagProxy, "Requests to a provider's API through a connection. The token is put in here."),
		tag(tagDescription, "This document."),
	}
}

// Operations are all that the API serves, in the order of the document.
func Operations() []Operation {
	return slices.Concat(lists(), connects(), connections(), requests(), []Operation{{
		Method: http.MethodGet, Path: Path, ID: "getDescription", Tag: tagDescription, Summary: "This document.", Public: true,
		Answers: []Answer{{Status: http.StatusOK, Description: "A document of OpenAPI 3.1.", Body: map[string]any{}}},
	}})
}

func lists() []Operation {
	page := func(body any) []Answer {
		return []Answer{{Status: http.StatusOK, Description: "A page, in the order of creation.", Body: body}}
	}
	one := func(body any) []Answer {
		return []Answer{{Status: http.StatusOK, Description: "The object.", Body: body}}
	}
	wrong := []problem.Code{problem.InvalidRequest}
	hidden := []problem.Code{problem.Forbidden, problem.NotFound}
	return []Operation{{
		Method: http.MethodGet, Path: "/oauth_connections", ID: "listConnections", Tag: tagConnections,
		Summary: "List connections, without a filter the active ones.", Parameters: connectionsQuery{},
		Answers: page(represent.Page[represent.Connection]{}), Problems: wrong,
	}, {
		Method: http.MethodGet, Path: "/oauth_connections/{id}", ID: "getConnection", Tag: tagConnections,
		Summary: "Retrieve a connection, whatever its status.", Parameters: objectID{}, Answers: one(represent.Connection{}),
		Problems: append(hidden, problem.ConnectionAmbiguous),
	}, {
		Method: http.MethodGet, Path: "/api/v1/oauth/connections", ID: "listAllConnections", Tag: tagConnections,
		Summary: "List connections, without a filter those of every status.", Parameters: allConnectionsQuery{},
		Answers: page(represent.Page[represent.Connection]{}), Problems: wrong,
	}, {
		Method: http.MethodGet, Path: "/oauth_applications", ID: "listApplications", Tag: tagApplications,
		Summary: "List applications, without a filter those that are not deleted.", Parameters: applicationsQuery{},
		Answers: page(represent.Page[represent.Application]{}), Problems: wrong,
	}, {
		Method: http.MethodGet, Path: "/oauth_applications/{id}", ID: "getApplication", Tag: tagApplications,
		Summary: "Retrieve an application, whatever its status.", Parameters: objectID{}, Answers: one(represent.Application{}), Problems: hidden,
	}}
}

func connects() []Operation {
	const path = "/api/integrations/{id}/connect"
	common := []problem.Code{
		problem.InvalidRequest, problem.Forbidden, problem.NotFound, problem.ConnectionAmbiguous, problem.ConnectionNotReady,
		problem.NoAuthorization, problem.TooLarge,
	}
	return []Operation{{
		Method: http.MethodGet, Path: path, ID: "connect", Tag: tagIntegrations, Parameters: inviteQuery{},
		Summary: "Send a person to authorize the caller's connection, or the shared one.",
		Description: "The connection is made if there is none. The browser has to open the link itself, so that the login is bound to " +
			"it. Settings that differ from those of a connection that exists are refused.",
		Answers: []Answer{{
			Status: http.StatusFound, Description: "Where the person goes.", Body: integrations.AuthorizationLink{}, Headers: linkHeaders{},
		}},
		Problems: common,
	}, {
		Method: http.MethodPost, Path: path, ID: "authorize", Tag: tagIntegrations, Parameters: selected{}, Body: integrations.ConnectRequest{},
		Summary: "Authorize the caller's connection, or the shared one, with a code or a refresh token.",
		Description: "The connection is made if there is none. Sending the same code or refresh token again is the same login, and is " +
			"answered with its outcome; a refresh token that came to nothing without being used is brought anew. Settings that differ from those of a connection that exists are refused.",
		Answers: []Answer{{
			Status: http.StatusCreated, Description: "The connection; its token works.", Body: represent.IntegrationConnection{}, Headers: placeHeaders{},
		}, {
			Status: http.StatusAccepted, Description: "The connection; whether its token works is not known yet.",
			Body: represent.IntegrationConnection{}, Headers: placeHeaders{},
		}},
		Problems: append([]problem.Code{
			problem.UnsupportedMediaType, problem.AuthorizationRefused, problem.AccountMismatch, problem.ConnectionInactive,
			problem.ProviderUnreachable, problem.RateLimited,
		}, common...),
	}}
}

func connections() []Operation {
	const path = "/api/integrations/{id}/connection"
	hidden := []problem.Code{problem.Forbidden, problem.NotFound, problem.ConnectionAmbiguous}
	return []Operation{{
		Method: http.MethodGet, Path: path, ID: "getIntegrationConnection", Tag: tagIntegrations, Parameters: selected{},
		Summary:  "Retrieve the caller's connection, else the shared one.",
		Answers:  []Answer{{Status: http.StatusOK, Description: "The connection.", Body: represent.IntegrationConnection{}}},
		Problems: hidden,
	}, {
		Method: http.MethodDelete, Path: path, ID: "deleteIntegrationConnection", Tag: tagIntegrations, Parameters: selected{},
		Summary: "Delete the caller's connection, else the shared one, and revoke its tokens.",
		Description: "Its owner may, and who may delete connections in all namespaces. Name the connection in the header where you may " +
			"delete shared ones too: without your own, the shared one is meant.",
		Answers: []Answer{{Status: http.StatusNoContent, Description: "It is gone."}, {
			Status: http.StatusAccepted, Description: "It is being deleted, and not gone yet.", Body: represent.IntegrationConnection{}, Headers: placeHeaders{},
		}},
		Problems: append([]problem.Code{problem.InvalidRequest}, hidden...),
	}, {
		Method: http.MethodGet, Path: integrations.PathList, ID: "listOwnConnections", Tag: tagIntegrations, Parameters: ownQuery{},
		Summary:  "List the connections that the caller owns, in HAL.",
		Answers:  []Answer{{Status: http.StatusOK, Description: "A page of connections.", Body: represent.IntegrationConnections{}}},
		Problems: []problem.Code{problem.InvalidRequest},
	}}
}

// requests are the request proxy: one operation that says in JSON what to send, and one of every method whose path, query and
// body are sent as they are.
func requests() []Operation {
	const path = "/api/integrations/{id}/request"
	problems := []problem.Code{
		problem.InvalidRequest, problem.Forbidden, problem.HostNotAllowed, problem.NotFound, problem.MethodNotAllowed,
		problem.ConnectionAmbiguous, problem.ConnectionInactive, problem.ConnectionNotReady, problem.NoAPIBaseURL,
		problem.TooLarge, problem.UnsupportedMediaType, problem.RateLimited, problem.EgressRefused, problem.ProviderUnreachable,
		problem.ProviderUnavailable, problem.RefreshFailed, problem.ProviderTimeout, problem.RefreshTimeout,
	}
	all := []Operation{{
		Method: http.MethodPost, Path: path, ID: "request", Tag: tagProxy, Parameters: proxied{}, Body: proxyRequest{},
		Summary:  "Send a request, described in JSON, to the provider's API.",
		Problems: problems, Proxied: true,
	}}
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		all = append(all, Operation{
			Method: method, Path: path + "/{path}", ID: "request" + method[:1] + strings.ToLower(method[1:]), Tag: tagProxy,
			Parameters: proxiedByPath{}, BodyAny: method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch,
			Summary:  "Send a " + method + " request to the provider's API; path, query, headers and body go as they are.",
			Problems: problems, Proxied: true,
		})
	}
	return all
}
