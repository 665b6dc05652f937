// SPDX-License-Identifier: Apache-2.0

package increase_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/test/servers/increase"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	clientID = "client_id_ledger"
	key      = "production-key"
	sandbox  = "sandbox-key"
)

func start(t *testing.T, o increase.Options) *increase.Server {
	t.Helper()
	s, err := increase.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is an answer that arrived, as far as it did.
type reply struct {
	status int
	header http.Header
	fields map[string]any
	err    error
}

func (r reply) text(name string) string {
	value, _ := r.fields[name].(string)
	return value
}

// data returns one member of each object on a page.
func (r reply) data(t *testing.T, name string) []string {
	t.Helper()
	list, ok := r.fields["data"].([]any)
	if !ok {
		t.Fatalf("no list in an answer of status %d: %v", r.status, r.fields)
	}
	values := make([]string, len(list))
	for i, one := range list {
		object, _ := one.(map[string]any)
		values[i] = fmt.Sprint(object[name])
	}
	return values
}

func (r reply) want(t *testing.T, status int, kind, reason string) {
	t.Helper()
	if r.err != nil || r.status != status || r.text("type") != kind {
		t.Errorf("%s: got %d %q (error %v), want %d %q", reason, r.status, r.text("type"), r.err, status, kind)
	}
	if status >= http.StatusBadRequest && (r.fields["status"] != float64(status) || r.text("title") == "" || r.text("detail") == "") {
		t.Errorf("%s: not in the shape of Increase's errors: %v", reason, r.fields)
	}
}

func do(ctx context.Context, e *increase.Environment, method, path, bearer, contentType, body string) reply {
	request, err := http.NewRequestWithContext(ctx, method, e.URL+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	// A cut connection that was used before would make net/http ask again.
	request.Close = true
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	resp, err := e.Client().Do(request)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	r := reply{status: resp.StatusCode, header: resp.Header, err: err}
	if json.Unmarshal(raw, &r.fields) != nil {
		r.fields = nil
	}
	return r
}

func get(t *testing.T, e *increase.Environment, bearer, path string) reply {
	t.Helper()
	return do(t.Context(), e, http.MethodGet, path, bearer, "", "")
}

func post(t *testing.T, e *increase.Environment, bearer, path string, body map[string]any) reply {
	t.Helper()
	raw, err := json.Marshal(body)
	must(t, err)
	return do(t.Context(), e, http.MethodPost, path, bearer, "application/json", string(raw))
}

func exchange(t *testing.T, e *increase.Environment, bearer, code string) reply {
	t.Helper()
	return post(t, e, bearer, "/oauth/tokens", body(code))
}

// body is a correct token request.
func body(code string) map[string]any {
	return map[string]any{
		"grant_type": "authorization_code", "code": code,
		"client_id": clientID, "client_secret": "client-secret-ledger",
	}
}

func newCode(t *testing.T, e *increase.Environment, scope string) string {
	t.Helper()
	code, err := e.NewCode(clientID, scope)
	must(t, err)
	return code
}

func authorize(t *testing.T, e *increase.Environment, scope string) string {
	t.Helper()
	r := exchange(t, e, key, newCode(t, e, scope))
	if r.text("access_token") == "" {
		t.Fatalf("no token: %d %v", r.status, r.fields)
	}
	return r.text("access_token")
}

func TestCodeGivesATokenOnce(t *testing.T) {
	s := start(t, increase.Options{Group: "group_a"})
	e := s.Production
	code := newCode(t, e, increase.ReadWrite)
	r := exchange(t, e, key, code)
	want := map[string]any{"access_token": r.fields["access_token"], "token_type": "bearer", "group_id": "group_a", "type": "oauth_token"}
	if r.status != http.StatusOK || fmt.Sprint(r.fields) != fmt.Sprint(want) {
		t.Fatalf("answered %d %v, want %v", r.status, r.fields, want)
	}
	if !e.Works(r.text("access_token")) || s.Sandbox.Works(r.text("access_token")) {
		t.Error("the token must work in production alone")
	}
	exchange(t, e, key, code).want(t, http.StatusBadRequest, "invalid_parameters_error", "a code that was used")
	if !e.Works(r.text("access_token")) {
		t.Error("a second use of the code killed the token")
	}
	if e.Reuse() != 1 || e.Uses(code) != 2 {
		t.Errorf("reuse %d, uses %d, want 1 and 2", e.Reuse(), e.Uses(code))
	}
	for _, secret := range []string{code, r.text("access_token")} {
		if !slices.Contains(e.Issued(), secret) {
			t.Error("a secret is missing from Issued")
		}
	}
	if n := e.Count(record.Filter{Endpoint: record.Token, GrantType: "authorization_code", Status: http.StatusOK}); n != 1 {
		t.Errorf("%d exchanges counted, want 1", n)
	}
}

func TestCodeLivesSixtySeconds(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	e := start(t, increase.Options{Clock: clock}).Production
	early, late := newCode(t, e, increase.ReadOnly), newCode(t, e, increase.ReadOnly)
	clock.SetTime(clock.Now().Add(59 * time.Second))
	if r := exchange(t, e, key, early); r.status != http.StatusOK {
		t.Errorf("after 59 s: %d %v", r.status, r.fields)
	}
	clock.SetTime(clock.Now().Add(time.Second))
	exchange(t, e, key, late).want(t, http.StatusBadRequest, "invalid_parameters_error", "after 60 s")
}

func TestAuthorizationPage(t *testing.T) {
	e := start(t, increase.Options{}).Production
	page := func(query url.Values) reply {
		return do(t.Context(), e, http.MethodGet, "/oauth/authorization?"+query.Encode(), "", "", "")
	}
	r := page(url.Values{"client_id": {clientID}, "scope": {increase.ReadOnly}, "state": {"a b&c"}})
	target, err := url.Parse(r.header.Get("Location"))
	must(t, err)
	if r.status != http.StatusFound || target.Query().Get("state") != "a b&c" || target.Query().Get("code") == "" {
		t.Errorf("answered %d, location %q", r.status, target.Redacted())
	}
	if got := target.Scheme + "://" + target.Host + target.Path; got != "http://127.0.0.1/callback" {
		t.Errorf("redirected to %s", got)
	}
	if r := page(url.Values{"client_id": {clientID}, "scope": {increase.ReadOnly}}); strings.Contains(r.header.Get("Location"), "state=") {
		t.Error("a state came back that was not given")
	}
	for reason, query := range map[string]url.Values{
		"no client":      {"scope": {increase.ReadOnly}},
		"unknown client": {"client_id": {"x"}, "scope": {increase.ReadOnly}},
		"no scope":       {"client_id": {clientID}},
		"two scopes":     {"client_id": {clientID}, "scope": {"read_only read_write"}},
	} {
		page(query).want(t, http.StatusBadRequest, "invalid_parameters_error", reason)
	}
}

func TestTokenRequestsAreChecked(t *testing.T) {
	s := start(t, increase.Options{})
	e := s.Production
	with := func(name string, value any) map[string]any {
		b := body("unknown")
		b[name] = value
		if value == nil {
			delete(b, name)
		}
		return b
	}
	long := strings.Repeat("é", 201)
	for reason, b := range map[string]map[string]any{
		"an unknown code":            with("code", "nobody-made-this"),
		"no code":                    with("code", nil),
		"an empty code":              with("code", ""),
		"a code of 201 characters":   with("code", long),
		"a code that is a number":    with("code", 7),
		"a secret of 201 characters": with("client_secret", long),
		"a wrong secret":             with("client_secret", "x"),
		"no secret":                  with("client_secret", nil),
		"an unknown client":          with("client_id", "x"),
		"an unknown grant type":      with("grant_type", "refresh_token"),
		"no grant type":              with("grant_type", nil),
		"production_token":           {"grant_type": "production_token", "production_token": "x"},
	} {
		post(t, e, key, "/oauth/tokens", b).want(t, http.StatusBadRequest, "invalid_parameters_error", reason)
	}
	exchange(t, e, key, strings.Repeat("é", 200)).want(t, http.StatusBadRequest, "invalid_parameters_error", "an unknown code of 200 characters")

	code := newCode(t, e, increase.ReadOnly)
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {clientID}, "client_secret": {"client-secret-ledger"}}
	do(t.Context(), e, http.MethodPost, "/oauth/tokens", key, "application/x-www-form-urlencoded", form.Encode()).
		want(t, http.StatusBadRequest, "malformed_request_error", "a form")
	do(t.Context(), e, http.MethodPost, "/oauth/tokens", key, "application/json", `["`+code+`"]`).
		want(t, http.StatusBadRequest, "malformed_request_error", "a JSON list")
	do(t.Context(), e, http.MethodPost, "/oauth/tokens", key, "application/json", `{"code":`).
		want(t, http.StatusBadRequest, "malformed_request_error", "half a document")
	get(t, e, key, "/oauth/tokens").want(t, http.StatusNotFound, "api_method_not_found_error", "GET")
	exchange(t, e, "", code).want(t, http.StatusUnauthorized, "invalid_api_key_error", "no key")
	exchange(t, e, "x", code).want(t, http.StatusUnauthorized, "invalid_api_key_error", "a wrong key")
	exchange(t, e, sandbox, code).want(t, http.StatusForbidden, "environment_mismatch_error", "the sandbox's key")
	exchange(t, s.Sandbox, sandbox, code).want(t, http.StatusBadRequest, "invalid_parameters_error", "production's code in the sandbox")
	if r := exchange(t, e, key, code); r.status != http.StatusOK {
		t.Errorf("the code was spent by requests that were refused: %d %v", r.status, r.fields)
	}
}

func TestUndocumentedParameters(t *testing.T) {
	for _, strict := range []bool{false, true} {
		e := start(t, increase.Options{Strict: strict}).Production
		b := body(newCode(t, e, increase.ReadOnly))
		b["redirect_uri"] = "http://127.0.0.1/callback"
		if got := post(t, e, key, "/oauth/tokens", b).status; (got != http.StatusOK) != strict {
			t.Errorf("strict %t: answered %d", strict, got)
		}
	}
}

func TestScopesOfTokens(t *testing.T) {
	e := start(t, increase.Options{Group: "group_a"}).Production
	reads, writes := authorize(t, e, increase.ReadOnly), authorize(t, e, increase.ReadWrite)
	for _, token := range []string{reads, writes, key} {
		if r := get(t, e, token, "/accounts"); r.status != http.StatusOK || len(r.data(t, "id")) != 1 {
			t.Errorf("GET answered %d %v", r.status, r.fields)
		}
	}
	account := map[string]any{"name": "Savings"}
	post(t, e, reads, "/accounts", account).want(t, http.StatusForbidden, "insufficient_permissions_error", "POST with a read_only token")
	post(t, e, writes, "/accounts", map[string]any{}).want(t, http.StatusBadRequest, "invalid_parameters_error", "an account without a name")
	post(t, e, writes, "/accounts", account).want(t, http.StatusOK, "account", "POST with a read_write token")
	if got := get(t, e, reads, "/accounts").data(t, "name"); !slices.Contains(got, "Savings") {
		t.Errorf("accounts %v", got)
	}
	if got := get(t, e, key, "/accounts").data(t, "name"); slices.Contains(got, "Savings") {
		t.Error("the platform sees a user's account")
	}
	for _, path := range []string{"/oauth_connections", "/oauth_connections/x", "/oauth_applications", "/oauth_applications/x"} {
		get(t, e, writes, path).want(t, http.StatusForbidden, "insufficient_permissions_error", path+" with a user's token")
		get(t, e, "x", path).want(t, http.StatusUnauthorized, "invalid_api_key_error", path+" with no key at all")
		get(t, e, sandbox, path).want(t, http.StatusForbidden, "environment_mismatch_error", path+" with the sandbox's key")
	}
	get(t, e, key, "/cards").want(t, http.StatusNotFound, "api_method_not_found_error", "an unknown path")
	post(t, e, key, "/oauth_connections", nil).want(t, http.StatusNotFound, "api_method_not_found_error", "POST to a list")
	if e.Count(record.Filter{Endpoint: increase.Accounts}) != 8 || e.Count(record.Filter{Endpoint: increase.Unknown}) != 1 {
		t.Errorf("%d requests for accounts and %d unknown ones counted",
			e.Count(record.Filter{Endpoint: increase.Accounts}), e.Count(record.Filter{Endpoint: increase.Unknown}))
	}
}

func TestSandboxToken(t *testing.T) {
	s := start(t, increase.Options{Group: "group_a"})
	original := authorize(t, s.Production, increase.ReadOnly)
	ask := func(extra map[string]any) reply {
		b := map[string]any{"grant_type": "production_token", "production_token": original}
		maps.Copy(b, extra)
		return post(t, s.Sandbox, sandbox, "/oauth/tokens", b)
	}
	r := ask(nil)
	if r.status != http.StatusOK || r.text("group_id") != "group_a" || r.text("token_type") != "bearer" {
		t.Fatalf("answered %d %v", r.status, r.fields)
	}
	token := r.text("access_token")
	if get(t, s.Sandbox, token, "/accounts").status != http.StatusOK {
		t.Error("the sandbox token does not work in the sandbox")
	}
	get(t, s.Production, token, "/accounts").want(t, http.StatusUnauthorized, "invalid_api_key_error", "a sandbox token in production")
	get(t, s.Sandbox, original, "/accounts").want(t, http.StatusUnauthorized, "invalid_api_key_error", "a production token in the sandbox")
	post(t, s.Sandbox, token, "/accounts", map[string]any{"name": "x"}).
		want(t, http.StatusForbidden, "insufficient_permissions_error", "the scope of the production token goes along")

	again := ask(map[string]any{"client_id": clientID, "client_secret": "client-secret-ledger"})
	if again.status != http.StatusOK || len(s.Sandbox.Grants()) != 1 || !s.Sandbox.Works(token) {
		t.Errorf("a second token: %d, %d connections in the sandbox", again.status, len(s.Sandbox.Grants()))
	}
	ask(map[string]any{"client_id": clientID, "client_secret": "x"}).want(t, http.StatusBadRequest, "invalid_parameters_error", "a wrong secret")
	ask(map[string]any{"production_token": token}).want(t, http.StatusBadRequest, "invalid_parameters_error", "a sandbox token")

	grant, _ := s.Production.GrantOf(original)
	must(t, s.Production.Deauthorize(grant.ID))
	ask(nil).want(t, http.StatusBadRequest, "invalid_parameters_error", "a dead production token")
	if !s.Sandbox.Works(token) {
		t.Error("the sandbox token died with the production token")
	}
	kept, err := json.Marshal(s.Sandbox.Requests(record.Filter{}))
	must(t, err)
	if strings.Contains(string(kept), original) {
		t.Error("the log holds the production token")
	}
}

func TestUserDeauthorizes(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	e := start(t, increase.Options{Clock: clock, Group: "group_a"}).Production
	token, other := authorize(t, e, increase.ReadWrite), authorize(t, e, increase.ReadWrite)
	grant, ok := e.GrantOf(token)
	if !ok {
		t.Fatal("no connection behind the token")
	}
	r := get(t, e, key, "/oauth_connections/"+grant.ID)
	want := map[string]any{
		"id": grant.ID, "created_at": "2026-08-01T12:00:00Z", "deleted_at": nil, "group_id": "group_a",
		"oauth_application_id": "application_ledger", "status": "active", "type": "oauth_connection",
	}
	if fmt.Sprint(r.fields) != fmt.Sprint(want) {
		t.Errorf("connection %v, want %v", r.fields, want)
	}

	must(t, e.Deactivate(grant.ID))
	r = get(t, e, key, "/oauth_connections/"+grant.ID)
	if r.text("status") != "inactive" || r.fields["deleted_at"] != nil {
		t.Errorf("inactive connection: %v", r.fields)
	}
	get(t, e, token, "/accounts").want(t, http.StatusUnauthorized, "invalid_api_key_error", "a token whose connection is inactive")
	if !e.Works(other) {
		t.Error("another token died too")
	}

	clock.SetTime(clock.Now().Add(time.Hour))
	must(t, e.Deauthorize(grant.ID))
	r = get(t, e, key, "/oauth_connections/"+grant.ID)
	if r.text("status") != "inactive" || r.text("deleted_at") != "2026-08-01T13:00:00Z" {
		t.Errorf("deauthorized connection: %v", r.fields)
	}
	if got := get(t, e, key, "/oauth_connections").data(t, "id"); slices.Contains(got, grant.ID) || len(got) != 1 {
		t.Errorf("by default the list must hold active connections only: %v", got)
	}
	if e.Deauthorize("connection_x") == nil || e.Deactivate("") == nil {
		t.Error("an unknown connection was ended")
	}
	get(t, e, key, "/oauth_connections/connection_x").want(t, http.StatusNotFound, "object_not_found_error", "an unknown id")
	get(t, e, key, "/oauth_connections/"+strings.Repeat("x", 201)).want(t, http.StatusBadRequest, "invalid_parameters_error", "an id of 201 characters")
}

func TestCodeOfADisconnectedUser(t *testing.T) {
	e := start(t, increase.Options{}).Production
	code := newCode(t, e, increase.ReadOnly)
	must(t, e.Deauthorize(e.Grants()[0].ID))
	exchange(t, e, key, code).want(t, http.StatusBadRequest, "invalid_parameters_error", "the user left before the exchange")
}

// walk follows the cursors of a list and returns the ids and the sizes of the
// pages.
func walk(t *testing.T, e *increase.Environment, path string, query url.Values) (ids []string, sizes []int) {
	t.Helper()
	for {
		r := get(t, e, key, path+"?"+query.Encode())
		page := r.data(t, "id")
		ids, sizes = append(ids, page...), append(sizes, len(page))
		next, ok := r.fields["next_cursor"]
		if !ok {
			t.Fatal("next_cursor is missing; it must be null on the last page")
		}
		if next == nil {
			return ids, sizes
		}
		query.Set("cursor", r.text("next_cursor"))
	}
}

func TestPages(t *testing.T) {
	second := increase.Registration{ID: "application_second", ClientID: "second", ClientSecret: "s"}
	s := start(t, increase.Options{Registrations: []increase.Registration{increase.DefaultRegistration(), second}})
	e := s.Production
	var all, active []string // newest first
	for i := range 250 {
		client := clientID
		if i%10 == 0 {
			client = "second"
		}
		_, grant, err := e.Connect(fmt.Sprint("group_", i), client, increase.ReadOnly)
		must(t, err)
		all = append([]string{grant.ID}, all...)
		if i%5 == 3 {
			must(t, e.Deauthorize(grant.ID))
			continue
		}
		active = append([]string{grant.ID}, active...)
	}
	ids, sizes := walk(t, e, "/oauth_connections", url.Values{"status.in": {"active,inactive"}})
	if !slices.Equal(ids, all) || !slices.Equal(sizes, []int{100, 100, 50}) {
		t.Errorf("%d ids in pages of %v", len(ids), sizes)
	}
	ids, sizes = walk(t, e, "/oauth_connections", url.Values{"limit": {"40"}})
	if !slices.Equal(ids, active) || !slices.Equal(sizes, []int{40, 40, 40, 40, 40}) {
		t.Errorf("%d active ids in pages of %v", len(ids), sizes)
	}
	if ids, _ = walk(t, e, "/oauth_connections", url.Values{"status.in": {"inactive"}}); len(ids) != 50 {
		t.Errorf("%d inactive ones, want 50", len(ids))
	}
	if ids, _ = walk(t, e, "/oauth_connections", url.Values{"oauth_application_id": {"application_second"}}); len(ids) != 25 {
		t.Errorf("%d of the second application, want 25", len(ids))
	}
	if got := get(t, e, key, "/oauth_connections?oauth_application_id=application_x").data(t, "id"); len(got) != 0 {
		t.Errorf("%d of an unknown application", len(got))
	}
	for _, query := range []string{
		"limit=0", "limit=101", "limit=x", "limit=", "cursor=x", "cursor=", "status.in=", "status.in=active,deleted",
		"oauth_application_id=", "oauth_application_id=" + strings.Repeat("x", 201),
	} {
		get(t, e, key, "/oauth_connections?"+query).want(t, http.StatusBadRequest, "invalid_parameters_error", query)
	}
	if n := e.Count(record.Filter{Endpoint: increase.Connections, AuthMethod: "bearer", Status: http.StatusOK}); n != 3+5+1+1+1 {
		t.Errorf("%d listings counted, want 11", n)
	}
}

func TestPageStaysPutWhileObjectsAreAdded(t *testing.T) {
	e := start(t, increase.Options{PageSize: 2}).Production
	connect := func() string {
		_, grant, err := e.Connect("group_a", clientID, increase.ReadOnly)
		must(t, err)
		return grant.ID
	}
	a, b, c := connect(), connect(), connect()
	first := get(t, e, key, "/oauth_connections?limit=100")
	connect()
	last := get(t, e, key, "/oauth_connections?limit=100&cursor="+first.text("next_cursor"))
	if got := append(first.data(t, "id"), last.data(t, "id")...); !slices.Equal(got, []string{c, b, a}) {
		t.Errorf("pages hold %v, want %v", got, []string{c, b, a})
	}
}

func TestApplications(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	nameless := increase.Registration{ID: "application_nameless", ClientID: "nameless", ClientSecret: "s"}
	s := start(t, increase.Options{Clock: clock, Registrations: []increase.Registration{increase.DefaultRegistration(), nameless}})
	e := s.Production
	r := get(t, e, key, "/oauth_applications/application_ledger")
	want := map[string]any{
		"id": "application_ledger", "client_id": clientID, "created_at": "2026-08-01T12:00:00Z", "deleted_at": nil,
		"name": "Ledger", "status": "active", "type": "oauth_application",
	}
	if fmt.Sprint(r.fields) != fmt.Sprint(want) {
		t.Errorf("application %v, want %v", r.fields, want)
	}
	if r := get(t, e, key, "/oauth_applications/application_nameless"); r.fields["name"] != nil {
		t.Errorf("name %v, want null", r.fields["name"])
	}
	token := authorize(t, e, increase.ReadOnly)
	code := newCode(t, e, increase.ReadOnly)
	must(t, s.DeleteApplication("application_ledger"))
	r = get(t, e, key, "/oauth_applications/application_ledger")
	if r.text("status") != "deleted" || r.text("deleted_at") != "2026-08-01T12:00:00Z" {
		t.Errorf("deleted application: %v", r.fields)
	}
	if got := get(t, e, key, "/oauth_applications").data(t, "status"); !slices.Equal(got, []string{"active", "deleted"}) {
		t.Errorf("listed: %v", got)
	}
	if ids, sizes := walk(t, e, "/oauth_applications", url.Values{"limit": {"1"}}); len(ids) != 2 || len(sizes) != 2 {
		t.Errorf("pages of %v", sizes)
	}
	if got := get(t, e, key, "/oauth_applications?status.in=active").data(t, "id"); !slices.Equal(got, []string{"application_nameless"}) {
		t.Errorf("active: %v", got)
	}
	if e.Works(token) || e.Grants()[0].Status != increase.Inactive {
		t.Error("a connection outlived its application")
	}
	exchange(t, e, key, code).want(t, http.StatusBadRequest, "invalid_parameters_error", "a deleted application")
	if _, err := e.NewCode(clientID, increase.ReadOnly); err == nil {
		t.Error("a deleted application got a code")
	}
	get(t, e, key, "/oauth_applications/application_x").want(t, http.StatusNotFound, "object_not_found_error", "an unknown application")
	if s.DeleteApplication("application_x") == nil {
		t.Error("an unknown application was deleted")
	}
}

func TestKeysRotate(t *testing.T) {
	s := start(t, increase.Options{})
	e := s.Production
	e.RotateAPIKey("next-key")
	must(t, s.RotateClientSecret(clientID, "next-secret"))
	code := newCode(t, e, increase.ReadOnly)
	exchange(t, e, key, code).want(t, http.StatusUnauthorized, "invalid_api_key_error", "the old key")
	exchange(t, e, "next-key", code).want(t, http.StatusBadRequest, "invalid_parameters_error", "the old secret")
	b := body(code)
	b["client_secret"] = "next-secret"
	if r := post(t, e, "next-key", "/oauth/tokens", b); r.status != http.StatusOK {
		t.Errorf("the new key and secret: %d", r.status)
	}
	if s.RotateClientSecret("x", "y") == nil {
		t.Error("an unknown client got a secret")
	}
}

func TestFaults(t *testing.T) {
	e := start(t, increase.Options{}).Production
	lists := record.Filter{Endpoint: increase.Connections}
	list := func() reply { return get(t, e, key, "/oauth_connections") }

	remove := e.Always(lists, increase.Status(http.StatusBadGateway, "<html>", nil))
	e.Script(lists, increase.RateLimited(7), increase.Garbage(), increase.Error(500, "internal_server_error"), increase.CloseBeforeProcessing())
	limited := list()
	limited.want(t, http.StatusTooManyRequests, "rate_limited_error", "rate limit")
	if limited.header.Get("Retry-After") != "7" {
		t.Errorf("Retry-After %q", limited.header.Get("Retry-After"))
	}
	if r := list(); r.status != http.StatusOK || r.fields != nil {
		t.Errorf("garbage: %d %v", r.status, r.fields)
	}
	list().want(t, http.StatusInternalServerError, "internal_server_error", "an error")
	if r := list(); r.err == nil {
		t.Error("the connection was not cut")
	}
	if r := list(); r.status != http.StatusBadGateway {
		t.Errorf("the standing fault: %d", r.status)
	}
	remove()
	e.Script(lists, increase.SetField("next_cursor", "again"))
	if r := list(); r.text("next_cursor") != "again" {
		t.Errorf("next_cursor %v", r.fields["next_cursor"])
	}
	if r := list(); r.status != http.StatusOK || e.Count(record.Filter{Status: record.NoAnswer}) != 1 {
		t.Errorf("after all faults: %d", r.status)
	}
	if r := get(t, e, key, "/oauth_applications"); r.status != http.StatusOK {
		t.Errorf("a fault met another endpoint: %d", r.status)
	}
}

func TestLostAndHeldAnswers(t *testing.T) {
	e := start(t, increase.Options{}).Production
	tokens := record.Filter{Endpoint: record.Token}
	code := newCode(t, e, increase.ReadOnly)
	e.Script(tokens, increase.LoseResponse())
	if r := exchange(t, e, key, code); r.err == nil {
		t.Errorf("an answer arrived: %d", r.status)
	}
	exchange(t, e, key, code).want(t, http.StatusBadRequest, "invalid_parameters_error", "the lost answer had spent the code")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, fault := range []increase.Fault{increase.Hang(), increase.HangAnswer()} {
		code := newCode(t, e, increase.ReadOnly)
		e.Script(tokens, fault)
		done := make(chan reply, 1)
		raw, err := json.Marshal(body(code))
		must(t, err)
		go func() {
			done <- do(ctx, e, http.MethodPost, "/oauth/tokens", key, "application/json", string(raw))
		}()
		must(t, e.WaitForHanging(ctx, 1))
		e.Release()
		if r := <-done; r.status != http.StatusOK {
			t.Errorf("after the release: %d, error %v", r.status, r.err)
		}
	}
}

func TestStartRefusesBadOptions(t *testing.T) {
	twice := increase.DefaultRegistration()
	for reason, o := range map[string]increase.Options{
		"one id twice":   {Registrations: []increase.Registration{twice, twice}},
		"no secret":      {Registrations: []increase.Registration{{ID: "a", ClientID: "b"}}},
		"one key":        {APIKey: "k", SandboxAPIKey: "k"},
		"a taken port":   {Address: start(t, increase.Options{}).Production.Address()},
		"a taken port 2": {SandboxAddress: start(t, increase.Options{}).Production.Address()},
	} {
		if s, err := increase.Start(o); err == nil {
			s.Close()
			t.Errorf("%s: started", reason)
		}
	}
}

func TestConnectNeedsARealClient(t *testing.T) {
	e := start(t, increase.Options{TLS: true}).Production
	if len(e.CAPEM) == 0 {
		t.Error("no CA")
	}
	if _, _, err := e.Connect("g", "x", increase.ReadOnly); err == nil {
		t.Error("an unknown client was connected")
	}
	if _, _, err := e.Connect("g", clientID, "admin"); err == nil {
		t.Error("an unknown scope was granted")
	}
	if _, ok := e.GrantOf("x"); ok {
		t.Error("an unknown token has a connection")
	}
}
