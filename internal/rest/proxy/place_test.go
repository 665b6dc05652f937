// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// maxForms is how many large forms are held at once for callers whose rights are not known.
const maxForms = 16

// largeForm is more than is read of every form.
func largeForm() string {
	return `{"method":"PUT","url":"a","data":"` + strings.Repeat("x", 64<<10) + `"}`
}

func (w *world) largeForm(selector string) answer {
	w.t.Helper()
	return w.do(w.request(http.MethodPost, byForm, strings.NewReader(largeForm()), "Content-Type", "application/json", proxy.HeaderConnection, selector))
}

// crowd holds as many forms as may be held, until release, or the end of the test. Its callers' rights are not known until then.
func crowd(t *testing.T, w *world) (release func()) {
	t.Helper()
	came, known, done := make(chan struct{}, maxForms), make(chan struct{}), make(chan answer, maxForms)
	w.rights.asked = func(selector string) {
		if selector == "crowd" {
			came <- struct{}{}
			<-known
		}
	}
	for range maxForms {
		go func() { done <- w.largeForm("crowd") }()
	}
	for range maxForms {
		receive(t, came)
	}
	released := false
	release = func() {
		if released {
			return
		}
		released = true
		close(known)
		for range maxForms {
			wantPassed(t, receive(t, done), http.StatusOK, "")
		}
	}
	t.Cleanup(release)
	return release
}

// Who has no rights takes no memory: only so many large forms are held before rights are known.
func TestLargeFormsAreBounded(t *testing.T) {
	times := &hurried{}
	w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{Clock: times}})
	release := crowd(t, w)
	asked := len(w.rights.methods)
	got := w.largeForm("more")
	wantProblem(t, got, problem.RateLimited)
	if waits := fmt.Sprint(times.waited()); got.Header.Get("Retry-After") != "1" || waits != "[10s]" || len(w.rights.methods) != asked {
		t.Errorf("Retry-After %q, waits %s, asked for %q", got.Header.Get("Retry-After"), waits, w.rights.methods)
	}
	// Small ones, and those by path, pass the crowd.
	wantPassed(t, w.form(`{"url":"a"}`), http.StatusOK, "")
	wantPassed(t, w.do(w.request(http.MethodPut, byPath+"a", strings.NewReader(largeForm()))), http.StatusOK, "")
	release()
	wantPassed(t, w.largeForm("more"), http.StatusOK, "")
}

// told is a clock whose timers never fire; it tells of each.
type told struct {
	clock.RealClock
	timers chan time.Duration
}

func (c *told) NewTimer(d time.Duration) clock.Timer {
	c.timers <- d
	return c.RealClock.NewTimer(time.Hour)
}

func TestLargeFormsWaitForTheirTurn(t *testing.T) {
	times := &told{timers: make(chan time.Duration, 10)}
	w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{Clock: times}})
	release := crowd(t, w)
	done := make(chan answer, 2)
	go func() { done <- w.largeForm("more") }()
	receive(t, times.timers)
	// A caller's own deadline ends the wait.
	request := w.request(http.MethodPost, byForm, strings.NewReader(largeForm()), proxy.HeaderTimeout, "20ms")
	wantProblem(t, w.do(request), problem.ProviderTimeout)
	release()
	wantPassed(t, receive(t, done), http.StatusOK, "")
}

// However a form ends, its place becomes free.
func TestPlacesOfFormsBecomeFree(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for name, row := range map[string]struct {
		form    string
		breaks  bool // it does not come whole
		refused error
		code    problem.Code
	}{
		"well":           {form: largeForm()},
		"forbidden":      {form: largeForm(), refused: problem.New(problem.Forbidden, "no"), code: problem.Forbidden},
		"no JSON":        {form: `{"data":"` + long, code: problem.InvalidRequest},
		"breaks off":     {form: `{"data":"` + long, breaks: true},
		"a wrong header": {form: `{"headers":{"Upgrade":"websocket"},"data":"` + long + `"}`, code: problem.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{Clock: &hurried{}}})
			w.rights.refused = row.refused
			for range maxForms + 1 {
				if row.breaks {
					w.breakOff(row.form)
					continue
				}
				got := w.do(w.request(http.MethodPost, byForm, strings.NewReader(row.form)))
				if row.code == "" {
					wantPassed(t, got, http.StatusOK, "")
				} else {
					wantProblem(t, got, row.code)
				}
			}
			w.rights.refused = nil
			wantPassed(t, w.largeForm("more"), http.StatusOK, "")
		})
	}
}

// breakOff sends a form, and goes away instead of ending it.
func (w *world) breakOff(form string) {
	w.t.Helper()
	body := io.MultiReader(strings.NewReader(form), iotest.ErrReader(io.ErrUnexpectedEOF))
	if response, err := w.client().RoundTrip(w.request(http.MethodPost, byForm, body)); err == nil {
		_ = response.Body.Close()
		w.t.Fatalf("status %d", response.StatusCode)
	}
	_ = w.record() // It is over for the proxy too.
}
