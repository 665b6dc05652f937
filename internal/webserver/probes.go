// SPDX-License-Identifier: Apache-2.0

package webserver

import (
	"errors"
	"fmt"
	"net/http"
)

// probes serves /healthz, which says that the process lives, /readyz, which says that it should get requests, and /metrics, in
// which nothing is secret.
func (s *Server) probes(process Process) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := process.Ready()
		if s.draining.Load() {
			err = errors.New("the process is ending")
		}
		answerProbe(w, err)
	})
	mux.Handle("GET /metrics", process.Metrics)
	return mux
}

func answerProbe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	text := "ok"
	if err != nil {
		text = err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, text) // Whoever asks sees that it broke off.
}
