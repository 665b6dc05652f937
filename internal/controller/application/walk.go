// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// maxPages bounds the pages of both lists together: a hundred thousand entries where a page has a hundred.
const maxPages = 1000

// Getter reads pages of a provider's API; *oauth.Caller does.
type Getter interface {
	Get(ctx context.Context, transport http.RoundTripper, request oauth.ResourceRequest) (oauth.Resource, error)
}

// walk is one listing under way, page by page. Each page is a call of its own in the application's lane, so that codes and
// refreshes go in between and every request counts towards the limits. Only one call at a time touches it.
type walk struct {
	listRequest
	key         types.NamespacedName
	application types.UID
	profile     *provider.Profile
	values      provider.Values
	list        *v1alpha1.ConnectionListSpec

	startedAt time.Time
	pages     int
	cursor    string
	// cursors are those that were followed in the present list.
	cursors map[string]bool
	// inApplications: the present list is that of applications.
	inApplications bool
	applicationID  string
	// entries by id and subject: a list that changes meanwhile may show one twice.
	entries map[[2]string]census.Entry
}

// startListing queues the first page; the end of the last one enqueues the application again.
func (r *Reconciler) startListing(key types.NamespacedName, application types.UID, request listRequest) {
	if !r.options.Listings.begin(key, application, request.basis, r.options.Clock.Now()) {
		return
	}
	list := listOf(request.client)
	r.submitPage(&walk{
		listRequest: request, key: key, application: application, profile: request.client.Profile(), list: list,
		inApplications: list.Application != nil, cursors: map[string]bool{}, entries: map[[2]string]census.Entry{},
	})
}

func (r *Reconciler) submitPage(w *walk) {
	more, err := false, errors.New("reading the list broke off") // written by Run unless it panics, read by Done after it
	limits := w.client.Limits
	r.options.Queue.Submit(callqueue.Call{
		Key: "listing/" + string(w.application), Lane: w.key.String(), Limits: callqueue.Limits(limits),
		Run: func(ctx context.Context) {
			if more, err = r.page(ctx, w); err == nil && !more {
				r.conclude(ctx, w)
			}
		},
		Done: func() {
			switch {
			case err == nil && more && r.options.Listings.wanted(w.application):
				r.submitPage(w)
				return
			case err != nil:
				failure, retryAfter := failureOf(err)
				r.options.Listings.fail(w.application, failure, retryAfter, r.options.Clock.Now())
			}
			r.options.Listings.end(w.application)
			r.wake.enqueue(w.key)
		},
	})
}

// conclude keeps what a complete listing has shown, and tells those who wait for it.
func (r *Reconciler) conclude(ctx context.Context, w *walk) {
	if !r.options.Listings.wanted(w.application) {
		return
	}
	shown := census.Census{StartedAt: w.startedAt, ApplicationID: w.applicationID, Entries: make([]census.Entry, 0, len(w.entries))}
	for _, entry := range w.entries {
		shown.Entries = append(shown.Entries, entry)
	}
	before, known := r.options.Census.Get(w.application)
	r.options.Census.Set(w.application, shown)
	r.options.Listings.succeed(w.application, !known || !before.SameEntries(shown), w.interval)
	log.FromContext(ctx).V(1).Info("listed the provider's connections", "application", w.key, "entries", len(shown.Entries), "pages", w.pages)
	if r.options.Listed != nil {
		r.options.Listed(ctx, w.key)
	}
}

// page reads one page; more tells whether there is another one. The error says why the listing cannot be complete.
func (r *Reconciler) page(ctx context.Context, w *walk) (more bool, err error) {
	if w.pages++; w.pages > maxPages {
		return false, fmt.Errorf("it has more than %d pages", maxPages)
	}
	if w.pages == 1 {
		w.startedAt = r.options.Clock.Now()
	}
	request, err := w.request()
	if err != nil {
		return false, misconfigured(err)
	}
	transport, err := r.options.Transports.For(egress.Trust{CA: w.client.CA, Certificate: w.client.Certificate})
	if err != nil {
		return false, misconfigured(err)
	}
	answer, err := r.options.Getter.Get(ctx, transport, request)
	if err != nil {
		return false, err
	}
	if w.inApplications {
		return w.readApplications(answer, func(deleted bool) { r.options.Listings.foundDeleted(w.application, deleted) })
	}
	return w.readConnections(answer)
}

func (w *walk) request() (request oauth.ResourceRequest, err error) {
	if w.values == nil {
		if w.values, err = w.profile.ApplicationValues(); err != nil {
			return oauth.ResourceRequest{}, err
		}
	}
	if w.inApplications {
		return w.profile.ApplicationPage(w.cursor, w.values)
	}
	return w.profile.ListPage(w.cursor, w.applicationID, w.values)
}

// readApplications looks for the client in a page of applications. When it is there, the list of connections is next.
func (w *walk) readApplications(answer oauth.Resource, found func(deleted bool)) (more bool, err error) {
	entries, err := items(answer, w.list.Items)
	if err != nil {
		return false, fmt.Errorf("the list of applications: %w", err)
	}
	spec := w.list.Application
	for _, entry := range entries {
		if entry.Text(path(spec.ClientID, "$.client_id")) != w.client.OAuth.ID {
			continue
		}
		if w.applicationID = entry.Text(path(spec.ID, "$.id")); w.applicationID == "" {
			return false, misconfigured(errors.New("the list of applications gives the client no id"))
		}
		found(slices.Contains(or(spec.DeletedValues, "deleted"), entry.Text(path(spec.Status, "$.status"))))
		w.inApplications, w.cursor, w.cursors = false, "", map[string]bool{}
		return true, nil
	}
	if more, err = w.turn(answer); err != nil || more {
		return more, err
	}
	return false, misconfigured(errors.New("the list of applications has none with the client's id"))
}

// readConnections takes over a page of connections.
func (w *walk) readConnections(answer oauth.Resource) (more bool, err error) {
	entries, err := items(answer, w.list.Items)
	if err != nil {
		return false, err
	}
	usable := 0
	for _, item := range entries {
		entry := w.entry(item)
		if entry.ID != "" || entry.Subject != "" {
			w.entries[[2]string{entry.ID, entry.Subject}] = entry
			usable++
		}
	}
	if len(entries) > 0 && usable == 0 {
		return false, misconfigured(errors.New("its entries have neither an id nor a subject where these are looked for"))
	}
	return w.turn(answer)
}

func (w *walk) entry(item oauth.Resource) census.Entry {
	entry := census.Entry{
		ID:        item.Text(path(w.list.ID, "$.id")),
		Subject:   item.Text(string(w.list.Subject)),
		Status:    item.Text(path(w.list.Status, "$.status")),
		CreatedAt: instant(item.Text(path(w.list.CreatedAt, "$.created_at"))),
		DeletedAt: instant(item.Text(path(w.list.DeletedAt, "$.deleted_at"))),
	}
	// An entry without any status is not taken for one that has ended.
	entry.Active = entry.DeletedAt.IsZero() &&
		(entry.Status == "" || slices.Contains(or(w.list.ActiveValues, "active"), entry.Status))
	return entry
}

// turn goes to the next page of the present list, if there is one.
func (w *walk) turn(answer oauth.Resource) (more bool, err error) {
	if w.list.Page == nil {
		return false, nil
	}
	next := answer.Text(string(w.list.Page.NextCursor))
	if next == "" {
		return false, nil
	}
	if w.cursors[next] {
		return false, errors.New("its cursor leads back to a page that was read already")
	}
	w.cursors[next], w.cursor = true, next
	return true, nil
}

// items returns the entries of a page. An answer that only looks empty must not end anybody's grant, so it has to have the
// list.
func items(answer oauth.Resource, given v1alpha1.JSONPath) ([]oauth.Resource, error) {
	switch refusal := fmt.Errorf("the provider answered with HTTP status %d", answer.Status); {
	case answer.Status >= http.StatusBadRequest:
		return nil, misconfigured(refusal)
	case answer.Status < http.StatusOK || answer.Status >= http.StatusMultipleChoices:
		return nil, refusal // A page that says that the provider is down may be behind a redirect.
	case !answer.IsJSON():
		return nil, errors.New("the answer is not JSON")
	}
	selector := path(given, "$.data[*]")
	entries := answer.Items(selector)
	container, whole := strings.CutSuffix(selector, "[*]")
	switch {
	case !whole:
	case len(answer.Items(container)) == 0:
		return nil, misconfigured(fmt.Errorf("the answer has no list at %s", container))
	case len(entries) > 0 && len(answer.Items(container+"[0]")) == 0:
		return nil, misconfigured(fmt.Errorf("what the answer has at %s is not a list", container))
	}
	return entries, nil
}

func path(given v1alpha1.JSONPath, fallback string) string { return either(string(given), fallback) }

func or(values []string, fallback string) []string {
	if len(values) == 0 {
		return []string{fallback}
	}
	return values
}

// instant reads a time of RFC 3339; anything else is none.
func instant(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
