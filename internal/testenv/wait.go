// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const pollInterval = 25 * time.Millisecond

// Wait calls condition every 25 ms until it returns nil. When ctx ends first, the last error of condition is returned.
func Wait(ctx context.Context, condition func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// Eventually fails the test with the last error of condition when that has not returned nil within timeout.
func Eventually(t testing.TB, timeout time.Duration, condition func() error) {
	t.Helper()
	// Without the cancellation of the test's context, so that it serves in cleanups too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	if err := Wait(ctx, condition); err != nil {
		t.Fatalf("not within %s: %v", timeout, err)
	}
}

// Consistently fails the test as soon as condition returns an error within duration.
func Consistently(t testing.TB, duration time.Duration, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), duration)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if err := condition(); err != nil {
			t.Fatalf("not for %s: %v", duration, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
