// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const assertion = "eyJhbGciOiJub25lIn0.assertion-canary.x"

func sent(t *testing.T, request oauth.TokenRequest) captured {
	t.Helper()
	return capture(t, func(url string, transport http.RoundTripper) error {
		request.URL = url
		_, err := newCaller(oauth.Options{}).Token(t.Context(), transport, request)
		return err
	})
}

func TestGrants(t *testing.T) {
	public := oauth.Client{ID: "crm", Authentication: oauth.None}
	text := func(name, value string) oauth.Parameter {
		return oauth.Parameter{Name: name, Value: sensitive.New(value)}
	}
	for _, test := range []struct {
		reason string
		grant  oauth.Grant
		body   string
	}{
		{
			"RFC 8628, 3.4", oauth.DeviceCode(sensitive.New("d-1")),
			"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d-1&client_id=crm",
		},
		{
			"RFC 7523, 2.1", oauth.JWTBearer(sensitive.New(assertion), "a b"),
			"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=" + assertion + "&scope=a+b&client_id=crm",
		},
		{
			"RFC 8693, 2.1, everything, some of it twice", oauth.TokenExchange(oauth.TokenExchangeParameters{
				SubjectToken: sensitive.New("s-1"), SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt", ActorToken: sensitive.New("a-1"), ActorTokenType: "t",
				RequestedTokenType: "r", Audience: []string{"x", "y"}, Resource: []string{"https://a.example", "https://b.example"},
			}, "s"),
			"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example" +
				"&audience=x&audience=y&scope=s&requested_token_type=r&subject_token=s-1&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt" +
				"&actor_token=a-1&actor_token_type=t&client_id=crm",
		},
		{
			"RFC 8693, the least", oauth.TokenExchange(oauth.TokenExchangeParameters{SubjectToken: sensitive.New("s-1"), SubjectTokenType: "t"}, ""),
			"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=s-1&subject_token_type=t&client_id=crm",
		},
		{
			"Facebook's exchange of an access token", oauth.Extension("fb_exchange_token", []oauth.Parameter{text("fb_exchange_token", "t-1"), text("empty", "")}, ""),
			"grant_type=fb_exchange_token&fb_exchange_token=t-1&client_id=crm",
		},
		{
			"Increase's sandbox", oauth.Extension("production_token", []oauth.Parameter{text("production_token", "t-1")}, "read_only"),
			"grant_type=production_token&production_token=t-1&scope=read_only&client_id=crm",
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			if got := sent(t, oauth.TokenRequest{Client: public, Grant: test.grant}); got.body != test.body {
				t.Errorf("sent %s\nwant %s", got.body, test.body)
			}
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	const refresh = "grant_type=refresh_token&refresh_token=" + refreshToken
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	for _, test := range []struct {
		reason        string
		client        oauth.Client
		body          string
		authorization string
	}{
		{"encoded", oauth.Client{Authentication: oauth.ClientSecretBasic, Basic: oauth.BasicEncoded}, "", basic("id+1:" + url.QueryEscape(clientSecret))},
		{"plain", oauth.Client{Authentication: oauth.ClientSecretBasic, Basic: oauth.BasicPlain}, "", basic("id 1:" + clientSecret)},
		{"the secret as user name", oauth.Client{Authentication: oauth.ClientSecretBasic, Basic: oauth.BasicSecretAsUserName}, "", basic(clientSecret + ":")},
		{
			"RFC 7523, 2.2",
			oauth.Client{Authentication: oauth.PrivateKeyJWT, Assertion: sensitive.New(assertion)},
			"&client_id=id+1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=" + assertion, "",
		},
		{
			"a cluster's token",
			oauth.Client{Authentication: oauth.ServiceAccountToken, Assertion: sensitive.New(assertion)},
			"&client_id=id+1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=" + assertion, "",
		},
		{"RFC 8705, 2.1", oauth.Client{Authentication: oauth.TLS}, "&client_id=id+1", ""},
	} {
		t.Run(test.reason, func(t *testing.T) {
			test.client.ID, test.client.Secret = "id 1", sensitive.New(clientSecret)
			got := sent(t, oauth.TokenRequest{Client: test.client, Grant: oauth.RefreshToken(sensitive.New(refreshToken), "")})
			if got.body != refresh+test.body || got.header.Get("Authorization") != test.authorization {
				t.Errorf("sent %s\nwant %s\nAuthorization %q, want %q", got.body, refresh+test.body, got.header.Get("Authorization"), test.authorization)
			}
		})
	}
}

func TestJSONBody(t *testing.T) {
	secret := "quote\" back\\slash <&> ü \x01 \u2028"
	got := sent(t, oauth.TokenRequest{
		Client: oauth.Client{ID: "crm", Secret: sensitive.New(secret), Authentication: oauth.ClientSecretPost},
		Grant:  oauth.AuthorizationCode(sensitive.New(authCode), sensitive.String{}, ""), Format: oauth.FormatJSON,
		Parameters: []oauth.Parameter{{Name: "audience", Value: sensitive.New("x")}},
	})
	var members map[string]string
	if err := json.Unmarshal([]byte(got.body), &members); err != nil {
		t.Fatalf("%s: %v", got.body, err)
	}
	want := map[string]string{
		"grant_type": "authorization_code", "code": authCode, "client_id": "crm", "client_secret": secret, "audience": "x",
	}
	if diff := cmp.Diff(want, members); diff != "" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s\n%s", got.header.Get("Content-Type"), diff)
	}
	if !strings.HasPrefix(got.body, `{"grant_type":"authorization_code","code":"`) {
		t.Errorf("the parameters are out of order: %s", got.body)
	}
}

func TestRenamedParameters(t *testing.T) {
	names := map[string]string{"client_id": "client_key", "client_secret": "key_secret", "code": "auth_code"}
	for format, want := range map[oauth.Format]string{
		oauth.FormatForm: "grant_type=authorization_code&auth_code=" + authCode + "&client_key=crm&key_secret=hush-hush&app=1",
		oauth.FormatJSON: `{"grant_type":"authorization_code","auth_code":"` + authCode + `","client_key":"crm","key_secret":"hush-hush","app":"1"}`,
	} {
		got := sent(t, oauth.TokenRequest{
			Client: oauth.Client{ID: "crm", Secret: sensitive.New("hush-hush"), Authentication: oauth.ClientSecretPost}, Format: format, Names: names,
			Grant:      oauth.AuthorizationCode(sensitive.New(authCode), sensitive.String{}, ""),
			Parameters: []oauth.Parameter{{Name: "app", Value: sensitive.New("1")}},
		})
		if got.body != want {
			t.Errorf("sent %s\nwant %s", got.body, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	got := sent(t, oauth.TokenRequest{
		Client: oauth.Client{ID: "crm", Secret: sensitive.New(clientSecret), Authentication: oauth.ClientSecretPost},
		Grant:  oauth.AuthorizationCode(sensitive.New(authCode), sensitive.String{}, ""),
		Headers: []oauth.Header{
			{Name: "Authorization", Value: sensitive.New("Bearer platform")},
			{Name: "accept", Value: sensitive.New("application/vnd.x+json")},
			{Name: "Notion-Version", Value: sensitive.New("2022-06-28")},
			{Name: "User-Agent", Value: sensitive.New("me/1")},
		},
	})
	for name, want := range map[string]string{
		"Authorization": "Bearer platform", "Accept": "application/vnd.x+json", "Notion-Version": "2022-06-28", "User-Agent": "me/1",
		"Content-Type": "application/x-www-form-urlencoded",
	} {
		if values := got.header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
}

func TestUnusableShapes(t *testing.T) {
	server, hits := serve(t, answering(http.StatusOK, `{"access_token":"a"}`))
	post := oauth.Client{ID: "crm", Secret: sensitive.New(clientSecret), Authentication: oauth.ClientSecretPost}
	code := oauth.AuthorizationCode(sensitive.New(authCode), sensitive.String{}, "")
	header := func(name, value string) oauth.TokenRequest {
		return oauth.TokenRequest{Client: post, Grant: code, Headers: []oauth.Header{{Name: name, Value: sensitive.New(value)}}}
	}
	twice := oauth.TokenExchangeParameters{SubjectToken: sensitive.New("s"), SubjectTokenType: "t", Audience: []string{"a", "b"}}
	for reason, test := range map[string]struct {
		request oauth.TokenRequest
		says    string
	}{
		"no assertion":                  {oauth.TokenRequest{Client: oauth.Client{ID: "crm", Authentication: oauth.PrivateKeyJWT}, Grant: code}, "assertion"},
		"no token of a cluster":         {oauth.TokenRequest{Client: oauth.Client{ID: "crm", Authentication: oauth.ServiceAccountToken}, Grant: code}, "assertion"},
		"Basic in an unknown form":      {oauth.TokenRequest{Client: oauth.Client{ID: "crm", Authentication: oauth.ClientSecretBasic, Basic: "Rot13"}, Grant: code}, "Rot13"},
		"no device code":                {oauth.TokenRequest{Client: post, Grant: oauth.DeviceCode(sensitive.String{})}, "device code"},
		"no bearer assertion":           {oauth.TokenRequest{Client: post, Grant: oauth.JWTBearer(sensitive.String{}, "")}, "assertion"},
		"no subject token":              {oauth.TokenRequest{Client: post, Grant: oauth.TokenExchange(oauth.TokenExchangeParameters{SubjectTokenType: "t"}, "")}, "subject token"},
		"no type of it":                 {oauth.TokenRequest{Client: post, Grant: oauth.TokenExchange(oauth.TokenExchangeParameters{SubjectToken: sensitive.New("s")}, "")}, "type"},
		"no grant type":                 {oauth.TokenRequest{Client: post, Grant: oauth.Extension("", nil, "")}, "no grant"},
		"an unknown format":             {oauth.TokenRequest{Client: post, Grant: code, Format: "XML"}, "XML"},
		"two audiences in JSON":         {oauth.TokenRequest{Client: post, Grant: oauth.TokenExchange(twice, ""), Format: oauth.FormatJSON}, "twice"},
		"two parameters under one name": {oauth.TokenRequest{Client: post, Grant: code, Names: map[string]string{"client_id": "code"}}, "same name"},
		"an extension's client_id":      {oauth.TokenRequest{Client: post, Grant: oauth.Extension("x", []oauth.Parameter{{Name: "client_id", Value: sensitive.New("y")}}, "")}, "same name"},
		"an extra one renamed onto another": {oauth.TokenRequest{
			Client: post, Grant: code, Names: map[string]string{"x": "code"}, Parameters: []oauth.Parameter{{Name: "x", Value: sensitive.New("y")}},
		}, "already"},
		"two Authorization headers": {oauth.TokenRequest{
			Client: basicClient(), Grant: code, Headers: []oauth.Header{{Name: "authorization", Value: sensitive.New("Bearer x")}},
		}, "Authorization"},
		"a line break in a header":        {header("X-Key", "secret-"+newAccess+"\r\nHost: evil.example"), "X-Key"},
		"a blank in the name of a header": {header("X Key", "a"), "name"},
		"a host":                          {header("Host", "evil.example"), "Host"},
		"a length":                        {header("content-length", "1"), "content-length"},
		"an encoding":                     {header("Accept-Encoding", "br"), "Accept-Encoding"},
	} {
		test.request.URL = server.URL
		_, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), test.request)
		failure := failureOf(t, err)
		if failure.Concern != oauth.ConcernApplication || failure.Sent != oauth.NotSent || !strings.Contains(failure.Error(), test.says) {
			t.Errorf("%s: %+v", reason, failure)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests were sent", hits.Load())
	}
}

// Neither an assertion, nor a header, nor anything else that was sent comes back in an error, in any format and under any
// name.
func TestErrorsHideEveryShape(t *testing.T) {
	const key, quoted = "platform-key-canary", `se"cret\canary`
	for _, format := range []oauth.Format{oauth.FormatForm, oauth.FormatJSON} {
		for _, client := range []oauth.Client{
			{ID: "crm", Assertion: sensitive.New(assertion), Authentication: oauth.PrivateKeyJWT},
			{ID: "crm", Secret: sensitive.New(quoted), Authentication: oauth.ClientSecretPost},
		} {
			var seen string
			echo := roundTripper(func(r *http.Request) (*http.Response, error) {
				got, err := readAll(r)
				if err != nil {
					return nil, err
				}
				seen = got
				said, err := json.Marshal(map[string]string{"error": "invalid_request", "error_description": got + " " + r.Header.Get("X-Api-Key") + " " + r.Header.Get("X-Auth")})
				if err != nil {
					return nil, err
				}
				return replying(400, "application/json", string(said))(r)
			})
			_, err := newCaller(oauth.Options{}).Token(t.Context(), echo, oauth.TokenRequest{
				URL: "https://provider.test", Client: client, Format: format,
				Names: map[string]string{"client_secret": "grant", "client_assertion": "scope", "subject_token": "audience"},
				Grant: oauth.TokenExchange(oauth.TokenExchangeParameters{SubjectToken: sensitive.New(newAccess), SubjectTokenType: "t"}, ""),
				Headers: []oauth.Header{
					{Name: "X-Api-Key", Value: sensitive.New(key)}, {Name: "X-Auth", Value: sensitive.New("Token " + key + "-2")},
				},
			})
			failure := failureOf(t, err)
			for _, secret := range []string{"canary", "-2", quoted} {
				if strings.Contains(failure.Error(), secret) {
					t.Errorf("%s: %q is in %q (sent: %s)", format, secret, failure, seen)
				}
			}
		}
	}
}
