// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// bodyTimeout bounds how long a body may take that is not proxied; and what is left of one when its answer has been given.
	bodyTimeout = 10 * time.Second
	// answerWithin bounds how long an answer of the API's own may take, its waits included.
	answerWithin = 2 * time.Minute
	// comeBack is told to callers when the process has just begun.
	comeBack = 2 * time.Second
)

// Paths that the request proxy is below: pathIntegrations, {id}, pathRequest.
const (
	pathIntegrations = "/api/integrations/"
	pathRequest      = "request"
	// wildcardID is the path parameter of {id}, for all handlers.
	wildcardID = integrations.WildcardID
)

// route is a path pattern and what is served there.
type route struct {
	name    metrics.Route
	pattern string
	// handlers are by method. They bound the length of bodies themselves.
	handlers map[string]problem.HandlerFunc
	// public : nobody has to say who they are.
	public bool
	// streams serves every method instead, and bounds bodies and time itself.
	streams http.Handler
}

// Handler answers all requests. The request proxy's paths are looked for first, since a ServeMux would clean what goes to the
// provider as it came.
func (p *Process) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range p.routes() {
		mux.Handle(route.pattern, p.guarded(route))
	}
	proxied := p.guarded(route{name: metrics.RouteProxy, streams: p.proxied})
	other := p.guarded(route{name: metrics.RouteOther})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := integrationOf(r.URL); ok {
			r.SetPathValue(wildcardID, id)
			proxied.ServeHTTP(w, r)
			return
		}
		// The mux would redirect what is not clean.
		if path.Clean(r.URL.Path) != r.URL.Path {
			other.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// integrationOf returns {id} of a path /api/integrations/{id}/request or one below it.
func integrationOf(address *url.URL) (id string, ok bool) {
	below, ok := strings.CutPrefix(address.EscapedPath(), pathIntegrations)
	if !ok {
		return "", false
	}
	escaped, below, _ := strings.Cut(below, "/")
	if first, _, _ := strings.Cut(below, "/"); first != pathRequest {
		return "", false
	}
	id, err := url.PathUnescape(escaped)
	return id, err == nil && id != ""
}

// guarded is a route with all that comes before its handlers: who asks, methods, readiness and bounds.
func (p *Process) guarded(route route) http.Handler {
	admitted := p.admitted(route)
	if !route.public {
		admitted = p.authenticator.Require(admitted)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started, answer := p.options.Clock.Now(), &answer{ResponseWriter: w}
		p.running.begin()
		defer p.running.end()
		end := p.metrics.Begin(route.name)
		defer func() {
			cut := p.broken(answer, route, recover())
			end(answer.final(cut), p.options.Clock.Since(started))
			if cut {
				panic(http.ErrAbortHandler) // Half an answer must not look like a whole one.
			}
		}()
		p.bound(answer, r)
		if err := p.ready(); err != nil && !route.public {
			problem.Write(answer, problem.New(problem.ClusterUnavailable, "the API has just started: %s", err).After(comeBack))
			return
		}
		admitted.ServeHTTP(answer, r)
	})
}

// admitted is what callers who have said who they are come to.
func (p *Process) admitted(route route) http.Handler {
	if route.streams != nil {
		return p.streaming(route.streams)
	}
	methods := strings.Join(slices.Sorted(maps.Keys(route.handlers)), ", ")
	return problem.Handler(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		serve, allowed := route.handlers[r.Method]
		switch {
		case route.handlers == nil:
			return problem.New(problem.NotFound, "nothing is served at this path")
		case !allowed:
			refused := problem.New(problem.MethodNotAllowed, "this path is served with %s", methods)
			refused.Header = http.Header{"Allow": {methods}}
			return refused
		}
		return serve(w, r)
	}, p.failed)
}

// bound limits how long a body and an answer may take. When the body has been read its limit is over, so it ends no wait. Times are
// those of sockets, so they are by the real clock. A limit that an earlier answer on the same connection had is replaced.
func (p *Process) bound(w http.ResponseWriter, r *http.Request) {
	control, now := http.NewResponseController(w), clock.RealClock{}.Now()
	// Where there is nothing to limit, as in tests without a connection, there is no error that matters.
	_ = control.SetWriteDeadline(now.Add(answerWithin))
	if r.ContentLength != 0 {
		_ = control.SetReadDeadline(now.Add(p.options.BodyTimeout))
	}
}

// streaming takes the limits away for a handler that has its own, and bounds how long the rest of the body, which it may have
// left, is waited for.
func (p *Process) streaming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Time{})
		if r.ContentLength != 0 {
			_ = control.SetReadDeadline(time.Time{})
			defer func() { _ = control.SetReadDeadline(clock.RealClock{}.Now().Add(p.options.BodyTimeout)) }()
		}
		next.ServeHTTP(w, r)
	})
}

// failed logs what callers are not told: why the API failed. Of what others failed at, they are told enough.
func (p *Process) failed(r *http.Request, e *problem.Error) {
	switch {
	case r.Context().Err() != nil:
	case e.Code == problem.Internal:
		p.options.Log.Error(e, "a request could not be answered", "pattern", r.Pattern)
	case e.Status >= http.StatusInternalServerError:
		p.options.Log.V(1).Info("a request could not be answered", "pattern", r.Pattern, "error", e.Error())
	}
}

// broken answers after a panic, if there was one, or says that the connection has to be cut. The panic's value is not logged: it
// may quote what the request said.
func (p *Process) broken(w *answer, route route, recovered any) (cut bool) {
	if recovered == nil {
		return false
	}
	if err, ok := recovered.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	p.options.Log.Error(nil, "a request made the program panic", "route", string(route.name), "type", fmt.Sprintf("%T", recovered), "stack", string(debug.Stack()))
	if w.status != 0 {
		return true
	}
	problem.Write(w, problem.New(problem.Internal, "the API could not do this; its log says more"))
	return false
}
