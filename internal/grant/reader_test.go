// SPDX-License-Identifier: Apache-2.0

package grant_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// hidden marks what an Access must not have.
const hidden = "h1dden-canary"

// rich is a record with a secret wherever there can be one.
func rich() *lifecycle.Record {
	r := record("access-1", hidden+"-refresh")
	r.Subject, r.Captured, r.Inputs = "acct", map[string]string{"instance": "eu5"}, map[string]string{"tenant": "acme"}
	r.IDToken, r.Previous = sensitive.New(hidden+"-id"), sensitive.New(hidden+"-previous")
	r.Replaced = []sensitive.String{sensitive.New(hidden + "-replaced")}
	r.Candidate = &lifecycle.Candidate{Call: "c", Tokens: lifecycle.Tokens{
		AccessToken: sensitive.New(hidden + "-candidate"), RefreshToken: sensitive.New(hidden + "-candidate-refresh"),
	}}
	r.Device = &lifecycle.Device{Code: sensitive.New(hidden + "-device")}
	return r
}

func TestReadAccess(t *testing.T) {
	w := newWorld(t)
	if _, err := w.store("p").Write(t.Context(), nil, rich()); err != nil {
		t.Fatal(err)
	}
	got, err := grant.ReadAccess(t.Context(), w.server, namespace, "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	want := &grant.Access{
		Connection:  lifecycle.Identity{Namespace: "team", Name: "crm", UID: "uid-1"},
		Application: lifecycle.Identity{Namespace: "platform", Name: "crm", UID: "app-1"},
		Token:       sensitive.New("access-1"), Hash: sensitive.New("access-1").Hash(), TokenType: "Bearer", IssuedAt: start(),
		Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: start().Add(time.Hour)}, Renewable: true,
		GrantType: lifecycle.AuthorizationCode, Subject: "acct",
		Captured: map[string]string{"instance": "eu5"}, Inputs: map[string]string{"tenant": "acme"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sensitive.String.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	encoded, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(texts(reflect.ValueOf(got)), "\n"); strings.Contains(all, hidden) || !strings.Contains(all, "access-1") {
		t.Errorf("more or less than the access token is in memory: %s", all)
	}
	if printed := fmt.Sprintf("%+v %#v %s", got, got, encoded); strings.Contains(printed, hidden) || strings.Contains(printed, "access-1") {
		t.Errorf("it is printed as %s", printed)
	}
}

// texts are all strings that can be reached from a value, what nothing prints among them.
func texts(v reflect.Value) []string {
	var all []string
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return texts(v.Elem())
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			all = append(all, texts(field)...)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			all = append(all, texts(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(append(all, texts(key)...), texts(v.MapIndex(key))...)
		}
	default:
	}
	return all
}

func TestReadAccessWithoutRefreshToken(t *testing.T) {
	w := newWorld(t)
	if _, err := w.store("p").Write(t.Context(), nil, record("access-1", "")); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"as it is written": "",
		"empty":            `{"format":1,"connection":{"UID":"uid-1"},"refreshToken":""}`,
		"null":             `{"format":1,"connection":{"UID":"uid-1"},"refreshToken":null}`,
	} {
		change(t, w, content)
		got, err := grant.ReadAccess(t.Context(), w.server, namespace, "uid-1")
		if err != nil || got.Renewable {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// change puts other content into the record; an empty one leaves it.
func change(t *testing.T, w *world, content string) {
	t.Helper()
	if content == "" {
		return
	}
	secret := &corev1.Secret{}
	if err := w.server.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: grant.SecretName("uid-1")}, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["grant.json"] = []byte(content)
	if err := w.server.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestReadAccessRefuses(t *testing.T) {
	for name, row := range map[string]struct{ content, want string }{
		"garbage":            {`{"accessToken":"` + hidden + `","format":"x"}`, "cannot be read"},
		"another format":     {`{"format":2,"accessToken":"` + hidden + `"}`, "format 2"},
		"another connection": {`{"format":1,"connection":{"UID":"other"},"accessToken":"` + hidden + `"}`, "another connection"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.store("p").Write(t.Context(), nil, record("access-1", "")); err != nil {
				t.Fatal(err)
			}
			change(t, w, row.content)
			got, err := grant.ReadAccess(t.Context(), w.server, namespace, "uid-1")
			if got != nil || err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), hidden) {
				t.Errorf("%+v, %v; want an error with %q", got, err, row.want)
			}
		})
	}
	t.Run("a foreign Secret", func(t *testing.T) {
		w := newWorld(t)
		foreign := &corev1.Secret{Data: map[string][]byte{"grant.json": []byte(`{"format":1,"connection":{"UID":"uid-1"}}`)}}
		foreign.Namespace, foreign.Name = namespace, grant.SecretName("uid-1")
		if err := w.server.Create(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
		if got, err := grant.ReadAccess(t.Context(), w.server, namespace, "uid-1"); got != nil || err == nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("none", func(t *testing.T) {
		if got, err := grant.ReadAccess(t.Context(), newWorld(t).server, namespace, "uid-1"); got != nil || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		away := errors.New("away")
		server := interceptor.NewClient(builder().Build(), interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return away
			},
		})
		if got, err := grant.ReadAccess(t.Context(), server, namespace, "uid-1"); got != nil || !errors.Is(err, away) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
