// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

// Paths are pathBefore {id} pathAfter, and below.
const (
	pathBefore = "/api/integrations/"
	pathAfter  = "request"
)

// maxTimeout bounds what callers can ask for: more is a mistake.
const maxTimeout = 24 * time.Hour

var (
	errDeadline = errors.New("the caller's deadline has passed")
	errOver     = errors.New("the exchange is over")
)

// exchange is one request of a caller and its answer.
type exchange struct {
	*Handler
	w  http.ResponseWriter
	in *http.Request
	record
	watch *watch

	connection *v1alpha1.OAuthConnection
	credential *credential.Credential
	realm      realm
	key        traffic.Key
	transport  http.RoundTripper

	// target, header and body are of the next attempt; plain is header without the application's own. Neither header is changed
	// once it was sent.
	target        *url.URL
	header, plain http.Header
	body          *replay
	length        int64
	trailer       http.Header
	// foreign : the token must not go to target, nor anywhere else from now on.
	foreign bool
	// cancel ends the attempt under way, and left tells the gate that it has ended; nil: there is none.
	cancel context.CancelCauseFunc
	left   func(traffic.Outcome)
	// outcome of the attempt under way.
	outcome traffic.Outcome
	// until is the caller's deadline; zero: there is none. waited is how long retries have been put off.
	until  time.Time
	waited time.Duration
	// renewed : another token was asked for.
	renewed bool
	// verify : the grant has to be looked at.
	verify bool
	// placed : a place for forms is taken.
	placed bool
	// answering : the head of an answer has been passed on; complete : all of it.
	answering, complete bool
}

type record = Record

// begin starts the record of a request.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{Handler: h, w: w, in: r}
	x.Started = h.options.Clock.Now()
	x.Caller, x.Method = caller.From(r.Context()).GetName(), r.Method
	x.watch = &watch{
		clock: h.options.Clock, header: h.options.HeaderTimeout, idle: h.options.IdleTimeout, form: h.options.FormTimeout, expired: x.expired,
	}
	return x
}

// expired frees whoever is blocked by the caller. The attempt has been cancelled.
func (x *exchange) expired(late *lateError) {
	control := http.NewResponseController(x.w)
	if late.callers {
		_ = control.SetReadDeadline(longAgo())
	}
	if late.stage == answering {
		_ = control.SetWriteDeadline(longAgo())
	}
}

// longAgo is a deadline that has passed whatever the time is.
func longAgo() time.Time { return time.Unix(1, 0) }

// bound applies the caller's deadline.
func (x *exchange) bound() (context.Context, context.CancelFunc, error) {
	text := x.in.Header.Get(HeaderTimeout)
	if text == "" {
		ctx, cancel := context.WithCancel(x.in.Context())
		return ctx, cancel, nil
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 || timeout > maxTimeout {
		return x.in.Context(), func() {}, problem.New(problem.InvalidRequest,
			"the header %s has to be a duration such as 90s, of at most %s", HeaderTimeout, maxTimeout)
	}
	x.until = x.Started.Add(timeout)
	ctx, cancel := context.WithTimeoutCause(x.in.Context(), timeout, errDeadline)
	return ctx, cancel, nil
}

// serve answers with what the provider answers, or returns why not.
func (x *exchange) serve(ctx context.Context) error {
	id, asked, err := x.read(ctx)
	if err != nil {
		return err
	}
	x.Method = asked.method
	if err := checkMethod(x.Method); err != nil {
		return err
	}
	if err := checkHeaders(asked.header); err != nil {
		return err
	}
	if err := x.authorize(ctx, id); err != nil {
		return err
	}
	if x.target, err = asked.resolve(x.realm); err != nil {
		if x.target != nil {
			x.Host = x.target.Host // One that is not allowed.
		}
		return err
	}
	trust := egress.Trust{CA: x.credential.CA, Group: string(x.connection.UID)}
	if x.transport, err = x.options.Transports.For(trust); err != nil {
		return problem.New(problem.ConnectionNotReady, "the application's CA bundle cannot be used").Because(err)
	}
	x.forward(ctx, asked)
	return nil
}

// read returns {id}, and what is asked of the provider.
func (x *exchange) read(ctx context.Context) (id string, asked *inner, err error) {
	raw := x.in.URL.RawPath // EscapedPath makes slashes of escaped ones where another character ought to have been escaped.
	if raw == "" {
		raw = x.in.URL.EscapedPath()
	}
	below, ok := strings.CutPrefix(raw, pathBefore)
	escaped, below, hasMore := strings.Cut(below, "/")
	if id, err = url.PathUnescape(escaped); err != nil || !ok || !hasMore || id == "" {
		return "", nil, problem.New(problem.NotFound, "nothing is served at this path")
	}
	path, byPath := strings.CutPrefix(below, pathAfter+"/")
	switch {
	case byPath:
		return id, &inner{
			method: x.in.Method, byPath: true, path: path, query: x.in.URL.RawQuery, forcesQuery: x.in.URL.ForceQuery,
			header: x.in.Header,
		}, nil
	case below != pathAfter:
		return "", nil, problem.New(problem.NotFound, "nothing is served at this path")
	case x.in.Method != http.MethodPost:
		refused := problem.New(problem.MethodNotAllowed, "requests in JSON are sent with POST; all others to …/request/{path}")
		refused.Header = http.Header{"Allow": {http.MethodPost}}
		return "", nil, refused
	}
	asked, err = x.readForm(ctx)
	return id, asked, err
}

// readForm reads a request in JSON, within the time for it. Nobody has asked yet what the caller may: see leavePlace.
func (x *exchange) readForm(ctx context.Context) (*inner, error) {
	body := &formBody{Reader: http.MaxBytesReader(x.w, x.in.Body, maxForm), place: func() error { return x.takePlace(ctx) }}
	x.watch.read()
	defer x.watch.pause()
	asked, err := readForm(x.in.Header.Get(headerContentType), body)
	x.Sent = body.total
	switch {
	case body.refused != nil:
		return nil, body.refused
	case body.failed:
		return nil, problem.New(problem.InvalidRequest, "the body did not come whole").Because(err)
	}
	return asked, err
}

// authorize finds connection and credential. The record has the application that was asked for, if it exists: refused requests are
// worth a look too.
func (x *exchange) authorize(ctx context.Context, id string) error {
	who := caller.From(x.in.Context())
	integration, err := x.options.Access.Integration(ctx, who, id)
	if err != nil {
		return err
	}
	if integration.Application != nil {
		x.Application, x.key.Application = integration.Name, integration.Application.UID
	}
	x.connection, err = x.options.Access.ConnectionFor(ctx, who, integration, x.in.Header.Get(HeaderConnection), x.Method)
	x.leavePlace() // What is held from now on is held for somebody who may send it.
	if err != nil {
		return err
	}
	x.Connection = types.NamespacedName{Namespace: x.connection.Namespace, Name: x.connection.Name}
	if x.credential, err = x.options.Credentials.Get(ctx, x.connection); err != nil {
		return err
	}
	if x.credential.Base == nil {
		return problem.New(problem.NoAPIBaseURL, "application %s has no apiBaseURL", integration.Name)
	}
	x.realm = newRealm(x.credential.Base, x.credential.AllowedHosts)
	x.key.Connection = x.connection.UID
	return nil
}

// resolve returns where a request goes.
func (i *inner) resolve(r realm) (*url.URL, error) {
	if i.byPath {
		return r.below(i.path, i.query, i.forcesQuery)
	}
	return r.resolve(i.url)
}

// forward sends the request and passes the answer on.
func (x *exchange) forward(ctx context.Context, asked *inner) {
	request := x.in
	if asked.byPath {
		if x.in.ContentLength != 0 {
			// An answer may come before the whole body was read, and must not wait for it. Where both can flow at once anyway, there
			// is nothing to enable.
			_ = http.NewResponseController(x.w).EnableFullDuplex()
		}
	} else {
		request = asked.request(x.in)
	}
	proxy := x.template
	proxy.Rewrite = func(r *httputil.ProxyRequest) { x.prepare(r.Out) }
	proxy.Transport = roundTripper(func(out *http.Request) (*http.Response, error) { return x.roundTrip(ctx, out) })
	proxy.ModifyResponse = func(response *http.Response) error {
		x.pass(&proxy, response)
		return nil
	}
	proxy.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, err error) { x.fail(err) }
	proxy.ServeHTTP(x.w, request.WithContext(ctx))
}

// roundTripper is an http.RoundTripper of a function.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// prepare makes of a copy of the caller's request what goes to the provider.
func (x *exchange) prepare(out *http.Request) {
	out.URL, out.Host = x.target, ""
	without(out.Header, keptFromProvider)
	without(out.Trailer, keptFromProvider)
	if _, given := out.Header["User-Agent"]; !given {
		out.Header.Set("User-Agent", userAgent)
	}
}

// pass makes of the provider's answer what goes to the caller.
func (x *exchange) pass(proxy *httputil.ReverseProxy, response *http.Response) {
	without(response.Header, keptFromCaller)
	if x.Token != "" {
		response.Header.Set(HeaderToken, x.Token)
	}
	if _, given := response.Header[headerContentType]; !given {
		x.w.Header()[headerContentType] = nil // The server would guess one.
	}
	if x.Method == http.MethodHead && x.in.Method != http.MethodHead {
		response.Header.Del("Content-Length") // The caller's own request is POST: it would wait for so much.
	}
	if response.ContentLength >= 0 {
		proxy.FlushInterval = flushWithin
	}
	response.Body = &answerBody{ReadCloser: response.Body, exchange: x, response: response}
	without(response.Trailer, keptFromCaller)
	x.Status, x.answering = response.StatusCode, true
}

// fail answers with an error of the API's own.
func (x *exchange) fail(err error) {
	answer := problem.Of(err)
	x.Status, x.Code, x.Cause = answer.Status, answer.Code, answer.Cause
	if x.Token != "" {
		x.w.Header().Set(HeaderToken, x.Token)
	}
	if x.callerGone() {
		x.Status, x.Code, x.Cause, x.Aborted = StatusCallerGone, "", nil, true
	}
	x.complete = true
	problem.Write(x.w, answer)
}

// callerGone tells whether the caller has gone away. To interrupt the reading of its body looks like that too.
func (x *exchange) callerGone() bool { return x.in.Context().Err() != nil && x.watch.stood() == nil }

// end leaves nothing behind, and tells the observer. It runs after what breaks off too.
func (x *exchange) end() {
	late := x.watch.end()
	x.leavePlace()
	if x.body != nil {
		// Nobody may read from the caller's body once the handler has returned.
		x.body.close(func() bool { return http.NewResponseController(x.w).SetReadDeadline(longAgo()) == nil })
		x.Sent = max(x.Sent, x.body.read())
	}
	x.leave()
	if x.verify {
		// The end of the answer need not wait for what is not about it.
		ctx := context.WithoutCancel(x.in.Context())
		x.options.Background(func() { x.options.Credentials.Verify(ctx, x.connection, x.credential) })
	}
	x.Duration = x.options.Clock.Now().Sub(x.Started)
	x.Aborted = x.Aborted || !x.complete
	if late != nil && x.answering {
		x.Cause = late // And not what it brought about.
	}
	if x.options.Observer != nil {
		x.options.Observer.Done(x.record)
	}
}
