// SPDX-License-Identifier: Apache-2.0

package access_test

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// world is a directory and permissions without a cluster.
type world struct {
	applications []*v1alpha1.OAuthApplication
	connections  []*v1alpha1.OAuthConnection

	mu sync.Mutex
	// rules are what everybody may do; see rule.
	rules []string
	// asked is every question, as rules are written.
	asked []string
	// failAt is the question, counted from 1, that is not answered; 0: none.
	failAt int
}

// rule reads "verb resource namespace/name": an asterisk is all. As in RBAC a rule for a namespace says nothing of all of them,
// and one for a name says nothing of all names.
func (w *world) May(_ context.Context, _ caller.Caller, a caller.Attributes) (bool, error) {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	question := a.Verb + " " + resource + " " + or(a.Namespace) + "/" + or(a.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, question)
	if len(w.asked) == w.failAt {
		return false, problem.New(problem.ClusterUnavailable, "away").After(time.Second)
	}
	return slices.ContainsFunc(w.rules, func(rule string) bool { return covers(rule, question) }), nil
}

func or(text string) string {
	if text == "" {
		return "*"
	}
	return text
}

func covers(rule, question string) bool {
	rule, place := cutLast(rule)
	asked, where := cutLast(question)
	namespace, name, _ := strings.Cut(place, "/")
	askedNamespace, askedName, _ := strings.Cut(where, "/")
	return rule == asked && (namespace == "*" || namespace == askedNamespace) && (name == "*" || name == askedName)
}

func cutLast(text string) (before, after string) {
	at := strings.LastIndex(text, " ")
	return text[:at], text[at+1:]
}

func (w *world) access(t *testing.T) *access.Access {
	t.Helper()
	a, err := access.New(access.Options{Directory: w, Permissions: w})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) Application(uid types.UID) *v1alpha1.OAuthApplication {
	for _, a := range w.applications {
		if a.UID == uid {
			return a
		}
	}
	return nil
}

func (w *world) ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication {
	for _, a := range w.applications {
		if a.Namespace == name.Namespace && a.Name == name.Name {
			return a
		}
	}
	return nil
}

func (w *world) Applications(q directory.ApplicationQuery) ([]*v1alpha1.OAuthApplication, directory.Cursor, bool) {
	return w.applications[:min(len(w.applications), q.Limit)], directory.Cursor{}, len(w.applications) > q.Limit
}

func (w *world) Connection(uid types.UID) *v1alpha1.OAuthConnection {
	for _, c := range w.connections {
		if c.UID == uid {
			return c
		}
	}
	return nil
}

func (w *world) ConnectionNamed(name types.NamespacedName) *v1alpha1.OAuthConnection {
	for _, c := range w.connections {
		if c.Namespace == name.Namespace && c.Name == name.Name {
			return c
		}
	}
	return nil
}

func (w *world) WithProviderID(id string) (found []*v1alpha1.OAuthConnection) {
	for _, c := range w.connections {
		if c.Status.ID == id {
			found = append(found, c)
		}
	}
	return found
}

func (w *world) HeldIn(application types.NamespacedName, namespace string) (found []*v1alpha1.OAuthConnection) {
	for _, c := range w.connections {
		of, name := c.ApplicationKey()
		if c.Namespace == namespace && (types.NamespacedName{Namespace: of, Name: name}) == application {
			found = append(found, c)
		}
	}
	return found
}

func (w *world) HeldAt(application types.NamespacedName, owner string) (found []*v1alpha1.OAuthConnection) {
	for _, c := range w.connections {
		namespace, name := c.ApplicationKey()
		if (types.NamespacedName{Namespace: namespace, Name: name}) == application && c.Namespace == namespace && c.Spec.Owner == owner {
			found = append(found, c)
		}
	}
	return found
}

func (w *world) Namespaces() (found []string) {
	for _, c := range w.connections {
		found = append(found, c.Namespace)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// app makes an application from {namespace}.{name}; its UID is "uid-" and that, with a dash.
func app(id string) *v1alpha1.OAuthApplication {
	namespace, name, _ := strings.Cut(id, ".")
	return &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + namespace + "-" + name)},
	}
}

// conn makes a connection in phase Active, likewise, of an application.
func conn(id, application string, changes ...func(*v1alpha1.OAuthConnection)) *v1alpha1.OAuthConnection {
	namespace, name, _ := strings.Cut(id, ".")
	at, of, _ := strings.Cut(application, ".")
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + namespace + "-" + name)},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Namespace: at, Name: of}},
		Status:     v1alpha1.OAuthConnectionStatus{Phase: v1alpha1.ConnectionActive},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func of(owner string) func(*v1alpha1.OAuthConnection) {
	return func(c *v1alpha1.OAuthConnection) { c.Spec.Owner = owner }
}

func called(providerID string) func(*v1alpha1.OAuthConnection) {
	return func(c *v1alpha1.OAuthConnection) { c.Status.ID = providerID }
}

func inactive(c *v1alpha1.OAuthConnection) { c.Status.Phase = v1alpha1.ConnectionInactive }

func beingDeleted(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = &metav1.Time{} }

func jane() caller.Caller { return caller.Caller{Info: &user.DefaultInfo{Name: "jane"}} }

// outcome is an answer to the byte: the connection's or application's name, or the whole problem as callers see it.
func outcome(namespace, name string, err error) string {
	if err == nil {
		return namespace + "." + name
	}
	w := httptest.NewRecorder()
	problem.Write(w, err)
	var text strings.Builder
	if err := w.Result().Write(&text); err != nil {
		return err.Error()
	}
	return text.String()
}

// verdictOf is a name or the code of a problem.
func verdictOf(namespace, name string, err error) string {
	if err == nil {
		return namespace + "." + name
	}
	return string(problem.Of(err).Code)
}
