// SPDX-License-Identifier: Apache-2.0

package webserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/oauth-operator/oauth-operator/internal/webserver"
)

func get(t *testing.T, url string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, strings.TrimSpace(string(body))
}

// bounded is a server for tests.
func bounded(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
}

// process answers everything by 204.
func process() webserver.Process {
	return webserver.Process{
		Public:  bounded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })),
		Probes:  bounded(nil),
		Ready:   func() error { return nil },
		Metrics: http.NotFoundHandler(),
		Start:   func(context.Context, func(string, func() error)) {},
		Serving: func(net.Addr) {}, Stopping: func() {}, DrainTimeout: time.Minute,
	}
}

func newServer(t *testing.T) *webserver.Server {
	t.Helper()
	server, err := webserver.New(webserver.Options{
		BindAddress: "127.0.0.1:0", HealthProbeBindAddress: "127.0.0.1:0", Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// An answer under way when the process is to end is given, probes say by then that nobody should come, and they outlast it;
// what serving needs ends last.
func TestOrderOfEnding(t *testing.T) {
	t.Parallel()
	server, served := newServer(t), process()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	came, answer := make(chan struct{}), make(chan struct{})
	served.Public.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(came)
		<-answer
		w.WriteHeader(http.StatusNoContent)
	})
	var worked <-chan struct{}
	served.Start = func(work context.Context, _ func(string, func() error)) { worked = work.Done() }
	var probes string
	served.Stopping = func() {
		if status, text := get(t, probes+"/readyz"); status != http.StatusServiceUnavailable || text != "the process is ending" {
			t.Errorf("ready while it ends: %d, %s", status, text)
		}
		close(answer)
	}
	drained := false
	served.Drained = func(context.Context) {
		drained = true
		if status, _ := get(t, probes+"/healthz"); status != http.StatusOK {
			t.Errorf("probes end before what was answered: %d", status)
		}
		select {
		case <-worked:
			t.Error("what serving needs ended while it was needed")
		default:
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, served) }()
	public, private, err := server.Listening(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	probes = "http://" + private.String()
	if status, text := get(t, probes+"/readyz"); status != http.StatusOK || text != "ok" {
		t.Errorf("not ready: %d, %s", status, text)
	}
	go func() {
		<-came
		end()
	}()
	if status, _ := get(t, "http://"+public.String()); status != http.StatusNoContent {
		t.Errorf("the answer under way: %d", status)
	}
	if err := <-ended; err != nil || !drained {
		t.Errorf("ended with %v, drained: %t", err, drained)
	}
	<-worked
}

// What serving needs and fails is the end of the process, under its name.
func TestFailureEndsTheProcess(t *testing.T) {
	t.Parallel()
	served, broken, stopped := process(), errors.New("broken"), false
	served.Start = func(_ context.Context, begin func(string, func() error)) {
		begin("caches", func() error { return broken })
		begin("keys", func() error { return nil })
	}
	served.Stopping = func() { stopped = true }
	if err := newServer(t).Run(t.Context(), served); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "caches: ") || !stopped {
		t.Errorf("ended with %v, stopped: %t", err, stopped)
	}
}

// Answers that take longer than they may are cut, and probes end all the same.
func TestAnswersAreCut(t *testing.T) {
	t.Parallel()
	server, served := newServer(t), process()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	served.DrainTimeout = time.Nanosecond
	served.Public.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		end()
		<-r.Context().Done()
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, served) }()
	public, _, err := server.Listening(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+public.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Errorf("an answer: %d", response.StatusCode)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
