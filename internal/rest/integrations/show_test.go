// SPDX-License-Identifier: Apache-2.0

package integrations_test

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func TestShow(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		shared := w.hold("crm-shared", "", active)
		w.refused(w.request(jane, http.MethodGet, connection, ""), problem.NotFound, "")
		w.may["jane get platform/crm-shared"] = true
		shows := func(want *v1alpha1.OAuthConnection, headers ...string) {
			t.Helper()
			a := w.request(jane, http.MethodGet, connection, "", headers...)
			if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"id":"`+string(want.UID)+`"`) || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answered %d, want %s: %s", a.Code, want.Name, a.Body)
			}
		}
		shows(shared)
		own := w.hold(janes, jane, func(*v1alpha1.OAuthConnection) {})
		shows(own)
		shows(shared, selecting("platform.crm-shared")...)
	})
}

// The base URL is told where it can be, and costs nobody an answer.
func TestBase(t *testing.T) {
	t.Parallel()
	made := func(base string) func() (*credential.Credential, error) {
		return func() (*credential.Credential, error) { return &credential.Credential{Base: parsed(t, base)}, nil }
	}
	const templated = "https://{shop}.example/api"
	for name, test := range map[string]struct {
		base   v1alpha1.EndpointURL
		preset string
		change func(c *v1alpha1.OAuthConnection)
		get    func() (*credential.Credential, error)
		want   string
	}{
		"as it is":               {base: "https://api.example/v1", change: active, want: `"https://api.example/v1"`},
		"as it is, not usable":   {base: "https://api.example/v1", want: `"https://api.example/v1"`},
		"of a preset":            {preset: "increase", want: `"https://api.increase.com"`},
		"none":                   {change: active, want: "null"},
		"of the connection":      {base: templated, change: active, get: made("https://x.example/api"), want: `"https://x.example/api"`},
		"cannot be read":         {base: templated, change: active, want: "null"},
		"none after all":         {base: templated, change: active, get: func() (*credential.Credential, error) { return &credential.Credential{}, nil }, want: "null"},
		"of one that is not yet": {base: templated, get: made("https://x.example/api"), want: "null"},
		"of one that is suspended": {base: templated, change: func(c *v1alpha1.OAuthConnection) {
			active(c)
			c.Spec.Suspend = true
		}, get: made("https://x.example/api"), want: "null"},
		// To look is not worth a refresh.
		"of one whose token has expired": {base: templated, change: func(c *v1alpha1.OAuthConnection) {
			active(c)
			c.Status.AccessTokenExpiresAt = new(metav1.Now())
		}, get: made("https://x.example/api"), want: "null"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.apply(func(a *v1alpha1.OAuthApplication) { a.Spec.APIBaseURL, a.Spec.Provider = test.base, test.preset })
				w.base = test.get
				c := w.hold(janes, jane, func(*v1alpha1.OAuthConnection) {})
				if test.change != nil {
					w.plane.change(c.UID, test.change)
				}
				for _, target := range []string{connection, integrations.PathList} {
					if a := w.request(jane, http.MethodGet, target, ""); !strings.Contains(a.Body.String(), `"apiBaseUri":`+test.want) {
						t.Errorf("%s: %s", target, a.Body)
					}
				}
			})
		})
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	away := errors.New("no route to host")
	anew := apierrors.NewConflict(schema.GroupResource{}, janes, errors.New("another UID"))
	none := apierrors.NewNotFound(schema.GroupResource{}, janes)
	for name, test := range map[string]struct {
		owner  string
		may    string
		leave  time.Duration
		err    error
		status int // 0: code.
		code   problem.Code
		took   time.Duration
	}{
		"the own one":               {owner: jane, leave: 2 * time.Second, status: http.StatusNoContent, took: 2 * time.Second},
		"it does not go":            {owner: jane, leave: -1, status: http.StatusAccepted, took: 30 * time.Second},
		"the shared one, not seen":  {code: problem.Forbidden},
		"the shared one, seen":      {may: "jane get platform/*", code: problem.Forbidden},
		"by who may delete there":   {may: "jane delete platform/* jane get platform/*", code: problem.Forbidden},
		"by who may delete any":     {may: "jane delete / jane get platform/*", leave: time.Second, status: http.StatusNoContent, took: time.Second},
		"the API server is away":    {owner: jane, err: away, code: problem.ClusterUnavailable},
		"it is refused":             {owner: jane, err: apierrors.NewForbidden(schema.GroupResource{}, janes, errors.New("a webhook")), code: problem.Forbidden},
		"it is gone, not seen here": {owner: jane, err: none, leave: time.Second, status: http.StatusNoContent, took: 3 * time.Second},
		"another one has its name":  {owner: jane, err: anew, status: http.StatusNoContent, took: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.may = map[string]bool{}
				words := strings.Fields(test.may)
				for i := 0; i+2 < len(words); i += 3 {
					w.may[strings.Join(words[i:i+3], " ")] = true
				}
				c := w.hold(janes, test.owner, active)
				w.plane.leave = test.leave
				w.plane.refuse = func(string) error { return test.err }
				if test.status == http.StatusNoContent && test.err != nil {
					time.AfterFunc(3*time.Second, func() { w.plane.drop(client.ObjectKeyFromObject(c)) })
				}
				a := w.request(jane, http.MethodDelete, connection, "")
				if test.code != "" {
					w.refused(a, test.code, "")
				} else if a.Code != test.status || a.took != test.took {
					t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
				}
				want := map[int]string{http.StatusNoContent: integrations.OutcomeDone, http.StatusAccepted: integrations.OutcomeAccepted, 0: string(test.code)}
				if told := w.last(); told.Action != integrations.ActionDelete || told.Outcome != want[test.status] || told.Application != crm() {
					t.Errorf("told of %+v", told)
				}
				if a.Code == http.StatusAccepted && a.Header().Get("Location") != connection {
					t.Errorf("it is found at %q", a.Header().Get("Location"))
				}
			})
		})
	}
}

// A process that is to end keeps nobody waiting.
func TestStopping(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.hold(janes, jane, active)
		w.plane.leave = -1
		time.AfterFunc(3*time.Second, func() { close(w.stopping) })
		if a := w.request(jane, http.MethodDelete, connection, ""); a.Code != http.StatusAccepted || a.took != 3*time.Second {
			t.Errorf("after %s: %d %s", a.took, a.Code, a.Body)
		}
	})
}

// hal is a list of HAL as a client reads it.
type hal struct {
	Links struct {
		Self struct{ Href string }
	} `json:"_links"`
	Embedded struct {
		Connections []struct {
			ID    string
			Links struct {
				Self struct{ Href string }
			} `json:"_links"`
			Embedded struct {
				Integration struct{ ID, Name, Type string } `json:"inf:integration"`
			} `json:"_embedded"`
		} `json:"inf:integration-connection"`
	} `json:"_embedded"`
	Start, Count, Total int
}

func TestList(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var ids []string
		for i := range 5 {
			ids = append(ids, string(w.hold(fmt.Sprintf("c%d", i), jane, active).UID))
		}
		w.hold("joes", "joe", active)
		w.hold("crm-shared", "", active)
		for query, want := range map[string][]string{
			"":                     ids,
			"?start=2&count=2":     ids[2:4],
			"?start=4":             ids[4:],
			"?start=9&count=1":     {},
			"?count=100":           ids,
			"?start=0&count=1&x=y": ids[:1],
		} {
			a := w.request(jane, http.MethodGet, integrations.PathList+query, "")
			var read hal
			if err := json.Unmarshal(a.Body.Bytes(), &read); err != nil || a.Code != http.StatusOK {
				t.Fatalf("%s: %d %v", query, a.Code, err)
			}
			got := make([]string, 0, len(want))
			for _, c := range read.Embedded.Connections {
				got = append(got, c.ID)
				// Of several nobody is meant who names none.
				if c.Links.Self.Href != "/oauth_connections/"+c.ID || c.Embedded.Integration.Name != "crm" ||
					c.Embedded.Integration.ID != "application" || c.Embedded.Integration.Type != "oauth2" {
					t.Errorf("%s: %+v", query, c)
				}
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || read.Total != len(ids) || read.Count != len(want) {
				t.Errorf("%s: %v of %d, want %v", query, got, read.Total, want)
			}
			// The page is found where it says.
			if again := w.request(jane, http.MethodGet, read.Links.Self.Href, ""); again.Body.String() != a.Body.String() {
				t.Errorf("%s is not at %s", query, read.Links.Self.Href)
			}
		}
	})
}

// An own connection is found at its integration if that is the one that is meant there.
func TestListTellsWhere(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		other := w.hold("other", jane, func(*v1alpha1.OAuthConnection) {})
		own := w.hold(janes, jane, active)
		a := w.request(jane, http.MethodGet, integrations.PathList, "")
		var read hal
		if err := json.Unmarshal(a.Body.Bytes(), &read); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{string(own.UID): "/api/integrations/application/connection", string(other.UID): "/oauth_connections/" + string(other.UID)}
		for _, c := range read.Embedded.Connections {
			if c.Links.Self.Href != want[c.ID] {
				t.Errorf("%s is at %s, want %s", c.ID, c.Links.Self.Href, want[c.ID])
			}
		}
		if len(read.Embedded.Connections) != len(want) {
			t.Errorf("answered %s", a.Body)
		}
	})
}

// The place that an answer names is that of the connection that it is about.
func TestPlaces(t *testing.T) {
	t.Parallel()
	const shared = "crm-shared"
	for name, test := range map[string]struct {
		method, body, selector string
		own                    bool
		about                  string
		usual                  bool
	}{
		"the own one":                       {http.MethodPost, refresh, "", true, janes, true},
		"the shared one":                    {http.MethodPost, `{"shared":true,"refreshToken":"SECRET"}`, "", false, shared, true},
		"the shared one beside the own":     {http.MethodPost, `{"shared":true,"refreshToken":"SECRET"}`, "", true, shared, false},
		"another one":                       {http.MethodPost, refresh, "platform.other", true, "other", false},
		"the own one, named":                {http.MethodPost, refresh, "platform." + janes, true, janes, true},
		"the own one beside another, to go": {http.MethodDelete, "", "", true, janes, false}, // Neither is active then.
		"the shared one, to go":             {http.MethodDelete, "", "platform." + shared, true, shared, false},
		"the shared one, to go by itself":   {http.MethodDelete, "", "", false, shared, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.may["jane get platform/*"], w.may["jane delete /"] = true, true
				w.hold(shared, "", active)
				if test.own {
					w.hold(janes, jane, active)
					w.hold("other", jane, func(*v1alpha1.OAuthConnection) {})
				}
				w.plane.leave = -1
				w.ends(time.Second, v1alpha1.AuthorizationSucceeded, "", func(c *v1alpha1.OAuthConnection) {
					if c.Name != "other" {
						active(c)
					}
				})
				target := connect
				if test.method == http.MethodDelete {
					target = connection
				}
				a := w.request(jane, test.method, target, test.body, selecting(test.selector)...)
				c := w.plane.connections[types.NamespacedName{Namespace: "platform", Name: test.about}]
				want := "/oauth_connections/" + string(c.UID)
				if test.usual {
					want = connection
				}
				if a.Code/100 != 2 || a.Header().Get("Location") != want || !strings.Contains(a.Body.String(), `"id":"`+string(c.UID)+`"`) {
					t.Errorf("answered %d to %s, want %s: %s", a.Code, a.Header().Get("Location"), want, a.Body)
				}
			})
		})
	}
}

func TestListOfAnApplicationThatIsGone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		c := w.hold(janes, jane, active)
		application := w.directory.ApplicationNamed(types.NamespacedName{Namespace: "platform", Name: "crm"})
		w.directory.ApplicationHandler().OnDelete(application)
		a := w.request(jane, http.MethodGet, integrations.PathList, "")
		if !strings.Contains(a.Body.String(), string(c.UID)) || !strings.Contains(a.Body.String(), `"href":"/api/integrations/platform.crm/connection"`) {
			t.Errorf("answered %d: %s", a.Code, a.Body)
		}
	})
}

func TestPagesThatAreNone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for query, words := range map[string]string{
			"start=-1": "start", "start=x": "start", "count=0": "count", "count=101": "count", "count=1e2": "count", "count=%zz": "query",
		} {
			w.refused(w.request(jane, http.MethodGet, integrations.PathList+"?"+query, ""), problem.InvalidRequest, "", words)
		}
	})
}
