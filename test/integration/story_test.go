// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// TestStory is the product in one test: code → Secret → refresh → revoke.
func TestStory(t *testing.T) {
	server, err := fositeserver.Start(harness.Options{AccessTokenLifetime: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	startController(t)
	namespace := plane.Namespace(t)
	app, clientSecret := application(namespace, "crm", server.URL)
	create(t, app, clientSecret, connection(namespace, "crm", "crm"), codeSecret(t, server, namespace, "crm"))

	waitConnection(t, namespace, "crm", isReady)
	first := get(t, namespace, "crm", &corev1.Secret{})
	token := string(first.Data[v1alpha1.SecretKeyAccessToken])
	if !server.Introspect(token) {
		t.Fatal("the token in the Secret is not active at the provider")
	}
	if _, leaked := first.Data["refresh_token"]; leaked {
		t.Fatal("the Secret has a refresh token")
	}
	waitConnection(t, namespace, "crm", refreshed)
	second := token
	testenv.Eventually(t, patience, func() error {
		second = string(get(t, namespace, "crm", &corev1.Secret{}).Data[v1alpha1.SecretKeyAccessToken])
		if second == token {
			return errors.New("the Secret still has the first token")
		}
		return nil
	})
	c := get(t, namespace, "crm", &v1alpha1.OAuthConnection{})
	if err := plane.Client().Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	waitGone(t, c)
	waitGone(t, first)
	if server.Introspect(second) {
		t.Fatal("the token works after the deletion of its connection")
	}
	if server.Reuse() != 0 {
		t.Fatalf("a credential was sent twice %d times", server.Reuse())
	}
}
