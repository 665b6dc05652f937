// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"

	"k8s.io/utils/lru"
)

// DefaultPoolSize is enough CA bundles for any installation known; one more costs a parsed bundle.
const DefaultPoolSize = 128

// TransportPool keeps one guarded transport for each CA bundle, up to a number of bundles; beyond it the one that was
// used longest ago is dropped, and made anew when it is needed. Safe for concurrent use.
type TransportPool struct {
	guard *Guard
	mu    sync.Mutex // held from looking up to adding, so that a bundle never gets two transports
	cache *lru.Cache
}

// NewTransportPool makes a pool for at most size bundles; 0 means DefaultPoolSize.
func NewTransportPool(guard *Guard, size int) *TransportPool {
	if size <= 0 {
		size = DefaultPoolSize
	}
	return &TransportPool{guard: guard, cache: lru.New(size)}
}

// Fingerprint identifies a CA bundle: the hexadecimal SHA-256 of its bytes, empty for none (the system's roots).
func Fingerprint(bundle []byte) string {
	if len(bytes.TrimSpace(bundle)) == 0 {
		return ""
	}
	sum := sha256.Sum256(bundle)
	return hex.EncodeToString(sum[:])
}

// ForCA returns the transport that trusts the PEM certificates of the bundle and no others; an empty bundle means the
// system's roots. The error says what is wrong with the bundle and never repeats its bytes.
func (p *TransportPool) ForCA(bundle []byte) (http.RoundTripper, error) {
	key := Fingerprint(bundle)
	p.mu.Lock()
	defer p.mu.Unlock()
	if cached, ok := p.cache.Get(key); ok {
		if transport, ok := cached.(*http.Transport); ok {
			return transport, nil
		}
	}
	var roots *x509.CertPool
	if key != "" {
		parsed, err := parseBundle(bundle)
		if err != nil {
			return nil, err
		}
		roots = parsed
	}
	transport := p.guard.Transport(roots)
	p.cache.Add(key, transport)
	return transport, nil
}

// parseBundle is stricter than x509's own reader, which skips what it cannot read: half a bundle would be found out only
// when a provider renews its certificate.
func parseBundle(bundle []byte) (*x509.CertPool, error) {
	roots, count := x509.NewCertPool(), 0
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the CA bundle holds a PEM block of type %q; only CERTIFICATE is allowed", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the CA bundle: %w", count+1, err)
		}
		roots.AddCert(certificate)
		count++
	}
	if count == 0 {
		return nil, fmt.Errorf("the CA bundle holds no PEM certificate")
	}
	return roots, nil
}
