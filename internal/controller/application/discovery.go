// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
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
	// For also shows a client certificate.
	For(trust egress.Trust) (http.RoundTripper, error)
}

// attempt is the latest attempt to read an application's discovery document. The zero value is none.
type attempt struct {
	// basis identifies the configuration that it was made with.
	basis   string
	running bool
	// failure is that of the last attempt that ended; nil after a success.
	failure  *callFailure
	failures int
	retryAt  time.Time
	// found is the last document that an attempt read.
	found *registration.Discovery
}

// callFailure is why something could not be read.
type callFailure struct {
	message string
	// definite: the provider says that there is no such thing, so a person has to change something.
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
		current.failure, current.retryAt = failure, now.Add(max(retryDistance(application, current.failures), retryAfter))
		current.failures++
	})
}

// retryDistance is how long to wait after failures in a row and one more.
func retryDistance(application types.UID, failures int) time.Duration {
	distance := lastRetry
	if failures < 10 {
		distance = min(firstRetry<<failures, lastRetry)
	}
	return distance - jitter(string(application), distance/5)
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

// discover returns the document to use, nil for none, and adds to the decision whether to read it anew, when to look
// again, and what is wrong with a document that could not be read again.
func discover(f facts, spec *v1alpha1.OAuthApplicationSpec, ca []byte, d *decision) *registration.Discovery {
	issuer, err := provider.IssuerURL(spec)
	if err != nil || issuer == "" {
		return nil // provider.Resolve says what is wrong with it.
	}
	request := discoveryRequest{issuer: issuer, ca: ca, trust: egress.Fingerprint(ca), limits: provider.LimitsOf(spec)}
	request.basis = fmt.Sprintf("%d %s %s", f.application.Generation, request.trust, issuer)
	document := newestDocument(f, issuer)
	due := f.now
	if document != nil && document.Trust == request.trust {
		due = document.At.Add(discoveryAge - jitter(string(f.application.UID), discoveryAge/10))
	}
	if f.attempt.basis == request.basis && f.attempt.failure != nil {
		due, d.failure = latest(due, f.attempt.retryAt), f.attempt.failure
		if document != nil {
			d.degrade(oldDocument(document.At, f.attempt.failure))
		}
	}
	switch {
	case f.attempt.running: // Its end wakes the controller.
	case due.After(f.now):
		d.wake(due)
	default:
		d.discover = &request
	}
	return document
}

// newestDocument chooses between what is kept and what the latest attempt found, which wins when both are of the same
// second. A document under another CA serves on until it has been read again.
func newestDocument(f facts, issuer string) *registration.Discovery {
	var newest *registration.Discovery
	if f.kept != nil && f.kept.Discovery != nil && f.kept.Discovery.Metadata.Issuer == issuer {
		newest = f.kept.Discovery
	}
	found := f.attempt.found
	if found != nil && found.Metadata.Issuer == issuer && (newest == nil || !found.At.Before(newest.At)) {
		newest = found
	}
	return newest
}

// undiscovered is the verdict while there is no document at all.
func undiscovered(failure *callFailure) verdict {
	if failure == nil {
		return verdict{
			reason: v1alpha1.ReasonProgressing, message: "reading the discovery document of issuerURL", progressing: true,
		}
	}
	message := fmt.Sprintf("issuerURL: the discovery document cannot be read: %s. It is tried again with growing distance", failure.message)
	if failure.definite {
		message += "; correct issuerURL, or leave it out and set endpoints"
	}
	return verdict{
		reason: v1alpha1.ReasonDiscoveryFailed, message: message, stalled: failure.definite, progressing: !failure.definite,
	}
}

// misconfiguredError says that a person has to change something.
type misconfiguredError struct{ cause error }

func misconfigured(cause error) error { return &misconfiguredError{cause} }

// Error is the cause's.
func (e *misconfiguredError) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *misconfiguredError) Unwrap() error { return e.cause }

// failureOf sums up the error of a call that reads.
func failureOf(err error) (*callFailure, time.Duration) {
	failed := (*oauth.Error)(nil)
	if !errors.As(err, &failed) {
		misconfigured := (*misconfiguredError)(nil)
		return &callFailure{message: err.Error(), definite: errors.As(err, &misconfigured)}, 0
	}
	blocked := (*egress.BlockedError)(nil)
	if errors.As(err, &blocked) {
		return &callFailure{message: blocked.Error(), definite: true}, 0
	}
	return &callFailure{message: failed.Error(), definite: failed.Concern == oauth.ConcernApplication}, failed.RetryAfter
}
