// SPDX-License-Identifier: Apache-2.0

package application

import (
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

const (
	// defaultInterval is the default of statusCheck.interval, and minInterval the least that the CRD takes.
	defaultInterval = time.Hour
	minInterval     = time.Minute
	// requestDistance is between two listings when somebody asks for one: at first, and again whenever a listing has
	// brought news. It doubles, up to maxRequestDistance, with each that was asked for and brought none: whoever is waited
	// for by a person or reported by the provider must not wait for long because others were looked for in vain.
	requestDistance    = 10 * time.Second
	maxRequestDistance = time.Minute
	// toleratedFailures in a row, a minute and a bit, are not worth a word: providers are away now and then.
	toleratedFailures = 4
)

// Listings remembers the listings of each application's connections at the provider, and takes requests for more. Make it
// with NewListings; it is safe for concurrent use. A restart forgets it, and costs no listing before the next one is due.
type Listings struct {
	mu    sync.Mutex
	byUID map[types.UID]listing
	// requested are the applications that somebody wants listed soon.
	requested map[types.NamespacedName]bool
	// enqueue asks for a pass; nil until there is a controller.
	enqueue func(application types.NamespacedName)
}

// NewListings makes Listings without any.
func NewListings() *Listings {
	return &Listings{byUID: map[types.UID]listing{}, requested: map[types.NamespacedName]bool{}}
}

// RequestListing asks for a listing of an application's connections soon: somebody waits to be found in it. Options.Listed
// is called when it has been made. It means nothing for applications without such a list.
func (l *Listings) RequestListing(application types.NamespacedName) {
	l.mu.Lock()
	known := l.requested[application]
	l.requested[application] = true
	enqueue := l.enqueue
	l.mu.Unlock()
	if !known && enqueue != nil {
		enqueue(application)
	}
}

// attach names who passes over applications.
func (l *Listings) attach(enqueue func(application types.NamespacedName)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enqueue = enqueue
}

// dismiss drops the request for an application that does not exist.
func (l *Listings) dismiss(application types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.requested, application)
}

// listing is what is known of the listings of one application. The zero value is nothing.
type listing struct {
	// basis identifies what was listed and how; empty: this application has not been looked at yet.
	basis string
	// since is when this process first looked at it.
	since time.Time
	// startedAt is when the last listing began; zero: none has.
	startedAt time.Time
	running   bool
	// asked says that somebody asked for the listing under way.
	asked bool
	// failure is that of the last listing; nil after a success.
	failure  *callFailure
	failures int
	retryAt  time.Time
	// distance to the last listing of one that is asked for.
	distance time.Duration
	// deleted is what the provider's list of applications said; nil: nothing yet.
	deleted *bool

	// requested says that somebody asks for another one. It is filled in by get.
	requested bool
}

func (l *Listings) get(key types.NamespacedName, application types.UID) listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.byUID[application]
	known.requested = l.requested[key]
	return known
}

// look notes that an application with such a list exists.
func (l *Listings) look(application types.UID, basis string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.byUID[application]; !known {
		l.byUID[application] = listing{basis: basis, since: now}
	}
}

// forget drops an application that is gone or not listed.
func (l *Listings) forget(key types.NamespacedName, application types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byUID, application)
	delete(l.requested, key)
}

// begin marks a listing as running; false when one is already. It answers the requests that came before.
func (l *Listings) begin(key types.NamespacedName, application types.UID, basis string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.byUID[application]
	if current.running {
		return false
	}
	if current.basis != basis {
		current.failures, current.failure = 0, nil
	}
	current.basis, current.running, current.startedAt, current.asked = basis, true, now, l.requested[key]
	delete(l.requested, key)
	l.byUID[application] = current
	return true
}

// wanted tells whether a listing under way is still of use.
func (l *Listings) wanted(application types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byUID[application].running
}

// succeed ends a listing that is complete. news tells whether it showed anything that the one before did not.
func (l *Listings) succeed(application types.UID, news bool, interval time.Duration) {
	l.update(application, func(current *listing) {
		current.failure, current.failures = nil, 0
		switch {
		case news:
			current.distance = requestDistance
		case current.asked:
			current.distance = min(2*max(current.distance, requestDistance), maxRequestDistance, interval)
		}
	})
}

// fail ends a listing that is not complete; the next one comes as with discovery.
func (l *Listings) fail(application types.UID, failure *callFailure, retryAfter time.Duration, now time.Time) {
	l.update(application, func(current *listing) {
		current.failure = failure
		current.retryAt = now.Add(max(retryDistance(application, current.failures), retryAfter))
		current.failures++
	})
}

// foundDeleted notes what the provider's list of applications says.
func (l *Listings) foundDeleted(application types.UID, deleted bool) {
	l.update(application, func(current *listing) { current.deleted = &deleted })
}

// end makes room for the next listing.
func (l *Listings) end(application types.UID) {
	l.update(application, func(current *listing) { current.running = false })
}

func (l *Listings) update(application types.UID, change func(current *listing)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if current, ok := l.byUID[application]; ok {
		change(&current)
		l.byUID[application] = current
	}
}

// listOf returns the description of the provider's list of connections; nil: it has none.
func listOf(client *registration.Client) *v1alpha1.ConnectionListSpec {
	check := client.Spec.StatusCheck
	if check == nil || check.Type != v1alpha1.StatusCheckConnectionList {
		return nil
	}
	return check.ConnectionList
}

func intervalOf(client *registration.Client) time.Duration {
	if given := client.Spec.StatusCheck.Interval; given != nil {
		return max(given.Duration, minInterval)
	}
	return defaultInterval
}

// listRequest is what a listing needs.
type listRequest struct {
	client *registration.Client
	// basis identifies client and list; with another one earlier failures do not count.
	basis    string
	interval time.Duration
}

// scheduleListing adds to the decision whether to list the provider's connections now, when to look again, and what is
// wrong with listings.
//
// Listings are due at fixed times, one in each interval, which differ from application to application and not from process
// to process: a restart neither makes one nor leaves one out. Requests and changes of the configuration come on top.
func scheduleListing(f facts, d *decision) {
	if d.listed == nil || listOf(d.listed) == nil {
		d.listed = nil
		return
	}
	request := listRequest{client: d.listed, basis: listBasis(d.listed), interval: intervalOf(d.listed)}
	known := f.listing
	if failure := known.failure; known.basis == request.basis && failure != nil && (failure.definite || known.failures > toleratedFailures) {
		d.degrade(unlisted(failure))
	}
	due := listingDue(f, request)
	switch {
	case known.running: // Its end wakes the controller.
	case due.After(f.now):
		d.wake(due)
	default:
		d.list = &request
	}
}

func listingDue(f facts, request listRequest) time.Time {
	known := f.listing
	switch {
	case known.basis == "": // Seen for the first time.
		known.since = f.now
	case known.basis != request.basis:
		return f.now
	case known.failure != nil:
		return known.retryAt
	}
	due := nextListing(latest(known.since, known.startedAt), request.interval, f.application.UID)
	if !known.requested {
		return due
	}
	asked := f.now
	if !known.startedAt.IsZero() {
		asked = known.startedAt.Add(max(known.distance, requestDistance))
	}
	if asked.Before(due) {
		return asked
	}
	return due
}

// nextListing returns the first of an application's fixed times after another time.
func nextListing(after time.Time, interval time.Duration, application types.UID) time.Time {
	offset := jitter(string(application), interval)
	passed := after.Add(-offset).Truncate(interval) // counts from the zero time
	return passed.Add(offset + interval)
}

// listBasis identifies everything that a listing depends on.
func listBasis(client *registration.Client) string {
	content, _ := json.Marshal(client.Spec.StatusCheck) // cannot fail for a type of the API
	return client.Fingerprint() + " " + string(content)
}

// gone tells whether the provider has said that the client no longer exists. What an earlier process was told stands in
// the status, and holds for the spec that it was told about.
func gone(f facts, d decision) bool {
	switch {
	case d.listed == nil || listOf(d.listed).Application == nil:
		return false
	case f.listing.deleted != nil:
		return *f.listing.deleted
	}
	ready := meta.FindStatusCondition(f.application.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonApplicationDeleted && ready.ObservedGeneration == f.application.Generation
}
