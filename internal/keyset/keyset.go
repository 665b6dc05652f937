// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// FileSealing is the name of the file that holds the key set.
const FileSealing = "sealing.json"

// webhookPrefix begins the names of the files that hold webhook secrets.
const webhookPrefix = "webhook-"

// Times of a key, counted from its creation.
const (
	// Spread is how long a new key waits before anything is sealed with it: by then it has reached all gateways.
	Spread = 10 * time.Minute
	// Period is how long a key is the newest.
	Period = 30 * 24 * time.Hour
	// Overlap is how long a key still opens what it sealed after its successor has begun to seal.
	Overlap = 2 * 24 * time.Hour
)

const (
	// idBytes is the length of a key's ID, which is in each state, in bytes; in hexadecimal it is twice as long.
	idBytes = 4
	// secretBytes is the length of a key in bytes.
	secretBytes = 32

	format = 1
	// maxKeys bounds a set. Rotate never has more than a few.
	maxKeys = 16
	// maxContent bounds an encoded set in bytes.
	maxContent = 16 << 10
	// maxSkew is how far ahead the clock of another controller may be.
	maxSkew = time.Hour
)

// WebhookFile is the name of the file that holds the webhook secret of an application, as it is.
func WebhookFile(application types.UID) string { return webhookPrefix + string(application) }

// WebhookApplication returns whose webhook secret a file holds; false: the file is another one.
func WebhookApplication(file string) (types.UID, bool) {
	uid, ok := strings.CutPrefix(file, webhookPrefix)
	return types.UID(uid), ok && uid != ""
}

// Key is one key to seal with.
type Key struct {
	// ID finds the key again; it is no secret: 8 hexadecimal digits.
	ID string
	// CreatedAt is in whole seconds.
	CreatedAt time.Time
	// Secret is the key, 32 random bytes in Base64 (RFC 4648, section 5, without padding). Nothing is sealed with it itself:
	// derive a key for each purpose.
	Secret sensitive.String
}

// Material returns the 32 bytes of the key; nil: it is not one.
func (k Key) Material() []byte {
	material, err := base64.RawURLEncoding.Strict().DecodeString(k.Secret.Reveal())
	if err != nil || len(material) != secretBytes {
		return nil
	}
	return material
}

// newKey makes a key that nobody knows.
func newKey(now time.Time) Key {
	var id [idBytes]byte
	var secret [secretBytes]byte
	_, _ = rand.Read(id[:]) // It never fails: without randomness the process ends.
	_, _ = rand.Read(secret[:])
	return Key{
		ID: hex.EncodeToString(id[:]), CreatedAt: now.UTC().Truncate(time.Second),
		Secret: sensitive.New(base64.RawURLEncoding.EncodeToString(secret[:])),
	}
}

// Set is a set of keys, the newest first. Those of a Source are shared with others: never change them.
type Set struct{ Keys []Key }

// Sealing returns the key to seal with: the newest that has had the time to reach all gateways. Where none has, it is the
// oldest. False: the set is empty.
func (s Set) Sealing(now time.Time) (Key, bool) {
	for _, key := range s.Keys {
		if now.Sub(key.CreatedAt) >= Spread {
			return key, true
		}
	}
	if len(s.Keys) == 0 {
		return Key{}, false
	}
	return s.Keys[len(s.Keys)-1], true
}

// Find returns the key to open with.
func (s Set) Find(id string) (Key, bool) {
	for _, key := range s.Keys {
		if key.ID == id {
			return key, true
		}
	}
	return Key{}, false
}

// NextChange is when Rotate will change the set; zero: at once.
func (s Set) NextChange() time.Time {
	if len(s.Keys) == 0 {
		return time.Time{}
	}
	next := s.Keys[0].CreatedAt.Add(Period)
	for _, successor := range s.Keys[:len(s.Keys)-1] {
		if end := successor.CreatedAt.Add(Spread + Overlap); end.Before(next) {
			next = end
		}
	}
	return next
}

// Rotate adds a key when there is none younger than Period, and drops those whose successor has sealed for Overlap. A key
// from the future was made under a wrong clock and counts as made now. It says whether anything has changed; s stays as it
// is. But for new keys being random, the outcome depends on the arguments alone.
func Rotate(s Set, now time.Time) (next Set, changed bool) {
	keys := slices.Clone(s.Keys)
	for i := range keys {
		if keys[i].CreatedAt.After(now.Add(maxSkew)) {
			keys[i].CreatedAt, changed = now.UTC().Truncate(time.Second), true
		}
	}
	for i := 1; i < len(keys); i++ {
		if !now.Before(keys[i-1].CreatedAt.Add(Spread + Overlap)) {
			keys, changed = keys[:i], true
		}
	}
	if len(keys) == 0 || !now.Before(keys[0].CreatedAt.Add(Period)) {
		fresh := newKey(now)
		for taken := true; taken; {
			if _, taken = (Set{Keys: keys}).Find(fresh.ID); taken {
				fresh = newKey(now)
			}
		}
		keys, changed = slices.Insert(keys, 0, fresh), true
	}
	return Set{Keys: keys}, changed
}

// document is a set as it is stored. Fields may be added within a format.
type document struct {
	Format int         `json:"format"`
	Keys   []storedKey `json:"keys"`
}

type storedKey struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	Secret    string    `json:"secret"`
}

// Parse reads an encoded set; it has at least one key. Errors quote nothing of it.
func Parse(content []byte) (Set, error) {
	var d document
	// The cause of a failure could quote a key.
	if len(content) > maxContent || json.Unmarshal(content, &d) != nil {
		return Set{}, errors.New("not a key set")
	}
	if d.Format != format {
		return Set{}, fmt.Errorf("a key set of format %d, which this version does not know", d.Format)
	}
	set := Set{}
	for _, key := range d.Keys {
		set.Keys = append(set.Keys, Key{
			ID: key.ID, CreatedAt: key.CreatedAt.UTC().Truncate(time.Second), Secret: sensitive.New(key.Secret),
		})
	}
	if err := set.check(); err != nil {
		return Set{}, err
	}
	slices.SortStableFunc(set.Keys, func(a, b Key) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return set, nil
}

// Encode writes a set for Parse. Equal sets give equal bytes. Errors quote nothing of the keys.
func (s Set) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	d := document{Format: format}
	for _, key := range s.Keys {
		d.Keys = append(d.Keys, storedKey{ID: key.ID, CreatedAt: key.CreatedAt.UTC(), Secret: key.Secret.Reveal()})
	}
	content, err := json.Marshal(d)
	if err != nil {
		return nil, errors.New("the key set cannot be written down") // The cause could quote it.
	}
	return content, nil
}

// check says what makes a set unusable.
func (s Set) check() error {
	if len(s.Keys) == 0 || len(s.Keys) > maxKeys {
		return fmt.Errorf("a key set of %d keys; it has 1 to %d", len(s.Keys), maxKeys)
	}
	seen := map[string]bool{}
	for _, key := range s.Keys {
		id, err := hex.DecodeString(key.ID)
		switch {
		case err != nil || len(id) != idBytes || hex.EncodeToString(id) != key.ID:
			return errors.New("a key whose ID is not 8 hexadecimal digits")
		case key.Material() == nil:
			return errors.New("a key that is not 32 bytes in Base64")
		case seen[key.ID]:
			return errors.New("two keys with the same ID")
		}
		seen[key.ID] = true
	}
	return nil
}
