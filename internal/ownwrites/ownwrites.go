// SPDX-License-Identifier: Apache-2.0

// Package ownwrites tells whether a cache has caught up with what this process wrote, so that no pass decides on a view
// that it has overtaken itself: such a pass would only earn a conflict.
package ownwrites

import (
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Versions remembers the newest version that this process wrote of each object. The zero value is ready; it is safe for
// concurrent use. An object costs memory until Forget.
type Versions struct {
	mu       sync.Mutex
	versions map[types.UID]uint64
}

// Wrote remembers an object as the API server answered a write of it.
func (v *Versions) Wrote(object metav1.Object) {
	version, ok := versionOf(object)
	if !ok {
		return // Then a stale pass costs a conflict.
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.versions == nil {
		v.versions = map[types.UID]uint64{}
	}
	v.versions[object.GetUID()] = max(version, v.versions[object.GetUID()])
}

// Visible tells whether an object from a cache is at least as new as the newest own write of it.
func (v *Versions) Visible(object metav1.Object) bool {
	version, ok := versionOf(object)
	v.mu.Lock()
	defer v.mu.Unlock()
	return !ok || version >= v.versions[object.GetUID()]
}

// Newest tells whether an object is exactly as this process wrote it last, so that news of it are none.
func (v *Versions) Newest(object metav1.Object) bool {
	version, ok := versionOf(object)
	v.mu.Lock()
	defer v.mu.Unlock()
	return ok && version == v.versions[object.GetUID()]
}

// Forget frees what is remembered of an object that is gone.
func (v *Versions) Forget(uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.versions, uid)
}

// versionOf reads a resource version: the API server promises numbers that grow over the life of an object.
func versionOf(object metav1.Object) (uint64, bool) {
	version, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	return version, err == nil && object.GetUID() != ""
}
