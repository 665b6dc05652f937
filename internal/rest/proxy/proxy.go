// SPDX-License-Identifier: Apache-2.0

// Package proxy sends callers' requests to providers' APIs with the token of a connection, which no caller ever sees. Bodies are
// streamed both ways. What a request may be, where it may go, which headers pass, and when it is sent again is decided here; who
// may, with which token, and how many at once, in the packages that it uses.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// What Options default to.
const (
	DefaultHeaderTimeout = 60 * time.Second
	DefaultIdleTimeout   = 2 * time.Minute
	DefaultFormTimeout   = 10 * time.Second
)

const (
	// copySize is how much of an answer's body is copied at a time, in bytes.
	copySize = 32 << 10
	// flushWithin is how long bytes of an answer of known length may wait for more. All others are passed on at once.
	flushWithin = 10 * time.Millisecond
)

// Access says who may do what. Its errors are problems.
type Access interface {
	// Integration returns what {id} of a path names.
	Integration(ctx context.Context, c caller.Caller, id string) (access.Integration, error)
	// ConnectionFor returns the connection that a selector, or its absence, means, if the caller may send a request with this
	// method through it.
	ConnectionFor(ctx context.Context, c caller.Caller, i access.Integration, selector, method string) (*v1alpha1.OAuthConnection, error)
}

// Credentials finds tokens; see credential.Source.
type Credentials interface {
	Get(ctx context.Context, c *v1alpha1.OAuthConnection) (*credential.Credential, error)
	Renew(ctx context.Context, c *v1alpha1.OAuthConnection, old *credential.Credential, cause credential.Cause) (*credential.Credential, error)
	Verify(ctx context.Context, c *v1alpha1.OAuthConnection, old *credential.Credential)
}

// Gate bounds requests; see traffic.Gate.
type Gate interface {
	Enter(ctx context.Context, key traffic.Key, limits traffic.Limits) (leave func(traffic.Outcome), err error)
	Observe(key traffic.Key, names traffic.RateLimitHeaders, status int, h http.Header)
}

// Transports returns the transport of a group, which is one OAuthConnection, that trusts the certificates of a bundle. Each of its
// connections is judged by the egress guard when it is made, and carries requests of that group alone; it follows no redirects and
// decompresses nothing; see egress.NewPooledTransports.
type Transports interface {
	For(trust egress.Trust) (http.RoundTripper, error)
}

// Options of a Handler.
type Options struct {
	Access      Access
	Credentials Credentials
	Gate        Gate
	Transports  Transports
	// Observer is told of every request; nil: nobody is.
	Observer Observer
	// Background runs what no caller waits for, without waiting for it itself, and sees that it comes to its end before the process
	// does; nil: nothing sees to that.
	Background func(work func())
	// HeaderTimeout is how long a provider has for the head of its answer, connecting included, once the body was sent; default 60
	// seconds.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a body may stand still, in either direction; default 2 minutes.
	IdleTimeout time.Duration
	// FormTimeout is how long all of a request in JSON may take to come, and how long it waits for its turn if it is a large one;
	// default 10 seconds.
	FormTimeout time.Duration
	// Clock is nil for the real one.
	Clock clock.WithDelayedExecution
	// Jitter returns a number from 0 to 1, not included, of which the pauses between attempts are made; nil: a random one.
	Jitter func() float64
}

// Handler serves POST /api/integrations/{id}/request, and every method at /api/integrations/{id}/request/{path…}. The URL must
// come to it as it stood in the request line: neither cleaned nor redirected. It is safe for concurrent use.
type Handler struct {
	options Options
	// bodies and copies are buffers for what may be sent again, and for what passes.
	bodies, copies *buffers
	// places are for large forms.
	places places
	// template is what all requests have in common.
	template httputil.ReverseProxy
}

// New makes a Handler.
func New(options Options) (*Handler, error) {
	if options.Access == nil || options.Credentials == nil || options.Gate == nil || options.Transports == nil {
		return nil, errors.New("access, credentials, a gate and transports are needed")
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Jitter == nil {
		options.Jitter = rand.Float64
	}
	if options.Background == nil {
		options.Background = func(work func()) { go work() }
	}
	options.HeaderTimeout = cmp.Or(options.HeaderTimeout, DefaultHeaderTimeout)
	options.IdleTimeout = cmp.Or(options.IdleTimeout, DefaultIdleTimeout)
	options.FormTimeout = cmp.Or(options.FormTimeout, DefaultFormTimeout)
	h := &Handler{options: options, bodies: newBuffers(maxReplayed), copies: newBuffers(copySize), places: make(places, maxForms)}
	h.template = httputil.ReverseProxy{
		BufferPool: h.copies,
		// What breaks off is told to the observer, with what matters about it.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	return h, nil
}

// ServeHTTP implements http.Handler. An answer that breaks off ends in http.ErrAbortHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer x.end()
	ctx, cancel, err := x.bound()
	defer cancel()
	if err == nil {
		err = x.serve(ctx)
	}
	if err != nil && errors.Is(context.Cause(ctx), errDeadline) && x.Attempts == 0 {
		err = x.unsent().Because(err)
	}
	if err != nil {
		x.fail(err)
	}
}
