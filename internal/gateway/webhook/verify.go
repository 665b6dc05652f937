// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// defaultTolerance is how far the time of an event may be from now.
	defaultTolerance = 5 * time.Minute
	// maxTolerance is the most that can be set.
	maxTolerance = time.Hour
	// defaultEventType is where the type of an event stands.
	defaultEventType = "$.type"
)

// Errors of Verify, from the first that a request can fail at to the last. They quote nothing of it.
var (
	// ErrUnsigned : there is no signature that could be read.
	ErrUnsigned = errors.New("the request has no signature that could be read")
	// ErrForged : the signature is wrong.
	ErrForged = errors.New("the signature is wrong")
	// ErrStale : the signature is right, and the time is too far from now.
	ErrStale = errors.New("the time of the event is too far from now")
	// ErrUnreadable : the signature is right, and the body is not JSON.
	ErrUnreadable = errors.New("the body of the event is not JSON")
)

// Request is what is judged of a request.
type Request struct {
	Header http.Header
	Body   []byte
	// URL is the webhook's public address, which some providers sign.
	URL string
	// ReceivedAt is when it came.
	ReceivedAt time.Time
}

// Event is what a provider says, once its signature is right and its time is near.
type Event struct {
	// ID identifies the event; the signature covers what it is made of.
	ID string
	// Type is the provider's name of what has happened; empty: it does not say.
	Type string
	// GrantID and Subject are the provider's names of the grant and the account; empty ones are not given.
	GrantID, Subject string
	// At is the signed time of sending, else when it was received.
	At time.Time
	// Deauthorized tells whether the type is one that means that a grant has ended.
	Deauthorized bool
	// Challenge is what has to be sent back; nil: nothing.
	Challenge *string
}

// Verifier judges the requests to one application's webhook. It is immutable and safe for concurrent use.
type Verifier struct {
	schemes          []scheme
	tolerance        time.Duration
	typeHeader       string
	typePath         string
	deauthorized     []string
	grantID, subject string
	challenge        *v1alpha1.WebhookChallenge
}

// NewVerifier reads the webhook of an effective spec, which is not changed later. The error says what makes it unusable. It
// takes up to a fraction of a second: keep the result.
func NewVerifier(spec *v1alpha1.WebhookSpec) (*Verifier, error) {
	v := &Verifier{
		tolerance: Tolerance(spec), typeHeader: spec.EventTypeHeader, typePath: either(string(spec.EventType), defaultEventType),
		deauthorized: spec.DeauthorizedEvents, grantID: string(spec.ConnectionID), subject: string(spec.Subject),
		challenge: spec.Challenge,
	}
	for _, signature := range append([]v1alpha1.WebhookSignature{spec.WebhookSignature}, spec.Alternatives...) {
		read, err := newScheme(signature)
		if err != nil {
			return nil, err
		}
		v.schemes = append(v.schemes, read)
	}
	paths := []string{v.typePath, v.grantID, v.subject}
	if v.challenge != nil {
		paths = append(paths, string(v.challenge.Value))
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := oauth.CheckPath(path); err != nil {
			return nil, fmt.Errorf("the path %q: %w", path, err)
		}
	}
	if v.grantID == "" && v.subject == "" {
		return nil, errors.New("it does not say where the grant or the account of an event stands")
	}
	return v, nil
}

// Tolerance is how far the time of an event may be from now, in both directions.
func Tolerance(spec *v1alpha1.WebhookSpec) time.Duration {
	if spec.Tolerance == nil || spec.Tolerance.Duration <= 0 {
		return defaultTolerance
	}
	return min(spec.Tolerance.Duration, maxTolerance)
}

// Verify judges a request: first its signature, then its time, and only then what it says. Without a secret every request
// is forged. The errors are those above.
func (v *Verifier) Verify(secret sensitive.String, r Request) (Event, error) {
	proven, err := v.authenticate(secret, r)
	if err != nil {
		return Event{}, err
	}
	return v.read(proven, r)
}

// read says what a request says that is known to be true. For a large event and paths that look everywhere it takes up to a
// second.
func (v *Verifier) read(proven *claim, r Request) (Event, error) {
	document := oauth.ParseResource(r.Body)
	if !document.IsJSON() {
		return Event{}, ErrUnreadable
	}
	e := Event{ID: proven.eventID(), At: proven.at, Type: v.eventType(r.Header, document)}
	if !proven.timed {
		e.At = r.ReceivedAt
	}
	if v.isChallenge(e.Type, document) {
		answer := document.Text(string(v.challenge.Value))
		e.Challenge = &answer
		return e, nil
	}
	e.Deauthorized = e.Type != "" && slices.Contains(v.deauthorized, e.Type)
	e.GrantID, e.Subject = nameIn(document, v.grantID), nameIn(document, v.subject)
	return e, nil
}

// authenticate tries each way in which events may be signed. Of several failures the one that got farthest is returned.
func (v *Verifier) authenticate(secret sensitive.String, r Request) (*claim, error) {
	// Editors and echo leave a line break behind, which belongs to no secret.
	key, failure := strings.TrimRight(secret.Reveal(), "\r\n"), ErrUnsigned
	for _, each := range v.schemes {
		made, ok := each.claim(r)
		switch {
		case !ok:
		case key == "" || !made.signedWith(each.keys(key)):
			if !errors.Is(failure, ErrStale) {
				failure = ErrForged
			}
		case made.timed && !near(made.at, r.ReceivedAt, v.tolerance):
			failure = ErrStale
		default:
			return made, nil
		}
	}
	return nil, failure
}

func near(at, now time.Time, tolerance time.Duration) bool {
	return !at.Before(now.Add(-tolerance)) && !at.After(now.Add(tolerance))
}

// eventType is what the event says of itself; a header is not signed, and means no more than that the provider is asked.
func (v *Verifier) eventType(header http.Header, document oauth.Resource) string {
	if v.typeHeader == "" {
		return document.Text(v.typePath)
	}
	name, _ := single(header, v.typeHeader)
	return name
}

// isChallenge looks at the default place of the type too: providers that put the types of events deeper say there that this
// is none.
func (v *Verifier) isChallenge(eventType string, document oauth.Resource) bool {
	if v.challenge == nil || v.challenge.EventType == "" {
		return false
	}
	return eventType == v.challenge.EventType || eventType == "" && document.Text(defaultEventType) == v.challenge.EventType
}

func text(document oauth.Resource, path string) string {
	if path == "" {
		return ""
	}
	return document.Text(path)
}

// maxName is the longest name of a grant or an account, in bytes; the controller keeps no longer ones.
const maxName = 1 << 10

// nameIn is text that names something; one that is too long names nothing that anybody knows.
func nameIn(document oauth.Resource, path string) string {
	if name := text(document, path); len(name) <= maxName {
		return name
	}
	return ""
}
