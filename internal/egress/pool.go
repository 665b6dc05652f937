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
	// Group is whose requests they are. Two groups never share a kept connection: where a server and the sender disagree about
	// where a request ends, the rest of it becomes part of the next one on the same connection, with all that is secret in that.
	// Transports that keep none do not need it.
	Group string
}

// TransportPool keeps one guarded transport for each Trust, up to a number of them; beyond it the one that was used longest
// ago is dropped, and made anew when it is needed. What was read of a CA bundle is shared. Safe for concurrent use.
type TransportPool struct {
	build func(rootCAs *x509.CertPool, certificates ...tls.Certificate) *http.Transport
	mu    sync.Mutex // held from looking up to adding, so that one Trust never gets two transports
	cache *lru.Cache
	// roots holds *x509.CertPool by the fingerprint of a bundle.
	roots *lru.Cache
}

// NewTransportPool makes a pool for at most size transports; 0 means DefaultPoolSize.
func NewTransportPool(guard *Guard, size int) *TransportPool {
	if size <= 0 {
		size = DefaultPoolSize
	}
	return &TransportPool{build: guard.Transport, cache: lru.NewWithEvictionFunc(size, closeIdle), roots: lru.New(size)}
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
type poolKey struct{ ca, certificate, group string }

// ForCA is For with a CA bundle alone.
func (p *TransportPool) ForCA(bundle []byte) (http.RoundTripper, error) {
	return p.For(Trust{CA: bundle})
}

// For returns the transport of trust.Group that trusts the PEM certificates of trust.CA and no others, and shows
// trust.Certificate. The error says what is wrong and never repeats the bytes.
func (p *TransportPool) For(trust Trust) (http.RoundTripper, error) {
	key := poolKey{ca: Fingerprint(trust.CA), certificate: trust.Certificate.Hash(), group: trust.Group}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cached, ok := p.cache.Get(key); ok {
		if transport, ok := cached.(*http.Transport); ok {
			return transport, nil
		}
	}
	roots, err := p.rootsOf(key.ca, trust.CA)
	if err != nil {
		return nil, err
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

// rootsOf returns the certificates of a bundle; nil: the system's. The mutex is held.
func (p *TransportPool) rootsOf(fingerprint string, bundle []byte) (*x509.CertPool, error) {
	if fingerprint == "" {
		return nil, nil //nolint:nilnil // This is how crypto/tls is told of the system's
	}
	found, _ := p.roots.Get(fingerprint)
	if known, ok := found.(*x509.CertPool); ok {
		return known, nil
	}
	parsed, err := parseBundle(bundle)
	if err != nil {
		return nil, err
	}
	p.roots.Add(fingerprint, parsed)
	return parsed, nil
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
