// SPDX-License-Identifier: Apache-2.0

package problem_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func TestWrite(t *testing.T) {
	for name, row := range map[string]struct {
		err        error
		status     int
		code       problem.Code
		detail     string
		retryAfter string
	}{
		"a problem": {problem.New(problem.Forbidden, "no %s", "way"), http.StatusForbidden, problem.Forbidden, "no way", ""},
		"with a time to wait": {
			problem.New(problem.RateLimited, "slow").After(1500 * time.Millisecond), http.StatusTooManyRequests, problem.RateLimited, "slow", "2",
		},
		"wrapped": {
			errors.Join(errors.New("x"), problem.New(problem.NotFound, "gone")), http.StatusNotFound, problem.NotFound, "gone", "",
		},
		"anything else": {
			errors.New("secret inside"), http.StatusInternalServerError, problem.Internal, "the API could not do this; its log says more", "",
		},
		"a cause": {
			problem.New(problem.ClusterUnavailable, "away").Because(errors.New("secret inside")),
			http.StatusServiceUnavailable, problem.ClusterUnavailable, "away", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			told := problem.Code("")
			problem.Handler(func(http.ResponseWriter, *http.Request) error { return row.err },
				func(_ *http.Request, p *problem.Error) { told = p.Code }).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != row.status || got["status"] != float64(row.status) || told != row.code {
				t.Errorf("status %d, in the body %v, told of %s; want %d, %s", w.Code, got["status"], told, row.status, row.code)
			}
			if got["code"] != string(row.code) || got["detail"] != row.detail || got["type"] != "about:blank" || got["title"] == "" {
				t.Errorf("the body is %s", w.Body)
			}
			if w.Header().Get(problem.Header) != string(row.code) || w.Header().Get("Content-Type") != problem.ContentType ||
				w.Header().Get("Retry-After") != row.retryAfter {
				t.Errorf("headers %v", w.Header())
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
		})
	}
}
