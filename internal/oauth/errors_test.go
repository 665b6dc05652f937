// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/retryafter"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestRefusals(t *testing.T) {
	const grant, application, refused, transient = oauth.ConcernGrant, oauth.ConcernApplication, oauth.ConcernRefused, oauth.ConcernTransient
	tests := []struct {
		reason  string
		answer  http.HandlerFunc
		concern oauth.Concern
		code    string
		says    string
	}{
		{"RFC 6749, 5.2", answering(400, `{"error":"invalid_grant","error_description":"expired"}`), grant, "invalid_grant", "expired"},
		{"go-oauth2's status", answering(401, `{"error":"invalid_grant"}`), grant, "invalid_grant", ""},
		{"403", answering(403, `{"error":"invalid_grant"}`), grant, "invalid_grant", ""},
		{"a success that is none", answering(200, `{"error":"invalid_grant"}`), grant, "invalid_grant", ""},
		{"the same as a form", answering(200, "error=invalid_grant&error_description=too+old", "Content-Type", "text/plain"), grant, "invalid_grant", "too old"},
		{"an object", answering(400, `{"error":{"code":"invalid_grant","message":"gone"}}`), grant, "invalid_grant", "gone"},
		{"an object with a type", answering(401, `{"error":{"type":"invalid_client","code":401,"message":"who?"}}`), application, "invalid_client", "who?"},
		{"a truncated body", answering(400, `{"error":"invalid_grant","error_descr`), grant, "invalid_grant", ""},
		{"JSON called HTML", answering(400, `{"error":"invalid_grant"}`, "Content-Type", "text/html"), grant, "invalid_grant", ""},
		{"WWW-Authenticate without a body", answering(401, "", "WWW-Authenticate", `Bearer realm="a, error=x", error="invalid_grant", error_description="it \"died\""`), grant, "invalid_grant", `it "died"`},
		{"the body counts before the header", answering(401, `{"error":"invalid_client"}`, "WWW-Authenticate", `Bearer error="invalid_grant"`), application, "invalid_client", ""},

		{"a wrong secret", answering(401, `{"error":"invalid_client"}`), application, "invalid_client", ""},
		{"a wrong secret, 400", answering(400, `{"error":"invalid_client"}`), application, "invalid_client", ""},
		{"a wrong secret, 403", answering(403, `{"error":"unauthorized_client"}`), application, "unauthorized_client", ""},
		{"a grant type that is off", answering(400, `{"error":"unsupported_grant_type"}`), application, "unsupported_grant_type", ""},

		{"how some say that a token is dead", answering(400, `{"error":"invalid_request"}`), refused, "invalid_request", ""},
		{"a scope", answering(400, `{"error":"invalid_scope"}`), refused, "invalid_scope", ""},
		{"a code of the provider's own", answering(200, `{"error":"bad_refresh_token"}`), refused, "bad_refresh_token", ""},
		{"401 without a word", answering(401, ""), refused, "", "without an OAuth error"},
		{"403 with a page", answering(403, "<html>error=invalid_grant</html>", "Content-Type", "text/html"), refused, "", "without an OAuth error"},
		{"404 with a message", answering(404, `{"message":"no such tenant"}`), refused, "", "no such tenant"},
		{"null is no error", answering(400, `{"error":null}`), refused, "", "without an OAuth error"},
		{"true says nothing", answering(400, `{"error":true,"error_description":"no"}`), refused, "", "no"},

		{"408", answering(408, `{"error":"invalid_grant"}`), transient, "invalid_grant", ""},
		{"429", answering(429, ""), transient, "", ""},
		{"500 whatever it says", answering(500, `{"error":"invalid_grant"}`), transient, "invalid_grant", ""},
		{"502 with a page", answering(502, "<html>", "Content-Type", "text/html"), transient, "", ""},
		{"503", answering(503, ""), transient, "", ""},
		{"a server error with a client's status", answering(400, `{"error":"server_error"}`), transient, "server_error", ""},
		{"away", answering(400, `{"error":"temporarily_unavailable"}`), transient, "temporarily_unavailable", ""},
		{"slow down", answering(400, `{"error":"slow_down"}`), transient, "slow_down", ""},
		{"a redirect", answering(307, "", "Location", "https://elsewhere.example/"), transient, "", "redirect"},
		{"a redirect without an aim", answering(302, ""), transient, "", "redirect"},
		{"not modified", answering(304, ""), transient, "", "redirect"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			server, hits := serve(t, test.answer)
			got, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), refreshAt(server.URL))
			failure := failureOf(t, err)
			if failure.Concern != test.concern || failure.Code != test.code || !strings.Contains(failure.Description, test.says) {
				t.Errorf("got %s %q %q, want %s %q %q", failure.Concern, failure.Code, failure.Description, test.concern, test.code, test.says)
			}
			if failure.Sent != oauth.Answered || failure.Status == 0 || !strings.Contains(failure.Error(), fmt.Sprint(failure.Status)) {
				t.Errorf("sent %s, status %d, text %q", failure.Sent, failure.Status, failure)
			}
			if hits.Load() != 1 || !got.IsEmpty() {
				t.Errorf("%d requests, want 1; response %+v", hits.Load(), got)
			}
		})
	}
}

func TestRevocationAnswers(t *testing.T) {
	const fine oauth.Concern = ""
	for _, test := range []struct {
		reason string
		answer http.HandlerFunc
		want   oauth.Concern
	}{
		{"RFC 7009, 2.2", answering(200, ""), fine},
		{"no content", answering(204, ""), fine},
		{"the body has no meaning", answering(200, "<html>error=x</html>"), fine},
		{"an empty object", answering(200, `{}`), fine},
		{"no error", answering(200, `{"error":null}`), fine},
		{"no error, as a number", answering(200, `{"error":0}`), fine},
		{"no errors", answering(200, `{"error":[]}`), fine},
		{"a success that is none", answering(200, `{"error":"invalid_client"}`), oauth.ConcernApplication},
		{"a token that was dead already", answering(400, `{"error":"invalid_token"}`), oauth.ConcernGrant},
		{"the same, by another name", answering(400, `{"error":"invalid_grant"}`), oauth.ConcernGrant},
		{"a kind that cannot be revoked", answering(400, `{"error":"unsupported_token_type"}`), oauth.ConcernRefused},
		{"a wrong secret", answering(401, `{"error":"invalid_client"}`), oauth.ConcernApplication},
		{"busy", answering(503, "", "Retry-After", "5"), oauth.ConcernTransient},
		{"moved", answering(301, "", "Location", "/"), oauth.ConcernTransient},
	} {
		t.Run(test.reason, func(t *testing.T) {
			server, hits := serve(t, test.answer)
			err := newCaller(oauth.Options{}).Revoke(t.Context(), transport(t), oauth.RevocationRequest{
				URL: server.URL, Client: basicClient(), Token: sensitive.New(refreshToken),
			})
			if hits.Load() != 1 {
				t.Errorf("%d requests, want 1", hits.Load())
			}
			if test.want == fine {
				if err != nil {
					t.Errorf("err = %v", err)
				}
				return
			}
			if failure := failureOf(t, err); failure.Concern != test.want {
				t.Errorf("concern %s, want %s (%v)", failure.Concern, test.want, failure)
			}
		})
	}
}

func TestRetryAfterOfAnyFailure(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"30": 30 * time.Second, "Sat, 01 Aug 2026 12:00:45 GMT": 45 * time.Second, "86400": retryafter.Max, "soon": 0,
	} {
		for _, status := range []int{200, 400, 429, 503} {
			server, _ := serve(t, answering(status, "", "Retry-After", value))
			_, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), refreshAt(server.URL))
			if failure := failureOf(t, err); failure.RetryAfter != want {
				t.Errorf("Retry-After %q with %d: %s, want %s", value, status, failure.RetryAfter, want)
			}
		}
	}
}

// A provider that repeats what it was sent, or what it issues, must not get it into a status.
func TestErrorsHideWhatWasSent(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		everything := fmt.Sprint(r.Header.Get("Authorization"), " ", r.PostForm, " ", r.PostForm.Encode())
		answering(400, fmt.Sprintf(`{"error":%q,"error_description":%q,"access_token":%q,"refresh_token":%q}`,
			"bad_"+r.PostForm.Get("refresh_token"), everything+" "+newAccess+" "+newRefresh, newAccess, newRefresh))(w, r)
	}
	server, _ := serve(t, echo)
	for _, method := range []oauth.AuthenticationMethod{oauth.ClientSecretBasic, oauth.ClientSecretPost} {
		client := oauth.Client{ID: "crm", Secret: sensitive.New(clientSecret), Authentication: method}
		for _, grant := range []oauth.Grant{
			oauth.RefreshToken(sensitive.New(refreshToken), ""),
			oauth.AuthorizationCode(sensitive.New(authCode), sensitive.New(codeVerifier), "https://app.example/cb"),
		} {
			_, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), oauth.TokenRequest{
				URL: server.URL, Client: client, Grant: grant,
				Parameters: []oauth.Parameter{{Name: "api_key", Value: sensitive.New(newAccess + "-key")}},
			})
			failure := failureOf(t, err)
			for _, secret := range []string{"czNjcmV0", "s3cret%3A", newAccess + "-key", "-key"} {
				if strings.Contains(failure.Error(), secret) {
					t.Errorf("%q is in %q", secret, failure)
				}
			}
			if !strings.Contains(failure.Description, sensitive.Redacted) || len(failure.Description) > 512 || len(failure.Code) > 64 {
				t.Errorf("description %q", failure.Description)
			}
		}
	}
}

func TestErrorReadsAsOneClause(t *testing.T) {
	tests := map[string]oauth.Error{
		"invalid_client: unknown client (HTTP 401 Unauthorized)": {Code: "invalid_client", Description: "unknown client.", Status: 401},
		"invalid_grant (HTTP 400 Bad Request)":                   {Code: "invalid_grant", Status: 400},
		"the answer is not JSON (HTTP 200 OK)":                   {Description: "the answer is not JSON", Status: 200},
		"HTTP 599":                                               {Status: 599},
		"connection refused":                                     {Description: "connection refused"},
	}
	for want, failure := range tests {
		if got := failure.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
