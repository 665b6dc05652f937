// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// codes is a Secret with codes under two keys, and what a callback may carry.
func codes(pod string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "codes", UID: "s", ResourceVersion: "7"},
		Data:       map[string][]byte{"code": []byte("first"), "again": []byte("second"), "pod": []byte(pod)},
	}
}

// reading is a scope of a connection that takes its code from a key of that Secret.
func reading(key string, record *lifecycle.Record) *scope {
	s := perTenant(record)
	s.connection = fromOthers("crm")
	s.connection.Spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantAuthorizationCode, AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{
		CodeSecretRef: &v1alpha1.SecretKeyReference{Name: "codes", Key: key},
	}}
	s.name.Namespace, s.name.Name = "team", "crm"
	if record != nil {
		s.entry = &grant.Entry{Record: record}
	}
	return s
}

// TestAnotherKeyIsAnotherCode : although the Secret is the same, in the same version.
func TestAnotherKeyIsAnotherCode(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(codes("")).Build()
	r := New(Options{Client: api, Live: api, Metadata: api})
	first, err := r.gatherInput(t.Context(), reading("", nil))
	if err != nil || first.Hash != sensitive.New("first").Hash() {
		t.Fatalf("%+v, %v", first, err)
	}
	spent := func(version string) *lifecycle.Record {
		return &lifecycle.Record{SpentInput: first.Hash, InputVersion: version}
	}
	former, _, _ := strings.Cut(first.Version, "#")
	for _, row := range []struct {
		key, version, want string
		known              bool
	}{
		{"", first.Version, "first", true},
		{"", former, "first", true},
		{"", "s/6", "first", false},
		{"again", first.Version, "second", false},
		{"again", former, "second", false},
	} {
		s := reading(row.key, spent(row.version))
		input, err := r.gatherInput(t.Context(), s)
		if err != nil || input.Hash != sensitive.New(row.want).Hash() || (input.Version == row.version) != row.known || s.input.value.IsEmpty() != row.known {
			t.Errorf("key %q, recorded %q: %+v, %v", row.key, row.version, input, err)
		}
	}
}

// TestABadCallbackStopsNoGrant : it came with a new code, which cannot be used; the old grant goes on.
func TestABadCallbackStopsNoGrant(t *testing.T) {
	api := fake.NewClientBuilder().WithObjects(codes("not a pod")).Build()
	r := New(Options{Client: api, Live: api, Metadata: api})
	for _, held := range []bool{false, true} {
		record := &lifecycle.Record{}
		if held {
			record.AccessToken, record.RefreshToken = sensitive.New("access"), sensitive.New("refresh")
		}
		s := reading("", record)
		s.profile.Spec.Callback = &v1alpha1.CallbackSpec{Capture: []v1alpha1.CallbackCapture{
			{Name: "place", Parameter: "pod", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}},
		}}
		var err error
		if s.facts.Input, err = r.gatherInput(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if held != (s.facts.Blocked == nil) {
			t.Errorf("held %v: blocked %+v", held, s.facts.Blocked)
		}
		ready := lifecycle.Describe(s.facts, lifecycle.Publication{Current: true, Before: true}, time.Time{}).Ready
		if held != (ready.Status == lifecycle.True) || !strings.Contains(ready.Message, `Secret "codes"`) {
			t.Errorf("held %v: Ready %+v", held, ready)
		}
		if d := lifecycle.Decide(s.facts, time.Time{}); d.Action == lifecycle.Exchange {
			t.Errorf("held %v: %+v", held, d)
		}
	}
}
