// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Answers of Argo CD's health checks.
const (
	healthy     = "Healthy"
	progressing = "Progressing"
	degraded    = "Degraded"
	suspended   = "Suspended"
)

// TestHealth shows real objects to kstatus, which Flux and `kubectl wait`-like tools use, and to the health checks for
// Argo CD, and compares what they make of them.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	tests := map[string]struct {
		reason string
		make   func(*testing.T, *world) client.Object
		flux   status.Status
		argo   string
	}{
		"connection, ready":                {"its Secret holds a token", healthyConnection, status.CurrentStatus, healthy},
		"connection, waits for a code":     {"the code may come any time", waitingConnection, status.InProgressStatus, progressing},
		"connection, waits for a person":   {"nothing happens by itself", personConnection, status.FailedStatus, suspended},
		"connection, suspended":            {"as somebody wants it", suspendedConnection, status.CurrentStatus, suspended},
		"connection, refused":              {"only a person can go on", refusedConnection, status.FailedStatus, degraded},
		"connection, expired":              {"the provider is away", expiredConnection, status.InProgressStatus, degraded},
		"connection, terminating":          {"the provider does not answer yet", terminatingConnection, status.TerminatingStatus, progressing},
		"application, ready":               {"connections can use it", healthyApplication, status.CurrentStatus, healthy},
		"application, no Secret":           {"its Secret may come any time", incompleteApplication, status.InProgressStatus, progressing},
		"application, wrong":               {"the spec cannot work", invalidApplication, status.FailedStatus, degraded},
		"application, terminating":         {"its connection is not revoked yet", terminatingApplication, status.TerminatingStatus, progressing},
		"connection, nobody has seen it":   {"the operator is not running", unseenConnection, status.InProgressStatus, progressing},
		"application, nobody has seen it":  {"the operator is not running", unseenApplication, status.InProgressStatus, progressing},
		"application, changed unseen":      {"its status speaks of an earlier spec", unseenChange, status.InProgressStatus, progressing},
		"application, client not accepted": {"its grants are kept", refusedApplication, status.FailedStatus, degraded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := test.make(t, w)
			testenv.Eventually(t, patience, func() error {
				shown := asUnstructured(t, object)
				if shown == nil {
					return fmt.Errorf("the object is gone")
				}
				result, err := status.Compute(shown)
				if err != nil {
					return err
				}
				if result.Status != test.flux {
					return fmt.Errorf("%s: kstatus says %s (%s), want %s", test.reason, result.Status, result.Message, test.flux)
				}
				if got, message := argoHealth(t, shown); got != test.argo || message == "" {
					return fmt.Errorf("%s: Argo CD says %s (%s), want %s", test.reason, got, message, test.argo)
				}
				return nil
			})
		})
	}
}

// asUnstructured reads an object as generic tools see it; nil: it is gone.
func asUnstructured(t *testing.T, object client.Object) *unstructured.Unstructured {
	t.Helper()
	kinds, _, err := plane.Scheme.ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	shown := &unstructured.Unstructured{}
	shown.SetGroupVersionKind(schema.GroupVersionKind{Group: kinds[0].Group, Version: kinds[0].Version, Kind: kinds[0].Kind})
	if err := plane.Client().Get(patient(), client.ObjectKeyFromObject(object), shown); err != nil {
		return nil
	}
	return shown
}

// argoHealth runs the health check of a kind as Argo CD does: obj goes in, a table comes out.
func argoHealth(t *testing.T, object *unstructured.Unstructured) (health, message string) {
	t.Helper()
	file := map[string]string{"OAuthConnection": "oauthconnection-health.lua", "OAuthApplication": "oauthapplication-health.lua"}
	script, err := os.ReadFile(filepath.Join(plane.Root, "docs", "argocd", file[object.GetKind()]))
	if err != nil {
		t.Fatal(err)
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString} {
		l.Push(l.NewFunction(open))
		l.Call(0, 0)
	}
	l.SetGlobal("obj", luaValue(l, object.Object))
	if err := l.DoString(string(script)); err != nil {
		t.Fatal(err)
	}
	answer, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script of %s returns %s", object.GetKind(), l.Get(-1).Type())
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))
}

// luaValue turns JSON values into Lua's.
func luaValue(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, luaValue(l, item))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, item := range v {
			table.Append(luaValue(l, item))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}

func healthyConnection(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	return w.connected(t, server, server.URL).get(t)
}

func waitingConnection(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	return w.subject(t, server, server.URL).get(t)
}

func personConnection(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	return w.subject(t, server, server.URL, byHand).get(t)
}

func suspendedConnection(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	s.update(t, func(c *v1alpha1.OAuthConnection) { c.Spec.Suspend = true })
	return s.get(t)
}

func refusedConnection(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	s := w.subject(t, server, server.URL)
	create(t, secret(w.namespace, s.name+"-code", map[string]string{"code": "wrong", "code_verifier": "wrong"}))
	return s.get(t)
}

func expiredConnection(t *testing.T, w *world) client.Object {
	server := w.hostile(t, harness.Options{})
	server.Always(record.Filter{Endpoint: record.Token}, hostile.ExpiresIn(2))
	server.Always(refreshing(), hostile.Status(503, "", nil))
	return w.connected(t, server, server.URL).get(t)
}

func terminatingConnection(t *testing.T, w *world) client.Object {
	server := w.hostile(t, harness.Options{})
	server.Always(revoking(), hostile.Status(503, "", nil))
	s := w.connected(t, server, server.URL)
	remove(t, s.get(t))
	t.Cleanup(server.ClearScript)
	return s.get(t)
}

func healthyApplication(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	return w.connected(t, server, server.URL).application(t)
}

func incompleteApplication(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	app, _ := application(w.namespace, w.name(), server.URL)
	create(t, app)
	return app
}

func invalidApplication(t *testing.T, w *world) client.Object {
	server := w.fosite(t, harness.Options{})
	app, clientSecret := application(w.namespace, w.name(), server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.IssuerURL = "http://169.254.169.254"
	})
	create(t, app, clientSecret)
	return app
}

func terminatingApplication(t *testing.T, w *world) client.Object {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	app := s.application(t)
	remove(t, app.DeepCopy())
	return app
}

func unseenConnection(t *testing.T, _ *world) client.Object {
	c := connection(plane.Namespace(t), "unseen", "unseen")
	create(t, c)
	return c
}

func unseenApplication(t *testing.T, _ *world) client.Object {
	app, _ := application(plane.Namespace(t), "unseen", "https://login.example.com")
	create(t, app)
	return app
}

func unseenChange(t *testing.T, _ *world) client.Object {
	w := newWorld(t, 0)
	server := w.fosite(t, harness.Options{})
	app := w.connected(t, server, server.URL).application(t)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	update(t, app, func(a *v1alpha1.OAuthApplication) { a.Spec.DisplayName = "changed" })
	return app
}

func refusedApplication(t *testing.T, w *world) client.Object {
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	server.Always(refreshing(), hostile.OAuthError(401, "invalid_client"))
	s.requestRefresh(t)
	return s.application(t)
}
