// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	// slowest is how long the provider takes for a token at most.
	slowest = 600 * time.Millisecond
	// Of so many connections one gets two people at once, and of so many people one denies.
	pairEvery, denyEvery = 10, 20
)

// TestLoginsThroughCrashes has people log in at gateways and controllers that are killed meanwhile. Each of them must end with
// a token that works or with a page that says how it is; what was handed over has an outcome in status; no code is sent twice.
func TestLoginsThroughCrashes(t *testing.T) {
	w := newWorld(t, slowest)
	news := w.follow()
	groups := w.invite(*people)
	var begun atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(*people)*time.Second)
	defer cancel()
	var havoc sync.WaitGroup
	havoc.Go(func() { w.havoc(ctx, &begun) })
	started := time.Now()
	w.crowd(ctx, groups, *atOnce, &begun)
	havoc.Wait()
	took := time.Since(started)
	testenv.Eventually(t, patience, w.allTaken)
	w.report(groups, took)
	w.judge(groups, news)
}

// invite creates connections and the people for them.
func (w *world) invite(people int) [][]*visitor {
	pairs := people / (pairEvery + 1)
	names := w.createConnections("crm", people-pairs)
	var groups [][]*visitor
	number := 0
	for i, name := range names {
		group := []*visitor{w.newVisitor(name, number)}
		if number++; i < pairs {
			group = append(group, w.newVisitor(name, number))
			number++
		}
		for _, v := range group {
			v.denies = w.dice.below(denyEvery) == 0
		}
		groups = append(groups, group)
	}
	var shuffled [][]*visitor
	for _, i := range w.dice.perm(len(groups)) {
		shuffled = append(shuffled, groups[i])
	}
	return shuffled
}

// havoc kills processes when certain numbers of people have gone to the provider, and starts them again.
func (w *world) havoc(ctx context.Context, begun *atomic.Int64) {
	type blow struct {
		after int64
		whom  func() (*replica, error)
	}
	var blows []blow
	plan := func(count int, whom func() (*replica, error)) {
		for range count {
			blows = append(blows, blow{after: int64(*people/10 + w.dice.below(*people*6/10)), whom: whom})
		}
	}
	plan(*leaders, func() (*replica, error) { leads, _, err := w.leader(); return leads, err })
	plan(*standbys, func() (*replica, error) { _, other, err := w.leader(); return other, err })
	for i := range *gateways {
		plan(1, func() (*replica, error) { return w.gateways[i%len(w.gateways)], nil })
	}
	slices.SortFunc(blows, func(a, b blow) int { return int(a.after - b.after) })
	for _, next := range blows {
		var whom *replica
		err := testenv.Wait(ctx, func() (err error) {
			if begun.Load() < next.after {
				return fmt.Errorf("%d people have begun", begun.Load())
			}
			whom, err = next.whom()
			return err
		})
		if err != nil {
			w.t.Errorf("wait to kill a process: %v", err)
			return
		}
		w.t.Logf("killing %s when %d people have begun", whom.name, begun.Load())
		w.crash(whom)
		w.restart(whom)
	}
}

// allTaken wants every message to be empty.
func (w *world) allTaken() error {
	list, err := w.messages()
	for i := range list {
		if !pending.Emptied(&list[i]) {
			return fmt.Errorf("message %s still holds what it said", list[i].Name)
		}
	}
	return err
}

// messages are those about connections of this world.
func (w *world) messages() ([]corev1.Secret, error) {
	var list corev1.SecretList
	err := shared.plane.Client().List(context.Background(), &list, client.InNamespace(testenv.OperatorNamespace),
		client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending})
	list.Items = slices.DeleteFunc(list.Items, func(s corev1.Secret) bool {
		return !strings.HasPrefix(s.Annotations[pending.AnnotationConnection], w.namespace+"/")
	})
	return list.Items, err
}

// news are the outcomes of logins as an observer of connections sees them.
type news struct {
	mu       sync.Mutex
	outcomes map[string]v1alpha1.LastAuthorization
}

func (n *news) of(login string) (v1alpha1.LastAuthorization, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	outcome, ok := n.outcomes[login]
	return outcome, ok
}

// follow watches the connections until the test ends.
func (w *world) follow() *news {
	w.t.Helper()
	n := &news{outcomes: map[string]v1alpha1.LastAuthorization{}}
	watching, err := client.NewWithWatch(shared.plane.Config, client.Options{Scheme: shared.plane.Scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := watching.Watch(w.t.Context(), &v1alpha1.OAuthConnectionList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(events.Stop)
	go func() {
		for event := range events.ResultChan() {
			if c, ok := event.Object.(*v1alpha1.OAuthConnection); ok && c.Status.LastAuthorization != nil {
				n.mu.Lock()
				n.outcomes[c.Status.LastAuthorization.ID] = *c.Status.LastAuthorization
				n.mu.Unlock()
			}
		}
	}()
	return n
}

// report shows what has happened.
func (w *world) report(groups [][]*visitor, took time.Duration) {
	w.t.Helper()
	counts, reloads, looks := map[string]int{}, 0, 0
	var waits []time.Duration
	for _, group := range groups {
		for _, v := range group {
			said := "page " + string(v.kind)
			if v.kind == "" {
				said = "no page of the gateway"
			}
			if v.denies {
				said += ", by one who denied"
			}
			counts[said]++
			reloads, looks = reloads+v.reloads, looks+v.looks
			if !v.returned.IsZero() {
				waits = append(waits, v.shown.Sub(v.returned).Round(time.Millisecond))
			}
		}
	}
	w.t.Logf("%d people in %s: %v", *people, took.Round(time.Second), counts)
	slices.Sort(waits)
	w.t.Logf("from the return to the page that stays: p50 %s, p90 %s, longest %s", at(waits, 0.5), at(waits, 0.9), at(waits, 1))
	for _, r := range append(w.controllers, w.gateways...) {
		w.t.Logf("%s was killed %d times", r.name, r.kills)
	}
	w.front.mu.Lock()
	defer w.front.mu.Unlock()
	w.t.Logf("the front sent %d requests on to the other gateway, %d of which the first may have served, and left %d unanswered",
		w.front.elsewhere, w.front.repeated, w.front.broken)
	w.t.Logf("people tried again %d times because nobody answered, and looked again %d times because the controller was away", reloads, looks)
}

// judge looks at how it has ended for everybody.
func (w *world) judge(groups [][]*visitor, n *news) {
	w.t.Helper()
	sealer := seal.New(keyset.NewDir(w.keys, logr.Discard()), clock.RealClock{})
	handed := map[string]bool{}
	list, err := w.messages()
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range list {
		handed[list[i].Name] = true
	}
	for _, group := range groups {
		for _, v := range group {
			if err := w.ended(v, len(group) > 1); err != nil {
				w.t.Errorf("somebody at %s: %v", v.connection, err)
			}
			if err := w.told(v, sealer, handed, n); err != nil {
				w.t.Errorf("somebody at %s, who saw %s: %v", v.connection, v.kind, err)
			}
		}
	}
	for _, group := range groups {
		if err := w.goesOn(group[0].connection); err != nil {
			w.t.Error(err)
		}
	}
	if most, reuse := w.provider.MaxUses(), w.provider.Reuse(); most > 1 || reuse != 0 {
		w.t.Errorf("a credential was sent %d times; %d were reused", most, reuse)
	}
	w.silent(groups)
}

// ended wants a person to be left with a token that works, or with a page that says how it is.
func (w *world) ended(v *visitor, together bool) error {
	if v.err != nil {
		return v.err
	}
	switch v.kind { //nolint:exhaustive // all others are not expected
	case pages.Success:
		token, err := w.token(v.connection)
		switch {
		case err != nil:
			return err
		case v.denies:
			return errors.New("they have denied, and were told of a success")
		case token == "" || !w.provider.Introspect(token):
			return errors.New("they were told of a success, and the Secret holds no token that works")
		}
		return nil
	case pages.Denied:
		if !v.denies {
			return errors.New("they were told that they had denied")
		}
		return nil
	case pages.Failed, pages.Replayed:
		return nil // Whether that is true is for told to find out.
	case pages.Superseded, pages.LinkInvalid, pages.NotNeeded:
		if !together {
			return fmt.Errorf("they saw %s, and nobody was there but them", v.kind)
		}
		return nil
	}
	return fmt.Errorf("they saw %q (%s)", v.kind, v.login.Page)
}

// goesOn wants a connection to hold a token that works, or to have a link for whoever tries again.
func (w *world) goesOn(name string) error {
	token, err := w.token(name)
	if err != nil || (token != "" && w.provider.Introspect(token)) {
		return err
	}
	c, err := w.get(name)
	if err == nil && c.Status.AuthorizationURL == "" {
		err = fmt.Errorf("%s has no token that works, and no link to try again: %+v", name, c.Status)
	}
	return err
}

// told wants a response that was handed over to have an outcome in status, the one that the person saw.
func (w *world) told(v *visitor, sealer *seal.Sealer, handed map[string]bool, n *news) error {
	if v.login == nil || v.login.Callback == nil {
		return nil // See ended.
	}
	state, err := sealer.OpenState(v.login.Callback.Query().Get("state"))
	if err != nil {
		return err
	}
	if !handed[pending.Name(pending.AuthorizationResponse, "login", state.Login)] {
		return errors.New("the response was not handed over")
	}
	outcome, ok := n.of(state.Login)
	if !ok {
		return fmt.Errorf("status never told of login %s", state.Login)
	}
	want := map[pages.Kind]v1alpha1.AuthorizationOutcome{
		pages.Success: v1alpha1.AuthorizationSucceeded, pages.Denied: v1alpha1.AuthorizationFailed, pages.Failed: v1alpha1.AuthorizationUnknown,
	}
	if outcome.Outcome != want[v.kind] && want[v.kind] != "" {
		return fmt.Errorf("it ended %s %s: %s", outcome.Outcome, outcome.Reason, outcome.Message)
	}
	return nil
}

// silent wants no token, code or verifier in what the processes have said.
func (w *world) silent(groups [][]*visitor) {
	w.t.Helper()
	secrets := w.provider.Issued()
	for _, group := range groups {
		for _, v := range group {
			if v.login != nil && v.login.Callback != nil {
				secrets = append(secrets, v.login.Callback.Query().Get("state"), escaped(v.login.Callback))
			}
		}
	}
	for _, r := range append(w.controllers, w.gateways...) {
		said, err := os.ReadFile(r.log)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, secret := range secrets {
			if secret != "" && bytes.Contains(said, []byte(secret)) {
				w.t.Errorf("a secret of %d characters is in the log of %s", len(secret), r.name)
			}
		}
	}
}

// escaped is the code of a callback as it stands in the address.
func escaped(callback *url.URL) string {
	for pair := range strings.SplitSeq(callback.RawQuery, "&") {
		if code, ok := strings.CutPrefix(pair, "code="); ok {
			return code
		}
	}
	return ""
}
