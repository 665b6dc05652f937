// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"slices"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// Public is the profile of an application for those who may know no secret: it writes authorization URLs and reads
// callbacks. The spec is one that Catalogue.Effective gave; what the controller resolved comes of the status, so that a
// change which the controller has not accepted leads nobody to another endpoint or under another client. Neither is
// changed. Whatever would need a secret fails.
func Public(effective *v1alpha1.OAuthApplicationSpec, status *v1alpha1.OAuthApplicationStatus) *Profile {
	spec := effective.DeepCopy()
	spec.Endpoints = status.Endpoints.DeepCopy()
	if spec.Endpoints == nil {
		spec.Endpoints = &v1alpha1.Endpoints{}
	}
	return &Profile{
		Spec: spec, Client: oauth.Client{ID: status.ClientID}, RedirectURL: status.RedirectURL, Issuer: status.Issuer,
	}
}

// AuthorizationCaptures are the names of the captured values that an authorization request uses, sorted. The first
// authorization of a connection goes without: parameters that need one are left out until it is known.
func (p *Profile) AuthorizationCaptures() []string {
	defined, err := define(p.Spec)
	if err != nil {
		return nil
	}
	texts := []string{string(p.endpoints().AuthorizationURL)}
	for _, parameter := range p.Spec.AuthorizationParameters {
		texts = append(texts, string(parameter))
	}
	used := map[string]bool{}
	for _, text := range texts {
		for _, name := range names(split(text)) {
			if definition, known := defined[name]; known && definition.input == nil {
				used[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}
