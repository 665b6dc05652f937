// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// prompt is how long a code may take while others wait; the design says a second, a busy machine gets some more.
const prompt = 4 * time.Second

// TestSlowProviderSlowsNoOther has 200 connections at a provider that never answers, and exchanges a code of another
// application meanwhile.
func TestSlowProviderSlowsNoOther(t *testing.T) {
	for name, test := range map[string]struct {
		maxConcurrent int32
		hanging       int
	}{
		"as many calls as is usual":   {4, 4},
		"all of them call the server": {200, 150}, // those that gave up wait a moment
	} {
		t.Run(name, func(t *testing.T) {
			const members = 200
			w := newWorld(t, 0)
			t.Cleanup(func() { w.clear(t) })
			slow := w.hostile(t, harness.Options{})
			slow.Always(record.Filter{Endpoint: record.Token}, hostile.Hang())
			app, clientSecret := application(w.namespace, "slow", slow.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
				spec.Limits = &v1alpha1.Limits{MaxConcurrent: test.maxConcurrent}
			})
			fine := w.fosite(t, harness.Options{})
			s := w.subject(t, fine, fine.URL)
			create(t, app, clientSecret)
			createMany(t, members, func(i int) []client.Object {
				return []client.Object{connection(w.namespace, fmt.Sprintf("slow-%d", i), "slow", clientCredentials)}
			})
			bounded, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := slow.WaitForHanging(bounded, test.hanging); err != nil {
				t.Fatalf("%d requests hang: %v", slow.Hanging(), err)
			}
			code := codeSecret(t, fine, w.namespace, s.name)
			started := time.Now()
			create(t, code)
			testenv.Eventually(t, prompt, func() error { return plane.Client().Get(patient(), s.key(), secret("", "", nil)) })
			took := time.Since(started)
			t.Logf("from code to token with %d requests hanging: %s", slow.Hanging(), took)
			s.wait(t, isReady)
			if err := w.settled(1); err != nil || slow.Hanging() == 0 {
				t.Errorf("the slow provider was not slow: %d requests hang: %v", slow.Hanging(), err)
			}
		})
	}
}

// TestCodeOvertakesRefreshes has one slot at a slow provider, taken by a refresh that hangs, more of them waiting.
func TestCodeOvertakesRefreshes(t *testing.T) {
	t.Parallel()
	const waiting = 8
	w := newWorld(t, 0)
	server := w.hostile(t, harness.Options{})
	app, clientSecret := application(w.namespace, "slow", server.URL, func(spec *v1alpha1.OAuthApplicationSpec) {
		spec.Limits = &v1alpha1.Limits{MaxConcurrent: 1}
	})
	create(t, app, clientSecret)
	members := make([]*subject, waiting)
	for i := range members {
		members[i] = &subject{w: w, name: w.name(), server: server}
		create(t, connection(w.namespace, members[i].name, "slow"), codeSecret(t, server, w.namespace, members[i].name))
	}
	for _, s := range members {
		s.wait(t, isReady)
	}
	server.Always(refreshing(), hostile.Hang())
	for _, s := range members {
		s.requestRefresh(t)
	}
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := server.WaitForHanging(bounded, 1); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if n := metricOf(t, w.running, "oauth_operator_provider_calls_waiting", nil); n < waiting-1 {
			return fmt.Errorf("%v calls wait", n)
		}
		return nil
	})
	late := &subject{w: w, name: w.name(), server: server}
	create(t, connection(w.namespace, late.name, "slow"), codeSecret(t, server, w.namespace, late.name))
	testenv.Eventually(t, prompt, func() error { return plane.Client().Get(patient(), late.key(), secret("", "", nil)) })
	if n := server.Count(refreshing()); n > 1 {
		t.Errorf("%d refreshes went first", n)
	}
	server.ClearScript()
	server.Release()
	for _, s := range members {
		s.wait(t, refreshed, isReady)
	}
	if server.Reuse() != 0 {
		t.Errorf("%d credentials were sent twice", server.Reuse())
	}
}
