// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// Discoverer reads discovery documents; *oauth.Caller does.
type Discoverer interface {
	Discover(ctx context.Context, transport http.RoundTripper, issuer string) (oauth.Metadata, error)
}

// Transports gives the transport that trusts a CA bundle (nil: the system's); *egress.TransportPool does. It is an error
// when the bundle holds no usable certificate.
type Transports interface {
	ForCA(bundle []byte) (http.RoundTripper, error)
}

// attempt is the latest attempt to read an application's discovery document. The zero value is none.
type attempt struct {
	// basis identifies the configuration that it was made with.
	basis   string
	running bool
	// failure is that of the last attempt that ended; nil after a success.
	failure  *discoveryFailure
	failures int
	retryAt  time.Time
	// found is the last document that an attempt read.
	found *registration.Discovery
}

// discoveryFailure is why a document could not be read.
type discoveryFailure struct {
	message string
	// definite: the provider says that there is no such document, so a person has to change something.
	definite bool
}

// attempts remembers the latest attempt of each application. What they found is kept with the client; only failures are
// forgotten by a restart, which may try at once.
type attempts struct {
	mu    sync.Mutex
	byUID map[types.UID]attempt
}

func (a *attempts) get(application types.UID) attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byUID[application]
}

func (a *attempts) forget(application types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byUID, application)
}

// begin marks an attempt as running, false when one runs already.
func (a *attempts) begin(application types.UID, basis string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.byUID[application]
	if current.running {
		return false
	}
	if current.basis != basis {
		current.failures, current.failure = 0, nil
	}
	current.basis, current.running = basis, true
	if a.byUID == nil {
		a.byUID = map[types.UID]attempt{}
	}
	a.byUID[application] = current
	return true
}

// succeed ends an attempt with a document.
func (a *attempts) succeed(application types.UID, found *registration.Discovery) {
	a.update(application, func(current *attempt) {
		current.failure, current.failures, current.found = nil, 0, found
	})
}

// fail ends an attempt with an error; the next one comes twice as late as the last, or when the provider asked for it.
func (a *attempts) fail(application types.UID, err error, now time.Time) {
	failure, retryAfter := failureOf(err)
	a.update(application, func(current *attempt) {
		distance := lastRetry
		if current.failures < 10 {
			distance = min(firstRetry<<current.failures, lastRetry)
		}
		distance -= jitter(string(application), distance/5)
		current.failure, current.retryAt = failure, now.Add(max(distance, retryAfter))
		current.failures++
	})
}

// end makes room for the next attempt, whatever became of this one.
func (a *attempts) end(application types.UID) {
	a.update(application, func(current *attempt) { current.running = false })
}

// update changes the attempt of an application that has not been forgotten in the meantime.
func (a *attempts) update(application types.UID, change func(current *attempt)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if current, ok := a.byUID[application]; ok {
		change(&current)
		a.byUID[application] = current
	}
}

// startDiscovery queues the call; its end enqueues the application again.
func (r *Reconciler) startDiscovery(key types.NamespacedName, application types.UID, request discoveryRequest) {
	if !r.attempts.begin(application, request.basis) {
		return
	}
	r.options.Queue.Submit(callqueue.Call{
		Key:  "discovery/" + string(application),
		Lane: key.String(),
		// All other calls of the application, codes too, need what the document says.
		Priority: callqueue.Urgent,
		Limits:   callqueue.Limits(request.limits),
		Run: func(ctx context.Context) {
			log.FromContext(ctx).V(1).Info("reading the discovery document", "application", key, "issuer", request.issuer)
			metadata, err := r.discover(ctx, request)
			now := r.options.Clock.Now()
			if err != nil {
				r.attempts.fail(application, err, now)
				return
			}
			r.attempts.succeed(application, &registration.Discovery{
				Metadata: metadata, Trust: request.trust, At: now.UTC().Truncate(time.Second),
			})
		},
		Done: func() {
			r.attempts.end(application)
			r.wake.enqueue(key)
		},
	})
}

func (r *Reconciler) discover(ctx context.Context, request discoveryRequest) (oauth.Metadata, error) {
	transport, err := r.options.Transports.ForCA(request.ca)
	if err != nil {
		return oauth.Metadata{}, err
	}
	return r.options.Discoverer.Discover(ctx, transport, request.issuer)
}
