// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Profile is a resolved client with its secrets. It writes the requests to the provider, and calls nobody. It is not changed
// by its methods. Their errors are *FieldError, and show no secret.
type Profile struct {
	// Spec is Resolved.Spec.
	Spec *v1alpha1.OAuthApplicationSpec
	// Client authenticates at the token endpoint. Its assertion, where there is one, is set by the caller on each request.
	Client oauth.Client
	// RevocationAuthentication is Resolved.RevocationAuthentication.
	RevocationAuthentication oauth.AuthenticationMethod
	// RedirectURL is Resolved.RedirectURL.
	RedirectURL string
	// Issuer is the provider's issuer identifier; empty when it is not known.
	Issuer string
	// Secrets are the values of SecretReferences by SecretKey.
	Secrets map[string]sensitive.String
}

// Values are what inputs and captured values stand for, by name. Make them with Profile.Values.
type Values map[string]string

// Values checks what a connection gives as inputs and what was captured of the provider's answers. Inputs that are not given,
// or empty, have their default. Captured values that the spec no longer knows are ignored. The error's field is
// `inputs.NAME`, to be read in the connection's spec, or the capture's in the application's.
func (p *Profile) Values(given, captured map[string]string) (Values, error) {
	defined, err := define(p.Spec)
	if err != nil {
		return nil, err
	}
	if err := checkCaptured(defined, captured); err != nil {
		return nil, err
	}
	if err := checkKnown(p.Spec, given); err != nil {
		return nil, err
	}
	values := Values{}
	for name, value := range captured {
		if definition, known := defined[name]; known && definition.input == nil && value != "" {
			values[name] = value
		}
	}
	hosts := hostTemplates(p.Spec)
	for _, input := range p.Spec.Inputs {
		name := string(input.Name)
		value, err := defined[name].choose(name, given[name])
		if err != nil {
			return nil, err
		}
		for _, template := range hosts {
			if !slices.Contains(template.hostNames(), name) || value == "" {
				continue
			}
			if err := template.checkHostValue(name, value, defined); err != nil {
				return nil, err
			}
		}
		values[name] = value
	}
	return values, nil
}

// Fitting are the Values of what is acceptable of that: for tokens that were obtained with it, and that have to be ended
// although the application has other rules now. What a request needs and does not find is that request's error.
func (p *Profile) Fitting(given, captured map[string]string) Values {
	values := Values{}
	defined, err := define(p.Spec)
	if err != nil {
		return values
	}
	for name, value := range captured {
		definition, known := defined[name]
		if known && definition.input == nil && checkCaptured(defined, map[string]string{name: value}) == nil {
			values[name] = value
		}
	}
	for _, input := range p.Spec.Inputs {
		name := string(input.Name)
		if value, err := defined[name].choose(name, given[name]); err == nil {
			values[name] = value
		}
	}
	return values
}

// ApplicationValues are the values that are the same for all connections: the defaults of inputs. Requests that are made once
// for an application (ListPage, ApplicationPage) use them.
func (p *Profile) ApplicationValues() (Values, error) {
	defined, err := define(p.Spec)
	if err != nil {
		return nil, err
	}
	return defined.defaults(), nil
}

func (all definitions) defaults() Values {
	values := Values{}
	for name, definition := range all {
		if value := definition.fallback(); value != "" {
			values[name] = value
		}
	}
	return values
}

// choose returns an input's value: the given one without prefix and suffix, or the default.
func (d definition) choose(name, given string) (string, error) {
	refuse := func(message string) (string, error) {
		if d.input.Description != "" {
			message += " (" + d.input.Description + ")"
		}
		return "", &FieldError{Field: "inputs." + name, Message: message}
	}
	if given == "" {
		if d.input.Default == nil {
			return refuse("the application needs this value; give it")
		}
		return d.fallback(), nil
	}
	value := d.normalize(given)
	switch {
	case value == "":
		return refuse("nothing is left of it without the prefix " + d.input.Prefix + " and the suffix " + d.input.Suffix)
	case d.input.Default != nil && value == d.fallback():
		return value, nil
	case !printable(value):
		return refuse(fmt.Sprintf("it has control characters, or more than %d bytes", maxValue))
	case !d.accepts(value):
		return refuse("it " + d.describe())
	}
	return value, nil
}

func checkKnown(spec *v1alpha1.OAuthApplicationSpec, given map[string]string) error {
	var known []string
	for _, input := range spec.Inputs {
		known = append(known, string(input.Name))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(known, name) {
			continue
		}
		message := "the application has no such input; remove it"
		if len(known) > 0 {
			message += ", or give one of " + strings.Join(known, ", ")
		}
		return &FieldError{Field: "inputs." + name, Message: message}
	}
	return nil
}

// CheckCaptured holds captured values to the restrictions of the spec.
func (p *Profile) CheckCaptured(captured map[string]string) error {
	defined, err := define(p.Spec)
	if err != nil {
		return err
	}
	return checkCaptured(defined, captured)
}

func checkCaptured(defined definitions, captured map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(captured)) {
		definition, known := defined[name]
		if !known || definition.input != nil || captured[name] == "" {
			continue
		}
		if !printable(captured[name]) {
			return &FieldError{Field: definition.field, Message: fmt.Sprintf("the provider's value has control characters, or more than %d bytes", maxValue)}
		}
		if !definition.accepts(captured[name]) {
			return &FieldError{Field: definition.field, Message: "the provider's value is not what the application expects: it " + definition.describe()}
		}
	}
	return nil
}

// separator stands between scopes.
func (p *Profile) joinScopes(scopes []string) string {
	return oauth.JoinScopes(scopes, p.Spec.ScopeSeparator)
}

// RenewsByAccessToken tells of providers that have no refresh tokens and exchange an access token for a newer one, as long
// as it still works.
func (p *Profile) RenewsByAccessToken() bool {
	return p.Spec.TokenRequest != nil && p.Spec.TokenRequest.Refresh != nil
}

// Revocable tells whether tokens of a kind can be revoked.
func (p *Profile) Revocable(kind v1alpha1.TokenKind) bool {
	if p.Spec.Endpoints == nil || p.Spec.Endpoints.RevocationURL == "" {
		return false
	}
	revocation := p.Spec.Revocation
	return revocation == nil || len(revocation.Tokens) == 0 || slices.Contains(revocation.Tokens, kind)
}
