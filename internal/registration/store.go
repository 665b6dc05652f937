// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"bytes"
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
	"github.com/oauth-operator/oauth-operator/internal/redact"
)

// IndexByApplication is the cache's index of kept clients by namespace/name of their application. Register it with
// IndexApplication.
const IndexByApplication = "registration.application"

// IndexApplication is the function of IndexByApplication, for Secrets.
func IndexApplication(object client.Object) []string {
	if object.GetLabels()[v1alpha1.LabelRecord] != v1alpha1.RecordClient {
		return nil
	}
	if application := object.GetAnnotations()[AnnotationApplication]; application != "" {
		return []string{application}
	}
	return nil
}

// forgetAfter is how long a write of ours is believed although the cache does not show it. A cache that is further behind
// costs a conflict.
const forgetAfter = time.Minute

// attempts of a change that another writer keeps getting in the way of.
const attempts = 5

// Options are what a Store needs.
type Options struct {
	// Cached reads Secrets labelled v1alpha1.LabelRecord=client from a cache with IndexByApplication.
	Cached client.Reader
	// Live reads from the API server; only a pause or its end that conflicted needs it. Default: Writer, which is only
	// right when that reads from the API server too.
	Live client.Reader
	// Writer writes Secrets in Namespace.
	Writer client.Client
	// Namespace is the operator's own.
	Namespace string
	// Clock defaults to the real one.
	Clock clock.PassiveClock
}

// Store keeps clients. Writes are compare-and-swap, so several controllers may run. Safe for concurrent use.
type Store struct {
	options Options
	mu      sync.Mutex
	// newest holds, by application, the newest version that was read or written here: what the cache does not show
	// yet, and a client that need not be decoded again.
	newest map[types.UID]entry
	pruned time.Time // when newest was last searched for old deletions
}

// entry is one version of a kept client. Nothing that it points to is changed.
type entry struct {
	client  *Client // after a deletion only what names it, no secret
	secret  *corev1.Secret
	written time.Time // when the write or deletion was done here; zero for one that was read
	deleted bool      // this object, and only this, has been deleted here
}

// revision is the version of the Secret that a Client stands for; zero for a client that is not kept yet.
type revision struct {
	uid     types.UID
	version uint64
}

func parseRevision(secret *corev1.Secret) (revision, error) {
	version, err := strconv.ParseUint(secret.ResourceVersion, 10, 64)
	if err != nil {
		return revision{}, fmt.Errorf("kept client %s/%s: resourceVersion %q is not a number", secret.Namespace, secret.Name, secret.ResourceVersion)
	}
	return revision{uid: secret.UID, version: version}, nil
}

// New makes a Store.
func New(options Options) *Store {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Live == nil {
		options.Live = options.Writer
	}
	return &Store{options: options, newest: map[types.UID]entry{}}
}

// Get returns the kept client of an application, from the cache, or newer where this process wrote it. Without one the
// error is of the kind that apierrors.IsNotFound knows.
func (s *Store) Get(ctx context.Context, application types.UID) (*Client, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.options.Namespace, Name: SecretName(application)}
	// Neither the Store nor its callers change what the cache holds.
	err := s.options.Cached.Get(ctx, key, secret, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read kept client %s: %w", key.Name, err)
	}
	if err != nil {
		secret = nil
	}
	current, err := s.merge(application, secret)
	if err != nil {
		return nil, err
	}
	if current == nil {
		return nil, notFound(application)
	}
	return current, nil
}

func notFound(application types.UID) error {
	return apierrors.NewNotFound(corev1.Resource("secrets"), SecretName(application))
}

// merge compares what the cache shows (nil: nothing) with the newest version known here, and returns a copy of the newer.
func (s *Store) merge(application types.UID, cached *corev1.Secret) (*Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[application]
	if cached == nil {
		if ok && !known.deleted && !known.written.IsZero() && s.options.Clock.Since(known.written) < forgetAfter {
			return known.copy(), nil
		}
		delete(s.newest, application)
		return nil, nil
	}
	seen, err := parseRevision(cached)
	if err != nil {
		return nil, err
	}
	switch {
	case ok && known.deleted && known.client.record.uid == seen.uid:
		return nil, nil
	case ok && !known.deleted && known.client.record.version >= seen.version:
		return known.copy(), nil
	}
	decoded, err := decode(cached)
	if err != nil {
		return nil, err
	}
	if decoded.Application.UID != application {
		return nil, fmt.Errorf("kept client %s/%s belongs to another application than its name says", cached.Namespace, cached.Name)
	}
	s.newest[application] = entry{client: decoded, secret: cached}
	return s.newest[application].copy(), nil
}

func (e entry) copy() *Client {
	copied := *e.client
	return &copied
}

// ForApplication returns the kept clients of all applications that have, or had, this namespace and name: one made anew
// has another UID than the one before.
func (s *Store) ForApplication(ctx context.Context, namespace, name string) ([]*Client, error) {
	uids, err := s.list(ctx, func(a Application) bool { return a.Namespace == namespace && a.Name == name },
		client.MatchingFields{IndexByApplication: namespace + "/" + name})
	if err != nil {
		return nil, fmt.Errorf("list the kept clients of application %s/%s: %w", namespace, name, err)
	}
	var clients []*Client
	for uid := range uids {
		kept, err := s.Get(ctx, uid)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		clients = append(clients, kept)
	}
	return clients, nil
}

// List returns all kept clients, by the UID of their application. The value is nil for one that cannot be read; errors are
// those of such clients, and do not keep the others from being returned.
func (s *Store) List(ctx context.Context) (map[types.UID]*Client, error) {
	uids, err := s.list(ctx, func(Application) bool { return true }, client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordClient})
	if err != nil {
		return nil, fmt.Errorf("list the kept clients: %w", err)
	}
	clients := make(map[types.UID]*Client, len(uids))
	var unreadable []error
	for uid := range uids {
		kept, err := s.Get(ctx, uid)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			unreadable = append(unreadable, err)
		}
		clients[uid] = kept
	}
	return clients, errors.Join(unreadable...)
}

// list returns the UIDs of the applications whose clients the cache shows under option, and of those that are wanted and
// known here.
func (s *Store) list(ctx context.Context, want func(Application) bool, option client.ListOption) (map[types.UID]bool, error) {
	var list corev1.SecretList
	err := s.options.Cached.List(ctx, &list, client.InNamespace(s.options.Namespace), option, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	uids := map[types.UID]bool{}
	for i := range list.Items {
		uids[types.UID(list.Items[i].Labels[v1alpha1.LabelApplicationUID])] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid, known := range s.newest {
		if want(known.client.Application) {
			uids[uid] = true
		}
	}
	return uids, nil
}

// Save creates the kept client or replaces the version that c was read as; c stands for the new version afterwards. It
// drops pauses that another fingerprint earned. It writes nothing when nothing has changed. When somebody else has
// written in the meantime, the error is one that apierrors.IsConflict knows: read and decide again. No error shows a
// secret of either version.
func (s *Store) Save(ctx context.Context, c *Client) error {
	c.Pauses = c.validPauses()
	desired, err := encode(c, s.options.Namespace)
	if err != nil {
		return err
	}
	if c.record == (revision{}) {
		return s.create(ctx, c, desired)
	}
	known, ok := s.entry(c.Application.UID)
	if !ok || known.client.record != c.record {
		return conflict(c, errors.New("it has changed since it was read"))
	}
	if same(known.secret, desired) {
		return nil
	}
	updated := known.secret.DeepCopy()
	updated.Data, updated.Type = desired.Data, desired.Type
	updated.Labels = with(updated.Labels, desired.Labels)
	updated.Annotations = with(updated.Annotations, desired.Annotations)
	err = redact.Error(s.options.Writer.Update(ctx, updated), append(c.secrets(), known.client.secrets()...)...)
	if apierrors.IsNotFound(err) {
		return conflict(c, err)
	}
	if err != nil {
		return fmt.Errorf("save the client of application %s/%s: %w", c.Application.Namespace, c.Application.Name, err)
	}
	return s.wrote(c, updated)
}

// with adds ours to what others have set.
func with(all, ours map[string]string) map[string]string {
	if all == nil {
		return ours
	}
	maps.Copy(all, ours)
	return all
}

func (s *Store) create(ctx context.Context, c *Client, desired *corev1.Secret) error {
	err := redact.Error(s.options.Writer.Create(ctx, desired), c.secrets()...)
	if apierrors.IsAlreadyExists(err) {
		return conflict(c, err)
	}
	if err != nil {
		return fmt.Errorf("keep the client of application %s/%s: %w", c.Application.Namespace, c.Application.Name, err)
	}
	return s.wrote(c, desired)
}

func conflict(c *Client, cause error) error {
	return apierrors.NewConflict(corev1.Resource("secrets"), SecretName(c.Application.UID), cause)
}

// same tells whether a stored Secret needs no change. Labels and annotations of others do not matter.
func same(stored, desired *corev1.Secret) bool {
	if stored.Type != desired.Type || len(stored.Data) != len(desired.Data) ||
		!bytes.Equal(stored.Data[contentKey], desired.Data[contentKey]) {
		return false
	}
	for key, value := range desired.Labels {
		if stored.Labels[key] != value {
			return false
		}
	}
	for key, value := range desired.Annotations {
		if stored.Annotations[key] != value {
			return false
		}
	}
	return true
}

func (s *Store) entry(application types.UID) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[application]
	return known, ok && !known.deleted
}

// wrote remembers a write, unless a newer version is known already, and lets c stand for it.
func (s *Store) wrote(c *Client, secret *corev1.Secret) error {
	decoded, err := decode(secret)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[c.Application.UID]
	if !ok || known.deleted || known.client.record.version < decoded.record.version {
		s.remember(c.Application.UID, entry{client: decoded, secret: secret})
	}
	*c = *decoded
	return nil
}

// remember notes a write or deletion, with mu held, and now and then forgets old deletions: nobody may ever ask for those
// applications again.
func (s *Store) remember(application types.UID, e entry) {
	e.written = s.options.Clock.Now()
	if e.written.Sub(s.pruned) >= forgetAfter {
		maps.DeleteFunc(s.newest, func(_ types.UID, known entry) bool {
			return known.deleted && e.written.Sub(known.written) >= forgetAfter
		})
		s.pruned = e.written
	}
	s.newest[application] = e
}

// Delete removes the version that c was read as. That it is gone already is no error.
func (s *Store) Delete(ctx context.Context, c *Client) error {
	if c.record == (revision{}) {
		return nil
	}
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = s.options.Namespace, SecretName(c.Application.UID)
	version := strconv.FormatUint(c.record.version, 10)
	err := s.options.Writer.Delete(ctx, secret, client.Preconditions{UID: &c.record.uid, ResourceVersion: &version})
	err = redact.Error(err, c.secrets()...)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the kept client of application %s/%s: %w", c.Application.Namespace, c.Application.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(c.Application.UID, entry{client: &Client{Application: c.Application, record: c.record}, deleted: true})
	return nil
}
