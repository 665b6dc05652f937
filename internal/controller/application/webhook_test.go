// SPDX-License-Identifier: Apache-2.0

package application

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const signature = "FAKE-SIGNING-KEY"

const crmWebhooks = "https://gateway.example.com/webhooks/platform/crm"

// describedWebhook is one that an application's own spec describes.
func describedWebhook(secret string) *v1alpha1.WebhookSpec {
	w := &v1alpha1.WebhookSpec{
		WebhookSignature: v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard}, DeauthorizedEvents: []string{"gone"}, ConnectionID: "$.id",
	}
	if secret != "" {
		w.SecretKeyRef = &v1alpha1.WebhookSecretReference{Name: secret}
	}
	return w
}

func TestWebhookSecretsAreOptional(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		reason  string
		change  func(*facts, *rules)
		secrets stored
		url     string
		// message is what the condition adds; empty: nothing.
		message string
	}{
		"Described": {
			reason: "key and Secret have defaults", change: func(*facts, *rules) {},
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": signature + "\n"}}, url: crmWebhooks,
		},
		"Elsewhere": {
			reason:  "the secret may have a Secret of its own",
			change:  func(f *facts, _ *rules) { f.application.Spec.Webhook = describedWebhook("crm-webhook") },
			secrets: stored{"crm-client": {"client_secret": "hidden"}, "crm-webhook": {"webhook_secret": signature}}, url: crmWebhooks,
		},
		"NoKey": {
			reason: "what the application asks for is missed aloud", change: func(*facts, *rules) {},
			secrets: stored{"crm-client": {"client_secret": "hidden"}},
			message: `the webhook takes no events: webhook.secretKeyRef: Secret "crm-client" holds nothing under key "webhook_secret"; put the secret there`,
		},
		"NoSecret": {
			reason:  "also when its Secret is not there at all",
			change:  func(f *facts, _ *rules) { f.application.Spec.Webhook = describedWebhook("crm-webhook") },
			secrets: stored{"crm-client": {"client_secret": "hidden"}},
			message: `Secret "crm-webhook" holds nothing under key "webhook_secret"`,
		},
		"Empty": {
			reason: "an empty value is none", change: func(*facts, *rules) {},
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": " \n"}}, message: "holds nothing",
		},
		"NoName": {
			reason:  "a public client names no Secret that could have it",
			change:  func(f *facts, _ *rules) { f.application.Spec.Client.SecretRef = nil },
			secrets: stored{}, message: "webhook.secretKeyRef.name: it names no Secret",
		},
		"Binary": {
			reason: "what cannot be a secret is said", change: func(*facts, *rules) {},
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": "\x00\xff"}}, message: `key "webhook_secret" of Secret "crm-client" is not printable text`,
		},
		"Preset": {
			reason:  "a preset's webhook works once its secret is there",
			change:  func(f *facts, _ *rules) { presetOf(f, "github") },
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": signature}}, url: crmWebhooks,
		},
		"PresetWithoutKey": {
			reason:  "most who use a preset have no webhook, and hear nothing of it",
			change:  func(f *facts, _ *rules) { presetOf(f, "github") },
			secrets: stored{"crm-client": {"client_secret": "hidden"}},
		},
		"PresetWithBinary": {
			reason:  "but who has put something there meant it",
			change:  func(f *facts, _ *rules) { presetOf(f, "github") },
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": strings.Repeat("x", 5000)}}, message: "longer than 4096 bytes",
		},
		"PresetChanged": {
			reason: "a preset's webhook that the application changes is the application's",
			change: func(f *facts, _ *rules) {
				presetOf(f, "github")
				f.application.Spec.Webhook = &v1alpha1.WebhookSpec{Unverifiable: v1alpha1.WebhookBelieve}
			},
			secrets: stored{"crm-client": {"client_secret": "hidden"}}, message: "the webhook takes no events",
		},
		"NoGateway": {
			reason: "without a gateway there is no URL", change: func(_ *facts, r *rules) { r.ExternalURL = "" },
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": signature}},
		},
		"NoWebhook": {
			reason: "a key alone is no webhook", change: func(f *facts, _ *rules) { f.application.Spec.Webhook = nil },
			secrets: stored{"crm-client": {"client_secret": "hidden", "webhook_secret": signature}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, r := direct(""), testRules()
			r.catalogue = catalogue
			f.application.Spec.Webhook = describedWebhook("")
			test.change(&f, &r)
			test.secrets.read(&f, catalogue)
			d := decide(f, r)
			if !d.verdict.ready || d.verdict.reason != v1alpha1.ReasonReady {
				t.Fatalf("%s: the application is not ready: %+v", test.reason, d.verdict)
			}
			after := status(f, d)
			if after.WebhookURL != test.url {
				t.Errorf("%s: the URL is %q, want %q", test.reason, after.WebhookURL, test.url)
			}
			news := eventsFor(f.application.Status, d)
			want := []string{v1alpha1.ReasonReady}
			if test.message != "" {
				want = append(want, v1alpha1.EventWebhookNotReady)
			}
			if got := reasonsOf(news); !slices.Equal(got, want) || !strings.Contains(d.verdict.message, test.message) || (test.message == "") != (d.verdict.message == readyMessage) {
				t.Errorf("%s: events %v, message %q", test.reason, got, d.verdict.message)
			}
			if strings.Contains(fmt.Sprint(d.verdict.message, news), signature) {
				t.Errorf("the secret is shown")
			}
			// The next pass reads nothing anew, and says the same.
			f.application.Status, f.kept, f.unchanged = after, d.client, true
			for i := range f.inputs {
				f.inputs[i] = input{reference: f.inputs[i].reference}
				if !holds(d.client, f.inputs[i].reference) {
					t.Errorf("%s: %s would be read in every pass", test.reason, f.inputs[i].key)
				}
			}
			again := decide(f, r)
			if diff := cmp.Diff(after, status(f, again)); diff != "" {
				t.Errorf("%s: a pass without news changes the status:\n%s", test.reason, diff)
			}
			if news := eventsFor(after, again); len(news) != 0 {
				t.Errorf("%s: it is told again: %v", test.reason, reasonsOf(news))
			}
		})
	}
}

func presetOf(f *facts, name string) {
	f.application.Spec = v1alpha1.OAuthApplicationSpec{
		Provider: name, Client: v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
	}
}

func reasonsOf(news []occurrence) (all []string) {
	for _, item := range news {
		all = append(all, item.reason)
	}
	return all
}

// TestStatusForTheGateway follows what the gateway reads: it goes when it is no longer true.
func TestStatusForTheGateway(t *testing.T) {
	t.Parallel()
	f := testFacts()
	f.attempt.found.Metadata.AuthorizationResponseIssParameterSupported = true
	f.application.Spec.Webhook = describedWebhook("")
	stored{"crm-client": {"client_secret": "hidden", "webhook_secret": signature}}.read(&f, testRules().catalogue)
	d := decide(f, testRules())
	whole := status(f, d)
	if whole.ClientID != "crm" || whole.Issuer != issuer || !whole.IssuerInResponse || whole.WebhookURL != crmWebhooks {
		t.Errorf("the status is %+v", whole)
	}
	if secret, ok := d.client.WebhookSecret(); !ok || secret.Reveal() != signature {
		t.Error("the client does not keep the secret")
	}

	f.application.Status, f.kept = whole, d.client
	f.inputs[0].exists, f.inputs[0].found = false, false
	if missing := status(f, decide(f, testRules())); missing.ClientID != "crm" || missing.Issuer != issuer || missing.WebhookURL != crmWebhooks {
		t.Errorf("what is kept stays in use while the client's Secret is missing: %+v", missing)
	}

	other := direct("")
	other.application.Status, other.kept = whole, d.client
	other.application.Spec.Client = v1alpha1.ClientSpec{IDSecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}}
	stored{"crm-client": {"client_id": "from-a-secret"}}.read(&other, testRules().catalogue)
	if got := status(other, decide(other, testRules())); got.ClientID != "from-a-secret" || got.Issuer != "" || got.IssuerInResponse || got.WebhookURL != "" {
		t.Errorf("without discovery and webhook: %+v", got)
	}

	fresh := direct("")
	fresh.application.Status = whole
	fresh.inputs[0].exists, fresh.inputs[0].found = false, false
	if got := status(fresh, decide(fresh, testRules())); got.ClientID != "" || got.Issuer != "" || got.WebhookURL != "" || got.Endpoints != nil {
		t.Errorf("without a client: %+v", got)
	}
}

// TestStatusShowsTemplates: the gateway fills the placeholders of an authorization URL by itself.
func TestStatusShowsTemplates(t *testing.T) {
	t.Parallel()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	r := testRules()
	r.catalogue = catalogue
	f := testFacts()
	presetOf(&f, "shopify")
	stored{"crm-client": {"client_secret": "hidden"}}.read(&f, catalogue)
	got := status(f, decide(f, r))
	if want := v1alpha1.EndpointURL("https://{shop}.myshopify.com/admin/oauth/authorize"); got.Endpoints.AuthorizationURL != want {
		t.Errorf("got %s, want %s", got.Endpoints.AuthorizationURL, want)
	}
	if got.WebhookURL != "" {
		t.Errorf("Shopify signs with the client secret, which the gateway gets only where somebody says so: %q", got.WebhookURL)
	}
}

// TestClientsFromBeforeWebhooksAreReadAnew : they have not looked for a secret that may well be there.
func TestClientsFromBeforeWebhooksAreReadAnew(t *testing.T) {
	t.Parallel()
	f := direct("")
	f.application.Spec.Webhook = describedWebhook("")
	for _, ref := range referencesOf(testRules().catalogue, &f.application.Spec) {
		if ref.use != useWebhookSecret {
			continue
		}
		if holds(&registration.Client{}, ref) || holds(&registration.Client{Webhook: &registration.Webhook{From: "crm-client/other", Secret: sensitive.New("x")}}, ref) {
			t.Error("it counts as looked for")
		}
		if !holds(&registration.Client{Webhook: &registration.Webhook{From: "crm-client/webhook_secret"}}, ref) {
			t.Error("that there is none would be looked up in every pass")
		}
		return
	}
	t.Error("nothing is looked for")
}

func TestAWebhookSecretIsFollowed(t *testing.T) {
	w := newWorld(t)
	controller := w.start()
	application := w.application("crm")
	application.Spec.Webhook = describedWebhook("crm-webhook")
	w.create(w.clientSecret(), application)
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
	application = w.eventually("crm", "told about its webhook", func(a *v1alpha1.OAuthApplication) bool {
		return strings.Contains(message(a), `Secret "crm-webhook" holds nothing under key "webhook_secret"`)
	})
	if !meta.IsStatusConditionTrue(application.Status.Conditions, v1alpha1.ConditionReady) || application.Status.WebhookURL != "" {
		t.Errorf("the status is %+v", application.Status)
	}
	testenv.Eventually(t, patience, func() error {
		if all := w.events(); !slices.Equal(all, []string{"Normal Ready", "Warning WebhookNotReady"}) {
			return fmt.Errorf("events: %v", all)
		}
		return nil
	})
	kept, err := w.kept(application.UID)
	w.must(err)
	before := kept.Fingerprint()

	secret := w.secret("crm-webhook", map[string]string{"webhook_secret": signature})
	w.create(secret)
	url := "https://gateway.example.com/webhooks/" + w.namespace + "/crm"
	w.eventually("crm", "served", func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.WebhookURL == url && message(a) == readyMessage
	})
	is := func(value string) func(*registration.Client) bool {
		return func(c *registration.Client) bool {
			secret, ok := c.WebhookSecret()
			return secret.Reveal() == value && ok == (value != "") && c.Fingerprint() == before
		}
	}
	w.eventuallyKept(application.UID, "one with the secret and the same fingerprint", is(signature))
	w.update(secret, func() { secret.StringData = map[string]string{"webhook_secret": signature + " anew"} })
	w.eventuallyKept(application.UID, "one with the new secret", is(signature+" anew"))

	w.delete(secret)
	w.eventually("crm", "without its webhook", func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.WebhookURL == "" && meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionReady) &&
			strings.Contains(message(a), "the webhook takes no events")
	})
	w.eventuallyKept(application.UID, "one without the secret", is(""))

	// Nothing is read anew while nothing changes, although the secret is missing.
	passes, reads := controller.passes.Load(), len(controller.requests.matching("GET "))
	w.create(w.connection("billing", "crm"))
	w.eventually("crm", "counted", func(a *v1alpha1.OAuthApplication) bool { return a.Status.Connections.Total == 1 })
	if again := controller.requests.matching("GET "); controller.passes.Load() == passes || len(again) != reads {
		t.Errorf("a pass without news made the requests %v", again[reads:])
	}
}

func TestTheStatusTellsTheGateway(t *testing.T) {
	w := newWorld(t)
	demanding := httptest.NewServer(nil)
	demanding.Config.Handler = http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(map[string]any{ // A client that has gone is no failure of the server.
			"issuer": demanding.URL, "token_endpoint": demanding.URL + "/token", "authorization_endpoint": demanding.URL + "/authorize",
			"authorization_response_iss_parameter_supported": true, "require_pushed_authorization_requests": true,
		})
	})
	t.Cleanup(demanding.Close)
	w.start()
	application := w.application("crm")
	application.Spec.IssuerURL = demanding.URL
	application.Spec.Client.ID, application.Spec.Client.IDSecretRef = "", &v1alpha1.SecretKeyReference{Name: "crm-client"}
	w.create(w.secret("crm-client", map[string]string{"client_id": "of-the-secret", "client_secret": "hidden"}), application)
	application = w.eventuallyReason("crm", v1alpha1.ReasonReady)
	if s := application.Status; s.ClientID != "of-the-secret" || s.Issuer != demanding.URL || !s.IssuerInResponse {
		t.Errorf("the status is %+v", s)
	}
	kept, err := w.kept(application.UID)
	w.must(err)
	if !kept.RequiresPAR() {
		t.Error("the demand for pushed requests is not kept")
	}

	w.update(application, func() {
		application.Spec.IssuerURL = ""
		application.Spec.Endpoints = &v1alpha1.Endpoints{
			TokenURL: v1alpha1.EndpointURL(demanding.URL + "/token"), AuthorizationURL: v1alpha1.EndpointURL(demanding.URL + "/{tenant}/authorize"),
		}
		application.Spec.Inputs = []v1alpha1.Input{{Name: "tenant"}}
	})
	application = w.eventually("crm", "without a document", func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.ObservedGeneration == a.Generation && a.Status.Issuer == ""
	})
	if s := application.Status; s.IssuerInResponse || s.ClientID != "of-the-secret" || !strings.HasSuffix(string(s.Endpoints.AuthorizationURL), "/{tenant}/authorize") {
		t.Errorf("the status is %+v", s)
	}
	if kept, err = w.kept(application.UID); err != nil || kept.RequiresPAR() {
		t.Errorf("the demand of another configuration is kept: %v", errors.Join(err))
	}
}
