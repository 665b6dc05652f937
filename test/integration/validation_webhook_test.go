// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	providers "github.com/oauth-operator/oauth-operator/internal/provider"
)

// These tests ask the API server alone, like those of validation_test.go, about spec.webhook. TestEveryRule gives it
// refusedWebhooks.

// hookYAML is an application with a webhook, given in YAML's flow style.
func hookYAML(members string) string { return issued + "webhook: {" + members + "}" }

// refusedWebhooks break one rule each.
func refusedWebhooks() map[string]refusal {
	const (
		bodyAlone  = "encoding, timestampHeader and signedContent go with scheme: BodyHMAC"
		withPrefix = "prefix goes with scheme: BodyHMAC or TimestampedHMAC"
		signedTime = "timestampHeader and {timestamp} in signedContent go together: a time that is not signed can be changed"
		signedBody = "must contain {body}: what is not signed can be forged"
		shortTime  = "must be a duration of at most 1h, such as 5m"
	)
	return map[string]refusal{
		"a webhook's encoding":           {hookYAML("scheme: StandardWebhooks, encoding: Hex"), "spec.webhook", bodyAlone},
		"a webhook's content":            {hookYAML("scheme: TimestampedHMAC, signedContent: '{body}'"), "spec.webhook", bodyAlone},
		"a webhook's prefix":             {hookYAML("scheme: StandardWebhooks, prefix: 'v1,'"), "spec.webhook", withPrefix},
		"a webhook's unsigned time":      {hookYAML("scheme: BodyHMAC, timestampHeader: X-Time"), "spec.webhook", signedTime},
		"a webhook's time from nowhere":  {hookYAML("scheme: BodyHMAC, signedContent: '{timestamp}.{body}'"), "spec.webhook", signedTime},
		"a webhook's unsigned body":      {hookYAML("scheme: BodyHMAC, signedContent: 'v0'"), "spec.webhook.signedContent", signedBody},
		"an alternative without scheme":  {hookYAML("scheme: BodyHMAC, alternatives: [{header: X-Old}]"), "spec.webhook", "each of alternatives needs its scheme"},
		"an alternative's unsigned time": {hookYAML("scheme: BodyHMAC, alternatives: [{scheme: BodyHMAC, timestampHeader: X-Time}]"), "spec.webhook.alternatives[0]", signedTime},
		"an alternative's encoding":      {hookYAML("scheme: BodyHMAC, alternatives: [{scheme: StandardWebhooks}, {scheme: TimestampedHMAC, encoding: Hex}]"), "spec.webhook.alternatives[1]", bodyAlone},
		"an event's type twice":          {hookYAML("eventType: $.type, eventTypeHeader: X-Event"), "spec.webhook", "give one of eventType and eventTypeHeader"},
		"a webhook's long tolerance":     {hookYAML("tolerance: 61m"), "spec.webhook.tolerance", shortTime},
		"a webhook's empty tolerance":    {hookYAML("tolerance: 0s"), "spec.webhook.tolerance", shortTime},
		"an event's type by name":        {hookYAML("eventType: type"), "spec.webhook.eventType", isJSONPath},
		"a challenge's value by name":    {hookYAML("challenge: {eventType: question, value: text}"), "spec.webhook.challenge.value", isJSONPath},
	}
}

// TestShapesOfWebhooks is what is refused by types, lengths and patterns, and what is not.
func TestShapesOfWebhooks(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	tests := map[string]struct {
		yaml string
		// want are parts of the error; none: it is valid.
		want []string
	}{
		"nothing, which the preset fills": {"provider: github\n" + clientYAML + "webhook: {}", nil},
		"a part of the preset's":          {"provider: slack\n" + clientYAML + "webhook: {signedContent: 'v1:{timestamp}:{body}', timestampHeader: X-Time, tolerance: 1m}", nil},
		"one member of the preset's":      {"provider: slack\n" + clientYAML + "webhook: {signedContent: 'v1:{timestamp}:{body}'}", nil},
		"standard webhooks":               {hookYAML("scheme: StandardWebhooks, deauthorizedEvents: [gone], connectionID: $.id"), nil},
		"standard webhooks of Svix":       {hookYAML("scheme: StandardWebhooks, header: svix, deauthorizedEvents: [gone], connectionID: $.id"), nil},
		"a time and a signature":          {hookYAML("scheme: TimestampedHMAC, header: X-Signature, prefix: 's=', deauthorizedEvents: [gone], subject: $.account"), nil},
		"a body": {hookYAML(`scheme: BodyHMAC, header: X-Signature, prefix: "", encoding: Base64, timestampHeader: X-Time,
  signedContent: '{url}.{timestamp}.{body}', deauthorizedEvents: [gone, left], subject: $.account, connectionID: $.id, eventTypeHeader: X-Event,
  unverifiable: Believe, challenge: {eventType: question, value: $.text}, secretKeyRef: {name: other, key: signing.key}, tolerance: 1h,
  alternatives: [{scheme: StandardWebhooks}, {scheme: TimestampedHMAC}, {scheme: BodyHMAC, timestampHeader: X-Time, signedContent: '{timestamp}{body}'}]`), nil},
		"a scheme that is none":         {hookYAML("scheme: RSA"), []string{"spec.webhook.scheme", "StandardWebhooks"}},
		"an encoding that is none":      {hookYAML("scheme: BodyHMAC, encoding: Base32"), []string{"spec.webhook.encoding", "Base64"}},
		"a belief that is none":         {hookYAML("unverifiable: Maybe"), []string{"spec.webhook.unverifiable", "Ignore", "Believe"}},
		"a header with a space":         {hookYAML("header: 'X Signature'"), []string{"spec.webhook.header", "should match"}},
		"a time's header with a colon":  {hookYAML("timestampHeader: 'X:Time'"), []string{"spec.webhook.timestampHeader", "should match"}},
		"a type's header with a break":  {hookYAML(`eventTypeHeader: "X\nY"`), []string{"spec.webhook.eventTypeHeader", "should match"}},
		"an event twice":                {hookYAML("deauthorizedEvents: [gone, gone]"), []string{"spec.webhook.deauthorizedEvents[1]", "Duplicate"}},
		"five alternatives":             {hookYAML("alternatives: [" + strings.TrimSuffix(strings.Repeat("{scheme: BodyHMAC},", 5), ",") + "]"), []string{"spec.webhook.alternatives", "4 items"}},
		"a key that Secrets can't have": {hookYAML("secretKeyRef: {key: 'a/b'}"), []string{"spec.webhook.secretKeyRef.key", "should match"}},
		"a challenge without value":     {hookYAML("challenge: {eventType: question}"), []string{"spec.webhook.challenge.value", "Required"}},
		"a challenge without type":      {hookYAML("challenge: {value: $.text}"), []string{"spec.webhook.challenge.eventType", "Required"}},
		"a field that is none":          {hookYAML("secretRef: {name: x}"), []string{"spec.webhook.secretRef", "unknown field"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := applicationYAML(t, namespace, "x", test.yaml)
			err := plane.Client().Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			mentions(t, err, test.want...)
		})
	}
}

// TestWebhooksKeepWhatMatters gives the API server what a typed client could lose: an empty prefix, and a list that is empty
// on purpose.
func TestWebhooksKeepWhatMatters(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	object := applicationYAML(t, namespace, "x", "provider: increase\nclient: {id: x, secretRef: {name: s}}\nwebhook: {prefix: '', alternatives: []}")
	create(t, object)
	spec := get(t, namespace, "x", &v1alpha1.OAuthApplication{}).Spec
	if spec.Webhook.Prefix == nil || *spec.Webhook.Prefix != "" || spec.Webhook.Alternatives == nil {
		t.Fatalf("the webhook reads %+v", spec.Webhook)
	}
	catalogue, err := providers.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	effective, err := catalogue.Effective(&spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(effective.Webhook.Alternatives) != 0 || effective.Webhook.Scheme != v1alpha1.WebhookStandard {
		text, _ := yaml.Marshal(effective.Webhook)
		t.Errorf("the empty list takes the preset's away:\n%s", text)
	}
}

// TestStatusOfApplicationsTakesTemplates: the API server accepts in a status what the gateway needs to find there.
func TestStatusOfApplicationsTakesTemplates(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	object := applicationYAML(t, namespace, "x", "provider: shopify\nclient: {id: x, secretRef: {name: s}}")
	create(t, object)
	application := get(t, namespace, "x", &v1alpha1.OAuthApplication{})
	application.Status = v1alpha1.OAuthApplicationStatus{
		Endpoints: &v1alpha1.Endpoints{AuthorizationURL: "https://{shop}.myshopify.com/admin/oauth/authorize", TokenURL: "{server}/token"},
		ClientID:  "x", Issuer: "https://login.example.com", IssuerInResponse: true, WebhookURL: "https://gateway.example.com/webhooks/a/b",
	}
	want := application.Status.DeepCopy()
	if err := plane.Client().Status().Update(t.Context(), application); err != nil {
		t.Fatal(err)
	}
	got := get(t, namespace, "x", &v1alpha1.OAuthApplication{}).Status
	if *got.Endpoints != *want.Endpoints || got.ClientID != want.ClientID || got.Issuer != want.Issuer || !got.IssuerInResponse || got.WebhookURL != want.WebhookURL {
		t.Errorf("the status reads %+v", got)
	}
}
