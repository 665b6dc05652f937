// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e installs the operator on a real cluster and shows there what only a kubelet can: that pods run restricted,
// that a mounted token changes under a running workload, that a controller's death is survived, that people and providers
// reach the gateway and programs the API, and that an uninstallation leaves nothing. It needs KUBECONFIG and two images; see docs/development.md.
package e2e

import (
	"testing"
)

// TestOperator is one story: each step stands on the ones before, and the first that fails is the last that runs.
func TestOperator(t *testing.T) {
	s := newSuite(t)
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"Install", s.install},
		{"PodsAreRestricted", s.podsAreRestricted},
		{"StartProvider", s.startProvider},
		{"TokenReachesPod", s.tokenReachesPod},
		{"RefreshedTokenReachesPod", s.refreshedTokenReachesPod},
		{"ControllerDeleted", s.controllerDeleted},
		{"ControllerKilled", s.controllerKilled},
		{"LeaderHandsOver", s.leaderHandsOver},
		{"MetricsNeedRole", s.metricsNeedRole},
		{"ServiceLeadsToGateway", s.serviceLeadsToGateway},
		{"PersonConnects", s.personConnects},
		{"WebhookEndsConnection", s.webhookEndsConnection},
		{"ProgramCallsAPI", s.programCallsAPI},
		{"APIPodsReplaced", s.apiPodsReplaced},
		{"ProgramDisconnects", s.programDisconnects},
		{"DeletionRevokes", s.deletionRevokes},
		{"NamespaceDeletionRevokes", s.namespaceDeletionRevokes},
		{"NothingLeaks", s.nothingLeaks},
		{"UninstallLeavesNothing", s.uninstallLeavesNothing},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			s.diagnose(t)
			t.FailNow()
		}
	}
}
