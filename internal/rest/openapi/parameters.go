// SPDX-License-Identifier: Apache-2.0

package openapi

import "github.com/oauth-operator/oauth-operator/internal/rest/directory"

// The parameters of operations. Each struct is only reflected upon.

type objectID struct {
	ID string `path:"id" description:"The UID, or {namespace}.{name}. A connection may also be named by the provider's id of it, if that is unique."`
}

type integrationID struct {
	ID string `path:"id" description:"The application's UID, or {namespace}.{name}."`
}

type selected struct {
	integrationID
	Connection string `header:"Oauth-Operator-Connection" description:"Which connection of the integration: its UID, {namespace}.{name} or the provider's id of it. Default: the caller's own, else the shared one."`
}

type paged struct {
	Cursor string `query:"cursor" description:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"100" description:"How many objects a page has at most."`
}

// connectionStatus is a value of status.in.
type connectionStatus string

// Enum implements jsonschema.Enum.
func (connectionStatus) Enum() []any { return []any{directory.StatusActive, directory.StatusInactive} }

// applicationStatus is a value of status.in.
type applicationStatus string

// Enum implements jsonschema.Enum.
func (applicationStatus) Enum() []any { return []any{directory.StatusActive, directory.StatusDeleted} }

type connectionsQuery struct {
	Statuses    []connectionStatus `query:"status.in" collectionFormat:"csv" nullable:"false" default:"[\"active\"]" description:"The statuses to list, separated by commas."`
	Application string             `query:"oauth_application_id" description:"Connections of this application only: its UID, or {namespace}.{name}."`
	paged
}

type allConnectionsQuery struct {
	Statuses    []connectionStatus `query:"status.in" collectionFormat:"csv" nullable:"false" default:"[\"active\",\"inactive\"]" description:"The statuses to list, separated by commas."`
	Application string             `query:"oauth_application_id" description:"Connections of this application only: its UID, or {namespace}.{name}."`
	paged
}

type applicationsQuery struct {
	Statuses []applicationStatus `query:"status.in" collectionFormat:"csv" nullable:"false" default:"[\"active\"]" description:"The statuses to list, separated by commas."`
	paged
}

type ownQuery struct {
	Start int `query:"start" minimum:"0" default:"0" description:"How many connections to leave out."`
	Count int `query:"count" minimum:"1" maximum:"100" default:"100" description:"How many connections to show at most."`
}

type inviteQuery struct {
	selected
	Shared      bool   `query:"shared" default:"false" description:"true: the connection of all; otherwise the caller's own."`
	DisplayName string `query:"displayName" maxLength:"256" description:"The label of the connection, if it is made."`
	Scopes      string `query:"scopes" description:"The scopes of the connection, if it is made, separated by spaces; default: the application's."`
}

type proxied struct {
	selected
	Timeout string `header:"Oauth-Operator-Timeout" pattern:"^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$" description:"How long the caller waits, retries and the answer's body included: 90s, 1m30s."`
}

type proxiedByPath struct {
	proxied
	Rest string `path:"path" description:"What follows apiBaseUri, slashes included; the query goes with it."`
}

// The headers of answers.

type linkHeaders struct {
	Location       string `header:"Location" description:"Where a person goes to authorize: the gateway's page."`
	ReferrerPolicy string `header:"Referrer-Policy" description:"no-referrer: the link is nobody else's business."`
}

type placeHeaders struct {
	Location string `header:"Location" description:"Where the connection is found."`
}

type proxyHeaders struct {
	Token string `header:"Oauth-Operator-Token" enum:"renewed,rejected" description:"renewed: the token was renewed for this request; rejected: the provider does not take it."`
}

// proxyRequest is the body of a request in JSON: it has the members of proxy.Request, which reads texts and lists of texts.
type proxyRequest struct {
	Method  string                 `json:"method,omitempty" default:"GET" description:"Method of the request to the provider."`
	URL     string                 `json:"url,omitempty" description:"A path below apiBaseUri, with or without a query, or an absolute URL at a host that the application allows."`
	Headers map[string]headerValue `json:"headers,omitempty" description:"Headers of the request: each a text, or a list of texts."`
	Data    any                    `json:"data,omitempty" description:"The body. It is sent as JSON unless the Content-Type among headers is another: then a text is sent as it is, and an object as a form if that is the type."`
}

// headerValue is a text or a list of texts.
type headerValue struct{}

// JSONSchemaOneOf implements jsonschema.OneOfExposer.
func (headerValue) JSONSchemaOneOf() []any { return []any{"", []string{}} }

// InlineJSONSchema implements jsonschema.SchemaInliner.
func (headerValue) InlineJSONSchema() {}
