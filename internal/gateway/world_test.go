// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

const (
	// operatorNamespace is where the gateways of all tests leave their messages.
	operatorNamespace = "operator-of-gateways"
	// external is the gateways' address; nothing listens there: a browser of the tests knows where they do.
	external = "https://oauth.example.test/base"
	patience = 20 * time.Second
)

var (
	plane     *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests
	installed *rest.Config         //nolint:gochecknoglobals // TestMain hands it to the tests: the gateway's own account
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
	if installed, err = plane.Gateway(context.Background(), operatorNamespace); err == nil {
		code = max(m.Run(), reached())
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// shown are the kinds of pages that some test has seen.
var shown sync.Map //nolint:gochecknoglobals // Tests of one program fill it together.

// reached tells whether the tests, when all were run, have seen every kind of page: 1 when not.
func reached() int {
	if filter := flag.Lookup("test.run"); filter != nil && filter.Value.String() != "" {
		return 0
	}
	code := 0
	for _, kind := range pages.Kinds() {
		if _, ok := shown.Load(kind); !ok {
			fmt.Fprintf(os.Stderr, "no test has reached the page %s\n", kind)
			code = 1
		}
	}
	return code
}

// world is an application and a connection that waits for a person, a provider, and gateways with one set of keys. The test
// plays the controller.
type world struct {
	t           *testing.T
	client      client.Client
	namespace   string
	application *v1alpha1.OAuthApplication
	connection  *v1alpha1.OAuthConnection
	clock       *clocktesting.FakeClock
	keysDir     string
	log         *lines
	provider    *provider
}

// lines are what gateways log.
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

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return makeWorld(t)
}

func makeWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, client: plane.Client(), namespace: plane.Namespace(t), keysDir: t.TempDir(), log: &lines{},
		clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)),
	}
	w.provider = newProvider(t)
	w.writeKeys()
	w.createApplication()
	w.connection = w.createConnection("crm")
	t.Cleanup(w.checkLog)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) writeKeys() {
	w.t.Helper()
	set, _ := keyset.Rotate(keyset.Set{}, w.clock.Now().Add(-time.Hour))
	content, err := set.Encode()
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.keysDir, keyset.FileSealing), content, 0o600))
}

func (w *world) createApplication() {
	w.t.Helper()
	w.application = &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm"},
		Spec: v1alpha1.OAuthApplicationSpec{
			DisplayName: "Customer Relations", LogoURL: "https://cdn.example.test/logo.png",
			Client: v1alpha1.ClientSpec{ID: "client-1", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			Endpoints: &v1alpha1.Endpoints{
				AuthorizationURL: v1alpha1.EndpointURL(w.provider.URL + "/authorize"), TokenURL: "https://login.example.test/token",
			},
			Scopes: []v1alpha1.Scope{"contacts.read", "offline_access"},
		},
	}
	w.must(w.client.Create(w.t.Context(), w.application))
	w.resolveApplication(func(*v1alpha1.OAuthApplicationStatus) {})
}

// resolveApplication plays the controller: it writes what it has found out of the application.
func (w *world) resolveApplication(change func(*v1alpha1.OAuthApplicationStatus)) {
	w.t.Helper()
	a := w.application
	a.Status = v1alpha1.OAuthApplicationStatus{
		Phase: v1alpha1.ApplicationActive, ObservedGeneration: a.Generation, ClientID: a.Spec.Client.ID,
		RedirectURL: external + v1alpha1.PathCallback, Endpoints: a.Spec.Endpoints.DeepCopy(),
	}
	change(&a.Status)
	w.must(w.client.Status().Update(w.t.Context(), a))
}

func (w *world) createConnection(name string) *v1alpha1.OAuthConnection {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: w.application.Name}, DisplayName: "Sales' CRM", Owner: "ada@example.test",
		},
	}
	w.must(w.client.Create(w.t.Context(), c))
	w.writeLink(c)
	return c
}

// writeLink plays the controller: the connection waits for a person, who has a new link.
func (w *world) writeLink(c *v1alpha1.OAuthConnection) {
	w.t.Helper()
	w.status(c, func(status *v1alpha1.OAuthConnectionStatus) {
		claims := ticket.Claims{Generation: c.Generation, IssuedAt: w.clock.Now().Truncate(time.Second)}
		if status.LastAuthorizedAt != nil {
			claims.AuthorizedAt = status.LastAuthorizedAt.Time
		}
		status.Phase, status.ObservedGeneration = v1alpha1.ConnectionAuthorizing, c.Generation
		status.AuthorizationURL = ticket.URL(external, c.Namespace, c.Name, ticket.New(claims))
	})
}

// status plays the controller: it changes the status of a connection as it is now.
func (w *world) status(c *v1alpha1.OAuthConnection, change func(*v1alpha1.OAuthConnectionStatus)) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		w.must(w.client.Get(w.t.Context(), client.ObjectKeyFromObject(c), c))
		change(&c.Status)
		return w.client.Status().Update(w.t.Context(), c)
	})
}

// outcome plays the controller: it writes how a login ended, in one write with what follows from it.
func (w *world) outcome(login string, outcome v1alpha1.AuthorizationOutcome, reason, message string) {
	w.t.Helper()
	w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) {
		status.LastAuthorization = &v1alpha1.LastAuthorization{
			ID: login, Outcome: outcome, Reason: reason, Message: message, Time: metav1.NewTime(w.clock.Now()),
		}
		if outcome == v1alpha1.AuthorizationSucceeded {
			status.Phase, status.AuthorizationURL, status.Subject = v1alpha1.ConnectionActive, "", "ada"
			status.LastAuthorizedAt = &metav1.Time{Time: w.clock.Now()}
			w.ready(status, metav1.ConditionTrue, "the Secret holds a token")
		}
	})
}

func (w *world) ready(status *v1alpha1.OAuthConnectionStatus, value metav1.ConditionStatus, message string) {
	apimeta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: value, Reason: v1alpha1.ReasonTokenReady, Message: message,
	})
}

// messages returns what gateways have left about the connection.
func (w *world) messages() []pending.Message {
	w.t.Helper()
	var list corev1.SecretList
	w.must(w.client.List(w.t.Context(), &list, client.InNamespace(operatorNamespace),
		client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending}))
	var found []pending.Message
	for i := range list.Items {
		message, err := pending.Decode(&list.Items[i])
		w.must(err)
		if message.ConnectionUID == w.connection.UID && message.Response != nil {
			found = append(found, message)
			w.provider.hide(message.Response.Code.Reveal(), message.Response.Verifier.Reveal())
		}
	}
	return found
}

// message returns the only message with a reason; empty: with a code.
func (w *world) message(reason string) pending.Message {
	w.t.Helper()
	var found []pending.Message
	for _, message := range w.messages() {
		if message.Response != nil && message.Response.Reason == reason {
			found = append(found, message)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%d messages with reason %q, want 1 of %v", len(found), reason, w.reasons())
	}
	return found[0]
}

// reasons of all messages.
func (w *world) reasons() []string {
	w.t.Helper()
	var reasons []string
	for _, message := range w.messages() {
		reasons = append(reasons, message.Response.Reason)
	}
	return reasons
}

// running is a gateway process.
type running struct {
	*gateway.Process
	// public and probes are where it listens.
	public, probes string
	// stop is what SIGTERM does; it does not wait.
	stop context.CancelFunc
	// done has the outcome when the process has ended.
	done chan error
}

func (w *world) options() gateway.Options {
	return gateway.Options{
		Namespace: operatorNamespace, ExternalURL: external + "/", KeysDir: w.keysDir, TrustedProxies: []string{"127.0.0.0/8"},
		BindAddress: "127.0.0.1:0", HealthProbeBindAddress: "127.0.0.1:0", Version: "test", Clock: w.clock,
		Log: funcr.New(w.log.write, funcr.Options{Verbosity: 10}),
	}
}

// gateway runs a gateway, under the gateway's own account, until the test has ended, and waits until it is ready.
func (w *world) gateway(change ...func(*gateway.Options)) *running {
	w.t.Helper()
	g := w.start(installed, change...)
	testenv.Eventually(w.t, patience, func() error {
		if status, text := fetch(w.t, "http://"+g.probes+"/readyz"); status != http.StatusOK {
			return fmt.Errorf("not ready: %s", text)
		}
		return nil
	})
	return g
}

// start runs a gateway and waits until it listens.
func (w *world) start(config *rest.Config, change ...func(*gateway.Options)) *running {
	w.t.Helper()
	options := w.options()
	for _, change := range change {
		change(&options)
	}
	process, err := gateway.New(config, options)
	w.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	g := &running{Process: process, stop: cancel, done: make(chan error, 1)}
	go func() { g.done <- process.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-g.done; err != nil {
			w.t.Errorf("the gateway ended with: %v", err)
		}
		g.done <- nil
	})
	waiting, done := context.WithTimeout(w.t.Context(), patience)
	defer done()
	public, probes, err := process.Listening(waiting)
	w.must(err)
	g.public = public.String()
	if probes != nil {
		g.probes = probes.String()
	}
	return g
}

// fetch gets a page without any ado.
func fetch(t *testing.T, address string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, body(t, response)
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	var content bytes.Buffer
	if _, err := content.ReadFrom(response.Body); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return content.String()
}

// provider is where people are sent to.
type provider struct {
	URL string
	// secrets are what nobody may log: all that was in a query, but what is known to all.
	mutex   sync.Mutex
	secrets []string
}

// newProvider listens, so that its address is nobody else's; what it shows matters to no test.
func newProvider(t *testing.T) *provider {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return &provider{URL: "http://" + listener.Addr().String()}
}

func (p *provider) hide(values ...string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, value := range values {
		const short = 8
		if len(value) >= short {
			p.secrets = append(p.secrets, value)
		}
	}
}

// checkLog looks for everything in the log that must not be there, and for a line about the connection.
func (w *world) checkLog() {
	log := w.log.String()
	w.provider.mutex.Lock()
	defer w.provider.mutex.Unlock()
	for _, secret := range w.provider.secrets {
		if strings.Contains(log, secret) || strings.Contains(log, url.QueryEscape(secret)) {
			w.t.Errorf("the log shows %q", secret)
		}
	}
	for _, word := range []string{"ticket=", "code=", "state=", "verifier"} {
		if strings.Contains(log, word) {
			w.t.Errorf("the log contains %q: %s", word, log)
		}
	}
}

func keyOf(c *v1alpha1.OAuthConnection) types.NamespacedName { return client.ObjectKeyFromObject(c) }

func copied[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}
