// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestNotAllowed(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"crm": "yes"}}
	all := &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
	for _, test := range []struct {
		reason     string
		namespace  string
		allowed    *v1alpha1.AllowedNamespaces
		labels     map[string]string
		grantTypes []v1alpha1.GrantType
		grantType  v1alpha1.GrantType
		scopes     []v1alpha1.Scope
		want       string // part of the message; empty: allowed
	}{
		{reason: "the own namespace always may", namespace: "platform", grantType: v1alpha1.GrantClientCredentials, scopes: []v1alpha1.Scope{"any"}},
		{reason: "others may not by default", namespace: "team", grantType: v1alpha1.GrantAuthorizationCode, want: "spec.allowedNamespaces"},
		{reason: "Same keeps others out", namespace: "team", allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}, want: "spec.allowedNamespaces"},
		{reason: "All lets everybody in", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode},
		{
			reason: "a selector matches labels", namespace: "team", labels: map[string]string{"crm": "yes"},
			allowed:   &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector},
			grantType: v1alpha1.GrantRefreshToken,
		},
		{
			reason: "a selector keeps out what does not match", namespace: "team", labels: map[string]string{"crm": "no"},
			allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}, want: "namespace team",
		},
		{
			reason: "a selector that is missing matches nothing", namespace: "team",
			allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector}, want: "spec.allowedNamespaces",
		},
		{reason: "credentials alone are not for others by default", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials, want: "spec.allowedGrantTypes"},
		{
			reason: "unless the application says so", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, scopes: []v1alpha1.Scope{"read"},
		},
		{
			reason: "and then only within its scopes", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, scopes: []v1alpha1.Scope{"read", "admin"}, want: "admin",
		},
		{
			reason: "a person may consent to any scope", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode,
			scopes: []v1alpha1.Scope{"admin"},
		},
		{
			reason: "a list of grant types replaces the default", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, want: "AuthorizationCode",
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			application := &v1alpha1.OAuthApplication{}
			application.Namespace, application.Name = "platform", "crm"
			application.Spec.AllowedNamespaces, application.Spec.AllowedGrantTypes = test.allowed, test.grantTypes
			application.Spec.Scopes = []v1alpha1.Scope{"read", "write"}
			connection := &v1alpha1.OAuthConnection{}
			connection.Namespace, connection.Spec.Scopes, connection.Spec.Grant.Type = test.namespace, test.scopes, test.grantType
			got := notAllowed(application, connection, test.labels)
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to contain %q", got, test.want)
			}
		})
	}
}

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
		{"something else", errors.New("token abc"), lifecycle.Refusal{Concern: lifecycle.ConcernsNobody, Message: "the call failed"}},
	} {
		if got := refusalOf(test.err); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.reason, got, test.want)
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
	}
	var order []string
	for _, token := range tokensToRevoke(record) {
		order = append(order, token.value.Reveal()+"/"+token.hint)
	}
	if got, want := strings.Join(order, " "), "refresh/refresh_token access/access_token before/access_token old/refresh_token"; got != want {
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
		{string(lifecycle.AuthorizationSucceeded), string(v1alpha1.AuthorizationSucceeded)},
		{string(lifecycle.AuthorizationFailed), string(v1alpha1.AuthorizationFailed)},
		{string(lifecycle.AuthorizationUnknown), string(v1alpha1.AuthorizationUnknown)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%q is %q in the API", pair[0], pair[1])
		}
	}
}
