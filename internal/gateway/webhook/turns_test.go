// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
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

// present is a Source that is ready, and has no secrets.
type present struct{ keyset.Source }

func (present) Ready() error { return nil }

// counted is a Counter that counts nothing.
type counted struct{}

func (counted) Webhook(metrics.WebhookResult) {}
func (counted) Limited(metrics.Limit)         {}

// However many large bodies strangers send, no more than a few are in memory, and small events do not wait for them.
func TestLargeBodiesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Keys: present{}, Counter: counted{}, Reader: fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build()})
		post := func(length int64, body io.Reader) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/platform/crm", body)
			r.ContentLength = length
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			return answer
		}
		slow, fast := io.Pipe()
		for i := range largeBodies {
			length := int64(smallBody + 1)
			if i%2 == 0 {
				length = -1 // It does not say.
			}
			go post(length, slow)
		}
		synctest.Wait()
		if len(h.large) != largeBodies {
			t.Fatalf("%d large bodies are read, want %d", len(h.large), largeBodies)
		}
		for _, length := range []int64{-1, smallBody + 1, maxBody} {
			if answer := post(length, slow); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
				t.Errorf("one more of %d bytes: status %d, %v", length, answer.Code, answer.Header())
			}
		}
		if answer := post(2, strings.NewReader("{}")); answer.Code == http.StatusServiceUnavailable {
			t.Error("a small event waits for large ones")
		}
		if answer := post(maxBody+1, slow); answer.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("a giant waits for its turn, or is read: status %d", answer.Code)
		}
		waits := make(chan int)
		go func() { waits <- post(-1, strings.NewReader("{}")).Code }()
		synctest.Wait()
		if err := fast.CloseWithError(io.ErrUnexpectedEOF); err != nil {
			t.Fatal(err)
		}
		if status := <-waits; status == http.StatusServiceUnavailable {
			t.Error("there is room again, and one that has waited is refused")
		}
		synctest.Wait()
		if len(h.large) != 0 {
			t.Errorf("%d turns were not given back", len(h.large))
		}
	})
}
