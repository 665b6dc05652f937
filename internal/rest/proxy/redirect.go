// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"
	"net/url"
)

// maxRedirects is how many are followed in one request.
const maxRedirects = 5

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect follows an answer where that asks for the same request again. Of other methods than GET and HEAD only 307 and 308 are
// followed: the others would make GET of it. The egress guard judges where it leads. On the way to a host that the token may not
// go to, the request loses everything but what it asks for, and gets nothing back.
func (x *exchange) redirect(response *http.Response) (again bool) {
	status := response.StatusCode
	same := status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect
	if x.Redirects >= maxRedirects || !same && x.Method != http.MethodGet && x.Method != http.MethodHead {
		return false
	}
	target := x.location(response)
	if target == nil {
		return false
	}
	x.Redirects++
	x.drop(response)
	downgraded := x.target.Scheme == schemeHTTPS && target.Scheme != schemeHTTPS
	if !x.foreign && (downgraded || !x.realm.holds(target)) {
		x.foreign = true
		x.plain = seenByStrangers(x.plain)
		x.header, x.trailer = x.plain, nil
	}
	x.target = target
	return true
}

// location returns where an answer leads; nil: nowhere that can be gone to.
func (x *exchange) location(response *http.Response) *url.URL {
	text := response.Header.Get("Location")
	if text == "" {
		return nil
	}
	target, err := x.target.Parse(text)
	if err != nil || target.User != nil || target.Hostname() == "" || target.Opaque != "" ||
		target.Scheme != schemeHTTPS && target.Scheme != schemeHTTP {
		return nil
	}
	target.Fragment, target.RawFragment = "", ""
	return target
}

func seenByStrangers(h http.Header) http.Header {
	seen := http.Header{}
	for name, values := range h {
		if strangersSee(http.CanonicalHeaderKey(name)) {
			seen[name] = values
		}
	}
	return seen
}
