// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestParseLifetime(t *testing.T) {
	finite := func(d time.Duration) oauth.Lifetime { return oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: d} }
	never, unknown := oauth.Lifetime{Kind: oauth.LifetimeNever}, oauth.Lifetime{}
	for raw, want := range map[string]oauth.Lifetime{
		`3600`: finite(time.Hour), `"3600"`: finite(time.Hour), `" 3600 "`: finite(time.Hour), `"+60"`: finite(time.Minute),
		`3599.9`: finite(3599 * time.Second), `"60.5"`: finite(time.Minute), `3.6e3`: finite(time.Hour), `1`: finite(time.Second),
		`315360000`: finite(10 * 365 * 24 * time.Hour), `315360001`: never, `1e30`: never, `9223372036854775808`: never,
		`"99999999999999999999"`: never, `1e999`: never,
		``: unknown, `null`: unknown, `0`: unknown, `0.5`: unknown, `-1`: unknown, `"-3600"`: unknown, `-0`: unknown, `"NaN"`: unknown,
		`"Inf"`: unknown, `"infinity"`: unknown, `""`: unknown, `"soon"`: unknown, `"1h"`: unknown, `true`: unknown, `[3600]`: unknown,
		`{"seconds":1}`: unknown, `"0x10"`: unknown, `"1_000"`: unknown, `"3600,5"`: unknown, `1e-5`: unknown, `1e999999999999`: unknown,
		`"` + strings.Repeat("9", 1000) + `"`: unknown, `"--5"`: unknown, `"e"`: unknown,
	} {
		if got := oauth.ParseLifetime(json.RawMessage(raw)); got != want {
			t.Errorf("ParseLifetime(%s) = %+v, want %+v", raw, got, want)
		}
	}
	if at := finite(time.Hour).ExpiresAt(testNow()); !at.Equal(testNow().Add(time.Hour)) || !never.ExpiresAt(testNow()).IsZero() || !unknown.ExpiresAt(testNow()).IsZero() {
		t.Error("ExpiresAt is wrong")
	}
}

func TestParseTokenResponse(t *testing.T) {
	hour := oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: time.Hour}
	access := oauth.TokenResponse{AccessToken: sensitive.New("a"), TokenType: "Bearer"}
	with := func(edit func(*oauth.TokenResponse)) oauth.TokenResponse {
		response := access
		edit(&response)
		return response
	}
	both := with(func(r *oauth.TokenResponse) { r.RefreshToken = sensitive.New("r") })
	onlyRefresh := oauth.TokenResponse{RefreshToken: sensitive.New("r"), TokenType: "Bearer"}
	tests := []struct {
		reason, contentType, body string
		want                      oauth.TokenResponse
		broken                    bool
	}{
		{
			"everything", "application/json", `{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"r","scope":"x y","refresh_token_expires_in":"3600"}`,
			oauth.TokenResponse{AccessToken: sensitive.New("a"), RefreshToken: sensitive.New("r"), TokenType: "Bearer", Scope: []string{"x", "y"}, ScopeGiven: true, ExpiresIn: hour, RefreshTokenExpiresIn: hour},
			false,
		},
		{"the least", "application/json", `{"access_token":"a"}`, access, false},
		{"a type of its own", "application/json", `{"access_token":"a","token_type":"DPoP"}`, with(func(r *oauth.TokenResponse) { r.TokenType = "DPoP" }), false},
		{"BEARER", "application/json", `{"access_token":"a","token_type":"BEARER"}`, access, false},
		{"commas between scopes, one twice", "application/json", `{"access_token":"a","scope":"x,y, x"}`, with(func(r *oauth.TokenResponse) { r.Scope, r.ScopeGiven = []string{"x", "y"}, true }), false},
		{"a list of scopes", "application/json", `{"access_token":"a","scope":["x","y"]}`, with(func(r *oauth.TokenResponse) { r.Scope, r.ScopeGiven = []string{"x", "y"}, true }), false},
		{"no scope granted", "application/json", `{"access_token":"a","scope":""}`, with(func(r *oauth.TokenResponse) { r.ScopeGiven = true }), false},
		{"a scope that says nothing", "application/json", `{"access_token":"a","scope":null}`, access, false},
		{"a scope of a wrong type", "application/json", `{"access_token":"a","scope":7}`, access, false},
		{"members of wrong types lose nothing", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":{"a":1},"token_type":[],"scope":{}}`, both, false},
		{"Keycloak's name for the second lifetime", "application/json", `{"access_token":"a","refresh_expires_in":3600}`, with(func(r *oauth.TokenResponse) { r.RefreshTokenExpiresIn = hour }), false},
		{"null instead of a refresh token", "application/json", `{"access_token":"a","refresh_token":null}`, access, false},
		{"a number for a token", "application/json", `{"access_token":12345678901234567890}`, with(func(r *oauth.TokenResponse) { r.AccessToken = sensitive.New("12345678901234567890") }), false},
		{"the last of two members counts", "application/json", `{"access_token":"x","access_token":"a"}`, access, false},
		{"names are told apart by case", "application/json", `{"Access_Token":"x","access_token":"a","ACCESS_TOKEN":"y"}`, access, false},
		{"a byte order mark", "application/json", "\xef\xbb\xbf {\"access_token\":\"a\"}", access, false},
		{"garbage behind the object", "application/json", `{"access_token":"a","refresh_token":"r"} </html>`, both, false},
		{"a second object", "application/json", `{"access_token":"a"}{"access_token":"b"}`, access, false},
		{"JSON with a wrong content type", "text/html; charset=utf-8", `{"access_token":"a"}`, access, false},
		{"JSON with a broken content type", ";;", `{"access_token":"a"}`, access, false},
		{
			"a form", "application/x-www-form-urlencoded; charset=utf-8", "access_token=a&refresh_token=r&expires_in=3600&scope=x+y",
			with(func(r *oauth.TokenResponse) {
				r.RefreshToken, r.ExpiresIn, r.Scope, r.ScopeGiven = sensitive.New("r"), hour, []string{"x", "y"}, true
			}), false,
		},
		{"a form as plain text", "text/plain", "access_token=a\n", access, false},
		{"broken: no access token, the refresh token is kept", "application/json", `{"refresh_token":"r"}`, onlyRefresh, true},
		{"broken: blank access token", "application/json", `{"access_token":" ","refresh_token":"r"}`, onlyRefresh, true},
		{"broken: an object for the access token", "application/json", `{"access_token":{},"refresh_token":"r"}`, onlyRefresh, true},
		{"broken off behind the refresh token", "application/json", `{"refresh_token":"r","access_tok`, onlyRefresh, true},
		{"broken off inside the refresh token", "application/json", `{"access_token":"a","refresh_token":"r`, access, true},
		{"broken off behind both", "application/json", `{"access_token":"a","refresh_token":"r","scope":"x`, both, false},
		{"broken in the middle", "application/json", `{"access_token":"a","refresh_token":"r",,}`, both, false},
		{"too deep", "application/json", `{"refresh_token":"r","x":` + strings.Repeat("[", 20000), onlyRefresh, true},
		{"empty", "application/json", "", oauth.TokenResponse{}, true},
		{"an empty object", "application/json", "{}", oauth.TokenResponse{TokenType: "Bearer"}, true},
		{"a list", "application/json", `[{"access_token":"a"}]`, oauth.TokenResponse{}, true},
		{"a page", "text/html", "<html><a href='/?a=b&access_token=a'>sign in</a></html>", oauth.TokenResponse{}, true},
		{"a form where JSON was promised", "application/json", "access_token=a", oauth.TokenResponse{}, true},
		{"a text", "text/plain", "OK", oauth.TokenResponse{}, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got, err := oauth.ParseTokenResponse(test.contentType, []byte(test.body))
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != test.broken {
				t.Errorf("err = %v, want broken %t\n%s", err, test.broken, diff)
			}
		})
	}
}

func TestScopesAreBounded(t *testing.T) {
	var numbered []string
	for i := range 100_000 {
		numbered = append(numbered, fmt.Sprintf("s%d", i))
	}
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		reason string
		scope  string
		want   int
		last   string
	}{
		{"too many", strings.Join(numbered, " "), 1000, "s999"},
		{"the same one often", strings.Repeat("a b ", 100_000), 2, "b"},
		{"too long together", strings.Repeat(long+"1 "+long+"2 ", 10) + strings.Join(manyOf(long, 100), " "), 32, long + "-29"},
		{"one that is too long ends it", "y " + strings.Repeat("x", 33<<10) + " z", 1, "y"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			got, err := oauth.ParseTokenResponse("application/json", []byte(`{"access_token":"a","scope":"`+test.scope+`"}`))
			if err != nil || !got.ScopeGiven || len(got.Scope) != test.want || got.Scope[len(got.Scope)-1] != test.last {
				t.Errorf("%d scopes, %v; want %d, the last one %.10s", len(got.Scope), err, test.want, test.last)
			}
		})
	}
}

func manyOf(prefix string, n int) []string {
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("%s-%d", prefix, i))
	}
	return values
}

// TestNoAccessTokenSaysWhatThereIs : a path that finds nothing is a mistake that somebody has to find.
func TestNoAccessTokenSaysWhatThereIs(t *testing.T) {
	mapping, err := oauth.NewResponseMapping(oauth.MappingOptions{AccessToken: "$.data.token"})
	if err != nil {
		t.Fatal(err)
	}
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"canary","token_type":"bearer"}`)
	})
	_, err = oauth.NewCaller(testNow, oauth.Options{}).Token(t.Context(), transport(t), oauth.TokenRequest{
		URL: server.URL, Client: oauth.Client{ID: "crm", Authentication: oauth.None}, Grant: oauth.ClientCredentials(""), Response: mapping,
	})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"$.data.token", "access_token, token_type"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}
