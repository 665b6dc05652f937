// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

const (
	// owner is the account that a connection belongs to: the server's own subject. stranger is another one.
	owner    = "user-1"
	stranger = "user-2"
)

// asksUserInfo makes the program look accounts up.
func asksUserInfo(spec *v1alpha1.OAuthApplicationSpec) { spec.UserInfo = &v1alpha1.UserInfoSpec{} }

// TestKillDuringLookup kills the program at each moment of finding out whose first tokens they are.
func TestKillDuringLookup(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape:   asksUserInfo,
		prepare: func(w *world) (string, func()) { return w.connect(connectionName), func() { w.start() } },
		from:    "provider userinfo #1 received",
		done:    func(*world, sight) func(sight) error { return ownersGrant },
		resumed: func(w *world, _, died sight) { w.lookedUp(0, died) },
	})
}

// TestKillDuringReauthorization kills the program at each moment of the way from a new code for a grant that is held to the
// new grant in place of the old one.
func TestKillDuringReauthorization(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape:    asksUserInfo,
		prepare:  func(w *world) (string, func()) { return w.reauthorize(owner) },
		among:    append(marked(), "record with candidate", "provider userinfo"),
		done:     replaced,
		resumed:  func(w *world, _, died sight) { w.lookedUp(1, died) },
		doubtful: (*world).doubtfulReauthorization,
	})
}

// TestKillDuringRefusal kills the program at each moment of refusing a grant of another account, from its first write on.
func TestKillDuringRefusal(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		shape:   asksUserInfo,
		prepare: func(w *world) (string, func()) { return w.reauthorize(stranger) },
		from:    "PUT record with candidate #1 accepted",
		among:   []string{"record with candidate", "provider userinfo", "record with refused candidate", "provider revoke"},
		done:    refused,
		resumed: func(w *world, before, died sight) {
			w.lookedUp(1, died)
			last := died.connection.Status.LastAuthorization
			if last.ID != before.record.Authorization.ID && last.Outcome != v1alpha1.AuthorizationFailed {
				w.t.Errorf("a code of another account has been reported as %+v", last)
			}
			if strings.Contains(last.Message, "was revoked") && died.record.Candidate != nil {
				w.t.Errorf("a grant of another account was called revoked before it was")
			}
			w.onlyOwner()
		},
	})
}

// reauthorize has the program hold a grant of the owner's. It returns a code of an account, and what hands that over.
func (w *world) reauthorize(account string) (code string, begin func()) {
	w.t.Helper()
	w.connected()
	w.await(connectionName, w.working, ownersGrant)
	data := w.newCodeOf(account)
	return data[v1alpha1.DefaultCodeKey], func() { w.replaceInput(data) }
}

func (w *world) newCodeOf(account string) map[string]string {
	w.t.Helper()
	code, verifier, err := w.server.NewCodeFor(account, harness.DefaultClient().ID, "", []string{"api:read", "offline_access"}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string]string{v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier}
}

// ownersGrant wants the account to be known to be the owner's, in the record and in status.
func ownersGrant(s sight) error {
	if s.record == nil || !s.record.Lookup.Done || s.record.Subject != owner || s.connection.Status.Subject != owner {
		return fmt.Errorf("want account %q in record and status", owner)
	}
	return nil
}

// replaced wants a new grant of the same account in place of the old one, which is kept to be revoked.
func replaced(_ *world, before sight) func(sight) error {
	return func(s sight) error {
		switch last := s.connection.Status.LastAuthorization; {
		case s.record.Candidate != nil:
			return errors.New("want the candidate to be judged")
		case s.record.RefreshToken.Equal(before.record.RefreshToken):
			return errors.New("want the new grant's refresh token in the record")
		case !slices.ContainsFunc(s.record.Replaced, before.record.RefreshToken.Equal):
			return errors.New("want the old grant's refresh token among those to be revoked")
		case last == nil || last.Outcome != v1alpha1.AuthorizationSucceeded || last.ID == before.record.Authorization.ID:
			return errors.New("want the new authorization to be reported as a success")
		}
		return errors.Join(other(before.token)(s), ownersGrant(s))
	}
}

// refused wants the old grant to be in place, and nothing left of another account's.
func refused(_ *world, before sight) func(sight) error {
	return func(s sight) error {
		switch last := s.connection.Status.LastAuthorization; {
		case s.record.Candidate != nil:
			return errors.New("want the candidate to be revoked")
		case s.token != before.token || !s.record.RefreshToken.Equal(before.record.RefreshToken):
			return errors.New("want the old grant's tokens")
		case last == nil || last.Outcome != v1alpha1.AuthorizationFailed || last.Reason != v1alpha1.ReasonAccountMismatch ||
			!strings.Contains(last.Message, "was revoked"):
			return errors.New("want the new authorization to be reported as refused and revoked")
		}
		return ownersGrant(s)
	}
}

// onlyOwner wants no token of another account to be alive.
func (w *world) onlyOwner() {
	w.t.Helper()
	for _, token := range w.server.Issued() {
		if account := w.server.AccountOf(token); account != "" && account != owner {
			w.t.Errorf("a token of account %q still works", account)
		}
	}
}

// lookedUp wants one request for an account, besides those before, and one more when the kill came between the request and
// the write of what it has told.
func (w *world) lookedUp(before int, died sight) {
	w.t.Helper()
	lookup := died.record.Lookup
	if candidate := died.record.Candidate; candidate != nil {
		lookup = candidate.Lookup
	}
	most := before + 1
	if !lookup.Done {
		most++
	}
	if asked := w.server.Count(record.Filter{Endpoint: record.UserInfo}); asked > most {
		w.t.Errorf("accounts were looked up %d times, want at most %d", asked, most)
	}
}

// doubtfulReauthorization : the old grant goes on, the code is not sent again, and a new one heals.
func (w *world) doubtfulReauthorization(code string, died sight) {
	w.t.Helper()
	sent, last := w.server.Uses(code), died.record.Authorization.ID
	s := w.await(connectionName, unknown, w.working, func(s sight) error {
		said := s.connection.Status.LastAuthorization
		if said == nil || said.ID == last || said.Outcome != v1alpha1.AuthorizationUnknown || said.Reason != v1alpha1.ReasonExchangeOutcomeUnknown {
			return errors.New("want the new authorization to be reported as unknown")
		}
		return nil
	})
	if s.token != died.token || !s.record.RefreshToken.Equal(died.record.RefreshToken) {
		w.t.Error("the old grant is not in place")
	}
	w.await(connectionName, w.working, w.passedAgain(connectionName))
	w.replaceInput(w.newCodeOf(owner))
	w.await(connectionName, w.working, replaced(w, s))
	if uses := w.server.Uses(code); uses != sent {
		w.t.Errorf("the code was sent %d times, %d before the kill", uses, sent)
	}
	w.nothingTwice()
}
