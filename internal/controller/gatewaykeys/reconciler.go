// SPDX-License-Identifier: Apache-2.0

// Package gatewaykeys keeps the one Secret that gateways mount: the keys that they seal states with, and the webhook
// secrets of applications. It is there whether or not a gateway runs: one may be started at any time.
package gatewaykeys

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update

const (
	// gatherDelay collects what happens to many kept clients into one pass.
	gatherDelay = time.Second
	// afterConflict is when to look again after somebody else has written. The news of that comes sooner.
	afterConflict = time.Second
	// longestWait bounds how long a clock that was set is not noticed.
	longestWait = 24 * time.Hour
)

// Registrations are the kept clients: a registration.Store.
type Registrations interface {
	List(ctx context.Context) (map[types.UID]*registration.Client, error)
}

// Options are what a Reconciler needs.
type Options struct {
	// Client reads Secrets of Namespace from a cache, which must be the one that Registrations read: a webhook secret that is
	// seen in the Secret then belongs to a client that is seen, too. It writes to the API server.
	Client        client.Client
	Registrations Registrations
	// Namespace is the operator's own.
	Namespace string
	Clock     clock.PassiveClock
}

// Reconciler keeps the Secret. Several may run: each write is a compare-and-swap.
type Reconciler struct {
	options Options
	told    once
}

// New makes a Reconciler.
func New(options Options) *Reconciler { return &Reconciler{options: options} }

// SetupWithManager registers the controller, which makes a first pass at start.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("gatewaykeys").
		Watches(&corev1.Secret{}, r.handler(), builder.WithPredicates(r.relevant())).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(r.request())
			return nil
		})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the keys of the gateway: %w", err)
	}
	return nil
}

// request is the only one there is.
func (r *Reconciler) request() reconcile.Request { return reconcile.Request{NamespacedName: r.name()} }

func (r *Reconciler) name() types.NamespacedName {
	return types.NamespacedName{Namespace: r.options.Namespace, Name: v1alpha1.GatewayKeysSecret}
}

// relevant passes the Secret itself, and kept clients.
func (r *Reconciler) relevant() predicate.Predicate {
	ours := func(object client.Object) bool {
		return object.GetNamespace() == r.options.Namespace &&
			(object.GetName() == v1alpha1.GatewayKeysSecret || object.GetLabels()[v1alpha1.LabelRecord] == v1alpha1.RecordClient)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return ours(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() && (ours(e.ObjectOld) || ours(e.ObjectNew))
		},
		DeleteFunc: func(e event.DeleteEvent) bool { return ours(e.Object) },
	}
}

func (r *Reconciler) handler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(object client.Object, q queue) {
		if object.GetName() == v1alpha1.GatewayKeysSecret {
			q.Add(r.request())
			return
		}
		q.AddAfter(r.request(), gatherDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { enqueue(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { enqueue(e.Object, q) },
	}
}

// Reconcile makes one pass. It writes nothing when nothing is due.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	stored, err := r.stored(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	if stored != nil && stored.Type != v1alpha1.SecretTypeKeys {
		err := fmt.Errorf("type %q of Secret %s says that it is not the operator's: delete it", stored.Type, r.name())
		r.told.err(log.FromContext(ctx), err, "the keys of the gateway cannot be written: their Secret is somebody else's")
		return ctrl.Result{}, nil // Its end is heard of.
	}
	// After the Secret: a client that came in between is more than it shows, never less.
	clients, err := r.options.Registrations.List(ctx)
	if clients == nil && err != nil {
		return ctrl.Result{}, err
	}
	now := r.options.Clock.Now()
	next, err := decide(stored, clients, err, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	written, err := r.write(ctx, stored, next)
	switch {
	case isConflict(err):
		log.FromContext(ctx).V(1).Info("somebody else has written the keys of the gateway")
		return ctrl.Result{RequeueAfter: afterConflict}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	r.report(ctx, next, written)
	return ctrl.Result{RequeueAfter: min(max(next.keys.NextChange().Sub(now), time.Second), longestWait)}, nil
}

// stored returns the Secret from the cache, to be read only; nil: there is none.
func (r *Reconciler) stored(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.options.Client.Get(ctx, r.name(), secret, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys of the gateway: %w", err)
	}
	return secret, nil
}

// write brings the Secret from one version to the next, and says whether there was anything to write.
func (r *Reconciler) write(ctx context.Context, stored *corev1.Secret, next decision) (bool, error) {
	secret := next.secret(stored, r.name())
	if secret == nil {
		return false, nil
	}
	var err error
	if stored == nil {
		err = r.options.Client.Create(ctx, secret)
	} else {
		err = r.options.Client.Update(ctx, secret)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false, nil // The operator is being removed.
	}
	if err != nil {
		return false, fmt.Errorf("write the keys of the gateway: %w", redact.Error(err, secrets(stored, secret)...))
	}
	return true, nil
}

// isConflict tells whether the Secret is not as it was read: there is another version, it has just been made, or it is gone.
func isConflict(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

func (r *Reconciler) report(ctx context.Context, next decision, written bool) {
	logger := log.FromContext(ctx)
	if written && next.broken != nil {
		logger.Error(next.broken, "the keys of the gateway could not be read and were made anew: logins that are under way have to begin again")
	}
	if written {
		logger.Info("wrote the keys of the gateway", "keys", len(next.keys.Keys), "webhooks", len(next.webhooks))
	}
	r.told.err(logger, errors.Join(next.problems...), "some webhooks cannot be served: the gateway does not get their secrets")
}
