// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/census"
)

// listed is an application whose connections are listed every half an hour.
func listed() facts {
	f := direct(v1alpha1.ClientNone)
	f.application.Spec.Client.SecretRef = nil
	f.application.Spec.StatusCheck = &v1alpha1.StatusCheckSpec{
		Type: v1alpha1.StatusCheckConnectionList, Interval: &metav1.Duration{Duration: 30 * time.Minute},
		ConnectionList: &v1alpha1.ConnectionListSpec{
			URL: issuer + "/connections", Subject: "$.group",
			Application: &v1alpha1.ApplicationListSpec{URL: issuer + "/applications"},
		},
	}
	f.inputs = nil
	return f
}

func TestListingsHaveFixedTimes(t *testing.T) {
	t.Parallel()
	const interval = 30 * time.Minute
	offsets := map[time.Duration]bool{}
	for i := range 50 {
		uid := types.UID(fmt.Sprintf("uid-%d", i))
		first := nextListing(now(), interval, uid)
		if !first.After(now()) || first.After(now().Add(interval)) {
			t.Fatalf("the next listing after %s is at %s", now(), first)
		}
		if again := nextListing(first.Add(-time.Second), interval, uid); !again.Equal(first) {
			t.Errorf("asked a second before, the listing at %s has moved to %s", first, again)
		}
		if next := nextListing(first, interval, uid); !next.Equal(first.Add(interval)) {
			t.Errorf("the one after %s is at %s", first, next)
		}
		offsets[first.Sub(now())] = true
	}
	if len(offsets) < 40 {
		t.Errorf("50 applications are listed at %d times only", len(offsets))
	}
}

func TestScheduleListing(t *testing.T) {
	t.Parallel()
	plain := decide(listed(), testRules())
	if plain.client == nil {
		t.Fatal(plain.verdict)
	}
	basis := listBasis(plain.client)
	regular := nextListing(now(), 30*time.Minute, "8f0c")
	for name, test := range map[string]struct {
		reason  string
		known   listing
		change  func(*facts)
		lists   bool
		wakeAt  time.Time // zero: not to be woken
		message string
	}{
		"FirstSight": {reason: "a restart makes no call", wakeAt: regular},
		"Waiting":    {reason: "nothing before its time", known: listing{basis: basis, since: now().Add(-time.Second)}, wakeAt: regular},
		"Due":        {reason: "its time has passed", known: listing{basis: basis, since: now().Add(-time.Hour)}, lists: true},
		"Done": {
			reason: "one is enough for an interval", known: listing{basis: basis, since: now().Add(-time.Hour), startedAt: now().Add(-time.Second)}, wakeAt: regular,
		},
		"Running": {reason: "one at a time", known: listing{basis: basis, since: now().Add(-time.Hour), running: true}},
		"Changed": {
			reason: "another configuration is tried at once", lists: true,
			known: listing{basis: "another", startedAt: now(), failure: &callFailure{message: "HTTP 401"}, failures: 9, retryAt: now().Add(time.Hour)},
		},
		"AskedFirst": {reason: "somebody waits for the first listing", known: listing{basis: basis, since: now(), requested: true}, lists: true},
		"AskedAtFirstSight": {
			reason: "and may do so before anything is known", known: listing{requested: true}, lists: true,
		},
		"AskedAgain": {
			reason: "not more often than every 10 seconds", wakeAt: now().Add(requestDistance - 2*time.Second),
			known: listing{basis: basis, startedAt: now().Add(-2 * time.Second), requested: true},
		},
		"AskedInVain": {
			reason: "less often when it brings no news", wakeAt: now().Add(58 * time.Second),
			known: listing{basis: basis, startedAt: now().Add(-2 * time.Second), requested: true, distance: time.Minute},
		},
		"AskedInVainForLong": {
			reason: "but never less often than without being asked", wakeAt: regular,
			known: listing{basis: basis, startedAt: now(), requested: true, distance: 30 * time.Minute},
		},
		"Failed": {
			reason: "a failure is retried with distance, asked or not", wakeAt: now().Add(time.Minute), message: readyMessage,
			known: listing{basis: basis, since: now().Add(-time.Hour), requested: true, failure: &callFailure{message: "HTTP 503"}, failures: 1, retryAt: now().Add(time.Minute)},
		},
		"Retry": {
			reason: "and then is", lists: true,
			known: listing{basis: basis, failure: &callFailure{message: "HTTP 503"}, failures: 1, retryAt: now()},
		},
		"FailedAgainAndAgain": {
			reason: "people are told that what they see is old", wakeAt: now().Add(time.Minute),
			known:   listing{basis: basis, failure: &callFailure{message: "HTTP 503"}, failures: toleratedFailures + 1, retryAt: now().Add(time.Minute)},
			message: "; the provider's list of connections cannot be read, so connections stay as they are: HTTP 503; it is tried again",
		},
		"Refused": {
			reason: "at once where they have to do something", wakeAt: now().Add(time.Minute),
			known:   listing{basis: basis, failure: &callFailure{message: "HTTP 401", definite: true}, failures: 1, retryAt: now().Add(time.Minute)},
			message: "HTTP 401; check statusCheck.connectionList",
		},
		"Broken": {
			reason: "with the client that was kept it goes on while the spec is broken", lists: true, message: "endpoints.tokenURL",
			known: listing{basis: basis, since: now().Add(-time.Hour)},
			change: func(f *facts) {
				f.kept = plain.client
				f.application.Spec.Endpoints = nil
			},
		},
		"AnotherCheck": {
			reason: "other checks list nothing", known: listing{basis: basis, since: now().Add(-time.Hour), requested: true},
			change: func(f *facts) {
				f.application.Spec.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe, Probe: &v1alpha1.ProbeSpec{}}
				f.application.Spec.APIBaseURL = issuer
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := listed()
			f.listing = test.known
			if test.change != nil {
				test.change(&f)
			}
			d := decide(f, testRules())
			if (d.list != nil) != test.lists || !d.wakeAt.Equal(test.wakeAt) || !strings.Contains(d.verdict.message, test.message) {
				t.Errorf("%s: lists %t, wakes at %s, says %q", test.reason, d.list != nil, d.wakeAt, d.verdict.message)
			}
		})
	}
}

func TestUnmanagedConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	f := listed()
	f.managed = map[string]bool{"a": true}
	number := func(what string, want int32) {
		t.Helper()
		f.application.Status = status(f, decide(f, testRules()))
		if got := f.application.Status.Connections.Unmanaged; got == nil || *got != want {
			t.Errorf("%s: %v, want %d", what, got, want)
		}
	}
	f.application.Status = status(f, decide(f, testRules()))
	if got := f.application.Status.Connections.Unmanaged; got != nil {
		t.Errorf("before the first listing the number is %d", *got)
	}
	f.census = &census.Census{Entries: []census.Entry{{ID: "a", Active: true}, {ID: "b", Active: true}, {ID: "c", Active: true}, {ID: "d"}}}
	number("two are nobody's", 2)
	f.managed["b"] = true
	number("one has found its connection", 1)
	f.census = nil
	number("a restart does not forget", 1)
	f.application.Spec.StatusCheck = nil
	if got := status(f, decide(f, testRules())).Connections.Unmanaged; got != nil {
		t.Errorf("without a list the number is %d", *got)
	}
}

func TestDeletedApplications(t *testing.T) {
	t.Parallel()
	f := listed()
	expect := func(what string, phase v1alpha1.ApplicationPhase, reason string) {
		t.Helper()
		d := decide(f, testRules())
		f.application.Status = status(f, d)
		if f.application.Status.Phase != phase || d.verdict.reason != reason || (phase == v1alpha1.ApplicationDeleted) != d.verdict.stalled {
			t.Errorf("%s: phase %s, %+v", what, f.application.Status.Phase, d.verdict)
		}
		if d.client == nil {
			t.Errorf("%s: the client is not kept, so nothing can be revoked", what)
		}
	}
	expect("before anything is listed", v1alpha1.ApplicationActive, v1alpha1.ReasonReady)
	f.listing.deleted = new(false)
	expect("it exists", v1alpha1.ApplicationActive, v1alpha1.ReasonReady)
	f.listing.deleted = new(true)
	before := f.application.Status
	if news := eventsFor(before, decide(f, testRules())); len(news) != 1 || news[0].reason != v1alpha1.ReasonApplicationDeleted {
		t.Errorf("the events are %+v", news)
	}
	expect("the provider has deleted it", v1alpha1.ApplicationDeleted, v1alpha1.ReasonApplicationDeleted)
	f.listing = listing{}
	expect("after a restart", v1alpha1.ApplicationDeleted, v1alpha1.ReasonApplicationDeleted)
	f.listing.deleted = new(false)
	expect("it has come back", v1alpha1.ApplicationActive, v1alpha1.ReasonReady)
	f.listing.deleted = new(true)
	expect("it has gone again", v1alpha1.ApplicationDeleted, v1alpha1.ReasonApplicationDeleted)
	f.listing = listing{}
	f.application.Generation++
	expect("another spec is another client until the provider speaks of it", v1alpha1.ApplicationActive, v1alpha1.ReasonReady)
}

func TestRequestsGrowApart(t *testing.T) {
	t.Parallel()
	key := types.NamespacedName{Namespace: "platform", Name: "crm"}
	passes := 0
	l := NewListings()
	l.RequestListing(key) // before there is a controller
	l.attach(func(types.NamespacedName) { passes++ })
	l.look("8f0c", "basis", now())
	once := func(news bool) time.Duration {
		t.Helper()
		l.RequestListing(key)
		l.RequestListing(key)
		if !l.get(key, "8f0c").requested || !l.begin(key, "8f0c", "basis", now()) || l.begin(key, "8f0c", "basis", now()) {
			t.Fatal("not one listing for all requests")
		}
		l.succeed("8f0c", news, 30*time.Minute)
		l.end("8f0c")
		if l.get(key, "8f0c").requested {
			t.Error("a request that was answered is still open")
		}
		return l.get(key, "8f0c").distance
	}
	var distances []time.Duration
	for range 9 {
		distances = append(distances, once(false))
	}
	if distances[0] != 20*time.Second || distances[1] != 40*time.Second || distances[8] != time.Minute {
		t.Errorf("the distances are %v", distances)
	}
	if passes != 8 {
		t.Errorf("%d passes for 8 requests, and one from before", passes)
	}
	if again := once(true); again != requestDistance {
		t.Errorf("after news the distance is %s", again)
	}
	l.begin(key, "8f0c", "basis", now())
	l.succeed("8f0c", false, 30*time.Minute)
	l.end("8f0c")
	if distance := l.get(key, "8f0c").distance; distance != requestDistance {
		t.Errorf("a listing that nobody asked for made the distance %s", distance)
	}
	l.begin(key, "8f0c", "basis", now())
	l.RequestListing(key)
	l.end("8f0c")
	if !l.get(key, "8f0c").requested {
		t.Error("what is asked for during a listing is answered by it, although it may have been read before")
	}
	l.dismiss(key)
	l.forget(key, "8f0c")
	if known := l.get(key, "8f0c"); known != (listing{}) {
		t.Errorf("%+v is known of an application that is gone", known)
	}
}
