// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/pending"
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
		MetricsBindAddress: "0", HealthProbeBindAddress: "0", Workers: 8, RevocationTimeout: time.Minute, ExternalURL: gatewayURL,
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
	contested(t, map[string]*output{"this process": here, "the other process": there.output})
}

// TestRivalsAtLogins lets two controllers that know nothing of each other see people come back, two at a time for each
// connection.
func TestRivalsAtLogins(t *testing.T) {
	t.Parallel()
	const connections, people = 50, 2
	w := newWorld(t, hostile.Options{}, throughGateway)
	one, other := w.start(), w.launch(newProxy(t, func(string, string) bool { return false }))
	var names []string
	for i := range connections {
		names = append(names, fmt.Sprintf("crm-%d", i))
		w.awaitsPerson(names[i])
	}
	var messages []pending.Message
	ids := map[string][]string{}
	for _, name := range names {
		w.await(name, linked)
		for range people {
			l := w.login(name, owner)
			messages, ids[name] = append(messages, w.message(l)), append(ids[name], l.id)
		}
	}
	for _, m := range messages {
		w.leave(m)
	}
	for _, name := range names {
		w.await(name, w.working, func(s sight) error { return errors.Join(oneOf(ids[name])(s), w.taken()) })
	}
	one.finish(t)
	other.finish(t)
	exchanged := record.Filter{Endpoint: record.Token, GrantType: "authorization_code"}
	all := w.server.Count(exchanged)
	exchanged.Status = 200
	if good := w.server.Count(exchanged); all != len(messages) || good != all {
		t.Errorf("%d of %d codes were exchanged, want %d of as many", good, all, len(messages))
	}
	w.nothingTwice()
	w.tellsNothing()
	contested(t, map[string]*output{"one": one.output, "the other": other.output})
}

// oneOf wants the last login to be reported that succeeded, which must be one of these.
func oneOf(logins []string) func(sight) error {
	return func(s sight) error {
		last := s.connection.Status.LastAuthorization
		if last == nil || last.Outcome != v1alpha1.AuthorizationSucceeded || !slices.Contains(logins, last.ID) {
			return fmt.Errorf("want one of the logins %v to be reported as a success, not %+v", logins, last)
		}
		return nil
	}
}

// contested wants several controllers to have made calls.
func contested(t *testing.T, logs map[string]*output) {
	t.Helper()
	for who, log := range logs {
		if calls := strings.Count(log.String(), "called the provider"); calls == 0 {
			t.Errorf("%s has made no call: there was no contest", who)
		} else {
			t.Logf("%s made %d calls", who, calls)
		}
	}
}
