// SPDX-License-Identifier: Apache-2.0

package increase

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// maxBody bounds what the server reads of a request, in bytes.
const maxBody = 1 << 20

// exchange is one request under way.
type exchange struct {
	environment *Environment
	w           http.ResponseWriter
	r           *http.Request
	entry       *record.Entry
	query       url.Values
	// body is what a POST says; fault says why it could not be read.
	body  map[string]any
	fault *answer
}

// answer is what the client will be told: fields as JSON, or else body.
type answer struct {
	status int
	header http.Header
	fields map[string]any
	body   []byte
}

// handle runs every request through the same stages: record, then the fault,
// which may let the server process the request under its lock, then deliver. An
// empty method takes all.
func (e *Environment) handle(endpoint record.Endpoint, method string, process func(*exchange) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{environment: e, w: w, r: r, query: r.URL.Query()}
		x.read(endpoint)
		a := e.Next(x.entry.Kind).apply(x, func() answer {
			e.server.mu.Lock()
			defer e.server.mu.Unlock()
			x.entry.Process()
			if method != "" && r.Method != method {
				return noSuchMethod()
			}
			return process(x)
		})
		x.deliver(a)
	})
}

// read takes the request apart and notes it. A body that is no JSON object is
// counted too.
func (x *exchange) read(endpoint record.Endpoint) {
	e := x.environment
	raw, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody))
	media, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	switch {
	case err != nil:
		x.fault = malformed("The body is incomplete.")
	case x.r.Method == http.MethodGet:
	case media != "application/json":
		x.fault = malformed("The body must be JSON, and say so.")
	case json.Unmarshal(raw, &x.body) != nil:
		x.fault = malformed("The body is not a JSON object.")
	}
	request := record.Request{Kind: record.Kind{Endpoint: endpoint}}
	credential := ""
	if x.fault == nil {
		x.r.Body = io.NopCloser(bytes.NewReader(raw))
		if parsed, err := record.Parse(endpoint, x.r, false); err == nil {
			request, credential = parsed.Request, parsed.Credential
		}
	}
	if credential == "" && endpoint != record.Token {
		credential = record.Bearer(x.r)
	}
	x.entry = e.Receive(request, credential)
}

func (x *exchange) deliver(a answer) {
	body := a.body
	if a.fields != nil {
		var err error
		if body, err = json.Marshal(a.fields); err != nil {
			// Only a fault can put a value there that JSON has no form for.
			panic(err)
		}
	}
	h := x.w.Header()
	if a.fields != nil {
		h.Set("Content-Type", "application/json")
	}
	for name, values := range a.header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.entry.Answer(a.status)
	x.w.WriteHeader(a.status)
	if _, err := x.w.Write(body); err != nil {
		x.cut()
	}
}

// cut closes the connection without another byte.
func (x *exchange) cut() {
	x.entry.Answer(record.NoAnswer)
	panic(http.ErrAbortHandler)
}

// refuse is an error in the shape of RFC 9457 that Increase's are in.
func refuse(status int, kind, detail string) answer {
	return answer{status: status, fields: map[string]any{
		"type": kind, "status": status, "title": http.StatusText(status), "detail": detail,
	}}
}

func malformed(detail string) *answer {
	a := refuse(http.StatusBadRequest, "malformed_request_error", detail)
	return &a
}

func noSuchMethod() answer {
	return refuse(http.StatusNotFound, "api_method_not_found_error", "There is no such method and path.")
}

func notFound() answer {
	return refuse(http.StatusNotFound, "object_not_found_error", "There is no such object.")
}

// invalid refuses one parameter.
func invalid(field, message string) answer {
	a := refuse(http.StatusBadRequest, "invalid_parameters_error", field+": "+message)
	a.fields["errors"] = []map[string]any{{"field": field, "message": message}}
	return a
}
