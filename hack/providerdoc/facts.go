// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// client says what goes into the Secret, and how it is sent.
func client(spec *v1alpha1.OAuthApplicationSpec) string {
	how := map[v1alpha1.ClientAuthentication]string{
		"":                         "`ClientSecretBasic`, or what discovery says",
		v1alpha1.ClientSecretBasic: "`ClientSecretBasic`",
		v1alpha1.ClientSecretPost:  "`ClientSecretPost`",
		v1alpha1.ClientNone:        "public",
	}[spec.Client.Authentication]
	if how == "" {
		how = code(string(spec.Client.Authentication))
	}
	if spec.Client.BasicCredentials != "" {
		how += fmt.Sprintf(" (`basicCredentials: %s`)", spec.Client.BasicCredentials)
	}
	keys := []string{"`client_secret`"}
	for _, reference := range provider.SecretReferences(spec) {
		keys = appendNew(keys, code(reference.Key))
	}
	if spec.Client.Authentication == v1alpha1.ClientNone {
		keys = keys[1:]
	}
	if len(keys) > 0 {
		how += "; keys of the Secret: " + strings.Join(keys, ", ")
	}
	return how
}

func scopes(spec *v1alpha1.OAuthApplicationSpec) string {
	text := "your own"
	if len(spec.Scopes) > 0 {
		var names []string
		for _, scope := range spec.Scopes {
			names = append(names, string(scope))
		}
		text = codes(names) + " unless you name others"
	}
	if spec.ScopeSeparator != "" && spec.ScopeSeparator != " " {
		text += fmt.Sprintf("; `%s` stands between them", spec.ScopeSeparator)
	}
	return text
}

func authorization(spec *v1alpha1.OAuthApplicationSpec) string {
	facts := []string{"PKCE S256"}
	if spec.PKCE == v1alpha1.PKCEDisabled {
		facts[0] = "no PKCE"
	}
	for _, name := range slices.Sorted(maps.Keys(spec.AuthorizationParameters)) {
		facts = append(facts, code(name+"="+string(spec.AuthorizationParameters[name])))
	}
	if spec.Endpoints != nil && spec.Endpoints.DeviceAuthorizationURL != "" {
		facts = append(facts, "device codes too")
	}
	return strings.Join(facts, ", ")
}

// lifetime is the default lifetime; empty without one.
func lifetime(spec *v1alpha1.OAuthApplicationSpec) string {
	if spec.TokenResponse == nil {
		return ""
	}
	return spec.TokenResponse.DefaultLifetime
}

func expiry(spec *v1alpha1.OAuthApplicationSpec) string {
	switch assumed := lifetime(spec); assumed {
	case "":
		return "yes"
	case "Never":
		return "no, unless the provider says"
	default:
		return "after " + assumed + ", unless the provider says"
	}
}

func tokens(spec *v1alpha1.OAuthApplicationSpec) string {
	text := map[string]string{
		"":      "expire when the provider says",
		"Never": "live until they are revoked where the provider gives neither an expiry nor a refresh token",
	}[lifetime(spec)]
	if text == "" {
		text = "expire when the provider says, else are taken to live " + lifetime(spec)
	}
	if request := spec.TokenRequest; request != nil && request.Refresh != nil {
		text += fmt.Sprintf("; renewed by exchanging the access token (`%s`)", request.Refresh.GrantType)
	}
	if spec.Endpoints != nil && spec.Endpoints.RefreshURL != "" {
		text += "; refreshed at an endpoint of its own"
	}
	return text
}

func revocable(spec *v1alpha1.OAuthApplicationSpec) bool {
	return spec.IssuerURL != "" || spec.Endpoints != nil && spec.Endpoints.RevocationURL != ""
}

func revokedBy(spec *v1alpha1.OAuthApplicationSpec) string {
	switch {
	case !revocable(spec):
		return "nothing"
	case spec.Revocation == nil:
		return "RFC 7009"
	case spec.Revocation.Authentication == v1alpha1.RevocationByBearer:
		return "a call with the token"
	case spec.Revocation.Parameters == nil && spec.Revocation.Method == "" && spec.Revocation.Format == "":
		return "RFC 7009"
	}
	return "a call of its own"
}

func revocation(spec *v1alpha1.OAuthApplicationSpec) string {
	how := spec.Revocation
	switch {
	case !revocable(spec):
		return "none: tokens outlive a deleted connection until they expire, or a person disconnects at the provider"
	case how == nil:
		return "RFC 7009"
	}
	method := how.Method
	if method == "" {
		method = "POST"
	}
	facts := []string{revokedBy(spec), method}
	if how.Authentication != "" {
		facts = append(facts, "authentication "+code(string(how.Authentication)))
	}
	if len(how.Tokens) == 1 {
		facts = append(facts, map[v1alpha1.TokenKind]string{
			v1alpha1.TokenRefresh: "refresh tokens only", v1alpha1.TokenAccess: "access tokens only",
		}[how.Tokens[0]])
	}
	return strings.Join(facts, ", ")
}

func checkedBy(spec *v1alpha1.OAuthApplicationSpec) string {
	if spec.StatusCheck == nil {
		return "nothing"
	}
	return string(spec.StatusCheck.Type)
}

func status(spec *v1alpha1.OAuthApplicationSpec) string {
	check := spec.StatusCheck
	if check == nil {
		return "none; a dead grant is noticed when it is refreshed"
	}
	text := "`" + string(check.Type) + "`"
	switch {
	case check.ConnectionList != nil:
		text += " at `" + check.ConnectionList.URL + "`"
	case check.Type == v1alpha1.StatusCheckProbe && check.Probe != nil && check.Probe.Path != "":
		text += " of `" + check.Probe.Path + "`"
	}
	return text
}

// toldOf says whose grant an event names.
func toldOf(spec *v1alpha1.OAuthApplicationSpec) string {
	webhook := spec.Webhook
	switch {
	case webhook == nil:
		return "nothing"
	case webhook.ConnectionID != "" && webhook.Subject != "":
		return "grant or account"
	case webhook.ConnectionID != "":
		return "grant"
	}
	return "account"
}

// webhook says by which events the provider tells that a grant has ended; empty without any.
func webhook(spec *v1alpha1.OAuthApplicationSpec) string {
	told := spec.Webhook
	if told == nil {
		return ""
	}
	fields := map[string]string{
		"grant": "the grant (`status.id`)", "account": "the account (`status.subject`)",
		"grant or account": "the grant (`status.id`) or the account (`status.subject`)",
	}
	var ways []string
	for _, signature := range append([]v1alpha1.WebhookSignature{told.WebhookSignature}, told.Alternatives...) {
		way := code(string(signature.Scheme))
		if signature.Header != "" {
			way += " in " + code(signature.Header)
		}
		ways = append(ways, way)
	}
	secret, _ := provider.WebhookSecret(spec)
	text := fmt.Sprintf("%s, for %s; signed by %s; key of the Secret: %s",
		codes(told.DeauthorizedEvents), fields[toldOf(spec)], strings.Join(ways, " or "), code(secret.Key))
	if told.Challenge != nil {
		text += "; its challenge is answered"
	}
	return text
}

// apiLimits says what bounds requests to the API; empty when only the defaults do.
func apiLimits(spec *v1alpha1.OAuthApplicationSpec) string {
	limits := spec.APILimits
	if limits == nil {
		return ""
	}
	var facts []string
	add := func(format string, arguments ...any) { facts = append(facts, fmt.Sprintf(format, arguments...)) }
	if limits.RequestsPerSecond != nil {
		add("%s requests a second", limits.RequestsPerSecond)
	}
	if limits.MaxConcurrent != 0 {
		add("%d requests at once", limits.MaxConcurrent)
	}
	if of := limits.Connection; of != nil && of.RequestsPerSecond != nil {
		add("%s requests a second of each connection", of.RequestsPerSecond)
	}
	if of := limits.Connection; of != nil && of.MaxConcurrent != 0 {
		add("%d requests at once of each connection", of.MaxConcurrent)
	}
	if limits.RemainingHeader != "" {
		add("what remains is read from %s", code(limits.RemainingHeader))
	}
	if limits.ResetHeader != "" {
		add("when there will be more, from %s", code(limits.ResetHeader))
	}
	return strings.Join(facts, "; ")
}

func captured(spec *v1alpha1.OAuthApplicationSpec) []string {
	var names []string
	if spec.Callback != nil {
		for _, capture := range spec.Callback.Capture {
			names = append(names, string(capture.Name))
		}
	}
	if spec.TokenResponse != nil {
		for _, capture := range spec.TokenResponse.Capture {
			names = append(names, string(capture.Name))
		}
	}
	if spec.UserInfo != nil {
		for _, capture := range spec.UserInfo.Capture {
			names = append(names, string(capture.Name))
		}
	}
	return names
}
