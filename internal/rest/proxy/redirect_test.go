// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestRedirects(t *testing.T) {
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/from" {
			w.Header().Set("Location", "/there?x=1#fragment")
			status, _ := strconv.Atoi(r.URL.RawQuery)
			w.WriteHeader(status)
			return
		}
		w.Header().Set("X-Token", strings.Replace(r.Header.Get("Authorization"), oldToken, "the token", 1))
		echo(w, r)
	})
	w := start(t, setup{base: api.URL + "/v1"})
	for name, row := range map[string]struct {
		method, status, body string
		want                 int
		got                  string
	}{
		"GET 301":         {"GET", "301", "", 200, "GET /there?x=1 "},
		"GET 302":         {"GET", "302", "", 200, "GET /there?x=1 "},
		"GET 303":         {"GET", "303", "", 200, "GET /there?x=1 "},
		"GET 307":         {"GET", "307", "", 200, "GET /there?x=1 "},
		"GET 308":         {"GET", "308", "", 200, "GET /there?x=1 "},
		"HEAD 302":        {"HEAD", "302", "", 200, ""},
		"POST 307":        {"POST", "307", "body", 200, "POST /there?x=1 body"},
		"PUT 308":         {"PUT", "308", "body", 200, "PUT /there?x=1 body"},
		"DELETE 307":      {"DELETE", "307", "", 200, "DELETE /there?x=1 "},
		"POST 302":        {"POST", "302", "body", 302, ""},
		"POST 303":        {"POST", "303", "body", 303, ""},
		"POST 307, large": {"POST", "307", strings.Repeat("x", 65<<10), 307, ""},
		"GET 304 is none": {"GET", "304", "", 304, ""},
		"GET 300 is none": {"GET", "300", "", 300, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(w.request(row.method, byPath+"from?"+row.status, strings.NewReader(row.body)))
			_ = w.record()
			wantPassed(t, got, row.want, "")
			if got.body != row.got {
				t.Errorf("the provider got %q", got.body)
			}
			if row.want == http.StatusOK && got.Header.Get("X-Token") != "Bearer the token" {
				t.Errorf("the token went not with it: %v", got.Header)
			}
		})
	}
}

// To a host that the token may not go to goes nothing but the question, and what was left behind does not come back.
func TestRedirectToAnotherHost(t *testing.T) {
	seen := make(chan *http.Request, 10)
	var stranger, api *httptest.Server
	stranger = providerAt(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		if r.URL.Path == "/back" {
			http.Redirect(w, r, api.URL+"/home", http.StatusFound)
		}
	})
	api = provider(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/home":
			seen <- r
		default:
			w.Header().Set("Location", stranger.URL+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	app := append(bearer(oldToken), credential.Header{Name: "X-Api-Key", Value: sensitive.New("canary-key")})
	w := start(t, setup{base: api.URL, headers: app})
	const secret, kept = "canary-secret", "kept"
	got := w.do(w.request(http.MethodPost, byPath+"back", strings.NewReader("body"), "X-Secret", secret, "X-Auth-Token", secret,
		"Idempotency-Key", secret, "Referer", secret, "Accept", kept, "Range", kept, "User-Agent", kept, "Content-Type", kept))
	if got.StatusCode != http.StatusFound { // POST is not made GET.
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	check := func(r *http.Request) {
		t.Helper()
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, ""), "canary") {
				t.Errorf("the other host got %s %q", name, values)
			}
		}
		for _, name := range []string{"Accept", "Range", "User-Agent", "Content-Type"} {
			if r.Header.Get(name) != kept {
				t.Errorf("the other host got %s %q", name, r.Header.Get(name))
			}
		}
	}
	check(receive(t, seen))
	_ = w.record()
	wantPassed(t, w.get("back", "X-Secret", secret, "Accept", kept, "Range", kept, "User-Agent", kept, "Content-Type", kept), http.StatusOK, "")
	check(receive(t, seen))
	back := receive(t, seen)
	check(back)
	if r := w.record(); r.Redirects != 2 || r.Attempts != 3 || r.Host != back.Host {
		t.Errorf("%+v", r)
	}
}

func TestRedirectToAnAllowedHost(t *testing.T) {
	files := providerAt(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+oldToken || r.Header.Get("X-Custom") != "x" {
			t.Errorf("the allowed host got %v", r.Header)
		}
		_, _ = io.WriteString(w, "file")
	})
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, files.URL, http.StatusFound)
	})
	w := start(t, setup{base: api.URL, hosts: []string{"127.0.0.2"}})
	if got := w.get("a", "X-Custom", "x"); got.body != "file" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// A host that got no token has no say about it.
func TestUnauthorizedElsewhere(t *testing.T) {
	stranger := providerAt(t, "127.0.0.2", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL, http.StatusFound)
	})
	w := start(t, setup{base: api.URL})
	wantPassed(t, w.get("a"), http.StatusUnauthorized, "")
	if n := w.tokens.renewed(); n != 0 {
		t.Errorf("%d renewals", n)
	}
}

func TestRedirectFromHTTPSToHTTP(t *testing.T) {
	plain := provider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("Authorization")+r.Header.Get("X-Custom"))
	})
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	w := start(t, setup{base: secure.URL, ca: caOf(secure), hosts: []string{"127.0.0.1"}})
	got := w.get("a", "X-Custom", "x")
	wantPassed(t, got, http.StatusOK, "")
	if got.Header.Get("X-Seen") != "" {
		t.Errorf("over plain http went %q", got.Header.Get("X-Seen"))
	}
}

// The base is plain here, so that plain hosts may have the token; but not one that TLS leads to.
func TestRedirectByTLSAndBack(t *testing.T) {
	plain := provider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("Authorization"))
	})
	authorized := false
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorized = r.Header.Get("Authorization") != ""
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	api := provider(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secure.URL, http.StatusFound) })
	w := start(t, setup{base: api.URL, ca: caOf(secure), hosts: []string{"127.0.0.1"}})
	got := w.get("a")
	wantPassed(t, got, http.StatusOK, "")
	if got.Header.Get("X-Seen") != "" || !authorized {
		t.Errorf("over plain http went %q, by TLS the token: %t", got.Header.Get("X-Seen"), authorized)
	}
}

// Nor does a new token go to where the old one was withheld, though the request has come back to the base.
func TestRedirectAwayAndBackToUnauthorized(t *testing.T) {
	var api *httptest.Server
	stranger := providerAt(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, api.URL+"/home", http.StatusFound)
	})
	api = provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/home" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, stranger.URL, http.StatusFound)
	})
	w := start(t, setup{base: api.URL})
	wantPassed(t, w.get("a"), http.StatusUnauthorized, "")
	if n := w.tokens.renewed(); n != 0 {
		t.Errorf("%d renewals", n)
	}
}

func TestRedirectsThatLeadNowhere(t *testing.T) {
	var target string
	reached := make(chan string, 100)
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		reached <- r.RequestURI
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
	})
	for name, row := range map[string]struct {
		location string
		code     problem.Code // empty: the answer passes
		requests int
	}{
		"a loop":               {"/again", "", 6},
		"no location":          {"", "", 1},
		"another scheme":       {"ftp://files.example/", "", 1},
		"no URL":               {"http://a b/", "", 1},
		"user information":     {"http://user:password@127.0.0.1/", "", 1},
		"no host":              {"http:///x", "", 1},
		"the metadata service": {"http://169.254.169.254/latest/meta-data/iam", problem.EgressRefused, 1},
		"metadata by TLS":      {"https://169.254.169.254/latest/meta-data/iam", problem.EgressRefused, 1},
		"metadata as a number": {"http://2852039166/", problem.ProviderUnreachable, 1},
		"a private network":    {"https://10.0.0.1/", problem.EgressRefused, 1},
		"another loopback":     {"http://127.0.0.9:1/", problem.EgressRefused, 1},
		"IPv6 loopback":        {"http://[::1]:1/", problem.EgressRefused, 1},
		"IPv4 written as IPv6": {"http://[::ffff:169.254.169.254]/", problem.EgressRefused, 1},
		"the unspecified":      {"http://0.0.0.0:1/", problem.EgressRefused, 1},
	} {
		t.Run(name, func(t *testing.T) {
			target = row.location
			w := start(t, setup{base: api.URL, policy: &egress.Policy{AllowPrivate: []string{"127.0.0.1"}}})
			got := w.do(w.request(http.MethodHead, byPath+"a", nil))
			if row.code == "" && (got.StatusCode != http.StatusFound || got.Header.Get("Location") != row.location) {
				t.Errorf("%d %v", got.StatusCode, got.Header)
			}
			if r := w.record(); r.Code != row.code || got.Header.Get(problem.Header) != string(row.code) {
				t.Errorf("%+v", r)
			}
			if len(reached) != row.requests {
				t.Errorf("%d requests", len(reached))
			}
			for range len(reached) {
				<-reached
			}
		})
	}
}
