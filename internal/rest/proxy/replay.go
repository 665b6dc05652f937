// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// maxReplayed is how much of a body is kept to be sent again, in bytes.
const maxReplayed = 64 << 10

// errGone ends the reader of an attempt that is over, or that can no longer be given what it has not seen.
var errGone = errors.New("the body belongs to another attempt")

// buffers are for bodies that are kept, and for copying.
type buffers struct{ pool sync.Pool }

// newBuffers makes a pool of buffers of a size in bytes.
func newBuffers(size int) *buffers {
	return &buffers{pool: sync.Pool{New: func() any {
		buffer := make([]byte, size)
		return &buffer
	}}}
}

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return nil
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// replay is a caller's body for several attempts. It keeps the first 64 KiB; while no more has been read, an attempt can begin
// anew, even when the one before it is still blocked in reading.
//
//	attempt 1   [kept: read again by attempt 2] → the caller's body
//	attempt 2   [kept ..........................] → the caller's body, from where attempt 1 left it
type replay struct {
	body    io.Reader
	pool    *buffers
	trailer http.Header // the caller's, filled when body has ended
	watch   *watch

	mu   sync.Mutex
	cond sync.Cond
	kept []byte // with the capacity of a buffer of the pool
	// total is how much of body has been read.
	total int64
	// lost : more was read than is kept.
	lost bool
	// reading : somebody is blocked in body. It is written under the mutex, and read without it too.
	reading atomic.Bool
	// held : nobody begins to read from body.
	held bool
	// over : nobody reads from body any more.
	over bool
	// err is how body ended.
	err error
}

// newReplay keeps a body in buffers of at least maxReplayed bytes.
func newReplay(body io.Reader, trailer http.Header, pool *buffers, watch *watch) *replay {
	r := &replay{body: body, pool: pool, trailer: trailer, watch: watch}
	r.cond.L = &r.mu
	return r
}

// rewindable tells whether another attempt can send the body from its beginning.
func (r *replay) rewindable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.canRewind()
}

func (r *replay) canRewind() bool { return !r.lost && (r.err == nil || errors.Is(r.err, io.EOF)) }

// hold keeps what can be sent again as it is until release: an attempt that goes on reading would use it up. It tells whether
// another attempt can send the body.
func (r *replay) hold() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = r.canRewind()
	return r.held
}

func (r *replay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = false
	r.cond.Broadcast()
}

// failed returns how reading the caller's body failed; nil: it did not.
func (r *replay) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// stuck tells whether somebody waits for the caller's body. It takes no lock.
func (r *replay) stuck() bool {
	return r.reading.Load()
}

// read returns how much of the body the caller has sent.
func (r *replay) read() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// close ends all readers. interrupt is called when one is blocked in the caller's body, and says whether it has ended that: then
// close waits for it, so that nobody reads from the body afterwards.
func (r *replay) close(interrupt func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.cond.Broadcast()
	if r.reading.Load() && interrupt() {
		for r.reading.Load() {
			r.cond.Wait()
		}
	}
	if r.kept != nil && !r.reading.Load() {
		r.pool.Put(r.kept[:cap(r.kept)])
	}
	r.kept = nil
}

// open returns the body from its beginning for one attempt. trailer is what to fill when it has ended; it may be nil.
func (r *replay) open(trailer http.Header) *replayReader {
	return &replayReader{replay: r, trailer: trailer}
}

// replayReader is the body of one attempt.
type replayReader struct {
	*replay
	trailer http.Header
	// offset and closed are guarded by the replay's mutex.
	offset int64
	closed bool
}

// Read implements io.Reader. It is called by one goroutine.
func (r *replayReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.closed || r.over:
			return 0, errGone
		case r.offset < int64(len(r.kept)):
			n := copy(p, r.kept[r.offset:])
			r.offset += int64(n)
			return n, nil
		case r.offset != r.total:
			return 0, errGone
		case r.err != nil:
			r.endTrailer()
			return 0, r.err
		case r.reading.Load() || r.held:
			r.cond.Wait()
			continue
		}
		if n, err := r.next(p); n > 0 || err != nil {
			return n, err
		}
	}
}

// next reads from the caller. The mutex is held, and free while it waits.
func (r *replayReader) next(p []byte) (int, error) {
	r.reading.Store(true)
	r.mu.Unlock()
	n, err := r.body.Read(p)
	r.mu.Lock()
	r.reading.Store(false)
	r.keep(p[:n])
	r.offset += int64(n)
	r.err = err
	if err != nil {
		r.watch.bodySent()
	} else {
		r.watch.touch()
	}
	r.cond.Broadcast()
	if r.over {
		return 0, errGone
	}
	if err != nil {
		r.endTrailer()
	}
	return n, err
}

func (r *replay) keep(p []byte) {
	r.total += int64(len(p))
	switch {
	case len(p) == 0 || r.lost || r.over:
	case len(r.kept)+len(p) > maxReplayed:
		r.lost = true
		if r.kept != nil {
			r.pool.Put(r.kept[:cap(r.kept)])
			r.kept = nil
		}
	default:
		if r.kept == nil {
			r.kept = r.pool.Get()[:0]
		}
		r.kept = append(r.kept, p...)
	}
}

// endTrailer passes the caller's trailers on, as far as they were announced and may pass.
func (r *replayReader) endTrailer() {
	if !errors.Is(r.err, io.EOF) {
		return
	}
	for name := range r.trailer {
		r.trailer[name] = r.replay.trailer[name]
	}
}

// Close implements io.Closer: it ends a wait for another attempt, and never waits itself.
func (r *replayReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.cond.Broadcast()
	return nil
}
