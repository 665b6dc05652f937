// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// inBubble runs a test with a world whose time is its own.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newWorld(t))
		synctest.Wait()
	})
}

// expired lets the token's time pass, and status say so as the controller would.
func (w *world) expired() *v1alpha1.OAuthConnection {
	w.t.Helper()
	w.setToken("1", -time.Second)
	return w.change(notReady(v1alpha1.ReasonProgressing, "the access token has expired; the provider is being asked for a new one"))
}

func TestHundredCallersAskOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.expired()
		go func() {
			m := <-w.created
			<-time.After(time.Second)
			w.created <- m // For the test to see.
			w.renew("2")
		}()
		started := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				got, err := w.source.Get(t.Context(), c)
				if err != nil || got.Token.Reveal() != token("2") {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("it took %s until they knew", took)
		}
		messages := w.messages()
		if len(messages) != 1 {
			t.Fatalf("%d messages for one expired token", len(messages))
		}
		m := messages[0]
		if m.ConnectionUID != "uid-1" || m.Connection.String() != "team/crm" || m.ApplicationUID != "app-1" || m.Application.String() != "platform/crm" ||
			m.Renewal == nil || m.Renewal.Verify || m.Renewal.TokenHash != sensitive.New(token("1")).Hash() || m.KeepUntil.Sub(m.ReceivedAt) > time.Minute+time.Second {
			t.Errorf("the message is %+v", m)
		}
		if want := pending.Name(pending.RefreshRequest, "uid-1", "expired", m.Renewal.TokenHash); w.names[0] != want {
			t.Errorf("its name is %s, want %s: another replica would ask again", w.names[0], want)
		}
		if got := w.mustGet(); got.Token.Reveal() != token("2") {
			t.Error("the old token is still given out")
		}
	})
}

// A grant of which only a refresh token is known yet has no token to give out.
func TestRefreshTokenAlone(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.setRecord("", time.Hour, func(r *lifecycle.Record) { r.AccessToken = sensitive.String{} })
		w.change(func(*v1alpha1.OAuthConnection) {})
		go func() {
			<-w.created
			w.renew("2")
		}()
		if got := w.mustGet(); got.Token.Reveal() != token("2") {
			w.t.Errorf("got %+v", got)
		}
	})
}

func failure(count int32, next time.Duration) *v1alpha1.Failure {
	f := &v1alpha1.Failure{Count: count, Reason: v1alpha1.ReasonProviderUnavailable, Message: "the provider is away"}
	if next != 0 {
		f.NextAttemptAt = new(metav1.NewTime(time.Now().Add(next)))
	}
	return f
}

func TestExpiredTokenThatCannotBeRenewed(t *testing.T) {
	for name, row := range map[string]struct {
		before func(*world)                    // the token has expired
		after  func(*v1alpha1.OAuthConnection) // what the controller says a second after it was asked; nil: nothing
		code   problem.Code
		reason string
		retry  time.Duration
		asks   bool
		takes  time.Duration
	}{
		"it has failed, and is tried later": {
			before: func(w *world) {
				w.change(func(c *v1alpha1.OAuthConnection) { c.Status.Failure = failure(3, 20*time.Second) })
			},
			code: problem.RefreshFailed, reason: v1alpha1.ReasonProviderUnavailable, retry: 20 * time.Second,
		},
		"it fails": {
			after: func(c *v1alpha1.OAuthConnection) { c.Status.Failure = failure(1, 2*time.Second) },
			code:  problem.RefreshFailed, reason: v1alpha1.ReasonProviderUnavailable, retry: 2 * time.Second, asks: true, takes: time.Second,
		},
		"it fails once more": {
			before: func(w *world) {
				w.change(func(c *v1alpha1.OAuthConnection) { c.Status.Failure = failure(1, -time.Second) })
			},
			after: func(c *v1alpha1.OAuthConnection) { c.Status.Failure = failure(2, 0) },
			code:  problem.RefreshFailed, reason: v1alpha1.ReasonProviderUnavailable, retry: 30 * time.Second, asks: true, takes: time.Second,
		},
		"the provider refuses": {
			after: in(v1alpha1.ConnectionInactive, v1alpha1.ReasonInvalidGrant, "refused"),
			code:  problem.ConnectionInactive, reason: v1alpha1.ReasonInvalidGrant, asks: true, takes: time.Second,
		},
		"it is suspended meanwhile": {
			after: func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true },
			code:  problem.ConnectionNotReady, reason: v1alpha1.ReasonSuspended, asks: true, takes: time.Second,
		},
		"the client is not accepted": {
			before: func(w *world) {
				w.change(notReady(v1alpha1.ReasonInvalidClient, "the provider does not accept the client"))
			},
			code: problem.RefreshFailed, reason: v1alpha1.ReasonInvalidClient, retry: 30 * time.Second,
		},
		"the client is found out not to be accepted": {
			after: notReady(v1alpha1.ReasonInvalidClient, "the provider does not accept the client"),
			code:  problem.RefreshFailed, reason: v1alpha1.ReasonInvalidClient, retry: 30 * time.Second, asks: true, takes: time.Second,
		},
		"nobody answers": {code: problem.RefreshTimeout, asks: true, takes: 30 * time.Second},
		"something else changes": {
			after: func(c *v1alpha1.OAuthConnection) { c.Spec.DisplayName = "x" },
			code:  problem.RefreshTimeout, asks: true, takes: 30 * time.Second,
		},
		"nothing to renew with": {
			before: func(w *world) {
				w.setRecord("1", -time.Second, func(r *lifecycle.Record) { r.RefreshToken = sensitive.String{} })
				w.change(func(c *v1alpha1.OAuthConnection) { c.Status.AuthorizationURL = "https://gateway/connect" })
			},
			code: problem.ConnectionInactive, reason: v1alpha1.ReasonTokenExpired,
		},
		"an access token that was the means": {
			before: func(w *world) {
				w.setRecord("1", -time.Second, func(r *lifecycle.Record) { r.RefreshToken = sensitive.String{} })
				w.keepClient(func(c *registration.Client) {
					c.Spec.TokenRequest = &v1alpha1.TokenRequestSpec{Refresh: &v1alpha1.RefreshRequestSpec{GrantType: "x", AccessTokenParameter: "t"}}
				})
			},
			code: problem.ConnectionInactive, reason: v1alpha1.ReasonTokenExpired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.expired()
				if row.before != nil {
					row.before(w)
				}
				if row.after != nil {
					time.AfterFunc(time.Second, func() { w.change(row.after) })
				}
				started := time.Now()
				_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
				p := w.problem(err, row.code)
				if p.Reason != row.reason || p.RetryAfter != row.retry {
					t.Errorf("reason %s, to be tried again after %s; want %s, %s", p.Reason, p.RetryAfter, row.reason, row.retry)
				}
				if asked := len(w.messages()); (asked == 1) != row.asks || time.Since(started) != row.takes {
					t.Errorf("asked %d times, answered after %s; want %t, %s", asked, time.Since(started), row.asks, row.takes)
				}
				<-time.After(time.Second) // What the test has left to do.
			})
		})
	}
}

func TestConnectionThatGoesWhileItIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.expired()
		go func() {
			<-w.created
			w.dropConnection("uid-1")
		}()
		_, err := w.source.Get(t.Context(), c)
		w.want(err, problem.ConnectionNotReady)
	})
}

func TestSomebodyHasRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old := w.mustGet()
		w.setToken("2", time.Hour) // Status does not say so yet.
		got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
		if err != nil || got.Token.Reveal() != token("2") || len(w.messages()) != 0 {
			t.Errorf("got %+v, %v, or the controller was asked", got, err)
		}
		if w.mustGet() != got {
			t.Error("it is not kept")
		}
	})
}

// A token that was renewed while nobody looked may have expired as well.
func TestSomebodyHasRenewedLongAgo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old := w.mustGet()
		w.setToken("2", -time.Minute)
		go func() {
			if m := <-w.created; m.Renewal.TokenHash != sensitive.New(token("2")).Hash() {
				t.Errorf("asked about %+v, which is not the token of the record", m.Renewal)
			}
			w.renew("3")
		}()
		got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
		if err != nil || got.Token.Reveal() != token("3") {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestExpiredTokensAreNotGivenOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.expired()
		go func() {
			<-w.created
			w.setToken("2", -time.Millisecond)
			w.change(func(*v1alpha1.OAuthConnection) {})
		}()
		_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
		w.want(err, problem.RefreshFailed)
	})
}

// A record that changes without a word in status is found all the same.
func TestAnswerWithoutSign(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.expired()
		go func() {
			<-w.created
			w.setToken("2", time.Hour)
		}()
		started := time.Now()
		if got := w.mustGet(); got.Token.Reveal() != token("2") || time.Since(started) > 5*time.Second {
			t.Errorf("got %+v after %s", got, time.Since(started))
		}
	})
}

func TestRejectedTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		renewed := func(name string) {
			<-w.created
			w.renew(name)
		}
		first := w.mustGet()
		go renewed("2")
		second, err := w.source.Renew(t.Context(), w.Connection("uid-1"), first, credential.Rejected)
		if err != nil || second.Token.Reveal() != token("2") {
			t.Fatalf("got %+v, %v", second, err)
		}
		if want := pending.Name(pending.RefreshRequest, "uid-1", "rejected"); w.names[0] != want {
			t.Errorf("the message's name is %s, want %s", w.names[0], want)
		}
		// Whoever comes late with the first token has the second at once.
		if got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), first, credential.Rejected); err != nil || got.Hash != second.Hash {
			t.Errorf("a late caller gets %+v, %v", got, err)
		}
		for range 3 {
			if _, err := w.source.Renew(t.Context(), w.Connection("uid-1"), second, credential.Rejected); !errors.Is(err, credential.ErrTooSoon) {
				t.Errorf("the second token is rejected at once: %v", err)
			}
		}
		<-time.After(time.Minute)
		w.expireMessages()
		go renewed("3")
		if got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), second, credential.Rejected); err != nil || got.Token.Reveal() != token("3") {
			t.Errorf("after a minute: %+v, %v", got, err)
		}
		// One that has expired on its way is another matter.
		w.setToken("4", time.Second)
		w.change(func(*v1alpha1.OAuthConnection) {})
		fourth := w.mustGet()
		<-time.After(time.Second)
		go renewed("5")
		got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), fourth, credential.Rejected)
		if err != nil || got.Token.Reveal() != token("5") {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// A controller that is away is not asked again and again, although its messages are gone.
func TestRejectedTokenIsReportedOnceAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		<-time.After(10 * time.Minute)
		old := w.mustGet()
		_, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
		w.want(err, problem.RefreshTimeout)
		w.expireMessages()
		if _, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected); !errors.Is(err, credential.ErrTooSoon) {
			t.Errorf("got %v", err)
		}
		if asked := len(w.messages()); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		<-time.After(30 * time.Second)
		_, err = w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
		if w.want(err, problem.RefreshTimeout); len(w.messages()) != 1 {
			t.Error("after a minute nothing is asked")
		}
	})
}

func TestRejectedTokenThatCannotBeRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.setRecord("1", time.Hour, func(r *lifecycle.Record) { r.RefreshToken = sensitive.String{} })
		w.change(func(*v1alpha1.OAuthConnection) {})
		old, started := w.mustGet(), time.Now()
		for range 2 {
			if _, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected); !errors.Is(err, credential.ErrNotRenewable) {
				t.Errorf("got %v", err)
			}
		}
		if messages := w.messages(); len(messages) != 1 || messages[0].Renewal.Verify || time.Since(started) != 0 {
			t.Errorf("messages %+v, after %s", messages, time.Since(started))
		}
	})
}

// Two replicas, one API server: the message of the one is the other's.
func TestReplicasAskOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		<-time.After(10 * time.Minute)
		old, other := w.mustGet(), credential.New(w.options)
		go func() {
			<-w.created
			<-time.After(time.Second)
			w.renew("2")
		}()
		var all sync.WaitGroup
		for _, source := range []*credential.Source{w.source, other} {
			all.Go(func() {
				if got, err := source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected); err != nil || got.Token.Reveal() != token("2") {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		all.Wait()
		if again := len(w.messages()); again != 0 {
			t.Errorf("%d messages too many", again)
		}
		// The message is about the first token. The third replica waits only for a moment for an answer about the second.
		started := time.Now()
		_, err := credential.New(w.options).Renew(t.Context(), w.Connection("uid-1"), w.mustGet(), credential.Rejected)
		if waited := time.Since(started); !errors.Is(err, credential.ErrTooSoon) || waited != 5*time.Second {
			t.Errorf("got %v after %s", err, waited)
		}
	})
}

// A token may be rejected as soon as it is there. Of two replicas that ask for another one, the one that comes second gets it too.
func TestReplicasRenewAYoungToken(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old, other := w.mustGet(), credential.New(w.options)
		go func() {
			<-w.created
			<-time.After(time.Second)
			w.renew("2")
		}()
		var all sync.WaitGroup
		for _, source := range []*credential.Source{w.source, other} {
			all.Go(func() {
				if got, err := source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected); err != nil || got.Token.Reveal() != token("2") {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		all.Wait()
	})
}

func TestCallersWaitAsLongAsTheyLike(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.expired()
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			started := time.Now()
			_, err := w.source.Get(hasty, c)
			if w.want(err, problem.RefreshTimeout); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != time.Second {
				t.Errorf("got %v after %s", err, time.Since(started))
			}
		})
		all.Go(func() {
			<-time.After(time.Millisecond) // The hasty one has begun it all.
			if got, err := w.source.Get(t.Context(), c); err != nil || got.Token.Reveal() != token("2") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
		<-w.created
		<-time.After(2 * time.Second)
		w.renew("2")
		all.Wait()
		if again := len(w.messages()); again != 0 {
			t.Errorf("%d messages too many", again)
		}
	})
}

func TestProblemsAreTheCallersOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.expired()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_, err := w.source.Get(t.Context(), c)
				p := w.problem(err, problem.RefreshTimeout)
				if p.Header != nil {
					t.Error("somebody else has written into this problem")
				}
				p.Header = http.Header{}
			})
		}
		all.Wait()
	})
}

func TestVerify(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old, c := w.mustGet(), w.Connection("uid-1")
		w.setRefuse(func(string, string) error { return errors.New("connection refused, said of " + token("1")) })
		w.source.Verify(t.Context(), c, old)
		if w.setRefuse(nil); !strings.Contains(w.log.String(), "connection refused") {
			t.Errorf("that it failed is not said: %s", w.log.String())
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			w.source.Verify(gone, c, old)
		}
		credential.New(w.options).Verify(t.Context(), c, old)
		messages := w.messages()
		if len(messages) != 1 || !messages[0].Renewal.Verify || messages[0].Renewal.TokenHash != old.Hash {
			t.Fatalf("messages %+v", messages)
		}
		if want := pending.Name(pending.RefreshRequest, "uid-1", "verify"); w.names[0] != want {
			t.Errorf("its name is %s, want %s", w.names[0], want)
		}
		<-time.After(time.Minute)
		w.expireMessages()
		if w.source.Verify(t.Context(), c, old); len(w.messages()) != 1 {
			t.Error("after a minute nothing is asked")
		}
	})
}

func TestMessagesThatCannotBeWritten(t *testing.T) {
	forbidden := apierrors.NewForbidden(v1alpha1.GroupVersion().WithResource("secrets").GroupResource(), "x", errors.New("no "+token("1")))
	for name, row := range map[string]struct {
		fails int
		err   error
		code  problem.Code
	}{
		"once":   {fails: 1, err: errors.New("connection reset, said of " + token("1"))},
		"always": {fails: 100, err: errors.New("connection reset, said of " + token("1")), code: problem.ClusterUnavailable},
		"never":  {fails: 100, err: forbidden, code: problem.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				old, fails := w.mustGet(), row.fails
				refuse := func(verb, secret string) error {
					if verb != "create" || !strings.HasPrefix(secret, "pending-") || fails == 0 {
						return nil
					}
					fails--
					return row.err
				}
				w.setRefuse(refuse)
				go func() {
					<-w.created
					w.renew("2")
				}()
				got, err := w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
				if row.code != "" {
					w.want(err, row.code)
					w.setRefuse(nil)
					got, err = w.source.Renew(t.Context(), w.Connection("uid-1"), old, credential.Rejected)
				}
				if err != nil || got.Token.Reveal() != token("2") {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		})
	}
}
