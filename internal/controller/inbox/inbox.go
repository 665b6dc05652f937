// SPDX-License-Identifier: Apache-2.0

// Package inbox looks after the messages that the gateway and the API leave for the controller: those that nobody takes are
// emptied, and the names of those that were taken are set free when what they came from can no longer be replayed. What a
// message means for a connection is decided with that connection.
package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// patience is how long a message waits to be taken: a code is dead by then, and a report was verified or dropped.
const patience = 15 * time.Minute

// firstLook is how long after its start a controller has for what came while there was none: a login that came to nothing by
// that is to be told of before its message goes.
const firstLook = time.Minute

// Options are what a Reconciler needs.
type Options struct {
	// Client reads from the cache and writes to the API server; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Namespace is the operator's own.
	Namespace string
	// Watched tells whether a namespace is one that the operator may look at.
	Watched func(namespace string) bool
	// RequestListing asks for the provider's list of an application's connections.
	RequestListing func(application types.NamespacedName)
	// StartedAt is when this process started.
	StartedAt time.Time
	Clock     clock.PassiveClock
}

// Reconciler looks after messages.
type Reconciler struct{ Options }

// New makes a Reconciler.
func New(options Options) *Reconciler { return &Reconciler{Options: options} }

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	messages := predicate.NewPredicateFuncs(func(object client.Object) bool {
		secret, ok := object.(*corev1.Secret)
		return ok && secret.Namespace == r.Namespace && pending.Is(secret)
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("message").
		For(&corev1.Secret{}, builder.WithPredicates(messages)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up messages: %w", err)
	}
	return nil
}

// Reconcile makes one pass over one message.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, request.NamespacedName, secret)
	if apierrors.IsNotFound(err) {
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read message: %w", err)
	}
	if !pending.Is(secret) {
		return ctrl.Result{}, nil
	}
	now := r.Clock.Now()
	if !pending.Emptied(secret) {
		wait, err := r.untaken(ctx, secret, now)
		if err != nil || wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, client.IgnoreNotFound(err)
		}
		return ctrl.Result{RequeueAfter: time.Millisecond}, r.empty(ctx, secret)
	}
	if wait := pending.KeepUntil(secret).Sub(now); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	version := client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Delete(ctx, secret, version))
}

// untaken judges a message that was not taken yet: how much longer to wait for that. 0: it is of no use to anybody.
func (r *Reconciler) untaken(ctx context.Context, secret *corev1.Secret, now time.Time) (time.Duration, error) {
	until := secret.CreationTimestamp.Add(patience)
	if first := r.StartedAt.Add(firstLook); first.After(until) {
		until = first
	}
	m, err := pending.Decode(secret)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "a message cannot be read and is dropped", "secret", secret.Name)
		return 0, nil
	}
	if m.ConnectionUID == "" {
		if m.Hint != nil && r.RequestListing != nil && r.Watched(m.Application.Namespace) {
			r.RequestListing(m.Application)
		}
		return 0, nil
	}
	there, err := r.exists(ctx, m.Connection, m.ConnectionUID)
	if err != nil || !there {
		return 0, err
	}
	return max(until.Sub(now), 0), nil
}

// exists tells whether the connection of a message is there and wanted; a cache that does not show it may be behind.
func (r *Reconciler) exists(ctx context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	if !r.Watched(name.Namespace) {
		return false, nil
	}
	connection := &v1alpha1.OAuthConnection{}
	for _, reader := range []client.Reader{r.Client, r.Live} {
		err := reader.Get(ctx, name, connection)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return false, fmt.Errorf("read connection %s: %w", name, err)
		case err == nil && connection.UID == uid:
			return connection.DeletionTimestamp.IsZero(), nil
		}
	}
	return false, nil
}

func (r *Reconciler) empty(ctx context.Context, secret *corev1.Secret) error {
	err := r.Client.Update(ctx, pending.Empty(secret))
	if apierrors.IsConflict(err) {
		return nil // Somebody has taken it meanwhile; the next pass sees that.
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("empty message %s: %w", secret.Name, err)
	}
	return nil
}
