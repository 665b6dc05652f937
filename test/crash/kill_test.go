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

// scenario is one thing that the program does with a credential that works once, or with tokens that exist once.
type scenario struct {
	// shape changes the application; nil: it is as usual.
	shape func(*v1alpha1.OAuthApplicationSpec)
	// name of the connection that it is about; empty: connectionName.
	name string
	// prepare brings the world to where the scenario begins, and returns the credential that will be sent and what begins
	// it. The program runs afterwards, or is started by begin.
	prepare func(w *world) (credential string, begin func())
	// from is the first event to kill at: what comes before is another scenario's. Empty: all.
	from string
	// among are parts of what has to be among the events.
	among []string
	// done holds once the scenario has ended well.
	done func(w *world, before sight) func(sight) error
	// end is how the connection has to be then; nil: with everything that works.
	end func(*world, sight) error
	// landed tells whether the outcome of the call is in the record; nil: see sight.landed.
	landed func(before, died sight) bool
	// unmarked : the credential may be sent again, so the call is not marked.
	unmarked bool
	// resumed says what else has to hold at the end when no outcome was in doubt; nil: nothing.
	resumed func(w *world, before, died sight)
	// doubtful is what must come of it when the outcome of a marked call is not known. died is what was seen when the
	// process had died.
	doubtful func(w *world, credential string, died sight)
}

// TestKillDuringExchange kills the program at each moment of a new connection's way from the code to the Secret.
func TestKillDuringExchange(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare:  func(w *world) (string, func()) { return w.connect(connectionName), func() { w.start() } },
		among:    marked(),
		doubtful: (*world).doubtfulExchange,
	})
}

// TestKillDuringRefresh kills the program at each moment of a refresh, at a provider that kills the grant when it sees a
// refresh token twice.
func TestKillDuringRefresh(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) (string, func()) {
			refresh := w.connected().record.RefreshToken.Reveal()
			return refresh, func() { w.request(connectionName, "first") }
		},
		among: marked(),
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
		prepare: func(w *world) (string, func()) {
			refresh := w.grantByHand()
			w.create(w.secret(inputName, map[string]string{v1alpha1.DefaultRefreshTokenKey: refresh}),
				w.connection(connectionName, v1alpha1.GrantSpec{
					Type:         v1alpha1.GrantRefreshToken,
					RefreshToken: &v1alpha1.RefreshTokenGrant{SecretRef: v1alpha1.SecretKeyReference{Name: inputName}},
				}))
			return refresh, func() { w.start() }
		},
		among:    marked(),
		doubtful: (*world).doubtfulImport,
	})
}

// marked is what is among the events of a call that is marked.
func marked() []string {
	return []string{"record with mark", "record with outcome", "token Secret", "oauthconnections/status", "provider token"}
}

// everywhere runs a scenario once undisturbed, to learn its events, and then once for each of them with a kill there.
func everywhere(t *testing.T, s scenario) {
	if s.name == "" {
		s.name = connectionName
	}
	if s.done == nil {
		s.done = func(*world, sight) func(sight) error { return func(sight) error { return nil } }
	}
	if s.end == nil {
		s.end = (*world).working
	}
	if s.landed == nil {
		s.landed = func(before, died sight) bool { return died.landed(before) }
	}
	if s.resumed == nil {
		s.resumed = func(*world, sight, sight) {}
	}
	events := undisturbed(t, s)
	for _, want := range s.among {
		if !slices.ContainsFunc(events, func(e event) bool { return strings.Contains(e.what, want) }) {
			t.Fatalf("no %s among the events:\n%v", want, events)
		}
	}
	first := slices.IndexFunc(events, func(e event) bool { return s.from == "" || e.String() == s.from })
	if first < 0 {
		t.Fatalf("no %s among the events:\n%v", s.from, events)
	}
	for _, e := range events[first:] {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			killAt(t, s, e)
		})
	}
}

func undisturbed(t *testing.T, s scenario) []event {
	t.Helper()
	w := newWorld(t, hostile.Options{}, s.shape)
	_, begin := s.prepare(w)
	before, calls := w.glance(s.name), w.server.Count(tokenRequests())
	w.journal.arm(event{}, nil)
	begin()
	seen := w.await(s.name, w.ends(s), s.done(w, before))
	w.finish()
	s.resumed(w, before, seen)
	w.tellsNothing()
	if sent := w.server.Count(tokenRequests()) - calls; sent != 1 && !s.unmarked {
		t.Fatalf("there were %d token requests, want 1", sent)
	}
	return w.journal.disarm()
}

// killAt runs a scenario, kills the program at an event, starts it again, and judges what comes of it.
func killAt(t *testing.T, s scenario, at event) {
	w := newWorld(t, hostile.Options{}, s.shape)
	credential, begin := s.prepare(w)
	before, calls, issued := w.glance(s.name), w.server.Count(tokenRequests()), len(w.server.Issued())
	w.journal.arm(at, func() { w.killIn(at) })
	begin()
	w.awaitKill(s, at, before)
	died := w.glance(s.name)
	w.truthful(died)
	sent, landed := w.server.Count(tokenRequests())-calls, s.landed(before, died)
	if sent == 0 || landed {
		w.keeps(issued, died, w.glance(connectionName))
	}
	marked := died.record != nil && died.record.Attempt != nil
	if !s.unmarked {
		w.wellMarked(sent, marked, landed)
	}
	w.start()
	if marked {
		s.doubtful(w, credential, died)
		w.finish()
		w.tellsNothing()
		return
	}
	w.await(s.name, w.ends(s), s.done(w, before)) // First of all: a login is for the connection as it was.
	w.truthful(w.await(s.name, w.ends(s), s.done(w, before), w.passedAgain(s.name)))
	w.finish()
	if all := w.server.Count(tokenRequests()) - calls; all != 1 && !s.unmarked {
		t.Errorf("there were %d token requests, want 1", all)
	}
	s.resumed(w, before, died)
	w.nothingTwice()
	w.tellsNothing()
}

// ends wants the connection to be as a scenario leaves it.
func (w *world) ends(s scenario) func(sight) error {
	return func(seen sight) error { return s.end(w, seen) }
}

// wellMarked wants a mark from before a credential is sent until its outcome is written.
func (w *world) wellMarked(sent int, marked, landed bool) {
	w.t.Helper()
	switch {
	case sent > 1:
		w.t.Fatalf("the credential was sent %d times before the kill", sent)
	case sent == 1 && !landed && !marked:
		w.t.Fatal("the credential has been sent and there is no mark: after a restart it would be sent again")
	case landed && marked:
		w.t.Fatal("the outcome is written and the mark still stands")
	}
}

// awaitKill waits until the program has been killed at an event and nothing of it is under way any more. Some events may
// not happen again: status may be patched or a message emptied less often, or a person act sooner, than in the run that the
// events are from. Then the kill comes at the end.
func (w *world) awaitKill(s scenario, at event, before sight) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if w.journal.caught() {
			return nil
		}
		if !at.mayFail() {
			return errors.New("want the event to happen")
		}
		seen, err := w.look(s.name)
		if err == nil {
			err = s.end(w, seen)
		}
		if err == nil {
			err = s.done(w, before)(seen)
		}
		return err
	})
	w.journal.disarm()
	w.kill()
	w.settle()
}

// mayFail tells of events that another run need not have.
func (e event) mayFail() bool {
	return strings.HasSuffix(e.what, "/status") || strings.HasSuffix(e.what, hostile.DeviceCodeGrant) || e.what == "PUT message"
}

// landed tells whether the outcome of a call is in the record that was not there before.
func (s sight) landed(before sight) bool {
	if s.record == nil || (!s.record.Held() && s.record.Candidate == nil) {
		return false
	}
	return before.record == nil || !s.record.AccessToken.Equal(before.record.AccessToken) || s.record.SpentInput != before.record.SpentInput
}

// truthful wants a token that is called ready to be one that the provider accepts. Of a grant that the provider has ended the
// Secret goes first, and status is told after it.
func (w *world) truthful(s sight) {
	w.t.Helper()
	if s.record.Gone() {
		return
	}
	if condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady)(s) == nil && !w.server.Introspect(s.token) {
		w.t.Error("the provider does not accept the token that status calls ready")
	}
}

// keeps wants all refresh tokens that the provider has issued since then and still accepts to be in records: to be used, to be
// judged, or to be revoked some day.
func (w *world) keeps(since int, all ...sight) {
	w.t.Helper()
	var known []string
	for _, s := range all {
		if s.record == nil {
			continue
		}
		for _, secret := range s.record.Secrets() {
			known = append(known, secret.Reveal())
		}
	}
	for _, token := range w.server.Issued()[since:] {
		if strings.HasPrefix(token, "refresh-") && w.server.Introspect(token) && !slices.Contains(known, token) {
			w.t.Error("a refresh token that the provider accepts is in no record")
		}
	}
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
