// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// hurried is a clock whose timers of seconds fire at once; it remembers them.
type hurried struct {
	clock.RealClock
	mu    sync.Mutex
	waits []time.Duration
}

func (h *hurried) NewTimer(d time.Duration) clock.Timer {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits = append(h.waits, d)
	return h.RealClock.NewTimer(0)
}

func (h *hurried) waited() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waits
}

// onlyNew answers 401 to all tokens but the new one; else it echoes the length of the body.
func onlyNew(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	if r.Header.Get("Authorization") != "Bearer "+newToken {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "the provider's words")
		return
	}
	_, _ = fmt.Fprint(w, n)
}

func TestRejectedToken(t *testing.T) {
	const limit = 64 << 10
	chunked := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(make([]byte, n))) }
	for name, row := range map[string]struct {
		method   string
		body     io.Reader
		renewErr error
		always   bool // 401 to every token
		status   int
		token    string
		attempts int
		renewals int
		verified bool
	}{
		"no body":                  {method: "GET", status: 200, token: proxy.TokenRenewed, attempts: 2, renewals: 1},
		"a small body":             {method: "POST", body: strings.NewReader("x"), status: 200, token: proxy.TokenRenewed, attempts: 2, renewals: 1},
		"the largest body":         {method: "POST", body: bytes.NewReader(make([]byte, limit)), status: 200, token: proxy.TokenRenewed, attempts: 2, renewals: 1},
		"the largest in chunks":    {method: "POST", body: chunked(limit), status: 200, token: proxy.TokenRenewed, attempts: 2, renewals: 1},
		"a larger body":            {method: "POST", body: bytes.NewReader(make([]byte, limit+1)), status: 401, token: proxy.TokenRenewed, attempts: 1, renewals: 1},
		"a larger one in chunks":   {method: "PUT", body: chunked(limit + 1), status: 401, token: proxy.TokenRenewed, attempts: 1, renewals: 1},
		"the new one is no better": {method: "GET", always: true, status: 401, token: proxy.TokenRejected, attempts: 2, renewals: 1, verified: true},
		"not renewable":            {method: "GET", renewErr: credential.ErrNotRenewable, status: 401, token: proxy.TokenRejected, attempts: 1, renewals: 1},
		"too soon":                 {method: "GET", renewErr: fmt.Errorf("%w: x", credential.ErrTooSoon), status: 401, token: proxy.TokenRejected, attempts: 1, renewals: 1, verified: true},
		"in vain":                  {method: "POST", body: strings.NewReader("x"), renewErr: problem.New(problem.RefreshFailed, "no"), status: 401, token: proxy.TokenRejected, attempts: 1, renewals: 1},
	} {
		t.Run(name, func(t *testing.T) {
			api := provider(t, func(w http.ResponseWriter, r *http.Request) {
				if row.always {
					r.Header.Del("Authorization")
				}
				onlyNew(w, r)
			})
			w := start(t, setup{base: api.URL})
			w.tokens.renewErr = row.renewErr
			size := int64(0)
			if seeker, ok := row.body.(io.Seeker); ok {
				size, _ = seeker.Seek(0, io.SeekEnd)
				_, _ = seeker.Seek(0, io.SeekStart)
			} else if row.body != nil {
				size = limit
			}
			got := w.do(w.request(row.method, byPath+"a", row.body))
			wantPassed(t, got, row.status, row.token)
			if want := map[int]string{200: fmt.Sprint(size), 401: "the provider's words"}[row.status]; got.body != want {
				t.Errorf("%q, want %q", got.body, want)
			}
			r := w.record()
			if row.verified {
				receive(t, w.tokens.verified) // The answer has come whole: it did not wait for this.
			}
			renewals := w.tokens.renewed()
			if len(w.tokens.verified) > 0 || renewals != row.renewals || r.Attempts != row.attempts || r.Token != row.token || r.Retries != 0 ||
				!errors.Is(r.Renewal, row.renewErr) {
				t.Errorf("%d renewals, %+v", renewals, r)
			}
		})
	}
}

// The provider has answered while the caller is still sending: what was sent is sent again, and the rest follows.
func TestRejectedWhileTheBodyIsOnItsWay(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+newToken {
				_ = http.NewResponseController(w).EnableFullDuplex()
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})
		w := start(t, setup{base: api.URL, http2: http2})
		read, write := io.Pipe()
		renewing := make(chan struct{})
		w.tokens.renewing = func() { close(renewing) }
		go func() {
			_, _ = io.WriteString(write, "before, ")
			<-renewing
			_, _ = io.WriteString(write, "after")
			_ = write.Close()
		}()
		got := w.do(w.request(http.MethodPost, byPath+"a", read))
		wantPassed(t, got, http.StatusOK, proxy.TokenRenewed)
		if got.body != "before, after" {
			t.Errorf("the provider got %q", got.body)
		}
	})
}

// A large upload that is refused at once: the caller gets the answer without having to send the rest.
func TestRejectedWhileALargeBodyIsOnItsWay(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		started := make(chan struct{})
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no")
			_ = http.NewResponseController(w).Flush()
			<-started
		})
		w := start(t, setup{base: api.URL, http2: http2})
		read, write := io.Pipe()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for { // Until the connection is closed: there is no end.
				if _, err := write.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}()
		response, err := w.client().RoundTrip(w.request(http.MethodPost, byPath+"a", read))
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusUnauthorized || response.Header.Get(proxy.HeaderToken) != proxy.TokenRenewed {
			t.Errorf("%d %v", response.StatusCode, response.Header)
		}
		close(started)
		_ = response.Body.Close()
		_ = read.Close()
		<-sent
		if r := w.record(); r.Attempts != 1 || r.Sent < 1<<20 {
			t.Errorf("%+v", r)
		}
	})
}

func TestRetries(t *testing.T) {
	limits := &v1alpha1.APILimits{ResetHeader: "X-Reset"}
	const pause1, pause2 = 250 * time.Millisecond, 500 * time.Millisecond
	for name, row := range map[string]struct {
		method   string
		headers  []string
		body     io.Reader
		status   int // of the first answers; 0: the connection breaks
		times    int
		answer   http.Header
		want     int
		code     problem.Code
		attempts int
		waits    []time.Duration
	}{
		"GET, 503":                      {method: "GET", status: 503, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"GET, 502 twice":                {method: "GET", status: 502, times: 2, want: 200, attempts: 3, waits: []time.Duration{pause1, pause2}},
		"GET, 504 thrice":               {method: "GET", status: 504, times: 3, want: 504, attempts: 3, waits: []time.Duration{pause1, pause2}},
		"GET, 429":                      {method: "GET", status: 429, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"GET, the connection breaks":    {method: "GET", times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"GET, it breaks always":         {method: "GET", times: 3, want: 502, code: problem.ProviderUnreachable, attempts: 3, waits: []time.Duration{pause1, pause2}},
		"GET, 500":                      {method: "GET", status: 500, times: 1, want: 500, attempts: 1},
		"HEAD, 503":                     {method: "HEAD", status: 503, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"PUT with a body":               {method: "PUT", body: strings.NewReader("x"), status: 503, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"PUT with a body that breaks":   {method: "PUT", body: strings.NewReader("x"), times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"DELETE":                        {method: "DELETE", status: 503, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"PUT with a large body":         {method: "PUT", body: bytes.NewReader(make([]byte, 128<<10)), status: 503, times: 1, want: 503, attempts: 1},
		"POST":                          {method: "POST", body: strings.NewReader("x"), status: 503, times: 1, want: 503, attempts: 1},
		"POST that breaks":              {method: "POST", body: strings.NewReader("x"), times: 1, want: 502, code: problem.ProviderUnreachable, attempts: 1},
		"PATCH":                         {method: "PATCH", body: strings.NewReader("x"), status: 503, times: 1, want: 503, attempts: 1},
		"POST with a key":               {method: "POST", headers: []string{"Idempotency-Key", "k"}, body: strings.NewReader("x"), status: 503, times: 1, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"Retry-After in seconds":        {method: "GET", status: 429, times: 1, answer: http.Header{"Retry-After": {"7"}}, want: 200, attempts: 2, waits: []time.Duration{7 * time.Second}},
		"Retry-After, twice too long":   {method: "GET", status: 503, times: 2, answer: http.Header{"Retry-After": {"20"}}, want: 503, attempts: 2, waits: []time.Duration{20 * time.Second}},
		"Retry-After, too long":         {method: "GET", status: 429, times: 1, answer: http.Header{"Retry-After": {"31"}}, want: 429, attempts: 1},
		"Retry-After in the past":       {method: "GET", status: 429, times: 1, answer: http.Header{"Retry-After": {"Sat, 01 Aug 2020 12:00:00 GMT"}}, want: 200, attempts: 2, waits: []time.Duration{pause1}},
		"Retry-After, a patient caller": {method: "GET", headers: []string{proxy.HeaderTimeout, "5m"}, status: 429, times: 1, answer: http.Header{"Retry-After": {"120"}}, want: 200, attempts: 2, waits: []time.Duration{2 * time.Minute}},
		"Retry-After, a hasty caller":   {method: "GET", headers: []string{proxy.HeaderTimeout, "5s"}, status: 429, times: 1, answer: http.Header{"Retry-After": {"6"}}, want: 429, attempts: 1},
		"the provider's reset header":   {method: "GET", status: 429, times: 1, answer: http.Header{"X-Reset": {"9"}}, want: 200, attempts: 2, waits: []time.Duration{9 * time.Second}},
		"the reset header beside 503":   {method: "GET", status: 503, times: 1, answer: http.Header{"X-Reset": {"9"}}, want: 200, attempts: 2, waits: []time.Duration{pause1}},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			api := provider(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				switch first := int(requests.Add(1)) <= row.times; {
				case first && row.status == 0:
					panic(http.ErrAbortHandler)
				case first:
					maps.Copy(w.Header(), row.answer)
					w.WriteHeader(row.status)
				}
				_, _ = w.Write(body)
			})
			times := &hurried{}
			w := start(t, setup{base: api.URL, limits: limits, options: proxy.Options{Clock: times}})
			got := w.do(w.request(row.method, byPath+"a", row.body, row.headers...))
			if row.code != "" {
				wantProblem(t, got, row.code)
			} else {
				wantPassed(t, got, row.want, "")
			}
			r := w.record()
			if r.Attempts != row.attempts || r.Retries != row.attempts-1 || r.Code != row.code || fmt.Sprint(times.waited()) != fmt.Sprint(row.waits) {
				t.Errorf("%+v, waits %s, want %d and %s", r, times.waited(), row.attempts, row.waits)
			}
			// The transport repeats a GET by itself where a kept connection ends, but there is none yet.
			if int(requests.Load()) != row.attempts {
				t.Errorf("%d requests came", requests.Load())
			}
		})
	}
}

func TestKeptConnectionThatTheProviderHasClosed(t *testing.T) {
	requests := make(chan string, 10)
	api := provider(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- string(body)
	})
	w := start(t, setup{base: api.URL})
	// PUT: whether a POST that was written just then has arrived, nobody can know, so it is not sent again.
	for i := range 5 {
		wantPassed(t, w.do(w.request(http.MethodPut, byPath+"a", strings.NewReader(fmt.Sprint(i)))), http.StatusOK, "")
		if got := receive(t, requests); got != fmt.Sprint(i) {
			t.Errorf("the provider got %q", got)
		}
		api.CloseClientConnections()
	}
}

func TestDeadlineOfTheCaller(t *testing.T) {
	api := provider(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w := start(t, setup{base: api.URL})
	wantProblem(t, w.get("a", proxy.HeaderTimeout, "20ms"), problem.ProviderTimeout)
	for _, wrong := range []string{"soon", "-1s", "0", "5", "1000h"} {
		wantProblem(t, w.get("a", proxy.HeaderTimeout, wrong), problem.InvalidRequest)
	}
	if r := w.record(); r.Code != problem.ProviderTimeout || r.Attempts != 1 {
		t.Errorf("%+v", r)
	}
}

func TestDeadlineWithinRenewal(t *testing.T) {
	api := provider(t, onlyNew)
	w := start(t, setup{base: api.URL})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.tokens.renewing = func() { <-ctx.Done() }
	w.tokens.renewErr = problem.New(problem.RefreshTimeout, "late")
	context.AfterFunc(ctx, func() {})
	done := make(chan answer, 1)
	go func() { done <- w.get("a", proxy.HeaderTimeout, "20ms") }()
	// The renewal of the fake does not heed the deadline; it ends afterwards.
	timer := time.AfterFunc(40*time.Millisecond, cancel)
	defer timer.Stop()
	wantProblem(t, <-done, problem.ProviderTimeout)
}

func TestUnreachable(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	_ = listener.Close()
	for name, row := range map[string]struct {
		base   string
		code   problem.Code
		detail string
	}{
		"refused":        {closed, problem.ProviderUnreachable, "refused the connection"},
		"no such name":   {"http://does-not-exist.invalid", problem.ProviderUnreachable, ""},
		"metadata":       {"http://169.254.169.254", problem.EgressRefused, "refused"},
		"plain, outside": {"http://203.0.113.7", problem.EgressRefused, "plain http"},
		"no HTTP": {rawProvider(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-"+oldToken+"\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}), problem.ProviderUnreachable, "HTTP"},
		"closed at once": {rawProvider(t, func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
		}), problem.ProviderUnreachable, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, setup{base: row.base, options: proxy.Options{Clock: &hurried{}}})
			got := w.get("canary-path?canary-query")
			wantProblem(t, got, row.code)
			if !strings.Contains(got.body, row.detail) || strings.Contains(got.body, "canary") {
				t.Errorf("%s", got.body)
			}
			r := w.record()
			if r.Code != row.code || r.Cause == nil || strings.Contains(r.Cause.Error(), "canary") {
				t.Errorf("%+v", r)
			}
		})
	}
}
