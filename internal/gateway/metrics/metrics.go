// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what happens at the gateway. Labels have a fixed set of values: nothing that a stranger sends can
// make a new series.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// LoginResult is what became of the beginning of a login: a visit of a connect link, or the click there.
type LoginResult string

// Results of logins.
const (
	// LoginShown : the connect page was shown.
	LoginShown LoginResult = "shown"
	// LoginStarted : the person was sent to the provider.
	LoginStarted LoginResult = "started"
	// LoginBadLink : there is no connection with this link, or no longer.
	LoginBadLink LoginResult = "bad_link"
	// LoginExpiredLink : the link was good once.
	LoginExpiredLink LoginResult = "expired_link"
	// LoginNotNeeded : the connection waits for nobody.
	LoginNotNeeded LoginResult = "not_needed"
	// LoginNotReady : the application or the connection is not ready for a login, or suspended.
	LoginNotReady LoginResult = "not_ready"
	// LoginBadForm : the form was not the one that was shown to this browser, or too old.
	LoginBadForm LoginResult = "bad_form"
	// LoginFailed : the gateway could not do its part.
	LoginFailed LoginResult = "failed"
)

// CallbackResult is what became of a person who came back from the provider.
type CallbackResult string

// Results of callbacks.
const (
	// CallbackCode : a code was handed to the controller.
	CallbackCode CallbackResult = "code"
	// CallbackDenied : the person, or the provider for them, said no.
	CallbackDenied CallbackResult = "denied"
	// CallbackProviderError : the provider answered with another error.
	CallbackProviderError CallbackResult = "provider_error"
	// CallbackForged : the state is not one of ours.
	CallbackForged CallbackResult = "forged"
	// CallbackExpired : the state was good once.
	CallbackExpired CallbackResult = "expired"
	// CallbackReplayed : the state has been used.
	CallbackReplayed CallbackResult = "replayed"
	// CallbackWrongBrowser : the login began in another browser.
	CallbackWrongBrowser CallbackResult = "wrong_browser"
	// CallbackWrongIssuer : the answer names another issuer than the provider's, or none where it announces one (RFC 9207).
	CallbackWrongIssuer CallbackResult = "wrong_issuer"
	// CallbackChanged : the connection or its application is not what it was when the login began, or is gone.
	CallbackChanged CallbackResult = "changed"
	// CallbackBadRequest : the request is no answer of a provider's.
	CallbackBadRequest CallbackResult = "bad_request"
	// CallbackFailed : the gateway could not do its part.
	CallbackFailed CallbackResult = "failed"
)

// WebhookResult is what became of an event of a provider's.
type WebhookResult string

// Results of webhooks.
const (
	// WebhookAccepted : it was handed to the controller.
	WebhookAccepted WebhookResult = "accepted"
	// WebhookIgnored : its signature is good, and it is not about the end of a grant.
	WebhookIgnored WebhookResult = "ignored"
	// WebhookChallenge : the provider asked whether this is the right place.
	WebhookChallenge WebhookResult = "challenge"
	// WebhookUnusable : its signature is good, and it names neither a grant nor an account.
	WebhookUnusable WebhookResult = "unusable"
	// WebhookReplayed : it has been handed to the controller before.
	WebhookReplayed WebhookResult = "replayed"
	// WebhookUnknown : there is no such application, or it takes no events.
	WebhookUnknown WebhookResult = "unknown"
	// WebhookUnsigned : it has no signature that could be read.
	WebhookUnsigned WebhookResult = "unsigned"
	// WebhookForged : its signature is wrong.
	WebhookForged WebhookResult = "forged"
	// WebhookStale : its signature is good, and its time is too far from now.
	WebhookStale WebhookResult = "stale"
	// WebhookUnreadable : its signature is good, and it is not JSON.
	WebhookUnreadable WebhookResult = "unreadable"
	// WebhookTooLarge : its body is too large.
	WebhookTooLarge WebhookResult = "too_large"
	// WebhookBadRequest : its body did not come whole, or it is no POST.
	WebhookBadRequest WebhookResult = "bad_request"
	// WebhookLimited : events of its application come too often.
	WebhookLimited WebhookResult = "limited"
	// WebhookUnavailable : the gateway has no webhook secrets.
	WebhookUnavailable WebhookResult = "unavailable"
	// WebhookFailed : the gateway could not do its part; the provider is asked to send again.
	WebhookFailed WebhookResult = "failed"
)

// Limit is what a request was refused by.
type Limit string

// Limits.
const (
	// LimitAddress is the limit of each client address.
	LimitAddress Limit = "address"
	// LimitConnection is the limit of each connection.
	LimitConnection Limit = "connection"
	// LimitApplication is the limit of each application's webhook.
	LimitApplication Limit = "application"
)

// Route is a group of paths.
type Route string

// Routes.
const (
	// RouteConnect is the connect page and its form.
	RouteConnect Route = "connect"
	// RouteCallback is where providers send people back to.
	RouteCallback Route = "callback"
	// RouteResult is the page that waits for the outcome of a login.
	RouteResult Route = "result"
	// RouteWebhooks takes the events of providers.
	RouteWebhooks Route = "webhooks"
	// RouteAssets is what pages are made of.
	RouteAssets Route = "assets"
	// RouteOther is every other path.
	RouteOther Route = "other"
)

// other is the value of a label that is none of the known ones.
const other = "other"

// Metrics are the gateway's own metrics, in a registry of their own. It is safe for concurrent use.
type Metrics struct {
	registry                   *prometheus.Registry
	logins, callbacks, limited *family
	webhooks                   *family
	durations                  *prometheus.HistogramVec
	routes                     map[Route]bool
}

// New makes the metrics, each series at zero, with those of the Go runtime and the process.
func New() *Metrics {
	const namespace, subsystem = "oauth_operator", "gateway"
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		logins: newFamily(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "logins_total",
			Help: "Visits of connect links and starts of logins, by what became of them.",
		}, "result", logins()...),
		callbacks: newFamily(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "callbacks_total",
			Help: "People who came back from a provider, by what became of it.",
		}, "result", callbacks()...),
		webhooks: newFamily(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "webhooks_total",
			Help: "Events of providers, by what became of them.",
		}, "result", webhooks()...),
		limited: newFamily(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_limited_total",
			Help: "Requests that were refused because too many came, by the limit.",
		}, "by", LimitAddress, LimitConnection, LimitApplication),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_duration_seconds",
			Help:    "Time from a request to the end of its answer. The result route waits for the outcome of a login.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "code"}),
		routes: map[Route]bool{},
	}
	for _, route := range []Route{RouteConnect, RouteCallback, RouteResult, RouteWebhooks, RouteAssets, RouteOther} {
		m.routes[route] = true
	}
	m.registry.MustRegister(m.logins.vector, m.callbacks.vector, m.webhooks.vector, m.limited.vector, m.durations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func logins() []LoginResult {
	return []LoginResult{
		LoginShown, LoginStarted, LoginBadLink, LoginExpiredLink, LoginNotNeeded, LoginNotReady, LoginBadForm, LoginFailed,
	}
}

func callbacks() []CallbackResult {
	return []CallbackResult{
		CallbackCode, CallbackDenied, CallbackProviderError, CallbackForged, CallbackExpired, CallbackReplayed,
		CallbackWrongBrowser, CallbackWrongIssuer, CallbackChanged, CallbackBadRequest, CallbackFailed,
	}
}

func webhooks() []WebhookResult {
	return []WebhookResult{
		WebhookAccepted, WebhookIgnored, WebhookChallenge, WebhookUnusable, WebhookReplayed, WebhookUnknown, WebhookUnsigned,
		WebhookForged, WebhookStale, WebhookUnreadable, WebhookTooLarge, WebhookBadRequest, WebhookLimited,
		WebhookUnavailable, WebhookFailed,
	}
}

// Login counts the beginning of a login.
func (m *Metrics) Login(result LoginResult) { m.logins.count(string(result)) }

// Callback counts a callback.
func (m *Metrics) Callback(result CallbackResult) { m.callbacks.count(string(result)) }

// Webhook counts an event.
func (m *Metrics) Webhook(result WebhookResult) { m.webhooks.count(string(result)) }

// Limited counts a request that was refused because too many came.
func (m *Metrics) Limited(by Limit) { m.limited.count(string(by)) }

// Request counts an answered request, with its HTTP status.
func (m *Metrics) Request(route Route, status int, took time.Duration) {
	if !m.routes[route] {
		route = RouteOther
	}
	m.durations.WithLabelValues(string(route), class(status)).Observe(took.Seconds())
}

// class of an HTTP status, such as 2xx.
func class(status int) string {
	const hundred = 100
	classes := [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	if i := status/hundred - 1; i >= 0 && i < len(classes) {
		return classes[i]
	}
	return other
}

// Handler serves all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// family is a counter for each value of one label.
type family struct {
	vector *prometheus.CounterVec
	known  map[string]prometheus.Counter
}

func newFamily[V ~string](options prometheus.CounterOpts, label string, values ...V) *family {
	f := &family{vector: prometheus.NewCounterVec(options, []string{label}), known: make(map[string]prometheus.Counter, len(values))}
	for _, value := range values {
		f.known[string(value)] = f.vector.WithLabelValues(string(value))
	}
	return f
}

func (f *family) count(value string) {
	counter, known := f.known[value]
	if !known {
		counter = f.vector.WithLabelValues(other)
	}
	counter.Inc()
}
