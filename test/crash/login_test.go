// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
)

// gatewayURL is the address of a gateway that these tests play: they leave the messages that it would.
const (
	gatewayURL  = "https://oauth.example.com"
	callbackURL = gatewayURL + v1alpha1.PathCallback
)

// login is one way of a person to the provider and back.
type login struct {
	id, code, verifier string
	connection         string
}

// throughGateway has codes come by the gateway.
func throughGateway(spec *v1alpha1.OAuthApplicationSpec) { spec.RedirectURL = "" }

// TestKillDuringLogin kills the program at each moment from a person's return to the Secret.
func TestKillDuringLogin(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape: throughGateway,
		prepare: func(w *world) (string, func()) {
			w.awaitsPerson(connectionName)
			w.start()
			w.await(connectionName, linked)
			l := w.login(connectionName, owner)
			return l.code, func() { w.returns(l) }
		},
		among: append(marked(), "PUT message"),
		done: func(w *world, _ sight) func(sight) error {
			return func(s sight) error { return errors.Join(w.succeeded(s), w.taken()) }
		},
		doubtful: (*world).doubtfulLogin,
	})
}

// TestKillDuringLoginAgain kills the program at each moment from the return of a person who has consented to more scopes to
// the new grant in place of the one that is held.
func TestKillDuringLoginAgain(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape:   atAccounts,
		prepare: func(w *world) (string, func()) { return w.loginAgain(owner) },
		among:   append(marked(), "record with candidate", "provider userinfo", "PUT message"),
		done: func(w *world, before sight) func(sight) error {
			return func(s sight) error { return errors.Join(replaced(w, before)(s), w.succeeded(s), w.taken()) }
		},
		resumed:  func(w *world, _, died sight) { w.lookedUp(1, died) },
		doubtful: (*world).doubtfulLoginAgain,
	})
}

// TestKillDuringLoginOfStranger kills the program at each moment of refusing a person of another account, from the first
// write on.
func TestKillDuringLoginOfStranger(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape:   atAccounts,
		prepare: func(w *world) (string, func()) { return w.loginAgain(stranger) },
		from:    "PUT record with candidate #1 accepted",
		among:   []string{"record with refused candidate", "provider revoke", "PUT message"},
		done: func(w *world, before sight) func(sight) error {
			return func(s sight) error {
				last := v1alpha1.LastAuthorization{Outcome: v1alpha1.AuthorizationFailed, Reason: v1alpha1.ReasonAccountMismatch}
				return errors.Join(refused(w, before)(s), w.concluded(last)(s), w.taken())
			}
		},
		resumed: func(w *world, _, died sight) {
			w.lookedUp(1, died)
			w.onlyOwner()
		},
	})
}

// TestKillDuringDenial kills the program at each moment of taking down that a person has refused.
func TestKillDuringDenial(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape: throughGateway,
		prepare: func(w *world) (string, func()) {
			w.awaitsPerson(connectionName)
			w.start()
			w.await(connectionName, linked)
			l := w.login(connectionName, owner)
			m := w.message(l)
			m.Response.Code, m.Response.Verifier = sensitive.String{}, sensitive.String{}
			m.Response.Reason, m.Response.Message = v1alpha1.ReasonAccessDenied, "the provider answered access_denied"
			return "", func() { w.leave(m) }
		},
		among: []string{"record with outcome", "oauthconnections/status", "PUT message"},
		end:   func(_ *world, s sight) error { return linked(s) },
		done: func(w *world, _ sight) func(sight) error {
			last := v1alpha1.LastAuthorization{Outcome: v1alpha1.AuthorizationFailed, Reason: v1alpha1.ReasonAccessDenied}
			return func(s sight) error { return errors.Join(w.concluded(last)(s), w.taken()) }
		},
		unmarked: true,
		resumed: func(w *world, _, _ sight) {
			if calls := w.server.Count(tokenRequests()); calls != 0 {
				w.t.Errorf("there were %d token requests for a person who has refused", calls)
			}
		},
	})
}

// TestKillDuringDeauthorization kills the program at each moment from a provider's report that a grant has ended to the end of
// that grant.
func TestKillDuringDeauthorization(t *testing.T) {
	t.Parallel()
	ended := hostile.OAuthError(400, "invalid_grant") // For the refresh token alone: the access token works until it expires.
	everywhere(t, scenario{
		prepare: func(w *world) (string, func()) {
			refresh := w.connected().record.RefreshToken.Reveal()
			w.server.Always(refreshes(), ended)
			m := w.report("event-1")
			return refresh, func() { w.leave(m) }
		},
		among: []string{
			"record with report", "record with mark", "provider token refresh_token", "record with outcome", "DELETE Secret",
			"oauthconnections/status", "PUT message",
		},
		end:      func(w *world, s sight) error { return errors.Join(deauthorized(s), w.taken()) },
		landed:   func(_, died sight) bool { return died.record.Standing != nil },
		doubtful: (*world).doubtfulDeauthorization,
	})
}

// TestLoginWhileAway has a person come back while no controller runs.
func TestLoginWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hostile.Options{}, throughGateway)
	w.awaitsPerson(connectionName)
	w.start()
	w.await(connectionName, linked)
	w.kill()
	w.returns(w.login(connectionName, owner))
	w.start()
	w.await(connectionName, w.working, w.succeeded, func(sight) error { return w.taken() })
	w.finish()
	w.nothingTwice()
	w.tellsNothing()
}

// TestKillAgainDuringLogin kills the program in the middle of settling what its first crash has left of a login.
func TestKillAgainDuringLogin(t *testing.T) {
	t.Parallel()
	for _, second := range []event{
		{what: "PUT record with outcome", moment: asked, nth: 1},
		{what: "PUT record with outcome", moment: accepted, nth: 1},
		{what: "PATCH oauthconnections/status", moment: asked, nth: 1},
		{what: "PUT message", moment: asked, nth: 1},
	} {
		t.Run(second.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, hostile.Options{}, throughGateway)
			w.awaitsPerson(connectionName)
			w.start()
			w.await(connectionName, linked)
			l := w.login(connectionName, owner)
			first := event{what: "provider token authorization_code", moment: string(hostile.Processed), nth: 1}
			w.killOn(first, func() { w.returns(l) })
			w.killOn(second, func() { w.start() })
			w.start()
			w.doubtfulLogin(l.code, sight{})
			w.finish()
			w.nothingTwice()
			w.tellsNothing()
		})
	}
}

// atAccounts has codes come by the gateway, from a provider that tells whose they are.
func atAccounts(spec *v1alpha1.OAuthApplicationSpec) {
	throughGateway(spec)
	asksUserInfo(spec)
}

// awaitsPerson creates a connection that a person has to authorize.
func (w *world) awaitsPerson(name string) {
	w.t.Helper()
	w.create(w.connection(name, v1alpha1.GrantSpec{}))
}

// login goes to the provider with an account, and has not come back yet.
func (w *world) login(name, account string) login {
	w.t.Helper()
	c := &v1alpha1.OAuthConnection{}
	if err := w.get(name, c); err != nil {
		w.t.Fatal(err)
	}
	scopes := []string{"api:read", "offline_access"}
	if len(c.Spec.Scopes) > 0 {
		scopes = strings.Fields(strings.Trim(fmt.Sprint(c.Spec.Scopes), "[]"))
	}
	code, verifier, err := w.server.NewCodeFor(account, harness.DefaultClient().ID, callbackURL, scopes, "")
	if err != nil {
		w.t.Fatal(err)
	}
	l := login{id: fmt.Sprintf("login-%d", len(w.logins)+1), code: code, verifier: verifier, connection: name}
	w.logins = append(w.logins, l)
	return l
}

// message is what a gateway says of a login, of the connection as it is now.
func (w *world) message(l login) pending.Message {
	w.t.Helper()
	m := w.about(l.connection)
	c := &v1alpha1.OAuthConnection{}
	if err := w.get(l.connection, c); err != nil {
		w.t.Fatal(err)
	}
	m.Response = &pending.Response{
		Login: l.id, Generation: c.Generation, Code: sensitive.New(l.code), Verifier: sensitive.New(l.verifier), RedirectURL: callbackURL,
	}
	return m
}

// report is what a gateway says of a provider's event.
func (w *world) report(event string) pending.Message {
	w.t.Helper()
	m := w.about(connectionName)
	m.Hint = &pending.Hint{ID: event, EventType: "grant.revoked", At: time.Now()}
	return m
}

func (w *world) about(name string) pending.Message {
	w.t.Helper()
	c, app := &v1alpha1.OAuthConnection{}, &v1alpha1.OAuthApplication{}
	if err := errors.Join(w.get(name, c), w.get("crm", app)); err != nil {
		w.t.Fatal(err)
	}
	return pending.Message{
		Connection: client.ObjectKeyFromObject(c), ConnectionUID: c.UID,
		Application: client.ObjectKeyFromObject(app), ApplicationUID: app.UID,
		ReceivedAt: time.Now(), KeepUntil: time.Now().Add(time.Hour),
	}
}

// returns has a person come back.
func (w *world) returns(l login) {
	w.t.Helper()
	w.leave(w.message(l))
}

// leave writes a message as a gateway would.
func (w *world) leave(m pending.Message) {
	w.t.Helper()
	about := "event"
	if m.Response != nil {
		about = m.Response.Login
	}
	secret, err := pending.Encode(w.operator, pending.Name(m.Kind(), about), m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(secret)
}

// loginAgain has the program hold a grant of the owner's that lacks a scope. It returns the code of a person who consents
// to it with an account, and what brings them back.
func (w *world) loginAgain(account string) (code string, begin func()) {
	w.t.Helper()
	w.awaitsPerson(connectionName)
	w.start()
	w.await(connectionName, linked)
	w.returns(w.login(connectionName, owner))
	w.await(connectionName, w.working, ownersGrant, w.succeeded)
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: connectionName}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"scopes":["api:read","api:write","offline_access"]}}`))
	if err := plane.Client().Patch(w.t.Context(), c, patch); err != nil {
		w.t.Fatal(err)
	}
	w.await(connectionName, linked)
	l := w.login(connectionName, account)
	return l.code, func() { w.returns(l) }
}

// linked wants a link for a person, made for the connection as it is.
func linked(s sight) error {
	if s.connection.Status.ObservedGeneration != s.connection.Generation {
		return errors.New("want the program to have seen the connection as it is")
	}
	if _, err := ticket.Check(s.connection, ticket.Of(s.connection), time.Now()); err != nil {
		return fmt.Errorf("want a link that is good: %w", err)
	}
	return nil
}

// concluded wants status to say how the last login of all has ended.
func (w *world) concluded(want v1alpha1.LastAuthorization) func(sight) error {
	id := w.logins[len(w.logins)-1].id
	return func(s sight) error {
		last := s.connection.Status.LastAuthorization
		if last == nil || last.ID != id || last.Outcome != want.Outcome || last.Reason != want.Reason {
			return fmt.Errorf("want %s to end %s %s; the last one is %+v", id, want.Outcome, want.Reason, last)
		}
		return nil
	}
}

// succeeded wants the last login to have brought the grant.
func (w *world) succeeded(s sight) error {
	return w.concluded(v1alpha1.LastAuthorization{Outcome: v1alpha1.AuthorizationSucceeded})(s)
}

// taken wants all messages to be empty.
func (w *world) taken() error {
	var list corev1.SecretList
	if err := plane.Client().List(context.Background(), &list, client.InNamespace(w.operator)); err != nil {
		return err
	}
	for i := range list.Items {
		if message := &list.Items[i]; pending.Is(message) && !pending.Emptied(message) {
			return fmt.Errorf("want message %s to be empty", client.ObjectKeyFromObject(message))
		}
	}
	return nil
}

// deauthorized wants the grant to be over by the provider's own report, and its Secret to be gone.
func deauthorized(s sight) error {
	if s.token != "" {
		return errors.New("want no token in a Secret")
	}
	return errors.Join(phase(v1alpha1.ConnectionDeleted)(s),
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeauthorized)(s))
}

// doubtfulLogin : the person is told, the code is not sent again, and the next login heals.
func (w *world) doubtfulLogin(code string, _ sight) {
	w.t.Helper()
	sent := w.server.Uses(code)
	unclear := v1alpha1.LastAuthorization{Outcome: v1alpha1.AuthorizationUnknown, Reason: v1alpha1.ReasonExchangeOutcomeUnknown}
	w.await(connectionName, unknown, w.concluded(unclear), linked, func(s sight) error {
		if s.token != "" {
			return errors.New("want no token in a Secret")
		}
		return w.taken()
	})
	w.returns(w.login(connectionName, owner))
	w.await(connectionName, w.working, w.succeeded, func(sight) error { return w.taken() })
	if uses := w.server.Uses(code); uses != sent || w.server.Reuse() != 0 {
		w.t.Errorf("the code was sent %d times, %d before the kill; reuse %d", uses, sent, w.server.Reuse())
	}
}

// doubtfulLoginAgain : the old grant goes on, the person is told, the code is not sent again, and the next login heals.
func (w *world) doubtfulLoginAgain(code string, died sight) {
	w.t.Helper()
	sent := w.server.Uses(code)
	unclear := v1alpha1.LastAuthorization{Outcome: v1alpha1.AuthorizationUnknown, Reason: v1alpha1.ReasonExchangeOutcomeUnknown}
	s := w.await(connectionName, unknown, w.working, w.concluded(unclear), linked, func(sight) error { return w.taken() })
	if s.token != died.token || !s.record.RefreshToken.Equal(died.record.RefreshToken) {
		w.t.Error("the old grant is not in place")
	}
	w.returns(w.login(connectionName, owner))
	w.await(connectionName, w.working, replaced(w, s), w.succeeded, func(sight) error { return w.taken() })
	if uses := w.server.Uses(code); uses != sent {
		w.t.Errorf("the code was sent %d times, %d before the kill", uses, sent)
	}
	w.nothingTwice()
}

// doubtfulDeauthorization : as for every refresh of unknown outcome, the token is not sent again by itself while the access
// token may work; a request sends it once more, and the report has not been forgotten.
func (w *world) doubtfulDeauthorization(token string, died sight) {
	w.t.Helper()
	sent := w.server.Uses(token)
	s := w.await(connectionName, unknown, phase(v1alpha1.ConnectionActive),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown, v1alpha1.ReasonRefreshOutcomeUnknown),
		func(sight) error { return w.taken() })
	if s.token != died.token || w.server.Uses(token) != sent {
		w.t.Error("the access token was taken away, or the refresh token was sent again")
	}
	w.request(connectionName, "second")
	w.await(connectionName, observed("second"), deauthorized)
	if uses := w.server.Uses(token); uses != sent+1 {
		w.t.Errorf("the refresh token was sent %d times, want %d", uses, sent+1)
	}
}

// tellsNothing wants no token, code or verifier in what the program has said, nor in what people can read.
func (w *world) tellsNothing() {
	w.t.Helper()
	secrets := w.server.Issued()
	for _, l := range w.logins {
		secrets = append(secrets, l.verifier)
	}
	for where, text := range w.told() {
		for _, secret := range secrets {
			if secret != "" && bytes.Contains(text, []byte(secret)) {
				w.t.Errorf("a secret of %d characters is in %s", len(secret), where)
			}
		}
	}
}

// told is what the program has written where anybody may read it.
func (w *world) told() map[string][]byte {
	w.t.Helper()
	told := map[string][]byte{}
	for i, p := range w.launched {
		told[fmt.Sprintf("the output of process %d", i)] = []byte(p.output.String())
	}
	for where, list := range map[string]client.ObjectList{
		"events": &corev1.EventList{}, "connections": &v1alpha1.OAuthConnectionList{}, "applications": &v1alpha1.OAuthApplicationList{},
	} {
		err := plane.Client().List(w.t.Context(), list, client.InNamespace(w.namespace))
		content, encodeErr := json.Marshal(list)
		if err := errors.Join(err, encodeErr); err != nil {
			w.t.Fatal(err)
		}
		told[where] = content
	}
	return told
}
