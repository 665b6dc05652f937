// SPDX-License-Identifier: Apache-2.0

package caller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
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
	if installed, err = plane.API(context.Background(), "caller-test"); err == nil {
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

// counted is the API's way to the real API server, with its requests counted.
type counted struct {
	client *kubernetes.Clientset

	mu       sync.Mutex
	requests map[string]int
}

func count(t *testing.T) *counted {
	t.Helper()
	c := &counted{requests: map[string]int{}}
	config := rest.CopyConfig(installed)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return trip(func(r *http.Request) (*http.Response, error) {
			c.mu.Lock()
			c.requests[r.Method+" "+r.URL.Path]++
			c.mu.Unlock()
			return next.RoundTrip(r)
		})
	})
	var err error
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return c
}

type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// wants holds what was asked against what should have been.
func (c *counted) wants(t *testing.T, reviews, questions int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	gotReviews, gotQuestions := c.requests["POST /apis/authentication.k8s.io/v1/tokenreviews"],
		c.requests["POST /apis/authorization.k8s.io/v1/subjectaccessreviews"]
	if gotReviews != reviews || gotQuestions != questions {
		t.Errorf("the API server was asked about %d tokens and %d permissions, want %d and %d", gotReviews, gotQuestions, reviews, questions)
	}
	delete(c.requests, "POST /apis/authentication.k8s.io/v1/tokenreviews")
	delete(c.requests, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews")
	if len(c.requests) > 0 {
		t.Errorf("and other requests were made: %v", c.requests)
	}
}

func (c *counted) authenticator(t *testing.T, changes ...func(*caller.AuthenticatorOptions)) *caller.Authenticator {
	t.Helper()
	options := caller.AuthenticatorOptions{Client: c.client.AuthenticationV1(), Audiences: []string{audience}}
	for _, change := range changes {
		change(&options)
	}
	a, err := caller.NewAuthenticator(options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// robot makes a ServiceAccount in a namespace of its own.
func robot(t *testing.T) *corev1.ServiceAccount {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: plane.Namespace(t), Name: "robot"}}
	create(t, account)
	return account
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := plane.Client().Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// tokenOf requests a token of a ServiceAccount, without audiences for the API server.
func tokenOf(t *testing.T, account *corev1.ServiceAccount, audiences ...string) (token string, expires time.Time) {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := plane.Client().SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token, request.Status.ExpirationTimestamp.Time
}

// TestClusterOutage comes first and alone: the others share the way to the API server.
func TestClusterOutage(t *testing.T) {
	account := robot(t)
	token, _ := tokenOf(t, account, audience)
	another, _ := tokenOf(t, account, audience)
	c := count(t)
	a := c.authenticator(t)
	p, err := caller.NewPermissions(caller.PermissionsOptions{Client: c.client.AuthorizationV1()})
	if err != nil {
		t.Fatal(err)
	}
	_, seen := visit(t, a, "Bearer "+token)
	if seen == nil {
		t.Fatal("a good token is refused")
	}
	plane.APIServer.Cut()
	defer plane.APIServer.Restore()
	answer, seen := visit(t, a, "Bearer "+another)
	refused(t, answer, seen, problem.ClusterUnavailable)
	if answer.Header().Get("Retry-After") == "" {
		t.Error("the client is not told when to come back")
	}
	_, seen = visit(t, a, "Bearer "+token)
	if seen == nil {
		t.Fatal("a token that is known is refused")
	}
	may, err := p.May(t.Context(), caller.From(seen.Context()), proxyPOST())
	if may || problem.Of(err).Code != problem.ClusterUnavailable {
		t.Errorf("permissions: %t, %v", may, err)
	}
	plane.APIServer.Restore()
	testenv.Eventually(t, 10*time.Second, func() error {
		if answer, seen := visit(t, a, "Bearer "+another); seen == nil {
			return errors.New(answer.Body.String())
		}
		_, err := p.May(t.Context(), caller.From(seen.Context()), proxyPOST())
		return err
	})
}

func TestServiceAccountTokens(t *testing.T) {
	t.Parallel()
	account := robot(t)
	good, _ := tokenOf(t, account, audience)
	both, _ := tokenOf(t, account, "https://somewhere.example.com", audience)
	other, _ := tokenOf(t, account, "https://somewhere.example.com")
	own, _ := tokenOf(t, account)
	parts := strings.Split(good, ".")
	otherParts := strings.Split(other, ".")
	for name, test := range map[string]struct {
		token string
		good  bool
	}{
		"for the API":               {good, true},
		"for the API and others":    {both, true},
		"for somebody else":         {other, false},
		"for the API server":        {own, false},
		"garbage":                   {"garbage", false},
		"garbage in the form":       {"a.b.c", false},
		"the audience changed":      {otherParts[0] + "." + parts[1] + "." + otherParts[2], false},
		"without a signature":       {parts[0] + "." + parts[1] + ".", false},
		"with a signature of none":  {"eyJhbGciOiJub25lIn0." + parts[1] + ".", false},
		"with a signature too much": {good + ".AAAA", false},
		"the payload alone":         {parts[1], false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := count(t)
			a := c.authenticator(t)
			for range 3 {
				answer, seen := visit(t, a, "Bearer "+test.token)
				if !test.good {
					refused(t, answer, seen, problem.Unauthenticated)
					continue
				}
				if seen == nil {
					t.Fatalf("answered %d %s", answer.Code, answer.Body)
				}
				who := caller.From(seen.Context())
				groups := []string{"system:serviceaccounts", "system:serviceaccounts:" + account.Namespace, "system:authenticated"}
				if who.GetName() != "system:serviceaccount:"+account.Namespace+":robot" || who.GetUID() != string(account.UID) ||
					!slices.Equal(who.GetGroups(), groups) || len(who.GetExtra()["authentication.kubernetes.io/credential-id"]) != 1 {
					t.Errorf("the caller is %q %q %q %v", who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
				}
			}
			c.wants(t, 1, 0)
		})
	}
}

// TestUnboundToken shows that a token for the API is worth nothing at the API server, which is why its audience is its own.
func TestUnboundToken(t *testing.T) {
	t.Parallel()
	token, _ := tokenOf(t, robot(t), audience)
	config := rest.AnonymousClientConfig(plane.Config)
	config.BearerToken = token
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); err == nil {
		t.Error("the API server takes the token")
	}
}

// TestDeletedServiceAccount waits for as long as the API server itself remembers.
func TestDeletedServiceAccount(t *testing.T) {
	t.Parallel()
	account := robot(t)
	token, _ := tokenOf(t, account, audience)
	a := count(t).authenticator(t, func(o *caller.AuthenticatorOptions) {
		o.RememberAccepted, o.RememberRefused = time.Nanosecond, time.Nanosecond
	})
	if answer, seen := visit(t, a, "Bearer "+token); seen == nil {
		t.Fatalf("answered %d %s", answer.Code, answer.Body)
	}
	if err := plane.Client().Delete(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		answer, seen := visit(t, a, "Bearer "+token)
		if seen != nil {
			return errors.New("the token is still good")
		}
		refused(t, answer, seen, problem.Unauthenticated)
		return nil
	})
}

func TestExpiredToken(t *testing.T) {
	t.Parallel()
	token, expires := tokenOf(t, robot(t), audience)
	clock := testclock.NewFakePassiveClock(time.Now())
	c := count(t)
	a := c.authenticator(t, func(o *caller.AuthenticatorOptions) { o.Clock, o.RememberAccepted = clock, 24*time.Hour })
	for _, test := range []struct {
		at   time.Time
		good bool
	}{{clock.Now(), true}, {expires.Add(-2 * time.Second), true}, {expires.Add(time.Second), false}, {expires.Add(time.Hour), false}} {
		clock.SetTime(test.at)
		answer, seen := visit(t, a, "Bearer "+token)
		if test.good != (seen != nil) {
			t.Errorf("%s before its end: answered %d", expires.Sub(test.at), answer.Code)
		}
	}
	c.wants(t, 1, 0)
}

// TestManyRequests counts what requests of some callers at once cost the API server.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	var tokens []string
	for range 4 {
		token, _ := tokenOf(t, robot(t), audience)
		tokens = append(tokens, token)
	}
	c := count(t)
	a := c.authenticator(t)
	p, err := caller.NewPermissions(caller.PermissionsOptions{Client: c.client.AuthorizationV1(), RememberAllowed: time.Hour, RememberDenied: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			_, seen := visit(t, a, "Bearer "+tokens[i%len(tokens)])
			if seen == nil {
				t.Error("turned away")
				return
			}
			for _, verb := range []string{"get", "create"} {
				what := proxyPOST()
				what.Verb = verb
				if may, err := p.May(t.Context(), caller.From(seen.Context()), what); may || err != nil {
					t.Errorf("may %t, %v", may, err)
				}
			}
		})
	}
	all.Wait()
	c.wants(t, len(tokens), 2*len(tokens))
}

// TestRoles asks about ServiceAccounts with roles of each kind.
func TestRoles(t *testing.T) {
	t.Parallel()
	const group, connections, proxy = "oauth-operator.io", "oauthconnections", "proxy"
	rule := func(verb, resource string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names}
	}
	in := func(namespace, verb, name string) caller.Attributes {
		return caller.Attributes{Verb: verb, Namespace: namespace, Name: name, Resource: connections}
	}
	through := func(namespace, verb, name string) caller.Attributes {
		return caller.Attributes{Verb: verb, Namespace: namespace, Name: name, Resource: connections, Subresource: proxy}
	}
	for name, test := range map[string]struct {
		rule rbacv1.PolicyRule
		// everywhere binds it in all namespaces.
		everywhere bool
		// may and mayNot are questions, made for the namespace of the role.
		may, mayNot func(namespace string) []caller.Attributes
	}{
		"get": {
			rule("get", connections), false,
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "get", "crm"), in(n, "get", "")} },
			func(n string) []caller.Attributes {
				return []caller.Attributes{in(n, "list", ""), in("", "get", "crm"), in("default", "get", "crm"), through(n, "get", "crm"), in(n, "delete", "crm")}
			},
		},
		"list": {
			rule("list", connections), false,
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "list", "")} },
			func(n string) []caller.Attributes {
				return []caller.Attributes{in("", "list", ""), in("default", "list", ""), in(n, "get", "crm")}
			},
		},
		"list everywhere": {
			rule("list", connections), true,
			func(n string) []caller.Attributes {
				return []caller.Attributes{in("", "list", ""), in(n, "list", ""), in("default", "list", "")}
			},
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "get", "crm")} },
		},
		"create by name": {
			rule("create", connections, "crm"), false,
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "create", "crm")} },
			func(n string) []caller.Attributes {
				return []caller.Attributes{in(n, "create", ""), in(n, "create", "crm2"), in("default", "create", "crm"), through(n, "create", "crm")}
			},
		},
		"proxy by name": {
			rule("create", connections+"/"+proxy, "crm"), false,
			func(n string) []caller.Attributes { return []caller.Attributes{through(n, "create", "crm")} },
			func(n string) []caller.Attributes {
				return []caller.Attributes{
					through(n, "get", "crm"), through(n, "create", "erp"), through(n, "create", ""), through("default", "create", "crm"), in(n, "create", "crm"),
				}
			},
		},
		"proxy of all resources": {
			rule("get", "*/"+proxy), false,
			func(n string) []caller.Attributes { return []caller.Attributes{through(n, "get", "crm")} },
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "get", "crm")} },
		},
		"superuser": {
			rule("delete", connections), true,
			func(n string) []caller.Attributes {
				return []caller.Attributes{in("", "delete", ""), in(n, "delete", "crm")}
			},
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "get", "crm")} },
		},
		"delete in one namespace": {
			rule("delete", connections), false,
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "delete", "crm")} },
			func(string) []caller.Attributes { return []caller.Attributes{in("", "delete", "")} },
		},
		"another group": {
			rbacv1.PolicyRule{APIGroups: []string{"example.com", group}, Resources: []string{"others"}, Verbs: []string{"*"}},
			true,
			func(string) []caller.Attributes { return []caller.Attributes{{Verb: "get", Resource: "others"}} },
			func(n string) []caller.Attributes { return []caller.Attributes{in(n, "get", "crm")} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := robot(t)
			// By the group of the namespace's ServiceAccounts: groups count.
			subject := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + account.Namespace}
			grant(t, account.Namespace, subject, test.everywhere, test.rule)
			token, _ := tokenOf(t, account, audience)
			c := count(t)
			_, seen := visit(t, c.authenticator(t), "Bearer "+token)
			if seen == nil {
				t.Fatal("turned away")
			}
			p, err := caller.NewPermissions(caller.PermissionsOptions{Client: c.client.AuthorizationV1(), RememberDenied: time.Nanosecond})
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range test.may(account.Namespace) {
				testenv.Eventually(t, 10*time.Second, func() error { return want(t, p, seen, what, true) })
			}
			for _, what := range test.mayNot(account.Namespace) {
				if err := want(t, p, seen, what, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func want(t *testing.T, p caller.Permissions, seen *http.Request, what caller.Attributes, want bool) error {
	t.Helper()
	may, err := p.May(t.Context(), caller.From(seen.Context()), what)
	if err == nil && may != want {
		err = fmt.Errorf("%+v: %t", what, may)
	}
	return err
}

// grant binds a rule to somebody in a namespace, or in all of them.
func grant(t *testing.T, namespace string, subject rbacv1.Subject, everywhere bool, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Rules: rules}
	create(t, role)
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}
	if everywhere {
		create(t, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, RoleRef: ref, Subjects: []rbacv1.Subject{subject},
		})
		return
	}
	create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "test-"}, RoleRef: ref, Subjects: []rbacv1.Subject{subject},
	})
}

// TestRoleTakenAway is about a yes that ends.
func TestRoleTakenAway(t *testing.T) {
	t.Parallel()
	account := robot(t)
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}
	grant(t, account.Namespace, subject, false, rbacv1.PolicyRule{
		APIGroups: []string{"oauth-operator.io"}, Resources: []string{"oauthconnections"}, Verbs: []string{"get"},
	})
	token, _ := tokenOf(t, account, audience)
	c := count(t)
	_, seen := visit(t, c.authenticator(t), "Bearer "+token)
	p, err := caller.NewPermissions(caller.PermissionsOptions{
		Client: c.client.AuthorizationV1(), RememberAllowed: time.Nanosecond, RememberDenied: time.Nanosecond,
	})
	if err != nil || seen == nil {
		t.Fatal("turned away", err)
	}
	what := caller.Attributes{Verb: "get", Namespace: account.Namespace, Name: "crm", Resource: "oauthconnections"}
	testenv.Eventually(t, 10*time.Second, func() error { return want(t, p, seen, what, true) })
	if err := plane.Client().DeleteAllOf(t.Context(), &rbacv1.RoleBinding{}, client.InNamespace(account.Namespace)); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, func() error { return want(t, p, seen, what, false) })
}

// TestWithoutTheRole: without its role the API can decide nothing, and says so.
func TestWithoutTheRole(t *testing.T) {
	t.Parallel()
	config, err := plane.UserFor(t.Context(), plane.Namespace(t), "powerless")
	if err != nil {
		t.Fatal(err)
	}
	powerless, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := tokenOf(t, robot(t), audience)
	a := (&counted{client: powerless}).authenticator(t)
	answer, seen := visit(t, a, "Bearer "+token)
	refused(t, answer, seen, problem.ClusterUnavailable)
	if bytes.Contains(answer.Body.Bytes(), []byte("tokenreviews")) {
		t.Errorf("the answer shows too much: %s", answer.Body)
	}
	p, err := caller.NewPermissions(caller.PermissionsOptions{Client: powerless.AuthorizationV1()})
	if err != nil {
		t.Fatal(err)
	}
	if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); may || problem.Of(err).Code != problem.ClusterUnavailable {
		t.Errorf("permissions: %t, %v", may, err)
	}
}
