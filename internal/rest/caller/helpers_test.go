// SPDX-License-Identifier: Apache-2.0

package caller_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const audience = "oauth-operator.io"

// cluster is an API server without a network, so that its time is the test's.
type cluster struct {
	mu sync.Mutex
	// reviews and questions that were asked.
	reviews   []authenticationv1.TokenReviewSpec
	questions []authorizationv1.SubjectAccessReviewSpec

	// token answers reviews, access questions.
	token  func(authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus
	access func(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus
	// fails, if any, is in place of answers.
	fails *failure
	// hold, if any, is waited for before each answer.
	hold chan struct{}
	// held counts those that wait for it.
	held atomic.Int64
}

func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if c.hold != nil {
		c.held.Add(1)
		defer c.held.Add(-1)
		select {
		case <-c.hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var review authenticationv1.TokenReview
	var question authorizationv1.SubjectAccessReview
	switch r.Method + " " + r.URL.Path {
	case "POST /apis/authentication.k8s.io/v1/tokenreviews":
		if err := json.Unmarshal(content, &review); err != nil {
			return nil, err
		}
		c.reviews = append(c.reviews, review.Spec)
	case "POST /apis/authorization.k8s.io/v1/subjectaccessreviews":
		if err := json.Unmarshal(content, &question); err != nil {
			return nil, err
		}
		c.questions = append(c.questions, question.Spec)
	default:
		return nil, fmt.Errorf("nobody may %s %s", r.Method, r.URL.Path)
	}
	if c.fails != nil && c.fails.err != nil {
		return nil, c.fails.err
	}
	if c.fails != nil {
		return answer(c.fails.status, c.fails.body), nil
	}
	if question.Kind != "" {
		question.Status = c.access(question.Spec)
		content, err := json.Marshal(question)
		return answer(http.StatusCreated, content), err
	}
	review.Status = c.token(review.Spec)
	content, err = json.Marshal(review)
	return answer(http.StatusCreated, content), err
}

// failure is an answer with a status and a body, or an error.
type failure struct {
	status int
	body   []byte
	err    error
}

func answer(status int, content []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(content)), ProtoMajor: 1, ProtoMinor: 1,
	}
}

func (c *cluster) asked() (reviews, questions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.reviews), len(c.questions)
}

func (c *cluster) config() *rest.Config {
	return &rest.Config{
		Host: "http://cluster.invalid", Transport: c, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}
}

func (c *cluster) authenticator(t *testing.T) *caller.Authenticator {
	t.Helper()
	return c.authenticatorWith(t, func(*caller.AuthenticatorOptions) {})
}

func (c *cluster) authenticatorWith(t *testing.T, change func(*caller.AuthenticatorOptions)) *caller.Authenticator {
	t.Helper()
	client, err := authenticationclient.NewForConfig(c.config())
	if err != nil {
		t.Fatal(err)
	}
	options := caller.AuthenticatorOptions{Client: client, Audiences: []string{"other", audience}}
	change(&options)
	a, err := caller.NewAuthenticator(options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (c *cluster) permissions(t *testing.T, changes ...func(*caller.PermissionsOptions)) *caller.AccessReviews {
	t.Helper()
	client, err := authorizationclient.NewForConfig(c.config())
	if err != nil {
		t.Fatal(err)
	}
	options := caller.PermissionsOptions{Client: client}
	for _, change := range changes {
		change(&options)
	}
	p, err := caller.NewPermissions(options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// jane is the answer to a good token.
func jane() authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{
		Authenticated: true, Audiences: []string{audience},
		User: authenticationv1.UserInfo{
			Username: "jane", UID: "7", Groups: []string{"sales", user.AllAuthenticated},
			Extra: map[string]authenticationv1.ExtraValue{"example.com/shift": {"early", "late"}},
		},
	}
}

func known(authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus { return jane() }

func unknown(authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{Error: "invalid bearer token"}
}

// jwt makes a token with a payload, or one without exp.
func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func expiring(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, at.Unix())) }

// visit sends a request with these values of the header Authorization. seen is the request that came through, nil if none did.
func visit(t *testing.T, a *caller.Authenticator, values ...string) (answer *httptest.ResponseRecorder, seen *http.Request) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth_connections?access_token=query", nil)
	for _, value := range values {
		r.Header.Add("Authorization", value)
	}
	return serve(a, r)
}

func serve(a *caller.Authenticator, r *http.Request) (answer *httptest.ResponseRecorder, seen *http.Request) {
	answer = httptest.NewRecorder()
	a.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r })).ServeHTTP(answer, r)
	return answer, seen
}

// refused wants an answer with a problem, and that nothing came through.
func refused(t *testing.T, answer *httptest.ResponseRecorder, seen *http.Request, code problem.Code) {
	t.Helper()
	if seen != nil {
		t.Error("the request came through")
	}
	if answer.Code != code.Status() || answer.Header().Get(problem.Header) != string(code) {
		t.Errorf("answered %d %s, want %s", answer.Code, answer.Body, code)
	}
}
