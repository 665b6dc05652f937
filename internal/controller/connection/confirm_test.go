// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// asking is a connection in one version: what a person has written into it.
func asking(uid types.UID, generation int64, request string) *v1alpha1.OAuthConnection {
	return &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: "crm", UID: uid, Generation: generation,
		Annotations: map[string]string{v1alpha1.AnnotationRefreshRequestedAt: request},
	}}
}

func TestConfirm(t *testing.T) {
	cached, next := asking("uid-1", 1, "two"), asking("uid-1", 1, "three")
	for _, row := range []struct {
		name     string
		action   lifecycle.Action
		answered string
		// live is nil where the connection is gone.
		live   *v1alpha1.OAuthConnection
		behind bool
		reason string
	}{
		{"refresh on request", lifecycle.Refresh, "one", cached, false, "the request is still the newest"},
		{"refresh on a former request", lifecycle.Refresh, "three", next, true, "it was answered before the one that the record names"},
		{"issue on a former request", lifecycle.Issue, "three", next, true, "the same"},
		{"nothing to refresh on a former request", lifecycle.Remember, "three", next, true, "the record would go back"},
		{"refresh that is due", lifecycle.Refresh, "two", next, false, "it does not follow from the connection: no read"},
		{"refresh of a connection that is gone", lifecycle.Refresh, "one", nil, true, "nobody asks any more"},
		{"code", lifecycle.Exchange, "two", cached, false, "the spec is still the newest"},
		{"code of a former spec", lifecycle.Exchange, "two", asking("uid-1", 2, "two"), true, "it may have been sent"},
		{"code of a former connection", lifecycle.Exchange, "two", asking("uid-2", 1, "two"), true, "another one has the name"},
		{"import of a former spec", lifecycle.Import, "two", asking("uid-1", 2, "two"), true, "it may have been sent"},
		{"revocation", lifecycle.Revoke, "one", nil, false, "twice is harmless, and a record may have no connection"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := New(Options{Live: liveWith(t, row.live)}).confirm(t.Context(), scopeOf(cached, row.answered), row.action)
			if behind := errors.Is(err, errBehind); behind != row.behind || (err != nil && !behind) {
				t.Errorf("confirm = %v, want behind %v: %s", err, row.behind, row.reason)
			}
			if row.behind && !stale(err) {
				t.Error("a view that is behind does not count as stale")
			}
		})
	}
}

func TestConfirmReturnedInput(t *testing.T) {
	cached, next := asking("uid-1", 1, "two"), asking("uid-1", 2, "two")
	for _, row := range []struct {
		name, input string
		live        *v1alpha1.OAuthConnection
		behind      bool
		reason      string
	}{
		{"the last code in another version of its Secret", "second", nil, false, "it does not follow from the connection: no read"},
		{"a former code that was put back", "first", cached, false, "the spec is still the newest"},
		{"a former code of a former spec", "first", next, true, "whoever sees the newest spec would take the note back, again and again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := scopeOf(cached, "two")
			s.facts.Record.SpentInput, s.facts.Record.SpentBefore = "second", []string{"first"}
			s.facts.Input = lifecycle.Input{State: lifecycle.InputPresent, Hash: row.input}
			err := New(Options{Live: liveWith(t, row.live)}).confirm(t.Context(), s, lifecycle.Remember)
			if behind := errors.Is(err, errBehind); behind != row.behind || (err != nil && !behind) {
				t.Errorf("confirm = %v, want behind %v: %s", err, row.behind, row.reason)
			}
		})
	}
}

func liveWith(t *testing.T, connection *v1alpha1.OAuthConnection) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if connection != nil {
		builder = builder.WithObjects(connection.DeepCopy())
	}
	return builder.Build()
}

// scopeOf is what a pass has gathered from a cached connection and a record with the request that was answered last.
func scopeOf(connection *v1alpha1.OAuthConnection, answered string) *scope {
	s := &scope{name: client.ObjectKeyFromObject(connection), connection: connection}
	s.facts.RefreshRequest = connection.Annotations[v1alpha1.AnnotationRefreshRequestedAt]
	s.take(&grant.Entry{Record: &lifecycle.Record{RefreshRequest: answered}})
	return s
}
