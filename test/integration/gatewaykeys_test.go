// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// TestGatewayKeys follows a webhook's secret into the Secret that gateways mount, and out of it.
func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	const first, second = "webhook-secret-number-one", "webhook-secret-number-two"
	w := newWorld(t, 0)
	w.secrets = append(w.secrets, first, second)
	server := w.hostile(t, harness.Options{})
	app, clientSecret := application(w.namespace, "app", server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Webhook = &v1alpha1.WebhookSpec{
			WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard},
			DeauthorizedEvents: []string{"grant.revoked"}, ConnectionID: "$.data.id",
		}
	})
	clientSecret.StringData[v1alpha1.DefaultWebhookSecretKey] = first
	keys := w.gatewayKeys(t, nil)
	create(t, app, clientSecret)
	file := keyset.WebhookFile(app.UID)
	w.gatewayKeys(t, map[string]string{file: first})
	update(t, get(t, w.namespace, clientSecret.Name, &corev1.Secret{}), func(s *corev1.Secret) {
		s.Data[v1alpha1.DefaultWebhookSecretKey] = []byte(second)
	})
	w.gatewayKeys(t, map[string]string{file: second})
	remove(t, app)
	after := w.gatewayKeys(t, nil)
	if string(after.Data[keyset.FileSealing]) != string(keys.Data[keyset.FileSealing]) {
		t.Error("the keys to seal with have changed")
	}
	if after.Type != v1alpha1.SecretTypeKeys || after.Labels[v1alpha1.LabelRecord] != v1alpha1.RecordKeys {
		t.Errorf("it has type %s and labels %v", after.Type, after.Labels)
	}

	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	remove(t, after)
	w.restart(t)
	anew := w.gatewayKeys(t, nil)
	if string(anew.Data[keyset.FileSealing]) == string(keys.Data[keyset.FileSealing]) {
		t.Error("deleted keys came back")
	}
}

// gatewayKeys waits until the Secret of the gateway's keys has a key set and exactly these webhook secrets.
func (w *world) gatewayKeys(t *testing.T, webhooks map[string]string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	testenv.Eventually(t, patience, func() error {
		name := client.ObjectKey{Namespace: w.operator, Name: v1alpha1.GatewayKeysSecret}
		*secret = corev1.Secret{}
		if err := plane.Client().Get(patient(), name, secret); err != nil {
			return err
		}
		if _, err := keyset.Parse(secret.Data[keyset.FileSealing]); err != nil {
			return err
		}
		if len(secret.Data) != len(webhooks)+1 {
			return fmt.Errorf("there are %d files, want %d", len(secret.Data), len(webhooks)+1)
		}
		for file, content := range webhooks {
			if string(secret.Data[file]) != content {
				return fmt.Errorf("file %s holds another secret", file)
			}
		}
		return nil
	})
	return secret
}
