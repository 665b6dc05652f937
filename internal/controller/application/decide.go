// SPDX-License-Identifier: Apache-2.0

package application

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// discoveryAge is how long a discovery document serves before it is read again, less up to a tenth by a hash of the
	// application's UID.
	discoveryAge = 24 * time.Hour
	// maxCABundle keeps the kept copy within what a Secret can hold.
	maxCABundle = 256 << 10
	// maxListedKeys bounds how many keys of a Secret a message lists.
	maxListedKeys = 10

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
	verdict  verdict
	// failure is why the document could not be read with this configuration; nil when it could, or was not tried.
	failure *discoveryFailure
	// degraded explains what is wrong although the application is ready.
	degraded string
	// wakeAt is when to look again without any event; zero for not at all.
	wakeAt time.Time
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
	spec := &f.application.Spec
	if err := provider.Validate(spec, r.Rules); err != nil {
		return decision{verdict: invalid(err)}
	}
	inputs, problem := resolveInputs(f, r)
	if problem != nil {
		return decision{verdict: *problem}
	}
	d := decision{}
	document := discover(f, inputs.ca, &d)
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
	d.verdict = judge(d)
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
	client.OAuth = oauth.Client{
		ID: f.application.Spec.Client.ID, Secret: inputs.secret, Authentication: resolved.Authentication,
	}
	client.RevocationAuthentication = resolved.RevocationAuthentication
	client.Endpoints = keptEndpoints(resolved.Endpoints)
	client.RedirectURL = resolved.RedirectURL
	client.Parameters = inputs.parameters
	client.ScopeSeparator = resolved.ScopeSeparator
	client.Scopes = resolved.Scopes
	client.CA = inputs.ca
	client.Limits = registration.Limits(resolved.Limits)
	client.Discovery = document
	client.Sources = inputs.sources
	return client
}

func keptEndpoints(e v1alpha1.Endpoints) registration.Endpoints {
	return registration.Endpoints{
		Authorization:       string(e.AuthorizationURL),
		Token:               string(e.TokenURL),
		Refresh:             string(e.RefreshURL),
		Revocation:          string(e.RevocationURL),
		Introspection:       string(e.IntrospectionURL),
		DeviceAuthorization: string(e.DeviceAuthorizationURL),
		UserInfo:            string(e.UserInfoURL),
	}
}

// judge gives the verdict on a complete client.
func judge(d decision) verdict {
	if lane, pause, ok := longestPause(d.client); ok {
		tokenURL, grantType := registration.ParseLane(lane)
		return verdict{reason: pause.Reason, message: pauseMessage(pause, host(tokenURL), grantType), stalled: true}
	}
	message := readyMessage
	if d.degraded != "" {
		message += "; " + d.degraded
	}
	return verdict{ready: true, reason: v1alpha1.ReasonReady, message: message}
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

func pauseMessage(pause registration.Pause, host, grantType string) string {
	what, remedy := "does not accept the client", "check client.id, client.secretRef and client.authentication against the registration at the provider"
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

// inputValues are the values that a spec refers to.
type inputValues struct {
	secret     sensitive.String
	parameters []oauth.Parameter
	ca         []byte
	sources    []registration.Source
}

// resolveInputs takes the values from what was read, or from the kept client when nothing has changed since.
func resolveInputs(f facts, r rules) (inputValues, *verdict) {
	if f.unchanged {
		return inputValues{
			secret: f.kept.OAuth.Secret, parameters: f.kept.Parameters, ca: f.kept.CA, sources: f.kept.Sources,
		}, nil
	}
	var values inputValues
	fromSecrets := map[string]sensitive.String{}
	for _, in := range f.inputs {
		if problem := checkInput(in, r); problem != nil {
			return inputValues{}, problem
		}
		if !slices.Contains(values.sources, in.source) {
			values.sources = append(values.sources, in.source)
		}
		switch in.use {
		case useClientSecret:
			values.secret = sensitive.New(trimLineEnd(in.value))
		case useCA:
			values.ca = in.value
		case useParameter:
			fromSecrets[in.parameter] = sensitive.New(string(in.value))
		}
	}
	if f.application.Spec.TokenRequest == nil {
		return values, nil
	}
	for _, parameter := range f.application.Spec.TokenRequest.Parameters {
		value := fromSecrets[parameter.Name]
		if parameter.Value != nil {
			value = sensitive.New(*parameter.Value)
		}
		values.parameters = append(values.parameters, oauth.Parameter{Name: parameter.Name, Value: value})
	}
	return values, nil
}

// trimLineEnd drops what `echo` and editors add. A client secret never ends in a line break: it is printable ASCII
// (RFC 6749, appendix A.2).
func trimLineEnd(value []byte) string { return strings.TrimRight(string(value), "\r\n") }

// checkInput judges one value that the spec refers to. What is missing may come at any time, and is then noticed.
func checkInput(in input, r rules) *verdict {
	reason := v1alpha1.ReasonSecretNotFound
	if in.use == useCA {
		reason = v1alpha1.ReasonCABundleInvalid
	}
	waiting := func(message string) *verdict {
		return &verdict{reason: reason, message: in.field + ": " + message, progressing: true}
	}
	broken := func(message string) *verdict {
		if in.use != useCA {
			reason = v1alpha1.ReasonInvalidConfiguration
		}
		return &verdict{reason: reason, message: in.field + ": " + message, stalled: true}
	}
	object := fmt.Sprintf("%s %q", in.kind, in.name)
	switch {
	case !in.exists:
		return waiting(fmt.Sprintf("%s does not exist in this namespace; create it with key %q", object, in.key))
	case !in.found:
		return waiting(fmt.Sprintf("%s has no key %q (keys: %s)", object, in.key, listKeys(in.keys)))
	case len(strings.TrimSpace(string(in.value))) == 0:
		return waiting(fmt.Sprintf("key %q of %s is empty", in.key, object))
	case in.use == useCA && len(in.value) > maxCABundle:
		return broken(fmt.Sprintf("key %q of %s has %d bytes; a CA bundle may have %d: name the provider's own CA only", in.key, object, len(in.value), maxCABundle))
	case in.use == useCA:
		if err := r.checkCA(in.value); err != nil {
			return broken(fmt.Sprintf("key %q of %s: %v", in.key, object, err))
		}
	case !printable(in.value):
		return broken(fmt.Sprintf("key %q of %s is not printable text; data in a Secret is encoded in Base64 once, stringData not at all", in.key, object))
	}
	return nil
}

// printable allows the line break that is trimmed.
func printable(value []byte) bool {
	text := trimLineEnd(value)
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

func listKeys(keys []string) string {
	switch {
	case len(keys) == 0:
		return "none"
	case len(keys) > maxListedKeys:
		return strings.Join(keys[:maxListedKeys], ", ") + ", …"
	}
	return strings.Join(keys, ", ")
}

// discover returns the document to use, nil for none, and adds to the decision whether to read it anew, when to look
// again, and what is wrong with a document that could not be read again.
func discover(f facts, ca []byte, d *decision) *registration.Discovery {
	issuer := f.application.Spec.IssuerURL
	if issuer == "" {
		return nil
	}
	request := discoveryRequest{issuer: issuer, ca: ca, trust: egress.Fingerprint(ca), limits: provider.LimitsOf(&f.application.Spec)}
	request.basis = fmt.Sprintf("%d %s %s", f.application.Generation, request.trust, issuer)
	document := newestDocument(f, issuer)
	due := f.now
	if document != nil && document.Trust == request.trust {
		due = document.At.Add(discoveryAge - jitter(string(f.application.UID), discoveryAge/10))
	}
	if f.attempt.basis == request.basis && f.attempt.failure != nil {
		due, d.failure = latest(due, f.attempt.retryAt), f.attempt.failure
		if document != nil {
			d.degraded = fmt.Sprintf("the discovery document of issuerURL could not be read again, the one of %s stays in use: %s",
				document.At.UTC().Format(time.RFC3339), f.attempt.failure.message)
		}
	}
	switch {
	case f.attempt.running: // Its end wakes the controller.
	case due.After(f.now):
		d.wakeAt = due
	default:
		d.discover = &request
	}
	return document
}

// newestDocument chooses between what is kept and what the latest attempt found, which wins when both are of the same
// second. A document under another CA serves on until it has been read again.
func newestDocument(f facts, issuer string) *registration.Discovery {
	var newest *registration.Discovery
	if f.kept != nil && f.kept.Discovery != nil && f.kept.Discovery.Metadata.Issuer == issuer {
		newest = f.kept.Discovery
	}
	found := f.attempt.found
	if found != nil && found.Metadata.Issuer == issuer && (newest == nil || !found.At.Before(newest.At)) {
		newest = found
	}
	return newest
}

// undiscovered is the verdict while there is no document at all.
func undiscovered(failure *discoveryFailure) verdict {
	if failure == nil {
		return verdict{
			reason: v1alpha1.ReasonProgressing, message: "reading the discovery document of issuerURL", progressing: true,
		}
	}
	message := fmt.Sprintf("issuerURL: the discovery document cannot be read: %s. It is tried again with growing distance", failure.message)
	if failure.definite {
		message += "; correct issuerURL, or leave it out and set endpoints"
	}
	return verdict{
		reason: v1alpha1.ReasonDiscoveryFailed, message: message, stalled: failure.definite, progressing: !failure.definite,
	}
}

// failureOf sums up an error of discovery.
func failureOf(err error) (*discoveryFailure, time.Duration) {
	failed := (*oauth.Error)(nil)
	if !errors.As(err, &failed) {
		return &discoveryFailure{message: err.Error()}, 0
	}
	blocked := (*egress.BlockedError)(nil)
	if errors.As(err, &blocked) {
		return &discoveryFailure{message: blocked.Error(), definite: true}, 0
	}
	return &discoveryFailure{message: failed.Error(), definite: failed.Concern == oauth.ConcernApplication}, failed.RetryAfter
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
