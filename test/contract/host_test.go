// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	product "github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// hostile are values that a tenant, or somebody who writes a callback by hand, would give to have a client secret or a token
// sent to evil.example.
func hostile() []string {
	return []string{
		"evil.example", "evil.example:443", "https://evil.example", "https://evil.example/", "//evil.example", "evil.example/x", "evil.example?x",
		"evil.example#", "x@evil.example", "evil.example\\", "x.evil.example/.", ".evil.example", "https://evil.example#.salesforce.com",
		"https://evil.example/.pipedrive.com", "https://x@evil.example", "https://accounts.zoho.com.evil.example", "https://accounts.zoho.com@evil.example",
		"us6.evil.example/", "evil.example%2f", "evil.example%00", "https://evil.example?.docusign.net", "acme.zendesk.com.evil.example",
		"https://acme.myshopify.com.evil.example", "evil.example\n.salesforce.com",
	}
}

// TestNoValueLeadsToAnotherHost tries every input and every captured value of every preset.
func TestNoValueLeadsToAnotherHost(t *testing.T) {
	catalogue := load(t)
	for _, s := range scripts() {
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			profile := profileOf(t, catalogue, s)
			for _, value := range hostile() {
				for _, input := range profile.Spec.Inputs {
					given := maps.Clone(s.inputs)
					if given == nil {
						given = map[string]string{}
					}
					given[string(input.Name)] = value
					staysHome(t, profile, given, s.expect.captured)
				}
				for name := range s.expect.captured {
					captured := maps.Clone(s.expect.captured)
					captured[name] = value
					staysHome(t, profile, s.inputs, captured)
				}
			}
		})
	}
}

// staysHome writes every request of a connection. An error is as good as a request to the provider.
func staysHome(t *testing.T, profile *product.Profile, given, captured map[string]string) {
	t.Helper()
	values, err := profile.Values(given, captured)
	if err != nil {
		return
	}
	token := sensitive.New("a-token")
	var addresses []string
	add := func(address string, err error) {
		if err == nil {
			addresses = append(addresses, address)
		}
	}
	add(profile.AuthorizationURL(product.AuthorizationRequest{State: "s", Values: values}))
	add(profile.TokenURL("authorization_code", values))
	add(profile.TokenURL("refresh_token", values))
	for _, kind := range []v1alpha1.TokenKind{v1alpha1.TokenRefresh, v1alpha1.TokenAccess} {
		request, err := profile.Revocation(kind, token, values)
		add(request.URL, err)
	}
	introspection, err := profile.Introspection(token, oauth.HintAccessToken, values)
	add(introspection.URL, err)
	device, err := profile.DeviceAuthorization(nil, values)
	add(device.URL, err)
	if account, ok, err := profile.UserInfo(token, values); ok {
		add(account.URL, err)
	}
	api, err := profile.APIRequest("/path", token, values)
	add(api.URL, err)
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil || strings.Contains(parsed.Host, "evil") || parsed.User != nil || parsed.Scheme != "https" {
			t.Errorf("%v and %v lead to %s (%v)", given, captured, address, err)
		}
	}
}
