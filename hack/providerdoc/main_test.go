// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// TestHabits holds the checked-in table to the API, the catalogue and the tests.
func TestHabits(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("habits.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseHabits(content)
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.check(catalogue.Presets(), os.DirFS("../..")); err != nil {
		t.Error(err)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	presets := []provider.Preset{{Name: "p", Spec: v1alpha1.OAuthApplicationSpec{
		PKCE:   v1alpha1.PKCEDisabled,
		Inputs: []v1alpha1.Input{{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}}},
	}}}
	repository := fstest.MapFS{"a/b_test.go": &fstest.MapFile{Data: []byte("package b\n\nfunc TestIt(t *testing.T) {}\n")}}
	good := func(change func(*habit)) habits {
		one := habit{
			Habit: "h", Fields: []use{{Field: "pkce", Value: "Disabled"}, {Field: "inputs[].pattern"}},
			Presets: []string{"p"}, Tests: []string{"a TestIt"},
		}
		change(&one)
		return habits{Habits: []habit{one}}
	}
	for want, change := range map[string]func(*habit){
		"":                        func(*habit) {},
		"no field pkcee":          func(h *habit) { h.Fields[0].Field = "pkcee" },
		"no field inputs[].x":     func(h *habit) { h.Fields[0].Field = "inputs[].x" },
		"no field inputs.pattern": func(h *habit) { h.Fields[0].Field = "inputs.pattern" },
		"preset q does not":       func(h *habit) { h.Presets = []string{"q"} },
		"preset p does not":       func(h *habit) { h.Fields = []use{{Field: "pkce", Value: "S256"}, {Field: "inputs[].default"}} },
		"neither a preset":        func(h *habit) { h.Presets = nil },
		"it has no test":          func(h *habit) { h.Tests = nil },
		"no test TestThat in a":   func(h *habit) { h.Tests = []string{"a TestThat"} },
		"no test TestIt in b":     func(h *habit) { h.Tests = []string{"b TestIt"} },
		"directory and name":      func(h *habit) { h.Tests = []string{"TestIt"} },
	} {
		table := good(change)
		err := table.check(presets, repository)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestPage: the page says of a preset what its fields say.
func TestPage(t *testing.T) {
	t.Parallel()
	presets := []provider.Preset{{
		Name: "p", DisplayName: "The | P", URL: "https://example.com/oauth", Notes: []string{"A note."}, Doubts: []string{"A doubt."},
		Spec: v1alpha1.OAuthApplicationSpec{
			Endpoints: &v1alpha1.Endpoints{TokenURL: "https://{tenant}.example.com/token", RevocationURL: "https://example.com/revoke"},
			Client:    v1alpha1.ClientSpec{Authentication: v1alpha1.ClientSecretPost},
			Scopes:    []v1alpha1.Scope{"read"}, ScopeSeparator: ",", PKCE: v1alpha1.PKCEDisabled,
			AuthorizationParameters: map[string]v1alpha1.ParameterValue{"prompt": "consent"},
			TokenRequest: &v1alpha1.TokenRequestSpec{Headers: []v1alpha1.RequestHeader{
				{Name: "Authorization", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}},
			}},
			TokenResponse: &v1alpha1.TokenResponseSpec{DefaultLifetime: "Never", Capture: []v1alpha1.Capture{{Name: "team", Path: "$.team"}}},
			Revocation: &v1alpha1.RevocationSpec{
				Method: "DELETE", Authentication: v1alpha1.RevocationByBearer, Tokens: []v1alpha1.TokenKind{v1alpha1.TokenAccess},
			},
			Inputs:      []v1alpha1.Input{{Name: "tenant", Description: "The tenant.", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}}},
			APIBaseURL:  "https://api.example.com",
			StatusCheck: &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe, Probe: &v1alpha1.ProbeSpec{Path: "/me"}},
			Webhook: &v1alpha1.WebhookSpec{
				WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard},
				Alternatives:       []v1alpha1.WebhookSignature{{Scheme: v1alpha1.WebhookBodyHMAC, Header: "X-Signature"}},
				DeauthorizedEvents: []string{"gone", "left"}, Subject: "$.account",
				Challenge: &v1alpha1.WebhookChallenge{EventType: "question", Value: "$.text"},
			},
		},
	}}
	table := &habits{
		Habits:       []habit{{Habit: "h", Count: 7, Fields: []use{{Field: "pkce", Value: "Disabled"}}, Presets: []string{"p"}, Tests: []string{"a TestIt"}}},
		NotExpressed: []limit{{Habit: "n", Reason: "r"}},
	}
	got, err := page(presets, table)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| [p](#p) | The \\| P | `tenant`, key `api_key` | no, unless the provider says | a call with the token | Probe | account |",
		"[The | P](https://example.com/oauth)",
		"- Client: `ClientSecretPost`; keys of the Secret: `client_secret`, `api_key`",
		"- Input `tenant`, required, must match `[a-z]+`. The tenant.",
		"- Scopes: `read` unless you name others; `,` stands between them",
		"- Authorization: no PKCE, `prompt=consent`",
		"- Tokens: live until they are revoked where",
		"- Revocation: a call with the token, DELETE, authentication `Bearer`, access tokens only",
		"- Status check: `Probe` of `/me`",
		"- Webhook: `gone`, `left`, for the account (`status.subject`); signed by `StandardWebhooks` or `BodyHMAC` in `X-Signature`; key of the Secret: `webhook_secret`; its challenge is answered",
		"- Captured: `team`",
		"Notes:\n\n- A note.",
		"Not certain:\n\n- A doubt.",
		"| h | 7 | `pkce: Disabled` | p | `TestIt` in a |",
		"| n | r |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
