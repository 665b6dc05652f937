// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// series returns the lines of a scrape that begin with a word of the API's, without what is zero by itself.
func series(t *testing.T, m *metrics.Metrics, words ...string) []string {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	lines := strings.Split(recorder.Body.String(), "\n")
	return slices.DeleteFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(line, "oauth_operator_api_"+word) })
	})
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func crm() types.NamespacedName { return types.NamespacedName{Namespace: "platform", Name: "crm"} }

func TestRequests(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	m.Begin(metrics.RouteProxy)
	m.Begin(metrics.RouteProxy)(http.StatusOK, time.Second)
	m.Begin(metrics.RouteConnect)(http.StatusNotFound, time.Millisecond)
	m.Begin("/what/a/caller/sent")(http.StatusTeapot, time.Millisecond)
	m.Begin(metrics.RouteOther)(0, time.Millisecond)
	same(t, "answered", series(t, m, "request_duration_seconds_count"),
		`oauth_operator_api_request_duration_seconds_count{code="2xx",route="proxy"} 1`,
		`oauth_operator_api_request_duration_seconds_count{code="4xx",route="connect"} 1`,
		`oauth_operator_api_request_duration_seconds_count{code="4xx",route="other"} 1`,
		`oauth_operator_api_request_duration_seconds_count{code="other",route="other"} 1`,
	)
	var want []string
	for _, route := range metrics.Routes() {
		count := "0"
		if route == metrics.RouteProxy {
			count = "1"
		}
		want = append(want, `oauth_operator_api_requests_in_flight{route="`+string(route)+`"} `+count)
	}
	same(t, "under way", series(t, m, "requests_in_flight"), want...)
}

// TestLabelsAreBounded : whatever callers send, the number of series does not grow.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	for i := range 1000 {
		word := strconv.Itoa(i)
		m.Begin(metrics.Route(word))(i, time.Second)
		m.Proxied(metrics.Proxied{Application: crm(), Method: "M" + word, Status: i, Error: problem.Code("E" + word)})
	}
	if got := len(series(t, m, "request", "proxied_requests")); got > 200 {
		t.Errorf("%d series", got)
	}
	same(t, "proxied", series(t, m, `proxied_requests_total{application="crm",application_namespace="platform",code="2xx"`),
		`oauth_operator_api_proxied_requests_total{application="crm",application_namespace="platform",code="2xx",error="other",method="other"} 100`)
}

func TestProxied(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	m.Proxied(metrics.Proxied{Application: crm(), Method: http.MethodGet, Status: http.StatusBadGateway, Took: time.Second})
	m.Proxied(metrics.Proxied{Application: crm(), Method: http.MethodGet, Status: http.StatusBadGateway, Error: problem.ProviderUnreachable, Took: time.Second})
	m.Proxied(metrics.Proxied{Method: http.MethodPost, Status: http.StatusInternalServerError, Error: problem.Internal})
	m.Retried(crm(), 2)
	m.Retried(crm(), 0)
	m.Retried(types.NamespacedName{}, 0)
	m.Refreshed(crm(), metrics.Renewed)
	m.Refreshed(crm(), metrics.TooSoon)
	m.Refreshed(crm(), metrics.Refresh(problem.RefreshTimeout))
	m.Refreshed(crm(), "anything")
	same(t, "proxied", series(t, m, "proxied_requests_total", "proxied_request_duration_seconds_sum", "retries", "refreshes"),
		`oauth_operator_api_proxied_requests_total{application="crm",application_namespace="platform",code="5xx",error="",method="GET"} 1`,
		`oauth_operator_api_proxied_requests_total{application="crm",application_namespace="platform",code="5xx",error="ProviderUnreachable",method="GET"} 1`,
		`oauth_operator_api_proxied_requests_total{application="",application_namespace="",code="5xx",error="Internal",method="POST"} 1`,
		`oauth_operator_api_proxied_request_duration_seconds_sum{application="crm",application_namespace="platform"} 2`,
		`oauth_operator_api_proxied_request_duration_seconds_sum{application="",application_namespace=""} 0`,
		`oauth_operator_api_retries_total{application="crm",application_namespace="platform"} 2`,
		`oauth_operator_api_refreshes_awaited_total{application="crm",application_namespace="platform",result="renewed"} 1`,
		`oauth_operator_api_refreshes_awaited_total{application="crm",application_namespace="platform",result="too_soon"} 1`,
		`oauth_operator_api_refreshes_awaited_total{application="crm",application_namespace="platform",result="other"} 1`,
		`oauth_operator_api_refreshes_awaited_total{application="crm",application_namespace="platform",result="RefreshTimeout"} 1`,
	)
}

func TestBreakers(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	line := func(state, count string) string {
		return `oauth_operator_api_breakers{application="crm",application_namespace="platform",state="` + state + `"} ` + count
	}
	m.Breaker("1", crm(), "a.example.com", traffic.BreakerOpen)
	m.Breaker("1", crm(), "b.example.com", traffic.BreakerOpen)
	m.Breaker("2", types.NamespacedName{}, "a.example.com", traffic.BreakerOpen)
	same(t, "open", series(t, m, "breakers"), line("Open", "2"))
	m.Breaker("1", crm(), "a.example.com", traffic.BreakerHalfOpen)
	same(t, "one is tried", series(t, m, "breakers"), line("Open", "1"), line("HalfOpen", "1"))
	m.Breaker("1", crm(), "a.example.com", traffic.BreakerClosed)
	// The application is gone by now.
	m.Breaker("1", types.NamespacedName{}, "b.example.com", traffic.BreakerClosed)
	m.Breaker("1", crm(), "a.example.com", traffic.BreakerClosed)
	same(t, "closed", series(t, m, "breakers"), line("Open", "0"), line("HalfOpen", "0"))
}

// TestForget : an application that is gone leaves no series, one of the same name in another namespace keeps its own.
func TestForget(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	other := types.NamespacedName{Namespace: "sales", Name: "crm"}
	for _, application := range []types.NamespacedName{crm(), other} {
		m.Proxied(metrics.Proxied{Application: application, Method: http.MethodGet, Status: http.StatusOK})
		m.Retried(application, 1)
		m.Refreshed(application, metrics.Renewed)
		m.Breaker(types.UID(application.Namespace), application, "a.example.com", traffic.BreakerOpen)
	}
	m.Forget(crm())
	m.Breaker("platform", types.NamespacedName{}, "a.example.com", traffic.BreakerClosed)
	words := []string{"proxied", "retries", "refreshes", "breakers"}
	left := series(t, m, words...)
	if got := strings.Join(left, "\n"); strings.Contains(got, `"platform"`) {
		t.Errorf("left are:\n%s", got)
	}
	for _, word := range words {
		if !slices.ContainsFunc(left, func(line string) bool {
			return strings.Contains(line, word) && strings.Contains(line, `application_namespace="sales"`)
		}) {
			t.Errorf("%s of the other application are gone", word)
		}
	}
}

// TestTogether is for the race detector.
func TestTogether(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for range 50 {
				m.Breaker("1", crm(), "a.example.com", traffic.BreakerOpen)
				m.Begin(metrics.RouteProxy)(http.StatusOK, time.Second)
				m.Proxied(metrics.Proxied{Application: crm(), Method: http.MethodGet, Status: http.StatusOK})
				m.Breaker("1", crm(), "a.example.com", traffic.BreakerClosed)
				m.Forget(crm())
			}
		})
	}
	working.Wait()
	for _, line := range series(t, m, "breakers") {
		if !strings.HasSuffix(line, " 0") {
			t.Error(line)
		}
	}
}
