// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// patience bounds waits that end long before in a test that passes.
const patience = 10 * time.Second

func refreshes() record.Filter {
	return record.Filter{Endpoint: record.Token, GrantType: "refresh_token"}
}

func start(t *testing.T, o hostile.Options) *hostile.Server {
	t.Helper()
	s, err := hostile.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// reply is an answer that arrived, as far as it did.
type reply struct {
	status int
	header http.Header
	body   string
	fields map[string]any
	err    error
}

func (r reply) text(name string) string {
	value, _ := r.fields[name].(string)
	return value
}

// do sends one request, form-encoded unless the body starts as JSON does.
func do(ctx context.Context, s *hostile.Server, method, path, body string) reply {
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	request.SetBasicAuth("client", "client-secret")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(body, "{") {
		request.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.Client().Do(request)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	r := reply{status: resp.StatusCode, header: resp.Header, body: string(raw), err: err}
	if json.Unmarshal(raw, &r.fields) != nil {
		r.fields = nil
	}
	return r
}

func post(t *testing.T, s *hostile.Server, path string, form url.Values) reply {
	t.Helper()
	return do(t.Context(), s, http.MethodPost, path, form.Encode())
}

func refresh(t *testing.T, s *hostile.Server, token string) reply {
	t.Helper()
	return post(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// authorize returns the first refresh token of a new grant.
func authorize(t *testing.T, s *hostile.Server) string {
	t.Helper()
	code, verifier, err := s.NewCode("client", "", []string{"api:read"}, "")
	if err != nil {
		t.Fatal(err)
	}
	r := post(t, s, "/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {harness.DefaultRedirectURI}, "code_verifier": {verifier},
	})
	if r.text("refresh_token") == "" {
		t.Fatalf("no refresh token: status %d, error %v", r.status, r.err)
	}
	return r.text("refresh_token")
}

func waitFor(t *testing.T, s *hostile.Server, n int, f record.Filter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.WaitFor(ctx, n, f); err != nil {
		t.Fatalf("waiting for %d requests, have %d: %v", n, s.Count(f), err)
	}
}

func TestCodeReuseKillsItsGrant(t *testing.T) {
	s := start(t, hostile.Options{})
	code, verifier, err := s.NewCode("client", "", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {harness.DefaultRedirectURI}, "code_verifier": {verifier},
	}
	first := post(t, s, "/token", form)
	if second := post(t, s, "/token", form); second.status != http.StatusBadRequest {
		t.Errorf("second use answered %d", second.status)
	}
	if s.Introspect(first.text("access_token")) || s.Introspect(first.text("refresh_token")) {
		t.Error("the tokens outlived the reuse of their code")
	}
}

func TestClockExpires(t *testing.T) {
	s := start(t, hostile.Options{RefreshTokenLifetime: 3 * time.Hour})
	r := refresh(t, s, authorize(t, s))
	code, verifier, err := s.NewCode("client", "", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(2 * time.Hour)
	if s.Introspect(r.text("access_token")) || !s.Introspect(r.text("refresh_token")) {
		t.Error("after two hours the access token must be dead and the refresh token alive")
	}
	late := post(t, s, "/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {harness.DefaultRedirectURI}, "code_verifier": {verifier},
	})
	if late.text("error") != "invalid_grant" {
		t.Errorf("an old code got %d %q", late.status, late.text("error"))
	}
	s.Advance(2 * time.Hour)
	if got := refresh(t, s, r.text("refresh_token")); got.text("error") != "invalid_grant" {
		t.Errorf("an old refresh token got %d %q", got.status, got.text("error"))
	}
}

func TestUserInfoNamesTheSubject(t *testing.T) {
	s := start(t, hostile.Options{})
	s.SetSubject("someone-else")
	token := refresh(t, s, authorize(t, s)).text("access_token")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var user struct{ Sub string }
	if err := json.NewDecoder(resp.Body).Decode(&user); err != nil || user.Sub != "someone-else" {
		t.Errorf("subject %q, error %v", user.Sub, err)
	}
}

func TestJSONRequests(t *testing.T) {
	s := start(t, hostile.Options{})
	s.Always(record.Filter{Endpoint: record.Token}, hostile.RequireJSON())
	form := post(t, s, "/token", url.Values{"grant_type": {"client_credentials"}})
	if form.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form answered %d, want 415", form.status)
	}
	r := do(t.Context(), s, http.MethodPost, "/token", `{"grant_type":"client_credentials","scope":"api:read"}`)
	if r.status != http.StatusOK || r.text("access_token") == "" {
		t.Errorf("JSON answered %d", r.status)
	}
}

func TestScriptOrder(t *testing.T) {
	s := start(t, hostile.Options{})
	remove := s.Always(refreshes(), hostile.Status(503, "", nil))
	s.Script(refreshes(), hostile.Status(500, "", nil), hostile.Fault{}, hostile.Status(502, "", nil))
	s.Script(record.Filter{ClientID: "another"}, hostile.Status(418, "", nil))
	token := authorize(t, s)
	var got []int
	for range 4 {
		r := refresh(t, s, token)
		got = append(got, r.status)
		if next := r.text("refresh_token"); next != "" {
			token = next
		}
	}
	remove()
	got = append(got, refresh(t, s, token).status)
	want := []int{500, 200, 502, 503, 200}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("answers %v, want %v: queue in order, then the standing rule, then none", got, want)
		}
	}
}

func TestHookRunsAtEachStage(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	stages, proceed := make(chan hostile.Stage), make(chan struct{})
	s.OnRequest(func(stage hostile.Stage, r record.Request) {
		if r.GrantType == "refresh_token" {
			stages <- stage
			<-proceed
		}
	})
	done := make(chan reply, 1)
	go func() { done <- refresh(t, s, token) }()

	if got := <-stages; got != hostile.Received || !s.Introspect(token) {
		t.Errorf("first stage %q, token alive %t: want received, true", got, s.Introspect(token))
	}
	proceed <- struct{}{}
	if got := <-stages; got != hostile.Processed || s.Introspect(token) {
		t.Errorf("second stage %q, token alive %t: want processed, false", got, s.Introspect(token))
	}
	select {
	case r := <-done:
		t.Errorf("an answer arrived while the hook blocked: %d", r.status)
	default:
	}
	proceed <- struct{}{}
	if got := <-stages; got != hostile.Answered {
		t.Errorf("last stage %q, want answered", got)
	}
	// The whole answer is out while the hook of the last stage still blocks.
	if r := <-done; r.status != http.StatusOK {
		t.Errorf("answered %d", r.status)
	}
	proceed <- struct{}{}
	s.OnRequest(nil)
	if r := refresh(t, s, authorize(t, s)); r.status != http.StatusOK {
		t.Errorf("without a hook: %d", r.status)
	}
}

func TestLeanKeepsCountsOnly(t *testing.T) {
	s := start(t, hostile.Options{Lean: true})
	token := authorize(t, s)
	refresh(t, s, token)
	refresh(t, s, token)
	if s.Count(refreshes()) != 2 || s.Reuse() != 1 || s.MaxUses() != 2 {
		t.Errorf("count %d, reuse %d, max uses %d", s.Count(refreshes()), s.Reuse(), s.MaxUses())
	}
	if len(s.Issued()) != 0 || len(s.Requests(record.Filter{})) != 0 {
		t.Error("a lean server keeps tokens or requests")
	}
}

func TestStartRefusesAmbiguousClients(t *testing.T) {
	twice := []harness.Client{{ID: "a", Secret: "x"}, {ID: "a", Secret: "y"}}
	if s, err := hostile.Start(hostile.Options{Clients: twice}); err == nil {
		s.Close()
		t.Error("two clients with one id were accepted")
	}
}
