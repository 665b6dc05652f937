// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	apiName   = "oauth-operator-api"
	apiSample = "config/samples/api"
)

// TestMessagesOfTheAPIAreTaken : the policy is not only about what gateways write.
func TestMessagesOfTheAPIAreTaken(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	a := api(t, namespace)
	now := time.Now()
	about := pending.Message{
		Connection: types.NamespacedName{Namespace: "billing", Name: "crm"}, ConnectionUID: "connection",
		Application: types.NamespacedName{Namespace: "platform", Name: "crm"}, ApplicationUID: "application",
		ReceivedAt: now, KeepUntil: now.Add(time.Minute),
	}
	renewal, brought, invitation := about, about, about
	renewal.Renewal = &pending.Renewal{TokenHash: strings.Repeat("a", 64)}
	brought.Import = &pending.Import{Login: "api-1", RefreshToken: sensitive.New(strings.Repeat("t", 4096))}
	invitation.Invitation = &pending.Invitation{}
	for name, m := range map[string]pending.Message{
		pending.Name(pending.RefreshRequest, "connection", "rejected"):  renewal,
		pending.Name(pending.RefreshTokenImport, "connection", "api-1"): brought,
		pending.Name(pending.LinkRequest, "connection"):                 invitation,
	} {
		secret, err := pending.Encode(namespace, name, m)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Create(t.Context(), secret); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	record := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "grant-1"}, Type: v1alpha1.SecretTypeGrant}
	refusedByPolicy(t, "a grant record", "named pending-", a.Create(t.Context(), record))
}

// TestAPIManifestsAreAccepted applies the sample, but for the certificate, of whose kind the API server knows nothing; and the
// caller.
func TestAPIManifestsAreAccepted(t *testing.T) {
	t.Parallel()
	all := build(t, apiSample)
	for _, object := range all {
		if object.GetKind() == "Certificate" {
			continue
		}
		if err := accept(t, object); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	d := find(t, all, apiName, &appsv1.Deployment{})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "api"}, Spec: d.Spec.Template.Spec}
	if err := plane.Client().Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the restricted namespace refuses the API's pod: %v", err)
	}
	pod.Spec.SecurityContext = nil
	if err := plane.Client().Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod without security context: got %v, want Forbidden", err)
	}
	for _, file := range []string{"config/samples/namespaces.yaml", apiSample + "/caller.yaml"} {
		for _, object := range documents(t, file) {
			if err := accept(t, object); err != nil {
				t.Errorf("%s: %s %s: %v", file, object.GetKind(), object.GetName(), err)
			}
		}
	}
	caller := find(t, documents(t, apiSample+"/caller.yaml"), "ledger", &appsv1.Deployment{})
	pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: caller.Namespace, Name: "ledger"}, Spec: caller.Spec.Template.Spec}
	if err := plane.Client().Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("the restricted namespace refuses the caller's pod: %v", err)
	}
}

// accept applies an object as it is; what the API server does not know it refuses.
func accept(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	strict := client.WithFieldValidation(plane.Client(), metav1.FieldValidationStrict)
	configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
	return strict.Apply(t.Context(), configuration, client.FieldOwner("installation"), client.ForceOwnership)
}

// documents reads the objects of a file, given relative to the module's root.
func documents(t *testing.T, file string) built {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(plane.Root, file))
	if err != nil {
		t.Fatal(err)
	}
	var all built
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
	return all
}

// TestAPIIsOptional : the operator is the same without it.
func TestAPIIsOptional(t *testing.T) {
	t.Parallel()
	without, with := build(t, "config/default"), build(t, overlay(t, `
resources: [ROOT/config/default]
components: [ROOT/config/components/api]
`))
	own := 0
	for _, object := range with {
		if object.GetName() == apiName {
			own++
			continue
		}
		if !slices.ContainsFunc(without, func(other *unstructured.Unstructured) bool {
			return other.GroupVersionKind() == object.GroupVersionKind() && other.GetName() == object.GetName()
		}) {
			t.Errorf("the component adds %s %s", object.GetKind(), object.GetName())
		}
	}
	if own != 8 || len(with) != len(without)+own {
		t.Errorf("the component adds %d objects of its own, %d in all", own, len(with)-len(without))
	}
	if plain, beside := controllerArguments(t, without), controllerArguments(t, with); !slices.Equal(plain, beside) {
		t.Errorf("with the API the controller is started with %q, without it with %q", beside, plain)
	}
}

// TestProxyIsGivenToNobody : the right to use tokens comes with no other role.
func TestProxyIsGivenToNobody(t *testing.T) {
	t.Parallel()
	all := build(t, apiSample)
	const resource = "oauthconnections/proxy"
	role := find(t, all, "oauth-operator-proxy", &rbacv1.ClusterRole{})
	for label := range role.Labels {
		if strings.HasPrefix(label, "rbac.authorization.k8s.io/") {
			t.Errorf("its label %s adds it to another role", label)
		}
	}
	want := []string{"get", "create", "update", "patch", "delete"}
	if len(role.Rules) != 1 || !slices.Equal(role.Rules[0].Resources, []string{resource}) || !slices.Equal(role.Rules[0].Verbs, want) {
		t.Errorf("its rules are %+v", role.Rules)
	}
	for _, object := range all {
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if text := string(content); object.GetKind() != "CustomResourceDefinition" && object.GetName() != role.Name &&
			(strings.Contains(text, resource) || strings.Contains(text, `"*"`) && strings.Contains(object.GetKind(), "Role") ||
				strings.HasSuffix(object.GetKind(), "Binding") && strings.Contains(text, role.Name)) {
			t.Errorf("%s %s gives it away", object.GetKind(), object.GetName())
		}
	}
}

// TestAPIMovesWithTheOperator : in a copy of the sample, another namespace is one line.
func TestAPIMovesWithTheOperator(t *testing.T) {
	t.Parallel()
	const namespace = "elsewhere"
	content, err := os.ReadFile(filepath.Join(plane.Root, apiSample, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	directory := overlay(t, "namespace: "+namespace+"\n"+strings.ReplaceAll(string(content), "../../", "ROOT/config/"))
	certificate, err := os.ReadFile(filepath.Join(plane.Root, apiSample, "certificate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plane.Root, directory, "certificate.yaml"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	all := build(t, directory)
	for _, object := range all {
		if got := object.GetNamespace(); got != "" && got != namespace {
			t.Errorf("%s %s is in namespace %s", object.GetKind(), object.GetName(), got)
		}
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), testenv.OperatorNamespace) && object.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s %s still speaks of %s", object.GetKind(), object.GetName(), testenv.OperatorNamespace)
		}
	}
	if got := find(t, all, apiName, &rbacv1.ClusterRoleBinding{}).Subjects[0].Namespace; got != namespace {
		t.Errorf("an account of namespace %s is bound", got)
	}
	namesOfTheService(t, all, namespace)
}

// namesOfTheService compares the certificate's names with those that the cluster gives the Service.
func namesOfTheService(t *testing.T, all built, namespace string) {
	t.Helper()
	service := apiName + "." + namespace
	want := []string{service, service + ".svc", service + ".svc.cluster.local"}
	for _, object := range all {
		if object.GetKind() != "Certificate" {
			continue
		}
		if got, _, err := unstructured.NestedStringSlice(object.Object, "spec", "dnsNames"); err != nil || !slices.Equal(got, want) {
			t.Errorf("the certificate is of %q (%v), want %q", got, err, want)
		}
		secret, _, _ := unstructured.NestedString(object.Object, "spec", "secretName")
		volume := find(t, all, apiName, &appsv1.Deployment{}).Spec.Template.Spec.Volumes[0].Secret
		if secret != volume.SecretName || volume.Optional != nil {
			t.Errorf("the certificate goes into Secret %q, the API takes it from %+v", secret, volume)
		}
		return
	}
	t.Error("there is no certificate")
}

// TestPiecesOfTheAPIFit compares the names by which its objects know each other.
func TestPiecesOfTheAPIFit(t *testing.T) {
	t.Parallel()
	all := build(t, apiSample)
	d := find(t, all, apiName, &appsv1.Deployment{})
	spec, container := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	pod := labels.Set(d.Spec.Template.Labels)
	ports := map[string]int32{}
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	service := find(t, all, apiName, &corev1.Service{})
	if port := service.Spec.Ports[0]; port.Port != 443 || ports[port.TargetPort.String()] != 8443 {
		t.Errorf("the Service leads from %d to port %s of %v", port.Port, port.TargetPort.String(), ports)
	}
	budget := find(t, all, apiName, &policyv1.PodDisruptionBudget{})
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil || !selector.Matches(pod) || !labels.SelectorFromSet(service.Spec.Selector).Matches(pod) {
		t.Errorf("the disruption budget selects %v (%v), the Service %v, pods are %v", selector, err, service.Spec.Selector, pod)
	}
	if *d.Spec.Replicas-int32(budget.Spec.MaxUnavailable.IntValue()) < 1 { //nolint:gosec // of two small numbers
		t.Error("an eviction may leave no API")
	}
	for _, of := range []struct{ name, sample string }{{controllerName, apiSample}, {gatewayName, sample}} {
		other := labels.Set(find(t, build(t, of.sample), of.name, &appsv1.Deployment{}).Spec.Template.Labels)
		if labels.SelectorFromSet(service.Spec.Selector).Matches(other) || selector.Matches(other) {
			t.Errorf("the pods of %s are selected too", of.name)
		}
	}
	if spec.ServiceAccountName != testenv.APIServiceAccount {
		t.Errorf("it runs as %s, whom the policy does not know", spec.ServiceAccountName)
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if probe.HTTPGet.Port != intstr.FromString("probes") || ports["probes"] != 8081 {
			t.Errorf("%s is asked at port %s of %v", probe.HTTPGet.Path, probe.HTTPGet.Port.String(), ports)
		}
	}
	mount := container.VolumeMounts[0]
	for _, flag := range []string{"--tls-cert-file=" + mount.MountPath + "/tls.crt", "--tls-private-key-file=" + mount.MountPath + "/tls.key"} {
		if mount.Name != spec.Volumes[0].Name || !mount.ReadOnly || !slices.Contains(container.Args, flag) {
			t.Errorf("the certificate is mounted as %+v, it is started with %q", mount, container.Args)
		}
	}
	namesOfTheService(t, all, testenv.OperatorNamespace)
}
