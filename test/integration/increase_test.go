// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	productionKey = "platform-api-key-of-production"
	sandboxKey    = "platform-api-key-of-the-sandbox"
	production    = "increase"
	sandbox       = "increase-sandbox"
)

// listings counts the requests for pages of lists, and checks those with a connection's own token.
func listings(e *increase.Environment) int {
	return e.Count(record.Filter{Endpoint: increase.Connections})
}

func checks(e *increase.Environment) int { return e.Count(record.Filter{Endpoint: increase.Accounts}) }

// environment makes Increase look like the other servers of the tests.
type environment struct{ *increase.Environment }

func (e environment) NewCode(clientID, _ string, scopes []string, _ string) (code, verifier string, err error) {
	code, err = e.Environment.NewCode(clientID, strings.Join(scopes, " "))
	return code, "", err
}

func (e environment) Introspect(token string) bool { return e.Works(token) }

func (e environment) RevokeGrant(token string) error {
	grant, ok := e.GrantOf(token)
	if !ok {
		return errors.New("no such token")
	}
	return e.Deauthorize(grant.ID)
}

// platform is a platform that uses Increase: a server of its own, and the names of its applications in the cluster.
type platform struct {
	*increase.Server
	w *world
	// production and sandbox are the applications' names, secretName that of the Secret of each with both credentials.
	production, sandbox string
}

func (w *world) platform(t *testing.T, o increase.Options) *platform {
	t.Helper()
	o.APIKey, o.SandboxAPIKey, o.Strict = productionKey, sandboxKey, true
	server, err := increase.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w.watch(environment{server.Production})
	w.watch(environment{server.Sandbox})
	w.mustNotShow(productionKey, sandboxKey, increase.DefaultRegistration().ClientSecret)
	p := &platform{Server: server, w: w, production: w.name()}
	p.apply(t, p.production, production, server.Production, productionKey)
	return p
}

// addSandbox creates the application of the sandbox.
func (p *platform) addSandbox(t *testing.T) {
	t.Helper()
	p.sandbox = p.w.name()
	p.apply(t, p.sandbox, sandbox, p.Sandbox, sandboxKey)
}

// apply creates an application of a preset. What of the preset names Increase's hosts is overridden, as a user may; the
// interval is long, so that no list is read but those that somebody asks for.
func (p *platform) apply(t *testing.T, name, preset string, e *increase.Environment, key string) {
	t.Helper()
	registered := increase.DefaultRegistration()
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.w.namespace, Name: name},
		Spec: v1alpha1.OAuthApplicationSpec{
			Provider:    preset,
			Client:      v1alpha1.ClientSpec{ID: registered.ClientID, SecretRef: &v1alpha1.SecretKeyReference{Name: name + "-client"}},
			RedirectURL: registered.RedirectURL,
			Endpoints:   &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(e.URL + "/oauth/tokens")},
			APIBaseURL:  v1alpha1.EndpointURL(e.URL),
			StatusCheck: &v1alpha1.StatusCheckSpec{
				Type: v1alpha1.StatusCheckConnectionList, Interval: &metav1.Duration{Duration: 24 * time.Hour},
			},
		},
	}
	if preset == production {
		app.Spec.Endpoints.AuthorizationURL = v1alpha1.EndpointURL(e.AuthorizationURL())
	}
	create(t, app, secret(p.w.namespace, name+"-client", map[string]string{
		v1alpha1.DefaultClientSecretKey: registered.ClientSecret, "api_key": key,
	}))
}

// connect creates a connection and its Secret with a code to which a group has just consented.
func (p *platform) connect(t *testing.T, group string, change ...func(*v1alpha1.OAuthConnectionSpec)) *subject {
	t.Helper()
	s := &subject{w: p.w, name: p.w.name(), server: environment{p.Production}, url: p.Production.URL}
	made := connection(p.w.namespace, s.name, p.production, append(change, noVerifier)...)
	scope := increase.ReadOnly
	if len(made.Spec.Scopes) > 0 {
		scope = string(made.Spec.Scopes[0])
	}
	create(t, made, secret(p.w.namespace, s.name+"-code", map[string]string{v1alpha1.DefaultCodeKey: p.consent(t, group, scope)}))
	return s
}

func noVerifier(spec *v1alpha1.OAuthConnectionSpec) {
	spec.Grant.AuthorizationCode.CodeVerifierSecretRef = nil
}

// consent is what a person of a group does at the authorization page.
func (p *platform) consent(t *testing.T, group, scope string) string {
	t.Helper()
	p.SetGroup(group)
	code, err := p.Production.NewCode(increase.DefaultRegistration().ClientID, scope)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// listed creates a connection for each group and waits until the provider's list has shown them.
func (p *platform) listed(t *testing.T, groups ...string) []*subject {
	t.Helper()
	var all []*subject
	for _, group := range groups {
		all = append(all, p.connect(t, group))
	}
	for _, s := range all {
		s.wait(t, isReady)
	}
	p.list(t, p.production)
	for _, s := range all {
		s.wait(t, isReady, identified)
	}
	return all
}

// list has an application's list read now: by a change of its description, where a request might have to wait.
func (p *platform) list(t *testing.T, application string) {
	t.Helper()
	update(t, get(t, p.w.namespace, application, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		a.Spec.StatusCheck.Interval = &metav1.Duration{Duration: a.Spec.StatusCheck.Interval.Duration + time.Hour}
	})
}

// deauthorize is what the user behind a connection does in the dashboard.
func (p *platform) deauthorize(t *testing.T, s *subject) increase.Grant {
	t.Helper()
	id := p.grant(t, p.Production, s).ID
	if err := p.Production.Deauthorize(id); err != nil {
		t.Fatal(err)
	}
	return p.grant(t, p.Production, s)
}

// fromProduction creates a connection of the sandbox that gets its token from one of production.
func (p *platform) fromProduction(t *testing.T, from *subject) *subject {
	t.Helper()
	s := &subject{w: p.w, name: p.w.name(), server: environment{p.Sandbox}, url: p.Sandbox.URL}
	create(t, connection(p.w.namespace, s.name, p.sandbox, func(spec *v1alpha1.OAuthConnectionSpec) {
		spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantExtension, Extension: &v1alpha1.ExtensionGrant{
			GrantType: "production_token",
			Parameters: []v1alpha1.ExtensionParameter{
				{Name: "production_token", ConnectionRef: &v1alpha1.ConnectionReference{Name: from.name}},
			},
		}}
	}))
	return s
}

// grant is the provider's side of the token in the subject's Secret.
func (p *platform) grant(t *testing.T, e *increase.Environment, s *subject) increase.Grant {
	t.Helper()
	grant, ok := e.GrantOf(s.token(t))
	if !ok {
		t.Fatal("the provider does not know the token")
	}
	return grant
}

// api calls the accounts with the token of a Secret and returns the HTTP status.
func (p *platform) api(t *testing.T, s *subject, method string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.Production.URL+"/accounts", strings.NewReader(`{"name": "Rent"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token(t))
	request.Header.Set("Content-Type", "application/json")
	response, err := p.Production.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// identified wants the list to have shown the connection.
func identified(c *v1alpha1.OAuthConnection) error {
	if c.Status.ID == "" {
		return errors.New("want status.id")
	}
	return nil
}

// waitApplication waits until an application is as a condition wants it: nil means it is.
func (p *platform) waitApplication(t *testing.T, name string, is func(*v1alpha1.OAuthApplication) error) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		a := &v1alpha1.OAuthApplication{}
		if err := plane.Client().Get(context.Background(), key(p.w.namespace, name), a); err != nil {
			return err
		}
		if err := is(a); err != nil {
			return fmt.Errorf("%w; status is %+v, connections %+v", err, a.Status, a.Status.Connections)
		}
		return nil
	})
}

func unmanaged(want int32) func(*v1alpha1.OAuthApplication) error {
	return func(a *v1alpha1.OAuthApplication) error {
		if c := a.Status.Connections; c == nil || c.Unmanaged == nil || *c.Unmanaged != want {
			return fmt.Errorf("want %d unmanaged", want)
		}
		return nil
	}
}

// TestIncrease is the provider whose tokens never expire and who tells the end of a grant in a list alone.
func TestIncrease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, test := range map[string]func(*testing.T, *world){
		"a code becomes a token that never expires":             increaseCode,
		"read_only may only read, read_write may write":         increaseScopes,
		"a code that came too late is not sent again":           increaseLateCode,
		"both credentials are needed, and a mended one is used": increaseCredentials,
		"an inactive connection, then a deleted one":            increaseEnds,
		"a new code revives a deleted connection":               increaseRevives,
		"one listing for all connections, page by page":         increasePages,
		"connections that nobody manages are counted":           increaseUnmanaged,
		"the sandbox follows production":                        increaseSandbox,
		"the application is deleted at the provider":            increaseApplicationDeleted,
		"a token that its API refuses":                          increaseProbe,
		"an outage of the list changes nothing":                 increaseOutage,
		"a deletion says what becomes of the grant":             increaseDeletion,
		"without preset, and with nothing but a list":           increaseByHand,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func increaseCode(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	consented := time.Now()
	s := p.connect(t, "group_first")
	c := s.wait(t, isReady, identified, phase(v1alpha1.ConnectionActive), says("never expires"), scopes(increase.ReadOnly),
		is(v1alpha1.ConditionAuthorized, metav1.ConditionTrue), is(v1alpha1.ConditionScopesGranted, metav1.ConditionTrue))

	exchanges := p.Production.Requests(record.Filter{Endpoint: record.Token})
	if len(exchanges) != 1 || p.Production.MaxUses() != 1 || p.Production.Reuse() != 0 {
		t.Fatalf("the provider was asked %d times for a token", len(exchanges))
	}
	exchange := exchanges[0]
	if took := exchange.Time.Sub(consented); took > time.Minute {
		t.Errorf("the code was sent after %s", took)
	}
	if exchange.Header.Get("Content-Type") != "application/json" || exchange.Status != http.StatusOK {
		t.Errorf("the request was of type %q, its answer %d", exchange.Header.Get("Content-Type"), exchange.Status)
	}
	held := get(t, w.namespace, s.name, &corev1.Secret{})
	if at, ok := held.Data[v1alpha1.SecretKeyExpiresAt]; !ok || len(at) != 0 {
		t.Errorf("expires_at is %q, there: %t", at, ok)
	}
	grant := p.grant(t, p.Production, s)
	status := c.Status
	if status.Subject != "group_first" || status.ID != grant.ID || !strings.EqualFold(status.TokenType, "bearer") {
		t.Errorf("subject %q, id %q, token type %q of %+v", status.Subject, status.ID, status.TokenType, grant)
	}
	if status.AccessTokenExpiresAt != nil || status.NextRefreshAt != nil || status.DeletedAt != nil {
		t.Errorf("a token without end has an end: %+v", status)
	}
	if status.CreatedAt == nil || !status.CreatedAt.Time.Equal(grant.CreatedAt.Truncate(time.Second)) {
		t.Errorf("createdAt is %s, not %s", status.CreatedAt, grant.CreatedAt)
	}
	if n := checks(p.Production); n != 0 {
		t.Errorf("the API was asked %d times about a token that the list shows", n)
	}
	s.quiet(t)
}

func increaseScopes(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	reader := p.connect(t, "group_reader")
	reader.wait(t, isReady, scopes(increase.ReadOnly))
	writer := p.connect(t, "group_writer", func(spec *v1alpha1.OAuthConnectionSpec) { spec.Scopes = []v1alpha1.Scope{increase.ReadWrite} })
	writer.wait(t, isReady, scopes(increase.ReadWrite))
	for _, test := range []struct {
		subject *subject
		method  string
		want    int
	}{
		{reader, http.MethodGet, http.StatusOK},
		{reader, http.MethodPost, http.StatusForbidden},
		{writer, http.MethodGet, http.StatusOK},
		{writer, http.MethodPost, http.StatusOK},
	} {
		if got := p.api(t, test.subject, test.method); got != test.want {
			t.Errorf("%s of %s: HTTP status %d, want %d", test.method, test.subject.name, got, test.want)
		}
	}
}

func increaseLateCode(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{CodeLifetime: time.Nanosecond})
	s := p.connect(t, "group_late")
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonExchangeRejected), says("give a new one"),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	s.quiet(t)
	if n := s.tokenRequests(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func increaseCredentials(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	first := p.listed(t, "group_first")[0]
	credentials := get(t, w.namespace, p.production+"-client", &corev1.Secret{})
	good := credentials.Data["api_key"]
	w.mustNotShow("an-api-key-of-nobody")
	update(t, credentials, func(c *corev1.Secret) { c.Data["api_key"] = []byte("an-api-key-of-nobody") })
	// The list is read with the new key at once, and refused.
	if err := p.Production.WaitFor(t.Context(), 1, record.Filter{Endpoint: increase.Applications, Status: http.StatusUnauthorized}); err != nil {
		t.Fatal(err)
	}
	s := p.connect(t, "group_second")
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonInvalidClient), says("invalid_api_key_error"))
	p.waitApplication(t, p.production, func(a *v1alpha1.OAuthApplication) error {
		ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != v1alpha1.ReasonInvalidClient || a.Status.Phase != v1alpha1.ApplicationActive {
			return errors.New("want reason InvalidClient")
		}
		return nil
	})
	first.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	update(t, credentials, func(c *corev1.Secret) { c.Data["api_key"] = good })
	s.wait(t, isReady)
	p.list(t, p.production)
	s.wait(t, isReady, identified)
}

func increaseEnds(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	all := p.listed(t, "group_first", "group_other")
	s, other := all[0], all[1]
	grant := p.grant(t, p.Production, s)
	if err := p.Production.Deactivate(grant.ID); err != nil {
		t.Fatal(err)
	}
	p.list(t, p.production)
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonDeauthorized), says(`"inactive"`), says("new code"),
		is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	if c.Status.DeletedAt != nil || c.Status.ID != grant.ID || s.token(t) == "" {
		t.Errorf("an inactive connection keeps what it has: %+v", c.Status)
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonDeauthorized)

	deleted := p.deauthorize(t, s).DeletedAt.Truncate(time.Second)
	p.list(t, p.production)
	c = s.wait(t, phase(v1alpha1.ConnectionDeleted), notReady(v1alpha1.ReasonDeauthorized), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	if c.Status.DeletedAt == nil || !c.Status.DeletedAt.Time.Equal(deleted) || c.Status.SecretName != "" {
		t.Errorf("deletedAt %s, want %s; Secret %q", c.Status.DeletedAt, deleted, c.Status.SecretName)
	}
	waitGone(t, secret(w.namespace, s.name, nil))
	other.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func increaseRevives(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	s := p.listed(t, "group_first")[0]
	first := p.deauthorize(t, s)
	p.list(t, p.production)
	s.wait(t, phase(v1alpha1.ConnectionDeleted))
	waitGone(t, secret(w.namespace, s.name, nil))

	s.newCodeIn(t, p.consent(t, "group_first", increase.ReadOnly), "")
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	p.list(t, p.production)
	c := s.wait(t, isReady, identified, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.ID == first.ID || c.Status.DeletedAt != nil {
			return errors.New("want the id of the new connection")
		}
		return nil
	})
	if second := p.grant(t, p.Production, s); c.Status.ID != second.ID || !p.Production.Works(s.token(t)) {
		t.Errorf("id %s, want %s; the token works: %t", c.Status.ID, second.ID, p.Production.Works(s.token(t)))
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)

	// Another organisation's consent is no revival.
	p.deauthorize(t, s)
	p.list(t, p.production)
	s.wait(t, phase(v1alpha1.ConnectionDeleted))
	s.newCodeIn(t, p.consent(t, "group_other", increase.ReadOnly), "")
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonAccountMismatch)
	s.wait(t, phase(v1alpha1.ConnectionDeleted))
}

func increasePages(t *testing.T, w *world) {
	const connections, pageSize, pages = 25, 10, 3
	p := w.platform(t, increase.Options{PageSize: pageSize})
	var all []*subject
	for i := range connections {
		all = append(all, p.connect(t, fmt.Sprintf("group_%d", i)))
	}
	for i, s := range all {
		c := s.wait(t, isReady, identified)
		if grant := p.grant(t, p.Production, s); grant.GroupID != fmt.Sprintf("group_%d", i) || grant.ID != c.Status.ID {
			t.Errorf("connection %d has id %s of %+v", i, c.Status.ID, grant)
		}
	}
	if n := listings(p.Production); n > 3*pages { // At once for the first, and for the others once in ten seconds.
		t.Errorf("%d pages of connections were read", n)
	}
	p.waitApplication(t, p.production, unmanaged(0))

	ended := []int{0, 12, 24} // one on each page
	for _, i := range ended {
		p.deauthorize(t, all[i])
	}
	before := p.Production.Count(record.Filter{})
	all[1].requestRefresh(t)
	for _, i := range ended {
		all[i].wait(t, phase(v1alpha1.ConnectionDeleted))
	}
	for i, s := range all {
		if got := s.get(t).Status.Phase; !slices.Contains(ended, i) && got != v1alpha1.ConnectionActive {
			t.Errorf("connection %d is %s", i, got)
		}
	}
	testenv.Consistently(t, calm, func() error { // A page of applications, those of connections, and what was asked for.
		if n := p.Production.Count(record.Filter{}) - before; n > 1+pages+1 {
			return fmt.Errorf("%d requests for one listing of %d connections", n, connections)
		}
		return nil
	})
	if n := p.Production.Count(record.Filter{Endpoint: increase.Connection}); n != 0 {
		t.Errorf("%d connections were asked for one by one", n)
	}
}

func increaseUnmanaged(t *testing.T, w *world) {
	// The account's other connection is older: made in the same second, nothing would tell the two apart.
	clock := clocktesting.NewFakePassiveClock(time.Now().Add(-time.Hour))
	p := w.platform(t, increase.Options{Clock: clock})
	var theirs []increase.Grant
	for _, group := range []string{"group_x", "group_y", "group_first"} {
		_, grant, err := p.Production.Connect(group, increase.DefaultRegistration().ClientID, increase.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		theirs = append(theirs, grant)
	}
	clock.SetTime(time.Now())
	s := p.listed(t, "group_first")[0]
	if id := s.get(t).Status.ID; id != p.grant(t, p.Production, s).ID {
		t.Errorf("id %s is that of the account's other connection", id)
	}
	p.waitApplication(t, p.production, unmanaged(3))
	if err := p.Production.Deauthorize(theirs[0].ID); err != nil {
		t.Fatal(err)
	}
	p.list(t, p.production)
	p.waitApplication(t, p.production, unmanaged(2))
	s.wait(t, isReady)
}

func increaseSandbox(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	p.addSandbox(t)
	live := p.connect(t, "group_first")
	test := p.fromProduction(t, live)
	c := test.wait(t, isReady, identified, says("never expires"))
	first := test.token(t)
	if grant := p.grant(t, p.Sandbox, test); c.Status.Subject != "group_first" || c.Status.ID != grant.ID {
		t.Errorf("subject %q, id %q of %+v", c.Status.Subject, c.Status.ID, grant)
	}
	live.wait(t, isReady, identified)
	asked := test.tokenRequests()

	// Production ends: what the sandbox has goes on, and nothing new can be made of a dead token.
	p.deauthorize(t, live)
	p.list(t, p.production)
	live.wait(t, phase(v1alpha1.ConnectionDeleted))
	test.quiet(t)
	if test.wait(t, isReady); test.token(t) != first {
		t.Error("the sandbox has another token although production has none")
	}
	// Production is authorized anew: so is the sandbox.
	live.newCodeIn(t, p.consent(t, "group_first", increase.ReadOnly), "")
	live.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	test.waitOtherToken(t, first)
	p.list(t, p.sandbox)
	test.wait(t, isReady, identified)
	if n := test.tokenRequests() - asked; n != 1 || !p.Sandbox.Works(test.token(t)) {
		t.Errorf("%d tokens were asked for, the last works: %t", n, p.Sandbox.Works(test.token(t)))
	}
	test.quiet(t)
	exchange := p.Sandbox.Requests(record.Filter{Endpoint: record.Token, GrantType: "production_token", Status: http.StatusOK})
	if len(exchange) != 2 || exchange[0].Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d tokens of the sandbox were issued", len(exchange))
	}
}

func increaseApplicationDeleted(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	s := p.listed(t, "group_first")[0]
	if err := p.DeleteApplication(increase.DefaultRegistration().ID); err != nil {
		t.Fatal(err)
	}
	p.list(t, p.production)
	p.waitApplication(t, p.production, func(a *v1alpha1.OAuthApplication) error {
		ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
		if a.Status.Phase != v1alpha1.ApplicationDeleted || ready.Reason != v1alpha1.ReasonApplicationDeleted {
			return errors.New("want phase Deleted")
		}
		return nil
	})
	s.wait(t, phase(v1alpha1.ConnectionDeleted), notReady(v1alpha1.ReasonDeauthorized))
	waitEvent(t, w.namespace, p.production, corev1.EventTypeWarning, v1alpha1.ReasonApplicationDeleted)
	before := s.tokenRequests()
	late := w.name()
	create(t, connection(w.namespace, late, p.production, noVerifier),
		secret(w.namespace, late+"-code", map[string]string{v1alpha1.DefaultCodeKey: "a-code-of-nobody"}))
	waitConnection(t, w.namespace, late, all(phase(v1alpha1.ConnectionPending), says("no longer exists")))
	s.quiet(t)
	if s.tokenRequests() != before {
		t.Error("a code was sent with a client that no longer exists")
	}
}

func increaseProbe(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	unseen := p.Production.Always(record.Filter{Endpoint: increase.Connections}, increase.SetField("data", []any{}))
	s := p.connect(t, "group_first")
	s.wait(t, isReady)
	p.waitApplication(t, p.production, unmanaged(0)) // A complete listing has not shown it.
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	if n := checks(p.Production); n != 1 {
		t.Fatalf("%d checks were made", n)
	}

	for _, fault := range []increase.Fault{
		increase.Error(http.StatusInternalServerError, "internal_server_error"), increase.RateLimited(1), increase.Garbage(),
		increase.Error(http.StatusUnauthorized, "some_other_error"), increase.CloseBeforeProcessing(),
	} {
		p.Production.Script(record.Filter{Endpoint: increase.Accounts}, fault)
		s.wait(t, observed(s.requestRefresh(t)), isReady, phase(v1alpha1.ConnectionActive))
	}
	grant := p.deauthorize(t, s)
	c := s.wait(t, observed(s.requestRefresh(t)), phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonDeauthorized), says("401"))
	if s.token(t) == "" || c.Status.DeletedAt != nil || c.Status.ID != "" {
		t.Errorf("more is said than is known: %+v", c.Status)
	}
	unseen()
	p.list(t, p.production)
	s.wait(t, phase(v1alpha1.ConnectionDeleted), func(c *v1alpha1.OAuthConnection) error {
		if c.Status.ID != grant.ID || c.Status.DeletedAt == nil {
			return errors.New("want id and deletedAt of the list")
		}
		return nil
	})
}

func increaseOutage(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{PageSize: 1})
	all := p.listed(t, "group_first", "group_ended")
	s, ended := all[0], all[1]
	undisturbed := func() error {
		for _, one := range all {
			if c := one.get(t); c.Status.Phase != v1alpha1.ConnectionActive || isReady(c) != nil {
				return fmt.Errorf("%s is %s after an outage", one.name, c.Status.Phase)
			}
		}
		return nil
	}
	for i, fault := range []increase.Fault{
		increase.SetField("next_cursor", "leads-nowhere"), // The first page, with the one that has ended, is complete.
		increase.Error(http.StatusInternalServerError, "internal_server_error"), increase.RateLimited(1), increase.Garbage(),
		increase.LoseResponse(), increase.Status(http.StatusOK, `{"data": null}`, http.Header{"Content-Type": {"application/json"}}),
		increase.Error(http.StatusForbidden, "environment_mismatch_error"),
	} {
		p.Production.Always(record.Filter{Endpoint: increase.Connections}, fault)
		if i == 0 {
			p.deauthorize(t, ended)
		}
		seen := listings(p.Production)
		p.list(t, p.production)
		if err := p.Production.WaitFor(t.Context(), seen+1, record.Filter{Endpoint: increase.Connections, Answered: true}); err != nil {
			t.Fatal(err)
		}
		if err := undisturbed(); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Consistently(t, calm, undisturbed)
	p.Production.ClearScript()
	p.list(t, p.production)
	ended.wait(t, phase(v1alpha1.ConnectionDeleted))
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func increaseDeletion(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	all := p.listed(t, "group_first", "group_ended")
	s, ended := all[0], all[1]
	token := s.token(t)
	p.deauthorize(t, ended)
	p.list(t, p.production)
	ended.wait(t, phase(v1alpha1.ConnectionDeleted))

	// A list that somebody has asked for before may still be read; it is about no connection in particular.
	asked := func() int {
		return p.Production.Count(record.Filter{}) -
			p.Production.Count(record.Filter{Endpoint: increase.Connections}) - p.Production.Count(record.Filter{Endpoint: increase.Applications})
	}
	before := asked()
	s.delete(t)
	note := waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.EventRevocationUnsupported)
	if !strings.Contains(note, "no revocation endpoint") || !strings.Contains(note, "never expires") {
		t.Errorf("the event says: %s", note)
	}
	if !p.Production.Works(token) {
		t.Error("the test does not test what it says: the token is dead")
	}
	ended.delete(t)
	note = waitEvent(t, w.namespace, ended.name, corev1.EventTypeNormal, v1alpha1.ReasonRevoked)
	if !strings.Contains(note, "had ended the grant already") {
		t.Errorf("the event says: %s", note)
	}
	if n := asked() - before; n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	waitGone(t, secret(w.namespace, s.name, nil))
}

// increaseByHand writes down what a preset would say, and leaves out the probe and the list of applications.
func increaseByHand(t *testing.T, w *world) {
	p := w.platform(t, increase.Options{})
	p.production = w.name()
	key := []v1alpha1.RequestHeader{{Name: "Authorization", Prefix: "Bearer ", SecretKeyRef: &v1alpha1.ValueSecretReference{Key: "api_key"}}}
	registered := increase.DefaultRegistration()
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: p.production},
		Spec: v1alpha1.OAuthApplicationSpec{
			Client: v1alpha1.ClientSpec{
				ID: registered.ClientID, SecretRef: &v1alpha1.SecretKeyReference{Name: p.production + "-client"},
				Authentication: v1alpha1.ClientSecretPost,
			},
			Endpoints:                   &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(p.Production.URL + "/oauth/tokens")},
			RedirectURL:                 registered.RedirectURL,
			PKCE:                        v1alpha1.PKCEDisabled,
			AuthorizationParameterNames: map[string]v1alpha1.ParameterValue{"redirect_uri": ""},
			TokenRequest:                &v1alpha1.TokenRequestSpec{Format: v1alpha1.FormatJSON, Headers: key},
			TokenResponse:               &v1alpha1.TokenResponseSpec{Subject: "$.group_id", DefaultLifetime: "Never"},
			APIBaseURL:                  v1alpha1.EndpointURL(p.Production.URL),
			StatusCheck: &v1alpha1.StatusCheckSpec{
				Type: v1alpha1.StatusCheckConnectionList, Interval: &metav1.Duration{Duration: 24 * time.Hour},
				ConnectionList: &v1alpha1.ConnectionListSpec{
					URL: "/oauth_connections", Headers: key, Subject: "$.group_id", Query: map[string]v1alpha1.ParameterValue{"status.in": "active,inactive"},
				},
			},
		},
	}
	create(t, app, secret(w.namespace, p.production+"-client", map[string]string{
		v1alpha1.DefaultClientSecretKey: registered.ClientSecret, "api_key": productionKey,
	}))
	s := p.connect(t, "group_first")
	s.wait(t, isReady, identified)
	p.deauthorize(t, s)
	s.requestRefresh(t) // There is nothing to refresh and nothing to ask the token for: the list answers.
	s.wait(t, phase(v1alpha1.ConnectionDeleted))
	if err := noEvent(w.namespace, s.name, v1alpha1.EventNothingToRefresh); err != nil {
		t.Error(err)
	}
}

// noEvent returns nil when there is no event of a reason about an object.
func noEvent(namespace, about, reason string) error {
	list := &eventsv1.EventList{}
	if err := plane.Client().List(context.Background(), list, client.InNamespace(namespace)); err != nil {
		return err
	}
	for _, event := range list.Items {
		if event.Regarding.Name == about && event.Reason == reason {
			return fmt.Errorf("there is an event %s: %s", reason, event.Note)
		}
	}
	return nil
}

// TestIncreaseRestart : a restart asks the provider nothing, neither for the list nor about tokens, and forgets nothing.
func TestIncreaseRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	p := w.platform(t, increase.Options{})
	all := p.listed(t, "group_first", "group_ended")
	s, ended := all[0], all[1]
	if _, _, err := p.Production.Connect("group_x", increase.DefaultRegistration().ClientID, increase.ReadOnly); err != nil {
		t.Fatal(err)
	}
	p.deauthorize(t, ended)
	p.list(t, p.production)
	ended.wait(t, phase(v1alpha1.ConnectionDeleted))
	p.waitApplication(t, p.production, unmanaged(1))
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	before, version := p.Production.Count(record.Filter{}), s.get(t).ResourceVersion
	w.restart(t)
	suspended := p.connect(t, "group_late", func(spec *v1alpha1.OAuthConnectionSpec) { spec.Suspend = true })
	suspended.wait(t, notReady(v1alpha1.ReasonSuspended)) // The new process is at work.
	before++                                              // the consent
	testenv.Consistently(t, calm, func() error {
		if n := p.Production.Count(record.Filter{}) - before; n != 0 {
			return fmt.Errorf("the provider was asked %d times", n)
		}
		return nil
	})
	if now := s.get(t).ResourceVersion; now != version {
		t.Error("a connection was written for which nothing was due")
	}
	p.waitApplication(t, p.production, unmanaged(1))
	ended.wait(t, phase(v1alpha1.ConnectionDeleted))

	// A new grant is looked up at once, and the list tells of the others too.
	suspended.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = false })
	suspended.wait(t, isReady, identified)
	s.wait(t, isReady, identified)
	if n := checks(p.Production); n != 0 {
		t.Errorf("the API was asked %d times", n)
	}
	for _, namespace := range []string{w.namespace, w.operator} {
		for _, text := range everythingIn(t, namespace) {
			w.noLeak(t, "an object in "+namespace, text)
		}
	}
}
