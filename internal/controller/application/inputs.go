// SPDX-License-Identifier: Apache-2.0

package application

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// maxCABundle and maxValue keep the kept copy within what a Secret can hold: the one holds for CA bundles, the other
	// for all else.
	maxCABundle = 256 << 10
	maxValue    = 32 << 10
	// maxWebhookSecret leaves room for those of many applications among the gateway's keys.
	maxWebhookSecret = 4 << 10
	// maxListedKeys bounds how many keys of a Secret a message lists.
	maxListedKeys = 10
)

// inputValues are the values that a spec refers to.
type inputValues struct {
	id                       string
	secret, key, certificate sensitive.String
	// pair are the parts of certificate while they are read.
	pair    struct{ certificate, key string }
	secrets map[string]sensitive.String
	webhook *registration.Webhook
	ca      []byte
	sources []registration.Source
}

// resolveInputs takes the values from what was read, or from the kept client when nothing has changed since.
func resolveInputs(f facts, spec *v1alpha1.OAuthApplicationSpec, r rules) (inputValues, *verdict) {
	values := inputValues{id: spec.Client.ID}
	if f.unchanged {
		values.sources = f.kept.Sources
		for _, in := range f.inputs {
			values.takeKept(in.reference, f.kept)
		}
		return values, nil
	}
	for _, in := range f.inputs {
		if problem := checkInput(in, spec, r); problem != nil {
			return inputValues{}, problem
		}
		if in.exists && !slices.Contains(values.sources, in.source) {
			values.sources = append(values.sources, in.source)
		}
		values.take(in)
	}
	if pair := values.pair; pair.certificate != "" {
		values.certificate = sensitive.New(pair.certificate + "\n" + pair.key)
		if problem := checkPair(f, pair.certificate, pair.key); problem != nil {
			return inputValues{}, problem
		}
	}
	return values, nil
}

// take takes the value of one reference as it was read and judged.
func (v *inputValues) take(in input) {
	switch text := trimLineEnd(in.value); in.use {
	case useClientID:
		v.id = text
	case useClientSecret:
		v.secret = sensitive.New(text)
	case useSigningKey:
		v.key = sensitive.New(string(in.value))
	case useTLSKey:
		v.pair.key = string(in.value)
	case useTLSCertificate:
		v.pair.certificate = string(in.value)
	case useCA:
		v.ca = in.value
	case useValue:
		v.setSecret(in.reference, sensitive.New(text))
	case useWebhookSecret:
		v.webhook = webhookOf(in)
	}
}

// webhookOf takes the secret of a webhook from what was found. Nothing but events depends on it.
func webhookOf(in input) *registration.Webhook {
	read := &registration.Webhook{From: provider.SecretKey(in.name, in.key)}
	switch text := trimLineEnd(in.value); {
	case strings.TrimSpace(text) == "":
	case len(in.value) > maxWebhookSecret || !printable(in.value):
		read.Unusable = true
	default:
		read.Secret = sensitive.New(text)
	}
	return read
}

func (v *inputValues) setSecret(ref reference, value sensitive.String) {
	if v.secrets == nil {
		v.secrets = map[string]sensitive.String{}
	}
	v.secrets[provider.SecretKey(ref.name, ref.key)] = value
}

// takeKept takes the value of one reference from a kept client that has it.
func (v *inputValues) takeKept(ref reference, kept *registration.Client) {
	switch ref.use {
	case useClientID:
		v.id = kept.OAuth.ID
	case useClientSecret:
		v.secret = kept.OAuth.Secret
	case useSigningKey:
		v.key = kept.Key
	case useTLSKey, useTLSCertificate:
		v.certificate = kept.Certificate
	case useCA:
		v.ca = kept.CA
	case useValue:
		v.setSecret(ref, kept.Secrets[provider.SecretKey(ref.name, ref.key)])
	case useWebhookSecret:
		v.webhook = kept.Webhook
	}
}

// holds tells whether a kept client has the value of a reference, or knows that an optional one has none. One of an older operator, or of an older preset, may lack
// some although its sources are the same.
func holds(kept *registration.Client, ref reference) bool {
	var values inputValues
	values.takeKept(ref, kept)
	switch ref.use {
	case useClientID:
		return values.id != ""
	case useClientSecret:
		return !values.secret.IsEmpty()
	case useSigningKey:
		return !values.key.IsEmpty()
	case useTLSKey, useTLSCertificate:
		return !values.certificate.IsEmpty()
	case useCA:
		return len(values.ca) > 0
	case useValue:
		return !kept.Secrets[provider.SecretKey(ref.name, ref.key)].IsEmpty()
	case useWebhookSecret:
		return kept.Webhook != nil && kept.Webhook.From == provider.SecretKey(ref.name, ref.key)
	}
	return false
}

// trimLineEnd drops what `echo` and editors add. Neither a client secret ends in a line break, since it is printable ASCII
// (RFC 6749, appendix A.2), nor can a header.
func trimLineEnd(value []byte) string { return strings.TrimRight(string(value), "\r\n") }

// checkInput judges one value that the spec refers to. What is missing may come at any time, and is then noticed.
func checkInput(in input, spec *v1alpha1.OAuthApplicationSpec, r rules) *verdict {
	if in.use == useWebhookSecret {
		return nil // Nothing waits for it; see checkWebhook.
	}
	reason := v1alpha1.ReasonSecretNotFound
	if in.use == useCA {
		reason = v1alpha1.ReasonCABundleInvalid
	}
	waiting := func(message string) *verdict {
		return &verdict{reason: reason, message: in.field + ": " + message, progressing: true}
	}
	object := fmt.Sprintf("%s %q", in.kind, in.name)
	switch {
	case !in.exists:
		return waiting(fmt.Sprintf("%s does not exist in this namespace; create it with key %q", object, in.key))
	case !in.found:
		return waiting(fmt.Sprintf("%s has no key %q (keys: %s)", object, in.key, listKeys(in.keys)))
	case len(strings.TrimSpace(string(in.value))) == 0:
		return waiting(fmt.Sprintf("key %q of %s is empty", in.key, object))
	}
	problem := checkContent(in, spec, r)
	if problem == "" {
		return nil
	}
	if in.use != useCA {
		reason = v1alpha1.ReasonInvalidConfiguration
	}
	return &verdict{reason: reason, message: fmt.Sprintf("%s: key %q of %s%s", in.field, in.key, object, problem), stalled: true}
}

// checkContent says what is wrong with a value that is there; empty: nothing. It never repeats it.
func checkContent(in input, spec *v1alpha1.OAuthApplicationSpec, r rules) string {
	switch in.use {
	case useCA:
		if len(in.value) > maxCABundle {
			return fmt.Sprintf(" has %d bytes; a CA bundle may have %d: name the provider's own CA only", len(in.value), maxCABundle)
		}
		if err := r.checkCA(in.value); err != nil {
			return ": " + err.Error()
		}
		return ""
	case useClientID, useClientSecret, useValue:
		if !printable(in.value) {
			return " is not printable text; data in a Secret is encoded in Base64 once, stringData not at all"
		}
	case useSigningKey:
		if err := checkSigningKey(in.value, spec); err != nil {
			return ": " + err.Error()
		}
	case useTLSKey, useTLSCertificate: // Both are judged together.
	case useWebhookSecret: // It is judged where it is read.
	}
	if len(in.value) > maxValue {
		return fmt.Sprintf(" has %d bytes; it may have %d", len(in.value), maxValue)
	}
	return ""
}

// checkSigningKey tells whether a key can make the assertions that the spec asks for, before one is needed.
func checkSigningKey(content []byte, spec *v1alpha1.OAuthApplicationSpec) error {
	key, err := oauth.ParseSigningKey(content)
	if err != nil || spec.Client.Assertion == nil {
		return err
	}
	if err := key.CheckAlgorithm(string(spec.Client.Assertion.Algorithm)); err != nil {
		return fmt.Errorf("%w (client.assertion.algorithm)", err)
	}
	return nil
}

// checkPair judges a client certificate and its key.
func checkPair(f facts, certificate, key string) *verdict {
	_, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err == nil {
		return nil
	}
	var named []string
	object := ""
	for _, in := range f.inputs {
		if in.use == useTLSKey || in.use == useTLSCertificate {
			named, object = append(named, strconv.Quote(in.key)), in.name
		}
	}
	return &verdict{
		reason: v1alpha1.ReasonInvalidConfiguration, stalled: true,
		message: fmt.Sprintf("client.secretRef: keys %s of Secret %q are no client certificate and its private key (PEM): %v",
			strings.Join(named, " and "), object, err),
	}
}

// checkValidity adds to the decision what a client certificate's own dates say.
func checkValidity(f facts, client *registration.Client, d *decision) {
	leaf := leafOf(client.Certificate)
	switch {
	case leaf == nil:
	case f.now.After(leaf.NotAfter):
		d.degrade(expiredCertificate(leaf.NotAfter))
	case f.now.Before(leaf.NotBefore):
		d.degrade(earlyCertificate(leaf.NotBefore))
		d.wake(leaf.NotBefore)
	default:
		d.wake(leaf.NotAfter.Add(time.Second))
	}
}

// checkWebhook adds to the decision what a webhook lacks that the application itself describes. A preset's waits in silence
// for its secret: most who use the preset have no webhook at the provider.
func checkWebhook(f facts, client *registration.Client, d *decision) {
	reference, has := provider.WebhookSecret(client.Spec)
	if _, known := client.WebhookSecret(); known || !has {
		return
	}
	unusable := client.Webhook != nil && client.Webhook.Unusable
	if f.application.Spec.Webhook != nil || unusable {
		d.degrade(deafWebhook(reference, unusable))
	}
}

// webhookURL is where the gateway takes the provider's events; empty: nowhere.
func webhookURL(inUse *registration.Client, r rules) string {
	if inUse == nil || r.ExternalURL == "" {
		return ""
	}
	if _, known := inUse.WebhookSecret(); !known {
		return ""
	}
	return strings.TrimSuffix(r.ExternalURL, "/") + v1alpha1.PathWebhooks + "/" + inUse.Application.Namespace + "/" + inUse.Application.Name
}

// leafOf reads the first certificate of a PEM file; nil: there is none.
func leafOf(certificate sensitive.String) *x509.Certificate {
	for rest := []byte(certificate.Reveal()); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil
			}
			return leaf
		}
	}
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
