// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"context"
	"errors"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

func tokenRequest(grantType string) record.Request {
	return record.Request{Kind: record.Kind{Endpoint: record.Token, GrantType: grantType}}
}

func TestWaitForCountsPastAndFuture(t *testing.T) {
	log := record.NewLog(false)
	log.Receive(tokenRequest("refresh_token"), "a")
	log.Receive(tokenRequest("client_credentials"), "")
	refreshes := record.Filter{GrantType: "refresh_token"}
	if err := log.WaitFor(t.Context(), 1, refreshes); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- log.WaitFor(t.Context(), 3, refreshes) }()
	for _, token := range []string{"b", "c"} {
		select {
		case err := <-done:
			t.Fatalf("returned early: %v", err)
		default:
		}
		log.Receive(tokenRequest("refresh_token"), token)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWaitForAnswers(t *testing.T) {
	log := record.NewLog(true)
	entry := log.Receive(tokenRequest("refresh_token"), "a")
	done := make(chan error, 2)
	go func() { done <- log.WaitFor(t.Context(), 1, record.Filter{Answered: true}) }()
	go func() { done <- log.WaitFor(t.Context(), 1, record.Filter{Status: 503}) }()
	if log.Count(record.Filter{Answered: true}) != 0 || log.Count(record.Filter{}) != 1 {
		t.Error("a request under way counts as answered, or not at all")
	}
	entry.Answer(503)
	entry.Answer(200)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if log.Count(record.Filter{Status: 200}) != 0 || log.Count(record.Filter{}) != 1 {
		t.Error("the second answer to one request was counted")
	}
}

func TestWaitForEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := record.NewLog(false).WaitFor(ctx, 1, record.Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestReuseIsOfSpentCredentialsOnly(t *testing.T) {
	log := record.NewLog(false)
	first := log.Receive(tokenRequest("refresh_token"), "a")
	if first.Process() {
		t.Error("a first use is no reuse")
	}
	if log.Receive(tokenRequest("refresh_token"), "a").Process() {
		t.Error("a token that was never redeemed cannot be reused")
	}
	first.Spend()
	if !log.Receive(tokenRequest("refresh_token"), "a").Process() {
		t.Error("reuse went unnoticed")
	}
	revocation := record.Request{Kind: record.Kind{Endpoint: record.Revoke}}
	if log.Receive(revocation, "a").Process() {
		t.Error("revoking a used token is no reuse")
	}
	if log.Reuse() != 1 || log.MaxUses() != 3 || log.Uses("a") != 3 || log.Uses("b") != 0 {
		t.Errorf("reuse %d, max uses %d, uses %d", log.Reuse(), log.MaxUses(), log.Uses("a"))
	}
}
