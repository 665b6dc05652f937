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
	ID string `json:"id" description:"The connection's UID."`
	// IntegrationID is the UID of the application.
	IntegrationID *string `json:"integrationId" description:"The integration's id; null: there is no such application."`
	// OwnerID is whose it is, if that counts.
	OwnerID *string `json:"ownerId" description:"The user that it belongs to; null: shared."`
	// IsShared : it belongs to nobody.
	IsShared bool `json:"isShared" description:"Whether it belongs to nobody."`
	// TokenExpiresAt is when the access token ends.
	TokenExpiresAt *time.Time `json:"tokenExpiresAt" description:"When the access token ends; null: never, or not known."`
	// RefreshTokenExpiresAt is when the refresh token ends.
	RefreshTokenExpiresAt *time.Time `json:"refreshTokenExpiresAt" description:"When it ends; null: never, or not known."`
	// LastAuthorizedAt is when a person, a code or an import last authorized.
	LastAuthorizedAt *time.Time `json:"lastAuthorizedAt" description:"When it was last authorized; null: never."`
	// APIBaseURI is what relative URLs of requests begin with.
	APIBaseURI *string `json:"apiBaseUri" format:"uri" description:"Where the provider's API begins; null: not known."`
	// Data is what else is known.
	Data IntegrationData `json:"data" description:"What else is known."`
	// CreatedAt is when the connection was made.
	CreatedAt *time.Time `json:"createdAt" description:"When the connection was made."`
	// UpdatedAt is when the tokens last changed, or the connection was made.
	UpdatedAt *time.Time `json:"updatedAt" description:"When the tokens last changed, or else the connection was made."`
}

// IntegrationData is what else is known of a connection.
type IntegrationData struct {
	// Namespace and Name are the object's.
	Namespace string `json:"namespace" description:"Namespace of the object."`
	Name      string `json:"name" description:"Name of the object."`
	// Status is directory.StatusActive or directory.StatusInactive.
	Status string `json:"status" enum:"active,inactive" description:"active in phase Active, else inactive."`
	// Phase is one of the phases of connections.
	Phase string `json:"phase" enum:"Pending,Authorizing,Active,Inactive,Deleted" description:"The connection in one word."`
	// Subject is what the provider calls the account that granted.
	Subject *string `json:"subject" description:"What the provider calls the account that granted; null: not known."`
	// ProviderID is what the provider calls the grant.
	ProviderID *string `json:"providerId" description:"What the provider calls the grant; null: not known."`
	// Scopes are what was granted.
	Scopes []string `json:"scopes" nullable:"false" description:"The scopes that were granted."`
	// Reason and Message are those of condition Ready.
	Reason  *string `json:"reason" description:"Reason of condition Ready; null: not known yet."`
	Message *string `json:"message" description:"Message of condition Ready; null: none."`
	// AuthorizationURL is where a person authorizes it again.
	AuthorizationURL *string `json:"authorizationUrl" format:"uri" description:"Where a person authorizes it again, or null."`
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
		LastAuthorizedAt: moment(c.Status.LastAuthorizedAt), APIBaseURI: text(base),
		CreatedAt: shown.CreatedAt, UpdatedAt: shown.UpdatedAt,
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
	Href string `json:"href" description:"The address."`
}

// Links are the links of a resource.
type Links struct {
	// Self is the resource itself.
	Self Link `json:"self" description:"The resource itself."`
}

// Integration is an application as connections embed it.
type Integration struct {
	// ID is the UID of the application.
	ID *string `json:"id" description:"The integration's id; null: there is no such application."`
	// Name is for people.
	Name string `json:"name" description:"The name for people."`
	// Type is always oauth2.
	Type string `json:"type" enum:"oauth2" description:"Always oauth2."`
}

// EmbeddedIntegration holds the integration of a connection.
type EmbeddedIntegration struct {
	// Integration is the connection's.
	Integration Integration `json:"inf:integration" description:"The connection's integration."`
}

// LinkedConnection is a connection in a list of HAL.
type LinkedConnection struct {
	IntegrationConnection
	// Embedded is its integration.
	Embedded EmbeddedIntegration `json:"_embedded" description:"Its integration."`
	// Links lead to it.
	Links Links `json:"_links" description:"Where it is found."`
}

// EmbeddedConnections holds the connections of a list.
type EmbeddedConnections struct {
	// Connections are in the order of creation.
	Connections []LinkedConnection `json:"inf:integration-connection" nullable:"false" description:"By creation."`
}

// IntegrationConnections is a list of connections in HAL.
type IntegrationConnections struct {
	// Links lead to this list.
	Links Links `json:"_links" description:"This list."`
	// Embedded are the connections.
	Embedded EmbeddedConnections `json:"_embedded" description:"The connections."`
	// Start is how many come before these.
	Start int `json:"start" minimum:"0" description:"How many connections come before these."`
	// Count is how many these are.
	Count int `json:"count" minimum:"0" description:"How many connections these are."`
	// Total is how many there are.
	Total int `json:"total" minimum:"0" description:"How many connections there are."`
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
		Links: Links{Self: Link{Href: self}}, Embedded: EmbeddedConnections{Connections: page},
		Start: start, Count: len(page), Total: total,
	}
}
