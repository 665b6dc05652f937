// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"slices"
	"strings"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Strip takes out of objects of both kinds what the API never reads, before an informer keeps them, and lets connections that
// say the same share the text. It is a TransformFunc of client-go, which sees objects before anybody else does.
func Strip(object any) (any, error) {
	switch stripped := object.(type) {
	case *v1alpha1.OAuthConnection:
		stripMeta(&stripped.ObjectMeta)
		if stripped.Spec.Secret != nil {
			stripped.Spec.Secret.Template = nil
		}
		stripStatus(&stripped.Status)
		share(stripped)
	case *v1alpha1.OAuthApplication:
		stripMeta(&stripped.ObjectMeta)
	}
	return object, nil
}

// stripMeta leaves of the metadata what identifies the object, its times, its finalizers and our own annotations.
func stripMeta(meta *metav1.ObjectMeta) {
	meta.ManagedFields, meta.Labels, meta.OwnerReferences = nil, nil, nil
	maps.DeleteFunc(meta.Annotations, func(name, _ string) bool { return !strings.HasPrefix(name, v1alpha1.GroupName+"/") })
	if len(meta.Annotations) == 0 {
		meta.Annotations = nil
	}
}

// stripStatus takes out the conditions that are there for tools which follow kstatus. What is left is in lists of its length: a
// decoder makes longer ones.
func stripStatus(status *v1alpha1.OAuthConnectionStatus) {
	status.Conditions = slices.Clone(slices.DeleteFunc(status.Conditions, func(condition metav1.Condition) bool {
		return condition.Type == v1alpha1.ConditionReconciling || condition.Type == v1alpha1.ConditionStalled
	}))
	status.Scopes = slices.Clone(status.Scopes)
}

// share holds once what many connections say alike.
func share(connection *v1alpha1.OAuthConnection) {
	texts := []*string{
		&connection.Kind, &connection.APIVersion, &connection.Namespace, &connection.Spec.ApplicationRef.Name,
		&connection.Spec.ApplicationRef.Namespace, &connection.Spec.Owner, &connection.Status.TokenType,
	}
	for i := range connection.Finalizers {
		texts = append(texts, &connection.Finalizers[i])
	}
	for i := range connection.Status.Scopes {
		texts = append(texts, &connection.Status.Scopes[i])
	}
	for i := range connection.Status.Conditions {
		condition := &connection.Status.Conditions[i]
		texts = append(texts, &condition.Type, &condition.Reason, &condition.Message)
	}
	for _, text := range texts {
		*text = unique.Make(*text).Value()
	}
}
