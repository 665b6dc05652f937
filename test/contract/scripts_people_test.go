// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

func files() []script {
	return []script{
		{
			preset: "dropbox",
			scopes: []string{"files.metadata.read"},
			page: page{
				address: "www.dropbox.com/oauth2/authorize", scope: "files.metadata.read", params: map[string]string{"token_access_type": "offline"},
			},
			token: tokens{
				address: "api.dropboxapi.com/oauth2/token", auth: post, renewal: keeps,
				answer:   grants(14400, map[string]any{"uid": "1", "account_id": "dbid:AAH4f"}),
				dead:     refuses(400, "invalid_grant", "refresh token is malformed"),
				stranger: answer{400, map[string]any{"error": "invalid_client: Invalid client_id or client_secret"}},
			},
			revoke: &revocation{method: "POST", address: "api.dropboxapi.com/2/auth/token/revoke", auth: bearer, access: true, answer: answer{status: 200}},
			expect: expectation{lifetime: seconds(14400), subject: "dbid:AAH4f", captured: map[string]string{"account_id": "dbid:AAH4f"}},
		},
		{
			preset: "box",
			page:   page{address: "account.box.com/api/oauth2/authorize"},
			token: tokens{
				address: "api.box.com/oauth2/token", auth: post, renewal: rotates, answer: grants(4169, map[string]any{"restricted_to": []any{}}),
				dead: refuses(400, "invalid_grant", "Refresh token has expired"), stranger: refuses(400, "invalid_client", "The client credentials are invalid"),
			},
			revoke:    rfc7009("api.box.com/oauth2/revoke", post),
			resources: []resource{{address: "api.box.com/2.0/users/me", body: map[string]any{"id": "33"}, dead: unauthorized()}},
			checked:   true,
			expect:    expectation{lifetime: seconds(4169), subject: "33", usePath: "/users/me", useAddress: "api.box.com/2.0/users/me"},
		},
		{
			preset: "spotify",
			scopes: []string{"user-read-private"},
			page:   page{address: "accounts.spotify.com/authorize", scope: "user-read-private"},
			token: tokens{
				address: "accounts.spotify.com/api/token", auth: basic, renewal: keeps, answer: grants(3600, nil),
				dead: refuses(400, "invalid_grant", "Refresh token revoked"), stranger: refuses(400, "invalid_client", "Invalid client secret"),
			},
			resources: []resource{{address: "api.spotify.com/v1/me", body: map[string]any{"id": "wizzler"}, dead: unauthorized()}},
			checked:   true,
			expect:    expectation{lifetime: seconds(3600), subject: "wizzler", usePath: "/me", useAddress: "api.spotify.com/v1/me"},
		},
	}
}

func social() []script {
	facebookError := func(code int, message string) answer {
		return answer{400, map[string]any{"error": map[string]any{"code": code, "message": message, "type": "OAuthException"}}}
	}
	return []script{
		{
			preset: "linkedin",
			scopes: []string{"openid", "profile"},
			page:   page{address: "www.linkedin.com/oauth/v2/authorization", scope: "openid profile", pkce: pkceRefused},
			token: tokens{
				address: "www.linkedin.com/oauth/v2/accessToken", auth: post, renewal: repeats,
				answer: grants(5184000, map[string]any{"refresh_token_expires_in": 31536000, "scope": "openid,profile"}),
				dead:   refuses(400, "invalid_grant", "The provided authorization grant or refresh token is invalid, expired or revoked"),
				// LinkedIn's text quotes nothing.
				stranger: refuses(401, "invalid_client", "Client authentication failed"),
			},
			revoke:     rfc7009("www.linkedin.com/oauth/v2/revoke", post),
			introspect: &introspection{address: "www.linkedin.com/oauth/v2/introspectToken", auth: post},
			resources:  []resource{any200("api.linkedin.com/v2/userinfo")},
			checked:    true,
			expect: expectation{
				lifetime: seconds(5184000), refreshLifetime: 365 * day, scopes: []string{"openid", "profile"},
				usePath: "/v2/userinfo", useAddress: "api.linkedin.com/v2/userinfo",
			},
		},
		{
			preset: "x",
			page:   page{address: "x.com/i/oauth2/authorize", scope: "tweet.read users.read offline.access", pkce: pkceRequired},
			token: tokens{
				address: "api.x.com/2/oauth2/token", auth: basic, renewal: rotates, answer: grants(7200, nil),
				dead:     refuses(400, "invalid_request", "Value passed for the token was invalid."),
				stranger: refuses(401, "unauthorized_client", "Missing valid authorization header"),
			},
			revoke:    rfc7009("api.x.com/2/oauth2/revoke", basic),
			resources: []resource{{address: "api.x.com/2/users/me", body: map[string]any{"data": map[string]any{"id": "2244994945"}}, dead: unauthorized()}},
			expect:    expectation{lifetime: seconds(7200), subject: "2244994945", usePath: "/2/users/me", useAddress: "api.x.com/2/users/me"},
		},
		{
			preset: "facebook",
			scopes: []string{"pages_show_list", "pages_read_engagement"},
			page:   page{address: "www.facebook.com/v22.0/dialog/oauth", scope: "pages_show_list,pages_read_engagement"},
			token: tokens{
				address: "graph.facebook.com/v22.0/oauth/access_token", auth: post, renewal: exchanges, parameter: "fb_exchange_token",
				answer: func(i issued) any {
					return map[string]any{"access_token": i.access, "token_type": "bearer", "expires_in": 5183944}
				},
				dead: facebookError(190, "Error validating access token"), stranger: facebookError(1, "Error validating client secret."),
			},
			revoke: &revocation{
				method: "DELETE", address: "graph.facebook.com/v22.0/me/permissions", auth: bearer, access: true,
				answer: answer{200, map[string]any{"success": true}},
			},
			refusals: []refusal{
				{facebookError(100, "This authorization code has been used."), oauth.ConcernGrant},
				{facebookError(102, "Session has expired"), oauth.ConcernGrant},
				{facebookError(101, "Error validating application."), oauth.ConcernApplication},
				{facebookError(2, "Service temporarily unavailable"), oauth.ConcernTransient},
				{facebookError(4, "Application request limit reached"), oauth.ConcernTransient},
				{facebookError(17, "User request limit reached"), oauth.ConcernTransient},
				{facebookError(32, "Page request limit reached"), oauth.ConcernTransient},
				{facebookError(613, "Calls have exceeded the rate limit."), oauth.ConcernTransient},
				{facebookError(999, "Something new"), oauth.ConcernRefused},
			},
			resources: []resource{{
				address: "graph.facebook.com/v22.0/me", query: map[string]string{"fields": "id"}, body: map[string]any{"id": "1015"},
				dead: facebookError(190, "Error validating access token"),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(5183944), subject: "1015", usePath: "/me?fields=id", useAddress: "graph.facebook.com/v22.0/me",
			},
		},
		{
			preset: "tiktok",
			scopes: []string{"user.info.basic", "video.list"},
			page: page{
				address: "www.tiktok.com/v2/auth/authorize/", scope: "user.info.basic,video.list", pkce: pkceRefused,
				names: map[string]string{"client_id": "client_key"},
			},
			token: tokens{
				address: "open.tiktokapis.com/v2/oauth/token/", auth: post, renewal: rotates, names: map[string]string{"client_id": "client_key"},
				answer: grants(86400, map[string]any{"open_id": "open-1", "refresh_expires_in": 31536000, "scope": "user.info.basic,video.list"}),
				dead:   refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "open.tiktokapis.com/v2/oauth/revoke/", auth: open,
				params: map[string]string{"client_key": clientID, "client_secret": clientSecret, "token": "{token}"},
				access: true, answer: answer{status: 200},
			},
			expect: expectation{
				lifetime: seconds(86400), refreshLifetime: 365 * day, subject: "open-1", scopes: []string{"user.info.basic", "video.list"},
			},
		},
	}
}

func identity() []script {
	return []script{
		{
			preset:      "auth0",
			application: map[string]string{"domain": "acme.eu.auth0.com"},
			inputs:      map[string]string{"audience": "https://api.acme.example"},
			page: page{
				address: "acme.eu.auth0.com/authorize", scope: "openid offline_access", params: map[string]string{"audience": "https://api.acme.example"},
			},
			token: tokens{
				address: "acme.eu.auth0.com/oauth/token", auth: post, renewal: rotates, answer: grants(86400, nil),
				dead:     refuses(403, "invalid_grant", "Unknown or invalid refresh token."),
				stranger: refuses(401, "access_denied", "Unauthorized"),
			},
			revoke: &revocation{
				method: "POST", address: "acme.eu.auth0.com/oauth/revoke", auth: post, params: map[string]string{"token": "{token}"}, hint: true,
				refresh: true, answer: answer{status: 200},
			},
			device: "acme.eu.auth0.com/oauth/device/code",
			refusals: slices.Concat(
				refusedWith(403, oauth.ConcernGrant, "mfa_required"), refusedWith(403, oauth.ConcernTransient, "too_many_requests"),
				[]refusal{{refuses(403, "access_denied", "A rule of the tenant says no."), oauth.ConcernRefused}},
			),
			resources: []resource{{address: "acme.eu.auth0.com/userinfo", body: map[string]any{"sub": "auth0|5f7c"}, dead: unauthorized()}},
			expect:    expectation{lifetime: seconds(86400), subject: "auth0|5f7c", usePath: "/userinfo", useAddress: "acme.eu.auth0.com/userinfo"},
		},
		{
			preset:      "okta",
			application: map[string]string{"domain": "acme.okta.com"},
			inputs:      map[string]string{"authServer": "aus1"},
			page:        page{address: "acme.okta.com/oauth2/aus1/v1/authorize", scope: "openid offline_access"},
			token: tokens{
				address: "acme.okta.com/oauth2/aus1/v1/token", auth: basic, renewal: rotates, answer: grants(3600, nil),
				dead:     refuses(400, "invalid_grant", "The refresh token is invalid or expired."),
				stranger: refuses(401, "invalid_client", "The client secret supplied for a confidential client is invalid."),
			},
			device:     "acme.okta.com/oauth2/aus1/v1/device/authorize",
			revoke:     rfc7009("acme.okta.com/oauth2/aus1/v1/revoke", basic),
			introspect: &introspection{address: "acme.okta.com/oauth2/aus1/v1/introspect", auth: basic},
			resources:  []resource{{address: "acme.okta.com/oauth2/aus1/v1/userinfo", body: map[string]any{"sub": "00u1"}, dead: unauthorized()}},
			checked:    true,
			expect: expectation{
				lifetime: seconds(3600), subject: "00u1",
				usePath: "/oauth2/{authServer}/v1/userinfo", useAddress: "acme.okta.com/oauth2/aus1/v1/userinfo",
			},
		},
	}
}

func increase() []script {
	answers := func(i issued) any {
		return map[string]any{"access_token": i.access, "token_type": "bearer", "group_id": "group_1", "type": "oauth_token"}
	}
	dead := answer{400, map[string]any{"type": "invalid_parameters_error", "status": 400, "title": "Bad Request", "detail": "code: was used before"}}
	wrongKey := answer{401, map[string]any{"type": "invalid_api_key_error", "status": 401, "title": "Unauthorized", "detail": nil}}
	key := map[string]string{"Authorization": "Bearer " + apiKey}
	expect := expectation{
		lifetime: never(), subject: "group_1", captured: map[string]string{"group_id": "group_1"}, dead: oauth.ConcernRefused,
		usePath: "/accounts?limit=1",
	}
	var refusals []refusal
	for kind, concern := range map[string]oauth.Concern{
		"environment_mismatch_error": oauth.ConcernApplication, "insufficient_permissions_error": oauth.ConcernApplication,
		"private_feature_error": oauth.ConcernApplication, "rate_limited_error": oauth.ConcernTransient,
		"internal_server_error": oauth.ConcernTransient, "object_not_found_error": oauth.ConcernRefused,
	} {
		refusals = append(refusals, refusal{answer{403, map[string]any{"type": kind, "status": 403, "title": "no"}}, concern})
	}
	production, sandbox := expect, expect
	production.useAddress, sandbox.useAddress = "api.increase.com/accounts", "sandbox.increase.com/accounts"
	return []script{
		{
			preset: "increase",
			scopes: []string{"read_write"},
			page: page{
				address: "increase.com/oauth/authorization", scope: "read_write", pkce: pkceRefused,
				names: map[string]string{"response_type": "", "redirect_uri": ""},
			},
			token: tokens{
				address: "api.increase.com/oauth/tokens", json: true, auth: post, headers: key, noRedirect: true,
				answer: answers, dead: dead, stranger: wrongKey,
			},
			resources: []resource{{address: "api.increase.com/accounts", query: map[string]string{"limit": "1"}, body: map[string]any{"data": []any{}}, dead: wrongKey}},
			list:      &listing{connections: "api.increase.com/oauth_connections", applications: "api.increase.com/oauth_applications", key: apiKey},
			refusals:  refusals,
			checked:   true,
			expect:    production,
		},
		{
			preset: "increase-sandbox",
			token: tokens{
				address: "sandbox.increase.com/oauth/tokens", json: true, auth: post, headers: key,
				grant: "production_token", parameter: "production_token", answer: answers, dead: dead, stranger: wrongKey,
			},
			resources: []resource{{address: "sandbox.increase.com/accounts", query: map[string]string{"limit": "1"}, body: map[string]any{"data": []any{}}, dead: wrongKey}},
			list:      &listing{connections: "sandbox.increase.com/oauth_connections", applications: "sandbox.increase.com/oauth_applications", key: apiKey},
			refusals:  refusals,
			checked:   true,
			expect:    sandbox,
		},
	}
}
