// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// The operator's own values in templates.
const (
	nameAccessToken   = "access_token"
	nameToken         = "token"
	nameClientID      = "client_id"
	nameClientSecret  = "client_secret"
	nameRedirectURI   = "redirect_uri"
	nameScope         = "scope"
	nameApplicationID = "application_id"
)

// template is a field of a spec in which placeholders can be.
type template struct {
	field, text string
	// until is the last stage whose values are known when the field is used.
	until stage
	// operator are the operator's own values that it may use.
	operator []string
}

// joined adds a path to the base of the API. Both are templates.
func joined(base, path string) string {
	if path == "" {
		return base
	}
	if path[0] != '/' && path[0] != '?' {
		path = "/" + path
	}
	return strings.TrimSuffix(base, "/") + path
}

// urls are the URLs of a spec that are set. Secrets are never among the values of a URL: URLs are logged everywhere.
func urls(spec *v1alpha1.OAuthApplicationSpec) []template {
	var all []template
	add := func(field, text string, until stage) {
		if text != "" {
			all = append(all, template{field, text, until, []string{nameClientID}})
		}
	}
	if e := spec.Endpoints; e != nil {
		add("endpoints.authorizationURL", string(e.AuthorizationURL), stageConnection)
		add("endpoints.tokenURL", string(e.TokenURL), stageCallback)
		add("endpoints.refreshURL", string(e.RefreshURL), stageResponse)
		add("endpoints.revocationURL", string(e.RevocationURL), stageUserInfo)
		add("endpoints.introspectionURL", string(e.IntrospectionURL), stageUserInfo)
		add("endpoints.deviceAuthorizationURL", string(e.DeviceAuthorizationURL), stageConnection)
		add("endpoints.userInfoURL", string(e.UserInfoURL), stageResponse)
	}
	add("apiBaseURL", string(spec.APIBaseURL), stageUserInfo)
	if check := spec.StatusCheck; check != nil && check.Type != v1alpha1.StatusCheckIntrospection && check.Probe != nil && spec.APIBaseURL != "" {
		add("statusCheck.probe.path", joined(string(spec.APIBaseURL), check.Probe.Path), stageUserInfo)
	}
	if list := connectionList(spec); list != nil {
		add("statusCheck.connectionList.url", listURL(spec, list.URL), stageApplication)
		if list.Application != nil {
			add("statusCheck.connectionList.application.url", listURL(spec, list.Application.URL), stageApplication)
		}
	}
	return all
}

func listURL(spec *v1alpha1.OAuthApplicationSpec, text string) string {
	if strings.HasPrefix(text, "/") {
		return joined(string(spec.APIBaseURL), text)
	}
	return text
}

// hostTemplates are the URLs of a spec that can be taken apart.
func hostTemplates(spec *v1alpha1.OAuthApplicationSpec) []*urlTemplate {
	var all []*urlTemplate
	for _, one := range urls(spec) {
		if parsed, err := parseURL(one.field, one.text); err == nil {
			all = append(all, parsed)
		}
	}
	return all
}

// headerList is one list of headers of a spec.
type headerList struct {
	template
	headers []v1alpha1.RequestHeader
}

// headerLists are all lists of headers of a spec that are in use.
func headerLists(spec *v1alpha1.OAuthApplicationSpec) []headerList {
	var all []headerList
	add := func(headers []v1alpha1.RequestHeader, field string, until stage, operator ...string) {
		all = append(all, headerList{template{field: field, until: until, operator: operator}, headers})
	}
	if spec.TokenRequest != nil {
		add(spec.TokenRequest.Headers, "tokenRequest.headers", stageUserInfo, nameClientID)
	}
	if spec.UserInfo != nil {
		add(spec.UserInfo.Headers, "userInfo.headers", stageResponse, nameAccessToken, nameClientID)
	}
	if spec.Revocation != nil {
		add(spec.Revocation.Headers, "revocation.headers", stageUserInfo, nameToken, nameClientID, nameClientSecret)
	}
	add(spec.APIHeaders, "apiHeaders", stageUserInfo, nameAccessToken, nameClientID)
	if list := connectionList(spec); list != nil {
		add(list.Headers, "statusCheck.connectionList.headers", stageApplication, nameClientID)
	}
	return all
}

// texts are the headers and parameters of a spec with values in the clear.
func texts(spec *v1alpha1.OAuthApplicationSpec) []template {
	var all []template
	for _, list := range headerLists(spec) {
		for _, header := range list.headers {
			if header.Value != nil {
				all = append(all, template{entry(list.field, header.Name), *header.Value, list.until, list.operator})
			}
		}
	}
	fromMap := func(field string, parameters map[string]v1alpha1.ParameterValue, until stage, operator ...string) {
		for _, name := range slices.Sorted(maps.Keys(parameters)) {
			all = append(all, template{entry(field, name), string(parameters[name]), until, operator})
		}
	}
	// A captured value is known when a person authorizes again.
	fromMap("authorizationParameters", spec.AuthorizationParameters, stageUserInfo, nameScope, nameClientID, nameRedirectURI)
	if spec.TokenRequest != nil {
		for _, parameter := range spec.TokenRequest.Parameters {
			if parameter.Value != nil {
				all = append(all, template{
					entry("tokenRequest.parameters", parameter.Name), *parameter.Value, stageUserInfo, []string{nameRedirectURI, nameClientID},
				})
			}
		}
	}
	if spec.Revocation != nil && spec.Revocation.Parameters != nil {
		for _, parameter := range *spec.Revocation.Parameters {
			all = append(all, template{
				entry("revocation.parameters", parameter.Name), parameter.Value, stageUserInfo,
				[]string{nameToken, nameClientID, nameClientSecret},
			})
		}
	}
	if list := connectionList(spec); list != nil {
		fromMap("statusCheck.connectionList.query", list.Query, stageApplication, nameApplicationID, nameClientID)
		if list.Application != nil {
			fromMap("statusCheck.connectionList.application.query", list.Application.Query, stageApplication, nameClientID)
		}
	}
	return all
}
