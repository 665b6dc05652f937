// SPDX-License-Identifier: Apache-2.0

package application

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestNotAllowed(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"crm": "yes"}}
	all := &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
	for _, test := range []struct {
		reason     string
		namespace  string
		allowed    *v1alpha1.AllowedNamespaces
		labels     map[string]string
		grantTypes []v1alpha1.GrantType
		grantType  v1alpha1.GrantType
		scopes     []v1alpha1.Scope
		want       string // part of the message; empty: allowed
	}{
		{reason: "the own namespace always may", namespace: "platform", grantType: v1alpha1.GrantClientCredentials, scopes: []v1alpha1.Scope{"any"}},
		{reason: "others may not by default", namespace: "team", grantType: v1alpha1.GrantAuthorizationCode, want: "spec.allowedNamespaces"},
		{reason: "Same keeps others out", namespace: "team", allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}, want: "spec.allowedNamespaces"},
		{reason: "All lets everybody in", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode},
		{
			reason: "a selector matches labels", namespace: "team", labels: map[string]string{"crm": "yes"},
			allowed:   &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector},
			grantType: v1alpha1.GrantRefreshToken,
		},
		{
			reason: "a selector keeps out what does not match", namespace: "team", labels: map[string]string{"crm": "no"},
			allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}, want: "namespace team",
		},
		{
			reason: "a selector that is missing matches nothing", namespace: "team",
			allowed: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector}, want: "spec.allowedNamespaces",
		},
		{reason: "credentials alone are not for others by default", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials, want: "spec.allowedGrantTypes"},
		{
			reason: "a person with a device consents, too", namespace: "team", allowed: all, grantType: v1alpha1.GrantDeviceCode,
			scopes: []v1alpha1.Scope{"admin"},
		},
		{reason: "assertions need nobody's consent", namespace: "team", allowed: all, grantType: v1alpha1.GrantJWTBearer, want: "spec.allowedGrantTypes"},
		{reason: "nor do exchanges", namespace: "team", allowed: all, grantType: v1alpha1.GrantTokenExchange, want: "spec.allowedGrantTypes"},
		{reason: "nor do grant types of a provider's own", namespace: "team", allowed: all, grantType: v1alpha1.GrantExtension, want: "spec.allowedGrantTypes"},
		{
			reason: "assertions stay within the application's scopes", namespace: "team", allowed: all, grantType: v1alpha1.GrantJWTBearer,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantJWTBearer}, scopes: []v1alpha1.Scope{"admin"}, want: "with JWTBearer",
		},
		{
			reason: "so do exchanges", namespace: "team", allowed: all, grantType: v1alpha1.GrantTokenExchange,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantTokenExchange}, scopes: []v1alpha1.Scope{"admin"}, want: "with TokenExchange",
		},
		{
			reason: "and grant types of a provider's own", namespace: "team", allowed: all, grantType: v1alpha1.GrantExtension,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantExtension}, scopes: []v1alpha1.Scope{"read", "admin"}, want: "does not list admin",
		},
		{
			reason: "unless the application says so", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, scopes: []v1alpha1.Scope{"read"},
		},
		{
			reason: "and then only within its scopes", namespace: "team", allowed: all, grantType: v1alpha1.GrantClientCredentials,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, scopes: []v1alpha1.Scope{"read", "admin"}, want: "admin",
		},
		{
			reason: "a person may consent to any scope", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode,
			scopes: []v1alpha1.Scope{"admin"},
		},
		{
			reason: "a list of grant types replaces the default", namespace: "team", allowed: all, grantType: v1alpha1.GrantAuthorizationCode,
			grantTypes: []v1alpha1.GrantType{v1alpha1.GrantClientCredentials}, want: "AuthorizationCode",
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			application := &v1alpha1.OAuthApplication{}
			application.Namespace, application.Name = "platform", "crm"
			application.Spec.AllowedNamespaces, application.Spec.AllowedGrantTypes = test.allowed, test.grantTypes
			application.Spec.Scopes = []v1alpha1.Scope{"read", "write"}
			connection := &v1alpha1.OAuthConnection{}
			connection.Namespace, connection.Spec.Scopes, connection.Spec.Grant.Type = test.namespace, test.scopes, test.grantType
			got := NotAllowed(application, connection, test.labels)
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to contain %q", got, test.want)
			}
		})
	}
}
