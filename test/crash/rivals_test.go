// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// host runs a controller in this process, under the race detector where the test is, until the test ends.
func (w *world) host(config *rest.Config) *output {
	w.t.Helper()
	out := &output{}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(out), zapcore.DebugLevel)
	process, err := controller.New(config, controller.Options{
		Namespace: w.operator, WatchNamespaces: []string{w.namespace},
		MetricsBindAddress: "0", HealthProbeBindAddress: "0", Workers: 8, RevocationTimeout: time.Minute,
		Egress: egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}}, Version: "test", Log: zapr.NewLogger(zap.New(core)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- process.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the controller in this process ended with %v", err)
		}
		if w.t.Failed() {
			out.keep(w.t, "the controller in this process")
		}
	})
	return out
}

// TestRivals lets two controllers that know nothing of each other work on the same connections, at a provider that kills
// a grant when it sees a refresh token twice.
func TestRivals(t *testing.T) {
	t.Parallel()
	const connections, rounds = 20, 25
	w := newWorld(t, hostile.Options{})
	here, there := w.host(w.config), w.start()
	names := make([]string, connections)
	for i := range names {
		names[i] = fmt.Sprintf("crm-%d", i)
		w.connect(names[i])
	}
	for _, name := range names {
		w.await(name, w.working)
	}
	for round := range rounds {
		value := fmt.Sprintf("round %d", round)
		for _, name := range names {
			w.request(name, value)
		}
		for _, name := range names {
			w.await(name, observed(value))
		}
	}
	for _, name := range names {
		w.await(name, w.working)
	}
	there.finish(t)
	succeeded := refreshes()
	succeeded.Status = 200
	if all, good := w.server.Count(refreshes()), w.server.Count(succeeded); all != connections*rounds || good != all {
		t.Errorf("%d of %d refreshes succeeded, want %d of as many", good, all, connections*rounds)
	}
	if codes := w.server.Count(record.Filter{Endpoint: record.Token, GrantType: "authorization_code"}); codes != connections {
		t.Errorf("%d codes were sent, want %d", codes, connections)
	}
	w.nothingTwice()
	for who, log := range map[string]*output{"this process": here, "the other process": there.output} {
		if calls := strings.Count(log.String(), "called the provider"); calls == 0 {
			t.Errorf("%s has made no call: there was no contest", who)
		} else {
			t.Logf("%s made %d calls", who, calls)
		}
	}
}
