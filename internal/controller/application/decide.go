// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

const (
	// discoveryAge is how long a discovery document serves before it is read again, less up to a tenth by a hash of the
	// application's UID.
	discoveryAge = 24 * time.Hour
	readyMessage = "connections can use this application"
)

// verdict is one judgement: it becomes the conditions and, when it is new, an event.
type verdict struct {
	ready           bool
	reason, message string
	// progressing: it goes on by itself. stalled: only a person can go on. A verdict may be neither.
	progressing, stalled bool
}

// decision is what a pass does.
type decision struct {
	// client is to be kept; nil leaves what is kept as it is.
	client *registration.Client
	// discover, when set, is the document to ask for.
	discover *discoveryRequest
	// list, when set, is the listing to make.
	list *listRequest
	// listed is the client by whose description the provider's connections are listed; nil: they are not.
	listed  *registration.Client
	verdict verdict
	// failure is why the document could not be read with this configuration; nil when it could, or was not tried.
	failure *callFailure
	// degraded explains what is wrong although the application is ready.
	degraded []degradation
	// webhookURL is where the gateway takes the provider's events; empty: nowhere.
	webhookURL string
	// wakeAt is when to look again without any event; zero for not at all.
	wakeAt time.Time
}

// degradation is something that is wrong although connections can use the application.
type degradation struct {
	// reason and action are those of its event.
	reason, action string
	// what is the unchanging beginning of the text, and detail the rest.
	what, detail string
}

func (d *decision) degrade(one degradation) { d.degraded = append(d.degraded, one) }

// wake asks for another look at a time.
func (d *decision) wake(at time.Time) {
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
	}
}

// discoveryRequest is what an attempt at discovery needs.
type discoveryRequest struct {
	issuer string
	ca     []byte
	trust  string
	limits provider.Limits
	// basis identifies the configuration; with another one earlier failures do not count.
	basis string
}

// decide judges an application that is not being deleted. The checks go from what costs nothing to what needs the
// provider; the first that fails is the verdict, and then what is kept stays in use for the grants that exist.
func decide(f facts, r rules) decision {
	d := resolve(f, r)
	if d.listed = d.client; d.listed == nil {
		d.listed = f.kept
	}
	d.webhookURL = webhookURL(d.listed, r)
	scheduleListing(f, &d)
	if d.client != nil {
		checkValidity(f, d.client, &d)
		checkWebhook(f, d.client, &d)
		d.verdict = judge(f, d)
	}
	return d
}

// resolve makes the client, or says in the verdict why it cannot.
func resolve(f facts, r rules) decision {
	spec, err := r.catalogue.Effective(&f.application.Spec)
	if err == nil {
		err = provider.Validate(spec, r.Rules)
	}
	if err != nil {
		return decision{verdict: invalid(err)}
	}
	inputs, problem := resolveInputs(f, spec, r)
	if problem != nil {
		return decision{verdict: *problem}
	}
	d := decision{}
	document := discover(f, spec, inputs.ca, &d)
	if spec.IssuerURL != "" && document == nil {
		d.verdict = undiscovered(d.failure)
		return d
	}
	var metadata *oauth.Metadata
	if document != nil {
		metadata = &document.Metadata
	}
	resolved, err := provider.Resolve(spec, metadata, r.Rules)
	if err != nil {
		d.verdict = invalid(err)
		return d
	}
	d.client = compose(f, inputs, document, resolved)
	return d
}

// compose makes the client to keep out of its parts. It starts from what is kept, which carries the pauses and the
// version that a write replaces.
func compose(f facts, inputs inputValues, document *registration.Discovery, resolved provider.Resolved) *registration.Client {
	client := &registration.Client{}
	if f.kept != nil {
		*client = *f.kept
	}
	client.Application = registration.Application{
		Namespace: f.application.Namespace, Name: f.application.Name, UID: f.application.UID,
	}
	client.Generation = f.application.Generation
	client.Spec = resolved.Spec
	client.OAuth = oauth.Client{
		ID: inputs.id, Secret: inputs.secret, Authentication: resolved.Authentication,
		Basic: oauth.BasicCredentials(resolved.Spec.Client.BasicCredentials),
	}
	client.RevocationAuthentication = resolved.RevocationAuthentication
	client.Key, client.Certificate, client.Secrets = inputs.key, inputs.certificate, inputs.secrets
	client.Webhook = inputs.webhook
	client.RedirectURL = resolved.RedirectURL
	client.CA = inputs.ca
	client.Limits = registration.Limits(resolved.Limits)
	client.Discovery = document
	client.Sources = inputs.sources
	return client
}

// judge gives the verdict on a complete client.
func judge(f facts, d decision) verdict {
	if gone(f, d) {
		return verdict{
			reason: v1alpha1.ReasonApplicationDeleted, stalled: true,
			message: "the provider's list of applications says that this client no longer exists there; register another one and give its id and secret here, or delete this application",
		}
	}
	if lane, pause, ok := longestPause(d.client); ok {
		tokenURL, grantType := registration.ParseLane(lane)
		return verdict{reason: pause.Reason, message: d.explain(pauseMessage(pause, d.client.OAuth.Authentication, host(tokenURL), grantType)), stalled: true}
	}
	return verdict{ready: true, reason: v1alpha1.ReasonReady, message: d.explain(readyMessage)}
}

// explain adds to a message what else is wrong.
func (d *decision) explain(message string) string {
	for _, one := range d.degraded {
		message += "; " + one.what + one.detail
	}
	return message
}

// longestPause picks one pause to report, always the same one of several.
func longestPause(client *registration.Client) (string, registration.Pause, bool) {
	var chosen string
	var longest registration.Pause
	for lane := range client.Pauses {
		pause, ok := client.Paused(lane)
		if !ok {
			continue
		}
		if chosen == "" || pause.Since.Before(longest.Since) || (pause.Since.Equal(longest.Since) && lane < chosen) {
			chosen, longest = lane, pause
		}
	}
	return chosen, longest, chosen != ""
}

func pauseMessage(pause registration.Pause, authentication oauth.AuthenticationMethod, host, grantType string) string {
	what, remedy := "does not accept the client", "check client.id, client.secretRef and client.authentication against the registration at the provider"
	if authentication == oauth.PrivateKeyJWT || authentication == oauth.ServiceAccountToken {
		remedy += "; providers also differ in the audience and the key id that they want: client.assertion.audienceFrom, audience and keyID"
	}
	if pause.Reason == v1alpha1.ReasonUnauthorizedClient {
		what, remedy = "does not let the client use this grant type", "allow it in the client's registration at the provider"
	}
	said := ""
	if pause.Message != "" {
		said = " (" + strings.TrimSuffix(pause.Message, ".") + ")"
	}
	return fmt.Sprintf("since %s, %s %s, asked for grant_type %s%s; %s. Connections with this grant type wait and lose nothing; one of them tries again from time to time",
		pause.Since.UTC().Format(time.RFC3339), host, what, grantType, said, remedy)
}

// host is what of a URL may be shown for certain.
func host(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Host
	}
	return "the provider"
}

func invalid(err error) verdict {
	return verdict{reason: v1alpha1.ReasonInvalidConfiguration, message: err.Error(), stalled: true}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// jitter is a duration below limit that depends on the key alone.
func jitter(key string, limit time.Duration) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key))
	return time.Duration(float64(limit) * float64(hash.Sum32()) / (1 << 32))
}
