// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// indexByMessage finds the messages of the gateway and the API that are about a connection (namespace/name).
const indexByMessage = "connection.message"

func indexMessages(object client.Object) []string {
	secret, ok := object.(*corev1.Secret)
	if !ok || !pending.Is(secret) || pending.Emptied(secret) {
		return nil
	}
	return []string{secret.Annotations[pending.AnnotationConnection]}
}

// message is one of the gateway's or the API's, as it is stored.
type message struct {
	secret *corev1.Secret
	pending.Message
	// taken : the record says all that the message said, or it says nothing.
	taken bool
}

// login is what a person or a caller has brought.
type login struct {
	id         string
	generation int64
	// value is a code, or a refresh token; empty with a reason.
	value           sensitive.String
	reason, message string
}

// login of the message; ok is false where it is about something else.
func (m *message) login() (l login, ok bool) {
	switch {
	case m.Response != nil:
		r := m.Response
		return login{id: r.Login, generation: r.Generation, value: r.Code, reason: r.Reason, message: r.Message}, true
	case m.Import != nil:
		return login{id: m.Import.Login, generation: m.Import.Generation, value: m.Import.RefreshToken}, true
	}
	return login{}, false
}

// gatherMessages reads what the gateway and the API have left for the connection, oldest first, and goes on with the first
// login, the first report and the first request that the record does not answer yet.
func (r *Reconciler) gatherMessages(ctx context.Context, s *scope) error {
	var list corev1.SecretList
	err := r.Client.List(ctx, &list, client.InNamespace(r.Namespace), client.MatchingFields{indexByMessage: s.name.String()})
	if err != nil {
		return fmt.Errorf("list messages: %w", err)
	}
	for i := range list.Items {
		secret := &list.Items[i]
		if secret.Annotations[pending.AnnotationConnectionUID] != s.facts.UID {
			continue // For an earlier one of this name.
		}
		m := &message{secret: secret}
		if m.Message, err = pending.Decode(secret); err != nil {
			s.log.Error(err, "a message to the controller cannot be read and is dropped", "secret", secret.Name)
			m.taken = true
		}
		s.messages = append(s.messages, m)
	}
	slices.SortFunc(s.messages, func(a, b *message) int {
		return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), cmp.Compare(a.secret.Name, b.secret.Name))
	})
	for _, m := range s.messages {
		login, isLogin := m.login()
		switch {
		case m.taken:
		case isLogin:
			s.considerLogin(m, login)
		case m.Renewal != nil && s.facts.Nudge == nil:
			nudge := r.nudge(m)
			s.facts.Nudge = &nudge
		case m.Invitation != nil:
			s.facts.Invited = true
		case m.Hint != nil && s.facts.Reported == nil:
			hint := lifecycle.Hint{ID: m.Hint.ID, Type: m.Hint.EventType, At: m.Hint.At}
			if hint.At.After(s.now) {
				hint.At = s.now // The provider's clock is ahead: a list that is read from now on is new enough.
			}
			s.facts.Reported = &hint
		}
	}
	return nil
}

// nudge is what a caller of the API says about a token.
func (r *Reconciler) nudge(m *message) lifecycle.Nudge {
	return lifecycle.Nudge{
		TokenHash: m.Renewal.TokenHash, Verify: m.Renewal.Verify,
		SeenAt: r.nudged.firstSeen(string(m.ConnectionUID), m.secret.Name, r.Clock.Now()),
	}
}

// nudges remembers, by connection UID, when messages were first seen. A name is used again after a minute, and by then the message
// before it was forgotten.
type nudges struct {
	mu   sync.Mutex
	seen map[string]map[string]time.Time
}

func (n *nudges) firstSeen(connection, message string, now time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, known := n.seen[connection][message]; known && now.Sub(at) < pending.MaxKeep {
		return at
	}
	if n.seen == nil {
		n.seen = map[string]map[string]time.Time{}
	}
	if n.seen[connection] == nil {
		n.seen[connection] = map[string]time.Time{}
	}
	n.seen[connection][message] = now
	return now
}

func (n *nudges) forget(connection string, messages ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, message := range messages {
		delete(n.seen[connection], message)
	}
	if len(messages) == 0 || len(n.seen[connection]) == 0 {
		delete(n.seen, connection)
	}
}

// considerLogin goes on with a login, if it is the first one that has not ended.
func (s *scope) considerLogin(m *message, r login) {
	switch {
	case observation(r.reason):
	case s.ended(r):
		m.taken = true // Also when the record names another login by the end of this pass.
	case s.facts.Answer != nil || s.facts.Input.Login != "": // One after the other.
	case !s.tells(s.facts.Record): // The next outcome would hide that from the person who waits for it.
		s.untold = true
	case r.generation > s.connection.Generation: // Our view of the connection is behind.
	case r.generation != s.connection.Generation, s.application != nil && s.application.UID != m.ApplicationUID:
		s.facts.Answer = &lifecycle.Answer{
			Login: r.id, Reason: v1alpha1.ReasonConnectionChanged,
			Message: "the connection or its application changed while a person was at the provider; nothing was stored",
		}
	case s.facts.Person == nil:
		// No gateway sends people here: whoever wrote this is none, or has been taken over.
		s.log.Info("a login of a connection that leaves nothing to a person is dropped", "secret", m.secret.Name, "login", r.id)
		m.taken = true
	case r.reason != "":
		s.facts.Answer = &lifecycle.Answer{Login: r.id, Reason: r.reason, Message: r.message}
	case m.Import != nil:
		s.input = input{value: r.value}
		s.facts.Input = lifecycle.Input{
			State: lifecycle.InputPresent, Hash: r.value.Hash(), Version: "message/" + m.secret.Name,
			Login: r.id, ReceivedAt: m.ReceivedAt, Import: true,
		}
	default:
		s.considerCode(m)
	}
}

// considerCode takes a person's code as the input, unless what came with it cannot be used.
func (s *scope) considerCode(m *message) {
	r := m.Response
	if s.profile != nil {
		if err := s.profile.CheckCaptured(r.Captured); err != nil {
			s.facts.Answer = &lifecycle.Answer{Login: r.Login, Reason: v1alpha1.ReasonAuthorizationFailed, Message: err.Error()}
			return
		}
	}
	s.input = input{value: r.Code, verifier: r.Verifier, redirectURL: r.RedirectURL, captured: r.Captured}
	s.facts.Input = lifecycle.Input{
		State: lifecycle.InputPresent, Hash: r.Code.Hash(), Version: "message/" + m.secret.Name,
		Login: r.Login, ReceivedAt: m.ReceivedAt,
	}
}

// tells says whether status knows how the last login of the record has ended.
func (s *scope) tells(r *lifecycle.Record) bool {
	if r == nil || r.Authorization == nil {
		return true
	}
	told := s.connection.Status.LastAuthorization
	return told != nil && told.ID == r.Authorization.ID
}

// confirmLogin returns errBehind when the message of a login was emptied before. Messages and records come by different
// watches, and a record names its last login alone: one that ended before that would end once more, as the last.
func (r *Reconciler) confirmLogin(ctx context.Context, s *scope, login string) error {
	for _, m := range s.messages {
		of, is := m.login()
		if m.taken || !is || of.id != login || observation(of.reason) {
			continue
		}
		live := &corev1.Secret{}
		err := r.Live.Get(ctx, client.ObjectKeyFromObject(m.secret), live)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return fmt.Errorf("read message %s live: %w", m.secret.Name, err)
		case err != nil, live.UID != m.secret.UID, pending.Emptied(live):
			return errBehind
		}
	}
	return nil
}

// observation tells of what is worth an event and changes nothing: the login itself goes on, or has ended before.
func observation(reason string) bool {
	return reason == v1alpha1.ReasonWrongBrowser || reason == v1alpha1.ReasonResponseReplayed
}

// ended tells that the record says how a login has ended, or holds what it brought. A code that was used is never used
// again, whatever has become of it.
func (s *scope) ended(l login) bool {
	r := s.facts.Record
	if r == nil {
		return false
	}
	return (r.Authorization != nil && r.Authorization.ID == l.id) ||
		(r.Candidate != nil && r.Candidate.Call == l.id) ||
		(!l.value.IsEmpty() && r.HasSpent(l.value.Hash()))
}

// settleMessages empties the messages that the record has taken over.
func (r *Reconciler) settleMessages(ctx context.Context, s *scope) error {
	for _, m := range s.messages {
		if m.Response != nil && !m.taken && observation(m.Response.Reason) {
			loginObserved(r.Recorder, s.connection, m.Response)
		} else if !r.settled(s, m) {
			continue
		}
		if err := r.empty(ctx, m.secret); err != nil {
			return err
		}
		if m.Renewal != nil {
			r.settleNudge(s, m)
		}
	}
	if s.untold {
		r.waker.wakeForCode(s.name) // Status tells it now.
	}
	return nil
}

// settleNudge tells people of a caller's word that nothing came of, and forgets it.
func (r *Reconciler) settleNudge(s *scope, m *message) {
	if s.facts.NudgeInVain(r.nudge(m), s.now) {
		tokenRejected(r.Recorder, s.connection)
	}
	r.nudged.forget(string(m.ConnectionUID), m.secret.Name)
}

// settled tells whether a message has nothing more to say.
func (r *Reconciler) settled(s *scope, m *message) bool {
	login, isLogin := m.login()
	switch {
	case m.taken:
		return true
	case isLogin:
		return s.ended(login)
	case m.Renewal != nil:
		return s.facts.NudgeAnswered(r.nudge(m), s.now)
	case m.Invitation != nil:
		return s.facts.InvitationAnswered(s.now)
	}
	return !s.facts.Heeds(m.Hint.ID, m.Hint.At)
}

// empty takes what a message said out of it. A conflict means that the view was stale: the pass is made again.
func (r *Reconciler) empty(ctx context.Context, secret *corev1.Secret) error {
	if err := r.Client.Update(ctx, pending.Empty(secret)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("empty message %s: %w", secret.Name, err)
	}
	return nil
}
