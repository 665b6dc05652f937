// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// echo answers with what it was sent.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
}

func TestByPath(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL + "/v1"})
	for name, row := range map[string]struct{ method, path, body, want string }{
		"GET":                          {http.MethodGet, "people", "", "GET /v1/people "},
		"the base itself":              {http.MethodGet, "", "", "GET /v1/ "},
		"an escaped slash and a query": {http.MethodGet, "a%2Fb/c?x=1&y=%20;z&=", "", "GET /v1/a%2Fb/c?x=1&y=%20;z&= "},
		"an empty query":               {http.MethodGet, "a?", "", "GET /v1/a? "},
		"POST":                         {http.MethodPost, "people", "ann", "POST /v1/people ann"},
		"PUT":                          {http.MethodPut, "people/1", "ann", "PUT /v1/people/1 ann"},
		"PATCH":                        {http.MethodPatch, "people/1", "ann", "PATCH /v1/people/1 ann"},
		"DELETE":                       {http.MethodDelete, "people/1", "", "DELETE /v1/people/1 "},
		"OPTIONS":                      {http.MethodOptions, "people", "", "OPTIONS /v1/people "},
		"GET with a body":              {http.MethodGet, "search", "q", "GET /v1/search q"},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(w.request(row.method, byPath+row.path, strings.NewReader(row.body)))
			wantPassed(t, got, http.StatusOK, "")
			if got.body != row.want {
				t.Errorf("the provider got %q, want %q", got.body, row.want)
			}
			r := w.record()
			if r.Caller != "bob" || r.Connection.String() != "team/alice" || r.Application.String() != "team/crm" || r.Method != row.method ||
				r.Status != http.StatusOK || r.Attempts != 1 || r.Aborted || r.Code != "" || r.Cause != nil ||
				r.Sent != int64(len(row.body)) || r.Received != int64(len(got.body)) || "http://"+r.Host+"/v1" != w.tokens.current.Base.String() {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestPathsThatAreRefused(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL + "/v1"})
	for path, code := range map[string]problem.Code{
		byPath + "..%2fadmin":                   problem.InvalidRequest,
		byPath + "%2e%2e/admin":                 problem.InvalidRequest,
		byPath + "a/../admin":                   problem.InvalidRequest,
		byPath + `a\..\admin`:                   problem.InvalidRequest,
		byPath + "/evil.example":                problem.InvalidRequest,
		byPath + "a%0d%0aX-Injected:1":          problem.InvalidRequest,
		"/api/integrations/other/request/a":     problem.NotFound,
		"/api/integrations//request/a":          problem.NotFound,
		"/api/integrations/team.crm/requests/a": problem.NotFound,
		"/api/integrations/team.crm":            problem.NotFound,
		"/elsewhere":                            problem.NotFound,
		byForm:                                  problem.MethodNotAllowed,
	} {
		// By hand: clients clean paths.
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		wantProblem(t, answer{Response: response, body: string(content), err: err}, code)
		_ = response.Body.Close()
		_ = conn.Close()
		if r := w.record(); r.Attempts != 0 || r.Code != code {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestByForm(t *testing.T) {
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Type", r.Header.Get("Content-Type"))
		w.Header().Set("X-Custom", strings.Join(r.Header["X-Custom"], "|"))
		echo(w, r)
	})
	w := start(t, setup{base: api.URL + "/v1"})
	type object = map[string]any
	for name, row := range map[string]struct {
		form         any
		want         string
		contentType  string
		customHeader string
	}{
		"nothing":          {form: object{}, want: "GET /v1 "},
		"a path":           {form: object{"url": "/people?x=%2F"}, want: "GET /v1/people?x=%2F "},
		"absolute":         {form: object{"url": api.URL + "/other"}, want: "GET /other "},
		"a method":         {form: object{"method": "delete", "url": "/people/1"}, want: "DELETE /v1/people/1 "},
		"an object":        {form: `{"method":"POST","url":"a","data":{"n":12345678901234567890,"s":"<>"}}`, want: `POST /v1/a {"n":12345678901234567890,"s":"<>"}`, contentType: "application/json"},
		"a list":           {form: object{"method": "POST", "url": "a", "data": []int{1}}, want: "POST /v1/a [1]", contentType: "application/json"},
		"a text as JSON":   {form: object{"method": "POST", "url": "a", "data": "x"}, want: `POST /v1/a "x"`, contentType: "application/json"},
		"false":            {form: object{"method": "POST", "url": "a", "data": false}, want: "POST /v1/a false", contentType: "application/json"},
		"null is no body":  {form: object{"method": "POST", "url": "a", "data": nil}, want: "POST /v1/a "},
		"another JSON":     {form: object{"method": "POST", "url": "a", "data": "x", "headers": object{"content-type": "application/vnd.api+json"}}, want: `POST /v1/a "x"`, contentType: "application/vnd.api+json"},
		"a text as it is":  {form: object{"method": "POST", "url": "a", "data": "<x/>", "headers": object{"Content-Type": "application/xml; charset=utf-8"}}, want: "POST /v1/a <x/>", contentType: "application/xml; charset=utf-8"},
		"a text as a form": {form: object{"method": "POST", "url": "a", "data": "a=b", "headers": object{"Content-Type": "application/x-www-form-urlencoded"}}, want: "POST /v1/a a=b", contentType: "application/x-www-form-urlencoded"},
		"an object as a form": {
			form: object{"method": "POST", "url": "a", "data": object{"b": "x y&z", "a": []any{1, true, nil}, "c": 1.5}, "headers": object{"Content-Type": "application/x-www-form-urlencoded"}},
			want: "POST /v1/a a=1&a=true&a=&b=x+y%26z&c=1.5", contentType: "application/x-www-form-urlencoded",
		},
		"headers": {form: object{"url": "a", "headers": object{"x-custom": []string{"1", "2"}}}, want: "GET /v1/a ", customHeader: "1|2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.form(row.form)
			wantPassed(t, got, http.StatusOK, "")
			if got.body != row.want || got.Header.Get("X-Type") != row.contentType || got.Header.Get("X-Custom") != row.customHeader {
				t.Errorf("the provider got %q, %v", got.body, got.Header)
			}
		})
	}
	w.rights.mu.Lock()
	defer w.rights.mu.Unlock()
	if !slices.Contains(w.rights.methods, "bob DELETE ") {
		t.Errorf("rights were asked for %q", w.rights.methods)
	}
}

func TestFormsThatAreRefused(t *testing.T) {
	reached := make(chan string, 100)
	w := start(t, setup{base: provider(t, func(_ http.ResponseWriter, r *http.Request) { reached <- r.RequestURI }).URL})
	for name, row := range map[string]struct {
		form string
		code problem.Code
	}{
		"no JSON":                      {"canary", problem.InvalidRequest},
		"a list":                       {"[]", problem.InvalidRequest},
		"two objects":                  {`{} {}`, problem.InvalidRequest},
		"half an object":               {`{"url":"a"`, problem.InvalidRequest},
		"an unknown member":            {`{"url":"a","canary":1}`, problem.InvalidRequest},
		"a url that is no text":        {`{"url":1}`, problem.InvalidRequest},
		"a header that is a number":    {`{"headers":{"X-A":1}}`, problem.InvalidRequest},
		"a line break in a value":      {`{"headers":{"X-A":"canary\r\nX-B: 1"}}`, problem.InvalidRequest},
		"a line feed in a listed one":  {`{"headers":{"X-A":["ok","canary\nX-B: 1"]}}`, problem.InvalidRequest},
		"a null in a value":            {`{"headers":{"X-A":"canary\u0000"}}`, problem.InvalidRequest},
		"a line break in a name":       {`{"headers":{"X-A: 1\r\nX-B":"canary"}}`, problem.InvalidRequest},
		"a colon in a name":            {`{"headers":{"X-A:":"canary"}}`, problem.InvalidRequest},
		"an empty name":                {`{"headers":{"":"canary"}}`, problem.InvalidRequest},
		"a line break in the method":   {`{"method":"GET / HTTP/1.1\r\nX: y"}`, problem.MethodNotAllowed},
		"an unknown method":            {`{"method":"PROPFIND"}`, problem.MethodNotAllowed},
		"CONNECT":                      {`{"method":"CONNECT"}`, problem.MethodNotAllowed},
		"another host":                 {`{"url":"https://evil.example/"}`, problem.HostNotAllowed},
		"a form in a form":             {`{"method":"POST","data":{"a":{"b":1}},"headers":{"Content-Type":"application/x-www-form-urlencoded"}}`, problem.InvalidRequest},
		"WebSockets":                   {`{"headers":{"Upgrade":"h2c, WebSocket","Connection":"Upgrade"}}`, problem.InvalidRequest},
		"another method than its own":  {`{"method":"POST","headers":{"X-HTTP-Method-Override":"DELETE"}}`, problem.InvalidRequest},
		"the same, in disguise":        {`{"method":"POST","headers":{"x_http_method-override":"DELETE"}}`, problem.InvalidRequest},
		"larger than what may be sent": {`{"data":"` + strings.Repeat("x", 8<<20) + `"}`, problem.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.form(row.form)
			wantProblem(t, got, row.code)
			if strings.Contains(got.body, "canary") {
				t.Errorf("what was sent is repeated: %s", got.body)
			}
		})
	}
	wantProblem(t, w.do(w.request(http.MethodPost, byForm, strings.NewReader("url=a"), "Content-Type", "application/x-www-form-urlencoded")), problem.UnsupportedMediaType)
	if len(reached) != 0 {
		t.Errorf("the provider got %q", <-reached)
	}
}

// A caller of POST gets no body of HEAD's length.
func TestHeadByForm(t *testing.T) {
	api := provider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "12345")
		w.Header().Set("Etag", "x")
	})
	w := start(t, setup{base: api.URL})
	got := w.form(map[string]any{"method": "HEAD"})
	if wantPassed(t, got, http.StatusOK, ""); got.body != "" || got.Header.Get("Etag") != "x" {
		t.Errorf("%q %v", got.body, got.Header)
	}
}

// What of a caller's headers reaches the provider, and what of the provider's the caller.
func TestHeaders(t *testing.T) {
	const passes, stays = true, false
	fromCaller := map[string]bool{
		"Accept": passes, "Accept-Encoding": passes, "Accept-Language": passes, "Content-Type": passes, "Idempotency-Key": passes,
		"If-None-Match": passes, "Range": passes, "User-Agent": passes, "X-Custom": passes, "X-Api-Version": passes, "Referer": passes,
		"Traceparent": passes,
		"Cookie":      stays, "Cookie2": stays, "Proxy-Authorization": stays, "Proxy-Connection": stays, "Proxy-Anything": stays,
		"Forwarded": stays, "X-Forwarded-For": stays, "X-Forwarded-Host": stays, "X-Forwarded-Client-Cert": stays, "X-Real-Ip": stays,
		"Impersonate-User": stays, "Impersonate-Extra-Scopes": stays, "Upgrade": stays, "Http2-Settings": stays,
		"X_forwarded_for": stays, "Impersonate_user": stays, "Keep-Alive": stays, "X-Named-By-Connection": stays, "Oauth-Operator-Connection": stays, "Oauth-Operator-Anything": stays,
	}
	fromProvider := map[string]bool{
		"Content-Type": passes, "Etag": passes, "Link": passes, "X-Ratelimit-Remaining": passes, "Www-Authenticate": passes,
		"Cache-Control": passes, "X-Custom": passes, "Access-Control-Allow-Origin": passes,
		"Set-Cookie": stays, "Set-Cookie2": stays, "Alt-Svc": stays, "Strict-Transport-Security": stays, "Clear-Site-Data": stays,
		"Proxy-Authenticate": stays, "Keep-Alive": stays, "Upgrade": stays, "X-Named-By-Connection": stays,
		"Oauth-Operator-Error": stays, "Oauth-Operator-Token": stays,
	}
	got := make(chan http.Header, 1)
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		for name := range fromProvider {
			w.Header().Set(name, "provider's")
		}
		w.Header().Set("Connection", "X-Named-By-Connection")
	})
	app := []credential.Header{
		{Name: "authorization", Value: sensitive.New("Bearer " + oldToken)},
		{Name: "X-Api-Version", Value: sensitive.New("application's")},
	}
	w := start(t, setup{base: api.URL, headers: app})
	headers := []string{"Connection", "X-Named-By-Connection, Authorization, X-Api-Version"}
	for name := range fromCaller {
		headers = append(headers, name, "caller's")
	}
	inJSON := map[string]any{"Authorization": []string{"a", "b"}, "Connection": headers[1], "Host": "evil.example", "Content-Length": "999", "Transfer-Encoding": "chunked"}
	for name := range fromCaller {
		inJSON[strings.ToLower(name)] = "caller's"
	}
	for form, send := range map[string]func() answer{
		"by path": func() answer { return w.get("a", append(headers, "Authorization", "Bearer second")...) },
		"in JSON": func() answer { return w.form(map[string]any{"method": "POST", "data": 1, "headers": inJSON}) },
	} {
		t.Run(form, func(t *testing.T) {
			answered := send()
			wantPassed(t, answered, http.StatusOK, "")
			sent := receive(t, got)
			if values := sent["Authorization"]; len(values) != 1 || values[0] != "Bearer "+oldToken {
				t.Errorf("the provider got Authorization %q", values)
			}
			for name, expected := range fromCaller {
				want := ""
				switch {
				case name == "X-Api-Version":
					want = "application's"
				case expected == passes:
					want = "caller's"
				}
				if sent.Get(name) != want {
					t.Errorf("the provider got %s %q, want %q", name, sent.Get(name), want)
				}
			}
			for name, expected := range fromProvider {
				if value := answered.Header.Get(name); (value == "provider's") != expected {
					t.Errorf("the caller got %s %q", name, value)
				}
			}
		})
	}
}

// Nothing is added to either message that the other side did not send, but for what a proxy must say.
func TestNothingIsInvented(t *testing.T) {
	dump := make(chan string, 1)
	base := rawProvider(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		text, _ := httputil.DumpRequest(request, true)
		dump <- string(text)
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Nope\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
	})
	w := start(t, setup{base: base})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "GET %sa HTTP/1.1\r\nHost: api.cluster.local\r\n\r\n", byPath)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	response.Header.Del("Date")
	if err != nil || response.StatusCode != http.StatusNotFound || string(content) != "<html>" ||
		len(response.Header) != 1 || response.Header.Get("Content-Length") != "6" {
		t.Errorf("%d %v %q, %v", response.StatusCode, response.Header, content, err)
	}
	host := strings.TrimPrefix(base, "http://")
	if want, got := "GET /a HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+oldToken+"\r\nUser-Agent: oauth-operator\r\n\r\n", <-dump; got != want {
		t.Errorf("the provider got\n%s\nwant\n%s", got, want)
	}
}

func TestWhoMay(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL})
	w.get("a", proxy.HeaderConnection, "chosen")
	if w.rights.methods[0] != "bob GET chosen" {
		t.Errorf("rights were asked for %q", w.rights.methods)
	}
	w.rights.refused = problem.New(problem.Forbidden, "no")
	wantProblem(t, w.get("a"), problem.Forbidden)
	_ = w.record()
	if r := w.record(); r.Attempts != 0 || r.Connection.Name != "" || r.Application.Name == "" || r.Host != "" {
		t.Errorf("%+v", r)
	}
	w.rights.refused = nil
	w.tokens.current.Base = nil
	wantProblem(t, w.get("a"), problem.NoAPIBaseURL)
}

// A method that nobody may use is refused without a look at anything: what is there and what is not get the same answer.
func TestMethodsThatNobodyMayUse(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL})
	var answers []string
	for _, method := range []string{"PROPFIND", http.MethodTrace, "get"} {
		for _, id := range []string{"team.crm", "team.none"} {
			path := "/api/integrations/" + id + "/request"
			for _, got := range []answer{
				w.do(w.request(method, path+"/a", nil)),
				w.do(w.request(http.MethodPost, path, strings.NewReader(`{"method":"PROPFIND"}`))),
			} {
				wantProblem(t, got, problem.MethodNotAllowed)
				if allow := got.Header.Get("Allow"); allow != "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE" {
					t.Errorf("%s %s: Allow is %q", method, path, allow)
				}
				answers = append(answers, got.body)
				if r := w.record(); r.Application.Name != "" || r.Code != problem.MethodNotAllowed {
					t.Errorf("%+v", r)
				}
			}
		}
	}
	if slices.Sort(answers); len(slices.Compact(answers)) != 1 || w.rights.lookups.Load() != 0 || len(w.rights.methods) != 0 {
		t.Errorf("%d lookups, rights were asked for %q: %q", w.rights.lookups.Load(), w.rights.methods, answers)
	}
}

func TestRecordsHoldNoSecrets(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL})
	w.do(w.request(http.MethodPost, byPath+"canary-path?q=canary-query", strings.NewReader("canary-body"), "X-Custom", "canary-header"))
	encoded, err := json.Marshal(w.record())
	if err != nil || strings.Contains(string(encoded), "canary") {
		t.Errorf("%s, %v", encoded, err)
	}
}
