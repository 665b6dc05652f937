// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// TestDeletionBeforeAnyToken : a connection that never had a token, nor a Secret, ends at once.
func TestDeletionBeforeAnyToken(t *testing.T) {
	server, err := fositeserver.Start(harness.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	startController(t)
	tests := []struct {
		reason string
		change func(*v1alpha1.OAuthConnectionSpec)
	}{
		{"its code has not come", func(*v1alpha1.OAuthConnectionSpec) {}},
		{"its application does not exist", func(s *v1alpha1.OAuthConnectionSpec) { s.ApplicationRef.Name = "none" }},
		{"nobody has authorized it", func(s *v1alpha1.OAuthConnectionSpec) {
			s.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantAuthorizationCode}
		}},
		{"its refresh token has not come", func(s *v1alpha1.OAuthConnectionSpec) {
			s.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantRefreshToken, RefreshToken: &v1alpha1.RefreshTokenGrant{
				SecretRef: v1alpha1.SecretKeyReference{Name: "crm-import"},
			}}
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			namespace := plane.Namespace(t)
			app, clientSecret := application(namespace, "crm", server.URL)
			c := connection(namespace, "crm", "crm", test.change)
			create(t, app, clientSecret, c)
			waitConnection(t, namespace, "crm", func(c *v1alpha1.OAuthConnection) error {
				if c.Status.ObservedGeneration == 0 {
					return errors.New("the operator has not seen it")
				}
				return nil
			})
			if err := plane.Client().Delete(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			waitGone(t, c)
		})
	}
}
