// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what happens at the API. Labels are bounded: routes, methods and codes come from fixed sets, and
// applications are those that exist. Nothing that a caller or a provider sends can make a new series.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Route is a group of paths.
type Route string

// Routes.
const (
	// RouteApplications lists applications, or shows one.
	RouteApplications Route = "applications"
	// RouteConnections lists connections, or shows one.
	RouteConnections Route = "connections"
	// RouteIntegrations lists the caller's own connections, in HAL.
	RouteIntegrations Route = "integrations"
	// RouteConnect connects.
	RouteConnect Route = "connect"
	// RouteConnection shows or deletes the connection of an integration.
	RouteConnection Route = "connection"
	// RouteProxy is the request proxy.
	RouteProxy Route = "proxy"
	// RouteOpenAPI is the description of the API.
	RouteOpenAPI Route = "openapi"
	// RouteOther is every other path.
	RouteOther Route = "other"
)

// Routes are all of them.
func Routes() []Route {
	return []Route{
		RouteApplications, RouteConnections, RouteIntegrations, RouteConnect, RouteConnection, RouteProxy, RouteOpenAPI, RouteOther,
	}
}

// Names of the labels of applications.
const (
	labelNamespace   = "application_namespace"
	labelApplication = "application"
)

// other is the value of a label that is none of the known ones.
const other = "other"

// Metrics are the API's own metrics, in a registry of their own. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	routes   map[Route]bool
	methods  map[string]bool

	durations        *prometheus.HistogramVec
	inFlight         *prometheus.GaugeVec
	proxied          *prometheus.CounterVec
	proxiedDurations *prometheus.HistogramVec
	refreshes        *prometheus.CounterVec
	retries          *prometheus.CounterVec
	breakers         *breakers
}

// New makes the metrics, with those of the Go runtime and the process.
func New() *Metrics {
	const namespace, subsystem = "oauth_operator", "api"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(), routes: map[Route]bool{}, methods: map[string]bool{},
		durations: histogram("request_duration_seconds",
			"Time from a request to the end of its answer, by route and class of the status.", "route", "code"),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_in_flight", Help: "Requests that are being answered, by route.",
		}, []string{"route"}),
		proxied: counter("proxied_requests_total",
			"Requests to providers, by application, method, class of the status that the caller got, and the API's own error (empty: the answer is the provider's).",
			labelNamespace, labelApplication, "method", "code", "error"),
		proxiedDurations: histogram("proxied_request_duration_seconds",
			"Time from a request to a provider to the end of its answer, waits included, by application.", labelNamespace, labelApplication),
		refreshes: counter("refreshes_awaited_total",
			"Requests that waited until their access token was renewed, by application and what became of it.", labelNamespace, labelApplication, "result"),
		retries: counter("retries_total", "Requests that were sent to a provider again, by application.", labelNamespace, labelApplication),
	}
	m.breakers = newBreakers(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "breakers",
		Help: "Hosts of providers that did not answer, by application: left alone (Open), or tried again (HalfOpen).",
	})
	for _, route := range Routes() {
		m.routes[route] = true
		m.inFlight.WithLabelValues(string(route))
	}
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		m.methods[method] = true
	}
	m.registry.MustRegister(m.durations, m.inFlight, m.proxied, m.proxiedDurations, m.refreshes, m.retries, m.breakers.gauge,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registerer takes the metrics of others.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Handler serves all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Begin counts a request that is being answered, until it is called back.
func (m *Metrics) Begin(route Route) (end func(status int, took time.Duration)) {
	if !m.routes[route] {
		route = RouteOther
	}
	gauge := m.inFlight.WithLabelValues(string(route))
	gauge.Inc()
	return func(status int, took time.Duration) {
		gauge.Dec()
		m.durations.WithLabelValues(string(route), class(status)).Observe(took.Seconds())
	}
}

// Proxied is a request to a provider that has been answered.
type Proxied struct {
	// Application that was asked for; empty when there is none of that name.
	Application types.NamespacedName
	// Method of the request to the provider.
	Method string
	// Status that the caller got.
	Status int
	// Error is the code of the API's own error; empty: the answer is the provider's.
	Error problem.Code
	// Took is the time from the request to the end of its answer.
	Took time.Duration
}

// Proxied counts a request to a provider. Its application is one that exists, or empty.
func (m *Metrics) Proxied(p Proxied) {
	if !m.methods[p.Method] {
		p.Method = other
	}
	if p.Error != "" && !known(p.Error) {
		p.Error = other
	}
	namespace, name := p.Application.Namespace, p.Application.Name
	m.proxied.WithLabelValues(namespace, name, p.Method, class(p.Status), string(p.Error)).Inc()
	m.proxiedDurations.WithLabelValues(namespace, name).Observe(p.Took.Seconds())
}

// Retried counts how often a request was sent to a provider again.
func (m *Metrics) Retried(application types.NamespacedName, times int) {
	if times > 0 {
		m.retries.WithLabelValues(application.Namespace, application.Name).Add(float64(times))
	}
}

// Refresh is what became of a request that waited for another access token: one of the following, or the code of the problem.
type Refresh string

// Results of refreshes, beside the codes of problems.
const (
	// Renewed : there is another token.
	Renewed Refresh = "renewed"
	// NotRenewable : none can be had without a person.
	NotRenewable Refresh = "not_renewable"
	// TooSoon : another one was asked for within the last minute.
	TooSoon Refresh = "too_soon"
)

// Refreshed counts a request that waited for another access token.
func (m *Metrics) Refreshed(application types.NamespacedName, result Refresh) {
	switch {
	case result == Renewed, result == NotRenewable, result == TooSoon, known(problem.Code(result)):
	default:
		result = other
	}
	m.refreshes.WithLabelValues(application.Namespace, application.Name, string(result)).Inc()
}

// Forget drops the series of an application that is gone.
func (m *Metrics) Forget(application types.NamespacedName) {
	labels := prometheus.Labels{labelNamespace: application.Namespace, labelApplication: application.Name}
	for _, family := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.proxied, m.proxiedDurations, m.refreshes, m.retries} {
		family.DeletePartialMatch(labels)
	}
	m.breakers.forget(application)
}

// known tells whether a code is one of package problem's: only Internal shares its status with those that are not.
func known(code problem.Code) bool {
	return code == problem.Internal || code.Status() != http.StatusInternalServerError
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
