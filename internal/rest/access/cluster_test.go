// SPDX-License-Identifier: Apache-2.0

package access_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// plane is the control plane that the tests of this package share.
var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests

// installed is the API's ServiceAccount with its role.
var installed *rest.Config //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := 1
	if installed, err = plane.API(context.Background(), "access-test"); err == nil {
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

type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// live decides by the roles of the real API server about a world of its own. requests counts what the API server was asked.
type live struct {
	*access.Access

	requests atomic.Int64
}

func decide(t *testing.T, w *world) *live {
	t.Helper()
	l := &live{}
	config := rest.CopyConfig(installed)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return trip(func(r *http.Request) (*http.Response, error) {
			l.requests.Add(1)
			return next.RoundTrip(r)
		})
	})
	asked, err := authorizationclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	permissions, err := caller.NewPermissions(caller.PermissionsOptions{Client: asked, RememberAllowed: time.Hour, RememberDenied: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if l.Access, err = access.New(access.Options{Directory: w, Permissions: permissions}); err != nil {
		t.Fatal(err)
	}
	return l
}

// someone is a user of their own with rules in namespaces, "" for all of them.
func someone(t *testing.T, rules map[string][]rbacv1.PolicyRule) caller.Caller {
	t.Helper()
	name := plane.Namespace(t) // As good a name as any.
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}}
	for namespace, rules := range rules {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Rules: rules}
		create(t, role)
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}
		meta := metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace}
		if namespace == "" {
			create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
		} else {
			create(t, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
		}
	}
	return caller.Caller{Info: &user.DefaultInfo{Name: name, Groups: []string{user.AllAuthenticated}}}
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := plane.Client().Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func allow(verb, resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names}
}

// counts waits until the roles of somebody count, by a question of a decider that is thrown away.
func counts(t *testing.T, ready func(a *access.Access) error) {
	t.Helper()
	testenv.Eventually(t, 10*time.Second, func() error { return ready(decide(t, &world{}).Access) })
}

// TestRealRoles holds the rules against RBAC.
func TestRealRoles(t *testing.T) {
	t.Parallel()
	apps, team := plane.Namespace(t), plane.Namespace(t)
	w := &world{
		applications: []*v1alpha1.OAuthApplication{app(apps + ".crm")},
		connections: []*v1alpha1.OAuthConnection{
			conn(apps+".shared", apps+".crm"), conn(apps+".spare", apps+".crm", inactive), conn(team+".link", apps+".crm"),
		},
	}
	who := someone(t, map[string][]rbacv1.PolicyRule{
		apps: {
			allow("get", "oauthconnections", "shared"), allow("create", "oauthconnections", "mine"), allow("get", "oauthconnections/proxy", "shared"),
			allow("delete", "oauthconnections"),
		},
		team: {allow("list", "oauthconnections"), allow("create", "oauthconnections/proxy", "link")},
	})
	counts(t, func(a *access.Access) error {
		for _, connection := range []*v1alpha1.OAuthConnection{conn(apps+".shared", apps+".crm"), conn(team+".link", apps+".crm")} {
			method := http.MethodGet
			if connection.Name == "link" {
				method = http.MethodPost
			}
			if err := a.MayRequest(t.Context(), who, connection, method); err != nil {
				return err
			}
		}
		return nil
	})
	l := decide(t, w)
	for name, test := range map[string]struct {
		try  attempt
		want string
	}{
		"the shared one":             {byIntegration(apps+".crm", ""), apps + ".shared"},
		"by UID of the application":  {byIntegration("uid-"+apps+"-crm", ""), apps + ".shared"},
		"the one without a role":     {byConnection(apps + ".spare"), "Forbidden"},
		"one that is not there":      {byConnection(apps + ".none"), "Forbidden"},
		"where lists are allowed":    {byConnection(team + ".none"), "NotFound"},
		"a list is no get":           {byConnection(team + ".link"), "Forbidden"},
		"the application":            {byApplication(apps + ".crm"), "Forbidden"},
		"read through the shared":    {byRequest(apps+".crm", "", http.MethodGet), apps + ".shared"},
		"write through the shared":   {byRequest(apps+".crm", "", http.MethodPost), "Forbidden"},
		"write through the link":     {byRequest(apps+".crm", team+".link", http.MethodPost), team + ".link"},
		"read through the link":      {byRequest(apps+".crm", team+".link", http.MethodGet), "Forbidden"},
		"create another than theirs": {byCreation(apps + ".crm"), "Forbidden"},
	} {
		namespace, found, err := test.try(t.Context(), l.Access, who)
		if got := verdictOf(namespace, found, err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	i, err := l.Integration(t.Context(), who, apps+".crm")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.MayCreate(t.Context(), who, i, "mine"); err != nil {
		t.Errorf("a role for one name: %v", err)
	}
	if err := l.MayDelete(t.Context(), who, w.connections[0]); problemOf(err) != "Forbidden" {
		t.Errorf("who may delete in one namespace is taken for a superuser: %v", err)
	}
}

// TestRealLists lists by roles in some namespaces, twice: the second list asks nobody.
func TestRealLists(t *testing.T) {
	t.Parallel()
	w := &world{}
	var namespaces []string
	for range 30 {
		namespace := plane.Namespace(t)
		namespaces = append(namespaces, namespace)
		w.connections = append(w.connections, conn(namespace+".c", namespace+".app"))
		w.applications = append(w.applications, app(namespace+".app"))
	}
	who := someone(t, map[string][]rbacv1.PolicyRule{
		namespaces[3]: {allow("list", "oauthconnections")}, namespaces[20]: {allow("list", "oauthconnections"), allow("list", "oauthapplications")},
	})
	w.connections = append(w.connections, conn(namespaces[5]+".own", namespaces[5]+".app", of(who.GetName())))
	list := func(a *access.Access) (connections []string) {
		visible, err := a.Visible(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.connections {
			if visible(c) {
				connections = append(connections, c.Namespace+"."+c.Name)
			}
		}
		return connections
	}
	want := []string{namespaces[3] + ".c", namespaces[20] + ".c", namespaces[5] + ".own"}
	testenv.Eventually(t, 10*time.Second, func() error {
		if got := list(decide(t, w).Access); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
	l := decide(t, w)
	for range 3 {
		if got := list(l.Access); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if asked := l.requests.Load(); asked != 31 {
			t.Errorf("asked %d times, want once for all namespaces and once for each of 30", asked)
		}
	}
	visible, err := l.VisibleApplications(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	for i, application := range w.applications {
		if visible(application) != (i == 20) {
			t.Errorf("application %d: %t", i, i != 20)
		}
	}
}

// TestRealSuperuser : who may delete all connections may delete each, and see what their roles show.
func TestRealSuperuser(t *testing.T) {
	t.Parallel()
	who := someone(t, map[string][]rbacv1.PolicyRule{"": {allow("*", "oauthconnections"), allow("*", "oauthapplications")}})
	w := populated()
	counts(t, func(a *access.Access) error { return a.MayDelete(t.Context(), who, w.connections[0]) })
	l := decide(t, w)
	for _, c := range w.connections {
		if err := l.MayDelete(t.Context(), who, c); err != nil {
			t.Error(err)
		}
		namespace, name, err := byConnection(string(c.UID))(t.Context(), l.Access, who)
		if err != nil || name != c.Name {
			t.Errorf("%s.%s, %v", namespace, name, err)
		}
	}
	if err := l.MayRequest(t.Context(), who, w.connections[0], http.MethodGet); problemOf(err) != "Forbidden" {
		t.Errorf("a right to all connections is no right to use them: %v", err)
	}
	visible, err := l.Visible(t.Context(), who)
	if err != nil || !visible(w.connections[0]) || !visible(w.connections[2]) {
		t.Errorf("the list is not complete: %v", err)
	}
}

// TestRealRequestsAreCheap sends many requests through one connection.
func TestRealRequestsAreCheap(t *testing.T) {
	t.Parallel()
	who := someone(t, map[string][]rbacv1.PolicyRule{"": {allow("get", "oauthconnections/proxy")}})
	w := populated()
	counts(t, func(a *access.Access) error { return a.MayRequest(t.Context(), who, w.connections[0], http.MethodGet) })
	l := decide(t, w)
	for range 100 {
		if _, _, err := byRequest("apps.crm", "", http.MethodGet)(t.Context(), l.Access, who); err != nil {
			t.Fatal(err)
		}
	}
	if asked := l.requests.Load(); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
