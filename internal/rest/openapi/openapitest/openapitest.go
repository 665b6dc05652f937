// SPDX-License-Identifier: Apache-2.0

// Package openapitest holds requests and answers of the API against its description. It is for tests.
package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is what the schemas are relative to.
const document = "https://api.invalid/openapi.json"

// Checker knows one document. It is safe for concurrent use.
type Checker struct {
	paths      map[string]any
	components map[string]any

	mutex    sync.Mutex
	compiler *jsonschema.Compiler
}

// New reads a document of OpenAPI 3.1.
func New(content []byte) (*Checker, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(document, parsed); err != nil {
		return nil, fmt.Errorf("take the document: %w", err)
	}
	c := &Checker{paths: object(parsed, "paths"), components: object(parsed, "components"), compiler: compiler}
	if len(c.paths) == 0 {
		return nil, errors.New("the document has no paths")
	}
	return c, nil
}

// Answer checks an answer to a request with this method and path: the status is described, and so are the content's type, the
// headers and, where there is a schema, the content. A problem's code is one that the operation has under that status.
func (c *Checker) Answer(method, path string, status int, header http.Header, body []byte) error {
	pattern, operation := c.operation(method, path)
	if operation == nil {
		return fmt.Errorf("%s %s is not described", method, path)
	}
	pointer := "/paths/" + escape(pattern) + "/" + strings.ToLower(method) + "/responses/"
	responses := object(operation, "responses")
	key := strconv.Itoa(status)
	if _, known := responses[key]; !known {
		if key = "default"; responses[key] == nil {
			return fmt.Errorf("%s %s is not described to answer %d: %s", method, pattern, status, body)
		}
	}
	pointer += key
	response := object(responses, key)
	if reference, is := response["$ref"].(string); is {
		pointer = strings.TrimPrefix(reference, "#")
		response = object(c.components, "responses", strings.TrimPrefix(reference, "#/components/responses/"))
	}
	if err := c.content(pointer, response, header, body); err != nil {
		return fmt.Errorf("%s %s answers %d: %w", method, pattern, status, err)
	}
	return nil
}

// content checks what an answer holds.
func (c *Checker) content(pointer string, response map[string]any, header http.Header, body []byte) error {
	contents := object(response, "content")
	if len(contents) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("a body that is not described: %s", body)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("the content's type: %w", err)
	}
	media, known := contents[kind]
	if !known {
		if contents["*/*"] != nil {
			return nil
		}
		return fmt.Errorf("a body of type %s is not described", kind)
	}
	if object(media, "schema") == nil {
		return nil
	}
	value, err := c.validate(pointer+"/content/"+escape(kind)+"/schema", body)
	if err != nil {
		return err
	}
	if codes, is := response["x-problem-codes"].([]any); is {
		if code := object(value)["code"]; !slices.Contains(codes, code) || header.Get("Oauth-Operator-Error") != code {
			return fmt.Errorf("the code %v, in the header %q, is not among %v", code, header.Get("Oauth-Operator-Error"), codes)
		}
	}
	return nil
}

// Body checks the JSON body of a request.
func (c *Checker) Body(method, path string, body []byte) error {
	pattern, operation := c.operation(method, path)
	if operation == nil {
		return fmt.Errorf("%s %s is not described", method, path)
	}
	_, err := c.validate("/paths/"+escape(pattern)+"/"+strings.ToLower(method)+"/requestBody/content/application~1json/schema", body)
	return err
}

// validate holds JSON against the schema at a place of the document, and returns it.
func (c *Checker) validate(pointer string, content []byte) (any, error) {
	c.mutex.Lock()
	schema, err := c.compiler.Compile(document + "#" + pointer)
	c.mutex.Unlock()
	if err != nil {
		return nil, fmt.Errorf("the schema at %s: %w", pointer, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	if err := schema.Validate(value); err != nil {
		return nil, fmt.Errorf("%s: %w", content, err)
	}
	return value, nil
}

// operation finds what is described for a path; nil: nothing. A path without parameters goes before one with.
func (c *Checker) operation(method, path string) (pattern string, operation map[string]any) {
	path, _, _ = strings.Cut(path, "?")
	candidates := make([]string, 0, len(c.paths))
	for candidate := range c.paths {
		candidates = append(candidates, candidate)
	}
	slices.SortFunc(candidates, func(a, b string) int { return strings.Count(a, "{") - strings.Count(b, "{") })
	for _, candidate := range candidates {
		if !fits(candidate, path) {
			continue
		}
		if found := object(c.paths, candidate, strings.ToLower(method)); found != nil {
			return candidate, found
		}
	}
	return "", nil
}

// fits tells whether a path is one of a pattern. {path} takes the rest.
func fits(pattern, path string) bool {
	wanted, given := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, segment := range wanted {
		switch {
		case segment == "{path}":
			return i < len(given)
		case i >= len(given):
			return false
		case strings.HasPrefix(segment, "{") && given[i] != "":
		case segment != given[i]:
			return false
		}
	}
	return len(wanted) == len(given)
}

// escape writes a name into a JSON pointer in a URL (RFC 6901, section 6).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "*", "%2A").Replace(name)
}

// object walks down members; nil: there is no object there.
func object(value any, members ...string) map[string]any {
	found, _ := value.(map[string]any)
	for _, member := range members {
		found, _ = found[member].(map[string]any)
	}
	return found
}
