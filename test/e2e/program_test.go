// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/e2e/report"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The program of the samples that calls the API, which in its place relays what the suite asks.
const (
	ledger     = "ledger"
	ledgerUser = "system:serviceaccount:" + teamNamespace + ":" + ledger
	relayPort  = 8080
	// authority is the ConfigMap with the certificates that the program trusts.
	authority = "cluster-internal"
)

// startProgram applies the sample beside the suite's certificate.
func (s *suite) startProgram(t *testing.T) {
	t.Helper()
	s.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: authority},
		Data:       map[string]string{"ca.crt": string(s.apiCertificate)},
	})
	s.apply(t, build(t, "caller", "curlimages/curl", s.tools))
	s.warnings.none(t)
	s.waitDeployment(t, teamNamespace, ledger, 1)
}

// program asks the API from the program's pod: by the address and with the token that are mounted there.
type program struct {
	http *http.Client
	base string
}

// asProgram runs a function with the program.
func (s *suite) asProgram(t *testing.T, call func(*program)) {
	t.Helper()
	pods := &corev1.PodList{}
	if err := s.client.List(t.Context(), pods, client.InNamespace(teamNamespace), client.MatchingLabels{"app": ledger}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("the program has %d pods, want 1", len(pods.Items))
	}
	addresses, end := s.forward(t, teamNamespace, pods.Items[0].Name, relayPort)
	defer end()
	transport := &http.Transport{MaxIdleConnsPerHost: flowWorkers}
	defer transport.CloseIdleConnections()
	call(&program{http: &http.Client{Timeout: patience, Transport: transport}, base: "http://" + addresses[0]})
}

// question is a request to the API.
type question struct {
	method, path string
	// body is sent as JSON; nil: none.
	body   any
	header map[string]string
}

// get is a question without a body.
func get(path string) question { return question{method: http.MethodGet, path: path} }

// as asks with another token than the program's own.
func (q question) as(token string) question {
	q.header = map[string]string{"Authorization": "Bearer " + token}
	return q
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// errBroken is a connection that failed: there is no answer, or half of one.
var errBroken = errors.New("the connection broke")

// try asks once.
func (p *program) try(ctx context.Context, q question) (*answer, error) {
	var body io.Reader
	if q.body != nil {
		content, err := json.Marshal(q.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, q.method, p.base+q.path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range q.header {
		request.Header.Set(name, value)
	}
	response, err := p.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if reason := response.Header.Get(report.Broken); reason != "" {
		return nil, fmt.Errorf("%w: %s", errBroken, reason)
	}
	return &answer{response.StatusCode, response.Header, content}, nil
}

// ask fails the test unless the answer has a status.
func (p *program) ask(t *testing.T, q question, status int) *answer {
	t.Helper()
	a, err := p.try(t.Context(), q)
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	if a.status != status {
		t.Fatalf("%s %s is answered by %d, want %d:\n%s", q.method, q.path, a.status, status, a.body)
	}
	return a
}

// refused wants an error of the API's own.
func (p *program) refused(t *testing.T, q question, status int, code string) {
	t.Helper()
	if got := p.ask(t, q, status).header.Get("Oauth-Operator-Error"); got != code {
		t.Errorf("%s %s is refused with code %q, want %s", q.method, q.path, got, code)
	}
}

func (a *answer) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// lend returns a token of a ServiceAccount, for some audiences; without any, for the API server.
func (s *suite) lend(t *testing.T, namespace, account string, audiences ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	request, err := s.clientset.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.lent = append(s.lent, request.Status.Token)
	return request.Status.Token
}

// offer is the body that brings a fresh code.
func (s *suite) offer(t *testing.T) map[string]string {
	t.Helper()
	code, verifier := s.newCode(t)
	return map[string]string{"code": code, "codeVerifier": verifier, "redirectUri": harness.DefaultRedirectURI}
}

// How a flow of requests goes.
const (
	flowWorkers  = 4
	flowInterval = 50 * time.Millisecond
	// mended is how long a request may be sent again after its connection broke.
	mended = 10 * time.Second
)

// flow is a stream of requests of several workers, half of which make a connection for each.
type flow struct {
	mu           sync.Mutex
	asked, broke int
	failed       []error
}

// start lets requests flow until end is called. They cannot be spoilt by being sent twice.
func (p *program) start(t *testing.T, questions ...question) (f *flow, end func()) {
	t.Helper()
	f = &flow{}
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for worker := range flowWorkers {
		workers.Go(func() {
			ticker := time.NewTicker(flowInterval)
			defer ticker.Stop()
			for turn := worker; ctx.Err() == nil; turn++ {
				q := questions[turn%len(questions)]
				if worker < flowWorkers/2 {
					q.header = map[string]string{report.NewConnection: "yes"}
				}
				// What has begun is finished: the end of the flow breaks nothing.
				f.note(p.repeat(context.WithoutCancel(ctx), q, f))
				select {
				case <-ctx.Done():
				case <-ticker.C:
				}
			}
		})
	}
	return f, func() { cancel(); workers.Wait() }
}

// repeat asks until there is an answer.
func (p *program) repeat(ctx context.Context, q question, f *flow) error {
	ctx, cancel := context.WithTimeout(ctx, mended)
	defer cancel()
	var a *answer
	err := testenv.Wait(ctx, func() (err error) {
		if a, err = p.try(ctx, q); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.broke++
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", q.path, err)
	case a.status != http.StatusOK:
		return fmt.Errorf("%s is answered by %d: %s", q.path, a.status, a.body)
	}
	return nil
}

func (f *flow) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if err != nil {
		f.failed = append(f.failed, err)
	}
}

// seen returns how many requests there were so far, and how often a connection broke.
func (f *flow) seen() (asked, broke int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.broke
}
