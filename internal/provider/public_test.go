// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TestPublicSaysTheSame writes each preset's authorization URL with all that the controller knows, and with what the gateway
// knows: the application's spec and its status.
func TestPublicSaysTheSame(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	templates := 0
	for _, preset := range catalogue.Presets() {
		answers := readResponses(t, preset.Name)
		whole := goldenProfile(t, catalogue, preset.Name, answers)
		if whole.Spec.Endpoints.AuthorizationURL == "" {
			continue
		}
		effective, err := catalogue.Effective(goldenSpec(preset.Name, answers))
		if err != nil {
			t.Fatal(err)
		}
		before := effective.DeepCopy()
		public := provider.Public(effective, &v1alpha1.OAuthApplicationStatus{
			ClientID: goldenClientID, Endpoints: whole.Spec.Endpoints, RedirectURL: goldenRedirect,
		})
		if strings.Contains(string(public.Spec.Endpoints.AuthorizationURL), "{") {
			templates++
		}
		var links []string
		for _, profile := range []*provider.Profile{whole, public} {
			values, err := profile.Values(answers.Inputs, nil)
			if err != nil {
				t.Fatal(err)
			}
			link, err := profile.AuthorizationURL(provider.AuthorizationRequest{
				State: "s", CodeChallenge: goldenChallenge, Scopes: answers.Scopes, Values: values,
			})
			if err != nil {
				t.Fatalf("%s: %v", preset.Name, err)
			}
			links = append(links, link)
		}
		if links[0] != links[1] {
			t.Errorf("%s:\n%s with secrets\n%s without", preset.Name, links[0], links[1])
		}
		if diff := cmp.Diff(before, effective); diff != "" {
			t.Errorf("%s: the effective spec was changed:\n%s", preset.Name, diff)
		}
	}
	if templates == 0 {
		t.Error("no preset has a placeholder in its authorization URL, so that nothing was shown of those")
	}
}

// TestPublicKnowsNoSecret: what needs one fails, instead of being sent without.
func TestPublicKnowsNoSecret(t *testing.T) {
	t.Parallel()
	effective := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.Endpoints = &v1alpha1.Endpoints{AuthorizationURL: "https://not-accepted.example.com/authorize"}
		s.TokenRequest = &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{{Name: "X", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "k"}}}}
	})
	public := provider.Public(effective, &v1alpha1.OAuthApplicationStatus{
		ClientID: "crm", Issuer: "https://login.example.com", RedirectURL: "https://gateway.example.com/oauth2/callback",
		Endpoints: &v1alpha1.Endpoints{AuthorizationURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token"},
	})
	if !public.Client.Secret.IsEmpty() || len(public.Secrets) != 0 || public.Issuer != "https://login.example.com" {
		t.Errorf("the profile is %+v", public)
	}
	link, err := public.AuthorizationURL(provider.AuthorizationRequest{State: "s"})
	if err != nil || !strings.HasPrefix(link, "https://login.example.com/authorize?response_type=code&client_id=crm&") {
		t.Errorf("got %s, %v; want the endpoint and the client of the status", link, err)
	}
	if _, err := public.TokenRequest(oauth.RefreshToken(sensitive.New("r"), ""), "", nil); field(err) != "tokenRequest.headers[X].secretKeyRef" {
		t.Errorf("a request that needs a secret: %v", err)
	}
	for _, name := range []string{"client_secret", "access_token", "refresh_token", "token", "code"} {
		hostile := effective.DeepCopy()
		hostile.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"x": v1alpha1.ParameterValue("{" + name + "}")}
		unaccepted := provider.Public(hostile, &v1alpha1.OAuthApplicationStatus{
			Endpoints: &v1alpha1.Endpoints{AuthorizationURL: "https://login.example.com/authorize"},
		})
		if _, err := unaccepted.AuthorizationURL(provider.AuthorizationRequest{Values: provider.Values{name: "FAKE"}}); field(err) != "authorizationParameters[x]" {
			t.Errorf("{%s}: %v", name, err)
		}
	}
	if _, err := provider.Public(effective, &v1alpha1.OAuthApplicationStatus{}).AuthorizationURL(provider.AuthorizationRequest{}); field(err) != "endpoints.authorizationURL" {
		t.Errorf("nothing is resolved yet: %v", err)
	}
}

func TestAuthorizationCaptures(t *testing.T) {
	t.Parallel()
	change := func(s *v1alpha1.OAuthApplicationSpec) {
		s.Inputs = []v1alpha1.Input{input("tenant", nil)}
		s.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{{Name: "team", Path: "$.team"}, {Name: "unused", Path: "$.x"}}}
		s.UserInfo = &v1alpha1.UserInfoSpec{Capture: []v1alpha1.Capture{{Name: "email", Path: "$.email"}}}
		s.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{{Name: "realm", Parameter: "r"}}}
		s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{
			"login_hint": "{email}", "team": "{team}", "realm": "{realm}@{team}", "hd": "{tenant}", "scopes": "{scope}", "claims": `{"a": null}`,
		}
	}
	p := profile(t, change)
	if got := p.AuthorizationCaptures(); !slices.Equal(got, []string{"email", "realm", "team"}) {
		t.Errorf("got %v", got)
	}
	if got := profile(t, nil).AuthorizationCaptures(); len(got) != 0 {
		t.Errorf("nothing is used: got %v", got)
	}
	for captured, want := range map[string]string{"": "", "ada@example.com": "ada@example.com"} {
		values, err := p.Values(map[string]string{"tenant": "acme"}, map[string]string{"email": captured})
		if err != nil {
			t.Fatal(err)
		}
		link, err := p.AuthorizationURL(provider.AuthorizationRequest{Values: values})
		if err != nil {
			t.Fatal(err)
		}
		read, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		query := read.Query()
		if query.Get("login_hint") != want || query.Has("login_hint") != (want != "") || query.Has("realm") || query.Get("hd") != "acme" {
			t.Errorf("with the captured value %q: %s", captured, link)
		}
	}
}
