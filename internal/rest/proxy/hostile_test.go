// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// short is for what stands still: whatever else a test does is not bounded by it.
const short = 100 * time.Millisecond

// scripted is a provider that reads one request head on each connection and goes on by hand.
func scripted(t *testing.T, script func(conn net.Conn, request *http.Request)) string {
	t.Helper()
	return rawProvider(t, func(conn net.Conn) {
		if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			script(conn, request)
		}
	})
}

// untilClosed blocks as long as the other side keeps the connection.
func untilClosed(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// forProtocols runs a test for callers of each kind.
func forProtocols(t *testing.T, run func(t *testing.T, http2 bool)) {
	t.Run("HTTP1", func(t *testing.T) { run(t, false) })
	t.Run("HTTP2", func(t *testing.T) { run(t, true) })
}

// drip writes a text again and again, until the connection is closed.
func drip(conn net.Conn, text string) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// trickle writes byte after byte, each later than the one before, until the connection is closed.
func trickle(conn net.Conn, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := conn.Write([]byte{'x'}); err != nil {
			return
		}
	}
}

// Providers whose heads never end, or are none.
func TestHostileHeads(t *testing.T) {
	for name, row := range map[string]struct {
		script func(net.Conn)
		code   problem.Code
	}{
		"silence":               {untilClosed, problem.ProviderTimeout},
		"a head that drips":     {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: "); trickle(c, short/10) }, problem.ProviderTimeout},
		"a status that drips":   {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 2"); trickle(c, short/10) }, problem.ProviderTimeout},
		"endless headers":       {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"); drip(c, "X-A: b\r\n") }, problem.ProviderUnreachable},
		"one endless header":    {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: "); drip(c, "bbbbbbbb") }, problem.ProviderUnreachable},
		"informational answers": {func(c net.Conn) { drip(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") }, problem.ProviderUnreachable},
		"continue without end":  {func(c net.Conn) { drip(c, "HTTP/1.1 100 Continue\r\n\r\n") }, problem.ProviderUnreachable},
		"another protocol": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			untilClosed(c)
		}, problem.ProviderUnreachable},
		"two lengths": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
			untilClosed(c)
		}, problem.ProviderUnreachable},
		"a length that is none": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na")
			untilClosed(c)
		}, problem.ProviderUnreachable},
		"an unknown coding": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
			untilClosed(c)
		}, problem.ProviderUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			base := scripted(t, func(conn net.Conn, _ *http.Request) { row.script(conn) })
			o := proxy.Options{Clock: &hurried{}, HeaderTimeout: time.Minute}
			if row.code == problem.ProviderTimeout {
				o.HeaderTimeout = short
			}
			w := start(t, setup{base: base, options: o})
			wantProblem(t, w.do(w.request(http.MethodPost, byPath+"a", strings.NewReader("x"))), row.code)
			if r := w.record(); r.Code != row.code || r.Attempts != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestFewInformationalAnswers(t *testing.T) {
	base := scripted(t, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	w := start(t, setup{base: base})
	if got := w.get("a"); got.body != "ok" || got.Header.Get("Set-Cookie") != "" {
		t.Errorf("%v %q", got.Header, got.body)
	}
}

// What Go's client makes of a name with a space behind it is no header.
func TestNamesThatAreNone(t *testing.T) {
	base := scripted(t, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nSet-Cookie : a=b\r\nX-A: ok\r\nContent-Length: 0\r\n\r\n")
		untilClosed(conn)
	})
	w := start(t, setup{base: base})
	got := w.get("a")
	wantPassed(t, got, http.StatusOK, "")
	for name := range got.Header {
		if strings.HasPrefix(name, "Set-Cookie") {
			t.Errorf("%q passed", name)
		}
	}
}

// Bodies that stop, break or are none: what has come is passed on, and the end is not made to look like one.
func TestHostileBodies(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		const head = "HTTP/1.1 200 OK\r\n"
		for name, row := range map[string]struct {
			script func(net.Conn)
			idle   time.Duration
			body   string
		}{
			"a body that stalls": {func(c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 9\r\n\r\nabc"); untilClosed(c) }, short, "abc"},
			"a chunk that stalls": {func(c net.Conn) {
				_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
				untilClosed(c)
			}, short, "abc"},
			"closed in the middle":  {func(c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 9\r\n\r\nabc") }, time.Minute, "abc"},
			"closed between chunks": {func(c net.Conn) { _, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") }, time.Minute, "abc"},
			"a chunk's length is no number": {func(c net.Conn) {
				_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
				untilClosed(c)
			}, time.Minute, "abc"},
			"a chunk longer than it says": {func(c net.Conn) {
				_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n")
				untilClosed(c)
			}, time.Minute, "abc"},
			"an endless chunk extension": {func(c net.Conn) {
				_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;")
				drip(c, "x=yyyyyy;")
			}, time.Minute, "abc"},
			"extensions without payload": {func(c net.Conn) {
				_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
				drip(c, "1;"+strings.Repeat("x", 1000)+"\r\na\r\n")
			}, time.Minute, ""},
		} {
			t.Run(name, func(t *testing.T) {
				base := scripted(t, func(conn net.Conn, _ *http.Request) { row.script(conn) })
				w := start(t, setup{base: base, http2: http2, options: proxy.Options{IdleTimeout: row.idle}})
				response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"a", nil))
				if err == nil { // What was not flushed yet is lost with the connection.
					var content []byte
					content, err = io.ReadAll(response.Body)
					_ = response.Body.Close()
					if !strings.HasPrefix(string(content), row.body) {
						t.Errorf("%q came", content)
					}
				}
				if err == nil {
					t.Error("the caller takes that for whole")
				}
				if r := w.record(); !r.Aborted || r.Code != "" || r.Status != http.StatusOK || r.Attempts != 1 || r.Cause == nil {
					t.Errorf("%+v", r)
				}
			})
		}
	})
}

// Two messages in one: neither side takes the second for its own.
func TestSmuggling(t *testing.T) {
	const inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	seen := make(chan string, 100)
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.RequestURI + " " + string(body)
		_, _ = io.WriteString(w, "fine")
	})
	w := start(t, setup{base: api.URL})
	for name, row := range map[string]struct {
		headers, body string
		want          string // what the provider gets; empty: nothing
	}{
		"both lengths":              {"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + inner, "/a "},
		"the other way about":       {fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", 5+len(inner)), "0\r\n\r\n" + inner, "/a "},
		"two lengths":               {"Content-Length: 0\r\nContent-Length: 5\r\n", inner, ""},
		"a coding in disguise":      {"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n", inner, ""},
		"an unknown coding":         {"Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n", ""},
		"a coding twice":            {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + inner, ""},
		"a name with a space":       {"X-A: b\r\nContent-Length : 5\r\n", inner, ""},
		"a bare carriage return":    {"X-A: b\rX-Injected: 1\r\n", "", ""},
		"a null":                    {"X-A: b\x00c\r\n", "", ""},
		"a chunk with an extension": {"Transfer-Encoding: chunked\r\n", "1;a=\"\r\nb\r\n0\r\n\r\n", "/a b"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, "POST %sa HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n%s", byPath, row.headers, row.body)
			answers, err := io.ReadAll(conn)
			if err != nil && len(answers) == 0 {
				t.Fatal(err)
			}
			got := ""
			if len(seen) > 0 {
				got = <-seen
			}
			if len(seen) > 0 || got != row.want || strings.Count(string(answers), "HTTP/1.1 ") != 1 {
				t.Errorf("the provider got %q and %d more, the caller %q", got, len(seen), answers)
			}
		})
	}
}

// An answer with two lengths is read by its chunks, and the other length does not reach the caller.
func TestSmugglingByTheProvider(t *testing.T) {
	base := scripted(t, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"+
			"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
		untilClosed(conn)
	})
	w := start(t, setup{base: base})
	for range 2 { // What came unasked is not the answer to the next request.
		if got := w.get("a"); got.body != "ok" || got.err != nil || got.Header.Get("Content-Length") == "100" {
			t.Errorf("%v %q %v", got.Header, got.body, got.err)
		}
	}
}

// peak is how much the heap grows, at most, while something runs.
func peak(t *testing.T, run func(look func())) uint64 {
	t.Helper()
	var stats runtime.MemStats
	heap := func() uint64 {
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before, most := heap(), uint64(0)
	run(func() { most = max(most, heap()) })
	return max(most, before) - before
}

// large is more than what may be held of a body, large enough that it would be seen.
const (
	large  = 100 << 20
	little = 16 << 20
)

func TestLargeBodiesAreStreamed(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil || r.Method == http.MethodPut && n != large {
				t.Errorf("%d bytes came, %v", n, err)
			}
			if r.Method == http.MethodGet {
				block := make([]byte, 64<<10)
				for range large / len(block) {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			}
		})
		w := start(t, setup{base: api.URL, http2: http2})
		for name, row := range map[string]struct {
			method         string
			sent, received int64
		}{
			"upload":   {http.MethodPut, large, 0},
			"download": {http.MethodGet, 0, large},
		} {
			t.Run(name, func(t *testing.T) {
				grown := peak(t, func(look func()) {
					every := &looking{look: look, every: large / 4}
					var body io.Reader
					if row.sent > 0 {
						body = io.TeeReader(io.LimitReader(zeros{}, row.sent), every)
					}
					response, err := w.client().RoundTrip(w.request(row.method, byPath+"a", body))
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = response.Body.Close() }()
					n, err := io.Copy(every, response.Body)
					if err != nil || n != row.received || every.looks < 4 {
						t.Errorf("%d bytes, %v, looked %d times", n, err, every.looks)
					}
				})
				if grown > little {
					t.Errorf("the heap grew by %d bytes", grown)
				}
				if r := w.record(); r.Sent != row.sent || r.Received != row.received || r.Aborted || r.Attempts != 1 {
					t.Errorf("%+v", r)
				}
			})
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// looking looks whenever so much has been written.
type looking struct {
	look               func()
	every, left, looks int
}

func (l *looking) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left <= 0 {
		l.look()
		l.looks++
		l.left += l.every
	}
	return len(p), nil
}

// An answer without end is the caller's to end; then the provider's connection ends, and memory stays as it was.
func TestEndlessBody(t *testing.T) {
	ended := make(chan struct{})
	base := scripted(t, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		drip(conn, strings.Repeat("x", 32<<10))
		close(ended)
	})
	w := start(t, setup{base: base})
	grown := peak(t, func(look func()) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"a", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if _, err := io.CopyN(&looking{look: look, every: large / 4}, response.Body, large); err != nil {
			t.Error(err)
		}
	})
	if grown > little {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	receive(t, ended)
	if r := w.record(); !r.Aborted || r.Received < large {
		t.Errorf("%+v", r)
	}
}

func TestGzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(zipped, zeros{}, 2*little); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	api := provider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	w := start(t, setup{base: api.URL})
	grown := peak(t, func(look func()) {
		got := w.get("a")
		look()
		if got.body != bomb.String() || got.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%d bytes, %v", len(got.body), got.Header)
		}
	})
	if grown > little {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestTrailers(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Trailer", "X-Sum, Set-Cookie")
			_, _ = fmt.Fprintf(w, "%s %s%s%s", body, r.Trailer.Get("X-Checksum"), r.Trailer.Get("Authorization"), r.Trailer.Get("Cookie"))
			w.Header().Set("X-Sum", "42")
			w.Header().Set("Set-Cookie", "a=b")
			w.Header().Set(http.TrailerPrefix+"X-Late", "43")
			w.Header().Set(http.TrailerPrefix+"Oauth-Operator-Error", "44")
		})
		for _, rejected := range []bool{false, true} {
			w := start(t, setup{base: api.URL, http2: http2})
			if rejected { // The trailers go with the second attempt too.
				first := provider(t, func(rw http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "Bearer "+oldToken {
						rw.WriteHeader(http.StatusUnauthorized)
						return
					}
					api.Config.Handler.ServeHTTP(rw, r)
				})
				w = start(t, setup{base: first.URL, http2: http2})
			}
			request := w.request(http.MethodPost, byPath+"a", io.MultiReader(strings.NewReader("body")))
			if http2 { // There, trailers may follow upon a body of known length.
				request.ContentLength = 4
			}
			request.Trailer = http.Header{"X-Checksum": {"41"}, "Cookie": {"c=d"}}
			got := w.do(request)
			if got.body != "body 41" || got.Trailer.Get("X-Sum") != "42" || got.Trailer.Get("X-Late") != "43" || len(got.Trailer) != 2 {
				t.Errorf("%q %v", got.body, got.Trailer)
			}
		}
	})
}

// Each event comes when it is sent, not when there are more.
func TestServerSentEvents(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		next := make(chan struct{})
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
		})
		w := start(t, setup{base: api.URL, http2: http2})
		response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		lines := bufio.NewReader(response.Body)
		for i := range 3 {
			line, err := lines.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%q, %v", line, err)
			}
			_, _ = lines.ReadString('\n')
			next <- struct{}{}
		}
		if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// Bytes of an answer of known length do not wait for the rest either; and an answer may come while the request is being sent.
func TestBothWaysAtOnce(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		api := provider(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Content-Length", "4")
			one := make([]byte, 1)
			for range 4 {
				if _, err := io.ReadFull(r.Body, one); err != nil {
					t.Error(err)
					return
				}
				_, _ = w.Write(bytes.ToUpper(one))
				_ = http.NewResponseController(w).Flush()
			}
		})
		w := start(t, setup{base: api.URL, http2: http2})
		read, write := io.Pipe()
		go func() { _, _ = write.Write([]byte{'a'}) }()
		response, err := w.client().RoundTrip(w.request(http.MethodPost, byPath+"a", read))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		one, got := make([]byte, 1), ""
		for _, next := range "bcd!" {
			if _, err := io.ReadFull(response.Body, one); err != nil {
				t.Fatal(err)
			}
			got += string(one)
			if next != '!' {
				_, _ = write.Write([]byte(string(next)))
			}
		}
		_ = write.Close()
		if got != "ABCD" {
			t.Errorf("%q came", got)
		}
	})
}

func TestHeadWithLength(t *testing.T) {
	api := provider(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "12345") })
	w := start(t, setup{base: api.URL})
	got := w.do(w.request(http.MethodHead, byPath+"a", nil))
	if wantPassed(t, got, http.StatusOK, ""); got.ContentLength != 12345 {
		t.Errorf("%v", got.Header)
	}
	if r := w.record(); r.Aborted {
		t.Errorf("%+v", r)
	}
}

func TestCallerThatGoesAway(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		for name, answers := range map[string]bool{"before the answer": false, "within it": true} {
			t.Run(name, func(t *testing.T) {
				came, gone, got := make(chan struct{}), make(chan struct{}), make(chan struct{})
				api := provider(t, func(w http.ResponseWriter, r *http.Request) {
					if answers {
						_, _ = io.WriteString(w, "x")
						_ = http.NewResponseController(w).Flush()
					}
					close(came)
					<-r.Context().Done()
					close(gone)
				})
				w := start(t, setup{base: api.URL, http2: http2})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"a", nil).WithContext(ctx)); err == nil {
						_, _ = response.Body.Read(make([]byte, 1))
						close(got)
						_, _ = io.Copy(io.Discard, response.Body)
						_ = response.Body.Close()
					}
				}()
				receive(t, came)
				if answers {
					receive(t, got)
				}
				cancel()
				receive(t, gone)
				receive(t, ended)
				want := map[bool]int{true: http.StatusOK, false: proxy.StatusCallerGone}[answers]
				if r := w.record(); !r.Aborted || r.Status != want || r.Code != "" {
					t.Errorf("%+v", r)
				}
			})
		}
	})
}

// Who stands still: the caller with its body, the provider that takes no more of it, or the caller that takes no more of the
// answer.
func TestStandstill(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		for name, path := range map[string]string{"a body by path": byPath + "a", "a body in JSON": byForm} {
			t.Run(name, func(t *testing.T) {
				w := start(t, setup{base: provider(t, echo).URL, http2: http2, options: proxy.Options{IdleTimeout: short, FormTimeout: short}})
				read, write := io.Pipe()
				defer func() { _ = write.Close() }()
				go func() { _, _ = io.WriteString(write, `{"url":`) }()
				wantProblem(t, w.do(w.request(http.MethodPost, path, read, "Content-Type", "application/json")), problem.InvalidRequest)
				if r := w.record(); r.Code != problem.InvalidRequest || r.Sent != 7 {
					t.Errorf("%+v", r)
				}
			})
		}
		t.Run("the provider does not read", func(t *testing.T) {
			stop := make(chan struct{})
			defer close(stop)
			base := rawProvider(t, func(net.Conn) { <-stop })
			w := start(t, setup{base: base, http2: http2, options: proxy.Options{IdleTimeout: short}})
			body := io.NopCloser(zeros{})
			wantProblem(t, w.do(w.request(http.MethodPut, byPath+"a", body)), problem.ProviderTimeout)
			if r := w.record(); r.Sent == 0 || r.Attempts != 1 {
				t.Errorf("%+v", r)
			}
		})
		t.Run("the caller does not read", func(t *testing.T) {
			gone := make(chan struct{})
			base := scripted(t, func(conn net.Conn, _ *http.Request) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
				drip(conn, strings.Repeat("x", 32<<10))
				close(gone)
			})
			w := start(t, setup{base: base, http2: http2, options: proxy.Options{IdleTimeout: short}})
			response, err := w.client().RoundTrip(w.request(http.MethodGet, byPath+"a", nil))
			if err != nil {
				t.Fatal(err)
			}
			receive(t, gone)
			if r := w.record(); !r.Aborted || r.Cause == nil {
				t.Errorf("%+v", r)
			}
			_ = response.Body.Close()
		})
	})
}

// A body in JSON has to come whole within its time, though it never stands still.
func TestFormThatDrips(t *testing.T) {
	w := start(t, setup{base: provider(t, echo).URL, options: proxy.Options{FormTimeout: short}})
	read, write := io.Pipe()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = io.WriteString(write, `{"url":"`)
		ticker := time.NewTicker(short / 10)
		defer ticker.Stop()
		for range ticker.C {
			if _, err := write.Write([]byte{'a'}); err != nil {
				return
			}
		}
	}()
	wantProblem(t, w.do(w.request(http.MethodPost, byForm, read, "Content-Type", "application/json")), problem.InvalidRequest)
	_ = read.Close()
	receive(t, stopped)
	if len(w.rights.methods) != 0 {
		t.Errorf("rights were asked for %q", w.rights.methods)
	}
}

// An answer that is complete before the caller's body is ends for the caller.
func TestAnswerBeforeTheEndOfTheBody(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		base := scripted(t, func(conn net.Conn, _ *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n")
			untilClosed(conn)
		})
		w := start(t, setup{base: base, http2: http2})
		read, write := io.Pipe()
		defer func() { _ = write.Close() }()
		go func() { _, _ = write.Write([]byte{'a'}) }()
		got := w.do(w.request(http.MethodPost, byPath+"a", read))
		if wantPassed(t, got, http.StatusOK, ""); got.body != "done" {
			t.Errorf("%q", got.body)
		}
	})
}

// A caller whose body breaks off is told so, if it still listens; the provider does not take half a body for a whole one.
func TestCallersBodyBreaksOff(t *testing.T) {
	whole := make(chan bool, 1)
	api := provider(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		whole <- err == nil
	})
	w := start(t, setup{base: api.URL})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "PUT %sa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", byPath)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	wantProblem(t, answer{Response: response, body: string(content), err: err}, problem.InvalidRequest)
	if r := w.record(); r.Retries != 0 {
		t.Errorf("%+v", r)
	}
	if receive(t, whole) {
		t.Error("the provider took half a body for a whole one")
	}
}

// No goroutine reads from a body, or waits for a provider, once its request is over.
func TestNothingIsLeftBehind(t *testing.T) {
	forProtocols(t, func(t *testing.T, http2 bool) {
		api := provider(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		})
		w := start(t, setup{base: api.URL, http2: http2})
		for range 5 {
			read, write := io.Pipe()
			response, err := w.client().RoundTrip(w.request(http.MethodPost, byPath+"a", read))
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%d", response.StatusCode)
			}
			_ = w.record() // The handler is done although the body has not ended.
			_ = response.Body.Close()
			_ = write.Close()
		}
	})
}
