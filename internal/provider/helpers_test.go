// SPDX-License-Identifier: Apache-2.0

package provider_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// profile resolves a spec with a client and a Secret, without a catalogue.
func profile(t testing.TB, change func(*v1alpha1.OAuthApplicationSpec)) *provider.Profile {
	t.Helper()
	s := spec(func(s *v1alpha1.OAuthApplicationSpec) {
		s.IssuerURL = ""
		s.Endpoints = &v1alpha1.Endpoints{
			AuthorizationURL: "https://login.example.com/authorize",
			TokenURL:         "https://login.example.com/token",
		}
		if change != nil {
			change(s)
		}
	})
	if err := provider.Validate(s, rules()); err != nil {
		t.Fatalf("Validate: %v", err)
	}
	resolved, err := provider.Resolve(s, nil, rules())
	if err != nil {
		t.Fatalf("Resolve: %v", err)
	}
	return &provider.Profile{
		Spec: resolved.Spec, RedirectURL: resolved.RedirectURL,
		Client: oauth.Client{
			ID: "crm", Secret: sensitive.New("the-secret"), Authentication: resolved.Authentication,
		},
		Secrets: map[string]sensitive.String{provider.SecretKey("crm-client", "api_key"): sensitive.New("the-api-key")},
	}
}

func input(name string, change func(*v1alpha1.Input)) v1alpha1.Input {
	made := v1alpha1.Input{Name: v1alpha1.ValueName(name)}
	if change != nil {
		change(&made)
	}
	return made
}
