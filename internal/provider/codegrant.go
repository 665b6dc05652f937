// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// CodeGrant returns what exchanges an authorization code. The redirect URL is left out where the authorization URL has none
// (authorizationParameterNames): the two requests must agree (RFC 6749, section 4.1.3), and some providers refuse the
// parameter. An empty verifier is left out.
func (p *Profile) CodeGrant(code, verifier sensitive.String, redirectURL string) oauth.Grant {
	if renamed, exists := p.Spec.AuthorizationParameterNames[nameRedirectURI]; exists && renamed == "" {
		redirectURL = ""
	}
	return oauth.AuthorizationCode(code, verifier, redirectURL)
}
