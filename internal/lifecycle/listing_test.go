// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// named is a grant whose id at the provider is known or not.
func named(id string) func(*lifecycle.Record) {
	return func(r *lifecycle.Record) { r.ID = id }
}

// TestListSpeaksOfThisGrant : provider's times are in whole seconds and by another clock.
func TestListSpeaksOfThisGrant(t *testing.T) {
	authorized := after(700 * time.Millisecond)
	at := func(r *lifecycle.Record) { r.AuthorizedAt = authorized }
	ended := func(at time.Time) lifecycle.Listing {
		return lifecycle.Listing{ID: "connection-1", Status: "inactive", CreatedAt: issued(), DeletedAt: at, At: after(time.Minute)}
	}
	for _, test := range []struct {
		reason  string
		record  *lifecycle.Record
		listing lifecycle.Listing
		want    bool
	}{
		{"ended in the second in which it began", lasting(named(""), at), ended(issued()), true},
		{"ended a second before this one began: another grant", lasting(named(""), at), ended(issued().Add(-time.Second)), false},
		{"its own by its id, ended before it began by the provider's clock", lasting(at), ended(issued().Add(-time.Hour)), true},
	} {
		if got := test.record.News(test.listing); got != test.want {
			t.Errorf("%s: news %t, want %t", test.reason, got, test.want)
		}
	}
}

// TestListOfIssuedTokens : a token that is issued anew is a grant of its own.
func TestListOfIssuedTokens(t *testing.T) {
	r := lasting(named(""), func(r *lifecycle.Record) {
		r.GrantType, r.RefreshedAt = lifecycle.Extension, after(time.Hour)
	})
	if got := r.GrantedAt(); !got.Equal(after(time.Hour)) {
		t.Errorf("granted at %s", got)
	}
	old := lifecycle.Listing{ID: "connection-1", Active: true, CreatedAt: issued(), At: after(time.Minute)}
	if r.News(old) {
		t.Error("a list of the time before the token speaks of it")
	}
	r.GrantType = lifecycle.AuthorizationCode
	if got := r.GrantedAt(); !got.Equal(issued()) {
		t.Errorf("granted at %s: a refresh is no new grant", got)
	}
}

// TestListTakesBackWhatItSaid : a check does not contradict the list, nor the other way round.
func TestListTakesBackWhatItSaid(t *testing.T) {
	gone := lifecycle.Observed(lasting(), lifecycle.Listing{ID: "connection-1", Status: "inactive", At: after(time.Minute)})
	if back, news := lifecycle.Checked(gone, true, "", about(gone), after(2*time.Minute)); news || back.Standing == nil {
		t.Error("a check has overruled the list")
	}
	back := lifecycle.Observed(gone, lifecycle.Listing{ID: "connection-1", Active: true, Status: "active", At: after(3 * time.Minute)})
	if back.Standing != nil {
		t.Errorf("%+v: the list calls it active again", back.Standing)
	}
}

// TestCheckOnRequestOnly : where the list answers for the grant, time alone asks nothing.
func TestCheckOnRequestOnly(t *testing.T) {
	onRequest := func(f *lifecycle.Facts) { f.Check = lifecycle.Check{OnRequest: true} }
	mustDecide(t, about(lasting(), onRequest), after(99*time.Hour), act(lifecycle.Wait), "nobody asks")
	mustDecide(t, about(lasting(), onRequest, requesting("now")), issued(), act(lifecycle.CheckGrant), "somebody asks")
	mustDecide(t, about(lasting(), requesting("now")), issued(), act(lifecycle.Remember), "there is no way to check")
}
