// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"net/url"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	// onceGrant is a grant type whose parameter works once, ticketParameter that parameter.
	onceGrant, ticketParameter = "urn:test:params:oauth:grant-type:ticket", "ticket"
	// renewGrant exchanges an access token for a newer one, once; presentParameter carries it.
	renewGrant, presentParameter = "renew_token", "present_token"
	derivedName                  = "crm-derived"
)

// single accepts each value of a parameter once.
type single struct {
	parameter string
	mu        sync.Mutex
	// seen counts by value what has come, and accepted what was accepted.
	seen, accepted map[string]int
}

// onceOnly has the provider know a grant type whose parameter it accepts once.
func (w *world) onceOnly(grantType, parameter string) {
	o := &single{parameter: parameter, seen: map[string]int{}, accepted: map[string]int{}}
	w.single = o
	w.server.Extend(grantType, func(r hostile.ExtensionRequest) hostile.Approval {
		value := r.Form.Get(parameter)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.seen[value]++
		if value == "" || o.accepted[value] > 0 {
			return hostile.Approval{Error: "invalid_grant"}
		}
		o.accepted[value]++
		return hostile.Approval{Account: owner, Scope: scopeOf(r.Form)}
	})
}

// scopeOf is what was asked for, or else what every grant of these tests has.
func scopeOf(form url.Values) string {
	if asked := form.Get("scope"); asked != "" {
		return asked
	}
	return "api:read offline_access"
}

// spent tells whether the provider has accepted a value.
func (o *single) spent(value string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted[value] > 0
}

// neverTwice wants no value to be accepted twice, and none to be sent more often than said.
func (w *world) neverTwice(most int) {
	w.t.Helper()
	w.single.mu.Lock()
	defer w.single.mu.Unlock()
	for value, count := range w.single.seen {
		if accepted := w.single.accepted[value]; count > most || accepted > 1 {
			w.t.Errorf("a value of %s has come %d times, want at most %d, and was accepted %d times", w.single.parameter, count, most, accepted)
		}
	}
}

// ticket creates a connection whose grant is an extension with a parameter that works once.
func (w *world) ticket(value string) {
	w.t.Helper()
	w.onceOnly(onceGrant, ticketParameter)
	w.create(w.secret(inputName, map[string]string{ticketParameter: value}), w.connection(connectionName, v1alpha1.GrantSpec{
		Type: v1alpha1.GrantExtension,
		Extension: &v1alpha1.ExtensionGrant{GrantType: onceGrant, Parameters: []v1alpha1.ExtensionParameter{
			{Name: ticketParameter, SecretKeyRef: &v1alpha1.SecretKeyReference{Name: inputName, Key: ticketParameter}},
		}},
	}))
}

// TestKillDuringExtension kills the program at each moment from the mark of an extension's first request to the Secret.
func TestKillDuringExtension(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) (string, func()) {
			w.ticket("ticket-1")
			return "ticket-1", func() { w.start() }
		},
		from:     "POST record with mark #1 asked",
		among:    marked(),
		resumed:  func(w *world, _, _ sight) { w.neverTwice(1) },
		doubtful: (*world).doubtfulTicket,
	})
}

// TestKillDuringReissue kills the program at each moment from a new parameter for an extension that is held to the Secret.
func TestKillDuringReissue(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) (string, func()) {
			w.ticket("ticket-1")
			w.start()
			w.await(connectionName, w.working)
			return "ticket-2", func() { w.replaceInput(map[string]string{ticketParameter: "ticket-2"}) }
		},
		among: marked(),
		done: func(w *world, before sight) func(sight) error {
			return func(s sight) error { return errors.Join(other(before.token)(s), w.leftBehind(before.token)(s)) }
		},
		resumed:  func(w *world, _, _ sight) { w.neverTwice(1) },
		doubtful: (*world).doubtfulTicket,
	})
}

// leftBehind wants an access token that nothing else ends to be kept, so that a deletion revokes it.
func (w *world) leftBehind(token string) func(sight) error {
	return func(s sight) error {
		if s.record.Previous.Reveal() != token {
			return errors.New("want the access token before among those to be revoked")
		}
		return nil
	}
}

// doubtfulTicket : a token that was never seen is not lost by sending the parameter again, so that happens at once; a new
// parameter heals.
func (w *world) doubtfulTicket(value string, died sight) {
	w.t.Helper()
	requests := record.Filter{Endpoint: record.Token, GrantType: onceGrant}
	sent, spent := w.server.Count(requests), w.single.spent(value)
	if spent {
		w.await(connectionName, refusedAsUnknown)
	} else {
		w.await(connectionName, w.working, other(died.token))
	}
	if calls := w.server.Count(requests); calls != sent+1 {
		w.t.Errorf("the parameter was sent %d times more, want once", calls-sent)
	}
	if spent {
		if w.mustLook().token != died.token {
			w.t.Error("the token in the Secret has changed")
		}
		w.replaceInput(map[string]string{ticketParameter: "ticket-3"})
		w.await(connectionName, w.working, other(died.token))
	}
	w.neverTwice(2)
}

// renews makes the program exchange access tokens for newer ones.
func renews(spec *v1alpha1.OAuthApplicationSpec) {
	spec.TokenRequest = &v1alpha1.TokenRequestSpec{
		Refresh: &v1alpha1.RefreshRequestSpec{GrantType: renewGrant, AccessTokenParameter: presentParameter},
	}
}

// TestKillDuringRenewal kills the program at each moment of a refresh that exchanges the access token, at a provider that
// exchanges each one once.
func TestKillDuringRenewal(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape: renews,
		prepare: func(w *world) (string, func()) {
			w.bearers = true
			w.server.SetAccount(owner, hostile.Account{NoRefreshToken: true})
			w.onceOnly(renewGrant, presentParameter)
			return w.connected().token, func() { w.request(connectionName, "first") }
		},
		among: marked(),
		done: func(w *world, before sight) func(sight) error {
			return func(s sight) error {
				return errors.Join(observed("first")(s), other(before.token)(s), w.leftBehind(before.token)(s))
			}
		},
		resumed:  func(w *world, _, _ sight) { w.neverTwice(1) },
		doubtful: (*world).doubtfulRenewal,
	})
}

// doubtfulRenewal : like doubtfulRefresh, for a provider that may have exchanged the access token.
func (w *world) doubtfulRenewal(token string, died sight) {
	w.t.Helper()
	requests := record.Filter{Endpoint: record.Token, GrantType: renewGrant}
	sent, spent := w.server.Count(requests), w.single.spent(token)
	s := w.await(connectionName, unknown, phase(v1alpha1.ConnectionActive),
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown, v1alpha1.ReasonRefreshOutcomeUnknown))
	w.truthful(s)
	if s.token != died.token || w.server.Count(requests) != sent {
		w.t.Error("the old access token does not serve any more, or was sent again")
	}
	w.request(connectionName, "second")
	if spent {
		w.await(connectionName, observed("second"), refusedAsUnknown)
	} else {
		w.await(connectionName, observed("second"), w.working, other(died.token))
	}
	if calls := w.server.Count(requests); calls != sent+1 {
		w.t.Errorf("the access token was sent %d times more, want once", calls-sent)
	}
	w.neverTwice(2)
}

// derive creates a connection whose token is exchanged for the other one's.
func (w *world) derive() {
	w.t.Helper()
	w.create(w.connection(derivedName, v1alpha1.GrantSpec{
		Type: v1alpha1.GrantTokenExchange,
		TokenExchange: &v1alpha1.TokenExchangeGrant{
			SubjectToken: v1alpha1.TokenSource{ConnectionRef: &v1alpha1.ConnectionReference{Name: connectionName}},
		},
	}))
}

// TestKillDuringTokenExchange kills the program at each moment of a new connection that gets its token for another one's.
func TestKillDuringTokenExchange(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		name:     derivedName,
		prepare:  func(w *world) (string, func()) { w.connected(); return "", w.derive },
		among:    []string{"provider token " + hostile.TokenExchangeGrant, "record with outcome", "token Secret", "oauthconnections/status"},
		done:     func(w *world, _ sight) func(sight) error { return w.exchangedNow },
		unmarked: true,
		resumed:  func(w *world, before, died sight) { w.exchanged(0, before, died) },
	})
}

// TestKillDuringReexchange kills the program at each moment from a new token of the connection that another one's is
// exchanged for to that one's Secret.
func TestKillDuringReexchange(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		name: derivedName,
		prepare: func(w *world) (string, func()) {
			w.connected()
			w.derive()
			w.await(derivedName, w.working)
			return "", func() { w.request(connectionName, "first") }
		},
		from:  "PUT record with outcome #1 accepted",
		among: []string{"provider token " + hostile.TokenExchangeGrant, "record with outcome", "token Secret", "oauthconnections/status"},
		done: func(w *world, before sight) func(sight) error {
			return func(s sight) error {
				source, err := w.look(connectionName)
				return errors.Join(err, observed("first")(source), other(before.token)(s), w.leftBehind(before.token)(s), w.exchangedNow(s))
			}
		},
		unmarked: true,
		resumed: func(w *world, before, died sight) {
			w.exchanged(1, before, died)
			if calls := w.server.Count(refreshes()); calls != 1 {
				w.t.Errorf("there were %d refreshes, want 1", calls)
			}
		},
	})
}

// exchangedNow wants the last token of the exchange to be made of the other connection's present one.
func (w *world) exchangedNow(sight) error {
	source, err := w.look(connectionName)
	if err != nil {
		return err
	}
	all := w.exchanges()
	if len(all) == 0 || !slices.Contains(all[len(all)-1].Params["subject_token"], record.Hash(source.token)) {
		return errors.New("want a token that was exchanged for the other connection's present one")
	}
	return nil
}

func (w *world) exchanges() []record.Request {
	return w.server.Requests(record.Filter{Endpoint: record.Token, GrantType: hostile.TokenExchangeGrant})
}

// exchanged wants one exchange besides those before, and one more only where the kill came before its outcome was written.
func (w *world) exchanged(earlier int, before, died sight) {
	w.t.Helper()
	most := earlier + 1
	if !died.landed(before) {
		most++
	}
	if calls := len(w.exchanges()); calls > most {
		w.t.Errorf("there were %d exchanges, want at most %d", calls, most)
	}
}
