// SPDX-License-Identifier: Apache-2.0

// Package person plays a person at a browser that runs no scripts, with plain HTTP: cookies of its own, redirects one by
// one, forms, and pages that load themselves again. It sends what browsers say about where a request comes from
// (Sec-Fetch-Site, Origin), but does not enforce what they do (SameSite, Content-Security-Policy): the tests in a real
// browser are there for that.
package person

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Options choose a person. The zero value is one.
type Options struct {
	// Transport carries the requests; default: http.DefaultTransport. It must not follow redirects, as none does.
	Transport http.RoundTripper
	// Observe is told of each answer, in order; nil: nobody is.
	Observe func(Hop)
}

// Person is one browser profile: what it opens shares cookies. Its methods may run at the same time, like tabs.
type Person struct {
	client  *http.Client
	observe func(Hop)
}

// New returns a person without cookies.
func New(o Options) *Person {
	jar, _ := cookiejar.New(nil) // It has no error to return.
	p := &Person{observe: o.Observe, client: &http.Client{
		Transport: o.Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if p.observe == nil {
		p.observe = func(Hop) {}
	}
	return p
}

// Hop is one request and how it was answered. Its URL may hold a code or a ticket.
type Hop struct {
	Method string
	URL    *url.URL
	Status int
}

// Cookies are those that would be sent to an address.
func (p *Person) Cookies(address *url.URL) []*http.Cookie { return p.client.Jar.Cookies(address) }

// Open loads an address as if it had been typed, and follows redirects.
func (p *Person) Open(ctx context.Context, address string) (*Page, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("open: not a URL") // The error would quote it.
	}
	return p.load(ctx, navigation{method: http.MethodGet, target: target})
}

// navigation is a request that loads a page.
type navigation struct {
	method string
	target *url.URL
	form   url.Values
	// from is the page that led there; nil: the address was typed.
	from *Page
}

// Bounds of one navigation.
const (
	maxHops = 20
	maxPage = 1 << 20 // bytes
)

// load follows a navigation to its end.
func (p *Person) load(ctx context.Context, n navigation) (*Page, error) {
	var chain []Hop
	site := siteNone
	if n.from != nil {
		site = relation(n.from.URL, n.target)
	}
	for len(chain) < maxHops {
		got, err := p.exchange(ctx, n, site)
		if err != nil {
			return nil, err
		}
		hop := Hop{Method: n.method, URL: n.target, Status: got.status}
		chain = append(chain, hop)
		p.observe(hop)
		next, ok, err := redirect(got, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			return newPage(p, got, n.target, chain)
		}
		// Once a chain has left the origin, what comes back is no longer of its own.
		site = max(site, relation(n.target, next.target))
		n = next
	}
	return nil, fmt.Errorf("more than %d redirects", maxHops)
}

// response is what came back of one request.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends one request and reads the whole answer.
func (p *Person) exchange(ctx context.Context, n navigation, site site) (response, error) {
	var body io.Reader
	if n.method == http.MethodPost {
		body = strings.NewReader(n.form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, n.method, n.target.String(), body)
	if err != nil {
		return response{}, errors.New("not a URL that can be loaded")
	}
	request.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	request.Header.Set("Accept-Language", "en")
	request.Header.Set("Sec-Fetch-Site", site.String())
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	request.Header.Set("Sec-Fetch-Dest", "document")
	if n.method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", n.from.origin(site))
	}
	got, err := p.client.Do(request)
	if err != nil {
		return response{}, plain(err)
	}
	defer got.Body.Close()
	content, err := io.ReadAll(io.LimitReader(got.Body, maxPage))
	if err != nil {
		return response{}, fmt.Errorf("read the page at %s: %w", place(n.target), err)
	}
	return response{status: got.StatusCode, header: got.Header, body: content}, nil
}

// plain takes the URL, which may hold a code, out of a client's error.
func plain(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	address, parseErr := url.Parse(failed.URL)
	if parseErr != nil {
		return fmt.Errorf("%s: %w", failed.Op, failed.Err)
	}
	return fmt.Errorf("%s %s: %w", failed.Op, place(address), failed.Err)
}

// place is an address without what may be secret in it.
func place(address *url.URL) string {
	return (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}).String()
}

// redirect is where an answer sends the browser (RFC 9110 section 15.4).
func redirect(got response, n navigation) (navigation, bool, error) {
	switch got.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		n.method, n.form = http.MethodGet, nil // As browsers do after a form.
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return n, false, nil
	}
	location := got.header.Get("Location")
	target, err := n.target.Parse(location)
	if err != nil || location == "" {
		return n, false, fmt.Errorf("%s redirects to nowhere", place(n.target))
	}
	n.target = target
	return n, true, nil
}

// site is how a request's target relates to where it came from (Fetch Metadata, Sec-Fetch-Site); the greater the farther.
type site int

const (
	siteNone site = iota
	sameOrigin
	sameSite
	crossSite
)

func (s site) String() string {
	return [...]string{"none", "same-origin", "same-site", "cross-site"}[s]
}

// relation knows no registrable domains: the hosts of tests have none.
func relation(from, to *url.URL) site {
	switch {
	case from.Scheme == to.Scheme && from.Host == to.Host:
		return sameOrigin
	case from.Scheme == to.Scheme && from.Hostname() == to.Hostname():
		return sameSite
	}
	return crossSite
}
