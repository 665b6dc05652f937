// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TestJudgeProbes : only an answer that says so ends a grant, and only one without a word of trouble proves that it lives.
func TestJudgeProbes(t *testing.T) {
	byBody := &v1alpha1.ProbeSpec{
		InactiveStatuses: []int32{200}, InactiveWhen: &v1alpha1.InactiveCondition{Path: "$.error", Values: []string{"token_revoked"}},
	}
	for _, row := range []struct {
		name  string
		probe *v1alpha1.ProbeSpec
		body  string
		works bool
		fails bool
	}{
		{"a success", &v1alpha1.ProbeSpec{}, `{}`, true, false},
		{"a success that the body tells", byBody, `{"ok":true}`, true, false},
		{"an end that the body tells", byBody, `{"ok":false,"error":"token_revoked"}`, false, false},
		{"trouble that the body tells", byBody, `{"ok":false,"error":"ratelimited"}`, false, true},
	} {
		answer, err := oauth.NewCaller(time.Now, oauth.Options{}).Get(t.Context(), answering(row.body), oauth.ResourceRequest{URL: "https://api.example.com/me"})
		if err != nil {
			t.Fatal(err)
		}
		works, _, err := judge(row.probe, answer)
		if works != row.works || (err != nil) != row.fails {
			t.Errorf("%s: works %v, %v", row.name, works, err)
		}
	}
}

// uncounted are metrics that nobody reads.
type uncounted struct{}

func (uncounted) Call(types.NamespacedName, string, string, time.Duration) {}
func (uncounted) Unrevoked(types.NamespacedName)                           {}

// TestALostCheckIsMadeAgain : somebody has written the record meanwhile, and the answer that the token is dead is not in it.
func TestALostCheckIsMadeAgain(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	api, clock := fake.NewClientBuilder().Build(), clocktesting.NewFakeClock(now)
	store := grant.New(grant.Options{Cached: api, Live: api, Writer: api, Namespace: "operator", Process: "me", Clock: clock})
	first, err := store.Write(t.Context(), nil, &lifecycle.Record{
		Connection: lifecycle.Identity{Namespace: "team", Name: "crm", UID: "crm"},
		Tokens:     lifecycle.Tokens{AccessToken: sensitive.New("access")},
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := *first.Record
	if _, err := store.Write(t.Context(), first, &changed); err != nil {
		t.Fatal(err)
	}
	s := perTenant(first.Record)
	s.entry, s.facts.UID = first, "crm"
	s.profile.Spec.APIBaseURL = "https://api.example.com"
	s.profile.Spec.StatusCheck = &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckProbe, Probe: &v1alpha1.ProbeSpec{InactiveStatuses: []int32{200}}}
	r := New(Options{Grants: store, Caller: oauth.NewCaller(clock.Now, oauth.Options{}), Clock: clock, Metrics: uncounted{}})
	if err := r.check(t.Context(), s, answering(`{}`)); !stale(err) {
		t.Errorf("check = %v, want a conflict", err)
	}
	if _, done := r.checked.Load("crm"); done {
		t.Error("the check counts although nothing of it is known")
	}
}

// answering is a provider that always answers with the same JSON.
type answering string

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(a))),
	}, nil
}

// TestUserInfoKeepsOnlyWhatFits : a value that the application would refuse must not stop the refreshes of a grant.
func TestUserInfoKeepsOnlyWhatFits(t *testing.T) {
	s := perTenant(&lifecycle.Record{})
	s.profile.Spec.UserInfo = &v1alpha1.UserInfoSpec{Capture: []v1alpha1.Capture{
		{Name: "team", Path: "$.team"},
		{Name: "long", Path: "$.long"},
		{Name: "region", Path: "$.region", Restriction: v1alpha1.Restriction{Enum: []string{"eu", "us"}}},
	}}
	body := answering(`{"sub":"` + strings.Repeat("x", 1025) + `","team":"core","long":"` + strings.Repeat("x", 1025) + `","region":"mars"}`)
	answer, err := oauth.NewCaller(time.Now, oauth.Options{}).Get(context.Background(), body, oauth.ResourceRequest{URL: "https://api.example.com/me"})
	if err != nil {
		t.Fatal(err)
	}
	captured := s.capturedOf(answer)
	if !maps.Equal(captured, map[string]string{"team": "core"}) {
		t.Errorf("captured %v", captured)
	}
	if _, err := s.profile.Values(map[string]string{"tenant": "acme"}, captured); err != nil {
		t.Errorf("what was kept is in the way: %v", err)
	}
	if subject := subjectOf(nil, answer); subject != "" {
		t.Errorf("a subject of %d bytes", len(subject))
	}
}
