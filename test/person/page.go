// SPDX-License-Identifier: Apache-2.0

package person

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page is what a navigation ended at.
type Page struct {
	// URL of the page, after redirects, and its HTTP status.
	URL    *url.URL
	Status int
	Header http.Header
	// Chain of requests that led here, this page's own last.
	Chain []Hop
	// Title, and Heading, which is the first of the highest level.
	Title, Heading string

	person *Person
	root   *html.Node
	// values that were filled in, by the field's name.
	values map[string]string
}

func newPage(p *Person, got response, address *url.URL, chain []Hop) (*Page, error) {
	root, err := html.Parse(bytes.NewReader(got.body))
	if err != nil {
		return nil, fmt.Errorf("read the page at %s: %w", place(address), err)
	}
	page := &Page{
		URL: address, Status: got.status, Header: got.header, Chain: chain, person: p, root: root,
		values: map[string]string{},
	}
	page.Title, page.Heading = text(page.first(atom.Title)), text(page.first(atom.H1))
	return page, nil
}

// all returns the elements of a kind in the order of the document.
func all(root *html.Node, kind atom.Atom) []*html.Node {
	var found []*html.Node
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.DataAtom == kind {
			found = append(found, node)
		}
	}
	return found
}

func (p *Page) first(kind atom.Atom) *html.Node {
	if found := all(p.root, kind); len(found) > 0 {
		return found[0]
	}
	return nil
}

// attribute returns an attribute's value and whether it is there.
func attribute(node *html.Node, key string) (string, bool) {
	for _, a := range node.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

// text is what can be read of an element, with single spaces.
func text(node *html.Node) string {
	if node == nil {
		return ""
	}
	var words []string
	var walk func(*html.Node)
	walk = func(node *html.Node) {
		switch {
		case node.Type == html.TextNode:
			words = append(words, strings.Fields(node.Data)...)
		case node.DataAtom == atom.Style || node.DataAtom == atom.Script || node.DataAtom == atom.Template:
			return
		}
		for child := range node.ChildNodes() {
			walk(child)
		}
	}
	walk(node)
	return strings.Join(words, " ")
}

// Text is all that can be read on the page, with single spaces.
func (p *Page) Text() string { return text(p.first(atom.Body)) }

// Attribute returns an attribute of the page's body.
func (p *Page) Attribute(key string) string {
	body := p.first(atom.Body)
	if body == nil {
		return ""
	}
	value, _ := attribute(body, key)
	return value
}

// Link returns where the link of a text leads.
func (p *Page) Link(label string) (*url.URL, error) {
	var there []string
	for _, anchor := range all(p.root, atom.A) {
		target, ok := attribute(anchor, "href")
		if ok && strings.EqualFold(text(anchor), label) {
			return p.URL.Parse(target)
		}
		there = append(there, text(anchor))
	}
	return nil, fmt.Errorf("%s has no link %q; there are: %q", p, label, there)
}

// Follow clicks the link of a text.
func (p *Page) Follow(ctx context.Context, label string) (*Page, error) {
	target, err := p.Link(label)
	if err != nil {
		return nil, err
	}
	return p.person.load(ctx, navigation{method: http.MethodGet, target: target, from: p})
}

// Reload opens the page's address again. A page that answered a form is opened without it.
func (p *Page) Reload(ctx context.Context) (*Page, error) {
	return p.person.load(ctx, navigation{method: http.MethodGet, target: p.URL})
}

// Refresh tells where the page loads by itself, and after what time; ok is false where it stays.
func (p *Page) Refresh() (to *url.URL, after time.Duration, ok bool) {
	content := p.Header.Get("Refresh")
	for _, meta := range all(p.root, atom.Meta) {
		if kind, _ := attribute(meta, "http-equiv"); content == "" && strings.EqualFold(kind, "refresh") {
			content, _ = attribute(meta, "content")
		}
	}
	seconds, rest, _ := strings.Cut(content, ";")
	n, err := strconv.Atoi(strings.TrimSpace(seconds))
	if content == "" || err != nil || n < 0 {
		return nil, 0, false
	}
	to, after = p.URL, time.Duration(n)*time.Second
	name, target, given := strings.Cut(strings.TrimSpace(rest), "=")
	if !given || !strings.EqualFold(strings.TrimSpace(name), "url") {
		return to, after, true
	}
	if to, err = p.URL.Parse(strings.Trim(strings.TrimSpace(target), `"'`)); err != nil {
		return nil, 0, false
	}
	return to, after, true
}

// depart goes on from a page that leads to elsewhere at once, by itself; any other page stays.
func (p *Page) depart(ctx context.Context) (*Page, error) {
	to, after, ok := p.Refresh()
	if !ok || after > 0 || relation(p.URL, to) == sameOrigin {
		return p, nil
	}
	return p.person.load(ctx, navigation{method: http.MethodGet, target: to, from: p})
}

// Settle waits while a page loads itself again, and returns the one that stays. The context ends the wait.
func (p *Page) Settle(ctx context.Context) (*Page, error) {
	page := p
	for {
		to, after, ok := page.Refresh()
		if !ok {
			return page, nil
		}
		timer := time.NewTimer(after)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return page, fmt.Errorf("%s did not come to an end: %w", page, ctx.Err())
		}
		next, err := page.person.load(ctx, navigation{method: http.MethodGet, target: to, from: page})
		if err != nil {
			return page, err
		}
		page = next
	}
}

// String names the page without what may be secret in its address.
func (p *Page) String() string {
	return fmt.Sprintf("the page %q at %s (%d)", p.Title, place(p.URL), p.Status)
}

// origin is what browsers send along with a form of the page (Fetch, section 3.2).
func (p *Page) origin(site site) string {
	if p.Header.Get("Referrer-Policy") == "no-referrer" || (site != sameOrigin && p.URL.Scheme == "https") {
		return "null"
	}
	return p.URL.Scheme + "://" + p.URL.Host
}
