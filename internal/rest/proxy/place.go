// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// maxForms is how many forms that are not small are held at once whose callers' rights are not known yet: each may have maxForm.
	maxForms = 16
	// smallForm is what is read of any form, in bytes: it is not more than a request takes anyway. So callers who send much, or
	// slowly, are in the way of those alone who send much too.
	smallForm = 16 << 10
	// retryForm is when it is worth trying again where no place became free.
	retryForm = time.Second
)

// places are taken by forms that are not small until it is known what their callers may.
type places chan struct{}

// takePlace waits for a place, as long as a form may take.
func (x *exchange) takePlace(ctx context.Context) error {
	select {
	case x.places <- struct{}{}:
		x.placed = true
		return nil
	default:
	}
	x.watch.pause() // It is not the caller who is slow.
	defer x.watch.read()
	timer := x.options.Clock.NewTimer(x.options.FormTimeout)
	defer timer.Stop()
	select {
	case x.places <- struct{}{}:
		x.placed = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C():
		return problem.New(problem.RateLimited,
			"too many requests in JSON with more than %d bytes come at once; send large ones to …/request/{path}", smallForm).After(retryForm)
	}
}

// leavePlace frees the place, if one is taken.
func (x *exchange) leavePlace() {
	if x.placed {
		x.placed = false
		<-x.places
	}
}

// formBody is a form on its way from the caller. Beyond smallForm it is read with a place.
type formBody struct {
	io.Reader
	total int64
	// place takes one. It is called once; then it is nil, or the form is refused.
	place   func() error
	refused error
	// failed : it did not come to its end.
	failed bool
}

// Read implements io.Reader.
func (b *formBody) Read(p []byte) (int, error) {
	if b.place != nil {
		if b.total >= smallForm {
			if b.refused = b.place(); b.refused != nil {
				return 0, b.refused
			}
			b.place = nil
		} else {
			p = p[:min(int64(len(p)), smallForm-b.total)]
		}
	}
	n, err := b.Reader.Read(p)
	b.total += int64(n)
	tooLarge := (*http.MaxBytesError)(nil)
	b.failed = err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &tooLarge)
	return n, err
}
