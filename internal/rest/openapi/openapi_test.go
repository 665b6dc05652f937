// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/openapi"
	"github.com/oauth-operator/oauth-operator/internal/rest/openapi/openapitest"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

//nolint:gochecknoglobals // made once, since that takes a second with -race
var once = sync.OnceValues(openapi.Document)

func made(t *testing.T) []byte {
	t.Helper()
	content, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// operation is one of the document's, as far as it is looked at here.
type operation struct {
	ID          string                     `json:"operationId"`
	Security    []map[string][]string      `json:"security"`
	Responses   map[string]json.RawMessage `json:"responses"`
	Parameters  []parameter                `json:"parameters"`
	RequestBody struct {
		Required bool                       `json:"required"`
		Content  map[string]json.RawMessage `json:"content"`
	} `json:"requestBody"`
}

type parameter struct {
	Name     string `json:"name"`
	In       string `json:"in"`
	Required bool   `json:"required"`
	Rest     bool   `json:"x-rest-of-path"`
}

type document struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Required   []string                   `json:"required"`
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

func read(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(made(t), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDocumentIsAlwaysTheSame(t *testing.T) {
	t.Parallel()
	first := made(t)
	for range 3 {
		if again, err := openapi.Document(); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("it was made once more, and is another: %v", err)
		}
	}
	kept, err := os.ReadFile("../../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, kept) {
		t.Error("docs/openapi.json is stale: run make generate")
	}
}

func TestEachOperationIsDescribed(t *testing.T) {
	t.Parallel()
	d := read(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("it is of OpenAPI %s", d.OpenAPI)
	}
	ids := map[string]bool{}
	for _, want := range openapi.Operations() {
		got, described := d.Paths[want.Path][strings.ToLower(want.Method)]
		if !described {
			t.Errorf("%s %s is not described", want.Method, want.Path)
			continue
		}
		if got.ID == "" || ids[got.ID] {
			t.Errorf("%s %s has the id %q", want.Method, want.Path, got.ID)
		}
		ids[got.ID] = true
		if (len(got.Security) == 0) != want.Public {
			t.Errorf("%s %s asks for %v", want.Method, want.Path, got.Security)
		}
		for _, answer := range want.Answers {
			if got.Responses[itoa(answer.Status)] == nil {
				t.Errorf("%s %s is not described to answer %d", want.Method, want.Path, answer.Status)
			}
		}
		for _, code := range append(want.Problems, problem.Internal) {
			if got.Responses[itoa(code.Status())] == nil {
				t.Errorf("%s %s is not described to answer %s", want.Method, want.Path, code)
			}
		}
		for segment := range strings.SplitSeq(want.Path, "/") {
			name, is := strings.CutPrefix(segment, "{")
			name = strings.TrimSuffix(name, "}")
			if is && !slices.ContainsFunc(got.Parameters, func(p parameter) bool {
				return p.Name == name && p.In == "path" && p.Required && p.Rest == (name == "path")
			}) {
				t.Errorf("%s %s does not describe {%s}: %v", want.Method, want.Path, name, got.Parameters)
			}
		}
	}
	total := 0
	for _, methods := range d.Paths {
		total += len(methods)
	}
	if total != len(openapi.Operations()) {
		t.Errorf("%d operations are described, %d are in the table", total, len(openapi.Operations()))
	}
}

func itoa(status int) string {
	text, _ := json.Marshal(status) // A number always can be.
	return string(text)
}

// The shapes of B and C: each member is there in every answer, null where it is not known.
func TestShapes(t *testing.T) {
	t.Parallel()
	schemas := read(t).Components.Schemas
	for name, members := range map[string][]string{
		"Connection": {
			"uuid", "label", "provider", "created_at", "updated_at", "access_token_expires_at", "refresh_token_expires_at",
			"refresh_authorization_url", "deleted_at", "group_id", "id", "oauth_application_id", "status", "type",
		},
		"Provider":    {"name", "label", "logo_url", "authorization_url"},
		"Application": {"client_id", "created_at", "deleted_at", "id", "name", "status", "type"},
		"IntegrationConnection": {
			"id", "integrationId", "ownerId", "isShared", "tokenExpiresAt", "refreshTokenExpiresAt", "lastAuthorizedAt", "apiBaseUri",
			"data", "createdAt", "updatedAt",
		},
		"IntegrationConnections": {"_links", "_embedded", "start", "count", "total"},
		"EmbeddedConnections":    {"inf:integration-connection"},
		"LinkedConnection":       {"id", "apiBaseUri", "_embedded", "_links"},
		"EmbeddedIntegration":    {"inf:integration"},
		"Integration":            {"id", "name", "type"},
		"ConnectionPage":         {"data", "next_cursor"},
		"Problem":                {"type", "title", "status", "code"},
	} {
		for _, member := range members {
			if schemas[name].Properties[member] == nil || !slices.Contains(schemas[name].Required, member) {
				t.Errorf("%s does not always have %s", name, member)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	checker, err := openapitest.New(made(t))
	if err != nil {
		t.Fatal(err)
	}
	const connect, request = "/api/integrations/x/connect", "/api/integrations/x/request"
	for _, test := range []struct {
		path, body string
		fits       bool
	}{
		{connect, `{"code":"c"}`, true},
		{connect, `{"code":"c","codeVerifier":"v","redirectUri":"https://a.example/cb","shared":true,"displayName":"","scopes":["a"],"inputs":{"a":"b"}}`, true},
		{connect, `{"refreshToken":"r","scopes":[]}`, true},
		{connect, `{}`, false},
		{connect, `{"code":"c","refreshToken":"r"}`, false},
		{connect, `{"refreshToken":"r","codeVerifier":"v"}`, false},
		{connect, `{"code":"c","extra":1}`, false},
		{connect, `{"code":"c","displayName":null}`, false},
		{connect, `{"code":""}`, false},
		{request, `{}`, true},
		{request, `{"method":"POST","url":"/a","headers":{"a":"b","c":["d","e"]},"data":[1,null]}`, true},
		{request, `{"headers":{"a":1}}`, false},
		{request, `{"verb":"GET"}`, false},
	} {
		if err := checker.Body(http.MethodPost, test.path, []byte(test.body)); (err == nil) != test.fits {
			t.Errorf("%s %s: %v", test.path, test.body, err)
		}
	}
}

func TestTheDocumentIsServed(t *testing.T) {
	t.Parallel()
	serve, err := openapi.Handler()
	if err != nil {
		t.Fatal(err)
	}
	handler := problem.Handler(serve, nil)
	get := func(etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, openapi.Path, nil)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	first := get("")
	etag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || first.Header().Get("Content-Type") != "application/json" || !bytes.Equal(first.Body.Bytes(), made(t)) {
		t.Errorf("it is answered with %d %v", first.Code, first.Header())
	}
	if again := get(etag); etag == "" || again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("with the tag %s it is answered with %d", etag, again.Code)
	}
	if other := get(`"other"`); other.Code != http.StatusOK {
		t.Errorf("with another tag it is answered with %d", other.Code)
	}
	checker, err := openapitest.New(made(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := checker.Answer(http.MethodGet, openapi.Path, first.Code, first.Header(), first.Body.Bytes()); err != nil {
		t.Error(err)
	}
}

// The checker refuses what is not described: otherwise tests that use it would pass without holding anything.
func TestCheckerRefuses(t *testing.T) {
	t.Parallel()
	checker, err := openapitest.New(made(t))
	if err != nil {
		t.Fatal(err)
	}
	asJSON := http.Header{"Content-Type": {"application/json"}}
	asProblem := http.Header{"Content-Type": {problem.ContentType}, problem.Header: {"NotFound"}}
	const page = "/oauth_connections"
	for name, test := range map[string]struct {
		method, path string
		status       int
		header       http.Header
		body         string
		fits         bool
	}{
		"an empty page":                  {"GET", page, 200, asJSON, `{"data":[],"next_cursor":null}`, true},
		"a page with a query":            {"GET", page + "?limit=1", 200, asJSON, `{"data":[],"next_cursor":"x"}`, true},
		"without its cursor":             {"GET", page, 200, asJSON, `{"data":[]}`, false},
		"null for a list":                {"GET", page, 200, asJSON, `{"data":null,"next_cursor":null}`, false},
		"half a connection":              {"GET", page, 200, asJSON, `{"data":[{"id":"x"}],"next_cursor":null}`, false},
		"another type":                   {"GET", page, 200, http.Header{"Content-Type": {"text/html"}}, `{}`, false},
		"another status":                 {"GET", page, 418, asJSON, `{}`, false},
		"another method":                 {"POST", page, 200, asJSON, `{}`, false},
		"another path":                   {"GET", "/oauth", 200, asJSON, `{}`, false},
		"a problem":                      {"GET", page + "/x", 404, asProblem, `{"type":"about:blank","title":"t","status":404,"code":"NotFound"}`, true},
		"a problem of another code":      {"GET", page + "/x", 404, asProblem, `{"type":"about:blank","title":"t","status":404,"code":"Lost"}`, false},
		"a problem without its header":   {"GET", page + "/x", 404, http.Header{"Content-Type": {problem.ContentType}}, `{"type":"about:blank","title":"t","status":404,"code":"NotFound"}`, false},
		"nothing":                        {"DELETE", "/api/integrations/a.b/connection", 204, nil, "", true},
		"something for nothing":          {"DELETE", "/api/integrations/a.b/connection", 204, asJSON, "{}", false},
		"the provider's answer":          {"PUT", "/api/integrations/a.b/request/v1/x", 418, http.Header{"Content-Type": {"text/plain"}}, "teapot", true},
		"the provider's answer of a 404": {"GET", "/api/integrations/a.b/request/v1", 404, http.Header{"Content-Type": {"text/plain"}}, "no", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checker.Answer(test.method, test.path, test.status, test.header, []byte(test.body)); (err == nil) != test.fits {
				t.Errorf("it is taken for %v", err)
			}
		})
	}
}
