// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/third_party/forked/golang/btree"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Query asks for a page of connections.
type Query struct {
	// Visible says which connections may be seen; nil: all. It is called without a lock, keeps nothing, and gives the same answer
	// for the same connection.
	Visible func(*v1alpha1.OAuthConnection) bool
	// Owner is the user who asks. With it, Visible decides by namespace and owner alone: it is asked once for each namespace, by
	// a connection of which nothing but the namespace is set, and where it says no, only connections of Owner are asked about.
	// Empty: it is asked about each connection.
	Owner string
	// Statuses to list; nil: all.
	Statuses []string
	// Application to list the connections of; zero: all.
	Application types.NamespacedName
	// After is where the last page ended; zero: begin.
	After Cursor
	// Limit is how many connections a page has at most. It is at least 1.
	Limit int
}

// ApplicationQuery asks for a page of applications.
type ApplicationQuery struct {
	// Visible says which applications may be seen; nil: all. It is called without a lock.
	Visible func(*v1alpha1.OAuthApplication) bool
	// Statuses to list; nil: all.
	Statuses []string
	// After is where the last page ended; zero: begin.
	After Cursor
	// Limit is how many applications a page has at most. It is at least 1.
	Limit int
}

// Connections returns a page of connections in the order of their creation. With more, next is where the next page begins.
func (d *Directory) Connections(q Query) (page []*v1alpha1.OAuthConnection, next Cursor, more bool) {
	d.mutex.Lock()
	of := d.connections.all
	if q.Application != (types.NamespacedName{}) {
		of = d.connections.byApplication[q.Application]
	}
	if of == nil {
		d.mutex.Unlock()
		return nil, Cursor{}, false
	}
	view := of.view()
	sight := sight{visible: q.Visible, narrow: q.Visible != nil && q.Owner != ""}
	if sight.narrow {
		sight.owner = d.connections.owners.look(q.Owner)
		sight.namespaces = make([]verdict, d.connections.namespaces.last+1)
	}
	d.mutex.Unlock()
	return pageOf(view, q.After, q.Limit, q.Statuses, sight.sees)
}

// Applications returns a page of applications in the order of their creation. With more, next is where the next page begins.
func (d *Directory) Applications(q ApplicationQuery) (page []*v1alpha1.OAuthApplication, next Cursor, more bool) {
	d.mutex.Lock()
	view := d.applications.all.view()
	d.mutex.Unlock()
	return pageOf(view, q.After, q.Limit, q.Statuses, func(i item[v1alpha1.OAuthApplication]) bool {
		return q.Visible == nil || q.Visible(i.object)
	})
}

// pageOf returns the first items after a cursor that have one of the statuses and are seen.
func pageOf[T any](
	view *btree.BTree[item[T]], after Cursor, limit int, statuses []string, sees func(item[T]) bool,
) (page []*T, next Cursor, more bool) {
	wanted := anyStatus
	if statuses != nil {
		wanted = statusOf(statuses...)
	}
	limit = max(limit, 1)
	last := item[T]{created: after.created, uid: after.uid}
	view.AscendGreaterOrEqual(last, func(i item[T]) bool {
		if i.status&wanted == 0 || (i.uid == after.uid && i.created == after.created) || !sees(i) {
			return true
		}
		if len(page) == limit {
			more = true
			return false
		}
		page, last = append(page, i.object), i
		return true
	})
	if more {
		next = Cursor{created: last.created, uid: last.uid}
	}
	return page, next, more
}

// verdict is whether the connections of a namespace are seen, once that was asked.
type verdict uint8

const (
	notAsked verdict = iota
	seen
	unseen
)

// sight is what one caller sees.
type sight struct {
	visible func(*v1alpha1.OAuthConnection) bool
	// narrow : visible decides by namespace and owner alone.
	narrow bool
	// owner is the caller's number among the owners; 0: it owns nothing.
	owner uint32
	// namespaces holds verdicts by the number of a namespace.
	namespaces []verdict
	// probe is what visible is asked about in place of a whole namespace.
	probe v1alpha1.OAuthConnection
}

func (s *sight) sees(i item[v1alpha1.OAuthConnection]) bool {
	if s.visible == nil {
		return true
	}
	if s.narrow && !s.within(i) {
		return false
	}
	return s.visible(i.object)
}

// within tells whether it is worth asking about a connection itself.
func (s *sight) within(i item[v1alpha1.OAuthConnection]) bool {
	if i.owner != 0 && i.owner == s.owner {
		return true
	}
	verdict := &s.namespaces[i.namespace]
	if *verdict == notAsked {
		*verdict = unseen
		if s.probe.Namespace = i.object.Namespace; s.visible(&s.probe) {
			*verdict = seen
		}
	}
	return *verdict == seen
}
