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

func deviceAt(url string) oauth.DeviceAuthorizationRequest {
	return oauth.DeviceAuthorizationRequest{URL: url, Client: oauth.Client{ID: "crm", Authentication: oauth.None}, Scope: "a b"}
}

func TestAuthorizeDevice(t *testing.T) {
	for _, test := range []struct {
		reason, body string
		want         oauth.DeviceAuthorization
	}{
		{
			"RFC 8628, 3.2", `{"device_code":"d-1","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device",
			"verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT","expires_in":1800,"interval":7}`,
			oauth.DeviceAuthorization{
				DeviceCode: sensitive.New("d-1"), UserCode: "WDJB-MJHT", VerificationURI: "https://example.com/device",
				VerificationURIComplete: "https://example.com/device?user_code=WDJB-MJHT", ExpiresIn: finite(30 * time.Minute), Interval: 7 * time.Second,
			},
		},
		{
			"Google's name; nothing else", `{"device_code":"d-1","user_code":"X","verification_url":"https://www.google.com/device"}`,
			oauth.DeviceAuthorization{DeviceCode: sensitive.New("d-1"), UserCode: "X", VerificationURI: "https://www.google.com/device", Interval: 5 * time.Second},
		},
		{
			"an interval of an hour", `{"device_code":"d-1","user_code":"X","verification_uri":"https://a.example","interval":3600}`,
			oauth.DeviceAuthorization{DeviceCode: sensitive.New("d-1"), UserCode: "X", VerificationURI: "https://a.example", Interval: time.Minute},
		},
		{
			"an interval of for ever", `{"device_code":"d-1","user_code":"X","verification_uri":"https://a.example","interval":1e12}`,
			oauth.DeviceAuthorization{DeviceCode: sensitive.New("d-1"), UserCode: "X", VerificationURI: "https://a.example", Interval: time.Minute},
		},
		{
			"an interval of nothing; a link that is none", `{"device_code":"d-1","user_code":"X","verification_uri":"https://a.example","verification_uri_complete":"javascript:alert(1)","interval":0}`,
			oauth.DeviceAuthorization{DeviceCode: sensitive.New("d-1"), UserCode: "X", VerificationURI: "https://a.example", Interval: 5 * time.Second},
		},
		{
			"a link that gives the device code away", `{"device_code":"device-1","user_code":"X","verification_uri":"https://a.example","verification_uri_complete":"https://a.example/?c=device-1"}`,
			oauth.DeviceAuthorization{DeviceCode: sensitive.New("device-1"), UserCode: "X", VerificationURI: "https://a.example", Interval: 5 * time.Second},
		},
	} {
		got, err := newCaller(oauth.Options{}).AuthorizeDevice(t.Context(), replying(200, "application/json", test.body), deviceAt("https://provider.test"))
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.reason, err, diff)
		}
	}
}

func TestDeviceRequest(t *testing.T) {
	var got captured
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := readAll(r)
		if err != nil {
			t.Error(err)
		}
		got = captured{method: r.Method, header: r.Header, body: body}
		answering(200, `{"device_code":"d","user_code":"u","verification_uri":"https://a.example"}`)(w, r)
	})
	request := deviceAt(server.URL)
	request.Names = map[string]string{"client_id": "key"}
	request.Parameters = []oauth.Parameter{{Name: "audience", Value: sensitive.New("x")}}
	request.Headers = []oauth.Header{{Name: "X-Key", Value: sensitive.New("k")}}
	if _, err := newCaller(oauth.Options{}).AuthorizeDevice(t.Context(), transport(t), request); err != nil {
		t.Fatal(err)
	}
	if got.method != http.MethodPost || got.body != "scope=a+b&key=crm&audience=x" || got.header.Get("X-Key") != "k" {
		t.Errorf("%+v", got)
	}
}

func TestDeviceFailures(t *testing.T) {
	const canary = "device-code-canary"
	for _, test := range []struct {
		reason, body string
		status       int
		want         oauth.Concern
		says         string
	}{
		{"no device code", `{"user_code":"X","verification_uri":"https://a.example"}`, 200, oauth.ConcernTransient, "device code"},
		{"no user code", `{"device_code":"` + canary + `","verification_uri":"https://a.example"}`, 200, oauth.ConcernTransient, "user code"},
		{"a user code that cannot be shown", `{"device_code":"` + canary + `","user_code":"a\u202eb","verification_uri":"https://a.example"}`, 200, oauth.ConcernTransient, "user code"},
		{"a user code of a kilobyte", `{"device_code":"` + canary + `","user_code":"` + strings.Repeat("X", 1024) + `","verification_uri":"https://a.example"}`, 200, oauth.ConcernTransient, "user code"},
		{"no address", `{"device_code":"` + canary + `","user_code":"X","verification_uri":"/device"}`, 200, oauth.ConcernTransient, "address"},
		{"an address with a user", `{"device_code":"` + canary + `","user_code":"X","verification_uri":"https://a@b.example/"}`, 200, oauth.ConcernTransient, "address"},
		{"a page", `<html>`, 200, oauth.ConcernTransient, "neither"},
		{"an unknown client", `{"error":"invalid_client"}`, 401, oauth.ConcernApplication, ""},
		{"an unknown client, with a success", `{"error":"unauthorized_client"}`, 200, oauth.ConcernApplication, ""},
		{"away", ``, 503, oauth.ConcernTransient, ""},
	} {
		_, err := newCaller(oauth.Options{}).AuthorizeDevice(t.Context(), replying(test.status, "application/json", test.body), deviceAt("https://provider.test"))
		failure := failureOf(t, err)
		if failure.Concern != test.want || !strings.Contains(failure.Error(), test.says) || strings.Contains(failure.Error(), canary) {
			t.Errorf("%s: %s (%v)", test.reason, failure.Concern, failure)
		}
	}
	if _, err := newCaller(oauth.Options{}).AuthorizeDevice(t.Context(), replying(200, "", ""), deviceAt("device")); failureOf(t, err).Sent != oauth.NotSent {
		t.Error("a relative URL was used")
	}
}

// What a provider says while a person makes up their mind (RFC 8628, section 3.5).
func TestPolling(t *testing.T) {
	device := oauth.DeviceCode(sensitive.New("d-1"))
	refresh := oauth.RefreshToken(sensitive.New(refreshToken), "")
	for _, test := range []struct {
		code  string
		grant oauth.Grant
		want  oauth.Concern
	}{
		{"authorization_pending", device, oauth.ConcernTransient},
		{"slow_down", device, oauth.ConcernTransient},
		{"expired_token", device, oauth.ConcernGrant},
		{"access_denied", device, oauth.ConcernGrant},
		{"invalid_grant", device, oauth.ConcernGrant},
		{"access_denied", refresh, oauth.ConcernRefused},
		{"expired_token", refresh, oauth.ConcernRefused},
	} {
		request := oauth.TokenRequest{URL: "https://provider.test", Client: basicClient(), Grant: test.grant}
		_, err := newCaller(oauth.Options{}).Token(t.Context(), replying(400, "application/json", `{"error":"`+test.code+`"}`), request)
		if failure := failureOf(t, err); failure.Concern != test.want || failure.Code != test.code {
			t.Errorf("%s to %s: %s", test.code, test.grant.Type(), failure.Concern)
		}
	}
}
