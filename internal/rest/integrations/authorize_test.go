// SPDX-License-Identifier: Apache-2.0

package integrations_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	code    = `{"code":"SECRET-code","codeVerifier":"SECRET-verifier","redirectUri":"https://app.example/cb"}`
	refresh = `{"refreshToken":"SECRET-refresh"}`
)

// ends makes the controller end each login after a while.
func (w *world) ends(after time.Duration, outcome v1alpha1.AuthorizationOutcome, reason string, then func(c *v1alpha1.OAuthConnection)) {
	w.plane.told = func(m pending.Message) {
		w.plane.later(after, m.ConnectionUID, func(c *v1alpha1.OAuthConnection) {
			c.Status.LastAuthorization = &v1alpha1.LastAuthorization{ID: loginOf(m), Outcome: outcome, Reason: reason, Time: metav1.Now()}
			if reason != "" {
				c.Status.LastAuthorization.Message = "the provider says " + reason
			}
			if then != nil {
				then(c)
			}
		})
	}
}

func loginOf(m pending.Message) string {
	switch {
	case m.Response != nil:
		return m.Response.Login
	case m.Import != nil:
		return m.Import.Login
	}
	return ""
}

// silent fails the test when a secret got out.
func (w *world) silent(answers ...answer) {
	w.Helper()
	text := w.logged.String() + fmt.Sprintf("%+v", w.changes)
	for _, a := range answers {
		text += a.Body.String() + fmt.Sprint(a.Header())
	}
	if strings.Contains(text, "SECRET") {
		w.Errorf("a secret got out: %s", text)
	}
}

func TestAuthorizeWithACode(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.ends(700*time.Millisecond, v1alpha1.AuthorizationSucceeded, "", active)
		asked := time.Now()
		a := w.request(jane, http.MethodPost, connect, code)
		if a.Code != http.StatusCreated || a.Header().Get("Location") != connection || a.took != 800*time.Millisecond {
			t.Fatalf("after %s: %d to %s: %s", a.took, a.Code, a.Header().Get("Location"), a.Body)
		}
		c := w.plane.connections[types.NamespacedName{Namespace: "platform", Name: janes}]
		var shown struct {
			ID, IntegrationID, OwnerID, APIBaseURI string
			IsShared                               bool
		}
		if err := json.Unmarshal(a.Body.Bytes(), &shown); err != nil || shown.ID != string(c.UID) || shown.IntegrationID != "application" ||
			shown.OwnerID != jane || shown.IsShared || shown.APIBaseURI != "https://api.crm.example/v1" {
			t.Errorf("%v: %s", err, a.Body)
		}
		name, m := w.only()
		r := m.Response
		if r == nil || r.Code.Reveal() != "SECRET-code" || r.Verifier.Reveal() != "SECRET-verifier" || r.RedirectURL != "https://app.example/cb" ||
			r.Generation != 1 || m.Connection != client.ObjectKeyFromObject(c) || m.ConnectionUID != c.UID || m.Application != crm() ||
			m.ApplicationUID != "application" || m.ReceivedAt.Before(asked) || !strings.HasPrefix(r.Login, "api-") {
			t.Errorf("the message is %+v", m)
		}
		if name != pending.Name(pending.AuthorizationResponse, string(c.UID), r.Login) {
			t.Errorf("the message is named %s", name)
		}
		told := w.last()
		if told.Action != integrations.ActionAuthorize || told.Outcome != integrations.OutcomeDone || !told.Created || told.ConnectionUID != c.UID {
			t.Errorf("told of %+v", told)
		}
		// Once more: the same login, and nothing is sent.
		again := w.request(jane, http.MethodPost, connect, code)
		if again.Code != http.StatusCreated || again.took != 0 || w.plane.sent != 1 {
			t.Errorf("the second time: %d after %s, %d messages", again.Code, again.took, w.plane.sent)
		}
		w.silent(a, again)
	})
}

func TestAuthorizeWithARefreshToken(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.ends(0, v1alpha1.AuthorizationSucceeded, "", active)
		a := w.request(jane, http.MethodPost, connect, `{"refreshToken":"SECRET-refresh","shared":true,"displayName":"Ours","scopes":["a","b"],"inputs":{"shop":"x"}}`)
		c := w.plane.connections[types.NamespacedName{Namespace: "platform", Name: "crm-shared"}]
		if a.Code != http.StatusCreated || c == nil || c.Spec.Owner != "" || c.Spec.DisplayName != "Ours" || len(c.Spec.Scopes) != 2 || c.Spec.Inputs["shop"] != "x" {
			t.Fatalf("answered %d: %s; made %+v", a.Code, a.Body, c)
		}
		name, m := w.only()
		if m.Import == nil || m.Import.RefreshToken.Reveal() != "SECRET-refresh" || m.Import.Generation != 1 ||
			name != pending.Name(pending.RefreshTokenImport, string(c.UID), m.Import.Login) {
			t.Errorf("the message %s is %+v", name, m)
		}
		w.silent(a)
	})
}

// What exists is authorized anew, without any right but to own it.
func TestAuthorizeAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.may = map[string]bool{}
		w.hold("held", jane, func(c *v1alpha1.OAuthConnection) {
			active(c)
			c.Spec.DisplayName, c.Spec.Scopes, c.Spec.Inputs = "Mine", []v1alpha1.Scope{"a", "b"}, map[string]v1alpha1.InputValue{"shop": "x"}
		})
		w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", active)
		for _, body := range []string{
			code,
			`{"code":"SECRET-2","scopes":["b","a"],"displayName":"Mine","inputs":{"shop":"x"}}`,
		} {
			if a := w.request(jane, http.MethodPost, connect, body); a.Code != http.StatusCreated || w.last().Created {
				t.Errorf("%s: %d %s", body, a.Code, a.Body)
			}
		}
		for _, body := range []string{
			`{"code":"c","scopes":["a"]}`, `{"code":"c","scopes":[]}`, `{"code":"c","displayName":""}`, `{"code":"c","inputs":{}}`,
			`{"code":"c","inputs":{"shop":"y"}}`,
		} {
			a := w.request(jane, http.MethodPost, connect, body)
			member := strings.Split(body, `"`)[5]
			w.refused(a, problem.ConnectionNotReady, integrations.ReasonSettingsDiffer, member, "platform/held")
		}
		if len(w.plane.messages) != 2 {
			t.Errorf("%d messages were sent", len(w.plane.messages))
		}
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	const failed, unknown = v1alpha1.AuthorizationFailed, v1alpha1.AuthorizationUnknown
	for name, test := range map[string]struct {
		outcome v1alpha1.AuthorizationOutcome
		reason  string
		code    problem.Code
		told    string
		spent   bool // Whatever it was: a code always is.
	}{
		"refused":                 {failed, v1alpha1.ReasonInvalidGrant, problem.AuthorizationRefused, v1alpha1.ReasonInvalidGrant, true},
		"refused otherwise":       {failed, v1alpha1.ReasonExchangeRejected, problem.AuthorizationRefused, v1alpha1.ReasonExchangeRejected, false},
		"another account":         {failed, v1alpha1.ReasonAccountMismatch, problem.AccountMismatch, v1alpha1.ReasonAccountMismatch, true},
		"the client is refused":   {failed, v1alpha1.ReasonInvalidClient, problem.ConnectionNotReady, v1alpha1.ReasonInvalidClient, false},
		"the client may not":      {failed, v1alpha1.ReasonUnauthorizedClient, problem.ConnectionNotReady, v1alpha1.ReasonUnauthorizedClient, false},
		"suspended meanwhile":     {failed, v1alpha1.ReasonSuspended, problem.ConnectionNotReady, v1alpha1.ReasonSuspended, false},
		"changed meanwhile":       {failed, v1alpha1.ReasonConnectionChanged, problem.ConnectionNotReady, v1alpha1.ReasonConnectionChanged, false},
		"never exchanged":         {failed, v1alpha1.ReasonAuthorizationExpired, problem.ProviderUnreachable, v1alpha1.ReasonAuthorizationExpired, false},
		"cut off":                 {unknown, "", problem.ProviderUnreachable, v1alpha1.ReasonExchangeOutcomeUnknown, true},
		"cut off, and that is it": {unknown, v1alpha1.ReasonExchangeOutcomeUnknown, problem.ProviderUnreachable, v1alpha1.ReasonExchangeOutcomeUnknown, true},
	} {
		for kind, body := range map[string]string{"code": code, "refresh token": refresh} {
			t.Run(name+", "+kind, func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.ends(time.Second, test.outcome, test.reason, nil)
					a := w.request(jane, http.MethodPost, connect, body)
					w.refused(a, test.code, test.told)
					if test.reason != "" && !strings.Contains(a.Body.String(), "the provider says "+test.reason) {
						t.Errorf("it does not say what the provider said: %s", a.Body)
					}
					if told := w.last(); told.Outcome != string(test.code) {
						t.Errorf("told of %+v", told)
					}
					w.silent(a)
					again := w.request(jane, http.MethodPost, connect, body)
					w.refused(again, test.code, test.told)
					if anew := kind == "refresh token" && !test.spent; (w.plane.sent == 2) != anew || (again.took == time.Second) != anew {
						t.Errorf("the second time took %s, and %d messages", again.took, w.plane.sent)
					}
				})
			})
		}
	}
}

// What stood in the way of a refresh token has been mended: it is brought again, as another login each time, whatever became of the
// names of messages.
func TestARefreshTokenIsBroughtAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.ends(0, v1alpha1.AuthorizationFailed, v1alpha1.ReasonSuspended, nil)
		for range 3 { // Within one second.
			w.refused(w.request(jane, http.MethodPost, connect, refresh), problem.ConnectionNotReady, v1alpha1.ReasonSuspended)
		}
		if len(w.plane.messages) != 3 || w.plane.sent != 3 {
			t.Fatalf("%d messages, sent %d times", len(w.plane.messages), w.plane.sent)
		}
		w.ends(time.Minute, v1alpha1.AuthorizationSucceeded, "", active)
		for range 2 { // While it is under way it is one login.
			if a := w.request(jane, http.MethodPost, connect, refresh); a.Code != http.StatusAccepted && a.Code != http.StatusCreated {
				t.Errorf("answered %d: %s", a.Code, a.Body)
			}
		}
		if a := w.request(jane, http.MethodPost, connect, refresh); a.Code != http.StatusCreated || len(w.plane.messages) != 4 {
			t.Errorf("answered %d after %s, %d messages: %s", a.Code, a.took, len(w.plane.messages), a.Body)
		}
		sent := w.plane.sent
		if a := w.request(jane, http.MethodPost, connect, refresh); a.Code != http.StatusCreated || a.took != 0 || w.plane.sent != sent {
			t.Errorf("after success: answered %d after %s, %d messages", a.Code, a.took, w.plane.sent-sent)
		}
	})
}

// Codes and refresh tokens for one connection have a pace; bringing the same one again is free, and other connections have their own.
func TestTooMany(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, active)
		w.ends(0, v1alpha1.AuthorizationFailed, v1alpha1.ReasonInvalidGrant, nil)
		bring := func(i int) answer {
			return w.request(jane, http.MethodPost, connect, fmt.Sprintf(`{"code":"SECRET-%d"}`, i))
		}
		for i := range 5 {
			for range 3 {
				w.refused(bring(i), problem.AuthorizationRefused, v1alpha1.ReasonInvalidGrant)
			}
		}
		for range 2 { // Refused requests are not counted.
			a := bring(5)
			if w.refused(a, problem.RateLimited, "", "platform/"+janes); a.Header().Get("Retry-After") != "6" || a.took != 0 {
				t.Errorf("after %s, to come back in %q", a.took, a.Header().Get("Retry-After"))
			}
			w.silent(a)
		}
		w.refused(bring(4), problem.AuthorizationRefused, "")
		w.refused(w.request(jane, http.MethodPost, connect, `{"code":"SECRET-1","shared":true}`), problem.AuthorizationRefused, "")
		if told := len(w.plane.messages); told != 6 {
			t.Errorf("%d messages were sent", told)
		}
		<-time.After(6 * time.Second)
		w.refused(bring(5), problem.AuthorizationRefused, "")
		w.refused(bring(6), problem.RateLimited, "")
		<-time.After(time.Minute)
		for i := range 5 {
			w.refused(bring(7+i), problem.AuthorizationRefused, "")
		}
		w.refused(bring(12), problem.RateLimited, "")
	})
}

// What is under way is brought again for nothing.
func TestTheSameIsNotTooMuch(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, active)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if a := w.request(jane, http.MethodPost, connect, refresh); a.Code != http.StatusAccepted {
					t.Errorf("answered %d: %s", a.Code, a.Body)
				}
			})
		}
		all.Wait()
		if len(w.plane.messages) != 1 {
			t.Errorf("%d messages were sent", len(w.plane.messages))
		}
	})
}

func TestNotKnownYet(t *testing.T) {
	t.Parallel()
	waits := func(c *v1alpha1.OAuthConnection) {
		says(c, v1alpha1.ConnectionActive, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	}
	for name, prepare := range map[string]func(w *world){
		"nothing is said":           func(*world) {},
		"a token, and no Secret":    func(w *world) { w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", waits) },
		"of the spec before":        func(w *world) { w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", behind) },
		"another login has ended":   func(w *world) { w.ends(time.Second, v1alpha1.AuthorizationFailed, "x", another) },
		"the name is taken already": func(w *world) { w.plane.refuse = taken },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				prepare(w)
				a := w.request(jane, http.MethodPost, connect, code)
				if a.Code != http.StatusAccepted || a.took != 30*time.Second || a.Header().Get("Location") != connection {
					t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
				}
				if told := w.last(); told.Outcome != integrations.OutcomeAccepted {
					t.Errorf("told of %+v", told)
				}
			})
		})
	}
}

func behind(c *v1alpha1.OAuthConnection) {
	active(c)
	c.Generation++
}

func another(c *v1alpha1.OAuthConnection) { c.Status.LastAuthorization.ID = "another" }

// taken says that the message has been sent by another replica.
func taken(write string) error {
	if write == "create message" {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, "x")
	}
	return nil
}

// The Secret comes a moment after the token.
func TestTheTokenIsPublishedLater(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", func(c *v1alpha1.OAuthConnection) {
			says(c, v1alpha1.ConnectionActive, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
			w.plane.later(5*time.Second, c.UID, active)
		})
		if a := w.request(jane, http.MethodPost, connect, code); a.Code != http.StatusCreated || a.took != 6100*time.Millisecond {
			t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
		}
	})
}

// A grant that was brought once and has ended since is not brought to life by bringing it again.
func TestWhatHasEndedSince(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", active)
		if a := w.request(jane, http.MethodPost, connect, refresh); a.Code != http.StatusCreated {
			t.Fatalf("answered %d: %s", a.Code, a.Body)
		}
		c := w.directory.Connection(w.last().ConnectionUID)
		w.plane.change(c.UID, func(c *v1alpha1.OAuthConnection) {
			says(c, v1alpha1.ConnectionInactive, metav1.ConditionFalse, v1alpha1.ReasonInvalidGrant)
			c.Status.AuthorizationURL = "https://oauth.example/connect/x"
		})
		a := w.request(jane, http.MethodPost, connect, refresh)
		w.refused(a, problem.ConnectionInactive, v1alpha1.ReasonInvalidGrant, `"authorizationUrl":"https://oauth.example/connect/x"`)
	})
}

// Nothing is spent on a connection that cannot be authorized.
func TestNothingIsHandedOver(t *testing.T) {
	t.Parallel()
	told := func(reason string) func(c *v1alpha1.OAuthConnection) {
		return func(c *v1alpha1.OAuthConnection) { says(c, v1alpha1.ConnectionPending, metav1.ConditionFalse, reason) }
	}
	for name, test := range map[string]struct {
		change func(c *v1alpha1.OAuthConnection)
		code   problem.Code
		reason string
		took   time.Duration
	}{
		"suspended": {func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true }, problem.ConnectionNotReady, v1alpha1.ReasonSuspended, 0},
		"a code in a Secret": {func(c *v1alpha1.OAuthConnection) {
			c.Spec.Grant.AuthorizationCode = &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: &v1alpha1.SecretKeyReference{Name: "code"}}
		}, problem.NoAuthorization, "", 0},
		"another grant":         {func(c *v1alpha1.OAuthConnection) { c.Spec.Grant.Type = v1alpha1.GrantRefreshToken }, problem.NoAuthorization, "", 0},
		"not allowed":           {told(v1alpha1.ReasonNotAllowed), problem.ConnectionNotReady, v1alpha1.ReasonNotAllowed, 0},
		"inputs":                {told(v1alpha1.ReasonInvalidInputs), problem.ConnectionNotReady, v1alpha1.ReasonInvalidInputs, 0},
		"application not ready": {told(v1alpha1.ReasonApplicationNotReady), problem.ConnectionNotReady, v1alpha1.ReasonApplicationNotReady, 10 * time.Second},
		"being deleted": {
			func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) }, problem.ConnectionNotReady,
			v1alpha1.ReasonDeleting, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.hold(janes, jane, test.change)
				a := w.request(jane, http.MethodPost, connect, code)
				w.refused(a, test.code, test.reason)
				if a.took != test.took || w.plane.sent != 0 {
					t.Errorf("it took %s, and %d messages were sent", a.took, w.plane.sent)
				}
			})
		})
	}
}

// No gateway is needed by those who bring a code.
func TestAuthorizeWithoutAGateway(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{v1alpha1.ReasonNoGateway, v1alpha1.ReasonPARRequired} {
		inWorld(t, func(w *world) {
			w.hold(janes, jane, func(c *v1alpha1.OAuthConnection) {
				says(c, v1alpha1.ConnectionPending, metav1.ConditionFalse, reason)
			})
			w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", active)
			if a := w.request(jane, http.MethodPost, connect, code); a.Code != http.StatusCreated {
				t.Errorf("%s: %d %s", reason, a.Code, a.Body)
			}
		})
	}
}

// The controller is away: after a while the code is left for it.
func TestTheControllerIsAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.plane.created = nil
		asked := time.Now()
		a := w.request(jane, http.MethodPost, connect, code)
		_, m := w.only()
		if a.Code != http.StatusAccepted || a.took != 30*time.Second || m.ReceivedAt.Sub(asked) != 10*time.Second {
			t.Errorf("after %s: %d %s; the message is of %s", a.took, a.Code, a.Body, m.ReceivedAt.Sub(asked))
		}
	})
}

// The application becomes ready while the caller waits.
func TestTheApplicationBecomesReady(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.plane.created = func(c *v1alpha1.OAuthConnection) {
			w.plane.change(c.UID, func(c *v1alpha1.OAuthConnection) {
				says(c, v1alpha1.ConnectionPending, metav1.ConditionFalse, v1alpha1.ReasonApplicationNotReady)
			})
			w.plane.later(4*time.Second, c.UID, func(c *v1alpha1.OAuthConnection) {
				says(c, v1alpha1.ConnectionAuthorizing, metav1.ConditionFalse, v1alpha1.ReasonAuthorizationRequired)
			})
		}
		w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", active)
		if a := w.request(jane, http.MethodPost, connect, code); a.Code != http.StatusCreated || a.took != 5*time.Second {
			t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
		}
	})
}

func TestItIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, c *v1alpha1.OAuthConnection){
		"marked": func(w *world, c *v1alpha1.OAuthConnection) {
			w.plane.change(c.UID, func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) })
		},
		"gone": func(w *world, c *v1alpha1.OAuthConnection) { w.plane.drop(client.ObjectKeyFromObject(c)) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c := w.hold(janes, jane, active)
				w.plane.told = func(pending.Message) { time.AfterFunc(time.Second, func() { end(w, c) }) }
				a := w.request(jane, http.MethodPost, connect, code)
				w.refused(a, problem.ConnectionNotReady, v1alpha1.ReasonDeleting)
				if a.took != time.Second {
					t.Errorf("it took %s", a.took)
				}
			})
		})
	}
}

// A message is tried to be written for some time, and its content shows in no error.
func TestTheMessageCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failures int
		err      error
		code     problem.Code // Empty: it was written in the end.
	}{
		"for a moment": {3, errors.New("no route to host"), ""},
		"lost answer":  {1, apierrors.NewTimeoutError("slow", 1), ""},
		"for long":     {1 << 20, errors.New("no route for SECRET-code to host"), problem.ClusterUnavailable},
		"never": {
			1 << 20, apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "SECRET-verifier", nil),
			problem.ClusterUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				left := test.failures
				w.plane.refuse = func(write string) error {
					if write != "create message" || left == 0 {
						return nil
					}
					left--
					return test.err
				}
				w.ends(0, v1alpha1.AuthorizationSucceeded, "", active)
				a := w.request(jane, http.MethodPost, connect, code)
				w.silent(a)
				switch {
				case test.code != "":
					w.refused(a, test.code, "")
				case a.Code != http.StatusCreated:
					t.Errorf("answered %d: %s", a.Code, a.Body)
				}
			})
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40<<10)
	for name, test := range map[string]struct {
		body  string
		words string
		code  problem.Code
	}{
		"nothing":                {" ", "JSON", problem.InvalidRequest},
		"no JSON":                {`code=x`, "JSON", problem.InvalidRequest},
		"a list":                 {`["code"]`, "JSON", problem.InvalidRequest},
		"null":                   {`null`, "JSON", problem.InvalidRequest},
		"cut off":                {`{"code":"SECRET"`, "JSON", problem.InvalidRequest},
		"two":                    {`{"code":"SECRET"}{}`, "JSON", problem.InvalidRequest},
		"no UTF-8":               {"{\"code\":\"SECRET\xff\"}", "JSON", problem.InvalidRequest},
		"empty":                  {`{}`, "code", problem.InvalidRequest},
		"neither":                {`{"shared":true}`, "refreshToken", problem.InvalidRequest},
		"both":                   {`{"code":"SECRET","refreshToken":"SECRET"}`, "refreshToken", problem.InvalidRequest},
		"a verifier alone":       {`{"refreshToken":"SECRET","codeVerifier":"SECRET"}`, "codeVerifier", problem.InvalidRequest},
		"a redirect alone":       {`{"refreshToken":"SECRET","redirectUri":"https://a.example"}`, "redirectUri", problem.InvalidRequest},
		"a relative redirect":    {`{"code":"SECRET","redirectUri":"/cb"}`, "redirectUri", problem.InvalidRequest},
		"an unknown member":      {`{"code":"SECRET","scope":"a"}`, `\"scope\"`, problem.InvalidRequest},
		"another case":           {`{"Code":"SECRET"}`, `\"Code\"`, problem.InvalidRequest},
		"twice":                  {`{"code":"SECRET","code":"SECRET2"}`, "code", problem.InvalidRequest},
		"a code that is none":    {`{"code":""}`, "code", problem.InvalidRequest},
		"a null":                 {`{"code":null}`, "code", problem.InvalidRequest},
		"a number":               {`{"code":7}`, "code", problem.InvalidRequest},
		"a null name":            {`{"code":"SECRET","displayName":null}`, "displayName", problem.InvalidRequest},
		"a name of numbers":      {`{"code":"SECRET","displayName":1}`, "displayName", problem.InvalidRequest},
		"shared in words":        {`{"code":"SECRET","shared":"yes"}`, "shared", problem.InvalidRequest},
		"scopes in one":          {`{"code":"SECRET","scopes":"a b"}`, "scopes", problem.InvalidRequest},
		"a null for scopes":      {`{"code":"SECRET","scopes":null}`, "scopes", problem.InvalidRequest},
		"a null among scopes":    {`{"code":"SECRET","scopes":["a",null]}`, "scopes", problem.InvalidRequest},
		"an empty scope":         {`{"code":"SECRET","scopes":[""]}`, "scopes", problem.InvalidRequest},
		"a scope twice":          {`{"code":"SECRET","scopes":["a","a"]}`, "scopes", problem.InvalidRequest},
		"too many scopes":        {`{"code":"SECRET","scopes":["` + strings.Repeat(`a","`, 100) + `b"]}`, "scopes", problem.InvalidRequest},
		"inputs in a list":       {`{"code":"SECRET","inputs":["a"]}`, "inputs", problem.InvalidRequest},
		"an input of numbers":    {`{"code":"SECRET","inputs":{"a":1}}`, "inputs", problem.InvalidRequest},
		"an input of nothing":    {`{"code":"SECRET","inputs":{"a":null}}`, "inputs", problem.InvalidRequest},
		"a long code":            {`{"code":"` + long + `"}`, "code", problem.InvalidRequest},
		"a long refresh token":   {`{"refreshToken":"` + long + `"}`, "refreshToken", problem.InvalidRequest},
		"a long verifier":        {`{"code":"SECRET","codeVerifier":"` + long + `"}`, "codeVerifier", problem.InvalidRequest},
		"a long redirect":        {`{"code":"SECRET","redirectUri":"https://a.example/` + long + `"}`, "redirectUri", problem.InvalidRequest},
		"a long name":            {`{"code":"SECRET","displayName":"` + strings.Repeat("ä", 257) + `"}`, "displayName", problem.InvalidRequest},
		"a long name of member":  {`{"` + long + `":"SECRET"}`, "there is no member", problem.InvalidRequest},
		"more than a body holds": {`{"code":"` + long + long + `"}`, "65536", problem.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.request(jane, http.MethodPost, connect, test.body)
				w.refused(a, test.code, "", test.words)
				w.silent(a)
				if a.Body.Len() > 1000 || len(w.plane.connections) > 0 {
					t.Errorf("%d bytes of answer, %d connections", a.Body.Len(), len(w.plane.connections))
				}
			})
		})
	}
}

// A request that is wrong in itself is answered alike whether or not there is such an integration.
func TestWrongRequestsTellNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.may = map[string]bool{}
		for _, test := range []struct {
			method, query, body string
			headers             []string
		}{
			{http.MethodPost, "", `{}`, nil},
			{http.MethodPost, "", `{"code":"SECRET","scopes":[""]}`, nil},
			{http.MethodPost, "", code, []string{"Content-Type: text/plain"}},
			{http.MethodPost, "", `{"code":"` + strings.Repeat("x", 70<<10) + `"}`, nil},
			{http.MethodPost, "", code, nil},
			{http.MethodGet, "?shared=maybe", "", nil},
			{http.MethodGet, "", "", nil},
		} {
			var answers [2]string
			for i, id := range []string{"application", "applicatiox"} {
				a := w.request("eve", test.method, "/api/integrations/"+id+"/connect"+test.query, test.body, test.headers...)
				answers[i] = fmt.Sprint(a.Code, a.Header(), a.Body)
			}
			if answers[0] != answers[1] {
				t.Errorf("%s %s of %d bytes: an integration that exists:\n%s\none that does not:\n%s", test.method, test.query, len(test.body), answers[0], answers[1])
			}
		}
	})
}

func TestTypesOfBodies(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain", "", "application/json; charset"} {
			w.refused(w.request(jane, http.MethodPost, connect, code, "Content-Type: "+kind), problem.UnsupportedMediaType, "")
		}
		w.ends(0, v1alpha1.AuthorizationSucceeded, "", active)
		if a := w.request(jane, http.MethodPost, connect, code, "Content-Type: application/json; charset=utf-8"); a.Code != http.StatusCreated {
			t.Errorf("answered %d: %s", a.Code, a.Body)
		}
	})
}

// The login of one code differs between connections, and between a code and a refresh token of the same text.
func TestLoginsDiffer(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.plane.told = func(m pending.Message) {
			w.plane.later(0, m.ConnectionUID, func(c *v1alpha1.OAuthConnection) {
				c.Status.LastAuthorization = &v1alpha1.LastAuthorization{ID: loginOf(m), Outcome: v1alpha1.AuthorizationFailed, Reason: "x"}
			})
		}
		for _, body := range []string{`{"code":"a"}`, `{"code":"b"}`, `{"refreshToken":"a"}`, `{"code":"a","shared":true}`} {
			w.refused(w.request(jane, http.MethodPost, connect, body), problem.AuthorizationRefused, "x")
		}
		logins := map[string]bool{}
		for _, m := range w.plane.messages {
			logins[loginOf(m)] = true
		}
		if len(logins) != 4 {
			t.Errorf("logins are %v", logins)
		}
	})
}
