// SPDX-License-Identifier: Apache-2.0

// Package connection reconciles OAuthConnections: gather the facts, decide, do at most one thing, publish the Secret,
// write status. Calls to providers run in the application's queue, never in a reconcile worker.
package connection

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/ownwrites"
	"github.com/oauth-operator/oauth-operator/internal/publish"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthconnections,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthconnections/status,verbs=patch
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthconnections/finalizers,verbs=update
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthapplications,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Metrics counts what happens to grants.
type Metrics interface {
	// Call counts one call to a provider: action is one of lifecycle's, result is "success" or a reason.
	Call(application types.NamespacedName, action, result string, took time.Duration)
	// Unrevoked counts tokens that could not be revoked.
	Unrevoked(application types.NamespacedName)
}

// TokenIssuer asks for the token of a ServiceAccount with one audience.
type TokenIssuer interface {
	Token(ctx context.Context, namespace, name, audience string) (token sensitive.String, expiresAt time.Time, err error)
}

// Options are what a Reconciler needs.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Metadata reads PartialObjectMetadata of Secrets that are not the operator's, and of namespaces.
	Metadata client.Reader

	Grants        *grant.Store
	Registrations *registration.Store
	Publisher     *publish.Publisher
	// ServiceAccounts asks Kubernetes for tokens of ServiceAccounts.
	ServiceAccounts TokenIssuer
	// Census holds what the provider's lists of connections say, and RequestListing asks for a new one.
	Census         *census.Store
	RequestListing func(application types.NamespacedName)
	Queue          *callqueue.Queue
	Caller         *oauth.Caller
	Transports     *egress.TransportPool
	Recorder       events.EventRecorder
	Metrics        Metrics
	Clock          clock.PassiveClock

	// Namespace is the operator's own, where messages of the gateway arrive.
	Namespace string
	// ExternalURL is the gateway's public address without a slash at its end; empty: there is no gateway.
	ExternalURL string
	// Process names this process in marks.
	Process string
	// StartedAt is when this process started.
	StartedAt time.Time
	// RevocationTimeout bounds how long a deletion waits for the provider.
	RevocationTimeout time.Duration
	// Watched tells whether a namespace is one that the operator may look at.
	Watched func(namespace string) bool
	// Workers is the number of passes at once.
	Workers int
}

// Reconciler keeps connections true.
type Reconciler struct {
	Options
	marks marks
	waker waker
	own   ownwrites.Versions
	// uids are those of connections that were written, to be forgotten when the name is gone.
	uids sync.Map
	// polled and checked say, by connection UID, when this process last asked about a device authorization or a grant.
	polled, checked sync.Map
	// checkTold is, by connection UID, what the last status check failed with that people were told of.
	checkTold sync.Map
	// failed counts, by connection UID, turns in a row that ended without a call.
	failed sync.Map
	// nudged says when this process first saw callers' words that a token is of no use.
	nudged nudges
}

// New makes a Reconciler.
func New(options Options) *Reconciler {
	return &Reconciler{Options: options, marks: marks{seen: map[string]sighting{}}}
}

// Reconcile makes one pass over one connection.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if !r.Watched(request.Namespace) {
		return ctrl.Result{}, nil // A record of a namespace that was watched once; nobody can know whether it is orphaned.
	}
	connection := &v1alpha1.OAuthConnection{}
	err := r.Client.Get(ctx, request.NamespacedName, connection)
	if apierrors.IsNotFound(err) {
		r.forget(request.NamespacedName)
		return r.tidyRecords(ctx, request.NamespacedName, nil)
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read connection: %w", err)
	}
	if !r.own.Visible(connection) {
		return ctrl.Result{RequeueAfter: staleRetry}, nil
	}
	result, err := r.reconcile(ctx, connection)
	if stale(err) {
		// Our view is behind; the event that brings it up to date is on its way.
		logr.FromContextOrDiscard(ctx).V(1).Info("the cache is behind; passing again", "cause", err.Error())
		return ctrl.Result{RequeueAfter: staleRetry}, nil
	}
	return result, err
}

// forget frees what is remembered of the connection that had this name.
func (r *Reconciler) forget(name types.NamespacedName) {
	if uid, ok := r.uids.LoadAndDelete(name); ok {
		if uid, ok := uid.(types.UID); ok {
			r.own.Forget(uid)
			r.failed.Delete(string(uid))
			r.polled.Delete(string(uid))
			r.checked.Delete(string(uid))
			r.checkTold.Delete(string(uid))
			r.nudged.forget(string(uid))
		}
	}
}

// wrote remembers our own write of a connection.
func (r *Reconciler) wrote(connection *v1alpha1.OAuthConnection) {
	r.uids.Store(client.ObjectKeyFromObject(connection), connection.UID)
	r.own.Wrote(connection)
}

// staleRetry is when a pass on a stale view is repeated.
const staleRetry = 20 * time.Millisecond

func (r *Reconciler) reconcile(ctx context.Context, connection *v1alpha1.OAuthConnection) (ctrl.Result, error) {
	if connection.DeletionTimestamp.IsZero() {
		if err := r.ensureFinalizer(ctx, connection); err != nil {
			return ctrl.Result{}, err
		}
	} else if !controllerutil.ContainsFinalizer(connection, v1alpha1.FinalizerConnection) {
		return ctrl.Result{}, nil
	}
	if proceed, err := r.adopt(ctx, connection); !proceed {
		return ctrl.Result{}, err
	}
	s, err := r.gather(ctx, connection)
	if err != nil {
		return ctrl.Result{}, err
	}
	s.facts.Running = r.Queue.State(s.key()) == callqueue.Running
	decision := lifecycle.Decide(s.facts, s.now)
	if err := r.act(ctx, s, decision); err != nil {
		return ctrl.Result{}, err
	}
	if decision.Action == lifecycle.Release {
		return ctrl.Result{}, nil
	}
	publication, publishErr := r.publish(ctx, s)
	if apierrors.IsConflict(publishErr) {
		return ctrl.Result{}, publishErr // Seen on a stale view: nothing to report.
	}
	if err := r.report(ctx, s, publication); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.settleMessages(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if publishErr != nil {
		return ctrl.Result{}, publishErr
	}
	return r.resultOf(s, decision), nil
}

// resultOf says when to look again: what changes by itself is time alone.
func (r *Reconciler) resultOf(s *scope, decision lifecycle.Decision) reconcile.Result {
	at := lifecycle.WakeAt(s.facts, decision, s.now)
	if expiry := linkExpiry(s.connection); !expiry.IsZero() && (at.IsZero() || expiry.Before(at)) {
		at = expiry
	}
	if at.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(at.Sub(s.now), time.Millisecond)}
}

// ensureFinalizer comes first and alone: nothing may exist outside that cleanup does not know of.
func (r *Reconciler) ensureFinalizer(ctx context.Context, connection *v1alpha1.OAuthConnection) error {
	if controllerutil.ContainsFinalizer(connection, v1alpha1.FinalizerConnection) {
		return nil
	}
	return r.patchFinalizers(ctx, connection, controllerutil.AddFinalizer)
}

func (r *Reconciler) patchFinalizers(
	ctx context.Context, connection *v1alpha1.OAuthConnection, change func(client.Object, string) bool,
) error {
	before := connection.DeepCopy()
	change(connection, v1alpha1.FinalizerConnection)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, connection, patch); err != nil {
		return fmt.Errorf("change finalizers: %w", err)
	}
	r.wrote(connection)
	return nil
}

// act does the one thing that was decided.
func (r *Reconciler) act(ctx context.Context, s *scope, decision lifecycle.Decision) error {
	switch decision.Action {
	case lifecycle.Wait:
		r.Queue.Cancel(s.key())
		return nil
	case lifecycle.VerifyMark:
		return r.verifyMark(ctx, s)
	case lifecycle.Remember:
		return r.remember(ctx, s)
	case lifecycle.Release:
		return r.release(ctx, s, decision.GivenUp)
	case lifecycle.Settle:
		return r.write(ctx, s, lifecycle.Settled(s.entry.Record, s.now))
	case lifecycle.Observe:
		return r.write(ctx, s, lifecycle.Observed(s.entry.Record, *s.facts.Listed))
	case lifecycle.Conclude:
		return r.conclude(ctx, s)
	case lifecycle.Heed:
		deauthorizationReported(r.Recorder, s.connection, s.facts.Reported.Type)
		return r.write(ctx, s, lifecycle.Heeded(s.entry.Record, *s.facts.Reported))
	case lifecycle.Invite:
		return r.write(ctx, s, lifecycle.Invited(s.entry.Record, s.now))
	case lifecycle.Judge:
		return r.judgeReport(ctx, s)
	default:
		r.submit(s, decision)
	}
	return nil
}

// write goes on with a record that was changed without calling anybody.
func (r *Reconciler) write(ctx context.Context, s *scope, next *lifecycle.Record) error {
	entry, err := r.Grants.Write(ctx, s.entry, next)
	if err != nil {
		return err
	}
	s.take(entry)
	s.facts.Listed = nil
	r.waker.wake(s.name)
	r.wakeDependents(ctx, s.name)
	return nil
}

// conclude writes down how a login ended without a call. Nobody may have called anybody for this connection yet.
func (r *Reconciler) conclude(ctx context.Context, s *scope) error {
	answer := s.facts.Conclusion(s.now)
	if answer == nil || (s.entry == nil && s.client == nil) {
		return nil // Without a client there is no record to write it into; see inbox for what becomes of the message.
	}
	if err := r.confirmLogin(ctx, s, answer.Login); err != nil {
		return err
	}
	return r.write(ctx, s, lifecycle.Concluded(s.record(), *answer, s.facts.Input, s.now))
}

// judgeReport decides about a report of the provider's that nobody can be asked about any more.
func (r *Reconciler) judgeReport(ctx context.Context, s *scope) error {
	held, kind := s.facts.Record.Held() && !s.facts.Record.Gone(), s.facts.Record.Hint.Type
	next, believed := lifecycle.Judged(s.entry.Record, s.facts, s.now)
	if held && !believed {
		tell := reportNotVerified
		if s.facts.Lists {
			tell = reportNotBorneOut
		}
		tell(r.Recorder, s.connection, kind)
	}
	return r.write(ctx, s, next)
}

// verifyMark reads the record live: a mark that is still the same after the time for it has passed was left by a
// process that died.
func (r *Reconciler) verifyMark(ctx context.Context, s *scope) error {
	live, err := r.Grants.Live(ctx, s.facts.UID)
	if err != nil {
		return err
	}
	seen := s.entry.Record.Attempt
	if live == nil || live.Record.Attempt == nil || live.Record.Attempt.ID != seen.ID {
		r.marks.forget(s.facts.UID)
		return grant.ErrConflict // The cache will show what has become of it.
	}
	entry, err := r.Grants.Write(ctx, live, lifecycle.Interrupted(live.Record, s.facts.Basis, s.now))
	if err != nil {
		return err
	}
	s.log.Info("a call was interrupted by the end of the process that made it; its outcome is unknown",
		"action", seen.Action, "startedAt", seen.StartedAt)
	s.take(entry)
	r.marks.forget(s.facts.UID)
	r.waker.wake(s.name)
	return nil
}

func (r *Reconciler) remember(ctx context.Context, s *scope) error {
	if err := r.confirm(ctx, s, lifecycle.Remember); err != nil {
		return err
	}
	nothing := s.facts.RefreshRequest != s.entry.Record.RefreshRequest && !s.isListed()
	entry, err := r.Grants.Write(ctx, s.entry, lifecycle.Remembered(s.entry.Record, s.facts.Input, s.facts.RefreshRequest))
	if err != nil {
		return err
	}
	s.take(entry)
	if nothing && s.facts.RefreshRequest != "" {
		nothingToRefresh(r.Recorder, s.connection, s.facts.InVain())
	}
	r.waker.wake(s.name)
	return nil
}
