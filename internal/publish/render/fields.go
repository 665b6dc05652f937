// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// LabelManagedBy says in a Secret's labels that the operator writes it.
const LabelManagedBy = "app.kubernetes.io/managed-by"

// field is a part of a Secret that has templates.
type field int

const (
	dataField field = iota
	labelField
	annotationField
)

// path is how a TemplateError names a member of the field.
func (f field) path(name string) string {
	switch f {
	case labelField:
		return "metadata.labels[" + name + "]"
	case annotationField:
		return "metadata.annotations[" + name + "]"
	case dataField:
	}
	return "data[" + name + "]"
}

// own tells whether the operator sets the label or annotation itself, whatever a template says.
func (f field) own(name string) bool {
	switch f {
	case labelField:
		return name == v1alpha1.LabelConnection || name == v1alpha1.LabelConnectionUID || name == LabelManagedBy
	case annotationField:
		return name == v1alpha1.AnnotationExpiresAt
	case dataField:
	}
	return false
}

// checkName refuses what the API server would refuse, and names that have a meaning for the operator: with them a
// connection could make a Secret that looks like one of the operator's.
func (f field) checkName(name string) error {
	if f == dataField {
		if len(validation.IsConfigMapKey(name)) > 0 {
			return refuse("a key of a Secret has at most 253 letters, digits, '-', '_' and '.'")
		}
		return nil
	}
	// As for the API server, the name of an annotation may have capital letters in its prefix.
	checked := name
	if f == annotationField {
		checked = strings.ToLower(name)
	}
	if len(validation.IsQualifiedName(checked)) > 0 {
		return refuse("the name of a label or annotation is at most 63 letters, digits, '-', '_' and '.', with an optional " +
			"DNS name and '/' before it")
	}
	if prefix, _, found := strings.Cut(strings.ToLower(name), "/"); found && !f.own(name) &&
		(prefix == v1alpha1.GroupName || strings.HasSuffix(prefix, "."+v1alpha1.GroupName)) {
		return refuse("labels and annotations of " + v1alpha1.GroupName + " are the operator's own")
	}
	return nil
}

func (f field) checkValue(value string) error {
	if f == labelField && len(validation.IsValidLabelValue(value)) > 0 {
		return refuse(fmt.Sprintf("the value (%d bytes) cannot be a label: at most 63 letters, digits, '-', '_' and '.', "+
			"with a letter or digit at both ends", len(value)))
	}
	return nil
}
