// SPDX-License-Identifier: Apache-2.0

package access_test

import (
	"context"
	"slices"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const fine = "fine"

// attempt is something that a caller tries; it returns the name of what they get.
type attempt func(ctx context.Context, a *access.Access, c caller.Caller) (namespace, name string, err error)

func byConnection(id string) attempt {
	return func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		return connectionName(a.Connection(ctx, c, id))
	}
}

func byApplication(id string) attempt {
	return func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		found, err := a.Application(ctx, c, id)
		if err != nil {
			return "", "", err
		}
		return found.Namespace, found.Name, nil
	}
}

func byIntegration(id, selector string) attempt {
	return func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		i, err := a.Integration(ctx, c, id)
		if err != nil {
			return "", "", err
		}
		return connectionName(a.ConnectionOf(ctx, c, i, selector))
	}
}

func byRequest(id, selector, method string) attempt {
	return func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		i, err := a.Integration(ctx, c, id)
		if err != nil {
			return "", "", err
		}
		return connectionName(a.ConnectionFor(ctx, c, i, selector, method))
	}
}

func byCreation(id string) attempt {
	return func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		i, err := a.Integration(ctx, c, id)
		if err != nil {
			return "", "", err
		}
		return "created", "", a.MayCreate(ctx, c, i, "new")
	}
}

func connectionName(found *v1alpha1.OAuthConnection, err error) (string, string, error) {
	if err != nil {
		return "", "", err
	}
	return found.Namespace, found.Name, nil
}

// populated has an application with a shared connection and one of joe, and another namespace that uses it.
func populated(rules ...string) *world {
	return &world{
		applications: []*v1alpha1.OAuthApplication{app("apps.crm")},
		connections: []*v1alpha1.OAuthConnection{
			conn("apps.shared", "apps.crm", called("acct_1")),
			conn("apps.joes", "apps.crm", of("joe"), called("acct_2")),
			conn("team.link", "apps.crm", called("acct_3")),
		},
		rules: rules,
	}
}

// TestNothingTellsWhatExists holds every way to name something, by somebody without and with each right, against a world where
// it exists and one where nothing does.
func TestNothingTellsWhatExists(t *testing.T) {
	t.Parallel()
	const (
		there, none, away = fine, "NotFound", "Forbidden"
		getAll            = "get oauthconnections */*"
		getNamespace      = "get oauthconnections apps/*"
		listNamespace     = "list oauthconnections apps/*"
		listAll           = "list oauthconnections */*"
		send              = "create oauthconnections/proxy apps/shared"
		grow              = "create oauthconnections apps/new"
	)
	type want struct {
		rules []string
		// exists and absent are fine or the code of the problem, in the two worlds.
		exists, absent string
	}
	rules := func(rules ...string) []string { return rules }
	for name, test := range map[string]struct {
		try  attempt
		want []want
		// uneven : a different number of questions is asked in the two worlds.
		uneven bool
	}{
		"connection by UID": {byConnection("uid-apps-shared"), []want{
			{nil, none, none},
			{rules(listNamespace), none, none},
			{rules(listAll), none, none},
			{rules("get oauthconnections apps/other", "get oauthconnections team/*"), none, none},
			{rules("get oauthapplications */*", "get oauthconnections/proxy */*"), none, none},
			{rules("get oauthconnections apps/shared"), there, none},
			{rules(getNamespace), there, none},
			{rules(getAll), there, none},
		}, false},
		"connection by provider's id": {byConnection("acct_1"), []want{
			{nil, none, none}, {rules(listAll), none, none}, {rules("get oauthconnections apps/shared"), there, none}, {rules(getAll), there, none},
		}, false},
		"connection by name": {byConnection("apps.shared"), []want{
			{nil, away, away},
			{rules("get oauthconnections apps/other", "get oauthconnections team/*", "list oauthconnections team/*"), away, away},
			{rules("get oauthapplications */*", "list oauthapplications */*", "get oauthconnections/proxy */*"), away, away},
			{rules(listNamespace), away, none}, // Their lists show whether it exists.
			{rules("get oauthconnections apps/shared"), there, none},
			{rules(getNamespace), there, none},
			{rules(getAll), there, none},
		}, false},
		"somebody's connection by name": {byConnection("apps.joes"), []want{
			{nil, away, away}, {rules("get oauthconnections apps/joes"), there, none},
		}, false},
		"no name at all": {byConnection("apps.UPPER"), []want{{nil, none, none}, {rules(getAll), none, none}}, false},
		"an empty name":  {byConnection(""), []want{{nil, none, none}, {rules(getAll), none, none}}, false},
		"application by UID": {byApplication("uid-apps-crm"), []want{
			{nil, none, none}, {rules(getAll, "list oauthapplications */*"), none, none}, {rules("get oauthapplications apps/crm"), there, none},
		}, true},
		"application by name": {byApplication("apps.crm"), []want{
			{nil, away, away},
			{rules(getAll, listAll), away, away},
			{rules("list oauthapplications apps/*"), away, none},
			{rules("get oauthapplications apps/crm"), there, none},
		}, false},
		"integration by UID": {byIntegration("uid-apps-crm", ""), []want{
			{nil, none, none}, {rules(listAll, "get oauthapplications */*"), none, none}, {rules("get oauthconnections apps/shared"), there, none},
		}, true},
		"integration by name": {byIntegration("apps.crm", ""), []want{
			{nil, away, away},
			{rules("get oauthapplications */*", "list oauthapplications */*"), away, away},
			{rules("get oauthconnections apps/joes"), away, away},
			{rules(listNamespace), none, none},
			{rules(listNamespace, "get oauthconnections apps/shared"), there, none},
		}, false},
		"integration by name, connection by UID": {byIntegration("apps.crm", "uid-team-link"), []want{
			{nil, none, none}, {rules("get oauthconnections apps/*"), none, none}, {rules("get oauthconnections team/link"), there, none},
		}, false},
		"integration by name, connection by name": {byIntegration("apps.crm", "team.link"), []want{
			{nil, away, away}, {rules("list oauthconnections team/*"), away, none}, {rules("get oauthconnections team/link"), there, none},
		}, false},
		"integration by name, connection by provider's id": {byIntegration("apps.crm", "acct_3"), []want{
			{nil, none, none}, {rules("get oauthconnections team/link"), there, none},
		}, false},
		"integration by UID, connection by name": {byIntegration("uid-apps-crm", "team.link"), []want{
			{nil, none, none}, {rules("list oauthconnections team/*"), none, none}, {rules("get oauthconnections team/link"), there, none},
		}, true},
		"another integration, connection by name": {byIntegration("apps.erp", "team.link"), []want{
			{nil, away, away}, {rules(getAll), none, none}, {rules("list oauthconnections team/*"), none, none},
		}, false},
		"another integration, connection by UID": {byIntegration("apps.erp", "uid-team-link"), []want{{nil, none, none}, {rules(getAll), none, none}}, false},
		"request by name": {byRequest("apps.crm", "", "POST"), []want{
			{nil, away, away},
			{rules("get oauthconnections/proxy apps/*", "create oauthconnections/proxy apps/joes"), away, away},
			{rules(getNamespace, listNamespace), away, none},
			{rules(send), there, away},
			{rules(send, getNamespace), there, away},
			{rules(send, listNamespace), there, none},
		}, true},
		"request by UID": {byRequest("uid-apps-crm", "", "POST"), []want{
			{nil, none, none}, {rules(getNamespace), away, none}, {rules(send), there, none},
		}, true},
		"request, connection by name": {byRequest("apps.crm", "apps.shared", "POST"), []want{
			{nil, away, away}, {rules(listNamespace), away, none}, {rules(getNamespace), away, none}, {rules(send), there, none},
		}, true},
		"creation by name": {byCreation("apps.crm"), []want{
			{nil, away, away},
			{rules("create oauthconnections apps/old", "create oauthconnections team/*"), away, away},
			{rules(grow), there, none},
			{rules("create oauthconnections apps/*"), there, none},
		}, false},
		"creation by UID": {byCreation("uid-apps-crm"), []want{
			{nil, none, none}, {rules("get oauthapplications apps/crm"), away, none}, {rules(grow), there, none},
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, want := range test.want {
				full, empty := populated(want.rules...), &world{rules: want.rules}
				existsNamespace, existsName, existsErr := test.try(t.Context(), full.access(t), jane())
				absentNamespace, absentName, absentErr := test.try(t.Context(), empty.access(t), jane())
				for _, got := range []struct {
					err  error
					want string
				}{{existsErr, want.exists}, {absentErr, want.absent}} {
					if verdict := problemOf(got.err); verdict != got.want {
						t.Errorf("with %q: %s, want %s", want.rules, verdict, got.want)
					}
				}
				if want.exists != want.absent {
					continue
				}
				exists, absent := outcome(existsNamespace, existsName, existsErr), outcome(absentNamespace, absentName, absentErr)
				if exists != absent {
					t.Errorf("with %q the answers differ:\n%s\n\n%s", want.rules, exists, absent)
				}
				if !test.uneven && len(full.asked) != len(empty.asked) {
					t.Errorf("with %q the questions differ: %q, %q", want.rules, full.asked, empty.asked)
				}
			}
		})
	}
}

func problemOf(err error) string {
	if err == nil {
		return fine
	}
	return string(problem.Of(err).Code)
}

// TestRefusalsNameNothing: what is refused is refused in the same words whatever it is called.
func TestRefusalsNameNothing(t *testing.T) {
	t.Parallel()
	w := populated()
	a := w.access(t)
	answers := map[string][]string{}
	for _, try := range []attempt{
		byConnection("uid-apps-shared"), byConnection("uid-unknown"), byConnection("acct_1"), byConnection("acct_2"), byConnection("acct_9"),
		byApplication("uid-apps-crm"), byApplication("uid-unknown"), byIntegration("uid-apps-crm", ""), byIntegration("uid-unknown", ""),
		byIntegration("uid-apps-crm", "team.link"), byIntegration("uid-apps-crm", "acct_1"), byCreation("uid-apps-crm"), byCreation("uid-unknown"),
		byRequest("uid-apps-crm", "", "GET"), byRequest("uid-unknown", "", "GET"),
		byConnection("apps.shared"), byConnection("apps.joes"), byConnection("apps.none"), byConnection("nowhere.none"),
		byApplication("apps.crm"), byApplication("apps.none"), byIntegration("apps.crm", ""), byIntegration("apps.none", ""),
		byIntegration("nowhere.none", ""), byIntegration("apps.crm", "apps.joes"), byRequest("apps.crm", "", "GET"), byRequest("apps.none", "", "GET"),
	} {
		namespace, name, err := try(t.Context(), a, jane())
		code := problemOf(err)
		answers[code] = append(answers[code], outcome(namespace, name, err))
	}
	if len(answers) != 2 || len(answers["NotFound"]) != 15 || len(answers["Forbidden"]) != 12 {
		t.Fatalf("got %d NotFound and %d Forbidden of %d kinds", len(answers["NotFound"]), len(answers["Forbidden"]), len(answers))
	}
	for code, texts := range answers {
		slices.Sort(texts)
		if different := slices.Compact(texts); len(different) != 1 {
			t.Errorf("%s is said in different words: %q", code, different)
		}
	}
}

// TestOutage leaves out the answer to each question in turn: that is never a refusal.
func TestOutage(t *testing.T) {
	t.Parallel()
	remove := func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		return "", "", a.MayDelete(ctx, c, conn("apps.shared", "apps.crm"))
	}
	list := func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		_, err := a.Visible(ctx, c)
		return "", "", err
	}
	listApplications := func(ctx context.Context, a *access.Access, c caller.Caller) (string, string, error) {
		_, err := a.VisibleApplications(ctx, c)
		return "", "", err
	}
	for name, try := range map[string]attempt{
		"connection by UID": byConnection("uid-apps-shared"), "by name": byConnection("apps.shared"), "by provider's id": byConnection("acct_1"),
		"unknown": byConnection("x"), "application by UID": byApplication("uid-apps-crm"), "application by name": byApplication("apps.crm"),
		"integration": byIntegration("apps.crm", ""), "selector": byIntegration("uid-apps-crm", "team.link"),
		"request": byRequest("apps.crm", "", "PUT"), "creation": byCreation("uid-apps-crm"), "creation by name": byCreation("apps.crm"),
		"delete": remove, "list": list, "list of applications": listApplications,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calm := populated()
			_, _, _ = try(t.Context(), calm.access(t), jane())
			if len(calm.asked) == 0 {
				t.Fatal("nothing is asked")
			}
			for at := range calm.asked {
				w := populated()
				w.failAt = at + 1
				if _, _, err := try(t.Context(), w.access(t), jane()); problemOf(err) != string(problem.ClusterUnavailable) {
					t.Errorf("without an answer to %q: %v", calm.asked[at], err)
				}
			}
		})
	}
}
