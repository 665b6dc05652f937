// SPDX-License-Identifier: Apache-2.0

package application

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const issuer = "https://login.example.com"

func now() time.Time { return time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC) }

func testRules() rules {
	return rules{
		catalogue: &provider.Catalogue{},
		Rules: provider.Rules{
			ExternalURL: "https://gateway.example.com",
			CheckURL: func(raw string) error {
				if strings.Contains(raw, "169.254.") {
					return errors.New("refused")
				}
				return nil
			},
		},
		checkCA: func(bundle []byte) error {
			if string(bundle) != "certificate" {
				return errors.New("no certificate")
			}
			return nil
		},
	}
}

// testFacts are those of an application with a client Secret that was read, and a discovery document that is an hour old.
func testFacts() facts {
	f := facts{
		now: now(),
		application: &v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "crm", UID: "8f0c", Generation: 2},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL: issuer,
				Client:    v1alpha1.ClientSpec{ID: "crm", SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			},
		},
		attempt: attempt{found: document(now().Add(-time.Hour), "")},
	}
	f.inputs = []input{found("client.secretRef", "crm-client", "client_secret", useClientSecret, "hidden\n")}
	return f
}

func found(field, name, key string, use use, value string) input {
	return input{
		reference: reference{field: field, kind: registration.KindSecret, name: name, key: key, use: use},
		exists:    true, found: true, keys: []string{key}, value: []byte(value),
		source: registration.Source{Kind: registration.KindSecret, Namespace: "platform", Name: name, UID: "s", ResourceVersion: "7"},
	}
}

func document(at time.Time, ca string) *registration.Discovery {
	return &registration.Discovery{
		At: at, Trust: egress.Fingerprint([]byte(ca)),
		Metadata: oauth.Metadata{
			Issuer: issuer, TokenEndpoint: issuer + "/token", RevocationEndpoint: issuer + "/revoke",
			TokenEndpointAuthMethodsSupported: []string{"client_secret_post"},
		},
	}
}

func TestDecideVerdicts(t *testing.T) {
	t.Parallel()
	type want struct {
		reason, message              string
		ready, stalled, progressing  bool
		keeps, discovers, wakesLater bool
	}
	for name, test := range map[string]struct {
		reason string
		change func(*facts)
		want   want
	}{
		"Ready": {
			reason: "all is known", change: func(*facts) {},
			want: want{ready: true, reason: v1alpha1.ReasonReady, keeps: true, wakesLater: true},
		},
		"InvalidSpec": {
			reason: "nothing is read or asked for a spec that cannot work",
			change: func(f *facts) { f.application.Spec.IssuerURL = "https://169.254.169.254" },
			want:   want{reason: v1alpha1.ReasonInvalidConfiguration, message: "issuerURL: refused", stalled: true},
		},
		"SecretMissing": {
			reason: "it may come in the next moment, so nobody is told to act",
			change: func(f *facts) { f.inputs[0].exists, f.inputs[0].found = false, false },
			want: want{
				reason: v1alpha1.ReasonSecretNotFound, progressing: true,
				message: `client.secretRef: Secret "crm-client" does not exist in this namespace; create it with key "client_secret"`,
			},
		},
		"KeyMissing": {
			reason: "the keys that are there show the mistake, the values do not",
			change: func(f *facts) { f.inputs[0].found, f.inputs[0].keys = false, []string{"id", "secret"} },
			want: want{
				reason: v1alpha1.ReasonSecretNotFound, progressing: true,
				message: `client.secretRef: Secret "crm-client" has no key "client_secret" (keys: id, secret)`,
			},
		},
		"EmptyValue": {
			reason: "an empty secret is no secret",
			change: func(f *facts) { f.inputs[0].value = []byte("\n") },
			want:   want{reason: v1alpha1.ReasonSecretNotFound, progressing: true, message: "is empty"},
		},
		"BinaryValue": {
			reason: "data that was encoded twice, or not at all, is told",
			change: func(f *facts) { f.inputs[0].value = []byte{0xff, 0x00} },
			want:   want{reason: v1alpha1.ReasonInvalidConfiguration, stalled: true, message: "not printable"},
		},
		"CAMissing": {
			reason: "a missing CA is waited for like a missing Secret",
			change: func(f *facts) {
				f.inputs = append(f.inputs, input{reference: reference{
					field: "caBundle.configMapRef", kind: registration.KindConfigMap, name: "ca", key: "ca.crt", use: useCA,
				}})
			},
			want: want{
				reason: v1alpha1.ReasonCABundleInvalid, progressing: true,
				message: `caBundle.configMapRef: ConfigMap "ca" does not exist in this namespace; create it with key "ca.crt"`,
			},
		},
		"CAInvalid": {
			reason: "a broken CA does not mend itself",
			change: func(f *facts) {
				f.inputs = append(f.inputs, found("caBundle.secretRef", "ca", "ca.crt", useCA, "garbage"))
			},
			want: want{
				reason: v1alpha1.ReasonCABundleInvalid, stalled: true, message: `caBundle.secretRef: key "ca.crt" of Secret "ca": no certificate`,
			},
		},
		"CATooLarge": {
			reason: "what cannot be kept is refused with the limit",
			change: func(f *facts) {
				f.inputs = append(f.inputs, found("caBundle.secretRef", "ca", "ca.crt", useCA, strings.Repeat("x", maxCABundle+1)))
			},
			want: want{reason: v1alpha1.ReasonCABundleInvalid, stalled: true, message: "may have 262144"},
		},
		"Undiscovered": {
			reason: "the document is asked for, and until then it progresses",
			change: func(f *facts) { f.attempt = attempt{} },
			want:   want{reason: v1alpha1.ReasonProgressing, progressing: true, discovers: true},
		},
		"Discovering": {
			reason: "one call at a time",
			change: func(f *facts) { f.attempt = attempt{running: true} },
			want:   want{reason: v1alpha1.ReasonProgressing, progressing: true},
		},
		"DiscoveryFailed": {
			reason: "a provider that is away is tried again, by itself",
			change: func(f *facts) { f.attempt = failed(f, "HTTP 503", false) },
			want:   want{reason: v1alpha1.ReasonDiscoveryFailed, message: "HTTP 503", progressing: true, wakesLater: true},
		},
		"NoSuchDocument": {
			reason: "a document that does not exist needs a person",
			change: func(f *facts) { f.attempt = failed(f, "HTTP 404", true) },
			want:   want{reason: v1alpha1.ReasonDiscoveryFailed, message: "correct issuerURL", stalled: true, wakesLater: true},
		},
		"FailedUnderAnotherSpec": {
			reason: "a changed spec cuts the backoff short",
			change: func(f *facts) {
				f.attempt = failed(f, "HTTP 404", true)
				f.application.Generation++
			},
			want: want{reason: v1alpha1.ReasonProgressing, progressing: true, discovers: true},
		},
		"AnotherIssuer": {
			reason: "a document of another issuer is none",
			change: func(f *facts) { f.application.Spec.IssuerURL = "https://other.example.com" },
			want:   want{reason: v1alpha1.ReasonProgressing, progressing: true, discovers: true},
		},
		"OldDocument": {
			reason: "it is read again after a day, and serves until then",
			change: func(f *facts) { f.attempt.found.At = now().Add(-discoveryAge) },
			want:   want{ready: true, reason: v1alpha1.ReasonReady, keeps: true, discovers: true},
		},
		"RereadFailed": {
			reason: "a failed second reading leaves the first in use, and says so",
			change: func(f *facts) {
				again := failed(f, "HTTP 503", false)
				again.found = document(now().Add(-discoveryAge), "")
				f.attempt = again
			},
			want: want{
				ready: true, reason: v1alpha1.ReasonReady, keeps: true, wakesLater: true,
				message: "the one of 2026-07-31T10:00:00Z stays in use: HTTP 503",
			},
		},
		"OtherTrust": {
			reason: "with another CA the document is read again, and serves until then",
			change: func(f *facts) {
				f.inputs = append(f.inputs, found("caBundle.secretRef", "ca", "ca.crt", useCA, "certificate"))
			},
			want: want{ready: true, reason: v1alpha1.ReasonReady, keeps: true, discovers: true},
		},
		"SameSecond": {
			reason: "of two documents of one second the one just read counts, or it would be read again at once",
			change: func(f *facts) {
				f.kept = decide(*f, testRules()).client
				f.inputs = append(f.inputs, found("caBundle.secretRef", "ca", "ca.crt", useCA, "certificate"))
				f.attempt.found = document(f.kept.Discovery.At, "certificate")
			},
			want: want{ready: true, reason: v1alpha1.ReasonReady, keeps: true, wakesLater: true},
		},
		"NoTokenEndpoint": {
			reason: "what neither spec nor document gives is named",
			change: func(f *facts) { f.attempt.found.Metadata.TokenEndpoint = "" },
			want: want{
				reason: v1alpha1.ReasonInvalidConfiguration, message: "endpoints.tokenURL", stalled: true, wakesLater: true,
			},
		},
		"WithoutIssuer": {
			reason: "given endpoints need no discovery, and nothing has to be looked at again",
			change: func(f *facts) {
				f.application.Spec.IssuerURL = ""
				f.application.Spec.Endpoints = &v1alpha1.Endpoints{TokenURL: issuer + "/token"}
			},
			want: want{ready: true, reason: v1alpha1.ReasonReady, keeps: true},
		},
		"InvalidClient": {
			reason: "a pause makes the application unready, and names grant type, host and time",
			change: func(f *facts) { pause(f, v1alpha1.ReasonInvalidClient) },
			want: want{
				reason: v1alpha1.ReasonInvalidClient, stalled: true, keeps: true, wakesLater: true,
				message: "since 2026-08-01T09:00:00Z, login.example.com does not accept the client, asked for grant_type refresh_token (no such client); check client.id",
			},
		},
		"UnauthorizedClient": {
			reason: "the way out is at the provider",
			change: func(f *facts) { pause(f, v1alpha1.ReasonUnauthorizedClient) },
			want: want{
				reason: v1alpha1.ReasonUnauthorizedClient, stalled: true, keeps: true, wakesLater: true, message: "allow it in the client's registration",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := testFacts()
			test.change(&f)
			d := decide(f, testRules())
			got := want{
				reason: d.verdict.reason, message: d.verdict.message, ready: d.verdict.ready, stalled: d.verdict.stalled,
				progressing: d.verdict.progressing, keeps: d.client != nil, discovers: d.discover != nil, wakesLater: d.wakeAt.After(f.now),
			}
			if !strings.Contains(got.message, test.want.message) {
				t.Errorf("%s: message %q, want it to contain %q", test.reason, got.message, test.want.message)
			}
			got.message = test.want.message
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if strings.Contains(fmt.Sprintf("%+v", d.verdict), "hidden") {
				t.Error("the verdict shows the client secret")
			}
		})
	}
}

func failed(f *facts, message string, definite bool) attempt {
	d := decision{}
	plain := *f
	plain.attempt = attempt{}
	discover(plain, &f.application.Spec, nil, &d)
	return attempt{
		basis: d.discover.basis, failure: &callFailure{message: message, definite: definite}, failures: 1,
		retryAt: f.now.Add(time.Minute),
	}
}

func pause(f *facts, reason string) {
	client := decide(*f, testRules()).client
	client.Pauses = map[string]registration.Pause{client.Lane("refresh_token", issuer+"/token"): {
		Reason: reason, Message: "no such client.", Since: now().Add(-time.Hour), Fingerprint: client.Fingerprint(),
	}}
	f.kept = client
}

func TestDecideComposesTheClient(t *testing.T) {
	t.Parallel()
	f := testFacts()
	f.application.Spec.Scopes = []v1alpha1.Scope{"a"}
	f.application.Spec.TokenRequest = &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{
		{Name: "audience", Value: new("api")},
		{Name: "hint", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "crm-client", Key: "hint"}},
	}}
	hint := found("tokenRequest.parameters[hint].secretKeyRef", "crm-client", "hint", useValue, "hush\n")
	f.inputs = append(f.inputs, hint, found("caBundle.secretRef", "ca", "ca.crt", useCA, "certificate"))
	client := decide(f, testRules()).client
	if client == nil {
		t.Fatal("no client was made")
	}
	if got := client.OAuth.Secret.Reveal(); got != "hidden" {
		t.Errorf("the client secret is %q: its line break belongs to the file it came from", got)
	}
	request, err := client.Profile().TokenRequest(oauth.RefreshToken(sensitive.New("r"), ""), "", nil)
	if all := request.Parameters; err != nil || len(all) != 2 || all[0].Value.Reveal() != "api" || all[1].Value.Reveal() != "hush" {
		t.Error("the parameters are not those of the spec, in its order and without the file's line break")
	}
	if len(client.Sources) != 2 {
		t.Errorf("sources %v: two parameters of one Secret are one source", client.Sources)
	}
	if client.OAuth.Authentication != oauth.ClientSecretPost || client.Spec.Endpoints.RevocationURL != issuer+"/revoke" ||
		client.RedirectURL != "https://gateway.example.com/oauth2/callback" || string(client.CA) != "certificate" ||
		client.Generation != 2 || client.Limits.MaxConcurrent != 4 || client.Application.UID != "8f0c" {
		t.Errorf("the client is %+v", client)
	}

	again := f
	again.kept, again.unchanged, again.inputs = client, true, unread(f.inputs)
	if same := decide(again, testRules()).client; same.Fingerprint() != client.Fingerprint() || !same.SameSources(client.Sources) {
		t.Error("without reading anything again the client is another one")
	}
}

// unread are inputs as they are gathered when nothing has changed.
func unread(inputs []input) []input {
	var all []input
	for _, in := range inputs {
		all = append(all, input{reference: in.reference})
	}
	return all
}

func TestStatus(t *testing.T) {
	t.Parallel()
	f := testFacts()
	f.connections = v1alpha1.ConnectionCounts{Total: 3, Active: 2}
	d := decide(f, testRules())
	ready := status(f, d)
	if ready.Phase != v1alpha1.ApplicationActive || ready.Endpoints.TokenURL != issuer+"/token" || ready.ObservedGeneration != 2 ||
		*ready.Connections != f.connections || !meta.IsStatusConditionTrue(ready.Conditions, v1alpha1.ConditionReady) ||
		!meta.IsStatusConditionFalse(ready.Conditions, v1alpha1.ConditionStalled) ||
		!meta.IsStatusConditionFalse(ready.Conditions, v1alpha1.ConditionReconciling) {
		t.Errorf("ready: %+v", ready)
	}

	f.application.Status = ready
	f.now = f.now.Add(time.Hour)
	if diff := cmp.Diff(ready, status(f, decide(f, testRules()))); diff != "" {
		t.Errorf("a pass without news changes the status:\n%s", diff)
	}

	f.kept = d.client
	f.inputs[0].exists = false
	missing := status(f, decide(f, testRules()))
	if missing.Phase != v1alpha1.ApplicationPending || missing.Endpoints == nil ||
		!meta.IsStatusConditionTrue(missing.Conditions, v1alpha1.ConditionReconciling) {
		t.Errorf("with a missing Secret: %+v", missing)
	}

	f = testFacts()
	pause(&f, v1alpha1.ReasonInvalidClient)
	paused := status(f, decide(f, testRules()))
	if paused.Phase != v1alpha1.ApplicationActive || !meta.IsStatusConditionFalse(paused.Conditions, v1alpha1.ConditionReady) ||
		!meta.IsStatusConditionTrue(paused.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("while paused: %+v", paused)
	}
}

func TestEventsAreNews(t *testing.T) {
	t.Parallel()
	f := testFacts()
	ready := decide(f, testRules())
	reasons := func(before v1alpha1.OAuthApplicationStatus, d decision) (all []string) {
		for _, item := range eventsFor(before, d) {
			all = append(all, item.kind+" "+item.reason)
		}
		return all
	}
	expect := func(reason string, got []string, want ...string) {
		t.Helper()
		if !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	expect("the first time it is ready", reasons(f.application.Status, ready), "Normal Ready")
	f.application.Status = status(f, ready)
	expect("nothing new", reasons(f.application.Status, ready))

	old := f
	old.attempt = failed(&old, "HTTP 503", false)
	old.attempt.found = document(now().Add(-discoveryAge), "")
	degraded := decide(old, testRules())
	expect("the second reading failed", reasons(f.application.Status, degraded), "Warning DiscoveryFailed")
	expect("it still fails", reasons(status(old, degraded), degraded))

	missing := f
	missing.inputs = []input{missing.inputs[0]}
	missing.inputs[0].exists = false
	lost := decide(missing, testRules())
	expect("the Secret has gone", reasons(f.application.Status, lost), "Warning SecretNotFound")
	expect("it is still away", reasons(status(missing, lost), lost))

	progressing := testFacts()
	progressing.attempt = attempt{}
	expect("progress is no event", reasons(progressing.application.Status, decide(progressing, testRules())))
}

func TestWaitForConnections(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason     string
		total      int32
		age        time.Duration
		wantWait   time.Duration
		wantReason string
	}{
		"None":   {reason: "nothing holds it", wantReason: v1alpha1.ReasonDeleting},
		"Some":   {reason: "it waits for the rest of its time", total: 2, age: time.Minute, wantWait: 4 * time.Minute, wantReason: v1alpha1.ReasonConnectionsRemain},
		"Enough": {reason: "it never hangs", total: 2, age: 5 * time.Minute, wantReason: v1alpha1.ReasonConnectionsRemain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := testFacts()
			f.application.DeletionTimestamp = new(metav1.NewTime(f.now.Add(-test.age)))
			f.connections.Total = test.total
			wait, verdict := waitForConnections(f, 5*time.Minute)
			if wait != test.wantWait || verdict.reason != test.wantReason {
				t.Errorf("%s: %s, %s", test.reason, wait, verdict.reason)
			}
		})
	}
}

func TestFailuresAreRetriedWithGrowingDistance(t *testing.T) {
	t.Parallel()
	var a attempts
	a.begin("8f0c", "basis")
	var last time.Duration
	for i := range 20 {
		a.fail("8f0c", errors.New("away"), now())
		a.end("8f0c")
		wait := a.get("8f0c").retryAt.Sub(now())
		if wait < last || wait > lastRetry {
			t.Fatalf("attempt %d waits %s after %s", i, wait, last)
		}
		last = wait
		if !a.begin("8f0c", "basis") || a.begin("8f0c", "basis") {
			t.Fatal("one attempt at a time")
		}
	}
	if last < 4*time.Minute {
		t.Errorf("the distance grew to %s only", last)
	}
	a.fail("8f0c", &oauth.Error{Concern: oauth.ConcernTransient, RetryAfter: time.Hour}, now())
	if wait := a.get("8f0c").retryAt.Sub(now()); wait != time.Hour {
		t.Errorf("the provider asked for an hour, and gets %s", wait)
	}
	a.forget("8f0c")
	a.succeed("8f0c", document(now(), ""))
	if a.get("8f0c").found != nil {
		t.Error("an application that is gone is remembered again")
	}
}
