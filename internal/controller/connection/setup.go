// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller/application"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// indexBySecret finds connections by the Secrets of their namespace that they read or write.
const indexBySecret = "connection.secret"

// indexSecrets names the Secrets that a connection reads, and the one it writes: a foreign one of that name can go away.
func indexSecrets(object client.Object) []string {
	connection, ok := object.(*v1alpha1.OAuthConnection)
	if !ok {
		return nil
	}
	names := []string{connection.TokenSecretName()}
	return append(names, inputSecrets(connection)...)
}

func inputSecrets(connection *v1alpha1.OAuthConnection) []string {
	var names []string
	if reference := inputReference(connection); reference != nil {
		names = append(names, reference.Name)
	}
	if code := connection.Spec.Grant.AuthorizationCode; code != nil && code.CodeVerifierSecretRef != nil {
		names = append(names, code.CodeVerifierSecretRef.Name)
	}
	return append(names, sourceSecrets(connection)...)
}

// indexSources names the connections that a connection's token is made from.
func indexSources(object client.Object) []string {
	connection, ok := object.(*v1alpha1.OAuthConnection)
	if !ok {
		return nil
	}
	return sourceConnections(connection)
}

// RegisterIndexes must be called before the cache starts, beside application.RegisterIndexes.
func RegisterIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.OAuthConnection{}, indexBySecret, indexSecrets); err != nil {
		return fmt.Errorf("index connections by Secret: %w", err)
	}
	if err := indexer.IndexField(ctx, &corev1.Secret{}, indexByMessage, indexMessages); err != nil {
		return fmt.Errorf("index messages by connection: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.OAuthConnection{}, indexByConnection, indexSources); err != nil {
		return fmt.Errorf("index connections by source: %w", err)
	}
	return nil
}

// SetupWithManager registers the controller. inputs is the cache behind Options.Metadata.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, inputs cache.Cache) error {
	secretMeta, namespaceMeta := &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadata{}
	secretMeta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	namespaceMeta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return ctrl.NewControllerManagedBy(mgr).
		Named("oauthconnection").
		For(&v1alpha1.OAuthConnection{}, builder.WithPredicates(relevant())).
		Watches(&v1alpha1.OAuthApplication{}, handler.EnqueueRequestsFromMapFunc(r.ofApplication), builder.WithPredicates(usable())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.ofOwnSecret), builder.WithPredicates(r.news())).
		Watches(&corev1.Secret{}, messageHandler()).
		WatchesRawSource(source.Kind(inputs, secretMeta, r.inputHandler())).
		WatchesRawSource(source.Kind(inputs, namespaceMeta, handler.TypedEnqueueRequestsFromMapFunc(r.ofNamespace), labelsChanged())).
		WatchesRawSource(source.Func(r.waker.start)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Workers,
			// A Secret that could not be written is not left behind for long when the API server is back.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
}

// Distances of passes that failed.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// relevant leaves out our own status patches.
func relevant() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetAnnotations()[v1alpha1.AnnotationRefreshRequestedAt] != e.ObjectNew.GetAnnotations()[v1alpha1.AnnotationRefreshRequestedAt] ||
			!apiequality.Semantic.DeepEqual(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers()) ||
			e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion()
	}}
}

// news leaves out what this process has just written itself: whoever wrote it goes on by himself.
func (r *Reconciler) news() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !r.Grants.Wrote(e.ObjectNew) && !r.Publisher.Wrote(e.ObjectNew)
	}}
}

// usable leaves out what an application's connections need not know, such as their own number.
func usable() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, isBefore := e.ObjectOld.(*v1alpha1.OAuthApplication)
		after, isAfter := e.ObjectNew.(*v1alpha1.OAuthApplication)
		return isBefore && isAfter &&
			(before.Generation != after.Generation || before.Status.Phase != after.Status.Phase || obstacle(before) != obstacle(after))
	}}
}

// obstacle is why an application is not ready, which its connections repeat; empty: it is.
func obstacle(application *v1alpha1.OAuthApplication) string {
	if application.Status.Phase == v1alpha1.ApplicationActive {
		return ""
	}
	if ready := meta.FindStatusCondition(application.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Message
	}
	return ""
}

func labelsChanged() predicate.TypedPredicate[*metav1.PartialObjectMetadata] {
	return predicate.TypedFuncs[*metav1.PartialObjectMetadata]{
		UpdateFunc: func(e event.TypedUpdateEvent[*metav1.PartialObjectMetadata]) bool {
			return !maps.Equal(e.ObjectOld.Labels, e.ObjectNew.Labels)
		},
		CreateFunc: func(e event.TypedCreateEvent[*metav1.PartialObjectMetadata]) bool { return !e.IsInInitialList },
		DeleteFunc: func(event.TypedDeleteEvent[*metav1.PartialObjectMetadata]) bool { return false },
	}
}

func (r *Reconciler) ofApplication(ctx context.Context, object client.Object) []reconcile.Request {
	return r.list(ctx, client.MatchingFields{application.IndexConnectionsByApplication: object.GetNamespace() + "/" + object.GetName()})
}

func (r *Reconciler) ofNamespace(ctx context.Context, namespace *metav1.PartialObjectMetadata) []reconcile.Request {
	if !r.Watched(namespace.Name) {
		return nil // Its connections are not in the cache, which says so with an error.
	}
	return r.list(ctx, client.InNamespace(namespace.Name))
}

// ofOwnSecret maps the operator's own Secrets: token Secrets, grant records and kept clients.
func (r *Reconciler) ofOwnSecret(ctx context.Context, object client.Object) []reconcile.Request {
	switch object.GetLabels()[v1alpha1.LabelRecord] {
	case v1alpha1.RecordGrant:
		of := object.GetAnnotations()[grant.AnnotationConnection]
		return append(requestFor(of), r.dependents(ctx, of)...)
	case v1alpha1.RecordPending, v1alpha1.RecordKeys:
		return nil // See messageHandler.
	case v1alpha1.RecordClient:
		return r.list(ctx, client.MatchingFields{application.IndexConnectionsByApplication: object.GetAnnotations()[grant.AnnotationApplication]})
	}
	// Another connection may wait for the name.
	requests := r.list(ctx, matchingSecret(object.GetNamespace(), object.GetName()))
	if owner := metav1.GetControllerOf(object); owner != nil && owner.Kind == "OAuthConnection" {
		requests = append(requests, requestFor(object.GetNamespace()+"/"+owner.Name)...)
	}
	return requests
}

// dependents are the connections whose tokens are made from that of another one (namespace/name).
func (r *Reconciler) dependents(ctx context.Context, key string) []reconcile.Request {
	namespace, name, _ := strings.Cut(key, "/")
	if !r.Watched(namespace) {
		return nil
	}
	return r.list(ctx, &client.ListOptions{Namespace: namespace, FieldSelector: fields.OneTermEqualSelector(indexByConnection, name)})
}

// wakeDependents has the connections look again whose tokens are made from this one's.
func (r *Reconciler) wakeDependents(ctx context.Context, name types.NamespacedName) {
	for _, request := range r.dependents(ctx, name.String()) {
		r.waker.wake(request.NamespacedName)
	}
}

// WakeConnectionsOf has all connections of an application look again.
func (r *Reconciler) WakeConnectionsOf(ctx context.Context, app types.NamespacedName) {
	for _, request := range r.list(ctx, client.MatchingFields{application.IndexConnectionsByApplication: app.String()}) {
		r.waker.wake(request.NamespacedName)
	}
}

func requestFor(key string) []reconcile.Request {
	namespace, name, ok := strings.Cut(key, "/")
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// list returns requests for the connections that match.
func (r *Reconciler) list(ctx context.Context, option client.ListOption) []reconcile.Request {
	var list v1alpha1.OAuthConnectionList
	if err := r.Client.List(ctx, &list, option, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list connections from the cache")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// inputHandler wakes the connections that read or write a Secret of this name: at once for codes that have come.
func (r *Reconciler) inputHandler() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(ctx context.Context, object *metav1.PartialObjectMetadata, q queue, priority int) {
		requests := r.list(ctx, matchingSecret(object.Namespace, object.Name))
		for _, request := range requests {
			add(q, request.NamespacedName, priority)
		}
	}
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !e.IsInInitialList { // Connections are all passed at start anyway.
				enqueue(ctx, e.Object, q, priorityCode)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if e.ObjectOld.ResourceVersion != e.ObjectNew.ResourceVersion {
				enqueue(ctx, e.ObjectNew, q, priorityCode)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q queue) {
			enqueue(ctx, e.Object, q, 0)
		},
	}
}

// messageHandler wakes the connections that the gateway has left a message for, ahead of all others: a person waits.
func messageHandler() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			secret, ok := e.Object.(*corev1.Secret)
			if !ok || !pending.Is(secret) || pending.Emptied(secret) {
				return
			}
			for _, request := range requestFor(secret.Annotations[pending.AnnotationConnection]) {
				add(q, request.NamespacedName, priorityCode)
			}
		},
	}
}

func matchingSecret(namespace, name string) client.ListOption {
	return &client.ListOptions{Namespace: namespace, FieldSelector: fields.OneTermEqualSelector(indexBySecret, name)}
}
