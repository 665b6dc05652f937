// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestRecordOvertakesConnection keeps the news of connections from one controller while another one does what a person has
// asked for. The first one sees the new record beside the old connection, whose code or refresh request looks new then.
func TestRecordOvertakesConnection(t *testing.T) {
	t.Parallel()
	for _, scenario := range []struct {
		name string
		// ask changes the connection, and returns what the answer looks like.
		ask func(*world) func(sight) error
		// codes and refreshes that the provider gets in all, with one refresh before and one after.
		codes, refreshes int
	}{
		{"refresh request", (*world).askForRefresh, 1, 3},
		{"code in another Secret", (*world).askForAnotherCode, 2, 2},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, hostile.Options{})
			w.connect(connectionName)
			late := w.start()
			w.await(connectionName, w.working)
			w.request(connectionName, "before")
			w.await(connectionName, w.working, observed("before"))

			w.proxy.hold()
			other := w.launch(newProxy(t, func(string, string) bool { return false }))
			answered := scenario.ask(w)
			w.await(connectionName, w.working, answered)
			w.considered(w.server.Count(tokenRequests()))
			other.finish(t)
			w.proxy.release()

			w.request(connectionName, "after")
			w.await(connectionName, w.working, observed("after"))
			late.finish(t)
			codes := w.server.Count(record.Filter{Endpoint: record.Token, GrantType: "authorization_code"})
			if refreshed := w.server.Count(refreshes()); codes != scenario.codes || refreshed != scenario.refreshes {
				t.Errorf("%d codes and %d refreshes were sent, want %d and %d", codes, refreshed, scenario.codes, scenario.refreshes)
			}
			w.nothingTwice()
		})
	}
}

func (w *world) askForRefresh() func(sight) error {
	w.t.Helper()
	w.request(connectionName, "meanwhile")
	return observed("meanwhile")
}

func (w *world) askForAnotherCode() func(sight) error {
	w.t.Helper()
	before := w.mustLook()
	const name = "crm-second"
	w.create(w.secret(name, w.newCode()))
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: connectionName}}
	patch := fmt.Sprintf(`{"spec":{"grant":{"authorizationCode":{"codeSecretRef":{"name":%q},"codeVerifierSecretRef":{"name":%q}}}}}`, name, name)
	if err := plane.Client().Patch(w.t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.t.Fatal(err)
	}
	return func(s sight) error {
		if s.record.SpentInput == before.record.SpentInput {
			return errors.New("want the other code to be exchanged")
		}
		return nil
	}
}

// considered waits until the program behind the proxy has thought about the record that it was overtaken by: it has looked
// again, or called the provider once more than before.
func (w *world) considered(calls int) {
	w.t.Helper()
	looks := w.proxy.lookedAt()
	testenv.Eventually(w.t, patience, func() error {
		if w.proxy.lookedAt() == looks && w.server.Count(tokenRequests()) == calls {
			return errors.New("want the program to look at the connection")
		}
		return nil
	})
}
