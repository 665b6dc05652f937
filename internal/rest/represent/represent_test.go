// SPDX-License-Identifier: Apache-2.0

package represent_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// at is a time of 2026-01-01 in a zone that answers do not have.
func at(hour int) *metav1.Time {
	return &metav1.Time{Time: time.Date(2026, 1, 1, hour, 0, 0, 5, time.FixedZone("CET", 3600))}
}

func newRepresenter(t *testing.T) *represent.Representer {
	t.Helper()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return represent.New(catalogue)
}

func bare() *v1alpha1.OAuthConnection {
	c := &v1alpha1.OAuthConnection{}
	c.Namespace, c.Name, c.UID, c.CreationTimestamp = "platform", "hers", "c-uid", *at(1)
	c.Spec.ApplicationRef.Name = "crm"
	return c
}

func full() *v1alpha1.OAuthConnection {
	c := bare()
	c.Spec.DisplayName, c.Spec.Owner = "Ann's CRM", "ann"
	c.Status = v1alpha1.OAuthConnectionStatus{
		Phase: v1alpha1.ConnectionActive, ID: "connection_7", Subject: "group_1", Scopes: []string{"read", "write"},
		CreatedAt: at(2), UpdatedAt: at(3), LastAuthorizedAt: at(4), AccessTokenExpiresAt: at(5), RefreshTokenExpiresAt: at(6),
		AuthorizationURL: "https://connect.example.com/connect/platform/hers",
		Conditions:       []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: "TokenReady", Message: "it works"}},
	}
	return c
}

func crm() *v1alpha1.OAuthApplication {
	a := &v1alpha1.OAuthApplication{}
	a.Namespace, a.Name, a.UID, a.CreationTimestamp = "platform", "crm", "a-uid", *at(0)
	a.Spec.DisplayName, a.Spec.LogoURL = "The CRM", "https://crm.example.com/logo.png"
	a.Spec.Client = v1alpha1.ClientSpec{ID: "client-1", SecretRef: &v1alpha1.SecretKeyReference{Name: "canary-secret-name"}}
	a.Status.ClientID = "client-1"
	a.Status.Endpoints = &v1alpha1.Endpoints{AuthorizationURL: "https://crm.example.com/authorize"}
	return a
}

// compare holds an answer to JSON, letter by letter but for white space and the order of members.
func compare(t *testing.T, what string, got any, want string) {
	t.Helper()
	content, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var gotValue, wantValue any
	if err := json.Unmarshal(content, &gotValue); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wantValue); err != nil {
		t.Fatal(err)
	}
	gotText, _ := json.MarshalIndent(gotValue, "", " ")
	wantText, _ := json.MarshalIndent(wantValue, "", " ")
	if !bytes.Equal(gotText, wantText) {
		t.Errorf("%s is\n%s\nwant\n%s", what, gotText, wantText)
	}
}

func TestConnection(t *testing.T) {
	r := newRepresenter(t)
	compare(t, "a connection", r.Connection(full(), crm()), `{
		"type": "oauth_connection", "id": "c-uid", "uuid": "c-uid", "status": "active", "label": "Ann's CRM",
		"group_id": "group_1", "oauth_application_id": "a-uid",
		"provider": {"name": "crm", "label": "The CRM", "logo_url": "https://crm.example.com/logo.png",
			"authorization_url": "https://crm.example.com/authorize"},
		"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T02:00:00Z", "deleted_at": null,
		"access_token_expires_at": "2026-01-01T04:00:00Z", "refresh_token_expires_at": "2026-01-01T05:00:00Z",
		"refresh_authorization_url": "https://connect.example.com/connect/platform/hers",
		"namespace": "platform", "name": "hers", "owner": "ann", "phase": "Active", "reason": "TokenReady", "message": "it works",
		"scopes": ["read", "write"]}`)
	compare(t, "a connection of which nothing is known", r.Connection(bare(), nil), `{
		"type": "oauth_connection", "id": "c-uid", "uuid": "c-uid", "status": "inactive", "label": "hers",
		"group_id": null, "oauth_application_id": null,
		"provider": {"name": "crm", "label": "crm", "logo_url": null, "authorization_url": null},
		"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "deleted_at": null,
		"access_token_expires_at": null, "refresh_token_expires_at": null, "refresh_authorization_url": null,
		"namespace": "platform", "name": "hers", "owner": null, "phase": "Pending", "reason": null, "message": null,
		"scopes": []}`)
}

// An owner in another namespace than the application's is nobody.
func TestOwnerElsewhereDoesNotCount(t *testing.T) {
	r, c := newRepresenter(t), full()
	c.Namespace, c.Spec.ApplicationRef.Namespace = "tenant", "platform"
	if shown := r.Connection(c, crm()); shown.Owner != nil {
		t.Errorf("the owner is %s", *shown.Owner)
	}
	if shown := r.IntegrationConnection(c, crm(), ""); shown.OwnerID != nil || !shown.IsShared {
		t.Errorf("%+v belongs to somebody", shown)
	}
}

func TestProviderOfAPreset(t *testing.T) {
	a := crm()
	a.Spec.Provider, a.Spec.DisplayName = "increase", ""
	shown := newRepresenter(t).Connection(full(), a).Provider
	if shown.Name != "increase" || shown.Label != "Increase" {
		t.Errorf("the provider is %+v", shown)
	}
	a.Spec.Provider = "unheard-of"
	if shown = newRepresenter(t).Connection(full(), a).Provider; shown.Name != "unheard-of" || shown.Label != "crm" {
		t.Errorf("the provider is %+v", shown)
	}
}

func TestDeletedAt(t *testing.T) {
	r := newRepresenter(t)
	for name, row := range map[string]struct {
		change func(c *v1alpha1.OAuthConnection)
		want   string
	}{
		"alive":         {func(*v1alpha1.OAuthConnection) {}, ""},
		"alive again":   {func(c *v1alpha1.OAuthConnection) { c.Status.DeletedAt = at(7) }, ""},
		"gone":          {func(c *v1alpha1.OAuthConnection) { c.Status.DeletedAt, c.Status.Phase = at(7), "Deleted" }, "06:00"},
		"being deleted": {func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = at(8) }, "07:00"},
		"gone, then that": {func(c *v1alpha1.OAuthConnection) {
			c.Status.DeletedAt, c.Status.Phase, c.DeletionTimestamp = at(7), "Deleted", at(8)
		}, "06:00"},
	} {
		c := full()
		row.change(c)
		shown, got := r.Connection(c, crm()), ""
		if shown.DeletedAt != nil {
			got = shown.DeletedAt.Format("15:04")
		}
		if got != row.want || (got != "" && name != "alive again") != (shown.Status == "inactive") {
			t.Errorf("%s: deleted at %q, status %s; want %q", name, got, shown.Status, row.want)
		}
	}
}

func TestRefreshAuthorizationURL(t *testing.T) {
	r, c := newRepresenter(t), full()
	c.Status.AuthorizationURL = ""
	c.Status.DeviceAuthorization = &v1alpha1.DeviceAuthorization{UserCode: "ABCD", VerificationURI: "https://p.example.com/device"}
	if got := r.Connection(c, crm()).RefreshAuthorizationURL; got == nil || *got != "https://p.example.com/device" {
		t.Errorf("it is %v", got)
	}
	c.Status.DeviceAuthorization.VerificationURIComplete = "https://p.example.com/device?code=ABCD"
	if got := r.Connection(c, crm()).RefreshAuthorizationURL; got == nil || *got != "https://p.example.com/device?code=ABCD" {
		t.Errorf("it is %v", got)
	}
}

func TestApplication(t *testing.T) {
	r, a := newRepresenter(t), crm()
	compare(t, "an application", r.Application(a), `{"type": "oauth_application", "id": "a-uid", "client_id": "client-1",
		"created_at": "2025-12-31T23:00:00Z", "deleted_at": null, "name": "The CRM", "status": "active", "namespace": "platform",
		"slug": "platform.crm"}`)
	content, err := json.Marshal(r.Application(a))
	if err != nil || strings.Contains(string(content), "canary") {
		t.Errorf("%v: the answer has what is not public: %s", err, content)
	}
	a.Spec.DisplayName, a.Spec.Client.ID, a.Status.ClientID, a.Status.Phase = "", "", "", v1alpha1.ApplicationDeleted
	a.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, LastTransitionTime: *at(9)}}
	compare(t, "a deleted application", r.Application(a), `{"type": "oauth_application", "id": "a-uid", "client_id": null,
		"created_at": "2025-12-31T23:00:00Z", "deleted_at": "2026-01-01T08:00:00Z", "name": null, "status": "deleted",
		"namespace": "platform", "slug": "platform.crm"}`)
}

func TestIntegrationConnection(t *testing.T) {
	r := newRepresenter(t)
	compare(t, "a connection", r.IntegrationConnection(full(), crm(), "https://api.crm.example.com"), `{
		"id": "c-uid", "integrationId": "a-uid", "ownerId": "ann", "isShared": false,
		"tokenExpiresAt": "2026-01-01T04:00:00Z", "refreshTokenExpiresAt": "2026-01-01T05:00:00Z",
		"lastAuthorizedAt": "2026-01-01T03:00:00Z", "apiBaseUri": "https://api.crm.example.com",
		"data": {"namespace": "platform", "name": "hers", "status": "active", "phase": "Active", "subject": "group_1",
			"providerId": "connection_7", "scopes": ["read", "write"], "reason": "TokenReady", "message": "it works",
			"authorizationUrl": "https://connect.example.com/connect/platform/hers"},
		"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T02:00:00Z"}`)
	compare(t, "a list", represent.NewIntegrationConnections(
		[]represent.LinkedConnection{r.LinkedConnection(bare(), crm(), "", "/self")}, 3, 4, "/list?start=3"), `{
		"_links": {"self": {"href": "/list?start=3"}},
		"_embedded": {"inf:integration-connection": [{
			"id": "c-uid", "integrationId": "a-uid", "ownerId": null, "isShared": true,
			"tokenExpiresAt": null, "refreshTokenExpiresAt": null, "lastAuthorizedAt": null, "apiBaseUri": null,
			"data": {"namespace": "platform", "name": "hers", "status": "inactive", "phase": "Pending", "subject": null,
				"providerId": null, "scopes": [], "reason": null, "message": null, "authorizationUrl": null},
			"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
			"_embedded": {"inf:integration": {"id": "a-uid", "name": "The CRM", "type": "oauth2"}},
			"_links": {"self": {"href": "/self"}}}]},
		"start": 3, "count": 1, "total": 4}`)
	compare(t, "an empty list", represent.NewIntegrationConnections(nil, 0, 0, "/list"), `{
		"_links": {"self": {"href": "/list"}}, "_embedded": {"inf:integration-connection": []}, "start": 0, "count": 0, "total": 0}`)
	compare(t, "of no application", r.LinkedConnection(bare(), nil, "", "/self").Embedded,
		`{"inf:integration": {"id": null, "name": "crm", "type": "oauth2"}}`)
}
