// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const day = 24 * time.Hour

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// aged returns a set of keys of these ages at start.
func aged(ages ...time.Duration) Set {
	var s Set
	for _, age := range ages {
		s.Keys = append(s.Keys, newKey(start().Add(-age)))
	}
	return s
}

func ids(s Set) []string {
	var all []string
	for _, key := range s.Keys {
		all = append(all, key.ID)
	}
	return all
}

func TestSealing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		set    Set
		want   int
	}{
		"old keys":        {"the newest that all gateways have", aged(day, 40*day), 0},
		"just spread":     {"ten minutes are enough", aged(Spread, 40*day), 0},
		"one is new":      {"gateways may not have it yet", aged(Spread-time.Second, 40*day), 1},
		"two are new":     {"gateways may have neither", aged(0, Spread/2, 40*day), 2},
		"the only one":    {"there is no other", aged(0), 0},
		"all are new":     {"the oldest has spread furthest", aged(0, time.Minute, 2*time.Minute), 2},
		"from the future": {"it counts as new", aged(-day, 40*day), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := test.set.Sealing(start())
			if !ok || got.ID != test.set.Keys[test.want].ID {
				t.Errorf("%s: got key %s (%t) of %v, want number %d", test.reason, got.ID, ok, ids(test.set), test.want)
			}
		})
	}
	if _, ok := (Set{}).Sealing(start()); ok {
		t.Error("an empty set has a key to seal with")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	const fresh = -1
	tests := map[string]struct {
		reason string
		set    Set
		want   []int
	}{
		"nothing yet":       {"there must be a key", Set{}, []int{fresh}},
		"young":             {"nothing is due", aged(0), []int{0}},
		"nearly old":        {"a key is the newest for thirty days", aged(Period - time.Second), []int{0}},
		"old":               {"a successor is due", aged(Period), []int{fresh, 0}},
		"successor begins":  {"what was sealed before must still open", aged(Spread, Period+Spread), []int{0, 1}},
		"overlap ends soon": {"it opens for two days more", aged(Spread+Overlap-time.Second, Period), []int{0, 1}},
		"overlap is over":   {"the old key has done its work", aged(Spread+Overlap, Period), []int{0}},
		"long away":         {"what nobody seals with any more goes at once", aged(60*day, 90*day, 120*day), []int{fresh, 0}},
		"last one is old":   {"the only key is never dropped without a successor that seals", aged(1000 * day), []int{fresh, 0}},
		"skewed clock":      {"another controller's clock may be a little ahead", aged(-maxSkew, Period), []int{0, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(test.set.Keys)
			next, changed := Rotate(test.set, start())
			if len(next.Keys) != len(test.want) {
				t.Fatalf("%s: got %d keys, want %d", test.reason, len(next.Keys), len(test.want))
			}
			for i, from := range test.want {
				switch key := next.Keys[i]; {
				case from == fresh && (!key.CreatedAt.Equal(start()) || slices.Contains(ids(test.set), key.ID)):
					t.Errorf("%s: key %d is not new", test.reason, i)
				case from != fresh && (key.ID != before[from].ID || !key.Secret.Equal(before[from].Secret)):
					t.Errorf("%s: key %d is not number %d from before", test.reason, i, from)
				}
			}
			if want := slices.Contains(test.want, fresh) || len(test.want) != len(before); changed != want {
				t.Errorf("%s: changed is %t, want %t", test.reason, changed, want)
			}
			if again, changed := Rotate(next, start()); changed || !slices.Equal(ids(again), ids(next)) {
				t.Errorf("%s: a second rotation at once changed %v to %v", test.reason, ids(next), ids(again))
			}
		})
	}
}

func TestRotateMendsTheFuture(t *testing.T) {
	t.Parallel()
	set := aged(-400*day, Period)
	next, changed := Rotate(set, start())
	if !changed || !slices.Equal(ids(next), ids(set)) || !next.Keys[0].CreatedAt.Equal(start()) {
		t.Errorf("got %v made at %s (changed: %t), want the same keys, the first made now", ids(next), next.Keys[0].CreatedAt, changed)
	}
	if set.Keys[0].CreatedAt.Equal(start()) {
		t.Error("Rotate changed what it was given")
	}
}

// TestRotateForAYear follows a set as a controller does, and looks at what gateways would do with it.
func TestRotateForAYear(t *testing.T) {
	t.Parallel()
	now := start()
	set, _ := Rotate(Set{}, now)
	// sealedUntil holds by key when something was last sealed with it.
	sealedUntil, rotations := map[string]time.Time{}, 0
	for end := now.Add(365 * day); now.Before(end); now = now.Add(time.Minute) {
		key, _ := set.Sealing(now)
		sealedUntil[key.ID] = now
		due := !now.Before(set.NextChange())
		next, changed := Rotate(set, now)
		if changed != due {
			t.Fatalf("at %s: changed is %t, and NextChange said %s", now, changed, set.NextChange())
		}
		if changed {
			rotations++
		}
		for _, old := range set.Keys {
			if _, kept := next.Find(old.ID); !kept && now.Sub(sealedUntil[old.ID]) < Overlap-time.Minute {
				t.Fatalf("at %s: key %s is dropped, which was sealed with until %s", now, old.ID, sealedUntil[old.ID])
			}
		}
		if set = next; len(set.Keys) > 2 {
			t.Fatalf("at %s: %d keys are kept", now, len(set.Keys))
		}
	}
	if rotations != 24 {
		t.Errorf("%d changes in a year, want a new key and the end of an old one for each of twelve rotations", rotations)
	}
}

func TestNextChangeOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Set{}).NextChange(); !got.IsZero() {
		t.Errorf("got %s, want that it is due at once", got)
	}
}

func TestEncodeAndParse(t *testing.T) {
	t.Parallel()
	set := aged(day, 31*day)
	content, err := set.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, set)
	again, err := got.Encode()
	if err != nil || string(again) != string(content) {
		t.Errorf("encoded again it is other bytes (%v)", err)
	}
	slices.Reverse(set.Keys)
	if content, err = set.Encode(); err != nil {
		t.Fatal(err)
	}
	if got, err = Parse(content); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(set.Keys)
	same(t, got, set)
}

func same(t *testing.T, got, want Set) {
	t.Helper()
	if len(got.Keys) != len(want.Keys) {
		t.Fatalf("got %d keys, want %d", len(got.Keys), len(want.Keys))
	}
	for i, key := range got.Keys {
		if w := want.Keys[i]; key.ID != w.ID || !key.CreatedAt.Equal(w.CreatedAt) || !key.Secret.Equal(w.Secret) {
			t.Errorf("key %d is %s of %s, want %s of %s", i, key.ID, key.CreatedAt, w.ID, w.CreatedAt)
		}
		if len(key.Material()) != 32 {
			t.Errorf("key %d has %d bytes", i, len(key.Material()))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	secret := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	key := func(id, secret string) string {
		return fmt.Sprintf(`{"id":%q,"createdAt":"2026-01-02T03:04:05Z","secret":%q}`, id, secret)
	}
	set := func(keys ...string) string { return `{"format":1,"keys":[` + strings.Join(keys, ",") + `]}` }
	if _, err := Parse([]byte(set(key("0123abcd", secret)))); err != nil {
		t.Fatalf("a good set is refused: %v", err)
	}
	tests := map[string]struct{ reason, content, want string }{
		"nothing":           {"an empty file", "", "not a key set"},
		"no JSON":           {"somebody else's file", secret, "not a key set"},
		"cut off":           {"half a file", set(key("0123abcd", secret))[:40], "not a key set"},
		"more behind it":    {"two files in one", set(key("0123abcd", secret)) + set(), "not a key set"},
		"wrong type":        {"the cause would quote it", `{"format":1,"keys":"` + secret + `"}`, "not a key set"},
		"too long":          {"nobody wrote that", set(key("0123abcd", secret)) + strings.Repeat(" ", maxContent), "not a key set"},
		"no format":         {"it says so itself", `{"keys":[` + key("0123abcd", secret) + `]}`, "format 0"},
		"a later format":    {"it must not be misread", `{"format":2,"keys":[]}`, "format 2"},
		"no keys":           {"nothing could be sealed", set(), "of 0 keys"},
		"many keys":         {"none of ours has", set(slices.Repeat([]string{key("0123abcd", secret)}, maxKeys+1)...), "of 17 keys"},
		"twice":             {"which one opens?", set(key("0123abcd", secret), key("0123abcd", secret)), "the same ID"},
		"short ID":          {"states hold four bytes", set(key("0123ab", secret)), "whose ID"},
		"upper case":        {"it has one spelling", set(key("0123ABCD", secret)), "whose ID"},
		"no ID":             {"states hold four bytes", set(key("", secret)), "whose ID"},
		"short key":         {"32 bytes", set(key("0123abcd", secret[:40])), "not 32 bytes"},
		"empty key":         {"32 bytes", set(key("0123abcd", "")), "not 32 bytes"},
		"other alphabet":    {"it has one spelling", set(key("0123abcd", strings.Repeat("+", 43))), "not 32 bytes"},
		"trailing bits set": {"it has one spelling", set(key("0123abcd", secret[:42]+"_")), "not 32 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.content))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got error %v, want one with %q", test.reason, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret[:8]) {
				t.Error("the error quotes the key")
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	for reason, set := range map[string]Set{
		"Parse would refuse no keys":     {},
		"Parse would refuse a short key": {Keys: []Key{{ID: "0123abcd", Secret: sensitive.New("abc")}}},
		"JSON has no such time":          {Keys: []Key{newKey(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))}},
	} {
		if content, err := set.Encode(); err == nil {
			t.Errorf("%s, and it was encoded as %d bytes", reason, len(content))
		}
	}
}

func TestKeysAreNotShown(t *testing.T) {
	t.Parallel()
	set := aged(0)
	secret := set.Keys[0].Secret.Reveal()
	for _, text := range []string{fmt.Sprint(set), fmt.Sprintf("%+v", set), fmt.Sprintf("%#v", &set), fmt.Sprint(Ephemeral())} {
		if strings.Contains(text, secret) {
			t.Error("a printed set shows its keys")
		}
	}
}

func TestWebhookFiles(t *testing.T) {
	t.Parallel()
	const uid = types.UID("6f1c0e0a-2b8e-4a51-9a5e-0c1d2e3f4a5b")
	if got, ok := WebhookApplication(WebhookFile(uid)); !ok || got != uid {
		t.Errorf("got %q (%t), want %q", got, ok, uid)
	}
	for _, other := range []string{FileSealing, "webhook-", "webhook", "", "..data"} {
		if uid, ok := WebhookApplication(other); ok {
			t.Errorf("%q is taken for the webhook secret of %q", other, uid)
		}
	}
}

func TestEphemeral(t *testing.T) {
	t.Parallel()
	a, b := Ephemeral(), Ephemeral()
	key, ok := a.Keys().Sealing(start())
	if !ok || len(key.Material()) != 32 || a.Ready() != nil {
		t.Fatalf("no key to seal with (%t, %v)", ok, a.Ready())
	}
	if other, _ := b.Keys().Sealing(start()); other.Secret.Equal(key.Secret) {
		t.Error("two processes have the same key")
	}
	if _, ok := a.WebhookSecret("some"); ok || !WebhooksOff(a) {
		t.Error("it has webhook secrets")
	}
	if WebhooksOff(&Dir{}) {
		t.Error("a directory is said to have no webhooks ever")
	}
}

// FuzzParse: whatever is accepted is usable and survives being written; nothing makes it panic.
func FuzzParse(f *testing.F) {
	good, err := aged(day, 31*day).Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "{}", `{"format":1,"keys":[]}`, `{"format":1,"keys":null}`, string(good[:len(good)/2])} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		set, err := Parse(content)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(set.Keys, func(a, b Key) int { return b.CreatedAt.Compare(a.CreatedAt) }) {
			t.Error("the newest is not first")
		}
		for _, key := range set.Keys {
			if found, ok := set.Find(key.ID); !ok || !found.Secret.Equal(key.Secret) || len(found.Material()) != 32 {
				t.Error("a key cannot be used")
			}
		}
		if _, ok := set.Sealing(start()); !ok {
			t.Error("no key to seal with")
		}
		written, err := set.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		same(t, again, set)
		Rotate(set, start())
	})
}
