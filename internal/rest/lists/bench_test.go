// SPDX-License-Identifier: Apache-2.0

package lists_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/caller"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

const (
	// many connections, in tenants' namespaces or their applications' own.
	many = 50_000
	// tenants have as many namespaces, each with the same number of connections.
	tenants = 500
	// fleet is how many applications there are.
	fleet = 200
	// rare : one connection in so many is active in the worlds of inactive ones.
	rare = 5_000
)

// crowd makes the n-th of many connections as the API server would send it, with all that kubectl and the controller leave in an
// object.
func crowd(b *testing.B, n int, change func(n int, c *v1alpha1.OAuthConnection)) *v1alpha1.OAuthConnection {
	b.Helper()
	namespace, app := fmt.Sprintf("team-%03d", n%tenants), fmt.Sprintf("crm-%03d", n%fleet)
	sent := &v1alpha1.OAuthConnection{TypeMeta: metav1.TypeMeta{APIVersion: "oauth-operator.io/v1alpha1", Kind: "OAuthConnection"}}
	sent.Namespace, sent.Name = namespace, fmt.Sprintf("customer-%05d", n)
	sent.UID = types.UID(fmt.Sprintf("%08x-7d5c-4c4b-9d2c-%012x", uint32(n)*2654435761, n)) //nolint:gosec // n is small
	made := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, (n*7919)%many, 0, time.UTC))
	sent.CreationTimestamp, sent.ResourceVersion, sent.Generation = made, fmt.Sprint(100_000+n), 2
	sent.Finalizers = []string{v1alpha1.FinalizerConnection}
	sent.Labels = map[string]string{
		"app.kubernetes.io/name": "billing", "app.kubernetes.io/managed-by": "argocd", "argocd.argoproj.io/instance": namespace,
	}
	sent.Spec = v1alpha1.OAuthConnectionSpec{
		ApplicationRef: v1alpha1.ApplicationReference{Namespace: "platform", Name: app}, DisplayName: fmt.Sprint("Customer no. ", n),
		Scopes: []v1alpha1.Scope{"api:read", "offline_access"}, Inputs: map[string]v1alpha1.InputValue{"shop": "customer"},
		Grant: v1alpha1.GrantSpec{Type: "AuthorizationCode"}, DeletionPolicy: v1alpha1.DeletionRevoke,
		Secret: &v1alpha1.TokenSecretSpec{Name: fmt.Sprintf("token-%05d", n), Template: &v1alpha1.SecretTemplate{
			Data: map[string]v1alpha1.TemplateText{"config.ini": "[crm]\ntoken = {{ .AccessToken }}\nexpires = {{ .ExpiresAt }}\n"},
		}},
	}
	sent.Status = v1alpha1.OAuthConnectionStatus{
		Phase: v1alpha1.ConnectionActive, ID: fmt.Sprintf("connection_%020d", n), Subject: fmt.Sprintf("group_%020d", n),
		Scopes: []string{"api:read", "offline_access"}, TokenType: "Bearer", SecretName: sent.Spec.Secret.Name, ObservedGeneration: 2,
		CreatedAt: &made, UpdatedAt: &made, LastAuthorizedAt: &made, LastRefreshedAt: &made, NextRefreshAt: &made,
		AccessTokenExpiresAt: &made,
		LastAuthorization: &v1alpha1.LastAuthorization{
			ID: fmt.Sprintf("%032x", n), Outcome: v1alpha1.AuthorizationSucceeded, Reason: "Authorized", Time: made,
		},
	}
	for _, kind := range []string{"Ready", "Authorized", "ScopesGranted", "Reconciling", "Stalled"} {
		sent.Status.Conditions = append(sent.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, ObservedGeneration: 2, LastTransitionTime: made, Reason: "TokenReady",
			Message: "the Secret holds a token that works by all that is known",
		})
	}
	if change != nil {
		change(n, sent)
	}
	return received(b, sent)
}

// received is an object as an informer decodes it.
func received(b *testing.B, sent *v1alpha1.OAuthConnection) *v1alpha1.OAuthConnection {
	b.Helper()
	spec, err := json.Marshal(sent.Spec)
	if err != nil {
		b.Fatal(err)
	}
	sent.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(spec)}
	for _, manager := range []string{"argocd-controller", "oauth-operator"} {
		sent.ManagedFields = append(sent.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(`{"f:spec":{` + strings.Repeat(`"f:member":{},`, 40) + `"f:last":{}}}`),
		})
	}
	content, err := json.Marshal(sent)
	if err != nil {
		b.Fatal(err)
	}
	decoded := &v1alpha1.OAuthConnection{}
	if err := json.Unmarshal(content, decoded); err != nil {
		b.Fatal(err)
	}
	return decoded
}

// crowded is a world of many connections, in the order in which an API server lists them: by namespace, not by age.
func crowded(b *testing.B, permissions caller.Permissions, change func(n int, c *v1alpha1.OAuthConnection)) *world {
	b.Helper()
	w := newWorld(b, permissions)
	for n := range fleet {
		w.apply(types.UID(fmt.Sprint("application-", n)), n, "platform", fmt.Sprintf("crm-%03d", n))
	}
	handler := w.directory.ConnectionHandler()
	for n := range many {
		n = (n%(many/tenants))*tenants + n/(many/tenants)
		stripped, err := directory.Strip(crowd(b, n, change))
		if err != nil {
			b.Fatal(err)
		}
		handler.OnAdd(stripped, true)
	}
	return w
}

func mostlyInactive(n int, c *v1alpha1.OAuthConnection) {
	if n%rare != 0 {
		c.Status.Phase = v1alpha1.ConnectionInactive
	}
}

// question is a page that is asked for.
type question struct {
	name, who, target string
	// want is how many connections are in the answer.
	want int
}

// BenchmarkPage asks for pages of 100 out of 50,000 connections, through the handler and with the rules of who sees what.
func BenchmarkPage(b *testing.B) {
	b.Run("Active", func(b *testing.B) {
		w := crowded(b, benchRoles(), nil)
		last := ""
		for next := new(""); next != nil; {
			if _, next = w.list(b, "admin", connectionsPath+last); next != nil {
				last = "?cursor=" + *next
			}
		}
		ask(b, w, []question{
			{"FirstPage", "admin", connectionsPath, 100},
			{"LastPage", "admin", connectionsPath + last, 100},
			{"OneApplicationOfMany", "admin", connectionsPath + "?oauth_application_id=platform.crm-007", 100},
			{"OneNamespaceOfMany", "tina", connectionsPath, 100},
			{"NothingVisible", "nobody", connectionsPath, 0},
		})
	})
	b.Run("Inactive", func(b *testing.B) {
		w := crowded(b, benchRoles(), mostlyInactive)
		few := []question{
			{"FewActive", "admin", connectionsPath, many / rare},
			{"FewActiveOneNamespace", "tina", connectionsPath, 0},
		}
		ask(b, w, few)
		b.Run("WhileConnectionsChange", func(b *testing.B) {
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				churn(w.directory, stop)
			}()
			defer func() {
				close(stop)
				<-stopped
			}()
			ask(b, w, few[:1])
		})
	})
	b.Run("OneApplication", func(b *testing.B) {
		w := crowded(b, benchRoles(), func(n int, c *v1alpha1.OAuthConnection) {
			mostlyInactive(n, c)
			c.Spec.ApplicationRef.Name = "crm-000"
		})
		ask(b, w, []question{{"FewActive", "admin", connectionsPath + "?oauth_application_id=platform.crm-000", many / rare}})
	})
	b.Run("Personal", func(b *testing.B) {
		w := crowded(b, benchRoles(), func(n int, c *v1alpha1.OAuthConnection) {
			c.Namespace, c.Spec.Owner = "platform", fmt.Sprintf("user-%05d", n)
		})
		ask(b, w, []question{{"OwnOnly", "user-00042", connectionsPath, 1}})
	})
}

// benchRoles let admin list everywhere and tina in one namespace of many.
func benchRoles() roles {
	return grant("admin list oauthconnections", "tina list oauthconnections team-007")
}

func ask(b *testing.B, w *world, all []question) {
	b.Helper()
	for _, q := range all {
		b.Run(q.name, func(b *testing.B) {
			page, _ := w.list(b, q.who, q.target)
			if got := len(strings.Fields(page)); got != q.want {
				b.Fatalf("%d connections, want %d", got, q.want)
			}
			measure(b, w, q.who, q.target)
		})
	}
}

// churn changes a thousand connections a second, one after another.
func churn(d *directory.Directory, stop <-chan struct{}) {
	all, _, _ := d.Connections(directory.Query{Application: types.NamespacedName{Namespace: "platform", Name: "crm-001"}, Limit: many})
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			c := all[rand.IntN(len(all))]
			d.ConnectionHandler().OnUpdate(c, c.DeepCopy())
		}
	}
}

// measure reports how long answers take.
func measure(b *testing.B, w *world, who, target string) {
	b.Helper()
	ctx := caller.With(b.Context(), caller.Caller{Info: &user.DefaultInfo{Name: who}})
	took := make([]time.Duration, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		answer := httptest.NewRecorder()
		began := time.Now()
		w.server.ServeHTTP(answer, request)
		took = append(took, time.Since(began))
		if answer.Code != http.StatusOK {
			b.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	slices.Sort(took)
	for name, share := range map[string]int{"p50-ms": 50, "p99-ms": 99} {
		b.ReportMetric(took[(len(took)-1)*share/100].Seconds()*1000, name)
	}
}

// BenchmarkMemory reports what 50,000 connections take: as they come, stripped, and what the directory adds.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		begin := heap()
		whole := make([]*v1alpha1.OAuthConnection, many)
		for n := range whole {
			whole[n] = crowd(b, n, nil)
		}
		received := heap() - begin
		for _, c := range whole {
			if _, err := directory.Strip(c); err != nil {
				b.Fatal(err)
			}
		}
		stripped := heap() - begin
		d := directory.New()
		for _, c := range whole {
			d.ConnectionHandler().OnAdd(c, true)
		}
		indexed := heap() - begin - stripped
		runtime.KeepAlive(whole)
		runtime.KeepAlive(d)
		b.ReportMetric(received/(1<<20), "whole-MiB")
		b.ReportMetric(stripped/(1<<20), "stripped-MiB")
		b.ReportMetric(indexed/(1<<20), "directory-MiB")
	}
}

// heap is what is in use, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// BenchmarkEvent is what one change of a connection costs, with somebody looking at a page after each.
func BenchmarkEvent(b *testing.B) {
	w := crowded(b, grant(), nil)
	all, _, _ := w.directory.Connections(directory.Query{Application: types.NamespacedName{Namespace: "platform", Name: "crm-001"}, Limit: many})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c := all[n%len(all)]
		w.directory.ConnectionHandler().OnUpdate(c, c)
		w.directory.Connections(directory.Query{Limit: 1})
	}
}
