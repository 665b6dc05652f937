// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func introspectionAt(url string) oauth.IntrospectionRequest {
	return oauth.IntrospectionRequest{URL: url, Client: basicClient(), Token: sensitive.New(newAccess), TokenTypeHint: oauth.HintAccessToken}
}

func TestIntrospect(t *testing.T) {
	for _, test := range []struct {
		reason, body string
		want         oauth.Introspection
	}{
		{
			"RFC 7662, 2.2", `{"active":true,"sub":"Z5O3upPC88QrAjx00dis","scope":"read write","exp":1785585600,"client_id":"crm"}`,
			oauth.Introspection{Active: true, Subject: "Z5O3upPC88QrAjx00dis", Scope: []string{"read", "write"}, ScopeGiven: true, ExpiresAt: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)},
		},
		{"the least", `{"active":true}`, oauth.Introspection{Active: true}},
		{"dead; what else it says does not count", `{"active":false,"sub":"x","error":null}`, oauth.Introspection{}},
		{"wrong types", `{"active":true,"sub":{"a":1},"exp":"soon","scope":7}`, oauth.Introspection{Active: true}},
		{"a subject that is the token", `{"active":true,"sub":"` + newAccess + `"}`, oauth.Introspection{Active: true}},
		{"a subject that cannot be shown", `{"active":true,"sub":"a\nb"}`, oauth.Introspection{Active: true}},
	} {
		got, err := newCaller(oauth.Options{}).Introspect(t.Context(), replying(200, "application/json", test.body), introspectionAt("https://provider.test"))
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.reason, err, diff)
		}
	}
}

func TestIntrospectionRequest(t *testing.T) {
	got := capture(t, func(url string, transport http.RoundTripper) error {
		request := introspectionAt(url)
		request.Names = map[string]string{"token": "access_token"}
		request.Headers = []oauth.Header{{Name: "X-Key", Value: sensitive.New("k")}}
		_, err := newCaller(oauth.Options{}).Introspect(t.Context(), roundTripper(func(r *http.Request) (*http.Response, error) {
			if _, err := transport.RoundTrip(r); err != nil {
				return nil, err
			}
			return replying(200, "application/json", `{"active":true}`)(r)
		}), request)
		return err
	})
	if got.body != "access_token="+newAccess+"&token_type_hint=access_token" || got.header.Get("X-Key") != "k" || got.header.Get("Authorization") == "" {
		t.Errorf("%+v", got)
	}
}

// Only an answer that says so declares a token dead.
func TestIntrospectionFailures(t *testing.T) {
	for _, test := range []struct {
		reason, body string
		status       int
		want         oauth.Concern
		says         string
	}{
		{"no verdict", `{"sub":"x"}`, 200, oauth.ConcernTransient, "whether"},
		{"a verdict in words", `{"active":"false"}`, 200, oauth.ConcernTransient, "whether"},
		{"null", `{"active":null}`, 200, oauth.ConcernTransient, "whether"},
		{"half a verdict", `{"active":false`, 200, oauth.ConcernTransient, "breaks off"},
		{"a page", `<html>down</html>`, 200, oauth.ConcernTransient, "neither"},
		{"a signed answer", `e30.e30.x`, 200, oauth.ConcernTransient, "neither"},
		{"nothing", ``, 204, oauth.ConcernTransient, ""},
		{"moved", ``, 302, oauth.ConcernTransient, "redirect"},
		{"away", `{"active":false}`, 503, oauth.ConcernTransient, ""},
		{"busy", ``, 429, oauth.ConcernTransient, ""},
		{"a wrong secret", `{"error":"invalid_client"}`, 401, oauth.ConcernApplication, "invalid_client"},
		{"a refusal that reads like a dead grant", `{"error":"invalid_grant"}`, 400, oauth.ConcernRefused, "invalid_grant"},
		{"an error with a success", `{"error":"invalid_request","active":false}`, 200, oauth.ConcernRefused, "invalid_request"},
		{"no such page", `{"active":false}`, 404, oauth.ConcernRefused, ""},
	} {
		_, err := newCaller(oauth.Options{}).Introspect(t.Context(), replying(test.status, "application/json", test.body), introspectionAt("https://provider.test"))
		if failure := failureOf(t, err); failure.Concern != test.want || !strings.Contains(failure.Error(), test.says) || failure.Sent != oauth.Answered {
			t.Errorf("%s: %s, %s (%v)", test.reason, failure.Concern, failure.Sent, failure)
		}
	}
	request := introspectionAt("https://provider.test")
	request.Token = sensitive.String{}
	if _, err := newCaller(oauth.Options{}).Introspect(t.Context(), replying(200, "", ""), request); failureOf(t, err).Sent != oauth.NotSent {
		t.Error("nothing was asked about")
	}
}
