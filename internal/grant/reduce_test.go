// SPDX-License-Identifier: Apache-2.0

package grant_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// begun stores a record and marks a call.
func begun(t *testing.T, s *grant.Store, action lifecycle.Action) (*grant.Entry, lifecycle.Call) {
	t.Helper()
	base, err := s.Write(t.Context(), nil, record("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	c := lifecycle.Call{Action: action, ID: "a", UID: "uid-1", SentAt: start(), InputHash: "hash-1", InputVersion: "7"}
	marked, err := s.Begin(t.Context(), base, base.Record, c, "")
	if err != nil {
		t.Fatal(err)
	}
	return marked, c
}

func TestLandReducesWhatDoesNotFit(t *testing.T) {
	huge := strings.Repeat("x", corev1.MaxSecretSize)
	for _, test := range []struct {
		reason          string
		limit           int
		action          lifecycle.Action
		access, refresh string
		scopes          []string
		check           func(r *lifecycle.Record) bool
	}{
		{
			reason: "it fits", limit: corev1.MaxSecretSize, action: lifecycle.Refresh, access: "access-2", refresh: "refresh-2",
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.Equal(sensitive.New("access-2")) && len(r.Replaced) == 1 && len(r.Scopes) == 2
			},
		},
		{
			reason: "characters that HTML would escape take one byte each", limit: corev1.MaxSecretSize, action: lifecycle.Refresh,
			access: strings.Repeat("&", corev1.MaxSecretSize/2), refresh: "refresh-2",
			check: func(r *lifecycle.Record) bool { return len(r.AccessToken.Reveal()) == corev1.MaxSecretSize/2 },
		},
		{
			reason: "scopes", limit: corev1.MaxSecretSize, action: lifecycle.Refresh, access: "access-2", refresh: "refresh-2", scopes: []string{huge},
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.Equal(sensitive.New("access-2")) && r.RefreshToken.Equal(sensitive.New("refresh-2")) &&
					len(r.Scopes) == 0 && len(r.RequestedScopes) == 1 && r.Failure == nil
			},
		},
		{
			reason: "the access token: the refresh token is kept, and not used by itself", limit: corev1.MaxSecretSize, action: lifecycle.Refresh,
			access: huge, refresh: "refresh-2",
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.IsEmpty() && r.RefreshToken.Equal(sensitive.New("refresh-2")) && r.Failure.Terminal
			},
		},
		{
			reason: "the access token, and a smaller limit than a Secret's", limit: 8 << 10, action: lifecycle.Refresh,
			access: huge[:9<<10], refresh: "refresh-2",
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.IsEmpty() && r.RefreshToken.Equal(sensitive.New("refresh-2")) && r.Failure.Terminal
			},
		},
		{
			reason: "the refresh token: what was there stays", limit: corev1.MaxSecretSize, action: lifecycle.Refresh, access: "access-2", refresh: huge,
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.Equal(sensitive.New("access-1")) && len(r.Replaced) == 1 && r.Failure.Terminal &&
					strings.Contains(r.Failure.Message, "does not fit into a Secret")
			},
		},
		{
			reason: "the refresh token that came for a code: the code is spent", limit: corev1.MaxSecretSize, action: lifecycle.Exchange,
			access: "access-2", refresh: huge,
			check: func(r *lifecycle.Record) bool {
				return r.AccessToken.Equal(sensitive.New("access-1")) && r.SpentInput == "hash-1" && r.InputVersion == "7" &&
					r.Authorization.Result == lifecycle.AuthorizationFailed && r.Authorization.Reason == v1alpha1.ReasonInvalidGrant
			},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			s := w.store("p1")
			marked, c := begun(t, s, test.action)
			w.limit = test.limit
			tokens := record(test.access, test.refresh).Tokens
			if test.scopes != nil {
				tokens.Scopes = test.scopes
			}
			landed := s.Land(t.Context(), marked, lifecycle.Succeeded(marked.Record, c, tokens, start()))
			stored, err := s.Live(t.Context(), "uid-1")
			if err != nil || stored.Record.Attempt != nil || !test.check(stored.Record) || !test.check(landed.Record) {
				t.Errorf("stored %.500s, %v", fmt.Sprintf("%+v", stored.Record), err)
			}
		})
	}
}

func TestLandEndsWhenNothingFits(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	marked, c := begun(t, s, lifecycle.Refresh)
	w.limit, w.writes = 10, 0
	outcome := lifecycle.Succeeded(marked.Record, c, record("access-2", "refresh-2").Tokens, start())
	if landed := s.Land(t.Context(), marked, outcome); landed != marked || w.writes != 5 {
		t.Errorf("landed %+v after %d writes, want what is stored", landed, w.writes)
	}
	if landed := s.Land(t.Context(), nil, record("access-2", "")); landed == nil || landed.Secret() == nil {
		t.Error("without anything stored there is no entry at all")
	}
}

// TestLandOutlastsAPolicy : a small record is refused by a policy, which people can correct.
func TestLandOutlastsAPolicy(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	marked, c := begun(t, s, lifecycle.Refresh)
	failures := 0
	w.fault = func(string) error {
		if failures++; failures > 10 {
			return nil
		}
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "grant-uid-1", nil)
	}
	landed := make(chan *grant.Entry)
	outcome := lifecycle.Succeeded(marked.Record, c, record("access-2", "refresh-2").Tokens, start())
	go func() { landed <- s.Land(t.Context(), marked, outcome) }()
	for {
		select {
		case entry := <-landed:
			if !entry.Record.RefreshToken.Equal(sensitive.New("refresh-2")) || !entry.Record.AccessToken.Equal(sensitive.New("access-2")) {
				t.Errorf("landed %+v", entry.Record)
			}
			return
		default:
			if w.clock.HasWaiters() {
				w.clock.Step(10 * time.Second)
			}
		}
	}
}

func TestErrorsShowNoToken(t *testing.T) {
	w := newWorld(t)
	s := w.store("p1")
	base, err := s.Write(t.Context(), nil, record("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	const all = "access-1 refresh-1 replaced-1 access-0 access-2 refresh-2"
	for reason, test := range map[string]struct {
		fault    error
		conflict bool
	}{
		"refused":   {apierrors.NewBadRequest(all), false},
		"conflict":  {apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "x", errors.New(all)), true},
		"no answer": {errors.New(all), false},
	} {
		w.fault = func(string) error { return test.fault }
		_, writeErr := s.Write(t.Context(), base, record("access-2", "refresh-2"))
		deleteErr := s.Delete(t.Context(), base)
		for verb, err := range map[string]error{"write": writeErr, "delete": deleteErr} {
			if err == nil || errors.Is(err, grant.ErrConflict) != test.conflict {
				t.Fatalf("%s, %s: %v", reason, verb, err)
			}
			for token := range strings.FieldsSeq(all) {
				known := verb == "write" || !strings.HasSuffix(token, "-2") // A deletion knows the stored tokens alone.
				if known && strings.Contains(err.Error(), token) {
					t.Errorf("%s, %s: %v shows %s", reason, verb, err, token)
				}
			}
		}
	}
}
