// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

//nolint:gochecknoglobals // a flag
var update = flag.Bool("update", false, "rewrite testdata/golden")

// The values that every golden file is made with. None of them is a secret of anything.
const (
	goldenClientID     = "FAKE-CLIENT-ID"
	goldenClientSecret = "FAKE-CLIENT-SECRET"
	goldenAPIKey       = "FAKE-API-KEY"
	goldenCode         = "FAKE-CODE"
	goldenVerifier     = "FAKE-VERIFIER"
	goldenChallenge    = "FAKE-CHALLENGE"
	goldenRefresh      = "FAKE-OLD-REFRESH-TOKEN"
	goldenRedirect     = "https://connect.example.com/oauth2/callback"
	goldenApplication  = "FAKE-APPLICATION-ID"
)

// responses is testdata/responses/PRESET.json: what the provider answers, and what a user would give.
type responses struct {
	ApplicationInputs map[string]string `json:"applicationInputs"`
	Inputs            map[string]string `json:"inputs"`
	Scopes            []string          `json:"scopes"`
	// Callback are further parameters of the callback.
	Callback map[string]string `json:"callback"`
	// Grant replaces the code by an extension grant.
	Grant *struct{ Type, Parameter string } `json:"grant"`
	// Response is a success of the token endpoint, with status 200.
	Response json.RawMessage `json:"response"`
	UserInfo json.RawMessage `json:"userInfo"`
	// Refused is the answer to a dead code or refresh token, WrongClient to a wrong client secret.
	Refused     refusedAnswer `json:"refused"`
	WrongClient refusedAnswer `json:"wrongClient"`
	// Events are what the provider sends to a webhook.
	Events []event `json:"events"`
}

type event struct {
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
}

type refusedAnswer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// TestGolden writes down, for each preset, each request with its headers and body, and how realistic answers are read.
func TestGolden(t *testing.T) {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]bool{}
	for _, preset := range catalogue.Presets() {
		expected[preset.Name] = true
		t.Run(preset.Name, func(t *testing.T) {
			g := &golden{t: t, answers: readResponses(t, preset.Name)}
			g.profile = goldenProfile(t, catalogue, preset.Name, g.answers)
			g.life()
			compareGolden(t, preset.Name, g.out.String())
		})
	}
	for _, pattern := range []string{"testdata/golden/*.txt", "testdata/responses/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)); !expected[name] {
				t.Errorf("%s belongs to no preset", file)
			}
		}
	}
}

func readResponses(t *testing.T, preset string) responses {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "responses", preset+".json"))
	if err != nil {
		t.Fatalf("every preset needs realistic answers: %v", err)
	}
	var read responses
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		t.Fatal(err)
	}
	return read
}

func compareGolden(t *testing.T, preset, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", preset+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at the difference after -update\n%s", file, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	wanted, found := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(wanted), len(found)) {
		var a, b string
		if i < len(wanted) {
			a = wanted[i]
		}
		if i < len(found) {
			b = found[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, a, b)
		}
	}
	return ""
}

// goldenSpec is what a user writes.
func goldenSpec(preset string, answers responses) *v1alpha1.OAuthApplicationSpec {
	spec := &v1alpha1.OAuthApplicationSpec{
		Provider: preset,
		Client:   v1alpha1.ClientSpec{ID: goldenClientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "client"}},
	}
	for name, value := range answers.ApplicationInputs {
		spec.Inputs = append(spec.Inputs, v1alpha1.Input{Name: v1alpha1.ValueName(name), Default: &value})
	}
	return spec
}

func goldenProfile(t *testing.T, catalogue *provider.Catalogue, preset string, answers responses) *provider.Profile {
	t.Helper()
	effective, err := catalogue.Effective(goldenSpec(preset, answers))
	if err != nil {
		t.Fatal(err)
	}
	rules := provider.Rules{CheckURL: func(string) error { return nil }}
	if err := provider.Validate(effective, rules); err != nil {
		t.Fatal(err)
	}
	resolved, err := provider.Resolve(effective, nil, rules)
	if err != nil {
		t.Fatal(err)
	}
	profile := &provider.Profile{
		Spec: resolved.Spec,
		Client: oauth.Client{
			ID: goldenClientID, Secret: sensitive.New(goldenClientSecret), Authentication: resolved.Authentication,
			Basic: oauth.BasicCredentials(resolved.Spec.Client.BasicCredentials),
		},
		RevocationAuthentication: resolved.RevocationAuthentication,
		RedirectURL:              goldenRedirect,
		Secrets:                  map[string]sensitive.String{},
	}
	for _, reference := range provider.SecretReferences(resolved.Spec) {
		if reference.Name != "client" || reference.Key != "api_key" {
			t.Fatalf("unknown Secret %s, key %s", reference.Name, reference.Key)
		}
		profile.Secrets[provider.SecretKey(reference.Name, reference.Key)] = sensitive.New(goldenAPIKey)
	}
	return profile
}

// golden collects what happens in the life of one connection.
type golden struct {
	t        *testing.T
	answers  responses
	profile  *provider.Profile
	out      strings.Builder
	captured map[string]string
	tokens   oauth.TokenResponse
}

func (g *golden) life() {
	g.authorize()
	g.exchange()
	g.refresh()
	g.refusals()
	g.userInfo()
	g.statusCheck()
	g.device()
	g.revoke()
	g.webhook()
}

func (g *golden) title(text string) { fmt.Fprintf(&g.out, "=== %s\n", text) }
func (g *golden) line(format string, arguments ...any) {
	fmt.Fprintf(&g.out, format+"\n", arguments...)
}

func (g *golden) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *golden) values() provider.Values {
	g.t.Helper()
	values, err := g.profile.Values(g.answers.Inputs, g.captured)
	g.must(err)
	return values
}

func (g *golden) scopes() []string {
	if len(g.answers.Scopes) > 0 {
		return g.answers.Scopes
	}
	var scopes []string
	for _, scope := range g.profile.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return scopes
}

func (g *golden) authorize() {
	g.title("authorization")
	if g.profile.Spec.Endpoints.AuthorizationURL == "" {
		g.line("none")
		return
	}
	link, err := g.profile.AuthorizationURL(provider.AuthorizationRequest{
		State: "FAKE-STATE", CodeChallenge: goldenChallenge, Scopes: g.scopes(), Values: g.values(),
	})
	g.must(err)
	g.line("GET %s", link)
	g.captured, err = g.profile.CaptureCallback(func(parameter string) string { return g.answers.Callback[parameter] })
	g.must(err)
	g.lines("captured of the callback", g.captured)
}

func (g *golden) lines(title string, values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		g.line("%s: %s = %s", title, name, values[name])
	}
}

func (g *golden) exchange() {
	verifier := sensitive.New(goldenVerifier)
	if g.profile.Spec.PKCE == v1alpha1.PKCEDisabled {
		verifier = sensitive.String{}
	}
	grant := g.profile.CodeGrant(sensitive.New(goldenCode), verifier, goldenRedirect)
	if own := g.answers.Grant; own != nil {
		grant = oauth.Extension(own.Type, []oauth.Parameter{{Name: own.Parameter, Value: sensitive.New("FAKE-PRODUCTION-TOKEN")}}, "")
	}
	g.title("exchange: " + grant.Type())
	var err error
	g.tokens, err = g.token(grant, http.StatusOK, g.answers.Response, true)
	g.must(err)
	g.captured = maps.Clone(g.captured)
	if g.captured == nil {
		g.captured = map[string]string{}
	}
	maps.Copy(g.captured, g.tokens.Captured)
	g.must(g.profile.CheckCaptured(g.captured))
	g.line("access token: %s", g.tokens.AccessToken.Reveal())
	g.line("refresh token: %s", g.tokens.RefreshToken.Reveal())
	g.line("token type: %s", g.tokens.TokenType)
	g.line("expires: %s", lifetime(g.tokens.ExpiresIn))
	g.line("refresh token expires: %s", lifetime(g.tokens.RefreshTokenExpiresIn))
	g.line("scope: %v, given: %v", g.tokens.Scope, g.tokens.ScopeGiven)
	g.line("id: %s", g.tokens.ID)
	g.line("subject: %s", g.tokens.Subject)
	g.lines("captured", g.tokens.Captured)
}

func lifetime(l oauth.Lifetime) string {
	if l.Kind == oauth.LifetimeFinite {
		return l.Duration.String()
	}
	return string(l.Kind)
}

func (g *golden) refreshGrant() (oauth.Grant, bool) {
	old := sensitive.String{}
	if !g.tokens.RefreshToken.IsEmpty() {
		old = sensitive.New(goldenRefresh)
	}
	return g.profile.RefreshGrant(old, g.tokens.AccessToken)
}

func (g *golden) refresh() {
	g.title("refresh")
	grant, ok := g.refreshGrant()
	if !ok {
		g.line("none")
		return
	}
	got, err := g.token(grant, http.StatusOK, g.answers.Response, true)
	g.must(err)
	g.line("access token: %s", got.AccessToken.Reveal())
	g.line("expires: %s", lifetime(got.ExpiresIn))
}

// refusals are of a refresh, or of a code where there is none.
func (g *golden) refusals() {
	grant, ok := g.refreshGrant()
	if !ok {
		grant = g.profile.CodeGrant(sensitive.New(goldenCode), sensitive.String{}, goldenRedirect)
	}
	for _, one := range []struct {
		title string
		refusedAnswer
	}{{"dead grant", g.answers.Refused}, {"wrong client", g.answers.WrongClient}} {
		g.title(one.title)
		_, err := g.token(grant, one.Status, one.Body, false)
		failure, ok := errors.AsType[*oauth.Error](err)
		if !ok {
			g.t.Fatalf("%s: got %v", one.title, err)
		}
		g.line("concern: %s", failure.Concern)
		g.line("code: %s", failure.Code)
		g.line("provider's code: %s", failure.ProviderCode)
		g.line("message: %s", failure.Error())
	}
}

func (g *golden) userInfo() {
	g.title("user info")
	request, ok, err := g.profile.UserInfo(g.tokens.AccessToken, g.values())
	g.must(err)
	if !ok {
		g.line("none")
		return
	}
	if len(g.answers.UserInfo) == 0 {
		g.t.Fatal("the preset looks accounts up, and the responses have no userInfo")
	}
	answer, err := g.get(request, g.answers.UserInfo)
	g.must(err)
	spec := g.profile.Spec.UserInfo
	if spec == nil {
		spec = &v1alpha1.UserInfoSpec{}
	}
	subject := "$.sub"
	if spec.Subject != "" {
		subject = string(spec.Subject)
	}
	g.line("subject: %s", answer.Text(subject))
	for _, capture := range spec.Capture {
		g.captured[string(capture.Name)] = answer.Text(string(capture.Path))
		g.line("captured: %s = %s", capture.Name, g.captured[string(capture.Name)])
	}
	g.must(g.profile.CheckCaptured(g.captured))
}

func (g *golden) statusCheck() {
	g.title("status check")
	check := g.profile.Spec.StatusCheck
	if check == nil {
		g.line("none")
		return
	}
	g.line("type: %s", check.Type)
	if check.Type == v1alpha1.StatusCheckIntrospection {
		request, err := g.profile.Introspection(g.tokens.AccessToken, oauth.HintAccessToken, g.values())
		g.must(err)
		_, err = g.caller().Introspect(context.Background(), g.wire(http.StatusOK, []byte(`{"active":true}`), true), request)
		g.must(err)
		return
	}
	if check.Probe != nil {
		request, err := g.profile.APIRequest(check.Probe.Path, g.tokens.AccessToken, g.values())
		g.must(err)
		_, err = g.get(request, []byte("{}"))
		g.must(err)
	}
	if check.ConnectionList != nil {
		g.list(check.ConnectionList)
	}
}

func (g *golden) list(list *v1alpha1.ConnectionListSpec) {
	values, err := g.profile.ApplicationValues()
	g.must(err)
	if list.Application != nil {
		g.title("list of applications")
		request, err := g.profile.ApplicationPage("", values)
		g.must(err)
		_, err = g.get(request, []byte("{}"))
		g.must(err)
	}
	for _, cursor := range []string{"", "FAKE-CURSOR"} {
		g.title("list of connections, cursor " + cursor)
		request, err := g.profile.ListPage(cursor, goldenApplication, values)
		g.must(err)
		_, err = g.get(request, []byte("{}"))
		g.must(err)
	}
}

func (g *golden) device() {
	g.title("device authorization")
	if g.profile.Spec.Endpoints.DeviceAuthorizationURL == "" {
		g.line("none")
		return
	}
	request, err := g.profile.DeviceAuthorization(g.scopes(), g.values())
	g.must(err)
	answer := []byte(`{"device_code":"FAKE-DEVICE-CODE","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device","expires_in":900}`)
	_, err = g.caller().AuthorizeDevice(context.Background(), g.wire(http.StatusOK, answer, true), request)
	g.must(err)
}

func (g *golden) revoke() {
	for _, kind := range []v1alpha1.TokenKind{v1alpha1.TokenRefresh, v1alpha1.TokenAccess} {
		g.title("revocation of " + string(kind))
		token := g.tokens.AccessToken
		if kind == v1alpha1.TokenRefresh {
			token = g.tokens.RefreshToken
		}
		if !g.profile.Revocable(kind) || token.IsEmpty() {
			g.line("none")
			continue
		}
		request, err := g.profile.Revocation(kind, token, g.values())
		g.must(err)
		g.must(g.caller().Revoke(context.Background(), g.wire(http.StatusOK, nil, true), request))
	}
}

// webhook reads realistic events by the preset's paths. Their signatures are others' to check.
func (g *golden) webhook() {
	g.title("webhook")
	webhook := g.profile.Spec.Webhook
	if webhook == nil {
		g.line("none")
		return
	}
	if len(g.answers.Events) == 0 {
		g.t.Fatal("the preset has a webhook, and the responses have no events")
	}
	for _, signature := range append([]v1alpha1.WebhookSignature{webhook.WebhookSignature}, webhook.Alternatives...) {
		written, err := json.Marshal(signature)
		g.must(err)
		g.line("signature: %s", written)
	}
	secret, _ := provider.WebhookSecret(g.profile.Spec)
	g.line("secret: %s", provider.SecretKey(secret.Name, secret.Key))
	path := string(webhook.EventType)
	if path == "" {
		path = "$.type"
	}
	for _, event := range g.answers.Events {
		body := oauth.ParseResource(event.Body)
		kind := body.Text(path)
		if webhook.EventTypeHeader != "" {
			kind = event.Headers[webhook.EventTypeHeader]
		}
		g.line("event %q: deauthorized %t, connection %q, subject %q", kind,
			slices.Contains(webhook.DeauthorizedEvents, kind), body.Text(string(webhook.ConnectionID)), body.Text(string(webhook.Subject)))
		if kind == "" { // As with a challenge.
			kind = body.Text("$.type")
		}
		if challenge := webhook.Challenge; challenge != nil && kind == challenge.EventType {
			g.line("challenge: %q", body.Text(string(challenge.Value)))
		}
	}
}

func (g *golden) token(grant oauth.Grant, status int, answer []byte, show bool) (oauth.TokenResponse, error) {
	g.t.Helper()
	request, err := g.profile.TokenRequest(grant, goldenRedirect, g.values())
	g.must(err)
	return g.caller().Token(context.Background(), g.wire(status, answer, show), request)
}

func (g *golden) get(request oauth.ResourceRequest, answer []byte) (oauth.Resource, error) {
	return g.caller().Get(context.Background(), g.wire(http.StatusOK, answer, true), request)
}

func (g *golden) caller() *oauth.Caller {
	return oauth.NewCaller(func() time.Time { return time.Date(2026, 1, 5, 20, 0, 0, 0, time.UTC) }, oauth.Options{})
}

// wire answers a request, and writes it down.
func (g *golden) wire(status int, answer []byte, show bool) http.RoundTripper {
	return roundTrip(func(request *http.Request) (*http.Response, error) {
		if show {
			g.show(request)
		}
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(answer)), Request: request,
		}, nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (g *golden) show(request *http.Request) {
	g.line("%s %s", request.Method, request.URL)
	for _, name := range slices.Sorted(maps.Keys(request.Header)) {
		for _, value := range request.Header[name] {
			g.line("%s: %s", name, value)
		}
	}
	if request.Body == nil {
		return
	}
	body, err := io.ReadAll(request.Body)
	g.must(err)
	if len(body) > 0 {
		g.line("\n%s\n", body)
	}
}
