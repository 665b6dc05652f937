// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// leaping is a clock on which time passes by being waited for.
type leaping struct {
	clock.RealClock
	ahead atomic.Int64
}

func (l *leaping) Now() time.Time { return l.RealClock.Now().Add(time.Duration(l.ahead.Load())) }

func (l *leaping) pass(d time.Duration) { l.ahead.Add(int64(d)) }

func (l *leaping) NewTimer(d time.Duration) clock.Timer {
	l.pass(d)
	return l.RealClock.NewTimer(0)
}

// Between finding a token and sending it, a request may wait longer than the token lives.
func TestTokenThatExpiresWhileTheRequestWaits(t *testing.T) {
	const lives, wait = 10 * time.Second, 20 * time.Second
	elsewhere := make(chan string, 10)
	stranger := providerAt(t, "127.0.0.2", func(_ http.ResponseWriter, r *http.Request) { elsewhere <- r.Header.Get("Authorization") })
	moved, err := url.Parse("https://moved.example.test")
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		first    func(w http.ResponseWriter, times *leaping) // how the provider answers the first request; nil: well
		queued   bool                                        // the wait is before the first
		renewErr error
		moved    *url.URL
		code     problem.Code
		want     string // the tokens that come to the provider
		causes   int
		gate     string
	}{
		"for a retry": {
			first: func(w http.ResponseWriter, _ *leaping) {
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusServiceUnavailable)
			},
			want: oldToken + " " + newToken, causes: 1, gate: "leave dead, leave answered",
		},
		"for a redirect": {
			first: func(w http.ResponseWriter, times *leaping) {
				times.pass(wait)
				w.Header().Set("Location", "/other")
				w.WriteHeader(http.StatusPermanentRedirect)
			},
			want: oldToken + " " + newToken, causes: 1, gate: "leave answered, leave answered",
		},
		"for its turn": {queued: true, want: newToken, causes: 1, gate: "leave answered"},
		"for a redirect to where no token goes": {
			first: func(w http.ResponseWriter, times *leaping) {
				times.pass(wait)
				w.Header().Set("Location", stranger.URL)
				w.WriteHeader(http.StatusPermanentRedirect)
			},
			want: oldToken, gate: "leave answered, leave answered",
		},
		"in vain": {
			queued: true, renewErr: problem.New(problem.RefreshFailed, "no"), code: problem.RefreshFailed, causes: 1, gate: "leave neutral",
		},
		"and the API moves": {queued: true, moved: moved, code: problem.ConnectionNotReady, causes: 1, gate: "leave neutral"},
		"not so long": {
			first: func(w http.ResponseWriter, _ *leaping) { w.WriteHeader(http.StatusServiceUnavailable) },
			want:  oldToken + " " + oldToken, gate: "leave dead, leave answered",
		},
	} {
		t.Run(name, func(t *testing.T) {
			times, g, tokens := &leaping{}, &gate{}, make(chan string, 10)
			api := provider(t, func(w http.ResponseWriter, r *http.Request) {
				tokens <- strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				if body, _ := io.ReadAll(r.Body); string(body) != "body" {
					t.Errorf("the body is %q", body)
				}
				if len(tokens) == 1 && row.first != nil {
					row.first(w, times)
				}
			})
			if row.queued {
				g.waiting = func() { times.pass(wait) }
			}
			w := start(t, setup{base: api.URL, options: proxy.Options{Clock: times, Gate: g}})
			w.tokens.current.Expiry = lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: times.Now().Add(lives)}
			w.tokens.renewErr, w.tokens.renewedBase = row.renewErr, row.moved
			got := w.do(w.request(http.MethodPut, byPath+"a", strings.NewReader("body")))
			if row.code != "" {
				wantProblem(t, got, row.code)
			} else {
				wantPassed(t, got, http.StatusOK, "") // The provider has rejected nothing.
			}
			_ = w.record()
			close(tokens)
			if sent := strings.Join(slices.Collect(values(tokens)), " "); sent != row.want {
				t.Errorf("sent %q, want %q", sent, row.want)
			}
			if causes := w.tokens.causes; len(causes) != row.causes || len(causes) > 0 && causes[0] != credential.Expired {
				t.Errorf("renewals because of %v", causes)
			}
			if left := leaves(g); left != row.gate {
				t.Errorf("%s, want %s", left, row.gate)
			}
		})
	}
	if token := receive(t, elsewhere); token != "" {
		t.Errorf("the stranger got %q", token)
	}
}

// values are what is in a closed channel.
func values[T any](from <-chan T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for value := range from {
			if !yield(value) {
				return
			}
		}
	}
}

// leaves are the events of a gate by which places became free.
func leaves(g *gate) string {
	var left []string
	for event := range strings.SplitSeq(g.all(), ", ") {
		if strings.HasPrefix(event, "leave") {
			left = append(left, event)
		}
	}
	return strings.Join(left, ", ")
}

// The caller's deadline bounds a renewal too, and says what it was that took so long.
func TestDeadlineWithinRenewalOfAnExpiredToken(t *testing.T) {
	times, g := &leaping{}, &gate{}
	w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{Clock: times, Gate: g}})
	g.waiting = func() { times.pass(time.Minute) }
	w.tokens.current.Expiry = lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: times.Now().Add(time.Second)}
	ended := make(chan struct{})
	w.tokens.renewing = func() { <-ended }
	timer := time.AfterFunc(40*time.Millisecond, func() { close(ended) }) // The fake does not heed the deadline.
	defer timer.Stop()
	got := w.get("a", proxy.HeaderTimeout, "20ms")
	wantProblem(t, got, problem.ProviderTimeout)
	if !strings.Contains(got.body, "before the request could be sent") {
		t.Error(got.body)
	}
	if r := w.record(); r.Attempts != 0 {
		t.Error(fmt.Sprint(r))
	}
}
