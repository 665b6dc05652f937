// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
)

// forbidden gathers what the application's permission depends on and says why it is not given; nil: it is.
func (r *Reconciler) forbidden(ctx context.Context, s *scope) (*lifecycle.Verdict, error) {
	var namespaceLabels map[string]string
	if allowed := s.application.Spec.AllowedNamespaces; allowed != nil && allowed.From == v1alpha1.NamespacesFromSelector {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err := r.Metadata.Get(ctx, types.NamespacedName{Name: s.name.Namespace}, namespace); err != nil {
			return nil, fmt.Errorf("read namespace %s: %w", s.name.Namespace, err)
		}
		namespaceLabels = namespace.Labels
	}
	message := notAllowed(s.application, s.connection, namespaceLabels)
	if message == "" {
		return nil, nil
	}
	return &lifecycle.Verdict{Reason: v1alpha1.ReasonNotAllowed, Message: message, Stalled: true}, nil
}

// notAllowed says why an application may not be used by a connection; empty: it may. Its own namespace always may.
func notAllowed(application *v1alpha1.OAuthApplication, connection *v1alpha1.OAuthConnection, namespaceLabels map[string]string) string {
	if application.Namespace == connection.Namespace {
		return ""
	}
	name := application.Namespace + "/" + application.Name
	if !namespaceAllowed(application.Spec.AllowedNamespaces, namespaceLabels) {
		return fmt.Sprintf("application %s does not allow connections of namespace %s (its spec.allowedNamespaces)", name, connection.Namespace)
	}
	allowed := application.Spec.AllowedGrantTypes
	if len(allowed) == 0 {
		allowed = []v1alpha1.GrantType{v1alpha1.GrantAuthorizationCode, v1alpha1.GrantRefreshToken}
	}
	grantType := connection.Spec.Grant.Type
	if !slices.Contains(allowed, grantType) {
		return fmt.Sprintf("application %s does not allow grant type %s to other namespaces (its spec.allowedGrantTypes)", name, grantType)
	}
	if grantType != v1alpha1.GrantClientCredentials {
		return ""
	}
	// No person consents, so the application's own scopes are the limit.
	var excess []string
	for _, scope := range connection.Spec.Scopes {
		if !slices.Contains(application.Spec.Scopes, scope) {
			excess = append(excess, string(scope))
		}
	}
	if len(excess) > 0 {
		return fmt.Sprintf("with ClientCredentials, only scopes that application %s lists may be asked for from other namespaces; it does not list %s",
			name, strings.Join(excess, ", "))
	}
	return ""
}

func namespaceAllowed(allowed *v1alpha1.AllowedNamespaces, namespaceLabels map[string]string) bool {
	if allowed == nil {
		return false
	}
	switch allowed.From {
	case v1alpha1.NamespacesFromAll:
		return true
	case v1alpha1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
		return err == nil && selector.Matches(labels.Set(namespaceLabels))
	case v1alpha1.NamespacesFromSame:
	}
	return false
}
