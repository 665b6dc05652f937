// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"testing"
)

func connectRows() []row {
	return []row{
		{"POST connect with a code", connectWithCode},
	}
}

func connectWithCode(t *testing.T, w *world) {
	s := w.newSite(t, options{})
	ledger := s.user("ledger")
	body := s.code()
	answer := s.do(t, call{as: ledger, method: http.MethodPost, target: s.path("connect"), body: body})
	answer.want(t, http.StatusCreated)
	t.Logf("%s", answer.body)
}
