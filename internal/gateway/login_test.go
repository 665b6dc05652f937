// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// One person at three replicas: each step at another one.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	first, second, third := w.gateway(), w.gateway(), w.gateway()
	person := w.browser(first)
	w.hideQuery(w.connection.Status.AuthorizationURL)

	consent := person.get(w.connection.Status.AuthorizationURL)
	for _, text := range []string{"Customer Relations", "crm", w.namespace, "ada@example.test", "Sales' CRM", "contacts.read", "offline_access"} {
		consent.contains(text)
	}
	authorization := person.via(second).submit(consent.form()).redirects(w.provider.URL + "/authorize?").location
	query := authorization.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "client-1", "scope": "contacts.read offline_access",
		"redirect_uri": external + "/oauth2/callback", "code_challenge_method": "S256",
	} {
		if got := query.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(query.Get("state")) > 330 {
		t.Errorf("the state has %d characters", len(query.Get("state")))
	}
	answer := code()
	result := person.via(third).back(authorization, answer).redirects(external + "/oauth2/result/").location

	message := w.message("")
	response := message.Response
	if response.Code.Reveal() != answer.Get("code") || oauth.ChallengeS256(response.Verifier) != query.Get("code_challenge") {
		t.Error("the message's code or verifier is not that of the login")
	}
	if message.Connection != keyOf(w.connection) || message.ApplicationUID != w.application.UID ||
		response.Generation != w.connection.Generation || response.RedirectURL != external+"/oauth2/callback" {
		t.Errorf("message %+v, response %+v", message, response)
	}
	shown := person.via(first).async(result.String())
	w.outcome(response.Login, v1alpha1.AuthorizationSucceeded, "", "")
	(<-shown).shows(pages.Success).contains("ada")
	if log := w.log.String(); strings.Count(log, response.Login) < 3 {
		t.Errorf("the steps of the login are not logged: %s", log)
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	first, second := w.gateway(), w.gateway()
	person := w.browser(first)
	authorization, answer := person.depart(), code()
	person.back(authorization, answer).redirects(external + "/oauth2/result/")
	for _, replica := range []*running{first, second, second} {
		person.via(replica).back(authorization, answer).shows(pages.Replayed)
	}
	person.back(authorization, url.Values{"error": {"access_denied"}}).shows(pages.Replayed)
	w.message("")
	w.message(v1alpha1.ReasonResponseReplayed)
	if reasons := w.reasons(); len(reasons) != 2 {
		t.Errorf("messages %q", reasons)
	}
}
