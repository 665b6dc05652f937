// SPDX-License-Identifier: Apache-2.0

// Package pending is the one way from the public processes to the controller: a Secret of its own type in the operator's
// namespace that carries one message. The gateway and the API can create such Secrets and read none; the controller empties
// a message once it has been taken, and deletes it when what it came from can no longer be replayed. A name is used once:
// creating it a second time conflicts, which is how replays are found across replicas.
package pending

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Annotations of a message; what is in them is not secret and stays when it is emptied.
const (
	// AnnotationConnection names the connection, namespace/name.
	AnnotationConnection = v1alpha1.GroupName + "/connection"
	// AnnotationConnectionUID is the UID of the connection.
	AnnotationConnectionUID = v1alpha1.GroupName + "/connection-uid"
	// AnnotationApplication names the application, namespace/name.
	AnnotationApplication = v1alpha1.GroupName + "/application"
	// AnnotationKeepUntil is when the name may be used again, RFC 3339.
	AnnotationKeepUntil = v1alpha1.GroupName + "/keep-until"
)

// keyMessage is the one key of a message's data.
const keyMessage = "message"

// maxMessage bounds a message, in bytes of JSON: a code, a verifier and some captured values.
const maxMessage = 64 << 10

// Bounds of what goes from a message into status and events, in bytes. A gateway writes less; one that was taken over may not
// make a status that the API server refuses, or a line that a terminal obeys.
const (
	maxEvent = 256
	maxText  = 2 << 10
)

// The forms of a reason in the API, and of what identifies a login.
var (
	reason = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`)
	login  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// MaxKeep bounds how long a message is kept, whatever it says.
const MaxKeep = 2 * time.Hour

// Kind says what a message is.
type Kind string

// Kinds of messages.
const (
	// AuthorizationResponse : a person came back from the provider, with a code or an error.
	AuthorizationResponse Kind = "AuthorizationResponse"
	// GrantHint : the provider says that a grant has ended.
	GrantHint Kind = "GrantHint"
	// RefreshRequest : an access token does not work, or has expired, and a caller of the API waits for another.
	RefreshRequest Kind = "RefreshRequest"
	// RefreshTokenImport : a caller of the API brings the refresh token of a grant that exists.
	RefreshTokenImport Kind = "RefreshTokenImport"
	// LinkRequest : a person wants to authorize a connection that may not need it.
	LinkRequest Kind = "LinkRequest"
)

// Message is one message. Exactly the member that its kind names is set.
type Message struct {
	// Connection and its UID say whose it is; both are empty in a hint about a grant that no connection is known to hold.
	Connection    types.NamespacedName
	ConnectionUID types.UID
	// Application and its UID.
	Application    types.NamespacedName
	ApplicationUID types.UID
	// ReceivedAt is when the gateway got what it tells.
	ReceivedAt time.Time
	// KeepUntil is when what it came from can no longer be replayed.
	KeepUntil time.Time

	Response   *Response
	Hint       *Hint
	Renewal    *Renewal
	Import     *Import
	Invitation *Invitation
}

// Response is how a login came back.
type Response struct {
	// Login identifies the login; it comes back in the connection's status.lastAuthorization.id.
	Login string
	// Generation of the connection that the person was asked about.
	Generation int64
	// Code and Verifier are empty when Reason is set. A verifier is empty too where PKCE is disabled.
	Code, Verifier sensitive.String
	// RedirectURL that the code was asked for with.
	RedirectURL string
	// Captured are the callback's values that the application keeps, by name.
	Captured map[string]string
	// Reason is one of the API's when there is no code, and Message says more to people; empty: there is a code.
	Reason, Message string
}

// Hint is an event of the provider's that says that a grant has ended. Its signature was good.
type Hint struct {
	// ID identifies the event.
	ID string
	// EventType is the provider's name of what has happened.
	EventType string
	// GrantID and Subject are the provider's names of the grant and the account; empty ones were not given.
	GrantID, Subject string
	// At is when the event was sent, by its signed time, else when it was received.
	At time.Time
}

// Renewal is a report that an access token is of no use.
type Renewal struct {
	// TokenHash identifies the token (sensitive.String.Hash): a newer one has answered the report.
	TokenHash string
	// Verify asks whether the grant still exists: a token that was renewed for this does not work either.
	Verify bool
}

// Import is a grant that was obtained elsewhere.
type Import struct {
	// Login identifies the import; it comes back in the connection's status.lastAuthorization.id.
	Login string
	// Generation of the connection that it was brought for.
	Generation   int64
	RefreshToken sensitive.String
}

// Invitation asks for a link for a person.
type Invitation struct{}

// Kind of the message.
func (m *Message) Kind() Kind {
	switch {
	case m.Response != nil:
		return AuthorizationResponse
	case m.Renewal != nil:
		return RefreshRequest
	case m.Import != nil:
		return RefreshTokenImport
	case m.Invitation != nil:
		return LinkRequest
	}
	return GrantHint
}

// members counts those that are set.
func (m *Message) members() int {
	count := 0
	for _, set := range []bool{m.Response != nil, m.Hint != nil, m.Renewal != nil, m.Import != nil, m.Invitation != nil} {
		if set {
			count++
		}
	}
	return count
}

// Name of a message about one thing, such as a login or an event: parts are what distinguishes it from others. It tells
// nothing of them.
func Name(kind Kind, parts ...string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s %q", kind, parts)))
	const bytes = 20
	return v1alpha1.PendingPrefix + hex.EncodeToString(sum[:bytes])
}

// document is a message as it is stored.
type document struct {
	Kind           Kind              `json:"kind"`
	ConnectionUID  types.UID         `json:"connectionUID,omitempty"`
	ApplicationUID types.UID         `json:"applicationUID,omitempty"`
	ReceivedAt     time.Time         `json:"receivedAt"`
	Login          string            `json:"login,omitempty"`
	Generation     int64             `json:"generation,omitempty"`
	Code           string            `json:"code,omitempty"`
	Verifier       string            `json:"verifier,omitempty"`
	RedirectURL    string            `json:"redirectURL,omitempty"`
	Captured       map[string]string `json:"captured,omitempty"`
	Reason         string            `json:"reason,omitempty"`
	Message        string            `json:"message,omitempty"`
	Event          string            `json:"event,omitempty"`
	EventType      string            `json:"eventType,omitempty"`
	GrantID        string            `json:"grantID,omitempty"`
	Subject        string            `json:"subject,omitempty"`
	EventAt        *time.Time        `json:"eventAt,omitempty"`
	TokenHash      string            `json:"tokenHash,omitempty"`
	Verify         bool              `json:"verify,omitempty"`
	RefreshToken   string            `json:"refreshToken,omitempty"`
}

// Encode writes a message as a Secret to create. An error means that it is too long or incomplete.
func Encode(namespace, name string, m Message) (*corev1.Secret, error) {
	d := document{Kind: m.Kind(), ConnectionUID: m.ConnectionUID, ApplicationUID: m.ApplicationUID, ReceivedAt: m.ReceivedAt.UTC()}
	if m.members() != 1 {
		return nil, errors.New("a message says one thing")
	}
	switch {
	case m.Renewal != nil:
		d.TokenHash, d.Verify = m.Renewal.TokenHash, m.Renewal.Verify
	case m.Import != nil:
		d.Login, d.Generation, d.RefreshToken = m.Import.Login, m.Import.Generation, m.Import.RefreshToken.Reveal()
	case m.Invitation != nil:
	case m.Response != nil:
		r := m.Response
		d.Login, d.Generation, d.Code, d.Verifier = r.Login, r.Generation, r.Code.Reveal(), r.Verifier.Reveal()
		d.RedirectURL, d.Captured, d.Reason, d.Message = r.RedirectURL, r.Captured, r.Reason, r.Message
	default:
		h := m.Hint
		at := h.At.UTC()
		d.Event, d.EventType, d.GrantID, d.Subject, d.EventAt = h.ID, h.EventType, h.GrantID, h.Subject, &at
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	content, err := json.Marshal(d)
	if err != nil {
		return nil, errors.New("the message cannot be written down") // The cause could quote it.
	}
	if len(content) > maxMessage {
		return nil, fmt.Errorf("the message is longer than %d bytes", maxMessage)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels:      map[string]string{v1alpha1.LabelRecord: v1alpha1.RecordPending},
			Annotations: map[string]string{AnnotationKeepUntil: m.KeepUntil.UTC().Format(time.RFC3339)},
		},
		Type: v1alpha1.SecretTypePending,
		Data: map[string][]byte{keyMessage: content},
	}
	if m.ConnectionUID != "" {
		secret.Annotations[AnnotationConnection] = m.Connection.String()
		secret.Annotations[AnnotationConnectionUID] = string(m.ConnectionUID)
	}
	if m.Application.Name != "" {
		secret.Annotations[AnnotationApplication] = m.Application.String()
	}
	return secret, nil
}

// Is tells whether a Secret is a message, emptied or not.
func Is(secret *corev1.Secret) bool {
	return secret.Type == v1alpha1.SecretTypePending && strings.HasPrefix(secret.Name, v1alpha1.PendingPrefix)
}

// Emptied tells whether a message was taken.
func Emptied(secret *corev1.Secret) bool { return len(secret.Data) == 0 }

// Empty returns a message without what it said. Its name stays taken, so that what it came from cannot be replayed.
func Empty(secret *corev1.Secret) *corev1.Secret {
	next := secret.DeepCopy()
	next.Data = nil
	return next
}

// KeepUntil is when a message can be deleted: what it says, but never later than MaxKeep after it was created.
func KeepUntil(secret *corev1.Secret) time.Time {
	latest := secret.CreationTimestamp.Add(MaxKeep)
	at, err := time.Parse(time.RFC3339, secret.Annotations[AnnotationKeepUntil])
	if err != nil || at.After(latest) {
		return latest
	}
	return at
}

// Decode reads a message that was not emptied. Errors quote nothing of it.
func Decode(secret *corev1.Secret) (Message, error) {
	var d document
	content := secret.Data[keyMessage]
	if !Is(secret) || len(content) == 0 || len(content) > maxMessage || json.Unmarshal(content, &d) != nil {
		return Message{}, errors.New("not a message")
	}
	if err := d.check(); err != nil {
		return Message{}, err
	}
	m := Message{
		Connection: parseName(secret.Annotations[AnnotationConnection]), ConnectionUID: d.ConnectionUID,
		Application: parseName(secret.Annotations[AnnotationApplication]), ApplicationUID: d.ApplicationUID,
		ReceivedAt: d.ReceivedAt, KeepUntil: KeepUntil(secret),
	}
	d.fill(&m)
	return m, nil
}

// fill sets the member that the kind names.
func (d *document) fill(m *Message) {
	switch d.Kind {
	case AuthorizationResponse:
		m.Response = &Response{
			Login: d.Login, Generation: d.Generation, Code: sensitive.New(d.Code), Verifier: sensitive.New(d.Verifier),
			RedirectURL: d.RedirectURL, Captured: d.Captured, Reason: d.Reason, Message: sensitive.Scrub(d.Message, maxText),
		}
	case RefreshRequest:
		m.Renewal = &Renewal{TokenHash: d.TokenHash, Verify: d.Verify}
	case RefreshTokenImport:
		m.Import = &Import{Login: d.Login, Generation: d.Generation, RefreshToken: sensitive.New(d.RefreshToken)}
	case LinkRequest:
		m.Invitation = &Invitation{}
	case GrantHint:
		m.Hint = &Hint{ID: d.Event, EventType: sensitive.Scrub(d.EventType, maxText), GrantID: d.GrantID, Subject: d.Subject, At: d.ReceivedAt}
		if d.EventAt != nil {
			m.Hint.At = *d.EventAt
		}
	}
}

func (d *document) check() error {
	switch d.Kind {
	case AuthorizationResponse:
		return d.checkResponse()
	case RefreshTokenImport:
		if d.ConnectionUID == "" || d.RefreshToken == "" || !login.MatchString(d.Login) {
			return errors.New("an import needs a connection, a login and a refresh token")
		}
	case GrantHint:
		return d.checkHint()
	case RefreshRequest, LinkRequest:
		if d.ConnectionUID == "" || (d.Kind == RefreshRequest && d.TokenHash == "") || len(d.TokenHash) > maxEvent {
			return errors.New("a request needs a connection, and one for a refresh the hash of a token")
		}
	default:
		return errors.New("a message of an unknown kind")
	}
	return nil
}

func (d *document) checkHint() error {
	if d.Event == "" || d.ApplicationUID == "" {
		return errors.New("a hint needs an event and an application")
	}
	if len(d.Event) > maxEvent {
		return errors.New("the event of a hint has a name that is too long")
	}
	return nil
}

func (d *document) checkResponse() error {
	if d.Login == "" || d.ConnectionUID == "" || (d.Code == "") == (d.Reason == "") {
		return errors.New("an authorization response needs a login, a connection, and either a code or a reason")
	}
	if !login.MatchString(d.Login) || (d.Reason != "" && !reason.MatchString(d.Reason)) {
		return errors.New("the login or the reason of an authorization response is none")
	}
	return nil
}

func parseName(text string) types.NamespacedName {
	namespace, name, _ := strings.Cut(text, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}
