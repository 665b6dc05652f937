// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// runIn runs tests in parallel in one world. When all have ended, nothing that people can read shows a secret.
func runIn(t *testing.T, w *world, tests map[string]func(*testing.T, *world)) {
	t.Helper()
	t.Run("all", func(t *testing.T) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, w)
			})
		}
	})
	w.showsNothing(t)
}

// showsNothing fails the test when an object, an event or the log shows a secret of this world, or any signed token at all:
// what is signed within the operator is not known to the test.
func (w *world) showsNothing(t *testing.T) {
	t.Helper()
	credential := regexp.MustCompile(`\beyJ[0-9A-Za-z_-]{8,}|PRIVATE KEY`) // The JSON of a header begins with {".
	texts := []string{w.Log.String(), w.metrics(t)}
	for _, namespace := range append([]string{w.namespace, w.operator}, w.others...) {
		texts = append(texts, everythingIn(t, namespace)...)
	}
	for _, text := range texts {
		w.noLeak(t, "a log or an object", text)
		if at := credential.FindStringIndex(text); at != nil {
			t.Errorf("a log or an object shows a signed token or a key after %q", text[max(0, at[0]-100):at[0]])
		}
	}
}

// metrics is what is served at the metrics endpoint.
func (w *world) metrics(t *testing.T) string {
	t.Helper()
	families, err := w.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := &strings.Builder{}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func byDevice(spec *v1alpha1.OAuthConnectionSpec) {
	spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantDeviceCode}
}

// deviceServer is a hostile server with an interval of a second between polls.
func (w *world) deviceServer(t *testing.T, lifetime time.Duration) *hostile.Server {
	t.Helper()
	server := w.hostile(t, harness.Options{})
	server.SetDevicePolling(time.Second, lifetime)
	return server
}

// polls selects the polls of devices.
func polls() record.Filter { return record.Filter{GrantType: hostile.DeviceCodeGrant} }

// invited wants a person to be asked to type a code that is not one of those before, and returns that code.
func (s *subject) invited(t *testing.T, before ...string) string {
	t.Helper()
	c := s.wait(t, func(c *v1alpha1.OAuthConnection) error {
		if d := c.Status.DeviceAuthorization; d == nil || slices.Contains(before, d.UserCode) {
			return errors.New("want a new user code")
		}
		return nil
	})
	return c.Status.DeviceAuthorization.UserCode
}

// waitPolls waits for further polls.
func waitPolls(t *testing.T, server *hostile.Server, more int) {
	t.Helper()
	if err := server.WaitFor(t.Context(), server.Count(polls())+more, polls()); err != nil {
		t.Fatal(err)
	}
}

// distances are the times between requests, in order.
func distances(server *hostile.Server, f record.Filter) []time.Duration {
	var all []time.Duration
	requests := server.Requests(f)
	for i := 1; i < len(requests); i++ {
		all = append(all, requests[i].Time.Sub(requests[i-1].Time))
	}
	return all
}

// TestDevice is how a person authorizes on another device.
func TestDevice(t *testing.T) {
	t.Parallel()
	runIn(t, newWorld(t, 0), map[string]func(*testing.T, *world){
		"a person types the code":                      deviceApproved,
		"slow_down makes polls rarer":                  deviceSlowed,
		"a person declines":                            deviceDenied,
		"a code that expires is replaced":              deviceExpires,
		"a code that the provider has forgotten":       deviceForgotten,
		"a provider that is away keeps the code":       deviceOutage,
		"the answer to the last poll is lost":          deviceAnswerLost,
		"deletion while waiting":                       deviceDeleted,
		"suspended while waiting":                      deviceSuspended,
		"a request asks for another code":              deviceRequested,
		"a grant that is refused is authorized again":  deviceAgain,
		"a provider without device authorization":      deviceUnsupported,
		"a provider whose device endpoint refuses":     deviceStartRefused,
		"a client that may not use device codes waits": deviceUnauthorizedClient,
	})
}

func deviceApproved(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	c := s.wait(t, phase(v1alpha1.ConnectionAuthorizing), notReady(v1alpha1.ReasonAuthorizationRequired), says(code), says(server.URL+"/device"),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse))
	d := c.Status.DeviceAuthorization
	if d.VerificationURI != server.URL+"/device" || !strings.HasPrefix(d.VerificationURIComplete, server.URL+"/device?") || d.ExpiresAt == nil {
		t.Errorf("deviceAuthorization is %+v", d)
	}
	waitPolls(t, server, 2)
	if now := s.get(t); now.ResourceVersion != c.ResourceVersion {
		t.Errorf("status was written while nothing happened: %+v", now.Status)
	}
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	c = s.wait(t, phase(v1alpha1.ConnectionActive), isReady, is(v1alpha1.ConditionStalled, metav1.ConditionFalse))
	if c.Status.DeviceAuthorization != nil || c.Status.LastAuthorization == nil || c.Status.LastAuthorization.Outcome != v1alpha1.AuthorizationSucceeded {
		t.Errorf("status is %+v", c.Status)
	}
	if account := server.AccountOf(s.token(t)); account != "alice" {
		t.Errorf("the token is %q's", account)
	}
	for i, distance := range distances(server, polls()) {
		if distance < time.Second {
			t.Errorf("polls %d and %d are %s apart", i, i+1, distance)
		}
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.EventAuthorized)
	s.quiet(t)
	s.wait(t, observed(s.requestRefresh(t)), isReady, refreshed)
	s.delete(t)
	dead(t, server)
}

func deviceSlowed(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	server.Script(polls(), hostile.OAuthError(http.StatusBadRequest, "slow_down"))
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	if err := server.WaitFor(t.Context(), 1, polls()); err != nil {
		t.Fatal(err)
	}
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	for i, distance := range distances(server, polls()) {
		if distance < 6*time.Second {
			t.Errorf("after slow_down, polls %d and %d are %s apart: an interval of 1s became one of 6s", i, i+1, distance)
		}
	}
}

func deviceDenied(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	if err := server.DenyDevice(code); err != nil {
		t.Fatal(err)
	}
	c := s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonAccessDenied), says(v1alpha1.AnnotationRefreshRequestedAt),
		is(v1alpha1.ConditionStalled, metav1.ConditionTrue), is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse))
	if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationFailed || last.Reason != v1alpha1.ReasonAccessDenied {
		t.Errorf("lastAuthorization is %+v", last)
	}
	if c.Status.DeviceAuthorization != nil {
		t.Error("a code that was declined is still shown")
	}
	waitEvent(t, w.namespace, s.name, corev1.EventTypeWarning, v1alpha1.ReasonAccessDenied)
	s.quiet(t)

	request := s.requestRefresh(t)
	again := s.invited(t, code)
	s.wait(t, observed(request), phase(v1alpha1.ConnectionAuthorizing), says(again))
	if err := server.ApproveDevice(again, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
}

func deviceExpires(t *testing.T, w *world) {
	server := w.deviceServer(t, 4*time.Second)
	s := w.subject(t, server, server.URL, byDevice)
	first := s.invited(t)
	second := s.invited(t, first)
	server.SetDevicePolling(time.Second, 10*time.Minute)
	third := s.invited(t, first, second)
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing), says(third))
	if err := server.ApproveDevice(third, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	if last := s.get(t).Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationSucceeded {
		t.Errorf("lastAuthorization is %+v", last)
	}
}

// deviceForgotten : by the provider's clock the code is over, though by ours it is not.
func deviceForgotten(t *testing.T, w *world) {
	for _, code := range []string{"expired_token", "invalid_grant"} {
		server := w.deviceServer(t, 10*time.Minute)
		server.Script(polls(), hostile.OAuthError(http.StatusBadRequest, code))
		s := w.subject(t, server, server.URL, byDevice)
		second := s.invited(t, s.invited(t))
		if err := server.ApproveDevice(second, "alice"); err != nil {
			t.Fatal(err)
		}
		s.wait(t, isReady)
	}
}

func deviceOutage(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	away := hostile.Status(http.StatusServiceUnavailable, "", nil)
	back := server.Always(polls(), away)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	c := s.wait(t, phase(v1alpha1.ConnectionAuthorizing), notReady(v1alpha1.ReasonAuthorizationRequired), says(code), says("503"))
	if c.Status.Failure == nil || c.Status.Failure.Reason != v1alpha1.ReasonProviderUnavailable {
		t.Errorf("failure is %+v", c.Status.Failure)
	}
	back()
	s.wait(t, func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Failure != nil {
			return errors.New("want no failure")
		}
		return nil
	})
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	if n := len(server.Devices()); n != 1 {
		t.Errorf("%d device authorizations", n)
	}
}

func deviceAnswerLost(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	server.Script(polls(), hostile.LoseResponse())
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	again := s.invited(t, code) // The first one is spent, and nobody knows its tokens.
	if err := server.ApproveDevice(again, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
}

func deviceDeleted(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	s.invited(t)
	uid := s.get(t).UID
	s.delete(t)
	s.quiet(t)
	if n := server.Count(record.Filter{Endpoint: record.Revoke}); n != 0 {
		t.Errorf("%d revocations, though there was no token", n)
	}
	if err := absent(secret(w.operator, "grant-"+string(uid), nil)); err != nil {
		t.Error(err)
	}
}

func deviceSuspended(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	s.wait(t, notReady(v1alpha1.ReasonSuspended))
	s.quiet(t)
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = false })
	s.wait(t, isReady)
	if n := len(server.Devices()); n != 1 {
		t.Errorf("%d device authorizations", n)
	}
}

func deviceRequested(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	first := s.invited(t)
	request := s.requestRefresh(t)
	second := s.invited(t, first)
	s.wait(t, observed(request))
	if err := server.ApproveDevice(second, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	if n := len(server.Devices()); n != 2 {
		t.Errorf("%d device authorizations for one request", n)
	}
}

func deviceAgain(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	first := s.invited(t)
	if err := server.ApproveDevice(first, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	token := s.token(t)
	if err := server.RevokeGrant(token); err != nil {
		t.Fatal(err)
	}
	s.requestRefresh(t)
	second := s.invited(t, first)
	s.wait(t, phase(v1alpha1.ConnectionInactive), notReady(v1alpha1.ReasonInvalidGrant), says(second))
	if err := server.ApproveDevice(second, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	if now := s.token(t); now == token || server.AccountOf(now) != "alice" {
		t.Error("the Secret does not hold the new token")
	}
	if d := s.get(t).Status.DeviceAuthorization; d != nil {
		t.Errorf("deviceAuthorization is still %+v", d)
	}
}

func deviceUnsupported(t *testing.T, w *world) {
	server := w.hostile(t, harness.Options{})
	name := w.name()
	app, clientSecret := application(w.namespace, name, server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.IssuerURL, spec.Endpoints = "", &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(server.URL + "/token")}
	})
	create(t, app, clientSecret, connection(w.namespace, name, name, byDevice))
	waitConnection(t, w.namespace, name, all(phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonInvalidConfiguration),
		says("endpoints.deviceAuthorizationURL")))
	update(t, get(t, w.namespace, name, &v1alpha1.OAuthApplication{}), func(a *v1alpha1.OAuthApplication) {
		a.Spec.Endpoints.DeviceAuthorizationURL = v1alpha1.EndpointURL(server.URL + "/device_authorization")
	})
	waitConnection(t, w.namespace, name, phase(v1alpha1.ConnectionAuthorizing))
}

func deviceStartRefused(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	server.Script(record.Filter{Endpoint: record.DeviceAuthorization}, hostile.OAuthError(http.StatusBadRequest, "invalid_scope"))
	s := w.subject(t, server, server.URL, byDevice)
	s.wait(t, phase(v1alpha1.ConnectionInactive), says("invalid_scope"), is(v1alpha1.ConditionStalled, metav1.ConditionTrue))
	s.quiet(t)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Scopes = []v1alpha1.Scope{"api:read"} })
	s.invited(t)
	s.wait(t, phase(v1alpha1.ConnectionAuthorizing))
}

func deviceUnauthorizedClient(t *testing.T, w *world) {
	server := w.deviceServer(t, 10*time.Minute)
	mended := server.Always(record.Filter{Endpoint: record.DeviceAuthorization}, hostile.OAuthError(http.StatusBadRequest, "unauthorized_client"))
	s := w.subject(t, server, server.URL, byDevice)
	s.wait(t, phase(v1alpha1.ConnectionPending), notReady(v1alpha1.ReasonUnauthorizedClient))
	mended()
	s.requestRefresh(t)
	s.invited(t)
}

// TestDeviceWaitingCostsNothing : pending answers are no reason to ask the API server for anything.
func TestDeviceWaitingCostsNothing(t *testing.T) {
	t.Parallel()
	counted := &requests{}
	w := newWorld(t, 0, counted.wrap)
	server := w.deviceServer(t, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	waitTotal(t, w, s.name)
	waitPolls(t, server, 2)
	counted.forget()
	waitPolls(t, server, 4)
	if err := counted.seen(); err != nil {
		t.Error(err)
	}
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
}

// forget starts counting anew.
func (r *requests) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other = nil
}

// waitTotal waits until an application has counted one connection.
func waitTotal(t *testing.T, w *world, application string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		a := &v1alpha1.OAuthApplication{}
		if err := plane.Client().Get(patient(), key(w.namespace, application), a); err != nil {
			return err
		}
		if c := a.Status.Connections; c == nil || c.Total != 1 {
			return fmt.Errorf("connections are %+v", c)
		}
		return nil
	})
}

// TestDeviceRestart : the next process goes on with the same code, and asks no sooner than it may.
func TestDeviceRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	server := w.hostile(t, harness.Options{})
	server.SetDevicePolling(2*time.Second, 10*time.Minute)
	s := w.subject(t, server, server.URL, byDevice)
	code := s.invited(t)
	waitPolls(t, server, 1)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	before := server.Count(polls())
	w.restart(t)
	if err := server.WaitFor(t.Context(), before+2, polls()); err != nil {
		t.Fatal(err)
	}
	if devices := server.Devices(); len(devices) != 1 || devices[0].Interval != 2*time.Second {
		t.Errorf("devices are %+v: another one, or the provider had to slow the operator down", devices)
	}
	if now := s.invited(t); now != code {
		t.Errorf("the code became %s", now)
	}
	if err := server.ApproveDevice(code, "alice"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, isReady)
	w.showsNothing(t)
}

// TestDeviceHoldsNoWorker : one worker serves others while many devices wait, and while polls hang.
func TestDeviceHoldsNoWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, func(o *controller.Options, _ *rest.Config) { o.Workers = 1 })
	server := w.deviceServer(t, 10*time.Minute)
	var waiting []*subject
	for range 8 {
		waiting = append(waiting, w.subject(t, server, server.URL, byDevice))
	}
	for _, s := range waiting {
		s.invited(t)
	}
	server.Always(polls(), hostile.Hang())
	if err := server.WaitForHanging(t.Context(), len(waiting)); err != nil {
		t.Fatal(err)
	}
	quick := w.fosite(t, harness.Options{})
	w.connected(t, quick, quick.URL)
	if n := server.Hanging(); n == 0 {
		t.Error("no poll hangs any more: the test does not test what it says")
	}
	server.Release()
}
