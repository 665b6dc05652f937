// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/e2e/report"
)

// The API as the overlay installs it.
const (
	apiName      = "oauth-operator-api"
	apiTLSSecret = "oauth-operator-api-tls"
	apiAudience  = "oauth-operator.io"
	apis         = 2
	// selectsConnection is the header that names one.
	selectsConnection = "Oauth-Operator-Connection"
)

// What the program asks for: the application's integration, and below it the provider's API.
const (
	integration  = "/api/integrations/" + platformNamespace + "." + crm
	providerHost = providerName + "." + providerNamespace + ".svc:8082"
	// accounts has what no log may have: a path and a query.
	accounts     = "/unlogged-path?limit=unlogged-value"
	proxied      = integration + "/request" + accounts
	unloggedWord = "unlogged"
)

// apiHosts are the names that callers know the API by.
func apiHosts() []string {
	host := apiName + "." + testenv.OperatorNamespace
	return []string{host, host + ".svc", host + ".svc.cluster.local"}
}

// programCallsAPI is what the samples' program may do, and what others may not.
func (s *suite) programCallsAPI(t *testing.T) {
	s.startProgram(t)
	s.asProgram(t, func(p *program) {
		start := time.Now()
		listsConnections(t, p)
		s.connectsByCode(t, p)
		t.Logf("a connection listed and another made: %s", time.Since(start).Round(time.Millisecond))
		callsProvider(t, p)
		s.strangersAreRefused(t, p)
	})
	s.requestsAreAudited(t)
}

// listsConnections wants those of the program's namespace that work, and no other.
func listsConnections(t *testing.T, p *program) {
	t.Helper()
	var listed []string
	for _, c := range connectionsOf(t, p.ask(t, get("/oauth_connections"), http.StatusOK)) {
		listed = append(listed, c.Namespace+"/"+c.Name)
	}
	slices.Sort(listed)
	if want := []string{teamNamespace + "/" + crm, teamNamespace + "/" + batch}; !slices.Equal(listed, want) {
		t.Errorf("the program sees %v, want %v", listed, want)
	}
}

type listedConnection struct {
	ID        string `json:"id"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func connectionsOf(t *testing.T, a *answer) []listedConnection {
	t.Helper()
	var list struct {
		Data []listedConnection `json:"data"`
	}
	a.decode(t, &list)
	if list.Data == nil {
		t.Fatalf("there is no list in %s", a.body)
	}
	return list.Data
}

// connectsByCode gives the program a connection of its own, in the application's namespace.
func (s *suite) connectsByCode(t *testing.T, p *program) {
	t.Helper()
	made := p.ask(t, question{method: http.MethodPost, path: integration + "/connect", body: s.offer(t)}, http.StatusCreated)
	var shown struct {
		ID      string `json:"id"`
		OwnerID string `json:"ownerId"`
	}
	made.decode(t, &shown)
	if c := s.ownConnection(t); string(c.UID) != shown.ID || shown.OwnerID != ledgerUser {
		t.Errorf("the API has made %s, and says %s", c.UID, made.body)
	} else if err := ready(c); err != nil {
		t.Errorf("201 says that it works: %v", err)
	}
}

// ownConnection is the one that the program has made.
func (s *suite) ownConnection(t *testing.T) *v1alpha1.OAuthConnection {
	t.Helper()
	list := &v1alpha1.OAuthConnectionList{}
	if err := s.client.List(t.Context(), list, client.InNamespace(platformNamespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Spec.Owner != ledgerUser {
		t.Fatalf("%s has %d connections, want one of %s", platformNamespace, len(list.Items), ledgerUser)
	}
	return &list.Items[0]
}

// callsProvider sends requests through the program's own connection and through the one of its namespace.
func callsProvider(t *testing.T, p *program) {
	t.Helper()
	through := func(connection string, q question) question {
		q.header = map[string]string{selectsConnection: connection}
		return q
	}
	post := question{method: http.MethodPost, path: proxied, body: "invoice"}
	for _, row := range []struct {
		question question
		want     report.Request
	}{
		{get(proxied), report.Request{Method: http.MethodGet, URI: "/v1" + accounts}},
		{post, report.Request{Method: http.MethodPost, URI: "/v1" + accounts, Body: `"invoice"`}},
		{through(teamNamespace+"."+crm, get(proxied)), report.Request{Method: http.MethodGet, URI: "/v1" + accounts}},
	} {
		var seen report.Request
		if p.ask(t, row.question, http.StatusOK).decode(t, &seen); seen != row.want {
			t.Errorf("the provider was asked for %+v, want %+v", seen, row.want)
		}
	}
	// The role has neither this verb nor this connection.
	p.refused(t, question{method: http.MethodDelete, path: proxied}, http.StatusForbidden, "Forbidden")
	p.refused(t, through(teamNamespace+"."+batch, get(proxied)), http.StatusForbidden, "Forbidden")
}

// strangersAreRefused asks with the token of a ServiceAccount that has no role, and with one that was made for somebody else.
func (s *suite) strangersAreRefused(t *testing.T, p *program) {
	t.Helper()
	stranger := s.lend(t, monitoringNamespace, "stranger", apiAudience)
	if listed := connectionsOf(t, p.ask(t, get("/oauth_connections").as(stranger), http.StatusOK)); len(listed) != 0 {
		t.Errorf("without a role, %v are listed", listed)
	}
	connect := question{method: http.MethodPost, path: integration + "/connect", body: s.offer(t)}
	for _, q := range []question{get(integration + "/connection"), get(proxied), connect} {
		p.refused(t, q.as(stranger), http.StatusForbidden, "Forbidden")
	}
	c := s.ownConnection(t)
	p.refused(t, get("/oauth_connections/"+string(c.UID)).as(stranger), http.StatusNotFound, "NotFound")
	p.refused(t, get("/oauth_connections").as(s.lend(t, teamNamespace, ledger)), http.StatusUnauthorized, "Unauthenticated")
}

// requestsAreAudited finds who did what in the logs, and nothing that was not to be there.
func (s *suite) requestsAreAudited(t *testing.T) {
	t.Helper()
	stranger := "system:serviceaccount:" + monitoringNamespace + ":stranger"
	wanted := []map[string]any{
		{"msg": "change", "user": ledgerUser, "action": "Authorize", "application": platformNamespace + "/" + crm, "outcome": "Done"},
		{"msg": "change", "user": stranger, "action": "Authorize", "outcome": "Forbidden"},
		{
			"msg": "request", "user": ledgerUser, "connection": teamNamespace + "/" + crm, "method": http.MethodGet,
			"host": providerHost, "status": float64(http.StatusOK),
		},
		{"msg": "request", "user": stranger, "method": http.MethodGet, "status": float64(http.StatusForbidden), "error": "Forbidden"},
	}
	var logs string
	testenv.Eventually(t, patience, func() error {
		logs = s.logsOf(t, "api")
		for _, line := range wanted {
			if !slices.ContainsFunc(strings.Split(logs, "\n"), func(said string) bool { return says(said, line) }) {
				return fmt.Errorf("no API has logged %v", line)
			}
		}
		return nil
	})
	// A JSON Web Token begins like this, whatever it says.
	for _, word := range []string{unloggedWord, "eyJ"} {
		if strings.Contains(logs, word) {
			t.Errorf("an API has logged what has %q in it", word)
		}
	}
}

// logsOf joins what the pods of a component have printed.
func (s *suite) logsOf(t *testing.T, component string) string {
	t.Helper()
	var logs strings.Builder
	for _, pod := range s.podsOf(t, component) {
		log, err := s.podLog(t.Context(), pod.Namespace, pod.Name, &corev1.PodLogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		logs.WriteString(log)
	}
	return logs.String()
}

// says is true of a line of the audit that has all of these members.
func says(line string, members map[string]any) bool {
	said := map[string]any{}
	if json.Unmarshal([]byte(line), &said) != nil || said["logger"] != "audit" {
		return false
	}
	for name, value := range members {
		if said[name] != value {
			return false
		}
	}
	return true
}

// apiPodsReplaced takes both pods away, one after the other, while the program goes on.
func (s *suite) apiPodsReplaced(t *testing.T) {
	s.asProgram(t, func(p *program) {
		f, end := p.start(t, get(proxied), get("/oauth_connections"))
		defer end()
		f.goesOn(t, 10*flowWorkers)
		pods := s.podsOf(t, "api")
		// The first leaves as in a rollout: nobody notices.
		s.replaceAPI(t, &pods[0], &client.DeleteOptions{})
		asked, broke := f.seen()
		if broke != 0 {
			t.Errorf("%d of %d requests broke while a pod was drained", broke, asked)
		}
		// The second is killed: connections break, and are made anew.
		s.replaceAPI(t, &pods[1], &client.DeleteOptions{GracePeriodSeconds: new(int64(0))})
		f.goesOn(t, 100*flowWorkers) // Until the process, which outlives its pod's object by seconds, is gone as well.
		end()
		asked, broke = f.seen()
		t.Logf("of %d requests, %d were sent again", asked, broke)
		for _, err := range f.failed {
			t.Error(err)
		}
	})
}

// replaceAPI deletes a pod and waits until it is gone and another one is available.
func (s *suite) replaceAPI(t *testing.T, pod *corev1.Pod, how *client.DeleteOptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	s.endPod(t, pod, how)
	if err := s.waitGone(ctx, pod); err != nil {
		t.Fatal(err)
	}
	s.waitDeployment(t, testenv.OperatorNamespace, apiName, apis)
	t.Logf("a pod was replaced in %s", time.Since(start).Round(time.Millisecond))
}

// goesOn waits for so many more requests.
func (f *flow) goesOn(t *testing.T, more int) {
	t.Helper()
	before, _ := f.seen()
	testenv.Eventually(t, patience, func() error {
		if asked, _ := f.seen(); asked < before+more {
			return errors.New("requests have stopped")
		}
		return nil
	})
}

// programDisconnects lets the program delete its own connection, which ends the grant.
func (s *suite) programDisconnects(t *testing.T) {
	c := s.ownConnection(t)
	token := s.tokenWorks(t, platformNamespace, c.Status.SecretName)
	s.asProgram(t, func(p *program) {
		start := time.Now()
		p.ask(t, question{method: http.MethodDelete, path: integration + "/connection"}, http.StatusNoContent)
		t.Logf("revoked in %s", time.Since(start).Round(time.Millisecond))
	})
	if s.active(t, token) {
		t.Error("the token works after the deletion of its connection")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.waitGone(ctx, c); err != nil {
		t.Error(err)
	}
}
