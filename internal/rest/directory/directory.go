// SPDX-License-Identifier: Apache-2.0

// Package directory holds what the informers know of both kinds as sorted indexes, so that lists and look-ups cost the API
// server nothing. Its objects are shared: nobody may change them. Who may see them is asked elsewhere.
package directory

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/third_party/forked/golang/btree"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/hub"
)

// maxWaiting bounds how many wait for connections at once. Each of them is a request that is being served.
const maxWaiting = 1 << 16

// Directory is connections and applications in the order of their creation. It can be used by many at once.
type Directory struct {
	// mutex guards all that follows. Nothing foreign is called while it is held.
	mutex        sync.RWMutex
	connections  connections
	applications kind[v1alpha1.OAuthApplication]

	hub *hub.Hub
}

// New makes an empty directory. Its handlers fill it.
func New() *Directory {
	return &Directory{
		connections: newConnections(), applications: newKind[v1alpha1.OAuthApplication](), hub: hub.New(maxWaiting),
	}
}

// ConnectionHandler takes the events of the informer of connections.
func (d *Directory) ConnectionHandler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.holdConnection(object) },
		UpdateFunc: func(_, object any) { d.holdConnection(object) },
		DeleteFunc: d.dropConnection,
	}
}

// ApplicationHandler takes the events of the informer of applications.
func (d *Directory) ApplicationHandler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { d.holdApplication(object) },
		UpdateFunc: func(_, object any) { d.holdApplication(object) },
		DeleteFunc: d.dropApplication,
	}
}

func (d *Directory) holdConnection(object any) {
	connection, ok := object.(*v1alpha1.OAuthConnection)
	if !ok {
		return
	}
	d.mutex.Lock()
	replaced := d.connections.hold(connection)
	d.mutex.Unlock()
	if replaced != nil && replaced.UID != connection.UID {
		d.hub.Notify(replaced.UID) // Deleted and made anew while nobody watched.
	}
	d.hub.Notify(connection.UID)
}

func (d *Directory) dropConnection(object any) {
	name, ok := nameOf(object)
	if !ok {
		return
	}
	d.mutex.Lock()
	dropped := d.connections.drop(name)
	d.mutex.Unlock()
	if dropped != nil {
		d.hub.Notify(dropped.UID)
	}
}

func (d *Directory) holdApplication(object any) {
	application, ok := object.(*v1alpha1.OAuthApplication)
	if !ok {
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.applications.hold(types.NamespacedName{Namespace: application.Namespace, Name: application.Name}, applicationItem(application))
}

func (d *Directory) dropApplication(object any) {
	name, ok := nameOf(object)
	if !ok {
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.applications.drop(name)
}

// nameOf returns the name of a deleted object. An informer that has missed the deletion gives the key, and what it last knew.
func nameOf(object any) (types.NamespacedName, bool) {
	key, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return types.NamespacedName{}, false
	}
	namespace, name, ok := strings.Cut(key, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

// Application returns an application by its UID, or nil.
func (d *Directory) Application(uid types.UID) *v1alpha1.OAuthApplication {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return d.applications.byUID[uid]
}

// ApplicationNamed returns an application by its name, or nil.
func (d *Directory) ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return d.applications.byName[name].object
}

// Connection returns a connection by its UID, or nil.
func (d *Directory) Connection(uid types.UID) *v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return d.connections.byUID[uid]
}

// ConnectionNamed returns a connection by its name, or nil.
func (d *Directory) ConnectionNamed(name types.NamespacedName) *v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return d.connections.byName[name].object
}

// WithProviderID returns the connections that providers call so (status.id), in order.
func (d *Directory) WithProviderID(id string) []*v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return slices.Clone(d.connections.byProviderID[id])
}

// OwnedBy returns the connections of a user in order. An owner counts only in the application's own namespace.
func (d *Directory) OwnedBy(user string) []*v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return slices.Clone(d.connections.byOwner[user])
}

// HeldAt returns, in order, the connections of an application in its own namespace that belong to a user, or with an empty
// owner the shared ones.
func (d *Directory) HeldAt(application types.NamespacedName, owner string) []*v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return slices.Clone(d.connections.byHolder[holder{application, application.Namespace, owner}])
}

// HeldIn returns, in order, the connections of an application in another namespace than its own, where owners do not count.
func (d *Directory) HeldIn(application types.NamespacedName, namespace string) []*v1alpha1.OAuthConnection {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	return slices.Clone(d.connections.byHolder[holder{application, namespace, ""}])
}

// Namespaces returns the namespaces that hold connections, sorted.
func (d *Directory) Namespaces() []string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.connections.namespaces.sorted()
}

// Subscribe returns a channel that tells of each change of a connection from now on, several as one, and of its deletion. The
// directory has the change already. release must be called. When too many wait, the channel never tells anything.
func (d *Directory) Subscribe(uid types.UID) (changes <-chan struct{}, release func()) {
	changes, release, _ = d.hub.Subscribe(uid)
	return changes, release
}

// kind is the objects of one kind.
type kind[T any] struct {
	byUID  map[types.UID]*T
	byName map[types.NamespacedName]item[T]
	all    *index[T]
}

func newKind[T any]() kind[T] {
	return kind[T]{
		byUID: map[types.UID]*T{}, byName: map[types.NamespacedName]item[T]{}, all: newIndex(btree.NewFreeList[item[T]](freeNodes)),
	}
}

// hold puts an object in the place of the one of that name.
func (k *kind[T]) hold(name types.NamespacedName, next item[T]) {
	k.drop(name)
	k.byUID[next.uid] = next.object
	k.byName[name] = next
	k.all.put(next)
}

// drop removes the object of that name.
func (k *kind[T]) drop(name types.NamespacedName) (dropped item[T], held bool) {
	dropped, held = k.byName[name]
	if !held {
		return dropped, false
	}
	delete(k.byUID, dropped.uid)
	delete(k.byName, name)
	k.all.remove(dropped)
	return dropped, true
}
