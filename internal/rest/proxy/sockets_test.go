// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// head reads the lines before a body, and the length of that.
func head(r *bufio.Reader) (text string, length int, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return text, length, err
		}
		text += line
		_, _ = fmt.Sscanf(strings.ToLower(line), "content-length: %d", &length)
		if line == "\r\n" {
			return text, length, nil
		}
	}
}

// careless is a provider that takes no body with requests to /ignored, nor with those whose methods usually have none: it reads one
// as the next request of the socket. notes are the bodies of what it takes for POST /notes.
func careless(t *testing.T) (base string, notes chan string) {
	t.Helper()
	notes = make(chan string, 100)
	return rawProvider(t, func(conn net.Conn) {
		for r := bufio.NewReader(conn); ; {
			text, length, err := head(r)
			if err != nil {
				return
			}
			method, path, _ := strings.Cut(text, " ")
			if (method != http.MethodPost && method != http.MethodPut) || strings.HasPrefix(path, "/ignored") {
				length = 0
			}
			body := make([]byte, length)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			if strings.HasPrefix(text, "POST /notes ") {
				notes <- string(body)
			}
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			if method == http.MethodHead {
				answer = "HTTP/1.1 200 OK\r\n\r\n"
			}
			_, _ = io.WriteString(conn, answer)
		}
	}), notes
}

// smuggled is a request in a body: what comes next on the same socket becomes its note.
const smuggled = "POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 250\r\n\r\n"

// wantNoToken fails the test if what a provider took for a note has a token in it.
func wantNoToken(t *testing.T, notes <-chan string) {
	t.Helper()
	for len(notes) > 0 {
		if note := <-notes; strings.Contains(note, oldToken) {
			t.Errorf("a request, token included, became another caller's note: %q", note)
		}
	}
}

// A provider that does not read a body reads it as the next request of the socket: nobody else's may come after it.
func TestConnectionsShareNoSockets(t *testing.T) {
	base, notes := careless(t)
	w := start(t, setup{base: base})
	w.do(w.request(http.MethodPost, byPath+"ignored", strings.NewReader(smuggled), proxy.HeaderConnection, "mallory"))
	got := w.do(w.request(http.MethodPut, byPath+"victim", strings.NewReader(strings.Repeat("v", 200)), proxy.HeaderConnection, "alice"))
	wantPassed(t, got, http.StatusOK, "")
	wantNoToken(t, notes)
}

// Even the same connection's next request does not come after a body that few providers expect.
func TestNothingFollowsUnusualBodies(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete} {
		t.Run(method, func(t *testing.T) {
			base, notes := careless(t)
			w := start(t, setup{base: base})
			w.do(w.request(method, byPath+"a", strings.NewReader(smuggled)))
			got := w.do(w.request(http.MethodPut, byPath+"victim", strings.NewReader(strings.Repeat("v", 200))))
			wantPassed(t, got, http.StatusOK, "")
			wantNoToken(t, notes)
		})
	}
}

// A socket is kept for the next request of the same connection.
func TestSocketsAreKept(t *testing.T) {
	var sockets atomic.Int64
	base := rawProvider(t, func(conn net.Conn) {
		sockets.Add(1)
		for r := bufio.NewReader(conn); ; {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	w := start(t, setup{base: base})
	for range 3 {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			wantPassed(t, w.do(w.request(method, byPath+"a", nil)), http.StatusNoContent, "")
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
			wantPassed(t, w.do(w.request(method, byPath+"a", strings.NewReader("x"))), http.StatusNoContent, "")
		}
	}
	if n := sockets.Load(); n != 1 {
		t.Errorf("%d sockets for 15 requests of one connection, one after another", n)
	}
}
