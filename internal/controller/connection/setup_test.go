// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestUnwatchedNamespacesAreNotSearched : what the cache does not hold it would call an error, for each namespace that
// somebody creates anywhere in the cluster.
func TestUnwatchedNamespacesAreNotSearched(t *testing.T) {
	r := New(Options{Watched: func(string) bool { return false }}) // Without a client, a search panics.
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}
	if got := append(r.ofNamespace(t.Context(), namespace), r.dependents(t.Context(), "elsewhere/crm")...); len(got) != 0 {
		t.Errorf("%d connections are passed", len(got))
	}
}
