// SPDX-License-Identifier: Apache-2.0

package caller_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	none, invalid := `Bearer realm="oauth-operator"`, `Bearer realm="oauth-operator", error="invalid_token"`
	for name, test := range map[string]struct {
		values []string
		// token that the API server is asked about; empty: it is not asked.
		token string
		// challenge of the answer; empty: the request comes through.
		challenge string
	}{
		"a token":                   {[]string{"Bearer abc.DEF-_~+/09=="}, "abc.DEF-_~+/09==", ""},
		"the scheme in lower case":  {[]string{"bearer abc"}, "abc", ""},
		"the scheme in mixed case":  {[]string{"bEaReR abc"}, "abc", ""},
		"several spaces":            {[]string{"Bearer   abc"}, "abc", ""},
		"spaces around":             {[]string{"  Bearer abc  "}, "abc", ""},
		"a long token":              {[]string{"Bearer " + strings.Repeat("a", 16<<10-7)}, strings.Repeat("a", 16<<10-7), ""},
		"no header":                 {nil, "", none},
		"a token that is too long":  {[]string{"Bearer " + strings.Repeat("a", 16<<10)}, "", invalid},
		"a header without an end":   {[]string{strings.Repeat("Bearer ", 1<<20)}, "", invalid},
		"an empty header":           {[]string{""}, "", invalid},
		"no token":                  {[]string{"Bearer"}, "", invalid},
		"an empty token":            {[]string{"Bearer "}, "", invalid},
		"the token alone":           {[]string{"abc"}, "", invalid},
		"another scheme":            {[]string{"Basic YTpi"}, "", invalid},
		"a scheme that begins so":   {[]string{"Bearers abc"}, "", invalid},
		"two tokens":                {[]string{"Bearer abc def"}, "", invalid},
		"two headers":               {[]string{"Bearer abc", "Bearer def"}, "", invalid},
		"two headers, one of which": {[]string{"Basic YTpi", "Bearer abc"}, "", invalid},
		"a list":                    {[]string{"Bearer abc,Bearer def"}, "", invalid},
		"a tab":                     {[]string{"Bearer\tabc"}, "", invalid},
		"a control character":       {[]string{"Bearer ab\x01c"}, "", invalid},
		"a character beyond ASCII":  {[]string{"Bearer abç"}, "", invalid},
		"invalid UTF-8":             {[]string{"Bearer ab\xff"}, "", invalid},
		"a quoted token":            {[]string{`Bearer "abc"`}, "", invalid},
		"padding alone":             {[]string{"Bearer =="}, "", invalid},
		"padding within":            {[]string{"Bearer a=b"}, "", invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{token: known}
			answer, seen := visit(t, c.authenticator(t), test.values...)
			var asked []string
			for _, review := range c.reviews {
				asked = append(asked, review.Token)
				if !slices.Equal(review.Audiences, []string{"other", audience}) {
					t.Errorf("asked for the audiences %q", review.Audiences)
				}
			}
			if (test.token == "" && len(asked) > 0) || (test.token != "" && !slices.Equal(asked, []string{test.token})) {
				t.Errorf("the API server was asked about %d tokens, want %q", len(asked), test.token)
			}
			if test.challenge == "" {
				if seen == nil {
					t.Fatalf("answered %d %s", answer.Code, answer.Body)
				}
				return
			}
			refused(t, answer, seen, problem.Unauthenticated)
			if got := answer.Header().Values("WWW-Authenticate"); !slices.Equal(got, []string{test.challenge}) {
				t.Errorf("challenged by %q, want %q", got, test.challenge)
			}
		})
	}
}

// TestElsewhere sends tokens where they do not belong.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	c := &cluster{token: known}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?access_token=abc&token=abc", strings.NewReader("access_token=abc"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "token=abc")
	r.Header.Set("X-Remote-User", "jane")
	r.Header.Set("Impersonate-User", "jane")
	r.Header.Set("Proxy-Authorization", "Bearer abc")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io")
	answer, seen := serve(c.authenticator(t), r)
	refused(t, answer, seen, problem.Unauthenticated)
	if reviews, _ := c.asked(); reviews != 0 {
		t.Errorf("%d tokens were found", reviews)
	}
}

func TestCaller(t *testing.T) {
	t.Parallel()
	c := &cluster{token: known}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer abc")
	r.Header.Set("Cookie", "a=b")
	r.Header.Set("X-Request-Id", "1")
	_, seen := serve(c.authenticator(t), r)
	if seen == nil {
		t.Fatal("it did not come through")
	}
	if want := (http.Header{"Cookie": {"a=b"}, "X-Request-Id": {"1"}}); !reflect.DeepEqual(seen.Header, want) {
		t.Errorf("the headers are %v, want %v", seen.Header, want)
	}
	got := caller.From(seen.Context())
	extra := map[string][]string{"example.com/shift": {"early", "late"}}
	if got.GetName() != "jane" || got.GetUID() != "7" || !slices.Equal(got.GetGroups(), []string{"sales", "system:authenticated"}) ||
		!reflect.DeepEqual(got.GetExtra(), extra) {
		t.Errorf("the caller is %q %q %q %v", got.GetName(), got.GetUID(), got.GetGroups(), got.GetExtra())
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	nobody := caller.From(t.Context())
	if nobody.GetName() != "" || len(nobody.GetGroups()) != 0 || nobody.GetUID() != "" {
		t.Errorf("without a token somebody is %v", nobody)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	client, err := authenticationclient.NewForConfig((&cluster{}).config())
	if err != nil {
		t.Fatal(err)
	}
	for _, audiences := range [][]string{nil, {}, {""}, {audience, ""}} {
		if _, err := caller.NewAuthenticator(caller.AuthenticatorOptions{Client: client, Audiences: audiences}); err == nil {
			t.Errorf("tokens for %q are accepted, which are the API server's own", audiences)
		}
	}
	if _, err := caller.NewAuthenticator(caller.AuthenticatorOptions{Audiences: []string{audience}}); err == nil {
		t.Error("made without a client")
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*authenticationv1.TokenReviewStatus)
		good   bool
	}{
		"good":                   {func(*authenticationv1.TokenReviewStatus) {}, true},
		"for the other audience": {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"other"} }, true},
		"good with a remark":     {func(s *authenticationv1.TokenReviewStatus) { s.Error = "about to expire" }, true},
		"not authenticated":      {func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false }, false},
		"for somebody else":      {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"https://kubernetes.default.svc"} }, false},
		"the audience not looked at": {
			func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil }, false,
		},
		"nobody":              {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "" }, false},
		"anonymous":           {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = user.Anonymous }, false},
		"not authenticated 2": {func(s *authenticationv1.TokenReviewStatus) { s.User.Groups = []string{user.AllUnauthenticated} }, false},
		"refused with an explanation": {
			func(s *authenticationv1.TokenReviewStatus) { *s = unknown(authenticationv1.TokenReviewSpec{}) }, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{token: func(authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
				status := jane()
				test.change(&status)
				return status
			}}
			a := c.authenticator(t)
			for range 2 {
				answer, seen := visit(t, a, "Bearer abc")
				if test.good != (seen != nil) {
					t.Fatalf("came through: %t, want %t", seen != nil, test.good)
				}
				if !test.good {
					refused(t, answer, seen, problem.Unauthenticated)
				}
			}
			if reviews, _ := c.asked(); reviews != 1 {
				t.Errorf("asked %d times", reviews)
			}
		})
	}
}

// TestRemembers says how long answers are kept: in seconds, asked is how often the API server was asked until then.
func TestRemembers(t *testing.T) {
	t.Parallel()
	type moment struct {
		at    time.Duration
		good  bool
		asked int
	}
	in := func(d time.Duration) func() string { return func() string { return expiring(time.Now().Add(d)) } }
	text := func(token string) func() string { return func() string { return token } }
	usual := []moment{{0, true, 1}, {9 * time.Second, true, 1}, {11 * time.Second, true, 2}, {20 * time.Second, true, 2}, {22 * time.Second, true, 3}}
	for name, test := range map[string]struct {
		token   func() string
		verdict func(authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus
		moments []moment
	}{
		"a good token":            {text("opaque"), known, usual},
		"one that lives long":     {in(time.Hour), known, usual},
		"one without exp":         {text(jwt(`{"sub":"jane"}`)), known, usual},
		"exp in another form":     {text(jwt(`{"exp":"soon"}`)), known, usual},
		"no exp":                  {text(jwt(`{"exp":null}`)), known, usual},
		"exp beyond all times":    {text(jwt(`{"exp":1e300}`)), known, usual},
		"no JWT with two dots":    {text("a.b.c"), known, usual},
		"one that ends in 3 s":    {in(3 * time.Second), known, []moment{{0, true, 1}, {2 * time.Second, true, 1}, {3 * time.Second, false, 1}, {9 * time.Second, false, 1}}},
		"a fraction of a second":  {text(jwt(`{"exp":946684803.9}`)), known, []moment{{0, true, 1}, {2 * time.Second, true, 1}, {3 * time.Second, false, 1}}},
		"one that has ended":      {in(-time.Second), known, []moment{{0, false, 1}, {time.Second, false, 1}}},
		"one that ended in 1970":  {text(jwt(`{"exp":0}`)), known, []moment{{0, false, 1}}},
		"one that ended in -1e99": {text(jwt(`{"exp":-1e99}`)), known, []moment{{0, false, 1}}},
		"a bad token":             {text("bad"), unknown, []moment{{0, false, 1}, {4 * time.Second, false, 1}, {6 * time.Second, false, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{token: test.verdict}
				a, token, began := c.authenticator(t), test.token(), time.Now()
				for _, moment := range test.moments {
					<-time.After(time.Until(began.Add(moment.at)))
					answer, seen := visit(t, a, "Bearer "+token)
					if good := seen != nil; good != moment.good {
						t.Errorf("after %s: good %t, want %t", moment.at, good, moment.good)
					}
					if seen == nil {
						refused(t, answer, seen, problem.Unauthenticated)
					}
					if reviews, _ := c.asked(); reviews != moment.asked {
						t.Errorf("after %s: asked %d times, want %d", moment.at, reviews, moment.asked)
					}
				}
			})
		})
	}
}

// TestTokensAreNotMixedUp: what is remembered of one token says nothing of another.
func TestTokensAreNotMixedUp(t *testing.T) {
	t.Parallel()
	c := &cluster{token: func(spec authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
		status := jane()
		status.Authenticated, status.User.Username = spec.Token != "bad", "user-"+spec.Token
		return status
	}}
	a := c.authenticator(t)
	for range 2 {
		for _, token := range []string{"one", "two", "bad", "One"} {
			_, seen := visit(t, a, "Bearer "+token)
			if token == "bad" {
				if seen != nil {
					t.Error("a bad token came through")
				}
				continue
			}
			if seen == nil || caller.From(seen.Context()).GetName() != "user-"+token {
				t.Errorf("token %s is somebody else's", token)
			}
		}
	}
	if reviews, _ := c.asked(); reviews != 4 {
		t.Errorf("asked %d times about 4 tokens", reviews)
	}
}

// TestTogether sends the same token by many at once, one of whom leaves.
func TestTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{token: known, hold: make(chan struct{})}
		a := c.authenticator(t)
		leaving, leave := context.WithCancel(t.Context())
		var left int
		var all, first sync.WaitGroup
		first.Go(func() {
			r := httptest.NewRequestWithContext(leaving, http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer abc")
			answer, _ := serve(a, r)
			left = answer.Code
		})
		synctest.Wait()
		good := make([]bool, 64)
		for i := range good {
			all.Go(func() {
				_, seen := visit(t, a, "Bearer abc")
				good[i] = seen != nil
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
		if left != http.StatusServiceUnavailable {
			t.Errorf("who left was answered %d", left)
		}
		if reviews, _ := c.asked(); reviews != 1 {
			t.Errorf("asked %d times", reviews)
		}
	})
}

// outage is a way in which the API server does not answer.
type outage struct {
	*failure

	// wait is what the client is told, in seconds.
	wait string
}

func outages(t *testing.T) map[string]outage {
	t.Helper()
	status := func(code int32, reason metav1.StatusReason, wait int32) *failure {
		body, err := json.Marshal(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: code,
			Details: &metav1.StatusDetails{RetryAfterSeconds: wait},
		})
		if err != nil {
			t.Fatal(err)
		}
		return &failure{status: int(code), body: body}
	}
	return map[string]outage{
		"nobody there":         {&failure{err: errors.New("connection refused")}, "2"},
		"the connection ends":  {&failure{err: io.ErrUnexpectedEOF}, "2"},
		"a failure":            {status(http.StatusInternalServerError, metav1.StatusReasonInternalError, 0), "2"},
		"too many requests":    {status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, 7), "7"},
		"not ready":            {status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, 0), "2"},
		"the role is missing":  {status(http.StatusForbidden, metav1.StatusReasonForbidden, 0), "2"},
		"our token is refused": {status(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, 0), "2"},
		"not understood":       {&failure{status: http.StatusOK, body: []byte("<html>")}, "2"},
	}
}

// TestOutage wants 503 while the API server does not answer, and nothing of it to stay.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range outages(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{token: known, fails: outage.failure}
				a := c.authenticator(t)
				answer, seen := visit(t, a, "Bearer very-secret")
				refused(t, answer, seen, problem.ClusterUnavailable)
				if answer.Header().Get("Retry-After") != outage.wait || answer.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("the headers are %v", answer.Header())
				}
				if strings.Contains(answer.Body.String(), "very-secret") {
					t.Error("the answer shows the token")
				}
				c.mu.Lock()
				c.fails = nil
				c.mu.Unlock()
				if _, seen = visit(t, a, "Bearer very-secret"); seen == nil {
					t.Error("the outage is remembered")
				}
				c.mu.Lock()
				c.fails = outage.failure
				c.mu.Unlock()
				if _, seen = visit(t, a, "Bearer very-secret"); seen == nil {
					t.Error("a token that is known is refused in an outage")
				}
			})
		})
	}
}

// TestHanging has an API server that takes requests and does not answer.
func TestHanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{token: known, hold: make(chan struct{})}
		a, began := c.authenticator(t), time.Now()
		answer, seen := visit(t, a, "Bearer abc")
		refused(t, answer, seen, problem.ClusterUnavailable)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestFailedIsTold(t *testing.T) {
	t.Parallel()
	c := &cluster{token: unknown}
	var told []problem.Code
	a := c.authenticatorWith(t, func(o *caller.AuthenticatorOptions) {
		o.Failed = func(_ *http.Request, p *problem.Error) { told = append(told, p.Code) }
	})
	visit(t, a, "Bearer abc")
	visit(t, a)
	if !slices.Equal(told, []problem.Code{problem.Unauthenticated, problem.Unauthenticated}) {
		t.Errorf("told of %v", told)
	}
}
