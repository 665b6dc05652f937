// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

func TestPassesByPath(t *testing.T) {
	api := provider(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), body)
	})
	w := start(t, setup{base: api.URL + "/v1"})
	got := w.get("a%2Fb/c?x=1&y=%20;z")
	wantPassed(t, got, http.StatusOK, "")
	if want := "GET /v1/a%2Fb/c?x=1&y=%20;z Bearer " + oldToken + " "; got.body != want {
		t.Errorf("the provider got %q, want %q", got.body, want)
	}
	r := w.record()
	if r.Caller != "bob" || r.Connection.Name != "alice" || r.Application.Name != "crm" || r.Attempts != 1 || r.Aborted || r.Status != 200 {
		t.Errorf("%+v", r)
	}
}
