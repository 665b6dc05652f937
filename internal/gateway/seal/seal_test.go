// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// holder is a source whose keys a test changes.
type holder struct{ set keyset.Set }

func (h *holder) Keys() keyset.Set { return h.set }

// rotate is what a controller does.
func (h *holder) rotate(now time.Time) { h.set, _ = keyset.Rotate(h.set, now) }

// world is a gateway, and another one with the same keys.
type world struct {
	keys  *holder
	clock *clocktesting.FakePassiveClock
	*Sealer
	replica *Sealer
}

func newWorld() *world {
	w := &world{keys: &holder{}, clock: clocktesting.NewFakePassiveClock(start())}
	w.keys.rotate(start().Add(-time.Hour))
	w.Sealer = New(w.keys, w.clock)
	w.replica = New(&holder{set: w.keys.set}, w.clock)
	return w
}

func usualState() State {
	state := State{
		Connection:     types.NamespacedName{Namespace: "team-billing-prod", Name: "salesforce-reporting"},
		ConnectionUID:  "6f1c0e0a-2b8e-4a51-9a5e-0c1d2e3f4a5b",
		ApplicationUID: "0a1b2c3d-4e5f-4a5b-8c7d-9e0f1a2b3c4d",
		Generation:     12, Login: "00112233445566778899aabbccddeeff",
		Verifier:  sensitive.New("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
		ExpiresAt: start().Add(10 * time.Minute),
	}
	copy(state.Browser[:], strings.Repeat("b", len(state.Browser)))
	copy(state.Setup[:], strings.Repeat("s", len(state.Setup)))
	return state
}

func usualLogin() Login {
	state := usualState()
	return Login{
		Connection: state.Connection, ConnectionUID: state.ConnectionUID, Login: state.Login,
		StartedAt: start(), ExpiresAt: start().Add(10 * time.Minute),
	}
}

// plain compares states with what is hidden in them.
func plain() cmp.Option { return cmp.Transformer("reveal", sensitive.String.Reveal) }

func mustSealState(t testing.TB, s *Sealer, state State) string {
	t.Helper()
	text, err := s.SealState(state)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustSealLogin(t testing.TB, s *Sealer, login Login) string {
	t.Helper()
	text, err := s.SealLogin(login)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustFormToken(t testing.TB, s *Sealer, browser string, bound ...string) string {
	t.Helper()
	token, err := s.FormToken(browser, bound...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestStateComesBack(t *testing.T) {
	t.Parallel()
	with := func(change func(*State)) State {
		state := usualState()
		change(&state)
		return state
	}
	tests := map[string]struct {
		reason string
		state  State
	}{
		"usual":           {"the shortest forms", usualState()},
		"without PKCE":    {"an application may disable it", with(func(s *State) { s.Verifier = sensitive.String{} })},
		"long verifier":   {"RFC 7636 allows 128 characters", with(func(s *State) { s.Verifier = sensitive.New(strings.Repeat("a.b~", 32)) })},
		"odd verifier":    {"its last character has bits that Base64 ignores", with(func(s *State) { s.Verifier = sensitive.New(strings.Repeat("A", 42) + "B") })},
		"odd UIDs":        {"a UID is any text to Kubernetes", with(func(s *State) { s.ConnectionUID, s.ApplicationUID = "uid-1", "" })},
		"upper-case UID":  {"it is another UID", with(func(s *State) { s.ConnectionUID = types.UID(strings.ToUpper(string(s.ConnectionUID))) })},
		"UUID in braces":  {"it is another UID", with(func(s *State) { s.ConnectionUID = "{" + s.ConnectionUID + "}" })},
		"odd login":       {"any text will do", with(func(s *State) { s.Login = "login" })},
		"upper-case hex":  {"it is another login", with(func(s *State) { s.Login = strings.ToUpper(s.Login) })},
		"long names":      {"Kubernetes allows 63 and 253 characters", with(func(s *State) { s.Connection = longest() })},
		"huge generation": {"the largest", with(func(s *State) { s.Generation = 1<<63 - 1 })},
		"zero generation": {"the smallest", with(func(s *State) { s.Generation = 0 })},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			got, err := w.replica.OpenState(mustSealState(t, w.Sealer, test.state))
			if err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			if diff := cmp.Diff(test.state, got, plain()); diff != "" {
				t.Errorf("%s: it came back otherwise (-sealed +opened):\n%s", test.reason, diff)
			}
		})
	}
}

func longest() types.NamespacedName {
	return types.NamespacedName{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("c", 253)}
}

func TestLoginComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld()
	login := usualLogin()
	login.StartedAt = login.StartedAt.Add(900 * time.Millisecond)
	got, err := w.replica.OpenLogin(mustSealLogin(t, w.Sealer, login))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(usualLogin(), got); diff != "" {
		t.Errorf("it came back otherwise, beyond the fraction of a second (-sealed +opened):\n%s", diff)
	}
}

// TestStateIsShort pins the length of a usual state: some providers cut long ones.
func TestStateIsShort(t *testing.T) {
	t.Parallel()
	const most = 330
	w := newWorld()
	text := mustSealState(t, w.Sealer, usualState())
	t.Logf("a usual state has %d characters", len(text))
	if len(text) >= most {
		t.Errorf("a usual state has %d characters, want fewer than %d", len(text), most)
	}
	if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Error("it has characters that an URL changes")
	}
	state := usualState()
	state.Connection, state.Verifier = longest(), sensitive.New(strings.Repeat("~", 128))
	if text := mustSealState(t, w.Sealer, state); len(text) > MaxLength/2 {
		t.Errorf("the longest state has %d characters, of at most %d", len(text), MaxLength)
	}
	state.Login = strings.Repeat("x", MaxLength)
	if text, err := w.SealState(state); err == nil {
		t.Errorf("a state of %d characters was made, which would not open", len(text))
	}
}

func TestSealedTwiceIsNotTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld()
	first, second := mustSealState(t, w.Sealer, usualState()), mustSealState(t, w.Sealer, usualState())
	if first == second {
		t.Error("two states are the same text: the nonce is used twice")
	}
}

func TestNothingIsReadable(t *testing.T) {
	t.Parallel()
	w := newWorld()
	state := usualState()
	sealed, err := base64.RawURLEncoding.DecodeString(mustSealState(t, w.Sealer, state))
	if err != nil {
		t.Fatal(err)
	}
	verifier, _ := base64.RawURLEncoding.DecodeString(state.Verifier.Reveal())
	for _, secret := range [][]byte{verifier[:8], []byte(state.Connection.Name), state.Browser[:4]} {
		if bytes.Contains(sealed, secret) {
			t.Error("a state shows what is in it")
		}
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	w := newWorld()
	state, login := mustSealState(t, w.Sealer, usualState()), mustSealLogin(t, w.Sealer, usualLogin())
	w.clock.SetTime(start().Add(10*time.Minute - time.Nanosecond))
	if _, err := w.OpenState(state); err != nil {
		t.Errorf("just before its end the state gives %v", err)
	}
	if _, err := w.OpenLogin(login); err != nil {
		t.Errorf("just before its end the login gives %v", err)
	}
	w.clock.SetTime(start().Add(10 * time.Minute))
	got, err := w.OpenState(state)
	if !errors.Is(err, ErrExpired) || !cmp.Equal(got, usualState(), plain()) {
		t.Errorf("at its end the state gives %v, want ErrExpired with the state", err)
	}
	gotLogin, err := w.OpenLogin(login)
	if !errors.Is(err, ErrExpired) || !cmp.Equal(gotLogin, usualLogin()) {
		t.Errorf("at its end the login gives %v, want ErrExpired with the login", err)
	}
}

func TestFormToken(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token := mustFormToken(t, w.Sealer, "browser", "team/crm", "ticket")
	tests := map[string]struct {
		reason, token, browser string
		bound                  []string
		want                   bool
	}{
		"as made":             {"the form came back", token, "browser", []string{"team/crm", "ticket"}, true},
		"other browser":       {"somebody else's form", token, "browse", []string{"team/crm", "ticket"}, false},
		"no browser":          {"the cookie is missing", token, "", []string{"team/crm", "ticket"}, false},
		"other connection":    {"the form of another page", token, "browser", []string{"team/crm2", "ticket"}, false},
		"less":                {"not what it was bound to", token, "browser", []string{"team/crm"}, false},
		"more":                {"not what it was bound to", token, "browser", []string{"team/crm", "ticket", ""}, false},
		"nothing":             {"not what it was bound to", token, "browser", nil, false},
		"parts joined":        {"lengths keep parts apart", token, "browser", []string{"team/crmticket"}, false},
		"parts cut elsewhere": {"lengths keep parts apart", token, "browser", []string{"team/crmt", "icket"}, false},
		"part moved":          {"lengths keep parts apart", token, "browserteam/crm", []string{"ticket"}, false},
		"order":               {"each has its place", token, "browser", []string{"ticket", "team/crm"}, false},
		"no token":            {"the form was made up", "", "browser", []string{"team/crm", "ticket"}, false},
		"half a token":        {"the form was made up", token[:len(token)/2], "browser", []string{"team/crm", "ticket"}, false},
	}
	for name, test := range tests {
		if got := w.replica.CheckFormToken(test.token, test.browser, test.bound...); got != test.want {
			t.Errorf("%s: %s: got %t", name, test.reason, got)
		}
	}
	w.clock.SetTime(start().Add(FormTokenLifetime - time.Second))
	if !w.CheckFormToken(token, "browser", "team/crm", "ticket") {
		t.Error("it is not good for an hour")
	}
	w.clock.SetTime(start().Add(FormTokenLifetime))
	if w.CheckFormToken(token, "browser", "team/crm", "ticket") {
		t.Error("it is good after an hour")
	}
	bare := mustFormToken(t, w.Sealer, "browser")
	if !w.CheckFormToken(bare, "browser") || w.CheckFormToken(bare, "browser", "") {
		t.Error("a token that is bound to a browser alone is not")
	}
}

// TestPurposesAreApart: what was sealed as one thing opens as no other, whatever it is bound to.
func TestPurposesAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld()
	all := map[string]string{
		"state": mustSealState(t, w.Sealer, usualState()), "login": mustSealLogin(t, w.Sealer, usualLogin()),
		"form": mustFormToken(t, w.Sealer, "browser"), "bare form": mustFormToken(t, w.Sealer, ""),
	}
	for name, text := range all {
		if _, err := w.OpenState(text); (err == nil) != (name == "state") {
			t.Errorf("a %s opened as a state gives %v", name, err)
		}
		if _, err := w.OpenLogin(text); (err == nil) != (name == "login") {
			t.Errorf("a %s opened as a login gives %v", name, err)
		}
		if w.CheckFormToken(text, "browser") != (name == "form") {
			t.Errorf("a %s is misjudged as a form token", name)
		}
	}
	// The purpose is in the key as well as in what is authenticated: each alone keeps them apart.
	key, _ := w.keys.set.Sealing(start())
	nonce, message := make([]byte, 24), []byte("message")
	state, err := derive(key, purposeState)
	if err != nil {
		t.Fatal(err)
	}
	login, err := derive(key, purposeLogin)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(state.Seal(nil, nonce, message, nil), login.Seal(nil, nonce, message, nil)) {
		t.Error("two purposes have the same key")
	}
	if bytes.Equal(associated(purposeState, nil, nil), associated(purposeLogin, nil, nil)) {
		t.Error("two purposes authenticate the same")
	}
	if bytes.Contains(key.Material(), message) || bytes.Equal(state.Seal(nil, nonce, message, nil)[:7], message) {
		t.Error("nothing is encrypted")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld()
	first, _ := w.keys.set.Sealing(start())
	state := usualState()
	state.ExpiresAt = start().Add(365 * 24 * time.Hour)
	old := mustSealState(t, w.Sealer, state)

	at := start().Add(keyset.Period)
	w.keys.rotate(at)
	w.clock.SetTime(at.Add(keyset.Spread - time.Second))
	if _, err := w.replica.OpenState(mustSealState(t, w.Sealer, state)); err != nil {
		t.Errorf("sealed with a key that a replica may not have yet: %v", err)
	}
	w.clock.SetTime(at.Add(keyset.Spread))
	if fresh, _ := w.keys.set.Sealing(w.clock.Now()); fresh.ID == first.ID {
		t.Fatal("the keys were not rotated")
	}
	recent := mustSealState(t, w.Sealer, state)
	if _, err := w.replica.OpenState(recent); !errors.Is(err, ErrForged) {
		t.Errorf("a gateway without the new key gives %v, want ErrForged", err)
	}
	for name, text := range map[string]string{"previous": old, "present": recent} {
		if _, err := w.OpenState(text); err != nil {
			t.Errorf("what was sealed under the %s key gives %v", name, err)
		}
	}
	w.keys.rotate(at.Add(keyset.Spread + keyset.Overlap))
	if _, err := w.OpenState(old); !errors.Is(err, ErrForged) {
		t.Errorf("what was sealed under a dropped key gives %v, want ErrForged", err)
	}
	if _, err := w.OpenState(recent); err != nil {
		t.Errorf("what was sealed under the present key gives %v", err)
	}
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	w := newWorld()
	text := mustSealState(t, w.Sealer, usualState())
	w.keys.set = keyset.Set{}
	if _, err := w.SealState(usualState()); !errors.Is(err, ErrNoKeys) {
		t.Errorf("sealing gives %v", err)
	}
	if _, err := w.SealLogin(usualLogin()); !errors.Is(err, ErrNoKeys) {
		t.Errorf("sealing gives %v", err)
	}
	if _, err := w.FormToken("browser"); !errors.Is(err, ErrNoKeys) {
		t.Errorf("sealing gives %v", err)
	}
	if _, err := w.OpenState(text); !errors.Is(err, ErrForged) {
		t.Errorf("opening gives %v", err)
	}
}

// TestBadKeys: nobody has checked the keys of a source that is no keyset.Dir.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]keyset.Key{
		"short ID": {ID: "00", Secret: newKeyOf(t).Secret}, "no ID": {Secret: newKeyOf(t).Secret},
		"short key": {ID: "00112233", Secret: sensitive.New("abcd")}, "no key": {ID: "00112233"},
	} {
		w := newWorld()
		text := mustSealState(t, w.Sealer, usualState())
		w.keys.set = keyset.Set{Keys: []keyset.Key{key}}
		if got, err := w.SealState(usualState()); err == nil {
			t.Errorf("%s: sealed as %d characters", name, len(got))
		}
		if _, err := w.OpenState(text); !errors.Is(err, ErrForged) {
			t.Errorf("%s: opening gives %v", name, err)
		}
	}
}

func newKeyOf(t *testing.T) keyset.Key {
	t.Helper()
	key, ok := keyset.Ephemeral().Keys().Sealing(start())
	if !ok {
		t.Fatal("no key")
	}
	return key
}

// TestForged changes, cuts and swaps everything there is to change in a state.
func TestForged(t *testing.T) {
	t.Parallel()
	w := newWorld()
	text := mustSealState(t, w.Sealer, usualState())
	refused := func(what, forged string) {
		t.Helper()
		if state, err := w.OpenState(forged); !errors.Is(err, ErrForged) || !cmp.Equal(state, State{}, plain()) {
			t.Errorf("%s: got %v, want ErrForged and nothing with it", what, err)
		}
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for bit := range 8 {
			changed := slices.Clone(sealed)
			changed[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d changed", bit, i), base64.RawURLEncoding.EncodeToString(changed))
		}
	}
	for n := range text {
		refused(fmt.Sprintf("cut to %d characters", n), text[:n])
	}
	for _, more := range []string{"A", "AAAA", "=", "\n", "\r\n", " "} {
		refused(fmt.Sprintf("%q behind it", more), text+more)
		refused(fmt.Sprintf("%q before it", more), more+text)
		refused(fmt.Sprintf("%q within it", more), text[:20]+more+text[20:])
	}
	refused("padded", base64.URLEncoding.EncodeToString(sealed)+"=")
	refused("very long", strings.Repeat("A", MaxLength+4))
	refused("zeros", base64.RawURLEncoding.EncodeToString(make([]byte, 200)))

	other := newWorld()
	refused("of another gateway", mustSealState(t, other.Sealer, usualState()))
	key, _ := w.keys.set.Sealing(start())
	other.keys.set.Keys[0].ID = key.ID
	refused("of another gateway, under the same key ID", mustSealState(t, other.Sealer, usualState()))
	state := usualState()
	state.Connection.Name = "other"
	second, err := base64.RawURLEncoding.DecodeString(mustSealState(t, w.Sealer, state))
	if err != nil {
		t.Fatal(err)
	}
	refused("front of one, content of another", base64.RawURLEncoding.EncodeToString(slices.Concat(sealed[:29], second[29:])))
}

// TestUnknownContent: what another version of the gateway may have sealed is not misread.
func TestUnknownContent(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good := &writer{}
	good.text("n")
	good.text("c")
	for name, content := range map[string][]byte{
		"empty": nil, "cut": good.content, "unknown form": append(slices.Clone(good.content), 9),
		"huge length": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "endless number": bytes.Repeat([]byte{0xff}, 300),
		"zeros": make([]byte, 300),
	} {
		text, err := w.seal(purposeState, nil, content)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.OpenState(text); !errors.Is(err, ErrForged) {
			t.Errorf("%s: a state gives %v", name, err)
		}
		if text, err = w.seal(purposeLogin, nil, content); err != nil {
			t.Fatal(err)
		}
		if _, err := w.OpenLogin(text); !errors.Is(err, ErrForged) {
			t.Errorf("%s: a login gives %v", name, err)
		}
		if text, err = w.seal(purposeForm, formBinding("browser", nil), append(content, 0)); err != nil {
			t.Fatal(err)
		}
		if w.CheckFormToken(text, "browser") {
			t.Errorf("%s: a form token is good", name)
		}
	}
}

// FuzzOpen gives gateways whatever comes: nothing opens but what they have sealed, as what they have sealed it.
func FuzzOpen(f *testing.F) {
	w := newWorld()
	state, login := mustSealState(f, w.Sealer, usualState()), mustSealLogin(f, w.Sealer, usualLogin())
	form := mustFormToken(f, w.Sealer, "browser", "bound")
	for _, seed := range []string{state, login, form, state[:40], login + state, "", "AQ", strings.Repeat("A", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := w.OpenState(text); (err == nil) != (text == state) || err != nil && !errors.Is(err, ErrForged) {
			t.Errorf("as a state: %v", err)
		}
		if _, err := w.OpenLogin(text); (err == nil) != (text == login) || err != nil && !errors.Is(err, ErrForged) {
			t.Errorf("as a login: %v", err)
		}
		if w.CheckFormToken(text, "browser", "bound") != (text == form) {
			t.Error("as a form token it is misjudged")
		}
	})
}

// FuzzContent opens authentic text with any content, as another version might have sealed it: it is read or refused, and
// what is read is written the same way again.
func FuzzContent(f *testing.F) {
	w := newWorld()
	for _, seed := range []State{usualState(), {}, {Connection: longest(), Login: "x", Verifier: sensitive.New("y")}} {
		content, err := w.open(purposeState, nil, mustSealState(f, w.Sealer, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		text, err := w.seal(purposeState, nil, content)
		if err != nil {
			return // Too long.
		}
		state, err := w.OpenState(text)
		if errors.Is(err, ErrForged) {
			return
		}
		if again, err := w.OpenState(mustSealState(t, w.Sealer, state)); errors.Is(err, ErrForged) || !cmp.Equal(state, again, plain()) {
			t.Errorf("sealed again it is another state (%v)", err)
		}
	})
}

// FuzzState seals any state: it comes back as it was.
func FuzzState(f *testing.F) {
	usual := usualState()
	f.Add("team", "crm", string(usual.ConnectionUID), string(usual.ApplicationUID), usual.Login, usual.Verifier.Reveal(), int64(1), int64(1<<40))
	f.Add("", "", "", "", "", "", int64(-1), int64(0))
	w := newWorld()
	f.Fuzz(func(t *testing.T, namespace, name, connection, application, login, verifier string, generation, expires int64) {
		state := State{
			Connection:    types.NamespacedName{Namespace: namespace, Name: name},
			ConnectionUID: types.UID(connection), ApplicationUID: types.UID(application), Login: login,
			Verifier: sensitive.New(verifier), Generation: generation, ExpiresAt: time.Unix(expires, 0).UTC(),
		}
		text, err := w.SealState(state)
		if err != nil {
			return // Too long.
		}
		got, err := w.OpenState(text)
		if expired := !start().Before(state.ExpiresAt); errors.Is(err, ErrExpired) != expired || err != nil && !expired {
			t.Errorf("got error %v, and expired is %t", err, expired)
		}
		if diff := cmp.Diff(state, got, plain()); diff != "" {
			t.Errorf("it came back otherwise (-sealed +opened):\n%s", diff)
		}
	})
}
