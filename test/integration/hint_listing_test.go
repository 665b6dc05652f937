// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
)

// TestHintAgainstTheList is a report about a grant that the provider's list, the one thing to ask, goes on calling alive. The
// provider's clock is ahead, which makes no list that is read now an old one.
func TestHintAgainstTheList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	p := w.platform(t, increase.Options{})
	update(t, get(t, w.namespace, p.production, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		// Nothing that could be asked about a token.
		a.Spec.Provider, a.Spec.PKCE = "", v1alpha1.PKCEDisabled
		a.Spec.Client.Authentication = v1alpha1.ClientSecretPost
		key := []v1alpha1.RequestHeader{{Name: "Authorization", Prefix: "Bearer ", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}}
		a.Spec.AuthorizationParameterNames = map[string]v1alpha1.ParameterValue{"redirect_uri": ""}
		a.Spec.TokenRequest = &v1alpha1.TokenRequestSpec{Format: v1alpha1.FormatJSON, Headers: key}
		a.Spec.TokenResponse = &v1alpha1.TokenResponseSpec{Subject: "$.group_id", DefaultLifetime: "Never"}
		a.Spec.StatusCheck = &v1alpha1.StatusCheckSpec{
			Type: v1alpha1.StatusCheckConnectionList, Interval: &metav1.Duration{Duration: 24 * time.Hour},
			ConnectionList: &v1alpha1.ConnectionListSpec{
				URL: "/oauth_connections", Headers: key, Subject: "$.group_id", Query: map[string]v1alpha1.ParameterValue{"status.in": "active,inactive"},
			},
		}
	})
	s := p.connect(t, "group_first")
	c := s.wait(t, isReady, identified)
	s.emptied(t, s.leave(t, pending.Message{
		Connection: s.key(), ConnectionUID: c.UID, Application: key(w.namespace, p.production),
		ApplicationUID: get(t, w.namespace, p.production, &v1alpha1.OAuthApplication{}).UID,
		ReceivedAt:     time.Now(), KeepUntil: time.Now().Add(time.Hour),
		Hint: &pending.Hint{ID: "event-" + w.name(), EventType: "grant.revoked", GrantID: c.Status.ID, At: time.Now().Add(time.Hour)},
	}))
	note := waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventDeauthorizationReported)
	if !strings.Contains(note, `"grant.revoked"`) || !strings.Contains(note, "list") || strings.Contains(note, "nothing can be asked") {
		t.Errorf("the event says %q", note)
	}
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}
