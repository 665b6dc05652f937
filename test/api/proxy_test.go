// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
	"github.com/oauth-operator/oauth-operator/test/servers/upstream"
)

func proxyRows() []row {
	return []row{
		{"request: method, body and query pass", requestPasses},
		{"request: url, relative and absolute", requestURL},
		{"request: headers that pass, and those that do not", requestHeaders},
		{"request: the token goes where apiHeaders say", requestAPIHeaders},
		{"request: a redirect to another host loses the token", requestRedirected},
		{"request: the provider's own errors pass as they are", requestErrors},
		{"request: what the API itself refuses", requestRefused},
		{"request: RBAC's verbs are the methods", requestVerbs},
		{"request: the caller of the samples, with a connection of its namespace", requestOfSample},
		{"request: an answer of server-sent events", requestStreams},
		{"request: a large body both ways", requestLarge},
		{"request: TLS with the application's own bundle of certificates", requestTLS},
	}
}

// echoed is what the provider's API answers where no handler was set.
func (r *reply) echoed(t *testing.T) upstream.Echo {
	t.Helper()
	r.want(t, http.StatusOK)
	var echo upstream.Echo
	if err := json.Unmarshal(r.body, &echo); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return echo
}

// canary is a value of a query that must not be logged.
const canary = "a-customer-whom-nobody-must-know"

// last is the last request that has come to the provider's API; there have to be this many.
func (s *site) last(n int) upstream.Request {
	s.t.Helper()
	all := s.api.Requests()
	if len(all) != n {
		s.t.Fatalf("%d requests have come to the provider, want %d: %+v", len(all), n, all)
	}
	return all[n-1]
}

func requestPasses(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	w.hide(canary)
	user := s.user("user")
	c := s.connect(user)
	hash := record.Hash(s.token(c))
	count := 0
	check := func(echo, want upstream.Echo) {
		t.Helper()
		count++
		if echo != want {
			t.Errorf("the provider got %+v, want %+v", echo, want)
		}
		if got := s.last(count); got.TokenHash != hash || !got.Accepted {
			t.Errorf("request %d came without the connection's token", count)
		}
	}
	query := "customer=" + canary + "&b=%2F&b=2&empty"
	for _, integration := range []string{s.slug(), id(s.application)} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			body := ""
			if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
				body = `{"amount": 1}`
			}
			asked := call{as: user, method: method, target: "/api/integrations/" + integration + "/request/in%2Fvoices/7?" + query}
			if body != "" {
				asked.body = body
			}
			check(s.do(t, asked).echoed(t), upstream.Echo{Method: method, Path: "/v1/in%2Fvoices/7", Query: query, Body: body})
		}
	}
	head := s.do(t, call{as: user, method: http.MethodHead, target: s.path("request/invoices")})
	if count++; head.status != http.StatusOK || len(head.body) != 0 || s.last(count).Method != http.MethodHead {
		t.Errorf("HEAD: status %d, %d bytes", head.status, len(head.body))
	}
	inJSON := func(body map[string]any) upstream.Echo {
		return s.do(t, call{as: user, method: http.MethodPost, target: s.path("request"), body: body}).echoed(t)
	}
	check(inJSON(map[string]any{"url": "invoices?" + query}), upstream.Echo{Method: http.MethodGet, Path: "/v1/invoices", Query: query})
	check(inJSON(map[string]any{"method": "POST", "url": "/invoices", "data": map[string]any{"amount": 1}}),
		upstream.Echo{Method: http.MethodPost, Path: "/v1/invoices", Body: `{"amount":1}`})
	check(inJSON(map[string]any{
		"method": "PUT", "url": "/form", "data": map[string]any{"a": "b c"}, "headers": map[string]any{"Content-Type": "application/x-www-form-urlencoded"},
	}), upstream.Echo{Method: http.MethodPut, Path: "/v1/form", Body: "a=b+c"})
	check(inJSON(map[string]any{"method": "patch", "url": "/text", "data": "plain", "headers": map[string]any{"Content-Type": "text/plain"}}),
		upstream.Echo{Method: http.MethodPatch, Path: "/v1/text", Body: "plain"})
	if got := s.last(count).Header.Get("Content-Type"); got != "text/plain" {
		t.Errorf("Content-Type is %q", got)
	}
}

func requestURL(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	open := w.newSite(t, options{change: func(spec *v1alpha1.OAuthApplicationSpec) { spec.AllowedHosts = []string{"127.0.0.1"} }})
	user := s.user("user", rule{namespace: open.platform, resource: connections, verbs: []string{"create"}},
		rule{namespace: open.platform, resource: proxy, verbs: []string{"get"}})
	s.connect(user)
	open.connect(user)
	ask := func(of *site, address string) *reply {
		return of.do(t, call{as: user, method: http.MethodPost, target: of.path("request"), body: map[string]any{"url": address}})
	}
	if echo := ask(s, s.api.URL+"/other/path?q=1").echoed(t); echo.Path != "/other/path" || echo.Query != "q=1" {
		t.Errorf("an absolute URL came as %+v", echo)
	}
	for _, elsewhere := range []string{
		open.api.URL + "/v1/invoices", "https://elsewhere.example.com/", "http://localhost:" + portOf(s.api.URL) + "/", "https://127.0.0.1.example.com/",
	} {
		ask(s, elsewhere).problem(t, http.StatusForbidden, "HostNotAllowed")
	}
	for _, wrong := range []string{"ftp://" + s.api.Address(), "http://user:password@" + s.api.Address(), "//elsewhere.example.com/", "/../admin", "/%2e%2e/admin"} {
		ask(s, wrong).problem(t, http.StatusBadRequest, "InvalidRequest")
	}
	if n := len(s.api.Requests()) + len(open.api.Requests()); n != 1 {
		t.Errorf("%d requests were sent, want 1", n)
	}
	other, err := upstream.Start(upstream.Options{IntrospectionURL: open.base + "/introspect", ClientID: clientID, ClientSecret: clientSecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	if echo := ask(open, other.URL+"/files").echoed(t); echo.Path != "/files" {
		t.Errorf("an allowed host got %+v", echo)
	}
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func requestHeaders(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.connect(user)
	s.api.Handle("/v1/x", func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "session=1", "Strict-Transport-Security": "max-age=1", "X-Provider": "yes", "Etag": `"1"`, headerError: "Forged", headerToken: "forged",
			"Location": "/elsewhere",
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "made")
	})
	sent := map[string]string{
		"Cookie": "session=mine", "Proxy-Authorization": "Basic eA==", "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1",
		"Impersonate-User": "admin", "X-Remote-User": "kept", "Accept": "application/json", "Idempotency-Key": "7", "If-Match": `"1"`,
		headerConnection: s.platform + "." + s.own(user).Name,
	}
	delete(sent, "Connection") // HTTP/2 has none.
	answer := s.do(t, call{as: user, method: http.MethodPost, target: s.path("request/x"), header: sent, body: "body"})
	if answer.status != http.StatusCreated || string(answer.body) != "made" {
		t.Fatalf("status %d: %s", answer.status, answer.body)
	}
	for name, want := range map[string]string{
		"Set-Cookie": "", "Strict-Transport-Security": "", headerError: "", headerToken: "", "X-Provider": "yes", "Etag": `"1"`, "Location": "/elsewhere",
	} {
		if got := answer.header.Get(name); got != want {
			t.Errorf("the caller got %s: %q, want %q", name, got, want)
		}
	}
	got := s.last(1).Header
	for _, name := range []string{"Cookie", "Proxy-Authorization", "X-Forwarded-For", "Forwarded", "Impersonate-User", headerConnection} {
		if got.Get(name) != "" {
			t.Errorf("the provider got %s: %s", name, got.Get(name))
		}
	}
	for _, name := range []string{"Accept", "Idempotency-Key", "If-Match"} {
		if got.Get(name) != sent[name] {
			t.Errorf("the provider got %s: %q, want %q", name, got.Get(name), sent[name])
		}
	}
	if len(got.Values("Authorization")) != 1 {
		t.Errorf("%d headers Authorization", len(got.Values("Authorization")))
	}
	byOldHTTP := map[string]string{"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=5", "Proxy-Connection": "close", "X-Kept": "1"}
	s.do(t, call{as: user, target: s.path("request/y"), header: byOldHTTP, http1: true}).want(t, http.StatusOK)
	for name, value := range s.last(2).Header {
		if byOldHTTP[name] != "" && name != "X-Kept" {
			t.Errorf("the provider got %s: %s", name, value)
		}
	}
	// In the JSON form the caller cannot bring them either.
	s.do(t, call{as: user, method: http.MethodPost, target: s.path("request"), body: map[string]any{
		"url": "/y", "headers": map[string]any{"authorization": "Bearer mine", "cookie": "a=b", "x-list": []string{"1", "2"}},
	}}).want(t, http.StatusOK)
	if got := s.last(3); got.Header.Get("Cookie") != "" || !got.Accepted || len(got.Header.Values("X-List")) != 2 {
		t.Errorf("the provider got %+v", got.Header)
	}
}

// own is a user's connection.
func (s *site) own(as *account) *v1alpha1.OAuthConnection {
	s.t.Helper()
	shown := s.do(s.t, call{as: as, target: s.path("connection")}).want(s.t, http.StatusOK).object(s.t)
	return s.find(fmt.Sprint(shown["id"]))
}

func requestAPIHeaders(t *testing.T, w *world) {
	const apiKey = "the-key-of-the-platform-4711"
	w.hide(apiKey)
	token, version := "Token {access_token}", "2026-01-01"
	s := w.newSite(t, options{
		change: func(spec *v1alpha1.OAuthApplicationSpec) {
			spec.APIHeaders = []v1alpha1.RequestHeader{
				{Name: "X-Crm-Token", Value: &token},
				{Name: "Crm-Version", Value: &version},
				{Name: "X-Api-Key", Prefix: "key ", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "crm-key", Key: "key"}},
			}
		},
		upstream: func(o *upstream.Options) {
			o.Token = func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("X-Crm-Token"), "Token ") }
		},
		before: func(s *site) {
			create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "crm-key"}, StringData: map[string]string{"key": apiKey}})
		},
	})
	user := s.user("user")
	s.connect(user)
	answer := s.do(t, call{as: user, target: s.path("request/x"), header: map[string]string{
		"X-Crm-Token": "mine", "X-Api-Key": "mine", "Crm-Version": "mine",
	}})
	answer.want(t, http.StatusOK)
	got := s.last(1)
	for name, want := range map[string]string{"X-Crm-Token": "Token {access_token}", "X-Api-Key": "key " + apiKey, "Crm-Version": version, "Authorization": ""} {
		if strings.Join(got.Header.Values(name), ", ") != want {
			t.Errorf("%s does not come as the application says, or more than once", name)
		}
	}
}

func requestRedirected(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	other, err := upstream.Start(upstream.Options{IntrospectionURL: s.base + "/introspect", ClientID: clientID, ClientSecret: clientSecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	s.api.Handle("/v1/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/there", http.StatusFound)
	})
	s.api.Handle("/v1/home", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v1/there", http.StatusFound) })
	user := s.user("user")
	s.connect(user)
	if echo := s.do(t, call{as: user, target: s.path("request/home")}).echoed(t); echo.Path != "/v1/there" {
		t.Errorf("the redirect has led to %+v", echo)
	}
	answer := s.do(t, call{as: user, target: s.path("request/away"), header: map[string]string{"X-Api-Key": "mine"}})
	got := other.Requests()
	if len(got) != 1 || got[0].Path != "/there" {
		t.Fatalf("the other host got %+v, and the caller %d", got, answer.status)
	}
	if got[0].TokenHash != "" || got[0].Header.Get("Authorization") != "" || got[0].Header.Get("X-Api-Key") != "" {
		t.Error("the other host got credentials")
	}
}

func requestErrors(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.connect(user)
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		body := fmt.Sprintf(`{"status": %d, "code": "Provider"}`, status)
		s.api.Handle(fmt.Sprintf("/v1/%d", status), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("X-Upstream", "1")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		answer := s.do(t, call{as: user, method: http.MethodPost, target: s.path(fmt.Sprintf("request/%d", status)), body: "x"})
		if answer.status != status || string(answer.body) != body || answer.header.Get(headerError) != "" || answer.header.Get("X-Upstream") != "1" {
			t.Errorf("status %d came as %d, %v: %s", status, answer.status, answer.header, answer.body)
		}
	}
}

func requestRefused(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	see := rule{namespace: s.platform, resource: connections, verbs: []string{"get", "list"}}
	user := s.user("user", see)
	s.do(t, call{as: user, target: s.path("request/x")}).problem(t, http.StatusNotFound, "NotFound")
	waiting := s.person("waiting")
	s.wait(waiting, phase(v1alpha1.ConnectionAuthorizing))
	s.eventually(call{as: user, target: s.path("connection")}, map[string]any{"id": waiting.UID})
	p := s.do(t, call{as: user, target: s.path("request/x")}).problem(t, http.StatusConflict, "ConnectionInactive")
	if p.AuthorizationURL == "" || p.AuthorizationURL != s.get(waiting).Status.AuthorizationURL {
		t.Errorf("the problem does not say where to authorize: %+v", p)
	}
	s.connect(user)
	for _, bad := range []string{`{`, `[]`, `{"url": 1}`, `{"url": "x", "unknown": 1}`, `{"url": "x", "headers": {"a b": "c"}}`, `{"url": "x", "headers": {"a": "c\n"}}`} {
		asked := call{as: user, method: http.MethodPost, target: s.path("request"), body: bad, header: map[string]string{"Content-Type": "application/json"}}
		s.do(t, asked).problem(t, http.StatusBadRequest, "InvalidRequest")
	}
	unknown := call{as: user, method: http.MethodPost, target: s.path("request"), body: map[string]any{"url": "x", "method": "PURGE"}}
	s.do(t, unknown).problem(t, http.StatusMethodNotAllowed, "MethodNotAllowed")
	s.api.Close()
	down := s.do(t, call{as: user, method: http.MethodPost, target: s.path("request/x"), body: "x"})
	down.problem(t, http.StatusBadGateway, "ProviderUnreachable")

	without := w.newSite(t, options{change: func(spec *v1alpha1.OAuthApplicationSpec) { spec.APIBaseURL = "" }})
	other := without.user("user")
	without.connect(other)
	without.do(t, call{as: other, target: without.path("request/x")}).problem(t, http.StatusConflict, "NoAPIBaseURL")
}

func requestVerbs(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	s.connect(s.user("owner"), map[string]any{"shared": true})
	shared := s.platform + ".crm-shared"
	methods := map[string][]string{
		"get": {http.MethodGet, http.MethodHead, http.MethodOptions}, "create": {http.MethodPost}, "update": {http.MethodPut},
		"patch": {http.MethodPatch}, "delete": {http.MethodDelete},
	}
	sent := 0
	for verb := range methods {
		user := s.newAccount(t, s.billing, "may-"+verb,
			rule{namespace: s.platform, resource: connections, verbs: []string{"get"}},
			rule{namespace: s.platform, resource: proxy, verbs: []string{verb}, name: "crm-shared"})
		for other, all := range methods {
			for _, method := range all {
				asked := call{as: user, method: method, target: s.path("request/x"), header: map[string]string{headerConnection: shared}}
				status, code := http.StatusForbidden, "Forbidden"
				if verb == other {
					status, code = http.StatusOK, ""
					sent++
				}
				if answer := s.do(t, asked); answer.status != status || answer.header.Get(headerError) != code {
					t.Errorf("%s with %s: status %d, code %s", method, verb, answer.status, answer.header.Get(headerError))
				}
				if method == http.MethodHead || method == http.MethodOptions {
					continue
				}
				asked.method, asked.target, asked.body = http.MethodPost, s.path("request"), map[string]any{"url": "/x", "method": method}
				if verb == other {
					sent++
				}
				if answer := s.do(t, asked); answer.status != status || answer.header.Get(headerError) != code {
					t.Errorf("%s in JSON with %s: status %d, code %s", method, verb, answer.status, answer.header.Get(headerError))
				}
			}
		}
	}
	if n := len(s.api.Requests()); n != sent {
		t.Errorf("%d requests were sent, want %d", n, sent)
	}
	// To own a connection, or to see it, is not to use it.
	maker := s.newAccount(t, s.billing, "maker", rule{namespace: s.platform, resource: connections, verbs: []string{"create"}})
	s.connect(maker)
	s.do(t, call{as: maker, target: s.path("request/x")}).problem(t, http.StatusForbidden, "Forbidden")
}

func requestOfSample(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	ledger := w.sampleCaller(t, s.platform, s.billing)
	crm := s.person("crm", func(c *v1alpha1.OAuthConnection) {
		c.Namespace, c.Spec.ApplicationRef.Namespace = s.billing, s.platform
		reference := &v1alpha1.SecretKeyReference{Name: "crm-code"}
		c.Spec.Grant = v1alpha1.GrantSpec{
			Type:              v1alpha1.GrantAuthorizationCode,
			AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: reference, CodeVerifierSecretRef: reference, RedirectURL: harness.DefaultRedirectURI},
		}
	})
	code := s.code()
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.billing, Name: "crm-code"}, StringData: map[string]string{
		v1alpha1.DefaultCodeKey: fmt.Sprint(code["code"]), v1alpha1.DefaultCodeVerifierKey: fmt.Sprint(code["codeVerifier"]),
	}})
	s.wait(crm, works)
	named := map[string]string{headerConnection: s.billing + ".crm"}
	s.eventually(call{as: ledger, target: s.path("request/invoices?limit=10"), header: named},
		map[string]any{"method": "GET", "path": "/v1/invoices", "query": "limit=10"})
	if s.last(1).TokenHash != record.Hash(s.token(crm)) {
		t.Error("the request went with another token")
	}
	listed, _ := data(t, s.do(t, call{as: ledger, target: "/oauth_connections"}))
	if len(listed) != 1 || listed[0]["name"] != "crm" {
		t.Errorf("the caller sees %v", listed)
	}
	s.do(t, call{as: ledger, method: http.MethodDelete, target: s.path("request/invoices/7"), header: named}).problem(t, http.StatusForbidden, "Forbidden")
	own := s.connect(ledger)
	s.do(t, call{as: ledger, target: s.path("request/invoices")}).want(t, http.StatusOK)
	if s.last(2).TokenHash != record.Hash(s.token(own)) {
		t.Error("without a name, it is not the caller's own connection")
	}
	s.do(t, call{as: ledger, method: http.MethodDelete, target: s.path("connection")}).want(t, http.StatusNoContent)
}

func requestStreams(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.connect(user)
	next, gone := make(chan struct{}), make(chan struct{})
	s.api.Handle("/v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := s.send(ctx, call{as: user, target: s.path("request/events"), header: map[string]string{"Accept": "text/event-stream"}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, type %q", response.StatusCode, got)
	}
	lines := bufio.NewScanner(response.Body)
	for i := range 3 {
		// The provider sends no more before this one was read here.
		if want := fmt.Sprintf("data: %d", i); !lines.Scan() || lines.Text() != want || !lines.Scan() {
			t.Fatalf("got %q, want %q: %v", lines.Text(), want, lines.Err())
		}
		if i < 2 {
			next <- struct{}{}
		}
	}
	cancel()
	select {
	case <-gone:
	case <-t.Context().Done():
	}
}

func requestLarge(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.connect(user)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	s.api.Handle("/v1/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "right")
	})
	answer := s.do(t, call{as: user, method: http.MethodPut, target: s.path("request/file"), body: content})
	if answer.want(t, http.StatusOK); !bytes.Equal(answer.body, content) {
		t.Errorf("%d bytes came back of %d, or others", len(answer.body), len(content))
	}
	if answer.trailer.Get("X-Sum") != "right" {
		t.Errorf("the trailers are %v", answer.trailer)
	}
}

func requestTLS(t *testing.T, w *world) {
	s := w.newSite(t, options{upstream: func(o *upstream.Options) { o.TLS = true }})
	user := s.user("user")
	s.connect(user)
	p := s.do(t, call{as: user, method: http.MethodPost, target: s.path("request/x"), body: "x"}).problem(t, http.StatusBadGateway, "ProviderUnreachable")
	if len(s.api.Requests()) != 0 {
		t.Errorf("a server that nobody vouches for got a request; the caller was told %+v", p)
	}
	trusted, err := fositeserver.Start(harness.Options{TLS: true, Clients: []harness.Client{{ID: clientID, Secret: clientSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trusted.Close)
	w.watch(trusted)
	api, err := upstream.Start(upstream.Options{
		IntrospectionURL: trusted.URL + "/introspect", ClientID: clientID, ClientSecret: clientSecret, TLS: true, Client: trusted.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	create(t,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "ca"}, Data: map[string]string{"ca.crt": string(trusted.CAPEM) + string(api.CAPEM)}},
		&v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "private"},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL: trusted.URL, APIBaseURL: v1alpha1.EndpointURL(api.URL),
				Client:   v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
				CABundle: &v1alpha1.CABundle{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "ca"}},
			},
		},
		&v1alpha1.OAuthConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "private"},
			Spec: v1alpha1.OAuthConnectionSpec{
				ApplicationRef: v1alpha1.ApplicationReference{Name: "private"}, Grant: v1alpha1.GrantSpec{Type: v1alpha1.GrantClientCredentials},
			},
		})
	s.wait(&v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "private"}}, works)
	s.eventually(call{as: user, target: "/api/integrations/" + s.platform + ".private/request/x"}, map[string]any{"path": "/x"})
}
