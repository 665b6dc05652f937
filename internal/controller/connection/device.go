// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// defaultDeviceLifetime is assumed where the provider gives none, though the standard demands it (RFC 8628 section 3.2).
const defaultDeviceLifetime = 15 * time.Minute

// startDevice asks for a code that a person types on another device. It spends nothing.
func (r *Reconciler) startDevice(ctx context.Context, s *scope, transport http.RoundTripper) error {
	call := r.newCall(s, lifecycle.StartDevice)
	request, err := s.profile.DeviceAuthorization(s.facts.Scopes, s.values)
	if err == nil {
		request.Client, err = r.authenticate(ctx, s, request.Client, s.values)
	}
	if err != nil {
		return r.failSetup(ctx, s, call, setup(err))
	}
	call.SentAt = r.Clock.Now()
	answer, callErr := r.Caller.AuthorizeDevice(ctx, transport, request)
	r.settlePause(ctx, s, grantTypeDevice, callErr)
	if callErr != nil {
		return r.failDevice(ctx, s, call, callErr)
	}
	r.Metrics.Call(s.applicationName(), string(call.Action), "success", r.Clock.Since(call.SentAt))
	lifetime := defaultDeviceLifetime
	if answer.ExpiresIn.Kind == oauth.LifetimeFinite {
		lifetime = answer.ExpiresIn.Duration
	}
	device := lifecycle.Device{
		Code: answer.DeviceCode, UserCode: answer.UserCode, VerificationURI: answer.VerificationURI,
		VerificationURIComplete: answer.VerificationURIComplete, StartedAt: call.SentAt,
		ExpiresAt: call.SentAt.Add(lifetime), Interval: answer.Interval,
	}
	_, err = r.Grants.Write(ctx, s.entry, lifecycle.DeviceStarted(s.record(), device, s.facts.RefreshRequest))
	return err
}

func (r *Reconciler) failDevice(ctx context.Context, s *scope, call lifecycle.Call, callErr error) error {
	record := *s.record()
	record.RefreshRequest = s.facts.RefreshRequest
	next := lifecycle.Failed(&record, call, refusalOf(callErr), sensitive.String{}, r.Clock.Now())
	r.Metrics.Call(s.applicationName(), string(call.Action), failureReason(next), r.Clock.Since(call.SentAt))
	_, err := r.Grants.Write(ctx, s.entry, next)
	return err
}

// poll asks once whether the person has authorized (RFC 8628 section 3.4). That they have not is no failure, and nothing
// to write down.
func (r *Reconciler) poll(ctx context.Context, s *scope, transport http.RoundTripper) error {
	call := r.newCall(s, lifecycle.Poll)
	request, err := r.request(ctx, s, &call)
	if err != nil {
		return r.failSetup(ctx, s, call, err)
	}
	base, err := r.begin(ctx, s, call)
	if err != nil {
		return err
	}
	call.SentAt = r.Clock.Now()
	response, callErr := r.Caller.Token(ctx, transport, request)
	r.polled.Store(s.facts.UID, r.Clock.Now())
	next := s.stillWaiting(callErr, r.Clock.Now())
	if next == nil {
		r.land(ctx, s, base, call, response, callErr)
		return nil
	}
	r.Metrics.Call(s.applicationName(), string(call.Action), "pending", r.Clock.Since(call.SentAt))
	if next == s.entry.Record {
		return nil
	}
	_, err = r.Grants.Write(ctx, s.entry, next)
	return err
}

// stillWaiting is the record after an answer that only goes on with the waiting; nil: it was another answer.
func (s *scope) stillWaiting(err error, now time.Time) *lifecycle.Record {
	var failure *oauth.Error
	if !errors.As(err, &failure) {
		return nil
	}
	record := s.entry.Record
	switch failure.Code {
	case "authorization_pending":
		if record.InputFailure == nil {
			return record
		}
		return lifecycle.DevicePending(record)
	case "slow_down":
		return lifecycle.DeviceSlowed(record)
	case "expired_token", "invalid_grant":
		return lifecycle.DeviceExpired(record, now)
	}
	return nil
}
