// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// lists is a provider with lists.
type lists struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	// answers by path and query; the others are not found.
	answers map[string]string
	// status in place of 200.
	status int
	// during is called within each request, when set.
	during func()
}

func newLists(t *testing.T) *lists {
	t.Helper()
	l := &lists{answers: map[string]string{}, status: http.StatusOK}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *lists) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	l.mu.Lock()
	line, status, during := request.URL.RequestURI(), l.status, l.during
	if key := request.Header.Get("X-Api-Key"); key != "" {
		line += " " + key
	}
	l.requests = append(l.requests, line)
	answer, found := l.answers[request.URL.RequestURI()]
	l.mu.Unlock()
	if during != nil {
		during()
	}
	w.Header().Set("Content-Type", "application/json")
	if !found {
		status = http.StatusNotFound
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "600")
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, answer) // A client that has gone is no failure of the server.
}

func (l *lists) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

// walker is a Reconciler that lists and does nothing else.
type walker struct {
	*Reconciler
	provider *lists
	client   *registration.Client
	queue    *callqueue.Queue
	listed   int
	clock    *clocktesting.FakePassiveClock
}

func newWalker(t *testing.T) *walker {
	t.Helper()
	guard, err := egress.New(egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{provider: newLists(t), queue: callqueue.New(callqueue.Options{}), clock: clocktesting.NewFakePassiveClock(now())}
	caller := oauth.NewCaller(w.clock.Now, oauth.Options{})
	w.Reconciler = newReconciler(Options{
		Catalogue: &provider.Catalogue{}, Queue: w.queue, Getter: caller, Transports: egress.NewTransportPool(guard, 0),
		CheckURL: guard.CheckURL, Clock: w.clock, Listings: NewListings(), Census: &census.Store{},
		Listed: func(context.Context, types.NamespacedName) { w.listed++ },
	})
	f := listed()
	f.application.Spec.APIBaseURL = v1alpha1.EndpointURL(w.provider.URL + "/api")
	f.application.Spec.Inputs = []v1alpha1.Input{{Name: "tenant"}, {Name: "region", Default: new("eu")}}
	f.application.Spec.Endpoints.TokenURL = issuer + "/{tenant}/token"
	f.application.Spec.StatusCheck.ConnectionList = &v1alpha1.ConnectionListSpec{
		URL: "/connections", Subject: "$.group", Query: map[string]v1alpha1.ParameterValue{"application": "{application_id}", "region": "{region}"},
		Headers:     []v1alpha1.RequestHeader{{Name: "X-Api-Key", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "crm", Key: "key"}}},
		Page:        &v1alpha1.PageSpec{CursorParameter: "cursor", NextCursor: "$.next"},
		Application: &v1alpha1.ApplicationListSpec{URL: "/applications"},
	}
	stored{"crm": {"key": "platform"}}.read(&f, w.rules.catalogue)
	d := decide(f, w.rules)
	if d.client == nil {
		t.Fatal(d.verdict)
	}
	w.client = d.client
	w.answer(map[string]string{
		"/api/applications":           `{"data":[{"id":"application_1","client_id":"other","status":"deleted"}],"next":"p2"}`,
		"/api/applications?cursor=p2": `{"data":[{"id":"application_2","client_id":"crm","status":"active"}],"next":"p3"}`,
		"/api/connections?application=application_2&region=eu": `{"data":[
			{"id":"c1","group":"g1","status":"active","created_at":"2026-07-01T10:00:00Z","deleted_at":null},
			{"id":"c2","group":"g2","status":"inactive","created_at":"2026-07-02T12:00:00+02:00","deleted_at":"2026-07-03T10:00:00Z"}],"next":"c 2"}`,
		"/api/connections?application=application_2&region=eu&cursor=c%202": `{"data":[{"id":"c3","group":"g3","status":"active"}],"next":null}`,
	})
	return w
}

func (w *walker) answer(answers map[string]string) {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	maps.Copy(w.provider.answers, answers)
}

const firstConnections = "/api/connections?application=application_2&region=eu"

// walk makes one listing, and returns what is known of it then.
func (w *walker) walk(t *testing.T) listing {
	t.Helper()
	key := types.NamespacedName{Namespace: "platform", Name: "crm"}
	request := listRequest{client: w.client, basis: listBasis(w.client), interval: intervalOf(w.client)}
	w.options.Listings.look("8f0c", request.basis, now())
	w.startListing(key, "8f0c", request)
	if err := w.queue.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.options.Listings.get(key, "8f0c")
}

func TestAListIsReadPageByPage(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	if known := w.walk(t); known.failure != nil || known.running || known.deleted == nil || *known.deleted || !known.startedAt.Equal(now()) {
		t.Fatalf("after the listing: %+v, %+v", known, known.failure)
	}
	got, ok := w.options.Census.Get("8f0c")
	slices.SortFunc(got.Entries, func(a, b census.Entry) int { return strings.Compare(a.ID, b.ID) })
	at := func(month, day int) time.Time { return time.Date(2026, time.Month(month), day, 10, 0, 0, 0, time.UTC) }
	want := census.Census{StartedAt: now(), ApplicationID: "application_2", Entries: []census.Entry{
		{ID: "c1", Subject: "g1", Status: "active", Active: true, CreatedAt: at(7, 1)},
		{ID: "c2", Subject: "g2", Status: "inactive", CreatedAt: at(7, 2), DeletedAt: at(7, 3)},
		{ID: "c3", Subject: "g3", Status: "active", Active: true},
	}}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("the census differs (-want +got):\n%s", diff)
	}
	wanted := []string{
		"/api/applications platform", "/api/applications?cursor=p2 platform", firstConnections + " platform", firstConnections + "&cursor=c%202 platform",
	}
	if asked := w.provider.asked(); !slices.Equal(asked, wanted) {
		t.Errorf("the provider was asked %q: each page once, and not for applications after the client's own", asked)
	}
	if w.listed != 1 {
		t.Errorf("connections were woken %d times", w.listed)
	}
}

func TestEntriesAreJudged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason, entry string
		values        []string
		active        bool
	}{
		"Active":       {"the standard word", `{"id":"c","status":"active"}`, nil, true},
		"Inactive":     {"any other word", `{"id":"c","status":"revoked"}`, nil, false},
		"OtherWord":    {"the provider's own word", `{"id":"c","status":"granted"}`, []string{"granted", "renewed"}, true},
		"NotOwnWord":   {"then the standard word says nothing", `{"id":"c","status":"active"}`, []string{"granted"}, false},
		"NoStatus":     {"an entry without a word has not ended", `{"id":"c"}`, nil, true},
		"Deleted":      {"what was deleted does not live", `{"id":"c","status":"active","deleted_at":"2026-07-03T10:00:00Z"}`, nil, false},
		"OddDeletedAt": {"a time that cannot be read is none", `{"id":"c","status":"active","deleted_at":"never"}`, nil, true},
		"OddID":        {"a number is an id, too", `{"id":12,"status":"active"}`, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWalker(t)
			w.client.Spec.StatusCheck.ConnectionList.ActiveValues = test.values
			w.answer(map[string]string{firstConnections: `{"data":[` + test.entry + `]}`})
			if known := w.walk(t); known.failure != nil {
				t.Fatal(known.failure.message)
			}
			if got, _ := w.options.Census.Get("8f0c"); len(got.Entries) != 1 || got.Entries[0].Active != test.active {
				t.Errorf("%s: %+v", test.reason, got.Entries)
			}
		})
	}
}

// TestIncompleteListingsChangeNothing is about outages above all: none may end a grant.
func TestIncompleteListingsChangeNothing(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range maxPages {
		many[fmt.Sprintf("%s&cursor=%d", firstConnections, i)] = fmt.Sprintf(`{"data":[],"next":"%d"}`, i+1)
	}
	many[firstConnections] = `{"data":[],"next":"0"}`
	for name, test := range map[string]struct {
		reason   string
		status   int
		answers  map[string]string
		change   func(*walker)
		message  string
		definite bool
		retryIn  time.Duration
	}{
		"Away":      {reason: "an outage says nothing", status: 503, message: "HTTP 503"},
		"Busy":      {reason: "the provider's wish counts", status: 429, message: "HTTP 429", retryIn: 10 * time.Minute},
		"Moved":     {reason: "nothing is followed to another address", status: 302, message: "HTTP status 302"},
		"Refused":   {reason: "a person has to look at the key", status: 401, message: "HTTP status 401", definite: true},
		"Garbage":   {reason: "a page for people is no list", answers: map[string]string{firstConnections: "<html>"}, message: "not JSON"},
		"Cut":       {reason: "half a page is none", answers: map[string]string{firstConnections: `{"data":[{"id":"c1","group":"g1"}`}, message: "breaks off"},
		"NoList":    {reason: "an error that calls itself a success is no empty list", answers: map[string]string{firstConnections: `{"error":"oops"}`}, message: "no list at $.data", definite: true},
		"NullList":  {reason: "nor is nothing", answers: map[string]string{firstConnections: `{"data":null}`}, message: "no list at $.data", definite: true},
		"Object":    {reason: "nor an object", answers: map[string]string{firstConnections: `{"data":{"code":"x"}}`}, message: "at $.data is not a list", definite: true},
		"Strangers": {reason: "entries that nobody could be in", answers: map[string]string{firstConnections: `{"data":[{"uuid":"c1"}]}`}, message: "neither an id nor a subject", definite: true},
		"LastPage":  {reason: "a list that breaks off at its end is incomplete", answers: map[string]string{firstConnections + "&cursor=c%202": ""}, message: "not JSON"},
		"Circle":    {reason: "a cursor that leads back never ends", answers: map[string]string{firstConnections + "&cursor=c%202": `{"data":[],"next":"c 2"}`}, message: "leads back"},
		"Endless":   {reason: "nor do new ones for ever", answers: many, message: "more than 1000 pages"},
		"NotInTheList": {
			reason: "a client that is not listed has not been deleted", message: "none with the client's id", definite: true,
			answers: map[string]string{"/api/applications?cursor=p2": `{"data":[]}`},
		},
		"NoApplicationID": {
			reason: "without its id the list would be everybody's", message: "no id", definite: true,
			answers: map[string]string{"/api/applications?cursor=p2": `{"data":[{"client_id":"crm"}]}`},
		},
		"BlockedAddress": {
			reason: "nothing is sent where nothing may be sent", message: "169.254.169.254", definite: true,
			change: func(w *walker) { w.client.Spec.APIBaseURL = "https://169.254.169.254" },
		},
		"BrokenCertificate": {
			reason: "nor without the certificate that goes with it", message: "client certificate", definite: true,
			change: func(w *walker) { w.client.Certificate = sensitive.New("canary") },
		},
		"Panic": {
			reason: "what breaks off is over", message: "broke off",
			change: func(w *walker) { w.options.Getter = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWalker(t)
			w.walk(t)
			before, _ := w.options.Census.Get("8f0c")
			w.clock.SetTime(now().Add(time.Hour))
			w.answer(test.answers)
			if test.status != 0 {
				w.provider.status = test.status
			}
			if test.change != nil {
				test.change(w)
			}
			known := w.walk(t)
			if known.failure == nil || known.running {
				t.Fatalf("%s: %+v", test.reason, known)
			}
			if !strings.Contains(known.failure.message, test.message) || known.failure.definite != test.definite || strings.Contains(known.failure.message, "canary") {
				t.Errorf("%s: the failure is %+v", test.reason, known.failure)
			}
			if after, _ := w.options.Census.Get("8f0c"); w.listed != 1 || !cmp.Equal(before, after) {
				t.Errorf("%s: it changed the census to %+v", test.reason, after)
			}
			if known.deleted == nil || *known.deleted {
				t.Errorf("%s: the application counts as deleted", test.reason)
			}
			wait := known.retryAt.Sub(w.clock.Now())
			if wait <= 0 || wait > firstRetry && wait != test.retryIn || wait < test.retryIn {
				t.Errorf("%s: it is tried again after %s", test.reason, wait)
			}
		})
	}
}

func TestADeletedApplicationIsKnownAlthoughItsListIsGone(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	w.answer(map[string]string{
		"/api/applications?cursor=p2": `{"data":[{"id":"application_2","client_id":"crm","status":"deleted"}]}`, firstConnections: `{}`,
	})
	if known := w.walk(t); known.deleted == nil || !*known.deleted || known.failure == nil {
		t.Errorf("after the listing: %+v", known)
	}
}

func TestAListingStopsWhenNobodyWantsIt(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	key := types.NamespacedName{Namespace: "platform", Name: "crm"}
	w.provider.during = func() { w.options.Listings.forget(key, "8f0c") }
	w.walk(t)
	if asked := w.provider.asked(); len(asked) != 1 {
		t.Errorf("the provider was asked %q for an application that is gone", asked)
	}
	if _, ok := w.options.Census.Get("8f0c"); ok || w.listed != 0 {
		t.Error("a listing that nobody wants was kept")
	}
}

// TestPagesShareTheLane lets another call of the application wait for its turn while a list of many pages is read.
func TestPagesShareTheLane(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	w.client.Limits.MaxConcurrent = 1
	first := sync.Once{}
	between := make(chan int, 1)
	w.provider.during = func() {
		first.Do(func() {
			w.queue.Submit(callqueue.Call{
				Key: "refresh", Lane: "platform/crm", Limits: callqueue.Limits{MaxConcurrent: 1},
				Run: func(context.Context) { between <- len(w.provider.asked()) },
			})
		})
	}
	w.walk(t)
	if pages := <-between; pages != 1 {
		t.Errorf("a refresh had to wait for %d pages", pages)
	}
	if asked := len(w.provider.asked()); asked != 4 {
		t.Errorf("%d pages were read", asked)
	}
}
