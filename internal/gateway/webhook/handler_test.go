// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/webhook"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// about is an event about the end of a grant.
func about(id, subject string) string {
	return fmt.Sprintf(`{"type":"oauth_connection.deactivated","associated_object_id":%q,"subject":%q}`, id, subject)
}

func TestEventBecomesMessage(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	c := w.connection(w.namespace, "crm", a, "connection_1", "group_1")
	w.connection(w.namespace, "other", a, "connection_2", "group_2")

	w.clock.SetTime(noon().Add(-time.Minute))
	h := w.event("msg_1", about("connection_1", ""))
	w.clock.SetTime(noon())
	answer := w.post(a, h, about("connection_1", ""))
	w.answered(answer, http.StatusOK, metrics.WebhookAccepted)
	w.told(a, c)
	want := pending.Message{
		Connection: client.ObjectKeyFromObject(c), ConnectionUID: c.UID, Application: client.ObjectKeyFromObject(a), ApplicationUID: a.UID,
		ReceivedAt: noon(), KeepUntil: noon().Add(11 * time.Minute),
		Hint: &pending.Hint{ID: "msg_1", EventType: "oauth_connection.deactivated", GrantID: "connection_1", At: noon().Add(-time.Minute)},
	}
	got := w.messages(a)[c.UID]
	got.KeepUntil = keepUntil(t, a, "msg_1", c)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, value := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Length": strconv.Itoa(answer.Body.Len()),
	} {
		if got := answer.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	// The tests run as a gateway: what it has written it cannot read.
	err := shared.live.Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: messageName(a, "msg_1", c)}, &corev1.Secret{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("a gateway may read a message: %v", err)
	}
}

func messageName(a *v1alpha1.OAuthApplication, event string, c *v1alpha1.OAuthConnection) string {
	return pending.Name(pending.GrantHint, string(a.UID), event, string(c.UID))
}

// keepUntil is what a message says, rather than what follows from it by the clock of the API server.
func keepUntil(t *testing.T, a *v1alpha1.OAuthApplication, event string, c *v1alpha1.OAuthConnection) time.Time {
	t.Helper()
	secret := &corev1.Secret{}
	if err := shared.plane.Client().Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: messageName(a, event, c)}, secret); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, secret.Annotations[pending.AnnotationKeepUntil])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Every connection that an event is about is told, and nobody else.
func TestWhoIsTold(t *testing.T) {
	w := newWorld(t)
	elsewhere := shared.plane.Namespace(t)
	a, other := w.application("crm"), w.application("other")
	named := w.connection(w.namespace, "named", a, "connection_1", "group_1")
	sibling := w.connection(w.namespace, "sibling", a, "connection_2", "group_1")
	anonymous := w.connection(w.namespace, "anonymous", a, "", "group_1")
	far := w.connection(elsewhere, "far", a, "", "group_1")
	twin := w.connection(elsewhere, "twin", a, "connection_1", "group_9")
	w.connection(w.namespace, "stranger", a, "connection_3", "group_3")
	w.connection(w.namespace, "new", a, "", "")
	w.connection(w.namespace, "theirs", other, "connection_1", "group_1")
	namesake := w.connection(elsewhere, "namesake", &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "crm"}}, "connection_1", "group_1")

	told := map[types.UID]bool{}
	for i, test := range []struct {
		reason, id, subject string
		want                []*v1alpha1.OAuthConnection
	}{
		{"the grant is named: it alone, and those of the account whose grant has no name", "connection_1", "group_1", []*v1alpha1.OAuthConnection{named, twin, anonymous, far}},
		{"the grant is named, without its account", "connection_2", "", []*v1alpha1.OAuthConnection{sibling}},
		{"the account is named: all of its grants", "", "group_1", []*v1alpha1.OAuthConnection{named, sibling, anonymous, far}},
		{"nobody has that name", "connection_7", "group_7", nil},
		{"a name is no other name", "group_1", "connection_1", nil},
	} {
		content := about(test.id, test.subject)
		w.answered(w.post(a, w.event(fmt.Sprintf("msg_%d", i), content), content), http.StatusOK, metrics.WebhookAccepted)
		names := map[string]bool{}
		for _, c := range test.want {
			names[messageName(a, fmt.Sprintf("msg_%d", i), c)] = true
		}
		if test.want == nil {
			names[messageName(a, fmt.Sprintf("msg_%d", i), &v1alpha1.OAuthConnection{})] = true
		}
		for name := range names {
			secret := &corev1.Secret{}
			if err := shared.plane.Client().Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: name}, secret); err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			m, err := pending.Decode(secret)
			if err != nil || m.Hint.GrantID != test.id || m.Hint.Subject != test.subject {
				t.Errorf("%s: %+v, %v", test.reason, m, err)
			}
			if err := shared.plane.Client().Delete(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}
		for uid, m := range w.messages(a) {
			t.Errorf("%s: %s (%q) is told too", test.reason, m.Connection, uid)
			told[uid] = true
		}
	}
	if told[namesake.UID] || len(w.messages(other)) > 0 {
		t.Error("another application's connections were told")
	}
}

func TestReplays(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	first := w.connection(w.namespace, "first", a, "", "group_1")
	content := about("", "group_1")
	h := w.event("msg_1", content)
	w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
	w.answered(w.post(a, h, content), http.StatusConflict, metrics.WebhookReplayed)
	w.answered(w.send(w.replica(), a.Namespace+"/"+a.Name, h, content), http.StatusConflict, metrics.WebhookReplayed)

	// The provider's own second attempt has another time and the same id.
	w.clock.SetTime(noon().Add(3 * time.Minute))
	w.answered(w.post(a, w.event("msg_1", content), content), http.StatusConflict, metrics.WebhookReplayed)
	w.told(a, first)

	// One that was not told yet is told.
	second := w.connection(w.namespace, "second", a, "", "group_1")
	w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
	w.told(a, first, second)

	// Under another id it is another event.
	another := w.event("msg_2", content)
	another.Set("Webhook-Signature", h.Get("Webhook-Signature"))
	w.answered(w.post(a, another, content), http.StatusNotFound, metrics.WebhookForged)
	w.told(a, first, second)

	// What names nobody known is taken once too.
	content = about("connection_7", "")
	h = w.event("msg_3", content)
	w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
	w.answered(w.post(a, h, content), http.StatusConflict, metrics.WebhookReplayed)
	w.told(a, first, second, &v1alpha1.OAuthConnection{})
}

// An event without a name of its own is the same as long as its signed content is.
func TestReplaysWithoutID(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	content := about("connection_1", "")
	sign := func(at time.Time) http.Header {
		now := strconv.FormatInt(at.Unix(), 10)
		return header("Webhook-Signature", "t="+now+",v1="+hexMAC(sharedSecret, now, ".", content))
	}
	w.answered(w.post(a, sign(noon()), content), http.StatusOK, metrics.WebhookAccepted)
	h := sign(noon())
	h.Set("Webhook-Signature", "v1=00, "+h.Get("Webhook-Signature")+",v0=00")
	w.answered(w.post(a, h, content), http.StatusConflict, metrics.WebhookReplayed)
	if got := len(w.messages(a)); got != 1 {
		t.Errorf("%d messages", got)
	}
}

func TestParallelDeliveries(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	var connections []*v1alpha1.OAuthConnection
	for i := range 3 {
		connections = append(connections, w.connection(w.namespace, fmt.Sprintf("crm-%d", i), a, "", "group_1"))
	}
	content := about("", "group_1")
	h := w.event("msg_1", content)
	replicas := []http.Handler{w.handler, w.replica(), w.replica()}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			if answer := w.send(replicas[i%len(replicas)], a.Namespace+"/"+a.Name, h, content); answer.Code != http.StatusOK && answer.Code != http.StatusConflict {
				t.Errorf("status %d: %s", answer.Code, answer.Body)
			}
		})
	}
	all.Wait()
	w.told(a, connections...)
	accepted, replayed := w.counter.count(metrics.WebhookAccepted), w.counter.count(metrics.WebhookReplayed)
	if accepted < 1 || accepted > len(connections) || accepted+replayed != 24 {
		t.Errorf("%d accepted, %d replayed", accepted, replayed)
	}
}

// Strangers learn nothing: not who exists, not who takes events, not what was wrong.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	silent := w.application("silent", func(a *v1alpha1.OAuthApplication) { a.Spec.Webhook = nil })
	unkeyed := w.application("unkeyed")
	delete(w.keys.secrets, unkeyed.UID)
	broken := w.application("broken", func(a *v1alpha1.OAuthApplication) { a.Spec.Webhook.Scheme = ""; a.Spec.Webhook.Alternatives = nil })
	misspelt := w.application("misspelt", func(a *v1alpha1.OAuthApplication) { a.Spec.Provider = "no-such-preset" })
	content := about("connection_1", "")
	signed := w.event("msg_1", content)
	forged := w.event("msg_1", content+" ")
	late := strconv.FormatInt(noon().Add(-time.Hour).Unix(), 10)
	forgedLate := header("Webhook-Id", "msg_1", "Webhook-Timestamp", late, "Webhook-Signature", "v1,"+base64MAC("guess", "msg_1.", late, ".", content))
	var first *httptest.ResponseRecorder
	for _, test := range []struct {
		name, path string
		header     http.Header
		content    string
		want       metrics.WebhookResult
	}{
		{"no such application", w.namespace + "/nobody", signed, content, metrics.WebhookUnknown},
		{"no such namespace", "nowhere/crm", signed, content, metrics.WebhookUnknown},
		{"no name that could be one", w.namespace + "/" + strings.Repeat("Ü", 300), signed, content, metrics.WebhookUnknown},
		{"without webhook", w.namespace + "/" + silent.Name, signed, content, metrics.WebhookUnknown},
		{"without secret", w.namespace + "/" + unkeyed.Name, signed, content, metrics.WebhookUnknown},
		{"with a webhook without scheme", w.namespace + "/" + broken.Name, signed, content, metrics.WebhookUnknown},
		{"with a preset that there is not", w.namespace + "/" + misspelt.Name, signed, content, metrics.WebhookUnknown},
		{"unsigned", w.namespace + "/" + a.Name, http.Header{}, content, metrics.WebhookUnsigned},
		{"forged", w.namespace + "/" + a.Name, forged, content, metrics.WebhookForged},
		{"forged, at another time", w.namespace + "/" + a.Name, forgedLate, content, metrics.WebhookForged},
		{"forged, and no JSON", w.namespace + "/" + a.Name, signed, "<event/>", metrics.WebhookForged},
		{"forged and large", w.namespace + "/" + a.Name, signed, content + strings.Repeat(" ", 1<<19), metrics.WebhookForged},
	} {
		answer := w.send(w.handler, test.path, test.header, test.content)
		w.answered(answer, http.StatusNotFound, test.want)
		if first == nil {
			first = answer
		}
		if answer.Body.String() != first.Body.String() || cmp.Diff(first.Header(), answer.Header()) != "" {
			t.Errorf("%s is told apart: %s %v", test.name, answer.Body, answer.Header())
		}
	}
	for _, each := range []*v1alpha1.OAuthApplication{a, silent, unkeyed, broken, misspelt} {
		if got := len(w.messages(each)); got > 0 {
			t.Errorf("%d messages about %s", got, each.Name)
		}
	}
}

// What can be said to those who can sign.
func TestRefusedEvents(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm", func(a *v1alpha1.OAuthApplication) {
		a.Spec.Webhook.Challenge = &v1alpha1.WebhookChallenge{EventType: "url_verification", Value: "$.challenge"}
	})
	signed := func(content string) (http.Header, string) { return w.event("msg_1", content), content }
	sendAt := func(at time.Time, content string) http.Header {
		w.clock.SetTime(at)
		defer w.clock.SetTime(noon())
		return w.event("msg_1", content)
	}
	content := about("connection_1", "group_1")

	w.answered(w.post(a, sendAt(noon().Add(-6*time.Minute), content), content), http.StatusBadRequest, metrics.WebhookStale)
	w.answered(w.post(a, sendAt(noon().Add(6*time.Minute), content), content), http.StatusBadRequest, metrics.WebhookStale)
	for _, unreadable := range []string{"", "payload=%7B%7D", content[:20], "[" + strings.Repeat("[", 1<<19)} {
		h, text := signed(unreadable)
		answer := w.post(a, h, text)
		w.answered(answer, http.StatusBadRequest, metrics.WebhookUnreadable)
		if !strings.Contains(answer.Body.String(), "application/json") {
			t.Errorf("%s does not say what to do", answer.Body)
		}
	}
	for name, ignored := range map[string]string{
		"another type": `{"type":"account.created","associated_object_id":"connection_1"}`,
		"no type":      `{"associated_object_id":"connection_1"}`,
		"deep nesting": strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5),
	} {
		h, text := signed(ignored)
		t.Log(name)
		w.answered(w.post(a, h, text), http.StatusOK, metrics.WebhookIgnored)
	}
	for _, unusable := range []string{
		`{"type":"oauth_connection.deactivated"}`, `{"type":"oauth_connection.deactivated","associated_object_id":{"a":1},"subject":""}`,
		`{"type":"url_verification"}`,
	} {
		h, text := signed(unusable)
		w.answered(w.post(a, h, text), http.StatusOK, metrics.WebhookUnusable)
	}
	h, text := signed(`{"type":"url_verification","challenge":"<script>alert(1)</script>"}`)
	answer := w.post(a, h, text)
	w.answered(answer, http.StatusOK, metrics.WebhookChallenge)
	if answer.Body.String() != "<script>alert(1)</script>" || answer.Header().Get("Content-Type") != "text/plain; charset=utf-8" || answer.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v", answer.Body, answer.Header())
	}
	if got := len(w.messages(a)); got > 0 {
		t.Errorf("%d messages", got)
	}
}

// The type that the body is said to have does not matter: it is not signed.
func TestContentTypes(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	for i, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16", "\x00"} {
		content := about(fmt.Sprintf("connection_%d", i), "")
		h := w.event(fmt.Sprintf("msg_%d", i), content)
		h["Content-Type"], h["Content-Encoding"] = []string{kind}, []string{"gzip"}
		w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
	}
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	path := v1alpha1.PathWebhooks + "/" + a.Namespace + "/" + a.Name
	serve := func(method, path string, body io.Reader, edit func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, body)
		edit(r)
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		return answer
	}
	giant := strings.Repeat(" ", 1<<20) + "{}"
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodOptions, "BREW"} {
		answer := serve(method, path, nil, func(*http.Request) {})
		w.answered(answer, http.StatusMethodNotAllowed, metrics.WebhookBadRequest)
		if answer.Header().Get("Allow") != http.MethodPost {
			t.Errorf("%s: %v", method, answer.Header())
		}
	}
	for name, edit := range map[string]func(*http.Request){
		"with its length":           func(*http.Request) {},
		"without a length":          func(r *http.Request) { r.ContentLength = -1 },
		"with a wrong length":       func(r *http.Request) { r.ContentLength = 10 },
		"of an application unheard": func(r *http.Request) { r.URL.Path += "-not" },
	} {
		t.Log(name)
		w.answered(serve(http.MethodPost, path, strings.NewReader(giant), edit), http.StatusRequestEntityTooLarge, metrics.WebhookTooLarge)
	}
	w.answered(serve(http.MethodPost, path, iotest.ErrReader(io.ErrUnexpectedEOF), func(*http.Request) {}), http.StatusBadRequest, metrics.WebhookBadRequest)

	// The largest that is taken.
	content := about("connection_1", "")
	content += strings.Repeat(" ", 1<<20-len(content))
	w.answered(w.post(a, w.event("msg_1", content), content), http.StatusOK, metrics.WebhookAccepted)
}

func TestNoKeys(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	content := about("connection_1", "")
	w.keys.err = errors.New("the directory is empty")
	answer := w.post(a, w.event("msg_1", content), content)
	w.answered(answer, http.StatusServiceUnavailable, metrics.WebhookUnavailable)
	if answer.Header().Get("Retry-After") != "60" || strings.Contains(answer.Body.String(), "directory") {
		t.Errorf("%s %v", answer.Body, answer.Header())
	}
	w.keys.err = nil
	w.answered(w.post(a, w.event("msg_1", content), content), http.StatusOK, metrics.WebhookAccepted)

	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	without := webhook.New(webhook.Options{
		Reader: w.reader, Creator: w.creator, Namespace: operatorNamespace, Keys: keyset.Ephemeral(), Catalogue: catalogue, Counter: w.counter, Clock: w.clock,
	})
	w.answered(w.send(without, a.Namespace+"/"+a.Name, w.event("msg_2", content), content), http.StatusServiceUnavailable, metrics.WebhookUnavailable)
	w.answered(w.send(without, "nowhere/nobody", http.Header{}, content), http.StatusServiceUnavailable, metrics.WebhookUnavailable)
}

// When not all could be told, the provider is asked to send again, and then the others are.
func TestPartialFailure(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	var connections []*v1alpha1.OAuthConnection
	for i := range 3 {
		connections = append(connections, w.connection(w.namespace, fmt.Sprintf("crm-%d", i), a, "", "group_1"))
	}
	broken := messageName(a, "msg_1", connections[1])
	w.creator.failing(func(secret *corev1.Secret) error {
		if secret.Name == broken {
			return apierrors.NewTimeoutError("etcd is away", 1)
		}
		return nil
	})
	content := about("", "group_1")
	h := w.event("msg_1", content)
	answer := w.post(a, h, content)
	w.answered(answer, http.StatusInternalServerError, metrics.WebhookFailed)
	if strings.Contains(answer.Body.String(), "etcd") {
		t.Errorf("the provider is told of our troubles: %s", answer.Body)
	}
	w.told(a, connections[0], connections[2])
	// With some taken before and some failing it is still a failure.
	w.answered(w.post(a, h, content), http.StatusInternalServerError, metrics.WebhookFailed)
	w.creator.failing(nil)
	w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
	w.told(a, connections...)
	w.answered(w.post(a, h, content), http.StatusConflict, metrics.WebhookReplayed)
}

// A provider that does not wait for the answer has told what it had to tell.
func TestProviderHangsUp(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	c := w.connection(w.namespace, "crm", a, "connection_1", "")
	ctx, cancel := context.WithCancel(t.Context())
	w.creator.failing(func(*corev1.Secret) error { cancel(); return nil })
	content := about("connection_1", "")
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, v1alpha1.PathWebhooks+"/"+a.Namespace+"/"+a.Name, strings.NewReader(content))
	r.Header = w.event("msg_1", content)
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	w.answered(answer, http.StatusOK, metrics.WebhookAccepted)
	w.told(a, c)
}

// An application that changes is read anew.
func TestChangedApplication(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	content := about("connection_1", "")
	w.answered(w.post(a, w.event("msg_1", content), content), http.StatusOK, metrics.WebhookAccepted)
	a.Spec.Webhook.DeauthorizedEvents = []string{"something.else"}
	if err := shared.plane.Client().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.seen(a)
	w.answered(w.post(a, w.event("msg_2", content), content), http.StatusOK, metrics.WebhookIgnored)
	a.Spec.Webhook = nil
	if err := shared.plane.Client().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.seen(a)
	w.answered(w.post(a, w.event("msg_3", content), content), http.StatusNotFound, metrics.WebhookUnknown)
	w.keys.set(a.UID, "another secret")
	w.answered(w.post(a, w.event("msg_4", content), content), http.StatusNotFound, metrics.WebhookUnknown)
}

// The URL that is signed is the one that status shows.
func TestSignedURL(t *testing.T) {
	w := newWorld(t)
	a := w.application("square", func(a *v1alpha1.OAuthApplication) {
		a.Spec.Webhook = spec(body(square))
		a.Spec.Webhook.DeauthorizedEvents, a.Spec.Webhook.Subject = []string{"oauth.authorization.revoked"}, "$.merchant_id"
	})
	content := `{"type":"oauth.authorization.revoked","merchant_id":"M1"}`
	h := header("X-Square-Hmacsha256-Signature", base64MAC(sharedSecret, publicURL, content))
	w.answered(w.post(a, h, content), http.StatusNotFound, metrics.WebhookUnsigned)
	a.Status.WebhookURL = publicURL
	if err := shared.plane.Client().Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.seen(a)
	w.answered(w.post(a, h, content), http.StatusOK, metrics.WebhookAccepted)
}

// Nothing of a secret or a signature is written down, whatever happens.
func TestLogsAreClean(t *testing.T) {
	w := newWorld(t)
	a := w.application("crm")
	w.connection(w.namespace, "crm", a, "connection_1", "")
	content := about("connection_1", "")
	h := w.event("msg_1", content)
	w.post(a, h, content)
	w.post(a, h, content)
	w.post(a, h, content+" ")
	w.post(a, http.Header{}, content)
	w.post(a, w.event("msg_2", "{"), "{")
	w.creator.failing(func(*corev1.Secret) error { return errors.New("no room") })
	third := w.event("msg_3", content)
	w.post(a, third, content)
	log := w.log.String()
	for _, wanted := range []string{"msg_1", "event refused", "no room", a.Name} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log does not say %q:\n%s", wanted, log)
		}
	}
	for _, secret := range []string{sharedSecret, h.Get("Webhook-Signature")[3:], third.Get("Webhook-Signature")[3:]} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has a secret or a signature:\n%s", log)
		}
	}
}

// inMemory is a world without an API server, with an application and as many connections of one account as wanted.
func inMemory(t *testing.T, connections int, funcs interceptor.Funcs) (*world, *v1alpha1.OAuthApplication) {
	t.Helper()
	a := &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "crm", UID: "a1", Generation: 1}}
	a.Spec.Webhook = spec(standard())
	a.Spec.Webhook.Subject = "$.subject"
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(a).
		WithIndex(&v1alpha1.OAuthConnection{}, webhook.IndexByApplication, webhook.IndexApplication).WithInterceptorFuncs(funcs)
	for i := range connections {
		c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: fmt.Sprintf("c-%d", i), UID: types.UID(fmt.Sprintf("c-%d", i))}}
		c.Spec.ApplicationRef.Name, c.Status.Subject = a.Name, "group_1"
		builder.WithObjects(c)
	}
	memory := builder.Build()
	w := worldOf(t, "platform", memory, memory)
	w.keys.set(a.UID, sharedSecret)
	return w, a
}

// One event becomes a bounded number of messages, and so do all events of one application in a time.
func TestBounds(t *testing.T) {
	created := 0
	w, a := inMemory(t, 1100, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return nil
	}})
	var mu sync.Mutex
	w.creator.failing(func(*corev1.Secret) error {
		mu.Lock()
		defer mu.Unlock()
		created++
		return nil
	})
	content := about("", "group_1")
	w.answered(w.post(a, w.event("msg_1", content), content), http.StatusOK, metrics.WebhookAccepted)
	if created != 1000 {
		t.Errorf("%d messages, want 1000", created)
	}
	answer := w.post(a, w.event("msg_2", content), content)
	w.answered(answer, http.StatusTooManyRequests, metrics.WebhookLimited)
	if answer.Header().Get("Retry-After") != "200" || w.counter.limited[metrics.LimitApplication] != 1 || created != 1000 {
		t.Errorf("%v, %v, %d messages", answer.Header(), w.counter.limited, created)
	}
	one := about("connection_9", "")
	w.answered(w.post(a, w.event("msg_3", one), one), http.StatusTooManyRequests, metrics.WebhookLimited)
	w.clock.SetTime(noon().Add(time.Second))
	w.answered(w.post(a, w.event("msg_3", one), one), http.StatusOK, metrics.WebhookAccepted)
	// What costs nothing is not counted.
	ignored := `{"type":"account.created"}`
	for range 100 {
		if answer := w.post(a, w.event("msg_4", ignored), ignored); answer.Code != http.StatusOK {
			t.Fatalf("status %d", answer.Code)
		}
	}
}

// A cache that cannot answer is no reason to say that there is nobody.
func TestBrokenCache(t *testing.T) {
	fault := errors.New("the informer has not started")
	for name, funcs := range map[string]interceptor.Funcs{
		"applications": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return fault
		}},
		"connections": {List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return fault }},
	} {
		t.Run(name, func(t *testing.T) {
			w, a := inMemory(t, 1, funcs)
			content := about("", "group_1")
			w.answered(w.post(a, w.event("msg_1", content), content), http.StatusInternalServerError, metrics.WebhookFailed)
		})
	}
}

// Webhooks of the catalogue can be used as they are.
func TestPresets(t *testing.T) {
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, preset := range catalogue.Presets() {
		effective, err := catalogue.Effective(&v1alpha1.OAuthApplicationSpec{Provider: preset.Name})
		if err != nil {
			t.Fatal(err)
		}
		if effective.Webhook == nil {
			continue
		}
		if _, err := webhook.NewVerifier(effective.Webhook); err != nil {
			t.Errorf("%s: %v", preset.Name, err)
		}
	}
}
