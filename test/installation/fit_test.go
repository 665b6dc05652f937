// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const (
	controllerName = "oauth-operator-controller"
	gatewayName    = "oauth-operator-gateway"
	sample         = "config/samples/gateway"
)

// built are the objects of a kustomization.
type built []*unstructured.Unstructured

// build builds a directory, given relative to the module's root, as `kubectl kustomize` does.
func build(t *testing.T, directory string) built {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // The command's default: namespaces first.
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(plane.Root, directory))
	if err != nil {
		t.Fatal(err)
	}
	var all built
	for _, resource := range resources.Resources() {
		object := &unstructured.Unstructured{}
		content, err := resource.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := object.UnmarshalJSON(content); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
	return all
}

// find reads the one object of a kind whose name is, or begins with, a name.
func find[T client.Object](t *testing.T, all built, name string, into T) T {
	t.Helper()
	kinds, _, err := plane.Scheme.ObjectKinds(into)
	if err != nil {
		t.Fatal(err)
	}
	var found built
	for _, object := range all {
		if object.GroupVersionKind() == kinds[0] && strings.HasPrefix(object.GetName(), name) {
			found = append(found, object)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d objects %s %s, want 1", len(found), kinds[0].Kind, name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(found[0].Object, into, true); err != nil {
		t.Fatal(err)
	}
	return into
}

// TestEveryManifestIsAccepted applies the operator, and the operator with its gateway, as users do. What the API server does
// not know it refuses.
func TestEveryManifestIsAccepted(t *testing.T) {
	t.Parallel()
	strict := client.WithFieldValidation(plane.Client(), metav1.FieldValidationStrict)
	for _, directory := range []string{"config/default", sample} {
		for _, object := range build(t, directory) {
			configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
			if err := strict.Apply(t.Context(), configuration, client.FieldOwner("installation"), client.ForceOwnership); err != nil {
				t.Errorf("%s: %s %s: %v", directory, object.GetKind(), object.GetName(), err)
			}
		}
	}
	d := find(t, build(t, sample), gatewayName, &appsv1.Deployment{})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "gateway"}, Spec: d.Spec.Template.Spec}
	if err := plane.Client().Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the restricted namespace refuses the gateway's pod: %v", err)
	}
	pod.Spec.SecurityContext = nil
	if err := plane.Client().Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod without security context: got %v, want Forbidden", err)
	}
}

// TestGatewayIsOptional : the operator is the same without it, but for the address.
func TestGatewayIsOptional(t *testing.T) {
	t.Parallel()
	without, with := build(t, "config/default"), build(t, sample)
	for _, object := range without {
		if strings.Contains(object.GetName(), "gateway") {
			t.Errorf("config/default has %s %s", object.GetKind(), object.GetName())
		}
	}
	find(t, without, policyName, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
	}})
	plain, addressed := controllerArguments(t, without), controllerArguments(t, with)
	if want := append(plain, "--external-url=$(EXTERNAL_URL)"); !slices.Equal(addressed, want) {
		t.Errorf("with a gateway the controller is started with %q, want %q", addressed, want)
	}
}

func controllerArguments(t *testing.T, all built) []string {
	t.Helper()
	return find(t, all, controllerName, &appsv1.Deployment{}).Spec.Template.Spec.Containers[0].Args
}

// TestAddressIsSetInOnePlace follows the address of the sample, and that of an overlay of it, to both processes.
func TestAddressIsSetInOnePlace(t *testing.T) {
	t.Parallel()
	other := overlay(t, `
resources: [ROOT/config/default]
components: [ROOT/config/components/gateway]
namespace: elsewhere
patches:
- patch: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: oauth-operator-gateway, namespace: oauth-operator-system}
    data: {externalURL: "https://other.example.com"}
`)
	names := map[string]string{}
	for directory, want := range map[string]string{sample: "https://oauth.example.com", other: "https://other.example.com"} {
		all := build(t, directory)
		configuration := find(t, all, gatewayName, &corev1.ConfigMap{})
		if got := configuration.Data["externalURL"]; got != want {
			t.Errorf("%s: the address is %q, want %q", directory, got, want)
		}
		names[configuration.Name] = directory
		for _, name := range []string{controllerName, gatewayName} {
			d := find(t, all, name, &appsv1.Deployment{})
			container := d.Spec.Template.Spec.Containers[0]
			if d.Namespace != configuration.Namespace || !slices.Contains(container.Args, "--external-url=$(EXTERNAL_URL)") {
				t.Errorf("%s: %s in namespace %s is started with %q", directory, name, d.Namespace, container.Args)
			}
			for _, variable := range container.Env {
				key := variable.ValueFrom.ConfigMapKeyRef
				if _, there := configuration.Data[key.Key]; key.Name != configuration.Name || !there {
					t.Errorf("%s: %s of %s comes from %s of ConfigMap %s", directory, variable.Name, name, key.Key, key.Name)
				}
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("a changed address changes no pod: %v", slices.Collect(maps.Keys(names)))
	}
}

// TestGatewayMovesWithTheOperator : another namespace is one line of an overlay.
func TestGatewayMovesWithTheOperator(t *testing.T) {
	t.Parallel()
	const namespace = "elsewhere"
	all := build(t, overlay(t, "namespace: "+namespace+"\nresources: [ROOT/"+sample+"]\n"))
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
	binding := find(t, all, gatewayName, &rbacv1.ClusterRoleBinding{})
	if got := binding.Subjects[0].Namespace; got != namespace {
		t.Errorf("an account of namespace %s is bound", got)
	}
}

// TestPiecesOfTheGatewayFit compares the names by which its objects know each other.
func TestPiecesOfTheGatewayFit(t *testing.T) {
	t.Parallel()
	all := build(t, sample)
	d := find(t, all, gatewayName, &appsv1.Deployment{})
	spec, container := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	pod := labels.Set(d.Spec.Template.Labels)
	ports := map[string]int32{}
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}

	service := find(t, all, gatewayName, &corev1.Service{})
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(pod) {
		t.Errorf("the Service selects %v, pods are %v", service.Spec.Selector, pod)
	}
	if port := service.Spec.Ports[0]; port.Port != 80 || ports[port.TargetPort.String()] != 8080 {
		t.Errorf("the Service leads from %d to port %s of %v", port.Port, port.TargetPort.String(), ports)
	}
	backend := find(t, all, gatewayName, &networkingv1.Ingress{}).Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if backend.Name != service.Name || backend.Port.Name != service.Spec.Ports[0].Name {
		t.Errorf("the Ingress leads to %+v", backend)
	}
	budget := find(t, all, gatewayName, &policyv1.PodDisruptionBudget{})
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil || !selector.Matches(pod) {
		t.Errorf("the disruption budget selects %v (%v), pods are %v", selector, err, pod)
	}
	if *d.Spec.Replicas-int32(budget.Spec.MaxUnavailable.IntValue()) < 1 { //nolint:gosec // of two small numbers
		t.Error("an eviction may leave no gateway")
	}
	controller := labels.Set(find(t, all, controllerName, &appsv1.Deployment{}).Spec.Template.Labels)
	if labels.SelectorFromSet(service.Spec.Selector).Matches(controller) || selector.Matches(controller) {
		t.Error("the controller's pods are selected too")
	}
	if spec.ServiceAccountName != testenv.GatewayServiceAccount {
		t.Errorf("it runs as %s, whom the policy does not know", spec.ServiceAccountName)
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if probe.HTTPGet.Port != intstr.FromString("probes") || ports["probes"] != 8081 {
			t.Errorf("%s is asked at port %s of %v", probe.HTTPGet.Path, probe.HTTPGet.Port.String(), ports)
		}
	}
	keys := spec.Volumes[0].Secret
	if keys.SecretName != v1alpha1.GatewayKeysSecret {
		t.Errorf("the keys come from Secret %s, the controller writes %s", keys.SecretName, v1alpha1.GatewayKeysSecret)
	}
	mount := container.VolumeMounts[0]
	if mount.Name != spec.Volumes[0].Name || !mount.ReadOnly || !slices.Contains(container.Args, "--keys-dir="+mount.MountPath) {
		t.Errorf("the keys are mounted as %+v, it is started with %q", mount, container.Args)
	}
}
