// SPDX-License-Identifier: Apache-2.0

package application

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

func TestPresetsFollowTheirSecrets(t *testing.T) {
	w := newWorld(t)
	w.start()
	application := w.application("crm")
	application.Spec = v1alpha1.OAuthApplicationSpec{Provider: "increase", Client: application.Spec.Client}
	secret := w.clientSecret()
	w.create(application, secret)
	w.eventually("crm", "waiting for the other credential", func(a *v1alpha1.OAuthApplication) bool {
		return strings.Contains(message(a), `has no key "api_key" (keys: client_secret)`)
	})
	w.update(secret, func() { secret.StringData = map[string]string{"api_key": "platform"} })
	application = w.eventuallyReason("crm", v1alpha1.ReasonReady)
	if got := application.Status.Endpoints.TokenURL; got != "https://api.increase.com/oauth/tokens" {
		t.Errorf("the token URL is %s", got)
	}
	w.update(secret, func() { secret.StringData = map[string]string{"api_key": "rotated"} })
	w.eventuallyKept(application.UID, "rotated", func(c *registration.Client) bool {
		return c.Secrets[provider.SecretKey("crm-client", "api_key")].Reveal() == "rotated"
	})
}

// censused is an application of a provider with lists.
func (w *world) censused(p *lists) *v1alpha1.OAuthApplication {
	application := w.application("crm")
	application.Spec.IssuerURL = ""
	application.Spec.Endpoints = &v1alpha1.Endpoints{TokenURL: v1alpha1.EndpointURL(p.URL + "/token")}
	application.Spec.StatusCheck = &v1alpha1.StatusCheckSpec{
		Type: v1alpha1.StatusCheckConnectionList,
		ConnectionList: &v1alpha1.ConnectionListSpec{
			URL: p.URL + "/connections", Subject: "$.group",
			Application: &v1alpha1.ApplicationListSpec{URL: p.URL + "/applications"},
		},
	}
	return application
}

func (p *lists) answer(uri, answer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[uri] = answer
}

// settled waits until a controller has passed over its one application and then leaves it alone.
func (w *world) settled(controller *running) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if controller.passes.Load() == 0 {
			return errors.New("no pass yet")
		}
		return nil
	})
	testenv.Consistently(w.t, countDelay, func() error {
		if all := controller.requests.matching("PATCH"); len(all) > 0 {
			return fmt.Errorf("written: %v", all)
		}
		return nil
	})
}

func TestAListIsFollowed(t *testing.T) {
	w := newWorld(t)
	p := newLists(t)
	p.answer("/applications", `{"data":[{"id":"application_1","client_id":"crm","status":"active"}]}`)
	p.answer("/connections", `{"data":[{"id":"c1","group":"g1","status":"active"},{"id":"c2","group":"g2","status":"active"}]}`)
	controller := w.start()
	w.create(w.clientSecret(), w.censused(p))
	application := w.eventuallyReason("crm", v1alpha1.ReasonReady)
	if asked := p.asked(); len(asked) > 0 || application.Status.Connections.Unmanaged != nil {
		t.Errorf("before anybody asks or it is time, the provider was asked %q", asked)
	}

	key := types.NamespacedName{Namespace: w.namespace, Name: "crm"}
	controller.listings.RequestListing(key)
	w.unmanaged(2)
	select {
	case of := <-controller.listed:
		if of != key {
			t.Errorf("the connections of %s were woken", of)
		}
	case <-time.After(patience):
		t.Fatal("nobody was told of the listing")
	}
	if found, ok := controller.census.Get(application.UID); !ok || found.ApplicationID != "application_1" || len(found.Entries) != 2 {
		t.Errorf("the census is %+v", found)
	}
	connection := w.connection("billing", "crm")
	w.create(connection)
	connection.Status.ID = "c2"
	w.must(w.client.Status().Update(t.Context(), connection))
	w.unmanaged(1)

	calls := len(p.asked())
	controller.stop()
	controller = w.start()
	w.settled(controller)
	if len(p.asked()) != calls {
		t.Error("a restart asked the provider")
	}

	p.answer("/applications", `{"data":[{"id":"application_1","client_id":"crm","status":"deleted"}]}`)
	p.answer("/connections", `{"data":[{"id":"c2","group":"g2","status":"inactive"}]}`)
	controller.listings.RequestListing(key)
	application = w.eventuallyReason("crm", v1alpha1.ReasonApplicationDeleted)
	w.unmanaged(0)
	if application.Status.Phase != v1alpha1.ApplicationDeleted {
		t.Errorf("the phase is %s", application.Status.Phase)
	}
	if _, err := w.kept(application.UID); err != nil {
		t.Errorf("the client that revokes is gone: %v", err)
	}
	controller.stop()
	controller = w.start()
	w.settled(controller)
	w.eventuallyReason("crm", v1alpha1.ReasonApplicationDeleted)

	controller.listings.RequestListing(key)
	w.counted(controller, application.UID, true)
	w.delete(connection)
	w.delete(application)
	w.counted(controller, application.UID, false)
}

// counted waits until there is a census of an application, or none any more.
func (w *world) counted(controller *running, application types.UID, want bool) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if _, ok := controller.census.Get(application); ok != want {
			return fmt.Errorf("that there is a census is %t, want %t", ok, want)
		}
		return nil
	})
}

func (w *world) unmanaged(want int32) {
	w.t.Helper()
	w.eventually("crm", fmt.Sprintf("with %d that nobody manages", want), func(a *v1alpha1.OAuthApplication) bool {
		return a.Status.Connections != nil && a.Status.Connections.Unmanaged != nil && *a.Status.Connections.Unmanaged == want
	})
}

func TestAnOutageOfTheListIsTold(t *testing.T) {
	w := newWorld(t)
	p := newLists(t)
	p.status = 401
	p.answer("/applications", `{}`)
	controller := w.start()
	w.create(w.clientSecret(), w.censused(p))
	w.eventuallyReason("crm", v1alpha1.ReasonReady)
	controller.listings.RequestListing(types.NamespacedName{Namespace: w.namespace, Name: "crm"})
	application := w.eventually("crm", "degraded", func(a *v1alpha1.OAuthApplication) bool {
		return strings.Contains(message(a), "HTTP status 401; check statusCheck.connectionList")
	})
	if application.Status.Phase != v1alpha1.ApplicationActive || application.Status.Connections.Unmanaged != nil {
		t.Errorf("the status is %+v", application.Status)
	}
	testenv.Eventually(t, patience, func() error {
		if all := w.events(); !slices.Contains(all, "Warning StatusCheckFailed") {
			return fmt.Errorf("events: %v", all)
		}
		return nil
	})
}
