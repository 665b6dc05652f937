// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"

	"k8s.io/utils/lru"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// DefaultPoolSize is enough for the CA bundles of any installation known; one more costs a parsed bundle.
const DefaultPoolSize = 128

// Trust is whom to trust and who to be in TLS. The zero value trusts the system's roots and shows no certificate.
type Trust struct {
	// CA holds the only certificates to trust (PEM); empty: the system's.
	CA []byte
	// Certificate is a client certificate, with its chain, and its private key (PEM, in any order); empty: none.
	Certificate sensitive.String
}

// TransportPool keeps one guarded transport for each Trust, up to a number of them; beyond it the one that was used longest
// ago is dropped, and made anew when it is needed. Safe for concurrent use.
type TransportPool struct {
	build func(rootCAs *x509.CertPool, certificates ...tls.Certificate) *http.Transport
	mu    sync.Mutex // held from looking up to adding, so that one Trust never gets two transports
	cache *lru.Cache
}

// NewTransportPool makes a pool for at most size transports; 0 means DefaultPoolSize.
func NewTransportPool(guard *Guard, size int) *TransportPool {
	if size <= 0 {
		size = DefaultPoolSize
	}
	return &TransportPool{build: guard.Transport, cache: lru.NewWithEvictionFunc(size, closeIdle)}
}

// closeIdle ends the connections that a dropped transport keeps; those in use end with their requests.
func closeIdle(_ lru.Key, dropped any) {
	if transport, ok := dropped.(*http.Transport); ok {
		transport.CloseIdleConnections()
	}
}

// Fingerprint identifies a CA bundle: the hexadecimal SHA-256 of its bytes, empty for none (the system's roots).
func Fingerprint(bundle []byte) string {
	if len(bytes.TrimSpace(bundle)) == 0 {
		return ""
	}
	sum := sha256.Sum256(bundle)
	return hex.EncodeToString(sum[:])
}

// poolKey identifies a Trust.
type poolKey struct{ ca, certificate string }

// ForCA is For with a CA bundle alone.
func (p *TransportPool) ForCA(bundle []byte) (http.RoundTripper, error) {
	return p.For(Trust{CA: bundle})
}

// For returns the transport that trusts the PEM certificates of trust.CA and no others, and shows trust.Certificate. The
// error says what is wrong and never repeats the bytes.
func (p *TransportPool) For(trust Trust) (http.RoundTripper, error) {
	key := poolKey{ca: Fingerprint(trust.CA), certificate: trust.Certificate.Hash()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cached, ok := p.cache.Get(key); ok {
		if transport, ok := cached.(*http.Transport); ok {
			return transport, nil
		}
	}
	var roots *x509.CertPool
	if key.ca != "" {
		parsed, err := parseBundle(trust.CA)
		if err != nil {
			return nil, err
		}
		roots = parsed
	}
	var certificates []tls.Certificate
	if !trust.Certificate.IsEmpty() {
		content := []byte(trust.Certificate.Reveal())
		certificate, err := tls.X509KeyPair(content, content)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		certificates = append(certificates, certificate)
	}
	transport := p.build(roots, certificates...)
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
