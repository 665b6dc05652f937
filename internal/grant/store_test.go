// SPDX-License-Identifier: Apache-2.0

package grant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const namespace = "operator"

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// world is an API server, a cache that lags behind it until told otherwise, and faults for writes.
type world struct {
	server client.Client
	cached client.Client // what the cache shows
	clock  *clocktesting.FakeClock
	fault  func(verb string) error // for the next write; nil: none
	limit  int                     // of a Secret's content, in bytes; 0: none
	writes int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clocktesting.NewFakeClock(start()), cached: builder().Build()}
	w.server = interceptor.NewClient(builder().Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return w.write("create", o, func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return w.write("update", o, func() error { return c.Update(ctx, o, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return w.write("delete", o, func() error { return c.Delete(ctx, o, options...) })
		},
	})
	return w
}

func builder() *fake.ClientBuilder {
	return fake.NewClientBuilder().
		WithIndex(&corev1.Secret{}, grant.IndexByConnection, grant.IndexConnection).
		WithIndex(&corev1.Secret{}, grant.IndexByApplication, grant.IndexApplication)
}

func (w *world) write(verb string, o client.Object, do func() error) error {
	w.writes++
	if secret, ok := o.(*corev1.Secret); ok && w.limit > 0 && len(secret.Data["grant.json"]) > w.limit {
		if w.limit < corev1.MaxSecretSize { // Something before the API server has a limit of its own.
			return apierrors.NewRequestEntityTooLargeError("")
		}
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, secret.Name, field.ErrorList{field.TooLong(field.NewPath("data"), "", w.limit)})
	}
	if w.fault != nil {
		if err := w.fault(verb); err != nil {
			return err
		}
	}
	return do()
}

func (w *world) store(process string) *grant.Store {
	return grant.New(grant.Options{
		Cached: w.cached, Live: w.server, Writer: w.server, Namespace: namespace, Process: process, Clock: w.clock,
	})
}

// sync lets the cache catch up.
func (w *world) sync(t *testing.T) {
	t.Helper()
	w.cached = w.server
}

func record(access, refresh string) *lifecycle.Record {
	return &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: "team", Name: "crm", UID: "uid-1"},
		Application: lifecycle.Identity{Namespace: "platform", Name: "crm", UID: "app-1"},
		Owner:       "alice",
		Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New(access), RefreshToken: sensitive.New(refresh), TokenType: "Bearer",
			Scopes: []string{"a", "b"}, RequestedScopes: []string{"a"}, IssuedAt: start(),
			Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: start().Add(time.Hour)}, GrantType: lifecycle.AuthorizationCode,
		},
		Replaced: []sensitive.String{sensitive.New("replaced-1")}, Previous: sensitive.New("access-0"),
	}
}

func call(id string) lifecycle.Call {
	return lifecycle.Call{Action: lifecycle.Refresh, ID: id, UID: "uid-1", SentAt: start()}
}

func TestRecordSurvivesStorage(t *testing.T) {
	w := newWorld(t)
	want := record("access-1", "refresh-1")
	if _, err := w.store("p1").Write(t.Context(), nil, want); err != nil {
		t.Fatal(err)
	}
	got, err := w.store("p2").Live(t.Context(), "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	r := got.Record
	if !r.AccessToken.Equal(want.AccessToken) || !r.RefreshToken.Equal(want.RefreshToken) || !r.Replaced[0].Equal(want.Replaced[0]) || !r.Previous.Equal(want.Previous) ||
		!r.Expiry.At.Equal(want.Expiry.At) || r.Connection != want.Connection || r.Application != want.Application || r.Owner != "alice" {
		t.Errorf("stored and read back: %+v, want %+v", r, want)
	}
	secret := got.Secret()
	if secret.Type != v1alpha1.SecretTypeGrant || secret.Labels[v1alpha1.LabelRecord] != v1alpha1.RecordGrant ||
		secret.Labels[v1alpha1.LabelConnectionUID] != "uid-1" || secret.Name != "grant-uid-1" {
		t.Errorf("the Secret is %+v", secret.ObjectMeta)
	}
	if shown := fmt.Sprintf("%+v %v", *r, got); strings.Contains(shown, "access-1") || strings.Contains(shown, "refresh-1") {
		t.Error("a printed record shows its tokens")
	}
}

func TestBeginIsWonOnce(t *testing.T) {
	w := newWorld(t)
	first, second := w.store("p1"), w.store("p2")
	base, err := first.Write(t.Context(), nil, record("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	w.sync(t)
	other, err := second.Live(t.Context(), "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	marked, err := first.Begin(t.Context(), base, base.Record, call("a"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Begin(t.Context(), other, other.Record, call("b"), ""); !errors.Is(err, grant.ErrConflict) {
		t.Errorf("the second controller may send the same refresh token: %v", err)
	}
	if marked.Record.Attempt.Process != "p1" || marked.Record.Attempt.ID != "a" {
		t.Errorf("the mark is %+v", marked.Record.Attempt)
	}
}

func TestOwnWritesAreReadBack(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	base, err := s.Write(t.Context(), nil, record("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "uid-1")
	if err != nil || got == nil || !got.Record.AccessToken.Equal(sensitive.New("access-1")) {
		t.Fatalf("a record that the cache does not show yet: %v, %v", got, err)
	}
	if err := s.Delete(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "uid-1"); got != nil || err != nil {
		t.Errorf("a deleted record is read back: %v, %v", got, err)
	}
	w.clock.Step(2 * time.Minute)
	if got, err := s.Get(t.Context(), "uid-1"); got != nil || err != nil {
		t.Errorf("after the cache is believed again: %v, %v", got, err)
	}
}

// TestLandOutlastsAnOutage is rule 1: the write is tried again, however long, and a cancelled context does not stop it.
func TestLandOutlastsAnOutage(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	base, err := s.Write(t.Context(), nil, record("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	var failures atomic.Int64
	w.fault = func(string) error {
		if failures.Add(1) > 20 {
			return nil
		}
		return errors.New("connection refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	landed := make(chan *grant.Entry)
	go func() { landed <- s.Land(ctx, base, record("access-2", "refresh-2")) }()
	for done := false; !done; {
		select {
		case entry := <-landed:
			done = true
			if !entry.Record.RefreshToken.Equal(sensitive.New("refresh-2")) {
				t.Errorf("landed %+v", entry.Record)
			}
		default:
			if w.clock.HasWaiters() {
				w.clock.Step(10 * time.Second)
			}
		}
	}
	stored, err := s.Live(t.Context(), "uid-1")
	if err != nil || !stored.Record.RefreshToken.Equal(sensitive.New("refresh-2")) || failures.Load() != 21 {
		t.Errorf("stored %+v after %d attempts: %v", stored, failures.Load(), err)
	}
}

func TestLandFitsItselfToOtherWrites(t *testing.T) {
	for _, test := range []struct {
		reason string
		other  func(t *testing.T, w *world, s *grant.Store)
		check  func(r *lifecycle.Record) bool
	}{
		{
			reason: "somebody touched only the Secret's metadata",
			other: func(t *testing.T, w *world, s *grant.Store) {
				t.Helper()
				live, err := s.Live(t.Context(), "uid-1")
				if err != nil {
					t.Fatal(err)
				}
				secret := live.Secret().DeepCopy()
				secret.Annotations["someone"] = "else"
				if err := w.server.Update(t.Context(), secret); err != nil {
					t.Fatal(err)
				}
			},
			check: func(r *lifecycle.Record) bool {
				return r.RefreshToken.Equal(sensitive.New("refresh-2")) && r.Attempt == nil
			},
		},
		{
			reason: "somebody deleted the record: the tokens are kept all the same",
			other: func(t *testing.T, _ *world, s *grant.Store) {
				t.Helper()
				live, err := s.Live(t.Context(), "uid-1")
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Delete(t.Context(), live); err != nil {
					t.Fatal(err)
				}
			},
			check: func(r *lifecycle.Record) bool { return r.RefreshToken.Equal(sensitive.New("refresh-2")) },
		},
		{
			reason: "another controller judged the call to be a crash",
			other: func(t *testing.T, _ *world, s *grant.Store) {
				t.Helper()
				live, err := s.Live(t.Context(), "uid-1")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(t.Context(), live, lifecycle.Interrupted(live.Record, "", start())); err != nil {
					t.Fatal(err)
				}
			},
			check: func(r *lifecycle.Record) bool {
				return r.RefreshToken.Equal(sensitive.New("refresh-2")) && r.Attempt == nil && r.Failure == nil
			},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			s := w.store("p1")
			base, err := s.Write(t.Context(), nil, record("access-1", "refresh-1"))
			if err != nil {
				t.Fatal(err)
			}
			marked, err := s.Begin(t.Context(), base, base.Record, call("a"), "")
			if err != nil {
				t.Fatal(err)
			}
			test.other(t, w, w.store("p2"))
			outcome := lifecycle.Succeeded(marked.Record, call("a"), record("access-2", "refresh-2").Tokens, start())
			s.Land(t.Context(), marked, outcome)
			stored, err := s.Live(t.Context(), "uid-1")
			if err != nil || !test.check(stored.Record) {
				t.Errorf("stored %+v, %v", stored.Record, err)
			}
		})
	}
}

func TestWriteErrors(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	w.fault = func(string) error { return apierrors.NewInternalError(errors.New("etcd is away")) }
	if _, err := s.Write(t.Context(), nil, record("access-1", "refresh-1")); err == nil || errors.Is(err, grant.ErrConflict) {
		t.Errorf("a failed write says %v", err)
	}
	if got, err := s.Get(t.Context(), "uid-1"); got != nil || err != nil {
		t.Errorf("a failed write is believed: %v, %v", got, err)
	}
}

func TestUnreadableRecord(t *testing.T) {
	for _, content := range []string{`not json "access-1"`, `{"format":99}`, ``} {
		w := newWorld(t)
		secret := &corev1.Secret{Data: map[string][]byte{"grant.json": []byte(content)}}
		secret.Namespace, secret.Name = namespace, "grant-uid-1"
		if err := w.server.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		_, err := w.store("p1").Live(t.Context(), "uid-1")
		if err == nil || !strings.Contains(err.Error(), "grant-uid-1") || strings.Contains(err.Error(), "access-1") {
			t.Errorf("content %q: %v", content, err)
		}
	}
}

func TestIndexes(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	if _, err := s.Write(t.Context(), nil, record("access-1", "refresh-1")); err != nil {
		t.Fatal(err)
	}
	w.sync(t)
	s = w.store("p1")
	entries, err := s.OfConnection(t.Context(), "team", "crm")
	if err != nil || len(entries) != 1 {
		t.Errorf("records of the connection: %v, %v", entries, err)
	}
	for uid, want := range map[string]bool{"app-1": true, "app-2": false} {
		if got, err := s.NeedsApplication(t.Context(), uid); got != want || err != nil {
			t.Errorf("needs application %s: %v, %v", uid, got, err)
		}
	}
}
