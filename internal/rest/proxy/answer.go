// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"net/http"

	"github.com/oauth-operator/oauth-operator/internal/redact"
)

// answerBody is the provider's body on its way to the caller.
type answerBody struct {
	io.ReadCloser
	exchange *exchange
	response *http.Response
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.exchange.Received += int64(n)
	b.exchange.watch.touch()
	switch {
	case errors.Is(err, io.EOF):
		b.exchange.complete = true
	case err != nil && !b.exchange.callerGone():
		b.exchange.Cause = redact.Error(err, b.exchange.secrets()...)
	}
	return n, err
}

// Close implements io.Closer. Trailers are known then, those too that were not announced.
func (b *answerBody) Close() error {
	err := b.ReadCloser.Close()
	without(b.response.Trailer, keptFromCaller)
	return err
}
