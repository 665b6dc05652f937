// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// Names of the cache's indexes; RegisterIndexes adds them.
const (
	// IndexConnectionsByApplication finds OAuthConnections by "namespace/name" of their application.
	IndexConnectionsByApplication = "connection.application"
	// indexByReference finds OAuthApplications by "kind/namespace/name" of what their spec refers to.
	indexByReference = "application.reference"
)

// countDelay collects what happens to many connections into one count.
const countDelay = time.Second

// IndexConnections is the function of IndexConnectionsByApplication.
func IndexConnections(object client.Object) []string {
	connection, ok := object.(*v1alpha1.OAuthConnection)
	if !ok {
		return nil
	}
	return []string{applicationOf(connection).String()}
}

func applicationOf(connection *v1alpha1.OAuthConnection) types.NamespacedName {
	namespace, name := connection.ApplicationKey()
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// indexReferences returns the function of indexByReference: presets refer to Secrets, too.
func indexReferences(catalogue *provider.Catalogue) client.IndexerFunc {
	return func(object client.Object) []string {
		application, ok := object.(*v1alpha1.OAuthApplication)
		if !ok {
			return nil
		}
		var keys []string
		for _, ref := range referencesOf(catalogue, &application.Spec) {
			keys = append(keys, referenceKey(ref.kind, application.Namespace, ref.name))
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}
}

func referenceKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// RegisterIndexes adds the indexes that this controller and the registration store read by. Others may read by them too.
func RegisterIndexes(ctx context.Context, indexer client.FieldIndexer, catalogue *provider.Catalogue) error {
	for _, index := range []struct {
		object client.Object
		name   string
		keys   client.IndexerFunc
	}{
		{&v1alpha1.OAuthConnection{}, IndexConnectionsByApplication, IndexConnections},
		{&v1alpha1.OAuthApplication{}, indexByReference, indexReferences(catalogue)},
		{&corev1.Secret{}, registration.IndexByApplication, registration.IndexApplication},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.keys); err != nil {
			return fmt.Errorf("add index %s: %w", index.name, err)
		}
	}
	return nil
}

// SetupWithManager adds the controller to a manager whose cache has the indexes of RegisterIndexes, and holds Secrets
// labelled v1alpha1.LabelRecord.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	r := newReconciler(options)
	err := ctrl.NewControllerManagedBy(mgr).
		Named("oauthapplication").
		For(&v1alpha1.OAuthApplication{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: worthALook})).
		Watches(&v1alpha1.OAuthConnection{}, connectionHandler()).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(requestsForRecord), builder.WithPredicates(recordPredicate())).
		WatchesRawSource(r.metadataSource(registration.KindSecret)).
		WatchesRawSource(r.metadataSource(registration.KindConfigMap)).
		WatchesRawSource(&r.wake).
		WithOptions(controller.Options{MaxConcurrentReconciles: max(options.Workers, 1)}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the controller of applications: %w", err)
	}
	return nil
}

// worthALook leaves out the controller's own writes: status, and the finalizer's arrival. Deletion changes the generation.
func worthALook(e event.UpdateEvent) bool {
	lost := len(e.ObjectNew.GetFinalizers()) < len(e.ObjectOld.GetFinalizers())
	return lost || e.ObjectNew.GetGeneration() != e.ObjectOld.GetGeneration()
}

// connectionHandler enqueues the application, once in countDelay, when the number of its connections or of the active ones
// may have changed.
func connectionHandler() handler.EventHandler {
	enqueue := func(object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if connection, ok := object.(*v1alpha1.OAuthConnection); ok {
			queue.AddAfter(reconcile.Request{NamespacedName: applicationOf(connection)}, countDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(e.Object, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, okBefore := e.ObjectOld.(*v1alpha1.OAuthConnection)
			after, okAfter := e.ObjectNew.(*v1alpha1.OAuthConnection)
			if okBefore && okAfter && countsOtherwise(before, after) {
				enqueue(after, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(e.Object, queue)
		},
	}
}

// countsOtherwise tells whether a connection may count otherwise than before: its phase is another, its grant at the
// provider, or the permission that its own controller found.
func countsOtherwise(before, after *v1alpha1.OAuthConnection) bool {
	return before.Status.Phase != after.Status.Phase || before.Status.ID != after.Status.ID || refused(before) != refused(after)
}

func refused(connection *v1alpha1.OAuthConnection) bool {
	ready := meta.FindStatusCondition(connection.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonNotAllowed
}

// recordPredicate passes every change of kept clients (pauses are in them) and the end of grant records, which may have
// been the last to need a kept client.
func recordPredicate() predicate.Predicate {
	isClient := func(object client.Object) bool {
		return object.GetLabels()[v1alpha1.LabelRecord] == v1alpha1.RecordClient
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return isClient(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return isClient(e.ObjectNew) && e.ObjectNew.GetResourceVersion() != e.ObjectOld.GetResourceVersion()
		},
		DeleteFunc: func(e event.DeleteEvent) bool {
			return isClient(e.Object) || e.Object.GetLabels()[v1alpha1.LabelRecord] == v1alpha1.RecordGrant
		},
	}
}

// requestsForRecord names the application of a kept client or a grant record by its annotation.
func requestsForRecord(_ context.Context, object client.Object) []reconcile.Request {
	namespace, name, ok := strings.Cut(object.GetAnnotations()[registration.AnnotationApplication], "/")
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// metadataSource enqueues the applications that refer to a Secret or ConfigMap that has changed.
func (r *Reconciler) metadataSource(kind string) source.SyncingSource {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	enqueue := func(ctx context.Context, changed *metav1.PartialObjectMetadata) []reconcile.Request {
		var list v1alpha1.OAuthApplicationList
		err := r.options.Client.List(ctx, &list, client.UnsafeDisableDeepCopy,
			client.MatchingFields{indexByReference: referenceKey(kind, changed.Namespace, changed.Name)})
		if err != nil {
			log.FromContext(ctx).Error(err, "cannot find the applications that refer to an object", "kind", kind, "namespace", changed.Namespace, "name", changed.Name)
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return requests
	}
	return source.Kind(r.options.Metadata, object, handler.TypedEnqueueRequestsFromMapFunc(enqueue))
}

// wake enqueues an application from outside: when a call of its own has ended, or somebody asks for a listing.
type wake struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

var _ source.Source = &wake{}

// Start implements source.Source.
func (w *wake) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	return nil
}

func (w *wake) enqueue(application types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		w.queue.Add(reconcile.Request{NamespacedName: application})
	}
}
