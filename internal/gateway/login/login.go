// SPDX-License-Identifier: Apache-2.0

// Package login leads a person from a connection's link to the provider and back: the consent page, the callback, and the page
// that waits for the outcome. It keeps nothing: what a later step needs travels sealed with the person, and what came of it
// goes to the controller as a message (package pending), whose name is used once. So any replica can serve any step.
package login

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/headers"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/hub"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// PathResult is followed by /{login}: where a person waits for the outcome, below the external URL.
const PathResult = "/oauth2/result"

// Names of the wildcards in the paths that the handlers are served at.
const (
	WildcardNamespace = "namespace"
	WildcardName      = "name"
	WildcardLogin     = "login"
)

const (
	// stateLifetime is how long a person may take at the provider.
	stateLifetime = 10 * time.Minute
	// lateness is for how much longer a person who comes back is told, and the controller with them, that it was too late.
	lateness = 50 * time.Minute
	// replayMargin is how much longer than it would be accepted a response can be recognized as used.
	replayMargin = 5 * time.Minute
	// resultLifetime is how long a result page can be looked at again.
	resultLifetime = time.Hour

	// holdFor is how long a request for a result is held, and waitFor how long a person waits in all.
	holdFor = 10 * time.Second
	waitFor = 2 * time.Minute
	// graceForSecret is how long a success waits for the Secret of the workload.
	graceForSecret = 5 * time.Second
	// againAfter is when a waiting page asks again whose request could not be held.
	againAfter = time.Second
)

// MaxAnswer is the longest time that one answer takes on purpose.
const MaxAnswer = holdFor + graceForSecret

// Limiter bounds how often something is done. *limit.Limiter is one.
type Limiter interface {
	Allow(key string) (ok bool, retryAfter time.Duration)
}

// Creator makes Secrets in the operator's namespace.
type Creator interface {
	Create(ctx context.Context, secret *corev1.Secret) error
}

// Options of a Handler. All are needed.
type Options struct {
	// Namespace is the operator's own.
	Namespace string
	// External is the gateway's public address, without a slash at its end.
	External *url.URL
	// Cached reads both kinds, and Live reads them from the API server.
	Cached, Live client.Reader
	Creator      Creator
	Sealer       *seal.Sealer
	Pages        *pages.Pages
	Catalogue    *provider.Catalogue
	Headers      headers.Policy
	// Hub is told of every change of a connection.
	Hub *hub.Hub
	// Connections limits logins and callbacks of one connection, by UID; Reads limits live reads of all together, by who makes them.
	Connections, Reads Limiter
	// Limited answers and counts a request that Connections has refused.
	Limited func(w http.ResponseWriter, retryAfter time.Duration)
	Metrics *metrics.Metrics
	// Stopping is closed when the process ends: whoever waits then asks another one.
	Stopping <-chan struct{}
	Clock    clock.WithTicker
	Log      logr.Logger
}

// Handler serves the steps of a login. It may serve many requests at once.
type Handler struct {
	Options
	external string
	cookies  cookies
	origins  *http.CrossOriginProtection
	// presets are the names of the catalogue's providers for people.
	presets map[string]string
}

// New makes a handler. An error means that External has no origin.
func New(o Options) (*Handler, error) {
	h := &Handler{
		Options: o, external: o.External.String(), cookies: cookies{secure: o.External.Scheme == "https"},
		origins: http.NewCrossOriginProtection(), presets: map[string]string{},
	}
	for _, preset := range o.Catalogue.Presets() {
		h.presets[preset.Name] = preset.DisplayName
	}
	// Behind a proxy that does not pass Host on, that is all there is to compare an origin with.
	origin := url.URL{Scheme: o.External.Scheme, Host: o.External.Host}
	if err := h.origins.AddTrustedOrigin(origin.String()); err != nil {
		return nil, err
	}
	return h, nil
}

// notice shows a page; what fails then is the network's.
func (h *Handler) notice(w http.ResponseWriter, n pages.Notice) {
	if n.LogoURL != "" {
		h.Headers.Allow(w.Header(), n.LogoURL, "")
	}
	if err := h.Pages.Notice(w, n); err != nil {
		h.Log.V(1).Info("a page could not be sent", "kind", string(n.Kind), "error", err.Error())
	}
}

// redirect leads on by GET, to an address that this process made.
func redirect(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

func keyOf(c *v1alpha1.OAuthConnection) types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
}
