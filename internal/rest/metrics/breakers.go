// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// breakers counts the hosts that get no requests, or one to try them. Hosts are no labels: callers name them.
type breakers struct {
	gauge *prometheus.GaugeVec

	mutex sync.Mutex
	known map[destination]standing
}

type destination struct {
	application types.UID
	host        string
}

// standing is a breaker that is not closed.
type standing struct {
	application types.NamespacedName
	state       traffic.BreakerState
}

func newBreakers(options prometheus.GaugeOpts) *breakers {
	return &breakers{
		gauge: prometheus.NewGaugeVec(options, []string{labelNamespace, labelApplication, "state"}),
		known: map[destination]standing{},
	}
}

// Breaker counts the breaker of a host. The name of the application is that of the UID; empty: it is gone.
func (m *Metrics) Breaker(application types.UID, name types.NamespacedName, host string, state traffic.BreakerState) {
	b := m.breakers
	b.mutex.Lock()
	defer b.mutex.Unlock()
	of := destination{application, host}
	if before, ok := b.known[of]; ok {
		b.of(before).Dec()
		delete(b.known, of)
	}
	if state == traffic.BreakerClosed || name == (types.NamespacedName{}) {
		return
	}
	now := standing{name, state}
	b.known[of] = now
	b.of(now).Inc()
}

// of returns the gauge of a standing. The mutex is held.
func (b *breakers) of(s standing) prometheus.Gauge {
	return b.gauge.WithLabelValues(s.application.Namespace, s.application.Name, string(s.state))
}

// forget drops an application.
func (b *breakers) forget(application types.NamespacedName) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	maps.DeleteFunc(b.known, func(_ destination, s standing) bool { return s.application == application })
	b.gauge.DeletePartialMatch(prometheus.Labels{labelNamespace: application.Namespace, labelApplication: application.Name})
}
