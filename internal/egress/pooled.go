// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// Bounds of kept connections.
const (
	// keptPerHost is how many idle connections of a transport to one host are kept: as many as a busy group has requests at once.
	keptPerHost = 256
	// keptFor is how long an idle connection is kept.
	keptFor = 90 * time.Second
	// pooledBuffer is the size of a connection's read and write buffers, in bytes: bodies pass through them.
	pooledBuffer = 16 << 10
)

// PooledTransport returns a transport for requests that may be sent twice, or whose sender is told when it is not known
// whether they arrived: like Transport, but connections are kept for 90 seconds. The guard judges each when it is made; a kept
// one leads where it led then, whatever DNS says since. Nothing is decompressed. A request whose headers are not answered
// within headerTimeout of its having been sent fails; 0 means no limit. All headers of an answer, informational ones
// included, may have 64 KiB.
func (g *Guard) PooledTransport(rootCAs *x509.CertPool, headerTimeout time.Duration, certificates ...tls.Certificate) *http.Transport {
	transport := g.Transport(rootCAs, certificates...)
	transport.DisableKeepAlives = false
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = keptPerHost
	transport.IdleConnTimeout = keptFor
	transport.ResponseHeaderTimeout = headerTimeout
	transport.ReadBufferSize = pooledBuffer
	transport.WriteBufferSize = pooledBuffer
	return transport
}

// NewPooledTransports makes a pool of transports that keep their connections, each for the requests of one Trust.Group; see
// PooledTransport. size is as for NewTransportPool. A transport that is dropped keeps no connection any more.
func NewPooledTransports(guard *Guard, size int, headerTimeout time.Duration) *TransportPool {
	pool := NewTransportPool(guard, size)
	pool.build = func(roots *x509.CertPool, certificates ...tls.Certificate) *http.Transport {
		return guard.PooledTransport(roots, headerTimeout, certificates...)
	}
	return pool
}
