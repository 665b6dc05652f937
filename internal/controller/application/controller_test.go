// SPDX-License-Identifier: Apache-2.0

package application

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/callqueue"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

func TestAnApplicationBecomesActive(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(w.clientSecret(), w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	status := application.Status
	if status.Phase != v1alpha1.ApplicationActive || status.Endpoints.TokenURL != v1alpha1.EndpointURL(w.provider.URL+"/token") ||
		status.RedirectURL != "https://gateway.example.com/oauth2/callback" || status.ObservedGeneration != application.Generation {
		t.Errorf("the status is %+v", status)
	}
	if !controllerutil.ContainsFinalizer(application, v1alpha1.FinalizerApplication) {
		t.Error("it has no finalizer")
	}
	kept, err := w.kept(application.UID)
	w.must(err)
	if kept.OAuth.Secret.Reveal() != "hidden" || kept.OAuth.Authentication != "ClientSecretPost" || kept.Discovery == nil {
		t.Errorf("the kept client is %+v", kept)
	}
	if calls := w.provider.called(); calls != 1 {
		t.Errorf("the provider was asked %d times, want once", calls)
	}
	testenv.Eventually(t, patience, func() error {
		if all := w.events(); !slices.Equal(all, []string{"Normal Ready"}) {
			return fmt.Errorf("events: %v", all)
		}
		return nil
	})
}

func TestARestartAsksAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	const applications = 5
	first := w.start()
	w.create(w.clientSecret(), w.secret("ca", map[string]string{"ca.crt": string(certificate(newTLSProvider(t)))}))
	for i := range applications {
		application := w.application(fmt.Sprintf("app-%d", i))
		application.Spec.CABundle = &v1alpha1.CABundle{SecretRef: &v1alpha1.SecretKeyReference{Name: "ca"}}
		w.create(application)
	}
	for i := range applications {
		w.eventuallyReason(fmt.Sprintf("app-%d", i), v1alpha1.ReasonReady)
	}
	first.stop()
	calls := w.provider.called()

	again := w.start()
	settle := func() error {
		if passes := again.passes.Load(); passes < applications {
			return fmt.Errorf("%d passes", passes)
		}
		return nil
	}
	testenv.Eventually(t, patience, settle)
	testenv.Consistently(t, 2*countDelay, func() error {
		if all := again.requests.matching(""); len(all) > 0 {
			return fmt.Errorf("requests after a restart: %v", all)
		}
		if w.provider.called() != calls {
			return errors.New("the provider was asked after a restart")
		}
		return nil
	})
}

func TestTheClientSecretIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonSecretNotFound)
	if application.Status.Phase != v1alpha1.ApplicationPending || w.provider.called() != 0 {
		t.Errorf("without its Secret: phase %s, %d calls", application.Status.Phase, w.provider.called())
	}
	secret := w.secret("crm-client", map[string]string{"secret": "hidden"})
	w.create(secret)
	w.eventually("crm", "told about the key", func(a *v1alpha1.OAuthApplication) bool {
		return strings.Contains(message(a), `Secret "crm-client" has no key "client_secret" (keys: secret)`)
	})
	w.update(secret, func() { secret.StringData = map[string]string{"client_secret": "hidden"} })
	application = w.eventuallyReason("crm", v1alpha1.ReasonReady)

	w.update(secret, func() { secret.StringData = map[string]string{"client_secret": "rotated"} })
	w.eventuallyKept(application.UID, "rotated", func(c *registration.Client) bool { return c.OAuth.Secret.Reveal() == "rotated" })

	w.delete(secret)
	application = w.eventuallyReason("crm", v1alpha1.ReasonSecretNotFound)
	if kept, err := w.kept(application.UID); err != nil || kept.OAuth.Secret.Reveal() != "rotated" {
		t.Errorf("what revokes the grants went with the Secret: %v", err)
	}
	if calls := w.provider.called(); calls != 1 {
		t.Errorf("the provider was asked %d times: the Secret has nothing to do with discovery", calls)
	}
}

func certificate(p *issuerServer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
}

func TestTheCABundleIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.provider = newTLSProvider(t)
	w.start()
	application := w.application("crm")
	application.Spec.CABundle = &v1alpha1.CABundle{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "ca"}}
	w.create(w.clientSecret(), application)
	w.eventuallyReason("crm", v1alpha1.ReasonCABundleInvalid)

	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": "garbage"}}
	w.create(bundle)
	w.eventually("crm", "stalled", func(a *v1alpha1.OAuthApplication) bool {
		return meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionStalled) && strings.Contains(message(a), "caBundle.configMapRef")
	})
	w.update(bundle, func() { bundle.Data["ca.crt"] = string(certificate(w.provider)) })
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
	if calls := w.provider.called(); calls != 1 {
		t.Errorf("the provider was asked %d times, want once: before, it was not trusted", calls)
	}

	w.update(bundle, func() { bundle.Data["ca.crt"] = "# renewed\n" + bundle.Data["ca.crt"] })
	testenv.Eventually(t, patience, func() error {
		if w.provider.called() != 2 {
			return errors.New("under another CA the document was not read again")
		}
		return nil
	})
	w.eventuallyKept(application.UID, "renewed", func(c *registration.Client) bool { return strings.HasPrefix(string(c.CA), "# renewed") })
}

func TestDiscoveryThatFails(t *testing.T) {
	w := newWorld(t)
	w.provider.answer(http.StatusServiceUnavailable)
	first := w.start()
	w.create(w.clientSecret(), w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonDiscoveryFailed)
	if application.Status.Phase != v1alpha1.ApplicationPending || !strings.Contains(message(application), "503") ||
		!meta.IsStatusConditionTrue(application.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Errorf("the status is %+v", application.Status)
	}

	// A change cuts the backoff short.
	w.provider.answer(http.StatusOK)
	w.update(application, func() { application.Spec.DisplayName = "CRM" })
	application = w.eventuallyReason("crm", v1alpha1.ReasonReady)
	first.stop()

	// A day later the document is read again. It fails, and the old one serves.
	w.provider.answer(http.StatusServiceUnavailable)
	w.clock.SetTime(w.clock.Now().Add(discoveryAge))
	calls := w.provider.called()
	w.start()
	application = w.eventually("crm", "told about the failure", func(a *v1alpha1.OAuthApplication) bool {
		return strings.Contains(message(a), "stays in use")
	})
	if application.Status.Phase != v1alpha1.ApplicationActive || !meta.IsStatusConditionTrue(application.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("the status is %+v", application.Status)
	}
	if w.provider.called() != calls+1 {
		t.Errorf("the provider was asked %d times, want once", w.provider.called()-calls)
	}
	testenv.Eventually(t, patience, func() error {
		if all := w.events(); !slices.Contains(all, "Warning DiscoveryFailed") {
			return fmt.Errorf("events: %v", all)
		}
		return nil
	})
}

func TestDiscoveryOvertakesRefreshes(t *testing.T) {
	w := newWorld(t)
	controller := w.start()
	answered := make(chan struct{})
	defer close(answered)
	for i := range 100 {
		controller.queue.Submit(callqueue.Call{
			Key: fmt.Sprint("refresh-", i), Lane: w.namespace + "/crm", Run: func(context.Context) { <-answered },
		})
	}
	w.create(w.clientSecret(), w.application("crm"))
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
}

func TestPausesShow(t *testing.T) {
	w := newWorld(t)
	controller := w.start()
	w.create(w.clientSecret(), w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	kept, err := controller.store.Get(t.Context(), application.UID)
	w.must(err)
	lane := kept.Lane("refresh_token", w.provider.URL+"/token")
	w.must(controller.store.Pause(t.Context(), kept, lane, v1alpha1.ReasonInvalidClient, "no such client"))
	application = w.eventuallyReason("crm", v1alpha1.ReasonInvalidClient)
	if application.Status.Phase != v1alpha1.ApplicationActive || !strings.Contains(message(application), "refresh_token") {
		t.Errorf("the status is %+v", application.Status)
	}
	w.must(controller.store.Lift(t.Context(), kept, lane))
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
}

func TestConnectionsAreCountedInFewWrites(t *testing.T) {
	w := newWorld(t)
	controller := w.start()
	w.create(w.clientSecret(), w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	before := len(controller.requests.matching("PATCH"))
	const connections = 40
	for i := range connections {
		connection := w.connection(fmt.Sprintf("c-%d", i), "crm")
		w.create(connection)
		if i%2 == 0 {
			connection.Status.Phase = v1alpha1.ConnectionActive
			w.must(w.client.Status().Update(t.Context(), connection))
		}
	}
	w.create(w.connection("other", "another"))
	w.eventually("crm", "counted", func(a *v1alpha1.OAuthApplication) bool {
		return *a.Status.Connections == v1alpha1.ConnectionCounts{Total: connections, Active: connections / 2}
	})
	if writes := len(controller.requests.matching("PATCH")) - before; writes > 5 {
		t.Errorf("counting %d connections took %d writes", connections, writes)
	}
	w.delete(w.connection("c-0", "crm"))
	w.eventually(application.Name, "counted again", func(a *v1alpha1.OAuthApplication) bool {
		return *a.Status.Connections == v1alpha1.ConnectionCounts{Total: connections - 1, Active: connections/2 - 1}
	})
}

func (w *world) eventuallyGone(object client.Object) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		err := w.client.Get(context.WithoutCancel(w.t.Context()), client.ObjectKeyFromObject(object), object)
		if err == nil {
			return fmt.Errorf("%s is still there", object.GetName())
		}
		return client.IgnoreNotFound(err)
	})
}

func (w *world) eventuallyReleased(application types.UID) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		_, err := w.kept(application)
		if err == nil {
			return errors.New("the kept client is still there")
		}
		return client.IgnoreNotFound(err)
	})
}

func TestAnApplicationWaitsForItsConnections(t *testing.T) {
	w := newWorld(t)
	w.start()
	secret, connection := w.clientSecret(), w.connection("billing", "crm")
	w.create(secret, w.application("crm"), connection)
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	w.delete(application)
	w.delete(secret)
	application = w.eventuallyReason("crm", v1alpha1.ReasonConnectionsRemain)
	if application.Status.Phase != v1alpha1.ApplicationDeleted || !strings.HasPrefix(message(application), "1 connections") {
		t.Errorf("the status is %+v", application.Status)
	}
	if kept, err := w.kept(application.UID); err != nil || kept.OAuth.Secret.Reveal() != "hidden" {
		t.Errorf("the client is not there for the finalizers: %v", err)
	}
	w.delete(connection)
	w.eventuallyGone(application)
	w.eventuallyReleased(application.UID)
}

func TestAnApplicationDoesNotWaitForever(t *testing.T) {
	w := newWorld(t)
	w.timeout = time.Minute
	w.start()
	connection := w.connection("billing", "crm")
	w.create(w.clientSecret(), w.application("crm"), connection)
	application := w.eventually("crm", "counted", func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.Phase == v1alpha1.ApplicationActive && a.Status.Connections.Total == 1
	})
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.delete(application)
	w.eventuallyGone(application)
	if _, err := w.kept(application.UID); err != nil {
		t.Errorf("the client went before its connection: %v", err)
	}
	testenv.Eventually(t, patience, func() error {
		if all := w.events(); !slices.Contains(all, "Warning ConnectionsRemain") {
			return fmt.Errorf("events: %v", all)
		}
		return nil
	})
	w.delete(connection)
	w.eventuallyReleased(application.UID)
}

func TestStrangersHoldNothingUp(t *testing.T) {
	w := newWorld(t)
	w.guests = []string{env.Namespace(t), env.Namespace(t), env.Namespace(t)}
	stranger, guest, former := w.guest(w.guests[0]), w.guest(w.guests[1]), w.guest(w.guests[2])
	w.label(w.guests[1], "crm", "yes")
	application := w.application("crm")
	application.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"crm": "yes"}},
	}
	w.create(w.clientSecret(), application, stranger, guest, former)
	w.setPhase(former, v1alpha1.ConnectionActive) // It was allowed once.
	w.start()
	w.eventually("crm", "counted", func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.Phase == v1alpha1.ApplicationActive && *a.Status.Connections == v1alpha1.ConnectionCounts{Total: 2, Active: 1}
	})
	w.delete(application)
	w.eventuallyReason("crm", v1alpha1.ReasonConnectionsRemain)
	w.delete(guest)
	w.delete(former)
	w.eventuallyGone(application)
	w.eventuallyReleased(application.UID)
}

func TestAKeptClientOutlivesItsApplicationWhileAGuestHoldsTokens(t *testing.T) {
	w := newWorld(t)
	w.guests, w.timeout = []string{env.Namespace(t)}, time.Millisecond
	guest := w.guest(w.guests[0])
	application := w.application("crm")
	application.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
	w.create(w.clientSecret(), application, guest)
	w.setPhase(guest, v1alpha1.ConnectionInactive)
	w.start()
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.delete(application)
	w.eventuallyGone(application)
	if _, err := w.kept(application.UID); err != nil {
		t.Errorf("the client went before the connection that holds tokens: %v", err)
	}
	w.delete(guest)
	w.eventuallyReleased(application.UID)
}

func TestTheCountFollowsPermission(t *testing.T) {
	w := newWorld(t)
	w.guests = []string{env.Namespace(t)}
	guest := w.guest(w.guests[0])
	application := w.application("crm")
	application.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"crm": "yes"}},
	}
	w.create(w.clientSecret(), application, guest)
	w.setReady(guest, v1alpha1.ReasonNotAllowed)
	w.start()
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
	w.label(w.guests[0], "crm", "yes")
	w.setReady(guest, v1alpha1.ReasonProgressing) // As the connection's controller does then.
	w.eventually("crm", "counted", func(a *v1alpha1.OAuthApplication) bool { return a.Status.Connections.Total == 1 })
}

func (w *world) label(namespace, key, value string) {
	w.t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	w.update(object, func() { object.Labels[key] = value })
}

func (w *world) setPhase(connection *v1alpha1.OAuthConnection, phase v1alpha1.ConnectionPhase) {
	w.t.Helper()
	connection.Status.Phase = phase
	w.must(w.client.Status().Update(w.t.Context(), connection))
}

func (w *world) setReady(connection *v1alpha1.OAuthConnection, reason string) {
	w.t.Helper()
	meta.SetStatusCondition(&connection.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason,
	})
	w.must(w.client.Status().Update(w.t.Context(), connection))
}

// record is a grant record as far as the application's controller knows one.
func (w *world) record(application *v1alpha1.OAuthApplication) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.operator, Name: "grant-1",
		Labels: map[string]string{
			v1alpha1.LabelRecord: v1alpha1.RecordGrant, v1alpha1.LabelApplicationUID: string(application.UID),
		},
		Annotations: map[string]string{registration.AnnotationApplication: w.namespace + "/" + application.Name},
	}}
}

func TestAKeptClientOutlivesItsApplicationWhileAGrantNeedsIt(t *testing.T) {
	w := newWorld(t)
	first := w.start()
	w.create(w.clientSecret(), w.application("crm"))
	old := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	record := w.record(old)
	w.create(record)
	// Nobody is there while the application is deleted by force and another one of its name is made.
	first.stop()
	w.update(old, func() { old.Finalizers = nil })
	w.delete(old)
	w.create(w.application("crm"))
	w.start()
	successor := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	if _, err := w.kept(old.UID); err != nil {
		t.Fatalf("the client that the record needs: %v", err)
	}
	w.delete(record)
	w.eventuallyReleased(old.UID)
	if _, err := w.kept(successor.UID); err != nil {
		t.Errorf("the client of the application that exists: %v", err)
	}
}

func TestAnUnusedApplicationGoesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(w.clientSecret(), w.application("crm"))
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	w.delete(application)
	w.eventuallyGone(application)
	w.eventuallyReleased(application.UID)
}

func TestTheAPIServerRefusesWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		reason string
		change func(*v1alpha1.OAuthApplicationSpec)
		want   []string
	}{
		"NoProvider": {
			reason: "the two ways to name a provider are said",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.IssuerURL = "" },
			want:   []string{"spec:", "name the provider", "issuerURL", "endpoints.tokenURL", "endpoints.tokenURL"},
		},
		"RelativeIssuer": {
			reason: "an example shows the form",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.IssuerURL = "login.example.com" },
			want:   []string{"spec.issuerURL", "https://login.example.com"},
		},
		"EndpointWithUser": {
			reason: "credentials do not belong into a URL",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints = &v1alpha1.Endpoints{TokenURL: "https://me:pass@login.example.com/token"}
			},
			want: []string{"spec.endpoints.tokenURL", "without user name or fragment"},
		},
		"FTPEndpoint": {
			reason: "only http is spoken",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Endpoints = &v1alpha1.Endpoints{RevocationURL: "ftp://login.example.com/token"}
			},
			want: []string{"spec.endpoints.revocationURL"},
		},
		"NoClientID": {
			reason: "a client has an id",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.ID = "" },
			want:   []string{"spec.client", "exactly one of id and idSecretRef"},
		},
		"PublicWithSecret": {
			reason: "None takes no secret",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.Authentication = v1alpha1.ClientNone },
			want:   []string{"spec.client", "takes no secretRef"},
		},
		"ConfidentialWithout": {
			reason: "the others need one",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Client.SecretRef, s.Client.Authentication = nil, v1alpha1.ClientSecretPost
			},
			want: []string{"spec.client", "need secretRef"},
		},
		"UnknownMethod": {
			reason: "the methods are listed",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.Authentication = "Magic" },
			want:   []string{"spec.client.authentication", "ClientSecretBasic"},
		},
		"BadScope": {
			reason: "a scope has no space in it",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Scopes = []v1alpha1.Scope{"read write"} },
			want:   []string{"spec.scopes[0]"},
		},
		"ScopeTwice": {
			reason: "scopes are a set",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Scopes = []v1alpha1.Scope{"read", "read"} },
			want:   []string{"spec.scopes[1]", "Duplicate"},
		},
		"OwnAuthorizationParameter": {
			reason: "the operator's own parameters are not overridden",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.AuthorizationParameters = map[string]v1alpha1.ParameterValue{"state": "x"}
			},
			want: []string{"spec.authorizationParameters", "set by the operator"},
		},
		"OwnTokenParameter": {
			reason: "nor those of the token request",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.TokenRequest = &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{{Name: "grant_type", Value: new("x")}}}
			},
			want: []string{"spec.tokenRequest.parameters[0].name", "set by the operator"},
		},
		"ParameterWithoutValue": {
			reason: "one of the two sources",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.TokenRequest = &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{{Name: "audience"}}}
			},
			want: []string{"spec.tokenRequest.parameters[0]", "exactly one of value and secretKeyRef"},
		},
		"ParameterWithoutKey": {
			reason: "there is no default key for parameters",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.TokenRequest = &v1alpha1.TokenRequestSpec{Parameters: []v1alpha1.RequestParameter{
					{Name: "audience", SecretKeyRef: &v1alpha1.ValueSecretReference{Name: "s"}},
				}}
			},
			want: []string{"spec.tokenRequest.parameters[0].secretKeyRef", "secretKeyRef.key", "at least 1"},
		},
		"SelectorWithoutFrom": {
			reason: "a selector that would not count is refused",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll, Selector: &metav1.LabelSelector{}}
			},
			want: []string{"spec.allowedNamespaces", "from: Selector"},
		},
		"FromWithoutSelector": {
			reason: "and one that is missing, too",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector}
			},
			want: []string{"spec.allowedNamespaces", "from: Selector"},
		},
		"NoRequests": {
			reason: "zero a second is never",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.Limits = &v1alpha1.Limits{RequestsPerSecond: quantity("0"), MaxConcurrent: 1}
			},
			want: []string{"spec.limits.requestsPerSecond", "greater than 0"},
		},
		"TooManyAtOnce": {
			reason: "the bound is in the message",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Limits = &v1alpha1.Limits{MaxConcurrent: 1000} },
			want:   []string{"spec.limits.maxConcurrent", "256"},
		},
		"NoAPIRequests": {
			reason: "neither to the API",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.APILimits = &v1alpha1.APILimits{Connection: &v1alpha1.ConnectionAPILimits{RequestsPerSecond: quantity("0")}}
			},
			want: []string{"spec.apiLimits.connection.requestsPerSecond", "greater than 0"},
		},
		"NoHeader": {
			reason: "a header that cannot be",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.APILimits = &v1alpha1.APILimits{ResetHeader: "X Reset"} },
			want:   []string{"spec.apiLimits.resetHeader"},
		},
		"TwoCAs": {
			reason: "one of the two sources",
			change: func(s *v1alpha1.OAuthApplicationSpec) {
				s.CABundle = &v1alpha1.CABundle{
					SecretRef: &v1alpha1.SecretKeyReference{Name: "a"}, ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "b"},
				}
			},
			want: []string{"spec.caBundle", "exactly one of secretRef and configMapRef"},
		},
		"BadKey": {
			reason: "a key that no Secret can have",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.Client.SecretRef.Key = "a/b" },
			want:   []string{"spec.client.secretRef.key"},
		},
		"BadRedirectURL": {
			reason: "it has to be registered as it is",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.RedirectURL = "callback" },
			want:   []string{"spec.redirectURL", "absolute URL"},
		},
		"UnknownGrantType": {
			reason: "the grant types are listed",
			change: func(s *v1alpha1.OAuthApplicationSpec) { s.AllowedGrantTypes = []v1alpha1.GrantType{"Password"} },
			want:   []string{"spec.allowedGrantTypes[0]", "ClientCredentials"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			application := w.application(strings.ToLower(name))
			test.change(&application.Spec)
			err := w.client.Create(t.Context(), application, client.DryRunAll)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("%s: the error is %v", test.reason, err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q is not in: %v", test.reason, part, err)
				}
			}
		})
	}
}

func TestDefaultsOfAnApplication(t *testing.T) {
	w := newWorld(t)
	application := w.application("crm")
	application.Spec.Limits = &v1alpha1.Limits{RequestsPerSecond: quantity("0.5")}
	w.create(application)
	spec := application.Spec
	// What a preset may say has no default here, or the preset would never be heard.
	if spec.PKCE != "" || spec.ScopeSeparator != "" || spec.AllowedNamespaces.From != v1alpha1.NamespacesFromSame ||
		spec.Limits.MaxConcurrent != 4 || spec.Limits.RequestsPerSecond.AsApproximateFloat64() != 0.5 {
		t.Errorf("the defaults are %+v", spec)
	}
}

func quantity(text string) *resource.Quantity { return new(resource.MustParse(text)) }
