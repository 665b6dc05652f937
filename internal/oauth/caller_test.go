// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const short = 300 * time.Millisecond

func TestTokenSuccess(t *testing.T) {
	want := oauth.TokenResponse{
		AccessToken: sensitive.New(newAccess), RefreshToken: sensitive.New(newRefresh), TokenType: "Bearer",
		ExpiresIn: oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: time.Minute},
	}
	body := fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":60}`, newAccess, newRefresh)
	for reason, handler := range map[string]http.HandlerFunc{
		"200":        answering(200, body),
		"201":        answering(201, body),
		"compressed": compressed(body),
		"the connection breaks behind the object": func(w http.ResponseWriter, r *http.Request) {
			answering(200, body, "Content-Length", "9999")(w, r)
		},
		"a body that never ends behind the object": func(w http.ResponseWriter, r *http.Request) {
			answering(200, body)(w, r)
			flush(w)
			<-r.Context().Done()
		},
	} {
		server, hits := serve(t, handler)
		got, err := newCaller(oauth.Options{Timeout: short}).Token(t.Context(), transport(t), refreshAt(server.URL))
		if diff := cmp.Diff(want, got); err != nil || diff != "" || hits.Load() != 1 {
			t.Errorf("%s: %v, %d requests\n%s", reason, err, hits.Load(), diff)
		}
	}
}

func compressed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		packer := gzip.NewWriter(w)
		_, _ = io.WriteString(packer, body) // A reader that has had enough goes away.
		_ = packer.Close()
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// hijacked takes the connection over once the request has been read.
func hijacked(t *testing.T, use func(conn net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		use(conn)
		_ = conn.Close()
	}
}

// Rule: a refresh token in an answer that is otherwise broken comes back with the error.
func TestBrokenAnswers(t *testing.T) {
	kept := oauth.TokenResponse{RefreshToken: sensitive.New(newRefresh), TokenType: "Bearer"}
	nothing := oauth.TokenResponse{}
	padding := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		reason  string
		handler http.HandlerFunc
		want    oauth.TokenResponse
		sent    oauth.Outcome
		status  int
	}{
		{"no access token", answering(200, `{"refresh_token":"`+newRefresh+`"}`), kept, oauth.Unknown, 200},
		{"cut off", answering(200, `{"refresh_token":"`+newRefresh+`","access_token":"`, "Content-Length", "9999"), kept, oauth.Unknown, 200},
		{"an error beside it", answering(200, `{"refresh_token":"`+newRefresh+`","error":"server_error","error_description":"`+newRefresh+`"}`), kept, oauth.Answered, 200},
		{"larger than the limit", answering(200, `{"refresh_token":"`+newRefresh+`","pad":"`+padding+`","access_token":"a"}`), kept, oauth.Unknown, 200},
		{"all padding", answering(200, padding), nothing, oauth.Unknown, 200},
		{"a bomb", compressed(`{"pad":"` + strings.Repeat("x", 16<<20) + `"}`), oauth.TokenResponse{TokenType: "Bearer"}, oauth.Unknown, 200},
		{
			"a form cut off in its token", answering(200, "access_token=abcdef&refresh_token=12", "Content-Type", "text/plain", "Content-Length", "9999"),
			oauth.TokenResponse{AccessToken: sensitive.New("abcdef"), TokenType: "Bearer"},
			oauth.Unknown, 200,
		},
		{"a page", answering(200, "<html>We are down", "Content-Type", "text/html"), nothing, oauth.Unknown, 200},
		{"nothing", answering(204, ""), nothing, oauth.Unknown, 204},
		{"not HTTP", hijacked(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "220 smtp ready\r\n") }), nothing, oauth.Unknown, 0},
		{"a closed connection", hijacked(t, func(net.Conn) {}), nothing, oauth.Unknown, 0},
		{"a reset connection", hijacked(t, func(conn net.Conn) {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		}), nothing, oauth.Unknown, 0},
		{"a header without end", hijacked(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n")
		}), nothing, oauth.Unknown, 0},
		{"a flood of early hints", earlyHints, nothing, oauth.Unknown, 0},
		{"switching protocols", hijacked(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn) // Until the client goes.
		}), nothing, oauth.Answered, 101},
	} {
		t.Run(test.reason, func(t *testing.T) {
			server, hits := serve(t, test.handler)
			bounded := transport(t)
			bounded.MaxResponseHeaderBytes = 64 << 10
			got, err := newCaller(oauth.Options{}).Token(t.Context(), bounded, refreshAt(server.URL))
			failure := failureOf(t, err)
			if failure.Concern != oauth.ConcernTransient || failure.Sent != test.sent || failure.Status != test.status {
				t.Errorf("%s, %s, status %d (%v); want Transient, %s, %d", failure.Concern, failure.Sent, failure.Status, failure, test.sent, test.status)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || hits.Load() != 1 {
				t.Errorf("%d requests\n%s", hits.Load(), diff)
			}
		})
	}
}

// An answer without end is left at the limit, not at the end of the time.
func TestEndlessAnswer(t *testing.T) {
	var written atomic.Int64
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		block := strings.Repeat(" ", 64<<10)
		for r.Context().Err() == nil {
			n, _ := io.WriteString(w, block) // The context tells when the client has gone.
			written.Add(int64(n))
		}
	})
	_, err := newCaller(oauth.Options{MaxBodyBytes: 4096}).Token(t.Context(), transport(t), refreshAt(server.URL))
	if failure := failureOf(t, err); failure.Sent != oauth.Unknown || !strings.Contains(failure.Description, "4096") {
		t.Errorf("%s (%v)", failure.Sent, failure)
	}
	if written.Load() > 64<<20 {
		t.Errorf("%d bytes were sent to a reader that wants 4096", written.Load())
	}
}

func earlyHints(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	for r.Context().Err() == nil {
		w.WriteHeader(http.StatusEarlyHints)
	}
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		reason  string
		handler http.HandlerFunc
		sent    oauth.Outcome
		status  int
	}{
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { waitForClient(r) }, oauth.Unknown, 0},
		{"a body that stops", func(w http.ResponseWriter, r *http.Request) {
			answering(200, `{"acc`)(w, r)
			flush(w)
			waitForClient(r)
		}, oauth.Unknown, 200},
		{"a body that drips", func(w http.ResponseWriter, r *http.Request) {
			answering(200, `{`)(w, r)
			ticker := time.NewTicker(5 * time.Millisecond)
			defer ticker.Stop()
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				flush(w)
				<-ticker.C
			}
		}, oauth.Unknown, 200},
		{"a refusal whose body stops is a refusal", func(w http.ResponseWriter, r *http.Request) {
			answering(500, `{"err`)(w, r)
			flush(w)
			waitForClient(r)
		}, oauth.Answered, 500},
	} {
		t.Run(test.reason, func(t *testing.T) {
			server, hits := serve(t, test.handler)
			began := time.Now()
			_, err := newCaller(oauth.Options{Timeout: short}).Token(t.Context(), transport(t), refreshAt(server.URL))
			failure := failureOf(t, err)
			if failure.Concern != oauth.ConcernTransient || failure.Sent != test.sent || failure.Status != test.status || hits.Load() != 1 {
				t.Errorf("%s, %s, status %d, %d requests (%v)", failure.Concern, failure.Sent, failure.Status, hits.Load(), failure)
			}
			if took := time.Since(began); took < short || took > 20*short {
				t.Errorf("took %s with a bound of %s", took, short)
			}
		})
	}
}

// waitForClient needs the request's body read, or the server does not see the client go.
func waitForClient(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestNotSent(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	dialing := func(dial func(context.Context) (net.Conn, error)) *http.Transport {
		return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	}
	for reason, test := range map[string]struct {
		url       string
		transport *http.Transport
	}{
		"nobody listens":       {"http://" + closed.Addr().String(), &http.Transport{}},
		"an unknown name":      {"http://provider.test", dialing(func(context.Context) (net.Conn, error) { return nil, &net.DNSError{Err: "no such host"} })},
		"an unknown authority": {secure.URL, &http.Transport{}},
		"a connection that hangs": {"http://provider.test", dialing(func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})},
	} {
		_, err := newCaller(oauth.Options{Timeout: short}).Token(t.Context(), test.transport, refreshAt(test.url))
		if failure := failureOf(t, err); failure.Sent != oauth.NotSent || failure.Concern != oauth.ConcernTransient || failure.Unwrap() == nil {
			t.Errorf("%s: %s, %s (%v)", reason, failure.Sent, failure.Concern, failure)
		}
	}
}

type silentTransport struct{ err error }

func (s silentTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, s.err }

func TestSilentTransportProvesNothing(t *testing.T) {
	cause := errors.New("went wrong with " + refreshToken)
	_, err := newCaller(oauth.Options{}).Token(t.Context(), silentTransport{cause}, refreshAt("http://provider.test"))
	if failure := failureOf(t, err); failure.Sent != oauth.Unknown || !errors.Is(err, cause) {
		t.Errorf("%s (%v)", failure.Sent, failure)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		waitForClient(r)
	})
	_, err := newCaller(oauth.Options{}).Token(ctx, transport(t), refreshAt(server.URL))
	if failure := failureOf(t, err); failure.Sent != oauth.Unknown || failure.Concern != oauth.ConcernTransient || !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %s (%v)", failure.Sent, failure.Concern, failure)
	}
}
