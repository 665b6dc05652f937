// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// stage is when a value becomes known.
type stage int

const (
	// stageApplication: with the application; it is the same for all its connections.
	stageApplication stage = iota
	// stageConnection: with the connection's spec.
	stageConnection
	// stageCallback: with the callback of an authorization.
	stageCallback
	// stageResponse: with the first answer of the token endpoint.
	stageResponse
	// stageUserInfo: with the answer of the user info endpoint.
	stageUserInfo
)

// definition is what a spec says about a value that can stand in URLs, parameters and headers.
type definition struct {
	// field is where the spec defines it, like `inputs[tenant]`.
	field string
	stage stage
	restriction
	// input is nil for a captured value.
	input *v1alpha1.Input
}

// fallback is what the application itself gives; it may be any host.
func (d definition) fallback() string {
	if d.input == nil || d.input.Default == nil {
		return ""
	}
	return d.normalize(*d.input.Default)
}

// optional tells of an input that may have no value.
func (d definition) optional() bool {
	return d.input != nil && d.input.Default != nil && d.fallback() == ""
}

// normalize takes prefix and suffix off.
func (d definition) normalize(value string) string {
	return strings.TrimSuffix(strings.TrimPrefix(value, d.input.Prefix), d.input.Suffix)
}

type definitions map[string]definition

// reserved are names that the operator itself gives values to.
func reserved(name string) bool {
	switch name {
	case "access_token", "refresh_token", "token", "client_id", "client_secret", "redirect_uri", "scope", "state", "code", "application_id":
		return true
	}
	return false
}

// define collects the inputs and captured values of a spec. The error is a *FieldError.
func define(spec *v1alpha1.OAuthApplicationSpec) (definitions, error) {
	all := definitions{}
	add := func(list string, name v1alpha1.ValueName, at stage, r v1alpha1.Restriction, input *v1alpha1.Input) error {
		field := entry(list, string(name))
		if earlier, taken := all[string(name)]; taken {
			return &FieldError{Field: field, Message: "the name is taken by " + earlier.field + "; choose another one"}
		}
		if !isName(string(name)) || reserved(string(name)) {
			return &FieldError{Field: field, Message: "this is a name of the operator's own, or no name at all; choose another one of letters, digits and _"}
		}
		compiled, err := newRestriction(r)
		if err != nil {
			return &FieldError{Field: field + ".pattern", Message: err.Error()}
		}
		all[string(name)] = definition{field: field, stage: at, restriction: compiled, input: input}
		return nil
	}
	for i := range spec.Inputs {
		input := &spec.Inputs[i]
		if err := add("inputs", input.Name, stageConnection, input.Restriction, input); err != nil {
			return nil, err
		}
	}
	if spec.Callback != nil {
		for _, capture := range spec.Callback.Capture {
			if err := add("callback.capture", capture.Name, stageCallback, capture.Restriction, nil); err != nil {
				return nil, err
			}
		}
	}
	for _, list := range captures(spec) {
		for _, capture := range list.captures {
			if err := add(list.field, capture.Name, list.stage, capture.Restriction, nil); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

type captureList struct {
	field    string
	stage    stage
	captures []v1alpha1.Capture
}

// captures are the lists of values that a spec keeps of JSON answers.
func captures(spec *v1alpha1.OAuthApplicationSpec) []captureList {
	var all []captureList
	if spec.TokenResponse != nil {
		all = append(all, captureList{"tokenResponse.capture", stageResponse, spec.TokenResponse.Capture})
	}
	if spec.UserInfo != nil {
		all = append(all, captureList{"userInfo.capture", stageUserInfo, spec.UserInfo.Capture})
	}
	return all
}

// checkDefaults holds the defaults of inputs to their own restrictions.
func (all definitions) checkDefaults(spec *v1alpha1.OAuthApplicationSpec) error {
	for _, input := range spec.Inputs {
		defined := all[string(input.Name)]
		if input.Default == nil || defined.optional() {
			continue
		}
		if value := defined.fallback(); !printable(value) || !defined.accepts(value) {
			return &FieldError{Field: defined.field + ".default", Message: fmt.Sprintf(
				"it %s, as the restriction of this input says; change the one or the other", either(defined.describe(), "must be printable text"))}
		}
	}
	return nil
}

func either(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
