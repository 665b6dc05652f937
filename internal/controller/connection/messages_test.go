// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/pending"
)

// TestLoginsAreToldOneByOne : what ends next would hide in status how the one before has ended, and the person who waits for
// that would never see it.
func TestLoginsAreToldOneByOne(t *testing.T) {
	for name, row := range map[string]struct {
		recorded, told string
		goesOn         bool
	}{
		"the first of all":          {"", "", true},
		"the one before was told":   {"login-1", "login-1", true},
		"the one before was not":    {"login-1", "", false},
		"only an earlier one was":   {"login-1", "login-0", false},
		"told, and then forgotten":  {"", "login-1", true},
		"this one, and it was told": {"login-2", "login-2", false},
	} {
		t.Run(name, func(t *testing.T) {
			record := &lifecycle.Record{}
			if row.recorded != "" {
				record.Authorization = &lifecycle.Authorization{ID: row.recorded}
			}
			s := reading("", record)
			s.facts.Record, s.facts.Person = record, &lifecycle.Person{Link: true}
			if row.told != "" {
				s.connection.Status.LastAuthorization = &v1alpha1.LastAuthorization{ID: row.told}
			}
			m := &message{secret: &corev1.Secret{}, Message: pending.Message{Response: &pending.Response{
				Login: "login-2", Generation: s.connection.Generation, Reason: v1alpha1.ReasonAccessDenied,
			}}}
			login, _ := m.login()
			if s.considerLogin(m, login); (s.facts.Answer != nil) != row.goesOn {
				t.Errorf("the answer is %+v, want one: %t", s.facts.Answer, row.goesOn)
			}
			if held := row.recorded == "login-1" && !row.goesOn; s.untold != held {
				t.Errorf("held back: %t, want %t", s.untold, held)
			}
		})
	}
}
