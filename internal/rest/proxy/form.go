// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// maxForm bounds the body of a request in JSON, in bytes.
const maxForm = 8 << 20

const (
	headerContentType = "Content-Type"
	typeJSON          = "application/json"
	typeForm          = "application/x-www-form-urlencoded"
)

// Request is the body of POST /api/integrations/{id}/request.
type Request struct {
	// Method of the request to the provider; default GET.
	Method string `json:"method,omitempty"`
	// URL is a path below the application's apiBaseURL, with or without a query; or an absolute URL whose host is that of
	// apiBaseURL or one of allowedHosts.
	URL string `json:"url,omitempty"`
	// Headers of the request: each a text, or a list of texts.
	Headers map[string]Values `json:"headers,omitempty"`
	// Data is the body. It is sent as JSON, unless the Content-Type among headers is another: then a text is sent as it is, and an
	// object as application/x-www-form-urlencoded if that is the type. null: there is no body.
	Data json.RawMessage `json:"data,omitempty"`
}

// Values of a header.
type Values []string

// UnmarshalJSON reads a text or a list of texts.
func (v *Values) UnmarshalJSON(content []byte) error {
	var one string
	if err := json.Unmarshal(content, &one); err == nil {
		*v = Values{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(content, &several); err != nil {
		return errors.New("a header's value is a text or a list of texts")
	}
	*v = several
	return nil
}

// inner is a request to a provider as the caller means it.
type inner struct {
	method string
	// url is relative or absolute, as realm.resolve reads it, or, where path is set, nothing.
	url string
	// path and query are as they stood in the request line.
	path, query         string
	byPath, forcesQuery bool
	header              http.Header
	body                io.Reader
	length              int64
}

// readForm reads a request in JSON. Its errors never repeat what was read.
func readForm(contentType string, body io.Reader) (*inner, error) {
	if contentType != "" && !isJSON(contentType) {
		return nil, problem.New(problem.UnsupportedMediaType, "send the request as application/json")
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	var form Request
	if err := decoder.Decode(&form); err != nil {
		return nil, unreadable(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, unreadable(err)
	}
	header, err := form.header()
	if err != nil {
		return nil, err
	}
	content, err := form.content(header)
	if err != nil {
		return nil, err
	}
	made := &inner{method: http.MethodGet, url: form.URL, header: header}
	if form.Method != "" {
		made.method = strings.ToUpper(form.Method)
	}
	if content != nil {
		made.body, made.length = bytes.NewReader(content), int64(len(content))
	}
	return made, nil
}

// unreadable says what is wrong with a body, as far as the error tells without its content.
func unreadable(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return problem.New(problem.TooLarge, "the body is longer than %d bytes; send large ones to …/request/{path}", tooLarge.Limit)
	}
	if wrongType := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrongType) && wrongType.Field != "" {
		return problem.New(problem.InvalidRequest, "the body's member %q has the wrong type", wrongType.Field)
	}
	return problem.New(problem.InvalidRequest,
		"the body must be one JSON object with the members method, url, headers (texts or lists of texts) and data, and no others").Because(err)
}

// header refuses what would not be one header: the message repeats the name only if it is a name.
func (f *Request) header() (http.Header, error) {
	header := http.Header{}
	for name, values := range f.Headers {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, problem.New(problem.InvalidRequest, "a name in headers is not valid")
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return nil, problem.New(problem.InvalidRequest, "the value of the header %s has characters that no header may have", name)
			}
			header.Add(name, value)
		}
	}
	return header, nil
}

// content makes the body; nil: there is none. It adds the Content-Type if there is none.
func (f *Request) content(header http.Header) ([]byte, error) {
	data := bytes.TrimSpace(f.Data)
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	given := header.Get(headerContentType)
	switch {
	case given == "":
		header.Set(headerContentType, typeJSON)
	case isJSON(given):
	case data[0] == '"':
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return nil, unreadable(err)
		}
		return []byte(text), nil
	case data[0] == '{' && mediaType(given) == typeForm:
		return encodeForm(data)
	}
	return data, nil
}

// encodeForm makes a form of an object whose values are texts, numbers, true, false and null, or lists of these.
func encodeForm(data []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, unreadable(err)
	}
	values := url.Values{}
	for name, value := range object {
		list, several := value.([]any)
		if !several {
			list = []any{value}
		}
		for _, one := range list {
			text, ok := formValue(one)
			if !ok {
				return nil, problem.New(problem.InvalidRequest, "data has members that a form cannot hold: objects, or lists in lists")
			}
			values.Add(name, text)
		}
	}
	return []byte(values.Encode()), nil
}

func formValue(value any) (text string, ok bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

func isJSON(contentType string) bool {
	media := mediaType(contentType)
	return media == typeJSON || strings.HasSuffix(media, "+json")
}

func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	if parsed, _, err := mime.ParseMediaType(contentType); err == nil {
		media = parsed
	}
	return strings.ToLower(strings.TrimSpace(media))
}

// request makes what the caller means of the request that carries it.
func (i *inner) request(carrier *http.Request) *http.Request {
	request := &http.Request{
		Method: i.method, URL: carrier.URL, Proto: carrier.Proto, ProtoMajor: carrier.ProtoMajor, ProtoMinor: carrier.ProtoMinor,
		Header: i.header, ContentLength: i.length, RemoteAddr: carrier.RemoteAddr,
	}
	if i.body != nil {
		request.Body = io.NopCloser(i.body)
	}
	return request
}
