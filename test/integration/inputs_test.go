// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestInputs is what connections and providers give to be put into URLs and parameters, and what they cannot do with it.
func TestInputs(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"a value that is needed":                          inputRequired,
		"defaults, prefixes and suffixes":                 inputNormalized,
		"values that do not fit":                          inputUnfit,
		"values that would change the URL":                inputInjected,
		"a host is the application's, or pinned":          inputHost,
		"an application whose host anybody could give":    inputHostFree,
		"other inputs, another token":                     inputChanges,
		"other inputs, and a person's grant":              inputChangesWhileHeld,
		"a value of the token response":                   captured,
		"a value of the token response that does not fit": capturedUnfit,
		"a value of the token response that is not there": capturedMissing,
		"a value of the callback":                         callbackValue,
	})
}

// at describes a provider with endpoints of its own, in place of discovery. Paths begin with a slash, or with a host.
func at(server *hostile.Server, token, refresh, revocation string) func(*v1alpha1.OAuthApplicationSpec) {
	absolute := func(path string) v1alpha1.EndpointURL {
		if !strings.HasPrefix(path, "/") {
			return v1alpha1.EndpointURL(path)
		}
		return v1alpha1.EndpointURL(server.URL + path)
	}
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.IssuerURL = ""
		spec.Endpoints = &v1alpha1.Endpoints{TokenURL: absolute(token), RefreshURL: absolute(refresh), RevocationURL: absolute(revocation)}
	}
}

func taking(inputs ...v1alpha1.Input) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) { spec.Inputs = inputs }
}

func both(changes ...func(*v1alpha1.OAuthApplicationSpec)) func(*v1alpha1.OAuthApplicationSpec) {
	return func(spec *v1alpha1.OAuthApplicationSpec) {
		for _, change := range changes {
			change(spec)
		}
	}
}

func giving(inputs map[string]v1alpha1.InputValue) func(*v1alpha1.OAuthConnectionSpec) {
	return func(spec *v1alpha1.OAuthConnectionSpec) { spec.Inputs = inputs }
}

func (s *subject) give(t *testing.T, inputs map[string]v1alpha1.InputValue) {
	t.Helper()
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Inputs = inputs })
}

// secretOfClient is the content of a client Secret.
func secretOfClient() map[string]string {
	return map[string]string{"client_secret": harness.DefaultClient().Secret}
}

// lastParam is a parameter, or part of the query, of the last token request with a grant type.
func lastParam(t *testing.T, server *hostile.Server, grantType, name string) string {
	t.Helper()
	requests := server.Requests(record.Filter{GrantType: grantType})
	if len(requests) == 0 {
		t.Fatalf("no request with %s", grantType)
	}
	return requests[len(requests)-1].Params.Get(name)
}

func invalid(texts ...string) func(*v1alpha1.OAuthConnection) error {
	wants := []func(*v1alpha1.OAuthConnection) error{
		phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonInvalidInputs), is(v1alpha1.ConditionStalled, metav1.ConditionTrue),
	}
	for _, text := range texts {
		wants = append(wants, says(text))
	}
	return all(wants...)
}

func inputRequired(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(
		at(server, "/token?tenant={tenant}", "", "/revoke?tenant={tenant}"),
		taking(v1alpha1.Input{Name: "tenant", Description: "the name of your workspace"}),
	), clientCredentials)
	s.wait(t, invalid("spec.inputs.tenant", "the name of your workspace"))
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidInputs)
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "acme", "region": "eu"})
	s.wait(t, invalid("spec.inputs.region", "tenant"))
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "acme"})
	s.wait(t, isReady)
	if got := lastParam(t, server, "client_credentials", "tenant"); got != "acme" {
		t.Errorf("tenant is %q", got)
	}
	s.delete(t)
	dead(t, server)
	if got := server.Requests(record.Filter{Endpoint: record.Revoke})[0].Params.Get("tenant"); got != "acme" {
		t.Errorf("revoked at tenant %q", got)
	}
}

func inputNormalized(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	region, audience := "eu", "https://{tenant}.example.com/{region}"
	app := both(at(server, "/token?tenant={tenant}&region={region}", "", ""), taking(
		v1alpha1.Input{Name: "tenant", Prefix: "https://", Suffix: ".example.com", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}},
		v1alpha1.Input{Name: "region", Default: &region, Restriction: v1alpha1.Restriction{Enum: []string{"eu", "us"}}},
	), func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.TokenRequest = &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{{Name: "audience", Value: &audience}}}
	})
	for given, regions := range map[string][2]string{
		"acme": {"", "eu"}, "https://acme.example.com": {"us", "us"}, "acme.example.com": {"eu", "eu"},
	} {
		inputs := map[string]v1alpha1.InputValue{"tenant": v1alpha1.InputValue(given)}
		if regions[0] != "" {
			inputs["region"] = v1alpha1.InputValue(regions[0])
		}
		s := w.clientOf(t, server, server.URL, secretOfClient(), app, clientCredentials, giving(inputs))
		s.wait(t, isReady)
		got := lastParam(t, server, "client_credentials", "tenant") + " " + lastParam(t, server, "client_credentials", "region") +
			" " + lastParam(t, server, "client_credentials", "audience")
		if want := "acme " + regions[1] + " https://acme.example.com/" + regions[1]; got != want {
			t.Errorf("%s became %s, want %s", given, got, want)
		}
	}
}

func inputUnfit(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(at(server, "/token", "", ""), taking(
		v1alpha1.Input{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: "[a-z]{3,8}"}},
		v1alpha1.Input{Name: "region", Restriction: v1alpha1.Restriction{Enum: []string{"eu", "us"}}},
	)), clientCredentials, giving(map[string]v1alpha1.InputValue{"tenant": "acme corp", "region": "eu"}))
	s.wait(t, invalid("spec.inputs.tenant", "[a-z]{3,8}"))
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "acme", "region": "mars"})
	s.wait(t, invalid("spec.inputs.region", "eu, us"))
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "acme\n", "region": "eu"})
	s.wait(t, invalid("spec.inputs.tenant"))
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "acme", "region": "eu"})
	s.wait(t, isReady)
}

// inputInjected : a value stays where it was put, or is refused.
func inputInjected(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	app := both(at(server, "/token?tenant={tenant}&fixed=1", "", ""), taking(v1alpha1.Input{Name: "tenant"}))
	for _, value := range []string{"a&fixed=2", "a#b", "a b+c%20", "../../x", "{tenant}", `a"\<>`} {
		s := w.clientOf(t, server, server.URL, secretOfClient(), app, clientCredentials, giving(map[string]v1alpha1.InputValue{"tenant": v1alpha1.InputValue(value)}))
		s.wait(t, isReady)
		if tenant, fixed := lastParam(t, server, "client_credentials", "tenant"), lastParam(t, server, "client_credentials", "fixed"); tenant != value || fixed != "1" {
			t.Errorf("%q became %q, and beside it stands %q", value, tenant, fixed)
		}
	}
	steps := both(at(server, "/{tenant}/token", "", ""), taking(v1alpha1.Input{Name: "tenant"}))
	before := server.Count(record.Filter{})
	for _, value := range []string{"..", "a/../..", `..\..`} {
		s := w.clientOf(t, server, server.URL, secretOfClient(), steps, clientCredentials, giving(map[string]v1alpha1.InputValue{"tenant": v1alpha1.InputValue(value)}))
		s.wait(t, phase(v1alpha1.ConnectionPending), says("endpoints.tokenURL"), says("tenant"))
	}
	if n := server.Count(record.Filter{}) - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// hostOf returns host and port of a server.
func hostOf(t *testing.T, server *hostile.Server) (host, port string) {
	t.Helper()
	parsed, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Hostname(), parsed.Port()
}

func inputHost(t *testing.T, w *world) {
	server, thief := w.hostile(t, harness.Options{}), w.hostile(t, harness.Options{})
	host, port := hostOf(t, server)
	own := host + ":" + port
	// The application's own host, with its port; a connection cannot say anything else.
	self := both(at(server, "http://{host}/token", "", ""), taking(v1alpha1.Input{Name: "host", Default: &own}))
	w.clientOf(t, server, server.URL, secretOfClient(), self, clientCredentials).wait(t, isReady)
	w.clientOf(t, server, server.URL, secretOfClient(), self, clientCredentials,
		giving(map[string]v1alpha1.InputValue{"host": v1alpha1.InputValue(own)})).wait(t, isReady)
	// Hosts that the application lists.
	listed := both(at(server, "http://{host}:"+port+"/token", "", ""), taking(
		v1alpha1.Input{Name: "host", Restriction: v1alpha1.Restriction{Enum: []string{host, "192.0.2.1"}}},
	))
	w.clientOf(t, server, server.URL, secretOfClient(), listed, clientCredentials,
		giving(map[string]v1alpha1.InputValue{"host": v1alpha1.InputValue(host)})).wait(t, isReady)
	// A domain that it fixes.
	pinned := both(at(server, "https://{tenant}.example.com/token", "", ""), taking(
		v1alpha1.Input{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: ".+"}},
	))

	thiefHost := strings.TrimPrefix(thief.URL, "http://")
	for _, one := range []struct {
		app   func(*v1alpha1.OAuthApplicationSpec)
		input string
		value string
		says  []string
	}{
		{self, "host", thiefHost, []string{"spec.inputs.host", "default of the input", "enum"}},
		{listed, "host", thiefHost, []string{"spec.inputs.host", "192.0.2.1"}},
		{pinned, "tenant", thiefHost + "/", []string{"spec.inputs.tenant", "host"}},
		{pinned, "tenant", thiefHost + "#", []string{"spec.inputs.tenant", "host"}},
		{pinned, "tenant", "user@" + thiefHost + "?", []string{"spec.inputs.tenant", "host"}},
	} {
		s := w.clientOf(t, server, server.URL, secretOfClient(), one.app, clientCredentials,
			giving(map[string]v1alpha1.InputValue{one.input: v1alpha1.InputValue(one.value)}))
		s.wait(t, invalid(one.says...))
	}
	if n := thief.Count(record.Filter{}); n != 0 {
		t.Errorf("%d requests to a host that a connection gave", n)
	}
}

func inputHostFree(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL,
		at(server, "https://{tenant}/token", "", ""), taking(v1alpha1.Input{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: `.*\.com`}}))
	create(t, app, clientSecret, connection(w.namespace, name, name, clientCredentials, giving(map[string]v1alpha1.InputValue{"tenant": "thief.com"})))
	waitConnection(t, w.namespace, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonApplicationNotReady),
		says("inputs[tenant]"), says("default"), says("enum")))
	waitEvent(t, w.namespace, name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidConfiguration)
}

func inputChanges(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(
		at(server, "/token?tenant={tenant}", "", "/revoke?tenant={tenant}"), taking(v1alpha1.Input{Name: "tenant"}),
	), clientCredentials, giving(map[string]v1alpha1.InputValue{"tenant": "acme"}))
	s.wait(t, isReady)
	first := s.token(t)
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "globex"})
	s.waitOtherToken(t, first)
	s.wait(t, isReady)
	s.quiet(t)
	if got, n := lastParam(t, server, "client_credentials", "tenant"), s.tokenRequests(); got != "globex" || n != 2 {
		t.Errorf("the last of %d requests was for tenant %q", n, got)
	}
}

func inputChangesWhileHeld(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(
		at(server, "/token?tenant={tenant}", "", "/revoke?tenant={tenant}"),
		taking(v1alpha1.Input{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}}),
	), giving(map[string]v1alpha1.InputValue{"tenant": "acme"}))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	token := s.token(t)

	// A mistake costs nothing while the token lives.
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "A mistake"})
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, says("spec.inputs.tenant"))
	s.requestRefresh(t)
	s.quiet(t)
	if s.token(t) != token {
		t.Error("the token was changed")
	}
	// A tenant that was renamed: nobody has to authorize again.
	s.give(t, map[string]v1alpha1.InputValue{"tenant": "globex"})
	s.waitOtherToken(t, token)
	s.wait(t, isReady, refreshed)
	if got := lastParam(t, server, "refresh_token", "tenant"); got != "globex" {
		t.Errorf("refreshed at tenant %q", got)
	}
	s.delete(t)
	dead(t, server)
	for _, request := range server.Requests(record.Filter{Endpoint: record.Revoke}) {
		if got := request.Params.Get("tenant"); got != "globex" {
			t.Errorf("revoked at tenant %q", got)
		}
	}
}

// capturing describes a provider that names, in each token response, where to go on.
func capturing(server *hostile.Server, pattern string) func(*v1alpha1.OAuthApplicationSpec) {
	return both(at(server, "/token", "/token?instance={instance}", "/revoke?instance={instance}"), func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{
			{Name: "instance", Path: "$.instance", Restriction: v1alpha1.Restriction{Pattern: pattern}},
		}}
	})
}

func captured(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.SetAccount("user-1", hostile.Account{Fields: map[string]any{"instance": "first"}})
	s := w.clientOf(t, server, server.URL, secretOfClient(), capturing(server, "[a-z]+"))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	for _, step := range []struct{ next, at string }{{"second", "first"}, {"", "second"}, {"third", "second"}} {
		account := hostile.Account{Fields: map[string]any{"instance": step.next}}
		if step.next == "" { // What an answer does not repeat is kept.
			account.Fields = nil
		}
		server.SetAccount("user-1", account)
		s.wait(t, observed(s.requestRefresh(t)), isReady)
		if got := lastParam(t, server, "refresh_token", "instance"); got != step.at {
			t.Errorf("refreshed at %q, want %q", got, step.at)
		}
	}
	s.delete(t)
	dead(t, server)
	for _, request := range server.Requests(record.Filter{Endpoint: record.Revoke}) {
		if got := request.Params.Get("instance"); got != "third" {
			t.Errorf("revoked at %q", got)
		}
	}
}

// capturedUnfit : the tokens are safe, and the provider's value goes nowhere.
func capturedUnfit(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	server.SetAccount("user-1", hostile.Account{Fields: map[string]any{"instance": "Not what it should be"}})
	app := capturing(server, "[a-z]+")
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(app, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Endpoints.RevocationURL = v1alpha1.EndpointURL(server.URL + "/revoke")
	}))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, phase(v1alpha1.ConnectionActive), isReady, says("tokenResponse.capture[instance]"), says("[a-z]+"), says("application "+w.namespace+"/"+s.name+": spec."))
	s.requestRefresh(t)
	s.quiet(t)
	if n := refreshes(server); n != 0 {
		t.Errorf("%d refreshes", n)
	}
	s.delete(t)
	dead(t, server)
}

func capturedMissing(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), capturing(server, "[a-z]+"))
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	s.requestRefresh(t)
	s.wait(t, isReady, says("endpoints.refreshURL"), says("{instance}"))
	if n := refreshes(server); n != 0 {
		t.Errorf("%d refreshes", n)
	}
	// A refresh token that was never sent is as good as before.
	update(t, s.application(t), func(a *v1alpha1.OAuthApplication) {
		a.Spec.Endpoints.RefreshURL, a.Spec.Endpoints.RevocationURL = "", v1alpha1.EndpointURL(server.URL+"/revoke")
	})
	s.wait(t, isReady, refreshed)
	s.delete(t)
	dead(t, server)
}

func callbackValue(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	s := w.clientOf(t, server, server.URL, secretOfClient(), both(at(server, "/token?region={region}", "", "/revoke?region={region}"), func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{
			{Name: "region", Parameter: "location", Restriction: v1alpha1.Restriction{Enum: []string{"eu", "us"}}},
		}}
	}))
	code, verifier := newCode(t, server)
	codes := secret(w.namespace, s.name+"-code", map[string]string{"code": code, "code_verifier": verifier, "location": "mars"})
	create(t, codes)
	s.wait(t, invalid(codes.Name, "callback.capture[region]", "eu, us"))
	update(t, codes, func(c *corev1.Secret) { delete(c.Data, "location"); c.StringData = nil })
	s.wait(t, phase(v1alpha1.ConnectionPending), says("{region}"), says("endpoints.tokenURL"))
	if n := s.tokenRequests(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	update(t, codes, func(c *corev1.Secret) { c.StringData = map[string]string{"location": "eu"} })
	given := time.Now()
	s.wait(t, isReady)
	t.Logf("from the value to the token: %s", time.Since(given))
	if n := server.Uses(code); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	s.wait(t, observed(s.requestRefresh(t)), refreshed)
	if exchange, refresh := lastParam(t, server, "authorization_code", "region"), lastParam(t, server, "refresh_token", "region"); exchange != "eu" || refresh != "eu" {
		t.Errorf("exchanged at %q, refreshed at %q", exchange, refresh)
	}
	// Another code comes with a value of its own.
	first := s.token(t)
	code, verifier = newCode(t, server)
	update(t, codes, func(c *corev1.Secret) {
		c.StringData = map[string]string{"code": code, "code_verifier": verifier, "location": "us"}
	})
	s.waitOtherToken(t, first)
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	if got := lastParam(t, server, "refresh_token", "region"); got != "us" {
		t.Errorf("refreshed at %q", got)
	}
	s.delete(t)
	dead(t, server)
	testenv.Eventually(t, patience, func() error {
		for _, request := range server.Requests(record.Filter{Endpoint: record.Revoke}) {
			if got := request.Params.Get("region"); got != "us" && got != "eu" {
				return fmt.Errorf("revoked at %q", got)
			}
		}
		return nil
	})
}
