// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"net/http"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// scripts are those of all presets.
func scripts() []script {
	return slices.Concat(suites(), forges(), chats(), workplaces(), boards(), sales(), support(), money(), books(), files(), social(), identity(), increase(), variants())
}

func any200(address string) resource {
	return resource{address: address, body: map[string]any{"ok": true}, dead: unauthorized()}
}

const day = 24 * time.Hour

func suites() []script {
	return []script{
		{
			preset: "google",
			scopes: []string{"openid", "https://www.googleapis.com/auth/calendar.readonly"},
			page: page{
				address: "accounts.google.com/o/oauth2/v2/auth",
				params:  map[string]string{"access_type": "offline", "prompt": "consent"},
				scope:   "openid https://www.googleapis.com/auth/calendar.readonly",
			},
			token: tokens{
				address: "oauth2.googleapis.com/token", auth: post, renewal: keeps,
				answer:   grants(3599, map[string]any{"token_type": "Bearer"}),
				dead:     refuses(400, "invalid_grant", "Token has been expired or revoked."),
				stranger: refuses(401, "invalid_client", "The provided client secret is invalid."),
			},
			// Any token ends the whole grant, after which the other one is unknown.
			device: "oauth2.googleapis.com/device/code",
			refusals: slices.Concat(
				refusedWith(401, oauth.ConcernApplication, "deleted_client", "disabled_client", "unauthorized_client"),
				refusedWith(400, oauth.ConcernGrant, "admin_policy_enforced"),
				refusedWith(403, oauth.ConcernTransient, "rate_limit_exceeded"), refusedWith(400, oauth.ConcernTransient, "internal_failure"),
			),
			revoke:    &revocation{method: "POST", address: "oauth2.googleapis.com/revoke", auth: open, params: map[string]string{"token": "{token}"}, hint: true, refresh: true, access: true, answer: answer{status: 200}},
			resources: []resource{any200("www.googleapis.com/calendar/v3/users/me/calendarList")},
			expect: expectation{
				lifetime: seconds(3599),
				usePath:  "/calendar/v3/users/me/calendarList", useAddress: "www.googleapis.com/calendar/v3/users/me/calendarList",
			},
		},
		{
			preset: "microsoft",
			inputs: map[string]string{"tenant": "acme.example"},
			scopes: []string{"openid", "offline_access", "Mail.Read"},
			page: page{
				address: "login.microsoftonline.com/acme.example/oauth2/v2.0/authorize",
				params:  map[string]string{"response_mode": "query"}, scope: "openid offline_access Mail.Read",
			},
			token: tokens{
				address: "login.microsoftonline.com/acme.example/oauth2/v2.0/token", auth: post, renewal: rotates,
				answer: grants(4799, map[string]any{"ext_expires_in": 4799, "token_type": "Bearer"}),
				dead: answer{400, map[string]any{
					"error": "interaction_required", "error_description": "AADSTS50076: multi-factor authentication", "error_codes": []int{50076},
				}},
				stranger: refuses(401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
			},
			device: "login.microsoftonline.com/acme.example/oauth2/v2.0/devicecode",
			refusals: slices.Concat(
				refusedWith(400, oauth.ConcernGrant, "consent_required", "login_required", "invalid_grant"),
				refusedWith(400, oauth.ConcernRefused, "invalid_resource", "invalid_request"),
				refusedWith(400, oauth.ConcernTransient, "temporarily_unavailable"),
			),
			resources: []resource{any200("graph.microsoft.com/v1.0/me")},
			expect:    expectation{lifetime: seconds(4799), usePath: "/v1.0/me", useAddress: "graph.microsoft.com/v1.0/me"},
		},
	}
}

func forges() []script {
	hub := map[string]string{"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "*"}
	return []script{
		{
			preset: "github",
			scopes: []string{"repo", "read:user"},
			page:   page{address: "github.com/login/oauth/authorize", scope: "repo read:user"},
			token: tokens{
				address: "github.com/login/oauth/access_token", auth: post, form: true,
				answer: func(i issued) any {
					return map[string]any{"access_token": i.access, "scope": "read:user,repo", "token_type": "bearer"}
				},
				dead:     refuses(200, "bad_verification_code", "The code passed is incorrect or expired."),
				stranger: refuses(200, "incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect."),
			},
			device: "github.com/login/device/code",
			refusals: slices.Concat(
				refusedWith(200, oauth.ConcernGrant, "bad_refresh_token", "unverified_user_email"),
				refusedWith(200, oauth.ConcernApplication, "application_suspended", "unsupported_grant_type"),
				refusedWith(200, oauth.ConcernRefused, "redirect_uri_mismatch"),
			),
			resources: []resource{{
				address: "api.github.com/user", headers: hub, body: map[string]any{"login": "octocat", "id": 583231},
				dead: answer{401, map[string]any{"message": "Bad credentials"}},
			}},
			revoke: &revocation{
				method: "DELETE", address: "api.github.com/applications/" + clientID + "/grant", json: true, auth: basic,
				headers: map[string]string{"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
				params:  map[string]string{"access_token": "{token}"}, access: true, answer: answer{status: 204},
			},
			checked: true,
			expect: expectation{
				lifetime: never(), subject: "583231", scopes: []string{"read:user", "repo"}, usePath: "/user", useAddress: "api.github.com/user",
			},
		},
		{
			preset: "gitlab",
			scopes: []string{"read_user"},
			page:   page{address: "gitlab.com/oauth/authorize", scope: "read_user"},
			token: tokens{
				address: "gitlab.com/oauth/token", auth: post, renewal: rotates,
				extra:    map[string]map[string]string{"refresh_token": {"redirect_uri": redirectURL}},
				answer:   grants(7200, map[string]any{"created_at": 1760000000}),
				dead:     refuses(400, "invalid_grant", "The provided authorization grant is invalid."),
				stranger: refuses(401, "invalid_client", "Client authentication failed."),
			},
			revoke: rfc7009("gitlab.com/oauth/revoke", post),
			device: "gitlab.com/oauth/authorize_device",
			resources: []resource{
				{address: "gitlab.com/oauth/token/info", body: map[string]any{"resource_owner_id": 7, "scope": []string{"read_user"}}, dead: unauthorized()},
				any200("gitlab.com/api/v4/user"),
			},
			checked: true,
			expect:  expectation{lifetime: seconds(7200), subject: "7", usePath: "/user", useAddress: "gitlab.com/api/v4/user"},
		},
		{
			preset: "bitbucket",
			page:   page{address: "bitbucket.org/site/oauth2/authorize"},
			token: tokens{
				address: "bitbucket.org/site/oauth2/access_token", auth: basic, renewal: repeats,
				answer:   grants(7200, map[string]any{"scopes": "account repository"}),
				dead:     refuses(400, "invalid_grant", "Invalid refresh_token"),
				stranger: refuses(400, "unauthorized_client", "Invalid OAuth client credentials"),
			},
			resources: []resource{{
				address: "api.bitbucket.org/2.0/user", body: map[string]any{"account_id": "557058:x", "uuid": "{1}"}, dead: unauthorized(),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(7200), scopes: []string{"account", "repository"}, subject: "557058:x",
				usePath: "/user", useAddress: "api.bitbucket.org/2.0/user",
			},
		},
		{
			preset: "digitalocean",
			page:   page{address: "cloud.digitalocean.com/v1/oauth/authorize", scope: "read"},
			token: tokens{
				address: "cloud.digitalocean.com/v1/oauth/token", refresh: "cloud.digitalocean.com/v1/oauth/refresh", auth: post, renewal: rotates,
				answer: grants(2592000, map[string]any{
					"info": map[string]any{"email": "sammy@example.com", "uuid": "user-1", "team_uuid": "team-1"},
				}),
				dead: refuses(401, "invalid_grant", "unknown refresh token"), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "cloud.digitalocean.com/v1/oauth/revoke", auth: bearer,
				params: map[string]string{"token": "{token}"}, access: true, answer: answer{200, map[string]any{}},
			},
			resources: []resource{any200("api.digitalocean.com/v2/account")},
			checked:   true,
			expect: expectation{
				lifetime: seconds(2592000), subject: "team-1", usePath: "/account", useAddress: "api.digitalocean.com/v2/account",
			},
		},
	}
}

// slackRefusals come with HTTP 200.
func slackRefusals() []refusal {
	var all []refusal
	add := func(concern oauth.Concern, codes ...string) {
		for _, code := range codes {
			all = append(all, refusal{answer{200, map[string]any{"ok": false, "error": code}}, concern})
		}
	}
	add(oauth.ConcernGrant, "invalid_code", "code_already_used", "invalid_auth", "token_expired", "token_revoked", "account_inactive")
	add(oauth.ConcernApplication, "invalid_client_id", "invalid_grant_type")
	add(oauth.ConcernRefused, "bad_redirect_uri", "invalid_scope", "something_new")
	add(
		oauth.ConcernTransient, "ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org",
	)
	return all
}

func chats() []script {
	agent := map[string]string{"User-Agent": "*"}
	return []script{
		{
			preset: "slack",
			inputs: map[string]string{"user_scope": "search:read"},
			scopes: []string{"chat:write", "channels:read"},
			page: page{
				address: "slack.com/oauth/v2/authorize", scope: "chat:write,channels:read", pkce: pkceRefused,
				params: map[string]string{"user_scope": "search:read"},
			},
			token: tokens{
				address: "slack.com/api/oauth.v2.access", auth: basic, renewal: rotates,
				answer: func(i issued) any {
					return map[string]any{
						"ok": true, "access_token": i.access, "token_type": "bot", "scope": "chat:write,channels:read", "bot_user_id": "U0BOT",
						"expires_in": 43200, "refresh_token": i.refresh, "team": map[string]any{"id": "T1", "name": "Acme"}, "enterprise": nil,
						"authed_user": map[string]any{"id": "U1", "access_token": "another", "refresh_token": "another", "expires_in": 1, "scope": "search:read"},
					}
				},
				dead:     answer{200, map[string]any{"ok": false, "error": "invalid_refresh_token"}},
				stranger: answer{200, map[string]any{"ok": false, "error": "bad_client_secret"}},
			},
			refusals: slackRefusals(),
			revoke: &revocation{
				method: "POST", address: "slack.com/api/auth.revoke", auth: bearer, access: true,
				answer: answer{200, map[string]any{"ok": true, "revoked": true}},
			},
			resources: []resource{{
				address: "slack.com/api/auth.test", body: map[string]any{"ok": true, "team_id": "T1"},
				dead: answer{200, map[string]any{"ok": false, "error": "account_inactive"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(43200), subject: "T1", scopes: []string{"chat:write", "channels:read"},
				captured: map[string]string{"team_id": "T1", "bot_user_id": "U0BOT", "authed_user_id": "U1"},
				usePath:  "/auth.test", useAddress: "slack.com/api/auth.test",
			},
		},
		{
			preset: "discord",
			scopes: []string{"identify", "guilds"},
			page:   page{address: "discord.com/oauth2/authorize", scope: "identify guilds"},
			token: tokens{
				address: "discord.com/api/oauth2/token", auth: basic, renewal: rotates, headers: agent, answer: grants(604800, nil),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: rfc7009("discord.com/api/oauth2/token/revoke", basic),
			resources: []resource{{
				address: "discord.com/api/v10/oauth2/@me", headers: agent, body: map[string]any{"scopes": []string{"identify"}},
				dead: answer{401, map[string]any{"message": "401: Unauthorized", "code": 0}},
			}},
			checked: true,
			expect:  expectation{lifetime: seconds(604800), usePath: "/oauth2/@me", useAddress: "discord.com/api/v10/oauth2/@me"},
		},
		{
			preset: "zoom",
			page:   page{address: "zoom.us/oauth/authorize"},
			token: tokens{
				address: "zoom.us/oauth/token", auth: basic, renewal: rotates,
				answer:   grants(3599, map[string]any{"scope": "user:read:user", "api_url": "https://api.zoom.us"}),
				dead:     answer{401, map[string]any{"reason": "Invalid Token!", "error": "invalid_request"}},
				stranger: answer{401, map[string]any{"reason": "Invalid client_id or client_secret", "error": "invalid_client"}},
			},
			revoke: &revocation{
				method: "POST", address: "zoom.us/oauth/revoke", auth: basic, params: map[string]string{"token": "{token}"}, hint: true,
				access: true, answer: answer{200, map[string]any{"status": "success"}},
			},
			resources: []resource{{
				address: "api.zoom.us/v2/users/me", body: map[string]any{"id": "u-1", "account_id": "a-1"},
				dead: answer{401, map[string]any{"code": 124, "message": "Invalid access token."}},
			}},
			checked: true,
			expect:  expectation{lifetime: seconds(3599), subject: "u-1", usePath: "/users/me", useAddress: "api.zoom.us/v2/users/me"},
		},
	}
}

func workplaces() []script {
	version := map[string]string{"Notion-Version": "2022-06-28"}
	return []script{
		{
			preset: "atlassian",
			scopes: []string{"read:jira-work", "offline_access"},
			page: page{
				address: "auth.atlassian.com/authorize", scope: "read:jira-work offline_access",
				params: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
			},
			token: tokens{
				address: "auth.atlassian.com/oauth/token", json: true, auth: post, renewal: rotates, answer: grants(3600, nil),
				dead:     refuses(403, "unauthorized_client", "refresh_token is invalid"),
				stranger: refuses(401, "access_denied", "Unauthorized"),
			},
			resources: []resource{{
				address: "api.atlassian.com/oauth/token/accessible-resources",
				body: []any{
					map[string]any{"id": "cloud-1", "url": "https://acme.atlassian.net"}, map[string]any{"id": "cloud-2", "url": "https://b.atlassian.net"},
				},
				dead: answer{401, map[string]any{"code": 401, "message": "Unauthorized"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(3600), captured: map[string]string{"cloudId": "cloud-1", "siteURL": "https://acme.atlassian.net"},
				usePath: "/oauth/token/accessible-resources", useAddress: "api.atlassian.com/oauth/token/accessible-resources",
			},
		},
		{
			preset: "linear",
			scopes: []string{"read", "write"},
			page:   page{address: "linear.app/oauth/authorize", scope: "read,write"},
			token: tokens{
				address: "api.linear.app/oauth/token", auth: post, renewal: rotates, answer: grants(86399, nil),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(400, "invalid_client", ""),
			},
			revoke: rfc7009("api.linear.app/oauth/revoke", post),
			expect: expectation{lifetime: seconds(86399)},
		},
		{
			preset: "notion",
			page:   page{address: "api.notion.com/v1/oauth/authorize", params: map[string]string{"owner": "user"}, pkce: pkceRefused},
			token: tokens{
				address: "api.notion.com/v1/oauth/token", json: true, auth: basic, renewal: rotates, headers: version,
				answer:   grants(0, map[string]any{"bot_id": "bot-1", "workspace_id": "workspace-1", "owner": map[string]any{"type": "user"}}),
				dead:     refuses(400, "invalid_grant", "Token has been expired or revoked."),
				stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "api.notion.com/v1/oauth/revoke", json: true, auth: basic, headers: version,
				params: map[string]string{"token": "{token}"}, access: true, answer: answer{200, map[string]any{"request_id": "1"}},
			},
			resources: []resource{{
				address: "api.notion.com/v1/users/me", headers: version, body: map[string]any{"object": "user", "type": "bot"},
				dead: answer{401, map[string]any{"object": "error", "code": "unauthorized"}},
			}},
			checked: true,
			expect: expectation{
				id: "bot-1", subject: "workspace-1", captured: map[string]string{"bot_id": "bot-1", "workspace_id": "workspace-1"},
				usePath: "/v1/users/me", useAddress: "api.notion.com/v1/users/me",
			},
		},
		{
			preset: "airtable",
			scopes: []string{"data.records:read"},
			page:   page{address: "airtable.com/oauth2/v1/authorize", scope: "data.records:read", pkce: pkceRequired},
			token: tokens{
				address: "airtable.com/oauth2/v1/token", auth: basic, renewal: rotates,
				answer: grants(3600, map[string]any{"refresh_expires_in": 5184000}),
				dead:   refuses(400, "invalid_grant", "Invalid token"), stranger: refuses(401, "invalid_client", "Invalid client"),
			},
			resources: []resource{{address: "api.airtable.com/v0/meta/whoami", body: map[string]any{"id": "usr1"}, dead: unauthorized()}},
			checked:   true,
			expect: expectation{
				lifetime: seconds(3600), refreshLifetime: 60 * day, subject: "usr1",
				usePath: "/v0/meta/whoami", useAddress: "api.airtable.com/v0/meta/whoami",
			},
		},
	}
}

func boards() []script {
	return []script{
		{
			preset: "asana",
			page:   page{address: "app.asana.com/-/oauth_authorize", scope: "default"},
			token: tokens{
				address: "app.asana.com/-/oauth_token", auth: post, renewal: keeps,
				answer: grants(3600, map[string]any{"data": map[string]any{"id": 77, "gid": "77", "email": "greg@example.com"}}),
				dead:   refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "app.asana.com/-/oauth_revoke", auth: post, params: map[string]string{"token": "{token}"}, hint: true,
				refresh: true, answer: answer{200, map[string]any{}},
			},
			resources: []resource{{address: "app.asana.com/api/1.0/users/me", body: map[string]any{"data": map[string]any{"gid": "77"}}, dead: unauthorized()}},
			checked:   true,
			expect: expectation{
				lifetime: seconds(3600), subject: "77", captured: map[string]string{"gid": "77", "email": "greg@example.com"},
				usePath: "/users/me", useAddress: "app.asana.com/api/1.0/users/me",
			},
		},
		{
			preset: "monday",
			scopes: []string{"me:read", "boards:read"},
			page: page{
				address: "auth.monday.com/oauth2/authorize", scope: "me:read boards:read", pkce: pkceRefused,
				names: map[string]string{"response_type": ""},
			},
			token: tokens{
				address: "auth.monday.com/oauth2/token", auth: post, answer: grants(0, nil),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			expect: expectation{lifetime: never()},
		},
		{
			preset: "clickup",
			page:   page{address: "app.clickup.com/api", pkce: pkceRefused},
			token: tokens{
				address: "api.clickup.com/api/v2/oauth/token", json: true, auth: post,
				answer:   func(i issued) any { return map[string]any{"access_token": i.access} },
				dead:     answer{400, map[string]any{"err": "Code already used", "ECODE": "OAUTH_014"}},
				stranger: answer{401, map[string]any{"err": "Client secret does not match", "ECODE": "OAUTH_010"}},
			},
			resources: []resource{{
				address: "api.clickup.com/api/v2/user", body: map[string]any{"user": map[string]any{"id": 123}},
				dead: answer{401, map[string]any{"err": "Token invalid", "ECODE": "OAUTH_025"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: never(), subject: "123", stranger: oauth.ConcernRefused, usePath: "/user", useAddress: "api.clickup.com/api/v2/user",
			},
		},
		{
			preset: "figma",
			scopes: []string{"file_content:read"},
			page:   page{address: "www.figma.com/oauth", scope: "file_content:read"},
			token: tokens{
				address: "api.figma.com/v1/oauth/token", refresh: "api.figma.com/v1/oauth/refresh", auth: basic, renewal: keeps,
				answer:   grants(7776000, map[string]any{"user_id": 12345, "user_id_string": "12345"}),
				dead:     answer{400, map[string]any{"status": 400, "error": true, "message": "Invalid refresh token"}},
				stranger: answer{403, map[string]any{"status": 403, "error": true, "message": "Invalid client secret"}},
			},
			resources: []resource{{
				address: "api.figma.com/v1/me", body: map[string]any{"id": "12345"}, dead: answer{403, map[string]any{"status": 403, "err": "Invalid token"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(7776000), subject: "12345", dead: oauth.ConcernRefused, stranger: oauth.ConcernRefused,
				usePath: "/v1/me", useAddress: "api.figma.com/v1/me",
			},
		},
		{
			preset: "miro",
			page:   page{address: "miro.com/oauth/authorize"},
			token: tokens{
				address: "api.miro.com/v1/oauth/token", auth: post, renewal: rotates,
				answer: grants(3599, map[string]any{"scope": "boards:read", "team_id": "307", "user_id": "309"}),
				dead:   refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "api.miro.com/v2/oauth/revoke", json: true, auth: open,
				params: map[string]string{"accessToken": "{token}", "clientId": clientID, "clientSecret": clientSecret},
				access: true, answer: answer{status: http.StatusNoContent},
			},
			resources: []resource{any200("api.miro.com/v1/oauth-token")},
			checked:   true,
			expect: expectation{
				lifetime: seconds(3599), subject: "307", captured: map[string]string{"team_id": "307", "user_id": "309"},
				usePath: "/v1/oauth-token", useAddress: "api.miro.com/v1/oauth-token",
			},
		},
	}
}
