// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
)

// Words of the headings that tell pages apart.
const (
	consentPage    = "onnect " // Connect, and reconnect.
	providerPage   = "The provider of the tests"
	successPage    = "is connected"
	deniedPage     = "declined"
	otherAccount   = "another account"
	otherBrowser   = "another browser"
	replayedPage   = "used before"
	linkInvalid    = "does not work"
	linkExpired    = "has expired"
	waitingPage    = "One moment"
	changedPage    = "has been changed"
	nothingToDo    = "nothing to do"
	continueButton = "Continue to"
	deletedPage    = "no longer exists"
)

// start opens a link and goes to the provider.
func (b *tab) start(link string) {
	b.t.Helper()
	b.open(link)
	b.await(and(heading(consentPage), status(http.StatusOK)))
	b.press(continueButton)
	b.await(heading(providerPage))
}

// be chooses an account on the provider's page.
func (b *tab) be(account string) {
	b.t.Helper()
	b.do(chromedp.Click(fmt.Sprintf("//input[@value=%q]", account), chromedp.NodeVisible))
}

// approve agrees on the provider's page, as an account, and waits for a page of the gateway.
func (b *tab) approve(account, words string) page {
	b.t.Helper()
	b.be(account)
	b.press("Approve")
	return b.await(heading(words))
}

// inAllLooks holds a page to what axe checks, small and large, light and dark, and to fit on the screen.
func (b *tab) inAllLooks() {
	b.t.Helper()
	b.inLooks(looks()...)
}

func (b *tab) inLooks(all ...look) {
	b.t.Helper()
	for _, l := range all {
		b.show(l)
		b.accessible()
		width, err := evaluate[float64](b, "document.documentElement.scrollWidth")
		if err != nil {
			b.t.Fatal(err)
		}
		if width > float64(l.width) {
			b.t.Errorf("%s is %g pixels wide on a screen of %d", b.where(), width, l.width)
		}
	}
	b.show(desktop())
}

func TestConnect(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	link := s.link()
	tab := newTab(t)
	tab.open(link)
	asked := tab.await(and(heading(consentPage), status(http.StatusOK)))
	for _, said := range []string{s.namespace, connectionName, "Reports for the board", "Example CRM", "api:read", "offline_access", s.provider.Address()} {
		if !strings.Contains(asked.Text, said) {
			t.Errorf("the page does not say %q:\n%s", said, asked.Text)
		}
	}
	tab.inAllLooks()
	tab.press(continueButton)
	tab.await(heading(providerPage))
	started := time.Now()
	done := tab.approve(alice, successPage)
	t.Logf("from the button at the provider to the page of success: %d ms", time.Since(started).Milliseconds())
	s.connected(alice)
	tab.inAllLooks()
	for _, secret := range []string{"code=", "state=", "ticket="} {
		if strings.Contains(done.URL, secret) {
			t.Errorf("the last address holds a %s…", secret)
		}
	}

	tab.do(chromedp.Reload())
	tab.await(heading(successPage))
	tab.open(link)
	tab.await(and(heading(linkInvalid), status(http.StatusNotFound)))
	tab.inAllLooks()
}

// TestLoginByABroker : the provider's authorization endpoint sends people on to another site at once. Chromium would refuse that
// to a form.
func TestLoginByABroker(t *testing.T) {
	t.Parallel()
	s := product.subjectAt(t, func(provider *fositeserver.Server) *v1alpha1.Endpoints {
		return &v1alpha1.Endpoints{AuthorizationURL: v1alpha1.EndpointURL(product.newBroker(t, provider) + "/login")}
	})
	tab := newTab(t)
	tab.start(s.link())
	if at, err := url.Parse(tab.went("/login")); err != nil || at.Host == s.provider.Address() {
		t.Errorf("there was no broker on the way: %v, %v", at, err)
	}
	// The page that left for the provider is no step in the history: it would send people away again.
	tab.do(chromedp.NavigateBack())
	tab.await(heading(consentPage))
	tab.press(continueButton)
	tab.await(heading(providerPage))
	tab.approve(alice, successPage)
	s.connected(alice)
}

// TestCookies : what the browser keeps of a login is bound to this one host, out of reach of scripts, and of no use elsewhere.
func TestCookies(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	found := tab.cookies(s.external)
	if len(found) < 2 {
		t.Errorf("%d cookies, want one for the form and one for the login", len(found))
	}
	for _, c := range found {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" {
			t.Errorf("cookie %s: secure %t, HTTP only %t, same site %q, path %q", c.Name, c.Secure, c.HTTPOnly, c.SameSite, c.Path)
		}
	}
	if sent := tab.cookies(s.provider.URL); len(sent) != 0 {
		t.Errorf("the provider would get %d cookies", len(sent))
	}
	tab.approve(alice, successPage)
}

func TestDeny(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	link := s.link()
	tab := newTab(t)
	tab.start(link)
	tab.press("Deny")
	tab.await(heading(deniedPage))
	tab.inAllLooks()
	s.lastFailed(v1alpha1.ReasonAccessDenied)
	s.nothingStored()

	tab.press("Try again")
	again := tab.await(heading(consentPage))
	if !strings.Contains(again.Text, "The last attempt did not work") {
		t.Errorf("the page does not tell of the last attempt:\n%s", again.Text)
	}
	tab.inAllLooks()
	tab.press(continueButton)
	tab.await(heading(providerPage))
	tab.approve(alice, successPage)
	s.connected(alice)
}

// TestReplay : an answer counts once, in the browser that the login began in.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	mine, theirs := newTab(t), newTab(t)
	mine.start(s.link())
	mine.approve(alice, successPage)
	token := s.connected(alice)
	callback := mine.went(v1alpha1.PathCallback)

	theirs.open(callback)
	theirs.await(heading(otherBrowser))
	theirs.inAllLooks()
	s.event(v1alpha1.ReasonWrongBrowser)

	mine.open(callback)
	mine.await(heading(replayedPage))
	mine.inAllLooks()
	s.event(v1alpha1.ReasonResponseReplayed)
	if s.connected(alice) != token {
		t.Error("the Secret has another token")
	}
}

// TestForeignLogin : somebody sends the address of a login that they have begun, and the person who follows it, and agrees,
// connects nothing. The login is still good for who began it.
func TestForeignLogin(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	theirs, mine := newTab(t), newTab(t)
	theirs.start(s.link())
	mine.open(theirs.went("/authorize"))
	mine.await(heading(providerPage))
	mine.approve(alice, otherBrowser)
	s.event(v1alpha1.ReasonWrongBrowser)
	s.nothingStored()

	theirs.approve(bob, successPage)
	s.connected(bob)
}

// TestOtherAccount : a connection whose grant is over is for the account that gave it, keeps its Secret, and lives again.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	tab.approve(alice, successPage)
	token := s.connected(alice)
	before := s.secret()

	link := s.over()
	tab.open(link)
	asked := tab.await(heading(consentPage))
	if !strings.Contains(asked.Heading, "Reconnect") || !strings.Contains(asked.Text, alice) {
		t.Errorf("the page does not say whose account it was:\n%s", asked.Text)
	}
	tab.inAllLooks()
	tab.press(continueButton)
	tab.await(heading(providerPage))
	earlier := len(s.provider.Issued())
	tab.approve(bob, otherAccount)
	tab.inAllLooks()
	s.lastFailed(v1alpha1.ReasonAccountMismatch)
	if now := s.secret(); now == nil || now.ResourceVersion != before.ResourceVersion || s.token() != token {
		t.Error("the Secret has changed")
	}
	testenv.Eventually(t, patience, func() error {
		if slices.ContainsFunc(s.provider.Issued()[earlier:], s.provider.Introspect) {
			return errors.New("what the other account has given still works")
		}
		return nil
	})

	tab.press("Try again")
	tab.await(heading(consentPage))
	tab.press(continueButton)
	tab.await(heading(providerPage))
	tab.approve(alice, successPage)
	if s.connected(alice) == token {
		t.Error("the Secret has the old token")
	}
	if after := s.secret(); after.UID != before.UID {
		t.Error("the Secret is another one")
	}
}

// TestLinks : a link that is none, or no longer one, leads nowhere, and tells nothing of what there is.
func TestLinks(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	link := s.link()
	at, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	forged := ticket.New(ticket.Claims{Generation: 1, IssuedAt: time.Now()})
	tab := newTab(t)
	tab.open(ticket.URL(s.external, s.namespace, connectionName, forged))
	known := tab.await(and(heading(linkInvalid), status(http.StatusNotFound)))
	for what, address := range map[string]string{
		"a connection that is not there": ticket.URL(s.external, s.namespace, "other", forged),
		"no ticket":                      s.external + at.Path,
		"the ticket of another":          ticket.URL(s.external, s.namespace, "other", at.Query().Get(ticket.Parameter)),
	} {
		tab.open(address)
		if unknown := tab.await(and(heading(linkInvalid), status(http.StatusNotFound))); unknown.Text != known.Text {
			t.Errorf("%s: the page is not that of a forged ticket:\n%s", what, unknown.Text)
		}
	}
	tab.open(s.external + "/nowhere")
	tab.await(status(http.StatusNotFound))
	tab.inAllLooks()
	tab.open(s.external + v1alpha1.PathCallback + "?code=x&state=y")
	tab.await(status(http.StatusBadRequest))
	tab.inAllLooks()
}

// TestExpiredLink : a day after it was written, and with nobody to write a new one.
func TestExpiredLink(t *testing.T) {
	s := product.subject(t)
	s.link()
	s.must(t, s.stopController())
	c, err := s.get()
	if err != nil {
		t.Fatal(err)
	}
	old := ticket.New(ticket.Claims{Generation: c.Generation, IssuedAt: time.Now().Add(-ticket.Lifetime - time.Minute)})
	link := ticket.URL(s.external, s.namespace, connectionName, old)
	patch := fmt.Sprintf(`{"status":{"authorizationURL":%q}}`, link)
	if err := s.plane.Client().Status().Patch(t.Context(), c, client.RawPatch(client.Merge.Type(), []byte(patch))); err != nil {
		t.Fatal(err)
	}
	tab := newTab(t)
	tab.open(link)
	tab.await(and(heading(linkExpired), status(http.StatusGone)))
	tab.inAllLooks()

	s.must(t, s.startController())
	tab.start(s.link(link))
	tab.approve(alice, successPage)
	s.connected(alice)
}

// TestKeyboard : the whole way without a mouse.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.open(s.link())
	tab.await(heading(consentPage))
	tab.tabTo(continueButton)
	outline, err := evaluate[string](tab, "getComputedStyle(document.activeElement).outlineStyle")
	if err != nil || outline == "none" {
		t.Errorf("the button that has the keyboard is outlined by %q, %v", outline, err)
	}
	tab.key(kb.Enter)
	tab.await(heading(providerPage))
	tab.tabTo(alice)
	tab.key(kb.ArrowDown)
	if now := tab.focused(); now != bob {
		t.Fatalf("the arrow led to %q", now)
	}
	tab.tabTo("Approve")
	tab.key(kb.Enter)
	tab.await(heading(successPage))
	s.connected(bob)
}

// TestPhoneInTheDark : the whole way by touch, on a small screen.
func TestPhoneInTheDark(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.show(phone().inDark())
	tab.open(s.link())
	tab.await(heading(consentPage))
	tab.do(chromedp.Tap(pressable(continueButton), chromedp.NodeVisible))
	tab.await(heading(providerPage))
	tab.do(chromedp.Tap(pressable("Approve"), chromedp.NodeVisible))
	tab.await(heading(successPage))
	s.connected(alice)
}

// TestNoScripts : the whole way in a browser that runs none, while the controller is away at first, so that the waiting page
// has to come again by itself.
func TestNoScripts(t *testing.T) {
	s := product.subject(t)
	link := s.link()
	tab := newTab(t)
	tab.withoutScripts()
	tab.start(link)
	s.must(t, s.stopController())
	tab.be(alice)
	tab.press("Approve")
	waiting := tab.await(and(heading(waitingPage), status(http.StatusAccepted)))
	if !strings.HasPrefix(waiting.Refresh, "0;") {
		t.Errorf("the page comes again by %q, want at once", waiting.Refresh)
	}
	s.nothingStored()
	s.must(t, s.startController())
	tab.await(heading(successPage))
	s.connected(alice)
}

// TestTwoConnectionsAtOnce : two tabs of one browser, each with a login of its own, which end the other way round.
func TestTwoConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	one, other := product.subject(t), product.subject(t)
	browser := newProfile(t)
	first, second := browser.tab(t), browser.tab(t)
	first.start(one.link())
	second.start(other.link())
	second.approve(bob, successPage)
	first.approve(alice, successPage)
	one.connected(alice)
	other.connected(bob)
}

// TestOneConnectionTwice : two tabs with one connection; whoever comes second changes nothing, and is told.
func TestOneConnectionTwice(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	link := s.link()
	browser := newProfile(t)
	first, second, third := browser.tab(t), browser.tab(t), browser.tab(t)
	third.open(link)
	third.await(heading(consentPage))
	first.start(link)
	second.start(link)
	second.approve(bob, successPage)
	token := s.connected(bob)
	first.approve(alice, otherAccount)
	third.press(continueButton)
	third.await(heading(nothingToDo))
	third.inAllLooks()
	if s.connected(bob) != token {
		t.Error("the Secret has another token")
	}
}

// TestChangedMeanwhile : what a person has agreed to is no longer what the connection asks for.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	c, err := s.get()
	if err != nil {
		t.Fatal(err)
	}
	link := c.Status.AuthorizationURL
	c.Spec.Scopes = []v1alpha1.Scope{"openid", "api:read", "api:write", "offline_access"}
	if err := s.plane.Client().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	tab.approve(alice, changedPage)
	tab.inAllLooks()
	s.lastFailed(v1alpha1.ReasonConnectionChanged)
	s.nothingStored()
	s.link(link)
}

// TestDeletedMeanwhile : the connection goes while the person is at the provider.
func TestDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	s := product.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: connectionName}}
	if err := s.plane.Client().Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if _, err := s.get(); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("the connection is still there: %w", err)
		}
		return nil
	})
	tab.approve(alice, deletedPage)
	tab.inAllLooks()
	s.nothingStored()
}

// TestGatewayReplaced : another process, with the same mounted keys, takes the person back.
func TestGatewayReplaced(t *testing.T) {
	s := product.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	s.must(t, s.stopGateway())
	s.must(t, s.startGateway())
	s.must(t, s.awaitGateway(t.Context()))
	tab.approve(alice, successPage)
	s.connected(alice)
}

// TestPlainHTTP : on one's own machine the gateway does without TLS, and its cookies without what needs it.
func TestPlainHTTP(t *testing.T) {
	w := product
	secure := w.external
	t.Cleanup(func() {
		err := w.stop()
		w.external = secure
		w.must(t, errors.Join(err, w.start(context.WithoutCancel(t.Context()))))
	})
	w.must(t, w.stop())
	w.external = w.plainURL()
	w.must(t, w.start(t.Context()))

	s := w.subject(t)
	tab := newTab(t)
	tab.start(s.link())
	for _, c := range tab.cookies(w.external) {
		if c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || strings.HasPrefix(c.Name, "__") {
			t.Errorf("cookie %s: secure %t, HTTP only %t, same site %q", c.Name, c.Secure, c.HTTPOnly, c.SameSite)
		}
	}
	tab.approve(alice, successPage)
	s.connected(alice)
}
