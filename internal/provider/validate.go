// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// Validate finds what is wrong with an effective spec by itself, before anything is read or asked. The error is a
// *FieldError.
func Validate(spec *v1alpha1.OAuthApplicationSpec, rules Rules) error {
	if spec.IssuerURL == "" && (spec.Endpoints == nil || spec.Endpoints.TokenURL == "") {
		return &FieldError{Field: "endpoints.tokenURL", Message: "give it, or set issuerURL so that it is discovered"}
	}
	defined, err := define(spec)
	if err != nil {
		return err
	}
	for _, check := range []func(*v1alpha1.OAuthApplicationSpec, definitions, Rules) error{
		checkInputs, checkIssuer, checkStatus, checkURLs, checkTexts, checkShapes, checkClient, checkWebhook, checkUse, checkAPILimits,
	} {
		if err := check(spec, defined, rules); err != nil {
			return err
		}
	}
	return nil
}

func checkInputs(spec *v1alpha1.OAuthApplicationSpec, defined definitions, _ Rules) error {
	return defined.checkDefaults(spec)
}

func checkIssuer(spec *v1alpha1.OAuthApplicationSpec, _ definitions, rules Rules) error {
	issuer, err := IssuerURL(spec)
	if err != nil || issuer == "" {
		return err
	}
	if err := rules.CheckURL(issuer); err != nil {
		return &FieldError{Field: "issuerURL", Message: err.Error()}
	}
	return nil
}

// IssuerURL returns the issuer of a spec with the defaults of inputs in it: the document that is discovered is one for all
// connections. It is empty when the spec names none. The error is a *FieldError.
func IssuerURL(spec *v1alpha1.OAuthApplicationSpec) (string, error) {
	if !strings.Contains(spec.IssuerURL, "{") {
		return spec.IssuerURL, nil
	}
	defined, err := define(spec)
	if err != nil {
		return "", err
	}
	parsed, err := parseURL("issuerURL", spec.IssuerURL)
	if err != nil {
		return "", err
	}
	for _, name := range parsed.names() {
		if err := known("issuerURL", name, stageApplication, nil, defined); err != nil {
			return "", err
		}
	}
	values := defined.defaults()
	return parsed.expand(func(name string) string { return values[name] }, defined)
}

// known tells whether a placeholder will have a value when its field is used.
func known(field, name string, until stage, operator []string, defined definitions) error {
	if slices.Contains(operator, name) {
		return nil
	}
	definition, exists := defined[name]
	switch {
	case !exists && reserved(name):
		return &FieldError{Field: field, Message: "{" + name + "} cannot be used here"}
	case !exists:
		return &FieldError{Field: field, Message: "nothing has the name {" + name + "}: define it in inputs, or capture it"}
	case until == stageApplication && (definition.input == nil || definition.input.Default == nil):
		return &FieldError{Field: field, Message: "this is one for all connections: {" + name + "} must be an input with a default"}
	case until != stageApplication && definition.stage > until:
		return &FieldError{Field: field, Message: "{" + name + "} is not known yet when this is used for the first time; it comes with " + definition.field}
	}
	return nil
}

// checkURLs judges all URLs: their form, what they are made of, and where they can lead.
func checkURLs(spec *v1alpha1.OAuthApplicationSpec, defined definitions, rules Rules) error {
	for _, one := range urls(spec) {
		parsed, err := parseURL(one.field, one.text)
		if err != nil {
			return err
		}
		for _, name := range parsed.names() {
			if err := known(one.field, name, one.until, one.operator, defined); err != nil {
				return err
			}
		}
		for _, name := range parsed.hostNames() {
			if err := parsed.checkHostName(name, defined); err != nil {
				return err
			}
		}
		sample, err := parsed.sample(defined)
		if err == nil && sample != "" {
			err = rules.CheckURL(sample)
		}
		if err != nil {
			return &FieldError{Field: one.field, Message: err.Error()}
		}
	}
	return checkQueries(spec)
}

// checkHostName judges a value that is part of a host before it is known.
func (t *urlTemplate) checkHostName(name string, defined definitions) error {
	definition, exists := defined[name]
	switch {
	case !exists:
		return &FieldError{Field: t.field, Message: "{" + name + "} cannot be a part of the host"}
	case definition.input == nil && !t.pinned(name, defined):
		return &FieldError{Field: definition.field, Message: "it is part of the host of " + t.field + ", where tokens and the client secret go: restrict it by an enum, or by a pattern that ends in a fixed domain such as \\.example\\.com"}
	case definition.input == nil:
		return nil
	case definition.input.Default == nil && !t.pinned(name, defined):
		return &FieldError{Field: definition.field, Message: "it is part of the host of " + t.field + ": give its default here, which holds for all connections, or restrict it by an enum or by a pattern that ends in a fixed domain such as \\.example\\.com"}
	case definition.fallback() != "":
		return t.checkHostValue(name, definition.fallback(), defined)
	}
	return nil
}

// sample is the URL with defaults, or else with values that could be given. It is empty when nothing can be known of it.
func (t *urlTemplate) sample(defined definitions) (string, error) {
	const anyone = "sample"
	value := func(name string) string {
		definition := defined[name]
		if value := definition.fallback(); value != "" || definition.optional() {
			return value
		}
		if len(definition.enum) > 0 {
			return definition.enum[0]
		}
		return anyone
	}
	if t.base != "" && value(t.base) == anyone {
		return "", nil
	}
	scheme, host, port := t.origin(value)
	if len(t.hostNames()) > 0 && !isHost(host) {
		return "", fmt.Errorf("with its defaults, %q is the host of the URL, which is none", shortened(host))
	}
	return t.assemble(scheme, host, port, value)
}

// checkQueries refuses what would be in a request twice.
func checkQueries(spec *v1alpha1.OAuthApplicationSpec) error {
	if spec.Endpoints == nil {
		return nil
	}
	_, query, _ := strings.Cut(string(spec.Endpoints.AuthorizationURL), "?")
	given, err := url.ParseQuery(query)
	if err != nil {
		return &FieldError{Field: "endpoints.authorizationURL", Message: "its query cannot be read"}
	}
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method"} {
		if given.Has(name) {
			return &FieldError{Field: "endpoints.authorizationURL", Message: "its query has " + name + ", which the operator sets; remove it"}
		}
	}
	for _, name := range sortedNames(spec.AuthorizationParameters) {
		if given.Has(name) {
			return &FieldError{Field: entry("authorizationParameters", name), Message: "the query of endpoints.authorizationURL has it too; remove one of them"}
		}
		for _, standard := range sortedNames(spec.AuthorizationParameterNames) {
			if name == string(spec.AuthorizationParameterNames[standard]) {
				return &FieldError{Field: entry("authorizationParameters", name), Message: "authorizationParameterNames gives this name to " + standard + "; remove one of them"}
			}
		}
	}
	if strings.Contains(string(spec.APIBaseURL), "?") {
		return &FieldError{Field: "apiBaseURL", Message: "paths are added to it, so that it cannot have a query"}
	}
	return nil
}

// checkTexts judges the placeholders of headers and parameters, and that Secrets have a name.
func checkTexts(spec *v1alpha1.OAuthApplicationSpec, defined definitions, _ Rules) error {
	for _, one := range texts(spec) {
		for _, name := range names(split(one.text)) {
			if err := known(one.field, name, one.until, one.operator, defined); err != nil {
				return err
			}
		}
	}
	for _, reference := range SecretReferences(spec) {
		if reference.Name == "" {
			return &FieldError{Field: reference.Field, Message: fmt.Sprintf(
				"it names no Secret, and there is no client.secretRef whose Secret could have the key %s; set name here, or client.secretRef", reference.Key)}
		}
	}
	return nil
}

// checkShapes judges how answers are read.
func checkShapes(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	for _, one := range paths(spec) {
		if one.path == "" {
			continue
		}
		if err := oauth.CheckPath(string(one.path)); err != nil {
			return &FieldError{Field: one.field, Message: err.Error()}
		}
	}
	_, err := responseMapping(spec.TokenResponse)
	return err
}

// checkClient judges the credentials. A preset can name a method that the API server saw no credentials for.
func checkClient(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	client := spec.Client
	assertion := client.Assertion
	switch client.Authentication {
	case "", v1alpha1.ClientNone:
	case v1alpha1.ClientServiceAccountToken:
		if assertion == nil || assertion.ServiceAccountName == "" {
			return &FieldError{Field: "client.assertion.serviceAccountName", Message: "client.authentication ServiceAccountToken needs it"}
		}
	default:
		if client.SecretRef == nil {
			return &FieldError{Field: "client.secretRef", Message: "client.authentication " + string(client.Authentication) + " needs it"}
		}
	}
	if assertion != nil && assertion.AudienceFrom == v1alpha1.AudienceIssuer && spec.IssuerURL == "" {
		return &FieldError{Field: "client.assertion.audienceFrom", Message: "Issuer is issuerURL, which is not set; set it, or give client.assertion.audience"}
	}
	return nil
}

// checkStatus judges the status check as far as it can be without discovery.
func checkStatus(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	check := spec.StatusCheck
	if check == nil {
		return nil
	}
	switch check.Type {
	case "":
		return &FieldError{Field: "statusCheck.type", Message: "give it: the provider's preset has no status check"}
	case v1alpha1.StatusCheckNone:
	case v1alpha1.StatusCheckIntrospection:
		if spec.IssuerURL == "" && (spec.Endpoints == nil || spec.Endpoints.IntrospectionURL == "") {
			return &FieldError{Field: "endpoints.introspectionURL", Message: "statusCheck of type Introspection needs it"}
		}
	case v1alpha1.StatusCheckProbe:
		if spec.APIBaseURL == "" {
			return &FieldError{Field: "apiBaseURL", Message: "statusCheck of type Probe needs it"}
		}
	case v1alpha1.StatusCheckConnectionList:
		return checkList(spec)
	}
	return nil
}

func checkList(spec *v1alpha1.OAuthApplicationSpec) error {
	list := connectionList(spec)
	if list == nil {
		return &FieldError{Field: "statusCheck.connectionList", Message: "statusCheck of type ConnectionList needs it"}
	}
	if list.Subject == "" {
		return &FieldError{Field: "statusCheck.connectionList.subject", Message: "without it no entry of the list could be told to be a connection's"}
	}
	addresses := []string{list.URL}
	if list.Application != nil {
		addresses = append(addresses, list.Application.URL)
	}
	for _, address := range addresses {
		if strings.HasPrefix(address, "/") && spec.APIBaseURL == "" {
			return &FieldError{Field: "apiBaseURL", Message: "the URLs of statusCheck.connectionList are added to it"}
		}
	}
	return nil
}

// checkUse judges who may use the application, and how much.
func checkUse(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	if allowed := spec.AllowedNamespaces; allowed != nil && allowed.Selector != nil {
		if _, err := metav1.LabelSelectorAsSelector(allowed.Selector); err != nil {
			return &FieldError{Field: "allowedNamespaces.selector", Message: err.Error()}
		}
	}
	if spec.Limits == nil {
		return nil
	}
	return checkRate("limits.requestsPerSecond", spec.Limits.RequestsPerSecond)
}
