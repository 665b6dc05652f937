// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// byDevice are the facts about a connection that a person authorizes on another device.
func byDevice(f *lifecycle.Facts) {
	f.GrantType, f.Input = lifecycle.DeviceCode, lifecycle.Input{Hash: "device"}
}

// waiting is a record with a device authorization that was asked for at issued().
func waiting(edits ...func(*lifecycle.Record)) *lifecycle.Record {
	return empty(append([]func(*lifecycle.Record){invited}, edits...)...)
}

func invited(r *lifecycle.Record) {
	r.Device = &lifecycle.Device{
		Code: sensitive.New("device-1"), UserCode: "ABCD-EFGH", VerificationURI: "https://login.example.com/device",
		StartedAt: issued(), ExpiresAt: after(15 * time.Minute), Interval: 5 * time.Second, Since: issued(),
	}
}

// polling is a call about a device authorization.
func polling(action lifecycle.Action, at time.Time) lifecycle.Call {
	call := calling(action, at)
	call.InputHash = "device"
	return call
}

// devices lets a process live beside a provider whose device codes nobody ever enters.
type devices struct {
	t        *testing.T
	facts    lifecycle.Facts
	now      time.Time
	lifetime time.Duration
	started  int
	polls    []time.Time
	// answer of a poll: the code of an OAuth error.
	answer func() string
}

func (d *devices) run(until time.Time) {
	d.t.Helper()
	for range 10000 {
		switch decision := lifecycle.Decide(d.facts, d.now); decision.Action {
		case lifecycle.Wait:
			if decision.At.IsZero() || decision.At.After(until) {
				d.now = until
				return
			}
			d.now = decision.At
		case lifecycle.StartDevice:
			d.start()
		case lifecycle.Poll:
			d.poll()
		default:
			d.t.Fatalf("unexpected %s", decision.Action)
		}
	}
	d.t.Fatalf("at %s: spinning", d.now)
}

func (d *devices) start() {
	d.started++
	record := d.facts.Record
	if record == nil {
		record = empty()
	}
	d.facts.Record = lifecycle.DeviceStarted(record, lifecycle.Device{
		Code: sensitive.New(fmt.Sprint("device-", d.started)), UserCode: fmt.Sprint("CODE-", d.started), StartedAt: d.now,
		ExpiresAt: d.now.Add(d.lifetime), Interval: 5 * time.Second,
	}, d.facts.RefreshRequest)
}

func (d *devices) poll() {
	d.polls = append(d.polls, d.now)
	d.facts.LastPollAt = d.now
	switch d.answer() {
	case "slow_down":
		d.facts.Record = lifecycle.DeviceSlowed(d.facts.Record)
	case "expired_token":
		d.facts.Record = lifecycle.DeviceExpired(d.facts.Record, d.now)
	case "unavailable":
		d.facts.Record = lifecycle.Failed(d.facts.Record, polling(lifecycle.Poll, d.now), away(), never(), d.now)
	case "authorization_pending":
		d.facts.Record = lifecycle.DevicePending(d.facts.Record)
	}
}

func always(answer string) func() string { return func() string { return answer } }

// TestDeviceCodesAreReplacedForAnHour : then somebody has to ask for another one.
func TestDeviceCodesAreReplacedForAnHour(t *testing.T) {
	for _, answer := range []string{"authorization_pending", "expired_token"} {
		d := &devices{t: t, facts: about(nil, byDevice), now: issued(), lifetime: 10 * time.Minute, answer: always(answer)}
		d.run(after(59 * time.Minute))
		if least := 6; d.started < least {
			t.Errorf("%s: %d codes in an hour, want %d at least", answer, d.started, least)
		}
		d.run(after(24 * time.Hour))
		started, polls := d.started, len(d.polls)
		d.run(after(72 * time.Hour))
		if d.started != started || len(d.polls) != polls {
			t.Errorf("%s: the provider was asked although nobody has been there for an hour", answer)
		}
		s := lifecycle.Describe(d.facts, lifecycle.Publication{}, d.now)
		if s.Phase != lifecycle.Authorizing || said(s.Ready) != "False DeviceCodeExpired" || !strings.Contains(s.Ready.Message, v1alpha1.AnnotationRefreshRequestedAt) {
			t.Errorf("%s: phase %s, Ready %s: %s", answer, s.Phase, said(s.Ready), s.Ready.Message)
		}

		d.facts.RefreshRequest = asked
		d.run(d.now.Add(59 * time.Minute))
		if again := d.started - started; again < 5 || d.facts.Record.RefreshRequest != asked {
			t.Errorf("%s: %d codes in the hour after a request", answer, again)
		}
	}
}

// TestDeviceCodesThatAreNoneAreNotReplacedInALoop : some providers refuse a code as soon as they have given it.
func TestDeviceCodesThatAreNoneAreNotReplacedInALoop(t *testing.T) {
	d := &devices{t: t, facts: about(nil, byDevice), now: issued(), lifetime: 10 * time.Minute, answer: always("expired_token")}
	d.run(after(30 * time.Second))
	if d.started < 3 {
		t.Errorf("%d codes in half a minute: the first ones are replaced at once", d.started)
	}
	d.run(after(24 * time.Hour))
	if most := 70; d.started > most {
		t.Errorf("%d codes, want %d at most", d.started, most)
	}
}

// TestARefreshEndsADeviceAuthorization : nobody has to type anything any more.
func TestARefreshEndsADeviceAuthorization(t *testing.T) {
	r := lifecycle.Succeeded(held(invited, failing(rejected())), calling(lifecycle.Refresh, after(time.Minute)), answer("refresh-2", after(time.Minute)), after(time.Minute))
	if r.Device != nil {
		t.Errorf("%+v", r.Device)
	}
}

// TestDevicePollsKeepTheirDistance : by the interval, by slow_down, and by backoff while the provider is away.
func TestDevicePollsKeepTheirDistance(t *testing.T) {
	for answer, distances := range map[string][]time.Duration{
		"authorization_pending": {5 * time.Second, 5 * time.Second, 5 * time.Second},
		"slow_down":             {10 * time.Second, 15 * time.Second, 20 * time.Second},
	} {
		d := &devices{t: t, facts: about(nil, byDevice), now: issued(), lifetime: 10 * time.Minute, answer: always(answer)}
		d.run(after(2 * time.Minute))
		if first := d.polls[0].Sub(issued()); first != 5*time.Second {
			t.Errorf("the first poll came after %s", first)
		}
		for i, want := range distances {
			if got := d.polls[i+1].Sub(d.polls[i]); got != want {
				t.Errorf("%s: polls %d and %d are %s apart, want %s", answer, i, i+1, got, want)
			}
		}
	}
	d := &devices{t: t, facts: about(nil, byDevice), now: issued(), lifetime: 30 * time.Minute, answer: always("unavailable")}
	d.run(after(29 * time.Minute))
	if n := len(d.polls); n < 8 || n > 15 {
		t.Errorf("%d polls of a provider that is away for half an hour; a backoff up to five minutes makes some 11", n)
	}
	if d.started != 1 {
		t.Errorf("%d codes, though the first one lives", d.started)
	}
}

func TestDecideDevice(t *testing.T) {
	denied := lifecycle.Failed(waiting(), polling(lifecycle.Poll, issued()),
		lifecycle.Refusal{Concern: lifecycle.ConcernsGrant, Reason: v1alpha1.ReasonAccessDenied, Message: "access_denied"}, never(), issued())
	gone := func(r *lifecycle.Record) {
		r.Standing = &lifecycle.Standing{State: lifecycle.StandingDeleted, At: issued()}
	}
	devised := func(r *lifecycle.Record) { r.GrantType, r.SpentInput, r.InputVersion = lifecycle.DeviceCode, "", "" }
	polledAt := func(at time.Duration) func(*lifecycle.Facts) {
		return func(f *lifecycle.Facts) { f.LastPollAt = after(at) }
	}
	runDecisions(t, []decision{
		{"nothing yet", about(nil, byDevice), 0, act(lifecycle.StartDevice), "a person needs a code"},
		{"just started", about(waiting(), byDevice), 0, wait(5 * time.Second), "the interval counts from the start"},
		{"time to poll", about(waiting(), byDevice), 5 * time.Second, act(lifecycle.Poll), "due"},
		{"polled", about(waiting(), byDevice, polledAt(5*time.Second)), 6 * time.Second, wait(10 * time.Second), "the interval counts from the last poll"},
		{"expired", about(waiting(), byDevice), 15 * time.Minute, act(lifecycle.StartDevice), "a new code by itself"},
		{"a request while waiting", about(waiting(), byDevice, requesting(asked)), time.Second, act(lifecycle.StartDevice), "a new code on request"},
		{"denied", about(denied, byDevice), time.Hour, wait(), "only a person can go on"},
		{"denied, a request", about(denied, byDevice, requesting(asked)), time.Minute, act(lifecycle.StartDevice), "starts anew"},
		{"denied, reconfigured", about(denied, byDevice, reconfigured), time.Minute, act(lifecycle.StartDevice), "that may have been the reason"},
		{"suspended", about(waiting(), byDevice, suspended), time.Minute, wait(15 * time.Minute), "nobody is asked; status is told when the code has expired"},
		{"suspended, expired", about(waiting(), byDevice, suspended), time.Hour, wait(), "nobody is asked"},
		{"held", about(held(devised), byDevice), time.Minute, wait(due(held())), "no person is needed"},
		{"held, refused", about(held(devised, failing(refused())), byDevice), time.Minute, act(lifecycle.StartDevice), "a person has to authorize again"},
		{"held, refused, a request", about(held(devised, invited, failing(refused())), byDevice, requesting(asked)), time.Minute, act(lifecycle.Refresh), "one attempt while a refresh token is left"},
		{"held, gone, a request", about(held(devised, gone), byDevice, requesting(asked)), time.Minute, act(lifecycle.StartDevice), "the provider has ended it"},
		{"held, given up", about(held(devised, failing(rejected())), byDevice), time.Minute, act(lifecycle.StartDevice), "a person can authorize again"},
		{"held, given up, reconfigured", about(held(devised, invited, failing(rejected())), byDevice, reconfigured), time.Minute, act(lifecycle.Refresh), "the refresh token may be good"},
		{"held, gone", about(held(devised, gone), byDevice), time.Minute, act(lifecycle.StartDevice), "a person has to authorize again"},
		{"held, lapsed", about(held(devised, noRefreshToken), byDevice), time.Hour, act(lifecycle.StartDevice), "a person has to authorize again"},
		{"a failing provider", about(waiting(failingInput(onInput("device", unavailable(time.Minute)))), byDevice), 30 * time.Second, wait(time.Minute), "backs off"},
		{"paused", about(waiting(), byDevice, pausedUntil(after(time.Minute))), 30 * time.Second, wait(time.Minute), "the client is not accepted"},
		{"being deleted", about(waiting(), byDevice, leaving()), time.Minute, act(lifecycle.Release), "there is nothing to revoke"},
	})
}

func TestDescribeDevice(t *testing.T) {
	const required = "False AuthorizationRequired"
	invite := []string{"https://login.example.com/device", "ABCD-EFGH", "2026-03-01T12:15:00Z"}
	denied := lifecycle.Failed(waiting(), polling(lifecycle.Poll, issued()),
		lifecycle.Refusal{Concern: lifecycle.ConcernsGrant, Reason: v1alpha1.ReasonAccessDenied, Message: "access_denied"}, never(), issued())
	away := onInput("device", unavailable(time.Minute))
	runDescriptions(t, []description{
		{name: "starting", facts: about(nil, byDevice), phase: lifecycle.Pending, ready: "False Progressing", authorized: required, reconciling: true, says: []string{"device code"}, reason: "a code is being asked for"},
		{name: "waiting", facts: about(waiting(), byDevice), phase: lifecycle.Authorizing, ready: required, authorized: required, stalled: true, says: invite, reason: "a person has to act"},
		{name: "a failed poll", facts: about(waiting(failingInput(away)), byDevice), phase: lifecycle.Authorizing, ready: required, authorized: required, stalled: true, says: append(invite, "503"), reason: "the code is as good as before"},
		{name: "expired", facts: about(waiting(), byDevice), now: 15 * time.Minute, phase: lifecycle.Authorizing, ready: "False Progressing", authorized: required, reconciling: true, says: []string{"asked for a new one"}, reason: "nobody has to ask for it"},
		{name: "abandoned", facts: about(waiting(), byDevice), now: time.Hour, phase: lifecycle.Authorizing, ready: "False DeviceCodeExpired", authorized: required, stalled: true, says: []string{"refresh-requested-at"}, reason: "somebody has to ask for it"},
		{name: "denied", facts: about(denied, byDevice), phase: lifecycle.Inactive, ready: "False AccessDenied", authorized: "False AccessDenied", stalled: true, says: []string{"new device code", "refresh-requested-at"}, reason: "what to do is said"},
		{name: "refused grant", facts: about(held(failing(refused()), invited), byDevice), publication: published(), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: invite, reason: "the new code is said"},
		{name: "refused grant, denied", facts: about(held(failing(refused()), failingInput(onInput("device", *denied.InputFailure))), byDevice), publication: published(), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"access_denied", "refresh-requested-at"}, reason: "how to get another code is said"},
		{name: "lapsed grant", facts: about(held(lifetime(time.Minute), noRefreshToken, invited), byDevice), now: 2 * time.Minute, publication: published(), phase: lifecycle.Inactive, ready: "False TokenExpired", authorized: "False TokenExpired", stalled: true, says: invite, reason: "the new code is said"},
		{name: "a code of another grant type", facts: about(held(failing(refused()), invited)), publication: published(), phase: lifecycle.Inactive, ready: "False InvalidGrant", authorized: "False InvalidGrant", stalled: true, says: []string{"new code"}, reason: "nobody polls for it"},
	})
}

// TestDescribeDoubted : what a status check found not to work is not called ready while its renewal fails.
func TestDescribeDoubted(t *testing.T) {
	doubted := func(r *lifecycle.Record) { r.Doubted = true }
	const granted = "True GrantHeld"
	runDescriptions(t, []description{
		{name: "being renewed", facts: about(held(doubted)), publication: published(), phase: lifecycle.Active, ready: "False Progressing", authorized: granted, reconciling: true, next: due(held()), says: []string{"works no more"}, reason: "it does not work"},
		{name: "provider away", facts: about(held(doubted, failing(unavailable(50*time.Minute)))), now: 49 * time.Minute, publication: published(), phase: lifecycle.Active, ready: "False ProviderUnavailable", authorized: granted, reconciling: true, next: 50 * time.Minute, says: []string{"works no more", "503"}, reason: "nor does it then"},
	})
}

// TestDeviceAfterCheck : a check found the grant dead, and there is nothing to renew it with.
func TestDeviceAfterCheck(t *testing.T) {
	now := after(time.Minute)
	dead := lasting(func(r *lifecycle.Record) { r.GrantType = lifecycle.DeviceCode })
	dead, _ = lifecycle.Checked(dead, false, "said", about(dead, byDevice), now)
	mustDecide(t, about(dead, byDevice, checking), now, act(lifecycle.StartDevice), "a person can authorize again")
	r := lifecycle.DeviceStarted(dead, lifecycle.Device{
		Code: sensitive.New("device-2"), UserCode: "ABCD-EFGH", VerificationURI: "https://login.example.com/device",
		StartedAt: now, ExpiresAt: now.Add(15 * time.Minute), Interval: 5 * time.Second,
	}, "")
	mustDecide(t, about(r, byDevice, checking), now.Add(5*time.Second), act(lifecycle.Poll), "the person may have done it")
	due := lifecycle.CheckDue(uid, time.Hour, issued())
	abandoned := *r
	abandoned.Device = &lifecycle.Device{StartedAt: now, ExpiresAt: now.Add(time.Minute), Since: now.Add(-2 * time.Hour)}
	mustDecide(t, about(&abandoned, byDevice, checking), due, act(lifecycle.CheckGrant), "it is still looked at now and then")
	if back, _ := lifecycle.Checked(r, true, "", about(r, byDevice), now); back.Standing != nil || back.Device != nil {
		t.Errorf("%+v: it works again, and nobody has to type anything", back.Device)
	}
}

// TestDeviceAfterRequest : the one attempt that a request makes has failed; a person is asked again, though one has declined.
func TestDeviceAfterRequest(t *testing.T) {
	now := after(2 * time.Hour)
	denied := onInput("device", refused())
	r := held(invited, failing(refused()), failingInput(denied), func(r *lifecycle.Record) { r.GrantType = lifecycle.DeviceCode })
	r = lifecycle.Failed(r, calling(lifecycle.Refresh, now), invalidGrant(), never(), now)
	mustDecide(t, about(r, byDevice), now, act(lifecycle.StartDevice), "a new code, for a new hour")
}
