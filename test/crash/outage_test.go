// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	// leaseDuration is that of the program's lease.
	leaseDuration = 15 * time.Second
	// shortLife is the lifetime of an access token that does not survive an outage.
	shortLife = leaseDuration + 5*time.Second
	// outage is longer than both.
	outage = shortLife + 5*time.Second
)

func refreshes() record.Filter {
	return record.Filter{Endpoint: record.Token, GrantType: "refresh_token"}
}

// cutAt takes the API server away the moment the provider has processed a token request of a type: the answer, on its
// way, finds nowhere to be written.
func (w *world) cutAt(grantType string) {
	w.journal.arm(event{what: "provider token " + grantType, moment: string(hostile.Processed), nth: 1}, w.proxy.cut)
}

// awaitCut waits until cutAt has happened.
func (w *world) awaitCut() {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if !w.journal.caught() {
			return errors.New("want a call to the provider")
		}
		return nil
	})
}

// holdsOut wants the program to stay, and to leave the provider alone.
func (w *world) holdsOut(p *process, duration time.Duration) {
	w.t.Helper()
	calls := w.server.Count(record.Filter{})
	testenv.Consistently(w.t, duration, func() error {
		if !p.running() {
			return errors.New("the program has ended with the only copy of a refresh token")
		}
		if now := w.server.Count(record.Filter{}); now != calls {
			return fmt.Errorf("the provider has got %d more requests", now-calls)
		}
		return nil
	})
}

// landed wants the outcome of the call that was under way to be in the record: tokens that the provider accepts, and no
// mark.
func (w *world) landed(before sight) {
	w.t.Helper()
	s := w.mustLook()
	switch {
	case s.record == nil || s.record.Attempt != nil:
		w.t.Fatal("the outcome of the call was not written")
	case before.record != nil && s.record.RefreshToken.Equal(before.record.RefreshToken):
		w.t.Fatal("the record still has the old refresh token")
	case !w.server.Introspect(s.record.RefreshToken.Reveal()):
		w.t.Fatal("the provider does not accept the refresh token in the record")
	}
}

func (w *world) nothingTwice() {
	w.t.Helper()
	if most, reuse := w.server.MaxUses(), w.server.Reuse(); most > 1 || reuse != 0 {
		w.t.Errorf("a credential was sent %d times; %d were reused", most, reuse)
	}
}

// TestOutageOutlastsLeaseAndToken takes the API server away while a rotated refresh token is on its way, until the lease
// is lost and the old access token has expired. The program must stay until the token is written, and end then.
func TestOutageOutlastsLeaseAndToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hostile.Options{AccessTokenLifetime: shortLife})
	w.connect(connectionName)
	first := w.launch(w.proxy, "--leader-elect")
	before := w.await(connectionName, w.working)
	w.cutAt("refresh_token")
	w.request(connectionName, "first")
	w.awaitCut()
	w.holdsOut(first, outage)
	if w.server.Introspect(before.token) {
		t.Fatal("the old access token has outlived the outage")
	}
	lease := w.lease()
	if lapsed := time.Since(lease.Spec.RenewTime.Time); lapsed < leaseDuration {
		t.Fatalf("the lease was renewed only %s ago", lapsed)
	}
	w.proxy.restore()
	if code := first.exit(t); code == 0 {
		t.Error("the program ended with 0 although it had lost its lease")
	}
	w.landed(before)
	if calls := w.server.Count(refreshes()); calls != 1 {
		t.Errorf("the provider got %d refreshes, want 1", calls)
	}
	second := w.launch(w.proxy, "--leader-elect")
	w.await(connectionName, w.working, observed("first"), other(before.token))
	second.finish(t)
	w.nothingTwice()
}

func (w *world) lease() *coordinationv1.Lease {
	w.t.Helper()
	lease := &coordinationv1.Lease{}
	if err := plane.Client().Get(w.t.Context(), client.ObjectKey{Namespace: w.operator, Name: "oauth-operator-controller"}, lease); err != nil {
		w.t.Fatal(err)
	}
	return lease
}

// TestPartition cuts off the leader alone. The standby takes over and takes its mark for a crash's; when the first one's
// answer is written after all, it must win over that.
func TestPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hostile.Options{})
	w.connect(connectionName)
	first := w.launch(w.proxy, "--leader-elect")
	before := w.await(connectionName, w.working)
	standby := w.launch(newProxy(t, func(string, string) bool { return false }), "--leader-elect")
	w.cutAt("refresh_token")
	w.request(connectionName, "first")
	w.awaitCut()
	w.await(connectionName, unknown, phase(v1alpha1.ConnectionActive),
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown, v1alpha1.ReasonRefreshOutcomeUnknown))
	w.holdsOut(first, time.Second)
	w.proxy.restore()
	if code := first.exit(t); code == 0 {
		t.Error("the program ended with 0 although it had lost its lease")
	}
	w.landed(before)
	w.await(connectionName, w.working, observed("first"), other(before.token))
	standby.finish(t)
	if calls := w.server.Count(refreshes()); calls != 1 {
		t.Errorf("the provider got %d refreshes, want 1", calls)
	}
	w.nothingTwice()
}

// TestTerminateDuringCall sends SIGTERM while the provider makes the program wait for its answer.
func TestTerminateDuringCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hostile.Options{})
	w.connect(connectionName)
	p := w.start()
	before := w.await(connectionName, w.working)
	w.server.Script(refreshes(), hostile.HangAnswer())
	w.request(connectionName, "first")
	if err := w.server.WaitForHanging(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p.terminate(t)
	w.holdsOut(p, 3*time.Second)
	w.server.Release()
	if code := p.exit(t); code != 0 {
		t.Errorf("the program ended with %d", code)
	}
	w.landed(before)
	w.start()
	w.await(connectionName, w.working, observed("first"), other(before.token))
	w.finish()
	if calls := w.server.Count(refreshes()); calls != 1 {
		t.Errorf("the provider got %d refreshes, want 1", calls)
	}
	w.nothingTwice()
}

// TestTerminateDuringOutage sends SIGTERM while the answer to a code cannot be written.
func TestTerminateDuringOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hostile.Options{})
	w.connect(connectionName)
	w.cutAt("authorization_code")
	p := w.start()
	w.awaitCut()
	p.terminate(t)
	w.holdsOut(p, 5*time.Second)
	w.proxy.restore()
	if code := p.exit(t); code != 0 {
		t.Errorf("the program ended with %d", code)
	}
	w.landed(sight{})
	w.start()
	w.await(connectionName, w.working)
	w.finish()
	w.nothingTwice()
}
