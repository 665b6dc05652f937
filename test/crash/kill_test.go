// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// scenario is one thing that the program does with a credential that works once.
type scenario struct {
	// prepare brings the world to where the scenario begins, and returns the credential that will be sent. The program
	// runs afterwards, or is started by begin.
	prepare func(w *world) (credential string)
	begin   func(w *world)
	// done holds once the scenario has ended well.
	done func(w *world, before sight) func(sight) error
	// doubtful is what must come of it when the outcome of the call is not known. before is what was seen when the
	// process died.
	doubtful func(w *world, credential string, before sight)
}

// TestKillDuringExchange kills the program at each moment of a new connection's way from the code to the Secret.
func TestKillDuringExchange(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare:  func(w *world) string { return w.connect(connectionName) },
		begin:    func(w *world) { w.start() },
		done:     func(*world, sight) func(sight) error { return func(sight) error { return nil } },
		doubtful: (*world).doubtfulExchange,
	})
}

// TestKillDuringRefresh kills the program at each moment of a refresh, at a provider that kills the grant when it sees a
// refresh token twice.
func TestKillDuringRefresh(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) string {
			w.connect(connectionName)
			w.start()
			return w.await(connectionName, w.working).record.RefreshToken.Reveal()
		},
		begin: func(w *world) { w.request(connectionName, "first") },
		done: func(_ *world, before sight) func(sight) error {
			return func(s sight) error { return errors.Join(observed("first")(s), other(before.token)(s)) }
		},
		doubtful: (*world).doubtfulRefresh,
	})
}

// TestKillDuringImport kills the program at each moment of the import of a refresh token.
func TestKillDuringImport(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) string {
			refresh := w.grantByHand()
			w.create(w.secret(inputName, map[string]string{v1alpha1.DefaultRefreshTokenKey: refresh}),
				w.connection(connectionName, v1alpha1.GrantSpec{
					Type:         v1alpha1.GrantRefreshToken,
					RefreshToken: &v1alpha1.RefreshTokenGrant{SecretRef: v1alpha1.SecretKeyReference{Name: inputName}},
				}))
			return refresh
		},
		begin:    func(w *world) { w.start() },
		done:     func(*world, sight) func(sight) error { return func(sight) error { return nil } },
		doubtful: (*world).doubtfulImport,
	})
}

// everywhere runs a scenario once undisturbed, to learn its events, and then once for each of them with a kill there.
func everywhere(t *testing.T, s scenario) {
	events := undisturbed(t, s)
	for _, want := range []string{"record with mark", "record with outcome", "token Secret", "oauthconnections/status", "provider token"} {
		if !slices.ContainsFunc(events, func(e event) bool { return strings.Contains(e.what, want) }) {
			t.Fatalf("no %s among the events:\n%v", want, events)
		}
	}
	for _, e := range events {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			killAt(t, s, e)
		})
	}
}

func undisturbed(t *testing.T, s scenario) []event {
	t.Helper()
	w := newWorld(t, hostile.Options{})
	credential := s.prepare(w)
	before := w.mustLook()
	w.journal.arm(event{}, nil)
	s.begin(w)
	w.await(connectionName, w.working, s.done(w, before))
	w.finish()
	if uses := w.server.Uses(credential); uses != 1 {
		t.Fatalf("the credential was sent %d times", uses)
	}
	return w.journal.disarm()
}

// killAt runs a scenario, kills the program at an event, starts it again, and judges what comes of it.
func killAt(t *testing.T, s scenario, at event) {
	w := newWorld(t, hostile.Options{})
	credential := s.prepare(w)
	before, calls := w.mustLook(), w.server.Count(tokenRequests())
	w.journal.arm(at, func() { w.killIn(at) })
	s.begin(w)
	testenv.Eventually(t, patience, func() error {
		if w.journal.caught() {
			return nil
		}
		if !strings.HasSuffix(at.what, "/status") {
			return errors.New("want the event to happen")
		}
		// Patches of status may be fewer than in the run that the events are from: then the kill comes at the end.
		seen, err := w.look(connectionName)
		return errors.Join(err, w.working(seen), s.done(w, before)(seen))
	})
	w.journal.disarm()
	w.kill()
	w.settle()
	died := w.mustLook()
	sent := w.server.Uses(credential)
	marked := died.record != nil && died.record.Attempt != nil
	landed := died.record != nil && died.record.Held() && (before.record == nil || !died.record.AccessToken.Equal(before.record.AccessToken))
	switch {
	case sent > 1:
		t.Fatalf("the credential was sent %d times before the kill", sent)
	case sent == 1 && !landed && !marked:
		t.Fatal("the credential has been sent and there is no mark: after a restart it would be sent again")
	case landed && marked:
		t.Fatal("the outcome is written and the mark still stands")
	}
	w.start()
	if marked {
		s.doubtful(w, credential, died)
		w.finish()
		return
	}
	w.await(connectionName, w.working, s.done(w, before), w.passedAgain())
	w.finish()
	if uses, all := w.server.Uses(credential), w.server.Count(tokenRequests())-calls; uses != 1 || all != 1 {
		t.Errorf("the credential was sent %d times, of %d token requests", uses, all)
	}
	w.nothingTwice()
}

func tokenRequests() record.Filter { return record.Filter{Endpoint: record.Token} }

// killIn kills the program. A token request that had only just arrived is then dropped by the provider unprocessed, so
// that there are kills with the credential unspent and spent.
func (w *world) killIn(at event) {
	w.kill()
	if at.moment == string(hostile.Received) && strings.HasPrefix(at.what, "provider token") {
		w.server.Script(record.Filter{Endpoint: record.Token}, hostile.CloseBeforeProcessing())
	}
}

// unknown wants the record's mark to be settled as a call of unknown outcome.
func unknown(s sight) error {
	if s.record == nil || s.record.Attempt != nil {
		return errors.New("want a record whose mark has been settled")
	}
	return nil
}

// doubtfulExchange : the code is not sent again; a new one heals.
func (w *world) doubtfulExchange(code string, _ sight) {
	w.t.Helper()
	sent := w.server.Uses(code)
	w.await(connectionName, unknown, phase(v1alpha1.ConnectionInactive),
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonExchangeOutcomeUnknown),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionFalse, v1alpha1.ReasonExchangeOutcomeUnknown),
		func(s sight) error {
			if s.token != "" {
				return errors.New("want no token in a Secret")
			}
			return nil
		})
	w.replaceInput(w.newCode())
	w.await(connectionName, w.working)
	if uses := w.server.Uses(code); uses != sent || w.server.Reuse() != 0 {
		w.t.Errorf("the code was sent %d times, %d before the kill; reuse %d", uses, sent, w.server.Reuse())
	}
}

// doubtfulRefresh : the old token keeps serving, nothing is sent by itself, and a request sends it once more.
func (w *world) doubtfulRefresh(token string, before sight) {
	w.t.Helper()
	sent, spent := w.server.Uses(token), !w.server.Introspect(token)
	s := w.await(connectionName, unknown, phase(v1alpha1.ConnectionActive),
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown, v1alpha1.ReasonRefreshOutcomeUnknown))
	if s.token != before.token || !w.server.Introspect(s.token) {
		w.t.Error("the old access token does not serve any more")
	}
	if uses := w.server.Uses(token); uses != sent {
		w.t.Errorf("the refresh token was sent %d times, %d before the kill", uses, sent)
	}
	w.request(connectionName, "second")
	if spent {
		w.await(connectionName, observed("second"), refusedAsUnknown)
		w.counted(token, sent+1, 1)
		return
	}
	w.await(connectionName, observed("second"), w.working)
	w.counted(token, sent+1, 0)
}

// doubtfulImport : there is no token that could be lost by sending it again, so that happens at once.
func (w *world) doubtfulImport(token string, _ sight) {
	w.t.Helper()
	sent, spent := w.server.Uses(token), !w.server.Introspect(token)
	if spent {
		w.await(connectionName, refusedAsUnknown)
		w.counted(token, sent+1, 1)
		return
	}
	w.await(connectionName, w.working)
	w.counted(token, sent+1, 0)
}

// refusedAsUnknown wants the end of a refresh token that was sent once more and had been spent.
func refusedAsUnknown(s sight) error {
	return errors.Join(phase(v1alpha1.ConnectionInactive)(s),
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefreshOutcomeUnknown)(s),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionFalse, v1alpha1.ReasonRefreshOutcomeUnknown)(s))
}

func (w *world) counted(token string, uses, reuse int) {
	w.t.Helper()
	if got := w.server.Uses(token); got != uses {
		w.t.Errorf("the refresh token was sent %d times, want %d", got, uses)
	}
	if got := w.server.Reuse(); got != reuse {
		w.t.Errorf("%d credentials were reused, want %d", got, reuse)
	}
}

// grantByHand obtains a grant without the program, as a migration from another system brings it, and returns its refresh
// token.
func (w *world) grantByHand() string {
	w.t.Helper()
	data, c := w.newCode(), harness.DefaultClient()
	config := oauth2.Config{
		ClientID: c.ID, ClientSecret: c.Secret, RedirectURL: harness.DefaultRedirectURI,
		Endpoint: oauth2.Endpoint{TokenURL: w.server.URL + "/token"},
	}
	token, err := config.Exchange(w.t.Context(), data[v1alpha1.DefaultCodeKey], oauth2.VerifierOption(data[v1alpha1.DefaultCodeVerifierKey]))
	if err != nil {
		w.t.Fatalf("exchange a code by hand: %v", err)
	}
	return token.RefreshToken
}
