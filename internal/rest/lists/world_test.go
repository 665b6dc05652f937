// SPDX-License-Identifier: Apache-2.0

package lists_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/rest/access"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/lists"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/represent"
)

// roles are what users may.
type roles map[role]bool

// role is a right of a user; without a namespace in all.
type role struct{ user, verb, resource, namespace string }

// grant makes roles of "user verb resource namespace".
func grant(rights ...string) roles {
	made := roles{}
	for _, right := range rights {
		words := append(strings.Fields(right), "")
		made[role{words[0], words[1], words[2], words[3]}] = true
	}
	return made
}

func (r roles) May(_ context.Context, c caller.Caller, a caller.Attributes) (bool, error) {
	right := role{c.GetName(), a.Verb, a.Resource, a.Namespace}
	if r[right] {
		return true, nil
	}
	right.namespace = ""
	return r[right], nil
}

// away is an API server that does not answer.
type away struct{}

func (away) May(context.Context, caller.Caller, caller.Attributes) (bool, error) {
	return false, problem.New(problem.ClusterUnavailable, "away")
}

// world is the handlers with a directory, under the paths that they are made for.
type world struct {
	directory *directory.Directory
	server    *http.ServeMux
}

func newWorld(t testing.TB, permissions caller.Permissions) *world {
	t.Helper()
	catalogue, err := provider.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{directory: directory.New(), server: http.NewServeMux()}
	who, err := access.New(access.Options{Directory: w.directory, Permissions: permissions})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := lists.New(lists.Options{Directory: w.directory, Access: who, Representer: represent.New(catalogue)})
	if err != nil {
		t.Fatal(err)
	}
	for pattern, serve := range map[string]problem.HandlerFunc{
		"GET /oauth_connections": handler.Connections, "GET /oauth_connections/{id}": handler.Connection,
		"GET /api/v1/oauth/connections": handler.AllConnections,
		"GET /oauth_applications":       handler.Applications, "GET /oauth_applications/{id}": handler.Application,
	} {
		w.server.Handle(pattern, problem.Handler(serve, nil))
	}
	return w
}

// as sends a GET request as a user.
func (w *world) as(t testing.TB, name, target string) *httptest.ResponseRecorder {
	t.Helper()
	ctx := caller.With(t.Context(), caller.Caller{Info: &user.DefaultInfo{Name: name}})
	answer := httptest.NewRecorder()
	w.server.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil))
	return answer
}

// listed is a list as a client reads it.
type listed struct {
	Data []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// list reads one page and returns its ids.
func (w *world) list(t testing.TB, name, target string) (ids string, next *string) {
	t.Helper()
	answer := w.as(t, name, target)
	if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s", target, answer.Code, answer.Body)
	}
	var read listed
	if err := json.Unmarshal(answer.Body.Bytes(), &read); err != nil || read.Data == nil {
		t.Fatalf("%s: %v in %s", target, err, answer.Body)
	}
	var all []string
	for _, one := range read.Data {
		all = append(all, one.ID)
	}
	return strings.Join(all, " "), read.NextCursor
}

// connect adds a connection of application platform/crm.
func (w *world) connect(
	uid types.UID, second int, namespace, owner string, phase v1alpha1.ConnectionPhase,
) *v1alpha1.OAuthConnection {
	c := &v1alpha1.OAuthConnection{}
	c.Namespace, c.Name, c.UID = namespace, "name-"+string(uid), uid
	c.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC))
	c.Spec.ApplicationRef = v1alpha1.ApplicationReference{Namespace: "platform", Name: "crm"}
	c.Spec.Owner, c.Status.Phase = owner, phase
	w.directory.ConnectionHandler().OnAdd(c, false)
	return c
}

func (w *world) apply(uid types.UID, second int, namespace, name string) *v1alpha1.OAuthApplication {
	a := &v1alpha1.OAuthApplication{}
	a.Namespace, a.Name, a.UID = namespace, name, uid
	a.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC))
	w.directory.ApplicationHandler().OnAdd(a, false)
	return a
}
