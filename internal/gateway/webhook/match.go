// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// IndexByApplication is the cache's index of connections by namespace/name of their application. RegisterIndexes adds it.
const IndexByApplication = "webhook.application"

// IndexApplication is the function of IndexByApplication, for connections.
func IndexApplication(object client.Object) []string {
	connection, ok := object.(*v1alpha1.OAuthConnection)
	if !ok {
		return nil
	}
	namespace, name := connection.ApplicationKey()
	return []string{namespace + "/" + name}
}

// RegisterIndexes adds what a Handler finds connections by to a cache that has not been started.
func RegisterIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.OAuthConnection{}, IndexByApplication, IndexApplication); err != nil {
		return fmt.Errorf("index connections by application: %w", err)
	}
	return nil
}

// recipient is a connection that an event is about.
type recipient struct {
	name types.NamespacedName
	uid  types.UID
}

// recipients returns all connections of an application that an event is about, in the order of their names.
func recipients(ctx context.Context, connections client.Reader, application types.NamespacedName, e Event) ([]recipient, error) {
	var list v1alpha1.OAuthConnectionList
	err := connections.List(ctx, &list, client.MatchingFields{IndexByApplication: application.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list the connections of %s: %w", application, err)
	}
	var found []recipient
	for i := range list.Items {
		if c := &list.Items[i]; e.concerns(&c.Status) {
			found = append(found, recipient{types.NamespacedName{Namespace: c.Namespace, Name: c.Name}, c.UID})
		}
	}
	slices.SortFunc(found, func(a, b recipient) int {
		return cmp.Or(cmp.Compare(a.name.Namespace, b.name.Namespace), cmp.Compare(a.name.Name, b.name.Name))
	})
	return found, nil
}

// concerns tells whether an event is about a grant. Where both sides know the grant's own name, that alone decides: other
// grants of the same account live on.
func (e Event) concerns(status *v1alpha1.OAuthConnectionStatus) bool {
	if e.GrantID != "" && status.ID != "" {
		return e.GrantID == status.ID
	}
	return e.Subject != "" && e.Subject == status.Subject
}
