// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// mainText is what a person reads below the site's name.
func mainText(t testing.TB, p page) string {
	t.Helper()
	return read(t, p).all("main")[0].text.String()
}

func TestConnectShowsWhatIsAskedFor(t *testing.T) {
	p := newPages(t, pages.Branding{})
	c := fullConnect()
	got := renderConnect(t, p, "connect", c)
	if got.status != http.StatusOK {
		t.Errorf("status %d", got.status)
	}
	text := mainText(t, got)
	for _, want := range append([]string{
		c.Application, c.Provider, c.DisplayName, c.Owner, c.ProviderHost, c.Connection.Namespace, c.Connection.Name,
		"until the connection is deleted", "only if you expected this link", "close this page",
	}, c.Scopes...) {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	for _, no := range []string{"same account", "last attempt", "Everybody"} {
		if strings.Contains(text, no) {
			t.Errorf("the page says %q", no)
		}
	}
	d := read(t, got)
	if form := d.all("form"); len(form) != 1 || form[0].attr["action"] != c.FormAction {
		t.Errorf("forms: %v", form)
	}
	if input := d.all("input"); len(input) != 1 || input[0].attr["name"] != pages.FieldToken || input[0].attr["value"] != c.FormToken {
		t.Errorf("inputs: %v", input)
	}
	if buttons := d.all("button", "a"); len(buttons) != 1 || buttons[0].attr["type"] != "submit" {
		t.Errorf("%d buttons and links: there is one thing to do", len(buttons))
	}
	codes := map[string]bool{}
	for _, code := range d.all("code") {
		codes[code.text.String()] = true
	}
	for _, scope := range c.Scopes {
		if !codes[scope] {
			t.Errorf("scope %q is not shown as code", scope)
		}
	}
}

func TestConnectAgain(t *testing.T) {
	p := newPages(t, pages.Branding{})
	c := connectSamples()["connect-reconnect"]
	text := mainText(t, renderConnect(t, p, "again", c))
	for _, want := range []string{"Reconnect GitHub", "the same account", "583231", c.LastFailure, "Everybody in namespace billing"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	c.Account = ""
	if text := mainText(t, renderConnect(t, p, "again", c)); !strings.Contains(text, "the same account") || strings.Contains(text, "calls it") {
		t.Error("where the account is not known, the page still says that it has to be the same")
	}
	c.Reconnect, c.Account = false, "583231"
	if strings.Contains(renderConnect(t, p, "first", c).html, "583231") {
		t.Error("a first connection shows an account")
	}
}

func TestBareConnectHasNoHoles(t *testing.T) {
	d := read(t, renderConnect(t, newPages(t, pages.Branding{}), "bare", connectSamples()["connect-bare"]))
	if n := len(d.all("dl", "li", "code")); n != 0 {
		t.Errorf("%d elements for what is not known", n)
	}
	if len(d.all("button")) != 1 {
		t.Error("no button")
	}
}

func TestNoticeTellsNothingOfAnUnnamedConnection(t *testing.T) {
	p := newPages(t, pages.Branding{})
	for _, kind := range pages.Kinds() {
		d := read(t, renderNotice(t, p, string(kind), pages.Notice{Kind: kind}))
		if n := len(d.all("dl", "pre", "form")); n != 0 {
			t.Errorf("%s: %d elements for what is not known", kind, n)
		}
	}
}

func TestNoticeShowsWhoKnowsMore(t *testing.T) {
	p := newPages(t, pages.Branding{})
	n := noticeSamples()["notice-Failed"]
	got := renderNotice(t, p, "failed", n)
	text := mainText(t, got)
	for _, want := range []string{"kubectl describe oauthconnection ci-builds -n billing", n.Detail, n.Application, "Try again"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	links := read(t, got).all("a")
	if len(links) != 1 || links[0].attr["href"] != n.RetryURL || links[0].text.String() != "Try again" {
		t.Errorf("links: %v", links)
	}
	if strings.Contains(mainText(t, renderNotice(t, p, "success", noticeSamples()["notice-Success"])), "kubectl") {
		t.Error("somebody who has succeeded is told whom to ask")
	}
}

func TestTryingAgainNeedsALink(t *testing.T) {
	p := newPages(t, pages.Branding{})
	const without = "open the link that you were given"
	for _, kind := range []pages.Kind{
		pages.Denied, pages.Failed, pages.AccountMismatch, pages.Expired, pages.Replayed, pages.WrongBrowser, pages.Changed,
	} {
		if text := mainText(t, renderNotice(t, p, "", pages.Notice{Kind: kind})); !strings.Contains(text, without) {
			t.Errorf("%s does not say how to try again", kind)
		}
		linked := renderNotice(t, p, "", pages.Notice{Kind: kind, RetryURL: sampleRetry})
		if strings.Contains(mainText(t, linked), without) || len(read(t, linked).all("a")) != 1 {
			t.Errorf("%s has a link, and tells of another way", kind)
		}
	}
}

func TestWaitingRefreshes(t *testing.T) {
	p := newPages(t, pages.Branding{})
	for _, test := range []struct {
		name string
		n    pages.Notice
		want string
	}{
		{"seconds are rounded up", pages.Notice{Kind: pages.Waiting, Refresh: "/result?a=1&b=2", RefreshAfter: 1100 * time.Millisecond}, "2;url=/result?a=1&b=2"},
		{"at once", pages.Notice{Kind: pages.Waiting, Refresh: "/result"}, "0;url=/result"},
		{"never before now", pages.Notice{Kind: pages.Waiting, Refresh: "/result", RefreshAfter: -time.Hour}, "0;url=/result"},
		{"nowhere", pages.Notice{Kind: pages.Waiting, RefreshAfter: time.Second}, ""},
		{"not to a script", pages.Notice{Kind: pages.Waiting, Refresh: "javascript:alert(1)"}, ""},
		{"not to two places", pages.Notice{Kind: pages.Waiting, Refresh: "/a\";url=https://evil.example"}, ""},
		{"other pages stay", pages.Notice{Kind: pages.ControllerAway, Refresh: "/result", RefreshAfter: time.Second}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			d := read(t, renderNotice(t, p, test.name, test.n))
			for _, meta := range d.all("meta") {
				if meta.attr["http-equiv"] == "refresh" {
					got += meta.attr["content"]
				}
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			live := 0
			for _, e := range d.elements {
				if e.attr["role"] == "status" {
					live++
				}
			}
			if test.n.Kind == pages.Waiting && live != 1 {
				t.Error("a page that waits is not announced")
			}
		})
	}
	d := read(t, renderNotice(t, p, "away", noticeSamples()["notice-ControllerAway"]))
	if links := d.all("a"); len(links) != 1 || links[0].attr["href"] != sampleResult {
		t.Errorf("a page that stays leads where the outcome may be known: %v", links)
	}
}

func TestDeparting(t *testing.T) {
	p := newPages(t, pages.Branding{})
	for _, test := range []struct {
		name, target string
		leads        bool
	}{
		{"a provider", sampleTarget, true},
		{"one on this machine", "http://127.0.0.1:8080/authorize?state=x", true},
		{"what is within a URL stays within it", "https://a.example/authorize?a=1;url=b&c=d,e&f=%22", true},
		{"a path of this site is no provider", "/authorize?state=x", false},
		{"a script", "javascript:alert(1)", false},
		{"a quote, which would end the URL", "https://a.example/authorize?a='b'", false},
		{"a user name that looks like a host", "https://a.example@evil.example/", false},
		{"nowhere", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := pages.CanDepart(test.target); got != test.leads {
				t.Errorf("CanDepart says %t", got)
			}
			d := read(t, renderNotice(t, p, test.name, pages.Notice{Kind: pages.Departing, Provider: "GitHub", Target: test.target}))
			var found, want []string
			for _, e := range append(d.all("meta"), d.all("a")...) {
				if e.name == "a" || e.attr["http-equiv"] == "refresh" {
					found = append(found, e.attr["content"]+e.attr["href"])
				}
			}
			if test.leads {
				want = []string{"0;url=" + test.target, test.target}
			}
			if !slices.Equal(found, want) {
				t.Errorf("the page leads to %q, want %q", found, want)
			}
		})
	}
	t.Run("other pages lead to no provider", func(t *testing.T) {
		for _, kind := range pages.Kinds() {
			if got := renderNotice(t, p, string(kind), pages.Notice{Kind: kind, Target: sampleTarget}); kind != pages.Departing && strings.Contains(got.html, "github.com") {
				t.Errorf("%s does", kind)
			}
		}
	})
	t.Run("it names both", func(t *testing.T) {
		page := renderNotice(t, p, "", noticeSamples()["notice-Departing"])
		for _, want := range []string{"Taking you to GitHub", "Continue to github.com"} {
			if text := mainText(t, page); !strings.Contains(text, want) {
				t.Errorf("the page does not say %q: %s", want, text)
			}
		}
	})
}

func TestBranding(t *testing.T) {
	t.Run("of nobody", func(t *testing.T) {
		d := read(t, renderNotice(t, newPages(t, pages.Branding{}), "", pages.Notice{Kind: pages.NotFound}))
		if got := strings.TrimSpace(d.all("header")[0].text.String()); got != "oauth-operator" {
			t.Errorf("the site is called %q", got)
		}
		if pictures := d.all("img"); len(pictures) != 1 || !strings.HasPrefix(pictures[0].attr["src"], "/assets/icon-") {
			t.Errorf("pictures: %v", pictures)
		}
	})
	t.Run("with a title alone", func(t *testing.T) {
		d := read(t, renderNotice(t, newPages(t, pages.Branding{Title: "Example"}), "", pages.Notice{Kind: pages.NotFound}))
		if len(d.all("img")) != 0 {
			t.Error("our sign stands beside another's name")
		}
	})
	for _, test := range []struct {
		name     string
		branding pages.Branding
	}{
		{"a logo over http", pages.Branding{LogoURL: "http://brand.example.com/logo.png"}},
		{"a logo that is a script", pages.Branding{LogoURL: "javascript:alert(1)"}},
		{"a base path without a slash", pages.Branding{BasePath: "oauth"}},
		{"a base path that is another host", pages.Branding{BasePath: "//evil.example"}},
		{"a base path with a query", pages.Branding{BasePath: "/oauth?x"}},
		{"a base path that ends its attribute", pages.Branding{BasePath: `/"><script>`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := pages.New(test.branding); err == nil {
				t.Error("it is accepted")
			}
		})
	}
}

// hostile values, each of which once broke some page of the web.
func hostile() []string {
	return []string{
		`"><script>alert(1)</script>`, `'"><img src=x onerror=alert(1)>`, `</title><script>alert(1)</script>`, `--><!--`, `</main></body>`,
		"javascript:alert(1)", "data:text/html;base64,PHNjcmlwdD4=", "//evil.example/x", `/\evil.example`, "{{.FormToken}}", "{provider}{programs}",
		"github\u202egnp.exe", "a\u2066b\u2069\u200f", "a\x00b\nc\td\x1b[2J", "\xff\xfe", "%s%n", "0;url=https://evil.example", `" autofocus onfocus="alert(1)`,
		"&lt;script&gt;", "<!--", "<plaintext>", "]]>", "`code`", strings.Repeat("W", 5000), "Z" + strings.Repeat("\u0335", 300),
	}
}

// bidi are the characters that make a browser show text in another order than it is written.
const bidi = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

// checkHarmless : a page with foreign values has the same tags as one with plain values, and leads to no other place.
func checkHarmless(t testing.TB, got, plain page, value string) {
	t.Helper()
	d := read(t, got)
	if want := read(t, plain).order; !slices.Equal(d.order, want) {
		t.Fatalf("%s with %q: tags differ\n got %v\nwant %v", got.name, value, d.order, want)
	}
	if strings.ContainsAny(got.html, bidi) || strings.ContainsFunc(got.html, func(r rune) bool { return r < ' ' && r != '\n' }) {
		t.Errorf("%s with %q: the page contains controls", got.name, value)
	}
	for _, e := range d.elements {
		for key, v := range e.attr {
			if strings.HasPrefix(key, "on") || strings.Contains(strings.ToLower(v), "javascript:") && key != "value" {
				t.Errorf("%s with %q: %s has %s=%q", got.name, value, e.name, key, v)
			}
			if key == "src" && v == value {
				t.Errorf("%s: %q is a picture", got.name, value)
			}
		}
	}
}

// hostileConnect has a value everywhere, with a letter before it in what is shown: so it is never empty, always has an initial,
// and is no name that Kubernetes would accept.
func hostileConnect(value string) pages.Connect {
	logo := value
	value = "A b" + value
	return pages.Connect{
		Application: value, Provider: value, LogoURL: logo, Connection: types.NamespacedName{Namespace: value, Name: value},
		DisplayName: value, Owner: value, Scopes: []string{value}, Reconnect: true, Account: value, LastFailure: value,
		FormAction: "/connect", FormToken: "sample-form-token", ProviderHost: value,
	}
}

func hostileNotice(kind pages.Kind, value string) pages.Notice {
	logo := value
	value = "A b" + value
	return pages.Notice{
		Kind: kind, Application: value, Provider: value, LogoURL: logo, Connection: types.NamespacedName{Namespace: value, Name: value},
		Account: value, Detail: value,
	}
}

const plainValue = "Plain Value"

func TestHostileValuesStayText(t *testing.T) {
	p := newPages(t, pages.Branding{})
	for _, value := range hostile() {
		checkHarmless(t, renderConnect(t, p, "connect", hostileConnect(value)), renderConnect(t, p, "", hostileConnect(plainValue)), value)
		for _, kind := range pages.Kinds() {
			got := renderNotice(t, p, string(kind), hostileNotice(kind, value))
			checkHarmless(t, got, renderNotice(t, p, "", hostileNotice(kind, plainValue)), value)
		}
		titled := newPages(t, pages.Branding{Title: value})
		got := renderNotice(t, titled, "title", pages.Notice{Kind: pages.NotFound})
		checkHarmless(t, got, renderNotice(t, newPages(t, pages.Branding{Title: "Example"}), "", pages.Notice{Kind: pages.NotFound}), value)
	}
}

// TestTheGatewaysOwnValuesStayWhole : what the form carries comes back as it was.
func TestTheGatewaysOwnValuesStayWhole(t *testing.T) {
	c := fullConnect()
	c.FormToken, c.FormAction = `a"b'<c>&d+e=`, "/connect/a/b?ticket=1.2%2B3&x=%22y"
	d := read(t, renderConnect(t, newPages(t, pages.Branding{}), "connect", c))
	if got := d.all("input")[0].attr["value"]; got != c.FormToken {
		t.Errorf("the token is %q", got)
	}
	if got := d.all("form")[0].attr["action"]; got != c.FormAction {
		t.Errorf("the form is sent to %q", got)
	}
}

func TestHostileLinksLeadNowhere(t *testing.T) {
	p := newPages(t, pages.Branding{})
	for _, value := range []string{
		"javascript:alert(1)", " javascript:alert(1)", "JAVASCRIPT:alert(1)", "vbscript:x", "data:text/html,x", "//evil.example", `/\evil.example`,
		"\\\\evil.example", "ftp://evil.example", "evil.example", "https://good.example@evil.example/", "/a\nb",
	} {
		for _, kind := range []pages.Kind{pages.Waiting, pages.Departing} {
			n := pages.Notice{Kind: kind, RetryURL: value, Refresh: value, Target: value}
			got := renderNotice(t, p, "links", n)
			if d := read(t, got); len(d.all("a")) != 0 || slices.Contains(d.order, "form") || strings.Contains(got.html, "http-equiv") {
				t.Errorf("%s: %q is a link", kind, value)
			}
		}
		recorder := httptest.NewRecorder()
		if err := p.Connect(recorder, pages.Connect{FormAction: value}); err == nil {
			t.Errorf("a form is sent to %q", value)
		}
		if recorder.Body.Len() > 0 || len(recorder.Header()) > 0 {
			t.Errorf("%q: an error leaves half a page", value)
		}
	}
}

// FuzzPages : no value changes the tags of a page.
func FuzzPages(f *testing.F) {
	p := newPages(f, pages.Branding{})
	for _, value := range hostile() {
		f.Add(value)
	}
	f.Add("https://cdn.example.com/logo.svg")
	plainConnect := renderConnect(f, p, "connect", hostileConnect(plainValue))
	plainNotice := renderNotice(f, p, "notice", hostileNotice(pages.Failed, plainValue))
	f.Fuzz(func(t *testing.T, value string) {
		if pages.LogoOrigin(value) != "" {
			return // A page with a logo has one tag more.
		}
		checkHarmless(t, renderConnect(t, p, "connect", hostileConnect(value)), plainConnect, value)
		checkHarmless(t, renderNotice(t, p, "notice", hostileNotice(pages.Failed, value)), plainNotice, value)
	})
}

// brokenWriter is a connection that a browser has closed.
type brokenWriter struct{ http.ResponseWriter }

var errClosed = errors.New("closed")

func (brokenWriter) Write([]byte) (int, error) { return 0, errClosed }

func TestBrokenConnectionIsReported(t *testing.T) {
	p := newPages(t, pages.Branding{})
	if err := p.Notice(brokenWriter{httptest.NewRecorder()}, pages.Notice{Kind: pages.Success}); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}
