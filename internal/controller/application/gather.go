// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// gather collects the facts of one pass. It asks the API server only for Secrets and ConfigMaps of which the kept client
// holds another version, or none.
func (r *Reconciler) gather(ctx context.Context, application *v1alpha1.OAuthApplication) (facts, error) {
	f := facts{
		application: application, now: r.options.Clock.Now(), attempt: r.attempts.get(application.UID),
		listing: r.options.Listings.get(client.ObjectKeyFromObject(application), application.UID),
	}
	if known, ok := r.options.Census.Get(application.UID); ok {
		f.census = &known
	}
	var err error
	if f.connections, f.managed, err = r.count(ctx, application); err != nil {
		return facts{}, err
	}
	f.kept, err = r.options.Registrations.Get(ctx, application.UID)
	if client.IgnoreNotFound(err) != nil {
		return facts{}, fmt.Errorf("gather facts: %w", err)
	}
	if !application.DeletionTimestamp.IsZero() {
		return f, nil
	}
	return f, r.gatherInputs(ctx, &f)
}

// count counts the connections of an application: those that may use it, and those that hold tokens from a time when they
// might. Others only name it; nothing of it is theirs to hold up. managed are the ids at the provider of them all.
func (r *Reconciler) count(
	ctx context.Context, application *v1alpha1.OAuthApplication,
) (counts v1alpha1.ConnectionCounts, managed map[string]bool, err error) {
	connections, err := r.connections(ctx, client.ObjectKeyFromObject(application))
	if err != nil {
		return counts, nil, err
	}
	managed = map[string]bool{}
	namespaces := map[string]map[string]string{}
	for i := range connections {
		connection := &connections[i]
		if id := connection.Status.ID; id != "" {
			managed[id] = true
		}
		namespaceLabels, err := r.labelsOf(ctx, application, connection.Namespace, namespaces)
		if err != nil {
			return counts, nil, err
		}
		if !held(connection) && NotAllowed(application, connection, namespaceLabels) != "" {
			continue
		}
		counts.Total++
		if connection.Status.Phase == v1alpha1.ConnectionActive {
			counts.Active++
		}
	}
	return counts, managed, nil
}

// labelsOf reads the labels of a namespace once, where an application asks for any. They do not show in a namespace that
// the cache does not hold yet.
func (r *Reconciler) labelsOf(
	ctx context.Context, application *v1alpha1.OAuthApplication, name string, known map[string]map[string]string,
) (map[string]string, error) {
	if !NeedsLabels(application, name) {
		return nil, nil
	}
	if found, ok := known[name]; ok {
		return found, nil
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.options.Metadata.Get(ctx, client.ObjectKey{Name: name}, namespace); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	known[name] = namespace.Labels
	return namespace.Labels, nil
}

// connections lists those that refer to an application. They belong to the cache: they are read, never changed.
func (r *Reconciler) connections(ctx context.Context, application client.ObjectKey) ([]v1alpha1.OAuthConnection, error) {
	var list v1alpha1.OAuthConnectionList
	err := r.options.Client.List(ctx, &list,
		client.MatchingFields{IndexConnectionsByApplication: application.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list the connections of application %s: %w", application, err)
	}
	return list.Items, nil
}

func (r *Reconciler) gatherInputs(ctx context.Context, f *facts) error {
	versions, err := r.versions(ctx, f)
	if err != nil {
		return err
	}
	var sources []registration.Source
	complete := true
	for _, in := range f.inputs {
		source, exists := versions[keyOf(in.reference)]
		complete = complete && (exists || in.use == useWebhookSecret)
		if exists && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	f.unchanged = complete && f.kept != nil && f.kept.Generation == f.application.Generation && f.kept.SameSources(sources) &&
		!slices.ContainsFunc(f.inputs, func(in input) bool { return !holds(f.kept, in.reference) })
	if f.unchanged {
		return nil
	}
	return r.readInputs(ctx, f, versions)
}

// objectKey names an object that inputs come from, in the application's namespace.
type objectKey struct{ kind, name string }

func keyOf(ref reference) objectKey { return objectKey{kind: ref.kind, name: ref.name} }

// versions lists the inputs and finds which version of their objects there is, by the cache of metadata.
func (r *Reconciler) versions(ctx context.Context, f *facts) (map[objectKey]registration.Source, error) {
	versions := map[objectKey]registration.Source{}
	for _, ref := range referencesOf(r.rules.catalogue, &f.application.Spec) {
		f.inputs = append(f.inputs, input{reference: ref})
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(ref.kind))
		key := client.ObjectKey{Namespace: f.application.Namespace, Name: ref.name}
		err := r.options.Metadata.Get(ctx, key, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s %s: %w", ref.kind, key, err)
		}
		versions[keyOf(ref)] = sourceOf(ref.kind, object)
	}
	return versions, nil
}

func sourceOf(kind string, object client.Object) registration.Source {
	return registration.Source{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
	}
}

// content is one object as it was read.
type content struct {
	source registration.Source
	data   map[string][]byte
}

// readInputs reads the values from the API server, each object once.
func (r *Reconciler) readInputs(ctx context.Context, f *facts, versions map[objectKey]registration.Source) error {
	contents := map[objectKey]*content{}
	for i := range f.inputs {
		in := &f.inputs[i]
		key := keyOf(in.reference)
		if _, exists := versions[key]; !exists {
			continue // Its appearance is an event.
		}
		if _, done := contents[key]; !done {
			read, err := r.read(ctx, f.application.Namespace, key)
			if err != nil {
				return err
			}
			contents[key] = read
		}
		if read := contents[key]; read != nil {
			in.exists, in.source, in.keys = true, read.source, slices.Sorted(maps.Keys(read.data))
			in.value, in.found = read.data[in.key]
		}
	}
	return nil
}

// read returns nil for an object that has gone in the meantime.
func (r *Reconciler) read(ctx context.Context, namespace string, key objectKey) (*content, error) {
	name := client.ObjectKey{Namespace: namespace, Name: key.name}
	read := &content{}
	var err error
	if key.kind == registration.KindSecret {
		secret := &corev1.Secret{}
		err = r.options.Live.Get(ctx, name, secret)
		read.source, read.data = sourceOf(key.kind, secret), secret.Data
	} else {
		configMap := &corev1.ConfigMap{}
		err = r.options.Live.Get(ctx, name, configMap)
		read.source, read.data = sourceOf(key.kind, configMap), bytesOf(configMap)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", key.kind, name, err)
	}
	return read, nil
}

func bytesOf(configMap *corev1.ConfigMap) map[string][]byte {
	data := make(map[string][]byte, len(configMap.Data)+len(configMap.BinaryData))
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	maps.Copy(data, configMap.BinaryData)
	return data
}
