// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/redact"
)

// Kinds of messages, as they are part of the names.
const (
	messageExpired  = "expired"
	messageRejected = "rejected"
	messageVerify   = "verify"
)

const (
	// askAgainAfter is how long a message's name stays taken: as often the controller is asked about one connection.
	askAgainAfter = time.Minute
	// How often it is tried to create a message, and the first distance of two attempts.
	sendAttempts = 3
	sendPause    = 100 * time.Millisecond
)

// Verify asks the controller to find out whether the grant still exists: a token that was renewed does not work either. It is
// asked at most once a minute for a connection, and not waited for. What goes wrong is logged.
func (s *Source) Verify(ctx context.Context, c *v1alpha1.OAuthConnection, old *Credential) {
	if !s.begin(messageVerify, c.UID) {
		return
	}
	// The caller may be gone by now: its request is over.
	if _, err := s.send(context.WithoutCancel(ctx), c, messageVerify, old); err != nil {
		s.Log.Error(err, "the controller could not be asked to check a grant", "connection", c.Namespace+"/"+c.Name)
	}
}

// begin tells whether this process may ask now, and takes note that it does.
func (s *Source) begin(kind string, connection types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now := kind+"/"+string(connection), s.Clock.Now()
	found, _ := s.asked.Get(key)
	if at, ok := found.(time.Time); ok && now.Sub(at) < askAgainAfter {
		return false
	}
	s.asked.Add(key, now)
	return true
}

// send creates a message. existed: there is one of that name, of this process or another, not older than about a minute.
func (s *Source) send(ctx context.Context, c *v1alpha1.OAuthConnection, kind string, old *Credential) (existed bool, err error) {
	namespace, name := c.ApplicationKey()
	now := s.Clock.Now()
	parts := []string{string(c.UID), kind}
	if kind == messageExpired {
		parts = append(parts, old.Hash)
	}
	secret, err := pending.Encode(s.Namespace, pending.Name(pending.RefreshRequest, parts...), pending.Message{
		Connection: types.NamespacedName{Namespace: c.Namespace, Name: c.Name}, ConnectionUID: c.UID,
		Application: types.NamespacedName{Namespace: namespace, Name: name}, ApplicationUID: old.application,
		ReceivedAt: now, KeepUntil: now.Add(askAgainAfter),
		Renewal: &pending.Renewal{TokenHash: old.Hash, Verify: kind == messageVerify},
	})
	if err != nil {
		return false, err
	}
	for attempt := 1; ; attempt++ {
		bounded, cancel := context.WithTimeout(ctx, readFor)
		err := s.Creator.Create(bounded, secret.DeepCopy())
		cancel()
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
			s.Log.V(1).Info("the controller was asked about an access token", "connection", c.Namespace+"/"+c.Name, "cause", kind, "before", err != nil)
			// A second attempt may have met what the first has left.
			return err != nil && attempt == 1, nil
		case apierrors.IsForbidden(err), apierrors.IsInvalid(err), attempt == sendAttempts:
			s.unbegin(kind, c.UID)
			return false, unanswered(redact.Error(err, old.Token))
		}
		<-s.Clock.After(sendPause << (attempt - 1))
	}
}

// unbegin lets the next caller try what could not be done.
func (s *Source) unbegin(kind string, connection types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Remove(kind + "/" + string(connection))
}
