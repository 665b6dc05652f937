// SPDX-License-Identifier: Apache-2.0

package gatewaykeys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// calm is how long nothing must happen.
const calm = 3 * gatherDelay

func TestTheSecretFollowsTheKeptClients(t *testing.T) {
	w := newWorld(t)
	w.keep(kept("team", "a", "secret a"))
	r := w.start()
	w.holds(map[string]string{"webhook-a": "secret a"})
	_, keys := w.mustKeys()

	b := w.keep(kept("team", "b", "secret b"))
	w.keep(kept("team", "c", ""))
	w.holds(map[string]string{"webhook-a": "secret a", "webhook-b": "secret b"})
	b.Webhook.Secret = kept("team", "b", "another").Webhook.Secret
	w.keep(b)
	w.holds(map[string]string{"webhook-a": "secret a", "webhook-b": "another"})
	w.must(w.applications.Delete(t.Context(), b))
	w.holds(map[string]string{"webhook-a": "secret a"})
	if _, after := w.mustKeys(); len(after.Keys) != 1 || after.Keys[0].ID != keys.Keys[0].ID {
		t.Error("the keys have changed")
	}
	for _, secret := range []string{"secret a", "secret b", "another", keys.Keys[0].Secret.Reveal()} {
		if r.log.with(secret) > 0 {
			t.Error("the log shows a secret")
		}
	}
}

// TestIdleCostsNothing: neither a restart nor changes of clients that concern no webhook ask or write anything.
func TestIdleCostsNothing(t *testing.T) {
	w := newWorld(t)
	a := w.keep(kept("team", "a", "secret a"))
	first := w.start()
	before := w.holds(map[string]string{"webhook-a": "secret a"})
	if got := first.requests.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "POST ") {
		t.Errorf("the first start asked %v, want one creation", got)
	}
	first.stop()
	r := w.start()
	a.Generation++
	w.keep(a)
	w.keep(kept("team", "b", ""))
	testenv.Consistently(t, calm, r.requests.none)
	if after, _ := w.mustKeys(); after.ResourceVersion != before.ResourceVersion {
		t.Error("the Secret was written")
	}
}

func TestDeletedAndBrokenKeysAreMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.keep(kept("team", "a", "secret a"))
	r := w.start()
	secret := w.holds(map[string]string{"webhook-a": "secret a"})
	_, keys := w.mustKeys()
	w.must(w.client.Delete(t.Context(), secret))
	var anew keyset.Set
	renewed := func() error {
		_, set, err := w.keys()
		if err == nil && set.Keys[0].ID == keys.Keys[0].ID {
			err = errors.New("the keys are the same")
		}
		anew = set
		return err
	}
	testenv.Eventually(t, patience, renewed)
	w.holds(map[string]string{"webhook-a": "secret a"})
	if n := r.log.with("made anew"); n != 0 {
		t.Errorf("a deletion is told of as an error, %d times", n)
	}

	keys = anew
	secret, _ = w.mustKeys()
	secret.Data[keyset.FileSealing] = []byte("hush")
	w.must(w.client.Update(t.Context(), secret))
	testenv.Eventually(t, patience, renewed)
	w.holds(map[string]string{"webhook-a": "secret a"})
	testenv.Eventually(t, patience, func() error {
		if n := r.log.with("made anew"); n != 1 {
			return fmt.Errorf("broken keys were told of %d times, want once", n)
		}
		return nil
	})
	if r.log.with("hush") > 0 {
		t.Error("the log shows the content")
	}
}

// TestAForeignSecretIsLeftAlone: whoever made it, it is not overwritten; when it goes, ours takes its place.
func TestAForeignSecretIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.operator, Name: v1alpha1.GatewayKeysSecret},
		Data:       map[string][]byte{"theirs": []byte("x")},
	}
	w.must(w.client.Create(t.Context(), foreign))
	r := w.start()
	w.keep(kept("team", "a", "secret a"))
	testenv.Eventually(t, patience, func() error {
		if r.log.with("somebody else's") == 0 {
			return errors.New("it is not told of")
		}
		return nil
	})
	testenv.Consistently(t, calm, r.requests.none)
	if n := r.log.with("somebody else's"); n != 1 {
		t.Errorf("it is told of %d times, want once", n)
	}
	w.must(w.client.Delete(t.Context(), foreign))
	w.holds(map[string]string{"webhook-a": "secret a"})
}

func TestRotationByTheClock(t *testing.T) {
	w := newWorld(t)
	r := New(Options{Client: w.client, Registrations: w.applications, Namespace: w.operator, Clock: w.clock})
	pass := func(wantWait time.Duration, wantKeys int) {
		t.Helper()
		before, _, _ := w.keys()
		result, err := r.Reconcile(t.Context(), ctrl.Request{})
		w.must(err)
		after, set := w.mustKeys()
		if len(set.Keys) != wantKeys {
			t.Errorf("there are %d keys, want %d", len(set.Keys), wantKeys)
		}
		if got := result.RequeueAfter.Round(time.Minute); got != wantWait {
			t.Errorf("the next pass is in %s, want %s", got, wantWait)
		}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{}); err != nil {
			t.Error(err)
		}
		if again, _ := w.mustKeys(); again.ResourceVersion != after.ResourceVersion {
			t.Error("a second pass has written again")
		}
		if before != nil && before.UID != after.UID {
			t.Error("the Secret was replaced")
		}
	}
	pass(longestWait, 1)
	w.clock.SetTime(w.clock.Now().Add(keyset.Period - time.Hour))
	pass(time.Hour, 1)
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	pass(longestWait, 2)
	w.clock.SetTime(w.clock.Now().Add(keyset.Overlap))
	pass(keyset.Spread, 2)
	w.clock.SetTime(w.clock.Now().Add(keyset.Spread))
	pass(longestWait, 1)
}

// TestTwoDecideAtOnce has two controllers read the same version, and only then write: one write wins, whatever it is
// about, and the other one adds nothing to it.
func TestTwoDecideAtOnce(t *testing.T) {
	tests := map[string]struct {
		reason  string
		prepare func(w *world, r *Reconciler)
		keys    int
	}{
		"creation": {"two sets would cut off each other's logins", func(*world, *Reconciler) {}, 1},
		"rotation": {"a key that a gateway has seen must not go", func(w *world, r *Reconciler) {
			w.pass(r)
			w.clock.SetTime(w.clock.Now().Add(keyset.Period))
		}, 2},
		"broken": {"two sets would cut off each other's logins", func(w *world, r *Reconciler) {
			w.pass(r)
			secret, _ := w.mustKeys()
			secret.Data[keyset.FileSealing] = nil
			w.must(w.client.Update(w.t.Context(), secret))
		}, 1},
		"webhook": {"both want the same", func(w *world, r *Reconciler) {
			w.pass(r)
			w.keep(kept("team", "a", "secret a"))
		}, 1},
		"deleted in between": {"both want the same", func(w *world, r *Reconciler) {
			w.pass(r)
			secret, _ := w.mustKeys()
			w.must(w.client.Delete(w.t.Context(), secret))
		}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			options := Options{Client: w.client, Registrations: w.applications, Namespace: w.operator, Clock: w.clock}
			test.prepare(w, New(options))
			both := &sync.WaitGroup{}
			both.Add(2)
			answers := make(chan error, 2)
			var rivals sync.WaitGroup
			for range 2 {
				options.Client = &meeting{Client: w.client, both: both, answers: answers}
				r := New(options)
				rivals.Go(func() {
					result, err := r.Reconcile(t.Context(), ctrl.Request{})
					if err != nil || result.RequeueAfter <= 0 {
						t.Errorf("%s: got %v and error %v, want another pass and no error", test.reason, result, err)
					}
				})
			}
			rivals.Wait()
			close(answers)
			won, lost := 0, 0
			for err := range answers {
				switch {
				case err == nil:
					won++
				case isConflict(err):
					lost++
				}
			}
			if won != 1 || lost != 1 {
				t.Errorf("%s: %d writes won and %d conflicted, want one of each", test.reason, won, lost)
			}
			before, set := w.mustKeys()
			if len(set.Keys) != test.keys {
				t.Errorf("%s: there are %d keys, want %d", test.reason, len(set.Keys), test.keys)
			}
			options.Client = w.client
			w.pass(New(options))
			if after, _ := w.mustKeys(); after.ResourceVersion != before.ResourceVersion {
				t.Errorf("%s: the loser writes again", test.reason)
			}
		})
	}
}

func (w *world) pass(r *Reconciler) {
	w.t.Helper()
	_, err := r.Reconcile(w.t.Context(), ctrl.Request{})
	w.must(err)
}

// meeting holds each write back until both controllers have come to theirs.
type meeting struct {
	client.Client
	both    *sync.WaitGroup
	answers chan<- error
}

func (m *meeting) met(err func() error) error {
	m.both.Done()
	m.both.Wait()
	result := err()
	m.answers <- result
	return result
}

func (m *meeting) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return m.met(func() error { return m.Client.Create(ctx, object, options...) })
}

func (m *meeting) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return m.met(func() error { return m.Client.Update(ctx, object, options...) })
}

// TestTwoControllersRace lets two controllers with caches of their own run, while clients come and go and the Secret is
// damaged: no version loses the key that another one introduced, and both agree in the end.
func TestTwoControllersRace(t *testing.T) {
	w := newWorld(t)
	h := w.follow()
	first, second := w.start(), w.start()
	w.holds(nil)
	const rounds = 5
	want := map[string]string{}
	for round := range rounds {
		for i := range 5 {
			uid := types.UID(fmt.Sprintf("%d-%d", round, i))
			c := w.keep(kept("team", uid, "secret "+string(uid)))
			if i == 0 {
				w.must(w.applications.Delete(t.Context(), c))
				continue
			}
			want[keyset.WebhookFile(uid)] = "secret " + string(uid)
		}
		// Both see at once that a rotation is due, by an invented webhook.
		w.clock.SetTime(w.clock.Now().Add(keyset.Period))
		testenv.Eventually(t, patience, func() error {
			secret, _ := w.mustKeys()
			secret.Data[keyset.WebhookFile("invented")] = []byte("x")
			return w.client.Update(t.Context(), secret)
		})
		w.holds(want)
		if _, set := w.mustKeys(); !set.Keys[0].CreatedAt.Equal(w.clock.Now().UTC().Truncate(time.Second)) {
			t.Errorf("round %d: there is no new key", round)
		}
	}
	settled, set := w.mustKeys()
	for i := 1; i < len(set.Keys); i++ {
		if !set.Keys[i].CreatedAt.Before(set.Keys[i-1].CreatedAt) {
			t.Errorf("two keys were added for one rotation: %v", keyIDs(t, settled))
		}
	}
	testenv.Consistently(t, calm, func() error {
		if secret, _, err := w.keys(); err != nil || secret.ResourceVersion != settled.ResourceVersion {
			return fmt.Errorf("the Secret is still written (%w)", err)
		}
		return nil
	})
	testenv.Eventually(t, patience, func() error { return h.sound(2 * rounds) })
	t.Logf("%d and %d writes, %d conflicts", len(first.requests.seen()), len(second.requests.seen()),
		first.log.with("somebody else has written")+second.log.with("somebody else has written"))
}

// TestGoneMeanwhile: what is deleted while it is decided about is made anew by the next pass, from nothing.
func TestGoneMeanwhile(t *testing.T) {
	w := newWorld(t)
	r := New(Options{Client: w.client, Registrations: w.applications, Namespace: w.operator, Clock: w.clock})
	w.pass(r)
	stored, before := w.mustKeys()
	w.must(w.client.Delete(t.Context(), stored))
	next := mustDecide(t, stored, w.clock.Now(), kept("team", "a", "secret a"))
	if written, err := r.write(t.Context(), stored, next); written || !isConflict(err) {
		t.Errorf("got %t and %v, want a conflict", written, err)
	}
	w.pass(r)
	if _, after := w.mustKeys(); after.Keys[0].ID == before.Keys[0].ID {
		t.Error("the deleted keys came back")
	}
}

// TestRoomForMany writes as many small webhook secrets as there is room for: the API server and etcd must take them.
func TestRoomForMany(t *testing.T) {
	w := newWorld(t)
	d := decision{}
	w.must(d.decideKeys(nil, w.clock.Now()))
	wanted := map[types.UID][]byte{}
	for i := range maxWebhooks / 100 {
		wanted[types.UID(fmt.Sprintf("6f1c0e0a-2b8e-4a51-9a5e-%012d", i))] = []byte(strings.Repeat("x", 32))
	}
	d.decideWebhooks(nil, wanted, nil)
	if len(d.problems) == 0 {
		t.Fatal("there is room for more")
	}
	r := New(Options{Client: w.client, Namespace: w.operator, Clock: w.clock})
	_, err := r.write(t.Context(), nil, d)
	w.must(err)
	stored, _ := w.mustKeys()
	stored.Data = map[string][]byte{keyset.FileSealing: d.sealing}
	if written, err := r.write(t.Context(), stored, d); err != nil || !written {
		t.Fatalf("an update of all of them: %t, %v", written, err)
	}
	t.Logf("%d webhooks with a short secret", len(d.webhooks))
}

// TestErrorsShowNothing: an admission webhook may quote what it was shown.
func TestErrorsShowNothing(t *testing.T) {
	w := newWorld(t)
	w.keep(kept("team", "a", "secret-of-a-webhook"))
	quoting := &quoting{Client: w.client}
	r := New(Options{Client: quoting, Registrations: w.applications, Namespace: w.operator, Clock: w.clock})
	l := &lines{}
	_, err := r.Reconcile(log.IntoContext(t.Context(), l.logger()), ctrl.Request{})
	if err == nil {
		t.Fatal("the refusal is no error")
	}
	for _, secret := range quoting.shown {
		if strings.Contains(err.Error(), secret) || l.with(secret) > 0 {
			t.Error("a refusal shows what it quotes")
		}
	}
	if len(quoting.shown) != 2 {
		t.Fatalf("it quoted %d secrets", len(quoting.shown))
	}
}

// quoting refuses creations, and quotes what is in them.
type quoting struct {
	client.Client
	shown []string
}

func (q *quoting) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return errors.New("not a Secret")
	}
	set, err := keyset.Parse(secret.Data[keyset.FileSealing])
	if err != nil {
		return err
	}
	q.shown = []string{string(secret.Data["webhook-a"]), set.Keys[0].Secret.Reveal()}
	return apierrors.NewForbidden(corev1.Resource("secrets"), secret.Name, fmt.Errorf("denied: %q %s", secret.Data, secret.Data["webhook-a"]))
}
