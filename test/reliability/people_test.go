// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/test/person"
)

// visitor is one person, who logs in once.
type visitor struct {
	connection string
	browser    *person.Person
	denies     bool

	login *person.Login
	// kind of the page at the end; empty: it is none of the gateway's, or there was none.
	kind pages.Kind
	// reloads counts how often the person has met the front's own page, and tried again; looks how often they have looked again
	// because the controller was away.
	reloads, looks int
	err            error
	// returned is when the browser went back to the gateway, and shown when the page that stays was there.
	returned, shown time.Time
}

// newVisitor is a person with an address and a browser of their own.
func (w *world) newVisitor(connection string, number int) *visitor {
	v := &visitor{connection: connection}
	v.browser = person.New(person.Options{Transport: network{
		visitor: v,
		address: fmt.Sprintf("10.%d.%d.%d", number>>16&0xff, number>>8&0xff, number&0xff),
		next:    &http.Transport{DisableKeepAlives: true},
	}})
	return v
}

// network is what a person's requests go through: the outermost proxy, which tells whose they are.
type network struct {
	visitor *visitor
	address string
	next    http.RoundTripper
}

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == v1alpha1.PathCallback && n.visitor.returned.IsZero() {
		n.visitor.returned = time.Now()
	}
	r = r.Clone(r.Context())
	r.Header.Set(headerClient, n.address)
	return n.next.RoundTrip(r)
}

// tries is how often a person tries again where nobody answers, and pause how long they wait before. They look again after
// some minutes, which are short here.
const (
	tries   = 20
	pause   = 500 * time.Millisecond
	minutes = 10 * time.Second
)

// leave goes to the provider's page.
func (v *visitor) leave(ctx context.Context, link string) {
	for range tries {
		v.login, v.err = v.browser.Begin(ctx, link)
		if v.err != nil || !v.meets502() || !v.waits(ctx, pause) {
			return
		}
		v.reloads++
	}
}

// comeBack answers the provider and goes on to the page that stays.
func (v *visitor) comeBack(ctx context.Context, kinds map[string]pages.Kind) {
	if v.err != nil {
		return
	}
	defer func() { v.shown = time.Now() }()
	v.err = v.login.Answer(ctx, person.Answer{Deny: v.denies})
	for range tries {
		if v.err != nil || !v.meets502() || !v.waits(ctx, pause) {
			break
		}
		v.reloads++
		if v.login.Page, v.err = v.login.Page.Reload(ctx); v.err == nil {
			v.login.Page, v.err = v.login.Page.Settle(ctx)
		}
	}
	for v.err == nil {
		if v.kind = kinds[v.login.Page.Heading]; v.kind != pages.ControllerAway {
			return
		}
		v.looks++
		if !v.waits(ctx, minutes) {
			return
		}
		if v.login.Page, v.err = v.login.Page.Follow(ctx, "Look again"); v.err == nil {
			v.login.Page, v.err = v.login.Page.Settle(ctx)
		}
	}
}

func (v *visitor) meets502() bool { return v.login.Page.Status == http.StatusBadGateway }

func (v *visitor) waits(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		v.err = ctx.Err()
		return false
	}
}

// headings tells the kinds of pages by what stands on top of them.
func headings(t testing.TB, provider string) map[string]pages.Kind {
	t.Helper()
	all, err := pages.New(pages.Branding{})
	if err != nil {
		t.Fatal(err)
	}
	heading, tag := regexp.MustCompile(`(?s)<h1>(.*?)</h1>`), regexp.MustCompile(`<[^>]*>`)
	kinds := map[string]pages.Kind{}
	for _, kind := range pages.Kinds() {
		shown := httptest.NewRecorder()
		if err := all.Notice(shown, pages.Notice{Kind: kind, Provider: provider}); err != nil {
			t.Fatal(err)
		}
		found := heading.FindStringSubmatch(shown.Body.String())
		if found == nil {
			t.Fatalf("page %s has no heading", kind)
		}
		kinds[tag.ReplaceAllString(found[1], "")] = kind
	}
	return kinds
}

// crowd has groups of people log in, so many groups at a time. All of a group are at the provider before the first of them
// comes back.
func (w *world) crowd(ctx context.Context, groups [][]*visitor, side int, begun *atomic.Int64) {
	kinds := headings(w.t, w.providerName())
	queue := make(chan []*visitor)
	var workers sync.WaitGroup
	for range side {
		workers.Go(func() {
			for group := range queue {
				w.admit(ctx, group, kinds, begun)
			}
		})
	}
	for _, group := range groups {
		queue <- group
	}
	close(queue)
	workers.Wait()
}

func (w *world) admit(ctx context.Context, group []*visitor, kinds map[string]pages.Kind, begun *atomic.Int64) {
	for _, v := range group {
		c, err := w.get(v.connection)
		if err != nil {
			v.err = err
			return
		}
		v.leave(ctx, c.Status.AuthorizationURL)
		begun.Add(1)
	}
	var together sync.WaitGroup
	for _, v := range group {
		together.Go(func() { v.comeBack(ctx, kinds) })
	}
	together.Wait()
}
