// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// One application's events are read one after the other, a few applications' at a time, and strangers' not at all.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		prepared := func() *preparedVerifier {
			v, err := NewVerifier(&v1alpha1.WebhookSpec{
				WebhookSignature: v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookBodyHMAC}, ConnectionID: "$.id",
			})
			if err != nil {
				t.Fatal(err)
			}
			return &preparedVerifier{verifier: v, reading: make(chan struct{}, 1)}
		}
		mac := hmac.New(sha256.New, []byte("secret"))
		mac.Write([]byte("{}"))
		signed := Request{Header: http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}}, Body: []byte("{}")}
		var read atomic.Int64
		verify := func(p *preparedVerifier) {
			if _, err := h.verify(t.Context(), p, sensitive.New("secret"), signed); err != nil {
				t.Error(err)
			}
			read.Add(1)
		}
		wants := func(reason string, want int64) {
			t.Helper()
			synctest.Wait()
			if got := read.Load(); got != want {
				t.Errorf("%s: %d events read, want %d", reason, got, want)
			}
		}

		busy, free := prepared(), prepared()
		busy.reading <- struct{}{}
		go verify(busy)
		go verify(free)
		wants("an application's event waits for its earlier one, and for nobody else's", 1)
		<-busy.reading
		wants("its turn has come", 2)

		for range cap(h.reading) {
			h.reading <- struct{}{}
		}
		go verify(free)
		wants("all readers are busy", 2)
		if _, err := h.verify(t.Context(), free, sensitive.New("guess"), signed); !errors.Is(err, ErrForged) {
			t.Errorf("a stranger waits for a turn: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.verify(ctx, prepared(), sensitive.New("secret"), signed); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waits for the answer: %v", err)
		}
		<-h.reading
		wants("a reader is free", 3)
		if len(free.reading) != 0 || len(h.reading) != cap(h.reading)-1 {
			t.Errorf("turns were not given back: %d, %d", len(free.reading), len(h.reading))
		}
	})
}
