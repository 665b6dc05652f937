// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
)

// A process of its own for each server, as in a cluster: this program, started again with the role in its environment.
const (
	roleVariable    = "BENCH_PROXY_ROLE"
	addressVariable = "BENCH_PROXY_ADDRESS"
	targetVariable  = "BENCH_PROXY_TARGET"
	tokenVariable   = "BENCH_PROXY_TOKEN"

	roleUpstream = "upstream"
	roleReverse  = "reverse"
)

// smallBody is what a small answer holds, in bytes; largeBody a large one.
const (
	smallBody = 256
	largeBody = 10 << 20
)

// play serves in a role until the process is ended.
func play(role string) error {
	listener, err := net.Listen("tcp", os.Getenv(addressVariable)) //nolint:noctx // until the process ends
	if err != nil {
		return err
	}
	handler, err := handlerOf(role)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: handler}).Serve(listener) //nolint:gosec // loopback, as long as the benchmark runs
}

func handlerOf(role string) (http.Handler, error) {
	switch role {
	case roleUpstream:
		return upstream(), nil
	case roleReverse:
		target, err := url.Parse(os.Getenv(targetVariable))
		if err != nil {
			return nil, err
		}
		return reverse(target, "Bearer "+os.Getenv(tokenVariable)), nil
	}
	return nil, fmt.Errorf("no role %q", role)
}

// upstream answers /small and /large to whoever has a token.
func upstream() http.Handler {
	content := make([]byte, largeBody)
	answer := func(size int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				http.Error(w, "no token", http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = w.Write(content[:size])
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/small", answer(smallBody))
	mux.HandleFunc("/large", answer(largeBody))
	return mux
}

// reverse is the library's proxy with a token that never changes.
func reverse(target *url.URL, authorization string) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
	transport.Proxy, transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.DisableCompression = nil, 0, 256, true
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", authorization)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			if errors.Is(err, http.ErrAbortHandler) {
				status = http.StatusInternalServerError
			}
			http.Error(w, err.Error(), status)
		},
	}
}

// nginxConfig is Debian's nginx with as many workers as there are cores, and kept connections on both sides.
func nginxConfig(directory, address, target, token string) string {
	return fmt.Sprintf(`
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
worker_processes auto;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  upstream api { server %[3]s; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen %[2]s;
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer %[4]s";
      proxy_buffering off;
    }
  }
}
`, directory, address, target, token)
}
