// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const webhookPreset = `{endpoints: {tokenURL: "https://a.example.com/token"}, webhook: {
	scheme: BodyHMAC, header: X-Signature, prefix: v0=, timestampHeader: X-Time, signedContent: "v0:{timestamp}:{body}",
	alternatives: [{scheme: StandardWebhooks}, {scheme: TimestampedHMAC, header: Old}],
	secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left], subject: $.team,
	challenge: {eventType: question, value: $.answer}}}`

func TestEffectiveWebhook(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ reason, webhook, want string }{
		"Nothing": {
			reason: "the preset's webhook is the application's", webhook: `{}`,
			want: `{scheme: BodyHMAC, header: X-Signature, prefix: v0=, timestampHeader: X-Time, signedContent: "v0:{timestamp}:{body}",
				alternatives: [{scheme: StandardWebhooks}, {scheme: TimestampedHMAC, header: Old}],
				secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left], subject: $.team,
				challenge: {eventType: question, value: $.answer}}`,
		},
		"Scheme": {
			reason: "another scheme has another header, and nothing of what goes with the preset's", webhook: `{scheme: StandardWebhooks}`,
			want: `{scheme: StandardWebhooks, secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left],
				subject: $.team, challenge: {eventType: question, value: $.answer}}`,
		},
		"SameScheme": {
			reason: "a signature is described anew by its scheme, although the preset has the same", webhook: `{scheme: BodyHMAC}`,
			want: `{scheme: BodyHMAC, secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left],
				subject: $.team, challenge: {eventType: question, value: $.answer}}`,
		},
		"Header": {
			reason: "without a scheme, a single member is replaced", webhook: `{header: X-Mine, prefix: "", alternatives: []}`,
			want: `{scheme: BodyHMAC, header: X-Mine, prefix: "", timestampHeader: X-Time, signedContent: "v0:{timestamp}:{body}", alternatives: [],
				secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left], subject: $.team,
				challenge: {eventType: question, value: $.answer}}`,
		},
		"Alternatives": {
			reason: "a list without names is replaced as a whole", webhook: `{alternatives: [{scheme: BodyHMAC}]}`,
			want: `{scheme: BodyHMAC, header: X-Signature, prefix: v0=, timestampHeader: X-Time, signedContent: "v0:{timestamp}:{body}",
				alternatives: [{scheme: BodyHMAC}],
				secretKeyRef: {key: signing_secret}, eventTypeHeader: X-Event, deauthorizedEvents: [gone, left], subject: $.team,
				challenge: {eventType: question, value: $.answer}}`,
		},
		"Events": {
			reason:  "a path takes the header away; other members are merged one by one",
			webhook: `{eventType: $.kind, deauthorizedEvents: [ended], connectionID: $.id, secretKeyRef: {name: mine}, unverifiable: Believe, challenge: {value: $.text}}`,
			want: `{scheme: BodyHMAC, header: X-Signature, prefix: v0=, timestampHeader: X-Time, signedContent: "v0:{timestamp}:{body}",
				alternatives: [{scheme: StandardWebhooks}, {scheme: TimestampedHMAC, header: Old}],
				secretKeyRef: {name: mine, key: signing_secret}, eventType: $.kind, deauthorizedEvents: [ended], connectionID: $.id, subject: $.team,
				unverifiable: Believe, challenge: {eventType: question, value: $.text}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loaded := catalogueOf(t, map[string]string{"p": webhookPreset})
			got, err := loaded.Effective(specOf(t, "{provider: p, client: {id: x, secretRef: {name: s}}, webhook: "+test.webhook+"}"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(specOf(t, "{webhook: "+test.want+"}").Webhook, got.Webhook); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if err := Validate(got, Rules{CheckURL: func(string) error { return nil }}); err != nil {
				t.Errorf("the result is not valid: %v", err)
			}
			if diff := cmp.Diff(specOf(t, webhookPreset).Webhook, loaded.Presets()[0].Spec.Webhook); diff != "" {
				t.Errorf("the preset was changed:\n%s", diff)
			}
		})
	}
	header := strings.Replace(webhookPreset, "eventTypeHeader: X-Event", "eventType: $.kind", 1)
	got, err := catalogueOf(t, map[string]string{"p": header}).Effective(specOf(t, "{provider: p, client: {id: x}, webhook: {eventTypeHeader: X-Mine}}"))
	if err != nil || got.Webhook.EventType != "" || got.Webhook.EventTypeHeader != "X-Mine" {
		t.Errorf("a header takes the preset's path away: %+v, %v", got.Webhook, err)
	}
}

func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spec string
		want SecretReference
		has  bool
	}{
		"none":     {spec: `{client: {id: x}}`},
		"defaults": {`{client: {id: x, secretRef: {name: s, key: k}}, webhook: {}}`, SecretReference{"webhook.secretKeyRef", "s", "webhook_secret"}, true},
		"own":      {`{client: {id: x, secretRef: {name: s}}, webhook: {secretKeyRef: {name: other, key: signing}}}`, SecretReference{"webhook.secretKeyRef", "other", "signing"}, true},
		"key":      {`{client: {id: x, secretRef: {name: s}}, webhook: {secretKeyRef: {key: signing}}}`, SecretReference{"webhook.secretKeyRef", "s", "signing"}, true},
		"public":   {`{client: {id: x}, webhook: {}}`, SecretReference{"webhook.secretKeyRef", "", "webhook_secret"}, true},
	} {
		spec := specOf(t, test.spec)
		got, has := WebhookSecret(spec)
		if got != test.want || has != test.has {
			t.Errorf("%s: got %+v, %t", name, got, has)
		}
		if all := SecretReferences(spec); len(all) != 0 {
			t.Errorf("%s: an application would not be ready without %v", name, all)
		}
	}
}

func TestValidateWebhook(t *testing.T) {
	t.Parallel()
	valid := func(change func(*v1alpha1.WebhookSpec)) *v1alpha1.WebhookSpec {
		w := &v1alpha1.WebhookSpec{
			WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookBodyHMAC},
			DeauthorizedEvents: []string{"gone"}, Subject: "$.account",
		}
		change(w)
		return w
	}
	for want, changes := range map[string][]func(*v1alpha1.WebhookSpec){
		"": {
			func(*v1alpha1.WebhookSpec) {},
			func(w *v1alpha1.WebhookSpec) { w.Subject, w.ConnectionID = "", "$.id" },
			func(w *v1alpha1.WebhookSpec) {
				w.TimestampHeader, w.SignedContent, w.Encoding, w.Prefix = "X-Time", "{timestamp}.{body}", v1alpha1.SignatureBase64, new("")
			},
			func(w *v1alpha1.WebhookSpec) { w.SignedContent = "{url}{body}" },
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Prefix = v1alpha1.WebhookTimestampedHMAC, new("s=") },
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Header = v1alpha1.WebhookStandard, "svix" },
			func(w *v1alpha1.WebhookSpec) {
				w.Challenge = &v1alpha1.WebhookChallenge{EventType: "question", Value: "$.text"}
			},
		},
		"webhook.scheme": {
			func(w *v1alpha1.WebhookSpec) { w.Scheme = "" },
			func(w *v1alpha1.WebhookSpec) { w.Scheme = "RSA" },
		},
		"webhook.prefix": {
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Prefix = v1alpha1.WebhookStandard, new("v1,") },
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Prefix = v1alpha1.WebhookTimestampedHMAC, new("") },
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Prefix = v1alpha1.WebhookTimestampedHMAC, new("v0:") },
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.Prefix = v1alpha1.WebhookTimestampedHMAC, new("t=") },
		},
		"webhook.encoding": {func(w *v1alpha1.WebhookSpec) {
			w.Scheme, w.Encoding = v1alpha1.WebhookStandard, v1alpha1.SignatureHex
		}},
		"webhook.timestampHeader": {
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.TimestampHeader = v1alpha1.WebhookTimestampedHMAC, "X-Time" },
			func(w *v1alpha1.WebhookSpec) { w.SignedContent = "{timestamp}.{body}" },
		},
		"webhook.signedContent": {
			func(w *v1alpha1.WebhookSpec) { w.Scheme, w.SignedContent = v1alpha1.WebhookStandard, "{body}" },
			func(w *v1alpha1.WebhookSpec) { w.SignedContent = "{url}" },
			func(w *v1alpha1.WebhookSpec) { w.SignedContent = "{id}.{body}" },
			func(w *v1alpha1.WebhookSpec) { w.TimestampHeader = "X-Time" },
		},
		"webhook.alternatives[1].scheme": {func(w *v1alpha1.WebhookSpec) {
			w.Alternatives = []v1alpha1.WebhookSignature{{Scheme: v1alpha1.WebhookStandard}, {Header: "X"}}
		}},
		"webhook.alternatives[0].signedContent": {func(w *v1alpha1.WebhookSpec) {
			w.Alternatives = []v1alpha1.WebhookSignature{{Scheme: v1alpha1.WebhookBodyHMAC, TimestampHeader: "X-Time"}}
		}},
		"webhook.deauthorizedEvents": {
			func(w *v1alpha1.WebhookSpec) { w.DeauthorizedEvents = nil },
			func(w *v1alpha1.WebhookSpec) { w.DeauthorizedEvents = []string{"gone", ""} },
		},
		"webhook.connectionID": {
			func(w *v1alpha1.WebhookSpec) { w.Subject = "" },
			func(w *v1alpha1.WebhookSpec) { w.ConnectionID = "$.[" },
		},
		"webhook.subject": {func(w *v1alpha1.WebhookSpec) { w.Subject = "account" }},
		"webhook.eventType": {
			func(w *v1alpha1.WebhookSpec) { w.EventType = "$..[" },
			func(w *v1alpha1.WebhookSpec) { w.EventType, w.EventTypeHeader = "$.type", "X-Event" },
		},
		"webhook.challenge.eventType": {
			func(w *v1alpha1.WebhookSpec) { w.Challenge = &v1alpha1.WebhookChallenge{Value: "$.text"} },
			func(w *v1alpha1.WebhookSpec) {
				w.Challenge = &v1alpha1.WebhookChallenge{EventType: "gone", Value: "$.text"}
			},
		},
		"webhook.challenge.value": {
			func(w *v1alpha1.WebhookSpec) { w.Challenge = &v1alpha1.WebhookChallenge{EventType: "question"} },
			func(w *v1alpha1.WebhookSpec) {
				w.Challenge = &v1alpha1.WebhookChallenge{EventType: "question", Value: "text"}
			},
		},
		"webhook.tolerance": {func(w *v1alpha1.WebhookSpec) {
			w.Tolerance = specOf(t, `{webhook: {tolerance: 2h}}`).Webhook.Tolerance
		}},
	} {
		for i, change := range changes {
			spec := specOf(t, `{endpoints: {tokenURL: "https://a.example.com/token"}, client: {id: x}}`)
			spec.Webhook = valid(change)
			err := Validate(spec, Rules{CheckURL: func(string) error { return nil }})
			got := ""
			if failed, ok := err.(*FieldError); ok { //nolint:errorlint // Validate says that it is one
				got = failed.Field
			}
			if got != want || (err == nil) != (want == "") {
				t.Errorf("%s[%d]: got %v", want, i, err)
			}
		}
	}
}
