// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// sharedSecret signs what the tests sign themselves.
	sharedSecret = "shared-secret-of-the-subscription"
	deactivated  = `{"type":"oauth_connection.deactivated","associated_object_id":"connection_dauknoksyr4wilz4e6my"}`
	publicURL    = "https://gateway.example/webhooks/crm/square"
)

// noon is the time of the tests, 1700000000.
func noon() time.Time { return time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC) }

// mac is HMAC-SHA256 of parts.
func mac(key string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(strings.Join(parts, "")))
	return m.Sum(nil)
}

func hexMAC(key string, parts ...string) string { return hex.EncodeToString(mac(key, parts...)) }

func base64MAC(key string, parts ...string) string {
	return base64.StdEncoding.EncodeToString(mac(key, parts...))
}

// spec is a webhook that reads Increase's events.
func spec(signatures ...v1alpha1.WebhookSignature) *v1alpha1.WebhookSpec {
	return &v1alpha1.WebhookSpec{
		WebhookSignature: signatures[0], Alternatives: signatures[1:],
		DeauthorizedEvents: []string{"oauth_connection.deactivated"}, ConnectionID: "$.associated_object_id",
	}
}

func timestamped() v1alpha1.WebhookSignature {
	return v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC}
}

func standard() v1alpha1.WebhookSignature {
	return v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard}
}

func body(edits ...func(*v1alpha1.WebhookSignature)) v1alpha1.WebhookSignature {
	s := v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookBodyHMAC}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

// slack is Slack's scheme.
func slack(s *v1alpha1.WebhookSignature) {
	s.Header, s.Prefix, s.TimestampHeader, s.SignedContent = "X-Slack-Signature", new("v0="), "X-Slack-Request-Timestamp", "v0:{timestamp}:{body}"
}

// square is Square's scheme.
func square(s *v1alpha1.WebhookSignature) {
	s.Header, s.Prefix, s.Encoding, s.SignedContent = "X-Square-Hmacsha256-Signature", new(""), v1alpha1.SignatureBase64, "{url}{body}"
}

// header makes headers of names and values by turns.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		h.Add(pair[0], pair[len(pair)-1])
	}
	return h
}

func request(h http.Header, body string, at time.Time) webhook.Request {
	return webhook.Request{Header: h, Body: []byte(body), URL: publicURL, ReceivedAt: at}
}

func verifier(t testing.TB, spec *v1alpha1.WebhookSpec) *webhook.Verifier {
	t.Helper()
	v, err := webhook.NewVerifier(spec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Signatures that were made elsewhere: examples of specifications and providers, and, where a provider publishes none,
// `printf %s CONTENT | openssl dgst -sha256 -hmac SECRET`.
func TestVectors(t *testing.T) {
	const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	for _, test := range []struct {
		name      string
		signature v1alpha1.WebhookSignature
		secret    string
		header    http.Header
		body      string
		at        int64
		// unreadable: the signature is good, and the body is an example that is no JSON.
		unreadable bool
	}{
		{
			"Standard Webhooks' libraries", standard(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
			`{"test": 2432232314}`, 1614265330, false,
		},
		{
			"the same under Svix's names",
			v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookStandard, Header: "svix"},
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			header("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "svix-timestamp", "1614265330", "svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
			`{"test": 2432232314}`, 1614265330, false,
		},
		{
			"GitHub's documentation", body(), "It's a Secret to Everybody",
			header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), "Hello, World!", 0, true,
		},
		{
			"Slack's documentation", body(slack), "8f742231b10e8888abcd99yyyzzz85a5",
			header("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "X-Slack-Request-Timestamp", "1531420618"),
			slackBody, 1531420618, true,
		},
		{
			"openssl, Unix seconds", timestamped(), sharedSecret,
			header("Webhook-Signature", "t=1700000000,v1=519044463b4fe27d6933da2f72d0b407422d2895ccea9300991e63e6abef1e38"), deactivated, 1700000000, false,
		},
		{
			"openssl, RFC 3339",
			v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC, Header: "Increase-Webhook-Signature"},
			sharedSecret,
			header("Increase-Webhook-Signature", "t=2023-11-14T22:13:20Z,v1=f28fac9fa4cc74831b4c1718adc26ca75a8540dedbb45038b6c8946e255c7a69"), deactivated, 1700000000, false,
		},
		{
			"openssl, the URL is signed too", body(square), "k-0123456789",
			header("X-Square-HmacSha256-Signature", "js1CB2SQbC6ZdGUbVa8LbZk/FkYPfZdPEaUFrhQEnik="), `{"type":"oauth.authorization.revoked","merchant_id":"M1"}`, 0, false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := verifier(t, spec(test.signature))
			at := time.Unix(test.at, 0)
			for _, secret := range []string{test.secret, test.secret + "\n", test.secret + "\r\n"} {
				event, err := v.Verify(sensitive.New(secret), request(test.header, test.body, at))
				if want := error(nil); test.unreadable && !errors.Is(err, webhook.ErrUnreadable) || !test.unreadable && !errors.Is(err, want) {
					t.Fatalf("refused: %v", err)
				}
				if !test.unreadable && (event.ID == "" || !event.At.Equal(at)) {
					t.Errorf("got %+v", event)
				}
			}
			for _, wrong := range []string{"", "\n", test.secret + "x", test.secret[1:], "whsec_", strings.ToUpper(test.secret)} {
				if _, err := v.Verify(sensitive.New(wrong), request(test.header, test.body, at)); !errors.Is(err, webhook.ErrForged) {
					t.Errorf("under the secret %q: %v", wrong, err)
				}
			}
			if _, err := v.Verify(sensitive.New(test.secret), request(test.header, test.body+" ", at)); !errors.Is(err, webhook.ErrForged) {
				t.Errorf("a body with a blank more: %v", err)
			}
			if _, err := v.Verify(sensitive.New(test.secret), request(http.Header{}, test.body, at)); !errors.Is(err, webhook.ErrUnsigned) {
				t.Errorf("without headers: %v", err)
			}
		})
	}
}

// What each scheme reads of its headers.
func TestHeaders(t *testing.T) {
	const now = "1700000000"
	good := hexMAC(sharedSecret, now, ".", deactivated)
	wrong := strings.Repeat("ab", 32)
	msg := base64MAC(sharedSecret, "msg_1.", now, ".", deactivated)
	hub := hexMAC(sharedSecret, deactivated)
	stamp := func(value string) http.Header { return header("Webhook-Signature", value) }
	standardly := func(id, at, signature string) http.Header {
		return header("Webhook-Id", id, "Webhook-Timestamp", at, "Webhook-Signature", signature)
	}
	var taken error
	for _, test := range []struct {
		name      string
		signature v1alpha1.WebhookSignature
		header    http.Header
		want      error
	}{
		{"time and signature", timestamped(), stamp("t=" + now + ",v1=" + good), taken},
		{"the other way round, with blanks", timestamped(), stamp("v1=" + good + " , t=" + now), taken},
		{"capital digits", timestamped(), stamp("t=" + now + ",v1=" + strings.ToUpper(good)), taken},
		{"a signature of another version too", timestamped(), stamp("t=" + now + ",v0=" + wrong + ",v1=" + good), taken},
		{"the second of two", timestamped(), stamp("t=" + now + ",v1=" + wrong + ",v1=" + good), taken},
		{"the first of two", timestamped(), stamp("t=" + now + ",v1=" + good + ",v1=" + wrong), taken},
		{"one that is not hexadecimal beside it", timestamped(), stamp("t=" + now + ",v1=xyz,v1=" + good), taken},
		{"a long list", timestamped(), stamp("t=" + now + strings.Repeat(",v1="+wrong, 15) + ",v1=" + good), taken},
		{"a longer list", timestamped(), stamp("t=" + now + strings.Repeat(",v1="+wrong, 16) + ",v1=" + good), webhook.ErrUnsigned},
		{"all wrong", timestamped(), stamp("t=" + now + ",v1=" + wrong + ",v1=" + good[2:] + "00"), webhook.ErrForged},
		{"cut off", timestamped(), stamp("t=" + now + ",v1=" + good[:62]), webhook.ErrUnsigned},
		{"too long", timestamped(), stamp("t=" + now + ",v1=" + good + "00"), webhook.ErrUnsigned},
		{"empty", timestamped(), stamp("t=" + now + ",v1="), webhook.ErrUnsigned},
		{"no signature", timestamped(), stamp("t=" + now), webhook.ErrUnsigned},
		{"another version alone", timestamped(), stamp("t=" + now + ",v0=" + good), webhook.ErrUnsigned},
		{"no time", timestamped(), stamp("v1=" + good), webhook.ErrUnsigned},
		{"two times", timestamped(), stamp("t=1,t=" + now + ",v1=" + good), webhook.ErrUnsigned},
		{"another time", timestamped(), stamp("t=1700000001,v1=" + good), webhook.ErrForged},
		{"a time that is no number", timestamped(), stamp("t=noon,v1=" + good), webhook.ErrUnsigned},
		{"a time with a sign", timestamped(), stamp("t=+" + now + ",v1=" + hexMAC(sharedSecret, "+", now, ".", deactivated)), webhook.ErrUnsigned},
		{"a time with a fraction", timestamped(), stamp("t=" + now + ".0,v1=" + hexMAC(sharedSecret, now, ".0.", deactivated)), webhook.ErrUnsigned},
		{"a time of many digits", timestamped(), stamp("t=" + strings.Repeat("9", 400) + ",v1=" + good), webhook.ErrUnsigned},
		{"milliseconds are the year 55840", timestamped(), stamp("t=1700000000000,v1=" + hexMAC(sharedSecret, "1700000000000.", deactivated)), webhook.ErrUnsigned},
		{"the beginning of the calendar", timestamped(), stamp("t=0001-01-01T00:00:00Z,v1=" + hexMAC(sharedSecret, "0001-01-01T00:00:00Z.", deactivated)), webhook.ErrStale},
		{"the header twice", timestamped(), header("Webhook-Signature", "t="+now+",v1="+good, "Webhook-Signature", "t="+now+",v1="+good), webhook.ErrUnsigned},
		{"an endless header", timestamped(), stamp("t=" + now + ",v1=" + good + strings.Repeat(",x=y", 2000)), webhook.ErrUnsigned},
		{"another header", timestamped(), header("X-Signature", "t="+now+",v1="+good), webhook.ErrUnsigned},
		{"another name of the signature", v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC, Prefix: new("s=")}, stamp("t=" + now + ",s=" + good), taken},
		{"the usual name, where there is another", v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC, Prefix: new("s=")}, stamp("t=" + now + ",v1=" + good), webhook.ErrUnsigned},

		{"all three", standard(), standardly("msg_1", now, "v1,"+msg), taken},
		{"the second of two", standard(), standardly("msg_1", now, "v1,"+base64MAC("old", "msg_1")+" v1,"+msg), taken},
		{"asymmetric ones beside it", standard(), standardly("msg_1", now, "v1a,"+msg+"  v2,"+msg+" v1,"+msg), taken},
		{"asymmetric ones alone", standard(), standardly("msg_1", now, "v1a,"+msg), webhook.ErrUnsigned},
		{"no padding", standard(), standardly("msg_1", now, "v1,"+strings.TrimRight(msg, "=")), taken},
		{"a long list", standard(), standardly("msg_1", now, strings.Repeat("v1,"+base64MAC("old", "x")+" ", 17)+"v1,"+msg), webhook.ErrUnsigned},
		{"another id", standard(), standardly("msg_2", now, "v1,"+msg), webhook.ErrForged},
		{"another time", standard(), standardly("msg_1", "1700000001", "v1,"+msg), webhook.ErrForged},
		{"RFC 3339 is not in the standard", standard(), standardly("msg_1", "2023-11-14T22:13:20Z", "v1,"+base64MAC(sharedSecret, "msg_1.2023-11-14T22:13:20Z.", deactivated)), webhook.ErrUnsigned},
		{"no id", standard(), header("Webhook-Timestamp", now, "Webhook-Signature", "v1,"+msg), webhook.ErrUnsigned},
		{"no time", standard(), header("Webhook-Id", "msg_1", "Webhook-Signature", "v1,"+msg), webhook.ErrUnsigned},
		{"no signature", standard(), header("Webhook-Id", "msg_1", "Webhook-Timestamp", now), webhook.ErrUnsigned},
		{"no comma", standard(), standardly("msg_1", now, msg), webhook.ErrUnsigned},
		{"hexadecimal", standard(), standardly("msg_1", now, "v1,"+good), webhook.ErrUnsigned},
		{"an id that could take in the time", standard(), standardly("msg.1", now, "v1,"+base64MAC(sharedSecret, "msg.1.", now, ".", deactivated)), webhook.ErrUnsigned},
		{"an id with a blank", standard(), standardly("msg 1", now, "v1,"+base64MAC(sharedSecret, "msg 1.", now, ".", deactivated)), webhook.ErrUnsigned},
		{"an endless id", standard(), standardly(strings.Repeat("m", 257), now, "v1,"+base64MAC(sharedSecret, strings.Repeat("m", 257), ".", now, ".", deactivated)), webhook.ErrUnsigned},

		{"prefix and signature", body(), header("X-Hub-Signature-256", "sha256="+hub), taken},
		{"no prefix", body(), header("X-Hub-Signature-256", hub), webhook.ErrUnsigned},
		{"another algorithm", body(), header("X-Hub-Signature-256", "sha1="+hub), webhook.ErrUnsigned},
		{"the old header alone", body(), header("X-Hub-Signature", "sha256="+hub), webhook.ErrUnsigned},
		{"cut off", body(), header("X-Hub-Signature-256", "sha256="+hub[:60]), webhook.ErrUnsigned},
		{"wrong", body(), header("X-Hub-Signature-256", "sha256="+wrong), webhook.ErrForged},
		{"Base64 where hexadecimal is wanted", body(), header("X-Hub-Signature-256", "sha256="+base64MAC(sharedSecret, deactivated)), webhook.ErrUnsigned},
		{"an empty prefix", body(func(s *v1alpha1.WebhookSignature) { s.Prefix = new("") }), header("X-Hub-Signature-256", hub), taken},
		{"Slack's", body(slack), header("X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:", now, ":", deactivated), "X-Slack-Request-Timestamp", now), taken},
		{"Slack's at another time", body(slack), header("X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:", now, ":", deactivated), "X-Slack-Request-Timestamp", "1700000001"), webhook.ErrForged},
		{"Slack's without a time", body(slack), header("X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0::", deactivated)), webhook.ErrUnsigned},
		{"Slack's with two times", body(slack), header("X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:", now, ":", deactivated), "X-Slack-Request-Timestamp", now, "X-Slack-Request-Timestamp", now), webhook.ErrUnsigned},
		{"Slack's with a time in words", body(slack), header("X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:now:", deactivated), "X-Slack-Request-Timestamp", "now"), webhook.ErrUnsigned},
		{"the URL is signed", body(square), header("X-Square-Hmacsha256-Signature", base64MAC(sharedSecret, publicURL, deactivated)), taken},
		{"another URL is signed", body(square), header("X-Square-Hmacsha256-Signature", base64MAC(sharedSecret, publicURL, "/", deactivated)), webhook.ErrForged},
		{"all in one, and twice", body(func(s *v1alpha1.WebhookSignature) {
			s.TimestampHeader, s.SignedContent = "X-Time", "POST{url}{body}{timestamp}{nothing}{body}"
		}), header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, "POST", publicURL, deactivated, now, "{nothing}", deactivated), "X-Time", now), taken},
	} {
		t.Run(fmt.Sprintf("%s: %s", test.signature.Scheme, test.name), func(t *testing.T) {
			event, err := verifier(t, spec(test.signature)).Verify(sensitive.New(sharedSecret), request(test.header, deactivated, noon()))
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if (err == nil) != event.Deauthorized || (err != nil) != (event.ID == "") {
				t.Errorf("%v, and %+v", err, event)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	const key = "0123456789abcdef01234567" // 24 bytes, as the standard wants.
	encoded := "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	urlEncoded := "whsec_" + base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe\xfd"+key))
	for _, test := range []struct {
		name, secret, signedWith string
		want                     error
	}{
		{"decoded", encoded, key, nil},
		{"as it stands", encoded, encoded, nil},
		{"without the prefix, not decoded", encoded, strings.TrimPrefix(encoded, "whsec_"), webhook.ErrForged},
		{"the other alphabet, without padding", urlEncoded, "\xff\xfe\xfd" + key, nil},
		{"a plain secret", "plain", "plain", nil},
		{"a plain secret is not decoded", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "\x31\xf2\x90\xf6", webhook.ErrForged},
		{"nothing behind the prefix is no empty key", "whsec_", "", webhook.ErrForged},
		{"padding alone is no empty key", "whsec_====", "", webhook.ErrForged},
		{"what cannot be decoded is no key", "whsec_!", "", webhook.ErrForged},
		{"no secret", "", "", webhook.ErrForged},
		{"a line break is no secret", "\n", "", webhook.ErrForged},
	} {
		t.Run(test.name, func(t *testing.T) {
			signed := header("Webhook-Id", "m", "Webhook-Timestamp", "1700000000", "Webhook-Signature", "v1,"+base64MAC(test.signedWith, "m.1700000000.", deactivated))
			_, err := verifier(t, spec(standard())).Verify(sensitive.New(test.secret), request(signed, deactivated, noon()))
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	// Elsewhere a secret is used as it stands, whatever it begins with: Stripe's do so.
	signed := header("Webhook-Signature", "t=1700000000,v1="+hexMAC(key, "1700000000.", deactivated))
	if _, err := verifier(t, spec(timestamped())).Verify(sensitive.New(encoded), request(signed, deactivated, noon())); !errors.Is(err, webhook.ErrForged) {
		t.Errorf("a decoded secret with TimestampedHMAC: %v", err)
	}
}

func TestTolerance(t *testing.T) {
	sign := map[string]func(at string) (v1alpha1.WebhookSignature, http.Header){
		"TimestampedHMAC": func(at string) (v1alpha1.WebhookSignature, http.Header) {
			return timestamped(), header("Webhook-Signature", "t="+at+",v1="+hexMAC(sharedSecret, at, ".", deactivated))
		},
		"StandardWebhooks": func(at string) (v1alpha1.WebhookSignature, http.Header) {
			return standard(), header("Webhook-Id", "m", "Webhook-Timestamp", at, "Webhook-Signature", "v1,"+base64MAC(sharedSecret, "m.", at, ".", deactivated))
		},
		"BodyHMAC": func(at string) (v1alpha1.WebhookSignature, http.Header) {
			return body(slack), header("X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:", at, ":", deactivated))
		},
	}
	for _, test := range []struct {
		name      string
		tolerance *metav1.Duration
		off       time.Duration
		want      error
	}{
		{"now", nil, 0, nil},
		{"five minutes ago", nil, -5 * time.Minute, nil},
		{"longer ago", nil, -5*time.Minute - time.Second, webhook.ErrStale},
		{"in five minutes", nil, 5 * time.Minute, nil},
		{"in more", nil, 5*time.Minute + time.Second, webhook.ErrStale},
		{"in 1970", nil, -noon().Sub(time.Unix(0, 0)), webhook.ErrStale},
		{"in the year 5138", nil, time.Unix(99999999999, 0).Sub(noon()), webhook.ErrStale},
		{"within a set tolerance", &metav1.Duration{Duration: 10 * time.Second}, -10 * time.Second, nil},
		{"beyond it", &metav1.Duration{Duration: 10 * time.Second}, -11 * time.Second, webhook.ErrStale},
		{"within the largest", &metav1.Duration{Duration: 48 * time.Hour}, -time.Hour, nil},
		{"beyond the largest", &metav1.Duration{Duration: 48 * time.Hour}, -time.Hour - time.Second, webhook.ErrStale},
		{"none means the default", &metav1.Duration{}, -5 * time.Minute, nil},
		{"a negative one means the default", &metav1.Duration{Duration: -time.Hour}, -5 * time.Minute, nil},
	} {
		for scheme, sign := range sign {
			t.Run(scheme+" "+test.name, func(t *testing.T) {
				signature, headers := sign(strconv.FormatInt(noon().Add(test.off).Unix(), 10))
				s := spec(signature)
				s.Tolerance = test.tolerance
				event, err := verifier(t, s).Verify(sensitive.New(sharedSecret), request(headers, deactivated, noon()))
				if !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
				if err == nil && !event.At.Equal(noon().Add(test.off)) {
					t.Errorf("sent at %s", event.At)
				}
			})
		}
	}
}

func TestAlternatives(t *testing.T) {
	v := verifier(t, spec(timestamped(), standard(), body()))
	old := strconv.FormatInt(noon().Add(-time.Hour).Unix(), 10)
	increase := header("Webhook-Signature", "t=1700000000,v1="+hexMAC(sharedSecret, "1700000000.", deactivated))
	hooks := header("Webhook-Id", "msg_1", "Webhook-Timestamp", "1700000000", "Webhook-Signature", "v1,"+base64MAC(sharedSecret, "msg_1.1700000000.", deactivated))
	for _, test := range []struct {
		name   string
		header http.Header
		id     string
		want   error
	}{
		{"the first", increase, hashed("1700000000." + deactivated), nil},
		{"the second", hooks, "msg_1", nil},
		{"the third", header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, deactivated)), hashed(deactivated), nil},
		{"a right one beside a wrong one", header("X-Hub-Signature-256", "sha256="+hexMAC("x", deactivated), "Webhook-Id", "msg_1", "Webhook-Timestamp", "1700000000", "Webhook-Signature", "v1,"+base64MAC(sharedSecret, "msg_1.1700000000.", deactivated)), "msg_1", nil},
		{"none", header("Content-Type", "application/json"), "", webhook.ErrUnsigned},
		{"a wrong one", header("X-Hub-Signature-256", "sha256="+hexMAC("x", deactivated)), "", webhook.ErrForged},
		{"an old one, and a wrong one after it", header("Webhook-Signature", "t="+old+",v1="+hexMAC(sharedSecret, old, ".", deactivated), "X-Hub-Signature-256", "sha256="+hexMAC("x", deactivated)), "", webhook.ErrStale},
	} {
		t.Run(test.name, func(t *testing.T) {
			event, err := v.Verify(sensitive.New(sharedSecret), request(test.header, deactivated, noon()))
			if !errors.Is(err, test.want) || event.ID != test.id {
				t.Errorf("%q, %v; want %q, %v", event.ID, err, test.id, test.want)
			}
		})
	}
}

// hashed is the identity of an event that has no signed name.
func hashed(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// A signature that was made for one scheme must not make another event in another one.
func TestSchemesDoNotMix(t *testing.T) {
	v := verifier(t, spec(body(), timestamped(), standard()))
	content := "1700000000." + deactivated
	for name, h := range map[string]http.Header{
		"the time in the body":   header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, content)),
		"another body after all": header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, "msg_1."+content)),
	} {
		signed := content
		if name == "another body after all" {
			signed = "msg_1." + content
		}
		event, err := v.Verify(sensitive.New(sharedSecret), request(h, signed, noon()))
		if err == nil && (event.Deauthorized || event.GrantID != "") {
			t.Errorf("%s: %+v", name, event)
		}
	}
}

func TestEvents(t *testing.T) {
	slackSpec := func(s *v1alpha1.WebhookSpec) {
		s.EventType, s.DeauthorizedEvents = "$.event.type", []string{"app_uninstalled", "tokens_revoked"}
		s.ConnectionID, s.Subject = "", "$.team_id"
		s.Challenge = &v1alpha1.WebhookChallenge{EventType: "url_verification", Value: "$.challenge"}
	}
	github := func(s *v1alpha1.WebhookSpec) {
		s.EventTypeHeader, s.DeauthorizedEvents = "X-GitHub-Event", []string{"github_app_authorization"}
		s.ConnectionID, s.Subject = "", "$.sender.id"
	}
	for _, test := range []struct {
		name  string
		spec  func(*v1alpha1.WebhookSpec)
		body  string
		extra []string
		want  webhook.Event
	}{
		{"Increase's", nil, deactivated, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "connection_dauknoksyr4wilz4e6my", Deauthorized: true}},
		{"of another type", nil, `{"type":"account.created","associated_object_id":"a"}`, nil, webhook.Event{Type: "account.created", GrantID: "a"}},
		{"of a type that begins the same", nil, `{"type":"oauth_connection.deactivated.not","associated_object_id":"a"}`, nil, webhook.Event{Type: "oauth_connection.deactivated.not", GrantID: "a"}},
		{"without a type", nil, `{"associated_object_id":"a"}`, nil, webhook.Event{GrantID: "a"}},
		{"without a type, where an empty one is listed", func(s *v1alpha1.WebhookSpec) { s.DeauthorizedEvents = []string{""} }, `{"associated_object_id":"a"}`, nil, webhook.Event{GrantID: "a"}},
		{"about nobody", nil, `{"type":"oauth_connection.deactivated"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", Deauthorized: true}},
		{"about null", nil, `{"type":"oauth_connection.deactivated","associated_object_id":null}`, nil, webhook.Event{Type: "oauth_connection.deactivated", Deauthorized: true}},
		{"about an object", nil, `{"type":"oauth_connection.deactivated","associated_object_id":{"id":"a"}}`, nil, webhook.Event{Type: "oauth_connection.deactivated", Deauthorized: true}},
		{"about control characters", nil, `{"type":"oauth_connection.deactivated","associated_object_id":"a\u0000b"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", Deauthorized: true}},
		{"about no end of it", nil, `{"type":"oauth_connection.deactivated","associated_object_id":"` + strings.Repeat("a", 5000) + `"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", Deauthorized: true}},
		{"about a number", nil, `{"type":"oauth_connection.deactivated","associated_object_id":9007199254740993}`, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "9007199254740993", Deauthorized: true}},
		{"about a number with an exponent", nil, `{"type":"oauth_connection.deactivated","associated_object_id":1.2345678e+07}`, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "12345678", Deauthorized: true}},
		{"a list", nil, `[` + deactivated + `]`, nil, webhook.Event{}},
		{"a byte order mark", nil, "\ufeff" + deactivated, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "connection_dauknoksyr4wilz4e6my", Deauthorized: true}},
		{"a type twice: the last counts", nil, `{"type":"x","associated_object_id":"a","type":"oauth_connection.deactivated"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "a", Deauthorized: true}},
		{"deep nesting beside it", nil, `{"x":` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `,"type":"oauth_connection.deactivated","associated_object_id":"a"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "a", Deauthorized: true}},
		{"many members", nil, `{` + strings.Repeat(`"x":0,`, 1e5) + `"type":"oauth_connection.deactivated","associated_object_id":"a"}`, nil, webhook.Event{Type: "oauth_connection.deactivated", GrantID: "a", Deauthorized: true}},
		{"Slack's", slackSpec, `{"type":"event_callback","team_id":"T1","event":{"type":"app_uninstalled"}}`, nil, webhook.Event{Type: "app_uninstalled", Subject: "T1", Deauthorized: true}},
		{"Slack's about a message", slackSpec, `{"type":"event_callback","team_id":"T1","event":{"type":"message","text":"app_uninstalled"}}`, nil, webhook.Event{Type: "message", Subject: "T1"}},
		{"Slack's challenge", slackSpec, `{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`, nil, webhook.Event{Challenge: new("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")}},
		{"a challenge of nothing", slackSpec, `{"type":"url_verification"}`, nil, webhook.Event{Challenge: new("")}},
		{"a challenge of an object", slackSpec, `{"type":"url_verification","challenge":{"a":"b"}}`, nil, webhook.Event{Challenge: new("")}},
		{"what only looks like a challenge", slackSpec, `{"type":"url_verification","challenge":"x","team_id":"T1","event":{"type":"tokens_revoked"}}`, nil, webhook.Event{Type: "tokens_revoked", Subject: "T1", Deauthorized: true}},
		{"a challenge of its own type", func(s *v1alpha1.WebhookSpec) {
			s.Challenge = &v1alpha1.WebhookChallenge{EventType: "challenge", Value: "$.value"}
		}, `{"type":"challenge","value":42}`, nil, webhook.Event{Type: "challenge", Challenge: new("42")}},
		{"GitHub's", github, `{"action":"revoked","sender":{"id":21031067,"login":"octocat"}}`, []string{"X-GitHub-Event", "github_app_authorization"}, webhook.Event{Type: "github_app_authorization", Subject: "21031067", Deauthorized: true}},
		{"GitHub's of another type", github, `{"sender":{"id":1}}`, []string{"X-GitHub-Event", "ping"}, webhook.Event{Type: "ping", Subject: "1"}},
		{"GitHub's without its header", github, `{"type":"github_app_authorization","sender":{"id":1}}`, nil, webhook.Event{Subject: "1"}},
		{"GitHub's with two headers", github, `{"sender":{"id":1}}`, []string{"X-GitHub-Event", "ping", "X-GitHub-Event", "github_app_authorization"}, webhook.Event{Subject: "1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spec(body())
			if test.spec != nil {
				test.spec(s)
			}
			h := header(append([]string{"X-Hub-Signature-256", "sha256=" + hexMAC(sharedSecret, test.body)}, test.extra...)...)
			got, err := verifier(t, s).Verify(sensitive.New(sharedSecret), request(h, test.body, noon()))
			if err != nil {
				t.Fatal(err)
			}
			test.want.ID, test.want.At = hashed(test.body), noon()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	v := verifier(t, spec(body()))
	for _, content := range []string{
		"", " ", "payload=%7B%22type%22%3A%22x%22%7D", "<event/>", deactivated[:40], strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<17),
		"\x00", "nul", `{"type":"a" "b":1}`,
	} {
		h := header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, content))
		if event, err := v.Verify(sensitive.New(sharedSecret), request(h, content, noon())); !errors.Is(err, webhook.ErrUnreadable) || event.ID != "" {
			t.Errorf("%.30q: %v, %+v", content, err, event)
		}
		// What is not signed is not looked at.
		if _, err := v.Verify(sensitive.New("another"), request(h, content, noon())); !errors.Is(err, webhook.ErrForged) {
			t.Errorf("%.30q, forged: %v", content, err)
		}
	}
}

// What has no meaning, or lets something unsigned through, is refused although an API server might have let it pass.
func TestUnusableSpecs(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.WebhookSpec){
		"no scheme":             func(s *v1alpha1.WebhookSpec) { s.Scheme = "" },
		"another scheme":        func(s *v1alpha1.WebhookSpec) { s.Scheme = "Ed25519" },
		"another encoding":      func(s *v1alpha1.WebhookSpec) { s.Encoding = "Base32" },
		"the body unsigned":     func(s *v1alpha1.WebhookSpec) { s.SignedContent = "{url}{bodY}" },
		"the time unsigned":     func(s *v1alpha1.WebhookSpec) { s.TimestampHeader = "X-Time" },
		"no time to sign":       func(s *v1alpha1.WebhookSpec) { s.SignedContent = "{timestamp}{body}" },
		"a broken alternative":  func(s *v1alpha1.WebhookSpec) { s.Alternatives = []v1alpha1.WebhookSignature{{}} },
		"a signature called t":  func(s *v1alpha1.WebhookSpec) { s.Scheme, s.Prefix = v1alpha1.WebhookTimestampedHMAC, new("t=") },
		"a nameless signature":  func(s *v1alpha1.WebhookSpec) { s.Scheme, s.Prefix = v1alpha1.WebhookTimestampedHMAC, new("=") },
		"no path to anybody":    func(s *v1alpha1.WebhookSpec) { s.ConnectionID = "" },
		"a broken type":         func(s *v1alpha1.WebhookSpec) { s.EventType = "$.[" },
		"a broken connectionID": func(s *v1alpha1.WebhookSpec) { s.ConnectionID = "$..a..b" },
		"a broken subject":      func(s *v1alpha1.WebhookSpec) { s.Subject = "subject" },
		"a broken challenge": func(s *v1alpha1.WebhookSpec) {
			s.Challenge = &v1alpha1.WebhookChallenge{EventType: "x", Value: "value"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(body())
			edit(s)
			if v, err := webhook.NewVerifier(s); err == nil {
				t.Errorf("taken: %+v", v)
			}
		})
	}
}

// URLs that are not known cannot be signed.
func TestWithoutURL(t *testing.T) {
	r := request(header("X-Square-Hmacsha256-Signature", base64MAC(sharedSecret, deactivated)), deactivated, noon())
	r.URL = ""
	if _, err := verifier(t, spec(body(square))).Verify(sensitive.New(sharedSecret), r); !errors.Is(err, webhook.ErrUnsigned) {
		t.Errorf("got %v", err)
	}
}

// all are the schemes of the tests, with signatures of each.
func all() *v1alpha1.WebhookSpec {
	s := spec(timestamped(), standard(), body(), body(slack), body(square))
	s.Subject = "$..subject"
	s.Challenge = &v1alpha1.WebhookChallenge{EventType: "url_verification", Value: "$.challenge"}
	return s
}

// Whatever comes, nobody gets in without the secret.
func FuzzForge(f *testing.F) {
	good := hexMAC("somebody else's secret", "1700000000.", deactivated)
	f.Add("t=1700000000,v1="+good, "msg_1", "1700000000", "sha256="+good, "v0="+good, []byte(deactivated), int64(1700000000))
	f.Add("v1,"+good+" v1,AAAA", "", "-1", "sha256=", "v0=", []byte("{"), int64(-1))
	f.Add("t=2023-11-14T22:13:20Z,t=1,v1=,v1=00", "a.b", "99999999999999999999", good, "", []byte{}, int64(1)<<40)
	f.Add(",,,==,t,v1", strings.Repeat("m", 300), "1e9", "sha256=zz", "v0=\x00", []byte(`{"type":1e999}`), int64(0))
	v, err := webhook.NewVerifier(all())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, signature, id, at, hub, slack string, content []byte, now int64) {
		h := header("Webhook-Signature", signature, "Webhook-Id", id, "Webhook-Timestamp", at, "X-Hub-Signature-256", hub,
			"X-Slack-Signature", slack, "X-Slack-Request-Timestamp", at, "X-Square-Hmacsha256-Signature", slack)
		event, err := v.Verify(sensitive.New("a secret that nobody knows"), request(h, string(content), time.Unix(now, 0)))
		if !errors.Is(err, webhook.ErrForged) && !errors.Is(err, webhook.ErrUnsigned) {
			t.Fatalf("%v, %+v", err, event)
		}
		if event.ID != "" || event.GrantID != "" || event.Subject != "" || event.Challenge != nil {
			t.Errorf("refused, and yet %+v", event)
		}
	})
}

// A signed event is read or is no JSON, with the same identity each time.
func FuzzSigned(f *testing.F) {
	for _, content := range []string{
		deactivated, `{"type":"url_verification","challenge":"x"}`, "payload=1", `{"type":{"type":1}}`, `[[[[{"subject":1e5}]]]]`, "\ufeff{}", `{"a":1}{`, `0{"type":"oauth_connection.deactivated"}`,
	} {
		f.Add([]byte(content), uint8(0))
		f.Add([]byte(content), uint8(3))
	}
	v, err := webhook.NewVerifier(all())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte, scheme uint8) {
		var h http.Header
		c := string(content)
		switch scheme % 5 {
		case 0:
			h = header("Webhook-Signature", "t=1700000000,v1="+hexMAC(sharedSecret, "1700000000.", c))
		case 1:
			h = header("Webhook-Id", "msg_1", "Webhook-Timestamp", "1700000000", "Webhook-Signature", "v1,"+base64MAC(sharedSecret, "msg_1.1700000000.", c))
		case 2:
			h = header("X-Hub-Signature-256", "sha256="+hexMAC(sharedSecret, c))
		case 3:
			h = header("X-Slack-Request-Timestamp", "1700000000", "X-Slack-Signature", "v0="+hexMAC(sharedSecret, "v0:1700000000:", c))
		default:
			h = header("X-Square-Hmacsha256-Signature", base64MAC(sharedSecret, publicURL, c))
		}
		event, err := v.Verify(sensitive.New(sharedSecret), request(h, c, noon()))
		if err != nil {
			if !errors.Is(err, webhook.ErrUnreadable) || event != (webhook.Event{}) {
				t.Fatalf("%v, %+v", err, event)
			}
			return
		}
		again, err := v.Verify(sensitive.New(sharedSecret), request(h, c, noon().Add(time.Minute)))
		if err != nil || again.ID != event.ID || event.ID == "" {
			t.Errorf("%q, later %q: %v", event.ID, again.ID, err)
		}
		if event.Challenge != nil && event.Deauthorized {
			t.Errorf("a challenge that ends a grant: %+v", event)
		}
		if len(event.GrantID) > 4<<10 || len(event.Subject) > 4<<10 {
			t.Errorf("names of %d and %d bytes", len(event.GrantID), len(event.Subject))
		}
	})
}
