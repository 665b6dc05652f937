// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"testing"
)

// row is one thing that the API's description promises.
type row struct {
	name string
	test func(*testing.T, *world)
}

// slow are rows that wait for half a minute. They begin at once.
func slow() []row {
	return []row{
		{"POST connect: 202 while the provider is away", connectSlowly},
		{"POST connect: 502 when the provider does not answer", connectUnanswered},
		{"DELETE connection: 202 while the provider does not revoke", deleteSlowly},
		{"401 for a ServiceAccount that was deleted", deletedAccount},
	}
}

// side is the number of other rows at a time.
const side = 14

// TestAPI holds the process to the API's description. At the end, when the processes have ended, nothing secret is in what they
// have logged.
func TestAPI(t *testing.T) {
	w := newWorld(t)
	slots := make(chan struct{}, side)
	rows := [][]row{
		{{"openapi.json lists the calls", documented}},
		connectRows(), connectionRows(), whoRows(), listRows(), proxyRows(), renewalRows(),
	}
	t.Run("calls", func(t *testing.T) {
		for _, r := range slow() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.test(t, w)
			})
		}
		for _, r := range slices.Concat(rows...) {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				r.test(t, w)
			})
		}
	})
	w.stop(t)
	t.Run("what is logged", func(t *testing.T) { logged(t, w) })
}
