// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/limit"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Names of the wildcards in the path that a Handler is served at, such as /webhooks/{namespace}/{application}.
const (
	WildcardNamespace   = "namespace"
	WildcardApplication = "application"
)

const (
	// maxBody bounds an event, in bytes.
	maxBody = 1 << 20
	// maxVerifiers bounds how many verifiers are kept.
	maxVerifiers = 1 << 10
	// maxRecipients bounds how many messages one event becomes. It is far more than one account has grants at one
	// application; status checks find the others.
	maxRecipients = 1000
	// messagesPerSecond is how many messages the events of one application may become in the long run; at once it is
	// maxRecipients. Whoever owns an application can sign as many events as they like, and each message is kept for a while.
	messagesPerSecond = 5
	// readers is how many events are read at a time, of any application but one of each. An event can be made so that it
	// takes long, by whoever owns its application; strangers cannot, since what they send is not read.
	readers = 2
	// smallBody is as much as every request may bring in its header anyhow, in bytes.
	smallBody = 16 << 10
	// largeBodies is how many events that are larger are in memory at a time. Strangers send them too: a signature can be judged
	// when the whole is there. Most events are small, and do not wait for them.
	largeBodies = 32
	// roomFor is how long a large event waits for its turn; whoever sends it has as long again for the body.
	roomFor = 5 * time.Second
	// retryLater is told to providers when there is no saying how long it will take.
	retryLater = time.Minute
)

// Creator makes Secrets in the operator's namespace. That one exists already is told by apierrors.IsAlreadyExists.
type Creator interface {
	Create(ctx context.Context, secret *corev1.Secret) error
}

// Counter counts events. *metrics.Metrics is one.
type Counter interface {
	Webhook(result metrics.WebhookResult)
	Limited(by metrics.Limit)
}

// Options of a Handler. All are needed.
type Options struct {
	// Reader is a cache of applications and connections, with the indexes of RegisterIndexes.
	Reader client.Reader
	// Creator makes the messages.
	Creator Creator
	// Namespace is the operator's own.
	Namespace string
	// Keys has the secrets of webhooks.
	Keys keyset.Source
	// Catalogue has the presets that applications name.
	Catalogue *provider.Catalogue
	Counter   Counter
	Clock     clock.PassiveClock
	Log       logr.Logger
}

// Handler takes events: POST with the wildcards in the path. Answers are a line of plain text. Nobody learns from them which
// applications there are: whoever cannot sign is told the same of one that exists and of one that does not.
type Handler struct {
	Options
	messages *limit.Limiter
	// verifiers by the UID of their application; each a *preparedVerifier.
	verifiers *lru.Cache
	// reading is sent to while an event is read.
	reading chan struct{}
	// large is sent to while a large event is in memory.
	large chan struct{}
}

// New makes a Handler.
func New(options Options) *Handler {
	return &Handler{
		Options:   options,
		messages:  limit.New(limit.Options{PerSecond: messagesPerSecond, Burst: maxRecipients, Clock: options.Clock}),
		verifiers: lru.New(maxVerifiers),
		reading:   make(chan struct{}, readers),
		large:     make(chan struct{}, largeBodies),
	}
}

// answer is what a request is answered with, and counted as.
type answer struct {
	result     metrics.WebhookResult
	status     int
	text       string
	retryAfter time.Duration
}

// refused is the answer to all who cannot sign for an application that takes events.
func refused(result metrics.WebhookResult) answer {
	return answer{result: result, status: http.StatusNotFound, text: "No webhook accepts this request: check its address, its signature, and the secret that it is signed with."}
}

func unavailable() answer {
	return answer{result: metrics.WebhookUnavailable, status: http.StatusServiceUnavailable, text: "Events cannot be taken at present: send it again later.", retryAfter: retryLater}
}

func tooLarge() answer {
	return answer{result: metrics.WebhookTooLarge, status: http.StatusRequestEntityTooLarge, text: "The event is larger than 1 MiB."}
}

func failed() answer {
	return answer{result: metrics.WebhookFailed, status: http.StatusInternalServerError, text: "The event could not be passed on: send it again."}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := h.take(w, r)
	h.Counter.Webhook(a.result)
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if a.status == http.StatusMethodNotAllowed {
		header.Set("Allow", http.MethodPost)
	}
	if a.retryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((a.retryAfter+time.Second-1)/time.Second), 10))
	}
	if a.result != metrics.WebhookChallenge {
		a.text += "\n"
	}
	header.Set("Content-Length", strconv.Itoa(len(a.text)))
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.text) // A provider that has gone cannot be told so.
}

// take does all that comes before an event is known to be true. The body is read first, so that its size says nothing about
// who exists.
func (h *Handler) take(w http.ResponseWriter, r *http.Request) answer {
	if r.Method != http.MethodPost {
		return answer{result: metrics.WebhookBadRequest, status: http.StatusMethodNotAllowed, text: "Events come by POST."}
	}
	if err := h.Keys.Ready(); err != nil || keyset.WebhooksOff(h.Keys) {
		return unavailable()
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	release, ok := h.makeRoom(r)
	if !ok {
		return unavailable()
	}
	defer release()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, is := errors.AsType[*http.MaxBytesError](err); is {
			return tooLarge()
		}
		return answer{result: metrics.WebhookBadRequest, status: http.StatusBadRequest, text: "The event did not come whole: send it again."}
	}
	name := types.NamespacedName{Namespace: r.PathValue(WildcardNamespace), Name: r.PathValue(WildcardApplication)}
	log := h.Log.WithValues("application", name.String())
	application := &v1alpha1.OAuthApplication{}
	if err := h.Reader.Get(r.Context(), name, application); err != nil {
		if !apierrors.IsNotFound(err) {
			log.Error(err, "cannot look for the application of an event")
			return failed()
		}
		return refused(metrics.WebhookUnknown)
	}
	return h.judge(r, log, application, body)
}

// makeRoom waits until there is memory for the body; release gives it back, once nothing of the body is needed.
func (h *Handler) makeRoom(r *http.Request) (release func(), ok bool) {
	if r.ContentLength >= 0 && r.ContentLength <= smallBody {
		return func() {}, true
	}
	ctx, cancel := context.WithTimeout(r.Context(), roomFor)
	defer cancel()
	select {
	case h.large <- struct{}{}:
		return func() { <-h.large }, true
	case <-ctx.Done():
		return nil, false
	}
}

// judge decides whether the event is true.
func (h *Handler) judge(r *http.Request, log logr.Logger, application *v1alpha1.OAuthApplication, body []byte) answer {
	prepared := h.prepare(log, application)
	secret, ok := h.Keys.WebhookSecret(application.UID)
	if prepared.verifier == nil || !ok {
		return refused(metrics.WebhookUnknown)
	}
	now := h.Clock.Now()
	event, err := h.verify(r.Context(), prepared, secret, Request{Header: r.Header, Body: body, URL: application.Status.WebhookURL, ReceivedAt: now})
	if err != nil {
		// Anybody can cause this: it is counted, and told to those who want to know.
		log.V(1).Info("event refused", "cause", err.Error())
	}
	switch {
	case errors.Is(err, ErrUnsigned):
		return refused(metrics.WebhookUnsigned)
	case errors.Is(err, ErrForged):
		return refused(metrics.WebhookForged)
	case errors.Is(err, ErrStale):
		return answer{result: metrics.WebhookStale, status: http.StatusBadRequest, text: "The time of the event is too far from now."}
	case errors.Is(err, ErrUnreadable):
		return answer{result: metrics.WebhookUnreadable, status: http.StatusBadRequest, text: "The event is not JSON: choose application/json where the webhook is registered."}
	case err != nil:
		return failed()
	}
	d := delivery{Handler: h, log: log, application: application, event: event, now: now, keepUntil: now.Add(2*prepared.tolerance + clockSkew)}
	return d.heed(r.Context())
}

// verify is Verifier.Verify, where an event waits for its turn to be read.
func (h *Handler) verify(ctx context.Context, p *preparedVerifier, secret sensitive.String, r Request) (Event, error) {
	proven, err := p.verifier.authenticate(secret, r)
	if err != nil {
		return Event{}, err
	}
	for _, turn := range []chan struct{}{p.reading, h.reading} {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
	return p.verifier.read(proven, r)
}

// preparedVerifier is what was made of one generation of an application.
type preparedVerifier struct {
	generation int64
	// verifier is nil when the application takes no events, or its webhook cannot be used.
	verifier  *Verifier
	tolerance time.Duration
	// reading is sent to while an event of the application is read.
	reading chan struct{}
}

// prepare reads the webhook of an application, once for each generation: it can take longer than a stranger's request is
// worth.
func (h *Handler) prepare(log logr.Logger, application *v1alpha1.OAuthApplication) *preparedVerifier {
	if kept, known := h.verifiers.Get(application.UID); known {
		if p, ok := kept.(*preparedVerifier); ok && p.generation == application.Generation {
			return p
		}
	}
	p := &preparedVerifier{generation: application.Generation, reading: make(chan struct{}, 1)}
	effective, err := h.Catalogue.Effective(&application.Spec)
	if err == nil && effective.Webhook != nil {
		p.tolerance = Tolerance(effective.Webhook)
		p.verifier, err = NewVerifier(effective.Webhook)
	}
	if err != nil {
		p.verifier = nil
		log.Info("the application's webhook cannot be used", "cause", err.Error())
	}
	h.verifiers.Add(application.UID, p)
	return p
}
