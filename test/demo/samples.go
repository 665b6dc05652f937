// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// samplesDirectory is relative to the root of the repository.
const samplesDirectory = "config/samples"

// samples are the objects of config/samples in the order of its kustomization.
type samples []*unstructured.Unstructured

// readSamples builds the kustomization, as `kubectl kustomize` does.
func readSamples(root string) (samples, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, samplesDirectory))
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", samplesDirectory, err)
	}
	var all samples
	for _, resource := range resources.Resources() {
		content, err := resource.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", resource.CurId(), samplesDirectory, err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", resource.CurId(), samplesDirectory, err)
		}
		all = append(all, object)
	}
	return all, nil
}

// readManifest reads the objects of one file below config/samples.
func readManifest(root, name string) (samples, error) {
	path := filepath.Join(samplesDirectory, name)
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return decode(content, path)
}

// decode reads the objects of a file.
func decode(content []byte, path string) (samples, error) {
	var all samples
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), len(content)); ; {
		object := &unstructured.Unstructured{}
		switch err := documents.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", path, err)
		case len(object.Object) > 0:
			all = append(all, object)
		}
	}
}

// find returns an object by kind and name.
func (s samples) find(kind, name string) (*unstructured.Unstructured, error) {
	for _, object := range s {
		if object.GetKind() == kind && object.GetName() == name {
			return object, nil
		}
	}
	return nil, fmt.Errorf("%s has no %s %s", samplesDirectory, kind, name)
}

// registration is the client of the samples as a provider has it registered.
func (s samples) registration() (harness.Client, error) {
	application, err := s.find("OAuthApplication", applicationName)
	if err != nil {
		return harness.Client{}, err
	}
	reference, _, _ := unstructured.NestedString(application.Object, "spec", "client", "secretRef", "name")
	secret, err := s.find("Secret", reference)
	if err != nil {
		return harness.Client{}, err
	}
	id, _, _ := unstructured.NestedString(application.Object, "spec", "client", "id")
	value, _, _ := unstructured.NestedString(secret.Object, "stringData", v1alpha1.DefaultClientSecretKey)
	redirect, _, _ := unstructured.NestedString(application.Object, "spec", "redirectURL")
	scopes, _, err := unstructured.NestedStringSlice(application.Object, "spec", "scopes")
	return harness.Client{ID: id, Secret: value, RedirectURIs: []string{redirect}, Scopes: scopes}, err
}

// pointAt sets the one line that cannot be in a file: the address of a server that takes a free port. It returns what
// the file says.
func (s samples) pointAt(issuer string) (string, error) {
	application, err := s.find("OAuthApplication", applicationName)
	if err != nil {
		return "", err
	}
	before, _, err := unstructured.NestedString(application.Object, "spec", "issuerURL")
	if err != nil {
		return "", err
	}
	return before, unstructured.SetNestedField(application.Object, issuer, "spec", "issuerURL")
}

// apply applies every object on the server's side, and refuses unknown fields as kubectl does.
func (s samples) apply(ctx context.Context, c client.Client, options ...client.ApplyOption) error {
	c = client.WithFieldValidation(c, "Strict")
	options = append(options, client.FieldOwner("demo"))
	for _, object := range s {
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), options...); err != nil {
			return fmt.Errorf("apply %s: %w", label(object), err)
		}
	}
	return nil
}

// label names an object as kubectl does.
func label(object *unstructured.Unstructured) string {
	kind := strings.ToLower(object.GetKind())
	if group := object.GroupVersionKind().Group; group != "" {
		kind += "." + group
	}
	return kind + "/" + object.GetName()
}
