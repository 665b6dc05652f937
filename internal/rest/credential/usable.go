// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// usable says why a connection's token must not be used now; nil: it may be. The result is an error so that nil is one.
func usable(c *v1alpha1.OAuthConnection) error {
	reason, message := ready(c)
	switch {
	case !c.DeletionTimestamp.IsZero():
		return notReady(c, v1alpha1.ReasonDeleting, "is being deleted")
	case reason == v1alpha1.ReasonNotAllowed:
		return notReady(c, reason, "is not allowed: "+message)
	case c.Spec.Suspend:
		return notReady(c, v1alpha1.ReasonSuspended, "is suspended: spec.suspend is true")
	}
	switch c.Status.Phase {
	case v1alpha1.ConnectionActive:
		return nil
	case v1alpha1.ConnectionAuthorizing, v1alpha1.ConnectionInactive, v1alpha1.ConnectionDeleted:
		return inactive(c, reason, message)
	case v1alpha1.ConnectionPending:
	}
	if message == "" {
		message = "the operator has not looked at it yet"
	}
	return notReady(c, reason, "is not ready: "+message)
}

// ready returns what condition Ready says; nothing before there is one.
func ready(c *v1alpha1.OAuthConnection) (reason, message string) {
	if condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		return condition.Reason, condition.Message
	}
	return "", ""
}

func notReady(c *v1alpha1.OAuthConnection, reason, clause string) *problem.Error {
	p := problem.New(problem.ConnectionNotReady, "connection %s/%s %s", c.Namespace, c.Name, clause)
	p.Reason = reason
	return p
}

// bringable tells whether the API can authorize the connection.
func bringable(c *v1alpha1.OAuthConnection) bool {
	grant := c.Spec.Grant
	return grant.Type == v1alpha1.GrantAuthorizationCode && (grant.AuthorizationCode == nil || grant.AuthorizationCode.CodeSecretRef == nil)
}

func inactive(c *v1alpha1.OAuthConnection, reason, message string) *problem.Error {
	if message == "" {
		message = "it holds no grant that works"
	}
	p := problem.New(problem.ConnectionInactive, "connection %s/%s has to be authorized: %s", c.Namespace, c.Name, message)
	if namespace, name := c.ApplicationKey(); bringable(c) {
		p.Detail += fmt.Sprintf("; or bring a code or a refresh token with POST /api/integrations/%s.%s/connect", namespace, name)
	}
	p.Reason, p.AuthorizationURL = reason, c.Status.AuthorizationURL
	return p
}

// application returns the application that a connection refers to. One that is not ready now does no harm to a grant that is
// held: its client was kept.
func (s *Source) application(c *v1alpha1.OAuthConnection) (*v1alpha1.OAuthApplication, error) {
	namespace, name := c.ApplicationKey()
	application := s.Directory.ApplicationNamed(types.NamespacedName{Namespace: namespace, Name: name})
	switch {
	case application == nil:
		return nil, notReady(c, v1alpha1.ReasonApplicationNotFound, fmt.Sprintf("cannot be used: there is no OAuthApplication %s/%s", namespace, name))
	case !application.DeletionTimestamp.IsZero():
		return nil, notReady(c, v1alpha1.ReasonApplicationNotReady, fmt.Sprintf("cannot be used: application %s/%s is being deleted", namespace, name))
	}
	return application, nil
}

// hindrance tells why no other token will come before somebody acts, or before another connection's probe has succeeded, by
// what status says; empty: nothing is known to be in the way.
func hindrance(c *v1alpha1.OAuthConnection) (reason, message string) {
	if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
		return "", ""
	}
	reason, message = ready(c)
	switch reason {
	case v1alpha1.ReasonInvalidClient, v1alpha1.ReasonUnauthorizedClient, v1alpha1.ReasonApplicationNotFound,
		v1alpha1.ReasonApplicationNotReady, v1alpha1.ReasonInvalidInputs, v1alpha1.ReasonInvalidConfiguration,
		v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSourceNotReady, v1alpha1.ReasonServiceAccountNotAllowed:
		return reason, message
	}
	return "", ""
}

// sameFailure tells whether status speaks of the same attempt.
func sameFailure(a, b *v1alpha1.Failure) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Count == b.Count && a.Reason == b.Reason && a.NextAttemptAt.Equal(b.NextAttemptAt)
}

// nextAttempt is zero where there is none.
func nextAttempt(f *v1alpha1.Failure) metav1.Time {
	if f == nil || f.NextAttemptAt == nil {
		return metav1.Time{}
	}
	return *f.NextAttemptAt
}
