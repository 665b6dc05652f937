// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"slices"
	"strings"
)

// variants are presets once more: with what the catalogue takes for granted, and with answers that these providers give to
// some of their clients only.
func variants() []script {
	byName := map[string]script{}
	for _, s := range slices.Concat(suites(), forges(), chats(), workplaces(), boards(), sales(), support(), money(), books(), social(), identity()) {
		byName[s.preset] = s
	}
	var all []script
	vary := func(preset, variant string, change func(s *script)) {
		s := byName[preset]
		s.variant, s.refusals = variant, nil
		change(&s)
		all = append(all, s)
	}
	vary("github", "GitHub App", func(s *script) {
		s.token.renewal = rotates
		s.token.answer = grants(28800, map[string]any{"refresh_token_expires_in": 15811200, "scope": ""})
		s.token.dead = refuses(200, "bad_refresh_token", "The refresh token passed is incorrect or expired.")
		s.expect.lifetime, s.expect.refreshLifetime, s.expect.scopes = seconds(28800), 183*day, []string{}
	})
	vary("slack", "user token", func(s *script) {
		s.inputs, s.page.params, s.token.renewal = nil, nil, noRefresh
		s.token.answer = func(i issued) any {
			return map[string]any{
				"ok": true, "team": nil, "enterprise": map[string]any{"id": "E1"}, "is_enterprise_install": true,
				"authed_user": map[string]any{"id": "U1", "access_token": i.access, "token_type": "user", "scope": "search:read,chat:write"},
			}
		}
		s.token.dead = answer{200, map[string]any{"ok": false, "error": "invalid_code"}}
		s.expect.lifetime, s.expect.scopes, s.expect.subject = never(), []string{"search:read", "chat:write"}, "E1"
		s.expect.captured = map[string]string{"authed_user_id": "U1"}
	})
	vary("slack", "rotating user token", func(s *script) {
		s.inputs, s.page.params = nil, nil
		s.token.answer = func(i issued) any {
			return map[string]any{"ok": true, "team": map[string]any{"id": "T1"}, "authed_user": map[string]any{
				"id": "U1", "access_token": i.access, "refresh_token": i.refresh, "expires_in": 43200, "token_type": "user", "scope": "search:read",
			}}
		}
		s.expect.scopes, s.expect.captured = []string{"search:read"}, map[string]string{"team_id": "T1", "authed_user_id": "U1"}
	})
	vary("notion", "without refresh token", func(s *script) {
		s.token.renewal, s.expect.lifetime = noRefresh, never()
	})
	vary("miro", "without expiry", func(s *script) {
		s.token.renewal = noRefresh
		s.token.answer = grants(0, map[string]any{"team_id": "307", "user_id": "309"})
		s.expect.lifetime = never()
	})
	vary("asana", "without account", func(s *script) {
		s.token.answer, s.expect.captured = grants(3600, nil), nil
	})
	vary("hubspot", "without account", func(s *script) {
		s.inputs, s.page.params, s.token.answer = nil, nil, grants(1800, nil)
	})
	for _, one := range []struct{ preset, variant, from, to string }{
		{"salesforce", "login host", "acme--test.sandbox.my.salesforce.com/services/oauth2", "login.salesforce.com/services/oauth2"},
		{"intercom", "USA", ".eu.intercom.", ".intercom."},
		{"square", "production", "connect.squareupsandbox.com", "connect.squareup.com"},
		{"quickbooks", "production", "sandbox-quickbooks.api.intuit.com", "quickbooks.api.intuit.com"},
		{"docusign", "production", "account-d.docusign.com", "account.docusign.com"},
		{"okta", "default server", "/oauth2/aus1/", "/oauth2/default/"},
		{"microsoft", "common tenant", "/acme.example/", "/common/"},
	} {
		vary(one.preset, one.variant, func(s *script) {
			s.inputs = nil
			s.move(one.from, one.to)
		})
	}
	return all
}

// move changes all addresses of a script.
func (s *script) move(from, to string) {
	moved := func(address string) string { return strings.ReplaceAll(address, from, to) }
	s.page.address, s.device, s.expect.useAddress = moved(s.page.address), moved(s.device), moved(s.expect.useAddress)
	s.token.address, s.token.refresh = moved(s.token.address), moved(s.token.refresh)
	if s.revoke != nil {
		changed := *s.revoke
		changed.address, s.revoke = moved(changed.address), &changed
	}
	if s.introspect != nil {
		changed := *s.introspect
		changed.address, s.introspect = moved(changed.address), &changed
	}
	s.resources = slices.Clone(s.resources)
	for i := range s.resources {
		s.resources[i].address = moved(s.resources[i].address)
	}
}
