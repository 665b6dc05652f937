// SPDX-License-Identifier: Apache-2.0

// Package contract runs each preset of the catalogue against a server with its provider's habits, which are written down
// here a second time, from what is known of the provider.
package contract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	product "github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TestEveryPresetHasAScript and every script a preset.
func TestEveryPresetHasAScript(t *testing.T) {
	catalogue := load(t)
	scripted := map[string]bool{}
	for _, s := range scripts() {
		scripted[s.preset] = true
	}
	for _, preset := range catalogue.Presets() {
		if !scripted[preset.Name] {
			t.Errorf("the preset %s has no script", preset.Name)
		}
		delete(scripted, preset.Name)
	}
	for name := range scripted {
		t.Errorf("the script %s belongs to no preset", name)
	}
}

// TestContract takes a connection of each preset through its life.
func TestContract(t *testing.T) {
	catalogue := load(t)
	for _, s := range scripts() {
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			server := newProvider(t, s)
			l := &life{
				t: t, script: s, server: server, internet: connect(t, server), profile: profileOf(t, catalogue, s),
				caller: oauth.NewCaller(func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }, oauth.Options{}),
			}
			l.run()
		})
	}
}

func load(t *testing.T) *product.Catalogue {
	t.Helper()
	catalogue, err := product.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return catalogue
}

// profileOf resolves what a user writes.
func profileOf(t *testing.T, catalogue *product.Catalogue, s script) *product.Profile {
	t.Helper()
	spec := &v1alpha1.OAuthApplicationSpec{
		Provider: s.preset, Client: v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "client"}},
	}
	for name, value := range s.application {
		spec.Inputs = append(spec.Inputs, v1alpha1.Input{Name: v1alpha1.ValueName(name), Default: &value})
	}
	effective, err := catalogue.Effective(spec)
	if err != nil {
		t.Fatal(err)
	}
	rules := product.Rules{CheckURL: func(string) error { return nil }}
	if err := product.Validate(effective, rules); err != nil {
		t.Fatal(err)
	}
	resolved, err := product.Resolve(effective, nil, rules)
	if err != nil {
		t.Fatal(err)
	}
	profile := &product.Profile{
		Spec: resolved.Spec,
		Client: oauth.Client{
			ID: clientID, Secret: sensitive.New(clientSecret), Authentication: resolved.Authentication,
			Basic: oauth.BasicCredentials(resolved.Spec.Client.BasicCredentials),
		},
		RevocationAuthentication: resolved.RevocationAuthentication,
		RedirectURL:              redirectURL,
		Secrets:                  map[string]sensitive.String{product.SecretKey("client", "api_key"): sensitive.New(apiKey)},
	}
	return profile
}

// life is one connection.
type life struct {
	t        *testing.T
	script   script
	server   *provider
	internet *internet
	profile  *product.Profile
	caller   *oauth.Caller

	captured map[string]string
	held     oauth.TokenResponse
}

func (l *life) run() {
	l.obtain()
	l.checkAnswer()
	l.lookUp()
	l.use()
	l.check(true)
	l.renew()
	l.stranger()
	l.refusals()
	l.device()
	l.server.end()
	l.check(false)
	l.refused()
	l.obtain()
	l.lookUp()
	l.revoke()
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) values() product.Values {
	l.t.Helper()
	values, err := l.profile.Values(l.script.inputs, l.captured)
	l.must(err)
	return values
}

func (l *life) scopes() []string {
	if l.script.scopes != nil {
		return l.script.scopes
	}
	var scopes []string
	for _, scope := range l.profile.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return scopes
}

// credential is what a connection is made of, fresh from the provider: mostly a code.
func (l *life) credential() oauth.Grant {
	l.t.Helper()
	if own := l.script.token; own.grant != "" {
		return oauth.Extension(own.grant, []oauth.Parameter{{Name: own.parameter, Value: sensitive.New(l.server.productionToken())}}, "")
	}
	const state = "a-state-of-more-than-16-characters"
	verifier := sensitive.New("a-verifier-of-at-least-43-characters-as-RFC-7636-wants-it")
	if l.profile.Spec.PKCE == v1alpha1.PKCEDisabled {
		verifier = sensitive.String{}
	}
	link, err := l.profile.AuthorizationURL(product.AuthorizationRequest{
		State: state, CodeChallenge: challengeOf(verifier.Reveal()), Scopes: l.scopes(), Values: l.values(),
	})
	l.must(err)
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, link, nil)
	l.must(err)
	answer, err := l.internet.transport.RoundTrip(request)
	l.must(err)
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	l.must(err)
	callback, err := l.profile.ReadCallback(back.Query())
	l.must(err)
	if callback.State != state || callback.Error != "" {
		l.t.Fatalf("the callback is %+v", callback)
	}
	l.captured = callback.Captured
	return l.profile.CodeGrant(callback.Code, verifier, redirectURL)
}

func (l *life) request(profile *product.Profile, g oauth.Grant) (oauth.TokenResponse, error) {
	l.t.Helper()
	request, err := profile.TokenRequest(g, redirectURL, l.values())
	l.must(err)
	return l.caller.Token(context.Background(), l.internet.transport, request)
}

func (l *life) obtain() {
	l.t.Helper()
	var err error
	l.captured = nil
	l.held, err = l.request(l.profile, l.credential())
	l.must(err)
	l.keep(l.held.Captured)
}

func (l *life) keep(captured map[string]string) {
	l.t.Helper()
	all := map[string]string{}
	maps.Copy(all, l.captured)
	maps.Copy(all, captured)
	l.captured = all
	l.must(l.profile.CheckCaptured(all))
}

func (l *life) checkAnswer() {
	want := l.script.expect
	if got := l.held.ExpiresIn; got != want.lifetime {
		l.t.Errorf("the token lives %v, want %v", got, want.lifetime)
	}
	if got := l.held.RefreshTokenExpiresIn.Duration; got != want.refreshLifetime {
		l.t.Errorf("the refresh token lives %v, want %v", got, want.refreshLifetime)
	}
	if scopes := want.scopes; scopes != nil && !slices.Equal(l.held.Scope, scopes) {
		l.t.Errorf("the scopes are %v, want %v", l.held.Scope, scopes)
	}
	if l.held.ID != want.id {
		l.t.Errorf("the id is %q, want %q", l.held.ID, want.id)
	}
	renewable := !l.held.RefreshToken.IsEmpty() || l.profile.RenewsByAccessToken()
	if renewable != (l.script.token.renewal != noRefresh) {
		l.t.Errorf("the tokens can be renewed: %v", renewable)
	}
}

func (l *life) lookUp() {
	l.t.Helper()
	subject := l.held.Subject
	if looked, ok := l.account(); ok && subject == "" {
		subject = looked
	} else if ok && looked != subject {
		l.t.Errorf("the token's answer says subject %q, the account's %q", subject, looked)
	}
	if subject != l.script.expect.subject {
		l.t.Errorf("the subject is %q, want %q", subject, l.script.expect.subject)
	}
	if want := l.script.expect.captured; !maps.Equal(l.captured, want) && len(l.captured)+len(want) > 0 {
		l.t.Errorf("captured %v, want %v", l.captured, want)
	}
}

// account asks whose the token is. ok is false where the provider cannot be asked.
func (l *life) account() (subject string, ok bool) {
	l.t.Helper()
	request, ok, err := l.profile.UserInfo(l.held.AccessToken, l.values())
	l.must(err)
	if !ok {
		return "", false
	}
	answer, err := l.caller.Get(context.Background(), l.internet.transport, request)
	l.must(err)
	if answer.Status != http.StatusOK {
		l.t.Fatalf("the account cannot be looked up: %d", answer.Status)
	}
	spec := l.profile.Spec.UserInfo
	if spec == nil {
		spec = &v1alpha1.UserInfoSpec{}
	}
	captured := map[string]string{}
	for _, one := range spec.Capture {
		captured[string(one.Name)] = answer.Text(string(one.Path))
	}
	l.keep(captured)
	return answer.Text(cmp.Or(string(spec.Subject), "$.sub")), true
}

// use calls the API as the proxy would.
func (l *life) use() {
	l.t.Helper()
	if l.script.expect.usePath == "" {
		return
	}
	request, err := l.profile.APIRequest(l.script.expect.usePath, l.held.AccessToken, l.values())
	l.must(err)
	answer, err := l.caller.Get(context.Background(), l.internet.transport, request)
	l.must(err)
	if answer.Status != http.StatusOK {
		l.t.Errorf("the API answers %d", answer.Status)
	}
	if l.server.seen[l.script.expect.useAddress] == 0 {
		l.t.Errorf("%s led to %s, not to %s", l.script.expect.usePath, request.URL, l.script.expect.useAddress)
	}
}

// check asks what the operator asks from time to time.
func (l *life) check(alive bool) {
	l.t.Helper()
	spec := l.profile.Spec.StatusCheck
	if (spec != nil) != l.script.checked {
		l.t.Fatalf("there is a status check: %v", spec != nil)
	}
	if spec == nil {
		return
	}
	if got := l.works(spec); got != alive {
		l.t.Errorf("the status check says that the grant lives: %v, want %v", got, alive)
	}
}

func (l *life) works(spec *v1alpha1.StatusCheckSpec) bool {
	l.t.Helper()
	if spec.Type == v1alpha1.StatusCheckIntrospection {
		request, err := l.profile.Introspection(l.held.AccessToken, oauth.HintAccessToken, l.values())
		l.must(err)
		answer, err := l.caller.Introspect(context.Background(), l.internet.transport, request)
		l.must(err)
		return answer.Active
	}
	if spec.Type == v1alpha1.StatusCheckConnectionList {
		listed := l.listed(spec.ConnectionList)
		if works := l.probe(spec.Probe); works != listed {
			l.t.Errorf("the list says that the grant lives: %v, the probe: %v", listed, works)
		}
		return listed
	}
	if spec.Type != v1alpha1.StatusCheckProbe {
		l.t.Fatalf("the type of the status check is %q", spec.Type)
	}
	return l.probe(spec.Probe)
}

func (l *life) probe(spec *v1alpha1.ProbeSpec) bool {
	l.t.Helper()
	if spec == nil {
		spec = &v1alpha1.ProbeSpec{}
	}
	request, err := l.profile.APIRequest(spec.Path, l.held.AccessToken, l.values())
	l.must(err)
	answer, err := l.caller.Get(context.Background(), l.internet.transport, request)
	l.must(err)
	inactive := spec.InactiveStatuses
	if len(inactive) == 0 {
		inactive = []int32{http.StatusUnauthorized}
	}
	dead := slices.ContainsFunc(inactive, func(status int32) bool { return int(status) == answer.Status })
	if when := spec.InactiveWhen; when != nil && dead {
		dead = slices.Contains(when.Values, answer.Text(string(when.Path)))
	}
	if !dead && answer.Status != http.StatusOK {
		l.t.Errorf("the probe is answered with %d, which says nothing", answer.Status)
	}
	return !dead
}

func (l *life) listed(spec *v1alpha1.ConnectionListSpec) bool {
	l.t.Helper()
	values, err := l.profile.ApplicationValues()
	l.must(err)
	get := func(request oauth.ResourceRequest, err error) oauth.Resource {
		l.t.Helper()
		l.must(err)
		answer, err := l.caller.Get(context.Background(), l.internet.transport, request)
		l.must(err)
		if answer.Status != http.StatusOK {
			l.t.Fatalf("%s is answered with %d", request.URL, answer.Status)
		}
		return answer
	}
	applications := get(l.profile.ApplicationPage("", values)).Items("$.data[*]")
	if len(applications) != 1 || applications[0].Text("$.client_id") != clientID {
		l.t.Fatalf("the list of applications has %d entries", len(applications))
	}
	cursor, works := "", false
	for range 3 {
		answer := get(l.profile.ListPage(cursor, applications[0].Text("$.id"), values))
		for _, item := range answer.Items("$.data[*]") {
			if item.Text(string(spec.Subject)) == l.held.Subject {
				works = item.Text("$.status") == "active"
			}
		}
		if cursor = answer.Text(string(spec.Page.NextCursor)); cursor == "" {
			break
		}
	}
	return works
}

func (l *life) renew() {
	l.t.Helper()
	if l.script.token.renewal == noRefresh {
		return
	}
	for range 2 { // The second time shows that the right one was kept.
		grant, ok := l.profile.RefreshGrant(l.held.RefreshToken, l.held.AccessToken)
		if !ok {
			l.t.Fatal("there is nothing to refresh with")
		}
		got, err := l.request(l.profile, grant)
		l.must(err)
		if got.AccessToken.Equal(l.held.AccessToken) {
			l.t.Error("the refresh brought the same access token")
		}
		if got.RefreshToken.IsEmpty() {
			got.RefreshToken = l.held.RefreshToken
		}
		l.held = got
		l.keep(got.Captured)
	}
	if !l.server.alive(l.held.AccessToken.Reveal()) {
		l.t.Error("the refreshed token does not work")
	}
}

// stranger refreshes, or exchanges a code, with a wrong secret.
func (l *life) stranger() {
	l.t.Helper()
	wrong := *l.profile
	wrong.Client.Secret = sensitive.New("not-the-secret")
	if l.script.token.headers["Authorization"] != "" {
		wrong.Secrets = map[string]sensitive.String{product.SecretKey("client", "api_key"): sensitive.New("not-the-key")}
	}
	grant, ok := l.profile.RefreshGrant(l.held.RefreshToken, l.held.AccessToken)
	if !ok {
		captured := l.captured
		grant = l.credential()
		l.captured = captured
	}
	_, err := l.request(&wrong, grant)
	l.concerns("a wrong client", err, l.script.expect.stranger, oauth.ConcernApplication)
}

// refusals are answers that say something about grant, client or provider by a code of the provider's own.
func (l *life) refusals() {
	l.t.Helper()
	for _, one := range l.script.refusals {
		l.server.mu.Lock()
		l.server.refusal = &one.answer
		l.server.mu.Unlock()
		grant, ok := l.profile.RefreshGrant(l.held.RefreshToken, l.held.AccessToken)
		if !ok {
			grant = l.profile.CodeGrant(sensitive.New("a-code"), sensitive.String{}, redirectURL)
		}
		_, err := l.request(l.profile, grant)
		l.concerns(fmt.Sprint(one.answer.body), err, one.concern, one.concern)
	}
}

// device starts a device authorization. How it goes on is not the provider's own.
func (l *life) device() {
	l.t.Helper()
	if known := l.profile.Spec.Endpoints.DeviceAuthorizationURL != ""; known != (l.script.device != "") {
		l.t.Errorf("there is a device authorization endpoint: %v", known)
	}
	if l.script.device == "" {
		return
	}
	request, err := l.profile.DeviceAuthorization(l.scopes(), l.values())
	l.must(err)
	got, err := l.caller.AuthorizeDevice(context.Background(), l.internet.transport, request)
	l.must(err)
	if got.UserCode != "WDJB-MJHT" {
		l.t.Errorf("the device authorization is %+v", got)
	}
}

// refused refreshes when the grant has ended, or sends a code that is no good.
func (l *life) refused() {
	l.t.Helper()
	grant, ok := l.profile.RefreshGrant(l.held.RefreshToken, l.held.AccessToken)
	if !ok {
		grant = l.profile.CodeGrant(sensitive.New("not-a-code"), sensitive.String{}, redirectURL)
		if own := l.script.token; own.grant != "" {
			grant = oauth.Extension(own.grant, []oauth.Parameter{{Name: own.parameter, Value: sensitive.New("not-a-token")}}, "")
		}
	}
	_, err := l.request(l.profile, grant)
	l.concerns("a dead grant", err, l.script.expect.dead, oauth.ConcernGrant)
}

func (l *life) concerns(what string, err error, want, otherwise oauth.Concern) {
	l.t.Helper()
	want = cmp.Or(want, otherwise)
	failure, ok := errors.AsType[*oauth.Error](err)
	if !ok || failure.Concern != want || failure.Sent != oauth.Answered {
		l.t.Errorf("%s: got %v, want %s", what, err, want)
		return
	}
	if (failure.Concern == oauth.ConcernGrant || failure.Concern == oauth.ConcernApplication) && failure.Code == "" {
		l.t.Errorf("%s: no code in %v", what, err)
	}
}

func (l *life) revoke() {
	l.t.Helper()
	ended := false
	for _, one := range []struct {
		kind  v1alpha1.TokenKind
		token sensitive.String
	}{{v1alpha1.TokenRefresh, l.held.RefreshToken}, {v1alpha1.TokenAccess, l.held.AccessToken}} {
		if !l.profile.Revocable(one.kind) || one.token.IsEmpty() {
			continue
		}
		if l.script.revoke == nil {
			l.t.Fatal("there is nothing to revoke with")
		}
		request, err := l.profile.Revocation(one.kind, one.token, l.values())
		l.must(err)
		err = l.caller.Revoke(context.Background(), l.internet.transport, request)
		if failure, ok := errors.AsType[*oauth.Error](err); ok && ended && failure.Concern == oauth.ConcernGrant {
			err = nil // Dead already, with the other one.
		}
		l.must(err)
		ended = true
	}
	if ended != (l.script.revoke != nil) {
		l.t.Errorf("tokens can be revoked: %v", ended)
	}
	if l.server.alive(l.held.AccessToken.Reveal()) == ended {
		l.t.Errorf("the token works after its revocation, or there is none: %v", ended)
	}
}
