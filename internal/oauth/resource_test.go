// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func resourceOf(t *testing.T, body string) oauth.Resource {
	t.Helper()
	resource, err := newCaller(oauth.Options{}).Get(t.Context(), replying(200, "application/json", body), oauth.ResourceRequest{URL: "https://api.example/me"})
	if err != nil {
		t.Fatal(err)
	}
	return resource
}

func TestGet(t *testing.T) {
	var seen *http.Request
	server, hits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) > 0 {
			t.Errorf("body %q, %v", body, err)
		}
		answering(200, `{"data":[{"id":"c1","status":"active","deleted_at":null},null,{"id":"c2","n":7}],"next_cursor":"abc","echo":"Bearer `+newAccess+`"}`)(w, r)
	})
	resource, err := newCaller(oauth.Options{UserAgent: "operator/1"}).Get(t.Context(), transport(t), oauth.ResourceRequest{
		URL: server.URL + "/connections?limit=100", Headers: []oauth.Header{
			{Name: "Authorization", Value: sensitive.New("Bearer " + newAccess + "-0123456789")}, {Name: "Accept", Value: sensitive.New("application/vnd.x+json")},
		},
	})
	if err != nil || hits.Load() != 1 || resource.Status != 200 || !resource.IsJSON() {
		t.Fatalf("%+v, %v, %d requests", resource, err, hits.Load())
	}
	if seen.Method != http.MethodGet || seen.URL.String() != "/connections?limit=100" || seen.Header.Get("Content-Type") != "" ||
		seen.Header.Get("Authorization") != "Bearer "+newAccess+"-0123456789" || seen.Header.Get("Accept") != "application/vnd.x+json" || seen.Header.Get("User-Agent") != "operator/1" {
		t.Errorf("%s %s %v", seen.Method, seen.URL, seen.Header)
	}
	var items []string
	for _, item := range resource.Items("$.data[*]") {
		items = append(items, item.Text("$.id")+"/"+item.Text("$.status")+"/"+item.Text("$.deleted_at")+"/"+item.Text("$.n"))
	}
	if diff := cmp.Diff([]string{"c1/active//", "c2///7"}, items); diff != "" || resource.Text("$.next_cursor") != "abc" {
		t.Errorf("cursor %q\n%s", resource.Text("$.next_cursor"), diff)
	}
	if resource.Text("$.data") != "" || resource.Text("broken") != "" || len(resource.Items("broken")) != 0 {
		t.Error("a list, or a broken path, gave a text")
	}
}

func TestGetAnswers(t *testing.T) {
	many := `{"data":[1` + strings.Repeat(",1", 100_000) + `]}`
	for _, test := range []struct {
		reason, body string
		status       int
		fine, json   bool
		says         string
	}{
		{"a list", `["a"]`, 200, true, true, ""},
		{"a text", `"a"`, 200, true, true, ""},
		{"a page", `<html>`, 200, true, false, ""},
		{"nothing", ``, 204, true, false, ""},
		{"a dead token", `{"type":"invalid_api_key_error"}`, 401, true, true, ""},
		{"a refusal that breaks off", `{"type":"inv`, 403, true, false, ""},
		{"a redirect", ``, 302, true, false, ""},
		{"a success that breaks off", `{"data":[{"id":"c1"}`, 200, false, false, "breaks off"},
		{"more than can be read", many, 200, false, false, "values"},
		{"deeper than can be read", `{"data":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 200, false, false, "nested"},
		{"408", ``, 408, false, false, ""},
		{"429", ``, 429, false, false, ""},
		{"500", `{"type":"invalid_api_key_error"}`, 500, false, false, ""},
		{"503", ``, 503, false, false, ""},
	} {
		got, err := newCaller(oauth.Options{}).Get(t.Context(), replying(test.status, "application/json", test.body), oauth.ResourceRequest{URL: "https://api.example"})
		if test.fine {
			if err != nil || got.Status != test.status || got.IsJSON() != test.json {
				t.Errorf("%s: %+v, %v", test.reason, got, err)
			}
			continue
		}
		failure := failureOf(t, err)
		if failure.Concern != oauth.ConcernTransient || failure.Sent != oauth.Answered || !strings.Contains(failure.Error(), test.says) {
			t.Errorf("%s: %s, %s (%v)", test.reason, failure.Concern, failure.Sent, failure)
		}
	}
}

func TestGetFailures(t *testing.T) {
	get := func(url string, transport http.RoundTripper, header string) *oauth.Error {
		_, err := newCaller(oauth.Options{Timeout: short}).Get(t.Context(), transport, oauth.ResourceRequest{
			URL: url, Headers: []oauth.Header{{Name: "Authorization", Value: sensitive.New(header)}},
		})
		return failureOf(t, err)
	}
	if failure := get(served(t, answering(503, newAccess, "Retry-After", "9")), transport(t), "Bearer "+newAccess); failure.RetryAfter != 9*time.Second {
		t.Errorf("%+v", failure)
	}
	if failure := get(served(t, func(_ http.ResponseWriter, r *http.Request) { waitForClient(r) }), transport(t), "x"); failure.Concern != oauth.ConcernTransient || failure.Sent != oauth.Unknown {
		t.Errorf("%+v", failure)
	}
	if failure := get(served(t, answering(200, `{"a":`, "Content-Length", "999")), transport(t), "x"); failure.Concern != oauth.ConcernTransient {
		t.Errorf("%+v", failure)
	}
	if failure := get("http://127.0.0.1:1", transport(t), "x"); failure.Sent != oauth.NotSent || failure.Concern != oauth.ConcernTransient {
		t.Errorf("%+v", failure)
	}
	if failure := get("/me", transport(t), "x"); failure.Concern != oauth.ConcernApplication {
		t.Errorf("%+v", failure)
	}
	if failure := get("https://api.example", transport(t), newAccess+"\n"); failure.Concern != oauth.ConcernApplication || failure.Sent != oauth.NotSent {
		t.Errorf("%+v", failure)
	}
	elsewhere, hits := serve(t, answering(200, `{}`))
	got, err := newCaller(oauth.Options{}).Get(t.Context(), transport(t), oauth.ResourceRequest{URL: served(t, answering(302, "", "Location", elsewhere.URL))})
	if err != nil || got.Status != 302 || hits.Load() != 0 {
		t.Errorf("%+v, %v, %d requests followed a redirect", got, err, hits.Load())
	}
}

// A text that repeats the token, is too long, or cannot be shown, is none.
func TestTextsAreFitToBeShown(t *testing.T) {
	body := `{"token":"x ` + newAccess + `-0123456789 y","long":"` + strings.Repeat("x", 4097) + `","odd":"a\u0000b","most":"` + strings.Repeat("x", 4096) + `","blank":"  ","yes":true,"nothing":null}`
	resource, err := newCaller(oauth.Options{}).Get(t.Context(), replying(200, "application/json", body), oauth.ResourceRequest{
		URL: "https://api.example", Headers: []oauth.Header{{Name: "X-Token", Value: sensitive.New(newAccess + "-0123456789")}, {Name: "X-Version", Value: sensitive.New("true")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"$.token": 0, "$.long": 0, "$.odd": 0, "$.most": 4096, "$.blank": 0, "$.yes": 4, "$.nothing": 0, "$['blank','yes']": 4} {
		if got := resource.Text(path); len(got) != want {
			t.Errorf("%s: %.20q of %d bytes, want %d", path, got, len(got), want)
		}
	}
}

// A document that came by another way selects like an answer.
func TestParseResource(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"c1"}`:                 "c1",
		"\ufeff {\"id\":\"c1\"}\n":    "c1",
		`{"id":"c1"} and more`:        "c1",
		`{"id":"c1"`:                  "",
		`{"id":`:                      "",
		``:                            "",
		`payload=%7B%22id%22%3A1%7D`:  "",
		strings.Repeat(`{"id":`, 1e5): "",
		`{"x":` + strings.Repeat("[", 1e4) + strings.Repeat("]", 1e4) + `,"id":"c1"}`: "c1",
	} {
		resource := oauth.ParseResource([]byte(body))
		if got := resource.Text("$.id"); got != want || resource.IsJSON() != (want != "") {
			t.Errorf("%.40q: %q, JSON %v", body, got, resource.IsJSON())
		}
	}
}

// Numbers that name something are compared as text, whoever wrote them.
func TestNumbersWithoutExponent(t *testing.T) {
	for number, want := range map[string]string{
		`12345678`: "12345678", `1.2345678e7`: "12345678", `1.2345678E+07`: "12345678", `12345678e0`: "12345678", `-1.5e1`: "-15",
		`9007199254740993e0`: "9007199254740993", `1e18`: "1000000000000000000", `1200e-2`: "12", `0e5`: "0",
		`1.5`: "1.5", `1.25e1`: "1.25e1", `1e-5`: "1e-5", `1e19`: "1e19", `1e999999999`: "1e999999999", `"12e5"`: "12e5",
		`1` + strings.Repeat("0", 70) + `e1`: `1` + strings.Repeat("0", 70) + `e1`,
	} {
		if got := oauth.ParseResource([]byte(`{"id":` + number + `}`)).Text("$.id"); got != want {
			t.Errorf("%.40s: %.40q, want %.40q", number, got, want)
		}
	}
}
