// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/publish"
)

// publish makes the workload's Secret what the record says. An error means: try again.
func (r *Reconciler) publish(ctx context.Context, s *scope) (lifecycle.Publication, error) {
	p := lifecycle.Publication{Name: s.connection.TokenSecretName(), Before: s.connection.Status.SecretName != ""}
	record := s.facts.Record
	if record == nil || record.AccessToken.IsEmpty() || s.facts.Deletion != nil {
		return p, nil
	}
	if record.Gone() {
		return p, r.withdrawEnded(ctx, s)
	}
	desired := s.desired(p.Name)
	if desired.Template != nil && s.values == nil {
		return r.keepRendered(ctx, s, p)
	}
	result, err := r.Publisher.Publish(ctx, desired)
	var conflict *publish.ConflictError
	var rejected *publish.RejectedError
	var leftover *publish.LeftoverError
	var template *publish.TemplateError
	switch {
	case err == nil:
		p.Current = true
	case errors.As(err, &template):
		p.Problem = &lifecycle.Verdict{Reason: v1alpha1.ReasonTemplateInvalid, Message: template.Error(), Stalled: true}
		return p, nil
	case errors.As(err, &conflict):
		p.Problem = &lifecycle.Verdict{Reason: v1alpha1.ReasonSecretConflict, Message: conflict.Error(), Stalled: !conflict.Former}
		return p, r.keepFormer(ctx, s, desired, p.Problem)
	case errors.As(err, &rejected):
		p.Problem = &lifecycle.Verdict{Reason: v1alpha1.ReasonSecretRejected, Message: rejected.Error(), Stalled: true}
		r.waker.wakeAfter(s.name, rejectedRetry)
		return p, nil
	case errors.As(err, &leftover):
		p.Current = true
	default:
		p.Problem = &lifecycle.Verdict{Reason: v1alpha1.ReasonProgressing, Message: "the Secret could not be written yet"}
	}
	if result.Repaired {
		repaired(r.Recorder, s.connection, p.Name)
	}
	return p, err
}

// keepRendered leaves the Secret as it was rendered before: the inputs are not known at present. Nor are tokens renewed then.
func (r *Reconciler) keepRendered(ctx context.Context, s *scope, p lifecycle.Publication) (lifecycle.Publication, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: s.name.Namespace, Name: p.Name}, secret)
	if client.IgnoreNotFound(err) != nil {
		return p, fmt.Errorf("read Secret %s: %w", p.Name, err)
	}
	p.Current = err == nil && s.connection.Status.SecretName == p.Name && metav1.IsControlledBy(secret, s.connection)
	if !p.Current && s.facts.Blocked != nil {
		p.Problem = &lifecycle.Verdict{
			Reason: s.facts.Blocked.Reason, Stalled: s.facts.Blocked.Stalled,
			Message: "Secret " + p.Name + " cannot be written from its template at present: " + s.facts.Blocked.Message,
		}
	}
	return p, nil
}

// desired is the Secret that the record and the connection ask for.
func (s *scope) desired(name string) publish.Desired {
	record, spec := s.facts.Record, &s.connection.Spec
	desired := publish.Desired{
		Connection: s.name, ConnectionUID: s.connection.UID, Name: name,
		AccessToken: record.AccessToken, TokenType: record.TokenType, Scopes: record.Scopes,
		DisplayName: spec.DisplayName, Owner: spec.Owner, Application: s.applicationName(),
		Subject: record.Subject, ID: record.ID, Captured: record.Captured, Inputs: s.inputs(),
	}
	if record.Expiry.Kind == lifecycle.ExpiryAt {
		desired.ExpiresAt = record.Expiry.At
	}
	if spec.Secret != nil {
		desired.Type, desired.Template = spec.Secret.Type, spec.Secret.Template
	}
	return desired
}

// inputs are the values of the application's inputs, defaults included.
func (s *scope) inputs() map[string]string {
	if s.values == nil {
		return inputsOf(s.connection)
	}
	all := map[string]string{}
	for _, input := range s.profile.Spec.Inputs {
		if value, ok := s.values[string(input.Name)]; ok {
			all[string(input.Name)] = value
		}
	}
	return all
}

// withdrawEnded takes the Secret of a grant away that the provider has ended: its token works no more.
func (r *Reconciler) withdrawEnded(ctx context.Context, s *scope) error {
	if s.connection.Status.SecretName == "" {
		return nil
	}
	err := r.Publisher.Withdraw(ctx, s.name, s.connection.UID, s.connection.TokenSecretName(), s.connection.Status.SecretName)
	if err != nil {
		return fmt.Errorf("withdraw the token Secret: %w", err)
	}
	return nil
}

// rejectedRetry is when a Secret is offered again that the API server has refused: a quota or a policy may have changed.
const rejectedRetry = time.Minute

// keepFormer goes on with the Secret of the name before, which workloads mount, while the new name is taken.
func (r *Reconciler) keepFormer(ctx context.Context, s *scope, desired publish.Desired, problem *lifecycle.Verdict) error {
	former := s.connection.Status.SecretName
	if former == "" || former == desired.Name {
		return nil
	}
	desired.Name = former
	if _, err := r.Publisher.Publish(ctx, desired); err != nil {
		return err
	}
	problem.Message += "; until then Secret " + former + " goes on being updated"
	return nil
}

// report writes status in one patch, if it has changed, and tells of the change.
func (r *Reconciler) report(ctx context.Context, s *scope, publication lifecycle.Publication) error {
	summary := lifecycle.Describe(s.facts, publication, s.now)
	status := statusOf(s, summary, publication)
	status.AuthorizationURL = r.link(s, status, summary.AwaitsPerson)
	return r.patchStatus(ctx, s, status, func(before *v1alpha1.OAuthConnectionStatus) {
		changed(r.Recorder, s.connection, before)
	})
}

// reportDeleted writes the last status of a connection that is about to go.
func (r *Reconciler) reportDeleted(ctx context.Context, s *scope, verdict ending) error {
	status := s.connection.Status.DeepCopy()
	status.Phase, status.DeletedAt = v1alpha1.ConnectionDeleted, timeOf(s.now)
	status.SecretName, status.NextRefreshAt, status.Failure = "", nil, nil
	status.ObservedGeneration = s.connection.Generation
	gone := lifecycle.Condition{Status: lifecycle.False, Reason: verdict.Reason, Message: verdict.Message}
	settled := lifecycle.Condition{Status: lifecycle.False, Reason: v1alpha1.ReasonSettled}
	setConditions(status, s, gone, gone, settled, settled)
	return r.patchStatus(ctx, s, status, func(*v1alpha1.OAuthConnectionStatus) {})
}

// patchStatus is the one place where status is written. The optimistic lock keeps a pass on a stale view from
// overwriting a newer one.
func (r *Reconciler) patchStatus(
	ctx context.Context, s *scope, status *v1alpha1.OAuthConnectionStatus, tell func(before *v1alpha1.OAuthConnectionStatus),
) error {
	if apiequality.Semantic.DeepEqual(&s.connection.Status, status) {
		return nil
	}
	before := s.connection.DeepCopy()
	s.connection.Status = *status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, s.connection, patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.connection.Status = before.Status
		return fmt.Errorf("patch status: %w", err)
	}
	r.wrote(s.connection)
	tell(&before.Status)
	return nil
}

func statusOf(s *scope, summary lifecycle.Summary, publication lifecycle.Publication) *v1alpha1.OAuthConnectionStatus {
	status := s.connection.Status.DeepCopy()
	status.Phase = v1alpha1.ConnectionPhase(summary.Phase)
	status.ObservedGeneration = s.connection.Generation
	status.NextRefreshAt = timeOf(summary.NextRefreshAt)
	status.Failure = failureOf(summary.Failure)
	status.DeviceAuthorization = deviceOf(s)
	switch {
	case publication.Current:
		status.SecretName = publication.Name
	case s.facts.Record.Gone():
		status.SecretName = ""
	}
	status.DeletedAt = nil
	if s.facts.Record.Gone() {
		status.DeletedAt = timeOf(s.facts.Record.Standing.At)
	}
	fillFromRecord(status, s.facts.Record)
	setConditions(status, s, summary.Ready, summary.Authorized, summary.Reconciling, summary.Stalled)
	if summary.ScopesGranted.Status == "" {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionScopesGranted)
	} else {
		setCondition(status, s, v1alpha1.ConditionScopesGranted, summary.ScopesGranted)
	}
	return status
}

// deviceOf is what a person has to type while that may still be typed, and somebody looks whether it was.
func deviceOf(s *scope) *v1alpha1.DeviceAuthorization {
	if s.facts.GrantType != lifecycle.DeviceCode || s.facts.Record == nil || s.facts.Record.Device == nil || !s.now.Before(s.facts.Record.Device.ExpiresAt) {
		return nil
	}
	device := s.facts.Record.Device
	return &v1alpha1.DeviceAuthorization{
		UserCode: device.UserCode, VerificationURI: device.VerificationURI,
		VerificationURIComplete: device.VerificationURIComplete, ExpiresAt: timeOf(device.ExpiresAt),
	}
}

func fillFromRecord(status *v1alpha1.OAuthConnectionStatus, record *lifecycle.Record) {
	if record == nil {
		return
	}
	status.ID, status.Subject = record.ID, record.Subject
	status.Scopes, status.TokenType = record.Scopes, record.TokenType
	status.CreatedAt = timeOf(record.FirstAuthorizedAt)
	if !record.ProviderCreatedAt.IsZero() {
		status.CreatedAt = timeOf(record.ProviderCreatedAt)
	}
	status.LastAuthorizedAt = timeOf(record.AuthorizedAt)
	status.LastRefreshedAt = timeOf(record.RefreshedAt)
	status.UpdatedAt = timeOf(record.AuthorizedAt)
	if record.RefreshedAt.After(record.AuthorizedAt) {
		status.UpdatedAt = timeOf(record.RefreshedAt)
	}
	status.AccessTokenExpiresAt = nil
	if record.Expiry.Kind == lifecycle.ExpiryAt {
		status.AccessTokenExpiresAt = timeOf(record.Expiry.At)
	}
	status.RefreshTokenExpiresAt = timeOf(record.RefreshTokenExpiresAt)
	if record.Attempt == nil { // Only an attempt that has ended answers a request.
		status.ObservedRefreshRequest = record.RefreshRequest
	}
	if a := record.Authorization; a != nil {
		status.LastAuthorization = &v1alpha1.LastAuthorization{
			ID: a.ID, Outcome: v1alpha1.AuthorizationOutcome(a.Result), Reason: a.Reason, Message: a.Message,
			Time: *timeOf(a.At),
		}
	}
}

// timeOf cuts to the seconds that the API stores, so that an unchanged time compares equal.
func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	cut := metav1.NewTime(t.Truncate(time.Second))
	return &cut
}

func failureOf(f *lifecycle.Failure) *v1alpha1.Failure {
	if f == nil {
		return nil
	}
	return &v1alpha1.Failure{
		Count: int32(min(f.Count, 1<<30)), Reason: f.Reason, Message: f.Message, //nolint:gosec // bounded
		NextAttemptAt: timeOf(f.NextAttemptAt),
	}
}

func setConditions(status *v1alpha1.OAuthConnectionStatus, s *scope, ready, authorized, reconciling, stalled lifecycle.Condition) {
	for _, c := range []struct {
		kind string
		lifecycle.Condition
	}{
		{v1alpha1.ConditionReady, ready},
		{v1alpha1.ConditionAuthorized, authorized},
		{v1alpha1.ConditionReconciling, reconciling},
		{v1alpha1.ConditionStalled, stalled},
	} {
		setCondition(status, s, c.kind, c.Condition)
	}
}

func setCondition(status *v1alpha1.OAuthConnectionStatus, s *scope, kind string, c lifecycle.Condition) {
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: kind, Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message,
		ObservedGeneration: s.connection.Generation, LastTransitionTime: metav1.NewTime(s.now.Truncate(time.Second)),
	})
}
