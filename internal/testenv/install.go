// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Names that config/ installs under.
const (
	// OperatorNamespace is the operator's namespace.
	OperatorNamespace = "oauth-operator-system"
	// ControllerServiceAccount is the ServiceAccount of the controller.
	ControllerServiceAccount = "oauth-operator-controller"
)

// Controller installs config/rbac and returns a config of the controller's own ServiceAccount: what runs with it has
// exactly the permissions that the operator is installed with. Connections go through APIServer.
func (e *Environment) Controller(ctx context.Context) (*rest.Config, error) {
	if err := e.ensureNamespace(ctx, OperatorNamespace); err != nil {
		return nil, err
	}
	if err := e.ApplyKustomization(ctx, filepath.Join("config", "rbac")); err != nil {
		return nil, err
	}
	return e.UserFor(ctx, OperatorNamespace, ControllerServiceAccount)
}

// ApplyKustomization builds a directory, given relative to the module's root, as `kubectl kustomize` does, and applies
// every object of it.
func (e *Environment) ApplyKustomization(ctx context.Context, directory string) error {
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	resources, err := kustomizer.Run(filesys.MakeFsOnDisk(), filepath.Join(e.Root, directory))
	if err != nil {
		return fmt.Errorf("build %s: %w", directory, err)
	}
	for _, resource := range resources.Resources() {
		content, err := resource.MarshalJSON()
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", resource.CurId(), directory, err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			return fmt.Errorf("read %s of %s: %w", resource.CurId(), directory, err)
		}
		configuration := client.ApplyConfigurationFromUnstructured(object)
		if err := e.client.Apply(ctx, configuration, client.FieldOwner("testenv"), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s of %s: %w", resource.CurId(), directory, err)
		}
	}
	return nil
}

func (e *Environment) ensureNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := e.client.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}
