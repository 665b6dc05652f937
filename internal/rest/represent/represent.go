// SPDX-License-Identifier: Apache-2.0

// Package represent is the JSON that the API answers with: connections and applications as lists show them, and connections of
// integrations. Members are always there; what is not known is null. No secret is ever in them, because objects hold none.
package represent

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// Representer represents objects. It knows the presets, and calls nobody.
type Representer struct {
	presets map[string]preset
}

// preset is what a preset says to people.
type preset struct{ label, logo string }

// New makes a Representer.
func New(catalogue *provider.Catalogue) *Representer {
	known := map[string]preset{}
	for _, p := range catalogue.Presets() {
		known[p.Name] = preset{label: cmp.Or(p.Spec.DisplayName, p.DisplayName), logo: p.Spec.LogoURL}
	}
	return &Representer{presets: known}
}

// Slug is how paths and filters name an object beside its UID: {namespace}.{name}. A namespace has no dot.
func Slug(object metav1.Object) string { return object.GetNamespace() + "." + object.GetName() }

// label is what people call an application.
func (r *Representer) label(application *v1alpha1.OAuthApplication) string {
	return cmp.Or(application.Spec.DisplayName, r.presets[application.Spec.Provider].label, application.Name)
}

// text is a text, null when it is empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment is a time in UTC, null when it is not known.
func moment(t *metav1.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	utc := t.UTC().Truncate(time.Second)
	return &utc
}

// texts are texts, never null.
func texts[T ~string](all []T) []string {
	made := make([]string, 0, len(all))
	for _, one := range all {
		made = append(made, string(one))
	}
	return made
}

// phase of a connection. Before the operator has looked at it, nothing is possible yet.
func phase(c *v1alpha1.OAuthConnection) string {
	return string(cmp.Or(c.Status.Phase, v1alpha1.ConnectionPending))
}

// ready is reason and message of condition Ready.
func ready(c *v1alpha1.OAuthConnection) (reason, message *string) {
	condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return nil, nil
	}
	return text(condition.Reason), text(condition.Message)
}

// authorizationURL is where a person authorizes a connection anew: the gateway's link, or the provider's page for devices.
func authorizationURL(c *v1alpha1.OAuthConnection) *string {
	if c.Status.AuthorizationURL != "" {
		return text(c.Status.AuthorizationURL)
	}
	if device := c.Status.DeviceAuthorization; device != nil {
		return text(cmp.Or(device.VerificationURIComplete, device.VerificationURI))
	}
	return nil
}

func uid(application *v1alpha1.OAuthApplication) *string {
	if application == nil {
		return nil
	}
	return text(string(application.UID))
}
