// SPDX-License-Identifier: Apache-2.0

package caller_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	testclock "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func somebody() *user.DefaultInfo {
	return &user.DefaultInfo{
		Name: "jane", UID: "7", Groups: []string{"sales", "system:authenticated"},
		Extra: map[string][]string{"example.com/shift": {"early", "late"}},
	}
}

func proxyPOST() caller.Attributes {
	return caller.Attributes{Verb: "create", Namespace: "billing", Name: "crm", Resource: "oauthconnections", Subresource: "proxy"}
}

func yes(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
	return authorizationv1.SubjectAccessReviewStatus{Allowed: true}
}

func no(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
	return authorizationv1.SubjectAccessReviewStatus{}
}

func TestQuestion(t *testing.T) {
	t.Parallel()
	c := &cluster{access: yes}
	if may, err := c.permissions(t).May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); err != nil || !may {
		t.Fatal(may, err)
	}
	want := `{"resourceAttributes":{"namespace":"billing","verb":"create","group":"oauth-operator.io","version":"v1alpha1",` +
		`"resource":"oauthconnections","subresource":"proxy","name":"crm"},"user":"jane","groups":["sales","system:authenticated"],` +
		`"extra":{"example.com/shift":["early","late"]},"uid":"7"}`
	got, err := json.Marshal(c.questions[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("asked\n%s, want\n%s", got, want)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status authorizationv1.SubjectAccessReviewStatus
		may    bool
	}{
		"allowed":             {authorizationv1.SubjectAccessReviewStatus{Allowed: true}, true},
		"no opinion":          {authorizationv1.SubjectAccessReviewStatus{}, false},
		"allowed and denied":  {authorizationv1.SubjectAccessReviewStatus{Allowed: true, Denied: true}, false},
		"denied":              {authorizationv1.SubjectAccessReviewStatus{Denied: true}, false},
		"a role that is gone": {authorizationv1.SubjectAccessReviewStatus{EvaluationError: "role not found"}, false},
		"allowed and a role that is gone": {
			authorizationv1.SubjectAccessReviewStatus{Allowed: true, EvaluationError: "role not found"}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{access: func(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
				return test.status
			}}
			may, err := c.permissions(t).May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST())
			if err != nil || may != test.may {
				t.Errorf("got %t, %v, want %t", may, err, test.may)
			}
		})
	}
}

func TestNobodyMayNothing(t *testing.T) {
	t.Parallel()
	c := &cluster{access: yes}
	p := c.permissions(t)
	for _, nobody := range []caller.Caller{{}, caller.From(t.Context()), {Info: &user.DefaultInfo{Groups: []string{"system:masters"}}}} {
		if may, err := p.May(t.Context(), nobody, proxyPOST()); may || err != nil {
			t.Errorf("%v may: %t, %v", nobody, may, err)
		}
	}
	if _, questions := c.asked(); questions != 0 {
		t.Error("the API server was asked about nobody")
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus
		verb   string
		kept   time.Duration
	}{
		"yes":           {yes, "create", 10 * time.Second},
		"no":            {no, "create", 5 * time.Second},
		"yes to a list": {yes, "list", 10 * time.Second},
		"no to a list":  {no, "list", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, what := &cluster{access: test.answer}, proxyPOST()
				what.Verb = test.verb
				p, began := c.permissions(t), time.Now()
				for i, at := range []time.Duration{0, test.kept - time.Second, test.kept + time.Second} {
					<-time.After(time.Until(began.Add(at)))
					if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, what); err != nil || may != strings.HasPrefix(name, "yes") {
						t.Errorf("after %s: %t, %v", at, may, err)
					}
					if _, questions := c.asked(); questions != 1+i/2 {
						t.Errorf("after %s: asked %d times", at, questions)
					}
				}
			})
		})
	}
}

// TestQuestionsAreNotMixedUp changes one thing at a time: an answer holds for exactly what was asked.
func TestQuestionsAreNotMixedUp(t *testing.T) {
	t.Parallel()
	c := &cluster{access: yes}
	p := c.permissions(t)
	if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); err != nil || !may {
		t.Fatal(may, err)
	}
	c.access = no
	for name, change := range map[string]func(*user.DefaultInfo, *caller.Attributes){
		"user":         func(u *user.DefaultInfo, _ *caller.Attributes) { u.Name = "joe" },
		"UID":          func(u *user.DefaultInfo, _ *caller.Attributes) { u.UID = "8" },
		"groups":       func(u *user.DefaultInfo, _ *caller.Attributes) { u.Groups = u.Groups[1:] },
		"no groups":    func(u *user.DefaultInfo, _ *caller.Attributes) { u.Groups = nil },
		"joint groups": func(u *user.DefaultInfo, _ *caller.Attributes) { u.Groups = []string{"sales,system:authenticated"} },
		"extra": func(u *user.DefaultInfo, _ *caller.Attributes) {
			u.Extra = map[string][]string{"example.com/shift": {"early"}}
		},
		"no extra":    func(u *user.DefaultInfo, _ *caller.Attributes) { u.Extra = nil },
		"verb":        func(_ *user.DefaultInfo, a *caller.Attributes) { a.Verb = "get" },
		"namespace":   func(_ *user.DefaultInfo, a *caller.Attributes) { a.Namespace = "sales" },
		"all":         func(_ *user.DefaultInfo, a *caller.Attributes) { a.Namespace = "" },
		"name":        func(_ *user.DefaultInfo, a *caller.Attributes) { a.Name = "erp" },
		"no name":     func(_ *user.DefaultInfo, a *caller.Attributes) { a.Name = "" },
		"resource":    func(_ *user.DefaultInfo, a *caller.Attributes) { a.Resource = "oauthapplications" },
		"subresource": func(_ *user.DefaultInfo, a *caller.Attributes) { a.Subresource = "" },
	} {
		who, what := somebody(), proxyPOST()
		change(who, &what)
		if may, err := p.May(t.Context(), caller.Caller{Info: who}, what); err != nil || may {
			t.Errorf("another %s: %t, %v", name, may, err)
		}
	}
	if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); err != nil || !may {
		t.Error("the first answer is forgotten", err)
	}
}

// TestBounded asks more than is remembered.
func TestBounded(t *testing.T) {
	t.Parallel()
	const room = 100
	c := &cluster{access: no}
	p := c.permissions(t, func(o *caller.PermissionsOptions) { o.MaxAnswers = room })
	ask := func(name string) {
		if _, err := p.May(t.Context(), caller.Caller{Info: somebody()}, caller.Attributes{Verb: "get", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	ask("first")
	for i := range room {
		ask(strconv.Itoa(i))
	}
	ask("first")
	if _, questions := c.asked(); questions != room+2 {
		t.Errorf("asked %d times, want %d: the first answer had to make room", questions, room+2)
	}
}

// TestClock : the age of answers is told by the clock that is handed in.
func TestClock(t *testing.T) {
	t.Parallel()
	c, clock := &cluster{access: yes}, testclock.NewFakePassiveClock(time.Now())
	p := c.permissions(t, func(o *caller.PermissionsOptions) { o.Clock, o.RememberAllowed = clock, time.Minute })
	for i, after := range []time.Duration{0, time.Minute, 2 * time.Second} {
		clock.SetTime(clock.Now().Add(after))
		if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); err != nil || !may {
			t.Error(may, err)
		}
		if _, questions := c.asked(); questions != 1+i/2 {
			t.Errorf("after another %s: asked %d times", after, questions)
		}
	}
}

func TestPermissionsNeedAClient(t *testing.T) {
	t.Parallel()
	if _, err := caller.NewPermissions(caller.PermissionsOptions{}); err == nil {
		t.Error("made without a client")
	}
}

func TestQuestionsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{access: yes, hold: make(chan struct{})}
		p := c.permissions(t)
		leaving, leave := context.WithCancel(t.Context())
		var first, all sync.WaitGroup
		first.Go(func() {
			if may, err := p.May(leaving, caller.Caller{Info: somebody()}, proxyPOST()); may || problem.Of(err).Code != problem.ClusterUnavailable {
				t.Errorf("who left was told %t, %v", may, err)
			}
		})
		synctest.Wait()
		good := make([]bool, 64)
		for i := range good {
			all.Go(func() {
				may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST())
				good[i] = may && err == nil
			})
		}
		synctest.Wait()
		leave()
		first.Wait()
		close(c.hold)
		all.Wait()
		if slices.Contains(good, false) {
			t.Error("somebody was turned away")
		}
		if _, questions := c.asked(); questions != 1 {
			t.Errorf("asked %d times", questions)
		}
	})
}

// TestAtOnce asks more at the same time than the API server is asked; the others have their turn, unless that takes too long.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	const questions, most = 200, 64
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{access: yes, hold: make(chan struct{})}
		p := c.permissions(t)
		ask := func(first int) (all *sync.WaitGroup, failed *atomic.Int64) {
			all, failed = &sync.WaitGroup{}, &atomic.Int64{}
			for i := range questions {
				all.Go(func() {
					a := caller.Attributes{Verb: "list", Resource: "oauthconnections", Namespace: strconv.Itoa(first + i)}
					if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, a); !may || err != nil {
						failed.Add(1)
						if problem.Of(err).Code != problem.ClusterUnavailable {
							t.Error(may, err)
						}
					}
				})
			}
			synctest.Wait()
			return all, failed
		}
		all, failed := ask(0)
		if held := c.held.Load(); held != most {
			t.Errorf("%d questions at once, want %d", held, most)
		}
		close(c.hold)
		all.Wait()
		if _, asked := c.asked(); asked != questions || failed.Load() != 0 {
			t.Errorf("asked %d times, %d without an answer", asked, failed.Load())
		}
		c.hold = make(chan struct{})
		all, failed = ask(questions)
		all.Wait() // Nobody answers.
		if failed.Load() != questions {
			t.Errorf("%d of %d waited in vain", failed.Load(), questions)
		}
		close(c.hold)
		all, failed = ask(2 * questions)
		if all.Wait(); failed.Load() != 0 {
			t.Error("turns were lost")
		}
	})
}

// TestQuestionsAtOnceAreNotMixedUp asks different questions at the same time, each of which has to get its own answer.
func TestQuestionsAtOnceAreNotMixedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{hold: make(chan struct{}), access: func(spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
			good := spec.User == "jane" && spec.UID == "7" && len(spec.Groups) == 2 && len(spec.Extra) == 1 &&
				spec.ResourceAttributes.Namespace == "billing" && spec.ResourceAttributes.Subresource == "proxy"
			return authorizationv1.SubjectAccessReviewStatus{Allowed: good}
		}}
		p := c.permissions(t)
		var all sync.WaitGroup
		ask := func(change func(*user.DefaultInfo, *caller.Attributes), want bool) {
			who, what := somebody(), proxyPOST()
			change(who, &what)
			all.Go(func() {
				if may, err := p.May(t.Context(), caller.Caller{Info: who}, what); err != nil || may != want {
					t.Errorf("%v, %+v: %t, %v", who, what, may, err)
				}
			})
			synctest.Wait() // Whoever is first is asked about.
		}
		ask(func(*user.DefaultInfo, *caller.Attributes) {}, true)
		ask(func(u *user.DefaultInfo, _ *caller.Attributes) { u.Name = "joe" }, false)
		ask(func(u *user.DefaultInfo, _ *caller.Attributes) { u.UID = "8" }, false)
		ask(func(u *user.DefaultInfo, _ *caller.Attributes) { u.Groups = nil }, false)
		ask(func(u *user.DefaultInfo, _ *caller.Attributes) { u.Extra = nil }, false)
		ask(func(_ *user.DefaultInfo, a *caller.Attributes) { a.Namespace = "" }, false)
		ask(func(_ *user.DefaultInfo, a *caller.Attributes) { a.Subresource = "" }, false)
		close(c.hold)
		all.Wait()
		if _, questions := c.asked(); questions != 7 {
			t.Errorf("asked %d times", questions)
		}
	})
}

// BenchmarkKnown is what the API adds to each request of a caller who was here a moment ago.
func BenchmarkKnown(b *testing.B) {
	c := &cluster{token: known, access: yes}
	client, err := kubernetes.NewForConfig(c.config())
	if err != nil {
		b.Fatal(err)
	}
	a, err := caller.NewAuthenticator(caller.AuthenticatorOptions{
		Client: client.AuthenticationV1(), Audiences: []string{audience}, RememberAccepted: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	p, err := caller.NewPermissions(caller.PermissionsOptions{Client: client.AuthorizationV1(), RememberAllowed: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	handler := a.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if may, err := p.May(r.Context(), caller.From(r.Context()), proxyPOST()); err != nil || !may {
			b.Error(may, err)
		}
	}))
	token := "Bearer " + jwt(`{"exp":4102444800,"pad":"`+strings.Repeat("x", 700)+`"}`)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Authorization", token)
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// TestNoAnswer wants neither yes nor no while the API server does not answer.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for name, outage := range outages(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{access: yes, fails: outage.failure}
				p := c.permissions(t)
				may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST())
				if failed := problem.Of(err); may || err == nil || failed.Code != problem.ClusterUnavailable || failed.Status != http.StatusServiceUnavailable ||
					failed.RetryAfter <= 0 {
					t.Errorf("got %t, %v", may, err)
				}
				c.mu.Lock()
				c.fails = nil
				c.mu.Unlock()
				if may, err := p.May(t.Context(), caller.Caller{Info: somebody()}, proxyPOST()); err != nil || !may {
					t.Errorf("the outage is remembered: %t, %v", may, err)
				}
			})
		})
	}
}
