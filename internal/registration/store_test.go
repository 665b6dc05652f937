// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// server is an API server whose writes are counted, with a cache that shows only what sync has let through.
type server struct {
	client.WithWatch
	cached client.WithWatch
	mu     sync.Mutex
	writes int
	live   int
	// refuse answers a write instead of the server; nil: nobody does.
	refuse func(object client.Object) error
}

func newServer() *server {
	s := &server{}
	count := func(counter *int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		*counter++
	}
	s.WithWatch = fake.NewClientBuilder().WithScheme(scheme.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			count(&s.writes)
			if s.refuse != nil {
				return s.refuse(object)
			}
			object.SetUID("object-" + object.GetUID())
			return c.Create(ctx, object, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			count(&s.writes)
			if s.refuse != nil {
				return s.refuse(object)
			}
			return c.Update(ctx, object, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			if s.refuse != nil {
				return s.refuse(object)
			}
			return c.Delete(ctx, object, options...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			count(&s.live)
			return c.Get(ctx, key, object, options...)
		},
	}).Build()
	s.sync(nil)
	return s
}

// sync lets the cache see everything.
func (s *server) sync(t *testing.T) {
	cache := fake.NewClientBuilder().WithScheme(scheme.Scheme).
		WithIndex(&corev1.Secret{}, IndexByApplication, IndexApplication)
	if t != nil {
		var list corev1.SecretList
		if err := s.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		cache = cache.WithLists(&list)
	}
	s.cached = cache.Build()
}

// cacheReader reads what the cache of a server shows now.
type cacheReader struct{ server *server }

func (r cacheReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	return r.server.cached.Get(ctx, key, object, options...)
}

func (r cacheReader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return r.server.cached.List(ctx, list, options...)
}

func newStore(s *server, clock *clocktesting.FakePassiveClock) *Store {
	return New(Options{Cached: cacheReader{s}, Live: s, Writer: s, Namespace: "system", Clock: clock})
}

func newClock() *clocktesting.FakePassiveClock {
	return clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC))
}

func unkept() *Client {
	c := sample()
	c.Pauses = nil
	return c
}

func mustGet(t *testing.T, store *Store) *Client {
	t.Helper()
	c, err := store.Get(t.Context(), sample().Application.UID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOwnWritesAreReadBeforeTheCacheShowsThem(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	if _, err := store.Get(t.Context(), "8f0c"); !apierrors.IsNotFound(err) {
		t.Fatalf("an unknown client gives %v", err)
	}
	c := unkept()
	must(t, store.Save(t.Context(), c))
	if diff := cmp.Diff(unkept(), mustGet(t, store), sameClient()); diff != "" {
		t.Fatalf("after the creation (-want +got):\n%s", diff)
	}
	s.sync(t) // The cache shows the first version from here on.
	c.Generation = 4
	must(t, store.Save(t.Context(), c))
	if got := mustGet(t, store).Generation; got != 4 {
		t.Errorf("a stale cache gives generation %d, want 4", got)
	}
	kept, err := store.ForApplication(t.Context(), "platform", "crm")
	if err != nil || len(kept) != 1 || kept[0].Generation != 4 {
		t.Errorf("by application: %v, %v", kept, err)
	}
	must(t, store.Delete(t.Context(), mustGet(t, store)))
	if _, err := store.Get(t.Context(), "8f0c"); !apierrors.IsNotFound(err) {
		t.Errorf("a deleted client that the cache still shows gives %v", err)
	}
	if kept, err := store.ForApplication(t.Context(), "platform", "crm"); err != nil || len(kept) != 0 {
		t.Errorf("by application after deletion: %v, %v", kept, err)
	}
}

func TestListHoldsAllKeptClients(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	list := func() map[types.UID]*Client {
		t.Helper()
		all, err := store.List(t.Context())
		must(t, err)
		return all
	}
	if all := list(); len(all) != 0 {
		t.Fatalf("%d clients are kept at first", len(all))
	}
	must(t, store.Save(t.Context(), unkept()))
	if all := list(); len(all) != 1 || all["8f0c"] == nil {
		t.Errorf("before the cache shows it: %v", all)
	}
	other := unkept()
	other.Application.Name, other.Application.UID = "other", "9d1e"
	must(t, store.Save(t.Context(), other))
	s.sync(t)
	store = newStore(s, clock) // After a restart nothing is known but what the cache shows.
	if all := list(); len(all) != 2 || all["8f0c"].Application.Name != "crm" || all["9d1e"].Application.Name != "other" {
		t.Errorf("want both clients, got %v", all)
	}
	must(t, store.Delete(t.Context(), mustGet(t, store)))
	if all := list(); len(all) != 1 || all["9d1e"] == nil {
		t.Errorf("after a deletion that the cache does not show: %v", all)
	}

	broken := &corev1.Secret{}
	must(t, s.Get(t.Context(), client.ObjectKey{Namespace: "system", Name: SecretName("9d1e")}, broken))
	broken.Data = map[string][]byte{"client.json": []byte("broken")}
	must(t, s.Update(t.Context(), broken))
	must(t, store.Save(t.Context(), unkept()))
	s.sync(t)
	all, err := newStore(s, clock).List(t.Context())
	unread, listed := all["9d1e"]
	if err == nil || len(all) != 2 || all["8f0c"] == nil || !listed || unread != nil {
		t.Errorf("with one that cannot be read: %v and %v, want the other one, a nil and an error", all, err)
	}
}

func TestACopyThatOthersDeletedIsNotBelievedForever(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	must(t, store.Save(t.Context(), unkept()))
	clock.SetTime(clock.Now().Add(forgetAfter))
	if _, err := store.Get(t.Context(), "8f0c"); !apierrors.IsNotFound(err) {
		t.Errorf("a minute after our write, a cache without it gives %v", err)
	}
}

func TestSavingAnUnchangedClientWritesNothing(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	must(t, newStore(s, clock).Save(t.Context(), unkept()))
	s.sync(t)
	restarted := newStore(s, clock)
	before := s.writes
	c := mustGet(t, restarted)
	must(t, restarted.Save(t.Context(), c))
	if s.writes != before || s.live != 0 {
		t.Errorf("%d writes, %d live reads, want none", s.writes-before, s.live)
	}
}

func TestSaveIsCompareAndSwap(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	first, second := newStore(s, clock), newStore(s, clock)
	must(t, first.Save(t.Context(), unkept()))
	if err := second.Save(t.Context(), unkept()); !apierrors.IsConflict(err) {
		t.Fatalf("the second creation gives %v, want a conflict", err)
	}
	s.sync(t)
	mine, theirs := mustGet(t, first), mustGet(t, second)
	mine.Generation, theirs.Generation = 10, 11
	must(t, first.Save(t.Context(), mine))
	if err := second.Save(t.Context(), theirs); !apierrors.IsConflict(err) {
		t.Errorf("a write over another's gives %v, want a conflict", err)
	}
	stale := unkept()
	stale.record = revision{uid: mine.record.uid, version: 1}
	if err := first.Save(t.Context(), stale); !apierrors.IsConflict(err) {
		t.Errorf("a write from an old version gives %v, want a conflict", err)
	}
}

func TestPauseIsOneWriteHoweverManyAreRefused(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	must(t, store.Save(t.Context(), unkept()))
	lane, other := sample().Lane("refresh_token", "https://p/refresh"), sample().Lane("authorization_code", "https://p/token")
	before := s.writes
	for range 20 {
		must(t, store.Pause(t.Context(), mustGet(t, store), lane, v1alpha1.ReasonInvalidClient, "no such client"))
	}
	if got := s.writes - before; got != 1 {
		t.Errorf("20 refusals took %d writes, want 1", got)
	}
	c := mustGet(t, store)
	pause, ok := c.Paused(lane)
	if !ok || pause.Reason != v1alpha1.ReasonInvalidClient || pause.Message != "no such client" || !pause.Since.Equal(clock.Now()) {
		t.Fatalf("the pause is %+v", pause)
	}
	if wait := pause.NextProbeAt.Sub(clock.Now()); wait < 3*time.Second || wait > firstProbe {
		t.Errorf("the first probe comes after %s", wait)
	}
	if _, ok := c.Paused(other); ok {
		t.Error("another grant type is paused too")
	}
}

func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store, rival := newStore(s, clock), newStore(s, clock)
	must(t, store.Save(t.Context(), unkept()))
	lane := sample().Lane("refresh_token", "https://p/refresh")
	if ok, err := store.ClaimProbe(t.Context(), mustGet(t, store), lane); err != nil || !ok {
		t.Fatalf("without a pause: %t, %v", ok, err)
	}
	must(t, store.Pause(t.Context(), mustGet(t, store), lane, v1alpha1.ReasonInvalidClient, "no"))
	s.sync(t)
	var last time.Duration
	for i := range 12 {
		if ok, err := store.ClaimProbe(t.Context(), mustGet(t, store), lane); err != nil || ok {
			t.Fatalf("probe %d before its time: %t, %v", i, ok, err)
		}
		pause, _ := mustGet(t, store).Paused(lane)
		if pause.Count != i {
			t.Fatalf("the count is %d, want %d", pause.Count, i)
		}
		last = pause.NextProbeAt.Sub(clock.Now())
		clock.SetTime(pause.NextProbeAt)
		claimed := 0
		for _, candidate := range []*Store{store, rival, store} {
			ok, err := candidate.ClaimProbe(t.Context(), mustGet(t, candidate), lane)
			must(t, err)
			if ok {
				claimed++
			}
		}
		if claimed != 1 {
			t.Fatalf("%d probes were claimed, want 1", claimed)
		}
		// The probe is refused: the claim has moved the next one already.
		before := s.writes
		must(t, store.Pause(t.Context(), mustGet(t, store), lane, v1alpha1.ReasonInvalidClient, "no"))
		if s.writes != before {
			t.Fatal("a refused probe was written a second time")
		}
		s.sync(t)
	}
	if last < 4*time.Minute || last > lastProbe {
		t.Errorf("the distance of probes grew to %s, want up to %s", last, lastProbe)
	}
}

func TestLift(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store, rival := newStore(s, clock), newStore(s, clock)
	must(t, store.Save(t.Context(), unkept()))
	lane := sample().Lane("refresh_token", "https://p/refresh")
	before := s.writes
	must(t, store.Lift(t.Context(), mustGet(t, store), lane))
	if s.writes != before {
		t.Error("lifting no pause wrote something")
	}
	must(t, store.Pause(t.Context(), mustGet(t, store), lane, v1alpha1.ReasonInvalidClient, "no"))
	s.sync(t)
	old := mustGet(t, rival)
	// Another writer makes the rival's version stale: the lift must get through all the same.
	must(t, store.Pause(t.Context(), mustGet(t, store), sample().Lane("authorization_code", "https://p/token"), v1alpha1.ReasonUnauthorizedClient, "no"))
	must(t, rival.Lift(t.Context(), old, lane))
	if _, paused := old.Paused(lane); paused {
		t.Error("the caller's copy is still paused")
	}
	s.sync(t)
	c := mustGet(t, newStore(s, clock))
	if _, paused := c.Paused(lane); paused {
		t.Error("the pause is still there")
	}
	if _, paused := c.Paused(sample().Lane("authorization_code", "https://p/token")); !paused {
		t.Error("the pause of another lane is gone")
	}
}

func TestAChangedClientIsNotPausedForWhatTheOldOneDid(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	must(t, store.Save(t.Context(), unkept()))
	lane := sample().Lane("refresh_token", "https://p/refresh")
	old := mustGet(t, store)
	must(t, store.Pause(t.Context(), mustGet(t, store), lane, v1alpha1.ReasonInvalidClient, "no"))
	rotated := mustGet(t, store)
	rotated.OAuth.Secret = sensitive.New("rotated")
	if _, paused := rotated.Paused(lane); paused {
		t.Error("a rotated secret counts as refused")
	}
	must(t, store.Save(t.Context(), rotated))
	if len(rotated.Pauses) != 0 {
		t.Error("the old pause was kept")
	}
	before := s.writes
	must(t, store.Pause(t.Context(), old, lane, v1alpha1.ReasonInvalidClient, "no"))
	must(t, store.Lift(t.Context(), old, lane))
	if s.writes != before {
		t.Error("a late answer to the old client changed the new one")
	}
}

func TestDeleteLeavesANewerVersionAlone(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	c := unkept()
	must(t, store.Delete(t.Context(), c)) // Never kept: nothing to do.
	must(t, store.Save(t.Context(), c))
	old := mustGet(t, store)
	c.Generation++
	must(t, store.Save(t.Context(), c))
	if err := store.Delete(t.Context(), old); !apierrors.IsConflict(err) {
		t.Errorf("deleting an old version gives %v, want a conflict", err)
	}
	must(t, store.Delete(t.Context(), mustGet(t, store)))
	must(t, store.Delete(t.Context(), c))
}

func TestDeletionsKeepNoSecretsAndAreForgotten(t *testing.T) {
	t.Parallel()
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	c := unkept()
	must(t, store.Save(t.Context(), c))
	must(t, store.Delete(t.Context(), c))
	if known := store.newest[c.Application.UID]; !known.deleted || known.secret != nil || !known.client.OAuth.Secret.IsEmpty() || known.client.Secrets != nil || known.client.Spec != nil {
		t.Errorf("a deleted client is remembered as %+v", known)
	}
	clock.SetTime(clock.Now().Add(2 * forgetAfter))
	other := unkept()
	other.Application.UID = "other"
	must(t, store.Save(t.Context(), other))
	if _, ok := store.newest[c.Application.UID]; ok || len(store.newest) != 1 {
		t.Errorf("%d applications are remembered, want the other one alone", len(store.newest))
	}
}

func TestErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	const old = "0ld-s3cr3t-value"
	s, clock := newServer(), newClock()
	store := newStore(s, clock)
	kept := unkept()
	kept.OAuth.Secret = sensitive.New(old)
	must(t, store.Save(t.Context(), kept))
	s.refuse = func(object client.Object) error {
		content := ""
		if secret, ok := object.(*corev1.Secret); ok {
			content = string(secret.Data[contentKey])
		}
		return apierrors.NewBadRequest("denied: " + content[max(0, strings.Index(content, "clientSecret")):] + " was " + old)
	}
	changed, fresh := mustGet(t, store), unkept()
	changed.OAuth.Secret = sensitive.New(canary)
	fresh.Application.UID = "fresh"
	for verb, err := range map[string]error{
		"create": store.Save(t.Context(), fresh), "update": store.Save(t.Context(), changed), "delete": store.Delete(t.Context(), kept),
	} {
		if !apierrors.IsBadRequest(err) || strings.Contains(err.Error(), canary) || (verb != "create" && strings.Contains(err.Error(), old)) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}
