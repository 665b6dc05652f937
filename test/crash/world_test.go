// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// patience bounds every wait; a crash alone takes half a minute to be believed in.
const patience = 2 * time.Minute

const (
	connectionName = "crm"
	inputName      = "crm-input"
)

// world is all that one scenario has to itself.
type world struct {
	t testing.TB
	// operator is the operator's namespace, namespace the user's.
	operator, namespace string
	config              *rest.Config
	server              *hostile.Server
	proxy               *proxy
	journal             *journal

	// bearers : the grants of people have no refresh token here.
	bearers bool
	// single is what the provider accepts once; nil: codes and refresh tokens alone.
	single *single
	// person acts on what a request to the provider has brought about, in the goroutine that serves it; nil: nobody does.
	person func(record.Request)

	mu      sync.Mutex
	process *process
	// launched are all processes that ever ran.
	launched []*process
	// logins are those that came back.
	logins []login
}

// newWorld makes namespaces, the installed role in them, a provider, and a proxy that notes what happens. Codes live long
// enough for a slow machine. shapes change the application.
func newWorld(t testing.TB, options hostile.Options, shapes ...func(*v1alpha1.OAuthApplicationSpec)) *world {
	t.Helper()
	options.CodeLifetime = time.Hour
	options.Clients = []harness.Client{harness.DefaultClient()}
	options.Clients[0].RedirectURIs = []string{harness.DefaultRedirectURI, callbackURL}
	server, err := hostile.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w := &world{t: t, server: server, journal: &journal{}, namespace: plane.Namespace(t)}
	w.operator, w.config = operatorNamespace(t)
	w.proxy = newProxy(t, w.journal.note)
	server.OnRequest(func(stage hostile.Stage, r record.Request) {
		w.journal.note(strings.TrimSpace("provider "+string(r.Endpoint)+" "+r.GrantType), string(stage))
		if w.person != nil && stage == hostile.Processed {
			w.person(r)
		}
	})
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm"},
		Spec: v1alpha1.OAuthApplicationSpec{
			IssuerURL:   server.URL,
			Client:      v1alpha1.ClientSpec{ID: harness.DefaultClient().ID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			RedirectURL: harness.DefaultRedirectURI,
			Scopes:      []v1alpha1.Scope{"api:read", "offline_access"},
		},
	}
	for _, shape := range shapes {
		if shape != nil {
			shape(&app.Spec)
		}
	}
	w.create(app, w.secret("crm-client", map[string]string{v1alpha1.DefaultClientSecretKey: harness.DefaultClient().Secret}))
	return w
}

// operatorNamespace makes a namespace for one more operator, with the permissions of the installation.
func operatorNamespace(t testing.TB) (string, *rest.Config) {
	t.Helper()
	ctx, c := t.Context(), plane.Client()
	namespace := plane.Namespace(t)
	config, err := plane.UserFor(ctx, namespace, testenv.ControllerServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: testenv.ControllerServiceAccount}}
	var installed rbacv1.RoleBindingList
	if err := c.List(ctx, &installed, client.InNamespace(testenv.OperatorNamespace)); err != nil {
		t.Fatal(err)
	}
	for _, binding := range installed.Items {
		role := &rbacv1.Role{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: binding.Namespace, Name: binding.RoleRef.Name}, role); err != nil {
			t.Fatal(err)
		}
		role.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: role.Name}
		binding.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: binding.Name}
		binding.Subjects = subjects
		if err := errors.Join(c.Create(ctx, role), c.Create(ctx, &binding)); err != nil {
			t.Fatal(err)
		}
	}
	err = c.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: testenv.ControllerServiceAccount},
	})
	if err != nil {
		t.Fatal(err)
	}
	return namespace, config
}

// launch starts a program behind a proxy.
func (w *world) launch(behind *proxy, more ...string) *process {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "kubeconfig")
	if err := testenv.WriteKubeconfig(behind.through(w.config), path); err != nil {
		w.t.Fatal(err)
	}
	p := launch(w.t, append([]string{
		"controller", "--kubeconfig", path, "--namespace", w.operator, "--watch-namespaces", w.namespace,
		"--metrics-bind-address", "0", "--health-probe-bind-address", "0", "--external-url", gatewayURL,
		"--allow-private-networks", "127.0.0.0/8", "--log-level", "debug",
	}, more...)...)
	w.launched = append(w.launched, p)
	return p
}

// start starts the program that kill kills.
func (w *world) start() *process {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process = w.launch(w.proxy)
	return w.process
}

func (w *world) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process.kill()
}

// finish ends the program in good order.
func (w *world) finish() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process.finish(w.t)
}

// settle waits until nothing of a dead process is under way any more.
func (w *world) settle() {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		for _, r := range w.server.Requests(record.Filter{}) {
			if r.Status == 0 {
				return fmt.Errorf("the provider still works on a %s request", r.Endpoint)
			}
		}
		return w.proxy.quiet()
	})
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := plane.Client().Create(w.t.Context(), object); err != nil {
			w.t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func (w *world) secret(name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
}

// newCode returns the content of a Secret with a fresh code.
func (w *world) newCode() map[string]string {
	w.t.Helper()
	code, verifier, err := w.server.NewCode(harness.DefaultClient().ID, "", []string{"api:read", "offline_access"}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string]string{v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier}
}

// connect creates a connection with a code, and returns the code.
func (w *world) connect(name string) string {
	w.t.Helper()
	reference := &v1alpha1.SecretKeyReference{Name: name + "-input"}
	data := w.newCode()
	w.create(w.secret(reference.Name, data), w.connection(name, v1alpha1.GrantSpec{
		Type:              v1alpha1.GrantAuthorizationCode,
		AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: reference, CodeVerifierSecretRef: reference},
	}))
	return data[v1alpha1.DefaultCodeKey]
}

func (w *world) connection(name string, from v1alpha1.GrantSpec) *v1alpha1.OAuthConnection {
	return &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}, Grant: from},
	}
}

// replaceInput gives the connection another code or refresh token.
func (w *world) replaceInput(data map[string]string) {
	w.t.Helper()
	secret := &corev1.Secret{}
	if err := w.get(inputName, secret); err != nil {
		w.t.Fatal(err)
	}
	secret.StringData = data
	if err := plane.Client().Update(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
}

// request asks for a refresh.
func (w *world) request(name, value string) {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, value)
	if err := plane.Client().Patch(w.t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(name string, into client.Object) error {
	// Not the test's context: cleanups read too.
	return plane.Client().Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: name}, into)
}

// connected starts the program and returns a connection that works.
func (w *world) connected() sight {
	w.t.Helper()
	w.connect(connectionName)
	w.start()
	return w.await(connectionName, w.working)
}

// passedAgain makes a change that concerns nobody, and wants the program to have seen it: whatever it was going to do
// about the connection, it has had the occasion.
func (w *world) passedAgain(name string) func(sight) error {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"displayName":"CRM"}}`))
	if err := plane.Client().Patch(w.t.Context(), c, patch); err != nil {
		w.t.Fatal(err)
	}
	return func(s sight) error {
		if s.connection.Status.ObservedGeneration < c.Generation {
			return errors.New("want the program to pass over the connection again")
		}
		return nil
	}
}

// sight is what can be seen of a connection from outside, and its record.
type sight struct {
	connection *v1alpha1.OAuthConnection
	// token in the workload's Secret; empty without a Secret.
	token string
	// record is nil without one.
	record *lifecycle.Record
}

// look reads everything live.
func (w *world) look(name string) (sight, error) {
	s := sight{connection: &v1alpha1.OAuthConnection{}}
	if err := w.get(name, s.connection); err != nil {
		return s, err
	}
	secret := &corev1.Secret{}
	if err := client.IgnoreNotFound(w.get(name, secret)); err != nil {
		return s, err
	}
	s.token = string(secret.Data[v1alpha1.SecretKeyAccessToken])
	records := grant.New(grant.Options{Live: plane.Client(), Namespace: w.operator, Clock: clock.RealClock{}})
	entry, err := records.Live(context.Background(), string(s.connection.UID))
	if err == nil && entry != nil {
		s.record = entry.Record
	}
	return s, err
}

// mustLook looks at the one connection of a test that cannot go on without it.
func (w *world) mustLook() sight {
	w.t.Helper()
	s, err := w.look(connectionName)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// glance looks at a connection that may not exist yet.
func (w *world) glance(name string) sight {
	w.t.Helper()
	s, err := w.look(name)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return s
}

// await waits until everything that can be seen is as the checks want it.
func (w *world) await(name string, checks ...func(sight) error) sight {
	w.t.Helper()
	var seen sight
	testenv.Eventually(w.t, patience, func() (err error) {
		if seen, err = w.look(name); err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(seen); err != nil {
				return fmt.Errorf("%w; status is %+v", err, seen.connection.Status)
			}
		}
		return nil
	})
	return seen
}

// working wants a connection that has everything: Ready, the record's token in the Secret, and tokens that the provider
// accepts.
func (w *world) working(s sight) error {
	switch {
	case s.record == nil || s.record.Attempt != nil:
		return errors.New("want a record without a mark")
	case s.token == "" || s.token != s.record.AccessToken.Reveal():
		return errors.New("want the record's access token in the Secret")
	case !w.server.Introspect(s.token):
		return errors.New("want an access token in the Secret that the provider accepts")
	case !w.bearers && !s.issued() && !w.server.Introspect(s.record.RefreshToken.Reveal()):
		return errors.New("want a refresh token in the record that the provider accepts")
	case s.connection.Status.Phase != v1alpha1.ConnectionActive:
		return errors.New("want phase Active")
	}
	return errors.Join(
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady)(s),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionTrue, v1alpha1.ReasonGrantHeld)(s),
	)
}

// issued tells whether the token was issued without a person, and so without a refresh token.
func (s sight) issued() bool {
	return s.record.GrantType == lifecycle.TokenExchange || s.record.GrantType == lifecycle.Extension
}

func condition(kind string, status metav1.ConditionStatus, reason string) func(sight) error {
	return func(s sight) error {
		c := meta.FindStatusCondition(s.connection.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("want %s=%s, %s", kind, status, reason)
		}
		return nil
	}
}

func phase(want v1alpha1.ConnectionPhase) func(sight) error {
	return func(s sight) error {
		if s.connection.Status.Phase != want {
			return fmt.Errorf("want phase %s", want)
		}
		return nil
	}
}

// observed wants a refresh request to be answered.
func observed(value string) func(sight) error {
	return func(s sight) error {
		if s.connection.Status.ObservedRefreshRequest != value {
			return fmt.Errorf("want refresh request %q to be answered", value)
		}
		return nil
	}
}

// other wants another token in the Secret than before.
func other(before string) func(sight) error {
	return func(s sight) error {
		if s.token == before {
			return errors.New("want a new access token in the Secret")
		}
		return nil
	}
}
