// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
	"github.com/oauth-operator/oauth-operator/test/servers/upstream"
)

func TestOnlyLivingTokensGetIn(t *testing.T) {
	authorization, err := fositeserver.Start(fositeserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authorization.Close)
	api, err := upstream.Start(upstream.Options{
		IntrospectionURL: authorization.URL + "/introspect",
		ClientID:         harness.DefaultClient().ID, ClientSecret: harness.DefaultClient().Secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	revoked, rejected, token := newToken(t, authorization), newToken(t, authorization), newToken(t, authorization)
	if err := authorization.RevokeGrant(revoked); err != nil {
		t.Fatal(err)
	}
	api.Reject(rejected)
	for i, test := range []struct {
		reason, token string
		want          int
	}{
		{"no token", "", http.StatusUnauthorized},
		{"a token of nobody", "invented", http.StatusUnauthorized},
		{"a token that was revoked", revoked, http.StatusUnauthorized},
		{"a token that this API rejects", rejected, http.StatusUnauthorized},
		{"a living token", token, http.StatusOK},
	} {
		status, echo := send(t, api.URL+"/a%2Fb?q=1", test.token)
		if status != test.want {
			t.Errorf("%s: status %d, want %d", test.reason, status, test.want)
		}
		if want := (upstream.Echo{Method: http.MethodPost, Path: "/a%2Fb", Query: "q=1", Body: "content"}); status == http.StatusOK && echo != want {
			t.Errorf("echoed %+v, want %+v", echo, want)
		}
		got := api.Requests()[i]
		if got.TokenHash != record.Hash(test.token) || got.Accepted != (test.want == http.StatusOK) || string(got.Body) != "content" {
			t.Errorf("%s: noted %+v", test.reason, got)
		}
		if test.token != "" && got.Header.Get("Authorization") != "Bearer" {
			t.Errorf("%s: the note shows the credentials", test.reason)
		}
	}
	if api.RejectAll(true); len(api.Requests()) != 5 {
		t.Errorf("%d requests noted", len(api.Requests()))
	}
	if status, _ := send(t, api.URL, token); status != http.StatusUnauthorized {
		t.Errorf("status %d although all are rejected", status)
	}
}

func TestHandlerIsFoundByItsEscapedPath(t *testing.T) {
	authorization, err := fositeserver.Start(fositeserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authorization.Close)
	api, err := upstream.Start(upstream.Options{
		IntrospectionURL: authorization.URL + "/introspect",
		ClientID:         harness.DefaultClient().ID, ClientSecret: harness.DefaultClient().Secret,
		Token: func(r *http.Request) string { return r.Header.Get("X-Token") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	api.Handle("/a%2Fb", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL+"/a%2Fb", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Token", newToken(t, authorization))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusTeapot {
		t.Errorf("status %d, not the handler's", response.StatusCode)
	}
	if err := api.WaitFor(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if noted := api.Requests()[0].Header.Get("X-Token"); noted != "{access_token}" {
		t.Errorf("the note shows %.4s… in place of a token", noted)
	}
}

// newToken is an access token of the client's own.
func newToken(t *testing.T, server *fositeserver.Server) string {
	t.Helper()
	form := strings.NewReader("grant_type=client_credentials")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(harness.DefaultClient().ID, harness.DefaultClient().Secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no token: status %d, %v", response.StatusCode, err)
	}
	return answer.AccessToken
}

func send(t *testing.T, address, token string) (int, upstream.Echo) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var echo upstream.Echo
	if err := json.Unmarshal(content, &echo); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, echo
}
