// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	product "github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	signingKey = "whsec_FAKE-SIGNING-KEY" // Providers that give such ones use them as they stand.
	webhookURL = "https://connect.example.com/webhooks/platform/crm"
)

// courier is what is known of a provider's events from its documentation. Nothing in it is taken from the catalogue.
type courier struct {
	preset, variant string
	// sign returns the headers of an event.
	sign   func(body string, at time.Time) http.Header
	events []parcel
}

// parcel is one event, and what it means.
type parcel struct {
	body string
	// topic is the header that tells the type, with its value.
	topic       [2]string
	kind        string
	ended       bool
	grant, user string
	answer      string
}

func mac(content string) []byte {
	hash := hmac.New(sha256.New, []byte(signingKey))
	hash.Write([]byte(content))
	return hash.Sum(nil)
}

func hexMAC(content string) string    { return hex.EncodeToString(mac(content)) }
func base64MAC(content string) string { return base64.StdEncoding.EncodeToString(mac(content)) }

func seconds1970(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func headersOf(pairs ...string) http.Header {
	header := http.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		header.Set(pair[0], pair[len(pair)-1])
	}
	return header
}

func increaseEvents() []parcel {
	return []parcel{
		{
			body: `{"id":"event_1","created_at":"2026-01-31T23:59:59Z","category":"oauth_connection.deactivated","associated_object_type":"oauth_connection","associated_object_id":"connection_1","type":"event"}`,
			kind: "oauth_connection.deactivated", ended: true, grant: "connection_1",
		},
		{
			body: `{"id":"event_2","created_at":"2026-01-31T23:59:59Z","category":"oauth_connection.created","associated_object_type":"oauth_connection","associated_object_id":"connection_1","type":"event"}`,
			kind: "oauth_connection.created", grant: "connection_1",
		},
	}
}

func standardWebhooks(body string, at time.Time) http.Header {
	return headersOf("webhook-id", "msg_1", "webhook-timestamp", seconds1970(at), "webhook-signature", "v1,"+base64MAC("msg_1."+seconds1970(at)+"."+body))
}

// ownHeader is how Increase signed before.
func ownHeader(body string, at time.Time) http.Header {
	written := at.Format(time.RFC3339)
	return headersOf("Increase-Webhook-Signature", "t="+written+",v1="+hexMAC(written+"."+body))
}

func stripeSignature(body string, at time.Time) http.Header {
	return headersOf("Stripe-Signature", "t="+seconds1970(at)+",v1="+hexMAC(seconds1970(at)+"."+body)+",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39")
}

func stripeEvents() []parcel {
	return []parcel{
		{
			body: `{"id":"evt_1","object":"event","account":"acct_1","created":1,"data":{"object":{"id":"ca_1","object":"application","name":"A"}},"livemode":true,"type":"account.application.deauthorized"}`,
			kind: "account.application.deauthorized", ended: true, user: "acct_1",
		},
		{
			body: `{"id":"evt_2","object":"event","account":"acct_1","created":1,"data":{"object":{"id":"ca_1","object":"application","name":"A"}},"livemode":true,"type":"account.application.authorized"}`,
			kind: "account.application.authorized", user: "acct_1",
		},
	}
}

func couriers() []courier {
	return []courier{
		{preset: "increase", sign: standardWebhooks, events: increaseEvents()},
		{preset: "increase", variant: "before", sign: ownHeader, events: increaseEvents()},
		{preset: "increase-sandbox", sign: standardWebhooks, events: increaseEvents()},
		{
			preset: "github",
			sign: func(body string, _ time.Time) http.Header {
				return headersOf("X-Hub-Signature-256", "sha256="+hexMAC(body), "X-Hub-Signature", "sha1=0", "X-GitHub-Delivery", "1")
			},
			events: []parcel{
				{
					body: `{"action":"revoked","sender":{"login":"octocat","id":583231}}`, topic: [2]string{"X-GitHub-Event", "github_app_authorization"},
					kind: "github_app_authorization", ended: true, user: "583231",
				},
				{body: `{"zen":"x","hook_id":1}`, topic: [2]string{"X-GitHub-Event", "ping"}, kind: "ping"},
			},
		},
		{
			preset: "slack",
			sign: func(body string, at time.Time) http.Header {
				return headersOf("X-Slack-Request-Timestamp", seconds1970(at), "X-Slack-Signature", "v0="+hexMAC("v0:"+seconds1970(at)+":"+body))
			},
			events: []parcel{
				{
					body: `{"token":"x","team_id":"T1","api_app_id":"A1","event":{"type":"tokens_revoked","tokens":{"oauth":["U1"],"bot":["U2"]}},"type":"event_callback","event_id":"Ev1","event_time":1}`,
					kind: "tokens_revoked", ended: true, user: "T1",
				},
				{
					body: `{"token":"x","team_id":"T1","api_app_id":"A1","event":{"type":"app_uninstalled"},"type":"event_callback","event_id":"Ev2","event_time":1}`,
					kind: "app_uninstalled", ended: true, user: "T1",
				},
				{
					body: `{"token":"x","team_id":"T1","api_app_id":"A1","event":{"type":"message","text":"app_uninstalled"},"type":"event_callback","event_id":"Ev3","event_time":1}`,
					kind: "message", user: "T1",
				},
				{body: `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV","type":"url_verification"}`, answer: "3eZbrw1aBm2rZgRNFdxV"},
			},
		},
		{preset: "stripe", sign: stripeSignature, events: stripeEvents()},
		{preset: "stripe-apps", sign: stripeSignature, events: stripeEvents()},
		{
			preset: "square",
			sign: func(body string, _ time.Time) http.Header {
				return headersOf("x-square-hmacsha256-signature", base64MAC(webhookURL+body))
			},
			events: []parcel{{
				body: `{"merchant_id":"M1","type":"oauth.authorization.revoked","event_id":"1","created_at":"2026-01-25T18:25:34Z","data":{"type":"revocation","id":"1","object":{"revocation":{"revoker_type":"MERCHANT"}}}}`,
				kind: "oauth.authorization.revoked", ended: true, user: "M1",
			}},
		},
		{
			preset: "shopify",
			sign: func(body string, _ time.Time) http.Header {
				return headersOf("X-Shopify-Hmac-SHA256", base64MAC(body), "X-Shopify-Shop-Domain", "acme.myshopify.com")
			},
			events: []parcel{
				{
					body: `{"id":1,"name":"Super Toys","myshopify_domain":"acme.myshopify.com"}`, topic: [2]string{"X-Shopify-Topic", "app/uninstalled"},
					kind: "app/uninstalled", ended: true, user: "1",
				},
				{body: `{"id":1,"name":"Super Toys"}`, topic: [2]string{"X-Shopify-Topic", "shop/update"}, kind: "shop/update", user: "1"},
			},
		},
		{
			preset: "tiktok",
			sign: func(body string, at time.Time) http.Header {
				return headersOf("TikTok-Signature", "t="+seconds1970(at)+",s="+hexMAC(seconds1970(at)+"."+body))
			},
			events: []parcel{{
				body: `{"client_key":"k","event":"authorization.removed","create_time":1615338610,"user_openid":"u1","content":"{\"reason\": 1 }"}`,
				kind: "authorization.removed", ended: true, user: "u1",
			}},
		},
	}
}

// TestEveryWebhookHasACourier and every courier a webhook.
func TestEveryWebhookHasACourier(t *testing.T) {
	known := map[string]bool{}
	for _, c := range couriers() {
		known[c.preset] = true
	}
	for _, preset := range load(t).Presets() {
		if has := preset.Spec.Webhook != nil; has != known[preset.Name] {
			t.Errorf("%s: the preset has a webhook is %t, its events are known is %t", preset.Name, has, known[preset.Name])
		}
	}
}

// TestEvents sends what each provider's documentation says to the verifier of its preset.
func TestEvents(t *testing.T) {
	catalogue, at := load(t), time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	for _, c := range couriers() {
		t.Run(strings.TrimSuffix(c.preset+"/"+c.variant, "/"), func(t *testing.T) {
			t.Parallel()
			spec, err := catalogue.Effective(&v1alpha1.OAuthApplicationSpec{
				Provider: c.preset, Client: v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "client"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			// Not even where that signs is the client secret given to the gateway, unless somebody says so.
			if reference, _ := product.WebhookSecret(spec); product.SecretKey(reference.Name, reference.Key) != "client/webhook_secret" {
				t.Errorf("%s signs", product.SecretKey(reference.Name, reference.Key))
			}
			verifier, err := webhook.NewVerifier(spec.Webhook)
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range c.events {
				c.deliver(t, verifier, event, at)
			}
		})
	}
}

func (c courier) deliver(t *testing.T, verifier *webhook.Verifier, sent parcel, at time.Time) {
	t.Helper()
	request := webhook.Request{Header: c.sign(sent.body, at), Body: []byte(sent.body), URL: webhookURL, ReceivedAt: at.Add(time.Second)}
	if sent.topic[0] != "" {
		request.Header.Set(sent.topic[0], sent.topic[1])
	}
	got, err := verifier.Verify(sensitive.New(signingKey), request)
	if err != nil {
		t.Fatalf("%s: %v", sent.body, err)
	}
	if got.Deauthorized != sent.ended || got.GrantID != sent.grant || got.Subject != sent.user {
		t.Errorf("%s: got %+v, want %+v", sent.body, got, sent)
	}
	if sent.answer != "" && (got.Challenge == nil || *got.Challenge != sent.answer) || sent.answer == "" && (got.Challenge != nil || got.Type != sent.kind) {
		t.Errorf("%s: it is taken for %q, challenge %v", sent.body, got.Type, got.Challenge)
	}
	forged := request
	forged.Body = []byte(strings.Replace(sent.body, ":", " :", 1))
	if _, err := verifier.Verify(sensitive.New(signingKey), forged); !errors.Is(err, webhook.ErrForged) {
		t.Errorf("a changed body: %v", err)
	}
	if _, err := verifier.Verify(sensitive.New("another"), request); !errors.Is(err, webhook.ErrForged) {
		t.Errorf("another key: %v", err)
	}
}
