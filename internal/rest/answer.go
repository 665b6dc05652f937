// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"net/http"
	"sync"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// answer remembers the status of an answer, and whether it is an error of the API's own.
type answer struct {
	http.ResponseWriter
	status int
	code   problem.Code
}

// WriteHeader implements http.ResponseWriter. Informational answers come before the one that counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		a.status, a.code = status, problem.Code(a.Header().Get(problem.Header))
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(content []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(content)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// final is the status that the caller got; 0: none, because the connection was cut.
func (a *answer) final(aborted bool) int {
	if a.status == 0 && !aborted {
		return http.StatusOK
	}
	return a.status
}

// running counts requests that are being answered, and what they leave to be done, so that the process ends after the last one has
// been told of in the log.
type running struct {
	mutex sync.Mutex
	count int
	// idle is closed when count comes to 0 after somebody has begun to wait.
	idle chan struct{}
}

func (r *running) begin() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.count++
}

func (r *running) end() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.count--
	if r.count == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// background runs what no caller waits for. The process does, for a while.
func (r *running) background(work func()) {
	r.begin()
	go func() {
		defer r.end()
		work()
	}()
}

// wait returns when no request is being answered, or when ctx ends.
func (r *running) wait(ctx context.Context) {
	r.mutex.Lock()
	if r.count == 0 {
		r.mutex.Unlock()
		return
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mutex.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
