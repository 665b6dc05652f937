// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// defaultCheckInterval lies between two status checks.
const defaultCheckInterval = time.Hour

// gatherQuestions finds out what may be asked about a grant besides renewing it, and what the provider's list says.
func (r *Reconciler) gatherQuestions(s *scope) {
	if s.profile == nil {
		return
	}
	s.facts.RenewsByAccessToken = s.profile.RenewsByAccessToken()
	s.facts.LastPollAt = timeIn(&r.polled, s.facts.UID, r.StartedAt)
	record := s.facts.Record
	if !record.Held() {
		return
	}
	s.facts.Identifiable = s.identifiable()
	if webhook := s.profile.Spec.Webhook; webhook != nil {
		s.facts.BelievesHints = webhook.Unverifiable == v1alpha1.WebhookBelieve
	}
	check := s.profile.Spec.StatusCheck
	if check == nil || check.Type == v1alpha1.StatusCheckNone {
		return
	}
	interval := defaultCheckInterval
	if check.Interval != nil && check.Interval.Duration > 0 {
		interval = check.Interval.Duration
	}
	byItself := true
	if s.isListed() {
		byItself = r.gatherListing(s, interval)
		if check.Probe == nil {
			return
		}
	}
	s.facts.Check = lifecycle.Check{OnRequest: true, LastAt: timeIn(&r.checked, s.facts.UID, r.StartedAt)}
	if byItself {
		s.facts.Check.Interval = interval
	}
}

// isListed tells whether the provider has a list of connections that answers for the grant.
func (s *scope) isListed() bool {
	return s.profile != nil && s.profile.Spec.StatusCheck != nil && s.profile.Spec.StatusCheck.Type == v1alpha1.StatusCheckConnectionList
}

// gatherListing takes over what the provider's list says about the grant, and asks for a new list where the grant is too
// new for it. It tells whether the token has to be asked about too: the list does not show the grant, or shows it as active
// although the token was found not to work. One list serves all connections, so as long as there is none yet, each of them
// asking for itself is no substitute.
func (r *Reconciler) gatherListing(s *scope, interval time.Duration) (inDoubt bool) {
	record := s.facts.Record
	listed, known := r.Census.Get(s.client.Application.UID)
	s.facts.Lists, s.facts.ListedAt = true, listed.StartedAt
	fresh := known && !listed.StartedAt.Before(record.GrantedAt())
	if r.wantsListing(s, known, fresh, interval) {
		r.RequestListing(s.applicationName())
	}
	if !fresh {
		return false
	}
	entry, found := listed.Find(record.ID, record.Subject, record.GrantedAt())
	if !found {
		return true
	}
	listing := lifecycle.Listing{
		ID: entry.ID, Active: entry.Active, Status: entry.Status, CreatedAt: entry.CreatedAt, DeletedAt: entry.DeletedAt, At: listed.StartedAt,
	}
	if record.News(listing) {
		s.facts.Listed = &listing
	}
	return record.Standing != nil && !record.Standing.Listed
}

// wantsListing tells whether somebody waits for the grant to show in the provider's list: it is new, or a refresh was
// requested. After a restart, grants that an earlier process can have looked up wait for the next list.
func (r *Reconciler) wantsListing(s *scope, known, fresh bool, interval time.Duration) bool {
	record := s.facts.Record
	switch {
	case s.facts.Suspended || s.facts.Blocked != nil:
		return false
	case s.facts.RefreshRequest != record.RefreshRequest:
		return true
	case record.Hint != nil && !s.facts.ListedAt.After(record.Hint.At):
		return true
	case s.facts.Nudge != nil && !s.facts.NudgeAnswered(*s.facts.Nudge, s.now):
		return true
	case known:
		return !fresh
	}
	return record.ID == "" && s.now.Sub(record.GrantedAt()) < interval
}

// identifiable tells whether there is a way to find out whose tokens they are. The user info endpoint of OpenID Connect
// answers tokens of scope openid only; one that the application describes answers all.
func (s *scope) identifiable() bool {
	tokens := s.facts.Record.Unidentified()
	return !tokens.IDToken.IsEmpty() || s.asksUserInfo(tokens)
}

func (s *scope) asksUserInfo(tokens *lifecycle.Tokens) bool {
	spec := s.profile.Spec
	return spec.Endpoints != nil && spec.Endpoints.UserInfoURL != "" && !tokens.AccessToken.IsEmpty() &&
		(spec.UserInfo != nil || slices.Contains(tokens.Scopes, "openid"))
}

// identify finds out whose tokens they are: by the ID token that came with them, else by the user info endpoint. It is
// asked too for the values that the application captures of its answer.
func (r *Reconciler) identify(ctx context.Context, s *scope, transport http.RoundTripper) error {
	record := s.entry.Record
	tokens := record.Unidentified()
	subject, userInfo := s.knownSubject(tokens), s.profile.Spec.UserInfo
	if !s.asksUserInfo(tokens) || (subject != "" && (userInfo == nil || len(userInfo.Capture) == 0)) {
		return r.write(ctx, s, lifecycle.Identified(record, subject, nil))
	}
	answer, err := r.userInfo(ctx, s, transport, tokens)
	var failure *oauth.Error
	switch {
	case errors.As(err, &failure) && failure.Concern == oauth.ConcernTransient:
		return r.write(ctx, s, lifecycle.NotIdentified(record, failure.Error(), failure.RetryAfter, r.Clock.Now()))
	case err != nil:
		s.log.Info("the user info endpoint cannot be asked", "cause", err.Error())
		return r.write(ctx, s, lifecycle.Identified(record, subject, nil))
	}
	if subject == "" {
		subject = subjectOf(userInfo, answer)
	}
	return r.write(ctx, s, lifecycle.Identified(record, subject, s.capturedOf(answer)))
}

// knownSubject is the account that the token response has named, itself or in its ID token.
func (s *scope) knownSubject(tokens *lifecycle.Tokens) string {
	if tokens.Subject != "" || tokens.IDToken.IsEmpty() {
		return tokens.Subject
	}
	subject, err := oauth.IDTokenSubject(tokens.IDToken, s.client.Issuer(), s.client.OAuth.ID, tokens.IssuedAt)
	if err != nil {
		s.log.Info("the ID token tells no subject", "cause", err.Error())
	}
	return subject
}

// userInfo asks the user info endpoint with the values that the tokens were obtained with. An answer that is no success
// tells nothing.
func (r *Reconciler) userInfo(ctx context.Context, s *scope, transport http.RoundTripper, tokens *lifecycle.Tokens) (oauth.Resource, error) {
	inputs := s.entry.Record.Inputs
	if c := s.entry.Record.Candidate; c != nil && tokens == &c.Tokens {
		inputs = c.Inputs
	}
	request, ok, err := s.profile.UserInfo(tokens.AccessToken, s.profile.Fitting(inputs, tokens.Captured))
	if err != nil || !ok {
		return oauth.Resource{}, err
	}
	started := r.Clock.Now()
	answer, err := r.Caller.Get(ctx, transport, request)
	result := "success"
	if err != nil || answer.Status != http.StatusOK {
		result = "failure"
	}
	r.Metrics.Call(s.applicationName(), string(lifecycle.Identify), result, r.Clock.Since(started))
	if err == nil && answer.Status != http.StatusOK {
		s.log.Info("the user info endpoint does not answer", "status", answer.Status)
		return oauth.Resource{}, nil
	}
	return answer, err
}

// maxSubject is the longest name of an account, in bytes.
const maxSubject = 1 << 10

func subjectOf(spec *v1alpha1.UserInfoSpec, answer oauth.Resource) string {
	path := "$.sub"
	if spec != nil && spec.Subject != "" {
		path = string(spec.Subject)
	}
	if subject := answer.Text(path); len(subject) <= maxSubject {
		return subject
	}
	return ""
}

// capturedOf are the values that the application keeps of the user info. One that it would not accept is left out: what
// needs it says so, and nothing else has to stop.
func (s *scope) capturedOf(answer oauth.Resource) map[string]string {
	if s.profile.Spec.UserInfo == nil {
		return nil
	}
	captured := map[string]string{}
	for _, capture := range s.profile.Spec.UserInfo.Capture {
		name, value := string(capture.Name), answer.Text(string(capture.Path))
		if value == "" {
			continue
		}
		if err := s.profile.CheckCaptured(map[string]string{name: value}); err != nil {
			s.log.Info("a value of the user info is not kept", "cause", err.Error())
			continue
		}
		captured[name] = value
	}
	return captured
}

// check asks whether the access token works: the introspection endpoint, or the API itself. An outage proves nothing.
func (r *Reconciler) check(ctx context.Context, s *scope, transport http.RoundTripper) error {
	r.checked.Store(s.facts.UID, r.Clock.Now())
	started := r.Clock.Now()
	works, message, err := r.ask(ctx, s, transport)
	result := "success"
	switch {
	case err != nil:
		result = "failure"
	case !works:
		result = "inactive"
	}
	r.Metrics.Call(s.applicationName(), string(lifecycle.CheckGrant), result, r.Clock.Since(started))
	var record *lifecycle.Record
	var news bool
	if err != nil {
		s.log.Info("a status check told nothing", "cause", err.Error())
		if told, _ := r.checkTold.Swap(s.facts.UID, causeOf(err)); told != causeOf(err) {
			checkToldNothing(r.Recorder, s.connection, err.Error())
		}
		record, news = r.stillUnverified(s, err)
	} else {
		r.checkTold.Delete(s.facts.UID)
		record, news = lifecycle.Checked(s.entry.Record, works, message, s.facts, r.Clock.Now())
		if hint := s.entry.Record.Hint; works && hint != nil && record.Hint == nil {
			reportContradicted(r.Recorder, s.connection, hint.Type)
		}
	}
	if record.Doubted && !s.entry.Record.Doubted {
		checkDoubts(r.Recorder, s.connection, message)
	}
	if s.facts.RefreshRequest == record.RefreshRequest && !news {
		return nil
	}
	next := *record
	next.RefreshRequest = s.facts.RefreshRequest
	err = r.write(ctx, s, &next)
	if stale(err) {
		r.checked.Delete(s.facts.UID) // What it told is lost: it is asked again, and not only after the interval.
	}
	return err
}

// stillUnverified puts the next attempt to verify a report of the provider's off; after many it is dropped.
func (r *Reconciler) stillUnverified(s *scope, cause error) (record *lifecycle.Record, news bool) {
	if s.entry.Record.Hint == nil {
		return s.entry.Record, false
	}
	var retryAfter time.Duration
	if failure, ok := errors.AsType[*oauth.Error](cause); ok {
		retryAfter = failure.RetryAfter
	}
	record, dropped := lifecycle.Unverified(s.entry.Record, retryAfter, r.Clock.Now())
	if dropped {
		reportDropped(r.Recorder, s.connection, cause.Error())
	}
	return record, true
}

func (r *Reconciler) ask(ctx context.Context, s *scope, transport http.RoundTripper) (works bool, message string, err error) {
	spec, token := s.profile.Spec.StatusCheck, s.entry.Record.AccessToken
	if spec.Type == v1alpha1.StatusCheckIntrospection {
		request, err := s.profile.Introspection(token, oauth.HintAccessToken, s.values)
		if err == nil {
			request.Client, err = r.authenticate(ctx, s, request.Client, s.values)
		}
		if err != nil {
			return false, "", setup(err)
		}
		answer, err := r.Caller.Introspect(ctx, transport, request)
		return answer.Active, "introspection says that the token is not active", err
	}
	probe := spec.Probe
	if probe == nil {
		probe = &v1alpha1.ProbeSpec{}
	}
	request, err := s.profile.APIRequest(probe.Path, token, s.values)
	if err != nil {
		return false, "", setup(err)
	}
	answer, err := r.Caller.Get(ctx, transport, request)
	if err != nil {
		return false, "", err
	}
	return judge(probe, answer)
}

// judge reads the answer of a probe.
func judge(probe *v1alpha1.ProbeSpec, answer oauth.Resource) (works bool, message string, err error) {
	inactive := probe.InactiveStatuses
	if len(inactive) == 0 {
		inactive = []int32{http.StatusUnauthorized}
	}
	refused, other := slices.ContainsFunc(inactive, func(status int32) bool { return int(status) == answer.Status }), false
	if when := probe.InactiveWhen; refused && when != nil {
		value := answer.Text(string(when.Path))
		refused = slices.Contains(when.Values, value)
		other = !refused && value != "" // As an error of another kind, where successes and errors have the same status.
	}
	switch {
	case refused:
		return false, fmt.Sprintf("its API answers the token with HTTP status %d %s", answer.Status, http.StatusText(answer.Status)), nil
	case !other && answer.Status >= http.StatusOK && answer.Status < http.StatusMultipleChoices:
		return true, "", nil
	}
	return false, "", fmt.Errorf("its API answers the probe with HTTP status %d %s, which proves nothing", answer.Status, http.StatusText(answer.Status))
}

type loader interface{ Load(key any) (any, bool) }

func timeIn(from loader, key string, otherwise time.Time) time.Time {
	if found, ok := from.Load(key); ok {
		if at, ok := found.(time.Time); ok {
			return at
		}
	}
	return otherwise
}

// causeOf names what a status check failed with, without what differs from one attempt to the next.
func causeOf(err error) string {
	if failure, ok := errors.AsType[*oauth.Error](err); ok {
		return fmt.Sprintf("HTTP %d %s", failure.Status, failure.Code)
	}
	return err.Error()
}
