// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

func whoRows() []row {
	return []row{
		{"401 without a token that Kubernetes knows for this audience", unauthenticated},
		{"403 and 404 tell nobody what exists", refusalsTellNothing},
		{"paths and methods that are not served", unserved},
	}
}

// served are calls that take somebody to say who they are.
func served(id string) []call {
	below := "/api/integrations/" + id
	return []call{
		{target: "/oauth_connections"},
		{target: "/oauth_connections/" + id},
		{target: "/oauth_applications"},
		{target: "/oauth_applications/" + id},
		{target: "/api/v1/oauth/connections"},
		{target: "/api/integration-connections"},
		{target: below + "/connect"},
		{method: http.MethodPost, target: below + "/connect", body: map[string]any{"code": "of-nobody"}},
		{target: below + "/connection"},
		{method: http.MethodDelete, target: below + "/connection"},
		{method: http.MethodPost, target: below + "/request", body: map[string]any{"url": "/invoices"}},
		{target: below + "/request/invoices"},
		{method: http.MethodPut, target: below + "/request/invoices", body: map[string]any{}},
	}
}

func (c call) String() string {
	if c.method == "" {
		c.method = http.MethodGet
	}
	return c.method + " " + c.target
}

func unauthenticated(t *testing.T, w *world) {
	namespace := shared.plane.Namespace(t)
	known := w.newAccount(t, namespace, "known", rule{resource: connections, verbs: []string{"get", "list"}})
	otherAudience := *known
	otherAudience.token = w.tokenFor(t, known, "vault.example.com")
	forKubernetes := *known
	forKubernetes.token = w.tokenFor(t, known)
	changed := *known
	changed.token = known.token[:len(known.token)-8] + "AAAAAAAA"
	w.do(t, call{as: known, target: "/oauth_connections"}).want(t, http.StatusOK)
	for reason, as := range map[string]*account{
		"no token": nil, "garbage": {token: "garbage"}, "a token with a changed signature": &changed,
		"a token for another audience": &otherAudience, "a token for the API server": &forKubernetes,
	} {
		for _, c := range served(namespace + ".crm") {
			c.as = as
			answer := w.do(t, c)
			answer.problem(t, http.StatusUnauthorized, "Unauthenticated")
			if challenge := answer.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("%s, %s: WWW-Authenticate is %q", reason, c, challenge)
			}
		}
	}
	for _, scheme := range []string{"Basic", "", "Token"} {
		c := call{target: "/oauth_connections", header: map[string]string{"Authorization": strings.TrimSpace(scheme + " " + known.token)}}
		w.do(t, c).problem(t, http.StatusUnauthorized, "Unauthenticated")
	}
}

func deletedAccount(t *testing.T, w *world) {
	namespace := shared.plane.Namespace(t)
	gone := w.newAccount(t, namespace, "gone", rule{resource: connections, verbs: []string{"list"}})
	w.do(t, call{as: gone, target: "/oauth_connections"}).want(t, http.StatusOK)
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "gone"}}
	if err := shared.plane.Client().Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	// What was known of the token is believed for some seconds more, at the replica that has asked.
	testenv.Eventually(t, patience, func() error {
		answer := w.do(t, call{as: gone, target: "/oauth_connections"})
		if answer.status != http.StatusUnauthorized {
			return fmt.Errorf("status %d for an account that is gone", answer.status)
		}
		return nil
	})
	w.do(t, call{as: gone, target: "/oauth_connections", replica: 1}).problem(t, http.StatusUnauthorized, "Unauthenticated")
}

// refusalsTellNothing asks for what exists and for what does not, as somebody who may see neither.
func refusalsTellNothing(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner, stranger := s.user("owner"), s.newAccount(t, s.billing, "stranger")
	c := s.connect(owner)
	s.connect(owner, map[string]any{"shared": true})
	for _, pair := range []struct {
		exists, missing string
		status          int
		code            string
	}{
		{string(c.UID), string(uuid.NewUUID()), http.StatusNotFound, "NotFound"},
		{s.platform + "." + c.Name, s.platform + ".none", http.StatusForbidden, "Forbidden"},
		{s.platform + "." + c.Name, "no-such-namespace.none", http.StatusForbidden, "Forbidden"},
	} {
		exists, missing := call{as: stranger, target: "/oauth_connections/" + pair.exists}, call{as: stranger, target: "/oauth_connections/" + pair.missing}
		alike(t, w, exists, missing, pair.status, pair.code)
	}
	for _, pair := range []struct {
		exists, missing string
		status          int
		code            string
	}{
		{id(s.application), string(uuid.NewUUID()), http.StatusNotFound, "NotFound"},
		{s.slug(), s.platform + ".none", http.StatusForbidden, "Forbidden"},
		{s.slug(), "no-such-namespace.none", http.StatusForbidden, "Forbidden"},
	} {
		there, away := served(pair.exists), served(pair.missing)
		for i := range there {
			if !strings.Contains(there[i].target, pair.exists) || strings.HasPrefix(there[i].target, "/oauth_connections/") {
				continue
			}
			there[i].as, away[i].as = stranger, stranger
			alike(t, w, there[i], away[i], pair.status, pair.code)
		}
		// A connection that is named is found no more than one that is not.
		for _, name := range []string{string(c.UID), s.platform + "." + c.Name} {
			named := call{as: stranger, target: "/api/integrations/" + pair.exists + "/connection", header: map[string]string{headerConnection: name}}
			if code := w.do(t, named).status; code != http.StatusNotFound && code != http.StatusForbidden {
				t.Errorf("status %d for a connection of somebody else's", code)
			}
		}
	}
	if s.get(c).DeletionTimestamp != nil {
		t.Error("a stranger has deleted a connection")
	}
}

// alike wants two calls to be refused in the same words.
func alike(t *testing.T, w *world, exists, missing call, status int, code string) {
	t.Helper()
	one, other := w.do(t, exists), w.do(t, missing)
	if one.status != status || one.header.Get(headerError) != code {
		t.Errorf("%s: status %d, code %s, want %d, %s: %s", exists, one.status, one.header.Get(headerError), status, code, one.body)
	}
	if one.status != other.status || !bytes.Equal(one.body, other.body) || !slices.Equal(names(one), names(other)) {
		t.Errorf("%s answers otherwise than %s:\n%d %s\n%d %s", exists, missing, one.status, one.body, other.status, other.body)
	}
}

// names are those of an answer's headers.
func names(r *reply) []string {
	var all []string
	for name := range r.header {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func unserved(t *testing.T, w *world) {
	known := w.newAccount(t, shared.plane.Namespace(t), "known")
	for _, c := range []call{
		{method: http.MethodPost, target: "/oauth_connections"},
		{method: http.MethodDelete, target: "/oauth_connections/x"},
		{method: http.MethodPut, target: "/api/integrations/a.b/connect"},
		{method: http.MethodPost, target: "/api/integrations/a.b/connection"},
		{method: http.MethodGet, target: "/api/integrations/a.b/request"},
		{method: "PROPFIND", target: "/api/integrations/a.b/request/x"},
	} {
		c.as = known
		answer := w.do(t, c)
		answer.problem(t, http.StatusMethodNotAllowed, "MethodNotAllowed")
		if answer.header.Get("Allow") == "" {
			t.Errorf("%s: nothing is said about what is allowed", c)
		}
	}
	for _, target := range []string{"/", "/api", "/api/integrations", "/oauth_connections/a/b", "/metrics", "/healthz", "/api/integrations//connect"} {
		response, err := w.send(t.Context(), call{as: known, target: target})
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if code := response.Header.Get(headerError); response.StatusCode != http.StatusNotFound || code != "NotFound" {
			t.Errorf("GET %s: status %d, code %q", target, response.StatusCode, code)
		}
	}
	if err := errors.Join(w.document.check(http.MethodGet, "/none", &reply{status: http.StatusOK, header: http.Header{}})); err == nil {
		t.Error("an answer at a path that nobody knows was let pass")
	}
}
