// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Names that config/ installs under.
const (
	// OperatorNamespace is the operator's namespace.
	OperatorNamespace = "oauth-operator-system"
	// ControllerServiceAccount is the ServiceAccount of the controller.
	ControllerServiceAccount = "oauth-operator-controller"
	// GatewayServiceAccount is the ServiceAccount of the gateway.
	GatewayServiceAccount = "oauth-operator-gateway"
	// APIServiceAccount is the ServiceAccount of the API.
	APIServiceAccount = "oauth-operator-api"
)

// messagePolicy is the policy of config/admission.
const messagePolicy = "oauth-operator-messages"

// installPatience is how long the API server may take to see what was installed.
const installPatience = 30 * time.Second

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

// Gateway installs the gateway's ServiceAccount and roles of config/gateway into a namespace, beside others, and the policy
// of config/admission, waits until they count, and returns a config of that ServiceAccount: what runs with it has exactly
// the permissions that a gateway is installed with, in an operator's namespace of its own. Connections go through APIServer.
func (e *Environment) Gateway(ctx context.Context, namespace string) (*rest.Config, error) {
	return e.publicProcess(ctx, filepath.Join("config", "gateway"), namespace, GatewayServiceAccount)
}

// API is Gateway for the API of config/api.
func (e *Environment) API(ctx context.Context, namespace string) (*rest.Config, error) {
	return e.publicProcess(ctx, filepath.Join("config", "api"), namespace, APIServiceAccount)
}

// publicProcess installs the account and the roles of a directory of config/, and the policy that holds the account.
func (e *Environment) publicProcess(ctx context.Context, directory, namespace, account string) (*rest.Config, error) {
	if err := e.ensureNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	objects, err := e.build(directory)
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool {
		return object.GetKind() != "ServiceAccount" && object.GroupVersionKind().Group != rbacv1.GroupName
	})
	for _, object := range objects {
		if err := move(object, namespace); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(e.apply(ctx, objects), e.ApplyKustomization(ctx, filepath.Join("config", "admission"))); err != nil {
		return nil, err
	}
	config, err := e.UserFor(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	return config, e.waitRestricted(ctx, config, namespace)
}

// move brings an object of the installation to another namespace, for itself and for the accounts that it binds.
func move(object *unstructured.Unstructured, namespace string) error {
	if object.GetNamespace() != "" {
		object.SetNamespace(namespace)
	}
	if object.GetKind() == "ClusterRoleBinding" {
		object.SetName(object.GetName() + "-" + namespace)
	}
	subjects, found, err := unstructured.NestedSlice(object.Object, "subjects")
	if err != nil || !found {
		return err
	}
	for _, subject := range subjects {
		if subject, ok := subject.(map[string]any); ok {
			subject["namespace"] = namespace
		}
	}
	return unstructured.SetNestedSlice(object.Object, subjects, "subjects")
}

// waitRestricted waits until an account may list connections and create Secrets, and until the policy refuses it one that
// is no message. Nothing is written.
func (e *Environment) waitRestricted(ctx context.Context, config *rest.Config, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, installPatience)
	defer cancel()
	account, err := client.New(config, client.Options{Scheme: e.Scheme})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return Wait(ctx, func() error {
		if err := account.List(ctx, &v1alpha1.OAuthConnectionList{}); err != nil {
			return err
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-message"}}
		err := account.Create(ctx, secret, client.DryRunAll)
		if err == nil {
			return errors.New("the policy does not count yet")
		}
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), messagePolicy) {
			return fmt.Errorf("the policy or the role does not count yet: %w", err)
		}
		return nil
	})
}

// ApplyKustomization builds a directory, given relative to the module's root, as `kubectl kustomize` does, and applies
// every object of it.
func (e *Environment) ApplyKustomization(ctx context.Context, directory string) error {
	objects, err := e.build(directory)
	if err != nil {
		return err
	}
	if err := e.apply(ctx, objects); err != nil {
		return fmt.Errorf("%s: %w", directory, err)
	}
	return nil
}

// build builds a directory, given relative to the module's root.
func (e *Environment) build(directory string) ([]*unstructured.Unstructured, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // The command's default: namespaces first.
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(e.Root, directory))
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", directory, err)
	}
	objects := make([]*unstructured.Unstructured, 0, resources.Size())
	for _, resource := range resources.Resources() {
		content, err := resource.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", resource.CurId(), directory, err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", resource.CurId(), directory, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// apply applies objects on the server's side, one set at a time: two that create the same object would conflict.
func (e *Environment) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	for _, object := range objects {
		configuration := client.ApplyConfigurationFromUnstructured(object)
		if err := e.client.Apply(ctx, configuration, client.FieldOwner("testenv"), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
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
