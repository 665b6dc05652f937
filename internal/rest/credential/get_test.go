// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestGet(t *testing.T) {
	w := newWorld(t)
	got := w.mustGet()
	want := []credential.Header{
		{Name: "X-Key", Value: sensitive.New(canary + "-api-key")}, {Name: "Authorization", Value: sensitive.New("Bearer " + token("1"))},
	}
	if diff := cmp.Diff(want, got.Headers, cmp.Comparer(sensitive.String.Equal)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got.Base.String() != "https://us1.api.example.com/t1" || got.AllowedHosts[0] != "*.example.net" || string(got.CA) != "ca" || got.Limits.MaxConcurrent != 7 {
		t.Errorf("got %+v", got)
	}
	if got.Token.Reveal() != token("1") || got.Hash != got.Token.Hash() || got.Expiry.Kind != lifecycle.ExpiryAt || !got.Renewable {
		t.Errorf("got %+v", got)
	}
	w.hides(fmt.Sprintf("%v %+v %#v %+v", got, got, got, *got))
}

func TestGetWithoutAPI(t *testing.T) {
	w := newWorld(t)
	w.keepClient(func(c *registration.Client) { c.Spec.APIBaseURL, c.Spec.APIHeaders = "", nil })
	if got := w.mustGet(); got.Base != nil || len(got.Headers) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestRenewable(t *testing.T) {
	for name, row := range map[string]struct {
		refresh string
		grant   v1alpha1.GrantType
		refresher,
		want bool
	}{
		"a refresh token":                      {refresh: canary, grant: v1alpha1.GrantAuthorizationCode, want: true},
		"none":                                 {grant: v1alpha1.GrantAuthorizationCode},
		"an imported grant without one":        {grant: v1alpha1.GrantRefreshToken},
		"a device's without one":               {grant: v1alpha1.GrantDeviceCode},
		"a client's own":                       {grant: v1alpha1.GrantClientCredentials, want: true},
		"an assertion":                         {grant: v1alpha1.GrantJWTBearer, want: true},
		"an exchange":                          {grant: v1alpha1.GrantTokenExchange, want: true},
		"an extension":                         {grant: v1alpha1.GrantExtension, want: true},
		"a provider that renews by the access": {grant: v1alpha1.GrantAuthorizationCode, refresher: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.setRecord("1", time.Hour, func(r *lifecycle.Record) { r.RefreshToken = sensitive.New(row.refresh) })
			w.change(func(c *v1alpha1.OAuthConnection) { c.Spec.Grant.Type = row.grant })
			if row.refresher {
				w.keepClient(func(c *registration.Client) {
					c.Spec.TokenRequest = &v1alpha1.TokenRequestSpec{Refresh: &v1alpha1.RefreshRequestSpec{GrantType: "x", AccessTokenParameter: "t"}}
				})
			}
			if got := w.mustGet(); got.Renewable != row.want {
				t.Errorf("renewable: %t, want %t", got.Renewable, row.want)
			}
		})
	}
}

func notReady(reason, message string) func(*v1alpha1.OAuthConnection) {
	return func(c *v1alpha1.OAuthConnection) {
		c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message}}
	}
}

func in(phase v1alpha1.ConnectionPhase, reason, message string) func(*v1alpha1.OAuthConnection) {
	return func(c *v1alpha1.OAuthConnection) {
		notReady(reason, message)(c)
		c.Status.Phase, c.Status.AuthorizationURL = phase, "https://gateway/connect/team/crm?t=x"
	}
}

func TestGetRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*v1alpha1.OAuthConnection)
		code   problem.Code
		reason string
		detail string
		url    bool
	}{
		"being deleted": {
			func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) },
			problem.ConnectionNotReady, v1alpha1.ReasonDeleting, "being deleted", false,
		},
		"suspended": {
			func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true },
			problem.ConnectionNotReady, v1alpha1.ReasonSuspended, "suspended", false,
		},
		"new":         {func(c *v1alpha1.OAuthConnection) { c.Status = v1alpha1.OAuthConnectionStatus{} }, problem.ConnectionNotReady, "", "has not looked", false},
		"pending":     {in(v1alpha1.ConnectionPending, v1alpha1.ReasonSecretNotFound, "waiting for x"), problem.ConnectionNotReady, v1alpha1.ReasonSecretNotFound, "waiting for x", false},
		"not allowed": {in(v1alpha1.ConnectionActive, v1alpha1.ReasonNotAllowed, "not this namespace"), problem.ConnectionNotReady, v1alpha1.ReasonNotAllowed, "not this namespace", false},
		"authorizing": {in(v1alpha1.ConnectionAuthorizing, v1alpha1.ReasonAuthorizationRequired, "open it"), problem.ConnectionInactive, v1alpha1.ReasonAuthorizationRequired, "open it", true},
		"inactive":    {in(v1alpha1.ConnectionInactive, v1alpha1.ReasonInvalidGrant, "refused"), problem.ConnectionInactive, v1alpha1.ReasonInvalidGrant, "refused", true},
		"deleted":     {in(v1alpha1.ConnectionDeleted, v1alpha1.ReasonDeauthorized, "ended"), problem.ConnectionInactive, v1alpha1.ReasonDeauthorized, "ended", true},
		"an input that does not fit": {
			func(c *v1alpha1.OAuthConnection) { c.Spec.Inputs["dc"] = "evil.example.org#" },
			problem.ConnectionNotReady, v1alpha1.ReasonInvalidInputs, "inputs.dc", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.source.Get(t.Context(), w.change(row.change))
			p := w.problem(err, row.code)
			if p.Status != 409 || p.Reason != row.reason || !strings.Contains(p.Detail, row.detail) || (p.AuthorizationURL != "") != row.url {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestGetWithoutWhatItNeeds(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*world)
		detail string
	}{
		"no application": {func(w *world) { clear(w.applications) }, "there is no OAuthApplication platform/crm"},
		"an application that is being deleted": {func(w *world) {
			a := application()
			a.DeletionTimestamp = new(metav1.Now())
			w.setApplication(a)
		}, "being deleted"},
		"an application that was made anew": {func(w *world) {
			a := application()
			a.UID = "app-2"
			w.setApplication(a)
		}, "that is gone"},
		"no kept client": {func(w *world) {
			kept, err := w.kept.Get(w.t.Context(), "app-1")
			w.must(err)
			w.must(w.kept.Delete(w.t.Context(), kept))
		}, "application platform/crm is not ready"},
		"no record": {func(w *world) {
			entry, err := w.grants.Live(w.t.Context(), "uid-1")
			w.must(err)
			w.must(w.grants.Delete(w.t.Context(), entry))
		}, "no grant is held"},
		"a record without tokens": {func(w *world) {
			w.setRecord("1", time.Hour, func(r *lifecycle.Record) { r.Tokens = lifecycle.Tokens{} })
		}, "no grant is held"},
		"a captured value that is not known": {func(w *world) {
			w.setRecord("1", time.Hour, func(r *lifecycle.Record) { r.Captured = nil })
		}, "{team}"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			row.change(w)
			_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
			if p := w.problem(err, problem.ConnectionNotReady); !strings.Contains(p.Detail, row.detail) {
				t.Errorf("got %+v", p)
			}
		})
	}
}

// A token that was obtained at an application that is gone goes nowhere, although it was used a moment ago.
func TestRecreatedApplicationGetsNoToken(t *testing.T) {
	w := newWorld(t)
	w.mustGet()
	a := application()
	a.UID = "app-2"
	w.setApplication(a)
	_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
	w.want(err, problem.ConnectionNotReady)
}

func TestReadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setRefuse(func(string, string) error { // Nobody gets an answer before all have asked.
			<-time.After(time.Second)
			return nil
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { w.mustGet() })
		}
		all.Wait()
		if w.count("grant") != 1 || w.count("client") != 1 {
			t.Errorf("the record was read %d times and the client %d times", w.count("grant"), w.count("client"))
		}
	})
}

func TestWhatIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		earlier := w.Connection("uid-1")
		first := w.mustGet()
		expect := func(what string, grants, clients int) {
			t.Helper()
			if w.count("grant") != grants || w.count("client") != clients {
				t.Errorf("%s: the record was read %d times and the client %d times, want %d and %d", what, w.count("grant"), w.count("client"), grants, clients)
			}
			w.forgetReads()
		}
		expect("at first", 1, 1)
		if w.mustGet() != first {
			t.Error("nothing has changed, and the credential has")
		}
		expect("again", 0, 0)

		w.renew("2")
		if got := w.mustGet(); got.Token.Reveal() != token("2") {
			t.Error("the old token is still given out")
		}
		expect("after a change of the connection", 1, 0)
		if got, err := w.source.Get(t.Context(), earlier); err != nil || got.Token.Reveal() != token("2") {
			t.Errorf("with an earlier view of the connection: %+v, %v", got, err)
		}
		expect("with an earlier view of the connection", 0, 0)

		w.setRecord("2", time.Hour, func(r *lifecycle.Record) { r.Inputs["dc"] = "eu1" }) // Somebody has authorized again.
		w.forgetReads()
		w.change(func(c *v1alpha1.OAuthConnection) { c.Generation, c.Spec.Inputs["dc"] = 2, "eu1" })
		if got := w.mustGet(); got.Base.Host != "eu1.api.example.com" {
			t.Errorf("another input leads to %s", got.Base)
		}
		expect("after a change of the spec", 1, 0)

		<-time.After(16 * time.Second)
		second := w.mustGet()
		expect("after 15 seconds", 0, 1)
		w.keepClient(func(c *registration.Client) { c.Spec.AllowedHosts = nil })
		w.forgetReads()
		a := application()
		a.Status.ObservedGeneration = 2
		w.setApplication(a)
		if got := w.mustGet(); got == second || len(got.AllowedHosts) != 0 {
			t.Errorf("after a change of the application: %+v", got)
		}
		expect("after a change of the application", 0, 1)
	})
}

// Whoever may change a connection's inputs sends its token nowhere that its grant was not obtained for.
func TestInputsThatLeadElsewhere(t *testing.T) {
	const base = "https://{dc}.api.example.com/{team}"
	eu := map[string]v1alpha1.InputValue{"dc": "eu1"}
	inputs := []v1alpha1.Input{{Name: "dc", Restriction: v1alpha1.Restriction{Enum: []string{"us1", "eu1"}}}}
	for name, row := range map[string]struct {
		base    v1alpha1.EndpointURL
		present map[string]v1alpha1.InputValue
		granted map[string]string
		grant   v1alpha1.GrantType
		inputs  []v1alpha1.Input
		host    string // Empty: refused.
	}{
		"the same":                   {base: base, present: eu, granted: map[string]string{"dc": "eu1"}, host: "eu1.api.example.com"},
		"another host":               {base: base, present: eu, granted: map[string]string{"dc": "us1"}},
		"another host, issued":       {base: base, present: eu, granted: map[string]string{"dc": "us1"}, grant: v1alpha1.GrantClientCredentials},
		"none then":                  {base: base, present: eu},
		"one that is no longer good": {base: base, present: eu, granted: map[string]string{"dc": "ap1"}},
		"another path":               {base: "https://api.example.com/{dc}", present: eu, granted: map[string]string{"dc": "us1"}, host: "api.example.com"},
		"a path that was none then":  {base: "https://api.example.com/{dc}", present: eu, host: "api.example.com"},
		"another spelling": {
			base: "https://{dc}.api.example.com", present: map[string]v1alpha1.InputValue{"dc": "EU1"}, granted: map[string]string{"dc": "eu1"},
			inputs: []v1alpha1.Input{{Name: "dc", Restriction: v1alpha1.Restriction{Pattern: "[a-zA-Z0-9]+"}}}, host: "eu1.api.example.com",
		},
		"a default that was written out": {
			base: base, present: eu, inputs: []v1alpha1.Input{{Name: "dc", Default: new("eu1"), Restriction: inputs[0].Restriction}},
			host: "eu1.api.example.com",
		},
		"a default in place of another one": {
			base: base, granted: map[string]string{"dc": "us1"},
			inputs: []v1alpha1.Input{{Name: "dc", Default: new("eu1"), Restriction: inputs[0].Restriction}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.keepClient(func(c *registration.Client) {
				c.Spec.APIBaseURL, c.Spec.Inputs = row.base, inputs
				if row.inputs != nil {
					c.Spec.Inputs = row.inputs
				}
			})
			w.setRecord("1", time.Hour, func(r *lifecycle.Record) { r.Inputs = row.granted })
			c := w.change(func(c *v1alpha1.OAuthConnection) {
				c.Generation, c.Spec.Inputs = 2, row.present
				if row.grant != "" {
					c.Spec.Grant.Type = row.grant
				}
			})
			got, err := w.source.Get(t.Context(), c)
			if row.host != "" {
				if err != nil || strings.ToLower(got.Base.Host) != row.host {
					t.Errorf("got %+v, %v; want %s", got, err, row.host)
				}
				return
			}
			p := w.problem(err, problem.ConnectionNotReady)
			if again := strings.Contains(p.Detail, "authorize again"); p.Reason != v1alpha1.ReasonInvalidInputs || again == (row.grant != "") || (p.RetryAfter > 0) == again {
				t.Errorf("got %+v", p)
			}
		})
	}
}

// What a slow call has read does not take the place of what was read at a later version.
func TestSlowRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		earlier := w.Connection("uid-1")
		w.setRefuse(func(_, name string) error {
			if strings.HasPrefix(name, "grant-") {
				<-time.After(time.Second)
			}
			return nil
		})
		var slow sync.WaitGroup
		slow.Go(func() {
			if _, err := w.source.Get(t.Context(), earlier); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		w.setRefuse(nil)
		w.renew("2")
		w.mustGet()
		slow.Wait()
		w.forgetReads()
		if got := w.mustGet(); got.Token.Reveal() != token("2") || w.count("grant") != 0 {
			t.Errorf("got %+v, and the record was read %d times", got, w.count("grant"))
		}
	})
}

func TestAwayAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustGet()
		away := func(string, string) error { return errors.New("connection refused") }
		w.setRefuse(away)
		<-time.After(16 * time.Second)
		w.mustGet()
		w.mustGet()
		if w.count("client") != 2 {
			t.Errorf("the client was read %d times: before, and once in vain", w.count("client"))
		}
		<-time.After(5 * time.Minute)
		_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
		if p := w.problem(err, problem.ClusterUnavailable); p.Status != 503 || p.RetryAfter == 0 {
			t.Errorf("got %+v", p)
		}
		w.setRefuse(nil)
		w.mustGet()
		w.setRefuse(away)
		w.change(func(*v1alpha1.OAuthConnection) {})
		_, err = w.source.Get(t.Context(), w.Connection("uid-1"))
		w.want(err, problem.ClusterUnavailable) // The token may be another one by now.
	})
}

func TestMissingPermission(t *testing.T) {
	w := newWorld(t)
	w.setRefuse(func(_, name string) error {
		return apierrors.NewForbidden(v1alpha1.GroupVersion().WithResource("secrets").GroupResource(), name, errors.New("no"))
	})
	_, err := w.source.Get(t.Context(), w.Connection("uid-1"))
	w.want(err, problem.Internal)
}

func TestCallerWhoDoesNotWaitForReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.setRefuse(func(string, string) error {
			<-time.After(3 * time.Second)
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.source.Get(ctx, w.Connection("uid-1"))
		if w.want(err, problem.ClusterUnavailable); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.mustGet() // The read has gone on.
		if w.count("grant") != 1 {
			t.Errorf("the record was read %d times", w.count("grant"))
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	w.options.CacheSize = 2
	w.source = credential.New(w.options)
	get := func(uid types.UID) {
		t.Helper()
		_, err := w.source.Get(t.Context(), w.Connection(uid))
		w.must(err)
	}
	for _, uid := range []types.UID{"uid-2", "uid-3"} {
		c := connection()
		c.UID, c.Name = uid, string(uid)
		w.setConnection(c)
		w.setRecord("x", time.Hour, func(r *lifecycle.Record) { r.Connection.UID, r.Connection.Name = string(uid), string(uid) })
	}
	for _, row := range []struct {
		uid  types.UID
		want int
	}{{"uid-1", 1}, {"uid-2", 1}, {"uid-1", 0}, {"uid-3", 1}, {"uid-1", 0}, {"uid-2", 1}} {
		w.forgetReads()
		if get(row.uid); w.count("grant") != row.want {
			t.Errorf("%s: the record was read %d times, want %d", row.uid, w.count("grant"), row.want)
		}
	}
	w.forgetReads()
	w.source.Forget("uid-2")
	if get("uid-2"); w.count("grant") != 1 {
		t.Error("what was to be forgotten is still known")
	}
}
