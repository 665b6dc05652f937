// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/program"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// dice are all that is random, from one seed. What several goroutines get depends on their order too.
type dice struct {
	mu     sync.Mutex
	source *rand.Rand
}

func newDice(t testing.TB) *dice {
	t.Helper()
	from := *seed
	if from == 0 {
		from = rand.Uint64()
	}
	t.Logf("seed %d", from)
	return &dice{source: rand.New(rand.NewPCG(from, from))}
}

func (d *dice) perm(n int) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source.Perm(n)
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source.IntN(n)
}

const (
	clientID     = "crm"
	clientSecret = "crm-client-secret"
	alice        = "alice"
)

// provider is a real authorization server, some way off.
type provider struct {
	*fositeserver.Server

	dice *dice
	// slowest is how long the longest call takes at most, on both ways together.
	slowest time.Duration
}

// newProvider starts one that takes up to so long to answer a token request; 0: it is next door. gateway is the address that
// its people come back to.
func newProvider(t testing.TB, dice *dice, gateway string, slowest time.Duration) *provider {
	t.Helper()
	port, err := program.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{dice: dice, slowest: slowest}
	options := harness.Options{
		Clients:  []harness.Client{{ID: clientID, Secret: clientSecret, RedirectURIs: []string{gateway + v1alpha1.PathCallback}}},
		Accounts: []string{alice}, RequirePKCE: true, CodeLifetime: 10 * time.Minute,
		Address: fmt.Sprintf("127.0.0.1:%d", port),
	}
	if slowest > 0 {
		way := p.way(&url.URL{Scheme: "http", Host: options.Address})
		t.Cleanup(way.Close)
		options.Issuer = way.URL
	}
	if p.Server, err = fositeserver.Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// way makes token requests take their time, before they are served and after it. Who hangs up before they are served has
// sent nothing.
func (p *provider) way(to *url.URL) *httptest.Server {
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(response *http.Response) error {
			return p.travel(response.Request.Context(), response.Request)
		},
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.travel(r.Context(), r); err != nil {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
}

func (p *provider) travel(ctx context.Context, r *http.Request) error {
	if r.URL.Path != "/token" {
		return nil
	}
	timer := time.NewTimer(time.Duration(p.dice.below(int(p.slowest / 2))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
