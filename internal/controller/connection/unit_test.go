// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestRefusalOf(t *testing.T) {
	for _, test := range []struct {
		reason string
		err    error
		want   lifecycle.Refusal
	}{
		{"a dead grant", &oauth.Error{Concern: oauth.ConcernGrant, Code: "invalid_grant", Sent: oauth.Answered}, lifecycle.Refusal{Concern: lifecycle.ConcernsGrant, Message: "invalid_grant"}},
		{"a wrong client", &oauth.Error{Concern: oauth.ConcernApplication, Code: "invalid_client", Sent: oauth.Answered}, lifecycle.Refusal{Concern: lifecycle.ConcernsClient, Message: "invalid_client"}},
		{
			"a client that may not", &oauth.Error{Concern: oauth.ConcernApplication, Code: "unauthorized_client", Sent: oauth.Answered},
			lifecycle.Refusal{Concern: lifecycle.ConcernsClient, Unauthorized: true, Message: "unauthorized_client"},
		},
		{"an unclear refusal", &oauth.Error{Concern: oauth.ConcernRefused, Status: 403, Sent: oauth.Answered}, lifecycle.Refusal{Concern: lifecycle.ConcernsUnclear, Message: "HTTP 403 Forbidden"}},
		{
			"a lost answer", &oauth.Error{Concern: oauth.ConcernTransient, Description: "time-out", Sent: oauth.Unknown},
			lifecycle.Refusal{Concern: lifecycle.ConcernsNobody, OutcomeUnknown: true, Message: "time-out"},
		},
		{
			"a busy provider", &oauth.Error{Concern: oauth.ConcernTransient, Status: 429, RetryAfter: time.Minute, Sent: oauth.Answered},
			lifecycle.Refusal{Concern: lifecycle.ConcernsNobody, RetryAfter: time.Minute, Message: "HTTP 429 Too Many Requests"},
		},
		{
			"a request that cannot be made", &oauth.Error{Concern: oauth.ConcernApplication, Description: "twice the same", Sent: oauth.NotSent},
			lifecycle.Refusal{Concern: lifecycle.ConcernsSetup, Reason: "InvalidConfiguration", Message: "twice the same"},
		},
		{"something else", errors.New("token abc"), lifecycle.Refusal{Concern: lifecycle.ConcernsNobody, Message: "the call failed"}},
	} {
		if got := refusalOf(test.err); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.reason, got, test.want)
		}
	}
}

// TestCodesOvertakePolls : a code lives for a minute, a device code for many, and each is asked about every few seconds.
func TestCodesOvertakePolls(t *testing.T) {
	if priorityOf(&scope{}, lifecycle.Poll) >= priorityOf(&scope{}, lifecycle.Exchange) || priorityOf(&scope{}, lifecycle.Poll) <= priorityOf(&scope{}, lifecycle.Refresh) {
		t.Error("polls do not go between codes and refreshes")
	}
}

// TestDeviceCodesAreShownWhileTheyAreLookedAt : not when the connection has another grant type by now.
func TestDeviceCodesAreShownWhileTheyAreLookedAt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := &scope{now: now}
	s.facts.Record = &lifecycle.Record{Device: &lifecycle.Device{UserCode: "ABCD", ExpiresAt: now.Add(time.Minute)}}
	if s.facts.GrantType = lifecycle.DeviceCode; deviceOf(s) == nil {
		t.Error("the code is not shown")
	}
	if s.facts.GrantType = lifecycle.AuthorizationCode; deviceOf(s) != nil {
		t.Error("a code is shown that nobody asks about")
	}
}

// TestImportsProveNoScopes : what was asked for in the beginning is not known, unless the provider says what was granted.
func TestImportsProveNoScopes(t *testing.T) {
	s := &scope{input: input{value: sensitive.New("imported")}}
	s.facts = lifecycle.Facts{GrantType: lifecycle.RefreshToken, Scopes: []string{"read", "write"}}
	for _, row := range []struct {
		response oauth.TokenResponse
		want     lifecycle.Truth
	}{
		{oauth.TokenResponse{}, ""},
		{oauth.TokenResponse{Scope: []string{"read"}, ScopeGiven: true}, lifecycle.False},
	} {
		row.response.AccessToken = sensitive.New("access")
		tokens := tokensOf(s, lifecycle.Call{Action: lifecycle.Import}, row.response)
		s.facts.Record = &lifecycle.Record{Tokens: tokens}
		if got := lifecycle.Describe(s.facts, lifecycle.Publication{}, time.Time{}).ScopesGranted; got.Status != row.want {
			t.Errorf("with %v: %+v", row.response.Scope, got)
		}
	}
}

func TestHugeIDTokensAreNotKept(t *testing.T) {
	for size, kept := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		response := oauth.TokenResponse{AccessToken: sensitive.New("access"), IDToken: sensitive.New(strings.Repeat("x", size))}
		if got := tokensOf(&scope{}, lifecycle.Call{Action: lifecycle.Exchange}, response); got.IDToken.IsEmpty() == kept {
			t.Errorf("of %d bytes: kept %v", size, !got.IDToken.IsEmpty())
		}
	}
}

func TestMarksRememberTheFirstSight(t *testing.T) {
	m, now := marks{seen: map[string]sighting{}}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	marked := func(id, process string) *lifecycle.Record {
		return &lifecycle.Record{
			Connection: lifecycle.Identity{UID: "uid-1"}, Attempt: &lifecycle.Attempt{ID: id, Process: process},
		}
	}
	if !m.firstSeen(nil, "me", now).IsZero() || !m.firstSeen(marked("a", "me"), "me", now).IsZero() {
		t.Error("no record, or an own mark, counts as a foreign one")
	}
	if got := m.firstSeen(marked("a", "other"), "me", now); !got.Equal(now) {
		t.Errorf("first seen at %s", got)
	}
	if got := m.firstSeen(marked("a", "other"), "me", now.Add(time.Minute)); !got.Equal(now) {
		t.Errorf("seen again: %s, want the first time", got)
	}
	if got := m.firstSeen(marked("b", "other"), "me", now.Add(time.Minute)); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("another mark: %s, want its own first time", got)
	}
	m.firstSeen(&lifecycle.Record{Connection: lifecycle.Identity{UID: "uid-1"}}, "me", now)
	if len(m.seen) != 0 {
		t.Error("a mark that is gone is remembered")
	}
}

func TestTokensToRevoke(t *testing.T) {
	record := &lifecycle.Record{
		Tokens:   lifecycle.Tokens{AccessToken: sensitive.New("access"), RefreshToken: sensitive.New("refresh")},
		Replaced: []sensitive.String{sensitive.New("old")}, Previous: sensitive.New("before"),
		Candidate: &lifecycle.Candidate{Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New("newer"), RefreshToken: sensitive.New("new"),
		}},
	}
	var order []string
	for _, token := range tokensToRevoke(record) {
		order = append(order, token.value.Reveal()+"/"+string(token.kind))
	}
	if got, want := strings.Join(order, " "), "refresh/RefreshToken access/AccessToken before/AccessToken old/RefreshToken new/RefreshToken newer/AccessToken"; got != want {
		t.Errorf("revoked in the order %s, want %s", got, want)
	}
	if got := tokensToRevoke(&lifecycle.Record{}); len(got) != 0 {
		t.Errorf("nothing held, but %d tokens to revoke", len(got))
	}
}

// TestReasonsAreTheAPIs holds the words of the pure package and of the API together.
func TestReasonsAreTheAPIs(t *testing.T) {
	for _, pair := range [][2]string{
		{string(lifecycle.Pending), string(v1alpha1.ConnectionPending)},
		{string(lifecycle.Authorizing), string(v1alpha1.ConnectionAuthorizing)},
		{string(lifecycle.Active), string(v1alpha1.ConnectionActive)},
		{string(lifecycle.Inactive), string(v1alpha1.ConnectionInactive)},
		{string(lifecycle.Deleted), string(v1alpha1.ConnectionDeleted)},
		{string(lifecycle.AuthorizationCode), string(v1alpha1.GrantAuthorizationCode)},
		{string(lifecycle.RefreshToken), string(v1alpha1.GrantRefreshToken)},
		{string(lifecycle.ClientCredentials), string(v1alpha1.GrantClientCredentials)},
		{string(lifecycle.DeviceCode), string(v1alpha1.GrantDeviceCode)},
		{string(lifecycle.JWTBearer), string(v1alpha1.GrantJWTBearer)},
		{string(lifecycle.TokenExchange), string(v1alpha1.GrantTokenExchange)},
		{string(lifecycle.Extension), string(v1alpha1.GrantExtension)},
		{string(lifecycle.AuthorizationSucceeded), string(v1alpha1.AuthorizationSucceeded)},
		{string(lifecycle.AuthorizationFailed), string(v1alpha1.AuthorizationFailed)},
		{string(lifecycle.AuthorizationUnknown), string(v1alpha1.AuthorizationUnknown)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%q is %q in the API", pair[0], pair[1])
		}
	}
}

// TestCauseOf : people are told of a status check that tells nothing once for each cause, and the texts of the network
// name another port each time.
func TestCauseOf(t *testing.T) {
	lost := func(port string) error {
		return &oauth.Error{Concern: oauth.ConcernTransient, Description: "read tcp 127.0.0.1:" + port + ": connection reset by peer"}
	}
	if causeOf(lost("40001")) != causeOf(lost("40002")) {
		t.Error("one outage is told of again and again")
	}
	if causeOf(lost("40001")) == causeOf(&oauth.Error{Status: 503}) || causeOf(errors.New("404")) == causeOf(errors.New("403")) {
		t.Error("different causes are told of as one")
	}
}
