// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// A response in another browser is refused, told once, and uses up nothing.
func TestOtherBrowser(t *testing.T) {
	w := newWorld(t)
	first, second := w.gateway(), w.gateway()
	person, other := w.browser(first), w.browser(second)
	authorization := person.depart()
	other.back(authorization, code()).shows(pages.WrongBrowser)
	other.depart() // It has cookies of its own now.
	other.back(authorization, code()).shows(pages.WrongBrowser)
	for name := range other.cookies {
		other.cookies[name] = "guessed"
	}
	for name := range person.cookies {
		other.cookies[name] = "guessed"
	}
	p := other.via(first).back(authorization, code()).shows(pages.WrongBrowser)
	if strings.Contains(plain(p.text), "crm") || strings.Contains(p.text, w.namespace) {
		t.Error("the page names the connection")
	}
	if message := w.message(v1alpha1.ReasonWrongBrowser); !message.Response.Code.IsEmpty() {
		t.Error("the code is in the message")
	}
	person.back(authorization, code()).redirects(external + "/oauth2/result/")
	w.message("")
}

// Tabs are logins of their own, in whatever order they come back.
func TestParallelTabs(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	tabs := []*url.URL{person.depart(), person.depart(), person.depart()}
	for _, tab := range []int{1, 2, 0} {
		person.back(tabs[tab], code()).redirects(external + "/oauth2/result/")
	}
	if reasons := w.reasons(); len(reasons) != 3 {
		t.Errorf("%d messages, want 3", len(reasons))
	}
}

func TestExpiredState(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	inTime, late, tooLate, elsewhere := person.depart(), person.depart(), person.depart(), person.depart()
	w.clock.Step(10*time.Minute - time.Second)
	person.back(inTime, code()).redirects(external + "/oauth2/result/")
	w.message("")

	w.clock.Step(time.Second)
	w.browser(person.at).back(elsewhere, code()).shows(pages.WrongBrowser)
	result := person.back(late, code()).redirects(external + "/oauth2/result/").location
	response := w.message(v1alpha1.ReasonAuthorizationExpired).Response
	if !response.Code.IsEmpty() || !response.Verifier.IsEmpty() {
		t.Error("what came too late was stored")
	}
	w.outcome(response.Login, v1alpha1.AuthorizationFailed, v1alpha1.ReasonAuthorizationExpired, "too late")
	w.writeLink(w.connection)
	w.eventuallyShows(person, result.String(), pages.Expired)
	person.get(result.String()).contains("Try again")
	person.back(late, code()).shows(pages.Replayed)
	person.back(inTime, code()).shows(pages.Replayed)

	w.clock.Step(50 * time.Minute)
	count := len(w.messages())
	person.from = "192.0.2.1"
	for _, state := range []*url.URL{inTime, late, tooLate} {
		person.back(state, code()).shows(pages.Expired)
	}
	if got := len(w.messages()); got != count {
		t.Errorf("%d messages more about what is long over", got-count)
	}
}

// What changes while a person is at the provider ends the login.
func TestChangedConnection(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	authorization := person.depart()
	w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Spec.Scopes = []v1alpha1.Scope{"contacts.read", "contacts.write"} })
	w.eventuallyShows(person, w.connection.Status.AuthorizationURL, pages.LinkInvalid)
	result := person.back(authorization, code()).redirects(external + "/oauth2/result/").location
	response := w.message(v1alpha1.ReasonConnectionChanged).Response
	if !response.Code.IsEmpty() {
		t.Error("the code was stored")
	}
	w.outcome(response.Login, v1alpha1.AuthorizationFailed, v1alpha1.ReasonConnectionChanged, "")
	w.eventuallyShows(person, result.String(), pages.Changed)
	person.back(authorization, code()).shows(pages.Replayed)
}

func TestChangedApplication(t *testing.T) {
	for reason, change := range map[string]func(*world){
		"client ID": func(w *world) {
			w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.ClientID = "other" })
		},
		"issuer": func(w *world) {
			w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.Issuer = "https://other.example" })
		},
		"authorization URL": func(w *world) {
			w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.Endpoints.AuthorizationURL = "https://other.example/a" })
		},
		"token URL": func(w *world) {
			w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.Endpoints.TokenURL = "https://other.example/t" })
		},
		"redirect URL": func(w *world) {
			w.resolveApplication(func(s *v1alpha1.OAuthApplicationStatus) { s.RedirectURL = "https://other.example/c" })
		},
		"another one of the name": func(w *world) {
			w.must(w.client.Delete(w.t.Context(), w.application))
			w.createApplication()
		},
		"none": func(w *world) { w.must(w.client.Delete(w.t.Context(), w.application)) },
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			person := w.browser(w.gateway())
			authorization := person.depart()
			change(w)
			// A gateway that starts now knows of it, as all do soon.
			person.via(w.gateway()).back(authorization, code()).redirects(external + "/oauth2/result/")
			if response := w.message(v1alpha1.ReasonConnectionChanged).Response; !response.Code.IsEmpty() {
				t.Error("the code was stored")
			}
		})
	}
}

// What has nothing to do with the exchange ends no login.
func TestApplicationThatIsChangedOtherwise(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	authorization := person.depart()
	w.application.Spec.DisplayName = "another name"
	w.must(w.client.Update(t.Context(), w.application))
	w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
	person.via(w.gateway()).back(authorization, code()).redirects(external + "/oauth2/result/")
	w.message("")
}

func TestDeletedConnection(t *testing.T) {
	for reason, change := range map[string]func(*world){
		"gone":                    func(*world) {},
		"another one of the name": func(w *world) { w.connection = w.createConnection("crm") },
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			person := w.browser(w.gateway())
			link, authorization := w.connection.Status.AuthorizationURL, person.depart()
			w.must(w.client.Delete(t.Context(), w.connection))
			w.eventuallyShows(person, link, pages.LinkInvalid)
			uid := w.connection.UID
			change(w)
			person.via(w.gateway()).back(authorization, code()).shows(pages.Gone)
			w.connection.UID = uid
			if len(w.messages()) != 0 {
				t.Error("there is a message")
			}
		})
	}
}

func TestConnectionThatIsBeingDeleted(t *testing.T) {
	w := newWorld(t)
	w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Finalizers = []string{v1alpha1.FinalizerConnection} })
	person := w.browser(w.gateway())
	authorization := person.depart()
	w.must(w.client.Delete(t.Context(), w.connection))
	w.eventuallyShows(person, w.connection.Status.AuthorizationURL, pages.LinkInvalid)
	person.back(authorization, code()).shows(pages.Gone)
	if len(w.messages()) != 0 {
		t.Error("there is a message")
	}
	w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Finalizers = nil })
}

// Responses of the provider, and what the controller is told of them.
func TestResponses(t *testing.T) {
	issuer := func(inResponse bool) func(*v1alpha1.OAuthApplicationStatus) {
		return func(s *v1alpha1.OAuthApplicationStatus) {
			s.Issuer, s.IssuerInResponse = "https://login.example.test", inResponse
		}
	}
	for _, test := range []struct {
		reason   string
		status   func(*v1alpha1.OAuthApplicationStatus)
		response url.Values
		want     string
		text     string
	}{
		{reason: "the provider's issuer", status: issuer(true), response: url.Values{"code": {"c"}, "iss": {"https://login.example.test"}}},
		{
			reason: "another issuer", status: issuer(true), response: url.Values{"code": {"c"}, "iss": {"https://evil.example"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: `from issuer "https://evil.example"`,
		},
		{
			reason: "another issuer, although none was announced", status: issuer(false),
			response: url.Values{"code": {"c"}, "iss": {"https://evil.example"}},
			want:     v1alpha1.ReasonAuthorizationFailed, text: `from issuer "https://evil.example"`,
		},
		{
			reason: "no issuer although one was announced", status: issuer(true), response: url.Values{"code": {"c"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: "names no issuer",
		},
		{reason: "no issuer, and none was announced", status: issuer(false), response: url.Values{"code": {"c"}}},
		{
			reason: "an error of another issuer", status: issuer(true),
			response: url.Values{"error": {"access_denied"}, "iss": {"https://evil.example"}},
			want:     v1alpha1.ReasonAuthorizationFailed, text: `from issuer "https://evil.example"`,
		},
		{
			reason: "denied", response: url.Values{"error": {"access_denied"}, "error_description": {"she said no"}},
			want: v1alpha1.ReasonAccessDenied, text: "access_denied: she said no",
		},
		{
			reason:   "another error",
			response: url.Values{"error": {"invalid_scope"}, "error_description": {"<script>alert(1)</script>\r\nscope"}},
			want:     v1alpha1.ReasonAuthorizationFailed, text: "invalid_scope: <script>alert(1)</script>  scope",
		},
		{
			reason: "an error and a code", response: url.Values{"error": {"server_error"}, "code": {"code-of-an-error"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: "server_error",
		},
		{
			reason: "an error that quotes the code", response: url.Values{"error": {"x"}, "error_description": {"bad code-12345"}, "code": {"code-12345"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: "bad [redacted]",
		},
		{reason: "nothing", response: url.Values{}, want: v1alpha1.ReasonAuthorizationFailed, text: "neither a code nor an error"},
		{reason: "an empty code", response: url.Values{"code": {""}}, want: v1alpha1.ReasonAuthorizationFailed, text: "neither a code nor an error"},
		{
			reason: "two codes", response: url.Values{"code": {"code-one", "code-two"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: "code occurs more than once",
		},
		{
			reason: "two errors", response: url.Values{"error": {"a", "b"}}, want: v1alpha1.ReasonAuthorizationFailed, text: "error occurs more than once",
		},
		{
			reason: "two of something else", response: url.Values{"code": {"c"}, "scope": {"a", "b"}},
			want: v1alpha1.ReasonAuthorizationFailed, text: "scope occurs more than once",
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			if test.status != nil {
				w.resolveApplication(test.status)
			}
			person := w.browser(w.gateway())
			person.back(person.depart(), test.response).redirects(external + "/oauth2/result/")
			response := w.message(test.want).Response
			if !strings.Contains(response.Message, test.text) {
				t.Errorf("message %q, want one with %q", response.Message, test.text)
			}
			if (test.want == "") == response.Code.IsEmpty() || (test.want == "") == response.Verifier.IsEmpty() {
				t.Error("there must be a code and a verifier if and only if there is no error")
			}
		})
	}
}

// Some providers have names of their own for the parameters; captured values come along.
func TestRenamedParameters(t *testing.T) {
	w := newWorld(t)
	w.application.Spec.AuthorizationParameterNames = map[string]v1alpha1.ParameterValue{"state": "passthrough"}
	w.application.Spec.Callback = &v1alpha1.CallbackSpec{
		ParameterNames: map[string]v1alpha1.ParameterName{"state": "passthrough", "code": "auth_code"},
		Capture:        []v1alpha1.CallbackCapture{{Name: "shop", Parameter: "shop"}},
	}
	w.must(w.client.Update(t.Context(), w.application))
	w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
	person := w.browser(w.gateway())
	state := person.depart().Query().Get("passthrough")
	if state == "" {
		t.Fatal("the state was not renamed")
	}
	w.provider.hide(state)
	person.callback(url.Values{"passthrough": {state, state}, "auth_code": {"code-1"}}).shows(pages.BadRequest)
	person.callback(url.Values{"passthrough": {state}, "again": {state}, "auth_code": {"code-1"}}).shows(pages.BadRequest)
	person.callback(url.Values{"passthrough": {state}, "auth_code": {"code-1"}, "shop": {"acme"}, "state": {"the provider's own"}}).
		redirects(external + "/oauth2/result/")
	response := w.message("").Response
	if response.Code.Reveal() != "code-1" || response.Captured["shop"] != "acme" {
		t.Errorf("captured %v", response.Captured)
	}
}

// What is no state of ours says nothing and does nothing.
func TestForgedState(t *testing.T) {
	w := newWorld(t)
	g := w.gateway()
	person := w.browser(g)
	consent := person.get(w.connection.Status.AuthorizationURL).form()
	authorization := person.depart()
	state := authorization.Query().Get("state")
	result := person.back(person.depart(), code()).redirects(external + "/oauth2/result/").location
	login := strings.TrimPrefix(result.Path, "/base/oauth2/result/")
	stranger := makeWorld(t)
	foreign := stranger.browser(stranger.gateway()).depart().Query().Get("state")
	flipped := []byte(state)
	flipped[len(flipped)/2] ^= 1
	count := len(w.messages())
	for reason, query := range map[string]url.Values{
		"none":                 {"code": {"code-1"}},
		"an empty one":         {"code": {"code-1"}, "state": {""}},
		"made up":              {"code": {"code-1"}, "state": {strings.Repeat("A", 300)}},
		"truncated":            {"code": {"code-1"}, "state": {state[:len(state)-4]}},
		"with more":            {"code": {"code-1"}, "state": {state + "AAAA"}},
		"one bit changed":      {"code": {"code-1"}, "state": {string(flipped)}},
		"of another operator":  {"code": {"code-1"}, "state": {foreign}},
		"a result's address":   {"code": {"code-1"}, "state": {login}},
		"a form's token":       {"code": {"code-1"}, "state": consent.values[pages.FieldToken]},
		"twice":                {"code": {"code-1"}, "state": {state, state}},
		"one good and one bad": {"code": {"code-1"}, "state": {state, "x"}},
		"an error without":     {"error": {"access_denied"}, "error_description": {"spoofed words"}},
	} {
		if p := person.callback(query).shows(pages.BadRequest); strings.Contains(p.text, "spoofed") {
			t.Errorf("%s: the page says what anybody wrote", reason)
		}
	}
	if got := len(w.messages()); got != count {
		t.Errorf("%d messages more", got-count)
	}
	if p := person.get(external + "/oauth2/result/" + url.PathEscape(state)).shows(pages.NotFound); p.header.Get("Refresh") != "" {
		t.Error("a state is taken for a result's address")
	}
	person.callback(url.Values{"state": {state}, "code": {"code-1"}}).redirects(external)
}

// Whoever only looks where a link leads, such as a scanner of mails, must not use it up.
func TestOtherMethodsUseUpNothing(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	authorization := person.depart()
	query := url.Values{"state": authorization.Query()["state"], "code": {"code-1"}}
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodPut, "PROPFIND"} {
		p := person.request(method, external+"/oauth2/callback?"+query.Encode(), nil)
		if p.status != http.StatusMethodNotAllowed || p.header.Get("Allow") != "GET" {
			t.Errorf("%s: status %d, Allow %q", method, p.status, p.header.Get("Allow"))
		}
	}
	if len(w.messages()) != 0 {
		t.Error("there is a message")
	}
	person.back(authorization, code()).redirects(external)
}

// The same login comes back to many replicas at once: one of them takes it.
func TestReplayAtOnce(t *testing.T) {
	w := newWorld(t)
	replicas := []*running{w.gateway(), w.gateway()}
	person := w.browser(replicas[0])
	authorization := person.depart()
	const times = 8
	query := url.Values{"state": authorization.Query()["state"], "code": {"code-of-the-login"}}
	var answers []<-chan *page
	for i := range times {
		one := w.browser(replicas[i%2])
		one.cookies = copied(person.cookies)
		answers = append(answers, one.async(external+"/oauth2/callback?"+query.Encode()))
	}
	taken := 0
	for _, answer := range answers {
		if p := <-answer; p.status == http.StatusSeeOther {
			taken++
		} else {
			p.shows(pages.Replayed)
		}
	}
	if taken != 1 {
		t.Errorf("taken %d times", taken)
	}
	w.message("")
}

// A cache may be behind: at another replica the connection was changed, and the person went through there.
func TestCallbackWaitsForNoCache(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	for range 3 {
		w.changeConnection(func(c *v1alpha1.OAuthConnection) { c.Spec.DisplayName += "!" })
		w.writeLink(w.connection)
		// The new ticket is good at once, whatever the cache knows.
		person.back(person.depart(), code()).redirects(external + "/oauth2/result/")
	}
}
