// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const controllerName = "oauth-operator-controller"

func (s *suite) install(t *testing.T) {
	s.manifest = s.withCertificates(t, build(t, "overlay", "oauth-operator", s.image))
	start := time.Now()
	s.apply(t, s.manifest)
	applied := time.Now()
	s.waitDeployment(t, testenv.OperatorNamespace, controllerName, 1)
	t.Logf("applied in %s, available %s later", applied.Sub(start).Round(time.Millisecond), time.Since(applied).Round(time.Millisecond))
	// They need the keys that the controller writes, and the kubelet brings.
	s.waitDeployment(t, testenv.OperatorNamespace, gatewayName, gateways)
	t.Logf("the gateway is available %s after it was applied", time.Since(applied).Round(time.Millisecond))
	s.waitDeployment(t, testenv.OperatorNamespace, apiName, apis)
	s.warnings.none(t)
	s.policyIsSound(t)
}

// apply applies objects on the server's side, as kubectl does: unknown fields are refused.
func (s *suite) apply(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	strict := client.WithFieldValidation(s.client, metav1.FieldValidationStrict)
	for _, object := range objects {
		configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
		if err := strict.Apply(t.Context(), configuration, client.FieldOwner("e2e")); err != nil {
			t.Fatalf("apply %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// build builds a directory of this package with another image in place of one, as `kubectl kustomize` does when it is allowed
// to take single files of the samples (--load-restrictor LoadRestrictionsNone).
func build(t *testing.T, directory, replaced, image string) []*unstructured.Unstructured {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // The command's default: namespaces first.
	options.LoadRestrictions = kustomize.LoadRestrictionsNone
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), withImage(t, directory, replaced, image))
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range resources.Resources() {
		object := &unstructured.Unstructured{}
		content, err := resource.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := object.UnmarshalJSON(content); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// withImage returns a directory with a kustomization of another one that sets an image.
func withImage(t *testing.T, base, replaced, image string) string {
	t.Helper()
	// Kustomizations name each other by relative paths, which must not lead through links.
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.Abs(base); err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.Rel(directory, base); err != nil {
		t.Fatal(err)
	}
	separator := strings.LastIndex(image, ":")
	if separator < strings.LastIndex(image, "/") || separator < 0 {
		t.Fatalf("image %s has no tag", image)
	}
	content, err := yaml.Marshal(kustomize.Kustomization{
		Resources: []string{base},
		Images:    []kustomize.Image{{Name: replaced, NewName: image[:separator], NewTag: image[separator+1:]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}

// waitDeployment waits until that many pods of a Deployment, and no other, are available.
func (s *suite) waitDeployment(t *testing.T, namespace, name string, replicas int32) {
	t.Helper()
	testenv.Eventually(t, kubeletPatience, func() error {
		d := &appsv1.Deployment{}
		if err := s.client.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, d); err != nil {
			return err
		}
		if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas != replicas ||
			d.Status.AvailableReplicas != replicas || d.Status.Replicas != replicas {
			return fmt.Errorf("want %d replicas available; status is %+v", replicas, d.Status)
		}
		return nil
	})
}

// policyIsSound wants the API server to find nothing to say about the types in the policy's expressions.
func (s *suite) policyIsSound(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		if err := s.client.Get(context.Background(), types.NamespacedName{Name: "oauth-operator-messages"}, policy); err != nil {
			return err
		}
		if policy.Status.ObservedGeneration < policy.Generation {
			return errors.New("the expressions of the policy have not been checked")
		}
		if policy.Status.TypeChecking == nil {
			return nil
		}
		for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
			t.Fatalf("%s: %s", warning.FieldRef, warning.Warning)
		}
		return nil
	})
}

// controllers returns the controller's pods that are not on their way out.
func (s *suite) controllers(t *testing.T) []corev1.Pod { return s.podsOf(t, "controller") }

// podsOf returns the pods of a component that are not on their way out.
func (s *suite) podsOf(t *testing.T, component string) []corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	err := s.client.List(t.Context(), pods, client.InNamespace(testenv.OperatorNamespace),
		client.MatchingLabels{"app.kubernetes.io/name": "oauth-operator", "app.kubernetes.io/component": component})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
}

func (s *suite) podsAreRestricted(t *testing.T) {
	for _, component := range []struct {
		name, account string
		pods          int
	}{
		{"controller", testenv.ControllerServiceAccount, 1},
		{"gateway", testenv.GatewayServiceAccount, gateways},
		{"api", testenv.APIServiceAccount, apis},
	} {
		pods := s.podsOf(t, component.name)
		if len(pods) != component.pods {
			t.Fatalf("%s has %d pods, want %d", component.name, len(pods), component.pods)
		}
		for _, pod := range pods {
			podIsRestricted(t, &pod, component.account)
		}
	}
	privileged := restrictedPod(testenv.OperatorNamespace, "privileged", s.tools)
	privileged.Spec.Containers[0].SecurityContext.Privileged = new(true)
	privileged.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	if err := s.client.Create(t.Context(), privileged, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the operator's namespace answers %v to a privileged pod, want Forbidden", err)
	}
	restricted := restrictedPod(testenv.OperatorNamespace, "restricted", s.tools)
	if err := s.client.Create(t.Context(), restricted, client.DryRunAll); err != nil {
		t.Errorf("the operator's namespace refuses a restricted pod: %v", err)
	}
}

// podIsRestricted looks at a pod as it runs.
func podIsRestricted(t *testing.T, pod *corev1.Pod, account string) {
	t.Helper()
	for _, container := range pod.Status.ContainerStatuses {
		if container.RestartCount != 0 {
			t.Errorf("%s: container %s was restarted %d times", pod.Name, container.Name, container.RestartCount)
		}
		if user := container.User; user != nil && user.Linux != nil && user.Linux.UID == 0 {
			t.Errorf("%s: container %s runs as root", pod.Name, container.Name)
		}
	}
	if pod.Spec.ServiceAccountName != account {
		t.Errorf("%s runs as ServiceAccount %s", pod.Name, pod.Spec.ServiceAccountName)
	}
	readOnly := pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem
	if readOnly == nil || !*readOnly {
		t.Errorf("%s: its root file system can be written", pod.Name)
	}
}

// uninstall does what the README says: both kinds first, while the operator still runs and can revoke, then the manifest.
// It is content with what is gone already.
func (s *suite) uninstall(ctx context.Context) error {
	if err := s.removeKinds(ctx); err != nil {
		return err
	}
	for _, object := range s.manifest {
		err := s.client.Delete(ctx, object.DeepCopy())
		if client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
			return fmt.Errorf("delete %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	for _, object := range s.manifest {
		if err := s.waitGone(ctx, object.DeepCopy()); err != nil {
			return err
		}
	}
	return nil
}

// removeKinds deletes every object of both kinds, all at once, and waits for the last finalizer. No Secret of the
// operator's own is left then that holds anything of a grant or a client.
func (s *suite) removeKinds(ctx context.Context) error {
	if err := s.forEachObject(ctx, func(object client.Object) error {
		return client.IgnoreNotFound(s.client.Delete(ctx, object))
	}); err != nil {
		return err
	}
	return testenv.Wait(ctx, func() error {
		var left []error
		err := s.forEachObject(ctx, func(object client.Object) error {
			left = append(left, fmt.Errorf("%T %s/%s is left", object, object.GetNamespace(), object.GetName()))
			return nil
		})
		secrets := &corev1.SecretList{}
		if err := s.client.List(ctx, secrets, client.InNamespace(testenv.OperatorNamespace)); err != nil {
			return err
		}
		for _, secret := range secrets.Items {
			if !staysUntilTheEnd(&secret) {
				left = append(left, fmt.Errorf("Secret %s/%s is left", secret.Namespace, secret.Name))
			}
		}
		return errors.Join(append(left, err)...)
	})
}

// staysUntilTheEnd tells of the Secrets of an installation that go with its namespace: keys, certificates, and messages that
// were taken.
func staysUntilTheEnd(secret *corev1.Secret) bool {
	switch secret.Type {
	case v1alpha1.SecretTypeKeys, corev1.SecretTypeTLS:
		return true
	case v1alpha1.SecretTypePending:
		return len(secret.Data) == 0
	default:
		return false
	}
}

// forEachObject calls a function for every object of both kinds. Where the kinds are not there, there are none.
func (s *suite) forEachObject(ctx context.Context, call func(client.Object) error) error {
	for _, list := range []client.ObjectList{&v1alpha1.OAuthConnectionList{}, &v1alpha1.OAuthApplicationList{}} {
		if err := s.client.List(ctx, list); meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if !ok {
				return fmt.Errorf("%T is no object", item)
			}
			return call(object)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeOwn removes what the suite itself has put into the cluster.
func (s *suite) removeOwn(ctx context.Context) error {
	objects := []client.Object{&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: scraperBinding}}}
	for _, name := range ownNamespaces() {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, object := range objects {
		if err := client.IgnoreNotFound(s.client.Delete(ctx, object)); err != nil {
			return err
		}
	}
	for _, object := range objects {
		if err := s.waitGone(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) waitGone(ctx context.Context, object client.Object) error {
	err := testenv.Wait(ctx, func() error {
		err := s.client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
	if err != nil {
		return fmt.Errorf("wait for the end of %T %s: %w", object, object.GetName(), err)
	}
	return nil
}

// uninstallLeavesNothing removes the operator while it holds a living grant.
func (s *suite) uninstallLeavesNothing(t *testing.T) {
	token := s.connect(t, teamNamespace, "last", sampleApplication())
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), removalPatience)
	defer cancel()
	if err := s.uninstall(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("uninstalled in %s", time.Since(start).Round(time.Millisecond))
	if s.active(t, token) {
		t.Error("a token works after the uninstallation")
	}
	if err := s.removeOwn(ctx); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error { return s.leftovers(context.Background()) })
}

// leftovers returns an error that names every object, of whatever kind, which still speaks of the operator. Events are
// history and end by themselves.
func (s *suite) leftovers(ctx context.Context) error {
	lists, err := discovery.ServerPreferredResources(s.clientset.Discovery())
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(s.config)
	if err != nil {
		return err
	}
	var left []error
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || resource.Name == "events" {
				continue
			}
			found, err := objects.Resource(version.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				return fmt.Errorf("list %s: %w", resource.Name, err)
			}
			for _, object := range found.Items {
				if mentionsOperator(&object) {
					left = append(left, fmt.Errorf("%s %s/%s is left", resource.Name, object.Namespace, object.Name))
				}
			}
		}
	}
	return errors.Join(append(left, s.aggregatedRules(ctx))...)
}

// mentionsOperator says whether an object is named after the operator, is in its namespace, or carries its marks.
func mentionsOperator(object *metav1.PartialObjectMetadata) bool {
	words := append([]string{object.Name, object.Namespace}, object.Finalizers...)
	for key, value := range object.Labels {
		words = append(words, key, value)
	}
	for key, value := range object.Annotations {
		words = append(words, key, value)
	}
	for _, owner := range object.OwnerReferences {
		words = append(words, owner.APIVersion, owner.Name)
	}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(word, "oauth-operator") })
}

// aggregatedRules looks into Kubernetes' own roles, into which the operator's were aggregated.
func (s *suite) aggregatedRules(ctx context.Context) error {
	var left []error
	for _, name := range []string{"view", "edit", "admin"} {
		role := &rbacv1.ClusterRole{}
		if err := s.client.Get(ctx, types.NamespacedName{Name: name}, role); err != nil {
			return err
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.APIGroups, v1alpha1.GroupName) {
				left = append(left, fmt.Errorf("ClusterRole %s still has a rule for %s", name, v1alpha1.GroupName))
			}
		}
	}
	return errors.Join(left...)
}
