// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/third_party/forked/golang/btree"
)

const (
	// degree of the trees: up to 63 items in a node.
	degree = 32
	// freeNodes are kept for reuse.
	freeNodes = 64
)

// item is an object at its place in the order, with what lists ask about beside it: a list that leaves most out never touches
// the objects themselves, which are spread over the memory.
type item[T any] struct {
	// created is the time of creation in seconds since 1970: the API server tells no more.
	created int64
	uid     types.UID
	object  *T
	// namespace and owner are the numbers of namespace and counting owner (0: none) of a connection.
	namespace, owner uint32
	status           status
}

// compare is the order: creation time, then UID. Neither changes while the object lives.
func (i item[T]) compare(other item[T]) int {
	return cmp.Or(cmp.Compare(i.created, other.created), cmp.Compare(i.uid, other.uid))
}

// index is items in order. What view returned stays as it was, whatever is put and removed after: nodes are copied on write,
// and only if somebody has looked since.
type index[T any] struct {
	tree *btree.BTree[item[T]]
	seen *btree.BTree[item[T]]
}

// newIndex makes an index. Indexes of a kind share their free nodes.
func newIndex[T any](free *btree.FreeList[item[T]]) *index[T] {
	return &index[T]{tree: btree.NewWithFreeList(degree, func(a, b item[T]) bool { return a.compare(b) < 0 }, free)}
}

func (x *index[T]) put(i item[T]) {
	x.seen = nil
	x.tree.ReplaceOrInsert(i)
}

func (x *index[T]) remove(i item[T]) {
	x.seen = nil
	x.tree.Delete(i)
}

// view returns the items as they are now, to be read without the lock. It writes: it needs the lock for itself.
func (x *index[T]) view() *btree.BTree[item[T]] {
	if x.seen == nil {
		x.seen = x.tree.Clone()
	}
	return x.seen
}
