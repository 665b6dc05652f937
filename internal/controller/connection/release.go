// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// deletionOf says what is wanted of the provider and whether it can be asked.
func (r *Reconciler) deletionOf(s *scope) *lifecycle.Deletion {
	d := &lifecycle.Deletion{Timeout: r.RevocationTimeout, Revocable: revocability(s)}
	if s.connection != nil {
		d.RequestedAt = r.sinceStart(s.connection.DeletionTimestamp.Time)
		d.Orphan = s.connection.Spec.DeletionPolicy == v1alpha1.DeletionOrphan
	}
	return d
}

// sinceStart is when this process could first try: an operator that was away has not tried yet.
func (r *Reconciler) sinceStart(wanted time.Time) time.Time {
	if wanted.Before(r.StartedAt) {
		return r.StartedAt
	}
	return wanted
}

func revocability(s *scope) lifecycle.Revocability {
	switch {
	case s.client == nil:
		return lifecycle.RevocableLater
	case !s.profile.Revocable(v1alpha1.TokenRefresh) && !s.profile.Revocable(v1alpha1.TokenAccess),
		s.facts.Record.Revocable() && len(s.revocable(tokensToRevoke(s.facts.Record))) == 0:
		return lifecycle.RevocableNever
	}
	return lifecycle.RevocableNow
}

// revocable leaves out what the provider has no way to revoke.
func (s *scope) revocable(tokens []revocable) []revocable {
	return slices.DeleteFunc(tokens, func(token revocable) bool { return !s.profile.Revocable(token.kind) })
}

// revoke asks the provider to revoke every token of the record (RFC 7009): the refresh token first, because with it most
// providers end the whole grant. Revoking twice is harmless, so no mark is needed.
func (r *Reconciler) revoke(ctx context.Context, s *scope, transport http.RoundTripper) error {
	started := r.Clock.Now()
	refused, refusal, err := r.revokeAll(ctx, s, transport, s.revocable(tokensToRevoke(s.entry.Record)))
	switch {
	case err != nil:
		refusal = &lifecycle.Refusal{Message: err.Error()} // What is missing in the cluster may still come.
		fallthrough
	case refusal != nil:
		return r.revokeLater(ctx, s, *refusal)
	}
	result := "success"
	if len(refused) > 0 {
		result = "refused"
	}
	r.Metrics.Call(s.applicationName(), string(lifecycle.Revoke), result, r.Clock.Since(started))
	entry, err := r.Grants.Write(ctx, s.entry, lifecycle.RevocationDone(s.entry.Record, strings.Join(refused, "; ")))
	if err != nil {
		return err
	}
	s.take(entry)
	return nil
}

// revokeAll revokes tokens one after the other. refused says in words which ones the provider refused to revoke; a refusal
// that is not nil means that the rest has to be tried again.
func (r *Reconciler) revokeAll(
	ctx context.Context, s *scope, transport http.RoundTripper, tokens []revocable,
) (refused []string, again *lifecycle.Refusal, err error) {
	for _, token := range tokens {
		values := s.profile.Fitting(token.inputs, token.captured)
		request, err := s.profile.Revocation(token.kind, token.value, values)
		if err == nil {
			request.Client, err = r.authenticate(ctx, s, request.Client, values)
		}
		if err != nil {
			return nil, nil, setup(err)
		}
		err = r.Caller.Revoke(ctx, transport, request)
		var failure *oauth.Error
		switch {
		case err == nil, errors.As(err, &failure) && failure.Concern == oauth.ConcernGrant: // It was dead already.
		case failure == nil, failure.Concern == oauth.ConcernTransient, failure.Concern == oauth.ConcernApplication:
			refusal := refusalOf(err)
			return nil, &refusal, nil
		default:
			refused = append(refused, token.what+": "+failure.Error())
		}
	}
	return refused, nil, nil
}

// revokeCandidate ends the tokens of somebody else's account that were refused.
func (r *Reconciler) revokeCandidate(ctx context.Context, s *scope, transport http.RoundTripper) error {
	record := s.entry.Record
	tokens := s.revocable(tokensOfCandidate(record.Candidate))
	refused, again, err := r.revokeAll(ctx, s, transport, tokens)
	why := strings.Join(refused, "; ")
	if len(tokens) == 0 {
		why = "the provider has no revocation endpoint for it"
	}
	var next *lifecycle.Record
	switch {
	case err != nil:
		why = err.Error()
		next = lifecycle.CandidateNotRevoked(record, why, 0, r.Clock.Now())
	case again != nil:
		why = again.Message
		next = lifecycle.CandidateNotRevoked(record, why, again.RetryAfter, r.Clock.Now())
	default:
		next = lifecycle.CandidateRevoked(record, why)
	}
	if err := r.write(ctx, s, next); err != nil {
		return err
	}
	if next.Candidate == nil && why != "" {
		strangerUnrevoked(r.Recorder, s.connection, why)
	}
	return nil
}

func (r *Reconciler) revokeLater(ctx context.Context, s *scope, refusal lifecycle.Refusal) error {
	r.Metrics.Call(s.applicationName(), string(lifecycle.Revoke), "failure", 0)
	s.log.Info("revocation failed; trying again", "cause", refusal.Message)
	next := lifecycle.RevocationFailed(s.entry.Record, refusal.Message, refusal.RetryAfter, r.Clock.Now())
	_, err := r.Grants.Write(ctx, s.entry, next)
	return err
}

// revocable is a token with what it is called, and the values that it was obtained with: those of another account may lead
// to another host.
type revocable struct {
	value            sensitive.String
	what             string
	kind             v1alpha1.TokenKind
	inputs, captured map[string]string
}

func tokensToRevoke(record *lifecycle.Record) []revocable {
	all := []revocable{
		{value: record.RefreshToken, what: "refresh token", kind: v1alpha1.TokenRefresh},
		{value: record.AccessToken, what: "access token", kind: v1alpha1.TokenAccess},
		{value: record.Previous, what: "previous access token", kind: v1alpha1.TokenAccess},
	}
	for _, replaced := range record.Replaced {
		all = append(all, revocable{value: replaced, what: "replaced refresh token", kind: v1alpha1.TokenRefresh})
	}
	return append(present(all, record.Inputs, record.Captured), tokensOfCandidate(record.Candidate)...)
}

func tokensOfCandidate(candidate *lifecycle.Candidate) []revocable {
	if candidate == nil {
		return nil
	}
	return present([]revocable{
		{value: candidate.RefreshToken, what: "refresh token of a new authorization", kind: v1alpha1.TokenRefresh},
		{value: candidate.AccessToken, what: "access token of a new authorization", kind: v1alpha1.TokenAccess},
	}, candidate.Inputs, candidate.Captured)
}

// present leaves out tokens that are not there, and gives the others their values.
func present(tokens []revocable, inputs, captured map[string]string) []revocable {
	tokens = slices.DeleteFunc(tokens, func(token revocable) bool { return token.value.IsEmpty() })
	for i := range tokens {
		tokens[i].inputs, tokens[i].captured = inputs, captured
	}
	return tokens
}

// release ends a connection: its Secret, its record, and last its finalizer.
func (r *Reconciler) release(ctx context.Context, s *scope, givenUp bool) error {
	if err := r.withdraw(ctx, s); err != nil {
		return err
	}
	if s.entry != nil || s.connection.Status.DeletedAt == nil {
		if err := r.bidFarewell(ctx, s, farewell(s, givenUp)); err != nil {
			return err
		}
	}
	err := r.patchFinalizers(ctx, s.connection, controllerutil.RemoveFinalizer)
	if apierrors.IsNotFound(errors.Unwrap(err)) {
		return nil
	}
	return err
}

// withdraw deletes the workload's Secret. What keeps that from happening (a finalizer or a webhook of somebody else) does
// not hold the connection beyond its deadline: garbage collection goes on, by the owner reference.
func (r *Reconciler) withdraw(ctx context.Context, s *scope) error {
	connection := s.connection
	key := types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}
	err := r.Publisher.Withdraw(ctx, key, connection.UID, connection.TokenSecretName(), connection.Status.SecretName)
	switch {
	case err == nil:
		return nil
	case s.now.Before(s.facts.Deletion.RequestedAt.Add(s.facts.Deletion.Timeout)):
		return fmt.Errorf("withdraw the token Secret: %w", err)
	}
	s.log.Error(err, "the token Secret could not be deleted in time; it is left to garbage collection")
	return nil
}

// bidFarewell ends the record and tells how: in status, which is a courtesy and holds nothing up, in an event and in the
// metric. It happens once: without a record, all has been told.
func (r *Reconciler) bidFarewell(ctx context.Context, s *scope, verdict ending) error {
	if err := r.reportDeleted(ctx, s, verdict); apierrors.IsConflict(err) {
		return err
	} else if err != nil {
		s.log.Error(err, "the last status could not be written")
	}
	if s.entry != nil {
		if err := r.Grants.Delete(ctx, s.entry); err != nil {
			return err
		}
	}
	released(r.Recorder, s, verdict, r.terminating(ctx, s.name.Namespace))
	if verdict.unrevoked {
		r.Metrics.Unrevoked(s.applicationName())
	}
	s.log.Info("released", "reason", verdict.Reason, "detail", verdict.Message)
	return nil
}

// terminating tells whether a namespace is being deleted, as far as the cache knows.
func (r *Reconciler) terminating(ctx context.Context, name string) bool {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := r.Metadata.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return apierrors.IsNotFound(err) || (err == nil && !namespace.DeletionTimestamp.IsZero())
}

// ending is how a grant ended.
type ending struct {
	lifecycle.Verdict
	unrevoked bool
}

// farewell says truly what became of the tokens.
func farewell(s *scope, givenUp bool) ending {
	record := s.facts.Record
	switch {
	case !record.Revocable():
		return ending{Verdict: lifecycle.Verdict{Reason: v1alpha1.ReasonRevoked, Message: "there was no token to revoke"}}
	case s.facts.Deletion.Orphan:
		return ending{Verdict: lifecycle.Verdict{
			Reason: v1alpha1.EventOrphaned, Message: "deletionPolicy is Orphan: the grant stays alive at the provider",
		}}
	case record.Gone():
		return ending{Verdict: lifecycle.Verdict{Reason: v1alpha1.ReasonRevoked, Message: "the provider had ended the grant already"}}
	case givenUp:
		return ending{unrevoked: true, Verdict: lifecycle.Verdict{
			Reason: v1alpha1.EventRevocationFailed, Stalled: true,
			Message: "the tokens could not be revoked in time and may still work; revoke the grant at the provider" + lastError(record),
		}}
	case record.Revocation != nil && record.Revocation.Unrevoked != "":
		return ending{unrevoked: true, Verdict: lifecycle.Verdict{
			Reason: v1alpha1.EventRevocationFailed, Stalled: true,
			Message: "the provider refused to revoke: " + record.Revocation.Unrevoked,
		}}
	case s.facts.Deletion.Revocable == lifecycle.RevocableNever:
		return ending{unrevoked: true, Verdict: lifecycle.Verdict{
			Reason: v1alpha1.EventRevocationUnsupported, Stalled: true,
			Message: record.Unrevocable(),
		}}
	}
	return ending{Verdict: lifecycle.Verdict{Reason: v1alpha1.ReasonRevoked, Message: "revoked at the provider"}}
}

func lastError(record *lifecycle.Record) string {
	if record.Revocation == nil || record.Revocation.Message == "" {
		return ""
	}
	return "; last error: " + record.Revocation.Message
}
