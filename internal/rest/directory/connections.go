// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/third_party/forked/golang/btree"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// holder is who has a connection at an application: a user, or everybody of a namespace.
type holder struct {
	application types.NamespacedName
	// namespace of the connection.
	namespace string
	// owner is empty for what is shared, and always in other namespaces than the application's.
	owner string
}

func holderOf(connection *v1alpha1.OAuthConnection) holder {
	h := holder{application: applicationName(connection), namespace: connection.Namespace}
	if h.namespace == h.application.Namespace {
		h.owner = connection.Spec.Owner
	}
	return h
}

// connections is the connections and their indexes.
type connections struct {
	kind[v1alpha1.OAuthConnection]
	byApplication map[types.NamespacedName]*index[v1alpha1.OAuthConnection]
	free          *btree.FreeList[item[v1alpha1.OAuthConnection]]

	byOwner      lists[string]
	byHolder     lists[holder]
	byProviderID lists[string]

	namespaces, owners numbers
}

func newConnections() connections {
	return connections{
		kind:          newKind[v1alpha1.OAuthConnection](),
		byApplication: map[types.NamespacedName]*index[v1alpha1.OAuthConnection]{},
		free:          btree.NewFreeList[item[v1alpha1.OAuthConnection]](freeNodes),
		byOwner:       lists[string]{}, byHolder: lists[holder]{}, byProviderID: lists[string]{},
		namespaces: newNumbers(), owners: newNumbers(),
	}
}

// hold puts a connection in the place of the one of its name, which it returns.
func (c *connections) hold(connection *v1alpha1.OAuthConnection) (replaced *v1alpha1.OAuthConnection) {
	name := types.NamespacedName{Namespace: connection.Namespace, Name: connection.Name}
	replaced = c.drop(name)
	next := item[v1alpha1.OAuthConnection]{
		created: connection.CreationTimestamp.Unix(), uid: connection.UID, object: connection,
		namespace: c.namespaces.take(connection.Namespace), status: statusOf(Status(connection)),
	}
	held := holderOf(connection)
	application := held.application
	if held.owner != "" {
		next.owner = c.owners.take(held.owner)
		c.byOwner.put(held.owner, connection)
	}
	c.byHolder.put(held, connection)
	if connection.Status.ID != "" {
		c.byProviderID.put(connection.Status.ID, connection)
	}
	if c.byApplication[application] == nil {
		c.byApplication[application] = newIndex(c.free)
	}
	c.byApplication[application].put(next)
	c.kind.hold(name, next)
	return replaced
}

// drop removes the connection of that name and returns it, or nil.
func (c *connections) drop(name types.NamespacedName) *v1alpha1.OAuthConnection {
	gone, held := c.kind.drop(name)
	if !held {
		return nil
	}
	connection, by := gone.object, holderOf(gone.object)
	application := by.application
	c.namespaces.release(connection.Namespace)
	if by.owner != "" {
		c.owners.release(by.owner)
		c.byOwner.remove(by.owner, connection)
	}
	c.byHolder.remove(by, connection)
	if connection.Status.ID != "" {
		c.byProviderID.remove(connection.Status.ID, connection)
	}
	of := c.byApplication[application]
	of.remove(gone)
	if of.tree.Len() == 0 {
		delete(c.byApplication, application)
	}
	return connection
}

func applicationName(connection *v1alpha1.OAuthConnection) types.NamespacedName {
	namespace, name := connection.ApplicationKey()
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// lists are short lists of connections in order: most have one entry, and paging is not for them.
type lists[K comparable] map[K][]*v1alpha1.OAuthConnection

func (l lists[K]) put(key K, connection *v1alpha1.OAuthConnection) {
	list := l[key]
	at, held := slices.BinarySearchFunc(list, connection, before)
	if held {
		list[at] = connection
		return
	}
	l[key] = slices.Insert(list, at, connection)
}

func (l lists[K]) remove(key K, connection *v1alpha1.OAuthConnection) {
	list := l[key]
	at, held := slices.BinarySearchFunc(list, connection, before)
	if !held {
		return
	}
	if len(list) == 1 {
		delete(l, key)
		return
	}
	l[key] = slices.Delete(list, at, at+1)
}

// before is the order of items.
func before(a, b *v1alpha1.OAuthConnection) int {
	return cmp.Or(cmp.Compare(a.CreationTimestamp.Unix(), b.CreationTimestamp.Unix()), cmp.Compare(a.UID, b.UID))
}

// numbers gives each name that is in use a small number from 1 on, so that lists compare numbers in place of names.
type numbers struct {
	of   map[string]*number
	free []uint32
	// last is the highest number that was given.
	last uint32
	// names are all names, sorted; nil: to be made anew.
	names []string
}

type number struct {
	value uint32
	uses  int
}

func newNumbers() numbers { return numbers{of: map[string]*number{}} }

// take returns the name's number, which stays until it is released as often as it was taken.
func (n *numbers) take(name string) uint32 {
	if known := n.of[name]; known != nil {
		known.uses++
		return known.value
	}
	made := &number{uses: 1}
	if end := len(n.free); end > 0 {
		made.value, n.free = n.free[end-1], n.free[:end-1]
	} else {
		n.last++
		made.value = n.last
	}
	n.of[name], n.names = made, nil
	return made.value
}

func (n *numbers) release(name string) {
	known := n.of[name]
	if known.uses--; known.uses == 0 {
		delete(n.of, name)
		n.free, n.names = append(n.free, known.value), nil
	}
}

// sorted returns all names. It writes: it needs the lock for itself.
func (n *numbers) sorted() []string {
	if n.names == nil {
		n.names = slices.Sorted(maps.Keys(n.of))
	}
	return slices.Clone(n.names)
}

// look returns the number of a name, 0 if it has none.
func (n *numbers) look(name string) uint32 {
	if known := n.of[name]; known != nil {
		return known.value
	}
	return 0
}
