// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

func hubSpotRefusals() []refusal {
	var all []refusal
	add := func(concern oauth.Concern, codes ...string) {
		for _, code := range codes {
			all = append(all, refusal{answer{400, map[string]any{"status": code, "error": "invalid_request", "message": "refused"}}, concern})
		}
	}
	add(oauth.ConcernGrant, "BAD_AUTH_CODE")
	add(oauth.ConcernApplication, "BAD_CLIENT_ID", "BAD_GRANT_TYPE")
	add(oauth.ConcernRefused, "BAD_REDIRECT_URI")
	return append(all, refusal{answer{400, map[string]any{"error": "invalid_grant", "status": "error"}}, oauth.ConcernGrant})
}

func sales() []script {
	return []script{
		{
			preset: "hubspot",
			inputs: map[string]string{"optional_scope": "crm.objects.deals.read tickets"},
			scopes: []string{"oauth", "crm.objects.contacts.read"},
			page: page{
				address: "app.hubspot.com/oauth/authorize", scope: "oauth crm.objects.contacts.read",
				params: map[string]string{"optional_scope": "crm.objects.deals.read tickets"},
			},
			token: tokens{
				address: "api.hubapi.com/oauth/2026-03/token", auth: post, renewal: repeats, answer: grants(1800, map[string]any{"hub_id": 62515}),
				dead: answer{400, map[string]any{
					"status": "BAD_REFRESH_TOKEN", "error": "invalid_request", "message": "missing or invalid refresh token", "correlationId": "1",
				}},
				stranger: answer{400, map[string]any{"status": "BAD_CLIENT_SECRET", "message": "missing or invalid client secret", "correlationId": "1"}},
			},
			revoke: &revocation{
				method: "POST", address: "api.hubapi.com/oauth/2026-03/token/revoke", auth: post, params: map[string]string{"token": "{token}"},
				hint: true, refresh: true, answer: answer{status: 200},
			},
			refusals: hubSpotRefusals(),
			resources: []resource{{
				address: "api.hubapi.com/account-info/v3/details", body: map[string]any{"portalId": 62515},
				dead: answer{401, map[string]any{"status": "error", "category": "INVALID_AUTHENTICATION"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(1800), subject: "62515",
				usePath: "/account-info/v3/details", useAddress: "api.hubapi.com/account-info/v3/details",
			},
		},
		{
			preset: "salesforce",
			inputs: map[string]string{"host": "https://acme--test.sandbox.my.salesforce.com"},
			page: page{
				address: "acme--test.sandbox.my.salesforce.com/services/oauth2/authorize", scope: "api refresh_token",
				params: map[string]string{"prompt": "consent"},
			},
			token: tokens{
				address: "acme--test.sandbox.my.salesforce.com/services/oauth2/token", auth: post, renewal: keeps,
				answer: grants(0, map[string]any{
					"instance_url": "https://acme--test.sandbox.my.salesforce.com", "issued_at": "1760000000000", "signature": "c2ln",
					"id": "https://test.salesforce.com/id/00D1/0051",
				}),
				dead:     refuses(400, "invalid_grant", "expired access/refresh token"),
				stranger: refuses(400, "invalid_client", "invalid client credentials"),
			},
			revoke: &revocation{
				method: "POST", address: "acme--test.sandbox.my.salesforce.com/services/oauth2/revoke", auth: open,
				params: map[string]string{"token": "{token}"}, hint: true, refresh: true, access: true, answer: answer{status: 200},
			},
			refusals: slices.Concat(
				refusedWith(400, oauth.ConcernGrant, "inactive_user", "inactive_org"),
				refusedWith(400, oauth.ConcernApplication, "invalid_client_id", "invalid_client_credentials"),
				refusedWith(400, oauth.ConcernTransient, "rate_limit_exceeded"),
			),
			resources: []resource{any200("acme--test.sandbox.my.salesforce.com/services/data")},
			expect: expectation{
				lifetime: seconds(3600), subject: "https://test.salesforce.com/id/00D1/0051",
				captured: map[string]string{"instance_url": "https://acme--test.sandbox.my.salesforce.com"},
				usePath:  "/services/data", useAddress: "acme--test.sandbox.my.salesforce.com/services/data",
			},
		},
		{
			preset: "pipedrive",
			page:   page{address: "oauth.pipedrive.com/oauth/authorize", pkce: pkceRefused},
			token: tokens{
				address: "oauth.pipedrive.com/oauth/token", auth: basic, renewal: rotates,
				answer:   grants(3599, map[string]any{"api_domain": "https://acme.pipedrive.com", "scope": "deals:full,users:read"}),
				dead:     answer{400, map[string]any{"success": false, "error": "invalid_grant", "message": "Invalid grant: refresh token is invalid"}},
				stranger: answer{401, map[string]any{"success": false, "error": "invalid_client", "message": "Invalid client"}},
			},
			revoke: rfc7009("oauth.pipedrive.com/oauth/revoke", basic),
			resources: []resource{{
				address: "acme.pipedrive.com/api/v1/users/me", body: map[string]any{"data": map[string]any{"id": 1, "company_id": 77}}, dead: unauthorized(),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(3599), subject: "77", scopes: []string{"deals:full", "users:read"},
				captured: map[string]string{"api_domain": "https://acme.pipedrive.com"},
				usePath:  "/v1/users/me", useAddress: "acme.pipedrive.com/api/v1/users/me",
			},
		},
		{
			preset: "zoho",
			scopes: []string{"ZohoCRM.modules.ALL", "ZohoCRM.users.READ"},
			page: page{
				address: "accounts.zoho.com/oauth/v2/auth", scope: "ZohoCRM.modules.ALL,ZohoCRM.users.READ",
				params:   map[string]string{"access_type": "offline", "prompt": "consent"},
				callback: map[string]string{"location": "eu", "accounts-server": "https://accounts.zoho.eu"},
			},
			token: tokens{
				address: "accounts.zoho.eu/oauth/v2/token", auth: post, renewal: keeps,
				answer: grants(3600, map[string]any{"api_domain": "https://www.zohoapis.eu"}),
				dead:   answer{200, map[string]any{"error": "invalid_code"}}, stranger: answer{200, map[string]any{"error": "invalid_client_secret"}},
			},
			revoke: &revocation{
				method: "POST", address: "accounts.zoho.eu/oauth/v2/token/revoke", auth: open, params: map[string]string{"token": "{token}"},
				refresh: true, answer: answer{200, map[string]any{"status": "success"}},
			},
			refusals: slices.Concat(
				refusedWith(200, oauth.ConcernApplication, "invalid_client"), refusedWith(200, oauth.ConcernTransient, "Access Denied"),
			),
			resources: []resource{{
				address: "www.zohoapis.eu/crm/v8/org", scheme: "Zoho-oauthtoken ", body: map[string]any{}, dead: unauthorized(),
			}},
			expect: expectation{
				lifetime: seconds(3600),
				captured: map[string]string{
					"accounts_server": "https://accounts.zoho.eu", "location": "eu", "api_domain": "https://www.zohoapis.eu",
				},
				usePath: "/crm/v8/org", useAddress: "www.zohoapis.eu/crm/v8/org",
			},
		},
		{
			preset: "calendly",
			page:   page{address: "auth.calendly.com/oauth/authorize"},
			token: tokens{
				address: "auth.calendly.com/oauth/token", auth: basic, renewal: rotates,
				answer: grants(7200, map[string]any{
					"scope": "default", "owner": "https://api.calendly.com/users/AAA", "organization": "https://api.calendly.com/organizations/BBB",
				}),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke:    rfc7009("auth.calendly.com/oauth/revoke", post),
			resources: []resource{any200("api.calendly.com/users/me")},
			checked:   true,
			expect: expectation{
				lifetime: seconds(7200), subject: "https://api.calendly.com/users/AAA",
				captured: map[string]string{
					"owner": "https://api.calendly.com/users/AAA", "organization": "https://api.calendly.com/organizations/BBB",
				},
				usePath: "/users/me", useAddress: "api.calendly.com/users/me",
			},
		},
	}
}

func support() []script {
	versioned := map[string]string{"Accept": "application/json"}
	return []script{
		{
			preset: "intercom",
			inputs: map[string]string{"region": ".eu"},
			page:   page{address: "app.eu.intercom.com/oauth", pkce: pkceRefused},
			token: tokens{
				address: "api.eu.intercom.io/auth/eagle/token", auth: post,
				answer: func(i issued) any { return map[string]any{"token": i.access, "token_type": "Bearer"} },
				dead: answer{400, map[string]any{"type": "error.list", "errors": []any{
					map[string]any{"code": "parameter_invalid", "message": "the code is invalid"},
				}}},
				stranger: answer{401, map[string]any{"type": "error.list", "errors": []any{
					map[string]any{"code": "unauthorized", "message": "the client is unknown"},
				}}},
			},
			revoke: &revocation{method: "POST", address: "api.eu.intercom.io/auth/uninstall", auth: bearer, access: true, answer: answer{status: 200}},
			resources: []resource{{
				address: "api.eu.intercom.io/me", headers: versioned, body: map[string]any{"id": "8", "app": map[string]any{"id_code": "app-1"}},
				dead: answer{401, map[string]any{"type": "error.list"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: never(), subject: "app-1", dead: oauth.ConcernRefused, stranger: oauth.ConcernRefused,
				usePath: "/me", useAddress: "api.eu.intercom.io/me",
			},
		},
		{
			preset: "zendesk",
			inputs: map[string]string{"subdomain": "acme.zendesk.com"},
			scopes: []string{"read"},
			page:   page{address: "acme.zendesk.com/oauth/authorizations/new", scope: "read"},
			token: tokens{
				address: "acme.zendesk.com/oauth/tokens", auth: post, renewal: rotates,
				extra: map[string]map[string]string{
					"authorization_code": {"expires_in": "1800"}, "refresh_token": {"expires_in": "1800"},
				},
				answer: grants(1800, map[string]any{"refresh_token_expires_in": 2592000}),
				dead:   refuses(400, "invalid_grant", ""), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "DELETE", address: "acme.zendesk.com/api/v2/oauth/tokens/current.json", auth: bearer, access: true, answer: answer{status: 204},
			},
			resources: []resource{{
				address: "acme.zendesk.com/api/v2/users/me.json", body: map[string]any{"user": map[string]any{"id": 35}}, dead: unauthorized(),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(1800), refreshLifetime: 30 * day, subject: "35",
				usePath: "/api/v2/users/me.json", useAddress: "acme.zendesk.com/api/v2/users/me.json",
			},
		},
		{
			preset: "mailchimp",
			page:   page{address: "login.mailchimp.com/oauth2/authorize", pkce: pkceRefused},
			token: tokens{
				address: "login.mailchimp.com/oauth2/token", auth: post,
				answer: func(i issued) any { return map[string]any{"access_token": i.access, "expires_in": 0, "scope": nil} },
				dead:   refuses(400, "invalid_grant", ""), stranger: refuses(400, "invalid_client", ""),
			},
			resources: []resource{
				{
					address: "login.mailchimp.com/oauth2/metadata", scheme: "OAuth ",
					body: map[string]any{"dc": "us6", "user_id": 654, "api_endpoint": "https://us6.api.mailchimp.com"}, dead: unauthorized(),
				},
				any200("us6.api.mailchimp.com/3.0/ping"),
			},
			checked: true,
			expect: expectation{
				lifetime: never(), subject: "654", captured: map[string]string{"dc": "us6"},
				usePath: "/ping", useAddress: "us6.api.mailchimp.com/3.0/ping",
			},
		},
	}
}

func money() []script {
	stripe := func(more map[string]any) func(issued) any {
		return grants(0, map[string]any{"stripe_user_id": "acct_1", "livemode": false, "stripe_publishable_key": "pk", "scope": more["scope"]})
	}
	wrongKey := answer{401, map[string]any{"error": map[string]any{"message": "Invalid API Key provided", "type": "invalid_request_error"}}}
	return []script{
		{
			preset: "shopify",
			inputs: map[string]string{"shop": "https://acme.myshopify.com"},
			scopes: []string{"read_orders", "read_products"},
			page:   page{address: "acme.myshopify.com/admin/oauth/authorize", scope: "read_orders,read_products", pkce: pkceRefused},
			token: tokens{
				address: "acme.myshopify.com/admin/oauth/access_token", auth: post, renewal: rotates,
				extra: map[string]map[string]string{"authorization_code": {"expiring": "1"}},
				answer: grants(3600, map[string]any{
					"refresh_token_expires_in": 7776000, "scope": "read_orders,read_products",
				}),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(400, "application_cannot_be_found", ""),
			},
			revoke: &revocation{
				method: "DELETE", address: "acme.myshopify.com/admin/api_permissions/current.json", auth: open,
				headers: map[string]string{"X-Shopify-Access-Token": "{token}"}, access: true, answer: answer{status: 200},
			},
			resources: []resource{{
				address: "acme.myshopify.com/admin/api/2026-07/shop.json", header: "X-Shopify-Access-Token",
				body: map[string]any{"shop": map[string]any{"id": 1}}, dead: answer{401, map[string]any{"errors": "[API] Invalid API key or access token"}},
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(3600), refreshLifetime: 90 * day, scopes: []string{"read_orders", "read_products"}, subject: "1",
				usePath: "/shop.json", useAddress: "acme.myshopify.com/admin/api/2026-07/shop.json",
			},
		},
		{
			preset: "stripe",
			page:   page{address: "connect.stripe.com/oauth/authorize", scope: "read_write", pkce: pkceRefused},
			token: tokens{
				address: "connect.stripe.com/oauth/token", auth: post, renewal: repeats, answer: stripe(map[string]any{"scope": "read_write"}),
				dead: refuses(400, "invalid_grant", "Refresh token does not exist"), stranger: wrongKey,
			},
			revoke: &revocation{
				method: "POST", address: "connect.stripe.com/oauth/deauthorize", auth: open, account: true,
				headers: map[string]string{"Authorization": "Bearer " + clientSecret},
				params:  map[string]string{"client_id": clientID, "stripe_user_id": "acct_1"},
				answer:  answer{200, map[string]any{"stripe_user_id": "acct_1"}},
			},
			resources: []resource{{address: "api.stripe.com/v1/account", body: map[string]any{"id": "acct_1"}, dead: wrongKey}},
			checked:   true,
			expect: expectation{
				lifetime: seconds(90 * 24 * 3600), subject: "acct_1", captured: map[string]string{"stripe_user_id": "acct_1", "livemode": "false"},
				usePath: "/v1/account", useAddress: "api.stripe.com/v1/account",
			},
		},
		{
			preset: "stripe-apps",
			page:   page{address: "marketplace.stripe.com/oauth/v2/authorize", pkce: pkceRefused},
			token: tokens{
				address: "api.stripe.com/v1/oauth/token", auth: secretAsUser, renewal: rotates, answer: stripe(map[string]any{"scope": "stripe_apps"}),
				dead: refuses(400, "invalid_grant", ""), stranger: wrongKey,
			},
			resources: []resource{{address: "api.stripe.com/v1/account", body: map[string]any{"id": "acct_1"}, dead: wrongKey}},
			checked:   true,
			expect: expectation{
				lifetime: seconds(3600), subject: "acct_1", captured: map[string]string{"stripe_user_id": "acct_1", "livemode": "false"},
				usePath: "/v1/account", useAddress: "api.stripe.com/v1/account",
			},
		},
		{
			preset: "square",
			inputs: map[string]string{"host": "connect.squareupsandbox.com"},
			scopes: []string{"MERCHANT_PROFILE_READ"},
			page: page{
				address: "connect.squareupsandbox.com/oauth2/authorize", scope: "MERCHANT_PROFILE_READ", pkce: pkceRefused,
				params: map[string]string{"session": "false"},
			},
			token: tokens{
				address: "connect.squareupsandbox.com/oauth2/token", json: true, auth: post, renewal: repeats,
				// 30 days after the test's time.
				answer: grants(0, map[string]any{"expires_at": "2026-01-31T00:00:00Z", "merchant_id": "ML1", "short_lived": false, "scope": nil}),
				dead:   refuses(401, "invalid_grant", "Refresh token not found"),
				stranger: answer{401, map[string]any{"errors": []any{
					map[string]any{"category": "AUTHENTICATION_ERROR", "code": "UNAUTHORIZED", "detail": "This request could not be authorized."},
				}}},
			},
			revoke: &revocation{
				method: "POST", address: "connect.squareupsandbox.com/oauth2/revoke", json: true, auth: open,
				headers: map[string]string{"Authorization": "Client " + clientSecret},
				params:  map[string]string{"client_id": clientID, "access_token": "{token}"},
				access:  true, answer: answer{200, map[string]any{"success": true}},
			},
			resources: []resource{{
				address: "connect.squareupsandbox.com/v2/merchants/me", headers: map[string]string{"Square-Version": "*"},
				body: map[string]any{"merchant": map[string]any{"id": "ML1"}}, dead: unauthorized(),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(30 * 24 * 3600), subject: "ML1", captured: map[string]string{"merchant_id": "ML1"}, stranger: oauth.ConcernRefused,
				usePath: "/merchants/me", useAddress: "connect.squareupsandbox.com/v2/merchants/me",
			},
		},
	}
}

func books() []script {
	return []script{
		{
			preset: "quickbooks",
			inputs: map[string]string{"api_host": "sandbox-quickbooks.api.intuit.com"},
			page: page{
				address: "appcenter.intuit.com/connect/oauth2", scope: "com.intuit.quickbooks.accounting",
				callback: map[string]string{"realmId": "1231434565226279"},
			},
			token: tokens{
				address: "oauth.platform.intuit.com/oauth2/v1/tokens/bearer", auth: basic, renewal: rotates,
				answer: grants(3600, map[string]any{"x_refresh_token_expires_in": 8640000}),
				dead:   refuses(400, "invalid_grant", "Incorrect or invalid refresh token"), stranger: refuses(401, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "developer.api.intuit.com/v2/oauth2/tokens/revoke", json: true, auth: basic,
				params: map[string]string{"token": "{token}"}, refresh: true, access: true, answer: answer{status: 200},
			},
			resources: []resource{{
				address: "sandbox-quickbooks.api.intuit.com/v3/company/1231434565226279/companyinfo/1231434565226279",
				headers: map[string]string{"Accept": "application/json"}, body: map[string]any{}, dead: unauthorized(),
			}},
			checked: true,
			expect: expectation{
				lifetime: seconds(3600), refreshLifetime: 100 * day, captured: map[string]string{"realmId": "1231434565226279"},
				usePath:    "/companyinfo/{realmId}",
				useAddress: "sandbox-quickbooks.api.intuit.com/v3/company/1231434565226279/companyinfo/1231434565226279",
			},
		},
		{
			preset: "xero",
			scopes: []string{"openid", "offline_access", "accounting.transactions"},
			page:   page{address: "login.xero.com/identity/connect/authorize", scope: "openid offline_access accounting.transactions"},
			token: tokens{
				address: "identity.xero.com/connect/token", auth: basic, renewal: rotates, answer: grants(1800, nil),
				dead: refuses(400, "invalid_grant", ""), stranger: refuses(400, "invalid_client", ""),
			},
			revoke: &revocation{
				method: "POST", address: "identity.xero.com/connect/revocation", auth: basic, params: map[string]string{"token": "{token}"}, hint: true,
				refresh: true, answer: answer{status: 200},
			},
			resources: []resource{
				{address: "api.xero.com/connections", body: []any{map[string]any{"tenantId": "tenant-1", "tenantName": "Acme"}}, dead: unauthorized()},
				{
					address: "api.xero.com/api.xro/2.0/Organisation", headers: map[string]string{"Xero-Tenant-Id": "tenant-1", "Accept": "application/json"},
					body: map[string]any{}, dead: unauthorized(),
				},
			},
			checked: true,
			expect: expectation{
				lifetime: seconds(1800), captured: map[string]string{"tenantId": "tenant-1"},
				usePath: "/api.xro/2.0/Organisation", useAddress: "api.xero.com/api.xro/2.0/Organisation",
			},
		},
		{
			preset: "docusign",
			inputs: map[string]string{"host": "account-d.docusign.com"},
			page:   page{address: "account-d.docusign.com/oauth/auth", scope: "signature extended"},
			token: tokens{
				address: "account-d.docusign.com/oauth/token", auth: basic, renewal: rotates, answer: grants(28800, nil),
				dead: refuses(400, "invalid_grant", "expired_client_token"), stranger: refuses(400, "invalid_client", ""),
			},
			resources: []resource{
				{
					address: "account-d.docusign.com/oauth/userinfo", dead: unauthorized(),
					body: map[string]any{"sub": "user-1", "accounts": []any{
						map[string]any{"account_id": "a-1", "is_default": false, "base_uri": "https://na3.docusign.net"},
						map[string]any{"account_id": "fe0b61a3-0001", "is_default": true, "base_uri": "https://demo.docusign.net"},
					}},
				},
				any200("demo.docusign.net/restapi/v2.1/accounts/fe0b61a3-0001"),
				any200("demo.docusign.net/restapi/v2.1/accounts/fe0b61a3-0001/envelopes"),
			},
			checked: true,
			expect: expectation{
				lifetime: seconds(28800), subject: "user-1",
				captured: map[string]string{"account_id": "fe0b61a3-0001", "base_uri": "https://demo.docusign.net"},
				usePath:  "/envelopes", useAddress: "demo.docusign.net/restapi/v2.1/accounts/fe0b61a3-0001/envelopes",
			},
		},
	}
}
