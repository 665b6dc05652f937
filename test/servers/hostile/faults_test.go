// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Faults that answer in place of the server leave the refresh token alive, and
// a second try with it is no reuse.
func TestAnswersInPlaceOfTheServer(t *testing.T) {
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.FixedZone("", 3600))
	tests := map[string]struct {
		fault  hostile.Fault
		status int
		body   string // a part of it
		header [2]string
	}{
		"429 with seconds": {hostile.Status(429, "", hostile.RetryAfterSeconds(7)), 429, "", [2]string{"Retry-After", "7"}},
		"429 with a date": {
			hostile.Status(429, "", hostile.RetryAfterDate(noon)), 429, "",
			[2]string{"Retry-After", "Wed, 02 Jan 2030 11:00:00 GMT"},
		},
		"5xx with a page":     {hostile.Status(503, "<h1>away</h1>", nil), 503, "<h1>away</h1>", [2]string{}},
		"4xx with nothing":    {hostile.Status(403, "", nil), 403, "", [2]string{"Content-Length", "0"}},
		"400 with an error":   {hostile.OAuthError(400, "invalid_grant"), 400, `"error":"invalid_grant"`, [2]string{"Content-Type", "application/json"}},
		"401 names a scheme":  {hostile.OAuthError(401, "invalid_client"), 401, "invalid_client", [2]string{"Www-Authenticate", `Basic realm="oauth"`}},
		"200 with an error":   {hostile.OKWithError("bad_refresh_token"), 200, `"error":"bad_refresh_token"`, [2]string{}},
		"garbage":             {hostile.Garbage(), 200, "<html>", [2]string{"Content-Type", "application/json"}},
		"redirect":            {hostile.Redirect("http://127.0.0.1:1/x"), 307, "", [2]string{"Location", "http://127.0.0.1:1/x"}},
		"slow scripted body":  {hostile.SlowDrip(`{"a":1}`, time.Microsecond), 200, `{"a":1}`, [2]string{}},
		"the client's secret": {hostile.EchoSecrets(400, "invalid_grant"), 400, "client-secret", [2]string{}},
	}
	s := start(t, hostile.Options{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := authorize(t, s)
			s.Script(refreshes(), tt.fault)
			r := refresh(t, s, token)
			if r.err != nil || r.status != tt.status || !strings.Contains(r.body, tt.body) {
				t.Errorf("got %d %q, error %v", r.status, r.body, r.err)
			}
			if name := tt.header[0]; name != "" && r.header.Get(name) != tt.header[1] {
				t.Errorf("%s: %q, want %q", name, r.header.Get(name), tt.header[1])
			}
			if !s.Introspect(token) || s.Uses(token) != 1 {
				t.Errorf("token alive %t, uses %d: want true, 1", s.Introspect(token), s.Uses(token))
			}
			if again := refresh(t, s, token); again.status != http.StatusOK || s.Reuse() != 0 {
				t.Errorf("second try: %d, reuse %d", again.status, s.Reuse())
			}
		})
	}
}

func TestEchoSecretsRepeatsEveryCredential(t *testing.T) {
	s := start(t, hostile.Options{})
	code, verifier, err := s.NewCode("client", "", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Script(record.Filter{Endpoint: record.Token}, hostile.EchoSecrets(400, "invalid_grant"))
	r := post(t, s, "/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
	})
	for _, secret := range []string{code, verifier, "client-secret"} {
		if !strings.Contains(r.text("error_description"), secret) {
			t.Error("a secret was not echoed")
		}
	}
}

// Faults on the answer rotate the token and change what the client is told.
func TestRewrittenAnswers(t *testing.T) {
	tests := map[string]struct {
		fault hostile.Fault
		want  string // a part of the body
		never string // no part of it
	}{
		"expiry as a string":   {hostile.ExpiresIn("3600"), `"expires_in":"3600"`, ""},
		"expiry as a fraction": {hostile.ExpiresIn(1.5), `"expires_in":1.5`, ""},
		"expiry null":          {hostile.ExpiresIn(nil), `"expires_in":null`, ""},
		"expiry negative":      {hostile.ExpiresIn(-1), `"expires_in":-1`, ""},
		"expiry huge":          {hostile.ExpiresIn(json.RawMessage("1e400")), `"expires_in":1e400`, ""},
		"expiry an object":     {hostile.ExpiresIn(map[string]any{"in": 1}), `"expires_in":{"in":1}`, ""},
		"expiry missing":       {hostile.ExpiresIn(hostile.Missing{}), `"access_token"`, "expires_in"},
		"scope with commas":    {hostile.Scope("a,b"), `"scope":"a,b"`, ""},
		"scope missing":        {hostile.Scope(hostile.Missing{}), `"access_token"`, "scope"},
		"lower-case type":      {hostile.SetField("token_type", "bearer"), `"token_type":"bearer"`, ""},
		"nested":               {hostile.NestedFields("data", "token"), `{"data":{"token":{"access_token":"`, ""},
		"two at once": {
			hostile.All(hostile.ExpiresIn(hostile.Missing{}), hostile.Scope("x")), `"scope":"x"`, "expires_in",
		},
		"slow real answer": {hostile.SlowDrip("", time.Microsecond), `"refresh_token"`, ""},
	}
	s := start(t, hostile.Options{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := authorize(t, s)
			s.Script(refreshes(), tt.fault)
			r := refresh(t, s, token)
			if r.err != nil || r.status != http.StatusOK || !strings.Contains(r.body, tt.want) {
				t.Errorf("%d, error %v; the body lacks %q", r.status, r.err, tt.want)
			}
			if tt.never != "" && strings.Contains(r.body, tt.never) {
				t.Errorf("the body holds %q", tt.never)
			}
			if s.Introspect(token) {
				t.Error("the token was not rotated")
			}
		})
	}
}

func TestOmitRefreshTokenLeavesTheOldOneAlive(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	s.Always(record.Filter{Endpoint: record.Token}, hostile.OmitRefreshToken())
	for range 3 {
		r := refresh(t, s, token)
		if _, has := r.fields["refresh_token"]; has || r.text("access_token") == "" {
			t.Fatalf("status %d, refresh token sent: %t", r.status, has)
		}
	}
	if s.Reuse() != 0 || s.MaxUses() != 3 || !s.Introspect(token) {
		t.Errorf("reuse %d, max uses %d", s.Reuse(), s.MaxUses())
	}
}

func TestLoseResponseSpendsTheToken(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	issued := len(s.Issued())
	s.Script(refreshes(), hostile.LoseResponse())
	if r := refresh(t, s, token); r.err == nil {
		t.Fatalf("an answer arrived: %d", r.status)
	}
	waitFor(t, s, 1, record.Filter{GrantType: "refresh_token", Status: record.NoAnswer})
	if s.Introspect(token) || len(s.Issued()) != issued+2 || s.Count(refreshes()) != 1 {
		t.Errorf("token alive %t, %d issued, %d requests", s.Introspect(token), len(s.Issued())-issued, s.Count(refreshes()))
	}
	lost := s.Issued()[len(s.Issued())-1]
	if !s.Introspect(lost) {
		t.Error("the token of the lost answer should live until the old one is reused")
	}
	if r := refresh(t, s, token); r.text("error") != "invalid_grant" || s.Reuse() != 1 {
		t.Errorf("reuse answered %d, counted %d", r.status, s.Reuse())
	}
	if s.Introspect(lost) {
		t.Error("reuse left the family alive")
	}
}

func TestCloseBeforeProcessingSpendsNothing(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	s.Script(refreshes(), hostile.CloseBeforeProcessing())
	if r := refresh(t, s, token); r.err == nil {
		t.Fatalf("an answer arrived: %d", r.status)
	}
	if r := refresh(t, s, token); r.status != http.StatusOK || s.Reuse() != 0 || s.MaxUses() != 2 {
		t.Errorf("second try %d, reuse %d, max uses %d", r.status, s.Reuse(), s.MaxUses())
	}
}

// hanging starts a refresh that meets the fault and returns once it hangs.
func hanging(ctx context.Context, t *testing.T, s *hostile.Server, token string, fault hostile.Fault) <-chan reply {
	t.Helper()
	s.Script(refreshes(), fault)
	done := make(chan reply, 1)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	go func() { done <- do(ctx, s, http.MethodPost, "/token", form.Encode()) }()
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.WaitForHanging(waiting, 1); err != nil {
		t.Fatal(err)
	}
	return done
}

func TestHang(t *testing.T) {
	tests := map[string]struct {
		fault hostile.Fault
		alive bool // the token, while the request hangs
	}{
		"before processing": {hostile.Hang(), true},
		"after processing":  {hostile.HangAnswer(), false},
	}
	s := start(t, hostile.Options{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := authorize(t, s)
			done := hanging(t.Context(), t, s, token, tt.fault)
			if got := s.Introspect(token); got != tt.alive {
				t.Errorf("alive %t while it hangs, want %t", got, tt.alive)
			}
			// Others are served meanwhile.
			next := refresh(t, s, authorize(t, s)).text("refresh_token")
			s.Release()
			if r := <-done; r.status != http.StatusOK {
				t.Errorf("after release: %d, %v", r.status, r.err)
			}

			impatient, cancel := context.WithCancel(t.Context())
			cut := s.Count(record.Filter{Status: record.NoAnswer})
			done = hanging(impatient, t, s, next, tt.fault)
			cancel()
			if r := <-done; r.err == nil {
				t.Error("an answer arrived though the client had given up")
			}
			waitFor(t, s, cut+1, record.Filter{Status: record.NoAnswer})
			if got := s.Introspect(next); got != tt.alive {
				t.Errorf("alive %t after the client gave up, want %t", got, tt.alive)
			}
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	s, err := hostile.Start(hostile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := hanging(t.Context(), t, s, authorize(t, s), hostile.Hang())
	s.Close()
	if r := <-done; r.err == nil {
		t.Errorf("an answer arrived: %d", r.status)
	}
	if s.Hanging() != 0 {
		t.Error("a request hangs after Close")
	}
}

func TestGiantBody(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	const size = 3<<20 + 17
	s.Script(refreshes(), hostile.GiantBody(size))
	r := refresh(t, s, token)
	if len(r.body) != size || r.fields == nil {
		t.Errorf("%d bytes, want %d of JSON", len(r.body), size)
	}
}

func TestWrongIssuer(t *testing.T) {
	s := start(t, hostile.Options{})
	s.Script(record.Filter{Endpoint: record.Discovery},
		hostile.WrongIssuer("https://evil.example"),
		hostile.SetField("token_endpoint", hostile.Missing{}))
	const path = "/.well-known/openid-configuration"
	if r := do(t.Context(), s, http.MethodGet, path, ""); r.text("issuer") != "https://evil.example" {
		t.Errorf("issuer %q", r.text("issuer"))
	}
	if r := do(t.Context(), s, http.MethodGet, path, ""); r.text("token_endpoint") != "" {
		t.Error("the token endpoint is still named")
	}
	if r := do(t.Context(), s, http.MethodGet, path, ""); r.text("issuer") != s.URL || r.text("token_endpoint") == "" {
		t.Error("the document did not recover")
	}
}

func TestDenyConsent(t *testing.T) {
	s := start(t, hostile.Options{})
	s.Script(record.Filter{Endpoint: record.Authorize}, hostile.DenyConsent("access_denied"))
	if _, _, err := s.NewCode("client", "", nil, ""); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("error %v, want access_denied", err)
	}
	authorize(t, s)
}

func TestFaultsOnRevocation(t *testing.T) {
	s := start(t, hostile.Options{})
	token := authorize(t, s)
	form := url.Values{"token": {token}}
	s.Script(record.Filter{Endpoint: record.Revoke}, hostile.Status(503, "", nil), hostile.LoseResponse())
	if r := post(t, s, "/revoke", form); r.status != 503 || !s.Introspect(token) {
		t.Errorf("answered %d, token alive %t", r.status, s.Introspect(token))
	}
	if r := post(t, s, "/revoke", form); r.err == nil || s.Introspect(token) {
		t.Errorf("error %v, token alive %t", r.err, s.Introspect(token))
	}
	if r := post(t, s, "/revoke", form); r.status != http.StatusOK {
		t.Errorf("revoking what is revoked: %d", r.status)
	}
}
