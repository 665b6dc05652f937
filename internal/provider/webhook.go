// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// maxTolerance is the most that webhook.tolerance can be, as in the CRD. Events are remembered for twice that.
const maxTolerance = time.Hour

// Placeholders of webhook.signedContent.
const (
	nameBody      = "body"
	nameTimestamp = "timestamp"
	nameURL       = "url"
)

// WebhookSecret tells which key of which Secret holds the secret that signs events. ok is false without a webhook. The name
// is empty where neither the webhook nor client.secretRef names a Secret. Unlike SecretReferences, nothing but events needs
// it: an application is ready without.
func WebhookSecret(spec *v1alpha1.OAuthApplicationSpec) (r SecretReference, ok bool) {
	if spec.Webhook == nil {
		return SecretReference{}, false
	}
	given := spec.Webhook.SecretKeyRef
	if given == nil {
		given = &v1alpha1.WebhookSecretReference{}
	}
	return SecretReference{
		Field: "webhook.secretKeyRef",
		Name:  secretName(spec, &v1alpha1.ValueSecretReference{Name: given.Name}),
		Key:   either(given.Key, v1alpha1.DefaultWebhookSecretKey),
	}, true
}

// checkWebhook judges a webhook after the merge: what the API server lets a user leave to the preset must be there now.
func checkWebhook(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	webhook := spec.Webhook
	if webhook == nil {
		return nil
	}
	refuse := func(field, message string) error { return &FieldError{Field: "webhook." + field, Message: message} }
	if webhook.Scheme == "" {
		return refuse("scheme", "give it: the provider's preset has no webhook")
	}
	if err := checkSignature("webhook", webhook.WebhookSignature); err != nil {
		return err
	}
	for i, alternative := range webhook.Alternatives {
		if err := checkSignature(fmt.Sprintf("webhook.alternatives[%d]", i), alternative); err != nil {
			return err
		}
	}
	if tolerance := webhook.Tolerance; tolerance != nil && (tolerance.Duration <= 0 || tolerance.Duration > maxTolerance) {
		return refuse("tolerance", "it must be more than nothing and at most 1h")
	}
	switch {
	case len(webhook.DeauthorizedEvents) == 0:
		return refuse("deauthorizedEvents", "name the types of event that mean that a grant has ended")
	case slices.Contains(webhook.DeauthorizedEvents, ""):
		return refuse("deauthorizedEvents", "it has an empty type, which every event without a type would have; remove it")
	case webhook.ConnectionID == "" && webhook.Subject == "":
		return refuse("connectionID", "give it or webhook.subject: without either, nobody could tell whose grant an event is about")
	case webhook.EventType != "" && webhook.EventTypeHeader != "":
		return refuse("eventType", "give it or webhook.eventTypeHeader, not both")
	}
	return checkChallenge(webhook)
}

func checkChallenge(webhook *v1alpha1.WebhookSpec) error {
	challenge := webhook.Challenge
	switch {
	case challenge == nil:
	case challenge.EventType == "":
		return &FieldError{Field: "webhook.challenge.eventType", Message: "give it: without it no challenge could be told from other events"}
	case challenge.Value == "":
		return &FieldError{Field: "webhook.challenge.value", Message: "give it: it is what a challenge is answered with"}
	case slices.Contains(webhook.DeauthorizedEvents, challenge.EventType):
		return &FieldError{Field: "webhook.challenge.eventType", Message: "webhook.deauthorizedEvents has it too; a challenge cannot mean that a grant has ended"}
	}
	return nil
}

// checkSignature holds a signature to its scheme.
func checkSignature(field string, signature v1alpha1.WebhookSignature) error {
	refuse := func(member, message string) error {
		return &FieldError{Field: field + "." + member, Message: message}
	}
	switch signature.Scheme {
	case v1alpha1.WebhookBodyHMAC:
		return checkSignedContent(field, signature)
	case v1alpha1.WebhookTimestampedHMAC:
		if signature.Prefix != nil && (len(*signature.Prefix) < 2 || (*signature.Prefix)[len(*signature.Prefix)-1] != '=') {
			return refuse("prefix", "with TimestampedHMAC it is the name of the signature and =, such as v1=")
		}
		if signature.Prefix != nil && *signature.Prefix == "t=" {
			return refuse("prefix", "t= is the time; name the signature")
		}
	case v1alpha1.WebhookStandard:
		if signature.Prefix != nil {
			return refuse("prefix", "it goes with scheme BodyHMAC or TimestampedHMAC; remove it")
		}
	case "":
		return refuse("scheme", "give it: TimestampedHMAC, StandardWebhooks or BodyHMAC")
	default:
		return refuse("scheme", "it must be TimestampedHMAC, StandardWebhooks or BodyHMAC")
	}
	for _, member := range []struct {
		name string
		set  bool
	}{
		{"encoding", signature.Encoding != ""},
		{"timestampHeader", signature.TimestampHeader != ""},
		{"signedContent", signature.SignedContent != ""},
	} {
		if member.set {
			return refuse(member.name, "it goes with scheme BodyHMAC; remove it")
		}
	}
	return nil
}

// checkSignedContent wants all that counts to be signed: an event's body, and its time where it has one.
func checkSignedContent(field string, signature v1alpha1.WebhookSignature) error {
	content := either(signature.SignedContent, "{"+nameBody+"}")
	used := names(split(content))
	for _, name := range used {
		if name != nameBody && name != nameTimestamp && name != nameURL {
			return &FieldError{Field: field + ".signedContent", Message: "{" + name + "} cannot be used here: there are {timestamp}, {body} and {url}"}
		}
	}
	switch {
	case !slices.Contains(used, nameBody):
		return &FieldError{Field: field + ".signedContent", Message: "it must contain {body}: what is not signed can be forged"}
	case slices.Contains(used, nameTimestamp) && signature.TimestampHeader == "":
		return &FieldError{Field: field + ".timestampHeader", Message: "signedContent has {timestamp}; name the header where it stands"}
	case !slices.Contains(used, nameTimestamp) && signature.TimestampHeader != "":
		return &FieldError{Field: field + ".signedContent", Message: "it has no {timestamp}, and a time that is not signed can be changed; add it, or remove timestampHeader"}
	}
	return nil
}

// webhookPaths are the JSONPaths of a webhook.
func webhookPaths(spec *v1alpha1.OAuthApplicationSpec) []pathField {
	webhook := spec.Webhook
	if webhook == nil {
		return nil
	}
	all := []pathField{
		{"webhook.eventType", webhook.EventType}, {"webhook.connectionID", webhook.ConnectionID}, {"webhook.subject", webhook.Subject},
	}
	if webhook.Challenge != nil {
		all = append(all, pathField{"webhook.challenge.value", webhook.Challenge.Value})
	}
	return all
}
