// SPDX-License-Identifier: Apache-2.0

package rest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// TestProxiedRequest follows a request through the process, under the API's own role: to the provider as it came, with the token
// in place of the caller's, into the audit and into the metrics.
func TestProxiedRequest(t *testing.T) {
	w := newWorld(t)
	seen := make(chan *http.Request, 10)
	w.answer = func(out http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		seen <- r
		out.Header().Set(problem.Header, "Forged")
		out.Header().Set("X-Answer", "provider's")
		out.WriteHeader(http.StatusTeapot)
		_, _ = out.Write(content)
	}
	a := w.api()
	const raw = "/a%2Fb//c/%41;v=1/?q=a%2Fb&q=&x=%20+secret-value"
	got := a.do(w.caller, http.MethodPost, w.proxied(raw), strings.NewReader("content"), "Cookie", "a=b")
	if got.status != http.StatusTeapot || got.text != "content" || got.header.Get("X-Answer") != "provider's" || got.header.Get(problem.Header) != "" {
		t.Errorf("status %d, %v: %s", got.status, got.header, got.text)
	}
	r := <-seen
	if want := "/v1" + raw; r.RequestURI != want || r.Method != http.MethodPost || r.Header.Get("Cookie") != "" {
		t.Errorf("the provider got %s %s %v, want %s", r.Method, r.RequestURI, r.Header, want)
	}
	if authorization := r.Header.Get("Authorization"); authorization != "Bearer "+canary+"-crm" {
		t.Errorf("the provider got Authorization %q", strings.ReplaceAll(authorization, w.caller.token, "the caller's"))
	}
	a.wants("a method that is not allowed", a.do(w.caller, http.MethodDelete, w.proxied("/x"), nil), problem.Forbidden)
	testenv.Eventually(t, patience, func() error {
		if got := len(w.log.audit()); got != 2 {
			return fmt.Errorf("%d lines", got)
		}
		return nil
	})
	host := strings.TrimPrefix(w.provider.URL, "http://")
	audit := w.log.audit()
	for _, want := range []string{
		`"user"="` + w.caller.user + `"`, `"application"="` + w.namespace + `/crm"`, `"connection"="` + w.namespace + `/crm"`, `"method"="POST"`,
		`"host"="` + host + `"`, `"status"=418`, `"error"=""`, `"duration"=`, `"sent"=7`, `"received"=7`,
	} {
		if !strings.Contains(audit[0], want) {
			t.Errorf("the audit has no %s: %s", want, audit[0])
		}
	}
	for _, want := range []string{
		`"user"="` + w.caller.user + `"`, `"application"="` + w.namespace + `/crm"`, `"connection"=""`, `"method"="DELETE"`, `"status"=403`, `"error"="Forbidden"`,
	} {
		if !strings.Contains(audit[1], want) {
			t.Errorf("the audit has no %s: %s", want, audit[1])
		}
	}
	for _, word := range []string{"a%2Fb", "secret-value", "content\""} {
		if strings.Contains(w.log.String(), word) {
			t.Errorf("the log has %q: %s", word, w.log)
		}
	}
	labels := `application="crm",application_namespace="` + w.namespace + `"`
	a.metric(`oauth_operator_api_proxied_requests_total{` + labels + `,code="4xx",error="",method="POST"} 1`)
	a.metric(`oauth_operator_api_proxied_requests_total{` + labels + `,code="4xx",error="Forbidden",method="DELETE"} 1`)
	a.metric(`oauth_operator_api_proxied_request_duration_seconds_count{` + labels + `} 2`)
	a.metric(`oauth_operator_api_request_duration_seconds_count{code="4xx",route="proxy"} 2`)
	a.metric(`oauth_operator_api_requests_in_flight{route="proxy"} 0`)

	w.must(w.client.Delete(t.Context(), w.application))
	testenv.Eventually(t, patience, func() error {
		metrics, err := a.request(nil, http.MethodGet, a.probes+"/metrics", nil)
		if err == nil && strings.Contains(metrics.text, labels) {
			return errors.New("an application that is gone has series still")
		}
		return err
	})
}

// What is not clean, or looks like a path of the API's own, goes to the provider as it came.
func TestProxiedPathsAreNotCleaned(t *testing.T) {
	w := newWorld(t)
	seen := make(chan string, 10)
	w.answer = func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }
	a := w.api()
	for path, want := range map[string]string{
		"/": "/v1/", "/x//y//": "/v1/x//y//", "/oauth_connections": "/v1/oauth_connections",
		"/api/integrations/a.b/request/y": "/v1/api/integrations/a.b/request/y",
	} {
		if got := a.get(w.caller, w.proxied(path)); got.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, got.status, got.text)
			continue
		}
		if got := <-seen; got != want {
			t.Errorf("%s: the provider got %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"/../x", "/a/%2e%2e/%2E%2e/b", "/./x"} {
		a.wants(path, a.get(w.caller, w.proxied(path)), problem.InvalidRequest)
	}
}

// TestLists : who may list sees all of the namespace, who owns sees their own, and others see nothing.
func TestLists(t *testing.T) {
	w := newWorld(t)
	w.createConnection("shared", "")
	auditor := w.newCaller("auditor", rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"oauthconnections", "oauthapplications"}, Verbs: []string{"get", "list"},
	})
	stranger := w.newCaller("stranger", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}})
	a := w.api()
	names := func(c *caller, path string) []string {
		got := a.get(c, path)
		var page struct {
			Data []struct{ Name, Slug, Namespace string } `json:"data"`
		}
		if err := json.Unmarshal([]byte(got.text), &page); err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, got.status, got.text)
		}
		if got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, got.header)
		}
		found := []string{}
		for _, each := range page.Data {
			if each.Namespace == w.namespace {
				found = append(found, each.Name)
			}
		}
		slices.Sort(found)
		return found
	}
	for who, test := range map[string]struct {
		c    *caller
		want []string
	}{"who may list": {auditor, []string{"crm", "shared"}}, "the owner": {w.caller, []string{"crm"}}, "a stranger": {stranger, []string{}}} {
		for _, path := range []string{"/oauth_connections", "/api/v1/oauth/connections"} {
			if got := names(test.c, path); !slices.Equal(got, test.want) {
				t.Errorf("%s at %s sees %q, want %q", who, path, got, test.want)
			}
		}
	}
	if got := a.get(auditor, "/oauth_applications/"+string(w.application.UID)); got.status != http.StatusOK {
		t.Errorf("the application: status %d: %s", got.status, got.text)
	}
	one := "/oauth_connections/" + string(w.connection.UID)
	a.wants("a stranger", a.get(stranger, one), problem.NotFound)
	if got := a.get(w.caller, one); got.status != http.StatusOK {
		t.Errorf("the owner: status %d: %s", got.status, got.text)
	}
}

// TestDelete deletes under the API's own role, and is audited, also where it is refused.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	stranger := w.newCaller("stranger", rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"oauthconnections"}, Verbs: []string{"get", "list"},
	})
	shared := w.createConnection("shared", "")
	a := w.api()
	path := "/api/integrations/" + w.namespace + ".crm/connection"
	a.wants("a stranger", a.do(stranger, http.MethodDelete, path, nil), problem.Forbidden)
	if got := a.do(w.caller, http.MethodDelete, path, nil); got.status != http.StatusNoContent {
		t.Errorf("the owner: status %d: %s", got.status, got.text)
	}
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(w.connection), &v1alpha1.OAuthConnection{}); !apierrors.IsNotFound(err) {
		t.Errorf("the connection: %v", err)
	}
	audit := w.log.audit()
	if len(audit) != 2 {
		t.Fatalf("the audit has:\n%s", strings.Join(audit, "\n"))
	}
	for i, words := range [][]string{
		{`"user"="system:serviceaccount:` + w.namespace + `:stranger"`, `"connection"="` + w.namespace + `/` + shared.Name + `"`, `"outcome"="Forbidden"`},
		{
			`"user"="` + w.caller.user + `"`, `"action"="Delete"`, `"application"="` + w.namespace + `/crm"`, `"connection"="` + w.namespace + `/crm"`,
			`"connectionUID"="` + string(w.connection.UID) + `"`, `"outcome"="Done"`,
		},
	} {
		for _, want := range words {
			if !strings.Contains(audit[i], want) {
				t.Errorf("the audit has no %s: %s", want, audit[i])
			}
		}
	}
	a.metric(`oauth_operator_api_request_duration_seconds_count{code="2xx",route="connection"} 1`)
}

// TestWaitsOutliveTheBody : the limit of a body's time ends no wait for the controller. It is told to come again when the process
// is to end.
func TestWaitsOutliveTheBody(t *testing.T) {
	w := newWorld(t)
	connector := w.newCaller("connector", rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"oauthconnections"}, Verbs: []string{"create"},
	})
	const limit = 200 * time.Millisecond
	a := w.api(func(o *rest.Options) { o.BodyTimeout = limit })
	answered := make(chan *response, 1)
	go func() {
		answered <- a.do(connector, http.MethodPost, "/api/integrations/"+w.namespace+".crm/connect",
			strings.NewReader(`{"refreshToken":"`+canary+`-brought"}`), "Content-Type", "application/json")
	}()
	made := &v1alpha1.OAuthConnectionList{}
	testenv.Eventually(t, patience, func() error {
		w.must(w.client.List(t.Context(), made, client.InNamespace(w.namespace)))
		if len(made.Items) != 2 {
			return fmt.Errorf("%d connections", len(made.Items))
		}
		return nil
	})
	testenv.Consistently(t, 3*limit, func() error {
		select {
		case got := <-answered:
			return fmt.Errorf("status %d: %s", got.status, got.text)
		default:
			return nil
		}
	})
	a.stop()
	if got := <-answered; got.status != http.StatusAccepted && got.status != http.StatusServiceUnavailable {
		t.Errorf("status %d: %s", got.status, got.text)
	}
}

// TestConversation : bodies flow both ways at once, by HTTP/1.1 and by HTTP/2, for longer than an answer of the API's own may
// take its body.
func TestConversation(t *testing.T) {
	w := newWorld(t)
	w.answer = func(out http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(out)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		buffer := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, buffer); err != nil {
				return
			}
			_, _ = out.Write(buffer)
			_ = control.Flush()
		}
	}
	directory := t.TempDir()
	certFile, keyFile := filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	certificate, err := x509.ParseCertificate(writeCertificate(t, certFile, keyFile))
	w.must(err)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	const limit = 100 * time.Millisecond
	for _, protocol := range []int{1, 2} {
		a := w.api(func(o *rest.Options) {
			o.TLSCertFile, o.TLSPrivateKeyFile, o.BodyTimeout = certFile, keyFile, limit
		})
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "api.example.test", MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: protocol == 2,
		}
		body, says := io.Pipe()
		address := "https://" + strings.TrimPrefix(a.url, "http://") + w.proxied("/echo")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, body)
		w.must(err)
		request.Header.Set("Authorization", "Bearer "+w.caller.token)
		got, err := transport.RoundTrip(request)
		w.must(err)
		if got.StatusCode != http.StatusOK || got.ProtoMajor != protocol {
			t.Fatalf("status %d by %s", got.StatusCode, got.Proto)
		}
		for _, word := range []string{"a", "b"} {
			testenv.Consistently(t, 2*limit, func() error { return nil }) // Nobody says a word.
			_, err := io.WriteString(says, word)
			w.must(err)
			heard := make([]byte, 1)
			if _, err := io.ReadFull(got.Body, heard); err != nil || string(heard) != word {
				t.Fatalf("by %s: heard %q (%v), want %q", got.Proto, heard, err, word)
			}
		}
		w.must(says.Close())
		if rest, err := io.ReadAll(got.Body); err != nil || len(rest) != 0 {
			t.Errorf("by %s it ends with %q, %v", got.Proto, rest, err)
		}
		_ = got.Body.Close()
		transport.CloseIdleConnections()
	}
}
