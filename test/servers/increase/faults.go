// SPDX-License-Identifier: Apache-2.0

package increase

import (
	"maps"
	"net/http"
	"strconv"
)

// Fault is one thing that goes wrong with a request. The zero value is none.
type Fault struct {
	act func(x *exchange, process func() answer) answer
}

func (f Fault) apply(x *exchange, process func() answer) answer {
	if f.act == nil {
		return process()
	}
	return f.act(x, process)
}

// Status answers in place of the server. header may be nil.
func Status(code int, body string, header http.Header) Fault {
	return instead(answer{status: code, body: []byte(body), header: header})
}

// Error answers with an error of the given type in place of the server.
func Error(status int, kind string) Fault { return instead(refuse(status, kind, "scripted")) }

// RateLimited answers 429 in place of the server; seconds is what Retry-After
// says.
func RateLimited(seconds int) Fault {
	a := refuse(http.StatusTooManyRequests, "rate_limited_error", "scripted")
	a.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	a.fields["retry_after"] = seconds
	return instead(a)
}

// Garbage answers 200 with bytes that are no JSON, though they say so.
func Garbage() Fault {
	return instead(answer{
		status: http.StatusOK,
		body:   []byte("\x00\xff<html>{\"data\": [{\"id\": \"unclosed"),
		header: http.Header{"Content-Type": {"application/json"}},
	})
}

// instead hands out copies, because what follows may rewrite the fields.
func instead(a answer) Fault {
	return Fault{act: func(*exchange, func() answer) answer {
		copied := a
		copied.fields = maps.Clone(a.fields)
		return copied
	}}
}

// SetField lets the server process the request, and sets a field of its JSON
// answer to any value that encoding/json takes. Errors stay as they are.
func SetField(name string, value any) Fault {
	return Fault{act: func(_ *exchange, process func() answer) answer {
		a := process()
		if a.status == http.StatusOK && a.fields != nil {
			a.fields[name] = value
		}
		return a
	}}
}

// Hang holds the request back before it is processed, until the environment's
// Release, or until the client or the server gives up.
func Hang() Fault {
	return Fault{act: func(x *exchange, process func() answer) answer {
		x.hang()
		return process()
	}}
}

// HangAnswer processes the request and then holds the answer back as Hang does.
func HangAnswer() Fault {
	return Fault{act: func(x *exchange, process func() answer) answer {
		a := process()
		x.hang()
		return a
	}}
}

func (x *exchange) hang() {
	if x.environment.Hold(x.r.Context()) != nil {
		x.cut()
	}
}

// LoseResponse processes the request and cuts the connection in place of an
// answer.
func LoseResponse() Fault {
	return Fault{act: func(x *exchange, process func() answer) answer {
		process()
		x.cut()
		return answer{}
	}}
}

// CloseBeforeProcessing cuts the connection and does nothing.
func CloseBeforeProcessing() Fault {
	return Fault{act: func(x *exchange, _ func() answer) answer {
		x.cut()
		return answer{}
	}}
}
