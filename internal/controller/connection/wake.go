// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Priorities of passes; the queue's default is 0, and -100 for what is listed at start.
const (
	// priorityCode is for codes: they live for a minute or less.
	priorityCode = 100
	// prioritySoon is for passes that a call has made necessary: its token waits to be published.
	prioritySoon = 50
)

// waker puts connections into the controller's queue from outside its watches.
type waker struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// start is a source that watches nothing and learns the queue.
func (w *waker) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	return nil
}

// wake asks for a pass soon.
func (w *waker) wake(name types.NamespacedName) {
	add(w.current(), name, prioritySoon)
}

// wakeForCode asks for a pass ahead of all others: a code has become a token.
func (w *waker) wakeForCode(name types.NamespacedName) {
	add(w.current(), name, priorityCode)
}

func (w *waker) wakeAfter(name types.NamespacedName, delay time.Duration) {
	if queue := w.current(); queue != nil {
		queue.AddAfter(reconcile.Request{NamespacedName: name}, delay)
	}
}

func (w *waker) current() workqueue.TypedRateLimitingInterface[reconcile.Request] {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue
}

func add(queue workqueue.TypedRateLimitingInterface[reconcile.Request], name types.NamespacedName, priority int) {
	request := reconcile.Request{NamespacedName: name}
	switch q := queue.(type) {
	case nil:
	case priorityqueue.PriorityQueue[reconcile.Request]:
		q.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
	default:
		q.Add(request)
	}
}
