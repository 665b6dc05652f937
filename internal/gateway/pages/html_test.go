// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// document is a page's elements in their order, with the text of each.
type document struct {
	elements []*element
	// order of the tags, to compare pages by.
	order []string
}

type element struct {
	name string
	attr map[string]string
	text strings.Builder
}

// read fails the test where tags are not closed in the order that they were opened in.
func read(t testing.TB, p page) document {
	t.Helper()
	void := []string{"meta", "link", "img", "input", "br", "hr"}
	var d document
	var open []*element
	tokens := html.NewTokenizer(strings.NewReader(p.html))
	for {
		kind := tokens.Next()
		token := tokens.Token()
		switch kind {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) || len(open) > 0 {
				t.Fatalf("%s is not whole: %v, %d elements are open", p.name, tokens.Err(), len(open))
			}
			return d
		case html.StartTagToken, html.SelfClosingTagToken:
			e := &element{name: token.Data, attr: map[string]string{}}
			for _, attribute := range token.Attr {
				if _, twice := e.attr[attribute.Key]; twice {
					t.Errorf("%s: %s twice in %s", p.name, attribute.Key, token)
				}
				e.attr[attribute.Key] = attribute.Val
			}
			d.elements = append(d.elements, e)
			d.order = append(d.order, token.Data)
			if kind == html.StartTagToken && !slices.Contains(void, token.Data) {
				open = append(open, e)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1].name != token.Data {
				t.Fatalf("%s: %s closes nothing", p.name, token)
			}
			open = open[:len(open)-1]
			d.order = append(d.order, "/"+token.Data)
		case html.TextToken:
			for _, e := range open {
				e.text.WriteString(token.Data)
			}
		case html.CommentToken:
			t.Errorf("%s has a comment: %s", p.name, token)
		default:
		}
	}
}

func (d document) all(names ...string) []*element {
	var found []*element
	for _, e := range d.elements {
		if slices.Contains(names, e.name) {
			found = append(found, e)
		}
	}
	return found
}

const testBranding = "Example & Sons"

func branding() pages.Branding {
	return pages.Branding{Title: testBranding, LogoURL: "https://brand.example.com/logo.png", BasePath: "/oauth/"}
}

func TestPagesAreWholeAndAccessible(t *testing.T) {
	for _, page := range allPages(t, newPages(t, branding())) {
		t.Run(page.name, func(t *testing.T) {
			if !strings.HasPrefix(page.html, "<!DOCTYPE html>\n") {
				t.Error("a page without a document type is shown as in the last century")
			}
			if got := page.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
				t.Errorf("content type %q", got)
			}
			d := read(t, page)
			for _, once := range []string{"html", "head", "title", "body", "header", "main", "h1"} {
				if n := len(d.all(once)); n != 1 {
					t.Errorf("%d elements %s", n, once)
				}
			}
			checkWords(t, d)
			checkElements(t, d)
			level := 0
			for _, h := range d.all("h1", "h2", "h3", "h4", "h5", "h6") {
				if next := int(h.name[1] - '0'); next > level+1 {
					t.Errorf("heading %q skips a level", h.text.String())
				} else {
					level = next
				}
			}
		})
	}
}

// checkWords : what is read aloud, or stands in the tab.
func checkWords(t *testing.T, d document) {
	t.Helper()
	if got := d.all("html")[0].attr["lang"]; got != "en" {
		t.Errorf("language %q", got)
	}
	heading := d.all("h1")[0].text.String()
	if title, want := d.all("title")[0].text.String(), heading+" – "+testBranding; title != want {
		t.Errorf("the title is %q, want %q", title, want)
	}
	text := d.all("body")[0].text.String()
	if found := regexp.MustCompile(`\{[A-Za-z]+\}|%!|<nil>|<no value>|ZgotmplZ| {2}|\.\.`).FindString(text); found != "" {
		t.Errorf("the page shows %q", found)
	}
	for _, e := range d.all("h1", "h2", "p", "li", "dt", "dd", "a", "button", "code", "bdi") {
		if strings.TrimSpace(e.text.String()) == "" {
			t.Errorf("an empty %s", e.name)
		}
	}
}

// checkElements : nothing that the policy refuses, nothing without a name.
func checkElements(t *testing.T, d document) {
	t.Helper()
	for _, e := range d.elements {
		switch e.name {
		case "script", "style", "iframe", "object", "embed", "base":
			t.Errorf("an element %s", e.name)
		case "img":
			if alt, ok := e.attr["alt"]; !ok || alt != "" {
				t.Error("a logo stands beside its name and is not read aloud")
			}
			if e.attr["referrerpolicy"] != "no-referrer" {
				t.Error("where a logo comes from is told who looks at it")
			}
		case "input":
			if e.attr["type"] != "hidden" {
				t.Error("an input without a label")
			}
		case "svg":
			if e.attr["aria-hidden"] != "true" {
				t.Error("a sign is read aloud")
			}
		case "form":
			if e.attr["method"] != "post" || e.attr["action"] == "" {
				t.Errorf("a form with %v", e.attr)
			}
		}
		for key := range e.attr {
			if key == "style" || key == "tabindex" || strings.HasPrefix(key, "on") {
				t.Errorf("%s has %s", e.name, key)
			}
		}
	}
}

// TestPagesNameNothingFromElsewhere but logos, and where the person is to go.
func TestPagesNameNothingFromElsewhere(t *testing.T) {
	p := newPages(t, branding())
	for _, page := range allPages(t, p) {
		for _, e := range read(t, page).elements {
			for key, value := range e.attr {
				u, err := url.Parse(value)
				switch {
				case !slices.Contains([]string{"src", "href", "action", "content", "data", "srcset", "poster", "formaction", "xmlns"}, key):
					if strings.Contains(value, "://") {
						t.Errorf("%s: %s=%q", page.name, key, value)
					}
				case e.name == "link" && !strings.HasPrefix(value, "/oauth/assets/"):
					t.Errorf("%s: %s=%q is not below the base path", page.name, key, value)
				case e.name == "img" && value != sampleLogo && value != branding().LogoURL:
					t.Errorf("%s: a picture from %q", page.name, value)
				case page.name == "notice-"+string(pages.Departing) && (e.name == "a" && value == sampleTarget || e.name == "meta" && value == "0;url="+sampleTarget):
				case e.name == "a" && value != sampleRetry && value != sampleResult:
					t.Errorf("%s: a link to %q", page.name, value)
				case e.name == "form" && (err != nil || u.Host != ""):
					t.Errorf("%s: a form to %q", page.name, value)
				case e.name == "meta" && strings.Contains(value, "://"):
					t.Errorf("%s: %q", page.name, value)
				}
			}
		}
	}
}

func TestStatus(t *testing.T) {
	want := map[pages.Kind]int{
		pages.Departing: http.StatusOK, pages.Success: http.StatusOK, pages.Unpublished: http.StatusOK, pages.NotNeeded: http.StatusOK, pages.Waiting: http.StatusAccepted,
		pages.ControllerAway: http.StatusServiceUnavailable, pages.ServerError: http.StatusInternalServerError,
		pages.Denied: http.StatusForbidden, pages.WrongBrowser: http.StatusForbidden, pages.FormExpired: http.StatusForbidden,
		pages.Failed: http.StatusFailedDependency, pages.BadRequest: http.StatusBadRequest,
		pages.AccountMismatch: http.StatusConflict, pages.Replayed: http.StatusConflict, pages.Changed: http.StatusConflict,
		pages.Superseded: http.StatusConflict, pages.Suspended: http.StatusConflict, pages.NotReady: http.StatusConflict,
		pages.Expired: http.StatusGone, pages.Gone: http.StatusGone, pages.LinkExpired: http.StatusGone,
		pages.LinkInvalid: http.StatusNotFound, pages.NotFound: http.StatusNotFound,
		pages.MethodNotAllowed: http.StatusMethodNotAllowed, pages.TooManyRequests: http.StatusTooManyRequests,
	}
	p := newPages(t, pages.Branding{})
	for _, kind := range pages.Kinds() {
		if got := pages.Status(kind); got != want[kind] {
			t.Errorf("%s: status %d, want %d", kind, got, want[kind])
		}
		if page := renderNotice(t, p, string(kind), pages.Notice{Kind: kind}); page.status != want[kind] {
			t.Errorf("%s: the page has status %d, want %d", kind, page.status, want[kind])
		}
	}
	if len(want) != len(pages.Kinds()) {
		t.Errorf("%d kinds, and %d are expected", len(pages.Kinds()), len(want))
	}
	unknown := renderNotice(t, p, "unknown", pages.Notice{Kind: "Nonsense"})
	if unknown.status != http.StatusInternalServerError || len(read(t, unknown).all("h1")) != 1 {
		t.Errorf("an unknown kind is told with status %d", unknown.status)
	}
}
