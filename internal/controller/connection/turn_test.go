// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestTurnsThatCannotBeTakenBackOff(t *testing.T) {
	r := New(Options{})
	var got []time.Duration
	for range 7 {
		got = append(got, r.turnDelay("uid-1")/time.Second)
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 30, 30}; !slices.Equal(got, want) {
		t.Errorf("seconds between turns: %v, want %v", got, want)
	}
	name := types.NamespacedName{Namespace: "team", Name: "crm"}
	r.afterTurn(logr.Discard(), name, "uid-1", nil)
	if again := r.turnDelay("uid-1"); again != time.Second {
		t.Errorf("after a turn that was taken: %s, want a second", again)
	}
	if other := r.turnDelay("uid-2"); other != time.Second {
		t.Errorf("another connection: %s, want a second", other)
	}
}

// TestACallThatPanicked may have sent its credential, so it is settled like a crash, and not sent again at once.
func TestACallThatPanicked(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	api, clock := fake.NewClientBuilder().Build(), clocktesting.NewFakeClock(now)
	store := grant.New(grant.Options{Cached: api, Live: api, Writer: api, Namespace: "operator", Process: "me", Clock: clock})
	record := &lifecycle.Record{
		Connection: lifecycle.Identity{Namespace: "team", Name: "crm", UID: "uid-1"},
		Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New("access-1"), RefreshToken: sensitive.New("refresh-1"), IssuedAt: now,
			Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: now.Add(time.Hour)},
		},
	}
	call := lifecycle.Call{Action: lifecycle.Refresh, ID: "a", UID: "uid-1", SentAt: now}
	if _, err := store.Begin(t.Context(), nil, record, call, ""); err != nil {
		t.Fatal(err)
	}
	r := New(Options{Grants: store, Process: "me", Clock: clock})
	r.afterTurn(logr.Discard(), types.NamespacedName{Namespace: "team", Name: "crm"}, "uid-1", errUnfinished)
	settled, err := store.Live(t.Context(), "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	failure := settled.Record.Failure
	if settled.Record.Attempt != nil || failure == nil || !failure.OutcomeUnknown || failure.Reason != v1alpha1.ReasonRefreshOutcomeUnknown {
		t.Errorf("the record after a panic: mark %v, failure %+v", settled.Record.Attempt, failure)
	}
}
