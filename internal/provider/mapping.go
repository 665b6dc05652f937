// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// lifetimeNever is the value of tokenResponse.defaultLifetime for tokens that live until they are revoked.
const lifetimeNever = "Never"

// responseMapping returns how answers of the token endpoint are read; nil without a word about it.
func responseMapping(spec *v1alpha1.TokenResponseSpec) (*oauth.ResponseMapping, error) {
	if spec == nil {
		return nil, nil //nolint:nilnil // nil is the standard's way
	}
	lifetime, err := defaultLifetime(spec.DefaultLifetime)
	if err != nil {
		return nil, err
	}
	options := oauth.MappingOptions{
		AccessToken: string(spec.AccessToken), RefreshToken: string(spec.RefreshToken), TokenType: string(spec.TokenType),
		ExpiresIn: string(spec.ExpiresIn), ExpiresAt: string(spec.ExpiresAt),
		RefreshTokenExpiresIn: string(spec.RefreshTokenExpiresIn), Scope: string(spec.Scope),
		ID: string(spec.ID), Subject: string(spec.Subject),
		Error: string(spec.Error), ErrorDescription: string(spec.ErrorDescription),
		ErrorCodes: plain(spec.ErrorCodes), DefaultLifetime: lifetime,
		Capture: make(map[string]string, len(spec.Capture)),
	}
	if spec.Success != nil {
		options.SuccessPath, options.SuccessValue = string(spec.Success.Path), spec.Success.Value
	}
	for _, capture := range spec.Capture {
		options.Capture[string(capture.Name)] = string(capture.Path)
	}
	mapping, err := oauth.NewResponseMapping(options)
	if err != nil {
		return nil, &FieldError{Field: "tokenResponse", Message: err.Error()}
	}
	return mapping, nil
}

// defaultLifetime reads `Never` or a duration; less than a second is one.
func defaultLifetime(text string) (oauth.Lifetime, error) {
	switch text {
	case "":
		return oauth.Lifetime{}, nil
	case lifetimeNever:
		return oauth.Lifetime{Kind: oauth.LifetimeNever}, nil
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration <= 0 {
		return oauth.Lifetime{}, &FieldError{Field: "tokenResponse.defaultLifetime", Message: "it must be a duration such as 30m or 1h, or Never"}
	}
	return oauth.Lifetime{Kind: oauth.LifetimeFinite, Duration: max(duration.Truncate(time.Second), time.Second)}, nil
}

// pathField is a JSONPath of a spec.
type pathField struct {
	field string
	path  v1alpha1.JSONPath
}

// paths are all JSONPaths of a spec that are set and in use.
func paths(spec *v1alpha1.OAuthApplicationSpec) []pathField {
	var all []pathField
	if r := spec.TokenResponse; r != nil {
		all = append(all,
			pathField{"tokenResponse.accessToken", r.AccessToken}, pathField{"tokenResponse.refreshToken", r.RefreshToken},
			pathField{"tokenResponse.tokenType", r.TokenType}, pathField{"tokenResponse.expiresIn", r.ExpiresIn},
			pathField{"tokenResponse.expiresAt", r.ExpiresAt},
			pathField{"tokenResponse.refreshTokenExpiresIn", r.RefreshTokenExpiresIn},
			pathField{"tokenResponse.scope", r.Scope}, pathField{"tokenResponse.id", r.ID},
			pathField{"tokenResponse.subject", r.Subject}, pathField{"tokenResponse.error", r.Error},
			pathField{"tokenResponse.errorDescription", r.ErrorDescription},
		)
		if r.Success != nil {
			all = append(all, pathField{"tokenResponse.success.path", r.Success.Path})
		}
	}
	if spec.UserInfo != nil {
		all = append(all, pathField{"userInfo.subject", spec.UserInfo.Subject})
	}
	for _, list := range captures(spec) {
		for _, capture := range list.captures {
			all = append(all, pathField{entry(list.field, string(capture.Name)) + ".path", capture.Path})
		}
	}
	return slices.Concat(all, checkPaths(spec), webhookPaths(spec))
}

func checkPaths(spec *v1alpha1.OAuthApplicationSpec) []pathField {
	var all []pathField
	if spec.StatusCheck == nil {
		return nil
	}
	if probe := spec.StatusCheck.Probe; probe != nil && probe.InactiveWhen != nil {
		all = append(all, pathField{"statusCheck.probe.inactiveWhen.path", probe.InactiveWhen.Path})
	}
	list := connectionList(spec)
	if list == nil {
		return all
	}
	const at = "statusCheck.connectionList."
	all = append(all,
		pathField{at + "items", list.Items}, pathField{at + "id", list.ID}, pathField{at + "subject", list.Subject},
		pathField{at + "status", list.Status}, pathField{at + "createdAt", list.CreatedAt}, pathField{at + "deletedAt", list.DeletedAt},
	)
	if list.Page != nil {
		all = append(all, pathField{at + "page.nextCursor", list.Page.NextCursor})
	}
	if application := list.Application; application != nil {
		all = append(all,
			pathField{at + "application.clientID", application.ClientID}, pathField{at + "application.id", application.ID},
			pathField{at + "application.status", application.Status},
		)
	}
	return all
}
