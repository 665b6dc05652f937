// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const canary = "s3cr3t/canary+value"

func sample() *Client {
	at := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	return &Client{
		Application:              Application{Namespace: "platform", Name: "crm", UID: "8f0c"},
		Generation:               3,
		OAuth:                    oauth.Client{ID: "crm", Secret: sensitive.New(canary), Authentication: oauth.ClientSecretBasic},
		RevocationAuthentication: oauth.ClientSecretPost,
		Endpoints: Endpoints{
			Authorization: "https://p/authorize", Token: "https://p/token", Refresh: "https://p/refresh", Revocation: "https://p/revoke",
			Introspection: "https://p/introspect", DeviceAuthorization: "https://p/device", UserInfo: "https://p/me",
		},
		RedirectURL:    "https://gateway/oauth2/callback",
		Parameters:     []oauth.Parameter{{Name: "audience", Value: sensitive.New("api")}, {Name: "hidden", Value: sensitive.New(canary)}},
		ScopeSeparator: ",",
		Scopes:         []string{"a", "b"},
		CA:             []byte("-----BEGIN CERTIFICATE-----"),
		Limits:         Limits{RequestsPerSecond: 0.5, MaxConcurrent: 2},
		Discovery: &Discovery{At: at, Trust: "abc", Metadata: oauth.Metadata{
			Issuer: "https://p", AuthorizationEndpoint: "https://p/authorize", TokenEndpoint: "https://p/token",
			RevocationEndpoint: "https://p/revoke", IntrospectionEndpoint: "https://p/introspect",
			DeviceAuthorizationEndpoint: "https://p/device", UserinfoEndpoint: "https://p/me",
			TokenEndpointAuthMethodsSupported:          []string{"client_secret_basic"},
			RevocationEndpointAuthMethodsSupported:     []string{"client_secret_post"},
			CodeChallengeMethodsSupported:              []string{"S256"},
			AuthorizationResponseIssParameterSupported: true,
		}},
		Sources: []Source{{Kind: KindSecret, Namespace: "platform", Name: "crm-client", UID: "u", ResourceVersion: "12"}},
		Pauses: map[string]Pause{LaneKey("https://p/token", "refresh_token"): {
			Reason: v1alpha1.ReasonInvalidClient, Message: "no", Since: at, NextProbeAt: at, Count: 2, Fingerprint: "f",
		}},
	}
}

func sameClient() cmp.Option {
	return cmp.Options{cmpopts.IgnoreUnexported(Client{}), cmp.Comparer(sensitive.String.Equal)}
}

func TestEveryFieldSurvivesKeeping(t *testing.T) {
	t.Parallel()
	want := sample()
	secret, err := encode(want, "system")
	if err != nil {
		t.Fatal(err)
	}
	secret.ResourceVersion = "1"
	got, err := decode(secret)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameClient()); diff != "" {
		t.Errorf("kept client differs (-want +got):\n%s", diff)
	}
	if secret.Name != "client-8f0c" || secret.Labels[v1alpha1.LabelRecord] != v1alpha1.RecordClient ||
		secret.Labels[v1alpha1.LabelApplicationUID] != "8f0c" || secret.Annotations[AnnotationApplication] != "platform/crm" ||
		secret.Annotations[AnnotationSources] != "Secret platform/crm-client" || secret.Type != v1alpha1.SecretTypeClient {
		t.Errorf("metadata of the Secret: %+v, type %s", secret.ObjectMeta, secret.Type)
	}
}

func TestAClientNeverPrintsItsSecrets(t *testing.T) {
	t.Parallel()
	c := sample()
	printed := fmt.Sprintf("%v %+v %#v %v", c, c, c, *c)
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(printed+string(encoded), canary) {
		t.Error("a printed or marshalled client shows its secret")
	}
	secret, err := encode(c, "system")
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[contentKey] = []byte(`{"clientSecret":"` + canary + `", "format": "x"}`)
	secret.ResourceVersion = "1"
	if _, err := decode(secret); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("the error of an unreadable client is %v", err)
	}
}

func TestDecodeRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason, content, kind, want string
	}{
		"AnotherFormat": {reason: "an older operator must not misread a newer one's", content: `{"format":2}`, want: "format 2"},
		"NoFormat":      {reason: "an empty object is not a client", content: `{}`, want: "format 0"},
		"Garbage":       {reason: "the way out is said", content: `{`, want: "delete the Secret"},
		"ForeignType":   {reason: "the type is the mark of our own", content: `{"format":1}`, kind: "Opaque", want: `type is "Opaque"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret, err := encode(sample(), "system")
			if err != nil {
				t.Fatal(err)
			}
			secret.ResourceVersion = "1"
			secret.Data[contentKey] = []byte(test.content)
			if test.kind != "" {
				secret.Type = "Opaque"
			}
			if _, err := decode(secret); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want one that contains %q", test.reason, err, test.want)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Client)
		same   bool
	}{
		"ID":                       {change: func(c *Client) { c.OAuth.ID = "x" }},
		"Secret":                   {change: func(c *Client) { c.OAuth.Secret = sensitive.New("x") }},
		"Authentication":           {change: func(c *Client) { c.OAuth.Authentication = oauth.ClientSecretPost }},
		"RevocationAuthentication": {change: func(c *Client) { c.RevocationAuthentication = "" }},
		"Endpoints":                {change: func(c *Client) { c.Endpoints.Token = "x" }},
		"Parameters":               {change: func(c *Client) { c.Parameters = c.Parameters[:1] }},
		"CA":                       {change: func(c *Client) { c.CA = nil }},
		"Generation":               {change: func(c *Client) { c.Generation++ }, same: true},
		"Sources":                  {change: func(c *Client) { c.Sources = nil }, same: true},
		"Pauses":                   {change: func(c *Client) { c.Pauses = nil }, same: true},
		"Discovery":                {change: func(c *Client) { c.Discovery = nil }, same: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := sample()
			test.change(changed)
			if same := changed.Fingerprint() == sample().Fingerprint(); same != test.same {
				t.Errorf("the fingerprint stays the same: %t, want %t", same, test.same)
			}
		})
	}
}

func TestTokenURLAndLane(t *testing.T) {
	t.Parallel()
	c := sample()
	if got := c.TokenURL("refresh_token"); got != "https://p/refresh" {
		t.Errorf("refreshes go to %s", got)
	}
	if got := c.TokenURL("authorization_code"); got != "https://p/token" {
		t.Errorf("codes go to %s", got)
	}
	url, grantType := ParseLane(c.Lane("refresh_token"))
	if url != "https://p/refresh" || grantType != "refresh_token" {
		t.Errorf("the lane reads back as %s, %s", url, grantType)
	}
}
