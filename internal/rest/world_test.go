// SPDX-License-Identifier: Apache-2.0

package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	restclient "k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	// operatorNamespace is that of the API processes of all tests.
	operatorNamespace = "operator-of-apis"
	audience          = "api.example.test"
	// canary is in every token of a provider's.
	canary   = "c4nary"
	patience = 20 * time.Second
)

var (
	plane     *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests
	installed *restclient.Config   //nolint:gochecknoglobals // TestMain hands it to the tests: the API's own account
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := 1
	if installed, err = plane.API(context.Background(), operatorNamespace); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// world is an application with a connection that works, its provider's API, and a caller. The test plays the controller.
type world struct {
	t           *testing.T
	client      client.Client
	namespace   string
	application *v1alpha1.OAuthApplication
	connection  *v1alpha1.OAuthConnection
	caller      *caller
	log         *lines
	// provider answers as the test says.
	provider *httptest.Server
	answer   http.HandlerFunc
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, client: plane.Client(), namespace: plane.Namespace(t), log: &lines{}}
	w.answer = func(http.ResponseWriter, *http.Request) {}
	w.provider = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { w.answer(out, r) }))
	t.Cleanup(w.provider.Close)
	w.caller = w.newCaller("ledger")
	w.createApplication()
	w.connection = w.createConnection("crm", w.caller.user)
	t.Cleanup(func() {
		for _, secret := range []string{canary, w.caller.token} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log shows a token: %s", w.log)
			}
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// lines are what processes log.
type lines struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (l *lines) write(prefix, arguments string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.text.WriteString(prefix + " " + arguments + "\n")
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// audit returns the lines of the audit.
func (l *lines) audit() []string {
	var found []string
	for line := range strings.SplitSeq(l.String(), "\n") {
		if strings.HasPrefix(line, "audit ") {
			found = append(found, line)
		}
	}
	return found
}

func (w *world) createApplication() {
	w.t.Helper()
	a := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm"},
		Spec: v1alpha1.OAuthApplicationSpec{
			Client:     v1alpha1.ClientSpec{ID: "client-1"},
			Endpoints:  &v1alpha1.Endpoints{TokenURL: "https://login.example.test/token"},
			APIBaseURL: v1alpha1.EndpointURL(w.provider.URL + "/v1"),
		},
	}
	w.must(w.client.Create(w.t.Context(), a))
	a.Status = v1alpha1.OAuthApplicationStatus{Phase: v1alpha1.ApplicationActive, ObservedGeneration: a.Generation, ClientID: a.Spec.Client.ID}
	w.must(w.client.Status().Update(w.t.Context(), a))
	w.application = a
	kept := registration.New(registration.Options{Cached: w.client, Live: w.client, Writer: w.client, Namespace: operatorNamespace})
	w.must(kept.Save(w.t.Context(), &registration.Client{
		Application: registration.Application{Namespace: a.Namespace, Name: a.Name, UID: a.UID}, Generation: a.Generation,
		Spec: &a.Spec, OAuth: oauth.Client{ID: "client-1", Secret: sensitive.New(canary + "-secret"), Authentication: oauth.ClientSecretBasic},
	}))
}

// createConnection makes one that holds a token for an hour.
func (w *world) createConnection(name, owner string) *v1alpha1.OAuthConnection {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}, Owner: owner},
	}
	w.must(w.client.Create(w.t.Context(), c))
	w.hold(c, canary+"-"+name)
	c.Status.Phase, c.Status.ObservedGeneration = v1alpha1.ConnectionActive, c.Generation
	c.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonTokenReady, Message: "works",
		LastTransitionTime: metav1.Now(),
	}}
	w.must(w.client.Status().Update(w.t.Context(), c))
	return c
}

// hold writes down a grant with an access token.
func (w *world) hold(c *v1alpha1.OAuthConnection, token string) {
	w.t.Helper()
	grants := grant.New(grant.Options{
		Cached: w.client, Live: w.client, Writer: w.client, Namespace: operatorNamespace, Process: "test", Clock: clock.RealClock{},
	})
	base, err := grants.Live(w.t.Context(), string(c.UID))
	w.must(err)
	_, err = grants.Write(w.t.Context(), base, &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)},
		Application: lifecycle.Identity{Namespace: w.namespace, Name: "crm", UID: string(w.application.UID)},
		Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New(token), RefreshToken: sensitive.New(canary + "-refresh"), TokenType: "Bearer",
			IssuedAt: time.Now(), Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: time.Now().Add(time.Hour)},
			GrantType: lifecycle.AuthorizationCode,
		},
	})
	w.must(err)
}

// renew gives a connection another token, as the controller does when it is asked to.
func (w *world) renew(c *v1alpha1.OAuthConnection) {
	w.t.Helper()
	w.hold(c, canary+"-renewed")
	now := metav1.Now()
	c.Status.LastRefreshedAt = &now
	w.must(w.client.Status().Update(w.t.Context(), c))
}

// caller is a ServiceAccount of the world's namespace.
type caller struct{ user, token string }

// newCaller may do with connections of the namespace what rules say, or, without any, send requests through them.
func (w *world) newCaller(name string, rules ...rbacv1.PolicyRule) *caller {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.must(w.client.Create(w.t.Context(), account))
	if rules == nil {
		rules = []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"oauthconnections/proxy"}, Verbs: []string{"get", "create"},
		}}
	}
	meta := metav1.ObjectMeta{Namespace: w.namespace, Name: name}
	w.must(w.client.Create(w.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}))
	w.must(w.client.Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: name}},
	}))
	return &caller{user: "system:serviceaccount:" + w.namespace + ":" + name, token: w.token(account, audience)}
}

func (w *world) token(account *corev1.ServiceAccount, audiences ...string) string {
	w.t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	w.must(w.client.SubResource("token").Create(w.t.Context(), account, request))
	return request.Status.Token
}

// api is a process.
type api struct {
	*rest.Process
	t *testing.T
	// url and probes are where it listens.
	url, probes string
	// stop is what SIGTERM does; it does not wait.
	stop context.CancelFunc
	// done has the outcome when the process has ended.
	done chan error
}

func (w *world) options() rest.Options {
	return rest.Options{
		Namespace: operatorNamespace, Audiences: []string{"elsewhere", audience}, BindAddress: "127.0.0.1:0",
		HealthProbeBindAddress: "127.0.0.1:0", Egress: egress.Policy{AllowPrivate: []string{"127.0.0.1"}}, Version: "test",
		Log: funcr.New(w.log.write, funcr.Options{Verbosity: 10}),
	}
}

// api runs a process, under the API's own account, until the test has ended, and waits until it is ready.
func (w *world) api(change ...func(*rest.Options)) *api {
	w.t.Helper()
	a := w.start(installed, change...)
	testenv.Eventually(w.t, patience, func() error { return a.probe(http.StatusOK, "ok") })
	return a
}

// start runs a process and waits until it listens.
func (w *world) start(config *restclient.Config, change ...func(*rest.Options)) *api {
	w.t.Helper()
	options := w.options()
	for _, change := range change {
		change(&options)
	}
	process, err := rest.New(config, options)
	w.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	a := &api{Process: process, t: w.t, stop: cancel, done: make(chan error, 1)}
	go func() { a.done <- process.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-a.done; err != nil {
			w.t.Errorf("the API ended with: %v", err)
		}
		a.done <- nil
	})
	waiting, done := context.WithTimeout(w.t.Context(), patience)
	defer done()
	public, probes, err := process.Listening(waiting)
	w.must(err)
	a.url = "http://" + public.String()
	if probes != nil {
		a.probes = "http://" + probes.String()
	}
	return a
}

// probe wants a status and a word of /readyz.
func (a *api) probe(want int, word string) error {
	response, err := a.request(nil, http.MethodGet, a.probes+"/readyz", nil)
	if err != nil {
		return err
	}
	if response.status != want || !strings.Contains(response.text, word) {
		return fmt.Errorf("readyz: status %d: %s", response.status, response.text)
	}
	return nil
}

// response is an answer that was read whole.
type response struct {
	status int
	header http.Header
	text   string
}

// request sends a request of a caller's, nil: of nobody's. What stands behind the host goes out as it is.
func (a *api) request(c *caller, method, address string, body io.Reader, headers ...string) (*response, error) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, address, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if c != nil {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = got.Body.Close() }()
	var content bytes.Buffer
	if _, err := content.ReadFrom(got.Body); err != nil {
		return nil, err
	}
	return &response{status: got.StatusCode, header: got.Header, text: content.String()}, nil
}

// do is request to a path, which has to be answered.
func (a *api) do(c *caller, method, path string, body io.Reader, headers ...string) *response {
	a.t.Helper()
	got, err := a.request(c, method, a.url+path, body, headers...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// get is a GET of a caller's.
func (a *api) get(c *caller, path string, headers ...string) *response {
	a.t.Helper()
	return a.do(c, http.MethodGet, path, nil, headers...)
}

// wants fails the test unless the answer is a problem with this code.
func (a *api) wants(what string, got *response, code problem.Code) {
	a.t.Helper()
	var details problem.Error
	err := json.Unmarshal([]byte(got.text), &details)
	if err != nil || got.status != code.Status() || details.Code != code || got.header.Get(problem.Header) != string(code) ||
		got.header.Get("Content-Type") != problem.ContentType || got.header.Get("Cache-Control") != "no-store" {
		a.t.Errorf("%s: status %d, %v: %s; want %s", what, got.status, got.header, got.text, code)
	}
}

// metric fails the test unless the process's metrics have a line that begins so.
func (a *api) metric(line string) {
	a.t.Helper()
	testenv.Eventually(a.t, patience, func() error { // An answer is counted after it has been given.
		got, err := a.request(nil, http.MethodGet, a.probes+"/metrics", nil)
		if err != nil {
			return err
		}
		var own []string
		for each := range strings.SplitSeq(got.text, "\n") {
			if strings.HasPrefix(each, line) {
				return nil
			}
			if strings.HasPrefix(each, "oauth_operator_") && !strings.HasSuffix(each, " 0") && !strings.Contains(each, "_bucket") {
				own = append(own, each)
			}
		}
		return fmt.Errorf("no metric %s in:\n%s", line, strings.Join(own, "\n"))
	})
}
