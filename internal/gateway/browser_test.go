// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// browser is one person's: it keeps cookies for the external address, and knows where gateways listen.
type browser struct {
	w *world
	// at is the gateway that answers.
	at      *running
	cookies map[string]string
	// from is what proxies say the person's address is.
	from string
	// headers are added to requests.
	headers map[string]string
}

func (w *world) browser(at *running) *browser {
	return &browser{w: w, at: at, cookies: map[string]string{}, headers: map[string]string{}}
}

// page is an answer.
type page struct {
	t        *testing.T
	status   int
	header   http.Header
	text     string
	location *url.URL
	cookies  []*http.Cookie
}

// via lets another gateway answer from now on.
func (b *browser) via(at *running) *browser {
	b.at = at
	return b
}

func (b *browser) get(address string) *page {
	b.w.t.Helper()
	return b.request(http.MethodGet, address, nil)
}

func (b *browser) post(address string, form url.Values) *page {
	b.w.t.Helper()
	return b.request(http.MethodPost, address, form)
}

func (b *browser) request(method, address string, form url.Values) *page {
	b.w.t.Helper()
	p, err := b.try(method, address, form)
	b.w.must(err)
	return p
}

// try is request, for tests in which the network may fail.
func (b *browser) try(method, address string, form url.Values) (*page, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	host := target.Host
	target.Scheme, target.Host = "http", b.at.public
	request, err := http.NewRequestWithContext(b.w.t.Context(), method, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Host = host
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.from != "" {
		request.Header.Set("X-Forwarded-For", b.from)
	}
	for name, value := range b.headers {
		request.Header.Set(name, value)
	}
	for name, value := range b.cookies {
		request.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // A browser sends names and values alone.
		b.w.provider.hide(value)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	p := &page{t: b.w.t, status: response.StatusCode, header: response.Header, text: body(b.w.t, response), cookies: response.Cookies()}
	b.keep(p.cookies)
	p.location, err = response.Location()
	if errors.Is(err, http.ErrNoLocation) {
		err = nil
	}
	return p, err
}

// async gets a page while the test goes on. It must not be used again meanwhile.
func (b *browser) async(address string) <-chan *page {
	shown := make(chan *page, 1)
	go func() {
		p, err := b.try(http.MethodGet, address, nil)
		if err != nil {
			b.w.t.Errorf("GET %s: %v", address, err)
			p = &page{t: b.w.t}
		}
		shown <- p
	}()
	return shown
}

func (b *browser) keep(cookies []*http.Cookie) {
	for _, cookie := range cookies {
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
			continue
		}
		b.cookies[cookie.Name] = cookie.Value
		b.w.provider.hide(cookie.Value)
	}
}

// shows fails the test unless the page is the one of a kind.
func (p *page) shows(kind pages.Kind) *page {
	p.t.Helper()
	if want := pages.Status(kind); p.status != want {
		p.t.Fatalf("status %d, want %d (%s): %s", p.status, want, kind, p.text)
	}
	if got := heading(p.text); got != headingOf(p.t, kind) {
		p.t.Fatalf("the page says %q, want %s (%q)", got, kind, headingOf(p.t, kind))
	}
	shown.Store(kind, true)
	return p
}

// contains fails the test unless the page has a text, as people read it.
func (p *page) contains(text string) *page {
	p.t.Helper()
	if !strings.Contains(plain(p.text), text) {
		p.t.Fatalf("the page does not contain %q: %s", text, plain(p.text))
	}
	return p
}

// redirects fails the test unless the page leads to an address that begins so.
func (p *page) redirects(prefix string) *page {
	p.t.Helper()
	if p.status != http.StatusSeeOther || p.location == nil || !strings.HasPrefix(p.location.String(), prefix) {
		p.t.Fatalf("status %d to %v, want a redirect to %s…: %s", p.status, p.location, prefix, p.text)
	}
	return p
}

// refresh is where the page goes by itself, and after what time.
func (p *page) refresh() string {
	p.t.Helper()
	return group(p.t, again, p.text)
}

var (
	again  = regexp.MustCompile(`<meta http-equiv="refresh" content="([^"]*)">`)
	anchor = regexp.MustCompile(`<a [^>]*href="([^"]*)"`)
	tags   = regexp.MustCompile(`<[^>]*>`)
	heads  = regexp.MustCompile(`(?s)<h1>(.*?)</h1>`)
	action = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	token  = regexp.MustCompile(`name="` + pages.FieldToken + `" value="([^"]*)"`)
)

func plain(text string) string { return html.UnescapeString(tags.ReplaceAllString(text, "")) }

func heading(text string) string {
	found := heads.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	// Names of providers vary, and so does the wording for none.
	return strings.NewReplacer(providerName(text), "{provider}", "the provider", "{provider}").Replace(plain(found[1]))
}

// providerName is what a page calls the provider; it is the same in a page that names none.
func providerName(text string) string {
	found := regexp.MustCompile(`(?s)<p class="about">.*?<bdi>(.*?)</bdi></p>`).FindStringSubmatch(text)
	if found == nil {
		return "The provider"
	}
	return html.UnescapeString(found[1])
}

// headingOf is the heading of a notice without a provider's name.
func headingOf(t *testing.T, kind pages.Kind) string {
	t.Helper()
	all, err := pages.New(pages.Branding{})
	if err != nil {
		t.Fatal(err)
	}
	recorder := newRecorder()
	if err := all.Notice(recorder, pages.Notice{Kind: kind}); err != nil {
		t.Fatal(err)
	}
	return heading(recorder.Body.String())
}

func group(t *testing.T, expression *regexp.Regexp, text string) string {
	t.Helper()
	found := expression.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in: %s", expression, text)
	}
	return html.UnescapeString(found[1])
}

// form is a consent page's.
type form struct {
	action string
	values url.Values
}

// form reads the form of a consent page.
func (p *page) form() form {
	p.t.Helper()
	if p.status != http.StatusOK {
		p.t.Fatalf("no consent page: status %d: %s", p.status, plain(p.text))
	}
	return form{action: group(p.t, action, p.text), values: url.Values{pages.FieldToken: {group(p.t, token, p.text)}}}
}

// submit sends a form.
func (b *browser) submit(f form) *page {
	b.w.t.Helper()
	b.w.provider.hide(f.values.Get(pages.FieldToken))
	return b.post(f.action, f.values)
}

// depart goes to the provider: from the link through the consent page. The result is the address there.
func (b *browser) depart() *url.URL {
	b.w.t.Helper()
	link := b.w.connection.Status.AuthorizationURL
	b.w.hideQuery(link)
	location := b.submit(b.get(link).form()).redirects(b.w.provider.URL + "/authorize?").location
	b.w.provider.hide(location.Query().Get("state"))
	return location
}

// hideQuery makes sure that nothing of an address's query is logged.
func (w *world) hideQuery(address string) {
	parsed, err := url.Parse(address)
	w.must(err)
	for _, values := range parsed.Query() {
		w.provider.hide(values...)
	}
}

// back comes back from the provider with a response; state is added.
func (b *browser) back(authorization *url.URL, response url.Values) *page {
	b.w.t.Helper()
	query := url.Values(copied(response))
	query.Set("state", authorization.Query().Get("state"))
	return b.callback(query)
}

// callback comes back from a provider.
func (b *browser) callback(query url.Values) *page {
	b.w.t.Helper()
	for name, values := range query {
		if name == "code" || name == "state" {
			b.w.provider.hide(values...)
		}
	}
	return b.get(external + "/oauth2/callback?" + query.Encode())
}

func code() url.Values { return url.Values{"code": {"code-" + newID()}} }
