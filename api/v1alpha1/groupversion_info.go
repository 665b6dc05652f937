// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the API of oauth-operator.io: OAuthApplication (a client registered at a provider) and
// OAuthConnection (one owner's grant at such an application).
//
// +kubebuilder:object:generate=true
// +groupName=oauth-operator.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group, and the prefix of every label, annotation, finalizer and Secret type of the operator.
const GroupName = "oauth-operator.io"

// GroupVersion returns the group and version of the types in this package.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}
}

// AddToScheme registers both kinds and their lists.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &OAuthApplication{}, &OAuthApplicationList{}, &OAuthConnection{}, &OAuthConnectionList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
