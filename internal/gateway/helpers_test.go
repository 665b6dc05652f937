// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"crypto/rand"
	"net/http/httptest"
)

func newID() string { return rand.Text() }

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
