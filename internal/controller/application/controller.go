// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/ownwrites"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// retryConflict is the pause after a write that somebody else was ahead of, or that the cache does not show yet.
const retryConflict = 50 * time.Millisecond

// The permissions of this controller. It reads the values of Secrets and ConfigMaps one by one (get) and watches their
// metadata. RBAC knows no Secrets "with this label": those of tokens are written in every namespace that has connections
// (see the connection controller), and that also covers the kept clients in the operator's own.
//
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthapplications,verbs=list;watch;patch
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthapplications/status,verbs=patch
// +kubebuilder:rbac:groups=oauth-operator.io,resources=oauthconnections,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Options are what the controller needs. All but InUse, Listed and Watched are required.
type Options struct {
	// Client reads from the manager's cache, where the indexes of RegisterIndexes are, and writes.
	Client client.Client
	// Metadata is a cache of the metadata of namespaces, and of Secrets and ConfigMaps that are not the operator's own. The
	// manager runs it.
	Metadata cache.Cache
	// Live reads from the API server.
	Live client.Reader
	// Registrations keeps the resolved clients.
	Registrations *registration.Store
	// Catalogue has the presets.
	Catalogue *provider.Catalogue
	// Queue runs discovery and listings, in the lane of the application ("namespace/name").
	Queue *callqueue.Queue
	// Discoverer reads discovery documents.
	Discoverer Discoverer
	// Getter reads the provider's lists.
	Getter Getter
	// Listings takes requests for listings.
	Listings *Listings
	// Census takes what listings have shown.
	Census *census.Store
	// Listed is called after each complete listing of an application's connections; nil: nobody waits for it.
	Listed func(ctx context.Context, application types.NamespacedName)
	// Transports judges CA bundles and makes the transports that trust them.
	Transports Transports
	// CheckURL judges a provider's URL before anything is sent there (egress.Guard.CheckURL).
	CheckURL func(raw string) error
	// Clock tells the time.
	Clock clock.PassiveClock
	// Recorder takes events.
	Recorder events.EventRecorder
	// ExternalURL is the gateway's public address; empty without a gateway.
	ExternalURL string
	// RevocationTimeout bounds how long a deleted application waits for its connections.
	RevocationTimeout time.Duration
	// InUse tells whether a grant record needs the kept client of the application with this UID; nil: none ever does.
	InUse func(ctx context.Context, applicationUID string) (bool, error)
	// Watched tells whether a namespace is one that the operator may look at; nil: all are.
	Watched func(namespace string) bool
	// Workers reconcile at the same time; at least 1.
	Workers int
}

// Reconciler reconciles OAuthApplications. Use SetupWithManager.
type Reconciler struct {
	options  Options
	rules    rules
	attempts attempts
	wake     wake
	own      ownwrites.Versions
}

func newReconciler(options Options) *Reconciler {
	r := &Reconciler{
		options: options,
		rules: rules{
			Rules:     provider.Rules{CheckURL: options.CheckURL, ExternalURL: options.ExternalURL},
			catalogue: options.Catalogue,
			checkCA: func(bundle []byte) error {
				_, err := options.Transports.ForCA(bundle)
				return err
			},
			revocationTimeout: options.RevocationTimeout,
		},
	}
	options.Listings.attach(r.wake.enqueue)
	return r
}

// Reconcile makes one pass over an application.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if watched := r.options.Watched; watched != nil && !watched(request.Namespace) {
		return ctrl.Result{}, nil // The kept client of a namespace that was watched once.
	}
	application := &v1alpha1.OAuthApplication{}
	err := r.options.Client.Get(ctx, request.NamespacedName, application)
	if apierrors.IsNotFound(err) {
		r.options.Listings.dismiss(request.NamespacedName)
		return ctrl.Result{}, r.release(ctx, request.NamespacedName, "")
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read the application: %w", err)
	}
	if !r.own.Visible(application) {
		return ctrl.Result{RequeueAfter: retryConflict}, nil
	}
	result, err := r.pass(ctx, application)
	if apierrors.IsConflict(err) {
		log.FromContext(ctx).V(1).Info("somebody else wrote first; reading again", "cause", err.Error())
		return ctrl.Result{RequeueAfter: retryConflict}, nil
	}
	return result, err
}

func (r *Reconciler) pass(ctx context.Context, application *v1alpha1.OAuthApplication) (ctrl.Result, error) {
	if !application.DeletionTimestamp.IsZero() {
		return r.passDeleted(ctx, application)
	}
	if err := r.addFinalizer(ctx, application); err != nil {
		return ctrl.Result{}, err
	}
	f, err := r.gather(ctx, application)
	if err != nil {
		return ctrl.Result{}, err
	}
	d := decide(f, r.rules)
	if d.discover != nil {
		//nolint:contextcheck // the call outlives this pass; the queue gives it a context of its own
		r.startDiscovery(client.ObjectKeyFromObject(application), application.UID, *d.discover)
	}
	if d.client != nil {
		if err := r.options.Registrations.Save(ctx, d.client); err != nil {
			return ctrl.Result{}, err
		}
	}
	r.attendListing(application, f, d)
	if err := r.report(ctx, application, status(f, d), eventsFor(application.Status, d)); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.release(ctx, client.ObjectKeyFromObject(application), application.UID); err != nil {
		return ctrl.Result{}, err
	}
	if d.wakeAt.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(d.wakeAt.Sub(f.now), time.Millisecond)}, nil
}

// attendListing begins the listing that is due, or forgets what is known where there is nothing to list.
func (r *Reconciler) attendListing(application *v1alpha1.OAuthApplication, f facts, d decision) {
	key := client.ObjectKeyFromObject(application)
	if d.listed == nil {
		r.options.Listings.forget(key, application.UID)
		r.options.Census.Forget(application.UID)
		return
	}
	r.options.Listings.look(application.UID, listBasis(d.listed), f.now)
	if d.list != nil {
		//nolint:contextcheck // the calls outlive this pass; the queue gives them contexts of their own
		r.startListing(key, application.UID, *d.list)
	}
}

// passDeleted lets a deleted application go once its connections have gone, or its time is over.
func (r *Reconciler) passDeleted(ctx context.Context, application *v1alpha1.OAuthApplication) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(application, v1alpha1.FinalizerApplication) {
		return ctrl.Result{}, nil
	}
	f, err := r.gather(ctx, application)
	if err != nil {
		return ctrl.Result{}, err
	}
	wait, verdict := waitForConnections(f, r.rules.revocationTimeout)
	if wait > 0 {
		err := r.report(ctx, application, deletingStatus(f, verdict), nil)
		return ctrl.Result{RequeueAfter: wait}, err
	}
	before := application.DeepCopy()
	controllerutil.RemoveFinalizer(application, v1alpha1.FinalizerApplication)
	err = r.options.Client.Patch(ctx, application, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("remove the finalizer: %w", err)
	}
	r.attempts.forget(application.UID)
	r.options.Listings.forget(client.ObjectKeyFromObject(application), application.UID)
	r.options.Census.Forget(application.UID)
	r.own.Forget(application.UID)
	if f.connections.Total > 0 {
		leftConnections(f.connections.Total).record(r.options.Recorder, before)
	}
	return ctrl.Result{}, nil
}

// addFinalizer writes the finalizer and nothing else, before anything exists that it has to clean up.
func (r *Reconciler) addFinalizer(ctx context.Context, application *v1alpha1.OAuthApplication) error {
	before := application.DeepCopy()
	if !controllerutil.AddFinalizer(application, v1alpha1.FinalizerApplication) {
		return nil
	}
	err := r.options.Client.Patch(ctx, application, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("add the finalizer: %w", err)
	}
	r.own.Wrote(application)
	return nil
}

// report patches the status when it has changed, then records the events that go with the change.
func (r *Reconciler) report(ctx context.Context, application *v1alpha1.OAuthApplication, next v1alpha1.OAuthApplicationStatus, news []occurrence) error {
	if equality.Semantic.DeepEqual(application.Status, next) {
		return nil
	}
	before := application.DeepCopy()
	application.Status = next
	err := r.options.Client.Status().Patch(ctx, application, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("patch the status: %w", err)
	}
	r.own.Wrote(application)
	for _, item := range news {
		item.record(r.options.Recorder, application)
	}
	return nil
}

// release deletes the kept clients that had this application's namespace and name and that nobody needs any more. The
// one of the application that exists (present; empty: none does) stays.
func (r *Reconciler) release(ctx context.Context, key types.NamespacedName, present types.UID) error {
	kept, err := r.options.Registrations.ForApplication(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	for _, candidate := range kept {
		if candidate.Application.UID == present {
			continue
		}
		needed, err := r.needed(ctx, candidate, present)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		if err := r.options.Registrations.Delete(ctx, candidate); err != nil {
			return err
		}
		log.FromContext(ctx).Info("deleted the kept client of an application that is gone", "applicationUID", candidate.Application.UID)
	}
	return nil
}

// needed tells whether somebody may still have to talk to the provider as a client whose application is gone.
func (r *Reconciler) needed(ctx context.Context, kept *registration.Client, present types.UID) (bool, error) {
	if present == "" {
		// Connections name their application, not its UID: while there is another of this name they belong to that one.
		key := types.NamespacedName{Namespace: kept.Application.Namespace, Name: kept.Application.Name}
		connections, err := r.connections(ctx, key)
		if err != nil {
			return true, err
		}
		// Whether others were allowed, the application has taken with it. Of these, only who held tokens has some to revoke.
		for i := range connections {
			if connections[i].Namespace == key.Namespace || held(&connections[i]) {
				return true, nil
			}
		}
	}
	if r.options.InUse == nil {
		return false, nil
	}
	used, err := r.options.InUse(ctx, string(kept.Application.UID))
	if err != nil {
		return true, fmt.Errorf("look for grants of application %s: %w", kept.Application.UID, err)
	}
	return used, nil
}
