// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/limit"
	"github.com/oauth-operator/oauth-operator/internal/gateway/login"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
)

// maxForm bounds a form's body, in bytes: it has one field.
const maxForm = 16 << 10

// limits are how often things may be done.
type limits struct {
	// pages, steps and events are for each client address: pages are looked at, steps cost the API server a write, events come
	// from few addresses.
	pages, steps, events *limit.Limiter
	// connections is for the logins of each connection, and reads for live reads: of all who have a ticket that the cache does not
	// know together, and of all who are in a login together.
	connections, reads *limit.Limiter
}

func newLimits(c clock.PassiveClock) limits {
	upTo := func(perSecond float64, burst int) *limit.Limiter {
		return limit.New(limit.Options{PerSecond: perSecond, Burst: burst, Clock: c})
	}
	return limits{
		pages: upTo(5, 40), steps: upTo(1, 20), events: upTo(50, 200),
		connections: upTo(0.5, 20), reads: upTo(20, 60),
	}
}

// route is a path pattern and what is served there.
type route struct {
	name     metrics.Route
	pattern  string
	handlers map[string]handler
}

// handler serves one method of a route.
type handler struct {
	serve http.HandlerFunc
	// limiter bounds how often an address may ask.
	limiter *limit.Limiter
	// plain : no person is there to read a page.
	plain bool
	// maxBody bounds the body, in bytes; 0: there is none to be read, or serve bounds it.
	maxBody int64
	// needsCluster : without filled caches and keys there is nothing to answer.
	needsCluster bool
}

func (p *Process) routes() []route {
	wildcards := func(names ...string) string { return "/{" + strings.Join(names, "}/{") + "}" }
	person := func(serve http.HandlerFunc, limiter *limit.Limiter, maxBody int64) handler {
		return handler{serve: serve, limiter: limiter, maxBody: maxBody, needsCluster: true}
	}
	assets := handler{serve: p.pages.Assets().ServeHTTP, limiter: p.limits.pages}
	// No HEAD here: whoever looks at where a link leads must not use up the code in it.
	callback := map[string]handler{http.MethodGet: person(p.logins.Callback, p.limits.steps, 0)}
	return []route{
		{metrics.RouteConnect, v1alpha1.PathConnect + wildcards(login.WildcardNamespace, login.WildcardName), map[string]handler{
			http.MethodGet:  person(p.logins.ShowConnect, p.limits.pages, 0),
			http.MethodPost: person(p.logins.Begin, p.limits.steps, maxForm),
		}},
		{metrics.RouteCallback, v1alpha1.PathCallback, callback},
		// As some register it; the controller gives links for both.
		{metrics.RouteCallback, v1alpha1.PathCallback + "/{$}", callback},
		{metrics.RouteResult, login.PathResult + wildcards(login.WildcardLogin), map[string]handler{
			http.MethodGet: person(p.logins.Result, p.limits.pages, 0),
		}},
		{metrics.RouteWebhooks, v1alpha1.PathWebhooks + wildcards(webhook.WildcardNamespace, webhook.WildcardApplication), map[string]handler{
			http.MethodPost: {serve: p.webhooks.ServeHTTP, limiter: p.limits.events, plain: true, needsCluster: true},
		}},
		{metrics.RouteAssets, pages.PathAssets, map[string]handler{http.MethodGet: assets, http.MethodHead: assets}},
		{metrics.RouteOther, "/", nil},
	}
}

// Handler answers all public requests.
func (p *Process) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range p.routes() {
		mux.Handle(route.pattern, p.guarded(route))
	}
	other := p.guarded(route{name: metrics.RouteOther})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below, ours := below(r, p.external.Path)
		// The mux would redirect what is not clean.
		if !ours || path.Clean(below.URL.Path) != strings.TrimSuffix(below.URL.Path, "/") && below.URL.Path != "/" {
			other.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, below)
	})
}

// below returns the request as it looks below the path of the external URL; false: it is not below it.
func below(r *http.Request, prefix string) (*http.Request, bool) {
	if prefix == "" {
		return r, strings.HasPrefix(r.URL.Path, "/")
	}
	rest, ok := strings.CutPrefix(r.URL.Path, prefix)
	raw, rawOK := strings.CutPrefix(r.URL.RawPath, prefix)
	if !ok || !strings.HasPrefix(rest, "/") || (r.URL.RawPath != "" && !rawOK) {
		return r, false
	}
	address := *r.URL
	address.Path, address.RawPath = rest, raw
	inner := new(http.Request)
	*inner = *r
	inner.URL = &address
	return inner, true
}

// guarded is a route with all that comes before its handlers: headers, methods, limits, readiness and bounds.
func (p *Process) guarded(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started, answer := p.options.Clock.Now(), &answer{ResponseWriter: w}
		p.headers.Set(w.Header())
		defer func() {
			p.broken(answer, route, recover())
			p.metrics.Request(route.name, answer.code(), p.options.Clock.Since(started))
		}()
		p.admit(answer, r, route)
	})
}

// admit hands a request to its handler, or refuses it.
func (p *Process) admit(w *answer, r *http.Request, route route) {
	h, allowed := route.handlers[r.Method]
	if !p.withinLimit(w, r, h) {
		return
	}
	switch {
	case route.handlers == nil:
		p.notice(w, pages.NotFound)
	case !allowed:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(route.handlers)), ", "))
		p.notice(w, pages.MethodNotAllowed)
	case h.needsCluster && p.ready() != nil:
		p.notReady(w, h)
	case h.maxBody > 0 && r.ContentLength > h.maxBody:
		w.Header().Set("Connection", "close")
		p.notice(w, pages.BadRequest)
	default:
		if h.maxBody > 0 {
			r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, h.maxBody)
		}
		h.serve(w, r)
	}
}

// withinLimit counts a request of its client, and answers it when there were too many.
func (p *Process) withinLimit(w http.ResponseWriter, r *http.Request, h handler) bool {
	limiter := h.limiter
	if limiter == nil {
		limiter = p.limits.pages
	}
	ok, wait := limiter.Allow(limit.AddressKey(p.proxies.Client(r)))
	switch {
	case ok:
	case h.plain:
		p.metrics.Limited(metrics.LimitAddress)
		refusePlainly(w, http.StatusTooManyRequests, "Too many requests: send it again later.", wait)
	default:
		p.limited(w, metrics.LimitAddress, wait)
	}
	return ok
}

// notReady answers before there is anything to answer with.
func (p *Process) notReady(w http.ResponseWriter, h handler) {
	const later = 5 * time.Second
	if h.plain {
		refusePlainly(w, http.StatusServiceUnavailable, "The gateway is not ready yet: send it again later.", later)
		return
	}
	w.Header().Set("Retry-After", seconds(later))
	p.notice(w, pages.ServerError)
}

// limited answers and counts a request that came too soon.
func (p *Process) limited(w http.ResponseWriter, by metrics.Limit, retryAfter time.Duration) {
	p.metrics.Limited(by)
	w.Header().Set("Retry-After", seconds(retryAfter))
	p.notice(w, pages.TooManyRequests)
}

// refusePlainly answers a program.
func refusePlainly(w http.ResponseWriter, status int, text string, retryAfter time.Duration) {
	w.Header().Set("Retry-After", seconds(retryAfter))
	http.Error(w, text, status)
}

// seconds are whole ones, at least one.
func seconds(d time.Duration) string { return strconv.Itoa(max(int(math.Ceil(d.Seconds())), 1)) }

// notice shows a page that is about no connection; what fails then is the network's.
func (p *Process) notice(w http.ResponseWriter, kind pages.Kind) {
	if err := p.pages.Notice(w, pages.Notice{Kind: kind}); err != nil {
		p.options.Log.V(1).Info("a page could not be sent", "kind", string(kind), "error", err.Error())
	}
}

// broken answers after a panic, if there was one. Its value is not logged: it may quote what the request said.
func (p *Process) broken(w *answer, route route, recovered any) {
	if recovered == nil {
		return
	}
	p.options.Log.Error(nil, "a request made the program panic", "route", string(route.name), "type", fmt.Sprintf("%T", recovered), "stack", string(debug.Stack()))
	if w.status == 0 {
		p.notice(w, pages.ServerError)
	}
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(content []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(content)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}
