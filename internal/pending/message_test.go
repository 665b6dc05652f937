// SPDX-License-Identifier: Apache-2.0

package pending_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func at(minutes int) time.Time { return time.Date(2026, time.March, 1, 12, minutes, 0, 0, time.UTC) }

func response() pending.Message {
	return pending.Message{
		Connection: types.NamespacedName{Namespace: "billing", Name: "crm"}, ConnectionUID: "connection",
		Application: types.NamespacedName{Namespace: "platform", Name: "crm"}, ApplicationUID: "application",
		ReceivedAt: at(0), KeepUntil: at(15),
		Response: &pending.Response{
			Login: "login-1", Generation: 3, Code: sensitive.New("SECRET-code"), Verifier: sensitive.New("SECRET-verifier"),
			RedirectURL: "https://oauth.example.com/oauth2/callback", Captured: map[string]string{"realm": "7"},
		},
	}
}

func hint() pending.Message {
	return pending.Message{
		Application: types.NamespacedName{Namespace: "platform", Name: "crm"}, ApplicationUID: "application",
		ReceivedAt: at(0), KeepUntil: at(10),
		Hint: &pending.Hint{ID: "event-1", EventType: "revoked", GrantID: "connection_1", Subject: "group_1", At: at(-1)},
	}
}

// callers are the messages of the API.
func callers() map[string]pending.Message {
	all := map[string]pending.Message{}
	for name, fill := range map[string]func(*pending.Message){
		"renewal":      func(m *pending.Message) { m.Renewal = &pending.Renewal{TokenHash: "hash"} },
		"verification": func(m *pending.Message) { m.Renewal = &pending.Renewal{TokenHash: "hash", Verify: true} },
		"import": func(m *pending.Message) {
			m.Import = &pending.Import{Login: "login-1", Generation: 2, RefreshToken: sensitive.New("SECRET-refresh")}
		},
		"invitation": func(m *pending.Message) { m.Invitation = &pending.Invitation{} },
	} {
		m := response()
		m.Response = nil
		fill(&m)
		all[name] = m
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	denied := response()
	denied.Response = &pending.Response{Login: "login-1", Generation: 3, Reason: v1alpha1.ReasonAccessDenied, Message: "no"}
	all := callers()
	maps.Copy(all, map[string]pending.Message{"code": response(), "denied": denied, "hint": hint()})
	for name, want := range all {
		t.Run(name, func(t *testing.T) {
			secret, err := pending.Encode("operator", pending.Name(want.Kind(), "x"), want)
			if err != nil {
				t.Fatal(err)
			}
			secret.CreationTimestamp = metav1.NewTime(at(0))
			got, err := pending.Decode(secret)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("read %+v, %v; want %+v", got, err, want)
			}
			shown := fmt.Sprintf("%+v %v %v", got, secret.Labels, secret.Annotations)
			if strings.Contains(shown, "SECRET") {
				t.Error("printing a message shows its code")
			}
			if !pending.Is(secret) || pending.Emptied(secret) || secret.Type != v1alpha1.SecretTypePending {
				t.Errorf("it is no message: %s %s", secret.Type, secret.Name)
			}
			secret.Data = nil
			if _, err := pending.Decode(secret); err == nil || !pending.Emptied(secret) {
				t.Error("an emptied message is read")
			}
		})
	}
}

func TestEncodeRefusesOfCallers(t *testing.T) {
	for name, change := range map[string]func(map[string]pending.Message) pending.Message{
		"a renewal of nothing": func(all map[string]pending.Message) pending.Message {
			m := all["renewal"]
			m.Renewal.TokenHash = ""
			return m
		},
		"a renewal of nobody": func(all map[string]pending.Message) pending.Message {
			m := all["renewal"]
			m.ConnectionUID = ""
			return m
		},
		"an import of nothing": func(all map[string]pending.Message) pending.Message {
			m := all["import"]
			m.Import.RefreshToken = sensitive.String{}
			return m
		},
		"an import without login": func(all map[string]pending.Message) pending.Message {
			m := all["import"]
			m.Import.Login = ""
			return m
		},
		"an invitation of nobody": func(all map[string]pending.Message) pending.Message {
			m := all["invitation"]
			m.ConnectionUID = ""
			return m
		},
		"two at once": func(all map[string]pending.Message) pending.Message {
			m := all["invitation"]
			m.Renewal = all["renewal"].Renewal
			return m
		},
	} {
		m := change(callers())
		if _, err := pending.Encode("operator", "pending-x", m); err == nil {
			t.Errorf("%s: it is written", name)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error shows what is secret", name)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*pending.Message){
		"neither":              func(m *pending.Message) { m.Response = nil },
		"both":                 func(m *pending.Message) { m.Hint = hint().Hint },
		"no login":             func(m *pending.Message) { m.Response.Login = "" },
		"no connection":        func(m *pending.Message) { m.ConnectionUID = "" },
		"no code, no reason":   func(m *pending.Message) { m.Response.Code = sensitive.String{} },
		"a code, a reason":     func(m *pending.Message) { m.Response.Reason = v1alpha1.ReasonAccessDenied },
		"a login that is none": func(m *pending.Message) { m.Response.Login = "login\x1b[2J" },
		"a reason that is none": func(m *pending.Message) {
			m.Response.Code, m.Response.Reason = sensitive.String{}, "not a reason"
		},
		"an endless event": func(m *pending.Message) {
			*m = hint()
			m.Hint.ID = strings.Repeat("x", 257)
		},
		"too long": func(m *pending.Message) { m.Response.Code = sensitive.New(strings.Repeat("x", 65<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := response()
			change(&m)
			if _, err := pending.Encode("operator", "pending-x", m); err == nil {
				t.Error("it was written")
			} else if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error shows the code: %v", err)
			}
		})
	}
}

// What a gateway that was taken over writes fits into status, and no terminal obeys it.
func TestTextsAreBounded(t *testing.T) {
	for name, text := range map[string]string{"long": strings.Repeat("x", 40<<10), "control": "nothing\x1b[2Jof\u202ethe kind\n"} {
		refused, reported := response(), hint()
		refused.Response = &pending.Response{Login: "login-1", Reason: v1alpha1.ReasonAccessDenied, Message: text}
		reported.Hint.EventType = text
		var shown []string
		for _, m := range []pending.Message{refused, reported} {
			secret, err := pending.Encode("operator", "pending-x", m)
			if err != nil {
				t.Fatal(err)
			}
			got, err := pending.Decode(secret)
			if err != nil {
				t.Fatal(err)
			}
			if got.Response != nil {
				shown = append(shown, got.Response.Message)
			} else {
				shown = append(shown, got.Hint.EventType)
			}
		}
		for _, got := range shown {
			if got == "" || len(got) > 2<<10 || strings.ContainsAny(got, "\x1b\u202e\n") {
				t.Errorf("%s: %d bytes: %.80q", name, len(got), got)
			}
		}
	}
}

func TestName(t *testing.T) {
	name := pending.Name(pending.AuthorizationResponse, "login", "login-1")
	if !strings.HasPrefix(name, v1alpha1.PendingPrefix) || len(name) > 63 || strings.Contains(name, "login-1") {
		t.Errorf("the name is %q", name)
	}
	seen := map[string]bool{name: true}
	for _, other := range []string{
		pending.Name(pending.GrantHint, "login", "login-1"), pending.Name(pending.AuthorizationResponse, "login", "login-2"),
		pending.Name(pending.AuthorizationResponse, "login login-1"), pending.Name(pending.AuthorizationResponse, `login" "login-1`),
		pending.Name(pending.AuthorizationResponse, "login", "login-1", ""),
	} {
		if seen[other] {
			t.Errorf("two things have the name %s", other)
		}
		seen[other] = true
	}
}

func TestKeepUntil(t *testing.T) {
	created := metav1.NewTime(at(0))
	for name, row := range map[string]struct {
		said string
		want time.Time
	}{
		"as it says":   {at(15).Format(time.RFC3339), at(15)},
		"not for ever": {at(15).AddDate(1, 0, 0).Format(time.RFC3339), at(0).Add(pending.MaxKeep)},
		"garbage":      {"tomorrow", at(0).Add(pending.MaxKeep)},
		"nothing":      {"", at(0).Add(pending.MaxKeep)},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			CreationTimestamp: created, Annotations: map[string]string{pending.AnnotationKeepUntil: row.said},
		}}
		if got := pending.KeepUntil(secret); !got.Equal(row.want) {
			t.Errorf("%s: kept until %s, want %s", name, got, row.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []pending.Message{response(), hint()} {
		secret, err := pending.Encode("operator", "pending-x", m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(secret.Data["message"], secret.Annotations[pending.AnnotationConnection])
	}
	f.Fuzz(func(t *testing.T, content []byte, connection string) {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "pending-x", Annotations: map[string]string{pending.AnnotationConnection: connection}},
			Type:       v1alpha1.SecretTypePending, Data: map[string][]byte{"message": content},
		}
		m, err := pending.Decode(secret)
		if err != nil {
			return
		}
		if (m.Response == nil) == (m.Hint == nil) {
			t.Fatalf("neither or both: %+v", m)
		}
		if r := m.Response; r != nil && (r.Login == "" || r.Code.IsEmpty() == (r.Reason == "")) {
			t.Fatalf("incomplete: %+v", r)
		}
		again, err := pending.Encode("operator", "pending-x", m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again.CreationTimestamp = secret.CreationTimestamp
		if _, err := pending.Decode(again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
