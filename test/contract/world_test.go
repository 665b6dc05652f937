// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// internet is a local server that is every host: it shows a certificate for whatever name it is called by.
type internet struct {
	t         *testing.T
	ca        *x509.Certificate
	key       *ecdsa.PrivateKey
	transport *http.Transport

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// connect starts the server. The handler sees the host that was meant in Request.Host.
func connect(t *testing.T, handler http.Handler) *internet {
	t.Helper()
	world := &internet{t: t, leaves: map[string]*tls.Certificate{}}
	world.makeCA()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return world.leaf(hello.ServerName)
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(world.ca)
	var dialer net.Dialer
	world.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, server.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
	t.Cleanup(world.transport.CloseIdleConnections)
	return world
}

func (w *internet) makeCA() {
	w.t.Helper()
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "contract tests"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, w.key.Public(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.ca, err = x509.ParseCertificate(raw); err != nil {
		w.t.Fatal(err)
	}
}

func (w *internet) leaf(host string) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.leaves[host]; known != nil {
		return known, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(w.leaves) + 2)), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, w.ca, w.key.Public(), w.key)
	if err != nil {
		return nil, err
	}
	w.leaves[host] = &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: w.key}
	return w.leaves[host], nil
}
