// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// What the tests send; none of it may come back in an error.
const (
	clientSecret = "s3cret:with/odd=chars &+"
	refreshToken = "refresh-canary-0815"
	authCode     = "code-canary-4711"
	codeVerifier = "verifier-canary-0123456789-0123456789-0123456789"
	newAccess    = "access-canary-new"
	newRefresh   = "refresh-canary-new"
)

func testNow() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

func basicClient() oauth.Client {
	return oauth.Client{ID: "crm", Secret: sensitive.New(clientSecret), Authentication: oauth.ClientSecretBasic}
}

func refreshAt(url string) oauth.TokenRequest {
	return oauth.TokenRequest{URL: url, Client: basicClient(), Grant: oauth.RefreshToken(sensitive.New(refreshToken), "")}
}

// serve starts a provider with one handler and counts the requests that it gets.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var hits atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		handler(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server, &hits
}

// transport is a plain one that keeps connections, which is the harder case.
func transport(t *testing.T) *http.Transport {
	t.Helper()
	kept := &http.Transport{}
	t.Cleanup(kept.CloseIdleConnections)
	return kept
}

func newCaller(options oauth.Options) *oauth.Caller {
	return oauth.NewCaller(testNow, options)
}

// answering returns a handler that gives one answer. Headers are name and value in turn.
func answering(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // A client that went away is what some tests are about.
	}
}

func failureOf(t *testing.T, err error) *oauth.Error {
	t.Helper()
	var failure *oauth.Error
	if !errors.As(err, &failure) {
		t.Fatalf("err = %v (%T), want an *oauth.Error", err, err)
	}
	for _, secret := range []string{clientSecret, refreshToken, authCode, codeVerifier, newAccess, newRefresh} {
		for _, text := range []string{failure.Error(), failure.Code, failure.Description} {
			if strings.Contains(text, secret) {
				t.Errorf("the error leaks %q: %s", secret, text)
			}
		}
	}
	return failure
}

func readAll(r *http.Request) (string, error) {
	body, err := io.ReadAll(r.Body)
	return string(body), err
}
