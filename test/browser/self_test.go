// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve runs a page until the test ends.
func serve(t *testing.T, header map[string]string, content string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		for name, value := range header {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, content)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestComplaintsAreHeard : a page that breaks its own policy is found out, or the other tests would prove nothing.
func TestComplaintsAreHeard(t *testing.T) {
	t.Parallel()
	elsewhere := strings.Replace(serve(t, nil, "<!doctype html><title>Elsewhere</title>"), "127.0.0.1", "localhost", 1)
	tests := map[string]struct{ body, press string }{
		"a script":               {body: "<script>document.title='ran'</script>"},
		"a style":                {body: "<style>h1{color:red}</style>"},
		"a picture of elsewhere": {body: `<img src="` + elsewhere + `/x.png" alt="">`},
		"a form to elsewhere":    {body: `<form method=post action="` + elsewhere + `"><button>Go</button></form>`, press: "Go"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tab := newTab(t)
			tab.open(serve(t, map[string]string{"Content-Security-Policy": "default-src 'none'; form-action 'self'"},
				"<!doctype html><html lang=en><title>A page</title><h1>A page</h1>"+test.body))
			tab.await(heading("A page"))
			if test.press != "" {
				tab.press(test.press)
			}
			tab.awaitComplaint("policy")
		})
	}
}

// TestFindingsAreFound : axe runs under the strictest policy, and finds what is wrong.
func TestFindingsAreFound(t *testing.T) {
	t.Parallel()
	policy := map[string]string{"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
	tab := newTab(t)
	tab.open(serve(t, policy, `<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1>
		<input name=nameless><p style="color:#aaa;background:#fff">Too pale to read</p></main>`))
	tab.await(heading("A page"))
	found := map[string]string{}
	for _, f := range tab.findings() {
		found[f.ID] = f.Impact
	}
	for id, impact := range map[string]string{"label": "critical", "color-contrast": "serious"} {
		if found[id] != impact {
			t.Errorf("axe finds %q of impact %q, want %q; all: %v", id, found[id], impact, found)
		}
	}
}

// TestWithoutScripts : a tab that shall run no scripts runs none, and can still be looked into.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	const content = `<!doctype html><html lang=en><title>A page</title><h1>No script</h1><script>document.querySelector("h1").innerText="A script"</script>`
	tab := newTab(t)
	address := serve(t, nil, content)
	tab.open(address)
	tab.await(heading("A script"))
	tab.withoutScripts()
	tab.open(address)
	tab.await(heading("No script"))
}
