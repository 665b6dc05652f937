// SPDX-License-Identifier: Apache-2.0

package integrations_test

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// A connection that was made for a link which there cannot be is taken back, and only such a one.
func TestInviteInVain(t *testing.T) {
	t.Parallel()
	noGateway := func(c *v1alpha1.OAuthConnection) {
		says(c, v1alpha1.ConnectionPending, metav1.ConditionFalse, v1alpha1.ReasonNoGateway)
	}
	for name, test := range map[string]struct {
		// held : there was one before.
		held   bool
		judged func(c *v1alpha1.OAuthConnection)
		code   problem.Code
		stays  bool
	}{
		"made for it":               {judged: noGateway, code: problem.NoAuthorization},
		"there before":              {held: true, judged: noGateway, code: problem.NoAuthorization, stays: true},
		"something else is missing": {code: problem.ClusterUnavailable, judged: func(*v1alpha1.OAuthConnection) {}, stays: true},
		"somebody has brought a code meanwhile": {judged: func(c *v1alpha1.OAuthConnection) {
			noGateway(c)
			c.Status.LastAuthorization = &v1alpha1.LastAuthorization{ID: "login"}
		}, code: problem.NoAuthorization, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.may["jane create platform/"+janes] = true
				w.plane.leave = time.Second
				w.plane.created = func(c *v1alpha1.OAuthConnection) { w.plane.later(time.Second, c.UID, test.judged) }
				if test.held {
					w.hold(janes, jane, test.judged)
				}
				a := w.request(jane, http.MethodGet, connect, "")
				w.refused(a, test.code, "")
				found := w.directory.ConnectionNamed(types.NamespacedName{Namespace: "platform", Name: janes})
				if (found != nil) != test.stays {
					t.Errorf("it is there: %t, want %t", found != nil, test.stays)
				}
				if !test.stays && a.took != 2*time.Second {
					t.Errorf("it took %s: the name is not free at once", a.took)
				}
			})
		})
	}
}
