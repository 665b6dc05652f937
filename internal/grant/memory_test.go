// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestMemoryHoldsNoDeletedTokensAndForgets(t *testing.T) {
	server := fake.NewClientBuilder().Build()
	clock := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := New(Options{Cached: server, Live: server, Writer: server, Namespace: "operator", Process: "p", Clock: clock})
	write := func(uid string) *Entry {
		t.Helper()
		entry, err := s.Write(t.Context(), nil, &lifecycle.Record{
			Connection: lifecycle.Identity{UID: uid}, Tokens: lifecycle.Tokens{RefreshToken: sensitive.New("refresh-1")},
		})
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	write("idle")
	if err := s.Delete(t.Context(), write("deleted")); err != nil {
		t.Fatal(err)
	}
	if known, ok := s.newest["deleted"]; !ok || known.entry != nil {
		t.Errorf("a deleted record is remembered as %+v, %v", known, ok)
	}
	clock.Step(2 * believed)
	write("later")
	if _, ok := s.newest["later"]; !ok || len(s.newest) != 1 {
		t.Errorf("%d writes are remembered, want the last one alone", len(s.newest))
	}
}
