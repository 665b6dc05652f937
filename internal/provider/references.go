// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// SecretReference is a header or parameter whose value is in a Secret of the application's namespace.
type SecretReference struct {
	// Field is the path in the spec, like `tokenRequest.headers[Authorization].secretKeyRef`.
	Field string
	// Name of the Secret: the given one, else that of client.secretRef; empty when there is neither.
	Name string
	// Key in the Secret.
	Key string
}

// SecretKey is the name under which Profile.Secrets has the value of a key of a Secret.
func SecretKey(name, key string) string { return name + "/" + key }

// SecretReferences lists the Secrets that headers and parameters of a spec take their values from, in the spec's order. The
// same key may occur several times.
func SecretReferences(spec *v1alpha1.OAuthApplicationSpec) []SecretReference {
	var all []SecretReference
	add := func(field string, ref *v1alpha1.ValueSecretReference) {
		if ref != nil {
			all = append(all, SecretReference{Field: field + ".secretKeyRef", Name: secretName(spec, ref), Key: ref.Key})
		}
	}
	for _, list := range headerLists(spec) {
		for _, header := range list.headers {
			add(entry(list.field, header.Name), header.SecretKeyRef)
		}
	}
	if spec.TokenRequest != nil {
		for _, parameter := range spec.TokenRequest.Parameters {
			add(entry("tokenRequest.parameters", parameter.Name), parameter.SecretKeyRef)
		}
	}
	return all
}

// entry is the path of an entry of a list or map.
func entry(field, name string) string { return field + "[" + name + "]" }

func secretName(spec *v1alpha1.OAuthApplicationSpec, ref *v1alpha1.ValueSecretReference) string {
	if ref.Name == "" && spec.Client.SecretRef != nil {
		return spec.Client.SecretRef.Name
	}
	return ref.Name
}
