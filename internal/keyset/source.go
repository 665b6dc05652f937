// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Source is where a gateway has its keys from.
type Source interface {
	// Keys returns the present key set, which is empty while Ready returns an error.
	Keys() Set
	// WebhookSecret returns the webhook secret of an application; false: there is none.
	WebhookSecret(application types.UID) (sensitive.String, bool)
	// Ready says why there are no keys; nil: there are.
	Ready() error
}

// WebhooksOff tells whether a source can have no webhook secrets at all.
func WebhooksOff(s Source) bool {
	off, ok := s.(interface{ WebhooksOff() bool })
	return ok && off.WebhooksOff()
}

// Ephemeral returns a source with one key of this process's own, for one gateway alone: no other opens what it seals, and
// nor does itself after a restart. It has no webhook secrets.
func Ephemeral() Source { return ephemeral{Set{Keys: []Key{newKey(time.Time{})}}} }

type ephemeral struct{ set Set }

func (e ephemeral) Keys() Set { return e.set }

func (ephemeral) WebhookSecret(types.UID) (sensitive.String, bool) { return sensitive.String{}, false }

func (ephemeral) Ready() error { return nil }

// WebhooksOff is for the function of the same name.
func (ephemeral) WebhooksOff() bool { return true }
