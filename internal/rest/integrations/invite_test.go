// SPDX-License-Identifier: Apache-2.0

package integrations_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

func TestInviteMakesTheConnection(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.request(jane, http.MethodGet, connect+"?displayName=Jane%27s&scopes=read%20write", "")
		c := w.plane.connections[types.NamespacedName{Namespace: "platform", Name: janes}]
		if c == nil {
			t.Fatalf("answered %d: %s; there is no connection %s: %v", a.Code, a.Body, janes, w.plane.connections)
		}
		if a.Code != http.StatusFound || a.Header().Get("Location") != c.Status.AuthorizationURL || c.Status.AuthorizationURL == "" {
			t.Errorf("answered %d to %q", a.Code, a.Header().Get("Location"))
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Type": "application/json"} {
			if a.Header().Get(name) != want {
				t.Errorf("%s: %q", name, a.Header().Get(name))
			}
		}
		spec := c.Spec
		if spec.Owner != jane || spec.ApplicationRef != (v1alpha1.ApplicationReference{Name: "crm"}) ||
			spec.Grant.Type != v1alpha1.GrantAuthorizationCode || spec.DisplayName != "Jane's" || len(spec.Scopes) != 2 {
			t.Errorf("it was made as %+v", spec)
		}
		if len(w.plane.messages) != 0 {
			t.Error("the controller was asked for a link that it gives by itself")
		}
		told := w.last()
		if told.Action != integrations.ActionInvite || told.Outcome != integrations.OutcomeDone || !told.Created || told.Caller.GetName() != jane ||
			told.Connection != client.ObjectKeyFromObject(c) || told.ConnectionUID != c.UID || told.Application != crm() || told.Duration != a.took {
			t.Errorf("told of %+v", told)
		}
		again := w.request(jane, http.MethodGet, connect, "")
		if again.Header().Get("Location") != a.Header().Get("Location") || len(w.plane.connections) != 1 || again.took != 0 || w.last().Created {
			t.Errorf("the second time: %d %s, %d connections", again.Code, again.Body, len(w.plane.connections))
		}
	})
}

func TestInviteToWhatIsShared(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, active)
		a := w.request(jane, http.MethodGet, connect+"?shared=true", "")
		c := w.plane.connections[types.NamespacedName{Namespace: "platform", Name: "crm-shared"}]
		if a.Code != http.StatusFound || c == nil || c.Spec.Owner != "" {
			t.Errorf("answered %d: %s, %+v", a.Code, a.Body, c)
		}
	})
}

func TestInviteByUID(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		if a := w.request(jane, http.MethodGet, "/api/integrations/application/connect", ""); a.Code != http.StatusFound {
			t.Errorf("answered %d: %s", a.Code, a.Body)
		}
		w.refused(w.request(jane, http.MethodGet, "/api/integrations/other/connect", ""), problem.NotFound, "")
	})
}

// A name that does not fit is cut, and is a name still.
func TestNamesAreCut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		long := strings.Repeat("a", 240) + ".b-" + strings.Repeat("c", 10)
		w.apply(func(a *v1alpha1.OAuthApplication) { a.Name, a.UID = long, "long" })
		if a := w.request(jane, http.MethodGet, "/api/integrations/platform."+long+"/connect", ""); a.Code != http.StatusFound {
			t.Fatalf("answered %d: %s", a.Code, a.Body)
		}
		for name := range w.plane.connections {
			if len(name.Name) > 253 || strings.Contains(name.Name, ".-") || !strings.HasSuffix(name.Name, strings.TrimPrefix(janes, "crm")) {
				t.Errorf("it is named %s", name.Name)
			}
		}
	})
}

// Somebody may want to authorize what works: the controller is asked for a link then.
func TestInviteToWhatWorks(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		c := w.hold(janes, jane, active)
		w.plane.told = func(pending.Message) {
			w.plane.later(300*time.Millisecond, c.UID, func(c *v1alpha1.OAuthConnection) { c.Status.AuthorizationURL = linked(c) })
		}
		asked := time.Now()
		a := w.request(jane, http.MethodGet, connect, "")
		if a.Code != http.StatusFound || a.took != 300*time.Millisecond {
			t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
		}
		name, m := w.only()
		if m.Kind() != pending.LinkRequest || m.Connection != client.ObjectKeyFromObject(c) || m.ConnectionUID != c.UID ||
			m.Application != crm() || m.ApplicationUID != "application" || !m.ReceivedAt.Equal(asked) {
			t.Errorf("the message is %+v", m)
		}
		// Authorized, so the link is used up. The next one is asked for anew, although the message was a moment ago.
		w.plane.change(c.UID, func(c *v1alpha1.OAuthConnection) {
			c.Status.LastAuthorizedAt, c.Status.AuthorizationURL = new(metav1.Now()), ""
		})
		if again := w.request(jane, http.MethodGet, connect, ""); again.Code != http.StatusFound || len(w.plane.messages) != 2 {
			t.Errorf("the second time: %d %s; first message %s", again.Code, again.Body, name)
		}
	})
}

// A link that the gateway would refuse is not given.
func TestInviteWaitsForALinkThatLeadsThere(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(c *v1alpha1.OAuthConnection){
		"of the spec before": func(c *v1alpha1.OAuthConnection) {
			c.Status.AuthorizationURL = linked(c)
			c.Generation++
		},
		"too old": func(c *v1alpha1.OAuthConnection) {
			c.Status.AuthorizationURL = ticket.URL(external, c.Namespace, c.Name, ticket.New(ticket.Claims{
				Generation: c.Generation, AuthorizedAt: c.Status.LastAuthorizedAt.Time, IssuedAt: time.Now().Add(-ticket.Lifetime),
			}))
		},
		"used": func(c *v1alpha1.OAuthConnection) {
			c.Status.AuthorizationURL = linked(c)
			c.Status.LastAuthorizedAt = new(metav1.Now())
		},
		"none": func(c *v1alpha1.OAuthConnection) { c.Status.AuthorizationURL = external },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c := w.hold(janes, jane, func(c *v1alpha1.OAuthConnection) {
					active(c)
					spoil(c)
				})
				w.plane.later(2*time.Second, c.UID, func(c *v1alpha1.OAuthConnection) {
					c.Status.ObservedGeneration = c.Generation
					c.Status.AuthorizationURL = linked(c)
				})
				a := w.request(jane, http.MethodGet, connect, "")
				if a.took != 2*time.Second || a.Header().Get("Location") != w.directory.Connection(c.UID).Status.AuthorizationURL {
					t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
				}
			})
		})
	}
}

func TestInviteWithoutALink(t *testing.T) {
	t.Parallel()
	told := func(phase v1alpha1.ConnectionPhase, reason string) func(*v1alpha1.OAuthConnection) {
		return func(c *v1alpha1.OAuthConnection) { says(c, phase, metav1.ConditionFalse, reason) }
	}
	const pendingPhase, ten = v1alpha1.ConnectionPending, 10 * time.Second
	for name, test := range map[string]struct {
		change func(c *v1alpha1.OAuthConnection)
		code   problem.Code
		reason string
		took   time.Duration
	}{
		"suspended": {func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true }, problem.ConnectionNotReady, v1alpha1.ReasonSuspended, 0},
		"being deleted": {
			func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) }, problem.ConnectionNotReady,
			v1alpha1.ReasonDeleting, 0,
		},
		"another grant": {func(c *v1alpha1.OAuthConnection) { c.Spec.Grant.Type = v1alpha1.GrantClientCredentials }, problem.NoAuthorization, "", 0},
		"a code in a Secret": {func(c *v1alpha1.OAuthConnection) {
			c.Spec.Grant.AuthorizationCode = &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: &v1alpha1.SecretKeyReference{Name: "code"}}
		}, problem.NoAuthorization, "", 0},
		"no gateway":      {told(pendingPhase, v1alpha1.ReasonNoGateway), problem.NoAuthorization, v1alpha1.ReasonNoGateway, 0},
		"pushed requests": {told(pendingPhase, v1alpha1.ReasonPARRequired), problem.NoAuthorization, v1alpha1.ReasonPARRequired, 0},
		"no endpoint":     {told(pendingPhase, v1alpha1.ReasonInvalidConfiguration), problem.NoAuthorization, v1alpha1.ReasonInvalidConfiguration, 0},
		"somebody else's callback": {
			told(v1alpha1.ConnectionAuthorizing, v1alpha1.ReasonAuthorizationRequired), problem.NoAuthorization,
			v1alpha1.ReasonAuthorizationRequired, 0,
		},
		"not allowed":               {told(pendingPhase, v1alpha1.ReasonNotAllowed), problem.ConnectionNotReady, v1alpha1.ReasonNotAllowed, 0},
		"inputs":                    {told(pendingPhase, v1alpha1.ReasonInvalidInputs), problem.ConnectionNotReady, v1alpha1.ReasonInvalidInputs, 0},
		"application not ready":     {told(pendingPhase, v1alpha1.ReasonApplicationNotReady), problem.ConnectionNotReady, v1alpha1.ReasonApplicationNotReady, ten},
		"client refused":            {told(v1alpha1.ConnectionActive, v1alpha1.ReasonInvalidClient), problem.ConnectionNotReady, v1alpha1.ReasonInvalidClient, ten},
		"the controller is away":    {active, problem.ClusterUnavailable, "", ten},
		"and has not seen anything": {func(*v1alpha1.OAuthConnection) {}, problem.ClusterUnavailable, "", ten},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c := w.hold(janes, jane, test.change)
				a := w.request(jane, http.MethodGet, connect, "")
				w.refused(a, test.code, test.reason)
				if a.took != test.took {
					t.Errorf("it took %s, want %s", a.took, test.took)
				}
				if test.code == problem.ClusterUnavailable && a.Header().Get("Retry-After") == "" {
					t.Error("it does not say when to come again")
				}
				if told := w.last(); told.Outcome != string(test.code) || told.ConnectionUID != c.UID {
					t.Errorf("told of %+v", told)
				}
			})
		})
	}
}

func TestInviteToADevice(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, func(c *v1alpha1.OAuthConnection) {
			c.Spec.Grant.Type = v1alpha1.GrantDeviceCode
			c.Status.DeviceAuthorization = &v1alpha1.DeviceAuthorization{VerificationURI: "https://crm.example/device"}
		})
		w.refused(w.request(jane, http.MethodGet, connect, ""), problem.NoAuthorization, "", `"authorizationUrl":"https://crm.example/device"`)
	})
}

// With a redirect URL that is no gateway's, a connection that works shows no reason; there is no link all the same.
func TestInviteWithoutAGateway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.apply(func(a *v1alpha1.OAuthApplication) { a.Status.RedirectURL = "https://app.example/cb" })
		w.hold(janes, jane, active)
		w.refused(w.request(jane, http.MethodGet, connect, ""), problem.NoAuthorization, v1alpha1.ReasonNoGateway)
	})
}

func TestInviteToWhatGoes(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		c := w.hold(janes, jane, active)
		time.AfterFunc(time.Second, func() { w.plane.drop(client.ObjectKeyFromObject(c)) })
		a := w.request(jane, http.MethodGet, connect, "")
		w.refused(a, problem.ConnectionNotReady, v1alpha1.ReasonDeleting)
		if a.took != time.Second {
			t.Errorf("it took %s", a.took)
		}
	})
}

// A directory that is behind is waited for; a connection that it does not know yet is not gone.
func TestInviteWhileTheDirectoryIsBehind(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.plane.slow = time.Second
		w.plane.created = func(c *v1alpha1.OAuthConnection) {
			w.plane.later(2*time.Second, c.UID, func(c *v1alpha1.OAuthConnection) {
				says(c, v1alpha1.ConnectionAuthorizing, metav1.ConditionFalse, v1alpha1.ReasonAuthorizationRequired)
				c.Status.AuthorizationURL = linked(c)
			})
		}
		if a := w.request(jane, http.MethodGet, connect, ""); a.Code != http.StatusFound || a.took != 2*time.Second {
			t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
		}
	})
}

func TestQueries(t *testing.T) {
	t.Parallel()
	for query, words := range map[string]string{
		"?shared=maybe": "shared", "?share=true": "share", "?shared=true&shared=false": "shared", "?scopes=%zz": "query",
		"?displayName=" + strings.Repeat("x", 257): "displayName", "?scopes=a%20a": "scopes", "?shared": "shared",
	} {
		t.Run(query[:min(30, len(query))], func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.refused(w.request(jane, http.MethodGet, connect+query, ""), problem.InvalidRequest, "", words)
				if len(w.plane.connections) > 0 {
					t.Error("a connection was made")
				}
			})
		})
	}
}

func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	link := func(c *v1alpha1.OAuthConnection) {
		active(c)
		c.Status.AuthorizationURL = linked(c)
	}
	for name, test := range map[string]struct {
		may    string
		owner  string // Whose connection exists; "-": none.
		query  string
		header string
		code   problem.Code // Empty: a link.
	}{
		"nobody may make one":                          {"", "-", "", "", problem.Forbidden},
		"who may make this one":                        {"jane create platform/" + janes, "-", "", "", ""},
		"another one":                                  {"jane create platform/crm-shared", "-", "", "", problem.Forbidden},
		"the own one needs nothing":                    {"", jane, "", "", ""},
		"somebody else's is not found":                 {"jane create platform/*", "joe", "", "", ""}, // Another one is made.
		"the shared one":                               {"jane create platform/crm-shared", "", "?shared=true", "", ""},
		"the shared one, not allowed":                  {"jane get platform/*", "", "?shared=true", "", problem.Forbidden},
		"the shared one, none exists":                  {"", "-", "?shared=true", "", problem.Forbidden},
		"named, the own":                               {"", jane, "", "platform.held", ""},
		"named, the shared, not allowed":               {"jane get platform/held", "", "", "platform.held", problem.Forbidden},
		"named, the shared, allowed":                   {"jane create platform/* jane get platform/held", "", "", "platform.held", ""},
		"named, somebody else's, not allowed":          {"jane get platform/held", "joe", "", "platform.held", problem.Forbidden},
		"named, somebody else's, by who may create it": {"jane create platform/* jane get platform/held", "joe", "", "platform.held", problem.Forbidden},
		"named, somebody else's, by a superuser":       {"jane delete / jane get platform/held", "joe", "", "platform.held", ""},
		"named, the shared, by a superuser":            {"jane delete / jane get platform/held", "", "", "platform.held", problem.Forbidden},
		"named, not seen":                              {"", "joe", "", "platform.held", problem.Forbidden},
		"named, of another kind":                       {"jane create platform/*", jane, "?shared=true", "platform.held", problem.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.may = map[string]bool{}
				words := strings.Fields(test.may)
				for i := 0; i+2 < len(words); i += 3 {
					w.may[strings.Join(words[i:i+3], " ")] = true
				}
				if test.owner != "-" {
					named := "held"
					if test.owner == "" && test.header == "" {
						named = "crm-shared"
					}
					w.hold(named, test.owner, link)
				}
				a := w.request(jane, http.MethodGet, connect+test.query, "", selecting(test.header)...)
				if test.code != "" {
					w.refused(a, test.code, "")
				} else if a.Code != http.StatusFound {
					t.Errorf("answered %d: %s", a.Code, a.Body)
				}
			})
		})
	}
}

// A right to make the shared connection is none to authorize shared ones of other names.
func TestTheRightIsToAName(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.may = map[string]bool{"jane create platform/crm-shared": true}
		w.hold("held", "", func(c *v1alpha1.OAuthConnection) {
			active(c)
			c.Status.AuthorizationURL = linked(c)
		})
		w.refused(w.request(jane, http.MethodGet, connect+"?shared=true", ""), problem.Forbidden, "")
		w.may["jane create platform/held"] = true
		if a := w.request(jane, http.MethodGet, connect+"?shared=true", ""); a.Code != http.StatusFound {
			t.Errorf("answered %d: %s", a.Code, a.Body)
		}
	})
}

// A connection of another namespace would have to be created there; its owner could be anybody's invention.
func TestAnotherNamespace(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		c := &v1alpha1.OAuthConnection{}
		c.Namespace, c.Name, c.Spec.Owner = "team", "theirs", jane
		c.Spec.ApplicationRef = v1alpha1.ApplicationReference{Namespace: "platform", Name: "crm"}
		w.plane.change(w.plane.add(c).UID, func(c *v1alpha1.OAuthConnection) {
			active(c)
			c.Status.AuthorizationURL = linked(c)
		})
		w.may["jane get team/theirs"] = true
		ask := func() answer { return w.request(jane, http.MethodGet, connect, "", selecting("team.theirs")...) }
		w.refused(ask(), problem.Forbidden, "")
		w.may["jane create team/theirs"] = true
		if a := ask(); !strings.Contains(a.Header().Get("Location"), "/team/theirs?") {
			t.Errorf("answered %d: %s", a.Code, a.Body)
		}
	})
}

// Who owns a connection whose application is gone is told so; others learn nothing.
func TestTheApplicationIsGone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, active)
		w.directory.ApplicationHandler().OnDelete(w.directory.ApplicationNamed(crm()))
		w.refused(w.request(jane, http.MethodGet, connect, ""), problem.ConnectionNotReady, v1alpha1.ReasonApplicationNotFound)
		w.refused(w.request("joe", http.MethodGet, connect, ""), problem.Forbidden, "")
	})
}

func selecting(selector string) []string {
	if selector == "" {
		return nil
	}
	return []string{"Oauth-Operator-Connection: " + selector}
}

// Of several, the one that works; else the one that is made here; else the caller has to say.
func TestSeveral(t *testing.T) {
	t.Parallel()
	waits := func(c *v1alpha1.OAuthConnection) {
		says(c, v1alpha1.ConnectionAuthorizing, metav1.ConditionFalse, v1alpha1.ReasonAuthorizationRequired)
		c.Status.AuthorizationURL = linked(c)
	}
	works := func(c *v1alpha1.OAuthConnection) {
		active(c)
		c.Status.AuthorizationURL = linked(c)
	}
	goes := func(c *v1alpha1.OAuthConnection) {
		works(c)
		c.DeletionTimestamp = new(metav1.Now())
	}
	type held map[string]func(*v1alpha1.OAuthConnection)
	for name, test := range map[string]struct {
		held held
		want string // Empty: ambiguous.
	}{
		"one works":          {held{janes: waits, "other": works}, "other"},
		"none works":         {held{janes: waits, "other": waits}, janes},
		"two work":           {held{janes: works, "other": works, "third": waits}, janes},
		"one goes":           {held{janes: goes, "other": waits}, "other"},
		"all of them go":     {held{"third": goes, "other": goes}, janes},
		"two of other names": {held{"other": works, "third": works, janes: waits}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				for name, change := range test.held {
					w.hold(name, jane, change)
				}
				a := w.request(jane, http.MethodGet, connect, "")
				if test.want == "" {
					w.refused(a, problem.ConnectionAmbiguous, "", "Oauth-Operator-Connection")
				} else if !strings.Contains(a.Header().Get("Location"), "/platform/"+test.want+"?") {
					t.Errorf("answered %d to %s: %s", a.Code, a.Header().Get("Location"), a.Body)
				}
			})
		})
	}
}

func TestNobodyHasNoConnection(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.may[" create platform/*"] = true
		w.refused(w.request("", http.MethodGet, connect, ""), problem.Unauthenticated, "")
		w.refused(w.request("", http.MethodGet, "/api/integration-connections", ""), problem.Unauthenticated, "")
	})
}

func TestApplicationsThatAreNone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.refused(w.request(jane, http.MethodGet, "/api/integrations/platform.none/connect", ""), problem.NotFound, "")
		w.refused(w.request(jane, http.MethodGet, "/api/integrations/elsewhere.none/connect", ""), problem.Forbidden, "")
		if len(w.plane.connections) > 0 {
			t.Error("a connection was made")
		}
	})
}

// What the API server says against a connection is said to the caller, except where it only failed.
func TestCreationIsRefused(t *testing.T) {
	t.Parallel()
	kind := schema.GroupKind{Group: "oauth-operator.io", Kind: "OAuthConnection"}
	resource := schema.GroupResource{Group: "oauth-operator.io", Resource: "oauthconnections"}
	for name, test := range map[string]struct {
		err   error
		code  problem.Code
		words string
	}{
		"invalid":          {apierrors.NewInvalid(kind, "x", nil), problem.InvalidRequest, "is invalid"},
		"denied":           {apierrors.NewForbidden(resource, "x", errors.New("quota")), problem.Forbidden, "quota"},
		"bad":              {apierrors.NewBadRequest("a webhook says no"), problem.InvalidRequest, "a webhook says no"},
		"too many":         {apierrors.NewTooManyRequestsError("later"), problem.ClusterUnavailable, ""},
		"broken":           {apierrors.NewInternalError(errors.New("etcd")), problem.ClusterUnavailable, ""},
		"our own token":    {apierrors.NewUnauthorized("expired"), problem.ClusterUnavailable, ""},
		"no route to host": {errors.New("dial tcp 10.0.0.1:443"), problem.ClusterUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.plane.refuse = func(string) error { return test.err }
				a := w.request(jane, http.MethodGet, connect, "")
				w.refused(a, test.code, "", test.words)
				if strings.Contains(a.Body.String(), "10.0.0.1") {
					t.Errorf("it shows what failed: %s", a.Body)
				}
			})
		})
	}
}

// Two replicas make the connection at the same time: the second goes on with what the first has made.
func TestSomebodyElseWasFirst(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(c *v1alpha1.OAuthConnection)
		gone   bool
		code   problem.Code // Empty: a link.
		reason string
	}{
		"the same":                       {func(*v1alpha1.OAuthConnection) {}, false, "", ""},
		"another user's":                 {func(c *v1alpha1.OAuthConnection) { c.Spec.Owner = "joe" }, false, problem.ConnectionNotReady, integrations.ReasonSettingsDiffer},
		"another application's":          {func(c *v1alpha1.OAuthConnection) { c.Spec.ApplicationRef.Name = "erp" }, false, problem.ConnectionNotReady, integrations.ReasonSettingsDiffer},
		"it is going":                    {func(c *v1alpha1.OAuthConnection) { c.DeletionTimestamp = new(metav1.Now()) }, false, problem.ConnectionNotReady, v1alpha1.ReasonDeleting},
		"it has gone since":              {func(*v1alpha1.OAuthConnection) {}, true, problem.ConnectionNotReady, v1alpha1.ReasonDeleting},
		"with settings other than those": {func(c *v1alpha1.OAuthConnection) { c.Spec.DisplayName = "x" }, false, problem.ConnectionNotReady, integrations.ReasonSettingsDiffer},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.plane.slow = 500 * time.Millisecond // Nobody knows it yet.
				c := w.hold(janes, jane, test.change)
				w.plane.slow = 0
				w.directory.ConnectionHandler().OnDelete(c0(w, janes))
				w.observe(c0(w, janes))
				if test.gone {
					w.plane.refuse = func(write string) error {
						if write == "create connection" {
							w.plane.drop(types.NamespacedName{Namespace: "platform", Name: janes})
							return apierrors.NewAlreadyExists(schema.GroupResource{}, janes)
						}
						return nil
					}
				}
				a := w.request(jane, http.MethodGet, connect+"?displayName=", "")
				if test.code != "" {
					w.refused(a, test.code, test.reason)
				} else if a.Code != http.StatusFound || w.last().Created {
					t.Errorf("answered %d: %s %v", a.Code, a.Body, c)
				}
			})
		})
	}
}

// The name is taken, and what by cannot be read.
func TestNobodyKnowsWhoWasFirst(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.plane.refuse = func(write string) error {
			if write == "create connection" {
				return apierrors.NewAlreadyExists(schema.GroupResource{}, janes)
			}
			return errors.New("no route to host")
		}
		w.refused(w.request(jane, http.MethodGet, connect, ""), problem.ClusterUnavailable, "")
	})
}

// c0 is a connection as the API server has it.
func c0(w *world, name string) *v1alpha1.OAuthConnection {
	w.plane.mutex.Lock()
	defer w.plane.mutex.Unlock()
	return w.plane.connections[types.NamespacedName{Namespace: "platform", Name: name}]
}
