// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const canary = "s3cr3t/canary+value"

func sample() *Client {
	at := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	return &Client{
		Application: Application{Namespace: "platform", Name: "crm", UID: "8f0c"},
		Generation:  3,
		Spec: &v1alpha1.OAuthApplicationSpec{
			IssuerURL: "https://p",
			Endpoints: &v1alpha1.Endpoints{
				AuthorizationURL: "https://p/authorize", TokenURL: "https://p/token", RefreshURL: "https://p/refresh", RevocationURL: "https://p/revoke",
				IntrospectionURL: "https://p/introspect", DeviceAuthorizationURL: "https://p/device", UserInfoURL: "https://p/me",
			},
			Client: v1alpha1.ClientSpec{
				ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}, Authentication: v1alpha1.ClientSecretBasic,
				BasicCredentials: v1alpha1.BasicPlain,
			},
			Scopes: []v1alpha1.Scope{"a", "b"}, ScopeSeparator: ",", PKCE: v1alpha1.PKCES256,
			TokenRequest: &v1alpha1.TokenRequestSpec{
				Format: v1alpha1.FormatJSON,
				Parameters: []v1alpha1.RequestParameter{
					{Name: "audience", Value: new("api")},
					{Name: "hidden", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "other", Key: "hidden"}},
					{Name: "own", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "own"}},
				},
			},
			StatusCheck: &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe, Interval: &metav1.Duration{Duration: time.Hour}},
			Webhook: &v1alpha1.WebhookSpec{
				WebhookSignature: v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard},
				Tolerance:        &metav1.Duration{Duration: time.Minute}, DeauthorizedEvents: []string{"gone"}, ConnectionID: "$.id",
			},
		},
		OAuth: oauth.Client{
			ID: "crm", Secret: sensitive.New(canary), Authentication: oauth.ClientSecretBasic, Basic: oauth.BasicPlain,
		},
		RevocationAuthentication: oauth.ClientSecretPost,
		Key:                      sensitive.New(canary + " key"),
		Certificate:              sensitive.New(canary + " certificate"),
		Secrets: map[string]sensitive.String{
			provider.SecretKey("other", "hidden"): sensitive.New(canary), provider.SecretKey("crm-client", "own"): sensitive.New(canary + " own"),
		},
		Webhook:     &Webhook{From: "crm-client/webhook_secret", Secret: sensitive.New(canary + " webhook"), Unusable: true},
		RedirectURL: "https://gateway/oauth2/callback",
		CA:          []byte("-----BEGIN CERTIFICATE-----"),
		Limits:      Limits{RequestsPerSecond: 0.5, MaxConcurrent: 2},
		Discovery: &Discovery{At: at, Trust: "abc", Metadata: oauth.Metadata{
			Issuer: "https://p", AuthorizationEndpoint: "https://p/authorize", TokenEndpoint: "https://p/token",
			RevocationEndpoint: "https://p/revoke", IntrospectionEndpoint: "https://p/introspect",
			DeviceAuthorizationEndpoint: "https://p/device", UserinfoEndpoint: "https://p/me",
			MTLSTokenEndpoint: "https://m/token", MTLSRevocationEndpoint: "https://m/revoke", MTLSIntrospectionEndpoint: "https://m/introspect",
			MTLSDeviceAuthorizationEndpoint:            "https://m/device",
			TokenEndpointAuthMethodsSupported:          []string{"client_secret_basic"},
			RevocationEndpointAuthMethodsSupported:     []string{"client_secret_post"},
			CodeChallengeMethodsSupported:              []string{"S256"},
			AuthorizationResponseIssParameterSupported: true,
			RequirePushedAuthorizationRequests:         true,
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

// TestWhatIsKnownForTheGateway: a client of an operator before webhooks has looked for no secret.
func TestWhatIsKnownForTheGateway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change      func(*Client)
		secret      string
		par, issuer bool
	}{
		"all":            {change: func(*Client) {}, secret: canary + " webhook", par: true, issuer: true},
		"no secret":      {change: func(c *Client) { c.Webhook = &Webhook{From: "x/y"} }, par: true, issuer: true},
		"not looked for": {change: func(c *Client) { c.Webhook = nil }, par: true, issuer: true},
		"no webhook":     {change: func(c *Client) { c.Spec.Webhook = nil }, par: true, issuer: true},
		"no document":    {change: func(c *Client) { c.Discovery = nil }, secret: canary + " webhook"},
		"an easy document": {change: func(c *Client) {
			c.Discovery.Metadata.RequirePushedAuthorizationRequests, c.Discovery.Metadata.AuthorizationResponseIssParameterSupported = false, false
		}, secret: canary + " webhook"},
	} {
		c := sample()
		test.change(c)
		if secret, ok := c.WebhookSecret(); secret.Reveal() != test.secret || ok != (test.secret != "") {
			t.Errorf("%s: the webhook's secret is known: %t", name, ok)
		}
		if c.RequiresPAR() != test.par || c.IssuerInResponse() != test.issuer {
			t.Errorf("%s: pushed requests %t, issuer %t", name, c.RequiresPAR(), c.IssuerInResponse())
		}
	}
}

// former is a document as it was written before kept clients had a spec.
const former = `{"format":1,"application":{"namespace":"platform","name":"crm","uid":"8f0c"},"generation":3,"clientID":"crm",
"clientSecret":"s3cr3t","authentication":"ClientSecretPost","revocationAuthentication":"ClientSecretBasic",
"endpoints":{"authorization":"https://p/authorize","token":"https://p/token","refresh":"https://p/refresh","revocation":"https://p/revoke",
"introspection":"https://p/introspect","deviceAuthorization":"https://p/device","userInfo":"https://p/me"},
"redirectURL":"https://gateway/oauth2/callback","parameters":[{"name":"audience","value":"api"},{"name":"hidden","value":"s3cr3t/canary+value"}],
"scopeSeparator":",","scopes":["a","b"],"limits":{"maxConcurrent":4},
"discovery":{"at":"2026-08-01T10:00:00Z","issuer":"https://p","token_endpoint":"https://p/token"}}`

func TestFormerDocumentsAreRead(t *testing.T) {
	t.Parallel()
	secret, err := encode(sample(), "system")
	if err != nil {
		t.Fatal(err)
	}
	secret.ResourceVersion = "1"
	secret.Data[contentKey] = []byte(former)
	c, err := decode(secret)
	if err != nil {
		t.Fatal(err)
	}
	want := &v1alpha1.OAuthApplicationSpec{
		IssuerURL: "https://p",
		Endpoints: &v1alpha1.Endpoints{
			AuthorizationURL: "https://p/authorize", TokenURL: "https://p/token", RefreshURL: "https://p/refresh", RevocationURL: "https://p/revoke",
			IntrospectionURL: "https://p/introspect", DeviceAuthorizationURL: "https://p/device", UserInfoURL: "https://p/me",
		},
		Client:      v1alpha1.ClientSpec{ID: "crm", Authentication: v1alpha1.ClientSecretPost},
		RedirectURL: "https://gateway/oauth2/callback",
		Scopes:      []v1alpha1.Scope{"a", "b"}, ScopeSeparator: ",", PKCE: v1alpha1.PKCES256,
		TokenRequest: &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{
			{Name: "audience", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "parameters", Key: "audience"}},
			{Name: "hidden", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "parameters", Key: "hidden"}},
		}},
	}
	if diff := cmp.Diff(want, c.Spec); diff != "" {
		t.Errorf("the spec that was made of it differs (-want +got):\n%s", diff)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", c, c.Spec), canary) {
		t.Error("parameters, which may be secret, are printed")
	}
	request, err := c.Profile().TokenRequest(oauth.RefreshToken(sensitive.New("r"), ""), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if request.URL != "https://p/refresh" || request.Client.Secret.Reveal() != "s3cr3t" || len(request.Parameters) != 2 ||
		request.Parameters[1].Value.Reveal() != canary {
		t.Errorf("the request that it makes is %+v", request)
	}
	if c.RevocationAuthentication != oauth.ClientSecretBasic || c.Issuer() != "https://p" {
		t.Errorf("the client is %+v", c)
	}
}

// TestFormerOperatorsCanRead pins what an operator before the spec reads, in case that it comes back.
func TestFormerOperatorsCanRead(t *testing.T) {
	t.Parallel()
	secret, err := encode(sample(), "system")
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Endpoints  map[string]string
		Parameters []storedParameter
		Separator  string `json:"scopeSeparator"`
		Scopes     []string
	}
	if err := json.Unmarshal(secret.Data[contentKey], &read); err != nil {
		t.Fatal(err)
	}
	wanted := []storedParameter{{"audience", "api"}, {"hidden", canary}, {"own", canary + " own"}}
	if read.Endpoints["token"] != "https://p/token" || read.Endpoints["userInfo"] != "https://p/me" || read.Separator != "," ||
		!slices.Equal(read.Scopes, []string{"a", "b"}) || !slices.Equal(read.Parameters, wanted) {
		t.Errorf("it reads %+v", read)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	spec := func(change func(*v1alpha1.OAuthApplicationSpec)) func(*Client) {
		return func(c *Client) { change(c.Spec) }
	}
	for name, test := range map[string]struct {
		change func(*Client)
		same   bool
	}{
		"ID":                       {change: func(c *Client) { c.OAuth.ID = "x" }},
		"Secret":                   {change: func(c *Client) { c.OAuth.Secret = sensitive.New("x") }},
		"Authentication":           {change: func(c *Client) { c.OAuth.Authentication = oauth.ClientSecretPost }},
		"Basic":                    {change: func(c *Client) { c.OAuth.Basic = "" }},
		"RevocationAuthentication": {change: func(c *Client) { c.RevocationAuthentication = "" }},
		"Key":                      {change: func(c *Client) { c.Key = sensitive.New("x") }},
		"Certificate":              {change: func(c *Client) { c.Certificate = sensitive.String{} }},
		"Secrets":                  {change: func(c *Client) { c.Secrets[provider.SecretKey("other", "hidden")] = sensitive.New("x") }},
		"RedirectURL":              {change: func(c *Client) { c.RedirectURL = "x" }},
		"CA":                       {change: func(c *Client) { c.CA = nil }},
		"Endpoints":                {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Endpoints.TokenURL = "x" })},
		"Parameters":               {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.TokenRequest.Parameters = nil })},
		"Format":                   {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.TokenRequest.Format = "" })},
		"Assertion": {change: spec(func(s *v1alpha1.OAuthApplicationSpec) {
			s.Client.Assertion = &v1alpha1.ClientAssertionSpec{Audience: "x"}
		})},
		"ErrorCodes": {change: spec(func(s *v1alpha1.OAuthApplicationSpec) {
			s.TokenResponse = &v1alpha1.TokenResponseSpec{ErrorCodes: map[string]v1alpha1.OAuthErrorCode{"x": "invalid_grant"}}
		})},
		"Scopes":      {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Scopes = nil })},
		"Generation":  {change: func(c *Client) { c.Generation++ }, same: true},
		"Sources":     {change: func(c *Client) { c.Sources = nil }, same: true},
		"Pauses":      {change: func(c *Client) { c.Pauses = nil }, same: true},
		"Discovery":   {change: func(c *Client) { c.Discovery = nil }, same: true},
		"DisplayName": {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.DisplayName = "x" }), same: true},
		"SecretRef":   {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Client.SecretRef = nil }), same: true},
		"Permission":  {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.AllowedNamespaces = &v1alpha1.AllowedNamespaces{} }), same: true},
		"Limits":      {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Limits = &v1alpha1.Limits{MaxConcurrent: 1} }), same: true},
		"APILimits": {change: spec(func(s *v1alpha1.OAuthApplicationSpec) {
			s.APILimits = &v1alpha1.APILimits{MaxConcurrent: 1, ResetHeader: "X-Reset"}
		}), same: true},
		"StatusCheck": {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.StatusCheck = nil }), same: true},
		"WebhookSecret": {change: func(c *Client) {
			c.Webhook = &Webhook{From: c.Webhook.From, Secret: sensitive.New("x")}
		}, same: true},
		"NoWebhookSecret": {change: func(c *Client) { c.Webhook = nil }, same: true},
		"Webhook":         {change: spec(func(s *v1alpha1.OAuthApplicationSpec) { s.Webhook = nil }), same: true},
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

func TestLane(t *testing.T) {
	t.Parallel()
	url, grantType := ParseLane(sample().Lane("refresh_token", "https://p/refresh"))
	if url != "https://p/refresh" || grantType != "refresh_token" {
		t.Errorf("the lane reads back as %s, %s", url, grantType)
	}
}

// TestKeepingChangesNoFingerprint holds for every preset: pauses and listings go by fingerprints from before and after a
// client was kept.
func TestKeepingChangesNoFingerprint(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]*Client{"sample": sample()}
	for _, preset := range catalogue.Presets() {
		c := sample()
		c.Spec = &preset.Spec
		if c.Spec.Endpoints == nil {
			c.Spec.Endpoints = &v1alpha1.Endpoints{}
		}
		c.OAuth.Basic = oauth.BasicCredentials(preset.Spec.Client.BasicCredentials)
		clients[preset.Name] = c
	}
	for name, c := range clients {
		secret, err := encode(c, "system")
		if err != nil {
			t.Fatal(err)
		}
		secret.ResourceVersion = "1"
		kept, err := decode(secret)
		if err != nil {
			t.Fatal(err)
		}
		if kept.Fingerprint() != c.Fingerprint() {
			t.Errorf("%s: the kept client has another fingerprint", name)
		}
		if again, err := encode(kept, "system"); err != nil || string(again.Data[contentKey]) != string(secret.Data[contentKey]) {
			t.Errorf("%s: kept again, it is written otherwise: %v", name, err)
		}
	}
}
