// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	scraperBinding = "e2e-metrics-reader"
	metricsURL     = "https://oauth-operator-controller-metrics." + testenv.OperatorNamespace + ".svc:8443/metrics"
	logTail        = 200
)

// metricsNeedRole scrapes from two pods, one of which has the role for it.
func (s *suite) metricsNeedRole(t *testing.T) {
	s.createNamespace(t, monitoringNamespace)
	s.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: scraperBinding},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: monitoringNamespace, Name: "scraper"}},
	})
	s.metrics = s.fetchAs(t, "scraper", metricsURL)
	if !strings.HasPrefix(s.metrics, "200 ") || !strings.Contains(s.metrics, "oauth_operator_connections{") {
		t.Errorf("with the role, the metrics endpoint says:\n%s", s.metrics)
	}
	if refusal := s.fetchAs(t, "stranger", metricsURL); !strings.HasPrefix(refusal, "403 ") || strings.Contains(refusal, "oauth_operator_") {
		t.Errorf("without the role, the metrics endpoint says:\n%s", refusal)
	}
}

// fetchAs returns status and body that a pod with a ServiceAccount of that name gets from an address in the cluster.
func (s *suite) fetchAs(t *testing.T, name, address string) string {
	t.Helper()
	pod := restrictedPod(monitoringNamespace, name, s.tools, "fetch", address)
	pod.Spec.ServiceAccountName = name
	pod.Spec.AutomountServiceAccountToken = new(true)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: monitoringNamespace, Name: name}}, pod)
	testenv.Eventually(t, kubeletPatience, func() error {
		s.get(t, monitoringNamespace, name, pod)
		if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("pod %s is in phase %s", name, pod.Status.Phase)
		}
		return nil
	})
	log, err := s.podLog(t.Context(), monitoringNamespace, name, &corev1.PodLogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// nothingLeaks looks for every code and token that was ever issued in all that the operator has said.
func (s *suite) nothingLeaks(t *testing.T) {
	s.connect(t, teamNamespace, "canary", sampleApplication())
	said := map[string]string{"a log of a pod that is gone": strings.Join(s.logs, "\n"), "metrics": s.metrics}
	for _, pod := range slices.Concat(s.controllers(t), s.podsOf(t, "gateway"), s.podsOf(t, "api")) {
		log, err := s.podLog(t.Context(), pod.Namespace, pod.Name, &corev1.PodLogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		said["the log of "+pod.Name] = log
	}
	for _, list := range []client.ObjectList{
		&corev1.EventList{}, &corev1.ConfigMapList{}, &coordinationv1.LeaseList{},
		&v1alpha1.OAuthConnectionList{}, &v1alpha1.OAuthApplicationList{},
	} {
		if err := s.client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		content, err := yaml.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		said[fmt.Sprintf("%T", list)] = string(content)
	}
	for place, content := range said {
		// What RBAC refuses; for events, the log is the only place that tells.
		if strings.Contains(content, "in API group") {
			t.Errorf("%s speaks of a permission that is missing:\n%s", place, content)
		}
	}
	issued := s.report(t).Issued
	if len(issued) == 0 {
		t.Fatal("the OAuth server has issued nothing, so nothing is shown")
	}
	issued = append(issued, s.lent...)
	for place, content := range said {
		if slices.ContainsFunc(issued, func(secret string) bool { return strings.Contains(content, secret) }) {
			t.Errorf("%s holds a code or token", place)
		}
	}
}

// diagnose prints what a person would ask for first: never a Secret's values.
func (s *suite) diagnose(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	s.print(ctx, t, &appsv1.DeploymentList{}, client.InNamespace(testenv.OperatorNamespace))
	s.print(ctx, t, &coordinationv1.LeaseList{}, client.InNamespace(testenv.OperatorNamespace))
	s.print(ctx, t, &v1alpha1.OAuthApplicationList{})
	s.print(ctx, t, &v1alpha1.OAuthConnectionList{})
	for _, namespace := range append(ownNamespaces(), testenv.OperatorNamespace) {
		s.printSecretNames(ctx, t, namespace)
		s.printPods(ctx, t, namespace)
		s.printEvents(ctx, t, namespace)
	}
}

func (s *suite) print(ctx context.Context, t *testing.T, list client.ObjectList, options ...client.ListOption) {
	t.Helper()
	if err := s.client.List(ctx, list, options...); err != nil {
		t.Logf("%T: %v", list, err)
		return
	}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			object.SetManagedFields(nil)
		}
		return err
	})
	content, marshalErr := yaml.Marshal(list)
	t.Logf("---- %T (%v)\n%s", list, errors.Join(err, marshalErr), content)
}

func (s *suite) printSecretNames(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	secrets := &corev1.SecretList{}
	if err := s.client.List(ctx, secrets, client.InNamespace(namespace)); err != nil {
		t.Logf("Secrets of %s: %v", namespace, err)
		return
	}
	for _, secret := range secrets.Items {
		t.Logf("Secret %s/%s, type %s, labels %v", namespace, secret.Name, secret.Type, secret.Labels)
	}
}

func (s *suite) printPods(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	pods := &corev1.PodList{}
	if err := s.client.List(ctx, pods, client.InNamespace(namespace)); err != nil {
		t.Logf("pods of %s: %v", namespace, err)
		return
	}
	for _, pod := range pods.Items {
		status, err := yaml.Marshal(pod.Status)
		t.Logf("---- status of pod %s/%s (%v)\n%s", namespace, pod.Name, err, status)
		for _, previous := range []bool{true, false} {
			if previous && (len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].RestartCount == 0) {
				continue
			}
			log, err := s.podLog(ctx, namespace, pod.Name, &corev1.PodLogOptions{TailLines: new(int64(logTail)), Previous: previous})
			t.Logf("---- log of pod %s/%s, previous %t (%v)\n%s", namespace, pod.Name, previous, err, log)
		}
	}
}

func (s *suite) printEvents(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	events := &corev1.EventList{}
	if err := s.client.List(ctx, events, client.InNamespace(namespace)); err != nil {
		t.Logf("events of %s: %v", namespace, err)
		return
	}
	for _, event := range events.Items {
		t.Logf("event %s %s/%s %s/%s: %s", event.Type, event.InvolvedObject.Kind, event.InvolvedObject.Name,
			event.Reason, event.CreationTimestamp.UTC().Format("15:04:05"), event.Message)
	}
}
