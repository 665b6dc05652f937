// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
)

// A fault of the program is one person's bad luck, with a page, and says nothing of what they sent.
func TestPanic(t *testing.T) {
	var log strings.Builder
	p, err := New(&rest.Config{Host: "https://127.0.0.1:1"}, Options{
		ExternalURL: "https://oauth.example.com",
		Log:         funcr.New(func(prefix, arguments string) { log.WriteString(prefix + arguments) }, funcr.Options{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for reason, test := range map[string]struct {
		serve http.HandlerFunc
		want  int
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { panic("code-1234") }, http.StatusInternalServerError},
		"within the answer": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("begun"))
			panic("code-1234")
		}, http.StatusOK},
	} {
		recorder := httptest.NewRecorder()
		p.guarded(route{name: metrics.RouteOther, handlers: map[string]handler{http.MethodGet: {serve: test.serve}}}).
			ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x?code=code-1234", nil))
		if recorder.Code != test.want || strings.Contains(recorder.Body.String(), "code-1234") {
			t.Errorf("%s: status %d: %s", reason, recorder.Code, recorder.Body)
		}
	}
	if !strings.Contains(log.String(), "panic") || strings.Contains(log.String(), "code-1234") {
		t.Errorf("log: %s", &log)
	}
}

// A redirect URL that was registered with a slash at its end leads to the callback as well; what is below it leads nowhere.
func TestSlashAfterTheCallback(t *testing.T) {
	p, err := New(&rest.Config{Host: "https://127.0.0.1:1"}, Options{ExternalURL: "https://oauth.example.com/x"})
	if err != nil {
		t.Fatal(err)
	}
	status := func(path string) int {
		recorder := httptest.NewRecorder()
		p.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return recorder.Code
	}
	want := status("/x/oauth2/callback?state=x") // Without caches nobody is served yet.
	if got := status("/x/oauth2/callback/?state=x"); got != want || want == http.StatusNotFound {
		t.Errorf("status %d with a slash, %d without", got, want)
	}
	for _, path := range []string{"/x/oauth2/callback//?state=x", "/x/oauth2/callback/more?state=x"} {
		if got := status(path); got != http.StatusNotFound {
			t.Errorf("%s: status %d", path, got)
		}
	}
}
