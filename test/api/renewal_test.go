// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func renewalRows() []row {
	return []row{
		{"request: an expired token is renewed once for all who wait", expiredOnce},
		{"request: an expired token that cannot be renewed", expiredInVain},
		{"request: a rejected token is renewed once, and requests are sent again", rejectedOnce},
		{"request: a 401 that stays is the provider's answer", rejectedForGood},
		{"request: a 401 of a grant that was revoked", rejectedAndRevoked},
		{"request: a rejected token that nothing can renew", rejectedWithoutRefreshToken},
		{"request: a body too large to be sent again gets its 401", rejectedLargeBody},
		{"request: retries of what may be repeated", retries},
		{"request: the application's limits", limited},
		{"two replicas: one login of the same code at both", replicasAuthorizeOnce},
	}
}

// crowd is how many callers wait at the same time.
const crowd = 50

// all sends requests at the same time, in turn to the replicas, and returns the answers.
func (s *site) all(n int, request func(i int) call) []*reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	answers, failed := make([]*reply, n), make([]error, n)
	var together sync.WaitGroup
	for i := range n {
		together.Go(func() {
			asked := request(i)
			asked.replica = i % replicas
			answers[i], failed[i] = s.try(ctx, asked)
		})
	}
	together.Wait()
	if err := errors.Join(failed...); err != nil {
		s.t.Fatal(err)
	}
	return answers
}

// soon is the lifetime of tokens that are to expire in a test: the operator asks for others at half of it.
const soon = 4 * time.Second

// expire waits until the token of a connection has expired.
func (s *site) expire(c *v1alpha1.OAuthConnection) {
	s.t.Helper()
	testenv.Eventually(s.t, patience, func() error {
		if at := s.get(c).Status.AccessTokenExpiresAt; at == nil || time.Now().Before(at.Add(time.Second)) {
			return fmt.Errorf("the token expires at %s", at)
		}
		return nil
	})
}

func expiredOnce(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	user := s.user("user")
	s.hostile().SetAccessTokenLifetime(soon)
	s.hostile().Script(refreshes(), hostile.Hang()) // The operator's own refresh, which is as slow as it may be.
	c := s.connect(user)
	old := record.Hash(s.token(c))
	if err := s.hostile().WaitForHanging(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.expire(c)
	s.hostile().SetAccessTokenLifetime(time.Hour)
	go s.releaseWhenAsked(c)
	for i, answer := range s.all(crowd, func(i int) call {
		return call{as: user, method: http.MethodPost, target: s.path("request/invoices"), body: fmt.Sprintf("invoice %d", i)}
	}) {
		if echo := answer.echoed(t); echo.Body != fmt.Sprintf("invoice %d", i) {
			t.Errorf("request %d came as %+v", i, echo)
		}
	}
	got, fresh := s.api.Requests(), record.Hash(s.token(c))
	if len(got) != crowd {
		t.Errorf("%d requests have come to the provider, want %d", len(got), crowd)
	}
	for _, one := range got {
		if one.TokenHash == old || one.TokenHash != fresh {
			t.Error("a request came with another token than the new one")
		}
	}
	if n := s.hostile().Count(refreshes()); n != 1 || s.hostile().MaxUses() != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// releaseWhenAsked lets the hanging refresh go on as soon as the API has asked for a token.
func (s *site) releaseWhenAsked(c *v1alpha1.OAuthConnection) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
	defer cancel()
	err := testenv.Wait(ctx, func() error {
		messages := &corev1.SecretList{}
		err := shared.plane.Client().List(ctx, messages, client.InNamespace(testenv.OperatorNamespace),
			client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending})
		for _, message := range messages.Items {
			if message.Annotations[pending.AnnotationConnectionUID] == string(c.UID) {
				return nil
			}
		}
		return errors.Join(errors.New("nobody has asked for a token"), err)
	})
	if err != nil {
		s.t.Error(err)
	}
	s.hostile().Release()
}

func expiredInVain(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	user := s.user("user")
	s.hostile().SetAccessTokenLifetime(soon)
	s.hostile().Always(refreshes(), hostile.Status(http.StatusServiceUnavailable, "", hostile.RetryAfterSeconds(60)))
	c := s.connect(user)
	s.expire(c)
	s.wait(c, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure == nil {
			return errors.New("no refresh has failed yet")
		}
		return nil
	})
	answer := s.do(t, call{as: user, target: s.path("request/x")})
	answer.problem(t, http.StatusServiceUnavailable, "RefreshFailed")
	if seconds, err := strconv.Atoi(answer.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
		t.Errorf("Retry-After is %q", answer.header.Get("Retry-After"))
	}
	if n := len(s.api.Requests()); n != 0 {
		t.Errorf("%d requests were sent with an expired token", n)
	}
	if n := s.hostile().Count(refreshes()); n != 1 {
		t.Errorf("%d refreshes: a caller cuts no backoff short", n)
	}
}

// age makes the token of a connection some minutes old: replicas that meet a rejected token of less than a minute cannot tell
// whether the report of another one is about it, or about the token before.
func (s *site) age(c *v1alpha1.OAuthConnection) {
	s.t.Helper()
	const key = "grant.json"
	testenv.Eventually(s.t, patience, func() error {
		kept, content := &corev1.Secret{}, map[string]any{}
		name := client.ObjectKey{Namespace: testenv.OperatorNamespace, Name: grant.SecretName(string(c.UID))}
		if err := shared.plane.Client().Get(s.t.Context(), name, kept); err != nil {
			return err
		}
		if err := json.Unmarshal(kept.Data[key], &content); err != nil {
			return err
		}
		content["issuedAt"] = time.Now().Add(-5 * time.Minute).UTC().Format(time.RFC3339)
		var err error
		if kept.Data[key], err = json.Marshal(content); err != nil {
			return err
		}
		return shared.plane.Client().Update(s.t.Context(), kept)
	})
}

func rejectedOnce(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	c := s.connect(user)
	token := s.token(c)
	s.age(c)
	s.api.Reject(token)
	renewed := 0
	for i, answer := range s.all(crowd, func(i int) call {
		return call{as: user, method: http.MethodPost, target: s.path("request/invoices?i=" + strconv.Itoa(i)), body: strings.Repeat(strconv.Itoa(i%10), 1<<10)}
	}) {
		echo := answer.echoed(t)
		if echo.Body != strings.Repeat(strconv.Itoa(i%10), 1<<10) || echo.Query != "i="+strconv.Itoa(i) {
			t.Errorf("request %d came as %.100v", i, echo)
		}
		if answer.header.Get(headerToken) == "renewed" {
			renewed++
		}
	}
	if renewed == 0 {
		t.Error("nobody was told that the token was renewed")
	}
	accepted := 0
	for _, one := range s.api.Requests() {
		if one.Accepted {
			accepted++
		} else if one.TokenHash != record.Hash(token) {
			t.Error("a request came with a token of nobody")
		}
	}
	if accepted != crowd {
		t.Errorf("%d requests were accepted, want %d", accepted, crowd)
	}
	if n := s.authorization.Count(refreshes()); n != 1 || s.authorization.Reuse() != 0 {
		t.Errorf("%d refreshes, want 1", n)
	}
	// The next one that is rejected within the minute is not renewed again.
	fresh := s.token(c)
	s.api.Reject(fresh)
	for replica := range replicas {
		answer := s.do(t, call{as: user, target: s.path("request/x"), replica: replica}).want(t, http.StatusUnauthorized)
		if answer.header.Get(headerToken) != "rejected" || answer.header.Get(headerError) != "" {
			t.Errorf("the answer is %v", answer.header)
		}
	}
	if n := s.authorization.Count(refreshes()); n != 1 {
		t.Errorf("%d refreshes within a minute", n)
	}
}

func rejectedForGood(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true, change: func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckIntrospection}
	}})
	user := s.user("user")
	c := s.connect(user)
	s.api.RejectAll(true)
	checks := record.Filter{Endpoint: record.Introspect, ClientID: clientID}
	before := s.hostile().Count(checks)
	answer := s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusUnauthorized)
	if answer.header.Get(headerToken) != "rejected" || answer.header.Get(headerError) != "" || answer.header.Get("Www-Authenticate") == "" {
		t.Errorf("the answer is %v", answer.header)
	}
	if !strings.Contains(string(answer.body), "invalid_token") {
		t.Errorf("the provider's answer came as %s", answer.body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.hostile().WaitFor(ctx, before+1, checks); err != nil {
		t.Errorf("the operator does not look whether the grant lives: %v", err)
	}
	if n := s.hostile().Count(refreshes()); n != 1 || len(s.api.Requests()) != 2 {
		t.Errorf("%d refreshes and %d requests, want 1 and 2", n, len(s.api.Requests()))
	}
	s.api.RejectAll(false)
	s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusOK)
	if err := phase(v1alpha1.ConnectionActive)(s.get(c)); err != nil {
		t.Error(err)
	}
}

func rejectedAndRevoked(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	c := s.connect(user)
	if err := s.authorization.RevokeGrant(s.token(c)); err != nil {
		t.Fatal(err)
	}
	answer := s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusUnauthorized)
	if answer.header.Get(headerToken) != "rejected" || answer.header.Get(headerError) != "" {
		t.Errorf("the answer is %v", answer.header)
	}
	s.wait(c, phase(v1alpha1.ConnectionInactive))
	testenv.Eventually(t, patience, func() error {
		if code := s.do(t, call{as: user, target: s.path("request/x")}).header.Get(headerError); code != "ConnectionInactive" {
			return fmt.Errorf("code %q", code)
		}
		return nil
	})
	listed, _ := data(t, s.do(t, call{as: user, target: "/api/v1/oauth/connections"}))
	if len(listed) != 1 || listed[0]["status"] != "inactive" || listed[0]["refresh_authorization_url"] == nil {
		t.Errorf("the list shows %v", listed)
	}
	if n := s.authorization.Count(refreshes()); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func rejectedWithoutRefreshToken(t *testing.T, w *world) {
	s := w.newSite(t, options{hostile: true})
	s.hostile().Always(exchanges(), hostile.OmitRefreshToken())
	user := s.user("user")
	c := s.connect(user)
	s.api.Reject(s.token(c))
	answer := s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusUnauthorized)
	if answer.header.Get(headerToken) != "rejected" || answer.header.Get(headerError) != "" {
		t.Errorf("the answer is %v", answer.header)
	}
	if n := s.hostile().Count(refreshes()); n != 0 || len(s.api.Requests()) != 1 {
		t.Errorf("%d refreshes and %d requests", n, len(s.api.Requests()))
	}
}

func rejectedLargeBody(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.api.Reject(s.token(s.connect(user)))
	large := call{as: user, method: http.MethodPut, target: s.path("request/file"), body: bytes.Repeat([]byte("x"), 100<<10)}
	answer := s.do(t, large).want(t, http.StatusUnauthorized)
	if answer.header.Get(headerToken) != "renewed" || answer.header.Get(headerError) != "" {
		t.Errorf("the answer is %v", answer.header)
	}
	if echo := s.do(t, large).echoed(t); len(echo.Body) != 100<<10 {
		t.Errorf("%d bytes have come", len(echo.Body))
	}
	if n := s.authorization.Count(refreshes()); n != 1 || len(s.api.Requests()) != 2 {
		t.Errorf("%d refreshes and %d requests, want 1 and 2", n, len(s.api.Requests()))
	}
}

func retries(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	s.connect(user)
	for _, test := range []struct {
		method string
		header map[string]string
		again  bool
	}{
		{http.MethodGet, nil, true},
		{http.MethodPut, nil, true},
		{http.MethodDelete, nil, true},
		{http.MethodPost, nil, false},
		{http.MethodPatch, nil, false},
		{http.MethodPost, map[string]string{"Idempotency-Key": "7"}, true},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
			path := fmt.Sprintf("/v1/%s-%d-%t", test.method, status, test.again)
			var tries atomic.Int32
			s.api.Handle(path, func(w http.ResponseWriter, _ *http.Request) {
				if tries.Add(1) == 1 {
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(status)
				}
			})
			answer := s.do(t, call{as: user, method: test.method, target: s.path("request" + strings.TrimPrefix(path, "/v1")), header: test.header})
			want, times := status, int32(1)
			if test.again {
				want, times = http.StatusOK, 2
			}
			if answer.status != want || tries.Load() != times || answer.header.Get(headerError) != "" {
				t.Errorf("%s after %d: status %d after %d tries, want %d after %d", test.method, status, answer.status, tries.Load(), want, times)
			}
		}
	}
}

func limited(t *testing.T, w *world) {
	s := w.newSite(t, options{change: func(spec *v1alpha1.OAuthApplicationSpec) {
		rate := resource.MustParse("0.05")
		spec.APILimits = &v1alpha1.APILimits{RequestsPerSecond: &rate}
	}})
	user := s.user("user")
	s.connect(user)
	s.do(t, call{as: user, target: s.path("request/x")}).want(t, http.StatusOK)
	answer := s.do(t, call{as: user, target: s.path("request/x"), header: map[string]string{"Oauth-Operator-Timeout": "1s"}})
	answer.problem(t, http.StatusTooManyRequests, "RateLimited")
	if seconds, err := strconv.Atoi(answer.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 20 {
		t.Errorf("Retry-After is %q", answer.header.Get("Retry-After"))
	}
	if n := len(s.api.Requests()); n != 1 {
		t.Errorf("%d requests were sent", n)
	}
}

func replicasAuthorizeOnce(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	user := s.user("user")
	body := s.code()
	var made string
	for _, answer := range s.all(4, func(int) call {
		return call{as: user, method: http.MethodPost, target: s.path("connect"), body: body}
	}) {
		id := fmt.Sprint(answer.want(t, http.StatusCreated).object(t)["id"])
		if made == "" {
			made = id
		}
		if id != made {
			t.Error("there are two connections")
		}
	}
	if n := s.authorization.Count(record.Filter{Endpoint: record.Token}); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	s.find(made)
}
