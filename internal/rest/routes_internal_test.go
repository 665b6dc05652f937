// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func TestIntegrationOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/integrations/a.b/request":         "a.b",
		"/api/integrations/a.b/request/":        "a.b",
		"/api/integrations/a.b/request/x/y":     "a.b",
		"/api/integrations/a.b/request//../x":   "a.b",
		"/api/integrations/a%2Eb/request":       "a.b",
		"/api/integrations/a%2Fb/request":       "a/b",
		"/api/integrations/../request":          "..",
		"/api/integrations/a.b/requests":        "",
		"/api/integrations/a.b/request%2Fx":     "",
		"/api/integrations/a.b/%72equest":       "",
		"/api/integrations/a.b":                 "",
		"/api/integrations/a.b/":                "",
		"/api/integrations/a.b//request":        "",
		"/api/integrations//request":            "",
		"/api/integrations/request":             "",
		"/API/integrations/a.b/request":         "",
		"//api/integrations/a.b/request":        "",
		"/x/../api/integrations/a.b/request":    "",
		"/api/integrations/a/connection":        "",
		"/api/integrations/a/connect/request/x": "",
		"":                                      "",
	} {
		address, err := url.ParseRequestURI("http://api" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := integrationOf(address); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, got, ok, want)
		}
	}
}

// bare is a process without a cluster, and a server for one public route.
func bare(t *testing.T, serve http.HandlerFunc) (p *Process, server *httptest.Server, log *strings.Builder) {
	t.Helper()
	var mutex sync.Mutex
	log = &strings.Builder{}
	p = &Process{metrics: metrics.New(), options: Options{Clock: clock.RealClock{}, BodyTimeout: bodyTimeout, Log: funcr.New(func(_, text string) {
		mutex.Lock()
		defer mutex.Unlock()
		log.WriteString(text + "\n")
	}, funcr.Options{})}}
	server = httptest.NewServer(p.guarded(route{name: metrics.RouteProxy, public: true, streams: serve}))
	t.Cleanup(server.Close)
	return p, server, log
}

func fetch(t *testing.T, server *httptest.Server) (status int, text, code string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		return 0, "", "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), response.Header.Get(problem.Header), err
}

// A panic is answered if nothing has been, else the connection is cut; what it says is not logged.
func TestPanics(t *testing.T) {
	t.Parallel()
	const secret = "secret-of-the-panic"
	half := func(out http.ResponseWriter) {
		_, _ = io.WriteString(out, "half")
		_ = http.NewResponseController(out).Flush()
	}
	t.Run("before the answer", func(t *testing.T) {
		t.Parallel()
		_, server, log := bare(t, func(http.ResponseWriter, *http.Request) { panic(errors.New(secret)) })
		status, text, code, err := fetch(t, server)
		if err != nil || status != http.StatusInternalServerError || code != string(problem.Internal) || strings.Contains(text, secret) {
			t.Errorf("status %d, %s, %v: %s", status, code, err, text)
		}
		server.Close() // Ends what is under way.
		if got := log.String(); !strings.Contains(got, "panic") || !strings.Contains(got, "routes_internal_test.go") || strings.Contains(got, secret) {
			t.Errorf("the log says: %s", got)
		}
	})
	t.Run("within the answer", func(t *testing.T) {
		t.Parallel()
		_, server, log := bare(t, func(out http.ResponseWriter, _ *http.Request) {
			half(out)
			panic(secret)
		})
		if status, text, _, err := fetch(t, server); err == nil {
			t.Errorf("half an answer looks whole: status %d: %s", status, text)
		}
		server.Close()
		if got := log.String(); !strings.Contains(got, "panic") || strings.Contains(got, secret) {
			t.Errorf("the log says: %s", got)
		}
	})
	t.Run("on purpose", func(t *testing.T) {
		t.Parallel()
		_, server, log := bare(t, func(out http.ResponseWriter, _ *http.Request) {
			half(out)
			panic(http.ErrAbortHandler)
		})
		if status, text, _, err := fetch(t, server); err == nil {
			t.Errorf("half an answer looks whole: status %d: %s", status, text)
		}
		server.Close()
		if got := log.String(); got != "" {
			t.Errorf("the log says: %s", got)
		}
	})
}

// Informational answers are not the answer, and what the handler streams reaches the caller at once.
func TestAnswers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p, server, _ := bare(t, func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(http.StatusEarlyHints)
		out.Header().Set(problem.Header, string(problem.RateLimited))
		out.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(out, "first")
		if err := http.NewResponseController(out).Flush(); err != nil {
			t.Error(err)
		}
		<-release
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.ReadFull(response.Body, make([]byte, len("first"))); err != nil {
		t.Fatal(err)
	}
	close(release)
	p.running.wait(t.Context())
	lines := scrape(t, p, "request_duration_seconds_count")
	if want := []string{`oauth_operator_api_request_duration_seconds_count{code="4xx",route="proxy"} 1`}; !slices.Equal(lines, want) {
		t.Errorf("counted: %q", lines)
	}
}

func scrape(t *testing.T, p *Process, word string) []string {
	t.Helper()
	recorder := httptest.NewRecorder()
	p.metrics.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return slices.DeleteFunc(strings.Split(recorder.Body.String(), "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "oauth_operator_api_"+word)
	})
}

// An error is logged once, with its cause, where it is the API's own; callers' mistakes are theirs.
func TestFailedLogs(t *testing.T) {
	t.Parallel()
	p, _, log := bare(t, nil)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	p.failed(request, problem.New(problem.Forbidden, "no"))
	p.failed(request, problem.New(problem.ClusterUnavailable, "away"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	p.failed(request.WithContext(gone), problem.New(problem.Internal, "nobody hears it"))
	if log.String() != "" {
		t.Errorf("the log says: %s", log)
	}
	p.failed(request, problem.New(problem.Internal, "it failed").Because(errors.New("the cause")))
	if got := log.String(); !strings.Contains(got, "the cause") {
		t.Errorf("the log says: %s", got)
	}
}

func TestRunning(t *testing.T) {
	t.Parallel()
	var r running
	r.wait(t.Context()) // For nobody.
	r.begin()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.wait(ended) // Time is up.
	r.begin()
	r.end()
	waited := make(chan struct{})
	go func() {
		r.wait(context.WithoutCancel(t.Context()))
		close(waited)
	}()
	select {
	case <-waited:
		t.Error("it did not wait for the last one")
	default:
	}
	r.end()
	<-waited
}

// What a request has left to be done is waited for too.
func TestRunningInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r running
		done, release := false, make(chan struct{})
		r.begin()
		r.background(func() {
			<-release
			done = true
		})
		r.end() // The request itself is over.
		time.AfterFunc(time.Second, func() { close(release) })
		patient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if r.wait(patient); !done {
			t.Error("it was not waited for")
		}
	})
}
