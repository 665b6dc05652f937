// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

var refresh = regexp.MustCompile(`http-equiv="refresh" content="[0-9]+;url=([^"]*)"`)

// login logs a person in up to the address of the result, and returns that and the login's identifier.
func (b *browser) login() (address, login string) {
	b.w.t.Helper()
	known := map[string]bool{}
	for _, message := range b.w.messages() {
		known[message.Response.Login] = true
	}
	address = b.back(b.depart(), code()).redirects(external + "/oauth2/result/").location.String()
	for _, message := range b.w.messages() {
		if !known[message.Response.Login] {
			login = message.Response.Login
		}
	}
	return address, login
}

// held waits until somebody waits for something.
func (w *world) held() {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if !w.clock.HasWaiters() {
			return errors.New("nobody waits")
		}
		return nil
	})
}

// staysHeld fails the test when a page is shown although there is more to wait for.
func (w *world) staysHeld(shown <-chan *page) {
	w.t.Helper()
	testenv.Consistently(w.t, 300*time.Millisecond, func() error {
		select {
		case p := <-shown:
			return fmt.Errorf("shown too early: %s", plain(p.text))
		default:
			return nil
		}
	})
}

func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		outcome         v1alpha1.AuthorizationOutcome
		reason, message string
		kind            pages.Kind
		retry           bool
	}{
		{v1alpha1.AuthorizationSucceeded, "", "", pages.Success, false},
		{v1alpha1.AuthorizationSucceeded, "", "the provider does not say whose account it is", pages.Success, false},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccountMismatch, "that was grace", pages.AccountMismatch, true},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccessDenied, "the provider answered access_denied", pages.Denied, true},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonAuthorizationExpired, "too late", pages.Expired, true},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonConnectionChanged, "other scopes", pages.Changed, true},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonSuspended, "spec.suspend is true", pages.Suspended, false},
		{v1alpha1.AuthorizationFailed, v1alpha1.ReasonInvalidGrant, "<i>invalid_grant</i>", pages.Failed, true},
		{v1alpha1.AuthorizationUnknown, v1alpha1.ReasonExchangeOutcomeUnknown, "it broke off", pages.Failed, true},
		{v1alpha1.AuthorizationFailed, "SomethingNew", "", pages.Failed, true},
	} {
		t.Run(string(test.outcome)+" "+test.reason+" "+test.message, func(t *testing.T) {
			w := newWorld(t)
			person := w.browser(w.gateway())
			address, login := person.login()
			shown := person.async(address)
			w.held()
			w.outcome(login, test.outcome, test.reason, test.message)
			p := (<-shown).shows(test.kind).contains(test.message)
			if test.message == "" && test.reason != "" {
				p.contains(test.reason)
			}
			if strings.Contains(p.text, "<i>") {
				t.Error("a message is not escaped")
			}
			link := fmt.Sprintf(`href="%s"`, strings.ReplaceAll(w.connection.Status.AuthorizationURL, "&", "&amp;"))
			if got := strings.Contains(p.text, link) && w.connection.Status.AuthorizationURL != ""; got != test.retry {
				t.Errorf("a link to try again: %t, want %t", got, test.retry)
			}
			if policy := p.header.Get("Content-Security-Policy"); !strings.Contains(policy, "https://cdn.example.test") {
				t.Errorf("the logo may not be shown: %s", policy)
			}
		})
	}
}

// A success is one when the workload has its Secret.
func TestSuccessWaitsForTheSecret(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	address, login := person.login()
	shown := person.async(address)
	w.held()
	succeed := func(ready metav1.ConditionStatus, message string) {
		w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) {
			status.LastAuthorization = &v1alpha1.LastAuthorization{ID: login, Outcome: v1alpha1.AuthorizationSucceeded, Time: metav1.Now()}
			w.ready(status, ready, message)
		})
	}
	succeed(metav1.ConditionFalse, "a Secret of that name is somebody else's")
	w.staysHeld(shown)
	succeed(metav1.ConditionTrue, "fine")
	if p := (<-shown).shows(pages.Success); strings.Contains(p.text, "somebody else") {
		t.Error("the page speaks of what is over")
	}

	succeed(metav1.ConditionFalse, "a Secret of that name is somebody else's")
	w.eventually(func() error { // What the cache has.
		if p := person.patient(address); p.status != http.StatusOK || !strings.Contains(p.text, "somebody else") {
			return fmt.Errorf("status %d: %s", p.status, plain(p.text))
		}
		return nil
	})
	person.patient(address).shows(pages.Unpublished)
}

func (w *world) eventually(condition func() error) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, condition)
}

// patient gets a page as somebody whom nobody has seen before, while the clock goes on.
func (b *browser) patient(address string) *page {
	b.w.t.Helper()
	b.from = fmt.Sprintf("2001:db8:%x::1", time.Now().UnixNano()&0xffff)
	shown := b.async(address)
	var got *page
	b.w.eventually(func() error {
		select {
		case got = <-shown:
			return nil
		default:
			if b.w.clock.HasWaiters() {
				b.w.clock.Step(time.Second)
			}
			return errors.New("held")
		}
	})
	return got
}

// As long as nothing is known, the page asks again by itself; then it says that the controller is away.
func TestWaiting(t *testing.T) {
	w := newWorld(t)
	first, second := w.gateway(), w.gateway()
	person := w.browser(first)
	address, login := person.login()
	shown := person.async(address)
	w.held()
	w.clock.Step(10 * time.Second)
	p := (<-shown).shows(pages.Waiting)
	if got := group(t, refresh, p.text); got != address {
		t.Errorf("the page goes on to %s, want %s", got, address)
	}
	w.status(w.connection, func(status *v1alpha1.OAuthConnectionStatus) {
		status.Failure = &v1alpha1.Failure{Count: 1, Reason: v1alpha1.ReasonProviderUnavailable, Message: "the provider does not answer"}
	})
	person.via(second)
	w.eventually(func() error {
		shown := person.async(address)
		w.held()
		w.clock.Step(10 * time.Second)
		if p := (<-shown).shows(pages.Waiting); !strings.Contains(p.text, "the provider does not answer") {
			return errors.New("the page does not say what is the matter")
		}
		return nil
	})
	shown = person.async(address)
	w.held()
	w.clock.Step(2 * time.Minute)
	(<-shown).shows(pages.ControllerAway).contains("Look again")
	person.get(address).shows(pages.ControllerAway)
	w.outcome(login, v1alpha1.AuthorizationSucceeded, "", "")
	w.eventuallyShows(person, address, pages.Success)
	w.clock.Step(time.Hour)
	person.from = "192.0.2.77"
	person.get(address).shows(pages.NotFound)
}

// Another login may end later than this one, and hide how this one ended.
func TestSuperseded(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	address, _ := person.login()
	w.clock.Step(time.Second)
	shown := person.async(address)
	w.held()
	w.outcome("another login", v1alpha1.AuthorizationSucceeded, "", "hers")
	w.staysHeld(shown)
	w.clock.Step(10 * time.Second)
	(<-shown).shows(pages.Waiting)
	w.clock.Step(2 * time.Minute)
	if p := person.get(address).shows(pages.Superseded); strings.Contains(p.text, "hers") {
		t.Error("the page tells how another login ended")
	}
}

// An outcome of before the login is nobody's reason to stop.
func TestEarlierOutcome(t *testing.T) {
	w := newWorld(t)
	w.outcome("an earlier login", v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccessDenied, "no")
	w.clock.Step(time.Minute)
	person := w.browser(w.gateway())
	address, _ := person.login()
	w.clock.Step(2 * time.Minute)
	person.get(address).shows(pages.ControllerAway)
}

func TestDeletedWhileWaiting(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	address, _ := person.login()
	shown := person.async(address)
	w.held()
	w.must(w.client.Delete(t.Context(), w.connection))
	(<-shown).shows(pages.Gone)
}

func TestForgedResult(t *testing.T) {
	w := newWorld(t)
	person := w.browser(w.gateway())
	address, _ := person.login()
	for _, forged := range []string{"x", "%2e%2e", strings.Repeat("A", 200), address[len(address)-60:]} {
		person.get(external + "/oauth2/result/" + forged).shows(pages.NotFound)
	}
	changed := []byte(address)
	changed[len(changed)-40] ^= 1
	person.get(string(changed)).shows(pages.NotFound)
}
