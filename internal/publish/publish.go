// SPDX-License-Identifier: Apache-2.0

// Package publish renders the Secret that workloads mount and applies it: it creates, repairs, replaces and deletes the
// Secrets that belong to a connection, and never touches any other.
package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/ownwrites"
	"github.com/oauth-operator/oauth-operator/internal/publish/render"
)

// Outcome is what Publish had to do.
type Outcome int

const (
	// Unchanged : the Secret was as desired; nothing was written.
	Unchanged Outcome = iota
	// Created : there was no such Secret.
	Created
	// Updated : content or metadata of the Secret were not as desired.
	Updated
	// Replaced : the Secret was deleted and created again, because its type had to change or because somebody had made
	// it immutable and its content had to change.
	Replaced
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Unchanged:
		return "Unchanged"
	case Created:
		return "Created"
	case Updated:
		return "Updated"
	case Replaced:
		return "Replaced"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Result is what Publish did.
type Result struct {
	// Outcome of the Secret with the desired name.
	Outcome Outcome
	// Repaired is true when this process had published exactly this Secret before, so that somebody else must have
	// edited or deleted it. It is false when nothing is known, as after a restart.
	Repaired bool
}

// Options of a Publisher; all are required.
type Options struct {
	// Cached reads whole Secrets from the manager's cache. It needs the index IndexByConnectionUID, and may leave out
	// Secrets that lack the label oauth-operator.io/connection.
	Cached client.Reader
	// Live reads from the API server.
	Live client.Reader
	// Writer writes to the API server; its reads are not used.
	Writer client.Client
}

// Publisher applies the Secrets of connections. It is safe for concurrent use, one call per connection at a time.
type Publisher struct {
	cached   client.Reader
	live     client.Reader
	writer   client.Client
	renderer *render.Renderer

	mu sync.Mutex
	// published holds a digest of what this process last published of each connection.
	published map[types.UID][sha256.Size]byte
	// own tells what the cache does not show yet.
	own ownwrites.Versions
}

// New returns a Publisher.
func New(options Options) *Publisher {
	return &Publisher{
		cached:    options.Cached,
		live:      options.Live,
		writer:    options.Writer,
		renderer:  render.New(),
		published: map[types.UID][sha256.Size]byte{},
	}
}

// Publish makes the connection's Secret as desired, and then deletes the connection's Secrets of other names. It calls
// the API server only where the cache shows a difference. Errors are a *TemplateError, before anything is looked at, a
// *ConflictError, a *RejectedError, a *LeftoverError, with which the Result holds, or any other, which may be tried again,
// conflicts of resource versions among them. No error shows a token.
func (p *Publisher) Publish(ctx context.Context, desired Desired) (Result, error) {
	if err := desired.validate(); err != nil {
		return Result{}, err
	}
	want, err := newWanted(desired, p.renderer)
	if err != nil {
		return Result{}, err
	}
	outcome, err := p.apply(ctx, want)
	if err != nil {
		return Result{}, err
	}
	repaired := p.remember(want) && outcome != Unchanged
	result := Result{Outcome: outcome, Repaired: repaired}
	if err := p.deleteOthers(ctx, want); err != nil {
		return result, &LeftoverError{cause: err}
	}
	return result, nil
}

// Wrote tells whether a Secret is exactly as this process wrote it last.
func (p *Publisher) Wrote(secret client.Object) bool { return p.own.Newest(secret) }

// Withdraw deletes every Secret of the connection, whatever its name, and returns nil only when all are gone. The cache
// says which exist, so that it costs nothing when there are none. Secrets of the given names are also looked up at the
// API server: the cache may not show them yet, or somebody may have taken their labels away. Pass them where it is the
// last chance, as before a finalizer comes off; empty ones are passed over. Foreign Secrets are left alone.
func (p *Publisher) Withdraw(ctx context.Context, connection types.NamespacedName, uid types.UID, names ...string) error {
	owned, err := p.owned(ctx, connection.Namespace, uid)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "" {
			continue // Status names no Secret before the first token.
		}
		found, err := p.ownedLive(ctx, types.NamespacedName{Namespace: connection.Namespace, Name: name}, uid)
		if err != nil {
			return err
		}
		if found != nil {
			owned[name] = found
		}
	}
	var failures []error
	for _, secret := range owned {
		failures = append(failures, p.delete(ctx, secret))
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.published, uid)
	return nil
}

// apply makes the Secret of the desired name as desired.
func (p *Publisher) apply(ctx context.Context, want *wanted) (Outcome, error) {
	existing := &corev1.Secret{}
	err := p.cached.Get(ctx, client.ObjectKeyFromObject(want.Secret), existing)
	switch {
	case apierrors.IsNotFound(err):
		return p.create(ctx, want)
	case err != nil:
		return Unchanged, fmt.Errorf("read Secret %s: %w", client.ObjectKeyFromObject(want.Secret), err)
	case !p.own.Visible(existing):
		return Unchanged, apierrors.NewConflict(corev1.Resource("secrets"), existing.Name, errors.New("the cache does not show our last write yet"))
	}
	return p.converge(ctx, existing, want)
}

// create also finds the Secret that the cache does not show: it is younger than the cache, or without our label.
func (p *Publisher) create(ctx context.Context, want *wanted) (Outcome, error) {
	err := p.writer.Create(ctx, want.DeepCopy())
	if err == nil {
		return Created, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return Unchanged, writeError("create", err, want, nil)
	}
	existing := &corev1.Secret{}
	if err := p.live.Get(ctx, client.ObjectKeyFromObject(want.Secret), existing); err != nil {
		return Unchanged, fmt.Errorf("read Secret %s: %w", client.ObjectKeyFromObject(want.Secret), err)
	}
	return p.converge(ctx, existing, want)
}

// converge brings an existing Secret to what is wanted.
func (p *Publisher) converge(ctx context.Context, existing *corev1.Secret, want *wanted) (Outcome, error) {
	if !isOwned(existing, want.owner) {
		return Unchanged, conflict(existing, want.Secret)
	}
	if err := terminating(existing); err != nil {
		return Unchanged, err
	}
	sameData := equalData(existing.Data, want.Data)
	if existing.Type != want.Type || !sameData && ptr.Deref(existing.Immutable, false) {
		return p.replace(ctx, existing, want)
	}
	update := existing.DeepCopy()
	update.Data = want.Data
	if changed := mergeMetadata(update, want.Secret); !changed && sameData {
		return Unchanged, nil
	}
	// The resource version of what was read makes this fail when the Secret has changed since.
	if err := p.writer.Update(ctx, update); err != nil {
		return Unchanged, writeError("update", err, want, existing)
	}
	p.own.Wrote(update)
	return Updated, nil
}

// replace deletes and creates. First it asks whether the new Secret would be accepted, so that a wrong type does not
// cost the workload the Secret that it has.
func (p *Publisher) replace(ctx context.Context, existing *corev1.Secret, want *wanted) (Outcome, error) {
	kept, replacement := existing.DeepCopy(), want.DeepCopy()
	replacement.Labels, replacement.Annotations = kept.Labels, kept.Annotations
	replacement.OwnerReferences = kept.OwnerReferences
	mergeMetadata(replacement, want.Secret)

	// The API server looks for the name last, after validation and admission.
	err := p.writer.Create(ctx, replacement.DeepCopy(), client.DryRunAll)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return Unchanged, writeError("replace", err, want, existing)
	}
	if err := p.delete(ctx, existing); err != nil {
		return Unchanged, err
	}
	// Somebody who takes the name now is found by the next attempt.
	if err := p.writer.Create(ctx, replacement); err != nil {
		return Unchanged, writeError("replace", err, want, existing)
	}
	return Replaced, nil
}

// deleteOthers removes what an earlier name of the Secret left behind.
func (p *Publisher) deleteOthers(ctx context.Context, kept *wanted) error {
	owned, err := p.owned(ctx, kept.Namespace, kept.owner)
	if err != nil {
		return err
	}
	delete(owned, kept.Name)
	var failures []error
	for _, secret := range owned {
		failures = append(failures, p.delete(ctx, secret))
	}
	return errors.Join(failures...)
}

// owned returns the connection's Secrets that the cache shows, by name.
func (p *Publisher) owned(ctx context.Context, namespace string, uid types.UID) (map[string]*corev1.Secret, error) {
	list := &corev1.SecretList{}
	err := p.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{IndexByConnectionUID: string(uid)})
	if err != nil {
		return nil, fmt.Errorf("list Secrets of connection UID %s: %w", uid, err)
	}
	owned := map[string]*corev1.Secret{}
	for i := range list.Items {
		if isOwned(&list.Items[i], uid) {
			owned[list.Items[i].Name] = &list.Items[i]
		}
	}
	return owned, nil
}

// ownedLive returns a Secret as the API server has it, or nil when there is none or it is foreign.
func (p *Publisher) ownedLive(ctx context.Context, key types.NamespacedName, uid types.UID) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	switch err := p.live.Get(ctx, key, secret); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	case !isOwned(secret, uid):
		return nil, nil
	}
	return secret, nil
}

// delete removes exactly the Secret that was read, and fails unless it is gone then. The resource version guards the
// owner and the finalizers that were judged.
func (p *Publisher) delete(ctx context.Context, secret *corev1.Secret) error {
	if err := terminating(secret); err != nil {
		return err
	}
	p.own.Forget(secret.UID)
	err := p.writer.Delete(ctx, secret, client.Preconditions{
		UID:             new(secret.UID),
		ResourceVersion: new(secret.ResourceVersion),
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return deleteError(err, secret)
	case len(secret.Finalizers) > 0:
		return waiting(secret)
	}
	return nil
}

// remember stores what is published now and tells whether it was the same before.
func (p *Publisher) remember(want *wanted) bool {
	now := digest(want.Secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.published[want.owner]
	p.published[want.owner] = now
	return known && before == now
}
