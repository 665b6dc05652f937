// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
)

const host = "api.example.com"

func keyOf(connection string) traffic.Key {
	return traffic.Key{Application: "application", Connection: types.UID("connection-" + connection), Host: host}
}

// wide are limits that none of these tests reaches.
func wide() traffic.Limits { return traffic.LimitsOf(nil) }

// attempt is a call of Enter.
type attempt struct {
	leave func(traffic.Outcome)
	err   error
	// waited is how long it took.
	waited time.Duration
}

func enter(ctx context.Context, g *traffic.Gate, key traffic.Key, limits traffic.Limits) attempt {
	begun := time.Now()
	leave, err := g.Enter(ctx, key, limits)
	return attempt{leave: leave, err: err, waited: time.Since(begun)}
}

// entered is enter for what must not fail.
func entered(t *testing.T, g *traffic.Gate, key traffic.Key, limits traffic.Limits) attempt {
	t.Helper()
	a := enter(t.Context(), g, key, limits)
	if a.err != nil {
		t.Fatalf("refused after %s: %v", a.waited, a.err)
	}
	return a
}

// begin calls Enter in the background, and returns when it has an answer or waits.
func begin(ctx context.Context, g *traffic.Gate, key traffic.Key, limits traffic.Limits) <-chan attempt {
	result := make(chan attempt, 1)
	go func() { result <- enter(ctx, g, key, limits) }()
	synctest.Wait()
	return result
}

// waits fails unless Enter has not returned.
func waits(t *testing.T, pending <-chan attempt) {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-pending:
		t.Fatalf("it did not wait: %v after %s", a.err, a.waited)
	default:
	}
}

// came returns the result that must be there by now.
func came(t *testing.T, pending <-chan attempt) attempt {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-pending:
		return a
	default:
		t.Fatal("it still waits")
		return attempt{}
	}
}

// refused fails unless it was refused so, with that Retry-After.
func refused(t *testing.T, a attempt, code problem.Code, after time.Duration) {
	t.Helper()
	p, ok := errors.AsType[*problem.Error](a.err)
	if !ok || p.Code != code || p.RetryAfter != after {
		t.Fatalf("error %v, want %s after %s", a.err, code, after)
	}
	if a.leave != nil {
		t.Error("a refused request has nothing to leave")
	}
}

func near(got, want time.Duration) bool { return (got - want).Abs() < time.Millisecond }

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}
