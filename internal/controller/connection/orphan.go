// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// orphanConfirmation lies between the two live reads that prove a connection gone.
const orphanConfirmation = time.Minute

// adopt looks after records of this name that belong to another incarnation of the connection: a restored backup takes
// its grant over, anything else is tidied away. It says whether the pass can go on.
func (r *Reconciler) adopt(ctx context.Context, connection *v1alpha1.OAuthConnection) (bool, error) {
	name := types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}
	entries, err := r.Grants.OfConnection(ctx, name.Namespace, name.Name)
	if err != nil {
		return false, err
	}
	own, err := r.Grants.Get(ctx, string(connection.UID))
	if err != nil {
		return false, err
	}
	if own != nil && !own.Record.OrphanedSince.IsZero() {
		next := *own.Record
		next.OrphanedSince = time.Time{}
		if _, err := r.Grants.Write(ctx, own, &next); err != nil {
			return false, err
		}
	}
	strays := 0
	for _, entry := range entries {
		if entry.Record.Connection.UID == string(connection.UID) {
			continue
		}
		strays++
		if own == nil && connection.DeletionTimestamp.IsZero() && inherits(connection, entry.Record) {
			may, err := r.mayInherit(ctx, connection, entry.Record)
			if err != nil {
				return false, err
			}
			if may {
				return false, r.inherit(ctx, connection, entry)
			}
		}
	}
	if strays == 0 {
		return true, nil
	}
	if _, err := r.tidyRecords(ctx, name, connection); err != nil {
		return false, err
	}
	r.waker.wakeAfter(name, orphanConfirmation)
	return true, nil
}

// inherits tells whether a connection is the same as the one that the record was made for, but for its UID.
func inherits(connection *v1alpha1.OAuthConnection, record *lifecycle.Record) bool {
	namespace, name := connection.ApplicationKey()
	return record.Application.Namespace == namespace && record.Application.Name == name &&
		record.Owner == connection.Spec.Owner && (record.Heir == "" || record.Heir == string(connection.UID))
}

// mayInherit tells whether the application allows the connection, and nothing is under way for the record that this very
// process would not know again under another UID.
func (r *Reconciler) mayInherit(ctx context.Context, connection *v1alpha1.OAuthConnection, record *lifecycle.Record) (bool, error) {
	if r.Queue.State(record.Connection.UID) == callqueue.Running {
		return false, nil
	}
	s := &scope{name: types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}, connection: connection}
	if err := r.gatherApplication(ctx, s); err != nil {
		return false, err
	}
	return s.application != nil && (s.facts.Blocked == nil || s.facts.Blocked.Reason != v1alpha1.ReasonNotAllowed), nil
}

// inherit moves a record to its new connection in three writes, each of which may be the last before a crash: name the
// heir, write the new record, delete the old one. A record that has an heir is never revoked while the heir's exists.
func (r *Reconciler) inherit(ctx context.Context, connection *v1alpha1.OAuthConnection, old *grant.Entry) error {
	heir := string(connection.UID)
	name := types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}
	// Were this connection the one that is gone, and the cache behind, it would rob its own successor.
	if exists, err := r.exists(ctx, name, heir); err != nil || !exists {
		return err
	}
	if old.Record.Heir == "" {
		next := *old.Record
		next.Heir = heir
		var err error
		if old, err = r.Grants.Write(ctx, old, &next); err != nil {
			return err
		}
	}
	next := *old.Record
	next.Connection.UID, next.Heir, next.OrphanedSince = heir, "", time.Time{}
	if _, err := r.Grants.Write(ctx, nil, &next); err != nil && !errors.Is(err, grant.ErrConflict) {
		return err
	}
	adopted(r.Recorder, connection)
	if err := r.Grants.Delete(ctx, old); err != nil {
		return err
	}
	r.waker.wake(name)
	return nil
}

// tidyRecords revokes and removes the records of a name whose connection is gone. current is the connection that has
// the name now, or nil.
func (r *Reconciler) tidyRecords(ctx context.Context, name types.NamespacedName, current *v1alpha1.OAuthConnection) (ctrl.Result, error) {
	entries, err := r.Grants.OfConnection(ctx, name.Namespace, name.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	result := ctrl.Result{}
	for _, entry := range entries {
		if current != nil && entry.Record.Connection.UID == string(current.UID) {
			continue
		}
		wait, err := r.tidyRecord(ctx, name, entry)
		if errors.Is(err, grant.ErrConflict) {
			wait, err = staleRetry, nil
		}
		if err != nil {
			return ctrl.Result{}, err
		}
		if wait > 0 && (result.RequeueAfter == 0 || wait < result.RequeueAfter) {
			result.RequeueAfter = wait
		}
	}
	return result, nil
}

// tidyRecord makes one step with one record and says when to look again.
func (r *Reconciler) tidyRecord(ctx context.Context, name types.NamespacedName, entry *grant.Entry) (time.Duration, error) {
	record, now := entry.Record, r.Clock.Now()
	if record.OrphanedSince.IsZero() || (record.Revocation == nil && now.Sub(record.OrphanedSince) >= orphanConfirmation) {
		exists, err := r.exists(ctx, name, record.Connection.UID)
		if err != nil {
			return 0, err
		}
		if exists {
			return 0, nil // The cache is behind; the connection's own event comes.
		}
	}
	if record.OrphanedSince.IsZero() {
		next := *record
		next.OrphanedSince = now
		_, err := r.Grants.Write(ctx, entry, &next)
		return orphanConfirmation, err
	}
	if wait := orphanConfirmation - now.Sub(record.OrphanedSince); wait > 0 {
		return wait, nil
	}
	return r.endOrphan(ctx, name, entry)
}

// exists reads live whether the connection with this UID is there.
func (r *Reconciler) exists(ctx context.Context, name types.NamespacedName, uid string) (bool, error) {
	connection := &v1alpha1.OAuthConnection{}
	err := r.Live.Get(ctx, name, connection)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read connection %s live: %w", name, err)
	}
	return string(connection.UID) == uid, nil
}

// endOrphan revokes an orphaned record and removes it.
func (r *Reconciler) endOrphan(ctx context.Context, name types.NamespacedName, entry *grant.Entry) (time.Duration, error) {
	if heir := entry.Record.Heir; heir != "" {
		taken, err := r.Grants.Get(ctx, heir)
		if err != nil {
			return 0, err
		}
		if taken != nil {
			return 0, r.Grants.Delete(ctx, entry)
		}
	}
	s, err := r.gatherOrphan(ctx, name, entry.Record.Connection.UID)
	if err != nil || s == nil {
		return 0, err
	}
	s.facts.Running = r.Queue.State(s.key()) == callqueue.Running
	switch decision := lifecycle.Decide(s.facts, s.now); decision.Action {
	case lifecycle.Revoke:
		r.submit(s, decision)
	case lifecycle.VerifyMark:
		return 0, r.verifyMark(ctx, s)
	case lifecycle.Release:
		verdict := farewell(s, decision.GivenUp)
		released(r.Recorder, s, verdict, false)
		if verdict.unrevoked {
			r.Metrics.Unrevoked(s.applicationName())
		}
		s.log.Info("removed the record of a connection that is gone", "reason", verdict.Reason, "detail", verdict.Message)
		return 0, r.Grants.Delete(ctx, s.entry)
	case lifecycle.Wait:
		if !decision.At.IsZero() {
			return max(decision.At.Sub(s.now), time.Millisecond), nil
		}
	default: // Nothing else is done for a connection that is gone.
	}
	return 0, nil
}

// gatherOrphan gathers the facts about a record without a connection; nil when there is no such record.
func (r *Reconciler) gatherOrphan(ctx context.Context, name types.NamespacedName, uid string) (*scope, error) {
	entry, err := r.Grants.Get(ctx, uid)
	if err != nil || entry == nil {
		return nil, err
	}
	s := &scope{log: logr.FromContextOrDiscard(ctx), now: r.Clock.Now(), name: name}
	s.facts = lifecycle.Facts{UID: uid, Process: r.Process}
	s.take(entry)
	s.facts.MarkSeenAt = r.marks.firstSeen(s.facts.Record, r.Process, s.now)
	if err := r.gatherKeptClient(ctx, s); err != nil {
		return nil, err
	}
	s.gatherValues()
	s.facts.Deletion = r.deletionOf(s)
	s.facts.Deletion.RequestedAt = r.sinceStart(entry.Record.OrphanedSince.Add(orphanConfirmation))
	return s, nil
}
