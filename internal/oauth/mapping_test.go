// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// replying is a provider without a network.
func replying(status int, contentType, body string) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Request: r,
			Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

// replyingJSON is an answer that breaks off behind the body when cut is true.
func replyingJSON(body string, cut bool) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		reader := io.Reader(strings.NewReader(body))
		if cut {
			reader = io.MultiReader(reader, broken{})
		}
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(reader),
		}, nil
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func mappingOf(t testing.TB, options oauth.MappingOptions) *oauth.ResponseMapping {
	t.Helper()
	mapping, err := oauth.NewResponseMapping(options)
	if err != nil {
		t.Fatal(err)
	}
	return mapping
}

func codeAt(url string) oauth.TokenRequest {
	return oauth.TokenRequest{URL: url, Client: basicClient(), Grant: oauth.AuthorizationCode(sensitive.New(authCode), sensitive.New(codeVerifier), "")}
}

func finite(d time.Duration) oauth.Lifetime {
	return oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: d}
}

// What providers answer, shortened, and what is to be made of it.
func TestProviders(t *testing.T) {
	never := oauth.Lifetime{Kind: oauth.LifetimeNever}
	slack := oauth.MappingOptions{
		AccessToken: "$..access_token", RefreshToken: "$..refresh_token", ExpiresIn: "$..expires_in", Scope: "$..scope",
		SuccessPath: "$.ok", SuccessValue: "true", Subject: "$.team.id", DefaultLifetime: never,
		Capture: map[string]string{"bot": "$.bot_user_id", "user": "$.authed_user.id", "none": "$.enterprise.id"},
	}
	for _, test := range []struct {
		reason, contentType, body string
		options                   oauth.MappingOptions
		want                      oauth.TokenResponse
	}{
		{
			"Slack, a bot's token before the user's", "application/json",
			`{"ok":true,"authed_user":{"id":"U1","scope":"x:read","access_token":"xoxp-1","token_type":"user"},"access_token":"xoxb-1","token_type":"bot",
			"scope":"chat:write,users:read","bot_user_id":"B1","team":{"id":"T1","name":"Acme"},"enterprise":null}`,
			slack,
			oauth.TokenResponse{
				AccessToken: sensitive.New("xoxb-1"), TokenType: "bot", Scope: []string{"chat:write", "users:read"}, ScopeGiven: true,
				ExpiresIn: never, Subject: "T1", Captured: map[string]string{"bot": "B1", "user": "U1"},
			},
		},
		{
			"Slack, a user's token with rotation", "application/json",
			`{"ok":true,"authed_user":{"id":"U1","scope":"x:read","access_token":"xoxe.xoxp-1","refresh_token":"xoxe-1","expires_in":43200},"team":{"id":"T1"}}`,
			slack,
			oauth.TokenResponse{
				AccessToken: sensitive.New("xoxe.xoxp-1"), RefreshToken: sensitive.New("xoxe-1"), TokenType: "Bearer",
				Scope: []string{"x:read"}, ScopeGiven: true, ExpiresIn: finite(12 * time.Hour), Subject: "T1", Captured: map[string]string{"user": "U1"},
			},
		},
		{
			"GitHub, a form", "application/x-www-form-urlencoded; charset=utf-8", "access_token=gho_1&scope=repo%2Cgist&token_type=bearer",
			oauth.MappingOptions{DefaultLifetime: never, AccessToken: "$.access_token"},
			oauth.TokenResponse{
				AccessToken: sensitive.New("gho_1"), TokenType: "Bearer", Scope: []string{"repo", "gist"}, ScopeGiven: true, ExpiresIn: never,
			},
		},
		{
			"Salesforce, no lifetime", "application/json",
			`{"access_token":"00D!1","refresh_token":"5Aep1","signature":"x=","scope":"refresh_token api","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer","issued_at":"1785585600000"}`,
			oauth.MappingOptions{DefaultLifetime: finite(time.Hour), Subject: "$.id", Capture: map[string]string{"instance_url": "$.instance_url"}},
			oauth.TokenResponse{
				AccessToken: sensitive.New("00D!1"), RefreshToken: sensitive.New("5Aep1"), TokenType: "Bearer", Scope: []string{"refresh_token", "api"}, ScopeGiven: true,
				ExpiresIn: finite(time.Hour), Subject: "https://login.salesforce.com/id/00D/005", Captured: map[string]string{"instance_url": "https://acme.my.salesforce.com"},
			},
		},
		{
			"Mailchimp, a lifetime of nothing means for ever", "application/json", `{"access_token":"m1","expires_in":0,"scope":null}`,
			oauth.MappingOptions{DefaultLifetime: never},
			oauth.TokenResponse{AccessToken: sensitive.New("m1"), TokenType: "Bearer", ExpiresIn: never},
		},
		{
			"Square, a date of expiry", "application/json",
			`{"access_token":"EAAA1","token_type":"bearer","expires_at":"2026-08-31T12:00:00Z","merchant_id":"M1","refresh_token":"EQAA1","short_lived":false}`,
			oauth.MappingOptions{ExpiresAt: "$.expires_at", Subject: "$.merchant_id", Capture: map[string]string{"short_lived": "$.short_lived"}},
			oauth.TokenResponse{
				AccessToken: sensitive.New("EAAA1"), RefreshToken: sensitive.New("EQAA1"), TokenType: "Bearer", ExpiresIn: finite(30 * 24 * time.Hour),
				Subject: "M1", Captured: map[string]string{"short_lived": "false"},
			},
		},
		{
			"Intercom, the same token twice", "application/json", `{"token_type":"Bearer","token":"dG9r1","access_token":"dG9r1"}`,
			oauth.MappingOptions{AccessToken: "$['access_token','token']", DefaultLifetime: never},
			oauth.TokenResponse{AccessToken: sensitive.New("dG9r1"), TokenType: "Bearer", ExpiresIn: never},
		},
		{
			"Intercom, under another name", "application/json", `{"token":"dG9r1"}`,
			oauth.MappingOptions{AccessToken: "$['access_token','token']", DefaultLifetime: never},
			oauth.TokenResponse{AccessToken: sensitive.New("dG9r1"), TokenType: "Bearer", ExpiresIn: never},
		},
		{
			"Notion", "application/json",
			`{"access_token":"ntn_1","token_type":"bearer","refresh_token":"nrt_1","bot_id":"b-1","workspace_id":"w-1","owner":{"type":"user","user":{"object":"user","id":"u-1"}},"duplicated_template_id":null}`,
			oauth.MappingOptions{DefaultLifetime: never, ID: "$.bot_id", Subject: "$.workspace_id", Capture: map[string]string{"user": "$.owner.user.id", "template": "$.duplicated_template_id"}},
			oauth.TokenResponse{
				AccessToken: sensitive.New("ntn_1"), RefreshToken: sensitive.New("nrt_1"), TokenType: "Bearer",
				ID: "b-1", Subject: "w-1", Captured: map[string]string{"user": "u-1"},
			},
		},
		{
			"Increase", "application/json", `{"access_token":"inc_1","token_type":"bearer","group_id":"group_1","type":"oauth_token"}`,
			oauth.MappingOptions{DefaultLifetime: never, Subject: "$.group_id", Capture: map[string]string{"group_id": "$.group_id"}},
			oauth.TokenResponse{
				AccessToken: sensitive.New("inc_1"), TokenType: "Bearer", ExpiresIn: never, Subject: "group_1", Captured: map[string]string{"group_id": "group_1"},
			},
		},
		{
			"Zoho, with a lifetime of its own", "application/json;charset=UTF-8",
			`{"access_token":"1000.1","refresh_token":"1000.2","api_domain":"https://www.zohoapis.eu","token_type":"Bearer","expires_in":3600}`,
			oauth.MappingOptions{Capture: map[string]string{"api_domain": "$.api_domain"}},
			oauth.TokenResponse{
				AccessToken: sensitive.New("1000.1"), RefreshToken: sensitive.New("1000.2"), TokenType: "Bearer", ExpiresIn: finite(time.Hour),
				Captured: map[string]string{"api_domain": "https://www.zohoapis.eu"},
			},
		},
		{
			"QuickBooks, the second lifetime elsewhere", "application/json", `{"access_token":"q1","refresh_token":"q2","expires_in":3600,"x":{"ttl":"7200"}}`,
			oauth.MappingOptions{RefreshTokenExpiresIn: "$.x.ttl"},
			oauth.TokenResponse{
				AccessToken: sensitive.New("q1"), RefreshToken: sensitive.New("q2"), TokenType: "Bearer", ExpiresIn: finite(time.Hour), RefreshTokenExpiresIn: finite(2 * time.Hour),
			},
		},
		{
			"Docusign, a filter", "application/json", `{"access_token":"d1","accounts":[{"id":"1","is_default":false},{"id":"2","is_default":true}]}`,
			oauth.MappingOptions{Capture: map[string]string{"account": "$.accounts[?@.is_default == true].id"}},
			oauth.TokenResponse{AccessToken: sensitive.New("d1"), TokenType: "Bearer", Captured: map[string]string{"account": "2"}},
		},
		{
			"OpenID Connect", "application/json", `{"access_token":"o1","id_token":"e30.e30.x","token_type":"Bearer","scope":"openid"}`,
			oauth.MappingOptions{},
			oauth.TokenResponse{
				AccessToken: sensitive.New("o1"), IDToken: sensitive.New("e30.e30.x"), TokenType: "Bearer", Scope: []string{"openid"}, ScopeGiven: true,
			},
		},
		{
			"data around everything; a list of scopes; a type of its own", "application/json",
			`{"code":0,"data":{"tok":"t1","again":"t2","kind":"mac","ttl":"60","scopes":["a","b"]},"message":"success"}`,
			oauth.MappingOptions{
				AccessToken: "$.data.tok", RefreshToken: "$.data.again", TokenType: "$.data.kind", ExpiresIn: "$.data.ttl", Scope: "$.data.scopes",
				Error: "$.code", ErrorDescription: "$.message",
			},
			oauth.TokenResponse{
				AccessToken: sensitive.New("t1"), RefreshToken: sensitive.New("t2"), TokenType: "mac", ExpiresIn: finite(time.Minute), Scope: []string{"a", "b"}, ScopeGiven: true,
			},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			request := codeAt("https://provider.test/token")
			request.Response = mappingOf(t, test.options)
			got, err := newCaller(oauth.Options{}).Token(t.Context(), replying(200, test.contentType, test.body), request)
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// How providers refuse, and whom it concerns.
func TestProviderRefusals(t *testing.T) {
	const grant, application, refused, transient = oauth.ConcernGrant, oauth.ConcernApplication, oauth.ConcernRefused, oauth.ConcernTransient
	slack := oauth.MappingOptions{
		SuccessPath: "$.ok", SuccessValue: "true",
		ErrorCodes: map[string]string{"invalid_code": "invalid_grant", "bad_client_secret": "invalid_client", "ratelimited": "temporarily_unavailable"},
	}
	github := oauth.MappingOptions{ErrorCodes: map[string]string{"bad_refresh_token": "invalid_grant", "incorrect_client_credentials": "invalid_client"}}
	facebook := oauth.MappingOptions{
		Error: "$.error.code", ErrorDescription: "$.error.message", ErrorCodes: map[string]string{"190": "invalid_grant", "4": "temporarily_unavailable"},
	}
	for _, test := range []struct {
		reason      string
		status      int
		contentType string
		body        string
		options     oauth.MappingOptions
		concern     oauth.Concern
		code, own   string
		says        string
	}{
		{"Slack", 200, "application/json", `{"ok":false,"error":"invalid_code"}`, slack, grant, "invalid_grant", "invalid_code", ""},
		{"Slack's client", 200, "application/json", `{"ok":false,"error":"bad_client_secret"}`, slack, application, "invalid_client", "bad_client_secret", ""},
		{"Slack is busy", 200, "application/json", `{"ok":false,"error":"ratelimited"}`, slack, transient, "temporarily_unavailable", "ratelimited", ""},
		{"Slack says no more than no", 200, "application/json", `{"ok":false}`, slack, refused, "", "", "does not say that it is a success"},
		{"Slack says nothing at all", 200, "application/json", `{}`, slack, refused, "", "", "does not say that it is a success"},
		{"Slack says no, and gives a token", 200, "application/json", `{"ok":false,"error":"invalid_code","access_token":"a"}`, slack, grant, "invalid_grant", "invalid_code", ""},
		{"GitHub", 200, "application/json", `{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}`, github, grant, "invalid_grant", "bad_refresh_token", "incorrect or expired"},
		{"GitHub, a form", 200, "application/x-www-form-urlencoded", "error=incorrect_client_credentials&error_description=The+client_id+is+wrong", github, application, "invalid_client", "incorrect_client_credentials", "is wrong"},
		{"GitHub, a code without translation", 200, "application/json", `{"error":"redirect_uri_mismatch"}`, github, refused, "redirect_uri_mismatch", "", ""},
		{"Facebook", 400, "application/json", `{"error":{"message":"The session has expired","type":"OAuthException","code":190,"error_subcode":463}}`, facebook, grant, "invalid_grant", "190", "session has expired"},
		{"Facebook is busy", 400, "application/json", `{"error":{"message":"Too many calls","code":4}}`, facebook, transient, "temporarily_unavailable", "4", "Too many"},
		{"Facebook, another one", 400, "application/json", `{"error":{"message":"no","code":1}}`, facebook, refused, "1", "", "no"},
		{"Facebook, without its mapping", 400, "application/json", `{"error":{"message":"The session has expired","type":"OAuthException","code":190}}`, oauth.MappingOptions{}, refused, "OAuthException", "", "session has expired"},
		{"Zoho", 200, "application/json", `{"error":"invalid_code"}`, oauth.MappingOptions{ErrorCodes: map[string]string{"invalid_code": "invalid_grant"}}, grant, "invalid_grant", "invalid_code", ""},
		{"an error where the standard has it, in spite of a mapping", 400, "application/json", `{"error":"invalid_grant"}`, facebook, grant, "invalid_grant", "", ""},
		{"a truth value is no code", 400, "application/json", `{"failed":true,"message":"no"}`, oauth.MappingOptions{Error: "$.failed"}, refused, "", "", "no"},
		{"a translated challenge", 401, "text/plain", "", github, refused, "", "", "without an OAuth error"},
		{"a translation does not make an outage definite", 503, "application/json", `{"error":"bad_refresh_token"}`, github, transient, "invalid_grant", "bad_refresh_token", ""},
		{"a number that means an error", 200, "application/json", `{"errcode":40029,"errmsg":"invalid code"}`, oauth.MappingOptions{Error: "$.errcode", ErrorDescription: "$.errmsg", ErrorCodes: map[string]string{"40029": "invalid_grant"}}, grant, "invalid_grant", "40029", "invalid code"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			request := refreshAt("https://provider.test/token")
			request.Response = mappingOf(t, test.options)
			_, err := newCaller(oauth.Options{}).Token(t.Context(), replying(test.status, test.contentType, test.body), request)
			failure := failureOf(t, err)
			if failure.Concern != test.concern || failure.Code != test.code || failure.ProviderCode != test.own || !strings.Contains(failure.Description, test.says) {
				t.Errorf("%s %q %q %q", failure.Concern, failure.Code, failure.ProviderCode, failure.Description)
			}
			if failure.Sent != oauth.Answered || !strings.Contains(failure.Error(), test.own) {
				t.Errorf("sent %s: %v", failure.Sent, failure)
			}
		})
	}
}

// A success that says so is one, whatever else it holds.
func TestSuccessThatSaysSo(t *testing.T) {
	request := codeAt("https://provider.test/token")
	request.Response = mappingOf(t, oauth.MappingOptions{SuccessPath: "$.error.code", SuccessValue: "ok"})
	got, err := newCaller(oauth.Options{}).Token(t.Context(), replying(200, "application/json", `{"access_token":"a","error":{"code":"ok","message":""}}`), request)
	if err != nil || got.AccessToken.Reveal() != "a" {
		t.Errorf("%v, %v", got, err)
	}
}

// Rule: a refresh token in an answer that is otherwise broken comes back with the error, wherever the provider puts it.
func TestBrokenAnswersUnderMapping(t *testing.T) {
	options := oauth.MappingOptions{
		AccessToken: "$.user.access_token", RefreshToken: "$.user.refresh_token", SuccessPath: "$.ok", SuccessValue: "true",
		Capture: map[string]string{"id": "$.user.id"},
	}
	for _, test := range []struct {
		reason, body    string
		cut             bool
		access, refresh string
		sent            oauth.Outcome // Empty: no error.
	}{
		{"whole", `{"ok":true,"user":{"refresh_token":"r-1","access_token":"a-1"}}`, false, "a-1", "r-1", ""},
		{"cut off inside the object", `{"user":{"refresh_token":"r-1","access_tok`, true, "", "r-1", oauth.Unknown},
		{"cut off inside the access token", `{"ok":true,"user":{"refresh_token":"r-1","access_token":"a-`, true, "", "r-1", oauth.Unknown},
		{"cut off behind both, before it says that it is a success", `{"user":{"refresh_token":"r-1","access_token":"a-1"}`, true, "a-1", "r-1", ""},
		{"cut off behind the access token", `{"ok":true,"user":{"access_token":"a-1"`, true, "a-1", "", oauth.Unknown},
		{"a refusal with a token", `{"ok":false,"error":"x","user":{"refresh_token":"r-1"}}`, false, "", "r-1", oauth.Answered},
		{"an access token of a wrong type", `{"ok":true,"user":{"access_token":true,"refresh_token":"r-1"}}`, false, "", "r-1", oauth.Unknown},
		{"malformed behind it", `{"ok":true,"user":{"refresh_token":"r-1",,"access_token":"a-1"}}`, false, "", "r-1", oauth.Unknown},
		{"too deep for the rest", `{"ok":true,"user":{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"refresh_token":"r-1","access_token":"a-1"}}`, false, "a-1", "r-1", ""},
		{"too many values before it", `{"pad":[1` + strings.Repeat(",1", 100_000) + `],"ok":true,"user":{"refresh_token":"r-1","access_token":"a-1"}}`, false, "a-1", "r-1", ""},
	} {
		t.Run(test.reason, func(t *testing.T) {
			request := refreshAt("https://provider.test/token")
			request.Response = mappingOf(t, options)
			got, err := newCaller(oauth.Options{}).Token(t.Context(), replyingJSON(test.body, test.cut), request)
			if got.AccessToken.Reveal() != test.access || got.RefreshToken.Reveal() != test.refresh {
				t.Errorf("tokens %q, %q (%v)", got.AccessToken.Reveal(), got.RefreshToken.Reveal(), err)
			}
			if test.sent == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if failure := failureOf(t, err); failure.Sent != test.sent {
				t.Errorf("sent %s, want %s (%v)", failure.Sent, test.sent, failure)
			}
		})
	}
}
