// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// view is what one reader knows of one connection: a cache that is behind, or the API server.
type view struct {
	client.Reader
	connection *v1alpha1.OAuthConnection
	err        error
	reads      int
}

// Get implements client.Reader.
func (v *view) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	v.reads++
	switch connection, ok := object.(*v1alpha1.OAuthConnection); {
	case v.err != nil:
		return v.err
	case !ok || v.connection == nil || client.ObjectKeyFromObject(v.connection) != key:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "oauthconnections"}, key.Name)
	default:
		v.connection.DeepCopyInto(connection)
		return nil
	}
}

// allowance is a limiter of live reads.
type allowance bool

// Allow implements Limiter.
func (a allowance) Allow(string) (bool, time.Duration) { return bool(a), 0 }

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func connected(text string) *v1alpha1.OAuthConnection {
	return &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "crm", UID: "uid", Generation: 1},
		Status:     v1alpha1.OAuthConnectionStatus{AuthorizationURL: ticket.URL("https://oauth.example", "team", "crm", text)},
	}
}

// A ticket is refused after one look at what the API server knows, and accepted at once when the cache knows it.
func TestTicketOfACacheThatIsBehind(t *testing.T) {
	older := ticket.New(ticket.Claims{Generation: 1, IssuedAt: now()})
	newer := ticket.New(ticket.Claims{Generation: 1, IssuedAt: now()})
	old := ticket.New(ticket.Claims{Generation: 1, IssuedAt: now().Add(-ticket.Lifetime)})
	broken := errors.New("no route to host")
	for _, test := range []struct {
		reason       string
		text         string
		cached, live *v1alpha1.OAuthConnection
		err          error
		busy         bool
		want         error
		reads        int
	}{
		{reason: "known", text: newer, cached: connected(newer), reads: 0},
		{reason: "known, and too old", text: old, cached: connected(old), want: ticket.ErrExpired},
		{reason: "newer than the cache", text: newer, cached: connected(older), live: connected(newer), reads: 1},
		{reason: "of a connection newer than the cache", text: newer, live: connected(newer), reads: 1},
		{reason: "new to the cache, and too old", text: old, cached: connected(older), live: connected(old), want: ticket.ErrExpired, reads: 1},
		{reason: "nobody's", text: newer, cached: connected(older), live: connected(older), want: ticket.ErrUnknown, reads: 1},
		{reason: "of no connection", text: newer, want: ticket.ErrUnknown, reads: 1},
		{reason: "nobody's, when too many ask", text: newer, cached: connected(older), live: connected(newer), busy: true, want: ticket.ErrUnknown},
		{reason: "no ticket at all costs nothing", text: "x", cached: connected(older), live: connected(newer), want: ticket.ErrUnknown},
		{reason: "the API server is away", text: newer, cached: connected(older), err: broken, want: broken, reads: 1},
	} {
		t.Run(test.reason, func(t *testing.T) {
			live := &view{connection: test.live, err: test.err}
			h := &Handler{Options: Options{
				Cached: &view{connection: test.cached}, Live: live, Reads: allowance(!test.busy), Clock: clocktesting.NewFakeClock(now()),
			}}
			connection, _, err := h.ticketed(t.Context(), types.NamespacedName{Namespace: "team", Name: "crm"}, test.text)
			if !errors.Is(err, test.want) || live.reads != test.reads {
				t.Errorf("got %v after %d live reads, want %v after %d", err, live.reads, test.want, test.reads)
			}
			if (connection != nil) != (err == nil || errors.Is(err, ticket.ErrExpired)) {
				t.Errorf("connection %v with %v", connection, err)
			}
		})
	}
}

// A connection is gone when the API server says so, not when a cache does.
func TestCurrent(t *testing.T) {
	present, other := connected("x"), connected("x")
	other.UID = "other"
	broken := errors.New("no route to host")
	for _, test := range []struct {
		reason       string
		cached, live *v1alpha1.OAuthConnection
		fits         bool
		err          error
		busy         bool
		there        bool
		want         error
	}{
		{reason: "known", cached: present, fits: true, there: true},
		{reason: "known, and not enough", cached: present, live: present, there: true},
		{reason: "unknown to the cache", live: present, fits: true, there: true},
		{reason: "gone", cached: nil, fits: true},
		{reason: "replaced", cached: other, live: other, fits: true},
		{reason: "replaced, to the cache alone", cached: other, live: present, fits: true, there: true},
		{reason: "gone, when too many ask", busy: true, fits: true},
		{reason: "known, and not enough, when too many ask", cached: present, busy: true, there: true},
		{reason: "the API server is away", err: broken, want: broken},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := &Handler{Options: Options{
				Cached: &view{connection: test.cached}, Live: &view{connection: test.live, err: test.err}, Reads: allowance(!test.busy),
			}}
			key := types.NamespacedName{Namespace: "team", Name: "crm"}
			got, err := h.current(t.Context(), key, "uid", func(*v1alpha1.OAuthConnection) bool { return test.fits })
			if (got != nil) != test.there || !errors.Is(err, test.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// spent is a limiter that refuses one key.
type spent string

// Allow implements Limiter.
func (s spent) Allow(key string) (bool, time.Duration) { return key != string(s), time.Second }

// Whoever guesses tickets uses up what tickets may cost, and not what keeps a login from being lost.
func TestGuessedTicketsKeepNoLoginFromBeingFound(t *testing.T) {
	text := ticket.New(ticket.Claims{Generation: 1, IssuedAt: now()})
	guesses := &spies{}
	h := &Handler{Options: Options{Cached: &view{}, Live: &view{connection: connected(text)}, Reads: guesses, Clock: clocktesting.NewFakeClock(now())}}
	key := types.NamespacedName{Namespace: "team", Name: "crm"}
	guess := ticket.New(ticket.Claims{Generation: 1, IssuedAt: now()})
	if _, _, err := h.ticketed(t.Context(), key, guess); !errors.Is(err, ticket.ErrUnknown) || len(guesses.keys) != 1 {
		t.Fatalf("a guess: %v, paid from %q", err, guesses.keys)
	}
	h.Reads = spent(guesses.keys[0])
	got, err := h.current(t.Context(), key, "uid", func(*v1alpha1.OAuthConnection) bool { return true })
	if got == nil || err != nil {
		t.Errorf("a login's connection counts as gone while tickets are guessed: %v", err)
	}
}

// spies is a limiter that remembers who asked.
type spies struct{ keys []string }

// Allow implements Limiter.
func (s *spies) Allow(key string) (bool, time.Duration) {
	s.keys = append(s.keys, key)
	return true, 0
}
