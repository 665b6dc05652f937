// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func listRows() []row {
	return []row{
		{"GET /oauth_connections/{id}: every field of both descriptions", connectionFields},
		{"GET /oauth_connections/{id}: null where nothing is known", blankFields},
		{"GET /oauth_connections/{id}: UID, name, or the provider's id if it is unique", connectionByID},
		{"GET /oauth_connections, /api/v1/oauth/connections: status.in and oauth_application_id", filters},
		{"GET /oauth_connections: cursor and limit while connections come and go", pages},
		{"GET /oauth_connections: who may not list sees its own", ownInLists},
		{"GET /oauth_applications, /oauth_applications/{id}", applicationObjects},
		{"GET /api/integration-connections", hal},
	}
}

// must wants members of an object to have these values.
func must(t *testing.T, object, want map[string]any) {
	t.Helper()
	for name, value := range want {
		got, there := object[name]
		if !there || fmt.Sprint(got) != fmt.Sprint(value) {
			t.Errorf("%s is %v (there: %t), want %v", name, got, there, value)
		}
	}
}

// mustHave wants an object to have these members, whatever their values.
func mustHave(t *testing.T, object map[string]any, members ...string) {
	t.Helper()
	for _, name := range members {
		if _, there := object[name]; !there {
			t.Errorf("there is no %s among %v", name, slices.Sorted(maps.Keys(object)))
		}
	}
}

// moment reads a time, which has to be RFC 3339 in UTC.
func moment(t *testing.T, object map[string]any, name string) time.Time {
	t.Helper()
	text, _ := object[name].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		t.Errorf("%s is %v: %v", name, object[name], err)
	}
	return at
}

// data is that of a page.
func data(t *testing.T, r *reply) (objects []map[string]any, next string) {
	t.Helper()
	page := r.want(t, http.StatusOK).object(t)
	if len(page) != 2 {
		t.Errorf("a page has data and next_cursor, this one %v", slices.Sorted(maps.Keys(page)))
	}
	mustHave(t, page, "data", "next_cursor")
	list, ok := page["data"].([]any)
	if !ok {
		t.Fatalf("data is %v", page["data"])
	}
	for _, one := range list {
		objects = append(objects, object(one))
	}
	next, _ = page["next_cursor"].(string)
	return objects, next
}

// ids are those of objects, in order.
func ids(objects []map[string]any) []string {
	all := make([]string, 0, len(objects))
	for _, one := range objects {
		text, _ := one["id"].(string)
		all = append(all, text)
	}
	return all
}

func connectionFields(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true, change: identified})
	s.hostile().Always(record.Filter{Endpoint: record.Token}, hostile.All(
		hostile.SetField("connection_id", "connection_42"), hostile.SetField("group_id", "group_7"),
		hostile.SetField("refresh_token_expires_in", 86400)))
	owner := s.user("owner", rule{namespace: s.platform, resource: connections, verbs: []string{"list"}})
	began := time.Now().Truncate(time.Second)
	c := s.connect(owner, map[string]any{"displayName": "Books of the north"})
	byID := s.do(t, call{as: owner, target: "/oauth_connections/" + id(c)}).want(t, http.StatusOK).object(t)
	for _, list := range []string{"/oauth_connections", "/api/v1/oauth/connections"} {
		listed, _ := data(t, s.do(t, call{as: owner, target: list}))
		if len(listed) != 1 || fmt.Sprint(listed[0]) != fmt.Sprint(byID) {
			t.Errorf("%s shows %v, and by its id the connection is %v", list, listed, byID)
		}
	}
	mustHave(t, byID, "created_at", "deleted_at", "group_id", "id", "oauth_application_id", "status", "type") // A.
	mustHave(t, byID, "uuid", "label", "provider", "created_at", "updated_at", "access_token_expires_at",     // C.
		"refresh_token_expires_at", "refresh_authorization_url")
	must(t, byID, map[string]any{
		"type": "oauth_connection", "id": c.UID, "uuid": c.UID, "status": "active", "group_id": "group_7", "deleted_at": nil,
		"oauth_application_id": s.application.UID, "label": "Books of the north", "namespace": s.platform, "name": c.Name,
		"owner": owner.user, "phase": "Active", "refresh_authorization_url": nil,
	})
	mustHave(t, object(byID["provider"]), "name", "label", "logo_url", "authorization_url")
	must(t, object(byID["provider"]), map[string]any{
		"name": "crm", "label": "The CRM", "logo_url": "https://crm.example.com/logo.svg", "authorization_url": s.base + "/authorize",
	})
	now := time.Now()
	for name, around := range map[string]time.Time{
		"created_at": began, "updated_at": began, "access_token_expires_at": began.Add(time.Hour), "refresh_token_expires_at": began.Add(24 * time.Hour),
	} {
		if at := moment(t, byID, name); at.Before(around.Add(-time.Second)) || at.After(around.Add(now.Sub(began)+time.Second)) {
			t.Errorf("%s is %s, want about %s", name, at, around)
		}
	}
	if moment(t, byID, "access_token_expires_at") != c.Status.AccessTokenExpiresAt.UTC() {
		t.Errorf("access_token_expires_at differs from the status %s", c.Status.AccessTokenExpiresAt)
	}
}

// identified reads the provider's names of grants and accounts from its answers.
func identified(spec *v1alpha1.OAuthApplicationSpec) {
	spec.TokenResponse = &v1alpha1.TokenResponseSpec{ID: "$.connection_id", Subject: "$.group_id"}
}

func blankFields(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true, change: func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.DisplayName, spec.LogoURL = "", ""
		spec.TokenResponse = &v1alpha1.TokenResponseSpec{DefaultLifetime: "Never"}
	}})
	s.hostile().Always(record.Filter{Endpoint: record.Token}, hostile.All(hostile.OmitRefreshToken(), hostile.ExpiresIn(hostile.Missing{})))
	viewer := s.newAccount(t, s.billing, "viewer", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}})
	c := s.connect(s.user("owner"))
	active := s.do(t, call{as: viewer, target: "/oauth_connections/" + id(c)}).want(t, http.StatusOK).object(t)
	must(t, active, map[string]any{
		"status": "active", "label": c.Name, "access_token_expires_at": nil, "refresh_token_expires_at": nil, "deleted_at": nil,
	})
	must(t, object(active["provider"]), map[string]any{"name": "crm", "label": "crm", "logo_url": nil})
	waiting := s.person("waiting")
	s.wait(waiting, phase(v1alpha1.ConnectionAuthorizing))
	var inactive map[string]any
	testenv.Eventually(t, patience, func() error { // The API hears of it by a watch of its own.
		inactive = s.do(t, call{as: viewer, target: "/oauth_connections/" + s.platform + ".waiting"}).want(t, http.StatusOK).object(t)
		if inactive["refresh_authorization_url"] == nil {
			return errors.New("there is no link yet")
		}
		return nil
	})
	must(t, inactive, map[string]any{
		"status": "inactive", "group_id": nil, "access_token_expires_at": nil, "refresh_token_expires_at": nil, "deleted_at": nil, "owner": nil,
		"refresh_authorization_url": s.get(waiting).Status.AuthorizationURL,
	})
	if !strings.HasPrefix(fmt.Sprint(inactive["refresh_authorization_url"]), w.gateway+"/connect/"+s.platform+"/waiting") {
		t.Errorf("refresh_authorization_url is %v", inactive["refresh_authorization_url"])
	}
	orphan := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "orphan"},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "none"}},
	}
	create(t, orphan)
	testenv.Eventually(t, patience, func() error {
		r := s.do(t, call{as: viewer, target: "/oauth_connections/" + id(orphan)})
		if r.status != http.StatusOK {
			return fmt.Errorf("status %d", r.status)
		}
		must(t, r.object(t), map[string]any{"oauth_application_id": nil, "status": "inactive", "refresh_authorization_url": nil})
		return nil
	})
}

// person makes a connection that waits for a person.
func (s *site) person(name string, change ...func(*v1alpha1.OAuthConnection)) *v1alpha1.OAuthConnection {
	s.t.Helper()
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: name},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
	}
	for _, f := range change {
		f(c)
	}
	create(s.t, c)
	return c
}

func connectionByID(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true, change: identified})
	viewer := s.newAccount(t, s.billing, "viewer", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}})
	var all []*v1alpha1.OAuthConnection
	var owners []*account
	// Other tests have connections too: nobody sees them here, and their ids are others.
	for i, name := range []string{"connection_1", "connection_twice", "connection_twice"} {
		s.hostile().Script(record.Filter{Endpoint: record.Token}, hostile.SetField("connection_id", s.platform+"_"+name))
		owners = append(owners, s.user(fmt.Sprintf("owner-%d", i)))
		all = append(all, s.connect(owners[i]))
	}
	if got := all[1].Status.ID; got != s.platform+"_connection_twice" {
		t.Fatalf("the provider's id is %q", got)
	}
	for _, known := range []string{id(all[0]), s.platform + "." + all[0].Name, s.platform + "_connection_1"} {
		found := s.do(t, call{as: viewer, target: "/oauth_connections/" + known}).want(t, http.StatusOK).object(t)
		must(t, found, map[string]any{"id": all[0].UID})
	}
	s.do(t, call{as: viewer, target: "/oauth_connections/" + s.platform + "_connection_twice"}).problem(t, http.StatusConflict, "ConnectionAmbiguous")
	s.do(t, call{as: viewer, target: "/oauth_connections/" + s.platform + "_none"}).problem(t, http.StatusNotFound, "NotFound")
	selected := call{as: viewer, target: s.path("connection"), header: map[string]string{headerConnection: s.platform + "_connection_1"}}
	must(t, s.do(t, selected).want(t, http.StatusOK).object(t), map[string]any{"id": all[0].UID})
	// Its owner is told of no other.
	found := s.do(t, call{as: owners[1], target: "/oauth_connections/" + s.platform + "_connection_twice"}).want(t, http.StatusOK).object(t)
	must(t, found, map[string]any{"id": all[1].UID})
	s.do(t, call{as: owners[1], target: "/oauth_connections/" + s.platform + "_connection_1"}).problem(t, http.StatusNotFound, "NotFound")
}

func filters(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	lister := s.newAccount(t, s.billing, "lister", rule{namespace: s.platform, resource: connections, verbs: []string{"list"}})
	active := s.connect(s.user("owner"))
	inactive := s.person("waiting")
	create(t, &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "other"},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "other"}},
	})
	s.wait(inactive, phase(v1alpha1.ConnectionAuthorizing))
	of := "oauth_application_id=" + id(s.application)
	both := []string{string(active.UID), string(inactive.UID)}
	for query, want := range map[string][]string{
		"/oauth_connections?" + of:                                                  both[:1],
		"/oauth_connections?status.in=active&" + of:                                 both[:1],
		"/oauth_connections?status.in=inactive&" + of:                               both[1:],
		"/oauth_connections?status.in=active,inactive&" + of:                        both,
		"/oauth_connections?status.in=active%2Cinactive&" + of:                      both,
		"/oauth_connections?status.in=inactive&oauth_application_id=" + s.slug():    both[1:],
		"/oauth_connections?oauth_application_id=00000000-none":                     {},
		"/api/v1/oauth/connections?" + of:                                           both,
		"/api/v1/oauth/connections?status.in=active&" + of:                          both[:1],
		"/api/v1/oauth/connections?status.in=inactive&limit=100&" + of:              both[1:],
		"/api/v1/oauth/connections?oauth_application_id=" + s.platform + ".nothing": {},
	} {
		var got []string
		testenv.Eventually(t, patience, func() error { // What was made just now is there in a moment.
			found, next := data(t, s.do(t, call{as: lister, target: query}))
			if got = slices.Sorted(slices.Values(ids(found))); !slices.Equal(got, slices.Sorted(slices.Values(want))) || next != "" {
				return fmt.Errorf("%s: got %v, next %q, want %v", query, got, next, want)
			}
			return nil
		})
	}
	if listed, _ := data(t, s.do(t, call{as: lister, target: "/api/v1/oauth/connections"})); len(listed) != 3 {
		t.Errorf("%d connections without a filter, want 3", len(listed))
	}
	for _, query := range []string{"status.in=deleted", "status.in=active,", "limit=0", "limit=101", "limit=-1", "limit=ten", "cursor=garbage", "limit=1&limit=2"} {
		s.do(t, call{as: lister, target: "/oauth_connections?" + query}).problem(t, http.StatusBadRequest, "InvalidRequest")
	}
}

// walked is the number of connections through which a caller pages.
const walked = 130

func pages(t *testing.T, w *world) {
	namespace := shared.plane.Namespace(t)
	lister := w.newAccount(t, namespace, "lister", rule{namespace: namespace, resource: connections, verbs: []string{"list"}})
	add := func(name string) *v1alpha1.OAuthConnection {
		c := &v1alpha1.OAuthConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "none"}},
		}
		create(t, c)
		return c
	}
	var all []*v1alpha1.OAuthConnection
	for i := range walked {
		all = append(all, add(fmt.Sprintf("c-%d", i)))
	}
	const every = "/oauth_connections?status.in=inactive"
	for replica := range replicas {
		testenv.Eventually(t, patience, func() error {
			first, next := data(t, w.do(t, call{as: lister, target: every, replica: replica}))
			rest, end := data(t, w.do(t, call{as: lister, target: every + "&cursor=" + url.QueryEscape(next), replica: replica}))
			if len(first) != 100 || len(rest) != walked-100 || end != "" {
				return fmt.Errorf("pages of %d and %d", len(first), len(rest))
			}
			return nil
		})
	}
	var seen []string
	after, step := "", 0
	for step == 0 || after != "" {
		page, next := data(t, w.do(t, call{as: lister, target: every + "&limit=17" + after, replica: step % replicas}))
		if len(page) > 17 || (next != "" && len(page) != 17) {
			t.Fatalf("a page of %d", len(page))
		}
		seen = append(seen, ids(page)...)
		// The last one that was seen goes, which the cursor names, and another comes.
		for _, c := range all {
			if string(c.UID) == seen[len(seen)-1] {
				remove(t, c)
			}
		}
		add(fmt.Sprintf("later-%d", step))
		if after = ""; next != "" {
			after = "&cursor=" + url.QueryEscape(next)
		}
		if step++; step > walked {
			t.Fatal("the walk does not end")
		}
	}
	counts := map[string]int{}
	for _, one := range seen {
		counts[one]++
	}
	for _, c := range all {
		if counts[string(c.UID)] != 1 {
			t.Errorf("%s was seen %d times", c.Name, counts[string(c.UID)])
		}
	}
	if len(counts) != len(seen) {
		t.Errorf("%d connections were seen %d times", len(counts), len(seen))
	}
}

func remove(t *testing.T, c *v1alpha1.OAuthConnection) {
	t.Helper()
	if err := shared.plane.Client().Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func ownInLists(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	one, other := s.user("one"), s.user("other")
	mine, theirs := s.connect(one), s.connect(other)
	// Anybody can write a name into a connection of their own namespace: that makes it nobody's.
	planted := s.person("planted", func(c *v1alpha1.OAuthConnection) {
		c.Namespace, c.Spec.Owner = s.billing, one.user
		c.Spec.ApplicationRef.Namespace = s.platform
	})
	s.wait(planted, phase(v1alpha1.ConnectionAuthorizing))
	for _, list := range []string{"/oauth_connections", "/api/v1/oauth/connections"} {
		if listed, _ := data(t, s.do(t, call{as: one, target: list})); !slices.Equal(ids(listed), []string{string(mine.UID)}) {
			t.Errorf("%s shows %v, want %s alone", list, ids(listed), mine.UID)
		}
	}
	s.do(t, call{as: one, target: "/oauth_connections/" + id(mine)}).want(t, http.StatusOK)
	s.do(t, call{as: one, target: "/oauth_connections/" + id(theirs)}).problem(t, http.StatusNotFound, "NotFound")
	s.do(t, call{as: one, target: "/oauth_connections/" + id(planted)}).problem(t, http.StatusNotFound, "NotFound")
	viewer := s.newAccount(t, s.billing, "viewer", rule{namespace: s.billing, resource: connections, verbs: []string{"get", "list"}})
	shown := s.do(t, call{as: viewer, target: "/oauth_connections/" + id(planted)}).want(t, http.StatusOK).object(t)
	must(t, shown, map[string]any{"owner": nil})
}

func applicationObjects(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	lister := s.newAccount(t, s.billing, "lister", rule{namespace: s.platform, resource: applications, verbs: []string{"get", "list"}})
	listed, next := data(t, s.do(t, call{as: lister, target: "/oauth_applications"}))
	if len(listed) != 1 || next != "" {
		t.Fatalf("%d applications, next %q", len(listed), next)
	}
	for _, known := range []string{id(s.application), s.slug()} {
		answer := s.do(t, call{as: lister, target: "/oauth_applications/" + known}).want(t, http.StatusOK)
		if found := answer.object(t); fmt.Sprint(found) != fmt.Sprint(listed[0]) {
			t.Errorf("%v is not what the list shows", found)
		}
		if strings.Contains(string(answer.body), clientSecret) || strings.Contains(string(answer.body), "secret") {
			t.Errorf("something secret: %s", answer.body)
		}
	}
	mustHave(t, listed[0], "client_id", "created_at", "deleted_at", "id", "name", "status", "type")
	must(t, listed[0], map[string]any{
		"client_id": clientID, "deleted_at": nil, "id": s.application.UID, "name": "The CRM", "status": "active", "type": "oauth_application",
		"namespace": s.platform, "slug": s.slug(),
	})
	moment(t, listed[0], "created_at")
	unnamed := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform, Name: "unnamed"},
		Spec:       v1alpha1.OAuthApplicationSpec{Client: v1alpha1.ClientSpec{ID: "unnamed"}, IssuerURL: s.base},
	}
	create(t, unnamed)
	testenv.Eventually(t, patience, func() error {
		page, _ := data(t, s.do(t, call{as: lister, target: "/oauth_applications?limit=1"}))
		rest, _ := data(t, s.do(t, call{as: lister, target: "/oauth_applications"}))
		if len(page) != 1 || len(rest) != 2 {
			return fmt.Errorf("%d of %d applications", len(page), len(rest))
		}
		for _, one := range rest {
			if one["slug"] == s.platform+".unnamed" {
				must(t, one, map[string]any{"name": nil, "client_id": "unnamed"})
			}
		}
		return nil
	})
	s.connect(s.user("owner")) // Until it is revoked, the application is there.
	s.deleteApplication(lister)
	stranger := s.newAccount(t, s.billing, "stranger")
	if seen, _ := data(t, s.do(t, call{as: stranger, target: "/oauth_applications"})); len(seen) != 0 {
		t.Errorf("a stranger sees %d applications", len(seen))
	}
}

// deleteApplication deletes the application while a connection holds it, and looks at it.
func (s *site) deleteApplication(lister *account) {
	s.t.Helper()
	if err := shared.plane.Client().Delete(s.t.Context(), s.application); err != nil {
		s.t.Fatal(err)
	}
	testenv.Eventually(s.t, patience, func() error {
		gone, _ := data(s.t, s.do(s.t, call{as: lister, target: "/oauth_applications?status.in=deleted"}))
		left, _ := data(s.t, s.do(s.t, call{as: lister, target: "/oauth_applications"}))
		if len(gone) != 1 || len(left) != 1 {
			return fmt.Errorf("%d deleted, %d left", len(gone), len(left))
		}
		must(s.t, gone[0], map[string]any{"id": s.application.UID, "status": "deleted"})
		moment(s.t, gone[0], "deleted_at")
		return nil
	})
}

func hal(t *testing.T, w *world) {
	s, other := w.newSite(t, options{}), w.newSite(t, options{})
	owner := s.user("owner", rule{namespace: other.platform, resource: connections, verbs: []string{"create"}})
	first, second := s.connect(owner), other.connect(owner)
	s.connect(s.user("somebody-else"))
	s.connect(owner, map[string]any{"shared": true})
	page := s.do(t, call{as: owner, target: "/api/integration-connections"}).want(t, http.StatusOK).object(t)
	must(t, page, map[string]any{"start": 0, "count": 2, "total": 2})
	if href := fmt.Sprint(object(object(page["_links"])["self"])["href"]); !strings.HasPrefix(href, "/api/integration-connections") {
		t.Errorf("_links.self.href is %s", href)
	}
	list, _ := object(page["_embedded"])["inf:integration-connection"].([]any)
	if len(list) != 2 {
		t.Fatalf("%d connections: %v", len(list), page)
	}
	sites := map[string]*site{string(first.UID): s, string(second.UID): other}
	for _, one := range list {
		shown := object(one)
		of := sites[fmt.Sprint(shown["id"])]
		if of == nil {
			t.Fatalf("%v is not the caller's own, or is there twice", shown["id"])
		}
		delete(sites, fmt.Sprint(shown["id"]))
		mustBeOfIntegration(t, shown)
		must(t, shown, map[string]any{"integrationId": of.application.UID, "ownerId": owner.user, "isShared": false})
		must(t, object(object(shown["_embedded"])["inf:integration"]), map[string]any{"id": of.application.UID, "name": "The CRM", "type": "oauth2"})
		self := fmt.Sprint(object(object(shown["_links"])["self"])["href"])
		must(t, s.do(t, call{as: owner, target: self}).want(t, http.StatusOK).object(t), map[string]any{"id": shown["id"]})
	}
	rest := s.do(t, call{as: owner, target: "/api/integration-connections?start=1&count=1"}).want(t, http.StatusOK).object(t)
	must(t, rest, map[string]any{"start": 1, "count": 1, "total": 2})
	beyond := s.do(t, call{as: owner, target: "/api/integration-connections?start=7"}).want(t, http.StatusOK).object(t)
	must(t, beyond, map[string]any{"count": 0, "total": 2})
	for _, query := range []string{"start=-1", "count=0", "count=101", "start=x"} {
		s.do(t, call{as: owner, target: "/api/integration-connections?" + query}).problem(t, http.StatusBadRequest, "InvalidRequest")
	}
	nobody := s.newAccount(t, s.billing, "nobody")
	must(t, s.do(t, call{as: nobody, target: "/api/integration-connections"}).want(t, http.StatusOK).object(t), map[string]any{"count": 0, "total": 0})
}

// mustBeOfIntegration wants every field that connections of integrations have.
func mustBeOfIntegration(t *testing.T, shown map[string]any) {
	t.Helper()
	mustHave(t, shown, "id", "integrationId", "ownerId", "isShared", "tokenExpiresAt", "refreshTokenExpiresAt", "lastAuthorizedAt",
		"apiBaseUri", "data", "createdAt", "updatedAt")
	if object(shown["data"]) == nil {
		t.Errorf("data is %v, want an object", shown["data"])
	}
}
