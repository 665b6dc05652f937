// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func connectionRows() []row {
	return []row{
		{"GET connection: the own one, else the shared one", ownBeforeShared},
		{"GET connection: several shared ones", severalShared},
		{"DELETE connection: revoked and gone", deleteRevokes},
		{"DELETE connection: the owner or a superuser", deleteOfOthers},
	}
}

func ownBeforeShared(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user", rule{namespace: s.platform, resource: connections, verbs: []string{"get", "list"}})
	blind := s.user("blind")
	s.do(t, call{as: user, target: s.path("connection")}).problem(t, http.StatusNotFound, "NotFound")
	shared := s.connect(user, map[string]any{"shared": true})
	shown := func(as *account, header map[string]string) map[string]any {
		t.Helper()
		answer := s.do(t, call{as: as, target: s.path("connection"), header: header}).want(t, http.StatusOK).object(t)
		mustBeOfIntegration(t, answer)
		return answer
	}
	must(t, shown(user, nil), map[string]any{"id": shared.UID, "isShared": true, "ownerId": nil})
	own := s.connect(user)
	must(t, shown(user, nil), map[string]any{"id": own.UID, "isShared": false, "ownerId": user.user})
	must(t, shown(user, map[string]string{headerConnection: string(shared.UID)}), map[string]any{"id": shared.UID})
	must(t, shown(user, map[string]string{headerConnection: s.platform + "." + shared.Name}), map[string]any{"id": shared.UID})
	must(t, shown(s.user("third", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}}), nil), map[string]any{"id": shared.UID})
	s.do(t, call{as: blind, target: s.path("connection")}).problem(t, http.StatusNotFound, "NotFound") // It may make one, and see none.
	// Nobody acts as all because their own grant has ended.
	if err := s.authorization.RevokeGrant(s.token(own)); err != nil {
		t.Fatal(err)
	}
	s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusUnauthorized)
	s.wait(own, phase(v1alpha1.ConnectionInactive))
	must(t, shown(user, nil), map[string]any{"id": own.UID})
}

func severalShared(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	viewer := s.newAccount(t, s.billing, "viewer", rule{namespace: s.platform, resource: connections, verbs: []string{"get"}})
	for _, name := range []string{"first", "second"} {
		s.wait(s.person(name), phase(v1alpha1.ConnectionAuthorizing))
	}
	ambiguous := s.do(t, call{as: viewer, target: s.path("connection")}).problem(t, http.StatusConflict, "ConnectionAmbiguous")
	if want := s.platform + ".first"; !containsAll(ambiguous.Detail, want, s.platform+".second", headerConnection) {
		t.Errorf("the detail does not name them: %s", ambiguous.Detail)
	}
	credentials := s.person("third", func(c *v1alpha1.OAuthConnection) {
		c.Spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantClientCredentials}
	})
	s.wait(credentials, works)
	s.eventually(call{as: viewer, target: s.path("connection")}, map[string]any{"id": credentials.UID}) // The one that works.
}

func deleteRevokes(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	owner := s.user("owner")
	for _, by := range []string{s.slug(), id(s.application)} {
		c := s.connect(owner)
		token := s.token(c)
		if !s.hasRecord(c) || !s.authorization.Introspect(token) {
			t.Fatal("there is no grant to begin with")
		}
		answer := s.do(t, call{as: owner, method: http.MethodDelete, target: "/api/integrations/" + by + "/connection"})
		if answer.want(t, http.StatusNoContent); len(answer.body) > 0 {
			t.Errorf("204 with a body: %s", answer.body)
		}
		if s.authorization.Introspect(token) {
			t.Error("204 came before the token was revoked")
		}
		if s.hasRecord(c) {
			t.Error("204 came before the grant record was gone")
		}
		s.waitGone(c)
		s.do(t, call{as: owner, method: http.MethodDelete, target: "/api/integrations/" + s.slug() + "/connection"}).want(t, http.StatusNotFound)
	}
	s.connect(owner) // Another one can be made.
}

func deleteOfOthers(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	see := rule{namespace: s.platform, resource: connections, verbs: []string{"get", "list"}}
	owner, editor := s.user("owner"), s.user("editor", see, rule{namespace: s.platform, resource: connections, verbs: []string{"delete"}})
	superuser := s.newAccount(t, s.billing, "superuser", see, rule{resource: connections, verbs: []string{"delete"}})
	own, shared := s.connect(owner), s.connect(owner, map[string]any{"shared": true})
	of := func(as *account, c *v1alpha1.OAuthConnection) call {
		return call{as: as, method: http.MethodDelete, target: s.path("connection"), header: map[string]string{headerConnection: string(c.UID)}}
	}
	for _, refused := range []call{of(editor, own), of(editor, shared), {as: editor, method: http.MethodDelete, target: s.path("connection")}} {
		s.do(t, refused).problem(t, http.StatusForbidden, "Forbidden")
	}
	// Who shares in a connection, or has made it, does not own it.
	s.do(t, of(owner, shared)).problem(t, http.StatusNotFound, "NotFound")
	for _, c := range []*v1alpha1.OAuthConnection{own, shared} {
		if s.get(c).DeletionTimestamp != nil || !s.authorization.Introspect(s.token(c)) {
			t.Errorf("%s was deleted by somebody who may not", c.Name)
		}
		token := s.token(c)
		last := of(superuser, c)
		if c == shared { // It is the one that is meant where none is named.
			last.header = nil
		}
		s.do(t, last).want(t, http.StatusNoContent)
		if s.authorization.Introspect(token) {
			t.Error("the token lives on")
		}
		s.waitGone(c)
	}
}

func deleteSlowly(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	owner := s.user("owner")
	c := s.connect(owner)
	token := s.token(c)
	healed := s.hostile().Always(record.Filter{Endpoint: record.Revoke}, hostile.Hang())
	answer := s.do(t, call{as: owner, method: http.MethodDelete, target: s.path("connection")}).want(t, http.StatusAccepted)
	must(t, answer.object(t), map[string]any{"id": c.UID})
	if location := answer.header.Get("Location"); location != s.path("connection") {
		t.Errorf("Location is %q", location)
	}
	if s.get(c).DeletionTimestamp == nil || !s.hasRecord(c) || !s.authorization.Introspect(token) {
		t.Error("the connection is not kept until its token is revoked")
	}
	listed, _ := data(t, s.do(t, call{as: owner, target: "/api/v1/oauth/connections"}))
	if len(listed) != 1 {
		t.Fatalf("%d connections", len(listed))
	}
	must(t, listed[0], map[string]any{"id": c.UID, "status": "inactive"})
	moment(t, listed[0], "deleted_at")
	refused := s.do(t, call{as: owner, target: s.path("request/x")}).problem(t, http.StatusConflict, "ConnectionNotReady")
	if refused.Reason != v1alpha1.ReasonDeleting {
		t.Errorf("reason %s", refused.Reason)
	}
	healed()
	s.hostile().Release()
	s.waitGone(c)
	if s.authorization.Introspect(token) {
		t.Error("the token lives on")
	}
	testenv.Eventually(t, patience, func() error { // The API hears of it by a watch of its own.
		if status := s.do(t, call{as: owner, target: s.path("connection")}).status; status != http.StatusNotFound {
			return fmt.Errorf("status %d for what is gone", status)
		}
		return nil
	})
}
