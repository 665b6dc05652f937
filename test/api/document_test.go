// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/openapi/openapitest"
)

// Headers between the API and its callers.
const (
	headerError      = "Oauth-Operator-Error"
	headerConnection = "Oauth-Operator-Connection"
	headerToken      = "Oauth-Operator-Token"
)

// document is the API's own description, to which its answers are held.
type document struct {
	content map[string]any

	mu      sync.Mutex // guards checker
	checker *openapitest.Checker
}

// readDocument reads /openapi.json, for which nobody has to say who they are.
func (w *world) readDocument(t *testing.T) *document {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.apis[0]+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET /openapi.json: %s, %v", response.Status, err)
	}
	d := &document{}
	if err := json.Unmarshal(content, &d.content); err != nil {
		t.Fatal(err)
	}
	if d.checker, err = openapitest.New(content); err != nil {
		t.Fatal(err)
	}
	return d
}

// check holds an answer to the document. Methods that a path is not served with are not in it.
func (d *document) check(method, target string, r *reply) error {
	if err := r.sound(); err != nil {
		return err
	}
	code := r.header.Get(headerError)
	if code == "MethodNotAllowed" {
		return nil
	}
	path, _, _ := strings.Cut(target, "?")
	if code == "" && proxied(path) {
		return tokenHeader(r) // What else is in it, is the provider's.
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checker.Answer(method, path, r.status, r.header, r.body); err != nil {
		return err
	}
	return tokenHeader(r)
}

// proxied tells whether a path is the request proxy's.
func proxied(path string) bool {
	below, found := strings.CutPrefix(path, "/api/integrations/")
	_, below, _ = strings.Cut(below, "/")
	return found && (below == "request" || strings.HasPrefix(below, "request/"))
}

func object(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}

// sound checks the form of problems: what the header says is what the body says.
func (r *reply) sound() error {
	code := r.header.Get(headerError)
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if code == "" {
		if media == "application/problem+json" && r.header.Get("X-Upstream") == "" {
			return errors.New("a problem without the header " + headerError)
		}
		return nil
	}
	if media != "application/problem+json" {
		return fmt.Errorf("code %s comes as %q", code, media)
	}
	var p problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		return err
	}
	if p.Code != code || p.Status != r.status || p.Type != "about:blank" || p.Title == "" {
		return fmt.Errorf("the header says %s, the status line %d, the body %+v", code, r.status, p)
	}
	return nil
}

func tokenHeader(r *reply) error {
	switch said := r.header.Get(headerToken); said {
	case "", "renewed", "rejected":
		return nil
	default:
		return fmt.Errorf("%s is %q", headerToken, said)
	}
}

// documented is the test of the document itself: it lists every call of the API's description.
func documented(t *testing.T, w *world) {
	type operation struct{ method, path string }
	for _, want := range []operation{
		{"get", "/oauth_connections"},
		{"get", "/oauth_connections/{id}"},
		{"get", "/oauth_applications"},
		{"get", "/oauth_applications/{id}"},
		{"get", "/api/v1/oauth/connections"},
		{"get", "/api/integrations/{id}/connect"},
		{"post", "/api/integrations/{id}/connect"},
		{"get", "/api/integrations/{id}/connection"},
		{"delete", "/api/integrations/{id}/connection"},
		{"get", "/api/integration-connections"},
		{"post", "/api/integrations/{id}/request"},
		{"get", "/api/integrations/{id}/request/{path}"},
		{"head", "/api/integrations/{id}/request/{path}"},
		{"options", "/api/integrations/{id}/request/{path}"},
		{"post", "/api/integrations/{id}/request/{path}"},
		{"put", "/api/integrations/{id}/request/{path}"},
		{"patch", "/api/integrations/{id}/request/{path}"},
		{"delete", "/api/integrations/{id}/request/{path}"},
	} {
		if object(object(object(w.document.content["paths"])[want.path])[want.method]) == nil {
			t.Errorf("%s %s is not in the document", want.method, want.path)
		}
	}
	if version, _ := w.document.content["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		t.Errorf("the document is of OpenAPI %s, want 3.1", version)
	}
	for _, reason := range w.document.selfTest() {
		t.Error(reason)
	}
}

// selfTest proves that the check finds what is wrong.
func (d *document) selfTest() (missed []string) {
	answers := map[string]*reply{
		"a body that is no page":       {status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(`{"data": 1}`)},
		"a page without next_cursor":   {status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(`{"data": []}`)},
		"a status that nobody knows":   {status: http.StatusTeapot, header: http.Header{}},
		"a problem that is not marked": {status: http.StatusNotFound, header: http.Header{"Content-Type": {"application/problem+json"}}, body: []byte(`{}`)},
	}
	for what, answer := range answers {
		if d.check(http.MethodGet, "/oauth_connections", answer) == nil {
			missed = append(missed, "the check lets pass "+what)
		}
	}
	return missed
}
