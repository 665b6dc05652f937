// SPDX-License-Identifier: Apache-2.0

package access_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func TestOwns(t *testing.T) {
	t.Parallel()
	nobody := caller.Caller{Info: &user.DefaultInfo{}}
	local := conn("apps.mine", "apps.crm", of("jane"))
	local.Spec.ApplicationRef.Namespace = "" // Its own.
	for name, test := range map[string]struct {
		who        caller.Caller
		connection *v1alpha1.OAuthConnection
		owns       bool
	}{
		"hers":                        {jane(), conn("apps.mine", "apps.crm", of("jane")), true},
		"hers by the default":         {jane(), local, true},
		"hers, which has ended":       {jane(), conn("apps.mine", "apps.crm", of("jane"), inactive), true},
		"somebody else's":             {jane(), conn("apps.joes", "apps.crm", of("joe")), false},
		"another case":                {jane(), conn("apps.mine", "apps.crm", of("Jane")), false},
		"shared":                      {jane(), conn("apps.shared", "apps.crm"), false},
		"her name in another place":   {jane(), conn("team.mine", "apps.crm", of("jane")), false},
		"shared, and nobody":          {nobody, conn("apps.shared", "apps.crm"), false},
		"shared, and nobody at all":   {caller.Caller{}, conn("apps.shared", "apps.crm"), false},
		"somebody's, nobody at all":   {caller.Caller{}, conn("apps.mine", "apps.crm", of("jane")), false},
		"a group is no owner":         {caller.Caller{Info: &user.DefaultInfo{Name: "x", Groups: []string{"jane"}}}, conn("apps.a", "apps.b", of("jane")), false},
		"a UID is no owner":           {caller.Caller{Info: &user.DefaultInfo{Name: "x", UID: "jane"}}, conn("apps.a", "apps.b", of("jane")), false},
		"a ServiceAccount's":          {caller.Caller{Info: &user.DefaultInfo{Name: "system:serviceaccount:a:b"}}, conn("apps.a", "apps.b", of("system:serviceaccount:a:b")), true},
		"a namespace of another name": {jane(), conn("apps.mine", "apps2.crm", of("jane")), false},
	} {
		if got := access.Owns(test.who, test.connection); got != test.owns {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestVerbOf(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{
		"GET": "get", "HEAD": "get", "OPTIONS": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
		"CONNECT": "", "TRACE": "", "PROPFIND": "", "get": "", "": "", "*": "",
	} {
		if got := access.VerbOf(method); got != want {
			t.Errorf("%q needs %q, want %q", method, got, want)
		}
	}
}

// TestUsual is which connection is meant when none is named.
func TestUsual(t *testing.T) {
	t.Parallel()
	const all, here = "get oauthconnections */*", "apps.crm"
	joes, link := conn("apps.joes", here, of("joe")), conn("team.link", here)
	hers, hers2, ended := conn("apps.hers", here, of("jane")), conn("apps.hers2", here, of("jane")), conn("apps.ended", here, of("jane"), inactive)
	shared, shared2, dead := conn("apps.shared", here), conn("apps.shared2", here), conn("apps.dead", here, inactive)
	type list = []*v1alpha1.OAuthConnection
	for name, test := range map[string]struct {
		connections list
		rules       []string
		want        string
		// words that a problem says, and must not say.
		says, hides []string
	}{
		"hers":                       {list{joes, hers, shared}, nil, "apps.hers", nil, nil},
		"hers, which has ended":      {list{ended, shared}, []string{all}, "apps.ended", nil, nil},
		"hers that is active":        {list{ended, hers}, nil, "apps.hers", nil, nil},
		"hers that stays":            {list{conn("apps.a", here, of("jane"), beingDeleted), hers}, nil, "apps.hers", nil, nil},
		"two of hers":                {list{hers, hers2, ended, joes, shared}, []string{all}, "ConnectionAmbiguous", []string{"apps.hers, apps.hers2 fit", access.HeaderConnection}, []string{"ended", "joes", "shared"}},
		"two of hers that ended":     {list{ended, conn("apps.ended2", here, of("jane"), inactive)}, nil, "ConnectionAmbiguous", []string{"apps.ended, apps.ended2"}, nil},
		"hers in another namespace":  {list{conn("team.hers", here, of("jane"))}, []string{all, "list oauthconnections */*"}, "NotFound", nil, nil},
		"hers at another":            {list{conn("apps.hers", "apps.erp", of("jane")), shared}, []string{all}, "apps.shared", nil, nil},
		"shared":                     {list{joes, shared, link}, []string{all}, "apps.shared", nil, nil},
		"shared, one that she sees":  {list{shared, shared2}, []string{"get oauthconnections apps/shared2"}, "apps.shared2", nil, nil},
		"shared, the active":         {list{dead, shared}, []string{all}, "apps.shared", nil, nil},
		"shared, the one that ended": {list{dead, shared}, []string{"get oauthconnections apps/dead"}, "apps.dead", nil, nil},
		"two shared":                 {list{shared, shared2, dead}, []string{all}, "ConnectionAmbiguous", []string{"apps.shared, apps.shared2 fit"}, []string{"dead"}},
		"two shared of three": {
			list{shared, conn("apps.third", here), shared2},
			[]string{"get oauthconnections apps/shared", "get oauthconnections apps/shared2"},
			"ConnectionAmbiguous",
			[]string{"apps.shared, apps.shared2 fit"},
			[]string{"third"},
		},
		"none that she sees":           {list{shared, shared2, joes}, nil, "Forbidden", nil, []string{"shared", "joes"}},
		"none in the namespace":        {list{link}, []string{all, "list oauthconnections apps/*"}, "NotFound", nil, nil},
		"somebody else's":              {list{joes}, []string{all, "list oauthconnections */*"}, "NotFound", nil, []string{"joes"}},
		"proxy alone shows nothing":    {list{shared}, []string{"get oauthconnections/proxy */*"}, "Forbidden", nil, nil},
		"creation alone shows nothing": {list{shared}, []string{"create oauthconnections */*", "delete oauthconnections */*"}, "NotFound", []string{"connect it first"}, []string{"shared.", "apps."}},
		"who may connect is told that nothing is": {
			list{shared}, []string{"create oauthconnections apps/" + access.ConnectionName("crm", "jane")}, "NotFound", []string{"connect it first"}, nil,
		},
		"who may create another name is not": {list{shared}, []string{"create oauthconnections apps/other"}, "Forbidden", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{applications: []*v1alpha1.OAuthApplication{app(here)}, connections: test.connections, rules: test.rules}
			namespace, name, err := byIntegration(here, "")(t.Context(), w.access(t), jane())
			if got := verdictOf(namespace, name, err); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			for _, words := range test.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%v does not say %q", err, words)
				}
			}
			for _, words := range test.hides {
				if strings.Contains(err.Error(), words) {
					t.Errorf("%v says %q", err, words)
				}
			}
		})
	}
}

func TestSelector(t *testing.T) {
	t.Parallel()
	const all = "get oauthconnections */*"
	w := &world{
		applications: []*v1alpha1.OAuthApplication{app("apps.crm")},
		connections: []*v1alpha1.OAuthConnection{
			conn("apps.hers", "apps.crm", of("jane"), called("acct_1")),
			conn("apps.shared", "apps.crm", called("acct_2")),
			conn("team.link", "apps.crm", called("acct_2")),
			conn("team.named", "apps.crm", of("jane"), called("uid-apps-shared")),
			conn("apps.erps", "apps.erp", called("acct_2")),
			conn("apps.spoof", "apps.crm", called("team.gone")),
			conn("apps.email", "apps.crm", called("jane@example.com")),
		},
	}
	for _, test := range []struct {
		selector string
		rules    []string
		want     string
	}{
		{"apps.hers", nil, "apps.hers"},
		{"uid-apps-hers", nil, "apps.hers"},
		{"acct_1", nil, "apps.hers"},
		{"apps.shared", []string{all}, "apps.shared"},
		{"team.link", []string{all}, "team.link"},
		{"uid-team-link", []string{all}, "team.link"},
		{"acct_2", []string{"get oauthconnections team/*"}, "team.link"},
		{"acct_2", []string{"get oauthconnections apps/*"}, "apps.shared"},
		{"acct_2", []string{all}, "ConnectionAmbiguous"},
		{"acct_2", nil, "NotFound"},
		// The UID goes before the provider's id, for those who see the connection.
		{"uid-apps-shared", []string{all}, "apps.shared"},
		{"uid-apps-shared", []string{"get oauthconnections team/*"}, "team.named"},
		{"team.named", nil, "Forbidden"}, // Her name, in a namespace where anybody may write it.
		{"apps.erps", []string{all}, "NotFound"},
		{"uid-apps-erps", []string{all}, "NotFound"},
		// What a provider says is never taken for a name.
		{"team.gone", []string{all}, "NotFound"},
		{"team.gone", nil, "Forbidden"},
		{"jane@example.com", []string{all}, "apps.email"},
		{"team.none", []string{"list oauthconnections team/*"}, "NotFound"},
		{"Team.link", []string{all}, "NotFound"},
		{"apps.", []string{all}, "NotFound"},
		{".shared", []string{all}, "NotFound"},
		{"apps/shared", []string{all}, "NotFound"},
		{"\xff\xfe", []string{all}, "NotFound"},
		{strings.Repeat("x", 513), []string{all}, "NotFound"},
	} {
		t.Run(test.selector+" "+strings.Join(test.rules, ","), func(t *testing.T) {
			w := &world{applications: w.applications, connections: w.connections, rules: test.rules}
			namespace, name, err := byIntegration("apps.crm", test.selector)(t.Context(), w.access(t), jane())
			if got := verdictOf(namespace, name, err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestDottedNames: the first dot ends the namespace.
func TestDottedNames(t *testing.T) {
	t.Parallel()
	w := &world{
		applications: []*v1alpha1.OAuthApplication{app("apps.crm.v2")}, connections: []*v1alpha1.OAuthConnection{conn("apps.a.b.c", "apps.crm.v2")},
		rules: []string{"get oauthconnections apps/a.b.c", "get oauthapplications apps/crm.v2"},
	}
	for name, try := range map[string]attempt{
		"apps.a.b.c": byConnection("apps.a.b.c"), "apps.crm.v2": byApplication("apps.crm.v2"),
	} {
		namespace, found, err := try(t.Context(), w.access(t), jane())
		if err != nil || namespace+"."+found != name {
			t.Errorf("%s: %s.%s, %v", name, namespace, found, err)
		}
	}
	if namespace, found, err := byIntegration("apps.crm.v2", "")(t.Context(), w.access(t), jane()); err != nil || found != "a.b.c" {
		t.Errorf("%s.%s, %v", namespace, found, err)
	}
}

func TestIntegration(t *testing.T) {
	t.Parallel()
	a := populated().access(t)
	for id, want := range map[string]string{
		"apps.crm": "apps/crm true", "uid-apps-crm": "apps/crm true", "apps.none": "apps/none false", "uid-none": "NotFound", "": "NotFound",
		"uid-apps-shared": "NotFound", "acct_1": "NotFound", "apps.": "NotFound", "\xff": "NotFound",
	} {
		i, err := a.Integration(t.Context(), jane(), id)
		got := fmt.Sprintf("%s %t", i.Name, i.Application != nil)
		if err != nil {
			got = problemOf(err)
		}
		if got != want {
			t.Errorf("%q is %s, want %s", id, got, want)
		}
	}
}

// TestWithoutApplication: a connection may be older than its application, or outlive it.
func TestWithoutApplication(t *testing.T) {
	t.Parallel()
	w := &world{connections: []*v1alpha1.OAuthConnection{conn("apps.hers", "apps.crm", of("jane"))}}
	i, err := w.access(t).Integration(t.Context(), jane(), "apps.crm")
	if err != nil || i.Application != nil {
		t.Fatal(i, err)
	}
	if namespace, name, err := connectionName(w.access(t).ConnectionOf(t.Context(), jane(), i, "")); err != nil || name != "hers" {
		t.Errorf("%s.%s, %v", namespace, name, err)
	}
}

// TestManyShared bounds what one request asks.
func TestManyShared(t *testing.T) {
	t.Parallel()
	w := &world{applications: []*v1alpha1.OAuthApplication{app("apps.crm")}, rules: []string{"get oauthconnections apps/active"}}
	for i := range 500 {
		w.connections = append(w.connections, conn(fmt.Sprintf("apps.c%d", i), "apps.crm", inactive, called("acct")))
	}
	w.connections = append(w.connections, conn("apps.active", "apps.crm", called("acct")))
	namespace, name, err := byIntegration("apps.crm", "")(t.Context(), w.access(t), jane())
	if got := verdictOf(namespace, name, err); got != "apps.active" || len(w.asked) != 33 {
		t.Errorf("got %s after %d questions", got, len(w.asked))
	}
	w.asked = nil
	namespace, name, err = byConnection("acct")(t.Context(), w.access(t), jane())
	if got := verdictOf(namespace, name, err); got != "NotFound" || len(w.asked) != 1 {
		t.Errorf("by the provider's id: %s after %d questions", got, len(w.asked))
	}
	w.rules, w.asked = []string{"get oauthconnections apps/*"}, nil
	w.connections[500].Status.Phase = v1alpha1.ConnectionInactive
	_, _, err = byIntegration("apps.crm", "")(t.Context(), w.access(t), jane())
	if problemOf(err) != "ConnectionAmbiguous" || len(w.asked) != 1 || len(err.Error()) > 300 || !strings.Contains(err.Error(), "apps.c9 and others fit") {
		t.Errorf("for whom all are visible: %v after %d questions", err, len(w.asked))
	}
}

func TestMayCreate(t *testing.T) {
	t.Parallel()
	w := populated("create oauthconnections apps/only")
	a := w.access(t)
	i, err := a.Integration(t.Context(), jane(), "apps.crm")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.MayCreate(t.Context(), jane(), i, "only"); err != nil {
		t.Error(err)
	}
	if err := a.MayCreate(t.Context(), jane(), i, "other"); problemOf(err) != "Forbidden" {
		t.Error(err)
	}
	if want := []string{"create oauthconnections apps/only", "create oauthconnections apps/other"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked %q, want %q", w.asked, want)
	}
}

func TestMayDelete(t *testing.T) {
	t.Parallel()
	hers, shared := conn("apps.hers", "apps.crm", of("jane")), conn("apps.shared", "apps.crm")
	for name, test := range map[string]struct {
		connection *v1alpha1.OAuthConnection
		rules      []string
		want       string
	}{
		"hers":                             {hers, nil, fine},
		"shared":                           {shared, nil, "Forbidden"},
		"shared, by who may delete it":     {shared, []string{"delete oauthconnections apps/shared"}, "Forbidden"},
		"shared, by who may delete there":  {shared, []string{"delete oauthconnections apps/*"}, "Forbidden"},
		"shared, everywhere by this name":  {shared, []string{"delete oauthconnections */shared"}, "Forbidden"},
		"shared, by a superuser":           {shared, []string{"delete oauthconnections */*"}, fine},
		"joe's":                            {conn("apps.joes", "apps.crm", of("joe")), nil, "Forbidden"},
		"joe's, by a superuser":            {conn("apps.joes", "apps.crm", of("joe")), []string{"delete oauthconnections */*"}, fine},
		"her name in another namespace":    {conn("team.hers", "apps.crm", of("jane")), nil, "Forbidden"},
		"shared, by who may do all but it": {shared, []string{"get oauthconnections */*", "delete oauthapplications */*", "delete oauthconnections/proxy */*"}, "Forbidden"},
	} {
		w := &world{rules: test.rules}
		if got := problemOf(w.access(t).MayDelete(t.Context(), jane(), test.connection)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if want := []string{"delete oauthconnections */*"}; test.connection != hers && !slices.Equal(w.asked, want) {
			t.Errorf("%s: asked %q, want %q", name, w.asked, want)
		}
	}
}

func TestMayAuthorize(t *testing.T) {
	t.Parallel()
	hers, joes, shared := conn("apps.hers", "apps.crm", of("jane")), conn("apps.joes", "apps.crm", of("joe")), conn("apps.shared", "apps.crm")
	elsewhere := conn("team.hers", "apps.crm", of("jane"))
	const toCreate, toDeleteAll = "create oauthconnections ", "delete oauthconnections */*"
	for name, test := range map[string]struct {
		connection *v1alpha1.OAuthConnection
		rules      []string
		want       string
		asked      []string
	}{
		"hers":                         {hers, nil, fine, nil},
		"joe's":                        {joes, nil, "Forbidden", []string{toDeleteAll}},
		"joe's, by who may create all": {joes, []string{toCreate + "*/*"}, "Forbidden", []string{toDeleteAll}},
		"joe's, by a superuser":        {joes, []string{toDeleteAll}, fine, []string{toDeleteAll}},
		"shared":                       {shared, []string{toDeleteAll}, "Forbidden", []string{toCreate + "apps/shared"}},
		"shared, by who may create it": {shared, []string{toCreate + "apps/shared"}, fine, []string{toCreate + "apps/shared"}},
		// A name in another namespace is no owner's.
		"elsewhere":                             {elsewhere, nil, "Forbidden", []string{toCreate + "team/hers"}},
		"elsewhere, by who may create it there": {elsewhere, []string{toCreate + "team/hers"}, fine, []string{toCreate + "team/hers"}},
	} {
		w := populated(test.rules...)
		a := w.access(t)
		i, err := a.Integration(t.Context(), jane(), "apps.crm")
		if err != nil {
			t.Fatal(err)
		}
		if got := problemOf(a.MayAuthorize(t.Context(), jane(), i, test.connection)); got != test.want || !slices.Equal(w.asked, test.asked) {
			t.Errorf("%s: %s, asked %q; want %s, %q", name, got, w.asked, test.want, test.asked)
		}
	}
	w := populated()
	w.failAt = 1
	crm := access.Integration{Name: types.NamespacedName{Namespace: "apps", Name: "crm"}}
	if err := w.access(t).MayAuthorize(t.Context(), jane(), crm, joes); problemOf(err) != "ClusterUnavailable" {
		t.Errorf("without an answer: %v", err)
	}
}

// TestMayRequest holds each method against each verb, for the caller's own connection and another.
func TestMayRequest(t *testing.T) {
	t.Parallel()
	verbs := map[string]string{
		"GET": "get", "HEAD": "get", "OPTIONS": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
		"TRACE": "", "CONNECT": "",
	}
	for _, connection := range []*v1alpha1.OAuthConnection{conn("apps.hers", "apps.crm", of("jane")), conn("apps.shared", "apps.crm")} {
		for method, needed := range verbs {
			for _, held := range []string{"get", "create", "update", "patch", "delete", "list"} {
				want := "Forbidden"
				if needed == "" {
					want = "MethodNotAllowed"
				} else if held == needed {
					want = fine
				}
				w := &world{rules: []string{
					held + " oauthconnections/proxy apps/" + connection.Name,
					"get oauthconnections */*", "create oauthconnections */*", "update oauthconnections */*", "delete oauthconnections */*",
					needed + " oauthconnections/proxy apps/other", needed + " oauthconnections/status apps/" + connection.Name,
				}}
				err := w.access(t).MayRequest(t.Context(), jane(), connection, method)
				if got := problemOf(err); got != want {
					t.Errorf("%s through %s with the verb %s: %s, want %s", method, connection.Name, held, got, want)
				}
				if want == "MethodNotAllowed" && problem.Of(err).Header.Get("Allow") != "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE" {
					t.Errorf("allowed are %q", problem.Of(err).Header)
				}
			}
		}
	}
}

// TestConnectionFor finds and decides in one.
func TestConnectionFor(t *testing.T) {
	t.Parallel()
	w := populated("get oauthconnections/proxy team/link")
	for _, test := range []struct{ selector, method, want string }{
		{"team.link", http.MethodGet, "team.link"},
		{"uid-team-link", http.MethodHead, "team.link"},
		{"acct_3", http.MethodOptions, "team.link"},
		{"team.link", http.MethodPost, "Forbidden"},
		{"acct_3", http.MethodPost, "NotFound"},
		{"team.link", "TRACE", "MethodNotAllowed"},
		{"apps.shared", http.MethodGet, "Forbidden"},
	} {
		namespace, name, err := byRequest("apps.crm", test.selector, test.method)(t.Context(), w.access(t), jane())
		if got := verdictOf(namespace, name, err); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.method, test.selector, got, test.want)
		}
	}
	w = populated("get oauthconnections apps/*")
	if _, _, err := byRequest("apps.crm", "", http.MethodPost)(t.Context(), w.access(t), jane()); problemOf(err) != "Forbidden" ||
		!strings.Contains(err.Error(), "needs the verb create on oauthconnections/proxy") {
		t.Errorf("one that she sees, without the right to use it: %v", err)
	}
	w = &world{applications: w.applications, connections: []*v1alpha1.OAuthConnection{conn("apps.hers", "apps.crm", of("jane"))}}
	if _, _, err := byRequest("apps.crm", "", http.MethodGet)(t.Context(), w.access(t), jane()); problemOf(err) != "Forbidden" {
		t.Errorf("her own, without the right to use it: %v", err)
	}
}

func TestNoneVisible(t *testing.T) {
	t.Parallel()
	for code, want := range map[problem.Code]bool{
		problem.NotFound: true, problem.Forbidden: true, problem.ConnectionAmbiguous: false, problem.ClusterUnavailable: false, problem.Internal: false,
	} {
		if got := access.NoneVisible(problem.New(code, "x")); got != want {
			t.Errorf("%s: %t", code, got)
		}
	}
	if access.NoneVisible(nil) {
		t.Error("no error says that there is none")
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	w := &world{
		applications: []*v1alpha1.OAuthApplication{app("apps.crm"), app("tools.erp"), app("empty.app")},
		connections: []*v1alpha1.OAuthConnection{
			conn("apps.hers", "apps.crm", of("jane")), conn("apps.joes", "apps.crm", of("joe")), conn("apps.shared", "apps.crm"),
			conn("team.link", "apps.crm"), conn("team.named", "apps.crm", of("jane")), conn("other.x", "tools.erp"),
		},
	}
	for name, test := range map[string]struct {
		rules                     []string
		connections, applications []string
		// questions that are asked for connections.
		questions int
	}{
		"no rights":        {nil, []string{"apps.hers"}, nil, 4},
		"everywhere":       {[]string{"list oauthconnections */*"}, []string{"apps.hers", "apps.joes", "apps.shared", "team.link", "team.named", "other.x"}, nil, 1},
		"one namespace":    {[]string{"list oauthconnections team/*"}, []string{"apps.hers", "team.link", "team.named"}, nil, 4},
		"two namespaces":   {[]string{"list oauthconnections team/*", "list oauthconnections other/*"}, []string{"apps.hers", "team.link", "team.named", "other.x"}, nil, 4},
		"get is not list":  {[]string{"get oauthconnections */*", "watch oauthconnections */*"}, []string{"apps.hers"}, nil, 4},
		"all applications": {[]string{"list oauthapplications */*"}, []string{"apps.hers"}, []string{"apps.crm", "tools.erp", "empty.app"}, 4},
		"some applications": {
			[]string{"list oauthapplications tools/*", "list oauthapplications empty/*", "get oauthapplications */*"},
			[]string{"apps.hers"},
			[]string{"tools.erp", "empty.app"},
			4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{applications: w.applications, connections: w.connections, rules: test.rules}
			visible, err := w.access(t).Visible(t.Context(), jane())
			if err != nil {
				t.Fatal(err)
			}
			if len(w.asked) != test.questions {
				t.Errorf("asked %q", w.asked)
			}
			var connections, applications []string
			for _, c := range w.connections {
				if visible(c) {
					connections = append(connections, c.Namespace+"."+c.Name)
				}
			}
			if len(w.asked) != test.questions {
				t.Error("asked while the list is made")
			}
			visibleApplication, err := w.access(t).VisibleApplications(t.Context(), jane())
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range w.applications {
				if visibleApplication(a) {
					applications = append(applications, a.Namespace+"."+a.Name)
				}
			}
			if !slices.Equal(connections, test.connections) || !slices.Equal(applications, test.applications) {
				t.Errorf("got %q and %q, want %q and %q", connections, applications, test.connections, test.applications)
			}
		})
	}
}

// slow holds every question about a namespace until it is let go.
type slow struct {
	world

	let    chan struct{}
	inside int
	most   int
}

func (s *slow) May(ctx context.Context, c caller.Caller, a caller.Attributes) (bool, error) {
	if a.Namespace != "" {
		s.mu.Lock()
		s.inside++
		s.most = max(s.most, s.inside)
		s.mu.Unlock()
		<-s.let
		s.mu.Lock()
		s.inside--
		s.mu.Unlock()
	}
	return s.world.May(ctx, c, a)
}

func TestNamespacesAreAskedAboutAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{let: make(chan struct{})}
		for i := range 100 {
			s.connections = append(s.connections, conn(fmt.Sprintf("n%d.c", i), "apps.crm"))
		}
		a, err := access.New(access.Options{Directory: s, Permissions: s})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := a.Visible(t.Context(), jane())
			done <- err
		}()
		synctest.Wait()
		if s.inside != 16 {
			t.Errorf("%d questions at once", s.inside)
		}
		close(s.let)
		if err := <-done; err != nil || s.most != 16 || len(s.asked) != 101 {
			t.Errorf("%v after %d questions, %d at once", err, len(s.asked), s.most)
		}
	})
}

var _ access.Directory = (*directory.Directory)(nil)

func TestNew(t *testing.T) {
	t.Parallel()
	for _, options := range []access.Options{{}, {Directory: &world{}}, {Permissions: &world{}}} {
		if _, err := access.New(options); err == nil {
			t.Errorf("made from %+v", options)
		}
	}
}

// Who may delete everything finds what there is to delete without any other right; who may only see it is refused.
func TestConnectionToDelete(t *testing.T) {
	t.Parallel()
	shared := []*v1alpha1.OAuthConnection{conn("apps.shared", "apps.crm")}
	own := append([]*v1alpha1.OAuthConnection{conn("apps.hers", "apps.crm", of("jane"))}, shared...)
	for name, test := range map[string]struct {
		connections []*v1alpha1.OAuthConnection
		rules       []string
		selector    string
		want        string
		worker      bool
	}{
		"a neighbour has to be named": {
			connections: []*v1alpha1.OAuthConnection{conn("team.crm", "apps.crm")},
			rules:       []string{"delete oauthconnections */*", "list oauthconnections */*"}, want: "NotFound", worker: true,
		},
		"a neighbour that is named": {
			connections: []*v1alpha1.OAuthConnection{conn("team.crm", "apps.crm")},
			rules:       []string{"delete oauthconnections */*"}, selector: "team.crm", want: "team.crm", worker: true,
		},
		"her own":                            {own, nil, "", "apps.hers", false},
		"shared, by a superuser":             {shared, []string{"delete oauthconnections */*"}, "", "apps.shared", false},
		"named, by a superuser":              {own, []string{"delete oauthconnections */*"}, "uid-apps-shared", "apps.shared", false},
		"shared, by who may see it":          {shared, []string{"get oauthconnections apps/*"}, "", "Forbidden", false},
		"shared, by who may delete it there": {shared, []string{"delete oauthconnections apps/*"}, "", "Forbidden", false},
		"named by its UID, by nobody":        {shared, nil, "uid-apps-shared", "NotFound", false},
	} {
		w := &world{applications: []*v1alpha1.OAuthApplication{app("apps.crm")}, connections: test.connections, rules: test.rules}
		a, who := w.access(t), jane()
		if test.worker {
			who = caller.Caller{Info: &user.DefaultInfo{Name: "system:serviceaccount:team:worker"}}
		}
		i, err := a.Integration(t.Context(), who, "apps.crm")
		if err != nil {
			t.Fatal(err)
		}
		found, err := a.ConnectionToDelete(t.Context(), who, i, test.selector)
		got := problemOf(err)
		if err == nil {
			got = found.Namespace + "." + found.Name
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A workload need not name the connection of its own namespace, where it has none with the application itself.
func TestUsualOfWorkloads(t *testing.T) {
	t.Parallel()
	const here, see = "apps.crm", "get oauthconnections */*"
	worker := caller.Caller{Info: &user.DefaultInfo{Name: "system:serviceaccount:team:worker"}}
	theirs, second := conn("team.crm", here), conn("team.second", here)
	elsewhere, erp := conn("other.crm", here), conn("team.erp", "apps.erp")
	shared, own := conn("apps.shared", here), conn("apps.own", here, of("system:serviceaccount:team:worker"))
	type list = []*v1alpha1.OAuthConnection
	for name, test := range map[string]struct {
		connections list
		rules       []string
		as          caller.Caller
		want        string
	}{
		"that of its namespace":           {list{theirs, elsewhere, erp}, []string{see}, worker, "team.crm"},
		"one with a foreign owner":        {list{conn("team.named", here, of("joe"))}, []string{see}, worker, "team.named"},
		"the shared one goes before":      {list{theirs, shared}, []string{see}, worker, "apps.shared"},
		"its own goes before":             {list{theirs, own}, []string{see}, worker, "apps.own"},
		"several":                         {list{theirs, second}, []string{see}, worker, "ConnectionAmbiguous"},
		"one that it may see":             {list{theirs, second}, []string{"get oauthconnections team/second"}, worker, "team.second"},
		"none that it may see":            {list{theirs}, nil, worker, "Forbidden"},
		"none there":                      {list{elsewhere, erp}, []string{see}, worker, "Forbidden"},
		"a person has no namespace":       {list{theirs}, []string{see}, jane(), "Forbidden"},
		"in the application's own, at it": {list{theirs}, []string{see}, caller.Caller{Info: &user.DefaultInfo{Name: "system:serviceaccount:apps:x"}}, "Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{applications: []*v1alpha1.OAuthApplication{app(here)}, connections: test.connections, rules: test.rules}
			namespace, name, err := byIntegration(here, "")(t.Context(), w.access(t), test.as)
			if got := verdictOf(namespace, name, err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
