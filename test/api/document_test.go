// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
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
	paths   []template

	mu       sync.Mutex // guards what follows
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

// template is one path of the document.
type template struct {
	path     string
	segments []string
	// rest : the last segment takes the rest of the path.
	rest bool
}

// documentAt is the address of the document in references.
const documentAt = "https://api.invalid/openapi.json"

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
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.AssertFormat()
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := d.compiler.AddResource(documentAt, parsed); err != nil {
		t.Fatal(err)
	}
	d.content, _ = parsed.(map[string]any)
	for path := range object(d.content["paths"]) {
		d.paths = append(d.paths, d.template(path))
	}
	return d
}

func (d *document) template(path string) template {
	made := template{path: path, segments: strings.Split(strings.TrimPrefix(path, "/"), "/")}
	for _, operation := range object(object(d.content["paths"])[path]) {
		parameters, _ := object(operation)["parameters"].([]any)
		for _, parameter := range parameters {
			if object(parameter)["x-rest-of-path"] == true {
				made.rest = true
			}
		}
	}
	return made
}

// fits tells whether a path, as a request line has it, is one of the template's.
func (p template) fits(path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(segments) != len(p.segments) && (!p.rest || len(segments) < len(p.segments)) {
		return false
	}
	for i, segment := range p.segments {
		if !strings.HasPrefix(segment, "{") && segment != segments[i] {
			return false
		}
	}
	return true
}

func object(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}

// find returns the path of the document that a request's is one of; empty: none.
func (d *document) find(path string) string {
	for _, known := range d.paths {
		if known.fits(path) {
			return known.path
		}
	}
	return ""
}

// check holds an answer to the document.
func (d *document) check(method, target string, r *reply) error {
	address, err := url.Parse(target)
	if err != nil {
		return err
	}
	if err := r.sound(); err != nil {
		return err
	}
	code := r.header.Get(headerError)
	known := d.find(address.EscapedPath())
	operation := object(object(object(d.content["paths"])[known])[strings.ToLower(method)])
	switch {
	case known == "" && code != "":
		return nil // Nothing is said about what is not there, but that it is a problem.
	case known != "" && operation == nil && code == "MethodNotAllowed":
		return nil
	case operation == nil:
		return fmt.Errorf("the document does not know the operation, which answered %d", r.status)
	}
	described, at := d.answer(operation, known, method, strconv.Itoa(r.status))
	fallback, _ := d.answer(operation, known, method, "default")
	switch {
	case code == "" && fallback != nil:
		return tokenHeader(r)
	case described == nil:
		return fmt.Errorf("the document does not know status %d (%s)", r.status, code)
	case code != "":
		if codes, _ := described["x-problem-codes"].([]any); !slices.Contains(codes, any(code)) {
			return fmt.Errorf("the document does not know code %s under status %d, but %v", code, r.status, codes)
		}
	}
	return d.validate(described, at, r)
}

// answer returns what is said of an answer, and where in the document that is.
func (d *document) answer(operation map[string]any, path, method, status string) (answer map[string]any, at string) {
	answer = object(object(operation["responses"])[status])
	if reference, ok := answer["$ref"].(string); ok {
		name := strings.TrimPrefix(reference, "#/components/responses/")
		return object(object(object(d.content["components"])["responses"])[name]), reference
	}
	return answer, "#/paths/" + pointer(path) + "/" + strings.ToLower(method) + "/responses/" + status
}

// pointer writes one token of a JSON pointer in a URL.
func pointer(token string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
}

// validate holds the body to its schema.
func (d *document) validate(described map[string]any, at string, r *reply) error {
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	content := object(described["content"])
	if len(content) == 0 {
		if len(r.body) > 0 {
			return fmt.Errorf("%d bytes where the document knows no content", len(r.body))
		}
		return nil
	}
	if object(content[media])["schema"] == nil {
		return fmt.Errorf("the document has no schema for %q under status %d", media, r.status)
	}
	schema, err := d.schema(at + "/content/" + pointer(media) + "/schema")
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	return schema.Validate(instance)
}

func (d *document) schema(at string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.schemas[at]; ok {
		return known, nil
	}
	compiled, err := d.compiler.Compile(documentAt + at)
	if err == nil {
		d.schemas[at] = compiled
	}
	return compiled, err
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
	for _, reason := range w.document.selfTest(context.Background()) {
		t.Error(reason)
	}
}

// selfTest proves that the check finds what is wrong.
func (d *document) selfTest(context.Context) (missed []string) {
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
