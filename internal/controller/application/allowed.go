// SPDX-License-Identifier: Apache-2.0

package application

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// NotAllowed says why an application may not be used by a connection; empty: it may. Its own namespace always may.
// namespaceLabels are those of the connection's namespace; they matter where NeedsLabels says so.
func NotAllowed(application *v1alpha1.OAuthApplication, connection *v1alpha1.OAuthConnection, namespaceLabels map[string]string) string {
	if application.Namespace == connection.Namespace {
		return ""
	}
	name := application.Namespace + "/" + application.Name
	if !namespaceAllowed(application.Spec.AllowedNamespaces, namespaceLabels) {
		return fmt.Sprintf("application %s does not allow connections of namespace %s (its spec.allowedNamespaces)", name, connection.Namespace)
	}
	allowed := application.Spec.AllowedGrantTypes
	if len(allowed) == 0 {
		allowed = []v1alpha1.GrantType{v1alpha1.GrantAuthorizationCode, v1alpha1.GrantDeviceCode, v1alpha1.GrantRefreshToken}
	}
	grantType := connection.Spec.Grant.Type
	if !slices.Contains(allowed, grantType) {
		return fmt.Sprintf("application %s does not allow grant type %s to other namespaces (its spec.allowedGrantTypes)", name, grantType)
	}
	if personConsents(grantType) {
		return ""
	}
	// Nobody consents, so the application's own scopes are the limit.
	var excess []string
	for _, scope := range connection.Spec.Scopes {
		if !slices.Contains(application.Spec.Scopes, scope) {
			excess = append(excess, string(scope))
		}
	}
	if len(excess) > 0 {
		return fmt.Sprintf("with %s, only scopes that application %s lists may be asked for from other namespaces; it does not list %s",
			grantType, name, strings.Join(excess, ", "))
	}
	return ""
}

// personConsents tells the grant types whose scopes a person has seen and agreed to.
func personConsents(grantType v1alpha1.GrantType) bool {
	switch grantType {
	case v1alpha1.GrantAuthorizationCode, v1alpha1.GrantDeviceCode, v1alpha1.GrantRefreshToken:
		return true
	case v1alpha1.GrantClientCredentials, v1alpha1.GrantJWTBearer, v1alpha1.GrantTokenExchange, v1alpha1.GrantExtension:
	}
	return false
}

// NeedsLabels tells whether the labels of a namespace decide whether its connections may use an application.
func NeedsLabels(application *v1alpha1.OAuthApplication, namespace string) bool {
	allowed := application.Spec.AllowedNamespaces
	return namespace != application.Namespace && allowed != nil && allowed.From == v1alpha1.NamespacesFromSelector
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

// held tells whether a connection may hold tokens at the provider, whatever it is allowed now. Only the operator writes
// these phases.
func held(connection *v1alpha1.OAuthConnection) bool {
	phase := connection.Status.Phase
	return phase == v1alpha1.ConnectionActive || phase == v1alpha1.ConnectionInactive
}
