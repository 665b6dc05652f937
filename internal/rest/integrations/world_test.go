// SPDX-License-Identifier: Apache-2.0

package integrations_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/openapi"
	"github.com/oauth-operator/oauth-operator/internal/rest/openapi/openapitest"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

const (
	external = "https://oauth.example"
	jane     = "jane"
	// janes is the name of the connection that is made for jane at platform/crm.
	janes   = "crm-81f8f6dde8"
	connect = "/api/integrations/platform.crm/connect"
	// connection is where it is found.
	connection = "/api/integrations/platform.crm/connection"
)

func crm() types.NamespacedName { return types.NamespacedName{Namespace: "platform", Name: "crm"} }

// world is the handler between a directory, an API server and a controller, which does what the test says.
type world struct {
	*testing.T
	directory *directory.Directory
	plane     *plane
	server    *http.ServeMux
	checker   *openapitest.Checker
	// may are the questions that are answered with yes: "user verb namespace/name".
	may  map[string]bool
	base func() (*credential.Credential, error)
	// stopping is closed by a test whose process ends.
	stopping chan struct{}

	mutex   sync.Mutex
	changes []integrations.Change
	logged  strings.Builder
}

// fixed is what all worlds share: nothing changes it.
type fixed struct {
	catalogue *provider.Catalogue
	checker   *openapitest.Checker
}

//nolint:gochecknoglobals // a second of work, for each of a hundred worlds
var fixtures = sync.OnceValues(func() (fixed, error) {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		return fixed{}, err
	}
	document, err := openapi.Document()
	if err != nil {
		return fixed{}, err
	}
	checker, err := openapitest.New(document)
	return fixed{catalogue: catalogue, checker: checker}, err
})

// inWorld runs a test in a bubble, where waiting takes no time.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	fixed, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, fixed)) })
}

func newWorld(t *testing.T, fixed fixed) *world {
	t.Helper()
	w := &world{T: t, directory: directory.New(), server: http.NewServeMux(), checker: fixed.checker, may: map[string]bool{}, stopping: make(chan struct{})}
	w.plane = &plane{directory: w.directory, connections: map[types.NamespacedName]*v1alpha1.OAuthConnection{}, messages: map[string]pending.Message{}}
	w.plane.created = w.observe
	who, err := access.New(access.Options{Directory: w.directory, Permissions: w})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := integrations.New(integrations.Options{
		Access: who, Directory: w.directory, Credentials: w, Representer: represent.New(fixed.catalogue), Catalogue: fixed.catalogue,
		Cluster: w.plane, Live: w.plane, Namespace: "operator", Observer: w, Stopping: w.stopping, Clock: clock.RealClock{},
		Log: funcr.New(func(_, line string) { w.logged.WriteString(line) }, funcr.Options{Verbosity: 9}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for pattern, serve := range map[string]problem.HandlerFunc{
		"GET /api/integrations/{id}/connect": handler.Invite, "POST /api/integrations/{id}/connect": handler.Authorize,
		"GET /api/integrations/{id}/connection": handler.Show, "DELETE /api/integrations/{id}/connection": handler.Disconnect,
		"GET /api/integration-connections": handler.List,
	} {
		w.server.Handle(pattern, problem.Handler(serve, func(_ *http.Request, p *problem.Error) { w.logged.WriteString(p.Error()) }))
	}
	w.apply(func(*v1alpha1.OAuthApplication) {})
	w.may["jane create platform/*"] = true
	return w
}

// apply puts the application into the directory.
func (w *world) apply(change func(a *v1alpha1.OAuthApplication)) {
	a := &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "crm", UID: "application", Generation: 1}}
	a.Spec.APIBaseURL = "https://api.crm.example/v1"
	a.Status = v1alpha1.OAuthApplicationStatus{
		ObservedGeneration: 1, Phase: v1alpha1.ApplicationActive, RedirectURL: external + v1alpha1.PathCallback,
	}
	change(a)
	w.directory.ApplicationHandler().OnAdd(a, false)
}

// May implements caller.Permissions.
func (w *world) May(_ context.Context, c caller.Caller, a caller.Attributes) (bool, error) {
	prefix := c.GetName() + " " + a.Verb + " " + a.Namespace + "/"
	return w.may[prefix+a.Name] || (a.Namespace != "" && w.may[prefix+"*"]), nil
}

// Get implements integrations.Credentials.
func (w *world) Get(context.Context, *v1alpha1.OAuthConnection) (*credential.Credential, error) {
	if w.base == nil {
		return nil, problem.New(problem.ConnectionNotReady, "there is no credential")
	}
	return w.base()
}

// Changed implements integrations.Observer.
func (w *world) Changed(_ context.Context, change integrations.Change) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.changes = append(w.changes, change)
}

// last returns the last change that was told of.
func (w *world) last() integrations.Change {
	w.Helper()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.changes) == 0 {
		w.Fatal("no change was told of")
	}
	return w.changes[len(w.changes)-1]
}

// answer is what a request was answered with, and how long that took.
type answer struct {
	*httptest.ResponseRecorder
	took time.Duration
}

// request sends a request as a user. Each answer is held against the description of the API.
func (w *world) request(as, method, target, body string, headers ...string) answer {
	w.Helper()
	ctx := caller.With(w.Context(), caller.Caller{Info: &user.DefaultInfo{Name: as}})
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	started := time.Now()
	w.server.ServeHTTP(a, r)
	a.took = time.Since(started)
	if err := w.checker.Answer(method, target, a.Code, a.Header(), a.Body.Bytes()); err != nil {
		w.Errorf("the answer is not as described: %v", err)
	}
	return a
}

// refused wants a problem.
func (w *world) refused(a answer, code problem.Code, reason string, words ...string) {
	w.Helper()
	got := a.Header().Get(problem.Header)
	if got != string(code) || a.Code != code.Status() {
		w.Errorf("answered %d %s, want %s: %s", a.Code, got, code, a.Body)
	}
	if reason != "" && !strings.Contains(a.Body.String(), `"reason":"`+reason+`"`) {
		w.Errorf("the reason is not %s: %s", reason, a.Body)
	}
	for _, word := range words {
		if !strings.Contains(a.Body.String(), word) {
			w.Errorf("it does not say %q: %s", word, a.Body)
		}
	}
}

// linked is a link that fits the connection as it is.
func linked(c *v1alpha1.OAuthConnection) string {
	claims := ticket.Claims{Generation: c.Generation, IssuedAt: time.Now().Truncate(time.Second)}
	if at := c.Status.LastAuthorizedAt; at != nil {
		claims.AuthorizedAt = at.Time
	}
	return ticket.URL(external, c.Namespace, c.Name, ticket.New(claims))
}

// observe is what a controller writes about a connection that waits for a person.
func (w *world) observe(c *v1alpha1.OAuthConnection) {
	w.plane.later(100*time.Millisecond, c.UID, func(c *v1alpha1.OAuthConnection) {
		says(c, v1alpha1.ConnectionAuthorizing, metav1.ConditionFalse, v1alpha1.ReasonAuthorizationRequired)
		c.Status.AuthorizationURL = linked(c)
	})
}

// says sets what a controller says of the connection as it is.
func says(c *v1alpha1.OAuthConnection, phase v1alpha1.ConnectionPhase, status metav1.ConditionStatus, reason string) {
	c.Status.ObservedGeneration, c.Status.Phase = c.Generation, phase
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "the controller says " + reason, ObservedGeneration: c.Generation,
	})
}

// active is a connection with a token that works.
func active(c *v1alpha1.OAuthConnection) {
	c.Status.LastAuthorizedAt = &metav1.Time{Time: time.Now().Add(-time.Hour).Truncate(time.Second)}
	says(c, v1alpha1.ConnectionActive, metav1.ConditionTrue, v1alpha1.ReasonTokenReady)
}

// hold puts a connection of platform/crm into the cluster.
func (w *world) hold(name, owner string, change func(c *v1alpha1.OAuthConnection)) *v1alpha1.OAuthConnection {
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: name}}
	c.Spec.ApplicationRef.Name, c.Spec.Owner, c.Spec.Grant.Type = "crm", owner, v1alpha1.GrantAuthorizationCode
	c = w.plane.add(c)
	w.plane.change(c.UID, change)
	return w.directory.Connection(c.UID)
}

// plane is the API server as far as handlers use it. What changes there is in the directory at once, but for slow.
type plane struct {
	directory *directory.Directory
	// created is called with each new connection, and told with each new message.
	created func(c *v1alpha1.OAuthConnection)
	told    func(m pending.Message)
	// refuse is asked before each write: "create connection", "create message", "delete".
	refuse func(write string) error
	// slow : the directory learns of new connections only after this.
	slow time.Duration
	// leave is how long a deleted connection stays; negative: for ever.
	leave time.Duration

	mutex       sync.Mutex
	serial      int
	connections map[types.NamespacedName]*v1alpha1.OAuthConnection
	messages    map[string]pending.Message
	sent        int
}

func (p *plane) refusal(write string) error {
	if p.refuse == nil {
		return nil
	}
	return p.refuse(write)
}

// Create implements integrations.Cluster.
func (p *plane) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	if secret, is := object.(*corev1.Secret); is {
		return p.send(secret)
	}
	c, is := object.(*v1alpha1.OAuthConnection)
	if !is {
		return fmt.Errorf("%T is not to be created", object)
	}
	if err := p.refusal("create connection"); err != nil {
		return err
	}
	p.mutex.Lock()
	taken := p.connections[client.ObjectKeyFromObject(c)] != nil
	p.mutex.Unlock()
	if taken {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "oauthconnections"}, c.Name)
	}
	p.add(c).DeepCopyInto(c)
	if p.created != nil {
		p.created(c)
	}
	return nil
}

func (p *plane) add(c *v1alpha1.OAuthConnection) *v1alpha1.OAuthConnection {
	p.mutex.Lock()
	p.serial++
	c = c.DeepCopy()
	c.UID, c.Generation, c.Status.ObservedGeneration = types.UID(fmt.Sprintf("01234567-89ab-cdef-0123-%012d", p.serial)), 1, -1
	c.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
	p.connections[client.ObjectKeyFromObject(c)] = c
	p.mutex.Unlock()
	if p.slow > 0 {
		time.AfterFunc(p.slow, func() { p.directory.ConnectionHandler().OnAdd(c, false) })
		return c.DeepCopy()
	}
	p.directory.ConnectionHandler().OnAdd(c, false)
	return c.DeepCopy()
}

// later changes a connection after a while.
func (p *plane) later(after time.Duration, uid types.UID, change func(c *v1alpha1.OAuthConnection)) {
	time.AfterFunc(after, func() { p.change(uid, change) })
}

func (p *plane) change(uid types.UID, change func(c *v1alpha1.OAuthConnection)) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for name, c := range p.connections {
		if c.UID == uid {
			next := c.DeepCopy()
			change(next)
			p.connections[name] = next
			p.directory.ConnectionHandler().OnUpdate(c, next)
		}
	}
}

func (p *plane) send(secret *corev1.Secret) error {
	p.mutex.Lock()
	p.sent++
	p.mutex.Unlock()
	if err := p.refusal("create message"); err != nil {
		return err
	}
	m, err := pending.Decode(secret)
	if err != nil || secret.Namespace != "operator" {
		return fmt.Errorf("not a message of %s: %w", secret.Namespace, err)
	}
	p.mutex.Lock()
	_, taken := p.messages[secret.Name]
	if !taken {
		p.messages[secret.Name] = m
	}
	p.mutex.Unlock()
	if taken {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, secret.Name)
	}
	if p.told != nil {
		p.told(m)
	}
	return nil
}

// Delete implements integrations.Cluster.
func (p *plane) Delete(_ context.Context, object client.Object, options ...client.DeleteOption) error {
	if err := p.refusal("delete"); err != nil {
		return err
	}
	asked := &client.DeleteOptions{}
	asked.ApplyOptions(options)
	name := client.ObjectKeyFromObject(object)
	p.mutex.Lock()
	found := p.connections[name]
	p.mutex.Unlock()
	resource := schema.GroupResource{Resource: "oauthconnections"}
	switch {
	case found == nil:
		return apierrors.NewNotFound(resource, name.Name)
	case asked.Preconditions == nil || asked.Preconditions.UID == nil:
		return fmt.Errorf("%s is to be deleted whatever it is", name)
	case *asked.Preconditions.UID != found.UID:
		return apierrors.NewConflict(resource, name.Name, fmt.Errorf("another UID"))
	}
	p.change(found.UID, func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) })
	if p.leave >= 0 {
		time.AfterFunc(p.leave, func() { p.drop(name) })
	}
	return nil
}

func (p *plane) drop(name types.NamespacedName) {
	p.mutex.Lock()
	found := p.connections[name]
	delete(p.connections, name)
	p.mutex.Unlock()
	p.directory.ConnectionHandler().OnDelete(found)
}

// Get implements client.Reader.
func (p *plane) Get(_ context.Context, name client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if err := p.refusal("get"); err != nil {
		return err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	into, is := object.(*v1alpha1.OAuthConnection)
	found := p.connections[name]
	if found == nil || !is {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "oauthconnections"}, name.Name)
	}
	found.DeepCopyInto(into)
	return nil
}

// List implements client.Reader.
func (p *plane) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return fmt.Errorf("nothing is to be listed")
}

// only returns the one message that was sent.
func (w *world) only() (name string, m pending.Message) {
	w.Helper()
	w.plane.mutex.Lock()
	defer w.plane.mutex.Unlock()
	if len(w.plane.messages) != 1 {
		w.Fatalf("%d messages were sent", len(w.plane.messages))
	}
	for name, m = range w.plane.messages {
		return name, m
	}
	return "", m
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
