// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// An event of a provider's reaches the controller as a message about the connection that it names, once for all replicas.
func TestWebhook(t *testing.T) {
	w := newWorld(t)
	w.application.Spec.Webhook = &v1alpha1.WebhookSpec{
		WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC, Header: "Provider-Signature"},
		DeauthorizedEvents: []string{"grant.ended"}, ConnectionID: "$.grant",
	}
	w.must(w.client.Update(t.Context(), w.application))
	w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
	w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) { status.ID = "grant_1" })
	const secret = "a secret that both sides know"
	w.must(os.WriteFile(filepath.Join(w.keysDir, keyset.WebhookFile(w.application.UID)), []byte(secret), 0o600))

	event := fmt.Sprintf(`{"type":"grant.ended","grant":"grant_1","n":"%s"}`, newID())
	signature := func(key string) string {
		mac := hmac.New(sha256.New, []byte(key))
		_, _ = fmt.Fprintf(mac, "%d.%s", w.clock.Now().Unix(), event)
		return fmt.Sprintf("t=%d,v1=%s", w.clock.Now().Unix(), hex.EncodeToString(mac.Sum(nil)))
	}
	first, second := w.gateway(), w.gateway()
	send := func(g *running, signature string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+g.public+"/base/webhooks/"+w.namespace+"/crm", strings.NewReader(event))
		w.must(err)
		request.Header.Set("Provider-Signature", signature)
		response, err := http.DefaultTransport.RoundTrip(request)
		w.must(err)
		defer response.Body.Close()
		if got := response.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'") {
			t.Errorf("Content-Security-Policy %q", got)
		}
		return response.StatusCode
	}
	if status := send(first, signature("a guess")); status != http.StatusNotFound {
		t.Errorf("forged: status %d", status)
	}
	for i, want := range []int{http.StatusOK, http.StatusConflict, http.StatusConflict} {
		if status := send([]*running{first, second, first}[i], signature(secret)); status != want {
			t.Errorf("time %d: status %d, want %d", i+1, status, want)
		}
	}
	w.metric(first, `oauth_operator_gateway_webhooks_total{result="accepted"} 1`)
	w.metric(second, `oauth_operator_gateway_webhooks_total{result="replayed"} 1`)
	var list corev1.SecretList
	w.must(w.client.List(t.Context(), &list, client.InNamespace(operatorNamespace)))
	hints := 0
	for i := range list.Items {
		if message, err := pending.Decode(&list.Items[i]); err == nil && message.ApplicationUID == w.application.UID {
			hints++
			if message.Hint == nil || message.ConnectionUID != w.connection.UID || message.Hint.GrantID != "grant_1" {
				t.Errorf("message %+v", message)
			}
		}
	}
	if hints != 1 {
		t.Errorf("%d messages, want 1", hints)
	}
}
