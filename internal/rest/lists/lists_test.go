// SPDX-License-Identifier: Apache-2.0

package lists_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/lists"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	connectionsPath    = "/oauth_connections"
	allConnectionsPath = "/api/v1/oauth/connections"
	applicationsPath   = "/oauth_applications"
)

// usual is a world with an administrator, an operator of one tenant, and owners.
func usual(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, grant(
		"admin list oauthconnections",
		"admin get oauthconnections",
		"admin list oauthapplications",
		"admin get oauthapplications",
		"tina list oauthconnections tenant",
		"tina list oauthapplications tenant",
	))
	w.apply("a1", 1, "platform", "crm")
	gone := w.apply("a2", 2, "tenant", "erp")
	deleted := gone.DeepCopy()
	deleted.Status.Phase = v1alpha1.ApplicationDeleted
	w.directory.ApplicationHandler().OnUpdate(gone, deleted)
	w.apply("a3", 3, "tenant", "hr.eu")
	w.connect("c1", 1, "platform", "ann", v1alpha1.ConnectionActive)
	w.connect("c2", 2, "platform", "", v1alpha1.ConnectionActive)
	w.connect("c3", 3, "tenant", "ann", v1alpha1.ConnectionActive) // Not hers: it is not the application's namespace.
	w.connect("c4", 4, "platform", "ann", v1alpha1.ConnectionInactive)
	w.connect("c5", 5, "tenant", "", v1alpha1.ConnectionAuthorizing)
	w.connect("c6", 6, "platform", "bob", v1alpha1.ConnectionActive)
	other := w.connect("c7", 7, "tenant", "", v1alpha1.ConnectionActive)
	moved := other.DeepCopy()
	moved.Spec.ApplicationRef = v1alpha1.ApplicationReference{Name: "hr.eu"}
	w.directory.ConnectionHandler().OnUpdate(other, moved)
	return w
}

func TestWhoSeesWhat(t *testing.T) {
	w := usual(t)
	for _, row := range []struct{ who, target, want string }{
		{"admin", connectionsPath, "c1 c2 c3 c6 c7"},
		{"admin", allConnectionsPath, "c1 c2 c3 c4 c5 c6 c7"},
		{"tina", allConnectionsPath, "c3 c5 c7"},
		{"ann", connectionsPath, "c1"},
		{"ann", allConnectionsPath, "c1 c4"},
		{"bob", allConnectionsPath, "c6"},
		{"nobody", allConnectionsPath, ""},
		{"", allConnectionsPath, ""},
		{"admin", applicationsPath, "a1 a3"},
		{"tina", applicationsPath, "a3"},
		{"ann", applicationsPath, ""},

		{"admin", connectionsPath + "?status.in=inactive", "c4 c5"},
		{"admin", connectionsPath + "?status.in=active,inactive", "c1 c2 c3 c4 c5 c6 c7"},
		{"admin", connectionsPath + "?status.in=active&status.in=inactive", "c1 c2 c3 c4 c5 c6 c7"},
		{"admin", allConnectionsPath + "?status.in=active", "c1 c2 c3 c6 c7"},
		{"ann", connectionsPath + "?status.in=inactive", "c4"},
		{"admin", applicationsPath + "?status.in=deleted", "a2"},
		{"admin", applicationsPath + "?status.in=active,deleted", "a1 a2 a3"},
		{"tina", applicationsPath + "?status.in=deleted,active", "a2 a3"},

		{"admin", allConnectionsPath + "?oauth_application_id=a1", "c1 c2 c3 c4 c5 c6"},
		{"admin", allConnectionsPath + "?oauth_application_id=platform.crm", "c1 c2 c3 c4 c5 c6"},
		{"admin", allConnectionsPath + "?oauth_application_id=tenant.hr.eu", "c7"},
		{"admin", connectionsPath + "?oauth_application_id=a1&status.in=inactive", "c4 c5"},
		{"admin", connectionsPath + "?oauth_application_id=a9", ""},
		{"admin", connectionsPath + "?oauth_application_id=no.such", ""},
		{"admin", connectionsPath + "?oauth_application_id=.", ""},
		{"ann", allConnectionsPath + "?oauth_application_id=a1", "c1 c4"},
		{"ann", allConnectionsPath + "?oauth_application_id=a3", ""},

		{"admin", connectionsPath + "?limit=100&colour=red", "c1 c2 c3 c6 c7"},
		{"admin", applicationsPath + "?oauth_application_id=a1", "a1 a3"},
	} {
		if got, next := w.list(t, row.who, row.target); got != row.want || next != nil {
			t.Errorf("%s at %s: %q, next cursor %v; want %q", row.who, row.target, got, next, row.want)
		}
	}
}

func TestPages(t *testing.T) {
	w := usual(t)
	for _, row := range []struct{ who, target, want string }{
		{"admin", connectionsPath, "c1 c2|c3 c6|c7"},
		{"admin", allConnectionsPath, "c1 c2|c3 c4|c5 c6|c7"},
		{"tina", allConnectionsPath, "c3 c5|c7"},
		{"ann", allConnectionsPath, "c1 c4"},
		{"admin", applicationsPath + "?status.in=active,deleted", "a1 a2|a3"},
	} {
		var pages []string
		separator := "?"
		if strings.Contains(row.target, "?") {
			separator = "&"
		}
		target := row.target + separator + "limit=2"
		for next := new(""); next != nil; {
			var page string
			cursor := ""
			if *next != "" {
				cursor = "&cursor=" + url.QueryEscape(*next)
			}
			page, next = w.list(t, row.who, target+cursor)
			pages = append(pages, page)
		}
		if got := strings.Join(pages, "|"); got != row.want {
			t.Errorf("%s at %s: %s, want %s", row.who, row.target, got, row.want)
		}
	}
}

// A page has 100 objects unless fewer are asked for; a cursor says that there are more.
func TestDefaultLimit(t *testing.T) {
	w := newWorld(t, grant("admin list oauthconnections"))
	for i := range 101 {
		w.connect(types.UID(fmt.Sprintf("u%03d", i)), i, "ns", "", v1alpha1.ConnectionActive)
	}
	page, next := w.list(t, "admin", connectionsPath)
	if n := len(strings.Fields(page)); n != 100 || next == nil {
		t.Fatalf("%d connections, next cursor %v", n, next)
	}
	if page, next = w.list(t, "admin", connectionsPath+"?cursor="+*next); page != "u100" || next != nil {
		t.Errorf("the last page is %s, next cursor %v", page, next)
	}
}

func TestBadParameters(t *testing.T) {
	w := usual(t)
	for _, row := range []struct{ query, names string }{
		{"limit=0", "limit"},
		{"limit=-1", "limit"},
		{"limit=101", "limit"},
		{"limit=ten", "limit"},
		{"limit=1e1", "limit"},
		{"limit=99999999999999999999", "limit"},
		{"limit=", "limit"},
		{"limit=5&limit=6", "limit"},
		{"cursor=", "cursor"},
		{"cursor=canary", "cursor"},
		{"cursor=AAAA", "cursor"},
		{"cursor=" + strings.Repeat("A", 3000), "cursor"},
		{"status.in=", "status.in"},
		{"status.in=canary", "status.in"},
		{"status.in=active,", "status.in"},
		{"status.in=active,canary", "status.in"},
		{"status.in=Active", "status.in"},
		{"limit=%zz", "query"},
		{"a;b", "query"},
	} {
		for _, path := range []string{connectionsPath, allConnectionsPath, applicationsPath} {
			answer := w.as(t, "admin", path+"?"+row.query)
			checkProblem(t, path+"?"+row.query, answer, problem.InvalidRequest)
			if !strings.Contains(answer.Body.String(), row.names) || strings.Contains(answer.Body.String(), "canary") {
				t.Errorf("%s?%s: %s does not name %s, or quotes what was sent", path, row.query, answer.Body, row.names)
			}
		}
	}
	for _, query := range []string{
		"oauth_application_id=", "oauth_application_id=" + strings.Repeat("a", 600), "status.in=deleted",
	} {
		for _, path := range []string{connectionsPath, allConnectionsPath} {
			checkProblem(t, path+"?"+query, w.as(t, "admin", path+"?"+query), problem.InvalidRequest)
		}
	}
	checkProblem(t, "inactive applications", w.as(t, "admin", applicationsPath+"?status.in=inactive"), problem.InvalidRequest)
}

func checkProblem(t *testing.T, what string, answer *httptest.ResponseRecorder, code problem.Code) {
	t.Helper()
	var read problem.Error
	if err := json.Unmarshal(answer.Body.Bytes(), &read); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if answer.Code != code.Status() || read.Code != code || answer.Header().Get(problem.Header) != string(code) {
		t.Errorf("%s: %d %s, want %s", what, answer.Code, answer.Body, code)
	}
}

func TestRetrieveOne(t *testing.T) {
	w := usual(t)
	for _, row := range []struct {
		who, target string
		status      int
	}{
		{"admin", connectionsPath + "/c4", http.StatusOK},
		{"admin", connectionsPath + "/platform.name-c4", http.StatusOK},
		{"ann", connectionsPath + "/c4", http.StatusOK},
		{"ann", connectionsPath + "/c3", http.StatusNotFound},
		{"ann", connectionsPath + "/c9", http.StatusNotFound},
		{"bob", connectionsPath + "/c4", http.StatusNotFound},
		{"bob", connectionsPath + "/platform.name-c4", http.StatusForbidden},
		{"bob", connectionsPath + "/platform.no-such", http.StatusForbidden},
		{"admin", applicationsPath + "/a2", http.StatusOK},
		{"admin", applicationsPath + "/platform.crm", http.StatusOK},
		{"ann", applicationsPath + "/a1", http.StatusNotFound},
		{"ann", applicationsPath + "/platform.crm", http.StatusForbidden},
	} {
		if answer := w.as(t, row.who, row.target); answer.Code != row.status {
			t.Errorf("%s at %s: %d %s, want %d", row.who, row.target, answer.Code, answer.Body, row.status)
		}
	}
	refused, missing := w.as(t, "bob", connectionsPath+"/c4"), w.as(t, "bob", connectionsPath+"/c9")
	if refused.Body.String() != missing.Body.String() {
		t.Errorf("a connection that exists is told from one that does not: %s, %s", refused.Body, missing.Body)
	}
}

// A single object is what it is in a list.
func TestObjectsAreTheSameInLists(t *testing.T) {
	w := usual(t)
	for one, list := range map[string]string{
		connectionsPath + "/c1": connectionsPath + "?limit=1", applicationsPath + "/a1": applicationsPath + "?limit=1",
	} {
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(w.as(t, "admin", list).Body.Bytes(), &page); err != nil || len(page.Data) != 1 {
			t.Fatalf("%s: %v", list, err)
		}
		if alone := w.as(t, "admin", one).Body.String(); alone != string(page.Data[0]) {
			t.Errorf("%s is %s, and in the list %s", one, alone, page.Data[0])
		}
	}
}

// The envelope has both members, whatever is in it.
func TestEmptyList(t *testing.T) {
	w := newWorld(t, grant())
	for _, path := range []string{
		connectionsPath, allConnectionsPath, applicationsPath, connectionsPath + "?oauth_application_id=x",
	} {
		if got := w.as(t, "nobody", path).Body.String(); got != `{"data":[],"next_cursor":null}` {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// A connection names its application: the one of that name now.
func TestApplicationOfConnections(t *testing.T) {
	w := usual(t)
	if body := w.as(t, "admin", connectionsPath+"/c1").Body.String(); !strings.Contains(body, `"oauth_application_id":"a1"`) {
		t.Errorf("the application is not named: %s", body)
	}
	w.directory.ApplicationHandler().OnDelete(w.directory.Application("a1"))
	if body := w.as(t, "admin", connectionsPath+"/c1").Body.String(); !strings.Contains(body, `"oauth_application_id":null`) {
		t.Errorf("an application that is gone is named: %s", body)
	}
}

func TestClusterAway(t *testing.T) {
	w := newWorld(t, away{})
	w.connect("c1", 1, "platform", "ann", v1alpha1.ConnectionActive)
	for _, path := range []string{connectionsPath, allConnectionsPath, applicationsPath, connectionsPath + "/c1"} {
		checkProblem(t, path, w.as(t, "bob", path), problem.ClusterUnavailable)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := lists.New(lists.Options{}); err == nil {
		t.Error("a handler of nothing is made")
	}
}
