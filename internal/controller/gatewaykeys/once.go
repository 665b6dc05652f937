// SPDX-License-Identifier: Apache-2.0

package gatewaykeys

import (
	"sync"

	"github.com/go-logr/logr"
)

// once logs an error when it is news, and not again while it stays the same. The zero value is ready; it is safe for
// concurrent use.
type once struct {
	mu   sync.Mutex
	last string
}

// err takes the present error; nil: there is none.
func (o *once) err(logger logr.Logger, err error, message string) {
	text := ""
	if err != nil {
		text = message + err.Error()
	}
	o.mu.Lock()
	news := text != o.last
	o.last = text
	o.mu.Unlock()
	if news && err != nil {
		logger.Error(err, message)
	}
}
