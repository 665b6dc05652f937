// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/headers"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/hub"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// refusing is a creator that nobody may call.
type refusing struct{ t *testing.T }

// Create implements Creator.
func (r refusing) Create(context.Context, *corev1.Secret) error {
	r.t.Error("a message was left")
	return nil
}

func newHandler(f *testing.F) *Handler {
	f.Helper()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		f.Fatal(err)
	}
	shown, err := pages.New(pages.Branding{})
	if err != nil {
		f.Fatal(err)
	}
	external := &url.URL{Scheme: "https", Host: "oauth.example.com"}
	clock := clocktesting.NewFakeClock(now())
	h, err := New(Options{
		External: external, Cached: &view{}, Live: &view{}, Sealer: seal.New(keyset.Ephemeral(), clock), Pages: shown, Catalogue: catalogue,
		Headers: headers.New(external, ""), Hub: hub.New(1), Connections: allowance(true), Reads: allowance(true),
		Limited: func(http.ResponseWriter, time.Duration) {}, Metrics: metrics.New(), Stopping: make(chan struct{}), Clock: clock,
		Log: logr.Discard(),
	})
	if err != nil {
		f.Fatal(err)
	}
	return h
}

// Nothing that a stranger makes up is taken for a response, or leads anywhere.
func FuzzCallback(f *testing.F) {
	h := newHandler(f)
	other := seal.New(keyset.Ephemeral(), h.Clock)
	foreign, err := other.SealState(seal.State{
		Connection: types.NamespacedName{Namespace: "team", Name: "crm"}, ConnectionUID: "uid", Login: strings.Repeat("a", 32),
		ExpiresAt: now().Add(time.Minute),
	})
	if err != nil {
		f.Fatal(err)
	}
	login, err := h.Sealer.SealLogin(seal.Login{ConnectionUID: "uid", Login: strings.Repeat("a", 32), ExpiresAt: now().Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	form, err := h.Sealer.FormToken("browser", "connect")
	if err != nil {
		f.Fatal(err)
	}
	for _, state := range []string{"", "x", foreign, foreign[:len(foreign)-2], login, form} {
		f.Add("code=c&state="+state, "__Host-oauth-login-aaaaaaaaaaaa=x")
	}
	f.Add("code=c&state=%zz;state=%00", "a=b; =; ;;")
	f.Add("error=access_denied&error_description=%3Cscript%3E", "")
	f.Fuzz(func(t *testing.T, query, cookies string) {
		h.Creator = refusing{t}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://oauth.example.com/oauth2/callback", nil)
		r.URL.RawQuery = query
		r.Header.Set("Cookie", cookies)
		w := httptest.NewRecorder()
		h.Callback(w, r)
		if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%q: status %d, headers %v", query, w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%q: %s", query, w.Body)
		}
	})
}
