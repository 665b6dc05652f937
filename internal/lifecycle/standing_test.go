// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

func checking(f *lifecycle.Facts) {
	f.Check = lifecycle.Check{Interval: time.Hour, LastAt: issued()}
}

func lasting(edits ...func(*lifecycle.Record)) *lifecycle.Record {
	return held(append([]func(*lifecycle.Record){withTokens(everlasting()), noRefreshToken}, edits...)...)
}

func TestCheckDueIsStable(t *testing.T) {
	for _, interval := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		first := lifecycle.CheckDue(uid, interval, issued())
		if wait := first.Sub(issued()); wait <= 0 || wait > interval {
			t.Errorf("every %s: the first after %s", interval, wait)
		}
		if next := lifecycle.CheckDue(uid, interval, first); next.Sub(first) != interval {
			t.Errorf("every %s: the second %s after the first", interval, next.Sub(first))
		}
		if restarted := lifecycle.CheckDue(uid, interval, first.Add(-time.Second)); !restarted.Equal(first) {
			t.Errorf("every %s: after a restart at %s instead of %s", interval, restarted, first)
		}
	}
	if lifecycle.CheckDue(uid, time.Hour, issued()).Equal(lifecycle.CheckDue("another", time.Hour, issued())) {
		t.Error("all checks come at the same moment")
	}
}

func TestCheckIsMadeWhenDue(t *testing.T) {
	at := lifecycle.CheckDue(uid, time.Hour, issued())
	mustDecide(t, about(lasting(), checking), issued(), wait(at.Sub(issued())), "nothing else is due")
	mustDecide(t, about(lasting(), checking), at, act(lifecycle.CheckGrant), "its time has come")
	mustDecide(t, about(lasting()), at, act(lifecycle.Wait), "nobody asked for checks")
	mustDecide(t, about(lasting(), checking, requesting("now")), issued(), act(lifecycle.CheckGrant), "there is nothing to refresh, so the request checks")
}

func TestCheckFindsOut(t *testing.T) {
	now := after(time.Minute)
	r, news := lifecycle.Checked(lasting(), false, "its API answers Unauthorized", about(lasting()), now)
	if !news || r.Standing == nil || r.Standing.State != lifecycle.StandingInactive || r.Doubted {
		t.Fatalf("%+v, news %t", r.Standing, news)
	}
	s := lifecycle.Describe(about(r, checking), published(), now)
	if s.Phase != lifecycle.Inactive || s.Ready.Reason != "Deauthorized" || s.Authorized.Status != lifecycle.False || s.Stalled.Status != lifecycle.True {
		t.Errorf("%+v", s)
	}
	if _, again := lifecycle.Checked(r, false, "said", about(r), now); again {
		t.Error("what is known is written again")
	}
	back, news := lifecycle.Checked(r, true, "", about(r), now)
	if !news || back.Standing != nil {
		t.Errorf("%+v: it works again", back.Standing)
	}

	doubted, news := lifecycle.Checked(held(), false, "said", about(held()), now)
	if !news || !doubted.Doubted || doubted.Standing != nil {
		t.Errorf("%+v: a refresh token decides whether the grant lives", doubted.Standing)
	}
	mustDecide(t, about(doubted), now, act(lifecycle.Refresh), "at once")
	renewed := lifecycle.Succeeded(doubted, calling(lifecycle.Refresh, now), answer("refresh-2", now), now)
	if renewed.Doubted {
		t.Error("the new token is doubted too")
	}
}

func TestListIsFollowed(t *testing.T) {
	created, ended := after(-time.Hour), after(2*time.Minute)
	entry := lifecycle.Listing{ID: "connection-1", Active: true, Status: "active", CreatedAt: created, At: after(time.Minute)}
	r := lasting()
	if !r.News(entry) {
		t.Fatal("when the grant began is not known yet")
	}
	r = lifecycle.Observed(r, entry)
	if r.Standing != nil || !r.ProviderCreatedAt.Equal(created) || r.News(entry) {
		t.Fatalf("%+v", r)
	}
	entry.Active, entry.Status, entry.At = false, "inactive", after(3*time.Minute)
	if !r.News(entry) {
		t.Fatal("inactive is news")
	}
	inactive := lifecycle.Observed(r, entry)
	if s := lifecycle.Describe(about(inactive), published(), after(3*time.Minute)); s.Phase != lifecycle.Inactive {
		t.Errorf("%+v", s)
	}
	entry.DeletedAt = ended
	gone := lifecycle.Observed(inactive, entry)
	if s := lifecycle.Describe(about(gone), published(), after(3*time.Minute)); s.Phase != lifecycle.Deleted || !gone.Standing.At.Equal(ended) {
		t.Errorf("%+v, %+v", s, gone.Standing)
	}
	mustDecide(t, about(gone, checking), after(99*time.Hour), act(lifecycle.Wait), "nothing is asked about a grant that is gone")
	mustDecide(t, about(gone, code("new")), after(3*time.Minute), act(lifecycle.Exchange), "a new code revives it")

	revived := settled(lifecycle.Succeeded(gone, calling(lifecycle.Exchange, after(time.Hour)), answer("", after(time.Hour)), after(time.Hour)))
	if revived.Standing != nil || revived.ID != "" {
		t.Errorf("%+v: it is another connection at the provider", revived)
	}
	entry.At = after(2 * time.Hour)
	if revived.News(entry) {
		t.Error("an entry that ended before is another one's")
	}
}

// TestListAndCheckMayDiffer : that the list calls a grant active does not prove that its token works.
func TestListAndCheckMayDiffer(t *testing.T) {
	r, _ := lifecycle.Checked(lasting(), false, "said", about(lasting()), after(time.Minute))
	entry := lifecycle.Listing{ID: "connection-1", Active: true, At: after(2 * time.Minute)}
	if r.News(entry) || lifecycle.Observed(r, entry).Standing == nil {
		t.Error("the list overruled the check")
	}
}
