// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// beginTimeout bounds the write that precedes a call.
	beginTimeout = 10 * time.Second
	// beginRetry is when a call is considered again after that write failed, the first time and at most.
	beginRetry      = time.Second
	beginRetryLimit = 30 * time.Second
	// maxToken is the longest token that fits into a Secret beside the rest, in bytes.
	maxToken = 128 << 10
)

// submit asks for a turn in the application's queue. The turn decides again, on the facts of that moment.
func (r *Reconciler) submit(s *scope, decision lifecycle.Decision) {
	name, uid, orphan := s.name, types.UID(s.facts.UID), s.connection == nil
	outcome := errUnfinished // written by Run, read by Done after it
	call := callqueue.Call{
		Key: s.key(), Lane: s.applicationName().String(), Priority: priorityOf(s, decision.Action), Limits: limitsOf(s.client),
		Run: func(ctx context.Context) {
			ctx = logr.NewContext(ctx, s.log)
			outcome = r.turn(ctx, name, uid, orphan)
		},
		Done: func() {
			if outcome == nil && (decision.Action == lifecycle.Exchange || decision.Action == lifecycle.Import) {
				r.waker.wakeForCode(name)
			}
			if outcome == nil { // The turn has decided again: any call may have brought a token.
				r.wakeDependents(context.Background(), name)
			}
			r.afterTurn(s.log, name, uid, outcome)
		},
	}
	if decision.LastChance {
		call.Lane, call.Limits = "deadline/"+call.Key, callqueue.Limits{}
	}
	r.Queue.Submit(call)
}

// errUnfinished stands for a turn that panicked: nobody knows whether anything was sent.
var errUnfinished = errors.New("the call broke off")

func priorityOf(s *scope, action lifecycle.Action) callqueue.Priority {
	switch action {
	case lifecycle.Exchange:
		return callqueue.Urgent
	case lifecycle.Revoke, lifecycle.RevokeCandidate, lifecycle.StartDevice, lifecycle.Poll: // Device codes have time.
		return callqueue.Soon
	default:
		if s.facts.Nudge != nil || s.facts.Input.Login != "" { // A caller of the API waits.
			return callqueue.Soon
		}
		return callqueue.Normal
	}
}

// afterTurn publishes what a turn has brought, or makes another one later.
func (r *Reconciler) afterTurn(log logr.Logger, name types.NamespacedName, uid types.UID, err error) {
	switch {
	case err == nil:
		r.failed.Delete(string(uid))
		r.waker.wake(name)
	case stale(err):
		r.waker.wakeAfter(name, staleRetry)
	case errors.Is(err, errUnfinished):
		r.settleUnfinished(log, name, string(uid))
	default:
		delay := r.turnDelay(string(uid))
		log.V(1).Info("no call was made to the provider; trying again", "cause", err.Error(), "after", delay.String())
		r.waker.wakeAfter(name, delay)
	}
}

// turnDelay doubles from a second to half a minute with each turn that could not be taken, as while the API server is
// away.
func (r *Reconciler) turnDelay(uid string) time.Duration {
	failures := 0
	if before, ok := r.failed.Load(uid); ok {
		failures, _ = before.(int)
	}
	r.failed.Store(uid, failures+1)
	const doublings = 5
	return min(beginRetry<<min(failures, doublings), beginRetryLimit)
}

// settleUnfinished treats a call that broke off in this process like one that a crash cut off.
func (r *Reconciler) settleUnfinished(log logr.Logger, name types.NamespacedName, uid string) {
	ctx, cancel := context.WithTimeout(context.Background(), beginTimeout)
	defer cancel()
	live, err := r.Grants.Live(ctx, uid)
	if err == nil && live != nil && live.Record.Attempt != nil && live.Record.Attempt.Process == r.Process {
		_, err = r.Grants.Write(ctx, live, lifecycle.Interrupted(live.Record, "", r.Clock.Now()))
	}
	if err != nil {
		log.Error(err, "a call that broke off could not be written down")
	}
	r.waker.wakeAfter(name, beginRetry)
}

func limitsOf(kept *registration.Client) callqueue.Limits {
	if kept == nil {
		return callqueue.Limits{}
	}
	return callqueue.Limits{RequestsPerSecond: kept.Limits.RequestsPerSecond, MaxConcurrent: kept.Limits.MaxConcurrent}
}

// turn runs in the application's queue: gather, decide, and make the one call that is due, if it still is. An error means
// that nothing was sent.
func (r *Reconciler) turn(ctx context.Context, name types.NamespacedName, uid types.UID, orphan bool) error {
	s, err := r.gatherFor(ctx, name, uid, orphan)
	if err != nil || s == nil {
		return err
	}
	decision := lifecycle.Decide(s.facts, s.now)
	if !decision.Action.CallsProvider() {
		return nil
	}
	if err := r.confirm(ctx, s, decision.Action); err != nil {
		return err
	}
	transport, err := r.Transports.For(egress.Trust{CA: s.client.CA, Certificate: s.client.Certificate})
	if err != nil {
		return fmt.Errorf("trust of application %s: %w", s.applicationName(), err)
	}
	if proceed, err := r.claimProbe(ctx, s, decision); err != nil || !proceed {
		return err
	}
	return r.call(ctx, s, decision.Action, transport)
}

// claimProbe takes the one turn that a paused application has at a time; other calls need none.
func (r *Reconciler) claimProbe(ctx context.Context, s *scope, decision lifecycle.Decision) (proceed bool, err error) {
	if !decision.Probe || s.facts.Pauses[decision.Action].NextProbeAt.After(s.now) {
		return true, nil
	}
	lane, err := s.lane(s.grantTypeOf(decision.Action))
	if err != nil {
		return false, err
	}
	return r.Registrations.ClaimProbe(ctx, s.client, lane)
}

// call makes the one call that an action is.
func (r *Reconciler) call(ctx context.Context, s *scope, action lifecycle.Action, transport http.RoundTripper) error {
	switch action {
	case lifecycle.Revoke:
		return r.revoke(ctx, s, transport)
	case lifecycle.RevokeCandidate:
		return r.revokeCandidate(ctx, s, transport)
	case lifecycle.StartDevice:
		return r.startDevice(ctx, s, transport)
	case lifecycle.Poll:
		return r.poll(ctx, s, transport)
	case lifecycle.Identify:
		return r.identify(ctx, s, transport)
	case lifecycle.CheckGrant:
		return r.check(ctx, s, transport)
	default:
		return r.obtain(ctx, s, action, transport)
	}
}

// lane is the key under which calls with this grant type are paused.
func (s *scope) lane(grantType string) (string, error) {
	tokenURL, err := s.profile.TokenURL(grantType, s.values)
	if err != nil {
		return "", fmt.Errorf("token endpoint: %w", err)
	}
	return s.client.Lane(grantType, tokenURL), nil
}

func (r *Reconciler) gatherFor(ctx context.Context, name types.NamespacedName, uid types.UID, orphan bool) (*scope, error) {
	if orphan {
		return r.gatherOrphan(ctx, name, string(uid))
	}
	connection := &v1alpha1.OAuthConnection{}
	err := r.Client.Get(ctx, name, connection)
	if apierrors.IsNotFound(err) || (err == nil && connection.UID != uid) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read connection: %w", err)
	}
	return r.gather(ctx, connection)
}

// newCall describes a call that is about to be made.
func (r *Reconciler) newCall(s *scope, action lifecycle.Action) lifecycle.Call {
	call := lifecycle.Call{
		Action: action, ID: uuid.NewString(), Basis: s.facts.Basis, UID: s.facts.UID, SentAt: r.Clock.Now(),
		Inputs: inputsOf(s.connection),
		Marked: action.SpendsCredential() || (action == lifecycle.Issue && s.facts.GrantType == lifecycle.Extension),
	}
	switch action {
	case lifecycle.Exchange, lifecycle.Import, lifecycle.StartDevice, lifecycle.Poll:
		call.InputHash, call.InputVersion = s.facts.Input.Hash, s.facts.Input.Version
		call.Login = s.facts.Input.Login
	default:
	}
	return call
}

// obtain asks for tokens: mark, call, write. What the provider answers is written before anything else is done with it.
func (r *Reconciler) obtain(ctx context.Context, s *scope, action lifecycle.Action, transport http.RoundTripper) error {
	call := r.newCall(s, action)
	request, err := r.request(ctx, s, &call)
	if err != nil {
		return r.failSetup(ctx, s, call, err)
	}
	call.SentAt = r.Clock.Now()
	base, err := r.begin(ctx, s, call)
	if err != nil {
		return err
	}
	response, callErr := r.Caller.Token(ctx, transport, request)
	r.land(ctx, s, base, call, response, callErr)
	return nil
}

// land writes what a call has brought, and tells of it.
func (r *Reconciler) land(ctx context.Context, s *scope, base beginning, call lifecycle.Call, response oauth.TokenResponse, callErr error) {
	next, result := outcome(base, s, call, response, callErr, r.Clock.Now())
	landed := r.Grants.Land(ctx, base.entry, next)
	r.Metrics.Call(s.applicationName(), string(call.Action), result, r.Clock.Since(call.SentAt))
	r.settlePause(ctx, s, s.grantTypeOf(call.Action), callErr)
	s.log.V(1).Info("called the provider", "action", call.Action, "result", result, "version", landed.Secret().ResourceVersion)
}

// failSetup writes down that a request could not be made: nothing was sent. Errors of another kind pass.
func (r *Reconciler) failSetup(ctx context.Context, s *scope, call lifecycle.Call, err error) error {
	var problem *setupError
	if !errors.As(err, &problem) {
		return err
	}
	record := *s.record()
	record.RefreshRequest = s.facts.RefreshRequest
	refusal := lifecycle.Refusal{Concern: lifecycle.ConcernsSetup, Reason: problem.reason, Message: problem.message}
	_, err = r.Grants.Write(ctx, s.entry, lifecycle.Failed(&record, call, refusal, sensitive.String{}, r.Clock.Now()))
	return err
}

// beginning is what a call starts from.
type beginning struct {
	entry  *grant.Entry      // what is stored; nil without a record
	record *lifecycle.Record // never nil
}

// begin writes the mark where the call spends a credential.
func (r *Reconciler) begin(ctx context.Context, s *scope, call lifecycle.Call) (beginning, error) {
	if !call.Marked {
		record := *s.record()
		record.RefreshRequest = s.facts.RefreshRequest
		return beginning{entry: s.entry, record: &record}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	entry, err := r.Grants.Begin(bounded, s.entry, s.record(), call, s.facts.RefreshRequest)
	if err != nil {
		return beginning{}, err
	}
	return beginning{entry: entry, record: entry.Record}, nil
}

// outcome turns an answer into the record that has to be written, and into a word for the metric.
func outcome(
	base beginning, s *scope, call lifecycle.Call, response oauth.TokenResponse, err error, now time.Time,
) (*lifecycle.Record, string) {
	if err == nil && max(len(response.AccessToken.Reveal()), len(response.RefreshToken.Reveal())) > maxToken {
		err = &oauth.Error{Concern: oauth.ConcernTransient, Description: "a token of the answer is too long for a Secret", Sent: oauth.Answered}
	}
	if err == nil {
		next := lifecycle.Succeeded(base.record, call, tokensOf(s, call, response), now)
		of := s.client.Application // An application made anew has another UID, and another client.
		next.Application = lifecycle.Identity{Namespace: of.Namespace, Name: of.Name, UID: string(of.UID)}
		return next, "success"
	}
	rescued := response.RefreshToken
	if len(rescued.Reveal()) > maxToken {
		rescued = sensitive.String{}
	}
	next := lifecycle.Failed(base.record, call, refusalOf(err), rescued, now)
	return next, failureReason(next)
}

func failureReason(r *lifecycle.Record) string {
	for _, failure := range []*lifecycle.Failure{r.Failure, r.InputFailure} {
		if failure != nil {
			return failure.Reason
		}
	}
	if r.Authorization != nil {
		return r.Authorization.Reason
	}
	return "failure"
}

// refusalOf translates the protocol's classes.
func refusalOf(err error) lifecycle.Refusal {
	var failure *oauth.Error
	if !errors.As(err, &failure) {
		return lifecycle.Refusal{Concern: lifecycle.ConcernsNobody, Message: "the call failed"}
	}
	refusal := lifecycle.Refusal{
		Message: failure.Error(), RetryAfter: failure.RetryAfter, OutcomeUnknown: failure.Sent == oauth.Unknown,
	}
	switch failure.Concern {
	case oauth.ConcernApplication:
		refusal.Concern, refusal.Unauthorized = lifecycle.ConcernsClient, failure.Code != "invalid_client"
		if failure.Sent == oauth.NotSent {
			// The provider has refused nobody: what this connection adds to the request does not fit. Others go on.
			refusal.Concern, refusal.Unauthorized, refusal.Reason = lifecycle.ConcernsSetup, false, v1alpha1.ReasonInvalidConfiguration
		}
	case oauth.ConcernGrant:
		refusal.Concern = lifecycle.ConcernsGrant
		if failure.Code == "access_denied" {
			refusal.Reason = v1alpha1.ReasonAccessDenied
		}
	case oauth.ConcernRefused:
		refusal.Concern = lifecycle.ConcernsUnclear
	case oauth.ConcernTransient:
		refusal.Concern = lifecycle.ConcernsNobody
	}
	return refusal
}

// settlePause pauses the application's calls of this kind when the provider does not accept the client, and lets them
// go on when it does. Failing to write that costs other connections one refused call each, so it is only logged.
func (r *Reconciler) settlePause(ctx context.Context, s *scope, grantType string, callErr error) {
	bounded, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	lane, err := s.lane(grantType)
	if err != nil {
		return
	}
	switch refusal := refusalOf(callErr); {
	case callErr == nil:
		err = r.Registrations.Lift(bounded, s.client, lane)
	case refusal.Concern == lifecycle.ConcernsClient:
		reason := v1alpha1.ReasonInvalidClient
		if refusal.Unauthorized {
			reason = v1alpha1.ReasonUnauthorizedClient
		}
		err = r.Registrations.Pause(bounded, s.client, lane, reason, refusal.Message)
	}
	if client.IgnoreNotFound(err) != nil {
		s.log.Error(err, "the application's pause could not be written")
	}
}
