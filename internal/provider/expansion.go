// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// expansion fills the templates of one request.
type expansion struct {
	profile *Profile
	defined definitions
	values  Values
	// operator are the operator's own values that the request knows.
	operator map[string]sensitive.String
}

func (p *Profile) expansion(v Values) (*expansion, error) {
	defined, err := define(p.Spec)
	if err != nil {
		return nil, err
	}
	return &expansion{
		profile: p, defined: defined, values: v,
		operator: map[string]sensitive.String{nameClientID: sensitive.New(p.Client.ID)},
	}, nil
}

// url expands a URL. Of the operator's own values only the client's id can be in one.
func (x *expansion) url(field, text string) (string, error) {
	if text == "" {
		return "", missing(field)
	}
	parsed, err := parseURL(field, text)
	if err != nil {
		return "", err
	}
	return parsed.expand(func(name string) string {
		if name == nameClientID {
			return x.profile.Client.ID
		}
		return x.values[name]
	}, x.defined)
}

// text fills a header or parameter. given is false when it uses an input without value, or a value that is not known and
// lenient says that it may then be left out.
func (x *expansion) text(field, text string, lenient bool) (value sensitive.String, given bool, err error) {
	pieces := split(text)
	for _, name := range names(pieces) {
		_, operators := x.operator[name]
		definition, known := x.defined[name]
		switch {
		case !x.value(name).IsEmpty():
		case !operators && !known:
			return sensitive.String{}, false, &FieldError{Field: field, Message: "nothing has the name {" + name + "} here"}
		case !operators && definition.input == nil && !lenient:
			return sensitive.String{}, false, &FieldError{Field: field, Message: "it needs " + sourceOf(name, x.defined) + "; it is not known"}
		default:
			return sensitive.String{}, false, nil
		}
	}
	filled := fill(pieces, func(name string) string { return x.value(name).Reveal() })
	return sensitive.New(filled), filled != "", nil
}

func (x *expansion) value(name string) sensitive.String {
	if own, exists := x.operator[name]; exists {
		return own
	}
	if _, known := x.defined[name]; !known || !printable(x.values[name]) {
		return sensitive.String{}
	}
	return sensitive.New(x.values[name])
}

// secret returns the value of a key of a Secret.
func (x *expansion) secret(field string, ref *v1alpha1.ValueSecretReference) (sensitive.String, error) {
	value := x.profile.Secrets[SecretKey(secretName(x.profile.Spec, ref), ref.Key)]
	if value.IsEmpty() {
		return sensitive.String{}, &FieldError{Field: field + ".secretKeyRef", Message: "the value of key " + ref.Key + " is not known"}
	}
	return value, nil
}

func (x *expansion) headers(field string, headers []v1alpha1.RequestHeader, lenient bool) ([]oauth.Header, error) {
	var all []oauth.Header
	for _, header := range headers {
		at := entry(field, header.Name)
		if header.SecretKeyRef != nil {
			value, err := x.secret(at, header.SecretKeyRef)
			if err != nil {
				return nil, err
			}
			all = append(all, oauth.Header{Name: header.Name, Value: sensitive.New(header.Prefix + value.Reveal())})
			continue
		}
		if header.Value == nil {
			continue
		}
		value, given, err := x.text(at, *header.Value, lenient)
		if err != nil {
			return nil, err
		}
		if given {
			all = append(all, oauth.Header{Name: header.Name, Value: value})
		}
	}
	return all, nil
}

// authorized are headers that carry the access token: where they say, else as a bearer token (RFC 6750, section 2.1).
func (x *expansion) authorized(field string, headers []v1alpha1.RequestHeader, access sensitive.String) ([]oauth.Header, error) {
	x.operator[nameAccessToken] = access
	all, err := x.headers(field, headers, false)
	if err != nil {
		return nil, err
	}
	carried := slices.ContainsFunc(headers, func(header v1alpha1.RequestHeader) bool {
		return strings.EqualFold(header.Name, "Authorization") ||
			header.Value != nil && slices.Contains(names(split(*header.Value)), nameAccessToken)
	})
	if !carried {
		all = append(all, oauth.Header{Name: "Authorization", Value: sensitive.New("Bearer " + access.Reveal())})
	}
	return all, nil
}

// parameters are the extra parameters of a request with a grant type, in the spec's order.
func (x *expansion) parameters(grantType string) ([]oauth.Parameter, error) {
	var all []oauth.Parameter
	for _, parameter := range x.profile.Spec.TokenRequest.Parameters {
		if len(parameter.GrantTypes) > 0 && !slices.Contains(parameter.GrantTypes, grantType) {
			continue
		}
		field := entry("tokenRequest.parameters", parameter.Name)
		var value sensitive.String
		var err error
		switch {
		case parameter.SecretKeyRef != nil:
			value, err = x.secret(field, parameter.SecretKeyRef)
		case parameter.Value != nil:
			value, _, err = x.text(field, *parameter.Value, true)
		}
		if err != nil {
			return nil, err
		}
		if !value.IsEmpty() {
			all = append(all, oauth.Parameter{Name: parameter.Name, Value: value})
		}
	}
	return all, nil
}

// query are parameters of a URL, by name.
func (x *expansion) query(field string, parameters map[string]v1alpha1.ParameterValue) ([][2]string, error) {
	var all [][2]string
	for _, name := range sortedNames(parameters) {
		value, given, err := x.text(entry(field, name), string(parameters[name]), true)
		if err != nil {
			return nil, err
		}
		if given {
			all = append(all, [2]string{name, value.Reveal()})
		}
	}
	return all, nil
}
