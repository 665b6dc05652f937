// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
)

// killOn kills the program at an event, once that comes, and leaves nothing of it under way.
func (w *world) killOn(at event, begin func()) {
	w.t.Helper()
	w.journal.arm(at, func() { w.killIn(at) })
	begin()
	testenv.Eventually(w.t, patience, func() error {
		if !w.journal.caught() {
			return errors.New("want " + at.String())
		}
		return nil
	})
	w.settle()
}

// TestKillAgain kills the program in the middle of settling the mark of its first crash. The code must still never be
// sent again.
func TestKillAgain(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{asked, accepted} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, hostile.Options{})
			code := w.connect(connectionName)
			w.killOn(event{what: "provider token authorization_code", moment: string(hostile.Processed), nth: 1}, func() { w.start() })
			w.killOn(event{what: "PUT record with outcome", moment: moment, nth: 1}, func() { w.start() })
			w.start()
			w.doubtfulExchange(code, sight{})
			w.finish()
			w.nothingTwice()
		})
	}
}

// TestResendBeforeExpiry kills the program during a refresh and lets it be. The refresh token may be spent, so it is sent
// once more, and only when the access token is about to expire.
func TestResendBeforeExpiry(t *testing.T) {
	t.Parallel()
	const (
		lifetime = 75 * time.Second
		// early is how long before expiry that is, rounding included.
		early = lifetime/10 + time.Second
	)
	w := newWorld(t, hostile.Options{AccessTokenLifetime: lifetime})
	w.connect(connectionName)
	w.start()
	before := w.await(connectionName, w.working)
	w.killOn(event{what: "provider token refresh_token", moment: string(hostile.Received), nth: 1}, func() { w.request(connectionName, "first") })
	w.start()
	w.await(connectionName, unknown, phase(v1alpha1.ConnectionActive),
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonTokenReady),
		condition(v1alpha1.ConditionAuthorized, metav1.ConditionUnknown, v1alpha1.ReasonRefreshOutcomeUnknown))
	w.await(connectionName, w.working, other(before.token))
	w.finish()
	calls := w.server.Requests(refreshes())
	if len(calls) != 2 || calls[0].Credential != calls[1].Credential {
		t.Fatalf("want the refresh token to be sent twice, got %d refreshes", len(calls))
	}
	if left := before.record.Expiry.At.Sub(calls[1].Time); left > early || left < 0 {
		t.Errorf("the refresh token was sent again %s before the access token's expiry, want within %s", left, early)
	}
	w.counted(before.record.RefreshToken.Reveal(), 2, 0)
}
