// SPDX-License-Identifier: Apache-2.0

// Package grant is the only reader and writer of grant records: Secrets in the operator's namespace that hold what is
// known about each connection's grant. Every write is a compare-and-swap on the resourceVersion.
package grant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/redact"
)

// Names of the cache's indexes of grant records; register them with the function of the same name.
const (
	// IndexByConnection finds records by namespace/name of their connection.
	IndexByConnection = "grant.connection"
	// IndexByApplication finds records by the UID of their application.
	IndexByApplication = "grant.application"
)

// IndexConnection is the function of IndexByConnection, for Secrets.
func IndexConnection(object client.Object) []string {
	if object.GetLabels()[v1alpha1.LabelRecord] != v1alpha1.RecordGrant {
		return nil
	}
	return []string{object.GetAnnotations()[AnnotationConnection]}
}

// IndexApplication is the function of IndexByApplication, for Secrets.
func IndexApplication(object client.Object) []string {
	if object.GetLabels()[v1alpha1.LabelRecord] != v1alpha1.RecordGrant {
		return nil
	}
	return []string{object.GetLabels()[v1alpha1.LabelApplicationUID]}
}

// ErrConflict says that somebody else has written the record since it was read. Nothing was written; read and decide
// again.
var ErrConflict = errors.New("the grant record has changed since it was read")

// believed is how long a write of ours is trusted although the cache does not show it yet. A cache that is further
// behind costs a conflict, never a wrong call: every call is preceded by a compare-and-swap.
const believed = time.Minute

// Options are what a Store needs.
type Options struct {
	// Cached reads Secrets labelled v1alpha1.LabelRecord=grant from a cache with both indexes.
	Cached client.Reader
	// Live reads from the API server.
	Live client.Reader
	// Writer writes Secrets in Namespace. It must not limit its own rate: a token waits for the write.
	Writer client.Client
	// Namespace is the operator's own.
	Namespace string
	// Process names this process in marks; another one for each start.
	Process string
	Clock   clock.WithTicker
}

// Store reads and writes grant records. It is safe for concurrent use.
type Store struct {
	options Options
	mu      sync.Mutex
	newest  map[string]written // by connection UID: our own writes that the cache may not show yet
	pruned  time.Time          // when newest was last searched for what is not believed any more
}

// written is one write of ours. Nothing that it points to is changed.
type written struct {
	entry *Entry    // nil: a deletion, of which no token may stay in memory
	uid   types.UID // of the Secret
	at    time.Time
}

// Entry is one version of a record. The record is shared: replace it, never change it.
type Entry struct {
	Record *lifecycle.Record
	secret *corev1.Secret
}

// Secret returns the Secret that holds the record, for events about it.
func (e *Entry) Secret() *corev1.Secret { return e.secret }

// New makes a Store.
func New(options Options) *Store { return &Store{options: options, newest: map[string]written{}} }

// Get returns the record of a connection: from the cache, or newer where this process has written it; nil without one.
func (s *Store) Get(ctx context.Context, connectionUID string) (*Entry, error) {
	secret, err := s.read(ctx, s.options.Cached, connectionUID, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	if own, ok := s.own(connectionUID, secret); ok {
		return own, nil
	}
	return entryOf(secret)
}

// Live returns the record as the API server has it now; nil without one.
func (s *Store) Live(ctx context.Context, connectionUID string) (*Entry, error) {
	secret, err := s.read(ctx, s.options.Live, connectionUID)
	if err != nil {
		return nil, err
	}
	return entryOf(secret)
}

func (s *Store) read(ctx context.Context, from client.Reader, connectionUID string, options ...client.GetOption) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.options.Namespace, Name: SecretName(connectionUID)}
	err := from.Get(ctx, key, secret, options...)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grant record %s: %w", key.Name, err)
	}
	return secret, nil
}

func entryOf(secret *corev1.Secret) (*Entry, error) {
	if secret == nil {
		return nil, nil
	}
	record, err := decode(secret)
	if err != nil {
		return nil, err
	}
	return &Entry{Record: record, secret: secret}, nil
}

// own returns this process's newest write where the cache does not show it or anything newer; nil for a deletion.
func (s *Store) own(connectionUID string, cached *corev1.Secret) (*Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[connectionUID]
	if !ok {
		return nil, false
	}
	if s.options.Clock.Since(known.at) > believed || caughtUp(known, cached) {
		delete(s.newest, connectionUID)
		return nil, false
	}
	return known.entry, true
}

func caughtUp(known written, cached *corev1.Secret) bool {
	switch {
	case cached == nil:
		return known.entry == nil
	case known.entry == nil:
		return cached.UID != known.uid
	}
	return version(cached) >= version(known.entry.secret)
}

// version compares versions of one object; the API server promises that they grow.
func version(secret *corev1.Secret) uint64 {
	v, err := strconv.ParseUint(secret.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

func (s *Store) wrote(r *lifecycle.Record, secret *corev1.Secret) *Entry {
	entry := &Entry{Record: r, secret: secret}
	s.remember(r.Connection.UID, written{entry: entry, uid: secret.UID})
	return entry
}

// remember notes a write and forgets, now and then, those that are not believed any more: nobody may ever ask for a
// connection that is gone.
func (s *Store) remember(connectionUID string, w written) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.at = s.options.Clock.Now()
	if w.at.Sub(s.pruned) > believed {
		maps.DeleteFunc(s.newest, func(_ string, known written) bool { return w.at.Sub(known.at) > believed })
		s.pruned = w.at
	}
	s.newest[connectionUID] = w
}

// Wrote tells whether an object is a record exactly as this process wrote it last.
func (s *Store) Wrote(object client.Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[object.GetLabels()[v1alpha1.LabelConnectionUID]]
	return ok && known.entry != nil && known.entry.secret.UID == object.GetUID() &&
		known.entry.secret.ResourceVersion == object.GetResourceVersion()
}

// OfConnection returns the records of all connections that have, or had, this namespace and name.
func (s *Store) OfConnection(ctx context.Context, namespace, name string) ([]*Entry, error) {
	var list corev1.SecretList
	err := s.options.Cached.List(ctx, &list, client.InNamespace(s.options.Namespace),
		client.MatchingFields{IndexByConnection: namespace + "/" + name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list the grant records of %s/%s: %w", namespace, name, err)
	}
	var entries []*Entry
	for i := range list.Items {
		entry, err := s.Get(ctx, list.Items[i].Labels[v1alpha1.LabelConnectionUID])
		if err != nil {
			return nil, err
		}
		if entry != nil {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// NeedsApplication tells whether any record belongs to the application with this UID.
func (s *Store) NeedsApplication(ctx context.Context, applicationUID string) (bool, error) {
	var list corev1.SecretList
	err := s.options.Cached.List(ctx, &list, client.InNamespace(s.options.Namespace),
		client.MatchingFields{IndexByApplication: applicationUID}, client.Limit(1), client.UnsafeDisableDeepCopy)
	if err != nil {
		return false, fmt.Errorf("list the grant records of application %s: %w", applicationUID, err)
	}
	return len(list.Items) > 0, nil
}

// Write replaces the version that base stands for, or creates the record when base is nil. ErrConflict when somebody
// else was faster. No error shows a token of either version.
func (s *Store) Write(ctx context.Context, base *Entry, next *lifecycle.Record) (*Entry, error) {
	var old *corev1.Secret
	tokens := next.Secrets()
	if base != nil {
		old = base.secret
		tokens = append(tokens, base.Record.Secrets()...)
	}
	secret, err := secretFor(next, old, s.options.Namespace)
	if err != nil {
		return nil, err
	}
	if old == nil {
		err = s.options.Writer.Create(ctx, secret)
	} else {
		err = s.options.Writer.Update(ctx, secret)
	}
	err = redact.Error(err, tokens...)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), old != nil && apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: %w", ErrConflict, err)
	case err != nil:
		return nil, fmt.Errorf("write grant record %s: %w", SecretName(next.Connection.UID), err)
	}
	return s.wrote(next, secret), nil
}

// Begin marks a call as under way. Only when it has succeeded may the credential be sent: of two controllers that want
// to send the same one, at most one gets here.
func (s *Store) Begin(ctx context.Context, base *Entry, next *lifecycle.Record, call lifecycle.Call, request string) (*Entry, error) {
	return s.Write(ctx, base, lifecycle.Begin(next, call, s.options.Process, request))
}

// Delete removes the version that entry stands for. That it is gone already is no error.
func (s *Store) Delete(ctx context.Context, entry *Entry) error {
	secret := entry.secret
	err := s.options.Writer.Delete(ctx, secret.DeepCopy(), client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	err = redact.Error(err, entry.Record.Secrets()...)
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("delete grant record %s: %w", secret.Name, err)
	}
	s.remember(entry.Record.Connection.UID, written{uid: secret.UID})
	return nil
}
