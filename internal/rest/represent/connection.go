// SPDX-License-Identifier: Apache-2.0

package represent

import (
	"cmp"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// Types of objects.
const (
	// TypeConnection is the type of a Connection.
	TypeConnection = "oauth_connection"
	// TypeApplication is the type of an Application.
	TypeApplication = "oauth_application"
)

// Connection is a connection as lists show it. Times are RFC 3339 in UTC.
type Connection struct {
	// Type is TypeConnection.
	Type string `json:"type" enum:"oauth_connection" description:"Always oauth_connection."`
	// ID and UUID are the UID.
	ID   string `json:"id" description:"The connection's UID."`
	UUID string `json:"uuid" format:"uuid" description:"The same as id."`
	// Status is directory.StatusActive or directory.StatusInactive.
	Status string `json:"status" enum:"active,inactive" description:"active in phase Active, else inactive."`
	// Label is what its owner calls it.
	Label string `json:"label" description:"What its owner calls it; the name of the object where nobody said."`
	// GroupID is what the provider calls the account that granted.
	GroupID *string `json:"group_id" description:"What the provider calls the account that granted; null: not known."`
	// ApplicationID is the UID of the application.
	ApplicationID *string `json:"oauth_application_id" description:"The application's id; null: there is no such application."`
	// Provider is whom the grant is with.
	Provider Provider `json:"provider" description:"Whom the grant is with."`
	// CreatedAt is when the connection was made.
	CreatedAt *time.Time `json:"created_at" description:"When the connection was made."`
	// UpdatedAt is when the tokens last changed, or the connection was made.
	UpdatedAt *time.Time `json:"updated_at" description:"When the tokens last changed, or else the connection was made."`
	// DeletedAt is when the grant was gone, or its deletion began.
	DeletedAt *time.Time `json:"deleted_at" description:"When the grant was gone for good, or its deletion began; null: it lives."`
	// AccessTokenExpiresAt is when the access token ends.
	AccessTokenExpiresAt *time.Time `json:"access_token_expires_at" description:"When it ends; null: never, or not known."`
	// RefreshTokenExpiresAt is when the refresh token ends.
	RefreshTokenExpiresAt *time.Time `json:"refresh_token_expires_at" description:"When it ends; null: never, or not known."`
	// RefreshAuthorizationURL is where a person authorizes it again.
	RefreshAuthorizationURL *string `json:"refresh_authorization_url" format:"uri" description:"Where to authorize anew, or null."`

	// Namespace and Name are the object's.
	Namespace string `json:"namespace" description:"Namespace of the object."`
	Name      string `json:"name" description:"Name of the object."`
	// Owner is whose it is, if that counts.
	Owner *string `json:"owner" description:"The user that it belongs to; null: shared."`
	// Phase is one of the phases of connections.
	Phase string `json:"phase" enum:"Pending,Authorizing,Active,Inactive,Deleted" description:"The connection in one word."`
	// Reason and Message are those of condition Ready.
	Reason  *string `json:"reason" description:"Reason of condition Ready; null: not known yet."`
	Message *string `json:"message" description:"Message of condition Ready; null: none."`
	// Scopes are what was granted.
	Scopes []string `json:"scopes" nullable:"false" description:"The scopes that were granted."`
}

// Provider is whom a grant is with.
type Provider struct {
	// Name is the preset's, or the application's.
	Name string `json:"name" description:"The preset's name, or else the application's."`
	// Label is for people.
	Label string `json:"label" description:"The name for people."`
	// LogoURL is a picture.
	LogoURL *string `json:"logo_url" format:"uri" description:"A picture; null: none."`
	// AuthorizationURL is the provider's authorization endpoint.
	AuthorizationURL *string `json:"authorization_url" format:"uri" description:"The authorization endpoint, or null."`
}

// Connection represents a connection. The application is nil where there is none.
func (r *Representer) Connection(c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) Connection {
	reason, message := ready(c)
	created := moment(&c.CreationTimestamp)
	return Connection{
		Type: TypeConnection, ID: string(c.UID), UUID: string(c.UID), Status: directory.Status(c),
		Label:   cmp.Or(c.Spec.DisplayName, c.Name),
		GroupID: text(c.Status.Subject), ApplicationID: uid(application), Provider: r.provider(c, application),
		CreatedAt: created, UpdatedAt: cmp.Or(moment(c.Status.UpdatedAt), created), DeletedAt: deletedAt(c),
		AccessTokenExpiresAt: moment(c.Status.AccessTokenExpiresAt), RefreshTokenExpiresAt: moment(c.Status.RefreshTokenExpiresAt),
		RefreshAuthorizationURL: authorizationURL(c),
		Namespace:               c.Namespace, Name: c.Name, Owner: owner(c),
		Phase: phase(c), Reason: reason, Message: message, Scopes: texts(c.Status.Scopes),
	}
}

func (r *Representer) provider(c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) Provider {
	if application == nil {
		_, name := c.ApplicationKey()
		return Provider{Name: name, Label: name}
	}
	shown := Provider{
		Name: cmp.Or(application.Spec.Provider, application.Name), Label: r.label(application),
		LogoURL: text(cmp.Or(application.Spec.LogoURL, r.presets[application.Spec.Provider].logo)),
	}
	if endpoints := application.Status.Endpoints; endpoints != nil {
		shown.AuthorizationURL = text(string(endpoints.AuthorizationURL))
	}
	return shown
}

// deletedAt is when the grant ended for good; a grant that was authorized anew lives again.
func deletedAt(c *v1alpha1.OAuthConnection) *time.Time {
	if c.Status.Phase == v1alpha1.ConnectionDeleted && c.Status.DeletedAt != nil {
		return moment(c.Status.DeletedAt)
	}
	return moment(c.DeletionTimestamp)
}

// owner is whose a connection is. It counts only in the application's own namespace: elsewhere anybody could write any name.
func owner(c *v1alpha1.OAuthConnection) *string {
	if namespace, _ := c.ApplicationKey(); namespace != c.Namespace {
		return nil
	}
	return text(c.Spec.Owner)
}

// Application is a client registered at a provider, as lists show it. It never holds a secret.
type Application struct {
	// Type is TypeApplication.
	Type string `json:"type" enum:"oauth_application" description:"Always oauth_application."`
	// ID is the UID.
	ID string `json:"id" description:"The application's UID."`
	// ClientID is what the provider calls the client; everybody who authorizes sees it.
	ClientID *string `json:"client_id" description:"The client_id at the provider; null: not known yet."`
	// CreatedAt is when the application was made.
	CreatedAt *time.Time `json:"created_at" description:"When the application was made."`
	// DeletedAt is when its deletion began, or the operator saw that the provider has deleted it.
	DeletedAt *time.Time `json:"deleted_at" description:"When it was deleted, here or at the provider; null: it was not."`
	// Name is for people.
	Name *string `json:"name" description:"The name for people; null: none was given."`
	// Status is directory.StatusActive or directory.StatusDeleted.
	Status string `json:"status" enum:"active,deleted" description:"deleted here or at the provider, else active."`
	// Namespace is the object's.
	Namespace string `json:"namespace" description:"Namespace of the object."`
	// Slug names the application in paths.
	Slug string `json:"slug" description:"{namespace}.{name}, which names the application where its id does."`
}

// Application represents an application.
func (r *Representer) Application(a *v1alpha1.OAuthApplication) Application {
	return Application{
		Type: TypeApplication, ID: string(a.UID), ClientID: text(cmp.Or(a.Status.ClientID, a.Spec.Client.ID)),
		CreatedAt: moment(&a.CreationTimestamp), DeletedAt: applicationDeletedAt(a), Name: text(a.Spec.DisplayName),
		Status: directory.ApplicationStatus(a), Namespace: a.Namespace, Slug: Slug(a),
	}
}

func applicationDeletedAt(a *v1alpha1.OAuthApplication) *time.Time {
	if a.DeletionTimestamp != nil || a.Status.Phase != v1alpha1.ApplicationDeleted {
		return moment(a.DeletionTimestamp)
	}
	for i := range a.Status.Conditions {
		if a.Status.Conditions[i].Type == v1alpha1.ConditionReady {
			return moment(&a.Status.Conditions[i].LastTransitionTime)
		}
	}
	return nil
}

// Page is one page of a list.
type Page[T any] struct {
	// Data is in the order of creation.
	Data []T `json:"data" nullable:"false" description:"The objects in the order of their creation."`
	// NextCursor is where the next page begins.
	NextCursor *string `json:"next_cursor" description:"The cursor of the next page; null: this is the last one."`
}
