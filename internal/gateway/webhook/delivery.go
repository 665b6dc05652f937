// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

const (
	// clockSkew is how far the clocks of replicas may be apart.
	clockSkew = time.Minute
	// patience bounds how long messages are created for one event: providers do not wait for longer.
	patience = 10 * time.Second
	// atOnce is how many messages of one event are created at a time.
	atOnce = 8
)

// delivery is one event that is true.
type delivery struct {
	*Handler
	log         logr.Logger
	application *v1alpha1.OAuthApplication
	event       Event
	// now is when it was received; keepUntil when it can no longer be replayed.
	now, keepUntil time.Time
}

// heed does what the event asks for.
func (d *delivery) heed(ctx context.Context) answer {
	switch e := d.event; {
	case e.Challenge != nil && *e.Challenge != "":
		d.log.Info("challenge answered")
		return answer{result: metrics.WebhookChallenge, status: http.StatusOK, text: *e.Challenge}
	case e.Challenge != nil, e.Deauthorized && e.GrantID == "" && e.Subject == "":
		d.log.Info("event without what it is about: compare the webhook's paths with what the provider sends", "event", e.ID, "type", e.Type)
		return answer{result: metrics.WebhookUnusable, status: http.StatusOK, text: "Nothing was found in the event that tells what it is about."}
	case !e.Deauthorized:
		return answer{result: metrics.WebhookIgnored, status: http.StatusOK, text: "Events of this type are not needed."}
	}
	found, err := recipients(ctx, d.Reader, d.key(), d.event)
	if err != nil {
		d.log.Error(err, "cannot find whom an event is about", "event", d.event.ID)
		return failed()
	}
	if len(found) > maxRecipients {
		d.log.Info("event about more connections than are told of it", "event", d.event.ID, "connections", len(found), "told", maxRecipients)
		found = found[:maxRecipients]
	}
	known := len(found)
	if known == 0 {
		found = []recipient{{}} // The controller may know more.
	}
	if ok, wait := d.messages.AllowN(string(d.application.UID), len(found)); !ok {
		d.Counter.Limited(metrics.LimitApplication)
		return answer{result: metrics.WebhookLimited, status: http.StatusTooManyRequests, text: "Too many events: send it again later.", retryAfter: wait}
	}
	return d.tell(ctx, found, known)
}

func (d *delivery) key() types.NamespacedName {
	return types.NamespacedName{Namespace: d.application.Namespace, Name: d.application.Name}
}

// tell creates the messages. It goes on when the provider does not wait, because not all send again.
func (d *delivery) tell(ctx context.Context, found []recipient, known int) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	created, replayed, err := d.create(ctx, found)
	switch {
	case err != nil:
		d.log.Error(err, "event not passed on to all", "event", d.event.ID, "type", d.event.Type,
			"connections", known, "created", created, "replayed", replayed)
		return failed()
	case created == 0:
		return answer{result: metrics.WebhookReplayed, status: http.StatusConflict, text: "This event has been taken before."}
	}
	d.log.Info("event taken", "event", d.event.ID, "type", d.event.Type, "connections", known)
	return answer{result: metrics.WebhookAccepted, status: http.StatusOK, text: "The event was taken."}
}

// create makes a message for each recipient, a few at a time. The error is one of those that occurred.
func (d *delivery) create(ctx context.Context, found []recipient) (created, replayed int, err error) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan recipient)
	for range min(atOnce, len(found)) {
		workers.Go(func() {
			for to := range next {
				failure := d.createOne(ctx, to)
				mu.Lock()
				switch {
				case failure == nil:
					created++
				case apierrors.IsAlreadyExists(failure):
					replayed++
				default:
					err = failure
				}
				mu.Unlock()
			}
		})
	}
	for _, to := range found {
		next <- to
	}
	close(next)
	workers.Wait()
	return created, replayed, err
}

func (d *delivery) createOne(ctx context.Context, to recipient) error {
	name := pending.Name(pending.GrantHint, string(d.application.UID), d.event.ID, string(to.uid))
	secret, err := pending.Encode(d.Namespace, name, pending.Message{
		Connection: to.name, ConnectionUID: to.uid,
		Application: d.key(), ApplicationUID: d.application.UID,
		ReceivedAt: d.now, KeepUntil: d.keepUntil,
		Hint: &pending.Hint{
			ID: d.event.ID, EventType: d.event.Type, GrantID: d.event.GrantID, Subject: d.event.Subject, At: d.event.At,
		},
	})
	if err != nil {
		return err
	}
	return d.Creator.Create(ctx, secret)
}
