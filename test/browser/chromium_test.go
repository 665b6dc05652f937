// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// patience is how long any one thing may take in a browser on a busy machine.
const patience = 30 * time.Second

// browser is a running Chromium.
type browser struct {
	ctx context.Context //nolint:containedctx // it is what the protocol's library knows a browser by
	// end ends it and all that it has started.
	end func() error
	// profiles counts those that were opened.
	profiles atomic.Int32
}

// launch starts a headless Chromium with a data directory of its own. trusted are the public keys (SPKI hashes) of
// certificates that it takes although nobody vouches for them.
func launch(trusted ...string) (*browser, error) {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		// It resolves nothing but this machine, whatever a page or the browser itself would like to load.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(trusted, ",")),
		// The same picture on every machine that has the same fonts.
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"), chromedp.Flag("lang", "en-US"),
		chromedp.CombinedOutput(io.Discard),
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	// What the protocol's Go types do not know yet is no news here.
	ctx, abandon := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	b := &browser{ctx: ctx, end: func() error {
		defer free()
		defer abandon()
		bounded, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return chromedp.Cancel(bounded)
	}}
	if err := chromedp.Do(ctx); err != nil {
		abandon()
		free()
		return nil, fmt.Errorf("start Chromium: %w", err)
	}
	return b, nil
}

// profile is what people take for a browser of its own: its tabs share cookies, and with no other profile anything.
type profile struct {
	ctx context.Context //nolint:containedctx // see browser
	// address that it comes from, as a proxy would say: the gateway limits how often one address may come.
	address string
}

// newProfile opens a profile until the test ends.
func newProfile(t *testing.T) *profile {
	t.Helper()
	ctx, closeAll := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a browser profile: %v", err)
	}
	return &profile{ctx: ctx, address: fmt.Sprintf("192.0.2.%d", chromium.profiles.Add(1))}
}

// look is how a tab shows its pages.
type look struct {
	name          string
	width, height int64
	scale         float64
	phone, dark   bool
}

func desktop() look { return look{name: "desktop", width: 1000, height: 800, scale: 1} }
func phone() look   { return look{name: "phone", width: 390, height: 844, scale: 2, phone: true} }

func (l look) inDark() look {
	l.name += "-dark"
	l.dark = true
	return l
}

func looks() []look { return []look{desktop(), desktop().inDark(), phone(), phone().inDark()} }

// tab is one page of a profile.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // see browser

	mu sync.Mutex
	// complaints are what the browser had to say against its pages.
	complaints []string
	// visited are the addresses of the pages that were asked for, redirects and all.
	visited []string
}

// tab opens a tab, and fails the test at its end if the browser had to complain of any page in it.
func (p *profile) tab(t *testing.T) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(p.ctx)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(closeTab)
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	b.do(command(audits.Enable, cdp.Empty{}),
		// Only one of several tabs would have the keyboard otherwise.
		command(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
		command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"X-Forwarded-For": p.address}}))
	b.show(desktop())
	t.Cleanup(func() {
		for _, complaint := range b.takeComplaints() {
			t.Errorf("the browser complains: %s", complaint)
		}
	})
	return b
}

// newTab is a tab in a profile of its own.
func newTab(t *testing.T) *tab {
	t.Helper()
	return newProfile(t).tab(t)
}

// command makes an action of a command of the protocol.
func command[P, R any](c cdp.Command[P, R], parameters P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, parameters)
		return err
	})
}

// hear notes complaints, and where pages come from. A status above 400 is none: pages that tell of a failure have one.
func (b *tab) hear(event any) {
	complaint := ""
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if event.Type == network.ResourceTypeDocument {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.visited = append(b.visited, event.Request.URL)
		}
		return
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError && !strings.Contains(event.Entry.Text, "the server responded with a status of") {
			complaint = fmt.Sprintf("%s: %s", event.Entry.Source, event.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		complaint = "a script failed: " + event.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		complaint = fmt.Sprintf("a script says something of type %s", event.Type)
	case *audits.EventIssueAdded:
		complaint = issue(event.Issue)
	}
	if complaint == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// issue is what is wrong with a page by the browser's own audits.
func issue(i *audits.InspectorIssue) string {
	if csp := i.Details.ContentSecurityPolicyIssueDetails; csp != nil {
		return fmt.Sprintf("content security policy: %s blocks %s", csp.ViolatedDirective, csp.BlockedURL)
	}
	switch {
	case i.Details.CookieIssueDetails != nil, i.Details.MixedContentIssueDetails != nil, i.Details.BlockedByResponseIssueDetails != nil,
		i.Details.CorsIssueDetails != nil, i.Details.QuirksModeIssueDetails != nil, i.Details.GenericIssueDetails != nil,
		i.Details.DeprecationIssueDetails != nil, i.Details.StylesheetLoadingIssueDetails != nil,
		i.Details.ElementAccessibilityIssueDetails != nil:
		return "issue " + string(i.Code)
	}
	return ""
}

// takeComplaints returns what the browser has complained of since the last time.
func (b *tab) takeComplaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.complaints
	b.complaints = nil
	return taken
}

// went returns the last address with a path that the tab has asked for.
func (b *tab) went(path string) string {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, address := range slices.Backward(b.visited) {
		if at, err := url.Parse(address); err == nil && at.Path == path {
			return address
		}
	}
	b.t.Fatalf("the tab never went to %s", path)
	return ""
}

// awaitComplaint waits for a complaint with a word in it, and takes all there are.
func (b *tab) awaitComplaint(word string) {
	b.t.Helper()
	testenv.Eventually(b.t, patience, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !slices.ContainsFunc(b.complaints, func(c string) bool { return strings.Contains(strings.ToLower(c), word) }) {
			return fmt.Errorf("no complaint of %q in %q", word, b.complaints)
		}
		return nil
	})
	b.takeComplaints()
}

// do runs actions, or fails the test.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v; the tab shows %s", err, b.where())
	}
}

// evaluate runs an expression in the page that is shown, waits for its promise if it is one, and reads its value. It works where
// pages may run no scripts. While the next page is under way it waits for that one.
func evaluate[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (T, error) {
		var value T
		result, err := cdp.Call(ctx, t, runtime.Evaluate, runtime.EvaluateParams{
			Expression: expression, ReturnByValue: new(true), AwaitPromise: new(true),
		})
		switch {
		case err != nil:
			return value, err
		case result.ExceptionDetails != nil && result.ExceptionDetails.Exception != nil:
			return value, errors.New(result.ExceptionDetails.Exception.Description)
		case result.ExceptionDetails != nil:
			return value, errors.New(result.ExceptionDetails.Text)
		case len(result.Result.Value) == 0:
			return value, nil
		}
		return value, json.Unmarshal(result.Result.Value, &value)
	})
}

// show sets size and colours.
func (b *tab) show(l look) {
	b.t.Helper()
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(l.scale)}
	if l.phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(l.width, l.height, options...),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}}))
}

// withoutScripts has the tab run none.
func (b *tab) withoutScripts() {
	b.t.Helper()
	b.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
}

// page is what a tab shows.
type page struct {
	URL, Title, Heading, Text, State string
	// Refresh is the content of the element that has the page come again.
	Refresh string
	Status  int
}

// String leaves out the query, which may hold a code.
func (p page) String() string {
	address, _, _ := strings.Cut(p.URL, "?")
	return fmt.Sprintf("%q at %s (%d, %s)", p.Heading, address, p.Status, p.State)
}

const readPage = `({
	URL: location.href,
	Title: document.title,
	Heading: document.querySelector("h1")?.innerText ?? "",
	Text: document.body?.innerText ?? "",
	State: document.readyState,
	Refresh: document.querySelector("meta[http-equiv=refresh]")?.content ?? "",
	Status: performance.getEntriesByType("navigation")[0]?.responseStatus ?? 0,
})`

func (b *tab) where() string {
	now, err := evaluate[page](b, readPage)
	if err != nil {
		return fmt.Sprintf("nothing (%v)", err)
	}
	return now.String()
}

// await waits until the tab shows a loaded page that is right.
func (b *tab) await(right func(page) error) page {
	b.t.Helper()
	var now page
	testenv.Eventually(b.t, patience, func() (err error) {
		// It fails while one page takes the place of another.
		if now, err = evaluate[page](b, readPage); err != nil {
			return err
		}
		if now.State != "complete" {
			return fmt.Errorf("the tab loads %s", now)
		}
		if err := right(now); err != nil {
			return fmt.Errorf("%w; the tab shows %s", err, now)
		}
		return nil
	})
	return now
}

// heading is a page whose heading has these words in it.
func heading(words string) func(page) error {
	return func(p page) error {
		if !strings.Contains(p.Heading, words) {
			return fmt.Errorf("want a page about %q", words)
		}
		return nil
	}
}

// open loads an address as if it had been typed, and returns when a page takes the place of the one before.
func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		result, err := cdp.Call(ctx, t, cdppage.Navigate, cdppage.NavigateParams{URL: address})
		if err == nil && result.ErrorText != "" {
			err = errors.New(result.ErrorText)
		}
		return err
	}))
}

// press clicks the middle of a button or link whose text begins so, as a mouse does.
func (b *tab) press(label string) {
	b.t.Helper()
	b.do(chromedp.Click(pressable(label), chromedp.NodeVisible))
}

// pressable selects buttons and links by the beginning of their text.
func pressable(label string) string {
	return fmt.Sprintf("//*[self::button or self::a][starts-with(normalize-space(), normalize-space(%q))]", label)
}

// focused is the text, else the value, of the element that has the keyboard.
func (b *tab) focused() string {
	b.t.Helper()
	text, err := evaluate[string](b, `(document.activeElement?.innerText || document.activeElement?.value || "").trim()`)
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// tabTo presses Tab until the keyboard is at an element whose text or value begins so.
func (b *tab) tabTo(label string) {
	b.t.Helper()
	var passed []string
	const most = 20
	for range most {
		b.key(kb.Tab)
		now := b.focused()
		if strings.HasPrefix(now, label) {
			return
		}
		passed = append(passed, now)
	}
	b.t.Fatalf("no way by Tab to %q; it led to %q", label, passed)
}

func (b *tab) key(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// cookies are those that the browser would send to an address.
func (b *tab) cookies(address string) []*network.Cookie {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
	if err != nil {
		b.t.Fatal(err)
	}
	return result.Cookies
}

// status wants an HTTP status.
func status(want int) func(page) error {
	return func(p page) error {
		if p.Status != want {
			return fmt.Errorf("want status %d", want)
		}
		return nil
	}
}

// and wants a page to be right in all respects.
func and(rights ...func(page) error) func(page) error {
	return func(p page) error {
		var errs []error
		for _, right := range rights {
			errs = append(errs, right(p))
		}
		return errors.Join(errs...)
	}
}
