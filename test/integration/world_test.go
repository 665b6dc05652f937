// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/gooauth2server"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// provider is what the OAuth servers have in common.
type provider interface {
	coder
	Introspect(token string) bool
	RevokeGrant(token string) error
	Count(f record.Filter) int
	Uses(credential string) int
	Reuse() int
	Issued() []string
}

// world is a controller with namespaces that no other controller looks at, so that tests run in parallel.
type world struct {
	*running
	// operator is the controller's own namespace, namespace the first that it watches, others the rest.
	operator, namespace string
	others              []string

	start   func(*testing.T) *running
	names   atomic.Int32
	mu      sync.Mutex
	servers []provider
	secrets []string
}

// newWorld starts a controller that watches 1 + more namespaces. When it has ended, its log holds no secret of any server
// of this world.
func newWorld(t *testing.T, more int, change ...func(*controller.Options, *rest.Config)) *world {
	t.Helper()
	w := &world{operator: plane.Namespace(t), namespace: plane.Namespace(t)}
	for range more {
		w.others = append(w.others, plane.Namespace(t))
	}
	own := func(o *controller.Options, _ *rest.Config) {
		o.Namespace, o.WatchNamespaces = w.operator, append([]string{w.namespace}, w.others...)
	}
	w.start = func(t *testing.T) *running {
		t.Helper()
		return startController(t, append([]func(*controller.Options, *rest.Config){own}, change...)...)
	}
	w.restart(t)
	return w
}

// restart runs the controller again, as a new process; the one before must have been stopped.
func (w *world) restart(t *testing.T) {
	t.Helper()
	var r *running
	t.Cleanup(func() { w.noLeak(t, "the log", r.Log.String()) })
	r = w.start(t)
	w.running = r
}

// secretsOfAll returns all codes and tokens of this world's servers, and what else must not be shown.
func (w *world) secretsOfAll() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append([]string{harness.DefaultClient().Secret}, w.secrets...)
	for _, server := range w.servers {
		all = append(all, server.Issued()...)
	}
	return all
}

// shown returns how a text shows a secret: in the clear or in one of the forms in which programs write them; empty: it
// does not. It never shows the secret itself.
func shown(text, secret string) string {
	forms := map[string]string{
		"in the clear": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "escaped": url.QueryEscape(secret),
	}
	if len(secret) > 2*len("access-token-") { // Half of a shorter one may be a word.
		forms["its first half"] = secret[:len(secret)/2]
	}
	for form, written := range forms {
		if strings.Contains(text, written) {
			return form
		}
	}
	return ""
}

// noLeak fails the test when a text holds a code or token of a server of this world, a client secret, or a verifier.
func (w *world) noLeak(t *testing.T, where, text string) {
	t.Helper()
	for i, secret := range w.secretsOfAll() {
		if form := shown(text, secret); form != "" {
			t.Errorf("%s shows secret %d (%.8s…) %s", where, i, secret, form)
		}
	}
}

// mustNotShow adds secrets that no server has issued.
func (w *world) mustNotShow(secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, secrets...)
}

// patient is the context of reads that are repeated until a test gives up.
func patient() context.Context { return context.Background() }

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// name returns a name that no other object of this world has.
func (w *world) name() string { return fmt.Sprintf("n%d", w.names.Add(1)) }

// watch adds a server to those whose secrets must not appear anywhere.
func (w *world) watch(server provider) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers = append(w.servers, server)
}

func (w *world) hostile(t *testing.T, o harness.Options) *hostile.Server {
	t.Helper()
	server, err := hostile.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w.watch(server)
	return server
}

func (w *world) fosite(t *testing.T, o harness.Options) *fositeserver.Server {
	t.Helper()
	server, err := fositeserver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w.watch(server)
	return server
}

func (w *world) goOAuth2(t *testing.T, o harness.Options) *gooauth2server.Server {
	t.Helper()
	server, err := gooauth2server.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w.watch(server)
	return server
}

// subject is an application with one connection of the same name, in the world's first namespace.
type subject struct {
	w      *world
	name   string
	server provider
	url    string
}

// subject creates application, client Secret and connection, and no code.
func (w *world) subject(t *testing.T, server provider, url string, change ...func(*v1alpha1.OAuthConnectionSpec)) *subject {
	t.Helper()
	s := &subject{w: w, name: w.name(), server: server, url: url}
	app, clientSecret := application(w.namespace, s.name, url)
	create(t, app, clientSecret, connection(w.namespace, s.name, s.name, change...))
	return s
}

// connected creates a subject with a code and waits until its token is there.
func (w *world) connected(t *testing.T, server provider, url string, change ...func(*v1alpha1.OAuthConnectionSpec)) *subject {
	t.Helper()
	s := w.subject(t, server, url, change...)
	create(t, codeSecret(t, server, w.namespace, s.name))
	s.wait(t, isReady)
	return s
}

func (s *subject) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.w.namespace, Name: s.name}
}

func (s *subject) wait(t *testing.T, is ...func(*v1alpha1.OAuthConnection) error) *v1alpha1.OAuthConnection {
	t.Helper()
	return waitConnection(t, s.w.namespace, s.name, all(is...))
}

func (s *subject) get(t *testing.T) *v1alpha1.OAuthConnection {
	t.Helper()
	return get(t, s.w.namespace, s.name, &v1alpha1.OAuthConnection{})
}

// application returns the subject's application.
func (s *subject) application(t *testing.T) *v1alpha1.OAuthApplication {
	t.Helper()
	return get(t, s.w.namespace, s.name, &v1alpha1.OAuthApplication{})
}

// token returns what the token Secret of the connection's name holds.
func (s *subject) token(t *testing.T) string {
	t.Helper()
	return tokenIn(t, s.w.namespace, s.name)
}

func tokenIn(t *testing.T, namespace, name string) string {
	t.Helper()
	return string(get(t, namespace, name, &corev1.Secret{}).Data[v1alpha1.SecretKeyAccessToken])
}

// waitOtherToken waits until the token Secret holds another token than the given one.
func (s *subject) waitOtherToken(t *testing.T, than string) string {
	t.Helper()
	var token string
	testenv.Eventually(t, patience, func() error {
		if token = s.token(t); token == than {
			return errors.New("the Secret still has the same token")
		}
		return nil
	})
	return token
}

// update changes the connection.
func (s *subject) update(t *testing.T, change func(*v1alpha1.OAuthConnection)) {
	t.Helper()
	update(t, s.get(t), change)
}

// newCodeIn puts a value into the subject's code Secret, with a verifier.
func (s *subject) newCodeIn(t *testing.T, code, verifier string) {
	t.Helper()
	update(t, get(t, s.w.namespace, s.name+"-code", &corev1.Secret{}), func(secret *corev1.Secret) {
		secret.Data = map[string][]byte{
			v1alpha1.DefaultCodeKey: []byte(code), v1alpha1.DefaultCodeVerifierKey: []byte(verifier),
		}
	})
}

// requestRefresh annotates the connection and returns the value.
func (s *subject) requestRefresh(t *testing.T) string {
	t.Helper()
	value := "request-" + s.w.name()
	s.update(t, func(c *v1alpha1.OAuthConnection) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, value)
	})
	return value
}

// delete deletes the connection and waits until it is gone.
func (s *subject) delete(t *testing.T) {
	t.Helper()
	c := s.get(t)
	if err := plane.Client().Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	waitGone(t, c)
}

// tokenRequests counts what the provider's token endpoint was asked.
func (s *subject) tokenRequests() int { return s.server.Count(record.Filter{Endpoint: record.Token}) }

// quiet fails the test when the provider's token endpoint is asked for anything within a while.
func (s *subject) quiet(t *testing.T) {
	t.Helper()
	before := s.tokenRequests()
	testenv.Consistently(t, calm, func() error {
		if now := s.tokenRequests(); now != before {
			return fmt.Errorf("the provider was asked %d times more", now-before)
		}
		return nil
	})
}

// dead fails the test when any secret that a server ever issued is alive.
func dead(t *testing.T, server provider) {
	t.Helper()
	for i, token := range server.Issued() {
		if server.Introspect(token) {
			t.Errorf("secret %d of %d that the server issued is still alive", i+1, len(server.Issued()))
		}
	}
}

// update patches an object with what change did to it.
func update[T client.Object](t *testing.T, object T, change func(T)) {
	t.Helper()
	copied := object.DeepCopyObject()
	before, ok := copied.(client.Object)
	if !ok {
		t.Fatalf("a copy of %T is %T", object, copied)
	}
	change(object)
	if err := plane.Client().Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
		t.Fatalf("patch %T %s: %v", object, object.GetName(), err)
	}
}

// remove deletes objects; what is gone already is no error.
func remove(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := plane.Client().Delete(t.Context(), object); client.IgnoreNotFound(err) != nil {
			t.Fatalf("delete %T %s: %v", object, object.GetName(), err)
		}
	}
}

// all wants every one of several things.
func all(wants ...func(*v1alpha1.OAuthConnection) error) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		for _, want := range wants {
			if err := want(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// phase wants a phase.
func phase(want v1alpha1.ConnectionPhase) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Phase != want {
			return fmt.Errorf("want phase %s", want)
		}
		return nil
	}
}

// is wants a condition to have a status, and the status to describe this generation.
func is(kind string, status metav1.ConditionStatus) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		condition := meta.FindStatusCondition(c.Status.Conditions, kind)
		if condition == nil || condition.Status != status {
			return fmt.Errorf("want %s=%s", kind, status)
		}
		if condition.ObservedGeneration != c.Generation || c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("want status of generation %d", c.Generation)
		}
		return nil
	}
}

// says wants the message of Ready to contain a text.
func says(text string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil || !strings.Contains(condition.Message, text) {
			return fmt.Errorf("want Ready to say %q", text)
		}
		return nil
	}
}

// notReady wants Ready=False with a reason.
func notReady(reason string) func(*v1alpha1.OAuthConnection) error {
	return ready(metav1.ConditionFalse, reason)
}

// observed wants a refresh request to be answered.
func observed(request string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.ObservedRefreshRequest != request {
			return fmt.Errorf("want refresh request %q answered", request)
		}
		return nil
	}
}

// waitEvent waits for an event about an object and returns its note.
func waitEvent(t *testing.T, namespace, about, kind, reason string) string {
	t.Helper()
	var note string
	testenv.Eventually(t, patience, func() error {
		list := &eventsv1.EventList{}
		if err := plane.Client().List(context.Background(), list, client.InNamespace(namespace)); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, event := range list.Items {
			if event.Regarding.Name != about {
				continue
			}
			seen[event.Type+" "+event.Reason] = true
			if event.Type == kind && event.Reason == reason {
				note = event.Note
				return nil
			}
		}
		return fmt.Errorf("no %s event %s about %s; there are %v", kind, reason, about, slices.Sorted(maps.Keys(seen)))
	})
	return note
}

// absent returns nil when an object does not exist.
func absent(object client.Object) error {
	err := plane.Client().Get(context.Background(), client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%T %s is there: %w", object, object.GetName(), err)
}

// waitCount waits until an application has counted one active connection.
func waitCount(t *testing.T, w *world, application string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		a := &v1alpha1.OAuthApplication{}
		if err := plane.Client().Get(patient(), key(w.namespace, application), a); err != nil {
			return err
		}
		if c := a.Status.Connections; c == nil || c.Total != 1 || c.Active != 1 {
			return fmt.Errorf("connections are %+v", c)
		}
		return nil
	})
}
