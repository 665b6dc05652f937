// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}

// wants tells whether lines stand in a scrape as they are.
func wants(t *testing.T, page string, lines ...string) {
	t.Helper()
	all := strings.Split(page, "\n")
	for _, line := range lines {
		if !slices.Contains(all, line) {
			t.Errorf("%s is missing", line)
		}
	}
}

func TestCounts(t *testing.T) {
	m := metrics.New()
	m.Login(metrics.LoginStarted)
	m.Login(metrics.LoginStarted)
	m.Callback(metrics.CallbackReplayed)
	m.Webhook(metrics.WebhookForged)
	m.Limited(metrics.LimitAddress)
	m.Request(metrics.RouteConnect, http.StatusSeeOther, 30*time.Millisecond)
	m.Request(metrics.RouteWebhooks, http.StatusNotFound, time.Minute)
	wants(t, scrape(t, m),
		`oauth_operator_gateway_logins_total{result="started"} 2`,
		`oauth_operator_gateway_callbacks_total{result="replayed"} 1`,
		`oauth_operator_gateway_webhooks_total{result="forged"} 1`,
		`oauth_operator_gateway_requests_limited_total{by="address"} 1`,
		`oauth_operator_gateway_request_duration_seconds_count{code="3xx",route="connect"} 1`,
		`oauth_operator_gateway_request_duration_seconds_bucket{code="3xx",route="connect",le="0.025"} 0`,
		`oauth_operator_gateway_request_duration_seconds_bucket{code="3xx",route="connect",le="0.05"} 1`,
		`oauth_operator_gateway_request_duration_seconds_bucket{code="4xx",route="webhooks",le="+Inf"} 1`,
	)
}

// Every constant has a series from the beginning, so that a rate is known from the first event on.
func TestSeriesBeginAtZero(t *testing.T) {
	page := scrape(t, metrics.New())
	families := map[string]string{
		"LoginResult": "logins_total{result", "CallbackResult": "callbacks_total{result", "WebhookResult": "webhooks_total{result", "Limit": "requests_limited_total{by",
	}
	file, err := parser.ParseFile(token.NewFileSet(), "metrics.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		kind, _ := spec.Type.(*ast.Ident)
		value, _ := spec.Values[0].(*ast.BasicLit)
		if kind == nil || value == nil || families[kind.Name] == "" {
			return true
		}
		text, err := strconv.Unquote(value.Value)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, page, `oauth_operator_gateway_`+families[kind.Name]+`="`+text+`"} 0`)
		seen++
		return true
	})
	if seen < 30 {
		t.Errorf("%d constants found", seen)
	}
	for line := range strings.SplitSeq(page, "\n") {
		if strings.Contains(line, `"other"`) {
			t.Errorf("%s: nothing has happened yet", line)
		}
	}
}

// Whatever is counted, there are no series but the known ones and one other.
func TestNoLabelFromOutside(t *testing.T) {
	m := metrics.New()
	before := strings.Count(scrape(t, m), "\noauth_operator_gateway_")
	for i := range 100 {
		stranger := "stranger " + strconv.Itoa(i)
		m.Login(metrics.LoginResult(stranger))
		m.Callback(metrics.CallbackResult(stranger))
		m.Webhook(metrics.WebhookResult(stranger))
		m.Limited(metrics.Limit(stranger))
		m.Request(metrics.Route(stranger), i*1000, time.Second)
	}
	page := scrape(t, m)
	if strings.Contains(page, "stranger") {
		t.Error("a stranger named a series")
	}
	const histogram = 14 + 1 + 2 // Its buckets, the last one, sum and count.
	if got := strings.Count(page, "\noauth_operator_gateway_") - before; got != 4+histogram {
		t.Errorf("%d new series", got)
	}
	wants(t, page, `oauth_operator_gateway_webhooks_total{result="other"} 100`, `oauth_operator_gateway_request_duration_seconds_count{code="other",route="other"} 100`)
}

func TestConcurrentCounts(t *testing.T) {
	m := metrics.New()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				m.Webhook(metrics.WebhookAccepted)
				m.Request(metrics.RouteWebhooks, http.StatusOK, 0)
			}
		})
	}
	all.Wait()
	wants(t, scrape(t, m), `oauth_operator_gateway_webhooks_total{result="accepted"} 800`)
}
