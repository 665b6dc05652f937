// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"encoding/json"
	"net/http"
)

// The paths of discovery documents under the issuer: OpenID Connect Discovery
// 1.0 section 4 and RFC 8414 section 3.
const (
	OpenIDPath   = "/.well-known/openid-configuration"
	MetadataPath = "/.well-known/oauth-authorization-server"
)

// Metadata returns the part of a discovery document (RFC 8414 section 2) that
// holds for every server of the tests; the caller adds what else it has.
func Metadata(issuer string) map[string]any {
	return map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                issuer + "/authorize",
		"token_endpoint":                        issuer + "/token",
		"scopes_supported":                      DefaultScopes(),
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token", "client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":      []string{"S256"},
	}
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client has gone when this fails, and the status is out already.
	_ = json.NewEncoder(w).Encode(document)
}
