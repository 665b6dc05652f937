// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/person"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func connectRows() []row {
	return []row{
		{"GET connect leads a person to the provider", personConnects},
		{"GET connect on a connection that works gives a fresh link", personConnectsAgain},
		{"GET /oauth2/callback with an answer that nobody has asked for", strangersCallback},
		{"GET connect where nobody can authorize", linkInVain},
		{"POST connect with a code", connectWithCode},
		{"POST connect with a refresh token", connectWithRefreshToken},
		{"POST connect: a code or refresh token that the provider refuses", connectRefused},
		{"POST connect: the same code again is the same login", connectTwice},
		{"POST connect: shared and own connections", connectShared},
		{"POST connect: displayName, scopes and inputs", connectSettings},
		{"POST connect: bodies that are wrong", connectBadBodies},
	}
}

// browse is a person at a browser, as long as the test runs.
func browse(t *testing.T, link string) *person.Login {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	login, err := person.New(person.Options{}).Connect(ctx, link, person.Answer{Account: alice})
	if err != nil {
		t.Fatal(err)
	}
	return login
}

// link asks for a way to the provider, which is the gateway's page for the connection.
func (s *site) link(as *account, query string) string {
	s.t.Helper()
	answer := s.do(s.t, call{as: as, target: s.path("connect") + query}).want(s.t, http.StatusFound)
	location := answer.header.Get("Location")
	if !strings.HasPrefix(location, s.gateway+"/connect/"+s.platform+"/") {
		s.t.Fatalf("Location is %q", location)
	}
	if _, ticket, _ := strings.Cut(location, "?"); ticket != "" {
		s.hide(ticket)
	}
	return location
}

func personConnects(t *testing.T, w *world) {
	s := w.newSite(t, options{people: true})
	owner := s.user("owner")
	link := s.link(owner, "?displayName=Mine")
	made := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	must(t, made, map[string]any{"ownerId": owner.user, "isShared": false, "lastAuthorizedAt": nil, "tokenExpiresAt": nil})
	must(t, object(made["data"]), map[string]any{"status": "inactive", "phase": "Authorizing"})
	login := browse(t, link)
	if login.Provider == nil || login.Callback == nil || login.Page.Status != http.StatusOK {
		t.Fatalf("the person has come to %q, status %d", login.Page.Heading, login.Page.Status)
	}
	c := s.wait(s.find(fmt.Sprint(made["id"])), works)
	if c.Spec.Owner != owner.user || c.Spec.DisplayName != "Mine" || c.Status.Phase != v1alpha1.ConnectionActive {
		t.Errorf("the connection is %+v in phase %s", c.Spec, c.Status.Phase)
	}
	if !s.authorization.Introspect(s.token(c)) {
		t.Error("the token does not live at the provider")
	}
	testenv.Eventually(t, patience, func() error {
		shown := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
		if object(shown["data"])["status"] != "active" {
			return fmt.Errorf("the connection is shown as %v", shown)
		}
		return nil
	})
}

// strangersCallback comes to the gateway with an answer that nobody has asked for.
func strangersCallback(t *testing.T, w *world) {
	s := w.newSite(t, options{people: true})
	owner := s.user("owner")
	s.link(owner, "")
	for _, query := range []string{"", "?code=x&state=y", "?error=access_denied&state=y", "?code=x"} {
		page, err := person.New(person.Options{}).Open(t.Context(), w.gateway+v1alpha1.PathCallback+query)
		if err != nil {
			t.Fatal(err)
		}
		if page.Status < http.StatusBadRequest {
			t.Errorf("%s: status %d", query, page.Status)
		}
	}
	if n := s.authorization.Count(record.Filter{Endpoint: record.Token}); n != 0 {
		t.Errorf("%d token requests", n)
	}
	shown := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	must(t, object(shown["data"]), map[string]any{"status": "inactive"})
}

func personConnectsAgain(t *testing.T, w *world) {
	s := w.newSite(t, options{people: true})
	owner := s.user("owner")
	first := s.link(owner, "")
	browse(t, first)
	shown := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	c := s.wait(s.find(fmt.Sprint(shown["id"])), works)
	token := s.token(c)
	testenv.Eventually(t, patience, func() error { // As soon as the API has seen that it works, there is a link to ask for.
		listed, _ := data(t, s.do(t, call{as: owner, target: "/oauth_connections"}))
		if len(listed) != 1 {
			return fmt.Errorf("%d active connections", len(listed))
		}
		return nil
	})
	again := s.link(owner, "")
	if again == first {
		t.Error("the link of the last login was given once more")
	}
	if login := browse(t, again); login.Provider == nil {
		t.Fatalf("the person has come to %q", login.Page.Heading)
	}
	s.wait(c, func(now *v1alpha1.OAuthConnection) error {
		if s.token(c) == token {
			return fmt.Errorf("the token is still the first: %+v", now.Status.LastAuthorization)
		}
		return works(now)
	})
	if n := s.authorization.Count(exchanges()); n != 2 {
		t.Errorf("%d codes were exchanged, want 2", n)
	}
}

func linkInVain(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner := s.user("owner", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}})
	credentials := s.person("credentials", func(c *v1alpha1.OAuthConnection) {
		c.Spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantClientCredentials}
	})
	s.wait(credentials, works)
	c := call{as: owner, target: s.path("connect"), header: map[string]string{headerConnection: string(credentials.UID)}}
	s.do(t, c).problem(t, http.StatusConflict, "NoAuthorization")
	for _, query := range []string{"?shared=perhaps", "?unknown=1", "?shared=true&shared=false"} {
		s.do(t, call{as: owner, target: s.path("connect") + query}).problem(t, http.StatusBadRequest, "InvalidRequest")
	}
	suspended := s.person("suspended", func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	c.header = map[string]string{headerConnection: s.platform + "." + suspended.Name}
	testenv.Eventually(t, patience, func() error {
		if answer := s.do(t, c); answer.header.Get(headerError) != "ConnectionNotReady" {
			return fmt.Errorf("status %d: %s", answer.status, answer.body)
		}
		return nil
	})
}

func connectWithCode(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	ledger := s.user("ledger")
	body := s.code()
	answer := s.do(t, call{as: ledger, method: http.MethodPost, target: s.path("connect"), body: body}).want(t, http.StatusCreated)
	made := answer.object(t)
	mustBeOfIntegration(t, made)
	c := s.find(fmt.Sprint(made["id"]))
	token := s.token(c)
	must(t, made, map[string]any{
		"id": c.UID, "integrationId": s.application.UID, "ownerId": ledger.user, "isShared": false, "apiBaseUri": s.api.URL + "/v1",
		"refreshTokenExpiresAt": nil,
	})
	must(t, object(made["data"]), map[string]any{"status": "active", "phase": "Active", "namespace": s.platform, "name": c.Name})
	for _, name := range []string{"tokenExpiresAt", "lastAuthorizedAt", "createdAt", "updatedAt"} {
		moment(t, made, name)
	}
	if !s.authorization.Introspect(token) {
		t.Error("201 came before a living token was in the Secret")
	}
	if location := answer.header.Get("Location"); location != s.path("connection") {
		t.Errorf("Location is %q", location)
	}
	shown := s.do(t, call{as: ledger, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	if fmt.Sprint(shown) != fmt.Sprint(made) {
		t.Errorf("the connection is shown as\n%v\nand 201 said\n%v", shown, made)
	}
	byUID := s.do(t, call{as: ledger, target: "/api/integrations/" + id(s.application) + "/connection"}).want(t, http.StatusOK).object(t)
	must(t, byUID, map[string]any{"id": c.UID})
	for _, text := range []string{token, fmt.Sprint(body["code"]), fmt.Sprint(body["codeVerifier"])} {
		if strings.Contains(string(answer.body), text) {
			t.Error("the answer shows a secret")
		}
	}
	if c.Spec.Owner != ledger.user || c.Spec.Grant.Type != v1alpha1.GrantAuthorizationCode || c.Namespace != s.platform {
		t.Errorf("the connection is %s %+v", c.Namespace, c.Spec)
	}
}

// grant obtains a refresh token without the operator, as the same client elsewhere does.
func (s *site) grant() (refreshToken string) {
	s.t.Helper()
	offered := s.code()
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {harness.DefaultRedirectURI}}
	form.Set("code", fmt.Sprint(offered["code"]))
	form.Set("code_verifier", fmt.Sprint(offered["codeVerifier"]))
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.base+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientID, clientSecret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var tokens struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&tokens); err != nil || tokens.RefreshToken == "" {
		s.t.Fatalf("no refresh token: status %d, %v", response.StatusCode, err)
	}
	return tokens.RefreshToken
}

func connectWithRefreshToken(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner := s.user("owner")
	refreshToken := s.grant()
	post := call{as: owner, method: http.MethodPost, target: s.path("connect"), body: map[string]any{"refreshToken": refreshToken}}
	made := s.do(t, post).want(t, http.StatusCreated).object(t)
	mustBeOfIntegration(t, made)
	must(t, made, map[string]any{"ownerId": owner.user})
	must(t, object(made["data"]), map[string]any{"status": "active"})
	if c := s.find(fmt.Sprint(made["id"])); !s.authorization.Introspect(s.token(c)) {
		t.Error("201 came before a living token was in the Secret")
	}
	again := s.do(t, post).want(t, http.StatusCreated).object(t)
	must(t, again, map[string]any{"id": made["id"]})
	if n := s.authorization.Uses(refreshToken); n != 1 || s.authorization.Reuse() != 0 {
		t.Errorf("the refresh token was sent %d times, reuse %d", n, s.authorization.Reuse())
	}
}

func connectRefused(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner, other := s.user("owner"), s.user("other")
	bad := s.code()
	bad["codeVerifier"] = strings.Repeat("w", 64)
	post := call{as: owner, method: http.MethodPost, target: s.path("connect"), body: bad}
	p := s.do(t, post).problem(t, http.StatusUnprocessableEntity, "AuthorizationRefused")
	if p.Reason != v1alpha1.ReasonInvalidGrant || p.Detail == "" {
		t.Errorf("the problem is %+v", p)
	}
	again := s.do(t, post).problem(t, http.StatusUnprocessableEntity, "AuthorizationRefused")
	if again.Reason != p.Reason {
		t.Errorf("the same code again: %+v", again)
	}
	if n := s.authorization.Count(exchanges()); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	shown := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	must(t, object(shown["data"]), map[string]any{"status": "inactive"})
	s.connect(owner) // A good one repairs it.
	s.hide("a-refresh-token-of-nobody")
	unknown := call{as: other, method: http.MethodPost, target: s.path("connect"), body: map[string]any{"refreshToken": "a-refresh-token-of-nobody"}}
	s.do(t, unknown).problem(t, http.StatusUnprocessableEntity, "AuthorizationRefused")
}

func connectTwice(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner := s.user("owner")
	post := call{as: owner, method: http.MethodPost, target: s.path("connect"), body: s.code()}
	first := s.do(t, post).want(t, http.StatusCreated).object(t)
	token := s.token(s.find(fmt.Sprint(first["id"])))
	second := s.do(t, post).want(t, http.StatusCreated).object(t)
	must(t, second, map[string]any{"id": first["id"], "lastAuthorizedAt": first["lastAuthorizedAt"]})
	if n := s.authorization.Count(record.Filter{Endpoint: record.Token}); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	if s.token(s.find(fmt.Sprint(first["id"]))) != token {
		t.Error("the token has changed")
	}
	// Another code authorizes the same connection anew.
	third := s.do(t, call{as: owner, method: http.MethodPost, target: s.path("connect"), body: s.code()}).want(t, http.StatusCreated).object(t)
	must(t, third, map[string]any{"id": first["id"]})
}

func connectShared(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	one, other := s.user("one"), s.user("other", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}})
	shared, own := s.connect(one, map[string]any{"shared": true}), s.connect(one)
	if shared.Spec.Owner != "" || own.Spec.Owner != one.user || shared.UID == own.UID {
		t.Fatalf("the shared one belongs to %q, the own one to %q", shared.Spec.Owner, own.Spec.Owner)
	}
	again := s.connect(other, map[string]any{"shared": true})
	if again.UID != shared.UID {
		t.Error("there are two shared connections")
	}
	answer := s.do(t, call{as: other, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	must(t, answer, map[string]any{"id": shared.UID, "isShared": true, "ownerId": nil})
	narrow := s.newAccount(t, s.billing, "narrow", rule{namespace: s.platform, resource: connections, verbs: []string{"create"}, name: "crm-none"})
	for _, shares := range []bool{true, false} {
		post := call{as: narrow, method: http.MethodPost, target: s.path("connect"), body: with(s.code(), map[string]any{"shared": shares})}
		s.do(t, post).problem(t, http.StatusForbidden, "Forbidden")
	}
}

func connectSettings(t *testing.T, w *world) {
	s := w.newSite(t, options{change: func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Inputs = []v1alpha1.Input{{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: "^[a-z]+$"}}}
		spec.APIBaseURL += "/{tenant}"
	}})
	owner := s.user("owner")
	scopes, inputs := []string{"api:read", "offline_access"}, map[string]any{"tenant": "north"}
	c := s.connect(owner, map[string]any{"displayName": "Books", "scopes": scopes, "inputs": inputs})
	if c.Spec.DisplayName != "Books" || c.Spec.Inputs["tenant"] != "north" || !slices.Equal(c.Spec.Scopes, []v1alpha1.Scope{"api:read", "offline_access"}) {
		t.Errorf("the connection is %+v", c.Spec)
	}
	shown := s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusOK).object(t)
	must(t, shown, map[string]any{"apiBaseUri": s.api.URL + "/v1/north"})
	s.do(t, call{as: owner, target: s.path("request/invoices")}).want(t, http.StatusOK)
	if sent := s.api.Requests(); len(sent) != 1 || sent[0].Path != "/v1/north/invoices" {
		t.Errorf("the provider got %+v", sent)
	}
	differs := call{as: owner, method: http.MethodPost, target: s.path("connect"), body: with(s.code(), map[string]any{"inputs": map[string]any{"tenant": "south"}})}
	s.do(t, differs).problem(t, http.StatusConflict, "ConnectionNotReady")
	for name, inputs := range map[string]any{"without": map[string]any{}, "wrong": map[string]any{"tenant": "../x"}} {
		as := s.user(name)
		post := call{as: as, method: http.MethodPost, target: s.path("connect"), body: with(s.code(), map[string]any{"inputs": inputs})}
		if p := s.do(t, post).problem(t, http.StatusConflict, "ConnectionNotReady"); p.Reason != v1alpha1.ReasonInvalidInputs {
			t.Errorf("%s the input: reason %s", name, p.Reason)
		}
	}
	if n := s.authorization.Count(exchanges()); n != 1 {
		t.Errorf("%d codes were sent, want 1", n)
	}
}

func connectBadBodies(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner := s.user("owner")
	asJSON := map[string]string{"Content-Type": "application/json"}
	for _, bad := range []struct {
		body   any
		header map[string]string
		status int
		code   string
	}{
		{`{"code": "x"`, asJSON, http.StatusBadRequest, "InvalidRequest"},
		{``, asJSON, http.StatusBadRequest, "InvalidRequest"},
		{`[]`, asJSON, http.StatusBadRequest, "InvalidRequest"},
		{`{"code": "x"} {"code": "y"}`, asJSON, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": ""}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": 7}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": "x", "refreshToken": "y"}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"refreshToken": "y", "codeVerifier": "z"}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": "x", "redirectUri": "no url"}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": "x", "shared": "yes"}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": "x", "scopes": []any{"a b"}}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": "x", "owner": "somebody else"}, nil, http.StatusBadRequest, "InvalidRequest"},
		{map[string]any{"code": strings.Repeat("x", 80<<10)}, nil, http.StatusRequestEntityTooLarge, "TooLarge"},
		{`code=x`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType, "UnsupportedMediaType"},
		{`{"code": "x"}`, nil, http.StatusUnsupportedMediaType, "UnsupportedMediaType"},
	} {
		answer := s.do(t, call{as: owner, method: http.MethodPost, target: s.path("connect"), body: bad.body, header: bad.header})
		if answer.status != bad.status || answer.header.Get(headerError) != bad.code {
			t.Errorf("%.80v: status %d, want %d: %s", bad.body, answer.status, bad.status, answer.body)
		}
	}
	if n := s.authorization.Count(exchanges()); n != 0 {
		t.Errorf("%d token requests", n)
	}
	s.do(t, call{as: owner, target: s.path("connection")}).want(t, http.StatusNotFound) // There is none, which it may know: it may make one.
}

// tooLong is how long the provider is away where the API does not wait for it, in seconds.
const tooLong = 35

func connectSlowly(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	refreshToken := s.grant()
	away := hostile.Status(http.StatusServiceUnavailable, "", hostile.RetryAfterSeconds(tooLong))
	s.hostile().Script(refreshes(), away)
	s.hostile().Script(exchanges(), away)
	posts := []call{
		{as: s.user("importer"), body: map[string]any{"refreshToken": refreshToken}},
		{as: s.user("coder"), body: s.code()},
	}
	for i := range posts {
		posts[i].method, posts[i].target = http.MethodPost, s.path("connect")
	}
	for i, answer := range s.all(len(posts), func(i int) call { return posts[i] }) {
		made := answer.want(t, http.StatusAccepted).object(t)
		mustBeOfIntegration(t, made)
		must(t, object(made["data"]), map[string]any{"status": "inactive"})
		location := answer.header.Get("Location")
		if location != s.path("connection") {
			t.Fatalf("Location is %q", location)
		}
		testenv.Eventually(t, patience, func() error {
			shown := s.do(t, call{as: posts[i].as, target: location}).want(t, http.StatusOK).object(t)
			if shown["id"] != made["id"] || object(shown["data"])["status"] != "active" {
				return fmt.Errorf("the connection is shown as %v", shown)
			}
			return nil
		})
		s.do(t, posts[i]).want(t, http.StatusCreated)
	}
	if s.hostile().Reuse() != 0 {
		t.Error("a code or refresh token was spent twice")
	}
}

// connectUnanswered loses the provider's answer: nobody knows then what became of the code.
func connectUnanswered(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	s.hostile().Script(exchanges(), hostile.HangAnswer())
	post := call{as: s.user("owner"), method: http.MethodPost, target: s.path("connect"), body: s.code()}
	for range 2 {
		p := s.do(t, post).problem(t, http.StatusBadGateway, "ProviderUnreachable")
		if p.Reason != v1alpha1.ReasonExchangeOutcomeUnknown {
			t.Errorf("reason %s", p.Reason)
		}
	}
	if n := s.hostile().MaxUses(); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	s.connect(post.as)
}
