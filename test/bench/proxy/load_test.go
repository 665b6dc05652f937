// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// load is a number of callers, each of which asks again as soon as it has an answer.
type load struct {
	callers  int
	duration time.Duration
	// path is added to the address of each proxy; size is what the answer's body holds.
	path string
	size int64
}

// measured is what a load has shown.
type measured struct {
	perSecond float64
	p50, p99  time.Duration
}

// target is one of the servers that are compared.
type target struct {
	name, base, authorization string
}

// run puts a load on a target. A wrong answer is an error.
func (l load) run(ctx context.Context, at target) (measured, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: l.callers, DisableCompression: true}
	defer transport.CloseIdleConnections()
	if _, err := l.ask(ctx, transport, at); err != nil { // Connections and caches are warm.
		return measured{}, fmt.Errorf("%s: %w", at.name, err)
	}
	var group sync.WaitGroup
	times, failures := make([][]time.Duration, l.callers), make([]error, l.callers)
	began := time.Now()
	for i := range l.callers {
		group.Go(func() {
			for time.Since(began) < l.duration && failures[i] == nil {
				took, err := l.ask(ctx, transport, at)
				times[i], failures[i] = append(times[i], took), err
			}
		})
	}
	group.Wait()
	elapsed := time.Since(began)
	if err := errors.Join(failures...); err != nil {
		return measured{}, fmt.Errorf("%s: %w", at.name, err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(times...)))
	const hundred = 100
	return measured{
		perSecond: float64(len(all)) / elapsed.Seconds(), p50: all[len(all)/2], p99: all[min(len(all)*99/hundred, len(all)-1)],
	}, nil
}

func (l load) ask(ctx context.Context, transport http.RoundTripper, at target) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.base+l.path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", at.authorization)
	began := time.Now()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	read, err := io.Copy(io.Discard, response.Body)
	took := time.Since(began)
	if err == nil && (response.StatusCode != http.StatusOK || read != l.size) {
		err = fmt.Errorf("%s with %d bytes", response.Status, read)
	}
	return took, err
}
