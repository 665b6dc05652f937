// SPDX-License-Identifier: Apache-2.0

package represent

import (
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// IntegrationConnection is a connection as the integrations' paths show it. Times are RFC 3339 in UTC.
type IntegrationConnection struct {
	// ID is the UID.
	ID string `json:"id" required:"true" description:"The connection's UID."`
	// IntegrationID is the UID of the application.
	IntegrationID *string `json:"integrationId" required:"true" description:"The integration's id; null: there is no such application."`
	// OwnerID is whose it is, if that counts.
	OwnerID *string `json:"ownerId" required:"true" description:"The user that it belongs to; null: shared."`
	// IsShared : it belongs to nobody.
	IsShared bool `json:"isShared" required:"true" description:"Whether it belongs to nobody."`
	// TokenExpiresAt is when the access token ends.
	TokenExpiresAt *time.Time `json:"tokenExpiresAt" required:"true" description:"When the access token ends; null: never, or nobody knows."`
	// RefreshTokenExpiresAt is when the refresh token ends.
	RefreshTokenExpiresAt *time.Time `json:"refreshTokenExpiresAt" required:"true" description:"When the refresh token ends; null: never, or nobody knows."`
	// LastAuthorizedAt is when a person, a code or an import last authorized.
	LastAuthorizedAt *time.Time `json:"lastAuthorizedAt" required:"true" description:"When it was last authorized; null: never."`
	// APIBaseURI is what relative URLs of requests begin with.
	APIBaseURI *string `json:"apiBaseUri" required:"true" format:"uri" description:"Where the provider's API begins; null: not known."`
	// Data is what else is known.
	Data IntegrationData `json:"data" required:"true" description:"What else is known."`
	// CreatedAt is when the connection was made.
	CreatedAt *time.Time `json:"createdAt" required:"true" description:"When the connection was made."`
	// UpdatedAt is when the tokens last changed, or the connection was made.
	UpdatedAt *time.Time `json:"updatedAt" required:"true" description:"When the tokens last changed, or else the connection was made."`
}

// IntegrationData is what else is known of a connection.
type IntegrationData struct {
	// Namespace and Name are the object's.
	Namespace string `json:"namespace" required:"true" description:"Namespace of the object."`
	Name      string `json:"name" required:"true" description:"Name of the object."`
	// Status is directory.StatusActive or directory.StatusInactive.
	Status string `json:"status" required:"true" enum:"active,inactive" description:"active in phase Active, else inactive."`
	// Phase is one of the phases of connections.
	Phase string `json:"phase" required:"true" enum:"Pending,Authorizing,Active,Inactive,Deleted" description:"The connection in one word."`
	// Subject is what the provider calls the account that granted.
	Subject *string `json:"subject" required:"true" description:"What the provider calls the account that granted; null: not known."`
	// ProviderID is what the provider calls the grant.
	ProviderID *string `json:"providerId" required:"true" description:"What the provider calls the grant; null: not known."`
	// Scopes are what was granted.
	Scopes []string `json:"scopes" required:"true" nullable:"false" description:"The scopes that were granted."`
	// Reason and Message are those of condition Ready.
	Reason  *string `json:"reason" required:"true" description:"Reason of condition Ready; null: not known yet."`
	Message *string `json:"message" required:"true" description:"Message of condition Ready; null: none."`
	// AuthorizationURL is where a person authorizes it again.
	AuthorizationURL *string `json:"authorizationUrl" required:"true" format:"uri" description:"Where a person authorizes it again; null: there is nothing to authorize now."`
}

// IntegrationConnection represents a connection. The application is nil where there is none; base is where the provider's API
// begins, empty where that is not known.
func (r *Representer) IntegrationConnection(
	c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication, base string,
) IntegrationConnection {
	shown := r.Connection(c, application)
	return IntegrationConnection{
		ID: shown.ID, IntegrationID: shown.ApplicationID, OwnerID: shown.Owner, IsShared: shown.Owner == nil,
		TokenExpiresAt: shown.AccessTokenExpiresAt, RefreshTokenExpiresAt: shown.RefreshTokenExpiresAt,
		LastAuthorizedAt: moment(c.Status.LastAuthorizedAt), APIBaseURI: text(base), CreatedAt: shown.CreatedAt, UpdatedAt: shown.UpdatedAt,
		Data: IntegrationData{
			Namespace: c.Namespace, Name: c.Name, Status: directory.Status(c), Phase: shown.Phase, Subject: shown.GroupID,
			ProviderID: text(c.Status.ID), Scopes: shown.Scopes, Reason: shown.Reason, Message: shown.Message,
			AuthorizationURL: shown.RefreshAuthorizationURL,
		},
	}
}

// Link is a link of HAL.
type Link struct {
	// Href is the address.
	Href string `json:"href" required:"true" description:"The address."`
}

// Links are the links of a resource.
type Links struct {
	// Self is the resource itself.
	Self Link `json:"self" required:"true" description:"The resource itself."`
}

// Integration is an application as connections embed it.
type Integration struct {
	// ID is the UID of the application.
	ID *string `json:"id" required:"true" description:"The integration's id; null: there is no such application."`
	// Name is for people.
	Name string `json:"name" required:"true" description:"The name for people."`
	// Type is always oauth2.
	Type string `json:"type" required:"true" enum:"oauth2" description:"Always oauth2."`
}

// EmbeddedIntegration holds the integration of a connection.
type EmbeddedIntegration struct {
	// Integration is the connection's.
	Integration Integration `json:"inf:integration" required:"true" description:"The connection's integration."`
}

// LinkedConnection is a connection in a list of HAL.
type LinkedConnection struct {
	IntegrationConnection
	// Embedded is its integration.
	Embedded EmbeddedIntegration `json:"_embedded" required:"true" description:"Its integration."`
	// Links lead to it.
	Links Links `json:"_links" required:"true" description:"Where it is found."`
}

// EmbeddedConnections holds the connections of a list.
type EmbeddedConnections struct {
	// Connections are in the order of creation.
	Connections []LinkedConnection `json:"inf:integration-connection" required:"true" nullable:"false" description:"The connections in the order of their creation."`
}

// IntegrationConnections is a list of connections in HAL.
type IntegrationConnections struct {
	// Links lead to this list.
	Links Links `json:"_links" required:"true" description:"This list."`
	// Embedded are the connections.
	Embedded EmbeddedConnections `json:"_embedded" required:"true" description:"The connections."`
	// Start is how many come before these.
	Start int `json:"start" required:"true" minimum:"0" description:"How many connections come before these."`
	// Count is how many these are.
	Count int `json:"count" required:"true" minimum:"0" description:"How many connections these are."`
	// Total is how many there are.
	Total int `json:"total" required:"true" minimum:"0" description:"How many connections there are."`
}

// LinkedConnection represents a connection in a list of HAL; self is where it is found.
func (r *Representer) LinkedConnection(
	c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication, base, self string,
) LinkedConnection {
	named := Integration{ID: uid(application), Type: "oauth2"}
	if named.Name = c.Spec.ApplicationRef.Name; application != nil {
		named.Name = r.label(application)
	}
	return LinkedConnection{
		IntegrationConnection: r.IntegrationConnection(c, application, base),
		Embedded:              EmbeddedIntegration{Integration: named}, Links: Links{Self: Link{Href: self}},
	}
}

// NewIntegrationConnections makes a list of HAL of one page; self is where the page is found.
func NewIntegrationConnections(page []LinkedConnection, start, total int, self string) IntegrationConnections {
	if page == nil {
		page = []LinkedConnection{}
	}
	return IntegrationConnections{
		Links: Links{Self: Link{Href: self}}, Embedded: EmbeddedConnections{Connections: page}, Start: start, Count: len(page), Total: total,
	}
}
