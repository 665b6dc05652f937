// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// Whoever has no ticket sees the same, whatever there is.
func TestNoTicketTellsNothing(t *testing.T) {
	w := newWorld(t)
	other := w.createConnection("other")
	person := w.browser(w.gateway())
	at := func(namespace, name, text string) string {
		return external + "/connect/" + namespace + "/" + name + "?ticket=" + url.QueryEscape(text)
	}
	first := person.get(at("nowhere", "none", "")).shows(pages.LinkInvalid)
	for reason, address := range map[string]string{
		"no ticket":                            external + "/connect/" + w.namespace + "/crm",
		"an empty ticket":                      at(w.namespace, "crm", ""),
		"a ticket that was made up":            at(w.namespace, "crm", "made-up"),
		"a ticket of the right form":           at(w.namespace, "crm", ticket.New(ticket.Claims{Generation: 1, IssuedAt: w.clock.Now()})),
		"the same for what does not exist":     at(w.namespace, "none", ticket.New(ticket.Claims{Generation: 1, IssuedAt: w.clock.Now()})),
		"the ticket of another connection":     at(w.namespace, "crm", ticket.Of(other)),
		"the ticket of another namespace":      at("default", "crm", ticket.Of(w.connection)),
		"part of the ticket":                   at(w.namespace, "crm", ticket.Of(w.connection)[:10]),
		"the ticket and more":                  at(w.namespace, "crm", ticket.Of(w.connection)+"x"),
		"a name that is none":                  at(w.namespace, "crm%2Fstatus", ticket.Of(w.connection)),
		"a namespace that is none":             at("UPPER%20CASE", "crm", ticket.Of(w.connection)),
		"a name longer than any":               at(w.namespace, strings.Repeat("x", 2000), ticket.Of(w.connection)),
		"an application, which has no tickets": at(w.namespace, w.application.Name+"x", ticket.Of(w.connection)),
	} {
		p := person.get(address).shows(pages.LinkInvalid)
		if p.text != first.text || len(p.header) != len(first.header) {
			t.Errorf("%s: the answer differs: %s", reason, p.text)
		}
		if len(p.cookies) != 0 {
			t.Errorf("%s: the answer sets cookies", reason)
		}
	}
	if strings.Contains(w.log.String(), "crm") {
		t.Errorf("the log of others' attempts names the connection: %s", w.log)
	}
}

func TestLinkExpires(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	consent := person.get(w.connection.Status.AuthorizationURL).form()
	w.clock.Step(ticket.Lifetime - 30*time.Minute)
	person.get(w.connection.Status.AuthorizationURL).form()
	w.clock.Step(30 * time.Minute)
	person.get(w.connection.Status.AuthorizationURL).shows(pages.LinkExpired)
	person.submit(consent).shows(pages.FormExpired)
}

func TestLinkDiesWithTheSpec(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	consent := person.get(w.connection.Status.AuthorizationURL).form()
	w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Spec.DisplayName = "another" })
	w.eventuallyShows(person, w.connection.Status.AuthorizationURL, pages.LinkInvalid)
	person.submit(consent).shows(pages.Changed)
}

func TestLinkDiesWithAnAuthorization(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	link := w.connection.Status.AuthorizationURL
	consent := person.get(link).form()
	w.clock.Step(time.Second)
	w.outcome("another", v1alpha1.AuthorizationSucceeded, "", "")
	w.eventuallyShows(person, link, pages.LinkInvalid)
	person.submit(consent).shows(pages.NotNeeded)
	w.hideQuery(link)
}

func TestConnectionThatCannotBeConnected(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(w *world)
		kind   pages.Kind
		text   string
	}{
		{
			reason: "suspended", kind: pages.Suspended,
			change: func(w *world) { w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true }) },
		},
		{
			reason: "being deleted", kind: pages.Gone,
			change: func(w *world) {
				w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Finalizers = []string{v1alpha1.FinalizerConnection} })
				w.must(w.client.Delete(w.t.Context(), w.connection))
			},
		},
		{
			reason: "an application that is not ready", kind: pages.NotReady, text: "is not ready",
			change: func(w *world) {
				w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.Phase = v1alpha1.ApplicationPending })
			},
		},
		{
			reason: "an application that was not read yet", kind: pages.NotReady, text: "was changed a moment ago",
			change: func(w *world) {
				w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.ObservedGeneration-- })
			},
		},
		{
			reason: "no client ID", kind: pages.NotReady, text: "no client ID",
			change: func(w *world) {
				w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.ClientID = "" })
			},
		},
		{
			reason: "no authorization endpoint", kind: pages.NotReady, text: "endpoints.authorizationURL",
			change: func(w *world) {
				w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.Endpoints.AuthorizationURL = "" })
			},
		},
		{
			reason: "an application that is being deleted", kind: pages.NotReady, text: "is being deleted",
			change: func(w *world) {
				w.application.Finalizers = []string{v1alpha1.FinalizerApplication}
				w.must(w.client.Update(w.t.Context(), w.application))
				w.must(w.client.Delete(w.t.Context(), w.application))
			},
		},
		{
			reason: "no application", kind: pages.NotReady, text: "does not exist",
			change: func(w *world) { w.must(w.client.Delete(w.t.Context(), w.application)) },
		},
		{
			reason: "an input is missing", kind: pages.NotReady, text: "inputs.tenant",
			change: func(w *world) {
				w.application.Spec.Inputs = []v1alpha1.Input{{Name: "tenant", Description: "the account's name"}}
				w.must(w.client.Update(w.t.Context(), w.application))
				w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
			},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			test.change(w)
			w.writeLink(w.connection)
			person := w.browser(w.gateway())
			p := person.get(w.connection.Status.AuthorizationURL).shows(test.kind).contains(test.text)
			if strings.Contains(p.text, "<form") {
				t.Error("there is a form all the same")
			}
			w.must(client.IgnoreNotFound(w.client.Get(t.Context(), keyOf(w.connection), w.connection)))
			w.connection.Finalizers = nil
			w.must(client.IgnoreNotFound(w.client.Update(t.Context(), w.connection)))
		})
	}
}

// A person who has the page open learns what has happened since.
func TestConsentThatWasOvertaken(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(w *world)
		kind   pages.Kind
	}{
		{"suspended", func(w *world) {
			w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
		}, pages.Suspended},
		{"deleted", func(w *world) { w.must(w.client.Delete(w.t.Context(), w.connection)) }, pages.Gone},
		{"another link was written", func(w *world) { w.writeLink(w.connection) }, pages.LinkInvalid},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			person := w.browser(w.gateway())
			link := w.connection.Status.AuthorizationURL
			consent := person.get(link).form()
			test.change(w)
			w.eventuallyShows(person, link, pages.LinkInvalid)
			person.submit(consent).shows(test.kind)
			if len(w.messages()) != 0 {
				t.Error("there is a message")
			}
		})
	}
}

// A connection that was made after the page was shown is another one, whatever its name.
func TestConsentOfAnEarlierConnection(t *testing.T) {
	w := newWorld(t)
	w.clock.SetTime(time.Now().Add(-5 * time.Minute)) // The link is as old as that.
	w.writeLink(w.connection)
	person := w.browser(w.gateway())
	link := w.connection.Status.AuthorizationURL
	consent := person.get(link).form()
	w.must(w.client.Delete(t.Context(), w.connection))
	w.connection = w.createConnection("crm")
	w.eventuallyShows(person, link, pages.LinkInvalid)
	person.submit(consent).shows(pages.Gone)
}

// What a consent page may do: send its form to this gateway and to the provider, and show the application's logo.
func TestHeadersOfPages(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway(func(o *gateway.Options) { o.LogoURL = "https://brand.example.test/logo.svg" }))
	consent := person.get(w.connection.Status.AuthorizationURL)
	consent.form()
	for _, test := range []struct {
		page               *page
		pictures, forms    string
		cache, contentType string
	}{
		{consent, "'self' https://brand.example.test https://cdn.example.test", "'self' " + w.provider.URL, "no-store", "text/html; charset=utf-8"},
		{person.get(external + "/nothing"), "'self' https://brand.example.test", "'self'", "no-store", "text/html; charset=utf-8"},
		{
			person.get("https://oauth.example.test" + stylesheet(t, consent)), "'self' https://brand.example.test", "'self'",
			"public, max-age=31536000, immutable", "text/css; charset=utf-8",
		},
		{
			person.request(http.MethodPut, external+"/oauth2/callback", nil).shows(pages.MethodNotAllowed),
			"'self' https://brand.example.test", "'self'", "no-store", "text/html; charset=utf-8",
		},
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src " + test.pictures +
				"; base-uri 'none'; frame-ancestors 'none'; form-action " + test.forms,
			"Cache-Control": test.cache, "Content-Type": test.contentType,
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
		} {
			if got := test.page.header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
	}
}

func stylesheet(t *testing.T, p *page) string {
	t.Helper()
	_, rest, found := strings.Cut(p.text, `<link rel="stylesheet" href="`)
	if !found {
		t.Fatal("no stylesheet")
	}
	address, _, _ := strings.Cut(rest, `"`)
	return address
}

// Chromium holds a form's redirects to form-action, sister hosts of the provider's included.
func TestFormMayLeadToSisterHosts(t *testing.T) {
	w := newWorld(t)
	w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) {
		s.Endpoints.AuthorizationURL = "https://auth.provider.co.uk/authorize"
	})
	policy := w.browser(w.gateway()).get(w.connection.Status.AuthorizationURL).contains("auth.provider.co.uk").header.Get("Content-Security-Policy")
	if !strings.HasSuffix(policy, "form-action 'self' https://auth.provider.co.uk https://*.provider.co.uk") {
		t.Errorf("policy %q", policy)
	}
}

// A browser leaves by a navigation of its own, which no form-action holds wherever the provider sends it on to; whoever does not say
// that they navigate is redirected.
func TestBrowsersDepartByAPage(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		reason, mode string
		page         bool
	}{
		{"a browser that loads a page", "navigate", true},
		{"a script in one", "cors", false},
		{"anything else", "", false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			person := w.browser(w.gateway())
			consent := person.get(w.connection.Status.AuthorizationURL).form()
			if test.mode != "" {
				person.headers["Sec-Fetch-Mode"] = test.mode
			}
			p := person.submit(consent)
			target := p.location
			if test.page {
				target = leads(t, p.shows(pages.Departing).contains("Customer Relations"))
			} else {
				p.redirects(w.provider.URL + "/authorize?")
			}
			if len(p.cookies) != 1 || !strings.HasPrefix(p.cookies[0].Name, "__Host-oauth-login-") {
				t.Errorf("cookies %v, want one for the login", p.cookies)
			}
			w.provider.hide(target.Query().Get("state"))
			if got := target.Scheme + "://" + target.Host + target.Path; got != w.provider.URL+"/authorize" || target.Query().Get("state") == "" {
				t.Errorf("it leads to %s", target)
			}
			person.back(target, code()).redirects(external + "/oauth2/result/")
		})
	}
}

// leads is where the page of a departure goes to at once, by itself and by its one link.
func leads(t *testing.T, p *page) *url.URL {
	t.Helper()
	address, atOnce := strings.CutPrefix(p.refresh(), "0;url=")
	target, err := url.Parse(address)
	if err != nil || !atOnce {
		t.Fatalf("the page goes on by %q, %v", p.refresh(), err)
	}
	if link := group(t, anchor, p.text); link != address || len(anchor.FindAllString(p.text, -1)) != 1 {
		t.Errorf("by itself the page leads to %s, by its link to %s", address, link)
	}
	p.contains("Continue to " + target.Host)
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if policy := p.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.HasSuffix(policy, "; form-action 'self'") {
		t.Errorf("policy %q", policy)
	}
	return target
}

// A page names its way out within a text. An address that it cannot name so is left to a redirect.
func TestDepartureThatNoPageCanName(t *testing.T) {
	w := newWorld(t)
	w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) {
		s.Endpoints.AuthorizationURL = v1alpha1.EndpointURL(w.provider.URL + "/authorize?for='people'")
	})
	person := w.browser(w.gateway())
	consent := person.get(w.connection.Status.AuthorizationURL).form()
	person.headers["Sec-Fetch-Mode"] = "navigate"
	person.submit(consent).redirects(w.provider.URL + "/authorize?for='people'&")
}

func TestCookies(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	consent := person.get(w.connection.Status.AuthorizationURL)
	started := person.submit(consent.form()).redirects(w.provider.URL)
	for prefix, cookies := range map[string][]*http.Cookie{"__Host-oauth-form": consent.cookies, "__Host-oauth-login-": started.cookies} {
		if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Name, prefix) {
			t.Fatalf("cookies %v, want one %s", cookies, prefix)
		}
		c := cookies[0]
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 43 {
			t.Errorf("cookie %v", c)
		}
	}
	if again := person.get(w.connection.Status.AuthorizationURL); len(again.cookies) != 0 {
		t.Errorf("another tab gets another form cookie, which ends the forms of this one: %v", again.cookies)
	}
	person.cookies["__Host-oauth-form"] = "planted"
	if again := person.get(w.connection.Status.AuthorizationURL); len(again.cookies) != 1 {
		t.Error("a form cookie that is none of ours is taken")
	}
}

// A browser does not pile up cookies: the oldest logins are forgotten.
func TestManyLoginsOfOneBrowser(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	first := person.depart()
	w.clock.Step(time.Second)
	second := person.depart()
	for range 19 {
		w.clock.Step(5 * time.Second)
		person.depart()
	}
	logins := 0
	for name := range person.cookies {
		if strings.HasPrefix(name, "__Host-oauth-login-") {
			logins++
		}
	}
	if logins != 20 {
		t.Errorf("%d login cookies, want 20", logins)
	}
	w.clock.Step(time.Minute)
	person.back(first, code()).shows(pages.WrongBrowser)
	person.back(second, code()).redirects(external + "/oauth2/result/")
}

// On loopback, without TLS, cookies can have neither the prefix nor the attribute.
func TestPlainHTTPOnLoopback(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway(func(o *gateway.Options) { o.ExternalURL = "http://127.0.0.1:8080" }))
	link := strings.Replace(w.connection.Status.AuthorizationURL, external, "http://127.0.0.1:8080", 1)
	consent := person.get(link)
	if got := consent.header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("Strict-Transport-Security: %s", got)
	}
	f := consent.form()
	if !strings.HasPrefix(f.action, "http://127.0.0.1:8080/connect/") {
		t.Errorf("form to %s", f.action)
	}
	started := person.submit(f).redirects(w.provider.URL)
	for _, cookie := range append(consent.cookies, started.cookies...) {
		if cookie.Secure || strings.HasPrefix(cookie.Name, "__Host-") || !cookie.HttpOnly {
			t.Errorf("cookie %v", cookie)
		}
	}
	response := code()
	response.Set("state", started.location.Query().Get("state"))
	person.get("http://127.0.0.1:8080/oauth2/callback?" + response.Encode()).redirects("http://127.0.0.1:8080/oauth2/result/")
	w.message("")
}

func TestForgedForms(t *testing.T) {
	w := newWorld(t)
	other := w.createConnection("other")
	gateway := w.gateway()
	person, attacker := w.browser(gateway), w.browser(gateway)
	link := w.connection.Status.AuthorizationURL
	good := person.get(link).form()
	foreign := attacker.get(link).form()
	elsewhere := person.get(other.Status.AuthorizationURL).form()
	with := func(headers map[string]string, f form, from *browser) *page {
		from.headers = headers
		defer func() { from.headers = nil }()
		return from.submit(f)
	}
	for reason, try := range map[string]func() *page{
		"no token":                 func() *page { return person.submit(form{action: good.action}) },
		"a token that was made up": func() *page { return person.submit(form{good.action, url.Values{pages.FieldToken: {"x"}}}) },
		"another browser's token":  func() *page { return person.submit(foreign) },
		"another connection's":     func() *page { return person.submit(form{good.action, elsewhere.values}) },
		"no cookie":                func() *page { return w.browser(gateway).submit(good) },
		"the token in the query":   func() *page { return person.post(good.action+"&"+good.values.Encode(), nil) },
		"from another site":        func() *page { return with(map[string]string{"Sec-Fetch-Site": "cross-site"}, good, person) },
		"from a sister site":       func() *page { return with(map[string]string{"Sec-Fetch-Site": "same-site"}, good, person) },
		"from another origin":      func() *page { return with(map[string]string{"Origin": "https://evil.example"}, good, person) },
		"hidden, from another site": func() *page {
			return with(map[string]string{"Origin": "null", "Sec-Fetch-Site": "cross-site"}, good, person)
		},
		"no ticket": func() *page { return person.post(external+"/connect/"+w.namespace+"/crm", good.values) },
		"more than a form": func() *page {
			return person.post(good.action, url.Values{"x": {strings.Repeat("x", 20<<10)}, pages.FieldToken: good.values[pages.FieldToken]})
		},
	} {
		t.Run(reason, func(t *testing.T) {
			p := try()
			if p.status == http.StatusSeeOther {
				t.Fatalf("redirected to %s", p.location)
			}
			if reason != "more than a form" {
				p.shows(pages.FormExpired)
			}
		})
	}
	for reason, headers := range map[string]map[string]string{
		"a browser that knows fetch metadata":            {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
		"one that hides the origin, as the page demands": {"Origin": "null"},
		"one that tells it":                              {"Origin": "https://oauth.example.test"},
		"one that tells nothing":                         nil,
	} {
		t.Run(reason, func(t *testing.T) {
			if p := with(headers, good, person); p.status != http.StatusSeeOther {
				t.Errorf("status %d: %s", p.status, plain(p.text))
			}
		})
	}
	w.clock.Step(time.Hour)
	person.submit(good).shows(pages.FormExpired)
}

// Neither what a request says of its host nor what it carries decides where people are led.
func TestNoOpenRedirect(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	link := strings.Replace(w.connection.Status.AuthorizationURL, "https://oauth.example.test", "https://evil.example", 1)
	link += "&redirect_uri=https://evil.example&next=//evil.example&return_to=https://evil.example&state=evil.example"
	consent := person.get(link)
	if strings.Contains(consent.text, "evil.example") {
		t.Errorf("the page speaks of another host: %s", consent.text)
	}
	f := consent.form()
	f.values.Set("redirect_uri", "https://evil.example")
	if p := person.submit(f).redirects(w.provider.URL + "/authorize?"); strings.Contains(p.location.String(), "evil") {
		t.Errorf("redirect to %s", p.location)
	}
	for _, address := range []string{
		"//evil.example", "///evil.example/..", "/base//evil.example/", "/base/connect/../..//evil.example", "/base/%2F%2Fevil.example",
		"/base/oauth2/callback/..%2f..%2f//evil.example", "/base/connect", "/base", "/", "/oauth2/callback", "/basement/oauth2/callback",
	} {
		if p := person.get("https://oauth.example.test" + address); p.location != nil || p.status != http.StatusNotFound {
			t.Errorf("%s: status %d, leads to %v", address, p.status, p.location)
		}
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.application.Spec.PKCE = v1alpha1.PKCEDisabled
	w.application.Spec.Inputs = []v1alpha1.Input{{Name: "tenant"}}
	w.application.Spec.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"tenant": "{tenant}", "login_hint": "{email}"}
	w.application.Spec.UserInfo = &v1alpha1.UserInfoSpec{Capture: []v1alpha1.Capture{{Name: "email", Path: "$.email"}}}
	w.application.Spec.Endpoints.UserInfoURL = "https://login.example.test/me"
	w.must(w.client.Update(t.Context(), w.application))
	w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
	w.changeConnection(func(c *v1alpha1.OAuthConnection) {
		c.Spec.Inputs = map[string]v1alpha1.InputValue{"tenant": "acme"}
		c.Spec.Scopes = []v1alpha1.Scope{"contacts.write"}
	})
	w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) {
		claims := ticket.Claims{Generation: w.connection.Generation, IssuedAt: w.clock.Now(), Captured: map[string]string{"email": "ada@example.test"}}
		status.AuthorizationURL = ticket.URL(external, w.namespace, "crm", ticket.New(claims))
	})
	person := w.browser(w.gateway())
	query := person.depart().Query()
	for name, want := range map[string]string{
		"tenant": "acme", "login_hint": "ada@example.test", "scope": "contacts.write", "code_challenge": "", "code_challenge_method": "",
	} {
		if got := query.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	person.callback(url.Values{"state": query["state"], "code": {"code-" + newID()}}).redirects(external)
	if !w.message("").Response.Verifier.IsEmpty() {
		t.Error("there is a verifier although PKCE is disabled")
	}
}

func TestReconnect(t *testing.T) {
	w := newWorld(t)
	w.outcome("earlier", v1alpha1.AuthorizationSucceeded, "", "")
	w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) {
		status.LastAuthorization = &v1alpha1.LastAuthorization{
			ID: "later", Outcome: v1alpha1.AuthorizationFailed, Reason: "InvalidGrant", Message: "<b>the code was refused</b>", Time: metav1.Now(),
		}
	})
	w.writeLink(w.connection)
	p := w.browser(w.gateway()).get(w.connection.Status.AuthorizationURL)
	p.contains("Reconnect").contains("ada").contains("<b>the code was refused</b>")
	if strings.Contains(p.text, "<b>") {
		t.Error("what others wrote is not escaped")
	}
}

// An owner is a claim of whoever wrote the connection; it counts in the application's namespace alone.
func TestOwnerOfAnotherNamespace(t *testing.T) {
	w := newWorld(t)
	namespace := plane.Namespace(t)
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "crm"},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: "crm", Namespace: w.namespace}, Owner: "mallory@example.test",
		},
	}
	w.must(w.client.Create(t.Context(), c))
	w.writeLink(c)
	if p := w.browser(w.gateway()).get(c.Status.AuthorizationURL).contains(namespace); strings.Contains(p.text, "mallory") {
		t.Error("the page names an owner that does not count")
	}
}

// changeConnection changes the spec as its user does.
func (w *world) changeConnection(change func(*v1alpha1.OAuthConnection)) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		w.must(w.client.Get(w.t.Context(), keyOf(w.connection), w.connection))
		change(w.connection)
		return w.client.Update(w.t.Context(), w.connection)
	})
}

// eventuallyShows waits until the gateway's cache knows what has changed.
func (w *world) eventuallyShows(b *browser, address string, kind pages.Kind) {
	w.t.Helper()
	b.from = ""
	count := 0
	testenv.Eventually(w.t, patience, func() error {
		count++
		b.from = fmt.Sprintf("192.0.2.%d", count%250) // Not to be limited.
		if got := b.get(address); got.status != pages.Status(kind) {
			return fmt.Errorf("status %d", got.status)
		}
		return nil
	})
}
