// SPDX-License-Identifier: Apache-2.0

package person_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/person"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// serve runs handlers by their pattern until the test ends.
func serve(t *testing.T, handlers map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range handlers {
		mux.HandleFunc(pattern, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func write(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }
}

func open(t *testing.T, p *person.Person, address string) *person.Page {
	t.Helper()
	page, err := p.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestForm(t *testing.T) {
	got := make(chan url.Values, 1)
	base := serve(t, map[string]http.HandlerFunc{
		"GET /{$}": write(`<title>A form</title><body><h1>Fill <em>in</em></h1><form method=post action=/send?q=1>
			<input type=hidden name=token value="a&amp;b"><input name=empty><input type=submit name=other value=Other>
			<input type=checkbox name=box value=1><input type=checkbox name=checked checked>
			<input type=radio name=who value=alice checked><input type=radio name=who value=bob>
			<select name=pick><option>one<option value=2>two</select><input name=disabled disabled value=x>
			<textarea name=note>hello</textarea>
			<button name=go value=yes>Go   on</button><button type=button>Nothing</button></form>`),
		"POST /send": func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
			got <- r.Form
		},
	})
	page := open(t, person.New(person.Options{}), base)
	if page.Title != "A form" || page.Heading != "Fill in" {
		t.Errorf("title %q, heading %q", page.Title, page.Heading)
	}
	if want := []string{"Other", "Go on"}; !slices.Equal(page.Buttons(), want) {
		t.Errorf("buttons %q, want %q", page.Buttons(), want)
	}
	if err := errors.Join(page.Fill("who", "bob"), page.Fill("empty", "filled")); err != nil {
		t.Fatal(err)
	}
	if page.Fill("who", "carol") == nil || page.Fill("nobody", "x") == nil {
		t.Error("a choice that is not there, and a field that is not there, were filled in")
	}
	if _, err := page.Press(t.Context(), "Nothing"); err == nil {
		t.Error("a button that sends no form sent one")
	}
	if _, err := page.Press(t.Context(), ""); err == nil {
		t.Error("one of two buttons was pressed without being named")
	}
	if _, err := page.Press(t.Context(), "go on"); err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"q": {"1"}, "token": {"a&b"}, "empty": {"filled"}, "checked": {"on"}, "who": {"bob"}, "pick": {"one"}, "note": {"hello"}, "go": {"yes"},
	}
	if form := <-got; form.Encode() != want.Encode() {
		t.Errorf("sent %s\nwant %s", form.Encode(), want.Encode())
	}
}

func TestRedirects(t *testing.T) {
	sites := make(chan string, 10)
	note := func(r *http.Request) {
		sites <- fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin"))
	}
	var base string
	elsewhere := serve(t, map[string]http.HandlerFunc{
		"/ask": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			http.Redirect(w, r, base+"/back?code=secret", http.StatusFound)
		},
	})
	base = serve(t, map[string]http.HandlerFunc{
		"GET /{$}": write(`<form method=post action=/start><button>Start</button></form>`),
		"POST /start": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			w.Header().Set("Set-Cookie", "login=1; Path=/back")
			http.Redirect(w, r, elsewhere+"/ask", http.StatusSeeOther)
		},
		"GET /back": func(w http.ResponseWriter, r *http.Request) {
			note(r)
			if _, err := r.Cookie("login"); err != nil {
				http.Error(w, "no cookie", http.StatusBadRequest)
			}
		},
	})
	elsewhere = strings.Replace(elsewhere, "127.0.0.1", "localhost", 1)

	var seen []string
	p := person.New(person.Options{Observe: func(h person.Hop) { seen = append(seen, fmt.Sprintf("%s %s %d", h.Method, h.URL.Path, h.Status)) }})
	page := open(t, p, base)
	page, err := page.Press(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"GET  200", "POST /start 303", "GET /ask 302", "GET /back 200"}; !slices.Equal(seen, want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
	if page.Status != http.StatusOK || len(page.Chain) != 3 || page.Chain[2].URL.Query().Get("code") != "secret" {
		t.Errorf("%s, chain of %d", page, len(page.Chain))
	}
	if strings.Contains(page.String(), "secret") {
		t.Errorf("%s shows the query", page)
	}
	for _, want := range []string{"POST /start same-origin " + base, "GET /ask cross-site ", "GET /back cross-site "} {
		if got := <-sites; got != want {
			t.Errorf("a request with %q, want %q", got, want)
		}
	}
	// Another browser has no cookie.
	if page := open(t, person.New(person.Options{}), base+"/back"); page.Status != http.StatusBadRequest {
		t.Errorf("%s for a browser without the cookie", page)
	}
}

func TestEndlessRedirects(t *testing.T) {
	base := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }})
	if page, err := person.New(person.Options{}).Open(t.Context(), base); err == nil {
		t.Errorf("got %s", page)
	}
}

func TestErrorsShowNoQuery(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	for _, target := range []string{address + "/?code=secret", "://secret", "gopher://secret/?code=secret"} {
		_, err := person.New(person.Options{}).Open(t.Context(), target)
		if err == nil || strings.Contains(err.Error(), "code=secret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestRefresh(t *testing.T) {
	tests := map[string]struct {
		header, body string
		want         string
		after        time.Duration
	}{
		"a page that stays":      {body: "<p>Refresh: 0; url=/next</p>"},
		"the header":             {header: "3; url=/next", want: "/next", after: 3 * time.Second},
		"the element":            {body: `<meta http-equiv=Refresh content="0;URL='/next?a=b'">`, want: "/next?a=b"},
		"without an address":     {body: `<meta http-equiv=refresh content=2>`, want: "/page", after: 2 * time.Second},
		"a time that is none":    {body: `<meta http-equiv=refresh content="soon; url=/next">`},
		"another meta element":   {body: `<meta name=refresh content="0; url=/next">`},
		"an address that is bad": {header: "0; url=:"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			base := serve(t, map[string]http.HandlerFunc{"/page": func(w http.ResponseWriter, _ *http.Request) {
				if test.header != "" {
					w.Header().Set("Refresh", test.header)
				}
				_, _ = io.WriteString(w, test.body)
			}})
			to, after, ok := open(t, person.New(person.Options{}), base+"/page").Refresh()
			if ok != (test.want != "") {
				t.Fatalf("refresh %t, to %s", ok, to)
			}
			if ok && (to.String() != base+test.want || after != test.after) {
				t.Errorf("to %s after %s, want %s after %s", to, after, base+test.want, test.after)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	loads := 0
	base := serve(t, map[string]http.HandlerFunc{
		"/wait": func(w http.ResponseWriter, _ *http.Request) {
			if loads++; loads < 3 {
				_, _ = io.WriteString(w, `<meta http-equiv=refresh content="0; url=/wait">`)
			}
		},
		"/forever": write(`<meta http-equiv=refresh content="3600">`),
	})
	p := person.New(person.Options{})
	page, err := open(t, p, base+"/wait").Settle(t.Context())
	if err != nil || loads != 3 {
		t.Errorf("%s, %v after %d loads", page, err, loads)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, p, base+"/forever").Settle(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a page that never stays", err)
	}
}

// relay stands where the gateway will: a page that leads to the provider, and one that gets its answer.
type relay struct {
	url, verifier string
	answers       chan url.Values
}

func newRelay(t *testing.T, accounts ...string) (*relay, *fositeserver.Server) {
	t.Helper()
	r := &relay{answers: make(chan url.Values, 1)}
	var provider *fositeserver.Server
	var challenge string
	r.verifier, challenge = harness.NewPKCE()
	request := func() string {
		return url.Values{
			"response_type": {"code"}, "client_id": {"client"}, "redirect_uri": {r.url + v1alpha1.PathCallback}, "scope": {"api:read"},
			"state": {"0123456789"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
		}.Encode()
	}
	r.url = serve(t, map[string]http.HandlerFunc{
		"GET /connect": write(`<form method=post><button>Continue</button></form>`),
		"GET /page":    write(`<form method=post action=/leave><button>Continue</button></form>`),
		"POST /leave": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `<meta http-equiv=refresh content="0;url=%s">`, html.EscapeString(provider.URL+"/authorize?"+request()))
		},
		"GET /nothing": write(`<h1>No such link</h1>`),
		"POST /connect": func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, provider.URL+"/authorize?"+request(), http.StatusSeeOther)
		},
		"GET " + v1alpha1.PathCallback: func(w http.ResponseWriter, q *http.Request) {
			r.answers <- q.URL.Query()
			_, _ = io.WriteString(w, `<meta http-equiv=refresh content="0; url=/done">`)
		},
		"GET /done": write(`<h1>Done</h1>`),
	})
	provider, err := fositeserver.Start(harness.Options{
		Clients: []harness.Client{{ID: "client", Secret: "secret", RedirectURIs: []string{r.url + v1alpha1.PathCallback}}}, Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	return r, provider
}

func TestConnect(t *testing.T) {
	tests := map[string]struct {
		accounts []string
		answer   person.Answer
		// at is the path of the page with the button; empty: /connect.
		at    string
		asked bool
		want  string
	}{
		"the first account is chosen":  {accounts: []string{"alice", "bob"}, asked: true, want: "code"},
		"another account":              {accounts: []string{"alice", "bob"}, answer: person.Answer{Account: "bob"}, asked: true, want: "code"},
		"the person denies":            {accounts: []string{"alice"}, answer: person.Answer{Deny: true}, asked: true, want: "error"},
		"a page that leaves by itself": {accounts: []string{"alice"}, at: "/page", asked: true, want: "code"},
		"and nobody is asked":          {at: "/page", want: "code"},
		"a provider that asks nobody":  {answer: person.Answer{Deny: true}, want: "code"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			relay, provider := newRelay(t, test.accounts...)
			login, err := person.New(person.Options{}).Connect(t.Context(), relay.url+cmp.Or(test.at, "/connect"), test.answer)
			if err != nil {
				t.Fatal(err)
			}
			if login.Page.Heading != "Done" || login.Callback == nil || (login.Provider != nil) != test.asked {
				t.Errorf("ended at %s, by %v", login.Page, login.Callback != nil)
			}
			answer := <-relay.answers
			if answer.Get(test.want) == "" || answer.Get("state") != "0123456789" {
				t.Errorf("the answer is %s", answer.Encode())
			}
			if test.asked && answer.Get("iss") != provider.URL {
				t.Errorf("issuer %q, want %q", answer.Get("iss"), provider.URL)
			}
		})
	}
	t.Run("a page that leads nowhere", func(t *testing.T) {
		relay, _ := newRelay(t)
		login, err := person.New(person.Options{}).Connect(t.Context(), relay.url+"/nothing", person.Answer{})
		if err != nil || login.Page.Heading != "No such link" || login.Callback != nil {
			t.Errorf("%+v, %v", login, err)
		}
	})
	t.Run("an account that does not exist", func(t *testing.T) {
		relay, _ := newRelay(t, "alice")
		if _, err := person.New(person.Options{}).Connect(t.Context(), relay.url+"/connect", person.Answer{Account: "mallory"}); err == nil {
			t.Error("nobody minded")
		}
	})
}

// TestAccountOfToken : the provider's tokens are those of the account that was chosen.
func TestAccountOfToken(t *testing.T) {
	relay, provider := newRelay(t, "alice", "bob")
	if _, err := person.New(person.Options{}).Connect(t.Context(), relay.url+"/connect", person.Answer{Account: "bob"}); err != nil {
		t.Fatal(err)
	}
	answer := <-relay.answers
	var tokens struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {answer.Get("code")}, "code_verifier": {relay.verifier},
		"redirect_uri": {relay.url + v1alpha1.PathCallback},
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, provider.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("client", "secret")
	if status := ask(t, provider.Client(), request, &tokens); status != http.StatusOK || tokens.RefreshToken == "" {
		t.Fatalf("the token endpoint answered %d", status)
	}
	for token, want := range map[string]int{
		tokens.AccessToken: http.StatusOK, tokens.RefreshToken: http.StatusUnauthorized, "": http.StatusUnauthorized,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, provider.URL+"/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		var info struct{ Sub string }
		status := ask(t, provider.Client(), request, &info)
		if status != want || (status == http.StatusOK) != (info.Sub == "bob") {
			t.Errorf("status %d, want %d; subject %q", status, want, info.Sub)
		}
	}
}

func ask(t *testing.T, client *http.Client, request *http.Request, into any) int {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}
