// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// fromOthers is a connection whose token is made from those of others; without any, a person authorizes.
func fromOthers(name string, sources ...string) *v1alpha1.OAuthConnection {
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(name)}}
	if len(sources) == 0 {
		return c
	}
	c.Spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantExtension, Extension: &v1alpha1.ExtensionGrant{GrantType: "urn:example:other"}}
	for _, source := range sources {
		c.Spec.Grant.Extension.Parameters = append(c.Spec.Grant.Extension.Parameters, v1alpha1.ExtensionParameter{
			Name: "from_" + source, ConnectionRef: &v1alpha1.ConnectionReference{Name: source},
		})
	}
	return c
}

// TestTokensAreNotMadeInACircle : each of two connections that have tokens would make the other one's obsolete for ever.
func TestTokensAreNotMadeInACircle(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		fromOthers("itself", "itself"), fromOthers("a", "b"), fromOthers("b", "c", "gone"), fromOthers("c", "a"),
		fromOthers("person"), fromOthers("first", "person"), fromOthers("second", "first", "person"), fromOthers("beside", "a"),
	).Build()
	secrets := fake.NewClientBuilder().Build()
	grants := grant.New(grant.Options{Cached: secrets, Live: secrets, Writer: secrets, Namespace: "operator", Clock: clocktesting.NewFakeClock(now)})
	for _, name := range []string{"itself", "a", "b", "c", "person", "first"} {
		_, err := grants.Write(t.Context(), nil, &lifecycle.Record{
			Connection: lifecycle.Identity{Namespace: "team", Name: name, UID: name},
			Tokens:     lifecycle.Tokens{AccessToken: sensitive.New("token-of-" + name)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := New(Options{Client: api, Grants: grants})
	for _, row := range []struct {
		name, source string
		circular     bool
	}{
		{"itself", "itself", true},
		{"a", "b", true},
		{"b", "c", true},
		{"c", "a", true},
		{"first", "person", false},
		{"second", "first", false},
		{"beside", "a", false},
	} {
		s := &scope{name: types.NamespacedName{Namespace: "team", Name: row.name}, now: now}
		token, missing, err := r.tokenOf(t.Context(), s, row.source)
		switch {
		case err != nil:
			t.Errorf("%s from %s: %v", row.name, row.source, err)
		case row.circular && (missing == nil || missing.reason != v1alpha1.ReasonSourceNotReady || !strings.Contains(missing.message, "made from")):
			t.Errorf("%s from %s: token %v, missing %+v", row.name, row.source, token, missing)
		case !row.circular && (missing != nil || token.IsEmpty()):
			t.Errorf("%s from %s: missing %+v", row.name, row.source, missing)
		}
	}
}
