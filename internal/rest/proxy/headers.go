// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// ownPrefix begins the names of headers between callers and this API: they go no further in either direction.
const ownPrefix = "Oauth-Operator-"

// Headers between callers and the proxy.
const (
	// HeaderConnection selects a connection of the integration: UID, {namespace}.{name}, or the provider's id.
	HeaderConnection = ownPrefix + "Connection"
	// HeaderTimeout is how long the caller waits, all attempts and the answer's body included: a Go duration such as 90s. Unset:
	// as long as the caller stays, and retries wait at most 30 seconds together.
	HeaderTimeout = ownPrefix + "Timeout"
	// HeaderToken of an answer tells what became of the token: TokenRenewed or TokenRejected.
	HeaderToken = ownPrefix + "Token"
)

// Values of HeaderToken.
const (
	// TokenRenewed : the provider rejected the token, and it has been renewed. An answer 401 beside it is to the old token: the
	// request's body was too large to be sent again.
	TokenRenewed = "renewed"
	// TokenRejected : the provider rejects the token, and no better one is to be had now.
	TokenRejected = "rejected"
)

const userAgent = "oauth-operator"

// keptFromProvider tells which of the caller's headers are not the provider's business: who the caller is, by which way the
// request came, and what is about the caller's own connection. The name is canonical.
func keptFromProvider(name string) bool {
	name = alias(name)
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Forwarded", "X-Real-Ip", "Expect", "Host", "Content-Length",
		// Hop by hop (RFC 9110, section 7.6.1); ReverseProxy removes those that Connection names, and TE but for trailers.
		"Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Http2-Settings":
		return true
	}
	for _, prefix := range []string{ownPrefix, "Proxy-", "X-Forwarded-", "Impersonate-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// alias is a name as servers see it that know no difference between "-" and "_" (RFC 3875, section 4.1.18).
func alias(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// keptFromCaller tells which of the provider's headers speak to a browser about the provider's own host, or only to the next
// hop, or have no valid name. The name is canonical.
func keptFromCaller(name string) bool {
	switch name {
	case "Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins", "Clear-Site-Data",
		"Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, "Proxy-") || !httpguts.ValidHeaderFieldName(name)
}

// strangersSee tells which headers go with a redirect to a host that the token may not go to: only those that say what is asked
// for. Any other may be a credential.
func strangersSee(name string) bool {
	switch name {
	case "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Content-Language",
		"Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range",
		"User-Agent":
		return true
	}
	return false
}

// without removes headers whose canonical name fits.
func without(h http.Header, unwanted func(name string) bool) {
	for name := range h {
		if unwanted(http.CanonicalHeaderKey(name)) {
			delete(h, name)
		}
	}
}

// methods are all that there are rights for, as header Allow lists them.
const methods = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"

// checkMethod refuses methods that there are no rights for. It comes before anything is looked up: the answer says nothing about
// what exists.
func checkMethod(method string) error {
	if access.VerbOf(method) != "" {
		return nil
	}
	refused := problem.New(problem.MethodNotAllowed, "requests are sent with the methods %s", methods)
	refused.Header = http.Header{"Allow": {methods}}
	return refused
}

// checkHeaders refuses what this proxy cannot do for a caller, where leaving it out would make another request of it.
func checkHeaders(h http.Header) error {
	if httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket") {
		return problem.New(problem.InvalidRequest, "WebSockets are not supported")
	}
	// Rights are given for methods: a request must not be of another one than its own at the provider.
	for name := range h {
		switch alias(http.CanonicalHeaderKey(name)) {
		case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
			return problem.New(problem.InvalidRequest, "the header %s is not supported: send the request with the method that is meant", name)
		}
	}
	return nil
}
