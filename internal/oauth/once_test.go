// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// net/http sends some requests again when a kept connection breaks. A token request must never be one of them, not even
// with the header by which net/http is told that it may.
func TestNeverSentTwiceOnKeptConnection(t *testing.T) {
	for _, request := range []oauth.TokenRequest{
		{Grant: oauth.AuthorizationCode(sensitive.New(authCode), sensitive.New(codeVerifier), "")},
		{Grant: oauth.RefreshToken(sensitive.New(refreshToken), "")},
		{Grant: oauth.RefreshToken(sensitive.New(refreshToken), ""), Format: oauth.FormatJSON, Response: mappingOf(t, oauth.MappingOptions{AccessToken: "$..access_token"})},
		{Grant: oauth.DeviceCode(sensitive.New("d-1"))},
	} {
		var requests, connections atomic.Int64
		url := rawServer(t, func(conn net.Conn) {
			connections.Add(1)
			reader := bufio.NewReader(conn)
			for {
				request, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, request.Body); err != nil {
					return
				}
				if requests.Add(1) != 1 {
					return // Read, and then the connection closes: the very case that net/http likes to repeat.
				}
				const body = `{"access_token":"a"}`
				if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"+body); err != nil {
					return
				}
			}
		})
		kept := transport(t)
		idempotent := roundTripper(func(r *http.Request) (*http.Response, error) {
			r.Header.Set("Idempotency-Key", "1")
			return kept.RoundTrip(r)
		})
		request.URL, request.Client = url, basicClient()
		caller := newCaller(oauth.Options{})
		if _, err := caller.Token(t.Context(), idempotent, request); err != nil {
			t.Fatal(err)
		}
		_, err := caller.Token(t.Context(), idempotent, request)
		if failure := failureOf(t, err); failure.Sent != oauth.Unknown {
			t.Errorf("sent = %s, want Unknown (%v)", failure.Sent, failure)
		}
		if requests.Load() != 2 || connections.Load() != 1 {
			t.Errorf("%s: %d requests on %d connections for 2 calls", request.Grant.Type(), requests.Load(), connections.Load())
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rawServer hands every connection to serve and closes it afterwards.
func rawServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, listener, serve)
	return "http://" + listener.Addr().String()
}

func accept(t *testing.T, listener net.Listener, serve func(net.Conn)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-done
	})
}

// On HTTP/2 a refused stream is repeated by net/http, after a pause too. The egress guard speaks HTTP/1.1 only; this
// holds for any transport.
func TestNeverSentTwiceOnHTTP2(t *testing.T) {
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	t.Cleanup(certificates.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: certificates.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	accept(t, listener, func(conn net.Conn) { refuseStreams(conn, &requests) })

	roots := x509.NewCertPool()
	roots.AddCert(certificates.Certificate())
	modern := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	_, err = newCaller(oauth.Options{}).Token(t.Context(), modern, refreshAt("https://"+listener.Addr().String()))
	modern.CloseIdleConnections()
	if failure := failureOf(t, err); failure.Sent != oauth.Unknown || failure.Concern != oauth.ConcernTransient {
		t.Errorf("%s, %s (%v)", failure.Sent, failure.Concern, failure)
	}
	if requests.Load() != 1 {
		t.Errorf("%d requests for one call", requests.Load())
	}
}

// refuseStreams reads each request to its end and then refuses it.
func refuseStreams(conn net.Conn, requests *atomic.Int64) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || !bytes.Equal(preface, []byte(http2.ClientPreface)) {
		return
	}
	framer := http2.NewFramer(conn, conn)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			requests.Add(1)
			if framer.WriteRSTStream(data.StreamID, http2.ErrCodeRefusedStream) != nil {
				return
			}
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere, hits := serve(t, answering(http.StatusOK, `{"access_token":"stolen"}`))
	for _, status := range []int{301, 302, 303, 307, 308} {
		server, _ := serve(t, answering(status, "", "Location", elsewhere.URL))
		_, err := newCaller(oauth.Options{}).Token(t.Context(), transport(t), refreshAt(server.URL))
		if failure := failureOf(t, err); failure.Status != status || !strings.Contains(failure.Error(), "redirect") {
			t.Errorf("%d: %v", status, failure)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests followed a redirect", hits.Load())
	}
}
