// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller/application"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// forbidden gathers what the application's permission depends on and says why it is not given; nil: it is.
func (r *Reconciler) forbidden(ctx context.Context, s *scope) (*lifecycle.Verdict, error) {
	var labels map[string]string
	if application.NeedsLabels(s.application, s.name.Namespace) {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err := r.Metadata.Get(ctx, types.NamespacedName{Name: s.name.Namespace}, namespace); err != nil {
			return nil, fmt.Errorf("read namespace %s: %w", s.name.Namespace, err)
		}
		labels = namespace.Labels
	}
	message := application.NotAllowed(s.application, s.connection, labels)
	if message == "" {
		return nil, nil
	}
	return &lifecycle.Verdict{Reason: v1alpha1.ReasonNotAllowed, Message: message, Stalled: true}, nil
}
