// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// refusedLogin is the message of a login that the person refused.
func refusedLogin(t *testing.T, login string) *message {
	t.Helper()
	m := pending.Message{
		Connection: types.NamespacedName{Namespace: "team", Name: "crm"}, ConnectionUID: "uid-1", ApplicationUID: "app-1",
		KeepUntil: time.Now().Add(time.Hour), Response: &pending.Response{Login: login, Generation: 1, Reason: v1alpha1.ReasonAccessDenied},
	}
	secret, err := pending.Encode("operator", pending.Name(m.Kind(), login), m)
	if err != nil {
		t.Fatal(err)
	}
	secret.UID = types.UID(login)
	return &message{secret: secret, Message: m}
}

// scopeWith is what a pass has gathered when the record names the last login that ended.
func scopeWith(last string, messages ...*message) *scope {
	s := &scope{
		name:       types.NamespacedName{Namespace: "team", Name: "crm"},
		connection: &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "crm", UID: "uid-1", Generation: 1}},
	}
	s.connection.Status.LastAuthorization = &v1alpha1.LastAuthorization{ID: last}
	s.facts.Person = &lifecycle.Person{Link: true}
	s.take(&grant.Entry{Record: &lifecycle.Record{Authorization: &lifecycle.Authorization{ID: last}}})
	for _, m := range messages {
		s.messages = append(s.messages, m)
		if login, is := m.login(); is {
			s.considerLogin(m, login)
		}
	}
	return s
}

func stored(t *testing.T, messages ...*message) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, m := range messages {
		builder.WithObjects(m.secret)
	}
	all := builder.Build()
	for _, m := range messages { // With the versions that they have there.
		if err := all.Get(t.Context(), client.ObjectKeyFromObject(m.secret), m.secret); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// A process may die, or a write fail, after a login was ended and before its message was emptied. The message goes although
// the pass that sees it ends the next login: it would end the first one again else, as the last.
func TestEndedLoginsAreSettledBesideTheNext(t *testing.T) {
	first, second := refusedLogin(t, "login-1"), refusedLogin(t, "login-2")
	all := stored(t, first, second)
	s := scopeWith("login-1", first, second)
	if s.facts.Answer == nil || s.facts.Answer.Login != "login-2" {
		t.Fatalf("the next login is %+v", s.facts.Answer)
	}
	s.take(&grant.Entry{Record: lifecycle.Concluded(s.facts.Record, *s.facts.Answer, s.facts.Input, time.Now())})
	if err := New(Options{Client: all}).settleMessages(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*message{first, second} {
		now := &corev1.Secret{}
		if err := all.Get(t.Context(), client.ObjectKeyFromObject(m.secret), now); err != nil || !pending.Emptied(now) {
			t.Errorf("the message of %s is not emptied: %v", m.Response.Login, err)
		}
	}
}

// A cache may show the message of a login that ended before the last one.
func TestConfirmLogin(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*corev1.Secret) *corev1.Secret
		behind bool
	}{
		{"as the cache has it", func(s *corev1.Secret) *corev1.Secret { return s }, false},
		{"emptied", func(s *corev1.Secret) *corev1.Secret { s.Data = nil; return s }, true},
		{"gone", func(*corev1.Secret) *corev1.Secret { return nil }, true},
		{"another one of its name", func(s *corev1.Secret) *corev1.Secret { s.UID = "other"; return s }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := refusedLogin(t, "login-1")
			var there []*message
			if live := row.change(m.secret.DeepCopy()); live != nil {
				there = append(there, &message{secret: live})
			}
			err := New(Options{Live: stored(t, there...)}).confirmLogin(t.Context(), scopeWith("login-2", m), "login-1")
			if errors.Is(err, errBehind) != row.behind || (err != nil && !row.behind) {
				t.Errorf("confirmLogin = %v, want behind %t", err, row.behind)
			}
		})
	}
}
