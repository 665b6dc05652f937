// SPDX-License-Identifier: Apache-2.0

package api

import "testing"

// row is one thing that the API's description promises.
type row struct {
	name string
	test func(*testing.T, *world)
}

// TestAPI holds the process to the API's description. At the end, when the processes have ended, nothing secret is in what they
// have logged.
func TestAPI(t *testing.T) {
	w := newWorld(t)
	t.Run("calls", func(t *testing.T) {
		for _, r := range [][]row{{{"openapi.json lists the calls", documented}}, whoRows(), listRows(), connectRows(), connectionRows()} {
			for _, r := range r {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					r.test(t, w)
				})
			}
		}
	})
	w.stop(t)
}
