// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"net/http"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestRevocationsOfProviders(t *testing.T) {
	post := oauth.Client{ID: "crm", Secret: sensitive.New("hush-hush"), Authentication: oauth.ClientSecretPost}
	token := sensitive.New(refreshToken)
	basic := oauth.Client{ID: "crm", Secret: sensitive.New("hush-hush"), Authentication: oauth.ClientSecretBasic}
	const credentials = "Basic Y3JtOmh1c2gtaHVzaA=="
	body := func(parameters ...oauth.Parameter) *[]oauth.Parameter { return &parameters }
	text := func(name, value string) oauth.Parameter {
		return oauth.Parameter{Name: name, Value: sensitive.New(value)}
	}
	for _, test := range []struct {
		reason                            string
		request                           oauth.RevocationRequest
		method, body, kind, authorization string
	}{
		{"GitHub", oauth.RevocationRequest{Client: basic, Method: http.MethodDelete, Format: oauth.FormatJSON, Body: body(text("access_token", refreshToken))}, "DELETE", `{"access_token":"` + refreshToken + `"}`, "application/json", credentials},
		{"Notion", oauth.RevocationRequest{Client: basic, Format: oauth.FormatJSON}, "POST", `{"token":"` + refreshToken + `"}`, "application/json", credentials},
		{"Slack", oauth.RevocationRequest{Client: post, Bearer: true, Body: body()}, "POST", "", "", "Bearer " + refreshToken},
		{"Facebook", oauth.RevocationRequest{Client: post, Method: http.MethodDelete, Bearer: true, Body: body()}, "DELETE", "", "", "Bearer " + refreshToken},
		{"DigitalOcean", oauth.RevocationRequest{Client: post, Bearer: true}, "POST", "token=" + refreshToken, "application/x-www-form-urlencoded", "Bearer " + refreshToken},
		{
			"Square", oauth.RevocationRequest{
				Client: post, Anonymous: true, Format: oauth.FormatJSON, Headers: []oauth.Header{{Name: "Authorization", Value: sensitive.New("Client hush-hush")}},
				Body: body(text("client_id", "crm"), text("access_token", refreshToken)),
			}, "POST", `{"client_id":"crm","access_token":"` + refreshToken + `"}`, "application/json", "Client hush-hush",
		},
		{"Shopify", oauth.RevocationRequest{Client: post, Method: http.MethodDelete, Anonymous: true, Body: body(), Headers: []oauth.Header{{Name: "X-Shopify-Access-Token", Value: token}}}, "DELETE", "", "", ""},
		{"Google", oauth.RevocationRequest{Client: post, Anonymous: true}, "POST", "token=" + refreshToken, "application/x-www-form-urlencoded", ""},
		{"credentials beside a body of the provider's", oauth.RevocationRequest{Client: post, Body: body(text("stripe_user_id", "acct_1"))}, "POST", "stripe_user_id=acct_1&client_id=crm&client_secret=hush-hush", "application/x-www-form-urlencoded", ""},
		{"a body that has the credentials itself", oauth.RevocationRequest{Client: post, Body: body(text("client_id", "other"), text("token", refreshToken))}, "POST", "client_id=other&token=" + refreshToken + "&client_secret=hush-hush", "application/x-www-form-urlencoded", ""},
		{"a body that has them under other names", oauth.RevocationRequest{Client: post, Names: map[string]string{"client_id": "id"}, Body: body(text("id", "other"))}, "POST", "id=other&client_secret=hush-hush", "application/x-www-form-urlencoded", ""},
		{"other names", oauth.RevocationRequest{Client: post, Names: map[string]string{"token": "t", "client_id": "key"}}, "POST", "t=" + refreshToken + "&key=crm&client_secret=hush-hush", "application/x-www-form-urlencoded", ""},
	} {
		t.Run(test.reason, func(t *testing.T) {
			got := capture(t, func(url string, transport http.RoundTripper) error {
				test.request.URL, test.request.Token = url, token
				return newCaller(oauth.Options{}).Revoke(t.Context(), transport, test.request)
			})
			if got.method != test.method || got.body != test.body || got.header.Get("Content-Type") != test.kind || got.header.Get("Authorization") != test.authorization {
				t.Errorf("sent %s %s, %q, Authorization %q", got.method, got.body, got.header.Get("Content-Type"), got.header.Get("Authorization"))
			}
			if test.reason == "Shopify" && got.header.Get("X-Shopify-Access-Token") != refreshToken {
				t.Errorf("headers %v", got.header)
			}
		})
	}
}

func TestRevocationAnswersOfProviders(t *testing.T) {
	slack := mappingOf(t, oauth.MappingOptions{
		ErrorCodes: map[string]string{"token_revoked": "invalid_grant", "190": "invalid_grant"}, SuccessPath: "$.ok", SuccessValue: "true", Error: "$.error.code",
	})
	for _, test := range []struct {
		reason, body string
		status       int
		bearer       bool
		mapping      *oauth.ResponseMapping
		want         oauth.Concern
	}{
		{"401 to the token itself", ``, 401, true, nil, oauth.ConcernGrant},
		{"404 to the token itself", `{"message":"Not Found"}`, 404, true, nil, oauth.ConcernGrant},
		{"403 may be about anything", ``, 403, true, nil, oauth.ConcernRefused},
		{"401 to the client", ``, 401, false, nil, oauth.ConcernRefused},
		{"404: a wrong address", ``, 404, false, nil, oauth.ConcernRefused},
		{"an outage, whoever calls", ``, 503, true, nil, oauth.ConcernTransient},
		{"Slack: revoked before", `{"ok":false,"error":"token_revoked"}`, 200, true, slack, oauth.ConcernGrant},
		{"Slack: another reason", `{"ok":false,"error":"not_allowed"}`, 200, true, slack, oauth.ConcernRefused},
		{"Facebook: gone", `{"error":{"code":190}}`, 400, true, slack, oauth.ConcernGrant},
		{"done", `{"revoked":true}`, 200, true, slack, ""},
		{"done, in silence", ``, 204, true, slack, ""},
	} {
		err := newCaller(oauth.Options{}).Revoke(t.Context(), replying(test.status, "application/json", test.body), oauth.RevocationRequest{
			URL: "https://provider.test", Client: basicClient(), Token: sensitive.New(refreshToken), Bearer: test.bearer, Response: test.mapping,
		})
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.reason, err)
			}
			continue
		}
		if failure := failureOf(t, err); failure.Concern != test.want {
			t.Errorf("%s: %s, want %s (%v)", test.reason, failure.Concern, test.want, failure)
		}
	}
}

func TestUnusableRevocations(t *testing.T) {
	for reason, request := range map[string]oauth.RevocationRequest{
		"a method with a blank": {Method: "GET IT"},
		"a relative URL":        {URL: "/revoke"},
		"a second header":       {Bearer: true, Headers: []oauth.Header{{Name: "Authorization", Value: sensitive.New("x")}}},
	} {
		if request.URL == "" {
			request.URL = "https://provider.test"
		}
		request.Token, request.Client = sensitive.New(refreshToken), basicClient()
		err := newCaller(oauth.Options{}).Revoke(t.Context(), replying(200, "", ""), request)
		if failure := failureOf(t, err); failure.Concern != oauth.ConcernApplication || failure.Sent != oauth.NotSent {
			t.Errorf("%s: %v", reason, failure)
		}
	}
}
