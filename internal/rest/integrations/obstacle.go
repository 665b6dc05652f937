// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// standing finds what stands against an authorization by the connection's spec alone.
func standing(c *v1alpha1.OAuthConnection) *problem.Error {
	name := client.ObjectKeyFromObject(c)
	switch grant := c.Spec.Grant; {
	case c.DeletionTimestamp != nil:
		return departing(name)
	case c.Spec.Suspend:
		return because(problem.ConnectionNotReady, v1alpha1.ReasonSuspended, "the connection %s is suspended (spec.suspend)", name)
	case grant.Type == v1alpha1.GrantDeviceCode:
		p := because(problem.NoAuthorization, "", "the connection %s is authorized by a device code; status.deviceAuthorization says where", name)
		if device := c.Status.DeviceAuthorization; device != nil {
			p.AuthorizationURL = cmp.Or(device.VerificationURIComplete, device.VerificationURI)
		}
		return p
	case grant.Type != v1alpha1.GrantAuthorizationCode && grant.Type != "":
		return because(problem.NoAuthorization, "", "the grant of connection %s is of type %s, which leaves nothing to a person", name, grant.Type)
	case grant.AuthorizationCode != nil && grant.AuthorizationCode.CodeSecretRef != nil:
		return because(problem.NoAuthorization, "", "the connection %s takes its code from a Secret (spec.grant.authorizationCode.codeSecretRef)",
			name)
	}
	return nil
}

func because(code problem.Code, reason, format string, arguments ...any) *problem.Error {
	p := problem.New(code, format, arguments...)
	p.Reason = reason
	return p
}

// seen tells whether the controller has judged the connection as it is.
func seen(c *v1alpha1.OAuthConnection) bool { return c.Status.ObservedGeneration == c.Generation }

// ready returns the condition of that type; never nil.
func ready(c *v1alpha1.OAuthConnection) metav1.Condition {
	if condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		return *condition
	}
	return metav1.Condition{Status: metav1.ConditionUnknown}
}

// usable tells whether the token of a connection works by all that is known.
func usable(c *v1alpha1.OAuthConnection) bool {
	return seen(c) && ready(c).Status == metav1.ConditionTrue
}

// notReady makes a problem of what the controller says.
func notReady(code problem.Code, c *v1alpha1.OAuthConnection) *problem.Error {
	condition := ready(c)
	return because(code, condition.Reason, "the connection %s: %s", client.ObjectKeyFromObject(c), cmp.Or(condition.Message, condition.Reason))
}

// forbidden finds what the controller says against any authorization; nothing but a change of somebody's helps.
func forbidden(c *v1alpha1.OAuthConnection) *problem.Error {
	switch ready(c).Reason {
	case v1alpha1.ReasonNotAllowed, v1alpha1.ReasonInvalidInputs:
		return notReady(problem.ConnectionNotReady, c)
	}
	return nil
}

// unfinished finds what the controller waits for before an authorization, and what may come by itself soon.
func unfinished(c *v1alpha1.OAuthConnection) *problem.Error {
	switch ready(c).Reason {
	case v1alpha1.ReasonApplicationNotFound, v1alpha1.ReasonApplicationNotReady:
		return notReady(problem.ConnectionNotReady, c)
	}
	return nil
}

// paused finds what may keep the controller from giving a link.
func paused(c *v1alpha1.OAuthConnection) *problem.Error {
	switch ready(c).Reason {
	case v1alpha1.ReasonInvalidClient, v1alpha1.ReasonUnauthorizedClient, v1alpha1.ReasonSecretNotFound,
		v1alpha1.ReasonDiscoveryFailed, v1alpha1.ReasonCABundleInvalid, v1alpha1.ReasonApplicationDeleted:
		return notReady(problem.ConnectionNotReady, c)
	}
	return unfinished(c)
}

// linkless finds why no person can be sent to the provider although the connection may be authorized. application may be nil.
func linkless(c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) *problem.Error {
	switch condition := ready(c); {
	case condition.Reason == v1alpha1.ReasonNoGateway, condition.Reason == v1alpha1.ReasonPARRequired,
		condition.Reason == v1alpha1.ReasonInvalidConfiguration:
		return bringable(notReady(problem.NoAuthorization, c))
	case c.Status.Phase == v1alpha1.ConnectionAuthorizing && condition.Reason == v1alpha1.ReasonAuthorizationRequired &&
		c.Status.AuthorizationURL == "":
		return bringable(notReady(problem.NoAuthorization, c)) // A link comes together with this, or never.
	case application == nil || application.Status.ObservedGeneration != application.Generation ||
		application.Status.Phase != v1alpha1.ApplicationActive:
		return nil
	case !strings.HasSuffix(strings.TrimRight(application.Status.RedirectURL, "/"), v1alpha1.PathCallback):
		return bringable(because(problem.NoAuthorization, v1alpha1.ReasonNoGateway, "the redirect URL of application %s is not a gateway's",
			client.ObjectKeyFromObject(application)))
	}
	return nil
}

// bringable adds what a caller can do that nobody else has to do.
func bringable(p *problem.Error) *problem.Error {
	p.Detail += "; or bring a code or a refresh token with POST to this path"
	return p
}
