// SPDX-License-Identifier: Apache-2.0

// Package metrics counts what happens to grants, and reads the state of connections at scrape. Labels name applications
// and connections, never anything that a provider said.
package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
)

const namespace = "oauth_operator"

// Metrics are the operator's own metrics. It implements prometheus.Collector.
type Metrics struct {
	calls     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	unrevoked *prometheus.CounterVec
	state     state
}

// New makes the metrics. connections is a cache to read at scrape, queue the one of provider calls.
func New(connections client.Reader, queue *callqueue.Queue, clock clock.PassiveClock) *Metrics {
	return &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "provider_calls_total",
			Help: "Calls to OAuth providers. action: Exchange, Import, Issue, Refresh, Revoke; result: success or a reason.",
		}, []string{"application_namespace", "application", "action", "result"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "provider_call_duration_seconds",
			Help:    "Time from the decision to call a provider until its answer is written down.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"action"}),
		unrevoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "unrevoked_grants_total",
			Help: "Deleted connections whose tokens could not be revoked and may still work at the provider.",
		}, []string{"application_namespace", "application"}),
		state: state{
			connections: connections, queue: queue, clock: clock,
			phases: describe("connections", "Connections by application and phase.",
				"application_namespace", "application", "phase"),
			expiry: describe("access_token_expiry_seconds", "Seconds until the access token of a connection expires; negative: since then.",
				"namespace", "connection"),
			waiting: describe("provider_calls_waiting", "Calls that wait for their turn, by application.",
				"application_namespace", "application"),
			running: describe("provider_calls_running", "Calls under way, by application.",
				"application_namespace", "application"),
		},
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// Call counts one call to a provider.
func (m *Metrics) Call(application types.NamespacedName, action, result string, took time.Duration) {
	m.calls.WithLabelValues(application.Namespace, application.Name, action, result).Inc()
	m.durations.WithLabelValues(action).Observe(took.Seconds())
}

// Unrevoked counts a grant that may still work at the provider.
func (m *Metrics) Unrevoked(application types.NamespacedName) {
	m.unrevoked.WithLabelValues(application.Namespace, application.Name).Inc()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.calls.Describe(descriptions)
	m.durations.Describe(descriptions)
	m.unrevoked.Describe(descriptions)
	m.state.describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.calls.Collect(metrics)
	m.durations.Collect(metrics)
	m.unrevoked.Collect(metrics)
	m.state.collect(metrics)
}

// state is read at scrape, so that deleted objects leave nothing behind.
type state struct {
	connections                      client.Reader
	queue                            *callqueue.Queue
	clock                            clock.PassiveClock
	phases, expiry, waiting, running *prometheus.Desc
}

func (s *state) describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.phases, s.expiry, s.waiting, s.running} {
		descriptions <- d
	}
}

// phaseKey is one series of connections by phase.
type phaseKey struct {
	namespace, application string
	phase                  v1alpha1.ConnectionPhase
}

func (s *state) collect(metrics chan<- prometheus.Metric) {
	var list v1alpha1.OAuthConnectionList
	if err := s.connections.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil {
		metrics <- prometheus.NewInvalidMetric(s.phases, err)
		return
	}
	now, phases := s.clock.Now(), map[phaseKey]int{}
	for i := range list.Items {
		c := &list.Items[i]
		namespace, application := c.ApplicationKey()
		phases[phaseKey{namespace, application, c.Status.Phase}]++
		if c.Status.AccessTokenExpiresAt != nil {
			metrics <- prometheus.MustNewConstMetric(s.expiry, prometheus.GaugeValue,
				c.Status.AccessTokenExpiresAt.Sub(now).Seconds(), c.Namespace, c.Name)
		}
	}
	for key, count := range phases {
		metrics <- prometheus.MustNewConstMetric(s.phases, prometheus.GaugeValue, float64(count),
			key.namespace, key.application, string(key.phase))
	}
	s.collectQueue(metrics)
}

func (s *state) collectQueue(metrics chan<- prometheus.Metric) {
	for lane, stats := range s.queue.Stats().Lanes {
		namespace, application, _ := strings.Cut(lane, "/")
		metrics <- prometheus.MustNewConstMetric(s.waiting, prometheus.GaugeValue, float64(stats.Waiting), namespace, application)
		metrics <- prometheus.MustNewConstMetric(s.running, prometheus.GaugeValue, float64(stats.Running), namespace, application)
	}
}
