// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// gate remembers what passes.
type gate struct {
	refuse error
	// waiting, if set, is what passes while a request waits.
	waiting func()
	mu      sync.Mutex
	events  []string
}

func (g *gate) note(format string, arguments ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, fmt.Sprintf(format, arguments...))
}

func (g *gate) all() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.events, ", ")
}

func (g *gate) Enter(_ context.Context, key traffic.Key, limits traffic.Limits) (func(traffic.Outcome), error) {
	if g.refuse != nil {
		return nil, g.refuse
	}
	if g.waiting != nil {
		g.waiting()
	}
	g.note("enter %s %s %d", key.Application, key.Connection, limits.Connection.MaxConcurrent)
	return func(o traffic.Outcome) {
		g.note("leave %s", map[traffic.Outcome]string{traffic.Neutral: "neutral", traffic.Answered: "answered", traffic.Dead: "dead"}[o])
	}, nil
}

func (g *gate) Observe(_ traffic.Key, names traffic.RateLimitHeaders, status int, h http.Header) {
	g.note("observe %d %s", status, h.Get(names.Remaining))
}

func TestEachAttemptPassesTheGate(t *testing.T) {
	const enter = "enter application-uid connection-uid 7, "
	for name, row := range map[string]struct {
		base string
		want string
	}{
		"an answer":     {provider(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Left", "3") }).URL, enter + "observe 200 3, leave answered"},
		"another token": {provider(t, onlyNew).URL, enter + "observe 401 , leave answered, " + enter + "observe 200 , leave answered"},
		"an answer that may change": {
			provider(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }).URL,
			strings.TrimSuffix(strings.Repeat(enter+"observe 503 , leave dead, ", 3), ", "),
		},
		"no answer":           {scripted(t, func(net.Conn, *http.Request) {}), strings.TrimSuffix(strings.Repeat(enter+"leave dead, ", 3), ", ")},
		"a forbidden address": {"http://169.254.169.254", enter + "leave neutral"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &gate{}
			limits := &v1alpha1.APILimits{RemainingHeader: "X-Left", Connection: &v1alpha1.ConnectionAPILimits{MaxConcurrent: 7}}
			w := start(t, setup{base: row.base, limits: limits, options: proxy.Options{Gate: g, Clock: &hurried{}}})
			w.get("a")
			_ = w.record()
			if got := g.all(); got != row.want {
				t.Errorf("%s\nwant %s", got, row.want)
			}
		})
	}
}

// A place is taken until the answer has ended.
func TestPlaceIsHeldForTheWholeAnswer(t *testing.T) {
	g, more := &gate{}, make(chan struct{})
	api := provider(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "line\n")
		_ = http.NewResponseController(w).Flush()
		<-more
	})
	w := start(t, setup{base: api.URL, options: proxy.Options{Gate: g}})
	response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"a", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || strings.Contains(g.all(), "leave") {
		t.Errorf("%v, %s", err, g.all())
	}
	close(more)
	_, _ = io.Copy(io.Discard, response.Body)
	if _ = w.record(); !strings.Contains(g.all(), "leave answered") {
		t.Error(g.all())
	}
}

func TestRefusedByTheGate(t *testing.T) {
	g := &gate{refuse: problem.New(problem.RateLimited, "slow down").After(3 * time.Second)}
	w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{Gate: g}})
	got := w.get("a")
	wantProblem(t, got, problem.RateLimited)
	if r := w.record(); got.Header.Get("Retry-After") != "3" || r.Attempts != 0 || r.Code != problem.RateLimited {
		t.Errorf("%v %+v", got.Header, r)
	}
}

func TestCertificates(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	secure.Config.ErrorLog = provider(t, echo).Config.ErrorLog
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, row := range map[string]struct {
		ca   []byte
		code problem.Code
	}{
		"the application's": {caOf(secure), ""},
		"none":              {nil, problem.ProviderUnreachable},
		"no certificate":    {[]byte("canary"), problem.ConnectionNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, setup{base: secure.URL, ca: row.ca})
			got := w.get("a")
			if row.code == "" {
				wantPassed(t, got, http.StatusOK, "")
			} else if wantProblem(t, got, row.code); strings.Contains(got.body, "canary") {
				t.Error(got.body)
			}
			if r := w.record(); r.Retries != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	if _, err := proxy.New(proxy.Options{}); err == nil {
		t.Error("a handler without access was made")
	}
	w := start(t, setup{base: provider(t, echo).URL})
	w.tokens.getErr = errors.New("canary")
	got := w.get("a")
	wantProblem(t, got, problem.Internal)
	if strings.Contains(got.body, "canary") {
		t.Errorf("%s", got.body)
	}
}
