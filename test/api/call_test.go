// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// call is one request to the API.
type call struct {
	// as is who calls; nil: nobody.
	as *account
	// method; default GET.
	method string
	// target is the path with the query.
	target string
	header map[string]string
	// body is sent as it is if it is a string, else as JSON; nil: there is none.
	body any
	// replica of the API that is called.
	replica int
	// http1 : by HTTP/1.1, which has headers from hop to hop.
	http1 bool
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	body   []byte
	// trailer is what came after the body.
	trailer http.Header
}

// problem is what the API answers when something is wrong.
type problem struct {
	Type, Title, Detail, Code, Reason string
	Status                            int
	AuthorizationURL                  string `json:"authorizationUrl"`
}

// do sends a request and holds the answer to the API's own description.
func (w *world) do(t *testing.T, c call) *reply {
	t.Helper()
	answer, err := w.try(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// try is do for other goroutines than the test's.
func (w *world) try(ctx context.Context, c call) (*reply, error) {
	response, err := w.send(ctx, c)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer := &reply{status: response.StatusCode, header: response.Header}
	if answer.body, err = io.ReadAll(response.Body); err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", response.Request.Method, c.target, err)
	}
	answer.trailer = response.Trailer
	if response.Request.Method == http.MethodHead { // A problem has no body then.
		return answer, nil
	}
	if err := w.document.check(response.Request.Method, c.target, answer); err != nil {
		return nil, fmt.Errorf("%s %s answered %d, which is not as its description says: %w\n%s",
			response.Request.Method, c.target, answer.status, err, answer.body)
	}
	return answer, nil
}

// send sends a request; the answer's body is the caller's to read.
func (w *world) send(ctx context.Context, c call) (*http.Response, error) {
	method, body, header, err := c.wire()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, w.apis[c.replica]+c.target, body)
	if err != nil {
		return nil, err
	}
	if c.as != nil {
		request.Header.Set("Authorization", "Bearer "+c.as.token)
	}
	maps.Copy(request.Header, header)
	if c.http1 {
		return w.client1.Do(request)
	}
	return w.client.Do(request)
}

func (c call) wire() (method string, body io.Reader, header http.Header, err error) {
	method, header = http.MethodGet, http.Header{}
	if c.method != "" {
		method = c.method
	}
	switch content := c.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(content)
	case []byte:
		body = bytes.NewReader(content)
	default:
		encoded, err := json.Marshal(content)
		if err != nil {
			return "", nil, nil, err
		}
		body = bytes.NewReader(encoded)
		header.Set("Content-Type", "application/json")
	}
	for name, value := range c.header {
		header.Set(name, value)
	}
	return method, body, header, nil
}

// want fails the test when the answer has another status.
func (r *reply) want(t *testing.T, status int) *reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// problem fails the test when the answer is no problem with this status and code.
func (r *reply) problem(t *testing.T, status int, code string) problem {
	t.Helper()
	r.want(t, status)
	p := problem{}
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	if r.header.Get(headerError) != code || p.Code != code {
		t.Fatalf("code %s (header %q), want %s: %s", p.Code, r.header.Get(headerError), code, r.body)
	}
	return p
}

// object is the body as JSON.
func (r *reply) object(t *testing.T) map[string]any {
	t.Helper()
	made := map[string]any{}
	if err := json.Unmarshal(r.body, &made); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return made
}

// eventually waits for an answer with these members: what the API knows may be a moment old.
func (s *site) eventually(c call, want map[string]any) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() error {
		answer := s.do(s.t, c)
		if answer.status != http.StatusOK {
			return fmt.Errorf("status %d: %s", answer.status, answer.body)
		}
		got := answer.object(s.t)
		for name, value := range want {
			if fmt.Sprint(got[name]) != fmt.Sprint(value) {
				return fmt.Errorf("%s is %v, want %v", name, got[name], value)
			}
		}
		return nil
	})
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
